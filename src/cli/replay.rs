//! `footplate replay`: a recorded train on the screen, with a time line to go about on, or as lines of text. A journal is a file,
//! or what a conductor left in the cluster. Changes nothing.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::console::Console;
use super::failure::{Failure, FailureKind};
use super::ordering::who;
use super::place::{Strictness, Target, resolve};
use super::screen::{Opening, show};
use super::{Global, Wiring};
use crate::core::object::ObjectKind;
use crate::core::release::Release;
use crate::core::replay::Tape;
use crate::core::replay::read::{self, File};
use crate::core::text::Text;
use crate::engine::look::interest;
use crate::engine::replay::start;
use crate::ports::Interest;
use crate::text;

/// Longest journal that is read, bytes.
const BYTES_MAX: u64 = 512 << 20;

/// Arguments of `replay`.
#[derive(Args, Debug)]
pub struct ReplayArgs {
    /// A journal: a cockpit's or a conductor's own, what `rehearse --headless` printed, or - for stdin
    #[arg(value_name = "JOURNAL", required_unless_present = "release", conflicts_with = "release")]
    pub journal: Option<PathBuf>,
    /// Which train, where the journal holds several: its four letters, its release, or its uid
    #[arg(long, value_name = "ID")]
    pub train: Option<String>,
    /// The train of this Release, by its name or four letters, from the cluster
    #[arg(long, value_name = "NAME")]
    pub release: Option<String>,
    /// The story as lines of text, no screen
    #[arg(long)]
    pub plain: bool,
}

/// Plays it.
pub async fn run(args: &ReplayArgs, global: &Global, wiring: &Wiring, console: &Console) -> Result<(), Failure> {
    let (name, file) = match (&args.journal, &args.release) {
        (Some(path), _) => (text!("{}", path.display()), of_file(path)?),
        (None, Some(release)) => (text!("{release}"), of_cluster(release, global, wiring, console).await?),
        (None, None) => {
            return Err(Failure::new(FailureKind::Input, "no journal was named", "footplate replay JOURNAL"));
        }
    };
    let unfit = |why: Text| {
        let hint = if file.trains.len() > 1 { "choose one with --train" } else { "give it the journal of a train" };
        Failure::new(FailureKind::Input, text!("{name}: {why}"), hint)
    };
    let tape = Tape::of(read::choose(&file, args.train.as_deref()).map_err(unfit)?).map_err(unfit)?;
    for damage in tape.damaged() {
        console.talk(&format!("line {} is left out: {}\n", damage.line, damage.why));
    }
    if args.plain {
        for line in tape.lines() {
            console.data(&format!("{line}\n"))?;
        }
        if let Some(score) = &file.score {
            console.data(&format!("{score}\n"))?;
        }
        return Ok(());
    }
    let clock = Arc::clone(&wiring.clock);
    let short = PathBuf::from(name.as_str()).file_name().map_or(name, |name| Text::scrub(&name.to_string_lossy()));
    let handle = start(Arc::new(tape), short, Arc::clone(&clock));
    let opening = Opening { clock, who: who(&Text::default()), contexts: Vec::new(), painted: None };
    show(handle, opening, global).await.map(|_| ())
}

fn of_file(path: &std::path::Path) -> Result<File, Failure> {
    use std::io::Read;
    let failed = |error: std::io::Error| {
        let mut failure = Failure::io(text!("read {}", path.display()), &error, "name a journal that can be read");
        failure.kind = FailureKind::Input;
        failure
    };
    let mut bytes = Vec::new();
    if path.as_os_str() == "-" {
        std::io::stdin().lock().take(BYTES_MAX).read_to_end(&mut bytes).map_err(failed)?;
    } else {
        std::fs::File::open(path).map_err(failed)?.take(BYTES_MAX).read_to_end(&mut bytes).map_err(failed)?;
    }
    // What is no text is damage of its line.
    Ok(read::file(&String::from_utf8_lossy(&bytes)))
}

/// The journal of a Release, from the ConfigMaps that its conductors wrote.
async fn of_cluster(wanted: &str, global: &Global, wiring: &Wiring, console: &Console) -> Result<File, Failure> {
    let Target { cluster, scope, .. } = resolve(None, Strictness::May, global, wiring, console)?;
    let objects = cluster.list(&interest(&scope, ObjectKind::Release)).await?;
    let found = objects.iter().find(|object| {
        let read = || Release::read(object, &scope.place.context, None).ok();
        object.name() == *wanted || read().is_some_and(|r| r.frozen.resolved.id.eq_ignore_ascii_case(wanted))
    });
    let Some(object) = found else {
        let what = text!("there is no Release {wanted} in {} of {}", scope.place.namespace, scope.place.context);
        return Err(Failure::new(FailureKind::Input, what, "footplate history lists all of them"));
    };
    let release = Release::read(object, &scope.place.context, None)
        .map_err(|unfit| Failure::new(FailureKind::Input, unfit.name, "").because(unfit.why))?;
    let of_train = Interest {
        kind: ObjectKind::ConfigMap,
        labels: text!("footplate.dev/train={},footplate.dev/journal", release.uid),
        ..interest(&scope, ObjectKind::ConfigMap)
    };
    let maps = cluster.list(&of_train).await?;
    let found = read::pieces(&release, maps.iter());
    Ok(File { trains: vec![found], other: 0, score: None })
}
