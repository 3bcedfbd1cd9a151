//! Bad input: every file of `bad/` stands in for its like in the sample environment, and what is said about it is kept
//! beside it, whole. Bombs and encodings are made here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use footplate::adapters::repo::DiskRepo;
use footplate::core::finding::{Finding, Findings};
use footplate::core::repository::{Draft, RawFile, Repository};
use footplate::core::text::{Text, is_hostile};
use footplate::ports::{Repo, Root};
use footplate::text;
use proptest::prelude::*;

pub fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/sample-env")
}

/// The sample environment as read, once.
struct Sample {
    root: Root,
    services: Vec<(String, RawFile)>,
    scripts: BTreeMap<String, RawFile>,
}

fn read() -> &'static Sample {
    static SAMPLE: OnceLock<Sample> = OnceLock::new();
    SAMPLE.get_or_init(|| {
        let root = DiskRepo.open(Some(&sample().join("release.yaml")), None).unwrap();
        let services = DiskRepo.services(&root).unwrap().into_iter();
        let services = services.map(|(folder, found)| {
            let name = text!("services/{folder}/service.yaml");
            (folder, RawFile { name, bytes: found.unwrap().bytes })
        });
        let services = services.collect();
        let base = "db/2025-10-02_add-ledger-nullable";
        let scripts = [format!("{base}.sql"), format!("{base}.down.sql")].into_iter();
        let scripts = scripts.map(|path| (path.clone(), DiskRepo.read(&root, &path).unwrap())).collect();
        Sample { root, services, scripts }
    })
}

/// The sample environment with one file replaced.
fn check(file: &str, bytes: &[u8]) -> Result<Repository, Findings> {
    let Sample { root, services, scripts } = read();
    let raw = RawFile { name: file.into(), bytes: bytes.to_vec() };
    let manifest = if file == "release.yaml" { Some(&raw) } else { root.manifest.as_ref() };
    let footplate = if file == "footplate.yaml" { Some(&raw) } else { root.footplate.as_ref() };
    let mut draft = Draft::new(manifest.unwrap(), footplate, "services".into());
    for (folder, found) in services {
        draft.service_file(folder.clone(), if found.name == *file { &raw } else { found });
    }
    let services: Vec<_> = (0..draft.service_files()).map(|n| draft.read_service(n)).collect();
    draft.services(services);
    for paths in draft.scripts() {
        let read = |path: &str| {
            scripts
                .get(path)
                .cloned()
                .ok_or_else(|| Box::new(Finding::file(path.into(), "the file is not there".into(), Text::default())))
        };
        draft.script(&paths, read(&paths.up), read(&paths.down));
    }
    draft.finish(None, |zone| zone == "Europe/Berlin" || zone == "UTC")
}

fn said(file: &str, bytes: &[u8]) -> String {
    match check(file, bytes) {
        Ok(repository) => format!("accepted with {} warnings", repository.warnings.len()),
        Err(findings) => findings.plain(),
    }
}

#[test]
fn every_bad_file_is_told_with_all_its_errors() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/bad");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "yaml"));
    files.sort();
    assert!(files.len() >= 20, "{}", folder.display());
    for path in files {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let file = match name.split('-').next().unwrap() {
            "release" => "release.yaml",
            "footplate" => "footplate.yaml",
            _ => "services/accounts-api/service.yaml",
        };
        let out = said(file, &std::fs::read(&path).unwrap());
        assert!(out.contains("error: "), "{name}: {out}");
        assert!(!out.replace('\n', "").chars().any(is_hostile), "{name}");
        insta::with_settings!({snapshot_path => "bad", prepend_module_to_snapshot => false, omit_expression => true}, {
            insta::assert_snapshot!(name, out);
        });
    }
}

