//! What other ecobee clients keep of a grant: whatever may hold a refresh token, read.
//!
//! | what it looks like | whose it is |
//! | --- | --- |
//! | `{"API_KEY": …, "REFRESH_TOKEN": …}` | python-ecobee-api's `ecobee.conf`, Home Assistant's of old; names in small letters too |
//! | `{"data": {"entries": [{"domain": "ecobee", "data": {"api_key": …, "refresh_token": …}}]}}` | Home Assistant's `.storage/core.config_entries` |
//! | `"…"` | a JSON string, as `jq .REFRESH_TOKEN` prints it |
//! | anything else without a space in it | the bare refresh token |
//!
//! pyecobee's *shelf* is a pickled Python object in a database of many kinds; nothing but Python can read it.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};
use serde_json::value::RawValue;

use crate::secret::Secret;

/// Longer than any file of this sort.
pub const LONGEST: usize = 16 * 1024 * 1024;

/// Longer than any refresh token.
const LONGEST_TOKEN: usize = 64 * 1024;

/// A grant of another client's.
pub struct Grant {
    /// The refresh token: never empty, without spaces and control characters.
    pub refresh_token: Secret,
    /// The API key that it belongs to, where the file says so.
    pub api_key: Option<Secret>,
}

/// All grants in the bytes of a file, at least one.
pub fn read(bytes: &[u8]) -> Result<Vec<Grant>, ForeignError> {
    if bytes.len() > LONGEST {
        return Err(ForeignError::TooLong);
    }
    if SHELVES.iter().any(|magic| bytes.starts_with(magic)) {
        return Err(ForeignError::Shelf);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| ForeignError::NotText)?;
    let text = text.trim_start_matches('\u{feff}').trim();
    match text.as_bytes() {
        [] => Err(ForeignError::Empty),
        [b'{' | b'[', ..] => read_object(text),
        [b'"', ..] => {
            let Text(token) = serde_json::from_str(text).map_err(|error| not_json(&error))?;
            Ok(vec![Grant { refresh_token: checked(token)?, api_key: None }])
        }
        // What jq and Python print where there is none.
        b"null" | b"None" => Err(ForeignError::NoRefreshToken),
        _ => Ok(vec![Grant { refresh_token: checked(Secret::new(text))?, api_key: None }]),
    }
}

/// How databases begin in which Python keeps a shelf: `SQLite`, GDBM of either byte order and size, Berkeley DB.
const SHELVES: [&[u8]; 6] = [
    b"SQLite format 3\0",
    &[0x13, 0x57, 0x9a, 0xcd],
    &[0xcd, 0x9a, 0x57, 0x13],
    &[0xcf, 0x9a, 0x57, 0x13],
    &[0xce, 0x9a, 0x57, 0x13],
    &[0x00, 0x06, 0x15, 0x61],
];

#[derive(Deserialize)]
struct File<'a> {
    #[serde(alias = "REFRESH_TOKEN")]
    refresh_token: Option<Text>,
    #[serde(alias = "API_KEY")]
    api_key: Option<Text>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// Home Assistant's list of everything that it is connected to.
#[derive(Deserialize)]
struct Entries<'a> {
    #[serde(borrow)]
    entries: Vec<Entry<'a>>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    domain: String,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// A string on its way to being a secret.
struct Text(Secret);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Characters;

        impl Visitor<'_> for Characters {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Text, E> {
                Ok(Text(Secret::new(text)))
            }
        }

        deserializer.deserialize_str(Characters)
    }
}

fn read_object(text: &str) -> Result<Vec<Grant>, ForeignError> {
    let file: File<'_> = serde_json::from_str(text).map_err(|error| not_json(&error))?;
    let mut files = Vec::new();
    if let Some(Entries { entries }) = file.data.and_then(|data| serde_json::from_str(data.get()).ok()) {
        for entry in entries.into_iter().filter(|entry| entry.domain == "ecobee") {
            files.push(serde_json::from_str(entry.data.get()).map_err(|_| ForeignError::NoRefreshToken)?);
        }
    }
    files.push(file);
    let mut grants = Vec::new();
    for File { refresh_token, api_key, .. } in files {
        let Some(Text(token)) = refresh_token.filter(|Text(token)| !token.is_empty()) else { continue };
        let api_key = api_key.map(|Text(key)| Secret::new(key.expose().trim()));
        grants.push(Grant { refresh_token: checked(token)?, api_key: api_key.filter(|key| !key.is_empty()) });
    }
    if grants.is_empty() { Err(ForeignError::NoRefreshToken) } else { Ok(grants) }
}

fn checked(token: Secret) -> Result<Secret, ForeignError> {
    let text = token.expose();
    if text.is_empty() {
        return Err(ForeignError::NoRefreshToken);
    }
    if text.len() > LONGEST_TOKEN
        || text.contains(|letter: char| letter.is_whitespace() || letter.is_control())
    {
        return Err(ForeignError::NotAToken);
    }
    Ok(token)
}

/// The place alone: serde's own words quote the file.
fn not_json(error: &serde_json::Error) -> ForeignError {
    ForeignError::NotJson { line: error.line(), column: error.column() }
}

