//! What is wrong with a configuration, in one sentence that a person can act on.

use std::fmt;
use std::path::PathBuf;

/// Why there are no settings. Reads as `FILE:LINE: KEY: what was found; what is wanted`, and never shows a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// An ordinary user's surroundings do not tell where the configuration is.
    NoDefaultPath,
    /// The file cannot be read.
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why not; reads on behind the file's name.
        why: String,
        /// What to do.
        wanted: String,
    },
    /// The file was read and says something that cannot be.
    Wrong {
        /// The file.
        file: PathBuf,
        /// Counted from 1; `None` for something that is missing from the whole file.
        line: Option<usize>,
        /// The full dotted path, such as `refresh.ahead`; `None` where a syntax error hides it.
        key: Option<String>,
        /// What stands there.
        found: String,
        /// What should.
        wanted: String,
    },
}

impl ConfigError {
    /// The exit status for it: `EX_CONFIG` of sysexits(3). The units have systemd not try again.
    pub const EXIT_STATUS: u8 = 78;
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDefaultPath => f.write_str(
                "configuration: neither $XDG_CONFIG_HOME nor $HOME is an absolute path; set one, such as HOME=/home/alice, or \
                 name the file with --config FILE",
            ),
            Self::Unreadable { file, why, wanted } => write!(f, "{}: {why}; {wanted}", file.display()),
            Self::Wrong { file, line, key, found, wanted } => {
                write!(f, "{}", file.display())?;
                if let Some(line) = line {
                    write!(f, ":{line}")?;
                }
                if let Some(key) = key {
                    write!(f, ": {key}")?;
                }
                write!(f, ": {found}; {wanted}")
            }
        }
    }
}

impl std::error::Error for ConfigError {}
