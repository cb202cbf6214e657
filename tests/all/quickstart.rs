//! The quickstart of the README, in a copy of `fixtures`: it mirrors both committed upstreams
//! without an `init` before it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use pgp::composed::{Deserializable as _, SignedPublicKey};
use pgp::ser::Serialize as _;
use tempfile::TempDir;

use crate::kit::process::{Output, run};
use crate::kit::tree::{Tree, inodes};

pub const REPOSITORIES: [&str; 2] = ["apt", "rpm"];
const SIGNER: &str = "verified by 9D1F70AB8A02D54CF23639496D399708060D69B4 \
                      Tiny repositories (throw-away key) <tiny@example.org>";

/// A place like a fresh clone, as far as the quickstart is concerned.
pub struct Quickstart {
    dir: TempDir,
}

impl Quickstart {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        Tree::read(&fixtures).write_to(&dir.path().join("fixtures"));
        Self { dir }
    }

    /// The README's command. In outputs the clone reads `[clone]`.
    pub fn sync(&self) -> Output {
        let args = [
            "--config-dir",
            "fixtures/quickstart",
            "repo",
            "sync",
            "--all",
        ];
        let mut command = Command::new(env!("CARGO_BIN_EXE_chantal"));
        command.args(args).current_dir(self.dir.path()).env_clear();
        let mut output = Output::new(&args.join(" "), &run(command));
        let clone = self.dir.path().display().to_string();
        output.stdout = output.stdout.replace(&clone, "[clone]");
        output
    }

    /// `apt` or `rpm`.
    pub fn upstream(&self, format: &str) -> PathBuf {
        self.dir.path().join("fixtures/upstream").join(format)
    }

    pub fn published(&self, format: &str) -> PathBuf {
        let www = self.dir.path().join("target/quickstart/www");
        www.join(format!("tiny-{format}/latest"))
    }

    /// The public key of both upstreams, in armor.
    pub fn key(&self) -> String {
        fs::read_to_string(self.upstream("key.asc")).unwrap()
    }
}

/// What is published beside the upstream's files.
pub fn key_files(format: &str) -> &'static [&'static str] {
    match format {
        "apt" => &["tiny-apt-archive-key.gpg", "tiny-apt-archive-key.asc"],
        _ => &["RPM-GPG-KEY-tiny-rpm"],
    }
}

#[test]
fn it_mirrors_both_upstreams_and_a_second_run_changes_nothing() {
    let quickstart = Quickstart::new();
    quickstart.sync().succeeds().says(&format!(
        "\
tiny-apt: 2 packages (2 added, 0 removed), 9 requests, 5.24 KiB downloaded
  {SIGNER}
  published at [clone]/target/quickstart/www/tiny-apt/latest (13 files)
tiny-rpm: 2 packages (2 added, 0 removed), 9 requests, 15.91 KiB downloaded
  {SIGNER}
  published at [clone]/target/quickstart/www/tiny-rpm/latest (9 files)
2 of 2 repositories synced, 2 changed, 18 requests, 21.15 KiB downloaded
"
    ));
    for format in REPOSITORIES {
        let mut published = Tree::read(&quickstart.published(format));
        let (key, _) = SignedPublicKey::from_string(&quickstart.key()).unwrap();
        for file in key_files(format) {
            // gpg frames the packets of the committed key in its older way.
            let file_bytes = published.bytes(file);
            let (published_key, _) = SignedPublicKey::from_reader_single(file_bytes).unwrap();
            assert_eq!(
                published_key.primary_key.to_bytes().unwrap(),
                key.primary_key.to_bytes().unwrap()
            );
            assert_eq!(
                published_key.details.users[0].id.id(),
                key.details.users[0].id.id()
            );
            published.remove(file);
        }
        published.assert_same(&Tree::read(&quickstart.upstream(format)));
    }

    let before = REPOSITORIES.map(|format| inodes(&quickstart.published(format)));
    quickstart.sync().succeeds().says(
        "\
tiny-apt: unchanged, 2 packages, 1 request, 1.28 KiB downloaded
tiny-rpm: unchanged, 2 packages, 1 request, 1.96 KiB downloaded
2 of 2 repositories synced, 0 changed, 2 requests, 3.24 KiB downloaded
",
    );
    assert_eq!(
        REPOSITORIES.map(|format| inodes(&quickstart.published(format))),
        before
    );
}

#[test]
fn everything_it_makes_is_below_target() {
    let quickstart = Quickstart::new();
    let before = Tree::read(quickstart.dir.path());
    quickstart.sync().exits(0);
    let mut after = Tree::read(quickstart.dir.path());
    after.retain(|path| !path.starts_with("target/quickstart/"));
    after.assert_same(&before);
}
