//! Counts what a program does, exactly: system calls under strace, allocations and instructions under valgrind.
//!
//! What a request costs is the difference between many requests and few, so that start and end fall out.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Daemon, PATIENCE};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Calls,
    Allocations,
    Instructions,
    /// Within this function alone, and what it calls.
    InstructionsOf(&'static str),
}

impl What {
    /// So many requests more are enough for a number that does not vary by a hundredth.
    const fn requests(self) -> usize {
        match self {
            Self::Calls => 2000,
            Self::Allocations | Self::Instructions | Self::InstructionsOf(_) => 500,
        }
    }
}

/// A program that runs another and counts.
#[derive(Debug)]
pub(crate) struct Tool {
    what: What,
    words: Vec<String>,
    output: PathBuf,
}

impl Tool {
    fn new(what: What, folder: &Path) -> Self {
        let output = folder.join("counted");
        let _ = fs::remove_file(&output);
        let file = output.display();
        let words = match what {
            // -D: the watched program is our child, and strace is not.
            What::Calls => vec![
                "strace".to_owned(),
                "-D".into(),
                "-f".into(),
                "-c".into(),
                "-o".into(),
                file.to_string(),
            ],
            What::Allocations => vec![
                "valgrind".to_owned(),
                "--undef-value-errors=no".into(),
                "--leak-check=no".into(),
                format!("--log-file={file}"),
            ],
            What::Instructions | What::InstructionsOf(_) => {
                let within = match what {
                    What::InstructionsOf(function) => Some(format!("--toggle-collect={function}")),
                    What::Instructions | What::Calls | What::Allocations => None,
                };
                let words =
                    ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"].map(str::to_owned);
                words.into_iter().chain(within).chain([format!("--log-file={file}")]).collect()
            }
        };
        Self { what, words, output }
    }

    /// What stands before the program's own words.
    pub(crate) fn words(&self) -> &[String] {
        &self.words
    }

    /// What was counted, by name, once the program has ended.
    fn tally(&self) -> Result<Tally, String> {
        // strace ends after what it watches.
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = fs::read_to_string(&self.output).unwrap_or_default();
            if let Some(tally) = self.read(&text) {
                return Ok(tally);
            }
            if Instant::now() > deadline {
                return Err(format!("{} counted nothing: {text}", self.words[0]));
            }
            thread::park_timeout(Duration::from_millis(10));
        }
    }

    fn read(&self, text: &str) -> Option<Tally> {
        match self.what {
            What::Calls => {
                let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
                let counted = |words: &[&str]| -> Option<f64> { words.get(3)?.parse().ok() };
                lines.clone().find(|words| words.last() == Some(&"total"))?;
                let calls = lines.filter(|words| words.last() != Some(&"total"));
                Some(Tally(
                    calls.filter_map(|words| Some((words.last()?.to_string(), counted(&words)?))).collect(),
                ))
            }
            What::Allocations => number_after(text, "total heap usage:"),
            What::Instructions | What::InstructionsOf(_) => number_after(text, "Collected :"),
        }
    }
}

/// The number behind some words; valgrind writes it with commas.
fn number_after(text: &str, words: &str) -> Option<Tally> {
    let (_, rest) = text.split_once(words)?;
    let number = rest.split_whitespace().next()?.replace(',', "").parse().ok()?;
    Some(Tally(BTreeMap::from([(String::new(), number)])))
}

/// So much of each.
#[derive(Debug)]
pub(crate) struct Tally(BTreeMap<String, f64>);

impl Tally {
    pub(crate) fn total(&self) -> f64 {
        self.0.values().sum()
    }

    /// How much of what has this name.
    pub(crate) fn of(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or(0.0)
    }

    /// How much more than `fewer`.
    fn beyond(mut self, fewer: &Self) -> Self {
        for (name, count) in &mut self.0 {
            *count -= fewer.of(name);
        }
        self
    }

    /// How much for each of so many.
    fn for_each_of(mut self, times: usize) -> Self {
        for count in self.0.values_mut() {
            *count /= times as f64;
        }
        self
    }

    /// What there is at least a tenth of, such as `1.00 read + 1.00 writev`.
    pub(crate) fn in_words(&self) -> String {
        let named = self.0.iter().filter(|(name, count)| !name.is_empty() && **count >= 0.1);
        named.map(|(name, count)| format!("{count:.2} {name}")).collect::<Vec<_>>().join(" + ")
    }
}

/// Why something cannot be counted here, if so.
fn missing(what: What) -> Option<String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let tool = Tool::new(what, folder.path());
    let name = &tool.words[0];
    let tried = Command::new(name).args(&tool.words[1..]).arg("true").stdin(Stdio::null()).output();
    match tried {
        Err(error) => {
            Some(format!("{name} cannot be run: {error} (Debian has it in a package of that name)"))
        }
        Ok(output) if !output.status.success() => {
            let why = String::from_utf8_lossy(&output.stderr);
            Some(format!("{name} cannot watch a program here: {}", why.trim()))
        }
        Ok(_) => tool.tally().err(),
    }
}

/// A server that was started within a [`Tool`].
pub(crate) trait Running {
    fn socket(&self) -> &Path;
    /// Has it end in good order, so that the tool can say what it counted.
    fn end(self);
}

impl Running for Daemon {
    fn socket(&self) -> &Path {
        &self.socket
    }

    fn end(self) {
        assert!(self.stop().success(), "the daemon did not end well");
    }
}

/// What one of the requests costs that `ask` makes, as many as it is told.
pub(crate) fn a_request<R: Running>(
    what: What,
    start: impl Fn(&Tool) -> R,
    ask: impl Fn(&Path, usize),
) -> Result<Tally, String> {
    let requests = what.requests();
    let little = |server: &R| ask(server.socket(), requests);
    let much = |server: &R| ask(server.socket(), 2 * requests);
    between(what, start, little, much).map(|tally| tally.for_each_of(requests))
}

/// What is counted more of when the server does `much` than when it does `little`.
pub(crate) fn between<R: Running>(
    what: What,
    start: impl Fn(&Tool) -> R,
    little: impl FnOnce(&R),
    much: impl FnOnce(&R),
) -> Result<Tally, String> {
    if let Some(why) = missing(what) {
        return Err(why);
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let few = count(&Tool::new(what, folder.path()), &start, little)?;
    let many = count(&Tool::new(what, folder.path()), &start, much)?;
    Ok(many.beyond(&few))
}

fn count<R: Running>(
    tool: &Tool,
    start: impl Fn(&Tool) -> R,
    with: impl FnOnce(&R),
) -> Result<Tally, String> {
    let server = start(tool);
    with(&server);
    server.end();
    tool.tally()
}
