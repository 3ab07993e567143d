//! The hour of installation: what is on a line, and how it gets its address, name and place.
//!
//! Promises: registers are written here and nowhere else, one device at a time, after a person said that it is alone, and
//! read back. What was done is on the acceptance sheet.
//!
//! [`line`] asks, [`detective`] ranks what registers may hold, [`dialogue`] decides what comes next, [`sheet`] is the sheet;
//! none but `line` and [`drive`] has a socket.

pub mod detective;
pub mod dialogue;
pub mod drive;
pub mod line;
pub mod sheet;
