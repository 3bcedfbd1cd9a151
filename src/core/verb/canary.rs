//! The verbs on a Flagger Canary. Flagger has no verbs of its own: it follows the pod template of its target and a few fields
//! of the Canary (reference section 3). Abort and undo restore the target's recorded template.

use serde_json::{Value, json};

use super::config;
use super::draft::{self, Draft, HOLD, HOLD_BY, SKIP, UNDO};
use super::holder::{self, Holder, Plan};
use super::{Aim, Attempts, Facts, Next, Verb, done, refused, refused_already, wait};
use crate::core::config_files::ConfigFiles;
use crate::core::effect::{Direction, Effect};
use crate::core::object::{Object, ObjectKind, ObjectRef};
use crate::core::template::RESTARTED;
use crate::core::text::Text;
use crate::core::verified::Verified;
use crate::core::workload::{Related, Workload, before, container_image, observe};

/// A verb on a Canary, under way.
#[derive(Clone, Default, Debug)]
pub(super) struct Machine {
    attempts: Attempts,
    first: Option<Text>,
    hold: Option<String>,
    plan: Option<Plan>,
    note: Option<(&'static str, String)>,
}

struct View<'a> {
    aim: &'a Aim,
    facts: &'a Facts,
    object: &'a Object,
    phase: &'a str,
    w: Workload,
    holder: Holder<'a>,
}

impl Machine {
    pub(super) fn next(&mut self, aim: &Aim, verified: Option<&Verified>, object: &Object, facts: &Facts) -> Next {
        let kind = object.str("/spec/targetRef/kind").unwrap_or_default();
        let target = match &facts.target {
            Some(target) if kind == "Deployment" => target,
            Some(_) => {
                let why = crate::text!("the target of {} is a {kind}, not a Deployment", aim.workload.name);
                return refused(why, "change it by hand");
            }
            None => {
                let why = crate::text!("the target of {} cannot be read", aim.workload.name);
                return refused(why, "check that the Deployment exists and may be read");
            }
        };
        let v = View::of(aim, object, target, facts);
        if self.first.is_none() {
            self.first = Some(v.w.hash.clone());
            self.hold = object.annotation(HOLD).map(str::to_owned);
        }
        match &aim.verb {
            Verb::Pause => self.pause(&v),
            Verb::Resume => self.resume(&v),
            Verb::Promote => promote(&v),
            Verb::PromoteFull => self.promote_full(&v),
            Verb::Abort => self.abort(&v),
            Verb::Undo => self.undo(&v),
            Verb::Retry => self.retry(&v),
            Verb::Restart => self.restart(&v),
            Verb::Start { image, container, config } => self.start(&v, image, container, config.as_ref(), verified),
        }
    }

    fn pause(&mut self, v: &View<'_>) -> Next {
        if v.w.held {
            return done(crate::text!("{} is held{}: Flagger leaves it alone", v.name(), v.by()));
        }
        if v.being_undone() {
            let why = crate::text!("{} is being undone: a hold would stop that", v.name());
            return refused_already(why, "nothing is left to do");
        }
        let aimed = v.aim.seen.as_ref().map(|s| &s.hash).or(self.first.as_ref());
        if (v.finished() || v.back()) && aimed.is_some_and(|h| !h.is_empty() && *h != v.w.hash) {
            let why = crate::text!("{} has left the version that was moving", v.name());
            return refused_already(why, "look again");
        }
        let marks = [(HOLD, Some(draft::hold_value(&v.aim.order))), (HOLD_BY, Some(draft::hold_by(&v.aim.order)))];
        let d = v.draft().set(&["spec", "suspend"], json!(true)).marks(v.object, &marks);
        self.attempts.send(d.main(v.aim.workload.clone(), Direction::Safe, Text::scrub("hold: spec.suspend=true")))
    }

