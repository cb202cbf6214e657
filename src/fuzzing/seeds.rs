//! The initial inputs of the fuzzer: `fixtures/fuzz`, the signed files of `fixtures/openpgp`, the
//! small upstreams of `fixtures/upstream`, and generated ones.

use std::io::Write;
use std::path::{Path, PathBuf};

use pgp::composed::{KeyType, SecretKeyParamsBuilder, SubkeyParamsBuilder};
use pgp::crypto::ecc_curve::ECCCurve;
use pgp::ser::Serialize;
use pgp::types::KeyVersion;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::TARGETS;
use crate::digest::ObjectId;
use crate::format::compression::Compression;
use crate::manifest::{Entry, Package, Role, build};
use crate::rel_path::RelPath;

/// Target, name and content.
pub type Seed = (&'static str, String, Vec<u8>);

pub fn all() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for (target, _) in TARGETS {
        let kept = fixtures().join("fuzz").join(target);
        for file in files(&kept) {
            seeds.push((target, name_of(&file), read(&file)));
        }
    }
    signatures(&mut seeds);
    upstreams(&mut seeds);
    keys(&mut seeds);
    manifests(&mut seeds);
    configurations(&mut seeds);
    for (name, path) in [
        ("plain", "dists/stable/Release\n../../pool/a_1%3a2.deb"),
        ("dots", "a/./b/../c\nd/"),
        ("url", "https://h/x\nfile"),
    ] {
        seeds.push(("rel-path", name.to_owned(), path.into()));
    }
    seeds
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// All files below a directory, which may be missing.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn name_of(file: &Path) -> String {
    let name = file.file_name().expect("a file has a name");
    name.to_string_lossy().into_owned()
}

fn read(file: &Path) -> Vec<u8> {
    fs_err::read(file).expect("a fixture is read")
}

fn signatures(seeds: &mut Vec<Seed>) {
    for file in files(&fixtures().join("openpgp")) {
        let (name, bytes) = (name_of(&file), read(&file));
        let targets: &[&str] = match name.as_str() {
            name if name.ends_with("-inline.asc") => &["openpgp-inline", "openpgp-armor"],
            name if name.ends_with("-text.sig") => &["openpgp-armor", "openpgp-detached"],
            // The complete keyring would make every execution slow.
            "keyring.asc" => &[],
            name if name.ends_with(".sig") => &["openpgp-detached"],
            name if name.ends_with(".rpm") => &["rpm-package"],
            name if name.ends_with(".pgp") => &["openpgp-keyring"],
            _ => &[],
        };
        seeds.extend(
            targets
                .iter()
                .map(|target| (*target, name.clone(), bytes.clone())),
        );
    }
}

/// Kinds of keys that gpg does not generate, with and without their secret parts.
fn keys(seeds: &mut Vec<Seed>) {
    let mut random = StdRng::seed_from_u64(1);
    for (name, version, kind) in [
        ("ed448", KeyVersion::V6, KeyType::Ed448),
        ("ed25519", KeyVersion::V6, KeyType::Ed25519),
        ("ed25519-v4", KeyVersion::V4, KeyType::Ed25519),
        ("p521", KeyVersion::V6, KeyType::ECDSA(ECCCurve::P521)),
        ("k256", KeyVersion::V4, KeyType::ECDSA(ECCCurve::Secp256k1)),
    ] {
        let subkey = SubkeyParamsBuilder::default()
            .version(version)
            .key_type(kind.clone())
            .can_sign(true)
            .build()
            .expect("good parameters");
        let key = SecretKeyParamsBuilder::default()
            .version(version)
            .key_type(kind)
            .can_certify(true)
            .can_sign(true)
            .primary_user_id(format!("{name}@example.org"))
            .subkey(subkey)
            .build()
            .expect("good parameters")
            .generate(&mut random)
            .expect("a key is made");
        let bytes = key.to_public_key().to_bytes().expect("a key is written");
        seeds.push(("openpgp-keyring", name.to_owned(), bytes));
        let bytes = key.to_bytes().expect("a key is written");
        seeds.push(("openpgp-secret-key", name.to_owned(), bytes));
    }
}

