//! Indexes with files: packages in primary, deltas in prestodelta (deltainfo in openSUSE).

use std::io::BufRead;

use super::fields::{digest, location, size};
use super::xml::{Child, Record, Records};
use crate::format::error::FormatError;
use crate::format::index::Reference;
use crate::manifest::Package;
use crate::rel_path::RelPath;

/// The children for [`package`].
pub(super) const CHILDREN: [&str; 6] = ["name", "arch", "version", "checksum", "size", "location"];

/// The positions of checksum and location in them.
pub(super) const CHECKSUM: usize = 3;
pub(super) const LOCATION: usize = 5;

/// `name` is the data type, for messages.
pub(super) fn read_primary(
    name: &str,
    text: &mut dyn BufRead,
    each: &mut dyn FnMut(Reference) -> Result<(), FormatError>,
) -> Result<(), FormatError> {
    let mut records = Records::new(name, text, &["metadata", "package"], CHILDREN);
    while let Some((_, children)) = records.next()? {
        each(package(name, &children)?)?;
    }
    Ok(())
}

pub(super) fn package(file: &str, children: &Record<6>) -> Result<Reference, FormatError> {
    let [name, architecture, version, checksum, declared_size, path] =
        children.each_ref().map(Option::as_ref);
    let text = |child: Option<&'_ Child>| child.map(|child| child.text.clone()).unwrap_or_default();
    let package = Package::new(
        file,
        &text(name),
        &full_version(version),
        &text(architecture),
    )?;
    let named_by = package.to_string();
    Ok(Reference {
        path: location(file, &named_by, path)?,
        digest: digest(file, &named_by, checksum)?,
        size: size(
            file,
            &named_by,
            "size",
            declared_size.and_then(|size| size.attribute("package")),
        )?,
        package: Some(package),
    })
}

/// `epoch:version-release`; an epoch that is missing means 0.
pub(super) fn full_version(version: Option<&Child>) -> String {
    let part = |name| {
        version
            .and_then(|version| version.attribute(name))
            .unwrap_or_default()
    };
    join_version(part("epoch"), part("ver"), part("rel"))
}

/// An epoch of 0 and empty parts are omitted.
pub(super) fn join_version(epoch: &str, version: &str, release: &str) -> String {
    let mut full = match epoch {
        "" | "0" => String::new(),
        epoch => format!("{epoch}:"),
    };
    full.push_str(version);
    if !release.is_empty() {
        full.push('-');
        full.push_str(release);
    }
    full
}

