//! The signatures inside packages. The root is not judged here, neither by chantal nor by dnf; rpmkeys takes gpgv's place.

use super::plain;
use crate::corpus::Client::{self, Agrees, CannotJudge, Differs};
use crate::corpus::Expected::{self, Accepted};
use crate::corpus::scene::Scene;
use crate::corpus::signers::{good, signer};
use crate::corpus::{Case, refused, run};
use crate::kit::keys::{HashAlgorithm, Key};
use crate::kit::upstream::{
    Checksum, Digests, Package, Place, RpmDigest, RpmFile, RpmInside, RpmSignature, Tampered,
    Upstream, tag,
};

const YEAR: u32 = 365 * 86_400;
const CHECK_KEY: &str = "hint: if a key is missing that the upstream announces, add it to gpgkey_file or gpgkey_url; anything else only the \
                    upstream can explain (`rpm.gpgcheck: false` takes packages unseen); the last good state is untouched\n";

fn hello() -> Package {
    Package::new("hello", "2.0-1")
}

fn by(name: &str) -> RpmSignature {
    RpmSignature::by(signer(name))
}

/// One package, and the key that is trusted.
fn package(
    name: &str,
    trusted: &'static str,
    make: impl Fn() -> Package + Send + Sync + 'static,
    expected: Expected,
    clients: [Client; 2],
) -> Case {
    let change = move |scene: &mut Scene| scene.judges_package(trusted, make());
    Case::signature(name, plain, change, expected, clients)
}

/// hello with this signature inside and no other, by the trusted key.
fn signed(
    name: &str,
    trusted: &'static str,
    change: fn(RpmSignature) -> RpmSignature,
    expected: Expected,
    clients: [Client; 2],
) -> Case {
    let make = move || hello().signatures([change(by(trusted))]);
    package(name, trusted, make, expected, clients)
}

fn refused_package(why: &str) -> Expected {
    let what = "package hello 2.0-1 (x86_64), [server]/[hello]";
    refused(4, format!("{what}{why}"), CHECK_KEY)
}

fn not_trusted(key: &str, why: &str) -> Expected {
    refused_package(&format!(
        " has no good signature by a trusted key\n  by {key}: {why}"
    ))
}

const PAYLOAD_BROKEN: &str = ": its payload is broken: expected SHA256 [digest], got [digest]";
const RPM_CANNOT: Client = CannotJudge("rpm 4.18 does not know it");
const LENIENT: Client = Differs("rpm 4.18 takes weak ones too");
const ALL: Client = Differs("rpm wants every signature to be good");

fn kinds() -> Vec<Case> {
    let weak = |name: &str, trusted, change, why| {
        signed(
            name,
            trusted,
            change,
            not_trusted(&format!("[{trusted}]"), why),
            [LENIENT; 2],
        )
    };
    vec![
        package(
            "as the upstream signs",
            "archive",
            hello,
            Accepted,
            [Agrees; 2],
        ),
        signed(
            "SHA-512",
            "archive",
            |s| s.hash(HashAlgorithm::Sha512),
            Accepted,
            [Agrees; 2],
        ),
        signed("RSA of 2048 bits", "rsa-2048", |s| s, Accepted, [Agrees; 2]),
        signed("DSA", "dsa", |s| s, Accepted, [Agrees; 2]),
        signed("ECDSA", "ecdsa", |s| s, Accepted, [RPM_CANNOT; 2]),
        signed("a subkey", "owner", |s| s, Accepted, [Agrees; 2]),
        signed(
            "a packet of version 3",
            "rsa-2048",
            RpmSignature::version_3,
            Accepted,
            [Agrees; 2],
        ),
        signed(
            "over header and payload",
            "archive",
            |s| s.at(Place::HeaderAndPayload),
            Accepted,
            [Agrees; 2],
        ),
        signed(
            "version 3 over header and payload",
            "rsa-2048",
            |s| s.at(Place::HeaderAndPayload).version_3(),
            Accepted,
            [Agrees; 2],
        ),
        signed(
            "in rpm 6's list",
            "archive",
            |s| s.at(Place::OpenPgp),
            Accepted,
            [RPM_CANNOT; 2],
        ),
        package(
            "rpm 6's package and key",
            "version-6",
            || {
                hello()
                    .with_rpm(|rpm| *rpm = RpmInside::version_6())
                    .signatures([by("version-6").at(Place::OpenPgp)])
            },
            Accepted,
            [RPM_CANNOT; 2],
        ),
        weak(
            "SHA-1",
            "rsa-2048",
            |s| s.hash(HashAlgorithm::Sha1),
            "the digest SHA1 is too weak",
        ),
        weak(
            "MD5",
            "rsa-2048",
            |s| s.hash(HashAlgorithm::Md5),
            "the digest MD5 is too weak",
        ),
        weak(
            "RSA of 1024 bits",
            "rsa-1024",
            |s| s,
            "a RSA key of 1024 bits is too weak",
        ),
        Case::signature(
            "SHA-1 that is allowed",
            plain,
            |scene| {
                scene.judges_package(
                    "rsa-2048",
                    hello().signatures([by("rsa-2048").hash(HashAlgorithm::Sha1)]),
                );
                scene.says_above("allow_weak_signatures: true\n");
            },
            Accepted,
            [Agrees; 2],
        ),
    ]
}

