//! Flag definitions as flagd and the OpenFeature operator keep them (reference section 6), and what a flip changes in one: on,
//! off, or a share of users. Flags live in a FeatureFlag object, in a ConfigMap that flagd reads, or in a file; reading and
//! writing those, and other providers' wires, are not done here.

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, PatchOperation, TestOperation};
use serde_json::{Map, Value, json};

use super::confirm::Refusal;
use super::effect::{Change, Direction, Effect};
use super::object::{Object, ObjectKind, ObjectRef};
use super::text::Text;

mod splice;
mod yaml;

/// What a flag is set to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FlagSetting {
    /// The variant that is `true` (or named `on`) for everybody.
    On,
    /// The variant that is `false` (or named `off`) for everybody.
    Off,
    /// A share of users, 0 to 100 percent, sticky by targeting key.
    Percent(u8),
}

/// What a flag says now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Now {
    /// One setting that a flip could have made.
    Set(FlagSetting),
    /// Another variant for everybody, by name.
    Variant(Text),
    /// Targeting rules of its own: different users see different variants.
    Rules,
}

/// A flag, read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Flag {
    /// Its key.
    pub key: Text,
    /// False when its state is not ENABLED: providers then serve the code's default, whatever else it says.
    pub enabled: bool,
    /// What it says; none when that cannot be told.
    pub now: Option<Now>,
    /// What is wrong with it; empty when nothing.
    pub note: Text,
}

/// A flip, worked out.
#[derive(Clone, PartialEq, Debug)]
pub struct Flip {
    /// What the flag said before.
    pub before: Now,
    /// What it will say.
    pub after: Now,
    /// What is lost by it (targeting rules that it replaces), for the dialog.
    pub warnings: Vec<Text>,
    /// The definition before and after, whole, for the journal.
    pub definition: (Value, Value),
}

impl FlagSetting {
    /// 0 % is off, 100 % is on. Refused above 100.
    pub fn plain(self) -> Result<Self, Refusal> {
        match self {
            Self::Percent(0) => Ok(Self::Off),
            Self::Percent(100) => Ok(Self::On),
            Self::Percent(n) if n > 100 => Err(refusal(crate::text!("{n} % is more than everybody"), "0 to 100")),
            other => Ok(other),
        }
    }

    /// Which way it goes: safe is what is recorded as safe (`flags.safe` of footplate.yaml, or the value before the train),
    /// or off where nothing is recorded. A share counts as on.
    pub fn direction(self, safe: Option<bool>) -> Direction {
        let on = !matches!(self.plain(), Ok(Self::Off));
        if on == safe.unwrap_or(false) && !matches!(self.plain(), Ok(Self::Percent(_))) {
            Direction::Safe
        } else {
            Direction::Forward
        }
    }
}

impl std::fmt::Display for FlagSetting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::On => f.write_str("on"),
            Self::Off => f.write_str("off"),
            Self::Percent(n) => write!(f, "{n} %"),
        }
    }
}

impl std::fmt::Display for Now {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Set(setting) => setting.fmt(f),
            Self::Variant(name) => f.pad(name),
            Self::Rules => f.write_str("by rules"),
        }
    }
}

impl From<FlagSetting> for Now {
    fn from(setting: FlagSetting) -> Self {
        Self::Set(setting)
    }
}

/// The flags of a definition (`{"flags": {…}}`: a FeatureFlag's `spec.flagSpec`, a flagd file), by key.
pub fn read_all(definition: &Value) -> Vec<Flag> {
    let flags = definition["flags"].as_object();
    flags.into_iter().flatten().map(|(key, flag)| read(key, flag)).collect()
}

/// Reads one flag.
pub fn read(key: &str, flag: &Value) -> Flag {
    let enabled = flag["state"] == "ENABLED";
    let note = sides(flag).err().unwrap_or_default();
    let now = Some(says(flag)).filter(|_| note.is_empty() || has_rules(flag) || flag["defaultVariant"].is_string());
    let note = if enabled || !note.is_empty() { note } else { Text::scrub("disabled: the code's default is served") };
    Flag { key: Text::scrub(key), enabled, now, note }
}

