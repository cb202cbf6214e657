//! Verdicts over keys: what a certificate says about itself decides whether a genuine signature
//! counts.

use super::*;
use crate::openpgp::problem::Problem;
use crate::openpgp::testing::{
    DATA, Gpgv, MADE, SIGNED, TestKey, TestSubkey, USER_ID, because, check, key_expires_after,
    may_only_certify, may_sign,
};
use crate::openpgp::testing::{Extra, NOW};

const EXPIRED: Result<(), Problem> = Err(Problem::Key(KeyProblem::Expired {
    at: MADE as i64 + 100,
}));

fn refused(problem: KeyProblem) -> Result<(), Problem> {
    Err(Problem::Key(problem))
}

fn compromised(at: u32) -> Result<(), Problem> {
    let (at, compromised) = (i64::from(at), true);
    let revocation = Revocation { at, compromised };
    refused(KeyProblem::Revoked { revocation })
}

fn retired(at: u32) -> Result<(), Problem> {
    let (at, compromised) = (i64::from(at), false);
    let revocation = Revocation { at, compromised };
    refused(KeyProblem::Revoked { revocation })
}

/// Judges a signature by a key whose packet is followed by these others.
#[track_caller]
fn check_key(name: &str, parts: &[Vec<u8>], wanted: Result<(), Problem>, client: Gpgv) {
    let key = TestKey::new(1);
    let keys = [key.packet(), parts.concat()].concat();
    check(name, &keys, &key.sign(DATA), wanted, client);
}

/// A user id with a self-signature of that key.
fn certify(at: u32, extra: Extra) -> Vec<u8> {
    TestKey::new(1).certify(USER_ID, at, extra)
}

fn certify_as(kind: SignatureType, user_id: &str, at: u32, extra: Extra) -> Vec<u8> {
    TestKey::new(1).certify_as(kind, HashAlgorithm::Sha256, user_id, at, extra)
}

fn revoke(at: u32, code: RevocationCode) -> Vec<u8> {
    TestKey::new(1).say(SignatureType::KeyRevocation, at, vec![because(code)])
}

#[test]
fn a_key_needs_a_self_signature() {
    let none = || refused(KeyProblem::NoSelfSignature);
    check_key("only a packet", &[], none(), Gpgv::Bad);
    let stranger = TestKey::new(2).certify(USER_ID, MADE, vec![]);
    check_key("certified by another", &[stranger], none(), Gpgv::Bad);
    let future = certify(SIGNED + 86_400, vec![]);
    check_key("from the future", &[future], none(), Gpgv::Differs);
    let direct = TestKey::new(1).say(SignatureType::Key, MADE, vec![may_sign()]);
    check_key("direct, no user id", &[direct], Ok(()), Gpgv::Good);
}

#[test]
fn key_flags_count_where_there_are_any() {
    let old = certify_as(SignatureType::CertGeneric, USER_ID, MADE, vec![]);
    check_key("without key flags", &[old], Ok(()), Gpgv::Good);
    check_key(
        "flags without signing",
        &[certify(MADE, vec![may_only_certify()])],
        refused(KeyProblem::NotForSigning),
        Gpgv::Bad,
    );
}

#[test]
fn expired_keys_are_refused() {
    let limited = |at, seconds| certify(at, vec![key_expires_after(seconds)]);
    let unlimited = |at| certify(at, vec![may_sign()]);
    // gpgv reports the expiry and accepts the signature; apt reads the report and does not.
    check_key("expired", &[limited(MADE, 100)], EXPIRED, Gpgv::Differs);
    check_key(
        "expired after it signed",
        &[limited(MADE, 1999)],
        refused(KeyProblem::Expired { at: NOW - 1 }),
        Gpgv::Differs,
    );
    check_key("not yet", &[limited(MADE, 2001)], Ok(()), Gpgv::Differs);
    check_key("never", &[limited(MADE, 0)], Ok(()), Gpgv::Good);
    let parts = [limited(MADE, 100), unlimited(MADE + 50)];
    check_key("extended", &parts, Ok(()), Gpgv::Good);
    let parts = [limited(MADE + 50, 100), unlimited(MADE)];
    check_key("shortened", &parts, EXPIRED, Gpgv::Differs);
    let parts = [limited(MADE, 100), unlimited(SIGNED + 86_400)];
    check_key("extended from tomorrow", &parts, EXPIRED, Gpgv::Differs);
    let direct = TestKey::new(1).say(SignatureType::Key, MADE, vec![key_expires_after(100)]);
    let parts = [direct, unlimited(MADE + 50)];
    check_key(
        "a direct-key signature decides",
        &parts,
        EXPIRED,
        Gpgv::Differs,
    );
}

#[test]
fn a_revoked_user_id_says_nothing() {
    let parts = |revoked_at| {
        [
            certify(MADE, vec![may_sign()]),
            certify_as(
                SignatureType::CertPositive,
                "old",
                MADE + 10,
                vec![key_expires_after(100)],
            ),
            certify_as(SignatureType::CertRevocation, "old", revoked_at, vec![]),
        ]
    };
    check_key("revoked", &parts(MADE + 20), Ok(()), Gpgv::Good);
    check_key("certified again", &parts(MADE + 5), EXPIRED, Gpgv::Differs);
}