fn signers() -> Vec<Case> {
    let known = "the key is not among the trusted keys";
    vec![
        package(
            "not signed",
            "archive",
            || hello().signatures([]),
            refused_package(": it is not signed"),
            [Agrees; 2],
        ),
        Case::signature(
            "not signed, at the first sync",
            plain,
            |scene| {
                scene.before = None;
                scene.judges_package("archive", hello().signatures([]));
            },
            refused_package(": it is not signed"),
            [Agrees; 2],
        ),
        Case::signature(
            "not signed, and not asked for",
            plain,
            |scene| {
                scene.judges_package("archive", hello().signatures([]));
                scene.says("gpgcheck: false");
            },
            Accepted,
            [CannotJudge("it is not asked to verify"); 2],
        ),
        package(
            "an unknown key",
            "archive",
            || hello().signatures([by("stranger")]),
            not_trusted("[stranger]", known),
            [Agrees; 2],
        ),
        package(
            "another key is trusted",
            "second",
            hello,
            not_trusted("[archive]", known),
            [Agrees; 2],
        ),
        package(
            "two signatures, one by an unknown key",
            "archive",
            || hello().signatures([by("archive"), by("stranger").at(Place::HeaderAndPayload)]),
            Accepted,
            [ALL; 2],
        ),
        package(
            "two signatures, one unreadable",
            "archive",
            || {
                hello().signatures([
                    by("archive"),
                    by("archive")
                        .at(Place::HeaderAndPayload)
                        .replaced_by(b"junk"),
                ])
            },
            Accepted,
            [ALL; 2],
        ),
        package(
            "a key that has expired since",
            "expired",
            || hello().signatures([by("expired")]),
            Accepted,
            [Agrees; 2],
        ),
        package(
            "a key that had expired",
            "expired early",
            || hello().signatures([by("expired early")]),
            not_trusted("[expired early]", "the key expired on [time]"),
            [
                Differs("rpm 4.18 does not look at it"),
                Differs("rpm 4.18 does not look at it"),
            ],
        ),
        package(
            "a revoked key",
            "revoked",
            || hello().signatures([by("revoked")]),
            not_trusted("[revoked]", "the key was revoked on [time]"),
            [
                Differs("rpm 4.18 does not look at it"),
                Differs("rpm 4.18 does not look at it"),
            ],
        ),
        package(
            "a key that was retired since",
            "retired",
            || hello().signatures([by("retired")]),
            Accepted,
            [Agrees; 2],
        ),
        signed(
            "older than its key",
            "archive",
            |s| s.made(Key::MADE - YEAR),
            not_trusted(
                "[archive]",
                "the signature is older than its key, which was made on [time]",
            ),
            [Differs("rpm 4.18 does not look at it"); 2],
        ),
        signed(
            "from the future",
            "archive",
            |s| s.made(good().made + YEAR),
            not_trusted(
                "[archive]",
                "the signature was made in the future, on [time]",
            ),
            [Differs("rpm 4.18 does not look at it"); 2],
        ),
    ]
}

