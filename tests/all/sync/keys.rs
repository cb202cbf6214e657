//! The keys of a repository: where they come from, when they are fetched, and what a signature is
//! worth.

use super::{both, hello, mirror_of};
use crate::kit::chantal::Repository;
use crate::kit::keys::Key;
use crate::kit::mirror::Mirror;
use crate::kit::server::{Fault, Server, Times};
use crate::kit::tls::{Authority, ClientCertificate};
use crate::kit::tree::Tree;
use crate::kit::upstream::{Built, Package, Roots, Signing, Upstream};

pub const KEY: &str = "keys/archive.asc";

/// A mirror whose key is at a https URL of its own.
pub struct Keyed {
    pub mirror: Mirror,
    pub keys: Server,
}

impl Keyed {
    pub fn of(upstream: Upstream) -> Self {
        let authority = Authority::new("keys");
        let mut tree = Tree::new();
        tree.insert(KEY, Key::archive().public_armored());
        let keys = Server::start_tls(tree, &authority, ClientCertificate::NotAsked);
        let mirror = mirror_of(upstream);
        mirror.chantal.write("ca.pem", &authority.pem());
        mirror.configure("tls:\n  ca_file: ../../ca.pem\ndownload:\n  retries: 0\n");
        mirror.chantal.hide(&keys.url(), "[keys]");
        let keyed = Self { mirror, keys };
        keyed.define(&[]);
        keyed
    }

    pub fn define(&self, lines: &[&str]) {
        let url = format!("gpgkey_url: {}/{KEY}", self.keys.url());
        let repository = checked(&self.mirror).format(&url);
        let repository = lines
            .iter()
            .fold(repository, |repository, line| repository.format(line));
        self.mirror.chantal.repository(&repository);
    }

    /// The upstream's next state, signed by `key`.
    pub fn rotate(&mut self, key: &'static Key) {
        self.mirror.next(|upstream| {
            upstream.signing = Signing::By(key);
        });
    }

    pub fn key_requests(&self) -> usize {
        self.keys.requests_of(KEY).len()
    }
}

/// The usual definition without its key file, but with the check that it implied.
pub fn checked(mirror: &Mirror) -> Repository {
    let repository = mirror.usual().unsigned();
    match mirror.upstream.kind() {
        "apt" => repository.format("gpgcheck: true"),
        _ => repository.format("repo_gpgcheck: true"),
    }
}

#[test]
fn key_urls_are_asked_where_something_is_verified() {
    for upstream in both() {
        let mut keyed = Keyed::of(upstream);
        keyed.mirror.sync().succeeds();
        assert_eq!(keyed.key_requests(), 1);
        keyed
            .mirror
            .next(|upstream| upstream.add(Package::new("new", "1-1")));
        keyed.mirror.sync().succeeds();
        assert_eq!(keyed.key_requests(), 2);
        keyed
            .mirror
            .sync()
            .succeeds()
            .mentions("r: unchanged, 2 packages, 1 request, ");
        assert_eq!(keyed.key_requests(), 2);
        keyed.mirror.sync_with(&["--refresh"]).succeeds();
        assert_eq!(keyed.key_requests(), 3);

        let show =
            keyed
                .mirror
                .chantal
                .run(&["repo", "show", "--repo-id", "r", "--format", "json"]);
        let fingerprint = Key::archive().fingerprint();
        assert_eq!(show.json()["keys"][0]["fingerprint"], fingerprint);
        assert_eq!(show.json()["state"]["signed_by"][0], fingerprint);
        keyed.mirror.chantal.run(&["config", "check"]).exits(0);
        assert_eq!(keyed.key_requests(), 3);
    }
}

#[test]
fn a_key_over_http_needs_its_fingerprint() {
    for upstream in both() {
        let mirror = mirror_of(upstream);
        mirror
            .server
            .edit(|tree| tree.insert(KEY, Key::archive().public_binary()));
        let url = format!("gpgkey_url: {}/{KEY}", mirror.server.url());
        let repository = checked(&mirror).format(&url);
        mirror.chantal.repository(&repository);
        mirror.sync().exits(2).mentions("gpgkey_fingerprints");
        assert_eq!(mirror.server.requests(), []);

        // Somebody on the way puts a key of his own there. The next time the right one comes.
        let fingerprint = Key::archive().fingerprint();
        let line = format!("gpgkey_fingerprints: [{fingerprint}]");
        mirror.chantal.repository(&repository.format(&line));
        let forged = Key::stranger().public_armored();
        mirror.server.edit(|tree| tree.insert(KEY, forged));
        mirror.sync().fails_with(
            2,
            &format!(
                "error: r: no key has the fingerprint {fingerprint}, available: {}\n\
                 hint: check gpgkey_file or gpgkey_url; the state of the last successful sync is unchanged\n",
                Key::stranger().fingerprint()
            ),
        );
        mirror
            .chantal
            .run(&["repo", "show", "--repo-id", "r"])
            .succeeds();
        mirror
            .server
            .edit(|tree| tree.insert(KEY, Key::archive().public_binary()));
        mirror.sync().succeeds();
        mirror.tree().assert_same(&mirror.built.mirrored());
    }
}