/// Why there is no refresh token to be had. The sentences go on behind the file's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForeignError {
    /// There is nothing in it.
    Empty,
    /// It is far longer than such a file.
    TooLong,
    /// It is a database, as Python's shelves are.
    Shelf,
    /// It is not UTF-8.
    NotText,
    /// It begins like JSON and is none, or a member has another type.
    NotJson {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
    /// It is sound, and has no refresh token.
    NoRefreshToken,
    /// What should be the token has a space, a line break or a control character in it, or no end.
    NotAToken,
}

impl fmt::Display for ForeignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("is empty; wanted a refresh token, or a client's file with one"),
            Self::TooLong => write!(f, "is longer than {} MiB, and so no client's file", LONGEST / (1024 * 1024)),
            Self::Shelf => f.write_str(
                "is a database, such as pyecobee keeps its shelf in, and only Python can read it; hand over the token \
                 itself: python3 -c 'import shelve; print(shelve.open(\"pyecobee_db\")[\"NAME\"].refresh_token)' | \
                 ecobee-tokend import -",
            ),
            Self::NotText => f.write_str("is no text; wanted a refresh token, or JSON with REFRESH_TOKEN in it"),
            Self::NotJson { line, column } => write!(
                f,
                "begins like JSON, and is not in the form of a client's file (line {line}, column {column})"
            ),
            Self::NoRefreshToken => f.write_str("has no refresh token in it; has the other client ever been authorized?"),
            Self::NotAToken => f.write_str("is neither JSON nor a bare refresh token, which has no spaces and one line"),
        }
    }
}

impl std::error::Error for ForeignError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tokens(text: &str) -> Vec<(String, Option<String>)> {
        let grants = read(text.as_bytes()).unwrap_or_else(|error| panic!("{error}: {text}"));
        let shown = |secret: &Secret| secret.expose().to_owned();
        grants.iter().map(|grant| (shown(&grant.refresh_token), grant.api_key.as_ref().map(shown))).collect()
    }

    fn one(token: &str, key: Option<&str>) -> Vec<(String, Option<String>)> {
        vec![(token.to_owned(), key.map(str::to_owned))]
    }

    #[test]
    fn python_ecobee_apis_file_is_read() {
        let file = r#"{"ACCESS_TOKEN": "a.b.c", "API_KEY": "the-key", "AUTHORIZATION_CODE": "x", "INCLUDE_NOTIFICATIONS":
            false, "PIN": "ABCD", "REFRESH_TOKEN": "v1.r/+="}"#;
        assert_eq!(tokens(file), one("v1.r/+=", Some("the-key")));
    }

    #[test]
    fn home_assistants_entries_are_read_among_all_others() {
        let file = r#"{"version": 1, "key": "core.config_entries", "data": {"entries": [
            {"domain": "other", "data": {"refresh_token": {"not": "ours"}}, "title": "x"},
            {"domain": "ecobee", "data": {"api_key": "k1", "refresh_token": "r1"}},
            {"domain": "ecobee", "data": {"api_key": "k2", "refresh_token": "r2"}}]}}"#;
        assert_eq!(tokens(file), [one("r1", Some("k1")), one("r2", Some("k2"))].concat());
    }

    #[test]
    fn a_bare_token_is_read_with_and_without_quotes_and_line_ends() {
        for text in ["tok-en", "tok-en\n", " tok-en\r\n", "\"tok-en\"\n", "\u{feff}tok-en"] {
            assert_eq!(tokens(text), one("tok-en", None), "{text:?}");
        }
    }

    #[test]
    fn what_holds_no_token_is_refused_with_the_reason_and_not_quoted() {
        for (bytes, reason) in [
            (&b""[..], ForeignError::Empty),
            (b" \n", ForeignError::Empty),
            (b"SQLite format 3\0hunter2", ForeignError::Shelf),
            (b"\xce\x9a\x57\x13\0\0", ForeignError::Shelf),
            (b"\xff\xfehunter2", ForeignError::NotText),
            (b"{\"REFRESH_TOKEN\": \"hunter2\"", ForeignError::NotJson { line: 1, column: 27 }),
            (b"{\"REFRESH_TOKEN\": 5}", ForeignError::NotJson { line: 1, column: 19 }),
            (b"{\"REFRESH_TOKEN\": null}", ForeignError::NoRefreshToken),
            (b"{\"REFRESH_TOKEN\": \"\", \"API_KEY\": \"k\"}", ForeignError::NoRefreshToken),
            (b"{}", ForeignError::NoRefreshToken),
            (b"null\n", ForeignError::NoRefreshToken),
            (b"{\"REFRESH_TOKEN\": \"two words\"}", ForeignError::NotAToken),
            (b"two\nlines", ForeignError::NotAToken),
            (b"REFRESH_TOKEN = hunter2", ForeignError::NotAToken),
        ] {
            let refused = read(bytes).err().unwrap_or_else(|| panic!("taken: {bytes:?}"));
            assert_eq!(refused, reason, "{bytes:?}");
            assert!(!refused.to_string().contains("hunter2"), "{refused}");
        }
        assert_eq!(read("x".repeat(LONGEST + 1).as_bytes()).err(), Some(ForeignError::TooLong));
        assert_eq!(read("x".repeat(LONGEST_TOKEN + 1).as_bytes()).err(), Some(ForeignError::NotAToken));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>()) {
            let _ = read(&bytes);
        }
    }
}
