//! What a request costs, where it can be counted exactly: system calls, allocations, instructions.
//!
//! The ceilings are what it costs today. Whoever breaks through one has put something into the path of every reader, and
//! either takes it out again or says in the change why it is worth it.
#![allow(clippy::cast_precision_loss, reason = "no count here has more than fifty-two bits")]

#[allow(dead_code, reason = "the bench uses all of it")]
#[path = "bench/counting.rs"]
mod counting;
mod harness;
#[allow(dead_code, reason = "the bench uses all of it")]
#[path = "bench/household.rs"]
mod household;
#[allow(dead_code, reason = "the bench uses all of it")]
#[path = "bench/load.rs"]
mod load;

use std::path::Path;

use counting::{Tally, What};
use ecobee_simulator::Options;
use harness::skipped;
use household::Household;
use load::{Connections, Exchange, ask_times};

/// Of two thousand requests, or of five hundred, this much is chance.
const HARDLY: f64 = 0.1;

/// Instructions are counted of the program as the tests compile it, without optimization; another compiler makes a few
/// more or less of them. (`cargo bench` counts those of the program as it is shipped.)
const COMPILERS_DIFFER: f64 = 1.15;

/// The keeper's whole interface.
const STEP: &str = "ecobee_tokend::keeper::Keeper::step";

/// How often it is awaited that something comes: a client that is slower than the daemon has it wait once more, on a busy
/// machine, and so this is not counted exactly.
const WAIT: &str = "epoll_wait";

/// The standard library looks whether a descriptor is open before it closes it, where debug assertions are on.
const LOOKED_AT: f64 = if cfg!(debug_assertions) { 1.0 } else { 0.0 };

/// What one `GET /token` costs; `None` where it cannot be counted here.
fn a_request(what: What, connections: Connections) -> Option<Tally> {
    let household = Household::of_one(Options::default());
    let exchange = Exchange::learn(&household.start().socket, "/token").0;
    let ask = |socket: &Path, times: usize| ask_times(socket, &exchange, connections, times);
    match counting::a_request(what, |tool| household.start_under(tool.words()), ask) {
        Ok(tally) => Some(tally),
        Err(why) => {
            skipped(&why);
            None
        }
    }
}

fn costs_at_most(what: What, connections: Connections, ceiling: f64) {
    let Some(tally) = a_request(what, connections) else { return };
    let waits = tally.of(WAIT);
    let total = tally.total() - waits;
    println!("{what:?}, {connections:?}: {total:.2} (ceiling {ceiling}) {}", tally.in_words());
    assert!(total > 0.5, "it was not counted: {total}");
    assert!(waits < 3.0, "it waits for one thing after the other: {}", tally.in_words());
    assert!(total <= ceiling, "{total:.2} instead of {ceiling} at most: {}", tally.in_words());
}

#[test]
fn a_token_over_a_kept_connection_costs_one_read_and_one_write() {
    costs_at_most(What::Calls, Connections::Kept, 2.0 + HARDLY);
}

#[test]
fn a_new_connection_costs_no_more_system_calls_than_it_did() {
    costs_at_most(What::Calls, Connections::Anew, 10.0 + LOOKED_AT + HARDLY);
}

#[test]
fn a_token_over_a_kept_connection_costs_no_more_allocations_than_it_did() {
    costs_at_most(What::Allocations, Connections::Kept, 3.0 + HARDLY);
}

#[test]
fn a_token_over_a_new_connection_costs_no_more_allocations_than_it_did() {
    costs_at_most(What::Allocations, Connections::Anew, 17.0 + HARDLY);
}

#[test]
fn a_token_over_a_kept_connection_costs_hardly_more_instructions_than_it_did() {
    costs_at_most(What::Instructions, Connections::Kept, 88_000.0 * COMPILERS_DIFFER);
}

#[test]
fn what_the_keeper_thinks_about_a_reader_costs_hardly_more_instructions_than_it_did() {
    costs_at_most(What::InstructionsOf(STEP), Connections::Kept, 1_956.0 * COMPILERS_DIFFER);
}
