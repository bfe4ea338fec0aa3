//! Crowds at the socket: those that behave notice nothing of those that do not.

mod harness;

use std::fs;
use std::future::Future;
use std::io;
use std::os::unix::net;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use ecobee_simulator::{CallKind, Simulator, Truth};
use harness::http::{Connection, ask};
use harness::{Daemon, HOUR, PATIENCE, Stage, as_user, raise_descriptor_limit};
use rustix::process::geteuid;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::{MissedTickBehavior, interval, timeout};

/// Refreshes come at 3 to 5.4 seconds.
const LIFETIME: Duration = Duration::from_secs(6);

/// A busy reader asks this often.
const PACE: Duration = Duration::from_millis(50);

/// The success of a refresh may be on its way for so long, on a busy machine.
const ON_ITS_WAY: Duration = Duration::from_secs(1);

/// Runs a story on this thread alone, however many clients it has.
fn on_one_thread(story: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, story);
}

/// The simulator's clock, read without asking it.
#[derive(Clone, Copy)]
struct Clock {
    here: Instant,
    there: Duration,
}

impl Clock {
    fn of(simulator: &Simulator) -> Self {
        let there = simulator.truth().now();
        Self { here: Instant::now(), there }
    }

    fn now(self) -> Duration {
        self.there + self.here.elapsed()
    }
}

/// A kept connection.
struct Client(BufReader<UnixStream>);

impl Client {
    async fn connect(socket: &Path) -> io::Result<Self> {
        Ok(Self(BufReader::new(UnixStream::connect(socket).await?)))
    }

    /// Asks and returns the status and the body.
    async fn get(&mut self, path: &str) -> io::Result<(u16, String)> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        self.0.get_mut().write_all(request.as_bytes()).await?;
        let mut line = String::new();
        self.0.read_line(&mut line).await?;
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("no status: {line:?}")))?;
        let mut length = 0;
        loop {
            line.clear();
            self.0.read_line(&mut line).await?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await?;
        Ok((status, String::from_utf8_lossy(&body).trim_end().to_owned()))
    }
}

/// A token as a reader got it.
struct Reading {
    asked_at: Duration,
    token: Rc<str>,
}

/// What a busy reader has seen; `Err` is an answer that it should not have got.
type Diary = Result<Vec<Reading>, String>;

/// Asks again and again on one connection, until told to stop by the end of `busy`.
async fn read_all_the_while(socket: PathBuf, clock: Clock, busy: Rc<()>) -> Diary {
    let mut client = Client::connect(&socket).await.map_err(|error| format!("no connection: {error}"))?;
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut diary: Vec<Reading> = Vec::new();
    while Rc::strong_count(&busy) > 1 {
        pace.tick().await;
        let asked_at = clock.now();
        let answer = timeout(PATIENCE, client.get("/token")).await;
        let answer = answer.map_err(|_| format!("no answer since {asked_at:?}"))?;
        let (status, token) = answer.map_err(|error| format!("asked at {asked_at:?}: {error}"))?;
        if status != 200 {
            return Err(format!("asked at {asked_at:?}: {status} {token}"));
        }
        // The same token comes a thousand times.
        let token = match diary.last() {
            Some(last) if *last.token == *token => Rc::clone(&last.token),
            Some(_) | None => token.into(),
        };
        diary.push(Reading { asked_at, token });
    }
    drop(busy);
    Ok(diary)
}

/// Readers that behave.
struct Readers {
    readers: Vec<JoinHandle<Diary>>,
    busy: Vec<Rc<()>>,
}

impl Readers {
    fn start(count: usize, socket: &Path, clock: Clock) -> Self {
        let busy: Vec<Rc<()>> = (0..count).map(|_| Rc::new(())).collect();
        let readers = busy.iter().map(|busy| {
            let reading = read_all_the_while(socket.to_owned(), clock, Rc::clone(busy));
            spawn_local(reading)
        });
        Self { readers: readers.collect(), busy }
    }

    /// Sends them home: none was ever refused, none got a token that the daemon could know was dead.
    async fn were_served_well(self, simulator: &Simulator) -> usize {
        drop(self.busy);
        let truth = simulator.truth();
        let mut asked = 0;
        for reader in self.readers {
            let diary = reader.await.expect("it does not panic").unwrap_or_else(|fault| panic!("{fault}"));
            asked += diary.len();
            for Reading { asked_at, token } in diary {
                let known = truth.grants().iter().flat_map(|grant| &grant.access_tokens);
                let known = known.into_iter().find(|known| *known.value == *token).expect("ecobee issued it");
                assert!(
                    asked_at <= known.expires_at,
                    "asked at {asked_at:?}, expired at {:?}",
                    known.expires_at
                );
                let ended = known.ended_at.filter(|&ended_at| ended_at + ON_ITS_WAY < asked_at);
                assert_eq!(ended, None, "it had been replaced, and was asked for at {asked_at:?}");
            }
        }
        asked
    }
}

