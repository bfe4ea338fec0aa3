//! Rules 6 and 9: one call at a time, one repetition, and pauses that grow.

use std::time::Duration;

use ecobee_tokend::keeper::{News, Problem, Reach, State};

use crate::world::{Errand, Mishap, Word, World, authorize, json, ms, refresh, rejected, secs};

fn pauses(world: &World, errand: Errand) -> Vec<Duration> {
    world.history.sent_at(errand).windows(2).map(|pair| pair[1].since(pair[0])).collect()
}

/// Whether a pause, a round trip and a save included, is `whole` less a quarter at most.
fn is_back_off(pause: Duration, whole: Duration) -> bool {
    let slack = ms(1500);
    whole * 3 / 4 <= pause && pause <= whole + slack
}

#[test]
fn rule_9_failed_refreshes_back_off_doubling_up_to_the_longest_pause() {
    let mut world = World::authorized();
    world.ecobee.outage(world.now + secs(20_000), Mishap::LostBefore(Reach::Sent));
    world.run(secs(12_000));
    let pauses = pauses(&world, Errand::Refresh);
    let mut whole = secs(5);
    for pause in &pauses {
        assert!(is_back_off(*pause, whole), "{pause:?} is not about {whole:?}");
        whole = (whole * 2).min(secs(300));
    }
    assert!(pauses.len() > 20);
    let distinct: std::collections::BTreeSet<_> = pauses.iter().skip(8).collect();
    assert!(distinct.len() > 5, "jitter: {distinct:?}");
}

#[test]
fn rule_9_the_pauses_are_settings() {
    let mut world = World::authorized_with(|world| {
        world.policy.retry_initial = secs(60);
        world.policy.retry_max = secs(3600);
    });
    world.ecobee.outage(world.now + secs(100_000), Mishap::LostBefore(Reach::Sent));
    world.run(secs(60_000));
    let pauses = pauses(&world, Errand::Refresh);
    assert!(is_back_off(pauses[0], secs(60)));
    assert!(pauses.iter().skip(7).all(|pause| is_back_off(*pause, secs(3600))), "{pauses:?}");
}

#[test]
fn rule_9_a_success_ends_the_series_of_growing_pauses() {
    let mut world = World::authorized();
    world.ecobee.outage(world.now + secs(5000), Mishap::LostBefore(Reach::Sent));
    world.run(secs(6000));
    assert_eq!(world.state(), State::Authorized);
    world.history.forget();
    world.ecobee.next_refreshes(2, Mishap::LostBefore(Reach::Sent));
    world.run(secs(3600));
    assert!(is_back_off(pauses(&world, Errand::Refresh)[0], secs(5)));
}

#[test]
fn rule_9_no_retry_comes_sooner_than_ecobee_wishes() {
    let mut world = World::authorized();
    world.ecobee.next(Errand::Refresh, Mishap::Says(Word::TooMany(Some(secs(700)))));
    world.run(secs(4000));
    let pause = pauses(&world, Errand::Refresh)[0];
    assert!((secs(700)..secs(705)).contains(&pause), "{pause:?}");
}

#[test]
fn rule_9_ecobee_may_not_wish_for_more_than_an_hour() {
    let mut world = World::authorized();
    world.ecobee.next(Errand::Refresh, Mishap::Says(Word::TooMany(Some(secs(1_000_000)))));
    world.run(secs(9000));
    let pause = pauses(&world, Errand::Refresh)[0];
    assert!((secs(3600)..secs(3605)).contains(&pause), "{pause:?}");
}

#[test]
fn rule_9_not_even_a_forced_refresh_comes_sooner_than_ecobee_wishes() {
    let mut world = World::authorized();
    world.ecobee.next(Errand::Refresh, Mishap::Says(Word::TooMany(Some(secs(300)))));
    world.run_until_state(State::Retrying);
    let refused_at = world.now;
    let token = world.lent(json()).token;
    world.problem(refresh());
    world.problem(rejected(&token));
    world.sigusr1();
    world.run(secs(100));
    world.problem(refresh());
    assert_eq!(world.refreshes(), 1);
    world.run_until_sent(Errand::Refresh);
    assert!(world.now.since(refused_at) >= secs(300));
}

