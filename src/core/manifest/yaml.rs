//! YAML text to a tree of nodes that know where they stand, within a fixed budget. No aliases, no anchors, no tags, one
//! document; scalars keep the text they were written with, so that `1.10` and `4e10` mean what their author saw.
//! What keys mean is not known here (`reader.rs` and the files beside it).

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_yaml::granit_parser::{ErrorKind, Event, Parser, ScalarStyle, options};

use crate::core::finding::{FileId, Finding, Findings, Place, Sources};
use crate::core::text::Text;
use crate::text;

/// Largest file accepted, in bytes.
pub const BYTES_MAX: usize = 1 << 20;

/// Deepest nesting accepted, the outermost mapping counting as 1.
pub const DEPTH_MAX: usize = 32;

/// Anchors, aliases and tags after which reading stops: what has so many is a bomb, not a manifest.
const REFUSED_MAX: usize = 20;

/// A value and where it stands.
#[derive(Clone, PartialEq, Debug)]
pub struct Node<'a> {
    /// First byte and one past the last.
    pub span: (u32, u32),
    /// What it is.
    pub kind: Kind<'a>,
}

/// What a node is.
#[derive(Clone, PartialEq, Debug)]
pub enum Kind<'a> {
    /// Keys and values, in the order of the file; every key once.
    Map(Vec<(Key<'a>, Node<'a>)>),
    /// A list.
    Seq(Vec<Node<'a>>),
    /// A scalar as written (escapes undone); plain when it stood without quotes.
    Scalar {
        /// Its text.
        text: Cow<'a, str>,
        /// True without quotes and not a block.
        plain: bool,
    },
    /// Something that was told already and has no meaning (an alias); nothing more is said about it.
    Told,
}

/// A key of a mapping.
#[derive(Clone, PartialEq, Debug)]
pub struct Key<'a> {
    /// Its text.
    pub text: Cow<'a, str>,
    /// Where.
    pub span: (u32, u32),
}

impl Node<'_> {
    /// True for `null`, `~` and nothing at all.
    pub fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { text, plain: true } if matches!(&**text, "" | "~" | "null" | "Null" | "NULL"))
    }

    /// What it is, in words: `a list`, `text`, `true or false`, …
    pub fn sort(&self) -> &'static str {
        match &self.kind {
            Kind::Map(_) => "a mapping",
            Kind::Seq(_) => "a list",
            Kind::Told => "something else",
            _ if self.is_null() => "nothing",
            Kind::Scalar { plain: false, .. } => "text",
            Kind::Scalar { text, .. } if matches!(&**text, "true" | "false") => "true or false",
            Kind::Scalar { text, .. } if text.parse::<f64>().is_ok() => "a number",
            Kind::Scalar { .. } => "text",
        }
    }
}

/// Takes the bytes of a file in as text. UTF-8 with or without a byte order mark; anything else is a finding.
pub fn decode(sources: &mut Sources, name: &Text, bytes: &[u8]) -> Result<FileId, Box<Finding>> {
    let whole = |message: Text, fix: &str| Box::new(Finding::file(name.clone(), message, fix.into()));
    if bytes.len() > BYTES_MAX {
        return Err(whole(
            text!("the file has {} bytes, more than the {BYTES_MAX} that are read", bytes.len()),
            "split it, or remove what does not belong there",
        ));
    }
    let utf16 = bytes.starts_with(&[0xff, 0xfe])
        || bytes.starts_with(&[0xfe, 0xff])
        || (bytes.len() >= 4 && (bytes[..4] == [bytes[0], 0, bytes[2], 0] || bytes[..4] == [0, bytes[1], 0, bytes[3]]));
    if utf16 {
        return Err(whole("the file is UTF-16, not UTF-8".into(), "save it as UTF-8"));
    }
    let body = bytes.strip_prefix(&[0xef, 0xbb, 0xbf]).unwrap_or(bytes);
    match std::str::from_utf8(body) {
        Ok(text) => Ok(sources.add(name.clone(), text.to_owned())),
        Err(error) => {
            let at = error.valid_up_to();
            let bad = body.get(at).copied().unwrap_or_default();
            let file = sources.add(name.clone(), String::from_utf8_lossy(body).into_owned());
            let start = u32::try_from(at).unwrap_or(u32::MAX);
            let place = Place { file, start, end: start.saturating_add(3) };
            Err(Box::new(Finding::error(
                sources,
                place,
                text!("the file is not UTF-8: byte 0x{bad:02x} at offset {at}"),
                "save it as UTF-8".into(),
            )))
        }
    }
}

/// A collection that is being read.
enum Open<'a> {
    Map(u32, Vec<(Key<'a>, Node<'a>)>, Option<Key<'a>>, BTreeMap<Cow<'a, str>, (u32, u32)>),
    Seq(u32, Vec<Node<'a>>),
}

struct Tree<'a, 'f> {
    sources: &'a Sources,
    file: FileId,
    findings: &'f mut Findings,
    refused: usize,
    stop: bool,
    stack: Vec<Open<'a>>,
    root: Option<Node<'a>>,
}

