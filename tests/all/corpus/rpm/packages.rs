//! The signatures inside packages. The root is not judged here, neither by chantal nor by dnf;
//! rpmkeys takes gpgv's place.

use super::plain;
use crate::corpus::Client::{self, Agrees, CannotJudge, Differs};
use crate::corpus::Expected::{self, Accepted};
use crate::corpus::scene::Scene;
use crate::corpus::signers::{good, signer};
use crate::corpus::{BAD, Case, UNKNOWN, refused};
use crate::kit::keys::{HashAlgorithm, Key};
use crate::kit::upstream::{
    Checksum, Digests, Package, Place, RpmDigest, RpmFile, RpmInside, RpmSignature, Tampered,
    Upstream, tag,
};

const YEAR: u32 = 365 * 86_400;
const CHECK_KEY: &str = "hint: if a key that the upstream announces is missing, add it to gpgkey_file or gpgkey_url; otherwise report this to the upstream (`rpm.gpgcheck: false` accepts packages without verifying signatures); the state of the last successful sync is unchanged\n";

fn hello() -> Package {
    Package::new("hello", "2.0-1")
}

fn by(name: &str) -> RpmSignature {
    RpmSignature::by(signer(name))
}

/// One package, and the key that is trusted.
fn package(
    trusted: &'static str,
    make: impl Fn() -> Package + 'static,
    expected: Expected,
    clients: [Client; 2],
) -> Case {
    let change = move |scene: &mut Scene| scene.judges_package(trusted, make());
    Case::signature(plain, change, expected, clients)
}

