//! gpgv and rpm on published files, without a client's own rules in between.

use super::mirror_of;
use crate::kit::clients::gpgv;
use crate::kit::keys::Key;
use crate::kit::tree::Tree;
use crate::kit::upstream::Upstream;
use crate::quickstart::Quickstart;

/// The file that is signed, and its signature unless it is inside.
const SIGNED: [(&str, &str, Option<&str>); 3] = [
    ("apt", "dists/stable/InRelease", None),
    (
        "apt",
        "dists/stable/Release",
        Some("dists/stable/Release.gpg"),
    ),
    (
        "rpm",
        "repodata/repomd.xml",
        Some("repodata/repomd.xml.asc"),
    ),
];

/// `gpgv` accepts every root in `tree` with `keyring`, and none of them once a byte is another.
fn judged(format: &str, tree: &Tree, keyring: &[u8]) {
    for (_, signed, signature) in SIGNED.iter().filter(|(of, ..)| *of == format) {
        let signature = signature.map(|path| tree.bytes(path));
        let Some(output) = gpgv(keyring, tree.bytes(signed), signature) else {
            return;
        };
        output.exits(0).mentions("Good signature");

        let mut tampered = tree.bytes(signed).to_vec();
        // In the first line of the text, for both kinds.
        let place = tree.text(signed).find("ersion=\"1").unwrap_or_else(|| {
            tree.text(signed).find("Suite: ").expect("Release has one") + "Suite: ".len()
        });
        tampered[place] ^= 1;
        let refused = gpgv(keyring, &tampered, signature).unwrap();
        refused.exits(1).mentions("BAD signature");
    }
}

#[test]
fn gpgv_accepts_published_roots() {
    for upstream in Upstream::both() {
        let mirror = mirror_of(&upstream);
        let tree = mirror.chantal.published_tree("r");
        judged(upstream.kind(), &tree, &Key::archive().public_binary());
    }
}

#[test]
fn gpgv_accepts_the_roots_of_the_quickstart() {
    let quickstart = Quickstart::new();
    quickstart.sync().exits(0);
    let keyring = binary(&quickstart.key());
    for format in ["apt", "rpm"] {
        judged(format, &Tree::read(&quickstart.published(format)), &keyring);
    }
}

/// gpgv reads no armor.
fn binary(armored: &str) -> Vec<u8> {
    use pgp::composed::{Deserializable as _, SignedPublicKey};
    use pgp::ser::Serialize as _;

    let (key, _) = SignedPublicKey::from_string(armored).unwrap();
    key.to_bytes().unwrap()
}
