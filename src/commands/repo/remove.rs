//! `chantal repo remove`.
//!
//! Trees are removed first, then the store forgets everything in one transaction, and the keys are
//! removed last: killed anywhere, the name is still known by what is left, and the next run finishes
//! the work. A tree that cannot be removed, because its disk is not mounted or it holds a foreign
//! file, keeps its repository.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Serialize;

use crate::cli::RepoRemove;
use crate::commands::publish::{absent, describe_forgotten};
use crate::commands::{Context, conclude, requester};
use crate::config::{RepoId, Storage as Places};
use crate::digest::ObjectId;
use crate::error::Error;
use crate::output::{bytes, count};
use crate::publish::{Absent, Afterwards, Removal as TreeRemoval, unpublish_tree};
use crate::snapshot::{self, Snapshot};
use crate::storage::{self, Storage};
use crate::store::records::{StateRecord, TreeRecord};
use crate::store::{Name, Reader, Store, Transaction};
use crate::trust;

/// What `--snapshots` decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SnapshotFate {
    Kept,
    Deleted,
}

/// Everything that is known of a repository, and what is done with it.
struct Plan {
    state: Option<StateRecord>,
    syncs: usize,
    snapshots: Vec<Snapshot>,
    fate: SnapshotFate,
    /// Those that are removed.
    trees: BTreeMap<PathBuf, TreeRecord>,
    /// Where its keys are kept.
    keys: Option<PathBuf>,
    /// Objects and bytes that nothing needs any more then.
    freed: (u64, u64),
    /// Bytes that its snapshots keep.
    kept: u64,
}

#[derive(Serialize)]
struct Removal {
    repository: String,
    dry_run: bool,
    /// Whether it is forgotten now.
    removed: bool,
    /// Of its state; `None` where there is none.
    packages: Option<u64>,
    state_bytes: Option<u64>,
    syncs: usize,
    /// The file of its keys.
    keys: Option<String>,
    /// Published trees of it: those that were removed, or would be.
    trees: Vec<String>,
    /// Of these, those that were not there and were only forgotten.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    forgotten: Vec<String>,
    snapshots_deleted: Vec<String>,
    snapshots_kept: Vec<String>,
    /// What these need.
    kept_bytes: u64,
    /// What nothing else needs.
    objects: u64,
    bytes: u64,
    errors: Vec<String>,
}

pub fn remove(context: &Context<'_>, arguments: &RepoRemove) -> Result<(), Error> {
    let id = &arguments.repo_id;
    if let Some(repository) = context.config.repository(id.as_str()) {
        return Err(Error::StillConfigured {
            repository: id.to_string(),
            file: repository.file.clone(),
        });
    }
    if let Some(file) = context.config.may_be_about(id.as_str()) {
        return Err(Error::Usage(format!(
            "{id} is not removed: {} cannot be used, and may define it",
            file.display()
        )));
    }
    let places = &context.config.storage;
    if arguments.dry_run {
        let Some(store) = storage::open_to_read(places)? else {
            return Err(unknown(id, &BTreeSet::new()));
        };
        let plan = plan(&store, places, arguments)?;
        context.output.result(&plan.removal(arguments), describe)?;
        return Ok(());
    }
    let requester = requester("repo remove", &arguments.waiting)?;
    let storage = Storage::open(places, &requester)?;
    let _lock = storage.locks.repository(id.as_str())?;
    let plan = plan(&storage.store, places, arguments)?;
    let mut removal = plan.removal(arguments);
    let errors = remove_trees(&storage, &plan, absent(&arguments.absent), &mut removal)?;
    // What is still published needs its name: nothing else would keep its objects.
    if errors.is_empty() {
        storage.write(|writer| {
            writer.remove_repository(id.as_str())?;
            if plan.fate == SnapshotFate::Deleted {
                for snapshot in &plan.snapshots {
                    writer.remove_snapshot(&snapshot.repository, &snapshot.name)?;
                }
            }
            Ok(())
        })?;
        storage.locks.check()?;
        trust::forget(places, id)?;
        removal.removed = true;
    }
    context.output.result(&removal, |removal| {
        if removal.removed {
            format!("{}removed {id}", describe(removal))
        } else {
            describe_kept(removal)
        }
    })?;
    conclude(errors)
}

/// Removes what the plan names, notes in the result what was done, and returns what failed.
fn remove_trees(
    storage: &Storage,
    plan: &Plan,
    absent: Absent,
    removal: &mut Removal,
) -> Result<Vec<Error>, Error> {
    removal.trees.clear();
    let mut errors = Vec::new();
    for (path, tree) in &plan.trees {
        storage.interrupt.check()?;
        match unpublish_tree(storage, path, tree, Afterwards::Nothing, absent) {
            Ok(removed) => {
                let path = path.display().to_string();
                if removed.removal == TreeRemoval::Forgotten {
                    removal.forgotten.push(path.clone());
                }
                removal.trees.push(path);
            }
            Err(error) => {
                let error = Error::from(error);
                removal.errors.push(error.to_string());
                errors.push(error);
            }
        }
    }
    Ok(errors)
}

