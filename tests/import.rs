//! Another client's grant is taken over: its file, the real binary, and the simulator that gave the grant.

mod harness;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use ecobee_simulator::{CallKind, Liveness};
use harness::{KEY, Stage};

const HOUR: Duration = Duration::from_secs(3600);

/// `ecobee-tokend import` for the stage, with these words behind it and this on standard input.
fn import(stage: &Stage, words: &[&str], input: &str) -> Output {
    let mut child = Command::new(harness::binary())
        .arg("import")
        .arg("--config")
        .arg(stage.config())
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    // Whoever refuses at once does not read.
    let _ = child.stdin.take().expect("its standard input is ours").write_all(input.as_bytes());
    child.wait_with_output().expect("it ends")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The newest refresh token that the simulator has issued: what another client keeps.
fn refresh_token(stage: &Stage) -> String {
    let truth = stage.simulator.truth();
    let grant = truth.grants().last().expect("a grant");
    grant.refresh_tokens.last().expect("a refresh token").value.clone()
}

/// A stage whose simulator has granted something to another client, and the refresh token of that.
fn elsewhere() -> (Stage, String) {
    let stage = Stage::with_lifetime(HOUR);
    let other_client = stage.start_authorized();
    assert!(other_client.stop().success());
    fs::remove_dir_all(stage.state()).expect("that client kept its grant there");
    let token = refresh_token(&stage);
    (stage, token)
}

fn file(stage: &Stage, text: &str) -> PathBuf {
    let path = stage.folder.path().join("ecobee.conf");
    fs::write(&path, text).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("ours");
    path
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// What python-ecobee-api 0.4.4 writes.
fn conf(key: &str, token: &str) -> String {
    format!(
        "{{\"API_KEY\": \"{key}\", \"ACCESS_TOKEN\": \"old.access.token\", \"AUTHORIZATION_CODE\": \"x\", \
         \"INCLUDE_NOTIFICATIONS\": false, \"REFRESH_TOKEN\": \"{token}\"}}"
    )
}

#[test]
fn a_clients_file_becomes_a_grant_and_nobody_enters_a_pin() {
    let (stage, token) = elsewhere();
    let path = file(&stage, &conf(KEY, &token));
    stage.simulator.clear_calls();
    let output = import(&stage, &[text(&path)], "");
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("home: the refresh token is taken over"), "{}", said(&output));
    assert!(said(&output).contains("remove ecobee from the old client"), "{}", said(&output));
    assert!(!said(&output).contains(&token) && !said(&output).contains("warning"), "{}", said(&output));
    assert_eq!(stage.simulator.calls(), [], "nothing is sent before the daemon starts");
    assert!(stage.stored("home").contains("\"refresh_sent\": true"), "{}", stage.stored("home"));

    let daemon = stage.start();
    let access = daemon.token("home");
    assert_eq!(stage.simulator.is_alive(&access), Liveness::Alive);
    assert_eq!(stage.simulator.calls_of(CallKind::Refresh).len(), 1);
    assert_eq!(stage.simulator.calls_of(CallKind::Authorize).len(), 0);
}

#[test]
fn a_grant_that_is_taken_over_is_so_where_the_news_of_it_finds_no_room() {
    let stage = Stage::with_lifetime(HOUR);
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    let path = file(&stage, "a-refresh-token");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("ours");
    let status = Command::new(harness::binary())
        .args(["import", "--config", text(&stage.config()), text(&path)])
        .stdout(full())
        .stderr(full())
        .status();
    assert!(status.expect("it runs").success());
    assert!(stage.stored("home").contains("a-refresh-token"));
}

#[test]
fn a_bare_token_on_standard_input_does_as_well() {
    let (stage, token) = elsewhere();
    let output = import(&stage, &["-"], &format!("{token}\n"));
    assert!(output.status.success(), "{}", said(&output));
    stage.start().token("home");
    assert_eq!(stage.simulator.calls_of(CallKind::Refresh).len(), 1);
}

#[test]
fn home_assistants_list_is_read_and_the_grant_of_the_accounts_key_taken() {
    let (stage, token) = elsewhere();
    let list = format!(
        "{{\"version\": 1, \"data\": {{\"entries\": [{{\"domain\": \"sun\", \"data\": {{}}}}, \
         {{\"domain\": \"ecobee\", \"data\": {{\"api_key\": \"of-somebody-else\", \"refresh_token\": \"nothing\"}}}}, \
         {{\"domain\": \"ecobee\", \"data\": {{\"api_key\": \"{KEY}\", \"refresh_token\": \"{token}\"}}}}]}}}}"
    );
    let output = import(&stage, &[text(&file(&stage, &list))], "");
    assert!(output.status.success(), "{}", said(&output));
    stage.start().token("home");
}

#[test]
fn another_keys_grant_is_refused_in_a_sentence_and_nothing_is_stored() {
    let (stage, token) = elsewhere();
    let output = import(&stage, &[text(&file(&stage, &conf("another-key", &token)))], "");
    assert_eq!(output.status.code(), Some(1));
    let words = said(&output);
    assert!(words.contains("ecobee.conf: belongs to another API key than accounts.home"), "{words}");
    assert!(!words.contains(&token) && !words.contains("another-key") && !words.contains(KEY), "{words}");
    assert_eq!(stage.stored("home"), "");
}

#[test]
fn while_a_daemon_has_the_store_it_is_refused_and_names_the_daemon() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start();
    let output = import(&stage, &["-"], "some-token");
    assert_eq!(output.status.code(), Some(73));
    let words = said(&output);
    assert!(words.contains(&format!("in use by another ecobee-tokend, process {}", daemon.pid())), "{words}");
}

