//! What a transfer carries: planned from the database alone, before anything is written.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::RangeInclusive;

use super::advisories::{Advisories, advisories};
use super::error::MediaError;
use super::sent::{sent_to, sent_transfer};
use crate::digest::{ObjectId, ObjectRef};
use crate::manifest::Package;
use crate::names::{DestinationName, ExporterId, RepoId};
use crate::storage::Storage;
use crate::store::records::{SentRecord, StateRecord};
use crate::store::{Reader, Transaction};
use crate::transfer::{Base, CarriedManifest, CarriedRepository, FurtherObject, Header};

/// What a transfer builds on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BaseChoice {
    /// The last transfer that the destination confirmed.
    Confirmed,
    /// The Nth last transfer, as if it had arrived: 1 is the last one.
    AssumeLast(usize),
    /// The transfer with this number, which has arrived.
    Transfer(u64),
    /// Nothing: everything is carried.
    Full,
}

/// A transfer that arrived incompletely.
#[derive(Clone, Debug)]
pub struct Incomplete {
    pub number: u64,
    /// What is missing, by number in its object list. `None` for everything.
    pub missing: Option<Vec<RangeInclusive<u64>>>,
}

/// A transfer that was planned.
#[derive(Debug)]
pub struct ExportPlan {
    pub header: Header,
    /// The manifests that later transfers can build on, by repository.
    pub kept: BTreeMap<RepoId, Vec<ObjectId>>,
    /// The carried objects in the order of the object list.
    pub carried: Vec<ObjectRef>,
    /// Those that chunks name, for the manifest.
    pub(super) carried_ids: HashSet<ObjectId>,
    /// The chunks that the destination has.
    pub(super) known_chunks: HashSet<ObjectId>,
    pub repositories: BTreeMap<RepoId, PlannedRepository>,
    /// The transfer whose content is not carried.
    pub compared_with: Option<u64>,
    /// The length of the object list.
    pub listed: u64,
    /// The number of paths in carried chunks, for an estimate.
    pub paths: u64,
    /// What a full transfer would carry, in bytes.
    pub full_bytes: u64,
}

/// What a transfer carries of one repository. An object of several repositories counts for the
/// first one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlannedRepository {
    /// `latest`, and the names of snapshots.
    pub states: Vec<String>,
    pub packages: u64,
    pub bytes: u64,
    /// For the carried packages.
    pub advisories: Advisories,
}

impl ExportPlan {
    pub fn bytes(&self) -> u64 {
        self.carried.iter().map(|object| object.size).sum()
    }

    pub fn packages(&self) -> u64 {
        self.repositories
            .values()
            .map(|planned| planned.packages)
            .sum()
    }
}

/// The transfer that a new one builds on, with its number.
pub fn choose_base(
    storage: &Storage,
    destination: &DestinationName,
    choice: BaseChoice,
) -> Result<Option<(u64, SentRecord)>, MediaError> {
    let mut sent = sent_to(storage, destination)?;
    let number = match choice {
        BaseChoice::Full => None,
        BaseChoice::Confirmed => {
            let mut newest = sent.iter().rev();
            newest
                .find(|(_, sent)| sent.is_confirmed())
                .map(|(number, _)| *number)
        }
        BaseChoice::Transfer(number) => {
            // An older receipt than what is known.
            let newest = sent.iter().rev().find(|(_, sent)| sent.is_confirmed());
            let newest = newest.map(|(number, _)| *number);
            newest
                .max(Some(number))
                .filter(|number| sent.contains_key(number))
        }
        BaseChoice::AssumeLast(nth) => {
            let newest = sent.iter().rev().filter(|(_, sent)| !sent.is_lost());
            // With fewer transfers than that, the first one.
            newest.map(|(number, _)| *number).take(nth).last()
        }
    };
    let Some(number) = number else {
        return Ok(None);
    };
    let record = sent.remove(&number).expect("it was found there");
    if !storage.read(|reader| reader.has_manifests(record.kept.values().flatten()))? {
        return Err(MediaError::BaseForgotten {
            destination: destination.clone(),
            number,
        });
    }
    Ok(Some((number, record)))
}

/// What of an incomplete transfer has arrived.
#[derive(Debug)]
pub struct Arrived {
    transfer: Base,
    objects: HashSet<ObjectId>,
}

