//! Sockets that systemd hands over.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use ecobee_simulator::{CallKind, Endpoint, Mood};

use crate::harness::http::{Connection, Response, ask};
use crate::harness::{HOUR, Stage};
use crate::manager::{Door, launch_with};

#[test]
fn an_inherited_socket_is_served_and_left_where_it_is() {
    let stage = Stage::with_lifetime(HOUR);
    let door = Door::of(&stage);
    let daemon = door.start(&stage);

    assert_eq!(daemon.get("/status").status, 200);
    let path = stage.socket().display().to_string();
    daemon.log.wait_for("where it listens", |line| {
        line.contains(&format!("listening at {path}, handed over by systemd"))
    });

    assert!(daemon.stop().success());
    assert!(stage.socket().exists());
    UnixStream::connect(stage.socket()).expect("clients may wait there");
}

#[test]
fn the_path_that_is_said_is_the_one_that_is_listened_at() {
    let stage = Stage::with_lifetime(HOUR).socket_section("group = \"no-such-group\"");
    stage.config();
    let elsewhere = stage.folder.path().join("elsewhere");
    let listener = UnixListener::bind(&elsewhere).expect("it binds");

    let daemon = launch_with(&stage, vec![listener.into()]).ready();

    daemon.log.wait_for("where it listens", |line| {
        line.contains(&format!("listening at {},", elsewhere.display()))
    });
    assert_eq!(ask(&elsewhere, "GET /status").expect("it answers").status, 200);
    assert!(!stage.socket().exists(), "[socket] is not used");
}

#[test]
fn every_inherited_socket_is_served() {
    let stage = Stage::with_lifetime(HOUR);
    let door = Door::of(&stage);
    let second = stage.folder.path().join("second");
    let listener = UnixListener::bind(&second).expect("it binds");

    let daemon = launch_with(&stage, vec![door.handed_over(), listener.into()]).ready();

    for path in [&stage.socket(), &second] {
        assert_eq!(ask(path, "GET /status").expect("it answers").status, 200, "{}", path.display());
    }
    assert!(daemon.stop().success());
    assert!(second.exists());
}

#[test]
fn descriptors_for_another_process_are_left_alone() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.launch_with(&[], |command| {
        command.env("LISTEN_PID", "1").env("LISTEN_FDS", "1");
    });
    assert_eq!(daemon.ready().get("/status").status, 200, "at its own socket");
}

#[test]
fn what_is_no_listening_unix_stream_socket_is_refused() {
    let stage = Stage::with_lifetime(HOUR);
    stage.config();
    let datagram = stage.folder.path().join("datagram");
    let file = stage.folder.path().join("file");
    fs::write(&file, "no socket").expect("it is ours");
    let kinds: [(OwnedFd, &str); 5] = [
        (UdpSocket::bind("127.0.0.1:0").expect("it binds").into(), "it is not a Unix socket"),
        (TcpListener::bind("127.0.0.1:0").expect("it binds").into(), "it is not a Unix socket"),
        (UnixDatagram::bind(datagram).expect("it binds").into(), "it is not a stream socket"),
        (UnixStream::pair().expect("a pair").0.into(), "it does not listen"),
        (File::open(file).expect("it is there").into(), "it is not a socket"),
    ];
    for (descriptor, fault) in kinds {
        let daemon = launch_with(&stage, vec![descriptor]);
        let notified = daemon.notified.clone();
        let (status, log) = daemon.ended();
        let log = log.join("\n");
        assert_eq!(status.code(), Some(73), "{fault}: {log}");
        assert!(log.contains(&format!("descriptor 3 from systemd: {fault}; let the .socket unit")), "{log}");
        notified
            .wait_for("the reason in the status", |line| line.starts_with("STATUS=") && line.contains(fault));
    }
    assert_eq!(stage.simulator.calls(), []);
}

