//! modules.yaml: documents about module streams, with the packages that belong to each.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, Write};

use serde::Deserialize;

use super::files::join_version;
use crate::format::error::{FormatError, not_written};
use crate::format::yaml;
use crate::manifest::Package;

/// The longest real documents have some 200 KB.
const DOCUMENT_LIMIT: usize = 16 << 20;

/// The document types that libmodulemd supports.
const KNOWN: [&str; 6] = [
    "modulemd",
    "modulemd-packager",
    "modulemd-defaults",
    "modulemd-translations",
    "modulemd-obsoletes",
    "modulemd-stream",
];

/// The parts of a document that identify its packages.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Document {
    document: String,
    data: Data,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Data {
    name: Option<String>,
    /// In documents about a module as a whole.
    module: Option<String>,
    stream: Option<String>,
    artifacts: Artifacts,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Artifacts {
    /// `NAME-EPOCH:VERSION-RELEASE.ARCHITECTURE`
    rpms: Vec<String>,
}

impl Document {
    /// A stream, with the packages in it.
    fn is_stream(&self) -> bool {
        self.document == "modulemd"
    }

    fn packages(&self) -> impl Iterator<Item = Package> + '_ {
        self.data
            .artifacts
            .rpms
            .iter()
            .filter_map(|text| parse_nevra(text))
    }
}

/// Collects `NAME:STREAM` of each modular package by name, version and architecture.
pub(super) fn read_streams(
    file: &str,
    text: &mut dyn BufRead,
    streams: &mut HashMap<Package, String>,
) -> Result<(), FormatError> {
    each_document(file, text, &mut |_, document| {
        if document.is_stream() {
            let name = document.data.name.clone().unwrap_or_default();
            let stream = document.data.stream.clone().unwrap_or_default();
            for package in document.packages() {
                streams.insert(package, format!("{name}:{stream}"));
            }
        }
        Ok(())
    })
}

/// Whether a package exists.
type HasPackage<'e> = &'e dyn Fn(&Package) -> bool;

/// The documents of modules.yaml that a choice keeps.
#[derive(Debug, Default)]
pub(super) struct KeptModules {
    modules: HashSet<String>,
    /// The written documents: several sources may have the same.
    written: HashSet<crate::digest::ObjectId>,
}

impl KeptModules {
    /// The number of written documents.
    pub(super) fn written(&self) -> u64 {
        self.written.len() as u64
    }

    /// Collects the modules with an existing package.
    pub(super) fn note(
        &mut self,
        file: &str,
        text: &mut dyn BufRead,
        has_package: HasPackage<'_>,
    ) -> Result<(), FormatError> {
        each_document(file, text, &mut |_, document| {
            if document.is_stream() && is_kept(document, has_package) {
                self.modules.extend(document.data.name.clone());
            }
            Ok(())
        })
    }

    /// Copies the streams with an existing package, and the documents about their modules.
    pub(super) fn copy(
        &mut self,
        file: &str,
        text: &mut dyn BufRead,
        has_package: HasPackage<'_>,
        out: &mut dyn Write,
    ) -> Result<(), FormatError> {
        each_document(file, text, &mut |written, document| {
            let about = document
                .data
                .module
                .as_ref()
                .or(document.data.name.as_ref());
            let is_kept = if document.is_stream() {
                is_kept(document, has_package)
            } else {
                // A document without a module may concern any.
                about.is_none_or(|module| self.modules.contains(module))
            };
            let bytes = written.bytes();
            if is_kept && self.written.insert(crate::digest::ObjectId::of(&bytes)) {
                for part in [&bytes[..], b"...\n"] {
                    out.write_all(part)
                        .map_err(|source| not_written(file, source))?;
                }
            }
            Ok(())
        })
    }
}

/// The number of documents.
pub(super) fn count(file: &str, text: &mut dyn BufRead) -> Result<u64, FormatError> {
    let mut count = 0;
    each_document(file, text, &mut |_, _| {
        count += 1;
        Ok(())
    })?;
    Ok(count)
}

/// A stream without packages has no content and is harmless.
fn is_kept(document: &Document, has_package: HasPackage<'_>) -> bool {
    document.data.artifacts.rpms.is_empty()
        || document.packages().any(|package| has_package(&package))
}

/// `NAME-EPOCH:VERSION-RELEASE.ARCHITECTURE`
fn parse_nevra(text: &str) -> Option<Package> {
    let (rest, architecture) = text.rsplit_once('.')?;
    let (rest, release) = rest.rsplit_once('-')?;
    let (name, version) = rest.rsplit_once('-')?;
    let (epoch, version) = version.split_once(':').unwrap_or(("0", version));
    Some(Package {
        name: name.to_owned(),
        version: join_version(epoch, version, release),
        architecture: architecture.to_owned(),
    })
}

type OnDocument<'e> = &'e mut dyn FnMut(&yaml::Document, &Document) -> Result<(), FormatError>;

