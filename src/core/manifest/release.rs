//! `release.yaml`: the pinned set. Short forms as teams write them, long forms beside them (design.md §3).

use jiff::Timestamp;
use semver::Version;

use super::reader::{Reader, short};
use super::yaml::{Kind, Node};
use crate::core::finding::{At, FileId, Findings, Place, Sources};
use crate::core::text::Text;
use crate::text;

/// Longest image tag (OCI distribution specification).
const TAG_MAX: usize = 128;

/// Longest name of a release: it becomes the value of a label.
const NAME_MAX: usize = 63;

/// The pinned set.
#[derive(Clone, PartialEq, Debug)]
pub struct Release {
    /// Its name.
    pub name: Text,
    /// The services, in the order of the file.
    pub services: Vec<Pin>,
    /// Expand steps, in the order of the file.
    pub migrations: Vec<MigrationStep>,
    /// Flags and their value at the end of the train, in the order of the file.
    pub flags: Vec<FlagGoal>,
    /// Pinned configuration files, in the order of the file.
    pub configs: Vec<ConfigPin>,
    /// Policies that must be met.
    pub requires: Vec<At<Text>>,
    /// The weights that every canary must walk, percent, rising, the last 100; none where the manifest says nothing.
    pub progressive: Option<At<Vec<u8>>>,
}

/// One pinned service.
#[derive(Clone, PartialEq, Debug)]
pub struct Pin {
    /// Name of the service.
    pub name: Text,
    /// Where it is named.
    pub place: Place,
    /// The exact version; also the image tag.
    pub version: Version,
    /// `sha256:` and 64 hex digits, where pinned.
    pub digest: Option<Text>,
    /// The commit it was built from, where written.
    pub commit: Option<Text>,
    /// When that commit was made, where written.
    pub commit_time: Option<Timestamp>,
}

/// One expand step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MigrationStep {
    /// Name of the database.
    pub name: Text,
    /// The script, relative to the root.
    pub path: At<Text>,
}

/// The value of a flag at the end of the train.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FlagValue {
    /// `true`.
    On,
    /// `false`.
    Off,
    /// A share of users (`25%`), 0 to 100.
    Percent(u8),
    /// A variant by its name.
    Variant(Text),
}

impl std::fmt::Display for FlagValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::On => f.write_str("true"),
            Self::Off => f.write_str("false"),
            Self::Percent(n) => write!(f, "{n}%"),
            Self::Variant(name) => f.write_str(name),
        }
    }
}

/// One flag that the train moves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FlagGoal {
    /// Its key.
    pub key: At<Text>,
    /// Its value at the end.
    pub value: FlagValue,
}

/// One pinned configuration file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigPin {
    /// The file below `config/`.
    pub path: At<Text>,
    /// Git sha of the change.
    pub sha: Text,
}

/// Reads a release manifest. What could be read is given even when findings are errors; none when nothing could.
pub fn read(sources: &Sources, file: FileId) -> (Option<Release>, Findings) {
    let mut reader = Reader::new(sources, file);
    let release = reader.tree().and_then(|node| release(&mut reader, &node));
    let findings = reader.finish();
    (release, findings)
}

fn release(r: &mut Reader<'_>, node: &Node<'_>) -> Option<Release> {
    let known = ["release", "services", "migrations", "config", "policies", "strategy"];
    let top = r.fields(node, "the manifest", &known)?;
    let name = r.required(&top, "the manifest", "release", "name the release: `release: 2025.10.02-rc1`");
    let name = name.and_then(|n| {
        let raw = r.scalar(n, "release")?;
        r.name(raw, n.span, "release", NAME_MAX)
    });
    let services = r.required(&top, "the manifest", "services", "pin each service: `services: {accounts-api: 1.23.4}`");
    let services = services.map(|n| pins(r, n)).unwrap_or_default();
    let migrations = top.get("migrations").map(|n| migrations(r, n)).unwrap_or_default();
    let (mut flags, mut configs) = (Vec::new(), Vec::new());
    if let Some(config) = top.get("config").and_then(|n| r.fields(n, "config", &["feature-flags", "configs"])) {
        flags = config.get("feature-flags").map(|n| flag_goals(r, n, "feature-flags")).unwrap_or_default();
        configs = config.get("configs").map(|n| config_pins(r, n)).unwrap_or_default();
    }
    let mut requires = Vec::new();
    if let Some(policies) = top.get("policies").and_then(|n| r.fields(n, "policies", &["requires"])) {
        let name = |r: &mut Reader<'_>, raw: &str, span| r.name(raw, span, "a policy", 253);
        requires = policies.get("requires").map(|n| r.names(n, "requires", name)).unwrap_or_default();
    }
    let mut progressive = None;
    if let Some(strategy) = top.get("strategy").and_then(|n| r.fields(n, "strategy", &["order", "progressive"])) {
        strategy.get("order").map(|n| r.word(n, "order", &[("graph", ())]));
        progressive = strategy.get("progressive").and_then(|n| weights(r, n));
    }
    Some(Release { name: name?, services, migrations, flags, configs, requires, progressive })
}

