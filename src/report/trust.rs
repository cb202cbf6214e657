//! Keys that `repo trust` accepted.

use serde::Serialize;

use crate::names::RepoId;
use crate::openpgp::KeySummary;
use crate::trust::Accepted;

/// The keys that the key URLs of a repository serve, compared with those trusted before.
#[derive(Clone, Debug, Serialize)]
pub struct AcceptedKeys {
    pub repository: RepoId,
    pub added: Vec<AcceptedKey>,
    pub kept: Vec<AcceptedKey>,
    pub removed: Vec<AcceptedKey>,
}

#[derive(Clone, Debug, Serialize)]
pub struct AcceptedKey {
    pub fingerprint: String,
    pub user_id: Option<String>,
    /// Why signatures by this key are not accepted, if so.
    pub problem: Option<String>,
}

impl AcceptedKeys {
    pub fn new(repository: &RepoId, accepted: &Accepted) -> Self {
        let is_in = |keys: &[KeySummary], key: &KeySummary| {
            keys.iter()
                .any(|other| other.fingerprint == key.fingerprint)
        };
        let (kept, added): (Vec<_>, Vec<_>) = accepted
            .after
            .iter()
            .partition(|key| is_in(&accepted.before, key));
        let before = accepted.before.iter();
        let removed = before.filter(|key| !is_in(&accepted.after, key));
        Self {
            repository: repository.clone(),
            added: added.into_iter().map(AcceptedKey::from).collect(),
            kept: kept.into_iter().map(AcceptedKey::from).collect(),
            removed: removed.map(AcceptedKey::from).collect(),
        }
    }
}

impl From<&KeySummary> for AcceptedKey {
    fn from(key: &KeySummary) -> Self {
        Self {
            fingerprint: key.fingerprint.clone(),
            user_id: key.user_id.clone(),
            problem: key.signing_problem().map(ToString::to_string),
        }
    }
}
