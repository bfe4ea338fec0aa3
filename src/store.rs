//! The token file: load, save atomically, move a broken one aside.
//!
//! ```text
//! Record ──encode──▶ bytes ──wrap──▶ bytes ──replace──▶ DIR/NAME.json    format.rs: what the bytes say
//! Record ◀─decode─── bytes ◀─open─── bytes ◀───read──── DIR/NAME.json    envelope.rs: encrypted, or as they are
//!    ▲                  ▲                               DIR/lock         key.rs: the keys and the cipher
//!    │                  │                                                file.rs: on the disk, whole or not at all
//!    │                  └── intake.rs: what a start makes of them        folder.rs: the folder and its lock
//!    └── passage.rs: moments of another boot                             name.rs: what files are called
//!                                                                        error.rs, note.rs: what is said of it
//! ```
//!
//! **Nothing is ever lost to a save**: the new bytes are on the disk before they get the file's name.
//! **Nothing is ever overwritten unread**: what cannot be used is moved aside or left alone.
//! **What a start reads it leaves as a save would**: where a key is new, or has gone, whatever can be opened is written
//! anew, in one step a file. What no key opens is left alone.
//! **Disk work is [`Store::fetch`], [`Image::write`] and [`Store::forget`]**, which may run on any thread; what
//! stands between the keeper's record and those bytes never waits.
//!
//! A file holds one account, in the clear or inside of an envelope (`store/envelope.rs`):
//!
//! ```json
//! {
//!   "version": 1,
//!   "account": "home",
//!   "api_key_sha256": "5d0c…",
//!   "clock": { "boot_id": "f3a1…", "boot_ms": 86400000, "wall_ms": 1767225600000 },
//!   "grant": {
//!     "access": {
//!       "token": "…", "token_type": "Bearer", "scope": "smartWrite",
//!       "issued_at_ms": 86399000, "refresh_at_ms": 89399000, "expires_at_ms": 89999000
//!     },
//!     "refresh_token": "…",
//!     "previous_refresh_token": null,
//!     "refusals": 0,
//!     "refresh_sent": false
//!   },
//!   "pin": { "pin": "ABCD-EFGH", "code": "…", "expires_at_ms": 87000000, "interval_ms": 30000 },
//!   "told": { "pin_at_ms": 86460000, "loss_at_ms": null }
//! }
//! ```
//!
//! All `…_at_ms` are milliseconds of the boot clock that `clock` names; `clock` is when the file was written. What
//! may be absent is `null`.

mod envelope;
mod error;
mod file;
mod folder;
mod format;
mod intake;
mod key;
mod name;
mod note;
mod passage;

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::clock::Reading;
use crate::keeper::Record;
use file::AccountFile;
use folder::{Folder, names};
use format::Content;
use name::{Aside, Called, called};

pub use error::{Doing, StoreError};
pub use format::Fingerprint;
pub use intake::refusals;
pub use key::{Form, Key, KeyId, Keys};
pub use note::{Doubt, Flaw, Note};

/// A folder of account files that is ours: locked until the last clone and the last [`Image`] are gone.
#[derive(Clone)]
pub struct Store {
    folder: Arc<Folder>,
    keys: Arc<Keys>,
}

/// What was stored of an account, on the clock of this boot.
#[derive(Debug)]
pub struct Loaded {
    /// The record; `None` if there was none that can be used.
    pub record: Option<Record>,
    /// What an operator should read of.
    pub notes: Vec<Note>,
}

/// What was stored of an account, on its way from the disk to the loop.
pub struct Fetched {
    file: AccountFile,
    content: Option<Content>,
    notes: Vec<Note>,
}

/// The bytes that an account's file is to hold. They are wiped when dropped.
#[must_use = "an image that is not written saves nothing"]
pub struct Image {
    store: Store,
    account: String,
    number: u64,
    bytes: Zeroizing<Vec<u8>>,
}

/// Whether there was something to forget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgotten {
    /// The account's file is gone.
    Deleted,
    /// It had none.
    NothingThere,
}

impl Store {
    /// Makes the folder (mode 0700, with its parents) if there is none, and locks it. Its files are not encrypted.
    ///
    /// A second one for the same folder, in this process or another, gets [`StoreError::Locked`].
    pub fn open(directory: &Path) -> Result<(Self, Vec<Note>), StoreError> {
        Self::open_with(directory, Keys::default())
    }

    /// The same with keys: files are encrypted with today's, and those that are not, or are with the previous one, are
    /// once they are read.
    pub fn open_with(directory: &Path, keys: Keys) -> Result<(Self, Vec<Note>), StoreError> {
        let (folder, notes) = Folder::open(directory)?;
        Ok((Self { folder: Arc::new(folder), keys: Arc::new(keys) }, notes))
    }

