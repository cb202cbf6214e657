//! Changes start tags, keeping the rest as written.

use std::collections::BTreeMap;

/// Turns the tag of an empty element into a start tag.
pub(super) fn as_start_tag(tag: &[u8]) -> Vec<u8> {
    match tag.strip_suffix(b"/>") {
        Some(start) => [start.trim_ascii_end(), b">"].concat(),
        None => tag.to_vec(),
    }
}

/// The tag with another value of an attribute, which is added if missing. `value` must not need
/// escaping.
pub(super) fn with_attribute(tag: &[u8], name: &str, value: &str) -> Vec<u8> {
    let written = format!("{name}=\"{value}\"");
    if let Some(place) = attribute(tag, name) {
        return [&tag[..place.start], written.as_bytes(), &tag[place.end..]].concat();
    }
    let end = tag.len() - 1 - usize::from(tag.ends_with(b"/>"));
    [&tag[..end], b" ", written.as_bytes(), &tag[end..]].concat()
}

/// The namespaces that a start tag declares, by the attribute's name (`xmlns:rpm`), with the value
/// as written.
pub(super) fn namespaces(tag: &[u8]) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut rest = tag;
    while let Some((name, value, after)) = next_attribute(rest) {
        if name == b"xmlns" || name.starts_with(b"xmlns:") {
            let name = String::from_utf8_lossy(name).into_owned();
            found.insert(name, String::from_utf8_lossy(value).into_owned());
        }
        rest = after;
    }
    found
}

/// Adds to an element that moves to another root the namespaces that the new root does not declare,
/// or declares differently.
pub(super) fn with_namespaces_declared(
    element: &[u8],
    from: &BTreeMap<String, String>,
    to: &BTreeMap<String, String>,
) -> Vec<u8> {
    let end = tag_end(element);
    let (tag, rest) = element.split_at(end);
    let mut tag = tag.to_vec();
    for (name, value) in from
        .iter()
        .filter(|(name, value)| to.get(*name) != Some(value))
    {
        if attribute(&tag, name).is_none() {
            tag = with_attribute(&tag, name, value);
        }
    }
    [&tag[..], rest].concat()
}

/// The length of the start tag of an element.
fn tag_end(element: &[u8]) -> usize {
    let mut quote = None;
    for (at, byte) in element.iter().enumerate() {
        match (quote, byte) {
            (None, b'"' | b'\'') => quote = Some(*byte),
            (None, b'>') => return at + 1,
            (Some(open), byte) if *byte == open => quote = None,
            _ => {}
        }
    }
    element.len()
}

/// The first attribute, its value without the quotes, and what follows.
fn next_attribute(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let start = text.iter().position(u8::is_ascii_whitespace)?;
    let text = text[start..].trim_ascii_start();
    let equals = text.iter().position(|byte| *byte == b'=')?;
    let (name, rest) = (text[..equals].trim_ascii_end(), &text[equals + 1..]);
    let open = rest.iter().position(|byte| matches!(byte, b'"' | b'\''))?;
    let length = rest[open + 1..]
        .iter()
        .position(|byte| *byte == rest[open])?;
    let value = &rest[open + 1..open + 1 + length];
    // Including the quote, before whitespace.
    Some((name, value, &rest[open + 1 + length..]))
}

/// The range of an attribute, with its name and quoted value.
fn attribute(tag: &[u8], name: &str) -> Option<std::ops::Range<usize>> {
    let mut at = tag.iter().position(u8::is_ascii_whitespace)?;
    loop {
        at += tag[at..]
            .iter()
            .position(|byte| !byte.is_ascii_whitespace())?;
        let equals = at + tag[at..].iter().position(|byte| *byte == b'=')?;
        let open = equals
            + 1
            + tag[equals + 1..]
                .iter()
                .position(|byte| matches!(byte, b'"' | b'\''))?;
        let close = open + 1 + tag[open + 1..].iter().position(|byte| *byte == tag[open])?;
        if tag[at..equals].trim_ascii_end() == name.as_bytes() {
            return Some(at..close + 1);
        }
        at = close + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_attribute_changes() {
        for (tag, expected) in [
            ("<m packages=\"9\">", "<m packages=\"5\">"),
            (
                "<m x='packages=1' packages = '9' y=\"\">",
                "<m x='packages=1' packages=\"5\" y=\"\">",
            ),
            ("<m>", "<m packages=\"5\">"),
            ("<m xpackages='1'>", "<m xpackages='1' packages=\"5\">"),
        ] {
            let tag = with_attribute(tag.as_bytes(), "packages", "5");
            assert_eq!(String::from_utf8(tag).unwrap(), expected);
        }
        assert_eq!(as_start_tag(b"<m a='/>' />"), b"<m a='/>'>");
    }

    #[test]
    fn an_element_keeps_its_namespaces() {
        let from = namespaces(b"<m xmlns=\"a\" xmlns:rpm='r'  xmlns:s=\"s\" packages=\"1\">");
        assert_eq!(from.len(), 3);
        let to = namespaces(b"<m xmlns=\"a\" xmlns:rpm=\"other\">");
        assert_eq!(
            String::from_utf8(with_namespaces_declared(
                b"<p a='>'><rpm:x/></p>",
                &from,
                &to
            ))
            .unwrap(),
            "<p a='>' xmlns:rpm=\"r\" xmlns:s=\"s\"><rpm:x/></p>"
        );
        assert_eq!(with_namespaces_declared(b"<p/>", &from, &from), b"<p/>");
        assert_eq!(as_start_tag(b"<m>"), b"<m>");
    }
}
