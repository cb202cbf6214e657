//! `repomd.xml`: every `<data>` is an index, of any type.

use std::collections::{BTreeMap, BTreeSet};

use super::fields::{self, digest, location};
use super::xml::{Child, Record, Records};
use crate::digest::{Digest, ObjectRef};
use crate::format::compression::{Compression, Open, split_foreign};
use crate::format::error::FormatError;
use crate::format::index::{Index, IndexKind, Presence, Variant};
use crate::format::root::Root;
use crate::rel_path::RelPath;
use quick_xml::escape::escape;

/// Where clients look for the root.
pub const REPOMD: &str = "repodata/repomd.xml";

/// A repository has about 20 types of metadata.
const INDEXES_LIMIT: usize = 1000;
const TYPE_LIMIT: usize = 100;

pub(super) fn read(file: &str, bytes: &[u8]) -> Result<Root, FormatError> {
    let mut input = bytes;
    let mut records = Records::new(
        file,
        &mut input,
        &["repomd", "data"],
        [
            "location",
            "checksum",
            "open-checksum",
            "size",
            "open-size",
            "timestamp",
        ],
    );
    let mut root = Root {
        date: None,
        revision: revision(file, bytes)?,
        valid_until: None,
        unread_valid_until: None,
        indexes: Vec::new(),
        warnings: Vec::new(),
    };
    let mut kinds: BTreeSet<String> = BTreeSet::new();
    let mut digests: BTreeMap<RelPath, Digest> = BTreeMap::new();
    while let Some((data, children)) = records.next()? {
        if root.indexes.len() == INDEXES_LIMIT {
            return Err(FormatError::malformed(
                file,
                format!("more than {INDEXES_LIMIT} files"),
            ));
        }
        let timestamp = timestamp(children[5].as_ref());
        let index = index(file, &data, &children)?;
        let Variant { path, digest, .. } = &index.variants[0];
        match digests.insert(path.clone(), *digest) {
            None => {}
            Some(other) if other == *digest => continue,
            Some(_) => {
                return Err(FormatError::malformed(
                    file,
                    format!("{path} is listed twice with different checksums"),
                ));
            }
        }
        if !kinds.insert(index.name.clone()) {
            // Clients differ in which one they use.
            root.warnings.push(format!(
                "{file}: {} is listed more than once: all of them are mirrored",
                index.name
            ));
        }
        root.date = root.date.max(timestamp);
        root.indexes.push(index);
    }
    if !kinds.contains("primary") {
        return Err(FormatError::malformed(file, "primary is missing"));
    }
    if root.date.is_none() {
        // createrepo uses the time as the revision by default.
        root.date = root
            .revision
            .and_then(|revision| i64::try_from(revision).ok());
    }
    if root.date.is_none() {
        root.warnings.push(format!(
            "{file}: no timestamps: a sync cannot detect an older version"
        ));
    }
    Ok(root)
}

fn index(file: &str, data: &Child, children: &Record<6>) -> Result<Index, FormatError> {
    let name = data.attribute("type").unwrap_or_default();
    let is_plain = |c: char| c.is_ascii_graphic();
    if name.is_empty() || name.len() > TYPE_LIMIT || !name.chars().all(is_plain) {
        let start: String = name.chars().take(TYPE_LIMIT).collect();
        return Err(FormatError::malformed(
            file,
            format!("a data element has the invalid type {start:?}"),
        ));
    }
    let [path, checksum, open_checksum, size, open_size, _] =
        children.each_ref().map(Option::as_ref);
    let text = |child: Option<&'_ Child>| child.map(|child| child.text.clone());
    let path = location(file, name, path)?;
    // It would look like a package, without a signature check.
    if path.as_str().to_ascii_lowercase().ends_with(".rpm") {
        return Err(FormatError::malformed(
            file,
            format!("{name} is metadata, but its file has the name of a package: {path}"),
        ));
    }
    let digest_of_file = digest(file, name, checksum)?;
    let compression = Compression::of_path(path.as_str());
    if name == "primary"
        && let Some((_, suffix)) = split_foreign(path.as_str())
    {
        return Err(FormatError::Compression {
            file: file.to_owned(),
            name: name.to_owned(),
            found: vec![suffix.to_owned()],
        });
    }
    let mut open = Open {
        also: None,
        // A weak digest is ignored: the downloaded file is verified with another one.
        digest: open_checksum.and_then(|checksum| digest(file, name, Some(checksum)).ok()),
        size: fields::size(file, name, "open-size", text(open_size).as_deref())?,
    };
    let size = fields::size(file, name, "size", text(size).as_deref())?;
    if compression == Compression::Plain {
        // An uncompressed file is its own content. For an unsupported format (zchunk) the
        // declaration is not used.
        open = Open {
            also: None,
            digest: Some(digest_of_file),
            size,
        };
    }
    Ok(Index {
        name: name.to_owned(),
        kind: match name {
            "primary" => IndexKind::Packages,
            "prestodelta" | "deltainfo" => IndexKind::OtherFiles,
            _ => IndexKind::Opaque,
        },
        variants: vec![Variant {
            path,
            by_hash: Vec::new(),
            digest: digest_of_file,
            also: None,
            size,
            compression,
            open,
        }],
        // dnf uses `group_gz`, and does not need `group`.
        presence: if name == "group" || ["_db", "_zck"].iter().any(|end| name.ends_with(end)) {
            Presence::Twin
        } else {
            Presence::AnyVariant
        },
    })
}

