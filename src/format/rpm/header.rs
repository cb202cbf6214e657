//! The header structure of RPM packages: an index of tags, and their data. A package has two: the
//! signature header, which is not signed, and the main header, which is.
//!
//! ```text
//! 8e ad e8 01  00 00 00 00   entries (u32)   bytes of data (u32)
//! entries x { tag, type, offset into the data, count }   (u32 each, big endian)
//! data
//! ```
//!
//! It is read once, sequentially, and only the requested values are kept: headers of real packages
//! can have tens of megabytes. Sizes in the header are not trusted for allocations, and every
//! offset is checked.

use std::collections::BTreeMap;
use std::io::{self, Read};

const MAGIC: [u8; 8] = [0x8e, 0xad, 0xe8, 0x01, 0, 0, 0, 0];
/// The largest value that is kept: a dozen signatures.
const VALUE_LIMIT: u32 = 64 * 1024;

/// Tags for the region of a header that is signed; `HEADERIMAGE`, `HEADERSIGNATURES`,
/// `HEADERIMMUTABLE`.
const FIRST_REGION: u32 = 61;
const LAST_REGION: u32 = 63;

/// Limits of a header, the same as in rpm.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub entries: u32,
    /// In bytes.
    pub data: u32,
}

/// The requested values, by tag.
#[derive(Debug, Default)]
pub struct Values(BTreeMap<u32, Value>);

#[derive(Debug)]
struct Value {
    kind: u32,
    count: u32,
    /// Bytes from the offset of the value; for texts possibly more than the value.
    bytes: Vec<u8>,
}

/// A value that has not been reached yet.
struct Wanted {
    tag: u32,
    /// In the data, in bytes.
    start: u32,
    length: u32,
    value: Value,
}

