//! The recipes of README and man pages, run as they stand: by an ordinary user, with the real programs, in the order in
//! which a newcomer comes upon them.
//!
//! A block that is neither run nor listed with the reason why not fails the test: there is no third kind.

mod harness;

#[path = "recipes/blocks.rs"]
mod blocks;
#[path = "recipes/home.rs"]
mod home;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

use blocks::Block;
use ecobee_simulator::{CallKind, Liveness};
use harness::{Ended, KEY, run_with, skipped};
use home::Home;

/// Where the script that cron and the timer run is saved.
const SCRIPT: &str = "bin/thermostats";

/// What is done with a block.
#[derive(Clone, Copy)]
enum Fate {
    /// bash runs it, with this on its standard input, and prints this.
    Shell(&'static str, Shows),
    /// The same for each line alone, nothing being stored before it: they are alternatives.
    EachLine(Shows),
    /// It goes on running.
    Daemon,
    /// It goes on until the PIN is entered.
    UntilThePin,
    /// It is saved as the script, made executable, and run.
    Script(Shows),
    /// The interpreter runs it from a file.
    Program(&'static [&'static str], &'static str, Shows),
    /// Its lines are run as cron does.
    Crontab,
    /// Units of the user: saved under the name that it begins with; systemd finds no fault, and what it starts works.
    Unit,
    /// A part of a configuration; a start would take it.
    Toml,
    /// This script of the tests takes it from the document and runs it.
    RunBy(&'static str),
    /// Nothing runs it, and this is why.
    NotRun(&'static str),
}
use Fate::{Crontab, Daemon, EachLine, NotRun, Program, RunBy, Script, Shell, Toml, Unit, UntilThePin};

/// What is to be seen on standard output.
#[derive(Clone, Copy)]
enum Shows {
    /// These words.
    Words(&'static str),
    /// A token that lives.
    Token,
}
use Shows::{Token, Words};

const ROOT_AND_PACKAGE: &str =
    "needs root and the package: tests/system takes the same steps on a booted Debian";
const BUILDS: &str = "builds for minutes; a check of its own runs it";

/// In the order in which they are run.
const RECIPES: &[(&str, &str, Fate)] = &[
    ("README.md", "mkdir -p ~/.config/ecobee-tokend", Shell(KEY, Words(""))),
    ("README.md", "ecobee-tokend import ecobee.conf", EachLine(Words("is taken over"))),
    ("README.md", "ecobee-tokend check-config", Shell("", Words("account home"))),
    ("README.md", "ecobee-tokend", Daemon),
    ("README.md", "ecobee-token pin --wait", UntilThePin),
    ("README.md", "ecobee-token status", Shell("", Words("thermostatList"))),
    ("README.md", "# Prints what ecobee knows of your thermostats;", Script(Words("thermostatList"))),
    // The example of ecobee-token(1) calls it so.
    ("README.md", "import json", Program(&["python3"], "heating.py", Words(" 71.1 °F"))),
    (
        "README.md",
        "if (!process.env.ECOBEE_TOKEN)",
        Program(&["ecobee-token", "exec", "--", "node"], "thermostats.js", Words(" 71.1 °F")),
    ),
    ("README.md", "*/15 * * * * $HOME/bin/thermostats", Crontab),
    ("README.md", "# thermostats.service", Unit),
    ("README.md", "# thermostats.timer", Unit),
    ("README.md", "# ecobee-metrics.service", RunBy("tests/metrics/run")),
    ("README.md", "# ecobee-metrics.timer", Unit),
    ("README.md", "set -o pipefail", Shell("", Token)),
    ("README.md", "set -o pipefail", Shell("", Words("thermostatList"))),
    ("README.md", "import http.client, os, socket", Program(&["python3"], "direct.py", Token)),
    ("README.md", "const socketPath = ", Program(&["node"], "direct.js", Token)),
    ("README.md", "[notify]", Toml),
    ("README.md", "(umask 077; head -c 32", Shell("", Words(""))),
    ("README.md", "[store]", Toml),
    ("packaging/man/ecobee-token.1", "ecobee-token curl -- -s -G", Shell("", Words("thermostatList"))),
    ("packaging/man/ecobee-token.1", "ecobee-token --min-ttl 10m exec", Shell("", Words("71.1"))),
    ("packaging/man/ecobee-token.1", "ecobee-token pin --wait", Shell("", Words(""))),
    ("packaging/man/ecobee-tokend.8", "[accounts.home]", Toml),
    ("packaging/man/ecobee-tokend.toml.5", "[accounts.home]", Toml),
    // The last one, for what follows unpacks it.
    ("README.md", "(umask 077; tar -C ~ -czf", Shell("", Words(""))),
    ("README.md", "mkdir -p -m 700 ~/.ecobee", RunBy("tests/forwarding/run")),
    ("README.md", "exec curl --silent", RunBy("tests/system/stories.sh")),
    ("README.md", "cargo run --example demo", NotRun(BUILDS)),
    ("README.md", "packaging/build-deb", NotRun(ROOT_AND_PACKAGE)),
    ("README.md", "sudo install -m 640", NotRun(ROOT_AND_PACKAGE)),
    ("README.md", "sudo sh -c 'umask 077; tar", NotRun("needs root; the next block does the same without")),
    ("README.md", "curl --no-buffer --unix-socket", NotRun("does not end; tests/events.rs hears the same")),
    ("README.md", "docker run --rm", NotRun("needs Docker and an image from elsewhere")),
    (
        "packaging/README.md",
        "packaging/build-deb",
        NotRun("builds for release; tests/system and packaging/reproducible do"),
    ),
    (
        "packaging/README.md",
        "apt-get install gcc-aarch64-linux-gnu",
        NotRun("needs root, another architecture's packages and minutes"),
    ),
    (
        "tests/simulator/README.md",
        "$ ecobee-simulator",
        NotRun("a dialogue; the simulator's own tests hold it"),
    ),
    ("tests/simulator/README.md", "{\"id\": 7", NotRun("an entry of a log")),
    (
        "tests/simulator/README.md",
        "{\"on\": \"refresh\"",
        NotRun("an order of which every member is explained below it"),
    ),
    ("packaging/man/ecobee-tokend.8", "# install -m 640", NotRun(ROOT_AND_PACKAGE)),
    ("packaging/man/ecobee-tokend.8", "# usermod", NotRun(ROOT_AND_PACKAGE)),
    ("packaging/man/ecobee-tokend.8", "# mkdir -p -m 700 /etc/credstore.encrypted", NotRun(ROOT_AND_PACKAGE)),
    ("packaging/man/ecobee-tokend.8", "# install -D -m 644", NotRun(ROOT_AND_PACKAGE)),
    ("packaging/man/ecobee-tokend.8", "# systemd-run --quiet --pipe", NotRun(ROOT_AND_PACKAGE)),
    ("packaging/man/ecobee-tokend.8", "# ecobee-tokend check-config", NotRun(ROOT_AND_PACKAGE)),
    ("packaging/man/ecobee-tokend.8", "$ journalctl", NotRun("does not end")),
];

/// The recipes that are for this block.
fn recipes_for(block: &Block) -> impl Iterator<Item = usize> {
    let fits = move |(document, title, _): &(&str, &str, Fate)| {
        // A word by itself is not the beginning of a longer command.
        let whole = title.contains(' ');
        let same = if whole { block.title.starts_with(title) } else { block.title == *title };
        *document == block.document && same
    };
    RECIPES.iter().enumerate().filter(move |(_, recipe)| fits(recipe)).map(|(number, _)| number)
}

#[test]
fn every_block_is_run_or_listed_and_every_recipe_has_its_block() {
    let mut unknown = Vec::new();
    let mut blocks_of: BTreeMap<usize, usize> = BTreeMap::new();
    for block in blocks::all() {
        let mut recipes = recipes_for(&block).peekable();
        if recipes.peek().is_none() {
            unknown.push(format!("{}: {}", block.document, block.title));
        }
        recipes.for_each(|number| *blocks_of.entry(number).or_default() += 1);
    }
    assert!(unknown.is_empty(), "neither run nor listed with a reason:\n{}", unknown.join("\n"));
    for (number, (document, title, fate)) in RECIPES.iter().enumerate() {
        assert_eq!(blocks_of.get(&number), Some(&1), "the blocks for {document}: {title}");
        if let NotRun(why) = fate {
            println!("not run: {document}: {title}: {why}");
        }
        if let RunBy(script) = fate {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(script);
            let script = fs::read_to_string(&path).expect("the script is there");
            assert!(script.contains(title), "{}: {title}", path.display());
        }
    }
}

fn is_missing(program: &str) -> bool {
    let missing = Command::new(program).arg("--version").output().is_err();
    if missing {
        skipped(&format!("the recipes for {program}: it is not installed here"));
    }
    missing
}

/// Ended well, and showed what it should.
#[track_caller]
fn judge(home: &Home, what: &str, ran: &Ended, shows: Shows) {
    assert!(ran.status.success(), "{what}\n{ran:#?}");
    let seen = match shows {
        Words(words) => ran.stdout.contains(words),
        Token => ran.stdout.lines().any(|line| home.simulator.is_alive(line) == Liveness::Alive),
    };
    assert!(seen, "{what}\n{ran:#?}");
}

fn shell(home: &Home, text: &str, input: &str) -> Ended {
    let mut command = home.command(&["bash", "-euo", "pipefail", "-c", text]);
    // In place of /run/ecobee-tokend/socket, which is the system's.
    command.env("ECOBEE_TOKEND_SOCKET", home.socket());
    run_with(command, input)
}

/// What the alternatives of `import` find: the files of other clients, each with a grant of its own.
fn prepare_import(home: &Home) -> String {
    let token = || home.simulator.grant(KEY, "smartWrite").refresh_tokens.remove(0).value;
    home.put(
        "ecobee.conf",
        &format!("{{\"API_KEY\": \"{KEY}\", \"REFRESH_TOKEN\": \"{}\"}}", token()),
        0o600,
    );
    // No such user: the shell leaves the word as it is.
    home.put(
        "~homeassistant/.homeassistant/.storage/core.config_entries",
        &format!(
            "{{\"version\": 1, \"data\": {{\"entries\": [{{\"domain\": \"ecobee\", \
             \"data\": {{\"api_key\": \"{KEY}\", \"refresh_token\": \"{}\"}}}}]}}}}",
            token()
        ),
        0o600,
    );
    token()
}

fn follow(home: &mut Home, block: &Block, fate: Fate) {
    let (title, text) = (&block.title, &block.text);
    match fate {
        Shell(input, shows) => judge(home, title, &shell(home, text, input), shows),
        EachLine(shows) => {
            let token = prepare_import(home);
            for line in text.lines() {
                let _ = fs::remove_dir_all(home.file(".local/state/ecobee-tokend"));
                let ran = shell(home, &format!("REFRESH_TOKEN='{token}'; {line}"), "");
                judge(home, line, &ran, shows);
            }
            fs::remove_dir_all(home.file(".local/state/ecobee-tokend")).expect("something was stored");
        }
        Daemon => home.start_daemon(text),
        UntilThePin => {
            let home = &*home;
            thread::scope(|scope| {
                let waiting = scope.spawn(|| shell(home, text, ""));
                home.enter_pin();
                judge(home, title, &waiting.join().expect("it ran"), Words("PIN"));
            });
        }
        Script(shows) => {
            let script = home.put(SCRIPT, text, 0o755);
            judge(home, title, &run_with(home.command(&[&script.display().to_string()]), ""), shows);
        }
        Program(interpreter, file, shows) => {
            if is_missing(interpreter.last().expect("a program")) {
                return;
            }
            let file = home.put(file, text, 0o755).display().to_string();
            let mut command = home.command(&[interpreter, &[&file]].concat());
            command.env("ECOBEE_TOKEND_SOCKET", home.socket());
            judge(home, title, &run_with(command, ""), shows);
        }
        Crontab => {
            for line in text.lines() {
                let command = line.splitn(6, ' ').nth(5).expect("five fields and a command");
                let mut cron = home.cron_command(&["/bin/sh", "-c", command]);
                let said = run_with(home.cron_command(&["/bin/sh", "-c", command]), "").said();
                assert!(said.contains("no daemon"), "what README says of cron and one's own daemon: {said}");
                cron.env("ECOBEE_TOKEND_SOCKET", home.socket());
                judge(home, line, &run_with(cron, ""), Words(""));
                let saved = fs::read_to_string(home.file("thermostats.json")).expect("it was written");
                assert!(saved.contains("thermostatList"), "{saved}");
            }
        }
        Unit => {
            let name = title.trim_start_matches("# ");
            let unit = home.put(&format!(".config/systemd/user/{name}"), text, 0o644);
            if is_missing("systemd-analyze") {
                return;
            }
            let verified = run_with(
                home.command(&["systemd-analyze", "--user", "verify", &unit.display().to_string()]),
                "",
            );
            assert_eq!(
                (verified.status.code(), verified.stderr.as_str()),
                (Some(0), ""),
                "{name}: {verified:#?}"
            );
            if let Some(command) = text.lines().find_map(|line| line.strip_prefix("ExecStart=")) {
                let command = command.replace("%h", &home.file("").display().to_string());
                judge(home, name, &run_with(home.command(&[&command]), ""), Words("thermostatList"));
            }
        }
        Toml => {
            let whole = if text.contains("[accounts.home]") {
                text.clone()
            } else {
                format!("{text}\n[accounts.home]\napi-key-file = \"home.key\"\n")
            };
            let file = home.put(".config/ecobee-tokend/part.toml", &whole, 0o600).display().to_string();
            for name in text.lines().filter_map(|line| line.split_once("-credential = \"")) {
                home.put(&format!("credentials/{}", name.1.trim_end_matches('"')), KEY, 0o600);
            }
            let mut command = home.command(&["ecobee-tokend", "check-config", "--config", &file]);
            command.env("CREDENTIALS_DIRECTORY", home.file("credentials"));
            judge(home, title, &run_with(command, ""), Words("good"));
        }
        RunBy(_) | NotRun(_) => {}
    }
}

#[test]
fn a_newcomer_follows_the_recipes_and_moves_to_another_machine() {
    let mut home = match Home::new() {
        Ok(home) => home,
        Err(why) => return skipped(&format!("the recipes: {why}")),
    };
    let blocks = blocks::all();
    for (number, (_, _, fate)) in RECIPES.iter().enumerate() {
        let block = blocks.iter().find(|block| recipes_for(block).any(|other| other == number));
        follow(&mut home, block.expect("the other test says so"), *fate);
    }

    // "To restore, or to move": of the old machine nothing but the copy is left.
    home.stop_daemon();
    for folder in [".config/ecobee-tokend", ".local/state/ecobee-tokend"] {
        fs::remove_dir_all(home.file(folder)).expect("it is ours");
    }
    let pins = home.simulator.truth().pins().len();
    judge(&home, "unpack", &shell(&home, "tar -C ~ -xpf ~/ecobee-tokend.tar.gz", ""), Words(""));
    home.start_daemon("ecobee-tokend");
    judge(&home, "a token without a PIN", &shell(&home, "ecobee-token refresh", ""), Token);
    assert_eq!(home.simulator.truth().pins().len(), pins);
}

/// A PIN awaits its person: the usual state of things when a script first fails.
#[test]
fn without_a_token_the_scripts_say_what_to_do_and_call_nobody() {
    let mut home = match Home::new() {
        Ok(home) => home,
        Err(why) => return skipped(&format!("the recipes without a token: {why}")),
    };
    home.put(".config/ecobee-tokend/home.key", KEY, 0o600);
    home.put(".config/ecobee-tokend/config.toml", "[accounts.home]\napi-key-file = \"home.key\"\n", 0o600);
    home.start_daemon("ecobee-tokend");
    let pin = home.pin();
    let blocks = blocks::all();
    let text = |title: &str| {
        let found =
            blocks.iter().find(|block| block.document == "README.md" && block.title.starts_with(title));
        found.unwrap_or_else(|| panic!("no block {title}")).text.clone()
    };
    let script = |name: &str, title: &str| home.put(name, &text(title), 0o755).display().to_string();
    let (python, direct) =
        (script("thermostats.py", "import json"), script("direct.py", "import http.client"));
    let node = script("thermostats.js", "if (!process.env");
    let sh = text("set -o pipefail");
    for (words, says) in [
        (&["python3", &python][..], pin.as_str()),
        (&["python3", &direct], &pin),
        (&["ecobee-token", "exec", "--", "node", &node], &pin),
        (&["node", &node], "no token: start this with ecobee-token exec"),
        // As a person tries it, line by line: the first failure is not the end.
        (&["bash", "-uc", &sh], &pin),
    ] {
        if is_missing(
            words.iter().find(|word| ["python3", "node", "bash"].contains(word)).expect("a program"),
        ) {
            continue;
        }
        let mut command = home.command(words);
        command.env("ECOBEE_TOKEND_SOCKET", home.socket());
        let ran = run_with(command, "");
        assert!(!ran.status.success(), "{words:?}\n{ran:#?}");
        let said = ran.said();
        assert!(said.contains(says) && !said.contains("Traceback"), "{words:?}\n{ran:#?}");
        // What is no request to ecobee's liking is not among its calls; the daemon's refusals are 503.
        assert!(!said.contains("returned error: 4"), "{words:?}\n{ran:#?}");
    }
    assert_eq!(home.simulator.calls_of(CallKind::Thermostat), []);
}
