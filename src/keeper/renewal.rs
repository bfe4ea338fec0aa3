//! How a grant ages, is renewed, and what a refusal leads to.

use std::rc::Rc;
use std::time::Duration;

use super::grant::{Access, Attempt, Doubt, Grant, Phase, Standing};
use super::ledger::SAVE_PATIENCE;
use super::{
    AccessToken, Action, Call, Granted, Keeper, Moment, News, Notice, Outcome, Plan, Reach, SaveId, Season,
    StoredAccess, StoredGrant, TokenView, Trouble,
};
use crate::secret::Secret;

/// A counted-out refresh token is tried again so soon after a person was asked for …
const FIRST_SLOW_RETRY: Duration = Duration::from_secs(60);
/// … and then this often.
const SLOW_RETRY: Duration = Duration::from_secs(300);

/// A token that is missing for reasons that pass is news to a person only when the trouble has lasted so long:
/// not while the network comes up after a boot.
const LASTING_TROUBLE: Duration = Duration::from_secs(300);

impl Keeper {
    pub(super) fn restore_grant(&mut self, stored: StoredGrant, now: Moment) {
        let access = stored.access.filter(|_| !stored.refresh_sent).map(|access| {
            let lifetime = access.expires_at.since(access.issued_at);
            let plan = Plan::restored(access.issued_at, lifetime, self.policy.ahead, access.refresh_at, now);
            if access.refresh_at < plan.refresh_at() {
                // The next start may have other settings, and is to keep what this one promises.
                self.ledger.change();
            }
            Access {
                // Every token of this life is newer.
                serial: self.last_serial,
                token: access.token,
                issued_at: access.issued_at,
                expires_at: access.expires_at,
                plan,
                put_off: None,
                standing: Standing::Good,
            }
        });
        if stored.disbelieved {
            self.ledger.disbelieve();
        }
        let mut grant = Grant::new(access, stored.refresh_token, stored.previous);
        grant.refusals = stored.refusals;
        let counted_out = grant.refusals >= self.policy.refusals_before_pin && grant.living(now).is_none();
        self.phase = if !counted_out {
            Phase::Authorized { grant }
        } else if grant.previous.is_some() {
            Phase::Retrying { grant, at: now, not_before: now }
        } else if grant.refresh_token.is_empty() {
            Phase::Absent
        } else {
            Phase::Refused { grant, at: now + FIRST_SLOW_RETRY, not_before: now }
        };
    }

    pub(super) fn stored_grant(&self) -> Option<StoredGrant> {
        let grant = self.phase.grant()?;
        let under_way = match &self.phase {
            Phase::Marking { attempt, .. } | Phase::Refreshing { attempt, .. } => *attempt != Attempt::Slow,
            Phase::Absent
            | Phase::Authorized { .. }
            | Phase::Saving { .. }
            | Phase::Retrying { .. }
            | Phase::Refused { .. } => false,
        };
        Some(StoredGrant {
            access: grant.access.as_ref().filter(|access| access.standing == Standing::Good).map(|access| {
                StoredAccess {
                    token: Rc::clone(&access.token),
                    issued_at: access.issued_at,
                    expires_at: access.expires_at,
                    refresh_at: self.refresh_at(access),
                }
            }),
            refresh_token: grant.refresh_token.clone(),
            previous: grant.previous.clone(),
            refusals: grant.refusals,
            refresh_sent: under_way || grant.doubt == Doubt::MayBeReplaced,
            disbelieved: false,
        })
    }

    /// Moves the grant on as far as time and the disk allow.
    pub(super) fn advance_grant(&mut self, now: Moment) {
        match std::mem::replace(&mut self.phase, Phase::Absent) {
            Phase::Absent => {}
            Phase::Authorized { grant } => self.advance_authorized(now, grant),
            Phase::Marking { grant, attempt, save, since } => {
                self.advance_marking(now, grant, attempt, save, since);
            }
            Phase::Saving { grant, save, since, news } => {
                if self.ledger.is_reported(save) || now >= since + SAVE_PATIENCE {
                    self.publish(grant, news);
                    // The save may have taken so long that the next refresh is due.
                    self.advance_grant(now);
                } else {
                    self.phase = Phase::Saving { grant, save, since, news };
                }
            }
            Phase::Retrying { grant, at, not_before } => self.advance_retrying(now, grant, at, not_before),
            Phase::Refused { grant, at, not_before } => {
                if at <= now && self.may_call() {
                    self.begin_refresh(grant, Attempt::Slow, now);
                } else {
                    self.phase = Phase::Refused { grant, at, not_before };
                }
            }
            refreshing @ Phase::Refreshing { .. } => self.phase = refreshing,
        }
        self.note_lasting_trouble(now);
    }

