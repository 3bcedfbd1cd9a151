//! Hostile text in what a person and a team write beside the cluster: personal settings and themes, flag files, flag ConfigMaps;
//! and the proof that the corpus bites: a scrub that lets one class of characters through is caught.

use std::path::Path;
use std::time::Duration;

use footplate::core::text::{MARKS_MAX, Text, is_hostile};
use serde_json::{Value, json};
use unicode_width::UnicodeWidthChar;

use super::api::{Server, Stage};
use super::corpus::{Depth, Spoiler, foreign_in_json, foreign_in_text, foreign_on_screen, payloads};
use super::{DOWN, clean, clean_run, copy, in_a_frame, leave, sample_objects, written};
use crate::bad::sample;
use crate::binary::{Home, Screen};

/// A set of characters.
type Class = fn(char) -> bool;

/// The classes that a scrub takes out, each by itself.
const CLASSES: [(&str, Class); 10] = [
    ("escape", |c| c == '\u{1b}'),
    ("c0 but escape", |c| c < ' ' && !matches!(c, '\u{1b}' | '\n' | '\t')),
    ("line ends and tabs", |c| matches!(c, '\n' | '\t')),
    ("delete", |c| c == '\u{7f}'),
    ("c1", |c| matches!(c, '\u{80}'..='\u{9f}')),
    ("bidi", |c| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}')),
    ("separators", |c| matches!(c, '\u{2028}' | '\u{2029}')),
    ("zero width", |c| matches!(c, '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}' | '\u{ad}' | '\u{34f}')),
    ("tags and selectors", |c| matches!(c, '\u{e0000}'..='\u{e0fff}' | '\u{fe00}'..='\u{fe0f}')),
    ("fillers and what is no character", |c| {
        matches!(c, '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' | '\u{fdd0}'..='\u{fdef}')
            || u32::from(c) & 0xfffe == 0xfffe
    }),
];

/// What `Text::scrub` does, with a hole: this class goes through as it is.
fn leaky(raw: &str, hole: Class) -> String {
    raw.chars()
        .map(|c| match c {
            c if hole(c) => c,
            '\n' | '\t' => ' ',
            c if is_hostile(c) => '\u{fffd}',
            c => c,
        })
        .collect()
}

#[test]
fn a_scrub_that_lets_a_class_through_is_caught() {
    let caught = |text: &str| {
        let json = serde_json::to_vec(&json!({ "a": text })).unwrap();
        // A line of its own is no foreign byte in a line of talk; on a screen and in a field it is.
        (!foreign_on_screen(in_a_frame(text).as_bytes()).is_empty(), !foreign_in_json(&json).is_empty())
    };
    for (name, hole) in CLASSES {
        let with: Vec<String> =
            payloads().into_iter().filter(|(_, p)| p.chars().any(hole)).map(|(_, p)| leaky(&p, hole)).collect();
        assert!(!with.is_empty(), "no payload has anything of: {name}");
        for text in &with {
            assert_eq!(caught(text), (true, true), "{name} went through: {text:?}");
        }
    }
    // Floods of marks: all hostile characters gone, the marks still there.
    let floods: Vec<String> = payloads()
        .into_iter()
        .filter(|(_, p)| {
            let marks = |c: &char| c.width() == Some(0) && !is_hostile(*c);
            p.chars().collect::<Vec<_>>().windows(MARKS_MAX + 1).any(|w| w.iter().all(marks))
        })
        .map(|(_, p)| leaky(&p, |_| false))
        .collect();
    assert!(!floods.is_empty());
    for text in &floods {
        assert_eq!(caught(text), (true, true), "a flood went through: {text:?}");
    }
    // And the real one lets nothing through that any of them sees.
    for (name, payload) in payloads() {
        let text = Text::scrub(&payload);
        assert_eq!(caught(&format!("x{text}")), (false, false), "{name}: {text:?}");
        assert!(foreign_in_text(format!("x{text}").as_bytes()).is_empty(), "{name}");
    }
}

/// A payload as TOML can hold it: escaped between quotes, so that a strict reader takes it.
fn quoted(text: &str) -> String {
    let units: String = text
        .chars()
        .map(|c| match c {
            '"' | '\\' => format!("\\{c}"),
            c if c.is_ascii_graphic() || c == ' ' => c.to_string(),
            c => format!("\\U{:08X}", u32::from(c)),
        })
        .collect();
    format!("\"{units}\"")
}

