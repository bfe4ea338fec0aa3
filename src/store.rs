//! The token file: load, save atomically, move a broken one aside.
//!
//! ```text
//! Record ──encode──▶ bytes ──wrap──▶ bytes ──replace──▶ DIR/NAME.json    format.rs: what the bytes say
//! Record ◀─decode─── bytes ◀─open─── bytes ◀───read──── DIR/NAME.json    envelope.rs: encrypted, or as they are
//!    ▲                                                  DIR/lock         key.rs: the keys and the cipher
//!    │                                                                   file.rs: on the disk, whole or not at all
//!    └── passage.rs: moments of another boot                             folder.rs: the folder and its lock
//!                                                                        words.rs: errors and notes
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
mod file;
mod folder;
mod format;
mod key;
mod passage;
mod words;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::clock::Reading;
use crate::keeper::Record;
use envelope::Opened;
use file::{AccountFile, Aside, Called, Found, called};
use folder::{Folder, Held};
use format::{Content, Misfit};

pub use format::Fingerprint;
pub use key::{Form, Key, KeyId, Keys};
pub use words::{Doing, Doubt, Flaw, Note, StoreError};

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
    account: AccountFile,
    content: Option<Content>,
    notes: Vec<Note>,
}

/// The bytes that an account's file is to hold. They are wiped when dropped.
#[must_use = "an image that is not written saves nothing"]
pub struct Image {
    folder: Arc<Folder>,
    keys: Arc<Keys>,
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

    /// The blocking part of [`Store::load`], for any thread.
    ///
    /// What cannot be used (broken, or of another API key) is moved aside, with a note; it is no error. An error
    /// is a file that this program may not or must not touch; it is left as it is.
    pub fn fetch(&self, account: &str, key: &Fingerprint, now: &Reading) -> Result<Fetched, StoreError> {
        self.fetch_of(account, Some(key), now)
    }

    /// The same for the account's own API key, whichever that is, if none is given.
    fn fetch_of(
        &self,
        account: &str,
        key: Option<&Fingerprint>,
        now: &Reading,
    ) -> Result<Fetched, StoreError> {
        let file = AccountFile::new(&self.folder.path, account)?;
        let mut held = self.folder.hold();
        let date = date(now);
        let mut notes = Vec::new();
        // Both are looked at before either is touched: what must be left alone is left with all that lies around it.
        let verdict = judge(file.read(&mut notes)?, &file.path, account, key, &self.keys)?;
        let leftover = judge(file.read_leftover()?, &file.temporary, account, key, &self.keys)?;
        let mut good = match verdict {
            Verdict::Nothing => None,
            Verdict::Good(content, opened) => Some((content, opened)),
            Verdict::Flawed(why) => {
                let to = file.move_aside(Aside::Broken, &date)?;
                notes.push(Note::MovedAside { from: file.path.clone(), to, why });
                None
            }
            Verdict::OtherKey(opened) => {
                let kept_as = file.move_aside(Aside::OtherKey, &date)?;
                notes.extend(self.reform(&AccountFile::at(kept_as.clone()), opened, account, &mut held));
                notes.push(Note::KeyChanged { from: file.path.clone(), kept_as });
                None
            }
        };
        // A save that was cut off (by a kill, a power cut) may have written all of its temporary file. That is
        // always the newer one, and may hold the only refresh token that still works.
        let leftover = match (leftover, &good) {
            (Verdict::Good(newer, opened), Some((content, _))) if !newer.shares_key_with(content) => {
                Verdict::OtherKey(opened)
            }
            (leftover, _) => leftover,
        };
        let mut settled = true;
        match leftover {
            Verdict::Nothing => {}
            Verdict::Good(newer, opened) => {
                good = Some((newer, opened));
                // Should it fail, the next save does it: what counts now is that the content is known.
                settled = file.finish_save().is_ok();
                if settled {
                    notes.push(Note::SaveFinished { path: file.path.clone() });
                }
            }
            Verdict::Flawed(_) => file.discard_leftover(),
            Verdict::OtherKey(opened) => {
                let kept_as = file.move_leftover_aside(Aside::OtherKey, &date)?;
                notes.extend(self.reform(&AccountFile::at(kept_as.clone()), opened, account, &mut held));
                notes.push(Note::KeyChanged { from: file.path.clone(), kept_as });
            }
        }
        let content = good.map(|(content, opened)| {
            if settled {
                notes.extend(self.reform(&file, opened, account, &mut held));
            } else {
                // Its content is in the temporary file alone, which is no place to write to.
                held.behind = true;
            }
            *content
        });
        Ok(Fetched { account: file, content, notes })
    }

