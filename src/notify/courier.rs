//! What is still to be told one way: in which order, how fast, and for how long.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::message::{Message, Parcel};
use super::{Again, Delivery, Way};
use crate::clock;
use crate::keeper::PinView;

/// The first pause after a failure; it doubles …
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// … up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(15 * 60);
/// A server's own wish is heeded up to this.
const LONGEST_WISH: Duration = Duration::from_secs(3600);
/// What could not be told by then is given up: news of yesterday.
const TOO_OLD: Duration = Duration::from_secs(24 * 3600);
/// So many messages may go one after the other …
const BURST: u32 = 8;
/// … then one in such a time: a phone that never stops is a phone that is switched off.
const SPACING: Duration = Duration::from_secs(60);

/// Tells what is to be told in one way, in a task that ends when nothing is left.
#[derive(Default)]
pub(super) struct Courier {
    bag: RefCell<Bag>,
    changed: Notify,
}

/// What a courier carries.
#[derive(Default)]
struct Bag {
    way: Option<Rc<Way>>,
    /// Of each account, the newest.
    waiting: BTreeMap<String, Waiting>,
    last_number: u64,
    failures: u32,
    held_until: Option<Instant>,
    pace: Pace,
    season: Season,
    task: Option<JoinHandle<()>>,
}

struct Waiting {
    message: Message,
    /// Tells this message from the one that takes its place.
    number: u64,
    since: Instant,
}

/// Whether there is time for a second attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Season {
    #[default]
    Open,
    /// The daemon leaves: each way gets one more try, and everything goes at once.
    Closing,
}

/// How many messages may go now.
struct Pace {
    left: u32,
    /// When `left` was last made more.
    since: Option<Instant>,
}

impl Default for Pace {
    fn default() -> Self {
        Self { left: BURST, since: None }
    }
}

impl Pace {
    fn fill(&mut self, now: Instant) {
        let Some(since) = self.since.filter(|_| self.left < BURST) else {
            self.since = Some(now);
            return;
        };
        let earned = u32::try_from((now - since).as_secs() / SPACING.as_secs()).unwrap_or(BURST).min(BURST);
        self.left = (self.left + earned).min(BURST);
        self.since = Some(since + SPACING * earned);
    }

    fn next(&self, now: Instant) -> Instant {
        self.since.unwrap_or(now) + SPACING
    }
}

/// What a courier does next.
enum Step {
    Rest,
    Wait(Instant),
    Go { way: Rc<Way>, parcel: Box<Parcel>, of: Vec<(String, u64)> },
}

impl Courier {
    pub(super) fn change(self: &Rc<Self>, way: Option<Way>) {
        {
            let mut bag = self.bag.borrow_mut();
            if way.is_none() {
                bag.waiting.clear();
            }
            bag.way = way.map(Rc::new);
            // What kept the old one away says nothing of the new one.
            bag.held_until = None;
            bag.failures = 0;
        }
        self.changed.notify_one();
    }

    pub(super) fn tell(self: &Rc<Self>, account: &str, message: Message) {
        let mut bag = self.bag.borrow_mut();
        if bag.way.is_none() {
            return;
        }
        bag.last_number += 1;
        let waiting = Waiting { message, number: bag.last_number, since: Instant::now() };
        bag.waiting.insert(account.to_owned(), waiting);
        if bag.task.as_ref().is_none_or(JoinHandle::is_finished) {
            bag.task = Some(tokio::task::spawn_local(Rc::clone(self).run()));
        }
        self.changed.notify_one();
    }

    pub(super) fn pin_shown(&self, account: &str, pin: &PinView) {
        if let Some(waiting) = self.bag.borrow_mut().waiting.get_mut(account) {
            waiting.message.set_pin(pin);
            self.changed.notify_one();
        }
    }

    pub(super) fn forget(&self, account: &str) {
        self.bag.borrow_mut().waiting.remove(account);
    }

    /// The daemon leaves: what waits for its time goes now, once.
    pub(super) fn hurry(&self) {
        let mut bag = self.bag.borrow_mut();
        bag.season = Season::Closing;
        bag.held_until = None;
        self.changed.notify_one();
    }

    /// Until nothing more is tried; what is still being tried at the deadline is broken off.
    pub(super) async fn rest(&self, deadline: Instant) {
        let task = self.bag.borrow_mut().task.take();
        let Some(mut task) = task else { return };
        if timeout_at(deadline, &mut task).await.is_err() {
            task.abort();
            // Its end is that of the command that it runs.
            let _ = task.await;
        }
    }

