//! Where the laws are spoken: counts how often each was held against the world, and keeps the first breach.

/// What must hold. The table of a storm names each with these words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Law {
    OneAnswer,
    AnswerInTime,
    LivingTokenLent,
    RejectedTokenKept,
    NoPromiseBeyondDeath,
    PromiseAsAsked,
    PromiseKept,
    SavedBeforeLent,
    ShownPinWorks,
    PeopleNotPestered,
    OneDeadline,
    OneCall,
    NoHotLoop,
    BackOff,
    RetryAfter,
    PlannedPace,
    ForcedBudget,
    PollPace,
    NothingAfterStop,
    SavedTokensSurvive,
    DeadTokenNotRestored,
    GrantKept,
    OnlyRefusalsCount,
    Heals,
    PinForTheDead,
    TokenForThePin,
}

impl Law {
    /// Each law in a line, and what excuses from it.
    pub(crate) const ALL: [(Self, &'static str, &'static str); 26] = [
        (Self::OneAnswer, "a request is answered once", ""),
        (Self::AnswerInTime, "no request waits beyond its bound", ""),
        (Self::LivingTokenLent, "a lent token lives", "it died unheard of"),
        (Self::RejectedTokenKept, "a token that does not do is not lent", ""),
        (Self::NoPromiseBeyondDeath, "no promise goes beyond a token's death", ""),
        (Self::PromiseAsAsked, "a promise is as long as was asked for", ""),
        (Self::PromiseKept, "no promise is broken by a refresh", "a client forced it"),
        (Self::SavedBeforeLent, "a token is saved before it is lent", "failed, or took 2 s"),
        (Self::ShownPinWorks, "a PIN on show works", "the clocks are in doubt"),
        (Self::PeopleNotPestered, "people are reminded no sooner than they wish", ""),
        (Self::OneDeadline, "a step ends with one deadline ahead", ""),
        (Self::OneCall, "one call is in flight", ""),
        (Self::NoHotLoop, "no failure makes a hot loop", ""),
        (Self::BackOff, "failed calls back off", "forced, or the last resort"),
        (Self::RetryAfter, "Retry-After is honoured", "the one repetition"),
        (Self::PlannedPace, "planned refreshes keep half a life apart", "forced, or a retry"),
        (Self::ForcedBudget, "forced refreshes keep to their budget", ""),
        (Self::PollPace, "polls are no faster than asked", ""),
        (Self::NothingAfterStop, "no call begins after a stop", "the one repetition"),
        (Self::SavedTokensSurvive, "what was saved survives a kill", ""),
        (
            Self::DeadTokenNotRestored,
            "no token that a refresh killed survives a kill",
            "disk, clock, or ecobee's whim",
        ),
        (Self::GrantKept, "a grant that ecobee honours is never given up", ""),
        (Self::OnlyRefusalsCount, "only refusals count against a refresh token", ""),
        (Self::Heals, "trouble over, grant honoured: a token without a person", "new trouble"),
        (Self::PinForTheDead, "a dead grant leads to a PIN on show", "new trouble"),
        (Self::TokenForThePin, "an entered PIN brings a token", "crash, or another PIN asked for"),
    ];
}

/// The table is in the order of the laws, for each law's number is its place.
const _: () = {
    let mut place = 0;
    while place < Law::ALL.len() {
        assert!(Law::ALL[place].0 as usize == place);
        place += 1;
    }
};

/// How often a law was held against the world, and how often it had nothing to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) checked: u64,
    pub(crate) excused: u64,
}

/// One of each law.
pub(crate) type Counts = [Count; Law::ALL.len()];

/// What becomes of a breach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Severity {
    /// It ends the test.
    #[default]
    Panics,
    /// The first is kept, and whoever drives the world looks for it.
    Keeps,
}

/// Judges.
#[derive(Default)]
pub(crate) struct Court {
    pub(crate) severity: Severity,
    pub(crate) counts: Counts,
    breach: Option<String>,
}

impl Court {
    /// The law must hold here.
    #[track_caller]
    pub(crate) fn hold(&mut self, law: Law, holds: bool, what: impl FnOnce() -> String) {
        self.counts[law as usize].checked += 1;
        if !holds {
            self.broken(law, &what());
        }
    }

    /// The law must hold here, unless it has nothing to say.
    #[track_caller]
    pub(crate) fn hold_unless(
        &mut self,
        excused: bool,
        law: Law,
        holds: bool,
        what: impl FnOnce() -> String,
    ) {
        if excused && !holds {
            self.excuse(law);
        } else {
            self.hold(law, holds, what);
        }
    }

    /// The law has nothing to say here.
    pub(crate) fn excuse(&mut self, law: Law) {
        self.counts[law as usize].excused += 1;
    }

    #[track_caller]
    fn broken(&mut self, law: Law, what: &str) {
        let (_, words, _) = Law::ALL[law as usize];
        let breach = format!("{words}: {what}");
        match self.severity {
            Severity::Panics => panic!("{breach}"),
            Severity::Keeps => {
                self.breach.get_or_insert(breach);
            }
        }
    }

    /// The first breach.
    pub(crate) fn breach(&self) -> Option<&str> {
        self.breach.as_deref()
    }
}
