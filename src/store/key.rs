//! The keys that files are sealed with, and the cipher: XChaCha20-Poly1305. Knows no file.
//!
//! Its nonces of 24 bytes may be drawn at random at any number of saves, so that nothing needs to be counted, and a
//! folder that was put back to an older copy does no harm. ring, which TLS brings along, has no such cipher, and does not
//! wipe what it has hashed.

use std::fmt;

use chacha20poly1305::aead::inout::InOutBuf;
use chacha20poly1305::{AeadInOut, KeyInit, Tag, XChaCha20Poly1305, XNonce};
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

use crate::secret::SecretBytes;

/// What tells one key from another, in messages and in files, and gives nothing of it away.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyId([u8; 8]);

/// A key of 256 bits, wiped when dropped.
pub struct Key {
    secret: Zeroizing<Box<[u8]>>,
    id: KeyId,
}

/// The keys of a store: the one that is written with, and one that is only read with any more.
#[derive(Default)]
pub struct Keys {
    today: Option<Key>,
    previous: Option<Key>,
}

/// How the bytes of a file are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As they are.
    Plain,
    /// Encrypted with this key.
    Sealed(KeyId),
}

impl Key {
    /// The key that is made of this material, whatever its form: random bytes, or a text of them.
    ///
    /// SHA-256 is enough for that, as the material is random and as long as a key at least; a prefix of our own keeps
    /// the same material from making the same key elsewhere.
    pub fn of(material: &SecretBytes) -> Self {
        let secret = Zeroizing::new(hash(b"ecobee-tokend store key\0", material.expose()));
        let mut id = KeyId([0; 8]);
        id.0.copy_from_slice(&hash(b"ecobee-tokend store key id\0", &secret)[..8]);
        Self { secret, id }
    }

    /// What it is called.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// Encrypts in place; `about` must be the same when it is opened.
    pub(super) fn seal(&self, nonce: &XNonce, about: &[u8], text: &mut [u8]) -> Tag {
        self.cipher()
            .encrypt_inout_detached(nonce, about, InOutBuf::from(text))
            .expect("a file is far from the 256 GiB that are too much for one nonce")
    }

    /// Decrypts in place, if it is what was sealed, to the last bit; otherwise nothing is changed.
    pub(super) fn open(&self, nonce: &XNonce, about: &[u8], text: &mut [u8], tag: &Tag) -> Option<()> {
        self.cipher().decrypt_inout_detached(nonce, about, InOutBuf::from(text), tag).ok()
    }

    /// Wiped after each use, as it holds the key.
    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new_from_slice(&self.secret).expect("the key has 32 bytes")
    }
}

/// SHA-256 of both, one after the other, of which no copy is left behind.
pub(super) fn hash(prefix: &[u8], bytes: &[u8]) -> Box<[u8]> {
    let mut hash = Sha256::new();
    hash.update(prefix);
    hash.update(bytes);
    let mut digest = hash.finalize();
    let copy = digest.as_slice().into();
    digest.as_mut_slice().zeroize();
    copy
}

impl Keys {
    /// `today` is written with, and both are read with. A store with a `previous` one alone goes back to plain files.
    /// The same key twice is one key.
    pub fn new(today: Option<Key>, previous: Option<Key>) -> Self {
        let id = today.as_ref().map(Key::id);
        Self { today, previous: previous.filter(|key| Some(key.id) != id) }
    }

    /// The one that is written with.
    pub fn today(&self) -> Option<&Key> {
        self.today.as_ref()
    }

    /// The one that is only read with.
    pub fn previous(&self) -> Option<&Key> {
        self.previous.as_ref()
    }

    /// Whether what is encrypted with this key can be read.
    pub fn opens(&self, id: KeyId) -> bool {
        self.find(id).is_some()
    }

    /// How files are written.
    pub(super) fn form(&self) -> Form {
        self.today.as_ref().map_or(Form::Plain, |key| Form::Sealed(key.id))
    }

    pub(super) fn find(&self, id: KeyId) -> Option<&Key> {
        self.all().find(|key| key.id == id)
    }

    /// What they are called, today's first.
    pub(super) fn ids(&self) -> Vec<KeyId> {
        self.all().map(Key::id).collect()
    }

