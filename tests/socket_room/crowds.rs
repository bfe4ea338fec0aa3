//! Many connections, two doors, and the end of the day.

use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::channel;
use std::time::Duration;

use ecobee_tokend::socket::Limits;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::oneshot;

use crate::client::Client;
use crate::house::{House, PATIENCE, Plan, Reply, as_nobody, in_a_process_of_its_own, plain_token};

fn limited(connections: usize, connections_a_uid: usize) -> Plan {
    let limits = Limits { connections, connections_a_uid, ..Plan::default().limits };
    Plan { limits, ..Plan::default() }
}

#[test]
fn the_house_takes_so_many_and_no_more() {
    let house = House::open(limited(3, 3));
    let mut guests: Vec<_> = (0..3).map(|_| house.connect()).collect();
    assert_eq!(guests[2].get("/token").status, 200);

    let mut late = house.connect();
    late.response().unwrap().problem(429, "too-many-requests");
    assert_eq!(late.until_closed(), b"");
    // One that still speaks is heard out for a moment: no broken pipe keeps it from reading why.
    late.send(b"GET /token HTTP/1.1\r\n\r\n");

    assert_eq!(guests[0].get("/token").status, 200, "nobody else notices");
    drop(guests.pop());
    let admitted = (0..1000).any(|_| {
        let mut client = house.connect();
        client.try_send(b"GET /token HTTP/1.1\r\n\r\n");
        client.response().is_some_and(|response| response.status == 200)
    });
    assert!(admitted, "a seat that was left is free again");
}

#[test]
fn a_user_takes_so_many_and_leaves_room_for_others() {
    let house = House::open(limited(100, 2));
    let path = house.path();
    as_nobody(move |_| {
        let mut guests: Vec<_> = (0..2).map(|_| Client::connect(&path)).collect();
        assert_eq!(guests[1].get("/token").status, 200);
        let said = Client::connect(&path).response().unwrap().problem(429, "too-many-requests");
        assert!(said["detail"].as_str().unwrap().contains("uid 65534"), "{said}");
        assert_eq!(guests[0].get("/token").status, 200);
        drop(guests);
    });
    let ours: Vec<_> = (0..2).map(|_| house.connect()).collect();
    assert_eq!(ours.len(), 2);
}

#[test]
fn the_peers_uid_reaches_the_keeper() {
    let house = House::open(Plan::default());
    let path = house.path();
    let (says, said) = channel();
    as_nobody(move |uid| {
        assert_eq!(Client::connect(&path).get("/token").status, 200);
        says.send(uid).unwrap();
    });
    if let Ok(uid) = said.recv() {
        assert_eq!(house.heard_ask().1.uid, uid);
    }
}

#[test]
fn both_doors_are_open() {
    let house = House::open(Plan::default());
    for path in [house.path(), house.other_path(), house.path()] {
        assert_eq!(Client::connect(&path).get("/token").status, 200);
    }
}

#[test]
fn running_out_of_descriptors_is_survived() {
    in_a_process_of_its_own("crowds::running_out_of_descriptors_is_survived", || {
        let limits = Limits { pause: Duration::from_millis(20), ..Plan::default().limits };
        let house = House::open(Plan { limits, ..Plan::default() });
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(64), maximum }).unwrap();

        let mut first = house.connect();
        assert_eq!(first.get("/token").status, 200);
        // Client and house share the limit: in the end there is a connection without a descriptor for the house.
        let mut guests = Vec::new();
        loop {
            match UnixStream::connect(house.path()) {
                Ok(stream) => guests.push(stream),
                Err(error) => {
                    assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::MFILE.raw_os_error()));
                    break;
                }
            }
        }
        assert!(guests.len() > 10);
        assert_eq!(first.get("/token").status, 200, "those who are in are served");
        let start = cpu_time();
        std::thread::sleep(Duration::from_millis(500));
        let spent = cpu_time().saturating_sub(start);
        assert!(spent < Duration::from_millis(100), "the house spins: {spent:?} of half a second");
        drop(guests);
        assert_eq!(house.connect().get("/token").status, 200, "and others when there is room again");
    });
}

fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
}

#[test]
fn the_last_ones_are_served_before_the_house_closes() {
    let (tell, told) = oneshot::channel();
    let mut told = Some(told);
    let mut house = House::open(Plan::replying(move |_| Reply::WhenTold(told.take().unwrap())));
    let mut silent = house.connect();
    let mut idle = house.connect();
    assert_eq!(idle.get("/healthz").status, 200);
    let mut waiting = house.connect();
    waiting.send(b"GET /token HTTP/1.1\r\n\r\n");
    house.heard_ask();

    house.stop();
    assert_eq!(silent.until_closed(), b"");
    assert_eq!(idle.until_closed(), b"");
    let gone = UnixStream::connect(house.path()).unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    assert!(!house.other_path().exists());

    tell.send(()).unwrap();
    let response = waiting.response().unwrap();
    assert_eq!((response.status, response.body.as_str()), (200, "fresh.token-1\n"));
    assert_eq!(response.header("connection"), Some("close"));
    assert_eq!(waiting.until_closed(), b"");
    house.wait_until_left();
}

#[test]
fn what_was_asked_before_the_end_is_answered() {
    let (go_on, wait) = channel::<oneshot::Sender<()>>();
    let mut house = House::open(Plan::replying(move |_| {
        wait.recv().unwrap().send(()).unwrap();
        plain_token()
    }));
    let mut early = house.connect();
    assert_eq!(early.get("/healthz").status, 200);
    let mut other = house.connect();
    other.send(b"GET /token HTTP/1.1\r\n\r\n");
    house.heard_ask();
    // The whole house is busy with the other one, and stops without having heard of this.
    early.send(b"GET /healthz HTTP/1.1\r\n\r\n");
    go_on.send(house.stopper()).unwrap();
    assert_eq!(other.response().unwrap().status, 200);
    assert_eq!(early.response().expect("the answer").status, 200);
    house.wait_until_left();
}

#[test]
fn an_empty_house_closes_at_once() {
    let mut house = House::open(Plan::default());
    assert_eq!(house.get("/token").status, 200);
    let start = std::time::Instant::now();
    house.stop();
    house.wait_until_left();
    assert!(start.elapsed() < PATIENCE / 4);
}
