//! Confirmation codes: short enough to be read on one screen and typed on another.
//!
//! An importer shows the code of a transfer after it was imported completely, and a person types it
//! where it was exported: `42-QASP-ENZS-QB`, for transfer 42. The exporter, which knows the
//! manifest that it sent, computes the same code and compares. A code belongs to one transfer of
//! one exporter to one destination. It has no key, so it protects from mistakes, not from people
//! who have seen the manifest.
//!
//! # Encoding
//!
//! `NUMBER-XXXX-XXXX-CC`, where the digits and letters are Crockford's base 32, which has no `I`,
//! `L`, `O` and `U`:
//!
//! - `NUMBER` is that of the transfer, decimal.
//! - `XXXX-XXXX` are the first 40 bits of the SHA-256 of the lines `chantal confirm 1`, exporter,
//!   destination, number and digest of the manifest; the last has no line end.
//! - `CC` are the first 10 bits of the SHA-256 of the lines `chantal check 1`, number and the eight
//!   characters before; the last has no line end. They tell a code that was mistyped, in 1023 of
//!   1024 cases, from one that belongs to another transfer.
//!
//! Uppercase and lowercase are the same, dashes and spaces are ignored wherever they are, and `I`
//! and `L` are read as 1, `O` as 0.

use std::fmt;

use sha2::Digest as _;

use crate::digest::ObjectId;
use crate::names::DestinationName;

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

const CODE_CHARACTERS: usize = 8;
const CHECK_CHARACTERS: usize = 2;
/// Digits of `u64::MAX`.
const NUMBER_DIGITS_MAX: usize = 20;

/// The confirmation of one transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfirmationCode {
    number: u64,
    /// Characters of [`ALPHABET`].
    characters: [u8; CODE_CHARACTERS],
}

/// Why a text is not a confirmation code.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CodeError {
    #[error("{0:?} is not a character of confirmation codes")]
    InvalidCharacter(char),
    #[error("too short: expected NUMBER-XXXX-XXXX-CC, got only {got} digits and letters")]
    TooShort { got: usize },
    #[error("too long: expected NUMBER-XXXX-XXXX-CC")]
    TooLong,
    #[error("the number of the transfer is missing: expected NUMBER-XXXX-XXXX-CC")]
    NumberMissing,
    #[error("expected a number of a transfer before the last ten characters, got {0}")]
    InvalidNumber(String),
    #[error("mistyped: the check characters at the end do not match")]
    Mistyped,
}

impl ConfirmationCode {
    /// The code of this transfer. `exporter` is the ID of the storage that exported it.
    pub fn of(
        exporter: &str,
        destination: &DestinationName,
        number: u64,
        manifest: &ObjectId,
    ) -> Self {
        let destination = destination.as_str();
        let lines = format!("chantal confirm 1\n{exporter}\n{destination}\n{number}\n{manifest}");
        Self {
            number,
            characters: first_characters(&lines),
        }
    }

    /// Reads what a person typed. `Ok` means only that it was typed correctly: compare it with the
    /// code of the transfer.
    pub fn parse(text: &str) -> Result<Self, CodeError> {
        let mut typed = Vec::new();
        for character in text.chars().filter(|character| !is_separator(*character)) {
            typed.push(canonical(character).ok_or(CodeError::InvalidCharacter(character))?);
            if typed.len() > NUMBER_DIGITS_MAX + CODE_CHARACTERS + CHECK_CHARACTERS {
                return Err(CodeError::TooLong);
            }
        }
        let too_short = CodeError::TooShort { got: typed.len() };
        // From the end, because the number has no fixed length.
        let Some((rest, check)) = typed.split_last_chunk::<CHECK_CHARACTERS>() else {
            return Err(too_short);
        };
        let Some((number, characters)) = rest.split_last_chunk::<CODE_CHARACTERS>() else {
            return Err(too_short);
        };
        let code = Self {
            number: parse_number(number)?,
            characters: *characters,
        };
        if code.check() != *check {
            return Err(CodeError::Mistyped);
        }
        Ok(code)
    }

