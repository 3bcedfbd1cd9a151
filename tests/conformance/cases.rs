//! The table of behaviours of Rollouts that footplate relies on: what the controller does, and what our verbs make of it.
//! Each case runs unchanged on the simulated cluster and on a real control plane with the real Argo Rollouts controller
//! (`stage.rs` is the ground they stand on), and states its end state in full. Cases were written from the controller's
//! documented behaviour, and first made to pass on the real one.

use footplate::core::config_files::ConfigFiles;
use footplate::core::verb::Verb;
use footplate::core::workload::{Phase, Role, Workload};
use serde_json::json;

use crate::conformance::stage::{CONFIG_BEFORE, Case, Outcome, Play, Stage, basic, blue_green, case, routed};

/// Every behaviour, by name.
pub fn all() -> Vec<Case> {
    vec![
        case("a first deploy skips the steps", |s| Box::pin(first_deploy(s))),
        case("an update stops at its first pause", |s| Box::pin(stops_at_pause(s))),
        case("a basic canary's weight is its share of pods", |s| Box::pin(basic_weight(s))),
        case("promote ends the pause that waits", |s| Box::pin(promote_one(s))),
        case("a timed pause ends by itself", |s| Box::pin(timed_pause(s))),
        case("a second promote of the same pause skips nothing", |s| Box::pin(promote_twice(s))),
        case("two promotes at once move one step", |s| Box::pin(promote_at_once(s))),
        case("promote is refused where nothing waits", |s| Box::pin(promote_nothing(s))),
        case("full promote skips the rest", |s| Box::pin(promote_full(s))),
        case("full promote of a finished rollout is refused", |s| Box::pin(promote_full_nothing(s))),
        case("abort takes a basic canary's pods away at once", |s| Box::pin(abort_basic(s))),
        case("abort of a finished rollout is refused", |s| Box::pin(abort_nothing(s))),
        case("a second abort is no failure", |s| Box::pin(abort_twice(s))),
        case("abort while held clears the hold", |s| Box::pin(abort_held(s))),
        case("abort right after full promote restores", |s| Box::pin(abort_after_full(s))),
        case("retry runs the steps again", |s| Box::pin(retry(s))),
        case("retry is refused where nothing was aborted", |s| Box::pin(retry_nothing(s))),
        case("undo in flight is back at once", |s| Box::pin(undo_in_flight(s))),
        case("undo after abort clears Degraded", |s| Box::pin(undo_after_abort(s))),
        case("undo while held clears the hold", |s| Box::pin(undo_held(s))),
        case("undo of a finished version inside rollbackWindow runs no step", |s| Box::pin(undo_window(s))),
        case("undo of a finished version without rollbackWindow is promoted fully", |s| Box::pin(undo_slow(s))),
        case("undo goes to what was live, not to the second-highest revision", |s| Box::pin(undo_not_second(s))),
        case("undo with nothing before it is refused", |s| Box::pin(undo_nothing(s))),
        case("a second undo is no failure", |s| Box::pin(undo_twice(s))),
        case("pause holds through a timed pause", |s| Box::pin(pause_holds(s))),
        case("a second pause is no failure", |s| Box::pin(pause_twice(s))),
        case("pause after undo does not hold it up", |s| Box::pin(pause_after_undo(s))),
        case("resume ends the hold and no step", |s| Box::pin(resume_only(s))),
        case("resume is refused where nobody holds", |s| Box::pin(resume_nothing(s))),
        case("promote of a held rollout is refused", |s| Box::pin(promote_held(s))),
        case("restart replaces the pods and no version", |s| Box::pin(restart(s))),
        case("start sets the image and records what was live", |s| Box::pin(start_records(s))),
        case("a second start of the same version is no failure", |s| Box::pin(start_twice(s))),
        case("starting an earlier version runs all its steps", |s| Box::pin(start_earlier(s))),
        case("a new version in mid-canary begins at step 0", |s| Box::pin(supersede(s))),
        case("a new replica count at a pause keeps the share", |s| Box::pin(scale_paused(s))),
        case("an invalid spec is Degraded until it is mended", |s| Box::pin(invalid_spec(s))),
        case("the progress deadline makes Degraded", |s| Box::pin(deadline(s))),
        case("the progress deadline aborts where told to", |s| Box::pin(deadline_abort(s))),
        case("a routed canary's weight is the router's", |s| Box::pin(routed_weight(s))),
        case("abort of a routed canary puts its weight to 0", |s| Box::pin(routed_abort(s))),
        case("an aborted routed canary keeps its pods for the delay", |s| Box::pin(routed_abort_delay(s))),
        case("undo of a routed canary is back at once", |s| Box::pin(routed_undo(s))),
        case("a hold keeps a routed canary's weight", |s| Box::pin(routed_hold(s))),
        case("setCanaryScale sizes the canary apart from its weight", |s| Box::pin(routed_scale(s))),
        case("full promote of a routed canary", |s| Box::pin(routed_full(s))),
        case("a workloadRef follows its Deployment", |s| Box::pin(workload_ref(s))),
        case("undo with workloadRef restores the Deployment", |s| Box::pin(workload_ref_undo(s))),
        case("blue-green waits with its preview", |s| Box::pin(bg_waits(s))),
        case("promote switches blue-green over", |s| Box::pin(bg_promote(s))),
        case("blue-green switches by itself after its time", |s| Box::pin(bg_auto_seconds(s))),
        case("abort leaves blue-green's active alone", |s| Box::pin(bg_abort(s))),
        case("undo of blue-green inside the scale-down delay is back at once", |s| Box::pin(bg_undo(s))),
        case("full promote of blue-green", |s| Box::pin(bg_full(s))),
        case("a successful analysis step moves on", |s| Box::pin(analysis_pass(s))),
        case("a failed analysis step aborts", |s| Box::pin(analysis_fail(s))),
        case("an inconclusive analysis step waits for a person", |s| Box::pin(analysis_inconclusive(s))),
        case("promote over an inconclusive step goes to the next", |s| Box::pin(analysis_inconclusive_promote(s))),
        case("an analysis error aborts after its limit", |s| Box::pin(analysis_error(s))),
        case("a failed background analysis aborts", |s| Box::pin(background_fail(s))),
        case("an analysis fails while the rollout is held", |s| Box::pin(analysis_fail_held(s))),
        case("an analysis run keeps ten measurements", |s| Box::pin(ten_measurements(s))),
        case("start sets the config volume with the image, and undo takes both back", |s| Box::pin(start_config(s))),
        case("a change of config alone runs all steps", |s| Box::pin(config_only(s))),
        case("a template without a config volume is refused with the lines to add", |s| Box::pin(config_nowhere(s))),
        case("start with workloadRef sets the Deployment's config volume", |s| Box::pin(config_ref(s))),
    ]
}