    /// Reads an account's file and brings its record onto the clock of this boot. Blocks: at a start that is
    /// well; the loop has [`Store::fetch`].
    pub fn load(&self, account: &str, key: &Fingerprint, now: &Reading) -> Result<Loaded, StoreError> {
        Ok(self.fetch(account, key, now)?.into_loaded(now))
    }

    /// The bytes of a record, ready to be written. Never waits, so it is for the loop.
    pub fn encode(&self, account: &str, key: &Fingerprint, record: &Record, now: &Reading) -> Image {
        Image {
            store: self.clone(),
            account: account.to_owned(),
            number: self.folder.next_image(),
            bytes: format::encode(account, key, record, now),
        }
    }

    /// Moves an account's file aside, for another grant is to take its place; where it is kept, if there was one.
    pub fn set_aside(&self, account: &str, now: &Reading) -> Result<Option<PathBuf>, StoreError> {
        let file = AccountFile::new(&self.folder.path, account)?;
        let mut held = self.folder.hold();
        held.saved(account, self.folder.next_image());
        match file.move_aside(Aside::Replaced, now) {
            Ok(kept_as) => Ok(Some(kept_as)),
            Err(StoreError::Refused { error, .. }) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes an account's file, for good. What was moved aside stays.
    pub fn forget(&self, account: &str) -> Result<Forgotten, StoreError> {
        let file = AccountFile::new(&self.folder.path, account)?;
        let mut held = self.folder.hold();
        // An image made earlier must not bring the account back.
        held.saved(account, self.folder.next_image());
        Ok(if file.delete()? { Forgotten::Deleted } else { Forgotten::NothingThere })
    }

    /// The accounts of which there is a file, or a save that was cut off, in the order of their names.
    pub fn accounts(&self) -> Result<Vec<String>, StoreError> {
        self.names().map(accounts_among)
    }

    /// What lies in the folder.
    fn names(&self) -> Result<BTreeSet<String>, StoreError> {
        let path = &self.folder.path;
        names(path).map_err(|error| StoreError::Refused { path: path.clone(), doing: Doing::Read, error })
    }

    /// Puts plain bytes in the place of a file, wrapped as today's are.
    fn put(&self, file: &AccountFile, plain: Zeroizing<Vec<u8>>, account: &str) -> Result<(), StoreError> {
        let bytes = envelope::wrap(plain, account, self.keys.today())
            .map_err(|error| StoreError::Refused { path: file.path.clone(), doing: Doing::Seal, error })?;
        file.replace(&bytes)
    }
}

impl Fetched {
    /// Brings the record onto the clock of this boot. Never waits.
    pub fn into_loaded(self, now: &Reading) -> Loaded {
        let Self { file, content, mut notes } = self;
        let record = content.map(|content| {
            let (record, doubt) = content.into_record(now);
            notes.extend(doubt.map(|why| Note::AccessDoubted { path: file.path, why }));
            record
        });
        Loaded { record, notes }
    }
}

impl Image {
    /// Puts these bytes in the place of the account's file: temporary file, write, fsync, rename, fsync of the
    /// folder. Blocks; for any thread.
    ///
    /// On an error the old file is as it was, unless only the last step failed. An image that was overtaken by
    /// the write of a younger one is not written, and that is well. A folder that has vanished is made again,
    /// and the log says so.
    pub fn write(self) -> Result<(), StoreError> {
        let Self { store, account, number, bytes } = self;
        let directory = &store.folder.path;
        let file = AccountFile::new(directory, &account)?;
        let mut held = store.folder.hold();
        if held.is_overtaken(&account, number) {
            return Ok(());
        }
        held.assure(directory)?;
        store.put(&file, bytes, &account)?;
        held.saved(&account, number);
        Ok(())
    }
}

/// What [`Store::accounts`] would say of a folder; nothing is locked or made.
pub fn stored_in(directory: &Path) -> io::Result<Vec<String>> {
    names(directory).map(accounts_among)
}

fn accounts_among(names: BTreeSet<String>) -> Vec<String> {
    let accounts: BTreeSet<String> = names
        .into_iter()
        .filter_map(|name| match called(&name) {
            Called::Account(account) => Some(account),
            Called::Aside | Called::AsideLeftover | Called::Strange => None,
        })
        .collect();
    accounts.into_iter().collect()
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("directory", &self.folder.path).field("keys", &self.keys).finish()
    }
}

impl fmt::Debug for Fetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetched").field("notes", &self.notes).finish_non_exhaustive()
    }
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Image").field("account", &self.account).finish_non_exhaustive()
    }
}
