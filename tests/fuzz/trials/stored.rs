//! Whatever lies where an account's file should: it is taken, or moved aside whole; what is taken is saved and loaded
//! again as it was.

use std::fs;
use std::path::Path;

use ecobee_tokend::clock::{Reading, Wall};
use ecobee_tokend::keeper::Moment;
use ecobee_tokend::secret::{Secret, SecretBytes};
use ecobee_tokend::store::{Fingerprint, Key, Keys, Note, Store};
use tempfile::TempDir;

const BOOT: &str = "5ac5c5e0-11a7-4be0-8a0d-1e0c3d9b2f41";
const KEY: &str = "made-up-key-of-a-trial-000000001";

thread_local! {
    static PLACES: [(TempDir, Store); 2] = {
        let material = SecretBytes::copy_of(b"made-up material of a trial's key");
        [Keys::default(), Keys::new(Some(Key::of(&material)), None)].map(|keys| {
            let folder = super::folder();
            let store = Store::open_with(folder.path(), keys).expect("ours").0;
            (folder, store)
        })
    };
}

/// The first byte chooses between the file and what a save that was cut off left, the boot in which it is read, and
/// whether the store has a key.
pub(crate) fn meet(bytes: &[u8]) {
    let Some((&choice, content)) = bytes.split_first() else { return };
    PLACES.with(|places| {
        let (folder, store) = &places[usize::from(choice >> 3 & 1)];
        let folder = folder.path();
        let leftover = choice & 1 != 0;
        let name = if leftover { ".home.json.new" } else { "home.json" };
        fs::write(folder.join(name), content).expect("written");
        judge(store, folder, content, leftover, &reading(choice));
        for (path, _) in files(folder) {
            fs::remove_file(path).expect("ours");
        }
    });
}

fn reading(choice: u8) -> Reading {
    Reading {
        moment: Moment::from_millis(86_400_000),
        wall_millis: 1_767_225_600_000,
        boot_id: if choice & 2 == 0 { BOOT } else { "another" }.to_owned(),
        wall: if choice & 4 == 0 { Wall::Believable } else { Wall::Doubtful },
    }
}

fn judge(store: &Store, folder: &Path, content: &[u8], leftover: bool, now: &Reading) {
    let key = Fingerprint::of(&Secret::new(KEY));
    let loaded = match store.load("home", &key, now) {
        Ok(loaded) => loaded,
        Err(error) => {
            super::assert_fit_for_a_person(&error.to_string());
            assert!(kept(folder, content), "left as it is");
            return;
        }
    };
    for note in &loaded.notes {
        super::assert_fit_for_a_person(&note.to_string());
    }
    let Some(mut record) = loaded.record else {
        // What a save that was cut off left may be half a file: alone, it is nothing. What belongs to another API key is
        // encrypted where the store has a key.
        let sealed = loaded.notes.iter().any(|note| matches!(note, Note::Sealed { .. }));
        assert!(leftover || sealed || kept(folder, content), "moved aside whole");
        return;
    };
    store.encode("home", &key, &record, now).write().expect("written");
    if let Some(grant) = &mut record.grant {
        // An access token that was not believed is gone with this save.
        grant.disbelieved = false;
    }
    let again = store.load("home", &key, now).expect("readable");
    assert_eq!(again.record, Some(record));
}

fn kept(folder: &Path, content: &[u8]) -> bool {
    files(folder).any(|(_, found)| found == content)
}

/// All files but the lock.
fn files(folder: &Path) -> impl Iterator<Item = (std::path::PathBuf, Vec<u8>)> {
    fs::read_dir(folder)
        .expect("ours")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| !path.ends_with("lock"))
        .map(|path| (path.clone(), fs::read(path).expect("readable")))
}
