//! The signatures inside rpm packages: which ones count, and when packages are looked at.

use super::{hello, mirror_of};
use crate::kit::keys::{Algorithm, HashAlgorithm, Key};
use crate::kit::mirror::Mirror;
use crate::kit::upstream::{
    Checksum, Codec, Package, Place, RpmDigest, RpmInside, RpmSignature, Signing, Tampered,
    Upstream,
};

const HINT: &str = "hint: if a key that the upstream announces is missing, add it to gpgkey_file or gpgkey_url; otherwise report this to the upstream (`rpm.gpgcheck: false` accepts packages without verifying signatures); the state of the last successful sync is unchanged\n";

fn by(key: &'static Key) -> RpmSignature {
    RpmSignature::by(key)
}

/// A mirror of one package that trusts one key; the root is not signed, so that only the package is
/// judged.
fn judging(key: &Key, package: Package) -> Mirror {
    let upstream = Upstream::rpm().unsigned().package(package);
    mirror_of(upstream)
        .defined(|repository| repository.trusting(key).format("repo_gpgcheck: false"))
}

#[test]
fn signatures_of_every_kind_count() {
    let of = Key::of;
    let archive = Key::archive();
    let [rsa, large] = [2048, 4096].map(|bits| of(Algorithm::Rsa(bits)));
    let (ecdsa, dsa) = (of(Algorithm::EcdsaP256), of(Algorithm::Dsa2048));
    let v6 = of(Algorithm::Ed25519V6);
    let whole = Place::HeaderAndPayload;
    for (name, key, signature) in [
        ("EdDSA", archive, by(archive)),
        ("SHA-512", archive, by(archive).hash(HashAlgorithm::Sha512)),
        ("RSA 2048", rsa, by(rsa)),
        ("RSA 4096", large, by(large)),
        ("ECDSA", ecdsa, by(ecdsa)),
        ("DSA", dsa, by(dsa)),
        ("packet of version 3", rsa, by(rsa).version_3()),
        ("RSA over all", rsa, by(rsa).at(whole)),
        ("version 3 over all", rsa, by(rsa).at(whole).version_3()),
        ("EdDSA over all", archive, by(archive).at(whole)),
        ("rpm 6's place", archive, by(archive).at(Place::OpenPgp)),
        ("rpm 6's place, version 6", v6, by(v6).at(Place::OpenPgp)),
    ] {
        let said = judging(key, hello().signatures([signature])).sync();
        assert_eq!(said.status.code(), Some(0), "{name}: {}", said.stderr);
        let signer = format!("1 package verified by {}", key.fingerprint());
        assert!(said.stdout.contains(&signer), "{name}: {}", said.stdout);
    }
    let version_6 = hello()
        .with_rpm(|rpm| *rpm = RpmInside::version_6())
        .signatures([by(v6).at(Place::OpenPgp)]);
    judging(v6, version_6).sync().succeeds();
}

#[test]
fn one_good_signature_is_enough() {
    let (archive, stranger) = (Key::archive(), Key::stranger());
    for signatures in [
        [by(stranger), by(archive).at(Place::OpenPgp)],
        [by(archive), by(stranger).at(Place::HeaderAndPayload)],
        [
            by(archive),
            by(archive).at(Place::HeaderAndPayload).replaced_by(b"junk"),
        ],
    ] {
        judging(archive, hello().signatures(signatures))
            .sync()
            .succeeds();
    }
}

