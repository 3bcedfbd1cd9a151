//! Taking a Rollout back: abort (traffic to stable, the spec stays) and undo (the template of what was live before). Both are
//! safe effects and commute with holds from any number of hands: restore > abort > hold (`train.md` §2).

use serde_json::{Value, json};

use super::View;
use crate::core::effect::Direction;
use crate::core::template;
use crate::core::text::Text;
use crate::core::verb::draft::{self, Draft, HOLD, HOLD_BY, UNDO};
use crate::core::verb::{Attempts, Next, done, refused, wait};
use crate::core::workload::before::{self, BEFORE, SET};
use crate::core::workload::{UndoPath, UndoTo, container_image};

/// An abort or undo under way.
#[derive(Clone, Default, Debug)]
pub(super) struct Back {
    plan: Option<Plan>,
    /// The version that an abort takes traffic from.
    bad: Option<String>,
}

/// What is restored. Fixed at the first look: a later look changes how, never what.
#[derive(Clone, Debug)]
struct Plan {
    to: UndoTo,
    template: Value,
    bad: String,
    /// What was changed by others since and is left as it is.
    kept: Vec<Text>,
    /// Why it is a restore although an abort was ordered; empty for an undo.
    instead: Text,
}

impl Back {
    /// Abort. Where Argo would ignore it (after a full promotion, inside the rollback window, before it has seen the deploy)
    /// the template is restored instead.
    pub(super) fn abort(&mut self, v: &View<'_>, attempts: &mut Attempts) -> Next {
        if self.plan.is_some() {
            return self.restore(v, attempts);
        }
        let first = self.bad.is_none();
        let bad = self
            .bad
            .get_or_insert_with(|| v.aim.seen.as_ref().map_or(v.current, |s| s.hash.as_str()).to_owned())
            .clone();
        if v.at_rest() {
            if v.current == bad && first {
                return refused(
                    crate::text!("{} is fully promoted: there is no canary to abort", v.name()),
                    "u undoes it",
                );
            }
            return if v.current == bad {
                refused(crate::text!("{} was fully promoted meanwhile", v.name()), "u undoes it")
            } else {
                done(crate::text!("{}: traffic is on {} already", v.name(), v.stable))
            };
        }
        if v.stable.is_empty() {
            return refused(
                crate::text!("{} has no stable version to go back to: this is its first deploy", v.name()),
                "p holds it; start a version that works",
            );
        }
        if let Some(why) = abort_is_ignored(v) {
            return match plan(v, why) {
                Ok(plan) => {
                    self.plan = Some(plan);
                    self.restore(v, attempts)
                }
                Err(next) => next,
            };
        }
        if v.current != bad && !v.aborted() {
            return refused(
                crate::text!("{} moved meanwhile: {bad} is gone, {} is in flight", v.name(), v.current),
                "look again; X aborts what is in flight now",
            );
        }
        if !v.aborted() {
            let says = Text::scrub("abort: traffic back to stable");
            let d = Draft::on(v.object)
                .same(v.object, &["status", "currentPodHash"])
                .same(v.object, &["status", "promoteFull"])
                .same(v.object, &["status", "stableRS"])
                .set(&["status", "abort"], json!(true));
            return attempts.send(d.status(v.id().clone(), Direction::Safe, says));
        }
        // Only now the mark and the hold: in the other order the version would move on for a moment.
        if v.held() || v.object.annotation(HOLD).is_some() || !draft::undo_counts(v.object, v.current) {
            let says = Text::scrub("mark the abort, end a hold: spec.paused=false");
            return attempts.send(clear(v, v.current, v.stable).main(v.id().clone(), Direction::Safe, says));
        }
        if v.object.raw("/status/abortedAt").is_none() {
            return wait("the controller to abort");
        }
        if v.serves(v.current) {
            return wait("the traffic to leave the aborted version");
        }
        done(crate::text!("{} is aborted: no traffic on {}, read back", v.name(), v.current))
    }

