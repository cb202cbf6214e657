//! Transfers that are written and read again, whole and damaged.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::digest::{ObjectId, ObjectRef};
use crate::manifest::{self, Built, Entry, Package, Role};
use crate::names::{DestinationName, ExporterId, RepoId};
use crate::rel_path::RelPath;
use crate::repo_format::RepoFormat;
use crate::store::records::{RootRecord, StateRecord};

const EXPORTER: &str = "0123456789abcdef0123456789abcdef";

fn entry(path: &str, content: &str) -> Entry {
    let is_package = path.starts_with("Packages/");
    Entry {
        path: RelPath::parse(path).unwrap(),
        object: ObjectId::of(content.as_bytes()),
        size: content.len() as u64,
        role: if is_package {
            Role::Package
        } else {
            Role::Index
        },
        package: is_package.then(|| Package {
            name: "p".to_owned(),
            version: "1".to_owned(),
            architecture: "noarch".to_owned(),
        }),
    }
}

fn state(built: &Built) -> StateRecord {
    let totals = built.manifest.totals();
    StateRecord {
        format: RepoFormat::Rpm,
        manifest: built.id,
        roots: vec![RootRecord {
            path: Some(RelPath::parse("repodata/repomd.xml").unwrap()),
            object: ObjectId::of(b"root"),
            date: None,
            valid_until: None,
            revision: Some(1),
            signed_by: Vec::new(),
        }],
        regenerated: false,
        evidence: None,
        keyring: Some(ObjectId::of(b"keyring")),
        packages_signed_by: BTreeMap::new(),
        left_out: BTreeMap::new(),
        missing: BTreeMap::new(),
        packages: totals.packages,
        bytes: totals.bytes,
        synced_at: 1_700_000_000,
    }
}

/// A full transfer of one state, and one of another state that builds on it.
struct Sample {
    first: Built,
    second: Built,
}

impl Sample {
    fn new() -> Self {
        let entries = |version: &str| {
            let mut entries: Vec<Entry> = (0..200)
                .map(|n| entry(&format!("Packages/p-{n}.rpm"), &format!("package {n}")))
                .collect();
            entries.push(entry("Packages/p-7-new.rpm", version));
            // The same object twice.
            entries.push(entry("repodata/a.xml", "index"));
            entries.push(entry("repodata/b.xml", "index"));
            entries
        };
        Self {
            first: manifest::build(entries("one")).unwrap(),
            second: manifest::build(entries("two")).unwrap(),
        }
    }

    fn header(built: &Built, builds_on: Option<Base>) -> Header {
        let carried = CarriedRepository {
            definition: "name: r\n".to_owned(),
            state: Some(CarriedState {
                state: state(built),
                was_signed: true,
                newest_root_date: None,
                signed_root: None,
            }),
            snapshots: BTreeMap::new(),
        };
        Header {
            made_with: "chantal 0.1.0".to_owned(),
            exporter: ExporterId::parse(EXPORTER).unwrap(),
            destination: DestinationName::parse("plant-a").unwrap(),
            number: builds_on.map_or(1, |base| base.number + 1),
            made_at: 1_700_000_100,
            builds_on,
            repositories: BTreeMap::from([(RepoId::test("r"), carried)]),
            manifests: vec![CarriedManifest {
                id: built.id,
                carried: true,
            }],
            further: vec![FurtherObject {
                object: ObjectId::of(b"keyring"),
                size: 7,
                carried: builds_on.is_none(),
            }],
            kept: vec![built.id],
        }
    }

    fn full(&self) -> Vec<u8> {
        let header = Self::header(&self.first, None);
        write(&header, &self.first, None)
    }

    fn increment(&self) -> Vec<u8> {
        let base = Base {
            number: 1,
            digest: ObjectId::of(&self.full()),
        };
        let header = Self::header(&self.second, Some(base));
        write(&header, &self.second, Some(&self.first))
    }
}

fn write(header: &Header, built: &Built, base: Option<&Built>) -> Vec<u8> {
    let mut writer = ManifestWriter::new(Vec::new(), header).unwrap();
    writer.manifest(&built.manifest.encode()).unwrap();
    let known: Vec<ObjectId> = base.map_or(Vec::new(), |base| objects(base).collect());
    let mut listed = Vec::new();
    for (id, encoded) in &built.chunks {
        if base.is_some_and(|base| base.chunks.iter().any(|(other, _)| other == id)) {
            writer.known_chunk().unwrap();
            continue;
        }
        let mut bits = Vec::new();
        for entry in manifest::decode_chunk(encoded).unwrap() {
            if !listed.contains(&entry.object) {
                listed.push(entry.object);
                bits.push(!known.contains(&entry.object));
            }
        }
        writer.chunk(encoded, &bits).unwrap();
    }
    writer.finish().unwrap()
}

fn objects(built: &Built) -> impl Iterator<Item = ObjectId> + '_ {
    let chunks = built.chunks.iter();
    chunks.flat_map(|(_, encoded)| {
        let entries = manifest::decode_chunk(encoded).unwrap().into_iter();
        entries.map(|entry| entry.object)
    })
}

