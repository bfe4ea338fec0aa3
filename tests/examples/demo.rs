//! The whole story in one terminal: a pretend ecobee, the real daemon, a PIN, a token, renewals.
//!
//! `cargo run --example demo` runs until Ctrl-C; with `-- --once` it asks for the token itself, waits for one
//! renewal and ends. Nothing outside a temporary folder is touched, nothing outside this machine is asked.

mod build;
#[path = "../harness/http.rs"]
#[allow(dead_code, reason = "the demo needs less of it than the tests do")]
mod http;

use std::error::Error;
use std::io::{BufRead, BufReader, IsTerminal};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ecobee_simulator::{CallKind, Options, Pin, Simulator};
use http::{ask, ask_json};

type Failure = Box<dyn Error>;

/// How long the demo's tokens live; ecobee's live an hour.
const LIFETIME: Duration = Duration::from_secs(30);

/// After so long somebody enters the PIN, if nobody presses Enter before.
const PIN_ENTERED_AFTER: Duration = Duration::from_secs(8);
const PIN_ENTERED_AFTER_ONCE: Duration = Duration::from_secs(2);

/// Nothing in the demo takes longer.
const PATIENCE: Duration = Duration::from_secs(50);

fn main() -> ExitCode {
    let once = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("--once") => true,
        Some(other) => {
            eprintln!("demo: '{other}' is no option of the demo; there is only --once");
            return ExitCode::from(2);
        }
    };
    let interrupted = Arc::new(AtomicBool::new(false));
    match demo(once, &interrupted) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) if interrupted.load(Ordering::Relaxed) => {
            println!("\nThe demo is over; its folder is gone.");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn demo(once: bool, interrupted: &Arc<AtomicBool>) -> Result<(), Failure> {
    let binary = build::daemon()?;
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(interrupted))?;
    }
    let simulator = Simulator::start(Options {
        interval: Duration::from_secs(2),
        lifetime: LIFETIME,
        jwt_bytes: 300,
        ..Options::default()
    })?;
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("socket");
    let config = folder.path().join("config.toml");
    std::fs::write(
        &config,
        format!(
            "[ecobee]\nurl = \"{}\"\n\n[socket]\npath = \"{}\"\n\n[store]\ndirectory = \"{}\"\n\n\
             [accounts.home]\napi-key = \"a-made-up-key-of-the-demo-000001\"\n",
            simulator.url(),
            socket.display(),
            folder.path().join("state").display()
        ),
    )?;
    println!("A pretend ecobee listens at {}; its tokens live {} s.", simulator.url(), LIFETIME.as_secs());
    println!("The real daemon starts, with everything it writes below {}:\n", folder.path().display());
    let mut daemon = Daemon::start(&binary, &config)?;

    let pin = wait(interrupted, "the daemon to show a PIN", || {
        ask(&socket, "GET /pin").ok().filter(|answer| answer.status == 200).map(|answer| answer.member("pin"))
    })?;
    let words = format!("Enter the PIN  {pin}  at ecobee.com, My Apps.");
    let line = "─".repeat(words.len() + 4);
    println!("\n  ┌{line}┐\n  │  {words}  │\n  └{line}┘\n");
    let pause = if once { PIN_ENTERED_AFTER_ONCE } else { PIN_ENTERED_AFTER };
    if once {
        println!("Somebody does so in {} s.", pause.as_secs());
    } else {
        println!("Press Enter to have it entered; else it happens in {} s.", pause.as_secs());
    }
    wait_for_enter(interrupted, pause, once)?;
    simulator.approve(Pin::from(pin))?;
    println!("The PIN has been entered; the daemon finds out at its next poll.\n");

    wait(interrupted, "a token", || {
        ask(&socket, "GET /token?wait=1").ok().filter(|answer| answer.status == 200)
    })?;
    if once {
        println!("\nGET /token, as JSON:\n{}", ask_json(&socket, "GET /token")?.body);
    } else {
        println!(
            "\nTry it from another terminal:\n\n  curl --unix-socket {} http://localhost/token\n",
            socket.display()
        );
        println!(
            "Tokens are renewed ahead of their expiry, about every {} s. Ctrl-C ends the demo.\n",
            LIFETIME.as_secs() / 2
        );
    }
    let mut token = ask(&socket, "GET /token")?.text().to_owned();
    loop {
        let renewed = wait(interrupted, "a renewal", || {
            let answer = ask(&socket, "GET /token").ok()?;
            (answer.status == 200 && answer.text() != token).then(|| answer.text().to_owned())
        });
        let old = std::mem::replace(&mut token, renewed?);
        println!(
            "\n>>> renewed, {} time(s) so far; ecobee says of the old token: {:?}, of the one that is served: {:?}\n",
            simulator.calls_of(CallKind::Refresh).len(),
            simulator.is_alive(&old),
            simulator.is_alive(&token)
        );
        if once {
            break;
        }
    }
    daemon.stop()?;
    println!("The demo is over; its folder is gone.");
    Ok(())
}

struct Daemon(Child);

impl Daemon {
    /// Starts the daemon; its log is shown as it comes.
    fn start(binary: &Path, config: &Path) -> Result<Self, Failure> {
        let mut child = Command::new(binary)
            .arg("--config")
            .arg(config)
            .args(["--log-format", "text"])
            .env_remove("STATE_DIRECTORY")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let log = child.stderr.take().ok_or("the daemon has no standard error")?;
        thread::spawn(move || {
            for line in BufReader::new(log).lines().map_while(Result::ok) {
                println!("  daemon │ {line}");
            }
        });
        Ok(Self(child))
    }

    fn stop(&mut self) -> Result<(), Failure> {
        // At Ctrl-C the terminal has told it already; a second word does no harm.
        let pid = self.0.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).stderr(Stdio::null()).status()?;
        let status = self.0.wait()?;
        if status.success() { Ok(()) } else { Err(format!("the daemon ended with {status}").into()) }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // However the demo ends, the daemon ends as a service does.
        if !matches!(self.0.try_wait(), Ok(Some(_))) {
            let _ = self.stop();
        }
    }
}

/// Looks again and again until there is something to see.
fn wait<T>(interrupted: &AtomicBool, what: &str, mut look: impl FnMut() -> Option<T>) -> Result<T, Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look() {
            return Ok(seen);
        }
        if interrupted.load(Ordering::Relaxed) {
            return Err("interrupted".into());
        }
        if deadline <= Instant::now() {
            return Err(format!("waited in vain for {what}").into());
        }
        thread::park_timeout(Duration::from_millis(100));
    }
}

/// Until somebody presses Enter, where there is somebody, or until so much time has passed.
fn wait_for_enter(interrupted: &AtomicBool, at_most: Duration, once: bool) -> Result<(), Failure> {
    let pressed = Arc::new(AtomicBool::new(false));
    if !once && std::io::stdin().is_terminal() {
        let pressed = Arc::clone(&pressed);
        thread::spawn(move || {
            let read = std::io::stdin().read_line(&mut String::new());
            pressed.store(read.is_ok(), Ordering::Relaxed);
        });
    }
    let deadline = Instant::now() + at_most;
    while Instant::now() < deadline && !pressed.load(Ordering::Relaxed) {
        if interrupted.load(Ordering::Relaxed) {
            return Err("interrupted".into());
        }
        thread::park_timeout(Duration::from_millis(100));
    }
    Ok(())
}