    /// Of the transfer.
    pub fn number(&self) -> u64 {
        self.number
    }

    fn check(&self) -> [u8; CHECK_CHARACTERS] {
        let characters = ascii(&self.characters);
        first_characters(&format!("chantal check 1\n{}\n{characters}", self.number))
    }
}

impl fmt::Display for ConfirmationCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, second) = self.characters.split_at(CODE_CHARACTERS / 2);
        write!(
            f,
            "{}-{}-{}-{}",
            self.number,
            ascii(first),
            ascii(second),
            ascii(&self.check())
        )
    }
}

/// The first 5 * N bits of the SHA-256 of a text.
fn first_characters<const N: usize>(text: &str) -> [u8; N] {
    let digest: [u8; 32] = sha2::Sha256::digest(text.as_bytes()).into();
    std::array::from_fn(|character| {
        let bits =
            (character * 5..character * 5 + 5).map(|bit| digest[bit / 8] >> (7 - bit % 8) & 1);
        ALPHABET[bits.fold(0, |value, bit| value << 1 | usize::from(bit))]
    })
}

fn ascii(characters: &[u8]) -> String {
    characters.iter().copied().map(char::from).collect()
}

/// Word processors and mail programs replace the ASCII dash by others.
fn is_separator(character: char) -> bool {
    character.is_whitespace() || matches!(character, '-' | '\u{2010}'..='\u{2015}' | '\u{2212}')
}

/// The character of the alphabet that is meant.
fn canonical(character: char) -> Option<u8> {
    let character = match u8::try_from(character).ok()?.to_ascii_uppercase() {
        b'I' | b'L' => b'1',
        b'O' => b'0',
        other => other,
    };
    ALPHABET.contains(&character).then_some(character)
}