#[test]
fn what_is_signed_must_reach_the_payload() {
    let key = Key::archive();
    let without = |package: Package| package.with_rpm(|rpm| rpm.digests = vec![RpmDigest::Sha256]);
    let weak = |package: Package| {
        package.with_rpm(|rpm| rpm.digests.push(RpmDigest::Payload(Checksum::Sha1)))
    };
    let header_only = without(hello()).signatures([by(key)]);
    let weakly_tied = weak(header_only.clone());
    for package in [header_only, weakly_tied] {
        judging(key, package).sync().fails_with(
            4,
            &format!(
                "error: r: package hello 1.0-1 (x86_64), [server]/hello-1.0-1.x86_64.rpm: only the header is signed, \
                 and it has no strong digest of the payload\n{HINT}"
            ),
        );
    }
    let whole = by(key).at(Place::HeaderAndPayload);
    let old = without(hello()).signatures([by(key), whole.clone()]);
    judging(key, old.clone()).sync().succeeds();
    let changed = Tampered::Payload(crate::kit::upstream::Digests::Renewed);
    let said = judging(key, old.tampered(changed)).sync().exits(4).stderr;
    assert!(said.contains("bad signature: "), "{said}");
}

/// Packages are signed once and used for years.
#[test]
fn a_key_counts_as_it_was_when_it_signed() {
    const YEAR: u32 = 365 * 86_400;
    let key = Key::archive();
    let signed = |at: u32| hello().signatures([by(key).made(at)]);
    let expired = key.expiring_at(Key::MADE + 2 * YEAR);
    judging(&expired, signed(Key::MADE + YEAR))
        .sync()
        .succeeds();
    let late = judging(&expired, signed(Key::MADE + 3 * YEAR)).sync();
    assert!(
        late.stderr.contains("the key expired on"),
        "{}",
        late.stderr
    );
    late.exits(4);
    let early = judging(key, signed(Key::MADE - YEAR)).sync();
    assert!(
        early.stderr.contains("older than its key"),
        "{}",
        early.stderr
    );
    early.exits(4);
}

#[test]
fn weak_signatures_need_permission() {
    let rsa = Key::of(Algorithm::Rsa(2048));
    let small = Key::of(Algorithm::Rsa(1024));
    for (key, signature, why) in [
        (
            rsa,
            by(rsa).hash(HashAlgorithm::Sha1),
            "digest algorithm SHA1 is too weak",
        ),
        (
            rsa,
            by(rsa).hash(HashAlgorithm::Md5),
            "digest algorithm MD5 is too weak",
        ),
        (small, by(small), "RSA keys with 1024 bits are too weak"),
    ] {
        let mirror = judging(key, hello().signatures([signature]));
        let said = mirror.sync().exits(4).stderr;
        assert!(said.contains(why), "{said}");
        let repository = mirror.usual().trusting(key);
        let repository = repository.format("repo_gpgcheck: false");
        mirror
            .chantal
            .repository(&repository.more("allow_weak_signatures: true\n"));
        mirror.sync().succeeds();
    }
}

/// Whoever has to look wants to know of all of them; what came meanwhile does not come again.
#[test]
fn refused_packages_are_reported_together() {
    let mut upstream = Upstream::rpm().package(hello());
    for name in ["a", "b"] {
        upstream.add(Package::new(name, "1-1").signatures([]));
    }
    upstream.add(Package::new("c", "1-1").signatures([by(Key::stranger())]));
    let mirror = mirror_of(upstream);
    let stranger = Key::stranger().fingerprint();
    let message = format!(
        "error: r: 3 packages failed verification\n\
         \x20 package a 1-1 (x86_64), [server]/a-1-1.x86_64.rpm: the package is not signed\n\
         \x20 package b 1-1 (x86_64), [server]/b-1-1.x86_64.rpm: the package is not signed\n\
         \x20 package c 1-1 (x86_64), [server]/c-1-1.x86_64.rpm has no good signature by a trusted key\n\
         \x20   by {stranger}: the key is not among the trusted keys\n{HINT}"
    );
    mirror.sync().fails_with(4, &message);
    mirror.server.clear_log();
    mirror.sync().fails_with(4, &message);
    let asked = mirror.server.request_lines();
    let packages: Vec<_> = asked.iter().filter(|line| line.contains(".rpm")).collect();
    assert_eq!(packages, Vec::<&String>::new());
    assert!(!mirror.chantal.published("r").exists());

    // So many that nobody needs to know all.
    let mut upstream = Upstream::rpm();
    for number in 10..40 {
        upstream.add(Package::new(&format!("p{number}"), "1-1").signatures([]));
    }
    let mirror = mirror_of(upstream);
    let said = mirror.sync().exits(4).stderr;
    let first = said.lines().next().unwrap();
    assert!(
        first.contains(" packages failed verification, and ")
            && first.ends_with(" other files were not checked"),
        "{said}"
    );
    assert!(mirror.server.requests().len() < 30, "{said}");
}

