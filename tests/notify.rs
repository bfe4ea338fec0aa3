//! People are told: the real daemon, a real HTTP server, a real command.

mod harness;
#[path = "notify/listener.rs"]
mod listener;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use ecobee_simulator::Pin;
use harness::{KEY, PATIENCE, Stage};
use listener::{Listener, Scene};
use serde_json::Value;

const HOUR: Duration = Duration::from_secs(3600);

/// Secrets that a configuration of these tests holds; no log may show them.
const SECRETS: [&str; 4] = ["path-hunter2", "query-hunter2", "header-hunter2", "bearer-hunter2"];

fn stage(notify: &str) -> Stage {
    Stage::with_lifetime(HOUR).top_level(&format!("[notify]\n{notify}"))
}

/// A script in the stage's folder.
fn script(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("a script");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it may be run");
    path
}

/// Waits until a file is there and whole: its last line is `end`.
fn wait_for_file(path: &Path) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = fs::read_to_string(path).unwrap_or_default();
        if text.trim_end().ends_with("end") {
            return text;
        }
        assert!(Instant::now() < deadline, "waited in vain for {}: {text}", path.display());
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

fn tokend(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(harness::binary())
        .args(arguments)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("it runs")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn test_notify(stage: &Stage) -> Output {
    let config = stage.config();
    tokend(&["test-notify", "--config", config.to_str().expect("UTF-8")], &[])
}

#[test]
fn a_webhook_hears_of_the_first_pin_and_of_the_token() {
    let listener = Listener::open(&[]);
    let stage = stage(&format!("webhook = \"{}\"", listener.url()));
    let daemon = stage.start();

    let pin = daemon.pin("home");
    let told = listener.next();
    assert_eq!(told.line, "POST /path-hunter2?key=query-hunter2 HTTP/1.1");
    assert_eq!(told.header("content-type"), Some("application/json"));
    let json = told.json();
    assert_eq!(json["event"], "pin-waiting");
    assert_eq!(json["account"], "home");
    assert_eq!(json["pin"], pin.as_str());
    assert_eq!(json["enter_at"], "ecobee.com, My Apps");
    assert!(json["text"].as_str().is_some_and(|text| text.contains(&format!("home: enter PIN {pin} at"))));
    let shown: Value = daemon.get("/pin").json();
    assert_eq!(json["expires_at"], shown["expires_at"]);

    stage.simulator.approve(Pin::Latest).expect("it can be entered");
    let json = listener.next().json();
    assert_eq!((&json["event"], &json["account"]), (&"token-back".into(), &"home".into()));
    assert_eq!(json["pin"], Value::Null);
}

#[test]
fn header_fields_and_the_bearer_are_sent_and_no_log_shows_them() {
    let listener = Listener::open(&["404 Not Found"]);
    let stage = stage(&format!(
        "webhook = \"{}\"\nwebhook-headers = {{ Title = \"ecobee\", X-Key = \"header-hunter2\" }}\n\
         webhook-bearer-file = \"bearer\"",
        listener.url()
    ));
    fs::write(stage.folder.path().join("bearer"), "bearer-hunter2\n").expect("written");
    let daemon = stage.start();

    let told = listener.next();
    assert_eq!(told.header("title"), Some("ecobee"));
    assert_eq!(told.header("x-key"), Some("header-hunter2"));
    assert_eq!(told.header("authorization"), Some("Bearer bearer-hunter2"));

    let place = listener.url();
    let origin = place.split("/path-hunter2").next().expect("a part").to_owned();
    let refused = daemon.log.wait_for("the refusal", |line| line.contains("404 Not Found"));
    assert!(refused.contains(&format!("webhook {origin}: answered 404")), "{refused}");
    daemon.enter_pin(&stage.simulator, "home", KEY);
    assert_eq!(listener.next().json()["event"], "token-back", "the refused message does not come again");
    daemon.log.wait_for("the delivery", |line| line.contains("token-back told"));
    for line in daemon.log.all() {
        assert!(SECRETS.iter().all(|secret| !line.contains(secret)), "{line}");
    }
}

#[test]
fn a_webhook_by_tls_is_believed_like_ecobee_and_a_stranger_gets_nothing() {
    let listener = Listener::open_with(Scene { tls: true, ..Scene::default() });
    let notify = format!("webhook = \"{}\"", listener.url());
    let trusting = stage(&notify).ecobee(&format!("ca-file = \"{}\"", listener.ca_file().display()));
    let output = test_notify(&trusting);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(listener.next().json()["event"], "test");

    let output = test_notify(&stage(&notify));
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("issued by nobody this machine trusts"), "{}", said(&output));
    assert!(listener.is_silent());
}

