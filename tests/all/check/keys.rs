//! What became of the keys since a state was synced.

use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::{QUICK, bad, good, two, verdicts};
use crate::kit::keys::{Key, RevocationCode};
use crate::kit::mirror::Mirror;
use crate::kit::upstream::Upstream;

fn now() -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u32::try_from(now.as_secs()).unwrap()
}

/// Synced with this state of the key that signs it, with a snapshot `s`.
fn signed_with(upstream: Upstream, key: &Key) -> Mirror {
    let mirror = Mirror::of(two(upstream)).defined(|repository| repository.trusting(key));
    let mirror = mirror.synced();
    mirror.snapshot("s");
    mirror
}

fn notes(result: &Value, state: usize) -> String {
    result["states"][state]["notes"].to_string()
}

/// The keys expire in the middle of the test.
#[test]
fn a_key_that_expired_since_is_a_note() {
    let expiry = now() + 12;
    let key = Key::archive().expiring_at(expiry);
    let mirrors = Upstream::both().map(|upstream| signed_with(upstream, &key));
    while now() <= expiry {
        thread::sleep(Duration::from_millis(200));
    }
    for mirror in mirrors {
        // A sync refuses it now.
        mirror.sync_with(&["--refresh"]).exits(4);
        let result = good(&mirror.chantal, &QUICK);
        assert!(verdicts(&mirror.chantal, &result).contains(&"r/s: proved".to_owned()));
        assert!(notes(&result, 1).contains(" expired on "), "{result:#}");
    }
}

#[test]
fn a_key_that_was_compromised_never_counts() {
    for upstream in Upstream::both() {
        let mut mirror = signed_with(upstream, Key::archive());
        good(&mirror.chantal, &QUICK);
        let revoked = Key::archive().revoked_at(now(), RevocationCode::KeyCompromised);
        mirror.define(|repository| repository.trusting(&revoked));
        let result = bad(&mirror.chantal, &QUICK);
        assert_eq!(
            verdicts(&mirror.chantal, &result),
            ["r: failed", "r/s: failed", "[dir]/www/r/latest: failed"]
        );
        let problem = &result["states"][1]["problems"][0];
        assert_eq!(problem["kind"], "untrusted", "{result:#}");
        // Without a reason it is the same.
        let revoked = Key::archive().revoked_at(now(), RevocationCode::NoReason);
        mirror.define(|repository| repository.trusting(&revoked));
        let result = bad(&mirror.chantal, &QUICK);
        assert_eq!(result["states"][0]["problems"][0]["kind"], "untrusted");
        // A revocation that cannot be read is missed, but not in silence.
        std::fs::remove_file(mirror.chantal.config().join("repos.d/r.asc")).unwrap();
        let result = good(&mirror.chantal, &QUICK);
        let note = result["notes"][0].as_str().unwrap();
        assert!(
            note.starts_with("revocations are not known from "),
            "{note}"
        );
    }
}

/// Its signatures in packages do not count either, whoever signed the root.
#[test]
fn a_compromised_key_of_packages_is_found() {
    let mut mirror = Mirror::of(two(Upstream::rpm()))
        .defined(|repository| repository.format("repo_gpgcheck: false"))
        .synced();
    let result = good(&mirror.chantal, &QUICK);
    assert_eq!(result["states"][0]["verdict"], "unsigned");
    let revoked = Key::archive().revoked_at(now(), RevocationCode::KeyCompromised);
    mirror.define(|repository| repository.trusting(&revoked).format("repo_gpgcheck: false"));
    let result = bad(&mirror.chantal, &QUICK);
    let problem = &result["states"][0]["problems"][0];
    assert_eq!(problem["kind"], "untrusted", "{result:#}");
    let what = problem["problem"].as_str().unwrap();
    assert!(what.starts_with("2 packages are signed by "), "{what}");
}

#[test]
fn a_key_that_was_replaced_counts_until_then() {
    for upstream in Upstream::both() {
        let mut mirror = signed_with(upstream, Key::archive());
        let later = now() + 1000;
        let replaced = Key::archive().revoked_at(later, RevocationCode::KeySuperseded);
        mirror.define(|repository| repository.trusting(&replaced));
        let result = good(&mirror.chantal, &QUICK);
        assert!(
            notes(&result, 1).contains("was replaced or retired on "),
            "{result:#}"
        );
        // Before the sync: it should not have been accepted.
        let replaced = Key::archive().revoked_at(now() - 1000, RevocationCode::KeySuperseded);
        mirror.define(|repository| repository.trusting(&replaced));
        let result = bad(&mirror.chantal, &QUICK);
        assert_eq!(result["states"][1]["problems"][0]["kind"], "untrusted");
    }
}

/// A state is proved with the keys of its sync, whatever is configured now.
#[test]
fn other_keys_than_those_of_the_sync_do_not_count() {
    for upstream in Upstream::both() {
        let mut mirror = signed_with(upstream, Key::archive());
        mirror.define(|repository| repository.trusting(Key::stranger()));
        let result = good(&mirror.chantal, &QUICK);
        let key = Key::archive().fingerprint();
        assert_eq!(result["states"][0]["signed_by"][0], key.as_str());
    }
}
