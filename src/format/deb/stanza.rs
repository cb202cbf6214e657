//! A streaming reader of deb822 text, the syntax of Release, Packages and Sources.
//!
//! It keeps only the requested fields of one stanza at a time, in reused buffers: memory does not
//! grow with the text, and other fields may contain any bytes. With [`Stanzas::copying`] the bytes
//! of each stanza are available too.

use std::io::BufRead;

use crate::format::error::FormatError;
use crate::format::lines::read_line;

/// A line, and a field with all its lines. The longest fields are the hash lists of a Release
/// (Ubuntu's have 250 KB) and dependencies.
const LINE_LIMIT: usize = 4 << 20;
const FIELD_LIMIT: usize = 8 << 20;
/// Limit for a copied stanza. The longest real ones are those of sources with thousands of binary
/// packages, some 100 KB.
const STANZA_LIMIT: usize = 32 << 20;

/// The values of the fields, in the order of the requested names; `None` for missing ones.
pub type Values<'v, const N: usize> = [Option<&'v [u8]>; N];

/// Reads stanza after stanza, with `N` requested fields each.
pub struct Stanzas<'a, const N: usize> {
    /// For messages.
    file: &'a str,
    text: &'a mut dyn BufRead,
    names: [&'static str; N],
    values: [Value; N],
    line: Vec<u8>,
    line_number: u64,
    /// The bytes of the stanza, when copying.
    copy: Option<Vec<u8>>,
    strays: StrayLines,
}

/// How to treat invalid lines.
enum StrayLines {
    Refuse,
    /// The positions of the first ones.
    Read(Vec<String>),
}

/// Limit for the number of warnings.
const STRAYS_SHOWN: usize = 5;

impl StrayLines {
    /// Records a warning; returns false if it is an error.
    fn note(&mut self, what: String) -> bool {
        let Self::Read(lines) = self else {
            return false;
        };
        if lines.len() < STRAYS_SHOWN {
            lines.push(what);
        }
        true
    }
}

#[derive(Default)]
struct Value {
    /// Continuation lines are joined by `\n`, without leading and trailing whitespace.
    text: Vec<u8>,
    present: bool,
}

/// The kind of a line.
enum Line {
    Blank,
    /// The end of the text.
    End,
    /// A continuation line.
    Folded,
    Field {
        /// The position of the colon.
        name_end: usize,
    },
    /// An invalid line that is not an error.
    Stray,
}