#[test]
fn a_grant_that_counts_as_good_is_not_replaced_until_it_is_forgotten() {
    let stage = Stage::with_lifetime(HOUR);
    assert!(stage.start_authorized().stop().success());
    let before = stage.stored("home");
    let output = import(&stage, &["-"], "another-token");
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("ecobee-tokend forget home"), "{}", said(&output));
    assert_eq!(stage.stored("home"), before);

    let config = stage.config();
    let forget = ["forget", "--config", text(&config), "home"];
    assert!(Command::new(harness::binary()).args(forget).status().expect("it runs").success());
    assert!(import(&stage, &["-"], "another-token").status.success());
    assert!(stage.stored("home").contains("another-token"));
}

#[test]
fn a_grant_that_ecobee_has_refused_too_often_is_kept_aside() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();
    let token = daemon.token("home");
    stage.simulator.revoke_all();
    daemon.post("/token/rejected", &token);
    daemon.pin("home");
    assert!(daemon.stop().success());
    let before = stage.stored("home");
    let output = import(&stage, &["-"], "another-token");
    assert!(output.status.success(), "{}", said(&output));
    let words = said(&output);
    let kept = words.lines().find_map(|line| line.split(" is kept as ").nth(1)).expect("where it is");
    assert!(kept.contains("home.json.replaced-"), "{kept}");
    assert_eq!(fs::read_to_string(kept).expect("it is there"), before);
    assert!(stage.stored("home").contains("another-token"));
    let mode = fs::metadata(stage.state().join("home.json")).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn what_is_no_clients_file_is_refused_with_the_reason() {
    let stage = Stage::with_lifetime(HOUR);
    for (content, reason) in [
        ("", "is empty"),
        ("SQLite format 3\0", "pyecobee"),
        ("{\"API_KEY\": \"x\"}", "has no refresh token"),
        ("{\"REFRESH_TOKEN\": \"hunter2", "line 1, column"),
        ("two words", "no spaces"),
    ] {
        let output = import(&stage, &[text(&file(&stage, content))], "");
        assert_eq!(output.status.code(), Some(1), "{content}");
        assert!(said(&output).contains(reason) && said(&output).contains("ecobee.conf"), "{}", said(&output));
        assert!(!said(&output).contains("hunter2"), "{}", said(&output));
    }
    let output = import(&stage, &["/nowhere/ecobee.conf"], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("/nowhere/ecobee.conf: cannot be read"), "{}", said(&output));
    assert_eq!(stage.stored("home"), "");
}

#[test]
fn a_file_that_others_can_read_is_said_to_be_one() {
    let stage = Stage::with_lifetime(HOUR);
    let path = file(&stage, "some-token");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("ours");
    let output = import(&stage, &[text(&path)], "");
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("ecobee.conf: other users can read it (mode 0644)"), "{}", said(&output));
}

#[test]
fn with_several_accounts_it_has_to_be_said_whose_it_is() {
    let stage = Stage::with_lifetime(HOUR).accounts(&["cabin", "home"]);
    let output = import(&stage, &["-"], "some-token");
    assert_eq!(output.status.code(), Some(2));
    assert!(
        said(&output).contains("which account? Say --account with one of cabin, home"),
        "{}",
        said(&output)
    );
    let output = import(&stage, &["--account", "attic", "-"], "some-token");
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("attic is none of those in"), "{}", said(&output));
    let output = import(&stage, &["--account", "cabin", "-"], "some-token");
    assert!(output.status.success(), "{}", said(&output));
    assert!(stage.stored("cabin").contains("some-token"));
    assert_eq!(stage.stored("home"), "");
}

#[test]
fn usage_is_told_where_the_words_make_no_sense() {
    let stage = Stage::with_lifetime(HOUR);
    for (words, complaint) in [
        (&[][..], "which file?"),
        (&["a", "b"][..], "superfluous argument 'b'"),
        (&["--account"][..], "--account"),
    ] {
        let output = import(&stage, words, "");
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        assert!(said(&output).contains(complaint), "{}", said(&output));
    }
    let output = Command::new(harness::binary()).args(["check-config", "--account", "x"]).output();
    assert_eq!(output.expect("it runs").status.code(), Some(2));
}