#[test]
fn one_bad_socket_among_good_ones_is_refused_too() {
    let stage = Stage::with_lifetime(HOUR);
    let door = Door::of(&stage);
    let udp = UdpSocket::bind("127.0.0.1:0").expect("it binds");
    let (status, log) = launch_with(&stage, vec![door.handed_over(), udp.into()]).ended();
    assert_eq!(status.code(), Some(73));
    assert!(log.join("\n").contains("descriptor 4 from systemd"), "{log:?}");
}

#[test]
fn descriptors_that_are_not_there_are_an_error_and_no_crash() {
    let stage = Stage::with_lifetime(HOUR);
    for count in ["1", "4000000000", "many"] {
        let script = format!("LISTEN_PID=$$ LISTEN_FDS={count} exec \"$@\"");
        let around = ["sh", "-c", &script, "sh"];
        let (status, log) = stage.launch_with(&around, |_| {}).ended();
        assert_eq!(status.code(), Some(73), "{count}: {log:?}");
        assert!(log.join("\n").contains("LISTEN_FDS"), "{log:?}");
    }
}

#[test]
fn a_bad_configuration_ends_the_daemon_before_anyone_is_let_in_and_clients_wait_for_the_mended_one() {
    let stage = Stage::with_lifetime(HOUR);
    let door = Door::of(&stage);
    door.start(&stage).kill();
    stage.rewrite(|text| text.replace("ahead", "ahed"));
    let mut knocking = Connection::open(&stage.socket()).expect("the queue takes it");
    knocking.send("GET /status", None, "").expect("and its request");

    let daemon = door.launch(&stage);
    let notified = daemon.notified.clone();
    let (status, log) = daemon.ended();

    assert_eq!(status.code(), Some(78), "{log:?}");
    assert!(log.join("\n").contains("refresh.ahed"), "{log:?}");
    notified.wait_for("the reason in the status", |line| {
        line.starts_with("STATUS=") && line.contains("refresh.ahed")
    });
    assert!(!notified.all().contains(&"READY=1".to_owned()));
    stage.rewrite(|text| text.replace("ahed", "ahead"));
    let _daemon = door.start(&stage);
    assert_eq!(knocking.receive().expect("an answer at last").status, 200);
}

/// What many clients saw.
#[derive(Default)]
struct Crowd {
    answered: AtomicU64,
    failed: AtomicU64,
    enough: AtomicBool,
}

impl Crowd {
    fn count(&self, what: &str, outcome: io::Result<Response>) {
        match outcome {
            Ok(response) if response.status == 200 => {
                self.answered.fetch_add(1, Ordering::Relaxed);
            }
            bad => {
                eprintln!("{what}: {bad:?}");
                self.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// A connection for each request, as most scripts do it.
    fn one_by_one(&self, socket: &Path) {
        while !self.enough.load(Ordering::Relaxed) {
            self.count("on a new connection", ask(socket, "GET /token"));
        }
    }

    /// Connects, and takes its time before it says what it came for.
    fn hesitating(&self, socket: &Path) {
        while !self.enough.load(Ordering::Relaxed) {
            let outcome = Connection::open(socket).and_then(|mut connection| {
                thread::park_timeout(Duration::from_millis(20));
                connection.ask("GET /token", None, "")
            });
            self.count("after some thought", outcome);
        }
    }

    /// A connection for many requests. A request that could not be sent any more goes over the next one; a request
    /// that was sent must be answered.
    fn keeping(&self, socket: &Path) {
        while !self.enough.load(Ordering::Relaxed) {
            let Ok(mut connection) = Connection::open(socket) else {
                self.failed.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            while !self.enough.load(Ordering::Relaxed) && connection.send("GET /token", None, "").is_ok() {
                let outcome = connection.receive();
                let last =
                    outcome.as_ref().is_ok_and(|response| response.header("connection") == Some("close"));
                self.count("on a kept connection", outcome);
                if last {
                    break;
                }
            }
        }
    }
}

#[test]
fn restarts_under_a_stream_of_requests_fail_none_and_cost_no_call() {
    let stage = Stage::with_lifetime(HOUR);
    let door = Door::of(&stage);
    let mut daemon = Some(door.start(&stage));
    let first = daemon.as_ref().expect("just started");
    first.enter_pin(&stage.simulator, "home", stage.key_of("home"));
    stage.simulator.clear_calls();
    let (crowd, socket) = (Crowd::default(), stage.socket());

    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| crowd.one_by_one(&socket));
            scope.spawn(|| crowd.keeping(&socket));
            scope.spawn(|| crowd.hesitating(&socket));
        }
        let wait_for_more = || {
            let wanted = crowd.answered.load(Ordering::Relaxed) + 200;
            while crowd.answered.load(Ordering::Relaxed) < wanted && crowd.failed.load(Ordering::Relaxed) == 0
            {
                thread::park_timeout(Duration::from_millis(5));
            }
        };
        for _ in 0..5 {
            wait_for_more();
            assert!(daemon.take().is_some_and(|daemon| daemon.stop().success()));
            daemon = Some(door.start(&stage));
        }
        wait_for_more();
        crowd.enough.store(true, Ordering::Relaxed);
    });

