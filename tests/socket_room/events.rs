//! Streams of events.

use std::io::{BufRead, Read};
use std::time::{Duration, Instant};

use ecobee_tokend::keeper::View;
use ecobee_tokend::socket::Limits;
use serde_json::{Value, json};

use crate::client::Client;
use crate::house::{House, PATIENCE, Plan, healthy, without_grant};

/// A stream as its reader meets it.
struct Stream {
    client: Client,
    head: Vec<String>,
}

/// What a stream says next.
#[derive(Debug, PartialEq)]
enum Said {
    Event(String, Value),
    Comment,
    Retry,
    End,
}

impl Stream {
    fn open(house: &House, path: &str) -> Self {
        Self::over(house.connect(), path)
    }

    fn over(mut client: Client, path: &str) -> Self {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
        let head = client.head().unwrap();
        assert_eq!(head[0], "HTTP/1.1 200 OK");
        Self { client, head }
    }

    /// A chunk; empty at the end.
    fn chunk(&mut self) -> String {
        let mut size = String::new();
        self.client.reader().read_line(&mut size).unwrap();
        let size = usize::from_str_radix(size.trim_end(), 16).unwrap();
        let mut chunk = vec![0; size + 2];
        self.client.reader().read_exact(&mut chunk).unwrap();
        assert!(chunk.ends_with(b"\r\n"));
        chunk.truncate(size);
        String::from_utf8(chunk).unwrap()
    }

    /// All blocks until the end of a chunk is that of a block.
    fn blocks(&mut self) -> Vec<Said> {
        let mut text = String::new();
        loop {
            let chunk = self.chunk();
            if chunk.is_empty() {
                assert_eq!(text, "", "the stream ends within an event");
                return vec![Said::End];
            }
            text += &chunk;
            if text.ends_with("\n\n") {
                break;
            }
        }
        text.split_terminator("\n\n").map(block).collect()
    }

    /// The next events; what is said for no listener's sake is passed over.
    fn events(&mut self) -> Vec<(String, Value)> {
        loop {
            let blocks = self.blocks();
            assert!(!blocks.contains(&Said::End), "the stream ends");
            let events: Vec<_> = blocks
                .into_iter()
                .filter_map(|said| match said {
                    Said::Event(name, data) => Some((name, data)),
                    Said::Comment | Said::Retry | Said::End => None,
                })
                .collect();
            if !events.is_empty() {
                return events;
            }
        }
    }

    /// The one event that comes next.
    fn event(&mut self) -> (String, Value) {
        let mut events = self.events();
        assert_eq!(events.len(), 1, "{events:?}");
        events.remove(0)
    }
}

fn block(text: &str) -> Said {
    let (mut name, mut data) = (None, None);
    let mut said = None;
    for line in text.lines() {
        match line.split_once(": ").unwrap() {
            ("event", word) => name = Some(word.to_owned()),
            ("data", json) => data = Some(serde_json::from_str(json).unwrap()),
            ("retry", millis) => {
                assert!(millis.parse::<u32>().unwrap() > 0);
                said = Some(Said::Retry);
            }
            ("", _) => said = Some(Said::Comment),
            other => panic!("what is {other:?}"),
        }
    }
    match (name, data) {
        (Some(name), Some(data)) => Said::Event(name, data),
        (None, None) => said.unwrap(),
        half => panic!("half an event: {half:?}"),
    }
}

fn failing(failures: u32) -> View {
    View { failures, last_error: Some(format!("failure {failures}")), ..healthy() }
}

const QUICK: Duration = Duration::from_millis(20);

#[test]
fn a_stream_begins_with_the_status_as_it_is() {
    let house = House::open(Plan::names(&["home", "barn"], None));
    let mut stream = Stream::open(&house, "/events");
    for header in ["content-type: text/event-stream", "cache-control: no-store"] {
        assert!(stream.head.iter().any(|line| line == header), "{:?}", stream.head);
    }
    assert_eq!(stream.event(), ("status".to_owned(), house.get("/status").json()));
    let mut stream = Stream::open(&house, "/accounts/barn/events");
    assert_eq!(stream.event(), ("status".to_owned(), house.get("/accounts/barn/status").json()));
}

