//! footplate beside its peers, as their users run them: a program in a pty of 120x40 with a screen emulator, an API server with
//! 50 or 1,000 rollouts (10,000 pods), and the clock. Start-up, a change in the cluster to its number on the screen, what idling,
//! counting down and ten steps at once cost, memory, requests. A peer that is not found is said to be missing, and left out.
//!
//! `cargo bench --bench peers [-- [ROLLOUTS ...] [--real] [--only PROGRAM] [--idle SECONDS]]`; `--real` takes a real API server
//! instead of the rehearsal's. The budgets are those of the design (§9); times are compared within one run only.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod ground;
#[path = "../tests/pty/program.rs"]
mod program;

use std::time::{Duration, Instant};

use ground::Ground;
use ground::made::{self, Moment, NAMESPACE};
use program::Program;

const COLUMNS: u16 = 120;
const ROWS: u16 = 40;
const PATIENCE: Duration = Duration::from_secs(30);
const STARTS: usize = 5;
const CHANGES: u32 = 30;

/// A program to measure.
struct Peer {
    name: &'static str,
    command: Vec<String>,
    /// Everything is on the screen that it will show of so many rollouts.
    live: fn(&str, usize) -> bool,
    /// Where a step of the first rollout shows: its weight, or the number that goes with it.
    shows: Shows,
}

#[derive(Clone, Copy, PartialEq)]
enum Shows {
    Weight,
    Updated,
}

struct Options {
    sizes: Vec<usize>,
    real: bool,
    only: Option<String>,
    idle_s: u64,
}

fn options() -> Options {
    let mut options = Options { sizes: Vec::new(), real: false, only: None, idle_s: 20 };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--real" => options.real = true,
            "--only" => options.only = arguments.next(),
            "--idle" => options.idle_s = arguments.next().and_then(|s| s.parse().ok()).unwrap_or(20),
            other => options.sizes.extend(other.parse::<usize>().ok()),
        }
    }
    if options.sizes.is_empty() {
        options.sizes = vec![50, 1000];
    }
    options
}

fn main() {
    let options = options();
    for rollouts in options.sizes {
        let ground = if options.real { Ground::real(rollouts) } else { Ground::simulated(rollouts) };
        let kind = if options.real { "a real API server" } else { "the rehearsal's API server" };
        println!("\n{rollouts} rollouts, {} pods, on {kind}", rollouts * 10);
        // What the peers write beside their own cache must not be found by the next.
        std::env::set_current_dir(ground.home.path()).unwrap();
        for peer in peers(ground.context) {
            if options.only.as_ref().is_some_and(|only| !peer.name.contains(only.as_str())) {
                continue;
            }
            println!("\n  {}", peer.name);
            match ground.program(&peer.command[0]) {
                None => println!("    not found: neither on PATH nor built with the control plane"),
                Some(program) => measure(&peer, program.to_str().unwrap(), &ground, rollouts, options.idle_s),
            }
        }
    }
}

fn peers(context: &str) -> Vec<Peer> {
    let own = |s: &[&str]| s.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
    let probe = made::name(0);
    let on = ["--context", context, "-n", NAMESPACE];
    vec![
        Peer {
            name: "footplate",
            command: own(&[env!("CARGO_BIN_EXE_footplate"), "--context", context, "--namespace", NAMESPACE]),
            live: |screen, n| screen.contains(&format!("{n} healthy")) && screen.contains("svc-0000"),
            shows: Shows::Weight,
        },
        Peer {
            name: "kubectl get rollouts -w",
            command: own(&[&["kubectl", "get", "rollouts", "-w"][..], &on].concat()),
            live: |screen, n| screen.contains(&made::name(n - 1)),
            shows: Shows::Updated,
        },
        Peer {
            name: "kubectl argo rollouts get rollout NAME -w (one rollout)",
            command: own(&[&["kubectl-argo-rollouts", "get", "rollout", &probe, "-w"][..], &on].concat()),
            live: |screen, _| screen.contains("Healthy") && screen.contains("svc-0000"),
            shows: Shows::Weight,
        },
        Peer {
            name: "kubectl argo rollouts list rollouts -w",
            command: own(&[&["kubectl-argo-rollouts", "list", "rollouts", "-w"][..], &on].concat()),
            live: |screen, n| screen.contains(&made::name(n - 1)),
            shows: Shows::Updated,
        },
        Peer {
            name: "k9s",
            command: own(&[&["k9s", "-c", "rollouts", "--splashless"][..], &on].concat()),
            live: |screen, _| screen.contains("svc-0000"),
            shows: Shows::Updated,
        },
    ]
}

