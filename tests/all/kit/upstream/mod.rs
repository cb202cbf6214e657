//! Repositories as upstreams have them: consistent, signed, of either format, rebuilt whenever
//! something changes.
//!
//! [`Upstream`] is the description; [`Upstream::build`] writes it into a [`Tree`]. The same
//! description makes the same files, but for the roots' signatures: rebuild only what is meant to
//! have changed, or clone the [`Built`] tree.

mod codec;
mod deb;
mod deb_package;
mod rpm;
mod rpm_inside;
mod rpm_package;

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::chantal::Repository;
use super::keys::Key;
use super::tree::Tree;

pub use codec::{Checksum, Codec};
pub use deb::{ArchitectureAll, Deb, DebExtra, Roots};
pub use rpm::{BUILD_TIME, FileNames, Rpm, RpmExtra};
pub use rpm_inside::{
    Digests, Place, RpmDigest, RpmFile, RpmFormat, RpmInside, RpmSignature, Tampered, tag,
};

const DAY: i64 = 86_400;

/// A repository to be served. Methods take and give `self` where a test starts, `&mut self` where
/// it changes.
#[derive(Clone)]
pub struct Upstream {
    pub packages: Vec<Package>,
    pub signing: Signing,
    /// Of Release, or the revision and timestamps of repomd, in seconds since the epoch. A month
    /// ago at first.
    pub date: i64,
    pub layout: Layout,
    /// What index texts say otherwise than the kit would write.
    changes: Vec<Change>,
}

/// Bytes in the text of an index, and what stands in their place.
#[derive(Clone)]
struct Change {
    /// The data type, or how the uncompressed path ends.
    index: &'static str,
    old: Vec<u8>,
    new: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
pub enum Signing {
    By(&'static Key),
    Unsigned,
}

#[derive(Clone)]
pub enum Layout {
    Deb(Box<Deb>),
    Rpm(Rpm),
}

/// A package of either format.
#[derive(Clone, Debug)]
pub struct Package {
    pub name: String,
    /// `[epoch:]version-release`.
    pub version: String,
    pub architecture: Architecture,
    pub body: Body,
    /// Where the index says it is, if not at its usual place. A path that leaves the repository is
    /// listed only.
    pub path: Option<String>,
    /// Of a deb repository with several.
    pub component: Option<String>,
    /// Further lines of its stanza (`Phased-Update-Percentage: 10`); deb only.
    pub fields: Vec<String>,
    /// What its index says of dependencies; the file itself says nothing of them.
    pub relations: Relations,
    /// Signatures, digests and damage; rpm only.
    pub rpm: RpmInside,
}

/// Names, each with a version or without (`a`, `a >= 1:2-3`), which a deb repository writes its own
/// way. What only one format has (`a | b`, `a:any`, `(a or b)`) is written as it is.
#[derive(Clone, Debug, Default)]
pub struct Relations {
    pub needs: Vec<String>,
    pub recommends: Vec<String>,
    pub provides: Vec<String>,
    /// Paths in primary and filelists; rpm only.
    pub files: Vec<String>,
    /// Paths in filelists alone; rpm only.
    pub further_files: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// `amd64`, `x86_64`.
    Native,
    /// `all`, `noarch`.
    Independent,
    /// As the format writes it; `src` makes a source rpm.
    Named(String),
}

/// What the package's file is.
#[derive(Clone, Debug)]
pub enum Body {
    /// A package that clients install: it holds one file with these bytes.
    Installable(Vec<u8>),
    /// These bytes and nothing else: cheap, and fine for everything that does not look inside.
    Raw(Vec<u8>),
}

impl Package {
    /// For the native architecture, installable, with its own name inside.
    pub fn new(name: &str, version: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            architecture: Architecture::Native,
            body: Body::Installable(format!("{name} {version}\n").into_bytes()),
            path: None,
            component: None,
            fields: Vec::new(),
            relations: Relations::default(),
            rpm: RpmInside::default(),
        }
    }

    pub fn independent(mut self) -> Self {
        self.architecture = Architecture::Independent;
        self
    }

    pub fn architecture(mut self, name: &str) -> Self {
        self.architecture = Architecture::Named(name.to_owned());
        self
    }

    pub fn file(mut self, bytes: &[u8]) -> Self {
        self.body = Body::Installable(bytes.to_vec());
        self
    }

    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.body = Body::Raw(bytes.to_vec());
        self
    }

    pub fn at(mut self, path: &str) -> Self {
        self.path = Some(path.to_owned());
        self
    }

    pub fn component(mut self, component: &str) -> Self {
        self.component = Some(component.to_owned());
        self
    }

    pub fn field(mut self, line: &str) -> Self {
        self.fields.push(line.to_owned());
        self
    }

    pub fn needs(mut self, what: &str) -> Self {
        self.relations.needs.push(what.to_owned());
        self
    }

