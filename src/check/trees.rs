//! Compares published trees with their manifests, by inode. Files that are no links to the pool are
//! returned: they can only be compared by reading them.
//!
//! Trees are not locked: a publishing may replace one meanwhile. What seems wrong counts only if the
//! record of the tree did not change, otherwise the tree is compared again.

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::digest::{ObjectId, ObjectRef};
use crate::publish::{self, Layout};
use crate::storage::Storage;
use crate::store::RowDamage;
use crate::store::records::TreeRecord;

use super::error::CheckError;
use super::finding::Damage;
use super::objects::PresentObject;
use super::tree_finding::{TreeDamage, TreeFinding};

/// How often a tree is compared again because it was published meanwhile.
const ATTEMPTS_MAX: u32 = 5;

/// A file that is no link to its object.
pub struct CopiedFile {
    pub path: String,
    pub content: ObjectRef,
    pub inode: u64,
    pub place: CopyPlace,
}

/// Where a copy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyPlace {
    /// On the file system of the pool, where a link is usual: few files have too many links, and
    /// others are not what was published. It is read even by a quick check.
    BesidePool,
    OtherFileSystem,
}

/// What is in one tree.
#[derive(Default)]
pub struct TreeFiles {
    pub findings: Vec<(TreeDamage, Option<PathBuf>)>,
    pub copies: Vec<CopiedFile>,
    pub notes: Vec<String>,
}

/// The pool, to recognise links to its objects.
pub struct PoolInodes<'a> {
    storage: &'a Storage,
    objects: HashMap<ObjectId, (u64, u64)>,
    /// All files, read when first needed.
    all: OnceCell<HashSet<(u64, u64)>>,
}

impl<'a> PoolInodes<'a> {
    pub fn new(storage: &'a Storage, objects: &[PresentObject]) -> Self {
        let objects = objects.iter();
        let inode = |found: &PresentObject| (found.content.object, (found.device, found.inode));
        Self {
            storage,
            objects: objects.map(inode).collect(),
            all: OnceCell::new(),
        }
    }

    fn holds(&self, file: (u64, u64)) -> io::Result<bool> {
        if self.all.get().is_none() {
            let all = self.storage.pool.inodes()?;
            return Ok(self.all.get_or_init(|| all).contains(&file));
        }
        Ok(self.all.get().is_some_and(|all| all.contains(&file)))
    }
}

/// Compares a tree with its record.
pub fn check_tree(
    storage: &Storage,
    path: &Path,
    record: &TreeRecord,
    pool: &PoolInodes<'_>,
) -> Result<TreeFiles, CheckError> {
    let mut record = record.clone();
    for _ in 0..ATTEMPTS_MAX {
        let files = check_once(storage, path, &record, pool)?;
        if files.findings.is_empty() {
            return Ok(files);
        }
        // If its row is damaged, that is another finding.
        let now = storage.read(|reader| Ok(reader.intact_trees()?.remove(path)))?;
        match now {
            Some(now) if now != record => record = now,
            _ => return Ok(files),
        }
    }
    Ok(TreeFiles {
        notes: vec!["not compared: it was published again and again meanwhile".to_owned()],
        ..TreeFiles::default()
    })
}

fn check_once(
    storage: &Storage,
    path: &Path,
    record: &TreeRecord,
    pool: &PoolInodes<'_>,
) -> Result<TreeFiles, CheckError> {
    let mut files = TreeFiles::default();
    let Some(manifest) = record.manifest else {
        if record.staging.is_some() {
            files.notes.push(UNFINISHED.to_owned());
        }
        return Ok(files);
    };
    if publish::is_missing(path, record)? {
        files.findings.push((TreeDamage::TreeMissing, None));
        return Ok(files);
    }
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => {
            files.findings.push((TreeDamage::NotADirectory, None));
            return Ok(files);
        }
        Err(error) => {
            files.findings.push((damage_of(&error), None));
            return Ok(files);
        }
    }
    if record.staging.is_some() {
        files.notes.push(UNFINISHED.to_owned());
        return Ok(files);
    }
    let layouts = storage.read(|reader| {
        let promised = Layout::new(reader, manifest, &record.earlier)?;
        let possible = if record.unfinished.is_empty() {
            Layout::default()
        } else {
            Layout::of_record(reader, record)?
        };
        Ok((promised, possible))
    });
    let (layout, possible) = match layouts {
        Ok(layouts) => layouts,
        Err(error) => {
            let RowDamage { why, .. } = RowDamage::of(error)?;
            let note = format!("not compared: its manifest cannot be read ({why})");
            files.notes.push(note);
            return Ok(files);
        }
    };
    let mut walk = Walk {
        storage,
        tree: path,
        pool,
        layout: &layout,
        possible: &possible,
        unseen: layout
            .files()
            .map(|(path, file)| (path.as_str(), file.content))
            .collect(),
        has_leftovers: false,
        files,
    };
    walk.all()?;
    if walk.has_leftovers {
        walk.files.notes.push(LEFTOVERS.to_owned());
    }
    let mut missing: Vec<&str> = walk.unseen.into_keys().collect();
    missing.sort_unstable();
    let mut files = walk.files;
    let missing = missing.into_iter();
    files
        .findings
        .extend(missing.map(|path| (TreeDamage::Missing, Some(PathBuf::from(path)))));
    files
        .findings
        .sort_by(|(_, one), (_, other)| one.cmp(other));
    Ok(files)
}

