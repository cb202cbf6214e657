//! Turns configured credentials into what a request carries. Files and commands are asked once per run, when a sync begins.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, Error as TlsError, InconsistentKeys};
use ureq::http::header::{AUTHORIZATION, HeaderName};
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, parse_pem};

use super::http::Identity;
use crate::config::{Credentials, Secret, SecretSource};
use crate::regular_file;

#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    #[error("{}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{}: no {wanted} in PEM form in this file", path.display())]
    Pem { path: PathBuf, wanted: &'static str },
    #[error("{}: the private key is encrypted: a key without passphrase is needed", path.display())]
    Encrypted { path: PathBuf },
    #[error("the private key does not belong to the certificate {}", cert.display())]
    OtherKey { cert: PathBuf },
    #[error("the certificate cannot be used: {why}")]
    UnusableCertificate { why: String },
    /// Without the command: it may hold a secret itself.
    #[error("the command that should print a secret failed: {0}")]
    Command(String),
    #[error("{what} has characters that no HTTP header can carry")]
    Characters { what: &'static str },
    #[error("{key}: {source}")]
    At {
        /// The configuration key that names the file or command.
        key: &'static str,
        source: Box<CredentialError>,
    },
}

/// Says where the configuration has what went wrong.
pub fn at(key: &'static str) -> impl Fn(CredentialError) -> CredentialError {
    move |source| CredentialError::At {
        key,
        source: Box::new(source),
    }
}

pub fn identity(credentials: &Credentials) -> Result<Identity, CredentialError> {
    let header = |name: HeaderName, value: String, what| {
        // Line breaks would make two headers of one.
        if value.chars().any(|c| c.is_ascii_control()) {
            return Err(CredentialError::Characters { what });
        }
        Ok(Identity {
            header: Some((name, value)),
            ..Identity::default()
        })
    };
    match credentials {
        Credentials::None => Ok(Identity::default()),
        Credentials::Basic { username, password } => {
            let password = secret(password).map_err(at("credentials.password"))?;
            let pair = BASE64_STANDARD.encode(format!("{username}:{}", password.expose()));
            header(AUTHORIZATION, format!("Basic {pair}"), "the password")
        }
        Credentials::Bearer { token } => {
            let value = format!(
                "Bearer {}",
                secret(token).map_err(at("credentials.token"))?.expose()
            );
            header(AUTHORIZATION, value, "the token")
        }
        Credentials::Header { name, value } => {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
                CredentialError::Characters {
                    what: "the header's name",
                }
            })?;
            header(
                name,
                secret(value)
                    .map_err(at("credentials.value"))?
                    .expose()
                    .to_owned(),
                "the header's value",
            )
        }
        Credentials::ClientCert { cert, key, ca_cert } => Ok(Identity {
            header: None,
            certificate: Some(client_certificate(cert, key)?),
            authorities: match ca_cert {
                Some(path) => certificates(path).map_err(at("credentials.ca_cert"))?,
                None => Vec::new(),
            },
        }),
    }
}

/// What can be said of credentials without asking an upstream, and without running a command.
pub fn check(credentials: &Credentials) -> Result<(), CredentialError> {
    match credentials {
        Credentials::ClientCert { .. } => identity(credentials).map(drop),
        _ => Ok(()),
    }
}

/// A certificate with its key, as TLS takes it: the client library panics over others.
fn client_certificate(cert: &Path, key: &Path) -> Result<ClientCert, CredentialError> {
    let chain = certificates(cert).map_err(at("credentials.cert"))?;
    let (private, der) = private_key(key).map_err(at("credentials.key"))?;
    let certificates = chain
        .iter()
        .map(|one| CertificateDer::from(one.der().to_vec()));
    let provider = rustls::crypto::ring::default_provider();
    let unusable = |why: String| CredentialError::UnusableCertificate { why };
    let signing = provider
        .key_provider
        .load_private_key(der)
        .map_err(|error| at("credentials.key")(unusable(format!("its key: {error}"))))?;
    let certified = CertifiedKey::new(certificates.collect(), signing);
    match certified.keys_match() {
        // Not every kind of key tells its public half.
        Ok(()) | Err(TlsError::InconsistentKeys(InconsistentKeys::Unknown)) => {}
        Err(TlsError::InconsistentKeys(_)) => {
            let cert = cert.to_owned();
            return Err(at("credentials.key")(CredentialError::OtherKey { cert }));
        }
        Err(TlsError::InvalidCertificate(CertificateError::Other(other))) => {
            let why = other.to_string();
            return Err(at("credentials.cert")(unusable(why)));
        }
        Err(error) => return Err(at("credentials.cert")(unusable(error.to_string()))),
    }
    Ok(ClientCert::new_with_certs(&chain, private))
}

/// All certificates of a PEM file, at least one.
pub fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, CredentialError> {
    let pem = read(path)?;
    let found: Vec<_> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if found.is_empty() {
        return Err(CredentialError::Pem {
            path: path.to_owned(),
            wanted: "certificate",
        });
    }
    Ok(found)
}

/// As both libraries have it.
fn private_key(
    path: &Path,
) -> Result<(PrivateKey<'static>, PrivateKeyDer<'static>), CredentialError> {
    let pem = read(path)?;
    let text = String::from_utf8_lossy(&pem);
    if text.contains("ENCRYPTED") {
        return Err(CredentialError::Encrypted {
            path: path.to_owned(),
        });
    }
    let missing = || CredentialError::Pem {
        path: path.to_owned(),
        wanted: "private key",
    };
    let key = PrivateKey::from_pem(&pem).map_err(|_| missing())?;
    let der = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| missing())?;
    Ok((key, der))
}

fn secret(source: &SecretSource) -> Result<Secret, CredentialError> {
    let printed = match source {
        SecretSource::Inline(secret) => return Ok(secret.clone()),
        SecretSource::File(path) => read(path)?,
        SecretSource::Command(command) => {
            let output = Command::new("/bin/sh")
                .arg("-c")
                .arg(command)
                .stdin(Stdio::null())
                .stderr(Stdio::inherit())
                .output()
                .map_err(|error| CredentialError::Command(error.to_string()))?;
            if !output.status.success() {
                return Err(CredentialError::Command(output.status.to_string()));
            }
            output.stdout
        }
    };
    let text = String::from_utf8(printed).map_err(|_| CredentialError::Characters {
        what: "a secret that is not UTF-8",
    })?;
    Ok(Secret::new(text.trim_end_matches(['\r', '\n'])))
}

fn read(path: &Path) -> Result<Vec<u8>, CredentialError> {
    regular_file::read(path).map_err(|source| CredentialError::Unreadable {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_what_the_command_prints_without_the_line_end() {
        let source = SecretSource::Command("echo s3cret".to_owned());
        assert_eq!(secret(&source).unwrap().expose(), "s3cret");
        let source = SecretSource::Command("exit 3".to_owned());
        assert_eq!(
            secret(&source).unwrap_err().to_string(),
            "the command that should print a secret failed: exit status: 3"
        );
    }

    #[test]
    fn a_header_cannot_be_split() {
        let credentials = Credentials::Bearer {
            token: SecretSource::Inline(Secret::new("a\r\nHost: evil")),
        };
        assert!(identity(&credentials).is_err());
    }
}
