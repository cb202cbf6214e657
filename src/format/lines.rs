//! Lines of bounded length.

use std::io::{BufRead, Read};

use super::error::FormatError;

/// Reads the next line with its end into `line`, which is empty after the last one. Of a line that
/// is longer than `limit` bytes only `limit` + 1 are read, so that the caller can reject it. `file`
/// is for messages.
pub(super) fn read_line(
    file: &str,
    text: &mut dyn BufRead,
    limit: usize,
    line: &mut Vec<u8>,
) -> Result<(), FormatError> {
    line.clear();
    text.take(limit as u64 + 1)
        .read_until(b'\n', line)
        .map_err(|source| FormatError::Read {
            file: file.to_owned(),
            source,
        })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_with_its_end_the_text_or_behind_the_limit() {
        let mut text = &b"ab\n\nabcd\nx"[..];
        let mut line = Vec::new();
        for expected in [&b"ab\n"[..], b"\n", b"abcd", b"\n", b"x", b""] {
            read_line("x", &mut text, 3, &mut line).unwrap();
            assert_eq!(line, expected);
        }
    }
}
