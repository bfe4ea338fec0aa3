//! A configuration file of any content is taken or refused, and the refusal is fit to be read.

use std::fs;
use std::path::PathBuf;

use ecobee_tokend::config::{self, Surroundings};
use tempfile::TempDir;

thread_local! {
    static FOLDER: TempDir = super::folder();
}

pub(crate) fn meet(bytes: &[u8]) {
    let path: PathBuf = FOLDER.with(|folder| folder.path().join("config.toml"));
    fs::write(&path, bytes).expect("written");
    let surroundings = Surroundings { uid: 0, env: Box::new(|_| None) };
    match config::load(&path, &surroundings) {
        Ok(settings) => {
            for name in settings.accounts.keys() {
                assert!((1..=32).contains(&name.len()), "{name:?}");
                assert!(
                    name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-')),
                    "{name:?}"
                );
            }
            assert!(settings.store.directory.is_absolute());
        }
        Err(error) => {
            let words = error.to_string();
            super::assert_fit_for_a_person(&words);
            assert!(words.contains(&*path.to_string_lossy()), "it names the file: {words}");
        }
    }
}
