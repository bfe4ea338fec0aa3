//! All accounts under one roof: steps keepers, carries out what they order.

mod account;
mod clerk;
mod disk;
mod succession;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future;
use std::mem;
use std::rc::Rc;

use tokio::sync::{Semaphore, mpsc::UnboundedSender, oneshot};

use account::{Account, Tenure};
pub use clerk::Clerk;
use disk::{Disk, Errand};
pub(super) use succession::Found;
use succession::Rereading;

use super::diary;
use super::fittings::Tenant;
use super::reload::Prepared;
use crate::clock::{self, Alarm, Reading};
use crate::ecobee::Client;
use crate::keeper::{
    Action, Answer, Call, CallId, Event, Moment, News, Outcome, Policy, Reach, Record, RequestId, SaveId,
    Trouble,
};
use crate::metrics::Counts;
use crate::notify::{Naming, Teller};
use crate::people::Groups;
use crate::secret::Secret;
use crate::socket::Bulletin;
use crate::store::{Loaded, Store};
use crate::systemd::{self, Contact};

/// So many calls to ecobee at a time, of all accounts together (ecobee asks clients for restraint).
const CALLS_AT_A_TIME: usize = 8;

/// What happened away from the loop.
pub(super) enum Happening {
    Replied {
        account: usize,
        call: CallId,
        sent_at: Moment,
        outcome: Outcome,
    },
    Saved {
        account: usize,
        save: SaveId,
        result: Result<(), String>,
    },
    /// The file of an account's successor was searched for.
    Found(Box<Found>),
    /// The configuration was read again; `Err` says why it cannot be used.
    Reread(Result<Box<Prepared>, String>),
}

