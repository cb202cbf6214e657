//! Keys and signatures.

use std::fs;

use super::{BROKEN, CHECK_KEY, Scene};
use crate::kit::keys::Key;
use crate::kit::upstream::{Roots, Upstream};

const CHECK_FILE: &str =
    "hint: check gpgkey_file or gpgkey_url; the last good state is untouched\n";

#[test]
fn a_key_file_that_is_not_there() {
    for scene in Scene::both() {
        fs::remove_file(scene.chantal.config().join("repos.d/r.asc")).unwrap();
        scene.refused(2, &format!("error: r: a key: failed to open file `[dir]/config/repos.d/r.asc`: No such file or directory (os error 2)\n{CHECK_FILE}"));
        scene.recovers();
    }
}

#[test]
fn a_key_file_that_holds_no_key() {
    for scene in Scene::both() {
        scene
            .chantal
            .write("config/repos.d/r.asc", "Sorry, the key is being renewed.\n");
        scene.refused(2, &format!("error: r: [dir]/config/repos.d/r.asc is not an OpenPGP key file: there is neither armor nor a binary packet\n{CHECK_FILE}"));
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
            "error: r: a key is missing: [server]/key.asc does not exist\nhint: check gpgkey_url\n",
        );
        scene
            .server
            .edit(|tree| tree.insert("key.asc", Key::archive().public_armored()));
        scene.sync().succeeds();
        scene.shows_the_new_state();
    }
}

#[test]
fn another_key_than_the_one_that_signed() {
    for scene in Scene::both() {
        scene
            .chantal
            .repository(&scene.repository.clone().trusting(Key::stranger()));
        let root = scene.upstream.root();
        scene.refused(4, &format!(
            "error: r: [server]/{root} has no good signature by a trusted key\n  by {}: the key is not among the trusted keys\n{CHECK_KEY}",
            Key::archive().fingerprint()
        ));
        scene.recovers();
    }
}

#[test]
fn a_root_signed_by_someone_else() {
    for scene in Scene::both() {
        let stranger = scene.upstream.clone().signed_by(Key::stranger()).build();
        scene.server.swap(stranger.tree);
        let root = scene.upstream.root();
        scene.refused(4, &format!(
            "error: r: [server]/{root} has no good signature by a trusted key\n  by {}: the key is not among the trusted keys\n{CHECK_KEY}",
            Key::stranger().fingerprint()
        ));
        scene.recovers();
    }
}

fn bad_signature(root: &str) -> String {
    format!(
        "error: r: [server]/{root} has no good signature by a trusted key\n  by {}: the signature is bad: these bytes, or the \
         signature, were changed\n{CHECK_KEY}",
        Key::archive().fingerprint()
    )
}

#[test]
fn a_tampered_root() {
    let detached = Upstream::deb().with_deb(|deb| deb.roots = Roots::DetachedOnly);
    for upstream in Upstream::both().into_iter().chain([detached]) {
        let scene = Scene::of(upstream);
        let root = scene.upstream.root();
        let text = scene.built.tree.text(&root);
        let tampered = text
            .replace("Label: Kit", "Label: Cat")
            .replace("<revision>", "<revision>1");
        assert_ne!(text, tampered);
        scene.serve(&root, tampered);
        scene.refused(4, &bad_signature(&root));
        scene.recovers();
    }
}

#[test]
fn a_signature_of_something_else() {
    let detached = Upstream::deb().with_deb(|deb| deb.roots = Roots::DetachedOnly);
    for upstream in [detached, Upstream::rpm()] {
        let scene = Scene::of(upstream);
        let signature = scene.pick("dists/stable/Release.gpg", "repodata/repomd.xml.asc");
        scene.serve(signature, Key::archive().sign(b"something else"));
        scene.refused(4, &bad_signature(&scene.upstream.root()));
        scene.recovers();
    }
}