#[test]
fn a_stream_without_accounts_waits_for_some() {
    let house = House::open(Plan { accounts: Vec::new(), default: None, ..Plan::default() });
    let (_, status) = Stream::open(&house, "/events").event();
    assert_eq!(status["accounts"], json!({}));
}

#[test]
fn each_change_is_an_event_and_the_seconds_that_go_by_are_none() {
    let house = House::open(Plan::names(&["barn", "home"], None));
    let mut all = Stream::open(&house, "/events");
    let mut of_home = Stream::open(&house, "/accounts/home/events");
    all.event();
    of_home.event();
    house.change("barn", Some(without_grant()));
    assert_eq!(
        all.event(),
        (
            "account".to_owned(),
            json!({"account": "barn", "status": house.get("/accounts/barn/status").json()})
        )
    );
    let later = View { next_try_at: None, unsaved: true, ..healthy() };
    house.change("home", Some(later));
    house.change("home", Some(failing(1)));
    let (name, data) = all.event();
    assert_eq!((name.as_str(), &data["status"]["failures"]), ("account", &json!(1)));
    assert_eq!(of_home.event(), ("status".to_owned(), house.get("/accounts/home/status").json()));
}

#[test]
fn an_account_that_goes_is_taken_leave_of() {
    let house = House::open(Plan::names(&["barn", "home"], None));
    let mut all = Stream::open(&house, "/events");
    let mut of_barn = Stream::open(&house, "/accounts/barn/events");
    all.event();
    of_barn.event();
    house.change("barn", None);
    let gone = ("removed".to_owned(), json!({"account": "barn"}));
    assert_eq!(all.event(), gone);
    assert_eq!(of_barn.event(), gone);
    assert_eq!(of_barn.blocks(), [Said::End]);
    house.get("/accounts/barn/events").problem(404, "unknown-account");
}

#[test]
fn the_connection_can_be_used_again_after_a_stream() {
    let house = House::open(Plan::names(&["barn", "home"], None));
    let mut of_barn = Stream::open(&house, "/accounts/barn/events");
    of_barn.event();
    house.change("barn", None);
    of_barn.event();
    assert_eq!(of_barn.blocks(), [Said::End]);
    // What follows the last chunk is the next answer.
    let mut stream = Stream::over(of_barn.client, "/accounts/home/events");
    assert_eq!(stream.event().0, "status");
}

#[test]
fn head_begins_no_stream() {
    let house = House::open(Plan::default());
    let mut client = house.connect();
    client.send(
        b"HEAD /events HTTP/1.1\r\nHost: localhost\r\n\r\nGET /token HTTP/1.1\r\nHost: localhost\r\n\r\n",
    );
    let head = client.head().unwrap();
    assert_eq!(head[0], "HTTP/1.1 200 OK");
    assert!(head.contains(&"content-type: text/event-stream".to_owned()), "{head:?}");
    assert_eq!(client.response().unwrap().status, 200);
    house.post("/events", b"").problem(405, "method-not-allowed");
    house.get("/events?wait=3").problem(400, "invalid-request");
}

#[test]
fn a_quiet_stream_says_that_it_lives_and_outlasts_the_idle_limit() {
    let idle = Duration::from_millis(1);
    let limits = Limits { idle, stall: PATIENCE, keep_alive: QUICK, ..Limits::default() };
    let house = House::open(Plan { limits, ..Plan::default() });
    let mut stream = Stream::open(&house, "/events");
    let until = Instant::now() + Duration::from_millis(200);
    stream.event();
    let mut comments = 0;
    while Instant::now() < until || comments < 5 {
        assert_eq!(stream.blocks(), [Said::Comment]);
        comments += 1;
    }
    house.change("home", Some(failing(1)));
    assert_eq!(stream.event().1["account"], "home");
}

#[test]
fn a_listener_that_leaves_gives_up_its_seat_at_once() {
    let limits = Limits { connections: 1, idle: PATIENCE * 10, stall: PATIENCE * 10, ..Limits::default() };
    let house = House::open(Plan { limits, ..Plan::default() });
    let mut stream = Stream::open(&house, "/events");
    stream.event();
    house.get("/token").problem(429, "too-many-requests");
    drop(stream);
    let deadline = Instant::now() + PATIENCE;
    while house.get("/token").status != 200 {
        assert!(Instant::now() < deadline, "the seat is still taken");
    }
}

