//! The store on real disks: what is saved is found again, and nothing is ever lost to a save.

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use ecobee_tokend::clock::{Reading, Wall};
use ecobee_tokend::keeper::{AccessToken, Moment, Record, StoredAccess, StoredGrant, StoredPin, Tidings};
use ecobee_tokend::secret::Secret;
use ecobee_tokend::store::{
    Doing, Fetched, Fingerprint, Flaw, Forgotten, Image, Loaded, Note, Store, StoreError, stored_in,
};
use tempfile::TempDir;

#[path = "store/broken.rs"]
mod broken;
#[path = "store/disks.rs"]
mod disks;
#[path = "store/lock.rs"]
mod lock;
#[path = "store/sealed.rs"]
mod sealed;

/// 2026-05-28T20:26:40Z, an hour after boot.
fn now() -> Reading {
    Reading {
        moment: Moment::from_millis(3_600_000),
        wall_millis: 1_780_000_000_000,
        boot_id: "f3a1".to_owned(),
        wall: Wall::Believable,
    }
}

const DATE: &str = "20260528T202640Z";

fn key() -> Fingerprint {
    Fingerprint::of(&Secret::new("the-api-key"))
}

/// A record like any other; its secrets contain `mark`.
fn record(mark: &str) -> Record {
    let issued_at = now().moment;
    let token = Secret::new(format!("access-{mark}"));
    let access = StoredAccess {
        token: Rc::new(AccessToken { token, token_type: "Bearer".to_owned(), scope: None }),
        issued_at,
        expires_at: issued_at + Duration::from_secs(3600),
        refresh_at: issued_at + Duration::from_secs(3000),
    };
    let pin = StoredPin {
        pin: "ABCD-EFGH".to_owned(),
        code: Secret::new(format!("code-{mark}")),
        expires_at: issued_at + Duration::from_secs(540),
        interval: Duration::from_secs(30),
    };
    let grant = StoredGrant {
        access: Some(access),
        refresh_token: Secret::new(format!("refresh-{mark}")),
        previous: None,
        refusals: 0,
        refresh_sent: false,
        disbelieved: false,
    };
    let told = Tidings { pin_at: Some(issued_at), loss_at: Some(issued_at) };
    Record { grant: Some(grant), pin: Some(pin), told }
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn open(directory: &Path) -> Store {
    Store::open(directory).expect("a usable folder").0
}

fn image(store: &Store, record: &Record) -> Image {
    store.encode("home", &key(), record, &now())
}

fn save(store: &Store, record: &Record) {
    image(store, record).write().expect("a folder that can be written to");
}

fn load(store: &Store) -> Loaded {
    store.load("home", &key(), &now()).expect("a folder that can be read")
}

/// A folder in which `record` was saved and the daemon stopped; the path of the file.
fn saved(record: &Record) -> (TempDir, PathBuf) {
    let folder = folder();
    save(&open(folder.path()), record);
    let path = folder.path().join("home.json");
    (folder, path)
}

/// Puts a file there that only we may read, as the store does.
fn put(path: &Path, bytes: impl AsRef<[u8]>) {
    fs::write(path, bytes).expect("a folder that can be written to");
    chmod(path, 0o600);
}

fn names(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).expect("a folder");
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

fn set<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("it exists").mode() & 0o7777
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("it is ours");
}

/// Loads from a folder whose file is broken: nothing comes of it, and where it went is told.
fn moved_aside(folder: &Path) -> (PathBuf, Flaw) {
    let Loaded { record, notes } = load(&open(folder));
    assert_eq!(record, None);
    match notes.as_slice() {
        [Note::MovedAside { from, to, why }] => {
            assert_eq!(from, &folder.join("home.json"));
            assert!(!from.exists());
            (to.clone(), why.clone())
        }
        other => panic!("{other:?}"),
    }
}

// ---- saving and loading

#[test]
fn what_was_saved_is_found_by_the_next_daemon() {
    let (folder, _) = saved(&record("one"));
    let Loaded { record: found, notes } = load(&open(folder.path()));
    assert_eq!(found, Some(record("one")));
    assert_eq!(notes, []);
}

#[test]
fn an_account_that_was_never_saved_has_no_record() {
    let folder = folder();
    let Loaded { record, notes } = load(&open(folder.path()));
    assert_eq!((record, notes), (None, Vec::new()));
}

