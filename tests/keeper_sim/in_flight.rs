//! What readers get while a refresh is in flight.

use ecobee_tokend::keeper::{Problem, Reach, State};

use crate::world::{DiskMishap, Errand, Mishap, World, bare, json, ms, refresh, secs};

/// A refresh has just been sent, and its answer takes so long.
fn refreshing(mishap: Mishap) -> World {
    let mut world = World::authorized();
    world.ecobee.next(Errand::Refresh, mishap);
    world.run_until_sent(Errand::Refresh);
    world
}

#[test]
fn readers_wait_for_the_new_token() {
    let mut world = refreshing(Mishap::None);
    let (took, lent) = world.lent_later(json());
    assert_eq!(took, world.ecobee.latency + world.disk.takes);
    assert!(lent.promised >= secs(2900));
}

#[test]
fn after_two_seconds_readers_get_the_old_token_that_promises_nothing() {
    let mut world = refreshing(Mishap::Late(secs(20)));
    let since = world.now - world.disk.takes;
    let (_, lent) = world.lent_later(json());
    assert_eq!(world.now, since + secs(2));
    assert_eq!(lent.promised, ms(0));
    world.run(secs(5));
    assert_eq!(world.lent(bare()).token, lent.token, "later readers get it at once");
}

#[test]
fn a_reader_with_less_patience_gets_the_old_token_at_its_bound() {
    let mut world = refreshing(Mishap::Late(secs(20)));
    let (took, lent) = world.lent_later(json().wait(1));
    assert_eq!((took, lent.promised), (secs(1), ms(0)));
}

#[test]
fn after_the_success_answer_the_old_token_is_never_lent() {
    let mut world = refreshing(Mishap::Late(secs(5)));
    world.run(secs(4));
    let old = world.lent(json()).token;
    world.disk.next(DiskMishap::Takes(secs(60)));
    world.run(ms(1001));
    let (took, lent) = world.lent_later(json());
    assert_ne!(lent.token, old);
    assert_eq!(took, ms(1999), "a slow save holds the new one up for two seconds");
}

#[test]
fn the_old_token_is_not_lent_beyond_its_life() {
    let mut world = World::authorized_for(secs(60));
    world.ecobee.next_refreshes(2, Mishap::Late(secs(59)));
    world.run_until_sent(Errand::Refresh);
    world.run(secs(10));
    assert_eq!(world.lent(json()).promised, ms(0));
    let dies_at = world.token().expires_at;
    world.run_until(dies_at);
    let waiting = world.ask(json());
    assert!(world.waits(waiting));
}

#[test]
fn a_request_for_a_promise_does_not_get_the_old_token() {
    let mut world = refreshing(Mishap::Late(secs(20)));
    let (took, lent) = world.lent_later(json().min_ttl(1));
    assert!(took >= secs(20));
    assert!(lent.promised >= secs(1));
}

#[test]
fn whoever_asked_for_a_new_token_does_not_get_the_old_one() {
    let mut world = refreshing(Mishap::Late(secs(20)));
    let old = world.lent_later(json()).1.token;
    let (_, lent) = world.lent_later(refresh());
    assert_ne!(lent.token, old);
    assert_eq!(world.refreshes(), 1, "one refresh serves them both");
}

/// A refresh that is asked for while the new token is being saved would be the second in a second.
#[test]
fn a_refresh_asked_for_during_saving_gets_the_token_that_is_being_saved() {
    let mut world = refreshing(Mishap::None);
    world.disk.takes = secs(1);
    world.run(world.ecobee.latency);
    let (took, lent) = world.lent_later(refresh());
    assert!(took <= secs(1));
    assert!(lent.promised >= secs(2900));
    assert_eq!(world.refreshes(), 1);
}

#[test]
fn without_a_living_token_readers_wait_thirty_seconds_at_most() {
    let mut world = World::authorized();
    world.ecobee.next(Errand::Refresh, Mishap::Late(secs(50)));
    world.suspend(secs(4000));
    let (took, problem) = world.problem_later(json());
    assert_eq!(took, secs(30));
    assert!(matches!(problem, Problem::Unavailable { .. }));
}

#[test]
fn with_no_living_token_no_refresh_and_no_wait_the_answer_is_a_problem_at_once() {
    let mut world = World::authorized();
    world.ecobee.outage(world.now + secs(9000), Mishap::LostBefore(Reach::Sent));
    world.run(secs(4000));
    world.run_until_state(State::Retrying);
    let Problem::Unavailable { detail, retry_after } = world.problem(json()) else {
        panic!("another problem");
    };
    assert!(detail.contains("503"), "{detail}");
    let next_try = world.wake_at().expect("a next try").since(world.now);
    assert!(retry_after <= next_try, "{retry_after:?} {next_try:?}");
}

/// The failure is an answer too: nobody waits for the next try.
#[test]
fn readers_of_a_dead_token_learn_of_a_failed_refresh_at_once() {
    let mut world = World::authorized();
    world.ecobee.next(Errand::Refresh, Mishap::Unsent);
    world.suspend(secs(4000));
    let (took, _) = world.problem_later(json());
    assert_eq!(took, world.ecobee.latency);
}

#[test]
fn a_token_that_dies_while_readers_wait_for_a_retry_is_a_problem_at_once() {
    let mut world = World::authorized();
    world.ecobee.outage(world.now + secs(9000), Mishap::Unsent);
    let dies_at = world.token().expires_at;
    world.run_until(dies_at - secs(10));
    assert_eq!(world.state(), State::Retrying);
    let (took, _) = world.problem_later(json().min_ttl(600));
    assert_eq!(took, secs(10), "at its death, not at the bound of 30 s");
    assert_eq!(world.now, dies_at);
}
