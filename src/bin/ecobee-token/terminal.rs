//! Standard output and standard error: what was printed, was printed.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use crate::failure::{Exit, Failure};

/// How standard output may be written on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Style {
    /// Whether text may move: a terminal that can.
    pub(crate) moving: bool,
    /// Whether it may have colours.
    pub(crate) colour: bool,
}

impl Style {
    /// As the terminal, `$TERM` and `$NO_COLOR` (no-color.org) want it.
    pub(crate) fn of_stdout() -> Self {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let moving = io::stdout().is_terminal() && set("TERM").is_some_and(|kind| kind != "dumb");
        Self { moving, colour: moving && set("NO_COLOR").is_none() }
    }

    /// The text in a colour (an SGR parameter), where colours are wanted.
    pub(crate) fn paint(self, colour: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{colour}m{text}\x1b[m") } else { text.to_owned() }
    }
}

/// Width and height of the terminal.
pub(crate) fn size() -> (usize, usize) {
    let found = rustix::termios::tcgetwinsize(io::stdout()).ok();
    found
        .map(|size| (usize::from(size.ws_col), usize::from(size.ws_row)))
        .filter(|(width, height)| *width > 0 && *height > 0)
        .unwrap_or((80, 24))
}

/// Writes all of it at once, past the buffer of the standard library, in which a token would stay.
pub(crate) fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut left = bytes;
    while !left.is_empty() {
        match rustix::io::write(io::stdout(), left) {
            Ok(written) => left = left.get(written..).unwrap_or_default(),
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::PIPE) => end_as_a_broken_pipe_does(),
            Err(error) => {
                let error = io::Error::from(error);
                return Err(Failure::new(Exit::Other, format!("standard output: {error}")));
            }
        }
    }
    Ok(())
}

/// The reader has seen enough: that ends a Unix tool without a word. Rust's start-up code has had the signal ignored.
fn end_as_a_broken_pipe_does() -> ! {
    let _ = signal_hook::low_level::emulate_default_handler(signal_hook::consts::SIGPIPE);
    std::process::abort()
}

/// Says something beside the output. Whoever cannot be told is not told.
pub(crate) fn remark(words: &str) {
    let _ = io::stderr().write_all(format!("ecobee-token: {words}\n").as_bytes());
}

/// Says why, and gives the status for it.
pub(crate) fn complain(failure: &Failure) -> ExitCode {
    remark(&failure.to_string());
    failure.exit.into()
}
