//! `POST /authorize`: a PIN that a client asks for, beside a living grant or in place of another.

use ecobee_tokend::keeper::{Answer, PinView, Problem, Reach, State};

use crate::world::{DiskMishap, Errand, Mishap, Word, World, authorize, bare, json, ms, rejected, secs};

/// Not when the PIN ends meanwhile, and not for a client.
#[test]
fn rule_9_no_request_for_a_pin_comes_sooner_than_ecobee_wishes() {
    let mut world = World::awaiting();
    world.run(secs(500));
    world.ecobee.next(Errand::Poll, Mishap::Says(Word::TooMany(Some(secs(3000)))));
    world.run_until_sent(Errand::Poll);
    let joined = world.ask(authorize().wait(3600));
    world.run(secs(1));
    let held_since = world.now;
    world.history.forget();
    let problem = world.problem(authorize());
    assert!(matches!(problem, Problem::TooMany { .. }), "{problem:?}");
    world.run(secs(100));
    let problem = world.problem(authorize());
    assert!(matches!(problem, Problem::Unavailable { .. }), "{problem:?}");
    let patient = world.ask(authorize().wait(3600));
    assert!(world.waits(patient));
    world.run_until_sent(Errand::Authorize);
    assert!(world.now.since(held_since) >= secs(2999), "{:?}", world.now.since(held_since));
    world.run(secs(1));
    assert!(!world.waits(joined) && !world.waits(patient));
}

#[test]
fn authorize_gives_a_new_pin_and_the_old_one_is_over() {
    let mut world = World::awaiting();
    let first = world.pin().expect("a PIN");
    let second = world.pin_later();
    assert_ne!(second.pin, first.pin);
    assert_eq!(world.pin(), Some(PinView { expires_in: second.expires_in, ..second }));
    world.enter_pin();
    world.run(secs(32));
    assert_eq!(world.state(), State::Authorized);
}

#[test]
fn authorize_is_allowed_once_in_thirty_seconds() {
    let mut world = World::awaiting();
    world.pin_later();
    let problem = world.problem(authorize().by(0));
    let Problem::TooMany { retry_after } = problem else { panic!("{problem:?}") };
    assert!(retry_after >= secs(29), "{retry_after:?}");
    world.run_until(world.now + retry_after - ms(1));
    assert!(matches!(world.problem(authorize()), Problem::TooMany { .. }));
    world.run(ms(1));
    world.pin_later();
}

#[test]
fn authorize_joins_the_request_that_is_in_flight() {
    let mut world = World::started();
    let pin = world.pin_later();
    assert_eq!(world.pin().map(|shown| shown.pin), Some(pin.pin));
    assert_eq!(world.calls(Errand::Authorize), 1);
}

#[test]
fn authorize_beside_a_living_grant_keeps_the_grant() {
    let mut world = World::authorized();
    let token = world.lent(json()).token;
    let pin = world.pin_later();
    assert_eq!(world.state(), State::Authorized, "the state stays the grant's");
    assert_eq!(world.pin().map(|shown| shown.pin), Some(pin.pin));
    assert_eq!(world.lent(json()).token, token);
    assert!(world.history.notices().is_empty(), "nobody but the asker needs to know");
}

#[test]
fn a_pin_beside_a_living_grant_lapses_when_unused() {
    let mut world = World::authorized();
    world.pin_later();
    world.run(secs(700));
    assert_eq!(world.pin(), None);
    assert_eq!(world.state(), State::Authorized);
    let polls = world.calls(Errand::Poll);
    world.run(secs(1000));
    assert_eq!(world.calls(Errand::Authorize), 1, "no other is asked for");
    assert_eq!(world.calls(Errand::Poll), polls);
    assert_eq!(world.disk.record.pin, None);
}

