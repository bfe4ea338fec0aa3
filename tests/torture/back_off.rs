//! How patient the daemon of these tests is to be, and how many calls that allows.

use std::time::Duration;

use ecobee_simulator::Options;

use crate::harness::Stage;

/// The back-off of these tests.
pub(crate) const BACK_OFF: &str = "ahead = \"10m\"\nretry-initial = \"1s\"\nretry-max = \"4s\"";
const RETRY_INITIAL: Duration = Duration::from_secs(1);
pub(crate) const RETRY_MAX: Duration = Duration::from_secs(4);

/// The shortest that a configuration may have.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// What a busy machine may add to anything.
pub(crate) const SLACK: Duration = Duration::from_secs(15);

/// How often a reader asks.
pub(crate) const READERS_PACE: Duration = Duration::from_millis(20);

/// A stage whose daemon is quick to try again.
pub(crate) fn stage(options: Options) -> Stage {
    Stage::new(options).refresh(BACK_OFF).request_timeout("5s")
}

/// The most calls that the contract's rule 9 allows in so much time of trouble: the first, its one repetition at
/// once, and then one after each pause, a quarter of which jitter may take off.
pub(crate) fn most_calls(time: Duration) -> usize {
    let mut pause = RETRY_INITIAL;
    let (mut calls, mut at) = (2, Duration::ZERO);
    loop {
        at += pause.mul_f64(0.75);
        if at > time {
            return calls;
        }
        calls += 1;
        pause = (pause * 2).min(RETRY_MAX);
    }
}
