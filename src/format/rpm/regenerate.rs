//! Writes new metadata for chosen packages, and its repomd.xml.
//!
//! Lists of packages are rewritten (primary, filelists, other and similar, updateinfo, modules),
//! and all other types are copied unchanged (comps, productid, unknown ones). Other forms of the
//! lists (sqlite, zchunk) and deltas are omitted: clients work without them.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashSet};
use std::io::{BufRead, Write};

use super::elements::{DECLARATION, Elements, KeptPackages, OutputState, Rewrite};
use super::files::read_primary;
use super::format::RpmFormat;
use super::repomd::{REPOMD, static_path};
use super::xml::Records;
use super::{comps, modules, repomd};
use crate::digest::ObjectRef;
use crate::format::compression::Compression;
use crate::format::error::{FormatError, not_written};
use crate::format::index::{Index, IndexKind};
use crate::format::interface::Format;
use crate::format::regenerate::{
    Inputs, LeftOut, OnUnreadable, Regenerated, Sink, Source, expect_records,
};
use crate::manifest::Package;
use crate::rel_path::RelPath;

pub(super) fn regenerate(
    sources: &[Source<'_>],
    sink: &mut dyn Sink,
) -> Result<Regenerated, FormatError> {
    let mut writer = Writer {
        codec: codec_of(sources),
        sources,
        kept: sources.iter().map(|_| KeptPackages::default()).collect(),
        indexes: Vec::new(),
        data: Vec::new(),
        left_out: Vec::new(),
    };
    let names: BTreeSet<&str> = sources
        .iter()
        .flat_map(|source| source.indexes.all())
        .map(|index| index.name.as_str())
        .collect();
    // The other indexes depend on which packages are kept.
    writer.primary(sink)?;
    for name in names {
        writer.write(name, sink)?;
    }
    writer.finish()
}

/// Clients support the compression format of primary; all of them support gzip.
fn codec_of(sources: &[Source<'_>]) -> Compression {
    let is_zstd = |source: &Source<'_>| {
        let primary = source.indexes.all().iter().find(|index| is_primary(index));
        primary.is_some_and(|index| index.variants[0].compression == Compression::Zstd)
    };
    if sources.iter().all(is_zstd) {
        Compression::Zstd
    } else {
        Compression::Gzip
    }
}

fn is_comps(name: &str) -> bool {
    matches!(name, "group" | "group_gz")
}

fn is_primary(index: &Index) -> bool {
    index.kind == IndexKind::Packages
}

struct Writer<'a> {
    sources: &'a [Source<'a>],
    codec: Compression,
    kept: Vec<KeptPackages>,
    indexes: Vec<(RelPath, ObjectRef)>,
    data: Vec<repomd::DataEntry>,
    left_out: Vec<LeftOut>,
}

