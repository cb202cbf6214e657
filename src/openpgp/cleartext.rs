//! The cleartext signature framework (RFC 9580, section 7): a text followed by its signature, in
//! one file.
//!
//! A file is accepted only as apt accepts it: the signed message begins on the first line, nothing
//! follows the last signature, not even an empty line, and no line of the text starts with an
//! unescaped dash. So no reader can be tricked into reading unsigned text.

use super::armor::{self, ArmorError, Block};

const BEGIN_MESSAGE: &[u8] = b"-----BEGIN PGP SIGNED MESSAGE-----";
const BEGIN_SIGNATURE: &[u8] = b"-----BEGIN PGP SIGNATURE-----";

/// Valid values of a `Hash:` header. The signatures contain the same information, but gpg rejects
/// other values.
const HASH_NAMES: [&str; 9] = [
    "MD5",
    "SHA1",
    "RIPEMD160",
    "SHA224",
    "SHA256",
    "SHA384",
    "SHA512",
    "SHA3-256",
    "SHA3-512",
];

/// A parsed clear-signed file, not verified yet.
#[derive(Debug)]
pub(super) struct ClearSigned<'a> {
    /// The text without dash escapes. Parts that signatures do not cover are normalized: trailing
    /// whitespace is removed, and every line, including the last one, ends with a newline. So it
    /// equals the signed file, if that was normalized as well.
    pub text: Vec<u8>,
    /// One or more.
    pub signatures: Vec<Block<'a>>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CleartextError {
    #[error("the first line is not \"-----BEGIN PGP SIGNED MESSAGE-----\"")]
    NoMessage,
    #[error("line {line} is not a Hash header, the only one allowed")]
    Header { line: usize },
    #[error("line {line} starts with an unescaped dash")]
    Dash { line: usize },
    #[error("the signature is missing")]
    NoSignature,
    #[error("line {line} is not covered by the signature")]
    Unsigned { line: usize },
    #[error("{0}")]
    Armor(ArmorError),
}

impl<'a> ClearSigned<'a> {
    pub fn parse(file: &'a [u8]) -> Result<Self, CleartextError> {
        let mut lines = Lines {
            rest: file,
            number: 0,
        };
        if lines.next_line() != Some(BEGIN_MESSAGE) {
            return Err(CleartextError::NoMessage);
        }
        loop {
            let header = lines.next_line().ok_or(CleartextError::NoSignature)?;
            if header.is_empty() {
                break;
            }
            if !is_hash_header(header) {
                return Err(CleartextError::Header { line: lines.number });
            }
        }
        let mut text = Vec::with_capacity(file.len());
        loop {
            let unread = lines.rest;
            let line = lines.next_line().ok_or(CleartextError::NoSignature)?;
            if line == BEGIN_SIGNATURE {
                return Self::with_signatures(text, unread, lines.number);
            }
            let line = unescape(line).ok_or(CleartextError::Dash { line: lines.number })?;
            text.extend_from_slice(line);
            text.push(b'\n');
        }
    }

    fn with_signatures(
        text: Vec<u8>,
        signatures: &'a [u8],
        first_line: usize,
    ) -> Result<Self, CleartextError> {
        let armored = armor::read(signatures, first_line).map_err(CleartextError::Armor)?;
        let other = armored
            .blocks
            .iter()
            .find(|block| block.label != b"SIGNATURE")
            .map(|block| block.line);
        if let Some(line) = armored.stray_line.or(other) {
            return Err(CleartextError::Unsigned { line });
        }
        Ok(Self {
            text,
            signatures: armored.blocks,
        })
    }

    /// The text in the form that is hashed.
    pub fn hashed_text(&self) -> Vec<u8> {
        canonical(&self.text)
    }
}

/// A text without trailing whitespace in the form that is hashed: lines end in CRLF, except the
/// last one, which has no line end.
pub(super) fn canonical(text: &[u8]) -> Vec<u8> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let mut hashed = Vec::with_capacity(text.len() + text.len() / 32);
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        if index > 0 {
            hashed.extend_from_slice(b"\r\n");
        }
        hashed.extend_from_slice(line);
    }
    hashed
}

/// A clear-signed file up to its signature. The text ends with a newline, and has no trailing
/// whitespace.
pub(super) fn write_text(hash_name: &str, text: &[u8]) -> Vec<u8> {
    let mut file = [BEGIN_MESSAGE, b"\nHash: ", hash_name.as_bytes(), b"\n\n"].concat();
    file.reserve(text.len() + text.len() / 32);
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(b"-") {
            file.extend_from_slice(b"- ");
        }
        file.extend_from_slice(line);
    }
    file
}

/// Reads lines without trailing whitespace and keeps the rest.
struct Lines<'a> {
    rest: &'a [u8],
    /// Number of the last line read, counted from 1.
    number: usize,
}

impl<'a> Lines<'a> {
    fn next_line(&mut self) -> Option<&'a [u8]> {
        let line = armor::lines(self.rest).next()?;
        self.rest = self.rest.get(line.len() + 1..).unwrap_or_default();
        self.number += 1;
        Some(armor::trim_end(line))
    }
}

