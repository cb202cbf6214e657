//! RPM repositories: packages, repodata, repomd.xml and its signature.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::codec::{Checksum, Codec};
use super::rpm_package::{self, DESCRIPTION, Nevra};
use super::{Architecture, Body, Built, Package, Part, Relations, Signing, Upstream};

const NATIVE: &str = "x86_64";
/// When packages are built and signed, whatever the repository's date: they do not change with the
/// next day's state.
pub const BUILD_TIME: u32 = 1_700_000_000;

/// What only an rpm repository has.
#[derive(Clone, Debug)]
pub struct Rpm {
    /// Of primary, filelists, other and those extras that are usually compressed.
    pub compression: Codec,
    /// Of metadata files.
    pub checksum: Checksum,
    /// Of packages.
    pub package_checksum: Checksum,
    pub file_names: FileNames,
    /// Before each package's file name: `Packages/`.
    pub location: String,
    /// How packages are signed that do not say it themselves; as the repository is, if nothing is
    /// said here.
    pub packages: Option<Signing>,
    pub extras: BTreeSet<RpmExtra>,
    /// What updateinfo says inside of `<updates>`, in place of one advisory for each package.
    pub advisories: Option<String>,
    /// Zeros behind each compressed metadata file.
    pub padding: usize,
}

/// What metadata files are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileNames {
    /// `<digest>-primary.xml.gz`.
    WithDigest,
    /// `primary.xml.gz`, overwritten in place by the upstream's next state.
    Plain,
}

/// What not every rpm repository has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RpmExtra {
    /// One advisory for each package.
    Updateinfo,
    /// The module `kit`, whose stream `2.10` has the packages with `.module` in their release.
    Modules,
    /// `group` and its compressed twin. Packages whose names begin with `grouped` are in the group
    /// `kit`.
    Comps,
    /// With a delta for the first package.
    Prestodelta,
    /// Data types that no program is expected to know.
    UnknownTypes,
    /// `repomd.xml.key`.
    Key,
}

impl Default for Rpm {
    fn default() -> Self {
        Self {
            compression: Codec::Gz,
            checksum: Checksum::Sha256,
            package_checksum: Checksum::Sha256,
            file_names: FileNames::WithDigest,
            location: String::new(),
            packages: None,
            extras: BTreeSet::new(),
            advisories: None,
            padding: 0,
        }
    }
}

pub(super) fn build(upstream: &Upstream, rpm: &Rpm) -> Built {
    let mut writer = Writer {
        upstream,
        rpm,
        built: Built::new(upstream),
        repomd: String::new(),
    };
    let mut texts = Texts::default();
    for package in &upstream.packages {
        writer.package(package, &mut texts);
    }
    let count = upstream.packages.len();
    for (kind, root, namespaces, text) in [
        (
            "primary",
            "metadata",
            "xmlns=\"http://linux.duke.edu/metadata/common\" xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\"",
            &texts.primary,
        ),
        (
            "filelists",
            "filelists",
            "xmlns=\"http://linux.duke.edu/metadata/filelists\"",
            &texts.filelists,
        ),
        (
            "other",
            "otherdata",
            "xmlns=\"http://linux.duke.edu/metadata/other\"",
            &texts.other,
        ),
    ] {
        let text = xml(&format!(
            "<{root} {namespaces} packages=\"{count}\">\n{text}</{root}>"
        ));
        writer.index(kind, &format!("{kind}.xml"), rpm.compression, &text);
    }
    for extra in &rpm.extras {
        writer.extra(*extra);
    }
    writer
        .built
        .write(Part::Never, "README", "for people, named nowhere\n");
    writer.root();
    writer.built
}

#[derive(Default)]
struct Texts {
    primary: String,
    filelists: String,
    other: String,
}

struct Writer<'a> {
    upstream: &'a Upstream,
    rpm: &'a Rpm,
    built: Built,
    /// The data elements so far.
    repomd: String,
}

