//! What the configuration file says, checked: [`load`] makes [`Settings`] of it, or one [`ConfigError`].
//!
//! Past this room there are only [`Duration`]s and absolute paths, every value is within its range, and every key
//! has been read. **A bad file is refused whole**: there are no settings half taken over. **The list of keys is the
//! code that reads them**: a key that no reader asks for is an error, and [`keys`] tells what was asked for. **No
//! message repeats a secret**, nor a value that may hide one.
//!
//! The file itself is explained in `config/config.toml`.

pub mod duration;
mod error;
mod files;
mod reader;
mod sections;
mod surroundings;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::HeaderMap;

use crate::secret::{Secret, SecretBytes};
use crate::url::{BaseUrl, WebhookUrl};

pub use error::ConfigError;
pub use sections::is_account_name;
pub use surroundings::{Environment, OWN_SOCKET, SYSTEM_SOCKET, Surroundings, default_path};

use reader::Document;

/// More than this is no configuration.
const LONGEST_FILE: usize = 1024 * 1024;

/// All that a configuration file decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The file, as an absolute path.
    pub source: PathBuf,
    /// The account that plain `/token` is for: `default-account`, or the only one there is.
    pub default_account: Option<String>,
    /// `[ecobee]`
    pub ecobee: Ecobee,
    /// `[socket]`
    pub socket: Socket,
    /// `[store]`
    pub store: Store,
    /// `[refresh]`
    pub refresh: Refresh,
    /// `[notify]`
    pub notify: Notify,
    /// `[accounts.NAME]` by name, each `[a-z0-9-]{1,32}`; possibly none.
    pub accounts: BTreeMap<String, Account>,
}

/// Where ecobee is and how it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ecobee {
    /// The address that `/authorize` and `/token` are put behind.
    pub url: BaseUrl,
    /// How long one call may take, 5 s to 5 min.
    pub request_timeout: Duration,
    /// Certificates to trust beside the system's, in PEM; not read here.
    pub ca_file: Option<PathBuf>,
}

impl Default for Ecobee {
    fn default() -> Self {
        Self { url: BaseUrl::ecobee(), request_timeout: Duration::from_secs(60), ca_file: None }
    }
}

/// The socket that the daemon makes when systemd hands it none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Where it is.
    pub path: PathBuf,
    /// Its permission bits, at most `0o777`; none for the world unless `allow_world`.
    pub mode: u32,
    /// The name of the group that it is given to.
    pub group: Option<String>,
    /// Whether the world may have permission bits.
    pub allow_world: bool,
}

/// Where grants are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// The folder.
    pub directory: PathBuf,
    /// The key that grants are encrypted with; without one they are not.
    pub key: Option<StoreKey>,
    /// The key of files that were encrypted before: it is read with, and never written with.
    pub previous_key: Option<StoreKey>,
}

/// What a key for the store is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreKey {
    /// 32 to 4096 bytes.
    pub material: SecretBytes,
    /// Where it was read.
    pub source: KeySource,
}

/// A file that holds one secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// A file that the configuration names.
    File(PathBuf),
    /// A credential that systemd hands over.
    Credential {
        /// What the unit calls it.
        name: String,
        /// Where this run finds it.
        path: PathBuf,
    },
}

impl KeySource {
    /// The file to read.
    pub fn path(&self) -> &Path {
        match self {
            Self::File(path) | Self::Credential { path, .. } => path,
        }
    }
}

/// When tokens are renewed, and how trouble is met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refresh {
    /// How long before expiry the refresh window opens, 1 min to 30 min.
    pub ahead: Duration,
    /// The first pause after a failure, 1 s to 1 min.
    pub retry_initial: Duration,
    /// The longest pause between failures, `retry_initial` to 1 h.
    pub retry_max: Duration,
    /// How many refusals in a row make a refresh token dead, 1 to 100.
    pub refusals_before_pin: u32,
}

impl Default for Refresh {
    fn default() -> Self {
        Self {
            ahead: Duration::from_secs(10 * 60),
            retry_initial: Duration::from_secs(5),
            retry_max: Duration::from_secs(5 * 60),
            refusals_before_pin: 3,
        }
    }
}

/// How a person hears that a PIN is to be entered, that trouble began, that it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notify {
    /// Where a message is posted.
    pub webhook: Option<WebhookUrl>,
    /// Header fields to post it with, marked as secret; none of those that frame a message.
    pub webhook_headers: HeaderMap,
    /// Where the bearer token among them was read, if it stands in a file of its own.
    pub webhook_bearer_source: Option<KeySource>,
    /// A command and its arguments; the command is an absolute path.
    pub command: Option<Vec<String>>,
    /// How often a person is told again, 1 h or more.
    pub remind_every: Duration,
}

impl Default for Notify {
    fn default() -> Self {
        Self {
            webhook: None,
            webhook_headers: HeaderMap::new(),
            webhook_bearer_source: None,
            command: None,
            remind_every: Duration::from_secs(24 * 60 * 60),
        }
    }
}

/// One account at ecobee.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// 1 to 4096 characters of visible ASCII.
    pub api_key: Secret,
    /// Where the API key was read.
    pub api_key_source: ApiKeySource,
    /// `smartRead`, `smartWrite` and `ems`, one or more, joined by commas.
    pub scope: String,
    /// Users who may have the token; with `allow_groups` empty too: whoever may connect.
    pub allow_users: Vec<Principal>,
    /// Groups whose members may have the token.
    pub allow_groups: Vec<Principal>,
}

/// Where an API key stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiKeySource {
    /// In the configuration file itself.
    Inline,
    /// In a file of its own.
    Kept(KeySource),
}

/// A user or a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// By name; whether there is such a one is not asked here.
    Name(String),
    /// By number; a string of digits is a number too.
    Id(u32),
}

/// Reads a configuration file, and the key files that it names.
pub fn load(path: &Path, surroundings: &Surroundings) -> Result<Settings, ConfigError> {
    let unreadable = |why: String| ConfigError::Unreadable {
        file: path.to_owned(),
        why,
        wanted: "put the configuration there, readable for the daemon, or name another with --config FILE"
            .to_owned(),
    };
    let file = std::path::absolute(path).map_err(|error| unreadable(format!("is no file name: {error}")))?;
    let bytes = files::read(&file, LONGEST_FILE).map_err(|why| unreadable(why.to_string()))?;
    Settings::read(&Document::new(&file, utf8(&file, &bytes)?, surroundings))
}

/// Every key that a configuration file may have, in full, as `refresh.ahead` or `accounts.NAME.scope`.
///
/// They are learnt by reading a small file and noting what the reader asks for.
pub fn keys() -> BTreeSet<String> {
    let root = Surroundings { uid: 0, env: Box::new(|_| None) };
    let document = Document::new(Path::new("/keys"), "[accounts.name]\napi-key = \"key\"", &root);
    let _ = Settings::read(&document);
    document.asked().iter().map(|key| key.replace("accounts.name.", "accounts.NAME.")).collect()
}

fn utf8<'a>(file: &Path, bytes: &'a [u8]) -> Result<&'a str, ConfigError> {
    std::str::from_utf8(bytes).map_err(|error| {
        let lines_so_far = bytes[..error.valid_up_to()].split(|byte| *byte == b'\n');
        ConfigError::Wrong {
            file: file.to_owned(),
            line: Some(lines_so_far.count()),
            key: None,
            found: "found bytes that are not UTF-8".to_owned(),
            wanted: "wanted UTF-8 text".to_owned(),
        }
    })
}
