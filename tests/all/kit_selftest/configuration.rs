//! The configuration that tests run with, and how outputs are shown.

use std::fs;

use crate::kit::chantal::{Chantal, Repository};
use crate::kit::keys::Key;
use crate::kit::server::Server;
use crate::kit::tree::Tree;
use crate::kit::upstream::{Package, Upstream};

#[test]
fn a_repository_for_everything_an_upstream_has() {
    let chantal = Chantal::new();
    let [deb, rpm] = Upstream::both().map(|u| u.package(Package::new("hello", "1-1")));
    chantal.repository(&Repository::of("d", &deb, "http://127.0.0.1:1"));
    chantal.repository(&Repository::of("r", &rpm.unsigned(), "http://127.0.0.1:2"));

    let config = Tree::read(&chantal.config());
    assert_eq!(
        config.text("repos.d/d.yaml"),
        "name: d
type: apt
upstream:
  url: http://127.0.0.1:1
apt:
  distribution: stable
  components: [main]
  architectures: [amd64]
  gpgcheck: true
  gpgkey_file: d.asc
publish:
  latest_path: ../../www/d/latest
"
    );
    assert_eq!(
        config.text("repos.d/d.asc"),
        Key::archive().public_armored()
    );
    assert_eq!(
        config.text("repos.d/r.yaml"),
        "name: r
type: rpm
upstream:
  url: http://127.0.0.1:2
rpm:
  repo_gpgcheck: false
  gpgcheck: false
publish:
  latest_path: ../../www/r/latest
"
    );
    assert_eq!(
        config.text("conf.d/global.yaml"),
        "storage:\n  base_path: ../../data\n"
    );
}

#[test]
fn definitions_can_be_changed() {
    let chantal = Chantal::new();
    let flat = Upstream::deb().with_deb(|deb| deb.flat = Some("./".to_owned()));
    let repository = Repository::of("f", &flat, "../../upstream")
        .unsigned()
        .trusting(Key::stranger())
        .format("architectures: [i386]")
        .unpublished()
        .more("enabled: false\n");
    chantal.repository(&repository);
    let config = Tree::read(&chantal.config());
    assert_eq!(
        config.text("repos.d/f.yaml"),
        "name: f
type: apt
upstream:
  url: ../../upstream
apt:
  distribution: ./
  gpgcheck: true
  gpgkey_file: f.asc
  architectures: [i386]
enabled: false
"
    );
}

#[test]
fn outputs_show_names_instead_of_what_differs_between_runs() {
    let chantal = Chantal::new();
    let server = Server::start(Tree::new());
    chantal.hide_server(&server);
    let text = format!("{} {}/a {}", chantal.data().display(), server.url(), "end");
    assert_eq!(chantal.shown(&text), "[dir]/data [server]/a end");
    assert!(!chantal.published("r").exists());
    fs::create_dir_all(chantal.published("r")).unwrap();
    assert_eq!(chantal.published_tree("r").len(), 0);
}

#[test]
fn the_binary_runs() {
    let chantal = Chantal::new();
    chantal.run(&["--help"]).succeeds();
    chantal.spawn(&["--help"]).wait().succeeds();
    chantal
        .run_with_env(&["--help"], &[("COLUMNS", "80")])
        .succeeds();
}
