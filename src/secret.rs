//! Strings, and bytes, that refuse to be printed.
//!
//! Tokens, authorization codes and API keys travel through the house as [`Secret`]. It has no `Display`, no
//! `Serialize` and no `Deref`: whoever wants the characters must say [`Secret::expose`], and that word is
//! searched for in reviews.

use std::fmt;

use zeroize::Zeroizing;

/// A string that is wiped when dropped and shows only `[secret]` to a debugger.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Box<str>>);

impl Secret {
    /// Takes the characters over; nothing is checked.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The characters themselves: for the wire and the store, never for a message.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there are no characters at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Bytes of which the same holds: the material of a key.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretBytes(Zeroizing<Box<[u8]>>);

impl SecretBytes {
    /// Takes a copy; nothing is checked.
    pub fn copy_of(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// The bytes themselves: for whoever makes a key of them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

#[cfg(test)]
mod tests {
    use super::{Secret, SecretBytes};

    #[test]
    fn debug_output_shows_nothing_of_a_secret() {
        let shown = format!("{:?}", Secret::new("og2Obost3ucRo1ofo0ED"));
        assert_eq!(shown, "[secret]");
        assert_eq!(format!("{:?}", SecretBytes::copy_of(b"og2Obost3ucRo1ofo0ED")), "[secret]");
    }
}
