//! The files that chantal adds to an upstream's own: a repository's trusted keys, for clients.

use pgp::armor::{self, BlockType};
use pgp::composed::{ArmorOptions, Deserializable as _, SignedPublicKey};
use pgp::ser::Serialize as _;
use pgp::types::KeyDetails as _;

use super::tree::Tree;

/// As they are published under `publish.key_name`, which has no ending for apt. `keys` are public
/// keys in binary form.
pub fn key_files(kind: &str, name: &str, keys: &[Vec<u8>]) -> Tree {
    let mut tree = Tree::new();
    let mut keys: Vec<SignedPublicKey> = keys
        .iter()
        .map(|key| SignedPublicKey::from_bytes(&key[..]).unwrap())
        .collect();
    keys.sort_by_key(|key| format!("{:X}", key.fingerprint()));
    if keys.is_empty() {
        return tree;
    }
    if kind == "apt" {
        tree.insert(&format!("{name}.gpg"), keys.to_bytes().unwrap());
        let mut together = Vec::new();
        armor::write(&keys, BlockType::PublicKey, &mut together, None, true).unwrap();
        tree.insert(&format!("{name}.asc"), together);
    } else {
        let armored = |key: &SignedPublicKey| key.to_armored_string(ArmorOptions::default());
        let each: String = keys.iter().map(|key| armored(key).unwrap()).collect();
        tree.insert(name, each);
    }
    tree
}
