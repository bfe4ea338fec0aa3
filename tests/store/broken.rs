//! What may lie where an account's file should: broken, not a file at all, or not for us.

use super::*;

#[test]
fn a_file_cut_short_anywhere_is_moved_aside_whole() {
    let (folder, path) = saved(&record("one"));
    let whole = fs::read(&path).expect("read");
    for length in 0..whole.len() {
        put(&path, &whole[..length]);
        let Loaded { record: found, notes } = load(&open(folder.path()));
        if let Some(found) = found {
            assert_eq!(length, whole.len() - 1, "only the newline at the end may be missing");
            assert_eq!(found, record("one"));
        } else {
            let [Note::MovedAside { to, .. }] = notes.as_slice() else { panic!("{notes:?}") };
            assert_eq!(fs::read(to).expect("read"), whole[..length]);
            fs::remove_file(to).expect("removed");
        }
    }
}

#[test]
fn files_broken_in_the_same_second_do_not_overwrite_each_other() {
    let folder = folder();
    let path = folder.path().join("home.json");
    for (text, suffix) in [("first", ""), ("second", "-2"), ("third", "-3")] {
        put(&path, text);
        let (to, why) = moved_aside(folder.path());
        assert_eq!(to, folder.path().join(format!("home.json.broken-{DATE}{suffix}")));
        assert_eq!(fs::read_to_string(to).expect("read"), text);
        assert!(matches!(why, Flaw::NotJson { .. }));
    }
}

#[test]
fn a_file_of_another_account_is_moved_aside() {
    let (folder, path) = saved(&record("one"));
    fs::rename(path, folder.path().join("cabin.json")).expect("renamed");
    let loaded = open(folder.path()).load("cabin", &key(), &now()).expect("readable");
    assert_eq!(loaded.record, None);
    assert!(matches!(loaded.notes.as_slice(), [Note::MovedAside { why: Flaw::OtherAccount, .. }]));
}

#[test]
fn a_file_of_a_mebibyte_is_read_and_a_byte_more_is_too_much() {
    let (folder, path) = saved(&record("one"));
    let file = File::options().append(true).open(&path).expect("there it is");
    let length = file.metadata().expect("it is open").len();
    let blanks = |count: u64| vec![b' '; usize::try_from(count).expect("small")];
    (&file).write_all(&blanks((1 << 20) - length)).expect("written");
    assert_eq!(load(&open(folder.path())).record, Some(record("one")));
    (&file).write_all(&blanks(1)).expect("written");
    assert_eq!(moved_aside(folder.path()).1, Flaw::TooLarge);
}

#[test]
fn a_huge_file_is_moved_aside() {
    let folder = folder();
    let mut file = File::create(folder.path().join("home.json")).expect("created");
    chmod(&folder.path().join("home.json"), 0o600);
    file.seek(SeekFrom::Start(1 << 40)).and_then(|_| file.write_all(b"}")).expect("a sparse file");
    assert_eq!(moved_aside(folder.path()).1, Flaw::TooLarge);
}

#[test]
fn a_folder_in_place_of_the_file_is_moved_aside() {
    let folder = folder();
    fs::create_dir_all(folder.path().join("home.json/within")).expect("made");
    let (to, why) = moved_aside(folder.path());
    assert_eq!(why, Flaw::NotAFile);
    assert!(to.join("within").is_dir());
}

#[test]
fn a_symbolic_link_in_place_of_the_file_is_not_followed() {
    let (elsewhere, target) = saved(&record("elsewhere"));
    let folder = folder();
    symlink(&target, folder.path().join("home.json")).expect("linked");
    let (to, why) = moved_aside(folder.path());
    assert_eq!(why, Flaw::NotAFile);
    assert_eq!(fs::read_link(to).expect("still a link"), target);
    drop(elsewhere);
}

#[test]
fn a_pipe_or_socket_in_place_of_the_file_keeps_nobody_waiting() {
    let folder = folder();
    let path = folder.path().join("home.json");
    let made = Command::new("mkfifo").arg(&path).status().expect("mkfifo");
    assert!(made.success());
    assert_eq!(moved_aside(folder.path()).1, Flaw::NotAFile);
    let _socket = UnixListener::bind(&path).expect("bound");
    assert_eq!(moved_aside(folder.path()).1, Flaw::NotAFile);
}

#[test]
fn a_save_replaces_a_symbolic_link_and_not_what_it_leads_to() {
    let (_elsewhere, target) = saved(&record("elsewhere"));
    let before = fs::read(&target).expect("read");
    let folder = folder();
    let store = open(folder.path());
    for name in ["home.json", ".home.json.new"] {
        symlink(&target, folder.path().join(name)).expect("linked");
    }
    save(&store, &record("one"));
    assert_eq!(fs::read(&target).expect("read"), before);
    assert_eq!(load(&store).record, Some(record("one")));
}

#[test]
fn a_folder_in_the_way_of_a_save_is_told_as_such() {
    let (folder, _) = saved(&record("old"));
    let store = open(folder.path());
    fs::create_dir(folder.path().join(".home.json.new")).expect("made");
    let error = image(&store, &record("new")).write().expect_err("it stands in the way").to_string();
    let words = "an earlier temporary file cannot be cleared away: a folder stands in the way";
    assert!(error.contains(words), "{error}");
    assert_eq!(load(&store).record, Some(record("old")));
}

// ---- whole, but not for us

#[test]
fn a_file_of_a_newer_version_is_left_alone() {
    let folder = folder();
    let path = folder.path().join("home.json");
    let text = r#"{"version": 3, "account": {"name": "home"}}"#;
    put(&path, text);
    let store = open(folder.path());
    let error = store.load("home", &key(), &now()).expect_err("too new");
    assert_eq!(error.exit_status(), 73);
    assert!(
        error.to_string().contains("(version 3, this one knows up to 2), left alone; install"),
        "{error}"
    );
    assert_eq!(fs::read_to_string(&path).expect("read"), text);
    assert_eq!(names(folder.path()), set(["home.json", "lock"]));
}

#[test]
fn a_grant_of_another_api_key_is_kept_aside() {
    let (folder, path) = saved(&record("one"));
    let before = fs::read(&path).expect("read");
    let other = Fingerprint::of(&Secret::new("another-api-key"));
    let loaded = open(folder.path()).load("home", &other, &now()).expect("readable");
    assert_eq!(loaded.record, None);
    let kept_as = folder.path().join(format!("home.json.other-key-{DATE}"));
    assert_eq!(loaded.notes, [Note::KeyChanged { from: path, kept_as: kept_as.clone() }]);
    assert_eq!(fs::read(&kept_as).expect("read"), before);
}