/// Works out a flip of one flag in a definition: to a setting, or to a variant for everybody.
pub fn flip(definition: &Value, key: &str, to: impl Into<Now>) -> Result<Flip, Refusal> {
    let after = match to.into() {
        Now::Set(setting) => Now::Set(setting.plain()?),
        other => other,
    };
    let Some(flag) = definition["flags"].as_object().and_then(|flags| flags.get(key)) else {
        let known: Vec<&str> =
            definition["flags"].as_object().into_iter().flat_map(Map::keys).map(String::as_str).collect();
        let hint = if known.is_empty() {
            "no flag is defined there".into()
        } else {
            crate::text!("it has {}", known.join(", "))
        };
        return Err(Refusal { why: crate::text!("there is no flag {key}"), hint, already: false });
    };
    if flag["state"] != "ENABLED" {
        let state = flag["state"].as_str().unwrap_or("missing");
        let hint = "a flip would change nothing: set its state to ENABLED first";
        return Err(refusal(crate::text!("flag {key} is not enabled (state {state})"), hint));
    }
    let sides = || {
        sides(flag).map_err(|why| {
            let hint =
                "give it a variant that is true and one that is false (or named on and off), or change it by hand";
            refusal(crate::text!("flag {key} cannot be switched: {why}"), hint)
        })
    };
    let (default, targeting) = match &after {
        Now::Set(FlagSetting::On) => (sides()?.0, json!({})),
        Now::Set(FlagSetting::Off) => (sides()?.1, json!({})),
        // The first bucket grows from one end, so that who is in stays in when the share rises.
        Now::Set(FlagSetting::Percent(n)) => {
            let (on, off) = sides()?;
            (off, json!({"fractional": [[on, n], [off, 100 - n]]}))
        }
        Now::Variant(name) => {
            let variants = flag["variants"].as_object();
            let Some((own, _)) = variants.and_then(|v| v.iter().find(|(own, _)| Text::scrub(own) == *name)) else {
                let why = crate::text!("flag {key} has no variant {name}");
                return Err(refusal(why, "name one that it has"));
            };
            (own.as_str(), json!({}))
        }
        Now::Rules => {
            let why = crate::text!("flag {key} cannot be set to rules that are not known");
            return Err(refusal(why, "change it by hand"));
        }
    };
    let before = says(flag);
    if before == after {
        let why = crate::text!("flag {key} is {after} already");
        return Err(Refusal { why, hint: Text::scrub("nothing is left to do"), already: true });
    }
    let mut warnings = Vec::new();
    if before == Now::Rules {
        let rules = flag["targeting"].to_string();
        warnings.push(crate::text!("its own targeting rules are replaced; the journal keeps them: {rules}"));
    }
    let mut changed = flag.clone();
    changed["defaultVariant"] = json!(default);
    changed["targeting"] = targeting;
    Ok(Flip { before, after, warnings, definition: (flag.clone(), changed) })
}

