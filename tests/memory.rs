//! What is left of secrets in the daemon's memory: the real binary, ecobee by TLS, and a search through every page that
//! can be written to.
//!
//! Only root may read the memory of a process that forbids core files, so for anyone else this is skipped, aloud.

mod harness;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::iter;
use std::ops::RangeInclusive;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use ecobee_simulator::{Grant, Options, Tls};
use harness::{Daemon, HOUR, KEY, Stage, quick, skipped};

/// Tokens that come and go before the search.
const ROTATIONS: usize = 5;

/// The daemon has so long to come to rest.
const SETTLED_AFTER: Duration = Duration::from_secs(10);

/// A piece of a secret that no other secret has. Pieces, for a freed block loses its first bytes to the allocator's own
/// notes, and what is percent-encoded differs from the original.
const PIECE: usize = 16;

/// The pages of a process that can be written to, as they are now.
struct Pages(Vec<(String, Vec<u8>)>);

impl Pages {
    fn of(pid: u32) -> Self {
        let folder = Path::new("/proc").join(pid.to_string());
        let memory = File::open(folder.join("mem")).expect("root may read it");
        let maps = fs::read_to_string(folder.join("maps")).expect("a living process");
        let pages = maps.lines().filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let (begin, end) = words.next()?.split_once('-')?;
            words.next().filter(|rights| rights.starts_with("rw"))?;
            let name = words.nth(3).unwrap_or("anonymous").to_owned();
            let place = |text| u64::from_str_radix(text, 16).ok();
            let (begin, end) = (place(begin)?, place(end)?);
            let mut bytes = vec![0; usize::try_from(end - begin).ok()?];
            memory.read_exact_at(&mut bytes, begin).ok()?;
            Some((name, bytes))
        });
        Self(pages.collect())
    }

    fn len(&self) -> usize {
        self.0.iter().map(|(_, bytes)| bytes.len()).sum()
    }

    /// How often a secret is there: as often as that piece of it that is there most often. And where.
    fn count(&self, secret: &str) -> (usize, Vec<&str>) {
        pieces(secret)
            .into_iter()
            .map(|piece| {
                let mut places = Vec::new();
                for (name, bytes) in &self.0 {
                    places.extend(iter::repeat_n(name.as_str(), occurrences(bytes, piece.as_bytes())));
                }
                (places.len(), places)
            })
            .max_by_key(|(count, _)| *count)
            .expect("every secret has a piece")
    }
}

/// By the first byte first: there is much memory, and a test is not optimized.
fn occurrences(bytes: &[u8], piece: &[u8]) -> usize {
    let mut count = 0;
    let mut from = 0;
    while let Some(rest) = bytes.get(from..)
        && let Some(at) = rest.iter().position(|byte| *byte == piece[0])
    {
        count += usize::from(rest[at..].starts_with(piece));
        from += at + 1;
    }
    count
}

/// Three pieces of the last run of characters that no encoding changes: of a JWT it is the signature, which is all chance.
fn pieces(secret: &str) -> [&str; 3] {
    let unreserved = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let mut runs = secret.split(|c| !unreserved(c)).filter(|run| run.len() >= PIECE);
    let last = runs.next_back().expect("a run of such characters");
    let end = last.len() - PIECE;
    [0, end / 2, end].map(|from| &last[from..from + PIECE])
}

/// A line of the table: what is searched for, which of these there are, and in how many copies each may live.
struct Sought<'a> {
    what: &'a str,
    secrets: Vec<&'a str>,
    copies: RangeInclusive<usize>,
}