/// What a transfer consists of.
#[derive(Debug, Default, PartialEq)]
struct Parts {
    manifests: Vec<ObjectId>,
    carried_chunks: usize,
    known_chunks: usize,
    objects: Vec<ListedObject>,
}

fn parts(reader: &mut ManifestReader<impl std::io::Read>) -> Result<Parts, TransferError> {
    let mut parts = Parts::default();
    while let Some(item) = reader.next()? {
        match item {
            Item::Manifest { id, .. } => parts.manifests.push(id),
            Item::Chunk {
                content: Some(chunk),
                ..
            } => {
                parts.carried_chunks += 1;
                parts.objects.extend(chunk.objects);
            }
            Item::Chunk { content: None, .. } => parts.known_chunks += 1,
            Item::Further(object) => parts.objects.push(object),
        }
    }
    Ok(parts)
}

/// Reads bytes without a medium.
fn read(packed: &[u8]) -> Result<(Header, Parts), TransferError> {
    let stream = &packed[packed.iter().position(|byte| *byte == b'\n').unwrap() + 1..];
    let mut reader = ManifestReader::new(Path::new("/m"), Cursor::new(stream))?;
    let parts = parts(&mut reader)?;
    Ok((reader.header, parts))
}

/// A medium with one transfer, of which only the manifest is there.
fn medium(directory: &Path, packed: &[u8]) -> std::path::PathBuf {
    let folder = directory.join(format!("chantal-{EXPORTER}-1"));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("manifest.zst"), packed).unwrap();
    folder
}

#[test]
fn what_is_written_is_read_again() {
    let sample = Sample::new();
    let (header, full) = read(&sample.full()).unwrap();
    assert_eq!(header, Sample::header(&sample.first, None));
    assert_eq!(full.manifests, [sample.first.id]);
    assert_eq!(full.known_chunks, 0);
    assert_eq!(full.carried_chunks, sample.first.chunks.len());
    // 200 packages, one more, the index once, the keyring.
    assert_eq!(full.objects.len(), 203);
    assert!(full.objects.iter().all(|object| object.is_carried));
    let numbers: Vec<u64> = full.objects.iter().map(|object| object.number).collect();
    assert_eq!(numbers, (1..=203).collect::<Vec<u64>>());

    let (header, next) = read(&sample.increment()).unwrap();
    assert_eq!(header.builds_on.map(|base| base.number), Some(1));
    assert!(
        next.known_chunks > 0 && next.carried_chunks == 1,
        "{next:?}"
    );
    let carried = next.objects.iter().filter(|object| object.is_carried);
    let carried: Vec<ObjectRef> = carried.map(|object| object.content).collect();
    let new = entry("Packages/p-7-new.rpm", "two");
    assert_eq!(carried, [new.content()]);
    assert_eq!(sample.full(), sample.full());
}

#[test]
fn a_damaged_stream_is_refused() {
    let packed = Sample::new().increment();
    for length in 17..packed.len() {
        assert!(read(&packed[..length]).is_err(), "{length} bytes");
    }
    for (more, why) in [
        (&b"x"[..], "the compressed stream is not valid"),
        (
            // A second frame.
            &packed[17..],
            "it has more than it declares, or is too large",
        ),
    ] {
        let longer = [&packed[..], more].concat();
        let error = read(&longer).err().map(|error| error.to_string());
        let expected = format!("/m: the manifest is damaged: {why}");
        assert_eq!(error, Some(expected));
    }
}

#[test]
fn a_header_has_one_encoding() {
    let sample = Sample::new();
    let header = Sample::header(&sample.first, None);
    let encoded = header.encode();
    assert_eq!(Header::decode(&encoded).unwrap(), header);
    let text = String::from_utf8(encoded).unwrap();
    let refused = |text: &str| Header::decode(text.as_bytes()).unwrap_err();
    assert_eq!(
        refused(&text.replacen(':', ": ", 1)),
        "unknown fields, or not in canonical form"
    );
    assert_eq!(
        refused(&text.replacen('{', "{\"more\":1,", 1)),
        "unknown fields, or not in canonical form"
    );
    assert!(refused(&text.replace("plant-a", "../x")).starts_with("column "));
    let bad = |change: &dyn Fn(&mut Header)| {
        let mut header = header.clone();
        change(&mut header);
        Header::decode(&header.encode()).unwrap_err()
    };
    assert_eq!(bad(&|header| header.number = 0), "number 0");
    assert_eq!(
        bad(&|header| header.builds_on = Some(Base {
            number: 1,
            digest: sample.first.id
        })),
        "it builds on a later transfer"
    );
    assert_eq!(
        bad(&|header| header.manifests.clear()),
        "its manifests are not those of its states"
    );
    assert_eq!(
        bad(&|header| header.manifests[0].carried = false),
        "a full transfer refers to an earlier one"
    );
    assert_eq!(
        bad(&|header| header.kept.clear()),
        "a manifest is not among those that are kept"
    );
    assert_eq!(
        bad(&|header| header.kept = vec![sample.first.id, sample.first.id]),
        "a list is not sorted"
    );
}

