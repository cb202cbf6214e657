//! Sources: one stanza for each source package, which has several files; and `SHA256SUMS` of
//! installer images.

use std::collections::BTreeSet;
use std::io::BufRead;

use super::fields::{required, text};
use super::stanza::{Stanzas, Values};
use crate::digest::{Algorithm, Digest};
use crate::format::error::FormatError;
use crate::format::index::{Index, Reference};
use crate::format::lines::read_line;
use crate::manifest::Package;
use crate::rel_path::RelPath;

/// A path has at most 3,000 bytes, a digest 64 digits.
const SUMS_LINE_LIMIT: usize = (8 << 10) - 1;

/// The fields for [`references`].
pub(super) const FIELDS: [&str; 5] = [
    "Package",
    "Version",
    "Directory",
    "Checksums-Sha512",
    "Checksums-Sha256",
];

pub(super) fn read(
    file: &str,
    input: &mut dyn BufRead,
    each: &mut dyn FnMut(Reference) -> Result<(), FormatError>,
) -> Result<(), FormatError> {
    Stanzas::new(file, input, FIELDS).for_each(&mut |above, values| {
        let (_, files) = references(file, above, values)?;
        files.into_iter().try_for_each(&mut *each)
    })
}

/// A source package and its files. `above` is the line before the stanza.
pub(super) fn references(
    file: &str,
    above: u64,
    [name, version, directory, sha512, sha256]: Values<'_, 5>,
) -> Result<(Package, Vec<Reference>), FormatError> {
    let package = Package::new(
        file,
        required(file, above, "Package", name)?,
        required(file, above, "Version", version)?,
        Package::SOURCE,
    )?;
    if sha512.is_none() && sha256.is_none() {
        return Err(FormatError::NoDigest {
            file: file.to_owned(),
            named_by: package.to_string(),
        });
    }
    // A flat repository may omit the field or write `.`.
    let directory = text(file, "Directory", directory.unwrap_or(b"."))?;
    let source = Source {
        file,
        package,
        directory: if directory.is_empty() { "." } else { directory },
    };
    // Objects are named by SHA-256, so existing ones are found directly.
    let mut files = source.files(Algorithm::Sha256, sha256)?;
    let known: BTreeSet<RelPath> = files.iter().map(|file| file.path.clone()).collect();
    let others = source.files(Algorithm::Sha512, sha512)?;
    files.extend(
        others
            .into_iter()
            .filter(|file| !known.contains(&file.path)),
    );
    Ok((source.package, files))
}

struct Source<'a> {
    file: &'a str,
    package: Package,
    directory: &'a str,
}

impl Source<'_> {
    /// Lines of digest, size and name.
    fn files(
        &self,
        algorithm: Algorithm,
        lines: Option<&[u8]>,
    ) -> Result<Vec<Reference>, FormatError> {
        text(self.file, "Checksums", lines.unwrap_or_default())?
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .filter(|words| !words.is_empty())
            .map(|words| {
                let (hex, size, name) = match words[..] {
                    // The digest is verified; a missing or invalid size is treated as unknown.
                    [hex, size, name] => (hex, size.parse().ok().filter(|size| *size > 0), name),
                    [hex, name] => (hex, None, name),
                    _ => return Err(self.malformed("a checksum line does not have three fields")),
                };
                Ok(Reference {
                    path: RelPath::parse_named(&format!("{}/{name}", self.directory))
                        .and_then(RelPath::visible)
                        .map_err(|source| FormatError::Path {
                            file: self.file.to_owned(),
                            named_by: self.package.to_string(),
                            source,
                        })?,
                    digest: Digest::parse(algorithm, hex)
                        .map_err(|error| self.malformed(&error.to_string()))?,
                    size,
                    package: Some(self.package.clone()),
                })
            })
            .collect()
    }

    fn malformed(&self, what: &str) -> FormatError {
        FormatError::malformed(self.file, format!("{}: {what}", self.package))
    }
}