#[test]
fn rule_9_a_forced_try_of_a_refused_token_does_not_come_sooner_than_ecobee_wishes() {
    let mut world = World::authorized();
    world.suspend(secs(4000));
    world.ecobee.next_refreshes(3, Mishap::Says(Word::Refused));
    world.ecobee.next(Errand::Refresh, Mishap::Says(Word::TooMany(Some(secs(900)))));
    world.tick();
    world.run_until_state(State::AwaitingUser);
    world.run_until_sent(Errand::Refresh);
    world.run(secs(1));
    let asked_at = world.now;
    world.problem(refresh());
    world.run_until_sent(Errand::Refresh);
    assert!(world.now.since(asked_at) >= secs(890), "{:?}", world.now.since(asked_at));
}

#[test]
fn rule_9_a_forced_refresh_does_not_wait_for_the_back_off() {
    let mut world = World::authorized();
    world.ecobee.outage(world.now + secs(3400), Mishap::LostBefore(Reach::Sent));
    world.run(secs(3450));
    assert_eq!(world.state(), State::Retrying);
    let (took, _) = world.lent_later(refresh());
    assert!(took < secs(1));
}

#[test]
fn rule_9_a_wrong_request_is_retried_at_the_slowest_pace_and_said_once() {
    let mut world = World::authorized();
    world.ecobee.outage(world.now + secs(20_000), Mishap::Says(Word::Misconfigured));
    world.run(secs(10_000));
    let pauses = pauses(&world, Errand::Refresh);
    assert!(pauses.iter().all(|pause| is_back_off(*pause, secs(300)) && *pause >= secs(300)), "{pauses:?}");
    let said = world.history.count(|news| matches!(news, News::Misconfigured(_)));
    assert_eq!(said, 1);
}

#[test]
fn a_wrong_request_is_said_though_other_trouble_came_first() {
    let mut world = World::authorized();
    world.ecobee.next(Errand::Refresh, Mishap::Unsent);
    world.ecobee.next(Errand::Refresh, Mishap::Says(Word::Misconfigured));
    world.run(secs(3400));
    assert!(world.history.says(|news| matches!(news, News::Misconfigured(_))));
}

#[test]
fn a_wrong_request_for_a_pin_is_said_too() {
    let mut world = World::started_with(|world| {
        world.ecobee.outage(world.now + secs(2000), Mishap::Says(Word::Misconfigured));
    });
    world.run(secs(1900));
    let said = world.history.count(|news| matches!(news, News::Misconfigured(_)));
    assert_eq!(said, 1);
    assert!((6..9).contains(&world.calls(Errand::Authorize)));
}

#[test]
fn rule_6_a_broken_connection_is_tried_again_once_at_once_with_the_same_token() {
    let mut world = World::authorized();
    world.ecobee.next(Errand::Refresh, Mishap::LostBefore(Reach::Broken));
    world.run_until_sent(Errand::Refresh);
    world.run(secs(1));
    let sent = world.history.sent(Errand::Refresh);
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[0].1, sent[1].1);
    assert_eq!(sent[1].0.since(sent[0].0), world.ecobee.latency);
    assert_eq!(world.state(), State::Authorized);
    assert!(!world.history.says(|news| matches!(news, News::TroubleBegan(_))), "nobody needs to know");
}

#[test]
fn rule_6_only_the_first_of_a_series_of_failures_gets_the_repetition() {
    let mut world = World::authorized();
    world.ecobee.next_refreshes(5, Mishap::LostBefore(Reach::Broken));
    world.run(secs(3500));
    let pauses = pauses(&world, Errand::Refresh);
    assert_eq!(pauses.len(), 5);
    assert_eq!(pauses[0], world.ecobee.latency);
    assert!(is_back_off(pauses[1], secs(5)), "{pauses:?}");
    assert!(is_back_off(pauses[2], secs(10)), "{pauses:?}");
}

#[test]
fn rule_6_other_trouble_gets_no_repetition() {
    for mishap in [Mishap::Unsent, Mishap::LostBefore(Reach::Sent), Mishap::Says(Word::Refused)] {
        let mut world = World::authorized();
        world.ecobee.next(Errand::Refresh, mishap);
        world.run(secs(3500));
        assert!(is_back_off(pauses(&world, Errand::Refresh)[0], secs(5)), "{mishap:?}");
    }
}