#[test]
fn the_first_line_says_what_can_read_it() {
    let sample = Sample::new();
    let dir = tempfile::tempdir().unwrap();
    let opened = |packed: &[u8]| {
        medium(dir.path(), packed);
        let folders = Folder::find(dir.path()).unwrap();
        let packed = PackedManifest::read(&folders[0]).unwrap();
        let opened = packed.unverified();
        let mut reader = opened.reader().map_err(|error| error.to_string())?;
        parts(&mut reader).map_err(|error| error.to_string())
    };
    let full = sample.full();
    assert_eq!(opened(&full).unwrap().objects.len(), 203);
    let with_line = |line: &str| [line.as_bytes(), &full[17..]].concat();
    let folder = std::fs::canonicalize(dir.path()).unwrap();
    let folder = folder.join(format!("chantal-{EXPORTER}-1"));
    let folder = folder.display();
    for (line, error) in [
        (
            "chantal medium 2\n",
            "the transfer has format 2, this version of chantal reads format 1",
        ),
        (
            "chantal medium 3 needs chantal 9.1\n",
            "the transfer has format 3 (needs chantal 9.1), this version of chantal reads format 1",
        ),
        ("chantal receipt 1\n", "the manifest is not one of chantal"),
        ("", "the manifest is not one of chantal"),
    ] {
        assert_eq!(
            opened(&with_line(line)).unwrap_err(),
            format!("{folder}: {error}")
        );
    }
}

#[test]
fn only_declared_files_are_allowed() {
    let sample = Sample::new();
    let dir = tempfile::tempdir().unwrap();
    let path = medium(dir.path(), &sample.full());
    let object = ObjectId::of(b"one");
    let large = ObjectId::of(b"two");
    let carried = std::collections::HashMap::from([(object, 3), (large, 5 << 30)]);
    let rejected = |allowed: &[String]| {
        let folders = Folder::find(&path).unwrap();
        folders[0].reject_undeclared(&carried, allowed)
    };
    let put = |name: &str| {
        let file = path.join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, "one").unwrap();
        file
    };
    let own = |object: ObjectId, end: &str| format!("objects/{}/{object}{end}", &object.hex()[..2]);
    for name in [own(object, ""), own(large, ".000"), own(large, ".002")] {
        put(&name);
        rejected(&[]).unwrap();
    }
    for name in [
        "autorun.inf".to_owned(),
        "objects/x".to_owned(),
        "objects/zz/x".to_owned(),
        own(object, ".000"),
        own(large, ".003"),
        own(large, ""),
        own(ObjectId::of(b"other"), ""),
        format!("objects/zz/{object}"),
    ] {
        let file = put(&name);
        let error = rejected(&[]).unwrap_err();
        assert!(
            matches!(&error, TransferError::Undeclared { name: found, .. } if *found == name),
            "{error}"
        );
        assert_eq!(error.exit(), crate::exit::Exit::Refused);
        let last = name.rsplit('/').next().unwrap().to_owned();
        rejected(&[last]).unwrap();
        std::fs::remove_file(file).unwrap();
    }
    let file = path.join(own(object, ""));
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &file).unwrap();
    assert!(rejected(&[]).is_err());
    let folders = Folder::find(&path).unwrap();
    let content = ObjectRef { object, size: 3 };
    assert!(folders[0].object(content).is_err());
}

#[test]
fn an_object_is_read_with_its_digest() {
    let sample = Sample::new();
    let dir = tempfile::tempdir().unwrap();
    let path = medium(dir.path(), &sample.full());
    let folders = Folder::find(&path).unwrap();
    let object = ObjectId::of(b"one");
    let content = ObjectRef { object, size: 3 };
    let read = || {
        let mut bytes = Vec::new();
        let read = folders[0].read_object::<()>(content, &mut |part| {
            bytes.extend_from_slice(part);
            Ok(())
        });
        read.unwrap()
            .map(|()| bytes)
            .map_err(|error| error.to_string())
    };
    assert_eq!(
        read().unwrap_err(),
        format!("object {object} is missing on the medium")
    );
    let file = path.join(format!("objects/{}/{object}", &object.hex()[..2]));
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "one").unwrap();
    assert_eq!(read().unwrap(), b"one");
    std::fs::write(&file, "eno").unwrap();
    let got = ObjectId::of(b"eno");
    assert_eq!(
        read().unwrap_err(),
        format!("object {object} is damaged on the medium: its sha256 is {got}")
    );
    std::fs::write(&file, "on").unwrap();
    assert_eq!(
        read().unwrap_err(),
        format!("object {object} is damaged on the medium: it has 2 bytes, expected 3")
    );
}

proptest! {
    #[test]
    fn a_flipped_bit_changes_nothing_unnoticed(at in 17_usize..4000, bit in 0..8) {
        let mut packed = Sample::new().increment();
        let whole = read(&packed).unwrap();
        let at = 17 + at % (packed.len() - 17);
        packed[at] ^= 1_u8 << bit;
        if let Ok(found) = read(&packed) {
            assert_eq!(found, whole);
        }
    }
}
