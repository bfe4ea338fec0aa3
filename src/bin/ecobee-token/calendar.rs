//! The moments that the daemon writes: RFC 3339, in UTC.

/// Seconds since 1970 of `2026-11-21T18:43:00Z`; a fraction of a second is dropped.
pub(crate) fn epoch(text: &str) -> Option<i64> {
    let text = text.strip_suffix('Z')?;
    let (date, time) = text.split_once('T')?;
    let time = time.split_once('.').map_or(time, |(whole, _)| whole);
    let [year, month, day] = three(date, '-')?;
    let [hour, minute, second] = three(time, ':')?;
    let valid = (1..=12).contains(&month) && (1..=31).contains(&day) && year <= 9999;
    // 60: a leap second.
    let valid = valid && hour < 24 && minute < 60 && second <= 60;
    valid.then(|| days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

fn three(text: &str, separator: char) -> Option<[i64; 3]> {
    let mut numbers = text.split(separator).map(|digits| {
        let plain = (1..=4).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse().ok().filter(|_| plain)
    });
    let found = [numbers.next()??, numbers.next()??, numbers.next()??];
    numbers.next().is_none().then_some(found)
}

/// Days since 1970 in the Gregorian calendar. A year is taken to begin in March: then the leap day is its last, and the
/// lengths of its months go by a straight line.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::epoch;

    #[test]
    fn it_agrees_with_a_calendar_that_we_did_not_write() {
        let mut seconds = -62_167_219_200_i64;
        while seconds < 253_402_300_799 {
            let text = jiff::Timestamp::from_second(seconds).expect("within four-digit years").to_string();
            assert_eq!(epoch(&text), Some(seconds), "{text}");
            // A prime number of seconds, some eleven days: every day and hour has its turn.
            seconds += 999_983;
        }
    }

    #[test]
    fn what_is_no_moment_is_none() {
        for text in [
            "",
            "Z",
            "2026-11-21",
            "2026-13-01T00:00:00Z",
            "2026-1-1T+1:00:00Z",
            "2026-11-21T18:43:00",
            "a-b-cT:::Z",
        ] {
            assert_eq!(epoch(text), None, "{text}");
        }
    }
}
