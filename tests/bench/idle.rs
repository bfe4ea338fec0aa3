//! What the daemon takes while nothing happens.

use std::thread;
use std::time::Duration;

use ecobee_simulator::{CallKind, Options, Tls};

use crate::Pace;
use crate::household::Household;
use crate::process::Process;
use crate::table::{Table, Target, Unit};

/// A request may take so long to arrive, and a moment more.
const BOUND_TO_A_REQUEST: Duration = Duration::from_secs(35);

pub(crate) fn measure(pace: Pace, table: &mut Table) {
    let household = Household::of_one(Options { tls: Tls::Good, ..Options::default() });
    let daemon = household.start();
    let process = Process::of(&daemon);
    process.settle();
    let before = process.memory("Pss");
    let answer = daemon.post("/refresh", "");
    assert_eq!(answer.status, 200, "no refresh: {}", answer.body);
    assert_eq!(household.stage.simulator.calls_of(CallKind::Refresh).len(), 1, "it was one refresh");
    process.settle();
    table
        .row("memory (PSS) after a TLS refresh", Unit::Bytes, process.memory("Pss"))
        .beside("before it", before)
        .target(Target::AtMost(2.5e6))
        .note(format!("{:.0} kB of it no file's", process.memory("Pss_Anon") / 1e3));
    table.row("memory (RSS) after a TLS refresh", Unit::Bytes, process.memory("Rss"));
    table.row("threads", Unit::Count, process.threads() as f64).target(Target::AtMost(1.0));
    // Until then a timer that bounded the last request may still ring, and find that there is nothing to bound.
    thread::sleep(BOUND_TO_A_REQUEST);
    let length = pace.pick(Duration::from_secs(60), Duration::from_secs(10));
    // Looking wakes nobody up.
    let (slept, worked) = (process.sleeps(), process.processor_time());
    thread::sleep(length);
    let seconds = length.as_secs();
    table
        .row(
            format!("wake-ups in {seconds} idle seconds, without a watchdog"),
            Unit::Count,
            (process.sleeps() - slept) as f64,
        )
        .target(Target::AtMost(1.0));
    table.row(
        format!("processor time in {seconds} idle seconds"),
        Unit::Seconds,
        process.processor_time().saturating_sub(worked),
    );
}
