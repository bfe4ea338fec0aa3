//! Durations as people write them: `90s`, `10m`, `1h30m`, `24h`.

use std::fmt;
use std::time::Duration;

/// The longest duration that can be written: about 136 years, so that adding one to any clock stays harmless.
pub const LONGEST: Duration = Duration::from_secs(u32::MAX as u64);

/// Reads whole hours, minutes and seconds, in this order, each at most once: `1h30m`, `90s`.
///
/// `None` for anything else: a bare number, a fraction, a sign, a space, another unit, or more than [`LONGEST`].
///
/// ```
/// use std::time::Duration;
/// use ecobee_tokend::config::duration;
///
/// assert_eq!(duration::parse("1h30m"), Some(Duration::from_secs(5400)));
/// assert_eq!(duration::parse("30m1h"), None);
/// ```
pub fn parse(text: &str) -> Option<Duration> {
    let mut units = [('h', 3600), ('m', 60), ('s', 1)].into_iter();
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (digits, tail) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let mut tail = tail.chars();
        let unit = tail.next()?;
        let (_, seconds) = units.find(|(name, _)| *name == unit)?;
        total = digits.parse::<u64>().ok()?.checked_mul(seconds)?.checked_add(total)?;
        rest = tail.as_str();
    }
    let parsed = Duration::from_secs(total);
    (!text.is_empty() && parsed <= LONGEST).then_some(parsed)
}

/// Writes a duration the way [`parse`] reads it; fractions of a second are dropped.
#[derive(Clone, Copy, Debug)]
pub struct Shown(pub Duration);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let parts = [(seconds / 3600, 'h'), (seconds / 60 % 60, 'm'), (seconds % 60, 's')];
        if seconds == 0 {
            return f.write_str("0s");
        }
        parts.iter().filter(|(count, _)| *count > 0).try_for_each(|(count, unit)| write!(f, "{count}{unit}"))
    }
}
