//! Validators for conditional requests of the root, by repository and origin, and how long they are
//! used.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::digest::ObjectId;
use crate::names::RepoId;
use crate::rel_path::RelPath;
use crate::storage::Storage;
use crate::store::StoreError;
use crate::store::records::ValidatorRecord;
use crate::upstream::Validators;

/// The stored validators of one repository.
#[derive(Clone, Copy)]
pub struct KnownValidators<'a> {
    pub storage: &'a Storage,
    pub repository: &'a RepoId,
    pub origin: ObjectId,
    /// Older ones are not used.
    pub max_age: Duration,
}

impl KnownValidators<'_> {
    /// The validators for this path at this time (seconds since the epoch).
    pub fn of(&self, path: &RelPath, now: i64) -> Result<Option<Validators>, StoreError> {
        let record = self
            .storage
            .read(|reader| reader.validator(self.repository, self.origin, path.as_str()))?;
        let is_young = |record: &ValidatorRecord| {
            let age = now.saturating_sub(record.stored_at);
            u64::try_from(age).is_ok_and(|age| age < self.max_age.as_secs())
        };
        Ok(record.filter(is_young).map(|record| Validators {
            etag: record.etag,
            last_modified: record.last_modified,
        }))
    }
}

/// The records for the next sync.
pub fn records(
    root: &RelPath,
    validators: &Validators,
    now: i64,
) -> BTreeMap<String, ValidatorRecord> {
    let mut records = BTreeMap::new();
    if validators.etag.is_some() || validators.last_modified.is_some() {
        let record = ValidatorRecord {
            etag: validators.etag.clone(),
            last_modified: validators.last_modified.clone(),
            stored_at: now,
        };
        records.insert(root.as_str().to_owned(), record);
    }
    records
}