/// Reads the one document of a file. All problems of form are told, and whoever asks must look at the findings before he
/// uses what he got; none means that there is no tree to go on with.
pub fn parse<'a>(sources: &'a Sources, file: FileId, findings: &mut Findings) -> Option<Node<'a>> {
    let text = sources.text(file);
    let mut tree = Tree { sources, file, findings, refused: 0, stop: false, stack: Vec::new(), root: None };
    if let Some((at, c)) = text.char_indices().find(|(_, c)| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        let span = (narrow(at), narrow(at + c.len_utf8()));
        tree.tell(span, text!("control character U+{:04X}", u32::from(c)), "remove it");
        return None;
    }
    let options = options! {
        emit_comments: false,
        emit_anchor_events: true,
        emit_unresolved_aliases: true,
        flow_nesting_limit: DEPTH_MAX,
        block_nesting_limit: DEPTH_MAX,
    };
    let mut documents = 0;
    for next in Parser::new_from_str_with_options(text, options) {
        let (event, span) = match next {
            Ok(next) => next,
            Err(error) => {
                tree.broken(error.kind(), error.marker().byte_offset().unwrap_or_default());
                return None;
            }
        };
        let offset = |m: serde_yaml::granit_parser::Marker| narrow(m.byte_offset().unwrap_or_default());
        let span = (offset(span.start), offset(span.end));
        let tagged = matches!(
            &event,
            Event::Scalar(_, _, _, Some(_)) | Event::SequenceStart(_, _, Some(_)) | Event::MappingStart(_, _, Some(_))
        );
        if tagged {
            tree.refuse(span, "a tag (!) is not allowed here".into(), "remove the tag; quotes make a text of anything");
        }
        match event {
            Event::DocumentStart(..) => {
                documents += 1;
                if documents > 1 {
                    tree.tell(span, "a second document begins here".into(), "keep one document a file");
                    return None;
                }
            }
            Event::Anchor(..) => {
                tree.refuse(span, "an anchor (&) is not allowed here".into(), "write the value out where it is used");
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                tree.refuse(span, "an alias (*) is not allowed here".into(), "write the value out");
                tree.put(Node { span, kind: Kind::Told });
            }
            Event::Scalar(text, style, ..) => {
                tree.put(Node { span, kind: Kind::Scalar { text, plain: style == ScalarStyle::Plain } });
            }
            Event::MappingStart(..) => tree.open(Open::Map(span.0, Vec::new(), None, BTreeMap::new())),
            Event::SequenceStart(..) => tree.open(Open::Seq(span.0, Vec::new())),
            Event::MappingEnd | Event::SequenceEnd => tree.close(span.1),
            _ => {}
        }
        if tree.stack.len() > DEPTH_MAX {
            tree.deep(span);
            return None;
        }
        if tree.refused >= REFUSED_MAX {
            tree.tell(span, "this file is no manifest; reading stops here".into(), "write plain YAML");
            tree.stop = true;
        }
        if tree.stop {
            return None;
        }
    }
    match tree.root {
        Some(root) if !root.is_null() => Some(root),
        _ => {
            let name = sources.name(file);
            findings.push(Finding::file(
                name,
                "the file is empty".into(),
                "write its contents, or remove the file".into(),
            ));
            None
        }
    }
}

impl<'a> Tree<'a, '_> {
    fn tell(&mut self, span: (u32, u32), message: Text, fix: &str) {
        let place = Place { file: self.file, start: span.0, end: span.1 };
        self.findings.error(self.sources, place, message, fix);
    }

    fn refuse(&mut self, span: (u32, u32), message: Text, fix: &str) {
        self.refused += 1;
        self.tell(span, message, fix);
    }

    fn deep(&mut self, span: (u32, u32)) {
        self.tell(span, text!("nested deeper than {DEPTH_MAX}"), "flatten it");
    }

    fn broken(&mut self, kind: &ErrorKind, offset: usize) {
        let span = (narrow(offset), narrow(offset) + 1);
        if *kind == ErrorKind::RecursionLimitExceeded {
            return self.deep(span);
        }
        let text = self.sources.text(self.file);
        let tab = text.get(..offset).and_then(|t| t.rsplit('\n').next()).is_some_and(|t| t.contains('\t'))
            || text.get(offset..).is_some_and(|t| t.starts_with('\t'));
        let fix = if tab { "indent with spaces; YAML allows no tabs there" } else { "mend the YAML here" };
        self.tell(span, text!("this is not YAML: {kind}"), fix);
    }

    fn open(&mut self, collection: Open<'a>) {
        if let Some(Open::Map(_, _, None, _)) = self.stack.last() {
            let at = match &collection {
                Open::Map(at, ..) | Open::Seq(at, _) => *at,
            };
            self.tell((at, at + 1), "a key must be text".into(), "write a plain word before the colon");
            self.stop = true;
        }
        self.stack.push(collection);
    }

    fn close(&mut self, end: u32) {
        let node = match self.stack.pop() {
            Some(Open::Map(start, entries, ..)) => Node { span: (start, end), kind: Kind::Map(entries) },
            Some(Open::Seq(start, items)) => Node { span: (start, end), kind: Kind::Seq(items) },
            None => return,
        };
        self.put(node);
    }

    fn put(&mut self, node: Node<'a>) {
        match self.stack.last_mut() {
            None => self.root = Some(node),
            Some(Open::Seq(_, items)) => items.push(node),
            Some(Open::Map(_, entries, pending, seen)) => match pending.take() {
                Some(key) => entries.push((key, node)),
                None => {
                    let Kind::Scalar { text, .. } = node.kind else {
                        self.stop = true;
                        return;
                    };
                    let first = seen.get(&text).copied();
                    if first.is_none() {
                        seen.insert(text.clone(), node.span);
                    }
                    if let Some(first) = first {
                        let place = |s: (u32, u32)| Place { file: self.file, start: s.0, end: s.1 };
                        let message = text!("`{}` is there twice", Text::scrub(&text));
                        let also = ("first here".into(), place(first));
                        self.findings.error_also(self.sources, place(node.span), message, "keep one of them", also);
                    }
                    *pending = Some(Key { text, span: node.span });
                }
            },
        }
    }
}

fn narrow(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
