//! The configuration that `chantal init` writes if there is none. A test loads it, so that it stays
//! valid.

use std::io::{self, Write};
use std::path::Path;

/// For `conf.d/global.yaml`: every setting at its default.
pub const EXAMPLE_GLOBAL: &str = include_str!("examples/global.yaml");
/// For `repos.d/example-debian.yaml`; disabled.
pub const EXAMPLE_APT: &str = include_str!("examples/example-debian.yaml");
/// For `repos.d/example-epel.yaml`; disabled.
pub const EXAMPLE_RPM: &str = include_str!("examples/example-epel.yaml");

/// Writes a configuration where there is none. `written` gets what was written, also when it fails.
pub fn write_examples(config_dir: &Path, written: &mut Vec<String>) -> io::Result<()> {
    if is_present(config_dir)? {
        return Ok(());
    }
    for (directory, name, text) in [
        ("conf.d", "global.yaml", EXAMPLE_GLOBAL),
        ("repos.d", "example-apt.yaml", EXAMPLE_APT),
        ("repos.d", "example-rpm.yaml", EXAMPLE_RPM),
    ] {
        let directory = config_dir.join(directory);
        fs_err::create_dir_all(&directory)?;
        let path = directory.join(name);
        let mut file = match fs_err::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
        {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            file => file?,
        };
        // Half an example would stay: the next run writes none where there is a configuration.
        if let Err(error) = file.write_all(text.as_bytes()) {
            let _ = fs_err::remove_file(&path);
            return Err(error);
        }
        written.push(path.display().to_string());
    }
    Ok(())
}

/// Whether there is any configuration below `config_dir`.
fn is_present(config_dir: &Path) -> io::Result<bool> {
    for directory in ["conf.d", "repos.d"] {
        match fs_err::read_dir(config_dir.join(directory)) {
            Ok(entries) => {
                if entries.count() > 0 {
                    return Ok(true);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}
