//! Real clients inside install what was carried, by the signatures of the upstream or the exporter.

use std::fs;

use super::{Gap, LATEST};
use crate::clients::Web;
use crate::kit::clients::{Apt, Dnf};
use crate::kit::keys::Key;
use crate::kit::upstream::{Package, Upstream};

#[test]
fn apt_installs_inside() {
    let Some(apt) = Apt::find() else { return };
    let mut gap = Gap::new(Upstream::deb());
    gap.exported(&LATEST);
    gap.imported(&[]);
    let web = Web::all(&gap.inside.published("r")).remove(0);
    apt.source(Key::archive(), &format!("{}/ stable main", web.url()));
    apt.get(&["update"]).succeeds();
    apt.get(&["download", "hello=1.0-1"]).succeeds();
    gap.confirm(1);
    gap.next_day("2.0-1");
    gap.exported(&LATEST);
    gap.imported(&[]);
    apt.get(&["update"]).succeeds();
    apt.get(&["download", "hello=2.0-1"]).succeeds();
}

#[test]
fn apt_installs_what_the_exporter_has_filtered() {
    let Some(apt) = Apt::find() else { return };
    let filters = "filters:\n  exclude: [other]\n";
    let gap = Gap::with(Upstream::deb(), |repository| repository.more(filters));
    gap.exported(&LATEST);
    gap.imported(&[]);
    let web = Web::all(&gap.inside.published("r")).remove(0);
    let key = fs::read(gap.exporter_key()).unwrap();
    apt.source_signed_by(&key, "deb", &format!("{}/ stable main", web.url()));
    apt.get(&["update"]).succeeds();
    apt.get(&["download", "hello"]).succeeds();
}

#[test]
fn dnf_installs_inside() {
    let Some(dnf) = Dnf::find() else { return };
    let mut gap = Gap::new(Upstream::rpm());
    gap.exported(&LATEST);
    gap.imported(&[]);
    let web = Web::all(&gap.inside.published("r")).remove(0);
    let key = Key::archive().public_armored();
    dnf.repository("r", &web.url(), Some(&key));
    if let Some(output) = dnf.download(&["hello"]) {
        output.exits(0);
    }
    gap.confirm(1);
    gap.outside.next(|upstream| {
        upstream.replace(Package::new("hello", "2.0-1"));
    });
    gap.outside.sync().succeeds();
    gap.exported(&LATEST);
    gap.imported(&[]);
    dnf.run(&["clean", "all"]).exits(0);
    if let Some(output) = dnf.download(&["hello-2.0-1"]) {
        output.exits(0);
    }
}