    /// Says what will not be told any more.
    pub(super) fn give_up(&self) {
        let mut bag = self.bag.borrow_mut();
        let waiting = std::mem::take(&mut bag.waiting);
        let Some(way) = &bag.way else { return };
        for (account, waiting) in waiting.iter().take(BURST as usize) {
            tracing::warn!(
                account,
                "{account}: {} was not told: {way} did not take it",
                waiting.message.event().name()
            );
        }
        if waiting.len() > BURST as usize {
            tracing::warn!(
                "{way} did not take the messages of {} more accounts",
                waiting.len() - BURST as usize
            );
        }
    }

    async fn run(self: Rc<Self>) {
        loop {
            let step = self.bag.borrow_mut().step(Instant::now());
            match step {
                Step::Rest => return,
                Step::Wait(until) => {
                    tokio::select! {
                        () = sleep_until(until) => {}
                        () = self.changed.notified() => {}
                    }
                }
                Step::Go { way, parcel, of } => {
                    let delivery = way.deliver(&parcel).await;
                    self.bag.borrow_mut().delivered(&way, &parcel, &of, delivery, Instant::now());
                }
            }
        }
    }
}

impl Bag {
    fn step(&mut self, now: Instant) -> Step {
        self.drop_old(now);
        let Some(way) = self.way.clone().filter(|_| !self.waiting.is_empty()) else { return Step::Rest };
        let closing = self.season == Season::Closing;
        if closing && self.failures > 0 && self.held_until.is_some() {
            return Step::Rest;
        }
        if let Some(until) = self.held_until.filter(|&until| now < until) {
            return Step::Wait(until);
        }
        let moment = clock::now();
        let ready = || self.waiting.iter().filter(|(_, waiting)| waiting.message.holds(moment));
        let Some(first) = ready().min_by_key(|(_, waiting)| waiting.number) else {
            // PINs that have ended: the keeper asks for the next, and then they are told with that.
            return if closing { Step::Rest } else { Step::Wait(self.too_old_at(now)) };
        };
        let event = first.1.message.event();
        let alike: Vec<_> = ready().filter(|(_, waiting)| waiting.message.event() == event).collect();
        self.pace.fill(now);
        if self.pace.left == 0 && !closing {
            return Step::Wait(self.pace.next(now));
        }
        let together = alike.len() > self.pace.left as usize && alike.len() > 1;
        let chosen = if together { alike } else { vec![first] };
        let parcel = if let [(account, waiting)] = chosen[..] {
            Parcel::of(account, &waiting.message)
        } else {
            let crowd: Vec<_> =
                chosen.iter().map(|(account, waiting)| (account.as_str(), &waiting.message)).collect();
            Parcel::of_crowd(&first.1.message, &crowd)
        };
        let parcel = Box::new(parcel);
        let of = chosen.iter().map(|(account, waiting)| ((*account).clone(), waiting.number)).collect();
        self.pace.left = self.pace.left.saturating_sub(1);
        Step::Go { way, parcel, of }
    }

    fn too_old_at(&self, now: Instant) -> Instant {
        self.waiting.values().map(|waiting| waiting.since + TOO_OLD).min().unwrap_or(now)
    }

    fn drop_old(&mut self, now: Instant) {
        let Some(way) = &self.way else { return };
        self.waiting.retain(|account, waiting| {
            let keeps = now < waiting.since + TOO_OLD;
            if !keeps {
                let event = waiting.message.event().name();
                tracing::warn!(account, "{account}: {event} is given up: {way} has not taken it for a day");
            }
            keeps
        });
    }

    fn delivered(
        &mut self,
        way: &Rc<Way>,
        parcel: &Parcel,
        of: &[(String, u64)],
        delivery: Delivery,
        now: Instant,
    ) {
        let whom = match of {
            [(account, _)] => account.clone(),
            _ => format!("{} accounts", of.len()),
        };
        let event = parcel.event.name();
        // The settings may have changed meanwhile: then this says nothing of the new way.
        let same_way = self.way.as_ref().is_some_and(|present| Rc::ptr_eq(present, way));
        match delivery {
            Delivery::Told(words) => {
                self.remove(of);
                let failures = if same_way { std::mem::take(&mut self.failures) } else { 0 };
                self.held_until = None;
                if failures > 0 {
                    tracing::info!("{whom}: {event} told at last, after {failures} failures: {way}: {words}");
                } else {
                    tracing::info!("{whom}: {event} told: {way}: {words}");
                }
            }
            Delivery::Failed { reason, again: Again::Never } => {
                self.remove(of);
                tracing::warn!("{whom}: {event} was not told: {way}: {reason}");
            }
            Delivery::Failed { reason, again: Again::After(wish) } => {
                // A message that did not go does not count.
                self.pace.left = (self.pace.left + 1).min(BURST);
                if !same_way {
                    return;
                }
                self.failures = self.failures.saturating_add(1);
                let pause = pause_after(self.failures).max(wish.min(LONGEST_WISH));
                self.held_until = Some(now + pause);
                if self.failures == 1 {
                    tracing::warn!("{whom}: {event} is not told yet: {way}: {reason}; trying again");
                } else {
                    let failures = self.failures;
                    tracing::debug!(
                        failures,
                        "{whom}: {event} is not told yet: {way}: {reason}; trying again"
                    );
                }
            }
        }
    }