    fn all(&self) -> impl Iterator<Item = &Key> {
        self.today.iter().chain(&self.previous)
    }
}

impl KeyId {
    /// Reads what [`fmt::Display`] writes, and nothing else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut id = Self([0; 8]);
        unhex(text.as_bytes(), &mut id.0).then_some(id)
    }
}

/// The bytes of all parts, one after the other, in hexadecimal digits.
pub(super) fn hex(parts: &[&[u8]]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let bytes = parts.iter().flat_map(|part| part.iter());
    bytes
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

/// Fills `to` with the bytes that hexadecimal digits of our own stand for: two a byte, small letters only, so that no
/// other text means the same.
pub(super) fn unhex(digits: &[u8], to: &mut [u8]) -> bool {
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    digits.len() == 2 * to.len()
        && digits.chunks_exact(2).zip(to).all(|(pair, byte)| {
            let read = value(pair[0]).zip(value(pair[1])).map(|(high, low)| high * 16 + low);
            read.inspect(|read| *byte = *read).is_some()
        })
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&[&self.0]))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("id", &self.id).finish_non_exhaustive()
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ids()).finish()
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain => f.write_str("not encrypted"),
            Self::Sealed(id) => write!(f, "encrypted with the key {id}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_that_is_made_of_some_material_never_changes() {
        // Were it to change, no grant that is encrypted anywhere could be read any more.
        let key = Key::of(&SecretBytes::copy_of(b"made-up material of thirty-two b"));
        assert_eq!(hex(&[&key.secret]), KEY);
        assert_eq!(key.id().to_string(), ID);
    }

    /// `printf 'ecobee-tokend store key\0made-up material of thirty-two b' | sha256sum`
    const KEY: &str = "43d7b2e20b6c70b8abda33a8f1bccd37146219c139b9de5cb88d146fc4acd475";

    /// `{ printf 'ecobee-tokend store key id\0'; printf %s KEY | xxd -r -p; } | sha256sum | cut -c 1-16`
    const ID: &str = "a1b676463cf43302";

    #[test]
    fn it_is_the_cipher_that_others_call_by_this_name() {
        // draft-irtf-cfrg-xchacha-03, appendix A.3.1.
        let secret: Box<[u8]> = (0x80..0xa0).collect();
        let key = Key { secret: Zeroizing::new(secret), id: KeyId([0; 8]) };
        let nonce = XNonce::from(std::array::from_fn(|at| 0x40 + u8::try_from(at).expect("24 of them")));
        let about = [0x50, 0x51, 0x52, 0x53, 0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7];
        let plain =
            b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, \
                      sunscreen would be it.";
        let mut text = plain.to_vec();
        let tag = key.seal(&nonce, &about, &mut text);
        assert_eq!(hex(&[&text[..16]]), "bd6d179d3e83d43b9576579493c0e939");
        assert_eq!(hex(&[&tag]), "c0875924c1c7987947deafd8780acf49");
        assert!(key.open(&nonce, &about, &mut text, &tag).is_some());
        assert_eq!(text, plain);
    }

    #[test]
    fn only_small_hexadecimal_digits_of_the_right_number_are_read() {
        let mut two = [0; 2];
        assert!(unhex(b"0aff", &mut two) && two == [0x0a, 0xff]);
        for other in ["", "0af", "0aff0", "0aFF", "0ag0", " aff", "+aff"] {
            assert!(!unhex(other.as_bytes(), &mut two), "{other}");
        }
        let id = KeyId([0, 1, 2, 3, 0xfc, 0xfd, 0xfe, 0xff]);
        assert_eq!(KeyId::parse(&id.to_string()), Some(id));
    }

    #[test]
    fn debug_output_tells_the_key_s_name_and_nothing_else() {
        let keys = Keys::new(None, Some(Key::of(&SecretBytes::copy_of(&[7; 32]))));
        let id = keys.previous().expect("there is one").id();
        assert_eq!(format!("{keys:?}"), format!("[KeyId({id})]"));
        assert_eq!(format!("{:?}", keys.previous), format!("Some(Key {{ id: KeyId({id}), .. }})"));
    }
}