    /// Writes a file anew, if it is not in the form that a save would give it. Where that fails it is told, and keeps
    /// nobody from the content.
    fn reform(&self, file: &AccountFile, opened: Opened, account: &str, held: &mut Held) -> Option<Note> {
        let Opened { plain, form, .. } = opened;
        if form == self.keys.form() {
            return None;
        }
        let path = file.path.clone();
        let replaced = wrap(file, plain, account, &self.keys).and_then(|bytes| file.replace(&bytes));
        Some(match (replaced, form, self.keys.form()) {
            (Err(error), ..) => {
                held.behind = true;
                Note::FormLeft { form, why: error.to_string() }
            }
            (Ok(()), _, Form::Plain) => Note::Unsealed { path },
            (Ok(()), Form::Plain, Form::Sealed(with)) => Note::Sealed { path, with },
            (Ok(()), Form::Sealed(_), Form::Sealed(with)) => Note::Rotated { path, with },
        })
    }

    /// Brings the rest of the folder into the form that a save would give it: the files of accounts that are not
    /// `in_use`, and what was moved aside. Without any key there is nothing to do.
    ///
    /// For a start, once the accounts in use are loaded. Blocks, and calls `between` between two files.
    pub fn tidy(&self, in_use: impl Fn(&str) -> bool, now: &Reading, mut between: impl FnMut()) -> Vec<Note> {
        if self.keys.ids().is_empty() {
            return Vec::new();
        }
        let mut notes = Vec::new();
        let accounts: BTreeSet<String> = self
            .names()
            .filter_map(|name| match called(&name) {
                Called::Account(account) => Some(account),
                Called::Aside | Called::AsideLeftover | Called::Strange => None,
            })
            .filter(|account| !in_use(account))
            .collect();
        for account in accounts {
            between();
            match self.fetch_of(&account, None, now) {
                Ok(fetched) => notes.extend(fetched.notes),
                Err(error) => {
                    self.folder.hold().behind = true;
                    notes.push(left_alone(&error));
                }
            }
        }
        for name in self.names() {
            between();
            match called(&name) {
                Called::Aside => notes.extend(self.reform_aside(&name)),
                Called::AsideLeftover => file::discard(&self.folder.path.join(&name)),
                Called::Account(_) | Called::Strange => {}
            }
        }
        if let Some(previous) = self.keys.previous()
            && !self.folder.hold().behind
        {
            notes.push(Note::PreviousKeyIdle { key: previous.id() });
        }
        notes
    }

    /// The same for a file that was moved aside.
    fn reform_aside(&self, name: &str) -> Vec<Note> {
        let mut held = self.folder.hold();
        let file = AccountFile::at(self.folder.path.join(name));
        let mut notes = Vec::new();
        let found = match file.read(&mut notes) {
            Ok(found) => found,
            Err(error) => {
                held.behind = true;
                notes.push(left_alone(&error));
                return notes;
            }
        };
        let opened = match found {
            Found::Nothing => return notes,
            Found::Flawed(flaw) => Err(Misfit::Flawed(flaw)),
            Found::Bytes(bytes) => envelope::open(bytes, &self.keys),
        };
        let owned = opened.and_then(|opened| {
            // What was sealed says whose it is; what is plain must be whole to be believed.
            let account = match &opened.sealed_for {
                Some(account) => account.clone(),
                None => format::parse(&opened.plain)?.account().to_owned(),
            };
            Ok((opened, account))
        });
        match owned {
            Ok((opened, account)) => notes.extend(self.reform(&file, opened, &account, &mut held)),
            // It tells nobody anything.
            Err(Misfit::Flawed(Flaw::Altered { .. })) => {}
            Err(Misfit::Flawed(_)) if self.keys.form() == Form::Plain => {}
            Err(Misfit::Flawed(_)) => notes.push(Note::LeftPlain { path: file.path }),
            // No key of ours has to do with these.
            Err(Misfit::Newer(found)) => notes.push(left_alone(&newer(&file.path, found))),
            Err(Misfit::Sealed(with)) => notes.push(left_alone(&sealed(&file.path, with, &self.keys))),
        }
        notes
    }