    /// What has been told, unless something newer has taken its place meanwhile.
    fn remove(&mut self, of: &[(String, u64)]) {
        for (account, number) in of {
            if self.waiting.get(account).is_some_and(|waiting| waiting.number == *number) {
                self.waiting.remove(account);
            }
        }
    }
}

/// Doubling, with up to a quarter taken off, so that many daemons do not knock at once.
fn pause_after(failures: u32) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST_PAUSE);
    doubled.mul_f64(1.0 - fastrand::f64() / 4.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keeper::Notice;
    use crate::notify::{Command, Naming};

    const MINUTE: Duration = Duration::from_secs(60);

    fn bag(accounts: usize, message: impl Fn() -> Message) -> Bag {
        let way = Command::new(&["/bin/true".to_owned()]).map(|command| Rc::new(Way::Command(command)));
        let mut bag = Bag { way, ..Bag::default() };
        for number in 1..=accounts {
            tell(&mut bag, &format!("a{number:02}"), message());
        }
        bag
    }

    fn tell(bag: &mut Bag, account: &str, message: Message) {
        bag.last_number += 1;
        let waiting = Waiting { message, number: bag.last_number, since: Instant::now() };
        bag.waiting.insert(account.to_owned(), waiting);
    }

    fn pin(text: &str, lifetime: Duration) -> PinView {
        PinView { pin: text.to_owned(), expires_at: clock::now() + lifetime, expires_in: lifetime }
    }

    fn message(notice: Notice) -> Message {
        Message { notice, naming: Naming::Needless }
    }

    fn lost() -> Message {
        message(Notice::TokenLost { reason: "no route".to_owned() })
    }

    fn told() -> Delivery {
        Delivery::Told("done".to_owned())
    }

    fn failed(again: Again) -> Delivery {
        Delivery::Failed { reason: "no".to_owned(), again }
    }

    /// Lets the courier go once; whom it tells, or `None` if it does not go.
    fn go(bag: &mut Bag, now: Instant, delivery: Delivery) -> Option<Vec<String>> {
        let Step::Go { way, parcel, of } = bag.step(now) else { return None };
        bag.delivered(&way, &parcel, &of, delivery, now);
        Some(of.into_iter().map(|(account, _)| account).collect())
    }

    fn waits_until(bag: &mut Bag, now: Instant) -> Duration {
        match bag.step(now) {
            Step::Wait(until) => until - now,
            Step::Rest => panic!("it rests"),
            Step::Go { .. } => panic!("it goes"),
        }
    }

    #[test]
    fn up_to_eight_accounts_are_each_told_by_themselves_and_in_order() {
        let mut bag = bag(8, lost);
        let now = Instant::now();
        for number in 1..=8 {
            assert_eq!(go(&mut bag, now, told()), Some(vec![format!("a{number:02}")]));
        }
        assert!(matches!(bag.step(now), Step::Rest));
    }

    #[test]
    fn more_than_that_are_told_together() {
        let mut bag = bag(9, lost);
        assert_eq!(go(&mut bag, Instant::now(), told()).map(|of| of.len()), Some(9));
        assert!(matches!(bag.step(Instant::now()), Step::Rest));
    }

    #[test]
    fn after_a_burst_one_message_a_minute_goes_with_all_that_has_gathered() {
        let mut bag = bag(8, lost);
        let now = Instant::now();
        while go(&mut bag, now, told()).is_some() {}
        tell(&mut bag, "b1", lost());
        tell(&mut bag, "b2", lost());
        assert_eq!(waits_until(&mut bag, now), MINUTE);
        assert_eq!(go(&mut bag, now + MINUTE, told()), Some(vec!["b1".to_owned(), "b2".to_owned()]));
        tell(&mut bag, "b3", lost());
        assert_eq!(waits_until(&mut bag, now + MINUTE), MINUTE);
        assert_eq!(go(&mut bag, now + 8 * MINUTE, told()).map(|of| of.len()), Some(1));
        for name in ["c1", "c2", "c3", "c4", "c5", "c6"] {
            tell(&mut bag, name, lost());
        }
        for _ in 0..6 {
            assert_eq!(
                go(&mut bag, now + 8 * MINUTE, told()).map(|of| of.len()),
                Some(1),
                "a rest gives them back"
            );
        }
    }

    #[test]
    fn different_events_are_never_told_together() {
        let mut bag = bag(9, lost);
        tell(&mut bag, "a05", message(Notice::TokenBack));
        let now = Instant::now();
        assert_eq!(go(&mut bag, now, told()).map(|of| of.len()), Some(1), "eight are no crowd");
        let mut others = 0;
        while let Some(of) = go(&mut bag, now, told()) {
            assert!(of.len() == 1 || !of.contains(&"a05".to_owned()), "{of:?}");
            others += of.len();
        }
        assert_eq!(others + bag.waiting.len(), 8);
    }

    #[test]
    fn failures_double_the_pause_up_to_a_quarter_of_an_hour_and_cost_no_message() {
        let mut bag = bag(1, lost);
        let mut now = Instant::now();
        for failures in 1..=20_u32 {
            assert!(go(&mut bag, now, failed(Again::After(Duration::ZERO))).is_some(), "attempt {failures}");
            let full = (FIRST_PAUSE * (1 << (failures - 1).min(10))).min(LONGEST_PAUSE);
            let pause = waits_until(&mut bag, now);
            assert!(pause <= full && pause >= full * 3 / 4, "{failures}: {pause:?}");
            now += pause;
        }
        assert_eq!(bag.pace.left, BURST);
    }

    #[test]
    fn a_servers_wish_is_heeded_within_reason() {
        let wished = |seconds| {
            let mut bag = bag(1, lost);
            let now = Instant::now();
            let wish = Again::After(Duration::from_secs(seconds));
            assert!(go(&mut bag, now, failed(wish)).is_some());
            waits_until(&mut bag, now)
        };
        assert_eq!(wished(600), Duration::from_secs(600));
        assert_eq!(wished(1_000_000), LONGEST_WISH);
        assert!(wished(1) >= FIRST_PAUSE * 3 / 4);
    }

    #[test]
    fn what_is_refused_for_good_is_dropped_and_holds_nothing_up() {
        let mut bag = bag(2, lost);
        let now = Instant::now();
        assert_eq!(go(&mut bag, now, failed(Again::Never)), Some(vec!["a01".to_owned()]));
        assert_eq!(go(&mut bag, now, told()), Some(vec!["a02".to_owned()]));
        assert!(matches!(bag.step(now), Step::Rest));
    }

    #[test]
    fn what_nobody_took_for_a_day_is_given_up() {
        let mut bag = bag(1, lost);
        let now = Instant::now();
        assert!(matches!(bag.step(now + TOO_OLD - Duration::from_secs(1)), Step::Go { .. }));
        assert!(matches!(bag.step(now + TOO_OLD + Duration::from_secs(1)), Step::Rest));
        assert!(bag.waiting.is_empty());
    }

    #[test]
    fn news_that_came_while_the_older_was_being_told_is_told_too() {
        let mut bag = bag(1, lost);
        let now = Instant::now();
        let Step::Go { way, parcel, of } = bag.step(now) else { panic!("it goes") };
        tell(&mut bag, "a01", message(Notice::TokenBack));
        bag.delivered(&way, &parcel, &of, told(), now);
        let Step::Go { parcel, .. } = bag.step(now) else { panic!("it goes again") };
        assert_eq!(parcel.event.name(), "token-back");
    }

    #[test]
    fn a_pin_that_has_ended_waits_for_its_successor() {
        let mut bag = bag(1, || message(Notice::PinReminder(pin("OLD", Duration::ZERO))));
        let now = Instant::now();
        assert!(waits_until(&mut bag, now) > Duration::from_secs(23 * 3600));
        let waiting = bag.waiting.get_mut("a01").expect("it waits");
        waiting.message.set_pin(&pin("NEW", MINUTE));
        let Step::Go { parcel, .. } = bag.step(now) else { panic!("it goes") };
        assert_eq!(parcel.facts.pin.as_deref(), Some("NEW"));
    }

    #[test]
    fn whoever_leaves_tries_once_more_and_no_more() {
        let mut bag = bag(1, lost);
        let now = Instant::now();
        assert!(go(&mut bag, now, failed(Again::After(Duration::ZERO))).is_some());
        bag.season = Season::Closing;
        bag.held_until = None;
        assert!(go(&mut bag, now, failed(Again::After(Duration::ZERO))).is_some());
        assert!(matches!(bag.step(now), Step::Rest));
        assert_eq!(bag.waiting.len(), 1, "and it is said to be lost");
    }
}
