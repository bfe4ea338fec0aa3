//! One life, in which everything goes wrong that can.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use ecobee_simulator::{Endpoint, Grant, Mood, Options, Pin, Rotation, Simulator, Tls};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::harness::{Daemon, KEY, PATIENCE, Stage, quick};
use crate::journal::Journal;
use crate::listener::Listener;
use crate::search::Search;

const HEADER: &str = "mark-of-the-header-4711";
const BEARER: &str = "mark-of-the-bearer-4711";
const POSTED: &str = "Mark.Of.What.Was.Posted.4711";
const IMPORTED: &str = "mark-of-what-was-imported-4711";
const MISPLACED: &str = "Qm7kXw2LdT9vRb4NcY6hJp3ZsG8fKe5A";

/// Where secrets belong: found there, they show that the search finds.
const BELONGS: &str = "+ ";

/// Where the daemon logs everything that it can say.
pub(crate) enum Log {
    Text,
    Json,
    Journal(Journal),
}

impl Log {
    /// The words that the daemon runs within, and the format that it is told.
    fn words(&self) -> (Vec<&str>, &str) {
        match self {
            Self::Text => (Vec::new(), "text"),
            Self::Json => (Vec::new(), "json"),
            Self::Journal(journal) => (journal.around(), "journal"),
        }
    }
}

pub(crate) struct Life {
    stage: Stage,
    config: PathBuf,
    daemon: Daemon,
    listener: Listener,
    search: Search,
    log: Log,
    events: Arc<Mutex<Vec<u8>>>,
}

impl Life {
    pub(crate) fn begin(log: Log) -> Self {
        let listener = Listener::open(&["404 Not Found", "404 Not Found", "404 Not Found", "404 Not Found"]);
        let options = Options { rotation: Rotation::Reuse, ..quick(Duration::from_secs(4)) };
        let stage = Stage::new(options);
        let folder = stage.folder.path().to_owned();
        let teller = folder.join("tell");
        let script = "#!/bin/sh\n{ cat; tr '\\0' '\\n' < /proc/$$/environ; tr '\\0' '\\n' < /proc/$$/cmdline; \
                      tr '\\0' '\\n' < /proc/$PPID/cmdline; echo; } >> \"$(dirname \"$0\")/told\"\nexit 3\n";
        fs::write(&teller, script).expect("it is ours");
        fs::set_permissions(&teller, fs::Permissions::from_mode(0o755)).expect("it is ours");
        fs::write(folder.join("bearer"), BEARER).expect("it is ours");
        let notify = format!(
            "[notify]\nwebhook = \"{}\"\nwebhook-headers = {{ X-Key = \"{HEADER}\" }}\nwebhook-bearer-file = \
             \"bearer\"\ncommand = [\"{}\"]",
            listener.url(),
            teller.display()
        );
        let stage = stage
            .top_level(&notify)
            .refresh("ahead = \"1m\"\nretry-initial = \"1s\"\nretry-max = \"1s\"\nrefusals-before-pin = 50")
            .request_timeout("5s");
        let key_in_words = format!("client_id={KEY} is not good");
        stage.simulator.add_mood(
            Mood::error("invalid_scope").with_description(key_in_words).on(Endpoint::Authorize).once(),
        );
        let config = stage.config();
        let (around, format) = log.words();
        let launched = stage.launch_with(&around, |command| {
            command.env("RUST_LOG", "trace").args(["--log-format", format]);
        });
        let daemon = launched.ready();
        Self { stage, config, daemon, listener, search: Search::default(), log, events: Arc::default() }
    }

    pub(crate) fn live(mut self) {
        self.listen_to_events();
        self.pin();
        self.failures();
        self.clients();
        self.our_client();
        self.reloads();
        self.import();
        self.end();
    }

    fn grant(&self) -> Grant {
        self.stage.simulator.truth().grant_of(KEY).expect("a grant").clone()
    }