    /// Undo.
    pub(super) fn undo(&mut self, v: &View<'_>, attempts: &mut Attempts) -> Next {
        if self.plan.is_none() {
            match plan(v, Text::default()) {
                Ok(plan) => self.plan = Some(plan),
                Err(next) => return next,
            }
        }
        self.restore(v, attempts)
    }

    fn restore(&mut self, v: &View<'_>, attempts: &mut Attempts) -> Next {
        let Some(plan) = &self.plan else { return wait("the rollout to be read") };
        let back = v.observed() && v.current == plan.to.hash.as_str();
        let written = back || v.template().is_some_and(|t| template::equal(t, &plan.template));
        let version = plan.to.version.as_deref().unwrap_or(plan.to.hash.as_str());
        if !written {
            let says = crate::text!("restore the template of {version}");
            return match v.referenced() {
                Err(next) => next,
                Ok(None) => {
                    let d = clear(v, &plan.bad, &plan.to.hash).set(&["spec", "template"], plan.template.clone());
                    attempts.send(d.main(v.id().clone(), Direction::Safe, says))
                }
                Ok(Some((target, id))) => {
                    let d = Draft::on(target).set(&["spec", "template"], plan.template.clone());
                    attempts.send(d.main(id, Direction::Safe, says))
                }
            };
        }
        // Where the template is another object's, the mark is a patch of its own.
        let unmarked = !before::taken_back_to(v.object, &plan.to.hash) && (attempts.any() || !v.settled());
        if v.held() || unmarked {
            let says = Text::scrub("mark the undo, end a hold: spec.paused=false");
            let d = clear(v, &plan.bad, &plan.to.hash);
            return attempts.send(d.main(v.id().clone(), Direction::Safe, says));
        }
        if !v.observed() {
            return wait("the controller to see the restored template");
        }
        if !v.settled() {
            if v.object.flag("/status/promoteFull") {
                return wait(&v.pods_missing());
            }
            let at_once = v.set(v.current).is_some_and(|s| before::in_window(v.object, &v.sets, s, v.stable));
            if at_once && v.conditions().is_empty() {
                return wait(&v.pods_missing());
            }
            let says = crate::text!("promote {version} fully: no fast way back was left");
            let d = Draft::on(v.object)
                .same(v.object, &["status", "currentPodHash"])
                .set(&["status", "promoteFull"], json!(true));
            return attempts.send(d.status(v.id().clone(), Direction::Safe, says));
        }
        if plan.bad != v.current && v.serves(&plan.bad) {
            return wait("the traffic to leave the bad version");
        }
        let mut said = crate::text!("{} is back on {version} ({}), read back", v.name(), v.current);
        if !plan.instead.is_empty() {
            said = crate::text!("{said}; restored instead of aborted: {}", plan.instead);
        }
        if !plan.kept.is_empty() {
            let kept: Vec<&str> = plan.kept.iter().map(Text::as_str).collect();
            said = crate::text!("{said}; changes by others since are kept: {}", kept.join("; "));
        }
        if let Some(owner) = &v.facts.owner {
            said = crate::text!("{said}; {owner} may revert this");
        }
        done(said)
    }
}

/// A main patch that ends a hold and marks what is going on. The tests make it wait for a look at anything new.
fn clear(v: &View<'_>, from: &str, to: &str) -> Draft {
    let mut d = v.draft();
    if v.held() {
        d = d.set(&["spec", "paused"], json!(false));
    }
    let marks = [(UNDO, Some(draft::undo_value(from, to))), (HOLD, None), (HOLD_BY, None)];
    d.marks(v.object, &marks)
}

/// Why Argo would ignore an abort now, or take it the wrong way.
fn abort_is_ignored(v: &View<'_>) -> Option<Text> {
    if v.being_undone() && before::going_back(v.object, v.current).is_some_and(|(_, to)| to != v.stable) {
        return Some(Text::scrub("it is being undone, and stable still is the bad version"));
    }
    if !v.observed() && before::deploy_unseen(v.object, &v.sets, v.template()) {
        return Some(Text::scrub("the controller has not seen the deploy yet and would discard the abort"));
    }
    if v.object.flag("/status/promoteFull") {
        return Some(Text::scrub("after a full promotion Argo ignores an abort"));
    }
    let set = v.set(v.current)?;
    (v.current != v.stable && before::in_window(v.object, &v.sets, set, v.stable))
        .then(|| Text::scrub("inside the rollback window Argo ignores an abort"))
}

