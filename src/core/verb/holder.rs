//! The Deployment whose pod template a verb writes: a workload of its own, or the target of a Flagger Canary. Deploying onto
//! it with a record, and taking it back, are the same for both; what frames them is not (`deployment.rs`, `canary.rs`).

use serde_json::{Value, json};

use super::config;
use super::draft::{self, Draft, HOLD, HOLD_BY, Mark, UNDO};
use super::{Aim, Attempts, Facts, Next, done, refused, unverified, version, wait};
use crate::core::config_files::ConfigFiles;
use crate::core::effect::{Change, Direction, Effect};
use crate::core::object::{Object, ObjectKind, ObjectRef};
use crate::core::record;
use crate::core::template::{self, ANEW};
use crate::core::text::Text;
use crate::core::verified::Verified;
use crate::core::workload::before::{self, BEFORE, SET};
use crate::core::workload::sets::{self, Set};
use crate::core::workload::{UndoPath, UndoTo, Workload, container_image};

/// The Deployment and what belongs to it.
pub(super) struct Holder<'a> {
    pub aim: &'a Aim,
    pub facts: &'a Facts,
    /// The workload that the verb is aimed at: bears hold, undo and the records.
    pub owner: &'a Object,
    /// The Deployment.
    pub object: &'a Object,
    /// Its name.
    pub id: ObjectRef,
    /// Its replica sets.
    pub sets: Vec<Set<'a>>,
}

/// What is restored; fixed at the first look.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub to: UndoTo,
    pub template: Value,
    pub bad: String,
    pub kept: Vec<Text>,
}

impl<'a> Holder<'a> {
    pub(super) fn new(aim: &'a Aim, facts: &'a Facts, owner: &'a Object, object: &'a Object, id: ObjectRef) -> Self {
        let refs: Vec<&Object> = facts.sets.iter().collect();
        Self { aim, facts, owner, object, id, sets: sets::of(ObjectKind::Deployment, object.uid(), &refs) }
    }

    pub(super) fn observed(&self) -> bool {
        self.object.int("/status/observedGeneration").is_some_and(|seen| seen >= self.object.generation())
    }

