//! `?min_ttl=` and `?wait=`.

use ecobee_tokend::keeper::{Answer, Problem, State};

use crate::world::{DiskMishap, Errand, Mishap, Word, World, bare, json, ms, refresh, rejected, secs};

#[test]
fn a_min_ttl_that_fits_is_answered_at_once_and_moves_nothing() {
    let mut world = World::authorized();
    let (planned, orders) = (world.token().refresh_at, world.disk.orders);
    assert!(world.lent(json().min_ttl(2900)).promised >= secs(2900));
    assert_eq!(world.token().refresh_at, planned);
    assert_eq!(world.disk.orders, orders);
}

/// The new time is on disk before anyone relies on it.
#[test]
fn a_min_ttl_moves_the_refresh_back_where_the_window_allows() {
    let mut world = World::authorized();
    let planned = world.token().refresh_at;
    world.run_until(planned - secs(10));
    let (took, lent) = world.lent_later(json().min_ttl(300));
    assert_eq!(took, world.disk.takes);
    assert!(lent.promised >= secs(300));
    assert!(world.token().refresh_at >= world.now + secs(300));
    assert_eq!(world.disk.access().refresh_at, world.token().refresh_at);
    world.run_until_sent(Errand::Refresh);
    assert!(world.now.since(planned) >= secs(290));
}

#[test]
fn a_moved_refresh_never_passes_the_close() {
    let mut world = World::authorized();
    let closes_at = world.token().issued_at + secs(3540);
    for _ in 0..200 {
        world.run(secs(25));
        let id = world.ask(json().min_ttl(120));
        world.run(secs(1));
        if world.refreshes() > 0 {
            break;
        }
        assert!(!world.waits(id) || world.now + secs(120) > closes_at - secs(30));
        assert!(world.token().refresh_at <= closes_at);
    }
    assert_eq!(world.refreshes(), 1);
    assert!(world.history.sent_at(Errand::Refresh)[0] <= closes_at + secs(1));
}

#[test]
fn a_slow_disk_holds_a_moved_promise_up_for_two_seconds_only() {
    let mut world = World::authorized();
    world.run_until(world.token().refresh_at - secs(10));
    world.disk.next(DiskMishap::Takes(secs(20)));
    let (took, _) = world.lent_later(json().min_ttl(300));
    assert_eq!(took, secs(2));
}

#[test]
fn where_the_window_does_not_allow_it_the_request_waits_for_the_planned_refresh() {
    let mut world = World::authorized();
    let planned = world.token().refresh_at;
    world.run_until(planned - secs(10));
    let (took, lent) = world.lent_later(json().min_ttl(1000));
    assert!(took >= secs(10));
    assert!(took <= secs(11));
    assert!(lent.promised >= secs(1000));
    assert_eq!(world.refreshes(), 1);
}

/// A refresh that comes in time anyhow is not worth a place in the budget.
#[test]
fn a_min_ttl_that_the_window_allows_brings_nothing_on_however_early_it_is_asked_for() {
    let mut world = World::authorized();
    world.run_until(world.token().issued_at + secs(1000));
    let beyond_the_plan = world.token().refresh_at.since(world.now).as_secs() + 60;
    let (took, lent) = world.lent_later(json().min_ttl(beyond_the_plan));
    assert_eq!(took, world.disk.takes);
    assert!(lent.promised >= secs(beyond_the_plan));
    world.run(secs(60));
    assert_eq!(world.refreshes(), 0);
}

#[test]
fn a_planned_refresh_within_the_bound_is_waited_for_and_not_brought_on() {
    let mut world = World::authorized();
    let planned = world.token().refresh_at;
    world.run_until(world.token().issued_at + secs(2999));
    let (_, _) = world.lent_later(json().min_ttl(2990).wait(120));
    assert_eq!(world.history.sent_at(Errand::Refresh), [planned + world.disk.takes]);
    world.lent_later(refresh());
}

#[test]
fn a_refresh_that_somebody_waits_for_is_not_moved_again() {
    let mut world = World::authorized();
    let planned = world.token().refresh_at;
    world.run_until(planned - secs(10));
    let first = world.ask(json().min_ttl(1000));
    let second = world.ask(json().min_ttl(100));
    assert!(world.waits(second), "the window would allow it, but somebody waits");
    world.lent(bare());
    assert_eq!(world.token().refresh_at, planned);
    world.run(secs(11));
    assert!(!world.waits(first));
    assert!(!world.waits(second));
}

/// Nothing was promised beyond a plain reader's few seconds, so the refresh comes early.
#[test]
fn a_min_ttl_that_would_wait_in_vain_brings_the_refresh_on_early() {
    let mut world = World::authorized();
    world.run(secs(1500));
    world.lent(bare());
    let asked_at = world.now;
    let (took, lent) = world.lent_later(json().min_ttl(2900));
    assert!(took >= secs(5), "the plain reader's five seconds are kept");
    assert!(took <= secs(6));
    assert!(lent.promised >= secs(2900));
    assert!(world.history.sent_at(Errand::Refresh)[0] >= asked_at + secs(5));
}

