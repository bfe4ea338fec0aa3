//! What a start would do, in words: for whoever has written a configuration and wants to know what comes of it.
//!
//! **Nothing is changed**: files are looked at, and the socket is not knocked at, for that would start a service that
//! waits behind it. **No secret is told**, nor more of a webhook's address than its host.

use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use super::RunError;
use super::fittings::{Fittings, socket_group};
use crate::config::{Account, ApiKeySource, KeySource, Principal, Settings, StoreKey, duration};
use crate::people;
use crate::store::{self, Key};

/// The length of the API keys that ecobee gives out.
const USUAL_KEY: usize = 32;

/// A configuration that is good, and what it comes to.
#[derive(Debug)]
pub struct Outline {
    /// What an administrator should mend, though the daemon runs.
    pub warnings: Vec<String>,
    /// What a start would do: what it is about, and a sentence.
    pub plan: Vec<(String, String)>,
}

/// Holds what the configuration names against this machine, and changes nothing. What is wrong and keeps no daemon from
/// running comes back as warnings.
pub fn check(settings: Settings) -> Result<Outline, RunError> {
    socket_group(&settings)?;
    let fittings = Fittings::of(settings)?;
    let settings = &fittings.settings;
    let mut plan: Vec<_> = settings
        .accounts
        .iter()
        .map(|(name, account)| (format!("account {name}"), of_account(settings, name, account)))
        .collect();
    if plan.is_empty() {
        let sentence =
            "none yet: add an [accounts.NAME] table with an API key; until then the daemon runs and waits";
        plan.push(("accounts".to_owned(), sentence.to_owned()));
    }
    let mut say = |what: &str, sentence| plan.push((what.to_owned(), sentence));
    say("socket", of_socket(settings));
    say("store", of_store(&fittings));
    say("ecobee", of_ecobee(&fittings));
    say("notify", of_notify(&fittings));
    let mut warnings = refusals(&fittings);
    warnings.extend(oddities(settings));
    warnings.splice(..0, fittings.warnings);
    Ok(Outline { warnings, plan })
}

/// What would end a start. It may be mended before one, and so keeps nobody from reading the rest.
fn refusals(fittings: &Fittings) -> Vec<String> {
    let settings = &fittings.settings;
    let accounts = settings.accounts.keys().map(String::as_str);
    store::refusals(&settings.store.directory, &fittings.keys, accounts)
        .into_iter()
        .map(|error| format!("a start would end with {}: {error}", error.exit_status()))
        .collect()
}

/// What works, or may, and is probably not meant. A start says nothing of it: there it may be known and wanted.
fn oddities(settings: &Settings) -> Vec<String> {
    let odd_keys = settings.accounts.iter().filter_map(|(name, account)| {
        let length = account.api_key.expose().len();
        (length != USUAL_KEY).then(|| {
            format!(
                "accounts.{name}: the API key has {length} characters, and ecobee's have {USUAL_KEY}; compare it with the \
                 one at ecobee.com, Developer"
            )
        })
    });
    let mut found: Vec<String> = odd_keys.collect();
    if settings.accounts.len() > 1 && settings.default_account.is_none() {
        found.push(
            "default-account: not set, and there are several accounts: requests that name none (plain /token, \
             ecobee-token without --account) will be refused"
                .to_owned(),
        );
    }
    if let Some(program) = settings.notify.command.as_ref().and_then(|command| command.first())
        && let Err(why) = may_be_run(Path::new(program))
    {
        found.push(format!("notify.command: {program}: {why}; nobody will be told this way"));
    }
    found
}

/// Whether there is a program to run, for somebody at least: the daemon may be another user than the one who looks.
fn may_be_run(program: &Path) -> Result<(), String> {
    match fs::metadata(program) {
        Ok(about) if !about.is_file() => Err("is not a file".to_owned()),
        Ok(about) if about.mode() & 0o111 == 0 => {
            Err(format!("may not be run (mode {:04o}); chmod +x it", about.mode() & 0o7777))
        }
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Err("is not there".to_owned()),
        Err(error) => Err(format!("cannot be looked at: {error}")),
    }
}

fn of_account(settings: &Settings, name: &str, account: &Account) -> String {
    let key = match &account.api_key_source {
        ApiKeySource::Inline => format!("API key in {}", PathAndRights(&settings.source)),
        ApiKeySource::Kept(source) => format!("API key from {}", in_words(source)),
    };
    let list = |principals: &[Principal]| {
        let words: Vec<_> = principals
            .iter()
            .map(|principal| match principal {
                Principal::Name(name) => name.clone(),
                Principal::Id(id) => id.to_string(),
            })
            .collect();
        words.join(", ")
    };
    let admitted = match (&account.allow_users[..], &account.allow_groups[..]) {
        ([], []) => "whoever may connect".to_owned(),
        (users, []) => format!("the users {}", list(users)),
        ([], groups) => format!("the groups {}", list(groups)),
        (users, groups) => format!("the users {} and the groups {}", list(users), list(groups)),
    };
    let default =
        if settings.default_account.as_deref() == Some(name) { "; the default account" } else { "" };
    format!("{key}; scope {}; for {admitted}{default}", account.scope)
}