#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    #[error("wrong magic number")]
    Magic,
    #[error("{got} {what}, limit {limit}")]
    TooLarge {
        what: &'static str,
        got: u32,
        limit: u32,
    },
    #[error("duplicate tag {tag}")]
    Twice { tag: u32 },
    #[error("tag {tag} points outside of the data")]
    Outside { tag: u32 },
    #[error("tag {tag} has the wrong type {kind}")]
    Type { tag: u32, kind: u32 },
    #[error("tag {tag} has an invalid value: {why}")]
    Value { tag: u32, why: &'static str },
    #[error("the file is truncated")]
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

/// The types used here.
mod kind {
    pub const INT32: u32 = 4;
    pub const STRING: u32 = 6;
    pub const BINARY: u32 = 7;
    pub const STRINGS: u32 = 8;
    /// A text in several languages.
    pub const TRANSLATED: u32 = 9;
}

/// Reads a header and keeps the values of some tags. All bytes are passed to `passing`. Also
/// returns the length of the data in bytes.
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
    let mut previous_end = 0;
    for _ in 0..entries {
        let mut entry = [0; 16];
        reader.read_exact(&mut entry)?;
        passing(&entry);
        let tag = number(&entry);
        previous_end = check_entry(&entry, previous_end, size)?;
        if !wanted.contains(&tag) {
            continue;
        }
        // Readers could disagree about which of two values is valid.
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

/// Rejects an entry that rpm would reject, requested or not: it must have a known type, be aligned,
/// within the data, and after the previous entry. Returns the minimum end.
fn check_entry(entry: &[u8; 16], previous_end: u32, size: u32) -> Result<u32, HeaderError> {
    let tag = number(entry);
    let kind = number(&entry[4..]);
    let start = number(&entry[8..]);
    let count = number(&entry[12..]);
    let (alignment, least) = match kind {
        // Characters and bytes, and terminated texts.
        1 | 2 | kind::STRING | kind::BINARY | kind::STRINGS | kind::TRANSLATED => (1, Some(count)),
        3 => (2, count.checked_mul(2)),
        kind::INT32 => (4, count.checked_mul(4)),
        5 => (8, count.checked_mul(8)),
        _ => return Err(HeaderError::Type { tag, kind }),
    };
    let end = least.and_then(|least| start.checked_add(least));
    let end = end.filter(|end| *end <= size);
    let end = end.ok_or(HeaderError::Outside { tag })?;
    let why = if count == 0 {
        "no value"
    } else if !start.is_multiple_of(alignment) {
        "data not aligned"
    } else if (FIRST_REGION..=LAST_REGION).contains(&tag) {
        // The trailer of the region is at the end of the data.
        return Ok(previous_end);
    } else if start < previous_end {
        "data overlaps with another tag"
    } else {
        return Ok(end);
    };
    Err(HeaderError::Value { tag, why })
}

/// The big-endian number at the start of some bytes.
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
            // The end of a text is known only from its data.
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

    /// Copies the part of the value from data at a position.
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

    /// The number, if there is exactly one.
    pub fn int32(&self, tag: u32) -> Result<Option<u32>, HeaderError> {
        let Some(value) = self.of_kind(tag, &[kind::INT32])? else {
            return Ok(None);
        };
        if value.count != 1 {
            let why = "not a single number";
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
            let why = "unterminated or too long";
            let end = end.ok_or(HeaderError::Value { tag, why })?;
            let why = "not text";
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits {
        entries: 8,
        data: 200_000,
    };

    /// (tag, type, offset, count)
    fn header(entries: &[[u32; 4]], data: &[u8]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        let number = |length: usize| u32::try_from(length).unwrap().to_be_bytes();
        bytes.extend(number(entries.len()));
        bytes.extend(number(data.len()));
        bytes.extend(entries.iter().flatten().flat_map(|part| part.to_be_bytes()));
        bytes.extend(data);
        bytes
    }

    fn read_wanted(mut bytes: &[u8]) -> Result<Values, HeaderError> {
        read(&mut bytes, LIMITS, &[1, 2, 3], &mut |_| ()).map(|(values, _)| values)
    }

    fn error(bytes: &[u8]) -> String {
        read_wanted(bytes).unwrap_err().to_string()
    }

    #[test]
    fn wanted_values_are_kept_and_all_bytes_pass() {
        let long = vec![7; 150_000];
        let data = [
            b"one\0two\0\0...".as_slice(),
            &[0, 0, 0, 9],
            &long,
            b"end\0",
        ]
        .concat();
        let end = u32::try_from(data.len() - 4).unwrap();
        let bytes = header(
            &[
                [1, kind::STRINGS, 0, 3],
                [2, kind::INT32, 12, 1],
                [9, kind::BINARY, 16, 1000],
                [3, kind::STRING, end, 1],
            ],
            &data,
        );
        let mut passed = Vec::new();
        let file = [&bytes[..], b"payload"].concat();
        let mut rest = &file[..];
        let (values, size) = read(&mut rest, LIMITS, &[1, 2, 3, 4], &mut |part| {
            passed.extend_from_slice(part);
        })
        .unwrap();
        assert_eq!(passed, bytes);
        assert_eq!(rest, b"payload");
        assert_eq!(size as usize, data.len());
        assert_eq!(values.texts(1).unwrap(), ["one", "two", ""]);
        assert_eq!(values.int32(2).unwrap(), Some(9));
        assert_eq!(values.texts(3).unwrap(), ["end"]);
        assert_eq!(values.binary(4).unwrap(), None);
        assert!(values.texts(4).unwrap().is_empty());
    }

    #[test]
    fn a_value_may_lie_across_what_is_read_at_once() {
        let mut data = vec![0; 140_000];
        data[65_530..65_542].copy_from_slice(b"twelve bytes");
        let bytes = header(&[[1, kind::BINARY, 65_530, 12]], &data);
        let values = read_wanted(&bytes).unwrap();
        assert_eq!(values.binary(1).unwrap(), Some(&b"twelve bytes"[..]));
    }

    #[test]
    fn what_is_broken_is_refused() {
        let good = header(&[[1, kind::STRING, 0, 1]], b"x\0");
        assert!(read_wanted(&good).is_ok());
        for end in 0..good.len() {
            assert_eq!(error(&good[..end]), "the file is truncated");
        }
        let mut other = good.clone();
        other[3] = 2;
        assert_eq!(error(&other), "wrong magic number");
        for (entries, data, expected) in [
            (vec![[5, 4, 0, 0]; 9], 0, "9 entries, limit 8"),
            (vec![], 200_001, "200001 bytes of data, limit 200000"),
            (vec![[1, 6, 0, 1], [1, 6, 1, 1]], 2, "duplicate tag 1"),
            (
                vec![[8, 6, 0, 2], [9, 6, 1, 1]],
                4,
                "tag 9 has an invalid value: data overlaps with another tag",
            ),
            (
                vec![[9, 4, 2, 1]],
                8,
                "tag 9 has an invalid value: data not aligned",
            ),
            (
                vec![[9, 7, 0, 0]],
                8,
                "tag 9 has an invalid value: no value",
            ),
            (vec![[9, 8, 4, 5]], 8, "tag 9 points outside of the data"),
            (vec![[9, 10, 0, 1]], 8, "tag 9 has the wrong type 10"),
            (vec![[1, 6, 2, 1]], 1, "tag 1 points outside of the data"),
            (vec![[1, 7, 0, 2]], 1, "tag 1 points outside of the data"),
            (
                vec![[1, 4, 0, u32::MAX]],
                1,
                "tag 1 points outside of the data",
            ),
            (vec![[1, 9, 0, 1]], 1, "tag 1 has the wrong type 9"),
            (
                vec![[1, 7, 0, 65_537]],
                100_000,
                "65537 bytes in one value, limit 65536",
            ),
        ] {
            assert_eq!(error(&header(&entries, &vec![0; data])), expected);
        }
    }

    #[test]
    fn values_of_another_kind_are_refused() {
        let bytes = header(
            &[
                [1, kind::STRINGS, 0, 1],
                [2, kind::INT32, 4, 2],
                [3, kind::STRING, 12, 1],
            ],
            b"\xfe\0..8 bytes.\xff\0",
        );
        let values = read_wanted(&bytes).unwrap();
        for (got, expected) in [
            (
                values.texts(1).map(drop),
                "tag 1 has an invalid value: not text",
            ),
            (
                values.int32(2).map(drop),
                "tag 2 has an invalid value: not a single number",
            ),
            (
                values.texts(3).map(drop),
                "tag 3 has an invalid value: not text",
            ),
            (values.binary(1).map(drop), "tag 1 has the wrong type 8"),
            (values.texts(2).map(drop), "tag 2 has the wrong type 4"),
        ] {
            assert_eq!(got.unwrap_err().to_string(), expected);
        }
        let endless = header(&[[1, kind::STRINGS, 0, 3]], b"a\0b");
        assert_eq!(
            read_wanted(&endless)
                .unwrap()
                .texts(1)
                .unwrap_err()
                .to_string(),
            "tag 1 has an invalid value: unterminated or too long"
        );
    }

    proptest! {
        /// Whatever comes, nothing panics and what is kept lies within the data.
        #[test]
        fn nothing_panics(
            entries in prop::collection::vec(
                (0..4_u32, 0..10_u32, 0..80_u32, prop_oneof![0..80_u32, any::<u32>()]),
                0..8,
            ),
            data in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            let entries: Vec<_> = entries.into_iter().map(|(a, b, c, d)| [a, b, c, d]).collect();
            if let Ok(values) = read_wanted(&header(&entries, &data)) {
                for tag in 1..4 {
                    let _ = values.texts(tag);
                    let _ = values.int32(tag);
                    prop_assert!(values.binary(tag).ok().flatten().is_none_or(|v| v.len() <= data.len()));
                }
            }
        }
    }
}
