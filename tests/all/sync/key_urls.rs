//! What is kept of the keys that URLs gave, and what changes it: updates, other keys, other URLs,
//! somebody's word.

use super::keys::{KEY, Keyed, TRUST};
use super::{both, hello, mirror_of};
use crate::kit::keys::{Key, RevocationCode};
use crate::kit::mount::Mount;
use crate::kit::server::{Fault, Times};
use crate::kit::upstream::{Package, Upstream};

const OTHER: &str = "keys/other.asc";
const REFRESH: [&str; 1] = ["--refresh"];

impl Keyed {
    fn serve(&self, path: &str, keys: &[&Key]) {
        let text: String = keys.iter().map(|key| key.public_armored()).collect();
        self.keys.edit(|tree| tree.insert(path, text));
    }

    fn define_urls(&self, paths: &[&str]) {
        let urls: Vec<String> = paths
            .iter()
            .map(|path| format!("{}/{path}", self.keys.url()))
            .collect();
        let line = format!("gpgkey_url: [{}]", urls.join(", "));
        let repository = super::keys::checked(&self.mirror).format(&line);
        self.mirror.chantal.repository(&repository);
    }

    fn kept(&self) -> String {
        let path = self.mirror.chantal.data().join("gpgkeys/r.asc");
        std::fs::read_to_string(path).unwrap()
    }

    /// As `repo show` has them.
    fn trusted(&self) -> Vec<String> {
        let show = ["repo", "show", "--repo-id", "r", "--format", "json"];
        let shown = self.mirror.chantal.run(&show).succeeds().json();
        let keys = shown["keys"].as_array().unwrap().iter();
        keys.map(|key| key["fingerprint"].as_str().unwrap().to_owned())
            .collect()
    }

    /// The next day's upstream has one package more.
    fn grow(&mut self, name: &str) {
        self.mirror
            .next(|upstream| upstream.add(Package::new(name, "1-1")));
    }
}

fn fingerprints<const N: usize>(keys: [&Key; N]) -> Vec<String> {
    let mut fingerprints: Vec<String> = keys.map(Key::fingerprint).into();
    fingerprints.sort();
    fingerprints
}

#[test]
fn what_one_url_gave_is_remembered_whatever_others_are_configured() {
    let (archive, stranger, owner) = (Key::archive(), Key::stranger(), Key::owner());
    for upstream in both() {
        let keyed = Keyed::of(upstream);
        keyed.mirror.sync().succeeds();
        keyed.serve(KEY, &[archive, stranger]);
        keyed.serve(OTHER, &[archive]);
        for urls in [&[KEY][..], &[KEY, OTHER], &[OTHER, KEY]] {
            keyed.define_urls(urls);
            let said = keyed.mirror.sync_with(&REFRESH).exits(4).stderr;
            let other_keys = format!("[keys]/{KEY}: keys have changed: expected ");
            assert!(said.contains(&other_keys), "{said}");
            assert_eq!(keyed.trusted(), [archive.fingerprint()]);
        }

        // A URL that is new may have what it likes.
        keyed.serve(KEY, &[archive]);
        keyed.serve(OTHER, &[owner]);
        keyed.mirror.sync().succeeds();
        assert_eq!(keyed.trusted(), fingerprints([archive, owner]));
        keyed.serve(OTHER, &[stranger]);
        keyed.mirror.sync_with(&REFRESH).exits(4);
        // And when it is gone, so are its keys.
        keyed.define_urls(&[KEY]);
        assert_eq!(keyed.trusted(), [archive.fingerprint()]);
        keyed.mirror.sync().succeeds();
        keyed.serve(KEY, &[archive, owner]);
        keyed.mirror.sync_with(&REFRESH).exits(4);
    }
}

#[test]
fn keys_that_were_kept_for_all_urls_together_still_count() {
    for upstream in both() {
        let keyed = Keyed::of(upstream);
        keyed.serve(OTHER, &[Key::stranger()]);
        keyed.define_urls(&[KEY, OTHER]);
        keyed.mirror.sync().succeeds();
        let kept = keyed.kept();
        let armor = &kept[kept.find("-----BEGIN").unwrap()..];
        let url = keyed.keys.url();
        let urls = format!("{url}/{KEY}\n{url}/{OTHER}");
        let sha256 = crate::kit::upstream::Checksum::Sha256.hex(urls.as_bytes());
        let old = format!("chantal: keys from the URLs with sha256 {sha256}\n{armor}");
        keyed.mirror.chantal.write("data/gpgkeys/r.asc", &old);
        let both = fingerprints([Key::archive(), Key::stranger()]);
        assert_eq!(keyed.trusted(), both);
        keyed
            .mirror
            .sync()
            .succeeds()
            .mentions("r: unchanged, 1 package, 1 request, ");

        keyed.serve(KEY, &[Key::owner()]);
        keyed.mirror.sync_with(&REFRESH).exits(4);
        keyed.serve(KEY, &[Key::archive()]);
        keyed.mirror.sync_with(&REFRESH).succeeds();
        assert_eq!(keyed.trusted(), both);
        assert!(!keyed.kept().contains(&sha256));

        // Of other URLs it says nothing.
        keyed.mirror.chantal.write("data/gpgkeys/r.asc", &old);
        keyed.define_urls(&[OTHER, KEY]);
        assert_eq!(keyed.trusted(), Vec::<String>::new());
    }
}