fn of_socket(settings: &Settings) -> String {
    let socket = &settings.socket;
    let group = socket.group.as_deref().map(|group| format!(", group {group}")).unwrap_or_default();
    let there = match fs::symlink_metadata(&socket.path) {
        Ok(about) if about.file_type().is_socket() => format!("there is one now: {}", Rights(&about)),
        Ok(about) => {
            format!("something else stands there now, and keeps a start from making it: {}", Rights(&about))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => "not there now".to_owned(),
        Err(error) => format!("cannot be looked at: {error}"),
    };
    format!(
        "{}, mode {:04o}{group}, unless systemd hands one over, as the packaged units do; {there}",
        socket.path.display(),
        socket.mode
    )
}

fn of_store(fittings: &Fittings) -> String {
    let settings = &fittings.settings;
    let key = |key: Option<&Key>, given: &Option<StoreKey>| {
        let (key, given) = key.zip(given.as_ref())?;
        Some(format!("the key {} from {}", key.id(), in_words(&given.source)))
    };
    let today = key(fittings.keys.today(), &settings.store.key);
    let previous = key(fittings.keys.previous(), &settings.store.previous_key);
    let sealed = match (today, previous) {
        (None, None) => "not encrypted".to_owned(),
        (Some(today), None) => format!("encrypted with {today}"),
        (Some(today), Some(previous)) => {
            format!("encrypted with {today}; what {previous} opens is encrypted anew at a start")
        }
        (None, Some(previous)) => {
            format!("not encrypted; what {previous} opens is not any more after a start")
        }
    };
    let directory = &settings.store.directory;
    let grants = match store::stored_in(directory) {
        Ok(names) if names.is_empty() => "no grant in it".to_owned(),
        Ok(names) => format!("grants of {}", names.join(", ")),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            "made at the first start, with mode 0700".to_owned()
        }
        Err(error) => format!("cannot be listed: {error}"),
    };
    format!("{}; {sealed}; {grants}", PathAndRights(directory))
}

fn of_ecobee(fittings: &Fittings) -> String {
    let ecobee = &fittings.settings.ecobee;
    let way = match fittings.roads.proxy_to(ecobee.url.uri()) {
        None => "no proxy".to_owned(),
        Some(proxy) => format!("by the proxy {proxy} of the environment"),
    };
    let trust = ecobee.ca_file.as_ref();
    let trust = trust.map(|file| {
        format!("; beside the system's, the certificates in {} are believed", PathAndRights(file))
    });
    format!("{}, {way}{}", ecobee.url, trust.unwrap_or_default())
}

fn of_notify(fittings: &Fittings) -> String {
    let notify = &fittings.settings.notify;
    let mut ways = Vec::new();
    if let Some(webhook) = &fittings.ways.webhook {
        let bearer = notify.webhook_bearer_source.as_ref();
        let bearer = bearer.map(|source| format!(" with the bearer from {}", in_words(source)));
        let proxy = notify.webhook.as_ref().and_then(|url| fittings.roads.proxy_to(url.expose()));
        let proxy = proxy.map(|proxy| format!(" by the proxy {proxy}"));
        ways.push(format!("{webhook}{}{}", bearer.unwrap_or_default(), proxy.unwrap_or_default()));
    }
    if let Some(program) = notify.command.as_ref().and_then(|command| command.first()) {
        ways.push(format!("command {}", PathAndRights(Path::new(program))));
    }
    if ways.is_empty() {
        return "nobody is told of anything; the log and the service's status show the PIN".to_owned();
    }
    format!("{}; again every {}", ways.join(" and "), duration::Shown(notify.remind_every))
}

fn in_words(source: &KeySource) -> String {
    match source {
        KeySource::File(path) => PathAndRights(path).to_string(),
        KeySource::Credential { name, .. } => format!("systemd's credential {name}"),
    }
}

/// A path, and who may do what with what is there.
struct PathAndRights<'a>(&'a Path);

impl fmt::Display for PathAndRights<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.display())?;
        match fs::metadata(self.0) {
            Ok(about) => write!(f, " ({})", Rights(&about)),
            Err(error) if error.kind() == ErrorKind::NotFound => f.write_str(" (not there now)"),
            Err(error) => write!(f, " (cannot be looked at: {error})"),
        }
    }
}

/// As `ls -l` tells them, with the mode in octal.
struct Rights<'a>(&'a fs::Metadata);

impl fmt::Display for Rights<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (uid, gid) = (self.0.uid(), self.0.gid());
        let user = people::name_of_user(uid).unwrap_or_else(|| uid.to_string());
        let group = people::name_of_group(gid).unwrap_or_else(|| gid.to_string());
        write!(f, "{user}:{group}, mode {:04o}", self.0.mode() & 0o7777)
    }
}
