//! The order of things in the real daemon: saved for good first, shown afterwards.

use std::fs;
use std::process::Command;
use std::time::Duration;

use ecobee_simulator::{Endpoint, Mood, Pin};

use super::strace::{self, Call};
use crate::disk::{Contents, Disk, deeds};
use crate::harness::http::Connection;
use crate::harness::{KEY, Stage, quick, skipped};
use crate::law::survives;

const HOUR: Duration = Duration::from_secs(3600);

/// What a watched daemon did, and what it was about.
struct Story {
    stage: Stage,
    calls: Vec<Call>,
    pin: String,
    first: String,
    second: String,
}

/// A PIN, a first token, and a refresh that two clients wait for; `None` where nothing can be watched.
fn story() -> Option<Story> {
    if let Some(why) = strace::missing() {
        skipped(&why);
        return None;
    }
    let stage = Stage::new(quick(HOUR));
    let trace = stage.folder.path().join("trace");
    let around = strace::watching(&trace);
    let daemon = stage.start_under(&around.iter().map(String::as_str).collect::<Vec<_>>());
    let pin = daemon.pin("home");
    let mut reader = Connection::open(&stage.socket()).expect("the daemon listens");
    reader.send("GET /token?wait=60", None, "").expect("the daemon reads");
    stage.simulator.approve(Pin::LatestOf(KEY.to_owned())).expect("the PIN can be entered");
    let first = reader.receive().expect("an answer").text().to_owned();

    // The clients are there long before the answer is.
    let delay = Duration::from_millis(500);
    stage.simulator.add_mood(Mood::delay_after_commit(delay).on(Endpoint::Refresh));
    let mut forcing = Connection::open(&stage.socket()).expect("the daemon listens");
    forcing.send("POST /refresh", None, "").expect("the daemon reads");
    daemon.wait_for_status("home", "a refresh", |status| status["state"] == "refreshing");
    reader.send("GET /token?wait=60", None, "").expect("the daemon reads");
    let second = forcing.receive().expect("an answer").text().to_owned();
    assert_eq!(reader.receive().expect("an answer").text(), second);
    assert_ne!(first, second);

    let pid = fs::read_to_string(stage.state().join("lock")).expect("the lock names the daemon");
    let killed = Command::new("kill").args(["-KILL", pid.trim()]).status();
    assert!(killed.expect("kill runs").success());
    daemon.ended();
    let calls = strace::read(&trace);
    assert!(!calls.is_empty(), "strace wrote something down");
    Some(Story { stage, calls, pin, first, second })
}

/// One save, step by step.
struct Save<'a> {
    created: &'a Call,
    written: Vec<&'a Call>,
    synced: &'a Call,
    renamed: &'a Call,
    folder_synced: &'a Call,
}

impl Save<'_> {
    fn holds(&self, text: &str) -> bool {
        let bytes: Vec<u8> = self.written.iter().flat_map(|call| call.strings().concat()).collect();
        String::from_utf8_lossy(&bytes).contains(text)
    }

    /// Whatever was told, the disk had it first.
    #[track_caller]
    fn comes_before(&self, told: &Call, what: &str) {
        assert!(
            self.folder_synced.ended < told.began,
            "{what} was told in line {} of the trace and safe in line {} only",
            told.began + 1,
            self.folder_synced.ended + 1
        );
    }
}

/// Each rename onto the account's file, with the steps around it.
fn saves<'a>(stage: &Stage, calls: &'a [Call]) -> Vec<Save<'a>> {
    let target = stage.state().join("home.json").display().to_string();
    let folder = stage.state().display().to_string();
    let renames = calls
        .iter()
        .enumerate()
        .filter(|(_, call)| call.name.starts_with("rename") && call.path(1) == target);
    renames
        .map(|(at, renamed)| {
            let temporary = renamed.path(0);
            let (before, after) = calls.split_at(at);
            let opened =
                |path: &str, call: &Call| call.name == "openat" && call.result >= 0 && call.path(0) == path;
            let created_at = before.iter().rposition(|call| opened(&temporary, call)).expect("it was opened");
            let created = &calls[created_at];
            let its_own = |call: &&Call| call.descriptor() == created.result;
            let steps = &before[created_at..];
            let written: Vec<_> = steps.iter().filter(|call| call.sends()).filter(its_own).collect();
            let synced = steps.iter().filter(its_own).rfind(|call| call.name == "fsync");
            let folder_opened =
                after.iter().position(|call| opened(&folder, call)).expect("the folder is opened");
            let number = after[folder_opened].result;
            let folder_synced = after[folder_opened..]
                .iter()
                .find(|call| call.name == "fsync" && call.descriptor() == number);
            Save {
                created,
                written,
                synced: synced.expect("the temporary file is synced before it is renamed"),
                renamed,
                folder_synced: folder_synced.expect("the folder is synced after the rename"),
            }
        })
        .collect()
}

/// The first call that sends these words to anyone but the disk.
fn first_sent<'a>(calls: &'a [Call], saves: &[Save], words: &str) -> &'a Call {
    let to_disk =
        |call: &Call| saves.iter().flat_map(|save| &save.written).any(|own| own.began == call.began);
    let sent = calls.iter().find(|call| {
        call.sends() && !to_disk(call) && String::from_utf8_lossy(&call.strings().concat()).contains(words)
    });
    sent.expect("it was told")
}

#[test]
fn what_is_shown_lies_safely_on_the_disk_before() {
    let Some(Story { stage, calls, pin, first, second }) = story() else { return };
    let saves = saves(&stage, &calls);

    for Save { created, written, synced, renamed, folder_synced } in &saves {
        assert!(created.says("O_CREAT") && created.says("O_EXCL") && created.says("0600"), "{created:?}");
        assert!(!written.is_empty(), "something was written before {renamed:?}");
        for pair in written.windows(2) {
            assert!(pair[0].ended < pair[1].began);
        }
        assert!(created.ended < written[0].began);
        assert!(written[written.len() - 1].ended < synced.began, "bytes first: {synced:?}");
        assert!(synced.ended < renamed.began, "{renamed:?}");
        assert!(renamed.ended < folder_synced.began);
    }
    for (what, text) in [("the PIN", &pin), ("the first token", &first), ("the second token", &second)] {
        let save = saves.iter().find(|save| save.holds(text)).expect("it was saved");
        save.comes_before(first_sent(&calls, &saves, text), what);
    }
}

#[test]
fn before_a_refresh_is_sent_the_disk_says_so() {
    let Some(Story { stage, calls, .. }) = story() else { return };
    let saves = saves(&stage, &calls);

    let marked = saves.iter().find(|save| save.holds("\"refresh_sent\": true")).expect("the store is marked");

    marked.comes_before(first_sent(&calls, &saves, "grant_type=refresh_token"), "the refresh");
}

#[test]
fn whenever_the_power_fails_the_daemons_store_holds_the_old_grant_or_the_new() {
    let Some(Story { stage, calls, .. }) = story() else { return };
    let nothing = Contents::new();
    let done = deeds(&calls, &stage.state(), &nothing);
    let looked_at = survives(Disk::holding(&nothing, None), &done, KEY);
    println!("{looked_at} power cuts");
}
