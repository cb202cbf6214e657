//! ASCII armor: the text form of keys and signatures (RFC 9580, section 6.2).
//!
//! A file may contain several blocks; all of them are read. Text around the blocks is allowed, as
//! in gpg, and its first line is reported to callers that do not allow it. The checksum is not
//! read: RFC 9580 forbids rejecting data because of it, and signatures are stronger.

use base64::alphabet;
use base64::engine::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use pgp::armor::BlockType;
use pgp::ser::Serialize;

const BEGIN: &[u8] = b"-----BEGIN PGP ";
const END: &[u8] = b"-----END PGP ";
const DASHES: &[u8] = b"-----";

/// A file's armored blocks.
#[derive(Debug)]
pub(super) struct Armored<'a> {
    pub blocks: Vec<Block<'a>>,
    /// Number of the first line outside of all blocks, even if it is empty.
    pub stray_line: Option<usize>,
}

#[derive(Debug)]
pub(super) struct Block<'a> {
    /// Number of its first line.
    pub line: usize,
    /// The label of the armor: `PUBLIC KEY BLOCK`, `SIGNATURE`.
    pub label: &'a [u8],
    pub packets: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArmorError {
    #[error("line {line} is not base64")]
    NotBase64 { line: usize },
    #[error("the armor that begins on line {line} has no end line")]
    Unclosed { line: usize },
    #[error("the armor that begins on line {line} is truncated")]
    CutShort { line: usize },
    #[error("line {line} in the armor starts with a dash")]
    Dash { line: usize },
}

/// Lines without their line ends, including a last line without one.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\n").unwrap_or(line))
}

/// A line without trailing whitespace, which signatures do not cover (RFC 9580, section 7.2).
pub(super) fn trim_end(line: &[u8]) -> &[u8] {
    let length = line
        .iter()
        .rposition(|byte| !matches!(byte, b' ' | b'\t' | b'\r'))
        .map_or(0, |last| last + 1);
    &line[..length]
}

/// Whether any line begins an armored block.
pub(super) fn is_armored(bytes: &[u8]) -> bool {
    lines(bytes).any(|line| line.starts_with(BEGIN))
}

/// Reads every block. `first_line` is the number of the text's first line in its file, for
/// messages.
pub(super) fn read(text: &[u8], first_line: usize) -> Result<Armored<'_>, ArmorError> {
    let mut armored = Armored {
        blocks: Vec::new(),
        stray_line: None,
    };
    let mut lines = (first_line..).zip(lines(text).map(trim_end));
    while let Some((number, line)) = lines.next() {
        // The header of a clear-signed text looks like armor, but no base64 follows.
        if let Some(label) = label(line, BEGIN).filter(|label| *label != b"SIGNED MESSAGE") {
            let packets = read_block(label, number, &mut lines)?;
            armored.blocks.push(Block {
                line: number,
                label,
                packets,
            });
        } else {
            armored.stray_line.get_or_insert(number);
        }
    }
    Ok(armored)
}

/// Reads a block from after its first line to its last.
fn read_block<'a>(
    wanted: &[u8],
    begin: usize,
    lines: &mut impl Iterator<Item = (usize, &'a [u8])>,
) -> Result<Vec<u8>, ArmorError> {
    let mut base64 = Base64::default();
    let mut in_headers = true;
    for (number, line) in lines {
        if line.starts_with(b"-") {
            return if label(line, END) == Some(wanted) {
                base64.finish().ok_or(ArmorError::CutShort { line: begin })
            } else {
                Err(ArmorError::Dash { line: number })
            };
        }
        // Base64 has no colon. Some published key files lack the empty line after the headers.
        if in_headers && line.contains(&b':') {
            continue;
        }
        in_headers = false;
        let is_checksum = line.len() == 5 && line[0] == b'=';
        if !is_checksum && !base64.push_line(line) {
            return Err(ArmorError::NotBase64 { line: number });
        }
    }
    Err(ArmorError::Unclosed { line: begin })
}

fn label<'a>(line: &'a [u8], start: &[u8]) -> Option<&'a [u8]> {
    line.strip_prefix(start)?.strip_suffix(DASHES)
}

/// Decodes base64 line by line, so that errors can name the line.
#[derive(Default)]
struct Base64 {
    bytes: Vec<u8>,
    /// Digits of an incomplete group of four.
    pending: Vec<u8>,
    is_padded: bool,
}

/// The last digit of a padded group may have extra bits, as gpg allows.
const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

