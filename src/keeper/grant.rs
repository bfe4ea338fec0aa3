//! The grant: the tokens of an account, and where they stand.

use std::rc::Rc;

use super::{AccessToken, Moment, News, Plan, SaveId, State};
use crate::secret::Secret;

/// The tokens of an account.
#[derive(Debug)]
pub(super) struct Grant {
    pub(super) access: Option<Access>,
    pub(super) refresh_token: Secret,
    /// The one before it, until `refresh_token` has been used with success.
    pub(super) previous: Option<Secret>,
    pub(super) refusals: u32,
    pub(super) doubt: Doubt,
}

/// Whether ecobee may have replaced the access token without our having heard of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    None,
    MayBeReplaced,
}

/// Whether ecobee takes the access token, as far as clients report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Good,
    Rejected,
}

/// An access token with its times.
#[derive(Debug)]
pub(super) struct Access {
    pub(super) serial: u64,
    pub(super) token: Rc<AccessToken>,
    pub(super) issued_at: Moment,
    pub(super) expires_at: Moment,
    pub(super) plan: Plan,
    /// The last time that a promise moved the planned refresh.
    pub(super) put_off: Option<PutOff>,
    pub(super) standing: Standing,
}

/// A promise moved the planned refresh. Until the disk knows of it, a kill would undo that.
#[derive(Clone, Copy, Debug)]
pub(super) struct PutOff {
    /// With this save the disk knows …
    pub(super) save: SaveId,
    /// … and from here on it has had its time.
    pub(super) firm_from: Moment,
    /// Where the refresh was planned before.
    pub(super) planned_before: Moment,
}

impl Access {
    pub(super) fn lives(&self, now: Moment) -> bool {
        now < self.expires_at && self.standing == Standing::Good
    }
}

impl Grant {
    /// Tokens of which ecobee has refused none so far.
    pub(super) fn new(access: Option<Access>, refresh_token: Secret, previous: Option<Secret>) -> Box<Self> {
        Box::new(Self { access, refresh_token, previous, refusals: 0, doubt: Doubt::None })
    }

    pub(super) fn living(&self, now: Moment) -> Option<&Access> {
        self.access.as_ref().filter(|access| access.lives(now))
    }

    /// The refresh token and its predecessor, now that ecobee has taken the one that `attempt` shows and has given
    /// `fresh`, or none.
    pub(super) fn succeeded_by(self, attempt: Attempt, fresh: Option<Secret>) -> (Secret, Option<Secret>) {
        let used = match (attempt, self.previous) {
            (Attempt::Previous, Some(previous)) => previous,
            (Attempt::Usual | Attempt::Repeated | Attempt::Previous | Attempt::Slow, _) => self.refresh_token,
        };
        match fresh {
            Some(fresh) if fresh != used => (fresh, Some(used)),
            Some(_) | None => (used, None),
        }
    }

    /// Whether a restart would serve the access token if it found no mark on disk.
    pub(super) fn outlives_restart(&self, now: Moment) -> bool {
        self.doubt == Doubt::None && self.access.as_ref().is_some_and(|access| now < access.expires_at)
    }
}

/// Which refresh this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// A planned one, a forced one, or one after a pause.
    Usual,
    /// The one repetition after the connection broke.
    Repeated,
    /// With the previous refresh token, as the last resort before a person is asked.
    Previous,
    /// With a refresh token that was counted out, while the person is awaited.
    Slow,
}

/// Where the grant stands. Each variant owns its facts; leaving a state consumes it.
#[derive(Debug)]
pub(super) enum Phase {
    /// There is none.
    Absent,
    /// The access token is in use until its planned refresh.
    Authorized { grant: Box<Grant> },
    /// The store is being told that a refresh is about to be sent.
    Marking { grant: Box<Grant>, attempt: Attempt, save: SaveId, since: Moment },
    /// A refresh is in flight.
    Refreshing { grant: Box<Grant>, attempt: Attempt, since: Moment },
    /// New tokens are on their way to the disk.
    Saving { grant: Box<Grant>, save: SaveId, since: Moment, news: News },
    /// The last refresh failed. The next comes at `at`; not even a forced one before `not_before`.
    Retrying { grant: Box<Grant>, at: Moment, not_before: Moment },
    /// ecobee refused the refresh token too often. It is tried again at `at`, while a person is awaited; not even a
    /// forced try comes before `not_before`.
    Refused { grant: Box<Grant>, at: Moment, not_before: Moment },
}

impl Phase {
    pub(super) fn grant(&self) -> Option<&Grant> {
        match self {
            Self::Absent => None,
            Self::Authorized { grant }
            | Self::Marking { grant, .. }
            | Self::Refreshing { grant, .. }
            | Self::Saving { grant, .. }
            | Self::Retrying { grant, .. }
            | Self::Refused { grant, .. } => Some(grant),
        }
    }

    pub(super) fn grant_mut(&mut self) -> Option<&mut Grant> {
        match self {
            Self::Absent => None,
            Self::Authorized { grant }
            | Self::Marking { grant, .. }
            | Self::Refreshing { grant, .. }
            | Self::Saving { grant, .. }
            | Self::Retrying { grant, .. }
            | Self::Refused { grant, .. } => Some(grant),
        }
    }

    /// The state's name, where the grant decides it and not the PIN.
    pub(super) fn state(&self) -> Option<State> {
        match self {
            Self::Absent
            | Self::Refused { .. }
            | Self::Marking { attempt: Attempt::Slow, .. }
            | Self::Refreshing { attempt: Attempt::Slow, .. } => None,
            Self::Authorized { .. } => Some(State::Authorized),
            Self::Marking { .. } | Self::Refreshing { .. } | Self::Saving { .. } => Some(State::Refreshing),
            Self::Retrying { .. } => Some(State::Retrying),
        }
    }

    /// Whether a person must enter a PIN.
    pub(super) fn needs_person(&self) -> bool {
        self.state().is_none()
    }

    /// Whether the next thing to happen to the grant is the end of a save.
    pub(super) fn is_writing(&self) -> bool {
        matches!(self, Self::Marking { .. } | Self::Saving { .. })
    }
}
