//! Refreshes: what one costs, and what readers notice of it.

use std::thread;
use std::time::{Duration, Instant};

use ecobee_simulator::{CallKind, Options, Tls};

use crate::Pace;
use crate::counting::{self, What};
use crate::harness::{Daemon, PATIENCE};
use crate::household::Household;
use crate::load::{Connections, Exchange, drive, median};
use crate::process::Process;
use crate::table::{Table, Unit};

/// Refreshes come every 3 to 5.4 seconds.
const LIFETIME: Duration = Duration::from_secs(6);

/// Busy readers.
const READERS: usize = 8;

pub(crate) fn measure(pace: Pace, table: &mut Table) {
    processor_time(pace, table, Tls::Off, "without TLS");
    processor_time(pace, table, Tls::Good, "TLS, the system's roots");
    counted(table);
    readers(pace, table);
}

fn options(tls: Tls) -> Options {
    Options { tls, lifetime: LIFETIME, ..Options::default() }
}

fn processor_time(pace: Pace, table: &mut Table, tls: Tls, how: &str) {
    let household = Household::of_one(options(tls));
    let daemon = household.start();
    let process = Process::of(&daemon);
    let times: Vec<f64> = (0..=pace.pick(9, 2))
        .map(|number| {
            let before = process.processor_time();
            wait_for_refresh(&household, number + 1);
            // Threads that wrote something stay for a second, so that their time can still be read.
            let used = at_rest(process).saturating_sub(before);
            process.settle();
            used.as_secs_f64()
        })
        .collect();
    // The first one is also the first to touch most of what it needs.
    table
        .row(format!("processor time of a refresh, {how}"), Unit::Seconds, median(times[1..].iter().copied()))
        .note(format!("the first: {:.2} ms", times[0] * 1e3));
}

/// Waits until so many refreshes have been made, and the last one's tokens are stored.
fn wait_for_refresh(household: &Household, count: usize) {
    let simulator = &household.stage.simulator;
    let done = simulator.wait_for(PATIENCE, |_, calls| {
        let refreshes = calls.iter().filter(|call| call.kind == CallKind::Refresh);
        refreshes.filter(|call| call.answered_at.is_some()).count() >= count
    });
    assert!(done, "refresh {count} does not come");
    let grants = simulator.truth();
    let token = grants.grants().last().and_then(|grant| grant.access_token()).expect("a token").value.clone();
    let deadline = Instant::now() + PATIENCE;
    while !household.stage.stored("home").contains(&token) {
        assert!(Instant::now() < deadline, "refresh {count} is not stored");
        thread::park_timeout(Duration::from_millis(2));
    }
}

/// The time that a process has used, when it has come to rest.
fn at_rest(process: Process) -> Duration {
    let mut used = process.processor_time();
    loop {
        thread::park_timeout(Duration::from_millis(30));
        let now = process.processor_time();
        if now == used {
            return now;
        }
        used = now;
    }
}

/// What can be counted needs no rounds.
fn counted(table: &mut Table) {
    for (tls, how) in [(Tls::Off, "without TLS"), (Tls::Good, "TLS, the system's roots")] {
        let household = Household::of_one(Options { tls, ..Options::default() });
        let of = |what| {
            let simulator = &household.stage.simulator;
            let refreshed = |daemon: &Daemon| {
                let before = simulator.calls_of(CallKind::Refresh).len();
                daemon.signal("USR1");
                wait_for_refresh(&household, before + 1);
            };
            let start = |tool: &counting::Tool| household.start_under(tool.words());
            counting::between(what, start, |_| {}, refreshed).map(|tally| tally.total())
        };
        table.row(format!("allocations of a refresh, {how}"), Unit::Count, of(What::Allocations));
        table.row(format!("system calls of a refresh, {how}"), Unit::Count, of(What::Calls));
    }
}

/// The same crowd at a daemon that refreshes all the time and at one that does not.
fn readers(pace: Pace, table: &mut Table) {
    let households = [Household::of_one(options(Tls::Good)), Household::of_one(Options::default())];
    let daemons = [0, 1].map(|which| households[which].start());
    let length = pace.pick(Duration::from_secs(12), Duration::from_secs(6));
    let mut longest = [Vec::new(), Vec::new()];
    let mut quantile = [Vec::new(), Vec::new()];
    let mut refreshes = 0;
    let mut asked = 0;
    for _ in 0..pace.pick(4, 1) {
        for which in [0, 1] {
            let (exchange, _) = Exchange::learn(&daemons[which].socket, "/token");
            let calls = || households[0].stage.simulator.calls_of(CallKind::Refresh).len();
            let before = calls();
            let harvest = drive(&daemons[which].socket, &exchange, READERS, Connections::Kept, length);
            if which == 0 {
                refreshes += calls() - before;
                asked += harvest.len();
            }
            longest[which].push(harvest.longest_wait());
            quantile[which].push(harvest.wait(999));
        }
    }
    let worst = |waits: &[f64]| waits.iter().copied().fold(0.0, f64::max);
    let note = format!("{refreshes} refreshes, {asked} requests");
    table
        .row(
            format!("GET /token during refreshes, {READERS} clients: p99.9"),
            Unit::Seconds,
            median(quantile[0].clone()),
        )
        .beside("without", median(quantile[1].clone()))
        .note(&note);
    table
        .row(
            format!("GET /token during refreshes, {READERS} clients: longest"),
            Unit::Seconds,
            worst(&longest[0]),
        )
        .beside("without", worst(&longest[1]))
        .note(note);
}