fn upstreams(seeds: &mut Vec<Seed>) {
    for file in files(&fixtures().join("upstream")) {
        let (name, bytes) = (name_of(&file), read(&file));
        let (_, compression) = Compression::split(&name);
        let target = match compression {
            Compression::Gzip => "index-gzip",
            Compression::Xz => "index-xz",
            _ => match name.as_str() {
                "InRelease" => "openpgp-inline",
                "Release" => "deb-release",
                "repomd.xml" => "rpm-repomd",
                "key.asc" | "Release.gpg" | "repomd.xml.asc" => "openpgp-armor",
                _ => continue,
            },
        };
        let declared: &[u8] = match target {
            "index-gzip" | "index-xz" => &[0xff, 0xff],
            _ => &[],
        };
        seeds.push((target, name.clone(), [declared, &bytes].concat()));

        let mut text = Vec::new();
        if compression == Compression::Gzip {
            let mut reader = flate2::bufread::MultiGzDecoder::new(&bytes[..]);
            std::io::copy(&mut reader, &mut text).expect("a good stream");
        }
        if name == "Packages.gz" {
            seeds.push(("deb-packages", name.clone(), text.clone()));
        }
        if name.ends_with("-primary.xml.gz") {
            seeds.push(("rpm-primary", name.clone(), text.clone()));
        }
        if name.ends_with("-filelists.xml.gz") {
            for (target, packed) in [("index-bzip2", bzip2(&text)), ("index-zstd", zstd(&text))] {
                seeds.push((target, name.clone(), [&[0xff, 0xff], &packed[..]].concat()));
                let exact = u16::try_from(text.len())
                    .expect("a small file")
                    .to_be_bytes();
                // A second stream after the first one.
                let twice = [&exact, &packed[..], &packed[..]].concat();
                seeds.push((target, format!("{name}-twice"), twice));
            }
        }
    }
}

fn bzip2(text: &[u8]) -> Vec<u8> {
    let mut packer = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
    packer.write_all(text).expect("memory");
    packer.finish().expect("memory")
}

fn zstd(text: &[u8]) -> Vec<u8> {
    let mut packer = zstd::stream::write::Encoder::new(Vec::new(), 19).expect("a good level");
    packer.include_checksum(true).expect("an option");
    packer.write_all(text).expect("memory");
    packer.finish().expect("memory")
}

fn manifests(seeds: &mut Vec<Seed>) {
    let entry = |path: &str, role| Entry {
        path: RelPath::parse(path).expect("a plain path"),
        object: ObjectId::of(path.as_bytes()),
        size: 1 << (path.len() % 64),
        role,
        package: (role == Role::Package).then(|| Package {
            name: "g++".to_owned(),
            version: "4:12.2-3".to_owned(),
            architecture: "amd64".to_owned(),
        }),
    };
    let built = build(vec![
        entry("dists/stable/InRelease", Role::Root),
        entry("dists/stable/main/binary-amd64/Packages.xz", Role::Index),
        entry("key.asc", Role::Key),
        entry("pool/g/g++_12.2-3_amd64.deb", Role::Package),
        entry("pool/g/g++_12.2-3_i386.deb", Role::Package),
        entry("pool/sums", Role::File),
    ])
    .expect("a good manifest");
    seeds.push(("manifest", "whole".to_owned(), built.manifest.encode()));
    for (id, chunk) in built.chunks {
        seeds.push(("manifest", id.hex(), chunk));
    }
}

fn configurations(seeds: &mut Vec<Seed>) {
    for (name, repository) in [
        ("apt", crate::config::EXAMPLE_APT),
        ("rpm", crate::config::EXAMPLE_RPM),
    ] {
        let enabled = repository.replace("enabled: false", "enabled: true");
        // The comments are half of the file and useless for the fuzzer.
        let text = format!("{}\n%%\n{enabled}", crate::config::EXAMPLE_GLOBAL);
        let is_content = |line: &&str| !line.trim_start().starts_with('#');
        let lines: Vec<&str> = text.lines().filter(is_content).collect();
        seeds.push(("configuration", name.to_owned(), lines.join("\n").into()));
    }
}