#[test]
fn a_pin_beside_a_living_grant_brings_a_new_grant_when_it_is_entered() {
    let mut world = World::authorized();
    let old = world.lent(json()).token;
    world.pin_later();
    world.enter_pin();
    world.run(secs(29));
    assert_eq!(world.lent(json()).token, old, "served until the new one is there");
    world.run(secs(3));
    let new = world.lent(json()).token;
    assert_ne!(new, old);
    assert_eq!(world.pin(), None);
    world.crash();
    assert_eq!(world.lent(json()).token, new);
}

#[test]
fn a_grant_is_refreshed_while_a_pin_stands_beside_it() {
    let mut world = World::authorized();
    world.run(secs(2800));
    world.pin_later();
    world.run(secs(400));
    assert_eq!(world.refreshes(), 1);
    assert_eq!(world.view().failures, 0);
    assert!(world.pin().is_some());
    assert!(world.calls(Errand::Poll) > 10);
}

#[test]
fn authorize_that_fails_says_so_and_leaves_the_old_pin() {
    let mut world = World::awaiting();
    let pin = world.pin().expect("a PIN").pin;
    world.ecobee.next(Errand::Authorize, Mishap::Unsent);
    let (took, problem) = world.problem_later(authorize());
    assert_eq!(took, world.ecobee.latency);
    assert!(
        matches!(&problem, Problem::Unavailable { detail, .. } if detail.contains("no route")),
        "{problem:?}"
    );
    assert_eq!(world.pin().expect("the PIN").pin, pin);
    world.enter_pin();
    world.run(secs(62));
    assert_eq!(world.state(), State::Authorized);
}

#[test]
fn authorize_that_fails_beside_a_living_grant_is_not_made_again_unless_somebody_waits_for_it() {
    let mut world = World::authorized();
    world.run_until(world.token().issued_at + secs(2000));
    let patient_reader = world.ask(json().min_ttl(3000).wait(3600));
    world.ecobee.next(Errand::Authorize, Mishap::Unsent);
    let (took, problem) = world.problem_later(authorize());
    let Problem::Unavailable { retry_after, .. } = problem else { panic!("{problem:?}") };
    assert_eq!(retry_after + took, secs(30));
    world.run(secs(900));
    assert!(world.waits(patient_reader));
    assert_eq!(world.calls(Errand::Authorize), 1);
}

#[test]
fn authorize_is_taken_at_the_very_moment_up_to_which_ecobee_wished_to_be_left_alone() {
    let mut world = World::authorized();
    world.ecobee.next(Errand::Authorize, Mishap::Says(Word::TooMany(Some(secs(100)))));
    world.problem_later(authorize());
    world.run(ms(99_999));
    assert!(matches!(world.problem(authorize()), Problem::Unavailable { .. }));
    world.run(ms(1));
    world.pin_later();
}

#[test]
fn authorize_with_a_wait_waits_for_ecobee_to_come_back() {
    let mut world = World::authorized();
    world.ecobee.outage(world.now + secs(20), Mishap::Unsent);
    let id = world.ask(authorize().wait(300));
    let (took, answer) = world.wait_for(id);
    assert!(matches!(answer, Answer::Pin(_)), "{answer:?}");
    assert!(took < secs(60), "{took:?}");
}

#[test]
fn authorize_that_takes_too_long_is_a_problem_about_the_pin() {
    let mut world = World::authorized();
    world.ecobee.next(Errand::Authorize, Mishap::Late(secs(50)));
    let (took, problem) = world.problem_later(authorize());
    assert_eq!(took, secs(30));
    assert!(matches!(&problem, Problem::Unavailable { detail, .. } if detail.contains("PIN")), "{problem:?}");
}

/// The poll in flight is about the PIN that is being replaced; the person had entered it.
#[test]
fn authorize_during_a_poll_does_not_lose_what_the_poll_brings() {
    let mut world = World::awaiting();
    world.ecobee.next(Errand::Poll, Mishap::Late(secs(5)));
    world.run(secs(28));
    world.enter_pin();
    world.run_until_sent(Errand::Poll);
    let id = world.ask(authorize());
    world.run(secs(6));
    assert_eq!(world.state(), State::Authorized);
    assert!(!world.waits(id));
}

