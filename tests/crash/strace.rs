//! The system calls of another program, as `strace` writes them down.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// The calls by which bytes and names reach a disk or a peer, and those that make descriptors.
const WATCHED: &str = "trace=openat,close,write,writev,pwrite64,sendto,sendmsg,fsync,fdatasync,ftruncate,\
                       rename,renameat,renameat2,unlink,unlinkat,fchmod,socket,accept4";

/// A call that has come to its end. `began` and `ended` order the calls of all threads.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) began: usize,
    pub(crate) ended: usize,
    pub(crate) name: String,
    arguments: String,
    /// What it returned; negative for an error.
    pub(crate) result: i64,
}

impl Call {
    /// The quoted arguments, in their order.
    pub(crate) fn strings(&self) -> Vec<Vec<u8>> {
        self.arguments.split('"').skip(1).step_by(2).map(bytes_of).collect()
    }

    /// The quoted argument of this number as text: a path.
    pub(crate) fn path(&self, number: usize) -> String {
        self.strings().get(number).map(|path| String::from_utf8_lossy(path).into_owned()).unwrap_or_default()
    }

    /// The first argument, where it is a descriptor.
    pub(crate) fn descriptor(&self) -> i64 {
        let digits = self.arguments.split([',', ')']).next().unwrap_or_default();
        digits.trim().parse().unwrap_or(-1)
    }

    /// Whether an argument has this word, such as a flag.
    pub(crate) fn says(&self, word: &str) -> bool {
        self.arguments.split(['|', ',', ' ', ')']).any(|part| part == word)
    }

    /// Whether bytes left by it.
    pub(crate) fn sends(&self) -> bool {
        matches!(self.name.as_str(), "write" | "writev" | "pwrite64" | "sendto" | "sendmsg")
    }
}

/// `\x2f\x74` and the like: with `-xx` nothing stands for itself.
fn bytes_of(quoted: &str) -> Vec<u8> {
    quoted.split("\\x").skip(1).filter_map(|pair| u8::from_str_radix(pair.get(..2)?, 16).ok()).collect()
}

/// The words that run a program under `strace`, which writes to `output`.
pub(crate) fn watching(output: &Path) -> Vec<String> {
    let words = ["strace", "-f", "-qq", "-xx", "-s", "1048576", "-e", "signal=none", "-e", WATCHED, "-o"];
    words.into_iter().map(str::to_owned).chain([output.display().to_string()]).collect()
}

/// Why programs cannot be watched here, if so.
pub(crate) fn missing() -> Option<String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = folder.path().join("trace");
    let words = watching(&output);
    let tried = Command::new(&words[0])
        .args(&words[1..])
        .args(["sh", "-c", "printf x > /dev/null"])
        .stdin(Stdio::null())
        .output();
    match tried {
        Err(error) => {
            Some(format!("strace cannot be run: {error} (Debian has it in a package of that name)"))
        }
        Ok(output) if !output.status.success() => {
            let why = String::from_utf8_lossy(&output.stderr);
            Some(format!("strace cannot watch a program here: {}", why.trim()))
        }
        Ok(_) if read(&output).is_empty() => Some("strace sees nothing here".to_owned()),
        Ok(_) => None,
    }
}

/// All calls of a trace that came to an end, in the order of their ends.
pub(crate) fn read(output: &Path) -> Vec<Call> {
    let text = fs::read_to_string(output).unwrap_or_default();
    let mut unfinished: HashMap<&str, (usize, String)> = HashMap::new();
    let mut calls = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let Some((thread, line)) = line.split_once(' ') else { continue };
        let line = line.trim_start();
        if let Some(first) = line.strip_suffix("<unfinished ...>") {
            unfinished.insert(thread, (at, first.trim_end().to_owned()));
            continue;
        }
        let (began, whole) = match line.split_once(" resumed>") {
            Some((_, rest)) => match unfinished.remove(thread) {
                Some((at_first, words)) => (at_first, words + rest),
                None => continue,
            },
            None => (at, line.to_owned()),
        };
        calls.extend(parse(began, at, &whole));
    }
    calls
}

fn parse(began: usize, ended: usize, line: &str) -> Option<Call> {
    let (name, rest) = line.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(" = ")?;
    let result = result.split_whitespace().next()?.parse().ok()?;
    Some(Call { began, ended, name: name.to_owned(), arguments: arguments.trim_end().to_owned(), result })
}
