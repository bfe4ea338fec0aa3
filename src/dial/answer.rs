//! What all who ask over HTTP make of an answer's head, or of none.

use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{DATE, HeaderMap, RETRY_AFTER};

use super::words_of;
use crate::clock;

/// How long a server wishes to be left alone: seconds, or a date (RFC 9110, section 10.2.3). A date is measured on the
/// server's own clock where it tells it: ours may be wrong.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let wish = text(RETRY_AFTER)?;
    if !wish.is_empty() && wish.bytes().all(|byte| byte.is_ascii_digit()) {
        // More seconds than fit are still no reason to compute with more.
        return Some(Duration::from_secs(wish.parse::<u32>().unwrap_or(u32::MAX).into()));
    }
    let date = httpdate::parse_http_date(wish).ok()?;
    let now = text(DATE).and_then(|date| httpdate::parse_http_date(date).ok());
    date.duration_since(now.unwrap_or_else(clock::wall)).ok()
}

/// A status in the words of its RFC, such as `502 Bad Gateway`: never in the server's own.
pub fn status_words(status: StatusCode) -> String {
    let words = status.canonical_reason().map(|words| format!(" {words}")).unwrap_or_default();
    format!("{}{words}", status.as_u16())
}

/// Why no answer came to a request, as the end of a sentence that begins with who was asked.
pub fn no_answer(error: &hyper::Error) -> String {
    if error.is_parse() {
        "answered with something that is not HTTP".to_owned()
    } else if error.is_incomplete_message() {
        "closed the connection without an answer".to_owned()
    } else {
        format!("broke the connection before it answered: {}", words_of(error))
    }
}