const OLD: &str = "1.0.0";
const NEW: &str = "2.0.0";

fn at_step(w: &Workload, step: u32) -> bool {
    w.observed && w.step == Some(step)
}

fn paused_at(w: &Workload, step: u32) -> bool {
    at_step(w, step) && w.phase == Phase::Paused
}

fn healthy_on(w: &Workload, version: &str) -> bool {
    w.observed && w.phase == Phase::Healthy && w.version.as_deref() == Some(version) && w.hash == w.stable_hash
}

fn pods(w: &Workload, role: Role) -> u32 {
    w.sets.iter().filter(|s| s.role == role).map(|s| s.desired).sum()
}

/// Deploys OLD, waits until Healthy, starts NEW and waits for the first pause.
async fn to_first_pause(s: &Stage) -> Play {
    s.until("old version healthy", |w| healthy_on(w, OLD)).await?;
    s.image(NEW).await?;
    s.until("first pause", |w| paused_at(w, 1) && w.version.as_deref() == Some(NEW)).await
}

async fn first_deploy(s: &Stage) -> Play {
    s.rollout(basic(4)).await?;
    let w = s.until("healthy", |w| healthy_on(w, OLD)).await?;
    s.same("step", w.step, Some(5))?;
    s.same("set weight", w.set_weight, Some(100))?;
    s.same("actual weight", w.actual_weight, Some(100))?;
    s.same("stable pods", pods(&w, Role::Stable), 4)?;
    Ok(w)
}

async fn stops_at_pause(s: &Stage) -> Play {
    s.rollout(basic(4)).await?;
    let w = to_first_pause(s).await?;
    s.same("reason", w.reason.as_str(), "CanaryPauseStep")?;
    s.same("steps", w.steps, Some(5))?;
    s.same("stable version", w.stable_version.as_deref(), Some(OLD))?;
    s.holds_still("still paused", 3, |w| paused_at(w, 1)).await
}

async fn basic_weight(s: &Stage) -> Play {
    s.rollout(basic(4)).await?;
    to_first_pause(s).await?;
    let w = s.until("one canary pod of four", |w| w.replicas.available == 4 && pods(w, Role::Stable) == 3).await?;
    s.same("set weight", w.set_weight, Some(25))?;
    s.same("actual weight", w.actual_weight, Some(25))?;
    s.same("canary pods", pods(&w, Role::Canary), 1)?;
    Ok(w)
}

async fn promote_one(s: &Stage) -> Play {
    s.rollout(basic(4)).await?;
    to_first_pause(s).await?;
    s.done(Verb::Promote).await?;
    let w = s.until("moved on to weight 50", |w| w.step >= Some(3)).await?;
    s.same("set weight", w.set_weight, Some(50))?;
    Ok(w)
}

async fn timed_pause(s: &Stage) -> Play {
    s.rollout(basic(4)).await?;
    to_first_pause(s).await?;
    s.done(Verb::Promote).await?;
    let w = s.until("timed pause", |w| paused_at(w, 3)).await?;
    s.same("pause seconds", w.pause.as_ref().and_then(|p| p.seconds), Some(3))?;
    let w = s.until("healthy after the pause", |w| healthy_on(w, NEW)).await?;
    s.same("step", w.step, Some(5))?;
    Ok(w)
}

async fn promote_twice(s: &Stage) -> Play {
    s.rollout(two_pauses()).await?;
    to_first_pause(s).await?;
    s.done(Verb::Promote).await?;
    s.until("second pause", |w| paused_at(w, 2)).await?;
    // The same press again, as it was aimed at the first pause.
    let outcome = s.verb_as_of_step(Verb::Promote, 1).await?;
    s.not_done("a promote aimed at a pause that is over", &outcome)?;
    s.holds_still("the second pause still waits", 2, |w| paused_at(w, 2)).await
}

