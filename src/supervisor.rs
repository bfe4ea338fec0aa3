//! The one loop: gathers events, carries out actions.
//!
//! All accounts live on one thread, a keeper each, and share one alarm. What happens elsewhere (a call to ecobee,
//! a write to the disk, a signal) comes back to the loop as a word in a channel. A client's question does not
//! need the loop: [`Desk`] steps the keeper on the spot, so that lending a token costs no task switch.
//!
//! Only here is an [`Action`](crate::keeper::Action) carried out, and only here is the watchdog fed.

mod diary;
mod house;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout};

pub use house::Desk;
use house::{Account, Happening, House};

use crate::clock::{self, Alarm, Reading};
use crate::config::{self, Principal, Settings};
use crate::ecobee::Client;
use crate::keeper::{Event, Keeper, Policy};
use crate::people::{self, Allowed};
use crate::signals::{Signals, Wish};
use crate::socket::{self, SocketError};
use crate::store::{Fingerprint, Store, StoreError};
use crate::systemd;

/// A stopping daemon tries so long to save what could not be saved before, and takes so much longer than
/// `request-timeout` for a call in flight and its saving.
const STOP_ALLOWANCE: Duration = Duration::from_secs(10);

/// The time that clients have to take their last answers.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// For the listeners, the log, the timers, and a few calls and saves at a time.
const DESCRIPTORS_KEPT_BACK: usize = 48;

/// `STATUS=` is renewed at most this often: with 10,000 accounts it is not free.
const STATUS_PACE: Duration = Duration::from_secs(1);

/// Why the daemon cannot run.
#[derive(Debug)]
pub enum RunError {
    /// The store cannot be used.
    Store(StoreError),
    /// The socket cannot be used.
    Socket(SocketError),
    /// The configuration is good in itself, but asks for what this machine or this version does not have.
    Unsupported(String),
    /// The operating system refuses something basic.
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        error: std::io::Error,
    },
}

impl RunError {
    /// The exit status for it, from sysexits(3).
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Store(_) | Self::Socket(_) => 73,
            Self::Unsupported(_) => 78,
            Self::System { .. } => 1,
        }
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::Socket(error) => error.fmt(f),
            Self::Unsupported(sentence) => f.write_str(sentence),
            Self::System { what, error } => write!(f, "{what}: {error}"),
        }
    }
}

impl std::error::Error for RunError {}

/// Runs the daemon until it is told to stop. Must be called within a `LocalSet` on a current-thread runtime.
pub async fn run(settings: Settings) -> Result<(), RunError> {
    let system = |what| move |error| RunError::System { what, error };
    let mut signals = Signals::catch().map_err(system("signals cannot be caught"))?;
    let alarm = Rc::new(Alarm::new().map_err(system("a timer cannot be made"))?);
    let Fittings { client, group } = fittings(&settings)?;
    let (store, notes) = Store::open(&settings.store.directory).map_err(RunError::Store)?;
    for note in notes {
        tracing::warn!("{note}");
    }
    let (happenings, mut happened) = unbounded_channel();
    let mut house = House::new(Rc::clone(&alarm), client, store, happenings);
    let reading = Reading::take();
    for (name, account) in &settings.accounts {
        let account = account_of(name, account, &settings, &house, &reading).map_err(RunError::Store)?;
        house.add(account);
    }
    house.set_default(settings.default_account.as_deref());

    let bound = socket::bind(&settings.socket.path, settings.socket.mode, group).map_err(RunError::Socket)?;
    let house = Rc::new(RefCell::new(house));
    let (stop_serving, serving_stops) = oneshot::channel::<()>();
    let server = tokio::task::spawn_local(socket::serve(
        vec![bound],
        Rc::new(Desk::new(Rc::clone(&house))),
        limits(),
        async {
            let _ = serving_stops.await;
        },
    ));
    house.borrow_mut().step_all(|| Event::Started);
    if settings.notify.webhook.is_some() || settings.notify.command.is_some() {
        tracing::warn!(
            "{}: notify: this version sends no notifications yet; a PIN is shown here, in the unit's status and at \
             GET /pin",
            settings.source.display()
        );
    }
    systemd::ready();
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        accounts = settings.accounts.len(),
        "listening at {}",
        settings.socket.path.display()
    );
    tracing::info!("{}", house.borrow_mut().sentence());
    systemd::status(&house.borrow_mut().sentence());

    let request_timeout = settings.ecobee.request_timeout;
    serve_until_stopped(&house, &alarm, &mut happened, &mut signals, request_timeout).await;
    house.borrow_mut().dismiss();
    drop(stop_serving);
    if timeout(LAST_ANSWERS, server).await.is_err() {
        tracing::debug!("some clients did not take their last answer in time");
    }
    tracing::info!("stopped");
    Ok(())
}

