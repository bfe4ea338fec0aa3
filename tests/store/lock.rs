//! One daemon a store.

use super::*;

#[test]
fn a_second_daemon_is_told_who_the_first_is() {
    let folder = folder();
    let first = open(folder.path());
    let second = Store::open(folder.path()).expect_err("the first is there");
    assert_eq!(second.exit_status(), 73);
    let pid = std::process::id();
    assert!(second.to_string().contains(&format!("another ecobee-tokend, process {pid}; stop")), "{second}");
    drop(first);
    open(folder.path());
}

#[test]
fn a_save_that_is_still_to_come_keeps_the_lock() {
    let folder = folder();
    let store = open(folder.path());
    let image = image(&store, &record("one"));
    drop(store);
    assert!(matches!(Store::open(folder.path()), Err(StoreError::Locked { .. })));
    image.write().expect("saved");
    assert_eq!(load(&open(folder.path())).record, Some(record("one")));
}

#[test]
fn the_lock_is_not_inherited_by_children() {
    let folder = folder();
    let _store = open(folder.path());
    let output = Command::new("ls").args(["-l", "/proc/self/fd"]).output().expect("ls");
    let open_files = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && !open_files.contains("/lock"), "{open_files}");
}

#[test]
fn a_lock_file_that_leads_elsewhere_is_not_followed() {
    let folder = folder();
    let elsewhere = folder.path().join("elsewhere");
    fs::write(&elsewhere, "precious").expect("written");
    let store = folder.path().join("store");
    fs::create_dir(&store).expect("made");
    symlink(&elsewhere, store.join("lock")).expect("linked");
    let refused = |words: &str| {
        let error = Store::open(&store).expect_err("a link");
        assert!(error.to_string().ends_with(&format!("lock: cannot be locked: {words}")), "{error}");
        assert_eq!(error.exit_status(), 73);
    };
    refused("a symbolic link stands in the way; move that away");
    fs::remove_file(store.join("lock")).expect("removed");
    fs::hard_link(&elsewhere, store.join("lock")).expect("linked");
    refused("it is not a regular file with this one name; delete it");
    assert_eq!(fs::read_to_string(&elsewhere).expect("read"), "precious");
}
