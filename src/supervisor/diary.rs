//! An operator's diary: what the keepers tell, as log lines.

use crate::clock::{Reading, time_of_day};
use crate::keeper::{ENTER_AT, Moment, News, View};
use crate::store::Note;

/// Writes down what the store has to say of its folder.
pub(super) fn note(note: &Note) {
    if note.is_warning() {
        tracing::warn!("{note}");
    } else {
        tracing::info!("{note}");
    }
}

/// The same of an account's file.
pub(super) fn note_of(account: &str, note: &Note) {
    if note.is_warning() {
        tracing::warn!(account, "{account}: {note}");
    } else {
        tracing::info!(account, "{account}: {note}");
    }
}

/// Writes down that the configuration has another scope than the grant.
pub(super) fn scope(account: &str, granted: &str, wanted: &str) {
    tracing::info!(
        account,
        "{account}: the grant has the scope {granted}, the configuration says {wanted}; it takes effect at the next \
         authorization (ecobee-token authorize, or POST /authorize)"
    );
}

/// Writes one piece of news down; `view` is the account as it is now.
pub(super) fn write(account: &str, news: &News, view: &View, now: &Reading) {
    let at = |moment: &Moment| time_of_day(now.wall_of(*moment));
    let state = view.state.name();
    let again = || match view.next_try_at {
        Some(moment) => format!("trying again in {} s", moment.since(now.moment).as_millis().div_ceil(1000)),
        None => "trying again".to_owned(),
    };
    match news {
        News::PinShown(pin) => tracing::info!(
            account,
            state,
            "{account}: enter PIN {} at {ENTER_AT}, before {}",
            pin.pin,
            at(&pin.expires_at)
        ),
        News::PinOver(why) => tracing::info!(account, state, "{account}: the PIN is over: {why}"),
        News::PinCalledOff => {
            tracing::info!(
                account,
                state,
                "{account}: the stored grant works after all; no PIN needs to be entered"
            );
        }
        News::Authorized { expires_at } => {
            tracing::info!(account, state, "{account}: authorized; token good until {}", at(expires_at));
        }
        News::Renewed { expires_at } => {
            tracing::info!(account, state, "{account}: token renewed, good until {}", at(expires_at));
        }
        News::TroubleBegan(reason) => tracing::warn!(account, state, "{account}: {reason}; {}", again()),
        News::TroubleGoesOn { failures, reason } => {
            tracing::debug!(account, state, failures, "{account}: {reason}; {}", again());
        }
        News::TroubleEnded { after } => {
            tracing::info!(account, state, "{account}: the trouble is over, after {} s", after.as_secs());
        }
        News::Refused { times, reason } => {
            tracing::warn!(
                account,
                state,
                times,
                "{account}: ecobee refused the refresh token ({times} in a row): {reason}; {}",
                again()
            );
        }
        News::GivenUp { refusals } => tracing::warn!(
            account,
            state,
            "{account}: the refresh token was refused {refusals} times; a person must enter a PIN, and the old \
             token is tried again now and then"
        ),
        News::Misconfigured(reason) => tracing::error!(
            account,
            state,
            "{account}: {reason}; check the account's api-key and scope; {}",
            again()
        ),
        News::Rejected { uid } => {
            tracing::info!(
                account,
                state,
                uid,
                "{account}: a client of user {uid} says that ecobee refused the token"
            );
        }
        News::TokenDied => {
            tracing::warn!(account, state, "{account}: the token has died and there is no other yet");
        }
        News::SaveFailed(reason) => tracing::error!(
            account,
            state,
            "{account}: {reason}. What is newest is in memory only, and a restart would lose it; trying again"
        ),
        News::NoteNotSaved(reason) => tracing::error!(
            account,
            state,
            "{account}: {reason}. Only notes are unsaved, such as that a refresh is about to be sent: a restart would lose \
             neither token nor PIN; trying again"
        ),
        News::SaveRecovered => tracing::info!(account, state, "{account}: everything is saved again"),
    }
}
