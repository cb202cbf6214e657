//! Copies indexes that describe packages, reduced to the chosen packages.

use std::collections::HashSet;
use std::io::BufRead;

use super::record_writer::RecordWriter;
use super::stanza::Stanzas;
use crate::format::error::FormatError;
use crate::format::lines::read_line;
use crate::format::yaml;

/// The longest lines are those of Contents for files in very many packages, some 100 KB.
const LINE_LIMIT: usize = 4 << 20;
/// The largest components of dep11 have some 100 KB, with their descriptions in many languages.
const DOCUMENT_LIMIT: usize = 16 << 20;

/// The kind of a metadata index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MetadataKind {
    /// `Translation-*`: their descriptions.
    Descriptions,
    /// `Contents-*`: which of them have a file.
    Files,
    /// `Components-*.yml`: appstream.
    Components,
    /// `Commands-*`: command-not-found.
    Commands,
}

impl MetadataKind {
    /// By the uncompressed path as Release has it.
    pub(super) fn of(name: &str) -> Option<Self> {
        let mut segments = name.rsplit('/');
        let (file, directory) = (segments.next()?, segments.next());
        let is_yaml = std::path::Path::new(file)
            .extension()
            .is_some_and(|end| end == "yml");
        match directory {
            _ if file.starts_with("Translation-") => Some(Self::Descriptions),
            Some("dep11") if file.starts_with("Components-") && is_yaml => Some(Self::Components),
            Some("cnf") if file.starts_with("Commands-") => Some(Self::Commands),
            _ if file.starts_with("Contents-") => Some(Self::Files),
            _ => None,
        }
    }
}

/// The position of a text among the sources of a new index. Only the header of the first one is
/// kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextOrder {
    First,
    Further,
}

/// Copies the records of these packages.
pub(super) fn copy(
    kind: MetadataKind,
    file: &str,
    input: &mut dyn BufRead,
    names: &HashSet<String>,
    order: TextOrder,
    out: RecordWriter<'_>,
) -> Result<(), FormatError> {
    match kind {
        MetadataKind::Descriptions => copy_stanzas("Package", file, input, names, None, out),
        MetadataKind::Commands => copy_stanzas("name", file, input, names, Some(order), out),
        MetadataKind::Files => copy_lines(file, input, names, out),
        MetadataKind::Components => copy_documents(file, input, names, order, out),
    }
}

/// Counts the records of an index.
pub(super) fn count(
    kind: MetadataKind,
    file: &str,
    input: &mut dyn BufRead,
) -> Result<u64, FormatError> {
    let mut count = 0;
    match kind {
        MetadataKind::Descriptions | MetadataKind::Commands => {
            let mut stanzas = Stanzas::new(file, input, []);
            while let Some([]) = stanzas.next()? {
                count += 1;
            }
        }
        MetadataKind::Files => {
            let mut line = Vec::new();
            loop {
                next_line(file, input, &mut line)?;
                if line.is_empty() {
                    break;
                }
                count += 1;
            }
        }
        MetadataKind::Components => yaml::each_document(file, input, DOCUMENT_LIMIT, &mut |_| {
            count += 1;
            Ok(())
        })?,
    }
    Ok(count)
}

/// A stanza without a name is a header; only that of the first text is kept. If there are no
/// headers (`None`) it is an error: apt rejects everything because of a description without a
/// package.
fn copy_stanzas(
    field: &'static str,
    file: &str,
    input: &mut dyn BufRead,
    names: &HashSet<String>,
    order: Option<TextOrder>,
    mut out: RecordWriter<'_>,
) -> Result<(), FormatError> {
    let mut stanzas = Stanzas::copying(file, input, [field]);
    loop {
        let above = stanzas.line_number();
        let Some([name]) = stanzas.next()? else {
            return Ok(());
        };
        let is_kept = match (name.filter(|name| !name.is_empty()), order) {
            (Some(name), _) => std::str::from_utf8(name).is_ok_and(|name| names.contains(name)),
            (None, Some(order)) => order == TextOrder::First,
            (None, None) => {
                let what = format!("the stanza after line {above} has no {field}");
                return Err(FormatError::malformed(file, what));
            }
        };
        if is_kept {
            out.write_stanza(stanzas.copy())?;
        }
    }
}

/// `PATH SECTION/PACKAGE,SECTION/PACKAGE`; older archives have an explanation before it, which
/// contains no package.
fn copy_lines(
    file: &str,
    input: &mut dyn BufRead,
    names: &HashSet<String>,
    mut out: RecordWriter<'_>,
) -> Result<(), FormatError> {
    let mut line = Vec::new();
    loop {
        next_line(file, input, &mut line)?;
        if line.is_empty() {
            return Ok(());
        }
        let trimmed = line.trim_ascii_end();
        let Some(blank) = trimmed
            .iter()
            .rposition(|byte| matches!(byte, b' ' | b'\t'))
        else {
            continue;
        };
        let (path, places) = trimmed.split_at(blank + 1);
        let all = places.split(|byte| *byte == b',');
        let is_kept = |place: &&[u8]| {
            let name = place.rsplit(|byte| *byte == b'/').next();
            let name = name.and_then(|name| std::str::from_utf8(name).ok());
            name.is_some_and(|name| names.contains(name))
        };
        let kept: Vec<&[u8]> = all.filter(is_kept).collect();
        if kept.is_empty() {
            continue;
        }
        out.count_record();
        out.write(path)?;
        out.write(&kept.join(&b","[..]))?;
        out.write(b"\n")?;
    }
}

/// YAML documents, each of one component and its package; the first is a header.
fn copy_documents(
    file: &str,
    input: &mut dyn BufRead,
    names: &HashSet<String>,
    order: TextOrder,
    mut out: RecordWriter<'_>,
) -> Result<(), FormatError> {
    let mut is_first = true;
    let mut is_behind_another = order == TextOrder::Further;
    yaml::each_document(file, input, DOCUMENT_LIMIT, &mut |document| {
        if std::str::from_utf8(document.content()).is_err() {
            return Err(FormatError::malformed(file, "not UTF-8"));
        }
        let is_kept = match package_of(document.content()) {
            Some(name) => names.contains(name),
            None => is_first && order == TextOrder::First,
        };
        is_first = false;
        if !is_kept {
            return Ok(());
        }
        if is_behind_another && document.has_directives() {
            out.write(b"...\n")?;
        }
        is_behind_another = true;
        out.count_record();
        out.write(&document.bytes())
    })
}

/// The value of `Package` at the top of a document.
fn package_of(document: &[u8]) -> Option<&str> {
    let mut lines = document.split(|byte| *byte == b'\n');
    let value = lines.find_map(|line| line.strip_prefix(b"Package:"))?;
    let value = std::str::from_utf8(value).ok()?;
    let value = value.split_once(" #").map_or(value, |(value, _)| value);
    Some(value.trim().trim_matches(['\'', '"']))
}

/// The next line with its line end; empty at the end of the text.
fn next_line(file: &str, input: &mut dyn BufRead, line: &mut Vec<u8>) -> Result<(), FormatError> {
    read_line(file, input, LINE_LIMIT, line)?;
    if line.len() > LINE_LIMIT {
        let what = format!("a line exceeds {LINE_LIMIT} bytes");
        return Err(FormatError::malformed(file, what));
    }
    Ok(())
}
