//! Where secrets were searched for, how many bytes that was, and how often one was found.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// So much of a secret at its begin or its end gives it away.
const TELLING: usize = 12;

/// A secret in all its spellings.
struct Spellings(Vec<String>);

impl Spellings {
    fn of(secret: &str) -> Self {
        let percent = utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string();
        let json = serde_json::to_string(secret).expect("text becomes JSON");
        let mut all = vec![
            percent.to_ascii_lowercase(),
            percent,
            json.trim_matches('"').replace('/', "\\/"),
            secret[..TELLING].to_owned(),
            secret[secret.len() - TELLING..].to_owned(),
            format!("{:?}", secret.as_bytes()).trim_matches(['[', ']']).to_owned(),
        ];
        // Where a secret stands in the middle of what is encoded, its own characters begin at any of three places.
        for skipped in 0..3 {
            let part = &secret.as_bytes()[skipped..];
            let part = &part[..part.len() / 3 * 3];
            all.extend([STANDARD_NO_PAD.encode(part), URL_SAFE_NO_PAD.encode(part)]);
        }
        Self(all)
    }

    fn are_in(&self, text: &str) -> bool {
        self.0.iter().any(|spelling| text.contains(spelling.as_str()))
    }
}

/// The table.
#[derive(Default)]
pub(crate) struct Search {
    places: BTreeMap<String, Vec<u8>>,
}

impl Search {
    /// What was said there, or what is to be read there.
    pub(crate) fn add(&mut self, place: &str, bytes: impl AsRef<[u8]>) {
        let place = self.places.entry(place.to_owned()).or_default();
        place.extend_from_slice(bytes.as_ref());
        place.push(b'\n');
    }

    /// How many of the secrets are in each place, and the first words around one that is.
    pub(crate) fn look_for(&self, secrets: &[(String, String)]) -> Findings {
        let secrets: Vec<_> = secrets.iter().map(|(what, secret)| (what, Spellings::of(secret))).collect();
        let look = |(place, bytes): (&String, &Vec<u8>)| {
            let text = String::from_utf8_lossy(bytes);
            let found = secrets.iter().filter(|(_, spellings)| spellings.are_in(&text));
            let found: Vec<String> = found.map(|(what, _)| (*what).clone()).collect();
            let lines = text.lines().filter(|line| secrets.iter().any(|(_, known)| known.are_in(line)));
            Finding {
                place: place.clone(),
                bytes: bytes.len(),
                found,
                lines: lines.take(3).map(str::to_owned).collect(),
            }
        };
        Findings { of: secrets.len(), places: self.places.iter().map(look).collect() }
    }
}

/// What was found in a place.
pub(crate) struct Finding {
    pub(crate) place: String,
    pub(crate) bytes: usize,
    pub(crate) found: Vec<String>,
    pub(crate) lines: Vec<String>,
}

/// What was found anywhere.
pub(crate) struct Findings {
    of: usize,
    pub(crate) places: Vec<Finding>,
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<44} {:>9} {:>8} of {}", "place", "bytes", "secrets", self.of)?;
        for Finding { place, bytes, found, lines } in &self.places {
            writeln!(f, "{place:<44} {bytes:>9} {:>8}", found.len())?;
            let mut shown = String::new();
            for line in lines.iter().filter(|_| !place.starts_with('+')) {
                writeln!(shown, "    {}", line.chars().take(400).collect::<String>())?;
            }
            f.write_str(&shown)?;
        }
        Ok(())
    }
}
