//! Rule 10: a PIN shown is a PIN that works, and what comes of it.

use ecobee_tokend::keeper::{News, Problem, Reach, State};

use crate::world::{Errand, Mishap, Word, World, json, ms, secs};

#[test]
fn rule_10_when_a_pin_expires_unused_the_next_is_asked_for_at_once() {
    let mut world = World::awaiting();
    let first = world.pin().expect("a PIN");
    world.run_until(first.expires_at);
    assert_eq!(world.pin(), None, "a PIN shown is a PIN that works");
    assert_eq!(world.state(), State::RequestingPin);
    world.run(secs(32));
    let second = world.pin().expect("a PIN");
    assert_ne!(second.pin, first.pin);
    assert!(world.history.says(|news| matches!(news, News::PinOver(_))));
}

#[test]
fn rule_10_a_pin_that_ecobee_calls_over_is_replaced_at_once() {
    let mut world = World::awaiting();
    world.ecobee.next(Errand::Poll, Mishap::Says(Word::PinOver));
    world.run_until_sent(Errand::Poll);
    world.run(world.ecobee.latency);
    assert_eq!(world.calls(Errand::Authorize), 2);
    assert_eq!(world.history.sent_at(Errand::Authorize)[1], world.now);
}

#[test]
fn rule_10_a_pin_entered_at_the_last_moment_counts() {
    let mut world = World::awaiting();
    let pin = world.pin().expect("a PIN");
    world.run_until(pin.expires_at - ms(1));
    world.enter_pin();
    world.run(secs(32));
    assert_eq!(world.state(), State::Authorized);
}

/// Only ecobee knows whether it was entered, and ecobee is away.
#[test]
fn rule_10_a_pin_entered_during_an_outage_counts_though_its_time_is_over() {
    let mut world = World::awaiting();
    let pin = world.pin().expect("a PIN");
    world.run_until(pin.expires_at - secs(60));
    world.enter_pin();
    world.ecobee.outage(pin.expires_at + secs(120), Mishap::LostBefore(Reach::Sent));
    world.run_until(pin.expires_at + secs(290));
    assert_eq!(world.state(), State::Authorized);
}

#[test]
fn rule_10_a_pin_is_off_show_when_its_time_ends_though_no_poll_is_due() {
    let mut world = World::awaiting();
    let pin = world.pin().expect("a PIN");
    world.ecobee.next(Errand::Poll, Mishap::Says(Word::TooMany(Some(secs(3000)))));
    world.run_until(pin.expires_at - ms(1));
    assert_eq!(world.wake_at(), Some(pin.expires_at));
    assert!(world.pin().is_some());
    world.run_until(pin.expires_at);
    assert_eq!(world.pin(), None);
}

/// A server whose PINs die at birth is asked at a measured pace.
#[test]
fn rule_9_pins_that_die_at_birth_make_no_hot_loop() {
    let mut world = World::started_with(|world| {
        world.ecobee.pin_lifetime = ms(0);
        world.ecobee.interval = ms(0);
    });
    world.run(secs(3600));
    assert!(world.calls(Errand::Authorize) <= 721, "one in 5 s at most");
    assert_eq!(world.state(), State::RequestingPin);
    assert!(world.history.notices().is_empty(), "nobody is shown a PIN that does not work");
}

#[test]
fn a_request_for_a_pin_that_fails_is_made_again_with_growing_pauses() {
    let mut world = World::started_with(|world| world.ecobee.outage(world.now + secs(3000), Mishap::Unsent));
    world.run(secs(2990));
    assert_eq!(world.state(), State::RequestingPin);
    let asked = world.calls(Errand::Authorize);
    assert!((12..20).contains(&asked), "{asked}");
    let problem = world.problem(json());
    assert!(
        matches!(&problem, Problem::Unavailable { detail, .. } if detail.contains("no route")),
        "{problem:?}"
    );
    world.run(secs(311));
    assert_eq!(world.state(), State::AwaitingUser);
}

#[test]
fn the_problem_of_a_reader_shows_the_pin() {
    let mut world = World::awaiting();
    let Problem::AuthorizationRequired { pin, retry_after } = world.problem(json()) else {
        panic!("another problem")
    };
    assert_eq!(Some(pin), world.pin());
    assert!(retry_after <= secs(30));
}

