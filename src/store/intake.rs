//! What a start makes of the files that it finds: each is used, moved aside or left alone, and what can be opened is left
//! in the form that a save would give it.

use std::path::Path;

use super::envelope::{self, Opened};
use super::error::StoreError;
use super::file::{AccountFile, Found, discard};
use super::folder::Held;
use super::format::{self, Content, Fingerprint, Misfit};
use super::key::{Form, Keys};
use super::name::{Aside, Called, called};
use super::note::{Flaw, Note};
use super::{Fetched, Store};
use crate::clock::Reading;

/// What is to become of a file.
enum Verdict {
    Nothing,
    Good(Box<Content>, Opened),
    Flawed(Flaw),
    OtherKey(Opened),
}

impl Store {
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
        let mut notes = Vec::new();
        // Both are looked at before either is touched: what must be left alone is left with all that lies around it.
        let verdict = judge(file.read(&mut notes)?, &file.path, account, key, &self.keys)?;
        let leftover = judge(file.read_leftover()?, &file.temporary, account, key, &self.keys)?;
        let mut good = match verdict {
            Verdict::Nothing => None,
            Verdict::Good(content, opened) => Some((content, opened)),
            Verdict::Flawed(why) => {
                let to = file.move_aside(Aside::Broken, now)?;
                notes.push(Note::MovedAside { from: file.path.clone(), to, why });
                None
            }
            Verdict::OtherKey(opened) => {
                let kept_as = file.move_aside(Aside::OtherKey, now)?;
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
                let kept_as = file.move_leftover_aside(Aside::OtherKey, now)?;
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
        Ok(Fetched { file, content, notes })
    }

    /// Writes a file anew, if it is not in the form that a save would give it. Where that fails it is told, and keeps
    /// nobody from the content.
    fn reform(&self, file: &AccountFile, opened: Opened, account: &str, held: &mut Held) -> Option<Note> {
        let Opened { plain, form, .. } = opened;
        if form == self.keys.form() {
            return None;
        }
        let path = file.path.clone();
        Some(match (self.put(file, plain, account), form, self.keys.form()) {
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
    pub fn tidy(&self, in_use: impl Fn(&str) -> bool, now: &Reading, between: impl FnMut()) -> Vec<Note> {
        if self.keys.ids().is_empty() {
            return Vec::new();
        }
        let mut notes = Vec::new();
        if let Err(error) = self.tidy_all(in_use, now, between, &mut notes) {
            notes.push(self.left_alone(&error));
        }
        if let Some(previous) = self.keys.previous()
            && !self.folder.hold().behind
        {
            notes.push(Note::PreviousKeyIdle { key: previous.id() });
        }
        notes
    }

    fn tidy_all(
        &self,
        in_use: impl Fn(&str) -> bool,
        now: &Reading,
        mut between: impl FnMut(),
        notes: &mut Vec<Note>,
    ) -> Result<(), StoreError> {
        let mut tell = |told: Result<Vec<Note>, StoreError>| {
            notes.extend(told.unwrap_or_else(|error| vec![self.left_alone(&error)]));
        };
        for account in self.accounts()?.iter().filter(|account| !in_use(account)) {
            between();
            tell(self.fetch_of(account, None, now).map(|fetched| fetched.notes));
        }
        // Only now: one of those may just have been moved aside.
        for name in self.names()? {
            between();
            match called(&name) {
                Called::Aside => tell(self.reform_aside(&name)),
                Called::AsideLeftover => discard(&self.folder.path.join(&name)),
                Called::Account(_) | Called::Strange => {}
            }
        }
        Ok(())
    }

    /// The same for a file that was moved aside.
    fn reform_aside(&self, name: &str) -> Result<Vec<Note>, StoreError> {
        let mut held = self.folder.hold();
        let file = AccountFile::at(self.folder.path.join(name));
        let mut notes = Vec::new();
        let opened = match file.read(&mut notes)? {
            Found::Nothing => return Ok(notes),
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
            Err(misfit) => {
                let flaw = flaw_of(misfit, &file.path, &self.keys)?;
                // What was altered is encrypted all the same.
                let is_sealed = matches!(flaw, Flaw::Altered { .. });
                if !is_sealed && self.keys.form() != Form::Plain {
                    notes.push(Note::LeftPlain { path: file.path });
                }
            }
        }
        Ok(notes)
    }

    /// Tells why something was not opened. Unless another key is the reason, any of ours may be the one that it needs.
    fn left_alone(&self, error: &StoreError) -> Note {
        self.folder.hold().behind |= !matches!(error, StoreError::Sealed { .. });
        Note::LeftAlone { why: error.to_string() }
    }
}

/// What would keep a start from using the files of these accounts, and end it. Nothing is locked, made or changed; what
/// may not be read by this user is passed over.
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

/// What is to become of a file that is `account`'s if it is anybody's; an error if it must be left alone.
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
        Err(misfit) => flaw_of(misfit, path, keys).map(Verdict::Flawed),
    }
}

/// What is wrong with the file at this path; an error if it must be left alone.
fn flaw_of(misfit: Misfit, path: &Path, keys: &Keys) -> Result<Flaw, StoreError> {
    let path = path.to_owned();
    match misfit {
        Misfit::Flawed(flaw) => Ok(flaw),
        Misfit::Newer(found) => Err(StoreError::Newer { path, found, ours: envelope::VERSION }),
        Misfit::Sealed(with) => Err(StoreError::Sealed { path, with, keys: keys.ids() }),
    }
}