/// The loop.
async fn serve_until_stopped(
    house: &RefCell<House>,
    alarm: &Alarm,
    happened: &mut UnboundedReceiver<Happening>,
    signals: &mut Signals,
    request_timeout: Duration,
) {
    let watchdog_interval = systemd::watchdog_interval();
    // Where nobody watches, a tick that never comes in practice keeps the loop's shape.
    let pace = watchdog_interval.unwrap_or(Duration::from_secs(24 * 3600));
    let mut watchdog = interval_at(Instant::now() + pace, pace);
    watchdog.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut status_at = Instant::now();
    let mut leaving: Option<Leaving> = None;
    loop {
        let status_is_due = {
            let house = house.borrow();
            house.rearm();
            if let Some(leaving) = &leaving
                && leaving.is_time(&house)
            {
                return;
            }
            house.status_is_due()
        };
        tokio::select! {
            Some(happening) = happened.recv() => house.borrow_mut().happened(happening),
            () = alarm.rung() => house.borrow_mut().alarm_rang(),
            _ = watchdog.tick() => {
                if watchdog_interval.is_some() {
                    systemd::watchdog();
                }
            }
            () = sleep_until(status_at), if status_is_due => {
                status_at = Instant::now() + STATUS_PACE;
                let sentence = house.borrow_mut().sentence();
                systemd::status(&sentence);
            }
            () = sleep_until(leaving.as_ref().map_or(status_at, Leaving::next)), if leaving.is_some() => {}
            wish = signals.next() => match wish {
                Wish::Stop if leaving.is_none() => {
                    let at_most = request_timeout + STOP_ALLOWANCE;
                    leaving = Some(Leaving { since: Instant::now(), at_most });
                    systemd::stopping(at_most);
                    house.borrow_mut().wind_up();
                    if !house.borrow().rests() {
                        tracing::info!("stopping; a call to ecobee is awaited for {} s at most", at_most.as_secs());
                    }
                }
                Wish::Stop => {}
                Wish::Refresh => house.borrow_mut().step_all(|| Event::RefreshWanted),
                Wish::Reload => tracing::warn!("the configuration is read at the start only: restart the daemon instead"),
            }
        }
    }
}

/// As many clients as there are descriptors for, some kept back: a refresh needs a connection and a file.
fn limits() -> socket::Limits {
    let usual = socket::Limits::default();
    let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let spare = descriptors.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let connections = usual.connections.min(spare.saturating_sub(DESCRIPTORS_KEPT_BACK).max(1));
    socket::Limits { connections, ..usual }
}

/// The daemon is about to leave.
struct Leaving {
    since: Instant,
    at_most: Duration,
}

impl Leaving {
    /// Whether it may go: nothing is under way and everything is saved, or it has taken long enough.
    fn is_time(&self, house: &House) -> bool {
        let taken = self.since.elapsed();
        let unsaved = house.unsaved();
        let saving_is_over = unsaved.is_empty() || taken >= STOP_ALLOWANCE;
        let leaves = taken >= self.at_most || (house.rests() && saving_is_over);
        if leaves && !unsaved.is_empty() {
            tracing::error!("leaving, though the newest state of {} could not be saved", unsaved.join(", "));
        }
        leaves
    }

