//! The real gpg, in a home of its own that ends with its agent.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

pub struct Gpg {
    home: TempDir,
}

impl Gpg {
    /// `None` when it is not installed.
    pub fn new() -> Option<Self> {
        if Command::new("gpg").arg("--version").output().is_err() {
            assert!(
                std::env::var_os("CHANTAL_REQUIRE_CLIENTS").is_none_or(|value| value != "1"),
                "gpg is not installed"
            );
            eprintln!("gpg is not installed: what it makes of keys is not tested");
            return None;
        }
        Some(Self {
            home: tempfile::tempdir().unwrap(),
        })
    }

    pub fn path(&self) -> &Path {
        self.home.path()
    }

    pub fn run(&self, passphrase: &str, arguments: &[&str], input: &[u8]) -> Output {
        let mut child = Command::new("gpg")
            .args([
                "--batch",
                "--quiet",
                "--no-tty",
                "--pinentry-mode",
                "loopback",
            ])
            .args(["--passphrase", passphrase, "--homedir"])
            .arg(self.path())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        child.wait_with_output().unwrap()
    }

    /// Its standard output; it must succeed.
    #[track_caller]
    pub fn output(&self, passphrase: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        let output = self.run(passphrase, arguments, input);
        assert!(
            output.status.success(),
            "gpg {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    }

    /// Makes a primary key for these purposes.
    pub fn make(&self, passphrase: &str, algorithm: &str, usage: &str, expires: &str) {
        let arguments = ["--quick-generate-key", USER_ID, algorithm, usage, expires];
        self.output(passphrase, &arguments, b"");
    }

    /// Adds a subkey to the only key.
    pub fn add(&self, passphrase: &str, algorithm: &str, usage: &str) {
        let fingerprint = self.fingerprints().remove(0);
        let arguments = ["--quick-add-key", &fingerprint, algorithm, usage, "never"];
        self.output(passphrase, &arguments, b"");
    }

    /// Of the primary key, then of its subkeys.
    pub fn fingerprints(&self) -> Vec<String> {
        let list = self.output("", &["--with-colons", "--list-keys"], b"");
        let list = String::from_utf8(list).unwrap();
        list.lines()
            .filter_map(|line| line.strip_prefix("fpr:::::::::"))
            .map(|rest| rest.trim_end_matches(':').to_owned())
            .collect()
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        let mut command = Command::new("gpgconf");
        command.arg("--homedir").arg(self.path());
        let _gone = command.args(["--kill", "gpg-agent"]).output();
    }
}

pub const USER_ID: &str = "Mirror <mirror@example.org>";
