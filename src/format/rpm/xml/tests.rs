//! Records, byte for byte and whatever the buffer.

use std::io::{self, BufReader, Read};

use proptest::prelude::*;

use super::*;

type Flat = Vec<[Option<(String, Option<String>)>; 2]>;

/// Text and the attribute `k` of `<a>` and `<b>` in `<list><item>`.
fn read(text: &[u8], buffer_size: usize) -> Result<Flat, String> {
    read_from(&mut BufReader::with_capacity(buffer_size, text))
}

fn read_from(input: &mut dyn BufRead) -> Result<Flat, String> {
    let mut records = Records::new("x.xml", input, &["list", "item"], ["a", "b"]);
    let mut all = Vec::new();
    loop {
        match records.next() {
            Ok(Some((_, children))) => all.push(children.map(|child| {
                child.map(|child| (child.text.clone(), child.attribute("k").map(str::to_owned)))
            })),
            Ok(None) => return Ok(all),
            Err(error) => return Err(error.to_string()),
        }
    }
}

fn texts(text: &str) -> Vec<[Option<String>; 2]> {
    let records = read(text.as_bytes(), 64).unwrap();
    let text = |child: Option<(String, _)>| child.map(|(text, _)| text);
    records
        .into_iter()
        .map(|children| children.map(text))
        .collect()
}

#[test]
fn reads_records_and_skips_the_rest() {
    let some = |text: &str| Some(text.to_owned());
    for (text, expected) in [
        ("<list/>", vec![]),
        ("<?xml version='1.0' encoding='utf-8'?><list/>", vec![]),
        ("<list><other><a>x</a></other></list>", vec![]),
        (
            "<list><item/><item></item></list>",
            vec![[None, None], [None, None]],
        ),
        (
            "<?xml version='1.0'?><!-- c --><list n='1'>\n <item>\n  <a> x </a><b/></item></list>\n",
            vec![[some("x"), some("")]],
        ),
        // Deeper elements of the same name are other elements.
        (
            "<list><item><c><a>no</a><item><a>no</a></item></c><a>y<i>no</i>es</a></item></list>",
            vec![[some("yes"), None]],
        ),
        (
            "<list><item><a>a&amp;b&#43;&#x2b;<!-- c --><![CDATA[<&>]]></a></item></list>",
            vec![[some("a&b++<&>"), None]],
        ),
        (
            "<list><item><x:a>no</x:a></item></list>",
            vec![[None, None]],
        ),
    ] {
        assert_eq!(texts(text), expected, "{text}");
    }
    let attributes = read(
        b"<list><item><a k='x &lt;&#10;y' l=\"\"/></item></list>",
        64,
    );
    assert_eq!(
        attributes.unwrap()[0][0].as_ref().unwrap().1.as_deref(),
        Some("x <\ny")
    );
}

#[test]
fn refuses_what_is_no_plain_metadata() {
    for (text, message) in [
        ("", "no <list> element"),
        ("not found", "no <list> element"),
        ("<html><body/></html>", "expected one <list>, got <html>"),
        ("<list/><list/>", "expected one <list>, got <list>"),
        ("<list><item>", "truncated inside an element"),
        (
            "<!DOCTYPE x [<!ENTITY e 'x'>]><list/>",
            "DOCTYPE is not allowed",
        ),
        ("<list><item><a>&e;</a></item></list>", "unknown entity &e;"),
        ("<list>&e;</list>", "unknown entity &e;"),
        (
            "<?xml version='1.0' encoding='UTF-7'?><list/>",
            "encoding UTF-7 is not supported (supported: UTF-8 and ISO-8859-1)",
        ),
        (
            "<list><item><a/><a/></item></list>",
            "an element has two <a>",
        ),
    ] {
        assert_eq!(
            read(text.as_bytes(), 64),
            Err(format!("x.xml: {message}")),
            "{text}"
        );
    }
    for text in [
        "<list></item></list>",
        "<list><item><a k='1' k='2'/></item></list>",
        "<list><item><a k='&e;'/></item></list>",
        "<list><item><a>\u{fffd}&#0;</a></item></list>",
        "<list",
    ] {
        let error = read(text.as_bytes(), 64).unwrap_err();
        assert!(error.contains("not well-formed"), "{text}: {error}");
    }
    assert!(read(b"<list><item><a>\xff</a></item></list>", 64).is_err());
}

