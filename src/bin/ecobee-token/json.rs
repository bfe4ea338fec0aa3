//! As much of JSON (RFC 8259) as the daemon's answers take: all of its grammar, but no numbers that are not whole.
//!
//! `serde_json` would be a fifth of this program. The tests hold this reader against it.

use zeroize::Zeroizing;

/// Nothing the daemon says is nested deeper than this.
const DEPTH: usize = 32;

/// A value.
#[derive(Debug)]
pub(crate) enum Value {
    /// Wiped when dropped: it may be a token.
    Text(Zeroizing<String>),
    /// A whole number of zero or more.
    Whole(u64),
    /// Members in their order.
    Object(Vec<(Zeroizing<String>, Value)>),
    /// Whatever else there is: null, true and false, lists, other numbers.
    Other,
}

/// Reads one value and nothing behind it.
pub(crate) fn read(text: &str) -> Option<Value> {
    let mut reader = Reader { text, at: 0 };
    let value = reader.value(DEPTH)?;
    reader.skip_space();
    (reader.at == text.len()).then_some(value)
}

impl Value {
    /// The member of this name; the last, where there are several.
    pub(crate) fn member(&self, name: &str) -> Option<&Self> {
        self.members().iter().rev().find(|(known, _)| known.as_str() == name).map(|(_, value)| value)
    }

    /// All members; none where it is no object.
    pub(crate) fn members(&self) -> &[(Zeroizing<String>, Self)] {
        match self {
            Self::Object(members) => members,
            Self::Text(_) | Self::Whole(_) | Self::Other => &[],
        }
    }

