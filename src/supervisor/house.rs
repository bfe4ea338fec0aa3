//! All accounts under one roof: steps keepers, carries out what they order.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future;
use std::mem;
use std::ops::Bound;
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc::UnboundedSender, oneshot};
use tokio::time::{Sleep, sleep};

use super::fittings::{Fittings, Tenant};
use super::reload::{Prepared, prepare};
use super::{Names, diary};
use crate::clock::{self, Alarm, Reading};
use crate::ecobee::Client;
use crate::keeper::{
    Action, Answer, Ask, Call, CallId, Event, Keeper, Moment, News, Outcome, Policy, Problem, Reach, Record,
    RequestId, SaveId, State, Trouble, View,
};
use crate::metrics::{Counts, Tally};
use crate::notify::{Naming, Teller};
use crate::people::{Allowed, Groups};
use crate::secret::Secret;
use crate::socket::{Admission, Asked, Bulletin, Lender, Peer};
use crate::store::{Fetched, Fingerprint, Loaded, Store, StoreError};
use crate::systemd::{self, Contact};

/// So many calls to ecobee at a time, of all accounts together (ecobee asks clients for restraint).
const CALLS_AT_A_TIME: usize = 8;

/// So many saves at a time: a burst of them leaves threads to look names up, even where the disk hangs. What waits for
/// its turn is not rendered yet.
const SAVES_AT_A_TIME: usize = 12;

/// When to look again for an account that changes hands.
const SHORTLY: Duration = Duration::from_secs(1);

/// How long a request waits for an account that changes hands, unless it says otherwise.
const PATIENCE: Duration = Duration::from_secs(30);

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
    /// The file of an account's successor was looked up.
    Fetched(Box<Found>),
    /// The configuration was read again; `Err` says why it cannot be used.
    Reread(Result<Box<Prepared>, String>),
}

/// What the search for the file of an account's successor came to.
pub(super) struct Found {
    account: usize,
    search: u64,
    heir: Tenant,
    result: Result<Fetched, String>,
}

/// An account: its keeper, and what its orders need to be carried out.
struct Account {
    name: Rc<str>,
    keeper: Keeper,
    api_key: Secret,
    scope: Rc<str>,
    fingerprint: Fingerprint,
    allowed: Allowed,
    wake_at: Option<Moment>,
    /// Calls that are not over.
    calls: usize,
    /// Saves that are not over.
    saves: usize,
    season: Rc<Cell<Season>>,
    tenure: Tenure,
    contact: Contact,
    tally: Rc<Tally>,
}

/// What a new configuration means for an account.
enum Lot {
    Stays,
    /// It was on its way out and stays after all.
    IsBack,
    Leaves,
}

/// How long an account stays. One that is to go finishes what is under way first, and answers nobody any more.
enum Tenure {
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
    fn new(name: Rc<str>, tenant: Tenant, policy: Policy, loaded: Loaded, tally: Rc<Tally>) -> Self {
        for note in &loaded.notes {
            diary::note_of(&name, note);
        }
        let record = loaded.record.unwrap_or_default();
        if let Some(granted) = record
            .grant
            .as_ref()
            .and_then(|grant| grant.access.as_ref())
            .and_then(|access| access.token.scope.as_deref())
            && granted != tenant.scope
        {
            say_scope(&name, granted, &tenant.scope);
        }
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
    fn rests(&self) -> bool {
        !self.is_busy() && !self.keeper.is_unsaved()
    }

    /// Whether a call or a save is under way.
    fn is_busy(&self) -> bool {
        self.calls > 0 || self.saves > 0
    }
}

fn say_scope(name: &str, before: &str, now: &str) {
    tracing::info!(
        account = name,
        "{name}: the grant has the scope {before}, the configuration says {now}; it takes effect at the next \
         authorization (ecobee-token authorize, or POST /authorize)"
    );
}

/// Everything that the loop and the socket share.
pub(super) struct House {
    /// Boxed, for numbers that only grow leave the map's nodes half empty.
    accounts: BTreeMap<usize, Box<Account>>,
    last_account: usize,
    last_search: u64,
    names: Names,
    default: Option<usize>,
    default_name: Option<String>,
    policy: Policy,
    alarms: BTreeSet<(Moment, usize)>,
    alarm: Rc<Alarm>,
    client: Client,
    calls: Rc<Semaphore>,
    saves: Rc<Semaphore>,
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

/// Whether the configuration is being read again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rereading {
    No,
    UnderWay,
    /// And once more after that: what is being read may be older than the last wish.
    OnceMore,
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
            names: Names::new(),
            default: None,
            default_name: None,
            policy,
            alarms: BTreeSet::new(),
            alarm,
            client,
            calls: Rc::new(Semaphore::new(CALLS_AT_A_TIME)),
            saves: Rc::new(Semaphore::new(SAVES_AT_A_TIME)),
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

