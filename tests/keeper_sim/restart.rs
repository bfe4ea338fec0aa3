//! Rules 1, 7 and 8: restarts cost nothing, and suspends are noticed at once.

use ecobee_tokend::keeper::{Reach, State};

use crate::world::{DAY, DiskMishap, Errand, Mishap, Rotation, Shelf, Word, World, json, ms, secs};

#[test]
fn rule_7_a_restart_serves_the_stored_token_at_once_and_refreshes_nothing() {
    let mut world = World::authorized();
    let lent = world.lent(json());
    for _ in 0..20 {
        world.run(secs(100));
        world.crash();
        assert_eq!(world.lent(json()).token, lent.token);
    }
    assert_eq!(world.refreshes(), 0);
    world.run_until_sent(Errand::Refresh);
}

#[test]
fn rule_7_promises_outlive_a_restart() {
    let mut world = World::authorized();
    let lent = world.lent(json());
    let until = world.now + lent.promised;
    world.run(secs(1000));
    world.crash();
    world.run_until_sent(Errand::Refresh);
    assert!(world.now >= until);
}

#[test]
fn rule_7_a_moved_refresh_outlives_a_restart() {
    let mut world = World::authorized();
    world.run_until(world.token().refresh_at - secs(10));
    let (_, lent) = world.lent_later(json().min_ttl(400));
    let until = world.now + lent.promised;
    world.crash();
    world.run_until_sent(Errand::Refresh);
    assert!(world.now >= until);
}

/// While refreshes fail, what is promised lasts until the next try, in the next life too.
#[test]
fn rule_7_a_promise_until_the_next_try_outlives_a_restart() {
    let mut world = World::authorized_with(|world| world.policy.retry_initial = secs(60));
    world.ecobee.next(Errand::Refresh, Mishap::Unsent);
    world.run_until_state(State::Retrying);
    let until = world.now + world.lent(json()).promised;
    world.run(secs(1));
    world.crash();
    world.run_until_sent(Errand::Refresh);
    assert!(world.now >= until);
}

#[test]
fn rule_7_a_plain_reader_is_promised_five_seconds_after_a_restart_too() {
    let mut world = World::authorized();
    world.run_until(world.token().refresh_at - ms(1));
    world.crash();
    assert!(world.lent(json()).promised >= secs(5));
}

#[test]
fn rule_1_a_start_that_finds_the_mark_refreshes_before_it_serves() {
    for careless in [false, true] {
        let mut world = World::authorized_with(|world| {
            world.ecobee.rotation = Rotation::Same;
            world.disk.careless = careless;
        });
        world.run_until_sent(Errand::Refresh);
        world.run(ms(300));
        world.crash();
        assert_eq!(world.refreshes(), 2);
        let (_, lent) = world.lent_later(json());
        assert!(lent.promised >= secs(2900));
    }
}

#[test]
fn a_start_that_finds_an_expired_token_refreshes_before_it_serves() {
    for careless in [false, true] {
        let mut world = World::authorized();
        world.disk.careless = careless;
        world.suspend(secs(5000));
        world.crash();
        assert_eq!(world.refreshes(), 1);
        let (_, lent) = world.lent_later(json());
        assert!(lent.promised >= secs(2900));
    }
}

#[test]
fn rule_1_the_mark_stays_while_it_is_unknown_what_ecobee_did() {
    let mut world = World::authorized();
    world.ecobee.next_refreshes(2, Mishap::LostBefore(Reach::Broken));
    world.run_until_state(State::Retrying);
    world.run(secs(1));
    world.crash();
    assert_eq!(world.refreshes(), 3, "refreshed at the start");
}

#[test]
fn rule_7_a_pin_outlives_a_restart_and_works() {
    let mut world = World::awaiting();
    let pin = world.pin().expect("a PIN");
    world.crash();
    let again = world.pin().expect("the PIN");
    assert_eq!((again.pin, again.expires_at), (pin.pin, pin.expires_at));
    world.enter_pin();
    world.run(secs(32));
    assert_eq!(world.state(), State::Authorized);
    assert_eq!(world.calls(Errand::Authorize), 1);
}

#[test]
fn rule_7_the_polls_go_on_at_their_pace() {
    let mut world = World::started();
    world.ecobee.next(Errand::Poll, Mishap::Says(Word::SlowDown));
    world.run(secs(40));
    world.crash();
    let started_at = world.now;
    world.run(secs(80));
    let polls = world.history.sent_at(Errand::Poll);
    assert_eq!(polls[1].since(started_at), secs(35));
    assert!(polls[2].since(polls[1]) >= secs(35));
}

#[test]
fn a_pin_that_expired_while_the_daemon_was_away_is_replaced() {
    let mut world = World::awaiting();
    world.suspend(secs(5000));
    world.crash();
    // Only ecobee knows that it was not entered.
    world.run(world.ecobee.interval + secs(2));
    assert_eq!(world.pin().map(|pin| pin.pin).as_deref(), Some("PIN-3"));
}

#[test]
fn rule_8_a_suspend_beyond_the_planned_refresh_is_made_up_for_at_the_first_event() {
    let mut world = World::authorized();
    world.suspend(secs(3100));
    let (_, lent) = world.lent_later(json());
    assert_eq!(world.refreshes(), 1);
    assert!(lent.promised >= secs(2900));
}

