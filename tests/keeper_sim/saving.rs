//! Rule 1: save, then serve.

use ecobee_tokend::keeper::{Event, News, Problem, State};

use crate::world::{
    DAY, DiskMishap, Errand, Mishap, Rotation, Word, World, authorize, bare, json, ms, refresh, rejected,
    secs,
};

fn marked(world: &World) -> bool {
    world.disk.grant().refresh_sent
}

#[test]
fn rule_1_the_store_is_marked_before_a_refresh_is_sent() {
    let mut world = World::authorized();
    world.run_until_sent(Errand::Refresh);
    assert!(marked(&world));
    world.run(secs(1));
    assert!(!marked(&world), "the new grant bears no mark");
}

#[test]
fn rule_1_a_new_grant_is_on_disk_before_anyone_sees_it() {
    let mut world = World::authorized();
    world.disk.takes = ms(1500);
    world.run_until_sent(Errand::Refresh);
    let waiting = world.ask(json());
    world.run(world.ecobee.latency + ms(1499));
    assert!(world.waits(waiting));
    world.run(ms(1));
    assert!(!world.waits(waiting));
}

#[test]
fn rule_1_a_save_that_fails_does_not_keep_the_new_token_back() {
    let mut world = World::authorized();
    world.run_until_sent(Errand::Refresh);
    world.disk.broken = true;
    let (took, lent) = world.lent_later(json());
    assert_eq!(took, world.ecobee.latency + world.disk.takes);
    assert!(lent.promised >= secs(2900));
    assert!(world.view().unsaved);
    assert!(world.history.says(|news| matches!(news, News::SaveFailed(why) if why.contains("space"))));
}

#[test]
fn rule_1_saving_is_tried_again_until_it_works() {
    let mut world = World::authorized();
    world.run_until_sent(Errand::Refresh);
    world.disk.broken = true;
    world.run(secs(1200));
    let tries = world.disk.orders;
    assert!((40..60).contains(&tries), "{tries}: with a pause that grows to half a minute");
    world.run(secs(600));
    assert!(world.disk.orders >= tries + 20, "twice a minute, however long it takes");
    world.disk.broken = false;
    world.run(secs(31));
    assert!(!world.view().unsaved);
    let lent = world.lent(json());
    assert_eq!(world.disk.access().token.token.expose(), lent.token);
    let failures = world.history.count(|news| matches!(news, News::SaveFailed(_)));
    assert_eq!(failures, 1, "said once");
    assert!(world.history.says(|news| matches!(news, News::SaveRecovered)));
}

#[test]
fn a_token_that_dies_the_moment_it_is_refreshed_needs_no_mark() {
    let mut world = World::authorized_for(secs(2));
    assert_eq!(world.token().refresh_at, world.token().expires_at);
    world.run_until(world.token().refresh_at);
    assert_eq!(world.refreshes(), 1, "at once, for nothing had to be saved first");
}

/// Otherwise the poll could still be in flight when the refresh is sent.
#[test]
fn a_poll_that_is_due_while_the_mark_is_saved_waits() {
    let mut world = World::authorized();
    world.run_until(world.token().refresh_at - secs(20));
    world.ask(authorize());
    world.run(secs(1));
    world.disk.takes = secs(25);
    world.ecobee.next(Errand::Poll, Mishap::Late(secs(30)));
    world.run_until_sent(Errand::Refresh);
    assert_eq!(world.calls(Errand::Poll), 0);
    world.run_until_sent(Errand::Poll);
}

#[test]
fn failed_saves_back_off_doubling_from_the_first_on() {
    let mut world = World::authorized();
    world.run_until_sent(Errand::Refresh);
    world.disk.broken = true;
    world.run(secs(1));
    for whole in [secs(5), secs(10), secs(20), secs(40)] {
        let (orders, since) = (world.disk.orders, world.now);
        while world.disk.orders == orders {
            world.run(ms(10));
        }
        let pause = world.now.since(since);
        assert!(pause + secs(1) >= whole * 3 / 4 && pause <= whole + ms(10), "{pause:?} of {whole:?}");
    }
}

#[test]
fn rule_1_a_grant_that_could_not_be_saved_is_lost_in_a_crash_and_refreshed_from_the_mark() {
    let mut world = World::authorized_with(|world| world.ecobee.rotation = Rotation::Leeway(secs(3600)));
    world.run_until_sent(Errand::Refresh);
    world.disk.broken = true;
    world.run(secs(10));
    world.crash();
    world.disk.broken = false;
    let (_, lent) = world.lent_later(json());
    assert!(lent.promised >= secs(2900));
}

