//! One account: its keeper, what its orders need, and how long it stays.

use std::cell::Cell;
use std::rc::Rc;

use super::Season;
use crate::clock;
use crate::keeper::{Keeper, Moment, Policy, Record};
use crate::metrics::Tally;
use crate::people::Allowed;
use crate::secret::Secret;
use crate::store::Fingerprint;
use crate::supervisor::fittings::Tenant;
use crate::systemd::Contact;

/// An account: its keeper, and what its orders need to be carried out.
pub(super) struct Account {
    pub(super) name: Rc<str>,
    pub(super) keeper: Keeper,
    pub(super) api_key: Secret,
    pub(super) scope: Rc<str>,
    pub(super) fingerprint: Fingerprint,
    pub(super) allowed: Allowed,
    pub(super) wake_at: Option<Moment>,
    /// Calls that are not over.
    pub(super) calls: usize,
    /// Saves that are not over.
    pub(super) saves: usize,
    pub(super) season: Rc<Cell<Season>>,
    pub(super) tenure: Tenure,
    pub(super) contact: Contact,
    pub(super) tally: Rc<Tally>,
}

/// How long an account stays. One that is to go finishes what is under way first, and answers nobody any more.
pub(super) enum Tenure {
    /// Until the configuration changes.
    Standing,
    /// The configuration has it no longer.
    Ending,
    /// The configuration gives its name to this one, with another API key.
    Bequeathed(Box<Tenant>),
    /// The file of that one is being looked up, in the search of this number.
    HandingOver(u64),
    /// That one's file cannot be used; the next reload tries again.
    Stuck(String),
}

impl Account {
    pub(super) fn new(
        name: Rc<str>,
        tenant: Tenant,
        policy: Rc<Policy>,
        record: Record,
        tally: Rc<Tally>,
    ) -> Self {
        Self {
            name,
            keeper: Keeper::new(policy, record, clock::now(), fastrand::u64(..)),
            api_key: tenant.api_key,
            scope: tenant.scope.into(),
            fingerprint: tenant.fingerprint,
            allowed: tenant.allowed,
            wake_at: None,
            calls: 0,
            saves: 0,
            season: Rc::new(Cell::new(Season::Open)),
            tenure: Tenure::Standing,
            contact: Contact::Reached,
            tally,
        }
    }

    /// Whether nothing is under way and nothing is left to save.
    pub(super) fn rests(&self) -> bool {
        !self.is_busy() && !self.keeper.is_unsaved()
    }

    /// Whether a call or a save is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.calls > 0 || self.saves > 0
    }
}
