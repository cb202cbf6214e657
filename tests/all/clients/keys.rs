//! Clients that take the keys from the mirror, as its files beside the upstream's own.

use std::fs;
use std::path::Path;

use super::{mirror_of, mirror_with};
use crate::clients::Web;
use crate::kit::clients::{Apt, Dnf, client, gpgv, installed};
use crate::kit::keys::Key;
use crate::kit::mirror::Mirror;
use crate::kit::process::Output;
use crate::kit::server::Server;
use crate::kit::upstream::{Package, Upstream};
use crate::quickstart::{self, Quickstart};

/// Whoever signs: a keyring of several keys must not be read to its first one only.
fn signers() -> [&'static Key; 2] {
    [Key::archive(), Key::stranger()]
}

/// A mirror that trusts both, of an upstream that is signed by one.
fn trusting_both(upstream: Upstream, signer: &'static Key) -> Mirror {
    let upstream = upstream
        .package(Package::new("hello", "1.0-1"))
        .signed_by(signer);
    mirror_with(&upstream, |repository| repository.trusting_all(&signers()))
}

/// A mirror that is given both keys and chooses one.
fn choosing(upstream: Upstream, signer: &'static Key) -> Mirror {
    let upstream = upstream
        .package(Package::new("hello", "1.0-1"))
        .signed_by(signer);
    mirror_with(&upstream, |repository| {
        let fingerprints = format!("gpgkey_fingerprints: [{}]", signer.fingerprint());
        repository.trusting_all(&signers()).format(&fingerprints)
    })
}

fn fetched(web: &Web, path: &str) -> Vec<u8> {
    let mut response = ureq::get(format!("{}/{path}", web.url())).call().unwrap();
    response.body_mut().read_to_vec().unwrap()
}

