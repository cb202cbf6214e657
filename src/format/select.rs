//! The formats by name, and the repository that a configuration describes.

use crate::config::{Filters, FormatConfig};
use crate::repo_format::RepoFormat;

use super::error::FormatError;
use super::interface::{Format, Selected};
use super::{deb, rpm};

impl RepoFormat {
    /// The format.
    pub fn rules(self) -> &'static dyn Format {
        match self {
            Self::Apt => &deb::AptFormat,
            Self::Rpm => &rpm::RpmFormat,
        }
    }
}

/// A configured repository.
pub fn select(config: &FormatConfig, filters: &Filters) -> Result<Box<dyn Selected>, FormatError> {
    Ok(match config {
        FormatConfig::Apt(apt) => Box::new(deb::Apt::new(deb::Selection {
            distribution: apt.distribution.to_string(),
            components: apt.components.clone(),
            architectures: apt.architectures.clone(),
            sources: apt.sources,
            udebs: apt.udebs,
            installer: apt.installer,
            filters: filters.clone(),
        })?),
        FormatConfig::Rpm(rpm) => Box::new(rpm::Rpm::new(rpm::Selection {
            architectures: rpm.architectures.clone(),
            sources: rpm.sources,
            filters: filters.clone(),
        })),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_orders_versions() {
        let newer =
            |format: RepoFormat, a: &str, b: &str| format.rules().version_order()(a, b).is_gt();
        for format in [RepoFormat::Apt, RepoFormat::Rpm] {
            assert!(newer(format, "1.10-1", "1.9-2"));
            assert!(newer(format, "1:0.1-1", "1.9-2"));
        }
        // Only dpkg tells separators apart.
        assert!(newer(RepoFormat::Apt, "1+a", "1a"));
        assert!(!newer(RepoFormat::Rpm, "1+a", "1a"));
    }
}
