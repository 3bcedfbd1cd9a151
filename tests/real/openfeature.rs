//! Flag flips as an application sees them: a real OpenFeature SDK (PyPI, flagd provider, file source) watches the file that our
//! code flips. The SDK side is `openfeature/watch.py`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use footplate::adapters::flagd::FlagFile;
use footplate::core::flag::{FlagSetting, flip_text};
use footplate::ports::FlagFile as _;
use serde_json::Value;

use crate::controlplane::must;

const USERS: usize = 1000;
const FLAG: &str = "ledger_nullable";

/// A flag file as teams keep it: in their own layout, with more in it than the flag.
const BEFORE: &str = r#"{
  "$schema": "https://flagd.dev/schema/v0/flags.json",
  "flags": {
    "other":           {"state": "ENABLED", "variants": {"a": "1", "b": "2"}, "defaultVariant": "a"},
    "ledger_nullable": {
      "state": "ENABLED",
      "variants": {"on": true, "off": false},
      "defaultVariant": "off",
      "targeting": {},
      "metadata": {"owner": "payments"}
    }
  }
}
"#;

/// The Python of a virtual environment with the pinned packages. Made once for each version of the list.
fn python() -> PathBuf {
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/openfeature/requirements.txt");
    let pinned = std::fs::read_to_string(&requirements).unwrap();
    let name: String = pinned.split_whitespace().filter(|w| w.starts_with("openfeature")).collect::<Vec<_>>().join("_");
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let venv = target.join(format!("venv-{}", name.replace("openfeature-", "").replace("==", "-")));
    let python = venv.join("bin/python");
    let complete = venv.join("complete");
    if std::fs::read_to_string(&complete).is_ok_and(|made_of| made_of == pinned) {
        return python;
    }
    must(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv));
    must(
        Command::new(&python)
            .args(["-m", "pip", "install", "-q", "--disable-pip-version-check", "-r"])
            .arg(requirements),
    );
    std::fs::write(complete, pinned).unwrap();
    python
}

/// What the SDK answered, and how long after the flip before it.
struct Answer {
    on: BTreeSet<u64>,
    reasons: BTreeMap<String, u64>,
    after: Duration,
}

/// An application with the SDK. Ends with the test.
struct Application {
    child: Child,
    lines: Receiver<String>,
}

impl Application {
    fn start(file: &Path) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/openfeature/watch.py");
        let mut child = Command::new(python())
            .arg(script)
            .arg(file)
            .args([FLAG, &USERS.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (tell, lines) = channel();
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        Self { child, lines }
    }

    /// The first answers that fit.
    fn sees(&self, what: &str, good: impl Fn(&Answer) -> bool) -> Answer {
        let begun = Instant::now();
        loop {
            let left = Duration::from_secs(20).saturating_sub(begun.elapsed());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|_| panic!("the SDK never saw: {what}"));
            let raw: Value = serde_json::from_str(&line).unwrap();
            let answer = Answer {
                on: raw["on"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect(),
                reasons: serde_json::from_value(raw["reasons"].clone()).unwrap(),
                after: begun.elapsed(),
            };
            if good(&answer) {
                return answer;
            }
        }
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn flip(file: &FlagFile, setting: FlagSetting) {
    let before = file.read().unwrap();
    let (_, after) = flip_text(&before, FLAG, setting).unwrap();
    file.replace(&before, &after).unwrap();
}

#[test]
fn an_openfeature_sdk_sees_each_flip_and_keeps_each_user_where_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("flags.json");
    std::fs::write(&path, BEFORE).unwrap();
    let file = FlagFile::at(&path);
    let application = Application::start(&path);
    let everybody = |reason: &str| BTreeMap::from([(reason.to_owned(), USERS as u64)]);

    let first = application.sees("off at the start", |a| a.reasons == everybody("STATIC"));
    assert!(first.on.is_empty());

    let mut took = Vec::new();
    let mut after = |setting: FlagSetting, reason: &str, good: &dyn Fn(usize) -> bool| {
        flip(&file, setting);
        let seen = application.sees(&setting.to_string(), |a| good(a.on.len()) && a.reasons == everybody(reason));
        took.push(seen.after);
        seen.on
    };
    let share = |percent: usize| move |n: usize| n.abs_diff(USERS * percent / 100) < USERS * 6 / 100;
    let all = after(FlagSetting::On, "STATIC", &|n| n == USERS);
    assert_eq!(all.len(), USERS);
    after(FlagSetting::Off, "STATIC", &|n| n == 0);
    let one = after(FlagSetting::Percent(1), "TARGETING_MATCH", &|n| n > 0 && n < USERS * 3 / 100);
    let quarter = after(FlagSetting::Percent(25), "TARGETING_MATCH", &share(25));
    let half = after(FlagSetting::Percent(50), "TARGETING_MATCH", &share(50));
    assert!(one.is_subset(&quarter) && quarter.is_subset(&half), "who is in stays in while the share rises");
    after(FlagSetting::Off, "STATIC", &|n| n == 0);
    let again = after(FlagSetting::Percent(25), "TARGETING_MATCH", &share(25));
    assert_eq!(again, quarter, "the same users each time");
    after(FlagSetting::Percent(0), "STATIC", &|n| n == 0);
    let worst = took.iter().max().unwrap();
    println!("25 % are {} of {USERS} users; {} flips, each seen within {worst:.1?}", quarter.len(), took.len());

    // All that was not flipped is as it was, to the byte.
    assert_eq!(file.read().unwrap(), BEFORE);
}