async fn promote_at_once(s: &Stage) -> Play {
    s.rollout(two_pauses()).await?;
    to_first_pause(s).await?;
    let both = s.verbs_at_once(vec![Verb::Promote, Verb::Promote]).await?;
    if !both.iter().any(|o| matches!(o, Outcome::Done(_))) {
        return s.fail(format!("neither promote was carried out: {both:?}"));
    }
    s.until("second pause", |w| paused_at(w, 2)).await?;
    s.holds_still("the second pause still waits", 2, |w| paused_at(w, 2)).await
}

/// Two pauses in a row, with no weight between them: the shape in which a blind second promote skips one.
fn two_pauses() -> serde_json::Value {
    let mut r = basic(4);
    r["spec"]["strategy"]["canary"]["steps"] =
        json!([{"setWeight": 25}, {"pause": {}}, {"pause": {}}, {"setWeight": 50}, {"pause": {}}]);
    r
}

async fn promote_nothing(s: &Stage) -> Play {
    s.rollout(basic(4)).await?;
    s.until("healthy", |w| healthy_on(w, OLD)).await?;
    s.refused(Verb::Promote).await?;
    s.holds_still("untouched", 1, |w| healthy_on(w, OLD)).await
}

async fn promote_full(s: &Stage) -> Play {
    s.rollout(basic(4)).await?;
    to_first_pause(s).await?;
    s.done(Verb::PromoteFull).await?;
    let w = s.until("healthy on the new version", |w| healthy_on(w, NEW) && pods(w, Role::Stable) == 4).await?;
    s.same("promoteFull is over", w.promote_full, false)?;
    Ok(w)
}

async fn promote_full_nothing(s: &Stage) -> Play {
    s.rollout(basic(4)).await?;
    s.until("healthy", |w| healthy_on(w, OLD)).await?;
    s.refused(Verb::PromoteFull).await?;
    s.now().await
}

async fn abort_basic(s: &Stage) -> Play {
    s.rollout(basic(4)).await?;
    to_first_pause(s).await?;
    s.done(Verb::Abort).await?;
    let w = s
        .until("no canary pod", |w| {
            w.phase == Phase::Degraded && pods(w, Role::Canary) == 0 && pods(w, Role::Stable) == 4
        })
        .await?;
    s.same("aborted", w.aborted, true)?;
    s.same("set weight", w.set_weight, Some(0))?;
    s.same("actual weight", w.actual_weight, Some(0))?;
    s.same("step", w.step, Some(0))?;
    s.same("the spec still names the new version", w.version.as_deref(), Some(NEW))?;
    s.starts("reason", &w.reason, "RolloutAborted: ")?;
    Ok(w)
}

async fn abort_nothing(s: &Stage) -> Play {
    s.rollout(basic(4)).await?;
    s.until("healthy", |w| healthy_on(w, OLD)).await?;
    s.refused(Verb::Abort).await?;
    s.holds_still("untouched", 1, |w| healthy_on(w, OLD) && !w.aborted).await
}

async fn abort_twice(s: &Stage) -> Play {
    s.rollout(basic(4)).await?;
    to_first_pause(s).await?;
    s.done(Verb::Abort).await?;
    s.done(Verb::Abort).await?;
    s.until("aborted", |w| w.aborted && w.phase == Phase::Degraded).await
}

async fn abort_held(s: &Stage) -> Play {
    s.rollout(basic(4)).await?;
    to_first_pause(s).await?;
    s.done(Verb::Pause).await?;
    s.until("held", |w| w.held).await?;
    s.done(Verb::Abort).await?;
    let w = s.until("canary pods gone", |w| w.aborted && pods(w, Role::Canary) == 0).await?;
    s.same("held", w.held, false)?;
    Ok(w)
}

async fn abort_after_full(s: &Stage) -> Play {
    // The canary cannot become ready, so the full promotion hangs, and an abort would be ignored.
    let mut r = basic(4);
    r["spec"]["progressDeadlineSeconds"] = json!(600);
    s.rollout(r).await?;
    s.until("old version healthy", |w| healthy_on(w, OLD)).await?;
    s.image_unschedulable(NEW).await?;
    s.until("canary asked for", |w| w.observed && pods(w, Role::Canary) >= 1).await?;
    s.patch_status(json!({"status": {"promoteFull": true}})).await?;
    s.until("full promotion under way", |w| w.promote_full).await?;
    s.done(Verb::Abort).await?;
    let w = s.until("healthy on the old version", |w| healthy_on(w, OLD) && w.replicas.available == 4).await?;
    s.same("promoteFull is over", w.promote_full, false)?;
    Ok(w)
}

async fn retry(s: &Stage) -> Play {
    s.rollout(basic(4)).await?;
    to_first_pause(s).await?;
    s.done(Verb::Abort).await?;
    s.until("aborted", |w| w.aborted).await?;
    s.done(Verb::Retry).await?;
    let w = s.until("first pause again", |w| paused_at(w, 1) && !w.aborted).await?;
    s.same("set weight", w.set_weight, Some(25))?;
    Ok(w)
}

async fn retry_nothing(s: &Stage) -> Play {
    s.rollout(basic(4)).await?;
    to_first_pause(s).await?;
    s.refused(Verb::Retry).await?;
    s.now().await
}

