//! The verbs on a plain Deployment. It has no steps and no weight: what Rollouts do by step it does pod by pod, so pausing,
//! going back and restarting have their equivalents, and approving a step has none (reference section 3).

use serde_json::json;

use super::config;
use super::draft::{self, Draft, HOLD, HOLD_BY, UNDO};
use super::holder::{self, Holder, Plan};
use super::{Aim, Attempts, Facts, Next, Verb, done, refused, refused_already, wait};
use crate::core::config_files::ConfigFiles;
use crate::core::effect::{Direction, Effect};
use crate::core::object::Object;
use crate::core::template::RESTARTED;
use crate::core::text::Text;
use crate::core::verified::Verified;
use crate::core::workload::{Phase, Related, Workload, observe};

/// A verb on a Deployment, under way.
#[derive(Clone, Default, Debug)]
pub(super) struct Machine {
    attempts: Attempts,
    /// Pod hash that was there at the first look.
    first: Option<Text>,
    hold: Option<String>,
    plan: Option<Plan>,
    /// Annotation of the template that makes new pods, with its value; fixed once.
    note: Option<(&'static str, String)>,
    /// True once the hold of this very order was seen: gone again, somebody has ended it, and it is not put back.
    landed: bool,
}

struct View<'a> {
    aim: &'a Aim,
    facts: &'a Facts,
    object: &'a Object,
    w: Workload,
    holder: Holder<'a>,
}

impl Machine {
    pub(super) fn next(&mut self, aim: &Aim, verified: Option<&Verified>, object: &Object, facts: &Facts) -> Next {
        let v = View::of(aim, object, facts);
        let first = self.first.is_none();
        self.first.get_or_insert_with(|| v.w.hash.clone());
        if first {
            self.hold = object.annotation(HOLD).map(str::to_owned);
        }
        match &aim.verb {
            Verb::Pause => self.pause(&v),
            Verb::Resume => self.resume(&v, false),
            Verb::PromoteFull => self.promote_full(&v),
            Verb::Promote => refused(
                crate::text!("{} is a Deployment: it has no steps to approve", v.name()),
                if v.w.held { "r resumes it" } else { "its update goes on pod by pod; p holds it, u undoes it" },
            ),
            Verb::Abort => self.back(&v, true),
            Verb::Undo => self.back(&v, false),
            Verb::Retry => self.retry(&v),
            Verb::Restart => self.restart(&v),
            Verb::Start { image, container, config } => self.start(&v, image, container, config.as_ref(), verified),
        }
    }

    fn pause(&mut self, v: &View<'_>) -> Next {
        if v.w.held {
            self.landed |= draft::is_hold_of(v.object, &v.aim.order);
            return if v.w.observed {
                done(crate::text!("{} is held{}", v.name(), v.by()))
            } else {
                wait("the controller to see the hold")
            };
        }
        if self.landed {
            return done(crate::text!("{} was held, and the hold was ended meanwhile", v.name()));
        }
        if v.being_undone() {
            let why = crate::text!("{} is being undone: a hold would stop that", v.name());
            return refused_already(why, "nothing is left to do");
        }
        let aimed = v.aim.seen.as_ref().map(|s| &s.hash).or(self.first.as_ref());
        if v.finished() && aimed.is_some_and(|h| !h.is_empty() && *h != v.w.hash) {
            let why = crate::text!("{} has left the version that was moving; {} is live", v.name(), v.w.hash);
            return refused_already(why, "look again");
        }
        let marks = [(HOLD, Some(draft::hold_value(&v.aim.order))), (HOLD_BY, Some(draft::hold_by(&v.aim.order)))];
        let d = v.draft().set(&["spec", "paused"], json!(true)).marks(v.object, &marks);
        self.attempts.send(d.main(v.aim.workload.clone(), Direction::Safe, Text::scrub("hold: spec.paused=true")))
    }

    fn resume(&mut self, v: &View<'_>, to_the_end: bool) -> Next {
        if !v.w.held {
            let was = self.attempts.any() || v.aim.seen.as_ref().is_some_and(|s| s.held);
            return match () {
                () if !was => refused(crate::text!("nobody holds {}", v.name()), "nothing is left to do"),
                () if !v.w.observed => wait("the controller to see that the hold is over"),
                () if to_the_end && !v.finished() => Next::Wait(v.w.reason.clone()),
                () => done(crate::text!("{} is resumed", v.name())),
            };
        }
        if self.hold.as_deref() != v.object.annotation(HOLD) {
            let why = crate::text!("{} is held anew{}", v.name(), v.by());
            return refused(why, "look again; r answers the hold that is there now");
        }
        self.attempts.send(v.release())
    }

    fn promote_full(&mut self, v: &View<'_>) -> Next {
        if !v.w.held && !self.attempts.any() {
            let why = crate::text!("{} is a Deployment: it has no steps to skip", v.name());
            return refused(why, "its update goes on pod by pod until it is done");
        }
        if v.aim.order.why.trim().is_empty() {
            let why = crate::text!("a full promotion of {} ends its hold: it needs a reason", v.name());
            return refused(why, "give one with --reason, or in the dialog");
        }
        self.resume(v, true)
    }

