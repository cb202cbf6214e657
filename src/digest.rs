//! Digests of files: what upstreams declare ([`Digest`]) and what names an object ([`ObjectId`]).
//!
//! MD5 does not exist here: nothing may ever be trusted because of it.

use std::fmt;
use std::str::FromStr;

use sha2::Digest as _;

/// The digest algorithms that an upstream may use, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl Algorithm {
    /// Length of a digest in bytes.
    pub const fn len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// Strong enough that equal digests mean equal bytes, regardless of who declared them. A SHA-1
    /// digest can be forged, so it is valid only within the repository that declared it.
    pub const fn is_collision_resistant(self) -> bool {
        !matches!(self, Self::Sha1)
    }
}

/// A digest as an upstream declares it: an algorithm and its bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    algorithm: Algorithm,
    // Padded with zeros after the algorithm's length, so that the derived comparisons are correct.
    bytes: [u8; 64],
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DigestError {
    #[error("a {} digest has {} hexadecimal digits, got {got}", algorithm.name(), algorithm.len() * 2)]
    Length { algorithm: Algorithm, got: usize },
    #[error("{text:?} is not a hexadecimal number")]
    NotHex { text: String },
}

impl Digest {
    /// Parses hexadecimal digits, uppercase or lowercase.
    pub fn parse(algorithm: Algorithm, hex: &str) -> Result<Self, DigestError> {
        let mut bytes = [0; 64];
        let digits = hex.as_bytes();
        if digits.len() != algorithm.len() * 2 {
            return Err(DigestError::Length {
                algorithm,
                got: digits.len(),
            });
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            match (hex_value(pair[0]), hex_value(pair[1])) {
                (Some(high), Some(low)) => *byte = high << 4 | low,
                _ => {
                    return Err(DigestError::NotHex {
                        text: hex.to_owned(),
                    });
                }
            }
        }
        Ok(Self { algorithm, bytes })
    }

    /// `None` when the bytes do not have the algorithm's length.
    pub fn from_bytes(algorithm: Algorithm, digest: &[u8]) -> Option<Self> {
        if digest.len() != algorithm.len() {
            return None;
        }
        let mut bytes = [0; 64];
        bytes[..digest.len()].copy_from_slice(digest);
        Some(Self { algorithm, bytes })
    }

    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.algorithm.len()]
    }

    /// The object with this digest, if the algorithm is SHA-256.
    pub fn object_id(&self) -> Option<ObjectId> {
        match self.algorithm {
            Algorithm::Sha256 => self.bytes().try_into().ok().map(ObjectId),
            _ => None,
        }
    }

    pub fn hex(&self) -> String {
        hex(self.bytes())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.algorithm.name(), self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.hex())
    }
}

/// The SHA-256 of some bytes: the name of an object in the pool, of a manifest and of its chunks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId(pub [u8; 32]);

impl ObjectId {
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }

    pub fn hex(&self) -> String {
        hex(&self.0)
    }

    pub fn digest(&self) -> Digest {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&self.0);
        Digest {
            algorithm: Algorithm::Sha256,
            bytes,
        }
    }
}

impl FromStr for ObjectId {
    type Err = DigestError;

    fn from_str(hex: &str) -> Result<Self, DigestError> {
        let digest = Digest::parse(Algorithm::Sha256, hex)?;
        Ok(digest.object_id().expect("it was parsed as SHA-256"))
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex())
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex())
    }
}

/// An object and the size of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectRef {
    pub object: ObjectId,
    /// In bytes.
    pub size: u64,
}

impl serde::Serialize for ObjectId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for ObjectId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let hex = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        hex.parse().map_err(serde::de::Error::custom)
    }
}

/// Computes SHA-256 and, in the same pass, the digest that the upstream declared.
#[derive(Clone)]
pub struct Hasher {
    object: sha2::Sha256,
    declared: Declared,
}

#[derive(Clone)]
enum Declared {
    Sha256,
    Sha1(sha1::Sha1),
    Sha384(sha2::Sha384),
    Sha512(sha2::Sha512),
}

impl Hasher {
    /// `declared` is the algorithm to compute in addition to SHA-256; SHA-256 itself costs nothing
    /// extra.
    pub fn new(declared: Algorithm) -> Self {
        Self {
            object: sha2::Sha256::new(),
            declared: match declared {
                Algorithm::Sha1 => Declared::Sha1(sha1::Sha1::new()),
                Algorithm::Sha256 => Declared::Sha256,
                Algorithm::Sha384 => Declared::Sha384(sha2::Sha384::new()),
                Algorithm::Sha512 => Declared::Sha512(sha2::Sha512::new()),
            },
        }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.object.update(bytes);
        match &mut self.declared {
            Declared::Sha256 => {}
            Declared::Sha1(hasher) => hasher.update(bytes),
            Declared::Sha384(hasher) => hasher.update(bytes),
            Declared::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// The object's name, and the digest by the declared algorithm.
    pub fn finish(self) -> (ObjectId, Digest) {
        let object = ObjectId(self.object.finalize().into());
        let declared = match self.declared {
            Declared::Sha256 => Some(object.digest()),
            Declared::Sha1(hasher) => Digest::from_bytes(Algorithm::Sha1, &hasher.finalize()),
            Declared::Sha384(hasher) => Digest::from_bytes(Algorithm::Sha384, &hasher.finalize()),
            Declared::Sha512(hasher) => Digest::from_bytes(Algorithm::Sha512, &hasher.finalize()),
        };
        (
            object,
            declared.expect("a hasher's output has its algorithm's length"),
        )
    }
}

fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Lowercase hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|nibble| char::from(DIGITS[usize::from(nibble)]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_digest_survives_its_text_in_either_case() {
        for algorithm in [
            Algorithm::Sha1,
            Algorithm::Sha256,
            Algorithm::Sha384,
            Algorithm::Sha512,
        ] {
            let hex = "0aF9".repeat(algorithm.len() / 2);
            let digest = Digest::parse(algorithm, &hex).unwrap();
            assert_eq!(digest.hex(), hex.to_lowercase());
            assert_eq!(Digest::from_bytes(algorithm, digest.bytes()), Some(digest));
        }
    }

    #[test]
    fn wrong_length_and_wrong_digits_are_refused() {
        assert_eq!(
            Digest::parse(Algorithm::Sha256, "ab"),
            Err(DigestError::Length {
                algorithm: Algorithm::Sha256,
                got: 2
            })
        );
        let text = "zz".repeat(20);
        assert_eq!(
            Digest::parse(Algorithm::Sha1, &text),
            Err(DigestError::NotHex { text })
        );
        // A character of several bytes must not be cut.
        assert!(Digest::parse(Algorithm::Sha1, &"é".repeat(20)).is_err());
    }

    #[test]
    fn the_hasher_gives_both_digests_in_one_pass() {
        let (object, declared) = Hasher::new(Algorithm::Sha256).finish();
        assert_eq!(object.hex(), EMPTY);
        assert_eq!(declared, object.digest());

        let mut hasher = Hasher::new(Algorithm::Sha1);
        hasher.update(b"ab");
        hasher.update(b"c");
        let (object, declared) = hasher.finish();
        assert_eq!(object, ObjectId::of(b"abc"));
        assert_eq!(declared.hex(), "a9993e364706816aba3e25717850c26c9cd0d89d");
    }
}
