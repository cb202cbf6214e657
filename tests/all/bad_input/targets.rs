//! What stands at a publish path and is not ours is never destroyed. The state is synced all the
//! same: it is good.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use super::Scene;
use crate::kit::mirror::SYNC;
use crate::kit::tree::{Tree, inodes};

/// Where the repository is to be published from now on.
fn target(scene: &Scene) -> PathBuf {
    let other = scene.repository.clone().unpublished();
    let other = other.more("publish:\n  latest_path: ../../www/other\n");
    scene.chantal.repository(&other);
    scene.chantal.dir().join("www/other")
}

/// The target is as it was and no clutter beside it, and publishing works when the place is free.
fn is_refused(scene: &Scene, before: &[&str], stderr: &str, free: impl Fn()) {
    let beside = || {
        let mut names: Vec<String> = fs::read_dir(scene.chantal.dir().join("www"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let names = beside();
    scene.sync().fails_with(2, stderr).says("");
    scene
        .chantal
        .run(&["publish", "--repo-id", "r"])
        .fails_with(2, stderr)
        .says("");
    assert_eq!(beside(), names);
    assert_eq!(names, before);
    free();
    scene.chantal.run(&["publish", "--repo-id", "r"]).succeeds();
    let tree = Tree::read(&scene.chantal.dir().join("www/other"));
    tree.assert_same(&scene.built.mirrored());
}

#[test]
fn a_directory_with_other_files() {
    for scene in Scene::both() {
        let target = target(&scene);
        fs::create_dir(&target).unwrap();
        fs::write(target.join("thesis.tex"), "years of work").unwrap();
        is_refused(
            &scene,
            &["other", "r"],
            "error: r: [dir]/www/other exists and was not published by this storage\n\
             hint: move it away, or set another publish path (a tree that was published elsewhere and moved here with its storage can be removed); nothing was changed\n",
            || {
                assert_eq!(
                    fs::read(target.join("thesis.tex")).unwrap(),
                    b"years of work"
                );
                fs::remove_dir_all(&target).unwrap();
            },
        );
    }
}

#[test]
fn a_file() {
    for scene in Scene::both() {
        let target = target(&scene);
        fs::write(&target, "years of work").unwrap();
        is_refused(
            &scene,
            &["other", "r"],
            "error: r: [dir]/www/other exists and was not published by this storage\n\
             hint: move it away, or set another publish path (a tree that was published elsewhere and moved here with its storage can be removed); nothing was changed\n",
            || {
                assert_eq!(fs::read(&target).unwrap(), b"years of work");
                fs::remove_file(&target).unwrap();
            },
        );
    }
}

#[test]
fn a_symbolic_link() {
    for scene in Scene::both() {
        let target = target(&scene);
        let elsewhere = scene.chantal.dir().join("www/elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        symlink(&elsewhere, &target).unwrap();
        is_refused(
            &scene,
            &["elsewhere", "other", "r"],
            "error: r: [dir]/www/other is a symbolic link, which cannot be replaced by a published tree\n\
             hint: set the publish path to the target of the link\n",
            || {
                assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
                fs::remove_file(&target).unwrap();
            },
        );
    }
}

/// The staging place is ours only when the store says so.
#[test]
fn something_in_the_staging_place() {
    for scene in Scene::both() {
        target(&scene);
        let staging = scene.chantal.dir().join("www/.other.chantal-staging");
        fs::create_dir(&staging).unwrap();
        fs::write(staging.join("thesis.tex"), "years of work").unwrap();
        is_refused(
            &scene,
            &[".other.chantal-staging", "r"],
            "error: r: [dir]/www/.other.chantal-staging exists and was not published by this storage\n\
             hint: move it away, or set another publish path (a tree that was published elsewhere and moved here with its storage can be removed); nothing was changed\n",
            || {
                assert_eq!(
                    fs::read(staging.join("thesis.tex")).unwrap(),
                    b"years of work"
                );
                fs::remove_dir_all(&staging).unwrap();
            },
        );
    }
}

/// What has the hidden name beside a tree of ours is ours only if we made it.
#[test]
fn something_in_the_staging_place_of_a_published_tree() {
    for scene in Scene::both() {
        let staging = scene.chantal.dir().join("www/r/.latest.chantal-staging");
        fs::create_dir(&staging).unwrap();
        fs::write(staging.join("thesis.tex"), "years of work").unwrap();
        scene
            .chantal
            .run(&SYNC)
            .exits(2)
            .mentions(".latest.chantal-staging exists and was not published by this storage");
        assert_eq!(
            fs::read(staging.join("thesis.tex")).unwrap(),
            b"years of work"
        );
        fs::remove_dir_all(&staging).unwrap();
        scene.chantal.run(&SYNC).succeeds();
        scene.shows_the_new_state();
    }
}

/// Somebody put files into a tree that is ours: they would vanish with it.
#[test]
fn foreign_files_in_a_published_tree() {
    for scene in Scene::both() {
        let published = scene.chantal.published("r");
        let names = ["a/b.txt", "index.html", "notes"];
        for (count, name) in names.iter().enumerate() {
            let path = published.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "hand-made").unwrap();
            let more = ["", " and 1 more", " and 2 more"][count];
            let before = inodes(&published);
            for args in [&SYNC[..], &["publish", "--repo-id", "r"]] {
                scene.chantal.run(args).says("").fails_with(
                    2,
                    &format!(
                        "error: r: [dir]/www/r/latest contains [dir]/www/r/latest/a/b.txt{more}, not published by chantal\n\
                         hint: move these files out of the published tree, where publishing would delete them; nothing was changed\n"
                    ),
                );
                assert_eq!(inodes(&published), before);
            }
        }
        for name in names {
            fs::remove_file(published.join(name)).unwrap();
        }
        // An empty directory is somebody's too.
        scene
            .chantal
            .run(&SYNC)
            .exits(2)
            .mentions("latest/a, not published by chantal");
        fs::remove_dir(published.join("a")).unwrap();
        scene.chantal.run(&["publish", "--repo-id", "r"]).succeeds();
        scene.shows_the_new_state();
    }
}
