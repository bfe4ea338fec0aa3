//! Words from outside, fit to be shown.

use std::borrow::Cow;
use std::collections::HashSet;

use zeroize::Zeroizing;

use crate::secret::Secret;

/// The most characters that are quoted.
const MOST: usize = 200;
/// The most bytes that are looked at: what is masked takes little room.
const HEARD: usize = 4096;
/// So many first characters of a secret already give it away: servers like to echo a shortened token.
const TELLING: usize = 8;
const MASK: &str = "[secret]";
/// A run of so many characters that tokens are made of, with a digit and a letter in it, is taken for one: ecobee
/// may name a token that this call did not show.
const TOKEN_LIKE: usize = 24;

/// Words from outside without control characters, at most 200 characters, and without the secrets that were shown to
/// whoever says them: neither plain nor percent-encoded nor escaped as in JSON, neither whole nor in part.
pub fn quote(words: &str, shown: &[&Secret]) -> String {
    // First the control characters, so that none can hide a secret by standing in it.
    let words = plain(words);
    let words = words.trim();
    let heard = &words[..boundary(words, HEARD)];
    let echoed = echoes(heard, shown);
    let mut quoted = String::new();
    let mut at = 0;
    let mut room = MOST;
    let mut before = ' ';
    while let Some(first) = heard[at..].chars().next() {
        let run = if is_of_tokens(before) { 0 } else { token_like(&heard[at..]) };
        let echo = echoed[at..].iter().take_while(|echoed| **echoed).count();
        let masked = echo.max(run);
        let (piece, length) =
            if masked > 0 { (MASK, masked) } else { (&heard[at..at + first.len_utf8()], first.len_utf8()) };
        let Some(left) = room.checked_sub(piece.chars().count()) else {
            quoted.push('…');
            return quoted;
        };
        quoted.push_str(piece);
        at += length;
        before = heard[..at].chars().next_back().unwrap_or(' ');
        room = left;
    }
    if heard.len() < words.len() {
        quoted.push('…');
    }
    quoted
}

fn plain(words: &str) -> Cow<'_, str> {
    if words.contains(char::is_control) {
        Cow::Owned(words.chars().filter(|letter| !letter.is_control()).collect())
    } else {
        Cow::Borrowed(words)
    }
}

fn is_of_tokens(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "-._~+/=%".contains(letter)
}

/// How long the run at the beginning is, if it looks like a token; else 0.
fn token_like(words: &str) -> usize {
    let run = &words[..words.find(|letter| !is_of_tokens(letter)).unwrap_or(words.len())];
    let mixed = run.contains(|c: char| c.is_ascii_digit()) && run.contains(|c: char| c.is_ascii_alphabetic());
    if run.len() >= TOKEN_LIKE && mixed { run.len() } else { 0 }
}

/// Which bytes of `words` repeat a secret, or so much of one that it gives it away; each byte plain, percent-encoded or
/// escaped as in JSON, in small or in capital letters.
///
/// Time is short whatever stands there: each place is compared with all pieces of a secret at once.
fn echoes(words: &str, shown: &[&Secret]) -> Vec<bool> {
    let mut echoed = vec![false; words.len()];
    for secret in shown {
        let whole = Zeroizing::new(secret.expose().to_ascii_lowercase());
        let bare = Zeroizing::new(plain(&whole).trim().to_owned());
        for secret in [whole, bare] {
            let length = secret.len().min(TELLING);
            if length == 0 {
                continue;
            }
            let pieces: HashSet<&[u8]> = secret.as_bytes().windows(length).collect();
            for (from, _) in words.char_indices() {
                let echo = echo(&words.as_bytes()[from..], &pieces, &mut [0; TELLING][..length], 0);
                // The last byte may be the first of a character that goes on in another way.
                let to = boundary(words, from + echo.unwrap_or(0));
                echoed[from..to].fill(true);
            }
        }
    }
    echoed
}

/// The last place at `most` or before it at which a character begins or all ends.
fn boundary(words: &str, most: usize) -> usize {
    (0..=most.min(words.len())).rev().find(|&at| words.is_char_boundary(at)).unwrap_or(0)
}

/// How many bytes of the beginning of `rest` are one of the pieces, the first so many of which are in `heard` already.
fn echo(rest: &[u8], pieces: &HashSet<&[u8]>, heard: &mut [u8], so_far: usize) -> Option<usize> {
    if so_far == heard.len() {
        return pieces.contains(&*heard).then_some(0);
    }
    // A percent sign may be the secret's own or begin an encoding: where both fit, one reading goes further.
    let readings = [rest.first().map(|&byte| (byte, 1)), decoded(rest)];
    let further = readings.into_iter().flatten().filter_map(|(byte, length)| {
        heard[so_far] = byte.to_ascii_lowercase();
        Some(length + echo(&rest[length..], pieces, heard, so_far + 1)?)
    });
    further.max()
}

/// The byte that an escape stands for, and the escape's length.
fn decoded(words: &[u8]) -> Option<(u8, usize)> {
    match *words {
        [b'%', high, low, ..] => Some((hex(high, low)?, 3)),
        [b'+', ..] => Some((b' ', 1)),
        [b'\\', b'u', b'0', b'0', high, low, ..] => Some((hex(high, low).filter(u8::is_ascii)?, 6)),
        [b'\\', next, ..] => Some((next, 2)),
        _ => None,
    }
}

