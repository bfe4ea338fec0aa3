//! What the store says: errors that stop something, notes for the operator's diary. No word comes out of a file:
//! a broken one may hold half a token anywhere.

use std::fmt;
use std::io;
use std::path::PathBuf;

use rustix::io::Errno;

use super::key::{Form, KeyId};

/// Why the store cannot be used. Reads as *where: what is wrong; what to do*.
#[derive(Debug)]
pub enum StoreError {
    /// Another process holds the store.
    Locked {
        /// The store's folder.
        directory: PathBuf,
        /// Who holds it; `None` if it did not say.
        pid: Option<u32>,
    },
    /// The file was written by a newer version of this program; it was left alone.
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
        /// The newest version that is understood here.
        ours: u64,
    },
    /// The file is encrypted with a key that the store was not given; it was left alone.
    Sealed {
        /// The file.
        path: PathBuf,
        /// The key that it is encrypted with.
        with: KeyId,
        /// The keys that the store was given, the one that is written with first.
        keys: Vec<KeyId>,
    },
    /// No account can have this name: it is not of the form `[a-z0-9-]{1,32}`.
    Name {
        /// The name, as it was given.
        account: String,
    },
    /// The operating system refused.
    Refused {
        /// What it was about: an account's file, the lock, or the folder.
        path: PathBuf,
        /// What was being done.
        doing: Doing,
        /// The refusal.
        error: io::Error,
    },
}

/// What was being done when the operating system refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// Making the folder, or closing it to others.
    Prepare,
    /// Taking the lock.
    Lock,
    /// Reading an account's file.
    Read,
    /// Giving another name to a file that cannot be used.
    MoveAside,
    /// Clearing away the temporary file of an earlier save.
    ClearAway,
    /// Creating the temporary file.
    Create,
    /// Encrypting what goes into it.
    Seal,
    /// Writing to it.
    Write,
    /// Having it carried to the disk.
    Sync,
    /// Putting it in its place.
    Rename,
    /// Having the folder carried to the disk.
    SyncFolder,
    /// Deleting an account's file.
    Delete,
    /// Having the folder carried to the disk after that.
    SyncDeletion,
}

impl StoreError {
    /// What `ecobee-tokend` exits with when this ends it: 73, or 2 for a name that cannot be.
    pub const fn exit_status(&self) -> u8 {
        match self {
            Self::Locked { .. } | Self::Newer { .. } | Self::Sealed { .. } | Self::Refused { .. } => 73,
            Self::Name { .. } => 2,
        }
    }
}

impl std::error::Error for StoreError {}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked { directory, pid } => {
                write!(f, "{}: in use by another ecobee-tokend", directory.display())?;
                if let Some(pid) = pid {
                    write!(f, ", process {pid}")?;
                }
                f.write_str("; stop that one first, or give this one another [store] directory")
            }
            Self::Newer { path, found, ours } => write!(
                f,
                "{}: written by a newer ecobee-tokend (version {found}, this one knows up to {ours}), left alone; \
                 install the newer one again, or move the file away and enter a new PIN",
                path.display()
            ),
            Self::Sealed { path, with, keys } => {
                write!(f, "{}: encrypted with the key {with}, ", path.display())?;
                match keys[..] {
                    [] => f.write_str("and [store] names no key")?,
                    [key] => write!(f, "and the key of [store] is {key}")?,
                    ref keys => {
                        let keys: Vec<_> = keys.iter().map(ToString::to_string).collect();
                        write!(f, "and the keys of [store] are {}", keys.join(" and "))?;
                    }
                }
                f.write_str(
                    "; left alone. Name that key as key-file or key-credential, or beside another one as \
                     previous-key-file or previous-key-credential; if it is lost, move the file away and enter a \
                     new PIN",
                )
            }
            Self::Name { account } => write!(
                f,
                "{account:?}: not an account's name; \
                 it has 1 to 32 characters, each a small letter, a digit or a hyphen"
            ),
            Self::Refused { path, doing, error } => {
                write!(f, "{}: {doing}: ", path.display())?;
                explain(error, f)
            }
        }
    }
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prepare => "the folder cannot be prepared",
            Self::Lock => "cannot be locked",
            Self::Read => "cannot be read",
            Self::MoveAside => "cannot be used as it is, nor moved aside",
            Self::ClearAway => "not saved, for an earlier temporary file cannot be cleared away",
            Self::Create => "not saved, for its temporary file cannot be created",
            Self::Seal => "not saved, for it cannot be encrypted",
            Self::Write => "not saved, for its temporary file cannot be written",
            Self::Sync => "not saved, for its temporary file does not reach the disk",
            Self::Rename => "not saved, for its temporary file cannot be put in its place",
            Self::SyncFolder => "saved, but perhaps not for good, for its folder does not reach the disk",
            Self::Delete => "cannot be deleted",
            Self::SyncDeletion => "deleted, but perhaps not for good, for its folder does not reach the disk",
        })
    }
}

