//! APT repositories: Release and its signatures, indexes with by-hash copies, pool.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use jiff::{Timestamp, tz::TimeZone};

use super::codec::{Checksum, Codec};
use super::deb_package::{deb, tar};
use super::{Architecture, Body, Built, Package, Part, Signing, Upstream};

const NATIVE: &str = "amd64";

/// What only a deb repository has.
#[derive(Clone, Debug)]
pub struct Deb {
    /// The directory below `dists` and the `Suite` field; may contain slashes.
    pub suite: String,
    pub codename: String,
    /// For a flat repository the directory of its Release, `./` or `some/dir/`; suite and
    /// components do not count then.
    pub flat: Option<String>,
    pub components: Vec<String>,
    /// Before each component in Release, not in paths: `updates/`, as bookworm-security has it.
    pub component_prefix: String,
    pub architectures: Vec<String>,
    pub architecture_all: ArchitectureAll,
    /// Of the indexes that the server has.
    pub compressions: Vec<Codec>,
    /// Of the indexes that Release lists although the server has none.
    pub listed_only: Vec<Codec>,
    /// Of Release, by-hash and packages.
    pub checksums: Vec<Checksum>,
    pub roots: Roots,
    /// Seconds since the epoch.
    pub valid_until: Option<i64>,
    /// Further lines of Release, before the digests.
    pub fields: Vec<String>,
    pub languages: Vec<String>,
    pub extras: BTreeSet<DebExtra>,
    /// Zeros behind each index.
    pub padding: usize,
}

/// Which of the files that say the same are there. An unsigned repository has only Release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Roots {
    All,
    InReleaseOnly,
    /// Release and Release.gpg.
    DetachedOnly,
}

/// Where packages for all architectures are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchitectureAll {
    /// In every binary-ARCH; Release does not mention `all`.
    InEach,
    /// In every binary-ARCH and in binary-all, which Release tells clients to leave alone: Debian.
    InEachAndOwn,
    /// In binary-all alone.
    Own,
}

/// What not every deb repository has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DebExtra {
    ByHash,
    Contents,
    /// dep11 with an icons archive.
    Appstream,
    Cnf,
    /// A source package for every binary one.
    Sources,
    Udebs,
    /// Images with their own SHA256SUMS.
    Installer,
    Pdiff,
}

impl Default for Deb {
    fn default() -> Self {
        Self {
            suite: "stable".to_owned(),
            codename: "stable".to_owned(),
            flat: None,
            components: vec!["main".to_owned()],
            component_prefix: String::new(),
            architectures: vec![NATIVE.to_owned()],
            architecture_all: ArchitectureAll::InEach,
            compressions: vec![Codec::Gz, Codec::Xz],
            listed_only: vec![Codec::Plain],
            checksums: vec![Checksum::Sha256],
            roots: Roots::All,
            valid_until: None,
            fields: Vec::new(),
            languages: Vec::new(),
            extras: [DebExtra::ByHash].into(),
            padding: 0,
        }
    }
}

impl Deb {
    /// `InRelease` or, without one, `Release`, with its directory.
    pub(super) fn root(&self) -> String {
        match self.roots {
            Roots::DetachedOnly => self.directory() + "Release",
            Roots::All | Roots::InReleaseOnly => self.directory() + "InRelease",
        }
    }

    /// Of Release: empty or with a trailing slash.
    fn directory(&self) -> String {
        match &self.flat {
            Some(flat) => flat.trim_start_matches("./").to_owned(),
            None => format!("dists/{}/", self.suite),
        }
    }

    fn has(&self, extra: DebExtra) -> bool {
        self.extras.contains(&extra)
    }

    fn mentions_all(&self) -> bool {
        self.architecture_all != ArchitectureAll::InEach
    }
}

pub(super) fn build(upstream: &Upstream, deb: &Deb) -> Built {
    let mut writer = Writer {
        upstream,
        deb,
        directory: deb.directory(),
        built: Built::new(upstream),
        listed: BTreeMap::new(),
    };
    let stanzas: Vec<Stanza> = upstream
        .packages
        .iter()
        .map(|package| writer.package(package))
        .collect();
    if deb.flat.is_some() {
        let all: Vec<&str> = stanzas.iter().map(|s| s.text.as_str()).collect();
        writer.index(Part::Always, "Packages", all.join("\n").as_bytes());
    } else {
        for component in &deb.components {
            writer.component(component, &stanzas);
        }
    }
    writer
        .built
        .write(Part::Never, "README", "for people, named nowhere\n");
    writer.release();
    writer.built
}

struct Stanza {
    component: String,
    architecture: String,
    text: String,
}

struct Writer<'a> {
    upstream: &'a Upstream,
    deb: &'a Deb,
    directory: String,
    built: Built,
    /// What Release lists: size and one digest per algorithm, by path.
    listed: BTreeMap<String, (usize, Vec<String>)>,
}

