//! The daemon's command line: arguments → settings → run. The only place that exits.

use std::alloc::System;
use std::ffi::OsString;
use std::fmt::{self, Write as _};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use ecobee_tokend::config::{self, ConfigError, Settings, Surroundings};
use ecobee_tokend::log::{self, LogFormat};
use ecobee_tokend::memory::{self, Locked};
use ecobee_tokend::socket::SocketError;
use ecobee_tokend::store::{Forgotten, Store, StoreError};
use ecobee_tokend::supervisor::{ImportError, Imported, Outline, RunError};
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

/// The store's write, and the look-ups of eight calls to ecobee, of notices and of clients' groups. One that finds no
/// thread waits for the next.
const THREADS_AT_MOST: usize = 16;

/// A write that hangs in the kernel must not keep a stopping daemon.
const HANGING_WRITES_GET: Duration = Duration::from_secs(1);

/// What the command line asks for.
struct Command {
    config: Option<PathBuf>,
    deed: Deed,
}

enum Deed {
    Run(LogFormat),
    CheckConfig,
    Import { account: Option<String>, file: PathBuf },
    TestNotify,
    Forget(String),
    Say(&'static str),
}

/// Why nothing, or not all, was done, and the exit status that says so.
struct Failure {
    words: String,
    status: u8,
}

impl Failure {
    fn new(status: u8, words: impl fmt::Display) -> Self {
        Self { words: words.to_string(), status }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(ConfigError::EXIT_STATUS, error)
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        Self::new(error.exit_status(), error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::new(error.exit_status(), error)
    }
}

fn main() -> ExitCode {
    if let Err(error) = memory::forbid_core_files().and_then(|()| memory::forbid_core_files_of_children()) {
        remark(&format!(
            "core files cannot be forbidden, so that a crash would leave tokens on the disk: {error}"
        ));
    }
    let command =
        command().map_err(|error| Failure::new(EXIT_USAGE, format!("{error}\nTry 'ecobee-tokend --help'.")));
    match command.and_then(carry_out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { words, status }) => {
            complain(&words);
            ExitCode::from(status)
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
                let given = parser.value()?;
                let Some((_, format)) = LogFormat::NAMED.iter().find(|(name, _)| given == *name) else {
                    let names = LogFormat::NAMED.map(|(name, _)| name).join(", ");
                    return Err(
                        format!("--log-format: {} is none of {names}", given.to_string_lossy()).into()
                    );
                };
                log_format = Some(*format);
            }
            Short('h') | Long("help") => return Ok(Command { config, deed: Deed::Say(USAGE) }),
            Short('V') | Long("version") => {
                let version = concat!("ecobee-tokend ", env!("CARGO_PKG_VERSION"), "\n");
                return Ok(Command { config, deed: Deed::Say(version) });
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
        [] => Deed::Run(log_format.unwrap_or(LogFormat::Auto)),
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
    if log_format.is_some() && !matches!(deed, Deed::Run(_)) {
        return Err("--log-format is for the daemon itself, which has no command".into());
    }
    if account.is_some() {
        return Err("--account is for import only".into());
    }
    Ok(Command { config, deed })
}

fn carry_out(command: Command) -> Result<(), Failure> {
    let config = command.config.as_deref();
    match command.deed {
        Deed::Say(text) => {
            say(text.trim_end());
            Ok(())
        }
        // systemd shows why, also once it has ended.
        Deed::Run(log_format) => {
            run(config, log_format).inspect_err(|failure| systemd::status(&failure.words))
        }
        Deed::CheckConfig => check_config(load(config)?),
        Deed::Import { account, file } => import(load(config)?, account.as_deref(), &file),
        Deed::TestNotify => test_notify(load(config)?),
        Deed::Forget(name) => forget(&load(config)?, &name),
    }
}

fn load(config: Option<&Path>) -> Result<Settings, ConfigError> {
    let surroundings = Surroundings::of_this_process();
    match config {
        Some(path) => config::load(path, &surroundings),
        None => config::load(&config::default_path(&surroundings)?, &surroundings),
    }
}

fn check_config(settings: Settings) -> Result<(), Failure> {
    let mut text = format!("{}: good; {} account(s)", settings.source.display(), settings.accounts.len());
    let Outline { warnings, plan } = supervisor::check(settings)?;
    for warning in warnings {
        remark(&format!("warning: {warning}"));
    }
    let widest = plan.iter().map(|(what, _)| what.chars().count()).max().unwrap_or_default();
    for (what, sentence) in plan {
        let _ = write!(text, "\n  {what:widest$}  {sentence}");
    }
    say(&text);
    Ok(())
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

fn import(settings: Settings, account: Option<&str>, file: &Path) -> Result<(), Failure> {
    let name = if file.as_os_str() == "-" { "standard input".to_owned() } else { file.display().to_string() };
    let (bytes, exposed) = read_foreign(file)
        .map_err(|error| Failure::new(EXIT_OTHER, format!("{name}: cannot be read: {error}")))?;
    let Imported { account, replaced, notes } =
        supervisor::import(settings, account, &bytes).map_err(|error| {
            // These tell of the file; the others name their own place.
            let of_file = matches!(
                error,
                ImportError::Foreign(_) | ImportError::OtherKey { .. } | ImportError::Several
            );
            let place = if of_file { format!("{name}: ") } else { String::new() };
            Failure::new(error.exit_status(), format!("{place}{error}"))
        })?;
    for note in notes.into_iter().chain(exposed.map(|why| format!("{name}: {why}"))) {
        remark(&format!("warning: {note}"));
    }
    if let Some(kept) = replaced {
        say(&format!("{account}: the grant that ecobee had refused is kept as {}", kept.display()));
    }
    say(&format!(
        "{account}: the refresh token is taken over; the next start of the daemon trades it for a token, without a \
         PIN.\nNow remove ecobee from the old client or switch it off, before the daemon starts: two programs with one \
         grant kill each other's tokens."
    ));
    Ok(())
}

fn test_notify(settings: Settings) -> Result<(), Failure> {
    let mut failed = 0;
    for (way, report) in runtime()?.block_on(supervisor::test_notify(settings))? {
        match report {
            Ok(words) => say(&format!("{way}: {words}")),
            Err(reason) => {
                failed += 1;
                remark(&format!("{way}: {reason}"));
            }
        }
    }
    if failed == 0 {
        return Ok(());
    }
    Err(Failure::new(EXIT_OTHER, "not every way works; mend [notify], or what it leads to, and try again"))
}

fn runtime() -> Result<LocalRuntime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .thread_keep_alive(IDLE_THREADS_LEAVE_AFTER)
        .max_blocking_threads(THREADS_AT_MOST)
        .build_local(LocalOptions::default())
        .map_err(|error| Failure::new(EXIT_OTHER, format!("the event loop cannot be made: {error}")))
}

fn forget(settings: &Settings, name: &str) -> Result<(), Failure> {
    let (store, notes) = Store::open(&settings.store.directory)?;
    for note in notes.iter().filter(|note| note.is_warning()) {
        remark(&format!("warning: {note}"));
    }
    match store.forget(name)? {
        Forgotten::Deleted => {
            say(&format!("{name}: the stored grant is deleted"));
            Ok(())
        }
        Forgotten::NothingThere => {
            let directory = settings.store.directory.display();
            let stored = store.accounts()?;
            let there = if stored.is_empty() { "nothing".to_owned() } else { stored.join(", ") };
            Err(Failure::new(
                EXIT_OTHER,
                format!("{name}: nothing is stored under this name in {directory}; what is there: {there}"),
            ))
        }
    }
}

fn run(config: Option<&Path>, log_format: LogFormat) -> Result<(), Failure> {
    // Before anything else is opened, so that no file of ours is taken for a socket of systemd's.
    let inherited = systemd::inherited();
    let settings = load(config)?;
    let inherited = inherited.map_err(|error| Failure::new(SocketError::EXIT_STATUS, error))?;
    log::start(log_format);
    match memory::lock() {
        Ok(Locked::Yes) => {}
        Ok(Locked::Limited) => tracing::debug!("the memory is not locked: LimitMEMLOCK= is not infinity"),
        Err(error) => tracing::warn!(%error, "the memory cannot be locked, so that tokens may get into swap"),
    }
    raise_descriptor_limit();
    let runtime = runtime()?;
    let ran = runtime.block_on(supervisor::run(settings, inherited));
    runtime.shutdown_timeout(HANGING_WRITES_GET);
    Ok(ran?)
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

/// The same of what ends this program.
fn complain(words: &str) {
    // The journal reads the priority from here: 3 is an error.
    let priority = if log::stderr_is_journal() { "<3>" } else { "" };
    let _ = io::stderr().write_all(format!("{priority}ecobee-tokend: {words}\n").as_bytes());
}
