//! The token file: load, save atomically, move a broken one aside.
//!
//! ```text
//! Record ──encode──▶ bytes ──replace──▶ DIR/NAME.json        format.rs: what the bytes say
//! Record ◀─decode─── bytes ◀───read──── DIR/NAME.json        file.rs: bytes on the disk, whole or not at all
//!    ▲                                  DIR/lock             folder.rs: the folder and its lock
//!    └── passage.rs: moments of another boot                 words.rs: errors and notes
//! ```
//!
//! **Nothing is ever lost to a save**: the new bytes are on the disk before they get the file's name.
//! **Nothing is ever overwritten unread**: what cannot be used is moved aside or left alone.
//! **Disk work is [`Store::fetch`], [`Image::write`] and [`Store::forget`]**, which may run on any thread; what
//! stands between the keeper's record and those bytes never waits.
//!
//! A file holds one account:
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

mod file;
mod folder;
mod format;
mod passage;
mod words;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::clock::Reading;
use crate::keeper::Record;
use file::{AccountFile, Aside, Found};
use folder::Folder;
use format::{Content, Misfit};

pub use format::Fingerprint;
pub use words::{Doing, Doubt, Flaw, Note, StoreError};

/// A folder of account files that is ours: locked until the last clone and the last [`Image`] are gone.
#[derive(Clone)]
pub struct Store {
    folder: Arc<Folder>,
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
    account: AccountFile,
    content: Option<Content>,
    notes: Vec<Note>,
}

/// The bytes that an account's file is to hold. They are wiped when dropped.
#[must_use = "an image that is not written saves nothing"]
pub struct Image {
    folder: Arc<Folder>,
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
    /// Makes the folder (mode 0700, with its parents) if there is none, and locks it.
    ///
    /// A second one for the same folder, in this process or another, gets [`StoreError::Locked`].
    pub fn open(directory: &Path) -> Result<(Self, Vec<Note>), StoreError> {
        let (folder, notes) = Folder::open(directory)?;
        Ok((Self { folder: Arc::new(folder) }, notes))
    }

    /// Reads an account's file and brings its record onto the clock of this boot. Blocks: at a start that is
    /// well; the loop has [`Store::fetch`].
    pub fn load(&self, account: &str, key: &Fingerprint, now: &Reading) -> Result<Loaded, StoreError> {
        Ok(self.fetch(account, key, now)?.into_loaded(now))
    }

    /// The blocking part of [`Store::load`], for any thread.
    ///
    /// What cannot be used (broken, or of another API key) is moved aside, with a note; it is no error. An error
    /// is a file that this program may not or must not touch; it is left as it is.
    pub fn fetch(&self, account: &str, key: &Fingerprint, now: &Reading) -> Result<Fetched, StoreError> {
        let file = AccountFile::new(&self.folder.path, account)?;
        let _alone = self.folder.hold();
        let date = date(now);
        let mut notes = Vec::new();
        let found = file.read(&mut notes)?;
        let mut content = match judge(&found, &file.path, account, key)? {
            Verdict::Nothing => None,
            Verdict::Good(content) => Some(*content),
            Verdict::Flawed(why) => {
                let to = file.move_aside(Aside::Broken, &date)?;
                notes.push(Note::MovedAside { from: file.path.clone(), to, why });
                None
            }
            Verdict::OtherKey => {
                let kept_as = file.move_aside(Aside::OtherKey, &date)?;
                notes.push(Note::KeyChanged { from: file.path.clone(), kept_as });
                None
            }
        };
        // A save that was cut off (by a kill, a power cut) may have written all of its temporary file. That is
        // always the newer one, and may hold the only refresh token that still works.
        match judge(&file.read_leftover()?, &file.temporary, account, key)? {
            Verdict::Nothing => {}
            Verdict::Good(newer) => {
                content = Some(*newer);
                // Should it fail, the next save does it: what counts now is that the content is known.
                if file.finish_save().is_ok() {
                    notes.push(Note::SaveFinished { path: file.path.clone() });
                }
            }
            Verdict::Flawed(_) => file.discard_leftover(),
            Verdict::OtherKey => {
                let kept_as = file.move_leftover_aside(Aside::OtherKey, &date)?;
                notes.push(Note::KeyChanged { from: file.path.clone(), kept_as });
            }
        }
        Ok(Fetched { account: file, content, notes })
    }

