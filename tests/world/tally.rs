//! What befell a world, and how often.

use super::REQUEST_TIMEOUT;
use super::ecobee::{Mishap, Word};

/// What may befall it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    CallUnsent,
    CallLost,
    AnswerLost,
    AnswerLate,
    AnswerTimedOut,
    AnswerGarbled,
    Refused,
    Quarantined,
    Misconfigured,
    Asked429,
    Asked429For,
    SlowedDown,
    PinEnded,
    OddWord,
    Outage,
    Revoked,
    RefreshTokensDied,
    AccessTokenDied,
    FamilyRevoked,
    RotationChanged,
    ShortTokens,
    WallStepped,
    Rebooted,
    ClockDoubted,
    Suspended,
    KilledBetweenSteps,
    KilledWithinStep,
    StoppedAndStarted,
    SaveFailed,
    SaveHung,
    DiskFull,
    PinLate,
    PinIgnored,
    HungUp,
    RejectedRightly,
    RejectedWrongly,
    Sigusr1,
    Reloaded,
}

impl Fault {
    pub(crate) const ALL: [(Self, &'static str); 38] = [
        (Self::CallUnsent, "calls that never left"),
        (Self::CallLost, "calls lost on the way"),
        (Self::AnswerLost, "answers lost"),
        (Self::AnswerLate, "answers late"),
        (Self::AnswerTimedOut, "answers later than the timeout"),
        (Self::AnswerGarbled, "answers with an unusable token"),
        (Self::Refused, "good tokens refused once"),
        (Self::Quarantined, "good tokens refused for a while"),
        (Self::Misconfigured, "\"your request is wrong\""),
        (Self::Asked429, "429 without Retry-After"),
        (Self::Asked429For, "429 with Retry-After"),
        (Self::SlowedDown, "slow_down"),
        (Self::PinEnded, "PINs ended by ecobee"),
        (Self::OddWord, "words out of place"),
        (Self::Outage, "outages"),
        (Self::Revoked, "everything revoked by the owner"),
        (Self::RefreshTokensDied, "refresh tokens dead of age"),
        (Self::AccessTokenDied, "access tokens dead before their time"),
        (Self::FamilyRevoked, "families revoked for reuse"),
        (Self::RotationChanged, "ecobee changed its rotation"),
        (Self::ShortTokens, "spells of short-lived tokens"),
        (Self::WallStepped, "wall clock stepped"),
        (Self::Rebooted, "reboots"),
        (Self::ClockDoubted, "reboots without the time"),
        (Self::Suspended, "suspends"),
        (Self::KilledBetweenSteps, "kills between two steps"),
        (Self::KilledWithinStep, "kills between two actions of a step"),
        (Self::StoppedAndStarted, "stops and starts"),
        (Self::SaveFailed, "saves failed"),
        (Self::SaveHung, "saves that took longer than 2 s"),
        (Self::DiskFull, "spells of a full disk"),
        (Self::PinLate, "PINs entered too late"),
        (Self::PinIgnored, "PINs shown to nobody"),
        (Self::HungUp, "clients that hung up"),
        (Self::RejectedRightly, "dead tokens reported"),
        (Self::RejectedWrongly, "living or foreign tokens reported"),
        (Self::Sigusr1, "SIGUSR1"),
        (Self::Reloaded, "settings reloaded"),
    ];
}

/// Good things and bad, counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tally {
    faults: [u64; Fault::ALL.len()],
    /// Events that the keeper was told of.
    pub(crate) events: u64,
    /// Access tokens that ecobee's answers brought by refreshes.
    pub(crate) refreshes: u64,
    /// Grants that came of entered PINs.
    pub(crate) authorizations: u64,
    /// PINs that were shown.
    pub(crate) pins: u64,
    /// Requests, and how many of them got a token.
    pub(crate) requests: u64,
    pub(crate) lent: u64,
    pub(crate) saves: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            faults: [0; Fault::ALL.len()],
            events: 0,
            refreshes: 0,
            authorizations: 0,
            pins: 0,
            requests: 0,
            lent: 0,
            saves: 0,
        }
    }
}

impl Tally {
    pub(crate) fn count(&mut self, fault: Fault) {
        self.faults[fault as usize] += 1;
    }

    pub(super) fn count_mishap(&mut self, mishap: Mishap) {
        self.count(match mishap {
            Mishap::None => return,
            Mishap::Unsent => Fault::CallUnsent,
            Mishap::LostBefore(_) => Fault::CallLost,
            Mishap::LostAfter(_) => Fault::AnswerLost,
            Mishap::Late(long) if long >= REQUEST_TIMEOUT => Fault::AnswerTimedOut,
            Mishap::Late(_) => Fault::AnswerLate,
            Mishap::Garbled => Fault::AnswerGarbled,
            Mishap::Says(Word::Refused) => Fault::Refused,
            Mishap::Says(Word::Misconfigured) => Fault::Misconfigured,
            Mishap::Says(Word::TooMany(None)) => Fault::Asked429,
            Mishap::Says(Word::TooMany(Some(_))) => Fault::Asked429For,
            Mishap::Says(Word::SlowDown) => Fault::SlowedDown,
            Mishap::Says(Word::PinOver) => Fault::PinEnded,
            Mishap::Says(Word::Pending) => Fault::OddWord,
        });
    }

    pub(crate) fn of(&self, fault: Fault) -> u64 {
        self.faults[fault as usize]
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (ours, theirs) in self.faults.iter_mut().zip(other.faults) {
            *ours += theirs;
        }
        self.events += other.events;
        self.refreshes += other.refreshes;
        self.authorizations += other.authorizations;
        self.pins += other.pins;
        self.requests += other.requests;
        self.lent += other.lent;
        self.saves += other.saves;
    }
}
