//! The listening half: orders of the center, in order, each once.
//!
//! An order counts when its number is above the last one's and it is on disk; the number of the last one follows the
//! journal, never goes ahead of it. One that is not signed by this center for this gateway is named in the log and counted;
//! it has no number that anybody vouches for. A configuration is fetched and checked first, and counts when it is in force.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gateway_journal::Position;
use gateway_model::{CommandBody, ConfigChange, ConfigStep};
use gateway_wire::{Fingerprint, Order};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::client::{CallError, Client, Unsigned};
use super::configurations::{self, Center, Missing};
use super::pins::{Held, Offered};
use super::{POLL_MIN, REFUSED_PAUSE, RETRY_LAST, TokenTime, backoff};
use crate::change::{self, Given, OrderedBy};
use crate::clock;
use crate::metrics::Metrics;
use crate::pause::Jitter;
use crate::recorder::{Doors, Event, Refused};
use crate::state::PositionFile;

/// Configurations that nobody signed are put on record at most so often, real time.
const UNSIGNED_EVERY: Duration = Duration::from_hours(1);

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
    /// Who puts configurations in force; `None` = nobody.
    pub(super) configuring: Option<Configuring>,
    /// When an unsigned configuration was last put on record.
    pub(super) unsigned_at: Option<Instant>,
}

/// Where a configuration that the center orders goes.
pub(super) struct Configuring {
    pub(super) data: PathBuf,
    pub(super) requests: mpsc::Sender<change::Request>,
}

impl Orders {
    /// Configurations that the center orders are kept under `data` and go to whoever puts them in force.
    #[must_use]
    pub fn configuring(self, data: &Path, requests: mpsc::Sender<change::Request>) -> Self {
        Self { configuring: Some(Configuring { data: data.to_owned(), requests }), ..self }
    }

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
                    for unsigned in refused {
                        self.refuse(&unsigned).await?;
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
    async fn take(&mut self, order: Order) -> Result<bool, Refused> {
        let id = (order.center_epoch, order.seq);
        if id <= self.last {
            self.metrics.uplink("order_known");
            return Ok(true);
        }
        let expired = self.time.now() > order.expires;
        if let (CommandBody::Configure { config, size }, false) = (&order.body, expired) {
            let (config, size) = (*config, *size);
            return Ok(self.configure(order, config, size).await? && self.taken(id));
        }
        let (taken, on_disk) = oneshot::channel();
        let told = keys_told(&order.body).filter(|_| !expired);
        let event = Event::Order { order: id, author: order.author, body: order.body, expired, taken };
        self.doors.inputs.send(event).await?;
        if on_disk.await.is_err() {
            return Ok(false);
        }
        // An older list than the one that is held was overtaken: that is no failure of the order.
        match told.map(|held| self.client.pins().offer(held)) {
            Some(Ok(Offered::Taken)) => tracing::info!("the center has announced its TLS keys"),
            Some(Err(error)) => tracing::warn!(
                error = crate::chain(&error),
                "cannot keep the center's TLS keys; it will be asked for them when it shows one that is not known"
            ),
            Some(Ok(Offered::Known | Offered::Older)) | None => {}
        }
        Ok(self.taken(id))
    }

    /// It is on disk. True, always.
    fn taken(&mut self, id: (u64, u64)) -> bool {
        self.metrics.uplink("order");
        self.last = id;
        // Behind the journal, never ahead of it: a second delivery is recognised by its number.
        if let Err(error) = self.cursor.store(Position { epoch: id.0, seq: id.1 }) {
            tracing::warn!(error = crate::chain(&error), "cannot note which order was the last");
        }
        true
    }

    /// Fetches a configuration and has it put in force, or refused; false: not now.
    async fn configure(&mut self, order: Order, config: [u8; 32], size: u64) -> Result<bool, Refused> {
        let id = (order.center_epoch, order.seq);
        let Some(Configuring { data, requests }) = &self.configuring else {
            return self.decline(id, config, "this gateway takes no configuration from a center").await;
        };
        let center = Center(&self.client, self.time.now());
        match configurations::fetch(data, &center, config, size).await {
            Ok(configuration) => {
                let by = OrderedBy { order: id, author: order.author, body: order.body };
                let given = Given::Ordered(Box::new(configuration), by);
                Ok(change::ask(requests, given, false).await.is_some())
            }
            Err(Missing::Later(why)) => {
                tracing::warn!(why, "the configuration that the center orders is not here yet; trying again");
                Ok(false)
            }
            Err(Missing::Never(why)) => self.decline(id, config, &why).await,
        }
    }

    /// Says that a configuration is refused, and the order with it; false: there was no room for it.
    async fn decline(&self, order: (u64, u64), config: [u8; 32], why: &str) -> Result<bool, Refused> {
        tracing::error!(why, "the configuration that the center orders is refused");
        let change = ConfigChange {
            step: ConfigStep::Refused,
            config: Some(config),
            order: Some(order),
            said: why.to_owned(),
        };
        let (taken, on_disk) = oneshot::channel();
        let declined = Some((order, why.to_owned(), taken));
        self.doors.inputs.send(Event::Config { change, declined, said: None }).await?;
        Ok(on_disk.await.is_ok())
    }

    /// An order that this center did not sign for this gateway is named in the log and counted; one that claims to be a
    /// configuration is also put on record, at most once an hour.
    async fn refuse(&mut self, unsigned: &Unsigned) -> Result<(), Refused> {
        self.metrics.uplink("order_refused");
        let error = crate::chain(&unsigned.error);
        tracing::error!(error, "an order that this center did not sign for this gateway is refused");
        let due = self.unsigned_at.is_none_or(|at| clock::since(at) >= UNSIGNED_EVERY);
        if unsigned.configures && due {
            self.unsigned_at = Some(clock::instant());
            let said = format!("an order that this center did not sign for this gateway: {error}");
            let change = ConfigChange { step: ConfigStep::Refused, config: None, order: None, said };
            self.doors.inputs.send(Event::Config { change, declined: None, said: None }).await?;
        }
        Ok(())
    }
}

/// The center's TLS keys, where an order names them.
fn keys_told(body: &CommandBody) -> Option<Held> {
    let CommandBody::CenterKeys { issued, tls_keys } = body else { return None };
    Some(Held { issued: *issued, keys: tls_keys.iter().map(|key| Fingerprint(**key)).collect() })
}