/// A file of new metadata.
pub(super) struct DataEntry {
    /// Its type.
    pub(super) name: String,
    pub(super) href: String,
    pub(super) packed: ObjectRef,
    /// The uncompressed content, if known.
    pub(super) open: Option<ObjectRef>,
}

/// A new repomd.xml, with the revision, the tags and the time of the original.
pub(super) fn write(before: &[u8], all: &[DataEntry]) -> Result<Vec<u8>, FormatError> {
    let mut text = before;
    let mut records = Records::copying(REPOMD, &mut text, &["repomd"], ["revision", "tags"]);
    records.next()?;
    let timestamp = read(REPOMD, before)?.date.unwrap_or_default();
    let mut out = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <repomd xmlns=\"http://linux.duke.edu/metadata/repo\" xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\">\n",
    );
    for child in 0..2 {
        let kept = records.child_span(child).map(|span| &records.copy()[span]);
        if let Some(Ok(kept)) = kept.map(std::str::from_utf8) {
            out.push_str(&format!("  {kept}\n"));
        }
    }
    for data in all {
        let DataEntry {
            name,
            href,
            packed,
            open,
        } = data;
        let sum = |packed: &ObjectRef| packed.object.hex();
        out.push_str(&format!(
            "  <data type=\"{}\">\n    <checksum type=\"sha256\">{}</checksum>\n",
            escape(name.as_str()),
            sum(packed)
        ));
        if let Some(open) = open {
            out.push_str(&format!(
                "    <open-checksum type=\"sha256\">{}</open-checksum>\n",
                sum(open)
            ));
        }
        out.push_str(&format!(
            "    <location href=\"{}\"/>\n    <timestamp>{timestamp}</timestamp>\n    <size>{}</size>\n",
            escape(href.as_str()),
            packed.size
        ));
        if let Some(open) = open {
            out.push_str(&format!("    <open-size>{}</open-size>\n", open.size));
        }
        out.push_str("  </data>\n");
    }
    out.push_str("</repomd>\n");
    Ok(out.into_bytes())
}

/// Some tools write fractions of a second. Invalid numbers are ignored.
fn timestamp(child: Option<&Child>) -> Option<i64> {
    let text = child?.text.as_str();
    let seconds = text.split_once('.').map_or(text, |(seconds, _)| seconds);
    seconds.parse().ok()
}

/// It may be any text; only numbers are used.
fn revision(file: &str, mut bytes: &[u8]) -> Result<Option<u64>, FormatError> {
    let mut records = Records::new(file, &mut bytes, &["repomd"], ["revision"]);
    let revision = match records.next()? {
        Some((_, [Some(revision)])) => revision.text.parse().ok(),
        _ => None,
    };
    Ok(revision)
}

