//! The other end of a bus: a simulated endpoint behind a pipe in memory.

use std::io;

use firmware_sim::face::frame::Transport;
use firmware_sim::host::Host;
use firmware_sim::serve::converse;
use futures_util::future::BoxFuture;
use gateway::bus::dial::{Dial, Stream};

/// Bytes in the pipe: a frame each way and some noise.
const PIPE: usize = 4096;

/// One endpoint of the simulator, dialled instead of a TCP address.
pub(super) struct Wire {
    pub(super) host: Host,
    pub(super) endpoint: usize,
    pub(super) transport: Transport,
}

impl Dial for Wire {
    fn dial<'a>(&'a self, _address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Stream>>> {
        let (ours, theirs) = tokio::io::duplex(PIPE);
        let (host, endpoint, transport) = (self.host.clone(), self.endpoint, self.transport);
        tokio::spawn(async move {
            // However it ends, the gateway sees a connection that ended.
            converse(theirs, transport, endpoint, &host).await.ok();
        });
        Box::pin(std::future::ready(Ok(Box::new(ours) as Box<dyn Stream>)))
    }
}
