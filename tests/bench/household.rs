//! Accounts with a grant each that lies in the store already, so that nobody needs to enter a PIN.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ecobee_simulator::{Grant, Options};
use ecobee_tokend::clock::{self, Reading};
use ecobee_tokend::keeper::{AccessToken, Record, StoredAccess, StoredGrant, Tidings, Window};
use ecobee_tokend::secret::Secret;
use ecobee_tokend::store::{Fingerprint, Store};
use serde_json::Value;

use crate::harness::{Daemon, KEY, Stage};

/// The scope of all grants.
const SCOPE: &str = "smartWrite";

/// How long before its expiry a token is refreshed, as the configuration says where it says nothing.
const AHEAD: Duration = Duration::from_secs(600);

/// What lies in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// Tokens that live.
    Alive,
    /// Refresh tokens only: each account asks for a new access token at once.
    Due,
}

/// A stage and its accounts.
pub(crate) struct Household {
    pub(crate) stage: Stage,
    /// The bytes of an account's tokens.
    pub(crate) bytes_of_tokens: usize,
}

impl Household {
    /// The account `home`, at a simulator with these options.
    pub(crate) fn of_one(options: Options) -> Self {
        Self::new(options, &["home".to_owned()], Stored::Alive)
    }

    /// These accounts. All have one API key.
    pub(crate) fn new(options: Options, names: &[String], stored: Stored) -> Self {
        let lifetime = options.lifetime;
        let stage = Stage::new(options).accounts_with_one_key(names, KEY).trusting();
        stage.config();
        let bytes_of_tokens = furnish(&stage, names, stored, lifetime);
        Self { stage, bytes_of_tokens }
    }

    /// The daemon, with what it logs where nobody says anything; until it says that it is ready.
    pub(crate) fn start(&self) -> Daemon {
        self.start_under(&[])
    }

    /// The same, within another program.
    pub(crate) fn start_under(&self, around: &[String]) -> Daemon {
        let around: Vec<&str> = around.iter().map(String::as_str).collect();
        let folder = self.stage.folder.path();
        let (config, socket) = (folder.join("config.toml"), self.stage.socket());
        let daemon = Daemon::launch_with(&around, &config, folder, &socket, |command| {
            command.env_remove("RUST_LOG");
        });
        daemon.ready()
    }

    /// The daemon, and how long it took from its exec to READY=1.
    pub(crate) fn start_timed(&self) -> (Daemon, Duration) {
        let began = Instant::now();
        let daemon = self.start();
        (daemon, began.elapsed())
    }
}

/// Accounts' names; those of different length would not compare.
pub(crate) fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("account-{number:05}")).collect()
}

/// Writes the first account by way of the store. The others differ in a name and two tokens, and are written without the
/// store's care for power cuts, which would take minutes.
fn furnish(stage: &Stage, names: &[String], stored: Stored, lifetime: Duration) -> usize {
    let (first, others) = names.split_first().expect("at least one account");
    let grant = stage.simulator.grant(KEY, SCOPE);
    let (access, refresh) = tokens_of(&grant);
    let record = record(access, refresh, stored, lifetime);
    let (store, _) = Store::open(&stage.state()).expect("a store");
    let image = store.encode(first, &Fingerprint::of(&Secret::new(KEY)), &record, &Reading::take());
    image.write().expect("it is saved");
    drop(store);
    let text = fs::read_to_string(stage.state().join(format!("{first}.json"))).expect("it was written");
    let mut document: Value = serde_json::from_str(&text).expect("JSON");
    for name in others {
        let grant = stage.simulator.grant(KEY, SCOPE);
        let (access, refresh) = tokens_of(&grant);
        document["account"] = name.as_str().into();
        document["grant"]["refresh_token"] = refresh.into();
        if stored == Stored::Alive {
            document["grant"]["access"]["token"] = access.into();
        }
        let path = stage.state().join(format!("{name}.json"));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        write!(file.expect("a file of ours"), "{document}").expect("it is written");
    }
    access.len() + refresh.len()
}

fn tokens_of(grant: &Grant) -> (&str, &str) {
    let access = grant.access_token().expect("an access token");
    let refresh = grant.refresh_token().expect("a refresh token");
    (&access.value, &refresh.value)
}

fn record(access: &str, refresh: &str, stored: Stored, lifetime: Duration) -> Record {
    let issued_at = clock::now();
    // As a daemon would have planned it, so that the next one has nothing to write down at its start.
    let window = Window::of(lifetime, AHEAD);
    let living = || StoredAccess {
        token: Rc::new(AccessToken {
            token: Secret::new(access),
            token_type: "Bearer".to_owned(),
            scope: Some(SCOPE.to_owned()),
        }),
        issued_at,
        expires_at: issued_at + lifetime,
        refresh_at: issued_at + window.opens_after + window.tenth(),
    };
    let grant = StoredGrant {
        access: (stored == Stored::Alive).then(living),
        refresh_token: Secret::new(refresh),
        previous: None,
        refusals: 0,
        refresh_sent: false,
        disbelieved: false,
    };
    Record { grant: Some(grant), pin: None, told: Tidings::default() }
}
