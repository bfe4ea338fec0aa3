//! People are told: the real daemon, a real HTTP server, a real command.

mod harness;

#[path = "notify/commands.rs"]
mod commands;
#[path = "notify/listener.rs"]
mod listener;
#[path = "notify/webhooks.rs"]
mod webhooks;

use std::process::Command;
use std::time::{Duration, Instant};

use commands::Teller;
use ecobee_simulator::{Options, Pin, PinUnit};
use harness::{Ended, HOUR, KEY, PATIENCE, Stage, quick, skipped, tokend};
use listener::{Listener, Scene};
use serde_json::Value;

/// Secrets that a configuration of these tests holds; no log may show them.
const SECRETS: [&str; 4] = ["path-hunter2", "query-hunter2", "header-hunter2", "bearer-hunter2"];

fn stage(notify: &str) -> Stage {
    Stage::with_lifetime(HOUR).top_level(&format!("[notify]\n{notify}"))
}

/// `ecobee-tokend test-notify` for the stage.
fn test_notify(stage: &Stage) -> Ended {
    tokend("test-notify", &stage.config(), &[])
}

#[test]
fn a_webhook_that_hangs_holds_up_neither_tokens_nor_commands_nor_the_end() {
    let listener = Listener::open_with(Scene { hangs: true, ..Scene::default() });
    let teller = Teller::new("(cat; echo end) > out");
    let stage = stage(&format!("webhook = \"{}\"\ncommand = [\"{}\"]", listener.url(), teller.program()));
    let daemon = stage.start();
    listener.next();
    let asked_at = Instant::now();
    daemon.enter_pin(&stage.simulator, "home", KEY);
    assert!(asked_at.elapsed() < Duration::from_secs(15), "{:?}", asked_at.elapsed());
    teller.told();
    let stopped_at = Instant::now();
    let log = daemon.log.clone();
    assert!(daemon.stop().success());
    assert!(stopped_at.elapsed() < Duration::from_secs(10), "{:?}", stopped_at.elapsed());
    log.wait_for("what was lost", |line| line.contains("token-back was not told: webhook http"));
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
    first.rewrite(|text| text.replace(&old.url(), &new.url()));
    daemon.reload();
    daemon.enter_pin(&first.simulator, "home", KEY);
    assert_eq!(new.next().json()["event"], "token-back");
    assert!(old.is_silent());
}

/// The accounts that a message is about.
fn accounts_of(json: &Value) -> Vec<String> {
    let name = |one: &Value| one["account"].as_str().expect("a name").to_owned();
    let Some(crowd) = json["accounts"].as_array() else { return vec![name(json)] };
    assert_eq!(json["count"], crowd.len());
    crowd.iter().map(name).collect()
}

#[test]
fn many_accounts_at_once_are_told_in_few_messages_and_each_once() {
    let names: Vec<String> = (10..70).map(|number| format!("a{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let listener = Listener::open(&[]);
    let stage = stage(&format!("webhook = \"{}\"", listener.url())).accounts(&names);
    let daemon = stage.start();
    for name in &names {
        daemon.pin(name);
    }
    let mut told = Vec::new();
    for _ in 0..8 {
        told.extend(accounts_of(&listener.next().json()));
        if told.len() == names.len() {
            break;
        }
    }
    // What has gathered since would be told a minute later, and goes in one message when the daemon leaves.
    assert!(daemon.stop().success());
    if told.len() < names.len() {
        told.extend(accounts_of(&listener.next().json()));
    }
    told.sort_unstable();
    assert_eq!(told, names);
    assert!(listener.is_silent());
}

#[test]
fn test_notify_tries_each_way_and_says_what_came_of_it() {
    let listener = Listener::open(&["200 OK", "403 No"]);
    let teller = Teller::new("(echo $ECOBEE_TOKEND_EVENT; echo end) > out");
    let stage = stage(&format!("webhook = \"{}\"\ncommand = [\"{}\"]", listener.url(), teller.program()));
    test_notify(&stage).with(0).telling("answered 200 OK").telling("command ");
    assert_eq!(listener.next().json()["event"], "test");
    assert_eq!(teller.told(), "test\nend\n");

    let ended = test_notify(&stage).with(1).telling("answered 403 Forbidden");
    SECRETS.iter().fold(ended, |ended, secret| ended.hiding(secret));
}

#[test]
fn test_notify_without_any_way_says_so_as_a_matter_of_configuration() {
    test_notify(&Stage::with_lifetime(HOUR)).with(78).telling("neither webhook nor command is set");
}

#[test]
fn a_way_that_a_reload_adds_tells_at_once_of_a_pin_that_waits() {
    let listener = Listener::open(&[]);
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start();
    let pin = daemon.pin("home");
    stage.append(&format!("[notify]\nwebhook = \"{}\"\n", listener.url()));
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

/// The words that run a program on a machine that seems to have been up for an hour longer; `None`, said aloud, where
/// nobody can make that so.
fn an_hour_later() -> Option<[&'static str; 5]> {
    let words = ["unshare", "--time", "--boottime", "3600", "--"];
    let up_for = |words: &[&str]| {
        let output = Command::new(words[0]).args(&words[1..]).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    };
    let read = ["cat", "/proc/uptime"];
    let later = up_for(&[&words[..], &read].concat()).zip(up_for(&read));
    if later.is_some_and(|(later, now)| later - now > 3500.0) {
        return Some(words);
    }
    skipped("this user cannot have a clock of its own for a program");
    None
}

#[test]
fn rule_10_people_are_reminded_when_it_is_time_and_not_of_each_pin() {
    let Some(an_hour_later) = an_hour_later() else { return };
    let listener = Listener::open(&[]);
    // In minutes it would be more than the daemon believes to be minutes.
    let patient = Options { pin_lifetime: HOUR * 2, pin_unit: PinUnit::Seconds, ..quick(HOUR) };
    let notify = format!("[notify]\nwebhook = \"{}\"\nremind-every = \"1h\"", listener.url());
    let stage = Stage::new(patient).top_level(&notify);
    let daemon = stage.start();
    let first = listener.next().json();
    assert_eq!(first["event"], "pin-waiting");
    stage.simulator.expire_pin(Pin::Latest).expect("it expires");
    let second = daemon.wait_for_status("home", "the next PIN", |status| {
        status["pin"]["pin"].is_string() && status["pin"]["pin"] != first["pin"]
    });
    assert!(daemon.stop().success());

    let daemon = stage.start_under(&an_hour_later);

    let told = listener.next().json();
    assert_eq!((&told["event"], &told["pin"]), (&"pin-reminder".into(), &second["pin"]["pin"]));
    assert!(told["text"].as_str().is_some_and(|text| text.contains("home: ")), "{told}");
    daemon.enter_pin(&stage.simulator, "home", KEY);
    assert_eq!(listener.next().json()["event"], "token-back");
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
