//! Words of others, made fit for a terminal; lengths of time, made fit for a person.

use std::fmt;
use std::time::Duration;

use ecobee_tokend::config::duration;

/// No sentence of the daemon's is longer.
const LONGEST: usize = 1000;

/// Text in which nothing moves a cursor, changes a colour or turns the order of letters around.
pub(crate) fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len().min(LONGEST));
    for letter in text.chars() {
        if shown.len() >= LONGEST {
            shown.push('…');
            break;
        }
        shown.push(if acts(letter) { char::REPLACEMENT_CHARACTER } else { letter });
    }
    shown
}

/// Whether a terminal would do something with it rather than show it.
fn acts(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A JSON text with the same meaning that is harmless too. JSON knows no control characters outside strings but white
/// space, and in strings those that it does not forbid may be written by number.
pub(crate) fn harmless_json(json: &str) -> String {
    use fmt::Write as _;
    let mut shown = String::with_capacity(json.len());
    for letter in json.chars() {
        match letter {
            '\t' | '\r' => shown.push(' '),
            '\n' => shown.push('\n'),
            letter if acts(letter) => {
                // All of those that act have four hexadecimal digits at most, and text takes all that is written to it.
                let _ = write!(shown, "\\u{:04x}", u32::from(letter));
            }
            letter => shown.push(letter),
        }
    }
    shown
}

/// A length of time with its two largest units: `2d3h`, `1h5m`, `8m59s`, `12s`.
pub(crate) struct Length(pub(crate) Duration);

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DAY: u64 = 86_400;
        let seconds = self.0.as_secs();
        if seconds >= DAY {
            write!(f, "{}d", seconds / DAY)?;
            return match seconds % DAY / 3600 {
                0 => Ok(()),
                hours => write!(f, "{hours}h"),
            };
        }
        let unit = if seconds >= 3600 { 60 } else { 1 };
        duration::Shown(Duration::from_secs(seconds / unit * unit)).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_acts_on_a_terminal_is_left_in_a_sentence() {
        let shown = harmless("a\u{1b}[31mred\u{7}\u{9b}0m\r\nb\u{202e}c\u{7f}");
        assert_eq!(shown, "a�[31mred��0m��b�c�");
    }

    #[test]
    fn a_sentence_ends_somewhere() {
        assert!(harmless(&"x".repeat(100_000)).len() <= LONGEST + '…'.len_utf8());
    }

    #[test]
    fn json_keeps_its_meaning_when_it_is_made_harmless() {
        let json = "{\n\t\"a\": \"\u{9b}31m \u{7f} \u{202e} é\"}";
        let shown = harmless_json(json);
        assert!(!shown.chars().any(|letter| acts(letter) && letter != '\n'), "{shown}");
        let (before, after): (serde_json::Value, serde_json::Value) =
            (serde_json::from_str(json).expect("JSON"), serde_json::from_str(&shown).expect("still JSON"));
        assert_eq!(before, after);
    }

    #[test]
    fn lengths_show_the_two_largest_units() {
        for (seconds, shown) in [
            (0, "0s"),
            (59, "59s"),
            (539, "8m59s"),
            (600, "10m"),
            (3600, "1h"),
            (3659, "1h"),
            (3660, "1h1m"),
            (86_399, "23h59m"),
            (86_400, "1d"),
            (100_000, "1d3h"),
        ] {
            assert_eq!(Length(Duration::from_secs(seconds)).to_string(), shown, "{seconds}");
        }
    }
}
