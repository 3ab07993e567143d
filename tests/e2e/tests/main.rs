//! Everything end to end, in one binary: one link, shared programs.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "tests")]

mod backtest;
mod bad_input;
mod browser;
mod cases;
mod changes;
mod commission;
mod copies;
mod county;
mod erasure;
mod evidence;
mod feeds;
mod instruments;
mod journey;
mod kills;
mod large;
mod link;
mod loads;
mod locks;
mod maintenance;
mod mqtt;
mod mqtt_doors;
mod outage;
mod profiles;
mod promtool;
mod recordings;
mod replaced;
mod requests;
mod rerun;
mod sim;
mod sim_peers;
mod sinks;
mod sites;
mod system;
mod tls;
mod workspace;
