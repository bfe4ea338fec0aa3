//! The one loop: gathers events, carries out actions.
//!
//! All accounts live on one thread, a keeper each, and share one alarm. What happens elsewhere (a call to ecobee,
//! a write to the disk, a signal) comes back to the loop as a word in a channel. A client's question does not
//! need the loop: [`Clerk`] steps the keeper on the spot, so that lending a token costs no task switch.
//!
//! Only here is an [`Action`](crate::keeper::Action) carried out, and only here is the watchdog fed.

mod diary;
mod fittings;
mod house;
mod import;
mod outline;
mod reload;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};

use fittings::{Fittings, Tenant, socket_group};
pub use house::Clerk;
use house::{Happening, House};
pub use import::{ImportError, Imported, import};
pub use outline::{Outline, check};
use reload::{Prepared, restart_remark};

use crate::clock::{Alarm, Reading};
use crate::config::{ConfigError, Settings};
use crate::keeper::Event;
use crate::notify::Teller;
use crate::signals::{Signals, Wish};
use crate::socket::{self, Bound, SocketError};
use crate::store::{Store, StoreError};
use crate::systemd;

/// A stopping daemon tries so long to save what could not be saved before, and takes so much longer than
/// `request-timeout` for a call in flight and its saving.
const STOP_ALLOWANCE: Duration = Duration::from_secs(10);

/// The time that clients have to say what they came for and to take their last answers.
const LAST_ANSWERS: Duration = Duration::from_secs(4);

/// What people have not been told until then is tried once more for so long.
const LAST_TELLING: Duration = Duration::from_secs(2);

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
            Self::Store(error) => error.exit_status(),
            Self::Socket(_) => SocketError::EXIT_STATUS,
            Self::Unsupported(_) => ConfigError::EXIT_STATUS,
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

/// Runs the daemon until it is told to stop, at the sockets that systemd has handed over, or at its own if there are
/// none. Must be called on a [`LocalRuntime`](tokio::runtime::LocalRuntime): in a `LocalSet` every request would have the
/// whole loop polled.
pub async fn run(settings: Settings, inherited: Vec<OwnedFd>) -> Result<(), RunError> {
    let system = |what| move |error| RunError::System { what, error };
    let mut signals = Signals::catch().map_err(system("signals cannot be caught"))?;
    let alarm = Rc::new(Alarm::new().map_err(system("a timer cannot be made"))?);
    let fittings = Fittings::of(settings)?;
    let inherited = inherited.into_iter().map(socket::from_inherited);
    let mut listeners: Vec<Bound> = inherited.collect::<Result<_, _>>().map_err(RunError::Socket)?;
    let doors = if listeners.is_empty() { Doors::OurOwn } else { Doors::Inherited };
    let group = match doors {
        Doors::OurOwn => socket_group(&fittings.settings)?,
        Doors::Inherited => None,
    };
    let Fittings { settings, client, policy, tenants, ways, keys, warnings, roads: _ } = fittings;
    let (store, notes) = Store::open_with(&settings.store.directory, keys).map_err(RunError::Store)?;
    for note in notes {
        diary::note(&note);
    }
    let (happenings, happened) = unbounded_channel();
    let teller = Rc::new(Teller::new(ways));
    let mut house = House::new(Rc::clone(&alarm), client, policy, store, Rc::clone(&teller), happenings);
    let all = tenants.len();
    move_in(&mut house, tenants)?;
    house.set_default(settings.default_account.as_deref());
    if let Doors::OurOwn = doors {
        // Not sooner: it is not to be seen before everything else is in order.
        let bound = socket::bind(&settings.socket.path, settings.socket.mode, group);
        listeners.push(bound.map_err(RunError::Socket)?);
    }
    let addresses = listeners.iter().map(Bound::address).collect::<Vec<_>>().join(", ");
    let house = Rc::new(RefCell::new(house));
    let (stop_serving, serving_stops) = oneshot::channel::<()>();
    let server = tokio::task::spawn_local(socket::serve(
        listeners,
        Rc::new(Clerk::new(Rc::clone(&house))),
        limits(),
        async {
            let _ = serving_stops.await;
        },
    ));
    house.borrow_mut().step_all(|| Event::Started);
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    systemd::ready();
    let whose = match doors {
        Doors::OurOwn => "",
        Doors::Inherited => ", handed over by systemd ([socket] of the configuration is not used)",
    };
    tracing::info!(version = env!("CARGO_PKG_VERSION"), accounts = all, "listening at {addresses}{whose}");
    tracing::info!("{}", house.borrow_mut().sentence());
    systemd::status(&house.borrow_mut().sentence());

    let alive =
        Alive { house, settings, doors, stage: Stage::Serving, stop_serving: Some(stop_serving), server };
    alive.go_on(&alarm, happened, &mut signals).await;
    teller.finish(LAST_TELLING).await;
    tracing::info!("stopped");
    Ok(())
}

