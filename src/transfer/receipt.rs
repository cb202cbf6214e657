//! Receipts: what an importer answers about the transfers that it received.
//!
//! A receipt is a short text that a reviewer at the gap can read completely. It has the transfers
//! with what is missing of them, by position in the exporter's own list, and nothing else: not what
//! else the importer has. It can be signed; this module has only the text.
//!
//! # Format
//!
//! ```text
//! chantal receipt 1
//! exporter 0123456789abcdef0123456789abcdef
//! destination plant-a
//! made 2026-11-28T06:00:00Z
//! transfer 42 sha256:<64 digits> complete
//! transfer 43 sha256:<64 digits> missing 1-3,17,40-41
//! transfer 44 sha256:<64 digits> missing part 2
//! transfer 45 sha256:<64 digits> missing all
//! log sha256:<64 digits>
//! ```
//!
//! - Lines are in this order and words are separated by one space. There is at least one transfer;
//!   they are in ascending order of their numbers. `log` can be missing. There are no other lines.
//!   Long ones are not wrapped: mail has to carry a receipt as an attachment.
//! - `exporter` is the ID of its storage. The digest of a transfer is that of its packed manifest,
//!   `log` that of the last entry in the importer's log. All are lowercase hexadecimal.
//! - `made` is the time by the importer's clock, in UTC. It is informational.
//! - Numbers are decimal, from 1, without zeros in front. `missing` lists the numbers of objects in
//!   the order of the manifest: ascending, and adjacent ones as a range.
//!
//! A value has one text, but not all texts arrive as they were sent: carriage returns and blanks at
//! the ends of lines, and blank lines at the end are ignored. The last line must have its line end,
//! because a list of numbers that was cut inside of a number is still a list of numbers. A text has
//! at most [`SIZE_MAX`] bytes of printable ASCII.

use std::cmp::Reverse;
use std::fmt;
use std::ops::RangeInclusive;

use crate::digest::ObjectId;
use crate::names::DestinationName;
use crate::time;

/// Of a text that is read, in bytes.
pub const SIZE_MAX: usize = 4096;

/// Of a text that is written, in bytes: leaves room for a carriage return in every line.
pub const WRITTEN_MAX: usize = 4000;

/// So many transfers always fit; more of them fit if their lines are short.
pub const TRANSFERS_THAT_FIT: usize = 27;

const VERSION_LINE: &str = "chantal receipt 1";

const EXPORTER_DIGITS: usize = 32;

/// Removed from the ends of lines.
const BLANKS: [char; 3] = [' ', '\t', '\r'];

/// What an importer answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The ID of its storage: 32 lowercase hexadecimal digits.
    pub exporter: String,
    pub destination: DestinationName,
    /// Seconds since the epoch, by the importer's clock.
    pub made_at: i64,
    /// At least one, in ascending order of their numbers.
    pub transfers: Vec<ReceiptEntry>,
    /// The last entry of the importer's log.
    pub log: Option<ObjectId>,
}

/// One transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptEntry {
    /// From 1.
    pub number: u64,
    pub manifest: ObjectId,
    pub arrival: Arrival,
}

/// How much of a transfer was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrival {
    Complete,
    Missing(Missing),
}

/// What of a transfer is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// These objects, by their place in the manifest, from 1: ascending and not adjacent. Those of
    /// a receipt that was read can be larger than any manifest.
    Ranges(Vec<RangeInclusive<u64>>),
    All,
    /// All of this part, from 1.
    Part(u64),
}

/// Why a text is not a receipt.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ReceiptError {
    #[error("a receipt has at most {SIZE_MAX} bytes, got {got}")]
    TooLong { got: usize },
    #[error("line {line}: expected printable ASCII, got byte {byte:#04x}")]
    NotAscii { line: usize, byte: u8 },
    #[error("line {line}: the line end is missing; the text may be truncated")]
    Truncated { line: usize },
    #[error("version {version} of receipts needs a newer chantal; this one reads version 1")]
    NewerVersion { version: u64 },
    #[error("line {line}: expected {expected}, got {got}")]
    Unexpected {
        line: usize,
        expected: &'static str,
        /// Shortened and escaped.
        got: String,
    },
    #[error("line {line}: transfer {number} after transfer {before}; expected ascending numbers")]
    Order {
        line: usize,
        number: u64,
        before: u64,
    },
    #[error("{transfers} transfers do not fit into one receipt ({TRANSFERS_THAT_FIT} always do)")]
    TooManyTransfers { transfers: usize },
}

