//! Values of fields, as text.

use crate::format::error::FormatError;

/// The value of a required field. `above` is the line before the stanza, to identify it in
/// messages.
pub fn required<'v>(
    file: &str,
    above: u64,
    field: &str,
    value: Option<&'v [u8]>,
) -> Result<&'v str, FormatError> {
    let value = value.ok_or_else(|| {
        FormatError::malformed(
            file,
            format!("the stanza after line {above} has no {field}"),
        )
    })?;
    text(file, field, value)
}

/// A field value as text.
pub fn text<'v>(file: &str, field: &str, value: &'v [u8]) -> Result<&'v str, FormatError> {
    std::str::from_utf8(value)
        .map_err(|_| FormatError::malformed(file, format!("{field} is not UTF-8")))
}