async fn undo_in_flight(s: &Stage) -> Play {
    s.rollout(basic(4)).await?;
    to_first_pause(s).await?;
    s.done(Verb::Undo).await?;
    let w = s.until("healthy on the old version", |w| healthy_on(w, OLD) && pods(w, Role::Stable) == 4).await?;
    s.same("step", w.step, Some(5))?;
    s.holds_still("and stays", 1, |w| healthy_on(w, OLD)).await
}

async fn undo_after_abort(s: &Stage) -> Play {
    s.rollout(basic(4)).await?;
    to_first_pause(s).await?;
    s.done(Verb::Abort).await?;
    s.until("aborted", |w| w.aborted).await?;
    s.done(Verb::Undo).await?;
    let w = s.until("healthy on the old version", |w| healthy_on(w, OLD)).await?;
    s.same("aborted", w.aborted, false)?;
    Ok(w)
}

async fn undo_held(s: &Stage) -> Play {
    s.rollout(basic(4)).await?;
    to_first_pause(s).await?;
    s.done(Verb::Pause).await?;
    s.until("held", |w| w.held).await?;
    s.done(Verb::Undo).await?;
    let w = s.until("healthy on the old version", |w| healthy_on(w, OLD) && pods(w, Role::Stable) == 4).await?;
    s.same("held", w.held, false)?;
    Ok(w)
}

async fn finish(s: &Stage) -> Play {
    s.until("old version healthy", |w| healthy_on(w, OLD)).await?;
    s.start(NEW).await?;
    s.until("first pause", |w| paused_at(w, 1)).await?;
    s.done(Verb::PromoteFull).await?;
    s.until("healthy on the new version", |w| healthy_on(w, NEW)).await
}

async fn undo_window(s: &Stage) -> Play {
    let mut r = basic(4);
    r["spec"]["rollbackWindow"] = json!({"revisions": 3});
    s.rollout(r).await?;
    finish(s).await?;
    s.done(Verb::Undo).await?;
    let w = s.until("healthy on the old version", |w| healthy_on(w, OLD)).await?;
    s.same("step", w.step, Some(5))?;
    s.same("no step ran", s.event_count("RolloutPaused").await? <= 1, true)?;
    Ok(w)
}

async fn undo_slow(s: &Stage) -> Play {
    s.rollout(basic(4)).await?;
    finish(s).await?;
    s.done(Verb::Undo).await?;
    s.until("healthy on the old version", |w| healthy_on(w, OLD)).await
}

async fn undo_not_second(s: &Stage) -> Play {
    s.rollout(basic(4)).await?;
    to_first_pause(s).await?;
    s.done(Verb::Abort).await?;
    s.until("aborted", |w| w.aborted).await?;
    // Revision 3 now stands over the aborted revision 2, which the plugin's undo would choose.
    s.start("3.0.0").await?;
    s.until("first pause of the third", |w| paused_at(w, 1) && w.version.as_deref() == Some("3.0.0")).await?;
    s.done(Verb::Undo).await?;
    s.until("healthy on what was live", |w| healthy_on(w, OLD)).await
}

async fn undo_nothing(s: &Stage) -> Play {
    s.rollout(basic(4)).await?;
    s.until("healthy", |w| healthy_on(w, OLD)).await?;
    s.refused(Verb::Undo).await?;
    s.now().await
}

async fn undo_twice(s: &Stage) -> Play {
    s.rollout(basic(4)).await?;
    s.until("old version healthy", |w| healthy_on(w, OLD)).await?;
    s.start(NEW).await?;
    s.until("first pause", |w| paused_at(w, 1)).await?;
    let both = s.verbs_at_once(vec![Verb::Undo, Verb::Undo]).await?;
    for outcome in &both {
        if let Outcome::Failed(why) = outcome {
            return s.fail(format!("an undo failed: {why}"));
        }
    }
    s.until("healthy on the old version", |w| healthy_on(w, OLD)).await
}

async fn pause_holds(s: &Stage) -> Play {
    let mut r = basic(4);
    r["spec"]["strategy"]["canary"]["steps"][3] = json!({"pause": {"duration": "8s"}});
    s.rollout(r).await?;
    to_first_pause(s).await?;
    s.done(Verb::Promote).await?;
    s.until("timed pause", |w| paused_at(w, 3)).await?;
    s.done(Verb::Pause).await?;
    let w =
        s.holds_still("held past the pause's end", 10, |w| w.held && at_step(w, 3) && w.phase == Phase::Paused).await?;
    s.same("reason", w.reason.as_str(), "manually paused")?;
    Ok(w)
}

async fn pause_twice(s: &Stage) -> Play {
    s.rollout(basic(4)).await?;
    to_first_pause(s).await?;
    s.done(Verb::Pause).await?;
    s.done(Verb::Pause).await?;
    s.until("held", |w| w.held && w.phase == Phase::Paused).await
}

async fn pause_after_undo(s: &Stage) -> Play {
    s.rollout(basic(4)).await?;
    s.until("old version healthy", |w| healthy_on(w, OLD)).await?;
    s.start(NEW).await?;
    s.until("first pause", |w| paused_at(w, 1)).await?;
    let both = s.verbs_at_once(vec![Verb::Undo, Verb::Pause]).await?;
    for outcome in &both {
        if let Outcome::Failed(why) = outcome {
            return s.fail(format!("one of undo and pause failed: {why}"));
        }
    }
    let w = s.until("healthy on the old version", |w| healthy_on(w, OLD)).await?;
    s.same("held", w.held, false)?;
    Ok(w)
}

