//! `media export`: plans a transfer, writes it, and records it as sent.

use std::path::{Path, PathBuf};

use super::error::MediaError;
use super::plan::{Arrived, BaseChoice, ExportPlan, Incomplete, NewTransfer, choose_base, plan};
use super::read_back::ReadBack;
use super::selection::{ExportSelection, select};
use super::sent::{exporter, sent_to};
use super::space::{self, Space};
use super::write::{TransferWriter, UnfinishedFolder, Written};
use crate::config::{Config, default_key_name};
use crate::digest::{Algorithm, Hasher, ObjectId};
use crate::names::{DestinationName, RepoId, SnapshotName};
use crate::pool::hash;
use crate::progress::Progress;
use crate::publish::{RootSigner, root_to_carry};
use crate::signing_key::ConfiguredKey;
use crate::storage::Storage;
use crate::store::records::{Fate, RootValidity, SentRecord, StateRecord};
use crate::store::{Reader, SentTransfers};
use crate::time::now;
use crate::transfer::{self, CarriedRepository, SignedRoot, TransferName};

/// What is exported, and how.
#[derive(Clone, Copy)]
pub struct ExportRequest<'a> {
    pub storage: &'a Storage,
    pub config: &'a Config,
    pub key: &'a ConfiguredKey<'a>,
    pub progress: &'a Progress,
    pub destination: &'a DestinationName,
    pub selection: &'a ExportSelection,
    pub base: BaseChoice,
    /// A transfer that arrived incompletely: only what it lacked is carried.
    pub incomplete: Option<&'a Incomplete>,
    pub allow_unsigned: bool,
    pub read_back: ReadBack,
}

/// A finished export.
#[derive(Debug)]
pub struct ExportOutcome {
    pub plan: ExportPlan,
    pub folder: PathBuf,
    pub written: Written,
    /// The fingerprint of the key.
    pub signed_by: Option<String>,
}

/// What an export would carry. Nothing is locked or changed.
pub fn plan_export(request: &ExportRequest<'_>) -> Result<ExportPlan, MediaError> {
    let sent = sent_to(request.storage, request.destination)?;
    let number = next_number(&sent);
    plan_with(request, number, Roots::Omitted)
}

/// Exports to a directory, usually the top of a mounted disk.
pub fn export(request: &ExportRequest<'_>, medium: &Path) -> Result<ExportOutcome, MediaError> {
    let storage = request.storage;
    let key = request.key.read()?;
    if key.is_none() && !request.allow_unsigned {
        return Err(MediaError::NoKey);
    }
    if !medium.is_dir() {
        let path = medium.to_owned();
        return Err(MediaError::NotADirectory { path });
    }
    let medium = std::fs::canonicalize(medium).map_err(crate::regular_file::named(medium))?;
    reject_storage(request, &medium)?;
    let _lock = storage.locks.destination(request.destination)?;
    let (number, interrupted) = choose_number(request, &medium)?;
    let plan = plan_with(request, number, Roots::Carried)?;
    let folder = medium.join(plan.header.name().folder());
    let space = Space::of(&medium)?;
    let present = match &interrupted {
        Some(interrupted) => occupied(interrupted, &space)?,
        None => 0,
    };
    space::reject_full(&medium, space::needed(&plan, &space), present)?;
    let writer = TransferWriter {
        storage,
        progress: request.progress,
        key,
        read_back: request.read_back,
    };
    writer.check_pool(&plan)?;
    if let Some(interrupted) = interrupted.filter(|interrupted| *interrupted != folder) {
        fs_err::rename(&interrupted, &folder)?;
    }
    let unfinished = UnfinishedFolder::begin(&folder)?;
    let written = writer.write(&plan, &unfinished)?;
    let hold = i64::try_from(request.config.media.hold.as_secs()).unwrap_or(i64::MAX);
    let record = SentRecord {
        digest: written.digest,
        builds_on: plan.header.builds_on.map(|base| base.number),
        compared_with: plan.compared_with,
        listed: plan.listed,
        made_at: plan.header.made_at,
        fate: Fate::Pending,
        held_until: plan.header.made_at.saturating_add(hold),
        names: names(&plan),
        manifests: plan
            .header
            .manifests
            .iter()
            .map(|manifest| manifest.id)
            .collect(),
        kept: plan.kept.clone(),
        objects: plan.carried.len() as u64,
        bytes: plan.bytes(),
    };
    // Before the transfer is complete: an importer may confirm it at once.
    storage.write(|writer| writer.put_sent(request.destination, number, &record))?;
    unfinished.finish()?;
    Ok(ExportOutcome {
        plan,
        folder,
        written,
        signed_by: key.map(crate::openpgp::SigningKey::fingerprint),
    })
}

/// `REPOSITORY/NAME` of all states.
fn names(plan: &ExportPlan) -> Vec<String> {
    let repositories = plan.repositories.iter();
    let names = repositories.flat_map(|(id, planned)| {
        planned
            .states
            .iter()
            .map(move |name| format!("{id}/{name}"))
    });
    names.collect()
}

/// Whether filtered and merged states get the root that they are published with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Roots {
    Carried,
    /// For a plan: making one changes the storage.
    Omitted,
}