#[test]
fn packages_are_looked_at_again_when_the_keys_change() {
    let mirror = mirror_of(Upstream::rpm().package(hello()));
    let configure = |line: &str| {
        let repository = mirror.usual().format("repo_gpgcheck: false");
        mirror.chantal.repository(&repository.format(line));
    };
    configure("gpgcheck: false");
    let said = mirror.sync().succeeds().stdout;
    assert!(!said.contains("package verified by"), "{said}");
    // The upstream has nothing new, but now somebody wants to know.
    configure("gpgcheck: true");
    let said = mirror.sync().succeeds().stdout;
    assert!(said.contains("1 package verified by"), "{said}");
    mirror.server.clear_log();
    let unchanged = mirror.sync().succeeds().stdout;
    assert!(unchanged.starts_with("r: unchanged"), "{unchanged}");
    assert_eq!(mirror.server.requests().len(), 1);

    let other = mirror.usual().format("repo_gpgcheck: false");
    mirror.chantal.repository(
        &other
            .trusting(Key::stranger())
            .format("repo_gpgcheck: false"),
    );
    let before = mirror.tree();
    let said = mirror.sync().exits(4).stderr;
    assert!(
        said.contains("the key is not among the trusted keys"),
        "{said}"
    );
    mirror.tree().assert_same(&before);
}

/// A verdict is remembered with the object and the keys: what is known to be good is not read
/// again.
#[test]
fn a_good_package_is_read_once() {
    let mirror = mirror_of(Upstream::rpm().package(hello()));
    mirror.sync().succeeds();
    let objects = mirror.chantal.data().join("pool/sha256");
    let package = mirror.built.tree.bytes(&mirror.built.path_of("hello"));
    let hex = Checksum::Sha256.hex(package);
    let object = objects.join(&hex[..2]).join(&hex);
    // Nobody who reads it could find it good now.
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&object, permissions).unwrap();
    std::fs::write(&object, vec![0; package.len()]).unwrap();
    let said = mirror.sync_with(&["--refresh"]).succeeds().stdout;
    assert!(said.contains("1 package verified by"), "{said}");
}

/// However many packages need a key that is not trusted.
#[test]
fn keys_are_asked_for_once() {
    let (archive, stranger) = (Key::archive(), Key::stranger());
    let mut upstream = Upstream::rpm().unsigned();
    for name in ["a", "b", "c"] {
        upstream.add(Package::new(name, "1-1").signatures([by(archive)]));
    }
    let mut mirror = mirror_of(upstream);
    mirror
        .server
        .edit(|tree| tree.insert("key", archive.public_armored()));
    let define = |mirror: &Mirror| {
        let (url, both) = (
            mirror.server.url(),
            [archive, stranger].map(Key::fingerprint),
        );
        let repository = mirror.usual().format(&format!("gpgkey_url: {url}/key"));
        let named = format!("gpgkey_fingerprints: [{}]", both[0]);
        let repository = repository.format(&named).format("gpgcheck: true");
        mirror.chantal.repository(&repository);
    };
    define(&mirror);
    mirror.sync().succeeds();
    assert_eq!(mirror.server.requests_of("key").len(), 1);

    mirror.next(|upstream| {
        upstream.signing = Signing::Unsigned;
        for name in ["d", "e", "f"] {
            upstream.add(Package::new(name, "1-1").signatures([by(stranger)]));
        }
    });
    mirror.server.edit(|tree| {
        let keys = [archive.public_armored(), stranger.public_armored()].concat();
        tree.insert("key", keys);
    });
    define(&mirror);
    mirror.server.clear_log();
    let said = mirror.sync().exits(4).stderr;
    assert!(said.contains("3 packages failed verification"), "{said}");
    assert_eq!(mirror.server.requests_of("key").len(), 1);
}

