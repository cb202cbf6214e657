//! Keys and signatures.

use std::fs;

use super::{CHECK_KEY, Scene};
use crate::kit::keys::Key;
use crate::kit::upstream::Upstream;

const CHECK_FILE: &str =
    "hint: check gpgkey_file or gpgkey_url; the state of the last successful sync is unchanged\n";

#[test]
fn a_key_file_that_is_not_there() {
    for scene in Scene::both() {
        fs::remove_file(scene.chantal.config().join("repos.d/r.asc")).unwrap();
        scene.refused(2, &format!("error: r: cannot load key: failed to open file `[dir]/config/repos.d/r.asc`: No such file or directory (os error 2)\n{CHECK_FILE}"));
        scene.recovers();
    }
}

#[test]
fn a_key_file_that_holds_no_key() {
    for scene in Scene::both() {
        scene
            .chantal
            .write("config/repos.d/r.asc", "Sorry, the key is being renewed.\n");
        scene.refused(2, &format!("error: r: [dir]/config/repos.d/r.asc is not an OpenPGP key file: it contains neither armor nor binary packets\n{CHECK_FILE}"));
        scene.recovers();
    }
}

#[test]
fn a_key_url_that_does_not_exist() {
    for scene in Scene::both() {
        let yaml = fs::read_to_string(scene.chantal.config().join("repos.d/r.yaml")).unwrap();
        let yaml = yaml.replace(
            "gpgkey_file: r.asc",
            &format!(
                "gpgkey_url: {}/key.asc\n  gpgkey_fingerprints: {}",
                scene.server.url(),
                Key::archive().fingerprint()
            ),
        );
        scene.chantal.write("config/repos.d/r.yaml", &yaml);
        scene.refused(
            4,
            "error: r: key not found: [server]/key.asc\nhint: check gpgkey_url\n",
        );
        scene
            .server
            .edit(|tree| tree.insert("key.asc", Key::archive().public_armored()));
        scene.sync().succeeds();
        scene.shows_the_new_state();
    }
}

fn bad_signature(root: &str) -> String {
    format!(
        "error: r: [server]/{root} has no good signature by a trusted key\n  by {}: bad signature: the file or the \
         signature was modified\n{CHECK_KEY}",
        Key::archive().fingerprint()
    )
}

/// The good signature is there, and not where apt would look first.
#[test]
fn a_bad_inrelease_does_not_fall_back_to_a_good_release() {
    let scene = Scene::of(Upstream::deb());
    let text = scene
        .built
        .tree
        .text("dists/stable/InRelease")
        .replace("Label: Kit", "Label: Cat");
    scene.serve("dists/stable/InRelease", text);
    scene.server.clear_log();
    scene.refused(4, &bad_signature("dists/stable/InRelease"));
    assert_eq!(
        scene.server.request_lines(),
        ["GET dists/stable/InRelease 200"]
    );
    scene.recovers();
}
