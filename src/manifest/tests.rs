//! Manifests: what is built is read back, what differs has another id, damage is an error.

use proptest::prelude::*;

use super::*;

fn entry(path: &str, content: &str) -> Entry {
    let role = if path.contains(".deb") {
        Role::Package
    } else {
        Role::Index
    };
    Entry {
        path: RelPath::parse(path).unwrap(),
        object: ObjectId::of(content.as_bytes()),
        size: content.len() as u64,
        role,
        package: (role == Role::Package).then(|| Package {
            name: path.trim_end_matches(".deb").to_owned(),
            version: "1:1.0-1".to_owned(),
            architecture: "amd64".to_owned(),
        }),
    }
}

fn many(count: usize) -> Vec<Entry> {
    (0..count)
        .map(|n| entry(&format!("pool/{}/p{n:05}.deb", n % 7), &n.to_string()))
        .collect()
}

fn read(built: &Built) -> Vec<Entry> {
    built
        .chunks
        .iter()
        .flat_map(|(_, bytes)| decode_chunk(bytes).unwrap())
        .collect()
}

#[test]
fn order_and_repetition_do_not_change_the_name() {
    let mut entries = many(3000);
    let built = build(entries.clone()).unwrap();
    entries.reverse();
    entries.push(entries[7].clone());
    assert_eq!(build(entries.clone()).unwrap().id, built.id);

    entries.sort_by(|a, b| a.path.cmp(&b.path));
    entries.dedup();
    assert_eq!(read(&built), entries);
    assert_eq!(
        Manifest::decode(&built.manifest.encode()).unwrap(),
        built.manifest
    );
    assert_eq!(built.manifest.totals().entries, 3000);
    assert_eq!(built.manifest.totals().packages, 3000);
}

#[test]
fn a_change_touches_one_chunk() {
    let entries = many(20_000);
    let before = build(entries.clone()).unwrap();
    let chunks = before.chunks.len();
    assert!((1000..1500).contains(&chunks), "{chunks}");
    let older = build_as(Version::One, entries.clone()).unwrap();
    let chunks = older.chunks.len();
    assert!((40..160).contains(&chunks), "{chunks}");

    let mut changed = entries;
    changed[4711].object = ObjectId::of(b"rebuilt");
    changed.push(entry("pool/3/p00003-new.deb", "new"));
    let after = build(changed).unwrap();
    let known: std::collections::HashSet<_> = before.chunks.iter().map(|(id, _)| id).collect();
    let new = after
        .chunks
        .iter()
        .filter(|(id, _)| !known.contains(id))
        .count();
    assert!(new <= 2, "{new} of {} chunks are new", after.chunks.len());
}

#[test]
fn conflicts_are_errors() {
    let error = |entries| build(entries).unwrap_err().to_string();
    assert!(
        error(vec![entry("a.deb", "1"), entry("a.deb", "2")])
            .starts_with("a.deb is listed twice with different content")
    );
    assert_eq!(
        error(vec![
            entry("a", "1"),
            entry("a-b", "2"),
            entry("a/b/c", "3")
        ]),
        "a is a file, but also a directory in a/b/c"
    );
}

#[test]
fn the_first_version_of_the_encoding_stays_readable() {
    // Frozen when version 1 was released: these names may never change.
    let entries = || vec![entry("dists/x/InRelease", "root"), entry("pool/a.deb", "a")];
    let built = build_as(Version::One, entries()).unwrap();
    assert_eq!(
        built.id.hex(),
        "be18fa6287df56e57e441b770981bae7036dad509fcf3058ceabbaf1335176d0"
    );
    assert_eq!(
        Manifest::decode(&built.manifest.encode()).unwrap(),
        built.manifest
    );
    assert_eq!(read(&built), entries());
    // So was this when version 2 was.
    assert_eq!(
        build(entries()).unwrap().id.hex(),
        "19ad51b32b83a1c91230b4e8fab638aa6ca6f143738cdb78c178300ab0b0cbba"
    );
}

#[test]
fn truncated_and_mutated_chunks_are_errors() {
    let built = build(many(3)).unwrap();
    let chunk = &built.chunks[0].1;
    for end in 0..chunk.len() {
        if let Ok(entries) = decode_chunk(&chunk[..end]) {
            assert!(entries.len() < 3);
        }
    }
    assert!(Manifest::decode(b"chantal manifest 3\n").is_err());
}

#[test]
fn a_chunk_has_one_encoding() {
    let entries = [entry("a/b", "1"), entry("a/c", "2")];
    let (_, good) = encode_chunk(Version::Two, &entries);
    assert_eq!(decode_chunk(&good).unwrap(), entries);
    // The same entries, the second path written out.
    let (_, mut other) = encode_chunk(Version::Two, &entries[..1]);
    put_varint(&mut other, 0);
    put_text(&mut other, "a/c");
    other.extend_from_slice(&good[good.len() - 34..]);
    assert_eq!(
        decode_chunk(&other).unwrap_err().to_string(),
        "invalid manifest, or an unsupported version: the shared prefix of a path is too short"
    );
}

#[test]
fn a_chunk_has_a_most() {
    let mut sorted = many(CHUNK_ENTRIES_MAX + 1);
    sorted.sort_by(|a, b| a.path.cmp(&b.path));
    let (_, full) = encode_chunk(Version::Two, &sorted[1..]);
    assert_eq!(decode_chunk(&full).unwrap(), sorted[1..]);
    let (_, more) = encode_chunk(Version::Two, &sorted);
    assert!(decode_chunk(&more).is_err());
}

proptest! {
    #[test]
    fn decoding_never_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_chunk(&bytes);
        let mut chunk = Version::Two.chunk_magic().to_vec();
        chunk.append(&mut bytes);
        let _ = decode_chunk(&chunk);
    }

    #[test]
    fn numbers_survive(value: u64) {
        let mut out = Vec::new();
        put_varint(&mut out, value);
        prop_assert_eq!(varint(&mut out.as_slice()).unwrap(), value);
    }
}