    pub fn recommends(mut self, what: &str) -> Self {
        self.relations.recommends.push(what.to_owned());
        self
    }

    pub fn provides(mut self, what: &str) -> Self {
        self.relations.provides.push(what.to_owned());
        self
    }

    pub fn with_relations(mut self, change: impl FnOnce(&mut Relations)) -> Self {
        change(&mut self.relations);
        self
    }

    /// Changes what only an rpm package has inside.
    pub fn with_rpm(mut self, change: impl FnOnce(&mut RpmInside)) -> Self {
        change(&mut self.rpm);
        self
    }

    /// With exactly these signatures inside, whoever signs the repository; rpm only. None strips
    /// it. Of two with the same tag rpm looks at the first.
    pub fn signatures<const N: usize>(self, signatures: [RpmSignature; N]) -> Self {
        self.with_rpm(|rpm| rpm.signatures = Some(signatures.into()))
    }

    /// Changed after it was signed; rpm only.
    pub fn tampered(self, tampered: Tampered) -> Self {
        self.with_rpm(|rpm| rpm.tampered = Some(tampered))
    }
}

/// What has to be configured for a file to be mirrored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Always,
    /// `apt.sources`.
    Sources,
    /// `apt.udebs`.
    Udebs,
    /// `apt.installer`.
    Installer,
    /// There, but never mirrored: pdiffs, and what no index names.
    Never,
}

/// A written repository.
#[derive(Clone, Debug)]
pub struct Built {
    /// What a server offers.
    pub tree: Tree,
    parts: BTreeMap<String, Part>,
    packages: BTreeMap<String, String>,
    /// How it is mirrored unless a test says otherwise.
    repository: Repository,
}

/// Edits the root of a tree that [`Key::archive`] signs: suite `stable`, of which only `InRelease`
/// is left, or repomd.xml.
pub fn edit_root(tree: &mut Tree, edit: impl FnOnce(&str) -> String) {
    const REPOMD: &str = "repodata/repomd.xml";
    if tree.find(REPOMD).is_some() {
        let root = edit(tree.text(REPOMD));
        tree.insert(
            "repodata/repomd.xml.asc",
            Key::archive().sign(root.as_bytes()),
        );
        tree.insert(REPOMD, root);
        return;
    }
    let signed = tree.text("dists/stable/InRelease").to_owned();
    let text = signed.split("\n\n").nth(1).unwrap();
    let text = edit(text.split("-----BEGIN PGP SIGNATURE").next().unwrap());
    tree.retain(|path| !["dists/stable/Release", "dists/stable/Release.gpg"].contains(&path));
    tree.insert("dists/stable/InRelease", Key::archive().clear_sign(&text));
}

impl Built {
    /// What a complete mirror publishes with the format's defaults (all components and
    /// architectures chosen), as a repository `r` that trusts the key which signs the upstream.
    pub fn mirrored(&self) -> Tree {
        self.mirrored_with(&[])
    }

    pub fn mirrored_with(&self, parts: &[Part]) -> Tree {
        let mut tree = self.upstreams_own(parts);
        tree.merge("", &self.repository.key_files());
        tree
    }

    /// The same by a repository of another name.
    pub fn mirrored_as(&self, name: &str) -> Tree {
        let mut repository = self.repository.clone();
        name.clone_into(&mut repository.name);
        self.mirrored_by(&repository)
    }

    /// The same by a repository that has other keys, or another name for them.
    pub fn mirrored_by(&self, repository: &Repository) -> Tree {
        let mut tree = self.upstreams_own(&[]);
        tree.merge("", &repository.key_files());
        tree
    }

    /// Without the keys that chantal adds.
    fn upstreams_own(&self, parts: &[Part]) -> Tree {
        let mut tree = self.tree.clone();
        tree.retain(|path| {
            let part = self.parts[path];
            part == Part::Always || parts.contains(&part)
        });
        tree
    }

    /// Where the package of that name is; the last one added if several share it.
    pub fn path_of(&self, package: &str) -> String {
        self.packages[package].clone()
    }

    /// The one path that ends so: `primary.xml.gz`, `Packages.xz`. By-hash copies do not count.
    pub fn ending(&self, end: &str) -> String {
        let mut paths = self.tree.paths();
        paths.retain(|path| path.ends_with(end) && !path.contains("by-hash/"));
        assert_eq!(paths.len(), 1, "paths that end in {end}: {paths:?}");
        paths[0].to_owned()
    }

    fn new(upstream: &Upstream) -> Self {
        Self {
            tree: Tree::new(),
            parts: BTreeMap::new(),
            packages: BTreeMap::new(),
            repository: Repository::of("r", upstream, ""),
        }
    }

    fn write(&mut self, part: Part, path: &str, bytes: impl Into<Vec<u8>>) {
        self.tree.insert(path, bytes);
        self.parts.insert(path.to_owned(), part);
    }