/// Calls `each` for each document, as written and parsed.
fn each_document(
    file: &str,
    text: &mut dyn BufRead,
    each: OnDocument<'_>,
) -> Result<(), FormatError> {
    yaml::each_document(file, text, DOCUMENT_LIMIT, &mut |written| {
        let bytes = written.bytes();
        let text =
            std::str::from_utf8(&bytes).map_err(|_| FormatError::malformed(file, "not UTF-8"))?;
        let document: Document = serde_yaml::from_str(text)
            .map_err(|_| FormatError::malformed(file, "a document is not valid modulemd YAML"))?;
        if !KNOWN.contains(&document.document.as_str()) {
            let kind: String = document.document.chars().take(60).collect();
            let what = format!(
                "a document has the type {kind:?}, for which clients reject the whole file"
            );
            return Err(FormatError::malformed(file, what));
        }
        if has_other_line_breaks(text) {
            let what = "a document contains a line break that not all YAML parsers support (U+0085, U+2028, U+2029)";
            return Err(FormatError::malformed(file, what));
        }
        each(written, &document)
    })
}

/// In YAML 1.1, which clients use, these end a line and a comment.
fn has_other_line_breaks(text: &str) -> bool {
    let is_break = |c| matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}');
    text.lines()
        .filter(|line| line.contains(is_break))
        .any(|line| !line.contains('"') && !line.contains('\''))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "---\ndocument: modulemd\nversion: 2\ndata:\n  name: perl\n  stream: 2.10\n  version: 1\n  \
        artifacts:\n    rpms:\n    - perl-4:5.30-1.el8.x86_64\n...\n---\ndocument: modulemd\ndata:\n  name: ruby\n  \
        stream: '3.0'\n  artifacts:\n    rpms:\n    - ruby-0:3.0-1.noarch\n...\n---\ndocument: modulemd-defaults\n\
        data:\n  module: ruby\n  stream: 3.0\n...\n---\ndocument: modulemd-defaults\ndata:\n  module: perl\n  \
        profiles:\n    5.26: [minimal]\n";

    fn package(name: &str, version: &str, architecture: &str) -> Package {
        Package::new("", name, version, architecture).unwrap()
    }

    #[test]
    fn streams_are_texts() {
        let mut streams = HashMap::new();
        read_streams("modules", &mut TEXT.as_bytes(), &mut streams).unwrap();
        let perl = package("perl", "4:5.30-1.el8", "x86_64");
        let ruby = package("ruby", "3.0-1", "noarch");
        assert_eq!(streams[&perl], "perl:2.10");
        assert_eq!(streams[&ruby], "ruby:3.0");
        assert_eq!(streams.len(), 2);
    }

    #[test]
    fn a_module_stays_with_its_packages() {
        let ruby = package("ruby", "3.0-1", "noarch");
        let packages = |package: &Package| *package == ruby;
        let mut kept = KeptModules::default();
        kept.note("modules", &mut TEXT.as_bytes(), &packages)
            .unwrap();
        let mut out = Vec::new();
        for _ in 0..2 {
            kept.copy("modules", &mut TEXT.as_bytes(), &packages, &mut out)
                .unwrap();
        }
        let out = String::from_utf8(out).unwrap();
        let documents: Vec<&str> = TEXT.split_inclusive("...\n").collect();
        assert_eq!(out, [documents[1], documents[2]].concat());
    }

    #[test]
    fn documents_begin_in_several_ways() {
        for start in [
            "--- # hi\n",
            "---\t\n",
            "\u{feff}---\n",
            "...\n---\n",
            "--- {document: modulemd-obsoletes}\n---\n",
        ] {
            let text = format!("{start}document: modulemd\ndata:\n  name: m\n  stream: 1\n");
            let mut kept = KeptModules::default();
            let mut out = Vec::new();
            kept.copy("modules", &mut text.as_bytes(), &|_| true, &mut out)
                .unwrap();
            let out = String::from_utf8(out).unwrap();
            let document = "---\ndocument: modulemd\ndata:\n  name: m\n  stream: 1\n...\n";
            assert!(out.ends_with(document), "{start:?}: {out}");
            assert!(!out.contains("---\n---"), "{start:?}: {out}");
        }
    }

    #[test]
    fn what_is_no_modulemd_is_refused() {
        for text in ["- a\n- b\n", "data: [1\n", "data:\n  artifacts: 7\n"] {
            let read = read_streams("modules", &mut text.as_bytes(), &mut HashMap::new());
            assert!(read.is_err(), "{text}");
        }
        for (text, words) in [
            ("document: modulemd-foo\n", "has the type \"modulemd-foo\""),
            ("data: {}\n", "has the type \"\""),
            (
                "document: modulemd\n# \u{85} x\n",
                "a line break that not all",
            ),
        ] {
            let read = read_streams("modules", &mut text.as_bytes(), &mut HashMap::new());
            let error = read.unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        let read = read_streams("modules", &mut &b"a: \xff\n"[..], &mut HashMap::new());
        assert!(read.is_err());
    }
}
