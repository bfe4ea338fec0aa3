//! The real daemon under torture: killed at any moment, on failing disks, with broken files, on a bad line.
//!
//! More of it: `cargo run --release --example torture -- --kills 500`.

mod harness;

#[path = "torture/asking.rs"]
mod asking;
#[path = "torture/back_off.rs"]
mod back_off;
#[path = "torture/broken.rs"]
mod broken;
#[path = "torture/dice.rs"]
mod dice;
#[path = "torture/disks.rs"]
mod disks;
#[path = "torture/evidence.rs"]
mod evidence;
#[path = "torture/kills.rs"]
mod kills;
#[path = "torture/lane.rs"]
mod lane;
#[path = "torture/relay.rs"]
mod relay;
#[path = "torture/season.rs"]
mod season;
#[path = "torture/storms.rs"]
mod storms;

/// Another each time, unless somebody wants one again.
fn seed() -> u64 {
    let wanted = std::env::var("TORTURE_SEED").ok();
    wanted.map_or_else(|| fastrand::u64(..), |seed| seed.parse().expect("TORTURE_SEED is a number"))
}

#[test]
fn thirty_kills_lose_nothing_that_could_have_been_saved() {
    let seed = seed();
    let outcome = kills::torture(seed, 30);
    println!("{outcome}");
    assert_eq!(outcome.total(), 30);
    assert!(outcome.is_clean(), "{outcome}\nto see it again: TORTURE_SEED={seed} cargo test --test torture");
}
