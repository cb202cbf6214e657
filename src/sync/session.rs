//! The sync of one repository: runs the stages in order, and passes each its inputs.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::build::StateBuilder;
use super::commit::{NewState, Report, SyncRecorder};
use super::error::SyncError;
use super::fetch::{Fetcher, Workers};
use super::freshness::{self, FreshnessError, Rollback};
use super::indexes::ObjectsInPool;
use super::packages;
use super::plan::Planner;
use super::planned::SyncPlan;
use super::previous::{Previous, selection};
use super::root::{PinnedRoot, RootFetcher};
use super::root_verifier::RootVerifier;
use super::validators::{self, KnownValidators};
use super::verify::PackageChecks;
use crate::config::{self, Config, PackageCheck};
use crate::digest::ObjectId;
use crate::format::{self, FormatError, Root, Selected};
use crate::interrupt::Interrupt;
use crate::lock::Guard;
use crate::names::RepoId;
use crate::openpgp::Keyring;
use crate::progress::Progress;
use crate::storage::Storage;
use crate::store::records::{RepositoryRecord, ValidatorRecord};
use crate::time::now;
use crate::trust::{self, KeyError, TrustedKeys};
use crate::upstream::{Limiter, Upstream};

/// How often a sync starts again because the upstream changed during it.
const RESTARTS_MAX: u32 = 3;

/// What a sync needs from the process; shared by all repositories.
#[derive(Clone, Copy)]
pub struct SyncContext<'a> {
    pub config: &'a Config,
    pub storage: &'a Storage,
    /// Download threads, shared by all repositories.
    pub workers: &'a rayon::ThreadPool,
    pub progress: &'a Progress,
    pub limiter: Option<&'a Arc<Limiter>>,
    pub request_mode: RequestMode,
    pub rollback: Rollback,
}

/// How the root is requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestMode {
    /// Conditionally, as configured in `cache`.
    Conditional,
    /// The root is fetched and the state is built again in any case.
    Refresh,
}

/// The result of a dry run.
#[derive(Debug)]
pub enum Preview {
    Unchanged,
    Change(Box<SyncPlan>),
}

/// The sync of one repository.
pub struct Session<'a> {
    context: SyncContext<'a>,
    repository: &'a config::Repository,
    selected: Box<dyn Selected>,
    upstream: Upstream,
    /// Interrupts the transfers of the upstream.
    transfers: Interrupt,
    keys: TrustedKeys<'a>,
    previous: Previous,
    _lock: Option<Guard<'a>>,
    started: i64,
}

/// The root of the upstream, compared with the last one.
enum CurrentRoot<'s> {
    /// The root of the last successful sync.
    Unchanged(Unchanged<'s>),
    Changed(Box<PinnedRoot>),
}

struct Unchanged<'s> {
    known: &'s RepositoryRecord,
    /// The validators received with the root, if it was sent. The earlier ones may not have been
    /// stored because the root was too new.
    validators: Option<BTreeMap<String, ValidatorRecord>>,
}

impl<'a> Session<'a> {
    pub fn open(
        context: SyncContext<'a>,
        repository: &'a config::Repository,
    ) -> Result<Self, SyncError> {
        let selected = format::select(&repository.format, &repository.filters)?;
        let storage = context.storage;
        let transfers = storage.interrupt.part();
        let upstream = Upstream::open(context.config, repository, context.limiter, &transfers)
            .map_err(|error| SyncError::from(error).without_context())?;
        let lock = if storage.is_dry_run() {
            None
        } else {
            Some(storage.locks.repository(&repository.id)?)
        };
        Ok(Self {
            context,
            repository,
            upstream,
            transfers,
            keys: TrustedKeys::new(context.config, repository, storage),
            previous: Previous::read(storage, repository, selected.as_ref())?,
            selected,
            _lock: lock,
            started: now(),
        })
    }

    /// Updates the repository to the current state of the upstream.
    pub fn sync(&self) -> Result<Report, SyncError> {
        let result = self.retry_while_upstream_changes(|pinned| {
            self.retry_if_damaged(|indexes| {
                let mut plan = self.plan(pinned, indexes)?;
                self.complete(pinned, &mut plan)
            })
        });
        match result {
            Ok(Ok(report)) => Ok(report),
            Ok(Err(unchanged)) => self.confirm(unchanged),
            Err(error) => Err(error),
        }
        .map_err(SyncError::without_context)
        .inspect_err(|error| {
            self.log_key_warnings();
            self.recorder().record_failure(error);
        })
    }

    /// Determines what [`Self::sync`] would do. Downloads new indexes.
    pub fn preview(&self) -> Result<Preview, SyncError> {
        let plan = self
            .retry_while_upstream_changes(|pinned| {
                self.retry_if_damaged(|indexes| self.plan(pinned, indexes))
            })
            .map_err(SyncError::without_context)
            .inspect_err(|_| self.log_key_warnings())?;
        Ok(match plan {
            Ok(plan) => Preview::Change(Box::new(plan)),
            Err(_) => Preview::Unchanged,
        })
    }

