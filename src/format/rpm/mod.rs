//! RPM repositories.