const UNFINISHED: &str =
    "not compared: a publishing is running or was interrupted; the next one completes it";

const LEFTOVERS: &str = "files that are not needed any more are left by a publishing that is running or was \
     interrupted; the next one removes them";

/// One pass over the files of a tree.
struct Walk<'a> {
    storage: &'a Storage,
    tree: &'a Path,
    pool: &'a PoolInodes<'a>,
    layout: &'a Layout,
    /// Includes files that an interrupted publishing was adding or removing.
    possible: &'a Layout,
    /// The files that were not found yet.
    unseen: HashMap<&'a str, ObjectRef>,
    has_leftovers: bool,
    files: TreeFiles,
}

impl Walk<'_> {
    fn all(&mut self) -> Result<(), CheckError> {
        let mut directories = vec![PathBuf::new()];
        while let Some(directory) = directories.pop() {
            self.storage.interrupt.check()?;
            let mut is_empty = true;
            let entries = match std::fs::read_dir(self.tree.join(&directory)) {
                Ok(entries) => entries,
                Err(error) => {
                    self.find(damage_of(&error), &directory);
                    continue;
                }
            };
            for entry in entries {
                is_empty = false;
                let found = entry.and_then(|entry| {
                    let path = directory.join(entry.file_name());
                    Ok((path, entry.metadata()?))
                });
                match found {
                    Ok((path, metadata)) if metadata.is_dir() => {
                        // A directory in place of a file is a file that is missing, too.
                        directories.push(path);
                    }
                    Ok((path, metadata)) => self.file(&path, &metadata)?,
                    Err(error) => self.find(damage_of(&error), &directory),
                }
            }
            let is_ours = directory.to_str().is_some_and(|directory| {
                directory.is_empty() || self.layout.has_directory(directory)
            });
            if is_empty && !is_ours {
                self.find(TreeDamage::Foreign, &directory);
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, metadata: &Metadata) -> io::Result<()> {
        let here = (metadata.dev(), metadata.ino());
        let name = path.to_str();
        let Some((name, content)) = name.and_then(|name| self.unseen.remove_entry(name)) else {
            let is_left = name.is_some_and(|name| self.possible.has(name));
            if is_left && metadata.is_file() {
                self.has_leftovers = true;
                return Ok(());
            }
            let damage = if metadata.is_file() && self.pool.holds(here)? {
                TreeDamage::Unlisted
            } else {
                TreeDamage::Foreign
            };
            self.find(damage, path);
            return Ok(());
        };
        let object = self.pool.objects.get(&content.object);
        if object == Some(&here) {
            return Ok(());
        }
        if !metadata.is_file() {
            self.find(TreeDamage::NotAFile, path);
            return Ok(());
        }
        if metadata.len() != content.size {
            let got = metadata.len();
            self.find(TreeDamage::Size { got }, path);
            return Ok(());
        }
        // Other file systems may have no modes.
        let is_beside_pool = object.is_some_and(|(device, _)| *device == metadata.dev());
        if is_beside_pool && metadata.mode() & 0o222 != 0 {
            self.find(TreeDamage::Writable, path);
        }
        self.files.copies.push(CopiedFile {
            path: name.to_owned(),
            content,
            inode: metadata.ino(),
            place: if is_beside_pool {
                CopyPlace::BesidePool
            } else {
                CopyPlace::OtherFileSystem
            },
        });
        Ok(())
    }

    fn find(&mut self, damage: TreeDamage, path: &Path) {
        self.files.findings.push((damage, Some(path.to_owned())));
    }
}

fn damage_of(error: &io::Error) -> TreeDamage {
    of_copy(Damage::of_error(error))
}

/// The same damage of a file in a tree.
pub fn of_copy(damage: Damage) -> TreeDamage {
    match damage {
        Damage::Missing => TreeDamage::Missing,
        Damage::Size { got } => TreeDamage::Size { got },
        Damage::Digest { got } => TreeDamage::Digest { got },
        Damage::Unreadable { errno } => TreeDamage::Unreadable { errno },
    }
}

/// The findings of one tree, with its names.
pub fn named(
    path: &Path,
    record: &TreeRecord,
    findings: Vec<(TreeDamage, Option<PathBuf>)>,
) -> impl Iterator<Item = TreeFinding> {
    findings.into_iter().map(move |(damage, file)| TreeFinding {
        tree: path.to_owned(),
        repository: record.repository.clone(),
        snapshot: record.snapshot.clone(),
        damage,
        path: file,
    })
}
