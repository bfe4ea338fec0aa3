//! Rules 4 and 5: what counts against a refresh token, and what a refused one leads to.

use ecobee_tokend::keeper::{News, Notice, Problem, Reach, State};

use crate::world::{DAY, Errand, Mishap, Rotation, Word, World, bare, json, ms, rejected, secs};

pub(super) fn refused_so_often(world: &World) -> Vec<u32> {
    let news = world.history.news();
    news.into_iter()
        .filter_map(|(_, news)| if let News::Refused { times, .. } = news { Some(*times) } else { None })
        .collect()
}

/// A world whose ecobee refuses everything from the next refresh on, for so long.
pub(super) fn refusing(rotation: Rotation, long: u64) -> World {
    let mut world = World::authorized_with(|world| world.ecobee.rotation = rotation);
    world.run(secs(3700));
    world.ecobee.quarantine_until = world.now + secs(long);
    world.history.forget();
    world
}

#[test]
fn rule_4_trouble_of_the_moment_never_counts_against_a_refresh_token() {
    for mishap in [
        Mishap::Unsent,
        Mishap::LostBefore(Reach::Broken),
        Mishap::LostBefore(Reach::Sent),
        Mishap::Says(Word::TooMany(None)),
        Mishap::Says(Word::Misconfigured),
        Mishap::Says(Word::Pending),
    ] {
        let mut world = World::authorized();
        world.ecobee.outage(world.now + secs(3 * DAY), mishap);
        world.run(secs(3 * DAY - 1));
        assert_eq!(world.state(), State::Retrying, "{mishap:?}");
        assert_eq!(world.calls(Errand::Authorize), 0, "{mishap:?}");
        assert_eq!(world.disk.grant().refusals, 0);
        world.run(secs(301));
        assert_eq!(world.state(), State::Authorized, "{mishap:?}");
    }
}

#[test]
fn rule_4_the_old_token_is_served_while_it_lives() {
    let mut world = World::authorized();
    let dies_at = world.token().expires_at;
    world.ecobee.outage(dies_at + secs(1000), Mishap::LostBefore(Reach::Sent));
    world.run_until_state(State::Retrying);
    let lent = world.lent(json());
    assert_eq!(lent.promised, secs(0), "ecobee may have replaced it");
    world.run_until(dies_at - ms(1));
    assert_eq!(world.state(), State::Retrying);
    assert_eq!(world.lent(bare()).token, lent.token);
    world.run(ms(1));
    world.problem(json());
}

#[test]
fn rule_5_a_refusal_that_heals_costs_nobody_a_pin() {
    let mut world = refusing(Rotation::Strict, 0);
    world.ecobee.next_refreshes(2, Mishap::Says(Word::Refused));
    world.run(secs(3600));
    assert_eq!(refused_so_often(&world), [1, 2]);
    assert_eq!(world.calls(Errand::Authorize), 0);
    assert_eq!(world.state(), State::Authorized);
    assert_eq!(world.disk.grant().refusals, 0, "the count begins anew");
}

#[test]
fn rule_5_no_pin_is_asked_for_while_the_access_token_lives() {
    let mut world = refusing(Rotation::Strict, 1_000_000);
    let dies_at = world.token().expires_at;
    world.run_until(dies_at - secs(1));
    assert!(refused_so_often(&world).len() > 3);
    world.lent(json());
    assert_eq!(world.calls(Errand::Authorize), 0);
    world.run(secs(3));
    assert_eq!(world.state(), State::AwaitingUser);
    assert!(world.history.says(|news| matches!(news, News::GivenUp { .. })));
}

#[test]
fn rule_5_a_rejected_access_token_does_not_hold_the_pin_up() {
    let mut world = refusing(Rotation::Strict, 1_000_000);
    let token = world.lent(bare()).token;
    world.kill_access_token();
    world.ask(rejected(&token));
    let asked_at = world.now;
    world.run_until_state(State::AwaitingUser);
    assert!(world.now.since(asked_at) < secs(60));
    assert_eq!(refused_so_often(&world), [1, 2, 3]);
}

#[test]
fn rule_5_the_number_of_refusals_is_a_setting() {
    for times in [1, 2, 7] {
        let mut world = World::authorized_with(|world| world.policy.refusals_before_pin = times);
        world.suspend(secs(4000));
        world.ecobee.quarantine_until = world.now + secs(100_000);
        world.tick();
        world.run_until_state(State::AwaitingUser);
        assert_eq!(refused_so_often(&world), (1..=times).collect::<Vec<_>>());
    }
}