/// The poll that is in flight may still bring the grant.
#[test]
fn rule_10_a_pin_is_not_given_up_while_it_is_asked_about() {
    let mut world = World::started_with(|world| {
        world.policy.retry_initial = secs(1);
        world.policy.retry_max = secs(1);
    });
    world.run(secs(1));
    let pin = world.pin().expect("a PIN");
    world.run_until(pin.expires_at - secs(1));
    world.enter_pin();
    world.ecobee.outage(pin.expires_at + secs(265), Mishap::LostBefore(Reach::Sent));
    world.ecobee.next(Errand::Poll, Mishap::Late(secs(55)));
    world.run_until(pin.expires_at + secs(400));
    assert_eq!(world.state(), State::Authorized);
    assert!(!world.history.says(|news| matches!(news, News::PinOver(_))));
    assert_eq!(world.calls(Errand::Authorize), 1);
}

/// Its time is over by our clock, and ecobee does not say so.
#[test]
fn rule_10_a_pin_past_its_time_that_nobody_entered_is_replaced_whatever_ecobee_says() {
    let mut world = World::awaiting();
    let pin = world.pin().expect("a PIN");
    world.run_until(pin.expires_at);
    world.ecobee.next(Errand::Poll, Mishap::Says(Word::Pending));
    world.run_until_sent(Errand::Poll);
    world.run(world.ecobee.latency);
    assert_eq!(world.calls(Errand::Authorize), 2);
}

/// The code is used up; what came beside the unusable access token is as good as a grant.
#[test]
fn a_garbled_answer_to_an_entered_pin_is_made_good_by_a_refresh() {
    let mut world = World::awaiting();
    world.enter_pin();
    world.ecobee.next(Errand::Poll, Mishap::Garbled);
    world.run(secs(32));
    assert_eq!(world.state(), State::Authorized);
    assert_eq!(world.refreshes(), 1);
    assert_eq!(world.calls(Errand::Authorize), 1);
    assert_eq!(world.pin(), None);
    world.lent(json());
}

#[test]
fn a_garbled_answer_to_an_entered_pin_without_a_refresh_token_asks_for_the_next_pin() {
    let mut world = World::awaiting();
    world.ecobee.refreshable = false;
    world.enter_pin();
    world.ecobee.next(Errand::Poll, Mishap::Garbled);
    world.run(secs(36));
    assert_eq!(world.state(), State::AwaitingUser);
    assert_eq!(world.calls(Errand::Authorize), 2);
}

/// Found by a simulated decade: on waking, the keeper took its own clock for the end of the PIN.
#[test]
fn a_pin_entered_just_before_a_long_suspend_brings_its_grant() {
    let mut world = World::awaiting();
    world.enter_pin();
    world.suspend(secs(9 * 3600));
    world.run(secs(2));
    assert_eq!(world.state(), State::Authorized, "ecobee is asked before the PIN counts as over");
    assert_eq!(world.calls(Errand::Authorize), 1);
}

/// The next poll may be half a minute away, but whoever asks for the PIN can have it in a moment.
#[test]
fn while_a_pin_is_being_saved_whoever_asks_is_told_to_come_back_at_once() {
    let mut world = World::started_with(|world| world.disk.takes = ms(1500));
    world.run(world.ecobee.latency + ms(100));
    assert_eq!(world.pin(), None);
    let problem = world.problem(json());
    let Problem::Unavailable { retry_after, .. } = problem else { panic!("{problem:?}") };
    assert_eq!(retry_after, secs(1));
    world.run(ms(1500));
    assert!(world.pin().is_some());
}

#[test]
fn when_a_pin_is_past_its_time_whoever_asks_is_told_to_come_back_after_the_next_poll() {
    let mut world = World::awaiting();
    let expires_at = world.pin().expect("a PIN").expires_at;
    world.ecobee.outage(expires_at + secs(3600), Mishap::Unsent);
    world.run_until(expires_at);
    assert_eq!(world.pin(), None);
    let next = world.view().next_try_at.expect("a poll").since(world.now);
    assert!(next > secs(1));
    let problem = world.problem(json());
    let Problem::Unavailable { retry_after, .. } = problem else { panic!("{problem:?}") };
    assert_eq!(retry_after, next);
}
