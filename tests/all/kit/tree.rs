//! Files by relative path: what an upstream serves, and what a published tree is compared with.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

/// File contents by path (`dists/stable/InRelease`). Cloning shares the contents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    files: BTreeMap<String, Arc<[u8]>>,
}

impl Tree {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn insert(&mut self, path: &str, bytes: impl Into<Vec<u8>>) {
        self.files.insert(path.to_owned(), Arc::from(bytes.into()));
    }

    pub fn remove(&mut self, path: &str) {
        assert!(self.files.remove(path).is_some(), "no {path} in the tree");
    }

    pub fn find(&self, path: &str) -> Option<Arc<[u8]>> {
        self.files.get(path).cloned()
    }

    /// The content of a file that must be there.
    pub fn bytes(&self, path: &str) -> &[u8] {
        match self.files.get(path) {
            Some(bytes) => bytes,
            None => panic!("no {path} among {:#?}", self.paths()),
        }
    }

    pub fn text(&self, path: &str) -> &str {
        std::str::from_utf8(self.bytes(path)).unwrap()
    }

    pub fn paths(&self) -> Vec<&str> {
        self.files.keys().map(String::as_str).collect()
    }

    pub fn len(&self) -> usize {
        self.files.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.files
            .iter()
            .map(|(path, bytes)| (path.as_str(), &**bytes))
    }

    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.files.retain(|path, _| keep(path));
    }

    /// Adds all files of `other`, each under `prefix`.
    pub fn merge(&mut self, prefix: &str, other: &Self) {
        for (path, bytes) in &other.files {
            self.files.insert(format!("{prefix}{path}"), bytes.clone());
        }
    }

    pub fn write_to(&self, dir: &Path) {
        for (path, bytes) in &self.files {
            let target = dir.join(path);
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            fs::write(&target, bytes).unwrap_or_else(|e| panic!("{}: {e}", target.display()));
        }
    }

    /// Every regular file below `dir`; anything else but directories is a failure.
    pub fn read(dir: &Path) -> Self {
        let mut tree = Self::new();
        walk(dir, &mut |path, at| {
            tree.insert(path, fs::read(at).unwrap());
        });
        tree
    }

    /// Fails with the differing paths, not with their bytes.
    #[track_caller]
    pub fn assert_same(&self, expected: &Self) {
        let mut differences = Vec::new();
        for path in expected.files.keys() {
            match self.files.get(path) {
                None => differences.push(format!("missing   {path}")),
                Some(bytes) if *bytes != expected.files[path] => {
                    differences.push(format!("differs   {path}"));
                }
                Some(_) => {}
            }
        }
        for path in self.files.keys() {
            if !expected.files.contains_key(path) {
                differences.push(format!("unexpected {path}"));
            }
        }
        assert!(differences.is_empty(), "{}", differences.join("\n"));
    }
}

/// What must not change when nothing is to be done: inode, link count, size, mode and mtime of
/// every file.
pub fn inodes(dir: &Path) -> BTreeMap<String, Inode> {
    let mut inodes = BTreeMap::new();
    walk(dir, &mut |path, at| {
        let meta = fs::metadata(at).unwrap();
        inodes.insert(
            path.to_owned(),
            Inode {
                number: meta.ino(),
                links: meta.nlink(),
                size: meta.size(),
                mode: meta.mode() & 0o7777,
                modified: (meta.mtime(), meta.mtime_nsec()),
            },
        );
    });
    inodes
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inode {
    pub number: u64,
    pub links: u64,
    pub size: u64,
    pub mode: u32,
    pub modified: (i64, i64),
}

fn walk(dir: &Path, each: &mut dyn FnMut(&str, &Path)) {
    fn descend(root: &Path, dir: &Path, each: &mut dyn FnMut(&str, &Path)) {
        let entries = fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
        for entry in entries {
            let entry = entry.unwrap();
            let (at, kind) = (entry.path(), entry.file_type().unwrap());
            if kind.is_dir() {
                descend(root, &at, each);
            } else {
                assert!(kind.is_file(), "{} is not a regular file", at.display());
                each(at.strip_prefix(root).unwrap().to_str().unwrap(), &at);
            }
        }
    }
    descend(dir, dir, each);
}