/// The flip of a flag in a FeatureFlag object, or in a ConfigMap that flagd reads (`data_key` names its file), as the effect
/// that makes it. It tests the object's uid and what the flag says now.
pub fn flip_object(
    id: &ObjectRef,
    object: &Object,
    data_key: Option<&str>,
    key: &str,
    to: impl Into<Now>,
    safe: Option<bool>,
) -> Result<(Flip, Effect), Refusal> {
    let to = to.into();
    let (flip, mut operations) = match (id.kind, data_key) {
        (ObjectKind::FeatureFlag, _) => {
            let none = Value::Null;
            let flip = flip(object.raw("/spec/flagSpec").unwrap_or(&none), key, to.clone())?;
            let at = |field: &[&str]| pointer(&[&["spec", "flagSpec", "flags", key], field].concat());
            let (before, after) = &flip.definition;
            let mut operations = vec![test(at(&[]), before.clone())];
            for field in ["defaultVariant", "targeting"] {
                if before[field] != after[field] {
                    operations.push(add(at(&[field]), after[field].clone()));
                }
            }
            (flip, operations)
        }
        (ObjectKind::ConfigMap, Some(data_key)) => {
            if object.flag("/immutable") {
                let hint = "flags in an immutable ConfigMap change by making another one";
                return Err(refusal(crate::text!("{id} is immutable"), hint));
            }
            let text = object.raw("/data").and_then(|data| data.get(data_key)).and_then(Value::as_str);
            let Some(text) = text else {
                return Err(refusal(
                    crate::text!("{id} has no data key {data_key}"),
                    "check flags.key in footplate.yaml",
                ));
            };
            let (flip, after) = flip_text(text, key, to.clone())?;
            let at = || pointer(&["data", data_key]);
            (flip, vec![test(at(), json!(text)), add(at(), json!(after))])
        }
        _ => return Err(refusal(crate::text!("{id} holds no flags"), "check flags in footplate.yaml")),
    };
    operations.insert(0, test(pointer(&["metadata", "uid"]), json!(object.uid())));
    let says = crate::text!("set flag {key} to {}, before it {}", flip.after, flip.before);
    let direction = match to {
        Now::Set(setting) => setting.direction(safe),
        Now::Variant(_) | Now::Rules => Direction::Forward,
    };
    let change = Change::Patch(json_patch::Patch(operations));
    Ok((flip, Effect { object: id.clone(), change, direction, says }))
}

/// The definition that a flagd file says, in JSON or YAML, or what keeps it from being read.
pub fn parse(text: &str) -> Result<Value, Text> {
    format(text).map(|(_, definition)| definition)
}

/// How a flag file is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Yaml,
}

fn format(text: &str) -> Result<(Format, Value), Text> {
    let not_json = match serde_json::from_str(text) {
        Ok(definition) => return Ok((Format::Json, definition)),
        Err(why) => why,
    };
    match yaml::read(text) {
        Ok(definition) => Ok((Format::Yaml, definition)),
        // What begins as JSON was meant as JSON.
        Err(_) if text.trim_start().starts_with('{') => Err(crate::text!("it is no JSON: {not_json}")),
        Err(why) => Err(crate::text!("it is no YAML that is read here: {why}")),
    }
}

/// The flip of a flag in the text of a flagd file: the new text. Everything but the two fields of the flag stays as it is,
/// order, layout and comments included.
pub fn flip_text(text: &str, key: &str, to: impl Into<Now>) -> Result<(Flip, String), Refusal> {
    let (format, definition) = format(text).map_err(|why| {
        refusal(crate::text!("the flag file cannot be read: {why}"), "mend the file, or change the flag there by hand")
    })?;
    let flip = flip(&definition, key, to)?;
    let changed: Vec<(&str, &Value)> = ["defaultVariant", "targeting"]
        .into_iter()
        .map(|field| (field, &flip.definition.1[field]))
        .filter(|(field, value)| flip.definition.0[*field] != **value)
        .collect();
    let more = || refusal(crate::text!("flag {key} cannot be changed without changing more"), "change it by hand");
    let out = match format {
        Format::Yaml => yaml::set(text, key, &changed).ok_or_else(more)?,
        Format::Json => {
            let mut out = text.to_owned();
            for (field, value) in changed {
                out = splice::set(&out, &["flags", key, field], &value.to_string()).ok_or_else(more)?;
            }
            // Trust nothing: what was spliced must say exactly what was worked out, and nothing else.
            let mut wanted = definition;
            wanted["flags"][key] = flip.definition.1.clone();
            if serde_json::from_str::<Value>(&out).ok().as_ref() != Some(&wanted) {
                return Err(more());
            }
            out
        }
    };
    Ok((flip, out))
}