impl Arrival {
    /// `missing` are places of objects in the manifest, from 1, in any order.
    pub fn of_missing(missing: impl IntoIterator<Item = u64>) -> Self {
        let mut missing: Vec<u64> = missing.into_iter().collect();
        missing.sort_unstable();
        let mut ranges: Vec<RangeInclusive<u64>> = Vec::new();
        for place in missing {
            match ranges.last_mut() {
                // Not `end + 1`, which can overflow.
                Some(last) if place - last.end() <= 1 => *last = *last.start()..=place,
                _ => ranges.push(place..=place),
            }
        }
        if ranges.is_empty() {
            Self::Complete
        } else {
            Self::Missing(Missing::Ranges(ranges))
        }
    }

    fn range_count(&self) -> usize {
        match self {
            Self::Missing(Missing::Ranges(ranges)) => ranges.len(),
            Self::Complete | Self::Missing(_) => 0,
        }
    }
}

impl fmt::Display for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Complete => f.write_str("complete"),
            Self::Missing(missing) => write!(f, "missing {missing}"),
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Part(part) => write!(f, "part {part}"),
            Self::Ranges(ranges) => {
                let ranges: Vec<String> = ranges
                    .iter()
                    .map(|range| match (range.start(), range.end()) {
                        (start, end) if start == end => start.to_string(),
                        (start, end) => format!("{start}-{end}"),
                    })
                    .collect();
                f.write_str(&ranges.join(","))
            }
        }
    }
}

impl Receipt {
    /// The text, which [`Self::parse`] accepts.
    ///
    /// If it is too long, `missing all` is written instead of the ranges of the transfer that has
    /// the most of them, then of the next one: the exporter sends too much again, and not too
    /// little. What was written can be found out by parsing it.
    pub fn encode(&self) -> Result<String, ReceiptError> {
        let all = Arrival::Missing(Missing::All).to_string();
        let arrivals = self.transfers.iter().map(|entry| entry.arrival.to_string());
        let mut arrivals: Vec<String> = arrivals.collect();
        let mut text = self.text(&arrivals);
        while text.len() > WRITTEN_MAX {
            let (_, longest) = self
                .transfers
                .iter()
                .map(|entry| entry.arrival.range_count())
                .zip(0..)
                .filter(|(ranges, place)| *ranges > 0 && arrivals[*place].len() > all.len())
                .max_by_key(|(ranges, place)| (*ranges, Reverse(*place)))
                .ok_or(ReceiptError::TooManyTransfers {
                    transfers: self.transfers.len(),
                })?;
            arrivals[longest].clone_from(&all);
            text = self.text(&arrivals);
        }
        // The rules about values are only there: what it refuses is not written either.
        Self::parse(text.as_bytes())?;
        Ok(text)
    }

    fn text(&self, arrivals: &[String]) -> String {
        let mut text = format!(
            "{VERSION_LINE}\nexporter {}\ndestination {}\nmade {}\n",
            self.exporter,
            self.destination,
            time::rfc3339(self.made_at)
        );
        for (entry, arrival) in self.transfers.iter().zip(arrivals) {
            let ReceiptEntry {
                number, manifest, ..
            } = entry;
            text += &format!("transfer {number} sha256:{manifest} {arrival}\n");
        }
        if let Some(log) = self.log {
            text += &format!("log sha256:{log}\n");
        }
        text
    }

