//! Files that are not what the root or an index says: other bytes, another size, a page for people,
//! nothing at all.

use super::{BROKEN, CHECK_KEY, MID_UPDATE, Scene, altered, described, digest};
use crate::kit::server::{Fault, Times};

const PAGE: &[u8] = b"<!DOCTYPE html>\n<html><body>Please log in</body></html>\n";

/// Every index under every name that it has, broken one way; only the first one that is asked for
/// is judged.
fn break_index(scene: &Scene, change: impl Fn(&[u8]) -> Option<Vec<u8>>) {
    for path in scene.index_paths() {
        match change(scene.built.tree.bytes(&path)) {
            Some(bytes) => scene.serve(&path, bytes),
            None => scene.serve_nothing(&path),
        }
    }
}

#[test]
fn a_package_of_the_right_size_with_wrong_bytes() {
    for scene in Scene::both() {
        let path = scene.built.path_of("hello");
        let good = scene.built.tree.bytes(&path);
        let bad = altered(good);
        scene.serve(&path, bad.clone());
        scene.refused(
            4,
            &format!(
                "error: r: {}: [server]/{path}: content does not match the metadata: expected {}, got {}\n{MID_UPDATE}",
                scene.package_name(),
                described(good),
                described(&bad),
            ),
        );
        scene.recovers();
    }
}

#[test]
fn a_package_that_is_longer_or_shorter_than_declared() {
    for scene in Scene::both() {
        let path = scene.built.path_of("hello");
        let good = scene.built.tree.bytes(&path);
        let longer = [good, b"more"].concat();
        let shorter = &good[..good.len() - 1];
        for (bad, got) in [
            (&longer[..], format!("{} bytes or more", longer.len())),
            (shorter, format!("{} bytes", shorter.len())),
        ] {
            scene.serve(&path, bad);
            scene.refused(
                4,
                &format!(
                    "error: r: {}: [server]/{path}: content does not match the metadata: expected {}, got {got}\n{MID_UPDATE}",
                    scene.package_name(),
                    described(good),
                ),
            );
        }
        scene.recovers();
    }
}

#[test]
fn a_package_that_is_not_there() {
    for scene in Scene::both() {
        let path = scene.built.path_of("hello");
        scene.serve_nothing(&path);
        scene.refused(
            4,
            &format!(
                "error: r: {}: [server]/{path}: not found\n{MID_UPDATE}",
                scene.package_name()
            ),
        );
        scene.recovers();
    }
}

#[test]
fn a_page_for_people_in_place_of_a_package() {
    for scene in Scene::both() {
        let path = scene.built.path_of("hello");
        scene.server.fault(&path, Times::Always, Fault::Html);
        let good = scene.built.tree.bytes(&path);
        scene.refused(
            4,
            &format!(
                "error: r: {}: [server]/{path}: content does not match the metadata: expected {}, got {} bytes\n{MID_UPDATE}",
                scene.package_name(),
                described(good),
                PAGE.len(),
            ),
        );
        scene.recovers();
    }
}

#[test]
fn an_index_of_the_right_size_with_wrong_bytes() {
    for scene in Scene::both() {
        let path = &scene.index_paths()[0];
        let good = scene.built.tree.bytes(path);
        break_index(&scene, |good| Some(altered(good)));
        scene.refused(
            4,
            &format!(
                "error: r: {}: [server]/{path}: content does not match the metadata: expected {}, got {}\n{MID_UPDATE}",
                scene.index_name(),
                described(good),
                described(&altered(good)),
            ),
        );
        scene.recovers();
    }
}

#[test]
fn an_index_with_something_added() {
    for scene in Scene::both() {
        let path = &scene.index_paths()[0];
        let good = scene.built.tree.bytes(path);
        break_index(&scene, |good| Some([good, b"x"].concat()));
        scene.refused(
            4,
            &format!(
                "error: r: {}: [server]/{path}: content does not match the metadata: expected {}, got {} bytes or more\n{MID_UPDATE}",
                scene.index_name(),
                described(good),
                good.len() + 1,
            ),
        );
        scene.recovers();
    }
}

#[test]
fn a_page_for_people_in_place_of_an_index() {
    for scene in Scene::both() {
        for path in scene.index_paths() {
            scene.server.fault(&path, Times::Always, Fault::Html);
        }
        let path = &scene.index_paths()[0];
        let good = scene.built.tree.bytes(path);
        scene.refused(
            4,
            &format!(
                "error: r: {}: [server]/{path}: content does not match the metadata: expected {}, got {} bytes\n{MID_UPDATE}",
                scene.index_name(),
                described(good),
                PAGE.len(),
            ),
        );
        scene.recovers();
    }
}

