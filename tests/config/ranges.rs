//! Durations and numbers, and how far they may go.

use std::time::Duration;

use ecobee_tokend::config::duration;

use crate::{load, minutes, refusal};

#[test]
fn durations_are_accepted_up_to_both_ends_of_their_range() {
    let settings = load(
        "ecobee.request-timeout = \"5s\"\nnotify.remind-every = \"1h\"\n\
         refresh = { ahead = \"30m\", retry-initial = \"1m\", retry-max = \"1m\", refusals-before-pin = 100 }",
    );
    assert_eq!(settings.ecobee.request_timeout, Duration::from_secs(5));
    assert_eq!(settings.notify.remind_every, minutes(60));
    assert_eq!(settings.refresh.ahead, minutes(30));
    assert_eq!(settings.refresh.retry_initial, minutes(1));
    assert_eq!(settings.refresh.retry_max, minutes(1));
    assert_eq!(settings.refresh.refusals_before_pin, 100);
    load(
        "ecobee.request-timeout = \"5m\"\nnotify.remind-every = \"10000h\"\n\
          refresh = { ahead = \"1m\", retry-initial = \"1s\", retry-max = \"1h\", refusals-before-pin = 1 }",
    );
}

#[test]
fn durations_beyond_their_range_are_refused() {
    let beyond = [
        ("refresh.ahead", ["59s", "30m1s"], "1m to 30m"),
        ("refresh.retry-initial", ["0s", "61s"], "1s to 1m"),
        ("refresh.retry-max", ["0s", "1h1s"], "1s to 1h"),
        ("ecobee.request-timeout", ["4s", "5m1s"], "5s to 5m"),
    ];
    for (key, values, range) in beyond {
        for value in values {
            let message = refusal(&format!("{key} = \"{value}\""));
            let start = format!("config.toml:1: {key}: found \"{value}\"; wanted a duration from {range}, ");
            assert!(message.starts_with(&start), "{message}");
        }
    }
    assert_eq!(
        refusal("notify.remind-every = \"59m59s\""),
        "config.toml:1: notify.remind-every: found \"59m59s\"; wanted a duration of 1h or more, such as \"24h\""
    );
}

#[test]
fn the_number_of_refusals_has_a_range_too() {
    let wanted = "; wanted a whole number from 1 to 100";
    for value in ["0", "101", "-1", "1.0", "99999999999"] {
        let message = refusal(&format!("refresh.refusals-before-pin = {value}"));
        assert_eq!(message, format!("config.toml:1: refresh.refusals-before-pin: found {value}{wanted}"));
    }
}

#[test]
fn the_longest_pause_is_no_shorter_than_the_first() {
    assert_eq!(
        refusal("[refresh]\nretry-initial = \"30s\"\nretry-max = \"29s\""),
        "config.toml:3: refresh.retry-max: found \"29s\"; wanted no less than retry-initial, which is 30s"
    );
    assert_eq!(
        refusal("[refresh]\nretry-max = \"4s\""),
        "config.toml:2: refresh.retry-max: found \"4s\"; wanted no less than retry-initial, which is 5s"
    );
}

#[test]
fn a_duration_is_whole_hours_minutes_and_seconds_in_that_order() {
    for (text, seconds) in
        [("90s", 90), ("10m", 600), ("1h30m", 5400), ("24h", 86400), ("1h1m1s", 3661), ("007s", 7)]
    {
        assert_eq!(duration::parse(text), Some(Duration::from_secs(seconds)), "{text}");
    }
    let bad = [
        "",
        "5",
        "s",
        "h1",
        "1.5h",
        "1h 30m",
        " 1h",
        "30m1h",
        "1h1h",
        "2d",
        "1ms",
        "-1s",
        "+1s",
        "1H",
        "1s5",
        "1m30",
        "99999999999999999999s",
        "5124095576030431h",
        "1193047h",
        "４s",
    ];
    for text in bad {
        assert_eq!(duration::parse(text), None, "{text}");
    }
}
