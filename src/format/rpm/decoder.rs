//! Converts XML from ISO-8859-1 to UTF-8.
//!
//! Clients decode what an index declares, and some vendors' tools declare ISO-8859-1. If several
//! indexes are merged, single invalid bytes are decoded as well: libsolv stops silently there, and
//! the data of other sources would be lost.

use std::io::{self, BufRead};

/// A declaration has some 60 bytes.
const DECLARATION_LIMIT: usize = 256;
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Values of `encoding` for ISO-8859-1, in lowercase.
pub(super) const LATIN_1: [&str; 4] = ["iso-8859-1", "iso8859-1", "iso_8859-1", "latin1"];

/// What follows the bytes that were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    MayCome,
    None,
}

impl Rest {
    /// After a read that gave so many bytes.
    pub(super) fn after(read: usize) -> Self {
        if read > 0 { Self::MayCome } else { Self::None }
    }
}

pub(super) struct Decoder<'a> {
    text: &'a mut dyn BufRead,
    encoding: Encoding,
    /// Whether invalid UTF-8 is decoded too.
    any_bytes: bool,
    /// Bytes that are not decoded yet: an incomplete character, or the beginning of the text.
    taken: Vec<u8>,
    shown: Vec<u8>,
    /// How much of it was consumed.
    consumed: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    /// The declaration has not been read yet.
    Unknown,
    Utf8,
    Latin1,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(text: &'a mut dyn BufRead) -> Self {
        Self {
            text,
            encoding: Encoding::Unknown,
            any_bytes: false,
            taken: Vec::new(),
            shown: Vec::new(),
            consumed: 0,
        }
    }

    pub(super) fn decode_invalid_utf8(&mut self) {
        self.any_bytes = true;
    }

    /// Whether decoding is not needed (any more) and no decoded bytes are left.
    fn is_plain(&self) -> bool {
        self.encoding == Encoding::Utf8
            && !self.any_bytes
            && self.taken.is_empty()
            && self.consumed == self.shown.len()
    }

    /// Reads the buffer of the inner reader.
    fn take(&mut self) -> io::Result<Rest> {
        let available = self.text.fill_buf()?;
        let length = available.len();
        self.taken.extend_from_slice(available);
        self.text.consume(length);
        Ok(Rest::after(length))
    }

    /// Refills the buffer when all of it is consumed.
    fn fill(&mut self) -> io::Result<()> {
        while self.consumed == self.shown.len() {
            self.shown.clear();
            self.consumed = 0;
            let mut rest = self.take()?;
            while self.encoding == Encoding::Unknown {
                match declared(&self.taken, rest) {
                    Some(encoding) => self.encoding = encoding,
                    None => rest = self.take()?,
                }
            }
            if self.taken.is_empty() {
                break;
            }
            self.show(rest);
        }
        Ok(())
    }

    fn show(&mut self, rest: Rest) {
        let taken = std::mem::take(&mut self.taken);
        match self.encoding {
            Encoding::Latin1 => decode(&taken, &mut self.shown),
            _ if !self.any_bytes => self.shown = taken,
            _ => {
                for chunk in taken.utf8_chunks() {
                    self.shown.extend_from_slice(chunk.valid().as_bytes());
                    let invalid = chunk.invalid();
                    let is_last =
                        std::ptr::eq(invalid.as_ptr_range().end, taken.as_ptr_range().end);
                    // The character may be incomplete.
                    let may_go_on = std::str::from_utf8(invalid)
                        .is_err_and(|error| error.error_len().is_none());
                    if is_last && rest == Rest::MayCome && may_go_on {
                        self.taken = invalid.to_vec();
                        return;
                    }
                    decode(invalid, &mut self.shown);
                }
            }
        }
    }
}