    fn resume(&mut self, v: &View<'_>) -> Next {
        if !v.w.held {
            let was = self.attempts.any() || v.aim.seen.as_ref().is_some_and(|s| s.held);
            return if was {
                done(crate::text!("{} is resumed", v.name()))
            } else {
                refused(crate::text!("nobody holds {}", v.name()), "nothing is left to do")
            };
        }
        if self.hold.as_deref() != v.object.annotation(HOLD) {
            let why = crate::text!("{} is held anew{}", v.name(), v.by());
            return refused(why, "look again; r answers the hold that is there now");
        }
        let d = v.draft().same(v.object, &["spec", "suspend"]).set(&["spec", "suspend"], json!(false));
        let d = d.marks(v.object, &[(HOLD, None), (HOLD_BY, None)]);
        let says = Text::scrub("resume: spec.suspend=false");
        self.attempts.send(d.main(v.aim.workload.clone(), Direction::Forward, says))
    }

    fn promote_full(&mut self, v: &View<'_>) -> Next {
        let first = self.first.clone().unwrap_or_default();
        if !self.attempts.any() {
            if v.aim.order.why.trim().is_empty() {
                let why = crate::text!("a full promotion of {} skips its analysis: it needs a reason", v.name());
                return refused(why, "give one with --reason, or in the dialog");
            }
            if v.aim.seen.as_ref().is_some_and(|s| s.hash != v.w.hash) {
                let why = crate::text!("{} moved meanwhile: {} is there now", v.name(), v.w.hash);
                return refused(why, "look again");
            }
            if v.finished() {
                return refused(crate::text!("{} is promoted already", v.name()), "nothing is left to skip");
            }
            if v.phase == "Failed" {
                let why = crate::text!("{} has failed: there is nothing in flight to promote", v.name());
                return refused(why, "t tries it again, u undoes it");
            }
        }
        if v.being_undone() {
            let why = crate::text!("{} is being undone", v.name());
            return refused(why, "a full promotion would take the bad version to everybody");
        }
        if v.w.hash != first {
            let why = crate::text!("{} moved meanwhile: {} is there now", v.name(), v.w.hash);
            return self.after_skip(v).unwrap_or_else(|| refused(why, "look again"));
        }
        if v.finished() || v.phase == "Failed" {
            if let Some(next) = self.after_skip(v) {
                return next;
            }
            return if v.finished() {
                done(crate::text!("{} is promoted: {} is on the primary", v.name(), v.version()))
            } else {
                refused(
                    crate::text!("{} failed on the way (progress deadline)", v.name()),
                    "t tries it again, u undoes it",
                )
            };
        }
        if v.w.promote_full && !v.w.held {
            return wait("Flagger to promote without analysis");
        }
        if v.w.held && self.hold.as_deref() != v.object.annotation(HOLD) {
            let why = crate::text!("{} was held meanwhile{}", v.name(), v.by());
            return refused(why, "look again; r resumes it");
        }
        let says = Text::scrub("promote fully: spec.skipAnalysis=true until it is through");
        self.attempts.send(v.skip(v.draft(), &first, Direction::Forward, says))
    }

    /// Takes `skipAnalysis` back where we set it.
    fn after_skip(&mut self, v: &View<'_>) -> Option<Next> {
        (v.w.promote_full && v.object.annotation(SKIP).is_some()).then(|| self.attempts.send(v.unskip()))
    }

    fn abort(&mut self, v: &View<'_>) -> Next {
        if self.plan.is_none() {
            if v.phase == "Failed" {
                return done(crate::text!("{}: Flagger has taken the traffic back to the primary already", v.name()));
            }
            if v.finished() {
                return refused(
                    crate::text!("{}: nothing is in flight", v.name()),
                    "u undoes the version that is live",
                );
            }
        }
        self.undo(v)
    }

