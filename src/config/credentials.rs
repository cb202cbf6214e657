//! `credentials`: which keys belong to which type, and exactly one source for each secret.

use super::location::UpstreamUrl;
use super::resolved::Credentials;
use super::scope::Scope;
use super::secret::{Secret, SecretSource};
use super::written::{self, CredentialsType};

pub fn resolve(
    written: written::Credentials,
    upstream: Option<&UpstreamUrl>,
    scope: &mut Scope<'_>,
) -> Option<Credentials> {
    let kind = written.kind.unwrap_or(CredentialsType::None);
    reject_keys_of_other_types(&written, kind, scope);
    check_upstream(kind, upstream, scope);
    match kind {
        CredentialsType::None => Some(Credentials::None),
        CredentialsType::Basic => {
            let username = username(written.username, scope);
            let password = WrittenSecret {
                key: "password",
                inline: written.password,
                file: written.password_file,
                command: written.password_command,
            }
            .resolve("password, password_file and password_command", scope);
            Some(Credentials::Basic {
                username: username?,
                password: password?,
            })
        }
        CredentialsType::Bearer => {
            let token = WrittenSecret {
                key: "token",
                inline: written.token,
                file: written.token_file,
                command: written.token_command,
            }
            .resolve("token, token_file and token_command", scope);
            Some(Credentials::Bearer { token: token? })
        }
        CredentialsType::Header => {
            let name = header_name(written.name, scope);
            let value = WrittenSecret {
                key: "value",
                inline: written.value,
                file: written.value_file,
                command: None,
            }
            .resolve("value and value_file", scope);
            Some(Credentials::Header {
                name: name?,
                value: value?,
            })
        }
        CredentialsType::ClientCert => {
            let cert = required("credentials.cert", written.cert, scope);
            let key = required("credentials.key", written.key, scope);
            let cert = scope.path("credentials.cert", cert.as_deref());
            let key = scope.path("credentials.key", key.as_deref());
            Some(Credentials::ClientCert {
                ca_cert: scope.path("credentials.ca_cert", written.ca_cert.as_deref()),
                cert: cert?,
                key: key?,
            })
        }
        CredentialsType::SubscriptionManager => {
            scope.reject_unsupported(&[("credentials.type: subscription_manager", true)]);
            None
        }
    }
}

fn reject_keys_of_other_types(
    written: &written::Credentials,
    kind: CredentialsType,
    scope: &mut Scope<'_>,
) {
    use CredentialsType::{Basic, Bearer, ClientCert, Header};
    for (key, owner, is_set) in [
        ("username", Basic, written.username.is_some()),
        ("password", Basic, written.password.is_some()),
        ("password_file", Basic, written.password_file.is_some()),
        (
            "password_command",
            Basic,
            written.password_command.is_some(),
        ),
        ("token", Bearer, written.token.is_some()),
        ("token_file", Bearer, written.token_file.is_some()),
        ("token_command", Bearer, written.token_command.is_some()),
        ("name", Header, written.name.is_some()),
        ("value", Header, written.value.is_some()),
        ("value_file", Header, written.value_file.is_some()),
        ("cert", ClientCert, written.cert.is_some()),
        ("key", ClientCert, written.key.is_some()),
        ("ca_cert", ClientCert, written.ca_cert.is_some()),
    ] {
        if is_set && owner != kind {
            scope.reject(
                &format!("credentials.{key}"),
                format!(
                    "requires credentials.type {}, but the type is {}",
                    owner.name(),
                    kind.name()
                ),
            );
        }
    }
}

/// Credentials are sent to the host of the upstream: there must be one, and the connection should
/// be encrypted.
fn check_upstream(kind: CredentialsType, upstream: Option<&UpstreamUrl>, scope: &mut Scope<'_>) {
    const KEY: &str = "credentials.type";
    match upstream {
        _ if kind == CredentialsType::None => {}
        Some(UpstreamUrl::File(_)) => {
            scope.reject(KEY, "credentials cannot be used with a local upstream");
        }
        Some(UpstreamUrl::Media) => {
            scope.reject(KEY, "credentials cannot be used with upstream.media");
        }
        Some(UpstreamUrl::Http(url)) if url.is_plain_http() => {
            if kind == CredentialsType::ClientCert {
                scope.reject(KEY, "a client certificate requires an https upstream");
            } else {
                scope.warn(
                    KEY,
                    "the upstream uses plain http: the credentials could be intercepted in transit",
                );
            }
        }
        Some(UpstreamUrl::Http(_)) | None => {}
    }
}

fn required(key: &str, written: Option<String>, scope: &mut Scope<'_>) -> Option<String> {
    if written.is_none() {
        scope.reject(key, "is missing");
    }
    written
}

fn username(written: Option<String>, scope: &mut Scope<'_>) -> Option<String> {
    const KEY: &str = "credentials.username";
    let username = required(KEY, written, scope)?;
    // RFC 7617: the first colon ends the user name.
    if username.contains(':') || username.contains(char::is_control) {
        scope.reject(KEY, "cannot contain `:` or control characters");
        return None;
    }
    Some(username)
}

fn header_name(written: Option<String>, scope: &mut Scope<'_>) -> Option<String> {
    const KEY: &str = "credentials.name";
    let name = required(KEY, written, scope)?;
    // RFC 9110, 5.6.2: a token.
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.is_empty() || !name.chars().all(is_token) {
        scope.reject(KEY, format!("{name:?} is not a valid header name"));
        return None;
    }
    Some(name)
}

struct WrittenSecret {
    key: &'static str,
    inline: Option<Secret>,
    file: Option<String>,
    command: Option<String>,
}

impl WrittenSecret {
    /// `alternatives` lists the keys that can set this secret, for messages.
    fn resolve(self, alternatives: &str, scope: &mut Scope<'_>) -> Option<SecretSource> {
        let key = format!("credentials.{}", self.key);
        match (self.inline, self.file, self.command) {
            (Some(secret), None, None) => inline(&key, &secret, scope),
            (None, Some(file), None) => scope
                .path(&format!("{key}_file"), Some(&file))
                .map(SecretSource::File),
            (None, None, Some(command)) => Some(SecretSource::Command(command)),
            (None, None, None) => {
                scope.reject(&key, format!("is missing: set one of {alternatives}"));
                None
            }
            _ => {
                scope.reject(&key, format!("only one of {alternatives} can be set"));
                None
            }
        }
    }
}

fn inline(key: &str, written: &Secret, scope: &mut Scope<'_>) -> Option<SecretSource> {
    let secret = scope.secret(key, written)?;
    // An empty variable is more likely a mistake than a password.
    if secret.expose().is_empty() {
        scope.reject(key, "is empty");
        return None;
    }
    // It becomes part of a header, which must not contain line breaks.
    if secret.expose().contains(char::is_control) {
        scope.reject(key, "contains a control character");
        return None;
    }
    scope.warn_if_others_can_read(key, "is a secret", written);
    Some(SecretSource::Inline(secret))
}