/// The encoding declared at the beginning of a text; `None` if more bytes are needed.
fn declared(start: &[u8], rest: Rest) -> Option<Encoding> {
    const BEGINNING: &[u8] = b"<?xml";
    let text = start.strip_prefix(BYTE_ORDER_MARK).unwrap_or(start);
    let common = text.len().min(BEGINNING.len());
    if text[..common] != BEGINNING[..common] {
        let may_be_a_mark = BYTE_ORDER_MARK.starts_with(start) && rest == Rest::MayCome;
        return (!may_be_a_mark).then_some(Encoding::Utf8);
    }
    let end = text.windows(2).position(|two| two == b"?>");
    let Some(end) = end else {
        let is_enough = rest == Rest::None || text.len() > DECLARATION_LIMIT;
        return is_enough.then_some(Encoding::Utf8);
    };
    let declaration = String::from_utf8_lossy(&text[..end]).to_ascii_lowercase();
    let value = declaration.split_once("encoding").map(|(_, rest)| rest);
    let value = value.map(|rest| rest.trim_start().trim_start_matches('=').trim());
    let value = value.and_then(|rest| {
        let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        rest[1..].split(quote).next()
    });
    Some(match value {
        Some(value) if LATIN_1.contains(&value) => Encoding::Latin1,
        _ => Encoding::Utf8,
    })
}

/// Every byte of ISO-8859-1 is the character of its number.
fn decode(bytes: &[u8], out: &mut Vec<u8>) {
    for &byte in bytes {
        let mut utf8 = [0; 2];
        out.extend_from_slice(char::from(byte).encode_utf8(&mut utf8).as_bytes());
    }
}

impl io::Read for Decoder<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        crate::format::members::read_buffered(self, into)
    }
}

impl BufRead for Decoder<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.is_plain() {
            return self.text.fill_buf();
        }
        self.fill()?;
        Ok(&self.shown[self.consumed..])
    }

    fn consume(&mut self, amount: usize) {
        if self.consumed < self.shown.len() {
            self.consumed = (self.consumed + amount).min(self.shown.len());
        } else {
            self.text.consume(amount);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Read as _};

    use super::*;

    fn decoded(bytes: &[u8], size: usize) -> Vec<u8> {
        let mut text = BufReader::with_capacity(size, bytes);
        all_of(Decoder::new(&mut text))
    }

    fn all_of(mut decoder: Decoder<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        decoder.read_to_end(&mut out).unwrap();
        out
    }

    #[test]
    fn what_is_declared_is_decoded_however_it_comes() {
        for size in [1, 2, 3, 7, 1000] {
            for encoding in ["ISO-8859-1", "iso8859-1", "Latin1"] {
                let start = format!("<?xml version='1.0' encoding = \"{encoding}\"?><a>");
                let text = [start.as_bytes(), b"M\xfcller</a>"].concat();
                let expected = format!("{start}M\u{fc}ller</a>");
                assert_eq!(decoded(&text, size), expected.as_bytes());
            }
            for text in [
                &b"<?xml version=\"1.0\" encoding=\"UTF-8\"?><a>M\xfcller</a>"[..],
                b"<?xml version=\"1.0\"?><a>iso-8859-1 \xfc</a>",
                b"<a>\xfc</a>",
                b"\xef\xbb\xbf<?xml version='1.0'?><a/>",
                b"\xef\xbb",
                b"<?x",
                b"",
            ] {
                assert_eq!(decoded(text, size), text, "{size}");
            }
        }
    }

    #[test]
    fn any_bytes_are_characters_where_that_is_asked_for() {
        for size in [1, 2, 3, 7, 1000] {
            let text = b"a\xfcb\xe2\x82\xacc\xe2\x82d\xf0\x9f";
            let expected = "a\u{fc}b\u{20ac}c\u{e2}\u{82}d\u{f0}\u{9f}";
            let mut text = BufReader::with_capacity(size, &text[..]);
            let mut decoder = Decoder::new(&mut text);
            decoder.decode_invalid_utf8();
            assert_eq!(all_of(decoder), expected.as_bytes(), "{size}");
        }
    }
}
