//! Writes new indexes for chosen packages, and their Release.
//!
//! Indexes that describe packages are rewritten (Packages, Sources, Translation, Contents, dep11,
//! command-not-found); others are copied unchanged (icons, installer images). Each is written as
//! gzip and xz, under its name and its digest, and Release lists the uncompressed names too, which
//! apt and apt-file use.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::{BufRead, Write};

use super::format::AptFormat;
use super::metadata::TextOrder;
use super::record_writer::RecordWriter;
use super::selection::{Apt, Layout, Scope};
use super::stanza::{Stanzas, Values, with_field};
use super::{metadata, packages, release, sources};
use crate::digest::{Algorithm, Hasher, ObjectRef};
use crate::format::compression::{Compression, split_foreign};
use crate::format::error::FormatError;
use crate::format::index::{Index, IndexKind, Reference};
use crate::format::interface::Format;
use crate::format::regenerate::{
    Chosen, Inputs, LeftOut, OnUnreadable, Regenerated, Sink, Source, Written, expect_records,
};
use crate::rel_path::RelPath;

const CODECS: [Compression; 2] = [Compression::Gzip, Compression::Xz];

pub(super) fn regenerate(
    apt: &Apt,
    sources: &[Source<'_>],
    sink: &mut dyn Sink,
) -> Result<Regenerated, FormatError> {
    let mut writer = Writer {
        apt,
        sources,
        kept: sources.iter().map(|_| HashSet::new()).collect(),
        indexes: Vec::new(),
        listed: BTreeMap::new(),
        left_out: Vec::new(),
    };
    let mut by_name: BTreeMap<&str, Vec<(usize, &Index)>> = BTreeMap::new();
    for (number, source) in sources.iter().enumerate() {
        for index in source.indexes.all() {
            if !source.indexes.present(index).is_empty() {
                by_name
                    .entry(&index.name)
                    .or_default()
                    .push((number, index));
            }
        }
    }
    // The other indexes depend on which packages are kept.
    let is_list = |index: &Index| matches!(index.kind, IndexKind::Packages | IndexKind::Sources);
    for lists_first in [true, false] {
        for (name, indexes) in &by_name {
            if is_list(indexes[0].1) == lists_first {
                writer.write(name, indexes, sink)?;
            }
        }
    }
    writer.write_empty_lists(sink)?;
    writer.finish()
}

struct Writer<'a> {
    apt: &'a Apt,
    sources: &'a [Source<'a>],
    /// The names of the kept packages, by source.
    kept: Vec<HashSet<String>>,
    indexes: Vec<(RelPath, ObjectRef)>,
    /// The files in Release, by relative path.
    listed: BTreeMap<String, ObjectRef>,
    left_out: Vec<LeftOut>,
}

