//! Where things are when nobody says so, and what relative paths mean.

use std::path::{Path, PathBuf};

use ecobee_tokend::config::{self, KeySource};

use crate::{Computer, KEY, assert_refused};

#[test]
fn root_and_system_users_find_everything_below_etc_run_and_var() {
    for uid in [0, 999, 61184, 65519, 65534] {
        let computer = Computer::of_uid(uid).with("HOME", "/root").with("XDG_CONFIG_HOME", "/x");
        let path = config::default_path(&computer.surroundings());
        assert_eq!(path, Ok(PathBuf::from("/etc/ecobee-tokend/config.toml")), "{uid}");
        let settings = computer.load("");
        assert_eq!(settings.socket.path, Path::new("/run/ecobee-tokend/socket"));
        assert_eq!(settings.store.directory, Path::new("/var/lib/ecobee-tokend"));
    }
}

#[test]
fn a_person_finds_everything_where_xdg_says() {
    for uid in [1000, 61183, 65520, 65533, 65535] {
        let computer = Computer::of_uid(uid)
            .with("HOME", "/home/alice")
            .with("XDG_CONFIG_HOME", "/c")
            .with("XDG_RUNTIME_DIR", "/run/user/1000")
            .with("XDG_STATE_HOME", "/s");
        let path = config::default_path(&computer.surroundings());
        assert_eq!(path, Ok(PathBuf::from("/c/ecobee-tokend/config.toml")), "{uid}");
        let settings = computer.load("");
        assert_eq!(settings.socket.path, Path::new("/run/user/1000/ecobee-tokend/socket"));
        assert_eq!(settings.store.directory, Path::new("/s/ecobee-tokend"));
    }
}

#[test]
fn xdg_variables_that_are_relative_empty_or_unset_give_way_to_home() {
    for value in ["relative/folder", ""] {
        let computer = Computer::of_uid(1000)
            .with("HOME", "/home/alice")
            .with("XDG_CONFIG_HOME", value)
            .with("XDG_STATE_HOME", value)
            .with("XDG_RUNTIME_DIR", "/run/user/1000");
        let path = config::default_path(&computer.surroundings());
        assert_eq!(path, Ok(PathBuf::from("/home/alice/.config/ecobee-tokend/config.toml")));
        let state = computer.load("").store.directory;
        assert_eq!(state, Path::new("/home/alice/.local/state/ecobee-tokend"));
    }
}

#[test]
fn a_person_without_a_home_is_asked_to_name_the_file() {
    let error = config::default_path(&Computer::of_uid(1000).surroundings());
    assert_eq!(
        error.map_err(|error| error.to_string()),
        Err("configuration: neither $XDG_CONFIG_HOME nor $HOME is an absolute path; set one, such as HOME=/home/alice, or name the file with --config FILE".to_owned())
    );
}

#[test]
fn the_first_state_directory_comes_before_the_default_and_the_file_before_both() {
    for uid in [0, 1000] {
        let computer = Computer::of_uid(uid)
            .with("STATE_DIRECTORY", "/var/lib/first:/var/lib/second")
            .with("XDG_RUNTIME_DIR", "/run/user/1000");
        assert_eq!(computer.load("").store.directory, Path::new("/var/lib/first"));
        let explicit = computer.load("store.directory = \"/mnt/grants\"");
        assert_eq!(explicit.store.directory, Path::new("/mnt/grants"));
    }
}

#[test]
fn a_person_without_a_runtime_folder_needs_a_socket_path() {
    let computer = Computer::of_uid(1000).with("HOME", "/home/alice");
    assert_eq!(
        computer.refusal(""),
        "config.toml: socket.path: found nothing, and $XDG_RUNTIME_DIR names no folder; wanted a path here, or that variable, \
         such as XDG_RUNTIME_DIR=/run/user/1000 (a login sets it, su and cron do not)"
    );
    let settings = computer.load("[socket]\npath = \"/tmp/alice.socket\"");
    assert_eq!(settings.socket.path, Path::new("/tmp/alice.socket"));
}

#[test]
fn a_person_without_a_home_needs_a_state_folder() {
    let computer = Computer::of_uid(1000).with("XDG_RUNTIME_DIR", "/run/user/1000");
    let message = computer.refusal("\n[store]\n");
    assert!(message.starts_with("config.toml:2: store.directory: found nothing"), "{message}");
    assert!(message.ends_with("wanted a folder here, or one of them, such as HOME=/home/alice"), "{message}");
}

#[test]
fn a_relative_path_begins_in_the_folder_of_the_file() {
    let computer = Computer::of_root().write("home.key", KEY).write("store.key", KEY);
    let settings = computer.load(
        "ecobee.ca-file = \"./tls/ca.pem\"\nsocket.path = \"socket\"\nstore.directory = \"/var//lib/x/\"\n\
         store.key-file = \"store.key\"\n[accounts.home]\napi-key-file = \"home.key\"",
    );
    assert_eq!(settings.source, computer.path("config.toml"));
    assert_eq!(settings.ecobee.ca_file, Some(computer.path("tls/ca.pem")));
    assert_eq!(settings.socket.path, computer.path("socket"));
    assert_eq!(settings.store.directory, Path::new("/var/lib/x"));
    let source = settings.store.key.map(|key| key.source);
    assert_eq!(source, Some(KeySource::File(computer.path("store.key"))));
    assert_refused(&["store.directory = \"\"", "store.directory = \"a\\u0000b\""], "; wanted a path");
}

#[test]
fn a_tilde_is_no_home_and_the_whole_path_is_told() {
    let computer = || Computer::of_root().with("HOME", "/root");
    for (text, whole) in [
        (
            "store.directory = \"~/grants\"",
            "wanted the whole path, \"/root/grants\", for ~ is not expanded here",
        ),
        ("store.directory = \"~\"", "wanted the whole path, \"/root\", for"),
        ("store.directory = \"~alice/grants\"", "wanted the whole path, such as \"/home/alice/file\", for"),
        ("[accounts.home]\napi-key-file = \"~/home.key\"", "\"/root/home.key\""),
        ("notify.command = [\"~/bin/tell-me\"]", "\"/root/bin/tell-me\""),
    ] {
        let message = computer().refusal(text);
        assert!(message.contains("found \"~") && message.contains(whole), "{message}");
    }
    let message = Computer::of_root().refusal("store.directory = \"~/grants\"");
    assert!(message.contains("such as \"/home/alice/file\""), "{message}");
    let settings = computer().load("store.directory = \"a~b\"");
    assert!(settings.store.directory.ends_with("a~b"));
}
