//! The other end of a bus: a simulated endpoint behind a pipe in memory.

use std::io;

use firmware_sim::host::Host;
use firmware_sim::scenario::Endpoint;
use firmware_sim::serve;
use futures_util::future::BoxFuture;
use gateway::bus::dial::{Dial, Stream};

/// Bytes in the pipe: a frame each way and some noise.
const PIPE: usize = 4096;

/// One endpoint of the simulator, dialled instead of a TCP address.
pub(super) struct Wire {
    pub(super) host: Host,
    pub(super) ix: usize,
    pub(super) endpoint: Endpoint,
}

impl Dial for Wire {
    fn dial<'a>(&'a self, _address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Stream>>> {
        let (ours, theirs) = tokio::io::duplex(PIPE);
        let (host, endpoint, ix) = (self.host.clone(), self.endpoint.clone(), self.ix);
        tokio::spawn(async move {
            // However it ends, the gateway sees a connection that ended.
            serve::stream(theirs, &endpoint, ix, &host).await.ok();
        });
        Box::pin(std::future::ready(Ok(Box::new(ours) as Box<dyn Stream>)))
    }
}
