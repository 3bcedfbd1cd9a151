//! The log file: off unless asked for, one JSON object a line, never on the terminal. What a terminal would act on, wherever
//! it came from, is written as an escape: people look into logs with `tail`.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::Mutex;

use clap::ValueEnum;
use tracing_subscriber::filter::LevelFilter;

use super::Global;
use super::failure::Failure;
use crate::core::text::inert_json;
use crate::text;

/// What goes into the log.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Default, Debug)]
#[allow(missing_docs)]
pub enum Level {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// Starts the log that the options ask for.
pub fn start(global: &Global) -> Result<(), Failure> {
    let Some(path) = &global.log_file else { return Ok(()) };
    let file = OpenOptions::new().create(true).append(true).open(path).map_err(|error| {
        Failure::io(text!("the log file {}", path.display()), &error, "name a file that can be written")
    })?;
    let level = match global.log_level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    // A second start in one process changes nothing; the first log goes on.
    let _ = tracing_subscriber::fmt().json().with_max_level(level).with_writer(Mutex::new(Inert(file))).try_init();
    Ok(())
}

/// Writes whole lines of JSON, inert.
struct Inert(File);

impl Write for Inert {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let inert: Vec<String> = text.split('\n').map(inert_json).collect();
        self.0.write_all(inert.join("\n").as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
