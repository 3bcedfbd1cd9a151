//! Guards the architecture and the style: which room may name which, what the core must not touch, how files are named and
//! opened, which packages may not be linked. It reads the source as text and runs nothing. A rule that gets in the way is
//! changed here, in the open, or kept.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A source file: its path below `src/`, and its text without comments, strings and test modules.
struct Source {
    path: String,
    raw: String,
    code: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(below: &Path, out: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(below) else { return };
    let mut entries: Vec<_> = entries.map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            rust_files(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

fn sources() -> Vec<Source> {
    let src = root().join("src");
    let mut files = Vec::new();
    rust_files(&src, &mut files);
    assert!(files.len() > 5, "no sources found below {}", src.display());
    files
        .iter()
        .map(|file| {
            let raw = fs::read_to_string(file).unwrap();
            let path = file.strip_prefix(&src).unwrap().to_string_lossy().replace('\\', "/");
            Source { path, code: bare(&raw), raw }
        })
        .collect()
}

/// The text without line comments, string literals and everything from `#[cfg(test)] mod` on.
fn bare(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut lines = raw.lines().peekable();
    while let Some(line) = lines.next() {
        if line.trim() == "#[cfg(test)]"
            && lines.peek().is_some_and(|next| next.trim_start().starts_with("mod ") && next.trim_end().ends_with('{'))
        {
            break;
        }
        let mut in_string = false;
        let mut previous = ' ';
        let mut chars = line.chars().peekable();
        while let Some(c) = chars.next() {
            if in_string {
                if c == '\\' {
                    chars.next();
                } else if c == '"' {
                    in_string = false;
                }
                continue;
            }
            match c {
                '"' if previous != '\'' => in_string = true,
                '/' if chars.peek() == Some(&'/') => break,
                _ => out.push(c),
            }
            previous = c;
        }
        out.push('\n');
    }
    out
}

/// True when `word` stands in `code` with no identifier character on either side.
fn names(code: &str, word: &str) -> bool {
    let is_ident = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back().is_none_or(|c| !is_ident(c));
        let after = code[at + word.len()..].chars().next().is_none_or(|c| !is_ident(c));
        before && after
    })
}

/// The layer a file belongs to: the first part of its path.
fn layer(path: &str) -> &str {
    path.split('/').next().unwrap().trim_end_matches(".rs")
}

#[test]
fn the_core_reaches_nothing_outside() {
    let banned = [
        "tokio",
        "kube",
        "k8s_openapi",
        "reqwest",
        "ratatui",
        "crossterm",
        "axum",
        "tracing",
        "rand",
        "rand_chacha",
        "futures",
        "rustix",
        "directories",
        "std::fs",
        "std::env",
        "std::net",
        "std::thread",
        "std::process",
        "std::io",
        "Instant",
        "SystemTime",
        "Timestamp::now",
        "Zoned::now",
        "HashMap",
        "HashSet",
        "async",
        "await",
        "println",
        "eprintln",
        "thread_local",
        "static mut",
        "Mutex",
        "RwLock",
        "crate::ports",
        "crate::engine",
        "crate::adapters",
        "crate::cockpit",
        "crate::cli",
        "crate::rehearsal",
        "crate::config",
    ];
    let mut found = Vec::new();
    for source in sources().iter().filter(|s| layer(&s.path) == "core") {
        for word in banned.iter().filter(|word| names(&source.code, word)) {
            found.push(format!("src/{} names {word}", source.path));
        }
    }
    assert!(found.is_empty(), "the core is pure:\n{}", found.join("\n"));
}

#[test]
fn imports_run_one_way() {
    // (layer, what it must not name)
    let rules: &[(&str, &[&str])] = &[
        (
            "ports",
            &[
                "crate::engine",
                "crate::adapters",
                "crate::cockpit",
                "crate::cli",
                "crate::rehearsal",
                "crate::config",
                "kube",
                "reqwest",
                "ratatui",
            ],
        ),
        (
            "engine",
            &[
                "crate::adapters",
                "crate::cockpit",
                "crate::cli",
                "crate::rehearsal",
                "kube",
                "reqwest",
                "ratatui",
                "crossterm",
            ],
        ),
        ("adapters", &["crate::engine", "crate::cockpit", "crate::cli", "crate::rehearsal", "ratatui", "crossterm"]),
        ("cockpit", &["crate::adapters", "crate::cli", "crate::rehearsal", "kube", "reqwest", "axum"]),
        ("cli", &["crate::adapters", "kube", "reqwest", "axum"]),
        (
            "config",
            &[
                "crate::adapters",
                "crate::cockpit",
                "crate::cli",
                "crate::engine",
                "crate::rehearsal",
                "kube",
                "reqwest",
            ],
        ),
        (
            "rehearsal",
            &[
                "crate::adapters",
                "crate::engine",
                "crate::cockpit",
                "crate::cli",
                "core::train",
                "core::gate",
                "ratatui",
            ],
        ),
    ];
    let mut found = Vec::new();
    for source in sources() {
        for (_, banned) in rules.iter().filter(|(name, _)| *name == layer(&source.path)) {
            for word in banned.iter().filter(|word| names(&source.code, word)) {
                found.push(format!("src/{} names {word}", source.path));
            }
        }
    }
    assert!(found.is_empty(), "imports run one way (ARCHITECTURE.md):\n{}", found.join("\n"));
}

/// A room is a file with the folder of its name: `core/plan.rs` and `core/plan/*.rs` are one. Rooms form no circles.
#[test]
fn rooms_form_no_circles() {
    let sources = sources();
    let room_of = |path: &str| -> String {
        let parts: Vec<&str> = path.trim_end_matches(".rs").split('/').collect();
        parts.iter().take(2).copied().collect::<Vec<_>>().join("::")
    };
    let rooms: BTreeSet<String> = sources.iter().map(|s| room_of(&s.path)).collect();
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in &sources {
        let from = room_of(&source.path);
        // A layer's own file (`core.rs`) declares its rooms; that is no import.
        if !from.contains("::") {
            continue;
        }
        let (top, room) = from.split_once("::").unwrap();
        let depth = source.path.matches('/').count();
        for other in &rooms {
            let Some((other_top, other_room)) = other.split_once("::") else { continue };
            let absolute = format!("crate::{other_top}::{other_room}");
            let relative = format!("{}{other_room}", "super::".repeat(depth));
            let hit = names(&source.code, &absolute)
                || (other_top == top && other_room != room && names(&source.code, &relative))
                || grouped(&source.code, &format!("crate::{other_top}::{{"), other_room);
            if hit && *other != from {
                edges.entry(from.clone()).or_default().insert(other.clone());
            }
        }
    }
    let mut circles = Vec::new();
    for start in edges.keys() {
        let mut stack = vec![vec![start.clone()]];
        let mut seen = BTreeSet::new();
        while let Some(path) = stack.pop() {
            for next in edges.get(path.last().unwrap()).into_iter().flatten() {
                if next == start {
                    circles.push(format!("{} -> {start}", path.join(" -> ")));
                } else if seen.insert(next.clone()) {
                    let mut longer = path.clone();
                    longer.push(next.clone());
                    stack.push(longer);
                }
            }
        }
    }
    assert!(circles.is_empty(), "rooms import each other in a circle:\n{}", circles.join("\n"));
}

/// True when a grouped import (`use crate::core::{text::Text, object}`) names the room.
fn grouped(code: &str, opening: &str, room: &str) -> bool {
    code.match_indices(opening).any(|(at, _)| {
        let rest = &code[at + opening.len()..];
        let mut depth = 1;
        let end = rest.char_indices().find_map(|(i, c)| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            (depth == 0).then_some(i)
        });
        names(&rest[..end.unwrap_or(rest.len())], room)
    })
}

