//! Packages with digests and signatures inside, judged by rpm, and by gpgv and pgp where rpm 4.18
//! cannot judge them: ECDSA, version 6 packets, rpm 6's list of signatures, and keys that have
//! ended.
//!
//! Lines and leniency are rpm 4.18's as Debian builds it; an rpm with Sequoia refuses weak digests
//! and keys.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pgp::composed::{Deserializable as _, DetachedSignature, SignedPublicKey};

use crate::kit::clients::{client, installed, rpmkeys};
use crate::kit::keys::{Algorithm, HashAlgorithm, Key, PacketForm, RevocationCode};
use crate::kit::process::Output;
use crate::kit::upstream::{
    BUILD_TIME, Checksum, Digests, Package, Place, RpmDigest, RpmFile, RpmFormat, RpmInside,
    RpmSignature, Signing, Tampered, Upstream, tag,
};

fn package() -> Package {
    Package::new("hello", "1-1")
}

fn by(key: &'static Key) -> RpmSignature {
    RpmSignature::by(key)
}

/// The file of an upstream's one package.
fn bytes(upstream: Upstream, package: Package) -> Vec<u8> {
    let built = upstream.package(package).build();
    built.tree.bytes(&built.path_of("hello")).to_vec()
}

fn file(upstream: Upstream, package: Package) -> RpmFile {
    RpmFile::read(bytes(upstream, package))
}

fn judged(key: &Key, package: Package) -> Option<Output> {
    rpmkeys(key, &bytes(Upstream::rpm(), package))
}

/// `Header V4 RSA/SHA256 Signature, key ID 01234567: OK`.
fn line(kind: &str, key: &Key, verdict: &str) -> String {
    let id = key.signing_fingerprint()[32..].to_lowercase();
    format!("    {kind} Signature, key ID {id}: {verdict}\n")
}

#[test]
fn rpm_accepts_signatures_of_every_kind() {
    let of = Key::of;
    let (archive, dsa) = (Key::archive(), of(Algorithm::Dsa2048));
    let [rsa, weak, large] = [2048, 1024, 4096].map(|bits| of(Algorithm::Rsa(bits)));
    let whole = Place::HeaderAndPayload;
    for (kind, signature, key) in [
        ("Header V4 EdDSA/SHA256", by(archive), archive),
        (
            "Header V4 EdDSA/SHA512",
            by(archive).hash(HashAlgorithm::Sha512),
            archive,
        ),
        ("Header V4 DSA/SHA256", by(dsa), dsa),
        ("Header V4 RSA/SHA256", by(rsa), rsa),
        ("Header V4 RSA/SHA256", by(weak), weak),
        ("Header V4 RSA/SHA256", by(large), large),
        (
            "Header V4 RSA/SHA512",
            by(rsa).hash(HashAlgorithm::Sha512),
            rsa,
        ),
        ("Header V4 RSA/SHA1", by(rsa).hash(HashAlgorithm::Sha1), rsa),
        ("Header V4 RSA/MD5", by(rsa).hash(HashAlgorithm::Md5), rsa),
        ("Header V3 RSA/SHA256", by(rsa).version_3(), rsa),
        (
            "Header V3 DSA/SHA1",
            by(dsa).version_3().hash(HashAlgorithm::Sha1),
            dsa,
        ),
        ("Header V4 EdDSA/SHA256", by(Key::owner()), Key::owner()),
        ("V4 EdDSA/SHA256", by(archive).at(whole), archive),
        ("V4 RSA/SHA256", by(rsa).at(whole), rsa),
        ("V3 RSA/SHA256", by(rsa).at(whole).version_3(), rsa),
        ("V3 DSA/SHA256", by(dsa).at(whole).version_3(), dsa),
    ] {
        let Some(output) = judged(key, package().signatures([signature])) else {
            return;
        };
        output.exits(0).mentions(&line(kind, key, "OK"));
    }
}

