//! Spells of weather: at ecobee, and on the disk.

use std::time::Duration;

use ecobee_tokend::keeper::{Moment, Reach};

use crate::world::{DAY, Dice, DiskMishap, Fault, HOUR, Mishap, Word, World, ms, secs};

/// A kind of weather.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spell {
    /// Nothing goes wrong of itself.
    Fair,
    /// So many calls in a hundred go wrong, and so many saves.
    Rough { calls: u64, saves: u64 },
    /// No call gets through.
    Outage,
    /// ecobee refuses good tokens.
    Quarantine,
    /// No save gets through.
    FullDisk,
    /// ecobee gives tokens of a short life.
    ShortTokens,
}

impl Spell {
    pub(super) fn choose(dice: &mut Dice) -> Self {
        match dice.below(100) {
            0..40 => Self::Fair,
            40..60 => Self::Rough { calls: 3, saves: 1 },
            60..72 => Self::Rough { calls: 20 + dice.below(40), saves: dice.below(30) },
            72..82 => Self::Outage,
            82..89 => Self::Quarantine,
            89..96 => Self::FullDisk,
            _ => Self::ShortTokens,
        }
    }

    pub(super) fn is_calm(self) -> bool {
        matches!(self, Self::Fair | Self::Rough { calls: 0..10, .. })
    }

    pub(super) fn length(self, dice: &mut Dice) -> Duration {
        match self {
            Self::Fair => dice.length(secs(12 * DAY)),
            Self::Rough { calls: 0..10, .. } => dice.length(secs(6 * DAY)),
            Self::Rough { .. } => dice.length(secs(8 * HOUR)),
            Self::Outage | Self::Quarantine | Self::FullDisk => match dice.below(100) {
                0..60 => dice.length(secs(HOUR)),
                60..90 => dice.length(secs(12 * HOUR)),
                90..99 => dice.length(secs(3 * DAY)),
                _ => dice.length(secs(21 * DAY)),
            },
            Self::ShortTokens => dice.length(secs(1200)),
        }
    }

    /// The weather turns.
    pub(super) fn begin(self, world: &mut World, dice: &mut Dice, ends_at: Moment, usual_lifetime: Duration) {
        world.ecobee.lifetime = usual_lifetime;
        world.ecobee.latency = dice.one_of(&[ms(300), ms(400), ms(700), ms(1500), ms(2600)]);
        world.ecobee.pin_lifetime = secs(dice.one_of(&[540, 540, 540, 540, 60, 3600]));
        world.ecobee.interval = secs(dice.one_of(&[30, 30, 30, 5]));
        world.ecobee.refreshable = !dice.percent(2);
        let (calls, saves) = match self {
            Self::Rough { calls, saves } => (calls, saves),
            Self::Fair | Self::Outage | Self::Quarantine | Self::FullDisk | Self::ShortTokens => (0, 0),
        };
        let mut of_calls = Dice::new(dice.below(u64::MAX));
        world.ecobee.weather(Box::new(move |errand| {
            if of_calls.percent(calls) { Mishap::thrown(&mut of_calls, errand) } else { Mishap::None }
        }));
        let full = self == Self::FullDisk;
        let mut of_saves = Dice::new(dice.below(u64::MAX));
        world.disk.weather(Box::new(move || {
            if full {
                return Some(DiskMishap::Fails(of_saves.length(secs(1))));
            }
            of_saves.percent(saves).then(|| DiskMishap::thrown(&mut of_saves))
        }));
        match self {
            Self::Fair | Self::Rough { .. } => {}
            Self::Outage => {
                world.tally.count(Fault::Outage);
                let kind = dice.one_of(&[
                    Mishap::Unsent,
                    Mishap::LostBefore(Reach::Broken),
                    Mishap::LostBefore(Reach::Sent),
                    Mishap::Says(Word::TooMany(None)),
                    Mishap::Says(Word::TooMany(Some(secs(120)))),
                ]);
                world.ecobee.outage(ends_at, kind);
            }
            Self::Quarantine => world.ecobee.quarantine_until = ends_at,
            Self::FullDisk => world.tally.count(Fault::DiskFull),
            Self::ShortTokens => {
                world.tally.count(Fault::ShortTokens);
                world.ecobee.lifetime = secs(dice.one_of(&[1, 2, 5, 7, 12, 30, 60, 299]));
            }
        }
    }
}
