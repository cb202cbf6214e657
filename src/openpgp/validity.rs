//! The validity of a key: expiry, revocation and usage according to its certificate.
//!
//! Self-signatures are merged like in gpg (`merge_selfsigs` in its `getkey.c`): the newest
//! direct-key signature comes first, then the newest self-signature of each user id, the newest
//! first; the first one that contains an expiry or key flags is used. Designated revokers are not
//! supported.

use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{KeyFlags, RevocationCode, Signature, SignatureType, SubpacketData};
use pgp::types::{KeyDetails, Tag};

use super::armor::Raw;
use super::certificate::{Certificate, Key, KeyValidity, Signatures, SigningCapability, Subkey};
use super::composite::Verifier;
use super::problem::{KeyProblem, Revocation};

impl Certificate {
    /// The validity of one key according to signatures made by `now`.
    pub fn validity(&self, key: Key, now: i64) -> Result<KeyValidity, KeyProblem> {
        let primary = self.primary_validity(now)?;
        match key {
            Key::Primary => Ok(primary),
            Key::Subkey(subkey) => self.subkey_validity(subkey, &primary, now),
        }
    }

    /// The validity of all keys, the primary one first. The primary key is checked only once: that
    /// takes a verification for each of its signatures, and a file can contain tens of thousands of
    /// signatures and subkeys.
    pub fn validities(
        &self,
        now: i64,
    ) -> impl Iterator<Item = (Key<'_>, Result<KeyValidity, KeyProblem>)> {
        let primary = self.primary_validity(now);
        self.keys().map(move |key| {
            let validity = match (key, &primary) {
                (Key::Subkey(subkey), Ok(primary)) => self.subkey_validity(subkey, primary, now),
                _ => primary.clone(),
            };
            (key, validity)
        })
    }

    fn primary_validity(&self, now: i64) -> Result<KeyValidity, KeyProblem> {
        let verify = |signature: &Signature| signature.verify_key(&Verifier(&self.primary)).is_ok();
        let direct = newest(&self.direct, now, |signature| {
            signature.typ() == Some(SignatureType::Key) && verify(signature)
        });
        let mut user_ids: Vec<_> = self.certified_user_ids(now).collect();
        user_ids.sort_by_key(|(_, signature)| std::cmp::Reverse(created(signature)));
        let statements: Vec<_> = direct
            .into_iter()
            .chain(user_ids.into_iter().map(|(_, signature)| signature))
            .collect();
        if statements.is_empty() {
            return Err(KeyProblem::NoSelfSignature);
        }

        let made = i64::from(self.primary.created_at().as_secs());
        let may_sign = statements
            .iter()
            .find_map(|signature| key_flags(signature))
            // Keys without key flags can be used for everything that their algorithm supports.
            .is_none_or(KeyFlags::sign);
        Ok(KeyValidity {
            created: made,
            expires: statements
                .iter()
                .find_map(|signature| validity_secs(signature))
                .map(|seconds| made + seconds),
            revoked: revocation(&self.direct, |signature| {
                signature.typ() == Some(SignatureType::KeyRevocation) && verify(signature)
            }),
            signing: if may_sign {
                SigningCapability::Allowed
            } else {
                SigningCapability::NotAllowed
            },
        })
    }

    fn subkey_validity(
        &self,
        subkey: &Subkey,
        primary: &KeyValidity,
        now: i64,
    ) -> Result<KeyValidity, KeyProblem> {
        let verify = |signature: &Signature| {
            signature
                .verify_subkey_binding(&Verifier(&self.primary), &subkey.key)
                .is_ok()
        };
        let binding = newest(&subkey.signatures, now, |signature| {
            signature.typ() == Some(SignatureType::SubkeyBinding) && verify(signature)
        })
        .ok_or(KeyProblem::NoBinding)?;
        let revoked = revocation(&subkey.signatures, |signature| {
            signature.typ() == Some(SignatureType::SubkeyRevocation) && verify(signature)
        });
        let made = i64::from(subkey.key.created_at().as_secs());
        let expires = validity_secs(binding).map(|seconds| made + seconds);
        let signing = if !key_flags(binding).is_none_or(KeyFlags::sign) {
            SigningCapability::NotAllowed
        } else if !self.has_back_signature(subkey, binding) {
            SigningCapability::NoBackSignature
        } else {
            SigningCapability::Allowed
        };
        Ok(KeyValidity {
            created: made.max(primary.created),
            expires: [expires, primary.expires].into_iter().flatten().min(),
            revoked: more_severe(revoked, primary.revoked),
            signing,
        })
    }

    /// Without a signature by the subkey, a certificate could include the subkey of someone else
    /// and claim its signatures.
    fn has_back_signature(&self, subkey: &Subkey, binding: &Signature) -> bool {
        let Some(config) = binding.config() else {
            return false;
        };
        config
            .hashed_subpackets()
            .chain(config.unhashed_subpackets())
            .filter_map(|subpacket| match &subpacket.data {
                SubpacketData::EmbeddedSignature(signature) => Some(signature),
                _ => None,
            })
            // One is usual; the number is limited because each costs time.
            .take(4)
            .any(|signature| {
                may_certify(signature)
                    && signature
                        .verify_primary_key_binding(&Verifier(&subkey.key), &self.primary)
                        .is_ok()
            })
    }

