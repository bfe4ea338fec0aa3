//! What clients get: nothing dead, unsaved, rejected or broken; and in time.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use ecobee_tokend::keeper::{
    Answer, Ask, Granted, Moment, Outcome, PinView, Problem, Record, RequestId, State, Told, View, Want,
    Window,
};

use super::{Court, Law, Passage, Sight};
use crate::world::ecobee::Errand;

/// A request that says nothing else is answered within this.
const PATIENCE: Duration = Duration::from_secs(30);

/// A save holds an answer up no longer than this.
pub(crate) const SAVE_PATIENCE: Duration = Duration::from_secs(2);

/// What a plain answer promises while the window is shut.
const PLAIN_PROMISE: Duration = Duration::from_secs(5);

/// What is known of an access token that the keeper has heard of.
#[derive(Clone, Copy, Debug)]
struct Known {
    heard_at: Moment,
    sent_at: Moment,
    lifetime: Duration,
    /// By the settings of the moment in which the keeper made its plan.
    window: Window,
    on_disk: OnDisk,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OnDisk {
    NotYet,
    Failed,
    Saved,
}

/// How far the disk knows that the current token is rejected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Rejection {
    #[default]
    Unwritten,
    UnderWay,
    Saved,
}

/// A request without an answer.
struct Open {
    asked_at: Moment,
    ask: Ask,
    /// The token that does not do as an answer.
    stale: Option<String>,
}

/// Whether the refresh plan is the keeper's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Plan {
    #[default]
    Own,
    /// A client forced a refresh, wants one early, or the last one failed.
    Disturbed,
}

/// What must be remembered of tokens, promises and requests.
#[derive(Default)]
pub(super) struct Lending {
    open: HashMap<RequestId, Open>,
    known: HashMap<String, Known>,
    current: Option<String>,
    /// Access tokens that died without the keeper's having heard of it.
    died_unheard: HashSet<String>,
    rejected: Option<String>,
    /// How far the disk knows of the rejection.
    rejection: Rejection,
    /// Until when the current token was promised to somebody.
    promised_until: Option<Moment>,
    plan: Plan,
    /// Whether a refresh is in flight.
    refreshing: bool,
    /// Whether the disk may not hold what the keeper last wanted to be there.
    disk_trouble: bool,
    saving_since: Option<Moment>,
    /// Whether an access token lies on disk that this start did not believe.
    disbelieves: bool,
    /// The access token whose times went wrong when it came over from another boot.
    misdated: Option<String>,
    /// Until when what came over from another boot may be wrong.
    clock_trouble_until: Option<Moment>,
}

impl Lending {
    /// No request waits beyond its bound.
    pub(super) fn actions_done(&self, court: &mut Court, now: Moment) {
        for (id, open) in &self.open {
            let bound = open.asked_at + open.ask.wait.unwrap_or(PATIENCE);
            court.hold(Law::AnswerInTime, now < bound, || format!("request {}", id.0));
        }
    }

    /// A request arrives.
    pub(super) fn asked(&mut self, now: Moment, id: RequestId, ask: &Ask) {
        let stale = match &ask.want {
            Want::Rejected { token, .. } => Some(token.expose().to_owned()),
            Want::Refresh { .. } => self.current.clone().filter(|current| self.is_published(now, current)),
            Want::Token { .. } | Want::Authorize => None,
        };
        self.open.insert(id, Open { asked_at: now, ask: ask.clone(), stale });
    }

    fn is_published(&self, now: Moment, token: &str) -> bool {
        self.known
            .get(token)
            .is_none_or(|known| known.on_disk != OnDisk::NotYet || known.heard_at + SAVE_PATIENCE <= now)
    }

    /// A request was not sent away in this step: from here on a refresh that it forces may break promises, and
    /// one that it wants early may come before the opening.
    pub(super) fn admitted(&mut self, court: &mut Court, now: Moment, ask: &Ask) {
        match &ask.want {
            Want::Refresh { .. } => self.forced(court, now),
            Want::Rejected { token, .. } if self.current.as_deref() == Some(token.expose()) => {
                self.forced(court, now);
            }
            Want::Token { min_ttl, .. } | Want::Rejected { min_ttl, .. } => {
                if !min_ttl.is_zero() {
                    self.plan = Plan::Disturbed;
                }
            }
            Want::Authorize => {}
        }
    }

