//! `chantal config keygen`.

use crate::cli::{ConfigKeygen, KeyType};
use crate::commands::Context;
use crate::config::absolute;
use crate::error::Error;
use crate::openpgp::SigningKeyKind;
use crate::output::fields;
use crate::report::GeneratedSigningKey;
use crate::signing_key::NewKeyPaths;

pub fn keygen(context: &Context<'_>, arguments: &ConfigKeygen) -> Result<(), Error> {
    if let Some(signing) = &context.config.signing {
        return Err(Error::Usage(format!(
            "signing.key_file is already set to {}: clients trust this key; remove it from the \
             configuration first",
            signing.key_file.display()
        )));
    }
    let paths = NewKeyPaths::unused(context.config_dir)?;
    let user_id = arguments.user_id.clone().unwrap_or_else(default_user_id);
    let passphrase_file = arguments.passphrase_file.as_deref();
    let passphrase_file = passphrase_file.map(absolute).transpose()?;
    let (kind, algorithm) = match arguments.key_type {
        KeyType::Ed25519 => (SigningKeyKind::Ed25519, "ed25519"),
        KeyType::Rsa4096 => (SigningKeyKind::Rsa4096, "rsa4096"),
    };
    let key = paths.generate(kind, &user_id, passphrase_file.as_deref())?;
    let generated_key = GeneratedSigningKey {
        fingerprint: key.fingerprint(),
        user_id,
        algorithm,
        secret_key: paths.secret,
        public_key: paths.public,
        passphrase_file,
        configured_in: paths.configuration,
    };
    context.output.result(&generated_key, describe)?;
    Ok(())
}

fn describe(generated_key: &GeneratedSigningKey) -> String {
    let passphrase = match &generated_key.passphrase_file {
        Some(path) => format!("the first line of {}", path.display()),
        None => "none: anyone who can read the secret key can sign".to_owned(),
    };
    let text = fields(&[
        ("fingerprint", generated_key.fingerprint.clone()),
        ("user id", generated_key.user_id.clone()),
        ("secret key", generated_key.secret_key.display().to_string()),
        ("passphrase", passphrase),
        ("public key", generated_key.public_key.display().to_string()),
        (
            "configured in",
            generated_key.configured_in.display().to_string(),
        ),
    ]);
    text + "next: back up the secret key (it cannot be replaced), and install the public key on the \
            clients"
}

/// The user ID should show later what the key was generated for.
fn default_user_id() -> String {
    let system = rustix::system::uname();
    let host = system.nodename().to_string_lossy();
    let host: String = host.chars().filter(|c| !c.is_control()).collect();
    if host.is_empty() {
        "chantal mirror".to_owned()
    } else {
        format!("chantal mirror ({host})")
    }
}
