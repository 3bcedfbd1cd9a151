//! The story that a journal tells: after each line, what is new in words, and what of it stands out. Words for people; what a
//! train does is not decided here.

use jiff::Timestamp;

use super::Sign;
use crate::core::snapshot::{EventView, Weight};
use crate::core::text::Text;
use crate::core::train::event::{Event, Found, HoldFor, Input, Intent, Judged, Scope, Want};
use crate::core::train::journal::Taken;
use crate::core::train::resolved::{Resolved, ServiceId, Setting};
use crate::core::train::state::Ended;
use crate::core::train::{Phase, State};
use crate::core::verdict::{TrainPhase, Verdict};
use crate::text;

/// What was heard beside the train's own memory.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Beside {
    /// The latest verdict on each service.
    pub judged: Vec<Option<Judged>>,
    /// The latest reading of each flag.
    pub flags: Vec<Option<Setting>>,
    /// Who conducts, and its epoch.
    pub conductor: Option<(u64, Text)>,
}

impl Beside {
    /// Takes an input in.
    pub fn hear(&mut self, input: &Input) {
        if let Some(lease) = &input.lease {
            self.conductor = Some((lease.number, lease.holder.clone()));
        }
        match &input.event {
            Event::Judged(judged) => put(&mut self.judged, judged.service, judged.clone()),
            Event::FlagRead(flag, reading) => put(&mut self.flags, *flag, reading.value.clone()),
            _ => {}
        }
    }

    /// The latest verdict on a service.
    pub fn verdict(&self, service: ServiceId) -> Option<&Judged> {
        self.judged.get(usize::from(service))?.as_ref()
    }
}

fn put<T>(all: &mut Vec<Option<T>>, at: u16, value: T) {
    let at = usize::from(at);
    if all.len() <= at {
        all.resize_with(at + 1, || None);
    }
    all[at] = Some(value);
}

/// One sentence of the story.
#[derive(Clone, PartialEq, Debug)]
pub struct Told {
    /// When, of what, what, and how much it matters.
    pub event: EventView,
    /// What it is on the time line; none where it does not stand out.
    pub sign: Option<Sign>,
}

/// Gathers what is new.
struct News {
    at: Timestamp,
    all: Vec<Told>,
}

impl News {
    fn say(&mut self, subject: &Text, text: Text, weight: Weight, sign: Option<Sign>) {
        let event = EventView { at: self.at, subject: subject.clone(), text, weight };
        self.all.push(Told { event, sign });
    }

    fn train(&mut self, text: Text, weight: Weight, sign: Option<Sign>) {
        self.say(&Text::default(), text, weight, sign);
    }
}

/// What is new after a moment.
pub fn tell(before: Option<&State>, moment: &Taken, state: &State, at: Timestamp, beside: &mut Beside) -> Vec<Told> {
    let mut news = News { at, all: Vec::new() };
    let plan = state.plan();
    let Some(input) = &moment.input else {
        if before.is_some() {
            news.train("the train is taken up from its record".into(), Weight::Note, None);
        }
        return news.all;
    };
    // A conductor that had been taken over from: what it heard changed nothing.
    if moment.late {
        return news.all;
    }
    let conductor = beside.conductor.clone();
    let verdict = match &input.event {
        Event::Judged(judged) => beside.verdict(judged.service).map(|j| j.verdict),
        _ => None,
    };
    beside.hear(input);
    if let (Some((_, old)), Some((epoch, new))) = (&conductor, &beside.conductor)
        && old != new
    {
        news.train(text!("{new} took over from {old} (epoch {epoch})"), Weight::Act, Some(Sign::TookOver));
    }
    came_in(&mut news, plan, &input.event, verdict);
    if let Some(before) = before {
        followed(&mut news, before, state);
    }
    news.all
}