#[test]
fn rule_5_a_refused_token_is_tried_again_after_a_minute_and_then_every_five() {
    let mut world = refusing(Rotation::Same, 1_000_000);
    world.run_until_state(State::AwaitingUser);
    let given_up_at = world.history.sent_at(Errand::Authorize)[0];
    world.history.forget();
    world.run(secs(3600));
    let tries = world.history.sent_at(Errand::Refresh);
    assert!((11..=13).contains(&tries.len()), "{tries:?}");
    assert!(tries[0].since(given_up_at) >= secs(60) && tries[0].since(given_up_at) <= secs(62));
    for pair in tries.windows(2) {
        let pause = pair[1].since(pair[0]);
        assert!((secs(300)..secs(303)).contains(&pause), "{pause:?}");
    }
    assert_eq!(world.state(), State::AwaitingUser);
}

#[test]
fn a_refused_token_that_works_again_ends_the_asking_for_a_pin() {
    let mut world = refusing(Rotation::Strict, 4000);
    for _ in 0..100 {
        world.ecobee.next(Errand::Authorize, Mishap::Says(Word::TooMany(None)));
    }
    world.run_until_state(State::RequestingPin);
    world.run_until_state(State::Authorized);
    world.history.forget();
    world.run(secs(3000));
    assert_eq!(world.calls(Errand::Authorize), 0);
}

#[test]
fn after_a_restart_a_counted_out_token_has_no_failed_call_to_repeat() {
    let mut world = refusing(Rotation::Same, 1_000_000);
    world.run_until_state(State::AwaitingUser);
    assert!(world.view().next_try_at.is_some());
    world.crash();
    assert_eq!(world.view().next_try_at, None);
}

#[test]
fn during_a_slow_retry_readers_are_told_of_the_pin_at_once() {
    let mut world = refusing(Rotation::Same, 1_000_000);
    world.run_until_state(State::AwaitingUser);
    world.run_until_sent(Errand::Refresh);
    let problem = world.problem(json());
    assert!(matches!(problem, Problem::AuthorizationRequired { .. }), "{problem:?}");
}

#[test]
fn rule_5_a_refused_token_that_works_again_calls_the_pin_off() {
    let mut world = refusing(Rotation::Strict, 4000);
    world.run_until_state(State::AwaitingUser);
    world.history.forget();
    world.run(secs(3600));
    assert_eq!(world.state(), State::Authorized);
    assert_eq!(world.pin(), None);
    assert!(world.history.says(|news| matches!(news, News::PinCalledOff)));
    assert!(world.history.notices().iter().any(|(_, notice)| matches!(notice, Notice::TokenBack)));
    let polls = world.calls(Errand::Poll);
    world.run(secs(300));
    assert_eq!(world.calls(Errand::Poll), polls, "nobody polls for it any more");
}

#[test]
fn rule_5_the_count_survives_a_restart() {
    let mut world = refusing(Rotation::Strict, 1_000_000);
    world.suspend(secs(4000));
    world.tick();
    world.run_until_state(State::Retrying);
    world.run(secs(1));
    world.crash();
    world.run_until_state(State::Retrying);
    world.run(secs(1));
    world.crash();
    world.run_until_state(State::AwaitingUser);
    assert_eq!(refused_so_often(&world), [1, 2, 3]);
}

#[test]
fn rule_5_a_counted_out_token_stays_counted_out_across_a_restart_and_is_tried_on() {
    let mut world = refusing(Rotation::Same, 1_000_000);
    world.run_until_state(State::AwaitingUser);
    world.run(secs(100));
    let pin = world.pin().expect("a PIN");
    world.crash();
    let started_at = world.now;
    assert_eq!(world.pin().map(|pin| pin.pin), Some(pin.pin));
    world.run_until_sent(Errand::Refresh);
    assert_eq!(world.now.since(started_at), secs(60));
}

#[test]
fn rule_5_the_pin_works_beside_the_slow_retries() {
    let mut world = refusing(Rotation::Strict, 1_000_000);
    world.run_until_state(State::AwaitingUser);
    world.run(secs(2000));
    world.enter_pin();
    world.run(secs(62));
    assert_eq!(world.state(), State::Authorized);
}

