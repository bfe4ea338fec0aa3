//! The desk: what clients ask for, who waits, and what each is promised.

use std::rc::Rc;
use std::time::Duration;

use super::grant::{Access, Attempt, Doubt, Phase, PutOff, Standing};
use super::ledger::SAVE_PATIENCE;
use super::plan::{LONGEST_MIN_TTL_UNKNOWN, Lease};
use super::{Action, Answer, Ask, Keeper, Moment, News, Problem, RequestId, Season, Told, Want};
use crate::secret::Secret;

/// How long a request waits for what is under way, unless it says otherwise.
const PATIENCE: Duration = Duration::from_secs(30);

/// A refresh has so long from its beginning; from then on readers are lent the old token.
const OLD_TOKEN_AFTER: Duration = Duration::from_secs(2);

/// A client may ask for a new PIN this often.
const AUTHORIZE_SPACING: Duration = Duration::from_secs(30);

/// The least that a client is told to stay away.
const SHORTLY: Duration = Duration::from_secs(1);

/// A request that has no answer yet.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) request: RequestId,
    /// When to look at it again, if nothing happens before.
    pub(super) again_at: Moment,
    need: Need,
    patience: Patience,
    deadline: Moment,
}

/// What a waiting request needs.
#[derive(Debug)]
enum Need {
    /// A token with a serial number above `newer_than`, if any, promised for `min_ttl`.
    Token { min_ttl: Duration, told: Told, newer_than: Option<u64> },
    /// A PIN with a serial number above `newer_than`.
    Pin { newer_than: u64 },
}

/// What a request is ready to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Patience {
    /// A refresh that is under way, not for people or for trouble to end.
    Usual,
    /// Everything, up to its own bound (`?wait=`).
    Stated,
}

enum Verdict {
    Give(Answer),
    WaitUntil(Moment),
}

impl Keeper {
    /// The short way of nearly all questions: a reader who asks for no promise, while nothing is due and a token lives,
    /// changes nothing but what is promised.
    pub(super) fn lend(&mut self, now: Moment, ask: &Ask) -> Option<Answer> {
        let Want::Token { min_ttl: Duration::ZERO, told } = ask.want else { return None };
        if !matches!(self.phase, Phase::Authorized { .. }) || self.due_at.is_some_and(|due_at| due_at <= now)
        {
            return None;
        }
        let reader = Reader {
            min_ttl: Duration::ZERO,
            told,
            newer_than: None,
            patience: Patience::Usual,
            deadline: now,
        };
        match self.judge_reader(now, &reader) {
            Verdict::Give(answer @ Answer::Token { .. }) => Some(answer),
            Verdict::Give(Answer::Pin(_) | Answer::Problem(_)) | Verdict::WaitUntil(_) => None,
        }
    }

    /// A client asks. It is refused at once or becomes a waiter, whom this step may still answer.
    pub(super) fn asked(&mut self, now: Moment, request: RequestId, ask: &Ask) {
        let need = match self.admit(now, ask) {
            Ok(need) => need,
            Err(problem) => {
                self.out.push(Action::Answer(request, Answer::Problem(problem)));
                return;
            }
        };
        let patience = if ask.wait.is_some() { Patience::Stated } else { Patience::Usual };
        let deadline = now + ask.wait.unwrap_or(PATIENCE);
        self.waiters.push(Waiter { request, again_at: deadline, need, patience, deadline });
    }

    fn admit(&mut self, now: Moment, ask: &Ask) -> Result<Need, Problem> {
        match ask.want {
            Want::Token { min_ttl, told } => self.admit_reader(now, min_ttl, told, ask),
            Want::Refresh { min_ttl } => {
                self.allow(min_ttl)?;
                self.force(now, ask.uid).or_else(|problem| Self::wait_instead(ask, problem))?;
                Ok(self.need_newer(min_ttl))
            }
            Want::Rejected { ref token, min_ttl } if self.is_current(token) => {
                self.allow(min_ttl)?;
                self.rejected(now, ask.uid).or_else(|problem| Self::wait_instead(ask, problem))?;
                Ok(self.need_newer(min_ttl))
            }
            Want::Rejected { min_ttl, .. } => self.admit_reader(now, min_ttl, Told::Lifetime, ask),
            Want::Authorize => self.admit_authorize(now, ask),
        }
    }

