//! The header structure of RPM packages: an index of tags, and the data that it points into. A package has two: the
//! signature header, which nothing vouches for, and the header proper, which signatures are made over.
//!
//! ```text
//! 8e ad e8 01  00 00 00 00   entries (u32)   bytes of data (u32)
//! entries x { tag, type, offset into the data, count }   (u32 each, big endian)
//! data
//! ```
//!
//! It is read once, front to back, and only the values that somebody wants are kept: headers of real packages have tens
//! of megabytes. Nothing is allocated because a number says so, and every offset is checked.

use std::collections::BTreeMap;
use std::io::{self, Read};

const MAGIC: [u8; 8] = [0x8e, 0xad, 0xe8, 0x01, 0, 0, 0, 0];
/// The largest value that is kept: a dozen signatures.
const VALUE_LIMIT: u32 = 64 * 1024;

/// How large a header may be; rpm's own limits.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub entries: u32,
    /// In bytes.
    pub data: u32,
}

/// The values that were wanted, by tag.
#[derive(Debug, Default)]
pub struct Values(BTreeMap<u32, Value>);

#[derive(Debug)]
struct Value {
    kind: u32,
    count: u32,
    /// From the value's offset; of texts perhaps more than belongs to it.
    bytes: Vec<u8>,
}

/// A value that is still to come.
struct Wanted {
    tag: u32,
    /// In the data, in bytes.
    start: u32,
    length: u32,
    value: Value,
}

#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    #[error("it does not start with the magic number of one")]
    Magic,
    #[error("it has {got} {what}, more than the {limit} that are read")]
    TooLarge {
        what: &'static str,
        got: u32,
        limit: u32,
    },
    #[error("tag {tag} is there twice")]
    Twice { tag: u32 },
    #[error("tag {tag} points outside of its data")]
    Outside { tag: u32 },
    #[error("tag {tag} is of type {kind}, which it cannot be")]
    Type { tag: u32, kind: u32 },
    #[error("tag {tag} is not what it should be: {why}")]
    Value { tag: u32, why: &'static str },
    #[error("the file ends in the middle of it")]
    CutShort,
    #[error(transparent)]
    Io(io::Error),
}

impl From<io::Error> for HeaderError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::CutShort,
            _ => Self::Io(error),
        }
    }
}

/// The types that a wanted tag can have.
mod kind {
    pub const INT32: u32 = 4;
    pub const STRING: u32 = 6;
    pub const BINARY: u32 = 7;
    pub const STRINGS: u32 = 8;
}

/// Reads a header and keeps the values of some tags. `passing` gets to see all of its bytes. Returns how long
/// its data is too, in bytes.
pub fn read(
    reader: &mut dyn Read,
    limits: Limits,
    wanted: &[u32],
    passing: &mut dyn FnMut(&[u8]),
) -> Result<(Values, u32), HeaderError> {
    let mut intro = [0; 16];
    reader.read_exact(&mut intro)?;
    passing(&intro);
    if intro[..8] != MAGIC {
        return Err(HeaderError::Magic);
    }
    let entries = number(&intro[8..]);
    let size = number(&intro[12..]);
    for (what, got, limit) in [
        ("entries", entries, limits.entries),
        ("bytes of data", size, limits.data),
    ] {
        if got > limit {
            return Err(HeaderError::TooLarge { what, got, limit });
        }
    }

    let mut to_come: Vec<Wanted> = Vec::new();
    for _ in 0..entries {
        let mut entry = [0; 16];
        reader.read_exact(&mut entry)?;
        passing(&entry);
        let tag = number(&entry);
        if !wanted.contains(&tag) {
            continue;
        }
        // What one reader takes from the first and another from the second could be two packages in one.
        if to_come.iter().any(|earlier| earlier.tag == tag) {
            return Err(HeaderError::Twice { tag });
        }
        to_come.push(Wanted::new(&entry, size)?);
    }
    let mut buffer = vec![0; 64 * 1024];
    let mut position = 0;
    while position < size {
        let length = buffer.len().min((size - position) as usize);
        let chunk = &mut buffer[..length];
        reader.read_exact(chunk)?;
        passing(chunk);
        for value in &mut to_come {
            value.take_from(chunk, position);
        }
        position += u32::try_from(length).expect("a buffer is smaller");
    }
    let values = to_come.into_iter().map(|wanted| (wanted.tag, wanted.value));
    Ok((Values(values.collect()), size))
}

