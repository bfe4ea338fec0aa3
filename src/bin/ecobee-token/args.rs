//! The command line: words become a [`Command`].

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use ecobee_tokend::config::{duration, is_account_name};
use ecobee_tokend::socket::LONGEST_WAIT;
use lexopt::prelude::{Long, Short, Value};

use crate::failure::{Exit, Failure};
use crate::words;

const HELP: &str = include_str!("help.txt");

/// What a token stands in, for the commands that `exec` runs.
const DEFAULT_VARIABLE: &str = "ECOBEE_TOKEN";

const COMMANDS: &str = "exec, curl, rejected, refresh, authorize, pin, status";

/// The daemon's own commands, which people look for here.
const OF_THE_DAEMON: [&str; 4] = ["check-config", "import", "forget", "test-notify"];

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) socket: Option<PathBuf>,
    pub(crate) account: Option<String>,
    pub(crate) deed: Deed,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Say(String),
    Token { terms: Terms, form: Form },
    Exec { terms: Terms, variable: String, program: OsString, arguments: Vec<OsString> },
    Curl { terms: Terms, arguments: Vec<OsString> },
    Rejected { terms: Terms, form: Form },
    Refresh { terms: Terms, form: Form },
    Authorize { terms: Terms, form: Form },
    Pin { stay: Stay, form: Form },
    Status { stay: Stay, form: Form },
}

/// On which terms a token is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) min_ttl: Option<Duration>,
    pub(crate) wait: Option<Duration>,
}

/// How the answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Plain,
    Json,
    Header,
}

/// Whether to look once or to go on looking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stay {
    Once,
    On,
}

/// The options as they came, and the name of each, so that a command can refuse those that are not for it.
#[derive(Default)]
struct Options {
    socket: Option<PathBuf>,
    account: Option<String>,
    terms: Terms,
    variable: Option<String>,
    named: Vec<&'static str>,
}

/// Reads this process's command line.
pub(crate) fn read() -> Result<Command, Failure> {
    parse(lexopt::Parser::from_env())
        .map_err(|error| Failure::new(Exit::Usage, format!("{error}\nTry 'ecobee-token --help'.")))
}

fn parse(mut parser: lexopt::Parser) -> Result<Command, lexopt::Error> {
    let mut options = Options::default();
    let mut name: Option<String> = None;
    let mut words: Vec<OsString> = Vec::new();
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => return Ok(say(HELP.to_owned())),
            Short('V') | Long("version") => {
                return Ok(say(concat!("ecobee-token ", env!("CARGO_PKG_VERSION"), "\n").to_owned()));
            }
            Long("socket") => {
                let path = PathBuf::from(parser.value()?);
                if path.as_os_str().is_empty() {
                    return Err("--socket: the path is empty".into());
                }
                options.socket = Some(path);
            }
            Long("account") => options.account = Some(account(&parser.value()?)?),
            Long("min-ttl") => {
                options.terms.min_ttl = Some(length("--min-ttl", &parser.value()?)?);
                options.named.push("--min-ttl");
            }
            // The person who asks for a PIN stays until it is entered, however long that takes.
            Long("wait") if name.as_deref() == Some("pin") => options.named.push("--wait"),
            Long("wait") => {
                let wait = length("--wait", &parser.value()?)?;
                if wait > LONGEST_WAIT {
                    return Err("--wait: an hour (1h) at most".into());
                }
                options.terms.wait = Some(wait);
                options.named.push("--wait DUR");
            }
            Long("env") => {
                options.variable = Some(variable(&parser.value()?)?);
                options.named.push("--env");
            }
            Long("json") => options.named.push("--json"),
            Long("header") => options.named.push("--header"),
            Long("watch") => options.named.push("--watch"),
            // At once: what follows would be called superfluous.
            Value(word) if name.is_none() && OF_THE_DAEMON.iter().any(|known| word == *known) => {
                let known = shown(&word);
                return Err(
                    format!("{known} is a command of the daemon's program: ecobee-tokend {known}").into()
                );
            }
            Value(word) => match name.as_deref() {
                None => name = Some(word.to_string_lossy().into_owned()),
                Some("exec" | "curl") => {
                    words.push(word);
                    words.extend(parser.raw_args()?);
                }
                Some(command) => {
                    return Err(format!("{command}: superfluous argument '{}'", shown(&word)).into());
                }
            },
            Short(_) | Long(_) if name.as_deref() == Some("curl") => {
                return Err(format!("{}; curl's own arguments stand behind --", argument.unexpected()).into());
            }
            Short(_) | Long(_) => return Err(argument.unexpected()),
        }
    }
    options.into_command(name.as_deref(), words)
}

