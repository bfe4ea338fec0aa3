//! The rest of the folder, once the accounts in use are loaded: files of other accounts, and what was moved aside.

use super::*;

fn tidied(directory: &Path, given: Given, in_use: &[&str]) -> Vec<Note> {
    open_with(directory, given).tidy(|account| in_use.contains(&account), &now(), || {})
}

/// A folder with a file of an account that is not configured any more, one that was replaced, one of another API key,
/// and one that is broken.
fn lived_in(given: Given) -> TempDir {
    let folder = folder();
    let store = open_with(folder.path(), given);
    for account in ["cabin", "home", "old"] {
        store.encode(account, &key(), &record("sesame"), &now()).write().expect("saved");
    }
    store.set_aside("old", &now()).expect("ours");
    let other = Fingerprint::of(&Secret::new("another-api-key"));
    store.load("cabin", &other, &now()).expect("readable");
    store.encode("cabin", &key(), &record("sesame"), &now()).write().expect("saved");
    folder
}

#[test]
fn nothing_that_can_be_opened_stays_in_another_form_than_today_s() {
    let folder = lived_in(PLAIN);
    put(&folder.path().join("old.json.broken-20260101T000000Z"), "{\"refresh_token\": \"half of i");
    put(&folder.path().join(".old.json.replaced-20260101T000000Z.new"), "{\"refresh_token\": \"sesame");
    let others = [
        "cabin.json".to_owned(),
        format!("cabin.json.other-key-{DATE}"),
        format!("old.json.replaced-{DATE}"),
    ];
    let mut before = contents(folder.path());
    before.retain(|name, _| others.contains(name));
    assert_eq!(before.len(), 3, "{before:?}");
    for given in [today(1), from_to(1, 2), back_from(2)] {
        start(folder.path(), given).expect("home is in use");
        let notes = tidied(folder.path(), given, &["home"]);
        for name in &others {
            assert_eq!(form_of(&folder.path().join(name)), given.form(), "{name}: {notes:#?}");
        }
        assert_eq!(names(folder.path()).len(), 6, "{:?}", names(folder.path()));
        let broken: Vec<_> = notes.iter().filter(|note| matches!(note, Note::LeftPlain { .. })).collect();
        assert_eq!(broken.len(), usize::from(given.today.is_some()), "{notes:#?}");
        if let Some(number) = given.previous {
            assert_eq!(notes.last(), Some(&Note::PreviousKeyIdle { key: store_key(number).id() }));
        }
        if given.today.is_some() {
            for (name, bytes) in contents(folder.path()) {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                assert!(!text.contains("sesame"), "{name}: {text}");
            }
        }
    }
    let mut after = contents(folder.path());
    after.retain(|name, _| others.contains(name));
    assert_eq!(after, before, "there and back, to the byte");
}

#[test]
fn what_was_moved_aside_in_the_clear_can_be_used_again_once_it_is_sealed() {
    let (folder, path) = saved(&record("old"));
    let kept = open(folder.path()).set_aside("home", &now()).expect("ours").expect("there was one");
    tidied(folder.path(), today(1), &[]);
    assert_eq!(form_of(&kept), today(1).form());
    fs::rename(kept, &path).expect("renamed");
    assert_eq!(start(folder.path(), today(1)).expect("the key").record, Some(record("old")));
}

#[test]
fn a_save_of_an_account_that_is_not_in_use_is_finished_and_sealed() {
    let (folder, path) = saved(&record("new"));
    fs::rename(&path, folder.path().join(".home.json.new")).expect("renamed");
    tidied(folder.path(), today(1), &[]);
    assert_eq!(form_of(&path), today(1).form());
    assert_eq!(names(folder.path()), set(["home.json", "lock"]));
    assert_eq!(start(folder.path(), today(1)).expect("the right key").record, Some(record("new")));
}

