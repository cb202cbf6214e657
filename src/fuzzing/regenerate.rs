//! Generated indexes: they can be parsed, copied records are unchanged, and records of other
//! packages are not included.
//!
//! The first line of an input is the name of the index, the rest is its text.

use std::cell::RefCell;
use std::io::{BufRead, Write};

use super::Verdict;
use crate::config::Filters;
use crate::digest::{ObjectId, ObjectRef};
use crate::format::compression::Compression;
use crate::format::deb::{Apt, Selection};
use crate::format::rpm::{self, Rpm};
use crate::format::{
    Chosen, FormatError, Index, IndexKind, Indexes, Open, Presence, ReadBack, Reference, Selected,
    Sink, Source, Variant, Work, Written,
};
use crate::rel_path::RelPath;

const PACKAGES: &[u8] =
    b"Package: hello\nVersion: 1\nArchitecture: all\nFilename: pool/h.deb\nSize: 1\n\
    SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n";
const PRIMARY: &[u8] =
    b"<metadata packages=\"1\"><package type=\"rpm\"><name>hello</name><arch>noarch</arch>\
    <version epoch=\"0\" ver=\"1\" rel=\"1\"/><checksum type=\"sha256\" pkgid=\"YES\">\
    e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855</checksum>\
    <location href=\"h.rpm\"/></package></metadata>";
const RELEASE: &[u8] = b"Suite: stable\nArchitectures: all\nComponents: main\nSHA256:\n \
    e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 0 main/binary-all/Packages\n";
const REPOMD: &[u8] = b"<repomd><revision>1</revision><data type=\"primary\"><location href=\"repodata/primary.xml\"/>\
    <checksum type=\"sha256\">e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855</checksum></data></repomd>";

/// Indexes in memory.
struct MemoryIndexes {
    all: Vec<Index>,
    contents: Vec<Vec<u8>>,
    /// How often each index was read.
    reads: RefCell<Vec<u64>>,
}

impl MemoryIndexes {
    fn of(texts: &[(&str, IndexKind, &[u8])]) -> Self {
        Self {
            all: texts
                .iter()
                .map(|(name, kind, text)| Index {
                    name: (*name).to_owned(),
                    kind: *kind,
                    variants: vec![Variant {
                        also: None,
                        path: RelPath::parse("index").expect("a plain path"),
                        by_hash: Vec::new(),
                        digest: ObjectId::of(text).digest(),
                        size: None,
                        compression: Compression::Plain,
                        open: Open::default(),
                    }],
                    presence: Presence::AnyVariant,
                })
                .collect(),
            contents: texts.iter().map(|(_, _, text)| text.to_vec()).collect(),
            reads: RefCell::new(vec![0; texts.len()]),
        }
    }
}

impl Indexes for MemoryIndexes {
    fn all(&self) -> &[Index] {
        &self.all
    }

    fn present<'i>(&self, index: &'i Index) -> Vec<(&'i Variant, ObjectRef)> {
        let variant = &index.variants[0];
        let object = variant.digest.object_id().expect("it is SHA-256");
        vec![(variant, ObjectRef { object, size: 0 })]
    }

    fn set_aside(&self, _: &Index) -> bool {
        false
    }

    fn read(
        &self,
        index: &Index,
        work: &mut dyn FnMut(&mut dyn BufRead) -> Result<(), FormatError>,
    ) -> Result<(), FormatError> {
        let place = self.all.iter().position(|other| other.name == index.name);
        let place = place.expect("it is one of ours");
        self.reads.borrow_mut()[place] += 1;
        work(&mut &self.contents[place][..])
    }
}

/// Stores the files in memory.
struct StoredFiles(Vec<Vec<u8>>);

impl Sink for StoredFiles {
    fn store(
        &mut self,
        codecs: &[Compression],
        work: Work<'_>,
        read_back: ReadBack<'_>,
    ) -> Result<Written, FormatError> {
        let mut text = Vec::new();
        work(&mut text as &mut dyn Write)?;
        read_back(&mut &text[..]).expect("what is written can be read back");
        let packed = ObjectRef {
            object: ObjectId::of(&text),
            size: text.len() as u64,
        };
        self.0.push(text);
        Ok(Written {
            open: packed,
            packed: codecs.iter().map(|codec| (*codec, packed)).collect(),
        })
    }
}

