//! The rig of the end-to-end tests: real programs on free ports, independent peers, waits for conditions.
//!
//! Promises: every test has a folder of its own and leaves no process behind, however it ends; nothing waits for
//! a while, everything for a condition with a deadline that prints the last state seen; a test that passes has seen no warning or
//! error in any log that it did not announce. Leaves out: any knowledge of how the programs work inside.

pub mod api;
pub mod browser;
pub mod center;
pub mod clock;
pub mod county;
pub mod databases;
pub mod dice;
pub mod gateway;
pub mod ground;
pub mod line;
pub mod modbus;
pub mod mqtt;
pub mod process;
pub mod pty;
pub mod records;
pub mod relay;
pub mod sim;
pub mod sse;
pub mod system;
pub mod wait;

pub use api::Api;
pub use center::Center;
pub use clock::Clock;
pub use gateway::Gateway;
pub use ground::Place;
pub use process::Process;
pub use wait::{eventually, until};
