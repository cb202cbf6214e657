//! A streaming reader of rpm metadata: a list of records (`<data>`, `<package>`), each with children that hold attributes
//! and text.
//!
//! Memory is bounded by the limits below, whatever the text holds. There are no DTDs and no entities but the predefined ones.

use std::io::{self, BufRead, Read};

use quick_xml::XmlVersion;
use quick_xml::events::{BytesDecl, BytesRef, BytesStart, Event};
use quick_xml::reader::Reader;

use crate::format::FormatError;
use crate::format::compression::read_buffered;

/// One tag with its attributes, or one piece of text. The largest are descriptions of some 100 KB.
const EVENT_LIMIT: usize = 1 << 20;
/// The text of a wanted child: names, paths, digests.
const TEXT_LIMIT: usize = 16 << 10;
const ATTRIBUTES_LIMIT: usize = 64;
/// Metadata is about five elements deep.
const DEPTH_LIMIT: usize = 32;

/// Reads the elements at `path`, each with the `N` children that are asked for.
pub struct Records<'a, const N: usize> {
    /// For messages.
    file: &'a str,
    reader: Reader<Metered<'a>>,
    buffer: Vec<u8>,
    /// The root element first, the record last.
    path: &'a [&'a str],
    names: [&'static str; N],
    /// How many elements are open, and how many of them are those of `path`.
    depth: usize,
    matched: usize,
    seen_root: bool,
    /// The record being read, and which of its children.
    record: Child,
    children: Record<N>,
    open: Option<usize>,
}

enum Progress {
    Reading,
    Record,
    End,
}

/// One record's children, in the order of their names.
pub type Record<const N: usize> = [Option<Child>; N];

/// A child of a record.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Child {
    attributes: Vec<(String, String)>,
    /// Without the white space around it.
    pub text: String,
}

impl Child {
    pub fn attribute(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }
}

impl<'a, const N: usize> Records<'a, N> {
    pub fn new(
        file: &'a str,
        text: &'a mut dyn BufRead,
        path: &'a [&'a str],
        names: [&'static str; N],
    ) -> Self {
        let mut reader = Reader::from_reader(Metered { text, left: 0 });
        reader.config_mut().expand_empty_elements = true;
        Self {
            file,
            reader,
            buffer: Vec::new(),
            path,
            names,
            depth: 0,
            matched: 0,
            seen_root: false,
            record: Child::default(),
            children: std::array::from_fn(|_| None),
            open: None,
        }
    }

    /// The next record with its own attributes; `None` at the end of the text.
    pub fn next(&mut self) -> Result<Option<(Child, Record<N>)>, FormatError> {
        self.record = Child::default();
        self.children = std::array::from_fn(|_| None);
        // Out of `self`, because events borrow it.
        let mut buffer = std::mem::take(&mut self.buffer);
        let found = loop {
            match self.next_event(&mut buffer) {
                Ok(Progress::Reading) => {}
                Ok(Progress::Record) => break Ok(true),
                Ok(Progress::End) => break Ok(false),
                Err(error) => break Err(error),
            }
        };
        self.buffer = buffer;
        if !found? {
            return Ok(None);
        }
        for child in self.children.iter_mut().flatten() {
            child.text = child.text.trim().to_owned();
        }
        let children = std::mem::replace(&mut self.children, std::array::from_fn(|_| None));
        Ok(Some((std::mem::take(&mut self.record), children)))
    }

