//! Verifies signatures: bytes are trusted if they have at least one good signature by a trusted
//! key. Additional signatures by unknown or no longer valid keys are ignored; bad or expired ones
//! by a trusted key are an error for a root, as in apt. The error says for each signature why it is
//! not accepted.
//!
//! A signature is good if a key of the keyring made it over these bytes with a strong digest,
//! neither in the future nor before the creation of the key, if it has not expired, and if its key
//! is a bound, strong signing key that is neither expired nor revoked now (for a package: when it
//! was signed). gpgv accepts signatures by keys that have expired since; apt and this module do
//! not.

use std::fmt;

use pgp::packet::{Signature, SignatureType};
use pgp::types::{Tag, VerifyingKey};

use super::armor::{self, ArmorError};
use super::certificate::{Certificate, Key, UnusableKey, list_unusable};
use super::cleartext::{ClearSigned, CleartextError};
use super::hasher;
use super::keyring::Keyring;
use super::packets::{FramingError, Packets};
use super::problem::{KeyProblem, Problem, listed};
use super::streaming::{HashedSignature, UnverifiedSignature};
use super::trusted::{Signer, Trusted};
use super::validity;

/// The largest clear-signed file; those of the big archives are below half a megabyte.
const MAX_CLEARTEXT_BYTES: usize = 16 << 20;
/// The largest detached signature, and the most signatures in one: each costs a pass over the
/// signed bytes.
const MAX_SIGNATURE_BYTES: usize = 1 << 20;
const MAX_SIGNATURES: usize = 64;
/// Tolerance for signer clocks that are ahead, the same as apt's for the date of a Release file.
const CLOCK_SKEW_SECS: i64 = 10;

#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error("{what} is too large: {size} bytes, limit {limit} bytes")]
    TooLarge {
        what: String,
        size: usize,
        limit: usize,
    },
    #[error("{what} is not a valid clear-signed file: {why}")]
    NotClearSigned { what: String, why: CleartextError },
    #[error("the signature of {what} has invalid armor: {why}")]
    Armor { what: String, why: ArmorError },
    #[error("the signature of {what} is invalid: {why}")]
    Framing { what: String, why: FramingError },
    #[error("the signature file of {what} contains no OpenPGP signature")]
    NoSignature { what: String },
    #[error("{what} has more than {MAX_SIGNATURES} signatures")]
    TooMany { what: String },
    #[error(
        "{what} has a good signature by a trusted key, but also signatures that clients reject{}",
        listed(rejections)
    )]
    SomeRejected {
        what: String,
        /// At least one is by a trusted key.
        rejections: Vec<Rejection>,
    },
    #[error(
        "{what} has no good signature by a trusted key{}{}",
        listed(rejections),
        list_unusable(unusable)
    )]
    NotTrusted {
        what: String,
        /// One for each signature; at least one.
        rejections: Vec<Rejection>,
        /// If a key is unknown: the unusable keys of the key files.
        unusable: Vec<UnusableKey>,
    },
}

/// Why a signature is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Fingerprint or else key id of the key or subkey that the signature names, in uppercase
    /// hexadecimal.
    pub key: Option<String>,
    pub problem: Problem,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "by {key}: {}", self.problem),
            None => write!(f, "by an unspecified key: {}", self.problem),
        }
    }
}

impl VerifyError {
    /// Whether a signature is correct, but its digest or its key is too weak.
    pub fn is_weakness(&self) -> bool {
        match self {
            Self::NotTrusted { rejections, .. } => rejections.iter().any(|rejection| {
                matches!(
                    rejection.problem,
                    Problem::WeakDigest { .. } | Problem::Key(KeyProblem::Weak { .. })
                )
            }),
            _ => false,
        }
    }

    /// Whether a signature is correct, but its key was revoked.
    pub fn is_revocation(&self) -> bool {
        match self {
            Self::NotTrusted { rejections, .. } => rejections.iter().any(|rejection| {
                matches!(rejection.problem, Problem::Key(KeyProblem::Revoked { .. }))
            }),
            _ => false,
        }
    }
}

/// The time at which a key must be valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeyTime {
    /// Roots: they are regenerated regularly, with a valid key.
    Now,
    /// Packages and our own roots: they are signed once and used for years.
    SigningCapability,
}