    pub fn parse(bytes: &[u8]) -> Result<Self, ReceiptError> {
        let mut lines = Lines::of(bytes)?;
        let version = lines.next("`chantal receipt 1`")?;
        if version.text != VERSION_LINE {
            return Err(wrong_version(version));
        }
        let exporter = lines.field("exporter", "`exporter ID`")?;
        if !is_lower_hex(exporter.text, EXPORTER_DIGITS) {
            return Err(exporter.expected("32 lowercase hexadecimal digits"));
        }
        let destination = lines.field("destination", "`destination NAME`")?;
        let made = lines.field("made", "`made TIME`")?;
        let mut receipt = Self {
            exporter: exporter.text.to_owned(),
            destination: DestinationName::parse(destination.text)
                .map_err(|_| destination.expected("the name of a destination"))?,
            made_at: time::parse_rfc3339(made.text)
                .ok_or_else(|| made.expected("a time such as 2026-11-28T06:00:00Z"))?,
            transfers: Vec::new(),
            log: None,
        };
        let mut before = 0;
        while before == 0 || lines.next_is("transfer") {
            let line = lines.field("transfer", "`transfer NUMBER sha256:DIGEST ...`")?;
            let entry = parse_entry(line)?;
            if entry.number <= before {
                return Err(ReceiptError::Order {
                    line: line.number,
                    number: entry.number,
                    before,
                });
            }
            before = entry.number;
            receipt.transfers.push(entry);
        }
        if lines.next_is("log") {
            let log = lines.field("log", "`log sha256:DIGEST`")?;
            receipt.log = Some(parse_digest(log)?);
        }
        match lines.peek() {
            Some(line) if receipt.log.is_some() => Err(line.expected("the end")),
            Some(line) => Err(line.expected("`transfer`, `log` or the end")),
            None => Ok(receipt),
        }
    }
}

/// A line or a part of one.
#[derive(Clone, Copy)]
struct Line<'a> {
    /// From 1.
    number: usize,
    text: &'a str,
}

impl<'a> Line<'a> {
    /// A part of this line.
    fn part(self, text: &'a str) -> Self {
        Self { text, ..self }
    }

    /// The error that this is something else.
    fn expected(self, expected: &'static str) -> ReceiptError {
        ReceiptError::Unexpected {
            line: self.number,
            expected,
            got: match self.text {
                "" => "nothing".to_owned(),
                text => format!("`{}`", shortened(text)),
            },
        }
    }
}

/// The lines of a text without what may have been added to them on the way.
struct Lines<'a> {
    lines: Vec<&'a str>,
    read: usize,
}

impl<'a> Lines<'a> {
    fn of(bytes: &'a [u8]) -> Result<Self, ReceiptError> {
        if bytes.len() > SIZE_MAX {
            return Err(ReceiptError::TooLong { got: bytes.len() });
        }
        let is_printable = |byte: u8| matches!(byte, b' '..=b'~' | b'\t' | b'\r' | b'\n');
        if let Some(place) = bytes.iter().position(|byte| !is_printable(*byte)) {
            return Err(ReceiptError::NotAscii {
                line: bytes[..place].split(|byte| *byte == b'\n').count(),
                byte: bytes[place],
            });
        }
        let text = str::from_utf8(bytes).expect("it is ASCII");
        let mut lines: Vec<&str> = text
            .split('\n')
            .map(|line| line.trim_end_matches(BLANKS))
            .collect();
        if lines.pop().is_some_and(|unfinished| !unfinished.is_empty()) {
            let line = lines.len() + 1;
            return Err(ReceiptError::Truncated { line });
        }
        while lines.pop_if(|line| line.is_empty()).is_some() {}
        Ok(Self { lines, read: 0 })
    }