fn pins(r: &mut Reader<'_>, node: &Node<'_>) -> Vec<Pin> {
    let entries = r.entries(node, "services").unwrap_or_default();
    if entries.is_empty() && matches!(node.kind, Kind::Map(_)) {
        r.error(node.span, "services is empty".into(), "pin at least one service: `accounts-api: 1.23.4`");
    }
    let mut out = Vec::new();
    for (key, value) in entries {
        let name = r.label(&key.text, key.span, "the service name");
        let what = format!("the version of {}", short(&key.text));
        let mut digest = None;
        let mut commit = None;
        let mut commit_time = None;
        let version = match &value.kind {
            Kind::Map(_) => {
                let known = ["version", "digest", "commit", "commitTime"];
                let what = format!("service {}", short(&key.text));
                let Some(long) = r.fields(value, &what, &known) else { continue };
                digest = long.get("digest").and_then(|n| read_digest(r, n));
                commit = long.get("commit").and_then(|n| {
                    let raw = r.scalar(n, "commit")?;
                    sha(r, raw, n.span, "commit")
                });
                commit_time = long.get("commitTime").and_then(|n| {
                    let raw = r.scalar(n, "commitTime")?;
                    let time: Option<Timestamp> = raw.parse().ok();
                    if time.is_none() {
                        r.error(
                            n.span,
                            text!("commitTime `{}` is not a time", short(raw)),
                            "write 2025-10-01T14:03:00Z",
                        );
                    }
                    time
                });
                r.required(&long, &what, "version", "pin an exact version: `version: 1.23.4`")
                    .and_then(|n| version(r, n, &what))
            }
            _ if value.is_null() => {
                r.error(key.span, text!("{what} is missing"), "pin an exact version: 1.23.4");
                None
            }
            _ => version(r, value, &what),
        };
        if let (Some(name), Some(version)) = (name, version) {
            out.push(Pin { name, place: r.place(key.span), version, digest, commit, commit_time });
        }
    }
    out
}

/// An exact semantic version that can be an image tag. Everything that moves is refused with what to write instead.
fn version(r: &mut Reader<'_>, node: &Node<'_>, what: &str) -> Option<Version> {
    let raw = r.scalar(node, what)?;
    let fix = match Version::parse(raw) {
        Ok(version) if !version.build.is_empty() => {
            text!("an image tag cannot hold `+`; write {}", Version { build: semver::BuildMetadata::EMPTY, ..version })
        }
        Ok(_) if raw.len() > TAG_MAX => text!("an image tag has at most {TAG_MAX} characters"),
        Ok(version) => return Some(version),
        Err(_) => version_fix(raw),
    };
    r.error(node.span, text!("{what} is `{}`, which is not an exact version", short(raw)), fix);
    None
}

fn version_fix(raw: &str) -> Text {
    let exact = |s: &str| Version::parse(s).ok().map(|v| text!("write {v}"));
    let bare = raw.trim_start_matches(['v', 'V', '=', '^', '~', '>', '<', ' ']);
    let parts = bare.split('.').count();
    let numeric = !bare.is_empty() && bare.chars().all(|c| c.is_ascii_digit() || c == '.');
    if bare.len() < raw.len()
        && let Some(fix) = exact(bare)
    {
        return fix;
    }
    if numeric && parts < 3 {
        return text!("write all three numbers, such as {bare}{}", ".0".repeat(3 - parts));
    }
    if matches!(raw, "latest" | "stable" | "main" | "master" | "edge" | "*") {
        return text!("`{raw}` means another image tomorrow; pin the version that was tested, such as 1.23.4");
    }
    "write one semantic version with three numbers, such as 1.23.4 or 1.23.4-rc.1; no ranges".into()
}

fn read_digest(r: &mut Reader<'_>, node: &Node<'_>) -> Option<Text> {
    let raw = r.scalar(node, "digest")?;
    let hex = raw.strip_prefix("sha256:").unwrap_or_default();
    if hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Some(Text::scrub(raw));
    }
    r.error(
        node.span,
        text!("digest `{}` is not an image digest", short(raw)),
        "write sha256: and 64 lower-case hex digits, in quotes",
    );
    None
}

fn sha(r: &mut Reader<'_>, raw: &str, span: (u32, u32), what: &str) -> Option<Text> {
    if (7..=40).contains(&raw.len()) && raw.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Some(Text::scrub(raw));
    }
    let message = text!("{what} `{}` is not a git sha", short(raw));
    r.error(span, message, "write 7 to 40 lower-case hex digits; branches and tags move");
    None
}

