//! Signature checks and keys: `gpgcheck`, `repo_gpgcheck` and `gpgkey_*` of both formats.

use super::location::{KeySource, LocationError};
use super::resolved::{Fingerprint, PackageCheck, RootCheck, Trust};
use super::scope::Scope;
use super::written::{self, OnBadPackage};

pub fn of_apt(written: &written::Apt, scope: &mut Scope<'_>) -> Trust {
    let root = match written.gpgcheck {
        None | Some(true) => RootCheck::Required,
        Some(false) => RootCheck::Off,
    };
    let keys = WrittenKeys {
        section: "apt",
        urls: written.gpgkey_url.as_deref(),
        files: written.gpgkey_file.as_deref(),
        fingerprints: written.gpgkey_fingerprints.as_deref(),
    };
    keys.resolve(root, PackageCheck::Off, scope)
}

pub fn of_rpm(written: &written::Rpm, scope: &mut Scope<'_>) -> Trust {
    // The published metadata must not list skipped packages: this requires filtered repositories.
    scope.reject_unsupported(&[(
        "rpm.on_bad_package: skip",
        written.on_bad_package == Some(OnBadPackage::Skip),
    )]);
    let keys = WrittenKeys {
        section: "rpm",
        urls: written.gpgkey_url.as_deref(),
        files: written.gpgkey_file.as_deref(),
        fingerprints: written.gpgkey_fingerprints.as_deref(),
    };
    let root = written.repo_gpgcheck.unwrap_or(RootCheck::Auto);
    let packages = match written.gpgcheck {
        None | Some(true) => PackageCheck::Required,
        Some(false) => PackageCheck::Off,
    };
    keys.resolve(root, packages, scope)
}

struct WrittenKeys<'a> {
    section: &'static str,
    urls: Option<&'a [String]>,
    files: Option<&'a [String]>,
    fingerprints: Option<&'a [String]>,
}

impl WrittenKeys<'_> {
    fn resolve(&self, root: RootCheck, packages: PackageCheck, scope: &mut Scope<'_>) -> Trust {
        let fingerprints = self.fingerprints(scope);
        let mut keys: Vec<KeySource> = Vec::new();
        let file_key = format!("{}.gpgkey_file", self.section);
        for file in self.files.unwrap_or_default() {
            keys.extend(scope.path(&file_key, Some(file)).map(KeySource::File));
        }
        keys.extend(self.url_sources(&fingerprints, scope));

        let is_none_written =
            self.urls.unwrap_or_default().is_empty() && self.files.unwrap_or_default().is_empty();
        if is_none_written {
            self.reject_missing(root, packages, &fingerprints, scope);
        }
        Trust {
            root,
            packages,
            allow_weak_signatures: false,
            keys,
            fingerprints,
        }
    }

    fn fingerprints(&self, scope: &mut Scope<'_>) -> Vec<Fingerprint> {
        let key = format!("{}.gpgkey_fingerprints", self.section);
        let mut fingerprints = Vec::new();
        for text in self.fingerprints.unwrap_or_default() {
            match Fingerprint::parse(text) {
                Ok(fingerprint) => fingerprints.push(fingerprint),
                Err(err) => scope.reject(&key, err.to_string()),
            }
        }
        fingerprints
    }

    fn url_sources(&self, fingerprints: &[Fingerprint], scope: &mut Scope<'_>) -> Vec<KeySource> {
        let key = format!("{}.gpgkey_url", self.section);
        let mut keys = Vec::new();
        for text in self.urls.unwrap_or_default() {
            match KeySource::parse(text, scope.dir()) {
                Ok(KeySource::Http(url)) if url.is_plain_http() && fingerprints.is_empty() => scope
                    .reject_with_hint(
                        &key,
                        format!("{url} could be tampered with in transit"),
                        format!(
                            "use https, or list the key in {}.gpgkey_fingerprints",
                            self.section
                        ),
                    ),
                Ok(source) => keys.push(source),
                // The hint for upstreams (`credentials`) does not apply to keys.
                Err(err @ LocationError::Credentials) => scope.reject(&key, err.to_string()),
                Err(err) => scope.reject_location(&key, &err),
            }
        }
        keys
    }

    fn reject_missing(
        &self,
        root: RootCheck,
        packages: PackageCheck,
        fingerprints: &[Fingerprint],
        scope: &mut Scope<'_>,
    ) {
        let section = self.section;
        if !fingerprints.is_empty() {
            scope.reject_with_hint(
                &format!("{section}.gpgkey_fingerprints"),
                "is set, but no keys are configured",
                format!("set {section}.gpgkey_file or {section}.gpgkey_url"),
            );
            return;
        }
        let mut refuse = |check: &str, trusted: &str| {
            scope.reject_with_hint(
                &format!("{section}.{check}"),
                "is true, but no keys are configured",
                format!(
                    "set {section}.gpgkey_file or {section}.gpgkey_url, \
                     or `{section}.{check}: false` to accept {trusted} without verifying signatures"
                ),
            );
        };
        if packages == PackageCheck::Required {
            refuse("gpgcheck", "the packages");
        }
        if root == RootCheck::Required {
            let check = match section {
                "apt" => "gpgcheck",
                _ => "repo_gpgcheck",
            };
            refuse(check, "the upstream");
        }
    }
}
