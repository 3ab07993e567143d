//! `cargo xtask fuzz order`: see `fuzz::order`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::order(bytes));
