//! Programs that start: the client, once for each line of a script, and the daemon. And how large both are.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ecobee_simulator::Options;

use crate::Pace;
use crate::harness::binary;
use crate::household::Household;
use crate::load::median;
use crate::table::{Table, Target, Unit};

const CLIENT: &str = env!("CARGO_BIN_EXE_ecobee-token");

/// What the same machine does at least, and what people use instead.
const TRUE: &str = "true";
const CURL: &str = "curl";

pub(crate) fn measure(pace: Pace, table: &mut Table) {
    let household = Household::of_one(Options::default());
    let daemon = household.start();
    clients(pace, table, &daemon.socket);
    drop(daemon);
    let rounds = pace.pick(41, 7);
    let times = (0..rounds).map(|_| {
        let (daemon, took) = household.start_timed();
        assert!(daemon.stop().success(), "the daemon did not end well");
        took.as_secs_f64()
    });
    table
        .row("ecobee-tokend: exec to READY=1, a token stored", Unit::Seconds, median(times))
        .target(Target::AtMost(0.010));
    size(table, "ecobee-tokend: size", binary(), 3.5e6);
    size(table, "ecobee-token: size", Path::new(CLIENT), 500e3);
}

fn clients(pace: Pace, table: &mut Table, socket: &Path) {
    let ours = || {
        let mut command = Command::new(CLIENT);
        command.arg("--socket").arg(socket);
        command
    };
    let curl = || {
        let mut command = Command::new(CURL);
        command.args(["--silent", "--fail", "--unix-socket"]).arg(socket).arg("http://localhost/token");
        command
    };
    let bare = || Command::new(TRUE);
    let count = pace.pick(301, 31);
    let has_curl = has(CURL);
    let mut rounds = Vec::new();
    for _ in 0..count {
        rounds.push([time(&mut ours()), time(&mut bare()), if has_curl { time(&mut curl()) } else { 0.0 }]);
    }
    let of = |whose: usize| median(rounds.iter().map(|round| round[whose]));
    let figure = "ecobee-token: start to end";
    let over = median(rounds.iter().map(|round| round[0] - round[1]));
    table
        .row(figure, Unit::Seconds, of(0))
        .beside(TRUE, of(1))
        .over(over)
        .target(Target::OverItAtMost(0.0005))
        .note(format!("median of the differences: {:.0} µs", over * 1e6));
    if has_curl {
        let ratio = median(rounds.iter().map(|round| round[0] / round[2]));
        table
            .row(figure, Unit::Seconds, of(0))
            .beside(CURL, of(2))
            .ratio(ratio)
            .target(Target::RatioAtMost(0.20));
    } else {
        table.row(figure, Unit::Seconds, not_installed(CURL)).target(Target::RatioAtMost(0.20));
    }
    // It would need an account and an agent to hand out a token; what can be compared is the start.
    let theirs = "oidc-token";
    if has(theirs) {
        let version =
            |program: &str| median((0..count).map(|_| time(Command::new(program).arg("--version"))));
        table.row("ecobee-token --version", Unit::Seconds, version(CLIENT)).beside(theirs, version(theirs));
    } else {
        table.row("ecobee-token --version", Unit::Seconds, not_installed(theirs));
    }
}

fn not_installed(program: &str) -> Result<f64, String> {
    Err(format!("{program} is not installed"))
}

fn has(program: &str) -> bool {
    quiet(Command::new(program).arg("--version")).status().is_ok()
}

fn quiet(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())
}

fn time(command: &mut Command) -> f64 {
    let command = quiet(command);
    let began = Instant::now();
    let status = command.status().expect("it is there");
    let took: Duration = began.elapsed();
    assert!(status.success(), "{command:?}: {status}");
    took.as_secs_f64()
}

fn size(table: &mut Table, figure: &str, program: &Path, most: f64) {
    let ours = if cfg!(debug_assertions) {
        Err("not an optimized build".to_owned())
    } else {
        Ok(fs::metadata(program).expect("it was built").len() as f64)
    };
    table.row(figure, Unit::Bytes, ours).target(Target::AtMost(most));
}
