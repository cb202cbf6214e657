//! Splits YAML streams (modules.yaml, dep11) into documents, unchanged and one at a time.
//!
//! Text between documents belongs to none: comments, blank lines, `...`, byte order marks. A
//! document with only comments is skipped as well: it would not start with a mapping, and
//! libmodulemd rejects the whole modules.yaml for that. The boundaries can be found by lines alone,
//! because YAML does not allow `---` or `...` at the start of a line inside a document.

use std::io::BufRead;

use super::error::FormatError;
use super::lines::read_line;

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// One document.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Document {
    /// `%TAG` lines. A `%YAML` line is dropped: it is not needed, and a reader of an older version
    /// would reject the document.
    directives: Vec<u8>,
    /// Starts with `---`, which is added if missing, and ends with a line break.
    content: Vec<u8>,
}

impl Document {
    /// The document in a form that can be appended to others, without the final `...`.
    pub(super) fn bytes(&self) -> Vec<u8> {
        [&self.directives[..], &self.content].concat()
    }

    /// Whether the document before it has to end with `...`.
    pub(super) fn has_directives(&self) -> bool {
        !self.directives.is_empty()
    }

    /// From its `---` on.
    pub(super) fn content(&self) -> &[u8] {
        &self.content
    }

    /// `behind` is the rest of the line after `---`.
    fn begin(&mut self, behind: &[u8]) {
        self.content.extend_from_slice(b"---");
        if is_blank(behind) {
            self.content.push(b'\n');
        } else {
            self.content.extend_from_slice(behind);
        }
    }

    fn is_begun(&self) -> bool {
        !self.content.is_empty()
    }

    fn is_empty(&self) -> bool {
        let mut lines = self.content.split(|byte| *byte == b'\n');
        let first = lines.next().and_then(|line| line.strip_prefix(b"---"));
        first.is_none_or(is_blank) && lines.all(is_blank)
    }
}

/// Calls `each` for each document of a text. `limit` is for one document, in bytes. Stops at an
/// error of `each`.
pub(super) fn each_document(
    file: &str,
    text: &mut dyn BufRead,
    limit: usize,
    each: &mut dyn FnMut(&Document) -> Result<(), FormatError>,
) -> Result<(), FormatError> {
    let mut document = Document::default();
    let mut line = Vec::new();
    loop {
        read_line(file, text, limit, &mut line)?;
        if document.directives.len() + document.content.len() + line.len() > limit {
            return Err(FormatError::malformed(
                file,
                format!("a document exceeds {limit} bytes"),
            ));
        }
        let is_end = line.is_empty();
        let starts = after_marker(&line, b"---");
        let stops = is_end || after_marker(&line, b"...").is_some();
        if document.is_begun() && (starts.is_some() || stops) {
            if !document.content.ends_with(b"\n") {
                document.content.push(b'\n');
            }
            if !document.is_empty() {
                each(&document)?;
            }
            document = Document::default();
        }
        if is_end {
            return Ok(());
        }
        if stops {
            continue;
        }
        if document.is_begun() {
            document.content.extend_from_slice(without_tab(&line));
            continue;
        }
        let line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&line);
        if let Some(behind) = after_marker(line, b"---") {
            document.begin(behind);
        } else if line.starts_with(b"%") {
            if line.starts_with(b"%TAG") {
                document.directives.extend_from_slice(line.trim_ascii_end());
                document.directives.push(b'\n');
            }
        } else if !is_blank(line) {
            document.begin(b"");
            document.content.extend_from_slice(line);
        }
    }
}

/// Removes leading tabs from a blank line or a comment: libyaml rejects them there.
fn without_tab(line: &[u8]) -> &[u8] {
    if line.starts_with(b"\t") && is_blank(line) {
        let start = line.iter().position(|byte| !matches!(byte, b'\t' | b' '));
        return &line[start.unwrap_or(0)..];
    }
    line
}