impl<'a> Writer<'a> {
    /// The indexes of a type, by source. A source may have several.
    fn of_type<'n>(&self, name: &'n str) -> impl Iterator<Item = (usize, &'a Index)> + use<'a, 'n> {
        let sources: &'a [Source<'a>] = self.sources;
        let sources = sources.iter().enumerate();
        sources.flat_map(move |(number, source)| {
            let all = source.indexes.all().iter();
            all.filter(move |index| index.name == name)
                .map(move |index| (number, index))
        })
    }

    fn primary(&mut self, sink: &mut dyn Sink) -> Result<(), FormatError> {
        // The number of packages is at the start of the new primary.
        for (number, source) in self.sources.iter().enumerate() {
            self.kept[number].count = match source.chosen.records() {
                Some(records) => records,
                None => count_kept(source)?,
            };
        }
        self.elements("primary", &["metadata", "package"], sink)
    }

    fn write(&mut self, name: &str, sink: &mut dyn Sink) -> Result<(), FormatError> {
        match Rewrite::of(name) {
            Rewrite::Primary | Rewrite::LeftOut => Ok(()),
            Rewrite::ByPackage => {
                let root = match name {
                    "other" => "otherdata",
                    "filelists" => "filelists",
                    "filelists-ext" | "filelists_ext" => "filelists-ext",
                    _ => "susedata",
                };
                self.elements(name, &[root, "package"], sink)
            }
            Rewrite::Updates => self.elements(name, &["updates", "update"], sink),
            Rewrite::Modules => self.modules(name, sink),
            Rewrite::Unchanged if is_comps(name) && self.sources.len() > 1 => {
                // Both are written at once.
                let is_first = name == "group" || self.of_type("group").next().is_none();
                if is_first { self.comps(sink) } else { Ok(()) }
            }
            Rewrite::Unchanged if is_comps(name) && !self.is_readable(name)? => Ok(()),
            Rewrite::Unchanged => {
                self.copy_unchanged(name);
                Ok(())
            }
        }
    }

    /// Writes a root element with the kept elements.
    fn elements(
        &mut self,
        name: &str,
        path: &[&str; 2],
        sink: &mut dyn Sink,
    ) -> Result<(), FormatError> {
        let rewrite = Rewrite::of(name);
        let unreadable = match rewrite {
            Rewrite::ByPackage | Rewrite::Updates => OnUnreadable::LeaveOut,
            _ => OnUnreadable::Refuse,
        };
        let mut inputs = Inputs::new(self.sources, self.of_type(name).collect());
        let mut left_out = std::mem::take(&mut self.left_out);
        let mut kept = std::mem::take(&mut self.kept);
        let written = inputs.written(unreadable, &mut left_out, |inputs| {
            let numbers: BTreeSet<usize> = inputs.all.iter().map(|(number, _)| *number).collect();
            let packages = numbers.iter().map(|number| kept[*number].count).sum();
            if rewrite == Rewrite::Primary {
                kept.iter_mut().for_each(KeptPackages::clear);
            }
            let count = Cell::new(0);
            let mut write = |out: &mut dyn Write| {
                let mut state = OutputState::default();
                for (number, index) in &inputs.all {
                    inputs.read(*number, index, &mut |text| {
                        let mut elements = Elements {
                            name,
                            count: (rewrite != Rewrite::Updates).then_some(packages),
                            source: *number,
                            kept: &mut kept,
                            chosen: inputs.source(*number).chosen,
                            out: &mut *out,
                        };
                        elements.copy(text, path, &mut state)
                    })?;
                }
                count.set(state.elements);
                let end = format!("</{}>\n", path[0]);
                out.write_all(end.as_bytes())
                    .map_err(|source| not_written(name, source))
            };
            sink.store(&[self.codec], &mut write, &mut |text| {
                expect_records(name, count.get(), read_back(rewrite, name, text, path)?)
            })
        });
        self.left_out = left_out;
        self.kept = kept;
        match written? {
            Some(written) => self.add(name, written),
            None => Ok(()),
        }
    }

    fn modules(&mut self, name: &str, sink: &mut dyn Sink) -> Result<(), FormatError> {
        let mut documents = modules::KeptModules::default();
        let is_kept =
            |package: &Package| self.kept.iter().any(|kept| kept.packages.contains(package));
        for (number, index) in self.of_type(name) {
            let indexes = self.sources[number].indexes;
            indexes.read(index, &mut |text| documents.note(name, text, &is_kept))?;
        }
        let documents = RefCell::new(documents);
        let mut write = |out: &mut dyn Write| {
            for (number, index) in self.of_type(name) {
                let indexes = self.sources[number].indexes;
                indexes.read(index, &mut |text| {
                    documents.borrow_mut().copy(name, text, &is_kept, out)
                })?;
            }
            Ok(())
        };
        let written = sink.store(&[self.codec], &mut write, &mut |text| {
            let written = documents.borrow().written();
            expect_records(name, written, modules::count(name, text)?)
        })?;
        self.add(name, written)
    }

    /// Checks that clients can read the copied groups; others are omitted.
    fn is_readable(&mut self, name: &str) -> Result<bool, FormatError> {
        let mut inputs = Inputs::new(self.sources, self.of_type(name).collect());
        let read = inputs.written(OnUnreadable::LeaveOut, &mut self.left_out, |inputs| {
            let mut ids = HashSet::new();
            for (number, index) in &inputs.all {
                for kind in comps::KINDS {
                    inputs.read(*number, index, &mut |text| {
                        comps::read_ids(name, kind, text, &mut ids)
                    })?;
                }
            }
            Ok(())
        });
        Ok(read?.is_some())
    }

    /// The groups of all sources, from `group`, or from its compressed form if there is only that;
    /// if several define the same group, the last definition is used.
    fn comps(&mut self, sink: &mut dyn Sink) -> Result<(), FormatError> {
        let name = "group";
        let codecs = [Compression::Plain, Compression::Gzip];
        let mut all: Vec<(usize, &Index)> = self.of_type("group").collect();
        let twins = self.of_type("group_gz");
        let alone =
            twins.filter(|(number, _)| !self.of_type("group").any(|(other, _)| other == *number));
        let alone: Vec<(usize, &Index)> = alone.collect();
        all.extend(alone);
        all.sort_by_key(|(number, _)| *number);
        let mut inputs = Inputs::new(self.sources, all);
        let written = inputs.written(OnUnreadable::LeaveOut, &mut self.left_out, |inputs| {
            let mut ids: Vec<HashSet<String>> = Vec::new();
            for (number, index) in &inputs.all {
                let mut found = HashSet::new();
                for kind in comps::KINDS {
                    inputs.read(*number, index, &mut |text| {
                        comps::read_ids(name, kind, text, &mut found)
                    })?;
                }
                ids.push(found);
            }
            let count = Cell::new(0);
            let mut write = |out: &mut dyn Write| {
                let mut put = |bytes: &[u8]| {
                    out.write_all(bytes)
                        .map_err(|source| not_written(name, source))
                };
                put(DECLARATION)?;
                put(b"<comps>\n")?;
                for kind in comps::KINDS {
                    for (position, (number, index)) in inputs.all.iter().enumerate() {
                        let later = &ids[position + 1..];
                        inputs.read(*number, index, &mut |text| {
                            comps::each_element(name, kind, text, &mut |id, element| {
                                if later.iter().any(|ids| ids.contains(&id)) {
                                    return Ok(());
                                }
                                count.set(count.get() + 1);
                                put(element)?;
                                put(b"\n")
                            })
                        })?;
                    }
                }
                put(b"</comps>\n")
            };
            sink.store(&codecs, &mut write, &mut |text| {
                expect_records(name, count.get(), comps::count(name, text)?)
            })
        });
        let Some(written) = written? else {
            return Ok(());
        };
        let plain = written.open;
        for (codec, packed) in written.packed {
            let (name, open) = match codec {
                Compression::Plain => ("group", None),
                _ => ("group_gz", Some(plain)),
            };
            self.add_file(name, "comps.xml", codec, packed, open)?;
        }
        Ok(())
    }

    fn add(
        &mut self,
        name: &str,
        written: crate::format::regenerate::Written,
    ) -> Result<(), FormatError> {
        let ending = if Rewrite::of(name) == Rewrite::Modules {
            "yaml"
        } else {
            "xml"
        };
        for (codec, packed) in written.packed {
            let file = format!("{name}.{ending}");
            self.add_file(name, &file, codec, packed, Some(written.open))?;
        }
        Ok(())
    }

    fn add_file(
        &mut self,
        name: &str,
        file: &str,
        codec: Compression,
        packed: ObjectRef,
        open: Option<ObjectRef>,
    ) -> Result<(), FormatError> {
        let hex = packed.object.hex();
        let href = format!("repodata/{hex}-{file}{}", codec.suffix());
        let path = RelPath::parse(&href).map_err(|source| FormatError::Path {
            file: REPOMD.to_owned(),
            named_by: name.to_owned(),
            source,
        })?;
        self.indexes.push((path, packed));
        self.data.push(repomd::DataEntry {
            name: name.to_owned(),
            href,
            packed,
            open,
        });
        Ok(())
    }

    /// Copies a type unchanged. If several sources have it, the last one is used.
    fn copy_unchanged(&mut self, name: &str) {
        let Some((number, _)) = self.of_type(name).last() else {
            return;
        };
        let mut carried = Vec::new();
        for (_, index) in self.of_type(name).filter(|(source, _)| *source == number) {
            for (variant, packed) in self.sources[number].indexes.present(index) {
                let open = variant.open.digest.and_then(|digest| digest.object_id());
                let open = open.zip(variant.open.size);
                let is_packed = variant.compression != Compression::Plain;
                carried.push((
                    variant.path.clone(),
                    packed,
                    open.filter(|_| is_packed)
                        .map(|(object, size)| ObjectRef { object, size }),
                ));
            }
        }
        for (path, packed, open) in carried {
            // Rewritten files must not have the name of a copied file, which would replace them.
            if self.indexes.iter().any(|(taken, _)| *taken == path) {
                continue;
            }
            self.data.push(repomd::DataEntry {
                name: name.to_owned(),
                href: path.as_str().to_owned(),
                packed,
                open,
            });
            self.indexes.push((path, packed));
        }
    }

    fn finish(self) -> Result<Regenerated, FormatError> {
        let last = self.sources.last().expect("there is at least one source");
        let (root_path, root) = (static_path(REPOMD), repomd::write(last.root, &self.data)?);
        RpmFormat.read_back(&root_path, &root)?;
        Ok(Regenerated {
            root,
            indexes: self.indexes,
            root_path,
            left_out: self.left_out,
        })
    }
}

/// The number of elements in a written index.
fn read_back(
    rewrite: Rewrite,
    name: &str,
    text: &mut dyn BufRead,
    path: &[&str; 2],
) -> Result<u64, FormatError> {
    let mut count = 0;
    if rewrite == Rewrite::Primary {
        read_primary(name, text, &mut |_| {
            count += 1;
            Ok(())
        })?;
        return Ok(count);
    }
    let mut records = Records::new(name, text, path, []).with_invalid_utf8_kept();
    while let Some((_, [])) = records.next()? {
        count += 1;
    }
    Ok(count)
}

/// The number of kept elements in primary of a source.
fn count_kept(source: &Source<'_>) -> Result<u64, FormatError> {
    let mut count = 0;
    for index in source
        .indexes
        .all()
        .iter()
        .filter(|index| is_primary(index))
    {
        source.indexes.read(index, &mut |text| {
            read_primary(&index.name, text, &mut |reference| {
                count += u64::from(source.chosen.has(&reference.path));
                Ok(())
            })
        })?;
    }
    Ok(count)
}
