//! What Prometheus is told.

use ecobee_tokend::keeper::View;

use crate::house::{House, Plan, healthy, without_grant};

const OPEN: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";

#[test]
fn the_dialect_is_open_metrics_unless_plain_text_is_wanted() {
    let house = House::open(Plan::default());
    // The third is what Prometheus itself sends, the last what it sent before it knew of OpenMetrics.
    for (accept, media_type) in [
        ("", OPEN),
        ("Accept: */*\r\n", OPEN),
        (
            "Accept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2\r\n",
            OPEN,
        ),
        ("Accept: text/plain\r\n", PLAIN),
        ("Accept: text/plain;version=0.0.4;q=1,*/*;q=0.1\r\n", PLAIN),
    ] {
        let answer = house.request("GET", "/metrics", accept);
        assert_eq!(answer.header("content-type"), Some(media_type), "{accept}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.body.ends_with("\n# EOF\n"), media_type == OPEN);
        assert_eq!(answer.body.contains("TYPE ecobee_tokend_requests_total counter"), media_type == PLAIN);
    }
}

#[test]
fn an_account_is_told_by_numbers() {
    let view =
        |name: &str| if name == "barn" { without_grant() } else { View { unsaved: true, ..healthy() } };
    let house = House::open(Plan { view, ..Plan::names(&["barn", "home"], None) });
    let text = house.get("/metrics").body;
    for line in [
        "ecobee_tokend_token_expiry_timestamp_seconds{account=\"home\"} 1763758200.000",
        "ecobee_tokend_token_refresh_timestamp_seconds{account=\"home\"} 1763757600.000",
        "ecobee_tokend_last_refresh_timestamp_seconds{account=\"home\"} 1763754600.000",
        "ecobee_tokend_pin_expiry_timestamp_seconds{account=\"barn\"} 1763755740.900",
        "ecobee_tokend_token_living{account=\"barn\"} 0",
        "ecobee_tokend_token_living{account=\"home\"} 1",
        "ecobee_tokend_pin_waiting{account=\"barn\"} 1",
        "ecobee_tokend_unsaved{account=\"home\"} 1",
        "ecobee_tokend_failures_in_a_row{account=\"barn\"} 3",
        "ecobee_tokend_account_state{account=\"barn\",state=\"awaiting-user\"} 1",
        "ecobee_tokend_account_state{account=\"barn\",state=\"authorized\"} 0",
        "ecobee_tokend_start_timestamp_seconds 1763755140.000",
    ] {
        assert!(text.lines().any(|known| known == line), "{line} is missing in\n{text}");
    }
    assert!(!text.contains("token_expiry_timestamp_seconds{account=\"barn\"}"), "a dead token expires never");
    assert!(!text.contains("ABCD-EFGH"), "numbers only");
}

#[test]
fn requests_are_counted_by_path_and_status() {
    let house = House::open(Plan::default());
    house.get("/token");
    house.get("/accounts/home/token");
    house.get("/accounts/nobody/token");
    house.get("/accounts/home/status");
    house.get("/nowhere");
    house.post("/status", b"");
    house.request("HEAD", "/status", "");
    let text = house.get("/metrics").body;
    for (labels, count) in [
        ("route=\"/token\",status=\"200\"", 2),
        ("route=\"/token\",status=\"404\"", 1),
        ("route=\"/status\",status=\"200\"", 1),
        ("route=\"/accounts/NAME/status\",status=\"200\"", 1),
        ("route=\"/healthz\",status=\"200\"", 0),
        ("route=\"other\",status=\"404\"", 1),
        ("route=\"other\",status=\"405\"", 1),
    ] {
        let line = format!("ecobee_tokend_requests_total{{{labels}}} {count}");
        assert!(text.lines().any(|known| known == line), "{line} is missing in\n{text}");
    }
    assert!(text.contains("ecobee_tokend_connections 1\n"), "{text}");
}

#[test]
fn ten_thousand_accounts_are_told_of() {
    let accounts: Vec<_> = (0..10_000).map(|number| format!("account-{number}")).collect();
    let house = House::open(Plan { accounts, default: None, ..Plan::default() });
    let text = house.get("/metrics").body;
    let lines = text.lines().filter(|line| line.starts_with("ecobee_tokend_token_living{")).count();
    assert_eq!(lines, 10_000);
}
