//! Proofs over a repository in memory, in which one thing after the other is wrong: a state whose
//! files all have the digests that their names say, and still is not what its root says.

use std::collections::HashMap;
use std::io::{self, Read};

use super::*;
use crate::check::finding::Damage;
use crate::digest::Digest;
use crate::interrupt::Interrupted;
use crate::manifest::{Entry, Package, Role};
use crate::rel_path::RelPath;
use crate::repo_format::RepoFormat;

/// The manifest of the state, and its evidence.
const STATE: ObjectId = ObjectId([1; 32]);
const EVIDENCE: ObjectId = ObjectId([2; 32]);
const SOURCE: ObjectId = ObjectId([3; 32]);

#[derive(Default)]
struct Memory {
    manifests: HashMap<ObjectId, Vec<Entry>>,
    objects: HashMap<ObjectId, Vec<u8>>,
}

impl ProofSource for Memory {
    fn each_entry(
        &self,
        manifest: ObjectId,
        each: &mut dyn FnMut(Entry),
    ) -> Result<(), StoreError> {
        self.manifests[&manifest].iter().cloned().for_each(each);
        Ok(())
    }

    fn open(&self, object: ObjectId) -> io::Result<Box<dyn Read + '_>> {
        match self.objects.get(&object) {
            Some(bytes) => Ok(Box::new(&bytes[..])),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn objects_with(&self, digests: &[Digest]) -> Result<Vec<Option<ObjectId>>, StoreError> {
        Ok(vec![None; digests.len()])
    }

    fn interrupted(&self) -> Result<(), Interrupted> {
        Ok(())
    }
}

impl Memory {
    fn add(&mut self, manifest: ObjectId, path: &str, role: Role, bytes: &[u8]) {
        let object = ObjectId::of(bytes);
        self.objects.insert(object, bytes.to_vec());
        let size = bytes.len() as u64;
        let path = RelPath::parse(path).unwrap();
        let mut entry = Entry::new(path, ObjectRef { object, size }, role);
        if role == Role::Package {
            let name = entry.path.file_name().split('_').next().unwrap().to_owned();
            entry.package = Some(Package {
                name,
                version: "1".to_owned(),
                architecture: "amd64".to_owned(),
            });
        }
        self.manifests.entry(manifest).or_default().push(entry);
    }

    /// Packages with these contents, their list, and a Release over it.
    fn repository(&mut self, manifest: ObjectId, packages: &[(&str, &[u8])]) {
        let mut list = String::new();
        for (name, bytes) in packages {
            list += &format!(
                "Package: {name}\nVersion: 1\nArchitecture: amd64\nFilename: pool/{name}_1.deb\n\
                 Size: {}\nSHA256: {}\n\n",
                bytes.len(),
                ObjectId::of(bytes)
            );
        }
        self.add(manifest, LIST, Role::Index, list.as_bytes());
        let release = format!(
            "Suite: x\nCodename: x\nArchitectures: amd64\nComponents: main\n\
             Date: Thu, 01 Jan 2026 00:00:00 UTC\nSHA256:\n {} {} main/binary-amd64/Packages\n",
            ObjectId::of(list.as_bytes()),
            list.len()
        );
        self.add(manifest, ROOT, Role::Root, release.as_bytes());
    }

    fn packages(&mut self, manifest: ObjectId, packages: &[(&str, &[u8])]) {
        for (name, bytes) in packages {
            self.add(
                manifest,
                &format!("pool/{name}_1.deb"),
                Role::Package,
                bytes,
            );
        }
    }

    fn root(&self, manifest: ObjectId) -> RootRecord {
        let root = self.manifests[&manifest].iter();
        let root = root.clone().find(|entry| entry.path.as_str() == ROOT);
        RootRecord {
            path: Some(RelPath::parse(ROOT).unwrap()),
            object: root.unwrap().object,
            date: None,
            valid_until: None,
            revision: None,
            signed_by: Vec::new(),
        }
    }

    fn state(&self, root: RootRecord) -> StateRecord {
        let is_filtered = self.manifests.contains_key(&EVIDENCE);
        StateRecord {
            format: RepoFormat::Apt,
            manifest: STATE,
            roots: vec![root],
            regenerated: is_filtered || self.manifests.contains_key(&SOURCE),
            evidence: is_filtered.then_some(EVIDENCE),
            keyring: None,
            packages_signed_by: std::collections::BTreeMap::new(),
            left_out: std::collections::BTreeMap::new(),
            missing: std::collections::BTreeMap::new(),
            packages: 0,
            bytes: 0,
            synced_at: 0,
        }
    }