#[test]
fn settings_and_themes_are_inert() {
    let folder = tempfile::tempdir().unwrap();
    for (n, (name, payload)) in payloads().into_iter().enumerate() {
        let home = Home::new("{}");
        std::fs::create_dir_all(home.path("config/themes")).unwrap();
        let q = quoted(&payload);
        let bare = payload.replace(['"', '\0'], "");
        for (m, settings) in [
            format!("theme = {q}\n"),
            format!("color = {q}\nglyphs = {q}\nmouse = {q}\nread_only_contexts = [{q}]\ncredential_plugins = [{q}]\n"),
            format!("{q} = 1\nkeys = {q}\n"),
            format!("[keys]\n\"train.pause\" = [{q}, \"p\"]\n{q} = [\"p\"]\n\"train.undo\" = {q}\n"),
            // As raw bytes, within a text, as a key and where nothing belongs.
            format!("theme = \"{bare}\"\n{bare}\n[keys{bare}]\nx = \"{bare}\"\n"),
        ]
        .iter()
        .enumerate()
        {
            std::fs::write(home.path("config/config.toml"), settings).unwrap();
            std::fs::write(
                home.path("config/themes/own.toml"),
                format!("parent = {q}\n[palette]\n{q} = {q}\nsea = {q}\n[roles]\naccent = {q}\n{q} = \"red\"\n"),
            )
            .unwrap();
            let what = format!("{name}, settings {m}");
            let one: &[&str] =
                [&["generate", "keys"][..], &["generate", "themes"], &["status"], &["pause", "x", "--yes"]]
                    [(n + m) % 4];
            let doctor: &[&str] =
                [&["doctor", "--deadline", "1"][..], &["doctor", "--deadline", "1", "-o", "json"]][n % 2];
            for args in [one, doctor] {
                let ran = home.run(folder.path(), args);
                assert!(ran.code.is_some_and(|code| code < 4), "{what} {args:?}: {:?}", ran.code);
                clean_run(&ran, &format!("{what} {args:?}"));
                if args.contains(&"json") {
                    clean(&what, &foreign_in_json(&ran.out));
                }
            }
            written(&home, &what);
        }
        // A theme of that name, and a folder of it.
        if payload.len() < 200 && !payload.contains('\0') {
            let file = format!("config/themes/x{}.toml", payload.replace('/', "_"));
            std::fs::write(home.path(&file), "parent = 1\n").unwrap();
            std::fs::write(home.path("config/config.toml"), "").unwrap();
            for args in [&["generate", "themes"][..], &["doctor", "--deadline", "1"], &["status", "--theme", &payload]]
            {
                clean_run(&home.run(folder.path(), args), &format!("{name}: a theme of this name {args:?}"));
            }
        }
    }
}

