//! The daemon's long torture: killed hundreds of times at random moments, then minutes of bad weather at ecobee.
//!
//! `cargo run --release --example torture -- [--kills N] [--weather SECONDS] [--seed N]` prints a table and ends with 1
//! if anything was lost that could have been saved, or a dead token was served. The same seed throws the same dice;
//! what the machine makes of them in time is its own affair.

#[path = "../torture/asking.rs"]
mod asking;
#[path = "../torture/back_off.rs"]
mod back_off;
mod build;
#[path = "../torture/dice.rs"]
mod dice;
#[path = "../torture/evidence.rs"]
mod evidence;
#[path = "../harness/mod.rs"]
mod harness;
#[path = "../torture/kills.rs"]
mod kills;
#[path = "../torture/lane.rs"]
mod lane;
#[path = "../torture/season.rs"]
mod season;

use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str =
    "usage: cargo run --release --example torture -- [--kills N] [--weather SECONDS] [--seed N]";

/// How long, how often, with which dice.
struct Wish {
    kills: u32,
    weather: Duration,
    seed: u64,
}

fn main() -> ExitCode {
    let wish = match Wish::of_the_command_line() {
        Ok(wish) => wish,
        Err(error) => {
            eprintln!("torture: {error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match build::daemon() {
        Ok(binary) => harness::use_binary(binary),
        Err(error) => {
            eprintln!("torture: {error}");
            return ExitCode::FAILURE;
        }
    }
    println!("{} kills, then {} s of weather, seed {}", wish.kills, wish.weather.as_secs(), wish.seed);
    let outcome = kills::torture(wish.seed, wish.kills);
    println!("{outcome}");
    let season = season::season(wish.seed, wish.weather);
    println!("{season}");
    if outcome.is_clean() && season.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Wish {
    fn of_the_command_line() -> Result<Self, lexopt::Error> {
        use lexopt::prelude::*;

        let mut wish = Self { kills: 500, weather: Duration::from_secs(180), seed: fastrand::u64(..) };
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("kills") => wish.kills = parser.value()?.parse()?,
                Long("weather") => wish.weather = Duration::from_secs(parser.value()?.parse()?),
                Long("seed") => wish.seed = parser.value()?.parse()?,
                Short(_) | Long(_) | Value(_) => return Err(argument.unexpected()),
            }
        }
        Ok(wish)
    }
}