/// Before the first use of a living token the disk gets time until the window closes; then the token matters more.
#[test]
fn a_broken_disk_puts_a_refresh_off_but_not_beyond_the_close() {
    let mut world = World::authorized();
    let closes_at = world.token().issued_at + secs(3540);
    world.run(secs(60));
    world.disk.broken = true;
    let before = world.disk.orders;
    world.run_until_sent(Errand::Refresh);
    assert!(world.now >= closes_at, "sent without a mark while the old token lives");
    assert!(world.now <= closes_at + secs(1), "{:?} after the close", world.now.since(closes_at));
    assert!(world.disk.orders - before < 60, "a hot loop of {} saves", world.disk.orders - before);
    world.lent_later(json());
}

#[test]
fn rule_1_a_mark_that_is_saved_while_the_refresh_is_in_flight_is_a_mark_all_the_same() {
    let mut world = World::authorized_with(|world| world.ecobee.rotation = Rotation::Leeway(secs(3600)));
    let closes_at = world.token().issued_at + secs(3540);
    world.run_until(world.token().refresh_at - secs(10));
    world.lent_later(json().min_ttl(closes_at.since(world.now).as_secs()));
    world.disk.next(DiskMishap::Fails(ms(20)));
    world.ecobee.next(Errand::Refresh, Mishap::Late(secs(30)));
    world.run_until_sent(Errand::Refresh);
    assert_eq!(world.now, closes_at + ms(20), "it can be put off no longer");
    world.run(secs(10));
    assert!(!world.view().unsaved);
    world.crash();
    let (took, _) = world.lent_later(json());
    assert!(took >= world.ecobee.latency, "the stored token may be dead");
}

#[test]
fn a_broken_disk_puts_a_refresh_off_by_two_seconds_at_least() {
    let mut world = World::authorized_with(|world| world.policy.retry_initial = secs(1));
    world.disk.broken = true;
    world.run_until(world.token().refresh_at);
    world.run(world.disk.takes);
    assert_eq!(world.token().refresh_at, world.now + secs(2));
}

#[test]
fn at_the_close_a_broken_disk_that_says_so_at_once_holds_nothing_up() {
    let mut world = World::authorized();
    let closes_at = world.token().issued_at + secs(3540);
    world.disk.broken = true;
    world.disk.takes = ms(0);
    world.run_until_sent(Errand::Refresh);
    assert_eq!(world.now, closes_at);
}

#[test]
fn a_disk_that_begins_to_hang_at_the_close_holds_the_refresh_up_for_two_seconds() {
    let mut world = World::authorized();
    let closes_at = world.token().issued_at + secs(3540);
    world.disk.broken = true;
    world.run_until(closes_at - ms(1));
    world.disk.broken = false;
    world.disk.takes = secs(100_000);
    world.run_until_sent(Errand::Refresh);
    assert_eq!(world.now, closes_at + secs(2));
}

#[test]
fn a_hanging_disk_puts_a_refresh_off_but_not_beyond_the_close() {
    let mut world = World::authorized();
    let closes_at = world.token().issued_at + secs(3540);
    world.disk.next(DiskMishap::Takes(secs(100_000)));
    world.run_until_sent(Errand::Refresh);
    assert_eq!(world.now, closes_at);
    world.run(world.ecobee.latency);
    let (took, _) = world.lent_later(json());
    assert_eq!(took, secs(2));
}

#[test]
fn a_restart_in_the_last_minute_with_a_broken_disk_makes_no_hot_loop() {
    let mut world = World::authorized();
    let closes_at = world.token().issued_at + secs(3540);
    world.ecobee.outage(closes_at + secs(10), Mishap::Unsent);
    world.run_until(closes_at + secs(20));
    world.crash();
    world.disk.broken = true;
    let before = world.disk.orders;
    world.run(secs(20));
    assert!(world.disk.orders - before < 20, "a hot loop of {} saves", world.disk.orders - before);
    world.lent_later(json());
}

#[test]
fn a_rejected_token_is_refreshed_at_once_though_the_disk_is_broken() {
    let mut world = World::authorized();
    world.run(secs(600));
    let old = world.lent(bare()).token;
    world.kill_access_token();
    world.disk.broken = true;
    let (took, lent) = world.lent_later(rejected(&old));
    assert!(took <= secs(1), "{took:?}");
    assert_ne!(lent.token, old);
}

#[test]
fn a_rejected_token_is_refreshed_after_two_seconds_though_the_disk_hangs() {
    let mut world = World::authorized();
    world.run(secs(600));
    let old = world.lent(bare()).token;
    world.kill_access_token();
    world.disk.next(DiskMishap::Takes(secs(100)));
    let asked_at = world.now;
    world.lent_later(rejected(&old));
    assert_eq!(world.history.sent_at(Errand::Refresh), [asked_at + secs(2)]);
}

/// The living token is worth more than the client's wish; but the client is told why.
#[test]
fn a_refresh_forced_over_a_broken_disk_is_refused_and_told_why() {
    let mut world = World::authorized();
    world.disk.broken = true;
    let (took, problem) = world.problem_later(refresh());
    assert_eq!(took, secs(30));
    assert!(
        matches!(&problem, Problem::Unavailable { detail, .. } if detail.contains("store")),
        "{problem:?}"
    );
    assert_eq!(world.refreshes(), 0);
    world.lent(json());
    world.disk.broken = false;
    world.run_until_sent(Errand::Refresh);
}