#[test]
fn what_fails_for_a_reason_that_passes_is_tried_again_and_said_once() {
    let listener = Listener::open(&["500 Oops", "429 Slowly\r\nRetry-After: 1"]);
    let stage = stage(&format!("webhook = \"{}\"", listener.url()));
    let daemon = stage.start();
    let first = listener.next();
    let again = listener.next();
    assert!(again.at - first.at >= Duration::from_millis(3700), "{:?}", again.at - first.at);
    let last = listener.next();
    assert!(last.at - again.at >= Duration::from_millis(7400), "the pause doubles: {:?}", last.at - again.at);
    assert_eq!((&again.body, &last.json()["event"]), (&again.body, &"pin-waiting".into()));
    daemon.log.wait_for("the delivery", |line| line.contains("pin-waiting told at last, after 2 failures"));
    let warned =
        daemon.log.all().iter().filter(|line| line.contains(" WARN ") && line.contains("webhook")).count();
    assert_eq!(warned, 1);
}

#[test]
fn a_server_that_is_not_there_yet_hears_it_when_it_is_and_the_pin_of_that_moment() {
    let listener = Listener::reserve();
    let stage = stage(&format!("webhook = \"{}\"", listener.url()));
    let daemon = stage.start();
    daemon.log.wait_for("the failure", |line| line.contains("is not told yet") && line.contains("refused"));
    let first = daemon.pin("home");
    let answer = daemon.post("/authorize", "");
    let second = answer.member("pin");
    assert_ne!((answer.status, &second), (429, &first));
    let listener = listener.listen();
    assert_eq!(listener.next().json()["pin"], second.as_str());
}

#[test]
fn a_webhook_that_hangs_holds_up_neither_tokens_nor_commands_nor_the_end() {
    let listener = Listener::open_with(Scene { hangs: true, ..Scene::default() });
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out");
    let command = script(folder.path(), "tell", &format!("(cat; echo end) > {}", out.display()));
    let stage = stage(&format!("webhook = \"{}\"\ncommand = [\"{}\"]", listener.url(), command.display()));
    let daemon = stage.start();
    listener.next();
    let asked_at = Instant::now();
    daemon.enter_pin(&stage.simulator, "home", KEY);
    assert!(asked_at.elapsed() < Duration::from_secs(15), "{:?}", asked_at.elapsed());
    wait_for_file(&out);
    let stopped_at = Instant::now();
    let log = daemon.log.clone();
    assert!(daemon.stop().success());
    assert!(stopped_at.elapsed() < Duration::from_secs(10), "{:?}", stopped_at.elapsed());
    log.wait_for("what was lost", |line| line.contains("token-back was not told: webhook http"));
}

#[test]
fn what_a_webhook_took_is_told_even_if_the_rest_of_its_answer_never_comes() {
    let listener = Listener::open_with(Scene { trails_off: true, ..Scene::default() });
    let output = test_notify(&stage(&format!("webhook = \"{}\"", listener.url())));
    assert!(output.status.success() && said(&output).contains("answered 200 OK"), "{}", said(&output));
}