async fn resume_only(s: &Stage) -> Play {
    s.rollout(basic(4)).await?;
    to_first_pause(s).await?;
    s.done(Verb::Pause).await?;
    s.until("held", |w| w.held).await?;
    s.done(Verb::Resume).await?;
    let w = s.holds_still("the step's own pause still waits", 2, |w| !w.held && paused_at(w, 1)).await?;
    s.same("reason", w.reason.as_str(), "CanaryPauseStep")?;
    Ok(w)
}

async fn resume_nothing(s: &Stage) -> Play {
    s.rollout(basic(4)).await?;
    to_first_pause(s).await?;
    s.refused(Verb::Resume).await?;
    s.holds_still("the pause still waits", 1, |w| paused_at(w, 1)).await
}

async fn promote_held(s: &Stage) -> Play {
    let mut r = basic(4);
    r["spec"]["strategy"]["canary"]["steps"] =
        json!([{"setWeight": 25}, {"pause": {"duration": "4s"}}, {"setWeight": 50}, {"pause": {}}]);
    s.rollout(r).await?;
    s.until("old version healthy", |w| healthy_on(w, OLD)).await?;
    s.patch(json!({"spec": {"paused": true}})).await?;
    s.until("held", |w| w.held && w.observed).await?;
    s.image(NEW).await?;
    s.until("held at the new version", |w| w.held && w.observed && w.version.as_deref() == Some(NEW)).await?;
    s.refused(Verb::Promote).await?;
    let w = s.holds_still("no step was skipped", 2, |w| w.held && w.step == Some(0)).await?;
    s.same("reason", w.reason.as_str(), "manually paused")?;
    Ok(w)
}

async fn restart(s: &Stage) -> Play {
    s.rollout(basic(4)).await?;
    let before = s.until("healthy", |w| healthy_on(w, OLD)).await?;
    let old_pods = s.pod_names().await?;
    s.done(Verb::Restart).await?;
    s.until_pods("every pod replaced", |names| names.len() == 4 && names.iter().all(|n| !old_pods.contains(n))).await?;
    let w = s.until("healthy again", |w| healthy_on(w, OLD)).await?;
    s.same("hash", &w.hash, &before.hash)?;
    Ok(w)
}

async fn start_records(s: &Stage) -> Play {
    s.rollout(basic(4)).await?;
    let before = s.until("healthy", |w| healthy_on(w, OLD)).await?;
    s.start(NEW).await?;
    let w = s.until("first pause", |w| paused_at(w, 1) && w.version.as_deref() == Some(NEW)).await?;
    s.same("record", s.annotation("footplate.dev/before").await?.as_deref(), Some(before.hash.as_str()))?;
    Ok(w)
}

async fn start_twice(s: &Stage) -> Play {
    s.rollout(basic(4)).await?;
    s.until("healthy", |w| healthy_on(w, OLD)).await?;
    s.start(NEW).await?;
    s.until("first pause", |w| paused_at(w, 1)).await?;
    s.start(NEW).await?;
    s.holds_still("still at the first pause", 1, |w| paused_at(w, 1)).await
}

async fn start_earlier(s: &Stage) -> Play {
    let mut r = basic(4);
    r["spec"]["rollbackWindow"] = json!({"revisions": 3});
    s.rollout(r).await?;
    finish(s).await?;
    s.start(OLD).await?;
    let w = s.until("stops at the first pause", |w| paused_at(w, 1) && w.version.as_deref() == Some(OLD)).await?;
    s.same("stable version", w.stable_version.as_deref(), Some(NEW))?;
    Ok(w)
}

async fn supersede(s: &Stage) -> Play {
    s.rollout(basic(4)).await?;
    let first = to_first_pause(s).await?;
    s.done(Verb::Promote).await?;
    s.image("3.0.0").await?;
    let w = s.until("first pause of the third", |w| paused_at(w, 1) && w.version.as_deref() == Some("3.0.0")).await?;
    s.same("stable hash", &w.stable_hash, &first.stable_hash)?;
    Ok(w)
}

async fn scale_paused(s: &Stage) -> Play {
    s.rollout(basic(4)).await?;
    to_first_pause(s).await?;
    s.patch(json!({"spec": {"replicas": 8}})).await?;
    let w = s
        .until("two canary pods of eight", |w| {
            pods(w, Role::Canary) == 2 && pods(w, Role::Stable) == 6 && w.replicas.available == 8
        })
        .await?;
    s.same("step", w.step, Some(1))?;
    s.same("actual weight", w.actual_weight, Some(25))?;
    Ok(w)
}

async fn invalid_spec(s: &Stage) -> Play {
    s.rollout(basic(4)).await?;
    s.until("healthy", |w| healthy_on(w, OLD)).await?;
    s.patch(json!({"spec": {"strategy": {"canary": {"steps": [{"setWeight": 150}]}}}})).await?;
    let w = s.until("degraded", |w| w.phase == Phase::Degraded).await?;
    s.starts("reason", &w.reason, "InvalidSpec: ")?;
    s.patch(json!({"spec": {"strategy": {"canary": {"steps": [{"setWeight": 50}, {"pause": {}}]}}}})).await?;
    s.until("healthy again", |w| healthy_on(w, OLD)).await
}

