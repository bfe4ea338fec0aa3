//! The man pages and the shell completions say what `--help` and the configuration say: all of it, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ecobee_tokend::config;

/// A program that is shipped, with what people may read about it.
struct Program {
    name: &'static str,
    help: String,
    page: String,
}

fn programs() -> Vec<Program> {
    [("ecobee-tokend", "ecobee-tokend.8"), ("ecobee-token", "ecobee-token.1")]
        .map(|(name, page)| Program { name, help: help(name), page: page_of(page) })
        .into()
}

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging")
}

fn page_of(name: &str) -> String {
    read(&packaging().join("man").join(name))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What the program built beside this test prints.
fn help(program: &str) -> String {
    let folder = Path::new(env!("CARGO_BIN_EXE_ecobee-tokend")).parent().expect("a folder");
    let output = Command::new(folder.join(program)).arg("--help").output().expect(program);
    assert!(output.status.success(), "{program} --help: {output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Every `--option` in a text; of a man page, what stands as `Fl -option`.
fn options(text: &str) -> BTreeSet<String> {
    let plain = text.replace("Fl -", "--");
    let mut found = BTreeSet::new();
    for (at, _) in plain.match_indices("--") {
        let word: String =
            plain[at + 2..].chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
        let starts = !plain[..at].ends_with(|c: char| c.is_alphanumeric() || c == '-');
        if starts && word.len() > 1 {
            found.insert(word.trim_end_matches('-').to_owned());
        }
    }
    found
}

/// The options in what the page says about the program itself, examples with other programs aside.
fn options_of_page(page: &str) -> BTreeSet<String> {
    let macros: Vec<&str> =
        page.lines().filter(|line| line.starts_with('.') && line.contains("Fl ")).collect();
    options(&macros.join("\n"))
}

/// The commands of a `--help`: the words that stand behind the program's name in its usage.
fn commands(program: &Program) -> BTreeSet<String> {
    let usage = format!("  {} ", program.name);
    program
        .help
        .lines()
        .filter_map(|line| line.strip_prefix(&usage)?.split_whitespace().next())
        .filter(|word| word.starts_with(|c: char| c.is_ascii_lowercase()))
        .map(str::to_owned)
        .collect()
}

/// The part of a page from `.Sh NAME` to the next section.
fn section<'a>(page: &'a str, name: &str) -> &'a str {
    let start = page.find(&format!("\n.Sh {name}\n")).unwrap_or_else(|| panic!("no section {name}"));
    let rest = &page[start + 5..];
    &rest[..rest.find("\n.Sh ").unwrap_or(rest.len())]
}

/// The numbers that a `--help` lists as exit statuses: in lines of their own, or in one sentence.
fn statuses_of_help(help: &str) -> BTreeSet<u8> {
    let (_, text) = help.split_once("Exit status:").expect("--help tells the exit statuses");
    let first_word = |part: &str| part.split_whitespace().next().and_then(|word| word.parse().ok());
    // "anything else" is 1, wherever its number stands.
    text.lines().flat_map(|line| line.split(';')).filter_map(first_word).collect()
}

fn statuses_of_page(page: &str) -> BTreeSet<u8> {
    section(page, "EXIT STATUS").lines().filter_map(|line| line.strip_prefix(".It ")?.parse().ok()).collect()
}

#[test]
fn a_page_explains_every_option_of_help_and_no_other() {
    for program in programs() {
        assert_eq!(options_of_page(&program.page), options(&program.help), "{}", program.name);
    }
}

#[test]
fn a_page_explains_every_command_of_help_and_no_other() {
    for program in programs() {
        let explained: BTreeSet<String> = section(&program.page, "DESCRIPTION")
            .lines()
            .filter_map(|line| line.strip_prefix(".It Cm ")?.split_whitespace().next())
            .map(str::to_owned)
            .collect();
        assert_eq!(explained, commands(&program), "{}", program.name);
        for command in explained {
            assert!(section(&program.page, "SYNOPSIS").contains(&command), "{}: {command}", program.name);
        }
    }
}

#[test]
fn a_page_lists_the_exit_statuses_of_help() {
    for program in programs() {
        assert_eq!(statuses_of_page(&program.page), statuses_of_help(&program.help), "{}", program.name);
    }
}

#[test]
fn every_shell_completes_every_option_and_command_of_help() {
    for program in programs() {
        for file in
            [format!("{}.bash", program.name), format!("_{}", program.name), format!("{}.fish", program.name)]
        {
            let text = read(&packaging().join("completions").join(&file));
            for option in options(&program.help) {
                assert!(
                    text.contains(&format!("--{option}")) || text.contains(&format!("-l {option} ")),
                    "{file}: --{option}"
                );
            }
            for command in commands(&program) {
                assert!(text.contains(&command), "{file}: {command}");
            }
        }
    }
}

/// The keys that ecobee-tokend.toml(5) explains, each with its explanation.
fn explained_keys() -> BTreeMap<String, String> {
    let page = page_of("ecobee-tokend.toml.5");
    let mut prefix = String::new();
    let mut keys: BTreeMap<String, String> = BTreeMap::new();
    let mut current = None;
    for line in section(&page, "DESCRIPTION").lines() {
        if let Some(name) = line.strip_prefix(".Ss [") {
            prefix = name.replace(']', ".");
        } else if let Some(key) = line.strip_prefix(".It Ic ") {
            let key = format!("{prefix}{key}");
            assert!(keys.insert(key.clone(), String::new()).is_none(), "{key} is explained twice");
            current = Some(key);
        } else if line.starts_with(".El") {
            current = None;
        } else if let Some(text) = current.as_ref().and_then(|key| keys.get_mut(key)) {
            text.push_str(line);
            text.push('\n');
        }
    }
    keys
}

#[test]
fn the_page_of_the_configuration_explains_every_key_of_the_code_and_no_other() {
    assert_eq!(explained_keys().into_keys().collect::<BTreeSet<_>>(), config::keys());
}

/// `config/config.toml` shows defaults as `#key = value`, and `tests/shipped.rs` holds them against the code.
#[test]
fn the_page_of_the_configuration_tells_every_default() {
    let keys = explained_keys();
    let shipped = read(&packaging().join("../config/config.toml"));
    let mut prefix = String::new();
    let mut told = 0;
    for line in shipped.lines() {
        let plain = line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line);
        if let Some(name) = plain.strip_prefix('[') {
            prefix = name.replace("accounts.home", "accounts.NAME").replace(']', ".");
        } else if let Some((key, value)) = plain.split_once(" = ").filter(|_| !plain.starts_with('#')) {
            let key = format!("{prefix}{key}");
            // No default, but the name that the walk through the first start uses.
            if key == "accounts.NAME.api-key-file" {
                continue;
            }
            let default = format!("Default:\n.Li {}", value.trim_matches('"'));
            assert!(keys[&key].contains(&default), "{key}: {default}\n{}", keys[&key]);
            told += 1;
        }
    }
    assert!(told > 0, "the shipped file shows no default");
}

