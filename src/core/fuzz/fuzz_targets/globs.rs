//! Any list of globs against any path (checks/globs.rs).
#![no_main]

#[path = "../checks/globs.rs"]
mod globs;
#[path = "../checks/quick.rs"]
mod quick;

libfuzzer_sys::fuzz_target!(|input: &[u8]| globs::check(input));
