//! How often one user may fill a line of the log.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

/// Says of each user at most once a minute that a line in the diary is due.
#[derive(Default)]
pub(super) struct Rarely(RefCell<HashMap<u32, Instant>>);

impl Rarely {
    const APART: Duration = Duration::from_secs(60);

    pub(super) fn is_due(&self, uid: u32) -> bool {
        let now = Instant::now();
        let is_recent = |at: &Instant| now.duration_since(*at) < Self::APART;
        let mut last = self.0.borrow_mut();
        if last.get(&uid).is_some_and(is_recent) {
            return false;
        }
        last.retain(|_, at| is_recent(at));
        last.insert(uid, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::Rarely;

    #[tokio::test(start_paused = true)]
    async fn a_user_is_written_down_once_a_minute() {
        let rarely = Rarely::default();
        assert!(rarely.is_due(1));
        assert!(rarely.is_due(2));
        assert!(!rarely.is_due(1));
        tokio::time::advance(Rarely::APART).await;
        assert!(rarely.is_due(1));
        assert!(!rarely.is_due(1));
    }
}