/// The names of the variants that mean on and off: true and false, else those of that name.
fn sides(flag: &Value) -> Result<(&str, &str), Text> {
    let Some(variants) = flag["variants"].as_object() else { return Err(Text::scrub("it has no variants")) };
    let bools = variants.values().all(Value::is_boolean);
    let side = |want: bool, name: &str| -> Result<String, Text> {
        let fits: Vec<&String> = if bools {
            variants.iter().filter(|(_, v)| **v == want).map(|(k, _)| k).collect()
        } else {
            variants.keys().filter(|k| *k == name).collect()
        };
        match fits.as_slice() {
            [one] => Ok((*one).clone()),
            [] if bools => Err(crate::text!("no variant of it is {want}")),
            [] => Err(crate::text!("its variants are no booleans, and none is named {name}")),
            many => match many.iter().find(|k| *k.as_str() == *name) {
                Some(named) => Ok((**named).clone()),
                None => Err(crate::text!("{} variants of it are {want}", many.len())),
            },
        }
    };
    let (on, off) = (side(true, "on")?, side(false, "off")?);
    let own = |name: String| variants.keys().find(|k| **k == name).map(String::as_str).unwrap_or_default();
    Ok((own(on), own(off)))
}

/// True when different users may see different variants.
fn has_rules(flag: &Value) -> bool {
    let targeting = &flag["targeting"];
    !targeting.is_null() && targeting.as_object().is_none_or(|rules| !rules.is_empty())
}

/// What a flag says to users who have a targeting key.
fn says(flag: &Value) -> Now {
    let sides = sides(flag).ok();
    if has_rules(flag) {
        let share = sides.and_then(|(on, off)| share(&flag["targeting"], on, off));
        return share.map_or(Now::Rules, |n| Now::Set(plain(n)));
    }
    match (flag["defaultVariant"].as_str(), sides) {
        (Some(variant), Some((on, _))) if variant == on => Now::Set(FlagSetting::On),
        (Some(variant), Some((_, off))) if variant == off => Now::Set(FlagSetting::Off),
        (Some(other), _) => Now::Variant(Text::scrub(other)),
        (None, _) => Now::Variant(Text::scrub("the code's default")),
    }
}

fn plain(percent: u8) -> FlagSetting {
    FlagSetting::Percent(percent).plain().unwrap_or(FlagSetting::On)
}

/// The share of users that see `on`, where the targeting is nothing but a split between on and off.
fn share(targeting: &Value, on: &str, off: &str) -> Option<u8> {
    let rules = targeting.as_object().filter(|rules| rules.len() == 1)?;
    let parts = rules.get("fractional")?.as_array()?;
    // The first part may say by what users are told apart.
    let buckets = match parts.first()?.as_array() {
        Some(_) => parts.as_slice(),
        None => &parts[1..],
    };
    let (mut on_weight, mut all) = (0u64, 0u64);
    for bucket in buckets {
        let bucket = bucket.as_array().filter(|b| (1..=2).contains(&b.len()))?;
        let weight = bucket.get(1).map_or(Some(1), Value::as_u64)?;
        all = all.checked_add(weight)?;
        match bucket[0].as_str()? {
            variant if variant == on => on_weight = on_weight.checked_add(weight)?,
            variant if variant == off => {}
            _ => return None,
        }
    }
    if all == 0 {
        return None;
    }
    let percent = on_weight.checked_mul(100)?.checked_add(all / 2)? / all;
    // A share that rounds to nobody or everybody is neither.
    let percent = if on_weight > 0 && on_weight < all { percent.clamp(1, 99) } else { percent };
    u8::try_from(percent).ok()
}

fn refusal(why: Text, hint: &str) -> Refusal {
    Refusal { why, hint: Text::scrub(hint), already: false }
}

fn pointer(path: &[&str]) -> PointerBuf {
    PointerBuf::from_tokens(path.iter().copied())
}

fn test(path: PointerBuf, value: Value) -> PatchOperation {
    PatchOperation::Test(TestOperation { path, value })
}

fn add(path: PointerBuf, value: Value) -> PatchOperation {
    PatchOperation::Add(AddOperation { path, value })
}

#[cfg(test)]
mod tests;
