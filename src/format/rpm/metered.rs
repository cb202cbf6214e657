//! What stands between an index's text and the XML reader: a limit for each event, and a tape of what was read.

use std::io::{self, BufRead, Read};
use std::ops::Range;

use crate::format::compression::read_buffered;

/// Ends in an error when one event takes more than its share: quick-xml would buffer a text node of any size.
pub(super) struct Metered<'a> {
    text: &'a mut dyn BufRead,
    left: usize,
    /// What one event may take, for messages.
    limit: usize,
    consumed: u64,
    pub(super) tape: Option<Tape>,
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
            text,
            left: 0,
            limit: 0,
            consumed: 0,
            tape,
        }
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
        let available = self.text.fill_buf()?;
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
