//! The same as `casebook`, with one dependency that uses std: this must not compile.
#![no_std]

#[path = "../../casebook/src/lib.rs"]
mod lock;

use with_std as _;
