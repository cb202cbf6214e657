//! The marker file: the id of the pool and the store that it belongs to.
//!
//! ```text
//! chantal pool, layout 1
//! 9f86d081884c7d659a2feaa0c55ad015          the pool's id
//! store 60303ae22b998861bce3b28f33eec1be    the store that it belongs to, with its details
//! at /var/lib/chantal/chantal.redb
//! host mirror1
//! generation 7                              the generation of the store
//! last used 2026-11-26T19:23:19Z            to the hour
//! ```
//!
//! It is replaced atomically, and durable before anything relies on it. Versions of chantal that
//! know only the first two lines ignore the rest.

use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::regular_file::{self, is_absent};
use crate::time;

use super::error::PoolError;
use super::layout::{LAYOUT, MARKER, UNFINISHED_MARKER};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    pub pool: String,
    /// `None`: no store has taken ownership of the pool yet.
    pub owner: Option<Owner>,
}

/// The store that a pool belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its id.
    pub store: String,
    /// The path of its file when it was last used.
    pub at: PathBuf,
    pub host: String,
    /// A store with a lower generation was restored from a backup: it does not know which objects
    /// were removed since.
    pub generation: u64,
    /// Seconds since the epoch.
    pub last_used: i64,
}

impl Marker {
    /// Reads the marker of a pool; `None` if there is none.
    pub fn read(root: &Path) -> Result<Option<Self>, PoolError> {
        let path = root.join(MARKER);
        let bytes = match regular_file::read(&path) {
            Err(error) if is_absent(&error) => {
                return Ok(None);
            }
            bytes => bytes.map_err(regular_file::named(&path))?,
        };
        Self::parse(root, &String::from_utf8_lossy(&bytes)).map(Some)
    }

    /// The id of the store that the pool belongs to; the pool's own id if there is no owner yet.
    pub fn id(&self) -> &str {
        self.owner.as_ref().map_or(&self.pool, |owner| &owner.store)
    }

    fn parse(root: &Path, text: &str) -> Result<Self, PoolError> {
        let mut lines = text.lines();
        let layout = lines.next().unwrap_or_default();
        if layout != LAYOUT {
            return Err(PoolError::Layout {
                path: root.to_owned(),
                got: layout.to_owned(),
            });
        }
        let pool = lines.next().unwrap_or_default().to_owned();
        // Lines that a later version added are ignored.
        let value = |name: &str| {
            text.lines()
                .skip(2)
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
        };
        let Some(store) = value("store") else {
            return Ok(Self { pool, owner: None });
        };
        let missing = |line: &'static str| PoolError::MarkerLine {
            path: root.to_owned(),
            line,
        };
        let number = |text: &str| text.parse().ok();
        let owner = Owner {
            store: store.to_owned(),
            at: value("at").ok_or_else(|| missing("at"))?.into(),
            host: value("host").ok_or_else(|| missing("host"))?.to_owned(),
            generation: value("generation")
                .and_then(number)
                .ok_or_else(|| missing("generation"))?,
            last_used: value("last used")
                .and_then(|text| text.parse::<jiff::Timestamp>().ok())
                .ok_or_else(|| missing("last used"))?
                .as_second(),
        };
        Ok(Self {
            pool,
            owner: Some(owner),
        })
    }

    fn text(&self) -> String {
        let mut text = format!("{LAYOUT}\n{}\n", self.pool);
        if let Some(owner) = &self.owner {
            text += &format!(
                "store {}\nat {}\nhost {}\ngeneration {}\nlast used {}\n",
                owner.store,
                // The marker has one line for the path.
                owner.at.display().to_string().replace('\n', " "),
                owner.host,
                owner.generation,
                time::rfc3339(owner.last_used)
            );
        }
        text
    }

    /// Replaces the marker.
    pub fn write(&self, root: &Path) -> io::Result<()> {
        let unfinished = root.join(UNFINISHED_MARKER);
        let mut file = fs::File::create(&unfinished)?;
        file.write_all(self.text().as_bytes())?;
        file.set_permissions(std::fs::Permissions::from_mode(0o444))?;
        file.sync_all()?;
        fs::rename(&unfinished, root.join(MARKER))?;
        fs::File::open(root)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut marker = Marker {
            pool: "0123".to_owned(),
            owner: None,
        };
        assert_eq!(Marker::read(dir.path()).unwrap(), None);
        for owner in [
            None,
            Some(Owner {
                store: "4567".to_owned(),
                at: "/var/lib/with blanks/chantal.redb".into(),
                host: "mirror1".to_owned(),
                generation: 7,
                last_used: 1_795_418_197,
            }),
        ] {
            marker.owner = owner;
            marker.write(dir.path()).unwrap();
            assert_eq!(Marker::read(dir.path()).unwrap().as_ref(), Some(&marker));
        }
        let text = marker.text();
        for line in text.lines().skip(3) {
            let damaged = text.replace(line, "");
            let error = Marker::parse(dir.path(), &damaged).unwrap_err();
            assert!(matches!(error, PoolError::MarkerLine { .. }), "{error}");
        }
        let later = Marker::parse(dir.path(), &format!("{text}colour blue\n"));
        assert_eq!(later.unwrap(), marker);
    }
}
