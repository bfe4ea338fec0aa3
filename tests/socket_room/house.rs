//! A scripted house behind a real socket.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::ops::Bound;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::Command;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use ecobee_tokend::keeper::{
    AccessToken, Answer, Ask, Moment, PinView, Problem, State, TokenView, View, Want,
};
use ecobee_tokend::metrics::Counts;
use ecobee_tokend::secret::Secret;
use ecobee_tokend::socket::{self, Admission, Asked, Bulletin, Lender, Limits, Peer};
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;

use crate::client::{Client, Response, post};

/// Longer than anything here takes; whoever waits so long has found a bug.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The group that may have tokens, where it comes to groups.
pub(crate) const HVAC: u32 = 50;

pub(crate) const TOKEN: &str = "fresh.token-1";

/// The moment at which all of this happens, and its wall time: 2025-11-21T20:00:00Z.
const NOW: Moment = Moment::from_millis(1_000_000);
const WALL_NOW: i64 = 1_763_755_200_000;

/// What the scripted keeper does with a question.
pub(crate) enum Reply {
    Token {
        token_type: &'static str,
        scope: Option<&'static str>,
        promised: Duration,
    },
    Pin,
    Problem(Problem),
    /// It thinks until it is told to go on, and then hands out the token.
    WhenTold(oneshot::Receiver<()>),
    /// It thinks for ever.
    Never,
}

pub(crate) fn plain_token() -> Reply {
    Reply::Token {
        token_type: "Bearer",
        scope: Some("smartWrite"),
        promised: Duration::from_millis(2_999_999),
    }
}

pub(crate) fn pin() -> PinView {
    let expires_in = Duration::from_millis(540_900);
    PinView { pin: "ABCD-EFGH".to_owned(), expires_at: NOW + expires_in, expires_in }
}

/// An account in its best days.
pub(crate) fn healthy() -> View {
    View {
        state: State::Authorized,
        token: Some(TokenView {
            issued_at: NOW - Duration::from_secs(600),
            expires_at: NOW + Duration::from_secs(3000),
            refresh_at: NOW + Duration::from_secs(2400),
        }),
        pin: None,
        failures: 0,
        last_error: None,
        trouble_since: None,
        next_try_at: None,
        last_refresh_at: Some(NOW - Duration::from_secs(600)),
        unsaved: false,
    }
}

/// An account that waits for a person.
pub(crate) fn without_grant() -> View {
    View {
        state: State::AwaitingUser,
        token: None,
        pin: Some(pin()),
        failures: 3,
        last_error: Some("ecobee says \"invalid_grant\"".to_owned()),
        last_refresh_at: None,
        ..healthy()
    }
}

type Replies = Box<dyn FnMut(&Ask) -> Reply + Send>;

/// What a test's house is like.
pub(crate) struct Plan {
    pub(crate) accounts: Vec<String>,
    pub(crate) default: Option<usize>,
    pub(crate) may_have: fn(&str, &Peer) -> bool,
    /// Where it comes to groups, of which [`HVAC`] may: what the user database will say, to the first question.
    pub(crate) groups: Option<oneshot::Receiver<Vec<u32>>>,
    pub(crate) view: fn(&str) -> View,
    pub(crate) reply: Replies,
    pub(crate) limits: Limits,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            accounts: vec!["home".to_owned()],
            default: Some(0),
            may_have: |_, _| true,
            groups: None,
            view: |_| healthy(),
            reply: Box::new(|_| plain_token()),
            limits: Limits { stall: PATIENCE * 10, idle: PATIENCE * 10, ..Limits::default() },
        }
    }
}

impl Plan {
    pub(crate) fn replying(reply: impl FnMut(&Ask) -> Reply + Send + 'static) -> Self {
        Self { reply: Box::new(reply), ..Self::default() }
    }

    pub(crate) fn names(names: &[&str], default: Option<usize>) -> Self {
        let accounts = names.iter().map(|name| (*name).to_owned()).collect();
        Self { accounts, default, ..Self::default() }
    }

    pub(crate) fn stalling_after(self, stall: Duration) -> Self {
        Self { limits: Limits { stall, ..self.limits.clone() }, ..self }
    }
}

/// What the keeper heard.
#[derive(Debug)]
pub(crate) enum Heard {
    Ask(String, Ask),
    HungUp,
}

struct Scripted {
    accounts: Vec<String>,
    sorted: BTreeMap<String, usize>,
    default: Option<usize>,
    may_have: fn(&str, &Peer) -> bool,
    by_groups: bool,
    groups: RefCell<Option<oneshot::Receiver<Vec<u32>>>>,
    view: fn(&str) -> View,
    reply: RefCell<Replies>,
    heard: Sender<Heard>,
    /// What became of accounts since; `None`: gone.
    changed: RefCell<BTreeMap<String, Option<View>>>,
    bulletin: Rc<Bulletin>,
    counts: Rc<Counts>,
}