#[test]
fn encodings_are_told_apart() {
    let good = std::fs::read_to_string(sample().join("release.yaml")).unwrap();
    let utf16 = |big: bool, mark: bool| -> Vec<u8> {
        let units = mark.then_some(0xfeff).into_iter().chain(good.encode_utf16());
        units.flat_map(|u| if big { u.to_be_bytes() } else { u.to_le_bytes() }).collect()
    };
    for (big, mark) in [(true, true), (false, true), (true, false), (false, false)] {
        assert!(said("release.yaml", &utf16(big, mark)).contains("UTF-16"), "{big} {mark}");
    }
    let with_mark = [&[0xef, 0xbb, 0xbf], good.as_bytes()].concat();
    assert!(check("release.yaml", &with_mark).is_ok());
    assert!(check("release.yaml", good.replace('\n', "\r\n").as_bytes()).is_ok());
    let latin = good.replace("payments platform", "caf\u{1}").into_bytes();
    let latin: Vec<u8> = latin.into_iter().map(|b| if b == 1 { 0xe9 } else { b }).collect();
    insta::assert_snapshot!(said("release.yaml", &latin), @"
    error: the file is not UTF-8: byte 0xe9 at offset 30
     --> release.yaml:1:31
    1 | # The release train of the caf�
      |                               ^
      = fix: save it as UTF-8
    ");
}

/// Bombs are refused in less time than a good file may take; in an unoptimised build the bound is wider.
#[test]
fn bombs_are_refused_at_once() {
    let slow = if cfg!(debug_assertions) { 40 } else { 1 };
    let mut laughs = String::from("a0: &a0 [lol, lol]\n");
    for n in 1..60 {
        laughs.push_str(&format!("a{n}: &a{n} [*a{0}, *a{0}, *a{0}, *a{0}]\n", n - 1));
    }
    let deep = |open: &str, n: usize| open.repeat(n);
    let lines = |line: &str, n: usize| (0..n).map(|i| line.replace('#', &i.to_string())).collect::<String>();
    let cases: Vec<(&str, String)> = vec![
        ("laughs", laughs),
        ("flow", deep("[", 1_000_000)),
        ("flow maps", deep("{a: ", 200_000)),
        ("block", (0..1_000).map(|n| format!("{}a:\n", " ".repeat(n))).collect()),
        ("dashes", deep("- ", 500_000)),
        ("questions", deep("? ", 500_000)),
        ("size", "x".repeat((1 << 20) + 1)),
        ("quote", format!("release: \"{}", "x".repeat(1_000_000))),
        ("anchors", lines("a#: &a# x\n", 50_000)),
        ("aliases", format!("a: &a x\nb: [{}]\n", "*a, ".repeat(200_000))),
        ("tags", format!("b: [{}]\n", "!!str x, ".repeat(100_000))),
        ("comments", "#\n".repeat(500_000)),
        ("documents", "---\n".repeat(250_000)),
        ("spaces", " ".repeat(1_000_000)),
        ("tabs", "\t".repeat(1_000_000)),
        ("nul", "\0".repeat(1_000_000)),
        ("block scalar", format!("release: |\n{}", " x\n".repeat(300_000))),
    ];
    for (name, text) in cases {
        let begun = Instant::now();
        let result = check("release.yaml", text.as_bytes());
        let took = begun.elapsed();
        assert!(result.is_err(), "{name}");
        assert!(took < Duration::from_millis(50) * slow, "{name}: {took:?}");
    }
    // Not a bomb, only much and wrong: told within the time of a large good file.
    for (name, text) in [
        ("unknown services", format!("release: a\nservices:\n{}", lines("  service-#: 1.0.0\n", 40_000))),
        ("bad versions", format!("release: a\nservices:\n{}", lines("  service-#: latest\n", 40_000))),
        ("unknown keys", lines("key#: 1\n", 80_000)),
        ("the same key", format!("release: a\nservices:\n{}", "  accounts-api: 1.0.0\n".repeat(40_000))),
    ] {
        let begun = Instant::now();
        let findings = check("release.yaml", text.as_bytes()).unwrap_err();
        let took = begun.elapsed();
        assert!(findings.count().0 > 100, "{name}");
        assert!(findings.sorted().len() < 250, "{name}");
        assert!(took < Duration::from_millis(400) * slow, "{name}: {took:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        for file in ["release.yaml", "footplate.yaml", "services/accounts-api/service.yaml"] {
            if let Err(findings) = check(file, &bytes) {
                prop_assert!(!findings.plain().replace('\n', "").chars().any(is_hostile));
            }
        }
    }

    /// Good files with pieces cut out, doubled and replaced: whatever comes, the answer is the same twice, and an error
    /// has a place inside the file.
    #[test]
    fn broken_good_files_are_answered(
        which in 0usize..3,
        cuts in prop::collection::vec((0usize..3000, 0usize..40, "[ -~\\n]{0,12}"), 1..6),
    ) {
        let file = ["release.yaml", "footplate.yaml", "services/billing-api/service.yaml"][which];
        let mut text = std::fs::read_to_string(sample().join(file)).unwrap();
        for (at, len, with) in cuts {
            let at = at % (text.len() + 1);
            let end = (at + len).min(text.len());
            text.replace_range(at..end, &with);
        }
        let first = said(file, text.as_bytes());
        prop_assert_eq!(&first, &said(file, text.as_bytes()));
    }
}

/// The examples of `docs/files.md` are read without a word, and they hold every key of the top level.
#[test]
fn the_documented_files_are_right_and_complete() {
    let doc = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/files.md")).unwrap();
    let mut seen = 0;
    for block in doc.split("```yaml ").skip(1) {
        let (file, rest) = block.split_once('\n').unwrap();
        let text = rest.split("```").next().unwrap();
        if let Err(findings) = check(file, text.as_bytes()) {
            panic!("{file}\n{}", findings.plain());
        }
        // A key that is not known lists those that are; each must be in the example.
        let stranger = format!("{text}\nzzzzzzzzzzzz: 1\n");
        let said = said(file, stranger.as_bytes());
        let known = said.split("known keys: ").nth(1).unwrap().lines().next().unwrap();
        for key in known.split(", ") {
            assert!(text.contains(&format!("{key}:")), "{file} lacks {key}");
        }
        seen += 1;
    }
    assert_eq!(seen, 3);
}
