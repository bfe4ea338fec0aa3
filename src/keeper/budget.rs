//! How often clients may force a refresh.

use std::collections::VecDeque;
use std::time::Duration;

use super::Moment;

const SPACING: Duration = Duration::from_secs(30);
const HOUR: Duration = Duration::from_secs(3600);
const PER_HOUR: usize = 12;
const PER_HOUR_AND_UID: usize = 4;
const ROOT: u32 = 0;

/// Forced refreshes of the last hour, with who forced them.
#[derive(Clone, Debug, Default)]
pub(super) struct Budget {
    spent: VecDeque<(Moment, u32)>,
}

impl Budget {
    /// Draws one forced refresh for `uid`, or says how long until there is one.
    pub(super) fn draw(&mut self, now: Moment, uid: u32) -> Result<(), Duration> {
        while self.spent.front().is_some_and(|&(at, _)| at + HOUR <= now) {
            self.spent.pop_front();
        }
        if let Some(&(last, _)) = self.spent.back()
            && now < last + SPACING
        {
            return Err((last + SPACING).until_from(now));
        }
        let of_uid = || self.spent.iter().filter(|&&(_, who)| who == uid);
        let oldest = if self.spent.len() >= PER_HOUR {
            self.spent.front()
        } else if uid != ROOT && of_uid().count() >= PER_HOUR_AND_UID {
            of_uid().next()
        } else {
            None
        };
        if let Some(&(at, _)) = oldest {
            return Err((at + HOUR).until_from(now));
        }
        self.spent.push_back((now, uid));
        Ok(())
    }
}
