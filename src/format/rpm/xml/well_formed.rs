//! Checks of well-formedness that quick-xml does not do: elements are copied into files that
//! chantal signs, and libxml2 and expat reject a whole file for a single error.

use quick_xml::XmlVersion;
use quick_xml::events::BytesStart;

use super::values::{malformed_xml, shortened, xml_error};
use crate::format::error::FormatError;

/// A start tag and all of its attributes.
pub(super) fn check_tag(file: &str, tag: &BytesStart) -> Result<(), FormatError> {
    check_name(file, tag.name().0)?;
    for attribute in tag.attributes() {
        let attribute = attribute.map_err(|error| xml_error(file, &error.into()))?;
        let name = attribute.key.0;
        check_name(file, name)?;
        if attribute.value.contains('<') {
            let name = shortened(name);
            return Err(malformed_xml(file, &format!("< in the attribute {name}")));
        }
        let value = attribute
            .normalized_value(XmlVersion::Implicit1_0)
            .map_err(|error| xml_error(file, &error))?;
        check_characters(file, &value)?;
    }
    Ok(())
}

/// A piece of text between tags, before references in it are replaced.
pub(super) fn check_text(file: &str, text: &str) -> Result<(), FormatError> {
    if text.contains("]]>") {
        return Err(malformed_xml(file, "]]> in a text"));
    }
    check_characters(file, text)
}

/// XML 1.0 does not allow control characters except tab and line breaks, even as references.
pub(super) fn check_characters(file: &str, text: &str) -> Result<(), FormatError> {
    // Most texts are ASCII, for which checking bytes is faster than checking characters.
    let is_suspect =
        |byte: u8| (byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r')) || byte == 0xef;
    if !text.bytes().any(is_suspect) {
        return Ok(());
    }
    let is_bad = |char: char| {
        (char < ' ' && !matches!(char, '\t' | '\n' | '\r'))
            || matches!(char, '\u{fffe}' | '\u{ffff}')
    };
    match text.chars().find(|char| is_bad(*char)) {
        Some(char) => Err(malformed_xml(
            file,
            &format!("the control character U+{:04X}", u32::from(char)),
        )),
        None => Ok(()),
    }
}

fn check_name(file: &str, name: &str) -> Result<(), FormatError> {
    let is_letter =
        |char: char| char.is_ascii_alphabetic() || matches!(char, '_' | ':') || !char.is_ascii();
    let is_further =
        |char: char| is_letter(char) || char.is_ascii_digit() || matches!(char, '-' | '.');
    if name.starts_with(is_letter) && name.chars().all(is_further) {
        return Ok(());
    }
    let name = shortened(name);
    Err(malformed_xml(file, &format!("the name {name:?}")))
}
