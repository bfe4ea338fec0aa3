//! What the files in the folder are called, and what a name says of its file. Knows no disk.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::error::StoreError;
use crate::clock::Reading;

/// Why a file is moved aside, which its name says from then on.
#[derive(Clone, Copy)]
pub(super) enum Aside {
    Broken,
    OtherKey,
    Replaced,
}

/// What the name of a file in the folder says of it.
pub(super) enum Called {
    /// It is this account's, or a save of this account that was cut off.
    Account(String),
    /// It was moved aside.
    Aside,
    /// It was to take the place of one that was moved aside, and is a copy of it.
    AsideLeftover,
    /// It is none of ours.
    Strange,
}

impl Aside {
    const ALL: [Self; 3] = [Self::Broken, Self::OtherKey, Self::Replaced];

    /// What stands between `NAME.json` and the date.
    const fn mark(self) -> &'static str {
        match self {
            Self::Broken => ".broken-",
            Self::OtherKey => ".other-key-",
            Self::Replaced => ".replaced-",
        }
    }

    /// What the file is called then. The date is that of UTC, without the colons that some tools stumble over.
    pub(super) fn path(self, file: &Path, now: &Reading) -> PathBuf {
        let date = jiff::Timestamp::from_millisecond(now.wall_millis)
            .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
            .strftime("%Y%m%dT%H%M%SZ");
        let mut path = OsString::from(file);
        path.push(format!("{}{date}", self.mark()));
        PathBuf::from(path)
    }
}

/// The file of this account, whether there is one or not.
pub(super) fn path_of(directory: &Path, account: &str) -> Result<PathBuf, StoreError> {
    if is_account(account) {
        Ok(directory.join(format!("{account}.json")))
    } else {
        Err(StoreError::Name { account: account.to_owned() })
    }
}

/// Whether an account can have this name. The configuration checks names too, but `forget` is given names that no configuration has.
fn is_account(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=32).contains(&name.len()) && name.bytes().all(fits)
}

/// The temporary file that is to take the place of this one. No account's name has a dot, so it is no account's file.
pub(super) fn temporary_of(file: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(file.file_name().unwrap_or_default());
    name.push(".new");
    file.with_file_name(name)
}

/// What the name of a file in the folder says of it.
pub(super) fn called(name: &str) -> Called {
    let (plain, leftover) = match name.strip_prefix('.').and_then(|rest| rest.strip_suffix(".new")) {
        Some(inner) => (inner, true),
        None => (name, false),
    };
    match plain.split_once(".json") {
        Some((account, "")) if is_account(account) => Called::Account(account.to_owned()),
        Some((account, rest))
            if is_account(account) && Aside::ALL.iter().any(|aside| rest.starts_with(aside.mark())) =>
        {
            if leftover {
                Called::AsideLeftover
            } else {
                Called::Aside
            }
        }
        Some(_) | None => Called::Strange,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_files_of_accounts_are_called_ours() {
        assert!(matches!(called("home.json"), Called::Account(account) if account == "home"));
        assert!(matches!(called(".home.json.new"), Called::Account(account) if account == "home"));
        for aside in ["home.json.broken-20260101T000000Z", "a-1.json.other-key-x", "home.json.replaced-x-2"] {
            assert!(matches!(called(aside), Called::Aside), "{aside}");
            assert!(matches!(called(&format!(".{aside}.new")), Called::AsideLeftover), "{aside}");
        }
        for strange in
            ["Home.json", ".json", "HOME.json.broken-x", ".json.broken-x", "home.json.orig", "home", "lock"]
        {
            assert!(matches!(called(strange), Called::Strange), "{strange}");
        }
    }
}
