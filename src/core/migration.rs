//! What a migration script would do to the code that runs while it runs: a destructive statement in an expand step is an
//! error, because the contract step belongs to a later release (design.md §3); locks and breaks are warnings. Statements
//! are read with a PostgreSQL grammar, never carried out. Without the feature `sql-lint` a script is reported as not
//! examined.

use super::finding::{FileId, Findings, Sources};

#[cfg(feature = "sql-lint")]
pub use examined::examine;

/// Says that the script is not examined: this build has no SQL grammar.
#[cfg(not(feature = "sql-lint"))]
pub fn examine(sources: &Sources, file: FileId) -> Findings {
    let mut findings = Findings::default();
    let place = super::finding::Place { file, start: 0, end: 0 };
    let message = "this script is not examined: this build has no SQL grammar".into();
    findings.warn(sources, place, message, "read it yourself, or build with the feature sql-lint");
    findings
}

#[cfg(feature = "sql-lint")]
mod examined {
    use squawk_lexer::TokenKind;
    use squawk_linter::{Linter, Rule};
    use squawk_syntax::{SourceFile, SyntaxKind, SyntaxNode};

    use super::{FileId, Findings, Sources};
    use crate::core::finding::Place;
    use crate::core::text::Text;
    use crate::text;

    /// Deepest nesting of brackets read. The parser descends by recursion: on a 2 MiB stack an unoptimised build bears
    /// 400 and not 1,000.
    const NESTING_MAX: usize = 200;

    /// Longest chain of tokens between two commas, over all open brackets: bounds the depth of every expression, however
    /// it is built. 5,000 `NOT` overflow a 2 MiB stack, 1,000 do not.
    const CHAIN_MAX: usize = 1_000;

    /// Rules about locks and about code that runs meanwhile. Style is a team's own business, and what destroys is judged
    /// here, not by rules that a comment can switch off.
    const RULES: [Rule; 17] = [
        Rule::RequireConcurrentIndexCreation,
        Rule::RequireConcurrentIndexDeletion,
        Rule::RequireConcurrentPartitionDetach,
        Rule::RequireConcurrentReindex,
        Rule::ConstraintMissingNotValid,
        Rule::AddingFieldWithDefault,
        Rule::AddingForeignKeyConstraint,
        Rule::AddingNotNullableField,
        Rule::AddingSerialPrimaryKeyField,
        Rule::AddingRequiredField,
        Rule::ChangingColumnType,
        Rule::DisallowedUniqueConstraint,
        Rule::BanConcurrentIndexCreationInTransaction,
        Rule::BanUncommittedTransaction,
        Rule::BanDropDefault,
        Rule::TransactionNesting,
        Rule::RequireLockTimeout,
    ];

    /// Examines the forward script of an expand step.
    pub fn examine(sources: &Sources, file: FileId) -> Findings {
        let mut findings = Findings::default();
        let sql = sources.text(file);
        let place = |start: usize, end: usize| Place { file, start: narrow(start), end: narrow(end) };
        if let Some(at) = too_deep(sql) {
            let message = "this statement is nested too deeply to be examined".into();
            findings.error(sources, place(at, at + 1), message, "split it into several statements");
            return findings;
        }
        let parse = SourceFile::parse(sql);
        if let Some(error) = parse.errors().first() {
            let range = error.range();
            let message = text!("this is not PostgreSQL as far as it can be read: {}", error.message());
            let fix = "correct it; what cannot be read is not examined";
            findings.warn(sources, place(range.start().into(), range.end().into()), message, fix);
        }
        let mut statements = 0;
        let mut open: Vec<SyntaxNode> = vec![parse.syntax_node()];
        while let Some(node) = open.pop() {
            let kind = node.kind();
            if node.parent().is_some_and(|p| p.kind() == SyntaxKind::SOURCE_FILE) {
                statements += 1;
            }
            let at = place(node.text_range().start().into(), node.text_range().end().into());
            if let Some(what) = destroys(kind) {
                let fix = "code that runs now still needs it; do this in the contract step of a later release";
                findings.error(sources, at, text!("an expand step must not {what}"), fix);
            } else if kind == SyntaxKind::DO {
                block(sources, &node, at, &mut findings);
            } else if !is_definition(kind) {
                open.extend(node.children());
            }
        }
        if statements == 0 {
            findings.warn(
                sources,
                place(0, 0),
                "this script does nothing".into(),
                "write its statements, or remove it",
            );
        }
        let mut linter = Linter::from(RULES);
        for violation in linter.lint(&parse, sql) {
            let range = violation.text_range;
            let message = text!("{} ({})", violation.message.trim_end_matches('.'), violation.code);
            let fix = violation.help.map(|help| Text::scrub(&help)).unwrap_or_default();
            findings.warn(sources, place(range.start().into(), range.end().into()), message, fix);
        }
        findings
    }

    fn narrow(n: usize) -> u32 {
        u32::try_from(n).unwrap_or(u32::MAX)
    }

