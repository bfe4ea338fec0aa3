//! Encryption at rest, with the real daemon: into it, out of it, from key to key, and what ends a start.

mod harness;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use ecobee_simulator::CallKind;
use harness::{Daemon, KEY, Stage};
use serde_json::Value;

const HOUR: Duration = Duration::from_secs(3600);

/// What `openssl rand -hex 32` might print. Made up.
const ONE: &str = "3f0c9a41d7be25860b9c4de1f27a8356914be0d2c67f5a3810ce94b7d6a2f05e\n";
const TWO: &str = "c2615be98a03f4d71e9b50c8d36f2a74e10d95b7f8236ca4905d1be78f43a6c0\n";

/// A stage with both keys in files that only its user can read.
fn stage() -> Stage {
    with_keys(Stage::with_lifetime(HOUR))
}

fn with_keys(stage: Stage) -> Stage {
    for (name, material) in [("one.key", ONE), ("two.key", TWO)] {
        put_key(&stage, name, material);
    }
    stage
}

fn put_key(stage: &Stage, name: &str, material: &str) {
    let path = stage.folder.path().join(name);
    fs::write(&path, material).expect("it is ours");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("it is ours");
}

/// Every file of the state folder but the lock, which names the process.
fn files(stage: &Stage) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(stage.state()).expect("the folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .filter(|path| !path.ends_with("lock"))
        .map(|path| (path.clone(), fs::read(path).expect("readable")))
        .collect()
}

/// Everything secret that ecobee has said so far, and the API key.
fn secrets(stage: &Stage) -> Vec<String> {
    let truth = stage.simulator.truth();
    let tokens = truth.grants().iter().flat_map(|grant| {
        let access = grant.access_tokens.iter().map(|token| token.value.clone());
        access.chain(grant.refresh_tokens.iter().map(|token| token.value.clone()))
    });
    tokens.chain([KEY.to_owned()]).collect()
}

/// How often a secret stands in the state folder.
fn found(stage: &Stage) -> usize {
    let secrets = secrets(stage);
    assert!(secrets.len() > 2, "{secrets:?}");
    let files = files(stage);
    let holds =
        |bytes: &[u8], secret: &str| bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
    secrets.iter().map(|secret| files.values().filter(|bytes| holds(bytes, secret)).count()).sum()
}

/// The file of an account.
fn stored(stage: &Stage, account: &str) -> Value {
    serde_json::from_str(&stage.stored(account)).expect("JSON")
}

/// Which version it has.
fn version(stage: &Stage, account: &str) -> u64 {
    stored(stage, account)["version"].as_u64().expect("a version")
}

/// Starts a daemon that is expected to leave, with its exit status and its last words.
fn fails_to_start(stage: &Stage) -> (Option<i32>, String) {
    let (status, log) = Daemon::launch(&stage.config(), stage.folder.path(), &stage.socket()).ended();
    (status.code(), log.join("\n"))
}

