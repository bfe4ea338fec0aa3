//! `ecobee-token`, the client: small and instant. It asks the daemon over its socket, prints what a script wants, and
//! says what a person is to do. The only place that exits.
//!
//! ```text
//! args       the command line
//! door       which socket; what to say when nobody opens
//! http       one request, one answer
//! json       what stands in an answer
//! daemon     what is asked, and what the answers mean
//! errands    a token printed, reported, or handed to another program
//! pin        a PIN shown and followed until it is entered
//! status     how the accounts are, and what becomes of them
//! table      the same in rows and columns
//! letters    large letters
//! calendar   the moments that the daemon writes
//! terminal   standard output and standard error
//! words      text of others made harmless
//! failure    exit statuses
//! ```
//!
//! **No token is ever an argument of a program**, ours or curl's. **Nothing from the socket reaches a terminal unread.**

mod args;
mod calendar;
mod daemon;
mod door;
mod errands;
mod failure;
mod http;
mod json;
mod letters;
mod pin;
mod status;
mod table;
mod terminal;
mod words;

use std::alloc::System;
use std::process::ExitCode;

use ecobee_tokend::memory;
use zeroizing_alloc::ZeroAlloc;

use args::{Command, Deed};
use daemon::Daemon;
use door::Door;
use failure::Failure;

/// Wipes what is freed, whoever freed it.
#[global_allocator]
static HEAP: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    // Nothing comes of it where it fails but a core file, if this should crash.
    let _ = memory::forbid_core_files();
    match args::read().and_then(carry_out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => terminal::complain(&failure),
    }
}

fn carry_out(command: Command) -> Result<(), Failure> {
    let daemon = Daemon::new(Door::find(command.socket), command.account);
    match command.deed {
        Deed::Say(text) => terminal::print(text.as_bytes()),
        Deed::Token { terms, form } => errands::print_token(&daemon, terms, form),
        Deed::Rejected { terms, form } => errands::rejected(&daemon, terms, form),
        Deed::Refresh { terms, form } => errands::refresh(&daemon, terms, form),
        Deed::Exec { terms, variable, program, arguments } => {
            errands::become_program(&daemon, terms, &variable, &program, &arguments)
        }
        Deed::Curl { terms, arguments } => errands::become_curl(&daemon, terms, &arguments),
        Deed::Authorize { terms, form } => pin::authorize(&daemon, terms, form),
        Deed::Pin { stay, form } => pin::show(&daemon, stay, form),
        Deed::Status { stay, form } => status::show(&daemon, stay, form),
    }
}
