//! What `expires_in` means: windows, plain answers, and promises kept.

use std::collections::BTreeSet;

use ecobee_tokend::keeper::{Answer, Policy, State, Window};

use crate::world::{Errand, Mishap, World, bare, json, ms, secs};

#[test]
fn the_window_opens_ahead_of_expiry_and_closes_a_minute_before() {
    let window = Window::of(secs(3600), secs(600));
    assert_eq!((window.opens_after, window.closes_after), (secs(3000), secs(3540)));
}

#[test]
fn the_window_never_opens_before_half_the_lifetime() {
    assert_eq!(Window::of(secs(900), secs(600)).opens_after, secs(450));
}

#[test]
fn the_window_closes_a_tenth_of_the_lifetime_or_half_of_ahead_before_expiry_if_that_is_less() {
    assert_eq!(Window::of(secs(60), secs(600)).closes_after, secs(54));
    assert_eq!(Window::of(secs(3600), secs(60)).closes_after, secs(3570));
}

#[test]
fn the_planned_refresh_is_the_opening_and_a_tenth_of_the_window_at_most() {
    for lifetime in [30, 60, 3600, 86_400] {
        let mut world = World::authorized_for(secs(lifetime));
        let window = Window::of(secs(lifetime), world.policy.ahead);
        for _ in 0..50 {
            let after = world.token().refresh_at.since(world.token().issued_at);
            assert!(window.opens_after <= after, "{lifetime}: {after:?}");
            assert!(after <= window.opens_after + window.tenth(), "{lifetime}: {after:?}");
            world.run_until_sent(Errand::Refresh);
            world.run_until_state(State::Authorized);
        }
    }
}

#[test]
fn many_daemons_do_not_refresh_in_step() {
    let mut world = World::authorized();
    let mut delays = BTreeSet::new();
    for _ in 0..20 {
        delays.insert(world.token().refresh_at.since(world.token().issued_at));
        world.run(secs(3600));
    }
    assert!(delays.len() > 15, "{delays:?}");
}

#[test]
fn expires_in_is_the_time_until_the_planned_refresh() {
    let mut world = World::authorized();
    world.run(secs(100));
    let left = world.token().refresh_at.since(world.now);
    assert_eq!(world.lent(json()).promised, left);
}

#[test]
fn a_plain_answer_promises_five_seconds_while_the_window_is_shut() {
    for (lifetime, opens_after) in [(3600, 3000), (60, 30), (30, 15)] {
        let mut world = World::authorized_for(secs(lifetime));
        world.run_until(world.token().issued_at + secs(opens_after) - ms(1));
        assert!(world.lent(bare()).promised >= secs(5), "{lifetime}");
    }
}

#[test]
fn a_plain_promise_never_passes_the_close() {
    let mut world = World::authorized_for(secs(12));
    let closes_at = world.token().issued_at + Window::of(secs(12), world.policy.ahead).closes_after;
    world.run_until(world.token().issued_at + ms(5990));
    let lent = world.lent(bare());
    assert_eq!(world.now + lent.promised, closes_at);
}

/// In an open window plain answers promise what is left and never move the refresh.
#[test]
fn a_stream_of_plain_readers_cannot_starve_a_refresh() {
    for lifetime in [12, 30, 60, 3600] {
        let mut world = World::authorized_for(secs(lifetime));
        let opens_at = world.token().issued_at + Window::of(secs(lifetime), world.policy.ahead).opens_after;
        world.run_until(opens_at);
        let planned = world.token().refresh_at;
        assert!(planned <= opens_at + secs(54).max(secs(5)));
        while world.refreshes() == 0 {
            let left = planned.since(world.now);
            let id = world.ask(if world.now.as_millis() % 2 == 0 { bare() } else { json() });
            if let Some(Answer::Token { promised, .. }) = world.answer(id) {
                assert_eq!(promised, left);
            }
            world.run(ms(101));
        }
        let sent_at = world.history.sent_at(Errand::Refresh)[0];
        assert!(sent_at <= planned + secs(1), "{lifetime}: moved from {planned:?} to {sent_at:?}");
    }
}

#[test]
fn a_refresh_whose_time_has_come_waits_for_no_promise() {
    let mut world = World::authorized();
    let planned = world.token().refresh_at;
    world.run_until(planned - ms(1));
    assert_eq!(world.lent(json()).promised, ms(1));
    world.run_until_sent(Errand::Refresh);
    assert_eq!(world.now, planned + world.disk.takes);
}

#[test]
fn a_life_is_counted_from_the_sending_of_the_request() {
    let mut world = World::authorized();
    world.ecobee.next(Errand::Refresh, Mishap::Late(secs(50)));
    world.run_until_sent(Errand::Refresh);
    let sent_at = world.now;
    world.run(secs(51));
    let token = world.token();
    assert_eq!(token.issued_at, sent_at);
    assert_eq!(token.expires_at, sent_at + secs(3600));
    assert_eq!(world.view().last_refresh_at, Some(sent_at));
}

#[test]
fn a_longer_ahead_refreshes_sooner_from_the_next_token_on() {
    let mut world = World::authorized();
    let planned = world.token().refresh_at;
    world.reload(Policy { ahead: secs(1800), ..Policy::default() });
    assert_eq!(world.token().refresh_at, planned);
    world.run_until_sent(Errand::Refresh);
    world.run(secs(1));
    assert!(world.token().refresh_at < world.token().issued_at + secs(1800 + 180));
}

/// A token that dies before its next planned refresh may begin is not lent dead, and readers are not left hanging.
#[test]
fn with_tokens_of_a_second_readers_get_a_living_one_or_an_answer_at_once() {
    let mut world = World::authorized_for(secs(1));
    let (mut living, mut none) = (0, 0);
    for _ in 0..100 {
        let id = world.ask(json());
        match world.wait_for(id) {
            (_, Answer::Token { .. }) => living += 1,
            (_, _) => none += 1,
        }
        world.run(ms(370));
    }
    assert!(living > 20, "{living}");
    assert!(none > 20, "{none}");
}
