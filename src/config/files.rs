//! Reading small files whole: never more than a limit, never a pipe that would wait.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use zeroize::Zeroizing;

use crate::secret::{Secret, SecretBytes};

/// Longer secrets than this are taken for a wrong file.
const LONGEST_SECRET: usize = 4096;

/// Fewer bytes than this make no key of 256 bits, however random they are.
const LEAST_MATERIAL: usize = 32;

/// 32 random bytes, or as many in hexadecimal, have more different ones than this, but for a chance of one in 10^18.
const LEAST_KINDS: usize = 8;

/// Why a file was not read; reads on behind the file's name.
#[derive(Debug)]
pub(super) enum Unreadable {
    Missing,
    Forbidden,
    NotAFile,
    TooLong(usize),
    Other(io::Error),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("does not exist"),
            Self::Forbidden => write!(f, "may not be read by uid {}", rustix::process::geteuid().as_raw()),
            Self::NotAFile => f.write_str("is not a regular file"),
            Self::TooLong(limit) => write!(f, "is longer than {} KiB", limit / 1024),
            Self::Other(error) => write!(f, "cannot be read: {error}"),
        }
    }
}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound {
            Self::Missing
        } else if error.kind() == io::ErrorKind::PermissionDenied {
            Self::Forbidden
        } else {
            Self::Other(error)
        }
    }
}

/// The bytes of a regular file of at most `limit` bytes, wiped when dropped.
pub(super) fn read(path: &Path, limit: usize) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(Unreadable::NotAFile);
    }
    let expected = usize::try_from(metadata.len()).map_or(limit, |length| length.min(limit));
    let mut bytes = Zeroizing::new(Vec::with_capacity(expected + 1));
    File::open(path)?.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > limit { Err(Unreadable::TooLong(limit)) } else { Ok(bytes) }
}

/// A secret that fills a file; white space at its end is cut off. The error reads on behind the file's name.
pub(super) fn read_secret(path: &Path) -> Result<Secret, String> {
    let bytes = read(path, LONGEST_SECRET).map_err(|why| why.to_string())?;
    checked_secret(bytes.trim_ascii_end())
}

/// Takes bytes for a secret if they are 1 to 4096 characters of visible ASCII.
pub(super) fn checked_secret(bytes: &[u8]) -> Result<Secret, String> {
    if bytes.is_empty() {
        return Err("is empty".to_owned());
    }
    if bytes.len() > LONGEST_SECRET {
        return Err(Unreadable::TooLong(LONGEST_SECRET).to_string());
    }
    match std::str::from_utf8(bytes) {
        Ok(text) if bytes.iter().all(u8::is_ascii_graphic) => Ok(Secret::new(text)),
        _ => Err("holds a space or a character that is not visible ASCII".to_owned()),
    }
}

/// The material of a key that fills a file, in whatever form: hexadecimal, Base64, bytes as they come. Line ends behind
/// a text are no part of it. The error reads on behind the file's name.
pub(super) fn read_key_material(path: &Path) -> Result<SecretBytes, String> {
    let bytes = read(path, LONGEST_SECRET).map_err(|why| why.to_string())?;
    let mut material = bytes.as_slice();
    if material.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) {
        while let [rest @ .., b'\r' | b'\n'] = material {
            material = rest;
        }
    }
    if material.is_empty() {
        return Err("is empty".to_owned());
    }
    if material.len() < LEAST_MATERIAL {
        return Err(format!("has only {} bytes in it, too few for a key", material.len()));
    }
    let kinds = material.iter().collect::<BTreeSet<_>>().len();
    if kinds < LEAST_KINDS {
        return Err(format!("is filled with {kinds} different byte(s), which is no key"));
    }
    Ok(SecretBytes::copy_of(material))
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::Unreadable;

    #[test]
    fn a_forbidden_file_is_told_with_the_user_it_is_forbidden_to() {
        let why = Unreadable::from(io::Error::from(io::ErrorKind::PermissionDenied)).to_string();
        let uid = rustix::process::geteuid().as_raw();
        assert_eq!(why, format!("may not be read by uid {uid}"));
    }
}
