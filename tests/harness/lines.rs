//! What a daemon says, line by line.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::PATIENCE;

/// Lines that come from elsewhere, and a way to wait for one.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<(Mutex<Vec<String>>, Condvar)>);

impl Lines {
    /// Whoever waits in vain panics while it looks at the lines, and they are still to be shown then.
    fn look(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, line: String) {
        self.look().push(line);
        self.0.1.notify_all();
    }

    /// All lines so far.
    pub(crate) fn all(&self) -> Vec<String> {
        self.look().clone()
    }

    /// Waits for a line of which the test holds.
    pub(crate) fn wait_for(&self, what: &str, test: impl Fn(&str) -> bool) -> String {
        self.wait_until(what, |lines| lines.iter().find(|line| test(line)).cloned())
    }

    /// Waits until there is something to be found in the lines.
    pub(crate) fn wait_until<T>(&self, what: &str, find: impl Fn(&[String]) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = self.look();
        loop {
            if let Some(found) = find(&lines) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited in vain for {what}; the lines are:\n{}", lines.join("\n"));
            lines = self.0.1.wait_timeout(lines, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