    /// The keeper believes that the current token is rejected.
    pub(super) fn rejected(&mut self) {
        self.rejected = self.current.clone();
        self.rejection = Rejection::Unwritten;
    }

    /// A reader who does not say that he waits is not left hanging where nothing is under way.
    pub(super) fn waits(&self, court: &mut Court, id: RequestId, view: &View, calls: bool) {
        let Some(open) = self.open.get(&id) else { return };
        // A save goes before a refresh then, before a slow one of a refused token too.
        let marking = self.saving_since.is_some() && self.disbelieves;
        let under_way = view.token.is_some() || view.state == State::Refreshing || calls || marking;
        let patient = open.ask.wait.is_some() || open.ask.want == Want::Authorize;
        court.hold(Law::AnswerInTime, under_way || patient, || format!("request {} is left hanging", id.0));
    }

    /// Somebody forced a refresh: what was promised until now may be broken.
    pub(super) fn forced(&mut self, court: &mut Court, now: Moment) {
        if self.promised_until.take().is_some_and(|until| now < until) {
            court.excuse(Law::PromiseKept);
        }
        self.plan = Plan::Disturbed;
    }

    /// A client is gone.
    pub(super) fn hung_up(&mut self, id: RequestId) {
        self.open.remove(&id);
    }

    /// A request is answered: once, and with nothing dead, unsaved or broken.
    pub(super) fn answered(&mut self, court: &mut Court, sight: &Sight<'_>, id: RequestId, answer: &Answer) {
        let open = self.open.remove(&id);
        court.hold(Law::OneAnswer, open.is_some(), || format!("request {} is answered again", id.0));
        let Some(open) = open else { return };
        match answer {
            Answer::Token { access, promised } => {
                self.lent(court, sight, &open, access.token.expose(), *promised);
            }
            Answer::Pin(pin) | Answer::Problem(Problem::AuthorizationRequired { pin, .. }) => {
                self.shown(court, sight, pin);
            }
            Answer::Problem(Problem::Unavailable { retry_after, .. } | Problem::TooMany { retry_after }) => {
                let sane = !retry_after.is_zero();
                court.hold(Law::NoHotLoop, sane, || "a problem that says to come back at once".to_owned());
            }
            Answer::Problem(Problem::MinTtlTooLong { .. }) => {}
        }
    }

    fn lent(&mut self, court: &mut Court, sight: &Sight<'_>, open: &Open, token: &str, promised: Duration) {
        let now = sight.now;
        let takes = sight.ecobee.takes(token, now);
        let unheard = self.died_unheard.contains(token);
        court.hold_unless(unheard, Law::LivingTokenLent, takes, || format!("{token} is dead"));
        let stale = open.stale.as_deref() == Some(token) || self.rejected.as_deref() == Some(token);
        court.hold(Law::RejectedTokenKept, !stale, || token.to_owned());
        let Some(known) = self.known.get(token).copied() else {
            court.hold(Law::LivingTokenLent, false, || format!("nobody gave {token}"));
            return;
        };
        let published = self.is_published(now, token);
        let excused = known.on_disk != OnDisk::Saved && published;
        let saved = known.on_disk == OnDisk::Saved;
        court.hold_unless(excused, Law::SavedBeforeLent, saved, || token.to_owned());
        let until = now + promised;
        let dies_at = known.sent_at + known.lifetime;
        court.hold(Law::NoPromiseBeyondDeath, until <= dies_at, || {
            format!("{token} until {}, but it dies at {}", until.as_millis(), dies_at.as_millis())
        });
        let (min_ttl, told) = match &open.ask.want {
            Want::Token { min_ttl, told } => (*min_ttl, *told),
            Want::Refresh { min_ttl } | Want::Rejected { min_ttl, .. } => (*min_ttl, Told::Lifetime),
            Want::Authorize => {
                court.hold(Law::PromiseAsAsked, false, || "a token in place of a PIN".to_owned());
                return;
            }
        };
        court.hold(Law::PromiseAsAsked, min_ttl <= promised, || format!("{token} for {promised:?}"));
        if min_ttl.is_zero() {
            self.plain_promise_is_long_enough(court, sight, known, promised);
        }
        let held = match told {
            Told::Lifetime => Duration::from_secs(promised.as_secs()),
            Told::TokenOnly => promised.min(min_ttl.max(PLAIN_PROMISE)),
        };
        if self.current.as_deref() == Some(token) {
            self.promised_until = self.promised_until.max(Some(now + held));
        }
    }