#[test]
fn rpm_sees_each_of_several_signatures() {
    let (archive, rsa) = (Key::archive(), Key::of(Algorithm::Rsa(2048)));
    let signatures = [by(archive), by(rsa), by(rsa).at(Place::HeaderAndPayload)];
    let Some(output) = judged(archive, package().signatures(signatures)) else {
        return;
    };
    output
        .exits(1)
        .mentions(&line("Header V4 EdDSA/SHA256", archive, "OK"))
        .mentions(&line("Header V4 RSA/SHA256", rsa, "NOKEY"))
        .mentions(&line("V4 RSA/SHA256", rsa, "NOKEY"));
    // Of two with the same tag it looks at the first.
    for [first, second] in [[archive, Key::stranger()], [Key::stranger(), archive]] {
        let output = judged(archive, package().signatures([by(first), by(second)])).unwrap();
        let is_first = first.fingerprint() == archive.fingerprint();
        let output = output.exits(i32::from(!is_first));
        assert_eq!(output.stdout.matches("Signature, key ID").count(), 1);
    }
}

#[test]
fn rpm_refuses_stripped_packages_and_strangers() {
    let (archive, stranger) = (Key::archive(), Key::stranger());
    let Some(output) = judged(archive, package().signatures([])) else {
        return;
    };
    output
        .exits(1)
        .mentions("Header SHA256 digest: OK\n")
        .mentions("DSA signature: NOTFOUND\n");
    let output = judged(archive, package().signatures([by(stranger)])).unwrap();
    output
        .exits(1)
        .mentions(&line("Header V4 EdDSA/SHA256", stranger, "NOKEY"));
}

#[test]
fn rpm_wants_a_signature_to_cover_header_and_payload() {
    let whole = by(Key::archive()).at(Place::HeaderAndPayload);
    let header = by(Key::archive());
    let payload = RpmDigest::Payload(Checksum::Sha256);
    for (digests, signature, code) in [
        (
            vec![RpmDigest::Sha1, RpmDigest::Sha256, payload],
            &header,
            0,
        ),
        (vec![payload], &header, 0),
        (vec![], &whole, 0),
        (vec![RpmDigest::Sha1, RpmDigest::Md5], &whole, 0),
        // Nobody vouches for the payload.
        (vec![], &header, 1),
        (vec![RpmDigest::Sha256, RpmDigest::Md5], &header, 1),
        // Its algorithm is written beside it, but rpm never came to know another.
        (
            vec![RpmDigest::Sha256, RpmDigest::Payload(Checksum::Sha512)],
            &header,
            1,
        ),
    ] {
        let bare = package().signatures([signature.clone()]);
        let package = bare.with_rpm(|rpm| rpm.digests.clone_from(&digests));
        let Some(output) = judged(Key::archive(), package) else {
            return;
        };
        println!("{digests:?} {signature:?}");
        output.exits(code);
    }
}

#[test]
fn rpm_refuses_what_was_changed_after_signing() {
    let key = Key::archive();
    let in_header = |verdict| line("Header V4 EdDSA/SHA256", key, verdict);
    let bad_header = ["    Header SHA256 digest: BAD".to_owned(), in_header("BAD")];
    let bad_payload = ["    Payload SHA256 digest: BAD".to_owned(), in_header("OK")];
    let ok_header = ["    Header SHA256 digest: OK".to_owned(), in_header("BAD")];
    for (tampered, lines) in [
        (Tampered::Header(Digests::Stale), bad_header),
        (Tampered::Header(Digests::Renewed), ok_header),
        (Tampered::Payload(Digests::Stale), bad_payload.clone()),
        (Tampered::Payload(Digests::Renewed), bad_payload),
    ] {
        let Some(output) = judged(key, package().tampered(tampered)) else {
            return;
        };
        lines
            .iter()
            .fold(output.exits(1), |output, line| output.mentions(line));
    }
    // Where nothing but the old signature covers the payload.
    let old = |tampered| {
        package()
            .signatures([by(key).at(Place::HeaderAndPayload)])
            .with_rpm(|rpm| rpm.digests = vec![RpmDigest::Sha256, RpmDigest::Md5])
            .tampered(tampered)
    };
    for (tampered, md5) in [
        (Tampered::Payload(Digests::Stale), "    MD5 digest: BAD"),
        (Tampered::Payload(Digests::Renewed), "    MD5 digest: OK"),
        (Tampered::Header(Digests::Renewed), "    MD5 digest: OK"),
    ] {
        let output = judged(key, old(tampered)).unwrap().exits(1);
        let signature = line("V4 EdDSA/SHA256", key, "BAD");
        output.mentions(md5).mentions(&signature);
    }
}