#[test]
fn every_file_says_what_lives_there() {
    let mut found = Vec::new();
    for source in sources() {
        let name = source.path.rsplit('/').next().unwrap();
        if !source.raw.starts_with("//! ") {
            found.push(format!("src/{} does not begin with what lives there (//!)", source.path));
        }
        if ["mod.rs", "utils.rs", "util.rs", "common.rs", "helpers.rs", "misc.rs"].contains(&name) {
            found.push(format!("src/{} has a name that says nothing", source.path));
        }
        let lines = source.raw.lines().count();
        if lines > 1200 {
            found.push(format!("src/{} has {lines} lines: it is more than one room", source.path));
        }
        for word in ["todo!", "unimplemented!", "dbg!", "TODO", "FIXME", "XXX", "HACK"] {
            if names(&source.raw, word) {
                found.push(format!("src/{} has {word}", source.path));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// One TLS provider, no C library where there is another way, one ratatui-core, no unmaintained YAML.
#[test]
fn the_lock_file_links_nothing_twice_that_must_be_one() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let count = |package: &str| lock.matches(&format!("\nname = \"{package}\"\n")).count();
    for banned in ["aws-lc-sys", "aws-lc-rs", "openssl-sys", "native-tls", "libyml", "serde_yml", "yaml-rust", "git2"] {
        assert_eq!(count(banned), 0, "{banned} must not be linked");
    }
    for once in ["ratatui-core", "crossterm", "rustls", "kube-client", "serde-saphyr"] {
        assert_eq!(count(once), 1, "{once} must be linked once");
    }
}

#[test]
fn the_top_level_holds_what_it_should() {
    for name in ["Cargo.toml", "src", "tests", "README.md", "ARCHITECTURE.md", "CHANGELOG.md", "LICENSE", ".ci/run"] {
        assert!(root().join(name).exists(), "{name} is missing at the top level");
    }
}

/// The rules above see what they should: each is shown a text that breaks it.
#[test]
fn the_rules_can_fail() {
    assert!(names("use tokio::time;", "tokio"));
    assert!(!names("use mytokio::time;", "tokio"));
    assert!(!names(&bare("let a = \"tokio\"; // tokio"), "tokio"));
    assert!(!names(&bare("fn a() {}\n#[cfg(test)]\nmod tests {\n use std::fs;\n}"), "std::fs"));
    assert!(grouped("use crate::core::{object::Object, text::Text};", "crate::core::{", "text"));
    assert!(!grouped("use crate::core::{object::Object}; text", "crate::core::{", "text"));
}
