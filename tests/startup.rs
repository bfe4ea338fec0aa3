//! Starting: bad configurations, taken sockets, broken stores. Each ends with a sentence and its exit status.

mod harness;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use ecobee_simulator::Liveness;
use harness::{Daemon, Stage};
use tempfile::TempDir;

const HOUR: Duration = Duration::from_secs(3600);

fn tokend(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ecobee-tokend"))
        .args(arguments)
        .env_remove("NOTIFY_SOCKET")
        .output()
        .expect("the daemon runs")
}

fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Starts a daemon that is expected to leave, and returns its exit status and its last words.
fn fails_to_start(stage: &Stage) -> (Option<i32>, String) {
    let daemon = Daemon::launch(&stage.config(), stage.folder.path(), &stage.socket());
    let (status, log) = daemon.ended();
    (status.code(), log.join("\n"))
}

#[test]
fn a_bad_configuration_is_refused_whole_and_nothing_is_started() {
    let stage = Stage::with_lifetime(HOUR).refresh("ahed = \"10m\"");

    let (status, said) = fails_to_start(&stage);

    assert_eq!(status, Some(78), "{said}");
    assert!(
        said.contains("config.toml:") && said.contains("refresh.ahed") && said.contains("ahead"),
        "{said}"
    );
    assert!(!stage.socket().exists() && !stage.state().exists(), "nothing was started");
    assert_eq!(stage.simulator.calls(), []);
}