/// Lets all accounts in, each with what is stored of it, and has the rest of the store looked through. Blocks.
fn move_in(house: &mut House, tenants: BTreeMap<String, Tenant>) -> Result<(), RunError> {
    let reading = Reading::take();
    let all = tenants.len();
    let mut said_at = Instant::now();
    let mut take_time = |status: &dyn Fn() -> String| {
        if said_at.elapsed() >= systemd::EXTEND_EVERY {
            said_at = Instant::now();
            systemd::extend();
            systemd::status(&status());
        }
    };
    for (number, (name, tenant)) in tenants.into_iter().enumerate() {
        take_time(&|| format!("reading the stored grants: {number} of {all}"));
        let loaded = house.store().load(&name, &tenant.fingerprint, &reading).map_err(RunError::Store)?;
        house.move_in(&name, tenant, loaded);
    }
    let others = house.store().tidy(
        |account| house.has(account),
        &reading,
        || take_time(&|| "encrypting what is not in use, or decrypting it".to_owned()),
    );
    for note in others {
        diary::note(&note);
    }
    Ok(())
}

/// Whose socket clients connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doors {
    /// The one that `[socket]` describes.
    OurOwn,
    /// systemd's: `[socket]` is not used.
    Inherited,
}

/// The daemon once it serves.
struct Alive {
    house: Rc<RefCell<House>>,
    /// In use; of `[socket]` and `[store]` what the start found.
    settings: Settings,
    doors: Doors,
    stage: Stage,
    stop_serving: Option<oneshot::Sender<()>>,
    server: JoinHandle<()>,
}

/// How far the daemon is on its way out.
#[derive(Clone, Copy)]
enum Stage {
    Serving,
    /// What is under way is awaited, and saved.
    Finishing {
        since: Instant,
        at_most: Duration,
    },
    /// The last answers are given.
    Closing {
        until: Instant,
    },
}

impl Alive {
    /// The loop.
    async fn go_on(
        mut self,
        alarm: &Alarm,
        mut happened: UnboundedReceiver<Happening>,
        signals: &mut Signals,
    ) {
        let watchdog_interval = systemd::watchdog_interval();
        // Where nobody watches, a tick that never comes in practice keeps the loop's shape.
        let pace = watchdog_interval.unwrap_or(Duration::from_secs(24 * 3600));
        let mut watchdog = interval_at(Instant::now() + pace, pace);
        watchdog.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut extension = interval_at(Instant::now() + systemd::EXTEND_EVERY, systemd::EXTEND_EVERY);
        extension.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut status_at = Instant::now();
        loop {
            self.house.borrow().rearm();
            if let Stage::Finishing { since, at_most } = self.stage
                && is_time_to_go(&self.house.borrow(), since.elapsed(), at_most)
            {
                self.house.borrow_mut().send_home();
                self.stop_serving = None;
                self.stage = Stage::Closing { until: Instant::now() + LAST_ANSWERS };
            }
            let status_is_due = self.house.borrow().status_is_due();
            let leaving = !matches!(self.stage, Stage::Serving);
            let closing = matches!(self.stage, Stage::Closing { .. });
            tokio::select! {
                Some(happening) = happened.recv() => self.happened(happening),
                () = alarm.rung() => self.house.borrow_mut().alarm_rang(),
                _ = watchdog.tick() => {
                    if watchdog_interval.is_some() {
                        systemd::watchdog();
                    }
                }
                _ = extension.tick(), if leaving => systemd::extend(),
                () = sleep_until(status_at), if status_is_due => {
                    status_at = Instant::now() + STATUS_PACE;
                    let sentence = self.house.borrow_mut().sentence();
                    systemd::status(&sentence);
                }
                () = sleep_until(self.stage.look_again_at()), if leaving => {
                    if closing {
                        tracing::debug!("some clients did not take their last answer in time");
                        return;
                    }
                }
                _ = &mut self.server, if closing => return,
                wish = signals.next() => self.wished(wish),
            }
        }
    }

