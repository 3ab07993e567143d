//! `cargo xtask fuzz weighing`: see `fuzz::weighing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::weighing(bytes));

libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    fuzz::change_weighing(data, size, max_size, seed)
});
