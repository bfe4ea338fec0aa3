//! All accounts under one roof: steps keepers, carries out what they order.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::sync::{Semaphore, mpsc::UnboundedSender, oneshot};

use super::{Names, diary};
use crate::clock::{self, Alarm, Reading};
use crate::ecobee::Client;
use crate::keeper::{
    Action, Answer, Ask, CallId, Event, Keeper, Moment, Outcome, Problem, Reach, Record, RequestId, SaveId,
    Trouble, View,
};
use crate::people::Allowed;
use crate::secret::Secret;
use crate::socket::{Asked, Lender, Peer};
use crate::store::{Fingerprint, Store};
use crate::systemd;

/// So many calls to ecobee at a time, of all accounts together (ecobee asks clients for restraint).
const CALLS_AT_A_TIME: usize = 8;

/// What happened away from the loop.
pub(super) enum Happening {
    Replied { account: usize, call: CallId, sent_at: Moment, outcome: Outcome },
    Saved { account: usize, save: SaveId, result: Result<(), String> },
}

/// An account: its keeper, and what its orders need to be carried out.
pub(super) struct Account {
    name: Rc<str>,
    keeper: Keeper,
    api_key: Secret,
    scope: Rc<str>,
    fingerprint: Fingerprint,
    allowed: Allowed,
    wake_at: Option<Moment>,
}

impl Account {
    pub(super) fn new(
        name: &str,
        keeper: Keeper,
        api_key: Secret,
        scope: &str,
        fingerprint: Fingerprint,
        allowed: Allowed,
    ) -> Self {
        Self { name: name.into(), keeper, api_key, scope: scope.into(), fingerprint, allowed, wake_at: None }
    }
}

/// Everything that the loop and the socket share.
pub(super) struct House {
    accounts: Vec<Account>,
    names: Names,
    default: Option<usize>,
    alarms: BTreeSet<(Moment, usize)>,
    alarm: Rc<Alarm>,
    client: Client,
    calls: Rc<Semaphore>,
    season: Rc<Cell<Season>>,
    store: Store,
    happenings: UnboundedSender<Happening>,
    /// Calls and saves that are not over.
    under_way: usize,
    last_request: u64,
    /// The request that is being asked right now; its answer is handed back on the spot.
    at_the_desk: Option<(RequestId, Option<Answer>)>,
    waiting: HashMap<RequestId, oneshot::Sender<Answer>>,
    news: Said,
    own_uid: u32,
}

/// Whether calls that queue are still to be made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Season {
    Open,
    Closing,
}

/// Whether systemd has heard the latest.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Said {
    Everything,
    NotYet,
}

impl House {
    pub(super) fn new(
        alarm: Rc<Alarm>,
        client: Client,
        store: Store,
        happenings: UnboundedSender<Happening>,
    ) -> Self {
        Self {
            accounts: Vec::new(),
            names: Names::new(),
            default: None,
            alarms: BTreeSet::new(),
            alarm,
            client,
            calls: Rc::new(Semaphore::new(CALLS_AT_A_TIME)),
            season: Rc::new(Cell::new(Season::Open)),
            store,
            happenings,
            under_way: 0,
            last_request: 0,
            at_the_desk: None,
            waiting: HashMap::new(),
            news: Said::NotYet,
            own_uid: rustix::process::getuid().as_raw(),
        }
    }

    pub(super) fn add(&mut self, account: Account) {
        self.names.insert(account.name.to_string(), self.accounts.len());
        self.accounts.push(account);
    }

