//! Record to bytes and back: JSON, version 1. Knows no file and no cipher.
//!
//! A member may be added within a version: unknown ones are ignored. One whose absence or meaning would mislead
//! this program needs the next version, which this program then leaves alone.

use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use serde::de::{Deserializer, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::key::{KeyId, hash, hex};
use super::note::{Doubt, Flaw};
use super::passage::{Passage, Written};
use crate::clock::Reading;
use crate::keeper::{AccessToken, Moment, Record, StoredAccess, StoredGrant, StoredPin, Tidings};
use crate::secret::Secret;

/// The version of a plain file.
pub(super) const VERSION: u64 = 1;

/// Which API key a grant belongs to, without the key.
///
/// SHA-256 over a prefix of our own and the key, in hexadecimal. API keys are 32 random characters, so that a
/// plain hash gives nothing away; the prefix keeps it from matching a hash of the key made elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of an API key.
    pub fn of(key: &Secret) -> Self {
        let mut fingerprint = Self([0; 32]);
        fingerprint.0.copy_from_slice(&hash(b"ecobee-tokend API key\0", key.expose().as_bytes()));
        fingerprint
    }

    fn hex(&self) -> String {
        hex(&[&self.0])
    }
}

/// What a file says; its moments are those of the boot that wrote it.
#[derive(Serialize, Deserialize)]
pub(super) struct Content {
    version: u64,
    account: String,
    api_key_sha256: String,
    clock: Written,
    grant: Option<Grant>,
    pin: Option<Pin>,
    /// Absent in files of before it was written.
    #[serde(default)]
    told: Told,
}

#[derive(Serialize, Deserialize)]
struct Grant {
    access: Option<Access>,
    refresh_token: Kept,
    previous_refresh_token: Option<Kept>,
    refusals: u32,
    refresh_sent: bool,
}

#[derive(Serialize, Deserialize)]
struct Access {
    token: Kept,
    token_type: String,
    scope: Option<String>,
    issued_at_ms: i64,
    refresh_at_ms: i64,
    expires_at_ms: i64,
}

#[derive(Serialize, Deserialize)]
struct Pin {
    #[serde(rename = "pin")]
    text: String,
    code: Kept,
    expires_at_ms: i64,
    interval_ms: u64,
}

#[derive(Default, Serialize, Deserialize)]
struct Told {
    pin_at_ms: Option<i64>,
    loss_at_ms: Option<i64>,
}

/// A secret on its way to the file or from it: [`Secret`] itself refuses to be serialized.
struct Kept(Secret);

impl Serialize for Kept {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose())
    }
}

impl<'de> Deserialize<'de> for Kept {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Characters;

        impl Visitor<'_> for Characters {
            type Value = Kept;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            // Straight from the bytes of the file, which are wiped: no `String` in between.
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Kept, E> {
                Ok(Kept(Secret::new(text)))
            }
        }

        deserializer.deserialize_str(Characters)
    }
}

/// Why bytes are not a record for this account.
#[derive(Debug)]
pub(super) enum Misfit {
    /// Nobody can use them.
    Flawed(Flaw),
    /// A newer version of this program can: this is its number.
    Newer(u64),
    /// They are encrypted with a key that is not here.
    Sealed(KeyId),
}

/// The bytes of a record. They are wiped when dropped, and nothing else holds a copy.
pub(super) fn encode(account: &str, key: &Fingerprint, record: &Record, now: &Reading) -> Zeroizing<Vec<u8>> {
    let content = Content {
        version: VERSION,
        account: account.to_owned(),
        api_key_sha256: key.hex(),
        clock: Written::at(now),
        grant: record.grant.as_ref().map(Grant::from),
        pin: record.pin.as_ref().map(Pin::from),
        told: Told {
            pin_at_ms: record.told.pin_at.map(Moment::as_millis),
            loss_at_ms: record.told.loss_at.map(Moment::as_millis),
        },
    };
    // A vector that grows leaves its former self behind unwiped, so the length is measured first.
    let mut length = Length(0);
    content.write_to(&mut length);
    let mut bytes = Zeroizing::new(Vec::with_capacity(length.0));
    content.write_to(&mut *bytes);
    bytes
}

/// What the bytes say, if they are whole and belong to this account.
pub(super) fn decode(bytes: &[u8], account: &str) -> Result<Content, Misfit> {
    let content = parse(bytes)?;
    if content.account == account { Ok(content) } else { Err(Misfit::Flawed(Flaw::OtherAccount)) }
}

/// What the bytes say, if they are whole, whosever they are.
pub(super) fn parse(bytes: &[u8]) -> Result<Content, Misfit> {
    match version_of(bytes)? {
        VERSION => serde_json::from_slice(bytes).map_err(|error| flaw(&error)),
        newer => Err(Misfit::Newer(newer)),
    }
}

/// The version, which comes first and alone: in a newer file all the rest may look different.
pub(super) fn version_of(bytes: &[u8]) -> Result<u64, Misfit> {
    #[derive(Deserialize)]
    struct Head {
        version: Option<serde_json::Value>,
    }

    // serde also takes a list for a struct, and a list is none of ours, whatever number it begins with.
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()).is_some_and(|&byte| byte == b'[') {
        return Err(Misfit::Flawed(Flaw::WrongForm { line: 1, column: 1 }));
    }
    let head: Head = serde_json::from_slice(bytes).map_err(|error| flaw(&error))?;
    let version = head.version.and_then(|version| version.as_u64());
    version.filter(|&version| version >= VERSION).ok_or(Misfit::Flawed(Flaw::NoVersion))
}

