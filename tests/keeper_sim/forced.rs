//! Rule 9: the budgets of what clients force.

use std::time::Duration;

use ecobee_tokend::keeper::{News, Problem, State};

use crate::world::{ALICE, Errand, Mishap, Word, World, authorize, bare, json, ms, refresh, rejected, secs};

const ROOT: u32 = 0;

#[track_caller]
fn too_many(problem: &Problem) -> Duration {
    let Problem::TooMany { retry_after } = problem else { panic!("{problem:?}") };
    *retry_after
}

/// The client forces it; nobody else can rely on more.
#[test]
fn a_forced_refresh_brings_a_new_token_at_once_whatever_was_promised() {
    let mut world = World::authorized();
    let old = world.lent(json());
    assert!(old.promised >= secs(2900));
    let (took, lent) = world.lent_later(refresh());
    assert!(took < secs(1));
    assert_ne!(lent.token, old.token);
    assert!(lent.promised >= secs(2900));
}

#[test]
fn a_rejected_token_is_replaced_and_never_lent_again() {
    let mut world = World::authorized();
    world.run(secs(100));
    let old = world.lent(json()).token;
    world.kill_access_token();
    world.ecobee.next(Errand::Refresh, Mishap::Unsent);
    let id = world.ask(rejected(&old));
    world.wait_for(id);
    assert!(world.history.says(|news| matches!(news, News::Rejected { uid: ALICE })));
    assert_eq!(world.state(), State::Retrying);
    world.problem(json());
    world.problem(bare());
    let again = world.problem(rejected(&old).by(2000));
    assert!(matches!(again, Problem::Unavailable { .. }), "what it led to has failed: {again:?}");
    world.run(secs(6));
    assert_ne!(world.lent(json()).token, old);
}

#[test]
fn a_token_that_is_not_the_current_one_is_answered_with_the_current_one() {
    let mut world = World::authorized();
    let current = world.lent(json()).token;
    assert_eq!(world.lent(rejected("another")).token, current);
    assert_eq!(world.refreshes(), 0);
}

#[test]
fn a_second_report_of_the_same_token_costs_nothing() {
    let mut world = World::authorized();
    let old = world.lent(json()).token;
    let first = world.ask(rejected(&old));
    let second = world.ask(rejected(&old).by(2000));
    world.run(secs(1));
    assert!(!world.waits(first) && !world.waits(second));
    assert_eq!(world.refreshes(), 1);
}

#[test]
fn rule_9_one_forced_refresh_in_thirty_seconds() {
    let mut world = World::authorized();
    world.run(secs(100));
    let forced_at = world.now;
    world.lent_later(refresh());
    let token = world.lent(json()).token;
    for question in [refresh(), rejected(&token), refresh().by(2000), refresh().by(ROOT)] {
        let retry_after = too_many(&world.problem(question));
        assert!(retry_after <= secs(30), "{retry_after:?}");
    }
    world.run_until(forced_at + secs(30) - ms(1));
    too_many(&world.problem(refresh().by(2000)));
    world.run(ms(1));
    world.lent_later(refresh().by(2000));
    assert_eq!(world.refreshes(), 2);
}

#[test]
fn rule_9_four_an_hour_for_one_user() {
    let mut world = World::authorized();
    world.run(secs(10));
    let begun_at = world.now;
    for _ in 0..4 {
        world.lent_later(refresh());
        world.run(secs(31));
    }
    let retry_after = too_many(&world.problem(refresh()));
    assert_eq!(world.now + retry_after, begun_at + secs(3600));
    world.lent_later(refresh().by(2000));
    world.run_until(begun_at + secs(3600));
    world.lent_later(refresh());
}

#[test]
fn rule_9_root_may_force_more_than_four_but_not_more_than_twelve() {
    let mut world = World::authorized();
    world.run(secs(10));
    let begun_at = world.now;
    for _ in 0..12 {
        world.lent_later(refresh().by(ROOT));
        world.run(secs(31));
    }
    let retry_after = too_many(&world.problem(refresh().by(ROOT)));
    assert_eq!(world.now + retry_after, begun_at + secs(3600));
    too_many(&world.problem(refresh().by(2000)));
}

#[test]
fn rule_9_twelve_an_hour_for_all_together() {
    let mut world = World::authorized();
    world.run(secs(10));
    for uid in [1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3] {
        world.lent_later(refresh().by(uid));
        world.run(secs(31));
    }
    too_many(&world.problem(refresh().by(4)));
}

