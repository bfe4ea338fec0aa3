//! Which accounts have changed, for those who listen.
//!
//! One list serves all listeners, however many: of each account it holds the number of its newest change, and a
//! listener remembers how far it has read. Whoever reads slowly skips what is out of date, and costs no memory.
//! **While nobody listens, nothing is looked at, kept or compared.**

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound::{Excluded, Unbounded};
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use crate::keeper::View;

/// The list of changes. The house writes it, `GET /events` reads it.
#[derive(Debug, Default)]
pub struct Bulletin {
    listeners: Cell<usize>,
    last_listener: Cell<u64>,
    last_change: Cell<u64>,
    changes: RefCell<BTreeMap<u64, Rc<str>>>,
    accounts: RefCell<HashMap<Rc<str>, Newest>>,
    sleepers: RefCell<BTreeMap<u64, Sleeper>>,
}

/// An account's newest change.
#[derive(Debug)]
struct Newest {
    /// 0: none since the first listener came.
    change: u64,
    /// `None`: it is gone.
    seen: Option<View>,
}

#[derive(Debug)]
struct Sleeper {
    /// `None`: any account.
    whose: Option<Rc<str>>,
    waker: Waker,
}

/// One listener, and how far it has read.
pub(super) struct Listener {
    bulletin: Rc<Bulletin>,
    number: u64,
    read: u64,
    whose: Option<Rc<str>>,
}

impl Bulletin {
    /// Whether there is anyone to write for: if not, not even a [`View`] needs to be made.
    pub fn has_listeners(&self) -> bool {
        self.listeners.get() > 0
    }

    /// Whoever listens.
    pub(super) fn listeners(&self) -> usize {
        self.listeners.get()
    }

    /// This is how an account is now; `None`: it is gone. Only what differs from the last time is a change.
    pub fn write(&self, account: &str, view: Option<View>) {
        if !self.has_listeners() {
            return;
        }
        let view = view.map(essence);
        let mut accounts = self.accounts.borrow_mut();
        let name = match accounts.get_key_value(account) {
            Some((_, newest)) if newest.seen == view => return,
            Some((name, _)) => Rc::clone(name),
            None => Rc::from(account),
        };
        let change = self.last_change.get() + 1;
        self.last_change.set(change);
        let mut changes = self.changes.borrow_mut();
        if let Some(before) = accounts.insert(Rc::clone(&name), Newest { change, seen: view }) {
            changes.remove(&before.change);
        }
        self.sleepers.borrow_mut().retain(|_, sleeper| {
            let cares = sleeper.whose.as_ref().is_none_or(|whose| *whose == name);
            if cares {
                sleeper.waker.wake_by_ref();
            }
            !cares
        });
        changes.insert(change, name);
    }

    /// These are the accounts that there are; others that were known are gone.
    pub fn write_all<'a>(&self, accounts: impl Iterator<Item = (&'a str, View)>) {
        if !self.has_listeners() {
            return;
        }
        let mut gone: BTreeSet<Rc<str>> = self.accounts.borrow().keys().map(Rc::clone).collect();
        for (name, view) in accounts {
            gone.remove(name);
            self.write(name, Some(view));
        }
        for name in &gone {
            self.write(name, None);
        }
    }

    /// Wakes all listeners: there is something that no list tells.
    pub(super) fn wake_all(&self) {
        for (_, sleeper) in std::mem::take(&mut *self.sleepers.borrow_mut()) {
            sleeper.waker.wake();
        }
    }
}

/// Of a view, what is a change if it changes: what `/status` shows, without what only counts the seconds.
fn essence(view: View) -> View {
    let pin = view.pin.map(|pin| crate::keeper::PinView { expires_in: Duration::ZERO, ..pin });
    View { pin, trouble_since: None, next_try_at: None, unsaved: false, ..view }
}

impl Listener {
    /// One who wants to hear of one account, or of all. `accounts` is asked if nobody else listens.
    pub(super) fn join(
        bulletin: &Rc<Bulletin>,
        whose: Option<Rc<str>>,
        accounts: impl FnOnce() -> Vec<(Rc<str>, View)>,
    ) -> Self {
        if !bulletin.has_listeners() {
            *bulletin.accounts.borrow_mut() = accounts()
                .into_iter()
                .map(|(name, view)| (name, Newest { change: 0, seen: Some(essence(view)) }))
                .collect();
        }
        bulletin.listeners.set(bulletin.listeners.get() + 1);
        bulletin.last_listener.set(bulletin.last_listener.get() + 1);
        Self {
            bulletin: Rc::clone(bulletin),
            number: bulletin.last_listener.get(),
            read: bulletin.last_change.get(),
            whose,
        }
    }

    /// An account that has changed since it was last named here.
    pub(super) fn next(&mut self) -> Option<Rc<str>> {
        let (change, name) = match &self.whose {
            None => {
                let changes = self.bulletin.changes.borrow();
                let (change, name) = changes.range((Excluded(self.read), Unbounded)).next()?;
                (*change, Rc::clone(name))
            }
            Some(whose) => {
                let change = self.bulletin.accounts.borrow().get(whose)?.change;
                (change, Rc::clone(whose))
            }
        };
        (change > self.read).then(|| {
            self.read = change;
            name
        })
    }

