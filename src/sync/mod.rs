//! Sync: one repository from its root to a new state.
//!
//! ```text
//! root (conditional, pinned, verified) -> indexes -> references -> what is missing -> pool -> manifest -> store, one transaction
//! ```
//!
//! - The root is fetched once and its bytes are pinned; everything is derived from them. When something below it is missing
//!   or has another digest, the root is asked for again: if it changed, the sync starts over from the new one, if not, it is an error.
//! - An index whose content came in one of its forms is good. A form that is refused, has other bytes than declared or other content
//!   than the root declares is left out of the tree, with a warning, and is asked for again by the next sync: such a state counts as
//!   unchanged for nobody. Where no form came, the gravest finding is the error.
//! - A state becomes visible only after every object of its manifest is durable in the pool. Any failure leaves the
//!   previous state as it was, and what was downloaded is used by the next run.
//! - An upstream whose root did not change costs one request. When the trusted keys did change, the state is made anew: the root
//!   is judged by them, and they are published with it.
//!
//! Nothing here knows rpm or deb; see [`crate::format::Selected`].

mod commit;
mod failures;
mod fetch;
mod freshness;
mod plan;
mod planned;
mod root;
mod verify;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::config::{self, Config, PackageCheck};
use crate::digest::{Digest, ObjectId, ObjectRef};
use crate::exit::Exit;
use crate::format::{self, FormatError, Selected};
use crate::interrupt::{Interrupt, Interrupted};
use crate::lock::{Guard, LockError};
use crate::manifest::ManifestError;
use crate::openpgp::{Keyring, Signer};
use crate::pool::exit_of_io;
use crate::progress::Progress;
use crate::rel_path::RelPath;
use crate::storage::Storage;
use crate::store::StoreError;
use crate::store::records::{HistoryRecord, RepositoryRecord, StateRecord, SyncOutcome};
use crate::time::now;
use crate::trust::{self, KeyError, TrustedKeys};
use crate::upstream::{CredentialError, Limiter, Upstream, UpstreamError};

pub use fetch::Fetcher;
pub use freshness::{FreshnessError, Rollback};
pub use planned::Plan;
pub use root::RootError;
pub use verify::{PackageChecks, PackageSigner};

use failures::Failures;
use fetch::{Absent, Workers};
use planned::{Missing, Want, WantKind};
use root::{Pinned, RootAnswer, Unchanged};
use verify::KnownWork;

/// How often a sync starts over because the upstream changed under it, and how often a root is asked for again because
/// its signature is of another one.
const RESTARTS_MAX: u32 = 3;

/// What a sync needs of the process; the same for all repositories.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub config: &'a Config,
    pub storage: &'a Storage,
    /// Downloads of all repositories share these threads.
    pub workers: &'a rayon::ThreadPool,
    pub progress: &'a Progress,
    pub limiter: Option<&'a Arc<Limiter>>,
    pub asking: Asking,
    pub rollback: Rollback,
}

/// Whether the upstream may answer that nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asking {
    /// As `cache` is configured.
    Conditional,
    /// The root is fetched and the state derived anew, whatever is known.
    Refresh,
}