fn measure(peer: &Peer, program: &str, ground: &Ground, rollouts: usize, idle_s: u64) {
    if let Err(screen) = phases(peer, program, ground, rollouts, idle_s) {
        println!("    given up; its screen was\n{screen}");
    }
}

fn phases(peer: &Peer, program: &str, ground: &Ground, rollouts: usize, idle_s: u64) -> Result<(), String> {
    let command: Vec<&str> = std::iter::once(program).chain(peer.command[1..].iter().map(String::as_str)).collect();
    let home = ground.home.path().to_str().unwrap();
    let kubeconfig = ground.kubeconfig.to_str().unwrap();
    let env = [
        ("KUBECONFIG", kubeconfig),
        ("HOME", home),
        ("FOOTPLATE_STATE_DIR", home),
        ("FOOTPLATE_CONFIG_DIR", home),
        ("NO_COLOR", ""),
        ("SSH_CONNECTION", ""),
    ];
    let start = || Program::spawn(&command, &env, COLUMNS, ROWS);
    let us = peer.name == "footplate";
    let moving = rollouts.min(10);
    let all = |moment: &dyn Fn(usize) -> Moment| (0..moving).map(|n| (n, moment(n))).collect::<Vec<_>>();
    ground.set(&all(&|_| Moment::Healthy));
    // The first start fills caches (the peers' discovery, the kernel's pages) and is not counted.
    start().wait(PATIENCE, |screen| (peer.live)(screen, rollouts))?;

    let (mut first, mut live) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let program = start();
        let painted = program.wait(PATIENCE, |screen| !screen.trim().is_empty())?;
        first.push((painted - program.started()).as_secs_f64() * 1e3);
        let shown = program.wait(PATIENCE, |screen| (peer.live)(screen, rollouts))?;
        live.push((shown - program.started()).as_secs_f64() * 1e3);
    }
    line("exec to first frame, ms", &spread(&mut first), us, "<= 50");
    line("exec to live frame, ms", &spread(&mut live), us, "<= 1.2x kubectl get -w");

    let asked_before = ground.asked("footplate");
    let program = start();
    program.wait(PATIENCE, |screen| (peer.live)(screen, rollouts))?;
    std::thread::sleep(Duration::from_secs(3));
    let (cpu, since) = (program.cpu(), Instant::now());
    std::thread::sleep(Duration::from_secs(idle_s));
    let cpu = (program.cpu() - cpu) / idle_s as f64 * 100.0;
    let bytes: Vec<usize> = program.bytes_by_second(since, idle_s as usize);
    let (sum, seconds) = (bytes.iter().sum::<usize>(), bytes.iter().filter(|n| **n > 0).count());
    line(
        &format!("idle {idle_s} s: bytes (in how many seconds)"),
        &format!("{sum} ({seconds})"),
        us,
        "0 but the clock's minute",
    );
    line("idle: CPU %", &format!("{cpu:.3}"), us, "< 0.1");
    let mib = |line: &str| program.memory(line) as f64 / 1024.0;
    let memory = format!("{:.1} ({:.1})", mib("VmRSS"), mib("VmHWM"));
    line("idle: resident MiB (highest so far)", &memory, us, if rollouts > 50 { "<= 60" } else { "<= 25" });
    if us {
        let asked = ground.asked("footplate");
        let new = asked.iter().map(|(what, n)| {
            (what, n.saturating_sub(if ground.is_real() { asked_before.get(what).copied().unwrap_or(0) } else { 0 }))
        });
        let list: Vec<String> = new.filter(|(_, n)| *n > 0).map(|(what, n)| format!("{what} {n}")).collect();
        println!("    requests since exec: {}", list.join(", "));
    }

    // A change in the cluster to its number on the screen, from the watch event on.
    let events = ground.follow(NAMESPACE, &format!("&fieldSelector=metadata.name%3D{}", made::name(0)));
    let (mut late, mut missed) = (Vec::new(), 0);
    let mut bytes = Vec::new();
    for n in 0..CHANGES {
        std::thread::sleep(Duration::from_millis(u64::from(400 + (n * 613) % 900)));
        let weight = 31 + (n * 7) % 60;
        let before = program.bytes();
        ground.set(&[(0, Moment::Stepping { step: 0, weight })]);
        let shown = program.wait(Duration::from_secs(5), |screen| shows(screen, weight, peer.shows));
        let event = events.iter().find(|(_, o)| o["status"]["updatedReplicas"] == 100_000 + weight).map(|(at, _)| at);
        match (shown, event) {
            (Ok(shown), Some(event)) => {
                late.push(
                    (shown.saturating_duration_since(event).as_secs_f64()
                        - event.saturating_duration_since(shown).as_secs_f64())
                        * 1e3,
                );
                bytes.push((program.bytes() - before) as f64);
            }
            (Err(screen), _) if n == 0 => return Err(screen),
            _ => missed += 1,
        }
    }
    late.sort_by(f64::total_cmp);
    let (median, p95, max) = (late[late.len() / 2], late[late.len() * 95 / 100], late[late.len() - 1]);
    let text =
        format!("median {median:.1}  p95 {p95:.1}  max {max:.1}  ({} of {CHANGES}, {missed} missed)", late.len());
    line("watch event to screen, ms", &text, us, "median 5, p95 20");
    line("bytes of one change", &spread(&mut bytes), us, "<= 400");

    // Ten step at once, every three seconds.
    ground.set(&all(&|_| Moment::Stepping { step: 0, weight: 5 }));
    std::thread::sleep(Duration::from_secs(2));
    let (cpu, since) = (program.cpu(), Instant::now());
    let rounds = 4;
    let mut shown = 0;
    for round in 0..rounds {
        ground.set(&all(&|n| Moment::Stepping { step: round * 2 % 6, weight: 11 + round * 20 + n as u32 }));
        std::thread::sleep(Duration::from_secs(3));
        let screen = program.text();
        shown += (0..moving)
            .filter(|n| screen.lines().any(|l| l.contains(&made::name(*n)) && number(l, 11 + round * 20 + *n as u32)))
            .count();
    }
    let seconds = rounds as usize * 3;
    let busiest = program.bytes_by_second(since, seconds).into_iter().max().unwrap_or(0);
    let cpu = (program.cpu() - cpu) / seconds as f64 * 100.0;
    line("ten step at once: bytes in the busiest second", &format!("{busiest}"), us, "<= 3000");
    if us {
        line(
            "ten step at once: rows seen with their weight",
            &format!("{shown} of {}", rounds as usize * moving),
            us,
            "all",
        );
    }
    line("ten step at once: CPU %", &format!("{cpu:.2}"), false, "");
    let memory = format!("{:.1} ({:.1})", mib("VmRSS"), mib("VmHWM"));
    println!("{:<52} {memory}", "    resident MiB afterwards (highest so far)");

    // One pause counts down, nothing else moves.
    ground.set(&all(&|_| Moment::Healthy));
    ground.set(&[(0, Moment::Pausing { since: jiff::Timestamp::now() })]);
    std::thread::sleep(Duration::from_secs(2));
    let (since, cpu) = (Instant::now(), program.cpu());
    std::thread::sleep(Duration::from_secs(10));
    let bytes = program.bytes_by_second(since, 10);
    line(
        "a countdown: bytes a second (most)",
        &format!("{} ({})", bytes.iter().sum::<usize>() / 10, bytes.iter().max().unwrap_or(&0)),
        us,
        "<= 120",
    );
    line("a countdown: CPU %", &format!("{:.2}", (program.cpu() - cpu) * 10.0), false, "");
    ground.set(&all(&|_| Moment::Healthy));
    Ok(())
}

fn line(what: &str, value: &str, us: bool, budget: &str) {
    let budget = if us { format!("   budget {budget}") } else { String::new() };
    println!("    {what:<48} {value}{budget}");
}

fn spread(values: &mut [f64]) -> String {
    values.sort_by(f64::total_cmp);
    format!("{:.0} ({:.0}-{:.0})", values[values.len() / 2], values[0], values[values.len() - 1])
}

/// True when the number stands where the program shows the first rollout.
fn shows(screen: &str, weight: u32, shows: Shows) -> bool {
    match shows {
        Shows::Updated => screen.contains(&format!("{}", 100_000 + weight)),
        Shows::Weight => {
            screen.lines().any(|l| (l.contains(&made::name(0)) || l.contains("ActualWeight")) && number(l, weight))
        }
    }
}

fn number(line: &str, number: u32) -> bool {
    line.split(|c: char| !c.is_ascii_digit()).any(|word| word == number.to_string())
}
