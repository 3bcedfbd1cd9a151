//! The verbs on an Argo Rollout: what they look at, and the ones that stay in place or go forward by one field. Going back
//! (abort, undo) is `back.rs`, deploying is `start.rs`. The rules are `train.md` §1–2 and reference sections 1.1 and 1.2.

use serde_json::{Value, json};

use super::draft::{self, Draft, HOLD, HOLD_BY, UNDO};
use super::{Aim, Attempts, Facts, Next, Verb, done, refused, wait};
use crate::core::effect::Direction;
use crate::core::object::{Object, ObjectKind, ObjectRef};
use crate::core::template;
use crate::core::text::Text;
use crate::core::verified::Verified;
use crate::core::workload::sets::{self, Set};
use crate::core::workload::{Related, before, rollout};

mod back;
mod start;

/// A verb on a Rollout, under way.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    attempts: Attempts,
    /// What it was ordered against: fixed at the first look, or by what the person saw.
    ground: Option<Ground>,
    start: start::Start,
    back: back::Back,
    restart_at: Option<String>,
    /// True once the hold of this very order was seen: gone again, somebody has ended it, and it is not put back.
    landed: bool,
}

/// The state that a verb was ordered against.
#[derive(Clone, PartialEq, Debug)]
struct Ground {
    hash: String,
    step: i64,
    conditions: Value,
    hold: Option<String>,
}

impl Machine {
    pub(super) fn new() -> Self {
        Self {
            attempts: Attempts::default(),
            ground: None,
            start: start::Start::default(),
            back: back::Back::default(),
            restart_at: None,
            landed: false,
        }
    }

    pub(super) fn next(&mut self, aim: &Aim, verified: Option<&Verified>, object: &Object, facts: &Facts) -> Next {
        let view = View::of(aim, object, facts);
        match &aim.verb {
            Verb::Pause => self.pause(&view),
            Verb::Resume => self.resume(&view),
            Verb::Promote => self.promote(&view),
            Verb::PromoteFull => self.promote_full(&view),
            Verb::Retry => self.retry(&view),
            Verb::Restart => self.restart(&view),
            Verb::Abort => self.back.abort(&view, &mut self.attempts),
            Verb::Undo => self.back.undo(&view, &mut self.attempts),
            Verb::Start { image, container, config } => {
                let wanted = start::Wanted { image, container, config: config.as_ref() };
                self.start.next(&view, wanted, verified, &mut self.attempts)
            }
        }
    }

    fn pause(&mut self, v: &View<'_>) -> Next {
        if v.held() {
            self.landed |= draft::is_hold_of(v.object, &v.aim.order);
            if !v.observed() {
                return wait("the controller to see the hold");
            }
            return done(crate::text!("{} is held{}", v.name(), v.by()));
        }
        if self.landed {
            return done(crate::text!("{} was held, and the hold was ended meanwhile", v.name()));
        }
        let ground = self.ground.get_or_insert_with(|| v.ground());
        let aimed = v.aim.seen.as_ref().map_or(ground.hash.as_str(), |s| s.hash.as_str());
        if v.being_undone() {
            return super::refused_already(
                crate::text!("{} is being undone: a hold would stop that", v.name()),
                "nothing is left to do",
            );
        }
        if v.aborted() {
            return super::refused_already(
                crate::text!("{} is aborted: a hold would keep pods of the bad version", v.name()),
                "u undoes it, t tries it again",
            );
        }
        if v.settled() && !aimed.is_empty() && v.current != aimed {
            return super::refused_already(
                crate::text!("{} has left the version that was moving ({aimed}); {} is live", v.name(), v.current),
                "look again",
            );
        }
        let effect = v
            .draft()
            .same(v.object, &["status", "abort"])
            .set(&["spec", "paused"], json!(true))
            .marks(
                v.object,
                &[(HOLD, Some(draft::hold_value(&v.aim.order))), (HOLD_BY, Some(draft::hold_by(&v.aim.order)))],
            )
            .main(v.id().clone(), Direction::Safe, Text::scrub("hold: spec.paused=true"));
        self.attempts.send(effect)
    }

    fn resume(&mut self, v: &View<'_>) -> Next {
        let ground = self.ground.get_or_insert_with(|| v.ground()).clone();
        if !v.held() {
            let was = self.attempts.any() || v.aim.seen.as_ref().is_some_and(|s| s.held);
            return match (was, v.observed()) {
                (true, true) => done(crate::text!("{} is resumed", v.name())),
                (true, false) => wait("the controller to see that the hold is over"),
                (false, _) => refused(
                    crate::text!("nobody holds {}", v.name()),
                    if v.conditions().is_empty() { "nothing is left to do" } else { "P approves the pause that waits" },
                ),
            };
        }
        if ground.hold.as_deref() != v.object.annotation(HOLD) {
            return refused(
                crate::text!("{} is held anew{}", v.name(), v.by()),
                "look again; r answers the hold that is there now",
            );
        }
        self.attempts.send(v.release())
    }

