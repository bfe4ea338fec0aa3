//! The shipped `config/config.toml` and the code say the same.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use ecobee_tokend::config::{self, Settings, Surroundings};
use tempfile::TempDir;

const SHIPPED: &str = include_str!("../config/config.toml");

/// One line of the file that shows a key, commented out or not.
struct Shown<'a> {
    key: String,
    /// The line without its comment sign.
    plain: &'a str,
    is_example: bool,
}

/// The lines that show a key, each with the section that it stands in.
fn shown() -> Vec<Shown<'static>> {
    let mut section = String::new();
    let mut shown = Vec::new();
    for line in SHIPPED.lines() {
        let example = line.strip_prefix("# Example: ");
        let plain = example.unwrap_or_else(|| uncommented(line));
        if let Some(name) = plain.strip_prefix('[') {
            section = name.replace(']', ".");
        } else if let Some((key, _)) = plain.split_once(" = ").filter(|_| !plain.starts_with('#')) {
            shown.push(Shown { key: format!("{section}{key}"), plain, is_example: example.is_some() });
        }
    }
    shown
}

/// `key = value` of a line `#key = value`; prose has a space behind its sign.
fn uncommented(line: &str) -> &str {
    line.strip_prefix('#').filter(|rest| !rest.is_empty() && !rest.starts_with(' ')).unwrap_or(line)
}

/// A folder with the key files that the shipped file names.
fn folder() -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    for name in ["home.key", "old-store.key", "store.key", "webhook.token"] {
        fs::write(folder.path().join(name), "og2Obost3ucRo1ofo0EDoslGltmFMe2g\n").expect("a key file");
    }
    folder
}

fn load(folder: &Path, text: &str) -> Settings {
    let file = folder.join("config.toml");
    fs::write(&file, text).expect("a configuration file");
    let credentials = folder.as_os_str().to_owned();
    let env = move |name: &str| (name == "CREDENTIALS_DIRECTORY").then(|| credentials.clone());
    let root = Surroundings { uid: 0, env: Box::new(env) };
    config::load(&file, &root).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

#[test]
fn as_shipped_it_loads_and_is_the_empty_configuration() {
    let folder = folder();
    assert_eq!(load(folder.path(), SHIPPED), load(folder.path(), ""));
}

#[test]
fn every_default_that_it_shows_is_the_default_of_the_code() {
    let folder = folder();
    let uncommented: Vec<&str> = SHIPPED.lines().map(uncommented).collect();
    let least = "[accounts.home]\napi-key-file = \"home.key\"";
    assert_eq!(load(folder.path(), &uncommented.join("\n")), load(folder.path(), least));
}

#[test]
fn it_shows_every_key_of_the_code_once_and_no_other() {
    let shown: Vec<String> = shown().into_iter().map(|shown| shown.key.replace(".home.", ".NAME.")).collect();
    let once: BTreeSet<String> = shown.iter().cloned().collect();
    assert_eq!(once, config::keys());
    assert_eq!(shown.len(), once.len(), "a key is shown twice");
}

#[test]
fn every_example_in_it_loads_and_changes_something() {
    let folder = folder();
    let account = "[accounts.home]\napi-key-file = \"home.key\"\n";
    let without = load(folder.path(), account);
    for Shown { key, plain, .. } in shown().into_iter().filter(|shown| shown.is_example) {
        let text = match key.rsplit_once('.') {
            None => format!("{plain}\n{account}[accounts.cabin]\napi-key = \"cabin\""),
            Some(("accounts.home", name)) if name.starts_with("api-key") => {
                format!("[accounts.home]\n{plain}")
            }
            Some(("accounts.home", _)) => format!("{account}{plain}"),
            Some((section, _)) => format!("{account}[{section}]\n{plain}"),
        };
        assert_ne!(load(folder.path(), &text), without, "{key}");
    }
}

#[test]
fn no_line_is_longer_than_a_terminal_is_wide() {
    let long: Vec<_> = SHIPPED.lines().filter(|line| line.chars().count() > 100).collect();
    assert!(long.is_empty(), "{long:#?}");
}