#[test]
fn a_rotated_signer_is_accepted_only_by_its_fingerprint() {
    let (old, new) = (Key::archive().fingerprint(), Key::stranger().fingerprint());
    for upstream in both() {
        let mut keyed = Keyed::of(upstream);
        keyed.mirror.sync().succeeds();
        let before = keyed.mirror.tree();
        keyed.rotate(Key::stranger());

        // The URL does not know the new key yet.
        keyed
            .mirror
            .sync()
            .exits(4)
            .mentions("has no good signature by a trusted key");
        assert_eq!(keyed.key_requests(), 2);

        let both = Key::archive().public_armored() + &Key::stranger().public_armored();
        let mut sorted = [old.as_str(), new.as_str()];
        sorted.sort_unstable();
        for (served, found) in [
            (Key::stranger().public_armored(), new.clone()),
            (both, sorted.join(", ")),
        ] {
            keyed.keys.edit(|tree| tree.insert(KEY, served));
            keyed.mirror.sync().fails_with(
                4,
                &format!(
                    "error: r: [keys]/{KEY}: keys have changed: expected {old}, got {found}\n\
                     hint: if the new keys are genuine, accept them with `chantal repo trust --repo-id r`; \
                     the state of the last successful sync is unchanged\n"
                ),
            );
            keyed.mirror.tree().assert_same(&before);
        }

        keyed.define(&[&format!("gpgkey_fingerprints: [{old}, {new}]")]);
        let said = keyed.mirror.sync().succeeds().stdout;
        assert!(said.contains(&format!(
            "\n  verified by {new} Stranger <stranger@example.org>\n"
        )));
        keyed.rotate(Key::archive());
        keyed.mirror.sync().succeeds();
    }
}

pub const TRUST: [&str; 4] = ["repo", "trust", "--repo-id", "r"];

#[test]
fn other_keys_are_trusted_when_somebody_says_so() {
    let (old, new) = (Key::archive().fingerprint(), Key::stranger().fingerprint());
    let archive = "Archive <archive@example.org>";
    let stranger = "Stranger <stranger@example.org>";
    for upstream in both() {
        let mut keyed = Keyed::of(upstream);
        keyed.mirror.sync().succeeds();
        keyed.rotate(Key::stranger());
        let key = Key::stranger().public_armored();
        keyed.keys.edit(|tree| tree.insert(KEY, key));
        keyed.mirror.sync().exits(4);

        let run = |more: &[&str]| keyed.mirror.chantal.run(&[&TRUST[..], more].concat());
        run(&[]).succeeds().says(&format!(
            "r: now trusted: {new} {stranger}\nr: no longer trusted: {old} {archive}\n"
        ));
        keyed.mirror.sync().succeeds();
        let trusted = run(&["--format", "json"]).succeeds().json();
        assert_eq!(
            trusted,
            serde_json::json!({
                "repository": "r",
                "added": [],
                "kept": [{"fingerprint": new, "user_id": stranger, "problem": null}],
                "removed": [],
            })
        );
    }
}

#[test]
fn keys_of_files_need_no_such_word() {
    for upstream in both() {
        let mirror = mirror_of(upstream);
        mirror.chantal.run(&TRUST).fails_with(
            2,
            "error: r has no gpgkey_url: its keys are configured as files\n",
        );
    }
}

#[test]
fn a_missing_key_is_named() {
    for upstream in both() {
        let keyed = Keyed::of(upstream);
        keyed.keys.edit(|tree| tree.remove(KEY));
        keyed.mirror.sync().fails_with(
            4,
            &format!("error: r: key not found: [keys]/{KEY}\nhint: check gpgkey_url\n"),
        );
    }
}

#[test]
fn several_key_files_of_either_form() {
    for upstream in both() {
        let mirror = mirror_of(upstream);
        let binary = mirror.chantal.config().join("repos.d/binary.gpg");
        std::fs::write(binary, Key::archive().public_binary()).unwrap();
        let other = Key::stranger().public_armored();
        mirror.chantal.write("config/repos.d/other.asc", &other);
        let repository = checked(&mirror).format("gpgkey_file: [other.asc, binary.gpg]");
        mirror.chantal.repository(&repository);
        mirror.sync().succeeds();
    }
}

/// What an rpm repository with `repo_gpgcheck: auto` says.
#[test]
fn auto_verifies_what_it_can() {
    let rpm = || Upstream::rpm().package(hello());
    let auto = |repository: Repository| repository.format("repo_gpgcheck: auto");
    let no_key = |repository: Repository| repository.unsigned().format("repo_gpgcheck: auto");

    // Signed and a key: verified.
    let mirror = mirror_of(rpm()).defined(auto);
    let said = mirror.sync().succeeds().stdout;
    assert!(said.contains("verified by"), "{said}");
    let mirror = mirror_of(rpm().signed_by(Key::stranger()))
        .defined(|repository| auto(repository.trusting(Key::archive())));
    mirror.sync().exits(4);

    // A key and no signature, neither, and a signature that nobody can judge.
    let unsigned = rpm().unsigned();
    let mirror = mirror_of(unsigned.clone())
        .defined(|r| auto(r.trusting(Key::archive())).format("gpgcheck: false"));
    mirror.sync().succeeds();
    mirror_of(unsigned).defined(no_key).sync().succeeds();
    let mirror = mirror_of(rpm()).defined(no_key);
    mirror.sync().fails_with(
        0,
        "warning: r: [server]/repodata/repomd.xml.asc exists, but no key is configured to verify it\n",
    );
    let expected = mirror.built.mirrored_by(&no_key(mirror.usual()));
    mirror.tree().assert_same(&expected);
}