    fn promote(&mut self, v: &View<'_>) -> Next {
        if self.ground.is_none() {
            if let Err(next) = v.may_promote() {
                return next;
            }
            self.ground = Some(v.ground());
        }
        let Some(ground) = self.ground.clone() else { return wait("the rollout to be read") };
        if v.current != ground.hash {
            return refused(
                crate::text!("{} moved meanwhile: another version ({}) is in flight", v.name(), v.current),
                "look again before you approve it",
            );
        }
        if v.aborted() {
            return refused(crate::text!("{} was aborted meanwhile", v.name()), "t tries it again, u undoes it");
        }
        let moved = crate::text!("{}: the pause at step {} is over", v.name(), v.step_of(ground.step));
        if v.settled() || v.step() > ground.step {
            return done(moved);
        }
        if Value::from(v.conditions()) != ground.conditions {
            if v.conditions().is_empty() && v.held() && self.attempts.any() {
                return done(crate::text!("{moved}; it goes on when its hold{} ends", v.by()));
            }
            if v.conditions().is_empty() && v.object.flag("/status/controllerPause") {
                return wait("the controller to end the pause");
            }
            return match (v.conditions().is_empty(), self.attempts.any()) {
                (true, _) if v.object.raw("/spec/strategy/blueGreen").is_some() => done(moved),
                (true, _) => wait("the controller to go on"),
                (false, true) => done(moved),
                (false, false) => refused(
                    crate::text!("{} moved meanwhile: it pauses for another reason now", v.name()),
                    "look again before you approve it",
                ),
            };
        }
        if v.held() {
            return refused(crate::text!("{} was held meanwhile{}", v.name(), v.by()), "r resumes it first");
        }
        let mut d = v.forward().same(v.object, &["status", "pauseConditions"]);
        let says;
        if v.inconclusive_step() {
            // Clearing the pause alone would start the analysis again: the one case in which a step is written.
            d = d
                .same(v.object, &["status", "canary", "currentStepAnalysisRunStatus", "name"])
                .set(&["status", "currentStepIndex"], json!(ground.step + 1))
                .set(&["status", "controllerPause"], json!(false));
            says = crate::text!("approve step {} over its inconclusive analysis", v.step_of(ground.step));
        } else if v.object.raw("/spec/strategy/canary").is_some() {
            says = crate::text!("end the pause at step {}", v.step_of(ground.step));
        } else {
            says = Text::scrub("approve the switch");
        }
        d = d.clear(v.object, &["status", "pauseConditions"]);
        self.attempts.send(d.status(v.id().clone(), Direction::Forward, says))
    }

    fn promote_full(&mut self, v: &View<'_>) -> Next {
        if !v.observed() {
            return wait("the controller to see the last change");
        }
        if self.ground.is_none() {
            if let Err(next) = v.may_promote_full() {
                return next;
            }
            self.ground = Some(v.ground());
        }
        let Some(ground) = self.ground.clone() else { return wait("the rollout to be read") };
        if v.current != ground.hash {
            return refused(
                crate::text!("{} moved meanwhile: another version ({}) is there now", v.name(), v.current),
                "look again before you promote it",
            );
        }
        if v.settled() {
            return done(crate::text!("{} is fully promoted: {} is stable", v.name(), v.current));
        }
        if v.aborted() || v.being_undone() {
            return refused(
                crate::text!("{} was aborted meanwhile", v.name()),
                "t tries it again, u undoes it; a full promotion would take the bad version to everybody",
            );
        }
        if v.held() {
            if v.object.flag("/status/promoteFull") {
                return refused(
                    crate::text!("{} was held meanwhile{}, before the full promotion went through", v.name(), v.by()),
                    "r resumes it: the full promotion then goes on; X or u takes it back",
                );
            }
            if ground.hold.as_deref() != v.object.annotation(HOLD) || ground.hold.is_none() && self.attempts.any() {
                return refused(crate::text!("{} was held meanwhile{}", v.name(), v.by()), "look again; r resumes it");
            }
            return self.attempts.send(v.release());
        }
        if v.object.flag("/status/promoteFull") {
            return wait(&v.pods_missing());
        }
        let effect = v.forward().set(&["status", "promoteFull"], json!(true));
        let says = Text::scrub("promote fully: skip all remaining steps");
        self.attempts.send(effect.status(v.id().clone(), Direction::Forward, says))
    }

