//! What must hold at every step, in every story and every storm.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use ecobee_tokend::keeper::{
    Action, Answer, Ask, Granted, Moment, Notice, Outcome, PinView, Policy, Problem, Reach, Record,
    RequestId, State, Told, View, Want, Window,
};

use super::ecobee::{Ecobee, Errand};

/// A request that says nothing else is answered within this.
const PATIENCE: Duration = Duration::from_secs(30);

/// A save holds an answer up no longer than this.
const SAVE_PATIENCE: Duration = Duration::from_secs(2);

/// What a plain answer promises while the window is shut.
const PLAIN_PROMISE: Duration = Duration::from_secs(5);

/// More calls in a minute than any policy allows: sixty polls, thirty refreshes, and what clients want.
const HOT_CALLS: usize = 130;

/// More saves in a minute than any policy allows.
const HOT_SAVES: usize = 300;

/// More steps at one moment than any story needs.
const HOT_STEPS: u32 = 20_000;

/// What is known of an access token that the keeper has heard of.
#[derive(Clone, Copy, Debug)]
struct Known {
    heard_at: Moment,
    sent_at: Moment,
    lifetime: Duration,
    on_disk: OnDisk,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OnDisk {
    NotYet,
    Failed,
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

/// Moments of the last minute.
#[derive(Default)]
struct Minute(VecDeque<Moment>);

impl Minute {
    fn count(&mut self, now: Moment) -> usize {
        self.0.push_back(now);
        while self.0.front().is_some_and(|at| *at + Duration::from_secs(60) <= now) {
            self.0.pop_front();
        }
        self.0.len()
    }
}

/// The laws, and what they must remember to judge.
#[derive(Default)]
pub(crate) struct Laws {
    call: Option<Errand>,
    open: HashMap<RequestId, Open>,
    known: HashMap<String, Known>,
    current: Option<String>,
    /// Access tokens that died without the keeper's having heard of it.
    died_unheard: HashSet<String>,
    rejected: Option<String>,
    /// Until when the current token was promised to somebody.
    promised_until: Option<Moment>,
    plan: Plan,
    stopping: bool,
    /// Whether the last call ended with a broken connection.
    broke: bool,
    /// Whether the disk may not hold what the keeper last wanted to be there.
    disk_trouble: bool,
    saving_since: Option<Moment>,
    calls: Minute,
    saves: Minute,
    steps: (Moment, u32),
    next_poll_at: Option<Moment>,
    interval: Duration,
    notified_at: Option<Moment>,
}

/// What the laws look at beside what they remember.
pub(crate) struct Sight<'a> {
    pub(crate) now: Moment,
    pub(crate) policy: &'a Policy,
    pub(crate) ecobee: &'a Ecobee,
}

impl Laws {
    /// Exactly one deadline, the last of the actions, and not due yet.
    pub(crate) fn step_ended(&mut self, now: Moment, actions: &[Action]) {
        let Some((Action::WakeAt(wake_at), before)) = actions.split_last() else {
            panic!("the last action is no WakeAt: {actions:?}");
        };
        let second = before.iter().any(|action| matches!(action, Action::WakeAt(_)));
        assert!(!second, "more than one WakeAt: {actions:?}");
        if let Some(at) = wake_at {
            assert!(*at > now, "the deadline {} is not after now, {}", at.as_millis(), now.as_millis());
        }
        self.steps = if self.steps.0 == now { (now, self.steps.1 + 1) } else { (now, 1) };
        assert!(self.steps.1 < HOT_STEPS, "a hot loop: so many steps at one moment");
    }

    /// No request waits beyond its bound.
    pub(crate) fn actions_done(&self, now: Moment) {
        for (id, open) in &self.open {
            let bound = open.asked_at + open.ask.wait.unwrap_or(PATIENCE);
            assert!(now < bound, "request {} waits beyond its bound", id.0);
        }
    }