/// What is listed a second time as something else is a package all the same, in whatever order and
/// at whatever path.
#[test]
fn a_package_is_one_whatever_else_it_is_called() {
    for delta_path in ["hello-1.0-1.x86_64.rpm", "aaa/hello.drpm"] {
        let unsigned = hello().signatures([]);
        let upstream = Upstream::rpm().unsigned().package(unsigned);
        let mut mirror = mirror_of(upstream).defined(|repository| {
            let repository = repository.trusting(Key::archive());
            repository.format("repo_gpgcheck: false")
        });
        let path = mirror.built.path_of("hello");
        let bytes = mirror.built.tree.bytes(&path).to_vec();
        let checksum = Checksum::Sha256.hex(&bytes);
        let deltas = format!(
            "<prestodelta><newpackage name=\"a\" version=\"1\" release=\"1\" arch=\"x86_64\">\
             <delta oldepoch=\"0\" oldversion=\"0\" oldrelease=\"1\"><filename>{delta_path}</filename>\
             <sequence>a-1</sequence><size>{}</size><checksum type=\"sha256\">{checksum}</checksum>\
             </delta></newpackage></prestodelta>",
            bytes.len()
        );
        let data = format!(
            "<data type=\"prestodelta\"><checksum type=\"sha256\">{}</checksum>\
             <location href=\"repodata/deltas.xml\"/><size>{}</size></data><data type=\"primary\">",
            Checksum::Sha256.hex(deltas.as_bytes()),
            deltas.len()
        );
        let tree = &mut mirror.built.tree;
        let root = tree.text("repodata/repomd.xml");
        let root = root.replacen("<data type=\"primary\">", &data, 1);
        assert!(root.contains("prestodelta"));
        tree.insert("repodata/repomd.xml", root);
        tree.insert("repodata/deltas.xml", deltas);
        tree.insert("aaa/hello.drpm", bytes);
        mirror.server.swap(tree.clone());
        let said = mirror.sync().exits(4).stderr;
        assert!(
            said.contains("the package is not signed") || said.contains(".drpm"),
            "{delta_path}: {said}"
        );
    }
}

/// An old package with known holes, well signed, must not pass for the new one.
#[test]
fn a_package_in_the_place_of_another_is_refused() {
    let mut upstream = Upstream::rpm().unsigned();
    upstream.add(Package::new("old", "1-1").signatures([by(Key::archive())]));
    let old = upstream.build();
    let bytes = old.tree.bytes(&old.path_of("old")).to_vec();
    for (name, version) in [("new", "1-1"), ("old", "2-1"), ("old", "1:1-1")] {
        let impostor = Package::new(name, version).raw(&bytes);
        let upstream = Upstream::rpm().unsigned().package(impostor);
        let mirror = mirror_of(upstream).defined(|repository| {
            let repository = repository.trusting(Key::archive());
            repository.format("repo_gpgcheck: false")
        });
        let said = mirror.sync().exits(4).stderr;
        assert!(
            said.contains(": the package file contains old 1-1 (x86_64)\n"),
            "{said}"
        );
        // Not at the next sync either, which knows the package already.
        let said = mirror.sync().exits(4).stderr;
        assert!(
            said.contains(": the package file contains old 1-1 (x86_64)\n"),
            "{said}"
        );
    }
    let source = Package::new("hello", "1.0-1").architecture("src");
    judging(Key::archive(), source.signatures([by(Key::archive())]))
        .sync()
        .succeeds();
}