/// What is wrong, and what to do about it.
fn explain(error: &io::Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match Errno::from_io_error(error) {
        Some(Errno::NOSPC) => f.write_str("the disk is full; free some space"),
        Some(Errno::DQUOT) => f.write_str("the disk quota is used up; free some space or raise the quota"),
        Some(Errno::ROFS) => f.write_str(
            "the file system is read-only here; mount it writable, or name the folder in \
             StateDirectory= or ReadWritePaths= of the unit",
        ),
        Some(Errno::NOENT) => {
            f.write_str("the folder is gone; make it again, for the daemon's user alone (mode 0700)")
        }
        Some(Errno::ACCESS | Errno::PERM) => write!(
            f,
            "user {} has no right to; the folder and all in it must belong to the user that runs the daemon \
             (chown -R), with modes 0700 and 0600",
            rustix::process::geteuid().as_raw()
        ),
        Some(Errno::NOTDIR) => f.write_str("something on the way there is not a folder; move that away"),
        Some(Errno::ISDIR | Errno::NOTEMPTY) => f.write_str("a folder stands in the way; move that away"),
        Some(_) | None => {
            write!(f, "{error}; look for the cause in the kernel's log (journalctl -k)")
        }
    }
}

/// What an operator should read of, though the daemon goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A file could not be understood.
    MovedAside {
        /// Where it lay.
        from: PathBuf,
        /// Where it lies now, unchanged.
        to: PathBuf,
        /// What is wrong with it.
        why: Flaw,
    },
    /// The file was written under another API key.
    KeyChanged {
        /// Where it lay.
        from: PathBuf,
        /// Where it lies now, unchanged.
        kept_as: PathBuf,
    },
    /// Others could read the file; no longer.
    ModeMended {
        /// The file.
        path: PathBuf,
        /// The permission bits that it had.
        mode: u32,
    },
    /// Others can read the file, and only its owner or the next save can change that.
    ModeLeft {
        /// The file.
        path: PathBuf,
        /// The permission bits that it has.
        mode: u32,
        /// The user that it belongs to.
        owner: u32,
    },
    /// Others could look into the folder; no longer.
    FolderMended {
        /// The folder.
        path: PathBuf,
        /// The permission bits that it had.
        mode: u32,
    },
    /// Others can look into the folder, and it is not ours to close.
    FolderLeft {
        /// The folder.
        path: PathBuf,
        /// The permission bits that it has.
        mode: u32,
        /// The user that it belongs to.
        owner: u32,
    },
    /// The folder, or the lock in it, had vanished under the daemon and was made again.
    FolderMadeAgain {
        /// The folder.
        path: PathBuf,
    },
    /// A save that was cut off had written all of its temporary file: that is newer, and was put in its place.
    SaveFinished {
        /// The file.
        path: PathBuf,
    },
    /// The file was not encrypted, though there is a key; it is now.
    Sealed {
        /// The file.
        path: PathBuf,
        /// The key that it is encrypted with.
        with: KeyId,
    },
    /// The file was encrypted with the previous key, and is with this one now.
    Rotated {
        /// The file.
        path: PathBuf,
        /// The key that it is encrypted with.
        with: KeyId,
    },
    /// The file was encrypted, and is no longer.
    Unsealed {
        /// The file.
        path: PathBuf,
    },
    /// The file could not be written anew in the form that it should have.
    FormLeft {
        /// The form that it has.
        form: Form,
        /// What kept it from being written, as a sentence that begins with the path.
        why: String,
    },
    /// A file that was moved aside cannot be understood, and so stays as it is, though there is a key.
    LeftPlain {
        /// The file.
        path: PathBuf,
    },
    /// A file that is not in use cannot be opened, or must not be.
    LeftAlone {
        /// Why not, as a sentence that begins with the path.
        why: String,
    },
    /// Nothing in the folder needs the previous key any more.
    PreviousKeyIdle {
        /// That key.
        key: KeyId,
    },
    /// The stored access token may be dead and was dropped; the refresh token is kept.
    AccessDoubted {
        /// The file.
        path: PathBuf,
        /// Why it may be dead.
        why: Doubt,
    },
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It is a folder, a link, a pipe or a device.
    NotAFile,
    /// It is far larger than anything this program writes.
    TooLarge,
    /// It is not JSON, or ends too early.
    NotJson {
        /// Counted from 1.
        line: usize,
        /// Counted from 1; 0 at a line's very beginning.
        column: usize,
    },
    /// It is JSON, but a member is missing or has another type.
    WrongForm {
        /// Counted from 1.
        line: usize,
        /// Counted from 1; 0 at a line's very beginning.
        column: usize,
    },
    /// It does not say which version it is, in a positive whole number.
    NoVersion,
    /// It was written for an account of another name.
    OtherAccount,
    /// It is encrypted in a way that no version of this program has.
    StrangeEnvelope,
    /// It is encrypted with a key that is here, and not the way it was any more.
    Altered {
        /// The key.
        key: KeyId,
    },
    /// It was encrypted for an account of another name, whose file it is.
    SealedFor {
        /// That name.
        account: String,
    },
}

