//! Where the records of a new index go.

use std::cell::Cell;
use std::io::Write;

use crate::format::{FormatError, not_written};

/// Where an index is written to, and what it is called in messages.
pub(super) struct RecordWriter<'o> {
    pub(super) name: &'o str,
    pub(super) file: &'o mut dyn Write,
    /// How many records were written.
    pub(super) count: &'o Cell<u64>,
}

impl RecordWriter<'_> {
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), FormatError> {
        self.file
            .write_all(bytes)
            .map_err(|source| not_written(self.name, source))
    }

    /// Notes that a record was written.
    pub(super) fn count_record(&self) {
        self.count.set(self.count.get() + 1);
    }

    /// A stanza, its end and the blank line behind it.
    pub(super) fn write_stanza(&mut self, stanza: &[u8]) -> Result<(), FormatError> {
        self.count_record();
        self.write(stanza)?;
        self.write(if stanza.ends_with(b"\n") {
            b"\n"
        } else {
            b"\n\n"
        })
    }
}