#[test]
fn a_signature_that_is_damaged_empty_or_a_page() {
    let detached = Upstream::deb().with_deb(|deb| deb.roots = Roots::DetachedOnly);
    for upstream in [detached, Upstream::rpm()] {
        let scene = Scene::of(upstream);
        let root = scene.upstream.root();
        let path = scene.pick("dists/stable/Release.gpg", "repodata/repomd.xml.asc");
        let signature = scene.built.tree.bytes(path);
        for (bytes, message) in [
            (
                Vec::new(),
                "there is no OpenPGP signature where that of [server]/{root} should be",
            ),
            (
                b"<html>not found</html>".to_vec(),
                "there is no OpenPGP signature where that of [server]/{root} should be",
            ),
            (
                signature[..signature.len() / 2].to_vec(),
                "the armor of the signature of [server]/{root} is damaged: the armor that begins in line 1 has no end",
            ),
        ] {
            scene.serve(path, bytes);
            scene.refused(
                4,
                &format!(
                    "error: r: {}\n{CHECK_KEY}",
                    message.replace("{root}", &root)
                ),
            );
        }
        scene.recovers();
    }
}

#[test]
fn a_signature_that_is_gone() {
    let detached = Upstream::deb().with_deb(|deb| deb.roots = Roots::DetachedOnly);
    for upstream in [detached, Upstream::rpm()] {
        let scene = Scene::of(upstream);
        scene.serve_nothing(scene.pick("dists/stable/Release.gpg", "repodata/repomd.xml.asc"));
        let root = scene.upstream.root();
        scene.refused(4, &format!(
            "error: r: [server]/{root} has no signature ([server]/{} does not exist or is refused)\n\
             hint: an upstream without signatures needs `gpgcheck: false` (apt) or `repo_gpgcheck: false` (rpm); the last good \
             state is untouched\n",
            scene.pick("dists/stable/Release.gpg", "repodata/repomd.xml.asc"),
        ));
        scene.recovers();
    }
}

/// `repo_gpgcheck: auto` takes an unsigned repository, but not one that was signed before.
#[test]
fn a_signature_that_is_gone_though_it_need_not_be_there() {
    let mut scene = Scene::of(Upstream::rpm());
    let auto = scene.repository.clone().format("repo_gpgcheck: auto");
    scene.chantal.repository(&auto);
    scene.listed = scene.list();
    scene.serve_nothing("repodata/repomd.xml.asc");
    scene.refused(
        4,
        "error: r: [server]/repodata/repomd.xml has no signature, but it was signed before \
         ([server]/repodata/repomd.xml.asc does not exist or is refused)\n\
         hint: if the upstream really stopped signing, say `repo_gpgcheck: false`; the last good state is untouched\n",
    );
    scene.recovers();
}

#[test]
fn text_around_the_signed_block() {
    const NO_MESSAGE: &str = "the first line is not \"-----BEGIN PGP SIGNED MESSAGE-----\"";
    let scene = Scene::of(Upstream::deb());
    let root = scene.upstream.root();
    let signed = scene.built.tree.text(&root).to_owned();
    let below = format!(
        "line {} is outside of what is signed",
        signed.lines().count() + 1
    );
    for (text, why) in [
        (format!("Suite: evil\n\n{signed}"), NO_MESSAGE),
        (format!("\n{signed}"), NO_MESSAGE),
        (format!("{signed}SHA256:\n"), &below),
        (format!("{signed}{signed}"), &below),
        (
            signed
                .split("-----BEGIN PGP SIGNATURE-----")
                .next()
                .unwrap()
                .to_owned(),
            "the signature is missing",
        ),
        (
            scene.built.tree.text("dists/stable/Release").to_owned(),
            NO_MESSAGE,
        ),
    ] {
        scene.serve(&root, text);
        scene.refused(4, &format!("error: r: [server]/{root} is not a clear-signed file that apt would accept: {why}\n{BROKEN}"));
    }
    scene.recovers();
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
