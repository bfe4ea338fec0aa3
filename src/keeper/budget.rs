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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_hour_and_no_half_minute_sees_more_than_allowed(
            asked in prop::collection::vec((0..400_u64, 0..4_u32), 1..300)
        ) {
            let mut budget = Budget::default();
            let mut now = Moment::from_millis(-5_000_000);
            let mut drawn: Vec<(Moment, u32)> = Vec::new();
            for (pause, uid) in asked {
                now = now + Duration::from_secs(pause);
                let hour: Vec<_> = drawn.iter().filter(|(at, _)| now < *at + Duration::from_secs(3600)).collect();
                let of_uid = hour.iter().filter(|(_, who)| *who == uid).count();
                let spaced = drawn.last().is_none_or(|(at, _)| *at + Duration::from_secs(30) <= now);
                let allowed = spaced && hour.len() < 12 && (uid == 0 || of_uid < 4);
                match budget.draw(now, uid) {
                    Ok(()) => {
                        prop_assert!(allowed);
                        drawn.push((now, uid));
                    }
                    Err(retry_after) => {
                        prop_assert!(!allowed);
                        prop_assert!(!retry_after.is_zero() && retry_after <= HOUR);
                        // Nothing sooner would have helped.
                        let sooner = now + retry_after.saturating_sub(Duration::from_millis(1));
                        prop_assert!(budget.clone().draw(sooner, uid).is_err());
                    }
                }
            }
        }
    }
}