    /// What a statement or a part of one takes away from code that still needs it.
    fn destroys(kind: SyntaxKind) -> Option<&'static str> {
        Some(match kind {
            SyntaxKind::DROP_TABLE | SyntaxKind::DROP_FOREIGN_TABLE => "drop a table",
            SyntaxKind::DROP_COLUMN | SyntaxKind::DROP_ATTRIBUTE => "drop a column",
            SyntaxKind::DROP_SCHEMA => "drop a schema",
            SyntaxKind::DROP_DATABASE => "drop a database",
            SyntaxKind::DROP_TABLESPACE => "drop a tablespace",
            SyntaxKind::DROP_TYPE | SyntaxKind::DROP_DOMAIN => "drop a type",
            SyntaxKind::DROP_VIEW | SyntaxKind::DROP_MATERIALIZED_VIEW => "drop a view",
            SyntaxKind::DROP_SEQUENCE | SyntaxKind::DROP_IDENTITY => "drop a sequence",
            SyntaxKind::DROP_FUNCTION
            | SyntaxKind::DROP_PROCEDURE
            | SyntaxKind::DROP_ROUTINE
            | SyntaxKind::DROP_AGGREGATE
            | SyntaxKind::DROP_OPERATOR => "drop a function",
            SyntaxKind::DROP_EXTENSION => "drop an extension",
            SyntaxKind::DROP_OWNED => "drop what a role owns",
            SyntaxKind::DROP_ROLE | SyntaxKind::DROP_USER | SyntaxKind::DROP_GROUP => "drop a role",
            SyntaxKind::DROP_PUBLICATION | SyntaxKind::DROP_SUBSCRIPTION => "drop a replication",
            SyntaxKind::TRUNCATE => "empty a table",
            SyntaxKind::DELETE | SyntaxKind::MERGE_DELETE => "delete rows",
            SyntaxKind::RENAME_COLUMN | SyntaxKind::RENAME_ATTRIBUTE => "rename a column",
            SyntaxKind::RENAME_VALUE => "rename a value of a type",
            SyntaxKind::TABLE_RENAME_TO => "rename a table",
            SyntaxKind::VIEW_RENAME_TO => "rename a view",
            SyntaxKind::SCHEMA_RENAME_TO => "rename a schema",
            SyntaxKind::SEQUENCE_RENAME_TO => "rename a sequence",
            SyntaxKind::TYPE_RENAME_TO | SyntaxKind::DOMAIN_RENAME_TO => "rename a type",
            SyntaxKind::FUNCTION_RENAME_TO
            | SyntaxKind::PROCEDURE_RENAME_TO
            | SyntaxKind::ROUTINE_RENAME_TO
            | SyntaxKind::AGGREGATE_RENAME_TO => "rename a function",
            SyntaxKind::ROLE_RENAME_TO => "rename a role",
            SyntaxKind::DATABASE_RENAME_TO => "rename a database",
            SyntaxKind::SET_SCHEMA => "move something to another schema",
            _ => return None,
        })
    }

    /// Statements whose body runs later, not now.
    fn is_definition(kind: SyntaxKind) -> bool {
        matches!(kind, SyntaxKind::CREATE_FUNCTION | SyntaxKind::CREATE_PROCEDURE | SyntaxKind::CREATE_RULE)
    }

    /// A `DO` block runs now, in a language that is read here by its words alone.
    fn block(sources: &Sources, node: &SyntaxNode, at: Place, findings: &mut Findings) {
        let text = node.text().to_string().to_lowercase();
        let words: Vec<&str> =
            text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|w| !w.is_empty()).collect();
        let kept = ["index", "constraint", "default", "not", "trigger", "policy", "rule", "expression"];
        let destroys = words.windows(2).find(|pair| match pair[0] {
            "drop" => !kept.contains(&pair[1]),
            "delete" => pair[1] == "from",
            "rename" => matches!(pair[1], "to" | "column"),
            "truncate" => true,
            _ => false,
        });
        match destroys {
            Some(pair) => {
                let message = text!("an expand step must not do this: `{} {}` inside a block", pair[0], pair[1]);
                let fix = "code that runs now still needs it; do this in the contract step of a later release";
                findings.error(sources, at, message, fix);
            }
            None => {
                let message = "this block is read by its words alone".into();
                findings.warn(sources, at, message, "make sure that it takes nothing away, or use plain statements");
            }
        }
    }

    /// Where nesting or a chain becomes too long to be read by recursion.
    fn too_deep(sql: &str) -> Option<usize> {
        let mut at = 0;
        let mut levels = vec![0usize];
        let mut sum = 0;
        for token in squawk_lexer::tokenize(sql) {
            let start = at;
            at += token.len as usize;
            match token.kind {
                TokenKind::Whitespace | TokenKind::LineComment | TokenKind::BlockComment { .. } => continue,
                TokenKind::OpenParen | TokenKind::OpenBracket | TokenKind::OpenCurly => levels.push(0),
                TokenKind::CloseParen | TokenKind::CloseBracket | TokenKind::CloseCurly if levels.len() > 1 => {
                    sum -= levels.pop().unwrap_or_default();
                }
                TokenKind::Comma => {
                    let level = levels.last_mut()?;
                    sum -= *level;
                    *level = 0;
                }
                TokenKind::Semi if levels.len() == 1 => {
                    sum = 0;
                    levels[0] = 0;
                }
                _ => {}
            }
            *levels.last_mut()? += 1;
            sum += 1;
            if levels.len() > NESTING_MAX || sum > CHAIN_MAX {
                return Some(start);
            }
        }
        None
    }
}