/// What the input says itself.
fn came_in(news: &mut News, plan: &Resolved, event: &Event, verdict: Option<Verdict>) {
    match event {
        Event::Ordered(intent) => {
            let why = if intent.order.why.is_empty() { String::new() } else { format!(": {}", intent.order.why) };
            let subject = subject(plan, &intent.want);
            let text = text!("{} ordered: {}{why}", intent.order.who, says(plan, intent));
            news.say(&subject, text, Weight::Act, Some(Sign::Order));
        }
        Event::Judged(judged) if verdict != Some(judged.verdict) => {
            let (word, weight, sign) = match judged.verdict {
                Verdict::Pass => ("passes", Weight::Note, None),
                Verdict::Fail => ("FAILS", Weight::Alarm, Some(Sign::Fail)),
                Verdict::Inconclusive => ("cannot tell", Weight::Warn, None),
                Verdict::NoData => ("has no data", Weight::Warn, None),
            };
            let name = &plan.service(judged.service).name;
            news.say(name, text!("its gate {word}: {}", judged.why), weight, sign);
        }
        Event::Tripped(trip) => {
            let text = text!("it is no part of the train, and FAILS: {}", trip.why);
            news.say(&trip.service, text, Weight::Alarm, Some(Sign::Fail));
        }
        Event::Gone(s) => news.say(&plan.service(*s).name, "its workload is gone".into(), Weight::Alarm, None),
        Event::Gap => news.train("the conductor stood still: it reads everything anew".into(), Weight::Warn, None),
        Event::Freeze(Some(why)) => news.train(text!("a freeze window begins: {why}"), Weight::Warn, None),
        Event::Acted(_, says) => news.train(text!("another hand acted: {says}"), Weight::Act, None),
        Event::Fact(fact) => {
            if let Found::Refuse(says) | Found::Ask(says) | Found::Unknown(says) = &fact.found {
                let word = fact.found.parts().0;
                news.train(text!("pre-flight: {}: {word}: {says}", fact.check.name(plan)), Weight::Warn, None);
            }
        }
        Event::Answered(_, crate::core::train::event::Answer::Refused(why)) => {
            news.train(text!("the server refused a write: {why}"), Weight::Warn, None);
        }
        _ => {}
    }
}

/// What followed from it.
fn followed(news: &mut News, before: &State, now: &State) {
    let (plan, old, new) = (now.plan(), before.memory(), now.memory());
    for (s, service) in (0..).zip(&plan.services) {
        let (was, is) = (before.train_phase(s), now.train_phase(s));
        let weight = now.reading(s).map_or(0, |r| r.weight);
        if was != is {
            let weight_of = match is {
                TrainPhase::Failed => Weight::Alarm,
                TrainPhase::Aborting | TrainPhase::Aborted | TrainPhase::Undoing => Weight::Warn,
                _ => Weight::Note,
            };
            news.say(&service.name, text!("{}", in_words(is)), weight_of, None);
        } else if let (TrainPhase::Stepping, Some(r), Some(o)) = (is, now.reading(s), before.reading(s))
            && (r.weight, r.step) != (o.weight, o.step)
        {
            news.say(
                &service.name,
                text!("step {}/{}, {weight} % of the traffic", r.step, r.steps),
                Weight::Note,
                None,
            );
        }
    }
    for (flag, (was, is)) in plan.flags.iter().zip(old.flags.iter().zip(&new.flags)) {
        if was.ramp != is.ramp || was.back != is.back {
            let way = if is.back { "goes back" } else { "moves on" };
            news.say(&flag.key, text!("the flag {way} ({} of 4 shares)", is.ramp), Weight::Note, None);
        }
    }
    for hold in new.holds.iter().filter(|h| !old.holds.iter().any(|o| o.id == h.id)) {
        let subject = hold.service.map_or_else(Text::default, |s| plan.service(s).name.clone());
        let weight = if hold.why == HoldFor::Person { Weight::Act } else { Weight::Alarm };
        let why = if hold.reason.is_empty() { hold_word(hold.why).into() } else { hold.reason.clone() };
        news.say(&subject, text!("held by {}: {why}", hold.who), weight, Some(Sign::Hold));
    }
    for hold in old.holds.iter().filter(|h| !new.holds.iter().any(|n| n.id == h.id)) {
        news.train(text!("the hold of {} ended", hold.who), Weight::Note, None);
    }
    for (s, alarm) in new.alarms.iter().filter(|a| !old.alarms.contains(a)) {
        news.say(&plan.service(*s).name, alarm.clone(), Weight::Alarm, None);
    }
    for (_, why) in new.refused.iter().filter(|r| !old.refused.contains(r)) {
        news.train(text!("an order was refused: {why}"), Weight::Warn, None);
    }
    if let (None, Some(undo)) = (&old.undo, &new.undo) {
        let what = if undo.whole { "the whole train goes back" } else { "a part of the train goes back" };
        let who = if undo.automatic { text!("by itself") } else { text!("ordered by {}", undo.who) };
        news.train(text!("{what}, {who}"), Weight::Alarm, Some(Sign::Undo));
    }
    if old.recovered.is_none() && new.recovered.is_some() {
        news.train("traffic is back on the old versions".into(), Weight::Act, None);
    }
    if (old.wave != new.wave || old.phase != new.phase) && new.phase == Phase::Rolling {
        news.train(text!("wave {} begins", new.wave), Weight::Note, None);
    }
    let (was, is) = (before.phase(), now.phase());
    if was != is {
        let weight = if is == Phase::NeedsPerson { Weight::Alarm } else { Weight::Note };
        news.train(text!("the train {}", phase_words(is)), weight, None);
    }
    if old.ended.is_none()
        && let Some(end) = new.ended
    {
        let words = match end {
            Ended::Completed => "the end: everything is at its pinned version",
            Ended::RolledBack => "the end: everything is as it was before",
            Ended::Refused => "the end: it never set off",
        };
        news.train(words.into(), Weight::Act, Some(Sign::End));
    }
}

