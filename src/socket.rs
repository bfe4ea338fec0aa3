//! Lends the bearer token to local readers: HTTP/1.1 on Unix stream sockets.
//!
//! Nothing is decided here. A request becomes an [`Ask`], the keeper's [`Answer`] becomes a response; how long
//! anyone waits and what a token is good for is the keeper's business, and it is reached through [`Lender`].
//!
//! ```text
//! bind      the path: its folder, leftovers of dead daemons, mode and group, sockets that systemd hands over
//! serve     the accept loop, here below
//! seats     how many may sit here at once
//! door      who found no seat
//! rarely    how often one user may fill a line of the log
//! visit     one connection from the accept to its end, with its one timer
//! wire      its bytes, and where it stands: receiving, waiting, sending, idle
//! routes    the table of what may be asked
//! query     ?min_ttl= and ?wait=
//! form      Accept: text or JSON, and in which dialect
//! request   one request → one response
//! answers   how tokens, PINs and states are written
//! problem   how a refusal is written
//! body      what is written at once, and what comes over time
//! events    the accounts' changes as a stream
//! bulletin  who has changed, and who wants to know
//! measures  which metrics there are, how they are written, and how requests are counted
//! ```
//!
//! **Whoever connects is known before the first byte**: the peer's credentials are taken at the accept.
//! **No client can hold up another**: every connection has its own task, its limits and its deadline.
//! **No bytes can bring it down**: there is no index, no unwrap and no recursion on what a client sent.

mod answers;
mod bind;
mod body;
mod bulletin;
mod door;
mod events;
mod form;
mod measures;
mod problem;
mod query;
mod rarely;
mod request;
mod routes;
mod seats;
mod visit;
mod wire;

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep};

pub use bind::{Bound, SocketError, bind, from_inherited};
pub use bulletin::Bulletin;
pub use query::LONGEST_WAIT;

use crate::clock;
use crate::keeper::{Answer, Ask, Moment, View};
use crate::metrics::Counts;
use door::Door;
use events::Pulse;
use measures::Requests;
use problem::Problem;
use rarely::Rarely;
use seats::Seats;
use wire::Wire;

/// The house behind the socket, as the socket sees it.
pub trait Lender: 'static {
    /// How the house calls one of its accounts.
    type Account: Copy + 'static;
    /// An answer that is still to come. Dropping it means that the client hung up. `None`: the account is not what it
    /// was any more, and whoever goes by its name now is to be asked.
    type Waiting: Future<Output = Option<Answer>>;

    /// The account of a plain `/token`; `None` if there are several and no default, or none at all.
    fn default_account(&self) -> Option<Self::Account>;
    /// Its name.
    fn default_name(&self) -> Option<String>;
    /// The account of this name.
    fn account(&self, name: &str) -> Option<Self::Account>;
    /// All accounts, in the order of their names.
    fn accounts(&self) -> Vec<(String, Self::Account)>;
    /// The first account in the order of their names, or the one that follows this name.
    fn after(&self, name: Option<&str>) -> Option<(String, Self::Account)>;
    /// Where it is written down that an account has changed.
    fn bulletin(&self) -> Rc<Bulletin>;
    /// What has happened so far, in numbers.
    fn counts(&self) -> Rc<Counts>;
    /// Whether `peer` may have this account's tokens (`allow-users`, `allow-groups`). `groups` are those that `peer` is in
    /// besides, where they are known.
    fn may_have(&self, account: Self::Account, peer: &Peer, groups: Option<&[u32]>) -> Admission;
    /// All groups of a user; `None` if nobody can say just now.
    fn groups_of(&self, uid: u32) -> impl Future<Output = Option<Rc<[u32]>>>;
    /// Puts a question to the account's keeper.
    fn ask(&self, account: Self::Account, ask: Ask) -> Asked<Self::Waiting>;
    /// What anyone may know of the account.
    fn view(&self, account: Self::Account) -> View;
    /// Whether the house will close soon: no client is to settle down any more, nor to come in where it can as well
    /// wait for the next house.
    fn is_leaving(&self) -> bool {
        false
    }
    /// The wall time of a moment, in milliseconds since 1970.
    fn wall_millis_of(&self, moment: Moment) -> i64;
    /// The present moment; tests have one of their own.
    fn now(&self) -> Moment {
        clock::now()
    }
}

/// Whether somebody may have an account's tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Yes.
    Granted,
    /// No.
    Denied,
    /// That depends on groups that are not known yet.
    Depends,
}

/// What a question comes to.
#[derive(Debug)]
pub enum Asked<W> {
    /// The answer.
    Now(Answer),
    /// The answer comes later.
    Later(W),
}

/// Who is at the other end, as the kernel knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The user.
    pub uid: u32,
    /// The user's main group.
    pub gid: u32,
    /// The process that connected, where the kernel says so.
    pub pid: Option<i32>,
}

/// How much of the house one may occupy, and for how long.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections in all.
    pub connections: usize,
    /// Connections of one user other than root.
    pub connections_a_uid: usize,
    /// How long a request may take to arrive, and an answer to be read.
    pub stall: Duration,
    /// How long a connection may stay without a request.
    pub idle: Duration,
    /// How often a stream of events says something, for the sake of saying something.
    pub keep_alive: Duration,
    /// How long the end is put off for a request that is still to arrive.
    pub last_words: Duration,
    /// How long no connection is accepted after one could not be, unless another ends before.
    pub pause: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            connections_a_uid: 1024,
            stall: Duration::from_secs(30),
            idle: Duration::from_secs(300),
            keep_alive: Duration::from_secs(30),
            last_words: Duration::from_secs(2),
            pause: Duration::from_millis(250),
        }
    }
}

