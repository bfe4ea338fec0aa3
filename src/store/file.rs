//! File to bytes and back, whole or not at all. Knows no record: what the bytes mean is decided elsewhere.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, OFlags, RenameFlags};
use rustix::io::Errno;
use zeroize::Zeroizing;

use super::error::{Doing, StoreError};
use super::name::{Aside, path_of, temporary_of};
use super::note::{Flaw, Note};
use crate::clock::Reading;

/// What is longer is not even looked into: a sealed file is twice as long as a plain one.
const LARGEST: u64 = 4 << 20;

/// Only the daemon's user may read and write.
const PRIVATE: u32 = 0o600;

/// The bits that let anyone else do anything.
pub(super) const OTHERS: u32 = 0o077;

/// What lay where a file was looked for.
pub(super) enum Found {
    Nothing,
    Bytes(Zeroizing<Vec<u8>>),
    Flawed(Flaw),
}

/// What is done about a file that others can read.
#[derive(Clone, Copy)]
enum Rights {
    Mended,
    LeftAlone,
}

/// The file of one account, or one that was moved aside, and the temporary one that is to take its place.
pub(super) struct AccountFile {
    pub(super) path: PathBuf,
    pub(super) temporary: PathBuf,
}

impl AccountFile {
    /// The files of this account, which need not exist.
    pub(super) fn new(directory: &Path, account: &str) -> Result<Self, StoreError> {
        path_of(directory, account).map(Self::at)
    }

    /// The file at this path, whatever it is.
    pub(super) fn at(path: PathBuf) -> Self {
        Self { temporary: temporary_of(&path), path }
    }

    /// What the file holds.
    pub(super) fn read(&self, notes: &mut Vec<Note>) -> Result<Found, StoreError> {
        read(&self.path, Rights::Mended, notes).map_err(|error| self.refused(Doing::Read, error))
    }

    /// What a save that was cut off has left.
    pub(super) fn read_leftover(&self) -> Result<Found, StoreError> {
        read(&self.temporary, Rights::Mended, &mut Vec::new())
            .map_err(|error| self.refused(Doing::Read, error))
    }

    /// What both hold, and not a bit of them is changed for it, the rights on them included.
    pub(super) fn look(&self) -> io::Result<[Found; 2]> {
        let look = |path| read(path, Rights::LeftAlone, &mut Vec::new());
        Ok([look(&self.path)?, look(&self.temporary)?])
    }

    /// Puts the bytes in the place of whatever was there. Whoever looks, whenever, after whatever power cut,
    /// finds the old bytes or the new ones.
    pub(super) fn replace(&self, bytes: &[u8]) -> Result<(), StoreError> {
        match fs::remove_file(&self.temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(self.refused(Doing::ClearAway, error));
            }
            Ok(()) | Err(_) => {}
        }
        let mut file = create(&self.temporary).map_err(|error| self.refused(Doing::Create, error))?;
        self.fill(&mut file, bytes)
            .and_then(|()| self.put_in_place())
            .inspect_err(|_| self.discard_leftover())
    }

    /// Carries the bytes to the disk before any name leads to them.
    fn fill(&self, file: &mut File, bytes: &[u8]) -> Result<(), StoreError> {
        make_private(file, &self.temporary).map_err(|error| self.refused(Doing::Create, error))?;
        file.write_all(bytes).map_err(|error| self.refused(Doing::Write, error))?;
        file.sync_all().map_err(|error| self.refused(Doing::Sync, error))
    }

    /// Ends a save that was cut off, perhaps before its bytes were carried to the disk.
    pub(super) fn finish_save(&self) -> Result<(), StoreError> {
        File::open(&self.temporary)
            .and_then(|file| file.sync_all())
            .map_err(|error| self.refused(Doing::Sync, error))?;
        self.put_in_place()
    }

    /// Gives the temporary file, which is whole, its name, for good.
    fn put_in_place(&self) -> Result<(), StoreError> {
        fs::rename(&self.temporary, &self.path).map_err(|error| self.refused(Doing::Rename, error))?;
        self.sync_folder()
    }

    /// Removes the temporary file. Should that fail, the next save tries again, and says so.
    pub(super) fn discard_leftover(&self) {
        discard(&self.temporary);
    }

    /// Gives the file another name, never that of anything there is, and says which.
    pub(super) fn move_aside(&self, why: Aside, now: &Reading) -> Result<PathBuf, StoreError> {
        rename_to_free(&self.path, &why.path(&self.path, now))
            .map_err(|error| self.refused(Doing::MoveAside, error))
    }

    /// Does the same to what a save that was cut off has left.
    pub(super) fn move_leftover_aside(&self, why: Aside, now: &Reading) -> Result<PathBuf, StoreError> {
        rename_to_free(&self.temporary, &why.path(&self.path, now))
            .map_err(|error| self.refused(Doing::MoveAside, error))
    }

    /// Deletes the file, for good; says whether there was one.
    pub(super) fn delete(&self) -> Result<bool, StoreError> {
        // The temporary file goes first: alone, it would be taken for a save that is to be finished.
        let leftover = delete(&self.temporary).map_err(|error| self.refused(Doing::Delete, error))?;
        let file = delete(&self.path).map_err(|error| self.refused(Doing::Delete, error))?;
        if leftover || file {
            sync_folder_of(&self.path).map_err(|error| self.refused(Doing::SyncDeletion, error))?;
        }
        Ok(leftover || file)
    }

    fn sync_folder(&self) -> Result<(), StoreError> {
        sync_folder_of(&self.path).map_err(|error| self.refused(Doing::SyncFolder, error))
    }

    fn refused(&self, doing: Doing, error: io::Error) -> StoreError {
        StoreError::Refused { path: self.path.clone(), doing, error }
    }
}

