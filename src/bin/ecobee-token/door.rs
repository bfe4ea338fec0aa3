//! The way to the daemon: which socket, and what to say when nobody opens.

use std::env;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ecobee_tokend::config::{OWN_SOCKET, SYSTEM_SOCKET};
use ecobee_tokend::people;
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use crate::failure::{Exit, Failure};
use crate::words::harmless;

const VARIABLE: &str = "ECOBEE_TOKEND_SOCKET";

/// Where the daemon may be found.
#[derive(Debug)]
pub(crate) struct Door {
    places: Vec<PathBuf>,
}

/// A connection whose answer must be there at a certain moment.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) stream: UnixStream,
    pub(crate) path: PathBuf,
    deadline: Instant,
}

impl Door {
    /// `--socket`, else `$ECOBEE_TOKEND_SOCKET`, else the user's own daemon, else the system's.
    pub(crate) fn find(told: Option<PathBuf>) -> Self {
        let of_environment = || env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
        if let Some(path) = told.or_else(of_environment) {
            return Self { places: vec![path] };
        }
        let runtime_dir = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
        let own = runtime_dir.map(|folder| folder.join(OWN_SOCKET));
        Self { places: own.into_iter().chain([PathBuf::from(SYSTEM_SOCKET)]).collect() }
    }

    /// Connects to the first socket that exists. All that is then said over the line must be said within `patience`.
    pub(crate) fn open(&self, patience: Duration) -> Result<Line, Failure> {
        let deadline = Instant::now() + patience;
        let last = self.places.len().saturating_sub(1);
        for (place, path) in self.places.iter().enumerate() {
            match call(path, patience) {
                Ok(stream) => return Ok(Line { stream, path: path.clone(), deadline }),
                Err(Errno::NOENT | Errno::NOTDIR) => {}
                // Whoever became another user with `su` still has the runtime folder of the first.
                Err(Errno::ACCESS) if place < last && fs::metadata(path).is_err() => {}
                Err(error) => return Err(closed(path, error)),
            }
        }
        Err(self.nowhere())
    }

    fn nowhere(&self) -> Failure {
        let what_to_do = format!("start ecobee-tokend, or name its socket with --socket or ${VARIABLE}");
        let sentence = match &self.places[..] {
            [one] => format!("no daemon: there is no {}; {what_to_do}", shown(one)),
            places => {
                let places = places.iter().map(|path| shown(path)).collect::<Vec<_>>().join(" nor ");
                format!("no daemon: there is neither {places}; {what_to_do}")
            }
        };
        Failure::new(Exit::NoDaemon, sentence)
    }
}

/// A connection: not the standard library's way, which would wait for ever at a daemon that accepts nobody.
fn call(path: &Path, patience: Duration) -> Result<UnixStream, Errno> {
    let address = SocketAddrUnix::new(path)?;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&socket, Timeout::Send, Some(patience))?;
    loop {
        match connect(&socket, &address) {
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
            Ok(()) => return Ok(UnixStream::from(socket)),
        }
    }
}

impl Line {
    /// What is still to be said may take so long from now on.
    pub(crate) fn grant(&mut self, patience: Duration) {
        self.deadline = Instant::now() + patience;
    }
}

impl Read for &Line {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        (&self.stream).read(room)
    }
}

fn shown(path: &Path) -> String {
    harmless(&path.to_string_lossy())
}

/// Why nobody opens, and what to do.
fn closed(path: &Path, error: Errno) -> Failure {
    let at = shown(path);
    match error {
        Errno::CONNREFUSED => Failure::new(
            Exit::NoDaemon,
            format!("no daemon: nobody listens at {at} any more; start ecobee-tokend, or see why it ended"),
        ),
        Errno::ACCESS | Errno::PERM => Failure::new(Exit::NotAllowed, not_allowed(path)),
        Errno::AGAIN => Failure::new(
            Exit::NotNow,
            format!("no token just now: the daemon at {at} accepts no connection; it may hang"),
        ),
        Errno::NAMETOOLONG => {
            Failure::new(Exit::Usage, format!("{at}: a socket's path is 107 bytes long at most"))
        }
        Errno::PROTOTYPE => Failure::new(
            Exit::NoDaemon,
            format!(
                "no daemon: what is at {at} is a socket of another kind; name ecobee-tokend's with --socket"
            ),
        ),
        other => Failure::new(Exit::Other, format!("{at}: {}", io::Error::from(other))),
    }
}

/// Which group would be let in, as far as the modes along the path tell.
fn not_allowed(path: &Path) -> String {
    const WRITE: u32 = 0o020;
    const SEARCH: u32 = 0o010;
    let at = shown(path);
    // Where the socket cannot be looked at, the nearest folder that can be is the one that lets nobody through.
    let barrier = path.ancestors().find_map(|place| fs::metadata(place).ok().map(|found| (place, found)));
    let Some((place, found)) = barrier else {
        return format!("not allowed to connect to {at}");
    };
    let (what, needed) = if place == path {
        (format!("not allowed to connect to {at}"), WRITE)
    } else {
        (format!("not allowed to reach {at}: {} is closed to you", shown(place)), SEARCH)
    };
    if found.mode() & needed == 0 {
        let owner = name_or_number(people::name_of_user(found.uid()), found.uid());
        return format!(
            "{what}: only the user {owner} may; the daemon's [socket] group and mode let others in"
        );
    }
    let group = name_or_number(people::name_of_group(found.gid()), found.gid());
    let uid = rustix::process::geteuid().as_raw();
    let is_member = people::groups_of(uid).is_some_and(|groups| groups.contains(&found.gid()));
    match people::name_of_user(uid) {
        Some(_) if is_member => format!(
            "{what}: you joined the group {group} after you logged in; log in again, or run: newgrp {group}"
        ),
        Some(me) => format!(
            "{what}: join the group {group} (as root: usermod --append --groups {group} {}), then log in again",
            harmless(&me)
        ),
        None => format!("{what}: join the group {group}"),
    }
}

fn name_or_number(name: Option<String>, number: u32) -> String {
    name.map_or_else(|| number.to_string(), |name| harmless(&name))
}
