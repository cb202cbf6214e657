//! Reads an index: decompressed, and compared with the root.

use std::io::BufRead;

use super::compression;
use super::error::FormatError;
use super::index::Variant;

/// Decompresses one file of the index `name` for `read`, and compares the content with the root.
///
/// The result of `read` is returned only if the whole content is valid. The part that `read` does
/// not read is verified as well.
pub fn read_text<T, E: From<FormatError>>(
    name: &str,
    variant: &Variant,
    packed: impl BufRead,
    read: impl FnOnce(&mut dyn BufRead) -> Result<T, E>,
) -> Result<T, E> {
    if let Some((_, suffix)) = compression::split_foreign(variant.path.as_str()) {
        let error = FormatError::Compression {
            file: variant.path.to_string(),
            name: name.to_owned(),
            found: vec![suffix.to_owned()],
        };
        return Err(error.into());
    }
    let opened = compression::IndexText::open(variant.compression, variant.open, packed);
    let mut text = opened.map_err(|source| FormatError::Read {
        file: name.to_owned(),
        source,
    })?;
    let made = read(&mut text)?;
    text.verify()
        .map_err(|error| FormatError::malformed(name, error.to_string()))?;
    Ok(made)
}