#[test]
fn an_early_refresh_breaks_no_promise_of_expires_in() {
    let mut world = World::authorized();
    world.run(secs(1500));
    let promised = world.lent(json()).promised;
    let told_until = world.now + promised;
    let (took, problem) = world.problem_later(json().min_ttl(2900));
    assert_eq!(took, secs(30));
    assert!(matches!(problem, Problem::Unavailable { .. }), "{problem:?}");
    world.run_until_sent(Errand::Refresh);
    assert!(world.now >= told_until);
}

#[test]
fn an_early_refresh_keeps_the_promise_of_a_min_ttl_without_json() {
    let mut world = World::authorized();
    world.run(secs(1500));
    world.lent(bare().min_ttl(20));
    let (took, _) = world.lent_later(json().min_ttl(2900));
    assert!(took >= secs(20), "{took:?}");
}

/// Rule 9: at most one in 30 s, and four an hour for one user. Who stays is promised the token; who hangs up is not.
#[test]
fn early_refreshes_draw_on_the_budget_of_forced_ones() {
    let mut world = World::authorized();
    for _ in 0..4 {
        world.run(secs(600));
        let id = world.ask(bare().min_ttl(2990));
        world.hang_up(id);
    }
    world.run(secs(600));
    assert_eq!(world.refreshes(), 4);
    let problem = world.problem(bare().min_ttl(2990));
    assert!(matches!(problem, Problem::TooMany { .. }), "{problem:?}");
    world.lent(json());
}

#[test]
fn a_min_ttl_beyond_the_opening_is_too_long() {
    let mut world = World::authorized();
    world.lent(json().min_ttl(3000));
    let problem = world.problem(json().min_ttl(3001));
    assert_eq!(problem, Problem::MinTtlTooLong { most: secs(3000) });
}

#[test]
fn while_no_lifetime_is_known_fifty_minutes_are_the_most() {
    let mut world = World::awaiting();
    assert!(matches!(world.problem(json().min_ttl(3000)), Problem::AuthorizationRequired { .. }));
    assert_eq!(world.problem(json().min_ttl(3001)), Problem::MinTtlTooLong { most: secs(3000) });
}

#[test]
fn a_refresh_that_is_refused_for_its_min_ttl_is_not_made() {
    let mut world = World::authorized();
    world.run(secs(100));
    let problem = world.problem(refresh().min_ttl(3001));
    assert!(matches!(problem, Problem::MinTtlTooLong { .. }));
    world.run(secs(10));
    assert_eq!(world.refreshes(), 0);
    world.lent_later(refresh());
}

#[test]
fn whoever_waits_learns_that_the_new_token_never_lives_so_long() {
    let mut world = World::authorized();
    world.run_until(world.token().refresh_at - secs(10));
    world.ecobee.lifetime = secs(600);
    let (took, problem) = world.problem_later(json().min_ttl(1000));
    assert!(took < secs(12));
    assert_eq!(problem, Problem::MinTtlTooLong { most: secs(300) });
}

#[test]
fn the_refresh_after_the_one_that_was_waited_for_keeps_the_promise() {
    let mut world = World::authorized_for(secs(60));
    world.run_until(world.token().refresh_at - secs(1));
    world.ecobee.next(Errand::Refresh, Mishap::Late(secs(5)));
    let orders = world.disk.orders;
    let (_, lent) = world.lent_later(json().min_ttl(30));
    assert!(lent.promised >= secs(30));
    assert_eq!(
        world.disk.orders - orders,
        3,
        "the fixed plan, the mark and the grant: the new plan knows who waits"
    );
    let until = world.now + lent.promised;
    world.run_until_sent(Errand::Refresh);
    assert!(world.now >= until);
}

#[test]
fn such_a_request_waits_thirty_seconds_at_most() {
    let mut world = World::authorized();
    world.run_until(world.token().refresh_at - secs(10));
    world.ecobee.next_refreshes(9, Mishap::Late(secs(59)));
    let (took, problem) = world.problem_later(json().min_ttl(1000));
    assert_eq!(took, secs(30));
    assert!(matches!(problem, Problem::Unavailable { .. }));
}

#[test]
fn whoever_does_not_wait_until_the_planned_refresh_is_told_that_it_has_to_come_first() {
    let mut world = World::authorized();
    world.run_until(world.token().refresh_at - secs(4));
    let (took, problem) = world.problem_later(json().min_ttl(1000).wait(2));
    assert_eq!(took, secs(2));
    let Problem::Unavailable { detail, .. } = problem else { panic!("{problem:?}") };
    assert_eq!(detail, "a new token has to come first, and is not here yet");
}

