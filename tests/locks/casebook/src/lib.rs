//! center-casebook, linked with nothing beneath it.
#![no_std]

#[path = "../../support/ground.rs"]
mod ground;

/// Uses the crate, so that it and all it stands on are really linked.
#[unsafe(no_mangle)]
pub extern "C" fn lock_casebook() -> usize {
    size_of::<center_casebook::Case>() + size_of_val(&center_casebook::decide)
}
