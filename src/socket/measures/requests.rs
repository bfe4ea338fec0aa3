//! How many requests were answered, and how.

use hyper::StatusCode;

use crate::metrics::Counter;
use crate::socket::routes::{ROUTES, Route, What};

/// The statuses that this daemon answers with; others share the place behind them.
const STATUSES: [u16; 8] = [200, 400, 403, 404, 405, 413, 429, 503];

/// What stands behind the routes, and behind the statuses: all others.
const OTHER: &str = "other";

/// The counts of requests, and of connections that were turned away before they could make one.
#[derive(Default)]
pub(in crate::socket) struct Requests {
    answered: [[Counter; STATUSES.len() + 1]; ROUTES.len() + 1],
    pub(in crate::socket) turned_away: Counter,
}

impl Requests {
    /// `what` is `None` where nothing is at the path, or nothing that this method could do.
    pub(in crate::socket) fn count(&self, what: Option<What>, status: StatusCode) {
        let route = what.map_or(ROUTES.len(), |what| what as usize);
        let status = STATUSES.iter().position(|known| *known == status.as_u16()).unwrap_or(STATUSES.len());
        if let Some(counter) = self.answered.get(route).and_then(|statuses| statuses.get(status)) {
            counter.count();
        }
    }

    /// The routes by name, and how often each was answered with which status.
    pub(super) fn by_route(&self) -> impl Iterator<Item = (String, impl Iterator<Item = (String, u64)>)> {
        let routes = ROUTES.iter().map(Route::name).chain([OTHER.to_owned()]);
        routes.zip(&self.answered).map(|(route, counters)| {
            let statuses = STATUSES.iter().map(u16::to_string).chain([OTHER.to_owned()]);
            (route, statuses.zip(counters.iter().map(Counter::get)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_routes_share_a_counter() {
        let requests = Requests::default();
        for what in ROUTES.iter().map(|route| Some(route.what)).chain([None]) {
            for status in STATUSES.iter().chain(&[500]) {
                requests.count(what, StatusCode::from_u16(*status).expect("a status"));
            }
        }
        let counted: Vec<u64> = requests.answered.iter().flatten().map(Counter::get).collect();
        assert!(counted.iter().all(|count| *count == 1), "{counted:?}");
    }
}