/// Why a stored access token may be dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// A refresh was sent, which kills it, and its answer never reached the disk.
    RefreshSent,
    /// It is the same boot, but the boot clock stands before the file was written.
    BootClockWentBack,
    /// It is another boot, and the wall clock of this board may not have been set yet.
    WallClockDoubtful,
    /// It is another boot, and the wall clock stands before the file was written.
    WallClockWentBack,
    /// It was issued after the present moment.
    IssuedInTheFuture,
    /// It has characters that no header may carry.
    Unservable,
}

impl Note {
    /// Whether it tells of something that should not be; the rest is what an operator asked for.
    pub const fn is_warning(&self) -> bool {
        match self {
            Self::Rotated { .. } | Self::Unsealed { .. } | Self::PreviousKeyIdle { .. } => false,
            Self::MovedAside { .. }
            | Self::KeyChanged { .. }
            | Self::ModeMended { .. }
            | Self::ModeLeft { .. }
            | Self::FolderMended { .. }
            | Self::FolderLeft { .. }
            | Self::FolderMadeAgain { .. }
            | Self::SaveFinished { .. }
            | Self::Sealed { .. }
            | Self::FormLeft { .. }
            | Self::LeftPlain { .. }
            | Self::LeftAlone { .. }
            | Self::AccessDoubted { .. } => true,
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MovedAside { from, to, why } => {
                write!(f, "{}: {why}; moved aside to {}, and not used", from.display(), to.display())
            }
            Self::KeyChanged { from, kept_as } => write!(
                f,
                "{}: belongs to another API key; kept as {}, and not used; \
                 should the old key come back, so may this file, under its old name",
                from.display(),
                kept_as.display()
            ),
            Self::ModeMended { path, mode } => write!(
                f,
                "{}: other users could read it (mode {mode:04o}, now 0600); if there are any on this machine, \
                 remove the app at ecobee.com (My Apps) and enter a new PIN",
                path.display()
            ),
            Self::ModeLeft { path, mode, owner } => write!(
                f,
                "{}: other users can read it (mode {mode:04o}) and it belongs to user {owner}; \
                 chmod 0600, or wait for the next save to replace it",
                path.display()
            ),
            Self::FolderMended { path, mode } => write!(
                f,
                "{}: other users could look into it (mode {mode:04o}, now 0700); whatever made it so may do it again",
                path.display()
            ),
            Self::FolderLeft { path, mode, owner } => write!(
                f,
                "{}: other users can look into it (mode {mode:04o}) and it belongs to user {owner}; \
                 chown it to the user that runs the daemon, and chmod 0700",
                path.display()
            ),
            Self::FolderMadeAgain { path } => write!(
                f,
                "{}: it or the lock in it had vanished and was made again; find out what removed it, \
                 for grants are lost if the daemon stops before it has saved them",
                path.display()
            ),
            Self::SaveFinished { path } => write!(
                f,
                "{}: the last save was cut off after all was written, and has been finished now",
                path.display()
            ),
            Self::Sealed { path, with } => write!(
                f,
                "{}: was not encrypted, and is now, with the key {with}; unless the key is new here, or you have put \
                 an older copy back, somebody else put this file there",
                path.display()
            ),
            Self::Rotated { path, with } => {
                write!(f, "{}: encrypted anew, with the key {with}", path.display())
            }
            Self::Unsealed { path } => write!(
                f,
                "{}: no longer encrypted, for [store] names a previous key and no other",
                path.display()
            ),
            Self::FormLeft { form, why } => {
                write!(f, "{why}. It stays {form} until it is saved again, or until the next start")
            }
            Self::LeftPlain { path } => write!(
                f,
                "{}: not encrypted, and left as it is, for it cannot be understood; it may hold tokens: delete it once \
                 you know why it is broken",
                path.display()
            ),
            Self::LeftAlone { why } => write!(f, "not in use, and not looked into: {why}"),
            Self::PreviousKeyIdle { key } => write!(
                f,
                "nothing in the store needs the previous key {key} any more; take previous-key-file or \
                 previous-key-credential out of [store], and keep the key as long as backups that need it"
            ),
            Self::AccessDoubted { path, why } => write!(
                f,
                "{}: the stored access token is not used, for {why}; a refresh comes first",
                path.display()
            ),
        }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAFile => f.write_str("not a regular file"),
            Self::TooLarge => f.write_str("too large to be a store file"),
            Self::NotJson { line, column } => {
                write!(f, "not whole JSON (line {line}, column {column})")
            }
            Self::WrongForm { line, column } => {
                write!(f, "not in the form of a store file (line {line}, column {column})")
            }
            Self::NoVersion => f.write_str("has no version"),
            Self::OtherAccount => f.write_str("belongs to an account of another name"),
            Self::StrangeEnvelope => f.write_str("encrypted in a way that no version of this program has"),
            Self::Altered { key } => {
                write!(f, "encrypted with the key {key}, and damaged or altered since")
            }
            Self::SealedFor { account } => write!(
                f,
                "the encrypted file of the account {account}, which can use it again under the name {account}.json"
            ),
        }
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RefreshSent => "a refresh was under way when the daemon stopped",
            Self::BootClockWentBack => "the boot clock went back since it was written",
            Self::WallClockDoubtful => "the wall clock may not have been set since this boot",
            Self::WallClockWentBack => "the wall clock went back since it was written",
            Self::IssuedInTheFuture => "it would have been issued in the future",
            Self::Unservable => "it has characters that no header may carry",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::secret::SecretBytes;
    use crate::store::Key;

