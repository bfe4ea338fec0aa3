//! The daemon's command line: arguments → settings → run. The only place that exits.

use std::alloc::System;
use std::ffi::OsString;
use std::fmt::{self, Write as _};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use ecobee_tokend::config::{self, ConfigError, Settings, Surroundings};
use ecobee_tokend::log::{self, LogFormat};
use ecobee_tokend::memory::{self, Locked};
use ecobee_tokend::socket::SocketError;
use ecobee_tokend::store::{Forgotten, Store};
use ecobee_tokend::supervisor::{ImportError, Imported, Outline};
use ecobee_tokend::{foreign, supervisor, systemd};
use tokio::runtime::{LocalOptions, LocalRuntime};
use zeroize::Zeroizing;
use zeroizing_alloc::ZeroAlloc;

/// Wipes what is freed, whoever freed it: hyper, rustls and serde keep tokens in buffers that no [`Zeroizing`] reaches.
#[global_allocator]
static HEAP: ZeroAlloc<System> = ZeroAlloc(System);

const USAGE: &str = "\
Keeps ecobee's tokens fresh and lends them to local scripts over a Unix socket.

Usage:
  ecobee-tokend [--config FILE] [--log-format auto|text|json|journal]
  ecobee-tokend check-config [--config FILE]   exit 0 and what a start would do, or 78 and the reason
  ecobee-tokend import [--config FILE] [--account NAME] FILE|-
                                               take over another client's grant: its file
                                               (python-ecobee-api, Home Assistant), or the bare
                                               refresh token; - is standard input
  ecobee-tokend test-notify [--config FILE]    send a test by each way of [notify]
  ecobee-tokend forget [--config FILE] NAME    delete an account's stored grant

Options:
  --config FILE        the configuration (default: /etc/ecobee-tokend/config.toml;
                       for an ordinary user $XDG_CONFIG_HOME/ecobee-tokend/config.toml)
  --log-format FORMAT  auto (the journal under systemd, else text), text, json or journal
  --account NAME       whose grant it becomes (default: the only account, or default-account)
  -h, --help           show this
  -V, --version        show the version

RUST_LOG sets the log filter, such as debug or ecobee_tokend=trace. HTTPS_PROXY, HTTP_PROXY,
ALL_PROXY and NO_PROXY are honoured, except that this machine itself is never reached by a proxy.

Exit status: 0; 2 usage; 78 configuration; 73 the store or the socket cannot be used; 1 anything else.
";

const EXIT_USAGE: u8 = 2;
const EXIT_CONFIG: u8 = 78;
const EXIT_OTHER: u8 = 1;

/// What people look for here, and where it is.
const OF_THE_CLIENT: [(&str, &str); 9] = [
    ("status", "ecobee-token status"),
    ("pin", "ecobee-token pin"),
    ("token", "ecobee-token"),
    ("header", "ecobee-token --header"),
    ("refresh", "ecobee-token refresh"),
    ("rejected", "ecobee-token rejected"),
    ("authorize", "ecobee-token authorize"),
    ("exec", "ecobee-token exec -- CMD ARGS..."),
    ("curl", "ecobee-token curl -- ARGS..."),
];

/// Threads that write to the disk or look names up come and go: none stays on an idle machine.
const IDLE_THREADS_LEAVE_AFTER: Duration = Duration::from_secs(1);

/// Enough that a disk that hangs leaves some for looking names up; few enough for a burst of saves.
const THREADS_AT_MOST: usize = 16;

/// What the command line asks for.
struct Command {
    config: Option<PathBuf>,
    log_format: LogFormat,
    deed: Deed,
}

enum Deed {
    Run,
    CheckConfig,
    Import { account: Option<String>, file: PathBuf },
    TestNotify,
    Forget(String),
    Say(String),
}

fn main() -> ExitCode {
    if let Err(error) = memory::forbid_core_files().and_then(|()| memory::forbid_core_files_of_children()) {
        remark(&format!("core files cannot be forbidden: {error}"));
    }
    match command() {
        Ok(command) => carry_out(command),
        Err(error) => {
            remark(&format!("{error}\nTry 'ecobee-tokend --help'."));
            ExitCode::from(EXIT_USAGE)
        }
    }
}

