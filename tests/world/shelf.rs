//! The daemon's own store, on a disk that costs nothing: what is loaded has been through real bytes, real clocks and
//! real files.

use std::path::Path;

use ecobee_tokend::clock::Reading;
use ecobee_tokend::keeper::Record;
use ecobee_tokend::secret::Secret;
use ecobee_tokend::store::{Fingerprint, Store};
use tempfile::TempDir;

const ACCOUNT: &str = "home";

/// A store in a temporary folder, in memory where the machine has such a place.
pub(crate) struct Shelf {
    store: Store,
    key: Fingerprint,
    _folder: TempDir,
}

impl Shelf {
    pub(crate) fn new() -> Self {
        let in_memory = Path::new("/dev/shm");
        let folder = tempfile::tempdir_in(in_memory).or_else(|_| tempfile::tempdir()).expect("a folder");
        let (store, _) = Store::open(folder.path()).expect("a store");
        Self { store, key: Fingerprint::of(&Secret::new("a-made-up-key")), _folder: folder }
    }

    /// What is loaded now of a record that was written then.
    pub(crate) fn carry(&self, record: &Record, written: &Reading, now: &Reading) -> Record {
        self.store.encode(ACCOUNT, &self.key, record, written).write().expect("a save");
        let loaded = self.store.load(ACCOUNT, &self.key, now).expect("a load");
        loaded.record.expect("a record")
    }
}
