//! Rich dependencies: `(a >= 1 with a < 2)`, `(b or (c and d))`, `(e if f else g)`, as
//! `rpmrichParse` of rpm reads them.
//!
//! They are flattened into needs, each with alternatives, each a list of terms that one package
//! must provide. The condition itself is not a need. `else` and `unless` branches are always
//! needed.

use crate::format::dependency_closure::{Connective, Relation, Term, Versions};

/// Real dependencies are nested three or four levels deep.
const DEPTH_LIMIT: usize = 16;

/// A list of needs.
type Needs<'t> = Vec<Vec<Term<'t>>>;

/// `None` if it is not a valid rich dependency.
pub(super) fn parse(text: &str) -> Option<Needs<'_>> {
    let mut parser = Parser { rest: text };
    let needs = parser.rich(0)?;
    parser.rest.trim().is_empty().then_some(needs)
}

struct Parser<'t> {
    rest: &'t str,
}

impl<'t> Parser<'t> {
    /// The part between parentheses.
    fn rich(&mut self, depth: usize) -> Option<Needs<'t>> {
        if depth == DEPTH_LIMIT {
            return None;
        }
        self.take("(")?;
        let mut needs = self.operand(depth)?;
        loop {
            if self.take(")").is_some() {
                return Some(needs);
            }
            let operator = self.word();
            let other = self.operand(depth)?;
            needs = match operator {
                "and" => [needs, other].concat(),
                "or" | "else" => vec![[needs.concat(), other.concat()].concat()],
                "with" => with(needs, other),
                "without" | "if" | "unless" => needs,
                _ => return None,
            };
        }
    }

    fn operand(&mut self, depth: usize) -> Option<Needs<'t>> {
        self.rest = self.rest.trim_start();
        if self.rest.starts_with('(') {
            return self.rich(depth + 1);
        }
        let name = self.word();
        let relation = self.relation();
        let version = match relation {
            Relation::ANY => "",
            _ => self.word(),
        };
        let versions = Versions { relation, version };
        (!name.is_empty()).then(|| vec![vec![Term::of(name, versions)]])
    }

    /// A word up to whitespace or an unbalanced parenthesis: `libc.so.6()(64bit)` is one.
    fn word(&mut self) -> &'t str {
        self.rest = self.rest.trim_start();
        let mut open = 0_usize;
        let end = self.rest.find(|c: char| {
            match c {
                '(' => open += 1,
                ')' if open == 0 => return true,
                ')' => open -= 1,
                _ => {}
            }
            c.is_whitespace() || c == ','
        });
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        word
    }

    fn relation(&mut self) -> Relation {
        self.rest = self.rest.trim_start();
        let end = self.rest.find(|c| !matches!(c, '<' | '=' | '>'));
        let (sign, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        match sign {
            "<" => Relation::LESS,
            "<=" | "=<" => Relation::AT_MOST,
            "=" | "==" => Relation::EQUAL,
            ">=" | "=>" => Relation::AT_LEAST,
            ">" => Relation::GREATER,
            _ => Relation::ANY,
        }
    }

    fn take(&mut self, what: &str) -> Option<()> {
        self.rest = self.rest.trim_start().strip_prefix(what)?;
        Some(())
    }
}

/// One package must provide both. If each side has alternatives, packages that provide only one of
/// them are added too.
fn with<'t>(mut needs: Needs<'t>, other: Needs<'t>) -> Needs<'t> {
    let is_one = |needs: &Needs<'t>| {
        let alternatives = needs
            .iter()
            .flatten()
            .filter(|term| term.connective == Connective::Or);
        alternatives.count() == 1
    };
    if !is_one(&needs) || !is_one(&other) {
        needs.extend(other);
        return needs;
    }
    let other = other.into_iter().flatten().map(|term| Term {
        connective: Connective::With,
        ..term
    });
    if let Some(need) = needs.first_mut() {
        need.extend(other);
    }
    needs
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::format::dependency_closure::DependencyRules;
    use crate::format::rpm::dependencies::RpmRules;

    fn read(text: &str) -> Option<Vec<String>> {
        let needs = parse(text)?;
        let rules = RpmRules::of(None);
        Some(needs.iter().map(|need| rules.format_need(need)).collect())
    }

    #[test]
    fn reads_what_packages_have() {
        for (text, needs) in [
            ("(a)", &["a"][..]),
            ("(a and b)", &["a", "b"]),
            ("(a or b >= 1.0)", &["a or b >= 1.0"]),
            ("( a  or  b or c )", &["a or b or c"]),
            ("(a and b and c)", &["a", "b", "c"]),
            ("(a if b)", &["a"]),
            ("(a if b else c)", &["a or c"]),
            ("(a unless b)", &["a"]),
            ("(a without b)", &["a"]),
            ("(a >= 1 with a < 2)", &["a >= 1 with a < 2"]),
            ("((a or b) with c)", &["a or b", "c"]),
            ("((a and b) or c)", &["a or b or c"]),
            ("(a and (b or c))", &["a", "b or c"]),
            ("(a if (b or c))", &["a"]),
            (
                "(libc.so.6()(64bit) and crate(x/default) = 1:2-3)",
                &["libc.so.6()(64bit)", "crate(x/default) = 1:2-3"],
            ),
            (
                "((crate(a) >= 0.1 with crate(a) < 0.2~))",
                &["crate(a) >= 0.1 with crate(a) < 0.2~"],
            ),
        ] {
            assert_eq!(
                read(text).as_deref(),
                Some(&needs.iter().map(ToString::to_string).collect::<Vec<_>>()[..]),
                "{text}"
            );
        }
        for text in [
            "",
            "a",
            "(",
            "()",
            "(a",
            "(a b)",
            "(a and)",
            "(a xor b)",
            "(a) b",
            "(a or (b)",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        let deep = |depth: usize| format!("{}a{}", "(".repeat(depth), ")".repeat(depth));
        assert!(read(&deep(DEPTH_LIMIT)).is_some());
        assert_eq!(read(&deep(DEPTH_LIMIT + 1)), None);
        assert_eq!(read(&deep(1 << 20)), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[(]{0,3}([a-c()<=>, ]|and|or|with|if|else| ){0,20}|\\PC{0,20}") {
            let _ = parse(&text);
        }
    }
}
