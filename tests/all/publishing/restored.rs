//! Trees and stores that come back from a backup.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::Scene;
use crate::kit::mirror::{PUBLISH, SYNC};
use crate::kit::tree::{Tree, inodes};

/// As `cp -a` restores it: other inodes, equal bytes and modes.
fn restore(tree: &Path) {
    let aside = tree.with_file_name("aside");
    fs::rename(tree, &aside).unwrap();
    let copied = Command::new("cp").arg("-a").args([&aside, tree]).status();
    assert!(copied.unwrap().success());
    fs::remove_dir_all(&aside).unwrap();
}

const COMPARED: &str = "warning: [dir]/www/r/latest: not the directory that chantal published (restored from a backup?):";

#[test]
fn a_tree_that_was_restored_is_compared_once_and_taken_over() {
    for mut scene in Scene::both(|repository| repository) {
        restore(&scene.published());
        let restored = inodes(&scene.published());
        let output = scene.chantal.run(&SYNC).exits(0);
        output.says_on_stderr(&format!("{COMPARED} all files match, tree adopted\n"));
        assert_eq!(
            inodes(&scene.published()),
            restored,
            "nothing had to be made"
        );
        scene.sync().succeeds();
        scene.move_on();
        scene.sync().succeeds();
        Tree::read(&scene.published()).assert_same(&scene.expected(1));
    }
}

/// One byte of it is another, or a file is missing: equal sizes and times prove nothing.
#[test]
fn a_tree_that_was_restored_wrong_is_published_anew() {
    for scene in Scene::both(|repository| repository) {
        for is_missing in [false, true] {
            restore(&scene.published());
            let path = scene
                .published()
                .join(scene.generations[0].path_of("hello"));
            let mut bytes = fs::read(&path).unwrap();
            fs::remove_file(&path).unwrap();
            if !is_missing {
                bytes[0] ^= 1;
                fs::write(&path, bytes).unwrap();
            }
            let output = scene.chantal.run(&SYNC).exits(0);
            output.says_on_stderr(&format!("{COMPARED} files differ, publishing it again\n"));
            Tree::read(&scene.published()).assert_same(&scene.expected(0));
            scene.sync().succeeds();
        }
    }
}

#[test]
fn files_of_others_in_a_restored_tree_stay() {
    for scene in Scene::both(|repository| repository) {
        restore(&scene.published());
        fs::write(scene.published().join("thesis.tex"), "years of work").unwrap();
        for args in [&SYNC[..], &PUBLISH] {
            let output = scene.chantal.run(args).exits(2);
            assert!(
                output
                    .stderr
                    .contains("thesis.tex, not published by chantal"),
                "{output:?}"
            );
            assert!(scene.published().join("thesis.tex").exists());
        }
    }
}

/// How far back the store is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Backup {
    /// Of a time before anything was published.
    Unpublished,
    /// Two generations ago.
    Published,
}

/// The store is an older one, the pool and the trees are not: what it does not know there is
/// recognised as the pool's.
#[test]
fn an_older_store_takes_newer_trees_over() {
    for backup in [Backup::Unpublished, Backup::Published] {
        for mut scene in Scene::both(|repository| match backup {
            Backup::Published => repository,
            Backup::Unpublished => repository.unpublished(),
        }) {
            let store = scene.chantal.data().join("chantal.redb");
            let saved = scene.chantal.dir().join("saved.redb");
            fs::copy(&store, &saved).unwrap();
            if backup == Backup::Unpublished {
                let yaml = "publish:\n  latest_path: ../../www/r/latest\n";
                scene.repository = scene.repository.clone().more(yaml);
                scene.chantal.repository(&scene.repository);
                scene.sync().succeeds();
            }
            for _ in 0..2 {
                scene.move_on();
                scene.sync().succeeds();
            }
            fs::copy(&saved, &store).unwrap();

            let output = scene.chantal.run(&SYNC).exits(0);
            let expected = match backup {
                Backup::Unpublished => {
                    "[dir]/www/r/latest: tree not found in the database (older database restored from a backup?): all files \
                     are in the pool, tree adopted"
                }
                Backup::Published => {
                    "[dir]/www/r/latest: contains files of the pool that the database does not list (older database restored \
                     from a backup?): tree adopted"
                }
            };
            let stderr: Vec<&str> = output.stderr.lines().collect();
            let [behind, tree] = stderr[..] else {
                panic!("{output:?}");
            };
            assert!(behind.contains("it was restored from a backup"), "{behind}");
            assert_eq!(tree, format!("warning: {expected}"));
            let last = scene.generations.last().unwrap().mirrored();
            let tree = Tree::read(&scene.published());
            for path in last.paths() {
                assert_eq!(tree.find(path), last.find(path), "{path}");
            }
            // The tree is ours again; the store stays one of a backup until somebody says
            // otherwise.
            for _ in 0..2 {
                let output = scene.chantal.run(&SYNC).exits(0);
                assert_eq!(output.stderr.lines().count(), 1, "{output:?}");
                scene.move_on();
            }
        }
    }
}

/// Somebody's directory that happens to lie there is none of ours, nor is one where only some files
/// are.
#[test]
fn an_older_store_does_not_take_what_is_not_ours() {
    for mut scene in Scene::both(|repository| repository) {
        let store = scene.chantal.data().join("chantal.redb");
        let saved = scene.chantal.dir().join("saved.redb");
        fs::copy(&store, &saved).unwrap();
        scene.move_on();
        scene.sync().succeeds();
        fs::copy(&saved, &store).unwrap();
        fs::write(scene.published().join("index.html"), "hand-made").unwrap();
        scene
            .chantal
            .run(&SYNC)
            .exits(2)
            .mentions("index.html, not published by chantal");
        assert!(scene.published().join("index.html").exists());
    }
}