    fn peek(&self) -> Option<Line<'a>> {
        let text = *self.lines.get(self.read)?;
        let number = self.read + 1;
        Some(Line { number, text })
    }

    fn next_is(&self, word: &str) -> bool {
        let next = self.peek();
        next.is_some_and(|line| line.text.split(' ').next() == Some(word))
    }

    fn next(&mut self, expected: &'static str) -> Result<Line<'a>, ReceiptError> {
        let line = self.peek().ok_or_else(|| ReceiptError::Unexpected {
            line: self.read + 1,
            expected,
            got: "the end".to_owned(),
        })?;
        self.read += 1;
        Ok(line)
    }

    /// What follows this word in the next line.
    fn field(&mut self, word: &str, expected: &'static str) -> Result<Line<'a>, ReceiptError> {
        let line = self.next(expected)?;
        match line.text.split_once(' ') {
            Some((first, rest)) if first == word => Ok(line.part(rest)),
            _ => Err(line.expected(expected)),
        }
    }
}

fn wrong_version(line: Line<'_>) -> ReceiptError {
    let version = line.text.strip_prefix("chantal receipt ");
    match version.and_then(parse_number) {
        Some(version) => ReceiptError::NewerVersion { version },
        None => line.expected("`chantal receipt 1`"),
    }
}

fn parse_entry(line: Line<'_>) -> Result<ReceiptEntry, ReceiptError> {
    let mut words = line.text.splitn(3, ' ');
    let [number, manifest, arrival] =
        std::array::from_fn(|_| line.part(words.next().unwrap_or_default()));
    Ok(ReceiptEntry {
        number: parse_number(number.text).ok_or_else(|| number.expected("a number from 1"))?,
        manifest: parse_digest(manifest)?,
        arrival: parse_arrival(arrival)?,
    })
}

fn parse_arrival(line: Line<'_>) -> Result<Arrival, ReceiptError> {
    if line.text == "complete" {
        return Ok(Arrival::Complete);
    }
    let missing = match line.text.split_once(' ') {
        Some(("missing", missing)) => line.part(missing),
        _ => return Err(line.expected("`complete` or `missing ...`")),
    };
    let missing = match missing.text.strip_prefix("part ") {
        _ if missing.text == "all" => Missing::All,
        Some(part) => Missing::Part(
            parse_number(part).ok_or_else(|| missing.part(part).expected("a number from 1"))?,
        ),
        None => Missing::Ranges(parse_ranges(missing)?),
    };
    Ok(Arrival::Missing(missing))
}

fn parse_ranges(line: Line<'_>) -> Result<Vec<RangeInclusive<u64>>, ReceiptError> {
    let mut ranges: Vec<RangeInclusive<u64>> = Vec::new();
    for item in line.text.split(',') {
        let range = match item.split_once('-') {
            Some((start, end)) => parse_number(start)
                .zip(parse_number(end))
                .filter(|(start, end)| start < end)
                .map(|(start, end)| start..=end),
            None => parse_number(item).map(|place| place..=place),
        };
        // Adjacent ranges would be a second text for the same value.
        let is_apart = |range: &RangeInclusive<u64>| {
            let last = ranges
                .last()
                .map_or(Some(0), |last| last.end().checked_add(1));
            last.is_some_and(|last| *range.start() > last)
        };
        let range = range.filter(is_apart).ok_or_else(|| {
            line.part(item)
                .expected("`all`, `part NUMBER` or ascending ranges such as `1-3,17,40-41`")
        })?;
        ranges.push(range);
    }
    Ok(ranges)
}

fn parse_digest(line: Line<'_>) -> Result<ObjectId, ReceiptError> {
    line.text
        .strip_prefix("sha256:")
        .filter(|hex| is_lower_hex(hex, 64))
        .and_then(|hex| hex.parse().ok())
        .ok_or_else(|| line.expected("`sha256:` and 64 lowercase hexadecimal digits"))
}

fn parse_number(text: &str) -> Option<u64> {
    // `parse` alone would accept a sign.
    let is_canonical = !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit());
    is_canonical.then(|| text.parse().ok())?
}

fn is_lower_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Printable text for messages, not longer than a line.
fn shortened(text: &str) -> String {
    const LENGTH_MAX: usize = 40;
    let mut start: String = text.chars().take(LENGTH_MAX).collect();
    if start.len() < text.len() {
        start += "...";
    }
    start.escape_default().to_string()
}

#[cfg(test)]
mod tests;
