//! Modes, and disks that fail.

use std::env;
use std::os::unix::fs::chown;

use super::*;
use rustix::process::geteuid;

/// A user without any rights of its own.
const NOBODY: u32 = 65534;
const AS_NOBODY: &[&str] = &["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

/// Runs the test `story` of this program again: `around` is a command that gives it other rights or mounts, and
/// `prepare` what a shell does first. There, [`room`] is the folder. Says so where this cannot be done.
fn again(story: &str, room: &Path, around: &[&str], prepare: &str) {
    let (_program, here) = module_path!().split_once("::").expect("a module of the program");
    let story = format!("{here}::{story}");
    let script = format!("{prepare} || exit 75; exec \"$@\"");
    let output = Command::new("env")
        .args(around)
        .args(["sh", "-c", &script, "sh"])
        .arg(env::current_exe().expect("a running program"))
        .args(["--exact", &story, "--nocapture"])
        .env("STORE_ROOM", room)
        .output()
        .expect("env is everywhere");
    let told =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    match output.status.code() {
        Some(0) => assert!(told.contains("1 passed"), "{told}"),
        // What the test harness says of a failed test; anything else means that there was none.
        Some(101) => panic!("{told}"),
        Some(_) | None => skipped(&format!("{story}: {around:?} {prepare:?} cannot be done here: {told}")),
    }
}

/// The same by a user to whom modes apply: to root they do not.
fn again_as_nobody(story: &str) {
    let folder = folder();
    let is_root = geteuid().is_root();
    chown(folder.path(), is_root.then_some(NOBODY), None).expect("root may");
    again(story, folder.path(), if is_root { AS_NOBODY } else { &[] }, "true");
}

/// Says so even where the harness keeps the output of a test to itself.
fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
}

/// The folder that [`again`] has prepared; `None` in the run that prepares it.
fn room() -> Option<PathBuf> {
    env::var_os("STORE_ROOM").map(PathBuf::from)
}

#[test]
fn whatever_the_umask_only_we_may_read() {
    let Some(room) = room() else {
        for umask in ["0000", "0777", "0377"] {
            let folder = folder();
            again("whatever_the_umask_only_we_may_read", folder.path(), &[], &format!("umask {umask}"));
        }
        return;
    };
    let directory = room.join("made/on/the/way");
    let store = open(&directory);
    save(&store, &record("one"));
    save(&store, &record("two"));
    for made in ["made", "made/on", "made/on/the", "made/on/the/way"] {
        assert_eq!(mode(&room.join(made)), 0o700, "{made}");
    }
    assert_eq!(mode(&directory.join("home.json")), 0o600);
    assert_eq!(mode(&directory.join("lock")), 0o600);
}

#[test]
fn a_file_that_others_could_read_is_closed_to_them_and_told_of() {
    let (folder, path) = saved(&record("one"));
    chmod(&path, 0o644);
    let Loaded { record: found, notes } = load(&open(folder.path()));
    assert_eq!(found, Some(record("one")));
    assert_eq!(notes, [Note::ModeMended { path: path.clone(), mode: 0o644 }]);
    assert!(notes[0].to_string().contains("other users could read it (mode 0644, now 0600)"), "{}", notes[0]);
    assert_eq!(mode(&path), 0o600);
}

#[test]
fn a_folder_that_others_could_look_into_is_closed_to_them_and_told_of() {
    let folder = folder();
    chmod(folder.path(), 0o755);
    let (_store, notes) = Store::open(folder.path()).expect("ours");
    assert_eq!(notes, [Note::FolderMended { path: folder.path().to_owned(), mode: 0o755 }]);
    assert_eq!(mode(folder.path()), 0o700);
}

#[test]
fn a_folder_that_only_we_may_look_into_is_not_worth_a_word() {
    let folder = folder();
    chmod(folder.path(), 0o700);
    assert_eq!(Store::open(folder.path()).expect("ours").1, []);
}

