//! Values in the elements of metadata: locations, digests, sizes.

use super::xml::Child;
use crate::digest::{Algorithm, Digest};
use crate::format::error::FormatError;
use crate::rel_path::{RelPath, RelPathError};

/// The location of a file in an element. `named_by` is for messages.
pub fn location(
    file: &str,
    named_by: &str,
    location: Option<&Child>,
) -> Result<RelPath, FormatError> {
    let path_error = |source| FormatError::Path {
        file: file.to_owned(),
        named_by: named_by.to_owned(),
        source,
    };
    let href = location.and_then(|location| location.attribute("href"));
    let href =
        href.ok_or_else(|| FormatError::malformed(file, format!("{named_by} has no location")))?;
    // It would move the file to another server, which must not be contacted, especially not with
    // credentials.
    match location.and_then(|location| location.attribute("xml:base")) {
        None | Some("") => RelPath::parse_named(href)
            .and_then(RelPath::visible)
            .map_err(path_error),
        Some(base) => Err(path_error(RelPathError::Url(base.to_owned()))),
    }
}

pub fn digest(file: &str, named_by: &str, checksum: Option<&Child>) -> Result<Digest, FormatError> {
    let algorithm = match checksum.and_then(|checksum| checksum.attribute("type")) {
        // The old name of SHA-1 in createrepo.
        Some("sha" | "sha1") => Some(Algorithm::Sha1),
        Some("sha256") => Some(Algorithm::Sha256),
        Some("sha384") => Some(Algorithm::Sha384),
        Some("sha512") => Some(Algorithm::Sha512),
        _ => None,
    };
    let (Some(algorithm), Some(checksum)) = (algorithm, checksum) else {
        return Err(FormatError::NoDigest {
            file: file.to_owned(),
            named_by: named_by.to_owned(),
        });
    };
    Digest::parse(algorithm, &checksum.text)
        .map_err(|error| FormatError::malformed(file, format!("{named_by}: {error}")))
}

/// A size in bytes; some tools write 0 for an unknown size.
pub fn size(
    file: &str,
    named_by: &str,
    what: &str,
    text: Option<&str>,
) -> Result<Option<u64>, FormatError> {
    Ok(number(file, named_by, what, text)?.filter(|size| *size > 0))
}

/// A size or a time, if present.
pub fn number<T: std::str::FromStr>(
    file: &str,
    named_by: &str,
    what: &str,
    text: Option<&str>,
) -> Result<Option<T>, FormatError> {
    text.map(|text| {
        text.parse().map_err(|_| {
            FormatError::malformed(file, format!("{named_by}: invalid {what} {text:?}"))
        })
    })
    .transpose()
}