    fn retry(&mut self, v: &View<'_>) -> Next {
        let ground = self.ground.get_or_insert_with(|| v.ground()).clone();
        if v.current != ground.hash && v.observed() {
            return refused(
                crate::text!("{} moved meanwhile: another version ({}) is there now", v.name(), v.current),
                "look again before you retry",
            );
        }
        if !v.aborted() {
            if !self.attempts.any() {
                return refused(crate::text!("{} is not aborted", v.name()), "retry is for an aborted version");
            }
            return done(crate::text!("{}: the version is tried again from its first step", v.name()));
        }
        if let Some(moved) = v.not_what_was_seen() {
            return moved;
        }
        if v.held() {
            return refused(crate::text!("{} is held{}", v.name(), v.by()), "r resumes it first");
        }
        if v.object.annotation(UNDO).is_some() {
            let effect = v.draft().same(v.object, &["status", "abort"]).marks(v.object, &[(UNDO, None)]);
            let says = Text::scrub("take the mark of the abort away");
            return self.attempts.send(effect.main(v.id().clone(), Direction::Forward, says));
        }
        let effect = v.forward().set(&["status", "abort"], json!(false));
        let says = Text::scrub("retry: run the steps again");
        self.attempts.send(effect.status(v.id().clone(), Direction::Forward, says))
    }

    fn restart(&mut self, v: &View<'_>) -> Next {
        let wanted =
            self.restart_at.get_or_insert_with(|| v.facts.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()).clone();
        let asked = v.object.time("/spec/restartAt");
        let ours = wanted.parse().ok();
        if asked.is_some() && asked >= ours {
            return if v.object.time("/status/restartedAt") >= asked {
                done(crate::text!("{}: its pods are restarted", v.name()))
            } else {
                wait("its pods to be restarted")
            };
        }
        if let Some(next) = v.stands_against_forward() {
            return next;
        }
        let effect = v.draft().same(v.object, &["spec", "restartAt"]).set(&["spec", "restartAt"], json!(wanted));
        let says = crate::text!("restart the pods: spec.restartAt={wanted}");
        self.attempts.send(effect.main(v.id().clone(), Direction::Forward, says))
    }
}

/// What a verb looks at.
pub(super) struct View<'a> {
    aim: &'a Aim,
    object: &'a Object,
    facts: &'a Facts,
    sets: Vec<Set<'a>>,
    current: &'a str,
    stable: &'a str,
}

impl<'a> View<'a> {
    fn of(aim: &'a Aim, object: &'a Object, facts: &'a Facts) -> Self {
        let refs: Vec<&Object> = facts.sets.iter().collect();
        Self {
            aim,
            object,
            facts,
            sets: sets::of(ObjectKind::Rollout, object.uid(), &refs),
            current: object.str("/status/currentPodHash").unwrap_or_default(),
            stable: object.str("/status/stableRS").unwrap_or_default(),
        }
    }

    fn id(&self) -> &ObjectRef {
        &self.aim.workload
    }

    fn name(&self) -> &Text {
        &self.aim.workload.name
    }

    fn by(&self) -> Text {
        match self.object.annotation(HOLD_BY) {
            Some(by) => crate::text!(" by {by}"),
            None => Text::default(),
        }
    }

    fn held(&self) -> bool {
        self.object.flag("/spec/paused")
    }

    fn aborted(&self) -> bool {
        self.object.flag("/status/abort")
    }

    fn step(&self) -> i64 {
        self.object.int("/status/currentStepIndex").unwrap_or_default()
    }