    /// Requests made and bytes received so far.
    pub fn traffic(&self) -> (u64, u64) {
        (self.upstream.requests(), self.upstream.bytes())
    }

    /// Runs `work` again if an index in the pool is damaged, with those of its bytes that are
    /// damaged downloaded again: the upstream is not to blame.
    fn retry_if_damaged<T>(
        &self,
        work: impl Fn(ObjectsInPool) -> Result<T, SyncError>,
    ) -> Result<T, SyncError> {
        match work(ObjectsInPool::AreKnown) {
            Err(SyncError::Format(error @ FormatError::ObjectDamaged { .. })) => {
                log::debug!("{}: {error}; reading all indexes again", self.id());
                work(ObjectsInPool::AreRead)
            }
            result => result,
        }
    }

    /// Plans the state of a root.
    fn plan(&self, pinned: &PinnedRoot, indexes: ObjectsInPool) -> Result<SyncPlan, SyncError> {
        let root = self.selected.open_root(&pinned.trusted)?;
        self.check_freshness(pinned, &root)?;
        // Report a key that cannot be loaded before anything is downloaded, even if it is not
        // needed to verify the root.
        self.keyring()?;
        let mut warnings = self.keys.warnings();
        warnings.extend(pinned.warnings.iter().cloned());
        warnings.extend(root.warnings.iter().cloned());
        let planner = Planner {
            fetcher: self.fetcher(),
            selected: self.selected.as_ref(),
            indexes,
        };
        let plan = planner.plan(&root, &|| self.has_root_changed(pinned))?;
        warnings.extend(plan.warnings);
        Ok(SyncPlan { warnings, ..plan })
    }

    /// Downloads the missing files of a plan and makes it the state of the repository.
    fn complete(&self, pinned: &PinnedRoot, plan: &mut SyncPlan) -> Result<Report, SyncError> {
        let storage = self.context.storage;
        let keyring = self.keyring()?;
        let format = self.selected.format();
        let checks = match self.repository.trust.packages {
            PackageCheck::Off => None,
            PackageCheck::Required => Some(PackageChecks::new(
                storage,
                format,
                Arc::clone(&keyring),
                self.started,
            )),
        };
        let has_root_changed = || self.has_root_changed(pinned);
        let fetched = packages::fetch(&self.fetcher(), plan, checks, &has_root_changed)?;
        let trust = &self.repository.trust;
        let builder = StateBuilder {
            storage,
            key_name: (!trust.keys.is_empty()).then_some(&self.repository.publish.key_name),
            selected: self.selected.as_ref(),
            keyring: &keyring,
            previous: self.previous.manifest(),
        };
        let built = builder.build(pinned, plan, &fetched)?;
        self.recorder().record_change(NewState {
            built: &built,
            pinned,
            plan,
            fetched: &fetched,
            format: format.kind(),
            selection: selection(self.repository, self.selected.as_ref(), &keyring),
            root_check: self.repository.trust.root,
            rollback: self.context.rollback,
        })
    }

    /// Handles a root that is still that of the current state.
    fn confirm(&self, unchanged: Unchanged<'_>) -> Result<Report, SyncError> {
        let Unchanged { known, validators } = unchanged;
        freshness::check_unchanged(&known.state, self.repository.freshness, self.started)?;
        self.recorder().record_unchanged(known, validators.as_ref())
    }

