//! APT repositories.
