//! The programs that mirrors are made for, cut off from the machine's configuration, keys and
//! repositories.
//!
//! A test starts with `let Some(apt) = Apt::find() else { return };`. A program that is not
//! installed skips the test and says so; with `CHANTAL_REQUIRE_CLIENTS=1` it fails it.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::keys::Key;
use super::process::{Output, run};

const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Whether a program is there; see above for what happens when not.
pub fn installed(program: &str) -> bool {
    if PATH
        .split(':')
        .any(|dir| Path::new(dir).join(program).exists())
    {
        return true;
    }
    skip(&format!("{program} is not installed"));
    false
}

fn skip(why: &str) {
    assert!(
        std::env::var_os("CHANTAL_REQUIRE_CLIENTS").is_none_or(|value| value != "1"),
        "{why}, and CHANTAL_REQUIRE_CLIENTS=1"
    );
    println!("skipped: {why}");
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Runs a program in `dir` with an environment of three variables.
#[must_use = "nothing is asserted yet"]
pub fn client(program: &str, args: &[&str], dir: &Path) -> Output {
    let output = run(command(program, args, dir));
    Output::new(&format!("{program} {}", args.join(" ")), &output)
}

fn command(program: &str, args: &[&str], dir: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .args(args)
        .current_dir(dir)
        .env_clear()
        .env("PATH", PATH)
        .env("LANG", "C.UTF-8")
        .env("HOME", dir);
    command
}

/// apt-get with directories of its own: no sources but the given ones, nothing installed, amd64.
pub struct Apt {
    dir: TempDir,
}

impl Apt {
    pub fn find() -> Option<Self> {
        if !installed("apt-get") {
            return None;
        }
        let apt = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        for dir in [
            "etc/sources.list.d",
            "etc/preferences.d",
            "etc/apt.conf.d",
            "etc/trusted.gpg.d",
            "state/lists/partial",
            "cache/archives/partial",
            "downloads",
        ] {
            fs::create_dir_all(apt.dir().join(dir)).unwrap();
        }
        fs::write(apt.dir().join("status"), "").unwrap();
        let dir = apt.dir().display();
        let config = format!(
            r#"Dir "{dir}";
Dir::State "{dir}/state";
Dir::State::status "{dir}/status";
Dir::Cache "{dir}/cache";
Dir::Etc "{dir}/etc";
Dir::Log "{dir}";
APT::Architecture "amd64";
APT::Architectures {{ "amd64"; }};
APT::Sandbox::User "root";
APT::Get::List-Cleanup "true";
Acquire::Languages "en";
Acquire::Retries "0";
Acquire::http::Proxy "DIRECT";
Acquire::https::Proxy "DIRECT";
Acquire::http::Timeout "20";
"#
        );
        fs::write(apt.dir().join("apt.conf"), config).unwrap();
        Some(apt)
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// `deb [signed-by=KEY] rest`: `apt.source(key, "http://127.0.0.1:1/ stable main")`.
    pub fn source(&self, key: &Key, rest: &str) {
        self.source_signed_by(key.public_armored().as_bytes(), "deb", rest);
    }

    /// With a keyring of any kind, `deb` or `deb-src`.
    pub fn source_signed_by(&self, keyring: &[u8], kind: &str, rest: &str) {
        // apt tells the two encodings apart by the name's end.
        let armored = keyring.starts_with(b"-----BEGIN");
        let end = if armored { "asc" } else { "gpg" };
        let keyring_path = self.dir().join(format!("keyring.{end}"));
        fs::write(&keyring_path, keyring).unwrap();
        let line = format!("{kind} [signed-by={}] {rest}\n", keyring_path.display());
        let list = self.dir().join("etc/sources.list.d/kit.list");
        let before = fs::read_to_string(&list).unwrap_or_default();
        fs::write(&list, before + &line).unwrap();
    }

    /// A line of apt.conf: `Acquire::Languages "none";`.
    pub fn config(&self, line: &str) {
        let path = self.dir().join("apt.conf");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{text}{line}\n")).unwrap();
    }

    /// `apt-get ARGS`; what it downloads lands in [`Apt::downloads`].
    #[must_use = "nothing is asserted yet"]
    pub fn get(&self, args: &[&str]) -> Output {
        self.program("apt-get", args)
    }

    /// `apt-cache ARGS`.
    #[must_use = "nothing is asserted yet"]
    pub fn cache(&self, args: &[&str]) -> Output {
        self.program("apt-cache", args)
    }

    pub fn downloads(&self) -> PathBuf {
        self.dir().join("downloads")
    }

    fn program(&self, program: &str, args: &[&str]) -> Output {
        let mut command = command(program, args, &self.downloads());
        command.env("APT_CONFIG", self.dir().join("apt.conf"));
        Output::new(&format!("{program} {}", args.join(" ")), &run(command))
    }
}

/// dnf with an empty install root and no repositories but the given ones; an unreachable one is an
/// error.
pub struct Dnf {
    dir: TempDir,
}

impl Dnf {
    pub fn find() -> Option<Self> {
        if !installed("dnf") {
            return None;
        }
        let dnf = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        for dir in ["root", "repos.d", "cache", "persist", "log", "downloads"] {
            fs::create_dir(dnf.dir().join(dir)).unwrap();
        }
        let config = "[main]\nskip_if_unavailable=False\nplugins=False\ntimeout=20\nretries=1\n";
        fs::write(dnf.dir().join("dnf.conf"), config).unwrap();
        Some(dnf)
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// With a `key`, in armor, repomd.xml must be signed by it.
    pub fn repository(&self, id: &str, url: &str, key: Option<&str>) {
        let key_url = key.map(|key| {
            let path = self.dir().join(format!("{id}.asc"));
            fs::write(&path, key).unwrap();
            format!("file://{}", path.display())
        });
        self.repository_with_key_at(id, url, key_url.as_deref());
    }

    /// With the `gpgkey` of this URL.
    pub fn repository_with_key_at(&self, id: &str, url: &str, key_url: Option<&str>) {
        let check = match key_url {
            None => "repo_gpgcheck=0\n".to_owned(),
            Some(key_url) => format!("repo_gpgcheck=1\ngpgkey={key_url}\n"),
        };
        let text = format!(
            "[{id}]\nname={id}\nbaseurl={url}\nenabled=1\ngpgcheck=0\nskip_if_unavailable=False\n{check}"
        );
        fs::write(self.dir().join(format!("repos.d/{id}.repo")), text).unwrap();
    }

    /// `dnf ARGS`, answering yes and saying little.
    #[must_use = "nothing is asserted yet"]
    pub fn run(&self, args: &[&str]) -> Output {
        let dir = self.dir().display();
        let common = [
            format!("--config={dir}/dnf.conf"),
            format!("--installroot={dir}/root"),
            // Given in the configuration these would be taken as below the install root.
            format!("--setopt=reposdir={dir}/repos.d"),
            format!("--setopt=cachedir={dir}/cache"),
            format!("--setopt=persistdir={dir}/persist"),
            format!("--setopt=logdir={dir}/log"),
            "--releasever=1".to_owned(),
            "--forcearch=x86_64".to_owned(),
            "--assumeyes".to_owned(),
            "--quiet".to_owned(),
        ];
        let common = common.iter().map(String::as_str);
        let args: Vec<&str> = common.chain(args.iter().copied()).collect();
        client("dnf", &args, self.dir())
    }

    /// `dnf install --downloadonly` into [`Dnf::downloads`]. dnf does that for root alone: for
    /// others `None`.
    #[must_use = "nothing is asserted yet"]
    pub fn download(&self, packages: &[&str]) -> Option<Output> {
        if !is_root() {
            skip("dnf install needs root");
            return None;
        }
        let target = format!("--downloaddir={}", self.downloads().display());
        let mut args = vec!["install", "--downloadonly", &target];
        args.extend(packages);
        Some(self.run(&args))
    }

    pub fn downloads(&self) -> PathBuf {
        self.dir().join("downloads")
    }
}

/// `gpgv` with a keyring of exactly these keys. `None` when it is not installed.
pub fn gpgv(keyring: &[u8], signed: &[u8], signature: Option<&[u8]>) -> Option<Output> {
    if !installed("gpgv") {
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("keyring.gpg"), keyring).unwrap();
    fs::write(dir.path().join("signed"), signed).unwrap();
    let mut args = vec!["--homedir", ".", "--keyring", "./keyring.gpg"];
    if let Some(signature) = signature {
        fs::write(dir.path().join("signature"), signature).unwrap();
        args.push("signature");
    }
    args.push("signed");
    Some(client("gpgv", &args, dir.path()))
}

/// What `rpmkeys -Kv` says of a package when it has this key and no other, and wants header and
/// payload covered by a good signature. `None` when it is not installed.
pub fn rpmkeys(key: &Key, package: &[u8]) -> Option<Output> {
    if !installed("rpmkeys") {
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("key"), key.public_armored()).unwrap();
    fs::write(dir.path().join("package"), package).unwrap();
    let database = format!("--dbpath={}/rpmdb", dir.path().display());
    client("rpmkeys", &[&database, "--import", "key"], dir.path()).succeeds();
    let level = "--define=_pkgverify_level signature";
    let args = [&database, level, "-Kv", "package"];
    Some(client("rpmkeys", &args, dir.path()))
}

/// What a script says that may `import rpm`, librpm in Python. `None` when it is not installed.
pub fn python_rpm(script: &str, dir: &Path) -> Option<Output> {
    python("rpm", script, dir)
}

/// What a script says that imports a module of Debian's Python, run in `dir`. `None` when it is not
/// installed.
pub fn python(module: &str, script: &str, dir: &Path) -> Option<Output> {
    if !installed("python3") {
        return None;
    }
    let there = client("python3", &["-c", &format!("import {module}")], dir);
    if !there.status.success() {
        skip(&format!("python3-{module} is not installed"));
        return None;
    }
    Some(client("python3", &["-c", script], dir))
}

/// nginx serving a directory on a loopback port; ended when dropped.
pub struct Nginx {
    child: Child,
    port: u16,
    _dir: TempDir,
}

impl Nginx {
    pub fn serve(root: &Path) -> Option<Self> {
        if !installed("nginx") {
            return None;
        }
        // Another process may take the port between its choice and nginx's bind.
        (0..5).find_map(|_| Self::start(root)).or_else(|| {
            panic!("nginx does not start");
        })
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn start(root: &Path) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let at = dir.path().display();
        let root = root.display();
        // As root, workers would become another user, who cannot enter a private temporary
        // directory.
        let user = if is_root() { "user root;\n" } else { "" };
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {at}/{kind};\n"))
            .concat();
        let config = format!(
            "{user}daemon off;\nmaster_process off;\npid {at}/pid;\nerror_log {at}/error.log;\n\
             events {{}}\nhttp {{\naccess_log {at}/access.log;\n{temporary}\
             default_type application/octet-stream;\n\
             server {{ listen 127.0.0.1:{port}; root {root}; }}\n}}\n"
        );
        let path = dir.path().join("nginx.conf");
        fs::write(&path, config).unwrap();
        let (error_log, config) = (format!("{at}/error.log"), path.display().to_string());
        let args = ["-e", &error_log, "-p", ".", "-c", &config];
        let mut child = command("nginx", &args, dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if start.elapsed() > Duration::from_secs(10) || child.try_wait().unwrap().is_some() {
                drop(child.kill());
                drop(child.wait());
                return None;
            }
            thread::sleep(Duration::from_millis(10));
        }
        Some(Self {
            child,
            port,
            _dir: dir,
        })
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