#[test]
fn rpm_refuses_hostile_signature_headers() {
    let key = Key::archive();
    let edited = |edit: fn(&mut RpmFile)| package().with_rpm(|rpm| rpm.edit = Some(edit));
    for (package, message) in [
        (
            package().signatures([by(key).replaced_by(b"junk")]),
            "invalid OpenPGP signature",
        ),
        (
            edited(|file| file.set_count(tag::DSAHEADER, u32::MAX)),
            "tag[0]: BAD, tag 267",
        ),
        (
            edited(|file| file.set_offset(tag::DSAHEADER, u32::MAX)),
            "tag[0]: BAD, tag 267",
        ),
        (
            edited(|file| file.set_sizes(u32::MAX, 16)),
            "no. of tags(4294967295) out of range",
        ),
        (
            edited(|file| file.set_sizes(7, u32::MAX)),
            "no. of bytes(4294967295) out of range",
        ),
        (edited(|file| file.bytes.truncate(200)), "BAD"),
    ] {
        let Some(output) = judged(key, package) else {
            return;
        };
        output.exits(1).mentions(message);
    }
}

#[test]
fn packages_are_signed_as_the_repository_or_otherwise() {
    let (archive, stranger) = (Key::archive(), Key::stranger());
    let signed = |key: &Key, upstream: Upstream, package: Package| {
        let file = file(upstream, package);
        let header = &file.bytes[file.header.clone()];
        let form = PacketForm::of(HashAlgorithm::Sha256, BUILD_TIME);
        file.value(tag::DSAHEADER) == Some(key.sign_packet(header, form).as_slice())
    };
    let unsigned = |upstream, package| {
        let file = file(upstream, package);
        tag::SIGNATURES.iter().all(|tag| file.value(*tag).is_none())
    };
    let rpm = Upstream::rpm;
    assert!(signed(archive, rpm(), package()));
    assert!(!signed(stranger, rpm(), package()));
    assert!(signed(stranger, rpm().signed_by(stranger), package()));
    assert!(unsigned(rpm().unsigned(), package()));
    assert!(unsigned(rpm().packages(Signing::Unsigned), package()));
    assert!(signed(
        archive,
        rpm().unsigned().packages(Signing::By(archive)),
        package()
    ));
    assert!(unsigned(rpm(), package().signatures([])));
    assert!(signed(
        stranger,
        rpm().unsigned(),
        package().signatures([by(stranger)])
    ));
    // What was built again is what was there before, signatures included.
    assert_eq!(bytes(rpm(), package()), bytes(rpm(), package()));
}

