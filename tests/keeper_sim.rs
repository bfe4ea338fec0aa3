//! The keeper in a pretend world: stories, one behaviour each, told by subject in the folder beside this file.
//! What a story can do and see is in `tests/world/mod.rs`, what holds in all of them in `tests/world/laws.rs`.
//!
//! Names that begin with `rule_` tell of one of the rules that keep a grant alive:
//!
//! 1. Save, then serve; mark the store before a refresh is sent.
//! 2. Keep the previous refresh token until its successor has been used; try it once, just before the PIN flow.
//! 3. An answer without a refresh token keeps the old one.
//! 4. Only an explicit refusal counts against a refresh token.
//! 5. A refusal is not final at once, and a refused token is tried on.
//! 6. One call in flight, which nobody cancels; one repetition after a broken connection.
//! 7. A restart costs nothing.
//! 8. Only the clock that counts through suspend counts.
//! 9. No failure makes a hot loop, and what clients force has a budget.
//! 10. A PIN shown is a PIN that works.

mod world;

#[path = "keeper_sim/authorize.rs"]
mod authorize;
#[path = "keeper_sim/forced.rs"]
mod forced;
#[path = "keeper_sim/in_flight.rs"]
mod in_flight;
#[path = "keeper_sim/min_ttl.rs"]
mod min_ttl;
#[path = "keeper_sim/pin.rs"]
mod pin;
#[path = "keeper_sim/polls.rs"]
mod polls;
#[path = "keeper_sim/previous.rs"]
mod previous;
#[path = "keeper_sim/promises.rs"]
mod promises;
#[path = "keeper_sim/refusals.rs"]
mod refusals;
#[path = "keeper_sim/restart.rs"]
mod restart;
#[path = "keeper_sim/saving.rs"]
mod saving;
#[path = "keeper_sim/stop.rs"]
mod stop;
#[path = "keeper_sim/storms.rs"]
mod storms;
#[path = "keeper_sim/told.rs"]
mod told;
#[path = "keeper_sim/trouble.rs"]
mod trouble;

use ecobee_tokend::keeper::{News, Notice, Reach, State};
use world::{DAY, Errand, Mishap, Rotation, World, json, secs};

#[test]
fn a_new_account_asks_for_a_pin_and_shows_it() {
    let mut world = World::started();
    assert_eq!(world.state(), State::RequestingPin);
    assert_eq!(world.pin(), None);

    world.run(secs(1));
    assert_eq!(world.state(), State::AwaitingUser);
    let pin = world.pin().expect("a PIN");
    assert_eq!(pin.pin, "PIN-1");
    assert!(world.history.says(|news| matches!(news, News::PinShown(shown) if shown.pin == pin.pin)));
    assert!(matches!(world.history.notices()[..], [(_, Notice::PinWaiting(_))]));
}

#[test]
fn the_states_have_the_names_that_users_know() {
    let states =
        [State::RequestingPin, State::AwaitingUser, State::Authorized, State::Refreshing, State::Retrying];
    let names = ["requesting-pin", "awaiting-user", "authorized", "refreshing", "retrying"];
    assert_eq!(states.map(State::name), names);
}

#[test]
fn an_entered_pin_becomes_a_grant() {
    let mut world = World::awaiting();
    world.enter_pin();
    world.run(secs(30));
    assert_eq!(world.state(), State::Authorized);
    assert_eq!(world.pin(), None);
    assert!(world.history.says(|news| matches!(news, News::Authorized { .. })));
    assert!(world.lent(json()).promised >= secs(2900));
}

#[test]
fn the_state_is_refreshing_from_the_mark_until_the_new_grant_is_saved() {
    let mut world = World::authorized();
    world.run_until(world.token().refresh_at);
    assert_eq!(world.state(), State::Refreshing, "the mark is being saved");
    assert_eq!(world.refreshes(), 0);
    world.run_until_sent(Errand::Refresh);
    assert_eq!(world.state(), State::Refreshing, "the call is in flight");
    world.run(world.ecobee.latency);
    assert_eq!(world.state(), State::Refreshing, "the new grant is being saved");
    world.run(world.disk.takes);
    assert_eq!(world.state(), State::Authorized);
}

