//! What stands behind the question mark.

use std::time::Duration;

use super::problem::Problem;

/// A parameter's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parameter {
    MinTtl,
    Wait,
}

/// What the parameters say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Parameters {
    pub(super) min_ttl: Option<Duration>,
    pub(super) wait: Option<Duration>,
}

/// The longest wait that a client may ask for.
pub const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// Beyond any lifetime; numbers that are larger still mean the same and shall overflow nothing.
const LONGEST_TTL: u64 = u32::MAX as u64;

impl Parameter {
    const fn name(self) -> &'static str {
        match self {
            Self::MinTtl => "min_ttl",
            Self::Wait => "wait",
        }
    }

    const fn wanted(self) -> &'static str {
        match self {
            Self::MinTtl => "a number of whole seconds, as in min_ttl=300",
            Self::Wait => "a number of whole seconds from 0 to 3600, as in wait=60",
        }
    }

    fn read(self, value: &str) -> Option<Duration> {
        if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let seconds = value.parse().unwrap_or(u64::MAX);
        match self {
            Self::MinTtl => Some(seconds.min(LONGEST_TTL)),
            Self::Wait => Some(seconds).filter(|seconds| *seconds <= LONGEST_WAIT.as_secs()),
        }
        .map(Duration::from_secs)
    }
}

impl Parameters {
    /// Reads a query, of which only the `known` parameters may be part.
    pub(super) fn read(query: Option<&str>, known: &[Parameter]) -> Result<Self, Problem> {
        let mut said = Self::default();
        let Some(query) = query.filter(|query| !query.is_empty()) else {
            return Ok(said);
        };
        for piece in query.split('&') {
            let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
            let parameter = known
                .iter()
                .copied()
                .find(|parameter| parameter.name() == name)
                .ok_or_else(|| Problem::invalid(unknown(name, known)))?;
            let found = parameter.read(value).ok_or_else(|| {
                let (name, wanted) = (parameter.name(), parameter.wanted());
                Problem::invalid(format!("{name} is {wanted}; \"{}\" is not.", shown(value)))
            })?;
            let place = match parameter {
                Parameter::MinTtl => &mut said.min_ttl,
                Parameter::Wait => &mut said.wait,
            };
            if place.replace(found).is_some() {
                let name = parameter.name();
                return Err(Problem::invalid(format!("{name} is given more than once.")));
            }
        }
        Ok(said)
    }
}

fn unknown(name: &str, known: &[Parameter]) -> String {
    let names = known.iter().map(|parameter| parameter.name());
    let start = format!("There is no parameter \"{}\" here", shown(name));
    if let Some(nearest) = names.clone().find(|known| distance(name, known) <= known.len() / 3) {
        return format!("{start}; did you mean {nearest}?");
    }
    match names.collect::<Vec<_>>().join(" and ") {
        none if none.is_empty() => format!("{start}; this path takes none."),
        some => format!("{start}; this path takes {some}."),
    }
}

/// A client's own words, as far as they can be shown to it: what is long may be a token that stands in the wrong place, and
/// scripts log what they are told.
fn shown(words: &str) -> String {
    if words.chars().nth(20).is_none() {
        return words.to_owned();
    }
    words.chars().take(8).chain(['…']).collect()
}

/// So much of a client's own words as is worth comparing.
fn excerpt(words: &str) -> &str {
    words.char_indices().nth(40).map_or(words, |(end, _)| &words[..end])
}

/// How many letters must be put in, taken out or changed to make one word of the other (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let one = excerpt(one);
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (above, letter) in one.chars().enumerate() {
        let mut diagonal = above;
        let mut left = above + 1;
        for (cell, wanted) in row.iter_mut().skip(1).zip(other.chars()) {
            let changed = diagonal + usize::from(!letter.eq_ignore_ascii_case(&wanted));
            diagonal = *cell;
            left = changed.min(diagonal + 1).min(left + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = above + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn words_are_as_far_apart_as_letters_must_change() {
        for (one, other, apart) in [
            ("wait", "wait", 0),
            ("WAIT", "wait", 0),
            ("min-ttl", "min_ttl", 1),
            ("minttl", "min_ttl", 1),
            ("wiat", "wait", 2),
            ("", "wait", 4),
            ("timeout", "wait", 6),
        ] {
            assert_eq!(distance(one, other), apart, "{one} {other}");
        }
    }
}
