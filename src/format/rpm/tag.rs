//! Start tags as they are written, changed in one place.

/// The tag of an element that has content, also where it had none.
pub(super) fn opened(tag: &[u8]) -> Vec<u8> {
    match tag.strip_suffix(b"/>") {
        Some(start) => [start.trim_ascii_end(), b">"].concat(),
        None => tag.to_vec(),
    }
}

/// The tag with another value of an attribute, which it need not have had. `value` needs no escaping.
pub(super) fn with_attribute(tag: &[u8], name: &str, value: &str) -> Vec<u8> {
    let written = format!("{name}=\"{value}\"");
    if let Some(place) = attribute(tag, name) {
        return [&tag[..place.start], written.as_bytes(), &tag[place.end..]].concat();
    }
    let end = tag.len() - 1 - usize::from(tag.ends_with(b"/>"));
    [&tag[..end], b" ", written.as_bytes(), &tag[end..]].concat()
}

/// Where an attribute stands, its name and its value with the quotes.
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
        assert_eq!(opened(b"<m a='/>' />"), b"<m a='/>'>");
        assert_eq!(opened(b"<m>"), b"<m>");
    }
}
