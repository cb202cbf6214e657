//! The configuration as it is written: one struct per section, with exactly the documented keys.
//!
//! Keys of features that do not exist yet are included: their type is checked, and they are refused
//! by name instead of being reported as a typo. A key or section without a value is treated as
//! absent.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, IgnoredAny};

use super::filters::Dependencies;
use super::resolved::{LogFormat, RootCheck};
use super::secret::Secret;
use super::values;
use crate::names::DestinationName;
use crate::repo_format::RepoFormat;

/// A file of `conf.d`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Global {
    #[serde(deserialize_with = "section")]
    pub storage: Storage,
    #[serde(deserialize_with = "section")]
    pub database: Database,
    #[serde(deserialize_with = "section")]
    pub download: Download,
    #[serde(deserialize_with = "section")]
    pub logging: Logging,
    #[serde(deserialize_with = "section")]
    pub cache: Cache,
    #[serde(deserialize_with = "section")]
    pub signing: Signing,
    #[serde(deserialize_with = "section")]
    pub media: Media,
    #[serde(deserialize_with = "section")]
    pub tls: Tls,
    pub proxy: Option<Anything>,
    pub metrics: Option<Anything>,
    pub notify: Option<Anything>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Storage {
    pub base_path: Option<String>,
    pub pool_path: Option<String>,
    pub cache_path: Option<String>,
    pub create: Option<bool>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Database {
    pub path: Option<String>,
    /// A secret because the URL of other databases contains a password.
    pub url: Option<Secret>,
    pub pool_size: Option<u32>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Download {
    pub workers: Option<u32>,
    pub retries: Option<u32>,
    #[serde(deserialize_with = "values::duration")]
    pub timeout: Option<Duration>,
    #[serde(deserialize_with = "values::bandwidth")]
    pub bandwidth_limit: Option<NonZeroU64>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Logging {
    #[serde(deserialize_with = "values::level")]
    pub level: Option<log::LevelFilter>,
    pub file: Option<String>,
    pub format: Option<LogFormat>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cache {
    pub enabled: Option<bool>,
    #[serde(deserialize_with = "values::duration")]
    pub ttl: Option<Duration>,
    #[serde(deserialize_with = "values::duration")]
    pub max_age: Option<Duration>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Signing {
    pub key_file: Option<String>,
    pub passphrase_file: Option<String>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Media {
    pub destination: Option<DestinationName>,
    #[serde(deserialize_with = "values::one_or_many")]
    pub trusted_keys: Option<Vec<String>>,
    pub publish_root: Option<String>,
    #[serde(deserialize_with = "values::duration")]
    pub hold: Option<Duration>,
    #[serde(deserialize_with = "section")]
    pub destinations: BTreeMap<DestinationName, Destination>,
}

/// A host that media are made for.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Destination {
    #[serde(deserialize_with = "values::one_or_many")]
    pub key_file: Option<Vec<String>>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    pub ca_file: Option<String>,
}

/// A file of `repos.d`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Repository {
    pub name: Option<String>,
    #[serde(rename = "type")]
    pub kind: Option<RepoFormat>,
    pub enabled: Option<bool>,
    #[serde(deserialize_with = "section")]
    pub upstream: Upstream,
    #[serde(deserialize_with = "section")]
    pub credentials: Credentials,
    pub rpm: Option<Rpm>,
    pub apt: Option<Apt>,
    pub allow_weak_signatures: Option<bool>,
    pub check_valid_until: Option<bool>,
    pub check_date: Option<bool>,
    #[serde(deserialize_with = "section")]
    pub filters: Filters,
    #[serde(deserialize_with = "section")]
    pub publish: Publish,
    #[serde(deserialize_with = "section")]
    pub download: RepositoryDownload,
    pub proxy: Option<Anything>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Upstream {
    /// A secret because its query may contain a token.
    pub url: Option<Secret>,
    #[serde(deserialize_with = "values::one_or_many")]
    pub mirrors: Option<Vec<String>>,
    pub mirrorlist: Option<String>,
    pub metalink: Option<String>,
    pub media: Option<bool>,
}

/// Which keys are valid for which type is checked later, for a better message.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Credentials {
    #[serde(rename = "type")]
    pub kind: Option<CredentialsType>,
    pub username: Option<String>,
    pub password: Option<Secret>,
    pub password_file: Option<String>,
    pub password_command: Option<String>,
    pub token: Option<Secret>,
    pub token_file: Option<String>,
    pub token_command: Option<String>,
    pub name: Option<String>,
    pub value: Option<Secret>,
    pub value_file: Option<String>,
    pub cert: Option<String>,
    pub key: Option<String>,
    pub ca_cert: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialsType {
    #[default]
    None,
    Basic,
    Bearer,
    Header,
    ClientCert,
    SubscriptionManager,
}

impl CredentialsType {
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Basic => "basic",
            Self::Bearer => "bearer",
            Self::Header => "header",
            Self::ClientCert => "client_cert",
            Self::SubscriptionManager => "subscription_manager",
        }
    }
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rpm {
    pub gpgcheck: Option<bool>,
    #[serde(deserialize_with = "values::repo_gpgcheck")]
    pub repo_gpgcheck: Option<RootCheck>,
    #[serde(deserialize_with = "values::one_or_many")]
    pub gpgkey_url: Option<Vec<String>>,
    #[serde(deserialize_with = "values::one_or_many")]
    pub gpgkey_file: Option<Vec<String>>,
    #[serde(deserialize_with = "values::one_or_many")]
    pub gpgkey_fingerprints: Option<Vec<String>>,
    pub on_bad_package: Option<OnBadPackage>,
    #[serde(deserialize_with = "values::one_or_many")]
    pub architectures: Option<Vec<String>>,
    pub sources: Option<bool>,
}

/// What a sync does with a package without a good signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnBadPackage {
    Fail,
    Skip,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Apt {
    pub gpgcheck: Option<bool>,
    #[serde(deserialize_with = "values::one_or_many")]
    pub gpgkey_url: Option<Vec<String>>,
    #[serde(deserialize_with = "values::one_or_many")]
    pub gpgkey_file: Option<Vec<String>>,
    #[serde(deserialize_with = "values::one_or_many")]
    pub gpgkey_fingerprints: Option<Vec<String>>,
    pub distribution: Option<String>,
    #[serde(deserialize_with = "values::one_or_many")]
    pub components: Option<Vec<String>>,
    #[serde(deserialize_with = "values::one_or_many")]
    pub architectures: Option<Vec<String>>,
    pub sources: Option<bool>,
    pub udebs: Option<bool>,
    pub installer: Option<bool>,
    #[serde(deserialize_with = "values::one_or_many")]
    pub languages: Option<Vec<String>>,
    pub contents: Option<bool>,
    pub appstream: Option<bool>,
    pub cnf: Option<bool>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Filters {
    #[serde(deserialize_with = "values::one_or_many")]
    pub include: Option<Vec<String>>,
    #[serde(deserialize_with = "values::one_or_many")]
    pub exclude: Option<Vec<String>>,
    #[serde(deserialize_with = "values::one_or_many")]
    pub source_packages: Option<Vec<String>>,
    #[serde(deserialize_with = "values::one_or_many")]
    pub architectures: Option<Vec<String>>,
    #[serde(deserialize_with = "values::one_or_many")]
    pub sections: Option<Vec<String>>,
    #[serde(deserialize_with = "values::one_or_many")]
    pub priorities: Option<Vec<String>>,
    #[serde(deserialize_with = "values::one_or_many")]
    pub groups: Option<Vec<String>>,
    #[serde(deserialize_with = "values::one_or_many")]
    pub modules: Option<Vec<String>>,
    pub newest: Option<u32>,
    #[serde(deserialize_with = "values::size")]
    pub max_size: Option<u64>,
    #[serde(deserialize_with = "values::dependencies")]
    pub with_dependencies: Option<Dependencies>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Publish {
    pub latest_path: Option<String>,
    pub snapshots_path: Option<String>,
    pub auto: Option<bool>,
    #[serde(deserialize_with = "values::duration")]
    pub keep: Option<Duration>,
    pub key_name: Option<String>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RepositoryDownload {
    #[serde(deserialize_with = "values::bandwidth")]
    pub bandwidth_limit: Option<NonZeroU64>,
}

/// The value of a key whose format is not defined yet.
#[derive(Debug)]
pub struct Anything;

impl<'de> Deserialize<'de> for Anything {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

/// A section with all keys commented out is null, not an empty mapping.
fn section<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
