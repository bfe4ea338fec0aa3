//! What each section of the file may say: one reader a section, and in it the names, the ranges, the defaults.

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue, TE, TRAILER, TRANSFER_ENCODING,
    UPGRADE,
};
use toml::de::DeValue;

use super::error::ConfigError;
use super::files;
use super::reader::{Document, Entry, Section, at_most_one, whole_number};
use super::{
    Account, ApiKeySource, Ecobee, KeySource, Notify, Principal, Refresh, Settings, Socket, Store, StoreKey,
    duration,
};
use crate::secret::Secret;
use crate::url::{BaseUrl, WebhookUrl};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

impl Settings {
    pub(super) fn read(document: &Document<'_>) -> Result<Self, ConfigError> {
        let [default, ecobee, socket, store, refresh, notify, accounts] = document.parse()?.read([
            "default-account",
            "ecobee",
            "socket",
            "store",
            "refresh",
            "notify",
            "accounts",
        ])?;
        let accounts = read_accounts(accounts.section()?)?;
        Ok(Self {
            source: document.file.to_owned(),
            default_account: read_default_account(&default, &accounts)?,
            ecobee: Ecobee::read(ecobee.section()?)?,
            socket: Socket::read(socket.section()?)?,
            store: Store::read(store.section()?)?,
            refresh: Refresh::read(refresh.section()?)?,
            notify: Notify::read(notify.section()?)?,
            accounts,
        })
    }
}

impl Ecobee {
    fn read(mut section: Section<'_>) -> Result<Self, ConfigError> {
        let [url, request_timeout, ca_file] = section.read(["url", "request-timeout", "ca-file"])?;
        let default = Self::default();
        Ok(Self {
            url: url
                .hidden_if(|text| text.contains(['@', '?']))
                .text(BaseUrl::WANTED, BaseUrl::parse)?
                .unwrap_or(default.url),
            request_timeout: request_timeout
                .duration(5 * SECOND..=5 * MINUTE)?
                .unwrap_or(default.request_timeout),
            ca_file: ca_file.path()?,
        })
    }
}

impl Socket {
    fn read(mut section: Section<'_>) -> Result<Self, ConfigError> {
        let [path, mode, group, allow_world] = section.read(["path", "mode", "group", "allow-world"])?;
        let world = allow_world.boolean()?.unwrap_or(false);
        let bits = mode
            .text("octal digits up to 0777 in quotes, such as \"0660\"", permission_bits)?
            .unwrap_or(0o660);
        if bits & 0o007 != 0 && !world {
            return Err(
                mode.refuse("no permission for the world, such as \"0660\", or allow-world = true beside it")
            );
        }
        let place = path.path()?.or_else(|| section.surroundings().socket());
        Ok(Self {
            path: place.ok_or_else(|| {
                path.wrong(
                    "found nothing, and $XDG_RUNTIME_DIR names no folder",
                    format!(
                        "wanted a path here, or that variable, such as XDG_RUNTIME_DIR=/run/user/{} (a login sets it, su \
                         and cron do not)",
                        section.surroundings().uid
                    ),
                )
            })?,
            mode: bits,
            group: group.text("the name of a group", |text| is_name(text).then(|| text.to_owned()))?,
            allow_world: world,
        })
    }
}

impl Store {
    fn read(mut section: Section<'_>) -> Result<Self, ConfigError> {
        let [directory, credential, file, previous_credential, previous_file] = section.read([
            "directory",
            "key-credential",
            "key-file",
            "previous-key-credential",
            "previous-key-file",
        ])?;
        let place = directory.path()?.or_else(|| section.surroundings().state());
        Ok(Self {
            directory: place.ok_or_else(|| {
                directory.wrong(
                    "found nothing, and none of $STATE_DIRECTORY, $XDG_STATE_HOME and $HOME names a folder",
                    "wanted a folder here, or one of them, such as HOME=/home/alice",
                )
            })?,
            key: read_store_key(&file, &credential)?,
            previous_key: read_store_key(&previous_file, &previous_credential)?,
        })
    }
}

impl Refresh {
    fn read(mut section: Section<'_>) -> Result<Self, ConfigError> {
        let [ahead, retry_initial, retry_max, refusals] =
            section.read(["ahead", "retry-initial", "retry-max", "refusals-before-pin"])?;
        let default = Self::default();
        let initial = retry_initial.duration(SECOND..=MINUTE)?.unwrap_or(default.retry_initial);
        let max = retry_max.duration(SECOND..=HOUR)?.unwrap_or(default.retry_max);
        if max < initial {
            return Err(retry_max
                .refuse(format!("no less than retry-initial, which is {}", duration::Shown(initial))));
        }
        Ok(Self {
            ahead: ahead.duration(MINUTE..=30 * MINUTE)?.unwrap_or(default.ahead),
            retry_initial: initial,
            retry_max: max,
            refusals_before_pin: refusals.number(1..=100)?.unwrap_or(default.refusals_before_pin),
        })
    }
}