    /// A refresh that cannot be forced comes in its own time, for whoever says that he waits so long.
    fn wait_instead(ask: &Ask, problem: Problem) -> Result<(), Problem> {
        match problem {
            Problem::AuthorizationRequired { .. } | Problem::Unavailable { .. } if ask.wait.is_some() => {
                Ok(())
            }
            Problem::AuthorizationRequired { .. }
            | Problem::Unavailable { .. }
            | Problem::MinTtlTooLong { .. }
            | Problem::TooMany { .. } => Err(problem),
        }
    }

    fn is_current(&self, token: &Secret) -> bool {
        self.phase
            .grant()
            .and_then(|grant| grant.access.as_ref())
            .is_some_and(|access| access.token.token == *token)
    }

    /// A token newer than any that a client can have seen.
    fn need_newer(&self, min_ttl: Duration) -> Need {
        let newer_than = match &self.phase {
            // Nobody has seen the one that is on its way to the disk.
            Phase::Saving { .. } => None,
            Phase::Absent
            | Phase::Authorized { .. }
            | Phase::Marking { .. }
            | Phase::Refreshing { .. }
            | Phase::Retrying { .. }
            | Phase::Refused { .. } => {
                let access = self.phase.grant().and_then(|grant| grant.access.as_ref());
                Some(access.map_or(0, |access| access.serial))
            }
        };
        Need::Token { min_ttl, told: Told::Lifetime, newer_than }
    }

    /// The longest `min_ttl` that makes sense for this account.
    fn longest_min_ttl(&self) -> Duration {
        self.phase
            .grant()
            .and_then(|grant| grant.access.as_ref())
            .map_or(LONGEST_MIN_TTL_UNKNOWN, |access| access.plan.longest_min_ttl(access.issued_at))
    }

    /// The longest promise that someone waits for.
    pub(super) fn longest_wanted(&self) -> Option<Duration> {
        self.waiters
            .iter()
            .filter_map(|waiter| match waiter.need {
                Need::Token { min_ttl, .. } => Some(min_ttl),
                Need::Pin { .. } => None,
            })
            .max()
    }

    fn allow(&self, min_ttl: Duration) -> Result<(), Problem> {
        let most = self.longest_min_ttl();
        if min_ttl > most { Err(Problem::MinTtlTooLong { most }) } else { Ok(()) }
    }

    fn admit_reader(
        &mut self,
        now: Moment,
        min_ttl: Duration,
        told: Told,
        ask: &Ask,
    ) -> Result<Need, Problem> {
        self.allow(min_ttl)?;
        if !min_ttl.is_zero() {
            self.bring_forward_for(now, min_ttl, now + ask.wait.unwrap_or(PATIENCE), ask.uid)?;
        }
        Ok(Need::Token { min_ttl, told, newer_than: None })
    }

    /// Refreshes early for a promise that the present token cannot keep, where that breaks no other promise and
    /// the client would wait in vain for the planned refresh.
    fn bring_forward_for(
        &mut self,
        now: Moment,
        min_ttl: Duration,
        deadline: Moment,
        uid: u32,
    ) -> Result<(), Problem> {
        let Phase::Authorized { grant } = &self.phase else {
            return Ok(());
        };
        let Some(plan) = grant.living(now).map(|access| &access.plan) else {
            return Ok(());
        };
        let fits = now + min_ttl <= plan.refresh_at() || plan.can_put_off_to(now + min_ttl);
        if fits || plan.refresh_at() <= deadline || self.season == Season::Stopping {
            return Ok(());
        }
        let Some(early) = plan.early_at(now).filter(|&early| early <= deadline) else {
            return Ok(());
        };
        self.draw(now, uid)?;
        if let Some(access) = self.phase.grant_mut().and_then(|grant| grant.access.as_mut()) {
            access.plan.bring_forward(early);
        }
        Ok(())
    }

    fn draw(&mut self, now: Moment, uid: u32) -> Result<(), Problem> {
        self.budget.draw(now, uid).map_err(|retry_after| Problem::TooMany { retry_after })
    }

