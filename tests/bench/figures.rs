//! What the daemon costs, measured beside yardsticks that cost as little as can be.
//!
//! `cargo bench` prints a table and writes it as JSON; `cargo bench -- --quick` does it roughly, `-- path idle` in part.
//! The real daemon serves, a simulator in this process is its ecobee, and the yardsticks are this program again, as
//! processes of their own.
//!
//! ```text
//! path      requests: how many, how long, how many calls, allocations and instructions each
//! startup   the client beside `true` and curl; the daemon from exec to READY=1; how large both are
//! idle      memory, threads and wake-ups while nothing happens
//! refresh   what one costs, and what readers notice of it
//! scale     many accounts, many clients, many refreshes at once
//! ```
//!
//! **What is compared is measured in turns**: machines drift by more than the differences that are looked for. A ratio is
//! the median over the rounds, each round's two sides having run one after the other.
//! **What cannot be measured here is said**: a row says why it is skipped, and is not left out.

#![allow(clippy::cast_precision_loss, reason = "no count here has more than fifty-two bits")]

#[allow(dead_code, reason = "tests/exact.rs uses the rest: a stripped program has no names of functions")]
mod counting;
#[path = "../harness/mod.rs"]
mod harness;
mod household;
mod idle;
mod load;
mod path;
mod process;
mod refresh;
mod scale;
mod startup;
mod table;
mod turns;
mod yardstick;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use table::Table;

const USAGE: &str = "usage: cargo bench -- [--quick] [--json FILE] [path|startup|idle|refresh|scale]...";

/// How long it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Minutes: numbers to keep.
    Thorough,
    /// Numbers that tell whether something is badly wrong.
    Quick,
}

impl Pace {
    /// One of two.
    pub(crate) fn pick<T>(self, thorough: T, quick: T) -> T {
        match self {
            Self::Thorough => thorough,
            Self::Quick => quick,
        }
    }
}

/// A part of the table: its name, and what measures it.
type Part = (&'static str, fn(Pace, &mut Table));

const PARTS: [Part; 5] = [
    ("path", path::measure),
    ("startup", startup::measure),
    ("idle", idle::measure),
    ("refresh", refresh::measure),
    ("scale", scale::measure),
];

/// What the command line asks for.
struct Wish {
    pace: Pace,
    json: PathBuf,
    parts: Vec<Part>,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, kind, socket, answer] = &words[..]
        && flag == "--yardstick"
    {
        ecobee_yardstick::serve(kind, Path::new(socket), Path::new(answer));
    }
    let wish = match Wish::of(&words) {
        Ok(wish) => wish,
        Err(what) => {
            eprintln!("figures: {what}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    if cfg!(debug_assertions) {
        eprintln!("figures: not an optimized build: no number below means anything");
    }
    harness::raise_descriptor_limit();
    let mut table = Table::default();
    for (name, measure) in wish.parts {
        table.begin(name);
        measure(wish.pace, &mut table);
    }
    println!("{table}");
    if let Err(error) = table.write(&wish.json) {
        eprintln!("figures: {}: {error}", wish.json.display());
        return ExitCode::FAILURE;
    }
    println!("\n{}", wish.json.display());
    ExitCode::SUCCESS
}

impl Wish {
    fn of(words: &[String]) -> Result<Self, String> {
        let mut wish = Self {
            pace: Pace::Thorough,
            json: Path::new(env!("CARGO_TARGET_TMPDIR")).join("figures.json"),
            parts: Vec::new(),
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                // cargo says this to every bench.
                "--bench" => {}
                "--quick" => wish.pace = Pace::Quick,
                "--json" => wish.json = words.next().ok_or("--json wants a file")?.into(),
                name => {
                    let part = PARTS.iter().find(|(known, _)| *known == name);
                    wish.parts.push(*part.ok_or_else(|| format!("'{name}' is no part of the table"))?);
                }
            }
        }
        if wish.parts.is_empty() {
            wish.parts = PARTS.to_vec();
        }
        Ok(wish)
    }
}