#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Root(#[from] RootError),
    #[error(transparent)]
    Freshness(#[from] FreshnessError),
    #[error(transparent)]
    Format(#[from] FormatError),
    /// `what` is an index or a package, as its format calls it.
    #[error("{what}: {source}")]
    Download { what: String, source: UpstreamError },
    /// Every time the sync had started over from a newer root, something below that was gone again.
    #[error("the upstream changed {times} times while it was mirrored: {last}")]
    KeepsChanging { times: u32, last: Box<SyncError> },
    #[error("{name}: listed in the metadata, but no variant exists on the upstream: {}", tried.join(", "))]
    IndexMissing { name: String, tried: Vec<String> },
    #[error("no package matches the filters")]
    NothingChosen,
    #[error("{path} is listed twice with different content: {first} and {second}")]
    TwoContents {
        path: RelPath,
        first: String,
        second: String,
    },
    #[error("{path}: {digest} is declared with {declared} bytes, but that content has {actual}")]
    SizeConflict {
        path: RelPath,
        digest: String,
        declared: u64,
        actual: u64,
    },
    /// Of the upstream's files: no digest need vouch for them, and clients would import what they find there.
    #[error(
        "{path} is a file of the upstream, where clients look for the trusted keys ({key_file})"
    )]
    KeyPlace { path: RelPath, key_file: RelPath },
    #[error("{what}")]
    PackageRefused { what: String },
    /// Several: of `unseen` further files nothing is known.
    #[error("{}", failures::about(errors, *unseen))]
    Files { errors: Vec<SyncError>, unseen: u64 },
    #[error("{needed} bytes are to be downloaded, but the file system of {} has only {free} free", pool.display())]
    NoSpace {
        pool: std::path::PathBuf,
        needed: u64,
        free: u64,
    },
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl SyncError {
    pub fn exit(&self) -> Exit {
        match self {
            Self::Files { errors, .. } => most_severe(errors).map_or(Exit::Refused, Self::exit),
            Self::Key(error) => error.exit(),
            Self::Root(error) => error.exit(),
            Self::Freshness(error) => error.exit(),
            Self::Format(error) => error.exit(),
            Self::Download { source, .. } => source.exit(),
            Self::KeepsChanging { .. } => Exit::Unreachable,
            Self::IndexMissing { .. }
            | Self::TwoContents { .. }
            | Self::SizeConflict { .. }
            | Self::PackageRefused { .. }
            | Self::KeyPlace { .. }
            | Self::Manifest(_) => Exit::Refused,
            Self::Lock(error) => error.exit(),
            Self::Store(error) => error.exit(),
            Self::Credentials(CredentialError::Interrupted(_)) | Self::Interrupted(_) => {
                Exit::Interrupted
            }
            Self::Credentials(_) | Self::NothingChosen => Exit::Usage,
            Self::Io(error) => exit_of_io(error),
            Self::NoSpace { .. } => Exit::Other,
        }
    }
}

/// The first of those that the exit code is about.
pub fn most_severe(errors: &[SyncError]) -> Option<&SyncError> {
    let latest_first = errors.iter().rev();
    latest_first.max_by_key(|error| error.exit().severity())
}

impl SyncError {
    /// An interruption says nothing of what was waited for.
    fn plain(self) -> Self {
        match self {
            Self::Credentials(CredentialError::Interrupted(error))
            | Self::Root(RootError::Upstream(UpstreamError::Interrupted(error)))
            | Self::Key(KeyError::Upstream(UpstreamError::Interrupted(error)))
            | Self::Download {
                source: UpstreamError::Interrupted(error),
                ..
            } => Self::Interrupted(error),
            error => error,
        }
    }

    /// What would be seen if the upstream had changed since its root was fetched.
    fn may_be_a_moving_upstream(&self) -> bool {
        match self {
            Self::Download { source, .. } => matches!(
                source,
                UpstreamError::Missing { .. }
                    | UpstreamError::Mismatch { .. }
                    | UpstreamError::Denied { status: 403, .. }
            ),
            Self::IndexMissing { .. } => true,
            Self::Files { errors, .. } => errors.iter().any(Self::may_be_a_moving_upstream),
            _ => false,
        }
    }
}

/// What a sync did.
#[derive(Clone, Debug)]
pub struct Report {
    pub changed: bool,
    /// The state now.
    pub state: StateRecord,
    pub signers: Vec<Signer>,
    /// Empty where packages are not checked, or nothing changed.
    pub package_signers: Vec<PackageSigner>,
    pub packages_added: u64,
    pub packages_removed: u64,
    pub requests: u64,
    pub bytes_downloaded: u64,
    /// For the user: what is odd but did not stop the sync.
    pub warnings: Vec<String>,
}

