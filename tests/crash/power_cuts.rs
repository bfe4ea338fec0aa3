//! Power cuts at every moment of a save, and of the mending of one that was cut off.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use ecobee_tokend::clock::Reading;
use ecobee_tokend::keeper::{AccessToken, Record, StoredAccess, StoredGrant, StoredPin};
use ecobee_tokend::secret::Secret;
use ecobee_tokend::store::{Fingerprint, Keys, Store};

use super::strace;
use crate::disk::{Contents, Deed, Disk, deeds};
use crate::harness::skipped;
use crate::law::{FILE, fill, folder, store_key, survives};

/// The API key of these stores. Made up.
const KEY: &str = "the-api-key";

/// What is to take the place of the account's file.
const TEMPORARY: &str = ".home.json.new";

/// Where a watched run of this program finds its folder; `None` in the run that watches.
fn room() -> Option<PathBuf> {
    env::var_os("CRASH_ROOM").map(PathBuf::from)
}

/// Runs the test `story` of this program again, watched; there, [`room`] is the folder. What it did to the folder, in
/// which the files `before` lie at first; `None` where nothing can be watched.
fn watched(story: &str, before: &Contents) -> Option<Vec<Deed>> {
    watched_with(story, before, &[])
}

/// The same, with these variables set in that run.
fn watched_with(story: &str, before: &Contents, variables: &[(&str, String)]) -> Option<Vec<Deed>> {
    if let Some(why) = strace::missing() {
        skipped(&why);
        return None;
    }
    let (folder, elsewhere) = (folder(), folder());
    fill(folder.path(), before);
    let trace = elsewhere.path().join("trace");
    let words = strace::watching(&trace);
    let output = Command::new(&words[0])
        .args(&words[1..])
        .arg(env::current_exe().expect("a running program"))
        .args(["--exact", &format!("power_cuts::{story}"), "--nocapture"])
        .env("CRASH_ROOM", folder.path())
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .output()
        .expect("strace runs");
    let told =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
    Some(deeds(&strace::read(&trace), folder.path(), before))
}

fn secret(mark: &str, length: usize) -> Secret {
    Secret::new(mark.chars().cycle().take(length).collect::<String>())
}

/// A record whose secrets are of this length.
fn record(number: u32, length: usize) -> Record {
    let issued_at = ecobee_tokend::clock::now();
    let mark = format!("{number}.");
    let token = AccessToken { token: secret(&mark, length), token_type: "Bearer".to_owned(), scope: None };
    let access = StoredAccess {
        token: Rc::new(token),
        issued_at,
        expires_at: issued_at + Duration::from_secs(3600),
        refresh_at: issued_at + Duration::from_secs(3000),
    };
    let grant = StoredGrant {
        access: (!number.is_multiple_of(3)).then_some(access),
        refresh_token: secret(&mark, length / 2 + 1),
        previous: number.is_multiple_of(2).then(|| secret("previous", length)),
        refusals: number % 4,
        refresh_sent: number.is_multiple_of(5),
        disbelieved: false,
    };
    let pin = StoredPin {
        pin: format!("PIN-{number}"),
        code: secret("code", 32),
        expires_at: issued_at + Duration::from_secs(540),
        interval: Duration::from_secs(30),
    };
    Record {
        grant: (number % 7 != 6).then_some(grant),
        pin: number.is_multiple_of(3).then_some(pin),
        ..Record::default()
    }
}

/// From a few bytes to more than any buffer on the way takes at once.
fn many_records() -> impl Iterator<Item = Record> {
    [1, 40, 1000, 4096, 7000, 70_000, 9]
        .into_iter()
        .cycle()
        .zip(0..21)
        .map(|(length, number)| record(number, length))
}

fn save(store: &Store, record: &Record) {
    let key = Fingerprint::of(&Secret::new(KEY));
    store.encode("home", &key, record, &Reading::take()).write().expect("it is saved");
}

fn open(folder: &Path) -> Store {
    Store::open(folder).expect("a usable folder").0
}

/// The bytes of a record's file.
fn saved(record: &Record) -> Vec<u8> {
    saved_with(record, Keys::default())
}

