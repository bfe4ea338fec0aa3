//! What people are told wherever they are, and that a restart tells none of it twice.

use ecobee_tokend::keeper::{Audience, Notice, Policy, State};

use super::world::{Errand, Mishap, World, secs};

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
    let mut world = World::new();
    world.start();
    world.run(secs(10));
    world.enter_pin();
    world.run(secs(60));
    assert_eq!(world.state(), State::Authorized);
    assert_eq!(told(&world), ["waiting", "back"]);
    world.run(secs(24 * 3600));
    assert_eq!(told(&world).len(), 2, "and no more of it");
}

#[test]
fn a_restart_between_two_pins_tells_nobody_again() {
    let mut world = World::new();
    world.start();
    world.run(secs(10));
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
    let dies_at = world.view().token.expect("a token").expires_at;
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
    world.run(secs(24 * 3600));
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
    let mut world = World::new();
    world.ecobee.outage(world.now + secs(4000), Mishap::Unsent);
    world.start();
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
    world.ask(super::world::authorize());
    world.run(secs(60));
    assert!(world.pin().is_some());
    assert_eq!(told(&world), [""; 0]);
}

#[test]
fn a_failed_refresh_that_recovers_in_time_is_not_news() {
    let mut world = World::authorized();
    for _ in 0..5 {
        world.ecobee.next(Errand::Refresh, Mishap::Unsent);
    }
    world.run(secs(24 * 3600));
    assert_eq!(told(&world), [""; 0]);
}

#[test]
fn what_nobody_could_hear_is_told_as_soon_as_somebody_can() {
    let mut world = World::new();
    let heard = world.policy.clone();
    world.policy = Policy { audience: Audience::Absent, ..heard.clone() };
    world.start();
    world.run(secs(2 * 24 * 3600));
    assert_eq!(told(&world), [""; 0]);
    world.reload(heard.clone());
    assert_eq!(told(&world), ["waiting"]);
    world.run(secs(3600));
    assert_eq!(told(&world), ["waiting"], "reminders are counted from then");
    world.reload(Policy { audience: Audience::Absent, ..heard.clone() });
    world.run(secs(2 * 24 * 3600));
    assert_eq!(told(&world), ["waiting"]);
    world.reload(heard);
    assert_eq!(told(&world), ["waiting", "reminder"]);
}

#[test]
fn of_a_pin_that_nobody_was_told_of_nobody_hears_the_end() {
    let mut world = World::new();
    world.policy = Policy { audience: Audience::Absent, ..Policy::default() };
    world.start();
    world.run(secs(10));
    world.enter_pin();
    world.run(secs(60));
    assert_eq!(world.state(), State::Authorized);
    assert_eq!(told(&world), [""; 0]);
}