#[test]
fn a_revocation_is_learnt_and_not_forgotten() {
    let archive = Key::archive();
    let revoked = archive.revoked_at(Key::MADE + 86400, RevocationCode::KeyCompromised);
    for upstream in both() {
        let mut keyed = Keyed::of(upstream);
        keyed.mirror.sync().succeeds();
        let before = keyed.mirror.tree();
        keyed.serve(KEY, &[&revoked]);
        // Nothing is to be verified: nobody asks.
        keyed.mirror.sync().succeeds();
        keyed.grow("new");
        for served in [&revoked, archive] {
            keyed.serve(KEY, &[served]);
            keyed
                .mirror
                .sync()
                .exits(4)
                .mentions("the key was revoked on ");
            keyed.mirror.tree().assert_same(&before);
        }
        for more in [&[][..], &["--format", "json"]] {
            let said = keyed.mirror.chantal.run(&[&TRUST[..], more].concat());
            let said = said.succeeds().stdout;
            let fingerprint = archive.fingerprint();
            let line = format!(
                "r: not trusted: {fingerprint} Archive <archive@example.org> (the key was revoked on "
            );
            assert!(
                said.starts_with(&line) || said.contains("\"problem\": \"the key was revoked on "),
                "{said}"
            );
            assert!(!said.contains("still trusted"), "{said}");
        }
        keyed
            .mirror
            .sync()
            .exits(4)
            .mentions("the key was revoked on ");
    }
}

#[test]
fn kept_keys_do_while_their_url_cannot_be_had() {
    for upstream in both() {
        let mut keyed = Keyed::of(upstream);
        keyed.mirror.sync().succeeds();
        let cases = [
            (Fault::Status(404), format!("key not found: [keys]/{KEY}")),
            (
                Fault::Status(403),
                format!("cannot load key: [keys]/{KEY}: access denied (HTTP status 403)"),
            ),
            (
                Fault::Status(503),
                format!("cannot load key: [keys]/{KEY}: server returned HTTP status 503"),
            ),
            (
                Fault::Body(b"Sorry".to_vec()),
                format!(
                    "[keys]/{KEY} is not an OpenPGP key file: it contains neither armor nor binary packets"
                ),
            ),
        ];
        for (number, (fault, why)) in cases.into_iter().enumerate() {
            let name = format!("new{number}");
            keyed.grow(&name);
            keyed.keys.clear_faults();
            keyed.keys.fault(KEY, Times::Always, fault);
            let warning = format!("warning: r: using the stored keys: {why}\n");
            let preview = keyed.mirror.sync_with(&["--dry-run"]);
            preview.fails_with(0, &warning);
            let output = keyed.mirror.sync_with(&["--format", "json"]);
            let warnings = output.json()[0]["warnings"].to_string();
            assert!(warnings.contains("using the stored keys: "), "{warnings}");
            output.fails_with(0, &warning);
            let new = keyed.mirror.built.path_of(&name);
            assert!(keyed.mirror.tree().find(&new).is_some());
        }

        // Whoever looks at a refusal gets to know it too.
        keyed.rotate(Key::stranger());
        let said = keyed.mirror.sync().exits(4).stderr;
        assert!(
            said.starts_with("warning: r: using the stored keys: ")
                && said.contains("has no good signature by a trusted key"),
            "{said}"
        );
        // Keys that are not kept cannot be used.
        keyed.keys.clear_faults();
        keyed.keys.edit(|tree| tree.remove(KEY));
        let named = fingerprints([Key::archive(), Key::stranger()]).join(", ");
        keyed.define(&[&format!("gpgkey_fingerprints: [{named}]")]);
        let missing = format!("error: r: key not found: [keys]/{KEY}\n");
        keyed.mirror.sync().exits(4).mentions(&missing);
    }
}

