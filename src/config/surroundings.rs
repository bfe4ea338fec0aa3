//! What the process finds around it, and the places that follow from it.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use super::error::ConfigError;

/// A process environment: the value of a variable, if it is set.
pub type Environment = Box<dyn Fn(&str) -> Option<OsString> + Send + Sync>;

/// The socket of a daemon that root or a user of the system's runs.
pub const SYSTEM_SOCKET: &str = "/run/ecobee-tokend/socket";

/// The socket of a person's daemon, below `$XDG_RUNTIME_DIR`.
pub const OWN_SOCKET: &str = "ecobee-tokend/socket";

/// Who runs the daemon, and with which environment. Tests make their own.
pub struct Surroundings {
    /// The effective user id.
    pub uid: u32,
    /// The environment variables.
    pub env: Environment,
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").field("uid", &self.uid).finish_non_exhaustive()
    }
}

impl Surroundings {
    /// Those of this process.
    pub fn of_this_process() -> Self {
        Self { uid: rustix::process::geteuid().as_raw(), env: Box::new(|name| std::env::var_os(name)) }
    }

    /// A person, as opposed to root, a system user, `nobody` or one of systemd's dynamic users.
    fn is_person(&self) -> bool {
        self.uid >= 1000 && self.uid != 65534 && !(61184..=65519).contains(&self.uid)
    }

    /// A variable that is taken only if it holds an absolute path, as the XDG specification asks.
    fn folder(&self, variable: &str) -> Option<PathBuf> {
        (self.env)(variable).map(PathBuf::from).filter(|path| path.is_absolute())
    }

    /// What a shell makes of `~/below`.
    pub(super) fn in_home(&self, below: &str) -> Option<PathBuf> {
        Some(self.folder("HOME")?.join(below).components().collect())
    }

    /// [`SYSTEM_SOCKET`]; a person's is [`OWN_SOCKET`], if `$XDG_RUNTIME_DIR` is set.
    pub(super) fn socket(&self) -> Option<PathBuf> {
        if self.is_person() {
            Some(self.folder("XDG_RUNTIME_DIR")?.join(OWN_SOCKET))
        } else {
            Some(PathBuf::from(SYSTEM_SOCKET))
        }
    }

    /// The first folder of `$STATE_DIRECTORY`, else `/var/lib/ecobee-tokend`; a person's is in `$XDG_STATE_HOME`.
    pub(super) fn state(&self) -> Option<PathBuf> {
        if let Some(given) = self.state_directory() {
            return Some(given);
        }
        if self.is_person() {
            let home = self.folder("XDG_STATE_HOME").or_else(|| self.in_home(".local/state"))?;
            Some(home.join("ecobee-tokend"))
        } else {
            Some(PathBuf::from("/var/lib/ecobee-tokend"))
        }
    }

    /// systemd joins several state folders with colons.
    fn state_directory(&self) -> Option<PathBuf> {
        let list = (self.env)("STATE_DIRECTORY")?;
        let first = list.as_bytes().split(|byte| *byte == b':').next()?;
        Some(PathBuf::from(OsString::from_vec(first.to_vec()))).filter(|path| path.is_absolute())
    }

    /// Where systemd puts the credentials of a unit that has any.
    pub(super) fn credentials(&self) -> Option<PathBuf> {
        self.folder("CREDENTIALS_DIRECTORY")
    }
}

/// The configuration that is read when no other is named: `/etc/ecobee-tokend/config.toml`, or for an ordinary
/// user `$XDG_CONFIG_HOME/ecobee-tokend/config.toml` (`~/.config` where that variable is not set).
pub fn default_path(surroundings: &Surroundings) -> Result<PathBuf, ConfigError> {
    if !surroundings.is_person() {
        return Ok(PathBuf::from("/etc/ecobee-tokend/config.toml"));
    }
    let home = surroundings.folder("XDG_CONFIG_HOME").or_else(|| surroundings.in_home(".config"));
    Ok(home.ok_or(ConfigError::NoDefaultPath)?.join("ecobee-tokend/config.toml"))
}