impl Writer<'_> {
    fn write(
        &mut self,
        name: &str,
        indexes: &[(usize, &Index)],
        sink: &mut dyn Sink,
    ) -> Result<(), FormatError> {
        // It would list packages that do not exist.
        if split_foreign(name).is_some() {
            return Ok(());
        }
        let Some(rewrite) = Rewrite::of(indexes[0].1) else {
            let (source, index) = indexes[indexes.len() - 1];
            return self.copy_unchanged(source, index);
        };
        let unreadable = match rewrite {
            Rewrite::Packages | Rewrite::Sources => OnUnreadable::Refuse,
            Rewrite::Metadata(_) => OnUnreadable::LeaveOut,
        };
        let mut inputs = Inputs::new(self.sources, indexes.to_vec());
        let mut kept = std::mem::take(&mut self.kept);
        let count = Cell::new(0);
        let written = inputs.written(unreadable, &mut self.left_out, |inputs| {
            count.set(0);
            let mut write = |out: &mut dyn Write| {
                for (position, (number, index)) in inputs.all.iter().enumerate() {
                    let (chosen, names) = (inputs.source(*number).chosen, &mut kept[*number]);
                    let file = index.name.as_str();
                    let order = match position {
                        0 => TextOrder::First,
                        _ => TextOrder::Further,
                    };
                    inputs.read(*number, index, &mut |input| {
                        let out = RecordWriter {
                            name,
                            file: &mut *out,
                            count: &count,
                        };
                        match rewrite {
                            Rewrite::Packages => {
                                let stanzas = Stanzas::copying(file, input, packages::FIELDS);
                                copy_list(file, stanzas, KeptStanza::of_package, chosen, names, out)
                            }
                            Rewrite::Sources => {
                                let stanzas = Stanzas::copying(file, input, sources::FIELDS);
                                copy_list(file, stanzas, KeptStanza::of_source, chosen, names, out)
                            }
                            Rewrite::Metadata(kind) => {
                                metadata::copy(kind, file, input, names, order, out)
                            }
                        }
                    })?;
                }
                Ok(())
            };
            sink.store(&CODECS, &mut write, &mut |input| {
                expect_records(name, count.get(), rewrite.count_records(name, input)?)
            })
        });
        self.kept = kept;
        match written? {
            Some(written) => self.add_index(name, &written),
            None => Ok(()),
        }
    }

    /// Clients reject a Release without files: an empty suite gets empty lists.
    fn write_empty_lists(&mut self, sink: &mut dyn Sink) -> Result<(), FormatError> {
        let is_list = |name: &String| {
            let (name, _) = Compression::split(name);
            matches!(name.rsplit('/').next(), Some("Packages" | "Sources"))
        };
        if self.listed.keys().any(is_list) {
            return Ok(());
        }
        for name in self.names_of_lists()? {
            let written = sink.store(&CODECS, &mut |_| Ok(()), &mut |input| {
                expect_records(&name, 0, Rewrite::Packages.count_records(&name, input)?)
            })?;
            self.add_index(&name, &written)?;
        }
        Ok(())
    }

    /// The lists that clients of this selection request; without a selection, those in the roots.
    fn names_of_lists(&self) -> Result<BTreeSet<String>, FormatError> {
        if self.apt.layout == Layout::Flat {
            return Ok(BTreeSet::from(["Packages".to_owned()]));
        }
        let selection = &self.apt.selection;
        let (mut components, mut architectures) = (
            selection.components.clone(),
            selection.architectures.clone(),
        );
        if self.apt.scope == Scope::Everything {
            let path = self.apt.root_file("Release");
            for source in self.sources {
                let root = release::Release::parse(path.as_str(), source.root)?;
                components.extend(root.components);
                architectures.extend(root.architectures);
            }
        }
        let mut names = BTreeSet::new();
        for component in &components {
            let directory = release::last_segment(component);
            for architecture in architectures.iter().filter(|name| *name != "source") {
                names.insert(format!("{directory}/binary-{architecture}/Packages"));
            }
        }
        Ok(names)
    }

    /// Adds a written index to Release and the published paths.
    fn add_index(&mut self, name: &str, written: &Written) -> Result<(), FormatError> {
        self.listed.insert(name.to_owned(), written.open);
        for (codec, packed) in &written.packed {
            self.add_file(&format!("{name}{}", codec.suffix()), *packed)?;
        }
        Ok(())
    }

    fn add_file(&mut self, name: &str, packed: ObjectRef) -> Result<(), FormatError> {
        let directory = name.rsplit_once('/').map_or("", |(directory, _)| directory);
        let by_hash = format!("{directory}/by-hash/SHA256/{}", packed.object.hex());
        for path in [name, by_hash.trim_start_matches('/')] {
            let path = self.apt.beside(path).map_err(|source| FormatError::Path {
                file: name.to_owned(),
                named_by: "the new location".to_owned(),
                source,
            })?;
            self.indexes.push((path, packed));
        }
        self.listed.insert(name.to_owned(), packed);
        Ok(())
    }

    /// Copies an index unchanged. If several sources have it, the last one is used.
    fn copy_unchanged(&mut self, source: usize, index: &Index) -> Result<(), FormatError> {
        let source = &self.sources[source];
        let directory = self.apt.directory.as_ref();
        for (variant, packed) in source.indexes.present(index) {
            let path = variant.path.as_str();
            let name = match directory {
                Some(directory) => path
                    .strip_prefix(directory.as_str())
                    .and_then(|rest| rest.strip_prefix('/'))
                    .unwrap_or(path),
                None => path,
            };
            self.add_file(name, packed)?;
        }
        if !self.listed.contains_key(&index.name)
            && Compression::of_path(&index.name) == Compression::Plain
        {
            let mut hasher = Hasher::new(Algorithm::Sha256);
            let mut size = 0_u64;
            source.indexes.read(index, &mut |input| {
                loop {
                    let bytes = input.fill_buf().map_err(|source| FormatError::Read {
                        file: index.name.clone(),
                        source,
                    })?;
                    if bytes.is_empty() {
                        return Ok(());
                    }
                    hasher.update(bytes);
                    let length = bytes.len();
                    size += length as u64;
                    input.consume(length);
                }
            })?;
            let object = hasher.finish().0;
            self.listed
                .insert(index.name.clone(), ObjectRef { object, size });
        }
        Ok(())
    }

    fn finish(self) -> Result<Regenerated, FormatError> {
        let root_path = self.apt.root_file("Release");
        let roots: Vec<&[u8]> = self.sources.iter().map(|source| source.root).collect();
        let names: BTreeSet<&str> = self.listed.keys().map(String::as_str).collect();
        let mut root = release::fields_of(root_path.as_str(), &roots, &names)?;
        root.extend_from_slice(b"Acquire-By-Hash: yes\nSHA256:\n");
        for (name, packed) in &self.listed {
            let line = format!(" {} {} {name}\n", packed.object.hex(), packed.size);
            root.extend_from_slice(line.as_bytes());
        }
        AptFormat.read_back(&root_path, &root)?;
        Ok(Regenerated {
            indexes: self.indexes,
            root_path,
            root,
            left_out: self.left_out,
        })
    }
}