    /// `/token` is this account's; the only one's, if there is no other.
    pub(super) fn set_default(&mut self, name: Option<&str>) {
        self.default = match name {
            Some(name) => self.names.get(name).copied(),
            None if self.accounts.len() == 1 => Some(0),
            None => None,
        };
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// Whether nothing is under way.
    pub(super) fn rests(&self) -> bool {
        self.under_way == 0
    }

    /// Who has something that could not be saved so far.
    pub(super) fn unsaved(&self) -> Vec<&str> {
        self.accounts
            .iter()
            .filter(|account| account.keeper.is_unsaved())
            .map(|account| &*account.name)
            .collect()
    }

    /// Whether systemd's status is out of date.
    pub(super) fn status_is_due(&self) -> bool {
        self.news == Said::NotYet
    }

    /// The status in a sentence; systemd is about to hear it.
    pub(super) fn sentence(&mut self) -> String {
        self.news = Said::Everything;
        let reading = Reading::take();
        let views = self.accounts.iter().map(|account| (&*account.name, account.keeper.view(reading.moment)));
        systemd::sentence(views, reading.moment, |moment| reading.wall_of(moment))
    }

    /// Sets the alarm to the first deadline of all.
    pub(super) fn rearm(&self) {
        if let Some(&(moment, _)) = self.alarms.first() {
            self.alarm.ring_by(moment);
        }
    }

    /// Steps every keeper whose deadline is here.
    pub(super) fn alarm_rang(&mut self) {
        let now = clock::now();
        while let Some(&(moment, account)) = self.alarms.first()
            && moment <= now
        {
            self.alarms.remove(&(moment, account));
            if let Some(account) = self.accounts.get_mut(account) {
                account.wake_at = None;
            }
            self.step(account, Event::Ticked);
        }
    }

    pub(super) fn step_all(&mut self, event: impl Fn() -> Event) {
        for account in 0..self.accounts.len() {
            self.step(account, event());
        }
    }

    pub(super) fn happened(&mut self, happening: Happening) {
        self.under_way = self.under_way.saturating_sub(1);
        match happening {
            Happening::Replied { account, call, sent_at, outcome } => {
                self.step(account, Event::Replied { call, sent_at, outcome });
            }
            Happening::Saved { account, save, result } => self.step(account, Event::Saved(save, result)),
        }
    }

    fn step(&mut self, account: usize, event: Event) {
        let now = clock::now();
        let Some(keeper) = self.accounts.get_mut(account).map(|account| &mut account.keeper) else { return };
        for action in keeper.step(now, event) {
            self.carry_out(account, action);
        }
    }

    /// The only place where an action becomes a deed.
    fn carry_out(&mut self, account: usize, action: Action) {
        match action {
            Action::SendAuthorize { call } => {
                let (client, key) = self.way_to_ecobee(account);
                let scope = Rc::clone(&self.accounts[account].scope);
                self.call(account, call, async move { client.authorize(&key, &scope).await });
            }
            Action::SendPoll { call, code } => {
                let (client, key) = self.way_to_ecobee(account);
                self.call(account, call, async move { client.poll(&key, &code).await });
            }
            Action::SendRefresh { call, refresh_token } => {
                let (client, key) = self.way_to_ecobee(account);
                self.call(account, call, async move { client.refresh(&key, &refresh_token).await });
            }
            Action::Persist { save, record } => self.persist(account, save, &record),
            Action::Answer(request, answer) => self.answer(request, answer),
            Action::Tell(news) => {
                let reading = Reading::take();
                diary::write(&self.accounts[account].name, &news, |moment| reading.wall_of(moment));
                self.news = Said::NotYet;
            }
            Action::Notify(_) => self.news = Said::NotYet,
            Action::WakeAt(moment) => self.wake_at(account, moment),
        }
    }

    fn way_to_ecobee(&self, account: usize) -> (Client, Secret) {
        (self.client.clone(), self.accounts[account].api_key.clone())
    }

    /// Makes a call in its own task, when one of the few places is free. It always comes back as a happening.
    fn call(&mut self, account: usize, call: CallId, calling: impl Future<Output = Outcome> + 'static) {
        self.under_way += 1;
        let places = Rc::clone(&self.calls);
        let season = Rc::clone(&self.season);
        let happenings = self.happenings.clone();
        tokio::task::spawn_local(async move {
            let place = match places.try_acquire() {
                Ok(place) => Some(place),
                // A call that had to queue is not made any more once the daemon is leaving.
                Err(_) => places.acquire().await.ok().filter(|_| season.get() == Season::Open),
            };
            let sent_at = clock::now();
            let outcome = match place {
                Some(_place) => calling.await,
                None => Outcome::Trouble(Trouble {
                    reason: "the daemon is stopping".to_owned(),
                    reach: Reach::Unsent,
                    retry_after: None,
                    rotated: None,
                }),
            };
            let _ = happenings.send(Happening::Replied { account, call, sent_at, outcome });
        });
    }

    /// The daemon is about to leave: what is under way is finished, nothing new begins.
    pub(super) fn wind_up(&mut self) {
        self.season.set(Season::Closing);
        self.step_all(|| Event::Stopping);
    }

    /// Whoever still waits is told that the daemon leaves.
    pub(super) fn dismiss(&mut self) {
        self.waiting.clear();
    }

    fn persist(&mut self, account: usize, save: SaveId, record: &Record) {
        self.under_way += 1;
        let Account { name, fingerprint, .. } = &self.accounts[account];
        let image = self.store.encode(name, fingerprint, record, &Reading::take());
        let happenings = self.happenings.clone();
        tokio::task::spawn_local(async move {
            let result = match tokio::task::spawn_blocking(move || image.write()).await {
                Ok(written) => written.map_err(|error| error.to_string()),
                Err(_) => Err("the task that writes to the store broke off".to_owned()),
            };
            let _ = happenings.send(Happening::Saved { account, save, result });
        });
    }

    fn answer(&mut self, request: RequestId, answer: Answer) {
        if let Some((asked, place)) = &mut self.at_the_desk
            && *asked == request
        {
            *place = Some(answer);
        } else if let Some(waiting) = self.waiting.remove(&request) {
            // Nobody listens any more: the client hung up in this very moment.
            let _ = waiting.send(answer);
        }
    }

    fn wake_at(&mut self, account: usize, moment: Option<Moment>) {
        let present = &mut self.accounts[account].wake_at;
        if *present == moment {
            return;
        }
        if let Some(before) = std::mem::replace(present, moment) {
            self.alarms.remove(&(before, account));
        }
        if let Some(moment) = moment {
            self.alarms.insert((moment, account));
            self.alarm.ring_by(moment);
        }
    }

    fn ask(&mut self, account: usize, ask: Ask) -> Result<Answer, (RequestId, oneshot::Receiver<Answer>)> {
        self.last_request += 1;
        let request = RequestId(self.last_request);
        self.at_the_desk = Some((request, None));
        self.step(account, Event::Asked(request, ask));
        if let Some((_, Some(answer))) = self.at_the_desk.take() {
            return Ok(answer);
        }
        let (sender, receiver) = oneshot::channel();
        self.waiting.insert(request, sender);
        Err((request, receiver))
    }
}

/// Where the socket's requests are decided.
#[derive(Clone)]
pub struct Desk(Rc<RefCell<House>>);

impl Desk {
    pub(super) fn new(house: Rc<RefCell<House>>) -> Self {
        Self(house)
    }
}

impl Lender for Desk {
    type Account = usize;
    type Waiting = Waiting;

