//! Where the socket comes from: a path, or systemd.

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::task::{Context, Poll};

use rustix::fs::{Mode, fchmod};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, listen, socket_with, sockopt,
};
use tokio::net::{UnixListener, UnixStream};

/// How many clients may wait for their accept; the kernel takes less where it is told to.
const BACKLOG: i32 = 4096;

/// The most that fits into `sockaddr_un`, the closing zero aside (unix(7)).
const LONGEST_PATH: usize = 107;

/// A socket that is listened on.
#[derive(Debug)]
pub struct Bound {
    // The order counts: as long as the listener lives, the kernel gives its inode number to no other file.
    place: Option<Place>,
    listener: UnixListener,
}

impl Bound {
    /// Where it is, as the kernel says: a path, or `@NAME` of the abstract ones.
    pub fn address(&self) -> String {
        use std::os::linux::net::SocketAddrExt;
        let address = self.listener.local_addr().map(std::os::unix::net::SocketAddr::from);
        let Ok(address) = address else { return "an unknown place".to_owned() };
        match (address.as_pathname(), address.as_abstract_name()) {
            (Some(path), _) => path.display().to_string(),
            (None, Some(name)) => format!("@{}", String::from_utf8_lossy(name)),
            (None, None) => "a socket without a name".to_owned(),
        }
    }

    /// Whether clients find it, and may wait there, also while there is no daemon.
    pub(super) fn outlives_us(&self) -> bool {
        self.place.is_none()
    }

    pub(super) fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<UnixStream>> {
        self.listener.poll_accept(context).map_ok(|(stream, _)| stream)
    }
}

/// Why a socket cannot be had.
#[derive(Debug)]
pub enum SocketError {
    /// The path is too long for a socket.
    TooLong(PathBuf),
    /// Not even the folder that would hold the socket's folder is there.
    NoFolder(PathBuf),
    /// Something that is not a socket stands at the path.
    NotASocket(PathBuf),
    /// Someone answers at the path.
    InUse(PathBuf),
    /// The system refuses a step.
    Refused {
        /// Where.
        path: PathBuf,
        /// What was tried, to be read after "cannot".
        step: &'static str,
        /// The system's reason.
        reason: io::Error,
        /// What to do about it.
        remedy: &'static str,
    },
    /// systemd handed over something that cannot be served.
    Inherited {
        /// The descriptor's number.
        descriptor: i32,
        /// What is wrong with it.
        fault: String,
    },
}

impl SocketError {
    /// The exit status that goes with all of these: the socket cannot be used.
    pub const EXIT_STATUS: u8 = 73;
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong(path) => write!(
                f,
                "{}: the path of a socket may be {LONGEST_PATH} bytes long and this one is {}; choose a shorter one",
                path.display(),
                path.as_os_str().len()
            ),
            Self::NoFolder(path) => write!(
                f,
                "{}: neither the folder for the socket nor the one above it exists; create them, or choose another path",
                path.display()
            ),
            Self::NotASocket(path) => write!(
                f,
                "{}: something that is not a socket stands there; move it away, or choose another path",
                path.display()
            ),
            Self::InUse(path) => write!(
                f,
                "{}: a living daemon listens there; stop it first, or choose another path",
                path.display()
            ),
            Self::Refused { path, step, reason, remedy } => {
                write!(f, "{}: cannot {step}: {reason}; {remedy}", path.display())
            }
            Self::Inherited { descriptor, fault } => write!(
                f,
                "descriptor {descriptor} from systemd: {fault}; let the .socket unit have ListenStream= with paths only"
            ),
        }
    }
}

impl std::error::Error for SocketError {}

/// Listens at `path`, which afterwards has exactly these permissions and, where given, this group.
///
/// At no instant can anyone connect whom `mode` and `group` do not let in: the file comes into being with the owner's
/// bits alone, gets its group, then its mode, and only then is listened at. The narrow beginning is had by `fchmod` on
/// the socket itself, from which Linux takes the mode of the file that `bind` makes. (A narrow umask would do the same,
/// but for the whole process; a temporary name and a rename need it too.)
///
/// The socket of a dead daemon is replaced, that of a living one never. The folder is created if its own folder exists.
/// Needs a tokio runtime with I/O.
pub fn bind(path: &Path, mode: u32, group: Option<u32>) -> Result<Bound, SocketError> {
    let address = match SocketAddrUnix::new(path) {
        Ok(address) if path.as_os_str().len() <= LONGEST_PATH => address,
        Ok(_) | Err(Errno::NAMETOOLONG) => return Err(SocketError::TooLong(path.to_owned())),
        Err(errno) => return Err(refused(path, "use this path", errno, "choose another")),
    };
    make_folder(path)?;
    clear_leftover(path, &address)?;

    let socket = stream_socket(path)?;
    let mode = Mode::from_raw_mode(mode);
    fchmod(&socket, mode & Mode::RWXU)
        .map_err(|errno| refused(path, "prepare the socket", errno, OWN_FOLDER))?;
    rustix::net::bind(&socket, &address)
        .map_err(|errno| refused(path, "create the socket", errno, OWN_FOLDER))?;
    let place = Place::of(path)?;
    if let Some(group) = group {
        std::os::unix::fs::lchown(path, None, Some(group)).map_err(|error| {
            let remedy = "the daemon's user must be a member of socket.group";
            refused(path, "give the socket to its group", error, remedy)
        })?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode.as_raw_mode()))
        .map_err(|error| refused(path, "set the socket's mode", error, OWN_FOLDER))?;
    listen(&socket, BACKLOG).map_err(|errno| refused(path, "listen", errno, OWN_FOLDER))?;
    let listener = UnixListener::from_std(socket.into())
        .map_err(|error| refused(path, "watch the socket", error, "see the reason"))?;
    Ok(Bound { place: Some(place), listener })
}

