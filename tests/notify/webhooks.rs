//! A webhook: what it is sent, by which way, and how often.

use std::time::Duration;

use ecobee_simulator::Pin;
use serde_json::Value;

use crate::harness::{HOUR, KEY, Stage, run_with, tokend, tokend_command};
use crate::listener::{Listener, Scene};
use crate::{SECRETS, stage, test_notify};

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
    stage.put("bearer", "bearer-hunter2\n", 0o600);
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
fn the_bearer_may_be_a_credential_of_the_unit() {
    let listener = Listener::open(&[]);
    let stage =
        stage(&format!("webhook = \"{}\"\nwebhook-bearer-credential = \"hook.token\"", listener.url()));
    stage.put("hook.token", "bearer-hunter2\n", 0o600);
    let launched = stage.launch_with(&[], |command| {
        command.env("CREDENTIALS_DIRECTORY", stage.folder.path());
    });
    let daemon = launched.ready();

    assert_eq!(listener.next().header("authorization"), Some("Bearer bearer-hunter2"));
    daemon.log.wait_for("the delivery", |line| line.contains("pin-waiting told"));
    assert!(daemon.log.all().iter().all(|line| !line.contains("hunter2")));
}

#[test]
fn a_webhook_by_tls_is_believed_like_ecobee_and_a_stranger_gets_nothing() {
    let listener = Listener::open_with(Scene { tls: true, ..Scene::default() });
    let notify = format!("webhook = \"{}\"", listener.url());
    let trusting = stage(&notify).ecobee(&format!("ca-file = \"{}\"", listener.ca_file().display()));
    test_notify(&trusting).with(0);
    assert_eq!(listener.next().json()["event"], "test");

    test_notify(&stage(&notify)).with(1).telling("issued by nobody this machine trusts");
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
fn what_a_webhook_took_is_told_even_if_the_rest_of_its_answer_never_comes() {
    let listener = Listener::open_with(Scene { trails_off: true, ..Scene::default() });
    test_notify(&stage(&format!("webhook = \"{}\"", listener.url()))).with(0).telling("answered 200 OK");
}

#[test]
fn a_header_field_that_http_itself_needs_is_refused_at_the_start() {
    let stage =
        stage("webhook = \"http://127.0.0.1:1\"\nwebhook-headers = { Content-Length = \"header-hunter2\" }");
    let ended = tokend("check-config", &stage.config(), &[]).with(78);
    ended.telling("Content-Length").hiding("hunter2");
}

#[test]
fn a_webhook_elsewhere_is_reached_through_the_proxy_of_the_environment() {
    let proxy = Listener::open(&[]);
    let stage = stage("webhook = \"http://ntfy.test/path-hunter2\"");
    let place = proxy.url().split("/path").next().expect("a part").replace("http://", "http://me:hunter2@");
    let mut command = tokend_command("test-notify", &stage.config(), &[]);
    command.env("http_proxy", place);
    run_with(command, "").with(0);
    let asked = proxy.next();
    assert_eq!(asked.line, "POST http://ntfy.test/path-hunter2 HTTP/1.1");
    assert_eq!(asked.header("host"), Some("ntfy.test"));
    assert_eq!(asked.header("proxy-authorization"), Some("Basic bWU6aHVudGVyMg=="));
}

#[test]
fn a_proxy_that_is_none_is_a_matter_of_configuration_and_not_repeated() {
    let stage = Stage::with_lifetime(HOUR);
    let mut command = tokend_command("check-config", &stage.config(), &[]);
    command.env("HTTPS_PROXY", "socks5://me:hunter2@proxy.test:1080");
    run_with(command, "").with(78).telling("HTTPS_PROXY: names a SOCKS proxy").hiding("hunter2");
}