impl Writer<'_> {
    fn package(&mut self, package: &Package) -> Stanza {
        let architecture = match &package.architecture {
            Architecture::Native => NATIVE,
            Architecture::Independent => "all",
            Architecture::Named(name) => name,
        };
        let Package { name, version, .. } = package;
        let component = match &package.component {
            Some(component) => component.clone(),
            None => self.deb.components[0].clone(),
        };
        let mut text = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: {architecture}\n\
             Maintainer: Kit <kit@example.org>\nDescription: {name} of the tests\n"
        );
        let bytes = match &package.body {
            Body::Installable(content) => deb(&text, name, content),
            Body::Raw(bytes) => bytes.clone(),
        };
        let path = package.path.clone().unwrap_or_else(|| {
            let version = without_epoch(version);
            let file = format!("{name}_{version}_{architecture}.deb");
            match &self.deb.flat {
                Some(flat) => format!("{flat}{file}"),
                None => format!("{}{file}", pool(&component, name)),
            }
        });
        for (field, relations) in [
            ("Depends", &package.relations.needs),
            ("Recommends", &package.relations.recommends),
            ("Provides", &package.relations.provides),
        ] {
            let relations: Vec<String> = relations.iter().map(|text| relation(text)).collect();
            if !relations.is_empty() {
                writeln!(text, "{field}: {}", relations.join(", ")).unwrap();
            }
        }
        for field in &package.fields {
            writeln!(text, "{field}").unwrap();
        }
        writeln!(text, "Filename: {path}\nSize: {}", bytes.len()).unwrap();
        for checksum in &self.deb.checksums {
            writeln!(text, "{}: {}", checksum.deb_name(), checksum.hex(&bytes)).unwrap();
        }
        self.built
            .write_package(Part::Always, package, &path, &bytes);
        Stanza {
            component,
            architecture: architecture.to_owned(),
            text,
        }
    }

    fn component(&mut self, component: &str, stanzas: &[Stanza]) {
        let deb = self.deb;
        let mut architectures = deb.architectures.clone();
        if deb.mentions_all() {
            architectures.push("all".to_owned());
        }
        for architecture in &architectures {
            let with_all = deb.architecture_all != ArchitectureAll::Own;
            let chosen: Vec<&str> = stanzas
                .iter()
                .filter(|s| s.component == component)
                .filter(|s| s.architecture == *architecture || with_all && s.architecture == "all")
                .filter(|s| architecture != "all" || s.architecture == "all")
                .map(|s| s.text.as_str())
                .collect();
            let directory = format!("{component}/binary-{architecture}");
            let packages = format!("{directory}/Packages");
            self.index(Part::Always, &packages, chosen.join("\n").as_bytes());
            let release = format!(
                "Component: {component}\nArchitecture: {architecture}\nSuite: {}\n",
                deb.suite
            );
            let path = format!("{directory}/Release");
            self.listed_file(Part::Always, &path, release.as_bytes());
            self.architecture_extras(component, architecture);
        }
        for language in &deb.languages {
            let mut text = String::new();
            for Package { name, .. } in &self.upstream.packages {
                let md5 = "0".repeat(32);
                writeln!(
                    text,
                    "Package: {name}\nDescription-md5: {md5}\nDescription-{language}: {name}\n"
                )
                .unwrap();
            }
            let path = format!("{component}/i18n/Translation-{language}");
            self.index(Part::Always, &path, text.as_bytes());
        }
        if deb.has(DebExtra::Appstream) {
            let icons = tar(&[("hello.png".to_owned(), b"icon")]);
            let path = format!("{component}/dep11/icons-48x48.tar");
            // apt asks for no target whose plain name is not listed.
            self.list(&path, &icons);
            let path = format!("{path}.gz");
            self.listed_file(Part::Always, &path, &Codec::Gz.compress(&icons));
        }
        if deb.has(DebExtra::Sources) {
            self.sources(component);
        }
    }

    fn architecture_extras(&mut self, component: &str, architecture: &str) {
        let deb = self.deb;
        let packages = self.upstream.packages.iter();
        let names: Vec<&str> = packages.map(|package| package.name.as_str()).collect();
        if deb.has(DebExtra::Contents) {
            let path = format!("{component}/Contents-{architecture}");
            let mut text = format!("usr/share/doc/common doc/{}\n", names.join(",doc/"));
            for name in &names {
                writeln!(text, "usr/share/doc/{name}/con tent   doc/{name}").unwrap();
            }
            self.index(Part::Always, &path, text.as_bytes());
        }
        if deb.has(DebExtra::Appstream) {
            let path = format!("{component}/dep11/Components-{architecture}.yml");
            let mut text = "---\nFile: DEP-11\nVersion: '0.8'\n".to_owned();
            for name in &names {
                writeln!(
                    text,
                    "---\nType: console-application\nPackage: {name}\nID: {name}"
                )
                .unwrap();
            }
            self.index(Part::Always, &path, text.as_bytes());
        }
        if deb.has(DebExtra::Cnf) {
            let path = format!("{component}/cnf/Commands-{architecture}");
            let mut text = "suite: stable\n".to_owned();
            for name in &names {
                writeln!(text, "\nname: {name}\ncommands: {name}").unwrap();
            }
            self.index(Part::Always, &path, text.as_bytes());
        }
        if deb.has(DebExtra::Pdiff) {
            let directory = format!("{component}/binary-{architecture}/Packages.diff");
            let path = format!("{directory}/Index");
            self.listed_file(Part::Never, &path, b"SHA256-Current: 00 0\n");
            let path = format!("{}{directory}/T-1-F-0.gz", self.directory);
            self.built.write(Part::Never, &path, "a patch");
        }
        if architecture == "all" {
            return;
        }
        if deb.has(DebExtra::Udebs) {
            self.udeb(component, architecture);
        }
        if deb.has(DebExtra::Installer) {
            let directory = format!("{component}/installer-{architecture}/current/images");
            let image = format!("an image for {architecture}\n");
            let sums = format!(
                "{}  ./netboot/mini.iso\n",
                Checksum::Sha256.hex(image.as_bytes())
            );
            let path = format!("{directory}/SHA256SUMS");
            self.listed_file(Part::Installer, &path, sums.as_bytes());
            let path = format!("{}{directory}/netboot/mini.iso", self.directory);
            self.built.write(Part::Installer, &path, image);
        }
    }

    fn udeb(&mut self, component: &str, architecture: &str) {
        let file = format!("kit-udeb_1_{architecture}.udeb");
        let path = pool(component, "kit-udeb") + &file;
        let bytes = format!("a udeb for {component} {architecture}\n");
        let mut text = format!(
            "Package: kit-udeb\nVersion: 1\nArchitecture: {architecture}\nFilename: {path}\nSize: {}\n",
            bytes.len()
        );
        for checksum in &self.deb.checksums {
            let digest = checksum.hex(bytes.as_bytes());
            writeln!(text, "{}: {digest}", checksum.deb_name()).unwrap();
        }
        self.built.write(Part::Udebs, &path, bytes);
        let path = format!("{component}/debian-installer/binary-{architecture}/Packages");
        self.index(Part::Udebs, &path, text.as_bytes());
    }

    fn sources(&mut self, component: &str) {
        let mut text = String::new();
        let mut seen = BTreeSet::new();
        for package in &self.upstream.packages {
            let Package { name, version, .. } = package;
            let own = package
                .component
                .as_ref()
                .unwrap_or(&self.deb.components[0]);
            if own != component || !seen.insert((name, version)) {
                continue;
            }
            let base = format!("{name}_{}", without_epoch(version));
            let archive = Codec::Gz.compress(&tar(&[(format!("{name}/x"), name.as_bytes())]));
            let dsc = format!("Format: 3.0 (native)\nSource: {name}\nVersion: {version}\n");
            let files = [
                (format!("{base}.dsc"), dsc.into_bytes()),
                (format!("{base}.tar.gz"), archive),
            ];
            let directory = pool(component, name);
            writeln!(
                text,
                "Package: {name}\nBinary: {name}\nVersion: {version}\nArchitecture: any\n\
                 Maintainer: Kit <kit@example.org>\nFormat: 3.0 (native)\nDirectory: {}",
                directory.trim_end_matches('/')
            )
            .unwrap();
            for checksum in &self.deb.checksums {
                let field = match checksum {
                    Checksum::Sha1 => "Checksums-Sha1",
                    Checksum::Sha512 => "Checksums-Sha512",
                    Checksum::Sha256 | Checksum::Sha384 => "Checksums-Sha256",
                };
                writeln!(text, "{field}:").unwrap();
                for (file, bytes) in &files {
                    writeln!(text, " {} {} {file}", checksum.hex(bytes), bytes.len()).unwrap();
                }
            }
            text.push('\n');
            for (file, bytes) in files {
                let path = format!("{directory}{file}");
                self.built.write(Part::Sources, &path, bytes);
            }
        }
        let path = format!("{component}/source/Sources");
        self.index(Part::Sources, &path, text.as_bytes());
    }

    /// An index in every compression that is there or listed.
    fn index(&mut self, part: Part, path: &str, text: &[u8]) {
        let deb = self.deb;
        let text = &self.upstream.changed(path, text);
        for codec in &deb.compressions {
            let path = format!("{path}{}", codec.suffix());
            let mut bytes = codec.compress(text);
            bytes.resize(bytes.len() + deb.padding, 0);
            self.listed_file(part, &path, &bytes);
        }
        for codec in &deb.listed_only {
            let path = format!("{path}{}", codec.suffix());
            self.list(&path, &codec.compress(text));
        }
    }

    /// A file that Release lists and the server has, under its by-hash names too.
    fn listed_file(&mut self, part: Part, path: &str, bytes: &[u8]) {
        self.list(path, bytes);
        if self.deb.has(DebExtra::ByHash) {
            let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
            let slash = if parent.is_empty() { "" } else { "/" };
            let base = format!("{}{parent}{slash}", self.directory);
            for checksum in &self.deb.checksums {
                let (name, hex) = (checksum.deb_name(), checksum.hex(bytes));
                let copy = format!("{base}by-hash/{name}/{hex}");
                // Equal files share a copy: it is mirrored as soon as one of them is.
                let part = self.built.parts.get(&copy).map_or(part, |p| part.min(*p));
                self.built.write(part, &copy, bytes);
            }
        }
        let path = format!("{}{path}", self.directory);
        self.built.write(part, &path, bytes);
    }

    fn list(&mut self, path: &str, bytes: &[u8]) {
        let digests = self.deb.checksums.iter().map(|c| c.hex(bytes)).collect();
        self.listed.insert(path.to_owned(), (bytes.len(), digests));
    }

    fn release(&mut self) {
        let text = self.release_text();
        let file = |name: &str| format!("{}{name}", self.directory);
        let key = match self.upstream.signing {
            Signing::By(key) => key,
            Signing::Unsigned => {
                self.built.write(Part::Always, &file("Release"), text);
                return;
            }
        };
        let (inline, release, signature) =
            (file("InRelease"), file("Release"), file("Release.gpg"));
        if self.deb.roots != Roots::DetachedOnly {
            let signed = key.clear_sign(&text);
            self.built.write(Part::Always, &inline, signed);
        }
        if self.deb.roots != Roots::InReleaseOnly {
            let signed = key.sign(text.as_bytes());
            self.built.write(Part::Always, &signature, signed);
            self.built.write(Part::Always, &release, text);
        }
    }

    fn release_text(&self) -> String {
        let deb = self.deb;
        let mut text = "Origin: Kit\nLabel: Kit\n".to_owned();
        if let Some(flat) = deb.flat.as_ref().filter(|flat| *flat != "./") {
            // apt compares it with the sources' words.
            writeln!(text, "Suite: {flat}").unwrap();
        }
        if deb.flat.is_none() {
            let components: Vec<String> = deb
                .components
                .iter()
                .map(|c| format!("{}{c}", deb.component_prefix))
                .collect();
            writeln!(text, "Suite: {}\nCodename: {}", deb.suite, deb.codename).unwrap();
            writeln!(text, "Components: {}", components.join(" ")).unwrap();
        }
        writeln!(text, "Date: {}", date(self.upstream.date)).unwrap();
        if let Some(end) = deb.valid_until {
            writeln!(text, "Valid-Until: {}", date(end)).unwrap();
        }
        let all = if deb.mentions_all() { "all " } else { "" };
        let architectures = deb.architectures.join(" ");
        writeln!(text, "Architectures: {all}{architectures}").unwrap();
        if deb.architecture_all == ArchitectureAll::InEachAndOwn {
            text.push_str("No-Support-for-Architecture-all: Packages\n");
        }
        if deb.has(DebExtra::ByHash) {
            text.push_str("Acquire-By-Hash: yes\n");
        }
        for field in &deb.fields {
            writeln!(text, "{field}").unwrap();
        }
        for (place, checksum) in deb.checksums.iter().enumerate() {
            writeln!(text, "{}:", checksum.deb_name()).unwrap();
            for (path, (size, digests)) in &self.listed {
                writeln!(text, " {} {size:>8} {path}", digests[place]).unwrap();
            }
        }
        text
    }
}

fn pool(component: &str, name: &str) -> String {
    format!("pool/{component}/{}/{name}/", &name[..1])
}

fn without_epoch(version: &str) -> &str {
    version.split_once(':').map_or(version, |(_, rest)| rest)
}

/// As Release writes it: `Sat, 10 Feb 2024 09:00:00 UTC`.
fn date(second: i64) -> String {
    Timestamp::from_second(second)
        .unwrap()
        .to_zoned(TimeZone::UTC)
        .strftime("%a, %d %b %Y %H:%M:%S UTC")
        .to_string()
}

/// `a >= 1` as `a (>= 1)`.
fn relation(text: &str) -> String {
    match text.split(' ').collect::<Vec<_>>()[..] {
        [name, sign @ ("<" | ">"), version] => format!("{name} ({sign}{sign} {version})"),
        [name, sign @ ("=" | "<=" | ">="), version] => format!("{name} ({sign} {version})"),
        _ => text.to_owned(),
    }
}
