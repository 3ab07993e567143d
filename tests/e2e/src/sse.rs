//! The live stream, as a browser would read it.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::api::Api;

/// Events kept for a test that does not look; a test that lets more pile up has a bug, and the stream waits.
const EVENTS_MAX: usize = 4096;

/// One event.
#[derive(Debug, Clone)]
pub struct Event {
    /// `snapshot`, `alert`, `case`, `reset`, `heartbeat`.
    pub event: String,
    /// `<server epoch>.<sequence>`
    pub id: String,
    /// Its data.
    pub data: Value,
    /// When it was read here.
    pub at: Instant,
}

/// An open stream.
pub struct Stream {
    events: mpsc::Receiver<Event>,
    reader: tokio::task::JoinHandle<()>,
}

impl Stream {
    /// Opens `/api/v1/events`, after the event `last` if given.
    pub async fn open(api: &Api, last: Option<&str>) -> Self {
        let response = api.stream("/api/v1/events", last).await;
        let (tell, events) = mpsc::channel(EVENTS_MAX);
        let reader = tokio::spawn(async move {
            let mut bytes = response.bytes_stream();
            let mut pending = Vec::new();
            while let Some(Ok(chunk)) = bytes.next().await {
                pending.extend_from_slice(&chunk);
                while let Some(end) = pending.windows(2).position(|pair| pair == b"\n\n") {
                    let block: Vec<u8> = pending.drain(..end + 2).collect();
                    if let Some(event) = parse(&String::from_utf8_lossy(&block))
                        && tell.send(event).await.is_err()
                    {
                        return;
                    }
                }
            }
        });
        Self { events, reader }
    }

    /// The next event that `wanted` likes; panics with everything else that came when it does not come.
    pub async fn next(
        &mut self,
        what: &str,
        within: Duration,
        mut wanted: impl FnMut(&Event) -> bool,
    ) -> Event {
        let mut others = Vec::new();
        let search = async {
            while let Some(event) = self.events.recv().await {
                if wanted(&event) {
                    return Some(event);
                }
                others.push(format!("{} {} {}", event.id, event.event, event.data));
            }
            None
        };
        match tokio::time::timeout(within, search).await.ok() {
            Some(Some(event)) => event,
            Some(None) => panic!("the stream ended before {what}; it said\n{}", others.join("\n")),
            None => panic!("not within {within:?}: {what}; the stream said\n{}", others.join("\n")),
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

fn parse(block: &str) -> Option<Event> {
    let (mut event, mut id, mut data) = (String::from("message"), String::new(), String::new());
    for line in block.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut event),
            "id" => value.clone_into(&mut id),
            "data" => {
                if !data.is_empty() {
                    data.push('\n');
                }
                data.push_str(value);
            }
            // A comment (keep-alive) or a field that is not ours.
            _ => (),
        }
    }
    if data.is_empty() && id.is_empty() {
        return None;
    }
    let data = serde_json::from_str(&data).unwrap_or(Value::String(data));
    Some(Event { event, id, data, at: Instant::now() })
}