#[test]
fn a_missing_configuration_is_an_error_and_not_the_defaults() {
    let output = tokend(&["--config", "/nonexistent/config.toml"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(complaint(&output).contains("/nonexistent/config.toml"), "{}", complaint(&output));
}

#[test]
fn check_config_says_good_or_why_not() {
    let stage = Stage::with_lifetime(HOUR);
    let config = stage.config();
    let config = config.to_str().expect("a plain path");
    assert!(tokend(&["check-config", "--config", config]).status.success());
    fs::write(config, "[accounts.home]\n").expect("it is ours");
    let output = tokend(&["check-config", "--config", config]);
    assert_eq!(output.status.code(), Some(78));
    assert!(complaint(&output).contains("accounts.home"), "{}", complaint(&output));
}

#[test]
fn wrong_arguments_are_usage_errors() {
    for arguments in [&["--nonsense"][..], &["dance"], &["forget"], &["--log-format", "sung"], &["--config"]]
    {
        let output = tokend(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(complaint(&output).contains("--help"), "{arguments:?}");
    }
    assert!(tokend(&["--help"]).status.success() && tokend(&["--version"]).status.success());
}

#[test]
fn without_accounts_it_runs_and_says_what_to_add() {
    let stage = Stage::with_lifetime(HOUR).accounts(&[]);
    let daemon = stage.start();
    daemon.notified.wait_for("advice", |line| line.starts_with("STATUS=") && line.contains("[accounts."));
    assert_eq!(daemon.get("/status").json()["accounts"], serde_json::json!({}));
    assert_eq!(daemon.get("/healthz").status, 503);
    assert!(daemon.stop().success());
}

#[test]
fn a_socket_that_a_daemon_answers_at_is_left_to_it() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start();
    let other = Stage::with_lifetime(HOUR);
    let config = fs::read_to_string(other.config()).expect("it was written");
    let taken = config.replace(&other.socket().display().to_string(), &stage.socket().display().to_string());
    let path = other.folder.path().join("taken.toml");
    fs::write(&path, taken).expect("it is ours");

    let (status, log) = Daemon::launch(&path, other.folder.path(), &other.socket()).ended();

    assert_eq!(status.code(), Some(73), "{log:?}");
    assert!(log.join("\n").contains(&stage.socket().display().to_string()), "{log:?}");
    assert_eq!(daemon.get("/status").status, 200, "the first one goes on");
}

#[test]
fn a_dead_daemons_socket_is_replaced_and_its_own_is_removed_at_the_end() {
    let stage = Stage::with_lifetime(HOUR);
    stage.start().kill();
    assert!(stage.socket().exists(), "a killed daemon leaves its socket behind");

    let daemon = stage.start();

    assert_eq!(daemon.get("/status").status, 200);
    let mode = fs::metadata(stage.socket()).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    assert!(daemon.stop().success());
    assert!(!stage.socket().exists());
}

#[test]
fn what_is_no_socket_is_not_touched() {
    let stage = Stage::with_lifetime(HOUR);
    fs::write(stage.socket(), "precious").expect("it is ours");

    let (status, said) = fails_to_start(&stage);

    assert_eq!(status, Some(73), "{said}");
    assert_eq!(fs::read_to_string(stage.socket()).expect("it is there"), "precious");
}

#[test]
fn rule_11_a_second_daemon_on_the_same_store_names_the_first_and_leaves() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();
    let config = fs::read_to_string(stage.config()).expect("it was written");
    let path = stage.folder.path().join("second.toml");
    let elsewhere = stage.folder.path().join("socket2");
    fs::write(&path, config.replace(&stage.socket().display().to_string(), &elsewhere.display().to_string()))
        .expect("it is ours");

    let output = tokend(&["--config", path.to_str().expect("a plain path")]);

    assert_eq!(output.status.code(), Some(73), "{}", complaint(&output));
    assert!(complaint(&output).contains(&daemon.pid().to_string()), "{}", complaint(&output));
    let output = tokend(&["forget", "--config", path.to_str().expect("a plain path"), "home"]);
    assert_eq!(output.status.code(), Some(73), "forget keeps away from a store in use");
    assert_eq!(daemon.get("/token").status, 200);
}

#[test]
fn rule_14_a_broken_store_file_is_moved_aside_and_the_pin_flow_begins() {
    let stage = Stage::with_lifetime(HOUR);
    stage.start_authorized().kill();
    let file = stage.state().join("home.json");
    let half = stage.stored("home")[..100].to_owned();
    fs::write(&file, &half).expect("it is ours");

    let daemon = stage.start();

    daemon.pin("home");
    let kept = fs::read_dir(stage.state())
        .expect("the folder")
        .filter_map(Result::ok)
        .find(|entry| entry.file_name().to_string_lossy().starts_with("home.json.broken-"))
        .expect("the broken file was kept");
    assert_eq!(fs::read_to_string(kept.path()).expect("readable"), half);
    daemon.log.wait_for("a line about it", |line| line.contains("broken"));
}

#[test]
fn rule_14_a_store_file_of_a_newer_version_is_left_alone() {
    let stage = Stage::with_lifetime(HOUR);
    stage.start_authorized().kill();
    let file = stage.state().join("home.json");
    let newer = stage.stored("home").replacen("\"version\": 1", "\"version\": 3", 1);
    assert_ne!(newer, stage.stored("home"));
    fs::write(&file, &newer).expect("it is ours");

    let (status, said) = fails_to_start(&stage);

    assert_eq!(status, Some(73), "{said}");
    assert_eq!(stage.stored("home"), newer);
}

#[test]
fn rule_12_a_changed_api_key_starts_a_pin_flow_and_keeps_the_old_file() {
    let stage = Stage::with_lifetime(HOUR);
    stage.start_authorized().kill();
    let old = stage.stored("home");
    let config = fs::read_to_string(stage.config()).expect("it was written");
    let path = stage.folder.path().join("other-key.toml");
    fs::write(&path, config.replace(harness::KEY, "another-key-0123456789")).expect("it is ours");

    let daemon = Daemon::launch(&path, stage.folder.path(), &stage.socket());
    daemon.notified.wait_for("READY=1", |line| line == "READY=1");

    daemon.pin("home");
    let kept = fs::read_dir(stage.state())
        .expect("the folder")
        .filter_map(Result::ok)
        .filter_map(|entry| fs::read_to_string(entry.path()).ok())
        .any(|text| text == old);
    assert!(kept, "the old grant is kept aside");
}

#[test]
fn rule_12_forget_deletes_a_stored_grant() {
    let stage = Stage::with_lifetime(HOUR);
    assert!(stage.start_authorized().stop().success());
    let config = stage.config();
    let config = config.to_str().expect("a plain path");

    assert!(tokend(&["forget", "--config", config, "home"]).status.success());

    assert!(!stage.state().join("home.json").exists());
    assert_eq!(tokend(&["forget", "--config", config, "home"]).status.code(), Some(1));
    stage.start().pin("home");
}

#[test]
fn the_store_is_for_the_daemon_alone() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();
    let mode = |path: &std::path::Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(&stage.state()), 0o700);
    assert_eq!(mode(&stage.state().join("home.json")), 0o600);
    assert!(!stage.stored("home").contains(harness::KEY), "the API key itself is not stored");
    assert!(stage.stored("home").contains(&daemon.token("home")));
}

