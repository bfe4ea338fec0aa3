//! Rules 9 and 10: the PIN, its polls, and `POST /authorize`.

use ecobee_tokend::keeper::{Answer, News, Notice, PinView, Policy, Problem, Reach, State};

use crate::world::{DiskMishap, Errand, Mishap, Word, World, authorize, bare, json, ms, rejected, secs};

const DAY: u64 = 24 * 3600;

/// A world that waits for a person.
fn awaiting() -> World {
    let mut world = World::new();
    world.start();
    world.run(secs(1));
    assert_eq!(world.state(), State::AwaitingUser);
    world
}

#[track_caller]
fn pin_given(world: &mut World) -> PinView {
    let id = world.ask(authorize());
    match world.wait_for(id) {
        (_, Answer::Pin(pin)) => pin,
        (_, other) => panic!("{other:?}"),
    }
}

#[test]
fn rule_9_the_first_poll_comes_an_interval_after_the_pin_and_the_next_an_interval_later() {
    let mut world = World::new();
    world.start();
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
    let mut world = World::new();
    world.start();
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
fn a_pin_that_is_past_is_not_asked_about_for_ever_though_ecobee_only_says_slower() {
    let mut world = World::new();
    world.start();
    world.run_until_state(State::AwaitingUser);
    world.ecobee.weather(Box::new(|_, errand| match errand {
        Errand::Poll => Mishap::Says(crate::world::Word::SlowDown),
        Errand::Authorize | Errand::Refresh => Mishap::None,
    }));
    world.run(secs(540 + 300 + 300));
    assert!(world.history.sent(Errand::Authorize).len() > 1, "the first PIN was never given up");
}

#[test]
fn polls_that_ecobee_wants_without_a_pause_come_a_second_apart_at_most() {
    let mut world = World::new();
    world.ecobee.interval = ms(0);
    world.ecobee.latency = ms(2);
    world.start();
    world.run(secs(30));
    assert!(world.history.sent(Errand::Poll).len() <= 30);
}

#[test]
fn rule_9_polls_that_fail_back_off_and_never_come_faster_than_the_interval() {
    let mut world = World::new();
    world.ecobee.pin_lifetime = secs(7200);
    world.start();
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
    let mut world = World::new();
    world.ecobee.pin_lifetime = secs(3600);
    world.start();
    world.ecobee.next(Errand::Poll, Mishap::Says(Word::TooMany(Some(secs(200)))));
    world.run(secs(400));
    let polls = world.history.sent_at(Errand::Poll);
    assert_eq!(polls[1].since(polls[0]), secs(200) + world.ecobee.latency);
}

/// Nor does any other call about PINs: not when the PIN ends meanwhile, and not for a client.
#[test]
fn rule_9_no_request_for_a_pin_comes_sooner_than_ecobee_wishes() {
    let mut world = awaiting();
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
fn rule_10_when_a_pin_expires_unused_the_next_is_asked_for_at_once() {
    let mut world = awaiting();
    let first = world.pin().expect("a PIN");
    world.run_until(first.expires_at);
    assert_eq!(world.pin(), None, "a PIN shown is a PIN that works");
    assert_eq!(world.state(), State::RequestingPin);
    world.run(secs(32));
    let second = world.pin().expect("a PIN");
    assert_ne!(second.pin, first.pin);
    assert!(world.history.says(|news| matches!(news, News::PinOver(_))));
}

#[test]
fn rule_10_a_pin_that_ecobee_calls_over_is_replaced_at_once() {
    let mut world = awaiting();
    world.ecobee.next(Errand::Poll, Mishap::Says(Word::PinOver));
    world.run_until_sent(Errand::Poll);
    world.run(world.ecobee.latency);
    assert_eq!(world.history.sent(Errand::Authorize).len(), 2);
    assert_eq!(world.history.sent_at(Errand::Authorize)[1], world.now);
}

#[test]
fn rule_10_a_pin_entered_at_the_last_moment_counts() {
    let mut world = awaiting();
    let pin = world.pin().expect("a PIN");
    world.run_until(pin.expires_at - ms(1));
    world.enter_pin();
    world.run(secs(32));
    assert_eq!(world.state(), State::Authorized);
}

/// Only ecobee knows whether it was entered, and ecobee is away.
#[test]
fn rule_10_a_pin_entered_during_an_outage_counts_though_its_time_is_over() {
    let mut world = awaiting();
    let pin = world.pin().expect("a PIN");
    world.run_until(pin.expires_at - secs(60));
    world.enter_pin();
    world.ecobee.outage(pin.expires_at + secs(120), Mishap::LostBefore(Reach::Sent));
    world.run_until(pin.expires_at + secs(290));
    assert_eq!(world.state(), State::Authorized);
}

/// Nobody is reminded of a PIN past its time, and nothing wakes for it.
#[test]
fn rule_9_a_reminder_that_is_due_while_the_pin_is_past_its_time_makes_no_hot_loop() {
    let mut world = World::new();
    world.policy = Policy { remind_every: secs(600), ..Policy::default() };
    world.start();
    world.run(secs(1));
    let told_at = world.history.notices()[0].0;
    world.ecobee.outage(told_at + secs(700), Mishap::Unsent);
    world.run_until(told_at + secs(600));
    world.tick();
    assert_eq!(world.history.notices().len(), 1);
    assert!(world.wake_at().is_some_and(|at| at > world.now), "{:?}", world.wake_at());
}

#[test]
fn rule_10_a_pin_is_off_show_when_its_time_ends_though_no_poll_is_due() {
    let mut world = awaiting();
    let pin = world.pin().expect("a PIN");
    world.ecobee.next(Errand::Poll, Mishap::Says(Word::TooMany(Some(secs(3000)))));
    world.run_until(pin.expires_at - ms(1));
    assert_eq!(world.wake_at(), Some(pin.expires_at));
    assert!(world.pin().is_some());
    world.run_until(pin.expires_at);
    assert_eq!(world.pin(), None);
}

#[test]
fn a_poll_that_works_again_ends_the_trouble() {
    let mut world = awaiting();
    world.ecobee.next(Errand::Poll, Mishap::LostBefore(Reach::Sent));
    world.run(secs(32));
    assert_eq!(world.view().failures, 1);
    world.run(secs(32));
    assert_eq!(world.view().failures, 0);
    assert!(world.history.says(|news| matches!(news, News::TroubleEnded { .. })));
}

#[test]
fn rule_10_a_person_is_told_at_the_first_pin_then_every_day() {
    let mut world = awaiting();
    let begun_at = world.now;
    world.run(secs(3 * DAY + 1000));
    let notices = world.history.notices();
    assert_eq!(notices.len(), 4, "{notices:?}");
    assert!(matches!(notices[0], (_, Notice::PinWaiting(_))));
    for (day, (at, notice)) in (1..).zip(&notices[1..]) {
        assert!(matches!(notice, Notice::PinReminder(_)));
        let late = at.since(begun_at + secs(day * DAY));
        assert!(late <= secs(60), "{late:?}");
    }
    let pins = world.history.sent(Errand::Authorize).len();
    assert!(pins > 3 * 140, "the PIN was always fresh");
    let shown = world.history.news().iter().filter(|(_, news)| matches!(news, News::PinShown(_))).count();
    assert_eq!(shown, pins, "each once in the diary");
}

#[test]
fn rule_10_the_reminders_are_a_setting() {
    let mut world = World::new();
    world.policy = Policy { remind_every: secs(3600), ..Policy::default() };
    world.start();
    world.run(secs(10 * 3600 + 100));
    assert_eq!(world.history.notices().len(), 11);
}

/// A server whose PINs die at birth is asked at a measured pace.
#[test]
fn rule_9_pins_that_die_at_birth_make_no_hot_loop() {
    let mut world = World::new();
    world.ecobee.pin_lifetime = ms(0);
    world.ecobee.interval = ms(0);
    world.start();
    world.run(secs(3600));
    assert!(world.history.sent(Errand::Authorize).len() <= 721, "one in 5 s at most");
    assert_eq!(world.state(), State::RequestingPin);
    assert!(world.history.notices().is_empty(), "nobody is shown a PIN that does not work");
}

#[test]
fn a_request_for_a_pin_that_fails_is_made_again_with_growing_pauses() {
    let mut world = World::new();
    world.ecobee.outage(world.now + secs(3000), Mishap::Unsent);
    world.start();
    world.run(secs(2990));
    assert_eq!(world.state(), State::RequestingPin);
    let asked = world.history.sent(Errand::Authorize).len();
    assert!((12..20).contains(&asked), "{asked}");
    let problem = world.problem(json());
    assert!(
        matches!(&problem, Problem::Unavailable { detail, .. } if detail.contains("no route")),
        "{problem:?}"
    );
    world.run(secs(311));
    assert_eq!(world.state(), State::AwaitingUser);
}

#[test]
fn the_problem_of_a_reader_shows_the_pin() {
    let mut world = awaiting();
    let Problem::AuthorizationRequired { pin, retry_after } = world.problem(json()) else {
        panic!("another problem")
    };
    assert_eq!(Some(pin), world.pin());
    assert!(retry_after <= secs(30));
}

#[test]
fn authorize_gives_a_new_pin_and_the_old_one_is_over() {
    let mut world = awaiting();
    let first = world.pin().expect("a PIN");
    let second = pin_given(&mut world);
    assert_ne!(second.pin, first.pin);
    assert_eq!(world.pin(), Some(PinView { expires_in: second.expires_in, ..second }));
    world.enter_pin();
    world.run(secs(32));
    assert_eq!(world.state(), State::Authorized);
}

#[test]
fn authorize_is_allowed_once_in_thirty_seconds() {
    let mut world = awaiting();
    pin_given(&mut world);
    let problem = world.problem(authorize().by(0));
    let Problem::TooMany { retry_after } = problem else { panic!("{problem:?}") };
    assert!(retry_after >= secs(29), "{retry_after:?}");
    world.run_until(world.now + retry_after - ms(1));
    assert!(matches!(world.problem(authorize()), Problem::TooMany { .. }));
    world.run(ms(1));
    pin_given(&mut world);
}

#[test]
fn authorize_joins_the_request_that_is_in_flight() {
    let mut world = World::new();
    world.start();
    let pin = pin_given(&mut world);
    assert_eq!(world.pin().map(|shown| shown.pin), Some(pin.pin));
    assert_eq!(world.history.sent(Errand::Authorize).len(), 1);
}

#[test]
fn authorize_beside_a_living_grant_keeps_the_grant() {
    let mut world = World::authorized();
    let token = world.lent(json()).token;
    let pin = pin_given(&mut world);
    assert_eq!(world.state(), State::Authorized, "the state stays the grant's");
    assert_eq!(world.pin().map(|shown| shown.pin), Some(pin.pin));
    assert_eq!(world.lent(json()).token, token);
    assert!(world.history.notices().is_empty(), "nobody but the asker needs to know");
}

#[test]
fn a_pin_beside_a_living_grant_lapses_when_unused() {
    let mut world = World::authorized();
    pin_given(&mut world);
    world.run(secs(700));
    assert_eq!(world.pin(), None);
    assert_eq!(world.state(), State::Authorized);
    let polls = world.history.sent(Errand::Poll).len();
    world.run(secs(1000));
    assert_eq!(world.history.sent(Errand::Authorize).len(), 1, "no other is asked for");
    assert_eq!(world.history.sent(Errand::Poll).len(), polls);
    assert_eq!(world.disk.record.pin, None);
}

#[test]
fn a_pin_beside_a_living_grant_brings_a_new_grant_when_it_is_entered() {
    let mut world = World::authorized();
    let old = world.lent(json()).token;
    pin_given(&mut world);
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
    pin_given(&mut world);
    world.run(secs(400));
    assert_eq!(world.refreshes(), 1);
    assert_eq!(world.view().failures, 0);
    assert!(world.pin().is_some());
    assert!(world.history.sent(Errand::Poll).len() > 10);
}

#[test]
fn people_are_told_of_the_pin_beside_a_grant_that_dies() {
    let mut world = World::authorized();
    world.ecobee.pin_lifetime = secs(DAY);
    pin_given(&mut world);
    world.ecobee.revoke_refresh_tokens();
    assert!(world.history.notices().is_empty());
    world.run(secs(3700));
    assert_eq!(world.state(), State::AwaitingUser);
    assert!(matches!(world.history.notices()[..], [(_, Notice::PinWaiting(_))]));
    assert_eq!(world.history.sent(Errand::Authorize).len(), 1, "the PIN is there already");
}

#[test]
fn authorize_that_fails_says_so_and_leaves_the_old_pin() {
    let mut world = awaiting();
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
    world.run_until(world.issued_at() + secs(2000));
    let patient_reader = world.ask(json().min_ttl(3000).wait(3600));
    world.ecobee.next(Errand::Authorize, Mishap::Unsent);
    let (took, problem) = world.problem_later(authorize());
    let Problem::Unavailable { retry_after, .. } = problem else { panic!("{problem:?}") };
    assert_eq!(retry_after + took, secs(30));
    world.run(secs(900));
    assert!(world.waits(patient_reader));
    assert_eq!(world.history.sent(Errand::Authorize).len(), 1);
}

#[test]
fn authorize_is_taken_at_the_very_moment_up_to_which_ecobee_wished_to_be_left_alone() {
    let mut world = World::authorized();
    world.ecobee.next(Errand::Authorize, Mishap::Says(Word::TooMany(Some(secs(100)))));
    world.problem_later(authorize());
    world.run(ms(99_999));
    assert!(matches!(world.problem(authorize()), Problem::Unavailable { .. }));
    world.run(ms(1));
    pin_given(&mut world);
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
    let mut world = awaiting();
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
fn a_slow_down_that_comes_while_another_pin_is_asked_for_counts_if_the_old_pin_stays() {
    let mut world = awaiting();
    world.ecobee.next(Errand::Poll, Mishap::Says(Word::SlowDown));
    world.ecobee.next(Errand::Authorize, Mishap::Unsent);
    world.run_until_sent(Errand::Poll);
    world.ask(authorize());
    world.run(secs(80));
    let polls = world.history.sent_at(Errand::Poll);
    assert!(polls[1].since(polls[0]) >= secs(35), "{:?}", polls[1].since(polls[0]));
}

#[test]
fn a_pin_grant_without_a_refresh_token_keeps_the_old_one() {
    let mut world = World::authorized();
    let stored = |world: &World| world.disk.record.grant.as_ref().map(|grant| grant.refresh_token.clone());
    let old = stored(&world);
    world.ecobee.refreshable = false;
    pin_given(&mut world);
    world.enter_pin();
    world.run(secs(32));
    assert_eq!(stored(&world), old);
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
    let pin = pin_given(&mut world);
    assert_eq!(world.state(), State::Authorized);
    assert_eq!(world.pin().map(|shown| shown.pin), Some(pin.pin));
}

/// The poll that is in flight may still bring the grant.
#[test]
fn rule_10_a_pin_is_not_given_up_while_it_is_asked_about() {
    let mut world = World::new();
    world.policy = Policy { retry_initial: secs(1), retry_max: secs(1), ..Policy::default() };
    world.start();
    world.run(secs(1));
    let pin = world.pin().expect("a PIN");
    world.run_until(pin.expires_at - secs(1));
    world.enter_pin();
    world.ecobee.outage(pin.expires_at + secs(265), Mishap::LostBefore(Reach::Sent));
    world.ecobee.next(Errand::Poll, Mishap::Late(secs(55)));
    world.run_until(pin.expires_at + secs(400));
    assert_eq!(world.state(), State::Authorized);
    assert!(!world.history.says(|news| matches!(news, News::PinOver(_))));
    assert_eq!(world.history.sent(Errand::Authorize).len(), 1);
}

/// Its time is over by our clock, and ecobee does not say so.
#[test]
fn rule_10_a_pin_past_its_time_that_nobody_entered_is_replaced_whatever_ecobee_says() {
    let mut world = awaiting();
    let pin = world.pin().expect("a PIN");
    world.run_until(pin.expires_at);
    world.ecobee.next(Errand::Poll, Mishap::Says(Word::Pending));
    world.run_until_sent(Errand::Poll);
    world.run(world.ecobee.latency);
    assert_eq!(world.history.sent(Errand::Authorize).len(), 2);
}

/// The code is used up; what came beside the unusable access token is as good as a grant.
#[test]
fn a_garbled_answer_to_an_entered_pin_is_made_good_by_a_refresh() {
    let mut world = awaiting();
    world.enter_pin();
    world.ecobee.next(Errand::Poll, Mishap::Garbled);
    world.run(secs(32));
    assert_eq!(world.state(), State::Authorized);
    assert_eq!(world.refreshes(), 1);
    assert_eq!(world.history.sent(Errand::Authorize).len(), 1);
    assert_eq!(world.pin(), None);
    world.lent(json());
}

#[test]
fn a_garbled_answer_to_an_entered_pin_without_a_refresh_token_asks_for_the_next_pin() {
    let mut world = awaiting();
    world.ecobee.refreshable = false;
    world.enter_pin();
    world.ecobee.next(Errand::Poll, Mishap::Garbled);
    world.run(secs(36));
    assert_eq!(world.state(), State::AwaitingUser);
    assert_eq!(world.history.sent(Errand::Authorize).len(), 2);
}

#[test]
fn a_garbled_answer_to_a_pin_beside_a_living_grant_leaves_the_grant() {
    let mut world = World::authorized();
    let token = world.lent(json()).token;
    pin_given(&mut world);
    world.enter_pin();
    world.ecobee.next(Errand::Poll, Mishap::Garbled);
    world.run(secs(40));
    assert_eq!(world.lent(json()).token, token);
    assert_eq!(world.pin(), None);
    assert_eq!(world.view().failures, 0, "what failed for a PIN that nobody needs is no trouble");
    world.run(secs(3600));
    assert_eq!(world.state(), State::Authorized);
}

/// Found by a simulated decade: on waking, the keeper took its own clock for the end of the PIN.
#[test]
fn a_pin_entered_just_before_a_long_suspend_brings_its_grant() {
    let mut world = awaiting();
    world.enter_pin();
    world.suspend(secs(9 * 3600));
    world.run(secs(2));
    assert_eq!(world.state(), State::Authorized, "ecobee is asked before the PIN counts as over");
    assert_eq!(world.history.sent(Errand::Authorize).len(), 1);
}

/// Found by a simulated decade.
#[test]
fn rule_9_a_request_for_a_pin_that_failed_is_not_repeated_at_once_when_the_pin_before_it_ends() {
    let mut world = awaiting();
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

/// The next poll may be half a minute away, but whoever asks for the PIN can have it in a moment.
#[test]
fn while_a_pin_is_being_saved_whoever_asks_is_told_to_come_back_at_once() {
    let mut world = World::new();
    world.disk.takes = ms(1500);
    world.start();
    world.run(world.ecobee.latency + ms(100));
    assert_eq!(world.pin(), None);
    let problem = world.problem(json());
    let Problem::Unavailable { retry_after, .. } = problem else { panic!("{problem:?}") };
    assert_eq!(retry_after, secs(1));
    world.run(ms(1500));
    assert!(world.pin().is_some());
}

#[test]
fn when_a_pin_is_past_its_time_whoever_asks_is_told_to_come_back_after_the_next_poll() {
    let mut world = awaiting();
    let expires_at = world.pin().expect("a PIN").expires_at;
    world.ecobee.outage(expires_at + secs(3600), Mishap::Unsent);
    world.run_until(expires_at);
    assert_eq!(world.pin(), None);
    let next = world.view().next_try_at.expect("a poll").since(world.now);
    assert!(next > secs(1));
    let problem = world.problem(json());
    let Problem::Unavailable { retry_after, .. } = problem else { panic!("{problem:?}") };
    assert_eq!(retry_after, next);
}