/// Removes a file that nobody needs, if that can be done.
pub(super) fn discard(path: &Path) {
    let _ = fs::remove_file(path);
}

fn read(path: &Path, rights: Rights, notes: &mut Vec<Note>) -> io::Result<Found> {
    // Without NONBLOCK the opening of a pipe would wait for someone to write to it.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut file = match OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path) {
        Ok(file) => file,
        Err(error) => {
            return match Errno::from_io_error(&error) {
                Some(Errno::NOENT) => Ok(Found::Nothing),
                // A symbolic link; a socket; a device that is not there.
                Some(Errno::LOOP | Errno::NXIO | Errno::NODEV) => Ok(Found::Flawed(Flaw::NotAFile)),
                Some(_) | None => Err(error),
            };
        }
    };
    let about = file.metadata()?;
    if !about.is_file() {
        return Ok(Found::Flawed(Flaw::NotAFile));
    }
    match rights {
        Rights::Mended => notes.extend(close_to_others(path, &file, &about)),
        Rights::LeftAlone => {}
    }
    // A vector that grows leaves its former self behind unwiped, and one without room to spare is read to
    // the end by way of a small buffer that nobody wipes: hence 64 bytes more than there are.
    let length = usize::try_from(about.len().min(LARGEST)).unwrap_or_default();
    let mut bytes = Zeroizing::new(Vec::with_capacity(length + 64));
    let read = (&mut file).take(LARGEST + 1).read_to_end(&mut bytes)?;
    if read as u64 > LARGEST {
        return Ok(Found::Flawed(Flaw::TooLarge));
    }
    Ok(Found::Bytes(bytes))
}

/// Takes the rights of others away.
///
/// A file that others could read is mended rather than refused: what they have read they keep either way, and a
/// refusal would end a living grant for the sake of a `chmod`.
fn close_to_others(path: &Path, file: &File, about: &fs::Metadata) -> Option<Note> {
    let mode = about.mode() & 0o7777;
    let path = path.to_owned();
    if mode & OTHERS == 0 {
        return None;
    }
    Some(match file.set_permissions(Permissions::from_mode(PRIVATE)) {
        Ok(()) => Note::ModeMended { path, mode },
        // Someone else's file that we may read. It does no further harm: the next save replaces it.
        Err(_) => Note::ModeLeft { path, mode, owner: about.uid() },
    })
}

/// A new file, private from its first moment; fails if there is anything of the name.
fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(PRIVATE)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)
}

