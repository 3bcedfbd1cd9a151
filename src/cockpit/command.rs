//! The command line: the same verbs as the keys and the shell command have, read, completed, and remembered. What a
//! command does is `update.rs`.

use super::keymap::Action;
use super::model::{HISTORY_MAX, Model};
use super::plan::Scope;
use crate::core::intent::Want;
use crate::core::text::Text;
use crate::core::verb::FlagSetting;

/// What was typed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Said {
    /// As if its key was pressed.
    Action(Action),
    /// An order.
    Want(Want, Option<Text>, Option<Scope>),
    /// Another context.
    Context(Text),
    /// Another theme.
    Theme(String),
    /// This filter.
    Filter(String),
}

/// The verbs among the actions.
pub fn want_of(action: Action) -> Option<Want> {
    Some(match action {
        Action::Pause => Want::Pause,
        Action::Resume => Want::Resume,
        Action::Promote => Want::Promote,
        Action::PromoteFull => Want::PromoteFull,
        Action::Abort => Want::Abort,
        Action::Undo => Want::Undo,
        Action::Retry => Want::Retry,
        Action::Start => Want::Start,
        Action::Restart => Want::Restart,
        Action::Depart => Want::Depart,
        Action::TakeOver => Want::TakeOver,
        _ => return None,
    })
}

/// Reads a line.
pub fn read(line: &str) -> Result<Said, Text> {
    let mut words: Vec<&str> = line.split_whitespace().collect();
    if words.is_empty() {
        return Err(crate::text!("nothing typed"));
    }
    let name = words.remove(0);
    if matches!(name, "q" | "q!" | "wq" | "exit") {
        return Ok(Said::Action(Action::Quit));
    }
    let Some(&action) = Action::ALL.iter().find(|a| a.command() == name && !name.is_empty()) else {
        return Err(crate::text!("{name} is no command; Tab shows them, ? explains them"));
    };
    let too_many = |n: usize| -> Result<(), Text> {
        if words.len() > n { Err(crate::text!("{name}: {} is too much", words[n])) } else { Ok(()) }
    };
    match action {
        Action::Flip => {
            too_many(2)?;
            let (Some(key), Some(value)) = (words.first(), words.get(1)) else {
                return Err(crate::text!("say: flag KEY on|off|PERCENT"));
            };
            Ok(Said::Want(
                Want::Flag { key: Text::scrub(key), source: Text::default(), setting: setting(value)? },
                None,
                None,
            ))
        }
        Action::Context => {
            too_many(1)?;
            words.first().map(|w| Said::Context(Text::scrub(w))).ok_or_else(|| crate::text!("say: ctx NAME"))
        }
        Action::Theme => {
            too_many(1)?;
            words.first().map(|w| Said::Theme((*w).to_owned())).ok_or_else(|| crate::text!("say: theme NAME"))
        }
        Action::Filter => Ok(Said::Filter(words.join(" "))),
        _ if want_of(action).is_some() => order(action, name, &words),
        _ => {
            too_many(0)?;
            Ok(Said::Action(action))
        }
    }
}

fn order(action: Action, name: &str, words: &[&str]) -> Result<Said, Text> {
    let Some(mut want) = want_of(action) else { return Err(crate::text!("{name} is no order")) };
    let mut subject = None;
    let mut scope = None;
    let mut rest = words.iter();
    while let Some(&word) = rest.next() {
        match word {
            "--full" if want == Want::Promote => want = Want::PromoteFull,
            "--only" if want == Want::Undo => scope = Some(Scope::One),
            "--wave" if want == Want::Undo => {
                let n = rest.next().and_then(|n| n.parse().ok());
                scope = Some(Scope::Wave(n.ok_or_else(|| crate::text!("--wave wants a number"))?));
            }
            "all" if matches!(want, Want::Undo | Want::Pause | Want::Abort) => scope = Some(Scope::All),
            word if word.starts_with('-') => return Err(crate::text!("{name} does not know {word}")),
            word if subject.is_none() => subject = Some(Text::scrub(word)),
            word => return Err(crate::text!("{name}: one service at a time, {word} is too much")),
        }
    }
    Ok(Said::Want(want, subject, scope))
}