/// hello with this signature inside and no other, by the trusted key.
fn signed(
    trusted: &'static str,
    change: fn(RpmSignature) -> RpmSignature,
    expected: Expected,
    clients: [Client; 2],
) -> Case {
    let make = move || hello().signatures([change(by(trusted))]);
    package(trusted, make, expected, clients)
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

const PAYLOAD_BROKEN: &str = ": invalid payload: expected SHA256 [digest], got [digest]";
const RPM_CANNOT: Client = CannotJudge("rpm 4.18 does not know it");
const LENIENT: Client = Differs("rpm 4.18 takes weak ones too");
const ALL: Client = Differs("rpm wants every signature to be good");

fn weak(trusted: &'static str, change: fn(RpmSignature) -> RpmSignature, why: &str) -> Case {
    let expected = not_trusted(&format!("[{trusted}]"), why);
    signed(trusted, change, expected, [LENIENT; 2])
}

cases!(
    as_the_upstream_signs = package("archive", hello, Accepted, [Agrees; 2]),
    sha_512 = signed(
        "archive",
        |s| s.hash(HashAlgorithm::Sha512),
        Accepted,
        [Agrees; 2],
    ),
    rsa_of_2048_bits = signed("rsa-2048", |s| s, Accepted, [Agrees; 2]),
    dsa = signed("dsa", |s| s, Accepted, [Agrees; 2]),
    ecdsa = signed("ecdsa", |s| s, Accepted, [RPM_CANNOT; 2]),
    a_subkey = signed("owner", |s| s, Accepted, [Agrees; 2]),
    a_packet_of_version_3 = signed("rsa-2048", RpmSignature::version_3, Accepted, [Agrees; 2]),
    over_header_and_payload = signed(
        "archive",
        |s| s.at(Place::HeaderAndPayload),
        Accepted,
        [Agrees; 2],
    ),
    version_3_over_header_and_payload = signed(
        "rsa-2048",
        |s| s.at(Place::HeaderAndPayload).version_3(),
        Accepted,
        [Agrees; 2],
    ),
    in_rpm_6s_list = signed(
        "archive",
        |s| s.at(Place::OpenPgp),
        Accepted,
        [RPM_CANNOT; 2],
    ),
    rpm_6s_package_and_key = package(
        "version-6",
        || {
            hello()
                .with_rpm(|rpm| *rpm = RpmInside::version_6())
                .signatures([by("version-6").at(Place::OpenPgp)])
        },
        Accepted,
        [RPM_CANNOT; 2],
    ),
    sha_1 = weak(
        "rsa-2048",
        |s| s.hash(HashAlgorithm::Sha1),
        "digest algorithm SHA1 is too weak",
    ),
    md5 = weak(
        "rsa-2048",
        |s| s.hash(HashAlgorithm::Md5),
        "digest algorithm MD5 is too weak",
    ),
    rsa_of_1024_bits = weak("rsa-1024", |s| s, "RSA keys with 1024 bits are too weak"),
    sha_1_that_is_allowed = Case::signature(
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
);

cases!(
    not_signed = package(
        "archive",
        || hello().signatures([]),
        refused_package(": the package is not signed"),
        [Agrees; 2],
    ),
    not_signed_at_the_first_sync = Case::signature(
        plain,
        |scene| {
            scene.before = None;
            scene.judges_package("archive", hello().signatures([]));
        },
        refused_package(": the package is not signed"),
        [Agrees; 2],
    ),
    not_signed_and_not_asked_for = Case::signature(
        plain,
        |scene| {
            scene.judges_package("archive", hello().signatures([]));
            scene.says("gpgcheck: false");
        },
        Accepted,
        [CannotJudge("it is not asked to verify"); 2],
    ),
    an_unknown_key = package(
        "archive",
        || hello().signatures([by("stranger")]),
        not_trusted("[stranger]", UNKNOWN),
        [Agrees; 2],
    ),
    another_key_is_trusted = package(
        "second",
        hello,
        not_trusted("[archive]", UNKNOWN),
        [Agrees; 2],
    ),
    two_signatures_one_by_an_unknown_key = package(
        "archive",
        || hello().signatures([by("archive"), by("stranger").at(Place::HeaderAndPayload)]),
        Accepted,
        [ALL; 2],
    ),
    two_signatures_one_unreadable = package(
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
    a_key_that_has_expired_since = package(
        "expired",
        || hello().signatures([by("expired")]),
        Accepted,
        [Agrees; 2],
    ),
    a_key_that_had_expired = package(
        "expired early",
        || hello().signatures([by("expired early")]),
        not_trusted("[expired early]", "the key expired on [time]"),
        [
            Differs("rpm 4.18 does not look at it"),
            Differs("rpm 4.18 does not look at it"),
        ],
    ),
    a_revoked_key = package(
        "revoked",
        || hello().signatures([by("revoked")]),
        not_trusted("[revoked]", "the key was revoked on [time]"),
        [
            Differs("rpm 4.18 does not look at it"),
            Differs("rpm 4.18 does not look at it"),
        ],
    ),
    a_key_that_was_retired_since = package(
        "retired",
        || hello().signatures([by("retired")]),
        Accepted,
        [Agrees; 2],
    ),
    older_than_its_key = signed(
        "archive",
        |s| s.made(Key::MADE - YEAR),
        not_trusted(
            "[archive]",
            "the signature is older than its key, which was created on [time]",
        ),
        [Differs("rpm 4.18 does not look at it"); 2],
    ),
    from_the_future = signed(
        "archive",
        |s| s.made(good().made + YEAR),
        not_trusted(
            "[archive]",
            "the signature was created in the future, on [time]",
        ),
        [Differs("rpm 4.18 does not look at it"); 2],
    ),
);

const ONLY_THE_HEADER: &str =
    ": only the header is signed, and it has no strong digest of the payload";

fn tampered(tampered: Tampered, expected: Expected) -> Case {
    let make = move || hello().tampered(tampered);
    package("archive", make, expected, [Agrees; 2])
}

/// As rpm signed before 4.14.
fn old(damage: Option<Tampered>, expected: Expected) -> Case {
    let make = move || {
        let package = hello()
            .signatures([by("archive").at(Place::HeaderAndPayload)])
            .with_rpm(|rpm| rpm.digests = vec![RpmDigest::Sha256, RpmDigest::Md5]);
        match damage {
            Some(damage) => package.tampered(damage),
            None => package,
        }
    };
    package("archive", make, expected, [Agrees; 2])
}

fn digests(digests: &'static [RpmDigest], expected: Expected) -> Case {
    let make = move || hello().with_rpm(|rpm| rpm.digests = digests.to_vec());
    package("archive", make, expected, [Agrees; 2])
}

fn edited(edit: fn(&mut RpmFile), expected: Expected) -> Case {
    let make = move || hello().with_rpm(|rpm| rpm.edit = Some(edit));
    package("archive", make, expected, [Agrees; 2])
}

fn bad() -> Expected {
    not_trusted("[archive]", BAD)
}

cases!(
    the_header = tampered(
        Tampered::Header(Digests::Stale),
        refused_package(": invalid header: expected SHA1 [digest], got [digest]"),
    ),
    the_header_and_its_digests = tampered(Tampered::Header(Digests::Renewed), bad()),
    the_payload = tampered(
        Tampered::Payload(Digests::Stale),
        refused_package(PAYLOAD_BROKEN),
    ),
    the_payload_and_its_digests = tampered(
        Tampered::Payload(Digests::Renewed),
        refused_package(PAYLOAD_BROKEN),
    ),
    old_and_good = old(None, Accepted),
    old_the_payload = old(
        Some(Tampered::Payload(Digests::Stale)),
        refused_package(": invalid payload: expected MD5 [digest], got [digest]"),
    ),
    old_the_payload_and_its_digests = old(Some(Tampered::Payload(Digests::Renewed)), bad()),
    old_the_header_and_its_digests = old(Some(Tampered::Header(Digests::Renewed)), bad()),
    without_digests_in_the_signature_header =
        digests(&[RpmDigest::Payload(Checksum::Sha256)], Accepted),
    without_a_digest_of_the_payload =
        digests(&[RpmDigest::Sha256], refused_package(ONLY_THE_HEADER)),
    with_a_weak_digest_of_the_payload = digests(
        &[RpmDigest::Sha256, RpmDigest::Payload(Checksum::Sha1)],
        refused_package(ONLY_THE_HEADER)
    ),
    a_signature_that_is_none = package(
        "archive",
        || hello().signatures([by("archive").replaced_by(b"junk")]),
        not_trusted("an unspecified key", "the signature packet is damaged"),
        [Agrees; 2],
    ),
    a_count_beyond_the_header = edited(
        |file| file.set_count(tag::DSAHEADER, u32::MAX),
        refused_package(": invalid signature header: tag 267 points outside of the data"),
    ),
    an_offset_beyond_the_header = edited(
        |file| file.set_offset(tag::DSAHEADER, u32::MAX),
        refused_package(": invalid signature header: tag 267 points outside of the data"),
    ),
    too_many_entries = edited(
        |file| file.set_sizes(u32::MAX, 16),
        refused_package(": invalid signature header: [n] entries, limit 1024",),
    ),
    too_much_data = edited(
        |file| file.set_sizes(7, u32::MAX),
        refused_package(": invalid signature header: [n] bytes of data, limit 67108864",),
    ),
    cut_in_the_header = edited(
        |file| file.bytes.truncate(200),
        refused_package(": invalid signature header: the file is truncated"),
    ),
    cut_in_the_payload = edited(
        |file| file.bytes.truncate(file.bytes.len() - 9),
        refused_package(PAYLOAD_BROKEN),
    ),
    something_behind = edited(
        |file| file.bytes.extend(b"evil"),
        refused_package(PAYLOAD_BROKEN),
    ),
    no_lead = edited(
        |file| file.bytes[0] = 0,
        refused_package(": not an RPM package: the magic number is missing"),
    ),
    another_type_of_signature = edited(
        |file| file.bytes[79] = 1,
        refused_package(": not an RPM package: the signature header is missing"),
    ),
    nothing = edited(
        |file| file.bytes.clear(),
        refused_package(": not an RPM package: the file is too short"),
    ),
    another_good_package_in_its_place = package(
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
        refused_package(": the package file contains evil 6.6-6 (x86_64)"),
        [
            Differs("rpmkeys knows no index"),
            Differs("dnf installs what is inside"),
        ],
    ),
);
