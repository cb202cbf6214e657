//! Imports the transfers of a medium, one after the other.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::objects::{Copied, copy_objects};
use super::order::Order;
use super::publish::{CopySpace, publish_repository};
use super::refusal::NotImported;
use super::repository::RepositoryImport;
use super::request::{
    Extent, ImportRequest, ImportedRepository, ImportedTransfer, KnownTransfer, LatestOutcome,
    TransferResult, UnsignedTransfer,
};
use super::scan::Scan;
use crate::config::Config;
use crate::digest::{ObjectId, ObjectRef};
use crate::kill_points;
use crate::media::error::{Bytes, MediaError};
use crate::names::{DestinationName, ExporterId, RepoId};
use crate::openpgp::Keyring;
use crate::publish::Outcome;
use crate::regular_file;
use crate::store::Reader;
use crate::store::records::{ImportedRecord, ObjectRecord};
use crate::time::now;
use crate::transfer::code::ConfirmationCode;
use crate::transfer::{
    CarriedRepository, Folder, Header, Item, OpenManifest, PackedManifest, TransferError,
};
use crate::trust;

/// Imports all transfers of a medium that are for this host, by exporter and number.
pub fn import(
    request: &ImportRequest<'_>,
    medium: &Path,
) -> Result<Vec<TransferResult>, MediaError> {
    let config = request.config;
    let here = config
        .media
        .destination
        .as_ref()
        .ok_or(MediaError::NoDestination)?;
    let trusted = trusted_keys(config)?;
    if trusted.fingerprints().is_empty() && request.unsigned == UnsignedTransfer::Refuse {
        return Err(MediaError::NoTrustedKeys);
    }
    let mut results = Vec::new();
    let mut others = Vec::new();
    for folder in Folder::find(medium)? {
        if request
            .number
            .is_some_and(|number| number != folder.name.number)
        {
            continue;
        }
        let import = TransferImport {
            request,
            here,
            trusted: &trusted,
            folder: &folder,
        };
        let result = TransferResult {
            folder: folder.path().to_owned(),
            result: import.run(),
        };
        match &result.result {
            Err(MediaError::OtherDestination { .. }) => others.push(result),
            Err(MediaError::Interrupted(_)) => {
                results.push(result);
                return Ok(results);
            }
            _ => results.push(result),
        }
    }
    // A medium can serve several hosts: another one's transfers matter only if none is for this one.
    if results.is_empty() {
        results = others;
    }
    if results.is_empty() {
        let path = medium.to_owned();
        return Err(TransferError::NoTransfer { path }.into());
    }
    Ok(results)
}

/// The keys of all configured files.
pub fn trusted_keys(config: &Config) -> Result<Keyring, MediaError> {
    let mut keyring = Keyring::default();
    for file in &config.media.trusted_keys {
        let bytes = regular_file::read_named(file)
            .map_err(|error| MediaError::TrustedKeys(error.to_string()))?;
        let keys = Keyring::parse(&bytes, &file.display().to_string())
            .map_err(|error| MediaError::TrustedKeys(error.to_string()))?;
        keyring.extend(keys);
    }
    Ok(keyring)
}

struct TransferImport<'a> {
    request: &'a ImportRequest<'a>,
    here: &'a DestinationName,
    trusted: &'a Keyring,
    folder: &'a Folder,
}