#[test]
fn the_state_is_retrying_while_refreshes_fail() {
    let mut world = World::authorized();
    world.ecobee.next(Errand::Refresh, Mishap::Unsent);
    world.run_until_state(State::Retrying);
    let view = world.view();
    assert_eq!(view.failures, 1);
    assert_eq!(view.last_error.as_deref(), Some("no route to ecobee"));
    assert_eq!(view.trouble_since, Some(world.now));
    world.run(secs(10));
    let view = world.view();
    assert_eq!((view.state, view.failures, view.last_error), (State::Authorized, 0, None));
}

/// Every sort of rotation, a refresh an hour, and a living token whenever somebody asks.
#[test]
fn a_year_passes_without_a_human() {
    for rotation in Rotation::ALL {
        let mut world = World::authorized_with(|world| world.ecobee.rotation = rotation);
        let begun_at = world.now;
        let mut refreshes = 0;
        for _ in 0..365 * 8 {
            world.run(secs(3 * 3600));
            world.lent(json());
            refreshes += world.refreshes();
            world.history.forget();
        }
        let hours = world.now.since(begun_at).as_secs() / 3600;
        let a_year_of_50_minutes = usize::try_from(hours * 6 / 5).expect("small");
        assert!(
            (a_year_of_50_minutes * 97 / 100..=a_year_of_50_minutes).contains(&refreshes),
            "{rotation:?}: {refreshes} refreshes in {hours} hours"
        );
        assert_eq!(world.view().failures, 0, "{rotation:?}");
    }
}

#[test]
fn lifetimes_from_a_second_to_a_day_are_lived_with() {
    for lifetime in [1, 2, 30, 60, 3600, DAY] {
        let mut world = World::authorized_for(secs(lifetime));
        let many = 200;
        world.run(secs(lifetime * many));
        let fastest = lifetime * many / u64::max(2, lifetime / 2) + 1;
        let refreshes = u64::try_from(world.refreshes()).expect("small");
        assert!(refreshes <= fastest, "{lifetime} s: {refreshes} refreshes");
        assert!(refreshes >= lifetime * many / (lifetime + 2), "{lifetime} s: {refreshes} refreshes");
        if lifetime >= 30 {
            world.run_until_state(State::Authorized);
            world.lent(json());
        }
    }
}

#[test]
fn rule_3_an_answer_without_a_refresh_token_keeps_the_old_one() {
    let mut world = World::authorized();
    world.ecobee.rotation = Rotation::Absent;
    world.run(secs(DAY));
    let sent = world.history.sent(Errand::Refresh);
    assert!(sent.len() > 20);
    assert!(sent.iter().all(|(_, token)| *token == sent[0].1), "{sent:?}");
}

#[test]
fn rule_3_a_rotated_refresh_token_replaces_the_old_one() {
    let mut world = World::authorized();
    world.ecobee.rotation = Rotation::Strict;
    world.run(secs(DAY));
    let sent = world.history.sent(Errand::Refresh);
    assert!(sent.windows(2).all(|pair| pair[0].1 != pair[1].1), "{sent:?}");
    assert_eq!(world.view().failures, 0);
}

/// The access token is used up, then a person is asked.
#[test]
fn a_grant_without_any_refresh_token_lives_as_long_as_its_access_token() {
    let mut world = World::authorized_with(|world| world.ecobee.refreshable = false);
    let dies_at = world.token().expires_at;
    world.run_until(dies_at - secs(1));
    world.lent(json());
    world.run(secs(3));
    assert_eq!(world.state(), State::AwaitingUser);
    assert_eq!(world.refreshes(), 0);
    assert!(!world.history.says(|news| matches!(news, News::GivenUp { .. })), "nothing was refused");
}

#[test]
fn trouble_begins_goes_on_and_ends_in_the_diary() {
    let mut world = World::authorized();
    world.ecobee.next_refreshes(3, Mishap::LostBefore(Reach::Sent));
    world.run(secs(3600));
    let news: Vec<_> = world.history.news().into_iter().map(|(_, news)| news.clone()).collect();
    assert!(
        matches!(
            &news[..],
            [
                News::TroubleBegan(_),
                News::TroubleGoesOn { failures: 2, .. },
                News::TroubleGoesOn { failures: 3, .. },
                News::TroubleEnded { .. },
                News::Renewed { .. },
            ]
        ),
        "{news:?}"
    );
}