/// The table, and whether each number in it is as it ought to be.
fn search(daemon: &Daemon, sought: &[Sought<'_>]) -> (String, bool) {
    let pages = Pages::of(daemon.pid());
    let mut table = format!("{} KiB that can be written to\n", pages.len() / 1024);
    let mut good = true;
    for Sought { what, secrets, copies } in sought {
        let found: Vec<_> = secrets.iter().map(|secret| pages.count(secret)).collect();
        let all: usize = found.iter().map(|(count, _)| count).sum();
        let places: BTreeSet<&str> = found.iter().flat_map(|(_, places)| places).copied().collect();
        let places = places.into_iter().collect::<Vec<_>>().join(" ");
        writeln!(table, "{what:<24} {:>2} of them {all:>3} copies  {places}", secrets.len())
            .expect("text grows");
        good &= found.iter().all(|(count, _)| copies.contains(count));
    }
    (table, good)
}

fn grant(stage: &Stage) -> Grant {
    stage.simulator.truth().grant_of(KEY).expect("a grant").clone()
}

#[test]
fn a_secret_that_is_replaced_leaves_the_memory() {
    if !rustix::process::geteuid().is_root() {
        skipped("only root can read the daemon's memory");
        return;
    }
    let options = Options { tls: Tls::Good, ..quick(Duration::from_secs(4)) };
    let stage = Stage::new(options).trusting();
    let daemon = stage.start_authorized();
    live(&stage, &daemon);

    let grant = grant(&stage);
    let access: Vec<&str> = grant.access_tokens.iter().map(|token| token.value.as_str()).collect();
    let refresh: Vec<&str> = grant.refresh_tokens.iter().map(|token| token.value.as_str()).collect();
    let ([old_access @ .., access], [old_refresh @ .., previous, refresh]) = (&access[..], &refresh[..])
    else {
        panic!("too few tokens");
    };
    let truth = stage.simulator.truth();
    let codes = truth.pins().iter().map(|pin| pin.code.as_str()).collect();
    // The keeper has one of each, and another of the refresh token, by which it knows what lies on disk. The key is with
    // the account and in the settings, which a reload compares.
    let sought = [
        Sought { what: "old access tokens", secrets: old_access.to_vec(), copies: 0..=0 },
        Sought { what: "old refresh tokens", secrets: old_refresh.to_vec(), copies: 0..=0 },
        Sought { what: "authorization code", secrets: codes, copies: 0..=0 },
        Sought { what: "access token", secrets: vec![access], copies: 1..=1 },
        Sought { what: "refresh token", secrets: vec![refresh], copies: 1..=2 },
        Sought { what: "refresh token before it", secrets: vec![previous], copies: 1..=1 },
        Sought { what: "API key", secrets: vec![KEY], copies: 1..=2 },
    ];
    // The last connection may not be over yet, nor the last save.
    let deadline = Instant::now() + SETTLED_AFTER;
    let table = loop {
        let (table, good) = search(&daemon, &sought);
        if good {
            break table;
        }
        assert!(
            Instant::now() < deadline,
            "more than belongs there, or nothing where something must be:\n{table}"
        );
        thread::park_timeout(Duration::from_millis(100));
    };
    println!("{table}");
}

/// Readers of every kind, reports of tokens that are dead, and one refresh after the other; then silence.
fn live(stage: &Stage, daemon: &Daemon) {
    let mut seen = vec![daemon.token("home")];
    while seen.len() <= ROTATIONS {
        let token = daemon.token("home");
        daemon.get_json("/token");
        daemon.get("/header");
        if seen.last() != Some(&token) {
            daemon.post("/token/rejected", seen.last().expect("at least one"));
            seen.push(token);
        }
        if seen.len() == ROTATIONS {
            stage.simulator.set_options(|options| options.lifetime = HOUR);
        }
    }
}

/// How much of the daemon's memory is locked, in KiB.
fn locked(daemon: &Daemon) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("a living process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmLck:")).expect("the kernel says it");
    line.trim_end_matches("kB").trim().parse().expect("a number")
}

#[test]
fn the_memory_is_locked_where_no_limit_can_have_an_allocation_fail() {
    let stage = Stage::with_lifetime(HOUR);
    let limited = stage.start_under(&["prlimit", "--memlock=1048576:1048576"]);
    assert_eq!(locked(&limited), 0, "beyond a mebibyte all allocations would fail");
    drop(limited);
    let without_end = ["prlimit", "--memlock=unlimited:unlimited"];
    let possible = Command::new(without_end[0]).args(&without_end[1..]).arg("true").status();
    if !possible.is_ok_and(|status| status.success()) {
        skipped("this user's memory cannot be locked without a limit");
        return;
    }
    let daemon = stage.start_under(&without_end);
    assert!(locked(&daemon) > 0);
    daemon.enter_pin(&stage.simulator, "home", KEY);
}
