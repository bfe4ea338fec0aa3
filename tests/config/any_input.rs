//! Whatever stands in the file, reading it ends in settings or in one sentence.

use std::time::Duration;

use ecobee_tokend::config::duration;
use proptest::prelude::*;

use crate::Computer;

const SHIPPED: &str = include_str!("../../config/config.toml");

/// Loads, and looks at what comes of it.
fn is_answered(content: &[u8]) -> Result<(), TestCaseError> {
    let computer = Computer::of_root().with_credentials().write("home.key", "key");
    if let Err(error) = computer.load_bytes(content) {
        let message = error.to_string();
        prop_assert!(message.contains("config.toml") && message.contains("; "), "{message}");
        prop_assert!(!message.contains('\n'), "{message}");
    }
    Ok(())
}

/// The shipped file with every key in it put to use.
fn shipped() -> Vec<String> {
    let line = |line: &str| line.trim_start_matches("# Example: ").trim_start_matches('#').to_owned();
    SHIPPED
        .lines()
        .filter(|line| !line.starts_with("# ") || line.starts_with("# Example: "))
        .map(line)
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(content in prop::collection::vec(any::<u8>(), 0..200)) {
        is_answered(&content)?;
    }

    #[test]
    fn any_words_of_toml(content in "([a-z-]{1,3}|\\[|\\]|\\{|\\}|=|\"|'|\\.|,|#|\n|\\\\u00|ä|accounts|home|[0-9]{1,2}|[ :T]){0,60}") {
        is_answered(content.as_bytes())?;
    }

    #[test]
    fn a_mutilated_file(lines in prop::sample::subsequence(shipped(), 0..40), at in any::<prop::sample::Index>(), put in "[\\PC\n]{0,3}", cut in 0..4_usize) {
        let mut text: Vec<char> = lines.join("\n").chars().collect();
        let start = at.index(text.len() + 1);
        let end = (start + cut).min(text.len());
        text.splice(start..end, put.chars());
        is_answered(text.into_iter().collect::<String>().as_bytes())?;
    }

    #[test]
    fn any_duration_is_read_as_it_was_written(seconds in 0..=u32::MAX) {
        let duration = Duration::from_secs(u64::from(seconds));
        prop_assert_eq!(duration::parse(&duration::Shown(duration).to_string()), Some(duration));
    }

    #[test]
    fn no_text_upsets_the_reader_of_durations(text in "[0-9hms. +-]{0,24}|\\PC{0,8}") {
        let _ = duration::parse(&text);
    }
}