/// Gives a file that is ours exactly the mode 0600, whatever the umask left of it, and the owner of its folder.
///
/// The latter matters to root alone: what root imports by hand must be readable by the daemon's user.
pub(super) fn make_private(file: &File, path: &Path) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(PRIVATE))?;
    if rustix::process::geteuid().is_root() {
        let folder = fs::metadata(parent(path))?;
        if folder.uid() != 0 {
            fchown(file, Some(folder.uid()), Some(folder.gid()))?;
        }
    }
    Ok(())
}

/// Renames to `first`, or where there is anything of that name with `-2` behind it, and so on; says which it became.
fn rename_to_free(from: &Path, first: &Path) -> io::Result<PathBuf> {
    let mut to = first.to_owned();
    let mut count = 1_u32;
    loop {
        match rename_to_new(from, &to) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                count += 1;
                let mut next = OsString::from(first);
                next.push(format!("-{count}"));
                to = PathBuf::from(next);
            }
            outcome => return outcome.map(|()| to),
        }
    }
}

/// Renames, unless there is anything of the new name.
fn rename_to_new(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some file systems cannot do it in one step.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => rename_to_new_in_two_steps(from, to),
        outcome => Ok(outcome?),
    }
}

/// The lock keeps everyone who keeps to the rules from stepping in between.
fn rename_to_new_in_two_steps(from: &Path, to: &Path) -> io::Result<()> {
    if fs::symlink_metadata(to).is_ok() { Err(Errno::EXIST.into()) } else { fs::rename(from, to) }
}

fn delete(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Carries names to the disk, as `sync_all` does contents.
pub(super) fn sync_folder_of(path: &Path) -> io::Result<()> {
    unless_unknown(File::open(parent(path))?.sync_all())
}

/// Some network file systems have no such call; names are safe there, or nothing can make them so.
fn unless_unknown(synced: io::Result<()>) -> io::Result<()> {
    match synced {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => Ok(()),
        outcome => outcome,
    }
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_temporary_file_is_new_and_private_or_not_at_all() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join(".home.json.new");
        let file = create(&path).expect("there is none yet");
        assert_eq!(file.metadata().expect("it is open").mode() & OTHERS, 0);
        assert_eq!(create(&path).expect_err("there is one").kind(), io::ErrorKind::AlreadyExists);
        fs::remove_file(&path).expect("it is ours");
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), &path).expect("linked");
        assert!(create(&path).is_err());
        assert!(!folder.path().join("elsewhere").exists());
    }

    #[test]
    fn a_file_is_read_up_to_the_largest_that_can_be_ours() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("home.json");
        for (length, fits) in [(LARGEST, true), (LARGEST + 1, false)] {
            File::create(&path).and_then(|file| file.set_len(length)).expect("a file of zeros");
            let found = read(&path, Rights::Mended, &mut Vec::new()).expect("readable");
            assert_eq!(
                matches!(found, Found::Bytes(bytes) if bytes.len() as u64 == length),
                fits,
                "{length}"
            );
        }
    }

    #[test]
    fn a_name_that_is_taken_is_not_taken_twice() {
        for rename in [rename_to_new, rename_to_new_in_two_steps] {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let [from, to, free] = ["from", "to", "free"].map(|name| folder.path().join(name));
            fs::write(&from, "from").and_then(|()| fs::write(&to, "to")).expect("written");
            let error = rename(&from, &to).expect_err("it is taken");
            assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
            assert_eq!(fs::read_to_string(&to).expect("read"), "to");
            rename(&from, &free).expect("it is free");
            assert_eq!(fs::read_to_string(&free).expect("read"), "from");
        }
    }

    #[test]
    fn a_file_system_that_cannot_carry_a_folder_to_the_disk_is_no_failure_but_a_failing_one_is() {
        // /proc has no such call.
        sync_folder_of(Path::new("/proc/version")).expect("nothing to carry");
        assert!(unless_unknown(Err(Errno::IO.into())).is_err());
    }

    #[test]
    fn the_parent_of_a_bare_name_is_the_present_folder() {
        assert_eq!(parent(Path::new("state")), Path::new("."));
        assert_eq!(parent(Path::new("state/home.json")), Path::new("state"));
    }
}
