//! What is to be published where: the request, and the key that it needs.

use std::path::Path;
use std::time::Duration;

use super::error::PublishError;
use crate::digest::ObjectId;
use crate::format::Format;
use crate::names::{RepoId, SnapshotName};
use crate::openpgp::SigningKey;
use crate::rel_path::RelPath;
use crate::signing_key::ConfiguredKey;
use crate::storage::Storage;
use crate::store::records::{GeneratedRootKey, GeneratedRootRecord, RootValidity, TreeRecord};

/// A request to publish a manifest as a tree.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    pub caller: Caller,
    pub tree: &'a Path,
    pub repository: &'a RepoId,
    /// The snapshot of the manifest; `None` for the state of the repository.
    pub snapshot: Option<&'a SnapshotName>,
    pub manifest: ObjectId,
    pub root: RootChoice<'a>,
    /// How long files of earlier generations are retained.
    pub keep: Duration,
    pub mode: PublishMode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishMode {
    /// Do nothing if the tree already shows the manifest, according to the store.
    IfChanged,
    /// Compare all files of the tree, and publish again what differs.
    Always,
    /// Publish the whole tree again, even if it is missing because its disk is lost.
    RecreateMissing,
}

/// What makes the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A command for this tree, which publishes it again if it was unpublished.
    Command,
    /// A sync, which skips unpublished trees.
    Sync,
}

/// Which root a tree gets. `date` is set if clients ignore a root that is older than the one they
/// know.
#[derive(Clone, Copy)]
pub enum RootChoice<'a> {
    /// The root of the manifest, unchanged.
    Verbatim { date: Option<i64> },
    /// The root of the manifest, unless it is older than one that clients of the tree may know:
    /// then `older` applies.
    Upstream {
        date: Option<i64>,
        generator: RootGenerator<'a>,
        older: OlderRootPolicy,
    },
    /// A generated one: the root of the manifest is neither dated nor signed yet.
    Generated(RootGenerator<'a>),
}

/// What to do with a root that is older than one that clients may know: they would silently ignore
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OlderRootPolicy {
    /// Generate a newer root, or fail if there is no key to sign it.
    Redate,
    /// Publish it unchanged: the administrator has accepted the upstream's rollback. If the tree
    /// has a generated root, generate a newer one.
    Accept,
}

/// The parameters of a generated root.
#[derive(Clone, Copy)]
pub struct RootGenerator<'a> {
    pub format: &'static dyn Format,
    /// Read when a root may have to be generated. Without a key the root is unsigned.
    pub key: &'a ConfiguredKey<'a>,
    /// The file name of the trusted keys at the top of the tree.
    pub key_name: &'a RelPath,
}

impl Request<'_> {
    /// Whether a generated root keeps the expiry date of the upstream's: snapshots are used after
    /// that date.
    pub fn root_validity(&self) -> RootValidity {
        match self.snapshot {
            Some(_) => RootValidity::Dropped,
            None => RootValidity::Kept,
        }
    }
}

/// A request with the key that it needs.
pub struct PreparedRequest<'a> {
    pub request: Request<'a>,
    /// `None` if no key is configured, or none is needed.
    pub key: Option<&'a SigningKey>,
    /// The root of the state that came on a medium.
    pub imported: Option<(GeneratedRootKey, GeneratedRootRecord)>,
}

impl<'a> PreparedRequest<'a> {
    /// `record` is that of the tree. A key that cannot be read is an error only if it may be
    /// needed.
    pub fn new(
        storage: &Storage,
        request: Request<'a>,
        record: Option<&TreeRecord>,
    ) -> Result<Self, PublishError> {
        let has_generated_root = record.is_some_and(|record| record.source.is_some());
        let key = match request.root {
            RootChoice::Generated(generator) => generator.key.read()?,
            RootChoice::Upstream {
                generator, older, ..
            } if generator.format.compares_dates()
                && (has_generated_root || older == OlderRootPolicy::Redate) =>
            {
                generator.key.read()?
            }
            RootChoice::Upstream { .. } | RootChoice::Verbatim { .. } => None,
        };
        let imported = match request.root {
            RootChoice::Generated(_) => {
                let validity = request.root_validity();
                storage.read(|reader| reader.imported_root(request.manifest, validity))?
            }
            RootChoice::Upstream { .. } | RootChoice::Verbatim { .. } => None,
        };
        Ok(Self {
            request,
            key,
            imported,
        })
    }

    /// `None` if the tree gets the root of the manifest.
    pub fn format(&self) -> Option<&'static dyn Format> {
        match self.request.root {
            RootChoice::Verbatim { .. } => None,
            RootChoice::Upstream { generator, .. } | RootChoice::Generated(generator) => {
                Some(generator.format)
            }
        }
    }

    /// Whether a tree already shows the manifest, according to its record.
    pub fn is_shown_by(&self, record: &TreeRecord) -> bool {
        let manifest = Some(self.request.manifest);
        match self.request.root {
            // Even if its root was generated.
            RootChoice::Verbatim { .. } | RootChoice::Upstream { .. } => {
                record.content() == manifest
            }
            RootChoice::Generated(_) => {
                let imported = self.imported.as_ref();
                record.source == manifest
                    && (record.root_key == self.key.map(SigningKey::fingerprint)
                        || imported.is_some_and(|(key, _)| record.root_key == key.signed_by))
            }
        }
    }
}
