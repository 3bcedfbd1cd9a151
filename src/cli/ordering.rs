//! What every command that orders has in common: who orders, how they answer a question, where it is written down, and how an
//! ending is said. What is ordered is each command's own.

use std::io::{BufRead, IsTerminal};
use std::sync::Arc;

use super::Wiring;
use super::console::Console;
use super::failure::{Failure, FailureKind};
use crate::config::places::Places;
use crate::core::confirm::{Answer, Confirm};
use crate::core::text::Text;
use crate::engine::act::{NoJournal, Outcome};
use crate::ports::{Fault, FaultKind, Journal};
use crate::text;

/// The person's answer: from the arguments, else asked for at a terminal.
pub(super) fn answer(level: &Confirm, confirm: Option<&str>, yes: bool) -> Answer {
    match (level, confirm, yes) {
        (Confirm::None, ..) => Answer::Nothing,
        (_, Some(typed), _) => Answer::Typed(typed.to_owned()),
        (Confirm::Yes, None, true) => Answer::Yes,
        (level, None, _) => ask(level).unwrap_or(Answer::Nothing),
    }
}

fn ask(level: &Confirm) -> Option<Answer> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return None;
    }
    match level {
        Confirm::Type(word) => eprint!("type {word} to confirm: "),
        _ => eprint!("go on? [y/N] "),
    }
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).ok()?;
    Some(match level {
        Confirm::Type(_) => Answer::Typed(line.trim().to_owned()),
        _ if matches!(line.trim(), "y" | "Y" | "yes") => Answer::Yes,
        _ => Answer::Nothing,
    })
}

/// Who orders: the person at this machine, by the user that the cluster knows.
pub(super) fn who(user: &Text) -> Text {
    let person = ["USER", "LOGNAME"].iter().find_map(|key| std::env::var(key).ok().filter(|v| !v.is_empty()));
    match person {
        Some(person) if person != user.as_str() => text!("{person} as {user}"),
        _ => user.clone(),
    }
}

/// The local journal. What goes back is not held up by one that cannot be opened.
pub(super) fn journal(wiring: &Wiring, safe: bool, console: &Console) -> Arc<dyn Journal> {
    let path = Places::find(|key| std::env::var_os(key)).journal();
    (wiring.journal)(&path).unwrap_or_else(|fault| {
        if safe {
            console.talk(&format!("not written down: {}: {}\n", fault.what, fault.why));
        }
        Arc::new(NoJournal(fault))
    })
}

/// What to print of how something ended, or why it failed.
pub(super) fn ended_as(name: &str, outcome: Outcome) -> Result<String, Failure> {
    match outcome {
        Outcome::Done(says) => Ok(format!("{name}: {says}\n")),
        Outcome::Refused(refusal) => Err(Failure::new(FailureKind::No, text!("{name}: {}", refusal.why), refusal.hint)),
        Outcome::Failed(Fault { kind, what, why, hint }) => {
            let kind = match kind {
                FaultKind::Conflict | FaultKind::Unprocessable => FailureKind::No,
                _ => FailureKind::Outside,
            };
            Err(Failure::new(kind, text!("{name}: {what}"), hint).because(why))
        }
        Outcome::Reverted(refusal) => {
            Err(Failure::new(FailureKind::Person, text!("{name}: {}", refusal.why), refusal.hint))
        }
        Outcome::Unknown(says) => {
            let hint = "look with footplate status; the order may still take effect";
            Err(Failure::new(FailureKind::Person, text!("{name}: {says}"), hint))
        }
    }
}