impl Writer<'_> {
    fn package(&mut self, package: &Package, texts: &mut Texts) {
        let nevra = nevra(package);
        let build_time = BUILD_TIME;
        let (bytes, header, installed) = match &package.body {
            Body::Raw(bytes) => (bytes.clone(), 0..0, 0),
            Body::Installable(content) => {
                let key = match self.rpm.packages.unwrap_or(self.upstream.signing) {
                    Signing::By(key) => Some(key),
                    Signing::Unsigned => None,
                };
                let file = rpm_package::rpm(&nevra, build_time, content, &package.rpm, key);
                (file.bytes, file.header, content.len())
            }
        };
        let path = package
            .path
            .clone()
            .unwrap_or_else(|| format!("{}{}", self.rpm.location, nevra.file_name()));
        let Nevra {
            name,
            epoch,
            version,
            release,
            architecture,
        } = nevra;
        let (checksum, id) = (
            self.rpm.package_checksum.rpm_name(),
            self.rpm.package_checksum.hex(&bytes),
        );
        let evr = format!("epoch=\"{epoch}\" ver=\"{version}\" rel=\"{release}\"");
        let source = match architecture {
            "src" => String::new(),
            _ => format!("{name}-{version}-{release}.src.rpm"),
        };
        writeln!(
            texts.primary,
            "<package type=\"rpm\"><name>{name}</name><arch>{architecture}</arch><version {evr}/>\
             <checksum type=\"{checksum}\" pkgid=\"YES\">{id}</checksum>\
             <summary>{DESCRIPTION}</summary><description>{DESCRIPTION}</description>\
             <packager/><url/><time file=\"{build_time}\" build=\"{build_time}\"/>\
             <size package=\"{}\" installed=\"{installed}\" archive=\"{installed}\"/>\
             <location href=\"{path}\"/><format><rpm:license>MIT</rpm:license><rpm:vendor/>\
             <rpm:group>Unspecified</rpm:group><rpm:buildhost>localhost</rpm:buildhost>\
             <rpm:sourcerpm>{source}</rpm:sourcerpm>\
             <rpm:header-range start=\"{}\" end=\"{}\"/>\
             <rpm:provides><rpm:entry name=\"{name}\" flags=\"EQ\" {evr}/>{}</rpm:provides>\
             {}</format></package>",
            bytes.len(),
            header.start,
            header.end,
            entries(&package.relations.provides),
            format_of(&package.relations),
        )
        .unwrap();
        let start = format!(
            "<package pkgid=\"{id}\" name=\"{name}\" arch=\"{architecture}\"><version {evr}/>"
        );
        writeln!(
            texts.filelists,
            "{start}<file>/usr/share/doc/{name}/content</file>{}{}</package>",
            files(&package.relations.files),
            files(&package.relations.further_files),
        )
        .unwrap();
        writeln!(texts.other, "{start}</package>").unwrap();
        self.built
            .write_package(Part::Always, package, &path, &bytes);
    }

    fn extra(&mut self, extra: RpmExtra) {
        let compression = self.rpm.compression;
        match extra {
            RpmExtra::Updateinfo => {
                let text = self.updateinfo();
                self.index("updateinfo", "updateinfo.xml", compression, &text);
            }
            RpmExtra::Modules => {
                let text = self.modules();
                self.index("modules", "modules.yaml", compression, &text);
            }
            RpmExtra::Comps => {
                let text = self.comps();
                self.index("group", "comps.xml", Codec::Plain, &text);
                self.index("group_gz", "comps.xml", Codec::Gz, &text);
            }
            RpmExtra::Prestodelta => {
                let text = self.prestodelta();
                self.index("prestodelta", "prestodelta.xml", compression, &text);
            }
            RpmExtra::UnknownTypes => {
                self.index("productid", "productid", Codec::Plain, "a certificate\n");
                self.index("kit-data", "kit-data.txt", compression, "something\n");
            }
            RpmExtra::Key => {
                if let Signing::By(key) = self.upstream.signing {
                    let key = key.public_armored();
                    self.built
                        .write(Part::Always, "repodata/repomd.xml.key", key);
                }
            }
        }
    }

    fn modules(&self) -> String {
        let mut text = String::new();
        let packages = self.upstream.packages.iter();
        let modular: Vec<Nevra> = packages
            .map(nevra)
            .filter(|nevra| nevra.release.contains(".module"))
            .collect();
        if !modular.is_empty() {
            text += "---\ndocument: modulemd\nversion: 2\ndata:\n  name: kit\n  stream: \"2.10\"\n  version: 1\n  \
                     context: c0ffee\n  arch: x86_64\n  summary: Kit\n  description: Kit\n  license:\n    module: [MIT]\n  \
                     artifacts:\n    rpms:\n";
        }
        for nevra in &modular {
            let Nevra {
                name,
                epoch,
                version,
                release,
                architecture,
                ..
            } = nevra;
            writeln!(
                text,
                "    - {name}-{epoch}:{version}-{release}.{architecture}"
            )
            .unwrap();
        }
        if !modular.is_empty() {
            text += "...\n";
        }
        text + "---\ndocument: modulemd-defaults\nversion: 1\ndata:\n  module: kit\n  stream: \"2.10\"\n...\n"
    }

    fn comps(&self) -> String {
        let names = self.upstream.packages.iter().map(|package| &package.name);
        let members: Vec<String> = names
            .filter(|name| name.starts_with("grouped"))
            .map(|name| format!("<packagereq type=\"mandatory\">{name}</packagereq>"))
            .collect();
        xml(&format!(
            "<comps><group><id>kit</id><name>Kit</name><packagelist>{}</packagelist></group></comps>",
            members.concat()
        ))
    }

    fn updateinfo(&self) -> String {
        if let Some(advisories) = &self.rpm.advisories {
            return xml(&format!("<updates>\n{advisories}</updates>"));
        }
        let mut text = String::new();
        for (number, package) in self.upstream.packages.iter().enumerate() {
            let nevra = nevra(package);
            writeln!(
                text,
                "<update from=\"kit@example.org\" status=\"stable\" type=\"security\" version=\"1\">\
                 <id>KIT-{number}</id><title>{name}</title><issued date=\"2024-01-01 00:00:00\"/>\
                 <severity>Important</severity><description>fixed</description><references/>\
                 <pkglist><collection short=\"kit\"><name>kit</name><package name=\"{name}\" \
                 version=\"{}\" release=\"{}\" epoch=\"{}\" arch=\"{}\"><filename>{}</filename>\
                 </package></collection></pkglist></update>",
                nevra.version,
                nevra.release,
                nevra.epoch,
                nevra.architecture,
                nevra.file_name(),
                name = nevra.name,
            )
            .unwrap();
        }
        xml(&format!("<updates>\n{text}</updates>"))
    }

    fn prestodelta(&mut self) -> String {
        let nevra = nevra(&self.upstream.packages[0]);
        let Nevra {
            name,
            epoch,
            version,
            release,
            architecture,
        } = nevra;
        let path = format!("drpms/{name}-0-1_{version}-{release}.{architecture}.drpm");
        let delta = format!("a delta of {name}\n");
        let checksum = self.rpm.package_checksum;
        let text = format!(
            "<prestodelta><newpackage name=\"{name}\" epoch=\"{epoch}\" version=\"{version}\" \
             release=\"{release}\" arch=\"{architecture}\">\n<delta oldepoch=\"0\" oldversion=\"0\" \
             oldrelease=\"1\"><filename>{path}</filename><sequence>{name}-0-1-00</sequence>\
             <size>{}</size><checksum type=\"{}\">{}</checksum></delta></newpackage></prestodelta>",
            delta.len(),
            checksum.rpm_name(),
            checksum.hex(delta.as_bytes()),
        );
        self.built.write(Part::Always, &path, delta);
        xml(&text)
    }

    /// A metadata file and its data element.
    fn index(&mut self, kind: &str, name: &str, codec: Codec, text: &str) {
        let checksum = self.rpm.checksum;
        let text = self.upstream.changed(kind, text.as_bytes());
        let mut bytes = codec.compress(&text);
        if codec != Codec::Plain {
            bytes.resize(bytes.len() + self.rpm.padding, 0);
        }
        let digest = checksum.hex(&bytes);
        let prefix = match self.rpm.file_names {
            FileNames::WithDigest => format!("{digest}-"),
            FileNames::Plain => String::new(),
        };
        let path = format!("repodata/{prefix}{name}{}", codec.suffix());
        let kind_of_digest = checksum.rpm_name();
        let mut element = format!(
            "<data type=\"{kind}\">\n  <checksum type=\"{kind_of_digest}\">{digest}</checksum>\n"
        );
        if codec != Codec::Plain {
            let open = checksum.hex(&text);
            writeln!(
                element,
                "  <open-checksum type=\"{kind_of_digest}\">{open}</open-checksum>\n  \
                 <open-size>{}</open-size>",
                text.len()
            )
            .unwrap();
        }
        writeln!(
            element,
            "  <location href=\"{path}\"/>\n  <timestamp>{}</timestamp>\n  <size>{}</size>\n</data>",
            self.upstream.date,
            bytes.len()
        )
        .unwrap();
        self.repomd.push_str(&element);
        self.built.write(Part::Always, &path, bytes);
    }

    fn root(&mut self) {
        let repomd = xml(&format!(
            "<repomd xmlns=\"http://linux.duke.edu/metadata/repo\">\n<revision>{}</revision>\n{}</repomd>",
            self.upstream.date, self.repomd
        ));
        if let Signing::By(key) = self.upstream.signing {
            let signature = key.sign(repomd.as_bytes());
            self.built
                .write(Part::Always, "repodata/repomd.xml.asc", signature);
        }
        self.built
            .write(Part::Always, "repodata/repomd.xml", repomd);
    }
}

