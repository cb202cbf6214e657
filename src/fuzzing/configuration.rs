//! The configuration. An input is a file of `conf.d`; the text after a line `%%` is a file of
//! `repos.d`.

use std::path::Path;

use super::Verdict;
use crate::config;

pub fn load(input: &[u8]) -> Verdict {
    thread_local! {
        // Creating directories takes longer than reading their files.
        static DIRECTORY: tempfile::TempDir = {
            let directory = tempfile::tempdir().expect("a temporary directory");
            for folder in ["conf.d", "repos.d"] {
                fs_err::create_dir(directory.path().join(folder)).expect("it is new");
            }
            directory
        };
    }
    DIRECTORY.with(|directory| load_from(directory.path(), input))
}

fn load_from(directory: &Path, input: &[u8]) -> Verdict {
    let separator = b"\n%%\n";
    let (global, repository) = input
        .windows(separator.len())
        .position(|window| window == separator)
        .map_or((input, None), |at| {
            (&input[..at], Some(&input[at + separator.len()..]))
        });
    let repository_file = directory.join("repos.d/repository.yaml");
    fs_err::write(directory.join("conf.d/global.yaml"), global).expect("a file is written");
    fs_err::write(&repository_file, repository.unwrap_or_default()).expect("a file is written");
    if repository.is_none() {
        fs_err::remove_file(&repository_file).expect("it was just written");
    }
    let loaded = match config::load(directory) {
        Ok(loaded) => loaded,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return Verdict::Refused;
        }
    };
    let storage = &loaded.config.storage;
    for path in [
        &storage.base_path,
        &storage.pool_path,
        &storage.cache_path,
        &storage.database_path,
    ] {
        check_absolute(path);
    }
    assert!(loaded.config.download.workers > 0);
    assert!(!loaded.config.download.timeout.is_zero());
    for repository in &loaded.config.repositories {
        let publish = &repository.publish;
        let paths = [&publish.latest_path, &publish.snapshots_path];
        paths
            .into_iter()
            .flatten()
            .for_each(|path| check_absolute(path));
        let _selected = crate::format::select(&repository.format, &repository.filters);
    }
    Verdict::Accepted
}

fn check_absolute(path: &Path) {
    use std::path::Component;
    assert!(path.is_absolute(), "{}", path.display());
    let is_plain = |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
    assert!(path.components().all(is_plain), "{}", path.display());
}
