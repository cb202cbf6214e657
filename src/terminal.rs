//! Escapes untrusted text for a terminal.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Replaces control characters, which could move the cursor, change the title or hide what was
/// printed, and the invisible ones that change the direction of text. Everything else stays as it
/// is.
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if is_unsafe(character) {
            escaped.extend(character.escape_default());
        } else {
            escaped.push(character);
        }
    }
    Cow::Owned(escaped)
}

/// As [`escape`], for messages with several lines.
pub fn escape_lines(text: &str) -> String {
    let lines: Vec<_> = text.split('\n').map(escape).collect();
    lines.join("\n")
}

/// Escapes a JSON document: characters that a terminal interprets are written as `\uXXXX`, which is
/// equivalent.
///
/// Outside of strings JSON has only ASCII, and inside of them the lower control characters are
/// escaped already.
pub fn escape_json(document: &str) -> String {
    let mut text = String::with_capacity(document.len());
    let mut units = [0; 2];
    for char in document.chars() {
        if is_unsafe(char) && char != '\n' {
            for unit in char.encode_utf16(&mut units) {
                write!(text, "\\u{unit:04x}").expect("writing to memory does not fail");
            }
        } else {
            text.push(char);
        }
    }
    text
}

/// Whether a character could change what a terminal shows.
pub fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_sequences_become_visible() {
        assert_eq!(escape("a\u{1b}[2Jb\rc\u{9b}d"), "a\\u{1b}[2Jb\\rc\\u{9b}d");
        assert_eq!(escape("gpj\u{202e}.exe"), "gpj\\u{202e}.exe");
        for turning in [
            "\u{61c}", "\u{200e}", "\u{200f}", "\u{202a}", "\u{2066}", "\u{2069}",
        ] {
            assert!(escape(turning).starts_with("\\u{"));
        }
        assert_eq!(escape("Grüße, 世界"), "Grüße, 世界");
        assert_eq!(escape_lines("a\nb\tc"), "a\nb\\tc");
    }
}