    fn advance_authorized(&mut self, now: Moment, mut grant: Box<Grant>) {
        let due = grant.access.as_ref().is_none_or(|access| access.plan.refresh_at() <= now);
        if !due || !self.may_call() {
            self.phase = Phase::Authorized { grant };
        } else if grant.refresh_token.is_empty() {
            // ecobee gave no refresh token: the access token is used up, then a person is asked.
            let at = grant.access.as_ref().map_or(now, |access| access.expires_at);
            grant.refusals = u32::MAX;
            self.phase = Phase::Retrying { grant, at, not_before: now };
            self.advance_grant(now);
        } else {
            self.begin_refresh(grant, Attempt::Usual, now);
        }
    }

    /// Sends a refresh, once no later start will serve the access token that it may kill.
    fn begin_refresh(&mut self, grant: Box<Grant>, attempt: Attempt, now: Moment) {
        // One that was given up has left the disk since then.
        let on_disk = attempt != Attempt::Slow && grant.outlives_restart(now);
        if on_disk || self.ledger.holds_disbelieved() {
            let save = self.ledger.change();
            self.phase = Phase::Marking { grant, attempt, save, since: now };
        } else {
            self.send_refresh(grant, attempt, now);
        }
    }

    fn advance_marking(
        &mut self,
        now: Moment,
        mut grant: Box<Grant>,
        attempt: Attempt,
        save: SaveId,
        since: Moment,
    ) {
        if self.season == Season::Stopping {
            self.ledger.change();
            self.phase = match attempt {
                Attempt::Usual | Attempt::Repeated => Phase::Authorized { grant },
                Attempt::Previous => Phase::Retrying { grant, at: now, not_before: now },
                Attempt::Slow => Phase::Refused { grant, at: now, not_before: now },
            };
            return;
        }
        // Without the mark, a kill before the answer is saved would make the next start serve a dead token. So
        // while this one may still be served, the disk gets its time; after that the token matters more.
        let closes_at = grant.living(now).map(|access| access.plan.closes_at());
        if !self.ledger.is_reported(save) {
            if Self::marking_ends_at(&grant, since, now) <= now {
                self.send_refresh(grant, attempt, since);
            } else {
                self.phase = Phase::Marking { grant, attempt, save, since };
            }
        } else if self.ledger.is_failing() && closes_at.is_some_and(|closes_at| now < closes_at) {
            let again_at = self.ledger.wake_at().unwrap_or(now).max(now + SAVE_PATIENCE);
            if let Some(access) = &mut grant.access {
                access.plan.hold_until(again_at);
            }
            self.phase = Phase::Authorized { grant };
        } else {
            self.send_refresh(grant, attempt, since);
        }
    }

    /// How long a save that hangs may hold the refresh up.
    fn marking_ends_at(grant: &Grant, since: Moment, now: Moment) -> Moment {
        match grant.living(now) {
            Some(access) => access.plan.closes_at().max(since + SAVE_PATIENCE),
            None => since + SAVE_PATIENCE,
        }
    }

    fn advance_retrying(&mut self, now: Moment, mut grant: Box<Grant>, at: Moment, not_before: Moment) {
        let dead = grant.refusals >= self.policy.refusals_before_pin && grant.living(now).is_none();
        if dead && not_before <= now && self.may_call() {
            if grant.previous.is_some() {
                self.begin_refresh(grant, Attempt::Previous, now);
            } else {
                self.give_up(now, grant, Duration::ZERO);
            }
        } else if !dead && at <= now && self.may_call() {
            if let Some(access) = &mut grant.access {
                access.plan.bring_forward(now);
            }
            self.phase = Phase::Authorized { grant };
            self.advance_grant(now);
        } else {
            self.phase = Phase::Retrying { grant, at, not_before };
        }
    }

