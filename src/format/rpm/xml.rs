//! A streaming reader of rpm metadata: a list of records (`<data>`, `<package>`), whose children
//! have attributes and text. A grandchild is requested as `format/rpm:sourcerpm`.
//!
//! Memory is bounded by the limits below. DTDs and entities are not supported, except predefined
//! ones. With [`Records::copying`] the bytes of each record are available too, and input that
//! clients reject is an error.

mod values;
mod well_formed;

use std::collections::HashSet;
use std::io::BufRead;
use std::ops::Range;

use quick_xml::events::{BytesDecl, BytesStart, Event};
use quick_xml::reader::Reader;

use super::decoder::LATIN_1;
use super::limited_reader::{LimitedReader, Recorder};
use crate::format::error::FormatError;
use values::{attributes, resolve, shortened, xml_error};

/// One tag with its attributes, or one piece of text. The largest are descriptions of some 100 KB.
const EVENT_LIMIT: usize = 1 << 20;
/// The text of a wanted child: names, paths, digests.
const TEXT_LIMIT: usize = 16 << 10;
/// Limit for the lists of one record, in bytes. The largest advisories have some thousand packages.
const LISTED_LIMIT: usize = 16 << 20;
/// Metadata is about five elements deep.
const DEPTH_LIMIT: usize = 32;
/// Limit for a copied record. The largest real ones list 40,000 files of a package, some 4 MB.
const RECORD_LIMIT: usize = 64 << 20;

/// Reads the elements at `path`, each with `N` requested children.
pub struct Records<'a, const N: usize> {
    /// For messages.
    file: &'a str,
    reader: Reader<LimitedReader<'a>>,
    is_copying: bool,
    buffer: Vec<u8>,
    /// The root element first, the record last.
    path: &'a [&'a str],
    names: [&'static str; N],
    /// Paths of repeatable elements below a record, and how much of each path is open.
    lists: &'a [&'a [&'a str]],
    lists_matched: Vec<usize>,
    /// The elements of the current record, by list.
    listed: Vec<Vec<Child>>,
    listed_bytes: usize,
    listed_limit: usize,
    texts: Option<TextCollector<'a>>,
    /// The number of open elements, and how many of them match `path`.
    depth: usize,
    matched: usize,
    seen_root: bool,
    /// The current record and child.
    record: Child,
    /// Whether the text of the record itself is requested.
    keeps_text: bool,
    children: Record<N>,
    open: Option<OpenChild>,
    /// The current child, if grandchildren are requested.
    parent: String,
    /// The byte ranges of the record and its children in the text.
    span: Range<u64>,
    child_spans: [Range<u64>; N],
    /// The start tag of the root element, as written.
    root_tag: Vec<u8>,
}

/// Collects the texts of deeper elements of a record.
struct TextCollector<'a> {
    /// The path below the record, and how much of it is open.
    path: &'a [&'a str],
    matched: usize,
    /// The text of the current element.
    text: String,
    wanted: Wanted<'a>,
    /// The texts of the current record.
    found: HashSet<u32>,
}

/// Returns the number of a requested text.
pub type Wanted<'a> = &'a dyn Fn(&str) -> Option<u32>;

/// A requested child that is being read.
#[derive(Clone, Copy)]
struct OpenChild {
    child: usize,
    /// The number of open elements inside it.
    depth: usize,
}

enum Progress {
    Reading,
    Record,
    End,
}

/// The children of one record, in the order of their names.
pub type Record<const N: usize> = [Option<Child>; N];

