//! Merges several states into a new one, with new indexes of the packages that the strategy selects
//! from each source.
//!
//! Nothing is downloaded and no package is copied: only the indexes are new. They contain the
//! original records of the packages; only the path of a package changes if another package of the
//! result already uses it.

mod error;
mod input;
mod packages;

use std::collections::BTreeMap;
use std::thread::ScopedJoinHandle;

use crate::config::Config;
use crate::digest::{ObjectId, ObjectRef};
use crate::format::{Format, Source};
use crate::manifest::{self, Entry, Role};
use crate::names::{RepoId, SnapshotName};
use crate::openpgp::Keyring;
use crate::publish::Publisher;
use crate::rel_path::RelPath;
use crate::storage::Storage;
use crate::store::records::{RootRecord, SnapshotRecord, StateRecord};
use crate::threads;

use super::create::{NewSnapshot, is_unfinished, publish};
use super::named::Snapshot;
use super::states::State;
use crate::state::PoolSink;
use input::Input;
use packages::{assign_paths, package_entries, select_packages};

pub use error::MergeError;
pub use packages::Strategy;

/// Fields of the new Release file that differ from those of the last source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    pub suite: Option<String>,
    pub codename: Option<String>,
    pub origin: Option<String>,
    pub label: Option<String>,
}

/// A request for a merge.
#[derive(Clone, Copy)]
pub struct MergeRequest<'a> {
    /// In order of priority: the last one has the highest.
    pub sources: &'a [State],
    pub strategy: Strategy,
    /// The repository of the new snapshot; `None` for that of the first source.
    pub repository: Option<&'a RepoId>,
    pub name: &'a SnapshotName,
    pub description: Option<&'a str>,
    pub identity: &'a Identity,
    /// `None` if the snapshot is not to be published.
    pub publisher: Option<Publisher<'a>>,
}

impl<'a> MergeRequest<'a> {
    /// The repository of the new snapshot.
    fn target(&self) -> &'a RepoId {
        self.repository.unwrap_or(&self.sources[0].repository)
    }
}

/// Creates the snapshot, and publishes it if its repository has a `snapshots_path`.
pub fn merge(
    storage: &Storage,
    config: &Config,
    request: MergeRequest<'_>,
) -> Result<NewSnapshot, MergeError> {
    check_target(config, &request)?;
    Ok(publish(request.publisher, create(storage, request)?))
}

/// Creates the snapshot in one transaction at the end.
fn create(storage: &Storage, request: MergeRequest<'_>) -> Result<Snapshot, MergeError> {
    check_request(storage, &request)?;
    let inputs = open_all(storage, request.sources)?;
    storage.interrupt.check()?;
    check_layouts(&inputs)?;
    let selected = select_packages(&inputs, request.strategy);
    let chosen = assign_paths(&inputs, &selected)?;
    let sources: Vec<Source<'_>> = inputs
        .iter()
        .zip(&chosen)
        .map(|(input, chosen)| Source {
            root: input.stored.root.bytes(),
            indexes: &input.stored.indexes,
            chosen,
        })
        .collect();
    let last = inputs.last().expect("there is at least one source");
    let mut sink = PoolSink {
        storage,
        stored: Vec::new(),
    };
    let new = last.stored.selected.regenerate(&sources, &mut sink)?;
    storage.interrupt.check()?;
    let format = last.stored.selected.format();
    let root = with_identity(format, request.identity, new.root);
    format.read_back(&new.root_path, &root)?;
    let root = (new.root_path, storage.pool.add(&storage.locks, &root)?);
    let dates = request.sources.iter();
    let mut merged = MergedState {
        objects: sink.stored,
        root: RootRecord {
            path: Some(root.0.clone()),
            object: root.1.object,
            date: dates.filter_map(|source| source.record.date()).max(),
            valid_until: None,
            revision: None,
            signed_by: Vec::new(),
        },
        left_out: BTreeMap::new(),
    };
    merged.objects.push(root.1);
    for index in new.left_out {
        let name = format!("{} of {}", index.name, inputs[index.source].name);
        merged.left_out.insert(name, index.reason);
    }
    let mut entries: Vec<Entry> = new
        .indexes
        .into_iter()
        .map(|(path, packed)| Entry::new(path, packed, Role::Index))
        .collect();
    entries.push(Entry::new(root.0, root.1, Role::Root));
    for (path, stored) in key_files(storage, &inputs)? {
        merged.objects.push(stored);
        entries.push(Entry::new(path, stored, Role::Key));
    }
    entries.extend(package_entries(&inputs, &selected, &chosen));
    entries.extend(other_files(&inputs));
    record(storage, &request, entries, merged)
}

