//! Power cuts at every moment of a save, and of the mending of one that was cut off.

use std::collections::BTreeSet;
use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use ecobee_tokend::clock::Reading;
use ecobee_tokend::keeper::{AccessToken, Record, StoredAccess, StoredGrant, StoredPin};
use ecobee_tokend::secret::{Secret, SecretBytes};
use ecobee_tokend::store::{Fingerprint, Key, Keys, Store};
use tempfile::TempDir;

use super::strace;
use crate::disk::{Contents, Deed, Disk, deeds};
use crate::harness::skipped;

/// The API key of these stores. Made up.
const KEY: &str = "the-api-key";

/// The account's file, and the one that is to take its place.
const FILE: &str = "home.json";
const TEMPORARY: &str = ".home.json.new";

/// A folder in memory where there is one: thousands are made, and nothing in them is to last.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
    made.expect("a temporary folder")
}

fn fill(folder: &Path, contents: &Contents) {
    for (name, bytes) in contents {
        let path = folder.join(name);
        fs::write(&path, bytes).expect("written");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("it is ours");
    }
}

/// A key of these stores, by its number. Made up.
fn store_key(number: u8) -> Key {
    Key::of(&SecretBytes::copy_of(&[number; 32]))
}

/// All keys that any of these files may be encrypted with: what is lost to them is lost for good.
fn all_keys() -> Keys {
    Keys::new(Some(store_key(2)), Some(store_key(1)))
}

/// What a start makes of a folder with these files.
fn load(contents: &Contents, key: &str) -> Result<Option<Record>, String> {
    let folder = folder();
    fill(folder.path(), contents);
    let (store, _) = Store::open_with(folder.path(), all_keys()).map_err(|error| error.to_string())?;
    let key = Fingerprint::of(&Secret::new(key));
    let loaded = store.load("home", &key, &Reading::take()).map_err(|error| error.to_string())?;
    Ok(loaded.record)
}

/// The record of the account's file alone.
fn in_place(disk: &Disk, key: &str) -> Option<Record> {
    let mut seen = disk.seen();
    seen.retain(|name, _| name == FILE);
    load(&seen, key).expect("what is in place can be read")
}

/// The records that were put in place, oldest first.
fn records(disk: &Disk, done: &[Deed], key: &str) -> Vec<Option<Record>> {
    let mut disk = disk.clone();
    let mut records = vec![in_place(&disk, key)];
    for deed in done {
        disk.apply(deed);
        if matches!(deed, Deed::Rename { to, .. } if to == FILE) {
            records.push(in_place(&disk, key));
        }
    }
    records
}

/// Holds every folder that a power cut or a kill can leave against the records before and after; how many there were.
pub(crate) fn survives(mut disk: Disk, done: &[Deed], key: &str) -> usize {
    let records = records(&disk, done, key);
    let (mut renamed, mut safe) = (0, 0);
    let mut looked_at = 0;
    let mut known: BTreeSet<Contents> = BTreeSet::new();
    for (at, deed) in done.iter().enumerate() {
        disk.apply(deed);
        match deed {
            Deed::Rename { to, .. } if to == FILE => renamed += 1,
            Deed::SyncFolder if safe < renamed => {
                safe = renamed;
                known.clear();
            }
            Deed::Rename { .. }
            | Deed::SyncFolder
            | Deed::Create { .. }
            | Deed::Write { .. }
            | Deed::Sync { .. }
            | Deed::Unlink { .. } => {}
        }
        let old_or_new = &records[safe..=(safe + 1).min(records.len() - 1)];
        for contents in disk.after_a_power_cut().into_iter().chain([disk.seen()]) {
            if !known.insert(contents.clone()) {
                continue;
            }
            looked_at += 1;
            let sizes: Vec<_> = contents.iter().map(|(name, bytes)| (name.as_str(), bytes.len())).collect();
            match load(&contents, key) {
                Ok(record) if old_or_new.contains(&record) => {}
                Ok(record) => panic!(
                    "after deed {at} of {} ({deed:?}), with {sizes:?} on the disk, a start finds {record:?} \
                     and not one of {old_or_new:?}",
                    done.len()
                ),
                Err(error) => panic!("after deed {at} ({deed:?}), with {sizes:?} on the disk: {error}"),
            }
        }
    }
    assert!(renamed > 0 && safe == renamed, "{renamed} records were saved, {safe} of them for good");
    looked_at
}

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