fn command() -> Result<Command, lexopt::Error> {
    use lexopt::prelude::{Long, Short, Value};
    let mut parser = lexopt::Parser::from_env();
    let mut config = None;
    let mut log_format = None;
    let mut account = None;
    let mut words: Vec<OsString> = Vec::new();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("config") => config = Some(PathBuf::from(parser.value()?)),
            Long("account") => account = Some(parser.value()?.to_string_lossy().into_owned()),
            Long("log-format") => {
                let name = parser.value()?;
                log_format = Some(LogFormat::from_name(&name.to_string_lossy()).ok_or_else(|| {
                    format!("--log-format: {} is none of auto, text, json, journal", name.to_string_lossy())
                })?);
            }
            Short('h') | Long("help") => {
                return Ok(Command {
                    config,
                    log_format: LogFormat::Auto,
                    deed: Deed::Say(USAGE.to_owned()),
                });
            }
            Short('V') | Long("version") => {
                let version = concat!("ecobee-tokend ", env!("CARGO_PKG_VERSION"), "\n").to_owned();
                return Ok(Command { config, log_format: LogFormat::Auto, deed: Deed::Say(version) });
            }
            Value(word) => {
                // At once: what follows would be called an unknown option.
                if let Some((name, line)) =
                    OF_THE_CLIENT.iter().find(|(name, _)| words.is_empty() && word == *name)
                {
                    return Err(format!("{name} is for the client to do: {line}").into());
                }
                words.push(word);
            }
            Short(_) | Long(_) => return Err(argument.unexpected()),
        }
    }
    // A file's name need not be text.
    let last = words.last().map(PathBuf::from).unwrap_or_default();
    let words: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let deed = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Deed::Run,
        ["check-config"] => Deed::CheckConfig,
        ["test-notify"] => Deed::TestNotify,
        ["import", _] => Deed::Import { account: account.take(), file: last },
        ["import"] => return Err("import: which file? Give its name, or - for standard input".into()),
        ["forget", name] => Deed::Forget(name.to_owned()),
        ["forget"] => return Err("forget: which account? Give its name".into()),
        ["check-config" | "test-notify", word, ..] | ["forget" | "import", _, word, ..] => {
            return Err(format!("superfluous argument '{word}'").into());
        }
        [first, ..] => return Err(format!("unknown command '{first}'").into()),
    };
    if log_format.is_some() && !matches!(deed, Deed::Run) {
        return Err("--log-format is for the daemon only".into());
    }
    if account.is_some() {
        return Err("--account is for import only".into());
    }
    Ok(Command { config, log_format: log_format.unwrap_or(LogFormat::Auto), deed })
}

fn carry_out(command: Command) -> ExitCode {
    let settings = || load(command.config.as_ref());
    match command.deed {
        Deed::Say(text) => {
            // A reader that has seen enough closes the pipe; that is no failure of ours.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Deed::CheckConfig => match settings() {
            Ok(settings) => check_config(settings),
            Err(error) => complain(&error, EXIT_CONFIG),
        },
        Deed::Import { account, file } => match settings() {
            Ok(settings) => import(settings, account.as_deref(), &file),
            Err(error) => complain(&error, EXIT_CONFIG),
        },
        Deed::TestNotify => match settings() {
            Ok(settings) => test_notify(settings),
            Err(error) => complain(&error, EXIT_CONFIG),
        },
        Deed::Forget(name) => match settings() {
            Ok(settings) => forget(&settings, &name),
            Err(error) => complain(&error, EXIT_CONFIG),
        },
        Deed::Run => {
            // Before anything else is opened, so that no file of ours is taken for a socket of systemd's.
            let inherited = systemd::inherited();
            match (settings(), inherited) {
                (Ok(settings), Ok(inherited)) => {
                    log::start(command.log_format);
                    run(settings, inherited)
                }
                (Err(error), _) => give_up(&error, EXIT_CONFIG),
                (Ok(_), Err(error)) => give_up(&error, SocketError::EXIT_STATUS),
            }
        }
    }
}

fn load(config: Option<&PathBuf>) -> Result<Settings, ConfigError> {
    let surroundings = Surroundings::of_this_process();
    let path = match config {
        Some(path) => path.clone(),
        None => config::default_path(&surroundings)?,
    };
    config::load(&path, &surroundings)
}

fn check_config(settings: Settings) -> ExitCode {
    let good = format!("{}: good; {} account(s)", settings.source.display(), settings.accounts.len());
    match supervisor::check(settings) {
        Ok(Outline { warnings, plan }) => {
            for warning in warnings {
                remark(&format!("warning: {warning}"));
            }
            let widest = plan.iter().map(|(what, _)| what.chars().count()).max().unwrap_or_default();
            let mut text = good;
            for (what, sentence) in plan {
                let _ = write!(
                    text,
                    "
  {what:widest$}  {sentence}"
                );
            }
            say(&text);
            ExitCode::SUCCESS
        }
        Err(error) => complain(&error, error.exit_status()),
    }
}

/// A file that anyone else can read, in words.
fn exposure(file: &File) -> Option<String> {
    let mode = file.metadata().ok().filter(fs::Metadata::is_file)?.mode() & 0o7777;
    (mode & 0o077 != 0).then(|| {
        format!("other users can read it (mode {mode:04o}), and it holds the refresh token: delete it, or chmod 600")
    })
}

/// What is in a file, or comes from standard input, up to more than any client's file has; and a warning.
fn read_foreign(file: &Path) -> io::Result<(Zeroizing<Vec<u8>>, Option<String>)> {
    let most = foreign::LONGEST as u64 + 1;
    let mut bytes = Zeroizing::default();
    if file.as_os_str() == "-" {
        io::stdin().lock().take(most).read_to_end(&mut bytes)?;
        return Ok((bytes, None));
    }
    let file = File::open(file)?;
    (&file).take(most).read_to_end(&mut bytes)?;
    Ok((bytes, exposure(&file)))
}