/// One variant is enough; without any of them the root promises what is not there.
#[test]
fn an_index_that_is_not_there_in_any_variant() {
    for scene in Scene::both() {
        let gone: Vec<String> = scene
            .built
            .tree
            .paths()
            .into_iter()
            .filter(|path| {
                path.contains("Packages.") || path.contains("primary") || path.contains("by-hash")
            })
            .map(str::to_owned)
            .collect();
        for path in &gone {
            scene.serve_nothing(path);
        }
        let message = if scene.is_deb() {
            let base = "[server]/dists/stable/main/binary-amd64/Packages";
            format!(
                "main/binary-amd64/Packages: listed in the metadata, but no variant exists on the upstream: \
                 {base}.xz, {base}.gz, {base}\n"
            )
        } else {
            format!(
                "primary: listed in the metadata, but no variant exists on the upstream: [server]/{}\n",
                gone[0]
            )
        };
        scene.refused(
            4,
            &format!(
                "error: r: {message}hint: the upstream may be in the middle of an update; try again later; the state of the last successful sync is unchanged\n"
            ),
        );
        scene.recovers();
    }
}

#[test]
fn a_page_for_people_in_place_of_a_root() {
    for scene in Scene::both() {
        let root = scene.upstream.root();
        scene.server.fault(&root, Times::Always, Fault::Html);
        scene.refused(
            4,
            &format!(
                "error: r: [server]/{root} {}",
                scene.pick(
                    &format!(
                        "is not a valid clear-signed file: the first line is not \
                         \"-----BEGIN PGP SIGNED MESSAGE-----\"\n{BROKEN}"
                    ),
                    &format!(
                        "has no good signature by a trusted key\n  by {}: bad signature: the file or the \
                         signature was modified\n{CHECK_KEY}",
                        crate::kit::keys::Key::archive().fingerprint()
                    ),
                ),
            ),
        );
        scene.recovers();
    }
}

/// Nothing is signed here: the page itself must be found out.
#[test]
fn a_page_for_people_in_place_of_an_unsigned_root() {
    for upstream in crate::kit::upstream::Upstream::both() {
        let scene = Scene::of(upstream.unsigned());
        // Where there is no InRelease a portal still answers.
        let root = scene.pick("dists/stable/InRelease", "repodata/repomd.xml");
        scene.server.fault(root, Times::Always, Fault::Html);
        scene.refused(
            4,
            scene.pick(
                &format!(
                    "error: r: [server]/dists/stable/InRelease is not a valid clear-signed file: the \
                     first line is not \"-----BEGIN PGP SIGNED MESSAGE-----\"\n{BROKEN}"
                ),
                &format!("error: r: repodata/repomd.xml: DOCTYPE is not allowed\n{BROKEN}"),
            ),
        );
        scene.recovers();
    }
}

#[test]
fn a_root_that_is_not_there() {
    for scene in Scene::both() {
        scene.server.swap(crate::kit::tree::Tree::new());
        scene.refused(
            4,
            &format!(
                "error: r: no repository found: none of {} exists\nhint: check upstream.url, and for APT also apt.distribution\n",
                scene.pick(
                    "[server]/dists/stable/InRelease, [server]/dists/stable/Release",
                    "[server]/repodata/repomd.xml",
                ),
            ),
        );
        scene.recovers();
    }
}

/// The size that the index gives is wrong, the digest is right: the file is what was meant, and
/// still not what was declared.
#[test]
fn a_known_package_with_another_declared_size() {
    for upstream in super::forge::plain() {
        let scene = Scene::of(upstream);
        // `data` is in the pool already, so that no download can notice.
        let path = scene.built.path_of("data");
        let bytes = scene.built.tree.bytes(&path);
        let tree = super::forge::index(&scene, |text| {
            let size = bytes.len();
            let (deb, rpm) = (format!("Size: {size}\n"), format!("package=\"{size}\""));
            assert!(text.contains(&deb) || text.contains(&rpm));
            text.replace(&deb, "Size: 7\n")
                .replace(&rpm, "package=\"7\"")
        });
        scene.server.swap(tree);
        scene.refused(
            4,
            &format!(
                "error: r: {path} is listed with 7 bytes, but the file with {} has {}\n\
                 hint: the indexes of the upstream contradict each other: report this to the upstream; the state of the last successful sync is unchanged\n",
                digest(bytes),
                bytes.len()
            ),
        );
        scene.recovers();
    }
}