#[test]
fn where_keys_are_named_no_others_are_kept() {
    let (archive, stranger) = (Key::archive(), Key::stranger());
    let absent = Key::owner().fingerprint();
    for upstream in both() {
        let keyed = Keyed::of(upstream);
        keyed.serve(KEY, &[archive, stranger]);
        let named = archive.fingerprint();
        keyed.define(&[&format!("gpgkey_fingerprints: [{named}]")]);
        keyed.mirror.sync().succeeds();
        let trust = || keyed.mirror.chantal.run(&TRUST);
        for _ in 0..2 {
            assert!(!keyed.kept().contains(&stranger.fingerprint()));
            assert_eq!(keyed.trusted(), [archive.fingerprint()]);
            trust().succeeds().says(&format!(
                "r: still trusted: {named} Archive <archive@example.org>\n"
            ));
        }
        let kept = keyed.kept();
        keyed.define(&[&format!("gpgkey_fingerprints: [{named}, {absent}]")]);
        trust().fails_with(
            2,
            &format!(
                "error: r: no key has the fingerprint {absent}, available: {}\n\
                 hint: check gpgkey_file or gpgkey_url; the state of the last successful sync is unchanged\n",
                fingerprints([archive, stranger]).join(", ")
            ),
        );
        assert_eq!(keyed.kept(), kept);
        keyed.define(&[]);
        keyed.mirror.sync_with(&REFRESH).exits(4);
    }
}

#[test]
fn a_redirect_that_is_not_followed_is_the_key_urls() {
    for upstream in both() {
        let keyed = Keyed::of(upstream);
        let target = format!("{}/{KEY}", keyed.mirror.server.url());
        keyed
            .keys
            .fault(KEY, Times::Always, Fault::Redirect(target));
        keyed
            .mirror
            .sync()
            .exits(4)
            .mentions("\nhint: set gpgkey_url to the URL that it redirects to\n");
    }
}

/// That is neither the upstream's fault nor the configuration's.
#[test]
fn keys_that_cannot_be_kept_are_the_storages_trouble() {
    for upstream in both() {
        let keyed = Keyed::of(upstream);
        let place = keyed.mirror.chantal.data().join("gpgkeys");
        keyed.mirror.sync().succeeds();
        std::fs::remove_dir_all(&place).unwrap();
        std::fs::write(&place, "in the way").unwrap();
        let said = keyed.mirror.sync_with(&REFRESH).exits(1).stderr;
        assert!(
            said.starts_with("error: r: stored keys: ") && said.contains("[dir]/data/gpgkeys"),
            "{said}"
        );

        std::fs::remove_file(&place).unwrap();
        let Some(mount) = Mount::new(&place, "8k") else {
            println!("skipped: a tmpfs cannot be mounted here");
            return;
        };
        std::fs::write(place.join("ballast"), [0; 8192]).unwrap();
        keyed.mirror.sync_with(&REFRESH).fails_with(
            1,
            "error: r: stored keys: failed to write file `[dir]/data/gpgkeys/r.asc`: \
             No space left on device (os error 28)\n\
             hint: free up disk space; existing data is unchanged\n",
        );
        std::fs::remove_file(place.join("ballast")).unwrap();
        keyed.mirror.sync_with(&REFRESH).succeeds();
        let files = std::fs::read_dir(&place).unwrap();
        let names: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
        assert_eq!(names, ["r.asc"]);
        drop(mount);
    }
}

/// The usual way: a primary key that is kept in a safe, and a subkey that signs.
#[test]
fn a_key_whose_subkey_signs_is_shown_as_good() {
    let owner = Key::owner();
    let show = ["repo", "show", "--repo-id", "r"];
    for upstream in [Upstream::deb(), Upstream::rpm()] {
        let upstream = upstream.package(hello()).signed_by(owner);
        let mirror = mirror_of(upstream);
        mirror.sync().succeeds();
        let line = format!("{} Owner <owner@example.org>", owner.fingerprint());
        let shown = mirror.chantal.run(&show).succeeds().stdout;
        assert!(shown.contains(&format!("{line}\n")), "{shown}");

        let revoked = owner.subkey_revoked_at(Key::MADE + 86400, RevocationCode::KeyCompromised);
        let repository = mirror.usual().trusting(&revoked);
        mirror.chantal.repository(&repository);
        let shown = mirror.chantal.run(&show).succeeds().stdout;
        let problem = format!("{line} (the key was revoked on ");
        assert!(shown.contains(&problem), "{shown}");
    }
}
