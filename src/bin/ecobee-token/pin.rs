//! A PIN, shown to the person who is to enter it, and followed until that has happened.

use std::thread;
use std::time::{Duration, Instant};

use crate::args::{Form, Stay, Terms};
use crate::daemon::{Daemon, Document, Pin, PinDesk};
use crate::failure::{Exit, Failure};
use crate::letters;
use crate::terminal::{self, Style};
use crate::words::{Length, harmless};

/// How often the daemon is asked: a countdown is to move each second.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A daemon that restarts is back by then.
const LOST_FOR: Duration = Duration::from_secs(60);

const BOLD: &str = "1";

/// The PIN and what is said of it stand a little way in.
const MARGIN: &str = "  ";

/// Asks ecobee for a new PIN and shows it.
pub(crate) fn authorize(daemon: &Daemon, terms: Terms, form: Form) -> Result<(), Failure> {
    let (pin, document) = daemon.authorize(terms)?;
    Screen::new(form).present(&pin, &document)
}

/// Shows the PIN that waits; `Stay::On`: and its successors, until there is a token.
pub(crate) fn show(daemon: &Daemon, stay: Stay, form: Form) -> Result<(), Failure> {
    let mut screen = Screen::new(form);
    match (stay, look(daemon)?) {
        (_, Sight::Token) => {
            terminal::remark("no PIN is needed: there is a living token");
            Ok(())
        }
        (Stay::Once, Sight::Pin(pin, document)) => screen.present(&pin, &document),
        (Stay::Once, Sight::Neither(why)) => Err(why),
        (Stay::On, sight) => follow(daemon, &mut screen, sight),
    }
}

/// What there is to see.
enum Sight {
    /// A PIN waits to be entered, be there a token or not.
    Pin(Pin, Document),
    /// No PIN waits, and there is a living token.
    Token,
    /// There is neither just now.
    Neither(Failure),
}

fn look(daemon: &Daemon) -> Result<Sight, Failure> {
    match daemon.pin()? {
        PinDesk::Waiting(pin, document) => Ok(Sight::Pin(pin, document)),
        // How it is now: whoever looks does not want to wait for a refresh that is under way.
        PinDesk::Empty => match daemon.token(Terms { wait: Some(Duration::ZERO), ..Terms::default() }) {
            Ok(_) => Ok(Sight::Token),
            // Of the two answers the second is the newer one: a PIN may have come in between.
            Err(why) if matches!(why.exit, Exit::NotNow | Exit::PinWanted) => Ok(Sight::Neither(why)),
            Err(why) => Err(why),
        },
    }
}

fn follow(daemon: &Daemon, screen: &mut Screen, first: Sight) -> Result<(), Failure> {
    let mut sight: Result<Sight, Failure> = Ok(first);
    let mut shown: Option<String> = None;
    let mut answered_at = Instant::now();
    loop {
        match sight {
            Ok(Sight::Token) => {
                return screen.note("There is a token now. Nothing more is to be done.");
            }
            Ok(Sight::Pin(pin, document)) => {
                answered_at = Instant::now();
                if shown.as_ref() != Some(&pin.letters) {
                    if shown.is_some() {
                        screen.note("That PIN is over; here is the next.")?;
                    }
                    screen.present(&pin, &document)?;
                    shown = Some(pin.letters.clone());
                }
                let left = Length(Duration::from_secs(pin.expires_in));
                screen.progress(&format!("Waiting until it is entered ... {left} left"))?;
            }
            Ok(Sight::Neither(why)) => {
                answered_at = Instant::now();
                screen.change(&why.to_string())?;
            }
            Err(why)
                if matches!(why.exit, Exit::NoDaemon | Exit::NotNow) && answered_at.elapsed() < LOST_FOR =>
            {
                screen.change(&why.to_string())?;
            }
            Err(why) => {
                screen.clear()?;
                return Err(why);
            }
        }
        thread::sleep(LOOK_EVERY);
        sight = look(daemon);
    }
}

/// Where it is shown: a terminal on which text may move, lines in a pipe, or JSON for a program.
struct Screen {
    style: Style,
    form: Form,
    /// The line that stands on the terminal without an end.
    open_line: bool,
    /// What was last said of a change.
    said: String,
}

impl Screen {
    fn new(form: Form) -> Self {
        Self { style: Style::of_stdout(), form, open_line: false, said: String::new() }
    }

    fn is_moving(&self) -> bool {
        self.style.moving && self.form == Form::Plain
    }

    /// The PIN itself, where to enter it, and for how long it works.
    fn present(&mut self, pin: &Pin, document: &Document) -> Result<(), Failure> {
        self.clear()?;
        self.said.clear();
        if self.form == Form::Json {
            return terminal::print(document.text.as_bytes());
        }
        if !self.is_moving() {
            return terminal::print(format!("{}\n", pin.errand()).as_bytes());
        }
        let (width, _) = terminal::size();
        let (plain, place) = (harmless(&pin.letters), harmless(&pin.enter_at));
        let left = Length(Duration::from_secs(pin.expires_in));
        let mut rows = vec![String::new()];
        let large = letters::large(&plain, width.saturating_sub(MARGIN.len())).unwrap_or_default();
        rows.extend(large.iter().map(|row| format!("{MARGIN}{}", self.style.paint(BOLD, row))));
        rows.extend([
            String::new(),
            format!("{MARGIN}PIN       {}", self.style.paint(BOLD, &plain)),
            format!("{MARGIN}Enter it  at {place}"),
            format!("{MARGIN}It works  for {left}"),
            String::new(),
        ]);
        terminal::print((rows.join("\n") + "\n").as_bytes())
    }

    /// What changes from second to second: for terminals only.
    fn progress(&mut self, words: &str) -> Result<(), Failure> {
        if !self.is_moving() {
            return Ok(());
        }
        let (width, _) = terminal::size();
        let line: String = words.chars().take(width.saturating_sub(1)).collect();
        self.open_line = true;
        terminal::print(format!("\r\x1b[K{line}").as_bytes())
    }

    /// What changes seldom: once, unless it moves anyway.
    fn change(&mut self, words: &str) -> Result<(), Failure> {
        if self.is_moving() {
            return self.progress(words);
        }
        if self.said != words {
            words.clone_into(&mut self.said);
            return self.note(words);
        }
        Ok(())
    }

    /// A line that stays.
    fn note(&mut self, words: &str) -> Result<(), Failure> {
        self.clear()?;
        if self.form == Form::Json {
            terminal::remark(words);
            return Ok(());
        }
        terminal::print(format!("{words}\n").as_bytes())
    }

    fn clear(&mut self) -> Result<(), Failure> {
        if std::mem::take(&mut self.open_line) { terminal::print(b"\r\x1b[K") } else { Ok(()) }
    }
}
