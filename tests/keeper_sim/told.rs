//! What people are told wherever they are, and that a restart tells none of it twice.

use ecobee_tokend::keeper::{Audience, News, Notice, Policy, State};

use crate::world::{DAY, Errand, Mishap, World, authorize, secs};

/// The kinds of all that people were told, in order.
fn told(world: &World) -> Vec<&'static str> {
    let kind = |notice: &Notice| match notice {
        Notice::PinWaiting(_) => "waiting",
        Notice::PinReminder(_) => "reminder",
        Notice::TokenLost { .. } => "lost",
        Notice::TokenBack => "back",
    };
    world.history.notices().into_iter().map(|(_, notice)| kind(notice)).collect()
}

#[test]
fn whoever_entered_the_pin_hears_that_it_is_done() {
    let mut world = World::awaiting();
    world.enter_pin();
    world.run(secs(60));
    assert_eq!(world.state(), State::Authorized);
    assert_eq!(told(&world), ["waiting", "back"]);
    world.run(secs(DAY));
    assert_eq!(told(&world).len(), 2, "and no more of it");
}

#[test]
fn a_restart_between_two_pins_tells_nobody_again() {
    let mut world = World::awaiting();
    assert_eq!(told(&world), ["waiting"]);
    world.ecobee.outage(world.now + secs(3600), Mishap::Unsent);
    world.run(secs(1800));
    assert_eq!(world.pin(), None, "the first PIN is over, and there is no other");
    world.crash();
    world.run(secs(7200));
    assert!(world.pin().is_some());
    assert_eq!(told(&world), ["waiting"]);
}

#[test]
fn a_restart_amid_lasting_trouble_does_not_tell_it_twice_and_still_tells_its_end() {
    let mut world = World::authorized();
    let dies_at = world.token().expires_at;
    world.ecobee.outage(dies_at + secs(5000), Mishap::Unsent);
    world.run_until(dies_at + secs(600));
    assert_eq!(told(&world), ["lost"]);
    world.crash();
    world.run_until(dies_at + secs(4900));
    assert_eq!(told(&world), ["lost"]);
    world.crash();
    world.run_until(dies_at + secs(6000));
    assert_eq!(told(&world), ["lost", "back"]);
    world.crash();
    world.run(secs(DAY));
    assert_eq!(told(&world), ["lost", "back"]);
}

/// ecobee refuses the refresh token and then is not there to give a PIN: nobody would hear of that otherwise.
#[test]
fn people_hear_when_a_pin_is_needed_and_cannot_be_had() {
    let mut world = World::authorized();
    world.revoke_all();
    // The refreshes are refused for good; from then on nothing reaches ecobee.
    world.ecobee.next(Errand::Authorize, Mishap::Unsent);
    world.run_until_state(State::RequestingPin);
    world.ecobee.outage(world.now + secs(4000), Mishap::Unsent);
    let begun_at = world.now;
    world.run(secs(299));
    assert_eq!(told(&world), [""; 0]);
    world.run(secs(62));
    assert_eq!(told(&world), ["lost"], "since {begun_at:?}");
    world.run(secs(4000));
    assert_eq!(told(&world), ["lost", "waiting"]);
}

#[test]
fn a_first_start_that_gets_no_pin_is_told_after_five_minutes_and_then_the_pin() {
    let mut world = World::started_with(|world| world.ecobee.outage(world.now + secs(4000), Mishap::Unsent));
    let begun_at = world.now;
    world.run(secs(3000));
    let notices = world.history.notices();
    let [(at, Notice::TokenLost { reason })] = &notices[..] else { panic!("{notices:?}") };
    assert!(at.since(begun_at) >= secs(300) && at.since(begun_at) <= secs(301), "{at:?}");
    assert_eq!(reason, "no route to ecobee");
    world.run(secs(2000));
    assert_eq!(told(&world), ["lost", "waiting"]);
    world.enter_pin();
    world.run(secs(60));
    assert_eq!(told(&world), ["lost", "waiting", "back"], "one end for both");
}

#[test]
fn a_pin_that_a_client_asks_for_beside_a_living_grant_is_not_news() {
    let mut world = World::authorized();
    world.ask(authorize());
    world.run(secs(60));
    assert!(world.pin().is_some());
    assert_eq!(told(&world), [""; 0]);
}

#[test]
fn a_failed_refresh_that_recovers_in_time_is_not_news() {
    let mut world = World::authorized();
    world.ecobee.next_refreshes(5, Mishap::Unsent);
    world.run(secs(DAY));
    assert_eq!(told(&world), [""; 0]);
}

