//! The store that a start finds: taken up, moved aside, left alone, or forgotten beforehand.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::fails_to_start;
use crate::harness::{HOUR, KEY, Stage, tokend};

#[test]
fn the_store_is_for_the_daemon_alone() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(&stage.state()), 0o700);
    assert_eq!(mode(&stage.state().join("home.json")), 0o600);
    assert!(!stage.stored("home").contains(KEY), "the API key itself is not stored");
    assert!(stage.stored("home").contains(&daemon.token("home")));
}

#[test]
fn rule_14_a_broken_store_file_is_moved_aside_and_the_pin_flow_begins() {
    let stage = Stage::with_lifetime(HOUR);
    stage.start_authorized().kill();
    let half = stage.stored("home")[..100].to_owned();
    fs::write(stage.state().join("home.json"), &half).expect("it is ours");

    let daemon = stage.start();

    daemon.pin("home");
    assert_eq!(stage.kept_aside("home.json.broken-"), [half]);
    daemon.log.wait_for("a line about it", |line| line.contains("broken"));
}

#[test]
fn rule_14_a_store_file_of_a_newer_version_is_left_alone() {
    let stage = Stage::with_lifetime(HOUR);
    stage.start_authorized().kill();
    let newer = stage.stored("home").replacen("\"version\": 1", "\"version\": 3", 1);
    assert_ne!(newer, stage.stored("home"));
    fs::write(stage.state().join("home.json"), &newer).expect("it is ours");

    let (status, said) = fails_to_start(&stage);

    assert_eq!(status, Some(73), "{said}");
    assert_eq!(stage.stored("home"), newer);
}

#[test]
fn rule_12_a_changed_api_key_starts_a_pin_flow_and_keeps_the_old_file() {
    let stage = Stage::with_lifetime(HOUR);
    stage.start_authorized().kill();
    let old = stage.stored("home");
    let stage = stage.accounts_with_one_key(&["home".to_owned()], "another-key-0123456789");

    let daemon = stage.start();

    daemon.pin("home");
    assert_eq!(stage.kept_aside("home.json.other-key-"), [old]);
}

#[test]
fn rule_12_forget_deletes_a_stored_grant() {
    let stage = Stage::with_lifetime(HOUR);
    assert!(stage.start_authorized().stop().success());

    tokend("forget", &stage.config(), &["home"]).with(0);

    assert!(!stage.state().join("home.json").exists());
    tokend("forget", &stage.config(), &["home"]).with(1);
    stage.start().pin("home");
}

#[test]
fn rule_12_forget_of_a_misspelt_name_tells_which_there_are() {
    let stage = Stage::with_lifetime(HOUR).accounts(&["cabin", "home"]);
    assert!(stage.start_authorized().stop().success());

    tokend("forget", &stage.config(), &["hom"]).with(1).telling("what is there: cabin, home");
}

#[test]
fn forget_warns_of_a_folder_that_others_could_look_into_as_a_start_does() {
    let stage = Stage::with_lifetime(HOUR);
    assert!(stage.start_authorized().stop().success());
    fs::set_permissions(stage.state(), fs::Permissions::from_mode(0o755)).expect("our own folder");

    tokend("forget", &stage.config(), &["home"])
        .with(0)
        .telling("other users could look into it (mode 0755, now 0700)");
}