impl<'a> UnverifiedSignature<'a> {
    fn over(
        data: &'a [u8],
        signatures: &'a [Result<Signature, Problem>],
    ) -> impl Iterator<Item = Self> {
        signatures.iter().map(move |signature| match signature {
            Ok(signature) => Self::Bytes { signature, data },
            Err(problem) => Self::Invalid(problem),
        })
    }

    fn from_hashed(passed: &'a HashedSignature) -> Self {
        match &passed.0 {
            Ok(hashed) => Self::HashedSignature(hashed),
            Err(problem) => Self::Invalid(problem),
        }
    }

    /// Whether a key made the signature; only the cryptography is checked.
    pub(super) fn is_by(&self, key: &impl VerifyingKey) -> bool {
        match self {
            Self::Bytes { signature, data } => signature.verify(key, *data).is_ok(),
            Self::HashedSignature(hashed) => hashed.is_by(key),
            Self::Invalid(_) => false,
        }
    }
}

impl Trusted {
    /// The text of a clear-signed file whose signature is not checked according to the
    /// configuration.
    pub fn unsigned_inline(signed: &[u8], what: &str) -> Result<Self, VerifyError> {
        Ok(Self::unsigned(clear_text(signed, what)?))
    }

    /// As [`Trusted::of_state`], for the text of a clear-signed root.
    pub fn of_state_inline(signed: &[u8], what: &str) -> Result<Self, VerifyError> {
        Ok(Self::of_state(clear_text(signed, what)?))
    }
}

/// The text of a clear-signed file; its signatures are not checked.
fn clear_text(signed: &[u8], what: &str) -> Result<Vec<u8>, VerifyError> {
    check_size(signed, MAX_CLEARTEXT_BYTES, what)?;
    let message = ClearSigned::parse(signed).map_err(|why| VerifyError::NotClearSigned {
        what: what.to_owned(),
        why,
    })?;
    Ok(message.text)
}

impl Keyring {
    /// Verifies a clear-signed file (`InRelease`) at a time in seconds since the epoch. `what`
    /// names it in errors.
    ///
    /// The trusted bytes are the signed text as apt reads it: without dash escapes and trailing
    /// blanks, every line ending in a newline. It equals the `Release` file that was signed.
    pub fn verify_inline(
        &self,
        signed: &[u8],
        what: &str,
        now: i64,
    ) -> Result<Trusted, VerifyError> {
        self.inline(signed, what, now, KeyTime::Now)
    }

    /// As [`Self::verify_inline`], with each key's validity at the time of the signature.
    pub fn verify_inline_when_signed(
        &self,
        signed: &[u8],
        what: &str,
        now: i64,
    ) -> Result<Trusted, VerifyError> {
        self.inline(signed, what, now, KeyTime::SigningCapability)
    }

    fn inline(
        &self,
        signed: &[u8],
        what: &str,
        now: i64,
        key_time: KeyTime,
    ) -> Result<Trusted, VerifyError> {
        check_size(signed, MAX_CLEARTEXT_BYTES, what)?;
        let message = ClearSigned::parse(signed).map_err(|why| VerifyError::NotClearSigned {
            what: what.to_owned(),
            why,
        })?;
        let mut signatures = Vec::new();
        for block in &message.signatures {
            read_signatures(&block.packets, what, &mut signatures)?;
        }
        let text = message.hashed_text();
        let claims: Vec<UnverifiedSignature> =
            UnverifiedSignature::over(&text, &signatures).collect();
        let signers = self.check_signatures(&claims, what, now, key_time)?;
        Ok(Trusted::signed(message.text, signers))
    }

    /// Verifies bytes with a detached signature (`Release.gpg`, `repomd.xml.asc`), armored or
    /// binary, at a time in seconds since the epoch. `what` names the bytes in errors.
    pub fn verify_detached(
        &self,
        bytes: Vec<u8>,
        signature: &[u8],
        what: &str,
        now: i64,
    ) -> Result<Trusted, VerifyError> {
        self.detached(bytes, signature, what, now, KeyTime::Now)
    }

    /// As [`Self::verify_detached`], with each key's validity at the time of the signature.
    pub fn verify_detached_when_signed(
        &self,
        bytes: Vec<u8>,
        signature: &[u8],
        what: &str,
        now: i64,
    ) -> Result<Trusted, VerifyError> {
        self.detached(bytes, signature, what, now, KeyTime::SigningCapability)
    }