/// The place of the fault and nothing of serde's own text, which quotes the file.
pub(super) fn flaw(error: &serde_json::Error) -> Misfit {
    let (line, column) = (error.line(), error.column());
    Misfit::Flawed(if error.is_data() {
        Flaw::WrongForm { line, column }
    } else {
        Flaw::NotJson { line, column }
    })
}

impl Content {
    /// Whose record it is, as it says itself.
    pub(super) fn account(&self) -> &str {
        &self.account
    }

    /// Whether it belongs to this API key.
    pub(super) fn is_of(&self, key: &Fingerprint) -> bool {
        self.api_key_sha256 == key.hex()
    }

    /// Whether both belong to the same API key.
    pub(super) fn shares_key_with(&self, other: &Self) -> bool {
        self.api_key_sha256 == other.api_key_sha256
    }

    fn write_to(&self, sink: &mut impl io::Write) {
        serde_json::to_writer_pretty(&mut *sink, self)
            .map_err(io::Error::from)
            .and_then(|()| sink.write_all(b"\n"))
            .expect("strings and numbers always become JSON, and memory takes it");
    }

    /// The record on the clock of this boot, and why its access token was dropped if it may be dead.
    pub(super) fn into_record(self, now: &Reading) -> (Record, Option<Doubt>) {
        let passage = Passage::new(&self.clock, now);
        let mut doubt = None;
        let grant = self.grant.map(|grant| StoredGrant {
            access: grant.access.and_then(|access| {
                access.survivor(grant.refresh_sent, &passage, now).unwrap_or_else(|why| {
                    doubt = Some(why);
                    None
                })
            }),
            refresh_token: grant.refresh_token.0,
            previous: grant.previous_refresh_token.map(|previous| previous.0),
            refusals: grant.refusals,
            refresh_sent: grant.refresh_sent,
            disbelieved: doubt.is_some() && !grant.refresh_sent,
        });
        let pin = self.pin.map(|pin| StoredPin {
            pin: pin.text,
            code: pin.code.0,
            expires_at: passage.moment(pin.expires_at_ms),
            interval: Duration::from_millis(pin.interval_ms),
        });
        let told = Tidings {
            pin_at: self.told.pin_at_ms.map(|at| passage.moment(at)),
            loss_at: self.told.loss_at_ms.map(|at| passage.moment(at)),
        };
        (Record { grant, pin, told }, doubt)
    }
}

impl Access {
    /// The access token if it lives, `None` if it has expired.
    fn survivor(
        self,
        refresh_sent: bool,
        passage: &Passage,
        now: &Reading,
    ) -> Result<Option<StoredAccess>, Doubt> {
        if refresh_sent {
            return Err(Doubt::RefreshSent);
        }
        if let Some(doubt) = passage.doubt() {
            return Err(doubt);
        }
        let issued_at = passage.moment(self.issued_at_ms);
        let expires_at = passage.moment(self.expires_at_ms);
        if now.moment < issued_at {
            return Err(Doubt::IssuedInTheFuture);
        }
        if expires_at <= now.moment {
            return Ok(None);
        }
        if !is_servable(self.token.0.expose()) || !is_servable(&self.token_type) {
            return Err(Doubt::Unservable);
        }
        Ok(Some(StoredAccess {
            token: Rc::new(AccessToken {
                token: self.token.0,
                token_type: self.token_type,
                scope: self.scope,
            }),
            issued_at,
            expires_at,
            refresh_at: passage.moment(self.refresh_at_ms).clamp(issued_at, expires_at),
        }))
    }
}

/// Whether a header may carry it: someone may have edited the file.
fn is_servable(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

impl From<&StoredGrant> for Grant {
    fn from(grant: &StoredGrant) -> Self {
        Self {
            access: grant.access.as_ref().map(Access::from),
            refresh_token: Kept(grant.refresh_token.clone()),
            previous_refresh_token: grant.previous.clone().map(Kept),
            refusals: grant.refusals,
            refresh_sent: grant.refresh_sent,
        }
    }
}

impl From<&StoredAccess> for Access {
    fn from(access: &StoredAccess) -> Self {
        Self {
            token: Kept(access.token.token.clone()),
            token_type: access.token.token_type.clone(),
            scope: access.token.scope.clone(),
            issued_at_ms: access.issued_at.as_millis(),
            refresh_at_ms: access.refresh_at.as_millis(),
            expires_at_ms: access.expires_at.as_millis(),
        }
    }
}

impl From<&StoredPin> for Pin {
    fn from(pin: &StoredPin) -> Self {
        Self {
            text: pin.pin.clone(),
            code: Kept(pin.code.clone()),
            expires_at_ms: pin.expires_at.as_millis(),
            interval_ms: u64::try_from(pin.interval.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// A writer that keeps nothing but the length.
struct Length(usize);

impl io::Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