    /// A package's file, at a path that may be hostile: then nothing is written.
    fn write_package(&mut self, part: Part, package: &Package, path: &str, bytes: &[u8]) {
        let inside: Vec<&str> = path.split('/').filter(|name| *name != ".").collect();
        if !inside.iter().any(|name| name.is_empty() || *name == "..") {
            let path = inside.join("/");
            self.write(part, &path, bytes);
            self.packages.insert(package.name.clone(), path);
        }
    }
}

impl Upstream {
    /// Debian's layout: suite `stable`, component main, amd64, gz and xz, by-hash, `InRelease` and
    /// `Release.gpg`.
    pub fn deb() -> Self {
        Self::new(Layout::Deb(Box::default()))
    }

    /// createrepo's layout: primary, filelists and other in gz, digests in their names,
    /// repomd.xml.asc. Its packages are signed by the same key.
    pub fn rpm() -> Self {
        Self::new(Layout::Rpm(Rpm::default()))
    }

    /// For what must hold for both formats.
    pub fn both() -> [Self; 2] {
        [Self::deb(), Self::rpm()]
    }

    fn new(layout: Layout) -> Self {
        Self {
            packages: Vec::new(),
            signing: Signing::By(Key::archive()),
            date: Timestamp::now().as_second() - 30 * DAY,
            layout,
            changes: Vec::new(),
        }
    }

    /// Has these bytes in place of the first `old` in the text of an index; in place of all of it
    /// where that is empty.
    pub fn change(mut self, index: &'static str, old: &str, new: impl Into<Vec<u8>>) -> Self {
        let (old, new) = (old.as_bytes().to_vec(), new.into());
        self.changes.push(Change { index, old, new });
        self
    }

    /// The text of an index as it is to be.
    fn changed(&self, index: &str, text: &[u8]) -> Vec<u8> {
        let mut text = text.to_vec();
        let index = index.trim_end_matches("_gz");
        for Change { old, new, .. } in self
            .changes
            .iter()
            .filter(|change| index.ends_with(change.index))
        {
            if old.is_empty() {
                text.clone_from(new);
                continue;
            }
            let mut places = text.windows(old.len());
            let at = places
                .position(|window| window == old)
                .expect("what is to be changed");
            text.splice(at..at + old.len(), new.iter().copied());
        }
        text
    }

    pub fn package(mut self, package: Package) -> Self {
        self.packages.push(package);
        self
    }

    pub fn unsigned(mut self) -> Self {
        self.signing = Signing::Unsigned;
        self
    }

    pub fn signed_by(mut self, key: &'static Key) -> Self {
        self.signing = Signing::By(key);
        self
    }

    /// Signs packages otherwise than the repository; rpm only.
    pub fn packages(self, signing: Signing) -> Self {
        self.with_rpm(|rpm| rpm.packages = Some(signing))
    }

    /// Changes what only a deb repository has.
    pub fn with_deb(mut self, change: impl FnOnce(&mut Deb)) -> Self {
        change(self.deb_mut());
        self
    }

    /// Changes what only an rpm repository has.
    pub fn with_rpm(mut self, change: impl FnOnce(&mut Rpm)) -> Self {
        change(self.rpm_mut());
        self
    }

    pub fn deb_mut(&mut self) -> &mut Deb {
        match &mut self.layout {
            Layout::Deb(deb) => deb,
            Layout::Rpm(_) => panic!("not a deb repository"),
        }
    }

    pub fn rpm_mut(&mut self) -> &mut Rpm {
        match &mut self.layout {
            Layout::Rpm(rpm) => rpm,
            Layout::Deb(_) => panic!("not an rpm repository"),
        }
    }

    pub fn add(&mut self, package: Package) {
        self.packages.push(package);
    }

    pub fn remove(&mut self, name: &str) {
        let before = self.packages.len();
        self.packages.retain(|p| p.name != name);
        assert_ne!(self.packages.len(), before, "no package {name}");
    }

    /// Takes the place of all packages of its name.
    pub fn replace(&mut self, package: Package) {
        self.remove(&package.name);
        self.add(package);
    }

    /// The next day's state.
    pub fn bump_date(&mut self) {
        self.date += DAY;
    }

    /// The configuration's word for the format.
    pub fn kind(&self) -> &'static str {
        match self.layout {
            Layout::Deb(_) => "apt",
            Layout::Rpm(_) => "rpm",
        }
    }

    /// Where the file is that authenticates the others.
    pub fn root(&self) -> String {
        match &self.layout {
            Layout::Deb(deb) => deb.root(),
            Layout::Rpm(_) => "repodata/repomd.xml".to_owned(),
        }
    }

    pub fn build(&self) -> Built {
        match &self.layout {
            Layout::Deb(deb) => deb::build(self, deb),
            Layout::Rpm(rpm) => rpm::build(self, rpm),
        }
    }
}