    /// When to look again, if nothing happens before.
    fn next(&self) -> Instant {
        let saves_end = self.since + STOP_ALLOWANCE;
        if saves_end > Instant::now() { saves_end } else { self.since + self.at_most }
    }
}

/// What the configuration names on this machine.
struct Fittings {
    client: Client,
    group: Option<u32>,
}

/// Holds what the configuration names against this machine, and changes nothing.
pub fn check(settings: &Settings) -> Result<(), RunError> {
    fittings(settings).map(drop)
}

fn fittings(settings: &Settings) -> Result<Fittings, RunError> {
    let refuse = |key: &str, what: String| {
        RunError::Unsupported(format!("{}: {key}: {what}", settings.source.display()))
    };
    if settings.store.key.is_some() {
        let what = "encryption at rest is not built yet; leave key-credential and key-file out".to_owned();
        return Err(refuse("store", what));
    }
    let client = Client::new(crate::ecobee::Endpoint {
        url: settings.ecobee.url.to_string(),
        request_timeout: settings.ecobee.request_timeout,
        ca_file: settings.ecobee.ca_file.clone(),
    })
    .map_err(|error| refuse("ecobee", error.to_string()))?;
    let group = settings.socket.group.as_deref().map(|name| {
        name.parse().ok().or_else(|| people::gid_of(name)).ok_or_else(|| {
            let advice = format!("create it (groupadd --system {name}) or name another");
            refuse("socket.group", format!("there is no group {name} on this machine; {advice}"))
        })
    });
    Ok(Fittings { client, group: group.transpose()? })
}

fn account_of(
    name: &str,
    account: &config::Account,
    settings: &Settings,
    house: &House,
    now: &Reading,
) -> Result<Account, StoreError> {
    let fingerprint = Fingerprint::of(&account.api_key);
    let loaded = house.store().load(name, &fingerprint, now)?;
    for note in loaded.notes {
        tracing::warn!(account = name, "{name}: {note}");
    }
    let policy = Policy {
        ahead: settings.refresh.ahead,
        retry_initial: settings.refresh.retry_initial,
        retry_max: settings.refresh.retry_max,
        refusals_before_pin: settings.refresh.refusals_before_pin,
        remind_every: settings.notify.remind_every,
    };
    let record = loaded.record.unwrap_or_default();
    if let Some(granted) = record
        .grant
        .as_ref()
        .and_then(|grant| grant.access.as_ref())
        .and_then(|access| access.token.scope.as_deref())
        && granted != account.scope
    {
        tracing::info!(
            account = name,
            "{name}: the grant has the scope {granted}, the configuration says {}; it takes effect at the next \
             authorization (ecobee-token authorize, or POST /authorize)",
            account.scope
        );
    }
    Ok(Account::new(
        name,
        Keeper::new(policy, record, clock::now(), fastrand::u64(..)),
        account.api_key.clone(),
        &account.scope,
        fingerprint,
        allowed(name, account),
    ))
}

/// Names become numbers once, at the start; a name that nobody has admits nobody.
fn allowed(name: &str, account: &config::Account) -> Allowed {
    if account.allow_users.is_empty() && account.allow_groups.is_empty() {
        return Allowed::Everyone;
    }
    let numbers = |principals: &[Principal], key: &str, lookup: fn(&str) -> Option<u32>| {
        principals
            .iter()
            .filter_map(|principal| match principal {
                Principal::Id(id) => Some(*id),
                Principal::Name(who) => {
                    let number = lookup(who);
                    if number.is_none() {
                        tracing::warn!(
                            account = name,
                            "accounts.{name}.{key}: there is no {who} on this machine"
                        );
                    }
                    number
                }
            })
            .collect()
    };
    Allowed::Only {
        users: numbers(&account.allow_users, "allow-users", people::uid_of),
        groups: numbers(&account.allow_groups, "allow-groups", people::gid_of),
    }
}

/// Which accounts there are, by name.
type Names = BTreeMap<String, usize>;
