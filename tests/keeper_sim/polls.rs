//! Rule 9: how fast ecobee is asked whether the PIN was entered.

use ecobee_tokend::keeper::{News, Reach};

use crate::world::{Errand, Mishap, Word, World, authorize, ms, secs};

#[test]
fn rule_9_the_first_poll_comes_an_interval_after_the_pin_and_the_next_an_interval_later() {
    let mut world = World::started();
    world.run(secs(300));
    let issued_at = world.history.sent_at(Errand::Authorize)[0] + world.ecobee.latency;
    let polls = world.history.sent_at(Errand::Poll);
    assert_eq!(polls[0], issued_at + secs(30));
    for pair in polls.windows(2) {
        assert_eq!(pair[1].since(pair[0]), secs(30) + world.ecobee.latency);
    }
}

#[test]
fn rule_9_each_slow_down_makes_the_polls_five_seconds_slower_from_then_on() {
    let mut world = World::started();
    world.ecobee.next(Errand::Poll, Mishap::None);
    for _ in 0..2 {
        world.ecobee.next(Errand::Poll, Mishap::Says(Word::SlowDown));
    }
    world.run(secs(300));
    let polls = world.history.sent_at(Errand::Poll);
    let pauses: Vec<_> = polls.windows(2).map(|pair| pair[1].since(pair[0]).as_secs()).collect();
    assert_eq!(pauses[..5], [30, 35, 40, 40, 40]);
}

#[test]
fn a_slow_down_that_comes_while_another_pin_is_asked_for_counts_if_the_old_pin_stays() {
    let mut world = World::awaiting();
    world.ecobee.next(Errand::Poll, Mishap::Says(Word::SlowDown));
    world.ecobee.next(Errand::Authorize, Mishap::Unsent);
    world.run_until_sent(Errand::Poll);
    world.ask(authorize());
    world.run(secs(80));
    let polls = world.history.sent_at(Errand::Poll);
    assert!(polls[1].since(polls[0]) >= secs(35), "{:?}", polls[1].since(polls[0]));
}

#[test]
fn a_pin_that_is_past_is_not_asked_about_for_ever_though_ecobee_only_says_slower() {
    let mut world = World::awaiting();
    world.ecobee.weather(Box::new(|errand| match errand {
        Errand::Poll => Mishap::Says(Word::SlowDown),
        Errand::Authorize | Errand::Refresh => Mishap::None,
    }));
    world.run(secs(540 + 300 + 300));
    assert!(world.calls(Errand::Authorize) > 1, "the first PIN was never given up");
}

#[test]
fn polls_that_ecobee_wants_without_a_pause_come_a_second_apart_at_most() {
    let mut world = World::started_with(|world| {
        world.ecobee.interval = ms(0);
        world.ecobee.latency = ms(2);
    });
    world.run(secs(30));
    assert!(world.calls(Errand::Poll) <= 30);
}

#[test]
fn rule_9_polls_that_fail_back_off_and_never_come_faster_than_the_interval() {
    let mut world = World::started_with(|world| world.ecobee.pin_lifetime = secs(7200));
    world.run(secs(1));
    world.ecobee.outage(world.now + secs(7200), Mishap::LostBefore(Reach::Sent));
    world.run(secs(4000));
    let polls = world.history.sent_at(Errand::Poll);
    let pauses: Vec<_> = polls.windows(2).map(|pair| pair[1].since(pair[0])).collect();
    assert!(pauses.iter().all(|pause| *pause >= secs(30)), "{pauses:?}");
    assert!(pauses.iter().skip(7).all(|pause| (secs(225)..secs(302)).contains(pause)), "{pauses:?}");
    assert!(pauses.len() > 12);
}

#[test]
fn rule_9_no_poll_comes_sooner_than_ecobee_wishes() {
    let mut world = World::started_with(|world| world.ecobee.pin_lifetime = secs(3600));
    world.ecobee.next(Errand::Poll, Mishap::Says(Word::TooMany(Some(secs(200)))));
    world.run(secs(400));
    let polls = world.history.sent_at(Errand::Poll);
    assert_eq!(polls[1].since(polls[0]), secs(200) + world.ecobee.latency);
}

#[test]
fn a_poll_that_works_again_ends_the_trouble() {
    let mut world = World::awaiting();
    world.ecobee.next(Errand::Poll, Mishap::LostBefore(Reach::Sent));
    world.run(secs(32));
    assert_eq!(world.view().failures, 1);
    world.run(secs(32));
    assert_eq!(world.view().failures, 0);
    assert!(world.history.says(|news| matches!(news, News::TroubleEnded { .. })));
}
