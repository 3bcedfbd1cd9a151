//! Patterns on names of kube contexts, as people write them in shells: `prod*`, `*-prod-?`, and `!` before one that is an
//! exception. Which contexts they make read-only is `layers.rs`'s.

use crate::core::text::{Text, is_hostile};
use crate::text;

/// Longest pattern, in bytes.
const LENGTH_MAX: usize = 253;

/// A pattern on the name of a context. Case does not count: a cluster called `PROD` is one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pattern {
    glob: Text,
    exception: bool,
}

impl Pattern {
    /// Reads a pattern; the error says what is wrong and what would be right.
    pub fn parse(raw: &str) -> Result<Self, (Text, Text)> {
        let (exception, glob) = raw.strip_prefix('!').map_or((false, raw), |rest| (true, rest));
        let wrong = |what: Text| Err((what, "write a name, with * for any text and ? for one character".into()));
        if glob.trim() != glob || glob.is_empty() {
            return wrong(text!("the pattern `{raw}` is empty, or has spaces around it"));
        }
        if glob.len() > LENGTH_MAX {
            return wrong(text!("a pattern of {} bytes is longer than any name", glob.len()));
        }
        if let Some(c) = glob.chars().find(|c| is_hostile(*c) || matches!(c, '[' | ']' | '{' | '}' | '!')) {
            return wrong(text!("the pattern `{raw}` has `{c}`, which means nothing here"));
        }
        Ok(Self { glob: Text::scrub(glob), exception })
    }

    /// True when it fits the whole name.
    fn fits(&self, name: &str) -> bool {
        let fold = |s: &str| s.to_lowercase().chars().collect::<Vec<char>>();
        let (glob, name) = (fold(&self.glob), fold(name));
        let (mut g, mut n) = (0, 0);
        // The last `*`, and how much of the name it has taken: backtracking to it alone is enough.
        let mut star: Option<(usize, usize)> = None;
        while n < name.len() {
            match glob.get(g) {
                Some('*') => {
                    star = Some((g, n));
                    g += 1;
                }
                Some(c) if *c == '?' || *c == name[n] => (g, n) = (g + 1, n + 1),
                _ => match star {
                    Some((at, taken)) => {
                        star = Some((at, taken + 1));
                        (g, n) = (at + 1, taken + 1);
                    }
                    None => return false,
                },
            }
        }
        glob[g..].iter().all(|c| *c == '*')
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", if self.exception { "!" } else { "" }, self.glob)
    }
}

/// True when a pattern fits the name, and no exception does.
pub fn any_fits(patterns: &[Pattern], name: &str) -> bool {
    patterns.iter().any(|p| !p.exception && p.fits(name)) && !patterns.iter().any(|p| p.exception && p.fits(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fits(pattern: &str, name: &str) -> bool {
        Pattern::parse(pattern).unwrap().fits(name)
    }

    #[test]
    fn a_pattern_fits_the_whole_name() {
        for (pattern, name, wanted) in [
            ("prod", "prod", true),
            ("prod", "prod-eu", false),
            ("prod*", "prod-eu", true),
            ("prod*", "preprod", false),
            ("*prod*", "arn:aws:eks:eu-west-1:1234:cluster/prod-payments", true),
            ("*prod*", "gke_acme-PROD_europe-west1_a", true),
            ("*-prod-?", "eu-prod-1", true),
            ("*-prod-?", "eu-prod-10", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("*", "", true),
        ] {
            assert_eq!(fits(pattern, name), wanted, "{pattern} on {name}");
        }
    }

    #[test]
    fn an_exception_wins() {
        let all: Vec<Pattern> = ["*prod*", "!*nonprod*"].iter().map(|p| Pattern::parse(p).unwrap()).collect();
        assert!(any_fits(&all, "prod-eu") && !any_fits(&all, "nonprod-eu") && !any_fits(&all, "dev"));
        assert!(!any_fits(&[], "prod"));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for bad in ["", "!", " prod", "prod[12]", "{a,b}", "!!x", "a\u{1b}"] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        /// The quick match agrees with the plain definition.
        #[test]
        fn it_agrees_with_the_definition(glob in "[ab*?]{1,8}", name in "[ab]{0,8}") {
            fn plain(g: &[char], n: &[char]) -> bool {
                match (g.split_first(), n.split_first()) {
                    (None, None) => true,
                    (Some(('*', rest)), _) => plain(rest, n) || (!n.is_empty() && plain(g, &n[1..])),
                    (Some((c, g)), Some((d, n))) => (*c == '?' || c == d) && plain(g, n),
                    _ => false,
                }
            }
            let chars = |s: &str| s.chars().collect::<Vec<_>>();
            prop_assert_eq!(fits(&glob, &name), plain(&chars(&glob), &chars(&name)));
        }
    }
}