fn nevra(package: &Package) -> Nevra<'_> {
    let (epoch, rest) = match package.version.split_once(':') {
        Some((epoch, rest)) => (epoch.parse().unwrap(), rest),
        None => (0, package.version.as_str()),
    };
    let (version, release) = rest.split_once('-').unwrap_or((rest, "1"));
    Nevra {
        name: &package.name,
        epoch,
        version,
        release,
        architecture: match &package.architecture {
            Architecture::Native => NATIVE,
            Architecture::Independent => "noarch",
            Architecture::Named(name) => name,
        },
    }
}

/// What else a package's `<format>` says of dependencies.
fn format_of(relations: &Relations) -> String {
    let mut text = String::new();
    for (element, relations) in [
        ("rpm:requires", &relations.needs),
        ("rpm:recommends", &relations.recommends),
    ] {
        if !relations.is_empty() {
            write!(text, "<{element}>{}</{element}>", entries(relations)).unwrap();
        }
    }
    text + &files(&relations.files)
}

fn entries(relations: &[String]) -> String {
    let entry = |text: &String| {
        let (name, versions) = match text.split(' ').collect::<Vec<_>>()[..] {
            [name, sign, full] if !name.starts_with('(') => {
                let flags = match sign {
                    "<" => "LT",
                    "<=" => "LE",
                    "=" => "EQ",
                    ">=" => "GE",
                    ">" => "GT",
                    _ => panic!("{text:?} is no relation"),
                };
                let (epoch, rest) = full.split_once(':').unwrap_or(("0", full));
                let evr = match rest.split_once('-') {
                    Some((version, release)) => {
                        format!("epoch=\"{epoch}\" ver=\"{version}\" rel=\"{release}\"")
                    }
                    None => format!("epoch=\"{epoch}\" ver=\"{rest}\""),
                };
                (name, format!(" flags=\"{flags}\" {evr}"))
            }
            _ => (text.as_str(), String::new()),
        };
        let name = name.replace('<', "&lt;").replace('>', "&gt;");
        format!("<rpm:entry name=\"{name}\"{versions}/>")
    };
    relations.iter().map(entry).collect()
}

fn files(paths: &[String]) -> String {
    let file = |path: &String| format!("<file>{path}</file>");
    paths.iter().map(file).collect()
}

fn xml(body: &str) -> String {
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{body}\n")
}