#[test]
fn wait_sets_another_bound() {
    let mut world = World::authorized();
    world.run_until(world.token().refresh_at - secs(10));
    world.ecobee.next_refreshes(2, Mishap::Late(secs(59)));
    let id = world.ask(json().min_ttl(1000).wait(5));
    assert_eq!(world.wait_for(id).0, secs(5));
    let (took, _) = world.lent_later(json().min_ttl(1000).wait(100));
    assert!(took > secs(60), "{took:?}");
}

#[test]
fn wait_waits_for_a_person() {
    let mut world = World::awaiting();
    let id = world.ask(json().wait(300));
    world.run(secs(100));
    assert!(world.waits(id));
    world.enter_pin();
    world.run(secs(31));
    assert!(!world.waits(id));
    world.lent(json());
}

#[test]
fn wait_waits_for_ecobee_to_come_back() {
    let mut world = World::authorized();
    world.ecobee.outage(world.now + secs(4000), Mishap::Unsent);
    world.run(secs(3700));
    assert_eq!(world.state(), State::Retrying);
    world.problem(json());
    let (took, _) = world.lent_later(json().wait(3600));
    assert!(took > secs(200), "{took:?}");
}

#[test]
fn a_wait_that_is_over_is_a_problem() {
    let mut world = World::awaiting();
    let (took, problem) = world.problem_later(json().wait(7));
    assert_eq!(took, secs(7));
    assert!(matches!(problem, Problem::AuthorizationRequired { .. }));
    let (took, _) = world.problem_later(json().wait(0));
    assert_eq!(took, ms(0));
}

#[test]
fn while_refreshes_fail_a_living_token_is_promised_until_the_next_try() {
    let mut world = World::authorized();
    world.ecobee.next_refreshes(3, Mishap::Unsent);
    world.run_until_state(State::Retrying);
    let next_try = world.token().refresh_at;
    assert_eq!(world.lent(json()).promised, next_try.since(world.now));
    let waiting = world.ask(json().min_ttl(1000));
    assert!(world.waits(waiting), "the promise is too long for the old token");
    world.run(secs(30));
    world.history.answer(waiting).expect("an answer after three failures or 30 s");
}

#[test]
fn a_refresh_with_a_wait_waits_for_what_keeps_it_from_being_forced() {
    let mut world = World::authorized();
    world.ecobee.next(Errand::Refresh, Mishap::Says(Word::TooMany(Some(secs(300)))));
    world.run_until_state(State::Retrying);
    let token = world.lent(json()).token;
    world.problem(refresh());
    world.problem(rejected(&token));
    let first = world.ask(refresh().wait(600));
    let second = world.ask(rejected(&token).wait(600));
    world.run(secs(290));
    assert!(world.waits(first) && world.waits(second));
    world.run(secs(15));
    assert!(!world.waits(first) && !world.waits(second));
    assert_eq!(world.refreshes(), 2);

    let mut world = World::awaiting();
    world.problem(refresh());
    let id = world.ask(refresh().wait(600));
    world.run(secs(100));
    world.enter_pin();
    let (_, answer) = world.wait_for(id);
    assert!(matches!(answer, Answer::Token { .. }), "{answer:?}");
}

/// Found by a simulated decade: somebody waits for the refresh, which moves it by the seconds that plain readers are
/// owed; then the settings change, and the daemon is killed.
#[test]
fn rule_7_a_refresh_that_somebody_waits_for_is_written_down_where_it_moved() {
    let mut world = World::authorized_for(secs(30));
    let planned = world.token().refresh_at;
    world.run_until(world.token().issued_at + secs(10));
    world.ask(json().min_ttl(15));
    world.run(secs(1));
    let lent = world.lent(json());
    let promised_until = world.now + lent.promised;
    assert!(promised_until > planned);
    world.run(secs(1));
    assert_eq!(world.disk.access().refresh_at, promised_until);
}

/// Found by a simulated decade: whoever came while the new plan was being written was promised what a kill undid.
#[test]
fn rule_7_nobody_is_promised_a_moved_refresh_before_the_disk_knows_of_it() {
    let mut world = World::authorized();
    let planned = world.token().refresh_at;
    world.run_until(planned - secs(10));
    world.disk.next(DiskMishap::Takes(ms(500)));
    let first = world.ask(json().min_ttl(300));
    assert!(world.lent(json()).promised <= planned.since(world.now));
    world.run(ms(500));
    assert!(!world.waits(first));
    assert!(world.lent(json()).promised >= secs(299));
}

/// The plan that is being replaced holds, and what fits into it to the second needs no other.
#[test]
fn a_promise_that_the_old_plan_keeps_does_not_wait_for_the_new_one_to_be_written() {
    let mut world = World::authorized();
    let planned = world.token().refresh_at;
    world.run_until(planned - secs(10));
    world.disk.next(DiskMishap::Takes(ms(500)));
    let longer = world.ask(json().min_ttl(300));
    assert_eq!(world.lent(json().min_ttl(10)).promised, secs(10));
    let a_second_more = world.ask(json().min_ttl(11));
    assert!(world.waits(longer) && world.waits(a_second_more));
}