    fn next_event(&mut self, buffer: &mut Vec<u8>) -> Result<Progress, FormatError> {
        buffer.clear();
        self.reader.get_mut().left = EVENT_LIMIT;
        let event = self
            .reader
            .read_event_into(buffer)
            .map_err(|error| xml_error(self.file, &error))?;
        match event {
            Event::Start(start) => self.start(&start)?,
            Event::End(_) => {
                let is_record = self.matched == self.path.len() && self.depth == self.matched;
                // Unmatched ends are errors of the reader: something is open here.
                self.depth -= 1;
                self.matched = self.matched.min(self.depth);
                if self.depth == self.path.len() {
                    self.open = None;
                }
                if is_record {
                    return Ok(Progress::Record);
                }
            }
            Event::Text(text) => self.append(&text)?,
            Event::CData(text) => self.append(&text)?,
            Event::GeneralRef(reference) => {
                let mut utf8 = [0; 4];
                let text = resolve(self.file, &reference, &mut utf8)?;
                self.append(text)?;
            }
            Event::Decl(declaration) => self.check_encoding(&declaration)?,
            Event::DocType(_) => return Err(self.malformed("it has a DOCTYPE")),
            Event::Eof if self.depth > 0 => {
                return Err(self.malformed("it ends inside of an element"));
            }
            Event::Eof if !self.seen_root => {
                return Err(self.malformed(format!("it has no <{}>", self.path[0])));
            }
            Event::Eof => return Ok(Progress::End),
            // An empty element comes as a start and an end.
            Event::Empty(_) | Event::Comment(_) | Event::PI(_) => {}
        }
        Ok(Progress::Reading)
    }

    /// Clients decode the text as it says: in another encoding they would read other names and paths than this does.
    fn check_encoding(&self, declaration: &BytesDecl) -> Result<(), FormatError> {
        let Some(encoding) = declaration.encoding() else {
            return Ok(());
        };
        let encoding = encoding.map_err(|error| xml_error(self.file, &error.into()))?;
        if ["UTF-8", "UTF8", "US-ASCII"]
            .iter()
            .any(|name| encoding.eq_ignore_ascii_case(name))
        {
            return Ok(());
        }
        let encoding = shortened(&encoding);
        Err(self.malformed(format!(
            "it declares the encoding {encoding}, only UTF-8 is read"
        )))
    }

    fn start(&mut self, start: &BytesStart) -> Result<(), FormatError> {
        let name = start.name().0;
        if self.depth == 0 {
            let expected = self.path[0];
            if self.seen_root || name != expected {
                let got = shortened(name);
                return Err(self.malformed(format!("expected one <{expected}>, got <{got}>")));
            }
            self.seen_root = true;
        }
        if self.depth == DEPTH_LIMIT {
            return Err(self.malformed(format!("elements are nested deeper than {DEPTH_LIMIT}")));
        }
        if self.matched == self.depth && self.path.get(self.matched) == Some(&name) {
            self.matched += 1;
            if self.matched == self.path.len() {
                self.record.attributes = attributes(self.file, start)?;
            }
        } else if self.matched == self.path.len() && self.depth == self.matched {
            self.open = self.names.iter().position(|wanted| *wanted == name);
            if let Some(open) = self.open {
                let child = Child {
                    attributes: attributes(self.file, start)?,
                    text: String::new(),
                };
                if self.children[open].replace(child).is_some() {
                    return Err(self.malformed(format!("an element has two <{name}>")));
                }
            }
        }
        self.depth += 1;
        Ok(())
    }

    /// Only text directly inside of a wanted child counts, not that of elements in it.
    fn append(&mut self, piece: &str) -> Result<(), FormatError> {
        let Some(open) = self.open.filter(|_| self.depth == self.path.len() + 1) else {
            return Ok(());
        };
        let Some(Child { text, .. }) = &mut self.children[open] else {
            return Ok(());
        };
        if text.len() + piece.len() > TEXT_LIMIT {
            let name = self.names[open];
            return Err(self.malformed(format!(
                "the text of <{name}> is longer than {TEXT_LIMIT} bytes"
            )));
        }
        text.push_str(piece);
        Ok(())
    }

    fn malformed(&self, what: impl Into<String>) -> FormatError {
        FormatError::malformed(self.file, what)
    }
}

fn attributes(file: &str, start: &BytesStart) -> Result<Vec<(String, String)>, FormatError> {
    let mut all = Vec::new();
    for attribute in start.attributes() {
        if all.len() == ATTRIBUTES_LIMIT {
            return Err(FormatError::malformed(
                file,
                format!("an element has more than {ATTRIBUTES_LIMIT} attributes"),
            ));
        }
        let attribute = attribute.map_err(|error| xml_error(file, &error.into()))?;
        let value = attribute
            .normalized_value(XmlVersion::Implicit1_0)
            .map_err(|error| xml_error(file, &error))?;
        all.push((attribute.key.0.to_owned(), value.into_owned()));
    }
    Ok(all)
}

