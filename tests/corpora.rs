//! What fuzzing found worth keeping (`tests/fuzz`), tried again.

use std::fs;
use std::path::Path;

#[path = "fuzz/trials.rs"]
mod trials;

fn each(target: &str, meet: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut tried = 0;
    for file in files {
        let path = file.expect("readable").path();
        // Seen if what follows fails.
        println!("{}", path.display());
        meet(&fs::read(path).expect("readable"));
        tried += 1;
    }
    assert!(tried > 0, "{} is empty", folder.display());
}

#[test]
fn every_configuration_that_was_kept_is_taken_or_refused_in_words() {
    each("configuration", trials::configuration::meet);
}

#[test]
fn every_answer_of_ecobee_that_was_kept_comes_to_an_outcome() {
    each("answers", trials::answers::meet);
}

#[test]
fn every_stored_file_that_was_kept_is_taken_or_kept_aside() {
    each("stored", trials::stored::meet);
}

#[test]
fn every_request_that_was_kept_is_answered_or_its_connection_closed() {
    each("requests", trials::requests::meet);
}
