//! Finds the stored root of a state that clients of a place accept.

use super::error::PublishError;
use super::root_files::{RootSigner, key_files};
use crate::digest::ObjectId;
use crate::manifest::{Entry, Role};
use crate::storage::Storage;
use crate::store::records::{GeneratedRootKey, GeneratedRootRecord};

/// How far apt accepts a date in the future (`Acquire::Max-FutureTime`). Places that are published
/// within a second can need dates that are a few seconds ahead.
const AHEAD_MAX_SECS: i64 = 10;

/// What a tree shows, and what its clients know.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The manifest that it shows.
    pub shown: Option<ObjectId>,
    /// The newest root date that its clients may know.
    pub newest: Option<i64>,
    /// In seconds since the epoch.
    pub now: i64,
}

impl Place {
    /// The date of a new root.
    pub fn next_date(self) -> i64 {
        self.now.max(self.oldest_date())
    }

    /// The oldest date that clients accept from a root that they do not know.
    fn oldest_date(self) -> i64 {
        self.newest
            .map_or(i64::MIN, |newest| newest.saturating_add(1))
    }

    /// Whether clients accept a root from a medium, whose clock was another one.
    pub fn accepts_imported(self, root: &GeneratedRootRecord) -> bool {
        self.shown == Some(root.manifest) || root.date >= self.oldest_date()
    }

    /// Whether clients accept the root. A date that is ahead of the clock was set by a wrong one.
    fn accepts(self, root: &GeneratedRootRecord) -> bool {
        let is_known = self.shown == Some(root.manifest);
        let oldest = match self.newest {
            Some(newest) if is_known => newest,
            _ => self.oldest_date(),
        };
        (oldest..=self.next_date().saturating_add(AHEAD_MAX_SECS)).contains(&root.date)
    }
}

/// The stored root, if it is accepted at the place, intact, and has the current key files. `source`
/// are the entries of the manifest that it was generated for.
pub fn find_stored(
    storage: &Storage,
    key: &GeneratedRootKey,
    place: Place,
    source: &[Entry],
    signer: RootSigner<'_>,
) -> Result<Option<GeneratedRootRecord>, PublishError> {
    let stored = storage.read(|reader| reader.generated_root(key))?;
    let Some(root) = stored.filter(|root| place.accepts(root)) else {
        return Ok(None);
    };
    let mut own = Vec::new();
    storage.read(|reader| {
        reader.each_entry(root.manifest, &mut |entry| {
            if matches!(entry.role, Role::Root | Role::Key) {
                own.push(entry);
            }
            Ok(())
        })
    })?;
    // The certificate of the key may have a new expiry date, and `publish.key_name` may have changed.
    for (path, bytes, _) in key_files(storage, source, signer)? {
        let object = ObjectId::of(&bytes);
        let is_current = |entry: &Entry| entry.path == path && entry.object == object;
        if !own.iter().any(is_current) {
            return Ok(None);
        }
    }
    own.retain(|entry| !source.contains(entry));
    for entry in &own {
        if !storage.pool.is_intact(entry.object)? {
            log::warn!(
                "{}: object {} of a generated root is missing or damaged: generating a new root",
                entry.path,
                entry.object
            );
            return Ok(None);
        }
    }
    Ok(Some(root))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_get_newer_roots_only() {
        let root = |date| GeneratedRootRecord {
            manifest: ObjectId::of(b"root"),
            date,
            made_at: date,
            imported: false,
        };
        let place = |shown: &[u8], newest| Place {
            shown: Some(ObjectId::of(shown)),
            newest,
            now: 100,
        };
        let new = Place {
            shown: None,
            newest: None,
            now: 100,
        };
        assert!(new.accepts(&root(1)) && new.accepts(&root(100)) && new.accepts(&root(110)));
        assert!(!new.accepts(&root(111)), "the clock was ahead");
        assert_eq!(new.next_date(), 100);
        let other = place(b"other", Some(50));
        assert!(!other.accepts(&root(49)) && !other.accepts(&root(50)));
        assert!(other.accepts(&root(51)));
        let same = place(b"root", Some(50));
        assert!(same.accepts(&root(50)) && !same.accepts(&root(49)));
        // Clients know a date in the future.
        let ahead = place(b"other", Some(1000));
        assert_eq!(ahead.next_date(), 1001);
        assert!(ahead.accepts(&root(1001)) && !ahead.accepts(&root(1000)));
        assert!(place(b"root", Some(1000)).accepts(&root(1000)));
    }
}