/// Fixes what is restored, or says why nothing is.
fn plan(v: &View<'_>, instead: Text) -> Result<Plan, Next> {
    let (path, to) = v.before();
    let seen = v.aim.seen.as_ref().and_then(|s| s.undo_to.as_ref());
    let is_back = |hash: &str| v.settled() && hash == v.current;
    if seen.is_some_and(|h| is_back(h)) || (v.settled() && before::taken_back_to(v.object, v.current)) {
        return Err(done(crate::text!("{} is back on {} already", v.name(), v.current)));
    }
    let to = match (path.clone(), to) {
        (UndoPath::NotReady(why), _) => {
            let hint = "start the version that you want; nothing here can be restored";
            return Err(refused(crate::text!("{}: {why}", v.name()), hint));
        }
        (_, Some(to)) => to,
        (_, None) => {
            let why = crate::text!("{}: there is nothing to go back to", v.name());
            return Err(refused(why, "this is what was live before, or its first version"));
        }
    };
    if let Some(seen) = seen
        && *seen != to.hash
    {
        return Err(refused(
            crate::text!("{}: an undo would now go back to {}, not to {seen} as was shown", v.name(), to.hash),
            "look again",
        ));
    }
    let Some(recorded) = v.set(&to.hash).and_then(|s| template::of_set(s.object)) else {
        return Err(refused(
            crate::text!("{}: the replica set {} is gone", v.name(), to.hash),
            "start the version anew",
        ));
    };
    v.referenced()?;
    let (template, kept) = match path {
        UndoPath::ToStable => (in_own_words(v, recorded), Vec::new()),
        _ => only_ours(v, recorded),
    };
    let under_way = before::going_back(v.object, v.current).filter(|_| !v.settled());
    let bad = under_way.map_or(v.current, |(from, _)| from).to_owned();
    Ok(Plan { to, template, bad, kept, instead })
}

/// The recorded template as the Rollout itself would say it, so that its pod hash is the recorded one.
fn in_own_words(v: &View<'_>, recorded: Value) -> Value {
    let now = v.set(v.current).and_then(|s| template::of_set(s.object));
    let told = match (v.template(), now) {
        (Some(live), Some(now)) if v.at_rest() || v.observed() => template::in_words_of(live, &now, &recorded),
        _ => None,
    };
    told.unwrap_or(recorded)
}

/// The template to restore on a finished service: the recorded one, unless somebody changed more than the fields of our
/// deploy since; then theirs stay and only ours go back.
fn only_ours(v: &View<'_>, recorded: Value) -> (Value, Vec<Text>) {
    let live = v.set(v.current).and_then(|s| template::of_set(s.object));
    let (Some(live), Some(spec)) = (live, v.template()) else { return (recorded, Vec::new()) };
    let whole = |recorded| (in_own_words(v, recorded), Vec::new());
    if !before::stamp_counts(v.object, v.template()) || v.object.annotation(BEFORE).is_none() {
        return whole(recorded);
    }
    let set: Value = v.object.annotation(SET).and_then(|s| serde_json::from_str(s).ok()).unwrap_or_default();
    let container = set["container"].as_str().unwrap_or_default();
    let expected = template::with_ours(
        recorded.clone(),
        container,
        set["image"].as_str().unwrap_or_default(),
        set["config"].as_str(),
    );
    if template::same(&expected, &live) {
        return whole(recorded);
    }
    let kept = template::differences(&expected, &live, 4);
    let image = container_image(&recorded, Some(container)).unwrap_or_default();
    let config = template::config_volume(&recorded).map(|(_, name)| name);
    (template::with_ours(spec.clone(), container, image, config), kept)
}