#[test]
fn a_full_disk_keeps_nobody_from_their_token() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();
    // A folder in the way of the file does to a save what a full disk does.
    fs::remove_file(stage.state().join("home.json")).expect("it is ours");
    fs::create_dir_all(stage.state().join("home.json/in-the-way")).expect("it is ours");

    let first = daemon.post("/token/rejected", &daemon.token("home"));

    assert_eq!(first.status, 200, "{}", first.body);
    assert_eq!(stage.simulator.is_alive(first.text()), Liveness::Alive);
    daemon.log.wait_for("a loud word", |line| line.contains("ERROR") && line.contains("home.json"));
    fs::remove_dir_all(stage.state().join("home.json")).expect("it is ours");
    daemon.log.wait_for("the recovery", |line| line.contains("is saved again"));
    assert!(stage.stored("home").contains(first.text()), "and is saved in the end");
}

#[test]
fn rule_6_a_stop_tries_once_more_to_save_what_could_not_be_saved() {
    let stage = Stage::with_lifetime(HOUR).refresh("retry-initial = \"1m\"");
    let daemon = stage.start_authorized();
    fs::remove_file(stage.state().join("home.json")).expect("it is ours");
    fs::create_dir_all(stage.state().join("home.json/in-the-way")).expect("it is ours");
    let token = daemon.post("/token/rejected", &daemon.token("home")).text().to_owned();
    daemon.log.wait_for("a loud word", |line| line.contains("ERROR"));
    fs::remove_dir_all(stage.state().join("home.json")).expect("it is ours");

    assert!(daemon.stop().success());

    assert!(
        stage.stored("home").contains(&token),
        "the next save was a minute away; the stop did not wait for it"
    );
    stage.simulator.clear_calls();
    assert_eq!(stage.start().get("/token").text(), token);
    assert_eq!(stage.simulator.calls(), []);
}

#[test]
fn a_stop_that_cannot_save_says_so_and_ends_all_the_same() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();
    fs::remove_file(stage.state().join("home.json")).expect("it is ours");
    fs::create_dir_all(stage.state().join("home.json/in-the-way")).expect("it is ours");
    daemon.post("/token/rejected", &daemon.token("home"));
    daemon.log.wait_for("a loud word", |line| line.contains("ERROR"));

    daemon.signal("TERM");

    let (status, log) = daemon.ended();
    assert!(status.success());
    assert!(log.iter().any(|line| line.contains("leaving, though the newest state of home")), "{log:?}");
}

#[test]
fn what_this_machine_does_not_have_is_found_by_check_config_too() {
    let stage = Stage::with_lifetime(HOUR);
    for (section, wanted) in [
        ("[ecobee]\nca-file = \"nowhere.pem\"\n", "nowhere.pem"),
        ("[socket]\ngroup = \"no-such-group\"\n", "socket.group"),
        ("[store]\nkey-file = \"store.key\"\n", "store.key does not exist; wanted a key of 32"),
    ] {
        let path = stage.folder.path().join("machine.toml");
        fs::write(&path, section).expect("it is ours");
        let path = path.to_str().expect("a plain path");
        for arguments in [&["check-config", "--config", path][..], &["--config", path]] {
            let output = tokend(arguments);
            assert_eq!(output.status.code(), Some(78), "{section}");
            assert!(complaint(&output).contains(wanted) && complaint(&output).contains(path), "{output:?}");
        }
    }
}