    /// A refresh is wanted at once. `Ok` when one is under way or has been ordered.
    pub(super) fn force(&mut self, now: Moment, uid: u32) -> Result<(), Problem> {
        let held_until = match &self.phase {
            Phase::Absent => return Err(self.problem(now)),
            Phase::Marking { .. } | Phase::Refreshing { .. } | Phase::Saving { .. } => {
                return Ok(());
            }
            Phase::Retrying { not_before, .. } | Phase::Refused { not_before, .. } => *not_before,
            Phase::Authorized { .. } => now,
        };
        if now < held_until {
            return Err(self.problem(now));
        }
        if self.season == Season::Stopping {
            return Err(stopping());
        }
        self.draw(now, uid)?;
        match &mut self.phase {
            Phase::Authorized { grant } => {
                if let Some(access) = &mut grant.access {
                    access.plan.bring_forward(now);
                }
            }
            Phase::Retrying { at, .. } | Phase::Refused { at, .. } => *at = now,
            Phase::Absent | Phase::Marking { .. } | Phase::Refreshing { .. } | Phase::Saving { .. } => {}
        }
        Ok(())
    }

    /// A client says that ecobee refused the current token.
    fn rejected(&mut self, now: Moment, uid: u32) -> Result<(), Problem> {
        let known = self
            .phase
            .grant()
            .and_then(|grant| grant.access.as_ref())
            .is_some_and(|access| access.standing == Standing::Rejected);
        if known {
            // Somebody was faster; the refresh that this led to is under way or has failed.
            return Ok(());
        }
        self.force(now, uid)?;
        if let Some(access) = self.phase.grant_mut().and_then(|grant| grant.access.as_mut()) {
            access.standing = Standing::Rejected;
        }
        self.tell(News::Rejected { uid });
        Ok(())
    }

    fn admit_authorize(&mut self, now: Moment, ask: &Ask) -> Result<Need, Problem> {
        if self.season == Season::Stopping {
            return Err(stopping());
        }
        if let Some(allowed_at) = self.pin_asked_at.map(|last| last + AUTHORIZE_SPACING)
            && now < allowed_at
        {
            return Err(Problem::TooMany { retry_after: allowed_at.until_from(now) });
        }
        if let Some(held_until) = self.pin_held_until.filter(|&held_until| now < held_until)
            && ask.wait.is_none()
        {
            let detail = "ecobee asked to be left alone for a while".to_owned();
            return Err(Problem::Unavailable {
                detail,
                retry_after: held_until.until_from(now).max(SHORTLY),
            });
        }
        self.pin_asked_at = Some(now);
        self.request_pin(now);
        Ok(Need::Pin { newer_than: self.last_serial })
    }

    /// Looks at every waiter again.
    pub(super) fn judge_waiters(&mut self, now: Moment) {
        let mut waiters = std::mem::take(&mut self.waiters);
        waiters.retain_mut(|waiter| match self.judge(now, waiter) {
            Verdict::Give(answer) => {
                self.out.push(Action::Answer(waiter.request, answer));
                false
            }
            Verdict::WaitUntil(at) => {
                waiter.again_at = at;
                true
            }
        });
        self.waiters = waiters;
    }

    fn judge(&mut self, now: Moment, waiter: &Waiter) -> Verdict {
        let verdict = match waiter.need {
            Need::Pin { newer_than } => self.judge_pin(now, newer_than, waiter.patience),
            Need::Token { min_ttl, told, newer_than } => {
                let (patience, deadline) = (waiter.patience, waiter.deadline);
                self.judge_reader(now, &Reader { min_ttl, told, newer_than, patience, deadline })
            }
        };
        match verdict {
            Verdict::WaitUntil(_) if waiter.deadline <= now || self.is_leaving() => {
                Verdict::Give(Answer::Problem(match waiter.need {
                    Need::Pin { .. } => self.no_pin(now),
                    Need::Token { .. } => self.problem(now),
                }))
            }
            Verdict::WaitUntil(at) => Verdict::WaitUntil(at.min(waiter.deadline)),
            given @ Verdict::Give(_) => given,
        }
    }