impl Notify {
    fn read(mut section: Section<'_>) -> Result<Self, ConfigError> {
        let [webhook, headers, bearer_file, bearer_credential, command, remind_every] = section.read([
            "webhook",
            "webhook-headers",
            "webhook-bearer-file",
            "webhook-bearer-credential",
            "command",
            "remind-every",
        ])?;
        let mut webhook_headers = read_headers(headers)?;
        let webhook_bearer_source = read_bearer(&bearer_file, &bearer_credential, &mut webhook_headers)?;
        Ok(Self {
            webhook: webhook.hidden().text(WebhookUrl::WANTED, WebhookUrl::parse)?,
            webhook_headers,
            webhook_bearer_source,
            command: read_command(&command)?,
            remind_every: remind_every
                .duration(HOUR..=duration::LONGEST)?
                .unwrap_or(Self::default().remind_every),
        })
    }
}

impl Account {
    fn read(mut section: Section<'_>) -> Result<Self, ConfigError> {
        let [file, credential, inline, scope, allow_users, allow_groups] = section.read([
            "api-key-file",
            "api-key-credential",
            "api-key",
            "scope",
            "allow-users",
            "allow-groups",
        ])?;
        at_most_one(&[&file, &credential, &inline])?;
        let inline = inline.hidden();
        let (api_key, api_key_source) = if let Some((entry, source)) = read_key_source(&file, &credential)? {
            (read_secret(entry, &source, "an API key")?, ApiKeySource::Kept(source))
        } else if let Some(key) = inline.text("an API key in quotes", |text| Some(Secret::new(text)))? {
            let checked = files::checked_secret(key.expose().as_bytes());
            (
                checked.map_err(|why| inline.wrong(format!("the key {why}"), "wanted an API key"))?,
                ApiKeySource::Inline,
            )
        } else {
            return Err(
                section.wrong("found no API key", "wanted one of api-key-file, api-key-credential, api-key")
            );
        };
        Ok(Self {
            api_key,
            api_key_source,
            scope: scope
                .text(
                    "smartRead, smartWrite, ems or several of them, joined by commas without spaces",
                    |text| is_scope(text).then(|| text.to_owned()),
                )?
                .unwrap_or_else(|| "smartWrite".to_owned()),
            allow_users: read_principals(&allow_users)?,
            allow_groups: read_principals(&allow_groups)?,
        })
    }
}

fn read_accounts(section: Section<'_>) -> Result<BTreeMap<String, Account>, ConfigError> {
    let account = |(name, entry): (String, Entry<'_>)| {
        if !is_account_name(&name) {
            return Err(
                entry.wrong("not a name for an account", "wanted 1 to 32 of the characters a-z, 0-9 and -")
            );
        }
        Ok((name, Account::read(entry.section()?)?))
    };
    section.free_entries().into_iter().map(account).collect()
}

/// The only account needs no default to be the default.
fn read_default_account(
    entry: &Entry<'_>,
    accounts: &BTreeMap<String, Account>,
) -> Result<Option<String>, ConfigError> {
    let names: Vec<_> = accounts.keys().map(String::as_str).collect();
    let wanted = match names[..] {
        [] => "the name of an account, and the file has none yet: add a section [accounts.NAME]".to_owned(),
        _ => format!("the name of an account of this file: {}", names.join(", ")),
    };
    let given = entry.text(wanted, |text| accounts.contains_key(text).then(|| text.to_owned()))?;
    Ok(given.or_else(|| if let [only] = names[..] { Some(only.to_owned()) } else { None }))
}

/// Which of two keys names the file of a secret, and which file.
fn read_key_source<'e, 'a>(
    file: &'e Entry<'a>,
    credential: &'e Entry<'a>,
) -> Result<Option<(&'e Entry<'a>, KeySource)>, ConfigError> {
    at_most_one(&[file, credential])?;
    if let Some(path) = file.path()? {
        return Ok(Some((file, KeySource::File(path))));
    }
    let name = credential.text("the name of a credential, without a slash", |text| {
        let is_file_name =
            !matches!(text, "" | "." | "..") && !text.contains('/') && !text.contains(char::is_control);
        is_file_name.then(|| text.to_owned())
    })?;
    let Some(name) = name else { return Ok(None) };
    let folder = credential.surroundings().credentials().ok_or_else(|| {
        credential.wrong(
            "found a credential, but $CREDENTIALS_DIRECTORY is not set",
            "wanted a start by a systemd unit with LoadCredential= or LoadCredentialEncrypted=, or a file instead",
        )
    })?;
    Ok(Some((credential, KeySource::Credential { path: folder.join(&name), name })))
}

fn read_secret(entry: &Entry<'_>, source: &KeySource, what: &str) -> Result<Secret, ConfigError> {
    let path = source.path();
    files::read_secret(path).map_err(|why| {
        entry
            .wrong(format!("{} {why}", path.display()), format!("wanted a file with {what} and nothing else"))
    })
}

