//! The daemon's command line: arguments → settings → run. The only place that exits.

use std::ffi::OsString;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use ecobee_tokend::config::{self, ConfigError, Settings, Surroundings};
use ecobee_tokend::log::{self, LogFormat};
use ecobee_tokend::socket::SocketError;
use ecobee_tokend::store::{Forgotten, Store};
use ecobee_tokend::{supervisor, systemd};

const USAGE: &str = "\
Keeps ecobee's tokens fresh and lends them to local scripts over a Unix socket.

Usage:
  ecobee-tokend [--config FILE] [--log-format auto|text|json|journal]
  ecobee-tokend check-config [--config FILE]   exit 0, or 78 and the reason
  ecobee-tokend forget [--config FILE] NAME    delete an account's stored grant

Options:
  --config FILE        the configuration (default: /etc/ecobee-tokend/config.toml;
                       for an ordinary user $XDG_CONFIG_HOME/ecobee-tokend/config.toml)
  --log-format FORMAT  auto (the journal under systemd, else text), text, json or journal
  -h, --help           show this
  -V, --version        show the version

RUST_LOG sets the log filter, such as debug or ecobee_tokend=trace.

Exit status: 0; 2 usage; 78 configuration; 73 the store or the socket cannot be used; 1 anything else.
";

const EXIT_USAGE: u8 = 2;
const EXIT_CONFIG: u8 = 78;
const EXIT_OTHER: u8 = 1;

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
    Forget(String),
    Say(String),
}

fn main() -> ExitCode {
    match command() {
        Ok(command) => carry_out(command),
        Err(error) => {
            eprintln!("ecobee-tokend: {error}\nTry 'ecobee-tokend --help'.");
            ExitCode::from(EXIT_USAGE)
        }
    }
}

fn command() -> Result<Command, lexopt::Error> {
    use lexopt::prelude::{Long, Short, Value};
    let mut parser = lexopt::Parser::from_env();
    let mut config = None;
    let mut log_format = None;
    let mut words: Vec<OsString> = Vec::new();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("config") => config = Some(PathBuf::from(parser.value()?)),
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
            Value(word) => words.push(word),
            Short(_) | Long(_) => return Err(argument.unexpected()),
        }
    }
    let words: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let deed = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Deed::Run,
        ["check-config"] => Deed::CheckConfig,
        ["forget", name] => Deed::Forget(name.to_owned()),
        ["forget"] => return Err("forget: which account? Give its name".into()),
        ["check-config", word, ..] | ["forget", _, word, ..] => {
            return Err(format!("superfluous argument '{word}'").into());
        }
        [first, ..] => return Err(format!("unknown command '{first}'").into()),
    };
    if log_format.is_some() && !matches!(deed, Deed::Run) {
        return Err("--log-format is for the daemon only".into());
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
        Ok(warnings) => {
            for warning in warnings {
                eprintln!("ecobee-tokend: warning: {warning}");
            }
            println!("{good}");
            ExitCode::SUCCESS
        }
        Err(error) => complain(&error, error.exit_status()),
    }
}

fn forget(settings: &Settings, name: &str) -> ExitCode {
    let opened = Store::open(&settings.store.directory);
    let forgotten = opened.and_then(|(store, _)| Ok((store.forget(name)?, store.accounts()?)));
    match forgotten {
        Ok((Forgotten::Deleted, _)) => {
            println!("{name}: the stored grant is deleted");
            ExitCode::SUCCESS
        }
        Ok((Forgotten::NothingThere, stored)) => {
            let directory = settings.store.directory.display();
            let there = if stored.is_empty() { "nothing".to_owned() } else { stored.join(", ") };
            eprintln!(
                "ecobee-tokend: {name}: nothing is stored under this name in {directory}; what is there: {there}"
            );
            ExitCode::from(EXIT_OTHER)
        }
        Err(error) => complain(&error, error.exit_status()),
    }
}

fn run(settings: Settings, inherited: Vec<OwnedFd>) -> ExitCode {
    // No core file ever: it would hold the tokens.
    if let Err(error) = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
    {
        tracing::warn!(%error, "core files cannot be forbidden");
    }
    raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .thread_keep_alive(IDLE_THREADS_LEAVE_AFTER)
        .max_blocking_threads(THREADS_AT_MOST)
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return complain(&error, EXIT_OTHER),
    };
    let ran = tokio::task::LocalSet::new().block_on(&runtime, supervisor::run(settings, inherited));
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

fn complain(error: &dyn std::error::Error, status: u8) -> ExitCode {
    let mut text = format!("ecobee-tokend: {error}\n");
    if log::stderr_is_journal() {
        // The journal reads the priority from here: 3 is an error.
        text.insert_str(0, "<3>");
    }
    let _ = std::io::stderr().write_all(text.as_bytes());
    ExitCode::from(status)
}