fn damages() -> Vec<Case> {
    let tampered = |name: &str, tampered, expected| {
        package(
            name,
            "archive",
            move || hello().tampered(tampered),
            expected,
            [Agrees; 2],
        )
    };
    let old = |name: &str, damage: Option<Tampered>, expected| {
        package(
            name,
            "archive",
            move || {
                let package = hello()
                    .signatures([by("archive").at(Place::HeaderAndPayload)])
                    .with_rpm(|rpm| rpm.digests = vec![RpmDigest::Sha256, RpmDigest::Md5]);
                match damage {
                    Some(damage) => package.tampered(damage),
                    None => package,
                }
            },
            expected,
            [Agrees; 2],
        )
    };
    let digests = |name: &str, digests: &'static [RpmDigest], expected, clients| {
        package(
            name,
            "archive",
            move || hello().with_rpm(|rpm| rpm.digests = digests.to_vec()),
            expected,
            clients,
        )
    };
    let edited = |name: &str, edit: fn(&mut RpmFile), expected| {
        package(
            name,
            "archive",
            move || hello().with_rpm(|rpm| rpm.edit = Some(edit)),
            expected,
            [Agrees; 2],
        )
    };
    let bad = || {
        not_trusted(
            "[archive]",
            "the signature is bad: these bytes, or the signature, were changed",
        )
    };
    let payload =
        ": only its header is signed, which has no digest of the payload that can be trusted";
    vec![
        tampered(
            "the header",
            Tampered::Header(Digests::Stale),
            refused_package(": its header is broken: expected SHA1 [digest], got [digest]"),
        ),
        tampered(
            "the header, and its digests",
            Tampered::Header(Digests::Renewed),
            bad(),
        ),
        tampered(
            "the payload",
            Tampered::Payload(Digests::Stale),
            refused_package(PAYLOAD_BROKEN),
        ),
        tampered(
            "the payload, and its digests",
            Tampered::Payload(Digests::Renewed),
            refused_package(PAYLOAD_BROKEN),
        ),
        old("old, and good", None, Accepted),
        old(
            "old, the payload",
            Some(Tampered::Payload(Digests::Stale)),
            refused_package(": its payload is broken: expected MD5 [digest], got [digest]"),
        ),
        old(
            "old, the payload and its digests",
            Some(Tampered::Payload(Digests::Renewed)),
            bad(),
        ),
        old(
            "old, the header and its digests",
            Some(Tampered::Header(Digests::Renewed)),
            bad(),
        ),
        digests(
            "without digests in the signature header",
            &[RpmDigest::Payload(Checksum::Sha256)],
            Accepted,
            [Agrees; 2],
        ),
        digests(
            "without a digest of the payload",
            &[RpmDigest::Sha256],
            refused_package(payload),
            [Agrees; 2],
        ),
        digests(
            "with a weak digest of the payload",
            &[RpmDigest::Sha256, RpmDigest::Payload(Checksum::Sha1)],
            refused_package(payload),
            [Agrees; 2],
        ),
        package(
            "a signature that is none",
            "archive",
            || hello().signatures([by("archive").replaced_by(b"junk")]),
            not_trusted("an unnamed key", "the signature packet is damaged"),
            [Agrees; 2],
        ),
        edited(
            "a count beyond the header",
            |file| file.set_count(tag::DSAHEADER, u32::MAX),
            refused_package(": its signature header is broken: tag 267 points outside of its data"),
        ),
        edited(
            "an offset beyond the header",
            |file| file.set_offset(tag::DSAHEADER, u32::MAX),
            refused_package(": its signature header is broken: tag 267 points outside of its data"),
        ),
        edited(
            "too many entries",
            |file| file.set_sizes(u32::MAX, 16),
            refused_package(
                ": its signature header is broken: it has [n] entries, more than the 1024 that are read",
            ),
        ),
        edited(
            "too much data",
            |file| file.set_sizes(7, u32::MAX),
            refused_package(
                ": its signature header is broken: it has [n] bytes of data, more than the 67108864 that are read",
            ),
        ),
        edited(
            "cut in the header",
            |file| file.bytes.truncate(200),
            refused_package(": its signature header is broken: the file ends in the middle of it"),
        ),
        edited(
            "cut in the payload",
            |file| file.bytes.truncate(file.bytes.len() - 9),
            refused_package(PAYLOAD_BROKEN),
        ),
        edited(
            "something behind",
            |file| file.bytes.extend(b"evil"),
            refused_package(PAYLOAD_BROKEN),
        ),
        edited(
            "no lead",
            |file| file.bytes[0] = 0,
            refused_package(": it is not an RPM package: the magic number is missing"),
        ),
        edited(
            "another type of signature",
            |file| file.bytes[79] = 1,
            refused_package(": it is not an RPM package: it has no signature header"),
        ),
        edited(
            "nothing",
            |file| file.bytes.clear(),
            refused_package(": it is not an RPM package: the file is too short"),
        ),
        package(
            "another good package in its place",
            "archive",
            || {
                hello().with_rpm(|rpm| {
                    rpm.edit = Some(|file| {
                        let evil = Upstream::rpm()
                            .package(Package::new("evil", "6.6-6"))
                            .build();
                        file.bytes = evil.tree.bytes(&evil.path_of("evil")).to_vec();
                    });
                })
            },
            refused_package(": inside it is evil 6.6-6 (x86_64)"),
            [
                Differs("rpmkeys knows no index"),
                Differs("dnf installs what is inside"),
            ],
        ),
    ]
}

#[test]
fn kinds_of_signatures() {
    run(&kinds());
}

#[test]
fn who_signed() {
    run(&signers());
}

#[test]
fn what_was_changed_since() {
    run(&damages());
}