fn references(
    selected: &dyn Selected,
    index: &Index,
    text: &[u8],
) -> Result<Vec<Reference>, FormatError> {
    let mut all = Vec::new();
    selected.read_index(index, &mut { text }, &mut |reference| {
        all.push(reference);
        Ok(())
    })?;
    Ok(all)
}

/// Generates new indexes of all packages except the second, and reads them again.
fn regenerate(
    selected: &dyn Selected,
    root: &[u8],
    texts: &MemoryIndexes,
) -> Result<(), FormatError> {
    let list = &texts.all[0];
    let before = references(selected, list, &texts.contents[0])?;
    let mut chosen = Chosen::default();
    let left_out = before.get(1).map(|reference| reference.path.clone());
    let taken = |reference: &Reference| Some(&reference.path) != left_out.as_ref();
    for reference in before.iter().filter(|reference| taken(reference)) {
        chosen.take(reference.path.clone());
        reference
            .package
            .iter()
            .for_each(|package| chosen.note(package));
    }
    let source = Source {
        root,
        indexes: texts,
        chosen: &chosen,
    };
    let mut kept = StoredFiles(Vec::new());
    selected.regenerate(&[source], &mut kept)?;
    let after = references(selected, list, &kept.0[0]).expect("what we wrote can be read");
    let expected: Vec<&Reference> = before.iter().filter(|reference| taken(reference)).collect();
    if list.kind != IndexKind::Sources {
        assert_eq!(after.iter().collect::<Vec<_>>(), expected);
    }
    if before.is_empty() {
        let text = String::from_utf8_lossy(&kept.0[0]).into_owned();
        assert!(!text.contains("Package:"), "nothing was chosen: {text}");
    }
    // Indexes of packages contain nothing from other files.
    assert!(after.iter().all(|reference| chosen.has(&reference.path)));
    // The result is reproducible.
    let again = RefCell::new(StoredFiles(Vec::new()));
    selected.regenerate(&[source], &mut *again.borrow_mut())?;
    assert_eq!(again.borrow().0, kept.0);
    Ok(())
}

fn named(input: &[u8]) -> Option<(&str, &[u8])> {
    let end = input.iter().position(|byte| *byte == b'\n')?;
    let name = std::str::from_utf8(&input[..end]).ok()?;
    Some((name, &input[end + 1..]))
}

pub fn deb(input: &[u8]) -> Verdict {
    let apt = Apt::new(Selection {
        distribution: "stable".to_owned(),
        components: vec!["main".to_owned()],
        architectures: vec!["amd64".to_owned()],
        sources: true,
        udebs: true,
        installer: true,
        filters: Filters::default(),
    })
    .expect("a plain distribution");
    let Some((name, text)) = named(input) else {
        return Verdict::Refused;
    };
    let packages = ("main/binary-all/Packages", IndexKind::Packages, PACKAGES);
    let texts = match name {
        "main/binary-amd64/Packages" => MemoryIndexes::of(&[(name, IndexKind::Packages, text)]),
        "main/source/Sources" => MemoryIndexes::of(&[(name, IndexKind::Sources, text)]),
        "main/i18n/Translation-en"
        | "main/Contents-amd64"
        | "main/dep11/Components-amd64.yml"
        | "main/cnf/Commands-amd64" => {
            MemoryIndexes::of(&[packages, (name, IndexKind::Opaque, text)])
        }
        _ => return Verdict::Refused,
    };
    Verdict::of(&regenerate(&apt, RELEASE, &texts))
}