    fn undo(&mut self, v: &View<'_>) -> Next {
        if self.plan.is_none() {
            match v.holder.plan(&v.w, !v.promoted()) {
                Ok(plan) => self.plan = Some(plan),
                Err(next) => return next,
            }
        }
        let Some(plan) = self.plan.clone() else { return wait("the canary to be read") };
        if !v.holder.restored(&plan) {
            return self.attempts.send(v.holder.restore(&plan));
        }
        // Where the primary runs the bad version, only another run takes it back: without analysis, for it is known good.
        let primary = v.facts.primary.as_ref().and_then(|p| p.raw("/spec/template"));
        let image = |t: &Value| container_image(t, v.aim.container.as_deref()).map(str::to_owned);
        let on_primary = primary.and_then(image).is_none_or(|i| Some(i) == image(&plan.template));
        let stamped = v.object.annotation(UNDO) == Some(draft::undo_value(&plan.bad, &plan.to.hash).as_str());
        if v.w.held || !stamped || (!on_primary && !v.w.promote_full) {
            let d = holder::clear(Draft::on(v.object), v.object, "suspend", &plan);
            let says = Text::scrub("mark the undo, end a hold: spec.suspend=false");
            let id = v.aim.workload.clone();
            return self.attempts.send(if on_primary {
                d.main(id, Direction::Safe, says)
            } else {
                let says = Text::scrub("take the old version back to the primary without analysis");
                v.skip(d, &plan.to.hash, Direction::Safe, says)
            });
        }
        if !v.holder.observed() {
            return wait("the controller to see the restored template");
        }
        if !on_primary {
            return wait("Flagger to take the old version back to the primary");
        }
        let primary_moving = v.facts.primary.as_ref().is_some_and(|p| {
            let count = |pointer: &str| p.int(pointer).unwrap_or_default();
            count("/status/observedGeneration") < p.generation()
                || count("/status/updatedReplicas") < count("/status/replicas")
        });
        if primary_moving {
            return wait("the primary to run the old version");
        }
        if plan.bad != plan.to.hash.as_str() && v.holder.runs(&plan.bad) {
            return wait("the pods of the bad version to end");
        }
        if let Some(next) = self.after_skip(v) {
            return next;
        }
        done(plan.said(v.aim, v.facts))
    }

    fn retry(&mut self, v: &View<'_>) -> Next {
        if self.note.is_none() {
            if v.phase != "Failed" {
                return refused(crate::text!("{} has not failed", v.name()), "retry is for a failed canary");
            }
            self.note = Some(holder::anew(v.aim));
        }
        let Some((key, value)) = &self.note else { return wait("the canary to be read") };
        if v.holder.note(key) == Some(value.as_str()) {
            return if v.phase == "Failed" {
                wait("Flagger to see the change (it looks once an interval)")
            } else {
                done(crate::text!("{}: Flagger tries the version again", v.name()))
            };
        }
        if v.w.held {
            return refused(crate::text!("{} is held{}", v.name(), v.by()), "r resumes it first");
        }
        if v.object.annotation(UNDO).is_some() {
            let d = v.draft().marks(v.object, &[(UNDO, None)]);
            let says = Text::scrub("take the mark of the abort away");
            return self.attempts.send(d.main(v.aim.workload.clone(), Direction::Forward, says));
        }
        let says = Text::scrub("retry: mark the target's template anew");
        self.attempts.send(v.holder.touch(key, value, says))
    }

