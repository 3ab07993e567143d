//! `cargo xtask fuzz site`: see `fuzz::site`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| -> libfuzzer_sys::Corpus { fuzz::site(bytes) });

libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    fuzz::change_site(data, size, max_size, seed)
});
