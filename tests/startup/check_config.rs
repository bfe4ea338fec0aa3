//! `check-config`: whether a start would succeed, what it would warn of, and what it would do.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

use tempfile::TempDir;

use crate::harness::{Ended, HOUR, KEY, Stage, run_with, skipped, tokend, tokend_command};
use crate::{run, text};

/// What no message may repeat. Made up.
const SECRET: &str = "made-up-secret-0123456789-abcdef";

fn check(config: &Path) -> Ended {
    tokend("check-config", config, &[])
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
}

#[test]
fn it_says_good_or_why_not() {
    let stage = Stage::with_lifetime(HOUR);
    check(&stage.config()).with(0);
    check(&stage.put("config.toml", "[accounts.home]\n", 0o600)).with(78).telling("accounts.home");
}

#[test]
fn what_this_machine_does_not_have_ends_a_check_and_a_start() {
    let stage = Stage::with_lifetime(HOUR);
    for (section, wanted) in [
        ("[ecobee]\nca-file = \"nowhere.pem\"\n", "nowhere.pem"),
        ("[socket]\ngroup = \"no-such-group\"\n", "socket.group"),
        ("[store]\nkey-file = \"store.key\"\n", "store.key does not exist; wanted a key of 32"),
    ] {
        let config = stage.put("machine.toml", section, 0o600);
        for ended in [check(&config), run(&["--config", text(&config)])] {
            ended.with(78).telling(wanted).telling(text(&config));
        }
    }
}

/// Whether others reach what lies in a temporary folder; says so if not.
fn others_reach_temporary_folders() -> bool {
    let passes = |folder: &Path| fs::metadata(folder).is_ok_and(|about| about.permissions().mode() & 1 != 0);
    let folder = fs::canonicalize(std::env::temp_dir());
    let reach = folder.is_ok_and(|folder| folder.ancestors().all(passes));
    if !reach {
        skipped("nobody else reaches the folder of temporary files");
    }
    reach
}

#[test]
fn it_warns_of_what_the_start_warns_of() {
    if !others_reach_temporary_folders() {
        return;
    }
    let stage = Stage::with_lifetime(HOUR);
    set_mode(stage.folder.path(), 0o755);
    let key_file = stage.put("home.key", "made-up-key-0123456789", 0o644);
    let inline = format!("api-key = \"{KEY}\"");
    let changed = "api-key-file = \"home.key\"\nallow-users = [\"no-such-user\"]";
    stage.config();
    stage.rewrite(|text| text.replace(&inline, changed));
    let config = stage.folder.path().join("config.toml");
    let remedy = format!("(mode 0644); chmod 600 {}", key_file.display());

    let ended = check(&config).with(0);

    let daemon = crate::harness::Daemon::launch(&config, stage.folder.path(), &stage.socket());
    for words in [remedy.as_str(), "accounts.home.allow-users: there is no no-such-user on this machine"] {
        assert!(ended.stderr.contains(words), "{ended:?}");
        daemon.log.wait_for("the same at the start", |line| line.contains(" WARN ") && line.contains(words));
    }
    for (folder, file, why) in
        [(0o750, 0o644, "nobody gets there"), (0o755, 0o640, "a group may be the daemon's")]
    {
        set_mode(stage.folder.path(), folder);
        set_mode(&key_file, file);
        let said = check(&config).with(0).stderr;
        assert!(!said.contains("chmod"), "{why}: {said}");
    }
}

#[test]
fn a_webhooks_headers_make_the_configuration_a_secret() {
    if !others_reach_temporary_folders() {
        return;
    }
    let folder = TempDir::new().expect("a temporary folder");
    set_mode(folder.path(), 0o755);
    let config = folder.path().join("config.toml");
    for (headers, warned) in [("", false), ("webhook-headers = { X-Key = \"hunter2\" }\n", true)] {
        fs::write(
            &config,
            format!(
                "[socket]\npath = \"socket\"\n[store]\ndirectory = \"state\"\n\
                 [notify]\nwebhook = \"http://127.0.0.1:1\"\n{headers}"
            ),
        )
        .expect("it is ours");
        set_mode(&config, 0o644);
        let ended = check(&config).with(0);
        assert_eq!(ended.stderr.contains("holds a secret"), warned, "{ended:?}");
    }
}

