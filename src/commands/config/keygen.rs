//! `chantal config keygen`.
//!
//! The configuration is written last, so that an interrupted run never configures an incomplete
//! key. A run that fails removes the files it created, and existing files are never overwritten.

use std::fs::Permissions;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::cli::{ConfigKeygen, KeyType};
use crate::commands::Context;
use crate::config::absolute;
use crate::error::Error;
use crate::openpgp::{GenerateError, SigningKey, SigningKeyKind};
use crate::output::fields;
use crate::report::GeneratedSigningKey;
use crate::signing_key::read_passphrase;
use crate::time;

/// Readable only by the user who runs chantal.
const SECRET: u32 = 0o600;
/// Readable by all users, independent of the umask.
const PUBLIC: u32 = 0o644;
const DIRECTORY: u32 = 0o755;

/// The paths of the new files.
struct KeyPaths {
    secret: PathBuf,
    public: PathBuf,
    configuration: PathBuf,
}

pub fn keygen(context: &Context<'_>, arguments: &ConfigKeygen) -> Result<(), Error> {
    if let Some(signing) = &context.config.signing {
        return Err(Error::Usage(format!(
            "signing.key_file is already set to {}: clients trust this key; remove it from the \
             configuration first",
            signing.key_file.display()
        )));
    }
    let paths = KeyPaths::unused(context.config_dir)?;
    let user_id = arguments.user_id.clone().unwrap_or_else(default_user_id);
    let passphrase_file = match &arguments.passphrase_file {
        Some(path) => Some(absolute(path)?),
        None => None,
    };
    let passphrase = match &passphrase_file {
        Some(path) => Some(read_passphrase(path)?),
        None => None,
    };
    let configuration = configuration(passphrase_file.as_deref())?;
    let (kind, algorithm) = match arguments.key_type {
        KeyType::Ed25519 => (SigningKeyKind::Ed25519, "ed25519"),
        KeyType::Rsa4096 => (SigningKeyKind::Rsa4096, "rsa4096"),
    };
    let generated = SigningKey::generate(kind, &user_id, passphrase.as_deref(), time::now())
        .map_err(|error| match error {
            GenerateError::UserId => Error::Usage(format!("--user-id: {error}")),
            GenerateError::Time { .. } | GenerateError::Failed => {
                Error::Io(io::Error::other(error))
            }
        })?;
    let public = generated.key.public().to_armored();

    let mut written = NewFiles::default();
    written.file(&paths.secret, &generated.secret_armored, SECRET)?;
    written.file(&paths.public, &public, PUBLIC)?;
    written.file(&paths.configuration, &configuration, PUBLIC)?;
    written.keep();

    let generated_key = GeneratedSigningKey {
        fingerprint: generated.key.fingerprint(),
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

impl KeyPaths {
    /// The paths below the configuration directory; an error if one of them exists.
    fn unused(config_dir: &Path) -> Result<Self, Error> {
        let paths = Self {
            secret: config_dir.join("keys/signing.sec.asc"),
            public: config_dir.join("keys/signing.pub.asc"),
            configuration: config_dir.join("conf.d/signing.yaml"),
        };
        for (path, advice) in [
            (
                &paths.secret,
                "set signing.key_file to it to use this key, or move it away",
            ),
            (&paths.public, "move it away"),
            (&paths.configuration, "move it away"),
        ] {
            // A dangling symbolic link counts as existing, too.
            match std::fs::symlink_metadata(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(create_error(path, &error)),
                Ok(_) => {
                    return Err(Error::Usage(format!(
                        "{} already exists and is not overwritten: {advice}",
                        path.display()
                    )));
                }
            }
        }
        Ok(paths)
    }
}

fn create_error(path: &Path, error: &io::Error) -> Error {
    Error::Io(io::Error::new(
        error.kind(),
        format!("cannot create {}: {error}", path.display()),
    ))
}

fn configuration(passphrase_file: Option<&Path>) -> Result<String, Error> {
    let mut text = "# Written by `chantal config keygen`.\n\
                    signing:\n  \
                    key_file: ../keys/signing.sec.asc\n"
        .to_owned();
    if let Some(path) = passphrase_file {
        let path = path.to_str().ok_or_else(|| {
            Error::Usage(format!(
                "cannot write the path {} into the configuration: not UTF-8",
                path.display()
            ))
        })?;
        // Every JSON string is also a YAML string.
        let quoted = serde_json::Value::from(path);
        text += &format!("  passphrase_file: {quoted}\n");
    }
    Ok(text)
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

/// The files that this run has created so far. They are removed on drop.
#[derive(Default)]
struct NewFiles {
    files: Vec<PathBuf>,
    directories: Vec<PathBuf>,
}

impl NewFiles {
    /// Creates a file atomically.
    fn file(&mut self, path: &Path, text: &str, mode: u32) -> Result<(), Error> {
        self.try_file(path, text, mode)
            .map_err(|error| create_error(path, &error))
    }

    fn try_file(&mut self, path: &Path, text: &str, mode: u32) -> io::Result<()> {
        let directory = path.parent().unwrap_or(Path::new("/"));
        match std::fs::create_dir(directory) {
            Ok(()) => {
                self.directories.push(directory.to_owned());
                std::fs::set_permissions(directory, Permissions::from_mode(DIRECTORY))?;
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        // Hidden, so that it is not read as configuration, and private until it is complete.
        let mut file = tempfile::Builder::new()
            .prefix(".signing-")
            .permissions(Permissions::from_mode(SECRET))
            .tempfile_in(directory)?;
        file.write_all(text.as_bytes())?;
        file.as_file()
            .set_permissions(Permissions::from_mode(mode))?;
        file.as_file().sync_all()?;
        file.persist_noclobber(path).map_err(|error| error.error)?;
        self.files.push(path.to_owned());
        std::fs::File::open(directory)?.sync_all()
    }

    fn keep(mut self) {
        self.files.clear();
        self.directories.clear();
    }
}

impl Drop for NewFiles {
    fn drop(&mut self) {
        for file in self.files.iter().rev() {
            let _ignored = std::fs::remove_file(file);
        }
        for directory in self.directories.iter().rev() {
            let _ignored = std::fs::remove_dir(directory);
        }
    }
}