impl Arrived {
    /// Finds out which objects an incomplete transfer had, from the states that it named.
    pub fn of(
        storage: &Storage,
        destination: &DestinationName,
        incomplete: &Incomplete,
    ) -> Result<Self, MediaError> {
        let number = incomplete.number;
        let record = sent_transfer(storage, destination, number)?;
        let base = record.compared_with.map(|base| {
            let record = sent_transfer(storage, destination, base)?;
            Ok::<_, MediaError>((base, record))
        });
        let base = base.transpose()?;
        let kept = base
            .iter()
            .flat_map(|(_, base)| base.kept.values().flatten());
        if !storage.read(|reader| reader.has_manifests(record.manifests.iter().chain(kept)))? {
            return Err(MediaError::BaseForgotten {
                destination: destination.clone(),
                number,
            });
        }
        let mut ranges = incomplete.missing.iter().flatten();
        if ranges.any(|range| *range.end() > record.listed) {
            return Err(MediaError::NotInList {
                number,
                listed: record.listed,
            });
        }
        let is_missing = |number: u64| match &incomplete.missing {
            None => true,
            Some(ranges) => ranges.iter().any(|range| range.contains(&number)),
        };
        let objects = storage.read(|reader| {
            let planner = Planner::new(reader, base.as_ref(), None)?;
            let list = planner.object_list(&record.manifests)?;
            let numbered = (1..).zip(list);
            Ok(numbered
                .filter(|(number, _)| !is_missing(*number))
                .map(|(_, object)| object)
                .collect())
        })?;
        Ok(Self {
            transfer: Base {
                number,
                digest: record.digest,
            },
            objects,
        })
    }
}

/// Identifies a new transfer.
#[derive(Clone, Debug)]
pub struct NewTransfer<'a> {
    pub exporter: ExporterId,
    pub destination: &'a DestinationName,
    pub number: u64,
    pub made_at: i64,
}

/// Plans a transfer of these states.
pub fn plan(
    storage: &Storage,
    transfer: NewTransfer<'_>,
    repositories: BTreeMap<RepoId, CarriedRepository>,
    base: Option<&(u64, SentRecord)>,
    arrived: Option<&Arrived>,
) -> Result<ExportPlan, MediaError> {
    let plan = |reader: &Reader| Planner::new(reader, base, arrived)?.plan(transfer, repositories);
    let (mut plan, packages) = storage.read(plan)?;
    for (id, packages) in &packages {
        let Some(state) = plan.header.repositories.get(id).and_then(newest_state) else {
            continue;
        };
        match advisories(storage, state, packages) {
            Ok(found) => {
                let planned = plan.repositories.entry(id.clone()).or_default();
                planned.advisories = found;
            }
            // They only inform.
            Err(error) => log::warn!("{id}: its advisories cannot be read: {error}"),
        }
    }
    Ok(plan)
}

/// The state whose advisories are shown.
fn newest_state(carried: &CarriedRepository) -> Option<&StateRecord> {
    let current = carried.state.as_ref().map(|carried| &carried.state);
    current.or_else(|| carried.states().max_by_key(|state| state.synced_at))
}

/// The carried packages of each repository.
type CarriedPackages = BTreeMap<RepoId, HashSet<Package>>;

struct Planner<'r> {
    reader: &'r Reader,
    base: Option<Base>,
    compared_with: Option<u64>,
    base_kept: BTreeMap<RepoId, Vec<ObjectId>>,
    base_manifests: BTreeSet<ObjectId>,
    base_chunks: HashSet<ObjectId>,
    base_objects: HashSet<ObjectId>,
}

impl<'r> Planner<'r> {
    fn new(
        reader: &'r Reader,
        base: Option<&(u64, SentRecord)>,
        arrived: Option<&Arrived>,
    ) -> Transaction<Self> {
        let mut planner = Self {
            reader,
            base: match (arrived, base) {
                // What it lacks is carried now; what it builds on is there, too.
                (Some(arrived), _) => Some(arrived.transfer),
                (None, base) => base.map(|(number, record)| Base {
                    number: *number,
                    digest: record.digest,
                }),
            },
            compared_with: base.map(|(number, _)| *number),
            base_kept: base
                .map(|(_, record)| record.kept.clone())
                .unwrap_or_default(),
            base_manifests: BTreeSet::new(),
            base_chunks: HashSet::new(),
            base_objects: HashSet::new(),
        };
        planner.base_manifests = planner.base_kept.values().flatten().copied().collect();
        for manifest in &planner.base_manifests {
            for chunk in reader.manifest(*manifest)?.chunks {
                if planner.base_chunks.insert(chunk.id) {
                    let entries = reader.chunk(chunk.id)?.into_iter();
                    planner
                        .base_objects
                        .extend(entries.map(|entry| entry.object));
                }
            }
        }
        let arrived = arrived.iter().flat_map(|arrived| &arrived.objects);
        planner.base_objects.extend(arrived);
        Ok(planner)
    }

    /// The object list of a transfer of these manifests, without the objects of its header.
    fn object_list(&self, manifests: &[ObjectId]) -> Transaction<Vec<ObjectId>> {
        let (mut chunks, mut listed, mut list) = (HashSet::new(), HashSet::new(), Vec::new());
        for manifest in manifests
            .iter()
            .filter(|id| !self.base_manifests.contains(id))
        {
            for chunk in self.reader.manifest(*manifest)?.chunks {
                if self.base_chunks.contains(&chunk.id) || !chunks.insert(chunk.id) {
                    continue;
                }
                for entry in self.reader.chunk(chunk.id)? {
                    if listed.insert(entry.object) {
                        list.push(entry.object);
                    }
                }
            }
        }
        Ok(list)
    }

