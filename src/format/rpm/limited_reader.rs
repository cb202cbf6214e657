//! Readers between the text of an index and the XML reader: a limit for each event, a recorder of
//! the bytes read, and optionally a replacement of invalid UTF-8.

use std::io::{self, BufRead, Read};
use std::ops::Range;

use super::decoder::{Decoder, Rest};
use crate::format::members::read_buffered;

/// Fails if an event is too large: quick-xml would buffer a text node of any size.
pub(super) struct LimitedReader<'a> {
    text: Decoder<'a>,
    left: usize,
    /// The limit of an event, for messages.
    limit: usize,
    consumed: u64,
    pub(super) recorder: Option<Recorder>,
    substitute: Option<Utf8Substitute>,
}

/// Replaces each invalid byte by `?`, so that positions in the text stay the same. The recorder has
/// the original bytes.
#[derive(Default)]
struct Utf8Substitute {
    /// The bytes read, original and replaced. An incomplete character at the end is held back.
    taken: Vec<u8>,
    shown: Vec<u8>,
    /// How much of it was consumed.
    consumed: usize,
}

impl Utf8Substitute {
    /// Reads more when everything is consumed.
    fn fill(&mut self, text: &mut dyn BufRead) -> io::Result<()> {
        while self.consumed == self.shown.len() {
            self.taken.drain(..self.consumed);
            self.shown.clear();
            self.consumed = 0;
            let available = text.fill_buf()?;
            let length = available.len();
            self.taken.extend_from_slice(available);
            text.consume(length);
            if self.taken.is_empty() {
                break;
            }
            self.show(Rest::after(length));
        }
        Ok(())
    }

    fn show(&mut self, rest: Rest) {
        for chunk in self.taken.utf8_chunks() {
            self.shown.extend_from_slice(chunk.valid().as_bytes());
            let shown = self.shown.len();
            let invalid = chunk.invalid().len();
            let is_last = shown + invalid == self.taken.len();
            // A character has up to four bytes, of which the first says how many.
            if is_last && rest == Rest::MayCome && is_beginning(chunk.invalid()) {
                return;
            }
            self.shown.resize(shown + invalid, b'?');
        }
    }
}

/// Whether bytes are the beginning of a valid character.
fn is_beginning(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

/// The recorded bytes, as far back as needed.
#[derive(Default)]
pub(super) struct Recorder {
    bytes: Vec<u8>,
    /// The position of the first recorded byte in the text.
    start: u64,
}

impl Recorder {
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn discard_until(&mut self, position: u64) {
        let gone = usize::try_from(position.saturating_sub(self.start)).unwrap_or(usize::MAX);
        self.bytes.drain(..gone.min(self.bytes.len()));
        self.start = self.start.max(position);
    }

    pub(super) fn read(&self, span: Range<u64>) -> &[u8] {
        let at = |position: u64| usize::try_from(position.saturating_sub(self.start)).ok();
        at(span.start)
            .zip(at(span.end))
            .and_then(|(start, end)| self.bytes.get(start..end))
            .unwrap_or_default()
    }
}

impl<'a> LimitedReader<'a> {
    pub(super) fn new(text: &'a mut dyn BufRead, recorder: Option<Recorder>) -> Self {
        Self {
            text: Decoder::new(text),
            left: 0,
            limit: 0,
            consumed: 0,
            recorder,
            substitute: None,
        }
    }

    /// Decodes invalid bytes as ISO-8859-1.
    pub(super) fn decode_invalid_utf8(&mut self) {
        self.text.decode_invalid_utf8();
    }

    /// Accepts any bytes in texts.
    pub(super) fn substitute_invalid_utf8(&mut self) {
        self.substitute = Some(Utf8Substitute::default());
    }

    /// The position in the text, in bytes: between two events, the boundary between them. The
    /// position of the XML reader does not include a byte order mark.
    pub(super) fn consumed(&self) -> u64 {
        self.consumed
    }

    /// Sets the limit of the next event, in bytes.
    pub(super) fn allow(&mut self, limit: usize) {
        self.left = limit;
        self.limit = limit;
    }
}

impl BufRead for LimitedReader<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let available = match &mut self.substitute {
            None => self.text.fill_buf()?,
            Some(substitute) => {
                substitute.fill(&mut self.text)?;
                &substitute.shown[substitute.consumed..]
            }
        };
        if self.left == 0 && !available.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("a tag or text exceeds {} bytes", self.limit),
            ));
        }
        let length = available.len().min(self.left);
        Ok(&available[..length])
    }

    fn consume(&mut self, amount: usize) {
        self.left = self.left.saturating_sub(amount);
        self.consumed += amount as u64;
        if let Some(substitute) = &mut self.substitute {
            let end = (substitute.consumed + amount).min(substitute.shown.len());
            if let Some(recorder) = &mut self.recorder {
                recorder
                    .bytes
                    .extend_from_slice(&substitute.taken[substitute.consumed..end]);
            }
            substitute.consumed = end;
            return;
        }
        if let Some(recorder) = &mut self.recorder
            && let Ok(available) = self.text.fill_buf()
        {
            // The consumed bytes are in the buffer: `fill_buf` does not read here.
            recorder
                .bytes
                .extend_from_slice(&available[..amount.min(available.len())]);
        }
        self.text.consume(amount);
    }
}

impl Read for LimitedReader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        read_buffered(self, into)
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_shown_in_their_places(
            pieces in prop::collection::vec(
                prop_oneof![Just(&b"a"[..]), Just("\u{fc}".as_bytes()), Just("\u{20ac}".as_bytes()),
                    Just("\u{1f600}".as_bytes()), Just(&b"\xfc"[..]), Just(&b"\xe2\x82"[..]), Just(&b"\xf0\x9f"[..])],
                0..40,
            ),
            size in 1usize..8,
        ) {
            let bytes = pieces.concat();
            let mut text = BufReader::with_capacity(size, &bytes[..]);
            let mut limited = LimitedReader::new(&mut text, Some(Recorder::default()));
            limited.substitute_invalid_utf8();
            limited.allow(1 << 20);
            let mut shown = Vec::new();
            limited.read_to_end(&mut shown).unwrap();
            let mut expected = String::new();
            for chunk in bytes.utf8_chunks() {
                expected.push_str(chunk.valid());
                expected.push_str(&"?".repeat(chunk.invalid().len()));
            }
            prop_assert_eq!(String::from_utf8(shown).unwrap(), expected);
            let recorded = limited.recorder.as_ref().unwrap().read(0..bytes.len() as u64).to_vec();
            prop_assert_eq!(recorded, bytes);
        }
    }
}