#[test]
fn what_root_saves_by_hand_belongs_to_the_user_of_the_folder() {
    if !geteuid().is_root() {
        skipped("only root can save for another user");
        return;
    }
    let folder = folder();
    chown(folder.path(), Some(1234), Some(4321)).expect("root may");
    save(&open(folder.path()), &record("one"));
    for name in ["home.json", "lock"] {
        let about = fs::metadata(folder.path().join(name)).expect("it exists");
        assert_eq!((about.uid(), about.gid(), about.mode() & 0o777), (1234, 4321, 0o600), "{name}");
    }
}

/// A record that fills a good part of a small disk.
fn large_record() -> Record {
    let mut large = record("large");
    large.grant.as_mut().expect("it has one").previous = Some(Secret::new("x".repeat(200_000)));
    large
}

#[test]
fn a_file_of_another_user_is_read_and_told_of_and_replaced() {
    let Some(room) = room() else {
        if !geteuid().is_root() {
            skipped("only root can give a folder away");
            return;
        }
        let (folder, path) = saved(&record("one"));
        fs::remove_file(folder.path().join("lock")).expect("removed");
        chmod(&path, 0o644);
        chown(folder.path(), Some(NOBODY), Some(NOBODY)).expect("root may");
        again("a_file_of_another_user_is_read_and_told_of_and_replaced", folder.path(), AS_NOBODY, "true");
        return;
    };
    let store = open(&room);
    let path = room.join("home.json");
    let Loaded { record: found, notes } = load(&store);
    assert_eq!(found, Some(record("one")));
    assert_eq!(notes, [Note::ModeLeft { path: path.clone(), mode: 0o644, owner: 0 }]);
    save(&store, &record("two"));
    let about = fs::metadata(&path).expect("it exists");
    assert_eq!((about.uid(), about.mode() & 0o777), (NOBODY, 0o600));
}

/// A save that fails: the error has these words, the old file is what it was, and there is no other.
fn fails(store: &Store, directory: &Path, record: &Record, words: &str) {
    let before = fs::read(directory.join("home.json")).expect("the old file");
    let error = image(store, record).write().expect_err("it cannot be saved").to_string();
    let path = directory.join("home.json");
    assert!(error.starts_with(&format!("{}: not saved, for", path.display())), "{error}");
    assert!(error.contains(words), "{error}");
    assert_eq!(fs::read(&path).expect("the old file"), before);
    assert_eq!(names(directory), set(["home.json", "lock"]));
}

#[test]
fn a_full_disk_costs_nothing_that_was_saved() {
    let Some(room) = room() else {
        let folder = folder();
        let mount = "mount -t tmpfs -o size=64k,mode=0700 tmpfs \"$STORE_ROOM\"";
        again("a_full_disk_costs_nothing_that_was_saved", folder.path(), &["unshare", "--mount"], mount);
        return;
    };
    let store = open(&room);
    save(&store, &record("one"));
    fails(&store, &room, &large_record(), "the disk is full; free some space");
    // Once there is room again, all is well again.
    save(&store, &record("two"));
    assert_eq!(load(&store).record, Some(record("two")));
}

#[test]
fn a_read_only_disk_is_told_as_such() {
    let Some(room) = room() else {
        let folder = folder();
        let mount = "mount -t tmpfs tmpfs \"$STORE_ROOM\"";
        again("a_read_only_disk_is_told_as_such", folder.path(), &["unshare", "--mount"], mount);
        return;
    };
    let store = open(&room);
    save(&store, &record("one"));
    let mounted = Command::new("mount").args(["-o", "bind,ro"]).args([&room, &room]).status();
    assert!(mounted.expect("mount").success());
    fails(&store, &room, &record("two"), "read-only here; mount it writable");
    drop(store);
    let error = Store::open(&room).expect_err("the lock cannot be written");
    assert!(error.to_string().contains("read-only here"), "{error}");
}