impl Scripted {
    fn change(&self, name: &str, view: Option<View>) {
        self.changed.borrow_mut().insert(name.to_owned(), view.clone());
        self.bulletin.write(name, view);
    }

    fn is_gone(&self, name: &str) -> bool {
        matches!(self.changed.borrow().get(name), Some(None))
    }
}

fn token(token_type: &str, scope: Option<&str>, promised: Duration) -> Answer {
    let access = AccessToken {
        token: Secret::new(TOKEN),
        token_type: token_type.to_owned(),
        scope: scope.map(str::to_owned),
    };
    Answer::Token { access: Rc::new(access), promised }
}

/// Says so when it is dropped before its time.
struct Patient(Option<Sender<Heard>>);

impl Patient {
    fn served(mut self) {
        self.0 = None;
    }
}

impl Drop for Patient {
    fn drop(&mut self) {
        if let Some(heard) = self.0.take() {
            let _ = heard.send(Heard::HungUp);
        }
    }
}

impl Lender for Scripted {
    type Account = usize;
    type Waiting = Pin<Box<dyn Future<Output = Option<Answer>>>>;

    fn default_account(&self) -> Option<usize> {
        self.default
    }

    fn default_name(&self) -> Option<String> {
        self.default.map(|account| self.accounts[account].clone())
    }

    fn account(&self, name: &str) -> Option<usize> {
        self.accounts.iter().position(|known| known == name && !self.is_gone(name))
    }

    fn accounts(&self) -> Vec<(String, usize)> {
        self.accounts.iter().cloned().zip(0..).filter(|(name, _)| !self.is_gone(name)).collect()
    }

    fn after(&self, name: Option<&str>) -> Option<(String, usize)> {
        let from = name.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = self.sorted.range::<str, _>((from, Bound::Unbounded));
        let (name, &account) = rest.find(|(name, _)| !self.is_gone(name))?;
        Some((name.clone(), account))
    }

    fn bulletin(&self) -> Rc<Bulletin> {
        Rc::clone(&self.bulletin)
    }

    fn counts(&self) -> Rc<Counts> {
        Rc::clone(&self.counts)
    }

    fn may_have(&self, account: usize, peer: &Peer, groups: Option<&[u32]>) -> Admission {
        let may = match (self.by_groups, groups) {
            (true, None) => return Admission::Depends,
            (true, Some(groups)) => groups.contains(&HVAC),
            (false, _) => (self.may_have)(&self.accounts[account], peer),
        };
        if may { Admission::Granted } else { Admission::Denied }
    }

    async fn groups_of(&self, _: u32) -> Option<Rc<[u32]>> {
        let says = self.groups.borrow_mut().take()?;
        says.await.ok().map(Rc::from)
    }

    fn ask(&self, account: usize, ask: Ask) -> Asked<Self::Waiting> {
        let _ = self.heard.send(Heard::Ask(self.accounts[account].clone(), ask.clone()));
        let reply = (self.reply.borrow_mut())(&ask);
        let patient = Patient(Some(self.heard.clone()));
        let now = match reply {
            Reply::Token { token_type, scope, promised } => token(token_type, scope, promised),
            Reply::Pin => Answer::Pin(pin()),
            Reply::Problem(problem) => Answer::Problem(problem),
            Reply::WhenTold(told) => {
                return Asked::Later(Box::pin(async move {
                    told.await.unwrap();
                    patient.served();
                    Some(token("Bearer", None, Duration::from_secs(60)))
                }));
            }
            Reply::Never => {
                return Asked::Later(Box::pin(async move {
                    let _patient = patient;
                    std::future::pending().await
                }));
            }
        };
        patient.served();
        Asked::Now(now)
    }

    fn view(&self, account: usize) -> View {
        let name = &self.accounts[account];
        let changed = self.changed.borrow().get(name).cloned().flatten();
        changed.unwrap_or_else(|| (self.view)(name))
    }

    fn now(&self) -> Moment {
        NOW
    }

    fn wall_millis_of(&self, moment: Moment) -> i64 {
        WALL_NOW + moment.as_millis() - NOW.as_millis()
    }
}

