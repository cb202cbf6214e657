//! dnf against published trees.

use std::fs;
use std::path::{Path, PathBuf};

use super::{mirror_of, overtake};
use crate::clients::Web;
use crate::kit::chantal::{Chantal, Repository};
use crate::kit::clients::{Dnf, client, installed};
use crate::kit::keys::Key;
use crate::kit::server::{Fault, Server, Times};
use crate::kit::tree::Tree;
use crate::kit::upstream::{Checksum, Codec, FileNames, Package, RpmExtra, Upstream};
use crate::quickstart::Quickstart;

/// What a package's metadata says; from primary, but for the files.
const EVERYTHING: &str = "%{name} %{epoch}:%{version}-%{release} %{arch} %{sourcerpm} %{buildtime} %{downloadsize} \
                          %{summary} %{license} requires %{requires} provides %{provides} files %{files}";

/// Queries whose answers show every kind of metadata.
const QUERIES: [&[&str]; 5] = [
    &["repoquery", "--queryformat", EVERYTHING],
    &["repoquery", "--changelogs"],
    &["repoquery", "--security"],
    &["group", "info", "kit"],
    &["module", "list"],
];

/// What dnf says and downloads.
struct Answers {
    /// stdout of each of [`QUERIES`], or its failure.
    said: Vec<String>,
    /// `None` where dnf may not install.
    downloads: Option<Tree>,
}

impl Answers {
    /// A part of the answer to each of [`QUERIES`].
    #[track_caller]
    fn mention(&self, parts: [&str; QUERIES.len()]) {
        for (said, part) in self.said.iter().zip(parts) {
            assert!(said.contains(part), "no {part:?} in {said}");
        }
    }
}

/// `None` without dnf. repomd.xml must be signed by `key`.
fn ask(url: &str, key: &str, packages: &[&str]) -> Option<Answers> {
    let dnf = Dnf::find()?;
    dnf.repository("kit", url, Some(key));
    dnf.run(&["makecache"]).exits(0);
    let answer = |query: &&[&str]| {
        let output = dnf.run(query);
        format!("{}\n{}", output.status, output.stdout)
    };
    let said = QUERIES.iter().map(answer).collect();
    let downloads = dnf.download(packages).map(|output| {
        output.exits(0);
        Tree::read(&dnf.downloads())
    });
    Some(Answers { said, downloads })
}

/// dnf must say and download the same from both, and through every web server.
fn compare(upstream: &str, published: &Path, key: &str, packages: &[&str]) -> Option<Answers> {
    let direct = ask(upstream, key, packages)?;
    for web in Web::all(published) {
        let mirrored = ask(&web.url(), key, packages)?;
        assert_eq!(mirrored.said, direct.said);
        if let (Some(mirrored), Some(direct)) = (&mirrored.downloads, &direct.downloads) {
            mirrored.assert_same(direct);
        }
    }
    if let Some(downloads) = &direct.downloads {
        assert_eq!(downloads.len(), packages.len(), "{:?}", downloads.paths());
    }
    Some(direct)
}

#[test]
fn every_kind_of_metadata_is_as_from_the_upstream() {
    let upstream = Upstream::rpm()
        .package(Package::new("hello", "1.0-1"))
        .package(Package::new("data", "2:2.5~rc1-3").independent())
        .with_rpm(|rpm| {
            rpm.compression = Codec::Zst;
            rpm.checksum = Checksum::Sha512;
            rpm.package_checksum = Checksum::Sha512;
            rpm.file_names = FileNames::Plain;
            rpm.location = "Packages/k/".to_owned();
            rpm.extras = [
                RpmExtra::Updateinfo,
                RpmExtra::Modules,
                RpmExtra::Comps,
                RpmExtra::Prestodelta,
                RpmExtra::UnknownTypes,
                RpmExtra::Key,
            ]
            .into();
        });
    let mirror = mirror_of(&upstream);
    let (url, key) = (mirror.server.url(), Key::archive().public_armored());
    let packages = ["hello", "data"];
    let Some(answers) = compare(&url, &mirror.published(), &key, &packages) else {
        return;
    };
    answers.mention([
        "data 2:2.5~rc1-3 noarch",
        "Changelog for hello-1.0-1.x86_64",
        "data-2:2.5~rc1-3.noarch\nhello-0:1.0-1.x86_64",
        "Group: Kit",
        "exit status: 0",
    ]);
}

#[test]
fn the_quickstart_is_as_its_upstream() {
    let quickstart = Quickstart::new();
    quickstart.sync().exits(0);
    let upstream = Server::start_dir(&quickstart.upstream("rpm"));
    let (published, key) = (quickstart.published("rpm"), quickstart.key());
    let packages = ["tiny-hello", "tiny-data"];
    if let Some(answers) = compare(&upstream.url(), &published, &key, &packages) {
        answers.mention([
            "tiny-data",
            "tiny-hello",
            "tiny-hello-0:1.0-1.x86_64",
            "",
            "",
        ]);
    }
}