    /// Wakes the listener when there is a next one.
    pub(super) fn sleep(&self, waker: &Waker) {
        let sleeper = Sleeper { whose: self.whose.clone(), waker: waker.clone() };
        self.bulletin.sleepers.borrow_mut().insert(self.number, sleeper);
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let bulletin = &self.bulletin;
        bulletin.sleepers.borrow_mut().remove(&self.number);
        bulletin.listeners.set(bulletin.listeners.get().saturating_sub(1));
        if !bulletin.has_listeners() {
            bulletin.changes.take();
            bulletin.accounts.take();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keeper::{Moment, PinView, State};

    fn view(state: State, failures: u32) -> View {
        View {
            state,
            token: None,
            pin: None,
            failures,
            last_error: None,
            trouble_since: None,
            next_try_at: None,
            last_refresh_at: None,
            unsaved: false,
        }
    }

    fn well() -> View {
        view(State::Authorized, 0)
    }

    fn two() -> Vec<(Rc<str>, View)> {
        vec![("barn".into(), well()), ("home".into(), well())]
    }

    fn rest(listener: &mut Listener) -> Vec<String> {
        std::iter::from_fn(|| listener.next()).map(|name| name.to_string()).collect()
    }

    #[test]
    fn nothing_is_kept_while_nobody_listens() {
        let bulletin = Rc::new(Bulletin::default());
        for failures in 0..100 {
            bulletin.write("home", Some(view(State::Retrying, failures)));
        }
        bulletin.write_all([("home", well())].into_iter());
        assert_eq!(bulletin.last_change.get(), 0);
        assert!(bulletin.accounts.borrow().is_empty());
        let listener = Listener::join(&bulletin, None, two);
        bulletin.write("home", Some(view(State::Retrying, 1)));
        drop(listener);
        assert!(bulletin.accounts.borrow().is_empty() && bulletin.changes.borrow().is_empty());
    }

    #[test]
    fn a_slow_listener_hears_of_each_account_once_and_the_list_does_not_grow() {
        let bulletin = Rc::new(Bulletin::default());
        let mut listener = Listener::join(&bulletin, None, two);
        for failures in 1..=1000 {
            bulletin.write("home", Some(view(State::Retrying, failures)));
            bulletin.write("barn", Some(view(State::Retrying, failures)));
        }
        assert_eq!(bulletin.changes.borrow().len(), 2);
        assert_eq!(rest(&mut listener), ["home", "barn"]);
        assert_eq!(rest(&mut listener), [""; 0]);
        bulletin.write("home", Some(well()));
        assert_eq!(rest(&mut listener), ["home"]);
    }

    #[test]
    fn time_that_goes_by_is_no_change() {
        let shown = |left| {
            let expires_in = Duration::from_secs(left);
            let pin = PinView { pin: "ABCD".to_owned(), expires_at: Moment::from_millis(9), expires_in };
            View {
                pin: Some(pin),
                next_try_at: Some(Moment::from_millis(left.cast_signed())),
                ..view(State::AwaitingUser, 0)
            }
        };
        let bulletin = Rc::new(Bulletin::default());
        let mut listener = Listener::join(&bulletin, None, || vec![("home".into(), shown(540))]);
        bulletin.write("home", Some(shown(539)));
        assert_eq!(rest(&mut listener), [""; 0]);
    }

    #[test]
    fn whoever_listens_for_one_account_hears_of_no_other() {
        let bulletin = Rc::new(Bulletin::default());
        let mut listener = Listener::join(&bulletin, Some("home".into()), two);
        let (waker, woken) = futures_waker();
        listener.sleep(&waker);
        bulletin.write("barn", Some(view(State::Retrying, 1)));
        assert_eq!((rest(&mut listener).len(), woken.load(std::sync::atomic::Ordering::SeqCst)), (0, 0));
        bulletin.write("home", None);
        assert_eq!(rest(&mut listener), ["home"]);
        assert_eq!(woken.load(std::sync::atomic::Ordering::SeqCst), 1);
    }

    #[test]
    fn accounts_come_and_go() {
        let bulletin = Rc::new(Bulletin::default());
        let mut listener = Listener::join(&bulletin, None, two);
        bulletin.write_all([("home", well()), ("shed", well())].into_iter());
        assert_eq!(rest(&mut listener), ["shed", "barn"]);
        bulletin.write_all([("home", well()), ("shed", well())].into_iter());
        assert_eq!(rest(&mut listener), [""; 0]);
    }

    fn futures_waker() -> (Waker, std::sync::Arc<std::sync::atomic::AtomicUsize>) {
        use std::sync::atomic::{AtomicUsize, Ordering};
        struct Count(std::sync::Arc<AtomicUsize>);
        impl std::task::Wake for Count {
            fn wake(self: std::sync::Arc<Self>) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let woken = std::sync::Arc::new(AtomicUsize::new(0));
        (std::sync::Arc::new(Count(std::sync::Arc::clone(&woken))).into(), woken)
    }
}