    fn happened(&mut self, happening: Happening) {
        let mut house = self.house.borrow_mut();
        match happening {
            Happening::Replied { account, call, sent_at, outcome } => {
                house.replied(account, call, sent_at, outcome);
            }
            Happening::Saved { account, save, result } => house.saved(account, save, result),
            Happening::Found(found) => house.found(*found),
            Happening::Reread(result) => {
                drop(house);
                self.reread(result);
            }
        }
    }

    fn wished(&mut self, wish: Wish) {
        let mut house = self.house.borrow_mut();
        match (wish, self.stage) {
            (Wish::Stop, Stage::Serving) => {
                let at_most = self.settings.ecobee.request_timeout + STOP_ALLOWANCE;
                self.stage = Stage::Finishing { since: Instant::now(), at_most };
                systemd::stopping();
                house.wind_up();
                if let Some(what) = house.awaited() {
                    let words = format!("stopping; {what}, for {} s at most", at_most.as_secs());
                    tracing::info!("{words}");
                    house.remark(Some(words));
                }
            }
            (Wish::Refresh, Stage::Serving) => house.step_all(|| Event::RefreshWanted),
            (Wish::Reload, Stage::Serving) => house.reread(self.settings.source.clone()),
            (_, Stage::Finishing { .. } | Stage::Closing { .. }) => {}
        }
    }

    /// The configuration has been read again: all of it is taken over, or nothing.
    fn reread(&mut self, result: Result<Box<Prepared>, String>) {
        if !matches!(self.stage, Stage::Serving) {
            return;
        }
        let mut house = self.house.borrow_mut();
        match result {
            Ok(prepared) => {
                let Prepared { fittings, fetched } = *prepared;
                for warning in &fittings.warnings {
                    tracing::warn!("{warning}");
                }
                let remark = restart_remark(&self.settings, &fittings.settings, self.doors);
                let Settings { source, socket, store, .. } = self.settings.clone();
                self.settings = Settings { source, socket, store, ..fittings.settings.clone() };
                house.refurnish(fittings, fetched);
                house.remark(remark);
                tracing::info!(accounts = self.settings.accounts.len(), "reloaded");
            }
            Err(why) => {
                tracing::error!("the configuration is not taken over, and the old one stays in use: {why}");
                house.remark(Some(format!("the new configuration is not in use: {why}")));
            }
        }
        systemd::status(&house.sentence());
        systemd::ready();
        house.reread_is_over(self.settings.source.clone());
    }
}

impl Stage {
    /// When to look again, if nothing happens before.
    fn look_again_at(self) -> Instant {
        match self {
            Self::Serving => Instant::now(),
            Self::Finishing { since, at_most } => {
                let saves_end = since + STOP_ALLOWANCE;
                if saves_end > Instant::now() { saves_end } else { since + at_most }
            }
            Self::Closing { until } => until,
        }
    }
}

/// Whether nothing is under way and everything is saved, or it has taken long enough.
fn is_time_to_go(house: &House, taken: Duration, at_most: Duration) -> bool {
    let unsaved = house.unsaved();
    let saving_is_over = unsaved.is_empty() || taken >= STOP_ALLOWANCE;
    let leaves = taken >= at_most || (!house.is_busy() && saving_is_over);
    if leaves && !unsaved.is_empty() {
        tracing::error!("leaving, though the newest state of {} could not be saved", unsaved.join(", "));
    }
    leaves
}

/// As many clients as there are descriptors for, some kept back: a refresh needs a connection and a file.
fn limits() -> socket::Limits {
    let usual = socket::Limits::default();
    let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let spare = descriptors.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let connections = usual.connections.min(spare.saturating_sub(DESCRIPTORS_KEPT_BACK).max(1));
    socket::Limits { connections, ..usual }
}

/// Sends a test by each way that `[notify]` names; what came of it, way by way.
pub async fn test_notify(settings: Settings) -> Result<Vec<(String, Result<String, String>)>, RunError> {
    let source = settings.source.display().to_string();
    let ways = Fittings::of(settings)?.ways;
    if ways.is_none() {
        return Err(RunError::Unsupported(format!(
            "{source}: notify: neither webhook nor command is set, so nobody is told of anything; set one of them"
        )));
    }
    Ok(ways.test().await)
}