    /// A request arrives.
    pub(crate) fn asked(&mut self, now: Moment, id: RequestId, ask: &Ask) {
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
    pub(crate) fn admitted(&mut self, ask: &Ask) {
        match &ask.want {
            Want::Refresh { .. } => self.forced(),
            Want::Rejected { token, .. } if self.current.as_deref() == Some(token.expose()) => self.forced(),
            Want::Token { min_ttl, .. } | Want::Rejected { min_ttl, .. } => {
                if !min_ttl.is_zero() {
                    self.plan = Plan::Disturbed;
                }
            }
            Want::Authorize => {}
        }
    }

    /// The keeper believes that the current token is rejected.
    pub(crate) fn rejected(&mut self) {
        self.rejected = self.current.clone();
    }

    /// A reader who does not say that he waits is not left hanging where nothing is under way.
    pub(crate) fn waits(&self, id: RequestId, view: &View) {
        let Some(open) = self.open.get(&id) else { return };
        let under_way = view.token.is_some() || view.state == State::Refreshing || self.call.is_some();
        let patient = open.ask.wait.is_some() || open.ask.want == Want::Authorize;
        assert!(under_way || patient, "request {} is left hanging", id.0);
    }

    /// Somebody forced a refresh.
    pub(crate) fn forced(&mut self) {
        self.promised_until = None;
        self.plan = Plan::Disturbed;
    }

    /// A client is gone.
    pub(crate) fn hung_up(&mut self, id: RequestId) {
        self.open.remove(&id);
    }

    /// The daemon is about to leave.
    pub(crate) fn stopping(&mut self) {
        self.stopping = true;
    }

    /// A request is answered: once, and with nothing dead, unsaved or broken.
    pub(crate) fn answered(&mut self, sight: &Sight<'_>, id: RequestId, answer: &Answer) {
        let Some(open) = self.open.remove(&id) else {
            panic!("request {} is answered twice, or unasked", id.0);
        };
        match answer {
            Answer::Token { access, promised } => {
                self.lent(sight, &open, access.token.expose(), *promised);
            }
            Answer::Pin(pin) | Answer::Problem(Problem::AuthorizationRequired { pin, .. }) => {
                Self::shown(sight, pin);
            }
            Answer::Problem(Problem::Unavailable { retry_after, .. } | Problem::TooMany { retry_after }) => {
                assert!(!retry_after.is_zero(), "a problem that says to come back at once");
            }
            Answer::Problem(Problem::MinTtlTooLong { .. }) => {}
        }
    }

    fn lent(&mut self, sight: &Sight<'_>, open: &Open, token: &str, promised: Duration) {
        let now = sight.now;
        let alive = sight.ecobee.takes(token, now) || self.died_unheard.contains(token);
        assert!(alive, "a dead token was lent: {token}");
        assert!(open.stale.as_deref() != Some(token), "the token was lent that does not do: {token}");
        assert!(self.rejected.as_deref() != Some(token), "a rejected token was lent: {token}");
        let Some(known) = self.known.get(token) else {
            panic!("a token was lent that nobody gave: {token}");
        };
        assert!(self.is_published(now, token), "a token was lent before it was saved: {token}");
        let until = now + promised;
        assert!(until <= known.sent_at + known.lifetime, "{token} was promised beyond its death");
        let (min_ttl, told) = match &open.ask.want {
            Want::Token { min_ttl, told } => (*min_ttl, *told),
            Want::Refresh { min_ttl } | Want::Rejected { min_ttl, .. } => (*min_ttl, Told::Lifetime),
            Want::Authorize => panic!("a token was given in place of a PIN"),
        };
        assert!(min_ttl <= promised, "{token} was promised for less than was asked");
        if min_ttl.is_zero() {
            self.plain_promise_is_long_enough(sight, *known, promised);
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
    fn plain_promise_is_long_enough(&self, sight: &Sight<'_>, known: Known, promised: Duration) {
        let window = Window::of(known.lifetime, sight.policy.ahead);
        let (opens_at, closes_at) = (known.sent_at + window.opens_after, known.sent_at + window.closes_after);
        if self.plan == Plan::Own && sight.now < opens_at && self.call != Some(Errand::Refresh) {
            let until = sight.now + promised;
            assert!(until >= opens_at, "a promise ends before the window opens");
            assert!(until >= (sight.now + PLAIN_PROMISE).min(closes_at), "a promise of less than 5 s");
        }
    }

    fn shown(sight: &Sight<'_>, pin: &PinView) {
        assert!(sight.ecobee.knows_pin(&pin.pin, sight.now), "a PIN is shown that does not work: {pin:?}");
        assert_eq!(pin.expires_in, pin.expires_at.since(sight.now), "a PIN's times disagree");
    }

    /// A call is sent: the only one, not too soon, and no promise stands against it.
    pub(crate) fn call_began(&mut self, now: Moment, errand: Errand) {
        assert!(self.call.is_none(), "{errand:?} is sent while {:?} is in flight", self.call);
        assert!(self.calls.count(now) <= HOT_CALLS, "a hot loop: too many calls in a minute");
        self.call = Some(errand);
        match errand {
            Errand::Authorize => {}
            Errand::Poll => {
                let allowed = self.next_poll_at.is_none_or(|at| at <= now);
                assert!(allowed, "ecobee is polled before the interval is over");
                self.next_poll_at = Some(now + self.interval);
            }
            Errand::Refresh => {
                let kept = self.promised_until.is_none_or(|until| until <= now);
                assert!(kept, "a promise until {:?} is broken", self.promised_until);
                let known = self.current.as_ref().and_then(|token| self.known.get(token));
                if let Some(known) = known.filter(|_| self.plan == Plan::Own) {
                    let pace = Duration::from_secs(2).max(known.lifetime / 2);
                    assert!(known.sent_at + pace <= now, "planned refreshes come too fast");
                }
            }
        }
        let repetition = errand == Errand::Refresh && self.broke;
        assert!(!self.stopping || repetition, "{errand:?} begins after the stop");
        self.broke = false;
    }

    /// A call has killed an access token, and the keeper does not know it yet.
    pub(crate) fn killed(&mut self, token: String) {
        self.died_unheard.insert(token);
    }

    /// The answer to a call arrives.
    pub(crate) fn call_ended(&mut self, now: Moment, outcome: &Outcome) {
        let errand = self.call.take();
        match outcome {
            Outcome::PinIssued(issued) => self.poll_interval(now, issued.interval),
            Outcome::SlowDown if errand == Some(Errand::Poll) => {
                self.poll_interval(now, self.interval + Duration::from_secs(5));
            }
            Outcome::Granted(_) | Outcome::Pending | Outcome::PinOver(_) => {}
            // Retries follow, at their own pace.
            Outcome::SlowDown | Outcome::Refused(_) | Outcome::Misconfigured(_) | Outcome::Trouble(_) => {
                self.plan = Plan::Disturbed;
            }
        }
        self.broke = matches!(outcome, Outcome::Trouble(trouble) if trouble.reach == Reach::Broken);
    }

    /// The keeper hears that an access token has been replaced.
    pub(crate) fn heard_dead(&mut self, killed: Option<&String>) {
        if let Some(killed) = killed {
            self.died_unheard.remove(killed);
        }
    }

    /// New tokens: what died of them is known to be dead now.
    pub(crate) fn granted(
        &mut self,
        now: Moment,
        sent_at: Moment,
        granted: &Granted,
        killed: Option<&String>,
    ) {
        let token = granted.access.token.expose().to_owned();
        self.heard_dead(killed);
        let old = self.current.replace(token.clone());
        self.known.retain(|token, _| Some(token) == old.as_ref());
        let (lifetime, on_disk) = (granted.lifetime, OnDisk::NotYet);
        self.known.insert(token, Known { heard_at: now, sent_at, lifetime, on_disk });
        self.promised_until = None;
        self.rejected = None;
        self.plan = Plan::Own;
    }

    fn poll_interval(&mut self, now: Moment, interval: Duration) {
        self.interval = interval;
        self.next_poll_at = Some(now + interval);
    }

    /// A save is ordered.
    pub(crate) fn save_began(&mut self, now: Moment) {
        self.saving_since = Some(now);
        assert!(self.saves.count(now) <= HOT_SAVES, "a hot loop: too many saves in a minute");
    }

    fn save_hangs(&self, now: Moment) -> bool {
        self.saving_since.is_some_and(|since| since + SAVE_PATIENCE <= now)
    }

    /// A save has come to its end.
    pub(crate) fn saved(&mut self, record: Option<&Record>, now: Moment, worked: bool) {
        self.disk_trouble = !worked || self.save_hangs(now);
        self.saving_since = None;
        let token = record.and_then(|record| record.grant.as_ref()?.access.as_ref());
        if let Some(known) = token.and_then(|access| self.known.get_mut(access.token.token.expose())) {
            known.on_disk = match (worked, known.on_disk) {
                (true, _) | (false, OnDisk::Saved) => OnDisk::Saved,
                (false, OnDisk::NotYet | OnDisk::Failed) => OnDisk::Failed,
            };
        }
    }

    /// People are told of a PIN no more often than they asked to be.
    pub(crate) fn notified(&mut self, now: Moment, policy: &Policy, notice: &Notice) {
        match notice {
            Notice::PinWaiting(_) | Notice::PinReminder(_) => {
                let due = self.notified_at.is_none_or(|at| at + policy.remind_every <= now);
                assert!(due, "people are told of a PIN too often");
                self.notified_at = Some(now);
            }
            Notice::TokenBack => self.notified_at = None,
            Notice::TokenLost { .. } => {}
        }
    }

    /// The daemon is gone, and a new one starts with this record: it must not lend a token that a refresh killed.
    pub(crate) fn restarted(&mut self, sight: &Sight<'_>, record: &Record) {
        self.disk_trouble |= self.save_hangs(sight.now);
        let unmarked = record.grant.as_ref().filter(|grant| !grant.refresh_sent);
        let access = unmarked.and_then(|grant| grant.access.as_ref());
        let access = access.filter(|access| sight.now < access.expires_at);
        let token = access.map(|access| access.token.token.expose().to_owned());
        if let (Some(token), Some(access)) = (&token, access) {
            let known = Known {
                heard_at: access.issued_at,
                sent_at: access.issued_at,
                lifetime: access.expires_at.since(access.issued_at),
                on_disk: OnDisk::Saved,
            };
            self.known.insert(token.clone(), known);
            let takes = sight.ecobee.takes(token, sight.now);
            let excused = self.disk_trouble || sight.ecobee.surprised(token);
            assert!(takes || excused, "a dead token survived the crash: {token}");
            self.died_unheard.clear();
            self.died_unheard.extend(Some(token.clone()).filter(|_| !takes));
        }
        let same = self.current == token;
        *self = Self {
            known: std::mem::take(&mut self.known),
            died_unheard: std::mem::take(&mut self.died_unheard),
            promised_until: self.promised_until.filter(|_| same && !self.disk_trouble),
            current: token,
            steps: self.steps,
            interval: record.pin.as_ref().map_or(Duration::ZERO, |pin| pin.interval),
            calls: std::mem::take(&mut self.calls),
            saves: std::mem::take(&mut self.saves),
            disk_trouble: self.disk_trouble,
            ..Self::default()
        };
    }

    /// How many requests have no answer.
    pub(crate) fn open(&self) -> usize {
        self.open.len()
    }
}
