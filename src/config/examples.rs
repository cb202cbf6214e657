//! The configuration that `chantal init` writes if there is none. A test loads it, so that it stays
//! valid.

/// For `conf.d/global.yaml`: every setting at its default.
pub const EXAMPLE_GLOBAL: &str = include_str!("examples/global.yaml");
/// For `repos.d/example-debian.yaml`; disabled.
pub const EXAMPLE_APT: &str = include_str!("examples/example-debian.yaml");
/// For `repos.d/example-epel.yaml`; disabled.
pub const EXAMPLE_RPM: &str = include_str!("examples/example-epel.yaml");