    assert_eq!(crowd.failed.into_inner(), 0, "of {} requests", crowd.answered.into_inner());
    assert_eq!(stage.simulator.calls(), []);
}

#[test]
fn while_a_refresh_is_awaited_the_stop_is_extended_again_and_again_and_newcomers_wait_for_the_next_daemon() {
    let stage = Stage::with_lifetime(HOUR).request_timeout("60s");
    let door = Door::of(&stage);
    let daemon = door.start(&stage);
    daemon.enter_pin(&stage.simulator, "home", stage.key_of("home"));
    let old = daemon.token("home");
    let mut known = Connection::open(&stage.socket()).expect("it connects");
    assert_eq!(known.ask("GET /status", None, "").expect("an answer").status, 200);
    stage.simulator.add_mood(Mood::delay_after_commit(Duration::from_secs(12)).on(Endpoint::Refresh).once());
    daemon.signal("USR1");
    stage.wait_for_call(CallKind::Refresh);

    daemon.signal("TERM");
    daemon.notified.wait_for("STOPPING=1", |line| line == "STOPPING=1");
    let mut newcomer = Connection::open(&stage.socket()).expect("the queue takes it");
    newcomer.send("GET /token", None, "").expect("and its request");
    let answer = known.ask("GET /token", None, "").expect("whoever is inside is served");
    assert_eq!((answer.status, answer.text()), (200, old.as_str()));
    assert_eq!(answer.header("connection"), Some("close"));

    let notified = daemon.notified.clone();
    let (status, log) = daemon.ended();
    assert!(status.success(), "{log:?}");
    notified.wait_until("an extension at the stop, and every 5 s of the 12", |lines| {
        (lines.iter().filter(|line| *line == "EXTEND_TIMEOUT_USEC=15000000").count() >= 3).then_some(())
    });
    stage.simulator.clear_calls();
    let daemon = door.start(&stage);
    let token = newcomer.receive().expect("an answer by the next daemon");
    assert_eq!((token.status, token.text()), (200, daemon.token("home").as_str()));
    assert_ne!(token.text(), old, "what the refresh brought was saved");
    assert_eq!(stage.simulator.calls(), []);
}

#[test]
fn an_idle_connection_is_told_that_the_end_has_come_before_it_can_lose_a_request() {
    let stage = Stage::with_lifetime(HOUR);
    let door = Door::of(&stage);
    let daemon = door.start(&stage);
    let mut stream = UnixStream::connect(stage.socket()).expect("it connects");
    let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(request).expect("it takes a request");
    let mut first = [0; 16];
    stream.read_exact(&mut first).expect("it answers");

    assert!(daemon.stop().success());

    let mut rest = String::new();
    BufReader::new(&stream).read_to_string(&mut rest).expect("a clean end, and no reset");
    let error = stream.write_all(request).expect_err("nobody takes it");
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}
