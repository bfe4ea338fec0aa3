//! Large letters, for what somebody is to read from a screen and type elsewhere.

use std::env;

/// Five rows of five dots. Zero has a stroke: nobody shall take it for an O.
const LETTERS: [(char, [u8; HEIGHT]); 37] = [
    ('A', [0b01110, 0b10001, 0b11111, 0b10001, 0b10001]),
    ('B', [0b11110, 0b10001, 0b11110, 0b10001, 0b11110]),
    ('C', [0b01111, 0b10000, 0b10000, 0b10000, 0b01111]),
    ('D', [0b11110, 0b10001, 0b10001, 0b10001, 0b11110]),
    ('E', [0b11111, 0b10000, 0b11110, 0b10000, 0b11111]),
    ('F', [0b11111, 0b10000, 0b11110, 0b10000, 0b10000]),
    ('G', [0b01111, 0b10000, 0b10011, 0b10001, 0b01111]),
    ('H', [0b10001, 0b10001, 0b11111, 0b10001, 0b10001]),
    ('I', [0b01110, 0b00100, 0b00100, 0b00100, 0b01110]),
    ('J', [0b00111, 0b00010, 0b00010, 0b10010, 0b01100]),
    ('K', [0b10001, 0b10010, 0b11100, 0b10010, 0b10001]),
    ('L', [0b10000, 0b10000, 0b10000, 0b10000, 0b11111]),
    ('M', [0b10001, 0b11011, 0b10101, 0b10001, 0b10001]),
    ('N', [0b10001, 0b11001, 0b10101, 0b10011, 0b10001]),
    ('O', [0b01110, 0b10001, 0b10001, 0b10001, 0b01110]),
    ('P', [0b11110, 0b10001, 0b11110, 0b10000, 0b10000]),
    ('Q', [0b01110, 0b10001, 0b10101, 0b10010, 0b01101]),
    ('R', [0b11110, 0b10001, 0b11110, 0b10010, 0b10001]),
    ('S', [0b01111, 0b10000, 0b01110, 0b00001, 0b11110]),
    ('T', [0b11111, 0b00100, 0b00100, 0b00100, 0b00100]),
    ('U', [0b10001, 0b10001, 0b10001, 0b10001, 0b01110]),
    ('V', [0b10001, 0b10001, 0b10001, 0b01010, 0b00100]),
    ('W', [0b10001, 0b10001, 0b10101, 0b11011, 0b10001]),
    ('X', [0b10001, 0b01010, 0b00100, 0b01010, 0b10001]),
    ('Y', [0b10001, 0b01010, 0b00100, 0b00100, 0b00100]),
    ('Z', [0b11111, 0b00010, 0b00100, 0b01000, 0b11111]),
    ('0', [0b01110, 0b10011, 0b10101, 0b11001, 0b01110]),
    ('1', [0b00100, 0b01100, 0b00100, 0b00100, 0b01110]),
    ('2', [0b11110, 0b00001, 0b01110, 0b10000, 0b11111]),
    ('3', [0b11110, 0b00001, 0b01110, 0b00001, 0b11110]),
    ('4', [0b10010, 0b10010, 0b11111, 0b00010, 0b00010]),
    ('5', [0b11111, 0b10000, 0b11110, 0b00001, 0b11110]),
    ('6', [0b01110, 0b10000, 0b11110, 0b10001, 0b01110]),
    ('7', [0b11111, 0b00001, 0b00010, 0b00100, 0b00100]),
    ('8', [0b01110, 0b10001, 0b01110, 0b10001, 0b01110]),
    ('9', [0b01110, 0b10001, 0b01111, 0b00001, 0b01110]),
    ('-', [0b00000, 0b00000, 0b01110, 0b00000, 0b00000]),
];

const HEIGHT: usize = 5;
const WIDTH: usize = 5;
const GAP: usize = 2;

/// The rows of `text` in large letters; `None` where it is wider than `room`, or has a letter that is not known here.
pub(crate) fn large(text: &str, room: usize) -> Option<Vec<String>> {
    let dot = if speaks_utf8() { '█' } else { '#' };
    let width = text.chars().count().checked_mul(WIDTH + GAP)?;
    if text.is_empty() || width > room {
        return None;
    }
    let drawn = |letter| LETTERS.iter().find(|(known, _)| *known == letter).map(|(_, rows)| rows);
    let letters: Vec<_> = text.chars().map(drawn).collect::<Option<_>>()?;
    let row = |row: usize| {
        let dots = letters.iter().flat_map(|letter| {
            let bits = letter.get(row).copied().unwrap_or_default();
            // The gap comes out of the two zeros above the five dots of the letter.
            (0..WIDTH + GAP).map(move |place| bits.rotate_left(3) << place & 0x80 != 0)
        });
        dots.map(|set| if set { dot } else { ' ' }).collect::<String>().trim_end().to_owned()
    };
    Some((0..HEIGHT).map(row).collect())
}

/// Whether the locale says that the terminal shows UTF-8.
fn speaks_utf8() -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .find_map(|name| env::var(name).ok().filter(|value| !value.is_empty()))
        .unwrap_or_default()
        .to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

#[cfg(test)]
mod tests {
    use super::{LETTERS, large};

    #[test]
    fn no_two_letters_look_the_same() {
        for (index, (one, drawn)) in LETTERS.iter().enumerate() {
            for (other, drawn_too) in &LETTERS[index + 1..] {
                assert!(one != other && drawn != drawn_too, "{one} and {other}");
            }
        }
    }

    #[test]
    fn letters_stand_beside_each_other() {
        let rows = large("L-1", 21).expect("there is room").join("\n").replace('█', "#");
        assert_eq!(
            rows,
            "#               #\n#              ##\n#       ###     #\n#               #\n#####          ###"
        );
    }

    #[test]
    fn what_cannot_be_drawn_is_not() {
        assert_eq!(large("ABCD-EFGH", 62), None, "too wide");
        assert_eq!(large("abcd", 80), None, "unknown letters");
        assert_eq!(large("", 80), None);
    }
}
