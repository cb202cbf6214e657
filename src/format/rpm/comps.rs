//! comps: groups, and the names of the packages in each.

use std::collections::{HashMap, HashSet};
use std::io::BufRead;

use super::xml::Records;
use crate::format::error::FormatError;

/// Collects the ids of the groups by package name.
pub(super) fn read_members(
    file: &str,
    text: &mut dyn BufRead,
    groups: &mut HashMap<String, Vec<String>>,
) -> Result<(), FormatError> {
    let mut records = Records::copying(file, text, &["comps", "group"], ["id"]);
    while let Some((_, [id])) = records.next()? {
        let id = id.map(|id| id.text).unwrap_or_default();
        let mut group = records.copy();
        let path = ["group", "packagelist", "packagereq"];
        let mut members = Records::with_text(file, &mut group, &path);
        while let Some((member, [])) = members.next()? {
            let of = groups.entry(member.text).or_default();
            if !of.contains(&id) {
                of.push(id.clone());
            }
        }
    }
    Ok(())
}

/// The kinds of elements in comps, in the order of real files.
pub(super) const KINDS: [&str; 4] = ["group", "category", "environment", "langpacks"];

/// Collects the ids of the elements of a kind; see [`each_element`].
pub(super) fn read_ids(
    file: &str,
    kind: &str,
    text: &mut dyn BufRead,
    ids: &mut HashSet<String>,
) -> Result<(), FormatError> {
    each_element(file, kind, text, &mut |id, _| {
        ids.insert(id);
        Ok(())
    })
}

/// The number of elements of these kinds.
pub(super) fn count(file: &str, text: &mut dyn BufRead) -> Result<u64, FormatError> {
    let lists = KINDS.map(|kind| [kind]);
    let lists = lists.each_ref().map(|path| &path[..]);
    let mut records = Records::new(file, text, &["comps"], []).with_lists(&lists);
    let mut count = 0;
    while let Some((_, [])) = records.next()? {
        count += records.listed().iter().map(Vec::len).sum::<usize>() as u64;
    }
    Ok(count)
}

type OnElement<'e> = &'e mut dyn FnMut(String, &[u8]) -> Result<(), FormatError>;

/// Calls `each` for the elements of a kind, byte for byte, with an id that is unique among all
/// kinds.
pub(super) fn each_element(
    file: &str,
    kind: &str,
    text: &mut dyn BufRead,
    each: OnElement<'_>,
) -> Result<(), FormatError> {
    let path = ["comps", kind];
    let mut records = Records::copying(file, text, &path, ["id"]);
    while let Some((_, [id])) = records.next()? {
        let id = id.map(|id| id.text).unwrap_or_default();
        // dnf fails if the id is missing.
        if id.is_empty() && kind != "langpacks" {
            return Err(FormatError::malformed(file, format!("a {kind} has no id")));
        }
        each(format!("{kind} {id}"), records.copy())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_who_is_in_which_group() {
        let text = "<?xml version='1.0'?><!DOCTYPE comps PUBLIC '-//Red Hat, Inc.//DTD Comps info//EN' 'comps.dtd'>\
                    <comps><group><id>core</id><name>Core</name><packagelist>\
                    <packagereq type='mandatory'>bash</packagereq><packagereq> a&amp;b </packagereq>\
                    </packagelist></group><category><id>x</id></category>\
                    <group><id>other</id><packagelist><packagereq>bash</packagereq></packagelist></group></comps>";
        let mut groups = HashMap::new();
        read_members("group", &mut text.as_bytes(), &mut groups).unwrap();
        assert_eq!(groups["bash"], ["core", "other"]);
        assert_eq!(groups["a&b"], ["core"]);
        assert_eq!(groups.len(), 2);
        let entities = "<!DOCTYPE comps [<!ENTITY e 'x'>]><comps/>";
        assert!(read_members("group", &mut entities.as_bytes(), &mut groups).is_err());
    }
}
