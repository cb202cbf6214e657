//! What the configuration selects of an APT repository.

use crate::config::Filters;
use crate::format::error::FormatError;
use crate::format::root::RootSource;
use crate::rel_path::{RelPath, RelPathError};

/// The mirrored part of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// The directory below `dists/`; one that ends in `/` is the directory of a flat repository
    /// (`./` at the top).
    pub distribution: String,
    /// In full or by their last segment (`updates/main`, `main`). Not used in a flat repository.
    pub components: Vec<String>,
    /// `all` is always included. Not used in a flat repository.
    pub architectures: Vec<String>,
    pub sources: bool,
    pub udebs: bool,
    pub installer: bool,
    pub filters: Filters,
}

/// An APT repository as the configuration selects it.
#[derive(Debug)]
pub struct Apt {
    pub selection: Selection,
    pub scope: Scope,
    /// The directory of Release; `None` is the top.
    pub directory: Option<RelPath>,
    pub layout: Layout,
}

/// The selected indexes of Release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those of the selection.
    Selected,
    /// Everything that any selection can include.
    Everything,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    Dists,
    Flat,
}

impl Apt {
    pub fn new(selection: Selection) -> Result<Self, FormatError> {
        let distribution = selection.distribution.clone();
        let path_error = |source| FormatError::Path {
            file: "apt.distribution".to_owned(),
            named_by: distribution.clone(),
            source,
        };
        let (layout, directory) = if let Some(flat) = distribution.strip_suffix('/') {
            let directory = match flat.trim_matches('/') {
                "" | "." => None,
                directory => Some(RelPath::parse(directory)),
            };
            (Layout::Flat, directory)
        } else {
            // Checked separately, so that it cannot leave `dists`.
            let suite = RelPath::parse(&distribution);
            let directory = suite.and_then(|suite| RelPath::parse(&format!("dists/{suite}")));
            (Layout::Dists, Some(directory))
        };
        let apt = Self {
            selection,
            scope: Scope::Selected,
            directory: directory.transpose().map_err(path_error)?,
            layout,
        };
        apt.beside("Release.gpg").map_err(path_error)?;
        Ok(apt)
    }

    /// Selects everything in the repository with this root.
    pub fn everything(root: &RelPath) -> Self {
        let directory = root.parent();
        let suite = directory
            .as_ref()
            .and_then(|directory| directory.as_str().strip_prefix("dists/"));
        Self {
            selection: Selection {
                distribution: suite.unwrap_or_default().to_owned(),
                components: Vec::new(),
                architectures: Vec::new(),
                sources: true,
                udebs: true,
                installer: true,
                filters: Filters::default(),
            },
            scope: Scope::Everything,
            layout: if suite.is_some() {
                Layout::Dists
            } else {
                Layout::Flat
            },
            directory,
        }
    }

    /// A path relative to the directory of Release.
    pub fn beside(&self, name: &str) -> Result<RelPath, RelPathError> {
        match &self.directory {
            Some(directory) => directory.join(name),
            None => RelPath::parse(name),
        }
    }

    pub fn root_file(&self, name: &'static str) -> RelPath {
        self.beside(name)
            .expect("the distribution was checked to leave room for the root's names")
    }

    pub fn release(&self) -> RootSource {
        RootSource::Detached {
            path: self.root_file("Release"),
            signature: self.root_file("Release.gpg"),
        }
    }
}