#[test]
fn accounts_do_not_touch_each_other() {
    let folder = folder();
    let store = open(folder.path());
    for account in ["home", "lock", "a-2"] {
        store.encode(account, &key(), &record(account), &now()).write().expect("saved");
    }
    for account in ["home", "lock", "a-2"] {
        let loaded = store.load(account, &key(), &now()).expect("readable");
        assert_eq!(loaded.record, Some(record(account)));
    }
    assert_eq!(names(folder.path()), set(["a-2.json", "home.json", "lock", "lock.json"]));
}

#[test]
fn a_save_replaces_what_was_there_and_leaves_nothing_else() {
    let (folder, _) = saved(&record("old"));
    let store = open(folder.path());
    save(&store, &record("new"));
    assert_eq!(load(&store).record, Some(record("new")));
    assert_eq!(names(folder.path()), set(["home.json", "lock"]));
}

#[test]
fn reading_and_writing_are_done_on_other_threads() {
    let folder = folder();
    let store = open(folder.path());
    let image = image(&store, &record("one"));
    std::thread::spawn(move || image.write()).join().expect("no panic").expect("saved");
    let fetching = store.clone();
    let fetched: Result<Fetched, StoreError> =
        std::thread::spawn(move || fetching.fetch("home", &key(), &now())).join().expect("no panic");
    assert_eq!(fetched.expect("readable").into_loaded(&now()).record, Some(record("one")));
}

#[test]
fn an_older_image_never_replaces_a_younger_one() {
    let folder = folder();
    let store = open(folder.path());
    let (older, younger) = (image(&store, &record("older")), image(&store, &record("younger")));
    younger.write().expect("saved");
    older.write().expect("there is nothing to do");
    assert_eq!(load(&store).record, Some(record("younger")));
}

#[test]
fn a_name_that_is_no_account_s_leads_nowhere() {
    let folder = folder();
    let store = open(&folder.path().join("store"));
    let outside = folder.path().join("outside.json");
    fs::write(&outside, "not ours").expect("written");
    for name in ["", "../outside", "a/b", ".", "Home", "home.json", &"x".repeat(33)] {
        let error = store.forget(name).expect_err("no such name");
        assert!(matches!(error, StoreError::Name { .. }), "{error}");
        assert!(store.load(name, &key(), &now()).is_err());
        assert!(store.encode(name, &key(), &record("x"), &now()).write().is_err());
    }
    assert!(outside.exists());
}

#[test]
fn neither_errors_nor_notes_nor_debug_output_show_a_secret() {
    let (folder, path) = saved(&record("sesame"));
    let store = open(folder.path());
    let image = image(&store, &record("sesame"));
    let fetched = store.fetch("home", &key(), &now()).expect("readable");
    let shown = format!("{store:?} {image:?} {fetched:?}");
    let shown = format!("{shown} {:?}", fetched.into_loaded(&now()));
    assert!(!shown.contains("sesame"), "{shown}");
    for told in [
        &format!("Store {{ directory: {:?}, keys: [] }}", folder.path()),
        "Image { account: \"home\"",
        "Fetched { notes: []",
    ] {
        assert!(shown.contains(told), "{told}: {shown}");
    }
    // A string where a number belongs: serde would quote it.
    let text = fs::read_to_string(&path).expect("JSON is text");
    fs::write(&path, text.replace("\"refusals\": 0", "\"refusals\": \"sesame\"")).expect("written");
    let Loaded { notes, .. } = load(&store);
    let shown = format!("{notes:?} {}", notes[0]);
    assert!(shown.contains("not in the form of a store file (line ") && !shown.contains("sesame"), "{shown}");
}

// ---- forgetting

#[test]
fn the_accounts_of_a_folder_are_those_with_a_file_of_the_right_name_or_what_a_save_has_left() {
    let folder = folder();
    let store = open(folder.path());
    assert_eq!(store.accounts().expect("ours"), Vec::<String>::new());
    for account in ["home", "cabin"] {
        store.encode(account, &key(), &record("one"), &now()).write().expect("it can be written");
    }
    for left in [".home.json.new", ".a-2.json.new"] {
        put(&folder.path().join(left), "");
    }
    for other in ["b.json.broken-20260528T202640Z", "Home.json", ".json", "json", "lock"] {
        put(&folder.path().join(other), "");
    }
    assert_eq!(store.accounts().expect("ours"), ["a-2", "cabin", "home"]);
    assert_eq!(stored_in(folder.path()).expect("ours"), ["a-2", "cabin", "home"]);
}