/// What is known of the repository. That nothing is, or that a snapshot is published that is to be
/// deleted, is an error.
fn plan(store: &Store, places: &Places, arguments: &RepoRemove) -> Result<Plan, Error> {
    let id = &arguments.repo_id;
    let keys = trust::file_of(places, id)?;
    let known = store.read(Reader::known_repositories)?;
    if keys.is_none() && !known.contains(id.as_str()) {
        return Err(unknown(id, &known));
    }
    let fate = if arguments.snapshots {
        SnapshotFate::Deleted
    } else {
        SnapshotFate::Kept
    };
    let plan = store.read(|reader| Plan::of(reader, id.as_str(), fate, keys))?;
    let showing: Vec<String> = plan
        .trees
        .iter()
        .filter(|(_, tree)| tree.snapshot.is_some())
        .map(|(path, _)| path.display().to_string())
        .collect();
    if !showing.is_empty() && !arguments.force {
        return Err(Error::Usage(format!(
            "snapshots of {id} are published at {}: publish something else there first, or take them away with --force",
            showing.join(", ")
        )));
    }
    Ok(plan)
}

fn unknown(id: &RepoId, known: &BTreeSet<String>) -> Error {
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    Error::Usage(if known.is_empty() {
        format!("nothing is known of a repository {id}, nor of any other")
    } else {
        format!(
            "nothing is known of a repository {id}, only of {}",
            known.join(", ")
        )
    })
}

impl Plan {
    fn of(
        reader: &Reader,
        repository: &str,
        fate: SnapshotFate,
        keys: Option<PathBuf>,
    ) -> Transaction<Self> {
        let goes = |owner: &str, snapshot: Option<&str>| {
            owner == repository && (snapshot.is_none() || fate == SnapshotFate::Deleted)
        };
        let mut trees = reader.trees()?;
        trees.retain(|_, tree| goes(&tree.repository, tree.snapshot.as_deref()));
        let (mut going, mut staying) = (BTreeSet::new(), BTreeSet::new());
        let mut kept: BTreeSet<ObjectId> = BTreeSet::new();
        for (name, manifest) in reader.names()? {
            let is_going = match &name {
                Name::State { repository } => goes(repository, None),
                Name::Snapshot { repository, name } => goes(repository, Some(name)),
                Name::Tree { path, .. } => trees.contains_key(path),
            };
            match (&name, is_going) {
                (_, true) => going.insert(manifest),
                (Name::Snapshot { repository: of, .. }, false) if of == repository => {
                    kept.insert(manifest);
                    staying.insert(manifest)
                }
                (_, false) => staying.insert(manifest),
            };
        }
        let freed = snapshot::usage(reader, &going, &staying)?;
        Ok(Self {
            state: reader.repository(repository)?.map(|record| record.state),
            syncs: reader.history(repository, usize::MAX)?.len(),
            snapshots: snapshot::list(reader, Some(repository))?,
            fate,
            trees,
            keys,
            freed: (freed.own_objects, freed.own_bytes),
            kept: snapshot::usage(reader, &kept, &BTreeSet::new())?.bytes,
        })
    }

    fn removal(&self, arguments: &RepoRemove) -> Removal {
        let snapshots = self.snapshots.iter().map(Snapshot::full_name).collect();
        let (snapshots_deleted, snapshots_kept) = match self.fate {
            SnapshotFate::Deleted => (snapshots, Vec::new()),
            SnapshotFate::Kept => (Vec::new(), snapshots),
        };
        Removal {
            repository: arguments.repo_id.to_string(),
            dry_run: arguments.dry_run,
            removed: false,
            packages: self.state.as_ref().map(|state| state.packages),
            state_bytes: self.state.as_ref().map(|state| state.bytes),
            syncs: self.syncs,
            keys: self.keys.as_ref().map(|path| path.display().to_string()),
            trees: self
                .trees
                .keys()
                .map(|path| path.display().to_string())
                .collect(),
            forgotten: Vec::new(),
            snapshots_deleted,
            snapshots_kept,
            kept_bytes: self.kept,
            objects: self.freed.0,
            bytes: self.freed.1,
            errors: Vec::new(),
        }
    }
}

/// Some of its trees could not be removed.
fn describe_kept(removal: &Removal) -> String {
    let mut text = format!(
        "{} is kept: {} of its published trees could not be removed",
        removal.repository,
        removal.errors.len()
    );
    for tree in &removal.trees {
        text += &format!("\n  removed {tree}");
    }
    text
}

fn describe(removal: &Removal) -> String {
    let mut what = Vec::new();
    if let (Some(packages), Some(size)) = (removal.packages, removal.state_bytes) {
        what.push(format!(
            "its state ({}, {})",
            count(packages, "package"),
            bytes(size)
        ));
    }
    if removal.syncs > 0 {
        what.push(count(removal.syncs as u64, "sync"));
    }
    what.extend(removal.keys.iter().map(|path| format!("its keys ({path})")));
    if !removal.snapshots_deleted.is_empty() {
        what.push(format!(
            "its snapshots ({})",
            removal.snapshots_deleted.join(", ")
        ));
    }
    if what.is_empty() {
        what.push("nothing".to_owned());
    }
    let verb = if removal.dry_run {
        "would remove"
    } else {
        "removed"
    };
    let mut text = format!("{}: {verb} {}\n", removal.repository, what.join(", "));
    for tree in &removal.trees {
        text += &if removal.forgotten.contains(tree) {
            format!("  {}\n", describe_forgotten(tree))
        } else {
            format!("  {verb} {tree}\n")
        };
    }
    text += &match removal.objects {
        0 => "  no disk space to free: all of it is still needed\n".to_owned(),
        objects => format!(
            "  exclusive: {}, {} (`chantal db cleanup` frees the disk space)\n",
            count(objects, "object"),
            bytes(removal.bytes)
        ),
    };
    if !removal.snapshots_kept.is_empty() {
        text += &format!(
            "  snapshots kept: {}, {} (--snapshots deletes them too)\n",
            removal.snapshots_kept.join(", "),
            bytes(removal.kept_bytes)
        );
    }
    text
}