/// The new state, except for its manifest.
struct MergedState {
    /// New objects in the pool.
    objects: Vec<ObjectRef>,
    root: RootRecord,
    /// Indexes of the sources that are not in the new metadata, and why.
    left_out: BTreeMap<String, String>,
}

/// The repository does not have to be configured if one of the sources is of it; otherwise the
/// sources must have its type.
fn check_target(config: &Config, request: &MergeRequest<'_>) -> Result<(), MergeError> {
    let stored = request.sources.iter().map(|source| &source.repository);
    let Some(repository) = config.unless_stored(request.target(), stored)? else {
        return Ok(());
    };
    let format = repository.format.kind();
    let is_other = |source: &&State| source.record.format != format;
    match request.sources.iter().find(is_other) {
        Some(other) => Err(MergeError::TypeMismatch {
            repository: repository.id.clone(),
            format,
            sources: other.record.format,
        }),
        None => Ok(()),
    }
}

fn existing(
    storage: &Storage,
    request: &MergeRequest<'_>,
) -> Result<Option<SnapshotRecord>, MergeError> {
    Ok(storage.read(|reader| reader.snapshot(request.target(), request.name))?)
}

fn already_exists(request: &MergeRequest<'_>) -> MergeError {
    MergeError::Exists {
        repository: request.target().clone(),
        name: request.name.clone(),
    }
}

fn check_request(storage: &Storage, request: &MergeRequest<'_>) -> Result<(), MergeError> {
    // A snapshot that a killed run created but did not publish is accepted if it is identical.
    let (repository, name) = (request.target(), request.name);
    if existing(storage, request)?.is_some() && !is_unfinished(request.publisher, repository, name)?
    {
        return Err(already_exists(request));
    }
    let with_format = |state: &State| (state.full_name(), state.record.format);
    let first = &request.sources[0];
    let is_other = |state: &&State| state.record.format != first.record.format;
    if let Some(other) = request.sources.iter().find(is_other) {
        return Err(MergeError::FormatMismatch {
            first: with_format(first),
            other: with_format(other),
        });
    }
    let identity = request.identity;
    let fields = [
        ("suite", &identity.suite),
        ("codename", &identity.codename),
        ("origin", &identity.origin),
        ("label", &identity.label),
    ];
    let given = fields.iter().find(|(_, value)| value.is_some());
    match given {
        Some((field, _)) if !first.record.format.rules().has_identity() => {
            Err(MergeError::UnsupportedField { field })
        }
        _ => Ok(()),
    }
}

fn check_layouts(inputs: &[Input<'_>]) -> Result<(), MergeError> {
    let is_flat = |input: &&Input<'_>| {
        let format = input.stored.selected.format();
        format.is_flat(&input.stored.indexes.all)
    };
    let flat = inputs.iter().find(is_flat);
    let other = inputs.iter().find(|input| !is_flat(input));
    match (flat, other) {
        (Some(flat), Some(other)) => Err(MergeError::LayoutMismatch {
            flat: flat.name.clone(),
            other: other.name.clone(),
        }),
        _ => Ok(()),
    }
}

/// Decompressing and parsing takes half of the time, and the sources are independent.
fn open_all<'a>(storage: &'a Storage, sources: &[State]) -> Result<Vec<Input<'a>>, MergeError> {
    std::thread::scope(|scope| {
        let open = |source| move || Input::open(storage, source);
        let threads: Vec<_> = sources
            .iter()
            .map(|source| threads::start(scope, "merge-source", open(source)))
            .collect();
        let opened = threads.into_iter().zip(sources);
        let opened = opened.map(
            |(thread, source)| match thread.map(ScopedJoinHandle::join) {
                Ok(Ok(input)) => input,
                Ok(Err(panic)) => std::panic::resume_unwind(panic),
                // Without a thread for this source.
                Err(_) => open(source)(),
            },
        );
        opened.collect()
    })
}