#[test]
fn a_socket_path_that_nobody_listens_at_any_more_is_recognised() {
    let stage = Stage::with_lifetime(HOUR);
    drop(UnixListener::bind(stage.socket()).expect("it binds"));
    assert_eq!(stage.start().get("/status").status, 200);
}

#[test]
fn check_config_warns_of_what_the_start_warns_of() {
    let stage = Stage::with_lifetime(HOUR);
    if !others_reach(std::env::temp_dir().as_path()) {
        return harness::skipped("nobody else reaches the folder of temporary files");
    }
    let open = |mode| fs::set_permissions(stage.folder.path(), fs::Permissions::from_mode(mode));
    open(0o755).expect("it is ours");
    let key_file = stage.folder.path().join("home.key");
    fs::write(&key_file, "made-up-key-0123456789").expect("it is ours");
    fs::set_permissions(&key_file, fs::Permissions::from_mode(0o644)).expect("it is ours");
    let config = fs::read_to_string(stage.config()).expect("it was written");
    let inline = format!("api-key = \"{}\"", harness::KEY);
    let path = stage.folder.path().join("config.toml");
    let changed = "api-key-file = \"home.key\"\nallow-users = [\"no-such-user\"]";
    fs::write(&path, config.replace(&inline, changed)).expect("it is ours");
    let remedy = format!("(mode 0644); chmod 600 {}", key_file.display());
    let expected = [remedy.as_str(), "accounts.home.allow-users: there is no no-such-user on this machine"];

    let output = tokend(&["check-config", "--config", path.to_str().expect("a plain path")]);

    assert!(output.status.success(), "{}", complaint(&output));
    let daemon = Daemon::launch(&path, stage.folder.path(), &stage.socket());
    for words in expected {
        assert!(complaint(&output).contains(words), "{}", complaint(&output));
        daemon.log.wait_for("the same at the start", |line| line.contains(" WARN ") && line.contains(words));
    }
    open(0o750).expect("it is ours");
    let output = tokend(&["check-config", "--config", path.to_str().expect("a plain path")]);
    assert!(!complaint(&output).contains("chmod"), "nobody gets there: {}", complaint(&output));
    open(0o755).expect("it is ours");
    fs::set_permissions(&key_file, fs::Permissions::from_mode(0o640)).expect("it is ours");
    let output = tokend(&["check-config", "--config", path.to_str().expect("a plain path")]);
    assert!(!complaint(&output).contains("chmod"), "a group may be the daemon's: {}", complaint(&output));
}

fn others_reach(folder: &Path) -> bool {
    let passes =
        |folder: &Path| fs::metadata(folder).is_ok_and(|about| about.permissions().mode() & 0o001 != 0);
    fs::canonicalize(folder).is_ok_and(|folder| folder.ancestors().all(passes))
}

#[test]
fn a_webhooks_headers_make_the_configuration_a_secret() {
    if !others_reach(std::env::temp_dir().as_path()) {
        return harness::skipped("nobody else reaches the folder of temporary files");
    }
    let folder = TempDir::new().expect("a temporary folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
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
        fs::set_permissions(&config, fs::Permissions::from_mode(0o644)).expect("it is ours");
        let output = tokend(&["check-config", "--config", config.to_str().expect("a plain path")]);
        assert!(output.status.success(), "{}", complaint(&output));
        assert_eq!(complaint(&output).contains("holds a secret"), warned, "{}", complaint(&output));
    }
}