/// A repository whose flags live elsewhere.
fn repository(at: &Path, flags: &str) {
    copy(&sample(), at);
    let file = at.join("footplate.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let from = text.find("flags:\n").unwrap();
    let until = text.find("incidents:\n").unwrap();
    std::fs::write(&file, format!("{}{flags}  safe: {{ledger_nullable: false}}\n{}", &text[..from], &text[until..]))
        .unwrap();
}

/// Flag definitions, hostile in all their texts, with one flag that the release moves.
fn definitions(turn: usize) -> Value {
    let payloads = payloads();
    let spoiler = Spoiler { payloads: &payloads, turn, depth: Depth::All, keep: &["ENABLED"] };
    let plain = json!({
        "state": "ENABLED", "defaultVariant": "off", "variants": {"on": true, "off": false},
        "targeting": {"fractional": [["on", 25], ["off", 75]]}, "metadata": {"owner": "team"},
    });
    let mut flags = serde_json::Map::new();
    flags.insert("ledger_nullable".to_owned(), plain.clone());
    for (n, (_, payload)) in payloads.iter().enumerate() {
        let one = if n % 2 == 0 {
            spoiler.value(&plain)
        } else {
            json!({"state": payload, "variants": {payload.clone(): payload}, "defaultVariant": payload})
        };
        flags.insert(format!("flag{n}{payload}"), one);
    }
    json!({ "flags": flags })
}

/// All that shows or moves a flag.
fn flags_are_inert(home: &Home, root: &Path, what: &str, code: impl Fn(Option<i32>) -> bool) {
    for args in [
        &["doctor", "--env", "dev", "--deadline", "3"][..],
        &["doctor", "--env", "dev", "--deadline", "3", "-o", "json"],
        &["flag", "ledger_nullable", "on", "--confirm", "ledger_nullable", "--env", "dev"],
        &["flag", "ledger_nullable", "25", "--confirm", "ledger_nullable", "--env", "dev"],
        &["flag", "ledger_nullable", "off", "--yes", "--env", "dev"],
        &["flag", "nobody", "off", "--yes", "--env", "dev"],
    ] {
        let ran = home.run_for(root, args, Duration::from_secs(15));
        assert!(code(ran.code), "{what} {args:?}: {:?} {}", ran.code, String::from_utf8_lossy(&ran.err));
        clean_run(&ran, &format!("{what} {args:?}"));
    }
    let mut screen = Screen::open(home, root, &["release.yaml", "--env", "dev"], 120, 36);
    screen.program.see_within("billing-api", Duration::from_secs(30));
    screen.settle();
    screen.press(&["5", "5"]);
    for _ in 0..50 {
        screen.press(&[DOWN]);
    }
    screen.press(&["\r", "\u{1b}", "y", "g", "g", "\r", "\u{1b}", ":", "flag ", "\t", "\t", "\u{1b}", "4", "G"]);
    leave(screen, home, what);
}

#[test]
fn flag_files_are_inert() {
    let (objects, _) = sample_objects();
    let server = Server::start(Stage { objects, ..Stage::default() });
    let folder = tempfile::tempdir().unwrap();
    let ended = |code: Option<i32>| code.is_none_or(|code| code < 5);
    for (form, turn) in [("json", 3), ("yaml", 8)] {
        let root = folder.path().join(form);
        repository(&root, &format!("flags:\n  provider: file\n  path: flags.{form}\n"));
        let whole = definitions(turn);
        let text = if form == "json" { whole.to_string() } else { serde_yaml::to_string(&whole).unwrap() };
        std::fs::write(root.join(format!("flags.{form}")), &text).unwrap();
        let home = Home::new(&server.kubeconfig("dev", &json!({})));
        flags_are_inert(&home, &root, &format!("a flag file in {form}"), ended);
    }
    // What is no definition at all, each payload once, raw.
    let root = folder.path().join("json");
    for (name, payload) in payloads() {
        let home = Home::new(&server.kubeconfig("dev", &json!({})));
        std::fs::write(root.join("flags.json"), format!("{{\"flags\": {{\"a{payload}\": {payload}")).unwrap();
        let ran = home.run(&root, &["flag", "ledger_nullable", "off", "--yes", "--env", "dev"]);
        assert!(ran.code.is_some_and(|code| code > 0), "{name}: {:?}", ran.code);
        clean_run(&ran, &format!("a broken flag file: {name}"));
        written(&home, name);
    }
}

#[test]
fn flag_config_maps_are_inert() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("repository");
    repository(&root, "flags:\n  provider: configmap\n  object: flags\n  key: flags.json\n");
    for (turn, broken) in [(0, false), (5, false), (1, true)] {
        let (mut objects, _) = sample_objects();
        let payloads = payloads();
        let spoiler = Spoiler { payloads: &payloads, turn, depth: Depth::Deep, keep: &["flags"] };
        let mut map = spoiler.value(&json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "flags", "namespace": "payments", "uid": "u1", "resourceVersion": "1", "labels": {"a": "b"},
                "managedFields": [{"manager": "argocd", "operation": "Update"}]},
        }));
        let data = definitions(turn).to_string();
        map["data"] = json!({"flags.json": if broken { payloads[turn].1.clone() + &data.chars().take(400).collect::<String>() } else { data }});
        objects.get_mut("configmaps").unwrap().push(map);
        let server = Server::start(Stage { objects, ..Stage::default() });
        let home = Home::new(&server.kubeconfig("dev", &json!({})));
        flags_are_inert(&home, &root, &format!("a flag ConfigMap, turn {turn}"), |code| {
            code.is_none_or(|code| code < 5)
        });
    }
}