/// Files such as installer images. If several sources have the same path, the last source is used,
/// as for the lists of these files. Deltas are dropped.
fn other_files(inputs: &[Input<'_>]) -> Vec<Entry> {
    let mut files: BTreeMap<&RelPath, &Entry> = BTreeMap::new();
    for input in inputs
        .iter()
        .filter(|input| input.stored.selected.format().carries_files())
    {
        let entries = input.entries.values();
        files.extend(
            entries
                .filter(|entry| entry.role == Role::File)
                .map(|entry| (&entry.path, entry)),
        );
    }
    files.into_values().cloned().collect()
}

/// The key files for clients. If several sources have a file of the same name, the result contains
/// the keys of all of them.
fn key_files(
    storage: &Storage,
    inputs: &[Input<'_>],
) -> Result<Vec<(RelPath, ObjectRef)>, MergeError> {
    let mut found: BTreeMap<&RelPath, Vec<(ObjectId, &Input<'_>)>> = BTreeMap::new();
    for input in inputs {
        for entry in input
            .entries
            .values()
            .filter(|entry| entry.role == Role::Key)
        {
            // This key belongs to a signature that the result does not have.
            if input
                .stored
                .selected
                .format()
                .is_key_of_a_signature(&entry.path)
            {
                continue;
            }
            let objects = found.entry(&entry.path).or_default();
            if objects.iter().all(|(object, _)| *object != entry.object) {
                objects.push((entry.object, input));
            }
        }
    }
    let mut files = Vec::new();
    for (path, objects) in found {
        let mut keyring: Option<Keyring> = None;
        let mut last = Vec::new();
        for (object, input) in &objects {
            last = input.read(storage, path, *object)?;
            // A file that is not a keyring is copied unchanged.
            let Ok(parsed) = Keyring::parse(&last, path.as_str()) else {
                continue;
            };
            match &mut keyring {
                Some(keyring) => keyring.extend(parsed),
                None => keyring = Some(parsed),
            }
        }
        let is_binary = std::path::Path::new(path.as_str())
            .extension()
            .is_some_and(|end| end == "gpg");
        let bytes = match keyring {
            Some(keyring) if objects.len() > 1 && is_binary => keyring.to_binary(),
            Some(keyring) if objects.len() > 1 => keyring.to_armored_each().into_bytes(),
            _ => last,
        };
        files.push((path.clone(), storage.pool.add(&storage.locks, &bytes)?));
    }
    Ok(files)
}

fn with_identity(format: &dyn Format, identity: &Identity, root: Vec<u8>) -> Vec<u8> {
    let fields: Vec<(&str, &str)> = [
        ("Origin", &identity.origin),
        ("Label", &identity.label),
        ("Suite", &identity.suite),
        ("Codename", &identity.codename),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value.as_deref()?)))
    .collect();
    if fields.is_empty() {
        return root;
    }
    format.with_identity(&root, &fields)
}

/// Makes the new objects durable, and then records the snapshot.
fn record(
    storage: &Storage,
    request: &MergeRequest<'_>,
    entries: Vec<Entry>,
    merged: MergedState,
) -> Result<Snapshot, MergeError> {
    let built = manifest::build(entries)?;
    let snapshot = |record| Snapshot {
        repository: request.target().clone(),
        name: request.name.clone(),
        record,
    };
    if let Some(record) = existing(storage, request)? {
        // Snapshots are immutable.
        return if record.state.manifest == built.id {
            Ok(snapshot(record))
        } else {
            Err(already_exists(request))
        };
    }
    storage.pool.flush()?;
    let now = crate::time::now();
    let totals = built.manifest.totals();
    let records = || request.sources.iter().map(|source| &source.record);
    let record = SnapshotRecord {
        state: StateRecord {
            format: request.sources[0].record.format,
            manifest: built.id,
            roots: vec![merged.root],
            regenerated: true,
            evidence: None,
            keyring: None,
            packages_signed_by: BTreeMap::new(),
            left_out: merged.left_out,
            missing: BTreeMap::new(),
            packages: totals.packages,
            bytes: totals.bytes,
            synced_at: records().map(|record| record.synced_at).max().unwrap_or(0),
        },
        description: request.description.map(ToOwned::to_owned),
        created_at: now,
        merged_from: request.sources.iter().map(State::full_name).collect(),
    };
    let is_taken = storage.write(|writer| {
        writer.put_objects(&merged.objects, now)?;
        writer.put_manifest(&built)?;
        // Another run may have created it in the meantime.
        let is_taken = writer.has_snapshot(request.target(), request.name)?;
        if !is_taken {
            writer.put_snapshot(request.target(), request.name, &record)?;
        }
        Ok(is_taken)
    })?;
    if is_taken {
        return Err(already_exists(request));
    }
    Ok(snapshot(record))
}