fn setting(value: &str) -> Result<FlagSetting, Text> {
    match value {
        "on" | "true" => Ok(FlagSetting::On),
        "off" | "false" => Ok(FlagSetting::Off),
        _ => match value.trim_end_matches('%').parse() {
            Ok(p @ 0..=100) => Ok(FlagSetting::Percent(p)),
            _ => Err(crate::text!("a flag is on, off, or 0 to 100 percent; not {value}")),
        },
    }
}

/// What the line could go on with: whole lines, in a fixed order.
pub fn complete(line: &str, model: &Model) -> Vec<String> {
    let (head, last) = line.rsplit_once(' ').map_or(("", line), |(h, l)| (h, l));
    let words: Vec<&str> = head.split_whitespace().collect();
    let shown = model.shown();
    let services = || shown.services.iter().map(|s| s.name.to_string());
    let mut options: Vec<String> = match words.as_slice() {
        [] => {
            let mut names: Vec<String> =
                Action::ALL.iter().map(|a| a.command().to_owned()).filter(|c| !c.is_empty()).collect();
            names.sort();
            names
        }
        ["flag"] => shown.flags.iter().map(|f| f.key.to_string()).collect(),
        ["flag", _] => ["on", "off", "1", "5", "25"].map(str::to_owned).to_vec(),
        ["ctx"] => model.setup.contexts.iter().map(|c| c.name.to_string()).collect(),
        ["theme"] => model.setup.themes.names().into_iter().map(str::to_owned).collect(),
        ["undo"] => services().chain(["all", "--wave", "--only"].map(str::to_owned)).collect(),
        ["pause" | "abort"] => services().chain(std::iter::once("all".to_owned())).collect(),
        ["promote"] => services().chain(std::iter::once("--full".to_owned())).collect(),
        ["resume" | "promote-full" | "retry" | "start" | "restart"] => services().collect(),
        _ => Vec::new(),
    };
    options.retain(|o| o.starts_with(last));
    let prefix = if head.is_empty() { String::new() } else { format!("{head} ") };
    options.into_iter().map(|o| format!("{prefix}{o}")).collect()
}

/// Puts a line into the history, without doubles next to each other.
pub fn remember(history: &mut Vec<String>, line: &str) {
    if line.trim().is_empty() || history.last().is_some_and(|l| l == line) {
        return;
    }
    history.push(line.to_owned());
    if history.len() > HISTORY_MAX {
        history.remove(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read() {
        let said = |line: &str| read(line).unwrap();
        assert_eq!(said("pause billing-api"), Said::Want(Want::Pause, Some("billing-api".into()), None));
        assert_eq!(said("promote --full a"), Said::Want(Want::PromoteFull, Some("a".into()), None));
        assert_eq!(said("undo --wave 2"), Said::Want(Want::Undo, None, Some(Scope::Wave(2))));
        assert_eq!(said("undo all"), Said::Want(Want::Undo, None, Some(Scope::All)));
        assert_eq!(said("q"), Said::Action(Action::Quit));
        assert_eq!(said("theme dark"), Said::Theme("dark".to_owned()));
        let Said::Want(Want::Flag { setting, .. }, ..) = said("flag ledger_nullable 25%") else { panic!() };
        assert_eq!(setting, FlagSetting::Percent(25));
    }

    #[test]
    fn what_cannot_be_read_says_what_would_be_right() {
        let why = |line: &str| read(line).unwrap_err().to_string();
        assert!(why("promte x").contains("promte is no command"));
        assert!(why("flag x").contains("flag KEY on|off|PERCENT"));
        assert!(why("flag x 101").contains("0 to 100"));
        assert!(why("pause a b").contains("b is too much"));
        assert!(why("resume --force a").contains("--force"));
        assert!(why("").contains("nothing typed"));
        assert!(why("undo --wave x").contains("number"));
    }

    #[test]
    fn the_history_keeps_no_doubles_and_ends() {
        let mut history = Vec::new();
        for line in ["a", "a", " ", "b", "a"] {
            remember(&mut history, line);
        }
        assert_eq!(history, ["a", "b", "a"]);
        (0..200).for_each(|n| remember(&mut history, &n.to_string()));
        assert_eq!(history.len(), HISTORY_MAX);
    }
}