#[test]
fn at_the_end_of_the_house_streams_end_as_http_wants_it() {
    let mut house = House::open(Plan::default());
    let mut streams: Vec<_> =
        ["/events", "/accounts/home/events"].map(|path| Stream::open(&house, path)).into();
    for stream in &mut streams {
        stream.event();
    }
    house.stop();
    for stream in &mut streams {
        assert_eq!(stream.blocks(), [Said::Retry]);
        assert_eq!(stream.blocks(), [Said::End]);
        assert_eq!(stream.client.until_closed(), b"");
    }
    house.wait_until_left();
}

fn many(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("account-{number:05}")).collect()
}

#[test]
fn a_list_of_thousands_comes_in_pieces_and_whole() {
    let house = House::open(Plan { accounts: many(10_000), default: None, ..Plan::default() });
    let mut stream = Stream::open(&house, "/events");
    let first = stream.chunk();
    assert!(first.len() < 16 * 1024, "{} bytes at a time", first.len());
    let mut text = first;
    while !text.ends_with("\n\n") {
        text += &stream.chunk();
    }
    let Said::Event(_, status) = block(text.trim_end()) else { panic!("no event") };
    assert_eq!(status, house.get("/status").json());
}

/// Changes accounts until the stream's reader, which does not read, has no room left, and beyond.
fn change_until_full(house: &House, names: &[String], rounds: u32) {
    for round in 1..=rounds {
        for name in names {
            house.change(name, Some(failing(round)));
        }
        // So that the house has seen them.
        house.get("/token");
    }
}

#[test]
fn a_slow_reader_gets_the_newest_state_and_holds_up_nobody() {
    let names = many(50);
    let house = House::open(Plan { accounts: names.clone(), default: Some(0), ..Plan::default() });
    let mut slow = Stream::open(&house, "/events");
    slow.event();
    let rounds = 200;
    change_until_full(&house, &names, rounds);
    let mut heard = 0;
    let mut newest = std::collections::BTreeMap::new();
    while newest.len() < names.len() || newest.values().any(|failures| *failures < rounds) {
        for (_, data) in slow.events() {
            heard += 1;
            let failures = u32::try_from(data["status"]["failures"].as_u64().unwrap()).unwrap();
            let before = newest.insert(data["account"].as_str().unwrap().to_owned(), failures);
            assert!(before.is_none_or(|before| before < failures), "an old state after a newer one");
        }
    }
    assert!(heard < 50 * 200 / 2, "{heard} events: nothing was passed over");
}

#[test]
fn a_reader_that_has_stalled_is_let_go() {
    let names = many(200);
    let stall = Duration::from_millis(300);
    let limits = Limits { connections: 2, idle: PATIENCE, stall, keep_alive: QUICK, ..Limits::default() };
    let house = House::open(Plan { accounts: names.clone(), default: Some(0), limits, ..Plan::default() });
    let stalled = Stream::open(&house, "/events");
    let deadline = Instant::now() + PATIENCE;
    let mut round = 0;
    // Two seats: one for it and one for these. When two can be had, it has gone.
    loop {
        round += 1;
        change_until_full(&house, &names, 1);
        for name in &names {
            house.change(name, Some(failing(round + 1000)));
        }
        let (mut one, mut other) = (house.connect(), house.connect());
        one.send(b"GET /token HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let one = one.response().unwrap();
        if one.status == 200 && other.try_get("/token") == Some(200) {
            break;
        }
        assert!(Instant::now() < deadline, "it still sits there");
    }
    drop(stalled);
}

#[test]
fn a_thousand_listeners_hear_of_a_change() {
    let house = House::open(Plan::default());
    let mut streams: Vec<_> = (0..1000).map(|_| Stream::open(&house, "/accounts/home/events")).collect();
    for stream in &mut streams {
        stream.event();
    }
    house.change("home", Some(failing(7)));
    for stream in &mut streams {
        assert_eq!(stream.event().1["failures"], 7);
    }
}
