//! Rule 2: the refresh token before the current one, which is kept until that has been used, and tried once.

use ecobee_tokend::keeper::{Problem, State};

use super::refusals::{refused_so_often, refusing};
use crate::world::{DAY, Errand, Mishap, Rotation, Word, World, refresh, secs};

/// The refresh tokens that were shown, without repetitions.
fn shown(world: &World) -> Vec<String> {
    let mut tokens: Vec<String> =
        world.history.sent(Errand::Refresh).into_iter().map(|(_, token)| token.to_owned()).collect();
    tokens.dedup();
    tokens
}

/// A world whose access token is dead and whose next three refreshes are refused, which counts its refresh token out.
fn counting_out() -> World {
    let mut world = refusing(Rotation::Reuse, 0);
    world.suspend(secs(4000));
    world.ecobee.next_refreshes(3, Mishap::Says(Word::Refused));
    world
}

#[test]
fn rule_9_after_the_last_resort_too_no_forced_try_comes_sooner_than_ecobee_wishes() {
    let mut world = counting_out();
    world.ecobee.next_refreshes(1, Mishap::Says(Word::TooMany(Some(secs(3000)))));
    world.tick();
    world.run_until_state(State::AwaitingUser);
    assert_eq!(world.refreshes(), 4);
    let problem = world.problem(refresh());
    assert!(matches!(problem, Problem::AuthorizationRequired { .. }), "{problem:?}");
    world.run(secs(100));
    assert_eq!(world.refreshes(), 4);
}

#[test]
fn rule_2_the_previous_token_is_kept_until_its_successor_has_been_used() {
    let mut world = World::authorized();
    let stored = |world: &World| {
        let grant = world.disk.grant();
        (grant.refresh_token.clone(), grant.previous.clone())
    };
    let (first, none) = stored(&world);
    assert_eq!(none, None);
    world.run(secs(3600));
    let (second, previous) = stored(&world);
    assert_eq!(previous, Some(first));
    world.ecobee.rotation = Rotation::Absent;
    world.run(secs(3600));
    let (third, previous) = stored(&world);
    assert_eq!((third, previous), (second, None), "used with success: nothing before it is needed");
}

/// ecobee lost what it gave last: only the token before it works.
#[test]
fn rule_2_the_previous_token_is_tried_just_before_the_pin_flow_and_may_save_it() {
    let mut world = counting_out();
    world.tick();
    world.run_until_state(State::Authorized);
    let tokens = shown(&world);
    assert_eq!(tokens.len(), 2, "{tokens:?}");
    assert_eq!(world.refreshes(), 4);
    assert_eq!(world.calls(Errand::Authorize), 0);
    world.run(secs(3600));
    assert_eq!(world.view().failures, 0);
}

#[test]
fn rule_2_a_refresh_token_that_comes_back_the_same_is_not_its_own_predecessor() {
    let mut world = World::authorized_with(|world| world.ecobee.rotation = Rotation::Same);
    world.run(secs(7200));
    assert_eq!(world.refreshes(), 2);
    assert_eq!(world.disk.grant().previous, None);
}

#[test]
fn rule_2_the_previous_token_is_tried_exactly_once() {
    for word in [Word::Refused, Word::TooMany(None), Word::Misconfigured, Word::Pending] {
        let mut world = counting_out();
        world.ecobee.next_refreshes(100, Mishap::Says(word));
        world.tick();
        world.run_until_state(State::AwaitingUser);
        assert_eq!(world.refreshes(), 4, "{word:?}");
        assert_eq!(refused_so_often(&world), [1, 2, 3], "{word:?}: the fourth does not count");
        let tokens = shown(&world);
        world.run(secs(7200));
        let later = shown(&world);
        assert_eq!(later.len(), 3, "{word:?}: from then on only the current one again: {later:?}");
        assert_eq!(later[2], tokens[0]);
    }
}

#[test]
fn rule_2_a_previous_token_that_was_tried_is_not_tried_again_after_a_restart() {
    for word in [Word::Refused, Word::TooMany(None), Word::Misconfigured] {
        let mut world = counting_out();
        world.ecobee.next_refreshes(2, Mishap::Says(word));
        world.tick();
        world.run_until_state(State::AwaitingUser);
        world.run(secs(1));
        world.crash();
        world.run(secs(61));
        assert_eq!(world.refreshes(), 5, "{word:?}");
        let tokens = shown(&world);
        assert_eq!(tokens.len(), 3, "{word:?}: {tokens:?}");
        assert_eq!(tokens[2], tokens[0], "{word:?}");
    }
}

/// A call that never left the house has shown nothing.
#[test]
fn rule_2_a_previous_token_that_was_not_sent_is_tried_again() {
    let mut world = counting_out();
    world.ecobee.next_refreshes(2, Mishap::Unsent);
    world.tick();
    world.run_until_state(State::Authorized);
    assert_eq!(world.refreshes(), 6);
    assert_eq!(shown(&world).len(), 2);
    let sent_at = world.history.sent_at(Errand::Refresh);
    assert!(sent_at[4].since(sent_at[3]) >= secs(3), "with a pause");
}

/// The answer to the previous token wishes for ten minutes: so long the current one is not shown either.
#[test]
fn rule_9_the_first_slow_retry_does_not_come_sooner_than_ecobee_wishes() {
    let mut world = counting_out();
    world.ecobee.next(Errand::Refresh, Mishap::Says(Word::TooMany(Some(secs(600)))));
    world.tick();
    world.run_until_state(State::AwaitingUser);
    let given_up_at = world.now;
    world.run_until_sent(Errand::Refresh);
    assert!(world.now.since(given_up_at) >= secs(599), "{:?}", world.now.since(given_up_at));
}

#[test]
fn rule_2_the_previous_token_is_never_shown_while_the_current_one_may_work() {
    let mut world = World::authorized_with(|world| world.ecobee.rotation = Rotation::ReuseDetection);
    world.run(secs(3700));
    world.history.forget();
    world.ecobee.next_refreshes(2, Mishap::Says(Word::Refused));
    world.ecobee.next_refreshes(4, Mishap::Unsent);
    world.run(secs(DAY));
    assert_eq!(world.calls(Errand::Authorize), 0);
    assert_eq!(world.state(), State::Authorized);
}

#[test]
fn a_refresh_token_that_the_previous_one_brings_is_used() {
    let mut world = counting_out();
    world.ecobee.next(Errand::Refresh, Mishap::Garbled);
    world.tick();
    world.run_until_state(State::Authorized);
    assert_eq!(shown(&world).len(), 3);
    assert_eq!(world.calls(Errand::Authorize), 0);
}