/// `SHA256SUMS` as written by sha256sum; names are relative to its directory.
pub(super) fn read_sums(
    index: &Index,
    input: &mut dyn BufRead,
    each: &mut dyn FnMut(Reference) -> Result<(), FormatError>,
) -> Result<(), FormatError> {
    let file = index.name.as_str();
    let sums = &index.variants[0].path;
    let mut line = Vec::new();
    loop {
        read_line(file, input, SUMS_LINE_LIMIT, &mut line)?;
        if line.is_empty() {
            return Ok(());
        }
        let malformed = |what: &str| FormatError::malformed(file, what);
        if line.len() > SUMS_LINE_LIMIT {
            return Err(malformed("a line is too long"));
        }
        let line = text(file, "a line", &line)?.trim_end();
        if line.is_empty() {
            continue;
        }
        let (hex, name) = line
            .split_once(' ')
            .ok_or_else(|| malformed("a line is not a digest and a name"))?;
        // The second space is a `*` in binary mode.
        let name = name.strip_prefix([' ', '*']).unwrap_or(name);
        each(Reference {
            path: sums
                .with_file_name(name)
                .and_then(RelPath::visible)
                .map_err(|source| FormatError::Path {
                    file: file.to_owned(),
                    named_by: "a line".to_owned(),
                    source,
                })?,
            digest: Digest::parse(Algorithm::Sha256, hex)
                .map_err(|error| malformed(&error.to_string()))?,
            size: None,
            package: None,
        })?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::compression::{Compression, Open};
    use crate::format::index::{IndexKind, Presence, Variant};

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn collect(
        read: impl FnOnce(
            &mut dyn FnMut(Reference) -> Result<(), FormatError>,
        ) -> Result<(), FormatError>,
    ) -> Result<Vec<(String, Option<u64>, Algorithm)>, String> {
        let mut all = Vec::new();
        read(&mut |reference| {
            all.push((
                reference.path.as_str().to_owned(),
                reference.size,
                reference.digest.algorithm(),
            ));
            Ok(())
        })
        .map(|()| all)
        .map_err(|error| error.to_string())
    }

    fn sources(fields: &str) -> Result<Vec<(String, Option<u64>, Algorithm)>, String> {
        let text = format!("Package: 0ad\nVersion: 1-2\n{fields}");
        collect(|each| read("Sources", &mut text.as_bytes(), each))
    }

    fn sums(text: &str) -> Result<Vec<(String, Option<u64>, Algorithm)>, String> {
        let path = "dists/x/main/installer-amd64/current/images/SHA256SUMS";
        let index = Index {
            name: "SHA256SUMS".to_owned(),
            kind: IndexKind::OtherFiles,
            variants: vec![Variant {
                also: None,
                path: RelPath::parse(path).unwrap(),
                by_hash: Vec::new(),
                digest: Digest::parse(Algorithm::Sha256, A).unwrap(),
                size: None,
                compression: Compression::Plain,
                open: Open::default(),
            }],
            presence: Presence::AnyVariant,
        };
        collect(|each| read_sums(&index, &mut text.as_bytes(), each))
    }

    #[test]
    fn every_file_of_a_source_package_is_named() {
        let strong = "c".repeat(128);
        let files = sources(&format!(
            "Files:\n d41d8cd98f00b204e9800998ecf8427e 1 only-md5\n\
             Checksums-Sha256:\n {A} 2565 0ad.dsc\n {B}  7  0ad.tar.gz\n\
             Checksums-Sha512:\n {strong} 2565 0ad.dsc\nDirectory: pool/main/0/0ad\n"
        ));
        assert_eq!(
            files.unwrap(),
            [
                (
                    "pool/main/0/0ad/0ad.dsc".to_owned(),
                    Some(2565),
                    Algorithm::Sha256
                ),
                (
                    "pool/main/0/0ad/0ad.tar.gz".to_owned(),
                    Some(7),
                    Algorithm::Sha256
                ),
            ]
        );
    }

    #[test]
    fn an_odd_size_is_an_unknown_size() {
        let files = sources(&format!("Checksums-Sha256:\n {A} x a.dsc\n {B} b.tar\n"));
        assert_eq!(
            files.unwrap(),
            [
                ("a.dsc".to_owned(), None, Algorithm::Sha256),
                ("b.tar".to_owned(), None, Algorithm::Sha256),
            ]
        );
    }

    #[test]
    fn the_directory_is_a_path_too() {
        let named = "Sources: 0ad 1-2 source has an unsafe path: path";
        let below = |directory: &str| {
            let files = sources(&format!(
                "Directory: {directory}\nChecksums-Sha256:\n {A} 1 x\n"
            ));
            files.unwrap()[0].0.clone()
        };
        // apt puts the repository's URL before it.
        assert_eq!(below("/srv"), "srv/x");
        assert_eq!(below("/"), "x");
        for (directory, path) in [
            ("../../../home", "../../../home/x"),
            ("/../home", "../home/x"),
        ] {
            let error = sources(&format!(
                "Directory: {directory}\nChecksums-Sha256:\n {A} 1 x\n"
            ))
            .unwrap_err();
            assert!(error.starts_with(&format!("{named} {path:?}")), "{error}");
        }
        for (directory, name) in [("pool", ".htaccess"), ("pool/.git", "x")] {
            let error = sources(&format!(
                "Directory: {directory}\nChecksums-Sha256:\n {A} 1 {name}\n"
            ))
            .unwrap_err();
            assert!(error.contains("beginning with a dot"), "{error}");
        }
        assert_eq!(
            sources("Files:\n d41d8cd98f00b204e9800998ecf8427e 1 x\n").unwrap_err(),
            "Sources: 0ad 1-2 source has no strong digest \
             (sha256, sha384 or sha512; for rpm also sha1)"
        );
    }

    #[test]
    fn sums_are_relative_to_their_directory() {
        let images = sums(&format!("{A}  ./MANIFEST\n{B} *cdrom/vmlinuz\r\n\n"));
        let directory = "dists/x/main/installer-amd64/current/images";
        assert_eq!(
            images.unwrap(),
            [
                (format!("{directory}/MANIFEST"), None, Algorithm::Sha256),
                (
                    format!("{directory}/cdrom/vmlinuz"),
                    None,
                    Algorithm::Sha256
                ),
            ]
        );
        assert!(sums(&format!("{A}  {}x\n", "../".repeat(7))).is_err());
        assert!(sums(&format!("{A}  ./.htaccess\n")).is_err());
        assert!(sums("<html>\n").is_err());
        assert!(
            sums(&format!("{A}  {}\n", "x".repeat(9000)))
                .unwrap_err()
                .contains("too long")
        );
    }
}
