//! Rule 6: hang-ups and stops cancel nothing that is under way, and begin nothing new.

use ecobee_tokend::keeper::{Answer, Problem, Reach, State};

use crate::world::{DiskMishap, Errand, Mishap, World, authorize, json, ms, refresh, rejected, secs};

#[test]
fn rule_6_a_client_that_hangs_up_cancels_no_refresh() {
    let mut world = World::authorized();
    let id = world.ask(refresh());
    world.run_until_sent(Errand::Refresh);
    world.hang_up(id);
    world.run(secs(1));
    assert!(world.waits(id), "nobody is there to be answered");
    assert!(world.token().issued_at > world.now - secs(2));
}

#[test]
fn a_client_that_hangs_up_twice_or_after_its_answer_changes_nothing() {
    let mut world = World::authorized();
    let id = world.ask(json());
    world.hang_up(id);
    world.hang_up(id);
    world.lent(json());
}

#[test]
fn rule_6_a_stop_waits_for_the_refresh_in_flight_and_saves_what_it_brings() {
    let mut world = World::authorized();
    world.ecobee.next(Errand::Refresh, Mishap::Late(secs(20)));
    world.run_until_sent(Errand::Refresh);
    let old = world.disk.record.clone();
    world.stop();
    world.run(secs(3));
    assert_eq!(world.lent(json()).promised, ms(0), "the old token is lent meanwhile");
    world.run(secs(18));
    assert_ne!(world.disk.record, old);
    assert_eq!(world.state(), State::Authorized);
    world.lent(json());
    world.crash();
    world.lent(json());
    assert_eq!(world.refreshes(), 1);
}

#[test]
fn rule_6_a_stop_grants_the_one_repetition() {
    let mut world = World::authorized();
    world.ecobee.next_refreshes(1, Mishap::LostBefore(Reach::Broken));
    world.run_until_sent(Errand::Refresh);
    world.stop();
    world.run(secs(2));
    assert_eq!(world.refreshes(), 2);
    assert_eq!(world.state(), State::Authorized);
}

#[test]
fn a_stop_begins_nothing_new() {
    let mut world = World::authorized();
    world.stop();
    world.run(secs(10_000));
    assert_eq!(world.refreshes(), 0);
    let problem = world.problem(json());
    assert!(
        matches!(&problem, Problem::Unavailable { detail, .. } if detail.contains("stopping")),
        "{problem:?}"
    );
    world.problem(json().wait(100));
    world.problem(authorize());
    world.problem(refresh());

    let mut world = World::awaiting();
    world.stop();
    world.run(secs(10_000));
    assert_eq!(world.calls(Errand::Poll), 0);
    assert_eq!(world.calls(Errand::Authorize), 1);
}

#[test]
fn a_stop_lends_a_living_token_on_and_forces_nothing() {
    let mut world = World::authorized();
    world.stop();
    let token = world.lent(json()).token;
    assert!(matches!(world.problem(refresh()), Problem::Unavailable { .. }));
    assert!(matches!(world.problem(rejected(&token)), Problem::Unavailable { .. }));
    world.sigusr1();
    world.run(secs(1));
    assert_eq!(world.refreshes(), 0);
}

#[test]
fn a_refresh_that_a_stop_forbids_is_refused_at_once_though_a_poll_is_in_flight() {
    let mut world = World::authorized();
    world.ask(authorize());
    world.ecobee.next(Errand::Poll, Mishap::Late(secs(20)));
    world.run_until_sent(Errand::Poll);
    world.stop();
    let Problem::Unavailable { detail, .. } = world.problem(refresh()) else { panic!("another problem") };
    assert_eq!(detail, "the daemon is stopping");
}

#[test]
fn a_stop_leaves_time_to_write_a_promise_down() {
    let mut world = World::authorized();
    world.run_until(world.token().refresh_at - secs(10));
    world.stop();
    let (took, lent) = world.lent_later(json().min_ttl(300));
    assert_eq!(took, world.disk.takes);
    assert!(lent.promised >= secs(300));
}

#[test]
fn a_refresh_asked_for_during_a_stop_gets_what_the_one_in_flight_brings() {
    let mut world = World::authorized();
    world.ecobee.next(Errand::Refresh, Mishap::Late(secs(5)));
    world.run_until_sent(Errand::Refresh);
    world.stop();
    let (took, _) = world.lent_later(refresh());
    assert!(took >= secs(5));
    assert_eq!(world.refreshes(), 1);
}

#[test]
fn a_stop_during_marking_takes_the_mark_back() {
    let mut world = World::authorized();
    world.disk.takes = secs(1);
    world.run_until(world.token().refresh_at);
    world.run(ms(1));
    assert_eq!(world.state(), State::Refreshing);
    world.stop();
    world.run(secs(3));
    assert_eq!(world.refreshes(), 0);
    assert!(!world.disk.grant().refresh_sent);
    assert!(world.disk.grant().access.is_some());
    world.lent(json());
}

#[test]
fn a_stop_during_saving_still_saves() {
    let mut world = World::authorized();
    world.run_until_sent(Errand::Refresh);
    world.disk.next(DiskMishap::Takes(secs(5)));
    world.run(world.ecobee.latency);
    let waiting = world.ask(json());
    world.stop();
    world.run(secs(2));
    assert!(!world.waits(waiting), "two seconds are enough");
    world.run(secs(5));
    assert_eq!(world.disk.access().issued_at, world.token().issued_at);
}

/// Nothing that they wait for will come in this life.
#[test]
fn a_stop_answers_whoever_waits_in_vain() {
    let mut world = World::awaiting();
    let person = world.ask(json().wait(3600));
    let pin = world.ask(authorize().wait(3600));
    world.run(secs(2));
    assert!(world.waits(person));
    assert!(!world.waits(pin));
    world.stop();
    assert!(!world.waits(person));

    let mut world = World::authorized();
    world.ecobee.next(Errand::Refresh, Mishap::Late(secs(5)));
    world.run_until_sent(Errand::Refresh);
    let reader = world.ask(json().min_ttl(2000));
    world.stop();
    assert!(world.waits(reader), "the refresh in flight may serve it");
    let (_, answer) = world.wait_for(reader);
    assert!(matches!(answer, Answer::Token { .. }), "{answer:?}");
}

#[test]
fn a_stop_keeps_trying_to_save() {
    let mut world = World::authorized();
    world.run_until_sent(Errand::Refresh);
    world.disk.broken = true;
    world.run(secs(1));
    world.run(secs(200));
    let orders = world.disk.orders;
    world.stop();
    assert_eq!(world.disk.orders, orders + 1, "soon it will be too late");
    world.run(secs(3));
    assert_eq!(world.disk.orders, orders + 3);
    world.disk.broken = false;
    world.run(secs(2));
    assert!(!world.view().unsaved);
}
