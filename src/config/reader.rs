//! Walks a TOML file key by key and remembers which keys it was asked for: the code that reads is the only list.
//!
//! A [`Document`] is the file, a [`Section`] one of its tables, an [`Entry`] one key of a section, there or not. Every
//! complaint is made by an entry or a section, for these know their full name and their line.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::duration;
use super::error::ConfigError;
use super::surroundings::Surroundings;

/// A configuration file: its text, and what it is read with.
pub(super) struct Document<'a> {
    pub(super) file: &'a Path,
    text: &'a str,
    surroundings: &'a Surroundings,
    asked: RefCell<BTreeSet<String>>,
    /// Where the lines end. Each entry wants its own number, and there may be ten thousands of both.
    ends_of_lines: Vec<usize>,
}

impl<'a> Document<'a> {
    pub(super) fn new(file: &'a Path, text: &'a str, surroundings: &'a Surroundings) -> Self {
        let ends_of_lines = text.match_indices('\n').map(|(at, _)| at).collect();
        Self { file, text, surroundings, asked: RefCell::default(), ends_of_lines }
    }

    /// Counted from 1.
    fn line_at(&self, offset: usize) -> usize {
        self.ends_of_lines.partition_point(|end| *end < offset) + 1
    }

    /// The whole file as a section without a name.
    pub(super) fn parse(&'a self) -> Result<Section<'a>, ConfigError> {
        let table = DeTable::parse(self.text).map_err(|error| self.broken(&error))?;
        Ok(Section { document: self, name: String::new(), line: None, table: table.into_inner() })
    }

    /// Every key that was asked for, sections aside.
    pub(super) fn asked(&self) -> BTreeSet<String> {
        let asked = self.asked.borrow();
        let is_section = |key: &str| asked.iter().any(|other| other.starts_with(&format!("{key}.")));
        asked.iter().filter(|key| !is_section(key)).cloned().collect()
    }

    fn wrong(
        &self,
        line: Option<usize>,
        key: &str,
        found: impl Display,
        wanted: impl Display,
    ) -> ConfigError {
        ConfigError::Wrong {
            file: self.file.to_owned(),
            line,
            key: Some(key.to_owned()).filter(|key| !key.is_empty()),
            found: found.to_string(),
            wanted: wanted.to_string(),
        }
    }

    /// A syntax error. Of the text itself nothing is shown but a key that the code knows.
    fn broken(&self, error: &toml::de::Error) -> ConfigError {
        let at = error.span().map(|span| span.start);
        let (found, wanted) = match error.message() {
            "duplicate key" => ("duplicate key", "it once"),
            message => message.split_once(", expected ").unwrap_or((message, "valid TOML")),
        };
        let key = at.and_then(|at| key_around(self.text, at)).unwrap_or_default();
        self.wrong(
            at.map(|at| self.line_at(at)),
            &key,
            format!("broken TOML: {found}"),
            format!("wanted {wanted}"),
        )
    }
}

/// One table of the file; empty if the file does not have it.
pub(super) struct Section<'a> {
    document: &'a Document<'a>,
    name: String,
    line: Option<usize>,
    table: DeTable<'a>,
}

impl<'a> Section<'a> {
    /// Exactly these keys; any other in the table is an error.
    pub(super) fn read<const N: usize>(
        &mut self,
        keys: [&'static str; N],
    ) -> Result<[Entry<'a>; N], ConfigError> {
        let mut table = std::mem::take(&mut self.table);
        let entries = keys.map(|key| {
            let entry = self.entry(key, table.remove_entry(key));
            self.document.asked.borrow_mut().insert(entry.key.clone());
            entry
        });
        match table.into_iter().min_by_key(|(name, _)| name.span().start) {
            None => Ok(entries),
            Some((name, value)) => {
                let stranger = self.entry(&shown_name(name.get_ref()), Some((name.clone(), value)));
                Err(stranger.wrong("not a known key", suggestion(name.get_ref(), &keys)))
            }
        }
    }

    /// Keys that the file is free to name, in the order of their names.
    pub(super) fn free_entries(mut self) -> Vec<(String, Entry<'a>)> {
        let table = std::mem::take(&mut self.table);
        let named = |(name, value): (Spanned<DeString<'a>>, Spanned<DeValue<'a>>)| {
            let plain = name.get_ref().to_string();
            let entry = self.entry(&shown_name(&plain), Some((name, value)));
            (plain, entry)
        };
        table.into_iter().map(named).collect()
    }

    pub(super) fn surroundings(&self) -> &'a Surroundings {
        self.document.surroundings
    }

    /// A complaint about the section as a whole.
    pub(super) fn wrong(&self, found: impl Display, wanted: impl Display) -> ConfigError {
        self.document.wrong(self.line, &self.name, found, wanted)
    }