fn is_hash_header(header: &[u8]) -> bool {
    let names = header
        .strip_prefix(b"Hash:")
        .and_then(|names| std::str::from_utf8(names).ok());
    names.is_some_and(|names| {
        names.split(',').all(|name| {
            HASH_NAMES
                .iter()
                .any(|known| known.eq_ignore_ascii_case(name.trim()))
        })
    })
}

/// Removes the dash escape; `None` for a line that needs one and has none.
fn unescape(line: &[u8]) -> Option<&[u8]> {
    match line.strip_prefix(b"-") {
        None => Some(line),
        Some(escaped) => escaped.strip_prefix(b" "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNATURE: &str = "-----BEGIN PGP SIGNATURE-----\n\nAAEC\n-----END PGP SIGNATURE-----\n";

    fn signed(head: &str, text: &str) -> String {
        format!("-----BEGIN PGP SIGNED MESSAGE-----\n{head}\n{text}\n{SIGNATURE}")
    }

    #[test]
    fn text_comes_out_as_it_was_signed() {
        let cases = [
            ("one line", "Origin: x", "Origin: x\n", "Origin: x"),
            ("empty lines", "\na\n\n", "\na\n\n\n", "\r\na\r\n\r\n"),
            (
                "dashes",
                "- --- a\n- - b\n- From c\n d - e",
                "--- a\n- b\nFrom c\n d - e\n",
                "--- a\r\n- b\r\nFrom c\r\n d - e",
            ),
            (
                "trailing blanks",
                "a \t\n b\t \n  ",
                "a\n b\n\n",
                "a\r\n b\r\n",
            ),
            ("CRLF", "a\r\nb\r", "a\nb\n", "a\r\nb"),
            ("a carriage return inside", "a\rb", "a\rb\n", "a\rb"),
        ];
        for (name, text, wanted, hashed) in cases {
            let file = signed("Hash: SHA512\n", text);
            let parsed = ClearSigned::parse(file.as_bytes()).unwrap();
            assert_eq!(parsed.text, wanted.as_bytes(), "{name}");
            assert_eq!(parsed.hashed_text(), hashed.as_bytes(), "{name}");
            assert_eq!(parsed.signatures.len(), 1, "{name}");
        }
    }

    #[test]
    fn hash_headers_are_optional_and_the_only_ones() {
        for head in ["", "Hash: SHA256\n", "Hash: sha512, SHA1\nHash:SHA224\n"] {
            assert!(
                ClearSigned::parse(signed(head, "a").as_bytes()).is_ok(),
                "{head}"
            );
        }
        for head in [
            "Comment: x\n",
            "Hash: SHA256\nNotDashEscaped: x\n",
            "Hash: SHA\n",
            "Hash:\n",
            "a\n",
        ] {
            let error = ClearSigned::parse(signed(head, "a").as_bytes()).unwrap_err();
            assert!(
                matches!(error, CleartextError::Header { .. }),
                "{head}: {error}"
            );
        }
    }

    #[test]
    fn nothing_stands_outside_of_the_signed_part() {
        let file = signed("Hash: SHA512\n", "a");
        let cases = [
            (
                "text before",
                format!("Origin: evil\n\n{file}"),
                CleartextError::NoMessage,
            ),
            (
                "an empty line before",
                format!("\n{file}"),
                CleartextError::NoMessage,
            ),
            (
                "text after",
                format!("{file}Origin: evil\n"),
                CleartextError::Unsigned { line: 9 },
            ),
            (
                "an empty line after",
                format!("{file}\n"),
                CleartextError::Unsigned { line: 9 },
            ),
            (
                "a second message",
                format!("{file}{file}"),
                CleartextError::Unsigned { line: 9 },
            ),
            (
                "a key after",
                format!(
                    "{file}{}",
                    SIGNATURE.replace("SIGNATURE", "PUBLIC KEY BLOCK")
                ),
                CleartextError::Unsigned { line: 9 },
            ),
            (
                "a message inside",
                signed("", &file),
                CleartextError::Dash { line: 3 },
            ),
            (
                "an unescaped dash",
                signed("", "a\n--b"),
                CleartextError::Dash { line: 4 },
            ),
            (
                "no signature",
                file.replace(SIGNATURE, ""),
                CleartextError::NoSignature,
            ),
            (
                "no text",
                "-----BEGIN PGP SIGNED MESSAGE-----\n".to_owned(),
                CleartextError::NoSignature,
            ),
            ("nothing", String::new(), CleartextError::NoMessage),
            (
                "a web page",
                "<html>\n".to_owned(),
                CleartextError::NoMessage,
            ),
            (
                "a cut signature",
                file.replace("-----END PGP SIGNATURE-----\n", ""),
                CleartextError::Armor(ArmorError::Unclosed { line: 5 }),
            ),
        ];
        for (name, file, error) in cases {
            assert_eq!(
                ClearSigned::parse(file.as_bytes()).unwrap_err(),
                error,
                "{name}"
            );
        }
    }

    #[test]
    fn signature_blocks_may_follow_each_other() {
        let file = signed("", "a") + SIGNATURE;
        let parsed = ClearSigned::parse(file.as_bytes()).unwrap();
        assert_eq!(parsed.signatures.len(), 2);
    }
}
