//! What went wrong on the way, for a person.

use std::error::Error;
use std::io;

/// The first error of type `E` in a chain of causes.
pub fn cause<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = inner(error);
    }
    None
}

/// What happened, as the end of a sentence: the innermost words say most.
pub fn words_of(error: &(dyn Error + 'static)) -> String {
    if let Some(error) = cause::<io::Error>(error) {
        if error.kind() == io::ErrorKind::TimedOut {
            return "timed out".to_owned();
        }
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return "the connection was closed".to_owned();
        }
    }
    let mut innermost = error;
    while let Some(error) = inner(innermost) {
        innermost = error;
    }
    innermost.downcast_ref::<io::Error>().map_or_else(|| innermost.to_string(), system_words)
}

/// The cause of an error. An `io::Error` that wraps another one hides it from `source`.
fn inner<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>() {
        Some(wrapper) => wrapper.get_ref().map(|error| error as _),
        None => error.source(),
    }
}

/// The system's words for an error, in the middle of a sentence.
pub(super) fn system_words(error: &io::Error) -> String {
    let words = error.to_string();
    let words = words.trim_start_matches("failed to lookup address information: ");
    let words = words.split(" (os error").next().unwrap_or_default();
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| {
        // "Connection refused", but "DNS failure".
        let shouted = letters.as_str().starts_with(char::is_uppercase);
        let first = if shouted { first } else { first.to_ascii_lowercase() };
        format!("{first}{}", letters.as_str())
    })
}
