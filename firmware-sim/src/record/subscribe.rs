//! A subscriber that writes down what a broker says.

use std::time::Duration;

use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};

use super::Recorder;
use crate::recording::{Line, PAYLOAD_MAX, Published};

/// Pause before the broker is tried again, real time.
const PAUSE: Duration = Duration::from_secs(1);
/// Seconds without a packet before a ping.
const KEEP_ALIVE_S: u16 = 20;
/// Requests waiting in the client: the subscriptions.
const REQUESTS_MAX: usize = 64;

/// Listens for ever, connecting again when the broker goes; each loss is a note in the recording.
pub async fn listen(host: String, port: u16, id: String, topics: Vec<String>, recorder: Recorder) {
    let mut said = false;
    loop {
        let mut options = MqttOptions::new(id.clone(), (host.clone(), port));
        options.set_keep_alive(KEEP_ALIVE_S);
        options.set_clean_start(true);
        let (client, mut events) = AsyncClient::builder(options).capacity(REQUESTS_MAX).build();
        let error = loop {
            match events.poll().await {
                Ok(Event::Incoming(Packet::ConnAck(_))) => {
                    said = false;
                    let note = format!("connected to the broker {host}:{port}");
                    recorder.put(Line::Note { at: recorder.now(), note });
                    // More topics than the client holds requests are refused before we come here.
                    if let Some(error) =
                        topics.iter().find_map(|topic| client.try_subscribe(topic, QoS::AtLeastOnce).err())
                    {
                        break error.to_string();
                    }
                }
                Ok(Event::Incoming(Packet::Publish(message))) => {
                    let at = recorder.now();
                    let line = if message.payload.len() > PAYLOAD_MAX {
                        let why = format!("a message of {} bytes", message.payload.len());
                        Line::Gap { at, n: 1, why }
                    } else {
                        Line::Published(Published {
                            at,
                            topic: String::from_utf8_lossy(&message.topic).into_owned(),
                            payload: message.payload.to_vec(),
                            qos: message.qos as u8,
                            retain: message.retain,
                        })
                    };
                    recorder.put(line);
                }
                Ok(Event::Incoming(_) | Event::Outgoing(_) | Event::Auth(_)) => {}
                Err(error) => break error.to_string(),
            }
        };
        if !std::mem::replace(&mut said, true) {
            tracing::warn!(error, host, port, "no broker; trying again");
            let note = format!("no broker {host}:{port}: {error}");
            recorder.put(Line::Note { at: recorder.now(), note });
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Topics at most.
pub const TOPICS_MAX: usize = REQUESTS_MAX - 4;
