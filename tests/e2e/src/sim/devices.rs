//! The other end of a bus: a simulated endpoint behind a pipe in memory.

use std::io;
use std::sync::Arc;

use firmware_sim::host::Host;
use firmware_sim::scenario::{Endpoint, Scenario};
use firmware_sim::serve;
use futures_util::future::BoxFuture;
use gateway::bus::dial::{Dial, Stream};
use tokio::io::DuplexStream;

use super::Dials;

/// Bytes in the pipe: a frame each way and some noise.
const PIPE: usize = 4096;

/// The way to each endpoint of a scenario, by its name.
pub(super) fn endpoints(scenario: &Scenario, host: Host) -> Dials {
    let endpoints = scenario.endpoints.clone();
    Arc::new(move |name| {
        let ix = endpoints.iter().position(|endpoint| endpoint.name == name);
        let ix = ix.unwrap_or_else(|| panic!("no endpoint is called `{name}`"));
        Arc::new(Wire { host: host.clone(), ix, endpoint: endpoints[ix].clone() })
    })
}

/// Both ends of a pipe in memory.
pub(super) fn pipe() -> (DuplexStream, DuplexStream) {
    tokio::io::duplex(PIPE)
}

/// One endpoint of the simulator, dialled instead of a TCP address.
struct Wire {
    host: Host,
    ix: usize,
    endpoint: Endpoint,
}

impl Dial for Wire {
    fn dial<'a>(&'a self, _address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Stream>>> {
        let (ours, theirs) = pipe();
        let (host, endpoint, ix) = (self.host.clone(), self.endpoint.clone(), self.ix);
        tokio::spawn(async move {
            // However it ends, the gateway sees a connection that ended.
            serve::stream(theirs, &endpoint, ix, &host).await.ok();
        });
        Box::pin(std::future::ready(Ok(Box::new(ours) as Box<dyn Stream>)))
    }
}
