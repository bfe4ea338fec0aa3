//! The file as a whole: reading it, its grammar, its keys.

use std::fs;
use std::time::Duration;

use ecobee_tokend::config;

use crate::{Computer, HOME, load, minutes, refusal};

#[test]
fn an_empty_file_gives_the_defaults_and_no_accounts() {
    let settings = load("");
    assert_eq!(settings.ecobee.url.to_string(), "https://api.ecobee.com");
    assert_eq!(settings.ecobee.request_timeout, minutes(1));
    assert_eq!((settings.socket.mode, settings.socket.group), (0o660, None));
    assert_eq!(settings.refresh.ahead, minutes(10));
    assert_eq!(settings.refresh.retry_initial, Duration::from_secs(5));
    assert_eq!(settings.refresh.retry_max, minutes(5));
    assert_eq!(settings.refresh.refusals_before_pin, 3);
    assert_eq!(settings.notify.remind_every, minutes(24 * 60));
    assert!(settings.accounts.is_empty() && settings.default_account.is_none());
    assert_eq!(load(HOME).accounts["home"].scope, "smartWrite");
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_that_says_what_to_do() {
    let computer = Computer::of_root();
    let told = |name: &str| {
        let error = config::load(&computer.path(name), &computer.surroundings());
        let message = error.expect_err("there is nothing to read").to_string();
        message.replace(&computer.path("").display().to_string(), "")
    };
    let advice = "put the configuration there, readable for the daemon, or name another with --config FILE";
    assert_eq!(told("missing.toml"), format!("missing.toml: does not exist; {advice}"));
    fs::create_dir(computer.path("folder.toml")).expect("a folder");
    assert_eq!(told("folder.toml"), format!("folder.toml: is not a regular file; {advice}"));
    fs::write(computer.path("long.toml"), "#\n".repeat(512 * 1024)).expect("a long file");
    assert!(config::load(&computer.path("long.toml"), &computer.surroundings()).is_ok());
    fs::write(computer.path("long.toml"), "#\n".repeat(512 * 1024) + "#").expect("a longer file");
    assert_eq!(told("long.toml"), format!("long.toml: is longer than 1024 KiB; {advice}"));
}

#[test]
fn bytes_that_are_not_utf8_are_refused_with_their_line() {
    assert_eq!(
        Computer::of_root().refusal(b"[ecobee]\n\n# \xff\n"),
        "config.toml:3: found bytes that are not UTF-8; wanted UTF-8 text"
    );
}

#[test]
fn a_misspelt_key_is_told_the_nearest_one() {
    assert_eq!(
        refusal("\n[refresh]\nahed = \"5m\"\n"),
        "config.toml:3: refresh.ahed: not a known key; did you mean ahead?"
    );
    assert_eq!(refusal("[account.home]"), "config.toml:1: account: not a known key; did you mean accounts?");
    assert_eq!(
        refusal("[accounts.home]\napi_key = \"x\""),
        "config.toml:2: accounts.home.api_key: not a known key; did you mean api-key?"
    );
}

#[test]
fn a_key_of_another_section_is_told_where_it_belongs() {
    assert_eq!(
        refusal("ahead = \"5m\""),
        "config.toml:1: ahead: not a known key; did you mean refresh.ahead?"
    );
    assert_eq!(
        refusal("[refresh]\ndefault-account = \"home\""),
        "config.toml:2: refresh.default-account: not a known key; default-account belongs above the first [section]"
    );
}

#[test]
fn a_key_like_no_other_is_told_what_is_known_there() {
    assert_eq!(
        refusal("[store]\ncolour = \"red\"\n\"odd\\nname\" = 1"),
        "config.toml:2: store.colour: not a known key; known here: directory, key-credential, key-file, \
         previous-key-credential, previous-key-file"
    );
    assert_eq!(
        refusal("[store]\n\"odd\\nname\" = 1"),
        "config.toml:2: store.\"odd\\nname\": not a known key; known here: directory, key-credential, key-file, \
         previous-key-credential, previous-key-file"
    );
}

#[test]
fn a_syntax_error_names_line_and_key_and_shows_nothing_of_the_text() {
    let messages = [
        (
            "[accounts.home]\napi-key = og2Obost3ucRo1ofo0ED\n",
            "config.toml:2: accounts.home.api-key: broken TOML: ",
        ),
        (
            "[accounts.home]\napi-key = \"og2Obost3ucRo1ofo0ED\n",
            "config.toml:2: accounts.home.api-key: broken TOML: ",
        ),
        ("[accounts.home]\nog2Obost3ucRo1ofo0ED\n", "config.toml:2: broken TOML: "),
        ("[accounts.home]\nog2Obost3ucRo1ofo0ED = = \n", "config.toml:2: broken TOML: "),
        (
            "[notify]\nwebhook-headers = { A = \"og2Obost3ucRo1ofo0ED }\n",
            "config.toml:2: notify.webhook-headers: broken TOML: ",
        ),
        ("[refresh\nahead = \"5m\"\n", "config.toml:1: broken TOML: "),
        ("[socket]\nmode = 0660\n", "config.toml:2: socket.mode: broken TOML: "),
    ];
    for (text, start) in messages {
        let message = refusal(text);
        assert!(message.starts_with(start) && message.contains("; wanted "), "{message}");
        assert!(!message.contains("og2O") && !message.contains('\n'), "{message}");
    }
}

#[test]
fn a_key_or_a_section_that_comes_twice_is_refused() {
    assert_eq!(
        refusal("[refresh]\nahead = \"5m\"\nahead = \"6m\"\n"),
        "config.toml:3: refresh.ahead: broken TOML: duplicate key; wanted it once"
    );
    assert_eq!(
        refusal("[refresh]\n[store]\n[refresh]\n"),
        "config.toml:3: refresh: broken TOML: duplicate key; wanted it once"
    );
}

#[test]
fn a_value_of_the_wrong_kind_is_shown_beside_what_is_wanted() {
    assert_eq!(
        refusal("[refresh]\nrefusals-before-pin = \"3\""),
        "config.toml:2: refresh.refusals-before-pin: found \"3\"; wanted a whole number from 1 to 100"
    );
    assert_eq!(
        refusal("[refresh]\nahead = 600"),
        "config.toml:2: refresh.ahead: found 600; wanted a duration from 1m to 30m, such as \"10m\""
    );
    assert_eq!(refusal("refresh = 1.5"), "config.toml:1: refresh: found 1.5; wanted a table");
    assert_eq!(refusal("[[accounts.home]]"), "config.toml:1: accounts.home: found a list; wanted a table");
    assert_eq!(
        refusal("socket.allow-world = \"yes\""),
        "config.toml:1: socket.allow-world: found \"yes\"; wanted true or false"
    );
}

#[test]
fn a_file_nested_beyond_reason_is_refused_like_any_other() {
    for text in [
        vec!["a"; 500_000].join("."),
        "x = ".to_owned() + &"[".repeat(500_000),
        "x = ".to_owned() + &"{a=".repeat(300_000),
    ] {
        refusal(&format!("{text} = 1"));
        refusal(&format!("[{text}]"));
    }
}
