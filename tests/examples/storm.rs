//! A thousand account-years of bad weather over the pure keeper, in about a minute.
//!
//! `cargo run --release --example storm -- [--years N] [--seed N]` prints a table. A broken law prints its seed, its year
//! and what led to it, and ends with 1; the same seed brings it again.

#[path = "../climate/mod.rs"]
mod climate;
#[path = "../world/mod.rs"]
mod world;

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use climate::{Almanac, Breach, YEARS_A_LIFE};

const USAGE: &str = "usage: cargo run --release --example storm -- [--years N] [--seed N]";

/// How long, with which dice.
#[derive(Clone, Copy)]
struct Wish {
    years: u32,
    seed: u64,
}

fn main() -> ExitCode {
    let wish = match Wish::of_the_command_line() {
        Ok(wish) => wish,
        Err(error) => {
            eprintln!("storm: {error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    // In release a panic aborts, so this is the last word on whose life it was.
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let (seed, year) = climate::living();
        eprintln!("in year {year} of seed {seed}; {}", again(seed));
        usual(panic);
    }));
    let Wish { years, seed } = wish;
    println!("{years} account-years, seed {seed}\n");
    let begun = Instant::now();
    let (almanac, breaches) = live_all(wish);
    println!("{almanac}");
    println!("{:<44} {:>12}", "broken laws", breaches.len());
    println!("{:<44} {:>10.1} s", "wall time", begun.elapsed().as_secs_f64());
    for breach in &breaches {
        eprintln!("\n{breach}{}", again(breach.seed));
    }
    if breaches.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn again(seed: u64) -> String {
    format!("see it again: cargo run --release --example storm -- --years {YEARS_A_LIFE} --seed {seed}")
}

/// One life after the other, as many at a time as there are processors; none begins after a law was broken.
fn live_all(wish: Wish) -> (Almanac, Vec<Breach>) {
    let sum = Mutex::new((Almanac::default(), Vec::new()));
    let next = AtomicU64::new(0);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let life = next.fetch_add(1, Ordering::Relaxed);
                    let lived = life.saturating_mul(u64::from(YEARS_A_LIFE));
                    let left = u64::from(wish.years).saturating_sub(lived);
                    let years = YEARS_A_LIFE.min(u32::try_from(left).unwrap_or(YEARS_A_LIFE));
                    if years == 0 || sum.lock().is_ok_and(|sum| !sum.1.is_empty()) {
                        return;
                    }
                    let lived = climate::live(wish.seed.wrapping_add(life), years);
                    if let Ok(mut sum) = sum.lock() {
                        match lived {
                            Ok(almanac) => sum.0.add(&almanac),
                            Err(breach) => sum.1.push(breach),
                        }
                    }
                }
            });
        }
    });
    sum.into_inner().unwrap_or_default()
}

impl Wish {
    fn of_the_command_line() -> Result<Self, lexopt::Error> {
        use lexopt::prelude::*;

        let mut wish = Self { years: 1000, seed: fastrand::u64(..) };
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("years") => wish.years = parser.value()?.parse()?,
                Long("seed") => wish.seed = parser.value()?.parse()?,
                Short(_) | Long(_) | Value(_) => return Err(argument.unexpected()),
            }
        }
        Ok(wish)
    }
}
