//! How many may sit here at once.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;

use tokio::sync::Notify;

use super::Limits;

const ROOT: u32 = 0;

/// The counts of open connections.
pub(super) struct Seats {
    most: usize,
    most_a_uid: usize,
    taken: Cell<usize>,
    by_uid: RefCell<HashMap<u32, usize>>,
    freed: Notify,
}

/// The right to one connection; dropped with it.
pub(super) struct Seat {
    seats: Rc<Seats>,
    uid: u32,
}

/// Why there is no seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// All are taken.
    Hall,
    /// This user has taken so many.
    User(u32),
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hall => write!(f, "too many connections are open"),
            Self::User(uid) => write!(f, "uid {uid} has too many connections open"),
        }
    }
}

impl Seats {
    pub(super) fn new(limits: &Limits) -> Rc<Self> {
        Rc::new(Self {
            most: limits.connections,
            most_a_uid: limits.connections_a_uid,
            taken: Cell::new(0),
            by_uid: RefCell::default(),
            freed: Notify::new(),
        })
    }

    pub(super) fn take(seats: &Rc<Self>, uid: u32) -> Result<Seat, Full> {
        if seats.taken.get() >= seats.most {
            return Err(Full::Hall);
        }
        let mut by_uid = seats.by_uid.borrow_mut();
        let of_user = by_uid.entry(uid).or_default();
        if uid != ROOT && *of_user >= seats.most_a_uid {
            return Err(Full::User(uid));
        }
        *of_user += 1;
        seats.taken.set(seats.taken.get() + 1);
        Ok(Seat { seats: Rc::clone(seats), uid })
    }

    /// How many connections there are.
    pub(super) fn taken(&self) -> usize {
        self.taken.get()
    }

    /// Waits for the next connection to end.
    pub(super) async fn one_freed(&self) {
        self.freed.notified().await;
    }

    /// Waits until no connection is left.
    pub(super) async fn all_freed(&self) {
        while self.taken.get() > 0 {
            self.one_freed().await;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut by_uid = self.seats.by_uid.borrow_mut();
        if let Some(of_user) = by_uid.get_mut(&self.uid) {
            *of_user = of_user.saturating_sub(1);
            if *of_user == 0 {
                by_uid.remove(&self.uid);
            }
        }
        self.seats.taken.set(self.seats.taken.get().saturating_sub(1));
        self.seats.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::{Full, Limits, Seats};

    fn seats() -> std::rc::Rc<Seats> {
        Seats::new(&Limits { connections: 4, connections_a_uid: 2, ..Limits::default() })
    }

    #[test]
    fn a_user_gets_so_many_and_leaves_room_for_others() {
        let seats = seats();
        let held: Vec<_> = (0..2).map(|_| Seats::take(&seats, 1000)).collect();
        assert!(held.iter().all(Result::is_ok));
        assert_eq!(Seats::take(&seats, 1000).err(), Some(Full::User(1000)));
        assert!(Seats::take(&seats, 1001).is_ok());
    }

    #[test]
    fn root_is_bound_by_the_hall_only() {
        let seats = seats();
        let held: Vec<_> = (0..4).map(|_| Seats::take(&seats, 0)).collect();
        assert!(held.iter().all(Result::is_ok));
        assert_eq!(Seats::take(&seats, 0).err(), Some(Full::Hall));
        drop(held);
        assert!(Seats::take(&seats, 1000).is_ok(), "a seat that was left is free again");
    }

    #[test]
    fn whoever_is_turned_away_occupies_nothing() {
        let seats = seats();
        let held = [Seats::take(&seats, 7), Seats::take(&seats, 7)];
        for _ in 0..10 {
            assert!(Seats::take(&seats, 7).is_err());
        }
        drop(held);
        assert_eq!(seats.taken.get(), 0);
        assert!(seats.by_uid.borrow().is_empty());
    }
}
