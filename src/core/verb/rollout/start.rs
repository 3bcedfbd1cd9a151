//! Deploying a version on a Rollout: what is live is recorded first, then one patch sets the image (`train.md` §1).

use serde_json::{Value, json};

use super::View;
use crate::core::config_files::ConfigFiles;
use crate::core::effect::Direction;
use crate::core::object::Object;
use crate::core::template;
use crate::core::text::Text;
use crate::core::verb::draft::{Draft, HOLD, HOLD_BY, UNDO};
use crate::core::verb::{Attempts, Next, config, done, refused, unverified, version, wait};
use crate::core::verified::Verified;
use crate::core::workload::before::{self, BEFORE, SET};
use crate::core::workload::container_image;

/// What is to be deployed.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub image: &'a Text,
    pub container: &'a Text,
    pub config: Option<&'a ConfigFiles>,
}

/// A deploy under way.
#[derive(Clone, Default, Debug)]
pub(super) struct Start {
    /// The mark that makes a template new which was there before; fixed once.
    anew: Option<String>,
    /// The hash that was there when it was ordered.
    from: Option<String>,
}

impl Start {
    pub(super) fn next(
        &mut self,
        v: &View<'_>,
        wanted: Wanted<'_>,
        verified: Option<&Verified>,
        attempts: &mut Attempts,
    ) -> Next {
        let Wanted { image, container, config: files } = wanted;
        let Some(verified) = verified else { return unverified(v.name()) };
        let Some(template) = v.template() else {
            return refused(crate::text!("{} has no pod template that can be read", v.name()), "check the object");
        };
        let Some(live) = container_image(template, Some(container)) else {
            let names: Vec<&str> = containers(template).filter_map(|c| c["name"].as_str()).collect();
            return refused(
                crate::text!("{} has no container {container}; it has {}", v.name(), names.join(", ")),
                "name one of them as workload.container in service.yaml",
            );
        };
        if !v.observed() {
            return wait("the controller to see the last change");
        }
        if live == image.as_str() && config::is_mounted(template, files) {
            // The controller clears the mark of the version before only some writes after it has seen the new one.
            if v.aborted() && self.from.as_deref() == Some(v.current) {
                return wait("the controller to take up the new version");
            }
            if v.aborted() {
                return refused(crate::text!("{image} was aborted on {}", v.name()), "t tries it again");
            }
            let word = if v.settled() { "is live" } else { "is on its way" };
            let before = v.object.annotation(BEFORE).filter(|_| before::stamp_counts(v.object, v.template()));
            return done(crate::text!("{}: {image} {word}; before it {}", v.name(), recorded(before)));
        }
        if attempts.any() && self.from.as_deref() != Some(v.current) {
            return refused(
                crate::text!("{} moved meanwhile: {live} is deployed now", v.name()),
                "look again before you start another version",
            );
        }
        if let Some(next) = v.not_what_was_seen() {
            return next;
        }
        // An aborted version may be replaced: its mark ends here. A restore that is still under way may not.
        let only_aborted = v.aborted() && v.current != v.stable;
        if let Some(next) = v.stands_against_forward().filter(|_| !only_aborted || v.held()) {
            return next;
        }
        let referenced = match v.referenced() {
            Ok(found) => found,
            Err(next) => return next,
        };
        let before = if v.stable.is_empty() { None } else { Some(v.stable.to_owned()) };
        if let Some(hash) = &before
            && v.set(hash).is_none()
        {
            return refused(
                crate::text!("{}: what is live ({hash}) has no replica set, so it cannot be recorded", v.name()),
                "check revisionHistoryLimit; without a record there is no way back",
            );
        }
        self.from = Some(v.current.to_owned());
        if let Some(files) = files
            && let Some(next) = config::before_patch(v.aim, v.facts, v.object, template, container, files, attempts)
        {
            return next;
        }
        let seen_before = v.sets.iter().any(|s| {
            let same = |t: &Value| container_image(t, Some(container)) == Some(image) && config::is_mounted(t, files);
            s.hash != v.current && s.object.raw("/spec/template").is_some_and(same)
        });
        if seen_before && self.anew.is_none() {
            self.anew = Some(format!("hand/{}", v.aim.order.when.as_millisecond()));
        }
        let mut set = json!({
            "container": container.as_str(), "image": image.as_str(), "by": v.aim.order.who.as_str(),
            "verified": verified.says().as_str(),
        });
        let mounted = template::config_volume(template).map(|(_, name)| name);
        if let Some(name) = files.map(|files| files.name().as_str()).or(mounted) {
            set["config"] = json!(name);
        }
        let marks = [(BEFORE, before), (SET, Some(set.to_string())), (UNDO, None), (HOLD, None), (HOLD_BY, None)];
        let also = files.map_or(Text::default(), |files| crate::text!(" and config {}", files.name()));
        let says = crate::text!("set image {image}{also}, before it {}", recorded(Some(v.stable)));
        match referenced {
            None => {
                let d = v.forward().marks(v.object, &marks);
                let d = self.deploy(d, v.object, template, wanted);
                attempts.send(d.main(v.id().clone(), Direction::Forward, says))
            }
            // The record first, then the template, which is another object's.
            Some((target, id)) => {
                if v.object.annotation(SET) != Some(set.to_string().as_str()) {
                    let d = v.forward().marks(v.object, &marks);
                    let says = crate::text!("record what is live: {}", recorded(Some(v.stable)));
                    return attempts.send(d.main(v.id().clone(), Direction::Forward, says));
                }
                let d = self.deploy(Draft::on(target), target, template, wanted);
                attempts.send(d.main(id, Direction::Forward, says))
            }
        }
    }

    /// The changes of the template, under tests that they hit the container that was meant.
    fn deploy(&self, d: Draft, holder: &Object, template: &Value, wanted: Wanted<'_>) -> Draft {
        let Wanted { image, container, config } = wanted;
        let config = config.map(|files| files.name().as_str());
        version::set(d, holder, template, container, image, config, self.anew.as_deref())
    }
}

/// What stands recorded as live before, in words.
fn recorded(hash: Option<&str>) -> Text {
    match hash.filter(|h| !h.is_empty()) {
        Some(hash) => crate::text!("{hash} (its replica set is the record)"),
        None => Text::scrub("nothing"),
    }
}

fn containers(template: &Value) -> impl Iterator<Item = &Value> {
    template["spec"]["containers"].as_array().into_iter().flatten()
}
