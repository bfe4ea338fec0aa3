//! The blocks of the documents that a reader may copy.

use std::fs;
use std::path::Path;

/// The documents with blocks.
pub(crate) const DOCUMENTS: [&str; 6] = [
    "README.md",
    "packaging/README.md",
    "tests/simulator/README.md",
    "packaging/man/ecobee-token.1",
    "packaging/man/ecobee-tokend.8",
    "packaging/man/ecobee-tokend.toml.5",
];

/// A block as a reader would copy it.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) document: &'static str,
    /// Its first line that says something: not the one that names the interpreter. A comment at the end is left out.
    pub(crate) title: String,
    pub(crate) text: String,
}

/// All of them, in the order of the documents.
pub(crate) fn all() -> Vec<Block> {
    DOCUMENTS.into_iter().flat_map(of).collect()
}

fn of(document: &'static str) -> Vec<Block> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{document}: {error}"));
    let texts =
        if path.extension().is_some_and(|kind| kind == "md") { fenced(&text) } else { displayed(&text) };
    texts.into_iter().map(|text| Block { document, title: title(&text), text }).collect()
}

fn title(text: &str) -> String {
    let line = text.lines().find(|line| !line.starts_with("#!")).unwrap_or_default();
    line.split("  #").next().unwrap_or_default().trim_end().to_owned()
}

/// What stands between fences, without the indentation of a list.
fn fenced(text: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for line in text.lines() {
        let bare = line.trim_start();
        match open.take() {
            None if bare.starts_with("```") => open = Some((line.len() - bare.len(), String::new())),
            None => {}
            Some((_, block)) if bare.starts_with("```") => blocks.push(block),
            Some((margin, mut block)) => {
                block.push_str(line.get(margin..).unwrap_or_default());
                block.push('\n');
                open = Some((margin, block));
            }
        }
    }
    assert!(open.is_none(), "a fence without an end");
    blocks
}

/// What stands in `.Bd -literal` displays and in `.Dl` lines of a man page.
fn displayed(text: &str) -> Vec<String> {
    let plain = |line: &str| line.replace("\\e", "\\").replace("\\(aq", "'").replace("\\(dq", "\"") + "\n";
    let mut blocks = Vec::new();
    let mut open: Option<String> = None;
    for line in text.lines() {
        if let Some(line) = line.strip_prefix(".Dl ") {
            blocks.push(plain(line));
        } else if line.starts_with(".Bd -literal") {
            open = Some(String::new());
        } else if line == ".Ed" {
            blocks.extend(open.take());
        } else if let Some(block) = &mut open {
            block.push_str(&plain(line));
        }
    }
    assert!(open.is_none(), "a display without an end");
    blocks
}
