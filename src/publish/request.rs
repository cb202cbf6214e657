//! What is to be shown where: the request, and the key that it needs.

use std::path::Path;
use std::time::Duration;

use super::error::PublishError;
use crate::digest::ObjectId;
use crate::format::Format;
use crate::names::{RepoId, SnapshotName};
use crate::openpgp::SigningKey;
use crate::rel_path::RelPath;
use crate::signing_key::ConfiguredKey;
use crate::store::records::TreeRecord;

/// What is to be shown where.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    pub caller: Caller,
    pub tree: &'a Path,
    pub repository: &'a RepoId,
    /// The snapshot that the manifest is of; `None` for the repository's state.
    pub snapshot: Option<&'a SnapshotName>,
    pub manifest: ObjectId,
    pub root: RootChoice<'a>,
    /// How long the files of earlier generations stay.
    pub keep: Duration,
    pub mode: PublishMode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishMode {
    /// Nothing is done when the tree shows the manifest already, as the store remembers.
    IfChanged,
    /// The tree is made anew whatever is there.
    Always,
    /// And also where it is missing: it is lost for good.
    RecreateMissing,
}

/// Who asks for a tree to be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A command that names it: it is wanted there from now on.
    Command,
    /// A sync, which skips places that were unpublished.
    Sync,
}

/// Which root a tree gets. Dates are given where clients ignore a root that is older than the one
/// they know.
#[derive(Clone, Copy)]
pub enum RootChoice<'a> {
    /// The manifest's own, byte for byte.
    Verbatim { date: Option<i64> },
    /// The manifest's own, unless it is older than one that clients of the place may know: then
    /// `older` decides.
    Upstream {
        date: Option<i64>,
        generator: RootGenerator<'a>,
        older: OlderRootPolicy,
    },
    /// One of ours: the manifest's is neither dated nor signed yet.
    Generated(RootGenerator<'a>),
}

/// What is done about a root that is older than one that clients may know, and that they would
/// silently ignore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OlderRootPolicy {
    /// It gets a root of ours that is newer, or is refused where there is no key to sign with.
    Redate,
    /// The upstream went back, and the administrator accepted that: it is shown as it is. After a
    /// root of ours it is redated too.
    Accept,
}

/// What a root of ours is made with.
#[derive(Clone, Copy)]
pub struct RootGenerator<'a> {
    pub format: &'static dyn Format,
    /// Read when a root of ours may be needed. Without a key the root is unsigned.
    pub key: &'a ConfiguredKey<'a>,
    /// What the trusted keys are called at the top of the tree.
    pub key_name: &'a RelPath,
}

/// A request, with the key that it needs at hand.
pub struct PreparedRequest<'a> {
    pub request: Request<'a>,
    /// `None`: none is configured, or none is needed.
    pub key: Option<&'a SigningKey>,
}

impl<'a> PreparedRequest<'a> {
    /// `record` is what is known of the place. A key that cannot be read is an error only where
    /// one may be needed.
    pub fn new(request: Request<'a>, record: Option<&TreeRecord>) -> Result<Self, PublishError> {
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
        Ok(Self { request, key })
    }

    /// `None` where the tree gets whatever the manifest has.
    pub fn format(&self) -> Option<&'static dyn Format> {
        match self.request.root {
            RootChoice::Verbatim { .. } => None,
            RootChoice::Upstream { generator, .. } | RootChoice::Generated(generator) => {
                Some(generator.format)
            }
        }
    }

    /// Whether a tree shows this already, as the store remembers.
    pub fn is_shown_by(&self, record: &TreeRecord) -> bool {
        let manifest = Some(self.request.manifest);
        match self.request.root {
            // Also with another root in front of it.
            RootChoice::Verbatim { .. } | RootChoice::Upstream { .. } => {
                record.content() == manifest
            }
            RootChoice::Generated(_) => {
                record.source == manifest
                    && record.root_key == self.key.map(SigningKey::fingerprint)
            }
        }
    }
}