/// How an index is rewritten.
#[derive(Clone, Copy)]
enum Rewrite {
    Packages,
    Sources,
    Metadata(metadata::MetadataKind),
}

impl Rewrite {
    /// `None` for indexes that are copied unchanged.
    fn of(index: &Index) -> Option<Self> {
        match index.kind {
            IndexKind::Packages => Some(Self::Packages),
            IndexKind::Sources => Some(Self::Sources),
            _ => metadata::MetadataKind::of(&index.name).map(Self::Metadata),
        }
    }

    /// Counts the records of a written index by reading all of them.
    fn count_records(self, name: &str, input: &mut dyn BufRead) -> Result<u64, FormatError> {
        let mut count = 0;
        match self {
            Self::Packages => packages::read(name, input, &mut |_| {
                count += 1;
                Ok(())
            })?,
            Self::Sources => {
                Stanzas::new(name, input, sources::FIELDS).for_each(&mut |above, values| {
                    sources::references(name, above, values)?;
                    count += 1;
                    Ok(())
                })?;
            }
            Self::Metadata(kind) => count = metadata::count(kind, name, input)?,
        }
        Ok(count)
    }
}

/// A kept stanza of a list.
struct KeptStanza {
    /// The name of its package.
    name: String,
    /// The field with the path of its files, and the new value.
    moved: Option<(&'static str, RelPath)>,
}

impl KeptStanza {
    /// For a package; `None` if it is not chosen.
    fn of_package(
        file: &str,
        above: u64,
        values: Values<'_, 7>,
        chosen: &Chosen,
    ) -> Result<Option<Self>, FormatError> {
        let Reference { path, package, .. } = packages::reference(file, above, values)?;
        Ok(package.filter(|_| chosen.has(&path)).map(|package| Self {
            name: package.name,
            moved: chosen.moved(&path).map(|place| ("Filename", place.clone())),
        }))
    }

    /// For a source package. Versions share the upstream's tarball: a source is chosen if all of
    /// its files are. One without files cannot be chosen.
    fn of_source(
        file: &str,
        above: u64,
        values: Values<'_, 5>,
        chosen: &Chosen,
    ) -> Result<Option<Self>, FormatError> {
        let (package, files) = sources::references(file, above, values)?;
        let is_taken = files.iter().all(|file| chosen.has_of(&file.path, &package));
        let first = files.first().filter(|_| is_taken);
        Ok(first.map(|first| Self {
            name: package.name,
            moved: chosen
                .moved(&first.path)
                .and_then(RelPath::parent)
                .map(|place| ("Directory", place)),
        }))
    }
}

/// Decides by the fields of a stanza whether to keep it. The first argument is the name of the
/// list, the second the line before the stanza.
type Keep<const N: usize> =
    fn(&str, u64, Values<'_, N>, &Chosen) -> Result<Option<KeptStanza>, FormatError>;

/// Copies the stanzas of a list that `keep` keeps, and adds their packages to `names`.
fn copy_list<const N: usize>(
    file: &str,
    mut stanzas: Stanzas<'_, N>,
    keep: Keep<N>,
    chosen: &Chosen,
    names: &mut HashSet<String>,
    mut out: RecordWriter<'_>,
) -> Result<(), FormatError> {
    loop {
        let above = stanzas.line_number();
        let Some(values) = stanzas.next()? else {
            return Ok(());
        };
        let Some(kept) = keep(file, above, values, chosen)? else {
            continue;
        };
        names.insert(kept.name);
        match kept.moved {
            Some((field, place)) => {
                out.write_stanza(&with_field(stanzas.copy(), field, place.as_str()))?;
            }
            None => out.write_stanza(stanzas.copy())?,
        }
    }
}