impl TransferImport<'_> {
    fn run(&self) -> Result<ImportedTransfer, MediaError> {
        let packed = PackedManifest::read(self.folder)?;
        let manifest = self.open(&packed)?;
        let header = manifest.reader()?.header;
        self.check_destination(&header)?;
        let imported = self.request.storage.read(Reader::imported)?;
        let exporter = &header.exporter;
        let known = imported.get(&(exporter.clone(), header.number));
        if known.is_some_and(|known| known.digest != manifest.digest()) {
            return Err(MediaError::OtherContent {
                folder: self.folder.path().to_owned(),
                number: header.number,
            });
        }
        let mut result = ImportedTransfer {
            exporter: exporter.clone(),
            number: header.number,
            destination: header.destination.clone(),
            made_at: header.made_at,
            builds_on: header.builds_on.map(|base| base.number),
            digest: manifest.digest(),
            signed_by: manifest
                .signers
                .iter()
                .map(|signer| signer.fingerprint.clone())
                .collect(),
            is_known: known.is_some() && self.request.known == KnownTransfer::Skip,
            objects: 0,
            bytes: 0,
            copied: Copied::default(),
            repositories: BTreeMap::new(),
            code: None,
            warnings: clock_warning(&header),
        };
        let last = last_transfers(&imported, exporter);
        let order = Order {
            exporter,
            number: header.number,
            last: &last,
            current: self.request.current,
        };
        if let Some(known) = known {
            self.set_code(known, &header, &mut result)?;
        }
        if result.is_known {
            if self.request.extent == Extent::Import {
                self.publish_known(&header, order, &mut result)?;
            }
            return Ok(result);
        }
        let scan = Scan::read(self.request.storage, &manifest)?;
        let sizes = scan.carried.iter().map(|object| object.content);
        let sizes: HashMap<ObjectId, u64> = sizes
            .map(|content| (content.object, content.size))
            .collect();
        self.folder
            .reject_undeclared(&sizes, self.request.allowed)?;
        result.objects = scan.carried.len() as u64;
        result.bytes = sizes
            .values()
            .fold(0, |sum: u64, size| sum.saturating_add(*size));
        Self::reject_gap(&scan, &imported)?;
        self.reject_full(&scan)?;
        let mut space = CopySpace::default();
        for repository in self.repositories(&header, order, &sizes) {
            let planned = repository.plan_with_keys()?;
            let (id, carried) = (repository.id, repository.carried);
            if planned.refused.is_none() {
                space.add(self.request, id, carried, &planned, scan.new_bytes())?;
            }
            result.repositories.insert(id.clone(), planned);
        }
        space.check()?;
        if self.request.extent == Extent::Plan {
            return Ok(result);
        }
        let request = self.request;
        result.copied = copy_objects(request.storage, request.progress, self.folder, &scan.new)?;
        request.storage.pool.flush()?;
        self.store_manifests(&manifest, &result.copied)?;
        self.import_repositories(&header, order, &manifest, &mut result)?;
        for (id, imported) in &mut result.repositories {
            if imported.refused.is_none()
                && let Some(carried) = header.repositories.get(id)
            {
                imported.published = publish_repository(request, id, carried, imported);
            }
        }
        Ok(result)
    }

    /// Publishes what an earlier import of the transfer did not: it may have been killed before
    /// that. Only repositories with something new are part of the result.
    fn publish_known(
        &self,
        header: &Header,
        order: Order<'_>,
        result: &mut ImportedTransfer,
    ) -> Result<(), MediaError> {
        let sizes = HashMap::new();
        for repository in self.repositories(header, order, &sizes) {
            let mut known = repository.plan()?;
            // Deleted snapshots stay deleted.
            known.created.clear();
            if known.refused.is_some() {
                continue;
            }
            known.latest = known.latest.filter(|latest| *latest == LatestOutcome::Same);
            let (id, carried) = (repository.id, repository.carried);
            let mut published = publish_repository(self.request, id, carried, &known);
            published.retain(|tree| match tree {
                Ok(tree) => matches!(tree.outcome, Outcome::Published(_)),
                Err(_) => true,
            });
            if !published.is_empty() {
                known.published = published;
                result.repositories.insert(id.clone(), known);
            }
        }
        Ok(())
    }

    fn repositories<'h>(
        &'h self,
        header: &'h Header,
        order: Order<'h>,
        sizes: &'h HashMap<ObjectId, u64>,
    ) -> impl Iterator<Item = RepositoryImport<'h>> {
        let repositories = header.repositories.iter();
        repositories.map(move |(id, carried)| RepositoryImport {
            request: self.request,
            trusted: self.trusted,
            header,
            order,
            id,
            carried,
            folder: self.folder,
            sizes,
        })
    }

    fn open<'p, 'f>(
        &self,
        packed: &'p PackedManifest<'f>,
    ) -> Result<OpenManifest<'p, 'f>, MediaError> {
        if self.request.unsigned == UnsignedTransfer::Accept && !packed.is_signed() {
            return Ok(packed.unverified());
        }
        Ok(packed.verified(self.trusted)?)
    }

    /// It must be for this host.
    fn check_destination(&self, header: &Header) -> Result<(), MediaError> {
        if header.destination != *self.here {
            return Err(MediaError::OtherDestination {
                folder: self.folder.path().to_owned(),
                number: header.number,
                destination: header.destination.clone(),
                here: self.here.clone(),
            });
        }
        Ok(())
    }

    fn reject_gap(
        scan: &Scan,
        imported: &BTreeMap<(ExporterId, u64), ImportedRecord>,
    ) -> Result<(), MediaError> {
        if scan.missing == 0 {
            return Ok(());
        }
        let header = &scan.header;
        let is_known = header.builds_on.is_some_and(|base| {
            let known = imported.get(&(header.exporter.clone(), base.number));
            known.is_some_and(|known| known.digest == base.digest)
        });
        Err(MediaError::Gap {
            number: header.number,
            base: header.builds_on.map(|base| base.number),
            is_known,
            missing: scan.missing,
        })
    }

    fn reject_full(&self, scan: &Scan) -> Result<(), MediaError> {
        let pool = &self.request.storage.pool;
        let free = pool.free_bytes()?;
        let needed = scan.new_bytes();
        if needed > free {
            return Err(MediaError::PoolSpace {
                pool: pool.root().to_owned(),
                needed: Bytes(needed),
                free: Bytes(free),
            });
        }
        Ok(())
    }

    /// Stores manifests, chunks and what is known of the objects. Nothing names them yet.
    fn store_manifests(
        &self,
        manifest: &OpenManifest<'_, '_>,
        copied: &Copied,
    ) -> Result<(), MediaError> {
        let mut reader = manifest.reader()?;
        let verified_at = now();
        let mut failed = None;
        self.request.storage.write(|writer| {
            let mut manifests = Vec::new();
            let mut chunks = writer.chunk_writer()?;
            let mut objects = Vec::new();
            loop {
                let item = match reader.next() {
                    Ok(Some(item)) => item,
                    Ok(None) => break,
                    Err(error) => {
                        failed = Some(error);
                        break;
                    }
                };
                match item {
                    Item::Manifest { id, encoded, .. } => manifests.push((id, encoded)),
                    Item::Chunk { content: None, .. } => {}
                    Item::Chunk {
                        chunk,
                        content: Some(content),
                    } => {
                        chunks.put(chunk.id, &content.encoded)?;
                        objects.extend(content.objects);
                    }
                    Item::Further(object) => objects.push(object),
                }
            }
            drop(chunks);
            let carried = objects.iter().filter(|object| object.is_carried);
            for object in carried.filter(|object| !copied.damaged.contains_key(&object.number)) {
                let ObjectRef { object, size } = object.content;
                writer.put_object(object, ObjectRecord { size, verified_at })?;
            }
            for (id, encoded) in &manifests {
                writer.put_encoded_manifest(*id, encoded)?;
            }
            Ok(())
        })?;
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Proves all repositories, and names those that are good in one transaction.
    fn import_repositories(
        &self,
        header: &Header,
        order: Order<'_>,
        manifest: &OpenManifest<'_, '_>,
        result: &mut ImportedTransfer,
    ) -> Result<(), MediaError> {
        let storage = self.request.storage;
        let mut proved = Vec::new();
        let sizes = HashMap::new();
        for repository in self.repositories(header, order, &sizes) {
            storage.interrupt.check()?;
            let mut imported = ImportedRepository::default();
            let id = repository.id;
            match NotImported::split(repository.prove(&mut imported))? {
                Ok(good) => proved.push((id, good)),
                Err(refusal) => imported.refused = Some(refusal),
            }
            result.repositories.insert(id.clone(), imported);
        }
        let is_complete = proved.len() == header.repositories.len();
        let record = ImportedRecord {
            digest: manifest.digest(),
            destination: header.destination.clone(),
            builds_on: header.builds_on.map(|base| base.number),
            made_at: header.made_at,
            imported_at: now(),
            signed_by: result.signed_by.clone(),
            names: state_names(header),
            kept: header.kept.clone(),
        };
        for (id, good) in &proved {
            if let Some(keyring) = &good.pin {
                trust::pin(&self.request.config.storage, id, keyring, &storage.locks)?;
            }
        }
        storage.pool.flush()?;
        kill_points::reach("name what was imported");
        storage.write(|writer| {
            for (id, good) in &proved {
                if let Some(keyring) = good.keyring {
                    writer.put_objects(&[keyring], record.imported_at)?;
                }
                for (name, snapshot) in &good.snapshots {
                    writer.put_snapshot(id, name, snapshot)?;
                }
                if let Some(latest) = &good.latest {
                    writer.put_repository(id, latest)?;
                }
                for (key, root) in &good.roots {
                    writer.put_generated_root(key, root)?;
                }
            }
            if is_complete {
                writer.put_imported(&header.exporter, header.number, &record)?;
            }
            Ok(())
        })?;
        if is_complete {
            self.set_code(&record, header, result)?;
        }
        Ok(())
    }

    /// A transfer whose base was never imported can be complete, but nothing can build on it.
    fn set_code(
        &self,
        record: &ImportedRecord,
        header: &Header,
        result: &mut ImportedTransfer,
    ) -> Result<(), MediaError> {
        if self.request.storage.read(|reader| reader.is_base(record))? {
            result.code = Some(code(header, record.digest));
        } else if let Some(base) = record.builds_on {
            result.warnings.push(format!(
                "transfer {} cannot be confirmed yet: it builds on {base}, and a transfer before it \
                 was never imported",
                header.number
            ));
        }
        Ok(())
    }
}