const OWN_FOLDER: &str = "give the daemon a folder of its own for the socket";

fn refused(
    path: &Path,
    step: &'static str,
    reason: impl Into<io::Error>,
    remedy: &'static str,
) -> SocketError {
    SocketError::Refused { path: path.to_owned(), step, reason: reason.into(), remedy }
}

fn stream_socket(path: &Path) -> Result<OwnedFd, SocketError> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
        .map_err(|errno| refused(path, "make a socket", errno, "see the reason"))
}

fn make_folder(path: &Path) -> Result<(), SocketError> {
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) else {
        return Ok(());
    };
    match fs::DirBuilder::new().mode(0o755).create(folder) {
        // The umask may have taken from the mode what the socket's group needs to get through.
        Ok(()) => fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
            .map_err(|error| refused(folder, "set the folder's mode", error, "create it yourself")),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        // Existing folders in places where nothing can be created (a read-only system) say other things.
        Err(_) if folder.is_dir() => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(SocketError::NoFolder(path.to_owned())),
        Err(error) => Err(refused(folder, "create the folder", error, "create it yourself")),
    }
}

/// Removes the socket of a daemon that is dead; anything else that stands at the path is an error.
fn clear_leftover(path: &Path, address: &SocketAddrUnix) -> Result<(), SocketError> {
    let reach = "reach what stands there";
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(refused(path, reach, error, OWN_FOLDER)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(SocketError::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    match connect(&stream_socket(path)?, address) {
        // `AGAIN`: someone listens and is behind with accepting.
        Ok(()) | Err(Errno::AGAIN) => Err(SocketError::InUse(path.to_owned())),
        Err(Errno::NOENT) => Ok(()),
        Err(Errno::CONNREFUSED) => fs::remove_file(path)
            .map_err(|error| refused(path, "remove a dead daemon's socket", error, OWN_FOLDER)),
        Err(errno) => Err(refused(path, reach, errno, "remove it if it is not in use")),
    }
}

/// The file at the path, gone with the listener unless another has taken its place.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Place {
    fn of(path: &Path) -> Result<Self, SocketError> {
        fs::symlink_metadata(path)
            .map(|found| Self { path: path.to_owned(), device: found.dev(), inode: found.ino() })
            .map_err(|error| refused(path, "find the socket again", error, OWN_FOLDER))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let still_ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|found| found.dev() == self.device && found.ino() == self.inode);
        if still_ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "the socket could not be removed");
        }
    }
}

/// Serves a socket that systemd made: a Unix stream socket that listens already. Its path is systemd's to remove.
///
/// Needs a tokio runtime with I/O.
pub fn from_inherited(socket: OwnedFd) -> Result<Bound, SocketError> {
    let descriptor = socket.as_raw_fd();
    let fault = |fault: String| SocketError::Inherited { descriptor, fault };
    check_kind(&socket).map_err(fault)?;
    ioctl_fionbio(&socket, true).map_err(|errno| fault(errno.to_string()))?;
    let listener = UnixListener::from_std(socket.into()).map_err(|error| fault(error.to_string()))?;
    Ok(Bound { place: None, listener })
}

fn check_kind(socket: impl AsFd + Copy) -> Result<(), String> {
    match sockopt::socket_domain(socket) {
        Ok(AddressFamily::UNIX) => {}
        Ok(_) => return Err("it is not a Unix socket".to_owned()),
        Err(Errno::NOTSOCK) => return Err("it is not a socket".to_owned()),
        Err(errno) => return Err(errno.to_string()),
    }
    if sockopt::socket_type(socket).map_err(|errno| errno.to_string())? != SocketType::STREAM {
        return Err("it is not a stream socket".to_owned());
    }
    if !sockopt::socket_acceptconn(socket).map_err(|errno| errno.to_string())? {
        return Err("it does not listen".to_owned());
    }
    Ok(())
}