    fn detached(
        &self,
        bytes: Vec<u8>,
        signature: &[u8],
        what: &str,
        now: i64,
        key_time: KeyTime,
    ) -> Result<Trusted, VerifyError> {
        let signatures = read_detached(signature, what)?;
        let claims: Vec<UnverifiedSignature> =
            UnverifiedSignature::over(&bytes, &signatures).collect();
        let signers = self.check_signatures(&claims, what, now, key_time)?;
        Ok(Trusted::signed(bytes, signers))
    }

    /// Verifies the signatures of a package, with each key's validity at the time of the signature.
    /// `now` is in seconds since the epoch; `what` names the package in errors.
    pub fn verify_hashed(
        &self,
        signatures: &[HashedSignature],
        what: &str,
        now: i64,
    ) -> Result<Vec<Signer>, VerifyError> {
        let claims: Vec<UnverifiedSignature> = signatures
            .iter()
            .map(UnverifiedSignature::from_hashed)
            .collect();
        self.check_signatures(&claims, what, now, KeyTime::SigningCapability)
    }

    /// The signers of the good signatures, at least one.
    fn check_signatures(
        &self,
        claims: &[UnverifiedSignature],
        what: &str,
        now: i64,
        key_time: KeyTime,
    ) -> Result<Vec<Signer>, VerifyError> {
        let mut signers = Vec::new();
        let mut rejections = Vec::new();
        for claim in claims {
            match self.check_signature(claim, now, key_time) {
                Ok(signer) if signers.contains(&signer) => {}
                Ok(signer) => signers.push(signer),
                Err(rejection) => {
                    log::debug!("{what}: signature ignored: {rejection}");
                    rejections.push(rejection);
                }
            }
        }
        let what = what.to_owned();
        // apt and dnf reject such a root despite other signatures; for a package one good signature
        // is enough.
        let has_rejected = key_time == KeyTime::Now
            && rejections.iter().any(|rejection| {
                matches!(rejection.problem, Problem::Bad | Problem::Expired { .. })
            });
        if !signers.is_empty() && has_rejected {
            Err(VerifyError::SomeRejected { what, rejections })
        } else if !signers.is_empty() {
            Ok(signers)
        } else if rejections.is_empty() {
            Err(VerifyError::NoSignature { what })
        } else {
            let is_unknown = |rejection: &Rejection| rejection.problem == Problem::UnknownKey;
            Err(VerifyError::NotTrusted {
                what,
                unusable: if rejections.iter().any(is_unknown) {
                    self.unusable()
                } else {
                    Vec::new()
                },
                rejections,
            })
        }
    }

    fn check_signature(
        &self,
        claim: &UnverifiedSignature,
        now: i64,
        key_time: KeyTime,
    ) -> Result<Signer, Rejection> {
        let signature = match claim {
            UnverifiedSignature::Bytes { signature, .. } => signature,
            UnverifiedSignature::HashedSignature(hashed) => &hashed.signature,
            UnverifiedSignature::Invalid(problem) => {
                return Err(Rejection {
                    key: None,
                    problem: (*problem).clone(),
                });
            }
        };
        let key = named_key(signature);
        let rejection = |problem| Rejection {
            key: key.clone(),
            problem,
        };
        match signature.typ() {
            Some(SignatureType::Binary | SignatureType::Text) => {}
            Some(kind) => return Err(rejection(Problem::WrongType { kind: kind.into() })),
            None => {
                return Err(rejection(Problem::Version {
                    version: signature.version().into(),
                }));
            }
        }
        let Some(named) = &key else {
            return Err(rejection(Problem::Anonymous));
        };
        // Several keys can have the same key id, and two certificates the same subkey: one valid
        // key is enough.
        let mut problem = match self.unusable_named(named) {
            Some(UnusableKey { reason, .. }) => Problem::UnusableKey {
                reason: reason.clone(),
            },
            None => Problem::UnknownKey,
        };
        for (certificate, key) in self.keys_named_by(signature) {
            // The cryptography is checked first: other problems are not relevant for a bad
            // signature.
            let verdict = if certificate.made(key, claim) {
                self.check_key(certificate, key, signature, now, key_time)
            } else {
                Err(Problem::Bad)
            };
            match verdict {
                Ok(signer) => return Ok(signer),
                Err(reason) => problem = reason,
            }
        }
        Err(rejection(problem))
    }