/// `name` is the data type and the root element.
pub(super) fn read_deltas(
    name: &str,
    text: &mut dyn BufRead,
    each: &mut dyn FnMut(Reference) -> Result<(), FormatError>,
) -> Result<(), FormatError> {
    let path = [name, "newpackage", "delta"];
    let mut records = Records::new(name, text, &path, ["filename", "size", "checksum"]);
    while let Some((_, [filename, declared_size, checksum])) = records.next()? {
        let filename = filename.map(|filename| filename.text).unwrap_or_default();
        let named_by = "a delta";
        let path = RelPath::parse_named(&filename)
            .and_then(RelPath::visible)
            .map_err(|source| FormatError::Path {
                file: name.to_owned(),
                named_by: named_by.to_owned(),
                source,
            })?;
        // openSUSE uses the longer one. Other files are refused: they would be published without a
        // signature check.
        if ![".drpm", ".delta.rpm"]
            .iter()
            .any(|ending| path.as_str().ends_with(ending))
        {
            return Err(FormatError::malformed(
                name,
                format!(
                    "{path} is listed as a delta, but its name does not end in .drpm or .delta.rpm"
                ),
            ));
        }
        each(Reference {
            digest: digest(name, path.as_str(), checksum.as_ref())?,
            size: size(
                name,
                path.as_str(),
                "size",
                declared_size.as_ref().map(|size| size.text.as_str()),
            )?,
            path,
            package: None,
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use proptest::prelude::*;

    use super::*;
    use crate::digest::Algorithm;

    const SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const SHA1: &str = "da39a3ee5e6b4b0d3255bfef95601890afd80709";

    fn primary(text: &[u8], buffer_size: usize) -> Result<Vec<Reference>, String> {
        let mut input = BufReader::with_capacity(buffer_size, text);
        let mut all = Vec::new();
        read_primary("primary", &mut input, &mut |reference| {
            all.push(reference);
            Ok(())
        })
        .map(|()| all)
        .map_err(|error| error.to_string())
    }

    /// As createrepo writes it, with what else is in a package element.
    fn element(version: &str, checksum: &str, location: &str) -> String {
        format!(
            "<package type=\"rpm\"><name>g&#43;+</name><arch>x86_64</arch><version {version}/>\
             {checksum}<summary>a &lt;b&gt;</summary><size package=\"1356\" installed=\"9\"/>\
             <location {location}/><format><rpm:provides><rpm:entry name=\"x\"/></rpm:provides>\
             <file>/usr/bin/x</file></format></package>"
        )
    }

    fn metadata(packages: &str) -> String {
        format!("<metadata xmlns:rpm=\"r\" packages=\"1\">\n{packages}\n</metadata>")
    }

    fn sha256() -> String {
        format!("<checksum type=\"sha256\" pkgid=\"YES\">{SHA256}</checksum>")
    }

    #[test]
    fn reads_the_packages() {
        let text = metadata(&element(
            "epoch=\"1\" ver=\"12.2\" rel=\"3.el9\"",
            &sha256(),
            "href=\"Packages/g/g++-12.2~rc1^x%3a.rpm\"",
        ));
        let all = primary(text.as_bytes(), 4096).unwrap();
        assert_eq!(all.len(), 1);
        let expected = Package::new("", "g++", "1:12.2-3.el9", "x86_64").unwrap();
        assert_eq!(all[0].package, Some(expected));
        assert_eq!(all[0].path.as_str(), "Packages/g/g++-12.2~rc1^x%3a.rpm");
        assert_eq!(
            (all[0].size, all[0].digest.hex()),
            (Some(1356), SHA256.to_owned())
        );

        assert_eq!(primary(metadata("").as_bytes(), 64), Ok(Vec::new()));
    }

    #[test]
    fn versions_are_written_in_full() {
        for (attributes, version) in [
            ("epoch=\"0\" ver=\"1\" rel=\"2\"", "1-2"),
            ("ver=\"1\" rel=\"2\"", "1-2"),
            ("epoch=\"\" ver=\"1\" rel=\"2\"", "1-2"),
            ("epoch=\"3\" ver=\"1\"", "3:1"),
        ] {
            let text = metadata(&element(attributes, &sha256(), "href=\"a.rpm\""));
            let all = primary(text.as_bytes(), 64).unwrap();
            assert_eq!(all[0].package.as_ref().unwrap().version, version);
        }
    }

    #[test]
    fn old_checksums_are_read_and_weak_ones_are_not() {
        let with = |checksum: &str| {
            let text = metadata(&element("ver=\"1\"", checksum, "href=\"a.rpm\""));
            primary(text.as_bytes(), 64).map(|all| all[0].digest.algorithm())
        };
        for (name, length, algorithm) in [
            ("sha", 40, Algorithm::Sha1),
            ("sha1", 40, Algorithm::Sha1),
            ("sha256", 64, Algorithm::Sha256),
            ("sha384", 96, Algorithm::Sha384),
            ("sha512", 128, Algorithm::Sha512),
        ] {
            let hex = "0".repeat(length);
            let checksum = format!("<checksum type=\"{name}\">{hex}</checksum>");
            assert_eq!(with(&checksum), Ok(algorithm));
        }
        let none = "primary: g++ 1 x86_64 has no strong digest \
                    (sha256, sha384 or sha512; for rpm also sha1)";
        let md5 = "<checksum type=\"md5\">d41d8cd98f00b204e9800998ecf8427e</checksum>";
        assert_eq!(with(md5).unwrap_err(), none);
        assert_eq!(with("").unwrap_err(), none);
    }

    #[test]
    fn what_leaves_the_repository_names_the_package() {
        let path = "primary: g++ 1 x86_64 has an unsafe path: path";
        for (location, message) in [
            (
                "href=\"../blobstore/ab/x.rpm\"",
                "\"../blobstore/ab/x.rpm\" is outside of the repository",
            ),
            (
                "href=\"/../x.rpm\"",
                "\"../x.rpm\" is outside of the repository",
            ),
            (
                "href=\"a/./.b/x.rpm\"",
                "\"a/.b/x.rpm\" contains a hidden file name (beginning with a dot)",
            ),
            (
                "href=\"https://evil/x.rpm\"",
                "\"https://evil/x.rpm\" is a URL",
            ),
            (
                "xml:base=\"https://evil/\" href=\"x.rpm\"",
                "\"https://evil/\" is a URL",
            ),
        ] {
            let text = metadata(&element("ver=\"1\"", &sha256(), location));
            assert_eq!(
                primary(text.as_bytes(), 64),
                Err(format!("{path} {message}"))
            );
        }
        let text = metadata(&element("ver=\"1\"", &sha256(), ""));
        assert_eq!(
            primary(text.as_bytes(), 64),
            Err("primary: g++ 1 x86_64 has no location".to_owned())
        );
        // Clients put the repository's URL before it.
        for inside in [
            "a/../b/x.rpm",
            "/b/x.rpm",
            "//b/x.rpm",
            "./b/x.rpm",
            "b//x.rpm",
        ] {
            let location = format!("href=\"{inside}\"");
            let text = metadata(&element("ver=\"1\"", &sha256(), &location));
            let all = primary(text.as_bytes(), 64).unwrap();
            assert_eq!(all[0].path.as_str(), "b/x.rpm", "{inside}");
        }
    }

    #[test]
    fn a_size_of_0_is_not_known() {
        let text = metadata(&element("ver=\"1\"", &sha256(), "href=\"a.rpm\""));
        for size in ["package=\"0\"", ""] {
            let text = text.replace("package=\"1356\"", size);
            assert_eq!(primary(text.as_bytes(), 64).unwrap()[0].size, None);
        }
    }

    #[test]
    fn reads_the_deltas() {
        let delta = |checksum: &str| {
            format!(
                "<newpackage name=\"a\" version=\"2\" release=\"1\" arch=\"x86_64\">\
                 <delta oldepoch=\"0\" oldversion=\"1\" oldrelease=\"1\">\
                 <filename>drpms/a-1-1_2-1.x86_64.drpm</filename><sequence>a-1</sequence>\
                 <size>38948</size>{checksum}</delta></newpackage>"
            )
        };
        for root in ["prestodelta", "deltainfo"] {
            let sha = format!("<checksum type=\"sha\">{SHA1}</checksum>");
            let text = format!("<{root}>{}</{root}>", delta(&sha).repeat(2));
            let mut all = Vec::new();
            read_deltas(root, &mut text.as_bytes(), &mut |reference| {
                all.push(reference);
                Ok(())
            })
            .unwrap();
            assert_eq!(all.len(), 2);
            assert_eq!(all[0].path.as_str(), "drpms/a-1-1_2-1.x86_64.drpm");
            assert_eq!(
                (all[0].size, all[0].digest.hex()),
                (Some(38948), SHA1.to_owned())
            );
            assert_eq!(all[0].package, None);
        }
        for (href, named) in [
            ("drpms/a-1-1_2-1.x86_64.delta.rpm", None),
            ("a.rpm", Some("a.rpm")),
            ("a/delta.rpm", Some("a/delta.rpm")),
            ("index.html", Some("index.html")),
        ] {
            let sha = format!("<checksum type=\"sha\">{SHA1}</checksum>");
            let delta = delta(&sha).replace("drpms/a-1-1_2-1.x86_64.drpm", href);
            let text = format!("<prestodelta>{delta}</prestodelta>");
            let read = read_deltas("prestodelta", &mut text.as_bytes(), &mut |_| Ok(()));
            assert_eq!(
                read.err().map(|error| error.to_string()),
                named.map(|path| format!(
                    "prestodelta: {path} is listed as a delta, but its name does not end in .drpm or .delta.rpm"
                ))
            );
        }
        let text = format!("<prestodelta>{}</prestodelta>", delta(""));
        let error = read_deltas("prestodelta", &mut text.as_bytes(), &mut |_| Ok(()));
        assert!(
            error
                .unwrap_err()
                .to_string()
                .contains("a-1-1_2-1.x86_64.drpm has no strong digest")
        );
    }

    proptest! {
        #[test]
        fn mutated_input_gives_records_or_errors(at in 0usize..900, byte: u8, size in 1usize..64) {
            let package = element("ver=\"1\" rel=\"2\"", &sha256(), "href=\"a.rpm\"");
            let mut text = metadata(&package.repeat(2)).into_bytes();
            let at = at % text.len();
            text[at] = byte;
            prop_assert_eq!(primary(&text, size), primary(&text, 1 << 16));
        }
    }
}
