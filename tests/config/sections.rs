//! `[ecobee]`, `[socket]`, `[store]` and `[notify]`.

use ecobee_tokend::config::{KeySource, WebhookUrl};

use crate::{Computer, KEY, assert_refused, load, refusal};

#[test]
fn ecobee_is_reached_by_https_anywhere_and_by_http_on_this_computer_only() {
    let good = [
        ("https://api.ecobee.com/", "https://api.ecobee.com"),
        ("https://proxy.example:8443/ecobee/", "https://proxy.example:8443/ecobee"),
        ("http://127.0.0.1:4000", "http://127.0.0.1:4000"),
        ("http://127.9.9.9", "http://127.9.9.9"),
        ("http://[::1]:4000/", "http://[::1]:4000"),
        ("http://localhost:4000", "http://localhost:4000"),
    ];
    for (url, base) in good {
        assert_eq!(load(&format!("ecobee.url = \"{url}\"")).ecobee.url.as_str(), base);
    }
    let bad = [
        "http://api.ecobee.com",
        "http://127.0.0.1.example",
        "http://localhost.example",
        "http://10.0.0.1",
        "http://[::2]",
        "http://0.0.0.0",
        "ftp://127.0.0.1",
        "api.ecobee.com",
        "/path",
        "https://",
        "",
        "https://api.ecobee.com:0",
        "https://api.ecobee.com:65536",
        "https://api.ecobee.com:",
        "https://a b",
        "https://api.ecobee.com#here",
        "https://api.ecobee.com/?",
        "https://alice@api.ecobee.com",
    ];
    for url in bad {
        let message = refusal(&format!("ecobee.url = \"{url}\""));
        assert!(message.starts_with("config.toml:1: ecobee.url: found "), "{message}");
    }
    assert_eq!(
        refusal("[ecobee]\nurl = \"http://api.ecobee.com\""),
        "config.toml:2: ecobee.url: found \"http://api.ecobee.com\"; wanted https://HOST[:PORT][/PATH] \
         (http:// would show the API key and the tokens to everyone on the way, so it is for 127.0.0.1, [::1] and \
         localhost only); no user, no query, no fragment"
    );
}

#[test]
fn the_socket_takes_any_mode_that_keeps_the_world_out() {
    for (mode, bits) in [("0660", 0o660), ("600", 0o600), ("0", 0), ("0770", 0o770)] {
        assert_eq!(load(&format!("socket.mode = \"{mode}\"")).socket.mode, bits);
    }
    assert_refused(
        &[
            "socket.mode = \"0668\"",
            "socket.mode = \"+660\"",
            "socket.mode = \"\"",
            "socket.mode = \"1660\"",
            "socket.mode = \"rw-rw----\"",
            "socket.mode = 660",
        ],
        "; wanted octal digits up to 0777 in quotes, such as \"0660\"",
    );
}

#[test]
fn the_world_is_let_in_only_with_allow_world() {
    let wanted = "; wanted no permission for the world, such as \"0660\", or allow-world = true beside it";
    for mode in ["0661", "0662", "0664", "0666"] {
        let text = format!("[socket]\nmode = \"{mode}\"");
        assert_eq!(refusal(&text), format!("config.toml:2: socket.mode: found \"{mode}\"{wanted}"));
    }
    let socket = load("[socket]\nmode = \"0666\"\nallow-world = true").socket;
    assert!(socket.mode == 0o666 && socket.allow_world);
}

#[test]
fn the_socket_may_be_given_to_a_group_by_name() {
    assert_eq!(load("socket.group = \"ecobee\"").socket.group.as_deref(), Some("ecobee"));
    assert_refused(
        &["socket.group = \"\"", "socket.group = \"a:b\"", "socket.group = \" a\"", "socket.group = 1"],
        "; wanted the name of a group",
    );
}

#[test]
fn the_store_key_is_a_credential_or_a_file_and_is_not_read_here() {
    let computer = Computer::of_root().with_credentials();
    let credential = computer.load("store.key-credential = \"store.key\"").store.key;
    let expected = KeySource::Credential { name: "store.key".to_owned(), path: computer.path("store.key") };
    assert_eq!(credential, Some(expected));
    assert_eq!(
        refusal("[store]\nkey-credential = \"store.key\"\nkey-file = \"store.key\""),
        "config.toml:2: store.key-credential: stands beside key-file; wanted only one of key-file, key-credential"
    );
}