    /// The bytes of a record, ready to be written. Never waits, so it is for the loop.
    pub fn encode(&self, account: &str, key: &Fingerprint, record: &Record, now: &Reading) -> Image {
        Image {
            folder: Arc::clone(&self.folder),
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
        if matches!(file.read(&mut Vec::new())?, Found::Nothing) {
            return Ok(None);
        }
        file.move_aside(Aside::Replaced, &date(now)).map(Some)
    }

    /// Deletes an account's file, for good. What was moved aside stays.
    pub fn forget(&self, account: &str) -> Result<Forgotten, StoreError> {
        let file = AccountFile::new(&self.folder.path, account)?;
        let mut held = self.folder.hold();
        // An image made earlier must not bring the account back.
        held.saved(account, self.folder.next_image());
        Ok(if file.delete()? { Forgotten::Deleted } else { Forgotten::NothingThere })
    }

    /// The accounts that have a file, in the order of their names.
    pub fn accounts(&self) -> Result<Vec<String>, StoreError> {
        let path = &self.folder.path;
        stored_in(path).map_err(|error| StoreError::Refused { path: path.clone(), doing: Doing::Read, error })
    }
}

impl Fetched {
    /// Brings the record onto the clock of this boot. Never waits.
    pub fn into_loaded(self, now: &Reading) -> Loaded {
        let Self { account, content, mut notes } = self;
        let record = content.map(|content| {
            let (record, doubt) = content.into_record(now);
            notes.extend(doubt.map(|why| Note::AccessDoubted { path: account.path, why }));
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
        let directory = &self.folder.path;
        let file = AccountFile::new(directory, &self.account)?;
        let mut held = self.folder.hold();
        if held.is_overtaken(&self.account, self.number) {
            return Ok(());
        }
        held.assure(directory)?;
        file.replace(&self.bytes)?;
        held.saved(&self.account, self.number);
        Ok(())
    }
}

/// The accounts that have a file in a folder, in the order of their names; nothing is locked or made.
pub fn stored_in(directory: &Path) -> std::io::Result<Vec<String>> {
    let mut names: Vec<String> = std::fs::read_dir(directory)?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".json").map(str::to_owned))
        .filter(|name| AccountFile::new(directory, name).is_ok())
        .collect();
    names.sort_unstable();
    Ok(names)
}

/// What is to become of a file.
enum Verdict {
    Nothing,
    Good(Box<Content>),
    Flawed(Flaw),
    OtherKey,
}

fn judge(found: &Found, path: &Path, account: &str, key: &Fingerprint) -> Result<Verdict, StoreError> {
    let bytes = match found {
        Found::Nothing => return Ok(Verdict::Nothing),
        Found::Flawed(flaw) => return Ok(Verdict::Flawed(*flaw)),
        Found::Bytes(bytes) => bytes,
    };
    match format::decode(bytes, account, key) {
        Ok(content) => Ok(Verdict::Good(Box::new(content))),
        Err(Misfit::Flawed(flaw)) => Ok(Verdict::Flawed(flaw)),
        Err(Misfit::OtherKey) => Ok(Verdict::OtherKey),
        Err(Misfit::Newer(found)) => {
            Err(StoreError::Newer { path: path.to_owned(), found, ours: format::VERSION })
        }
    }
}

/// The date in the name of a file that is moved aside: UTC, without the colons that some tools stumble over.
fn date(now: &Reading) -> String {
    jiff::Timestamp::from_millisecond(now.wall_millis)
        .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
        .strftime("%Y%m%dT%H%M%SZ")
        .to_string()
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("directory", &self.folder.path).finish()
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