#[test]
fn a_folder_without_rights_is_told_as_such() {
    let Some(room) = room() else {
        return again_as_nobody("a_folder_without_rights_is_told_as_such");
    };
    let store = open(&room);
    save(&store, &record("one"));
    chmod(&room, 0o500);
    fails(&store, &room, &record("two"), "has no right to; the folder and all in it must belong to the user");
    let error = Store::open(&room.join("below")).expect_err("no right to make a folder").to_string();
    assert!(error.contains("below: the folder cannot be prepared: user"), "{error}");
    let error = store.forget("home").expect_err("no right to delete");
    assert!(matches!(error, StoreError::Refused { doing: Doing::Delete, .. }), "{error}");
    let error = store.set_aside("home", &now()).expect_err("no right to rename");
    assert!(matches!(error, StoreError::Refused { doing: Doing::MoveAside, .. }), "{error}");
    chmod(&room, 0o700);
    put(&room.join("cabin.json"), "{");
    chmod(&room, 0o500);
    let error = store.load("cabin", &key(), &now()).expect_err("no right to rename");
    assert!(matches!(error, StoreError::Refused { doing: Doing::MoveAside, .. }), "{error}");
    chmod(&room, 0o700);
    chmod(&room.join("home.json"), 0);
    let error = store.load("home", &key(), &now()).expect_err("no right to read");
    assert!(error.to_string().contains("home.json: cannot be read: user"), "{error}");
    assert_eq!(error.exit_status(), 73);
    assert_eq!(mode(&room.join("home.json")), 0, "it was left alone");
}

/// A power cut may undo what was done to names, so nobody must take it for certain.
#[test]
fn a_folder_that_does_not_reach_the_disk_is_told_as_such() {
    let Some(room) = room() else {
        return again_as_nobody("a_folder_that_does_not_reach_the_disk_is_told_as_such");
    };
    let store = open(&room);
    save(&store, &record("one"));
    // What cannot be opened cannot be carried to the disk, but names can still be given in it.
    chmod(&room, 0o300);
    let words = "home.json: saved, but perhaps not for good, for its folder does not reach the disk: ";
    let error = image(&store, &record("two")).write().expect_err("not for good").to_string();
    assert!(error.contains(words), "{error}");
    assert_eq!(load(&store).record, Some(record("two")));
    let error = store.forget("home").expect_err("not for good");
    assert!(matches!(error, StoreError::Refused { doing: Doing::SyncDeletion, .. }), "{error}");
    assert!(!room.join("home.json").exists());
}

#[test]
fn a_folder_that_vanished_is_made_again() {
    let parent = folder();
    let directory = parent.path().join("state/ecobee-tokend");
    let store = open(&directory);
    save(&store, &record("one"));
    fs::remove_dir_all(parent.path().join("state")).expect("removed");
    save(&store, &record("two"));
    assert_eq!(mode(&directory), 0o700);
    assert_eq!(load(&store).record, Some(record("two")));
    assert!(matches!(Store::open(&directory), Err(StoreError::Locked { .. })), "it is locked again");
}

#[test]
fn a_folder_that_another_daemon_has_made_anew_is_not_written_to() {
    let parent = folder();
    let directory = parent.path().join("state");
    let first = open(&directory);
    fs::remove_dir_all(&directory).expect("removed");
    let second = open(&directory);
    save(&second, &record("second"));
    assert!(matches!(image(&first, &record("first")).write(), Err(StoreError::Locked { .. })));
    assert_eq!(load(&second).record, Some(record("second")));
}

#[test]
fn something_else_in_place_of_the_folder_is_told_as_such() {
    let folder = folder();
    let path = folder.path().join("file");
    fs::write(&path, "not a folder").expect("written");
    chmod(&path, 0o644);
    for directory in [path.clone(), path.join("below")] {
        let error = Store::open(&directory).expect_err("no folder");
        assert!(error.to_string().contains("not a folder; move that away"), "{error}");
        assert_eq!(error.exit_status(), 73);
    }
    assert_eq!(mode(&path), 0o644);
}
