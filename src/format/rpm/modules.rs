//! modules.yaml: documents about module streams, with the packages that belong to each.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, Read, Write};

use serde::Deserialize;

use super::files::join_version;
use crate::format::{FormatError, not_written};
use crate::manifest::Package;

/// The longest real documents have some 200 KB.
const DOCUMENT_LIMIT: usize = 16 << 20;

/// What of a document says which packages it is about.
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
            .filter_map(|text| nevra(text))
    }
}

/// Notes by its name, version and architecture the `NAME:STREAM` of each modular package.
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

/// Whether a package is there.
type IsThere<'e> = &'e dyn Fn(&Package) -> bool;

/// What a choice keeps of modules.yaml.
#[derive(Debug, Default)]
pub(super) struct Kept {
    modules: HashSet<String>,
    /// Documents that were written: several sources may have the same.
    written: HashSet<crate::digest::ObjectId>,
}

impl Kept {
    /// Notes which modules have a package that is there.
    pub(super) fn note(
        &mut self,
        file: &str,
        text: &mut dyn BufRead,
        is_there: IsThere<'_>,
    ) -> Result<(), FormatError> {
        each_document(file, text, &mut |_, document| {
            if document.is_stream() && is_kept(document, is_there) {
                self.modules.extend(document.data.name.clone());
            }
            Ok(())
        })
    }

    /// Copies the streams that have a package that is there, and what is said about their modules.
    pub(super) fn copy(
        &mut self,
        file: &str,
        text: &mut dyn BufRead,
        is_there: IsThere<'_>,
        out: &mut dyn Write,
    ) -> Result<(), FormatError> {
        each_document(file, text, &mut |bytes, document| {
            let about = document
                .data
                .module
                .as_ref()
                .or(document.data.name.as_ref());
            let is_kept = if document.is_stream() {
                is_kept(document, is_there)
            } else {
                // What names no module may concern any.
                about.is_none_or(|module| self.modules.contains(module))
            };
            if is_kept && self.written.insert(crate::digest::ObjectId::of(bytes)) {
                for part in [&b"---\n"[..], bytes, b"...\n"] {
                    out.write_all(part)
                        .map_err(|source| not_written(file, source))?;
                }
            }
            Ok(())
        })
    }
}

/// A stream without packages is a definition without content: it harms nobody.
fn is_kept(document: &Document, is_there: IsThere<'_>) -> bool {
    document.data.artifacts.rpms.is_empty() || document.packages().any(|package| is_there(&package))
}

/// `NAME-EPOCH:VERSION-RELEASE.ARCHITECTURE`
fn nevra(text: &str) -> Option<Package> {
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

/// What stands behind the `---` or `...` between two documents, which belongs to the next one; `None` where it is none.
fn behind_border(line: &[u8]) -> Option<&[u8]> {
    let rest = [&b"---"[..], b"..."]
        .iter()
        .find_map(|border| line.strip_prefix(*border))?;
    let is_border = rest.first().is_none_or(u8::is_ascii_whitespace);
    let is_empty = rest.trim_ascii().is_empty() || rest.trim_ascii().starts_with(b"#");
    is_border.then_some(if is_empty { &[] } else { rest })
}

type Each<'e> = &'e mut dyn FnMut(&[u8], &Document) -> Result<(), FormatError>;

/// Gives each document, without the lines around it, and what is in it.
fn each_document(file: &str, text: &mut dyn BufRead, each: Each<'_>) -> Result<(), FormatError> {
    let mut bytes: Vec<u8> = Vec::new();
    // A byte order mark is no part of the first document.
    let mark = "\u{feff}".as_bytes();
    if text.fill_buf().is_ok_and(|start| start.starts_with(mark)) {
        text.consume(mark.len());
    }
    loop {
        let start = bytes.len();
        (&mut *text)
            .take(DOCUMENT_LIMIT as u64 + 1)
            .read_until(b'\n', &mut bytes)
            .map_err(|source| FormatError::Read {
                file: file.to_owned(),
                source,
            })?;
        if bytes.len() > DOCUMENT_LIMIT {
            return Err(FormatError::malformed(
                file,
                format!("a document is longer than {DOCUMENT_LIMIT} bytes"),
            ));
        }
        let line = &bytes[start..];
        let is_end = line.is_empty();
        let next = behind_border(line).map(<[u8]>::to_vec);
        let Some(next) = next.or_else(|| is_end.then(Vec::new)) else {
            continue;
        };
        bytes.truncate(start);
        if !bytes.trim_ascii().is_empty() {
            if !bytes.ends_with(b"\n") {
                bytes.push(b'\n');
            }
            let text = std::str::from_utf8(&bytes)
                .map_err(|_| FormatError::malformed(file, "it is not UTF-8"))?;
            let document: Document = serde_yaml::from_str(text).map_err(|_| {
                FormatError::malformed(file, "a document is not YAML of the form that modulemd has")
            })?;
            each(&bytes, &document)?;
        }
        bytes = next;
        if is_end {
            return Ok(());
        }
    }
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
        let mut kept = Kept::default();
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
            let mut kept = Kept::default();
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
        let read = read_streams("modules", &mut &b"a: \xff\n"[..], &mut HashMap::new());
        assert!(read.is_err());
    }
}