fn in_words(phase: TrainPhase) -> &'static str {
    match phase {
        TrainPhase::Unchanged => "is at its pinned version already",
        TrainPhase::Waiting => "waits for its turn",
        TrainPhase::Deploying => "is deployed",
        TrainPhase::Stepping => "walks its steps",
        TrainPhase::Held => "is held",
        TrainPhase::Baking => "has all traffic and is watched",
        TrainPhase::Done => "is through",
        TrainPhase::Aborting => "is aborted: its traffic goes back",
        TrainPhase::Aborted => "is off: its traffic is on the old version",
        TrainPhase::Undoing => "goes back to what was recorded",
        TrainPhase::Undone => "is back as recorded",
        TrainPhase::Failed => "cannot be taken back",
    }
}

fn phase_words(phase: Phase) -> &'static str {
    match phase {
        Phase::Planned => "is planned",
        Phase::Preflight => "is looked over before it sets off",
        Phase::Expanding => "runs its expand steps",
        Phase::Rolling => "rolls",
        Phase::Flags => "moves its flags",
        Phase::Completed => "is through",
        Phase::Undoing => "is being taken back",
        Phase::RolledBack => "is back",
        Phase::NeedsPerson => "needs a person",
    }
}

fn hold_word(why: HoldFor) -> &'static str {
    match why {
        HoldFor::Person => "no reason given",
        HoldFor::Inconclusive(_) => "a gate could not tell",
        HoldFor::NoData(_) => "a gate has no data",
        HoldFor::Aborted(_) => "a service was aborted",
        HoldFor::Outside(_) => "somebody else changed a service",
        HoldFor::Partly => "a part was taken back",
        HoldFor::Boundary => "a freeze window",
        HoldFor::Flag(_) => "a flag went back alone",
        HoldFor::Expand => "an expand step failed",
        HoldFor::Burning(_) => "a service breaks its SLO already",
        HoldFor::Second(_) => "it tripped a second time",
        HoldFor::Elsewhere => "a service that is no part of the train fails",
    }
}

/// The service or flag that an order is about.
fn subject(plan: &Resolved, want: &Want) -> Text {
    let service = match want {
        Want::Hold(s, _) => *s,
        Want::ResumeOutside(s) | Want::Full(s, _) | Want::Abort(s, _) | Want::Retry(s) => Some(*s),
        Want::Approve { service, .. } => Some(*service),
        Want::Undo(Scope::Downstream(s) | Scope::Only(s)) => Some(*s),
        Want::Flag(f, _) => return plan.flags[usize::from(*f)].key.clone(),
        _ => None,
    };
    service.map_or_else(Text::default, |s| plan.service(s).name.clone())
}

/// What an order wants; its subject is said beside it.
fn says(plan: &Resolved, intent: &Intent) -> Text {
    match &intent.want {
        Want::Start => "start".into(),
        Want::Hold(None, _) => "hold the train".into(),
        Want::Hold(Some(_), _) => "hold".into(),
        Want::Resume(_) => "end the hold".into(),
        Want::ResumeOutside(_) => "end the hold of another hand".into(),
        Want::Approve { step, over: false, .. } => text!("approve step {}", step + 1),
        Want::Approve { step, over: true, .. } => text!("approve step {} over its gate", step + 1),
        Want::Full(..) => "promote fully".into(),
        Want::Abort(..) => "abort".into(),
        Want::Retry(_) | Want::Again => "try again".into(),
        Want::Undo(Scope::All) => "undo the whole train".into(),
        Want::Undo(Scope::Wave(n)) => text!("undo wave {n} and all after it"),
        Want::Undo(Scope::Downstream(_)) => "undo, with all that is built on it".into(),
        Want::Undo(Scope::Only(_)) => "undo it alone".into(),
        Want::Flag(_, to) => text!("set to {to}"),
        Want::Down(m) => text!("take back the expand step of {}", plan.migrations[usize::from(*m)].name),
        Want::Accept(check) => text!("go on in spite of {}", check.name(plan)),
        Want::Stay => "let it stand".into(),
    }
}
