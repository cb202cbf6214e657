//! Writes the records of a new index.

use std::cell::Cell;
use std::io::Write;

use crate::format::error::{FormatError, not_written};

/// The output and the name of an index.
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

    /// Counts a written record.
    pub(super) fn count_record(&self) {
        self.count.set(self.count.get() + 1);
    }

    /// Writes a stanza and the blank line after it.
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
