//! `footplate flag`: sets one flag to on, off or a share of users, wherever it lives. What a flip changes is `core::flag`'s,
//! carrying it out the engine's.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::console::Console;
use super::failure::{Failure, FailureKind};
use super::on_train::{self, Said, refused};
use super::ordering;
use super::place::{Strictness, Target, may_write, resolve};
use super::{Global, Wiring};
use crate::core::captain;
use crate::core::confirm::{Confirm, Order, Question};
use crate::core::effect::Direction;
use crate::core::flag::{self, FlagSetting};
use crate::core::order::{Reach, Want};
use crate::core::snapshot::{FlagView, WriteMode};
use crate::core::text::Text;
use crate::engine::act::Driver;
use crate::engine::flags::{At, Flip, Shelf, flip, read, views};
use crate::engine::gates::Moment;
use crate::engine::look::look_at_trains;
use crate::engine::scope::FlagHome;
use crate::engine::trains::of_one_look;
use crate::text;

/// Arguments of `flag`.
#[derive(Args, Clone, Debug)]
pub struct FlagArgs {
    /// The flag
    #[arg(value_name = "KEY")]
    pub key: String,
    /// on, off, or a share of users: 0 to 100 (percent)
    #[arg(value_name = "on|off|PERCENT", value_parser = setting)]
    pub setting: FlagSetting,
    /// The release manifest [default: release.yaml of this folder or its repository]
    #[arg(short = 'f', long, value_name = "FILE")]
    pub manifest: Option<PathBuf>,
    /// Answer a plain question with yes
    #[arg(short, long)]
    pub yes: bool,
    /// What must be typed: the train id, or without a train the name of the flag
    #[arg(long, value_name = "ID")]
    pub confirm: Option<String>,
    /// Why; goes into the journal
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

impl FlagArgs {
    /// True when it switches a flag off, which nothing on this machine may stand in the way of.
    pub fn goes_off(&self) -> bool {
        self.setting.plain() == Ok(FlagSetting::Off)
    }
}

fn setting(raw: &str) -> Result<FlagSetting, String> {
    let digits = raw.strip_suffix('%').unwrap_or(raw).trim_end();
    match (raw, digits.parse::<u8>()) {
        ("on" | "true", _) => Ok(FlagSetting::On),
        ("off" | "false", _) => Ok(FlagSetting::Off),
        (_, Ok(percent @ 0..=100)) if digits.bytes().all(|b| b.is_ascii_digit()) => Ok(FlagSetting::Percent(percent)),
        _ => Err("a flag is on, off, or 0 to 100 percent".to_owned()),
    }
}

/// Sets a flag.
pub async fn run(args: &FlagArgs, global: &Global, wiring: &Wiring, console: &Console) -> Result<(), Failure> {
    let key = Text::scrub(&args.key);
    let strictness = if args.goes_off() { Strictness::May } else { Strictness::Must };
    let Target { cluster, scope, flag_home, .. } =
        resolve(args.manifest.as_deref(), strictness, global, wiring, console)?;
    // Which way it goes is known only when the flag was read.
    may_write(&scope.place, Direction::Safe, "flag")?;
    let moment = Moment { wall: wiring.clock.now(), monotonic: wiring.clock.monotonic() };
    let trains = look_at_trains(&*cluster, &scope, moment).await;
    if let Some((release, train)) = of_one_look(&trains, None, moment.monotonic).filter(|(release, _)| release.active())
    {
        let want = Want::Flag { key: key.clone(), source: Text::default(), setting: args.setting };
        if let Some(ordering) = captain::order(&train, &want, &Reach::One(key.clone()), &[], &scope.place) {
            let ordering = ordering.map_err(refused)?;
            let word = Said { confirm: args.confirm.as_deref(), yes: args.yes, reason: args.reason.as_deref() };
            return on_train::order(&release, ordering, &word, &cluster, &scope, wiring, console).await;
        }
    }
    let shelves = read(&*cluster, &scope.place, &flag_home.store).await?;
    let shown = views(&shelves, scope.release.as_ref());
    let view = one(&key, &shown, &shelves, &flag_home, &scope.place.namespace)?;
    let at = At::of(view.object.as_ref(), &flag_home).ok_or_else(|| {
        Failure::new(FailureKind::No, text!("flag {key}: {}", view.note), "define it where its readers look")
    })?;
    let safe = flag_home.safe.get(&key).copied();
    let direction = args.setting.direction(safe);
    may_write(&scope.place, direction, "flag")?;
    if view.now.as_deref().is_some_and(|now| args.setting.plain().is_ok_and(|s| *now == *s.to_string())) && view.enabled
    {
        return console.data(&format!("{key}: is {} already\n", args.setting));
    }
    for line in plan(view, &shelves, args.setting, direction) {
        console.talk(&format!("{line}\n"));
    }
    let level = match (direction, scope.place.write) {
        (Direction::Safe, WriteMode::ReadWrite) => Confirm::Yes,
        _ => Confirm::Type(key.clone()),
    };
    let now = wiring.clock.now();
    let answer = ordering::answer(&level, args.confirm.as_deref(), args.yes);
    let question = Question { level, direction, targets: view.object.iter().cloned().collect() };
    let confirmed =
        question.answer(&answer, now).map_err(|refusal| Failure::new(FailureKind::Input, refusal.why, refusal.hint))?;
    let order = Order {
        who: ordering::who(&cluster.identity().user),
        when: now,
        why: Text::scrub(args.reason.as_deref().unwrap_or_default()),
    };
    let driver = Driver {
        cluster,
        clock: Arc::clone(&wiring.clock),
        journal: ordering::journal(wiring, direction == Direction::Safe, console),
        write: scope.place.write,
        cluster_uid: scope.cluster_uid.clone(),
    };
    let flipped = flip(&driver, &Flip { key, setting: args.setting, at, safe, confirmed, order }).await;
    console.data(&ordering::ended_as(&view.key, flipped)?)
}

/// The one flag of this key.
fn one<'a>(
    key: &Text,
    shown: &'a [FlagView],
    shelves: &[Shelf],
    home: &FlagHome,
    namespace: &str,
) -> Result<&'a FlagView, Failure> {
    let mut found = shown.iter().filter(|flag| flag.key == *key);
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (Some(one), Some(other)) => {
            let what = text!("flag {key} is in {} and in {}", one.source, other.source);
            Err(Failure::new(FailureKind::Input, what, "say which counts: flags.object in footplate.yaml"))
        }
        (None, _) => {
            let place = home.store.place(namespace);
            if let Some((shelf, why)) = shelves.iter().find_map(|s| s.definition.as_ref().err().map(|why| (s, why))) {
                let what = text!("the flags of {} cannot be read", shelf.source);
                return Err(
                    Failure::new(FailureKind::Outside, what, "check flags in footplate.yaml").because(why.clone())
                );
            }
            let known: Vec<&str> = shown.iter().map(|flag| flag.key.as_str()).collect();
            let hint =
                if known.is_empty() { text!("there is none at all") } else { text!("one of: {}", known.join(", ")) };
            Err(Failure::new(FailureKind::Input, text!("there is no flag {key} in {place}"), hint))
        }
    }
}