#[test]
fn it_warns_of_what_is_probably_not_meant() {
    let stage = Stage::with_lifetime(HOUR).accounts(&["cabin", "home"]);
    let tell = stage.folder.path().join("tell-me");
    let with_command = |text: String| format!("{text}[notify]\ncommand = [\"{}\"]\n", tell.display());

    let said = check(&stage.variant(with_command)).with(0).stderr;
    for words in [
        "accounts.cabin: the API key has 23 characters, and ecobee's have 32",
        "default-account: not set",
        "tell-me: is not there",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(!said.contains("key-of-"), "no message repeats a secret: {said}");

    stage.put("tell-me", "#!/bin/sh\n", 0o644);
    let said = check(&stage.variant(with_command)).with(0).stderr;
    assert!(said.contains("tell-me: may not be run (mode 0644); chmod +x it"), "{said}");

    set_mode(&tell, 0o755);
    let mended = stage.variant(|text| {
        let keys = text
            .replace("key-of-cabin-0123456789", "cabin-key-of-thirty-two-letters.")
            .replace("key-of-home-0123456789", "home-key-of-thirty-two-letters-.");
        with_command(format!("default-account = \"home\"\n{keys}"))
    });
    assert_eq!(check(&mended).with(0).stderr, "");
}

/// What it says of one thing.
fn told<'a>(said: &'a str, what: &str) -> &'a str {
    let line = said.lines().find_map(|line| line.strip_prefix("  ")?.strip_prefix(what));
    line.unwrap_or_else(|| panic!("nothing of {what}: {said}")).trim()
}

/// What it says without complaint, with this proxy in its environment.
fn report(config: &Path, proxy: &str) -> String {
    let mut command = tokend_command("check-config", config, &[]);
    command.env("HTTPS_PROXY", proxy);
    let ended = run_with(command, "").with(0);
    assert_eq!(ended.stderr, "");
    ended.stdout
}

#[test]
fn it_says_what_a_start_would_do_and_tells_no_secret() {
    let folder = TempDir::new().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name);
    let shown = |name: &str| at(name).display().to_string();
    for (file, mode) in [("home.key", 0o600), ("hook.token", 0o640), ("tell-me", 0o755)] {
        fs::write(at(file), SECRET).expect("it is ours");
        set_mode(&at(file), mode);
    }
    fs::create_dir(at("state")).expect("it is ours");
    set_mode(&at("state"), 0o750);
    for file in ["home.json", "old.json", "home.json.broken-20260102T030405Z", "lock"] {
        fs::write(at("state").join(file), "untouched").expect("it is ours");
    }
    let config = at("config.toml");
    fs::write(
        &config,
        format!(
            "default-account = \"home\"\n\
             [socket]\npath = \"socket\"\nmode = \"0600\"\ngroup = \"0\"\n\
             [store]\ndirectory = \"state\"\n\
             [notify]\nwebhook = \"https://hooks.example/{SECRET}\"\n\
             webhook-bearer-file = \"hook.token\"\ncommand = [\"{}\", \"{SECRET}\"]\n\
             remind-every = \"12h\"\n\
             [accounts.home]\napi-key-file = \"home.key\"\nallow-users = [0]\nallow-groups = [7]\n\
             [accounts.cabin]\napi-key = \"{SECRET}\"\nscope = \"smartRead\"\n",
            shown("tell-me")
        ),
    )
    .expect("it is ours");
    set_mode(&config, 0o600);
    let _listening = UnixListener::bind(at("socket")).expect("it binds");
    set_mode(&at("socket"), 0o606);

    let said = report(&config, &format!("http://{SECRET}:x@proxy.example:3128"));

    assert!(said.starts_with(&format!("{}: good; 2 account(s)\n", config.display())), "{said}");
    let expected = [
        ("account home", vec![shown("home.key"), "mode 0600".into(), "smartWrite".into()]),
        ("account home", vec!["the users 0 and the groups 7".into(), "the default account".into()]),
        ("account cabin", vec![shown("config.toml"), "smartRead".into(), "whoever may connect".into()]),
        ("socket", vec![shown("socket"), "mode 0600, group 0".into(), "systemd".into(), "mode 0606".into()]),
        ("store", vec![shown("state"), "mode 0750".into(), "not encrypted; grants of home, old".into()]),
        ("ecobee", vec!["https://api.ecobee.com, by the proxy http://proxy.example:3128 ".into()]),
        ("notify", vec!["webhook https://hooks.example with the bearer".into(), shown("hook.token")]),
        ("notify", vec!["mode 0640".into(), shown("tell-me"), "mode 0755".into(), "every 12h".into()]),
    ];
    for (what, words) in expected {
        for word in words {
            assert!(told(&said, what).contains(&word), "{what}: {word}: {said}");
        }
    }
    assert!(!said.contains("made-up-secret"), "{said}");
    let kept = fs::read_to_string(at("state").join("home.json")).expect("it is there");
    let mode = fs::metadata(at("state")).expect("it is there").permissions().mode();
    assert_eq!((kept.as_str(), mode & 0o777), ("untouched", 0o750), "nothing is changed");
}

#[test]
fn it_says_what_is_not_there_yet() {
    let stage = Stage::with_lifetime(HOUR).accounts(&[]);

    let said = report(&stage.config(), "http://proxy.example:3128");

    assert!(told(&said, "accounts").contains("none yet"), "{said}");
    assert!(told(&said, "socket").contains("not there now"), "{said}");
    assert!(told(&said, "store").contains("made at the first start"), "{said}");
    assert!(told(&said, "ecobee").contains(", no proxy"), "this machine is reached without one: {said}");
    assert!(told(&said, "notify").contains("nobody is told"), "{said}");
    assert!(!stage.state().exists() && !stage.socket().exists(), "nothing was made");
}
