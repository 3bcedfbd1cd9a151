//! Plays a recorded train to a screen: the same ends as the live loop's, and nothing behind them that could change anything. What
//! a moment shows is `core::replay`'s.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use tokio::sync::{mpsc, watch};

use super::act::Outcome;
use super::order::{Intent, Report};
use super::run::Handle;
use crate::core::confirm::Refusal;
use crate::core::replay::{Seek, Tape};
use crate::core::text::Text;
use crate::ports::Clock;

/// How fast it can play.
const SPEEDS: [u32; 3] = [1, 10, 100];
/// How often it looks whether the next moment has come while it plays.
const LOOK: Duration = Duration::from_millis(50);

/// Where it stands.
struct Player {
    tape: Arc<Tape>,
    journal: Text,
    moment: usize,
    speed: usize,
    plays: bool,
    /// How far the time that plays is past the present moment.
    past: SignedDuration,
    seq: u64,
}

impl Player {
    fn seek(&mut self, seek: Seek) {
        match seek {
            Seek::Speed => self.speed = (self.speed + 1) % SPEEDS.len(),
            Seek::Play => {
                // From the end it begins again.
                if !self.plays && self.moment + 1 == self.tape.len() {
                    self.moment = 0;
                }
                self.plays = !self.plays;
            }
            seek => self.moment = self.tape.seek(self.moment, seek),
        }
        self.past = SignedDuration::ZERO;
    }

    /// Lets time go by; true when another moment came.
    fn play(&mut self, by: Duration) -> bool {
        let by = SignedDuration::try_from(by).unwrap_or_default();
        let speed = i32::try_from(SPEEDS[self.speed]).unwrap_or(1);
        self.past = self.past.checked_add(by.saturating_mul(speed)).unwrap_or(SignedDuration::MAX);
        let before = self.moment;
        while self.moment + 1 < self.tape.len() {
            // Clocks of two conductors may differ: no time goes backwards here.
            let next = self.tape.at(self.moment + 1).duration_since(self.tape.at(self.moment));
            let next = next.max(SignedDuration::ZERO);
            if self.past < next {
                break;
            }
            self.past -= next;
            self.moment += 1;
        }
        if self.moment + 1 == self.tape.len() {
            self.plays = false;
        }
        self.moment != before || !self.plays
    }

    fn show(&mut self, shown: &watch::Sender<Arc<crate::core::snapshot::Snapshot>>) {
        self.seq += 1;
        let scene = self.tape.scene(self.moment, &self.journal, self.seq, SPEEDS[self.speed], self.plays);
        shown.send_replace(Arc::new(scene));
    }
}

/// Starts a replay at its beginning. Must be called inside a tokio runtime. It ends when all senders of intents are gone.
pub fn start(tape: Arc<Tape>, journal: Text, clock: Arc<dyn Clock>) -> Handle {
    let (intents, mut inbox) = mpsc::channel(64);
    let (reports_out, reports) = mpsc::unbounded_channel();
    let first = tape.scene(0, &journal, 0, SPEEDS[0], false);
    let (shown, snapshots) = watch::channel(Arc::new(first));
    let past = SignedDuration::ZERO;
    let mut player = Player { tape, journal, moment: 0, speed: 0, plays: false, past, seq: 0 };
    let ended = tokio::spawn(async move {
        let mut last = clock.monotonic();
        loop {
            let plays = player.plays;
            let looks = async {
                if plays {
                    clock.sleep(LOOK).await;
                } else {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                intent = inbox.recv() => match intent {
                    None => return,
                    Some(Intent::Seek(seek)) => {
                        player.seek(seek);
                        last = clock.monotonic();
                        player.show(&shown);
                    }
                    // The screen refuses them before; whatever comes all the same goes nowhere.
                    Some(Intent::Order(order)) => {
                        let name = Text::default();
                        let outcome = Outcome::Refused(over());
                        let _ = reports_out.send(Report { id: order.id, name, outcome, last: true });
                    }
                    Some(Intent::Depart(train)) => {
                        let outcome = Outcome::Refused(over());
                        let _ = reports_out.send(Report { id: train.id, name: Text::default(), outcome, last: true });
                    }
                    Some(Intent::Watch(_) | Intent::Reread | Intent::Switch(_) | Intent::Script { .. }) => {}
                },
                () = looks => {
                    let now = clock.monotonic();
                    let by = now.saturating_sub(last);
                    last = now;
                    if player.play(by) {
                        player.show(&shown);
                    }
                }
            }
        }
    });
    Handle { snapshots, intents, reports, ended }
}
/// Why nothing can be ordered.
fn over() -> Refusal {
    Refusal {
        why: "a replay orders nothing: what is shown is over".into(),
        hint: "open the cockpit on the environment".into(),
        already: false,
    }
}
