//! What is asked, and whom nothing is asked.

use ecobee_tokend::keeper::Outcome;

use super::{AMPLE, ENCODED, Ecobee, authorize, client, json, poll, refresh};

#[tokio::test]
async fn a_pin_is_asked_for_as_documented() {
    let ecobee = Ecobee::says(json(
        "200 OK",
        r#"{"ecobeePin":"bv29","code":"uiNQ","scope":"smartWrite","expires_in":9,"interval":30}"#,
    ));
    let Outcome::PinIssued(issued) = authorize(&ecobee.client()).await else {
        panic!("no PIN");
    };
    assert_eq!(issued.pin, "bv29");
    let head = ecobee.heard();
    let line = "GET /authorize?response_type=ecobeePin&client_id=the-api-key&scope=smartWrite HTTP/1.1\r\n";
    assert!(head.starts_with(line), "{head}");
    let head = head.to_ascii_lowercase();
    let version = env!("CARGO_PKG_VERSION");
    assert!(head.contains(&format!("\r\nhost: {}\r\n", ecobee.address)), "{head}");
    assert!(head.contains(&format!("\r\nuser-agent: ecobee-tokend/{version}\r\n")), "{head}");
    assert!(head.contains("\r\naccept: application/json\r\n"), "{head}");
    assert!(head.contains("\r\nconnection: close\r\n"), "{head}");
    assert!(!head.contains("accept-encoding"), "{head}");
}

#[tokio::test]
async fn a_poll_shows_the_code_and_the_key_percent_encoded_and_has_an_empty_body() {
    let ecobee = Ecobee::says(json("401 Unauthorized", r#"{"error":"authorization_pending"}"#));
    assert!(matches!(poll(&ecobee.client()).await, Outcome::Pending));
    let head = ecobee.heard();
    let line = format!(
        "POST /token?grant_type=ecobeePin&code={ENCODED}&client_id=the-api-key&ecobee_type=jwt HTTP/1.1\r\n"
    );
    assert!(head.starts_with(&line), "{head}");
    assert!(head.to_ascii_lowercase().contains("\r\ncontent-length: 0\r\n"), "{head}");
}

#[tokio::test]
async fn a_refresh_shows_the_refresh_token_percent_encoded_and_has_an_empty_body() {
    let ecobee = Ecobee::says(json(
        "200 OK",
        r#"{"access_token":"eyj","token_type":"Bearer","expires_in":3599,"refresh_token":"v1.X"}"#,
    ));
    let Outcome::Granted(granted) = refresh(&ecobee.client()).await else {
        panic!("no grant");
    };
    assert_eq!(granted.access.token.expose(), "eyj");
    let head = ecobee.heard();
    let line = format!(
        "POST /token?grant_type=refresh_token&refresh_token={ENCODED}&client_id=the-api-key&ecobee_type=jwt \
         HTTP/1.1\r\n"
    );
    assert!(head.starts_with(&line), "{head}");
    assert!(head.to_ascii_lowercase().contains("\r\ncontent-length: 0\r\n"), "{head}");
}

#[tokio::test]
async fn each_call_has_a_connection_of_its_own() {
    let ecobee = Ecobee::says(json("401 Unauthorized", r#"{"error":"slow_down"}"#));
    let client = ecobee.client();
    for _ in 0..3 {
        assert!(matches!(poll(&client.clone()).await, Outcome::SlowDown));
        ecobee.heard();
    }
}

#[test]
fn calls_can_be_made_from_spawned_tasks() {
    fn sendable(_: impl Send) {}
    let client = client("http://localhost:1", AMPLE);
    sendable(authorize(&client));
    sendable(poll(&client));
    sendable(refresh(&client));
}
