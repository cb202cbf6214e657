//! The real binary, in a private directory with a configuration of its own.
//!
//! The directory holds `config/` (given as `--config-dir`), `data/` (`storage.base_path`) and
//! `www/` (published trees). In outputs it reads `[dir]`; addresses that were given to
//! [`Chantal::hide`] read as their names.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::key_files::key_files;
use super::keys::Key;
use super::process::{Output, run};
use super::server::Server;
use super::tree::Tree;
use super::upstream::{Body, Layout, Signing, Upstream};

/// What reading commands say where there is no storage.
pub const NO_STORAGE: &str = "warning: no storage in [dir]/data: is the file system mounted? `chantal init` creates a new storage\n";

/// What the first sync needs to make the storage.
const CREATE: &str = "config/conf.d/create.yaml";

/// A place to run chantal in; removed with everything in it when dropped.
pub struct Chantal {
    dir: TempDir,
    hidden: RefCell<Vec<(String, String)>>,
}

impl Chantal {
    /// With storage and logging configured, and no repository.
    pub fn new() -> Self {
        let chantal = Self {
            dir: tempfile::Builder::new()
                .prefix("chantal-")
                .tempdir()
                .unwrap(),
            hidden: RefCell::default(),
        };
        chantal.hide(&chantal.dir().display().to_string(), "[dir]");
        fs::create_dir_all(chantal.config().join("repos.d")).unwrap();
        chantal.global("storage:\n  base_path: ../../data\n");
        chantal.create_on_sync();
        chantal
    }

    /// With a storage that `init` made, as it is on a machine that keeps it.
    pub fn with_storage() -> Self {
        let chantal = Self::new();
        chantal.never_create();
        chantal.run(&["init"]).exits(0);
        chantal
    }

    /// The first sync makes the storage, whatever [`Self::global`] says: a file of its own, before
    /// that one.
    fn create_on_sync(&self) {
        self.write(CREATE, "storage:\n  create: true\n");
    }

    /// As it is by default: only `init` makes the storage.
    pub fn never_create(&self) {
        fs::remove_file(self.dir().join(CREATE)).unwrap();
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// `--config-dir`.
    pub fn config(&self) -> PathBuf {
        self.dir().join("config")
    }

    /// `storage.base_path`.
    pub fn data(&self) -> PathBuf {
        self.dir().join("data")
    }

    /// `publish.latest_path` of repositories made by [`Repository::of`].
    pub fn published(&self, repository: &str) -> PathBuf {
        self.dir().join("www").join(repository).join("latest")
    }

    pub fn published_tree(&self, repository: &str) -> Tree {
        Tree::read(&self.published(repository))
    }

    /// Writes `conf.d/global.yaml` anew.
    pub fn global(&self, yaml: &str) {
        self.write("config/conf.d/global.yaml", yaml);
    }

    /// Sets `storage.pool_path`, whatever [`Self::global`] says.
    pub fn use_pool(&self, pool: &Path) {
        let yaml = format!("storage:\n  pool_path: {}\n", pool.display());
        self.write("config/conf.d/pool.yaml", &yaml);
    }

    /// Writes `repos.d/<name>.yaml`, and its key files beside it.
    pub fn repository(&self, repository: &Repository) {
        let name = &repository.name;
        if !repository.armored_keys.is_empty() {
            let keys = &repository.armored_keys;
            self.write(&format!("config/repos.d/{name}.asc"), keys);
        }
        self.write(&format!("config/repos.d/{name}.yaml"), &repository.yaml());
    }

    /// A file of the private directory, for configuration that has no builder.
    pub fn write(&self, path: &str, text: &str) -> PathBuf {
        let path = self.dir().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        // It may hold a secret.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// From now on outputs show `name` in place of `text`.
    pub fn hide(&self, text: &str, name: &str) {
        let mut hidden = self.hidden.borrow_mut();
        hidden.push((text.to_owned(), name.to_owned()));
    }

    /// Outputs show `[server]` in place of the server's `http://127.0.0.1:PORT`.
    pub fn hide_server(&self, server: &Server) {
        self.hide(&server.url(), "[server]");
    }

    /// Text with everything hidden that was given to [`Chantal::hide`].
    pub fn shown(&self, text: &str) -> String {
        let hidden = self.hidden.borrow();
        hidden.iter().fold(text.to_owned(), |text, (hidden, name)| {
            text.replace(hidden, name)
        })
    }

    #[must_use = "nothing is asserted yet"]
    pub fn run(&self, args: &[&str]) -> Output {
        self.run_with_env(args, &[])
    }

    #[must_use = "nothing is asserted yet"]
    pub fn run_with_env(&self, args: &[&str], env: &[(&str, &str)]) -> Output {
        let mut command = self.command(args);
        command.envs(env.iter().copied());
        self.finish(args, &run(command))
    }

    /// Where /etc/fstab is another file. `None` where that cannot be arranged.
    pub fn run_with_fstab(&self, args: &[&str], fstab: &Path) -> Option<Output> {
        let script = "mount --bind \"$0\" /etc/fstab || exit 99; exec \"$@\"";
        let inner = self.command(args);
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script]).arg(fstab);
        command.arg(inner.get_program()).args(inner.get_args());
        command.current_dir(self.dir()).stdin(Stdio::null());
        let output = run(command);
        let is_arranged = output
            .status
            .code()
            .is_some_and(|code| code != 99 && code != 127);
        let is_allowed = !String::from_utf8_lossy(&output.stderr).starts_with("unshare: ");
        (is_arranged && is_allowed).then(|| self.finish(args, &output))
    }