async fn deadline(s: &Stage) -> Play {
    let mut r = basic(4);
    r["spec"]["progressDeadlineSeconds"] = json!(4);
    s.rollout(r).await?;
    s.until("old version healthy", |w| healthy_on(w, OLD)).await?;
    s.image_unschedulable(NEW).await?;
    let w = s.until("degraded", |w| w.phase == Phase::Degraded).await?;
    s.starts("reason", &w.reason, "ProgressDeadlineExceeded: ")?;
    s.same("aborted", w.aborted, false)?;
    s.done(Verb::Undo).await?;
    s.until("healthy on the old version", |w| healthy_on(w, OLD)).await
}

async fn deadline_abort(s: &Stage) -> Play {
    let mut r = basic(4);
    r["spec"]["progressDeadlineSeconds"] = json!(4);
    r["spec"]["progressDeadlineAbort"] = json!(true);
    s.rollout(r).await?;
    s.until("old version healthy", |w| healthy_on(w, OLD)).await?;
    s.image_unschedulable(NEW).await?;
    let w = s.until("aborted by itself", |w| w.aborted && w.phase == Phase::Degraded).await?;
    s.same("set weight", w.set_weight, Some(0))?;
    Ok(w)
}

async fn routed_weight(s: &Stage) -> Play {
    s.rollout(routed(4)).await?;
    let w = to_first_pause(s).await?;
    s.same("actual weight", w.actual_weight, Some(25))?;
    s.same("weight on the canary ingress", s.ingress_weight().await?, Some(25))?;
    s.same("stable pods", pods(&w, Role::Stable), 4)?;
    s.same("canary pods", pods(&w, Role::Canary), 1)?;
    Ok(w)
}

async fn routed_abort(s: &Stage) -> Play {
    s.rollout(routed(4)).await?;
    to_first_pause(s).await?;
    s.done(Verb::Abort).await?;
    let w = s.until("weight 0", |w| w.aborted && w.actual_weight == Some(0)).await?;
    s.same("weight on the canary ingress", s.ingress_weight().await?, Some(0))?;
    s.same("phase", w.phase, Phase::Degraded)?;
    Ok(w)
}

async fn routed_abort_delay(s: &Stage) -> Play {
    let mut r = routed(4);
    r["spec"]["strategy"]["canary"]["abortScaleDownDelaySeconds"] = json!(4);
    s.rollout(r).await?;
    to_first_pause(s).await?;
    s.done(Verb::Abort).await?;
    let w = s.until("weight 0", |w| w.aborted && w.actual_weight == Some(0)).await?;
    s.same("canary pods at first", pods(&w, Role::Canary), 1)?;
    s.until("canary pods gone after the delay", |w| pods(w, Role::Canary) == 0).await
}

async fn routed_undo(s: &Stage) -> Play {
    s.rollout(routed(4)).await?;
    to_first_pause(s).await?;
    s.done(Verb::Undo).await?;
    let w = s.until("healthy on the old version", |w| healthy_on(w, OLD)).await?;
    s.same("weight on the canary ingress", s.ingress_weight().await?, Some(0))?;
    Ok(w)
}

async fn routed_hold(s: &Stage) -> Play {
    s.rollout(routed(4)).await?;
    to_first_pause(s).await?;
    s.done(Verb::Pause).await?;
    s.holds_still("weight kept", 2, |w| w.held && w.actual_weight == Some(25)).await
}

async fn routed_scale(s: &Stage) -> Play {
    let mut r = routed(4);
    r["spec"]["strategy"]["canary"]["steps"] =
        json!([{"setCanaryScale": {"replicas": 2}}, {"pause": {}}, {"setWeight": 25}, {"pause": {}}]);
    s.rollout(r).await?;
    s.until("old version healthy", |w| healthy_on(w, OLD)).await?;
    s.image(NEW).await?;
    let w = s.until("two canary pods, no traffic", |w| paused_at(w, 1) && pods(w, Role::Canary) == 2).await?;
    s.same("set weight", w.set_weight, Some(0))?;
    s.same("actual weight", w.actual_weight, Some(0))?;
    Ok(w)
}

async fn routed_full(s: &Stage) -> Play {
    s.rollout(routed(4)).await?;
    to_first_pause(s).await?;
    s.done(Verb::PromoteFull).await?;
    let w = s.until("healthy on the new version", |w| healthy_on(w, NEW)).await?;
    s.same("actual weight", w.actual_weight, Some(100))?;
    Ok(w)
}

async fn workload_ref(s: &Stage) -> Play {
    s.rollout_with_ref(4).await?;
    s.until("old version healthy", |w| healthy_on(w, OLD)).await?;
    s.start(NEW).await?;
    let w = s.until("first pause", |w| paused_at(w, 1) && w.version.as_deref() == Some(NEW)).await?;
    s.same("canary pods", pods(&w, Role::Canary), 1)?;
    Ok(w)
}

async fn workload_ref_undo(s: &Stage) -> Play {
    s.rollout_with_ref(4).await?;
    s.until("old version healthy", |w| healthy_on(w, OLD)).await?;
    s.start(NEW).await?;
    s.until("first pause", |w| paused_at(w, 1) && w.version.as_deref() == Some(NEW)).await?;
    s.done(Verb::Undo).await?;
    s.until("healthy on the old version", |w| healthy_on(w, OLD)).await
}