/// Every refresh came while the token before it lived.
fn refreshes_came_in_time(simulator: &Simulator) {
    let truth: Truth = simulator.truth();
    let tokens = truth.grants().iter().flat_map(|grant| &grant.access_tokens);
    let tokens: Vec<_> = tokens.collect();
    for pair in tokens.windows(2) {
        assert!(
            pair[1].issued_at < pair[0].expires_at,
            "a token expired at {:?} and the next was issued at {:?}",
            pair[0].expires_at,
            pair[1].issued_at
        );
    }
    assert!(truth.now() < tokens[tokens.len() - 1].expires_at, "the last token still lives");
    assert_eq!(simulator.calls_of(CallKind::Authorize).len(), 1, "no person was asked");
}

/// Waits for so many more refreshes without holding this thread's clients up.
async fn refreshes(simulator: &Simulator, count: u64) {
    let enough = simulator.truth().counters().refreshes + count;
    let deadline = Instant::now() + PATIENCE;
    let mut pace = interval(PACE);
    while simulator.truth().counters().refreshes < enough {
        assert!(Instant::now() < deadline, "{count} refreshes did not come");
        pace.tick().await;
    }
}

/// Connections on which one request was answered, kept open.
async fn idle_clients(count: usize, socket: &Path) -> Vec<Client> {
    let mut idle = Vec::with_capacity(count);
    for _ in 0..count {
        let mut client = Client::connect(socket).await.expect("the daemon listens");
        let (status, _) = client.get("/status").await.expect("an answer");
        assert_eq!(status, 200);
        idle.push(client);
    }
    idle
}

/// Connections on which nothing is ever said.
async fn silent_clients(count: usize, socket: &Path) -> Vec<UnixStream> {
    let mut silent = Vec::with_capacity(count);
    for _ in 0..count {
        silent.push(UnixStream::connect(socket).await.expect("the daemon listens"));
    }
    silent
}

/// How many descriptors the daemon has open.
fn descriptors(daemon: &Daemon) -> usize {
    fs::read_dir(format!("/proc/{}/fd", daemon.pid())).map_or(0, Iterator::count)
}

#[test]
fn a_thousand_idle_and_two_hundred_silent_clients_disturb_nobody() {
    raise_descriptor_limit();
    let stage = Stage::with_lifetime(LIFETIME);
    // The soft limit that it begins with is too low for them.
    let daemon = stage.start_under(&["prlimit", "--nofile=512:"]);
    daemon.enter_pin(&stage.simulator, "home", stage.key_of("home"));
    let socket = stage.socket();
    // One user other than root may have 1,024 connections.
    let (idle, silent) = if geteuid().is_root() { (1000, 200) } else { (700, 200) };
    on_one_thread(async {
        let readers = Readers::start(64, &socket, Clock::of(&stage.simulator));
        let mut idle = idle_clients(idle, &socket).await;
        let silent = silent_clients(silent, &socket).await;

        refreshes(&stage.simulator, 2).await;

        for client in &mut idle {
            let (status, _) = client.get("/healthz").await.expect("an idle connection was not closed");
            assert_eq!(status, 200);
        }
        drop(silent);
        let asked = readers.were_served_well(&stage.simulator).await;
        assert!(asked > 64 * 10, "the readers asked {asked} times");
    });
    refreshes_came_in_time(&stage.simulator);
}

#[test]
fn there_are_4096_seats_and_1024_for_one_user_other_than_root() {
    raise_descriptor_limit();
    for (uid, seats) in [(65534, 1024), (0, 4096)] {
        let stage = Stage::with_lifetime(HOUR).open_to_the_world();
        let _daemon = stage.start();
        let socket = stage.socket();
        let turned_away = as_user(uid, move || {
            let guests = (0..seats - 1).map(|_| net::UnixStream::connect(&socket).expect("it listens"));
            let _guests: Vec<_> = guests.collect();
            let mut last = Connection::open(&socket).expect("it listens");
            assert_eq!(last.ask("GET /status", None, "").expect("an answer").status, 200);
            ask(&socket, "GET /status").expect("an answer")
        });
        let Some(turned_away) = turned_away else { return };
        let code = turned_away.member("code");
        assert_eq!((turned_away.status, code.as_str()), (429, "too-many-requests"), "{uid}");
    }
}

#[test]
fn descriptors_that_run_out_stop_neither_a_refresh_nor_whoever_sits_inside() {
    let stage = Stage::with_lifetime(LIFETIME);
    let daemon = stage.start_under(&["prlimit", "--nofile=128:128"]);
    daemon.enter_pin(&stage.simulator, "home", stage.key_of("home"));
    let socket = stage.socket();
    on_one_thread(async {
        let readers = Readers::start(8, &socket, Clock::of(&stage.simulator));
        refreshes(&stage.simulator, 1).await;
        let crowd = silent_clients(300, &socket).await;

        refreshes(&stage.simulator, 2).await;

        drop(crowd);
        let mut client = Client::connect(&socket).await.expect("the daemon listens");
        let (status, _) = client.get("/token").await.expect("there is room again");
        assert_eq!(status, 200);
        readers.were_served_well(&stage.simulator).await;
    });
    refreshes_came_in_time(&stage.simulator);
    assert!(descriptors(&daemon) < 100, "the crowd's descriptors are free again");
}
