//! The folder with the files of all accounts, what lies in it, and the lock in it: one daemon a store.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{FlockOperation, OFlags};
use rustix::io::Errno;

use super::error::{Doing, StoreError};
use super::file::{OTHERS, make_private, sync_folder_of};
use super::note::Note;

/// Only the daemon's user may look in.
const PRIVATE: u32 = 0o700;

/// A folder that is ours while this lives.
pub(super) struct Folder {
    pub(super) path: PathBuf,
    held: Mutex<Held>,
    images: AtomicU64,
}

/// What whoever does disk work holds meanwhile: one thread at a time.
pub(super) struct Held {
    lock: File,
    /// The number of the newest image of each account that has reached the disk.
    saved: BTreeMap<String, u64>,
    /// Whether there may be files left in a form that no save would give them.
    pub(super) behind: bool,
}

impl Folder {
    /// Makes the folder if there is none, and locks it.
    pub(super) fn open(path: &Path) -> Result<(Self, Vec<Note>), StoreError> {
        let notes = prepare(path)?.into_iter().collect();
        let held = Held { lock: lock(path)?, saved: BTreeMap::new(), behind: false };
        Ok((Self { path: path.to_owned(), held: Mutex::new(held), images: AtomicU64::new(0) }, notes))
    }

    /// Waits for other disk work to end: not for the loop.
    pub(super) fn hold(&self) -> MutexGuard<'_, Held> {
        // Nothing in there is left half done by a panic.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the next image, which no other has; waits for nobody.
    pub(super) fn next_image(&self) -> u64 {
        self.images.fetch_add(1, Ordering::Relaxed)
    }
}

/// The names of what lies in a folder.
pub(super) fn names(folder: &Path) -> io::Result<BTreeSet<String>> {
    let names = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().into_string().ok()));
    names.filter_map(Result::transpose).collect()
}

impl Held {
    /// Whether something newer than this image has been saved already.
    pub(super) fn is_overtaken(&self, account: &str, image: u64) -> bool {
        self.saved.get(account).is_some_and(|&saved| saved > image)
    }

    /// From now on nothing older than this image is to be saved.
    pub(super) fn saved(&mut self, account: &str, image: u64) {
        self.saved.insert(account.to_owned(), image);
    }

    /// Makes sure that the folder is there and still locked by us, or makes it so again and says so.
    ///
    /// Into the log and not to the caller, for whom a save has either worked or not.
    pub(super) fn assure(&mut self, folder: &Path) -> Result<(), StoreError> {
        if self.is_in_place(folder) {
            return Ok(());
        }
        let mended = prepare(folder)?;
        // The old lock holds nobody off any more: what it locked has no name.
        self.lock = lock(folder)?;
        for note in mended.into_iter().chain([Note::FolderMadeAgain { path: folder.to_owned() }]) {
            tracing::warn!("{note}");
        }
        Ok(())
    }

    fn is_in_place(&self, folder: &Path) -> bool {
        let same =
            |ours: fs::Metadata, there: fs::Metadata| (ours.dev(), ours.ino()) == (there.dev(), there.ino());
        self.lock
            .metadata()
            .and_then(|ours| Ok(same(ours, fs::symlink_metadata(lock_path(folder))?)))
            .unwrap_or(false)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Closing the file would do, but for a child that was forked and has not yet begun its own program.
        let _ = rustix::fs::flock(&self.lock, FlockOperation::Unlock);
    }
}

fn lock_path(folder: &Path) -> PathBuf {
    folder.join("lock")
}

/// Takes the lock and leaves our process id in it, for the sentence that a second daemon leaves with.
fn lock(folder: &Path) -> Result<File, StoreError> {
    let path = lock_path(folder);
    let refused = |error| StoreError::Refused { path: path.clone(), doing: Doing::Lock, error };
    let mut file = open_lock(&path).map_err(refused)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            let mut text = String::new();
            let _ = (&mut file).take(16).read_to_string(&mut text);
            return Err(StoreError::Locked { directory: folder.to_owned(), pid: text.trim().parse().ok() });
        }
        Err(error) => return Err(refused(error.into())),
    }
    // A full disk has no room for the number, and that is no reason to keep a stored token from anyone.
    let pid = format!("{}\n", std::process::id());
    let _ = file.set_len(0).and_then(|()| file.write_all(pid.as_bytes()));
    Ok(file)
}

/// Opens the lock file. Children do not inherit it (std opens with `O_CLOEXEC`), so it ends with this process.
fn open_lock(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
        .open(path)?;
    let about = file.metadata()?;
    // Root must not be led to write to, or give away, a file that has another name elsewhere.
    if !about.is_file() || about.nlink() != 1 {
        return Err(io::Error::other("it is not a regular file with this one name; delete it"));
    }
    if about.uid() == rustix::process::geteuid().as_raw() {
        make_private(&file, path)?;
    }
    Ok(file)
}

/// Makes the folder if there is none, and closes it to others.
fn prepare(path: &Path) -> Result<Option<Note>, StoreError> {
    make(path).and_then(|()| close_to_others(path)).map_err(|error| StoreError::Refused {
        path: path.to_owned(),
        doing: Doing::Prepare,
        error,
    })
}

fn make(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make(parent)?;
    }
    match DirBuilder::new().mode(PRIVATE).create(path) {
        Ok(()) => {}
        // Someone was faster, or it is no folder, which is noticed soon.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => return Err(error),
    }
    // The umask may have left us nothing.
    fs::set_permissions(path, Permissions::from_mode(PRIVATE))?;
    // A parent may be closed to reading. Then the new folder reaches the disk a little later.
    let _ = sync_folder_of(path);
    Ok(())
}

fn close_to_others(path: &Path) -> io::Result<Option<Note>> {
    let about = fs::metadata(path)?;
    if !about.is_dir() {
        return Err(Errno::NOTDIR.into());
    }
    let mode = about.mode() & 0o7777;
    let owner = about.uid();
    let path = path.to_owned();
    if mode & OTHERS == 0 {
        return Ok(None);
    }
    if owner != rustix::process::geteuid().as_raw() {
        return Ok(Some(Note::FolderLeft { path, mode, owner }));
    }
    fs::set_permissions(&path, Permissions::from_mode(PRIVATE))?;
    Ok(Some(Note::FolderMended { path, mode }))
}