/// Everything that the loop and the socket share.
pub(super) struct House {
    /// Boxed, for numbers that only grow leave the map's nodes half empty.
    accounts: BTreeMap<usize, Box<Account>>,
    last_account: usize,
    last_search: u64,
    /// Those whose name is theirs still; whoever asks for a name is led to these.
    names: BTreeMap<Rc<str>, usize>,
    default: Option<usize>,
    default_name: Option<String>,
    policy: Rc<Policy>,
    alarms: BTreeSet<(Moment, usize)>,
    alarm: Rc<Alarm>,
    client: Client,
    calls: Rc<Semaphore>,
    disk: Rc<Disk>,
    season: Season,
    store: Store,
    teller: Rc<Teller>,
    happenings: UnboundedSender<Happening>,
    last_request: u64,
    /// The request that is being asked right now; its answer is handed back on the spot.
    at_the_desk: Option<(RequestId, Option<Answer>)>,
    waiting: HashMap<RequestId, (usize, oneshot::Sender<Answer>)>,
    news: Said,
    /// What came of the last reload, as far as it is still to be mended.
    remark: Option<String>,
    rereading: Rereading,
    own_uid: u32,
    groups: Rc<Groups>,
    counts: Rc<Counts>,
    bulletin: Rc<Bulletin>,
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
        policy: Policy,
        store: Store,
        teller: Rc<Teller>,
        happenings: UnboundedSender<Happening>,
    ) -> Self {
        Self {
            accounts: BTreeMap::new(),
            last_account: 0,
            last_search: 0,
            names: BTreeMap::new(),
            default: None,
            default_name: None,
            policy: Rc::new(policy),
            alarms: BTreeSet::new(),
            alarm,
            client,
            calls: Rc::new(Semaphore::new(CALLS_AT_A_TIME)),
            disk: Rc::new(Disk::new()),
            season: Season::Open,
            store,
            teller,
            happenings,
            last_request: 0,
            at_the_desk: None,
            waiting: HashMap::new(),
            news: Said::NotYet,
            remark: None,
            rereading: Rereading::No,
            own_uid: rustix::process::getuid().as_raw(),
            groups: Rc::default(),
            counts: Rc::new(Counts::new(clock::now())),
            bulletin: Rc::default(),
        }
    }

    /// Lets an account in, and writes down what there is to say of its file; it is to be stepped with [`Event::Started`]
    /// next.
    pub(super) fn move_in(&mut self, name: &str, tenant: Tenant, loaded: Loaded) -> usize {
        let Loaded { record, notes } = loaded;
        for note in &notes {
            diary::note_of(name, note);
        }
        let record = record.unwrap_or_default();
        let granted = record.grant.as_ref().and_then(|grant| grant.access.as_ref()?.token.scope.as_deref());
        if let Some(granted) = granted.filter(|&granted| granted != tenant.scope) {
            diary::scope(name, granted, &tenant.scope);
        }
        self.last_account += 1;
        let name: Rc<str> = name.into();
        let tally = self.counts.tally(Rc::clone(&name));
        let account = Account::new(Rc::clone(&name), tenant, Rc::clone(&self.policy), record, tally);
        self.accounts.insert(self.last_account, Box::new(account));
        self.names.insert(name, self.last_account);
        self.last_account
    }

    /// Whether there is an account of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    /// `/token` is this account's.
    pub(super) fn set_default(&mut self, name: Option<&str>) {
        self.default_name = name.map(str::to_owned);
        self.default = name.and_then(|name| self.names.get(name).copied());
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// Whether a call or a save is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.accounts.values().any(|account| account.is_busy())
    }

    /// What a stop waits for, in words; `None`: nothing.
    pub(super) fn awaited(&self) -> Option<&'static str> {
        let calls = self.accounts.values().any(|account| account.calls > 0);
        let saves = self.accounts.values().any(|account| account.saves > 0 || account.keeper.is_unsaved());
        match (calls, saves) {
            (true, true) => Some("a call to ecobee and the saving of what is new are awaited"),
            (true, false) => Some("a call to ecobee is awaited"),
            (false, true) => Some("the saving of what is new is awaited"),
            (false, false) => None,
        }
    }

    /// Who has something that could not be saved so far.
    pub(super) fn unsaved(&self) -> Vec<&str> {
        self.accounts
            .values()
            .filter(|account| account.keeper.is_unsaved())
            .map(|account| &*account.name)
            .collect()
    }

    /// Whether systemd's status is out of date.
    pub(super) fn status_is_due(&self) -> bool {
        self.news == Said::NotYet
    }

    /// What the status says behind the accounts, until the next reload.
    pub(super) fn remark(&mut self, remark: Option<String>) {
        self.remark = remark;
        self.news = Said::NotYet;
    }

    /// The status in a sentence; systemd is about to hear it.
    pub(super) fn sentence(&mut self) -> String {
        self.news = Said::Everything;
        let reading = Reading::take();
        let lines = self.names.iter().filter_map(|(name, id)| {
            let account = self.accounts.get(id)?;
            let view = account.keeper.view(reading.moment);
            Some(systemd::Line { name, view, contact: account.contact })
        });
        let sentence = systemd::sentence(lines, &reading);
        match &self.remark {
            Some(remark) => format!("{sentence}; {remark}"),
            None => sentence,
        }
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
            if let Some(account) = self.accounts.get_mut(&account) {
                account.wake_at = None;
            }
            self.step(account, Event::Ticked);
        }
    }

    pub(super) fn step_all(&mut self, event: impl Fn() -> Event) {
        let accounts: Vec<usize> = self.accounts.keys().copied().collect();
        for account in accounts {
            self.step(account, event());
        }
    }

    /// A call has come to its end.
    pub(super) fn replied(&mut self, account: usize, call: CallId, sent_at: Moment, outcome: Outcome) {
        if let Some(account) = self.accounts.get_mut(&account) {
            account.calls = account.calls.saturating_sub(1);
            account.contact = match &outcome {
                Outcome::Trouble(trouble) if trouble.reach == Reach::Unsent => Contact::Unreachable,
                Outcome::Trouble(_)
                | Outcome::Granted(_)
                | Outcome::PinIssued(_)
                | Outcome::Pending
                | Outcome::SlowDown
                | Outcome::PinOver(_)
                | Outcome::Refused(_)
                | Outcome::Misconfigured(_) => Contact::Reached,
            };
        }
        self.step(account, Event::Replied { call, sent_at, outcome });
        self.part_with(account);
    }

    /// A save has come to its end.
    pub(super) fn saved(&mut self, account: usize, save: SaveId, result: Result<(), String>) {
        if let Some(account) = self.accounts.get_mut(&account) {
            account.saves = account.saves.saturating_sub(1);
            if result.is_err() {
                account.tally.unsaved.count();
            }
        }
        self.step(account, Event::Saved(save, result));
        self.part_with(account);
    }

    fn step(&mut self, account: usize, event: Event) {
        let now = clock::now();
        let Some(keeper) = self.accounts.get_mut(&account).map(|account| &mut account.keeper) else { return };
        for action in keeper.step(now, event) {
            self.carry_out(account, action);
        }
        if self.bulletin.has_listeners()
            && let Some(Account { name, keeper, .. }) = self.accounts.get(&account).map(|account| &**account)
            && self.names.get(&**name) == Some(&account)
        {
            self.bulletin.write(name, Some(keeper.view(now)));
        }
    }

    /// The only place where an action becomes a deed.
    fn carry_out(&mut self, id: usize, action: Action) {
        match action {
            Action::SendAuthorize { call } => {
                let (client, key) = self.way_to_ecobee(id);
                let scope = Rc::clone(&self.accounts[&id].scope);
                self.call(id, Call::Authorize, call, async move { client.authorize(&key, &scope).await });
            }
            Action::SendPoll { call, code } => {
                let (client, key) = self.way_to_ecobee(id);
                self.call(id, Call::Poll, call, async move { client.poll(&key, &code).await });
            }
            Action::SendRefresh { call, refresh_token } => {
                let (client, key) = self.way_to_ecobee(id);
                self.call(id, Call::Refresh, call, async move { client.refresh(&key, &refresh_token).await });
            }
            Action::Persist { save, record } => self.persist(id, save, record),
            Action::Answer(request, answer) => self.answer(request, answer),
            Action::Tell(news) => {
                let reading = Reading::take();
                let account = &self.accounts[&id];
                let view = account.keeper.view(reading.moment);
                diary::write(&account.name, &news, &view, &reading);
                self.news = Said::NotYet;
                if let News::PinShown(pin) = &news {
                    self.teller.pin_shown(&account.name, pin);
                }
            }
            Action::Notify(notice) => {
                let account = &self.accounts[&id];
                // Of an account that goes, nobody is to hear any more.
                if matches!(account.tenure, Tenure::Standing) {
                    let naming = if self.default == Some(id) { Naming::Needless } else { Naming::Needed };
                    self.teller.tell(&account.name, naming, &notice);
                }
                self.news = Said::NotYet;
            }
            Action::WakeAt(moment) => self.wake_at(id, moment),
        }
    }

    fn way_to_ecobee(&self, account: usize) -> (Client, Secret) {
        (self.client.clone(), self.accounts[&account].api_key.clone())
    }

    /// Makes a call in its own task, when one of the few places is free. It always comes back as a happening.
    fn call(
        &mut self,
        id: usize,
        kind: Call,
        call: CallId,
        calling: impl Future<Output = Outcome> + 'static,
    ) {
        let Some(account) = self.accounts.get_mut(&id) else { return };
        account.calls += 1;
        let places = Rc::clone(&self.calls);
        let season = Rc::clone(&account.season);
        let (counts, tally) = (Rc::clone(&self.counts), Rc::clone(&account.tally));
        let happenings = self.happenings.clone();
        tokio::task::spawn_local(async move {
            let place = match places.try_acquire() {
                Ok(place) => Some(place),
                // A call that had to queue is not made any more once the daemon, or the account, is leaving.
                Err(_) => places.acquire().await.ok().filter(|_| season.get() == Season::Open),
            };
            let sent_at = clock::now();
            let outcome = match place {
                Some(_place) => {
                    let outcome = calling.await;
                    counts.called(&tally, kind, &outcome, clock::now().since(sent_at));
                    outcome
                }
                None => Outcome::Trouble(Trouble {
                    reason: "what is not under way yet is not begun any more".to_owned(),
                    reach: Reach::Unsent,
                    retry_after: None,
                    rotated: None,
                }),
            };
            let _ = happenings.send(Happening::Replied { account: id, call, sent_at, outcome });
        });
    }

    /// The daemon is about to leave: what is under way is finished, nothing new begins.
    pub(super) fn wind_up(&mut self) {
        self.season = Season::Closing;
        for account in self.accounts.values() {
            account.season.set(Season::Closing);
        }
        self.step_all(|| Event::Stopping);
    }

    fn persist(&mut self, id: usize, save: SaveId, record: Box<Record>) {
        let Some(account) = self.accounts.get_mut(&id) else { return };
        account.saves += 1;
        let errand = if account.keeper.is_at_stake() { Errand::Urgent } else { Errand::Patient };
        let (name, fingerprint) = (Rc::clone(&account.name), account.fingerprint.clone());
        let (store, happenings, disk) = (self.store.clone(), self.happenings.clone(), Rc::clone(&self.disk));
        tokio::task::spawn_local(async move {
            let _turn = disk.turn(errand).await;
            // Not sooner: a thousand images in line would be memory.
            let image = store.encode(&name, &fingerprint, &record, &Reading::take());
            drop(record);
            let result = match tokio::task::spawn_blocking(move || image.write()).await {
                Ok(written) => written.map_err(|error| error.to_string()),
                Err(_) => Err("the task that writes to the store broke off".to_owned()),
            };
            let _ = happenings.send(Happening::Saved { account: id, save, result });
        });
    }

    fn answer(&mut self, request: RequestId, answer: Answer) {
        if let Some((asked, place)) = &mut self.at_the_desk
            && *asked == request
        {
            *place = Some(answer);
        } else if let Some((_, waiting)) = self.waiting.remove(&request) {
            // Nobody listens any more: the client hung up in this very moment.
            let _ = waiting.send(answer);
        }
    }

    fn wake_at(&mut self, id: usize, moment: Option<Moment>) {
        let Some(account) = self.accounts.get_mut(&id) else { return };
        if account.wake_at == moment {
            return;
        }
        if let Some(before) = mem::replace(&mut account.wake_at, moment) {
            self.alarms.remove(&(before, id));
        }
        if let Some(moment) = moment {
            self.alarms.insert((moment, id));
            self.alarm.ring_by(moment);
        }
    }
}