/// What a sync would do.
#[derive(Debug)]
pub enum Preview {
    Unchanged,
    Change(Box<Plan>),
}

/// All objects of a plan.
struct Fetched<'a> {
    objects: HashMap<Digest, ObjectRef>,
    /// `None` where packages are not checked.
    checks: Option<PackageChecks<'a>>,
}

/// One repository being synced.
pub struct Session<'a> {
    context: Context<'a>,
    repository: &'a config::Repository,
    selected: Box<dyn Selected>,
    upstream: Upstream,
    /// What the upstream's transfers listen to.
    transfers: Interrupt,
    keys: TrustedKeys<'a>,
    /// Read under the lock: nobody else changes it meanwhile.
    previous: Option<RepositoryRecord>,
    _lock: Option<Guard<'a>>,
    /// URL and suite: states of another one say nothing about this upstream.
    origin: ObjectId,
    started: i64,
}

impl<'a> Session<'a> {
    pub fn open(
        context: Context<'a>,
        repository: &'a config::Repository,
    ) -> Result<Self, SyncError> {
        let selected = format::select(&repository.format, &repository.filters)?;
        let transfers = context.storage.interrupt.part();
        let upstream = Upstream::open(context.config, repository, context.limiter, &transfers)
            .map_err(|error| SyncError::from(error).plain())?;
        let storage = context.storage;
        let lock = if storage.is_dry_run() {
            None
        } else {
            Some(storage.locks.repository(repository.id.as_str())?)
        };
        let previous = context
            .storage
            .read(|reader| reader.repository(repository.id.as_str()))?;
        let origin = origin(repository, selected.as_ref());
        Ok(Self {
            context,
            repository,
            selected,
            upstream,
            transfers,
            keys: TrustedKeys::new(context.config, repository, storage),
            previous,
            _lock: lock,
            origin,
            started: now(),
        })
    }

    fn keyring(&self) -> Result<Arc<Keyring>, KeyError> {
        self.keys.keyring(&self.upstream)
    }

    fn id(&self) -> &str {
        self.repository.id.as_str()
    }

    /// The last good state, if it was taken from the same upstream with the same selection.
    fn comparable_state(&self) -> Result<Option<&RepositoryRecord>, SyncError> {
        let Some(state) = &self.previous else {
            return Ok(None);
        };
        let keyring = trust::cached_keyring(self.context.config, self.repository)?;
        let selection = keyring.map(|keyring| self.selection(&keyring));
        let is_comparable = state.origin == self.origin && Some(state.selection) == selection;
        Ok(is_comparable.then_some(state))
    }

    /// What shapes a state beside the upstream's content. The keys count as they are, wherever they came from: they are
    /// published with it.
    fn selection(&self, keyring: &Keyring) -> ObjectId {
        let trust = &self.repository.trust;
        identify(&BTreeMap::from([
            ("format", self.selected.selection()),
            ("keys", keyring.id().to_string()),
            ("key_name", self.repository.publish.key_name.to_string()),
            ("root", format!("{:?}", trust.root)),
            ("packages", format!("{:?}", trust.packages)),
        ]))
    }

    /// Brings the repository to the upstream's state of now.
    pub fn sync(&self) -> Result<Report, SyncError> {
        let result = self.retry_while_upstream_changes(|pinned| {
            let mut plan = self.plan_from(pinned)?;
            let fetched = self.fetch_files(&mut plan, pinned)?;
            self.commit(pinned, &plan, &fetched)
        });
        match result {
            Ok(Ok(report)) => Ok(report),
            Ok(Err(unchanged)) => self.unchanged(&unchanged),
            Err(error) => Err(error),
        }
        .map_err(SyncError::plain)
        .inspect_err(|error| {
            self.warn_of_keys();
            self.remember_failure(error);
        })
    }

