//! The commands that end at once: a token printed, reported, or handed to another program.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use ecobee_tokend::ecobee::LONGEST_TOKEN;
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::{FdFlags, fcntl_setfd};
use zeroize::Zeroizing;

use crate::args::{Form, Terms};
use crate::daemon::{Daemon, Grant, is_token};
use crate::failure::{Exit, Failure};
use crate::terminal;
use crate::words::harmless;

/// Prints the token.
pub(crate) fn print_token(daemon: &Daemon, terms: Terms, form: Form) -> Result<(), Failure> {
    match form {
        Form::Plain => print_line(&daemon.token(terms)?),
        Form::Header => print_line(&daemon.header(terms)?),
        Form::Json => print_grant(&daemon.token_object(terms)?, form),
    }
}

/// Prints a token that was just made.
pub(crate) fn refresh(daemon: &Daemon, terms: Terms, form: Form) -> Result<(), Failure> {
    print_grant(&daemon.refresh(terms)?, form)
}

/// Reports the token on standard input as refused, and prints its successor.
pub(crate) fn rejected(daemon: &Daemon, terms: Terms, form: Form) -> Result<(), Failure> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        terminal::remark("paste the token that ecobee refused, then Enter and Ctrl-D");
    }
    // Two bytes more than a token and its newline: then it is too long, and no more of it need be read.
    let mut text = Zeroizing::new(Vec::with_capacity(LONGEST_TOKEN + 3));
    // A file of its own, past the buffer of `io::stdin`, in which the token would stay.
    let input = stdin.as_fd().try_clone_to_owned().map(File::from);
    input
        .and_then(|input| input.take(LONGEST_TOKEN as u64 + 3).read_to_end(&mut text))
        .map_err(|error| Failure::new(Exit::Other, format!("standard input: {error}")))?;
    let token = text.trim_ascii();
    if !is_token(token) || token.len() > LONGEST_TOKEN {
        let what = if token.is_empty() { "is empty" } else { "is no token" };
        let sentence = format!("rejected: standard input {what}; it is to be the token that ecobee refused");
        return Err(Failure::new(Exit::Usage, sentence));
    }
    print_grant(&daemon.rejected(token, terms)?, form)
}

fn print_grant(grant: &Grant, form: Form) -> Result<(), Failure> {
    match form {
        Form::Plain => print_line(&grant.token),
        Form::Header => print_line(&grant.header),
        Form::Json => terminal::print(grant.object.text.as_bytes()),
    }
}

fn print_line(text: &[u8]) -> Result<(), Failure> {
    let mut line = Zeroizing::new(Vec::with_capacity(text.len() + 1));
    line.extend_from_slice(text);
    line.push(b'\n');
    terminal::print(&line)
}

/// Becomes the program, with the token in its environment.
pub(crate) fn become_program(
    daemon: &Daemon,
    terms: Terms,
    variable: &str,
    program: &OsString,
    arguments: &[OsString],
) -> Result<(), Failure> {
    let token = daemon.token(terms)?;
    let token = OsStr::from_bytes(&token);
    Err(run(Command::new(program).args(arguments).env(variable, token), program))
}

/// Becomes curl, with the header in a pipe that only curl can read: no argument, no file, no environment shows it.
///
/// curl reads the header while it reads its arguments, and standard input stays the user's. Our argument stands first,
/// for behind the user's it could be taken for the value of one that lacks it. Only `-q` must stay before it, which
/// keeps curl from its configuration file and has no effect elsewhere.
pub(crate) fn become_curl(daemon: &Daemon, terms: Terms, arguments: &[OsString]) -> Result<(), Failure> {
    let mut line = daemon.header(terms)?;
    line.push(b'\n');
    let reader = filled_pipe(&line)
        .map_err(|error| Failure::new(Exit::Other, format!("no pipe for curl's header: {error}")))?;
    drop(line);
    let header = format!("@/dev/fd/{}", reader.as_raw_fd());
    let mut curl = Command::new("curl");
    match arguments.split_first() {
        Some((first, others)) if first == "--disable" => {
            curl.args([first.as_ref(), OsStr::new("-H"), header.as_ref()]).args(others);
        }
        Some((first, others)) if first.as_bytes().starts_with(b"-q") => {
            curl.args(["-q", "-H", &header]);
            // `-qsS` is short for `-q -sS`.
            if let Some(cluster) = first.as_bytes().get(2..).filter(|cluster| !cluster.is_empty()) {
                curl.arg(OsStr::from_bytes(&[b"-", cluster].concat()));
            }
            curl.args(others);
        }
        _ => {
            curl.args(["-H", &header]).args(arguments);
        }
    }
    Err(run(&mut curl, &"curl".into()))
}

/// The reading end of a pipe with these bytes and nothing behind them; a program that this one becomes has it too.
fn filled_pipe(bytes: &[u8]) -> io::Result<io::PipeReader> {
    let (reader, mut writer) = io::pipe()?;
    if bytes.len() > rustix::pipe::fcntl_getpipe_size(&writer)? {
        rustix::pipe::fcntl_setpipe_size(&writer, bytes.len())?;
    }
    // Nobody reads yet: if it should not fit after all, better an error than waiting for ever.
    fcntl_setfl(&writer, OFlags::NONBLOCK)?;
    writer.write_all(bytes)?;
    fcntl_setfd(&reader, FdFlags::empty())?;
    Ok(reader)
}

/// Returns only if there is no such program to become.
fn run(command: &mut Command, program: &OsString) -> Failure {
    let error = command.exec();
    let exit = if error.kind() == io::ErrorKind::NotFound { Exit::NotFound } else { Exit::CannotRun };
    let name = harmless(&program.to_string_lossy());
    let sentence = if error.kind() == io::ErrorKind::ArgumentListTooLong {
        format!(
            "{name}: its arguments and its environment are together more than this system hands over; give it fewer or \
             shorter ones (getconf ARG_MAX, ulimit -s), or let it ask for the token itself: the token alone may have \
             {} KiB",
            LONGEST_TOKEN / 1024
        )
    } else {
        format!("{name}: {error}")
    };
    Failure::new(exit, sentence)
}