#[test]
fn check_config_warns_of_what_is_probably_not_meant() {
    let stage = Stage::with_lifetime(HOUR).accounts(&["cabin", "home"]);
    let tell = stage.folder.path().join("tell-me");
    let config = stage.config();
    fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).expect("it is ours");
    let text = fs::read_to_string(&config).expect("it was written");
    let path = config.to_str().expect("a plain path");
    let said = |text: &str| {
        fs::write(&config, text).expect("it is ours");
        let output = tokend(&["check-config", "--config", path]);
        assert!(output.status.success(), "{}", complaint(&output));
        complaint(&output)
    };
    let with_command = format!("{text}[notify]\ncommand = [\"{}\"]\n", tell.display());

    let found = said(&with_command);
    for words in [
        "accounts.cabin: the API key has 23 characters, and ecobee's have 32",
        "default-account: not set",
        "tell-me: is not there",
    ] {
        assert!(found.contains(words), "{words}: {found}");
    }
    assert!(!found.contains("key-of-"), "no message repeats a secret: {found}");

    fs::write(&tell, "#!/bin/sh\n").expect("it is ours");
    fs::set_permissions(&tell, fs::Permissions::from_mode(0o644)).expect("it is ours");
    assert!(said(&with_command).contains("tell-me: may not be run (mode 0644); chmod +x it"));

    fs::set_permissions(&tell, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let mended = with_command
        .replace("key-of-cabin-0123456789", "cabin-key-of-thirty-two-letters.")
        .replace("key-of-home-0123456789", "home-key-of-thirty-two-letters-.");
    assert_eq!(said(&format!("default-account = \"home\"\n{mended}")), "");
}

#[test]
fn the_clients_commands_are_found_where_they_are() {
    for (arguments, line) in [
        (&["status", "--watch"][..], "ecobee-token status"),
        (&["pin"], "ecobee-token pin"),
        (&["token"], "ecobee-token"),
        (&["refresh"], "ecobee-token refresh"),
        (&["curl", "-s", "x"], "ecobee-token curl --"),
    ] {
        let output = tokend(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let said = complaint(&output);
        assert!(said.contains(&format!("is for the client to do: {line}")), "{arguments:?}: {said}");
    }
}

#[test]
fn rule_12_forget_of_a_misspelt_name_tells_which_there_are() {
    let stage = Stage::with_lifetime(HOUR).accounts(&["cabin", "home"]);
    assert!(stage.start_authorized().stop().success());
    let config = stage.config();

    let output = tokend(&["forget", "--config", config.to_str().expect("a plain path"), "hom"]);

    assert_eq!(output.status.code(), Some(1));
    assert!(complaint(&output).contains("what is there: cabin, home"), "{}", complaint(&output));
}

/// `check-config` with an account whose key is this credential.
fn check_credential(folder: &Path, name: &str, credentials: Option<&Path>) -> Output {
    let config = folder.join("credential.toml");
    fs::write(&config, format!("[accounts.home]\napi-key-credential = '{name}'\n")).expect("it is ours");
    let mut command = Command::new(env!("CARGO_BIN_EXE_ecobee-tokend"));
    command.arg("check-config").arg("--config").arg(config).env_remove("CREDENTIALS_DIRECTORY");
    if let Some(credentials) = credentials {
        command.env("CREDENTIALS_DIRECTORY", credentials);
    }
    command.output().expect("the daemon runs")
}

#[test]
fn a_credential_is_read_whatever_its_name_and_complained_about_with_it() {
    let folder = TempDir::new().expect("a temporary folder");
    let credentials = folder.path().join("credentials");
    fs::create_dir(&credentials).expect("it is ours");
    for name in ["home.key", "two words", "-x", "..key", "größe", "a:b", "%h", "🔑", &"x".repeat(200)] {
        fs::write(credentials.join(name), "made-up-key-0123456789\n").expect("it is ours");
        let output = check_credential(folder.path(), name, Some(&credentials));
        assert!(output.status.success(), "{name}: {}", complaint(&output));
    }
    for name in ["", ".", "..", "../home.key", "/etc/passwd", "a/b"] {
        let output = check_credential(folder.path(), name, Some(&credentials));
        assert_eq!(output.status.code(), Some(78), "{name}");
        let said = complaint(&output);
        assert!(
            said.contains("accounts.home.api-key-credential") && said.contains("without a slash"),
            "{said}"
        );
    }
    let missing = complaint(&check_credential(folder.path(), "nowhere", Some(&credentials)));
    assert!(missing.contains("credentials/nowhere does not exist"), "{missing}");
    for (content, fault) in
        [("", "is empty"), ("two words", "holds a space"), ("\0\x01", "not visible ASCII")]
    {
        fs::write(credentials.join("odd"), content).expect("it is ours");
        let output = check_credential(folder.path(), "odd", Some(&credentials));
        let said = complaint(&output);
        assert!(output.status.code() == Some(78) && said.contains(fault), "{said}");
        assert!(content.is_empty() || !said.contains(content), "no message repeats a secret");
    }
    let output = check_credential(folder.path(), "home.key", None);
    assert_eq!(output.status.code(), Some(78));
    let said = complaint(&output);
    assert!(said.contains("$CREDENTIALS_DIRECTORY is not set") && said.contains("LoadCredential="), "{said}");
}

/// What `check-config` says of one thing.
fn told<'a>(said: &'a str, what: &str) -> &'a str {
    let line = said.lines().find_map(|line| line.strip_prefix("  ")?.strip_prefix(what));
    line.unwrap_or_else(|| panic!("nothing of {what}: {said}")).trim()
}

