//! Files that are broken before the real daemon starts.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ecobee_simulator::{Liveness, Options};

use crate::harness::{Stage, quick, skipped};

const HOUR: Duration = Duration::from_secs(3600);

/// What may lie where an account's file was looked for.
#[derive(Clone, Debug)]
enum Broken {
    Bytes(Vec<u8>),
    Folder,
    Link,
    Pipe,
}

/// Every kind of broken file, each with a name for its account. `good` is a file that is whole.
fn broken_files(good: &[u8]) -> Vec<Broken> {
    let mut kinds: Vec<Broken> =
        (0..12).map(|part| Broken::Bytes(good[..(good.len() - 3) * part / 11].to_vec())).collect();
    let foreign = [
        "null",
        "[]",
        "[1]",
        "\"text\"",
        "{}",
        "{\"version\": 0}",
        "{\"version\": \"1\"}",
        "{\"version\": 1}",
        "{\"access_token\": \"a\", \"refresh_token\": \"b\"}",
        "<!DOCTYPE html><title>503</title>",
        "\u{feff}{}",
        "{\"version\": 1, \"account\": \"somebody-else\", \"api_key_sha256\": \"00\", \
         \"clock\": {\"boot_id\": \"\", \"boot_ms\": 0, \"wall_ms\": 0}, \"grant\": null, \"pin\": null}",
    ];
    kinds.extend(foreign.map(|text| Broken::Bytes(text.into())));
    kinds.push(Broken::Bytes(vec![0; good.len()]));
    kinds.push(Broken::Bytes(vec![0xff; 100]));
    kinds.push(Broken::Bytes(vec![b'['; 100_000]));
    kinds.push(Broken::Bytes(vec![b' '; 2 << 20]));
    kinds.extend([Broken::Folder, Broken::Link, Broken::Pipe]);
    kinds
}

impl Broken {
    fn lay(&self, path: &Path, elsewhere: &Path) {
        match self {
            Self::Bytes(bytes) => {
                fs::write(path, bytes).expect("it is ours");
                fs::set_permissions(path, Permissions::from_mode(0o600)).expect("it is ours");
            }
            Self::Folder => {
                fs::create_dir(path).and_then(|()| fs::write(path.join("precious"), "p")).expect("made");
            }
            Self::Link => symlink(elsewhere, path).expect("linked"),
            Self::Pipe => {
                let made = Command::new("mkfifo").arg(path).status();
                assert!(made.expect("mkfifo runs").success());
            }
        }
    }

    /// Whether this still lies there, unchanged.
    fn lies_at(&self, path: &Path, elsewhere: &Path) -> bool {
        match self {
            Self::Bytes(bytes) => fs::read(path).is_ok_and(|found| found == *bytes),
            Self::Folder => fs::read_to_string(path.join("precious")).is_ok_and(|found| found == "p"),
            Self::Link => fs::read_link(path).is_ok_and(|to| to == elsewhere),
            Self::Pipe => fs::symlink_metadata(path).is_ok_and(|about| !about.is_file() && !about.is_dir()),
        }
    }
}

/// A file that is whole, for an account of this name and key.
fn whole_file() -> Vec<u8> {
    let stage = Stage::with_lifetime(HOUR);
    stage.start_authorized().kill();
    stage.stored("home").into_bytes()
}

#[test]
fn broken_files_of_every_kind_are_kept_and_told_of_and_their_accounts_served() {
    let kinds = broken_files(&whole_file());
    let names: Vec<String> = (0..kinds.len()).map(|number| format!("account-{number}")).collect();
    let approving = Options { approve_after: Some(Duration::ZERO), ..quick(HOUR) };
    let stage = Stage::new(approving).accounts(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let elsewhere = stage.folder.path().join("elsewhere");
    fs::write(&elsewhere, "not to be touched").expect("it is ours");
    fs::create_dir(stage.state()).expect("it is ours");
    for (kind, name) in kinds.iter().zip(&names) {
        kind.lay(&stage.state().join(format!("{name}.json")), &elsewhere);
    }

    let daemon = stage.start();

    for (kind, name) in kinds.iter().zip(&names) {
        let token = daemon.token(name);
        assert_eq!(stage.simulator.is_alive(&token), Liveness::Alive, "{name}");
        assert!(stage.stored(name).contains(&token), "{name}: what is served is on the disk");
        let aside = format!("{name}.json.broken-");
        let kept = fs::read_dir(stage.state())
            .expect("the folder")
            .filter_map(Result::ok)
            .find(|entry| entry.file_name().to_string_lossy().starts_with(&aside))
            .map(|entry| entry.path());
        let kept = kept.unwrap_or_else(|| panic!("{name}: it was not kept: {kind:.80?}"));
        assert!(kind.lies_at(&kept, &elsewhere), "{name}: it is not what it was");
        daemon.log.wait_for("a word about it", |line| line.contains("WARN") && line.contains(&aside));
    }
    assert_eq!(fs::read_to_string(&elsewhere).expect("it is there"), "not to be touched");
}

#[test]
fn a_file_that_others_can_read_or_nobody_is_served_from_all_the_same() {
    for mode in [0o644, 0o666, 0o777, 0o4600, 0o400, 0o200] {
        let stage = Stage::with_lifetime(HOUR);
        let daemon = stage.start_authorized();
        let token = daemon.token("home");
        daemon.kill();
        let file = stage.state().join("home.json");
        fs::set_permissions(&file, Permissions::from_mode(mode)).expect("it is ours");
        if fs::read(&file).is_err() {
            skipped(&format!("mode {mode:o}: only root can read such a file"));
            continue;
        }

        let daemon = stage.start();

        assert_eq!(daemon.get("/token").text(), token, "mode {mode:o}");
        if mode & 0o077 != 0 {
            let told = |line: &str| line.contains("WARN") && line.contains("other users could read it");
            daemon.log.wait_for("a warning", told);
            let now = fs::metadata(&file).expect("it is there").permissions().mode() & 0o7777;
            assert_eq!(now, 0o600, "mode {mode:o} was mended");
        }
    }
}
