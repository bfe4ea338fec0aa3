//! Simulated decades: one account's life after the other in all weathers, and only the laws of the world are held.
//!
//! More of it: `cargo run --release --example storm -- --years 1000`.

mod climate;
mod world;

use climate::Almanac;

/// Lives of a year that are lived at every test.
const SEEDS: std::ops::Range<u64> = 0..8;

#[test]
fn decades_in_all_weathers_break_no_law() {
    let mut almanac = Almanac::default();
    for seed in SEEDS {
        match climate::live(seed, 1) {
            Ok(year) => almanac.add(&year),
            Err(breach) => panic!("{breach}"),
        }
    }
    println!("{almanac}");
    assert_eq!(almanac.missing(), [""; 0], "the weather is too fair");
    assert!(almanac.idle_laws().is_empty(), "never looked at: {:?}", almanac.idle_laws());
}

#[test]
fn a_year_that_nobody_has_seen_before_breaks_no_law() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    if let Err(breach) = climate::live(seed, 1) {
        panic!("{breach}");
    }
}

#[test]
fn the_same_seed_brings_the_same_years() {
    let [first, second] = [(); 2].map(|()| climate::live(7, 1).map(|year| year.tally).ok());
    assert_eq!(first, second);
}