    /// Checks a signature that `key` made.
    fn check_key(
        &self,
        certificate: &Certificate,
        key: Key,
        signature: &Signature,
        now: i64,
        key_time: KeyTime,
    ) -> Result<Signer, Problem> {
        let made = validity::created(signature).ok_or(Problem::Undated)?;
        if made > now.saturating_add(CLOCK_SKEW_SECS) {
            return Err(Problem::Future { made });
        }
        let at = match key_time {
            KeyTime::Now => now,
            KeyTime::SigningCapability => made,
        };
        if let Some(at) = validity::expiry(signature).filter(|expiry| *expiry <= at) {
            return Err(Problem::Expired { at });
        }
        let (validity, user_id) = self.validity(certificate, key, now)?;
        if made < validity.created() {
            return Err(Problem::OlderThanKey {
                key_made: validity.created(),
            });
        }
        validity.check(at).map_err(Problem::Key)?;
        if !self.policy().allow_weak_signatures {
            check_strength(certificate, key, signature)?;
        }
        Ok(Signer {
            fingerprint: certificate.fingerprint(),
            signing_fingerprint: certificate.key_fingerprint(key),
            user_id,
            signed_at: made,
        })
    }
}

fn check_size(bytes: &[u8], limit: usize, what: &str) -> Result<(), VerifyError> {
    if bytes.len() > limit {
        return Err(VerifyError::TooLarge {
            what: what.to_owned(),
            size: bytes.len(),
            limit,
        });
    }
    Ok(())
}

/// The signatures of a detached signature file, armored or binary, or why they cannot be read.
/// `what` names the signed bytes.
pub(super) fn read_detached(
    signature: &[u8],
    what: &str,
) -> Result<Vec<Result<Signature, Problem>>, VerifyError> {
    check_size(
        signature,
        MAX_SIGNATURE_BYTES,
        &format!("the signature of {what}"),
    )?;
    let mut signatures = Vec::new();
    if armor::is_armored(signature) {
        let armored = armor::read(signature, 1).map_err(|why| VerifyError::Armor {
            what: what.to_owned(),
            why,
        })?;
        for block in armored.blocks {
            read_signatures(&block.packets, what, &mut signatures)?;
        }
    } else if signature.first().is_some_and(|first| first & 0x80 != 0) {
        read_signatures(signature, what, &mut signatures)?;
    }
    Ok(signatures)
}

/// Appends every signature among the packets, or why it cannot be read.
fn read_signatures(
    packets: &[u8],
    what: &str,
    signatures: &mut Vec<Result<Signature, Problem>>,
) -> Result<(), VerifyError> {
    for packet in Packets::new(packets) {
        let packet = packet.map_err(|why| VerifyError::Framing {
            what: what.to_owned(),
            why,
        })?;
        if packet.tag() != Tag::Signature {
            continue;
        }
        if signatures.len() == MAX_SIGNATURES {
            return Err(VerifyError::TooMany {
                what: what.to_owned(),
            });
        }
        signatures.push(packet.signature().ok_or(Problem::Malformed));
    }
    Ok(())
}

pub(super) fn named_key(signature: &Signature) -> Option<String> {
    if let Some(fingerprint) = signature.issuer_fingerprint().first() {
        return Some(format!("{fingerprint:X}"));
    }
    let id = signature.issuer_key_id().first()?.to_string();
    Some(id.to_uppercase())
}

/// Checks that the digest and the key are strong. gpgv still accepts SHA-1 and short keys.
fn check_strength(
    certificate: &Certificate,
    key: Key,
    signature: &Signature,
) -> Result<(), Problem> {
    let digest = signature.hash_alg();
    if !digest.is_some_and(hasher::is_collision_resistant) {
        return Err(Problem::WeakDigest {
            digest: digest.map_or_else(String::new, |digest| digest.to_string()),
        });
    }
    certificate
        .weakness(key)
        .map_or(Ok(()), |weakness| Err(Problem::Key(weakness)))
}

#[cfg(test)]
mod tests;