/// The key ids that rpm has after `rpmkeys --import`.
fn imported(file: &Path) -> Option<Vec<String>> {
    if !installed("rpmkeys") {
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().display().to_string();
    let rpm = |program: &str, args: &[&str]| -> Output {
        let args = [&["--dbpath", &database][..], args].concat();
        client(program, &args, dir.path()).exits(0)
    };
    rpm("rpmkeys", &["--import", &file.display().to_string()]).says_on_stderr("");
    let listed = rpm(
        "rpm",
        &["-q", "gpg-pubkey", "--queryformat", "%{version}\n"],
    );
    let mut ids: Vec<String> = listed.stdout.lines().map(str::to_owned).collect();
    ids.sort();
    Some(ids)
}

/// As rpm calls keys: the last eight digits.
fn ids(keys: &[&Key]) -> Vec<String> {
    let mut ids: Vec<String> = keys
        .iter()
        .map(|key| key.fingerprint()[32..].to_lowercase())
        .collect();
    ids.sort();
    ids
}

#[test]
fn rpm_imports_every_key() {
    let one = mirror_of(&Upstream::rpm());
    let both = trusting_both(Upstream::rpm(), signers()[0]);
    let chosen = choosing(Upstream::rpm(), signers()[1]);
    for (mirror, keys) in [
        (&one, &[Key::archive()][..]),
        (&both, &signers()),
        (&chosen, &[signers()[1]]),
    ] {
        let Some(imported) = imported(&mirror.published().join("RPM-GPG-KEY-r")) else {
            return;
        };
        assert_eq!(imported, ids(keys));
    }
}

#[test]
fn dnf_takes_the_keys_from_the_mirror() {
    for signer in signers() {
        let mirror = trusting_both(Upstream::rpm(), signer);
        for web in Web::all(&mirror.published()) {
            let file = format!("file://{}/RPM-GPG-KEY-r", mirror.published().display());
            let served = format!("{}/RPM-GPG-KEY-r", web.url());
            for key_url in [&file, &served] {
                let Some(dnf) = Dnf::find() else { return };
                dnf.repository_with_key_at("kit", &web.url(), Some(key_url));
                dnf.run(&["makecache"]).exits(0);
                let query = ["repoquery", "--queryformat", "%{name}"];
                dnf.run(&query).exits(0).says("hello\n");
            }
        }
    }
}

/// What the configuration leaves out does not reach the clients either.
#[test]
fn clients_trust_only_the_chosen_keys() {
    let [trusted, other_key] = signers();
    let chosen = choosing(Upstream::rpm(), trusted);
    let other = trusting_both(Upstream::rpm(), other_key);
    let (key, repository) = (
        Server::start_dir(&chosen.published()),
        Server::start_dir(&other.published()),
    );
    if let Some(dnf) = Dnf::find() {
        let key_url = format!("{}/RPM-GPG-KEY-r", key.url());
        dnf.repository_with_key_at("kit", &key.url(), Some(&key_url));
        dnf.run(&["makecache"]).exits(0);
        dnf.repository_with_key_at("kit", &repository.url(), Some(&key_url));
        dnf.run(&["makecache", "--refresh"])
            .exits(1)
            .mentions("GPG");
    }
    let chosen = choosing(Upstream::deb(), trusted);
    let other = trusting_both(Upstream::deb(), other_key);
    let root = "dists/stable/InRelease";
    let keyring = chosen.chantal.published_tree("r");
    let keyring = keyring.bytes("r-archive-key.gpg");
    let judged = |mirror: &Mirror| gpgv(keyring, mirror.built.tree.bytes(root), None);
    if let (Some(good), Some(bad)) = (judged(&chosen), judged(&other)) {
        good.exits(0);
        bad.exits(2).mentions("No public key");
    }
}

#[test]
fn apt_takes_the_keys_from_the_mirror() {
    for signer in signers() {
        let mirror = trusting_both(Upstream::deb(), signer);
        for web in Web::all(&mirror.published()) {
            for ending in ["gpg", "asc"] {
                let Some(apt) = Apt::find() else { return };
                let keyring = apt.dir().join(format!("mirror.{ending}"));
                fs::write(&keyring, fetched(&web, &format!("r-archive-key.{ending}"))).unwrap();
                let sources = format!(
                    "Types: deb\nURIs: {}\nSuites: stable\nComponents: main\nSigned-By: {}\n",
                    web.url(),
                    keyring.display()
                );
                fs::write(apt.dir().join("etc/sources.list.d/mirror.sources"), sources).unwrap();
                apt.get(&["update"]).succeeds();
                apt.get(&["download", "hello"]).succeeds();
            }
        }
    }
}

#[test]
fn gpgv_takes_the_keyring_from_the_mirror() {
    for signer in signers() {
        let mirror = trusting_both(Upstream::deb(), signer);
        let tree = mirror.chantal.published_tree("r");
        let keyring = tree.bytes("r-archive-key.gpg");
        for (signed, signature) in [
            ("dists/stable/InRelease", None),
            ("dists/stable/Release", Some("dists/stable/Release.gpg")),
        ] {
            let signature = signature.map(|path| tree.bytes(path));
            let Some(output) = gpgv(keyring, tree.bytes(signed), signature) else {
                return;
            };
            output.exits(0).mentions(&signer.fingerprint());
        }
    }
}

/// A key that gpg made, whose packets chantal writes in another frame.
#[test]
fn the_key_of_the_quickstart() {
    let quickstart = Quickstart::new();
    quickstart.sync().exits(0);
    if let [rpm] = quickstart::key_files("rpm")
        && let Some(imported) = imported(&quickstart.published("rpm").join(rpm))
    {
        assert_eq!(imported, ["060d69b4"]);
    }
    for file in quickstart::key_files("apt") {
        let Some(apt) = Apt::find() else { return };
        let keyring = fs::read(quickstart.published("apt").join(file)).unwrap();
        let server = Server::start_dir(&quickstart.published("apt"));
        apt.source_signed_by(&keyring, "deb", &format!("{}/ stable main", server.url()));
        apt.get(&["update"]).succeeds();
    }
}
