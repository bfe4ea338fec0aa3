//! `kill -9` at any moment: whatever is lost must be nobody's fault.
//!
//! A *lane* is one daemon's many lives beside a simulator of its own. Dice decide what happens in a life and when it
//! ends. What a kill left is held against the simulator's truth, its log of calls, and the bytes on the disk.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use ecobee_simulator::Rotation;

use super::lane::Lane;

/// So many daemons live beside each other for each kind of rotation.
const LANES: u64 = 4;

/// The kinds of rotation, and whether a refresh whose answer is lost costs the grant.
const KINDS: [(Rotation, Forgiveness); 3] = [
    (Rotation::Reuse, Forgiveness::Always),
    (Rotation::Leeway(Duration::from_secs(60)), Forgiveness::Always),
    (Rotation::Strict, Forgiveness::Never),
];

/// Whether a refresh token that was shown once works a second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forgiveness {
    Always,
    Never,
}

/// What came of the kills of one kind of rotation.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) kills: u32,
    /// A call to ecobee was in flight, or its answer not saved yet.
    pub(crate) during_calls: u32,
    /// A PIN was on show at the kill, and still was after it.
    pub(crate) pins_kept: u32,
    /// A person was needed afterwards: a refresh's answer was lost, or that of the poll that brought the first
    /// tokens.
    pub(crate) refreshes_lost: u32,
    pub(crate) first_tokens_lost: u32,
    /// Of these, so many because ecobee had answered nobody, or too late to be saved.
    pub(crate) explained: u32,
    /// Whatever else was lost, served too early, or forgotten.
    pub(crate) unexplained: Vec<String>,
    /// Tokens that were dead when they were asked for, and whose death the daemon could know of.
    pub(crate) dead_served: Vec<String>,
    pub(crate) tokens_served: u32,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.kills += other.kills;
        self.during_calls += other.during_calls;
        self.pins_kept += other.pins_kept;
        self.refreshes_lost += other.refreshes_lost;
        self.first_tokens_lost += other.first_tokens_lost;
        self.explained += other.explained;
        self.tokens_served += other.tokens_served;
        self.unexplained.extend(other.unexplained);
        self.dead_served.extend(other.dead_served);
    }
}

/// What came of all the kills.
pub(crate) struct Outcome {
    seed: u64,
    kinds: Vec<(Rotation, Tally)>,
    wall: Duration,
}

/// Kills so many daemons, spread evenly over the kinds of rotation.
pub(crate) fn torture(seed: u64, kills: u32) -> Outcome {
    let began = Instant::now();
    let lanes = u32::try_from(KINDS.len()).unwrap_or(1) * u32::try_from(LANES).unwrap_or(1);
    let kinds = thread::scope(|scope| {
        let mut running = Vec::new();
        for (index, (rotation, forgiveness)) in KINDS.into_iter().enumerate() {
            for lane in 0..LANES {
                let number = index as u64 * LANES + lane;
                // What cannot be divided falls to the last lanes, those of the strict kind.
                let share = kills / lanes + u32::from(u64::from(lanes - kills % lanes) <= number);
                let run = move || Lane::new(rotation, forgiveness, seed, number).run(share);
                running.push((index, scope.spawn(run)));
            }
        }
        let mut kinds: Vec<_> = KINDS.map(|(rotation, _)| (rotation, Tally::default())).into();
        for (index, lane) in running {
            match lane.join() {
                Ok(tally) => kinds[index].1.add(tally),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        kinds
    });
    Outcome { seed, kinds, wall: began.elapsed() }
}

impl Outcome {
    /// All kinds together.
    pub(crate) fn total(&self) -> u32 {
        self.kinds.iter().map(|(_, tally)| tally.kills).sum()
    }

    /// Everything that should not have happened.
    pub(crate) fn faults(&self) -> Vec<&str> {
        let tallies = self.kinds.iter().map(|(_, tally)| tally);
        tallies
            .flat_map(|tally| tally.unexplained.iter().chain(&tally.dead_served))
            .map(String::as_str)
            .collect()
    }

    /// Whether the loss of a grant was the server's rotation's fault each time, and nothing else went wrong.
    pub(crate) fn is_clean(&self) -> bool {
        self.faults().is_empty()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const HEAD: [&str; 9] = [
            "kills",
            "during calls",
            "PINs kept",
            "tokens served",
            "refreshes lost",
            "first tokens lost",
            "explained",
            "unexplained",
            "dead served",
        ];
        write!(f, "{:<16}", "rotation")?;
        for head in HEAD {
            write!(f, "  {head}")?;
        }
        writeln!(f)?;
        for (rotation, tally) in &self.kinds {
            let numbers = [
                tally.kills as usize,
                tally.during_calls as usize,
                tally.pins_kept as usize,
                tally.tokens_served as usize,
                tally.refreshes_lost as usize,
                tally.first_tokens_lost as usize,
                tally.explained as usize,
                tally.unexplained.len(),
                tally.dead_served.len(),
            ];
            write!(f, "{:<16}", rotation.to_string())?;
            for (head, number) in HEAD.iter().zip(numbers) {
                write!(f, "  {number:>width$}", width = head.len())?;
            }
            writeln!(f)?;
        }
        writeln!(f, "{} kills in {:.1} s, seed {}", self.total(), self.wall.as_secs_f64(), self.seed)?;
        for fault in self.faults() {
            writeln!(f, "UNEXPLAINED: {fault}")?;
        }
        Ok(())
    }
}
