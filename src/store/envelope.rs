//! What a file's bytes are wrapped in: nothing, or a cipher. Knows no record and no file.
//!
//! A plain file is its bytes. A sealed one is version 2, of which an older program knows that it is none of its own:
//!
//! ```json
//! {
//!   "version": 2,
//!   "account": "home",
//!   "cipher": "XChaCha20-Poly1305",
//!   "key_id": "8c1f20d6a94b7e35",
//!   "nonce": "…",
//!   "sealed": "…"
//! }
//! ```
//!
//! `sealed` is the plain file, to the byte, encrypted, and the tag behind it. The tag also stands for the version, the
//! account and the key, so that none of them can be changed, and no account's file be put in place of another's.

use std::io;

use chacha20poly1305::{Tag, XNonce};
use rustix::rand::{GetRandomFlags, getrandom};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::format::{self, Misfit, flaw};
use super::key::{Form, Key, KeyId, Keys, hex, unhex};
use super::note::Flaw;

/// The newest version that is written and read.
pub(super) const VERSION: u64 = 2;

const CIPHER: &str = "XChaCha20-Poly1305";

/// No plain file that we write comes near it; sealed, it is a little more than twice as long.
const LONGEST_PLAIN: usize = 1 << 20;

/// A tag's length.
const TAG: usize = 16;

#[derive(Serialize, Deserialize)]
struct Envelope<'a> {
    version: u64,
    account: &'a str,
    cipher: &'a str,
    key_id: &'a str,
    nonce: &'a str,
    sealed: &'a str,
}

/// The plain bytes of a file, out of their envelope.
pub(super) struct Opened {
    pub(super) plain: Zeroizing<Vec<u8>>,
    pub(super) form: Form,
    /// Whose file it is, beyond doubt: the key says so. A plain file has nothing beyond doubt.
    pub(super) sealed_for: Option<String>,
}

/// Wraps plain bytes for the disk: as they are, or encrypted with the key.
pub(super) fn wrap(
    mut plain: Zeroizing<Vec<u8>>,
    account: &str,
    key: Option<&Key>,
) -> io::Result<Zeroizing<Vec<u8>>> {
    let Some(key) = key else {
        return Ok(plain);
    };
    let key_id = key.id().to_string();
    let nonce = draw_nonce()?;
    // In place: what was secret in there no longer is.
    let tag = key.seal(&nonce, &about(account, &key_id), &mut plain);
    let envelope = Envelope {
        version: VERSION,
        account,
        cipher: CIPHER,
        key_id: &key_id,
        nonce: &hex(&[&nonce]),
        sealed: &hex(&[&plain, &tag]),
    };
    let mut bytes = serde_json::to_vec_pretty(&envelope)?;
    bytes.push(b'\n');
    Ok(Zeroizing::new(bytes))
}

/// Takes the bytes of a file out of what they are wrapped in. What comes out need not be a record.
pub(super) fn open(bytes: Zeroizing<Vec<u8>>, keys: &Keys) -> Result<Opened, Misfit> {
    match format::version_of(&bytes)? {
        format::VERSION if bytes.len() > LONGEST_PLAIN => Err(Misfit::Flawed(Flaw::TooLarge)),
        format::VERSION => Ok(Opened { plain: bytes, form: Form::Plain, sealed_for: None }),
        VERSION => unseal(&bytes, keys),
        newer => Err(Misfit::Newer(newer)),
    }
}

fn unseal(bytes: &[u8], keys: &Keys) -> Result<Opened, Misfit> {
    let envelope: Envelope<'_> = serde_json::from_slice(bytes).map_err(|error| flaw(&error))?;
    let strange = || Misfit::Flawed(Flaw::StrangeEnvelope);
    let id = KeyId::parse(envelope.key_id).filter(|_| envelope.cipher == CIPHER).ok_or_else(strange)?;
    let key = keys.find(id).ok_or(Misfit::Sealed(id))?;
    let mut nonce = XNonce::default();
    let mut plain = Zeroizing::new(vec![0; envelope.sealed.len() / 2]);
    if !unhex(envelope.nonce.as_bytes(), &mut nonce) || !unhex(envelope.sealed.as_bytes(), &mut plain) {
        return Err(strange());
    }
    let length = plain.len().checked_sub(TAG).ok_or_else(strange)?;
    let (text, tag) = plain.split_at_mut(length);
    let tag = Tag::try_from(&*tag).map_err(|_| strange())?;
    key.open(&nonce, &about(envelope.account, envelope.key_id), text, &tag)
        .ok_or(Misfit::Flawed(Flaw::Altered { key: id }))?;
    plain.truncate(length);
    Ok(Opened { plain, form: Form::Sealed(id), sealed_for: Some(envelope.account.to_owned()) })
}

/// What the tag stands for beside the content. No account's name and no key's has a zero in it, so that no other pair
/// of them reads the same.
fn about(account: &str, key_id: &str) -> Vec<u8> {
    format!("ecobee-tokend store\0{VERSION}\0{CIPHER}\0{key_id}\0{account}").into_bytes()
}

