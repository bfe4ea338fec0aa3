//! The real daemon under torture: killed at any moment, on failing disks, on a bad line.

mod harness;

#[path = "torture/back_off.rs"]
mod back_off;
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

#[test]
fn thirty_kills_lose_nothing_that_could_have_been_saved() {
    let seed = std::env::var("TORTURE_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    let outcome = kills::torture(seed, 30);
    println!("{outcome}");
    assert_eq!(outcome.total(), 30);
    assert!(outcome.is_clean(), "{outcome}\nto see it again: TORTURE_SEED={seed} cargo test --test torture");
}