/// The disk is to blame, not the upstream: what is damaged comes again.
#[test]
fn a_damaged_package_in_the_pool_is_fetched_again() {
    let mirror = mirror_of(Upstream::rpm().package(hello()));
    let off = mirror.usual().format("gpgcheck: false");
    mirror.chantal.repository(&off);
    mirror.sync().succeeds();
    let path = mirror.built.path_of("hello");
    let package = mirror.built.tree.bytes(&path);
    let hex = Checksum::Sha256.hex(package);
    let object = mirror
        .chantal
        .data()
        .join("pool/sha256")
        .join(&hex[..2])
        .join(&hex);
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&object, permissions).unwrap();
    std::fs::write(&object, vec![0; package.len()]).unwrap();
    mirror.chantal.repository(&mirror.usual());
    let said = mirror.sync_with(&["--refresh"]).exits(0);
    assert!(said.stderr.contains("is damaged"), "{}", said.stderr);
    assert_eq!(std::fs::read(&object).unwrap(), package);
    assert_eq!(mirror.tree().bytes(&path), package);
}

/// One file cannot be two packages: clients would believe the entry that nobody looked at.
#[test]
fn one_path_cannot_be_two_packages() {
    for again in ["9.9", "1.0"] {
        let package = hello().signatures([by(Key::archive())]);
        let upstream = Upstream::rpm().unsigned().package(package);
        let upstream = upstream.with_rpm(|rpm| rpm.compression = Codec::Plain);
        let mut mirror = mirror_of(upstream).defined(|repository| {
            let repository = repository.trusting(Key::archive());
            repository.format("repo_gpgcheck: false")
        });
        let primary = mirror.built.ending("primary.xml");
        let tree = &mut mirror.built.tree;
        let text = tree.text(&primary).to_owned();
        let (start, end) = (
            text.find("<package ").unwrap(),
            text.find("</package>").unwrap() + 10,
        );
        let element = text[start..end].replace("ver=\"1.0\"", &format!("ver=\"{again}\""));
        let text = [&text[..end], &element, &text[end..]].concat();
        let root = tree.text("repodata/repomd.xml").to_owned();
        let old = tree.bytes(&primary).to_vec();
        let root = root
            .replace(
                &Checksum::Sha256.hex(&old),
                &Checksum::Sha256.hex(text.as_bytes()),
            )
            .replace(
                &format!("size>{}<", old.len()),
                &format!("size>{}<", text.len()),
            );
        tree.insert("repodata/repomd.xml", root);
        let hex = |bytes: &[u8]| Checksum::Sha256.hex(bytes);
        let renamed = primary.replace(&hex(&old), &hex(text.as_bytes()));
        tree.insert(&renamed, text);
        mirror.server.swap(mirror.built.tree.clone());
        if again == "1.0" {
            // An exact repetition says nothing new.
            mirror.sync().succeeds();
        } else {
            let said = mirror.sync().exits(4).stderr;
            assert!(
                said.contains("is listed twice with different content: hello 1.0-1"),
                "{said}"
            );
        }
    }
}

#[test]
fn metadata_is_no_package_whatever_it_is_called() {
    let mut mirror = mirror_of(Upstream::rpm().unsigned().package(hello().signatures([])));
    let path = mirror.built.path_of("hello");
    let tree = &mut mirror.built.tree;
    let package = tree.bytes(&path).to_vec();
    let data = format!(
        "<data type=\"extra\"><checksum type=\"sha256\">{}</checksum>\
         <location href=\"repodata/extra.bin\"/><size>{}</size></data><data type=\"primary\">",
        Checksum::Sha256.hex(&package),
        package.len()
    );
    let root = tree.text("repodata/repomd.xml");
    let root = root.replacen("<data type=\"primary\">", &data, 1);
    tree.insert("repodata/repomd.xml", root);
    tree.insert("repodata/extra.bin", package);
    mirror.server.swap(tree.clone());
    let said = mirror.sync().exits(4).stderr;
    assert!(said.contains("repodata/extra.bin: is a package"), "{said}");
}
