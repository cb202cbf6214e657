//! What stands between an index's text and the XML reader: a limit for each event, a tape of what was read, and where it is asked
//! for, a stand-in for bytes that are not UTF-8.

use std::io::{self, BufRead, Read};
use std::ops::Range;

use super::decoded::Decoded;
use crate::format::members::read_buffered;

/// Ends in an error when one event takes more than its share: quick-xml would buffer a text node of any size.
pub(super) struct Metered<'a> {
    text: Decoded<'a>,
    left: usize,
    /// What one event may take, for messages.
    limit: usize,
    consumed: u64,
    pub(super) tape: Option<Tape>,
    stand_in: Option<StandIn>,
}

/// Shows bytes that are not UTF-8 as `?`, one for each: places in the text stay what they are. The tape has the bytes themselves.
#[derive(Default)]
struct StandIn {
    /// What was taken of the text, as it is and as it is shown. Of what is shown, the beginning of a character may be missing at
    /// the end: the rest of it is yet to come.
    taken: Vec<u8>,
    shown: Vec<u8>,
    /// How much of it was consumed.
    consumed: usize,
}

impl StandIn {
    /// Takes more of the text when everything that can be shown is consumed.
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
            let is_end = length == 0;
            self.show(is_end);
        }
        Ok(())
    }

    fn show(&mut self, is_end: bool) {
        for chunk in self.taken.utf8_chunks() {
            self.shown.extend_from_slice(chunk.valid().as_bytes());
            let shown = self.shown.len();
            let invalid = chunk.invalid().len();
            let is_last = shown + invalid == self.taken.len();
            // A character has up to four bytes, of which the first says how many.
            if is_last && !is_end && is_beginning(chunk.invalid()) {
                return;
            }
            self.shown.resize(shown + invalid, b'?');
        }
    }
}

/// Whether bytes could become a character with those that follow.
fn is_beginning(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

/// What was read, as far back as it is needed.
#[derive(Default)]
pub(super) struct Tape {
    bytes: Vec<u8>,
    /// Where in the text it begins.
    start: u64,
}

impl Tape {
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn forget_until(&mut self, position: u64) {
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

impl<'a> Metered<'a> {
    pub(super) fn new(text: &'a mut dyn BufRead, tape: Option<Tape>) -> Self {
        Self {
            text: Decoded::new(text),
            left: 0,
            limit: 0,
            consumed: 0,
            tape,
            stand_in: None,
        }
    }

    /// Makes characters of ISO-8859-1 of single bytes that are not UTF-8.
    pub(super) fn decode_any_bytes(&mut self) {
        self.text.decode_any_bytes();
    }

    /// Takes any bytes where there is text.
    pub(super) fn show_any_bytes(&mut self) {
        self.stand_in = Some(StandIn::default());
    }

    /// How far the text was read, in bytes. Between two events that is where one ends and the next begins; the XML reader's own
    /// count leaves out a byte order mark.
    pub(super) fn consumed(&self) -> u64 {
        self.consumed
    }

    /// What the next event may take, in bytes.
    pub(super) fn allow(&mut self, limit: usize) {
        self.left = limit;
        self.limit = limit;
    }
}

impl BufRead for Metered<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let available = match &mut self.stand_in {
            None => self.text.fill_buf()?,
            Some(stand_in) => {
                stand_in.fill(&mut self.text)?;
                &stand_in.shown[stand_in.consumed..]
            }
        };
        if self.left == 0 && !available.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "a tag or a piece of text is longer than {} bytes",
                    self.limit
                ),
            ));
        }
        let length = available.len().min(self.left);
        Ok(&available[..length])
    }

    fn consume(&mut self, amount: usize) {
        self.left = self.left.saturating_sub(amount);
        self.consumed += amount as u64;
        if let Some(stand_in) = &mut self.stand_in {
            let end = (stand_in.consumed + amount).min(stand_in.shown.len());
            if let Some(tape) = &mut self.tape {
                tape.bytes
                    .extend_from_slice(&stand_in.taken[stand_in.consumed..end]);
            }
            stand_in.consumed = end;
            return;
        }
        if let Some(tape) = &mut self.tape
            && let Ok(available) = self.text.fill_buf()
        {
            // What is consumed was in the buffer: filling it again reads nothing.
            tape.bytes
                .extend_from_slice(&available[..amount.min(available.len())]);
        }
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
            let mut metered = Metered::new(&mut text, Some(Tape::default()));
            metered.show_any_bytes();
            metered.allow(1 << 20);
            let mut shown = Vec::new();
            metered.read_to_end(&mut shown).unwrap();
            let mut expected = String::new();
            for chunk in bytes.utf8_chunks() {
                expected.push_str(chunk.valid());
                expected.push_str(&"?".repeat(chunk.invalid().len()));
            }
            prop_assert_eq!(String::from_utf8(shown).unwrap(), expected);
            let taped = metered.tape.as_ref().unwrap().read(0..bytes.len() as u64).to_vec();
            prop_assert_eq!(taped, bytes);
        }
    }
}
