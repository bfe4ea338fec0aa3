//! What a killed daemon left behind, and what the simulator knows of it.

use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Duration;

use ecobee_simulator::{AccessToken, Call, CallKind, Truth};
use ecobee_tokend::clock::Reading;
use ecobee_tokend::secret::SecretBytes;
use ecobee_tokend::store::{Key, Keys, Store};
use serde_json::Value;
use tempfile::TempDir;

/// A save that takes longer than this keeps nobody from the token: the daemon serves it unsaved.
const SAVE_PATIENCE: Duration = Duration::from_secs(2);

/// The answer of a call may wait so long until the daemon's process gets to run, on a busy machine.
const ON_ITS_WAY: Duration = Duration::from_secs(1);

/// The store at the moment of the kill, as the next start will understand it: a temporary file that is whole counts
/// as the newer one.
#[derive(Debug, Default)]
pub(crate) struct Left {
    /// The stored access token.
    pub(crate) access: Option<String>,
    /// The stored refresh tokens: the current one, and the one before.
    pub(crate) refresh: Vec<String>,
    /// The stored PIN.
    pub(crate) pin: Option<String>,
    /// Whether the record says that a refresh was sent.
    pub(crate) marked: bool,
}

impl Left {
    /// Reads what lies in the state folder, encrypted with this key if there is one.
    pub(crate) fn read(state: &Path, key: Option<&SecretBytes>) -> Self {
        // A copy of the folder can be decrypted, as a start that is given the key as the previous one does.
        let copy = key.map(|key| {
            let copy = TempDir::new().expect("a temporary folder");
            for name in [".home.json.new", "home.json"] {
                let _ = fs::copy(state.join(name), copy.path().join(name));
            }
            let keys = Keys::new(None, Some(Key::of(key)));
            let (store, _) = Store::open_with(copy.path(), keys).expect("a usable folder");
            store.tidy(|_| false, &Reading::take(), || {});
            copy
        });
        let state = copy.as_ref().map_or(state, TempDir::path);
        let record = [".home.json.new", "home.json"].into_iter().find_map(|name| {
            serde_json::from_slice::<Value>(&fs::read(state.join(name)).unwrap_or_default()).ok()
        });
        let Some(record) = record else { return Self::default() };
        let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let grant = &record["grant"];
        Self {
            access: text(&grant["access"]["token"]),
            refresh: ["refresh_token", "previous_refresh_token"]
                .into_iter()
                .filter_map(|name| text(&grant[name]))
                .collect(),
            pin: text(&record["pin"]["pin"]),
            marked: grant["refresh_sent"] == Value::Bool(true),
        }
    }

    /// Whether ecobee would still take a refresh token that lies here.
    pub(crate) fn holds_a_living_grant(&self, truth: &Truth) -> bool {
        self.refresh.iter().any(|token| truth.refresh_token_is_alive(token))
    }
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { access, refresh, pin, marked } = self;
        let access = if access.is_some() { "an" } else { "no" };
        write!(f, "{access} access token, {} refresh token(s), PIN {pin:?}, marked: {marked}", refresh.len())
    }
}

/// A token that a client got.
#[derive(Clone, Debug)]
pub(crate) struct Served {
    pub(crate) token: String,
    pub(crate) asked_at: Duration,
    pub(crate) got_at: Duration,
}

fn known<'a>(truth: &'a Truth, token: &str) -> Option<&'a AccessToken> {
    truth
        .grants()
        .iter()
        .rev()
        .flat_map(|grant| grant.access_tokens.iter().rev())
        .find(|known| known.value == token)
}

/// Why this token should not have been served, if so: it was dead when it was asked for, and the daemon could know.
///
/// `began` is when this daemon started: whatever died before, a mark on the disk told of. What a call of a killed
/// predecessor ends later (`orphans`), or a refresh whose answer is still on its way, nobody can know of.
pub(crate) fn why_dead(
    served: &Served,
    truth: &Truth,
    calls: &[Call],
    orphans: &[u64],
    began: Duration,
) -> Option<String> {
    let asked_at = served.asked_at;
    let Some(token) = known(truth, &served.token) else {
        return Some(format!("a token that ecobee never issued was served at {asked_at:?}"));
    };
    if token.expires_at < asked_at {
        return Some(format!("it had expired at {:?} and was asked for at {asked_at:?}", token.expires_at));
    }
    let ended_at = token.ended_at.filter(|&ended_at| ended_at < asked_at)?;
    let mut ended_by = calls.iter().filter(|call| {
        call.committed && call.arrived_at <= ended_at && call.answered_at.is_none_or(|at| ended_at <= at)
    });
    // Before this token was given, a killed predecessor had sent a call that ecobee took its time for.
    let haunted =
        |call: &Call| orphans.contains(&call.id) && (call.arrived_at < token.issued_at || began < ended_at);
    if ended_by.clone().any(haunted) {
        return None;
    }
    if ended_at < began {
        return Some(format!(
            "it was replaced at {ended_at:?}, before the daemon started at {began:?}, and asked for at {asked_at:?}"
        ));
    }
    let told = ended_by.find(|call| call.answered_at.is_some_and(|at| at + ON_ITS_WAY < asked_at))?;
    Some(format!("it was replaced at {ended_at:?} by call {}, and asked for at {asked_at:?}", told.id))
}

/// Why the last token that was served is not on the disk though it should be, if so.
pub(crate) fn why_unsaved(served: &Served, left: &Left, truth: &Truth, calls: &[Call]) -> Option<String> {
    let token = known(truth, &served.token)?;
    let stored = left.access.as_deref().and_then(|access| known(truth, access));
    if stored.is_some_and(|stored| token.issued_at <= stored.issued_at) {
        return None;
    }
    let issued_by = calls.iter().find(|call| {
        call.committed
            && call.arrived_at <= token.issued_at
            && call.answered_at.is_some_and(|at| token.issued_at <= at)
    })?;
    // Saving may take so long that the daemon serves first; that is not what happens here.
    let served_soon = issued_by.answered_at.is_some_and(|at| served.got_at < at + SAVE_PATIENCE);
    served_soon.then(|| {
        format!(
            "a token of call {} was served at {:?}, and the store did not hold it at the kill",
            issued_by.id, served.got_at
        )
    })
}

/// The newest call that gave tokens.
pub(crate) fn last_grant(calls: &[Call]) -> Option<&Call> {
    calls
        .iter()
        .filter(|call| call.committed && matches!(call.kind, CallKind::Poll | CallKind::Refresh))
        .max_by_key(|call| call.answered_at.unwrap_or(Duration::MAX))
}

/// Whether nobody could have saved what this call gave: when it was answered, the daemon that made it was dead, or
/// had so little time left that the answer may not have reached the disk.
pub(crate) fn came_too_late(call: &Call, orphans: &[u64], killed_at: Duration) -> bool {
    orphans.contains(&call.id) || call.answered_at.is_none_or(|at| killed_at < at + SAVE_PATIENCE)
}

/// The last of these calls, for whoever has to find out what happened.
pub(crate) fn the_last(calls: &[Call]) -> String {
    let last = calls.len().saturating_sub(5);
    let told = calls[last..].iter().map(|call| {
        let Call { id, kind, arrived_at, answered_at, committed, .. } = call;
        let answer = call.answer.as_str();
        format!("{id} {kind:?} {arrived_at:?}..{answered_at:?} {answer} committed={committed}")
    });
    told.collect::<Vec<_>>().join("; ")
}
