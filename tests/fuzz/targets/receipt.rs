//! `cargo xtask fuzz receipt`: see `fuzz::receipt`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::receipt(bytes));
