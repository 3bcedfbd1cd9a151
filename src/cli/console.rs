//! The two streams of a command: data to stdout, talk to stderr, with colour where it is wanted. Everything printed is
//! ours or was scrubbed. What is said is decided elsewhere.

use std::io::{IsTerminal, Write};

use super::failure::{Failure, FailureKind};
use super::{Glyphs, When};
use crate::core::finding::{Finding, Part, Severity};

/// stdout and stderr of this process.
#[derive(Clone, Copy, Debug)]
pub struct Console {
    data_colour: bool,
    talk_colour: bool,
    unicode: bool,
}

impl Console {
    /// Looks at the streams and the environment once.
    pub fn new(when: When, glyphs: Glyphs) -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|v| !v.is_empty());
        let plain = set("NO_COLOR") || std::env::var_os("TERM").is_none_or(|t| t == "dumb");
        let colour = |terminal: bool| match when {
            When::Auto => terminal && !plain,
            When::Always => true,
            When::Never => false,
        };
        let locale =
            ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|name| std::env::var(name).ok().filter(|v| !v.is_empty()));
        let utf8 = locale.is_some_and(|l| l.to_ascii_lowercase().replace('-', "").contains("utf8"));
        Self {
            data_colour: colour(std::io::stdout().is_terminal()),
            talk_colour: colour(std::io::stderr().is_terminal()),
            unicode: match glyphs {
                Glyphs::Auto => utf8,
                Glyphs::Unicode => true,
                Glyphs::Ascii => false,
            },
        }
    }

    /// True when data may carry colour.
    pub fn colour(&self) -> bool {
        self.data_colour
    }

    /// True when data may hold more than ASCII of our own.
    pub fn unicode(&self) -> bool {
        self.unicode
    }

    /// Writes data. A reader that went away ends the command without a word.
    pub fn data(&self, text: &str) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes())
            .and_then(|()| out.flush())
            .map_err(|error| Failure::io("stdout", &error, "free the disk, or name another place"))
    }

    /// Says something. Talk that nobody can hear is no failure.
    pub fn talk(&self, text: &str) {
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
    }

    /// Says what was found about input files.
    pub fn findings(&self, findings: &[Finding]) {
        let blocks = findings.iter().map(|f| f.render(&|part, s| self.paint(part, s)) + "\n");
        self.talk(&blocks.collect::<String>());
    }

    /// Says why a command failed.
    pub fn fail(&self, failure: &Failure) {
        if failure.kind == FailureKind::ReaderGone {
            return;
        }
        let mut out = format!("{}: {}\n", self.paint(Part::Severity(Severity::Error), "error"), failure.what);
        for cause in &failure.causes {
            out.push_str(&format!("  because: {cause}\n"));
        }
        if !failure.hint.is_empty() {
            out.push_str(&format!("  {}\n", self.paint(Part::Fix, &format!("next: {}", failure.hint))));
        }
        self.talk(&out);
    }

    fn paint(&self, part: Part, text: &str) -> String {
        let code = match part {
            Part::Severity(Severity::Error) => "1;31",
            Part::Caret(Severity::Error) => "31",
            Part::Severity(Severity::Warning) => "1;33",
            Part::Caret(Severity::Warning) => "33",
            Part::Message => "1",
            Part::Frame => "2",
            Part::Fix => "36",
            Part::Where | Part::Excerpt => "",
        };
        if self.talk_colour && !code.is_empty() { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}
