//! `footplate incident URL`: stores the link of an incident in the Release of the train under way, else of the one that ended last.

use std::sync::Arc;

use clap::Args;

use super::console::Console;
use super::failure::{Failure, FailureKind};
use super::place::{Strictness, Target, may_write, resolve};
use super::{Global, Wiring};
use crate::core::confirm::{Answer, Confirm, Question};
use crate::core::effect::Direction;
use crate::core::guard::{Standing, clear};
use crate::core::release;
use crate::core::text::Text;
use crate::engine::gates::Moment;
use crate::engine::look::look_at_trains;
use crate::engine::trains::of_one_look;

/// Longest link that is taken, bytes.
const LINK_MAX: usize = 2_000;

/// Arguments of `incident`.
#[derive(Args, Clone, Debug)]
pub struct IncidentArgs {
    /// The link
    #[arg(value_name = "URL")]
    pub url: String,
}

/// Stores the link.
pub async fn run(args: &IncidentArgs, global: &Global, wiring: &Wiring, console: &Console) -> Result<(), Failure> {
    let url = Text::scrub(args.url.trim());
    let is_link = (url.starts_with("https://") || url.starts_with("http://")) && !url.contains(' ');
    if !is_link || url.len() > LINK_MAX {
        let what = crate::text!("{url} is no link");
        return Err(Failure::new(FailureKind::Input, what, "give the whole address, https:// included"));
    }
    let Target { cluster, scope, .. } = resolve(None, Strictness::May, global, wiring, console)?;
    may_write(&scope.place, Direction::Safe, "incident")?;
    let now = Moment { wall: wiring.clock.now(), monotonic: wiring.clock.monotonic() };
    let trains = look_at_trains(&*cluster, &scope, now).await;
    let name = scope.release.as_ref().map(|r| &r.name);
    let Some((release, train)) = of_one_look(&trains, name, now.monotonic) else {
        let gap = trains.gaps().into_iter().next();
        let failure = match gap {
            Some(gap) => Failure::new(FailureKind::Outside, gap.trouble.to_string(), ""),
            None => Failure::new(FailureKind::No, "there is no train here", "footplate history shows what was"),
        };
        return Err(failure);
    };
    // It moves no traffic and asks for nothing.
    let question = Question { level: Confirm::None, direction: Direction::Safe, targets: vec![release.id.clone()] };
    let confirmed = question
        .answer(&Answer::Nothing, now.wall)
        .map_err(|refusal| Failure::new(FailureKind::Input, refusal.why, refusal.hint))?;
    let standing = Standing {
        write: scope.place.write,
        confirmed: Some(&confirmed),
        cluster_uid: (None, None),
        read_at: now.wall,
        now: wiring.clock.now(),
    };
    let cleared = clear(release::incident(&release, &url), &standing)
        .map_err(|refusal| Failure::new(FailureKind::Outside, refusal.why, refusal.hint))?;
    let cluster = Arc::clone(&cluster);
    cluster.send(&cleared).await?;
    console.data(&format!("{}: {url}\n", train.id()))
}