async fn bg_paused(s: &Stage) -> Play {
    s.until("old version healthy", |w| healthy_on(w, OLD)).await?;
    s.image(NEW).await?;
    s.until("preview waits", |w| w.observed && w.phase == Phase::Paused && pods(w, Role::Preview) == 2).await
}

async fn bg_waits(s: &Stage) -> Play {
    s.rollout(blue_green(2)).await?;
    let w = bg_paused(s).await?;
    s.same("reason", w.reason.as_str(), "BlueGreenPause")?;
    s.same("active pods", pods(&w, Role::Active), 2)?;
    s.same("steps", w.steps, None)?;
    Ok(w)
}

async fn bg_promote(s: &Stage) -> Play {
    s.rollout(blue_green(2)).await?;
    bg_paused(s).await?;
    s.done(Verb::Promote).await?;
    s.until("healthy on the new version", |w| healthy_on(w, NEW)).await
}

async fn bg_auto_seconds(s: &Stage) -> Play {
    let mut r = blue_green(2);
    r["spec"]["strategy"]["blueGreen"]["autoPromotionEnabled"] = json!(true);
    r["spec"]["strategy"]["blueGreen"]["autoPromotionSeconds"] = json!(3);
    s.rollout(r).await?;
    bg_paused(s).await?;
    s.until("healthy on the new version", |w| healthy_on(w, NEW)).await
}

async fn bg_abort(s: &Stage) -> Play {
    s.rollout(blue_green(2)).await?;
    let before = bg_paused(s).await?;
    s.done(Verb::Abort).await?;
    let w = s.until("aborted", |w| w.aborted && w.phase == Phase::Degraded).await?;
    s.same("stable hash", &w.stable_hash, &before.stable_hash)?;
    Ok(w)
}

async fn bg_undo(s: &Stage) -> Play {
    s.rollout(blue_green(2)).await?;
    s.until("old version healthy", |w| healthy_on(w, OLD)).await?;
    s.start(NEW).await?;
    s.until("preview waits", |w| w.phase == Phase::Paused && pods(w, Role::Preview) == 2).await?;
    s.done(Verb::Promote).await?;
    s.until("healthy on the new version", |w| healthy_on(w, NEW)).await?;
    s.done(Verb::Undo).await?;
    s.until("healthy on the old version", |w| healthy_on(w, OLD)).await
}

async fn bg_full(s: &Stage) -> Play {
    s.rollout(blue_green(2)).await?;
    bg_paused(s).await?;
    s.done(Verb::PromoteFull).await?;
    s.until("healthy on the new version", |w| healthy_on(w, NEW)).await
}

/// A routed canary whose second step is an analysis of a constant.
fn with_analysis(template: &str) -> serde_json::Value {
    let mut r = routed(4);
    r["spec"]["strategy"]["canary"]["steps"] = json!([{"setWeight": 25}, {"analysis": {"templates": [{"templateName": template}]}}, {"setWeight": 50}, {"pause": {}}]);
    r
}

async fn into_analysis(s: &Stage, template: &str) -> Play {
    s.rollout(with_analysis(template)).await?;
    s.until("old version healthy", |w| healthy_on(w, OLD)).await?;
    s.image(NEW).await?;
    s.until("new version seen", |w| w.observed && w.version.as_deref() == Some(NEW) && w.step >= Some(0)).await
}

async fn analysis_pass(s: &Stage) -> Play {
    s.template("good", "vector(0.01)", 2, json!({"successCondition": "result[0] < 0.02"})).await?;
    into_analysis(s, "good").await?;
    let w = s.until("next pause", |w| paused_at(w, 3)).await?;
    s.same("actual weight", w.actual_weight, Some(50))?;
    Ok(w)
}

async fn analysis_fail(s: &Stage) -> Play {
    s.template("bad", "vector(0.3)", 2, json!({"successCondition": "result[0] < 0.02"})).await?;
    into_analysis(s, "bad").await?;
    let w = s.until("aborted", |w| w.aborted && w.phase == Phase::Degraded && w.actual_weight == Some(0)).await?;
    s.starts("reason", &w.reason, "RolloutAborted: ")?;
    Ok(w)
}

fn unsure() -> serde_json::Value {
    json!({"successCondition": "result[0] < 0.02", "failureCondition": "result[0] > 0.9"})
}

async fn analysis_inconclusive(s: &Stage) -> Play {
    s.template("unsure", "vector(0.3)", 2, unsure()).await?;
    into_analysis(s, "unsure").await?;
    let w = s.until("waits for a person", |w| w.phase == Phase::Paused && w.step == Some(1)).await?;
    s.same("reason", w.reason.as_str(), "InconclusiveAnalysisRun")?;
    s.holds_still("and goes on waiting", 2, |w| w.phase == Phase::Paused && w.step == Some(1)).await
}

async fn analysis_inconclusive_promote(s: &Stage) -> Play {
    s.template("unsure", "vector(0.3)", 2, unsure()).await?;
    into_analysis(s, "unsure").await?;
    s.until("waits for a person", |w| w.phase == Phase::Paused && w.step == Some(1)).await?;
    s.done(Verb::Promote).await?;
    let w = s.until("next pause", |w| paused_at(w, 3)).await?;
    s.same("actual weight", w.actual_weight, Some(50))?;
    Ok(w)
}

