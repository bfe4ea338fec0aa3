//! Words from outside, fit to be shown.

use std::borrow::Cow;

use zeroize::Zeroizing;

use crate::secret::Secret;

/// The most characters that are quoted.
const MOST: usize = 200;
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
    let secrets: Vec<Zeroizing<String>> = shown
        .iter()
        .flat_map(|secret| [secret.expose().to_owned(), plain(secret.expose()).trim().to_owned()])
        .filter(|secret| !secret.is_empty())
        .map(Zeroizing::new)
        .collect();
    let mut quoted = String::new();
    let mut rest = words.trim();
    let mut room = MOST;
    let mut before = ' ';
    while let Some(first) = rest.chars().next() {
        let run = if is_of_tokens(before) { 0 } else { token_like(rest) };
        let masked = secrets.iter().map(|secret| echo(rest, secret)).max().unwrap_or(0).max(run);
        let (piece, length) =
            if masked > 0 { (MASK, masked) } else { (&rest[..first.len_utf8()], first.len_utf8()) };
        let Some(left) = room.checked_sub(piece.chars().count()) else {
            quoted.push('…');
            break;
        };
        quoted.push_str(piece);
        before = rest[..length].chars().next_back().unwrap_or(' ');
        rest = &rest[length..];
        room = left;
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

/// How many bytes of the beginning of `words` repeat `secret`, or a part of it that is long enough to give it away; each
/// byte plain, percent-encoded or escaped as in JSON. 0 if too few do.
fn echo(words: &str, secret: &str) -> usize {
    let parts = (1..secret.len().saturating_sub(TELLING)).filter_map(|from| secret.get(from..));
    [secret].into_iter().chain(parts).map(|part| echo_of_part(words, part)).max().unwrap_or(0)
}

fn echo_of_part(words: &str, part: &str) -> usize {
    // A percent sign may be the secret's own or begin an encoding: where both fit, one reading goes further.
    let own = echo_by(part, words, |rest, byte| plainly(rest, byte).or_else(|| encoded(rest, byte)));
    let encoding = echo_by(part, words, |rest, byte| encoded(rest, byte).or_else(|| plainly(rest, byte)));
    own.max(encoding)
}

/// The same, where `repeats` says how many bytes repeat a byte of the secret, if any do.
fn echo_by(secret: &str, words: &str, repeats: impl Fn(&[u8], u8) -> Option<usize>) -> usize {
    let mut rest = words.as_bytes();
    let mut repeated = 0;
    for &byte in secret.as_bytes() {
        let Some(length) = repeats(rest, byte) else { break };
        rest = &rest[length..];
        repeated += 1;
    }
    if repeated < secret.len().min(TELLING) {
        return 0;
    }
    // The words may go on with another character that begins with the same byte.
    let end = words.len() - rest.len();
    (0..=end).rev().find(|&end| words.is_char_boundary(end)).unwrap_or(0)
}

fn plainly(words: &[u8], byte: u8) -> Option<usize> {
    words.starts_with(&[byte]).then_some(1)
}

fn encoded(words: &[u8], byte: u8) -> Option<usize> {
    match *words {
        [b'%', high, low, ..] if hex(high, low) == Some(byte) => Some(3),
        [b'+', ..] if byte == b' ' => Some(1),
        [b'\\', b'u', b'0', b'0', high, low, ..] if byte.is_ascii() && hex(high, low) == Some(byte) => {
            Some(6)
        }
        [b'\\', next, ..] if next == byte => Some(2),
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
        assert_eq!(quoted("an-api-keyan-api-key"), "[secret][secret]");
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