    fn refused(errno: Errno) -> String {
        let error = io::Error::from(errno);
        let path = PathBuf::from("/var/lib/ecobee-tokend/home.json");
        StoreError::Refused { path, doing: Doing::Write, error }.to_string()
    }

    #[test]
    fn each_common_refusal_has_a_sentence_of_its_own() {
        let refusals = [
            (Errno::NOSPC, "disk is full; free"),
            (Errno::DQUOT, "quota is used up; free"),
            (Errno::ROFS, "read-only here; mount it writable"),
            (Errno::NOENT, "folder is gone; make it again"),
            (Errno::ACCESS, "has no right to; the folder and all in it must belong"),
            (Errno::PERM, "has no right to; the folder and all in it must belong"),
            (Errno::NOTDIR, "on the way there is not a folder; move that away"),
            (Errno::ISDIR, "a folder stands in the way; move that away"),
            (Errno::NOTEMPTY, "a folder stands in the way; move that away"),
            (Errno::IO, "; look for the cause in the kernel's log"),
        ];
        for (errno, words) in refusals {
            let shown = refused(errno);
            assert!(shown.starts_with("/var/lib/ecobee-tokend/home.json: not saved"), "{shown}");
            assert!(shown.contains(words), "{shown}");
        }
    }

    #[test]
    fn a_store_in_use_is_told_with_the_process_that_uses_it() {
        let directory = PathBuf::from("/var/lib/ecobee-tokend");
        let known = StoreError::Locked { directory: directory.clone(), pid: Some(4711) };
        assert!(known.to_string().contains("in use by another ecobee-tokend, process 4711; stop"), "{known}");
        let unknown = StoreError::Locked { directory, pid: None };
        assert!(unknown.to_string().contains("in use by another ecobee-tokend; stop"), "{unknown}");
    }

    #[test]
    fn why_a_stored_token_is_not_used_is_told_in_words_of_its_own() {
        let told = |why| Note::AccessDoubted { path: PathBuf::from("/x"), why }.to_string();
        let words = "/x: the stored access token is not used, for a refresh was under way when the daemon stopped; \
                     a refresh comes first";
        assert_eq!(told(Doubt::RefreshSent), words);
        let doubts = [
            Doubt::RefreshSent,
            Doubt::BootClockWentBack,
            Doubt::WallClockDoubtful,
            Doubt::WallClockWentBack,
            Doubt::IssuedInTheFuture,
            Doubt::Unservable,
        ];
        assert_eq!(BTreeSet::from(doubts.map(told)).len(), doubts.len());
    }

    #[test]
    fn what_is_fatal_at_start_exits_with_73() {
        let path = PathBuf::from("/x");
        let error = io::Error::from(Errno::IO);
        let key = Key::of(&SecretBytes::copy_of(&[7; 32])).id();
        let fatal = [
            StoreError::Sealed { path: path.clone(), with: key, keys: Vec::new() },
            StoreError::Locked { directory: path.clone(), pid: None },
            StoreError::Newer { path: path.clone(), found: 2, ours: 1 },
            StoreError::Refused { path, doing: Doing::Read, error },
        ];
        assert!(fatal.iter().all(|error| error.exit_status() == 73));
    }
}