#[cfg(all(test, feature = "sql-lint"))]
mod tests {
    use super::*;
    use crate::core::finding::Severity;
    use proptest::prelude::*;

    fn found(sql: &str) -> Findings {
        let mut sources = Sources::default();
        let file = sources.add("db/a.sql".into(), sql.to_owned());
        examine(&sources, file)
    }

    #[test]
    fn what_destroys_is_an_error_wherever_it_stands() {
        for sql in [
            "DROP TABLE a;",
            "drop table if exists a cascade",
            "ALTER TABLE a DROP COLUMN b;",
            "ALTER TABLE a ADD COLUMN c int, DROP COLUMN IF EXISTS b;",
            "ALTER TABLE a RENAME TO b;",
            "ALTER TABLE a RENAME COLUMN b TO c;",
            "TRUNCATE a;",
            "DELETE FROM a WHERE b = 1;",
            "WITH gone AS (DELETE FROM a RETURNING *) INSERT INTO b SELECT * FROM gone;",
            "DROP SCHEMA s CASCADE;",
            "DROP VIEW v;",
            "DROP TYPE t;",
            "ALTER TYPE t RENAME VALUE 'a' TO 'b';",
            "ALTER TABLE a SET SCHEMA b;",
            "-- squawk-ignore ban-drop-table\nDROP TABLE a;",
            "-- squawk-ignore-file\nDROP TABLE a;",
            "DO $$ BEGIN ALTER TABLE a DROP COLUMN b; END $$;",
            "DO $x$ BEGIN EXECUTE 'truncate a'; END $x$;",
        ] {
            assert!(found(sql).any_error(), "{sql}");
        }
    }

    #[test]
    fn what_expands_is_no_error() {
        for sql in [
            "ALTER TABLE a ADD COLUMN b text;",
            "ALTER TABLE a ALTER COLUMN b DROP NOT NULL;",
            "DROP INDEX CONCURRENTLY IF EXISTS i;",
            "CREATE INDEX CONCURRENTLY i ON a (b);",
            "CREATE TABLE a (b int REFERENCES c ON DELETE CASCADE);",
            "CREATE FUNCTION f() RETURNS void LANGUAGE sql BEGIN ATOMIC DELETE FROM a; END;",
            "INSERT INTO a VALUES ('drop table b'), ($$truncate$$);",
            "UPDATE a SET b = 1 WHERE b IS NULL; -- drop table a",
            "DO $$ BEGIN ALTER TABLE a ALTER COLUMN b DROP NOT NULL; END $$;",
        ] {
            let findings = found(sql);
            assert!(!findings.any_error(), "{sql}\n{}", findings.plain());
        }
    }

    #[test]
    fn locks_are_warnings_with_their_place() {
        let findings = found("SET lock_timeout = '2s';\nCREATE INDEX i ON a (b);\n");
        let list = findings.sorted();
        assert_eq!(list.len(), 1, "{}", findings.plain());
        assert_eq!(list[0].severity, Severity::Warning);
        assert_eq!(list[0].spot.as_ref().unwrap().line, 2);
    }

    #[test]
    fn what_would_overflow_a_parser_is_refused() {
        let nested = |open: &str, close: &str, n: usize| format!("SELECT {}1{};", open.repeat(n), close.repeat(n));
        for n in [190, 400, 30_000] {
            for sql in [
                nested("(", ")", n),
                nested("ARRAY[", "]", n),
                nested("NOT ", "", n),
                nested("- ", "", n),
                nested("CASE WHEN true THEN ", " END", n),
                nested("", "+1", n),
                nested("", "::int", n),
                nested("", " UNION SELECT 1", n),
                nested("", " BETWEEN 1 AND 1", n),
                nested("EXISTS(SELECT ", ")", n),
                format!("{} SELECT 1;", "EXPLAIN ".repeat(n)),
                format!("SELECT 1 FROM {}a{};", "a JOIN ".repeat(n), " ON f(1, 2)".repeat(n)),
            ] {
                let refused = found(&sql).any_error();
                assert!(refused || n < 30_000, "{}", &sql[..40]);
            }
        }
        let rows = format!("INSERT INTO a VALUES (1, 'x'){};", ",(2, 'y')".repeat(5_000));
        assert!(!found(&rows).any_error());
    }

    proptest! {
        #[test]
        fn any_text_is_examined_without_a_panic(sql in "(?s).{0,200}|([a-z]{1,8}|DROP|TABLE|ALTER|[(),;'$\"-]| ){0,60}") {
            let _ = found(&sql).plain();
        }
    }
}
