//! Another client's grant is taken over: its file, the real binary, and the simulator that gave the grant.

mod harness;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ecobee_simulator::{CallKind, Liveness};
use harness::{Ended, HOUR, KEY, Stage, run_with, tokend, tokend_command};

/// `ecobee-tokend import` for the stage, with these words behind it and this on standard input.
fn import(stage: &Stage, words: &[&str], input: &str) -> Ended {
    run_with(tokend_command("import", &stage.config(), words), input)
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
    stage.put("ecobee.conf", text, 0o600)
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
    let ended = import(&stage, &[text(&path)], "").with(0).hiding(&token).hiding("warning");
    ended.telling("home: the refresh token is taken over").telling("remove ecobee from the old client");
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
    // It has something to warn of, too.
    let path = stage.put("ecobee.conf", "a-refresh-token", 0o644);
    let mut command = tokend_command("import", &stage.config(), &[text(&path)]);
    assert!(command.stdout(full()).stderr(full()).status().expect("it runs").success());
    assert!(stage.stored("home").contains("a-refresh-token"));
}

#[test]
fn a_bare_token_on_standard_input_does_as_well() {
    let (stage, token) = elsewhere();
    import(&stage, &["-"], &format!("{token}\n")).with(0);
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
    import(&stage, &[text(&file(&stage, &list))], "").with(0);
    stage.start().token("home");
}

#[test]
fn another_keys_grant_is_refused_in_a_sentence_and_nothing_is_stored() {
    let (stage, token) = elsewhere();
    let ended = import(&stage, &[text(&file(&stage, &conf("another-key", &token)))], "").with(1);
    ended
        .telling("ecobee.conf: belongs to another API key than accounts.home")
        .hiding(&token)
        .hiding("another-key")
        .hiding(KEY);
    assert_eq!(stage.stored("home"), "");
}

#[test]
fn while_a_daemon_has_the_store_it_is_refused_and_names_the_daemon() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start();
    let words = format!("in use by another ecobee-tokend, process {}", daemon.pid());
    import(&stage, &["-"], "some-token").with(73).telling(&words);
}

#[test]
fn a_grant_that_counts_as_good_is_not_replaced_until_it_is_forgotten() {
    let stage = Stage::with_lifetime(HOUR);
    assert!(stage.start_authorized().stop().success());
    let before = stage.stored("home");
    import(&stage, &["-"], "another-token").with(1).telling("ecobee-tokend forget home");
    assert_eq!(stage.stored("home"), before);

    tokend("forget", &stage.config(), &["home"]).with(0);
    import(&stage, &["-"], "another-token").with(0);
    assert!(stage.stored("home").contains("another-token"));
}

#[test]
fn a_grant_that_ecobee_has_refused_too_often_is_kept_aside() {
    let stage = Stage::with_lifetime(HOUR);
    stage.store_a_refused_grant();
    let before = stage.stored("home");
    let ended = import(&stage, &["-"], "another-token").with(0);
    let words = ended.said();
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
        let ended = import(&stage, &[text(&file(&stage, content))], "").with(1);
        ended.telling(reason).telling("ecobee.conf").hiding("hunter2");
    }
    import(&stage, &["/nowhere/ecobee.conf"], "").with(1).telling("/nowhere/ecobee.conf: cannot be read");
    assert_eq!(stage.stored("home"), "");
}

#[test]
fn a_file_that_others_can_read_is_said_to_be_one() {
    let stage = Stage::with_lifetime(HOUR);
    let path = stage.put("ecobee.conf", "some-token", 0o644);
    import(&stage, &[text(&path)], "").with(0).telling("ecobee.conf: other users can read it (mode 0644)");
}

#[test]
fn with_several_accounts_it_has_to_be_said_whose_it_is() {
    let stage = Stage::with_lifetime(HOUR).accounts(&["cabin", "home"]);
    import(&stage, &["-"], "some-token")
        .with(2)
        .telling("which account? Say --account with one of cabin, home");
    import(&stage, &["--account", "attic", "-"], "some-token").with(2).telling("attic is none of those in");
    import(&stage, &["--account", "cabin", "-"], "some-token").with(0);
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
        import(&stage, words, "").with(2).telling(complaint);
    }
    tokend("check-config", &stage.config(), &["--account", "x"]).with(2);
}
