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

    fn wanted(self) -> String {
        match self {
            Self::MinTtl => "a number of whole seconds, as in min_ttl=300".to_owned(),
            Self::Wait => {
                format!("a number of whole seconds from 0 to {}, as in wait=60", LONGEST_WAIT.as_secs())
            }
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
    let names: Vec<_> = known.iter().map(|parameter| parameter.name()).collect();
    let takes = if names.is_empty() { "none".to_owned() } else { names.join(" and ") };
    format!("There is no parameter \"{}\" here; this path takes {takes}.", shown(name))
}

/// A client's own words, as far as they can be shown to it: what is long may be a token that stands in the wrong place, and
/// scripts log what they are told.
fn shown(words: &str) -> String {
    if words.chars().nth(20).is_none() {
        return words.to_owned();
    }
    words.chars().take(8).chain(['…']).collect()
}
