//! Between the screen and the engine: what the screen wants becomes intents, how orders end becomes messages. A task of
//! the engine's runtime; the screen's thread waits for nobody.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::message::{Command, Message};
use crate::core::confirm::Refusal;
use crate::core::snapshot::Snapshot;
use crate::core::text::Text;
use crate::engine::act::Outcome;
use crate::engine::order::{Intent, Report};
use crate::engine::run::Handle;

/// The ends that the screen holds. When it lets them go the engine ends, after the orders under way.
pub struct Ends {
    /// The state of the world.
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    /// How orders ended.
    pub messages: mpsc::UnboundedReceiver<Message>,
    /// Orders and wishes.
    pub commands: mpsc::UnboundedSender<Command>,
}

/// The end that whoever opened the screen holds.
pub struct Engine {
    task: JoinHandle<()>,
    gone: oneshot::Sender<()>,
}

impl Engine {
    /// Lets the engine go, whether or not the screen does (its thread may hang in a terminal that takes nothing any more),
    /// and waits for its end: an order outlives the screen that gave it.
    pub async fn ended(self) {
        let Self { task, gone } = self;
        drop(gone);
        let _ = task.await;
    }
}

/// Connects a screen to an engine. Must be called inside a tokio runtime.
pub fn connect(handle: Handle) -> (Ends, Engine) {
    let Handle { snapshots, intents, mut reports, ended } = handle;
    let (commands, mut wanted) = mpsc::unbounded_channel();
    let (told, messages) = mpsc::unbounded_channel();
    let (hold, mut gone) = oneshot::channel::<()>();
    let task = tokio::spawn(async move {
        let mut intents = Some(intents);
        loop {
            tokio::select! {
                _ = &mut gone, if intents.is_some() => intents = None,
                command = wanted.recv(), if intents.is_some() => match (command, &intents) {
                    (Some(command), Some(out)) => {
                        if let Some(intent) = intent(command)
                            && out.send(intent).await.is_err()
                        {
                            let _ = told.send(Message::Say(crate::text!("the engine ended; leave and start again")));
                        }
                    }
                    _ => intents = None,
                },
                report = reports.recv() => match report {
                    Some(report) => drop(told.send(message(report))),
                    None => break,
                },
            }
        }
        // A panic of the engine was told by the panic hook already.
        let _ = ended.await;
    });
    (Ends { snapshots, messages, commands }, Engine { task, gone: hold })
}

/// What the engine is to do; none for what is the terminal's own.
fn intent(command: Command) -> Option<Intent> {
    match command {
        Command::Order(order) => Some(Intent::Order(order)),
        Command::Depart(train) => Some(Intent::Depart(train)),
        Command::Watch(service) => Some(Intent::Watch(service.into_iter().collect())),
        Command::Reread => Some(Intent::Reread),
        Command::SwitchContext(name) => Some(Intent::Switch(name)),
        Command::Seek(seek) => Some(Intent::Seek(seek)),
        Command::Script(drives) => Some(Intent::Script { drives }),
        Command::Copy(_)
        | Command::Bell
        | Command::Mouse(_)
        | Command::Save(_)
        | Command::Suspend
        | Command::Redraw
        | Command::Quit => None,
    }
}

fn message(report: Report) -> Message {
    let Report { id, name, outcome, last } = report;
    let not = |why: Text, hint: Text| Err(Refusal { why, hint, already: false });
    let result = match outcome {
        Outcome::Done(what) => Ok(what),
        Outcome::Refused(refusal) | Outcome::Reverted(refusal) => Err(refusal),
        Outcome::Failed(fault) => not(crate::text!("{name}: {}: {}", fault.what, fault.why), fault.hint),
        Outcome::Unknown(waits) => {
            not(crate::text!("{name}: not read back in time: {waits}"), "it may still land; R reads again".into())
        }
    };
    Message::Outcome { intent: id, name, result, last }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn wishes_reach_the_engine_and_outcomes_the_screen() {
        let (_state, snapshots) = watch::channel(Arc::new(nothing()));
        let (intents, mut inbox) = mpsc::channel(4);
        let (report, reports) = mpsc::unbounded_channel();
        let ended = tokio::spawn(async {});
        let (mut ends, engine) = connect(Handle { snapshots, intents, reports, ended });
        ends.commands.send(Command::Bell).unwrap();
        ends.commands.send(Command::Watch(Some("billing-api".into()))).unwrap();
        assert_eq!(inbox.recv().await, Some(Intent::Watch(vec!["billing-api".into()])));
        let unknown = Outcome::Unknown("weight 0".into());
        report.send(Report { id: 7, name: "billing-api".into(), outcome: unknown, last: true }).unwrap();
        let Some(Message::Outcome { intent: 7, result: Err(refusal), last: true, .. }) = ends.messages.recv().await
        else {
            panic!("no outcome came");
        };
        assert!(refusal.why.contains("not read back") && refusal.hint.contains("may still land"));
        drop(ends);
        assert_eq!(inbox.recv().await, None, "the engine is let go");
        drop(report);
        engine.ended().await;
    }

    fn nothing() -> Snapshot {
        use crate::core::snapshot::{Link, Mode, Place, WriteMode};
        Snapshot {
            seq: 0,
            at: jiff::Timestamp::UNIX_EPOCH,
            place: Place {
                environment: None,
                context: "dev".into(),
                namespace: "payments".into(),
                server: Text::default(),
                protected: false,
                write: WriteMode::ReadWrite,
            },
            mode: Mode::Live,
            link: Link::Connecting,
            read_at: None,
            release: None,
            waves: 0,
            services: Arc::new([]),
            expand: Arc::new([]),
            edges: Arc::new([]),
            history: None,
            gates: Arc::new([]),
            flags: Arc::new([]),
            events: Arc::new([]),
            pods: Arc::new([]),
            runs: Arc::new([]),
            needs: Arc::new([]),
            gaps: Arc::new([]),
            train: None,
        }
    }
}
