//! The config files of a deploy: their ConfigMap is made and read back first, then the one patch that sets the image also
//! names it in the template's volume `config`. So an undo of the template takes the config back with it (`train.md` §1).

use serde_json::Value;

use super::{Aim, Attempts, Facts, Next, refused};
use crate::core::config_files::ConfigFiles;
use crate::core::effect::{Change, Direction, Effect};
use crate::core::object::Object;
use crate::core::template;

/// How often the ConfigMap is made before it is said that it cannot be read back.
const MADE_MAX: u32 = 5;

/// True when the template mounts these files; also when there are none to mount.
pub(super) fn is_mounted(template: &Value, config: Option<&ConfigFiles>) -> bool {
    config
        .is_none_or(|config| template::config_volume(template).is_some_and(|(_, name)| name == config.name().as_str()))
}

/// What stands before the patch: a volume that the template lacks, a ConfigMap to be made. None when it may be sent. `owner`
/// is the workload that the verb is aimed at.
pub(super) fn before_patch(
    aim: &Aim,
    facts: &Facts,
    owner: &Object,
    template: &Value,
    container: &str,
    config: &ConfigFiles,
    attempts: &mut Attempts,
) -> Option<Next> {
    let name = &aim.workload.name;
    if template::config_volume(template).is_none() {
        let hint = format!(
            "add to spec.template.spec: volumes: [{{name: config, configMap: {{name: {}}}}}], and to container {container}: \
             volumeMounts: [{{name: config, mountPath: WHERE IT READS THEM}}]",
            config.name()
        );
        let why = crate::text!(
            "{name} has config files to deploy, but its template has no volume called config with a configMap"
        );
        return Some(refused(why, &hint));
    }
    let id = config.id(&aim.workload);
    let there = facts.records.iter().find(|map| map.name() == id.name);
    match there {
        Some(map) if config.are_in(map) => None,
        Some(_) => Some(refused(
            crate::text!("{id} is there and holds something else"),
            "it is not one of ours, or was made anew by hand: remove it, then order it again",
        )),
        None if attempts.count() >= MADE_MAX => Some(refused(
            crate::text!("{id} cannot be read back"),
            "check the rights to create and list ConfigMaps, and that none of this name belongs to something else",
        )),
        None => {
            let says = crate::text!("make the config files immutable in ConfigMap {}", id.name);
            let change = Change::Create(config.config_map(&aim.workload, owner.uid()));
            Some(attempts.send(Box::new(Effect { object: id, change, direction: Direction::Forward, says })))
        }
    }
}