    fn back(&mut self, v: &View<'_>, abort: bool) -> Next {
        if self.plan.is_none() {
            if abort && v.finished() {
                return refused(
                    crate::text!("{}: no update is under way", v.name()),
                    "u undoes the version that is live",
                );
            }
            match v.holder.plan(&v.w, !v.finished()) {
                Ok(plan) => self.plan = Some(plan),
                Err(next) => return next,
            }
        }
        let Some(plan) = &self.plan else { return wait("the deployment to be read") };
        if !v.holder.restored(plan) || v.w.held {
            return self.attempts.send(v.holder.restore(plan));
        }
        if !v.w.observed {
            return wait("the controller to see the restored template");
        }
        if !v.finished() {
            return Next::Wait(v.w.reason.clone());
        }
        done(plan.said(v.aim, v.facts))
    }

    fn retry(&mut self, v: &View<'_>) -> Next {
        if self.note.is_none() {
            if v.w.phase != Phase::Degraded {
                return refused(crate::text!("{} has not failed", v.name()), "retry is for a failed update");
            }
            self.note = Some(holder::anew(v.aim));
        }
        self.touch(v, "retry: make its pods anew", |v| crate::text!("{}: its pods are made anew", v.name()))
    }

    fn restart(&mut self, v: &View<'_>) -> Next {
        if self.note.is_none() {
            self.note = Some((RESTARTED, v.facts.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()));
        }
        self.touch(v, "restart the pods", |v| crate::text!("{}: its pods are restarted", v.name()))
    }

    /// Writes the note into the template and waits until the pods are new.
    fn touch(&mut self, v: &View<'_>, says: &str, ended: impl Fn(&View<'_>) -> Text) -> Next {
        let Some((key, value)) = &self.note else { return wait("the deployment to be read") };
        if v.holder.note(key) == Some(value.as_str()) {
            return match () {
                () if !v.w.observed => wait("the controller to see the change"),
                () if !v.finished() => Next::Wait(v.w.reason.clone()),
                () => done(ended(v)),
            };
        }
        if let Some(next) = v.stands_against_forward() {
            return next;
        }
        if self.attempts.any() && v.being_undone() {
            return refused(crate::text!("{} is being undone", v.name()), "wait until it is back");
        }
        self.attempts.send(v.holder.touch(key, value, Text::scrub(says)))
    }

    fn start(
        &mut self,
        v: &View<'_>,
        image: &Text,
        container: &Text,
        files: Option<&ConfigFiles>,
        verified: Option<&Verified>,
    ) -> Next {
        if let Some(next) = v.stands_against_forward() {
            return next;
        }
        let moved = self.first.as_ref().is_some_and(|first| *first != v.w.hash) && v.w.observed;
        let unlike_seen = v.aim.seen.as_ref().is_some_and(|s| s.hash != v.w.hash);
        let live = if v.finished() { &v.w.hash } else { &v.w.stable_hash };
        let there = v.holder.template().is_some_and(|t| {
            crate::core::workload::container_image(t, Some(container)) == Some(image.as_str())
                && config::is_mounted(t, files)
        });
        if (moved || unlike_seen) && !there && v.w.observed {
            let why = crate::text!("{} moved meanwhile: another version is there now", v.name());
            return refused(why, "look again before you start another version");
        }
        match v.holder.deploy(image, container, files, live, verified, &mut self.attempts) {
            Some(next) => next,
            None => {
                let word = if v.finished() { "is live" } else { "is on its way" };
                done(crate::text!("{}: {image} {word}", v.name()))
            }
        }
    }
}

impl<'a> View<'a> {
    fn of(aim: &'a Aim, object: &'a Object, facts: &'a Facts) -> Self {
        let sets: Vec<&Object> = facts.sets.iter().collect();
        let records: Vec<&Object> = facts.records.iter().collect();
        let related = Related { sets: &sets, records: &records, was_stable: &facts.was_stable, ..Related::default() };
        let w = observe(&aim.workload, object, &related, aim.container.as_deref(), facts.now);
        let holder = Holder::new(aim, facts, object, object, aim.workload.clone());
        Self { aim, facts, object, w, holder }
    }

    fn name(&self) -> &Text {
        &self.aim.workload.name
    }

    fn by(&self) -> Text {
        self.object.annotation(HOLD_BY).map(|by| crate::text!(" by {by}")).unwrap_or_default()
    }

    /// True when the newest version is all there is.
    fn finished(&self) -> bool {
        self.w.observed && !self.w.hash.is_empty() && self.w.hash == self.w.stable_hash
    }

    fn being_undone(&self) -> bool {
        !self.finished()
            && (!self.w.observed || draft::undo_counts(self.object, &self.w.hash))
            && self.object.annotation(UNDO).is_some()
    }

    fn stands_against_forward(&self) -> Option<Next> {
        if self.w.held {
            return Some(refused(crate::text!("{} is held{}", self.name(), self.by()), "r resumes it first"));
        }
        self.being_undone().then(|| {
            refused(crate::text!("{} is being undone", self.name()), "wait until it is back, then order it again")
        })
    }

    fn draft(&self) -> Draft {
        Draft::on(self.object).stamps_as_read(self.object)
    }

    fn release(&self) -> Box<Effect> {
        self.draft()
            .same(self.object, &["spec", "paused"])
            .set(&["spec", "paused"], json!(false))
            .marks(self.object, &[(HOLD, None), (HOLD_BY, None)])
            .main(self.aim.workload.clone(), Direction::Forward, Text::scrub("resume: spec.paused=false"))
    }
}
