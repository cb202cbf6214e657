//! `chantal config`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub enum Config {
    /// Validate the configuration
    ///
    /// Also checks that keys, certificates and password files are readable, and warns about secrets
    /// that other users can read. Commands that print a password are not run, and no upstream is
    /// contacted.
    Check,

    /// Generate a key for signing, and configure it
    ///
    /// Writes three files below the configuration directory:
    ///
    /// - `keys/signing.sec.asc`: the secret key
    ///
    /// - `keys/signing.pub.asc`: the public key, for clients
    ///
    /// - `conf.d/signing.yaml`: the configuration
    ///
    /// Existing files are not overwritten. The key does not expire.
    Keygen(ConfigKeygen),
}

#[derive(Debug, Args)]
pub struct ConfigKeygen {
    /// Key algorithm
    #[arg(long = "type", value_name = "TYPE", value_enum, default_value_t = KeyType::Ed25519)]
    pub key_type: KeyType,

    /// User ID of the key, as shown to clients [default: chantal mirror (HOSTNAME)]
    #[arg(long, value_name = "TEXT")]
    pub user_id: Option<String>,

    /// Protect the key with the passphrase in the first line of this file
    ///
    /// The file is also configured as `signing.passphrase_file`.
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KeyType {
    /// Small and fast; for RHEL 8, Debian 9, Ubuntu 18.04 and later
    Ed25519,
    /// For older clients and for clients in FIPS mode
    Rsa4096,
}