#[test]
fn a_restart_tells_nobody_twice() {
    let listener = Listener::open(&[]);
    let stage = stage(&format!("webhook = \"{}\"", listener.url()));
    let daemon = stage.start();
    let pin = listener.next().json()["pin"].clone();
    daemon.log.wait_for("the delivery", |line| line.contains("pin-waiting told"));
    assert!(daemon.stop().success());
    for kill in [true, false] {
        let daemon = stage.start();
        assert_eq!(daemon.pin("home"), pin.as_str().expect("a PIN"));
        if kill { daemon.kill() } else { assert!(daemon.stop().success()) }
    }
    let daemon = stage.start();
    daemon.enter_pin(&stage.simulator, "home", KEY);
    assert_eq!(listener.next().json()["event"], "token-back", "the next thing that people hear");
    daemon.log.wait_for("the delivery", |line| line.contains("token-back told"));
    assert!(daemon.stop().success());
    let daemon = stage.start();
    assert_eq!(daemon.state_of("home"), "authorized");
    assert!(daemon.stop().success());
    assert!(listener.is_silent());
}

#[test]
fn a_reload_takes_another_webhook_over() {
    let (old, new) = (Listener::open(&[]), Listener::open(&[]));
    let first = stage(&format!("webhook = \"{}\"", old.url()));
    let daemon = first.start();
    assert_eq!(old.next().json()["event"], "pin-waiting");
    daemon.log.wait_for("the delivery", |line| line.contains("pin-waiting told"));
    let config = fs::read_to_string(first.config()).expect("it was written");
    let path = first.folder.path().join("config.toml");
    fs::write(path, config.replace(&old.url(), &new.url())).expect("written");
    daemon.signal("HUP");
    daemon.log.wait_for("the reload", |line| line.contains("reloaded"));
    daemon.enter_pin(&first.simulator, "home", KEY);
    assert_eq!(new.next().json()["event"], "token-back");
    assert!(old.is_silent());
}