impl<'a, const N: usize> Stanzas<'a, N> {
    pub fn new(file: &'a str, text: &'a mut dyn BufRead, names: [&'static str; N]) -> Self {
        Self {
            file,
            text,
            names,
            values: std::array::from_fn(|_| Value::default()),
            line: Vec::new(),
            line_number: 0,
            copy: None,
            strays: StrayLines::Refuse,
        }
    }

    /// As [`Self::new`], but accepts invalid lines like apt. apt reads such a line as the beginning
    /// of the next field name, up to the next colon: the line and that field are ignored, with
    /// their continuation lines. Continuation lines without a field are ignored.
    pub fn reading_stray_lines(
        file: &'a str,
        text: &'a mut dyn BufRead,
        names: [&'static str; N],
    ) -> Self {
        Self {
            strays: StrayLines::Read(Vec::new()),
            ..Self::new(file, text, names)
        }
    }

    /// Warnings about invalid lines, for the user.
    pub fn strays(&self) -> impl Iterator<Item = &str> {
        let lines = match &self.strays {
            StrayLines::Refuse => &[][..],
            StrayLines::Read(lines) => lines,
        };
        lines.iter().map(String::as_str)
    }

    /// As [`Self::new`], and [`Self::copy`] returns the bytes of each stanza.
    pub fn copying(file: &'a str, text: &'a mut dyn BufRead, names: [&'static str; N]) -> Self {
        Self {
            copy: Some(Vec::new()),
            ..Self::new(file, text, names)
        }
    }

    /// The last stanza, byte for byte, without the blank line after it. Its last line may have no
    /// line end.
    pub fn copy(&self) -> &[u8] {
        self.copy.as_deref().unwrap_or_default()
    }

    /// The fields of the next stanza, in the order of their names; `None` at the end.
    pub fn next(&mut self) -> Result<Option<Values<'_, N>>, FormatError> {
        for value in &mut self.values {
            value.text.clear();
            value.present = false;
        }
        if let Some(copy) = &mut self.copy {
            copy.clear();
        }
        let mut inside = false;
        // The field of continuation lines: there is none outside of a stanza, and it may not be
        // requested.
        let mut current = None;
        // The number of an invalid line that no colon has followed yet.
        let mut stray = None;
        // The first value of a duplicate field, and the error if the values differ.
        let mut above: Option<(usize, Vec<u8>, FormatError)> = None;
        loop {
            let line = self.read_line()?;
            if !matches!(line, Line::Folded)
                && let Some((field, text, error)) = above.take()
                && self.values[field].text != text
            {
                return Err(error);
            }
            match line {
                Line::Blank | Line::End if inside && stray.is_some() => {
                    return Err(
                        self.malformed("invalid line: neither a field nor a continuation line")
                    );
                }
                Line::Blank | Line::End if inside => break,
                Line::Blank => {}
                Line::End => return Ok(None),
                Line::Folded if !inside => {
                    let at = self.line_number;
                    let what = format!(
                        "line {at} is a continuation line without a field, which clients ignore"
                    );
                    if !self.strays.note(what) {
                        return Err(self.malformed("a continuation line without a field"));
                    }
                }
                Line::Folded => {
                    self.copy_line()?;
                    if let Some(field) = current {
                        self.append(field, 0)?;
                    }
                }
                Line::Stray => {
                    inside = true;
                    self.copy_line()?;
                    current = None;
                    stray = stray.or(Some(self.line_number));
                }
                Line::Field { name_end } if stray.is_some() => {
                    self.copy_line()?;
                    let name = String::from_utf8_lossy(self.line[..name_end].trim_ascii_end());
                    let name: String = name.chars().take(60).collect();
                    let at = stray.take().unwrap_or_default();
                    self.strays.note(format!(
                        "line {at} is neither a field nor a continuation line: clients ignore it and the field {name:?} after it"
                    ));
                    current = None;
                }
                Line::Field { name_end } => {
                    inside = true;
                    self.copy_line()?;
                    current = self.wanted(name_end);
                    if let Some(field) = current {
                        above = self.begin_field(field);
                        self.append(field, name_end + 1)?;
                    }
                }
            }
        }
        Ok(Some(self.values.each_ref().map(|value| {
            value.present.then_some(value.text.as_slice())
        })))
    }

    /// Calls `each` with the fields of each stanza and the number of the line before it. Stops at
    /// an error of `each`.
    pub fn for_each(
        mut self,
        each: &mut dyn FnMut(u64, Values<'_, N>) -> Result<(), FormatError>,
    ) -> Result<(), FormatError> {
        loop {
            let above = self.line_number;
            match self.next()? {
                Some(values) => each(above, values)?,
                None => return Ok(()),
            }
        }
    }

    /// The current line number, for messages about the last stanza.
    pub fn line_number(&self) -> u64 {
        self.line_number
    }

    fn read_line(&mut self) -> Result<Line, FormatError> {
        read_line(self.file, self.text, LINE_LIMIT, &mut self.line)?;
        if self.line.is_empty() {
            return Ok(Line::End);
        }
        self.line_number += 1;
        if self.line.len() > LINE_LIMIT {
            return Err(self.malformed(format!("a line exceeds {LINE_LIMIT} bytes")));
        }
        match self.line[0] {
            b'\n' => Ok(Line::Blank),
            b'\r' if matches!(&self.line[..], b"\r\n" | b"\r") => Ok(Line::Blank),
            // apt reads a line of spaces as a part of the previous field, not as the end of the
            // stanza.
            b' ' | b'\t' => Ok(Line::Folded),
            _ => match self.line.iter().position(|&byte| byte == b':') {
                Some(name_end) if name_end > 0 => Ok(Line::Field { name_end }),
                // A field without a name.
                Some(name_end) if matches!(self.strays, StrayLines::Read(_)) => {
                    Ok(Line::Field { name_end })
                }
                None if matches!(self.strays, StrayLines::Read(_)) => Ok(Line::Stray),
                _ => Err(self.malformed("invalid line: neither a field nor a continuation line")),
            },
        }
    }

    /// Begins the value of a field. Returns the earlier value of the same field, and the error for
    /// it.
    fn begin_field(&mut self, field: usize) -> Option<(usize, Vec<u8>, FormatError)> {
        let name = self.names[field];
        let twice = self.values[field].present.then(|| {
            let error = self.malformed(format!("duplicate field {name} in a stanza"));
            let text = std::mem::take(&mut self.values[field].text);
            (field, text, error)
        });
        self.values[field].present = true;
        twice
    }

    /// The requested field that the line starts, if any.
    fn wanted(&self, name_end: usize) -> Option<usize> {
        let name = self.line[..name_end].trim_ascii_end();
        self.names
            .iter()
            .position(|wanted| wanted.as_bytes().eq_ignore_ascii_case(name))
    }

    fn append(&mut self, field: usize, start: usize) -> Result<(), FormatError> {
        let text = self.line[start..].trim_ascii();
        let value = &mut self.values[field].text;
        if value.len() + text.len() >= FIELD_LIMIT {
            let name = self.names[field];
            return Err(self.malformed(format!("{name} exceeds {FIELD_LIMIT} bytes")));
        }
        if start == 0 {
            value.push(b'\n');
        }
        value.extend_from_slice(text);
        Ok(())
    }

    fn copy_line(&mut self) -> Result<(), FormatError> {
        let Some(copy) = &mut self.copy else {
            return Ok(());
        };
        if copy.len() + self.line.len() > STANZA_LIMIT {
            return Err(self.malformed(format!("a stanza exceeds {STANZA_LIMIT} bytes")));
        }
        copy.extend_from_slice(&self.line);
        Ok(())
    }

    fn malformed(&self, what: impl Into<String>) -> FormatError {
        FormatError::Malformed {
            file: self.file.to_owned(),
            what: format!("line {}: {}", self.line_number, what.into()),
        }
    }
}

/// The stanza with another value of a field, which is appended if missing; the other fields are
/// unchanged.
pub fn with_field(stanza: &[u8], field: &str, value: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(stanza.len() + value.len());
    let mut is_replaced = false;
    let mut is_there = false;
    for line in stanza.split_inclusive(|byte| *byte == b'\n') {
        let is_folded = matches!(line.first(), Some(b' ' | b'\t'));
        if !is_folded {
            let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
            is_replaced = name.trim_ascii_end().eq_ignore_ascii_case(field.as_bytes());
            if is_replaced {
                is_there = true;
                out.extend_from_slice(format!("{field}: {value}\n").as_bytes());
            }
        }
        if !is_replaced {
            out.extend_from_slice(line);
        }
    }
    if !is_there {
        if !out.ends_with(b"\n") {
            out.push(b'\n');
        }
        out.extend_from_slice(format!("{field}: {value}\n").as_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use proptest::prelude::*;

    use super::*;

    type Records = Vec<[Option<Vec<u8>>; 2]>;

    fn read(text: &[u8], buffer_size: usize) -> Result<Records, String> {
        let mut input = BufReader::with_capacity(buffer_size, text);
        let mut stanzas = Stanzas::new("Packages", &mut input, ["Package", "Tag"]);
        let mut records = Vec::new();
        loop {
            match stanzas.next() {
                Ok(Some(values)) => records.push(values.map(|value| value.map(<[u8]>::to_vec))),
                Ok(None) => return Ok(records),
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    fn record(package: Option<&str>, tag: Option<&str>) -> [Option<Vec<u8>>; 2] {
        [package, tag].map(|value| value.map(|text| text.as_bytes().to_vec()))
    }

    #[test]
    fn reads_what_archives_write() {
        let a = || record(Some("a"), None);
        for (text, expected) in [
            ("", vec![]),
            ("\n\n\n", vec![]),
            ("Package: a\n", vec![a()]),
            ("Package: a", vec![a()]),
            (
                "\n\nPackage: a\n\n\n\nPackage:b\n",
                vec![a(), record(Some("b"), None)],
            ),
            (
                "Package: a\r\nTag: x\r\n\r\nTag: y\r\n",
                vec![record(Some("a"), Some("x")), record(None, Some("y"))],
            ),
            (
                "pACKAGE:   a \t\nTag : x\n",
                vec![record(Some("a"), Some("x"))],
            ),
            (
                "Tag:\n x,\n\ty z \n .\nOther: q\n folded\nPackage: a\n",
                vec![record(Some("a"), Some("\nx,\ny z\n."))],
            ),
            // A line of blanks is no end of a stanza.
            (
                "Tag: x\n \nPackage: a\n",
                vec![record(Some("a"), Some("x\n"))],
            ),
            ("Package: a\nURL: http://x:80/\n", vec![a()]),
            ("Package-List: b\nPackag: c\nPackage: a\n", vec![a()]),
            ("Other: a\n", vec![record(None, None)]),
        ] {
            assert_eq!(read(text.as_bytes(), 100), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_cost_nothing() {
        let text =
            b"Package: a\nMaintainer: J\xf6rg \xff\0\nDescription: \xe4\n \xfc\n\nPackage: b\n";
        assert_eq!(
            read(text, 7),
            Ok(vec![record(Some("a"), None), record(Some("b"), None)])
        );
    }

    #[test]
    fn refuses_what_could_be_read_in_two_ways() {
        for (text, message) in [
            (
                "Package: a\npackage: b\n",
                "line 2: duplicate field Package in a stanza",
            ),
            (" folded\n", "line 1: a continuation line without a field"),
            (
                "Package: a\n\n folded\n",
                "line 3: a continuation line without a field",
            ),
            (
                "<html>\n",
                "line 1: invalid line: neither a field nor a continuation line",
            ),
            (
                ": a\n",
                "line 1: invalid line: neither a field nor a continuation line",
            ),
            (
                "a\rb\n",
                "line 1: invalid line: neither a field nor a continuation line",
            ),
        ] {
            assert_eq!(
                read(text.as_bytes(), 100),
                Err(format!("Packages: {message}"))
            );
        }
    }

    #[test]
    fn one_field_gets_another_value() {
        let stanza = b"Package: a\nfilename : x\n folded\nFilenames: y\nTag:\xff\n z";
        assert_eq!(
            with_field(stanza, "Filename", "pool/n"),
            b"Package: a\nFilename: pool/n\nFilenames: y\nTag:\xff\n z"
        );
        assert_eq!(
            with_field(b"Package: a", "Directory", "x"),
            b"Package: a\nDirectory: x\n"
        );
    }

    #[test]
    fn copies_are_byte_for_byte() {
        let first = b"Package: a\r\nX:\xff \t\n \n folded\n".as_slice();
        let text = [b"\n\n", first, b"\n\nPackage: b"].concat();
        let mut input = BufReader::with_capacity(3, &text[..]);
        let mut stanzas = Stanzas::copying("Packages", &mut input, ["Package"]);
        stanzas.next().unwrap().unwrap();
        assert_eq!(stanzas.copy(), first);
        stanzas.next().unwrap().unwrap();
        assert_eq!(stanzas.copy(), b"Package: b");
        assert!(stanzas.next().unwrap().is_none());
    }

    #[test]
    fn lines_and_fields_have_a_limit() {
        let mut endless = BufReader::new(std::io::repeat(b'x'));
        let error = Stanzas::new("Packages", &mut endless, ["Package"])
            .next()
            .unwrap_err();
        assert!(error.to_string().contains("exceeds 4194304"), "{error}");

        let folded = [b" ".as_slice(), &vec![b'x'; 1 << 20], b"\n"]
            .concat()
            .repeat(9);
        let wanted = [b"Tag: ".as_slice(), b"\n", &folded].concat();
        assert!(
            read(&wanted, 8192)
                .unwrap_err()
                .contains("Tag exceeds 8388608")
        );
        let unwanted = [b"Other: ".as_slice(), b"\n", &folded].concat();
        assert_eq!(read(&unwanted, 8192), Ok(vec![record(None, None)]));
    }

    proptest! {
        #[test]
        fn the_buffer_size_changes_nothing(
            text in "((Package|Tag|X): [a-c]{0,9}\r?\n( [a-c:]{0,5}\n){0,2}|\n|\\PC{0,3}|[ \t\r:]){0,12}",
            size in 1usize..40,
        ) {
            prop_assert_eq!(read(text.as_bytes(), size), read(text.as_bytes(), 1 << 16));
        }

        #[test]
        fn no_bytes_make_it_panic(text: Vec<u8>, size in 1usize..40) {
            let _ = read(&text, size);
        }
    }
}
