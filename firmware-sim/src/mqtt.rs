//! Publishing to a broker: QoS 1, one message at a time, in order, again until the broker has it.
//!
//! A message is only forgotten when the broker has acknowledged it; after a reconnect the one in flight is sent once more,
//! so a broker may see it twice and never too few.

use std::collections::VecDeque;
use std::time::Duration;

use rumqttc::{AsyncClient, ConnectionError, EventLoop, MqttOptions, PublishOptions, QoS};
use tokio::sync::mpsc;

use crate::device::Message;
use crate::noise;

/// Messages on their way to the publisher at most; see [`crate::host`] for what happens then.
pub const QUEUE_MAX: usize = 4096;
/// First pause after a failed connection, and the longest; doubled each time, give or take a quarter.
const PAUSE_FIRST: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// Seconds without a packet before a ping.
const KEEP_ALIVE_S: u16 = 20;

/// A message for a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// Where.
    pub topic: String,
    /// What.
    pub payload: Vec<u8>,
    /// Shall the broker keep it for those who come later?
    pub retain: bool,
}

impl From<Message> for Publication {
    fn from(message: Message) -> Self {
        Self { topic: message.topic, payload: message.payload.into_bytes(), retain: false }
    }
}

/// Publishes what comes until nothing can come any more and all of it is with the broker.
pub async fn publish<M: Into<Publication>>(
    host: String,
    port: u16,
    id: String,
    mut messages: mpsc::Receiver<M>,
) {
    let seed = noise::named(u64::from(std::process::id()), &id);
    let mut unsent: VecDeque<Publication> = VecDeque::new();
    let mut failures: u32 = 0;
    loop {
        let mut options = MqttOptions::new(id.clone(), (host.clone(), port));
        options.set_keep_alive(KEEP_ALIVE_S);
        options.set_clean_start(true);
        // One request at a time: nothing to lose in the client's own queue.
        let (client, events) = AsyncClient::builder(options).capacity(1).build();
        let before = failures;
        let ended = tokio::select! {
            error = drive(events, &mut failures) => Some(error),
            () = feed(&client, &mut unsent, &mut messages) => None,
        };
        match ended {
            None if messages.is_closed() && unsent.is_empty() => return,
            // Once when it goes and once when it never came, not at each try.
            Some(error) if before == 0 || failures == 0 => {
                tracing::warn!(%error, host, port, "no broker; trying again");
            }
            None | Some(_) => {}
        }
        failures = failures.saturating_add(1);
        let doubled = PAUSE_FIRST.saturating_mul(1 << (failures - 1).min(10)).min(PAUSE_MAX);
        let jitter = 1.0 + 0.25 * noise::swing(seed, i64::from(failures));
        tokio::time::sleep(doubled.mul_f64(jitter)).await;
    }
}

async fn drive(mut events: EventLoop, failures: &mut u32) -> ConnectionError {
    loop {
        match events.poll().await {
            Ok(_) => *failures = 0,
            Err(error) => return error,
        }
    }
}

/// Hands messages to the client one by one; returns when one failed or there will be no more.
async fn feed<M: Into<Publication>>(
    client: &AsyncClient,
    unsent: &mut VecDeque<Publication>,
    messages: &mut mpsc::Receiver<M>,
) {
    loop {
        if unsent.is_empty() {
            match messages.recv().await {
                Some(message) => unsent.push_back(message.into()),
                None => return,
            }
        }
        let Some(message) = unsent.front() else { return };
        let sent = client
            .publish_tracked(
                message.topic.clone(),
                message.payload.clone(),
                if message.retain {
                    PublishOptions::new(QoS::AtLeastOnce).retained()
                } else {
                    PublishOptions::new(QoS::AtLeastOnce)
                },
            )
            .await;
        let outcome = match sent {
            Ok(notice) => notice.wait_completion_async().await.map_err(|e| e.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = outcome {
            tracing::info!(error, topic = message.topic, "not published yet");
            return;
        }
        unsent.pop_front();
    }
}