#[test]
fn every_message_in_the_trouble_table_is_one_that_the_programs_say() {
    const OF_OTHERS: [&str; 2] = ["Failed to connect", "Permission denied"];
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut said = String::new();
    let mut folders = vec![root.join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder").filter_map(Result::ok) {
            if entry.path().is_dir() { folders.push(entry.path()) } else { said += &read(&entry.path()) }
        }
    }
    // A string that goes on in the next line.
    let pieces = said.split("\\\n");
    let said: String =
        pieces.enumerate().map(|(i, piece)| if i == 0 { piece } else { piece.trim_start() }).collect();
    let readme = read(&root.join("README.md"));
    let (_, table) = readme.split_once("| you see |").expect("the table");
    let mut compared = 0;
    for row in table.lines().skip(2).take_while(|line| line.starts_with('|')) {
        let sees = row.split('|').nth(1).expect("a column");
        for message in
            sees.split('`').skip(1).step_by(2).filter(|message| !message.starts_with("ecobee-token"))
        {
            for words in message.split('…').map(|words| words.trim_matches([' ', ','])) {
                assert!(said.contains(words) || OF_OTHERS.contains(&words), "nothing says {words:?}: {row}");
                compared += 1;
            }
        }
    }
    assert!(compared > 15, "{compared}");
}