fn hex(high: u8, low: u8) -> Option<u8> {
    let digit = |byte| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::quote;
    use crate::secret::Secret;

    const TOKEN: &str = "v1.X8/NZ rk+UNO=mTA";

    fn quoted(words: &str) -> String {
        quote(words, &[&Secret::new("an-api-key"), &Secret::new(TOKEN)])
    }

    #[test]
    fn no_words_take_long_whatever_the_secret() {
        let began = std::time::Instant::now();
        let alike = "a".repeat(64 * 1024);
        assert_eq!(quote(&alike, &[&Secret::new(alike.as_str())]), "[secret]…");
        let nearly = "aaaaaaab".repeat(32 * 1024);
        assert!(quote(&nearly, &[&Secret::new(alike.as_str())]).starts_with("aaaaaaab"));
        let escapes = "%61\\+".repeat(64 * 1024);
        quote(&escapes, &[&Secret::new(escapes.as_str())]);
        // A machine that is busy takes its time; what is quadratic takes hours.
        assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
    }

    #[test]
    fn ordinary_words_come_through_as_they_are() {
        assert_eq!(quoted(" The token – é – is 100% bad. "), "The token – é – is 100% bad.");
    }

    #[test]
    fn a_secret_is_masked_however_it_is_written() {
        for echo in [
            TOKEN,
            "v1.X8%2FNZ%20rk%2BUNO%3DmTA",
            "v1.X8%2fNZ+rk%2bUNO%3dmTA",
            "%76%31%2E%58%38%2F%4E%5A%20%72%6B%2B%55%4E%4F%3D%6D%54%41",
            "v1.X8/NZ\u{0} rk+U\nNO=mTA",
            "v1.X8\\/NZ rk+UNO=mTA",
            "v1.X8\\u002FNZ\\u0020rk\\u002bUNO=mTA",
        ] {
            assert_eq!(quoted(&format!("token {echo} is bad")), "token [secret] is bad", "{echo}");
        }
        assert_eq!(quoted("an-api-keyAN-API-KEY"), "[secret]");
    }

    #[test]
    fn what_looks_like_a_token_is_masked_though_nobody_showed_it() {
        let words =
            "the token eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ1In0.c2ln was replaced, see https://ecobee.com/help";
        assert_eq!(quoted(words), "the token [secret] was replaced, see https://ecobee.com/help");
    }

    #[test]
    fn a_long_word_or_a_long_number_is_no_token() {
        let words = "documentation/authorization of 2026-11-22-10-33-12-000000";
        assert_eq!(quoted(words), words);
    }

    #[test]
    fn what_is_like_a_secret_but_for_a_sign_that_may_encode_another_comes_through() {
        for words in ["an%20api%20key", "an+api+key"] {
            assert_eq!(quoted(words), words);
        }
    }

    #[test]
    fn a_blank_in_a_secret_is_known_as_a_plus_too() {
        assert_eq!(quote("of a+b+c+d+e", &[&Secret::new("a b c d e")]), "of [secret]");
    }

    #[test]
    fn a_percent_sign_in_a_secret_is_masked_in_both_spellings() {
        for (secret, encoded) in [("100%é-token", "100%25%C3%A9-token"), ("100%25-token", "100%2525-token")]
        {
            let secret = Secret::new(secret);
            assert_eq!(quote(&format!("{encoded} / {}", secret.expose()), &[&secret]), "[secret] / [secret]");
        }
    }

    #[test]
    fn a_secret_that_is_cut_off_is_masked_too() {
        assert_eq!(quoted("token v1.X8/NZ… is bad"), "token [secret]… is bad");
        assert_eq!(quoted("in v1.X9 and later"), "in v1.X9 and later");
        assert_eq!(quoted("token …8/NZ rk+UNO is bad"), "token …[secret] is bad");
        assert_eq!(quoted("token v1.X8&sol;NZ rk+UNO=mTA is bad"), "token v1.X8&sol;[secret] is bad");
    }

    #[test]
    fn the_limit_never_lays_part_of_a_secret_bare() {
        for before in 180..=200 {
            let x = "é".repeat(before);
            let shown = if before <= 192 { format!("{x}[secret]") } else { format!("{x}…") };
            assert_eq!(quoted(&format!("{x}{TOKEN}")), shown);
        }
        assert_eq!(quoted(&"é".repeat(300)), format!("{}…", "é".repeat(200)));
    }

    #[test]
    fn a_secret_with_control_characters_is_masked_without_them_too() {
        let secret = Secret::new("\u{1}to\u{7}ken-\u{85}one");
        assert_eq!(quote("see token-one", &[&secret]), "see [secret]");
        assert_eq!(quote("see %01to%07ken-%C2%85one", &[&secret]), "see [secret]");
    }

    proptest! {
        #[test]
        fn no_words_show_a_secret(before in ".{0,300}", secret in "[^\\[\\]]{9,40}", after in ".{0,50}") {
            let words = format!("{before}{secret}{after}");
            let quoted = quote(&words, &[&Secret::new(secret.clone())]);
            prop_assert!(!quoted.contains(&secret), "{}", quoted);
            prop_assert!(!quoted.contains(char::is_control));
            prop_assert!(quoted.chars().count() <= 201);
        }
    }
}