#[test]
fn what_nobody_could_hear_is_told_as_soon_as_somebody_can() {
    let heard = Policy::default();
    let unheard = Policy { audience: Audience::Absent, ..heard.clone() };
    let mut world = World::started_with(|world| world.policy = unheard.clone());
    world.run(secs(2 * DAY));
    assert_eq!(told(&world), [""; 0]);
    world.reload(heard.clone());
    assert_eq!(told(&world), ["waiting"]);
    world.run(secs(3600));
    assert_eq!(told(&world), ["waiting"], "reminders are counted from then");
    world.reload(unheard);
    world.run(secs(2 * DAY));
    assert_eq!(told(&world), ["waiting"]);
    world.reload(heard);
    assert_eq!(told(&world), ["waiting", "reminder"]);
}

#[test]
fn of_a_pin_that_nobody_was_told_of_nobody_hears_the_end() {
    let mut world = World::started_with(|world| world.policy.audience = Audience::Absent);
    world.run(secs(10));
    world.enter_pin();
    world.run(secs(60));
    assert_eq!(world.state(), State::Authorized);
    assert_eq!(told(&world), [""; 0]);
}

/// Nobody is reminded of a PIN past its time, and nothing wakes for it.
#[test]
fn rule_9_a_reminder_that_is_due_while_the_pin_is_past_its_time_makes_no_hot_loop() {
    let mut world = World::started_with(|world| world.policy.remind_every = secs(600));
    world.run(secs(1));
    let told_at = world.history.notices()[0].0;
    world.ecobee.outage(told_at + secs(700), Mishap::Unsent);
    world.run_until(told_at + secs(600));
    world.tick();
    assert_eq!(world.history.notices().len(), 1);
    assert!(world.wake_at().is_some_and(|at| at > world.now), "{:?}", world.wake_at());
}

#[test]
fn rule_10_a_person_is_told_at_the_first_pin_then_every_day() {
    let mut world = World::awaiting();
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
    let pins = world.calls(Errand::Authorize);
    assert!(pins > 3 * 140, "the PIN was always fresh");
    let shown = world.history.count(|news| matches!(news, News::PinShown(_)));
    assert_eq!(shown, pins, "each once in the diary");
}

#[test]
fn rule_10_the_reminders_are_a_setting() {
    let mut world = World::started_with(|world| world.policy.remind_every = secs(3600));
    world.run(secs(10 * 3600 + 100));
    assert_eq!(world.history.notices().len(), 11);
}

#[test]
fn people_are_told_of_the_pin_beside_a_grant_that_dies() {
    let mut world = World::authorized();
    world.ecobee.pin_lifetime = secs(DAY);
    world.pin_later();
    world.ecobee.revoke_refresh_tokens();
    assert_eq!(told(&world), [""; 0]);
    world.run(secs(3700));
    assert_eq!(world.state(), State::AwaitingUser);
    assert_eq!(told(&world), ["waiting"]);
    assert_eq!(world.calls(Errand::Authorize), 1, "the PIN is there already");
}

#[test]
fn rule_7_people_are_not_told_again_of_the_same_pin() {
    let mut world = World::started();
    for _ in 0..10 {
        world.run(secs(40));
        world.crash();
    }
    assert_eq!(told(&world), ["waiting"]);
}

#[test]
fn people_hear_of_a_token_that_is_lost_for_long_and_of_its_return() {
    let mut world = World::authorized();
    let dies_at = world.token().expires_at;
    world.ecobee.outage(dies_at + secs(1000), Mishap::Unsent);
    world.run_until(dies_at + secs(2000));
    let notices = world.history.notices();
    let [(lost_at, Notice::TokenLost { reason }), (_, Notice::TokenBack)] = &notices[..] else {
        panic!("{notices:?}");
    };
    assert!(*lost_at >= dies_at && *lost_at <= dies_at + secs(62));
    assert_eq!(reason, "no route to ecobee");
    assert!(world.history.says(|news| matches!(news, News::TokenDied)));
}

#[test]
fn people_who_heard_of_a_lost_token_and_of_a_pin_hear_of_the_return_once() {
    let mut world = World::authorized();
    let dies_at = world.token().expires_at;
    world.ecobee.outage(dies_at + secs(1000), Mishap::Unsent);
    world.run_until(dies_at + secs(900));
    world.revoke_all();
    world.run_until_state(State::AwaitingUser);
    world.enter_pin();
    world.run_until_state(State::Authorized);
    assert_eq!(told(&world), ["lost", "waiting", "back"]);
}

/// Not while the network comes up after a boot; but when it has lasted five minutes, whatever the pauses are.
#[test]
fn a_short_loss_is_not_worth_a_message() {
    let mut world = World::authorized_with(|world| {
        world.policy.retry_initial = secs(60);
        world.policy.retry_max = secs(3600);
    });
    world.run(secs(60));
    world.suspend(secs(4000));
    let begun_at = world.now;
    world.ecobee.outage(begun_at + secs(299), Mishap::Unsent);
    world.tick();
    world.run(secs(299));
    assert_eq!(told(&world), [""; 0]);
    world.ecobee.outage(begun_at + secs(30_000), Mishap::Unsent);
    world.run(secs(2));
    assert_eq!(told(&world), ["lost"]);
}