    pub(super) fn template(&self) -> Option<&'a Value> {
        self.object.raw("/spec/template")
    }

    /// True when requests may still reach pods of this hash through the Deployment.
    pub(super) fn runs(&self, hash: &str) -> bool {
        sets::find(&self.sets, hash).is_some_and(|s| s.available() > 0)
    }

    /// A deploy: the record is made and read back first, then one patch sets the image. None when the image is set and the
    /// Deployment's controller has seen it. `live` is the pod hash of what is live now.
    pub(super) fn deploy(
        &self,
        image: &Text,
        container: &Text,
        files: Option<&ConfigFiles>,
        live: &str,
        verified: Option<&Verified>,
        attempts: &mut Attempts,
    ) -> Option<Next> {
        let name = &self.aim.workload.name;
        let Some(verified) = verified else { return Some(unverified(name)) };
        let Some(template) = self.template() else {
            return Some(refused(crate::text!("{name} has no pod template that can be read"), "check the object"));
        };
        let Some(now) = container_image(template, Some(container)) else {
            let containers = template["spec"]["containers"].as_array().into_iter().flatten();
            let names: Vec<&str> = containers.filter_map(|c| c["name"].as_str()).collect();
            return Some(refused(
                crate::text!("{name} has no container {container}; it has {}", names.join(", ")),
                "name one of them as workload.container in service.yaml",
            ));
        };
        if !self.observed() {
            return Some(wait("the controller to see the last change"));
        }
        if now == image.as_str() && config::is_mounted(template, files) {
            return None;
        }
        let recorded = match sets::find(&self.sets, live) {
            // What the object says is more exact than what the replica set keeps of it, as long as it is the same.
            Some(set) if self.sets.first().is_some_and(|s| s.hash == set.hash) => Some(template.clone()),
            Some(set) => template::of_set(set.object),
            None => None,
        };
        let Some(recorded) = recorded else {
            return Some(refused(
                crate::text!("what is live of {name} has no replica set that can be read, so it cannot be recorded"),
                "without a record there is no way back; check the rights to read replica sets",
            ));
        };
        let record = record::of(&self.aim.workload, self.owner.uid(), live, &recorded);
        if record::find(&self.facts.records, &self.aim.workload.name, self.owner.uid(), live).as_ref()
            != Some(&recorded)
        {
            if attempts.count() >= 3 {
                return Some(refused(
                    crate::text!("the record {} cannot be read back", record.id.name),
                    "check the rights to create and read ConfigMaps, and that none of this name is in the way",
                ));
            }
            let says = crate::text!("record the template that is live in ConfigMap {}", record.id.name);
            let change = Change::Create(record.config_map);
            return Some(attempts.send(Box::new(Effect {
                object: record.id,
                change,
                direction: Direction::Forward,
                says,
            })));
        }
        if let Some(files) = files
            && let Some(next) =
                config::before_patch(self.aim, self.facts, self.owner, template, container, files, attempts)
        {
            return Some(next);
        }
        let mut set = json!({
            "container": container.as_str(), "image": image.as_str(), "by": self.aim.order.who.as_str(),
            "verified": verified.says().as_str(),
        });
        let mounted = template::config_volume(template).map(|(_, name)| name);
        if let Some(name) = files.map(|files| files.name().as_str()).or(mounted) {
            set["config"] = json!(name);
        }
        let mut marks: Vec<Mark<'_>> = vec![(BEFORE, Some(live.to_owned())), (SET, Some(set.to_string()))];
        let mut d = Draft::on(self.object);
        if self.id == self.aim.workload {
            d = d.stamps_as_read(self.object).same(self.object, &["spec", "paused"]);
            marks.extend([(UNDO, None), (HOLD, None), (HOLD_BY, None)]);
        }
        let d = d.marks(self.object, &marks);
        let config = files.map(|files| files.name().as_str());
        let mark = template["metadata"]["annotations"][ANEW].as_str();
        let d = version::set(d, self.object, template, container, image, config, mark);
        let also = files.map_or(Text::default(), |files| crate::text!(" and config {}", files.name()));
        let says = crate::text!("set image {image}{also}, before it {live} (recorded in {})", record.id.name);
        Some(attempts.send(d.main(self.id.clone(), Direction::Forward, says)))
    }

    /// Writes an annotation into the pod template, which makes new pods.
    pub(super) fn touch(&self, key: &str, value: &str, says: Text) -> Box<Effect> {
        let mut d = Draft::on(self.object);
        if self.id == self.aim.workload {
            d = d.stamps_as_read(self.object).same(self.object, &["spec", "paused"]);
        }
        let d = version::note(d, self.template().unwrap_or(&Value::Null), key, value);
        d.main(self.id.clone(), Direction::Forward, says)
    }

    /// The value of an annotation of the pod template.
    pub(super) fn note(&self, key: &str) -> Option<&'a str> {
        self.template()?["metadata"]["annotations"][key].as_str()
    }

    /// Fixes what an undo or abort restores, or says why nothing is. `w` is the workload as observed now.
    pub(super) fn plan(&self, w: &Workload, in_flight: bool) -> Result<Plan, Next> {
        let name = &self.aim.workload.name;
        let seen = self.aim.seen.as_ref().and_then(|s| s.undo_to.as_ref());
        let is_back = |hash: &str| !in_flight && hash == w.hash.as_str();
        if seen.is_some_and(|h| is_back(h)) || (!in_flight && before::taken_back_to(self.owner, &w.hash)) {
            return Err(done(crate::text!("{name} is back on {} already", w.hash)));
        }
        let to = match (&w.undo, &w.undo_to) {
            (UndoPath::NotReady(why), _) => {
                return Err(refused(crate::text!("{name}: {why}"), "start the version that you want"));
            }
            (_, Some(to)) => to.clone(),
            (_, None) => {
                let why = crate::text!("{name}: there is nothing to go back to");
                return Err(refused(why, "this is what was live before, or its first version"));
            }
        };
        if let Some(seen) = seen
            && *seen != to.hash
        {
            let why = crate::text!("{name}: an undo would now go back to {}, not to {seen} as was shown", to.hash);
            return Err(refused(why, "look again"));
        }
        let recorded = record::find(&self.facts.records, name, self.owner.uid(), &to.hash)
            .or_else(|| sets::find(&self.sets, &to.hash).and_then(|s| template::of_set(s.object)));
        let Some(recorded) = recorded else {
            return Err(refused(crate::text!("{name}: the template of {} is gone", to.hash), "start the version anew"));
        };
        let (template, kept) = if in_flight { (recorded, Vec::new()) } else { self.only_ours(recorded) };
        let under_way = before::going_back(self.owner, &w.hash).filter(|_| in_flight);
        let bad = under_way.map_or(w.hash.as_str(), |(from, _)| from).to_owned();
        Ok(Plan { to, template, bad, kept })
    }

    /// The recorded template, unless somebody changed more than the fields of our deploy since: then theirs stay.
    fn only_ours(&self, recorded: Value) -> (Value, Vec<Text>) {
        let Some(live) = self.template() else { return (recorded, Vec::new()) };
        if !before::stamp_counts(self.object, Some(live)) {
            return (recorded, Vec::new());
        }
        let set: Value = self.object.annotation(SET).and_then(|s| serde_json::from_str(s).ok()).unwrap_or_default();
        let container = set["container"].as_str().unwrap_or_default();
        let image = set["image"].as_str().unwrap_or_default();
        let expected = template::with_ours(recorded.clone(), container, image, set["config"].as_str());
        if template::same(&expected, live) {
            return (recorded, Vec::new());
        }
        let kept = template::differences(&expected, live, 4);
        let image = container_image(&recorded, Some(container)).unwrap_or_default();
        let config = template::config_volume(&recorded).map(|(_, name)| name);
        (template::with_ours(live.clone(), container, image, config), kept)
    }

    /// True when the plan's template is written.
    pub(super) fn restored(&self, plan: &Plan) -> bool {
        self.template().is_some_and(|t| template::equal(t, &plan.template))
    }

    /// The patch that writes the plan's template; on a workload of its own it ends the hold and stamps in the same patch.
    pub(super) fn restore(&self, plan: &Plan) -> Box<Effect> {
        let mut d = Draft::on(self.object);
        if self.id == self.aim.workload {
            d = clear(d, self.object, "paused", plan);
        }
        let says = crate::text!("restore the template of {}", plan.version());
        d.set(&["spec", "template"], plan.template.clone()).main(self.id.clone(), Direction::Safe, says)
    }
}

