//! The members of a JSON answer.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use zeroize::Zeroizing;

use crate::secret::Secret;

/// The members of a JSON object, each read on its own, so that a strange one spoils no other. Of a name that occurs
/// twice the last one counts. The values stay in the answer's buffer, which is wiped.
pub(super) struct Members<'a>(BTreeMap<String, &'a RawValue>);

impl<'a> Members<'a> {
    pub(super) fn read(text: &'a str) -> Option<Self> {
        serde_json::from_str(text.trim_start_matches('\u{feff}')).ok().map(Self)
    }

    fn raw(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).map(|value| value.get())
    }

    /// Whether the member is there and not null.
    pub(super) fn has(&self, name: &str) -> bool {
        self.raw(name).is_some_and(|raw| raw != "null")
    }

    pub(super) fn text(&self, name: &str) -> Option<Zeroizing<String>> {
        serde_json::from_str(self.raw(name)?).ok().map(Zeroizing::new)
    }

    /// A text that can be shown to ecobee again: one that lost bytes in reading cannot.
    pub(super) fn secret(&self, name: &str) -> Option<Secret> {
        self.text(name)
            .filter(|text| !text.is_empty() && !text.contains(char::REPLACEMENT_CHARACTER))
            .map(|text| Secret::new(text.as_str()))
    }

    /// A finite number, or one in a text.
    pub(super) fn number(&self, name: &str) -> Option<f64> {
        let text = self.text(name);
        let digits = text.as_ref().map_or(self.raw(name)?, |text| text.trim());
        digits.parse().ok().filter(|number: &f64| number.is_finite())
    }

    /// A whole number as it was written.
    pub(super) fn digits(&self, name: &str) -> Option<&'a str> {
        self.raw(name).filter(|raw| raw.bytes().all(|byte| byte.is_ascii_digit()))
    }

    pub(super) fn object(&self, name: &str) -> Option<Self> {
        Self::read(self.raw(name)?)
    }
}