    /// The verdict, and the kind and path of each problem.
    fn prove(&self, state: &StateRecord, origin: &Origin) -> (Verdict, Vec<(ProblemKind, String)>) {
        let trust = Trust {
            keys: TrustedKeyring::OfState,
            revocations: &[],
            weak: WeakSignatures::Accepted,
            now: 0,
        };
        let proof = prove(self, state, origin, &trust).unwrap();
        let problems = proof.problems.into_iter();
        let path = |path: Option<RelPath>| path.map_or(String::new(), |path| path.to_string());
        let problems = problems.map(|problem| (problem.kind, path(problem.path)));
        (proof.verdict, problems.collect())
    }

    fn problems(&self) -> Vec<(ProblemKind, String)> {
        self.prove(&self.state(self.root(STATE)), &Origin::Sync).1
    }
}

const ROOT: &str = "dists/x/Release";
const LIST: &str = "dists/x/main/binary-amd64/Packages";
const A: (&str, &[u8]) = ("a", b"package a");
const B: (&str, &[u8]) = ("b", b"package b");

fn good() -> Memory {
    let mut memory = Memory::default();
    memory.repository(STATE, &[A, B]);
    memory.packages(STATE, &[A, B]);
    memory
}

fn filtered() -> Memory {
    let mut memory = Memory::default();
    memory.repository(EVIDENCE, &[A, B]);
    memory.repository(STATE, &[A]);
    memory.packages(STATE, &[A]);
    memory
}

fn entry<'m>(memory: &'m mut Memory, path: &str) -> &'m mut Entry {
    let entries = memory.manifests.get_mut(&STATE).unwrap();
    let mut entries = entries.iter_mut();
    entries.find(|entry| entry.path.as_str() == path).unwrap()
}

fn one(kind: ProblemKind, path: &str) -> Vec<(ProblemKind, String)> {
    vec![(kind, path.to_owned())]
}

#[test]
fn what_the_root_says_is_proved() {
    let memory = good();
    let state = memory.state(memory.root(STATE));
    let proved = memory.prove(&state, &Origin::Sync);
    assert_eq!(proved, (Verdict::Unsigned, Vec::new()));
}

#[test]
fn packages_must_be_listed_as_they_are() {
    // In the manifest, but in no index.
    let mut memory = good();
    memory.packages(STATE, &[("c", b"package c")]);
    let unlisted = |path| one(ProblemKind::Unlisted, path);
    assert_eq!(memory.problems(), unlisted("pool/c_1.deb"));
    // Another object at the path of a package.
    let mut memory = good();
    entry(&mut memory, "pool/a_1.deb").object = ObjectId::of(B.1);
    assert_eq!(memory.problems(), unlisted("pool/a_1.deb"));
    // The right object under another name.
    let mut memory = good();
    let package = entry(&mut memory, "pool/a_1.deb").package.as_mut();
    package.unwrap().version = "2".to_owned();
    assert_eq!(memory.problems(), unlisted("pool/a_1.deb"));
    // Another size.
    let mut memory = good();
    entry(&mut memory, "pool/a_1.deb").size += 1;
    assert_eq!(memory.problems(), unlisted("pool/a_1.deb"));
    // Listed, but not there.
    let mut memory = good();
    let entries = memory.manifests.get_mut(&STATE).unwrap();
    entries.retain(|entry| entry.path.as_str() != "pool/b_1.deb");
    assert_eq!(memory.problems(), one(ProblemKind::Absent, "pool/b_1.deb"));
    // Unless the state says so.
    let mut state = memory.state(memory.root(STATE));
    let why = ("pool/b_1.deb".to_owned(), "not found".to_owned());
    state.missing.extend([why]);
    assert_eq!(memory.prove(&state, &Origin::Sync).1, []);
}

#[test]
fn indexes_must_be_those_of_the_root() {
    let mut memory = good();
    let other = b"Package: z\n".to_vec();
    let list = entry(&mut memory, LIST);
    list.object = ObjectId::of(&other);
    list.size = other.len() as u64;
    memory.objects.insert(ObjectId::of(&other), other);
    let problems = memory.problems();
    assert_eq!(problems[0], (ProblemKind::Index, LIST.to_owned()));
    // An index that the root does not have.
    let mut memory = good();
    let stray = "dists/x/main/binary-arm64/Packages";
    memory.add(STATE, stray, Role::Index, b"");
    assert_eq!(memory.problems(), one(ProblemKind::Unlisted, stray));
}

