//! What a case changes, and what is done with the result.

use std::collections::BTreeMap;
use std::io::Read as _;

use pgp::armor::BlockType;

use super::signers::{armored, clear_signed, fingerprints, good, signer};
use super::{Expected, normal};
use crate::bad_input::forge::declare;
use crate::kit::chantal::Repository;
use crate::kit::clients::{Apt, Dnf, gpgv, rpmkeys};
use crate::kit::keys::{Key, PacketForm};
use crate::kit::mirror::{Mirror, ONE_BY_ONE};
use crate::kit::process::Output;
use crate::kit::tree::{Inode, Tree, inodes};
use crate::kit::upstream::{Built, Codec, Package, Upstream};

/// A good upstream of yesterday and today, signed by `archive`.
pub struct Base {
    upstream: Upstream,
    yesterday: Tree,
    today: Built,
}

impl Base {
    /// With packages `data`, which stays the same, and `hello`.
    pub fn new(upstream: Upstream) -> Self {
        let mut upstream = upstream
            .package(Package::new("data", "1.0-1").independent())
            .package(Package::new("hello", "1.0-1"));
        let signed = |built: &mut Built, upstream: &Upstream| {
            sign(&mut built.tree, upstream.kind(), &[("archive", good())]);
        };
        let mut yesterday = upstream.build();
        signed(&mut yesterday, &upstream);
        upstream.bump_date();
        upstream.replace(Package::new("hello", "2.0-1"));
        let mut today = upstream.build();
        signed(&mut today, &upstream);
        Self {
            upstream,
            yesterday: yesterday.tree,
            today,
        }
    }

    /// Where the file is that is signed.
    fn root(&self) -> &'static str {
        root(self.upstream.kind())
    }

    fn is_deb(&self) -> bool {
        self.upstream.kind() == "apt"
    }
}

fn root(kind: &str) -> &'static str {
    match kind {
        "apt" => "dists/stable/Release",
        _ => "repodata/repomd.xml",
    }
}

/// Signs the root that is there, in every form that is there.
fn sign(tree: &mut Tree, kind: &str, by: &[(&str, PacketForm)]) {
    let text = tree.text(root(kind)).to_owned();
    let packets = |of: &dyn Fn(&Key, PacketForm) -> Vec<u8>| -> Vec<u8> {
        let each = by.iter().map(|(name, how)| of(signer(name), *how));
        each.collect::<Vec<_>>().concat()
    };
    let detached = packets(&|key, how| key.sign_packet(text.as_bytes(), how));
    let inline = packets(&|key, how| key.sign_text_packet(&text, how));
    let detached = armored(BlockType::Signature, &detached);
    if kind == "apt" {
        if tree.find("dists/stable/InRelease").is_some() {
            let digests: Vec<String> = by.iter().map(|(_, how)| how.hash.to_string()).collect();
            let signed = clear_signed(&text, &digests.join(", "), &inline);
            tree.insert("dists/stable/InRelease", signed);
        }
        tree.insert("dists/stable/Release.gpg", detached);
    } else {
        tree.insert("repodata/repomd.xml.asc", detached);
    }
}

/// What the server has, what is trusted and what is configured when the case is judged.
pub struct Scene {
    base: &'static Base,
    pub tree: Tree,
    trusted: Vec<&'static Key>,
    settings: Vec<String>,
    more: String,
    /// Who must have signed `hello`, where packages are judged and not the root.
    package_signer: Option<&'static str>,
    /// What was synced before.
    pub before: Option<Tree>,
    /// Of the definition that the first sync was made with.
    settings_before: Vec<String>,
}

impl Scene {
    pub fn new(base: &'static Base) -> Self {
        let mut scene = Self {
            base,
            tree: base.today.tree.clone(),
            trusted: Vec::new(),
            settings: Vec::new(),
            more: String::new(),
            package_signer: None,
            before: Some(base.yesterday.clone()),
            settings_before: Vec::new(),
        };
        scene.trusts(&["archive"]);
        scene
    }