    /// What lies in the folder. If it cannot be listed, nothing that could be said: that keeps no daemon from serving.
    fn names(&self) -> impl Iterator<Item = String> {
        let listed = std::fs::read_dir(&self.folder.path)
            .and_then(Iterator::collect::<std::io::Result<Vec<std::fs::DirEntry>>>);
        let entries = listed.unwrap_or_else(|_| {
            self.folder.hold().behind = true;
            Vec::new()
        });
        let names: BTreeSet<String> =
            entries.into_iter().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.into_iter()
    }

    /// The bytes of a record, ready to be written. Never waits, so it is for the loop.
    pub fn encode(&self, account: &str, key: &Fingerprint, record: &Record, now: &Reading) -> Image {
        Image {
            folder: Arc::clone(&self.folder),
            keys: Arc::clone(&self.keys),
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
        file.replace(&wrap(&file, self.bytes, &self.account, &self.keys)?)?;
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

/// What would keep a start from using the files of these accounts: it would end with exit status 73. Nothing is locked,
/// made or changed; what may not be read by this user is passed over.
pub fn refusals<'a>(
    directory: &Path,
    keys: &Keys,
    accounts: impl IntoIterator<Item = &'a str>,
) -> Vec<StoreError> {
    let mut refusals = Vec::new();
    for account in accounts {
        let Ok(file) = AccountFile::new(directory, account) else { continue };
        let Ok([found, leftover]) = file.look() else { continue };
        let verdicts = [(found, &file.path), (leftover, &file.temporary)]
            .map(|(found, path)| judge(found, path, account, None, keys));
        refusals.extend(verdicts.into_iter().filter_map(Result::err));
    }
    refusals
}

/// What is to become of a file.
enum Verdict {
    Nothing,
    Good(Box<Content>, Opened),
    Flawed(Flaw),
    OtherKey(Opened),
}

fn judge(
    found: Found,
    path: &Path,
    account: &str,
    key: Option<&Fingerprint>,
    keys: &Keys,
) -> Result<Verdict, StoreError> {
    let bytes = match found {
        Found::Nothing => return Ok(Verdict::Nothing),
        Found::Flawed(flaw) => return Ok(Verdict::Flawed(flaw)),
        Found::Bytes(bytes) => bytes,
    };
    let read = envelope::open(bytes, keys).and_then(|opened| {
        if let Some(other) = opened.sealed_for.as_deref().filter(|&other| other != account) {
            return Err(Misfit::Flawed(Flaw::SealedFor { account: other.to_owned() }));
        }
        Ok((Box::new(format::decode(&opened.plain, account)?), opened))
    });
    match read {
        Ok((content, opened)) if key.is_none_or(|key| content.is_of(key)) => {
            Ok(Verdict::Good(content, opened))
        }
        Ok((_, opened)) => Ok(Verdict::OtherKey(opened)),
        Err(Misfit::Flawed(flaw)) => Ok(Verdict::Flawed(flaw)),
        Err(Misfit::Newer(found)) => Err(newer(path, found)),
        Err(Misfit::Sealed(with)) => Err(sealed(path, with, keys)),
    }
}

fn newer(path: &Path, found: u64) -> StoreError {
    StoreError::Newer { path: path.to_owned(), found, ours: envelope::VERSION }
}

fn sealed(path: &Path, with: KeyId, keys: &Keys) -> StoreError {
    StoreError::Sealed { path: path.to_owned(), with, keys: keys.ids() }
}

fn left_alone(error: &StoreError) -> Note {
    Note::LeftAlone { why: error.to_string() }
}

/// The bytes for the disk.
fn wrap(
    file: &AccountFile,
    plain: Zeroizing<Vec<u8>>,
    account: &str,
    keys: &Keys,
) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    envelope::wrap(plain, account, keys.today()).map_err(|error| StoreError::Refused {
        path: file.path.clone(),
        doing: Doing::Seal,
        error,
    })
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
