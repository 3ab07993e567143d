//! Simulated field devices that can misbehave.
//!
//! A [`scenario::Scenario`] (TOML) names appliances with simple physics, the instruments that read them, the faults that
//! will happen and when. A [`world::World`] is that scenario at a moment of civil time: it is stepped, second by second,
//! by whoever holds it, and gives the same values for one seed however the steps are cut. Faces answer Modbus from it;
//! the feeds of the dental and the waste day leave it as MQTT messages.
//!
//! Promises: no wall clock, socket or randomness below [`host`]; a day of a scenario is the same on every date and machine.
//! Real devices are written down by [`record`] and played again by [`replay`]; [`load`] is very many cheap ones.
//!
//! It shares no code with the gateway, by design: its framing, checksums and register maps are its own.

pub mod civil;
pub mod clock;
pub mod control;
pub mod device;
pub mod face;
pub mod fault;
pub mod history;
pub mod host;
pub mod line;
pub mod load;
pub mod mqtt;
pub mod noise;
pub mod plot;
pub mod record;
pub mod recording;
pub mod replay;
pub mod scenario;
pub mod serve;
pub mod signal;
pub mod steam;
pub mod talk;
pub mod watch;
pub mod world;