    /// In the background, for tests that kill it or look at what happens meanwhile.
    pub fn spawn(&self, args: &[&str]) -> Running<'_> {
        Running {
            chantal: self,
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            child: Some(self.command(args).spawn().unwrap()),
        }
    }

    /// The binary with this configuration and nothing of the machine's: no proxies, no home, one
    /// language.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chantal"));
        command
            .arg("--config-dir")
            .arg(self.config())
            .args(args)
            .current_dir(self.dir())
            .env_clear()
            .env("LANG", "C")
            .env("TZ", "UTC")
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.dir())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn finish(&self, args: &[&str], output: &std::process::Output) -> Output {
        let mut output = Output::new(&format!("chantal {}", args.join(" ")), output);
        output.stdout = self.shown(&output.stdout);
        output.stderr = self.shown(&output.stderr);
        output
    }
}

/// A repository's definition.
#[derive(Clone, Debug)]
pub struct Repository {
    pub name: String,
    kind: &'static str,
    url: String,
    /// Lines of the format's own section.
    format: Vec<String>,
    /// What is trusted, each in binary form.
    keys: Vec<Vec<u8>>,
    armored_keys: String,
    publish: bool,
    /// Further lines of `publish`.
    publish_lines: String,
    key_name: Option<String>,
    /// Further top-level YAML.
    more: String,
}

impl Repository {
    /// For everything that `upstream` has, checked with the key that signs it, published in
    /// `www/NAME/latest`.
    pub fn of(name: &str, upstream: &Upstream, url: &str) -> Self {
        let mut repository = Self {
            name: name.to_owned(),
            kind: upstream.kind(),
            url: url.to_owned(),
            format: Vec::new(),
            keys: Vec::new(),
            armored_keys: String::new(),
            publish: true,
            publish_lines: String::new(),
            key_name: None,
            more: String::new(),
        };
        if let Layout::Deb(deb) = &upstream.layout {
            match &deb.flat {
                Some(flat) => repository = repository.format(&format!("distribution: {flat}")),
                None => {
                    repository = repository
                        .format(&format!("distribution: {}", deb.suite))
                        .format(&format!("components: [{}]", deb.components.join(", ")));
                }
            }
            let architectures = deb.architectures.join(", ");
            repository = repository.format(&format!("architectures: [{architectures}]"));
        }
        let mut repository = match upstream.signing {
            Signing::By(key) => repository.trusting(key),
            Signing::Unsigned => repository.unsigned(),
        };
        let has_raw = || {
            let mut packages = upstream.packages.iter();
            packages.any(|package| matches!(package.body, Body::Raw(_)))
        };
        if repository.kind == "rpm" && has_raw() {
            // There is no signature in what is no package.
            repository = repository.format("gpgcheck: false");
        }
        repository
    }

    /// With another `upstream.url`.
    pub fn at(mut self, url: &str) -> Self {
        url.clone_into(&mut self.url);
        self
    }

    /// Without an upstream: imports of media fill it.
    pub fn filled_by_media(self) -> Self {
        self.at("media")
    }

    /// A line of the `apt` or `rpm` section. A key given again replaces the earlier line.
    pub fn format(mut self, line: &str) -> Self {
        let key = |line: &str| line.split(':').next().unwrap().to_owned();
        self.format.retain(|old| key(old) != key(line));
        self.format.push(line.to_owned());
        self
    }