/// `check-config` in an environment without any proxy, or with this one.
fn check_config(config: &Path, proxy: Option<&str>) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ecobee-tokend"));
    for name in ["https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env_remove(name);
    }
    command.args(["check-config", "--config"]).arg(config).env_remove("NO_PROXY").env_remove("no_proxy");
    let output = command.envs(proxy.map(|proxy| ("HTTPS_PROXY", proxy))).output().expect("the daemon runs");
    assert!(output.status.success() && complaint(&output).is_empty(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn check_config_says_what_a_start_would_do_and_tells_no_secret() {
    let folder = TempDir::new().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name);
    let shown = |name: &str| at(name).display().to_string();
    for (file, mode) in [("home.key", 0o600), ("hook.token", 0o640), ("tell-me", 0o755)] {
        fs::write(at(file), "made-up-secret-0123456789-abcdef").expect("it is ours");
        fs::set_permissions(at(file), fs::Permissions::from_mode(mode)).expect("it is ours");
    }
    fs::create_dir(at("state")).expect("it is ours");
    fs::set_permissions(at("state"), fs::Permissions::from_mode(0o750)).expect("it is ours");
    for file in ["home.json", "old.json", "home.json.broken-20260102T030405Z", "lock"] {
        fs::write(at("state").join(file), "untouched").expect("it is ours");
    }
    let config = at("config.toml");
    fs::write(
        &config,
        "default-account = \"home\"\n\
         [socket]\npath = \"socket\"\nmode = \"0600\"\ngroup = \"0\"\n\
         [store]\ndirectory = \"state\"\n\
         [notify]\nwebhook = \"https://hooks.example/made-up-secret-0123456789-abcdef\"\n\
         webhook-bearer-file = \"hook.token\"\ncommand = [\"./tell-me\", \"made-up-secret-0123456789-abcdef\"]\n\
         remind-every = \"12h\"\n\
         [accounts.home]\napi-key-file = \"home.key\"\nallow-users = [0]\nallow-groups = [7]\n\
         [accounts.cabin]\napi-key = \"made-up-secret-0123456789-abcdef\"\nscope = \"smartRead\"\n"
            .replace("./tell-me", &shown("tell-me")),
    )
    .expect("it is ours");
    fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).expect("it is ours");
    let _listening = UnixListener::bind(at("socket")).expect("it binds");
    fs::set_permissions(at("socket"), fs::Permissions::from_mode(0o606)).expect("it is ours");

    let said = check_config(&config, Some("http://made-up-secret-0123456789-abcdef:x@proxy.example:3128"));

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
fn check_config_says_what_is_not_there_yet() {
    let stage = Stage::with_lifetime(HOUR).accounts(&[]);

    let said = check_config(&stage.config(), Some("http://proxy.example:3128"));

    assert!(told(&said, "accounts").contains("none yet"), "{said}");
    assert!(told(&said, "socket").contains("not there now"), "{said}");
    assert!(told(&said, "store").contains("made at the first start"), "{said}");
    assert!(told(&said, "ecobee").contains(", no proxy"), "this machine is reached without one: {said}");
    assert!(told(&said, "notify").contains("nobody is told"), "{said}");
    assert!(!stage.state().exists() && !stage.socket().exists(), "nothing was made");
}