impl Base64 {
    /// Returns false if the line is not base64.
    fn push_line(&mut self, line: &[u8]) -> bool {
        let digits = alphabet::STANDARD.as_str().as_bytes();
        let is_digit = |byte: &u8| *byte == b'=' || digits.contains(byte);
        if self.is_padded && !line.is_empty() || !line.iter().all(is_digit) {
            return false;
        }
        self.pending.extend_from_slice(line);
        let rest = self.pending.split_off(self.pending.len() / 4 * 4);
        let groups = std::mem::replace(&mut self.pending, rest);
        self.is_padded = groups.ends_with(b"=");
        ENGINE.decode_vec(groups, &mut self.bytes).is_ok()
    }

    /// `None` if the end is missing.
    fn finish(self) -> Option<Vec<u8>> {
        self.pending.is_empty().then_some(self.bytes)
    }
}

/// One armored block of public keys.
pub(super) fn write_public_keys(packets: &[u8]) -> String {
    write(BlockType::PublicKey, packets)
}

/// One armored block.
pub(super) fn write(kind: BlockType, packets: &[u8]) -> String {
    let mut text = Vec::new();
    pgp::armor::write(&Raw(packets), kind, &mut text, None, true)
        .expect("writing to memory does not fail");
    String::from_utf8(text).expect("armor is ASCII")
}

/// Bytes that are already encoded packets.
pub(super) struct Raw<'a>(pub &'a [u8]);

impl Serialize for Raw<'_> {
    fn to_writer<W: std::io::Write>(&self, writer: &mut W) -> pgp::errors::Result<()> {
        writer.write_all(self.0)?;
        Ok(())
    }

    fn write_len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packets(text: &str) -> Result<Vec<Vec<u8>>, ArmorError> {
        let armored = read(text.as_bytes(), 1)?;
        Ok(armored
            .blocks
            .into_iter()
            .map(|block| block.packets)
            .collect())
    }

    #[test]
    fn every_length_survives_its_armor() {
        for length in 0..100_u8 {
            let bytes: Vec<u8> = (0..length).map(|byte| byte.wrapping_mul(151)).collect();
            assert_eq!(packets(&write_public_keys(&bytes)), Ok(vec![bytes]));
        }
    }

    #[test]
    fn blocks_are_found_in_text_of_all_kinds() {
        let cases = [
            (
                "a header",
                "-----BEGIN PGP X-----\nVersion: 1\nComment:\n\nAAEC\n-----END PGP X-----\n",
                1,
            ),
            (
                "no empty line",
                "-----BEGIN PGP X-----\nAAEC\n-----END PGP X-----\n",
                1,
            ),
            (
                "CRLF",
                "-----BEGIN PGP X-----\r\n\r\nAAEC\r\n=abcd\r\n-----END PGP X-----\r\n",
                1,
            ),
            (
                "no last line end",
                "-----BEGIN PGP X-----\n\nAAEC\n-----END PGP X-----",
                1,
            ),
            (
                "two blocks and text",
                "pub rsa4096\n-----BEGIN PGP X-----\n\nAA\nEC\n-----END PGP X-----\n\nhello\n\
                 -----BEGIN PGP X-----\n\nAAEC\n=abcd\n-----END PGP X-----\n",
                2,
            ),
        ];
        for (name, text, count) in cases {
            assert_eq!(packets(text), Ok(vec![vec![0, 1, 2]; count]), "{name}");
        }
    }

    #[test]
    fn damaged_armor_is_an_error() {
        let cases = [
            (
                "-----BEGIN PGP X-----\n\nAAEC\n",
                ArmorError::Unclosed { line: 1 },
            ),
            (
                "-----BEGIN PGP X-----\n\nAAE\n-----END PGP X-----\n",
                ArmorError::CutShort { line: 1 },
            ),
            (
                "\n-----BEGIN PGP X-----\n\nA$EC\n-----END PGP X-----\n",
                ArmorError::NotBase64 { line: 4 },
            ),
            (
                "-----BEGIN PGP X-----\n\nAA==\nAAEC\n-----END PGP X-----\n",
                ArmorError::NotBase64 { line: 4 },
            ),
            (
                "-----BEGIN PGP X-----\n\nAAEC\n-----END PGP Y-----\n",
                ArmorError::Dash { line: 4 },
            ),
            (
                "-----BEGIN PGP X-----\n\n-----BEGIN PGP X-----\n",
                ArmorError::Dash { line: 3 },
            ),
        ];
        for (text, error) in cases {
            assert_eq!(packets(text), Err(error), "{text}");
        }
    }
}