/// A house that serves from a thread of its own until it is dropped.
pub(crate) struct House {
    folder: TempDir,
    heard: Receiver<Heard>,
    changes: mpsc::UnboundedSender<(String, Option<View>)>,
    stop: Option<oneshot::Sender<()>>,
    left: Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

impl House {
    pub(crate) fn open(plan: Plan) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Other users are part of the play.
        std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let paths = [folder.path().join("socket"), folder.path().join("other")];
        let (says, heard) = channel();
        let (ready, is_ready) = channel();
        let (leaves, left) = channel();
        let (stop, stopped) = oneshot::channel();
        let (changes, mut coming) = mpsc::unbounded_channel::<(String, Option<View>)>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            LocalSet::new().block_on(&runtime, async move {
                let listeners = paths.iter().map(|path| socket::bind(path, 0o666, None).unwrap()).collect();
                ready.send(()).unwrap();
                let Plan { accounts, default, may_have, groups, view, reply, limits } = plan;
                let reply = RefCell::new(reply);
                let lender = Rc::new(Scripted {
                    sorted: accounts.iter().cloned().zip(0..).collect(),
                    accounts,
                    default,
                    may_have,
                    by_groups: groups.is_some(),
                    groups: RefCell::new(groups),
                    view,
                    reply,
                    heard: says,
                    changed: RefCell::default(),
                    bulletin: Rc::default(),
                    counts: Rc::new(Counts::new(NOW - Duration::from_secs(60))),
                });
                let stop = async { stopped.await.unwrap_or_default() };
                let serving = socket::serve(listeners, Rc::clone(&lender), limits, stop);
                tokio::task::spawn_local(async move {
                    while let Some((name, view)) = coming.recv().await {
                        lender.change(&name, view);
                    }
                });
                tokio::task::spawn_local(serving).await.unwrap();
                // Most tests do not wait for it.
                let _ = leaves.send(());
            });
        });
        is_ready.recv_timeout(PATIENCE).unwrap();
        Self { folder, heard, changes, stop: Some(stop), left, thread: Some(thread) }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// The house's second door.
    pub(crate) fn other_path(&self) -> PathBuf {
        self.folder.path().join("other")
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(&self.path())
    }

    /// One request on a connection of its own.
    pub(crate) fn request(&self, method: &str, target: &str, more: &str) -> Response {
        let mut client = self.connect();
        client.send(format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n").as_bytes());
        client.response_to(method).unwrap()
    }

    pub(crate) fn get(&self, target: &str) -> Response {
        self.request("GET", target, "")
    }

    pub(crate) fn post(&self, target: &str, body: &[u8]) -> Response {
        let mut client = self.connect();
        client.send(&post(target, body));
        client.response().unwrap()
    }

    /// The next question that reached the keeper.
    pub(crate) fn heard_ask(&self) -> (String, Ask) {
        match self.heard.recv_timeout(PATIENCE).unwrap() {
            Heard::Ask(account, ask) => (account, ask),
            Heard::HungUp => panic!("a client hung up instead of asking"),
        }
    }

    /// Something becomes of an account; `None`: it goes.
    pub(crate) fn change(&self, name: &str, view: Option<View>) {
        self.changes.send((name.to_owned(), view)).unwrap();
    }

    pub(crate) fn heard_want(&self) -> Want {
        self.heard_ask().1.want
    }

    pub(crate) fn heard_hang_up(&self) {
        assert!(matches!(self.heard.recv_timeout(PATIENCE).unwrap(), Heard::HungUp));
    }

    pub(crate) fn heard_nothing_more(&self) {
        assert!(self.heard.try_recv().is_err());
    }

    pub(crate) fn stop(&mut self) {
        self.stopper().send(()).unwrap();
    }

    /// What stops the house, for someone else to do.
    pub(crate) fn stopper(&mut self) -> oneshot::Sender<()> {
        self.stop.take().unwrap()
    }

    /// Waits until the house has answered all and left.
    pub(crate) fn wait_until_left(&mut self) {
        self.left.recv_timeout(PATIENCE).expect("someone keeps the house from leaving");
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Runs `play` in a process of its own, for it changes what belongs to the whole process. `name` is the test's path.
pub(crate) fn in_a_process_of_its_own(name: &str, play: impl FnOnce()) {
    const MARK: &str = "SOCKET_ROOM_PLAYS";
    if std::env::var_os(MARK).is_some() {
        return play();
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(MARK, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Runs `play` as a user without rights, and says so where that cannot be done.
pub(crate) fn as_nobody(play: impl FnOnce(u32) + Send + 'static) {
    const NOBODY: u32 = 65534;
    if !rustix::process::getuid().is_root() {
        // Not by `eprintln`, which the test runner keeps to itself.
        let _ = writeln!(std::io::stderr(), "SKIPPED: only root can play another user");
        return;
    }
    std::thread::spawn(|| {
        rustix::thread::set_thread_uid(rustix::thread::Uid::from_raw(NOBODY)).unwrap();
        play(NOBODY);
    })
    .join()
    .unwrap();
}