    fn entry(&self, key: &str, found: Option<(Spanned<DeString<'a>>, Spanned<DeValue<'a>>)>) -> Entry<'a> {
        let (line, value) = match found {
            Some((name, value)) => (Some(self.document.line_at(name.span().start)), Some(value.into_inner())),
            None => (self.line, None),
        };
        let key = if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) };
        Entry { document: self.document, key, line, value, visibility: Visibility::Shown }
    }
}

/// Whether a message may repeat a value.
#[derive(Clone, Copy, PartialEq)]
enum Visibility {
    Shown,
    Hidden,
}

/// One key of a section, there or not.
pub(super) struct Entry<'a> {
    document: &'a Document<'a>,
    key: String,
    line: Option<usize>,
    value: Option<DeValue<'a>>,
    visibility: Visibility,
}

impl<'a> Entry<'a> {
    fn is_present(&self) -> bool {
        self.value.is_some()
    }

    /// The last part of the key's name.
    fn short_name(&self) -> &str {
        self.key.rsplit('.').next().unwrap_or_default()
    }

    /// The same, of which no message repeats the value.
    pub(super) fn hidden(self) -> Self {
        Self { visibility: Visibility::Hidden, ..self }
    }

    /// The same, of which no message repeats the value if it looks like that.
    pub(super) fn hidden_if(self, looks: impl FnOnce(&str) -> bool) -> Self {
        if self.value.as_ref().and_then(DeValue::as_str).is_some_and(looks) { self.hidden() } else { self }
    }

    /// The same, which messages call by its section: for a name that may be a misplaced secret.
    pub(super) fn of_section(self, section: &str) -> Self {
        Self { key: section.to_owned(), ..self }
    }

    pub(super) fn surroundings(&self) -> &'a Surroundings {
        self.document.surroundings
    }

    /// The table under this key, empty if there is none.
    pub(super) fn section(self) -> Result<Section<'a>, ConfigError> {
        let table = match self.value {
            None => DeTable::new(),
            Some(DeValue::Table(table)) => table,
            Some(_) => return Err(self.refuse("a table")),
        };
        Ok(Section { document: self.document, name: self.key, line: self.line, table })
    }

    /// A string that `parse` understands.
    pub(super) fn text<T>(
        &self,
        wanted: impl Display,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        self.value(wanted, |value| parse(value.as_str()?))
    }

    pub(super) fn boolean(&self) -> Result<Option<bool>, ConfigError> {
        self.value("true or false", DeValue::as_bool)
    }

    pub(super) fn number(&self, range: RangeInclusive<u32>) -> Result<Option<u32>, ConfigError> {
        let wanted = format!("a whole number from {} to {}", range.start(), range.end());
        self.value(wanted, |value| whole_number(value).filter(|number| range.contains(number)))
    }

    pub(super) fn duration(&self, range: RangeInclusive<Duration>) -> Result<Option<Duration>, ConfigError> {
        let least = duration::Shown(*range.start());
        let wanted = if *range.end() == duration::LONGEST {
            format!("a duration of {least} or more, such as \"24h\"")
        } else {
            let usual = Duration::from_secs(10 * 60);
            let example = duration::Shown(if range.contains(&usual) { usual } else { *range.start() });
            format!("a duration from {least} to {}, such as \"{example}\"", duration::Shown(*range.end()))
        };
        self.text(wanted, |text| duration::parse(text).filter(|duration| range.contains(duration)))
    }

    /// An absolute path; a relative one starts in the folder of the configuration file.
    pub(super) fn path(&self) -> Result<Option<PathBuf>, ConfigError> {
        self.refuse_tilde()?;
        let folder = self.document.file.parent().unwrap_or(Path::new("/"));
        self.text("a path", |text| {
            (!text.is_empty() && !text.contains(char::is_control))
                .then(|| folder.join(text).components().collect())
        })
    }

    /// A complaint about a path that begins with a tilde: a shell would have put a home there, and nobody does here.
    pub(super) fn refuse_tilde(&self) -> Result<(), ConfigError> {
        let Some(below) =
            self.value.as_ref().and_then(DeValue::as_str).and_then(|text| text.strip_prefix('~'))
        else {
            return Ok(());
        };
        let whole = match below.strip_prefix('/') {
            // Another user's, as in `~alice/x`, is not looked up.
            None if !below.is_empty() => None,
            rest => self.document.surroundings.in_home(rest.unwrap_or_default()),
        };
        let wanted = match whole.as_deref().and_then(Path::to_str) {
            Some(path) => format!("the whole path, {path:?}, for ~ is not expanded here"),
            None => "the whole path, such as \"/home/alice/file\", for ~ is not expanded here".to_owned(),
        };
        Err(self.refuse(wanted))
    }

    /// The elements of an array, each an entry with this one's name and line.
    pub(super) fn elements(&self, wanted: impl Display) -> Result<Option<Vec<Entry<'a>>>, ConfigError> {
        self.value(wanted, |value| {
            let element = |value: &Spanned<DeValue<'a>>| Entry {
                document: self.document,
                key: self.key.clone(),
                line: Some(self.document.line_at(value.span().start)),
                value: Some(value.get_ref().clone()),
                visibility: self.visibility,
            };
            Some(value.as_array()?.iter().map(element).collect())
        })
    }

    /// A value that `parse` understands, `None` if the key is not there.
    pub(super) fn value<T>(
        &self,
        wanted: impl Display,
        parse: impl FnOnce(&DeValue<'a>) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(value) = &self.value else {
            return Ok(None);
        };
        parse(value).map(Some).ok_or_else(|| self.refuse(wanted))
    }

    /// A complaint that shows the value, unless it is hidden.
    pub(super) fn refuse(&self, wanted: impl Display) -> ConfigError {
        let found = self.value.as_ref().map_or("nothing".to_owned(), |value| match self.visibility {
            Visibility::Shown => shown_value(value),
            Visibility::Hidden => kind(value).to_owned(),
        });
        self.wrong(format!("found {found}"), format!("wanted {wanted}"))
    }

    /// A complaint in words of its own.
    pub(super) fn wrong(&self, found: impl Display, wanted: impl Display) -> ConfigError {
        self.document.wrong(self.line, &self.key, found, wanted)
    }
}