fn plan_with(
    request: &ExportRequest<'_>,
    number: u64,
    roots: Roots,
) -> Result<ExportPlan, MediaError> {
    let storage = request.storage;
    let base = choose_base(storage, request.destination, request.base)?;
    // An interrupted export of the same number is not its own base.
    let base = base.filter(|(base, _)| *base < number);
    let mut repositories = select(storage, request.config, request.selection)?;
    if roots == Roots::Carried {
        for (id, repository) in &mut repositories {
            sign_roots(request, id, repository)?;
        }
    }
    let transfer = NewTransfer {
        exporter: exporter(storage)?,
        destination: request.destination,
        number,
        made_at: now(),
    };
    let arrived = request
        .incomplete
        .map(|incomplete| Arrived::of(storage, request.destination, incomplete));
    plan(
        storage,
        transfer,
        repositories,
        base.as_ref(),
        arrived.transpose()?.as_ref(),
    )
}

/// Filtered and merged states travel with the root that they are published with.
fn sign_roots(
    request: &ExportRequest<'_>,
    id: &RepoId,
    repository: &mut CarriedRepository,
) -> Result<(), MediaError> {
    let sign = |state: &StateRecord, name: &str, validity| {
        if !state.regenerated {
            return Ok(None);
        }
        let key_name = match request.config.repository(id) {
            Some(definition) => definition.publish.key_name.clone(),
            None => default_key_name(state.format, id),
        };
        let signer = RootSigner {
            format: state.format.rules(),
            key: request.key.read()?,
            key_name: &key_name,
        };
        let (root, key) = root_to_carry(request.storage, state.manifest, validity, signer)
            .map_err(|source| MediaError::Root {
                name: format!("{id}/{name}"),
                source,
            })?;
        if key.signed_by.is_none() && !request.allow_unsigned {
            return Err(MediaError::NoKeyForRoot {
                name: format!("{id}/{name}"),
            });
        }
        Ok(Some(SignedRoot {
            manifest: root.manifest,
            key: key.signed_by,
            date: root.date,
        }))
    };
    if let Some(carried) = &mut repository.state {
        let root = sign(&carried.state, SnapshotName::LATEST, RootValidity::Kept)?;
        carried.signed_root = root;
    }
    for (name, carried) in &mut repository.snapshots {
        let state = &carried.record.state;
        carried.signed_root = sign(state, name.as_str(), RootValidity::Dropped)?;
    }
    Ok(())
}

fn next_number(sent: &SentTransfers) -> u64 {
    sent.keys().next_back().map_or(1, |last| last + 1)
}

/// The number of the transfer, and the folder of an interrupted export that it continues.
fn choose_number(
    request: &ExportRequest<'_>,
    medium: &Path,
) -> Result<(u64, Option<PathBuf>), MediaError> {
    let sent = sent_to(request.storage, request.destination)?;
    let exporter = exporter(request.storage)?;
    let mut taken = Vec::new();
    let mut interrupted = None;
    for entry in fs_err::read_dir(medium)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str().and_then(TransferName::of_folder) else {
            continue;
        };
        if name.exporter != exporter {
            continue;
        }
        let path = entry.path();
        if !path.join(transfer::INCOMPLETE).exists() {
            taken.push(name.number);
        } else if is_free(&path)? {
            interrupted = Some((name.number, path));
        } else {
            taken.push(name.number);
        }
    }
    // It was recorded, and killed before it was complete: no destination can have imported it.
    if let Some((number, path)) = &interrupted
        && let Some(record) = sent.get(number)
        && record.is_pending()
        && manifest_digest(path) == Some(record.digest)
    {
        return Ok((*number, interrupted.map(|(_, path)| path)));
    }
    let mut number = next_number(&sent);
    // Of another destination: folders have no room for its name.
    while taken.contains(&number) {
        number += 1;
    }
    Ok((number, interrupted.map(|(_, path)| path)))
}

/// Whether no export is running in the folder.
fn is_free(folder: &Path) -> Result<bool, MediaError> {
    let mark = folder.join(transfer::INCOMPLETE);
    let file = fs_err::File::open(mark)?;
    let is_held = matches!(
        file.file().try_lock(),
        Err(std::fs::TryLockError::WouldBlock)
    );
    Ok(!is_held)
}

fn manifest_digest(folder: &Path) -> Option<ObjectId> {
    let mut file = crate::regular_file::open(&folder.join(transfer::MANIFEST)).ok()?;
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hash(&mut file, &mut hasher).ok()?;
    Some(hasher.finish().0)
}

/// The bytes that an interrupted export occupies.
fn occupied(folder: &Path, space: &Space) -> Result<u64, MediaError> {
    let mut sum = 0_u64;
    let objects = folder.join(transfer::OBJECTS);
    if !objects.is_dir() {
        return Ok(0);
    }
    for directory in fs_err::read_dir(objects)? {
        let directory = directory?;
        if !directory.file_type()?.is_dir() {
            continue;
        }
        for file in fs_err::read_dir(directory.path())? {
            sum = sum.saturating_add(space.occupied(file?.metadata()?.len()));
        }
    }
    Ok(sum)
}

/// A medium in the pool or a tree would be taken for damage there.
fn reject_storage(request: &ExportRequest<'_>, medium: &Path) -> Result<(), MediaError> {
    let places = &request.config.storage;
    let trees = request.storage.read(Reader::trees)?;
    let mut inside = [&places.pool_path, &places.cache_path]
        .into_iter()
        .chain(trees.keys());
    let mut parents = medium
        .ancestors()
        .filter_map(|path| path.file_name()?.to_str());
    let is_in_transfer = parents.any(|name| TransferName::of_folder(name).is_some());
    if is_in_transfer
        || medium.starts_with(&places.base_path)
        || inside.any(|place| medium.starts_with(place))
    {
        let path = medium.to_owned();
        return Err(MediaError::InsideStorage { path });
    }
    Ok(())
}
