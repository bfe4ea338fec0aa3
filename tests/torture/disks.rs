//! Disks that fail under the real daemon.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use ecobee_simulator::{CallKind, Liveness};

use crate::harness::{Daemon, PATIENCE, Stage, skipped};

const HOUR: Duration = Duration::from_secs(3600);

/// A lifetime whose refresh comes after 10 to 18 seconds.
const SHORT: Duration = Duration::from_secs(20);

/// Runs the test `story` of this program again with mounts of its own, which end with it. Says so where this cannot
/// be done; whether this is the run with the mounts.
fn with_mounts_of_its_own(story: &str) -> bool {
    if env::var_os("TORTURE_MOUNTS").is_some() {
        return true;
    }
    let tried = Command::new("unshare").args(["--mount", "true"]).output();
    match tried {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            skipped(&format!("{story}: nothing can be mounted here: {why}"));
            return false;
        }
        Err(error) => {
            skipped(&format!("{story}: unshare cannot be run: {error}"));
            return false;
        }
    }
    let output = Command::new("unshare")
        .arg("--mount")
        .arg(env::current_exe().expect("a running program"))
        .args(["--exact", &format!("disks::{story}"), "--nocapture"])
        .env("TORTURE_MOUNTS", "1")
        .output()
        .expect("unshare runs");
    let told =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
    false
}

fn mount(options: &str, at: &Path) {
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at).output();
    let mounted = mounted.expect("mount runs");
    assert!(mounted.status.success(), "{}", String::from_utf8_lossy(&mounted.stderr));
}

/// Makes a folder read-only as a whole, until [`unmount`].
fn mount_read_only(at: &Path) {
    let mounted = Command::new("mount").args(["-o", "bind,ro"]).args([at, at]).status();
    assert!(mounted.expect("mount runs").success());
    assert!(fs::write(at.join("probe"), "").is_err(), "nothing can be written any more");
}

fn unmount(at: &Path) {
    // Lazily: the daemon may have looked at something in there just now.
    let unmounted = Command::new("umount").arg("--lazy").arg(at).status();
    assert!(unmounted.expect("umount runs").success());
}

/// A store on a small disk of its own.
fn on_a_small_disk(lifetime: Duration) -> Stage {
    let stage = Stage::with_lifetime(lifetime);
    fs::create_dir(stage.state()).expect("it is ours");
    mount("size=64k,mode=0700", &stage.state());
    stage
}

/// Fills a disk to the last byte, and returns the file to be removed.
fn fill(folder: &Path) -> PathBuf {
    let ballast = folder.join("ballast");
    let written = fs::write(&ballast, vec![0; 1 << 20]);
    assert!(written.is_err(), "a megabyte does not fit");
    ballast
}

/// Reads until the token is another one. Every answer on the way is a living token.
fn served_until_renewed(stage: &Stage, daemon: &Daemon, old: &str) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = daemon.get("/token");
        assert_eq!(answer.status, 200, "{}", answer.body);
        if answer.text() != old {
            assert_eq!(stage.simulator.is_alive(answer.text()), Liveness::Alive);
            return answer.text().to_owned();
        }
        assert!(Instant::now() < deadline, "the token was never renewed");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// The trouble was told once it began, and the newest token is on the disk once it ended.
fn is_saved_in_the_end(stage: &Stage, daemon: &Daemon, words: &str) {
    daemon.log.wait_for("a loud word", |line| line.contains("ERROR") && line.contains(words));
    daemon.log.wait_for("the end of it", |line| line.contains("INFO") && line.contains("saved"));
    let served = daemon.token("home");
    assert!(stage.stored("home").contains(&served), "what is served is on the disk");
    assert_eq!(stage.simulator.calls_of(CallKind::Authorize).len(), 1, "no person was asked");
}

/// A restart serves what was saved.
fn survives_a_kill(stage: &Stage, daemon: Daemon) {
    let served = daemon.token("home");
    daemon.kill();
    let daemon = stage.start();
    assert_eq!(daemon.get("/token").text(), served);
    assert_eq!(stage.simulator.is_alive(&served), Liveness::Alive);
}