#[test]
fn a_webhook_is_http_or_https() {
    for url in ["https://ntfy.example/heating?auth=x", "http://192.168.1.9:8080/"] {
        assert_eq!(
            load(&format!("notify.webhook = \"{url}\"")).notify.webhook,
            url.parse::<WebhookUrl>().ok()
        );
    }
    assert_refused(
        &[
            "notify.webhook = \"ntfy.example\"",
            "notify.webhook = \"https://a@ntfy.example\"",
            "notify.webhook = \"https://ntfy.example/#x\"",
            "notify.webhook = \"file:///tmp/x\"",
        ],
        "notify.webhook: found a string; wanted http:// or https://HOST[:PORT][/PATH][?QUERY]; no user, no fragment",
    );
}

#[test]
fn webhook_headers_are_sound_by_the_rules_of_http() {
    let headers = load("notify.webhook-headers = { Title = \"the house\", Authorization = \"Bearer x\" }")
        .notify
        .webhook_headers;
    let plain: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
    assert_eq!(plain, [("Authorization", "Bearer x"), ("Title", "the house")]);
    assert_eq!(
        refusal("[notify.webhook-headers]\n\"Authorization: Bearer x\" = \"\""),
        "config.toml:2: notify.webhook-headers: found a name that HTTP does not know; \
         wanted the name of an HTTP header field, such as Authorization"
    );
    assert_eq!(
        refusal("[notify.webhook-headers]\nTitle = \"one\\ntwo\""),
        "config.toml:2: notify.webhook-headers.Title: found a string; \
         wanted the value of an HTTP header field: visible ASCII and spaces"
    );
    assert_eq!(
        refusal("[notify.webhook-headers]\nTitle = \"one\"\ntitle = \"two\""),
        "config.toml:3: notify.webhook-headers.title: found the same header field twice; wanted it once, in whatever case"
    );
    assert_refused(
        &["notify.webhook-headers = \"x\""],
        "notify.webhook-headers: found a string; wanted a table",
    );
}

#[test]
fn a_webhook_has_one_bearer_token_at_most() {
    let computer = Computer::of_root().with_credentials().write("token", format!("{KEY}\n"));
    for key in ["webhook-bearer-file", "webhook-bearer-credential"] {
        let bearer = computer
            .load(&format!("notify.{key} = \"token\""))
            .notify
            .webhook_bearer
            .expect("a bearer token");
        assert_eq!((bearer.token.expose(), bearer.source.path()), (KEY, computer.path("token").as_path()));
        assert_eq!(
            computer.refusal(format!(
                "[notify]\n{key} = \"token\"\nwebhook-headers = {{ authorization = \"x\" }}"
            )),
            format!(
                "config.toml:2: notify.{key}: stands beside an Authorization in webhook-headers; wanted only one of the two"
            )
        );
    }
    assert_eq!(
        computer.refusal("[notify]\nwebhook-bearer-file = \"token\"\nwebhook-bearer-credential = \"token\""),
        "config.toml:3: notify.webhook-bearer-credential: stands beside webhook-bearer-file; \
         wanted only one of webhook-bearer-file, webhook-bearer-credential"
    );
    assert_eq!(
        computer.refusal("notify.webhook-bearer-file = \"none\""),
        "config.toml:1: notify.webhook-bearer-file: none does not exist; wanted a file with a bearer token and nothing else"
    );
}

#[test]
fn a_command_begins_with_an_absolute_path() {
    let command = load("notify.command = [\"/usr/bin/tell me\", \"\", \"--urgent\"]").notify.command;
    assert_eq!(command.as_deref(), Some(["/usr/bin/tell me", "", "--urgent"].map(str::to_owned).as_slice()));
    assert_eq!(
        refusal("[notify]\ncommand = [\n  \"/usr/bin/logger\",\n  1,\n]"),
        "config.toml:4: notify.command: found 1; wanted a list of strings that begins with the absolute path of a command, \
         such as [\"/usr/bin/logger\", \"-s\"]"
    );
    assert_refused(
        &[
            "notify.command = []",
            "notify.command = [\"logger\"]",
            "notify.command = \"/usr/bin/logger\"",
            "notify.command = [\"/usr/bin/logger\", \"a\\u0000b\"]",
        ],
        "such as [\"/usr/bin/logger\", \"-s\"]",
    );
}