/// The text that a reference stands for, in `utf8` when it is a character's number.
fn resolve<'u>(
    file: &str,
    reference: &BytesRef,
    utf8: &'u mut [u8; 4],
) -> Result<&'u str, FormatError> {
    let character = reference
        .resolve_char_ref()
        .map_err(|error| xml_error(file, &error))?;
    match character {
        Some(character) => Ok(character.encode_utf8(utf8)),
        None => quick_xml::escape::resolve_predefined_entity(reference).ok_or_else(|| {
            let name = shortened(reference);
            FormatError::malformed(file, format!("it has the unknown entity &{name};"))
        }),
    }
}

fn xml_error(file: &str, error: &quick_xml::Error) -> FormatError {
    match error {
        quick_xml::Error::Io(source) => FormatError::Read {
            file: file.to_owned(),
            source: io::Error::new(source.kind(), source.to_string()),
        },
        // The crate says where in its buffer, which depends on how the text came.
        quick_xml::Error::Encoding(_) => FormatError::malformed(file, "it is not UTF-8"),
        // The crate's texts may repeat the input.
        other => FormatError::malformed(
            file,
            format!("not well-formed XML: {}", shortened(&other.to_string())),
        ),
    }
}

/// Text from outside, fit for a message.
fn shortened(text: &str) -> String {
    text.chars()
        .take(120)
        .flat_map(char::escape_debug)
        .collect()
}

/// Ends in an error when one event takes more than its share: quick-xml would buffer a text node of any size.
struct Metered<'a> {
    text: &'a mut dyn BufRead,
    left: usize,
}

impl BufRead for Metered<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let available = self.text.fill_buf()?;
        if self.left == 0 && !available.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("a tag or a piece of text is longer than {EVENT_LIMIT} bytes"),
            ));
        }
        let length = available.len().min(self.left);
        Ok(&available[..length])
    }

    fn consume(&mut self, amount: usize) {
        self.left = self.left.saturating_sub(amount);
        self.text.consume(amount);
    }
}

