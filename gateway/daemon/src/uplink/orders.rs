//! The listening half: orders of the center, in order, each once.
//!
//! An order counts when its number is above the last one's and it is on disk; the number of the last one follows the
//! journal, never goes ahead of it. One that is not signed by this center for this gateway is named in the log and counted;
//! it has no number that anybody vouches for, so nothing of it reaches the journal.

use gateway_journal::Position;
use gateway_model::CommandBody;
use gateway_wire::Fingerprint;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::client::{CallError, Client};
use super::pins::{Held, Offered};
use super::{POLL_MIN, REFUSED_PAUSE, RETRY_LAST, TokenTime, backoff};
use crate::clock;
use crate::metrics::Metrics;
use crate::pause::Jitter;
use crate::recorder::{Doors, Event, Refused};
use crate::state::PositionFile;

/// The listening half.
pub struct Orders {
    pub(super) client: Client,
    pub(super) doors: Doors,
    pub(super) cursor: PositionFile,
    pub(super) last: (u64, u64),
    pub(super) time: TokenTime,
    pub(super) metrics: Metrics,
    /// Records have been tried first: their connection is there to be shared.
    pub(super) tried: CancellationToken,
}

impl Orders {
    /// Takes orders until told to stop.
    pub async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        // The recorder has gone: whoever ended it says why.
        let _gone = self.listen(&stop).await;
        Ok(())
    }

    async fn listen(&mut self, stop: &CancellationToken) -> Result<(), Refused> {
        if stop.run_until_cancelled(self.tried.cancelled()).await.is_none() {
            return Ok(());
        }
        let mut pause = backoff();
        let mut said = false;
        loop {
            let asked = clock::instant();
            let answer = stop.run_until_cancelled(self.client.orders(self.time.now(), self.last)).await;
            let Some(answer) = answer else { return Ok(()) };
            match answer {
                Ok((orders, refused)) => {
                    pause.reset();
                    said = false;
                    for error in refused {
                        self.metrics.uplink("order_refused");
                        tracing::error!(
                            error = crate::chain(&error),
                            "an order that this center did not sign for this gateway is refused"
                        );
                    }
                    let none = orders.is_empty();
                    for order in orders {
                        // In order: what comes after one that could not be taken waits with it.
                        if stop.is_cancelled() {
                            return Ok(());
                        }
                        if !self.take(order).await? {
                            // The journal is full, or the recorder has ended; the next attempt tells which.
                            stop.run_until_cancelled(tokio::time::sleep(RETRY_LAST)).await;
                            break;
                        }
                    }
                    if none && clock::since(asked) < POLL_MIN {
                        stop.run_until_cancelled(tokio::time::sleep(POLL_MIN)).await;
                    }
                }
                Err(error) => {
                    if !std::mem::replace(&mut said, true) {
                        tracing::warn!(error = crate::chain(&error), "orders cannot be asked for; said once");
                    }
                    if let CallError::Unauthorized { server_time: Some(server), .. } = &error {
                        self.time.correct(*server);
                    }
                    let asked = match &error {
                        CallError::Busy { after } => after.map(|after| Jitter::Wide.at_least(after)),
                        CallError::Refused { status, .. } if !status.is_server_error() => Some(REFUSED_PAUSE),
                        CallError::Unreachable(_)
                        | CallError::Refused { .. }
                        | CallError::Unauthorized { .. }
                        | CallError::TooLarge
                        | CallError::Ended
                        | CallError::Answer(_)
                        | CallError::TooLong => None,
                    };
                    let wait = asked.unwrap_or_else(|| pause.pause());
                    stop.run_until_cancelled(tokio::time::sleep(wait)).await;
                }
            }
        }
    }

    /// False: it could not be taken now, and will come again. Once the recorder has it this is waited for to its end,
    /// whoever tells us to stop: its number must be noted, or it would be carried out twice after an orderly end, whose
    /// checkpoint stands behind it.
    async fn take(&mut self, order: gateway_wire::Order) -> Result<bool, Refused> {
        let id = (order.center_epoch, order.seq);
        if id <= self.last {
            self.metrics.uplink("order_known");
            return Ok(true);
        }
        let (taken, on_disk) = oneshot::channel();
        let expired = self.time.now() > order.expires;
        let told = keys_told(&order.body).filter(|_| !expired);
        let event = Event::Order { order: id, author: order.author, body: order.body, expired, taken };
        self.doors.inputs.send(event).await?;
        if on_disk.await.is_err() {
            return Ok(false);
        }
        self.metrics.uplink("order");
        self.last = id;
        // An older list than the one that is held was overtaken: that is no failure of the order.
        match told.map(|held| self.client.pins().offer(held)) {
            Some(Ok(Offered::Taken)) => tracing::info!("the center has announced its TLS keys"),
            Some(Err(error)) => tracing::warn!(
                error = crate::chain(&error),
                "cannot keep the center's TLS keys; it will be asked for them when it shows one that is not known"
            ),
            Some(Ok(Offered::Known | Offered::Older)) | None => {}
        }
        // Behind the journal, never ahead of it: a second delivery is recognised by its number.
        if let Err(error) = self.cursor.store(Position { epoch: id.0, seq: id.1 }) {
            tracing::warn!(error = crate::chain(&error), "cannot note which order was the last");
        }
        Ok(true)
    }
}

/// The center's TLS keys, where an order names them.
fn keys_told(body: &CommandBody) -> Option<Held> {
    let CommandBody::CenterKeys { issued, tls_keys } = body else { return None };
    Some(Held { issued: *issued, keys: tls_keys.iter().map(|key| Fingerprint(**key)).collect() })
}
