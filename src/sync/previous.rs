//! The result of the last successful sync, and how much of it applies to the configured upstream.

use std::collections::BTreeMap;

use super::freshness::Rollback;
use crate::config;
use crate::digest::ObjectId;
use crate::format::Selected;
use crate::openpgp::Keyring;
use crate::storage::Storage;
use crate::store::StoreError;
use crate::store::records::RepositoryRecord;

/// The repository before a sync.
pub struct Previous {
    /// Digest of the URL and suite of the upstream. Records of another upstream are not used.
    pub origin: ObjectId,
    /// `None` before the first successful sync.
    pub record: Option<RepositoryRecord>,
}

impl Previous {
    /// Must be called with the lock of the repository, so that no other run changes the record.
    pub fn read(
        storage: &Storage,
        repository: &config::Repository,
        selected: &dyn Selected,
    ) -> Result<Self, StoreError> {
        let id = &repository.id;
        Ok(Self {
            origin: origin(repository, selected),
            record: storage.read(|reader| reader.repository(id))?,
        })
    }

    pub fn manifest(&self) -> Option<ObjectId> {
        self.record.as_ref().map(|record| record.state.manifest)
    }

    pub fn of_this_upstream(&self) -> Option<&RepositoryRecord> {
        let record = self.record.as_ref();
        record.filter(|record| record.origin == self.origin)
    }

    /// Whether an earlier root of this upstream was signed.
    pub fn was_signed(&self) -> bool {
        self.of_this_upstream()
            .is_some_and(|record| record.was_signed)
    }

    /// The record that a new root must not be older than.
    pub fn baseline(&self, rollback: Rollback) -> Option<&RepositoryRecord> {
        match rollback {
            Rollback::Refused => self.of_this_upstream(),
            Rollback::Allowed => None,
        }
    }
}

/// A digest of the settings that affect a state. It includes the keys themselves, not their
/// sources, because they are published with the state.
pub fn selection(
    repository: &config::Repository,
    selected: &dyn Selected,
    keyring: &Keyring,
) -> ObjectId {
    let trust = &repository.trust;
    identify(&BTreeMap::from([
        ("format", selected.selection()),
        ("keys", keyring.id().to_string()),
        ("key_name", repository.publish.key_name.to_string()),
        ("root", format!("{:?}", trust.root)),
        ("packages", format!("{:?}", trust.packages)),
    ]))
}

fn origin(repository: &config::Repository, selected: &dyn Selected) -> ObjectId {
    let url = match &repository.upstream {
        config::UpstreamUrl::Http(url) => url.as_url().to_string(),
        config::UpstreamUrl::File(path) => path.display().to_string(),
        config::UpstreamUrl::Media => "media".to_owned(),
    };
    identify(&BTreeMap::from([("url", url), ("suite", selected.suite())]))
}

fn identify(facts: &BTreeMap<&str, String>) -> ObjectId {
    ObjectId::of(&serde_json::to_vec(facts).expect("strings can be serialized"))
}