/// A complaint if more than one of these keys is there.
pub(super) fn at_most_one(entries: &[&Entry<'_>]) -> Result<(), ConfigError> {
    let mut present = entries.iter().filter(|entry| entry.is_present());
    match (present.next(), present.next()) {
        (Some(first), Some(second)) => {
            let names: Vec<_> = entries.iter().map(|entry| entry.short_name()).collect();
            Err(second.wrong(
                format!("stands beside {}", first.short_name()),
                format!("wanted only one of {}", names.join(", ")),
            ))
        }
        _ => Ok(()),
    }
}

/// A whole number that an identifier or a count can be.
pub(super) fn whole_number(value: &DeValue<'_>) -> Option<u32> {
    let digits = value.as_integer()?;
    u32::from_str_radix(digits.as_str(), digits.radix()).ok()
}

fn shown_value(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) if may_be_secret(text) => {
            "a string that looks like a key or a token, and is not shown".to_owned()
        }
        DeValue::String(text) => shorten(&format!("{text:?}"), 80),
        DeValue::Integer(number) => shorten(&number.to_string(), 80),
        DeValue::Float(number) => shorten(&number.to_string(), 80),
        DeValue::Boolean(yes) => yes.to_string(),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => kind(value).to_owned(),
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// A key's name as a file would have to write it.
fn shown_name(name: &str) -> String {
    if may_be_secret(name) {
        return "[secret]".to_owned();
    }
    if is_bare(name) { shorten(name, 40) } else { shorten(&format!("{name:?}"), 40) }
}

/// Whether somebody may have put a key or a token here, a line too high or too low: ecobee's keys are 32 letters and
/// digits.
fn may_be_secret(text: &str) -> bool {
    const KEY_LIKE: usize = 24;
    text.split(|c: char| !c.is_ascii_alphanumeric()).any(|run| {
        run.len() >= KEY_LIKE
            && run.contains(|c: char| c.is_ascii_digit())
            && run.contains(|c: char| c.is_ascii_alphabetic())
    })
}

fn shorten(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn is_bare(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// The key that a misspelt one was meant to be: a near one of the same section, or the same name in another.
fn suggestion(name: &str, here: &[&'static str]) -> String {
    let near = here.iter().map(|key| (distance(name, key), *key)).min();
    if let Some((_, key)) = near.filter(|(steps, key)| *steps <= key.len().div_ceil(3)) {
        return format!("did you mean {key}?");
    }
    match super::keys().iter().find(|key| key.rsplit('.').next() == Some(name)) {
        Some(key) if !key.contains('.') => format!("{key} belongs above the first [section]"),
        Some(key) => format!("did you mean {key}?"),
        None => format!("known here: {}", here.join(", ")),
    }
}

/// How many letters to add, drop or change (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, letter) in from.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, other) in to.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *other);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

/// The known key on the line of a syntax error, so far as the lines above tell.
fn key_around(text: &str, offset: usize) -> Option<String> {
    let line_starts_at = text.get(..offset)?.rfind('\n').map_or(0, |end| end + 1);
    let line = text[line_starts_at..].lines().next()?;
    if let Some(section) = header(line) {
        return Some(section.to_owned());
    }
    let name = line.split_once('=')?.0.trim();
    let known = super::keys().iter().any(|key| key.rsplit('.').next() == Some(name));
    let section = text[..line_starts_at].lines().rev().find_map(header);
    known.then(|| section.map_or(name.to_owned(), |section| format!("{section}.{name}")))
}

/// `refresh` of a line `[refresh]`.
fn header(line: &str) -> Option<&str> {
    let name = line.trim().strip_prefix('[')?.strip_suffix(']')?.trim();
    name.split('.').all(is_bare).then_some(name)
}
