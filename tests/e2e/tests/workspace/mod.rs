//! The walls of design §2, the licences and the house rules, as tests over `cargo metadata` and the sources.

mod crates;
mod licence;
mod table;
mod tidy;