pub fn rpm(input: &[u8]) -> Verdict {
    let format = Rpm::new(rpm::Selection {
        architectures: None,
        sources: true,
        filters: Filters::default(),
    });
    let Some((name, text)) = named(input) else {
        return Verdict::Refused;
    };
    let primary = ("primary", IndexKind::Packages, PRIMARY);
    let texts = match name {
        "primary" => MemoryIndexes::of(&[(name, IndexKind::Packages, text)]),
        "filelists" | "other" | "updateinfo" | "modules" | "group" | "susedata" => {
            MemoryIndexes::of(&[primary, (name, IndexKind::Opaque, text)])
        }
        _ => return Verdict::Refused,
    };
    let filtered = format.streams(&texts).is_ok();
    let written = regenerate(&format, REPOMD, &texts);
    assert!(filtered || written.is_err() || name != "modules");
    Verdict::of(&written)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCES: &[u8] = b"Package: hello\nVersion: 1\nDirectory: pool\nChecksums-Sha256:\n \
        e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 1 h.dsc\n";

    /// Selects packages and writes new indexes like a sync. Returns the selected paths and the new
    /// indexes.
    fn filtered(
        selected: &dyn Selected,
        root: &[u8],
        texts: &MemoryIndexes,
    ) -> (Vec<String>, StoredFiles) {
        let choice = selected.choose(texts).unwrap();
        let chosen = choice.chosen.expect("there is a filter");
        let source = Source {
            root,
            indexes: texts,
            chosen: &chosen,
        };
        let mut kept = StoredFiles(Vec::new());
        selected.regenerate(&[source], &mut kept).unwrap();
        let files = choice.listed.expect("the lists were read").files;
        let mut paths: Vec<String> = files.iter().map(|file| file.path.to_string()).collect();
        paths.sort();
        (paths, kept)
    }

    #[test]
    fn a_list_of_packages_is_read_once_to_choose_and_once_to_copy() {
        let filters = Filters {
            exclude: vec![glob::Pattern::new("left-out").unwrap()],
            ..Filters::default()
        };
        let other = String::from_utf8(PACKAGES.to_vec()).unwrap();
        let other = other.replace("hello", "left-out").replace("h.deb", "l.deb");
        let packages = [PACKAGES, b"\n", other.as_bytes()].concat();
        let apt = Apt::new(Selection {
            distribution: "stable".to_owned(),
            components: vec!["main".to_owned()],
            architectures: vec!["amd64".to_owned()],
            sources: true,
            udebs: false,
            installer: false,
            filters: filters.clone(),
        });
        let texts = MemoryIndexes::of(&[
            ("main/binary-all/Packages", IndexKind::Packages, &packages),
            ("main/source/Sources", IndexKind::Sources, SOURCES),
        ]);
        let (paths, _) = filtered(&apt.unwrap(), RELEASE, &texts);
        assert_eq!(paths, ["pool/h.deb", "pool/h.dsc"]);
        assert_eq!(*texts.reads.borrow(), [2, 2]);

        let rpm = Rpm::new(rpm::Selection {
            architectures: None,
            sources: true,
            filters,
        });
        // A package is listed twice: both elements are kept and counted.
        let primary = String::from_utf8(PRIMARY.to_vec()).unwrap();
        let start = primary.find("<package ").unwrap();
        let element = &primary[start..primary.find("</metadata>").unwrap()];
        let other = element
            .replace("hello", "left-out")
            .replace("h.rpm", "l.rpm");
        let primary = format!("<metadata packages=\"3\">{element}{other}{element}</metadata>");
        let filelists = b"<filelists packages=\"1\"></filelists>";
        let texts = MemoryIndexes::of(&[
            ("primary", IndexKind::Packages, primary.as_bytes()),
            ("filelists", IndexKind::Opaque, filelists),
        ]);
        let (paths, kept) = filtered(&rpm, REPOMD, &texts);
        assert_eq!(paths, ["h.rpm"]);
        let new = String::from_utf8(kept.0[0].clone()).unwrap();
        assert!(new.contains("packages=\"2\""), "{new}");
        assert_eq!(new.matches("<package ").count(), 2);
        assert_eq!(*texts.reads.borrow(), [2, 1]);
    }
}