#[test]
fn many_accounts_at_once_are_told_in_few_messages_and_each_once() {
    let names: Vec<String> = (0..60).map(|number| format!("a{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let listener = Listener::open(&[]);
    let stage = stage(&format!("webhook = \"{}\"", listener.url())).accounts(&names);
    let daemon = stage.start();
    for name in &names {
        daemon.pin(name);
    }
    let mut told: Vec<String> = Vec::new();
    let mut messages = 0;
    while told.len() < names.len() {
        let json = listener.next().json();
        messages += 1;
        match json["accounts"].as_array() {
            None => told.push(json["account"].as_str().expect("one").to_owned()),
            Some(crowd) => {
                assert_eq!(json["count"], crowd.len());
                let names = crowd.iter().map(|one| one["account"].as_str().expect("a name").to_owned());
                told.extend(names);
            }
        }
        // The crowd that is left is told a minute later: as soon as all that has come is known, it is enough.
        if messages == 8 {
            break;
        }
    }
    told.sort_unstable();
    let number = told.len();
    told.dedup();
    assert_eq!(told.len(), number, "nobody is told of twice");
    assert!(messages <= 8, "{messages}");
    // Whatever is left goes in one message when the daemon leaves.
    assert!(daemon.stop().success());
    let mut rest = number;
    while rest < names.len() {
        let json = listener.next().json();
        rest += json["accounts"].as_array().map_or(1, Vec::len);
    }
    assert_eq!(rest, names.len());
}

#[test]
fn a_command_gets_the_facts_and_nothing_else_of_ours() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out");
    let text = format!(
        "exec > {0}.part\nenv | grep -v ^PWD\necho \"argument=$1\"\necho \"stdin=$(cat)\"\necho \"group=$(cut -d' ' -f5 \
         /proc/$$/stat) pid=$$\"\nfor fd in /proc/$$/fd/*; do echo \"fd=${{fd##*/}} $(readlink $fd)\"; done\necho end\nmv {0}.part {0}",
        out.display()
    );
    let command = script(folder.path(), "tell", &text);
    let stage = stage(&format!("command = [\"{}\", \"$(touch /nowhere) `x` ; y\"]", command.display()));
    let daemon =
        stage.start_under(&["env", "MY_SMTP=kept", "CREDENTIALS_DIRECTORY=/run/x", "LISTEN_FDNAMES=x"]);
    let pin = daemon.pin("home");
    let told = wait_for_file(&out);
    let value = |name: &str| {
        let line = told.lines().find(|line| line.starts_with(&format!("{name}=")));
        line.map(|line| line[name.len() + 1..].to_owned())
    };
    assert_eq!(value("ECOBEE_TOKEND_EVENT").as_deref(), Some("pin-waiting"));
    assert_eq!(value("ECOBEE_TOKEND_ACCOUNT").as_deref(), Some("home"));
    assert_eq!(value("ECOBEE_TOKEND_PIN").as_ref(), Some(&pin));
    assert_eq!(value("ECOBEE_TOKEND_ENTER_AT").as_deref(), Some("ecobee.com, My Apps"));
    assert!(value("ECOBEE_TOKEND_TEXT").expect("a sentence").contains(&pin));
    assert!(value("ECOBEE_TOKEND_EXPIRES_AT").expect("a time").ends_with('Z'));
    assert_eq!(value("ECOBEE_TOKEND_REASON"), None);
    assert_eq!(value("MY_SMTP").as_deref(), Some("kept"));
    for ours in ["NOTIFY_SOCKET", "CREDENTIALS_DIRECTORY", "LISTEN_FDNAMES"] {
        assert_eq!(value(ours), None, "{told}");
    }
    assert_eq!(value("argument").as_deref(), Some("$(touch /nowhere) `x` ; y"));
    let json: Value = serde_json::from_str(&value("stdin").expect("a line")).expect("JSON");
    assert_eq!((&json["event"], &json["pin"]), (&"pin-waiting".into(), &pin.as_str().into()));
    let group = value("group").expect("a number");
    let (group, pid) = group.split_once(" pid=").expect("two numbers");
    assert_eq!(group, pid, "a process group of its own");
    // Whoever starts the daemon may hand strange files down; of its own there is none among them.
    let folder = stage.folder.path().display().to_string();
    let ours = [folder.as_str(), "socket:", "[timerfd]", "[eventpoll]", "[eventfd]"];
    let leaked: Vec<&str> = told
        .lines()
        .filter(|line| line.starts_with("fd=") && ours.iter().any(|part| line.contains(part)))
        .collect();
    assert_eq!(leaked, [""; 0], "{told}");
    assert!(told.contains("\nfd=0 pipe:"), "{told}");
}

#[test]
fn a_command_that_fails_is_said_once_and_does_no_harm() {
    let folder = tempfile::tempdir().expect("a folder");
    let command = script(folder.path(), "tell", "echo no such phone >&2; exit 7");
    let stage = stage(&format!("command = [\"{}\"]", command.display()));
    let daemon = stage.start();
    let line = daemon.log.wait_for("the failure", |line| line.contains("ended with status 7"));
    assert!(line.contains(" WARN ") && line.contains("pin-waiting was not told: command "), "{line}");
    daemon.log.wait_for("its words", |line| line.contains("DEBUG") && line.contains("said: no such phone"));
    daemon.enter_pin(&stage.simulator, "home", KEY);
}

/// Whether a process is there and not only waited for.
fn runs(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

fn assert_gone(pid: &str) {
    let deadline = Instant::now() + PATIENCE;
    while runs(pid) {
        assert!(Instant::now() < deadline, "process {pid} lives on");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

const HANGS: &str = "sleep 600 & echo $! > pids; echo $$ >> pids; echo end >> pids; trap '' TERM; wait";

#[test]
fn a_command_that_hangs_is_killed_after_30_seconds_with_its_children() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = HANGS.replace("pids", &folder.path().join("pids").display().to_string());
    let command = script(folder.path(), "tell", &text);
    let stage = stage(&format!("command = [\"{}\"]", command.display()));
    let began = Instant::now();
    let output = test_notify(&stage);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("took longer than 30 s and was killed"), "{}", said(&output));
    assert!((30..45).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    for pid in wait_for_file(&folder.path().join("pids")).lines().take(2) {
        assert_gone(pid);
    }
}

#[test]
fn a_stop_leaves_no_hanging_command_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = HANGS.replace("pids", &folder.path().join("pids").display().to_string());
    let command = script(folder.path(), "tell", &text);
    let stage = stage(&format!("command = [\"{}\"]", command.display()));
    let daemon = stage.start();
    let pids = wait_for_file(&folder.path().join("pids"));
    let stopped_at = Instant::now();
    assert!(daemon.stop().success());
    assert!(stopped_at.elapsed() < Duration::from_secs(10), "{:?}", stopped_at.elapsed());
    for pid in pids.lines().take(2) {
        assert_gone(pid);
    }
}

#[test]
fn test_notify_tries_each_way_and_says_what_came_of_it() {
    let listener = Listener::open(&["200 OK", "403 No"]);
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out");
    let command = script(folder.path(), "tell", &format!("echo $ECOBEE_TOKEND_EVENT > {}", out.display()));
    let stage = stage(&format!("webhook = \"{}\"\ncommand = [\"{}\"]", listener.url(), command.display()));
    let output = test_notify(&stage);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(
        said(&output).contains("answered 200 OK") && said(&output).contains("command "),
        "{}",
        said(&output)
    );
    assert_eq!(listener.next().json()["event"], "test");
    assert_eq!(fs::read_to_string(&out).expect("written"), "test\n");

    let output = test_notify(&stage);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("answered 403 Forbidden"), "{}", said(&output));
    assert!(SECRETS.iter().all(|secret| !said(&output).contains(secret)), "{}", said(&output));
}

#[test]
fn test_notify_without_any_way_says_so_as_a_matter_of_configuration() {
    let output = test_notify(&Stage::with_lifetime(HOUR));
    assert_eq!(output.status.code(), Some(78));
    assert!(said(&output).contains("neither webhook nor command is set"), "{}", said(&output));
}

#[test]
fn a_header_field_that_http_itself_needs_is_refused_at_the_start() {
    let stage =
        stage("webhook = \"http://127.0.0.1:1\"\nwebhook-headers = { Content-Length = \"header-hunter2\" }");
    let config = stage.config();
    let output = tokend(&["check-config", "--config", config.to_str().expect("UTF-8")], &[]);
    assert_eq!(output.status.code(), Some(78));
    assert!(
        said(&output).contains("Content-Length") && !said(&output).contains("hunter2"),
        "{}",
        said(&output)
    );
}

#[test]
fn a_webhook_elsewhere_is_reached_through_the_proxy_of_the_environment() {
    let proxy = Listener::open(&[]);
    let stage = stage("webhook = \"http://ntfy.test/path-hunter2\"");
    let config = stage.config();
    let place = proxy.url().split("/path").next().expect("a part").replace("http://", "http://me:hunter2@");
    let arguments = ["test-notify", "--config", config.to_str().expect("UTF-8")];
    let output = tokend(&arguments, &[("http_proxy", &place), ("no_proxy", "")]);
    assert!(output.status.success(), "{}", said(&output));
    let asked = proxy.next();
    assert_eq!(asked.line, "POST http://ntfy.test/path-hunter2 HTTP/1.1");
    assert_eq!(asked.header("host"), Some("ntfy.test"));
    assert_eq!(asked.header("proxy-authorization"), Some("Basic bWU6aHVudGVyMg=="));
}

#[test]
fn a_proxy_that_is_none_is_a_matter_of_configuration_and_not_repeated() {
    let config = Stage::with_lifetime(HOUR);
    let config = config.config();
    let output = tokend(
        &["check-config", "--config", config.to_str().expect("UTF-8")],
        &[("HTTPS_PROXY", "socks5://me:hunter2@proxy.test:1080"), ("https_proxy", "")],
    );
    assert_eq!(output.status.code(), Some(78), "{}", said(&output));
    let said = said(&output);
    assert!(said.contains("HTTPS_PROXY: names a SOCKS proxy") && !said.contains("hunter2"), "{said}");
}

#[test]
fn a_way_that_a_reload_adds_tells_at_once_of_a_pin_that_waits() {
    let listener = Listener::open(&[]);
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start();
    let pin = daemon.pin("home");
    let config = fs::read_to_string(stage.config()).expect("it was written");
    let notify = format!("[notify]\nwebhook = \"{}\"\n", listener.url());
    fs::write(stage.folder.path().join("config.toml"), config + &notify).expect("written");
    daemon.signal("HUP");

    let told = listener.next().json();
    assert_eq!((&told["event"], &told["pin"]), (&"pin-waiting".into(), &pin.as_str().into()));
    daemon.enter_pin(&stage.simulator, "home", KEY);
    assert_eq!(listener.next().json()["event"], "token-back");
}

#[test]
fn among_several_accounts_the_command_for_the_next_pin_names_its_own() {
    let listener = Listener::open(&[]);
    let stage = Stage::with_lifetime(HOUR)
        .accounts(&["cabin", "home"])
        .top_level(&format!("default-account = \"home\"\n[notify]\nwebhook = \"{}\"", listener.url()));
    let _daemon = stage.start();
    for _ in 0..2 {
        let told = listener.next().json();
        let command = match told["account"].as_str() {
            Some("home") => "`ecobee-token pin`",
            Some("cabin") => "`ecobee-token --account cabin pin`",
            other => panic!("{other:?}"),
        };
        assert!(told["text"].as_str().is_some_and(|text| text.contains(command)), "{told}");
    }
}

/// The clock of the machine counts here, and trouble is called lasting after five minutes.
#[test]
#[ignore = "takes more than five minutes; .ci/run runs it beside other checks"]
fn an_outage_that_outlasts_the_token_is_told_and_so_is_its_end() {
    let lasting = Duration::from_secs(300);
    let listener = Listener::open(&[]);
    let stage = Stage::with_lifetime(Duration::from_secs(20))
        .refresh("retry-initial = \"1s\"\nretry-max = \"5s\"")
        .top_level(&format!("[notify]\nwebhook = \"{}\"", listener.url()));
    let daemon = stage.start_authorized();
    assert_eq!(listener.next().json()["event"], "pin-waiting");
    assert_eq!(listener.next().json()["event"], "token-back");

    stage.simulator.pause().expect("it stops listening");
    let gone_at = Instant::now();
    let told = listener.next_within(lasting + Duration::from_secs(20) + PATIENCE);
    let json = told.json();
    assert_eq!((&json["event"], &json["account"]), (&"token-lost".into(), &"home".into()));
    assert!(told.at - gone_at >= lasting, "{:?}: a short outage is no news", told.at - gone_at);
    let reason = json["reason"].as_str().expect("a reason");
    assert!(reason.contains("refused"), "{reason}");
    let text = json["text"].as_str().expect("a sentence");
    assert!(text.contains("home: no living token") && text.contains(reason), "{text}");
    assert_eq!(daemon.get("/token").status, 503);

    stage.simulator.resume().expect("it listens again");
    let json = listener.next().json();
    assert_eq!((&json["event"], &json["reason"]), (&"token-back".into(), &Value::Null));
    assert_eq!(daemon.get("/token").status, 200);
    assert!(listener.is_silent(), "each is told once");
}
