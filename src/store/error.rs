//! What stops the store, and what to do about it. No word comes out of a file: a broken one may hold half a token
//! anywhere.

use std::fmt;
use std::io;
use std::path::PathBuf;

use rustix::io::Errno;

use super::key::KeyId;

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
        Some(Errno::LOOP) => f.write_str("a symbolic link stands in the way; move that away"),
        Some(_) => write!(f, "{error}; look for the cause in the kernel's log (journalctl -k)"),
        // The kernel knows nothing of these.
        None => write!(f, "{error}"),
    }
}

#[cfg(test)]
mod tests {
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
            (Errno::LOOP, "a symbolic link stands in the way; move that away"),
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
