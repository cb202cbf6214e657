//! The committed manual pages are the ones that this command line makes.

use std::fs;
use std::path::Path;

use crate::kit::chantal::Chantal;
use crate::kit::clients::{client, installed};
use crate::kit::tree::Tree;

const HOW: &str = "cargo run -- generate man --to man";

fn committed() -> Tree {
    Tree::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("man"))
}

fn generated() -> Tree {
    let chantal = Chantal::new();
    fs::create_dir(chantal.dir().join("man")).unwrap();
    chantal
        .run(&["generate", "man", "--to", "man"])
        .succeeds()
        .says("");
    Tree::read(&chantal.dir().join("man"))
}

#[test]
fn the_committed_pages_are_current() {
    let (generated, committed) = (generated(), committed());
    for (path, text) in generated.iter() {
        assert!(
            committed.find(path).as_deref() == Some(text),
            "man/{path} is not what the command line says: run `{HOW}`"
        );
    }
    for path in committed.paths() {
        assert!(
            generated.find(path).is_some(),
            "man/{path} is no command's page any more: remove it, then run `{HOW}`"
        );
    }
}

#[test]
fn pages_know_their_names_and_each_other() {
    let pages = committed();
    let top = pages.text("chantal.1");
    for (path, bytes) in pages.iter() {
        let name = path.strip_suffix(".1").unwrap();
        let escaped = name.replace('-', "\\-");
        let text = std::str::from_utf8(bytes).unwrap();
        let command = name.replace('-', " ");
        for part in [
            format!(".TH \"{escaped}\" \"1\" \"\" \"chantal "),
            format!(".SH NAME\n{escaped} \\- "),
            "\n.SH \"GLOBAL OPTIONS\"\n".to_owned(),
            "\n.SH \"EXIT STATUS\"\n".to_owned(),
        ] {
            assert!(text.contains(&part), "no {part:?} in {path}");
        }
        // A verb may have a hyphen itself: `take-over`.
        let part = format!(".SH SYNOPSIS\n\\fB{command}\\fR [OPTIONS]");
        let words = text.replace("\\-", " ");
        assert!(words.contains(&part), "no {part:?} in {path}");
        let see_also = text.split("\n.SH \"SEE ALSO\"\n").nth(1).unwrap();
        for line in see_also.lines() {
            let other = line.split(' ').nth(1).unwrap().replace("\\-", "-");
            assert!(
                pages.find(&format!("{other}.1")).is_some(),
                "{path} names {other}, which has no page"
            );
        }
        if name != "chantal" {
            let reference = format!(".BR {escaped} (1)");
            assert!(top.contains(&reference), "no {reference:?} in chantal.1");
        }
    }
}

#[test]
fn a_formatter_finds_nothing_odd_in_them() {
    if !installed("groff") {
        return;
    }
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("man");
    for path in committed().paths() {
        client("groff", &["-man", "-Tutf8", "-ww", "-z", path], &dir)
            .succeeds()
            .says("");
    }
}
