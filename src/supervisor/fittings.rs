//! What a configuration comes to on this machine: names become numbers, files are looked at, the way to ecobee is
//! laid. May wait (for the disk, for a user database in the network), and so is for the start or for another thread.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::RunError;
use crate::config::{self, ApiKeySource, KeySource, Principal, Settings, StoreKey};
use crate::dial::{Proxies, Roads};
use crate::ecobee::{Client, Endpoint};
use crate::keeper::{Audience, Policy};
use crate::notify::{Command, Ways, Webhook};
use crate::people::{self, Allowed};
use crate::secret::Secret;
use crate::store::{Fingerprint, Key, Keys};

/// All of it.
pub(super) struct Fittings {
    pub(super) settings: Settings,
    pub(super) client: Client,
    pub(super) policy: Policy,
    pub(super) tenants: BTreeMap<String, Tenant>,
    pub(super) ways: Ways,
    pub(super) roads: Roads,
    pub(super) keys: Keys,
    /// What an administrator should mend, though the daemon runs.
    pub(super) warnings: Vec<String>,
}

/// An account of the configuration.
pub(super) struct Tenant {
    pub(super) api_key: Secret,
    pub(super) fingerprint: Fingerprint,
    pub(super) scope: String,
    pub(super) allowed: Allowed,
}

impl Fittings {
    pub(super) fn of(settings: Settings) -> Result<Self, RunError> {
        let proxies = Proxies::of_this_process().map_err(|error| RunError::Unsupported(error.to_string()))?;
        let roads = Roads::new(settings.ecobee.ca_file.clone(), proxies).map_err(|error| {
            RunError::Unsupported(format!("{}: ecobee: {error}", settings.source.display()))
        })?;
        let client = Client::new(Endpoint {
            url: settings.ecobee.url.clone(),
            request_timeout: settings.ecobee.request_timeout,
            roads: roads.clone(),
        });
        let ways = ways(&settings, &roads);
        let policy = Policy {
            ahead: settings.refresh.ahead,
            retry_initial: settings.refresh.retry_initial,
            retry_max: settings.refresh.retry_max,
            refusals_before_pin: settings.refresh.refusals_before_pin,
            remind_every: settings.notify.remind_every,
            audience: if ways.is_none() { Audience::Absent } else { Audience::Present },
        };
        let mut warnings = exposed_secrets(&settings);
        let keys = keys(&settings);
        let mut tenants = BTreeMap::new();
        for (name, account) in &settings.accounts {
            let allowed = allowed(name, account, &mut warnings);
            let tenant = Tenant {
                api_key: account.api_key.clone(),
                fingerprint: Fingerprint::of(&account.api_key),
                scope: account.scope.clone(),
                allowed,
            };
            tenants.insert(name.clone(), tenant);
        }
        Ok(Self { settings, client, policy, tenants, ways, roads, keys, warnings })
    }
}

fn ways(settings: &Settings, roads: &Roads) -> Ways {
    let notify = &settings.notify;
    let webhook = |url| Webhook::new(url, &notify.webhook_headers, roads.clone());
    Ways {
        webhook: notify.webhook.clone().map(webhook),
        command: notify.command.as_deref().and_then(Command::new),
    }
}

/// The keys of the store.
pub(super) fn keys(settings: &Settings) -> Keys {
    let key = |given: &Option<StoreKey>| given.as_ref().map(|given| Key::of(&given.material));
    Keys::new(key(&settings.store.key), key(&settings.store.previous_key))
}

/// The number of `socket.group`.
pub(super) fn socket_group(settings: &Settings) -> Result<Option<u32>, RunError> {
    let Some(name) = settings.socket.group.as_deref() else { return Ok(None) };
    let number = name.parse().ok().or_else(|| people::gid_of(name));
    number.map(Some).ok_or_else(|| {
        RunError::Unsupported(format!(
            "{}: socket.group: there is no group {name} on this machine; create it (groupadd --system {name}) or name \
             another",
            settings.source.display()
        ))
    })
}

/// Names become numbers once, when the configuration is read; a name that nobody has admits nobody.
fn allowed(name: &str, account: &config::Account, warnings: &mut Vec<String>) -> Allowed {
    if account.allow_users.is_empty() && account.allow_groups.is_empty() {
        return Allowed::Everyone;
    }
    let mut numbers = |principals: &[Principal], key: &str, lookup: fn(&str) -> Option<u32>| {
        let mut found = Vec::new();
        for principal in principals {
            match principal {
                Principal::Id(id) => found.push(*id),
                Principal::Name(who) => match lookup(who) {
                    Some(number) => found.push(number),
                    None => warnings
                        .push(format!("accounts.{name}.{key}: there is no {who} on this machine, and so nobody is let in for it")),
                },
            }
        }
        found
    };
    Allowed::Only {
        users: numbers(&account.allow_users, "allow-users", people::uid_of),
        groups: numbers(&account.allow_groups, "allow-groups", people::gid_of),
    }
}

/// Files with secrets in them that anyone on this machine can get at.
fn exposed_secrets(settings: &Settings) -> Vec<String> {
    let of_accounts = settings.accounts.values().map(|account| match &account.api_key_source {
        ApiKeySource::Inline => Some(settings.source.as_path()),
        ApiKeySource::Kept(source) => kept_in(source),
    });
    let bearer = settings.notify.webhook_bearer_source.as_ref().and_then(kept_in);
    let headers = Some(settings.source.as_path()).filter(|_| !settings.notify.webhook_headers.is_empty());
    let of_store = [&settings.store.key, &settings.store.previous_key].into_iter().flatten();
    let of_store = of_store.map(|key| kept_in(&key.source));
    let mut files: Vec<&Path> = of_accounts.chain([bearer, headers]).chain(of_store).flatten().collect();
    files.sort_unstable();
    files.dedup();
    files.into_iter().filter_map(exposure).collect()
}

/// systemd guards its credentials itself.
fn kept_in(source: &KeySource) -> Option<&Path> {
    match source {
        KeySource::File(path) => Some(path),
        KeySource::Credential { .. } => None,
    }
}

fn exposure(path: &Path) -> Option<String> {
    let about = fs::metadata(path).ok()?;
    let (mode, world) = (about.mode() & 0o7777, about.mode() & 0o006);
    if world == 0 || !is_within_reach(path) {
        return None;
    }
    // What belongs to another user (root, as a rule) must stay readable for ours, by way of the group.
    let remedy = if about.uid() == rustix::process::geteuid().as_raw() { "600" } else { "640" };
    let path = path.display();
    Some(format!(
        "{path}: holds a secret, and every user of this machine can get at it (mode {mode:04o}); chmod {remedy} {path}"
    ))
}

/// Whether every folder on the way, links followed, lets strangers through. One that cannot be looked at does.
fn is_within_reach(path: &Path) -> bool {
    let Ok(place) = fs::canonicalize(path) else { return true };
    place
        .ancestors()
        .skip(1)
        .all(|folder| fs::metadata(folder).map_or(true, |about| about.mode() & 0o001 != 0))
}