    pub fn trusting(self, key: &Key) -> Self {
        self.trusting_all(&[key])
    }

    /// With all of these keys in one file.
    pub fn trusting_all(mut self, keys: &[&Key]) -> Self {
        self.keys = keys.iter().map(|key| key.public_binary()).collect();
        self.armored_keys = keys.iter().map(|key| key.public_armored()).collect();
        let line = format!("gpgkey_file: {}.asc", self.name);
        self.checking("true").format(&line)
    }

    /// Checks no signature.
    pub fn unsigned(mut self) -> Self {
        self.keys.clear();
        self.armored_keys.clear();
        self.format.retain(|line| !line.starts_with("gpgkey_file:"));
        self.checking("false")
    }

    /// Roots and, of an rpm repository, packages.
    fn checking(mut self, check: &str) -> Self {
        if self.kind == "rpm" {
            self = self.format(&format!("repo_gpgcheck: {check}"));
        }
        self.format(&format!("gpgcheck: {check}"))
    }

    /// Without `latest_path`.
    pub fn unpublished(mut self) -> Self {
        self.publish = false;
        self
    }

    /// `publish.keep`.
    pub fn keep(mut self, duration: &str) -> Self {
        writeln!(self.publish_lines, "  keep: {duration}").unwrap();
        self
    }

    /// `publish.key_name`.
    pub fn key_name(mut self, name: &str) -> Self {
        writeln!(self.publish_lines, "  key_name: {name}").unwrap();
        self.key_name = Some(name.to_owned());
        self
    }

    /// What is published beside the upstream's files: the keys of [`Self::trusting`].
    pub fn key_files(&self) -> Tree {
        let usual = match self.kind {
            "apt" => format!("{}-archive-key", self.name),
            _ => format!("RPM-GPG-KEY-{}", self.name),
        };
        let name = self.key_name.as_deref().unwrap_or(&usual);
        key_files(self.kind, name, &self.keys)
    }

    /// Top-level YAML of any kind: `credentials:\n  type: bearer\n`.
    pub fn more(mut self, yaml: &str) -> Self {
        self.more.push_str(yaml);
        self
    }

    fn yaml(&self) -> String {
        let (name, kind) = (&self.name, self.kind);
        let url = match self.url.as_str() {
            "media" => "media: true".to_owned(),
            url => format!("url: {url}"),
        };
        let mut yaml = format!("name: {name}\ntype: {kind}\nupstream:\n  {url}\n");
        writeln!(yaml, "{kind}:").unwrap();
        for line in &self.format {
            writeln!(yaml, "  {line}").unwrap();
        }
        if self.publish {
            let path = format!("../../www/{name}/latest");
            writeln!(yaml, "publish:\n  latest_path: {path}").unwrap();
            yaml += &self.publish_lines;
        }
        yaml + &self.more
    }
}

/// A run in the background; killed when dropped.
pub struct Running<'a> {
    chantal: &'a Chantal,
    args: Vec<String>,
    child: Option<Child>,
}

impl Running<'_> {
    /// SIGKILL, and waits for the end.
    pub fn kill(mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        let status = child.wait().unwrap();
        assert_eq!(
            status.signal(),
            Some(9),
            "ended before it was killed: {status}"
        );
    }

    /// SIGINT, as Ctrl-C sends it.
    pub fn interrupt(&self) {
        let id = self.child.as_ref().unwrap().id();
        let id = rustix::process::Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
        rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
        // A signal that was sent may still be on its way: only what was taken has an effect on what
        // comes next.
        let status = format!("/proc/{}/status", id.as_raw_nonzero());
        while fs::read_to_string(&status).is_ok_and(|status| is_pending(&status)) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub fn is_running(&mut self) -> bool {
        let child = self.child.as_mut().unwrap();
        child.try_wait().unwrap().is_none()
    }

    #[must_use = "nothing is asserted yet"]
    pub fn wait(mut self) -> Output {
        let child = self.child.take().unwrap();
        let args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        self.chantal
            .finish(&args, &child.wait_with_output().unwrap())
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// Whether a process has a SIGINT that none of its threads has taken yet, by its
/// `/proc/<pid>/status`.
fn is_pending(status: &str) -> bool {
    let pending = status
        .lines()
        .find_map(|line| line.strip_prefix("ShdPnd:"))
        .map(|mask| u64::from_str_radix(mask.trim(), 16).unwrap());
    let is_dead = status.contains("\nState:\tZ");
    // The bit of signal 2.
    !is_dead && pending.is_some_and(|mask| mask & 0b10 != 0)
}