#[test]
fn roots_must_be_the_recorded_ones() {
    let memory = good();
    let other = RootRecord {
        object: ObjectId::of(b"another root"),
        ..memory.root(STATE)
    };
    let problems = memory.prove(&memory.state(other), &Origin::Sync).1;
    assert_eq!(problems, one(ProblemKind::Root, ROOT));
    for stray in ["dists/x/InRelease", "dists/y/Release", "Release"] {
        let mut memory = good();
        memory.add(STATE, stray, Role::Root, b"x");
        assert_eq!(memory.problems(), one(ProblemKind::Root, stray));
    }
    // Signed according to its record, without a signature.
    let memory = good();
    let mut state = memory.state(memory.root(STATE));
    state.roots[0].signed_by = vec!["A".repeat(40)];
    let keys = Keyring::default();
    let trust = Trust {
        keys: TrustedKeyring::Given(&keys),
        revocations: &[],
        weak: WeakSignatures::Refused,
        now: 0,
    };
    let proof = prove(&memory, &state, &Origin::Sync, &trust).unwrap();
    assert_eq!(proof.problems[0].kind, ProblemKind::Signature);
    // Before version 4 there is nothing to verify it with.
    let (verdict, problems) = memory.prove(&state, &Origin::Sync);
    assert_eq!((verdict, problems), (Verdict::Unproved, Vec::new()));
}

#[test]
fn filtered_packages_must_be_in_the_evidence() {
    let memory = filtered();
    let state = memory.state(memory.root(EVIDENCE));
    let proved = memory.prove(&state, &Origin::Sync);
    assert_eq!(proved, (Verdict::Unsigned, Vec::new()));
    // The new indexes list a package that the upstream does not have.
    let mut memory = Memory::default();
    let added: (&str, &[u8]) = ("c", b"package c");
    memory.repository(EVIDENCE, &[A, B]);
    memory.repository(STATE, &[A, added]);
    memory.packages(STATE, &[A, added]);
    let state = memory.state(memory.root(EVIDENCE));
    let problems = memory.prove(&state, &Origin::Sync).1;
    assert_eq!(problems, one(ProblemKind::Unlisted, "pool/c_1.deb"));
    // They do not list one that the state has.
    let mut memory = filtered();
    memory.packages(STATE, &[B]);
    let state = memory.state(memory.root(EVIDENCE));
    let problems = memory.prove(&state, &Origin::Sync).1;
    assert_eq!(problems, one(ProblemKind::Unlisted, "pool/b_1.deb"));
    // Without evidence nothing is proved.
    let mut state = filtered().state(filtered().root(EVIDENCE));
    state.evidence = None;
    let proved = filtered().prove(&state, &Origin::Sync);
    assert_eq!(proved, (Verdict::Unproved, Vec::new()));
}

#[test]
fn merged_packages_must_be_in_a_source() {
    let mut memory = good();
    memory.packages(SOURCE, &[A]);
    let state = memory.state(memory.root(STATE));
    let merge = |missing: &[&str]| Origin::Merge {
        sources: vec![SOURCE],
        missing: missing.iter().map(ToString::to_string).collect(),
    };
    let (verdict, problems) = memory.prove(&state, &merge(&[]));
    assert_eq!(verdict, Verdict::Own);
    assert_eq!(problems, one(ProblemKind::Unlisted, "pool/b_1.deb"));
    // It may be of a source that no longer exists.
    assert_eq!(memory.prove(&state, &merge(&["r/gone"])).1, []);
    memory.packages(SOURCE, &[B]);
    assert_eq!(memory.prove(&state, &merge(&[])).1, []);
}

#[test]
fn damage_in_a_chain_is_named() {
    let mut memory = good();
    let list = entry(&mut memory, LIST).object;
    memory.objects.get_mut(&list).unwrap()[0] ^= 1;
    let state = memory.state(memory.root(STATE));
    let trust = Trust {
        keys: TrustedKeyring::OfState,
        revocations: &[],
        weak: WeakSignatures::Accepted,
        now: 0,
    };
    let proof = prove(&memory, &state, &Origin::Sync, &trust).unwrap();
    assert_eq!(proof.problems.len(), 1, "{:?}", proof.problems);
    let (content, damage) = proof.damaged[0];
    assert_eq!(content.object, list);
    assert!(matches!(damage, Damage::Digest { .. }));
    memory.objects.remove(&list);
    let proof = prove(&memory, &state, &Origin::Sync, &trust).unwrap();
    assert_eq!(proof.damaged[0].1, Damage::Missing);
}