/// 24 bytes that nobody has drawn before. Waits where the kernel has gathered no randomness yet, early in a boot.
fn draw_nonce() -> io::Result<XNonce> {
    let mut nonce = XNonce::default();
    let drawn = rustix::io::retry_on_intr(|| getrandom(&mut *nonce, GetRandomFlags::empty()))?;
    if drawn == nonce.len() { Ok(nonce) } else { Err(io::Error::other("too few random numbers")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::SecretBytes;

    fn key(mark: u8) -> Key {
        Key::of(&SecretBytes::copy_of(&[mark; 32]))
    }

    fn keys(mark: u8) -> Keys {
        Keys::new(Some(key(mark)), None)
    }

    const PLAIN: &[u8] = br#"{"version": 1, "secret": "sesame"}"#;

    fn sealed() -> String {
        let bytes = wrap(Zeroizing::new(PLAIN.to_vec()), "home", Some(&key(1))).expect("random numbers");
        String::from_utf8(bytes.to_vec()).expect("JSON is text")
    }

    fn reopened(bytes: impl AsRef<[u8]>, keys: &Keys) -> Result<Opened, Misfit> {
        open(Zeroizing::new(bytes.as_ref().to_vec()), keys)
    }

    #[test]
    fn what_was_sealed_comes_out_as_it_went_in() {
        let opened = reopened(sealed(), &keys(1)).expect("the right key");
        assert_eq!(*opened.plain, PLAIN);
        assert_eq!(opened.form, Form::Sealed(key(1).id()));
        assert_eq!(opened.sealed_for.as_deref(), Some("home"));
        let previous = Keys::new(Some(key(2)), Some(key(1)));
        assert_eq!(*reopened(sealed(), &previous).expect("the right key").plain, PLAIN);
    }

    #[test]
    fn without_a_key_nothing_is_changed() {
        let bytes = wrap(Zeroizing::new(PLAIN.to_vec()), "home", None).expect("nothing is drawn");
        assert_eq!(*bytes, PLAIN);
        let opened = reopened(&*bytes, &keys(1)).expect("it is plain");
        assert_eq!((&*opened.plain, opened.form), (&PLAIN.to_vec(), Form::Plain));
    }

    #[test]
    fn the_same_content_never_looks_the_same_twice_and_shows_nothing() {
        let (one, two) = (sealed(), sealed());
        let line = |text: &str, at| text.lines().nth(at).expect("a line").to_owned();
        for at in [5, 6] {
            assert_ne!(line(&one, at), line(&two, at));
        }
        assert!(!one.contains("sesame") && !one.contains(&hex(&[b"sesame"])));
    }

    #[test]
    fn another_key_s_file_is_told_from_a_damaged_one() {
        for others in [keys(2), Keys::default()] {
            assert!(matches!(reopened(sealed(), &others), Err(Misfit::Sealed(id)) if id == key(1).id()));
        }
        let renamed = sealed().replace("\"home\"", "\"cabin\"");
        let altered = Flaw::Altered { key: key(1).id() };
        assert!(matches!(reopened(renamed, &keys(1)), Err(Misfit::Flawed(flaw)) if flaw == altered));
    }

    #[test]
    fn no_single_bit_can_be_changed_unnoticed() {
        let whole = sealed();
        let mut harmless = 0;
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone().into_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(opened) = reopened(&bytes, &keys(1)) {
                assert_eq!((&**opened.plain, opened.form), (PLAIN, Form::Sealed(key(1).id())), "bit {bit}");
                harmless += 1;
            }
        }
        // A blank between two members may become nothing else that JSON takes for one; a letter never.
        assert!(harmless < 16, "{harmless} bits could be changed");
    }

    #[test]
    fn no_piece_of_it_is_taken_for_the_whole() {
        let whole = sealed();
        for length in 0..whole.len() - 1 {
            assert!(reopened(&whole[..length], &keys(1)).is_err(), "{length} bytes");
        }
        let start = whole.find("\"sealed\": \"").expect("it has one") + 11;
        let end = whole.rfind('"').expect("it ends");
        for length in 0..end - start {
            let cut = format!("{}{}", &whole[..start + length], &whole[end..]);
            assert!(reopened(cut, &keys(1)).is_err(), "{length} digits");
        }
    }

    #[test]
    fn an_envelope_that_is_none_of_ours_is_told_without_a_quotation() {
        let whole = sealed();
        for (ours, strange) in [
            (CIPHER, "sesame"),
            ("\"nonce\": \"", "\"nonce\": \"sesame"),
            ("\"key_id\": \"", "\"key_id\": \"sesame"),
            ("\"sealed\": \"", "\"sealed\": \"sesame"),
            ("\"sealed\": \"", "\"sesame\": \""),
        ] {
            let other = whole.replacen(ours, strange, 1);
            assert_ne!(other, whole);
            match reopened(other, &keys(1)) {
                Err(Misfit::Flawed(flaw)) => assert!(!flaw.to_string().contains("sesame"), "{flaw}"),
                Ok(_) | Err(_) => panic!("{strange}"),
            }
        }
    }

    #[test]
    fn a_program_that_knows_version_1_alone_leaves_it_alone() {
        // Such a program reads a file's version this way, and has since its first day.
        assert_eq!(format::version_of(sealed().as_bytes()).expect("it has one"), 2);
        assert!(matches!(format::decode(sealed().as_bytes(), "home"), Err(Misfit::Newer(2))));
    }
}