impl Read for Metered<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        read_buffered(self, into)
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use proptest::prelude::*;

    use super::*;

    type Flat = Vec<[Option<(String, Option<String>)>; 2]>;

    /// Text and the attribute `k` of `<a>` and `<b>` in `<list><item>`.
    fn read(text: &[u8], buffer_size: usize) -> Result<Flat, String> {
        read_from(&mut BufReader::with_capacity(buffer_size, text))
    }

    fn read_from(input: &mut dyn BufRead) -> Result<Flat, String> {
        let mut records = Records::new("x.xml", input, &["list", "item"], ["a", "b"]);
        let mut all = Vec::new();
        loop {
            match records.next() {
                Ok(Some((_, children))) => all.push(children.map(|child| {
                    child.map(|child| (child.text.clone(), child.attribute("k").map(str::to_owned)))
                })),
                Ok(None) => return Ok(all),
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    fn texts(text: &str) -> Vec<[Option<String>; 2]> {
        let records = read(text.as_bytes(), 64).unwrap();
        let text = |child: Option<(String, _)>| child.map(|(text, _)| text);
        records
            .into_iter()
            .map(|children| children.map(text))
            .collect()
    }

    #[test]
    fn reads_records_and_skips_the_rest() {
        let some = |text: &str| Some(text.to_owned());
        for (text, expected) in [
            ("<list/>", vec![]),
            ("<?xml version='1.0' encoding='utf-8'?><list/>", vec![]),
            ("<list><other><a>x</a></other></list>", vec![]),
            (
                "<list><item/><item></item></list>",
                vec![[None, None], [None, None]],
            ),
            (
                "<?xml version='1.0'?><!-- c --><list n='1'>\n <item>\n  <a> x </a><b/></item></list>\n",
                vec![[some("x"), some("")]],
            ),
            // Deeper elements of the same name are other elements.
            (
                "<list><item><c><a>no</a><item><a>no</a></item></c><a>y<i>no</i>es</a></item></list>",
                vec![[some("yes"), None]],
            ),
            (
                "<list><item><a>a&amp;b&#43;&#x2b;<!-- c --><![CDATA[<&>]]></a></item></list>",
                vec![[some("a&b++<&>"), None]],
            ),
            (
                "<list><item><x:a>no</x:a></item></list>",
                vec![[None, None]],
            ),
        ] {
            assert_eq!(texts(text), expected, "{text}");
        }
        let attributes = read(
            b"<list><item><a k='x &lt;&#10;y' l=\"\"/></item></list>",
            64,
        );
        assert_eq!(
            attributes.unwrap()[0][0].as_ref().unwrap().1.as_deref(),
            Some("x <\ny")
        );
    }

    #[test]
    fn refuses_what_is_no_plain_metadata() {
        for (text, message) in [
            ("", "it has no <list>"),
            ("not found", "it has no <list>"),
            ("<html><body/></html>", "expected one <list>, got <html>"),
            ("<list/><list/>", "expected one <list>, got <list>"),
            ("<list><item>", "it ends inside of an element"),
            ("<!DOCTYPE x [<!ENTITY e 'x'>]><list/>", "it has a DOCTYPE"),
            (
                "<list><item><a>&e;</a></item></list>",
                "it has the unknown entity &e;",
            ),
            ("<list>&e;</list>", "it has the unknown entity &e;"),
            (
                "<?xml version='1.0' encoding='UTF-7'?><list/>",
                "it declares the encoding UTF-7, only UTF-8 is read",
            ),
            (
                "<list><item><a/><a/></item></list>",
                "an element has two <a>",
            ),
        ] {
            assert_eq!(
                read(text.as_bytes(), 64),
                Err(format!("x.xml: {message}")),
                "{text}"
            );
        }
        for text in [
            "<list></item></list>",
            "<list><item><a k='1' k='2'/></item></list>",
            "<list><item><a k='&e;'/></item></list>",
            "<list><item><a>\u{fffd}&#0;</a></item></list>",
            "<list",
        ] {
            let error = read(text.as_bytes(), 64).unwrap_err();
            assert!(error.contains("not well-formed"), "{text}: {error}");
        }
        assert!(read(b"<list><item><a>\xff</a></item></list>", 64).is_err());
    }

    #[test]
    fn nothing_grows_without_a_limit() {
        let start = "<list><item><a>";
        let mut endless = BufReader::new(start.as_bytes().chain(io::repeat(b'x')));
        let error = read_from(&mut endless).unwrap_err();
        assert_eq!(
            error,
            "x.xml: a tag or a piece of text is longer than 1048576 bytes"
        );
        let mut endless = BufReader::new(&b"<list k='"[..]).chain(BufReader::new(io::repeat(b'x')));
        assert!(
            read_from(&mut endless)
                .unwrap_err()
                .contains("longer than 1048576")
        );

        let deep = format!("<list>{}", "<item>".repeat(40));
        assert!(
            read(deep.as_bytes(), 64)
                .unwrap_err()
                .contains("nested deeper")
        );
        let long = format!("<list><item><a>{}</a></item></list>", "x&amp;".repeat(9000));
        assert!(
            read(long.as_bytes(), 64)
                .unwrap_err()
                .contains("the text of <a>")
        );
        let unwanted = format!("<list><item><c>{}</c></item></list>", "x".repeat(1_000_000));
        assert_eq!(texts(&unwanted), [[None, None]]);
        let many: Vec<String> = (0..70).map(|n| format!(" k{n}=''")).collect();
        let many = format!("<list><item><a{}/></item></list>", many.concat());
        assert!(
            read(many.as_bytes(), 64)
                .unwrap_err()
                .contains("more than 64 attributes")
        );
    }

    proptest! {
        #[test]
        fn the_buffer_size_changes_nothing(
            text in "<list>(<item>|</item>|<a k='1'>|</a>|<b/>|x|&amp;|&#x41;|&|<!-- - -->|<!\\[CDATA\\[x\\]\\]>){0,12}(</list>)?",
            size in 1usize..40,
        ) {
            prop_assert_eq!(read(text.as_bytes(), size), read(text.as_bytes(), 1 << 16));
        }

        #[test]
        fn no_bytes_make_it_panic(text: Vec<u8>, size in 1usize..40) {
            let _ = read(&[b"<list>", &text[..]].concat(), size);
        }
    }
}