    /// From here on a person is awaited; `held`: how long ecobee wishes to be left alone.
    fn give_up(&mut self, now: Moment, grant: Box<Grant>, held: Duration) {
        self.ledger.change();
        if grant.refresh_token.is_empty() {
            self.tell(News::TokenDied);
            self.phase = Phase::Absent;
        } else {
            self.tell(News::GivenUp { refusals: grant.refusals });
            let (at, not_before) = (now + FIRST_SLOW_RETRY.max(held), now + held);
            self.phase = Phase::Refused { grant, at, not_before };
        }
    }

    /// The same, the previous refresh token having been tried in vain.
    fn give_up_all(&mut self, now: Moment, mut grant: Box<Grant>, held: Duration) {
        grant.previous = None;
        self.give_up(now, grant, held);
    }

    fn send_refresh(&mut self, grant: Box<Grant>, attempt: Attempt, since: Moment) {
        let refresh_token = match (attempt, &grant.previous) {
            (Attempt::Previous, Some(previous)) => previous.clone(),
            _ => grant.refresh_token.clone(),
        };
        let call = self.next_call(Call::Refresh);
        self.out.push(Action::SendRefresh { call, refresh_token });
        self.phase = Phase::Refreshing { grant, attempt, since };
    }

    /// A refresh has come to its end.
    pub(super) fn refreshed(&mut self, now: Moment, sent_at: Moment, outcome: Outcome) {
        let (grant, attempt, since) = match std::mem::replace(&mut self.phase, Phase::Absent) {
            Phase::Refreshing { grant, attempt, since } => (grant, attempt, since),
            other @ (Phase::Absent
            | Phase::Authorized { .. }
            | Phase::Marking { .. }
            | Phase::Saving { .. }
            | Phase::Retrying { .. }
            | Phase::Refused { .. }) => {
                self.phase = other;
                return;
            }
        };
        match outcome {
            Outcome::Granted(granted) => self.renewed(now, sent_at, granted, *grant, attempt),
            Outcome::Refused(reason) => self.refused(now, grant, attempt, &reason),
            Outcome::Misconfigured(reason) => {
                let news = self.refreshes.misconfigured(now, &reason);
                self.tell(news);
                // ecobee has done nothing: the mark on disk is taken back.
                self.ledger.change();
                if attempt == Attempt::Previous {
                    self.give_up_all(now, grant, Duration::ZERO);
                } else {
                    self.retry(now, grant, attempt, self.policy.retry_max, Duration::ZERO);
                }
            }
            Outcome::Trouble(trouble)
                if trouble.reach == Reach::Broken
                    && attempt == Attempt::Usual
                    && self.refreshes.failures() == 0 =>
            {
                let grant = Self::doubted(grant, attempt, &trouble);
                self.send_refresh(grant, Attempt::Repeated, since);
            }
            Outcome::Trouble(trouble) => self.troubled(now, grant, attempt, &trouble),
            Outcome::Pending | Outcome::SlowDown | Outcome::PinIssued(_) | Outcome::PinOver(_) => {
                let trouble = Trouble {
                    reason: "ecobee answered a refresh as if it had been asked about a PIN".to_owned(),
                    reach: Reach::Sent,
                    retry_after: None,
                    rotated: None,
                };
                self.troubled(now, grant, attempt, &trouble);
            }
        }
    }

    fn renewed(&mut self, now: Moment, sent_at: Moment, granted: Granted, grant: Grant, attempt: Attempt) {
        let (refresh_token, previous) = grant.succeeded_by(attempt, granted.refresh_token);
        if matches!(attempt, Attempt::Slow | Attempt::Previous) {
            self.call_off_pin();
        }
        let access = self.access(now, sent_at, granted.access, granted.lifetime);
        let news = News::Renewed { expires_at: access.expires_at };
        self.keep(now, Grant::new(Some(access), refresh_token, previous), news);
    }