    pub fn trusts(&mut self, signers: &[&str]) {
        self.trusted = signers.iter().map(|name| signer(name)).collect();
    }

    fn keyring(&self) -> Vec<u8> {
        let keys = self.trusted.iter().map(|key| key.public_binary());
        keys.collect::<Vec<_>>().concat()
    }

    /// A line of the format's section.
    pub fn says(&mut self, line: &str) {
        self.settings.push(line.to_owned());
    }

    /// The same, already when the first sync was made.
    pub fn always_says(&mut self, line: &str) {
        self.settings_before.push(line.to_owned());
        self.says(line);
    }

    /// Top-level YAML.
    pub fn says_above(&mut self, yaml: &str) {
        self.more.push_str(yaml);
    }

    pub fn text(&self, path: &str) -> String {
        self.tree.text(path).to_owned()
    }

    pub fn package(&self) -> String {
        self.base.today.path_of("hello")
    }

    /// Other bytes where the server has some, whatever vouches for them.
    #[track_caller]
    pub fn edit(&mut self, path: &str, change: impl FnOnce(&[u8]) -> Vec<u8>) {
        let old = self.tree.bytes(path);
        let new = change(old);
        assert_ne!(old, new, "nothing to change in {path}");
        self.tree.insert(path, new);
    }

    /// The same for text.
    #[track_caller]
    pub fn edit_text(&mut self, path: &str, change: impl FnOnce(&str) -> String) {
        self.edit(path, |bytes| {
            change(std::str::from_utf8(bytes).unwrap()).into_bytes()
        });
    }

    /// Another file has the same bytes as this one, under the path as it is and as clients resolve
    /// it.
    pub fn copy(&mut self, from: &str, path: &str, resolved: Option<&str>) {
        let bytes = self.tree.bytes(from).to_vec();
        for path in [Some(path), resolved].into_iter().flatten() {
            self.tree.insert(path, &*bytes);
        }
    }

    /// The root, as it is, signed by these.
    pub fn signed_by(&mut self, by: &[(&str, PacketForm)]) {
        sign(&mut self.tree, self.base.upstream.kind(), by);
    }

    /// From here on the package is judged, by this key, and the root is not.
    pub fn judges_package(&mut self, trusted: &'static str, package: Package) {
        let mut upstream = self.base.upstream.clone();
        // Of the others somebody else's key would be wrong too.
        upstream.packages = vec![package];
        self.tree = upstream.build().tree;
        self.signed_by(&[("archive", good())]);
        self.trusts(&[trusted]);
        self.package_signer = Some(trusted);
        self.says("repo_gpgcheck: false");
        self.says("gpgcheck: true");
    }

    /// Another root, signed by `archive`.
    #[track_caller]
    pub fn root(&mut self, change: impl FnOnce(&str) -> String) {
        self.edit_text(self.base.root(), change);
        self.signed_by(&[("archive", good())]);
    }

    /// Another index, which the root vouches for.
    #[track_caller]
    pub fn index(&mut self, path: &str, change: impl FnOnce(&str) -> String) {
        self.index_bytes(path, |open| {
            change(std::str::from_utf8(open).unwrap()).into_bytes()
        });
    }

    #[track_caller]
    pub fn index_bytes(&mut self, path: &str, change: impl FnOnce(&[u8]) -> Vec<u8>) {
        let old = opened(path, self.tree.bytes(path));
        let new = change(&old);
        assert_ne!(old, new, "nothing to change in {path}");
        self.pack(path, &packed(path, &new), &new);
    }

    /// An index without its compression.
    pub fn opened(&self, path: &str) -> Vec<u8> {
        opened(path, self.tree.bytes(path))
    }

    /// An index of these bytes, which the root vouches for, and for this as its content.
    pub fn pack(&mut self, path: &str, bytes: &[u8], open: &[u8]) {
        let old = self.tree.bytes(path).to_vec();
        let old_open = opened(path, &old);
        self.tree.insert(path, bytes);
        self.root(|root| declare(root, path, [&old, &old_open], [bytes, open]));
    }
}