#[test]
fn rule_8_a_suspend_beyond_expiry_lends_nothing_dead() {
    for hours in [1, 5, 100, 5000] {
        let mut world = World::authorized();
        world.suspend(secs(hours * 3600 + 60));
        let (took, lent) = world.lent_later(json());
        assert_eq!(took, world.ecobee.latency + world.disk.takes, "the refresh in flight is waited for");
        assert!(lent.promised >= secs(2900));
    }
}

#[test]
fn a_suspend_while_a_pin_waits_asks_for_the_next_in_the_end() {
    let mut world = World::awaiting();
    world.suspend(secs(50_000));
    world.tick();
    world.run(secs(40));
    assert_eq!(world.state(), State::AwaitingUser);
    assert_eq!(world.calls(Errand::Authorize), 2);
}

#[test]
fn a_suspend_while_requests_wait_answers_them() {
    let mut world = World::authorized();
    world.ecobee.next(Errand::Refresh, Mishap::Late(secs(50)));
    world.run_until_sent(Errand::Refresh);
    let id = world.ask(json().min_ttl(1000));
    world.suspend(secs(5000));
    world.tick();
    assert!(!world.waits(id));
}

#[test]
fn a_crash_before_the_first_save_costs_the_pin_and_nothing_else() {
    let mut world = World::started();
    world.run(world.ecobee.latency + ms(5));
    world.crash();
    world.run(secs(1));
    assert_eq!(world.state(), State::AwaitingUser);
    world.enter_pin();
    world.run(secs(31));
    assert_eq!(world.state(), State::Authorized);
}

/// Found by a simulated decade: two restarts, and other settings in between.
#[test]
fn rule_7_a_plan_that_a_restart_moved_is_written_down() {
    let mut world = World::authorized();
    let planned = world.token().refresh_at;
    world.run_until(planned - secs(1));
    world.crash();
    world.run(secs(1));
    assert!(world.token().refresh_at > planned);
    assert_eq!(world.disk.access().refresh_at, world.token().refresh_at);
}

/// Kills a daemon whose clock was wrong while its first refresh is in flight; its next start has the right time.
fn killed_in_its_first_refresh(world: &mut World) {
    let before = world.refreshes();
    world.reboot(secs(60));
    assert_eq!(world.refreshes(), before, "not before the disk knows");
    world.run_until_sent(Errand::Refresh);
    world.run(world.ecobee.latency.saturating_sub(ms(1)));
    world.machine.synchronise();
    world.reboot(secs(10));
    assert_eq!(world.view().token, None, "ecobee may have replaced it");
}

/// Found by a simulated decade: a board that came up without the time refreshed what it had dropped in doubt, unmarked;
/// the next start, its clock set, took the old token from the disk.
#[test]
fn rule_1_a_refresh_of_a_token_that_was_dropped_in_doubt_is_marked_too() {
    let mut world = World::authorized_with(|world| world.disk.shelf = Some(Shelf::new()));
    world.machine.lose_the_time(secs(DAY));
    killed_in_its_first_refresh(&mut world);
}

/// They may work, and kill the token on disk. (No PIN comes, with which that would be saved over anyway.)
#[test]
fn rule_1_so_is_the_try_of_a_previous_refresh_token_and_that_of_a_refused_one() {
    for rotation in [Rotation::Strict, Rotation::Same] {
        let mut world = World::authorized_with(|world| {
            world.disk.shelf = Some(Shelf::new());
            world.ecobee.rotation = rotation;
        });
        world.run_until(world.token().refresh_at);
        world.run(secs(5));
        world.ecobee.next_refreshes(3, Mishap::Says(Word::Refused));
        world.run_until(world.token().refresh_at);
        while world.disk.grant().refusals < 3 {
            world.run(secs(1));
        }
        assert!(world.view().token.is_some(), "the token outlives the refusals");
        for _ in 0..20 {
            world.ecobee.next(Errand::Authorize, Mishap::Unsent);
        }
        world.machine.lose_the_time(secs(DAY));
        killed_in_its_first_refresh(&mut world);
    }
}

/// A disk that cannot be written costs the mark, not the token.
#[test]
fn a_refresh_of_a_token_that_was_dropped_in_doubt_does_not_wait_for_a_broken_disk() {
    for mishap in [DiskMishap::Fails(ms(20)), DiskMishap::Takes(secs(40))] {
        let mut world = World::authorized_with(|world| world.disk.shelf = Some(Shelf::new()));
        world.machine.lose_the_time(secs(DAY));
        world.disk.next(mishap);
        world.reboot(secs(60));
        let (took, lent) = world.lent_later(json());
        assert!(took < secs(5), "{mishap:?}: {took:?}");
        assert!(lent.promised >= secs(2900));
    }
}

/// The disk is not written at each try of a long outage.
#[test]
fn a_token_that_was_dropped_in_doubt_is_marked_once() {
    let mut world = World::authorized_with(|world| world.disk.shelf = Some(Shelf::new()));
    world.machine.lose_the_time(secs(DAY));
    world.ecobee.next_refreshes(20, Mishap::Unsent);
    world.reboot(secs(60));
    world.run(secs(30));
    let orders = world.disk.orders;
    world.run(secs(250));
    assert_eq!(world.disk.orders, orders);
}

#[test]
fn rule_7_a_restart_that_moves_no_plan_writes_nothing() {
    let mut world = World::authorized();
    world.run(secs(600));
    let (planned, orders) = (world.token().refresh_at, world.disk.orders);
    world.crash();
    assert_eq!(world.token().refresh_at, planned);
    world.run(secs(600));
    assert_eq!(world.disk.orders, orders);
}