    fn listen_to_events(&self) {
        let (socket, events) = (self.stage.socket(), Arc::clone(&self.events));
        let mut stream = UnixStream::connect(socket).expect("it connects");
        stream.write_all(b"GET /events HTTP/1.1\r\n\r\n").expect("it is asked");
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = stream.read(&mut buffer) {
                events.lock().expect("no panic").extend_from_slice(&buffer[..length]);
            }
        });
    }

    fn pin(&mut self) {
        self.daemon.pin("home");
        let code = self.stage.simulator.truth().pins().last().expect("a PIN").code.clone();
        let echo = |name: &str| {
            let words = format!("POST /token?grant_type=ecobeePin&code={code}&client_id={KEY} code {code}");
            Mood::error(name).with_description(words).on(Endpoint::Poll).once()
        };
        for name in ["account_locked", "authorization_pending", "invalid_request", "invalid_client"] {
            self.stage.simulator.add_mood(echo(name));
        }
        self.live_through_moods();
        self.stage.simulator.approve(Pin::Latest).expect("it can be entered");
        self.daemon.token("home");
        for _ in ["of the PIN", "of the token"] {
            self.search.add("webhook bodies", self.listener.next().body);
        }
    }

    /// Waits until all moods are over, and looks at everything meanwhile.
    fn live_through_moods(&mut self) {
        let deadline = Instant::now() + PATIENCE * 2;
        while !self.stage.simulator.moods().is_empty() {
            let left = self.stage.simulator.moods();
            assert!(Instant::now() < deadline, "some moods find no call: {left:?}");
            self.look();
            thread::park_timeout(Duration::from_millis(150));
        }
        self.look();
    }

    fn look(&mut self) {
        for path in
            ["/status", "/accounts/home/status", "/pin", "/metrics", "/healthz", "/accounts/home/events?x=1"]
        {
            let answer = self.daemon.get(path);
            self.search.add("answers without a token", format!("{:?} {}", answer.headers, answer.body));
        }
        let token = self.daemon.get("/token");
        let place = if token.status == 200 { "+ token answers" } else { "answers without a token" };
        self.search.add(place, token.body);
        self.search.add("+ the store", self.stage.stored("home"));
    }

    fn failures(&mut self) {
        let grant = self.grant();
        let refresh = &grant.refresh_token().expect("a refresh token").value;
        let access = &grant.access_token().expect("an access token").value;
        let percent = utf8_percent_encode(refresh, NON_ALPHANUMERIC).to_string();
        let url = format!(
            "/token?grant_type=refresh_token&refresh_token={percent}&client_id={KEY}&ecobee_type=jwt"
        );
        let in_json = serde_json::json!({ "refresh_token": refresh, "url": url }).to_string();
        let slashed = in_json.replace('/', "\\/");
        let escaped = refresh.bytes().fold(String::new(), |text, byte| text + &format!("\\u{byte:04x}"));
        let unbroken = format!("{{\"error\": \"server_error\", \"error_description\": \"bad: {escaped}\"}}");
        let unusable = format!("{{\"access_token\": \"a b {access}\", \"refresh_token\": \"{refresh}\"}}");
        let long = format!("{}{refresh}", "x".repeat(190));
        let mut moods = vec![
            Mood::raw(503, "text/plain", url.clone()),
            Mood::raw(500, "application/json", unbroken),
            Mood::raw(200, "application/json", unusable),
            Mood::raw(
                500,
                "application/json",
                format!("{{\"status\": {{\"code\": 3, \"message\": \"{url}\"}}}}"),
            ),
            Mood::raw(
                400,
                "application/json",
                format!("{{\"error\": \"{refresh}\", \"error_uri\": \"{url}\"}}"),
            ),
            Mood::raw(200, "text/html", format!("<html>{refresh}")),
            Mood::raw(200, "application/json", format!("{{\"access_token\": \"{access}\", \"refresh_")),
            Mood::redirect(format!("https://127.0.0.1:1{url}")),
            Mood::html(502),
            Mood::empty(503),
            Mood::half_body(),
            Mood::drop(),
            Mood::reset(),
            Mood::reset_after_headers(),
            Mood::huge(1 << 20),
            Mood::status(429).with_retry_after("1"),
            Mood::hang(),
        ];
        for words in [&url, &in_json, &slashed, &long, access, &format!("the token {}…", &refresh[..12])] {
            moods.push(Mood::error("server_error").with_description(words.as_str()));
            moods.push(Mood::error("invalid_grant").with_description(words.as_str()));
        }
        for mood in moods {
            self.stage.simulator.add_mood(mood.on(Endpoint::Refresh).once());
        }
        self.live_through_moods();
        self.daemon.signal("USR1");
        self.daemon.token("home");
    }

    /// Clients that say their token where it does not belong, and one that has it refreshed.
    fn clients(&mut self) {
        let access = self.grant().access_token().expect("an access token").value.clone();
        for token in [POSTED, &access] {
            let length = token.len();
            for request in [
                format!("GET /token?token={token} HTTP/1.1\r\n\r\n"),
                format!("GET /accounts/{token}/token HTTP/1.1\r\n\r\n"),
                format!("GET /{token} HTTP/1.1\r\n\r\n"),
                format!("GET /token?min_ttl={token} HTTP/1.1\r\n\r\n"),
                format!("{token} /token HTTP/1.1\r\n\r\n"),
                format!("GET /token HTTP/{token}\r\n\r\n"),
                format!("PUT /token HTTP/1.1\r\nAuthorization: Bearer {token}\r\n\r\n"),
                format!("GET /status HTTP/1.1\r\nAuthorization: Bearer {token}\r\nAccept: {token}\r\n\r\n"),
                format!("GET /status HTTP/1.1\r\n{token}\r\n\r\n"),
                format!("GET http://{token}/nowhere HTTP/1.1\r\nHost: {token}\r\n\r\n"),
                format!("POST /nowhere HTTP/1.1\r\nContent-Length: {length}\r\n\r\n{token}"),
                format!("POST /token/rejected HTTP/1.1\r\nContent-Length: 999\r\n\r\n{token}"),
                format!("POST /token/rejected HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{token}\r\n"),
                format!(
                    "POST /token/rejected HTTP/1.1\r\nContent-Length: {}\r\n\r\n{token}\u{ff}",
                    length + 2
                ),
                token.to_owned(),
            ] {
                let answer = self.raw(&request);
                let served = answer.starts_with(b"HTTP/1.1 200 ");
                let place = if served { "+ token answers" } else { "answers to tokens in wrong places" };
                self.search.add(place, answer);
            }
        }
        for body in [POSTED, &access, &access, &access] {
            let answer = self.daemon.post("/token/rejected", body);
            let place = if answer.status == 200 { "+ token answers" } else { "answers without a token" };
            self.search.add(place, answer.body);
        }
        for path in ["/refresh", "/refresh", "/authorize", "/authorize"] {
            let answer = self.daemon.post(path, "");
            let place = if answer.status == 200 && path == "/refresh" {
                "+ token answers"
            } else {
                "answers without a token"
            };
            self.search.add(place, answer.body);
        }
        self.search.add("+ token answers", self.daemon.get("/header").body);
        self.search.add("+ token answers", self.daemon.get_json("/token").body);
    }

    fn raw(&self, request: &str) -> Vec<u8> {
        let mut stream = UnixStream::connect(self.stage.socket()).expect("it connects");
        // Whoever has heard enough hangs up.
        let _ = stream.write_all(request.as_bytes());
        let _ = stream.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer
    }

    fn client(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ecobee-token"));
        command.arg("--socket").arg(self.stage.socket()).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn our_client(&mut self) {
        let access = self.daemon.token("home");
        for arguments in [
            &["status"][..],
            &["status", "--json"],
            &["pin"],
            &["--account", "nobody"],
            &["--min-ttl", "24h"],
            &["authorize"],
            &["exec", "--", "/no/such/program"],
            &["rejected"],
        ] {
            let mut child = self.client(arguments).spawn().expect("it starts");
            let mut input = child.stdin.take().expect("its input is ours");
            // Read while it waits for the end of its input, where it reads that at all.
            let _ = input.write_all(access.as_bytes());
            let process = Path::new("/proc").join(child.id().to_string());
            for name in ["cmdline", "environ"] {
                self.search.add("client: cmdline, environ", fs::read(process.join(name)).unwrap_or_default());
            }
            drop(input);
            let output = child.wait_with_output().expect("it ends");
            self.search.add("client: standard error", output.stderr);
            let place = if arguments == ["rejected"] { "+ token answers" } else { "client: standard output" };
            self.search.add(place, output.stdout);
        }
        let curl = self.stage.folder.path().join("curl");
        let script = "#!/bin/sh\ntr '\\0' '\\n' < /proc/$$/cmdline; tr '\\0' '\\n' < /proc/$$/environ\n";
        fs::write(&curl, script).expect("it is ours");
        fs::set_permissions(&curl, fs::Permissions::from_mode(0o755)).expect("it is ours");
        let path =
            format!("{}:{}", self.stage.folder.path().display(), std::env::var("PATH").unwrap_or_default());
        let output = self.client(&["curl", "--", "https://127.0.0.1/"]).env("PATH", path).output();
        let output = output.expect("it runs");
        assert!(String::from_utf8_lossy(&output.stdout).contains("/dev/fd/"), "{output:?}");
        self.search.add("curl: cmdline, environ", output.stdout);
        let output =
            self.client(&["exec", "--", "sh", "-c", "tr '\\0' ' ' < /proc/$$/cmdline; env"]).output();
        let output = output.expect("it runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (command, environment) = text.split_once("; env").expect("its arguments and its environment");
        self.search.add("exec: cmdline", command);
        self.search.add("+ exec: environ", environment);
    }

    fn reload(&mut self, text: &str, what: &str, told: impl Fn(&str) -> bool) {
        fs::write(&self.config, text).expect("it is ours");
        let before = self.daemon.notified.all().len();
        self.daemon.signal("HUP");
        self.daemon.notified.wait_until(what, |lines| {
            lines.iter().skip(before).any(|line| line.starts_with("STATUS=") && told(line)).then_some(())
        });
        self.look();
    }

    fn reloads(&mut self) {
        let good = fs::read_to_string(&self.config).expect("it is ours");
        for bad in [
            format!("{good}\napi-keys = \"{MISPLACED}\"\n"),
            format!("{good}\n\"{MISPLACED}\"\n"),
            format!("{good}\n{MISPLACED}\n"),
            format!("{good}\napi-key = \"{MISPLACED}\n"),
            format!("{good}\n{MISPLACED} = 1\n"),
            format!("{good}\n[accounts.\"{MISPLACED}\"]\n"),
            format!("{good}\nscope = \"{MISPLACED}\"\n"),
            good.replace("ahead = \"1m\"", &format!("ahead = \"{MISPLACED}\"")),
            good.replace("X-Key", &format!("\"{MISPLACED} \"")),
        ] {
            self.reload(&bad, "that it is bad", |line| line.contains("the new configuration is not in use"));
        }
        let stranger = Simulator::start(Options { tls: Tls::Good, ..Options::default() }).expect("it starts");
        let elsewhere = good.replace(&self.stage.simulator.url(), &stranger.url());
        self.reload(&elsewhere, "trouble with TLS", |line| line.starts_with("STATUS=home: "));
        self.daemon.wait_for_status("home", "a certificate of nobody's", |status| {
            status["last_error"].as_str().is_some_and(|error| error.contains("issued by nobody"))
        });
        self.look();
        self.reload(&good, "the old one", |line| !line.contains("not in use"));
        self.daemon.wait_for_status("home", "a token again", |status| status["failures"] == 0);
    }

    /// Into a store of its own, for the daemon holds this one; and into this one, which refuses.
    fn import(&mut self) {
        let text = fs::read_to_string(&self.config).expect("it is ours");
        let state = self.stage.state().display().to_string();
        let other = self.stage.folder.path().join("other.toml");
        fs::write(&other, text.replace(&state, &format!("{state}-other"))).expect("it is ours");
        let file = self.stage.folder.path().join("ecobee.conf");
        for (config, content) in [
            (&self.config, IMPORTED.to_owned()),
            (&other, format!("{{\"REFRESH_TOKEN\": \"{IMPORTED}\", \"API_KEY\": \"{MISPLACED}\"}}")),
            (&other, format!("{{\"REFRESH_TOKEN\": \"{IMPORTED}")),
            (&other, format!("{IMPORTED} {IMPORTED}")),
            (&other, IMPORTED.to_owned()),
        ] {
            fs::write(&file, content).expect("it is ours");
            let output = Command::new(crate::harness::binary())
                .args(["import", "--config"])
                .args([config, &file])
                .env("RUST_LOG", "trace")
                .output()
                .expect("it runs");
            self.search.add("import: outputs", [output.stdout, output.stderr].concat());
        }
        let stored = fs::read(PathBuf::from(format!("{state}-other/home.json"))).expect("the last was good");
        self.search.add("+ the store", stored);
    }

    fn end(mut self) {
        let process = Path::new("/proc").join(self.daemon.pid().to_string());
        self.search.add("daemon: cmdline", fs::read(process.join("cmdline")).expect("it lives"));
        if rustix::process::geteuid().is_root() {
            self.search.add("daemon: environ", fs::read(process.join("environ")).expect("it lives"));
        }
        self.look();
        let truth = self.stage.simulator.truth();
        self.daemon.signal("TERM");
        let notified = self.daemon.notified.clone();
        let (status, log) = self.daemon.ended();
        assert!(status.success(), "{status}");
        self.search.add("daemon: log", log.join("\n"));
        self.search.add("STATUS= and the like", notified.all().join("\n"));
        self.search.add("/events", &*self.events.lock().expect("no panic"));
        self.search.add(
            "command: environ, cmdline, stdin",
            fs::read(self.stage.folder.path().join("told")).expect("told"),
        );
        if let Log::Journal(journal) = self.log {
            self.search.add("journal", journal.end());
        }
        for entry in fs::read_dir(self.stage.state()).expect("it is ours").filter_map(Result::ok) {
            let mode = entry.metadata().expect("it is there").permissions().mode() & 0o7777;
            assert_eq!(mode, 0o600, "{}", entry.path().display());
        }

        let mut secrets: Vec<(String, String)> = [
            ("API key", KEY),
            ("webhook header", HEADER),
            ("webhook bearer", BEARER),
            ("webhook path", "path-hunter2"),
            ("webhook query", "query-hunter2"),
            ("posted token", POSTED),
            ("imported token", IMPORTED),
            ("misplaced key", MISPLACED),
        ]
        .map(|(what, secret)| (what.to_owned(), secret.to_owned()))
        .to_vec();
        for grant in truth.grants() {
            secrets.extend(
                grant.access_tokens.iter().map(|token| ("access token".to_owned(), token.value.clone())),
            );
            secrets.extend(
                grant.refresh_tokens.iter().map(|token| ("refresh token".to_owned(), token.value.clone())),
            );
        }
        secrets.extend(truth.pins().iter().map(|pin| ("code".to_owned(), pin.code.clone())));
        let findings = self.search.look_for(&secrets);
        println!("{findings}");
        for place in &findings.places {
            if place.place.starts_with(BELONGS) {
                assert!(!place.found.is_empty(), "the search finds nothing in {}", place.place);
            } else {
                assert!(place.found.is_empty(), "{:?} in {}:\n{findings}", place.found, place.place);
            }
            assert!(place.bytes > 1 || place.place == "daemon: log", "nothing was said in {}", place.place);
        }
    }
}
