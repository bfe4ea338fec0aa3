//! `[ecobee]`, `[socket]`, `[store]` and `[notify]`.

use std::fs;

use ecobee_tokend::config::KeySource;
use ecobee_tokend::url::WebhookUrl;

use crate::{Computer, KEY, assert_refused, load, refusal};

/// What `openssl rand -hex 32` might print. Made up.
const STORE_KEY: &str = "3f0c9a41d7be25860b9c4de1f27a8356914be0d2c67f5a3810ce94b7d6a2f05e";

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
        assert_eq!(load(&format!("ecobee.url = \"{url}\"")).ecobee.url.to_string(), base);
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
fn the_store_key_and_the_previous_one_are_each_a_credential_or_a_file() {
    let computer = Computer::of_root().with_credentials().write("store.key", STORE_KEY);
    let computer = computer.write("old.key", (0..32).collect::<Vec<u8>>());
    let credential = |name: &str| KeySource::Credential { name: name.to_owned(), path: computer.path(name) };
    let store =
        computer.load("[store]\nkey-credential = \"store.key\"\nprevious-key-file = \"old.key\"").store;
    let (key, previous) = (store.key.expect("a key"), store.previous_key.expect("another"));
    assert_eq!((key.material.expose(), key.source), (STORE_KEY.as_bytes(), credential("store.key")));
    assert_eq!(previous.material.expose(), (0..32).collect::<Vec<u8>>());
    assert_eq!(previous.source, KeySource::File(computer.path("old.key")));
    let store = computer.load("[store]\nprevious-key-credential = \"old.key\"").store;
    assert_eq!((store.key, store.previous_key.map(|key| key.source)), (None, Some(credential("old.key"))));
    assert_eq!(
        refusal("[store]\nkey-credential = \"store.key\"\nkey-file = \"store.key\""),
        "config.toml:2: store.key-credential: stands beside key-file; wanted only one of key-file, key-credential"
    );
    assert_eq!(
        refusal("[store]\nprevious-key-credential = \"a\"\nprevious-key-file = \"a\""),
        "config.toml:2: store.previous-key-credential: stands beside previous-key-file; \
         wanted only one of previous-key-file, previous-key-credential"
    );
}

#[test]
fn the_material_of_a_store_key_is_a_text_without_its_line_ends_or_bytes_as_they_come() {
    let ends_in_a_line_feed: Vec<u8> = (200..=230).chain([b'\n']).collect();
    let cases = [
        (format!("{STORE_KEY}\n").into_bytes(), STORE_KEY.as_bytes()),
        (format!("{STORE_KEY}\r\n\n").into_bytes(), STORE_KEY.as_bytes()),
        (format!(" {STORE_KEY} ").into_bytes(), format!(" {STORE_KEY} ").as_bytes()),
        (KEY.as_bytes().to_vec(), KEY.as_bytes()),
        (ends_in_a_line_feed.clone(), &ends_in_a_line_feed),
        (STORE_KEY.repeat(64).into_bytes(), STORE_KEY.repeat(64).as_bytes()),
    ]
    .map(|(file, material)| (file, material.to_vec()));
    for (file, material) in cases {
        let computer = Computer::of_root().write("store.key", &file);
        let key = computer.load("store.key-file = \"store.key\"").store.key.expect("a key");
        assert_eq!(key.material.expose(), material);
    }
}

#[test]
fn what_is_no_store_key_is_refused_with_what_makes_one() {
    let zeros = [0; 32];
    let long = STORE_KEY.repeat(65);
    let cases: [(Option<&[u8]>, &str); 9] = [
        (None, "store.key does not exist"),
        (Some(b""), "store.key is empty"),
        (Some(b"\n\n"), "store.key is empty"),
        (Some(b"correct horse battery staple\n"), "store.key has only 28 bytes in it, too few for a key"),
        (Some(&zeros[..31]), "store.key has only 31 bytes in it, too few for a key"),
        (Some(&zeros), "store.key is filled with 1 different byte(s), which is no key"),
        (Some(&[b'x'; 64]), "store.key is filled with 1 different byte(s), which is no key"),
        (
            Some(b"abcdefgabcdefgabcdefgabcdefgabcdefg"),
            "store.key is filled with 7 different byte(s), which is no key",
        ),
        (Some(long.as_bytes()), "store.key is longer than 4 KiB"),
    ];
    for (file, found) in cases {
        for name in ["key-file", "previous-key-file"] {
            let computer = Computer::of_root();
            let computer = match file {
                Some(file) => computer.write("store.key", file),
                None => computer,
            };
            assert_eq!(
                computer.refusal(format!("[store]\n{name} = \"store.key\"")),
                format!(
                    "config.toml:2: store.{name}: {found}; wanted a key of 32 random bytes or more, such as \
                     `openssl rand -hex 32` or `head -c 32 /dev/urandom` makes"
                )
            );
        }
    }
    let computer = Computer::of_root();
    fs::create_dir(computer.path("store.key")).expect("a folder");
    let message = computer.refusal("store.key-file = \"store.key\"");
    assert!(message.contains("store.key is not a regular file; wanted a key"), "{message}");
}

#[test]
fn a_webhook_is_http_or_https() {
    for url in ["https://ntfy.example/heating?auth=x", "http://192.168.1.9:8080/"] {
        assert_eq!(load(&format!("notify.webhook = \"{url}\"")).notify.webhook, WebhookUrl::parse(url));
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
    let plain: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    assert_eq!(plain, [("authorization", &b"Bearer x"[..]), ("title", b"the house")]);
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
    for name in ["Content-Length", "transfer-encoding", "Connection", "Upgrade"] {
        assert_eq!(
            refusal(&format!("[notify.webhook-headers]\n{name} = \"hunter2\"")),
            format!(
                "config.toml:2: notify.webhook-headers.{name}: found a header field that HTTP itself sets; wanted it left out"
            )
        );
    }
    assert_refused(
        &["notify.webhook-headers = \"x\""],
        "notify.webhook-headers: found a string; wanted a table",
    );
}

#[test]
fn a_webhook_has_one_bearer_token_at_most() {
    let computer = Computer::of_root().with_credentials().write("token", format!("{KEY}\n"));
    for key in ["webhook-bearer-file", "webhook-bearer-credential"] {
        let notify = computer.load(&format!("notify.{key} = \"token\"")).notify;
        assert_eq!(notify.webhook_headers["authorization"], format!("Bearer {KEY}"));
        let source = notify.webhook_bearer_source.expect("a bearer token");
        assert_eq!(source.path(), computer.path("token"));
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