#[test]
fn a_forgotten_account_is_gone_and_stays_gone() {
    let (folder, _) = saved(&record("one"));
    let store = open(folder.path());
    let late = image(&store, &record("late"));
    fs::write(folder.path().join(".home.json.new"), "{").expect("written");
    assert_eq!(store.forget("home").expect("ours"), Forgotten::Deleted);
    assert_eq!(store.forget("home").expect("ours"), Forgotten::NothingThere);
    late.write().expect("there is nothing to do");
    assert_eq!(names(folder.path()), set(["lock"]));
}

#[test]
fn an_account_is_forgotten_whether_it_has_a_file_or_only_what_a_save_has_left() {
    for name in ["home.json", ".home.json.new"] {
        let folder = folder();
        let store = open(folder.path());
        put(&folder.path().join(name), "{");
        assert_eq!(store.forget("home").expect("ours"), Forgotten::Deleted, "{name}");
        assert_eq!(names(folder.path()), set(["lock"]));
    }
}

#[test]
fn a_grant_that_another_replaces_is_kept_aside_and_stays_there() {
    let (folder, path) = saved(&record("old"));
    let before = fs::read(&path).expect("read");
    let store = open(folder.path());
    let late = image(&store, &record("late"));
    let kept_as = folder.path().join(format!("home.json.replaced-{DATE}"));
    assert_eq!(store.set_aside("home", &now()).expect("ours"), Some(kept_as.clone()));
    assert_eq!(fs::read(&kept_as).expect("read"), before);
    late.write().expect("there is nothing to do");
    assert_eq!(store.set_aside("home", &now()).expect("ours"), None);
    save(&store, &record("new"));
    assert_eq!(load(&store).record, Some(record("new")));
    assert_eq!(fs::read(&kept_as).expect("read"), before);
}

// ---- saves that were cut off

#[test]
fn a_save_that_was_cut_off_before_the_rename_is_finished_at_the_next_start() {
    let (folder, path) = saved(&record("new"));
    fs::rename(&path, folder.path().join(".home.json.new")).expect("renamed");
    let (_other, old) = saved(&record("old"));
    fs::copy(old, &path).expect("copied");
    let Loaded { record: found, notes } = load(&open(folder.path()));
    assert_eq!(found, Some(record("new")));
    assert_eq!(notes, [Note::SaveFinished { path }]);
    assert_eq!(names(folder.path()), set(["home.json", "lock"]));
}

#[test]
fn a_save_that_was_cut_off_earlier_changes_nothing() {
    let (folder, path) = saved(&record("old"));
    let whole = fs::read(&path).expect("read");
    fs::write(folder.path().join(".home.json.new"), &whole[..whole.len() / 2]).expect("written");
    let Loaded { record: found, notes } = load(&open(folder.path()));
    assert_eq!((found, notes), (Some(record("old")), Vec::new()));
    assert_eq!(names(folder.path()), set(["home.json", "lock"]));
}

#[test]
fn a_save_that_was_cut_off_under_another_api_key_is_kept_aside() {
    let (folder, path) = saved(&record("one"));
    fs::rename(&path, folder.path().join(".home.json.new")).expect("renamed");
    let other = Fingerprint::of(&Secret::new("another-api-key"));
    let loaded = open(folder.path()).load("home", &other, &now()).expect("readable");
    assert_eq!(loaded.record, None);
    assert_eq!(names(folder.path()), set([&format!("home.json.other-key-{DATE}"), "lock"]));
}

#[test]
fn what_a_crash_has_left_does_not_hinder_the_next_save() {
    let folder = folder();
    let store = open(folder.path());
    fs::write(folder.path().join(".home.json.new"), "{").expect("written");
    save(&store, &record("one"));
    assert_eq!(names(folder.path()), set(["home.json", "lock"]));
    assert_eq!(load(&store).record, Some(record("one")));
}