/// Changelogs, dependencies of every kind and groups, written by the tools that real repositories
/// are made with. Below chantal's directory; signed.
fn made_by_createrepo(chantal: &Chantal) -> PathBuf {
    let upstream = chantal.dir().join("upstream");
    fs::create_dir(&upstream).unwrap();
    let spec = "\
Name: real
Epoch: 1
Version: 1.0~rc1
Release: 2%{?dist}
Summary: A package with everything
License: MIT
BuildArch: noarch
Provides: virtual = 3
Requires: virtual >= 2
Requires: (one if two)
Recommends: weak
Conflicts: enemy < 2
Obsoletes: elder < 1
%description
Described.
%install
mkdir -p %{buildroot}/usr/share/real
echo content > \"%{buildroot}/usr/share/real/a b\"
%files
\"/usr/share/real/a b\"
%changelog
* Mon Jan 01 2024 Someone <someone@example.org> - 1.0-2
- Rebuilt with care
";
    chantal.write("real.spec", spec);
    let groups = "<comps><group><id>kit</id><name>Kit</name><uservisible>true</uservisible><packagelist>\
                  <packagereq type=\"mandatory\">real</packagereq></packagelist></group></comps>";
    let groups = chantal.write("comps.xml", groups).display().to_string();
    let dir = chantal.dir().display();
    let (topdir, rpmdir) = (
        format!("_topdir {dir}/rpmbuild"),
        format!("_rpmdir {dir}/upstream"),
    );
    let build = ["-bb", "--define", &topdir, "--define", &rpmdir, "real.spec"];
    client("rpmbuild", &build, chantal.dir()).exits(0);
    let make = [
        "--quiet",
        "--general-compress-type=xz",
        "--database",
        "--groupfile",
        &groups,
    ];
    client(
        "createrepo_c",
        &[&make[..], &["upstream"]].concat(),
        chantal.dir(),
    )
    .exits(0);
    let root = upstream.join("repodata/repomd.xml");
    let signature = Key::archive().sign(&fs::read(&root).unwrap());
    fs::write(upstream.join("repodata/repomd.xml.asc"), signature).unwrap();
    upstream
}

#[test]
fn a_repository_made_by_createrepo_is_as_from_the_upstream() {
    for program in ["rpmbuild", "createrepo_c"] {
        if !installed(program) {
            return;
        }
    }
    let chantal = Chantal::new();
    let upstream = made_by_createrepo(&chantal);
    let server = Server::start_dir(&upstream);
    // rpmbuild does not sign what it makes.
    let repository = Repository::of("r", &Upstream::rpm(), &server.url()).format("gpgcheck: false");
    chantal.repository(&repository);
    chantal.run(&["repo", "sync", "--all"]).succeeds();
    let mut expected = Tree::read(&upstream);
    expected.merge("", &repository.key_files());
    chantal.published_tree("r").assert_same(&expected);

    let key = Key::archive().public_armored();
    let Some(answers) = compare(&server.url(), &chantal.published("r"), &key, &["real"]) else {
        return;
    };
    answers.mention([
        "requires (one if two)\nvirtual >= 2 provides real = 1:1.0~rc1-2\nvirtual = 3 files /usr/share/real/a b\n",
        "- Rebuilt with care",
        "",
        "Mandatory Packages:\n   real",
        "",
    ]);
}

#[test]
fn a_client_with_the_root_before_finishes() {
    let mut upstream = Upstream::rpm().package(Package::new("hello", "1.0-1"));
    let mirror = mirror_of(&upstream);
    let server = Server::start_dir(&mirror.published());
    let Some(dnf) = Dnf::find() else { return };
    dnf.repository("kit", &server.url(), Some(&Key::archive().public_armored()));

    upstream.replace(Package::new("hello", "1.1-1"));
    upstream.bump_date();
    let old = &mirror.built;
    overtake(&mirror, &upstream, &server, &old.ending("primary.xml.gz"));
    dnf.run(&["makecache"]).exits(0);
    // The tree had been exchanged before primary was answered.
    let new = mirror.chantal.published_tree("r");
    let root = upstream.root();
    assert_ne!(new.bytes(&root), old.tree.bytes(&root));
    let query = ["repoquery", "--queryformat", "%{evr}"];
    dnf.run(&query).exits(0).says("1.0-1\n");

    // And its packages are still there, from the metadata that dnf has.
    let Some(output) = dnf.download(&["hello"]) else {
        return;
    };
    output.exits(0);
    let path = old.path_of("hello");
    let downloads = Tree::read(&dnf.downloads());
    assert_eq!(downloads.paths(), [path.as_str()]);
    assert_eq!(downloads.bytes(&path), old.tree.bytes(&path));

    dnf.run(&["makecache", "--refresh"]).exits(0);
    dnf.run(&query).exits(0).says("1.1-1\n");
}

#[test]
fn tampered_files_are_refused() {
    let mirror = mirror_of(&Upstream::rpm().package(Package::new("hello", "1.0-1")));
    for (path, complaint) in [
        ("repodata/repomd.xml".to_owned(), "GPG"),
        (mirror.built.ending("primary.xml.gz"), "Cannot download"),
        (mirror.built.path_of("hello"), "Cannot download"),
    ] {
        let server = Server::start_dir(&mirror.published());
        let Some(dnf) = Dnf::find() else { return };
        dnf.repository("kit", &server.url(), Some(&Key::archive().public_armored()));
        server.fault(&path, Times::Always, Fault::WrongBytes);
        let output = if path.starts_with("repodata/") {
            dnf.run(&["makecache"])
        } else {
            match dnf.download(&["hello"]) {
                Some(output) => output,
                None => return,
            }
        };
        output.exits(1).mentions(complaint);
        assert_eq!(fs::read_dir(dnf.downloads()).unwrap().count(), 0);
    }
}
