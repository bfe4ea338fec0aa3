//! No message and no debugger shows a secret.

use crate::{Computer, load, refusal};

const SECRET: &str = "hunter2hunter2";

#[test]
fn no_refusal_repeats_a_secret() {
    let texts = [
        "accounts.home.api-key = [\"hunter2hunter2\"]",
        "accounts.home.api-key = \"hunter2 hunter2hunter2\"",
        "accounts.home.api-key = { hunter2hunter2 = 1 }",
        "accounts.home.api-key = hunter2hunter2",
        "accounts.home.api-key = \"hunter2hunter2",
        "accounts.home.api-key = \"\"\"\nhunter2hunter2\n",
        "[accounts.home]\nhunter2hunter2\n",
        "[accounts.home]\nhunter2hunter2==\n",
        "accounts.home = \"hunter2hunter2\" x",
        "notify.webhook-headers.Authorization = \"Bearer hunter2hunter2\\n\"",
        "notify.webhook-headers.Authorization = [\"Bearer hunter2hunter2\"]",
        "notify.webhook-headers = \"Authorization: Bearer hunter2hunter2\"",
        "notify.webhook-headers = [\"Authorization: Bearer hunter2hunter2\"]",
        "notify.webhook-headers = { \"Authorization: Bearer hunter2hunter2\" = 1 }",
        "notify.webhook-headers = { Authorization = Bearer hunter2hunter2 }",
        "notify.webhook = \"hooks.example/hunter2hunter2\"",
        "ecobee.url = \"https://alice:hunter2hunter2@api.ecobee.com\"",
        "ecobee.url = \"https://api.ecobee.com?key=hunter2hunter2\"",
        "notify.webhook-bearer-credential = \"x\"\nnotify.webhook-headers.authorization = \"hunter2hunter2\"",
    ];
    for text in texts {
        let message = refusal(text);
        assert!(!message.contains("hunter2"), "{message}");
    }
    let number = refusal("accounts.home.api-key = 20260117");
    assert!(!number.contains("2026"), "{number}");
    let computer = Computer::of_root().write("key", format!("{SECRET} {SECRET}"));
    let message = computer.refusal("accounts.home.api-key-file = \"key\"");
    assert!(!message.contains("hunter2"), "{message}");
}

/// Somebody who fills in a configuration puts the key a line too high, or too low.
#[test]
fn a_key_in_the_wrong_place_is_not_repeated() {
    const KEY: &str = "Qm7kXw2LdT9vRb4NcY6hJp3ZsG8fKe5A";
    for text in [
        "accounts.home.scope = \"KEY\"",
        "refresh.ahead = \"KEY\"",
        "socket.mode = \"KEY\"",
        "accounts.home.KEY = \"\"",
        "KEY = 1",
        "accounts.KEY = 1",
        "[accounts.KEY]\napi-key = \"x\"",
    ] {
        let message = refusal(&text.replace("KEY", KEY));
        assert!(!message.contains(&KEY[..8]), "{message}");
    }
}

#[test]
fn settings_show_no_secret_to_a_debugger() {
    let computer = Computer::of_root().write("bearer", SECRET);
    let one =
        computer.load("notify.webhook-bearer-file = \"bearer\"\naccounts.home.api-key = \"hunter2hunter2\"");
    let other = load(
        "notify.webhook = \"https://hooks.example/hunter2hunter2?x=hunter2hunter2\"\n\
         notify.webhook-headers.Authorization = \"Bearer hunter2hunter2\"",
    );
    let shown = format!("{one:?} {other:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("https://hooks.example/[secret]"), "{shown}");
}
