//! Who may know whom: the arrows of the house, held against the source.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each room, and the rooms whose words it may use. `main` and `supervisor` may know everybody.
const ROOMS: [(&str, &[&str]); 18] = [
    ("secret", &[]),
    ("keeper", &["secret"]),
    ("clock", &["keeper"]),
    ("url", &[]),
    ("config", &["secret", "url"]),
    ("foreign", &["secret"]),
    ("quote", &["secret"]),
    ("dial", &["clock", "quote", "url"]),
    ("ecobee", &["dial", "keeper", "quote", "secret", "url"]),
    ("store", &["clock", "keeper", "secret"]),
    ("metrics", &["keeper"]),
    ("socket", &["clock", "keeper", "metrics", "secret"]),
    ("notify", &["clock", "dial", "keeper", "quote", "url"]),
    ("systemd", &["clock", "keeper"]),
    ("signals", &[]),
    ("people", &[]),
    ("log", &["clock"]),
    ("memory", &["secret"]),
];

fn sources_of(room: &str) -> Vec<PathBuf> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = vec![src.join(format!("{room}.rs"))];
    let mut folders = vec![src.join(room)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
            let path = entry.path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found
}

#[test]
fn no_room_knows_more_than_it_may() {
    for (room, allowed) in ROOMS {
        for source in sources_of(room) {
            let text = fs::read_to_string(&source).expect("the source is readable");
            let known: BTreeSet<&str> = text
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .flat_map(|line| line.split("crate::").skip(1))
                .map(|rest| {
                    rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default()
                })
                .collect();
            for other in known {
                assert!(
                    other == room || allowed.contains(&other),
                    "{} knows crate::{other}; {room} may know {allowed:?} only",
                    source.display()
                );
            }
        }
    }
}

#[test]
fn every_room_is_on_the_list() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for entry in fs::read_dir(src).expect("the sources").filter_map(Result::ok) {
        let name = entry.file_name().to_string_lossy().trim_end_matches(".rs").to_owned();
        let known = ["main", "lib", "supervisor", "bin"].contains(&name.as_str());
        assert!(known || ROOMS.iter().any(|(room, _)| *room == name), "{name} is a room that no list knows");
    }
}

#[test]
fn only_the_clock_asks_what_time_it_is() {
    for (room, _) in ROOMS.iter().filter(|(room, _)| *room != "clock") {
        for source in sources_of(room) {
            if source.ends_with("tests.rs") {
                continue;
            }
            let text = fs::read_to_string(&source).expect("the source is readable");
            for asking in ["SystemTime::now", "Timestamp::now", "Zoned::now", "clock_gettime"] {
                assert!(!text.contains(asking), "{} asks for the time itself: {asking}", source.display());
            }
        }
    }
}
