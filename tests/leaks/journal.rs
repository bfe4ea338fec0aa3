//! A journal of our own, for a daemon in a view of the file system of its own.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Command;
use std::thread::{self, JoinHandle};

use tempfile::TempDir;

/// Binds the folder that is given as `$0` to where the journal is, and runs the rest.
const BIND: &str =
    "mkdir -p /run/systemd/journal && mount --bind \"$0\" /run/systemd/journal || exit 99; exec \"$@\"";

/// Ends the reading.
const FAREWELL: &[u8] = b"nothing more is logged";

/// A socket as the journal's, and who reads it.
pub(crate) struct Journal {
    folder: TempDir,
    reading: JoinHandle<Vec<u8>>,
}

impl Journal {
    /// Listens; `None` where this user cannot make a mount namespace for it.
    pub(crate) fn open() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = UnixDatagram::bind(socket_in(&folder)).expect("it binds");
        let reading = thread::spawn(move || {
            let (mut all, mut buffer) = (Vec::new(), vec![0; 1 << 17]);
            loop {
                let length = socket.recv(&mut buffer).expect("a datagram");
                if &buffer[..length] == FAREWELL {
                    return all;
                }
                all.extend_from_slice(&buffer[..length]);
            }
        });
        let journal = Self { folder, reading };
        let around = journal.around();
        let possible = Command::new(around[0]).args(&around[1..]).arg("true").status();
        possible.is_ok_and(|status| status.success()).then_some(journal)
    }

    /// The words that run a program so that this is the journal it finds.
    pub(crate) fn around(&self) -> Vec<&str> {
        let folder = self.folder.path().to_str().expect("a plain path");
        vec!["unshare", "-m", "sh", "-c", BIND, folder]
    }

    /// All that was logged.
    pub(crate) fn end(self) -> Vec<u8> {
        let sender = UnixDatagram::unbound().expect("a socket");
        sender.send_to(FAREWELL, socket_in(&self.folder)).expect("it is read");
        self.reading.join().expect("the reader ends")
    }
}

fn socket_in(folder: &TempDir) -> PathBuf {
    folder.path().join("socket")
}
