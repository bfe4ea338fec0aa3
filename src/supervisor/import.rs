//! A grant from another client: its refresh token becomes ours.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::RunError;
use super::fittings::{Fittings, Tenant};
use crate::clock::Reading;
use crate::config::Settings;
use crate::foreign::{self, ForeignError};
use crate::keeper::{Record, StoredGrant};
use crate::store::{Store, StoreError};

/// A grant has been taken over.
#[derive(Debug, PartialEq, Eq)]
pub struct Imported {
    /// The account that has it now.
    pub account: String,
    /// Where the grant that nobody could use any more is kept.
    pub replaced: Option<PathBuf>,
    /// What a person should read of.
    pub notes: Vec<String>,
}

/// Why none was taken over.
#[derive(Debug)]
pub enum ImportError {
    /// The configuration or the store cannot be used.
    Run(RunError),
    /// There are several accounts, none or others, so that it has to be said which.
    Account(String),
    /// What was read has no refresh token.
    Foreign(ForeignError),
    /// It belongs to another API key than the account.
    OtherKey {
        /// The account.
        account: String,
    },
    /// It has several grants that could be meant.
    Several,
    /// The account has a grant that is in use.
    Living {
        /// The account.
        account: String,
    },
}

impl ImportError {
    /// The exit status for it.
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Run(error) => error.exit_status(),
            Self::Account(_) => 2,
            Self::Foreign(_) | Self::OtherKey { .. } | Self::Several | Self::Living { .. } => 1,
        }
    }
}

/// Puts the refresh token that `bytes` hold, another client's file or the bare token, in the store as the grant of
/// `account`, or of the default account.
///
/// Its next start trades it for an access token before it serves. A grant that still counts as good is never replaced;
/// one that has been refused too often is kept aside.
pub fn import(settings: Settings, account: Option<&str>, bytes: &[u8]) -> Result<Imported, ImportError> {
    let Fittings { settings, policy, tenants, keys, .. } =
        Fittings::of(settings).map_err(ImportError::Run)?;
    let (name, tenant) = account_of(&settings, &tenants, account)?;
    let grants = foreign::read(bytes).map_err(ImportError::Foreign)?;
    let mut fitting =
        grants.into_iter().filter(|grant| grant.api_key.as_ref().is_none_or(|key| *key == tenant.api_key));
    let grant = fitting.next().ok_or_else(|| ImportError::OtherKey { account: name.to_owned() })?;
    if fitting.next().is_some() {
        return Err(ImportError::Several);
    }

    let stored = |error: StoreError| ImportError::Run(RunError::Store(error));
    let now = Reading::take();
    let (store, folder_notes) = Store::open_with(&settings.store.directory, keys).map_err(stored)?;
    let loaded = store.load(name, &tenant.fingerprint, &now).map_err(stored)?;
    let notes = folder_notes.iter().chain(&loaded.notes).filter(|note| note.is_warning());
    let notes = notes.map(ToString::to_string).collect();
    let before = loaded.record.unwrap_or_default();
    let mut replaced = None;
    if let Some(old) = &before.grant {
        if old.refusals < policy.refusals_before_pin && !old.refresh_token.is_empty() {
            return Err(ImportError::Living { account: name.to_owned() });
        }
        replaced = store.set_aside(name, &now).map_err(stored)?;
    }
    let record = Record {
        grant: Some(StoredGrant {
            access: None,
            refresh_token: grant.refresh_token,
            previous: None,
            refusals: 0,
            // Whoever had it before us may have used it for tokens that we know nothing of.
            refresh_sent: true,
            disbelieved: false,
        }),
        pin: None,
        // People who wait for a PIN are to hear that it is over.
        told: before.told,
    };
    store.encode(name, &tenant.fingerprint, &record, &now).write().map_err(stored)?;
    Ok(Imported { account: name.to_owned(), replaced, notes })
}

/// The account that is meant.
fn account_of<'a>(
    settings: &Settings,
    tenants: &'a BTreeMap<String, Tenant>,
    account: Option<&str>,
) -> Result<(&'a str, &'a Tenant), ImportError> {
    let source = settings.source.display();
    if tenants.is_empty() {
        return Err(ImportError::Run(RunError::Unsupported(format!(
            "{source}: there is no account yet; add an [accounts.NAME] table with the API key of the other client"
        ))));
    }
    let known = tenants.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    let Some(name) = account.or(settings.default_account.as_deref()) else {
        return Err(ImportError::Account(format!("which account? Say --account with one of {known}")));
    };
    match tenants.get_key_value(name) {
        Some((name, tenant)) => Ok((name, tenant)),
        None => Err(ImportError::Account(format!("--account: {name} is none of those in {source}: {known}"))),
    }
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(error) => error.fmt(f),
            Self::Account(sentence) => f.write_str(sentence),
            Self::Foreign(error) => error.fmt(f),
            Self::OtherKey { account } => write!(
                f,
                "belongs to another API key than accounts.{account}, and a grant is of no use without its key; give the \
                 account the old client's API_KEY"
            ),
            Self::Several => {
                f.write_str("has several grants that fit; hand over the one that is meant by itself")
            }
            Self::Living { account } => write!(
                f,
                "not taken over, for {account} has a grant that counts as good; should the other really take its place, \
                 delete it first: ecobee-tokend forget {account}"
            ),
        }
    }
}

impl std::error::Error for ImportError {}