    fn judge_pin(&self, now: Moment, newer_than: u64, patience: Patience) -> Verdict {
        if self.visible_pin_serial(now).is_some_and(|serial| serial > newer_than)
            && let Some(pin) = self.visible_pin(now)
        {
            return Verdict::Give(Answer::Pin(pin));
        }
        if self.is_requesting_pin(now) || patience == Patience::Stated {
            Verdict::WaitUntil(Moment::from_millis(i64::MAX))
        } else {
            Verdict::Give(Answer::Problem(self.no_pin(now)))
        }
    }

    /// Why there is no PIN, and when to ask again.
    fn no_pin(&self, now: Moment) -> Problem {
        let detail = match self.pins.last() {
            Some((_, reason)) => format!("ecobee gave no PIN: {reason}"),
            None => "ecobee gave no PIN".to_owned(),
        };
        Problem::Unavailable { detail, retry_after: self.authorize_allowed_after(now) }
    }

    /// Whether somebody waits for a PIN, with so much patience at least.
    pub(super) fn pin_is_waited_for(&self, patience: Patience) -> bool {
        self.waiters
            .iter()
            .any(|waiter| matches!(waiter.need, Need::Pin { .. }) && waiter.patience >= patience)
    }

    /// Whether the daemon stops and nothing is under way any more that could still answer anyone.
    fn is_leaving(&self) -> bool {
        self.season == Season::Stopping
            && self.slot.is_none()
            && !self.phase.is_writing()
            && self.ledger.is_settled()
    }

    fn authorize_allowed_after(&self, now: Moment) -> Duration {
        self.pin_asked_at.map_or(SHORTLY, |last| (last + AUTHORIZE_SPACING).until_from(now)).max(SHORTLY)
    }

    fn judge_reader(&mut self, now: Moment, reader: &Reader) -> Verdict {
        let to_the_end = Verdict::WaitUntil(reader.deadline);
        match &mut self.phase {
            Phase::Authorized { grant } => {
                let Some(access) = grant.access.as_mut().filter(|access| access.lives(now)) else {
                    // A refresh that was forced waits for the call in flight to end, and its client with it.
                    let forced = reader.newer_than.is_some() && self.slot.is_some();
                    return if forced { to_the_end } else { self.without_token(now, reader) };
                };
                if Some(access.serial) <= reader.newer_than {
                    return to_the_end;
                }
                let most = access.plan.longest_min_ttl(access.issued_at);
                if reader.min_ttl > most {
                    return Verdict::Give(Answer::Problem(Problem::MinTtlTooLong { most }));
                }
                let unwritten = access
                    .put_off
                    .filter(|put_off| !self.ledger.is_reported(put_off.save) && now < put_off.firm_from);
                let planned = access.plan.refresh_at();
                match access.plan.lease(now, reader.min_ttl, reader.told) {
                    Lease::Promised(promised) => {
                        let promised = promised.min(access.expires_at.until_from(now));
                        match unwritten.map(|put_off| (put_off, put_off.planned_before.until_from(now))) {
                            Some((put_off, firm)) if firm < reader.min_ttl => {
                                Verdict::WaitUntil(put_off.firm_from)
                            }
                            Some((_, firm)) => give(access, promised.min(firm)),
                            None => give(access, promised),
                        }
                    }
                    Lease::PutOff => {
                        let save = self.ledger.change();
                        let (firm_from, planned_before) = unwritten
                            .map_or((now + SAVE_PATIENCE, planned), |first| {
                                (first.firm_from, first.planned_before)
                            });
                        access.put_off = Some(PutOff { save, firm_from, planned_before });
                        Verdict::WaitUntil(firm_from)
                    }
                    Lease::AfterRefresh => {
                        if planned < access.plan.refresh_at() {
                            // Readers are promised that much from now on.
                            self.ledger.change();
                        }
                        to_the_end
                    }
                }
            }
            Phase::Marking { attempt: Attempt::Slow, .. }
            | Phase::Refreshing { attempt: Attempt::Slow, .. }
                if reader.newer_than.is_some() =>
            {
                to_the_end
            }
            Phase::Absent
            | Phase::Refused { .. }
            | Phase::Marking { attempt: Attempt::Slow, .. }
            | Phase::Refreshing { attempt: Attempt::Slow, .. } => self.without_token(now, reader),
            Phase::Marking { grant, since, .. } | Phase::Refreshing { grant, since, .. } => match grant
                .access
                .as_ref()
                .filter(|access| access.lives(now))
            {
                Some(access) if reader.takes_old(access) => {
                    let lent_from = (*since + OLD_TOKEN_AFTER).min(reader.deadline);
                    if now < lent_from { Verdict::WaitUntil(lent_from) } else { give(access, Duration::ZERO) }
                }
                Some(_) | None => to_the_end,
            },
            Phase::Saving { .. } => to_the_end,
            Phase::Retrying { grant, at, .. } => {
                let doubt = grant.doubt;
                match grant
                    .access
                    .as_ref()
                    .filter(|access| access.lives(now) && Some(access.serial) > reader.newer_than)
                {
                    Some(access) => {
                        let left = match doubt {
                            Doubt::None => (*at).min(access.expires_at).until_from(now),
                            Doubt::MayBeReplaced => Duration::ZERO,
                        };
                        if reader.min_ttl <= left { give(access, left) } else { to_the_end }
                    }
                    None => self.without_token(now, reader),
                }
            }
        }
    }

