//! Where the socket comes from: a path, or systemd.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use ecobee_tokend::socket::{Bound, SocketError, bind, from_inherited};
use rustix::fs::Mode;
use tempfile::TempDir;

use crate::house::{as_nobody, in_a_process_of_its_own};

/// A folder, the socket's path in it, and what a runtime needs for binding.
struct Stage {
    folder: TempDir,
    path: PathBuf,
    runtime: tokio::runtime::Runtime,
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { folder, path, runtime }
    }

    fn bind(&self, path: &Path, mode: u32, group: Option<u32>) -> Result<Bound, SocketError> {
        let _context = self.runtime.enter();
        bind(path, mode, group)
    }

    fn inherit(&self, socket: impl Into<OwnedFd>) -> Result<Bound, SocketError> {
        let _context = self.runtime.enter();
        from_inherited(socket.into())
    }

    /// Binds at the stage's path and expects to be refused, in these words among others.
    #[track_caller]
    fn refused(&self, words: &str) -> SocketError {
        let error = self.bind(&self.path, 0o660, None).unwrap_err();
        let said = error.to_string();
        assert!(said.starts_with(&format!("{}: ", self.path.display())), "{said}");
        assert!(said.contains(words), "{said}");
        assert!(said.contains("; "), "what is to be done? {said}");
        error
    }
}