    /// Lets an account in; it is to be stepped with [`Event::Started`] next.
    pub(super) fn move_in(&mut self, name: &str, tenant: Tenant, loaded: Loaded) -> usize {
        self.last_account += 1;
        let name: Rc<str> = name.into();
        let tally = self.counts.tally(Rc::clone(&name));
        let account = Account::new(Rc::clone(&name), tenant, self.policy.clone(), loaded, tally);
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

    /// Has the configuration read again, in a thread of its own: it may lie on a slow disk, and a user database in
    /// the network may be asked for names.
    pub(super) fn reread(&mut self, source: PathBuf) {
        if self.rereading != Rereading::No {
            self.rereading = Rereading::OnceMore;
            return;
        }
        self.rereading = Rereading::UnderWay;
        systemd::reloading();
        let known: BTreeSet<String> =
            self.accounts.values().map(|account| account.name.to_string()).collect();
        let (store, happenings) = (self.store.clone(), self.happenings.clone());
        tokio::task::spawn_local(async move {
            let reading = move || prepare(&source, &store, &known);
            let result = match tokio::task::spawn_blocking(reading).await {
                Ok(prepared) => prepared.map(Box::new),
                Err(_) => Err("the task that reads the configuration broke off".to_owned()),
            };
            let _ = happenings.send(Happening::Reread(result));
        });
    }

    /// What was read is taken over, or not: accounts may go again. Whether it is to be read once more.
    pub(super) fn has_reread(&mut self) -> bool {
        let again = mem::replace(&mut self.rereading, Rereading::No) == Rereading::OnceMore;
        let accounts: Vec<usize> = self.accounts.keys().copied().collect();
        for account in accounts {
            self.part_with(account);
        }
        again
    }

    /// Whether nothing is under way.
    pub(super) fn rests(&self) -> bool {
        !self.accounts.values().any(|account| account.is_busy())
    }

    /// What a stop waits for, in words; `None`: nothing.
    pub(super) fn is_waited_for(&self) -> Option<&'static str> {
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

    /// A call or a save has come to its end.
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

    /// Takes another configuration over, between two steps, so that no client ever sees half of it.
    pub(super) fn refurnish(&mut self, fittings: Fittings, mut fetched: BTreeMap<String, Fetched>) {
        let Fittings { settings, client, policy, mut tenants, ways, .. } = fittings;
        self.client = client;
        self.teller.change(ways);
        let policy_changed = mem::replace(&mut self.policy, policy.clone()) != policy;
        let before: Vec<(usize, Rc<str>)> =
            self.accounts.iter().map(|(&id, account)| (id, Rc::clone(&account.name))).collect();
        self.names.clear();
        let (mut leaving, mut staying, mut back) = (Vec::new(), Vec::new(), Vec::new());
        for (id, name) in before {
            let tenant = tenants.remove(&*name);
            if tenant.is_some() {
                self.names.insert(name, id);
            }
            match self.refurnish_one(id, tenant) {
                Lot::Leaves => leaving.push(id),
                Lot::Stays => staying.push(id),
                Lot::IsBack => back.push(id),
            }
        }
        self.set_default(settings.default_account.as_deref());
        if policy_changed {
            for id in staying {
                self.step(id, Event::PolicyChanged(policy.clone()));
            }
        }
        for id in back {
            // While it was on its way out it heard of no change.
            self.step(id, Event::PolicyChanged(policy.clone()));
            self.step(id, Event::Resumed);
        }
        // Before the keepers hear of it, who would tell those who wait that the daemon is stopping.
        self.dismiss();
        for id in leaving {
            self.step(id, Event::Stopping);
        }
        let mut new = Vec::new();
        for (name, tenant) in tenants {
            let Some(file) = fetched.remove(&name) else { continue };
            new.push(self.move_in(&name, tenant, file.into_loaded(&Reading::take())));
            tracing::info!(account = name, "{name}: a new account");
        }
        self.set_default(settings.default_account.as_deref());
        for id in new {
            self.step(id, Event::Started);
        }
        self.news = Said::NotYet;
        let now = clock::now();
        let views = self.names.iter().filter_map(|(name, id)| {
            self.accounts.get(id).map(|account| (&**name, account.keeper.view(now)))
        });
        self.bulletin.write_all(views);
    }

    /// Gives an account what the configuration has for its name now.
    fn refurnish_one(&mut self, id: usize, tenant: Option<Tenant>) -> Lot {
        let Some(account) = self.accounts.get_mut(&id) else { return Lot::Leaves };
        let name = Rc::clone(&account.name);
        match (&account.tenure, tenant) {
            // Its file has been looked up by nobody, so the keeper may go on: it may have what could not be saved.
            (Tenure::Standing | Tenure::Ending | Tenure::Bequeathed(_), Some(tenant))
                if tenant.fingerprint == account.fingerprint =>
            {
                account.allowed = tenant.allowed;
                if *tenant.scope != *account.scope {
                    say_scope(&name, &account.scope, &tenant.scope);
                    account.scope = tenant.scope.into();
                }
                if matches!(mem::replace(&mut account.tenure, Tenure::Standing), Tenure::Standing) {
                    return Lot::Stays;
                }
                tracing::info!(account = &*name, "{name}: is back before it had gone");
                account.season.set(Season::Open);
                return Lot::IsBack;
            }
            (Tenure::Standing, None) => {
                tracing::info!(
                    account = &*name,
                    "{name}: removed; its file stays until ecobee-tokend forget {name}"
                );
                account.tenure = Tenure::Ending;
            }
            (Tenure::Standing, Some(tenant)) => {
                tracing::info!(account = &*name, "{name}: has another API key now");
                account.tenure = Tenure::Bequeathed(Box::new(tenant));
            }
            (_, Some(tenant)) => account.tenure = Tenure::Bequeathed(Box::new(tenant)),
            (_, None) => account.tenure = Tenure::Ending,
        }
        account.season.set(Season::Closing);
        self.teller.forget(&name);
        Lot::Leaves
    }

    /// Whoever waits for an account that is to go is to ask again, or elsewhere.
    fn dismiss(&mut self) {
        let Self { waiting, accounts, .. } = self;
        waiting.retain(|_, (asked, _)| {
            accounts.get(asked).is_some_and(|account| matches!(account.tenure, Tenure::Standing))
        });
    }

    /// Lets an account go whose time is over, as soon as it rests.
    fn part_with(&mut self, id: usize) {
        if self.rereading != Rereading::No {
            // What is being read may have it again; its file is not looked up for that while it is here.
            return;
        }
        let Some(account) = self.accounts.get_mut(&id).filter(|account| account.rests()) else { return };
        match mem::replace(&mut account.tenure, Tenure::Ending) {
            Tenure::Ending => {
                self.wake_at(id, None);
                self.accounts.remove(&id);
            }
            Tenure::Bequeathed(heir) => self.search_for(id, heir),
            other @ (Tenure::Standing | Tenure::HandingOver(_) | Tenure::Stuck(_)) => account.tenure = other,
        }
    }

    fn search_for(&mut self, id: usize, heir: Box<Tenant>) {
        let Some(account) = self.accounts.get_mut(&id) else { return };
        self.last_search += 1;
        let search = self.last_search;
        account.tenure = Tenure::HandingOver(search);
        let (store, happenings) = (self.store.clone(), self.happenings.clone());
        let name = account.name.to_string();
        let fingerprint = heir.fingerprint.clone();
        tokio::task::spawn_local(async move {
            let looking = move || store.fetch(&name, &fingerprint, &Reading::take());
            let result = match tokio::task::spawn_blocking(looking).await {
                Ok(fetched) => fetched.map_err(|error: StoreError| error.to_string()),
                Err(_) => Err("the task that reads the store broke off".to_owned()),
            };
            let found = Found { account: id, search, heir: *heir, result };
            let _ = happenings.send(Happening::Fetched(Box::new(found)));
        });
    }

    /// The file of an account's successor is here: the name changes hands, unless the configuration has changed again.
    pub(super) fn found(&mut self, found: Found) {
        let Found { account: id, search, heir, result } = found;
        let Some(account) = self.accounts.get_mut(&id) else { return };
        if !matches!(account.tenure, Tenure::HandingOver(latest) if latest == search)
            || self.season == Season::Closing
        {
            return;
        }
        let name = Rc::clone(&account.name);
        match result {
            Ok(file) => {
                self.wake_at(id, None);
                self.accounts.remove(&id);
                let successor = self.move_in(&name, heir, file.into_loaded(&Reading::take()));
                self.set_default(self.default_name.clone().as_deref());
                self.step(successor, Event::Started);
            }
            Err(why) => {
                tracing::error!(account = &*name, "{name}: cannot be taken up with its new API key: {why}");
                account.tenure = Tenure::Stuck(why);
            }
        }
        self.dismiss();
        self.news = Said::NotYet;
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

    /// Whoever still waits is told that the daemon leaves.
    pub(super) fn send_home(&mut self) {
        for (_, (_, sender)) in self.waiting.drain() {
            let _ = sender.send(not_now("the daemon is stopping".to_owned()));
        }
    }

    fn persist(&mut self, id: usize, save: SaveId, record: Box<Record>) {
        let Some(account) = self.accounts.get_mut(&id) else { return };
        account.saves += 1;
        let (name, fingerprint) = (Rc::clone(&account.name), account.fingerprint.clone());
        let (store, happenings, places) =
            (self.store.clone(), self.happenings.clone(), Rc::clone(&self.saves));
        tokio::task::spawn_local(async move {
            let _place = places.acquire().await;
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

    fn ask(&mut self, id: usize, ask: Ask) -> Asking {
        let Some(account) = self.accounts.get(&id) else {
            return Asking::Answered(not_now("the account has just gone".to_owned()));
        };
        match &account.tenure {
            Tenure::Standing => {}
            Tenure::Stuck(why) => return Asking::Answered(not_now(why.clone())),
            // There will be another under this name soon: that one is asked then.
            Tenure::Ending | Tenure::Bequeathed(_) | Tenure::HandingOver(_) => {
                let at_most = ask.wait.unwrap_or(PATIENCE);
                return self.wait(id, Some(at_most));
            }
        }
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
                Asked::Later(Waiting { desk: self.clone(), account, request, receiver, timer })
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
    desk: Desk,
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
        let mut house = self.desk.0.borrow_mut();
        if house.waiting.remove(&self.request).is_some() {
            house.step(self.account, Event::HungUp(self.request));
        }
    }
}