    /// Tokens for an entered PIN. They replace whatever there was.
    pub(super) fn authorized(&mut self, now: Moment, sent_at: Moment, granted: Granted) {
        let old = self.phase.grant().map(|grant| grant.refresh_token.clone());
        let refresh_token = granted.refresh_token.or(old).unwrap_or_else(|| Secret::new(""));
        let access = self.access(now, sent_at, granted.access, granted.lifetime);
        let news = News::Authorized { expires_at: access.expires_at };
        self.keep(now, Grant::new(Some(access), refresh_token, None), news);
    }

    /// Takes a refresh token that came without a usable access token, unless a grant lives: the next refresh, at
    /// once, brings the access token.
    pub(super) fn adopt(&mut self, now: Moment, refresh_token: Secret) {
        if self.phase.grant().is_some_and(|grant| grant.living(now).is_some()) {
            return;
        }
        self.ledger.gain();
        self.phase = Phase::Authorized { grant: Grant::new(None, refresh_token, None) };
    }

    fn access(&mut self, now: Moment, sent_at: Moment, token: AccessToken, lifetime: Duration) -> Access {
        self.last_serial += 1;
        let wanted = self
            .longest_wanted()
            .map_or(Duration::ZERO, |min_ttl| now.since(sent_at) + SAVE_PATIENCE + min_ttl);
        Access {
            serial: self.last_serial,
            token: Rc::new(token),
            issued_at: sent_at,
            expires_at: sent_at + lifetime,
            plan: Plan::new(sent_at, lifetime, self.policy.ahead, wanted, &mut self.jitter),
            put_off: None,
            standing: Standing::Good,
        }
    }

    fn keep(&mut self, now: Moment, grant: Box<Grant>, news: News) {
        let save = self.ledger.gain();
        self.phase = Phase::Saving { grant, save, since: now, news };
        let ended = [self.refreshes.succeeded(now), self.pins.succeeded(now)].into_iter().flatten().max();
        if let Some(after) = ended {
            self.tell(News::TroubleEnded { after });
        }
    }

    fn publish(&mut self, grant: Box<Grant>, news: News) {
        self.phase = Phase::Authorized { grant };
        self.tell(news);
        if std::mem::take(&mut self.told).is_anything() {
            self.out.push(Action::Notify(Notice::TokenBack));
        }
    }

    fn refused(&mut self, now: Moment, mut grant: Box<Grant>, attempt: Attempt, reason: &str) {
        match attempt {
            Attempt::Previous => self.give_up_all(now, grant, Duration::ZERO),
            Attempt::Usual | Attempt::Repeated | Attempt::Slow => {
                self.ledger.change();
                grant.refusals = grant.refusals.saturating_add(1);
                self.refreshes.failed(now, reason);
                self.tell(News::Refused { times: grant.refusals, reason: reason.to_owned() });
                // A refusal is an answer: whatever trouble there was before it is over, and slows the next try no more.
                let pause = self.pause_after(grant.refusals, Duration::ZERO);
                self.retry(now, grant, attempt, pause, Duration::ZERO);
            }
        }
    }

    fn troubled(&mut self, now: Moment, grant: Box<Grant>, attempt: Attempt, trouble: &Trouble) {
        let news = self.refreshes.failed(now, &trouble.reason);
        self.tell(news);
        let mark_is_wrong = trouble.reach == Reach::Unsent && grant.outlives_restart(now);
        let grant = Self::doubted(grant, attempt, trouble);
        if trouble.rotated.is_some() {
            self.ledger.gain();
        } else if mark_is_wrong || trouble.replaces_tokens() {
            // Nothing reached ecobee: the mark on disk is taken back. Or what the disk has is dead.
            self.ledger.change();
        }
        let held = trouble.held();
        let pause = self.pause_after(self.refreshes.failures(), held);
        match (attempt, trouble.reach) {
            (Attempt::Previous, Reach::Unsent) => self.retry(now, grant, attempt, pause, pause),
            (Attempt::Previous, Reach::Broken | Reach::Sent | Reach::Granted)
                if trouble.rotated.is_none() =>
            {
                self.give_up_all(now, grant, held);
            }
            (Attempt::Usual | Attempt::Repeated | Attempt::Previous | Attempt::Slow, _) => {
                self.retry(now, grant, attempt, pause, held);
            }
        }
    }