/// The same, as a daemon with these keys saves it.
fn saved_with(record: &Record, keys: Keys) -> Vec<u8> {
    let folder = folder();
    save(&Store::open_with(folder.path(), keys).expect("a usable folder").0, record);
    fs::read(folder.path().join(FILE)).expect("it was saved")
}

/// An account's file, and what a save that was cut off has left beside it.
fn cut_off(length: impl Fn(usize) -> usize) -> Contents {
    let mut newer = saved(&record(2, 3000));
    newer.truncate(length(newer.len()));
    Contents::from([(FILE.to_owned(), saved(&record(1, 2000))), (TEMPORARY.to_owned(), newer)])
}

#[test]
fn a_save_leaves_the_old_record_or_the_new() {
    if let Some(room) = room() {
        let store = open(&room);
        for record in many_records() {
            save(&store, &record);
        }
        return;
    }
    let nothing = Contents::new();
    let Some(done) = watched("a_save_leaves_the_old_record_or_the_new", &nothing) else { return };
    let looked_at = survives(Disk::holding(&nothing, None), &done, KEY);
    println!("{looked_at} power cuts");
    assert!(looked_at > 200, "only {looked_at} power cuts were tried");
}

#[test]
fn a_start_that_finishes_a_save_risks_nothing() {
    if let Some(room) = room() {
        let key = Fingerprint::of(&Secret::new(KEY));
        open(&room).load("home", &key, &Reading::take()).expect("it can be read");
        return;
    }
    let before = cut_off(|whole| whole);
    let Some(done) = watched("a_start_that_finishes_a_save_risks_nothing", &before) else { return };
    survives(Disk::holding(&before, Some(TEMPORARY)), &done, KEY);
}

/// The three ways from form to form: the keys before, and those of the start that changes it.
const CONVERSIONS: [(Numbers, Numbers); 3] = [
    ((None, None), (Some(1), None)),
    ((Some(1), None), (Some(2), Some(1))),
    ((Some(1), None), (None, Some(1))),
];

/// The key that is written with, and the previous one.
type Numbers = (Option<u8>, Option<u8>);

fn keys((today, previous): Numbers) -> Keys {
    Keys::new(today.map(store_key), previous.map(store_key))
}

/// The way that the watched run is to take.
const WAY: &str = "CRASH_WAY";

#[test]
fn a_start_that_encrypts_or_decrypts_or_changes_the_key_risks_nothing() {
    if let Some(room) = room() {
        let way: usize = env::var(WAY).expect("set below").parse().expect("a number");
        let key = Fingerprint::of(&Secret::new(KEY));
        let (store, _) = Store::open_with(&room, keys(CONVERSIONS[way].1)).expect("a usable folder");
        store.load("home", &key, &Reading::take()).expect("it can be read");
        store.tidy(|account| account == "home", &Reading::take(), || {});
        return;
    }
    let story = "a_start_that_encrypts_or_decrypts_or_changes_the_key_risks_nothing";
    let mut looked_at = 0;
    for (way, (before, _)) in CONVERSIONS.into_iter().enumerate() {
        for cut_off in [false, true] {
            let mut contents =
                Contents::from([(FILE.to_owned(), saved_with(&record(1, 2000), keys(before)))]);
            if cut_off {
                contents.insert(TEMPORARY.to_owned(), saved_with(&record(2, 3000), keys(before)));
            }
            let variables = [(WAY, way.to_string())];
            let Some(done) = watched_with(story, &contents, &variables) else { return };
            let unsynced = cut_off.then_some(TEMPORARY);
            looked_at += survives(Disk::holding(&contents, unsynced), &done, KEY);
        }
    }
    println!("{looked_at} power cuts");
    assert!(looked_at > 150, "only {looked_at} power cuts were tried");
}

#[test]
fn what_a_save_left_in_half_does_no_harm_to_the_next() {
    if let Some(room) = room() {
        save(&open(&room), &record(4, 500));
        return;
    }
    for part in [0, 1, 2] {
        let before = cut_off(|whole| whole * part / 3);
        let Some(done) = watched("what_a_save_left_in_half_does_no_harm_to_the_next", &before) else {
            return;
        };
        survives(Disk::holding(&before, Some(TEMPORARY)), &done, KEY);
    }
}