/// The big-endian number that some bytes begin with.
fn number(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .take(4)
        .fold(0, |number, byte| number << 8 | u32::from(*byte))
}

impl Wanted {
    /// `size` is that of all data, in bytes.
    fn new(entry: &[u8; 16], size: u32) -> Result<Self, HeaderError> {
        let tag = number(entry);
        let kind = number(&entry[4..]);
        let start = number(&entry[8..]);
        let count = number(&entry[12..]);
        let room = size
            .checked_sub(start)
            .ok_or(HeaderError::Outside { tag })?;
        let length = match kind {
            kind::INT32 => count.checked_mul(4),
            kind::BINARY => Some(count),
            // Where a text ends only its data says.
            kind::STRING | kind::STRINGS => Some(room.min(VALUE_LIMIT)),
            _ => return Err(HeaderError::Type { tag, kind }),
        };
        let length = length
            .filter(|length| *length <= room)
            .ok_or(HeaderError::Outside { tag })?;
        if length > VALUE_LIMIT {
            return Err(HeaderError::TooLarge {
                what: "bytes in one value",
                got: length,
                limit: VALUE_LIMIT,
            });
        }
        Ok(Self {
            tag,
            start,
            length,
            value: Value {
                kind,
                count,
                bytes: Vec::new(),
            },
        })
    }

    /// Takes what belongs to the value from data at a position.
    fn take_from(&mut self, chunk: &[u8], position: u32) {
        let chunk_end = u64::from(position) + chunk.len() as u64;
        let from = self.start.max(position);
        let to = (u64::from(self.start) + u64::from(self.length)).min(chunk_end);
        if u64::from(from) < to {
            let within = |at: u64| usize::try_from(at - u64::from(position)).unwrap_or(usize::MAX);
            if let Some(part) = chunk.get(within(u64::from(from))..within(to)) {
                self.value.bytes.extend_from_slice(part);
            }
        }
    }
}

impl Values {
    /// The bytes of a binary value.
    pub fn binary(&self, tag: u32) -> Result<Option<&[u8]>, HeaderError> {
        Ok(self
            .of_kind(tag, &[kind::BINARY])?
            .map(|value| value.bytes.as_slice()))
    }

    /// A number, when there is exactly one.
    pub fn int32(&self, tag: u32) -> Result<Option<u32>, HeaderError> {
        let Some(value) = self.of_kind(tag, &[kind::INT32])? else {
            return Ok(None);
        };
        if value.count != 1 {
            let why = "it is not one number";
            return Err(HeaderError::Value { tag, why });
        }
        Ok(Some(number(&value.bytes)))
    }

    /// The texts of a value, one or several.
    pub fn texts(&self, tag: u32) -> Result<Vec<&str>, HeaderError> {
        let Some(value) = self.of_kind(tag, &[kind::STRING, kind::STRINGS])? else {
            return Ok(Vec::new());
        };
        let mut texts = Vec::new();
        let mut rest = value.bytes.as_slice();
        for _ in 0..value.count {
            let end = rest.iter().position(|byte| *byte == 0);
            let why = "it does not end, or is too long";
            let end = end.ok_or(HeaderError::Value { tag, why })?;
            let why = "it is not text";
            let text = std::str::from_utf8(&rest[..end]);
            texts.push(text.map_err(|_| HeaderError::Value { tag, why })?);
            rest = &rest[end + 1..];
        }
        Ok(texts)
    }

    fn of_kind(&self, tag: u32, kinds: &[u32]) -> Result<Option<&Value>, HeaderError> {
        match self.0.get(&tag) {
            Some(value) if !kinds.contains(&value.kind) => Err(HeaderError::Type {
                tag,
                kind: value.kind,
            }),
            value => Ok(value),
        }
    }
}