    /// Restarts the pods that serve: the primary's. A restart of the target would be a new revision to Flagger.
    fn restart(&mut self, v: &View<'_>) -> Next {
        let Some(primary) = &v.facts.primary else {
            return refused(crate::text!("the primary of {} cannot be read", v.name()), "check the rights to read it");
        };
        let value = match &self.note {
            Some((_, value)) => value.clone(),
            None => v.facts.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        };
        self.note = Some((RESTARTED, value.clone()));
        let id = ObjectRef { kind: ObjectKind::Deployment, name: primary.name(), ..v.aim.workload.clone() };
        let serving = Holder::new(v.aim, v.facts, v.object, primary, id);
        if serving.note(RESTARTED) == Some(value.as_str()) {
            let count = |pointer: &str| primary.int(pointer).unwrap_or_default();
            let all = count("/spec/replicas");
            let through = serving.observed()
                && count("/status/updatedReplicas") >= all
                && count("/status/replicas") <= all
                && count("/status/availableReplicas") >= all;
            return if through {
                done(crate::text!("{}: the pods of its primary are restarted", v.name()))
            } else {
                wait("the pods of the primary to be new")
            };
        }
        if v.w.held {
            return refused(crate::text!("{} is held{}", v.name(), v.by()), "r resumes it first");
        }
        if !v.finished() {
            let why = crate::text!("{} is not at rest: Flagger compares its primary with what is in flight", v.name());
            return refused(why, "wait until it is through, or undo it");
        }
        self.attempts.send(serving.touch(RESTARTED, &value, Text::scrub("restart the primary's pods")))
    }

    fn start(
        &mut self,
        v: &View<'_>,
        image: &Text,
        container: &Text,
        files: Option<&ConfigFiles>,
        verified: Option<&Verified>,
    ) -> Next {
        let there = v.holder.template().is_some_and(|t| {
            container_image(t, Some(container)) == Some(image.as_str()) && config::is_mounted(t, files)
        });
        if there && v.phase == "Failed" {
            return refused(crate::text!("{image} failed on {}", v.name()), "t tries it again");
        }
        if v.w.held {
            return refused(crate::text!("{} is held{}", v.name(), v.by()), "r resumes it first");
        }
        if v.being_undone() && v.phase != "Failed" && !there {
            return refused(crate::text!("{} is being undone", v.name()), "wait until it is back, then order it again");
        }
        if let Some(next) = self.after_skip(v) {
            return next;
        }
        if v.w.stable_hash.is_empty() && !there {
            let why = crate::text!("which revision of {} is live cannot be told, so it cannot be recorded", v.name());
            return refused(
                why,
                "wait until Flagger has initialized it; its primary and replica sets must be readable",
            );
        }
        let moved = self.first.as_ref().is_some_and(|first| *first != v.w.hash);
        let unlike_seen = v.aim.seen.as_ref().is_some_and(|s| s.hash != v.w.hash);
        if (moved || unlike_seen) && !there && v.holder.observed() {
            let why = crate::text!("{} moved meanwhile: another version is there now", v.name());
            return refused(why, "look again before you start another version");
        }
        // The mark of an undo that is over would make a later hold think that it goes on.
        if !there && v.object.annotation(UNDO).is_some() {
            let d = v.draft().marks(v.object, &[(UNDO, None)]);
            let says = Text::scrub("take the mark of the last undo away");
            return self.attempts.send(d.main(v.aim.workload.clone(), Direction::Forward, says));
        }
        match v.holder.deploy(image, container, files, &v.w.stable_hash, verified, &mut self.attempts) {
            Some(next) => next,
            None => {
                let word = if v.finished() { "is live" } else { "is on its way" };
                let skips = if v.w.promote_full { "; its analysis is skipped (spec.skipAnalysis)" } else { "" };
                done(crate::text!("{}: {image} {word}{skips}", v.name()))
            }
        }
    }
}

/// Flagger moves by itself; a person's word counts only where a confirm gate asks for it.
fn promote(v: &View<'_>) -> Next {
    let webhooks = v.object.items("/spec/analysis/webhooks");
    let wanted = match v.phase {
        "Waiting" => "confirm-rollout",
        "WaitingPromotion" => "confirm-promotion",
        _ => "confirm-traffic-increase",
    };
    let gate = webhooks.iter().find(|h| h["type"] == wanted);
    let waits = matches!(v.phase, "Waiting" | "WaitingPromotion");
    match gate {
        Some(gate) => {
            let url = Text::scrub(gate["url"].as_str().unwrap_or_default());
            let open = url.strip_suffix("/gate/check").map(|base| crate::text!("{base}/gate/open")).unwrap_or(url);
            let body = json!({"name": v.aim.workload.name.as_str(), "namespace": v.aim.workload.namespace.as_str()});
            Next::Refused(super::Refusal {
                why: crate::text!(
                    "{}: {} is answered at its {wanted} gate, not in the cluster",
                    v.name(),
                    if waits { "the step that waits" } else { "each step" }
                ),
                hint: crate::text!("open the gate: POST {body} to {open}"),
                already: false,
            })
        }
        None => refused(
            crate::text!("{}: Flagger moves by its own analysis; no {wanted} gate is configured", v.name()),
            "p holds it, F with a reason skips the analysis; a confirm gate in spec.analysis.webhooks would ask you",
        ),
    }
}