const GZ: &str = ".gz";

fn opened(path: &str, bytes: &[u8]) -> Vec<u8> {
    if !path.ends_with(GZ) {
        return bytes.to_vec();
    }
    let mut open = Vec::new();
    let mut decoder = flate2::read::GzDecoder::new(bytes);
    decoder.read_to_end(&mut open).unwrap();
    open
}

fn packed(path: &str, open: &[u8]) -> Vec<u8> {
    if path.ends_with(GZ) {
        Codec::Gz.compress(open)
    } else {
        open.to_vec()
    }
}

/// As Release writes it.
pub fn date(second: i64) -> String {
    let time = jiff::Timestamp::from_second(second).unwrap();
    time.strftime("%a, %d %b %Y %H:%M:%S UTC").to_string()
}

/// chantal with the state before, in front of a server that has the case.
pub struct Trial {
    base: &'static Base,
    mirror: Mirror,
    /// The definition that the state before was synced with.
    good: Repository,
    tree: Tree,
    listed: String,
    published: BTreeMap<String, Inode>,
}

impl Scene {
    pub fn trial(&self) -> Trial {
        let base = self.base;
        // One download after the other: of several errors the same one comes first.
        let mut mirror =
            Mirror::of_built(base.upstream.clone(), base.today.clone()).configured(ONE_BY_ONE);
        for (fingerprint, name) in fingerprints() {
            mirror.chantal.hide(&fingerprint, &name);
        }
        mirror.chantal.hide(&self.package(), "[hello]");
        let with = |start: Repository, keys: &[&Key], settings: &[String]| {
            let mut start = match keys {
                [] => start.unsigned(),
                keys => start.trusting_all(keys),
            };
            if !base.is_deb() {
                // Packages have a table of their own.
                start = start.format("gpgcheck: false");
            }
            let settings = settings.iter();
            settings.fold(start, |repository, line| repository.format(line))
        };
        mirror.define(|start| with(start, &[signer("archive")], &self.settings_before));
        let good = mirror.repository.clone();
        mirror.server.swap(self.before.clone().unwrap_or_default());
        if self.before.is_some() {
            mirror.sync().succeeds();
        }
        mirror.define(|start| with(start, &self.trusted, &self.settings).more(&self.more));
        mirror.server.swap(self.tree.clone());
        let mut trial = Trial {
            base,
            mirror,
            good,
            tree: self.tree.clone(),
            listed: String::new(),
            published: BTreeMap::new(),
        };
        trial.listed = trial.list();
        trial.published = trial.inodes();
        trial
    }

    /// gpgv, or rpmkeys where packages are judged.
    pub fn verifier_accepts(&self, _: &Trial) -> Option<(bool, String)> {
        if let Some(trusted) = self.package_signer {
            let package = self.tree.bytes(&self.package());
            return Some(verdict(&[rpmkeys(signer(trusted), package)?]));
        }
        let (signed, signature) = match self.base.is_deb() {
            true if self.tree.find("dists/stable/InRelease").is_some() => {
                ("dists/stable/InRelease", None)
            }
            true => ("dists/stable/Release", Some("dists/stable/Release.gpg")),
            false => ("repodata/repomd.xml", Some("repodata/repomd.xml.asc")),
        };
        let signature = signature.map(|path| self.tree.bytes(path));
        let output = gpgv(&self.keyring(), self.tree.bytes(signed), signature)?;
        Some(verdict(&[output]))
    }