    fn plan(
        self,
        transfer: NewTransfer<'_>,
        repositories: BTreeMap<RepoId, CarriedRepository>,
    ) -> Transaction<(ExportPlan, CarriedPackages)> {
        let mut kept = self.base_kept.clone();
        let mut manifests = Vec::new();
        let mut seen = HashSet::new();
        let mut keyrings = BTreeSet::new();
        for (id, repository) in &repositories {
            let own: BTreeSet<ObjectId> = repository.manifests().collect();
            kept.insert(id.clone(), own.into_iter().collect());
            for manifest in repository.manifests() {
                if seen.insert(manifest) {
                    manifests.push(CarriedManifest {
                        id: manifest,
                        carried: !self.base_manifests.contains(&manifest),
                    });
                }
            }
            keyrings.extend(repository.states().filter_map(|state| state.keyring));
        }
        let all: BTreeSet<ObjectId> = kept.values().flatten().copied().collect();
        let mut plan = ExportPlan {
            header: Header {
                made_with: concat!("chantal ", env!("CARGO_PKG_VERSION")).to_owned(),
                exporter: transfer.exporter,
                destination: transfer.destination.clone(),
                number: transfer.number,
                made_at: transfer.made_at,
                builds_on: self.base,
                repositories,
                manifests,
                further: Vec::new(),
                kept: all.into_iter().collect(),
            },
            kept,
            carried: Vec::new(),
            carried_ids: HashSet::new(),
            known_chunks: HashSet::new(),
            repositories: BTreeMap::new(),
            compared_with: self.compared_with,
            listed: 0,
            paths: 0,
            full_bytes: 0,
        };
        let (listed, packages) = self.list_objects(&mut plan)?;
        for keyring in keyrings {
            if listed.contains(&keyring) {
                continue;
            }
            let Some(record) = self.reader.object(keyring)? else {
                continue;
            };
            // It is small, and whether the base has it is not recorded.
            plan.header.further.push(FurtherObject {
                object: keyring,
                size: record.size,
                carried: true,
            });
            plan.carried.push(ObjectRef {
                object: keyring,
                size: record.size,
            });
            plan.full_bytes = plan.full_bytes.saturating_add(record.size);
        }
        plan.listed = (listed.len() + plan.header.further.len()) as u64;
        Ok((plan, packages))
    }

    /// Goes through the chunks in the order of the stream. Returns the listed objects, and the
    /// carried packages.
    fn list_objects(
        &self,
        plan: &mut ExportPlan,
    ) -> Transaction<(HashSet<ObjectId>, CarriedPackages)> {
        let mut packages = CarriedPackages::new();
        let mut chunks = HashSet::new();
        let mut listed = HashSet::new();
        let mut counted = HashSet::new();
        let owners = owners(&plan.header.repositories);
        for manifest in &plan.header.manifests {
            let owner = owners.get(&manifest.id);
            let mut planned = PlannedRepository::default();
            for chunk in self.reader.manifest(manifest.id)?.chunks {
                if !chunks.insert(chunk.id) {
                    continue;
                }
                let entries = self.reader.chunk(chunk.id)?;
                for entry in &entries {
                    if counted.insert(entry.object) {
                        plan.full_bytes = plan.full_bytes.saturating_add(entry.size);
                    }
                }
                if !manifest.carried || self.base_chunks.contains(&chunk.id) {
                    plan.known_chunks.insert(chunk.id);
                    continue;
                }
                plan.paths += entries.len() as u64;
                for entry in entries {
                    if !listed.insert(entry.object) || self.base_objects.contains(&entry.object) {
                        continue;
                    }
                    plan.carried_ids.insert(entry.object);
                    plan.carried.push(entry.content());
                    planned.packages += u64::from(entry.package.is_some());
                    planned.bytes = planned.bytes.saturating_add(entry.size);
                    if let (Some(owner), Some(package)) = (owner, entry.package) {
                        packages.entry(owner.clone()).or_default().insert(package);
                    }
                }
            }
            if let Some(id) = owner {
                let sum = plan.repositories.entry((*id).clone()).or_default();
                sum.packages += planned.packages;
                sum.bytes = sum.bytes.saturating_add(planned.bytes);
            }
        }
        for (id, repository) in &plan.header.repositories {
            let planned = plan.repositories.entry(id.clone()).or_default();
            planned.states = repository.state_names().map(str::to_owned).collect();
        }
        Ok((listed, packages))
    }
}

/// The first repository that needs each manifest.
fn owners(repositories: &BTreeMap<RepoId, CarriedRepository>) -> BTreeMap<ObjectId, RepoId> {
    let mut owners = BTreeMap::new();
    for (id, repository) in repositories {
        for manifest in repository.manifests() {
            owners.entry(manifest).or_insert_with(|| id.clone());
        }
    }
    owners
}