    fn default_account(&self) -> Option<usize> {
        self.0.borrow().default
    }

    fn account(&self, name: &str) -> Option<usize> {
        self.0.borrow().names.get(name).copied()
    }

    fn accounts(&self) -> Vec<(String, usize)> {
        self.0.borrow().names.iter().map(|(name, &account)| (name.clone(), account)).collect()
    }

    fn may_have(&self, account: usize, peer: &Peer) -> bool {
        let house = self.0.borrow();
        house
            .accounts
            .get(account)
            .is_some_and(|account| account.allowed.admits(peer.uid, peer.gid, house.own_uid))
    }

    fn ask(&self, account: usize, ask: Ask) -> Asked<Waiting> {
        match self.0.borrow_mut().ask(account, ask) {
            Ok(answer) => Asked::Now(answer),
            Err((request, receiver)) => {
                Asked::Later(Waiting { desk: self.clone(), account, request, receiver })
            }
        }
    }

    fn view(&self, account: usize) -> View {
        self.0.borrow().accounts[account].keeper.view(clock::now())
    }

    fn wall_millis_of(&self, moment: Moment) -> i64 {
        clock::wall_millis().saturating_add(moment.as_millis().saturating_sub(clock::now().as_millis()))
    }
}

/// A request that waits for its answer. Dropped when the client hangs up.
pub struct Waiting {
    desk: Desk,
    account: usize,
    request: RequestId,
    receiver: oneshot::Receiver<Answer>,
}

impl Future for Waiting {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        Pin::new(&mut self.receiver).poll(context).map(|answer| {
            answer.unwrap_or(Answer::Problem(Problem::Unavailable {
                detail: "the daemon is stopping".to_owned(),
                retry_after: std::time::Duration::from_secs(1),
            }))
        })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut house = self.desk.0.borrow_mut();
        if house.waiting.remove(&self.request).is_some() {
            house.step(self.account, Event::HungUp(self.request));
        }
    }
}