/// A path that is known to be valid.
pub fn static_path(path: &'static str) -> RelPath {
    RelPath::parse(path).expect("a plain path")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Algorithm;

    const SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const SHA1: &str = "da39a3ee5e6b4b0d3255bfef95601890afd80709";

    fn parse(inside: &str) -> Result<Root, String> {
        let text = format!("<?xml version=\"1.0\"?>\n<repomd>{inside}</repomd>\n");
        read("repomd.xml", text.as_bytes()).map_err(|error| error.to_string())
    }

    fn data(kind: &str, href: &str, more: &str) -> String {
        format!(
            "<data type=\"{kind}\"><location href=\"{href}\"/>\
             <checksum type=\"sha256\">{SHA256}</checksum>{more}</data>"
        )
    }

    #[test]
    fn every_data_element_is_an_index() {
        let root = parse(
            &[
                "<revision>7</revision>".to_owned(),
                data(
                    "primary",
                    "repodata/primary.xml.zst",
                    &format!(
                        "<open-checksum type=\"sha\">{SHA1}</open-checksum><size>10</size>\
                         <open-size>100</open-size><timestamp>1769845981</timestamp>\
                         <header-checksum type=\"sha256\">x</header-checksum>"
                    ),
                ),
                data(
                    "primary_zck",
                    "repodata/primary.xml.zck",
                    "<open-size>9</open-size><timestamp>1769845980.5</timestamp>",
                ),
                data("prestodelta", "repodata/prestodelta.xml.xz", ""),
                data("unheard-of", "repodata/../x.yaml", "<size>5</size>"),
            ]
            .concat(),
        )
        .unwrap();
        assert_eq!(root.date, Some(1_769_845_981));
        let seen: Vec<_> = root
            .indexes
            .iter()
            .map(|index| {
                (
                    index.name.as_str(),
                    index.kind,
                    index.variants[0].path.as_str(),
                )
            })
            .collect();
        assert_eq!(
            seen,
            [
                ("primary", IndexKind::Packages, "repodata/primary.xml.zst"),
                ("primary_zck", IndexKind::Opaque, "repodata/primary.xml.zck"),
                (
                    "prestodelta",
                    IndexKind::OtherFiles,
                    "repodata/prestodelta.xml.xz"
                ),
                ("unheard-of", IndexKind::Opaque, "x.yaml"),
            ]
        );
        let primary = &root.indexes[0].variants[0];
        assert_eq!((primary.size, primary.open.size), (Some(10), Some(100)));
        assert_eq!(primary.compression, Compression::Zstd);
        assert_eq!(primary.digest.hex(), SHA256);
        assert_eq!(primary.open.digest.unwrap().algorithm(), Algorithm::Sha1);
        assert_eq!(root.indexes[1].variants[0].open.size, None);
        let plain = &root.indexes[3].variants[0];
        assert_eq!(
            (plain.open.size, plain.open.digest),
            (Some(5), Some(plain.digest))
        );
        assert_eq!(root.warnings, Vec::<String>::new());
    }

    #[test]
    fn the_revision_stands_in_for_missing_timestamps() {
        let primary = data("primary", "p.xml", "");
        let date = |revision: &str| {
            parse(&format!("{primary}<revision>{revision}</revision>"))
                .unwrap()
                .date
        };
        assert_eq!(date("1631823519"), Some(1_631_823_519));
        assert_eq!(date("42.3-rc"), None);
        assert_eq!(parse(&primary).unwrap().date, None);
    }

    #[test]
    fn refuses_what_cannot_be_mirrored() {
        let with_checksum = |kind: &str, hex: &str| {
            format!(
                "<data type=\"primary\"><location href=\"p\"/>\
                 <checksum type=\"{kind}\">{hex}</checksum></data>"
            )
        };
        let no_digest =
            "primary has no strong digest (sha256, sha384 or sha512; for rpm also sha1)";
        let path = "primary has an unsafe path: path";
        for (inside, message) in [
            (String::new(), "primary is missing".to_owned()),
            (
                data("filelists", "f.xml", ""),
                "primary is missing".to_owned(),
            ),
            (
                data("", "f.xml", ""),
                "a data element has the invalid type \"\"".to_owned(),
            ),
            (
                with_checksum("md5", "d41d8cd98f00b204e9800998ecf8427e"),
                no_digest.to_owned(),
            ),
            (with_checksum("", SHA256), no_digest.to_owned()),
            (
                with_checksum("sha256", SHA1),
                "primary: a sha256 digest has 64 hexadecimal digits, got 40".to_owned(),
            ),
            (
                "<data type=\"primary\"/>".to_owned(),
                "primary has no location".to_owned(),
            ),
            (
                data("primary", "../x", ""),
                format!("{path} \"../x\" is outside of the repository"),
            ),
            (
                data("primary", "repodata/.x", ""),
                format!(
                    "{path} \"repodata/.x\" contains a hidden file name (beginning with a dot)"
                ),
            ),
            (
                data("extra", "zopaque-1-1.noarch.rpm", ""),
                "extra is metadata, but its file has the name of a package: zopaque-1-1.noarch.rpm"
                    .to_owned(),
            ),
            (
                data("primary", "x.RPM", ""),
                "primary is metadata, but its file has the name of a package: x.RPM".to_owned(),
            ),
            (
                data("primary", "http://evil/x", ""),
                format!("{path} \"http://evil/x\" is a URL"),
            ),
            (
                data("primary", "p\" xml:base=\"http://evil/", ""),
                format!("{path} \"http://evil/\" is a URL"),
            ),
            (
                data("primary", "p", "<size>-1</size>"),
                "primary: invalid size \"-1\"".to_owned(),
            ),
            (
                data(
                    "primary",
                    "p",
                    &format!("<checksum type=\"sha256\">{SHA256}</checksum>"),
                ),
                "an element has two <checksum>".to_owned(),
            ),
            (
                data("primary", "p", "") + &with_checksum("sha", SHA1),
                "p is listed twice with different checksums".to_owned(),
            ),
        ] {
            assert_eq!(
                parse(&inside).unwrap_err(),
                format!("repomd.xml: {message}")
            );
        }
    }

    #[test]
    fn a_type_that_stands_twice_is_mirrored_twice() {
        let dated = "<timestamp>1</timestamp>";
        let twice = data("primary", "a.xml", dated).repeat(2) + &data("primary", "b.xml", dated);
        let root = parse(&twice).unwrap();
        assert_eq!(root.indexes.len(), 2);
        assert_eq!(
            root.warnings,
            ["repomd.xml: primary is listed more than once: all of them are mirrored"]
        );
    }
}
