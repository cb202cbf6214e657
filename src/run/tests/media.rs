//! Exports and imports of media that are killed at every point.

use std::process::Output;

use fs_err as fs;

use super::*;

/// A scene with an importer, which has imported the third generation. The fourth is there to be
/// exported.
fn scene_with_importer(kind: Kind) -> Scene {
    let mut scene = Scene::new(kind);
    scene.configure(INSIDE);
    let media = "media: {destination: inside, trusted_keys: [../../../etc/keys/signing.pub.asc]}\n";
    fs::write(scene.path("inside/etc/conf.d/media.yaml"), media).unwrap();
    scene.succeeds(&["config", "keygen"], "first");
    for _ in 0..3 {
        scene.carry("first");
    }
    scene
}

impl Scene {
    fn export(&self) -> [String; 7] {
        let medium = self.path("medium");
        let to = medium.to_str().unwrap();
        ["media", "export", "--for", "inside", "--all", "--to", to].map(str::to_owned)
    }

    fn import(&self) -> [String; 4] {
        let medium = self.path("medium");
        ["media", "import", "--from", medium.to_str().unwrap()].map(str::to_owned)
    }

    /// Brings a new generation to the upstream and to the exporter; the medium is empty.
    fn prepare_export(&mut self, after: &str) {
        self.move_on();
        self.succeeds(&SYNC, after);
        let medium = self.path("medium");
        let _ = fs::remove_dir_all(&medium);
        fs::create_dir(medium).unwrap();
    }

    /// Imports what is on the medium, and confirms it.
    #[track_caller]
    fn finish_import(&self, after: &str) {
        let import = self.import();
        let said = self.succeeds_on(INSIDE, &import.each_ref().map(String::as_str), after);
        let code = said.split("confirm outside by typing: ").nth(1);
        let code = code.and_then(|code| code.lines().next());
        let code = code.unwrap_or_else(|| panic!("no code: {said} {after}"));
        self.succeeds(&["media", "confirm", "--for", "inside", code], after);
        self.assert_finished_on(INSIDE, after);
        self.succeeds_on(INSIDE, &["db", "check"], after);
    }

    /// Carries a new generation to the importer.
    fn carry(&mut self, after: &str) {
        self.prepare_export(after);
        let export = self.export();
        self.succeeds(&export.each_ref().map(String::as_str), after);
        self.finish_import(after);
    }

    /// `media verify` of what is on the medium.
    fn verify(&self) -> Output {
        let (medium, key) = (self.path("medium"), self.path("etc/keys/signing.pub.asc"));
        let (medium, key) = (medium.to_str().unwrap(), key.to_str().unwrap());
        self.run(&["media", "verify", medium, "--key", key], None)
    }

    /// A transfer on the medium says that it is incomplete, or is good.
    fn assert_known_on_medium(&self, after: &str) {
        let files = files_of(&self.path("medium"));
        if !files.is_empty() && !files.keys().any(|path| path.ends_with("/INCOMPLETE")) {
            let verified = self.verify();
            assert!(verified.status.success(), "{after}: {verified:?}");
        }
    }
}

#[test]
fn an_export_is_killed_at_every_point() {
    for kind in [Kind::Apt, Kind::Rpm] {
        let mut scene = scene_with_importer(kind);
        let export = scene.export();
        let reached = scene.kill(
            &export.each_ref().map(String::as_str),
            |scene| scene.prepare_export(""),
            Scene::assert_known_on_medium,
            |scene, after| {
                let files = files_of(&scene.path("medium"));
                let folders: BTreeSet<_> =
                    files.keys().map(|path| path.split('/').next()).collect();
                assert_eq!(folders.len(), 1, "{after}: {folders:?}");
                let verified = scene.verify();
                assert!(verified.status.success(), "{after}: {verified:?}");
                scene.finish_import(after);
                scene.succeeds(&["db", "check"], after);
            },
        );
        at_least(reached, 8, "media export");
    }
}

#[test]
fn an_import_is_killed_at_every_point() {
    for kind in [Kind::Apt, Kind::Rpm] {
        let mut scene = scene_with_importer(kind);
        let import = scene.import();
        let import = import.each_ref().map(String::as_str);
        for kill_at in 1.. {
            scene.prepare_export("");
            let export = scene.export();
            scene.succeeds(&export.each_ref().map(String::as_str), "");
            let output = scene.run_on(INSIDE, &import, Some(kill_at));
            let stderr = String::from_utf8(output.stderr.clone()).unwrap();
            let after = format!("{kind:?} import: {stderr}");
            let is_killed = output.status.signal() == Some(SIGKILL);
            assert!(is_killed || output.status.success(), "{after}");
            scene.assert_whole_on(INSIDE, &after);
            scene.succeeds_on(INSIDE, &["db", "check", "--quick"], &after);
            // Imports it again, or has its code.
            scene.finish_import(&after);
            if !is_killed {
                at_least(kill_at - 1, 12, "media import");
                break;
            }
        }
    }
}
