//! The side a gateway sees: Modbus requests in, answers out.
//!
//! [`frame`] knows bytes, [`maps`] what each instrument keeps where, [`answer`] puts them together and spoils the result
//! when a link fault is on.

pub mod answer;
pub mod frame;
pub mod maps;
