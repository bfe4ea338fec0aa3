//! Simulated decades: one account's life after the other in all weathers, and only the laws of the world are held.
//!
//! More of it: `cargo run --release --example storm -- --years 1000`.

mod climate;
mod world;

use climate::Almanac;

/// Lives of a year that are lived at every test.
const SEEDS: std::ops::Range<u64> = 0..8;

fn a_year(seed: u64) -> Almanac {
    climate::live(seed, 1).unwrap_or_else(|breach| panic!("{breach}"))
}

#[test]
fn decades_in_all_weathers_break_no_law() {
    let mut almanac = Almanac::default();
    for seed in SEEDS {
        almanac.add(&a_year(seed));
    }
    println!("{almanac}");
    assert_eq!(almanac.missing(), [""; 0], "the weather is too fair");
    assert_eq!(almanac.idle_laws(), [""; 0], "never looked at");
}

#[test]
fn a_year_that_nobody_has_seen_before_breaks_no_law() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    a_year(seed);
}

#[test]
fn the_same_seed_brings_the_same_years() {
    assert_eq!(a_year(7), a_year(7));
}