/// The rest of a line after a boundary marker; `None` without one.
fn after_marker<'l>(line: &'l [u8], border: &[u8]) -> Option<&'l [u8]> {
    let rest = line.strip_prefix(border)?;
    let is_border = rest.first().is_none_or(u8::is_ascii_whitespace);
    is_border.then_some(rest)
}

/// Whether a line, or the rest of one, is blank or a comment.
fn is_blank(line: &[u8]) -> bool {
    let trimmed = line.trim_ascii();
    trimmed.is_empty() || trimmed.starts_with(b"#")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: usize = 1 << 20;

    fn documents(text: &str) -> Vec<String> {
        let mut found = Vec::new();
        each_document("modules", &mut text.as_bytes(), LIMIT, &mut |document| {
            found.push(String::from_utf8(document.bytes()).unwrap());
            Ok(())
        })
        .unwrap();
        found
    }

    #[test]
    fn what_stands_between_documents_is_part_of_none() {
        let expected = ["---\na: 1\n", "---\nb: 2\n"];
        for text in [
            "---\na: 1\n---\nb: 2\n",
            "a: 1\n---\nb: 2",
            "# by hand\n\n---\na: 1\n...\n---\nb: 2\n...\n",
            "\n  # indented\n---\na: 1\n...\n# next\n\n---\nb: 2\n...\n# end\n",
            "--- # one\na: 1\n...\n---\t# two\nb: 2\n... # end\n#",
            "---\n# nothing but this\n---\na: 1\n---\n\n---\nb: 2\n---\n",
            "\u{feff}---\na: 1\n...\n\u{feff}---\nb: 2\n",
            "\u{feff}# by hand\na: 1\n...\nb: 2\n",
            "%YAML 1.2\n---\na: 1\n...\n%YAML 1.1 # old\n---\nb: 2\n...\n",
            "...\n...\n---\na: 1\n...\n...\n---\nb: 2\n...\n...\n",
        ] {
            assert_eq!(documents(text), expected, "{text:?}");
        }
        assert_eq!(
            documents("# by hand\r\n---\r\na: 1\r\n...\r\n# next\r\n---\r\nb: 2\r\n"),
            ["---\na: 1\r\n", "---\nb: 2\r\n"]
        );
        for text in [
            "",
            "\n",
            "# no more\n",
            "---\n...\n",
            "---",
            "\u{feff}",
            "%YAML 1.2\n",
        ] {
            assert!(documents(text).is_empty(), "{text:?}");
        }
    }

    #[test]
    fn what_is_inside_of_a_document_stays() {
        for text in [
            "---\n# about a\na: 1\n# behind a\n",
            "--- {a: 1}\n",
            "--- !m\na: |\n  ---\n  %x\n  ...\n  # no comment\n",
            "---\na: '%'\n%b: 1\n--: 2\n---c: 3\n...d: 4\n",
            "%TAG !m! tag:example.org,2026:\n---\na: !m!x 1\n",
        ] {
            assert_eq!(documents(text), [text], "{text:?}");
        }
    }

    #[test]
    fn tabs_that_mean_nothing_are_dropped() {
        assert_eq!(
            documents("---\na: 1\n\t\nb: |\n  \tc\n\t # d\n\t\n---\ne: 2\n"),
            ["---\na: 1\n\nb: |\n  \tc\n# d\n\n", "---\ne: 2\n"]
        );
    }

    #[test]
    fn a_document_has_a_limit() {
        for text in [
            format!("a: {}", "x".repeat(LIMIT)),
            format!("a:\n{}", "  - x\n".repeat(LIMIT / 6)),
        ] {
            let read = each_document("dep11", &mut text.as_bytes(), LIMIT, &mut |_| Ok(()));
            assert_eq!(
                read.unwrap_err().to_string(),
                "dep11: a document exceeds 1048576 bytes"
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(text in "([-.]{3}|[a#% \n\r]|---\n|\\.\\.\\.\n|%TAG x\n){0,30}") {
            let first = documents(&text);
            let written = first.join("...\n");
            prop_assert_eq!(documents(&written), first);
        }
    }
}
