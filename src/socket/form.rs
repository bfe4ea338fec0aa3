//! In which form a token, or a metric, is wanted.

use hyper::HeaderMap;
use hyper::header::ACCEPT;

use crate::keeper::Told;

/// How a token is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The bare token in a line.
    Text,
    /// The OAuth token object (RFC 6749, section 5.1).
    Json,
    /// A line that `curl -H @-` takes.
    Header,
}

/// How much a client wants a media type: first the weight in thousandths, then how exactly it named the type, then how
/// early. (RFC 9110 leaves the order of equal weights open.)
type Wish = (u16, u8, isize);

impl Form {
    /// The wished-for one of text and JSON; text when neither is preferred, or nothing that exists here is wanted.
    pub(super) fn wished_for(headers: &HeaderMap) -> Self {
        if !headers.contains_key(ACCEPT) {
            return Self::Text;
        }
        let json = wish("application", "json", ranges(headers));
        if json.0 > 0 && json > wish("text", "plain", ranges(headers)) { Self::Json } else { Self::Text }
    }

    /// Whether the client learns how long the token is promised.
    pub(super) const fn told(self) -> Told {
        match self {
            Self::Json => Told::Lifetime,
            Self::Text | Self::Header => Told::TokenOnly,
        }
    }
}

/// In which of its two dialects the text of the metrics is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// <https://prometheus.io/docs/specs/om/open_metrics_spec/>
    OpenMetrics,
    /// The older one, which the textfile collector of `node_exporter` reads:
    /// <https://prometheus.io/docs/instrumenting/exposition_formats/>
    Prometheus,
}

impl Dialect {
    /// `OpenMetrics`, unless only plain text is asked for or it is preferred.
    pub(super) fn wished_for(headers: &HeaderMap) -> Self {
        if !headers.contains_key(ACCEPT) {
            return Self::OpenMetrics;
        }
        let open = wish("application", "openmetrics-text", ranges(headers));
        if wish("text", "plain", ranges(headers)) > open { Self::Prometheus } else { Self::OpenMetrics }
    }

    pub(super) const fn media_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// The media ranges that a client accepts.
fn ranges(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str, u16)> {
    headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(range)
}

/// A media range and its weight; `None` if it is none.
fn range(text: &str) -> Option<(&str, &str, u16)> {
    let mut parts = text.split(';').map(str::trim);
    let (kind, subkind) = parts.next()?.split_once('/')?;
    let weight = parts
        .filter_map(|part| part.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("q"))
        .map_or(Some(1000), |(_, value)| weight(value.trim()))?;
    Some((kind, subkind, weight))
}

/// `0`, `1`, or one of these with up to three places behind the point, as thousandths.
fn weight(text: &str) -> Option<u16> {
    let (whole, places) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !matches!(whole, "0" | "1") || places.len() > 3 || !digits(places) {
        return None;
    }
    let thousandths = format!("{whole}{places:0<3}").parse().ok()?;
    Some(thousandths).filter(|weight| *weight <= 1000)
}

/// What the ranges say of one media type: the most exact of them counts (RFC 9110, section 12.5.1).
fn wish<'a>(kind: &str, subkind: &str, ranges: impl Iterator<Item = (&'a str, &'a str, u16)>) -> Wish {
    (0_isize..)
        .zip(ranges)
        .filter_map(|(place, (of, sub, weight))| {
            let exactness = if of.eq_ignore_ascii_case(kind) && sub.eq_ignore_ascii_case(subkind) {
                2
            } else if of.eq_ignore_ascii_case(kind) && sub == "*" {
                1
            } else if of == "*" && sub == "*" {
                0
            } else {
                return None;
            };
            Some((weight, exactness, -place))
        })
        .max_by_key(|(_, exactness, place)| (*exactness, *place))
        .unwrap_or((0, 0, 0))
}