/// What would be done, line by line.
fn plan(view: &FlagView, shelves: &[Shelf], setting: FlagSetting, direction: Direction) -> Vec<Text> {
    let now = view.now.as_deref().unwrap_or("unknown");
    let mut lines = vec![text!("flag {}: {now} -> {setting}, in {}", view.key, view.source)];
    if !view.services.is_empty() {
        let services: Vec<&str> = view.services.iter().map(Text::as_str).collect();
        lines.push(text!("   read by {}", services.join(", ")));
    }
    if let Some(shelf) = shelves.iter().find(|shelf| shelf.id == view.object) {
        let flip = shelf.definition.as_ref().ok().and_then(|d| flag::flip(d, &view.key, setting).ok());
        lines.extend(flip.into_iter().flat_map(|flip| flip.warnings).map(|warning| text!("   {warning}")));
        lines.extend(shelf.owner.as_ref().map(|owner| text!("   {owner} may revert this change")));
    }
    if direction == Direction::Forward {
        lines.push("by hand, on your word: UNVERIFIED by any check of the release".into());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_as_people_write_them() {
        for (raw, wanted) in [
            ("on", Some(FlagSetting::On)),
            ("off", Some(FlagSetting::Off)),
            ("25", Some(FlagSetting::Percent(25))),
            ("25%", Some(FlagSetting::Percent(25))),
            ("25 %", Some(FlagSetting::Percent(25))),
            ("0", Some(FlagSetting::Percent(0))),
            ("100", Some(FlagSetting::Percent(100))),
            ("101", None),
            ("-1", None),
            ("+5", None),
            ("half", None),
            ("", None),
            ("25%%", None),
        ] {
            assert_eq!(setting(raw).ok(), wanted, "{raw}");
        }
    }
}
