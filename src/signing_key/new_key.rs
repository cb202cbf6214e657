//! Generates a signing key and configures it.
//!
//! The configuration is written last, so that an interrupted run never configures an incomplete
//! key. A run that fails removes the files it created, and existing files are never overwritten.

use std::fs::Permissions;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::configured::{KeyFileError, read_passphrase};
use crate::openpgp::{GenerateError, SigningKey, SigningKeyKind};
use crate::time;

/// Readable only by the user who runs chantal.
const SECRET: u32 = 0o600;
/// Readable by all users, independent of the umask.
const PUBLIC: u32 = 0o644;
const DIRECTORY: u32 = 0o755;

#[derive(Debug, thiserror::Error)]
pub enum NewKeyError {
    #[error("{} already exists and is not overwritten: {advice}", path.display())]
    Exists { path: PathBuf, advice: &'static str },
    #[error("cannot write the path {} into the configuration: not UTF-8", path.display())]
    NotUtf8 { path: PathBuf },
    #[error("cannot create {}: {source}", path.display())]
    Create { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Passphrase(#[from] KeyFileError),
    #[error(transparent)]
    Generate(#[from] GenerateError),
}

/// The paths of the new files.
#[derive(Clone, Debug)]
pub struct NewKeyPaths {
    pub secret: PathBuf,
    pub public: PathBuf,
    pub configuration: PathBuf,
}

impl NewKeyPaths {
    /// The paths below the configuration directory; an error if one of them exists.
    pub fn unused(config_dir: &Path) -> Result<Self, NewKeyError> {
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
            let path = path.clone();
            // A dangling symbolic link counts as existing, too.
            match std::fs::symlink_metadata(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(NewKeyError::Create { path, source }),
                Ok(_) => return Err(NewKeyError::Exists { path, advice }),
            }
        }
        Ok(paths)
    }

    /// Generates a key, writes its files, and configures it. The passphrase is the first line of
    /// its file. Returns the key.
    pub fn generate(
        &self,
        kind: SigningKeyKind,
        user_id: &str,
        passphrase_file: Option<&Path>,
    ) -> Result<SigningKey, NewKeyError> {
        let passphrase = passphrase_file.map(read_passphrase).transpose()?;
        let configuration = configuration(passphrase_file)?;
        let generated = SigningKey::generate(kind, user_id, passphrase.as_deref(), time::now())?;
        let public = generated.key.public().to_armored();

        let mut written = NewFiles::default();
        written.file(&self.secret, &generated.secret_armored, SECRET)?;
        written.file(&self.public, &public, PUBLIC)?;
        written.file(&self.configuration, &configuration, PUBLIC)?;
        written.keep();
        Ok(generated.key)
    }
}

fn configuration(passphrase_file: Option<&Path>) -> Result<String, NewKeyError> {
    let mut text = "# Written by `chantal config keygen`.\n\
                    signing:\n  \
                    key_file: ../keys/signing.sec.asc\n"
        .to_owned();
    if let Some(path) = passphrase_file {
        let path = path.to_str().ok_or_else(|| NewKeyError::NotUtf8 {
            path: path.to_owned(),
        })?;
        // Every JSON string is also a YAML string.
        let quoted = serde_json::Value::from(path);
        text += &format!("  passphrase_file: {quoted}\n");
    }
    Ok(text)
}

/// The files that this run has created so far. They are removed on drop.
#[derive(Default)]
struct NewFiles {
    files: Vec<PathBuf>,
    directories: Vec<PathBuf>,
}

impl NewFiles {
    /// Creates a file atomically.
    fn file(&mut self, path: &Path, text: &str, mode: u32) -> Result<(), NewKeyError> {
        self.try_file(path, text, mode)
            .map_err(|source| NewKeyError::Create {
                path: path.to_owned(),
                source,
            })
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