#[test]
fn a_lost_answer_of_a_strict_server_ends_in_a_pin_and_not_in_a_loop() {
    let mut world = refusing(Rotation::Strict, 0);
    world.ecobee.next(Errand::Refresh, Mishap::LostAfter(Reach::Sent));
    world.run(secs(2 * 3600));
    assert_eq!(world.state(), State::AwaitingUser);
    let problem = world.problem(json());
    assert!(matches!(problem, Problem::AuthorizationRequired { .. }), "{problem:?}");
    world.enter_pin();
    world.run(secs(62));
    world.lent(json());
}

#[test]
fn a_lost_answer_of_a_lenient_server_costs_nobody_anything() {
    for rotation in [Rotation::Reuse, Rotation::Same, Rotation::Absent, Rotation::Leeway(secs(30))] {
        for reach in [Reach::Broken, Reach::Sent] {
            let mut world = refusing(rotation, 0);
            world.ecobee.next(Errand::Refresh, Mishap::LostAfter(reach));
            world.run(secs(2 * 3600));
            assert_eq!(world.state(), State::Authorized, "{rotation:?} {reach:?}");
            assert_eq!(world.calls(Errand::Authorize), 0);
        }
    }
}

/// A rotated refresh token that comes with an unusable access token must not be lost.
#[test]
fn a_refresh_token_beside_a_garbled_access_token_is_kept() {
    let mut world = refusing(Rotation::Strict, 0);
    world.ecobee.next(Errand::Refresh, Mishap::Garbled);
    world.run_until_state(State::Retrying);
    world.run(secs(1));
    world.crash();
    world.run(secs(3600));
    assert_eq!(world.state(), State::Authorized);
    assert_eq!(world.calls(Errand::Authorize), 0);
}

/// New tokens that cannot be used have killed the old one all the same.
#[test]
fn after_a_garbled_answer_the_old_token_is_not_lent_and_does_not_come_back() {
    for rotation in Rotation::ALL {
        let mut world = refusing(rotation, 0);
        world.ecobee.next_refreshes(2, Mishap::Garbled);
        world.run_until_state(State::Retrying);
        world.problem(json());
        world.run(secs(1));
        world.crash();
        world.run(ms(500));
        world.problem(json());
        world.run_until_state(State::Authorized);
        world.lent(json());
        assert_eq!(world.calls(Errand::Authorize), 0, "{rotation:?}");
    }
}

#[test]
fn a_person_who_revokes_the_access_is_asked_for_a_pin_in_the_end() {
    let mut world = refusing(Rotation::Strict, 0);
    world.revoke_all();
    world.run(secs(3700));
    assert_eq!(world.state(), State::AwaitingUser);
    assert_eq!(refused_so_often(&world).iter().filter(|times| **times <= 3).count(), 3);
}

/// Found by a simulated decade: a grant that died in an outage was refused three times five minutes apart.
#[test]
fn rule_5_refusals_after_a_long_outage_lead_to_a_pin_within_ten_minutes() {
    let mut world = World::authorized();
    world.ecobee.revoke_refresh_tokens();
    let ends_at = world.now + secs(DAY);
    world.ecobee.outage(ends_at, Mishap::Unsent);
    world.run_until(ends_at);
    world.run_until_state(State::AwaitingUser);
    let took = world.now.since(ends_at);
    assert!(took < secs(300 + 30), "the last pause of the outage and two short ones, not {took:?}");
}

/// The pause after so many failures is longer than ecobee's wish; but there is nothing left to try, only a PIN to ask
/// for.
#[test]
fn rule_9_a_counted_out_token_that_dies_leads_to_a_pin_as_soon_as_ecobee_takes_calls_again() {
    let mut world = World::authorized();
    let dies_at = world.token().expires_at;
    world.ecobee.next_refreshes(3, Mishap::Says(Word::Refused));
    for _ in 0..20 {
        world.ecobee.next(Errand::Refresh, Mishap::Says(Word::TooMany(Some(secs(10)))));
    }
    world.run_until(dies_at - secs(5));
    assert_eq!(refused_so_often(&world), [1, 2, 3]);
    let tries = world.refreshes();
    world.sigusr1();
    assert_eq!(world.refreshes(), tries + 1);
    world.run(world.ecobee.latency);
    let left_alone_until = world.now + secs(10);
    assert!(world.view().next_try_at.is_some_and(|at| at > left_alone_until + secs(60)));
    world.run_until_state(State::RequestingPin);
    assert_eq!(world.now, left_alone_until);
}
