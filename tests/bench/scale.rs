//! Many accounts, many clients, many refreshes at once.

use std::path::Path;
use std::time::{Duration, Instant};

use ecobee_simulator::{Call, CallKind, Endpoint, Mood, Options};
use rustix::process::geteuid;

use crate::Pace;
use crate::harness::Daemon;
use crate::household::{Household, Stored, names};
use crate::load::{Connections, Exchange, Harvest, idlers, median};
use crate::process::Process;
use crate::table::{Table, Target, Unit};
use crate::turns::Rounds;

/// So many calls to ecobee may be under way at a time.
const CALLS_AT_A_TIME: f64 = 8.0;

/// ecobee's answer takes so long while it is counted how many are awaited: else hardly two would meet.
const ANSWER_TAKES: Duration = Duration::from_millis(20);

/// Nothing here takes longer.
const LONG: Duration = Duration::from_secs(1800);

pub(crate) fn measure(pace: Pace, table: &mut Table) {
    let one = Street::start(1);
    for count in [100, 10_000] {
        accounts(pace, table, &one, count);
    }
    crowds(pace, table, &one.daemon);
    drop(one);
    burst(table, pace.pick(10_000, 300));
}

/// A daemon with so many accounts that have a living token each.
struct Street {
    names: Vec<String>,
    household: Household,
    daemon: Daemon,
    ready_after: Duration,
}

impl Street {
    fn start(count: usize) -> Self {
        let names = names(count);
        let household = Household::new(Options::default(), &names, Stored::Alive);
        let (daemon, ready_after) = household.start_timed();
        Process::of(&daemon).settle();
        Self { names, household, daemon, ready_after }
    }

    /// `GET /accounts/NAME/token` of the account in the middle.
    fn exchange(&self) -> Exchange {
        let name = &self.names[self.names.len() / 2];
        Exchange::learn(&self.daemon.socket, &format!("/accounts/{name}/token")).0
    }
}

fn accounts(pace: Pace, table: &mut Table, one: &Street, count: usize) {
    let many = Street::start(count);
    table
        .row(format!("{count} accounts: exec to READY=1"), Unit::Seconds, many.ready_after)
        .beside("1 account", one.ready_after.as_secs_f64())
        .target(Target::AtMost(1.0));
    let memory = |street: &Street| Process::of(&street.daemon).memory("Anonymous");
    let each = (memory(&many) - memory(one)) / (count - 1) as f64;
    let tokens = many.household.bytes_of_tokens as f64;
    table
        .row(format!("{count} accounts: memory of one, its tokens aside"), Unit::Bytes, each - tokens)
        .target(Target::AtMost(2048.0))
        .note(format!("its tokens: {tokens} B"));
    let (at_many, at_one) = (many.exchange(), one.exchange());
    one_client(pace, [(&many.daemon.socket, &at_many), (&one.daemon.socket, &at_one)])
        .row(table, format!("{count} accounts: GET of one's token"), Unit::Seconds, seconds, ("1 account", 1))
        .target(Target::RatioAtMost(1.1));
    let took = median((0..pace.pick(11, 3)).map(|_| {
        let began = Instant::now();
        let answer = many.daemon.get("/status");
        assert_eq!(answer.status, 200, "{}", answer.body);
        began.elapsed().as_secs_f64()
    }));
    table.row(format!("{count} accounts: GET /status"), Unit::Seconds, took);
}

/// Both asked by one client on one connection.
fn one_client(pace: Pace, both: [(&Path, &Exchange); 2]) -> Rounds<2> {
    Rounds::of(pace, both, 1, Connections::Kept)
}

/// What a request takes.
fn seconds(harvest: &Harvest) -> f64 {
    1.0 / harvest.rate()
}

/// Clients that are connected and say nothing.
fn crowds(pace: Pace, table: &mut Table, empty: &Daemon) {
    let household = Household::of_one(Options::default());
    let daemon = household.start();
    let process = Process::of(&daemon);
    process.settle();
    let (exchange, _) = Exchange::learn(&daemon.socket, "/token");
    let (at_empty, _) = Exchange::learn(&empty.socket, "/token");
    // A user other than root may have 1,024.
    let largest = if geteuid().is_root() { 4000 } else { 1000 };
    let before = process.memory("Anonymous");
    let mut crowd = Vec::new();
    for count in [1, 100, largest] {
        crowd.extend(idlers(&daemon.socket, &exchange, count - crowd.len()));
        one_client(pace, [(&daemon.socket, &exchange), (&empty.socket, &at_empty)]).row(
            table,
            format!("{count} clients connected: GET /token"),
            Unit::Seconds,
            seconds,
            ("none", 1),
        );
    }
    let each = (process.memory("Anonymous") - before) / crowd.len() as f64;
    table.row(format!("{largest} clients connected: memory of one"), Unit::Bytes, each);
    drop(crowd);
}

/// A start with accounts that all need a refresh at once.
fn burst(table: &mut Table, count: usize) {
    let household = Household::new(Options::default(), &names(count), Stored::Due);
    let simulator = &household.stage.simulator;
    simulator.add_mood(Mood::delay_before_commit(ANSWER_TAKES).on(Endpoint::Refresh));
    let began = Instant::now();
    let (daemon, ready_after) = household.start_timed();
    let process = Process::of(&daemon);
    let asked = Instant::now();
    let answer = daemon.get("/healthz");
    let answered_after = asked.elapsed();
    assert!(matches!(answer.status, 200 | 503), "{}", answer.body);
    let done = simulator.wait_for(LONG, |_, calls| {
        calls.len() >= count && calls.iter().filter(|call| call.answered_at.is_some()).count() >= count
    });
    assert!(done, "the burst does not end");
    let took = began.elapsed();
    let used = process.processor_time();
    let calls = simulator.calls_of(CallKind::Refresh);
    let figure = |what: &str| format!("{count} refreshes after a start: {what}");
    table
        .row(figure("calls at a time"), Unit::Count, most_at_a_time(&calls))
        .target(Target::AtMost(CALLS_AT_A_TIME));
    table
        .row(figure("calls for each"), Unit::Count, calls.len() as f64 / count as f64)
        .target(Target::AtMost(1.0));
    table.row(figure("exec to READY=1"), Unit::Seconds, ready_after).target(Target::AtMost(1.0));
    table.row(figure("a request meanwhile"), Unit::Seconds, answered_after);
    table
        .row(figure("all of them"), Unit::Seconds, took)
        .note(format!("{} ms of each is ecobee's", ANSWER_TAKES.as_millis()));
    table.row(figure("processor time of the loop, each"), Unit::Seconds, used.as_secs_f64() / count as f64);
}

/// How many calls overlapped at most.
fn most_at_a_time(calls: &[Call]) -> f64 {
    let mut turns: Vec<(Duration, i32)> = calls
        .iter()
        .flat_map(|call| [(call.arrived_at, 1), (call.answered_at.unwrap_or(Duration::MAX), -1)])
        .collect();
    // One that ends in the moment in which another begins makes room for it.
    turns.sort_unstable();
    let mut now = 0;
    let most = turns.into_iter().map(|(_, change)| {
        now += change;
        now
    });
    most.max().unwrap_or(0).into()
}