    fn fetcher(&self) -> Fetcher<'_> {
        Fetcher {
            storage: self.context.storage,
            upstream: &self.upstream,
            repository: self.id(),
            workers: Workers {
                pool: self.context.workers,
                transfers: &self.transfers,
            },
            progress: self.context.progress,
        }
    }

    /// Downloads what a plan lacks; returns all of its objects, and what was found out about its packages
    /// if they are checked.
    fn fetch_files(&self, plan: &mut Plan, pinned: &Pinned) -> Result<Fetched<'a>, SyncError> {
        let all = (plan.known.len() + plan.wants().len()) as u64;
        let failures = Failures::among(all);
        let fetcher = self.fetcher();
        let checks = if self.repository.trust.packages == PackageCheck::Off {
            failures.saw(plan.known.len() as u64);
            None
        } else {
            let format = self.selected.format();
            let keyring = self.keyring()?;
            let checks = PackageChecks::new(self.context.storage, format, keyring, self.started);
            let work = KnownWork {
                workers: fetcher.workers,
                progress: self.context.progress,
                label: format!("{} signatures", self.id()),
                failures: &failures,
            };
            checks.check_known(plan, &self.upstream, work)?;
            Some(checks)
        };
        let wants = plan.wants();
        let pool = &self.context.storage.pool;
        let missing = Missing::of(&wants, self.id(), &pool.held()?);
        let free = pool.free_bytes()?;
        if missing.remaining() > free {
            failures.conclude_after(Err(SyncError::NoSpace {
                pool: pool.root().to_owned(),
                needed: missing.remaining(),
                free,
            }))?;
        }
        let absent = Absent::Noted {
            failures: &failures,
            has_moved: &|failure| self.has_moved(failure, pinned),
        };
        let check = |want: &Want, stored: ObjectRef| match &checks {
            Some(checks) if want.kind == WantKind::Package => {
                let url = self.upstream.shown(&want.places[0]);
                checks.check(&format!("{}, {url}", want.what), stored.object)
            }
            _ => Ok(()),
        };
        let brought = fetcher.fetch(&wants, absent, &check);
        if let Some(checks) = &checks {
            checks.record()?;
        }
        let mut objects = failures.conclude_after(brought)?.objects;
        objects.extend(&plan.known);
        if let Some(checks) = &checks {
            checks.check_identities(plan, &objects, &self.upstream, &failures)?;
        }
        Ok(Fetched { objects, checks })
    }

    /// Whether a failure is that of an upstream whose root is another one by now: nothing below the old one is worth its way.
    fn has_moved(&self, failure: &SyncError, pinned: &Pinned) -> bool {
        failure.may_be_a_moving_upstream()
            && (self.root_again()).is_ok_and(|now| now.object != pinned.object)
    }

    /// Finds out what [`Self::sync`] would do. Indexes that are new are downloaded for it.
    pub fn preview(&self) -> Result<Preview, SyncError> {
        let plan = self
            .retry_while_upstream_changes(|pinned| self.plan_from(pinned))
            .map_err(SyncError::plain)
            .inspect_err(|_| self.warn_of_keys())?;
        Ok(match plan {
            Ok(plan) => Preview::Change(Box::new(plan)),
            Err(_) => Preview::Unchanged,
        })
    }

    /// Requests made and bytes received so far.
    pub fn traffic(&self) -> (u64, u64) {
        (self.upstream.requests(), self.upstream.bytes())
    }

    /// Runs `work` on a root, and again on a newer one as long as the upstream changes under it. The inner `Err`: it
    /// did not change since the last good state.
    fn retry_while_upstream_changes<T>(
        &self,
        work: impl Fn(&Pinned) -> Result<T, SyncError>,
    ) -> Result<Result<T, Unchanged>, SyncError> {
        let mut pinned = match self.root()? {
            RootAnswer::Pinned(pinned) => pinned,
            RootAnswer::Unchanged(unchanged) => return Ok(Err(unchanged)),
        };
        let mut restarts = 0;
        loop {
            let error = match work(&pinned) {
                Err(error) if error.may_be_a_moving_upstream() => error,
                result => return result.map(Ok),
            };
            match self.root_again() {
                Ok(now) if now.object != pinned.object => {
                    restarts += 1;
                    if restarts > RESTARTS_MAX {
                        return Err(SyncError::KeepsChanging {
                            times: restarts,
                            last: Box::new(error),
                        });
                    }
                    log::debug!(
                        "{}: {error}; the root has changed, starting over",
                        self.id()
                    );
                    *pinned = now;
                }
                Ok(_) => return Err(error),
                Err(second) => {
                    log::debug!("{}: asking for the root again: {second}", self.id());
                    return Err(error);
                }
            }
        }
    }

    /// The upstream still has the root that the state was derived from.
    fn unchanged(&self, unchanged: &Unchanged) -> Result<Report, SyncError> {
        let mut known = self
            .previous
            .clone()
            .expect("only a known state can be unchanged");
        let state = known.state.clone();
        self.judge_unchanged(&state)?;
        let (requests, bytes_downloaded) = self.traffic();
        let report = |state| Report {
            changed: false,
            state,
            signers: Vec::new(),
            package_signers: Vec::new(),
            packages_added: 0,
            packages_removed: 0,
            requests,
            bytes_downloaded,
            warnings: Vec::new(),
        };
        if requests == 0 {
            // `cache.ttl` answered: nothing was learnt.
            return Ok(report(state));
        }
        known.checked_at = self.started;
        let record = HistoryRecord {
            started: self.started,
            finished: now(),
            outcome: SyncOutcome::Unchanged,
            manifest: Some(state.manifest),
            packages: state.packages,
            requests,
            bytes_downloaded,
            signed_by: state.signed_by(),
            packages_signed_by: state.packages_signed_by.keys().cloned().collect(),
            ..HistoryRecord::default()
        };
        self.context.storage.write(|writer| {
            writer.put_repository(self.id(), &known)?;
            if let Some(validators) = &unchanged.validators {
                writer.put_validators(self.id(), self.origin, validators)?;
            }
            writer.add_history(self.id(), &record)
        })?;
        Ok(report(state))
    }

    /// A failed sync has no report to say it, and a key that could not be had may be why it failed.
    fn warn_of_keys(&self) {
        for warning in self.keys.warnings() {
            log::warn!("{}: {warning}", self.id());
        }
    }

    /// A failed sync is part of the history too; failing to write it down must not hide why.
    fn remember_failure(&self, error: &SyncError) {
        let (requests, bytes_downloaded) = self.traffic();
        let previous = self.previous.as_ref().map(|record| &record.state);
        let record = HistoryRecord {
            started: self.started,
            finished: now(),
            outcome: SyncOutcome::Failed(error.to_string()),
            manifest: previous.map(|state| state.manifest),
            packages: previous.map_or(0, |state| state.packages),
            requests,
            bytes_downloaded,
            ..HistoryRecord::default()
        };
        let written = self
            .context
            .storage
            .write(|writer| writer.add_history(self.id(), &record));
        if let Err(error) = written {
            log::warn!("{}: the failure could not be noted: {error}", self.id());
        }
    }
}

fn origin(repository: &config::Repository, selected: &dyn Selected) -> ObjectId {
    let url = match &repository.upstream {
        config::UpstreamUrl::Http(url) => url.as_url().to_string(),
        config::UpstreamUrl::File(path) => path.display().to_string(),
    };
    identify(&BTreeMap::from([("url", url), ("suite", selected.suite())]))
}

fn identify(facts: &BTreeMap<&str, String>) -> ObjectId {
    ObjectId::of(&serde_json::to_vec(facts).expect("texts make JSON"))
}
