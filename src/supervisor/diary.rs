//! An operator's diary: what the keepers tell, as log lines.

use crate::keeper::{ENTER_AT, Moment, News};
use crate::systemd::local_time;

/// Writes one piece of news down.
pub(super) fn write(account: &str, news: &News, wall_millis_of: impl Fn(Moment) -> i64) {
    let at = |moment: &Moment| local_time(wall_millis_of(*moment));
    match news {
        News::PinShown(pin) => tracing::info!(
            account,
            "{account}: enter PIN {} at {ENTER_AT}, before {}",
            pin.pin,
            at(&pin.expires_at)
        ),
        News::PinOver(why) => tracing::info!(account, "{account}: the PIN is over: {why}"),
        News::PinCalledOff => {
            tracing::info!(
                account,
                "{account}: the stored grant works after all; no PIN needs to be entered"
            );
        }
        News::Authorized { expires_at } => {
            tracing::info!(account, "{account}: authorized; token good until {}", at(expires_at));
        }
        News::Renewed { expires_at } => {
            tracing::info!(account, "{account}: token renewed, good until {}", at(expires_at));
        }
        News::TroubleBegan(reason) => tracing::warn!(account, "{account}: {reason}; trying again"),
        News::TroubleGoesOn { failures, reason } => {
            tracing::debug!(account, failures, "{account}: {reason}; trying again");
        }
        News::TroubleEnded { after } => {
            tracing::info!(account, "{account}: the trouble is over, after {} s", after.as_secs());
        }
        News::Refused { times, reason } => {
            tracing::warn!(
                account,
                times,
                "{account}: ecobee refused the refresh token ({times} in a row): {reason}"
            );
        }
        News::GivenUp { refusals } => tracing::warn!(
            account,
            "{account}: the refresh token was refused {refusals} times; a person must enter a PIN, and the old \
             token is tried again now and then"
        ),
        News::Misconfigured(reason) => tracing::error!(
            account,
            "{account}: {reason}; check the account's api-key and scope. Trying again at the slowest pace"
        ),
        News::Rejected { uid } => {
            tracing::info!(
                account,
                uid,
                "{account}: a client of user {uid} says that ecobee refused the token"
            );
        }
        News::TokenDied => tracing::warn!(account, "{account}: the token has died and there is no other yet"),
        News::SaveFailed(reason) => tracing::error!(
            account,
            "{account}: {reason}. What is newest is in memory only, and a restart would lose it; trying again"
        ),
        News::SaveRecovered => tracing::info!(account, "{account}: everything is saved again"),
    }
}
