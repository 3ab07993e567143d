//! `cargo xtask fuzz bundle`: see `fuzz::bundle`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::bundle(bytes));

libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    fuzz::change_bundle(data, size, max_size, seed)
});