    /// User ids with their newest self-signature, without revoked ones.
    fn certified_user_ids(&self, now: i64) -> impl Iterator<Item = (&[u8], &Signature)> {
        self.user_ids
            .iter()
            .filter_map(move |(user_id, signatures)| {
                // A newer self-signature makes a revoked user id valid again.
                let signature = newest(signatures, now, |signature| {
                    signature
                        .verify_certification(&Verifier(&self.primary), Tag::UserId, &Raw(user_id))
                        .is_ok()
                })?;
                (signature.typ() != Some(SignatureType::CertRevocation))
                    .then_some((user_id.as_slice(), signature))
            })
    }

    /// The primary user id: the one marked as primary, otherwise the newest.
    pub fn user_id(&self, now: i64) -> Option<String> {
        self.certified_user_ids(now)
            .max_by_key(|(_, signature)| (signature.is_primary(), created(signature)))
            .map(|(user_id, _)| String::from_utf8_lossy(user_id).into_owned())
    }
}

impl KeyValidity {
    /// In seconds since the epoch.
    pub fn created(&self) -> i64 {
        self.created
    }

    pub fn expires(&self) -> Option<i64> {
        self.expires
    }

    pub fn revoked(&self) -> Option<Revocation> {
        self.revoked
    }

    /// Whether the key is valid for data signatures at a time. Package signatures are checked at
    /// the time they were made, all others at the current time, as in apt.
    pub fn check(&self, at: i64) -> Result<(), KeyProblem> {
        if let Some(revocation) = self.revoked
            && (revocation.compromised || revocation.at <= at)
        {
            return Err(KeyProblem::Revoked { revocation });
        }
        match self.signing {
            SigningCapability::Allowed => {}
            SigningCapability::NotAllowed => return Err(KeyProblem::NotForSigning),
            SigningCapability::NoBackSignature => return Err(KeyProblem::NoBackSignature),
        }
        if at < self.created {
            return Err(KeyProblem::NotYetValid { from: self.created });
        }
        match self.expires {
            Some(expiry) if expiry <= at => Err(KeyProblem::Expired { at: expiry }),
            _ => Ok(()),
        }
    }
}

/// SHA-1 is accepted in self-signatures: an attacker would have to change the keyring to use a
/// forged one. Many keys in use have nothing better.
fn may_certify(signature: &Signature) -> bool {
    signature
        .hash_alg()
        .is_some_and(|algorithm| algorithm != HashAlgorithm::Md5)
}

/// The newest valid signature that was made by `now` and has not expired then.
fn newest(
    signatures: &Signatures,
    now: i64,
    verify: impl Fn(&Signature) -> bool,
) -> Option<&Signature> {
    let mut by_age: Vec<_> = signatures
        .values()
        .filter(|signature| may_certify(signature))
        .filter(|signature| created(signature).is_some_and(|created| created <= now))
        .filter(|signature| expiry(signature).is_none_or(|expiry| now < expiry))
        .collect();
    by_age.sort_by_key(|signature| std::cmp::Reverse(created(signature)));
    by_age.into_iter().find(|signature| verify(signature))
}

/// The most severe valid revocation. Revocations never expire, and one with a future date is valid
/// from that date on.
fn revocation(signatures: &Signatures, verify: impl Fn(&Signature) -> bool) -> Option<Revocation> {
    signatures
        .values()
        .filter(|signature| verify(signature))
        .map(|signature| Revocation {
            at: created(signature).unwrap_or(0),
            // A revocation without a reason, or with an unknown one, is treated as a compromise.
            compromised: !matches!(
                signature.revocation_reason_code(),
                Some(RevocationCode::KeySuperseded | RevocationCode::KeyRetired)
            ),
        })
        .fold(None, |most_severe, next| {
            more_severe(most_severe, Some(next))
        })
}

fn more_severe(one: Option<Revocation>, other: Option<Revocation>) -> Option<Revocation> {
    [one, other]
        .into_iter()
        .flatten()
        .min_by_key(|revocation| (!revocation.compromised, revocation.at))
}

/// When a signature was made, in seconds since the epoch.
pub(super) fn created(signature: &Signature) -> Option<i64> {
    signature.created().map(|time| i64::from(time.as_secs()))
}

/// When a signature expires, in seconds since the epoch.
pub(super) fn expiry(signature: &Signature) -> Option<i64> {
    let validity = signature.signature_expiration_time()?.as_secs();
    (validity > 0).then_some(created(signature)? + i64::from(validity))
}

/// The validity period of the key after its creation, if a self-signature contains one.
fn validity_secs(signature: &Signature) -> Option<i64> {
    let validity = signature.key_expiration_time()?.as_secs();
    (validity > 0).then_some(i64::from(validity))
}

fn key_flags(signature: &Signature) -> Option<&KeyFlags> {
    signature
        .config()?
        .hashed_subpackets()
        .find_map(|subpacket| match &subpacket.data {
            SubpacketData::KeyFlags(flags) => Some(flags),
            _ => None,
        })
}

#[cfg(test)]
mod tests;