    fn without_token(&self, now: Moment, reader: &Reader) -> Verdict {
        match reader.patience {
            Patience::Stated => Verdict::WaitUntil(reader.deadline),
            Patience::Usual => Verdict::Give(Answer::Problem(self.problem(now))),
        }
    }

    /// Why there is no token just now, and when to ask again.
    pub(super) fn problem(&self, now: Moment) -> Problem {
        let unavailable = |detail: String, at: Moment| Problem::Unavailable {
            detail,
            retry_after: at.until_from(now).max(SHORTLY),
        };
        let because = |reason: Option<(Moment, &str)>| {
            reason.map_or_else(String::new, |(_, reason)| format!(" ({reason})"))
        };
        if self.phase.needs_person() {
            return match self.visible_pin(now) {
                Some(pin) => {
                    let next = self.pin_due().unwrap_or(now);
                    Problem::AuthorizationRequired { pin, retry_after: next.until_from(now).max(SHORTLY) }
                }
                None => unavailable(
                    format!(
                        "a person is needed, and ecobee has not given a PIN yet{}",
                        because(self.pins.last())
                    ),
                    self.pin_expected_at(now),
                ),
            };
        }
        if self.season == Season::Stopping {
            return stopping();
        }
        match &self.phase {
            Phase::Retrying { grant, at, .. } => unavailable(
                format!(
                    "{}{}; the next try is in {} s",
                    if grant.living(now).is_some() {
                        "the refresh failed"
                    } else {
                        "there is no living token, and the refresh failed"
                    },
                    because(self.refreshes.last()),
                    at.until_from(now).max(SHORTLY).as_millis().div_ceil(1000)
                ),
                *at,
            ),
            Phase::Authorized { grant } => match grant.living(now) {
                Some(access) if self.ledger.is_failing() => unavailable(
                    "a refresh waits until the store can be written".to_owned(),
                    access.plan.refresh_at(),
                ),
                Some(access) => unavailable(
                    "a new token has to come first, and is not here yet".to_owned(),
                    access.plan.refresh_at(),
                ),
                None => unavailable("the token has died; a refresh is about to begin".to_owned(), now),
            },
            Phase::Absent
            | Phase::Marking { .. }
            | Phase::Refreshing { .. }
            | Phase::Saving { .. }
            | Phase::Refused { .. } => unavailable("a refresh is under way".to_owned(), now),
        }
    }
}

/// A request for a token, as far as judging it goes.
struct Reader {
    min_ttl: Duration,
    told: Told,
    newer_than: Option<u64>,
    patience: Patience,
    deadline: Moment,
}

impl Reader {
    /// Whether a token that is about to be replaced serves.
    fn takes_old(&self, access: &Access) -> bool {
        self.min_ttl.is_zero() && Some(access.serial) > self.newer_than
    }
}

fn stopping() -> Problem {
    Problem::Unavailable { detail: "the daemon is stopping".to_owned(), retry_after: SHORTLY }
}

fn give(access: &Access, promised: Duration) -> Verdict {
    Verdict::Give(Answer::Token { access: Rc::clone(&access.token), promised })
}
