//! Upstreams whose signatures and digests are right and whose texts are not what a builder would write.

use super::Scene;
use crate::kit::tree::Tree;
use crate::kit::upstream::{Checksum, Codec, DebExtra, FileNames, Signing, Upstream};

/// Both formats without compression, digests in names or further copies: what can be edited as text.
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
pub fn index(scene: &Scene, change: impl Fn(&str) -> String) -> Tree {
    let path = scene.pick(
        "dists/stable/main/binary-amd64/Packages",
        "repodata/primary.xml",
    );
    index_at(scene, path, change)
}

/// The same for any index.
pub fn index_at(scene: &Scene, path: &str, change: impl Fn(&str) -> String) -> Tree {
    let new = change(scene.built.tree.text(path));
    index_with(scene, path, new.as_bytes(), |root| root)
}

/// An index with this content, which the root vouches for; the root is changed further.
pub fn index_with(
    scene: &Scene,
    path: &str,
    new: &[u8],
    change_root: impl Fn(String) -> String,
) -> Tree {
    let old = scene.built.tree.bytes(path);
    assert_ne!(old, new, "nothing to change in {path}");
    let mut tree = scene.built.tree.clone();
    tree.insert(path, new);
    root_of(scene, tree, |text| {
        change_root(redeclare(text, path, old, new))
    })
}

/// The upstream's files with another root, signed.
pub fn root(scene: &Scene, change: impl Fn(&str) -> String) -> Tree {
    root_of(scene, scene.built.tree.clone(), change)
}

fn root_of(scene: &Scene, mut tree: Tree, change: impl Fn(&str) -> String) -> Tree {
    let path = scene.pick("dists/stable/Release", "repodata/repomd.xml");
    let old = tree.text(path).to_owned();
    let new = change(&old);
    assert_ne!(old, new, "nothing to change in {path}");
    if let Signing::By(key) = scene.upstream.signing {
        if scene.is_deb() {
            tree.insert("dists/stable/InRelease", key.clear_sign(&new));
        }
        let signature = scene.pick("dists/stable/Release.gpg", "repodata/repomd.xml.asc");
        tree.insert(signature, key.sign(new.as_bytes()));
    }
    tree.insert(path, new);
    tree
}

/// Puts the new content's digest and size where the root has those of the old one.
fn redeclare(root: &str, path: &str, old: &[u8], new: &[u8]) -> String {
    let hex = Checksum::Sha256.hex(old);
    let mut lines: Vec<String> = root.lines().map(str::to_owned).collect();
    let at = lines.iter().position(|line| line.contains(&hex)).unwrap();
    let listed = lines[at].replace(&hex, &Checksum::Sha256.hex(new));
    let name = path.strip_prefix("dists/stable/").unwrap_or(path);
    if listed.ends_with(name) {
        lines[at] = listed.replace(&format!("{:>8}", old.len()), &format!("{:>8}", new.len()));
    } else {
        lines[at] = listed;
        let size = format!("<size>{}</size>", old.len());
        let below = lines[at..].iter().position(|line| line.contains(&size));
        lines[at + below.unwrap()] = format!("  <size>{}</size>", new.len());
    }
    lines.join("\n") + "\n"
}