#[test]
fn a_cut_off_save_of_another_api_key_does_not_take_the_place_of_a_file_that_is_not_in_use() {
    let (folder, path) = saved(&record("ours"));
    let other = Fingerprint::of(&Secret::new("another-api-key"));
    let store = open(folder.path());
    store.encode("cabin", &other, &record("theirs"), &now()).write().expect("saved");
    drop(store);
    let text = fs::read_to_string(folder.path().join("cabin.json")).expect("it is there");
    put(&folder.path().join(".home.json.new"), text.replace("\"cabin\"", "\"home\""));
    fs::remove_file(folder.path().join("cabin.json")).expect("removed");
    tidied(folder.path(), today(1), &[]);
    let aside = format!("home.json.other-key-{DATE}");
    assert_eq!(names(folder.path()), set(["home.json", &aside, "lock"]));
    assert_eq!(form_of(&folder.path().join(aside)), today(1).form());
    assert_eq!(form_of(&path), today(1).form());
    assert_eq!(start(folder.path(), today(1)).expect("the key").record, Some(record("ours")));
}

#[test]
fn what_is_not_in_use_and_of_another_key_is_left_alone_and_keeps_nobody_from_starting() {
    let folder = lived_in(today(1));
    fs::remove_file(folder.path().join("home.json")).expect("removed");
    let before = contents(folder.path());
    let notes = tidied(folder.path(), today(2), &["home"]);
    let one = store_key(1).id();
    assert_eq!(notes.len(), 3, "{notes:#?}");
    for note in &notes {
        assert!(matches!(note, Note::LeftAlone { why } if why.contains(&one.to_string())), "{note}");
    }
    assert_eq!(contents(folder.path()), before);
}

#[test]
fn the_previous_key_is_said_to_be_needed_as_long_as_it_is() {
    let (folder, _) = saved_with(&record("one"), today(1));
    let store = open_with(folder.path(), from_to(1, 2));
    fs::create_dir(folder.path().join(".home.json.new")).expect("made");
    store.load("home", &key(), &now()).expect("it can be opened");
    assert_eq!(store.tidy(|_| true, &now(), || {}), [], "a file is still encrypted with it");
    drop(store);
    fs::remove_dir(folder.path().join(".home.json.new")).expect("removed");
    let store = open_with(folder.path(), from_to(1, 2));
    store.load("home", &key(), &now()).expect("it can be opened");
    let notes = store.tidy(|_| true, &now(), || {});
    assert_eq!(notes, [Note::PreviousKeyIdle { key: store_key(1).id() }]);
    assert!(!notes[0].is_warning());
}

#[test]
fn the_previous_key_is_said_to_be_idle_only_where_all_could_be_looked_into_or_is_of_a_third_key() {
    for name in ["cabin.json", "cabin.json.replaced-20260101T000000Z"] {
        let (folder, home) = saved_with(&record("one"), today(2));
        let path = folder.path().join(name);
        put(&path, "{\"version\": 3}");
        let notes = tidied(folder.path(), from_to(1, 2), &["home"]);
        assert!(matches!(&notes[..], [Note::LeftAlone { .. }]), "{name}: {notes:#?}");
        fs::copy(&home, &path).expect("copied");
        let notes = tidied(folder.path(), from_to(1, 3), &["home"]);
        let idle = Note::PreviousKeyIdle { key: store_key(1).id() };
        assert!(matches!(&notes[..], [Note::LeftAlone { .. }, told] if *told == idle), "{name}: {notes:#?}");
        fs::remove_file(path).expect("removed");
        assert_eq!(tidied(folder.path(), from_to(2, 2), &["home"]), [], "it is today's, too");
    }
}

#[test]
fn a_folder_that_cannot_be_listed_is_told_of_and_keeps_nobody_from_starting() {
    let parent = folder();
    let directory = parent.path().join("state");
    let store = open_with(&directory, from_to(1, 2));
    fs::remove_dir_all(&directory).expect("removed");
    let notes = store.tidy(|_| false, &now(), || {});
    let [note @ Note::LeftAlone { .. }] = &notes[..] else { panic!("{notes:#?}") };
    assert!(note.to_string().contains("state: cannot be read: the folder is gone;"), "{note}");
}

#[test]
fn without_any_key_the_rest_of_the_folder_is_nobody_s_business() {
    let folder = lived_in(today(1));
    let before = contents(folder.path());
    assert_eq!(tidied(folder.path(), PLAIN, &["home"]), []);
    assert_eq!(contents(folder.path()), before);
}