    /// The text of the member of this name.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        match self.member(name)? {
            Self::Text(text) => Some(text),
            Self::Whole(_) | Self::Object(_) | Self::Other => None,
        }
    }

    /// The whole number of the member of this name.
    pub(crate) fn whole(&self, name: &str) -> Option<u64> {
        match self.member(name)? {
            Self::Whole(number) => Some(*number),
            Self::Text(_) | Self::Object(_) | Self::Other => None,
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    /// Always between two characters.
    at: usize,
}

impl Reader<'_> {
    fn next(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.next(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    /// Takes the word, if it stands here.
    fn take(&mut self, word: &str) -> Option<()> {
        let here = self.text.as_bytes().get(self.at..)?.starts_with(word.as_bytes());
        here.then(|| self.at += word.len())
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        self.skip_space();
        match self.next()? {
            b'"' => self.string().map(Value::Text),
            b'{' => self
                .list(depth, "}", |reader, depth| {
                    reader.skip_space();
                    let name = reader.string()?;
                    reader.skip_space();
                    reader.take(":")?;
                    Some((name, reader.value(depth)?))
                })
                .map(Value::Object),
            b'[' => {
                self.list(depth, "]", |reader, depth| reader.value(depth).map(drop)).map(|_| Value::Other)
            }
            b'n' => self.take("null").map(|()| Value::Other),
            b't' => self.take("true").map(|()| Value::Other),
            b'f' => self.take("false").map(|()| Value::Other),
            _ => self.number(),
        }
    }

    /// Takes a bracket, items with commas between them, and the `end`.
    fn list<T>(
        &mut self,
        depth: usize,
        end: &str,
        item: impl Fn(&mut Self, usize) -> Option<T>,
    ) -> Option<Vec<T>> {
        let depth = depth.checked_sub(1)?;
        self.at += 1;
        let mut items = Vec::new();
        self.skip_space();
        if self.take(end).is_some() {
            return Some(items);
        }
        loop {
            items.push(item(self, depth)?);
            self.skip_space();
            if self.take(end).is_some() {
                return Some(items);
            }
            self.take(",")?;
        }
    }

    fn digits(&mut self) -> Option<&str> {
        let begin = self.at;
        while self.next().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        self.text.get(begin..self.at).filter(|digits| !digits.is_empty())
    }

    fn number(&mut self) -> Option<Value> {
        let mut whole = self.take("-").is_none();
        let digits = self.digits()?;
        if digits.len() > 1 && digits.starts_with('0') {
            return None;
        }
        let number = digits.parse().ok();
        if self.take(".").is_some() {
            self.digits()?;
            whole = false;
        }
        if self.take("e").or_else(|| self.take("E")).is_some() {
            let _ = self.take("+").or_else(|| self.take("-"));
            self.digits()?;
            whole = false;
        }
        Some(number.filter(|_| whole).map_or(Value::Other, Value::Whole))
    }

    fn string(&mut self) -> Option<Zeroizing<String>> {
        self.take("\"")?;
        // Room for all that could be of it, so that it does not leave copies behind while it grows.
        let room = self.text.get(self.at..)?.find('"')?;
        let mut string = Zeroizing::new(String::with_capacity(room));
        loop {
            let rest = self.text.get(self.at..)?;
            let plain = rest.find(|letter| matches!(letter, '"' | '\\' | '\0'..='\u{1f}'))?;
            string.push_str(rest.get(..plain)?);
            self.at += plain;
            if self.take("\"").is_some() {
                return Some(string);
            }
            self.take("\\")?;
            string.push(self.escape()?);
        }
    }

    fn escape(&mut self) -> Option<char> {
        let kind = self.next().filter(u8::is_ascii)?;
        self.at += 1;
        Some(match kind {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let unit = self.unit()?;
                // Two units make one character beyond the first 65,536 (RFC 8259, section 7).
                if !(0xd800..0xdc00).contains(&unit) {
                    return char::from_u32(unit);
                }
                self.take("\\u")?;
                let low = self.unit().filter(|low| (0xdc00..0xe000).contains(low))?;
                return char::from_u32(0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00));
            }
            _ => return None,
        })
    }

    /// Four hexadecimal digits.
    fn unit(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at + 4)?;
        self.at += 4;
        let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        u32::from_str_radix(digits, 16).ok().filter(|_| plain)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn same(ours: &Value, theirs: &serde_json::Value) -> bool {
        match ours {
            Value::Text(text) => theirs.as_str() == Some(text),
            Value::Whole(number) => theirs.as_u64() == Some(*number),
            Value::Object(_) => theirs.as_object().is_some_and(|object| {
                object.iter().all(|(name, theirs)| ours.member(name).is_some_and(|ours| same(ours, theirs)))
            }),
            Value::Other => theirs.as_str().is_none() && theirs.as_u64().is_none() && !theirs.is_object(),
        }
    }

    /// `serde_json` refuses numbers too large for a double, which nothing here is concerned with.
    fn agree(text: &str) -> bool {
        match (read(text), serde_json::from_str::<serde_json::Value>(text)) {
            (Some(ours), Ok(theirs)) => same(&ours, &theirs),
            (None, Err(_)) => true,
            (Some(_), Err(error)) => error.to_string().starts_with("number out of range"),
            (None, Ok(_)) => false,
        }
    }

    #[test]
    fn it_takes_and_refuses_what_serde_json_does() {
        for text in [
            "",
            " ",
            "0",
            "-0",
            "00",
            "01",
            "1.",
            "1.5e+3",
            "1e",
            "-",
            "+1",
            ".5",
            "18446744073709551615",
            "18446744073709551616",
            "\"a\"",
            "\"",
            "\"\\",
            "\"\\u00e9\\ud83d\\ude00\"",
            "\"\\ud83d\"",
            "\"\\ude00\"",
            "\"\\ud83dx\"",
            "\"\\u12\"",
            "\"\\u+123\"",
            "\"\\u12é\"",
            "\"\\é\"",
            "\"\n\"",
            "\"\u{7f}\u{9b}é\"",
            "\"\\/\\b\\f\"",
            "[]",
            "[1,]",
            "[,]",
            "[1 2]",
            "[",
            "{}",
            "{\"a\":1}",
            "{\"a\":1,}",
            "{\"a\"}",
            "{a:1}",
            "{\"a\":1,\"a\":2}",
            "null",
            "nul",
            "true",
            "false",
            "nullx",
            " { \"a\" : [ 1 , \"b\" , { } ] } ",
            "{} {}",
            "\u{feff}{}",
            "NaN",
        ] {
            assert!(agree(text), "{text:?}");
        }
    }

    #[test]
    fn deep_nesting_is_refused_before_the_stack_is_full() {
        assert!(read(&"[".repeat(1_000_000)).is_none());
        let deep = |levels| "[".repeat(levels) + &"]".repeat(levels);
        assert!(read(&deep(DEPTH)).is_some() && read(&deep(DEPTH + 1)).is_none());
    }

    proptest! {
        #[test]
        fn it_agrees_on_whatever_comes(text in ".{0,40}") {
            prop_assert!(agree(&text));
        }

        #[test]
        fn it_agrees_on_what_is_nearly_json(
            pieces in proptest::collection::vec(
                proptest::sample::select(vec![
                    "{", "}", "[", "]", ",", ":", "\"", "\\", "\\u", "d83d", "00e9", "\"a\"", "\"b\":", "null", "12", "-",
                    ".", "e", "0", " ", "\n", "é", "true",
                ]),
                0..12,
            ),
        ) {
            prop_assert!(agree(&pieces.concat()));
        }
    }
}