/// The mark must be written after the save that is on its way, not be taken for it.
#[test]
fn a_mark_waits_for_the_save_before_it() {
    let mut world = World::authorized();
    world.run_until(world.token().refresh_at - secs(1));
    world.disk.takes = ms(1200);
    let waiting = world.ask(json().min_ttl(10));
    world.run(ms(100));
    let forced = world.ask(refresh());
    let saving_since = world.now - ms(100);
    world.run_until_sent(Errand::Refresh);
    assert!(marked(&world));
    assert_eq!(world.now, saving_since + ms(2400));
    world.wait_for(forced);
    assert!(!world.waits(waiting));
}

#[test]
fn a_mark_is_taken_back_when_nothing_reached_ecobee() {
    let mut world = World::authorized();
    world.ecobee.next(Errand::Refresh, Mishap::Unsent);
    world.run_until_state(State::Retrying);
    world.run(secs(1));
    assert!(!marked(&world));
    let lent = world.lent(json());
    world.crash();
    assert_eq!(world.lent(json()).token, lent.token);
}

#[test]
fn a_mark_is_taken_back_when_ecobee_finds_fault_with_the_request() {
    let mut world = World::authorized();
    world.ecobee.next(Errand::Refresh, Mishap::Says(Word::Misconfigured));
    world.run_until_state(State::Retrying);
    world.run(secs(1));
    assert!(!marked(&world));
}

#[test]
fn a_pin_is_shown_when_it_is_saved_or_after_two_seconds() {
    let mut world = World::started_with(|world| world.disk.takes = ms(700));
    world.run(world.ecobee.latency + ms(699));
    assert_eq!(world.pin(), None);
    world.run(ms(1));
    assert!(world.pin().is_some());

    let mut world = World::started_with(|world| world.disk.next(DiskMishap::Takes(secs(50))));
    world.run(world.ecobee.latency + ms(1999));
    assert_eq!(world.pin(), None);
    world.run(ms(1));
    assert!(world.pin().is_some());
}

/// An outage may last for days: each failed try would cost a write.
#[test]
fn a_refresh_of_a_dead_token_that_does_not_reach_ecobee_writes_nothing() {
    let mut world = World::authorized();
    let dies_at = world.token().expires_at;
    world.ecobee.outage(dies_at + secs(DAY), Mishap::Unsent);
    world.run_until(dies_at + secs(3600));
    let (orders, tries) = (world.disk.orders, world.refreshes());
    world.run(secs(20 * 3600));
    assert!(world.refreshes() > tries + 200);
    assert_eq!(world.disk.orders, orders);
}

/// "In memory only" would be untrue: the disk has all that matters, until the refresh brings more.
#[test]
fn an_unsaved_mark_is_told_as_a_note_and_the_token_that_follows_as_what_it_is() {
    let mut world = World::authorized();
    world.disk.broken = true;
    world.run_until_sent(Errand::Refresh);
    let told = |world: &World| {
        let kind = |news: &News| {
            let note = matches!(news, News::NoteNotSaved(_)).then_some("note");
            let loss = matches!(news, News::SaveFailed(_)).then_some("loss");
            note.or(loss).or(matches!(news, News::SaveRecovered).then_some("saved"))
        };
        world.history.news().iter().filter_map(|(_, news)| kind(news)).collect::<Vec<_>>()
    };
    assert_eq!(told(&world), ["note"]);
    world.lent_later(json());
    assert_eq!(told(&world), ["note", "loss"]);
    world.run(secs(1200));
    assert_eq!(told(&world), ["note", "loss"], "each once");
    world.disk.broken = false;
    world.run(secs(301));
    assert_eq!(told(&world), ["note", "loss", "saved"]);
    world.disk.broken = true;
    world.run_until_sent(Errand::Refresh);
    assert_eq!(told(&world), ["note", "loss", "saved", "note"], "what was saved is not at risk any more");
}

#[test]
fn a_keeper_that_was_to_leave_and_stays_saves_what_it_has_at_once() {
    let mut world = World::authorized();
    world.run_until_sent(Errand::Refresh);
    world.disk.broken = true;
    world.run(secs(300));
    let orders = world.disk.orders;
    world.step(Event::Resumed);
    assert_eq!(world.disk.orders, orders + 1);
}

#[test]
fn a_keeper_that_was_to_leave_and_stays_goes_on_as_before() {
    let mut world = World::authorized();
    world.step(Event::Stopping);
    world.run_until(world.token().refresh_at + secs(60));
    assert_eq!(world.refreshes(), 0, "nothing is begun");
    world.step(Event::Resumed);
    world.run(secs(10));
    assert_eq!(world.refreshes(), 1);
}