/// A number from 1, as it is written: without zeros in front.
fn parse_number(digits: &[u8]) -> Result<u64, CodeError> {
    if digits.is_empty() {
        return Err(CodeError::NumberMissing);
    }
    let text = ascii(digits);
    match text.parse() {
        Ok(number) if !text.starts_with('0') => Ok(number),
        _ => Err(CodeError::InvalidNumber(text)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EXPORTER: &str = "0123456789abcdef0123456789abcdef";

    fn code(destination: &str, number: u64) -> ConfirmationCode {
        let destination = DestinationName::parse(destination).unwrap();
        ConfirmationCode::of(EXPORTER, &destination, number, &ObjectId::of(b""))
    }

    /// Computed by a Python program from the documentation above. The first one by hand: `printf
    /// 'chantal confirm 1\n0123456789abcdef0123456789abcdef\nplant-a\n42\ne3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
    /// | sha256sum` begins with `bab36757f9`.
    #[test]
    fn codes_never_change() {
        for (destination, number, text) in [
            ("plant-a", 42, "42-QASP-ENZS-QB"),
            ("plant-b", 42, "42-X7DE-H941-VT"),
            ("plant-a", 43, "43-QG9V-1S2H-08"),
            ("plant-a", 1, "1-0J5A-009F-DK"),
            ("plant-a", u64::MAX, "18446744073709551615-NBEA-CV5R-EW"),
        ] {
            let code = code(destination, number);
            assert_eq!(code.to_string(), text);
            assert_eq!(ConfirmationCode::parse(text), Ok(code));
            assert_eq!(code.number(), number);
        }
    }

    #[test]
    fn it_is_read_as_people_type_it() {
        for text in ["1-0J5A-009F-DK", "ioj5aoo9fdk", " L 0j5a\u{2013}OO9F dk-\n"] {
            assert_eq!(ConfirmationCode::parse(text), Ok(code("plant-a", 1)));
        }
    }

    #[test]
    fn every_part_of_the_transfer_is_in_the_code() {
        let destination = DestinationName::parse("plant-a").unwrap();
        let of = |exporter: &str, manifest: &[u8]| {
            ConfirmationCode::of(exporter, &destination, 42, &ObjectId::of(manifest))
        };
        assert_ne!(of(EXPORTER, b""), of(&"0".repeat(32), b""));
        assert_ne!(of(EXPORTER, b""), of(EXPORTER, b"x"));
        assert_ne!(code("plant-a", 42), code("plant-b", 42));
        assert_ne!(
            code("plant-a", 42).characters,
            code("plant-a", 43).characters
        );
    }

    #[test]
    fn errors_say_what_is_wrong() {
        for (text, error) in [
            (
                "",
                "too short: expected NUMBER-XXXX-XXXX-CC, got only 0 digits and letters",
            ),
            (
                "42-QASP-ENZ",
                "too short: expected NUMBER-XXXX-XXXX-CC, got only 9 digits and letters",
            ),
            (
                "QASP-ENZS-QB",
                "the number of the transfer is missing: expected NUMBER-XXXX-XXXX-CC",
            ),
            (
                "42-QASP-ENZS-QU",
                "'U' is not a character of confirmation codes",
            ),
            (
                "42-QASP-ENZS-Q\u{202e}",
                "'\\u{202e}' is not a character of confirmation codes",
            ),
            (
                "42A-QASP-ENZS-QB",
                "expected a number of a transfer before the last ten characters, got 42A",
            ),
            (
                "042-QASP-ENZS-QB",
                "expected a number of a transfer before the last ten characters, got 042",
            ),
            (
                "O-QASP-ENZS-QB",
                "expected a number of a transfer before the last ten characters, got 0",
            ),
            (
                "18446744073709551616-NBEA-CV5R-EW",
                "expected a number of a transfer before the last ten characters, got 18446744073709551616",
            ),
            (
                "118446744073709551615-NBEA-CV5R-EW",
                "too long: expected NUMBER-XXXX-XXXX-CC",
            ),
            (
                "42-QASP-ENZS-QC",
                "mistyped: the check characters at the end do not match",
            ),
        ] {
            let found = ConfirmationCode::parse(text).unwrap_err();
            assert_eq!(found.to_string(), error, "{text:?}");
        }
    }

    /// One in 1024 mistakes is not noticed; with this code none of these.
    #[test]
    fn mistakes_are_noticed() {
        let right = b"42QASPENZSQB";
        let mut mistakes: Vec<Vec<u8>> = Vec::new();
        for place in 0..right.len() {
            for character in *ALPHABET {
                let mut other = right.to_vec();
                other[place] = character;
                mistakes.push(other);
                let mut longer = right.to_vec();
                longer.insert(place, character);
                mistakes.push(longer);
            }
            let mut swapped = right.to_vec();
            swapped.swap(place, (place + 1).min(right.len() - 1));
            mistakes.push(swapped);
            let mut shorter = right.to_vec();
            shorter.remove(place);
            mistakes.push(shorter);
        }
        mistakes.retain(|mistake| mistake != right);
        assert!(mistakes.len() > 700);
        for mistake in mistakes {
            let text = ascii(&mistake);
            assert!(ConfirmationCode::parse(&text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_code_survives_its_text(
            number in 1..=u64::MAX,
            manifest in any::<[u8; 32]>(),
            typed in prop::collection::vec((any::<bool>(), "[- ]{0,2}"), 30),
        ) {
            let destination = DestinationName::parse("plant-a").unwrap();
            let code = ConfirmationCode::of(EXPORTER, &destination, number, &ObjectId(manifest));
            let text = code.to_string();
            prop_assert_eq!(ConfirmationCode::parse(&text), Ok(code));
            let mut other = String::new();
            for (character, (is_lower, separators)) in text.replace('-', "").chars().zip(&typed) {
                other.push(if *is_lower { character.to_ascii_lowercase() } else { character });
                other.push_str(separators);
            }
            prop_assert_eq!(ConfirmationCode::parse(&other), Ok(code));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,40}|[0-9]{1,3}[0-9A-Za-z]{8,12}") {
            if let Ok(code) = ConfirmationCode::parse(&text) {
                prop_assert_eq!(ConfirmationCode::parse(&code.to_string()), Ok(code));
            }
        }
    }
}