#[test]
fn revoked_keys_are_refused() {
    use RevocationCode::{KeyCompromised, KeyRetired, KeySuperseded, NoReason};
    let check_revocation = |name, at, code, wanted| {
        let parts = [revoke(at, code), certify(MADE, vec![])];
        // gpgv reports the revocation and accepts the signature; apt reads the report and does not.
        check_key(name, &parts, wanted, Gpgv::Differs);
    };
    let tomorrow = SIGNED + 86_400;
    check_revocation(
        "compromised",
        SIGNED + 1,
        KeyCompromised,
        compromised(SIGNED + 1),
    );
    check_revocation("retired", SIGNED + 1, KeyRetired, retired(SIGNED + 1));
    check_revocation("retired from tomorrow", tomorrow, KeySuperseded, Ok(()));
    check_revocation(
        "no reason, from tomorrow",
        tomorrow,
        NoReason,
        compromised(tomorrow),
    );

    let parts = [
        revoke(SIGNED, KeyRetired),
        revoke(SIGNED + 2, KeyCompromised),
        certify(MADE, vec![]),
    ];
    check_key(
        "the most severe counts",
        &parts,
        compromised(SIGNED + 2),
        Gpgv::Differs,
    );
    let stranger = TestKey::new(2).say(SignatureType::KeyRevocation, MADE, vec![]);
    let parts = [stranger, certify(MADE, vec![may_sign()])];
    check_key("by a stranger", &parts, Ok(()), Gpgv::Good);
}

/// Judges a signature by a subkey: `primary` follows the primary key's packet, `parts` follow the
/// subkey's.
#[track_caller]
fn check_subkey(
    name: &str,
    primary: &[u8],
    parts: &[Vec<u8>],
    wanted: Result<(), Problem>,
    client: Gpgv,
) {
    let (key, subkey) = (TestKey::new(1), TestSubkey::new(3));
    let keys = [&key.packet(), primary, &subkey.packet(), &parts.concat()].concat();
    check(name, &keys, &subkey.sign(DATA), wanted, client);
}

fn bind(extra: Extra) -> Vec<u8> {
    let (key, subkey) = (TestKey::new(1), TestSubkey::new(3));
    key.bind(&subkey, SignatureType::SubkeyBinding, MADE, extra)
}

fn back_signature() -> SubpacketData {
    TestSubkey::new(3).back(&TestKey::new(1))
}

#[test]
fn subkeys_are_bound_both_ways() {
    let primary = certify(MADE, vec![may_only_certify()]);
    let good = bind(vec![may_sign(), back_signature()]);
    check_subkey(
        "bound",
        &primary,
        std::slice::from_ref(&good),
        Ok(()),
        Gpgv::Good,
    );
    check_subkey(
        "not bound",
        &primary,
        &[],
        Err(Problem::UnknownKey),
        Gpgv::Bad,
    );
    let stranger = TestKey::new(2).bind(
        &TestSubkey::new(3),
        SignatureType::SubkeyBinding,
        MADE,
        vec![may_sign()],
    );
    let unknown = Err(Problem::UnknownKey);
    check_subkey(
        "bound by a stranger",
        &primary,
        &[stranger],
        unknown,
        Gpgv::Bad,
    );
    let no_back = || refused(KeyProblem::NoBackSignature);
    let one_way = bind(vec![may_sign()]);
    check_subkey(
        "no back-signature",
        &primary,
        &[one_way],
        no_back(),
        Gpgv::Bad,
    );
    let wrong = bind(vec![may_sign(), TestSubkey::new(4).back(&TestKey::new(1))]);
    check_subkey(
        "another's back-signature",
        &primary,
        &[wrong],
        no_back(),
        Gpgv::Bad,
    );
    let unbound = refused(KeyProblem::NoSelfSignature);
    check_subkey("an unbound primary key", &[], &[good], unbound, Gpgv::Bad);
}

#[test]
fn subkeys_have_limits_of_their_own_and_their_primary_keys() {
    let primary = certify(MADE, vec![may_only_certify()]);
    let good = || bind(vec![may_sign(), back_signature()]);
    let encrypting = bind(vec![may_only_certify(), back_signature()]);
    let not_for_signing = refused(KeyProblem::NotForSigning);
    check_subkey(
        "not for signing",
        &primary,
        &[encrypting],
        not_for_signing,
        Gpgv::Bad,
    );
    let limited = bind(vec![may_sign(), back_signature(), key_expires_after(100)]);
    check_subkey("expired", &primary, &[limited], EXPIRED, Gpgv::Differs);
    let expired = certify(MADE, vec![key_expires_after(100)]);
    check_subkey(
        "an expired primary key",
        &expired,
        &[good()],
        EXPIRED,
        Gpgv::Differs,
    );

    let revoke_subkey = |code| {
        TestKey::new(1).bind(
            &TestSubkey::new(3),
            SignatureType::SubkeyRevocation,
            SIGNED,
            vec![because(code)],
        )
    };
    let parts = [good(), revoke_subkey(RevocationCode::KeyCompromised)];
    check_subkey(
        "compromised",
        &primary,
        &parts,
        compromised(SIGNED),
        Gpgv::Differs,
    );
    let parts = [good(), revoke_subkey(RevocationCode::KeyRetired)];
    check_subkey("retired", &primary, &parts, retired(SIGNED), Gpgv::Differs);
    let revoked_primary = [revoke(SIGNED, RevocationCode::NoReason), primary].concat();
    check_subkey(
        "a revoked primary key",
        &revoked_primary,
        &[good()],
        compromised(SIGNED),
        Gpgv::Differs,
    );
}