#[test]
fn a_disk_that_fills_up_keeps_nobody_from_a_renewed_token() {
    if !with_mounts_of_its_own("a_disk_that_fills_up_keeps_nobody_from_a_renewed_token") {
        return;
    }
    let stage = on_a_small_disk(SHORT);
    let daemon = stage.start_authorized();
    let old = daemon.token("home");
    let before = stage.stored("home");
    let ballast = fill(&stage.state());

    served_until_renewed(&stage, &daemon, &old);

    assert_eq!(stage.stored("home"), before, "what was saved is not touched");
    fs::remove_file(ballast).expect("it is ours");
    is_saved_in_the_end(&stage, &daemon, "the disk is full");
    survives_a_kill(&stage, daemon);
}

#[test]
fn a_disk_that_turns_read_only_keeps_nobody_from_a_renewed_token() {
    if !with_mounts_of_its_own("a_disk_that_turns_read_only_keeps_nobody_from_a_renewed_token") {
        return;
    }
    let stage = on_a_small_disk(SHORT);
    let daemon = stage.start_authorized();
    let old = daemon.token("home");
    mount_read_only(&stage.state());

    served_until_renewed(&stage, &daemon, &old);

    unmount(&stage.state());
    is_saved_in_the_end(&stage, &daemon, "read-only");
    survives_a_kill(&stage, daemon);
}

#[test]
fn a_rejected_token_is_replaced_though_the_disk_is_full() {
    if !with_mounts_of_its_own("a_rejected_token_is_replaced_though_the_disk_is_full") {
        return;
    }
    let stage = on_a_small_disk(HOUR);
    let daemon = stage.start_authorized();
    let old = daemon.token("home");
    let ballast = fill(&stage.state());

    let answer = daemon.post("/token/rejected", &old);

    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_ne!(answer.text(), old);
    assert_eq!(stage.simulator.is_alive(answer.text()), Liveness::Alive);
    fs::remove_file(ballast).expect("it is ours");
    is_saved_in_the_end(&stage, &daemon, "the disk is full");
    survives_a_kill(&stage, daemon);
}

#[test]
fn a_start_on_a_full_disk_serves_what_is_stored() {
    if !with_mounts_of_its_own("a_start_on_a_full_disk_serves_what_is_stored") {
        return;
    }
    let stage = on_a_small_disk(HOUR);
    let daemon = stage.start_authorized();
    let token = daemon.token("home");
    daemon.kill();
    fs::remove_file(stage.state().join("lock")).expect("it is ours");
    fill(&stage.state());

    let daemon = stage.start();

    assert_eq!(daemon.get("/token").text(), token);
}

#[test]
fn a_pin_that_cannot_be_saved_is_shown_all_the_same() {
    if !with_mounts_of_its_own("a_pin_that_cannot_be_saved_is_shown_all_the_same") {
        return;
    }
    let stage = on_a_small_disk(HOUR);
    let ballast = fill(&stage.state());
    let daemon = stage.start();

    let token = daemon.enter_pin(&stage.simulator, "home", stage.key_of("home"));

    assert_eq!(stage.simulator.is_alive(&token), Liveness::Alive);
    fs::remove_file(ballast).expect("it is ours");
    is_saved_in_the_end(&stage, &daemon, "the disk is full");
}

#[test]
fn a_store_that_is_removed_under_the_daemon_is_made_again() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();
    fs::remove_dir_all(stage.state()).expect("it is ours");

    let answer = daemon.post("/refresh", "");

    assert_eq!(answer.status, 200, "{}", answer.body);
    let stored = stage.stored("home");
    assert!(stored.contains(answer.text()), "what is served is on the disk");
    let mode = fs::metadata(stage.state()).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    daemon.log.wait_for("a warning", |line| line.contains("WARN") && line.contains("made again"));
    survives_a_kill(&stage, daemon);
}
