//! The README's section on isolated networks, followed word by word.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::Gap;
use crate::kit::chantal::Repository;
use crate::kit::process::{Output, run};
use crate::kit::upstream::Upstream;

/// The commands of the section by the host that the text before them names.
fn commands() -> Vec<(String, String)> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(readme).unwrap();
    let section = readme
        .split("## Carrying updates to an isolated network")
        .nth(1)
        .unwrap();
    let section = section.split("\n## ").next().unwrap();
    let mut host = String::new();
    let mut is_code = false;
    let mut commands = Vec::new();
    for line in section.lines() {
        if line.starts_with("```") {
            is_code = !is_code;
        } else if is_code && line.starts_with("chantal ") {
            commands.push((host.clone(), line.to_owned()));
        } else if !is_code {
            for name in ["Outside", "Inside", "Anywhere"] {
                if line.starts_with(name) || line.contains(&format!(". {name}, ")) {
                    name.clone_into(&mut host);
                }
            }
        }
    }
    commands
}

#[test]
fn a_person_follows_the_readme() {
    let gap = Gap::new(Upstream::deb());
    // The section begins with it.
    fs::remove_dir_all(gap.outside.chantal.config().join("keys")).unwrap();
    fs::remove_file(gap.outside.chantal.config().join("conf.d/signing.yaml")).unwrap();
    gap.inside
        .global("storage:\n  base_path: ../../data\n  create: true\n");
    gap.define_inside(Repository::filled_by_media);
    let commands = commands();
    assert_eq!(commands.len(), 9, "{commands:?}");
    let mut code = String::from("CODE");
    for (host, command) in commands {
        let command = command
            .replace("/mnt/usb", gap.medium().to_str().unwrap())
            .replace("CODE", &code);
        let args: Vec<&str> = command.split(' ').skip(1).collect();
        let output = match host.as_str() {
            "Outside" => gap.outside.run(&args),
            "Inside" => gap.inside.run(&args),
            _ => anywhere(&gap, &args),
        };
        let output = output.exits(0);
        if command.contains("keygen") {
            install_key(&gap);
        }
        if let Some((_, shown)) = output.stdout.split_once("by typing: ") {
            shown.trim().clone_into(&mut code);
        }
    }
    gap.is_published();
    let history = gap.outside.run(&["media", "history"]).succeeds();
    history.mentions("confirmed");
}

/// What the text says to do inside.
fn install_key(gap: &Gap) {
    let key = fs::read(gap.exporter_key()).unwrap();
    let directory = gap.inside.config().join("conf.d");
    fs::write(directory.join("exporter.asc"), key).unwrap();
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(readme).unwrap();
    let yaml = readme.split("```yaml\nmedia:\n").nth(1).unwrap();
    let yaml = yaml.split("```").next().unwrap();
    gap.inside
        .write("config/conf.d/media.yaml", &format!("media:\n{yaml}"));
}

/// In a directory with the public key, without configuration.
fn anywhere(gap: &Gap, args: &[&str]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    fs::copy(gap.exporter_key(), dir.path().join("exporter.asc")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_chantal"));
    command.args(args).current_dir(dir.path()).env_clear();
    Output::new(&args.join(" "), &run(command))
}
