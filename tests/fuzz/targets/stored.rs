#![no_main]

#[allow(dead_code, reason = "each target takes one")]
#[path = "../trials.rs"]
mod trials;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| trials::stored::meet(bytes));