/// What gpgv's machine-readable lines say of a signature over a package's header.
fn gpgv(key: &Key, header: &[u8], signature: &[u8]) -> Option<Output> {
    if !installed("gpgv") {
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in [
        ("keys", key.public_binary().as_slice()),
        ("header", header),
        ("signature", signature),
    ] {
        fs::write(dir.path().join(name), bytes).unwrap();
    }
    let args = [
        "--status-fd=1",
        "--homedir=.",
        "--keyring=./keys",
        "signature",
        "header",
    ];
    Some(client("gpgv", &args, dir.path()))
}

/// What a version 4 signature packet's fields are: time, version, algorithms and kind.
fn valid(key: &Key, made: u32, algorithms: &str) -> String {
    let day = jiff::Timestamp::from_second(made.into())
        .unwrap()
        .strftime("%F")
        .to_string();
    format!(
        "VALIDSIG {} {day} {made} 0 4 0 {algorithms} 00 ",
        key.signing_fingerprint()
    )
}

#[test]
fn gpgv_accepts_signatures_that_rpm_cannot_judge() {
    let (archive, ecdsa) = (Key::archive(), Key::of(Algorithm::EcdsaP256));
    // rpm 4.18 has no ECDSA, and does not know the list of version 6.
    for (at, key, signature, algorithms) in [
        (tag::DSAHEADER, ecdsa, by(ecdsa), "19 8"),
        (
            tag::SIGGPG,
            ecdsa,
            by(ecdsa).at(Place::HeaderAndPayload),
            "19 8",
        ),
        (
            tag::OPENPGP,
            archive,
            by(archive).at(Place::OpenPgp),
            "22 8",
        ),
        (
            tag::OPENPGP,
            ecdsa,
            by(ecdsa).at(Place::OpenPgp).hash(HashAlgorithm::Sha512),
            "19 10",
        ),
    ] {
        let made = 1_650_000_000;
        let file = file(
            Upstream::rpm(),
            package().signatures([signature.made(made)]),
        );
        let mut packet = file.value(at).unwrap().to_vec();
        if at == tag::OPENPGP {
            packet = STANDARD.decode(packet).unwrap();
        }
        let end = if at == tag::SIGGPG {
            file.bytes.len()
        } else {
            file.header.end
        };
        let signed = &file.bytes[file.header.start..end];
        let Some(output) = gpgv(key, signed, &packet) else {
            return;
        };
        output.exits(0).mentions(&valid(key, made, algorithms));
    }
}

#[test]
fn rpm_reads_version_6_packages_as_far_as_it_knows_them() {
    let modern = || package().with_rpm(|rpm| *rpm = RpmInside::version_6());
    let (archive, stranger) = (Key::archive(), Key::stranger());
    let signatures = [stranger, archive].map(by);
    let old = by(archive).at(Place::Header);
    for (package, is_signed) in [
        (modern(), false),
        (modern().signatures(signatures), false),
        (modern().signatures([by(archive), old]), true),
    ] {
        let Some(output) = judged(archive, package) else {
            return;
        };
        let code = i32::from(!is_signed);
        let output = output
            .exits(code)
            .mentions("    Payload SHA256 digest: OK\n");
        let signature = line("Header V4 EdDSA/SHA256", archive, "OK");
        assert_eq!(
            output.stdout.contains(&signature),
            is_signed,
            "{}",
            output.stdout
        );
    }
    let tampered = modern().tampered(Tampered::Payload(Digests::Renewed));
    judged(archive, tampered)
        .unwrap()
        .exits(1)
        .mentions("    Payload SHA256 digest: BAD");
}

/// No client at hand knows version 6 packets: pgp wrote them in parts, here it judges them as a
/// whole.
#[test]
fn pgp_accepts_version_6_signatures() {
    let key = Key::of(Algorithm::Ed25519V6);
    let modern = package().with_rpm(|rpm| rpm.format = RpmFormat::V6);
    let file = file(Upstream::rpm().signed_by(key), modern);
    let packet = STANDARD.decode(file.value(tag::OPENPGP).unwrap()).unwrap();
    let signature = DetachedSignature::from_bytes(packet.as_slice()).unwrap();
    let (public, _) = SignedPublicKey::from_string(&key.public_armored()).unwrap();
    public.verify_bindings().unwrap();
    let mut header = file.bytes[file.header].to_vec();
    signature.verify(&public, header.as_slice()).unwrap();
    header[100] ^= 1;
    signature.verify(&public, header.as_slice()).unwrap_err();
}

#[test]
fn rpm_takes_keys_with_weak_self_signatures() {
    let key = Key::of(Algorithm::Rsa(2048));
    let weak = key.certified_with(HashAlgorithm::Sha1);
    let Some(output) = judged(&weak, package().signatures([by(key)])) else {
        return;
    };
    output
        .exits(0)
        .mentions(&line("Header V4 RSA/SHA256", key, "OK"));
    assert_ne!(weak.public_binary(), key.public_binary());
}

#[test]
fn gpgv_sees_that_keys_ended() {
    let (key, signed) = (Key::archive(), BUILD_TIME);
    let packet = key.sign_packet(b"header", PacketForm::of(HashAlgorithm::Sha256, signed));
    for (key, line) in [
        (key.expiring_at(signed - 1), "EXPKEYSIG"),
        (key.expiring_at(signed + 1), "EXPKEYSIG"),
        (key.expiring_at(u32::MAX), "GOODSIG"),
        (
            key.revoked_at(signed - 1, RevocationCode::NoReason),
            "REVKEYSIG",
        ),
        (
            key.revoked_at(signed + 1, RevocationCode::KeyRetired),
            "REVKEYSIG",
        ),
    ] {
        let Some(output) = gpgv(&key, b"header", &packet) else {
            return;
        };
        output
            .mentions(&format!("{line} "))
            .mentions(&valid(&key, signed, "22 8"));
    }
}
