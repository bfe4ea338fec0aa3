//! Who is compared is measured in turns, round after round.

use std::path::Path;
use std::time::Duration;

use crate::Pace;
use crate::load::{Connections, Exchange, Harvest, drive, median};
use crate::table::{Row, Table, Unit};

/// What each of so many servers gave in one round.
pub(crate) struct Rounds<const SERVERS: usize>(Vec<[Harvest; SERVERS]>);

/// What is read off a measurement.
pub(crate) type Number = fn(&Harvest) -> f64;

impl<const SERVERS: usize> Rounds<SERVERS> {
    /// Has so many clients ask at each of these sockets, what belongs to it.
    pub(crate) fn of(
        pace: Pace,
        servers: [(&Path, &Exchange); SERVERS],
        clients: usize,
        connections: Connections,
    ) -> Self {
        let (count, length) = pace.pick((41, Duration::from_millis(150)), (7, Duration::from_millis(60)));
        // The first round warms up.
        let rounds = (0..=count).map(|number| {
            let mut harvests = [const { None }; SERVERS];
            // Whoever comes first in one round comes last in the next.
            for turn in 0..SERVERS {
                let whose = (turn + number) % SERVERS;
                let (socket, exchange) = servers[whose];
                harvests[whose] = Some(drive(socket, exchange, clients, connections, length));
            }
            harvests.map(|harvest| harvest.expect("each had its turn"))
        });
        Self(rounds.skip(1).collect())
    }

    /// A row of the first one's number beside that of another one: medians, and the median of the rounds' ratios.
    pub(crate) fn row<'a>(
        &self,
        table: &'a mut Table,
        figure: String,
        unit: Unit,
        number: Number,
        (name, whose): (&'static str, usize),
    ) -> &'a mut Row {
        let of = |whose: usize| median(self.0.iter().map(|round| number(&round[whose])));
        let ratios = self.0.iter().map(|round| number(&round[0]) / number(&round[whose]));
        table.row(figure, unit, of(0)).beside(name, of(whose)).ratio(median(ratios))
    }
}