fn import(settings: Settings, account: Option<&str>, file: &Path) -> ExitCode {
    let name = if file.as_os_str() == "-" { "standard input".to_owned() } else { file.display().to_string() };
    let (bytes, exposed) = match read_foreign(file) {
        Ok(read) => read,
        Err(error) => return complain(&format!("{name}: cannot be read: {error}"), EXIT_OTHER),
    };
    match supervisor::import(settings, account, &bytes) {
        Ok(Imported { account, replaced, notes }) => {
            for note in notes.into_iter().chain(exposed.map(|why| format!("{name}: {why}"))) {
                remark(&format!("warning: {note}"));
            }
            if let Some(kept) = replaced {
                say(&format!("{account}: the grant that ecobee had refused is kept as {}", kept.display()));
            }
            say(&format!(
                "{account}: the refresh token is taken over; the next start of the daemon trades it for a token, \
                 without a PIN.\nNow remove ecobee from the old client or switch it off, before the daemon starts: two \
                 programs with one grant kill each other's tokens."
            ));
            ExitCode::SUCCESS
        }
        // These tell of the file; the others name their own place.
        Err(error @ (ImportError::Foreign(_) | ImportError::OtherKey { .. } | ImportError::Several)) => {
            complain(&format!("{name}: {error}"), error.exit_status())
        }
        Err(error) => complain(&error, error.exit_status()),
    }
}

fn test_notify(settings: Settings) -> ExitCode {
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&error, EXIT_OTHER),
    };
    match runtime.block_on(supervisor::test_notify(settings)) {
        Ok(reports) => {
            let mut worked = true;
            for (way, report) in reports {
                match report {
                    Ok(words) => say(&format!("{way}: {words}")),
                    Err(reason) => {
                        worked = false;
                        remark(&format!("{way}: {reason}"));
                    }
                }
            }
            if worked { ExitCode::SUCCESS } else { ExitCode::from(EXIT_OTHER) }
        }
        Err(error) => complain(&error, error.exit_status()),
    }
}

fn runtime() -> io::Result<LocalRuntime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .thread_keep_alive(IDLE_THREADS_LEAVE_AFTER)
        .max_blocking_threads(THREADS_AT_MOST)
        .build_local(LocalOptions::default())
}

fn forget(settings: &Settings, name: &str) -> ExitCode {
    let opened = Store::open(&settings.store.directory);
    let forgotten = opened.and_then(|(store, _)| Ok((store.forget(name)?, store.accounts()?)));
    match forgotten {
        Ok((Forgotten::Deleted, _)) => {
            say(&format!("{name}: the stored grant is deleted"));
            ExitCode::SUCCESS
        }
        Ok((Forgotten::NothingThere, stored)) => {
            let directory = settings.store.directory.display();
            let there = if stored.is_empty() { "nothing".to_owned() } else { stored.join(", ") };
            remark(&format!(
                "{name}: nothing is stored under this name in {directory}; what is there: {there}"
            ));
            ExitCode::from(EXIT_OTHER)
        }
        Err(error) => complain(&error, error.exit_status()),
    }
}

fn run(settings: Settings, inherited: Vec<OwnedFd>) -> ExitCode {
    match memory::lock() {
        Ok(Locked::Yes) => {}
        Ok(Locked::Limited) => tracing::debug!("the memory is not locked: LimitMEMLOCK= is not infinity"),
        Err(error) => tracing::warn!(%error, "the memory cannot be locked"),
    }
    raise_descriptor_limit();
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&error, EXIT_OTHER),
    };
    let ran = runtime.block_on(supervisor::run(settings, inherited));
    // A write that hangs in the kernel must not keep a stopping daemon.
    runtime.shutdown_timeout(Duration::from_secs(1));
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => give_up(&error, error.exit_status()),
    }
}

/// The daemon cannot run: systemd shows why, also once it has ended.
fn give_up(error: &dyn std::error::Error, status: u8) -> ExitCode {
    systemd::status(&error.to_string());
    complain(error, status)
}

/// Each client costs a descriptor, and the usual soft limit is lower than the number of clients we allow.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%error, "the limit on descriptors stays as it is");
    }
}

/// Says what was done. It is done, also where nobody can read of it: a full disk, a pipe that was closed.
fn say(words: &str) {
    let _ = io::stdout().write_all(format!("{words}\n").as_bytes());
}

/// The same beside the output.
fn remark(words: &str) {
    let _ = io::stderr().write_all(format!("ecobee-tokend: {words}\n").as_bytes());
}

fn complain(error: &dyn fmt::Display, status: u8) -> ExitCode {
    let mut text = format!("ecobee-tokend: {error}\n");
    if log::stderr_is_journal() {
        // The journal reads the priority from here: 3 is an error.
        text.insert_str(0, "<3>");
    }
    let _ = std::io::stderr().write_all(text.as_bytes());
    ExitCode::from(status)
}
