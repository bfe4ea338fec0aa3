//! Encryption at rest: into it, out of it, from key to key, and what is refused.

use std::collections::BTreeMap;

use super::*;
use ecobee_tokend::secret::SecretBytes;
use ecobee_tokend::store::{Form, Key, Keys, refusals};

mod rest;

/// A key that is called by this number. Made up.
fn store_key(number: u8) -> Key {
    Key::of(&SecretBytes::copy_of(&[number; 32]))
}

/// What the store is given: no key, or some by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Given {
    today: Option<u8>,
    previous: Option<u8>,
}

const PLAIN: Given = Given { today: None, previous: None };

const fn today(number: u8) -> Given {
    Given { today: Some(number), previous: None }
}

const fn from_to(previous: u8, today: u8) -> Given {
    Given { today: Some(today), previous: Some(previous) }
}

const fn back_from(previous: u8) -> Given {
    Given { today: None, previous: Some(previous) }
}

impl Given {
    fn keys(self) -> Keys {
        Keys::new(self.today.map(store_key), self.previous.map(store_key))
    }

    fn form(self) -> Form {
        self.today.map_or(Form::Plain, |number| Form::Sealed(store_key(number).id()))
    }
}

fn open_with(directory: &Path, given: Given) -> Store {
    Store::open_with(directory, given.keys()).expect("a usable folder").0
}

/// Saves as a daemon with these keys does, and stops.
fn saved_with(record: &Record, given: Given) -> (TempDir, PathBuf) {
    let folder = folder();
    save(&open_with(folder.path(), given), record);
    let path = folder.path().join("home.json");
    (folder, path)
}

fn start(directory: &Path, given: Given) -> Result<Loaded, StoreError> {
    open_with(directory, given).load("home", &key(), &now())
}

/// How a file is kept, by a look from outside.
fn form_of(path: &Path) -> Form {
    let value: serde_json::Value = serde_json::from_slice(&fs::read(path).expect("read")).expect("JSON");
    match value["version"].as_u64() {
        Some(1) => Form::Plain,
        Some(2) => {
            let known = (0..10).map(|number| store_key(number).id());
            let id = value["key_id"].as_str().expect("a key's name");
            Form::Sealed(known.into_iter().find(|known| known.to_string() == id).expect("one of ours"))
        }
        other => panic!("version {other:?}"),
    }
}

fn contents(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let read = |name: String| {
        let bytes = fs::read(directory.join(&name)).expect("read");
        (name, bytes)
    };
    names(directory).into_iter().filter(|name| name != "lock").map(read).collect()
}

/// A start that must not happen: what it says. Nothing in the folder is another afterwards.
fn refused(directory: &Path, given: Given) -> String {
    let before = contents(directory);
    let error = start(directory, given).expect_err("it is refused");
    assert_eq!(error.exit_status(), 73);
    assert_eq!(contents(directory), before, "nothing was touched");
    error.to_string()
}

// ---- saving and loading