#[test]
fn rule_9_sigusr1_draws_on_the_same_budget() {
    let mut world = World::authorized();
    world.run(secs(100));
    world.sigusr1();
    world.run(secs(5));
    assert_eq!(world.refreshes(), 1);
    world.sigusr1();
    world.run(secs(5));
    assert_eq!(world.refreshes(), 1);
    too_many(&world.problem(refresh()));
    world.run(secs(30));
    for _ in 0..20 {
        world.sigusr1();
        world.run(secs(31));
    }
    assert_eq!(world.refreshes(), 12);
}

#[test]
fn a_refresh_under_way_serves_whoever_wants_one_at_no_cost() {
    let mut world = World::authorized();
    world.run_until(world.token().refresh_at);
    world.lent_later(refresh());
    assert_eq!(world.refreshes(), 1);
    world.lent_later(refresh());
    assert_eq!(world.refreshes(), 2, "the budget was not touched");
}

#[test]
fn a_forced_refresh_waits_for_the_poll_in_flight() {
    let mut world = World::authorized();
    world.ask(authorize());
    world.ecobee.next(Errand::Poll, Mishap::Late(secs(5)));
    world.run_until_sent(Errand::Poll);
    let (took, _) = world.lent_later(refresh());
    assert!((secs(5)..secs(6)).contains(&took), "{took:?}");
}

#[test]
fn who_rejects_a_token_waits_for_the_poll_in_flight_and_plain_readers_do_not() {
    let mut world = World::authorized();
    let old = world.lent(json()).token;
    world.ask(authorize());
    world.ecobee.next(Errand::Poll, Mishap::Late(secs(5)));
    world.run_until_sent(Errand::Poll);
    let id = world.ask(rejected(&old));
    assert!(world.waits(id));
    world.problem(json());
    world.run(secs(6));
    assert!(!world.waits(id));
    assert_ne!(world.lent(json()).token, old);
}

#[test]
fn a_forced_try_of_a_refused_token_is_waited_for() {
    for restarted in [false, true] {
        let mut world = World::authorized();
        world.suspend(secs(4000));
        world.ecobee.next_refreshes(3, Mishap::Says(Word::Refused));
        world.tick();
        world.run_until_state(State::AwaitingUser);
        world.run(secs(3));
        if restarted {
            world.crash();
        }
        let (took, lent) = world.lent_later(refresh());
        assert!(took < secs(1), "{took:?}");
        assert!(lent.promised >= secs(2900));
        assert_eq!(world.pin(), None);
    }
}

#[test]
fn a_rejected_token_is_not_lent_after_two_seconds_either() {
    let mut world = World::authorized();
    let old = world.lent(json()).token;
    world.ecobee.next(Errand::Refresh, Mishap::Late(secs(20)));
    let id = world.ask(rejected(&old));
    let reader = world.ask(bare());
    world.run(secs(10));
    assert!(world.waits(id) && world.waits(reader));
    world.run(secs(11));
    assert!(!world.waits(id) && !world.waits(reader));
}

#[test]
fn a_token_that_is_rejected_during_a_refresh_is_not_lent_any_more() {
    let mut world = World::authorized();
    let old = world.lent(json()).token;
    world.ecobee.next(Errand::Refresh, Mishap::Late(secs(20)));
    world.run_until_sent(Errand::Refresh);
    world.run(secs(3));
    assert_eq!(world.lent(json()).token, old);
    let id = world.ask(rejected(&old));
    assert!(world.waits(id));
    let reader = world.ask(json());
    assert!(world.waits(reader));
    world.run(secs(20));
    assert_eq!(world.refreshes(), 1);
}

#[test]
fn the_old_token_that_is_rejected_while_the_new_one_is_saved_brings_the_new_one() {
    let mut world = World::authorized();
    let old = world.lent(json()).token;
    world.disk.takes = secs(1);
    world.run_until_sent(Errand::Refresh);
    world.run(world.ecobee.latency);
    let (took, lent) = world.lent_later(rejected(&old));
    assert!(took <= secs(1));
    assert_ne!(lent.token, old);
    assert_eq!(world.refreshes(), 1);
}

/// A rejected token lies on disk no longer, so that a restart does not serve it.
#[test]
fn a_rejected_token_does_not_come_back_with_a_restart() {
    let mut world = World::authorized();
    let old = world.lent(json()).token;
    world.kill_access_token();
    world.ecobee.outage(world.now + secs(60), Mishap::Unsent);
    let id = world.ask(rejected(&old));
    world.wait_for(id);
    world.run(secs(1));
    world.crash();
    world.run(ms(500));
    world.problem(json());
}
