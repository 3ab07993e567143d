//! The same as `engine`, with one dependency that uses std: this must not compile.
#![no_std]

#[path = "../../engine/src/lib.rs"]
mod lock;

use with_std as _;