fn mode_of(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn a_bound_socket_is_there_until_it_is_dropped() {
    let stage = Stage::new();
    let bound = stage.bind(&stage.path, 0o660, None).unwrap();
    assert!(fs::symlink_metadata(&stage.path).unwrap().file_type().is_socket());
    assert_eq!(mode_of(&stage.path), 0o660);
    UnixStream::connect(&stage.path).unwrap();
    drop(bound);
    assert!(!stage.path.exists());
}

#[test]
fn a_socket_that_took_our_place_is_left_alone() {
    let stage = Stage::new();
    let bound = stage.bind(&stage.path, 0o660, None).unwrap();
    fs::remove_file(&stage.path).unwrap();
    let _successor = UnixListener::bind(&stage.path).unwrap();
    drop(bound);
    UnixStream::connect(&stage.path).unwrap();
}

#[test]
fn a_dead_daemons_socket_is_replaced() {
    let stage = Stage::new();
    drop(UnixListener::bind(&stage.path).unwrap());
    assert!(stage.path.exists());
    let _bound = stage.bind(&stage.path, 0o600, None).unwrap();
    assert_eq!(mode_of(&stage.path), 0o600);
    UnixStream::connect(&stage.path).unwrap();
}

#[test]
fn a_living_daemon_is_not_disturbed() {
    let stage = Stage::new();
    let _other = UnixListener::bind(&stage.path).unwrap();
    assert!(matches!(stage.refused("a living daemon listens there"), SocketError::InUse(_)));
    UnixStream::connect(&stage.path).unwrap();
}

#[test]
fn a_living_daemon_with_a_full_queue_is_not_disturbed() {
    let stage = Stage::new();
    let other = UnixListener::bind(&stage.path).unwrap();
    rustix::net::listen(&other, 0).unwrap();
    let _queued = UnixStream::connect(&stage.path).unwrap();
    assert!(matches!(stage.refused("a living daemon listens there"), SocketError::InUse(_)));
}

#[test]
fn what_is_not_a_socket_is_left_alone() {
    let stage = Stage::new();
    fs::write(&stage.path, "precious").unwrap();
    assert!(matches!(stage.refused("not a socket"), SocketError::NotASocket(_)));
    assert_eq!(fs::read_to_string(&stage.path).unwrap(), "precious");

    fs::remove_file(&stage.path).unwrap();
    std::os::unix::fs::symlink("/nowhere", &stage.path).unwrap();
    assert!(matches!(stage.refused("not a socket"), SocketError::NotASocket(_)));

    fs::remove_file(&stage.path).unwrap();
    fs::create_dir(&stage.path).unwrap();
    assert!(matches!(stage.refused("not a socket"), SocketError::NotASocket(_)));
}

#[test]
fn a_living_socket_of_another_kind_is_left_alone() {
    let stage = Stage::new();
    let _other = UnixDatagram::bind(&stage.path).unwrap();
    assert!(matches!(stage.refused("cannot reach"), SocketError::Refused { .. }));
    assert!(stage.path.exists());
}

#[test]
fn a_missing_folder_is_made() {
    let stage = Stage::new();
    let path = stage.folder.path().join("run/socket");
    let _bound = stage.bind(&path, 0o660, None).unwrap();
    assert_eq!(mode_of(path.parent().unwrap()), 0o755);
}

#[test]
fn two_missing_folders_are_an_error() {
    let mut stage = Stage::new();
    stage.path = stage.folder.path().join("run/ecobee/socket");
    assert!(matches!(stage.refused("neither the folder"), SocketError::NoFolder(_)));
    assert!(!stage.folder.path().join("run").exists());
}

#[test]
fn a_file_in_the_folders_place_is_an_error() {
    let mut stage = Stage::new();
    fs::write(stage.folder.path().join("run"), "").unwrap();
    stage.path = stage.folder.path().join("run/socket");
    stage.refused("Not a directory");
}

#[test]
fn a_path_that_no_socket_can_have_is_an_error() {
    let mut stage = Stage::new();
    let room = 107 - stage.folder.path().as_os_str().len() - 1;
    let longest = stage.folder.path().join("x".repeat(room));
    drop(stage.bind(&longest, 0o660, None).unwrap());
    for more in [1, 2, 500] {
        stage.path = stage.folder.path().join("x".repeat(room + more));
        assert!(matches!(stage.refused("107 bytes"), SocketError::TooLong(_)));
    }
}

#[test]
fn the_group_is_given() {
    let stage = Stage::new();
    let group = if rustix::process::getuid().is_root() { 4321 } else { rustix::process::getgid().as_raw() };
    let _bound = stage.bind(&stage.path, 0o660, Some(group)).unwrap();
    assert_eq!(fs::symlink_metadata(&stage.path).unwrap().gid(), group);
    assert_eq!(mode_of(&stage.path), 0o660);
}

#[test]
fn what_a_user_may_not_do_is_said() {
    let mut stage = Stage::new();
    let folder = stage.folder.path().to_owned();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    let guarded = UnixListener::bind(&stage.path).unwrap();
    fs::set_permissions(&stage.path, fs::Permissions::from_mode(0o600)).unwrap();
    as_nobody(move |_| {
        stage.refused("Permission denied");
        drop(guarded);

        stage.path = stage.folder.path().join("another");
        let error = stage.bind(&stage.path, 0o660, Some(4321)).unwrap_err().to_string();
        assert!(error.contains("a member of socket.group"), "{error}");
        assert!(!stage.path.exists(), "what was begun is undone");

        stage.path = PathBuf::from("/ecobee-tokend-test/socket");
        let error = stage.bind(&stage.path, 0o660, None).unwrap_err().to_string();
        assert!(error.contains("cannot create the folder"), "{error}");
    });
    // Nobody could not.
    let _ = fs::remove_dir_all(folder);
}

/// The socket's owner alone, then its group too, but never anybody else, though the umask takes nothing away.
#[test]
fn the_mode_is_never_wider_than_wanted() {
    in_a_process_of_its_own("places::the_mode_is_never_wider_than_wanted", || {
        rustix::process::umask(Mode::empty());
        let stage = Stage::new();
        let done = AtomicBool::new(false);
        let seen = std::thread::scope(|scope| {
            let watcher = scope.spawn(|| {
                let mut seen = Vec::new();
                while !done.load(Ordering::Relaxed) {
                    if let Ok(found) = fs::symlink_metadata(&stage.path) {
                        let mode = found.mode() & 0o7777;
                        if !seen.contains(&mode) {
                            seen.push(mode);
                        }
                    }
                }
                seen
            });
            for _ in 0..500 {
                let bound = stage.bind(&stage.path, 0o660, Some(rustix::process::getgid().as_raw()));
                drop(bound);
            }
            done.store(true, Ordering::Relaxed);
            watcher.join().unwrap()
        });
        assert!(seen.iter().all(|mode| matches!(mode, 0o600 | 0o660)), "{seen:?}");
    });
}

#[test]
fn a_tight_umask_takes_nothing_from_the_mode() {
    in_a_process_of_its_own("places::a_tight_umask_takes_nothing_from_the_mode", || {
        rustix::process::umask(Mode::RWXG | Mode::RWXO);
        let stage = Stage::new();
        let path = stage.folder.path().join("run/socket");
        let _bound = stage.bind(&path, 0o666, None).unwrap();
        assert_eq!(mode_of(&path), 0o666);
        assert_eq!(mode_of(path.parent().unwrap()), 0o755);
    });
}

#[test]
fn an_inherited_listener_is_taken_and_its_path_stays() {
    let stage = Stage::new();
    let listener = UnixListener::bind(&stage.path).unwrap();
    let bound = stage.inherit(listener.try_clone().unwrap()).unwrap();
    // It does not block any more: with nobody there, an accept says so at once.
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    drop(bound);
    assert!(stage.path.exists(), "its path is systemd's");
}