    /// Before the window opens, a token is promised at least until then, and for 5 s where the window allows.
    fn plain_promise_is_long_enough(
        &self,
        court: &mut Court,
        sight: &Sight<'_>,
        known: Known,
        promised: Duration,
    ) {
        let opens_at = known.sent_at + known.window.opens_after;
        let closes_at = known.sent_at + known.window.closes_after;
        if self.plan == Plan::Own && sight.now < opens_at && !self.refreshing {
            let until = sight.now + promised;
            let least = opens_at.max((sight.now + PLAIN_PROMISE).min(closes_at));
            court.hold(Law::PromiseAsAsked, until >= least, || format!("only {promised:?}"));
        }
    }

    fn shown(&self, court: &mut Court, sight: &Sight<'_>, pin: &PinView) {
        let works = sight.ecobee.knows_pin(&pin.pin, sight.now);
        let doubtful = self.clock_trouble_until.is_some_and(|until| sight.now < until);
        court.hold_unless(doubtful, Law::ShownPinWorks, works, || format!("{pin:?}"));
        let agree = pin.expires_in == pin.expires_at.since(sight.now);
        court.hold(Law::ShownPinWorks, agree, || format!("its times disagree: {pin:?}"));
    }

    /// A refresh is sent: no promise stands against it, and the plan allows it.
    pub(super) fn refresh_began(&mut self, court: &mut Court, now: Moment) {
        self.refreshing = true;
        let kept = self.promised_until.is_none_or(|until| until <= now);
        court.hold(Law::PromiseKept, kept, || {
            format!("a promise until {:?}", self.promised_until.map(Moment::as_millis))
        });
        let known = self.current.as_ref().and_then(|token| self.known.get(token));
        if let Some(known) = known {
            let pace = Duration::from_secs(2).max(known.lifetime / 2);
            let excused = self.plan != Plan::Own;
            let late_enough = known.sent_at + pace <= now;
            court.hold_unless(excused, Law::PlannedPace, late_enough, || {
                format!("{} ms after the last", now.since(known.sent_at).as_millis())
            });
        }
    }

    /// A call has killed an access token, and the keeper does not know it yet.
    pub(super) fn killed(&mut self, token: String) {
        self.died_unheard.insert(token);
    }

    /// The answer to a call arrives.
    pub(super) fn call_ended(&mut self, errand: Option<Errand>, outcome: &Outcome) {
        if errand == Some(Errand::Refresh) {
            self.refreshing = false;
        }
        match outcome {
            Outcome::PinIssued(_) | Outcome::Granted(_) | Outcome::Pending | Outcome::PinOver(_) => {}
            // Retries follow, at their own pace.
            Outcome::SlowDown | Outcome::Refused(_) | Outcome::Misconfigured(_) | Outcome::Trouble(_) => {
                self.plan = Plan::Disturbed;
            }
        }
    }

    /// The keeper hears that its access token has been replaced.
    pub(super) fn heard_dead(&mut self) {
        self.died_unheard.clear();
    }

    /// New tokens: all before them are known to be dead now.
    pub(super) fn granted(&mut self, sight: &Sight<'_>, sent_at: Moment, granted: &Granted) {
        let token = granted.access.token.expose().to_owned();
        // The new one may have died on its way.
        self.died_unheard.retain(|dead| *dead == token);
        let old = self.current.replace(token.clone());
        self.known.retain(|token, _| Some(token) == old.as_ref());
        let (lifetime, on_disk) = (granted.lifetime, OnDisk::NotYet);
        let window = Window::of(lifetime, sight.policy.ahead);
        self.known.insert(token, Known { heard_at: sight.now, sent_at, lifetime, window, on_disk });
        self.promised_until = None;
        self.rejected = None;
        self.plan = Plan::Own;
    }

