//! What clients ask, in a test's words.

use std::time::Duration;

use ecobee_tokend::keeper::{Ask, Told, Want};
use ecobee_tokend::secret::Secret;

/// An ordinary user.
pub(crate) const ALICE: u32 = 1000;

/// A question that is being put together.
#[derive(Clone)]
pub(crate) struct Question(Ask);

fn ask(want: Want) -> Question {
    Question(Ask { want, wait: None, uid: ALICE })
}

/// `GET /token`, `GET /header`.
pub(crate) fn bare() -> Question {
    ask(Want::Token { min_ttl: Duration::ZERO, told: Told::TokenOnly })
}

/// `GET /token`, as JSON.
pub(crate) fn json() -> Question {
    ask(Want::Token { min_ttl: Duration::ZERO, told: Told::Lifetime })
}

/// `POST /refresh`.
pub(crate) fn refresh() -> Question {
    ask(Want::Refresh { min_ttl: Duration::ZERO })
}

/// `POST /token/rejected`.
pub(crate) fn rejected(token: &str) -> Question {
    ask(Want::Rejected { token: Secret::new(token), min_ttl: Duration::ZERO })
}

/// `POST /authorize`.
pub(crate) fn authorize() -> Question {
    ask(Want::Authorize)
}

impl Question {
    /// `?min_ttl=SECONDS`.
    pub(crate) fn min_ttl(mut self, seconds: u64) -> Self {
        match &mut self.0.want {
            Want::Token { min_ttl, .. } | Want::Refresh { min_ttl } | Want::Rejected { min_ttl, .. } => {
                *min_ttl = Duration::from_secs(seconds);
            }
            Want::Authorize => panic!("a PIN has no min_ttl"),
        }
        self
    }

    /// `?wait=SECONDS`.
    pub(crate) fn wait(mut self, seconds: u64) -> Self {
        self.0.wait = Some(Duration::from_secs(seconds));
        self
    }

    /// Who asks.
    pub(crate) fn by(mut self, uid: u32) -> Self {
        self.0.uid = uid;
        self
    }

    pub(super) fn into_ask(self) -> Ask {
        self.0
    }
}
