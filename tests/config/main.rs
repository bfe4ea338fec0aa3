//! What a configuration file may say, what it may not, and how a person is told.

mod accounts;
mod any_input;
mod file;
mod places;
mod ranges;
mod secrets;
mod sections;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use ecobee_tokend::config::{self, ConfigError, Settings, Surroundings};
use tempfile::TempDir;

const KEY: &str = "og2Obost3ucRo1ofo0EDoslGltmFMe2g";
const HOME: &str = "[accounts.home]\napi-key = \"og2Obost3ucRo1ofo0EDoslGltmFMe2g\"\n";

/// A computer with one folder, on which somebody starts the daemon.
struct Computer {
    folder: TempDir,
    uid: u32,
    variables: BTreeMap<&'static str, String>,
}

impl Computer {
    fn of_uid(uid: u32) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        Self { folder, uid, variables: BTreeMap::new() }
    }

    fn of_root() -> Self {
        Self::of_uid(0)
    }

    fn with(mut self, variable: &'static str, value: &str) -> Self {
        self.variables.insert(variable, value.to_owned());
        self
    }

    /// A computer whose `$CREDENTIALS_DIRECTORY` is its only folder.
    fn with_credentials(self) -> Self {
        let folder = self.path("").display().to_string();
        self.with("CREDENTIALS_DIRECTORY", &folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        fs::write(self.path(name), content).expect("a file in the folder");
        self
    }

    fn surroundings(&self) -> Surroundings {
        let variables = self.variables.clone();
        Surroundings { uid: self.uid, env: Box::new(move |name| variables.get(name).map(OsString::from)) }
    }

    fn load_bytes(&self, content: &[u8]) -> Result<Settings, ConfigError> {
        fs::write(self.path("config.toml"), content).expect("a configuration file");
        config::load(&self.path("config.toml"), &self.surroundings())
    }

    fn load(&self, text: &str) -> Settings {
        self.load_bytes(text.as_bytes()).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The message, its folder left out.
    fn refusal(&self, text: impl AsRef<[u8]>) -> String {
        let error = self.load_bytes(text.as_ref()).expect_err("the file is refused");
        error.to_string().replace(&format!("{}/", self.folder.path().display()), "")
    }
}

fn load(text: &str) -> Settings {
    Computer::of_root().load(text)
}

fn refusal(text: &str) -> String {
    Computer::of_root().refusal(text)
}

#[track_caller]
fn assert_refused(cases: &[&str], wanted: &str) {
    for case in cases {
        let message = refusal(case);
        assert!(message.ends_with(wanted), "{case}\n{message}\n{wanted}");
    }
}

const fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}