/// Where clients are received: what all connections share.
struct Hall<L> {
    lender: Rc<L>,
    limits: Limits,
    seats: Rc<Seats>,
    door: Door,
    /// Whether no further request is wanted.
    closing: watch::Sender<bool>,
    /// What was answered so far.
    requests: Requests,
    /// How long the last text of them was: the next will not be much longer.
    length_of_metrics: Cell<usize>,
    pulse: Pulse,
    /// Who was written into the diary lately.
    written_down: Rarely,
}

impl<L: Lender> Hall<L> {
    /// Whether an answer that is given now ends its connection.
    fn is_last_answer(&self) -> bool {
        *self.closing.borrow() || self.lender.is_leaving()
    }
}

/// Serves all listeners until `stop`; then answers what was asked, closes what is idle, and returns.
///
/// Must run where tasks may be local to the thread. A socket that was bound here is gone from its path as soon as `stop` is.
/// At one that was inherited nobody is accepted from the moment that the lender is leaving: whoever comes waits there
/// for the next daemon.
pub async fn serve<L: Lender>(
    listeners: Vec<Bound>,
    lender: Rc<L>,
    limits: Limits,
    stop: impl Future<Output = ()>,
) {
    let hall = Rc::new(Hall {
        lender,
        seats: Seats::new(&limits),
        door: Door::default(),
        pulse: Pulse::new(limits.keep_alive),
        limits,
        closing: watch::Sender::new(false),
        requests: Requests::default(),
        length_of_metrics: Cell::default(),
        written_down: Rarely::default(),
    });
    let mut stop = pin!(stop);
    // Setting a timer that rings before all others costs tokio a system call. This one, set once in a while, rings
    // before those of all connections that come meanwhile, and spares them that.
    let mut first_timer = pin!(sleep(hall.limits.stall));
    let mut failures = 0_u64;
    loop {
        match next(&listeners, &hall, stop.as_mut(), first_timer.as_mut()).await {
            Next::Stop => break,
            Next::Arrived(stream) => {
                if failures > 0 {
                    tracing::info!(failures, "connections are accepted again");
                    failures = 0;
                }
                if first_timer.is_elapsed() {
                    first_timer.as_mut().reset(Instant::now() + hall.limits.stall);
                }
                receive(&hall, stream);
            }
            Next::Failed(error) => {
                failures += 1;
                if failures == 1 {
                    tracing::warn!(%error, "no connection can be accepted just now");
                }
                // The usual reason is that descriptors have run out; the end of a connection frees one.
                let _ = tokio::time::timeout(hall.limits.pause, hall.seats.one_freed()).await;
            }
        }
    }
    drop(listeners);
    hall.closing.send_replace(true);
    hall.lender.bulletin().wake_all();
    hall.seats.all_freed().await;
}

/// What the accept loop wakes up for.
enum Next {
    Stop,
    Arrived(UnixStream),
    Failed(io::Error),
}

async fn next<L: Lender>(
    listeners: &[Bound],
    hall: &Hall<L>,
    mut stop: Pin<&mut impl Future<Output = ()>>,
    mut first_timer: Pin<&mut Sleep>,
) -> Next {
    poll_fn(|context| {
        if stop.as_mut().poll(context).is_ready() {
            return Poll::Ready(Next::Stop);
        }
        let leaving = hall.lender.is_leaving();
        for bound in listeners.iter().filter(|bound| !(leaving && bound.outlives_us())) {
            match bound.poll_accept(context) {
                Poll::Ready(Ok(stream)) => return Poll::Ready(Next::Arrived(stream)),
                Poll::Ready(Err(error)) => return Poll::Ready(Next::Failed(error)),
                Poll::Pending => {}
            }
        }
        if !first_timer.is_elapsed() {
            let _ = first_timer.as_mut().poll(context);
        }
        Poll::Pending
    })
    .await
}

fn receive<L: Lender>(hall: &Rc<Hall<L>>, stream: UnixStream) {
    let peer = match stream.peer_cred() {
        Ok(found) => Peer { uid: found.uid(), gid: found.gid(), pid: found.pid() },
        Err(error) => {
            tracing::debug!(%error, "a connection without credentials is closed");
            return;
        }
    };
    match Seats::take(&hall.seats, peer.uid) {
        Ok(seat) => {
            tokio::task::spawn_local(visit::attend(Rc::clone(hall), Wire::new(stream), peer, seat));
        }
        Err(full) => {
            hall.requests.turned_away.count();
            if hall.written_down.is_due(peer.uid) {
                tracing::warn!(uid = peer.uid, pid = peer.pid, "turned away: {full}");
            }
            // A fresh connection has room for this much, whether or not tokio has heard so yet; whoever closed it
            // already misses nothing.
            let _ = rustix::io::write(&stream, &Problem::too_many_connections(full).as_last_words());
            if let Some(going) = hall.door.see_off(stream) {
                tokio::task::spawn_local(going);
            }
        }
    }
}