#[test]
fn rule_6_a_refresh_that_is_due_waits_for_the_poll_in_flight() {
    let mut world = World::authorized();
    world.run(secs(2900));
    world.ask(authorize());
    world.run(secs(2));
    let planned = world.token().refresh_at;
    world.run_until(planned - secs(31));
    world.ecobee.next(Errand::Poll, Mishap::Late(secs(50)));
    world.run_until_sent(Errand::Poll);
    let polled_at = world.now;
    world.run_until_sent(Errand::Refresh);
    assert!(world.now >= polled_at + secs(50));
    assert!(world.now <= polled_at + secs(51));
    world.run(secs(1));
    world.lent(json());
}

#[test]
fn an_answer_with_another_number_changes_nothing() {
    use ecobee_tokend::keeper::{CallId, Event, Outcome, SaveId};
    let mut world = World::authorized();
    world.run_until_sent(Errand::Refresh);
    let before = world.view();
    let sent_at = world.now;
    world.step(Event::Replied { call: CallId(7_777), sent_at, outcome: Outcome::Refused(String::new()) });
    world.step(Event::Saved(SaveId(7_777), Err(String::new())));
    assert_eq!(world.view(), before);
    world.run(secs(1));
    assert_eq!(world.state(), State::Authorized);
}

/// The world answers each call once; a late answer comes from a supervisor that is wrong.
#[test]
fn a_late_answer_to_an_earlier_call_changes_nothing() {
    use ecobee_tokend::keeper::{
        Action, Event, IssuedPin, Keeper, Moment, Outcome, Policy, Reach, Record, Trouble,
    };
    use ecobee_tokend::secret::Secret;

    let call_in = |actions: Vec<Action>| {
        actions
            .into_iter()
            .find_map(|action| if let Action::SendAuthorize { call } = action { Some(call) } else { None })
    };
    let sent_at = Moment::from_millis(0);
    let mut keeper = Keeper::new(Policy::default().into(), Record::default(), sent_at, 1);
    let first = call_in(keeper.step(sent_at, Event::Started)).expect("a call");
    let trouble = Trouble { reason: String::new(), reach: Reach::Sent, retry_after: None, rotated: None };
    keeper.step(sent_at, Event::Replied { call: first, sent_at, outcome: Outcome::Trouble(trouble) });
    let now = sent_at + secs(60);
    let second = call_in(keeper.step(now, Event::Ticked)).expect("another call");
    let before = keeper.view(now);
    let issued = IssuedPin {
        pin: "late".to_owned(),
        code: Secret::new("code"),
        lifetime: secs(540),
        interval: secs(30),
    };
    keeper.step(now, Event::Replied { call: first, sent_at, outcome: Outcome::PinIssued(issued) });
    assert_eq!(keeper.view(now + secs(3)), before, "{second:?} is still in flight");
}

#[test]
fn the_view_tells_when_a_failed_call_is_made_again_and_only_then() {
    let mut world = World::authorized();
    assert_eq!(world.view().next_try_at, None);
    world.ecobee.next(Errand::Refresh, Mishap::Unsent);
    world.run_until_state(State::Retrying);
    let next = world.view().next_try_at;
    world.history.forget();
    world.run_until_sent(Errand::Refresh);
    assert_eq!(next.map(|at| at + world.disk.takes), Some(world.now), "the mark is saved first");

    let mut world = World::awaiting();
    assert_eq!(world.view().next_try_at, None, "a poll that is due has not failed");
    world.ecobee.next(Errand::Poll, Mishap::Unsent);
    world.run_until_sent(Errand::Poll);
    world.run(secs(1));
    let next = world.view().next_try_at;
    world.history.forget();
    world.run_until_sent(Errand::Poll);
    assert_eq!(next, Some(world.now));
}

#[test]
fn a_tick_is_harmless_at_any_moment() {
    let mut calm = World::authorized();
    let mut ticked = World::authorized();
    for _ in 0..1000 {
        calm.run(ms(7777));
        ticked.run(ms(7777));
        ticked.tick();
        ticked.tick();
        assert_eq!(calm.view(), ticked.view());
    }
}

#[test]
fn a_problem_says_when_to_come_back() {
    let mut world = World::authorized();
    world.ecobee.outage(world.now + secs(9000), Mishap::Unsent);
    world.run(secs(4000));
    world.run_until_state(State::Retrying);
    let Problem::Unavailable { retry_after, .. } = world.problem(json()) else { panic!("another problem") };
    let before = world.refreshes();
    world.run_until(world.now + retry_after - ms(1));
    assert_eq!(world.refreshes(), before);
    world.run(ms(1));
    assert_eq!(world.refreshes(), before + 1);
}