#[test]
fn a_signature_that_was_there_must_stay() {
    let auto = |repository: Repository| {
        let repository = repository.trusting(Key::archive());
        let repository = repository.format("repo_gpgcheck: auto");
        repository.format("gpgcheck: false")
    };
    let mut mirror = mirror_of(Upstream::rpm().package(hello())).defined(auto);
    mirror.sync().succeeds();
    let before = mirror.tree();
    mirror.next(|upstream| {
        upstream.signing = Signing::Unsigned;
        upstream.add(Package::new("new", "1-1"));
    });
    for _ in 0..2 {
        mirror.sync().fails_with(
            4,
            "error: r: [server]/repodata/repomd.xml is not signed, but earlier ones were \
             ([server]/repodata/repomd.xml.asc does not exist or is refused)\n\
             hint: if the upstream no longer signs its metadata, set `repo_gpgcheck: false`; \
             the state of the last successful sync is unchanged\n",
        );
        mirror.tree().assert_same(&before);
    }
    let auto = auto(mirror.usual());
    mirror.chantal.repository(&auto.clone().unsigned());
    mirror.sync().succeeds();
    // The administrator has said it: from here on there is nothing to miss.
    mirror.chantal.repository(&auto);
    mirror.sync().succeeds();
}

#[test]
fn off_mirrors_signatures_without_judging_them() {
    for upstream in both() {
        let mirror = mirror_of(upstream.signed_by(Key::stranger())).defined(Repository::unsigned);
        let said = mirror.sync().succeeds().stdout;
        assert!(!said.contains("verified"), "{said}");
        let expected = mirror.built.mirrored_by(&mirror.usual().unsigned());
        mirror.tree().assert_same(&expected);
    }
}

#[test]
fn a_release_of_another_moment_is_left_out() {
    let upstream = Upstream::deb().package(hello());
    let mut other = upstream.clone();
    other.bump_date();
    let other: Built = other.build();
    let mirror = mirror_of(upstream);
    let release = "dists/stable/Release";
    let bytes = other.tree.bytes(release).to_vec();
    mirror.server.edit(|tree| tree.insert(release, bytes));
    mirror.sync().fails_with(
        0,
        "warning: r: [server]/dists/stable/Release skipped: differs from the verified root\n",
    );
    mirror
        .tree()
        .assert_same(&expected_without(&mirror, release));

    // With a signature that is not its own.
    let mirror = mirror_of(Upstream::deb().package(hello()));
    let signature = "dists/stable/Release.gpg";
    let bytes = other.tree.bytes(signature).to_vec();
    mirror.server.edit(|tree| tree.insert(signature, bytes));
    mirror.sync().fails_with(
        0,
        "warning: r: [server]/dists/stable/Release.gpg does not verify Release: both skipped; clients use the root with the inline \
         signature, no action is needed\n",
    );
    mirror
        .tree()
        .assert_same(&expected_without(&mirror, release));

    // Without one there is nothing to say.
    let mirror = mirror_of(Upstream::deb().package(hello()));
    mirror
        .server
        .edit(|tree| tree.retain(|path| path != signature));
    mirror.sync().succeeds();
    mirror
        .tree()
        .assert_same(&expected_without(&mirror, signature));

    // Clients do without both of them.
    for (path, left_out) in [(signature, signature), (release, "dists/stable/Release")] {
        let mirror = mirror_of(Upstream::deb().package(hello()));
        mirror.configure("download:\n  retries: 0\n");
        mirror.server.fault(path, Times::Always, Fault::Status(500));
        mirror.sync().fails_with(
            0,
            &format!("warning: r: [server]/{path}: server returned HTTP status 500: skipped\n"),
        );
        mirror
            .tree()
            .assert_same(&expected_without(&mirror, left_out));
    }
}

fn expected_without(mirror: &Mirror, start: &str) -> Tree {
    let mut expected = mirror.built.mirrored();
    expected.retain(|path| !path.starts_with(start));
    expected
}

#[test]
fn a_detached_signature_alone_is_enough() {
    let upstream = Upstream::deb()
        .package(hello())
        .with_deb(|deb| deb.roots = Roots::DetachedOnly);
    let said = mirror_of(upstream).sync().succeeds().stdout;
    let fingerprint = Key::archive().fingerprint();
    assert!(
        said.contains(&format!("verified by {fingerprint}")),
        "{said}"
    );
}
