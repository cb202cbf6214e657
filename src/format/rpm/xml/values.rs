//! The values of attributes and references, and errors without untrusted input of any length.

use std::io;

use quick_xml::XmlVersion;
use quick_xml::events::{BytesRef, BytesStart};

use crate::format::error::FormatError;

const ATTRIBUTES_LIMIT: usize = 64;

pub(super) fn attributes(
    file: &str,
    start: &BytesStart,
) -> Result<Vec<(String, String)>, FormatError> {
    let mut all = Vec::new();
    for attribute in start.attributes() {
        if all.len() == ATTRIBUTES_LIMIT {
            return Err(FormatError::malformed(
                file,
                format!("an element has more than {ATTRIBUTES_LIMIT} attributes"),
            ));
        }
        let attribute = attribute.map_err(|error| xml_error(file, &error.into()))?;
        let value = attribute
            .normalized_value(XmlVersion::Implicit1_0)
            .map_err(|error| xml_error(file, &error))?;
        all.push((attribute.key.0.to_owned(), value.into_owned()));
    }
    Ok(all)
}

/// The text of a reference, in `utf8` for a character number.
pub(super) fn resolve<'u>(
    file: &str,
    reference: &BytesRef,
    utf8: &'u mut [u8; 4],
) -> Result<&'u str, FormatError> {
    let character = reference
        .resolve_char_ref()
        .map_err(|error| xml_error(file, &error))?;
    match character {
        Some(character) => Ok(character.encode_utf8(utf8)),
        None => quick_xml::escape::resolve_predefined_entity(reference).ok_or_else(|| {
            let name = shortened(reference);
            FormatError::malformed(file, format!("unknown entity &{name};"))
        }),
    }
}

pub(super) fn xml_error(file: &str, error: &quick_xml::Error) -> FormatError {
    match error {
        quick_xml::Error::Io(source) => FormatError::Read {
            file: file.to_owned(),
            source: io::Error::new(source.kind(), source.to_string()),
        },
        // The crate reports positions in its buffer, which vary.
        quick_xml::Error::Encoding(_) => FormatError::malformed(file, "not UTF-8"),
        // The messages of the crate may contain input.
        other => malformed_xml(file, &shortened(&other.to_string())),
    }
}

pub(super) fn malformed_xml(file: &str, what: &str) -> FormatError {
    FormatError::malformed(file, format!("not well-formed XML: {what}"))
}

/// Untrusted text, shortened for a message.
pub(super) fn shortened(text: &str) -> String {
    text.chars()
        .take(120)
        .flat_map(char::escape_debug)
        .collect()
}