impl<'a> View<'a> {
    fn of(aim: &'a Aim, object: &'a Object, target: &'a Object, facts: &'a Facts) -> Self {
        let sets: Vec<&Object> = facts.sets.iter().collect();
        let records: Vec<&Object> = facts.records.iter().collect();
        let related = Related {
            sets: &sets,
            records: &records,
            target: Some(target),
            primary: facts.primary.as_ref(),
            was_stable: &facts.was_stable,
            ..Related::default()
        };
        let w = observe(&aim.workload, object, &related, aim.container.as_deref(), facts.now);
        let id = ObjectRef { kind: ObjectKind::Deployment, name: target.name(), ..aim.workload.clone() };
        let phase = object.str("/status/phase").unwrap_or_default();
        Self { aim, facts, object, phase, w, holder: Holder::new(aim, facts, object, target, id) }
    }

    fn name(&self) -> &Text {
        &self.aim.workload.name
    }

    fn by(&self) -> Text {
        self.object.annotation(HOLD_BY).map(|by| crate::text!(" by {by}")).unwrap_or_default()
    }

    fn version(&self) -> &str {
        self.w.version.as_deref().unwrap_or(self.w.hash.as_str())
    }

    /// True when one version is all there is: Flagger is done with it and the primary runs it.
    fn finished(&self) -> bool {
        self.w.observed && matches!(self.phase, "Initialized" | "Succeeded")
    }

    /// True when the primary has taken the version.
    fn promoted(&self) -> bool {
        self.finished() || matches!(self.phase, "Promoting" | "Finalising")
    }

    /// True when target and primary run the version that an undo or abort went back to. Flagger may still walk it past
    /// itself, which holds nobody up.
    fn back(&self) -> bool {
        before::going_back(self.object, &self.w.hash)
            .is_some_and(|(from, to)| self.w.hash == *to && self.w.stable_hash == *to && !self.holder.runs(from))
    }

    fn being_undone(&self) -> bool {
        !self.finished() && draft::undo_counts(self.object, &self.w.hash) && !self.back()
    }

    fn draft(&self) -> Draft {
        Draft::on(self.object).stamps_as_read(self.object)
    }

    /// Skips the analysis of this version, and remembers that we did; ends a hold with it.
    fn skip(&self, d: Draft, hash: &str, direction: Direction, says: Text) -> Box<Effect> {
        let mut d = d.same(self.object, &["spec", "skipAnalysis"]).set(&["spec", "skipAnalysis"], json!(true));
        let mut marks = vec![(SKIP, Some(hash.to_owned()))];
        if self.w.held && direction == Direction::Forward {
            d = d.same(self.object, &["spec", "suspend"]).set(&["spec", "suspend"], json!(false));
            marks.extend([(HOLD, None), (HOLD_BY, None)]);
        }
        d.marks(self.object, &marks).main(self.aim.workload.clone(), direction, says)
    }

    fn unskip(&self) -> Box<Effect> {
        let d = self.draft().same(self.object, &["spec", "skipAnalysis"]).set(&["spec", "skipAnalysis"], json!(false));
        let says = Text::scrub("analyse the next version again: spec.skipAnalysis=false");
        d.marks(self.object, &[(SKIP, None)]).main(self.aim.workload.clone(), Direction::Safe, says)
    }
}
