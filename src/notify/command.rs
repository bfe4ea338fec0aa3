//! A program of the user's choice. No shell is involved.
//!
//! It runs in a process group of its own, and one that takes too long is killed with its group. **A child that has made a
//! session of its own (`setsid`) is not reached**: it wanted to live on. Where systemd runs the daemon, it ends with it.

use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use futures_util::future::{Either, join3, select};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command as Process};
use tokio::time::timeout;

use super::message::Parcel;
use super::{Again, Delivery};
use crate::quote::quote;

/// It is killed then, with all that it has started.
const LONGEST: Duration = Duration::from_secs(30);

/// What it has said at its end is waited for so long: a child of its own may hold the pipe open.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// So much of what it says is kept, of each of its outputs.
const KEPT: usize = 4096;

/// What our own environment holds that is none of its business: systemd's words to us alone.
const OURS: [&str; 13] = [
    "CREDENTIALS_DIRECTORY",
    "FDSTORE",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "LISTEN_FDNAMES",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_PIDFDID",
    "MAINPID",
    "NOTIFY_SOCKET",
    "SYSTEMD_EXEC_PID",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
];

/// A program and its arguments.
pub struct Command {
    program: String,
    arguments: Vec<String>,
}

impl Command {
    /// `argv`: the program's path, and its arguments. `None` if it is empty.
    pub fn new(argv: &[String]) -> Option<Self> {
        let (program, arguments) = argv.split_first()?;
        Some(Self { program: program.clone(), arguments: arguments.to_vec() })
    }

    pub(super) async fn deliver(&self, parcel: &Parcel) -> Delivery {
        let never = |reason| Delivery::Failed { reason, again: Again::Never };
        let mut group = match self.start(parcel) {
            Ok(group) => group,
            Err(error) => return never(format!("cannot be run: {error}")),
        };
        let mut said = [Vec::new(), Vec::new()];
        let ended = timeout(LONGEST, group.talk(parcel.json(), &mut said)).await;
        let said = said.map(|words| quote(&String::from_utf8_lossy(&words), &[]));
        for words in said.iter().filter(|words| !words.is_empty()) {
            tracing::debug!("{self} said: {words}");
        }
        match ended {
            Ok(Ok(status)) if status.success() => Delivery::Told("done".to_owned()),
            Ok(Ok(status)) => {
                let [_, complaint] = said;
                let colon = if complaint.is_empty() { "" } else { ": " };
                never(format!("{}{colon}{complaint}", in_words(status)))
            }
            Ok(Err(error)) => never(format!("its end was missed: {error}")),
            Err(_) => {
                group.kill().await;
                never(format!("took longer than {} s and was killed", LONGEST.as_secs()))
            }
        }
    }

    fn start(&self, parcel: &Parcel) -> io::Result<Group> {
        let mut process = Process::new(&self.program);
        process
            .args(&self.arguments)
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for name in OURS {
            process.env_remove(name);
        }
        for (name, value) in facts(parcel) {
            match value {
                // No environment can carry the character that ends a value.
                Some(value) => process.env(name, value.replace('\0', "")),
                None => process.env_remove(name),
            };
        }
        Ok(Group { child: process.spawn()? })
    }
}

fn facts(parcel: &Parcel) -> [(&'static str, Option<String>); 11] {
    let facts = &parcel.facts;
    [
        ("ECOBEE_TOKEND_TEXT", Some(parcel.text.clone())),
        ("ECOBEE_TOKEND_EVENT", Some(parcel.event.name().to_owned())),
        ("ECOBEE_TOKEND_ACCOUNT", facts.account.clone()),
        ("ECOBEE_TOKEND_PIN", facts.pin.clone()),
        ("ECOBEE_TOKEND_ENTER_AT", parcel.enter_at.map(str::to_owned)),
        ("ECOBEE_TOKEND_EXPIRES_AT", facts.expires_at.clone()),
        ("ECOBEE_TOKEND_EXPIRES_IN", facts.expires_in.map(|seconds| seconds.to_string())),
        ("ECOBEE_TOKEND_REASON", facts.reason.clone()),
        ("ECOBEE_TOKEND_COUNT", parcel.count.map(|count| count.to_string())),
        ("ECOBEE_TOKEND_HOST", Some(parcel.host.clone())),
        ("ECOBEE_TOKEND_VERSION", Some(parcel.version.to_owned())),
    ]
}

/// A running program in a process group of its own, which does not outlive this.
struct Group {
    child: Child,
}

impl Group {
    /// Gives it its input, hears it out, and waits for its end.
    async fn talk(&mut self, input: Vec<u8>, said: &mut [Vec<u8>; 2]) -> io::Result<ExitStatus> {
        let (stdin, stdout, stderr) =
            (self.child.stdin.take(), self.child.stdout.take(), self.child.stderr.take());
        let feed = async {
            if let Some(mut stdin) = stdin {
                // A program may well have no interest in it.
                let _ = stdin.write_all(&input).await;
            }
        };
        let [out, err] = said;
        let chat = pin!(join3(feed, keep(stdout, out), keep(stderr, err)));
        let end = pin!(self.child.wait());
        match select(end, chat).await {
            Either::Left((status, chat)) => {
                let _ = timeout(LAST_WORDS, chat).await;
                status
            }
            Either::Right((_, end)) => end.await,
        }
    }

    async fn kill(&mut self) {
        self.signal();
        let _ = self.child.wait().await;
    }

    fn signal(&self) {
        // Nobody else can have this number: it is ours until its end is fetched, and then there is none.
        let pid = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        if let Some(pid) = pid
            && let Err(error) = kill_process_group(pid, Signal::KILL)
        {
            tracing::debug!(%error, "a command could not be killed");
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal();
    }
}

/// Reads to the end, and keeps the beginning.
async fn keep(stream: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut stream) = stream else { return };
    let mut piece = [0; 1024];
    while let Ok(length @ 1..) = stream.read(&mut piece).await {
        let room = KEPT.saturating_sub(kept.len()).min(length);
        kept.extend_from_slice(&piece[..room]);
    }
}

fn in_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with status {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "command {}", self.program)
    }
}