impl Plan {
    pub(super) fn version(&self) -> &str {
        self.to.version.as_deref().unwrap_or(self.to.hash.as_str())
    }

    /// What was done, with what is to be known of it.
    pub(super) fn said(&self, aim: &Aim, facts: &Facts) -> Text {
        let mut said = crate::text!("{} is back on {}, read back", aim.workload.name, self.version());
        if !self.kept.is_empty() {
            let kept: Vec<&str> = self.kept.iter().map(Text::as_str).collect();
            said = crate::text!("{said}; changes by others since are kept: {}", kept.join("; "));
        }
        if let Some(owner) = &facts.owner {
            said = crate::text!("{said}; {owner} may revert this");
        }
        said
    }
}

/// Ends a hold (`field` of the spec) and stamps the undo.
pub(super) fn clear(d: Draft, object: &Object, field: &str, plan: &Plan) -> Draft {
    let mut d = d.stamps_as_read(object);
    if object.flag(&format!("/spec/{field}")) {
        d = d.set(&["spec", field], json!(false));
    }
    let stamp = draft::undo_value(&plan.bad, &plan.to.hash);
    d.marks(object, &[(UNDO, Some(stamp)), (HOLD, None), (HOLD_BY, None)])
}

/// The value with which a retry makes a template new.
pub(super) fn anew(aim: &Aim) -> (&'static str, String) {
    (ANEW, format!("hand/{}", aim.order.when.as_millisecond()))
}
