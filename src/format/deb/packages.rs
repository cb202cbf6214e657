//! Packages: one stanza for each binary package.

use std::io::BufRead;

use super::fields::{required, text};
use super::stanza::{Stanzas, Values};
use crate::digest::{Algorithm, Digest};
use crate::format::error::FormatError;
use crate::format::index::Reference;
use crate::format::reasons::PackageOrigin;
use crate::manifest::Package;
use crate::rel_path::RelPath;

/// The fields for [`reference()`].
pub(super) const FIELDS: [&str; 7] = [
    "Package",
    "Version",
    "Architecture",
    "Filename",
    "Size",
    "SHA512",
    "SHA256",
];

pub(super) fn read(
    file: &str,
    input: &mut dyn BufRead,
    each: &mut dyn FnMut(Reference) -> Result<(), FormatError>,
) -> Result<(), FormatError> {
    Stanzas::new(file, input, FIELDS)
        .for_each(&mut |above, values| each(reference(file, above, values)?))
}

/// Streams the source packages. `Source` is omitted if it has the same name as the package, and has
/// a version if that differs (Debian Policy, section 5.6.1).
///
/// Invalid text is skipped: the index was read before, and this result is only informational.
pub fn read_origins(
    file: &str,
    input: &mut dyn BufRead,
    each: &mut dyn FnMut(PackageOrigin<'_>),
) -> Result<(), FormatError> {
    let names = ["Package", "Version", "Architecture", "Source"];
    let mut stanzas = Stanzas::new(file, input, names);
    while let Some([name, version, architecture, source]) = stanzas.next()? {
        let (Some(name), Some(version), Some(architecture)) = (
            name.and_then(as_text),
            version.and_then(as_text),
            architecture.and_then(as_text),
        ) else {
            continue;
        };
        let (source, source_version) = match source.and_then(as_text) {
            None => (name, version),
            Some(source) => match source.split_once('(') {
                Some((source, rest)) => (source.trim_end(), rest.trim_end_matches(')').trim()),
                None => (source, version),
            },
        };
        each(PackageOrigin {
            name,
            version,
            architecture,
            source,
            source_version,
        });
    }
    Ok(())
}

fn as_text(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value).ok()
}