/// `REPOSITORY/NAME` of all states.
fn state_names(header: &Header) -> Vec<String> {
    let repositories = header.repositories.iter();
    repositories
        .flat_map(|(id, carried)| {
            carried
                .state_names()
                .map(move |name| format!("{id}/{name}"))
        })
        .collect()
}

/// The last imported transfer of each repository.
fn last_transfers(
    imported: &BTreeMap<(ExporterId, u64), ImportedRecord>,
    exporter: &ExporterId,
) -> BTreeMap<RepoId, u64> {
    let mut last = BTreeMap::new();
    let own = imported.iter().filter(|((other, _), _)| other == exporter);
    for ((_, number), record) in own {
        for name in &record.names {
            let id = name
                .split_once('/')
                .and_then(|(id, _)| RepoId::parse(id).ok());
            // In the order of their numbers.
            last.extend(id.map(|id| (id, *number)));
        }
    }
    last
}

/// What confirms the transfer outside.
fn code(header: &Header, digest: ObjectId) -> String {
    let exporter = header.exporter.as_str();
    ConfirmationCode::of(exporter, &header.destination, header.number, &digest).to_string()
}

/// A clock that is wrong is no reason to refuse a medium.
fn clock_warning(header: &Header) -> Vec<String> {
    const DAY: i64 = 24 * 3600;
    let made_at = crate::time::rfc3339(header.made_at);
    let mut warnings = Vec::new();
    if header.made_at > now().saturating_add(DAY) {
        warnings.push(format!(
            "transfer {} was made in the future ({made_at}): check the clocks",
            header.number
        ));
    }
    let states = header
        .repositories
        .values()
        .flat_map(CarriedRepository::states);
    let newest = states
        .flat_map(|state| state.date().into_iter().chain([state.synced_at]))
        .max();
    if newest.is_some_and(|newest| newest > header.made_at.saturating_add(DAY)) {
        warnings.push(format!(
            "transfer {} was made before its states ({made_at}): check the clock of the exporter",
            header.number
        ));
    }
    warnings
}