    /// A save is ordered.
    pub(super) fn save_began(&mut self, now: Moment) {
        self.saving_since = Some(now);
        if self.rejected.is_some() && self.rejection == Rejection::Unwritten {
            self.rejection = Rejection::UnderWay;
        }
    }

    /// Whether an access token lies on disk that this start did not believe.
    pub(super) fn disbelieves(&self) -> bool {
        self.disbelieves
    }

    fn save_hangs(&self, now: Moment) -> bool {
        self.saving_since.is_some_and(|since| since + SAVE_PATIENCE <= now)
    }

    /// A save has come to its end.
    pub(super) fn saved(&mut self, record: Option<&Record>, now: Moment, worked: bool) {
        self.disk_trouble = !worked || self.save_hangs(now);
        self.saving_since = None;
        self.disbelieves &= !worked;
        if self.rejection == Rejection::UnderWay {
            self.rejection = if worked { Rejection::Saved } else { Rejection::Unwritten };
        }
        let token = record.and_then(|record| record.grant.as_ref()?.access.as_ref());
        if let Some(known) = token.and_then(|access| self.known.get_mut(access.token.token.expose())) {
            known.on_disk = match (worked, known.on_disk) {
                (true, _) | (false, OnDisk::Saved) => OnDisk::Saved,
                (false, OnDisk::NotYet | OnDisk::Failed) => OnDisk::Failed,
            };
        }
    }

    /// The daemon is gone, and a new one starts with this record: it must not lend a token that a refresh killed.
    pub(super) fn restarted(&mut self, court: &mut Court, sight: &Sight<'_>, record: &Record) {
        self.disk_trouble |= self.save_hangs(sight.now);
        let unmarked = record.grant.as_ref().filter(|grant| !grant.refresh_sent);
        let access = unmarked.and_then(|grant| grant.access.as_ref());
        let access = access.filter(|access| sight.now < access.expires_at);
        let token = access.map(|access| access.token.token.expose().to_owned());
        let believed = sight.passage == Passage::Doubtful && token.is_some();
        court.hold(Law::DeadTokenNotRestored, !believed, || "the clock is not to be believed".to_owned());
        if let (Some(token), Some(access)) = (&token, access) {
            let lifetime = access.expires_at.since(access.issued_at);
            let known = Known {
                heard_at: access.issued_at,
                sent_at: access.issued_at,
                lifetime,
                window: Window::of(lifetime, sight.policy.ahead),
                on_disk: OnDisk::Saved,
            };
            self.known.insert(token.clone(), known);
            let takes = sight.ecobee.takes(token, sight.now);
            if sight.passage == Passage::Misled {
                self.misdated = Some(token.clone());
            }
            let misdated = self.misdated.as_ref() == Some(token);
            let excused = self.disk_trouble || misdated || sight.ecobee.surprised(token);
            court.hold_unless(excused, Law::DeadTokenNotRestored, takes, || token.clone());
            self.died_unheard.clear();
            self.died_unheard.extend(Some(token.clone()).filter(|_| !takes || misdated));
        }
        // What was promised by times that were wrong may be broken by times that are right again.
        let dated = self.misdated.is_none() || self.misdated != token;
        let same = self.current == token && dated;
        let pin = record.pin.as_ref().filter(|_| sight.passage != Passage::Sound);
        *self = Self {
            known: std::mem::take(&mut self.known),
            died_unheard: std::mem::take(&mut self.died_unheard),
            misdated: self.misdated.take(),
            rejected: self.rejected.take().filter(|_| self.rejection == Rejection::Saved),
            rejection: self.rejection,
            promised_until: self
                .promised_until
                .filter(|_| same && !self.disk_trouble && sight.passage == Passage::Sound),
            current: token,
            disk_trouble: self.disk_trouble,
            disbelieves: record.grant.as_ref().is_some_and(|grant| grant.disbelieved),
            clock_trouble_until: pin.map(|pin| pin.expires_at).or(self.clock_trouble_until),
            ..Self::default()
        };
    }

    /// Whether this request has no answer.
    pub(super) fn is_open(&self, id: RequestId) -> bool {
        self.open.contains_key(&id)
    }

    /// How many requests have no answer.
    pub(super) fn open(&self) -> usize {
        self.open.len()
    }
}
