//! How accounts come, change hands and go when the configuration changes.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::path::PathBuf;
use std::rc::Rc;

use super::account::Tenure;
use super::disk::Errand;
use super::{Happening, House, Said, Season};
use crate::clock::{self, Reading};
use crate::keeper::Event;
use crate::store::{Fetched, StoreError};
use crate::supervisor::diary;
use crate::supervisor::fittings::{Fittings, Tenant};
use crate::supervisor::reload::prepare;
use crate::systemd;

/// Whether the configuration is being read again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Rereading {
    No,
    UnderWay,
    /// And once more after that: what is being read may be older than the last wish.
    OnceMore,
}

/// What the search for the file of an account's successor came to.
pub(in crate::supervisor) struct Found {
    account: usize,
    search: u64,
    heir: Tenant,
    result: Result<Fetched, String>,
}

/// What a new configuration means for an account.
enum Lot {
    Stays,
    /// It was on its way out and stays after all.
    IsBack,
    Leaves,
}

impl House {
    /// Has the configuration read again, in a thread of its own: it may lie on a slow disk, and a user database in
    /// the network may be asked for names.
    pub(in crate::supervisor) fn reread(&mut self, source: PathBuf) {
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

    /// What was read is taken over, or not: accounts may go again. It is read once more if that was wished for meanwhile.
    pub(in crate::supervisor) fn reread_is_over(&mut self, source: PathBuf) {
        let again = mem::replace(&mut self.rereading, Rereading::No) == Rereading::OnceMore;
        let accounts: Vec<usize> = self.accounts.keys().copied().collect();
        for account in accounts {
            self.part_with(account);
        }
        if again {
            self.reread(source);
        }
    }

    /// Takes another configuration over, between two steps, so that no client ever sees half of it.
    pub(in crate::supervisor) fn refurnish(
        &mut self,
        fittings: Fittings,
        mut fetched: BTreeMap<String, Fetched>,
    ) {
        let Fittings { settings, client, policy, mut tenants, ways, .. } = fittings;
        self.client = client;
        self.teller.change(ways);
        let policy = Rc::new(policy);
        let policy_changed = mem::replace(&mut self.policy, Rc::clone(&policy)) != policy;
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
                self.step(id, Event::PolicyChanged(Rc::clone(&policy)));
            }
        }
        for id in back {
            // While it was on its way out it heard of no change.
            self.step(id, Event::PolicyChanged(Rc::clone(&policy)));
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
                    diary::scope(&name, &account.scope, &tenant.scope);
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
    pub(super) fn part_with(&mut self, id: usize) {
        if self.rereading != Rereading::No {
            // What is being read may have it again; its file is not looked up for that while it is here.
            return;
        }
        let Some(account) = self.accounts.get_mut(&id).filter(|account| account.rests()) else { return };
        match mem::replace(&mut account.tenure, Tenure::Ending) {
            Tenure::Ending => {
                self.wake_at(id, None);
                self.accounts.remove(&id);
                // Who came in between is to ask again, and hears that there is no such account.
                self.dismiss();
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
        let (store, happenings, disk) = (self.store.clone(), self.happenings.clone(), Rc::clone(&self.disk));
        let name = account.name.to_string();
        let fingerprint = heir.fingerprint.clone();
        tokio::task::spawn_local(async move {
            let _turn = disk.turn(Errand::Patient).await;
            let looking = move || store.fetch(&name, &fingerprint, &Reading::take());
            let result = match tokio::task::spawn_blocking(looking).await {
                Ok(fetched) => fetched.map_err(|error: StoreError| error.to_string()),
                Err(_) => Err("the task that reads the store broke off".to_owned()),
            };
            let found = Found { account: id, search, heir: *heir, result };
            let _ = happenings.send(Happening::Found(Box::new(found)));
        });
    }

    /// The file of an account's successor is here: the name changes hands, unless the configuration has changed again.
    pub(in crate::supervisor) fn found(&mut self, found: Found) {
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
}
