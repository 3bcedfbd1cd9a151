//! TOML text to the same tree of nodes that YAML files become, so that one reader tells what is wrong in either. What keys
//! mean is not known here.

use std::borrow::Cow;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::core::finding::{FileId, Findings, Place, Sources};
use crate::core::manifest::yaml::{Key, Kind, Node};
use crate::text;

/// Reads a file. Problems of form are told, and what can be read in spite of them is given, so that the others are told in
/// the same run; a value with such a problem says nothing ([`Kind::Told`]).
pub fn parse<'a>(sources: &'a Sources, file: FileId, findings: &mut Findings) -> Node<'a> {
    let text = sources.text(file);
    let (table, errors) = DeTable::parse_recoverable(text);
    let line_of = |at: usize| text.as_bytes()[..at.min(text.len())].iter().filter(|b| **b == b'\n').count();
    let mut broken = Vec::new();
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        broken.push(line_of(span.start));
        let place = Place { file, start: narrow(span.start), end: narrow(span.end) };
        let fix = if error.message().starts_with("duplicate key") {
            "keep one of them"
        } else {
            "write it as TOML: key = value, text in quotes, lists in brackets"
        };
        findings.error(sources, place, text!("this is not valid TOML: {}", error.message()), fix);
    }
    let told = |span: (u32, u32)| broken.contains(&line_of(span.0 as usize));
    let mut tree = node(Spanned::new(table.span(), DeValue::Table(table.into_inner())), &told);
    // Below a head that cannot be read nobody knows which table the keys belong to; nothing is said about them.
    let lost = text.lines().enumerate().position(|(n, line)| line.trim_start().starts_with('[') && broken.contains(&n));
    if let (Some(lost), Kind::Map(entries)) = (lost, &mut tree.kind) {
        let headed = |at: usize| text.lines().nth(at).is_some_and(|line| line.trim_start().starts_with('['));
        entries.retain(|(key, _)| {
            let at = line_of(key.span.0 as usize);
            at < lost || at > lost && headed(at)
        });
    }
    tree
}

fn node<'a>(value: Spanned<DeValue<'a>>, told: &dyn Fn((u32, u32)) -> bool) -> Node<'a> {
    let span = narrowed(&value.span());
    let plain = |text: String| Kind::Scalar { text: Cow::Owned(text), plain: true };
    let kind = match value.into_inner() {
        DeValue::String(text) => Kind::Scalar { text, plain: false },
        DeValue::Integer(number) => plain(number.to_string()),
        DeValue::Float(number) => plain(number.to_string()),
        DeValue::Boolean(value) => plain(value.to_string()),
        // A date is no value that any setting has; as text it is refused in the words of the key it stands under.
        DeValue::Datetime(date) => plain(date.to_string()),
        DeValue::Array(items) => Kind::Seq(items.into_iter().map(|item| node(item, told)).collect()),
        DeValue::Table(entries) => {
            let mut entries: Vec<(Key<'a>, Node<'a>)> = entries
                .into_iter()
                .map(|(key, value)| {
                    let span = narrowed(&key.span());
                    let key = Key { text: key.into_inner(), span };
                    let table = matches!(value.get_ref(), DeValue::Table(_));
                    let value = node(value, told);
                    let spoilt = !table && (told(span) || told(value.span));
                    (key, if spoilt { Node { kind: Kind::Told, ..value } } else { value })
                })
                .collect();
            entries.sort_by_key(|(key, _)| key.span);
            Kind::Map(entries)
        }
    };
    Node { span, kind }
}

fn narrow(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

fn narrowed(span: &std::ops::Range<usize>) -> (u32, u32) {
    (narrow(span.start), narrow(span.end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (String, String) {
        let mut sources = Sources::default();
        let file = sources.add("config.toml".into(), text.to_owned());
        let mut findings = Findings::default();
        let node = parse(&sources, file, &mut findings);
        (shape(&node), findings.plain())
    }

    fn shape(node: &Node<'_>) -> String {
        match &node.kind {
            Kind::Map(entries) => {
                let parts: Vec<String> = entries.iter().map(|(k, v)| format!("{}={}", k.text, shape(v))).collect();
                format!("{{{}}}", parts.join(" "))
            }
            Kind::Seq(items) => format!("[{}]", items.iter().map(shape).collect::<Vec<_>>().join(" ")),
            Kind::Scalar { text, plain } => format!("{}{text}", if *plain { "" } else { "'" }),
            Kind::Told => "?".to_owned(),
        }
    }

    #[test]
    fn a_file_becomes_nodes_in_its_own_order() {
        let (tree, said) =
            read("theme = 'dark'\nmouse = true\n[keys]\ntrain.pause = ['p', 'f2']\n'back' = []\nn = 1\n");
        assert_eq!(said, "");
        assert_eq!(tree, "{theme='dark mouse=true keys={train={pause=['p 'f2]} back=[] n=1}}");
    }

    #[test]
    fn what_is_broken_is_told_and_the_rest_is_read() {
        let (tree, said) = read("theme = dark\nmouse = true\nmouse = false\n[keys\nback = ['b']\n");
        assert!(said.contains("config.toml:1:9") && said.contains("config.toml:3:1"), "{said}");
        assert!(said.contains("config.toml:4:"), "{said}");
        assert!(tree.contains("theme=?") && !tree.contains("back"), "{tree}");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_answered(text in "[a-z=\\[\\]{}'\"#\\n ._0-9]{0,80}|\\PC{0,80}") {
            read(&text);
        }
    }
}