async fn analysis_error(s: &Stage) -> Play {
    // An index into no data is an error; the fifth in a row is one too many.
    s.template(
        "nothing",
        "absent_of_course_metric",
        1,
        json!({"successCondition": "result[0] < 0.02", "consecutiveErrorLimit": 1}),
    )
    .await?;
    into_analysis(s, "nothing").await?;
    let w = s.until("aborted", |w| w.aborted && w.phase == Phase::Degraded).await?;
    s.starts("reason", &w.reason, "RolloutAborted: ")?;
    Ok(w)
}

async fn background_fail(s: &Stage) -> Play {
    s.template("bad", "vector(0.3)", 2, json!({"successCondition": "result[0] < 0.02"})).await?;
    let mut r = routed(4);
    r["spec"]["strategy"]["canary"]["analysis"] = json!({"templates": [{"templateName": "bad"}]});
    s.rollout(r).await?;
    s.until("old version healthy", |w| healthy_on(w, OLD)).await?;
    s.image(NEW).await?;
    s.until("aborted", |w| w.aborted && w.actual_weight == Some(0)).await
}

async fn analysis_fail_held(s: &Stage) -> Play {
    s.template("late", "vector(0.3)", 2, json!({"successCondition": "result[0] < 0.02", "initialDelay": "3s"})).await?;
    into_analysis(s, "late").await?;
    s.until("measuring", |w| w.step == Some(1) && !w.runs.is_empty()).await?;
    s.done(Verb::Pause).await?;
    let w = s.until("aborted although held", |w| w.aborted && w.actual_weight == Some(0)).await?;
    s.same("held", w.held, true)?;
    Ok(w)
}

async fn ten_measurements(s: &Stage) -> Play {
    s.template("long", "vector(0.01)", 13, json!({"successCondition": "result[0] < 0.02", "interval": "1s"})).await?;
    into_analysis(s, "long").await?;
    s.until("next pause", |w| paused_at(w, 3)).await?;
    s.same("measurements kept", s.measurements_kept().await?, 10)?;
    s.now().await
}

fn limits(limit: u32) -> Result<ConfigFiles, String> {
    let file = ("app/limits.yaml".into(), format!("limit: {limit}\n").into_bytes());
    ConfigFiles::of("app", vec![file]).map_err(|refusal| refusal.why.to_string())
}

async fn started(s: &Stage, version: &str, files: &ConfigFiles) -> Result<(), String> {
    match s.start_with(version, files).await? {
        Outcome::Done(_) => Ok(()),
        other => Err(format!("start was not carried out: {other:?}")),
    }
}

async fn start_config(s: &Stage) -> Play {
    s.rollout(s.with_config(basic(4)).await?).await?;
    s.until("old version healthy", |w| healthy_on(w, OLD)).await?;
    let files = limits(2)?;
    started(s, NEW, &files).await?;
    s.until("first pause", |w| paused_at(w, 1) && w.version.as_deref() == Some(NEW)).await?;
    s.same("mounted", s.mounted().await?.as_str(), files.name().as_str())?;
    s.same("content", s.config(files.name(), "limits.yaml").await?, ("limit: 2\n".to_owned(), false))?;
    // A second press finds everything as it should be.
    started(s, NEW, &files).await?;
    s.done(Verb::Undo).await?;
    let w = s.until("healthy on the old version", |w| healthy_on(w, OLD)).await?;
    s.same("mounted after the undo", s.mounted().await?.as_str(), CONFIG_BEFORE)?;
    Ok(w)
}

async fn config_only(s: &Stage) -> Play {
    s.rollout(s.with_config(basic(4)).await?).await?;
    let before = s.until("old version healthy", |w| healthy_on(w, OLD)).await?;
    let files = limits(3)?;
    started(s, OLD, &files).await?;
    let w = s.until("first pause", |w| paused_at(w, 1) && w.hash != before.hash).await?;
    s.same("version", w.version.as_deref(), Some(OLD))?;
    s.same("mounted", s.mounted().await?.as_str(), files.name().as_str())?;
    s.done(Verb::Undo).await?;
    s.until("back on the config before", |w| healthy_on(w, OLD) && w.hash == before.hash).await
}

async fn config_nowhere(s: &Stage) -> Play {
    s.rollout(basic(2)).await?;
    let w = s.until("old version healthy", |w| healthy_on(w, OLD)).await?;
    match s.start_with(NEW, &limits(2)?).await? {
        Outcome::Refused(why) if why.contains("no volume called config") => {}
        other => return s.fail(format!("a template without a config volume: {other:?}")),
    }
    s.holds_still("nothing deployed", 1, |now| healthy_on(now, OLD) && now.hash == w.hash).await
}

async fn config_ref(s: &Stage) -> Play {
    s.with_ref(s.with_config(basic(4)).await?).await?;
    s.until("old version healthy", |w| healthy_on(w, OLD)).await?;
    let files = limits(2)?;
    started(s, NEW, &files).await?;
    s.until("first pause", |w| paused_at(w, 1) && w.version.as_deref() == Some(NEW)).await?;
    s.same("mounted", s.mounted().await?.as_str(), files.name().as_str())?;
    s.done(Verb::Undo).await?;
    let w = s.until("healthy on the old version", |w| healthy_on(w, OLD)).await?;
    s.same("mounted after the undo", s.mounted().await?.as_str(), CONFIG_BEFORE)?;
    Ok(w)
}