/// The records and the first child of each, as they are written.
fn copies(text: &[u8], buffer_size: usize) -> Option<(String, Vec<[String; 2]>)> {
    let mut input = BufReader::with_capacity(buffer_size, text);
    let mut records = Records::copying("x.xml", &mut input, &["list", "item"], ["a", "b"]);
    let mut all = Vec::new();
    while records.next().ok()?.is_some() {
        let record = String::from_utf8(records.copy().to_vec()).unwrap();
        let span = usize::try_from(records.span().start).unwrap()
            ..usize::try_from(records.span().end).unwrap();
        assert_eq!(record.as_bytes(), &text[span]);
        let child = records.child_span(0).map_or("", |span| &record[span]);
        all.push([child.to_owned(), record.clone()]);
    }
    let root = String::from_utf8(records.root_tag().to_vec()).unwrap();
    Some((root, all))
}

#[test]
fn records_are_copied_byte_for_byte() {
    let items = [
        ("", "<item/>"),
        (
            "<a  k='1'>x &amp; y</a >",
            "<item  k=\"&gt;\">\n<a  k='1'>x &amp; y</a ><!-- c --> </item>",
        ),
        ("<a/>", "<item><c><a>no</a></c><a/><b/></item>"),
        ("", "<item><![CDATA[</item>]]></item>"),
    ];
    let text = items.map(|(_, item)| item).join("\n <other/> text ");
    let text = format!("\u{feff}<?xml version='1.0'?><list a='1'>{text}</list>");
    for size in [1, 7, 4096] {
        let (root, copied) = copies(text.as_bytes(), size).unwrap();
        assert_eq!(root, "<list a='1'>");
        let expected = items.map(|(child, item)| [child.to_owned(), item.to_owned()]);
        assert_eq!(copied, expected, "{size}");
    }
}

#[test]
fn nothing_grows_without_a_limit() {
    let start = "<list><item><a>";
    let mut endless = BufReader::new(start.as_bytes().chain(io::repeat(b'x')));
    let error = read_from(&mut endless).unwrap_err();
    assert_eq!(error, "x.xml: a tag or text exceeds 1048576 bytes");
    let mut endless = BufReader::new(&b"<list k='"[..]).chain(BufReader::new(io::repeat(b'x')));
    assert!(
        read_from(&mut endless)
            .unwrap_err()
            .contains("exceeds 1048576")
    );

    let deep = format!("<list>{}", "<item>".repeat(40));
    assert!(
        read(deep.as_bytes(), 64)
            .unwrap_err()
            .contains("nested more than")
    );
    let long = format!("<list><item><a>{}</a></item></list>", "x&amp;".repeat(9000));
    assert!(
        read(long.as_bytes(), 64)
            .unwrap_err()
            .contains("the text of <a>")
    );
    let unwanted = format!("<list><item><c>{}</c></item></list>", "x".repeat(1_000_000));
    assert_eq!(texts(&unwanted), [[None, None]]);
    let many: Vec<String> = (0..70).map(|n| format!(" k{n}=''")).collect();
    let many = format!("<list><item><a{}/></item></list>", many.concat());
    assert!(
        read(many.as_bytes(), 64)
            .unwrap_err()
            .contains("more than 64 attributes")
    );
}

proptest! {
    #[test]
    fn the_buffer_size_changes_nothing(
        text in "<list>(<item>|</item>|<a k='1'>|</a>|<b/>|x|&amp;|&#x41;|&|<!-- - -->|<!\\[CDATA\\[x\\]\\]>){0,12}(</list>)?",
        size in 1usize..40,
    ) {
        prop_assert_eq!(read(text.as_bytes(), size), read(text.as_bytes(), 1 << 16));
        prop_assert_eq!(copies(text.as_bytes(), size), copies(text.as_bytes(), 1 << 16));
    }

    #[test]
    fn no_bytes_make_it_panic(text: Vec<u8>, size in 1usize..40) {
        let _ = read(&[b"<list>", &text[..]].concat(), size);
    }
}

#[test]
fn texts_deep_in_a_record_are_looked_for() {
    let text = "<list><item><c><f>/a&amp;b</f><f>/no</f><f> /b<i>x</i> </f></c><f>/a&amp;b</f></item>\
                <item><c><f>/no</f></c></item></list>";
    let wanted = |text: &str| ["/a&b", "/b"].iter().position(|path| *path == text);
    let wanted = |text: &str| wanted(text).map(|number| u32::try_from(number).unwrap());
    let mut input = text.as_bytes();
    let mut records = Records::new("x.xml", &mut input, &["list", "item"], ["a"])
        .with_texts(&["c", "f"], &wanted);
    for expected in [&[0, 1][..], &[]] {
        records.next().unwrap().unwrap();
        let mut found: Vec<u32> = records.found().collect();
        found.sort_unstable();
        assert_eq!(found, expected);
    }
    assert!(records.next().unwrap().is_none());
}