    fn conditions(&self) -> &'a [Value] {
        self.object.items("/status/pauseConditions")
    }

    /// True when the controller has seen the spec and, with `workloadRef`, the template of the Deployment.
    fn observed(&self) -> bool {
        let workload_seen = match (self.object.raw("/spec/workloadRef"), &self.facts.target) {
            (Some(_), Some(target)) => {
                self.object.int("/status/workloadObservedGeneration").is_none_or(|seen| seen >= target.generation())
            }
            _ => true,
        };
        rollout::observed(self.object) && workload_seen
    }

    /// True when one version is there, stable, and the controller knows of no other.
    fn settled(&self) -> bool {
        self.observed() && !self.stable.is_empty() && self.current == self.stable
    }

    /// True when no other version than the stable one is deployed, whatever else of the spec has changed.
    fn at_rest(&self) -> bool {
        let unseen = !self.observed() && before::deploy_unseen(self.object, &self.sets, self.template());
        !self.stable.is_empty() && self.current == self.stable && !unseen
    }

    /// The template that decides what runs.
    fn template(&self) -> Option<&'a Value> {
        match self.object.raw("/spec/workloadRef") {
            Some(_) => self.facts.target.as_ref().and_then(|t| t.raw("/spec/template")),
            None => self.object.raw("/spec/template"),
        }
    }

    fn container(&self) -> Option<&'a str> {
        self.aim.container.as_deref()
    }

    fn set(&self, hash: &str) -> Option<&Set<'a>> {
        sets::find(&self.sets, hash)
    }

    /// The Deployment that holds the template, or what stands against writing it.
    fn referenced(&self) -> Result<Option<(&'a Object, ObjectRef)>, Next> {
        let Some(reference) = self.object.raw("/spec/workloadRef") else { return Ok(None) };
        let kind = reference["kind"].as_str().unwrap_or_default();
        let name = Text::scrub(reference["name"].as_str().unwrap_or_default());
        match &self.facts.target {
            Some(target) if kind == "Deployment" => {
                Ok(Some((target, ObjectRef { kind: ObjectKind::Deployment, name, ..self.id().clone() })))
            }
            Some(_) => Err(refused(
                crate::text!("{} takes its template from a {kind}, not a Deployment", self.name()),
                "change the template there by hand",
            )),
            None => Err(refused(
                crate::text!("the Deployment {name} that {} takes its template from cannot be read", self.name()),
                "check that it exists and may be read",
            )),
        }
    }

    /// True while an abort or a restore is under way: its stamp speaks of what is there.
    fn being_undone(&self) -> bool {
        if self.settled() || !draft::undo_counts(self.object, self.current) {
            return false;
        }
        if self.observed() {
            return true;
        }
        // The controller has not seen the spec yet: our restore, a hold, or a new deploy by somebody else.
        let back_to = self.object.annotation(UNDO).and_then(|s| s.rsplit('/').next()).unwrap_or_default();
        let runs = |hash: &str| match (self.set(hash).and_then(|s| s.object.raw("/spec/template")), self.template()) {
            (Some(set), Some(live)) => template::holds(set, live),
            _ => true,
        };
        runs(self.current) || runs(back_to)
    }

    fn inconclusive_step(&self) -> bool {
        self.object.str("/status/canary/currentStepAnalysisRunStatus/status") == Some("Inconclusive")
            && self.object.flag("/status/controllerPause")
    }

    fn ground(&self) -> Ground {
        Ground {
            hash: self.current.to_owned(),
            step: self.step(),
            conditions: Value::from(self.conditions()),
            hold: self.object.annotation(HOLD).map(str::to_owned),
        }
    }

    fn draft(&self) -> Draft {
        Draft::on(self.object).stamps_as_read(self.object)
    }

    /// The tests of a forward patch: nothing has moved, nobody holds, nobody goes back.
    fn forward(&self) -> Draft {
        ["currentPodHash", "currentStepIndex", "abort"]
            .iter()
            .fold(self.draft(), |d, field| d.same(self.object, &["status", field]))
            .same(self.object, &["spec", "paused"])
    }

    /// Ends the hold that is there, and no other.
    fn release(&self) -> Box<crate::core::effect::Effect> {
        self.draft()
            .same(self.object, &["spec", "paused"])
            .set(&["spec", "paused"], json!(false))
            .marks(self.object, &[(HOLD, None), (HOLD_BY, None)])
            .main(self.id().clone(), Direction::Forward, Text::scrub("resume: spec.paused=false"))
    }

    fn stands_against_forward(&self) -> Option<Next> {
        if self.being_undone() {
            let hint = "wait until it is back, then order it again";
            return Some(refused(crate::text!("{} is being undone or was aborted", self.name()), hint));
        }
        self.held().then(|| refused(crate::text!("{} is held{}", self.name(), self.by()), "r resumes it first"))
    }

    /// A refusal when the workload has left what the person saw.
    fn not_what_was_seen(&self) -> Option<Next> {
        let seen = self.aim.seen.as_ref()?;
        if seen.hash.as_str() == self.current {
            return None;
        }
        Some(refused(
            crate::text!("{} moved meanwhile: {} was on screen, {} is there now", self.name(), seen.hash, self.current),
            "look again",
        ))
    }

    /// A step as the Argo Rollouts plugin counts: how many of all are done.
    fn step_of(&self, index: impl std::fmt::Display) -> Text {
        crate::text!("{index}/{}", self.object.items("/spec/strategy/canary/steps").len())
    }

    fn step_word(&self) -> Text {
        match rollout::current_step(self.object) {
            Some((index, step)) => crate::text!("step {} ({})", self.step_of(index), rollout::step_text(step)),
            None => Text::scrub("its update"),
        }
    }

    fn may_promote(&self) -> Result<(), Next> {
        if !self.observed() {
            return Err(wait("the controller to see the last change"));
        }
        if let Some(next) = self.not_what_was_seen() {
            return Err(next);
        }
        if self.aborted() {
            return Err(refused(crate::text!("{} is aborted", self.name()), "t tries it again, u undoes it"));
        }
        if let Some(next) = self.stands_against_forward() {
            return Err(next);
        }
        if self.settled() {
            return Err(refused(
                crate::text!("{}: nothing waits, it is on its stable version", self.name()),
                "nothing to approve",
            ));
        }
        if let Some(seen) = &self.aim.seen {
            let now = self.object.int("/status/currentStepIndex").and_then(|i| u32::try_from(i).ok());
            let reason = self.conditions().first().and_then(|c| c["reason"].as_str()).unwrap_or_default();
            if seen.step != now || (seen.pause.as_str() != reason && !self.conditions().is_empty()) {
                return Err(refused(
                    crate::text!("{}: the pause that was on screen is over; now at {}", self.name(), self.step_word()),
                    "look again; P approves the pause that waits now",
                ));
            }
        }
        if self.conditions().is_empty() {
            if self.object.flag("/status/controllerPause") {
                return Err(done(crate::text!("{}: the pause is approved already", self.name())));
            }
            return Err(refused(
                crate::text!("{}: nothing waits, {} is running", self.name(), self.step_word()),
                "a promote now would skip it; wait for the next pause, or F with a reason skips all the rest",
            ));
        }
        if matches!(self.object.str("/status/canary/currentStepAnalysisRunStatus/status"), Some("Failed" | "Error")) {
            return Err(refused(crate::text!("{}: its analysis failed", self.name()), "X aborts, u undoes"));
        }
        let unsure =
            self.conditions().iter().any(|c| c["reason"].as_str().is_some_and(|r| r.starts_with("Inconclusive")));
        if unsure && self.aim.order.why.trim().is_empty() {
            return Err(refused(
                crate::text!("{}: its analysis is inconclusive; approving it needs a reason", self.name()),
                "give one with --reason, or in the dialog",
            ));
        }
        Ok(())
    }

    fn may_promote_full(&self) -> Result<(), Next> {
        if let Some(next) = self.not_what_was_seen() {
            return Err(next);
        }
        if self.settled() {
            return Err(refused(crate::text!("{} is fully promoted already", self.name()), "nothing is left to skip"));
        }
        if self.aborted() || self.being_undone() {
            return Err(refused(
                crate::text!("{} is aborted or being undone", self.name()),
                "t tries it again; a full promotion would take the bad version to everybody",
            ));
        }
        if self.aim.order.why.trim().is_empty() {
            return Err(refused(
                crate::text!("a full promotion of {} skips its gates: it needs a reason", self.name()),
                "give one with --reason, or in the dialog",
            ));
        }
        Ok(())
    }

    fn pods_missing(&self) -> Text {
        let desired = self.object.int("/spec/replicas").unwrap_or(1);
        let ready = self.set(self.current).map_or(0, Set::available);
        crate::text!("{ready} of {desired} new pods are available")
    }

    /// True while requests may reach this version: by the router's weights, the active selector, or its available pods.
    fn serves(&self, hash: &str) -> bool {
        if hash.is_empty() {
            return false;
        }
        if self.object.raw("/spec/strategy/blueGreen").is_some() {
            return self.object.str("/status/blueGreen/activeSelector") == Some(hash);
        }
        if self.object.raw("/spec/strategy/canary/trafficRouting").is_some() {
            return ["canary", "stable"].iter().any(|side| {
                let at = format!("/status/canary/weights/{side}");
                self.object.str(&format!("{at}/podTemplateHash")) == Some(hash)
                    && self.object.int(&format!("{at}/weight")).unwrap_or_default() > 0
            });
        }
        self.set(hash).is_some_and(|s| s.available() > 0)
    }

    fn related(&self, refs: &'a [&'a Object]) -> Related<'a> {
        Related {
            sets: refs,
            target: self.facts.target.as_ref(),
            was_stable: &self.facts.was_stable,
            ..Related::default()
        }
    }

    /// Where an undo goes back to, and how.
    fn before(&self) -> (crate::core::workload::UndoPath, Option<crate::core::workload::UndoTo>) {
        before::rollout(self.object, &self.sets, &self.related(&[]), self.container(), self.facts.now)
    }
}
