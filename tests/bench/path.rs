//! Requests: what `GET /token` costs, beside a server that does nothing else.

use std::path::Path;
use std::time::Duration;

use ecobee_simulator::Options;

use crate::Pace;
use crate::counting::{self, What};
use crate::household::Household;
use crate::load::{Connections, Exchange, Harvest, ask_times, drive, median};
use crate::table::{Table, Target, Unit};
use crate::yardstick::Yardstick;

/// How many ask at once.
const CROWDS: [usize; 2] = [1, 8];

pub(crate) fn measure(pace: Pace, table: &mut Table) {
    let household = Household::of_one(Options::default());
    let daemon = household.start();
    let (exchange, answer) = Exchange::learn(&daemon.socket, "/token");
    let folder = household.stage.folder.path();
    let (hyper, ping_pong) =
        (Yardstick::start("hyper", folder, &answer), Yardstick::start("ping-pong", folder, &answer));
    let sockets: [&Path; 3] = [&daemon.socket, &hyper.socket, &ping_pong.socket];
    for connections in [Connections::Kept, Connections::Anew] {
        for clients in CROWDS {
            let rounds = rounds(pace, &sockets, &exchange, clients, connections);
            tell(table, &rounds, clients, connections);
        }
    }
    drop((daemon, hyper, ping_pong));
    for connections in [Connections::Kept, Connections::Anew] {
        count(table, &household, &exchange, &answer, connections);
    }
}

/// A client that is slower than the server has it wait once more, now and then.
const WAITS: f64 = 0.3;

/// What is read off a measurement.
type Number = fn(&Harvest) -> f64;

/// One measurement of each, one after the other.
type Round = [Harvest; 3];

fn rounds(
    pace: Pace,
    sockets: &[&Path; 3],
    exchange: &Exchange,
    clients: usize,
    connections: Connections,
) -> Vec<Round> {
    let (count, length) = pace.pick((41, Duration::from_millis(150)), (7, Duration::from_millis(60)));
    // The first round warms up.
    let rounds = (0..=count).map(|number| {
        // Whoever comes first in one round comes last in the next.
        let mut harvests: [Option<Harvest>; 3] = [None, None, None];
        for turn in 0..sockets.len() {
            let whose = (turn + number) % sockets.len();
            harvests[whose] = Some(drive(sockets[whose], exchange, clients, connections, length));
        }
        harvests.map(|harvest| harvest.expect("each had its turn"))
    });
    rounds.skip(1).collect()
}

fn tell(table: &mut Table, rounds: &[Round], clients: usize, connections: Connections) {
    let manner = manner(connections);
    let of = |whose: usize, number: Number| median(rounds.iter().map(|round| number(&round[whose])));
    let against = |whose: usize, number: Number| {
        median(rounds.iter().map(|round| number(&round[0]) / number(&round[whose])))
    };
    let who = if clients == 1 { "1 client".to_owned() } else { format!("{clients} clients") };
    let figure = |what: &str| format!("GET /token, {manner}, {who}: {what}");
    table
        .row(figure("requests"), Unit::PerSecond, of(0, Harvest::rate))
        .beside("hyper", of(1, Harvest::rate))
        .ratio(against(1, Harvest::rate))
        .target(Target::RatioAtLeast(0.90));
    table
        .row(figure("requests"), Unit::PerSecond, of(0, Harvest::rate))
        .beside("ping-pong", of(2, Harvest::rate))
        .ratio(against(2, Harvest::rate));
    let quantiles: [(&str, Number); 2] =
        [("p50", |harvest| harvest.wait(500)), ("p99", |harvest| harvest.wait(990))];
    for (name, quantile) in quantiles {
        table
            .row(figure(name), Unit::Seconds, of(0, quantile))
            .beside("hyper", of(1, quantile))
            .ratio(against(1, quantile));
    }
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
    let aside = match connections {
        Connections::Kept => 0.0,
        // The peer's credentials.
        Connections::Anew => 1.0,
    };
    let counted = [
        (What::Calls, "system calls", Some(Target::OverItAtMost(aside + WAITS))),
        (What::Allocations, "allocations", None),
        (What::Instructions, "instructions", None),
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
            row.note(if words.is_empty() { words } else { format!("{words}; hyper: {}", bare.in_words()) });
        }
        if let Some(target) = target {
            row.target(target);
        }
    }
}