/// `above` is the line before the stanza.
pub(super) fn reference(
    file: &str,
    above: u64,
    [name, version, architecture, path, size, sha512, sha256]: Values<'_, 7>,
) -> Result<Reference, FormatError> {
    let package = Package::new(
        file,
        required(file, above, "Package", name)?,
        required(file, above, "Version", version)?,
        required(file, above, "Architecture", architecture)?,
    )?;
    let malformed = |what: String| FormatError::malformed(file, format!("{package}: {what}"));
    // Relative to the URL of the repository, even if Packages of a flat repository is in a
    // subdirectory.
    let path = required(file, above, "Filename", path)?;
    let path = RelPath::parse_named(path)
        .and_then(RelPath::visible)
        .map_err(|source| FormatError::Path {
            file: file.to_owned(),
            named_by: package.to_string(),
            source,
        })?;
    let size = match size {
        Some(size) => {
            let size = text(file, "Size", size)?;
            size.parse()
                .map(Some)
                .map_err(|_| malformed(format!("invalid size {size:?}")))?
        }
        None => None,
    };
    // As in apt, 0 means unknown.
    let size = size.filter(|size| *size > 0);
    // Objects are named by SHA-256, so existing ones are found directly.
    let (algorithm, hex) = match (sha512, sha256) {
        (_, Some(hex)) => (Algorithm::Sha256, hex),
        (Some(hex), None) => (Algorithm::Sha512, hex),
        (None, None) => {
            return Err(FormatError::NoDigest {
                file: file.to_owned(),
                named_by: package.to_string(),
            });
        }
    };
    let digest = Digest::parse(algorithm, text(file, algorithm.name(), hex)?)
        .map_err(|error| malformed(error.to_string()))?;
    Ok(Reference {
        path,
        digest,
        size,
        package: Some(package),
    })
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use proptest::prelude::*;

    use super::*;

    const SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn references(text: &[u8], buffer_size: usize) -> Result<Vec<Reference>, String> {
        let mut input = BufReader::with_capacity(buffer_size, text);
        let mut all = Vec::new();
        read("Packages", &mut input, &mut |reference| {
            all.push(reference);
            Ok(())
        })
        .map(|()| all)
        .map_err(|error| error.to_string())
    }

    fn stanza(fields: &str) -> String {
        format!("Package: g++\nVersion: 4:12.2-3\nArchitecture: amd64\n{fields}\n")
    }

    #[test]
    fn reads_name_path_size_and_the_digest_that_names_objects() {
        let sha512 = "0123456789abcdef".repeat(8);
        let text = [
            stanza(&format!(
                "Depends: cpp (>= 4),\n g++-12\nPhased-Update-Percentage: 10\n\
                 Filename: pool/g/g++_12.2-3_amd64.deb\nSize: 1356\nSHA256: {SHA256}\nSHA512: {sha512}\n"
            )),
            stanza(&format!("Filename: ./a%3ab.deb\nSHA512: {sha512}\n")),
        ]
        .concat();
        let all = references(text.as_bytes(), 4096).unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].path.as_str(), "pool/g/g++_12.2-3_amd64.deb");
        assert_eq!(all[0].size, Some(1356));
        assert_eq!(all[0].digest.hex(), SHA256);
        assert_eq!(
            all[0].package,
            Some(Package {
                name: "g++".to_owned(),
                version: "4:12.2-3".to_owned(),
                architecture: "amd64".to_owned()
            })
        );
        assert_eq!(all[1].path.as_str(), "a%3ab.deb");
        assert_eq!((all[1].size, all[1].digest.hex()), (None, sha512));
    }

    #[test]
    fn errors_name_the_package() {
        let named = "g++ 4:12.2-3 amd64";
        for (fields, message) in [
            (
                format!("Filename: ../../etc/passwd\nSHA256: {SHA256}\n"),
                format!(
                    "{named} has an unsafe path: path \"../../etc/passwd\" is outside of the repository"
                ),
            ),
            (
                "Filename: a.deb\nMD5sum: d41d8cd98f00b204e9800998ecf8427e\nSHA1: x\n".to_owned(),
                format!(
                    "{named} has no strong digest (sha256, sha384 or sha512; for rpm also sha1)"
                ),
            ),
            (
                format!("Filename: a.deb\nSize: 1e9\nSHA256: {SHA256}\n"),
                format!("{named}: invalid size \"1e9\""),
            ),
            (
                "Filename: a.deb\nSHA256: 12\n".to_owned(),
                format!("{named}: a sha256 digest has 64 hexadecimal digits, got 2"),
            ),
            (
                format!("SHA256: {SHA256}\n"),
                "the stanza after line 0 has no Filename".to_owned(),
            ),
        ] {
            assert_eq!(
                references(stanza(&fields).as_bytes(), 64).unwrap_err(),
                format!("Packages: {message}")
            );
        }
        let text = "Package: a\u{1b}[2J\nVersion: 1\nArchitecture: all\nFilename: a\n";
        assert_eq!(
            references(text.as_bytes(), 64).unwrap_err(),
            "Packages: package \"a\\u{1b}[2J\" has the invalid name \"a\\u{1b}[2J\""
        );
    }

    #[test]
    fn packages_say_what_they_were_built_from() {
        let text = b"Package: a\nVersion: 1-1\nArchitecture: all\n\n\
                     Package: b\nVersion: 2:1-1+b1\nArchitecture: amd64\nSource: src (2:1-1)\n\n\
                     Package: c\nVersion: 1\nArchitecture: all\nSource: src\n\n\
                     Package: \xff\nVersion: 1\nArchitecture: all\n\n\
                     Package: d\nVersion: 1\nArchitecture: all\nSource: \xff\n\n\
                     Package: e\nVersion: 1\nArchitecture: all\nSource: odd(\n";
        let mut all = Vec::new();
        read_origins("Packages", &mut &text[..], &mut |origin| {
            let PackageOrigin {
                name,
                version,
                architecture,
                source,
                source_version,
            } = origin;
            all.push([name, version, architecture, source, source_version].join(" "));
        })
        .unwrap();
        assert_eq!(
            all,
            [
                "a 1-1 all a 1-1",
                "b 2:1-1+b1 amd64 src 2:1-1",
                "c 1 all src 1",
                "d 1 all d 1",
                "e 1 all odd ",
            ]
        );
    }

    #[test]
    fn an_error_of_the_caller_ends_the_reading() {
        let one = stanza(&format!("Filename: a\nSHA256: {SHA256}\n"));
        let text = one.repeat(2);
        let mut calls = 0;
        let result = read("Packages", &mut text.as_bytes(), &mut |_| {
            calls += 1;
            Err(FormatError::malformed("x", "stop"))
        });
        assert_eq!(result.unwrap_err().to_string(), "x: stop");
        assert_eq!(calls, 1);
    }

    proptest! {
        #[test]
        fn mutated_input_gives_records_or_errors(at in 0usize..400, byte: u8, size in 1usize..64) {
            let mut text = stanza(&format!("Filename: pool/a.deb\nSize: 1\nSHA256: {SHA256}\n"))
                .repeat(2)
                .into_bytes();
            let at = at % text.len();
            text[at] = byte;
            prop_assert_eq!(references(&text, size), references(&text, 1 << 16));
        }
    }
}