/// A child of a record.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Child {
    attributes: Vec<(String, String)>,
    /// Without leading and trailing whitespace.
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
        Self::reading(file, text, path, names, None)
    }

    /// As [`Self::new`], and [`Self::copy`] returns the bytes of each record, which are
    /// well-formed.
    pub fn copying(
        file: &'a str,
        text: &'a mut dyn BufRead,
        path: &'a [&'a str],
        names: [&'static str; N],
    ) -> Self {
        Self::reading(file, text, path, names, Some(Recorder::default()))
    }

    /// As [`Self::new`], including the text of the record itself.
    pub fn with_text(file: &'a str, text: &'a mut dyn BufRead, path: &'a [&'a str]) -> Self
    where
        [&'static str; N]: Default,
    {
        Self {
            keeps_text: true,
            ..Self::reading(file, text, path, Default::default(), None)
        }
    }

    fn reading(
        file: &'a str,
        text: &'a mut dyn BufRead,
        path: &'a [&'a str],
        names: [&'static str; N],
        recorder: Option<Recorder>,
    ) -> Self {
        let is_copying = recorder.is_some();
        let mut reader = Reader::from_reader(LimitedReader::new(text, recorder));
        reader.config_mut().expand_empty_elements = true;
        reader.config_mut().check_comments = is_copying;
        Self {
            file,
            reader,
            is_copying,
            buffer: Vec::new(),
            path,
            names,
            lists: &[],
            lists_matched: Vec::new(),
            listed: Vec::new(),
            listed_bytes: 0,
            listed_limit: LISTED_LIMIT,
            texts: None,
            depth: 0,
            matched: 0,
            seen_root: false,
            record: Child::default(),
            keeps_text: false,
            children: std::array::from_fn(|_| None),
            open: None,
            parent: String::new(),
            span: 0..0,
            child_spans: std::array::from_fn(|_| 0..0),
            root_tag: Vec::new(),
        }
    }

    /// Accepts invalid UTF-8, as clients do for most indexes. Each invalid byte is read as `?`;
    /// copies contain the original bytes.
    pub fn with_invalid_utf8_kept(mut self) -> Self {
        self.reader.get_mut().substitute_invalid_utf8();
        self
    }

    /// As [`Self::with_invalid_utf8_kept`], but invalid bytes are read and copied as ISO-8859-1
    /// characters.
    pub fn with_invalid_utf8_decoded(mut self) -> Self {
        self.reader.get_mut().decode_invalid_utf8();
        self
    }

    /// The last record, byte for byte. Empty if not copying.
    pub fn copy(&self) -> &[u8] {
        self.recorded(self.span.clone())
    }

    /// The byte range of the last record in the text.
    pub fn span(&self) -> Range<u64> {
        self.span.clone()
    }

    /// The range of a child in [`Self::copy`]; `None` if it is missing.
    pub fn child_span(&self, child: usize) -> Option<Range<usize>> {
        let span = &self.child_spans[child];
        let within = |at: u64| usize::try_from(at.checked_sub(self.span.start)?).ok();
        (!span.is_empty()).then(|| Some(within(span.start)?..within(span.end)?))?
    }

    /// The start tag of the root element, byte for byte. Empty before the first record, and if not
    /// copying.
    pub fn root_tag(&self) -> &[u8] {
        &self.root_tag
    }

    fn recorded(&self, span: Range<u64>) -> &[u8] {
        let recorder = self.reader.get_ref().recorder.as_ref();
        recorder.map_or(&[], |recorder| recorder.read(span))
    }

    /// Also reads the attributes of elements deeper in a record, at these paths below it.
    pub fn with_lists(mut self, lists: &'a [&'a [&'a str]]) -> Self {
        self.lists = lists;
        self.lists_matched = vec![0; lists.len()];
        self.listed = lists.iter().map(|_| Vec::new()).collect();
        self
    }

    /// What the lists of one record may take, in bytes.
    pub fn listing_up_to(mut self, limit: usize) -> Self {
        self.listed_limit = limit;
        self
    }

    /// Also collects the texts of deeper elements, at this path below a record.
    pub fn with_texts(mut self, path: &'a [&'a str], wanted: Wanted<'a>) -> Self {
        self.texts = Some(TextCollector {
            path,
            matched: 0,
            text: String::new(),
            wanted,
            found: HashSet::new(),
        });
        self
    }

    /// The numbers of the texts in the last record.
    pub fn found(&self) -> impl Iterator<Item = u32> {
        let texts = self.texts.iter();
        texts.flat_map(|texts| texts.found.iter().copied())
    }

    /// The elements of the last record in these lists.
    pub fn listed(&self) -> &[Vec<Child>] {
        &self.listed
    }

    /// The next record with its attributes; `None` at the end of the text.
    pub fn next(&mut self) -> Result<Option<(Child, Record<N>)>, FormatError> {
        self.record = Child::default();
        self.children = std::array::from_fn(|_| None);
        self.child_spans = std::array::from_fn(|_| 0..0);
        self.listed.iter_mut().for_each(Vec::clear);
        self.listed_bytes = 0;
        if let Some(texts) = &mut self.texts {
            texts.found.clear();
        }
        // Taken out of `self`, because events borrow it.
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
        let children = self.children.iter_mut().flatten();
        for child in children.chain([&mut self.record]) {
            child.text = child.text.trim().to_owned();
        }
        let children = std::mem::replace(&mut self.children, std::array::from_fn(|_| None));
        Ok(Some((std::mem::take(&mut self.record), children)))
    }

    fn next_event(&mut self, buffer: &mut Vec<u8>) -> Result<Progress, FormatError> {
        buffer.clear();
        let before = self.reader.get_ref().consumed();
        let is_inside = self.matched == self.path.len();
        let limited = self.reader.get_mut();
        limited.allow(EVENT_LIMIT);
        if let Some(recorder) = &mut limited.recorder {
            if !is_inside {
                recorder.discard_until(before);
            } else if recorder.len() > RECORD_LIMIT {
                return Err(self.malformed(format!("an element exceeds {RECORD_LIMIT} bytes")));
            }
        }
        let event = self
            .reader
            .read_event_into(buffer)
            .map_err(|error| xml_error(self.file, &error))?;
        match event {
            Event::Start(start) => {
                self.start(&start, before)?;
                if self.depth == 1 {
                    let after = self.reader.get_ref().consumed();
                    self.root_tag = self.recorded(before..after).to_vec();
                }
            }
            Event::End(_) => return Ok(self.end()),
            Event::Text(text) => {
                if self.is_copying {
                    well_formed::check_text(self.file, &text)?;
                }
                self.append(&text)?;
            }
            Event::CData(text) => {
                if self.is_copying {
                    well_formed::check_characters(self.file, &text)?;
                }
                self.append(&text)?;
            }
            Event::GeneralRef(reference) => {
                let mut utf8 = [0; 4];
                let text = resolve(self.file, &reference, &mut utf8)?;
                if self.is_copying {
                    well_formed::check_characters(self.file, text)?;
                }
                self.append(text)?;
            }
            Event::Decl(declaration) => self.check_encoding(&declaration)?,
            // comps has a DOCTYPE with a DTD, which is not read. Entity declarations contain a `[`.
            Event::DocType(text) if self.path[0] == "comps" && !text.contains('[') => {}
            Event::DocType(_) => return Err(self.malformed("DOCTYPE is not allowed")),
            Event::Eof if self.depth > 0 => {
                return Err(self.malformed("truncated inside an element"));
            }
            Event::Eof if !self.seen_root => {
                return Err(self.malformed(format!("no <{}> element", self.path[0])));
            }
            Event::Eof => return Ok(Progress::End),
            // An empty element is reported as a start and an end.
            Event::Empty(_) | Event::Comment(_) | Event::PI(_) => {}
        }
        Ok(Progress::Reading)
    }

    /// Clients use the declared encoding: with another one they would read other names and paths.
    fn check_encoding(&self, declaration: &BytesDecl) -> Result<(), FormatError> {
        let Some(encoding) = declaration.encoding() else {
            return Ok(());
        };
        let encoding = encoding.map_err(|error| xml_error(self.file, &error.into()))?;
        let mut read = ["UTF-8", "UTF8", "US-ASCII"].into_iter().chain(LATIN_1);
        if read.any(|name| encoding.eq_ignore_ascii_case(name)) {
            return Ok(());
        }
        let encoding = shortened(&encoding);
        Err(self.malformed(format!(
            "encoding {encoding} is not supported (supported: UTF-8 and ISO-8859-1)"
        )))
    }

    /// `before` is the position of its tag in the text.
    fn start(&mut self, start: &BytesStart, before: u64) -> Result<(), FormatError> {
        let name = start.name().0;
        if self.is_copying {
            well_formed::check_tag(self.file, start)?;
        }
        if self.depth == 0 {
            let expected = self.path[0];
            if self.seen_root || name != expected {
                let got = shortened(name);
                return Err(self.malformed(format!("expected one <{expected}>, got <{got}>")));
            }
            self.seen_root = true;
        }
        if self.depth == DEPTH_LIMIT {
            return Err(self.malformed(format!(
                "elements are nested more than {DEPTH_LIMIT} levels deep"
            )));
        }
        if self.matched == self.depth && self.path.get(self.matched) == Some(&name) {
            self.matched += 1;
            if self.matched == self.path.len() {
                self.record.attributes = attributes(self.file, start)?;
                self.span = before..before;
            }
        } else if self.matched == self.path.len() {
            self.start_child(start, before)?;
        }
        if self.matched == self.path.len() && self.depth >= self.matched {
            self.start_listed(name, start)?;
            if let Some(texts) = &mut self.texts {
                texts.start(self.depth - self.path.len(), name);
            }
        }
        self.depth += 1;
        Ok(())
    }

    /// An element ends.
    fn end(&mut self) -> Progress {
        let is_record = self.matched == self.path.len() && self.depth == self.matched;
        // Unmatched end tags are errors of the reader, so an element is open here.
        self.depth -= 1;
        self.matched = self.matched.min(self.depth);
        let after = self.reader.get_ref().consumed();
        if let Some(open) = self.open
            && self.depth < open.depth
        {
            self.child_spans[open.child].end = after;
            self.open = None;
        }
        let below = self.depth.saturating_sub(self.path.len());
        for matched in &mut self.lists_matched {
            *matched = below.min(*matched);
        }
        if let Some(texts) = &mut self.texts {
            texts.end(below);
        }
        if !is_record {
            return Progress::Reading;
        }
        self.span.end = after;
        Progress::Record
    }

    /// An element inside a record, which may be a requested child or grandchild.
    fn start_child(&mut self, start: &BytesStart, before: u64) -> Result<(), FormatError> {
        let name = start.name().0;
        let wanted = match self.depth - self.path.len() {
            0 => {
                name.clone_into(&mut self.parent);
                self.names.iter().position(|wanted| *wanted == name)
            }
            1 => self.names.iter().position(|wanted| {
                let path = wanted.split_once('/');
                path.is_some_and(|(parent, child)| parent == self.parent && child == name)
            }),
            _ => None,
        };
        let Some(child) = wanted else {
            return Ok(());
        };
        self.open = Some(OpenChild {
            child,
            depth: self.depth + 1,
        });
        let found = Child {
            attributes: attributes(self.file, start)?,
            text: String::new(),
        };
        if self.children[child].replace(found).is_some() {
            return Err(self.malformed(format!("an element has two <{name}>")));
        }
        self.child_spans[child] = before..before;
        Ok(())
    }

    /// An element inside of a record, or the record itself.
    fn start_listed(&mut self, name: &str, start: &BytesStart) -> Result<(), FormatError> {
        let below = self.depth - self.path.len();
        let lists = self.lists;
        for (list, path) in lists.iter().enumerate() {
            let matched = &mut self.lists_matched[list];
            if *matched != below || path.get(below) != Some(&name) {
                continue;
            }
            *matched += 1;
            if *matched == path.len() {
                let child = Child {
                    attributes: attributes(self.file, start)?,
                    text: String::new(),
                };
                let taken = child
                    .attributes
                    .iter()
                    .map(|(key, value)| size_of::<(String, String)>() + key.len() + value.len());
                self.listed_bytes += size_of::<Child>() + taken.sum::<usize>();
                if self.listed_bytes > self.listed_limit {
                    return Err(self.malformed(format!(
                        "the list in an element exceeds {} bytes",
                        self.listed_limit
                    )));
                }
                self.listed[list].push(child);
            }
        }
        Ok(())
    }

    /// Only text directly inside a requested child is read, not that of nested elements.
    fn append(&mut self, piece: &str) -> Result<(), FormatError> {
        if let Some(texts) = &mut self.texts
            && texts.matched == texts.path.len()
            && self.depth == self.path.len() + texts.matched
            && texts.text.len() + piece.len() <= TEXT_LIMIT
        {
            texts.text.push_str(piece);
        }
        let open = self.open.filter(|open| self.depth == open.depth);
        let is_own = self.keeps_text && self.depth == self.path.len() && self.matched == self.depth;
        let (name, text) = match open {
            Some(OpenChild { child, .. }) => match &mut self.children[child] {
                Some(found) => (self.names[child], &mut found.text),
                None => return Ok(()),
            },
            None if is_own => (self.path[self.matched - 1], &mut self.record.text),
            None => return Ok(()),
        };
        if text.len() + piece.len() > TEXT_LIMIT {
            return Err(self.malformed(format!("the text of <{name}> exceeds {TEXT_LIMIT} bytes")));
        }
        text.push_str(piece);
        Ok(())
    }

    fn malformed(&self, what: impl Into<String>) -> FormatError {
        FormatError::malformed(self.file, what)
    }
}

impl TextCollector<'_> {
    /// An element begins so far below the record.
    fn start(&mut self, below: usize, name: &str) {
        if self.matched == below && self.path.get(below) == Some(&name) {
            self.matched += 1;
            self.text.clear();
        }
    }

    /// An element ends, and so many below the record are still open.
    fn end(&mut self, below: usize) {
        if self.matched == self.path.len() && below < self.matched {
            self.found.extend((self.wanted)(self.text.trim()));
        }
        self.matched = self.matched.min(below);
    }
}

#[cfg(test)]
mod tests;