impl Options {
    fn into_command(self, name: Option<&str>, words: Vec<OsString>) -> Result<Command, lexopt::Error> {
        let terms = self.terms;
        let stay = |option| if self.named.contains(&option) { Stay::On } else { Stay::Once };
        let form = match (self.named.contains(&"--json"), self.named.contains(&"--header")) {
            (false, false) => Form::Plain,
            (true, false) => Form::Json,
            (false, true) => Form::Header,
            (true, true) => return Err("--json and --header: one of them".into()),
        };
        let (deed, fitting): (Deed, &[&str]) = match name {
            None => (Deed::Token { terms, form }, &["--min-ttl", "--wait DUR", "--json", "--header"]),
            Some("refresh") => {
                (Deed::Refresh { terms, form }, &["--min-ttl", "--wait DUR", "--json", "--header"])
            }
            Some("rejected") => {
                (Deed::Rejected { terms, form }, &["--min-ttl", "--wait DUR", "--json", "--header"])
            }
            Some("authorize") => (Deed::Authorize { terms, form }, &["--wait DUR", "--json"]),
            Some("pin") => (Deed::Pin { stay: stay("--wait"), form }, &["--wait", "--json"]),
            Some("status") => (Deed::Status { stay: stay("--watch"), form }, &["--watch", "--json"]),
            Some("curl") if words.is_empty() => return Err("curl: what for? Give it arguments".into()),
            Some("curl") => (Deed::Curl { terms, arguments: words }, &["--min-ttl", "--wait DUR"]),
            Some("exec") => {
                let mut words = words.into_iter();
                let Some(program) = words.next() else {
                    return Err("exec: which command? Give it behind --".into());
                };
                let variable = self.variable.unwrap_or_else(|| DEFAULT_VARIABLE.to_owned());
                let deed = Deed::Exec { terms, variable, program, arguments: words.collect() };
                (deed, &["--min-ttl", "--wait DUR", "--env"])
            }
            Some(other) => {
                let other = shown(other.as_ref());
                return Err(format!("unknown command '{other}'; there are {COMMANDS}").into());
            }
        };
        match self.named.iter().find(|option| !fitting.contains(option)) {
            None => Ok(Command { socket: self.socket, account: self.account, deed }),
            Some(&"--wait DUR") if name == Some("pin") => {
                Err("pin: --wait stands behind pin, and without a length".into())
            }
            Some(option) => {
                Err(format!("{option} is not for {}", name.unwrap_or("printing the token")).into())
            }
        }
    }
}

fn say(text: String) -> Command {
    Command { socket: None, account: None, deed: Deed::Say(text) }
}

/// An account's name, as the configuration allows it: nothing else gets into a path.
fn account(value: &OsStr) -> Result<String, lexopt::Error> {
    value.to_str().filter(|name| is_account_name(name)).map(str::to_owned).ok_or_else(|| {
        format!("--account: '{}' is no name: those have 1 to 32 of a-z, 0-9 and -", shown(value)).into()
    })
}

fn length(option: &str, value: &OsStr) -> Result<Duration, lexopt::Error> {
    value.to_str().and_then(duration::parse).ok_or_else(|| {
        let bare =
            value.to_str().filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()));
        let hint = bare.map(|number| format!("; {number} seconds are {number}s")).unwrap_or_default();
        format!("{option}: '{}' is no duration such as 90s, 5m, 1h30m{hint}", shown(value)).into()
    })
}

/// A variable's name, as every shell can read it.
fn variable(value: &OsStr) -> Result<String, lexopt::Error> {
    value
        .to_str()
        .filter(|name| !name.is_empty() && !name.starts_with(|first: char| first.is_ascii_digit()))
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'))
        .map(str::to_owned)
        .ok_or_else(|| {
            format!("--env: '{}' is no variable's name: those have A-Z, a-z, 0-9 and _", shown(value)).into()
        })
}

/// The person's own words, as they can be repeated on a terminal.
fn shown(word: &OsStr) -> String {
    words::harmless(&word.to_string_lossy())
}
