//! What the listening thread and the callers share: the state behind one lock, never held across an await.

use crate::calls::{Answer, Call, CallKind, Via};
use crate::endpoints::{Params, Reply};
use crate::http::Request;
use crate::mood::{self, Commit, Mood};
use crate::options::Options;
use crate::trick::Trick;
use crate::truth::Truth;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

pub(crate) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// Counts changes, for those who wait asynchronously.
    version: watch::Sender<u64>,
    started: Instant,
}

pub(crate) struct State {
    pub(crate) options: Options,
    pub(crate) truth: Truth,
    pub(crate) moods: Vec<Mood>,
    pub(crate) calls: Vec<Call>,
    calls_ever: u64,
}

impl Shared {
    pub(crate) fn new(options: Options) -> Self {
        let state =
            State { options, truth: Truth::default(), moods: Vec::new(), calls: Vec::new(), calls_ever: 0 };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
            version: watch::Sender::new(0),
            started: Instant::now(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A caller's closure that panicked has not left the state half changed in a way that matters to a test.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.truth.settle(self.started.elapsed());
        state
    }

    /// Reads the state as it is now.
    pub(crate) fn look<R>(&self, read: impl FnOnce(&State) -> R) -> R {
        read(&self.lock())
    }

    /// Changes the state and wakes all who wait for a change.
    pub(crate) fn change<R>(&self, write: impl FnOnce(&mut State) -> R) -> R {
        let result = write(&mut self.lock());
        self.changed.notify_all();
        self.version.send_modify(|version| *version += 1);
        result
    }

    /// Woken at each change.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Waits until the condition holds; whether it did within the limit.
    pub(crate) fn wait_for(&self, limit: Duration, mut condition: impl FnMut(&State) -> bool) -> bool {
        let deadline = Instant::now() + limit;
        let mut state = self.lock();
        loop {
            if condition(&state) {
                return true;
            }
            let now = Instant::now();
            if now >= deadline {
                return false;
            }
            // Tokens and PINs also run out by themselves, and nobody notifies of that.
            let by_itself = state.truth.next_change().map(|at| at.saturating_sub(state.truth.now));
            let nap = by_itself.map_or(deadline - now, |nap| nap.min(deadline - now));
            state = self.changed.wait_timeout(state, nap).unwrap_or_else(PoisonError::into_inner).0;
            state.truth.settle(self.started.elapsed());
        }
    }
}

/// A call that is being served: its number in the log, its parameters and its mood.
pub(crate) struct Arrived {
    pub(crate) id: u64,
    kind: CallKind,
    params: Params,
    pub(crate) mood: Mood,
}

impl State {
    /// Logs a call and picks its mood.
    pub(crate) fn arrive(&mut self, request: &Request) -> Arrived {
        let query = request.query_pairs();
        let form = request.form_pairs();
        let via = if form.is_empty() { Via::Query } else { Via::Form };
        let params = Params(query.into_iter().chain(form).collect());
        let kind = match request.path.as_str() {
            "/authorize" => CallKind::Authorize,
            "/token" if params.get("grant_type") == Some("refresh_token") => CallKind::Refresh,
            "/token" => CallKind::Poll,
            path if path.starts_with("/1/") => CallKind::Thermostat,
            _ => CallKind::Other,
        };
        let shown = match kind {
            CallKind::Poll => params.get("code"),
            CallKind::Refresh => params.refresh_token(),
            CallKind::Thermostat => request.bearer(),
            CallKind::Authorize | CallKind::Other => None,
        };
        let client_id = match kind {
            CallKind::Thermostat => shown
                .and_then(|token| self.truth.find_access(token))
                .map(|(grant, _)| grant.client_id.as_str()),
            CallKind::Authorize | CallKind::Poll | CallKind::Refresh | CallKind::Other => {
                params.get("client_id")
            }
        };
        let client_id = client_id.map(str::to_owned);
        let mood = mood::take(&mut self.moods, kind, client_id.as_deref());
        self.calls_ever += 1;
        self.calls.push(Call {
            id: self.calls_ever,
            kind,
            path: request.path.clone(),
            client_id,
            shown: shown.map(str::to_owned),
            via,
            ecobee_type: params.get("ecobee_type").map(str::to_owned),
            arrived_at: self.truth.now,
            answered_at: None,
            status: None,
            answer: Answer::Pending,
            committed: false,
            trick: mood.trick.name(),
        });
        Arrived { id: self.calls_ever, kind, params, mood }
    }

    /// What the server has to say to a call; `None` if the mood does not even ask. Its truth changes if the mood lets it.
    pub(crate) fn decide(&mut self, request: &Request, arrived: &Arrived) -> Option<Reply> {
        let Arrived { id, kind, params, mood } = arrived;
        if let (CallKind::Poll, Trick::Error { error, .. }, Some(code)) =
            (kind, &mood.trick, params.get("code"))
            && error == "slow_down"
        {
            self.truth.made_to_slow_down(code, &self.options);
        }
        let commit = mood.commits();
        let mut untouched;
        let truth = match (commit, mood.trick.commit()) {
            (Commit::First, Commit::First | Commit::Never) => &mut self.truth,
            (Commit::Never, Commit::First) => {
                untouched = self.truth.clone();
                &mut untouched
            }
            (Commit::Never, Commit::Never) => return None,
        };
        let method = request.method.as_str();
        let reply = match kind {
            CallKind::Authorize => truth.authorize(method, params, &self.options),
            CallKind::Poll | CallKind::Refresh => truth.token(method, params, &self.options),
            CallKind::Thermostat if request.path == "/1/thermostat" => Ok(truth.thermostat(request.bearer())),
            CallKind::Thermostat | CallKind::Other => Ok(Reply::not_found()),
        };
        let reply = reply.unwrap_or_else(Reply::from);
        let changes = matches!(kind, CallKind::Authorize | CallKind::Poll | CallKind::Refresh);
        if changes && commit == Commit::First && reply.error.is_none() {
            self.entry(*id, |call| call.committed = true);
        }
        Some(reply)
    }

    /// Notes what came of a call. A call that was cleared from the log is forgotten.
    pub(crate) fn answered(&mut self, id: u64, status: Option<u16>, answer: Answer) {
        let now = self.truth.now;
        self.entry(id, |call| {
            call.answered_at = Some(now);
            call.status = status;
            call.answer = answer;
        });
    }

    fn entry(&mut self, id: u64, write: impl FnOnce(&mut Call)) {
        if let Ok(at) = self.calls.binary_search_by_key(&id, |call| call.id) {
            write(&mut self.calls[at]);
        }
    }
}