fn migrations(r: &mut Reader<'_>, node: &Node<'_>) -> Vec<MigrationStep> {
    let mut out = Vec::new();
    for (key, value) in r.entries(node, "migrations").unwrap_or_default() {
        let name = r.label(&key.text, key.span, "the migration name");
        let what = format!("migration {}", short(&key.text));
        let Some(raw) = r.scalar(value, &what) else { continue };
        let path = r.path(raw, value.span, &what);
        if path.is_some() && (!raw.ends_with(".sql") || raw.ends_with(".down.sql")) {
            let fix = "name the script that goes forward, NAME.sql; NAME.down.sql stands beside it";
            r.error(value.span, text!("{what} `{}` is not a forward SQL script", short(raw)), fix);
            continue;
        }
        if let (Some(name), Some(path)) = (name, path) {
            out.push(MigrationStep { name, path: At { value: path, place: r.place(value.span) } });
        }
    }
    out
}

/// Flags and values, as in `feature-flags` and in `safe` of footplate.yaml.
pub(super) fn flag_goals(r: &mut Reader<'_>, node: &Node<'_>, what: &str) -> Vec<FlagGoal> {
    let mut out = Vec::new();
    for (key, value) in r.entries(node, what).unwrap_or_default() {
        let name = r.name(&key.text, key.span, "the flag", 253);
        let value = flag_value(r, value, &format!("flag {}", short(&key.text)));
        if let (Some(name), Some(value)) = (name, value) {
            out.push(FlagGoal { key: At { value: name, place: r.place(key.span) }, value });
        }
    }
    out
}

fn flag_value(r: &mut Reader<'_>, node: &Node<'_>, what: &str) -> Option<FlagValue> {
    const FIX: &str = "write true, false, a share such as 25%, or the name of a variant";
    let Kind::Scalar { text, plain } = &node.kind else {
        if node.kind != Kind::Told {
            r.error(node.span, text!("{what} must be one value, not {}", node.sort()), FIX);
        }
        return None;
    };
    match &**text {
        "true" if *plain => return Some(FlagValue::On),
        "false" if *plain => return Some(FlagValue::Off),
        _ => {}
    }
    if *plain && ["on", "off", "yes", "no", "y", "n", "true", "false"].contains(&&*text.to_ascii_lowercase()) {
        let word = matches!(&*text.to_ascii_lowercase(), "on" | "yes" | "y" | "true");
        let fix = text!("write {word}, or \"{text}\" in quotes for a variant of that name");
        r.error(node.span, text!("{what} is `{text}`, which YAML readers do not agree on"), fix);
        return None;
    }
    if let Some(share) = text.strip_suffix('%') {
        return match share.trim().parse::<u8>() {
            Ok(n) if n <= 100 => Some(FlagValue::Percent(n)),
            _ => {
                r.error(node.span, text!("{what} `{}` is not a share from 0% to 100%", short(text)), FIX);
                None
            }
        };
    }
    if *plain && (node.is_null() || text.parse::<f64>().is_ok()) {
        r.error(node.span, text!("{what} is {}, which no flag can be set to", node.sort()), FIX);
        return None;
    }
    r.name(text, node.span, what, 253).map(FlagValue::Variant)
}

fn config_pins(r: &mut Reader<'_>, node: &Node<'_>) -> Vec<ConfigPin> {
    let mut out = Vec::new();
    for (key, value) in r.entries(node, "configs").unwrap_or_default() {
        let path = r.path(&key.text, key.span, "the config file");
        let what = format!("config {}", short(&key.text));
        let Some(raw) = r.scalar(value, &what) else { continue };
        let sha = sha(r, raw, value.span, &what);
        if let (Some(path), Some(sha)) = (path, sha) {
            out.push(ConfigPin { path: At { value: path, place: r.place(key.span) }, sha });
        }
    }
    out
}

/// `canary-25-50-100`: rising weights, the last 100.
fn weights(r: &mut Reader<'_>, node: &Node<'_>) -> Option<At<Vec<u8>>> {
    let raw = r.scalar(node, "progressive")?;
    let list: Option<Vec<u8>> = raw.strip_prefix("canary-").and_then(|rest| {
        rest.split('-').map(|n| if n.starts_with(['0', '+']) { None } else { n.parse().ok() }).collect()
    });
    let good = list.filter(|l| l.windows(2).all(|w| w[0] < w[1]) && l.last() == Some(&100));
    if good.is_none() {
        let message = text!("progressive `{}` is not a canary's walk", short(raw));
        r.error(node.span, message, "write canary- and rising weights up to 100, such as canary-25-50-100");
    }
    good.map(|value| At { value, place: r.place(node.span) })
}
