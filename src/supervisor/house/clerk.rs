//! Takes what the socket's clients ask to the keepers.

use std::cell::RefCell;
use std::future::Future;
use std::ops::Bound;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Sleep, sleep};

use super::account::Tenure;
use super::{House, Season};
use crate::clock;
use crate::keeper::{Answer, Ask, Event, Moment, Problem, RequestId, State, View};
use crate::metrics::Counts;
use crate::socket::{Admission, Asked, Bulletin, Lender, Peer};

/// When to look again for an account that changes hands.
const SHORTLY: Duration = Duration::from_secs(1);

/// How long a request waits for an account that changes hands, unless it says otherwise.
const PATIENCE: Duration = Duration::from_secs(30);

impl House {
    /// Whoever still waits is told that the daemon leaves.
    pub(in crate::supervisor) fn send_home(&mut self) {
        for (_, (_, sender)) in self.waiting.drain() {
            let _ = sender.send(not_now("the daemon is stopping".to_owned()));
        }
    }

    fn ask(&mut self, id: usize, ask: Ask) -> Asking {
        let Some(account) = self.accounts.get(&id) else {
            return Asking::Answered(not_now("the account has just gone".to_owned()));
        };
        match &account.tenure {
            Tenure::Standing => {}
            Tenure::Stuck(why) => return Asking::Answered(not_now(why.clone())),
            // It will have gone soon, or there will be another under this name: that one is asked then.
            Tenure::Ending | Tenure::Bequeathed(_) | Tenure::HandingOver(_) => {
                let at_most = ask.wait.unwrap_or(PATIENCE);
                return self.wait(id, Some(at_most));
            }
        }
        // Whoever is answered on the spot leaves the number to the next.
        let request = RequestId(self.last_request + 1);
        self.at_the_desk = Some((request, None));
        self.step(id, Event::Asked(request, ask));
        match self.at_the_desk.take() {
            Some((_, Some(answer))) => Asking::Answered(answer),
            Some((_, None)) | None => self.wait(id, None),
        }
    }

    /// Has the next request wait; `at_most` where no keeper sees to its end.
    fn wait(&mut self, id: usize, at_most: Option<Duration>) -> Asking {
        self.last_request += 1;
        let request = RequestId(self.last_request);
        let (sender, receiver) = oneshot::channel();
        self.waiting.insert(request, (id, sender));
        Asking::Waits { request, receiver, at_most }
    }
}

fn not_now(detail: String) -> Answer {
    Answer::Problem(Problem::Unavailable { detail, retry_after: SHORTLY })
}

/// What becomes of a question.
enum Asking {
    Answered(Answer),
    Waits { request: RequestId, receiver: oneshot::Receiver<Answer>, at_most: Option<Duration> },
}

/// The house, as the socket knows it: each question is put to its account's keeper on the spot.
#[derive(Clone)]
pub struct Clerk(Rc<RefCell<House>>);

impl Clerk {
    pub(in crate::supervisor) fn new(house: Rc<RefCell<House>>) -> Self {
        Self(house)
    }
}

impl Lender for Clerk {
    type Account = usize;
    type Waiting = Waiting;

    fn default_account(&self) -> Option<usize> {
        self.0.borrow().default
    }

    fn default_name(&self) -> Option<String> {
        let house = self.0.borrow();
        house.default.and_then(|id| house.accounts.get(&id)).map(|account| account.name.to_string())
    }

    fn account(&self, name: &str) -> Option<usize> {
        self.0.borrow().names.get(name).copied()
    }

    fn accounts(&self) -> Vec<(String, usize)> {
        self.0.borrow().names.iter().map(|(name, &account)| (name.to_string(), account)).collect()
    }

    fn after(&self, name: Option<&str>) -> Option<(String, usize)> {
        let house = self.0.borrow();
        let from = name.map_or(Bound::Unbounded, Bound::Excluded);
        let (name, account) = house.names.range::<str, _>((from, Bound::Unbounded)).next()?;
        Some((name.to_string(), *account))
    }

    fn bulletin(&self) -> Rc<Bulletin> {
        Rc::clone(&self.0.borrow().bulletin)
    }

    fn counts(&self) -> Rc<Counts> {
        Rc::clone(&self.0.borrow().counts)
    }

    fn may_have(&self, account: usize, peer: &Peer, groups: Option<&[u32]>) -> Admission {
        let house = self.0.borrow();
        let Some(account) = house.accounts.get(&account) else { return Admission::Denied };
        match account.allowed.admits(peer.uid, peer.gid, house.own_uid, groups) {
            Some(true) => Admission::Granted,
            Some(false) => Admission::Denied,
            None => Admission::Depends,
        }
    }

    async fn groups_of(&self, uid: u32) -> Option<Rc<[u32]>> {
        let groups = Rc::clone(&self.0.borrow().groups);
        let found = groups.of(uid).await;
        if found.is_none() {
            tracing::debug!(uid, "the user database does not say in which groups this user is");
        }
        found
    }

    fn ask(&self, account: usize, ask: Ask) -> Asked<Waiting> {
        match self.0.borrow_mut().ask(account, ask) {
            Asking::Answered(answer) => Asked::Now(answer),
            Asking::Waits { request, receiver, at_most } => {
                let timer = at_most.map(|at_most| Box::pin(sleep(at_most)));
                Asked::Later(Waiting { clerk: self.clone(), account, request, receiver, timer })
            }
        }
    }

    fn view(&self, account: usize) -> View {
        let house = self.0.borrow();
        house.accounts.get(&account).map_or_else(nothing, |account| account.keeper.view(clock::now()))
    }

    fn is_leaving(&self) -> bool {
        self.0.borrow().season == Season::Closing
    }

    fn wall_millis_of(&self, moment: Moment) -> i64 {
        clock::wall_of(moment)
    }
}

/// What there is to see of an account that has just gone.
fn nothing() -> View {
    View {
        state: State::RequestingPin,
        token: None,
        pin: None,
        failures: 0,
        last_error: None,
        trouble_since: None,
        next_try_at: None,
        last_refresh_at: None,
        unsaved: false,
    }
}

/// A request that waits for its answer. Dropped when the client hangs up.
pub struct Waiting {
    clerk: Clerk,
    account: usize,
    request: RequestId,
    receiver: oneshot::Receiver<Answer>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Future for Waiting {
    type Output = Option<Answer>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Answer>> {
        if let Poll::Ready(answer) = Pin::new(&mut self.receiver).poll(context) {
            return Poll::Ready(answer.ok());
        }
        match &mut self.timer {
            Some(timer) => timer.as_mut().poll(context).map(|()| {
                Some(not_now("the account has changed, and what was under way is not over yet".to_owned()))
            }),
            None => Poll::Pending,
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut house = self.clerk.0.borrow_mut();
        if house.waiting.remove(&self.request).is_some() {
            house.step(self.account, Event::HungUp(self.request));
        }
    }
}