#[test]
fn a_pin_grant_without_a_refresh_token_keeps_the_old_one() {
    let mut world = World::authorized();
    let old = world.disk.grant().refresh_token.clone();
    world.ecobee.refreshable = false;
    world.pin_later();
    world.enter_pin();
    world.run(secs(32));
    assert_eq!(world.disk.grant().refresh_token, old);
}

#[test]
fn a_pin_that_hangs_on_its_way_to_the_disk_is_shown_after_two_seconds() {
    let mut world = World::authorized();
    world.disk.next(DiskMishap::Takes(secs(60)));
    let id = world.ask(authorize());
    let (took, _) = world.wait_for(id);
    assert_eq!(took, world.ecobee.latency + secs(2));
}

/// The refused token works again just then; the client wants a PIN all the same.
#[test]
fn authorize_during_a_slow_retry_that_works_gives_a_pin_beside_the_grant() {
    let mut world = World::authorized();
    world.suspend(secs(4000));
    world.ecobee.next_refreshes(3, Mishap::Says(Word::Refused));
    world.ecobee.next(Errand::Refresh, Mishap::Late(secs(5)));
    world.tick();
    world.run_until_state(State::AwaitingUser);
    world.run_until_sent(Errand::Refresh);
    let pin = world.pin_later();
    assert_eq!(world.state(), State::Authorized);
    assert_eq!(world.pin().map(|shown| shown.pin), Some(pin.pin));
}

#[test]
fn a_garbled_answer_to_a_pin_beside_a_living_grant_leaves_the_grant() {
    let mut world = World::authorized();
    let token = world.lent(json()).token;
    world.pin_later();
    world.enter_pin();
    world.ecobee.next(Errand::Poll, Mishap::Garbled);
    world.run(secs(40));
    assert_eq!(world.lent(json()).token, token);
    assert_eq!(world.pin(), None);
    assert_eq!(world.view().failures, 0, "what failed for a PIN that nobody needs is no trouble");
    world.run(secs(3600));
    assert_eq!(world.state(), State::Authorized);
}

/// Found by a simulated decade.
#[test]
fn rule_9_a_request_for_a_pin_that_failed_is_not_repeated_at_once_when_the_pin_before_it_ends() {
    let mut world = World::awaiting();
    world.run(secs(10));
    let poll_at = world.wake_at().expect("a poll is due");
    world.run_until(poll_at - secs(7));
    world.ecobee.next(Errand::Authorize, Mishap::LostBefore(Reach::Sent));
    world.ecobee.next(Errand::Poll, Mishap::Says(Word::PinOver));
    let quick = std::mem::replace(&mut world.ecobee.latency, secs(8));
    world.ask(authorize());
    let failed_at = world.now + world.ecobee.latency;
    world.run(secs(5));
    world.ecobee.latency = quick;
    world.run(secs(20));
    assert_eq!(world.history.sent_at(Errand::Poll), [failed_at], "the poll had to wait, and ended the PIN");
    let asked_at = world.history.sent_at(Errand::Authorize)[2];
    assert!(asked_at.since(failed_at) >= ms(3750), "only {:?} after the failure", asked_at.since(failed_at));
}

/// Found by a simulated decade.
#[test]
fn rule_9_requests_for_pins_that_failed_slow_the_next_down_though_nobody_needed_them() {
    let mut world = World::authorized();
    let token = world.lent(bare()).token;
    for _ in 0..5 {
        world.ecobee.next(Errand::Authorize, Mishap::LostBefore(Reach::Sent));
        world.ask(authorize());
        world.run(secs(31));
    }
    let failed_at = world.now - secs(31) + world.ecobee.latency;
    world.ecobee.quarantine_until = world.now + secs(3600);
    world.ask(rejected(&token));
    world.run_until_sent(Errand::Authorize);
    let pause = world.now.since(failed_at);
    assert!(pause >= secs(60), "five failures in a row are worth 60 s at least, not {pause:?}");
}
