//! What the store has for the operator's diary. No word comes out of a file: a broken one may hold half a token anywhere.

use std::fmt;
use std::path::PathBuf;

use super::key::{Form, KeyId};

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
    /// A file that is not in use, or all that is left of the folder, cannot be opened, or must not be.
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
}