    /// What a failed call leaves in the dark.
    fn doubted(mut grant: Box<Grant>, attempt: Attempt, trouble: &Trouble) -> Box<Grant> {
        if trouble.reach != Reach::Unsent {
            grant.doubt = Doubt::MayBeReplaced;
        }
        if trouble.replaces_tokens() {
            grant.access = None;
        }
        if let Some(rotated) = trouble.rotated.clone() {
            let doubt = grant.doubt;
            let (refresh_token, previous) = grant.succeeded_by(attempt, Some(rotated));
            grant = Grant::new(None, refresh_token, previous);
            grant.doubt = doubt;
        }
        grant
    }

    fn retry(&mut self, now: Moment, grant: Box<Grant>, attempt: Attempt, pause: Duration, held: Duration) {
        self.phase = match attempt {
            Attempt::Slow => Phase::Refused { grant, at: now + SLOW_RETRY.max(held), not_before: now + held },
            Attempt::Usual | Attempt::Repeated | Attempt::Previous => {
                Phase::Retrying { grant, at: now + pause, not_before: now + held }
            }
        };
    }

    /// Says once that there is no living token, when trouble has lasted so long.
    fn note_lasting_trouble(&mut self, now: Moment) {
        if self.trouble_lasts_at(now).is_none_or(|at| now < at) {
            return;
        }
        let series = if self.phase.needs_person() { &self.pins } else { &self.refreshes };
        let reason = series.last().map_or_else(String::new, |(_, reason)| reason.to_owned());
        self.told.loss_at = Some(now);
        self.ledger.change();
        if !self.phase.needs_person() {
            self.tell(News::TokenDied);
        }
        self.out.push(Action::Notify(Notice::TokenLost { reason }));
    }

    /// When the trouble that keeps tokens away, and PINs too where one is needed, will have lasted long enough to be
    /// told, unless it has been.
    fn trouble_lasts_at(&self, now: Moment) -> Option<Moment> {
        if self.told.loss_at.is_some() {
            return None;
        }
        let since = match &self.phase {
            Phase::Retrying { grant, .. } if grant.living(now).is_none() => self.refreshes.since(),
            Phase::Absent | Phase::Refused { .. } => self.without_pin_since(now),
            Phase::Retrying { .. }
            | Phase::Authorized { .. }
            | Phase::Marking { .. }
            | Phase::Refreshing { .. }
            | Phase::Saving { .. } => None,
        };
        since.map(|since| since + LASTING_TROUBLE)
    }

    pub(super) fn grant_wake_at(&self, now: Moment) -> Option<Moment> {
        let telling = self.trouble_lasts_at(now);
        let working = match &self.phase {
            Phase::Absent | Phase::Refreshing { .. } => None,
            Phase::Authorized { grant } => {
                grant.access.as_ref().map(|access| access.plan.refresh_at()).filter(|_| self.may_call())
            }
            Phase::Marking { grant, since, .. } => Some(Self::marking_ends_at(grant, *since, now)),
            Phase::Saving { since, .. } => Some(*since + SAVE_PATIENCE),
            Phase::Retrying { grant, at, not_before } => {
                let death = grant.living(now).map(|access| access.expires_at);
                let counted_out = grant.refusals >= self.policy.refusals_before_pin;
                let call = match death {
                    None if counted_out => Some(*not_before),
                    Some(_) | None => Some(*at),
                };
                [death, call.filter(|_| self.may_call())].into_iter().flatten().min()
            }
            Phase::Refused { at, .. } => Some(*at).filter(|_| self.may_call()),
        };
        [telling, working].into_iter().flatten().min()
    }

    pub(super) fn token_view(&self, now: Moment) -> Option<TokenView> {
        let access = self.phase.grant()?.living(now)?;
        let refresh_at = self.refresh_at(access);
        Some(TokenView { issued_at: access.issued_at, expires_at: access.expires_at, refresh_at })
    }

    /// When the keeper will next refresh of its own accord: promises are made up to here.
    fn refresh_at(&self, access: &Access) -> Moment {
        match &self.phase {
            Phase::Retrying { at, .. } => *at,
            Phase::Absent
            | Phase::Authorized { .. }
            | Phase::Marking { .. }
            | Phase::Refreshing { .. }
            | Phase::Saving { .. }
            | Phase::Refused { .. } => access.plan.refresh_at(),
        }
    }
}