fn read_store_key(file: &Entry<'_>, credential: &Entry<'_>) -> Result<Option<StoreKey>, ConfigError> {
    let Some((entry, source)) = read_key_source(file, credential)? else {
        return Ok(None);
    };
    let path = source.path().display().to_string();
    let material = files::read_key_material(source.path()).map_err(|why| {
        let wanted = "wanted a key of 32 random bytes or more, such as `openssl rand -hex 32` or `head -c 32 \
                      /dev/urandom` makes";
        entry.wrong(format!("{path} {why}"), wanted)
    })?;
    Ok(Some(StoreKey { material, source }))
}

/// What HTTP itself says with header fields is not the user's to say.
const OF_HTTP: [HeaderName; 6] = [CONNECTION, CONTENT_LENGTH, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];

fn read_headers(headers: Entry<'_>) -> Result<HeaderMap, ConfigError> {
    let section = headers.hidden().section()?;
    let mut read = HeaderMap::new();
    for (name, entry) in section.free_entries() {
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else {
            let wanted = "wanted the name of an HTTP header field, such as Authorization";
            return Err(entry
                .of_section("notify.webhook-headers")
                .wrong("found a name that HTTP does not know", wanted));
        };
        if OF_HTTP.contains(&name) {
            return Err(entry.wrong("found a header field that HTTP itself sets", "wanted it left out"));
        }
        if read.contains_key(&name) {
            return Err(entry.wrong("found the same header field twice", "wanted it once, in whatever case"));
        }
        let wanted = "the value of an HTTP header field: visible ASCII and spaces";
        let value = entry.hidden().text(wanted, secret_value)?;
        read.extend(value.map(|value| (name, value)));
    }
    Ok(read)
}

/// A bearer token from a file or a credential becomes one of the header fields; comes back with where it was read.
fn read_bearer(
    file: &Entry<'_>,
    credential: &Entry<'_>,
    headers: &mut HeaderMap,
) -> Result<Option<KeySource>, ConfigError> {
    let Some((entry, source)) = read_key_source(file, credential)? else {
        return Ok(None);
    };
    if headers.contains_key(AUTHORIZATION) {
        return Err(
            entry.wrong("stands beside an Authorization in webhook-headers", "wanted only one of the two")
        );
    }
    let token = read_secret(entry, &source, "a bearer token")?;
    let value = secret_value(Secret::new(format!("Bearer {}", token.expose())).expose());
    headers.extend(value.map(|value| (AUTHORIZATION, value)));
    Ok(Some(source))
}

/// A header field's value that no debugger sees.
fn secret_value(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn read_command(entry: &Entry<'_>) -> Result<Option<Vec<String>>, ConfigError> {
    let wanted = "a list of strings that begins with the absolute path of a command, such as [\"/usr/bin/logger\", \"-s\"]";
    let Some(elements) = entry.elements(wanted)? else {
        return Ok(None);
    };
    let word = |text: &str| (!text.contains('\0')).then(|| text.to_owned());
    let mut words = Vec::new();
    for element in elements {
        let is_command = words.is_empty();
        if is_command {
            element.refuse_tilde()?;
        }
        words.extend(
            element.text(wanted, |text| word(text).filter(|word| !is_command || word.starts_with('/')))?,
        );
    }
    if words.is_empty() {
        Err(entry.wrong("found an empty list", format!("wanted {wanted}")))
    } else {
        Ok(Some(words))
    }
}

/// An empty list could be meant for nobody and for everybody, so it is refused.
fn read_principals(entry: &Entry<'_>) -> Result<Vec<Principal>, ConfigError> {
    let Some(elements) = entry.elements("a list of names or numbers, such as [\"alice\", 1000]")? else {
        return Ok(Vec::new());
    };
    if elements.is_empty() {
        return Err(entry.wrong(
            "found an empty list",
            "wanted at least one name or number; without the key, whoever may connect",
        ));
    }
    let principal = |element: Entry<'_>| element.value("a name, or a number below 4294967295", principal);
    elements.into_iter().filter_map(|element| principal(element).transpose()).collect()
}

fn principal(value: &DeValue<'_>) -> Option<Principal> {
    let number = match value.as_str() {
        Some(text) if !text.bytes().all(|byte| byte.is_ascii_digit()) => {
            return is_name(text).then(|| Principal::Name(text.to_owned()));
        }
        Some(digits) => digits.parse().ok(),
        None => whole_number(value),
    };
    number.filter(|id| *id != u32::MAX).map(Principal::Id)
}

/// What a line of `/etc/passwd` or `/etc/group` can begin with.
fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.trim() == text
        && !text.contains(|c: char| c.is_control() || matches!(c, ':' | ','))
}

/// Whether an account can have this name: 1 to 32 of a-z, 0-9 and -.
pub fn is_account_name(name: &str) -> bool {
    let sound = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=32).contains(&name.len()) && name.bytes().all(sound)
}

fn is_scope(text: &str) -> bool {
    let parts: Vec<_> = text.split(',').collect();
    let known = parts.iter().all(|part| ["smartRead", "smartWrite", "ems"].contains(part));
    known && parts.iter().enumerate().all(|(i, part)| !parts[..i].contains(part))
}

fn permission_bits(text: &str) -> Option<u32> {
    let octal = !text.is_empty() && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    u32::from_str_radix(text, 8).ok().filter(|bits| octal && *bits <= 0o777)
}
