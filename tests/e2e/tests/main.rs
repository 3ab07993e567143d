//! Everything end to end, in one binary: one link, shared programs.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "tests")]

mod bad_input;
mod browser;
mod cases;
mod commission;
mod copies;
mod county;
mod evidence;
mod feeds;
mod instruments;
mod journey;
mod kills;
mod link;
mod loads;
mod locks;
mod mqtt;
mod mqtt_doors;
mod outage;
mod profiles;
mod replaced;
mod rerun;
mod sim;
mod sim_peers;
mod sinks;
mod sites;
mod system;
mod tls;
mod workspace;