fn tokend(stage: &Stage, words: &[&str]) -> Output {
    Command::new(harness::binary())
        .args(words)
        .arg("--config")
        .arg(stage.config())
        .env_remove("NOTIFY_SOCKET")
        .stdin(Stdio::null())
        .output()
        .expect("it runs")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn from_plain_to_sealed_to_another_key_and_back_nobody_notices_and_ecobee_is_not_called() {
    let mut stage = stage();
    let daemon = stage.start_authorized();
    let token = daemon.token("home");
    assert!(daemon.stop().success());
    assert!(found(&stage) > 0, "plain as yet");
    stage.simulator.clear_calls();

    for (section, words, sealed) in [
        ("key-file = \"one.key\"", " WARN home: ", true),
        ("key-file = \"two.key\"\nprevious-key-file = \"one.key\"", "needs the previous key", true),
        ("key-file = \"two.key\"", "listening at", true),
        ("previous-key-file = \"two.key\"", "no longer encrypted", false),
        ("", "listening at", false),
    ] {
        stage.change_store(section);
        let daemon = stage.start();
        assert_eq!(daemon.get("/token").text(), token, "{section}");
        daemon.log.wait_for(section, |line| line.contains(words));
        assert_eq!((version(&stage, "home"), found(&stage) > 0), (if sealed { 2 } else { 1 }, !sealed));
        assert!(daemon.stop().success());
        assert_eq!(files(&stage).len(), 1, "nothing else is left");
    }
    assert_eq!(stage.simulator.calls(), []);
}

#[test]
fn what_is_saved_later_is_sealed_too_and_a_kill_costs_nothing() {
    let stage = stage().store_section("key-file = \"one.key\"");
    let daemon = stage.start_authorized();
    assert_eq!((version(&stage, "home"), found(&stage)), (2, 0));
    let renewed = daemon.post("/refresh", "").text().to_owned();
    assert_eq!(found(&stage), 0);
    daemon.kill();
    stage.simulator.clear_calls();

    let daemon = stage.start();

    assert_eq!(daemon.get("/token").text(), renewed);
    assert_eq!(stage.simulator.calls(), []);
}

#[test]
fn a_pin_that_waits_is_sealed_and_still_works_after_a_restart() {
    let stage = stage().store_section("key-file = \"one.key\"");
    let daemon = stage.start();
    let pin = daemon.pin("home");
    assert!(daemon.stop().success());
    assert!(!stage.stored("home").contains(&pin));
    let daemon = stage.start();
    assert_eq!(daemon.enter_pin(&stage.simulator, "home", KEY), daemon.token("home"));
    assert_eq!(stage.simulator.calls_of(CallKind::Authorize).len(), 1);
}

#[test]
fn a_wrong_key_and_a_missing_one_end_the_start_and_the_file_stays_as_it_is() {
    let mut stage = stage().store_section("key-file = \"one.key\"");
    let daemon = stage.start_authorized();
    let token = daemon.token("home");
    assert!(daemon.stop().success());
    let before = files(&stage);
    stage.simulator.clear_calls();

    for (what, section) in [("wrong key", "key-file = \"two.key\""), ("key removed", "")] {
        stage.change_store(section);
        let (status, words) = fails_to_start(&stage);
        assert_eq!(status, Some(73), "{words}");
        assert!(
            words.contains("home.json: encrypted with the key ") && words.contains("left alone"),
            "{words}"
        );
        assert_eq!(files(&stage), before, "{what}: the file is as it was");
        assert!(!stage.socket().exists(), "nothing was served");
        let sentence = words.lines().find(|line| line.contains("encrypted with")).unwrap_or_default();
        println!("{what}: exit {status:?}; {sentence}");
        let output = tokend(&stage, &["check-config"]);
        assert!(said(&output).contains("warning: a start would end with 73: "), "{}", said(&output));
        assert_eq!(files(&stage), before);
    }
    stage.change_store("key-file = \"one.key\"");
    assert_eq!(stage.start().get("/token").text(), token);
    assert_eq!(stage.simulator.calls(), []);
}

#[test]
fn files_swapped_between_accounts_are_moved_aside_and_told_with_whose_they_are() {
    let stage = with_keys(Stage::with_lifetime(HOUR).accounts(&["cabin", "home"]));
    let stage = stage.store_section("key-file = \"one.key\"");
    assert!(stage.start_authorized().stop().success());
    let [cabin, home, between] = ["cabin.json", "home.json", "x"].map(|name| stage.state().join(name));
    for (from, to) in [(&home, &between), (&cabin, &home), (&between, &cabin)] {
        fs::rename(from, to).expect("it is ours");
    }

    let daemon = stage.start();

    for (account, other) in [("cabin", "home"), ("home", "cabin")] {
        let line = daemon.log.wait_for("whose it is", |line| {
            line.contains(&format!("{account}.json: the encrypted file of the account {other},"))
        });
        println!("swapped files: {line}");
        daemon.pin(account);
        let aside = stage.state().join(format!("{account}.json.broken-")).display().to_string();
        let kept = files(&stage).into_keys().any(|path| path.display().to_string().starts_with(&aside));
        assert!(kept, "the file of {other} is kept");
    }
}

#[test]
fn a_sealed_file_cut_short_is_moved_aside_and_a_plain_one_is_taken_with_a_warning() {
    let mut stage = stage();
    assert!(stage.start_authorized().stop().success());
    let path = stage.state().join("home.json");
    let plain = stage.stored("home");
    stage.change_store("key-file = \"one.key\"");
    let daemon = stage.start();
    let line = daemon
        .log
        .wait_for("the downgrade", |line| line.contains("home.json: was not encrypted, and is now"));
    println!("downgrade to plain: {line}");
    assert!(line.contains(" WARN "), "{line}");
    assert!(daemon.stop().success());

    let sealed = stage.stored("home");
    let text = sealed.find("\"sealed\": \"").expect("it has one") + 11;
    let cut = format!("{}\"\n}}\n", &sealed[..text + 600]);
    fs::write(&path, &cut).expect("it is ours");
    let daemon = stage.start();
    let line =
        daemon.log.wait_for("the damage", |line| line.contains("damaged or altered since; moved aside to"));
    println!("truncated cipher text: {line}");
    daemon.pin("home");
    assert!(files(&stage).values().any(|bytes| bytes == cut.as_bytes()), "it is kept");
    assert!(daemon.stop().success());

    // A copy from before is put back: no PIN.
    fs::write(&path, plain).expect("it is ours");
    stage.simulator.clear_calls();
    assert_eq!(stage.start().get("/token").status, 200);
    assert_eq!((version(&stage, "home"), stage.simulator.calls()), (2, Vec::new()));
}

#[test]
fn a_key_can_be_a_credential_of_the_unit() {
    let stage = stage().store_section("key-credential = \"one.key\"");
    let credentials = stage.folder.path().to_owned();
    let start = || {
        let change = |command: &mut Command| {
            command.env("CREDENTIALS_DIRECTORY", &credentials);
        };
        let daemon = Daemon::launch_with(&[], &stage.config(), stage.folder.path(), &stage.socket(), change);
        daemon.notified.wait_for("READY=1", |line| line == "READY=1");
        daemon
    };
    let daemon = start();
    let token = daemon.enter_pin(&stage.simulator, "home", KEY);
    assert_eq!((version(&stage, "home"), found(&stage)), (2, 0));
    assert!(daemon.stop().success());
    let daemon = start();
    assert_eq!(daemon.token("home"), token);
}

#[test]
fn import_writes_into_a_sealed_store_and_keeps_aside_sealed_what_it_replaces() {
    let mut stage = stage().store_section("key-file = \"one.key\"");
    stage.store_a_refused_grant();
    let foreign = stage.folder.path().join("bare");
    fs::write(&foreign, "a-refresh-token-of-another-client").expect("it is ours");
    fs::set_permissions(&foreign, fs::Permissions::from_mode(0o600)).expect("it is ours");
    let foreign = foreign.to_str().expect("a plain path");
    let before = files(&stage);

    stage.change_store("key-file = \"two.key\"");
    let output = tokend(&stage, &["import", foreign]);
    assert_eq!(output.status.code(), Some(73), "{}", said(&output));
    assert!(said(&output).contains("left alone"), "{}", said(&output));
    assert_eq!(files(&stage), before);

    stage.change_store("key-file = \"two.key\"\nprevious-key-file = \"one.key\"");
    let output = tokend(&stage, &["import", foreign]);
    assert!(output.status.success(), "{}", said(&output));
    let files = files(&stage);
    assert_eq!(files.len(), 2, "{:?}", files.keys());
    let two = files.values().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect::<Vec<_>>();
    assert!(two.iter().all(|text| text.contains("\"version\": 2") && !text.contains("another-client")));
    assert_eq!(found(&stage), 0);
    // With the new key alone both can be opened.
    stage.change_store("key-file = \"two.key\"");
    assert!(said(&tokend(&stage, &["import", foreign])).contains("forget home"));
}

#[test]
fn forget_needs_no_key() {
    let mut stage = stage().store_section("key-file = \"one.key\"");
    assert!(stage.start_authorized().stop().success());
    stage.change_store("");
    let output = tokend(&stage, &["forget", "home"]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(files(&stage).is_empty());
}

#[test]
fn a_reload_says_that_another_key_needs_a_restart_and_goes_on_with_the_old_one() {
    let mut stage = stage().store_section("key-file = \"one.key\"");
    let daemon = stage.start_authorized();
    let before = stored(&stage, "home");
    let reload = |words: &str| {
        daemon.signal("HUP");
        daemon.notified.wait_for(words, |line| line.starts_with("STATUS=") && line.contains(words));
    };
    stage.change_store("key-file = \"one.key\"\nprevious-key-file = \"two.key\"");
    stage.config();
    reload("a restart is needed for what is new in store.previous-key-file");
    // The same name, and another key under it.
    stage.change_store("key-file = \"one.key\"");
    stage.config();
    put_key(&stage, "one.key", TWO);
    reload(
        "a restart is needed for what is new in store.key-file, and would be refused, for the grants are encrypted with",
    );
    daemon.post("/refresh", "");
    let after = stored(&stage, "home");
    assert_eq!(after["key_id"], before["key_id"]);
    assert_ne!(after["nonce"], before["nonce"], "it was saved anew");
    put_key(&stage, "one.key", "too short");
    reload("the new configuration is not in use: ");
}

#[test]
fn a_reload_that_adds_an_account_of_another_key_changes_nothing() {
    let mut other = with_keys(Stage::with_lifetime(HOUR).accounts(&["cabin"]));
    other.change_store("key-file = \"two.key\"");
    assert!(other.start_authorized().stop().success());
    let stage = stage().store_section("key-file = \"one.key\"");
    let daemon = stage.start_authorized();
    let cabin = stage.state().join("cabin.json");
    fs::copy(other.state().join("cabin.json"), &cabin).expect("it is ours");
    let before = fs::read(&cabin).expect("readable");
    let config = stage.config();
    let more = format!("{}[accounts.cabin]\napi-key = \"x\"\n", fs::read_to_string(&config).expect("text"));
    fs::write(config, more).expect("it is ours");

    daemon.signal("HUP");

    daemon.notified.wait_for("the reason", |line| {
        line.contains("the new configuration is not in use: ")
            && line.contains("cabin.json: encrypted with the key")
    });
    assert_eq!(daemon.get("/accounts/cabin/token").status, 404);
    assert_eq!(daemon.get("/token").status, 200);
    assert_eq!(fs::read(&cabin).expect("readable"), before);
}

#[test]
fn what_is_not_in_use_is_sealed_by_the_start_too_and_a_broken_file_is_named() {
    let mut stage = with_keys(Stage::with_lifetime(HOUR).accounts(&["cabin", "home"]));
    assert!(stage.start_authorized().stop().success());
    let broken = stage.state().join("home.json.broken-20260101T000000Z");
    fs::write(&broken, "{\"refresh_token\": \"half of i").expect("it is ours");
    let secrets = secrets(&stage);
    stage.change_store("key-file = \"one.key\"");
    stage.leave_out("cabin");

    let daemon = stage.start();

    assert_eq!((version(&stage, "cabin"), version(&stage, "home")), (2, 2));
    for (path, bytes) in files(&stage) {
        let text = String::from_utf8_lossy(&bytes);
        assert!(!secrets.iter().any(|secret| text.contains(secret)), "{}", path.display());
    }
    daemon.log.wait_for("the broken file", |line| {
        line.contains(" WARN ")
            && line.contains(&format!("{}: not encrypted, and left as it is", broken.display()))
    });
    daemon
        .log
        .wait_for("the other account", |line| line.contains("cabin.json: was not encrypted, and is now"));
}

#[test]
fn check_config_says_with_which_key_and_from_where_and_tells_nothing_of_it() {
    let mut stage = stage();
    let store_of = |stage: &Stage| {
        let output = tokend(stage, &["check-config"]);
        assert!(output.status.success(), "{}", said(&output));
        let said = said(&output);
        assert!(!said.contains(ONE.trim()) && !said.contains(TWO.trim()), "{said}");
        let line =
            said.lines().find_map(|line| line.strip_prefix("  store ")).expect("a line").trim().to_owned();
        (line, said)
    };
    stage.change_store("key-file = \"one.key\"");
    assert!(stage.start_authorized().stop().success());
    let stored = stored(&stage, "home");
    let id = stored["key_id"].as_str().expect("a key's name");
    let path = stage.folder.path().join("one.key").display().to_string();
    let (line, _) = store_of(&stage);
    assert!(line.contains(&format!("; encrypted with the key {id} from {path} (")), "{line}");
    stage.change_store("key-file = \"two.key\"\nprevious-key-file = \"one.key\"");
    let (line, _) = store_of(&stage);
    assert!(
        line.contains("two.key (") && line.contains(&format!("what the key {id} from {path} (")),
        "{line}"
    );
    stage.change_store("previous-key-file = \"one.key\"");
    let (line, _) = store_of(&stage);
    assert!(line.contains("; not encrypted; what the key "), "{line}");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("it is ours");
    let (_, said) = store_of(&stage);
    assert!(
        said.contains(&format!("{path}: holds a secret, and every user of this machine can get at it")),
        "{said}"
    );
}
