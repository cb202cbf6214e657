//! Whoever signs in the corpus, by the names that messages have there, and what they sign.

use std::collections::BTreeMap;
use std::io;
use std::sync::{LazyLock, OnceLock};

use pgp::armor::BlockType;
use pgp::ser::Serialize;

use crate::kit::keys::{Algorithm, HashAlgorithm, Key, PacketForm, RevocationCode};

pub const DAY: u32 = 86_400;

/// The moment of all signatures: one, so that they agree.
pub fn now() -> u32 {
    static NOW: OnceLock<u32> = OnceLock::new();
    *NOW.get_or_init(|| u32::try_from(jiff::Timestamp::now().as_second()).unwrap())
}

/// Yesterday, with SHA-256.
pub fn good() -> PacketForm {
    hashed(HashAlgorithm::Sha256)
}

pub fn hashed(hash: HashAlgorithm) -> PacketForm {
    PacketForm::of(hash, now() - DAY)
}

/// Keys that ended did so half a day ago, after everything was signed.
pub fn signer(name: &str) -> &'static Key {
    static SIGNERS: LazyLock<BTreeMap<&str, Key>> = LazyLock::new(|| {
        let key = |name: &str| Key::generate(&format!("{name} <{name}@example.org>"));
        let ended = now() - DAY / 2;
        let owner = Key::owner();
        [
            ("archive", Key::archive().clone()),
            ("second", key("second")),
            ("stranger", Key::stranger().clone()),
            ("expired", key("expired").expiring_at(ended)),
            (
                "revoked",
                key("revoked").revoked_at(ended, RevocationCode::KeyCompromised),
            ),
            (
                "retired",
                key("retired").revoked_at(ended, RevocationCode::KeyRetired),
            ),
            ("owner", owner.clone()),
            ("owner himself", owner.without_subkey()),
            (
                "robbed owner",
                owner.subkey_revoked_at(ended, RevocationCode::KeyCompromised),
            ),
            ("expired early", key("expired").expiring_at(Key::MADE + DAY)),
            ("dsa", Key::of(Algorithm::Dsa2048).clone()),
            ("ecdsa", Key::of(Algorithm::EcdsaP256).clone()),
            ("version-6", Key::of(Algorithm::Ed25519V6).clone()),
            ("rsa-1024", Key::of(Algorithm::Rsa(1024)).clone()),
            ("rsa-2048", Key::of(Algorithm::Rsa(2048)).clone()),
        ]
        .into()
    });
    &SIGNERS[name]
}

/// Fingerprints, and what stands for them in messages.
pub fn fingerprints() -> Vec<(String, String)> {
    let names = [
        "archive",
        "second",
        "stranger",
        "expired",
        "expired early",
        "revoked",
        "retired",
        "rsa-1024",
        "rsa-2048",
    ];
    let mut all: Vec<_> = names
        .iter()
        .map(|name| (signer(name).fingerprint(), format!("[{name}]")))
        .collect();
    let owner = signer("owner");
    all.push((owner.fingerprint(), "[owner]".to_owned()));
    all.push((owner.signing_fingerprint(), "[owner's subkey]".to_owned()));
    all
}

/// Packets in armor: a signature, several signatures, a keyring.
pub fn armored(kind: BlockType, packets: &[u8]) -> String {
    struct Raw<'a>(&'a [u8]);
    impl Serialize for Raw<'_> {
        fn to_writer<W: io::Write>(&self, writer: &mut W) -> pgp::errors::Result<()> {
            Ok(writer.write_all(self.0)?)
        }
        fn write_len(&self) -> usize {
            self.0.len()
        }
    }
    let mut text = Vec::new();
    pgp::armor::write(&Raw(packets), kind, &mut text, None, true).unwrap();
    String::from_utf8(text).unwrap()
}

/// `InRelease` of a text and the packets of its signatures, whose digests are named.
pub fn clear_signed(text: &str, digests: &str, packets: &[u8]) -> String {
    let mut escaped = String::new();
    for line in text.lines() {
        escaped.push_str(if line.starts_with('-') { "- " } else { "" });
        escaped.push_str(line);
        escaped.push('\n');
    }
    let signature = armored(BlockType::Signature, packets);
    format!("-----BEGIN PGP SIGNED MESSAGE-----\nHash: {digests}\n\n{escaped}{signature}")
}

/// One letter of the armor, that many before its end.
pub fn in_signature(text: &str, before: usize) -> String {
    with_other_letter(text, text.rfind("\n=").unwrap() - before)
}

/// One letter of the armor's checksum.
pub fn in_checksum(text: &str) -> String {
    with_other_letter(text, text.rfind("\n=").unwrap() + 2)
}

fn with_other_letter(text: &str, at: usize) -> String {
    let other = if &text[at..=at] == "A" { "B" } else { "A" };
    format!("{}{other}{}", &text[..at], &text[at + 1..])
}