    /// Runs `work` on a root, and again on a newer one if the upstream changes during it. The inner
    /// `Err` means that the root did not change since the last successful sync.
    fn retry_while_upstream_changes<T>(
        &self,
        work: impl Fn(&PinnedRoot) -> Result<T, SyncError>,
    ) -> Result<Result<T, Unchanged<'_>>, SyncError> {
        let mut pinned = match self.current_root()? {
            CurrentRoot::Changed(pinned) => pinned,
            CurrentRoot::Unchanged(unchanged) => return Ok(Err(unchanged)),
        };
        let mut restarts = 0;
        loop {
            let error = match work(&pinned) {
                Err(error) if error.may_be_upstream_change() => error,
                result => return result.map(Ok),
            };
            match self.roots().fetch_verified() {
                Ok(now) if now.object != pinned.object => {
                    restarts += 1;
                    if restarts > RESTARTS_MAX {
                        return Err(SyncError::KeepsChanging {
                            times: restarts,
                            last: Box::new(error),
                        });
                    }
                    log::debug!(
                        "{}: {error}; the root has changed, starting again",
                        self.id()
                    );
                    *pinned = now;
                }
                Ok(_) => return Err(error),
                Err(second) => {
                    log::debug!("{}: cannot fetch the root again: {second}", self.id());
                    return Err(error);
                }
            }
        }
    }

    /// The root of the upstream, unless it is known to be that of the last successful sync.
    fn current_root(&self) -> Result<CurrentRoot<'_>, SyncError> {
        let cache = &self.context.config.cache;
        let known = match self.context.request_mode {
            RequestMode::Conditional => self.comparable_state()?,
            RequestMode::Refresh => None,
        };
        if let Some(known) = known {
            let age = self.started.saturating_sub(known.checked_at);
            if u64::try_from(age).is_ok_and(|age| age < cache.ttl.as_secs()) {
                return Ok(CurrentRoot::Unchanged(Unchanged {
                    known,
                    validators: None,
                }));
            }
        }
        // Files that were missing or wrong on the upstream are requested again, even under an
        // unchanged root.
        let known = known.filter(|known| known.state.missing.is_empty());
        let validators = KnownValidators {
            storage: self.context.storage,
            repository: self.id(),
            origin: self.previous.origin,
            max_age: cache.max_age,
        };
        let roots = self.roots();
        let fetched = roots.fetch(|path| match known {
            Some(_) if cache.enabled => Ok(validators.of(path, self.started)?),
            _ => Ok(None),
        })?;
        match (fetched, known) {
            (None, known) => {
                let known = known.expect("validators are sent only if a state is known");
                Ok(CurrentRoot::Unchanged(Unchanged {
                    known,
                    validators: None,
                }))
            }
            // A server without validators sends the whole root: compare its bytes.
            (Some(fetched), Some(known)) if known.state.has_root(ObjectId::of(&fetched.bytes)) => {
                let (path, validators) = (fetched.source.path(), &fetched.validators);
                let validators = Some(validators::records(path, validators, self.started));
                Ok(CurrentRoot::Unchanged(Unchanged { known, validators }))
            }
            (Some(fetched), _) => Ok(CurrentRoot::Changed(Box::new(roots.verify(fetched)?))),
        }
    }

    /// The record of the last successful sync, if it had the same upstream, selection and keys.
    fn comparable_state(&self) -> Result<Option<&RepositoryRecord>, SyncError> {
        let Some(record) = self.previous.of_this_upstream() else {
            return Ok(None);
        };
        let keyring = trust::cached_keyring(self.context.config, self.repository)?;
        let selection =
            keyring.map(|keyring| selection(self.repository, self.selected.as_ref(), &keyring));
        Ok((Some(record.selection) == selection).then_some(record))
    }

    /// Whether the upstream has a different root now.
    fn has_root_changed(&self, pinned: &PinnedRoot) -> Result<bool, SyncError> {
        Ok(self.roots().fetch_verified()?.object != pinned.object)
    }

    /// Checks a root before it becomes the state.
    fn check_freshness(&self, pinned: &PinnedRoot, root: &Root) -> Result<(), SyncError> {
        let previous = self.previous.baseline(self.context.rollback);
        let checks = self.repository.freshness;
        let judged = freshness::check(root, pinned.object, previous, checks, self.started);
        Err(match judged {
            Ok(()) => return Ok(()),
            // It is the root of an earlier state: probably a server that lags behind, not an
            // attack.
            Err(FreshnessError::RolledBack { found, known })
                if self.was_synced(pinned.object)? =>
            {
                FreshnessError::Lagging { found, known }.into()
            }
            Err(error) => error.into(),
        })
    }

    fn was_synced(&self, root: ObjectId) -> Result<bool, SyncError> {
        let storage = self.context.storage;
        let history = storage.read(|reader| reader.history(self.id(), usize::MAX))?;
        Ok(history.iter().any(|sync| sync.root == Some(root)))
    }

    fn id(&self) -> &RepoId {
        &self.repository.id
    }

    fn keyring(&self) -> Result<Arc<Keyring>, KeyError> {
        self.keys.keyring(&self.upstream)
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

    fn roots(&self) -> RootFetcher<'_> {
        RootFetcher {
            upstream: &self.upstream,
            location: &self.repository.upstream,
            selected: self.selected.as_ref(),
            verifier: RootVerifier {
                upstream: &self.upstream,
                trust: &self.repository.trust,
                keys: &self.keys,
                was_signed: self.previous.was_signed(),
                at: self.started,
            },
        }
    }

    fn recorder(&self) -> SyncRecorder<'_> {
        SyncRecorder {
            storage: self.context.storage,
            repository: self.id(),
            previous: &self.previous,
            upstream: &self.upstream,
            started: self.started,
        }
    }

    /// A failed sync has no report with warnings, but a key that could not be loaded may be the
    /// cause.
    fn log_key_warnings(&self) {
        for warning in self.keys.warnings() {
            log::warn!("{}: {warning}", self.id());
        }
    }
}
