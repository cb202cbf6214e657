//! Upstreams whose signatures and digests are right and whose texts are not what a builder would
//! write.

use super::Scene;
use crate::kit::tree::Tree;
use crate::kit::upstream::{Checksum, Codec, DebExtra, FileNames, Signing, Upstream};

/// Both formats without compression, digests in names or further copies: what can be edited as
/// text.
pub fn plain() -> [Upstream; 2] {
    [plain_deb(), plain_rpm()]
}

pub fn plain_deb() -> Upstream {
    Upstream::deb().with_deb(|deb| {
        deb.compressions = vec![Codec::Plain];
        deb.listed_only = Vec::new();
        deb.extras.remove(&DebExtra::ByHash);
    })
}

pub fn plain_rpm() -> Upstream {
    Upstream::rpm().with_rpm(|rpm| {
        rpm.compression = Codec::Plain;
        rpm.file_names = FileNames::Plain;
    })
}

/// The upstream's files with another list of packages, and a root that vouches for it.
pub(super) fn index(scene: &Scene, change: impl Fn(&str) -> String) -> Tree {
    let path = scene.pick(
        "dists/stable/main/binary-amd64/Packages",
        "repodata/primary.xml",
    );
    let mut tree = scene.built.tree.clone();
    let old = tree.text(path).to_owned();
    let new = change(&old);
    assert_ne!(old, new, "nothing to change in {path}");
    let root = scene.pick("dists/stable/Release", "repodata/repomd.xml");
    let [old, bytes] = [&old, &new].map(|text| [text.as_bytes(); 2]);
    let text = declare(tree.text(root), path, old, bytes);
    if let Signing::By(key) = scene.upstream.signing {
        if scene.is_deb() {
            tree.insert("dists/stable/InRelease", key.clear_sign(&text));
        }
        let signature = scene.pick("dists/stable/Release.gpg", "repodata/repomd.xml.asc");
        tree.insert(signature, key.sign(text.as_bytes()));
    }
    tree.insert(path, new);
    tree.insert(root, text);
    tree
}

/// In a root of either format: an index with these bytes and, when it is compressed, with this
/// content.
pub fn declare(root: &str, path: &str, old: [&[u8]; 2], new: [&[u8]; 2]) -> String {
    let Some(name) = path.strip_prefix("dists/stable/") else {
        return declare_in_repomd(root, path, old, new);
    };
    let text = declare_in_release(root, name, new[0]);
    match name.strip_suffix(".gz") {
        Some(name) => declare_in_release(&text, name, new[1]),
        None => text,
    }
}

fn declare_in_release(release: &str, name: &str, bytes: &[u8]) -> String {
    let end = format!(" {name}");
    lines(release, |line| {
        if line.ends_with(&end) {
            format!(" {} {:>8} {name}", Checksum::Sha256.hex(bytes), bytes.len())
        } else {
            line.to_owned()
        }
    })
}

fn declare_in_repomd(repomd: &str, path: &str, old: [&[u8]; 2], new: [&[u8]; 2]) -> String {
    let start = repomd.find(&format!("href=\"{path}\"")).unwrap();
    let start = repomd[..start].rfind("<data ").unwrap();
    let end = start + repomd[start..].find("</data>").unwrap();
    let mut data = repomd[start..end].to_owned();
    for (place, size) in ["size", "open-size"].iter().enumerate() {
        let sized = |bytes: &[u8]| format!("<{size}>{}</{size}>", bytes.len());
        data = data
            .replace(&sized(old[place]), &sized(new[place]))
            .replace(
                &Checksum::Sha256.hex(old[place]),
                &Checksum::Sha256.hex(new[place]),
            );
    }
    format!("{}{data}{}", &repomd[..start], &repomd[end..])
}

/// A text with every line changed.
pub fn lines(text: &str, change: impl Fn(&str) -> String) -> String {
    text.lines()
        .fold(String::new(), |text, line| text + &change(line) + "\n")
}
