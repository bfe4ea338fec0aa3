//! What every start after a power cut is held against: it finds the record of before, or the one of after.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use ecobee_tokend::clock::Reading;
use ecobee_tokend::keeper::Record;
use ecobee_tokend::secret::{Secret, SecretBytes};
use ecobee_tokend::store::{Fingerprint, Key, Keys, Store};
use tempfile::TempDir;

use crate::disk::{Contents, Deed, Disk};

/// The account's file.
pub(crate) const FILE: &str = "home.json";

/// A folder in memory where there is one: thousands are made, and nothing in them is to last.
pub(crate) fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
    made.expect("a temporary folder")
}

pub(crate) fn fill(folder: &Path, contents: &Contents) {
    for (name, bytes) in contents {
        let path = folder.join(name);
        fs::write(&path, bytes).expect("written");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("it is ours");
    }
}

/// A key of these stores, by its number. Made up.
pub(crate) fn store_key(number: u8) -> Key {
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
