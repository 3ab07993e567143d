//! The side a gateway sees: Modbus requests in, answers out.
//!
//! [`frame`] knows bytes, [`maps`] and [`sheet`] what each instrument keeps where, [`answer`] puts them together and spoils
//! the result when a link fault is on. [`weigh`] is the other face of a scale: frames that come unasked.

pub mod answer;
pub mod frame;
pub mod maps;
pub mod sheet;
pub mod weigh;
