//! The configuration read again, away from the loop, and what of it needs a restart.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::Doors;
use super::fittings::{self, Fittings};
use crate::clock::Reading;
use crate::config::{self, KeySource, Settings, StoreKey, Surroundings};
use crate::store::{Fetched, Store};

/// A configuration that can be used, and the files of the accounts that are new in it.
pub(super) struct Prepared {
    pub(super) fittings: Fittings,
    pub(super) fetched: BTreeMap<String, Fetched>,
}

/// Reads everything that a reload needs; changes nothing but the stored files of new accounts, and those as a start would.
/// `known` are the accounts whose files are in use. An error is a sentence on why nothing of it can be used.
pub(super) fn prepare(source: &Path, store: &Store, known: &BTreeSet<String>) -> Result<Prepared, String> {
    let settings =
        config::load(source, &Surroundings::of_this_process()).map_err(|error| error.to_string())?;
    let fittings = Fittings::of(settings).map_err(|error| error.to_string())?;
    let mut fetched = BTreeMap::new();
    for (name, tenant) in fittings.tenants.iter().filter(|(name, _)| !known.contains(*name)) {
        let file =
            store.fetch(name, &tenant.fingerprint, &Reading::take()).map_err(|error| error.to_string())?;
        fetched.insert(name.clone(), file);
    }
    Ok(Prepared { fittings, fetched })
}

/// What a restart is needed for, in a sentence, for the status; it is written into the log here.
pub(super) fn restart_remark(used: &Settings, new: &Settings, doors: Doors) -> Option<String> {
    let keys = needs_restart(used, new, doors);
    if keys.is_empty() {
        return None;
    }
    let source = used.source.display();
    let remark = format!("a restart is needed for what is new in {}", keys.join(", "));
    match locked_out(used, new) {
        None => {
            tracing::warn!("{source}: {remark}");
            Some(remark)
        }
        Some(why) => {
            let remark = format!("{remark}, {why}");
            tracing::error!("{source}: {remark}");
            Some(remark)
        }
    }
}

/// Why a restart with the new settings would be refused, if the key that the grants are encrypted with is not among
/// theirs: the daemon may be the last to know it.
fn locked_out(used: &Settings, new: &Settings) -> Option<String> {
    let id = fittings::keys(used).today()?.id();
    let stays = used.store.directory == new.store.directory;
    (stays && !fittings::keys(new).opens(id)).then(|| {
        format!(
            "and would be refused, for the grants are encrypted with the key {id}, which is not in the new configuration: \
             name it there as store.previous-key-file or store.previous-key-credential, from a backup if its file was \
             overwritten"
        )
    })
}

/// The keys whose new values only a restart takes over.
fn needs_restart(used: &Settings, new: &Settings, doors: Doors) -> Vec<&'static str> {
    let own_doors = doors == Doors::OurOwn;
    let (socket, store) = (&used.socket, &used.store);
    let key = |given: &Option<StoreKey>, by_credential, by_file| {
        given.as_ref().map(|given| match given.source {
            KeySource::Credential { .. } => by_credential,
            KeySource::File(_) => by_file,
        })
    };
    let today = |store: &config::Store| key(&store.key, "store.key-credential", "store.key-file");
    let previous = |store: &config::Store| {
        key(&store.previous_key, "store.previous-key-credential", "store.previous-key-file")
    };
    // What is in the files counts, too: the key of a running daemon is that of its start.
    let (key_changed, previous_changed) =
        (store.key != new.store.key, store.previous_key != new.store.previous_key);
    let mut keys = vec![
        (own_doors && socket.path != new.socket.path).then_some("socket.path"),
        (own_doors && socket.mode != new.socket.mode).then_some("socket.mode"),
        (own_doors && socket.group != new.socket.group).then_some("socket.group"),
        (store.directory != new.store.directory).then_some("store.directory"),
        today(store).filter(|_| key_changed),
        today(&new.store).filter(|_| key_changed),
        previous(store).filter(|_| previous_changed),
        previous(&new.store).filter(|_| previous_changed),
    ];
    keys.dedup();
    keys.into_iter().flatten().collect()
}