#[test]
fn what_was_sealed_is_found_by_the_next_daemon_and_by_nobody_without_the_key() {
    let (folder, path) = saved_with(&record("sesame"), today(1));
    let Loaded { record: found, notes } = start(folder.path(), today(1)).expect("the right key");
    assert_eq!((found, notes), (Some(record("sesame")), Vec::new()));
    let text = fs::read_to_string(&path).expect("JSON is text");
    for secret in ["sesame", "ABCD-EFGH", "73616d65", "api_key_sha256", "refresh"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
    assert_eq!((mode(&path), form_of(&path)), (0o600, today(1).form()));
}

#[test]
fn the_largest_record_that_can_be_stored_plainly_can_be_sealed() {
    let mut large = record("large");
    large.grant.as_mut().expect("it has one").previous = Some(Secret::new("x".repeat((1 << 20) - 2000)));
    let (folder, path) = saved_with(&large, PLAIN);
    assert!(fs::metadata(&path).expect("saved").len() > (1 << 20) - 2000);
    for given in [today(1), from_to(1, 2), back_from(2), PLAIN] {
        assert_eq!(
            start(folder.path(), given).expect("the right key").record,
            Some(large.clone()),
            "{given:?}"
        );
    }
}

// ---- from form to form

#[test]
fn every_change_of_keys_keeps_the_grant_and_leaves_what_a_save_would() {
    let path = [PLAIN, today(1), from_to(1, 2), today(2), from_to(2, 3), from_to(3, 3), back_from(3), PLAIN];
    let (folder, file) = saved_with(&record("one"), PLAIN);
    for pair in path.windows(2) {
        let Loaded { record: found, notes } = start(folder.path(), pair[1]).expect("it can be opened");
        assert_eq!(found, Some(record("one")), "{pair:?}");
        assert_eq!(form_of(&file), pair[1].form(), "{pair:?}");
        assert_eq!(names(folder.path()), set(["home.json", "lock"]));
        assert_eq!(notes.is_empty(), pair[0].form() == pair[1].form(), "{pair:?}: {notes:?}");
        assert_eq!(start(folder.path(), pair[1]).expect("it can be opened").notes, [], "once only: {pair:?}");
    }
}

#[test]
fn a_file_that_went_there_and_back_is_the_same_to_the_byte() {
    let (folder, path) = saved(&record("one"));
    let text = fs::read_to_string(&path).expect("JSON is text").replacen('{', "{ \"of-tomorrow\": 7,", 1);
    put(&path, &text);
    for given in [today(1), from_to(1, 2), back_from(2)] {
        start(folder.path(), given).expect("it can be opened");
    }
    assert_eq!(fs::read_to_string(&path).expect("JSON is text"), text);
}

#[test]
fn a_plain_file_where_there_is_a_key_is_taken_and_sealed_and_told_of_loudly() {
    let (folder, path) = saved(&record("one"));
    let Loaded { record: found, notes } = start(folder.path(), today(1)).expect("it is plain");
    assert_eq!(found, Some(record("one")));
    assert_eq!(notes, [Note::Sealed { path, with: store_key(1).id() }]);
    assert!(notes[0].is_warning(), "somebody else may have put it there");
}

#[test]
fn what_an_operator_asked_for_is_told_quietly() {
    let (folder, path) = saved_with(&record("one"), today(1));
    let rotated = start(folder.path(), from_to(1, 2)).expect("it can be opened").notes;
    assert_eq!(rotated, [Note::Rotated { path: path.clone(), with: store_key(2).id() }]);
    let back = start(folder.path(), back_from(2)).expect("it can be opened").notes;
    assert_eq!(back, [Note::Unsealed { path }]);
    assert!(!rotated[0].is_warning() && !back[0].is_warning());
}

#[test]
fn a_save_that_was_cut_off_is_finished_in_today_s_form_whatever_its_own() {
    for before in [PLAIN, today(1), today(2)] {
        for newer in [PLAIN, today(1), today(2)] {
            let (folder, path) = saved_with(&record("new"), newer);
            fs::rename(&path, folder.path().join(".home.json.new")).expect("renamed");
            let (_other, old) = saved_with(&record("old"), before);
            fs::copy(old, &path).expect("copied");
            let found = start(folder.path(), from_to(1, 2)).expect("it can be opened").record;
            assert_eq!(found, Some(record("new")), "{before:?} {newer:?}");
            assert_eq!(form_of(&path), today(2).form());
            assert_eq!(names(folder.path()), set(["home.json", "lock"]));
        }
    }
}

#[test]
fn a_grant_of_another_api_key_is_kept_aside_in_today_s_form() {
    let (folder, _) = saved(&record("sesame"));
    let other = Fingerprint::of(&Secret::new("another-api-key"));
    let loaded = open_with(folder.path(), today(1)).load("home", &other, &now()).expect("readable");
    assert_eq!(loaded.record, None);
    let aside = folder.path().join(format!("home.json.other-key-{DATE}"));
    assert_eq!(form_of(&aside), today(1).form());
    assert_eq!(
        names(folder.path()),
        set([aside.file_name().and_then(|name| name.to_str()).expect("text"), "lock"])
    );
    assert!(
        loaded.notes.iter().any(|note| matches!(note, Note::KeyChanged { kept_as, .. } if *kept_as == aside))
    );
    // It is of use again once its API key is.
    fs::rename(aside, folder.path().join("home.json")).expect("renamed");
    assert_eq!(start(folder.path(), today(1)).expect("the right key").record, Some(record("sesame")));
}

#[test]
fn a_folder_that_cannot_be_written_to_keeps_nobody_from_the_grant() {
    let (folder, path) = saved(&record("one"));
    let before = fs::read(&path).expect("read");
    let store = open_with(folder.path(), today(1));
    // A folder in the way of the temporary file does to a save what a full disk does.
    fs::create_dir(folder.path().join(".home.json.new")).expect("made");
    let Loaded { record: found, notes } = store.load("home", &key(), &now()).expect("it is plain");
    assert_eq!(found, Some(record("one")));
    let [Note::FormLeft { form: Form::Plain, why }] = notes.as_slice() else { panic!("{notes:?}") };
    assert!(why.contains("home.json: not saved, for"), "{why}");
    assert!(notes[0].to_string().contains("It stays not encrypted until"), "{}", notes[0]);
    assert_eq!(fs::read(&path).expect("read"), before);
    fs::remove_dir(folder.path().join(".home.json.new")).expect("removed");
    save(&store, &record("two"));
    assert_eq!(form_of(&path), today(1).form(), "the next save does it");
}

// ---- what is refused, and left alone

#[test]
fn a_file_of_another_key_is_refused_and_told_with_both_keys() {
    let (folder, _) = saved_with(&record("one"), today(1));
    let [one, two, three] = [1, 2, 3].map(|number| store_key(number).id());
    let wrong = refused(folder.path(), today(2));
    assert!(
        wrong.contains(&format!("home.json: encrypted with the key {one}, and the key of [store] is {two};"))
    );
    let both = refused(folder.path(), from_to(2, 3));
    assert!(
        both.contains(&format!("{one}, and the keys of [store] are {three} and {two}; left alone.")),
        "{both}"
    );
}

#[test]
fn a_sealed_file_where_no_key_is_given_is_refused_and_told_with_the_key_that_it_needs() {
    let (folder, _) = saved_with(&record("one"), today(1));
    let said = refused(folder.path(), PLAIN);
    let one = store_key(1).id();
    assert!(
        said.contains(&format!("encrypted with the key {one}, and [store] names no key; left alone.")),
        "{said}"
    );
    assert!(
        said.contains("previous-key-file") && said.contains("if it is lost, move the file away"),
        "{said}"
    );
    assert_eq!(start(folder.path(), today(1)).expect("the right key").record, Some(record("one")));
}

#[test]
fn a_cut_off_save_of_another_key_is_refused_before_anything_is_touched() {
    for beside in [None, Some("{")] {
        let (folder, path) = saved_with(&record("one"), today(1));
        fs::rename(&path, folder.path().join(".home.json.new")).expect("renamed");
        if let Some(broken) = beside {
            put(&path, broken);
        }
        assert!(refused(folder.path(), today(2)).contains(".home.json.new: encrypted with the key"));
    }
}

#[test]
fn a_sealed_file_of_a_newer_version_is_refused() {
    let (folder, path) = saved_with(&record("one"), today(1));
    let text = fs::read_to_string(&path).expect("JSON is text");
    put(&path, text.replacen("\"version\": 2", "\"version\": 3", 1));
    assert!(refused(folder.path(), today(1)).contains("(version 3, this one knows up to 2)"));
}

// ---- what is damaged, and moved aside

/// What a start says of the only file in a folder, which it has moved aside unchanged.
fn aside(directory: &Path, given: Given) -> (Flaw, String) {
    let before = fs::read(directory.join("home.json")).expect("read");
    let Loaded { record, notes } = start(directory, given).expect("it is no refusal");
    assert_eq!(record, None);
    let [note @ Note::MovedAside { to, why, .. }] = notes.as_slice() else { panic!("{notes:?}") };
    assert_eq!(fs::read(to).expect("it is kept"), before);
    (why.clone(), note.to_string())
}

#[test]
fn a_file_of_another_account_is_moved_aside_and_told_with_the_account_whose_it_is() {
    let folder = folder();
    let store = open_with(folder.path(), today(1));
    for account in ["home", "cabin"] {
        store.encode(account, &key(), &record(account), &now()).write().expect("saved");
    }
    drop(store);
    let [home, cabin, between] = ["home.json", "cabin.json", "x"].map(|name| folder.path().join(name));
    for (from, to) in [(&home, &between), (&cabin, &home), (&between, &cabin)] {
        fs::rename(from, to).expect("renamed");
    }
    let (why, said) = aside(folder.path(), today(1));
    assert_eq!(why, Flaw::SealedFor { account: "cabin".to_owned() });
    assert!(said.contains("the encrypted file of the account cabin"), "{said}");
    // It is as good as ever where it belongs.
    fs::rename(folder.path().join(format!("home.json.broken-{DATE}")), &cabin).expect("renamed");
    let loaded = open_with(folder.path(), today(1)).load("cabin", &key(), &now()).expect("the right key");
    assert_eq!(loaded.record, Some(record("cabin")));
}

#[test]
fn a_file_of_another_account_that_says_it_is_this_one_s_is_moved_aside() {
    let folder = folder();
    let store = open_with(folder.path(), today(1));
    store.encode("cabin", &key(), &record("cabin"), &now()).write().expect("saved");
    drop(store);
    let path = folder.path().join("home.json");
    fs::rename(folder.path().join("cabin.json"), &path).expect("renamed");
    let text = fs::read_to_string(&path).expect("JSON is text");
    put(&path, text.replace("\"cabin\"", "\"home\""));
    assert_eq!(aside(folder.path(), today(1)).0, Flaw::Altered { key: store_key(1).id() });
}

#[test]
fn a_sealed_file_cut_short_anywhere_is_moved_aside_whole() {
    let (folder, path) = saved_with(&record("one"), today(1));
    let whole = fs::read_to_string(&path).expect("JSON is text");
    let start_of = whole.find("\"sealed\": \"").expect("it has one") + 11;
    let end = whole.rfind('"').expect("it ends");
    for length in 0..whole.len() - 1 {
        put(&path, &whole[..length]);
        aside(folder.path(), today(1));
        fs::remove_file(folder.path().join(format!("home.json.broken-{DATE}"))).expect("removed");
    }
    for digits in 0..end - start_of {
        put(&path, format!("{}{}", &whole[..start_of + digits], &whole[end..]));
        let (why, said) = aside(folder.path(), today(1));
        let altered = Flaw::Altered { key: store_key(1).id() };
        assert!(why == altered || why == Flaw::StrangeEnvelope, "{digits}: {said}");
        fs::remove_file(folder.path().join(format!("home.json.broken-{DATE}"))).expect("removed");
    }
}

#[test]
fn a_sealed_file_in_which_any_bit_is_another_is_never_loaded_as_something_else() {
    let (folder, path) = saved_with(&Record::default(), today(1));
    let whole = fs::read(&path).expect("read");
    let (mut unharmed, mut refused, mut aside) = (0, 0, 0);
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        put(&path, &bytes);
        match start(folder.path(), today(1)) {
            Err(error) => {
                assert!(
                    matches!(error, StoreError::Sealed { .. } | StoreError::Newer { .. }),
                    "{bit}: {error}"
                );
                assert_eq!(fs::read(&path).expect("it was left alone"), bytes);
                refused += 1;
            }
            Ok(Loaded { record: Some(found), .. }) => {
                assert_eq!(found, Record::default(), "bit {bit}");
                unharmed += 1;
            }
            Ok(Loaded { record: None, notes }) => {
                let [Note::MovedAside { to, .. }] = notes.as_slice() else { panic!("{bit}: {notes:?}") };
                assert_eq!(fs::read(to).expect("it is kept"), bytes);
                fs::remove_file(to).expect("removed");
                aside += 1;
            }
        }
    }
    println!("{} bits: {aside} moved aside, {refused} refused, {unharmed} of no account", whole.len() * 8);
    assert!(unharmed < 16 && refused < 100, "{unharmed} {refused}");
}

// ---- a look ahead

#[test]
fn a_look_ahead_says_what_a_start_would_refuse_and_changes_nothing() {
    let (folder, path) = saved_with(&record("one"), today(1));
    chmod(&path, 0o644);
    let look = |given: Given| refusals(folder.path(), &given.keys(), ["home", "cabin", "../home"]);
    for given in [today(1), from_to(1, 2), back_from(1)] {
        assert!(look(given).is_empty(), "{given:?}");
    }
    for given in [PLAIN, today(2), from_to(2, 3)] {
        let said: Vec<String> = look(given).iter().map(ToString::to_string).collect();
        assert_eq!(said, [start(folder.path(), given).expect_err("refused").to_string()]);
        chmod(&path, 0o644);
    }
    assert!(look(today(2))[0].to_string().contains("encrypted with the key"));
    assert_eq!((mode(&path), names(folder.path())), (0o644, set(["home.json", "lock"])));
    assert!(refusals(&folder.path().join("nowhere"), &Keys::default(), ["home"]).is_empty());
}
