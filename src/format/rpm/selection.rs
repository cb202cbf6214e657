//! What the configuration selects of an RPM repository.

use super::architectures;
use crate::config::Filters;

/// Which packages are mirrored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Base architectures, including compatible ones; `None` for all. `noarch` and sources are
    /// always included.
    pub architectures: Option<Vec<String>>,
    pub sources: bool,
    pub filters: Filters,
}

/// An RPM repository as the configuration selects it.
#[derive(Debug)]
pub struct Rpm {
    pub selection: Selection,
}

impl Rpm {
    pub fn new(selection: Selection) -> Self {
        Self { selection }
    }

    /// Whether packages of this architecture are mirrored.
    pub fn selects(&self, architecture: &str) -> bool {
        if architectures::is_source(architecture) {
            return self.selection.sources;
        }
        let wanted = self.selection.architectures.as_ref();
        wanted.is_none_or(|wanted| {
            wanted
                .iter()
                .any(|base| architectures::is_compatible(base, architecture))
        })
    }
}