    pub fn client_accepts(&self, trial: &Trial) -> Option<(bool, String)> {
        let url = trial.mirror.server.url();
        if self.base.is_deb() {
            let apt = Apt::find()?;
            // A failure is one even where apt could go on with what it had before.
            apt.config("APT::Update::Error-Mode \"any\";");
            let source = format!("{url}/ stable main");
            apt.source_signed_by(&self.keyring(), "deb", &source);
            let mut said = vec![apt.get(&["update"]), apt.get(&["download", "hello"])];
            if self.settings.iter().any(|line| line == "sources: true") {
                apt.source_signed_by(&self.keyring(), "deb-src", &source);
                said.push(apt.get(&["update"]));
                said.push(apt.get(&["source", "--download-only", "hello"]));
            }
            return Some(verdict(&said));
        }
        let dnf = Dnf::find()?;
        let key = armored(BlockType::PublicKey, &self.keyring());
        dnf.repository("r", &url, Some(&key));
        let packages: &[&str] = match self.package_signer {
            None => &["hello"],
            Some(_) => &[
                "hello",
                "--setopt=r.repo_gpgcheck=0",
                "--setopt=r.gpgcheck=1",
            ],
        };
        Some(verdict(&[dnf.download(packages)?]))
    }
}

fn verdict(outputs: &[Output]) -> (bool, String) {
    let accepts = outputs.iter().all(|output| output.status.success());
    let said = |output: &Output| format!("{}{}", output.stdout, output.stderr);
    (accepts, outputs.iter().map(said).collect())
}

impl Trial {
    /// Syncs the case; what is expected must come out, and nothing else.
    pub fn judge(&self, expected: &Expected) -> Result<(), String> {
        let output = self.mirror.sync();
        let (exit, stderr) = match expected {
            Expected::Accepted => (0, ""),
            Expected::Warned(stderr) => (0, &**stderr),
            Expected::Refused { exit, stderr } => (*exit, &**stderr),
        };
        let said = normal(&output.stderr);
        if output.status.code() != Some(exit) || said != stderr {
            return Err(format!(
                "expected {exit}\n{stderr}got {}\n{said}{}",
                output.status, output.stdout
            ));
        }
        if exit != 0 {
            return self.is_untouched();
        }
        self.is_published()
    }

    /// The last good state and its tree are as they were; without one there is neither.
    fn is_untouched(&self) -> Result<(), String> {
        if self.list() != self.listed {
            return Err(format!("another state: {}", self.list()));
        }
        if self.inodes() != self.published {
            return Err("the published tree is another one".to_owned());
        }
        Ok(())
    }

    /// The package is there, and everything but the keys is as the upstream has it.
    fn is_published(&self) -> Result<(), String> {
        let published = self.mirror.tree();
        let package = self.base.today.path_of("hello");
        if published.find(&package).is_none() {
            return Err(format!("no {package} in {:?}", published.paths()));
        }
        let keys = self.mirror.repository.key_files();
        let other = published.iter().find(|(path, bytes)| {
            let is_own = match self.tree.find(path).or_else(|| keys.find(path)) {
                Some(upstream) => *upstream != **bytes,
                // A name by its hash, which the upstream may promise and not have.
                None => self.tree.iter().all(|(_, upstream)| upstream != *bytes),
            };
            is_own && !self.published.contains_key(*path)
        });
        match other {
            Some((path, _)) => Err(format!("{path} is not the upstream's")),
            None => Ok(()),
        }
    }

    /// A good upstream is synced after it.
    pub fn recovers(&self) -> Result<(), String> {
        self.mirror.server.swap(self.base.today.tree.clone());
        self.mirror.chantal.repository(&self.good);
        let output = self.mirror.sync();
        if !output.status.success() {
            return Err(format!("it does not recover: {}", output.stderr));
        }
        let mut published = self.mirror.tree();
        let expected = self.base.today.mirrored();
        published.retain(|path| expected.find(path).is_some());
        if published == expected {
            Ok(())
        } else {
            Err("the good upstream is not published".to_owned())
        }
    }

    fn list(&self) -> String {
        let list = ["--format", "json", "repo", "list"];
        self.mirror.run(&list).exits(0).stdout.clone()
    }

    fn inodes(&self) -> BTreeMap<String, Inode> {
        let published = self.mirror.published();
        if published.exists() {
            inodes(&published)
        } else {
            BTreeMap::new()
        }
    }
}
