//! The advisories for the packages that a transfer carries: what it fixes inside.

use std::collections::{BTreeMap, HashSet};

use crate::format::ChangeReasons;
use crate::manifest::Package;
use crate::state::{OpenState, StateError};
use crate::storage::Storage;
use crate::store::records::StateRecord;

/// The advisories of one repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advisories {
    pub count: u64,
    /// By severity, in lowercase; those without one are not in it.
    pub severities: BTreeMap<String, u64>,
}

/// The advisories of a state that name one of these packages. A format without advisories has none.
pub fn advisories(
    storage: &Storage,
    state: &StateRecord,
    packages: &HashSet<Package>,
) -> Result<Advisories, StateError> {
    let mut found = Advisories::default();
    let rules = state.format.rules();
    let ChangeReasons::Advisories { index: name, read } = rules.change_reasons() else {
        return Ok(found);
    };
    if packages.is_empty() {
        return Ok(found);
    }
    let opened = OpenState::open(&storage.store, &storage.pool, state)?;
    let mut seen = HashSet::new();
    let indexes = opened.indexes.all.iter();
    for index in indexes.filter(|index| index.name == name) {
        opened.read(index, |text| {
            read(&index.name, text, &mut |advisory| {
                let is_about = advisory
                    .packages
                    .iter()
                    .any(|package| packages.contains(package));
                if is_about && seen.insert(advisory.id) {
                    found.count += 1;
                    if let Some(severity) = advisory.severity {
                        *found.severities.entry(severity.to_lowercase()).or_default() += 1;
                    }
                }
                Ok(())
            })?;
            Ok::<_, StateError>(())
        })?;
    }
    Ok(found)
}
