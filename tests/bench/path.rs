//! Requests: what `GET /token` costs, beside a server that does nothing else.

use std::path::Path;

use ecobee_simulator::Options;

use crate::Pace;
use crate::counting::{self, What};
use crate::household::Household;
use crate::load::{Connections, Exchange, Harvest, ask_times};
use crate::table::{Table, Target, Unit};
use crate::turns::Rounds;
use crate::yardstick::Yardstick;

/// Who is measured beside the daemon, which comes first.
const HYPER: (&str, usize) = ("hyper", 1);
const PING_PONG: (&str, usize) = ("ping-pong", 2);

/// How many ask at once.
const CROWDS: [usize; 2] = [1, 8];

/// A client that is slower than the server has it wait once more, now and then.
const WAITS: f64 = 0.3;

/// Over a kept connection, as a ratio to a server that lends nothing. It was 1.28 to 1.47, for a wait more of either counts
/// too.
const INSTRUCTIONS: f64 = 1.55;

pub(crate) fn measure(pace: Pace, table: &mut Table) {
    let household = Household::of_one(Options::default());
    let daemon = household.start();
    let (exchange, answer) = Exchange::learn(&daemon.socket, "/token");
    let folder = household.stage.folder.path();
    let [hyper, ping_pong] = [HYPER, PING_PONG].map(|(name, _)| Yardstick::start(name, folder, &answer));
    let servers: [(&Path, &Exchange); 3] =
        [(&daemon.socket, &exchange), (&hyper.socket, &exchange), (&ping_pong.socket, &exchange)];
    for connections in [Connections::Kept, Connections::Anew] {
        for clients in CROWDS {
            let rounds = Rounds::of(pace, servers, clients, connections);
            tell(table, &rounds, clients, connections);
        }
    }
    drop((daemon, hyper, ping_pong));
    for connections in [Connections::Kept, Connections::Anew] {
        count(table, &household, &exchange, &answer, connections);
    }
}

fn tell(table: &mut Table, rounds: &Rounds<3>, clients: usize, connections: Connections) {
    let manner = manner(connections);
    let who = if clients == 1 { "1 client".to_owned() } else { format!("{clients} clients") };
    let figure = |what: &str| format!("GET /token, {manner}, {who}: {what}");
    rounds
        .row(table, figure("requests"), Unit::PerSecond, Harvest::rate, HYPER)
        .target(Target::RatioAtLeast(0.90));
    rounds.row(table, figure("requests"), Unit::PerSecond, Harvest::rate, PING_PONG);
    rounds.row(table, figure("p50"), Unit::Seconds, |harvest| harvest.wait(500), HYPER);
    rounds.row(table, figure("p99"), Unit::Seconds, |harvest| harvest.wait(990), HYPER);
}

fn manner(connections: Connections) -> &'static str {
    match connections {
        Connections::Kept => "keep-alive",
        Connections::Anew => "new connection each",
    }
}

/// What can be counted needs no rounds.
fn count(
    table: &mut Table,
    household: &Household,
    exchange: &Exchange,
    answer: &[u8],
    connections: Connections,
) {
    let folder = household.stage.folder.path();
    let (calls, instructions) = match connections {
        Connections::Kept => (WAITS, Some(Target::RatioAtMost(INSTRUCTIONS))),
        // The peer's credentials.
        Connections::Anew => (WAITS + 1.0, None),
    };
    let counted = [
        (What::Calls, "system calls", Some(Target::OverItAtMost(calls))),
        (What::Allocations, "allocations", None),
        (What::Instructions, "instructions", instructions),
    ];
    for (what, name, target) in counted {
        let ask = |socket: &Path, times: usize| ask_times(socket, exchange, connections, times);
        let ours = counting::a_request(what, |tool| household.start_under(tool.words()), ask);
        let bare = counting::a_request(
            what,
            |tool| Yardstick::start_under(tool.words(), "hyper", folder, answer),
            ask,
        );
        let words = ours.as_ref().map(counting::Tally::in_words).unwrap_or_default();
        let row = table.row(
            format!("GET /token, {}: {name}", manner(connections)),
            Unit::Count,
            ours.map(|tally| tally.total()),
        );
        if let Ok(bare) = bare {
            row.beside("hyper", bare.total());
            if !words.is_empty() {
                row.note(format!("{words}; hyper: {}", bare.in_words()));
            }
        }
        if let Some(target) = target {
            row.target(target);
        }
    }
}
