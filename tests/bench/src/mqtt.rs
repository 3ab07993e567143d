//! As much MQTT 3.1.1 as load takes: connect, publish with QoS 1 behind a window, subscribe with QoS 0.
//!
//! Its framing is its own: it shares nothing with the gateway's clients and brokers. Leaves out sessions, wills, TLS and
//! connecting again: a load program whose connection breaks ends with an error.

use std::io::{BufReader, BufWriter, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use anyhow::Context as _;

/// Messages on their way at most: below the 65,535 packet ids there are.
const WINDOW_MAX: u16 = 4_000;

/// A packet as it came: first byte and content.
struct Packet {
    head: u8,
    content: Vec<u8>,
}

fn read_packet(from: &mut impl Read) -> std::io::Result<Packet> {
    let mut byte = [0];
    from.read_exact(&mut byte)?;
    let head = byte[0];
    let (mut length, mut shift) = (0_usize, 0);
    loop {
        from.read_exact(&mut byte)?;
        length |= usize::from(byte[0] & 0x7f) << shift;
        if byte[0] & 0x80 == 0 {
            break;
        }
        shift += 7;
        if shift > 21 {
            return Err(std::io::Error::other("no MQTT packet"));
        }
    }
    let mut content = vec![0; length];
    from.read_exact(&mut content)?;
    Ok(Packet { head, content })
}

fn write_packet(to: &mut impl Write, head: u8, parts: &[&[u8]]) -> std::io::Result<()> {
    let mut length: usize = parts.iter().map(|part| part.len()).sum();
    let mut start = vec![head];
    loop {
        let byte = (length & 0x7f) as u8;
        length >>= 7;
        start.push(if length > 0 { byte | 0x80 } else { byte });
        if length == 0 {
            break;
        }
    }
    to.write_all(&start)?;
    parts.iter().try_for_each(|part| to.write_all(part))
}

/// Text with its length before it.
fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat()
}

fn connect(address: SocketAddr, id: &str) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
    stream.set_nodelay(true)?;
    // MQTT 3.1.1, clean session, no keep-alive.
    write_packet(&mut stream, 0x10, &[&text("MQTT"), &[4, 2, 0, 0], &text(id)])?;
    let answer = read_packet(&mut stream).context("read the broker's answer to CONNECT")?;
    anyhow::ensure!(answer.head == 0x20 && answer.content == [0, 0], "the broker refuses {id}");
    Ok(stream)
}

/// What is on its way, and what the broker has acknowledged.
#[derive(Default)]
struct Flight {
    sent: u64,
    acknowledged: u64,
    /// The connection ended: nothing more will be acknowledged.
    ended: bool,
}

/// Publishes with QoS 1.
pub struct Publisher {
    to: BufWriter<TcpStream>,
    flight: Arc<(Mutex<Flight>, Condvar)>,
    id: u16,
}

impl Publisher {
    /// Connects.
    pub fn connect(address: SocketAddr, id: &str) -> anyhow::Result<Self> {
        let stream = connect(address, id)?;
        let flight = Arc::new((Mutex::new(Flight::default()), Condvar::new()));
        let (reader, shared) = (stream.try_clone()?, Arc::clone(&flight));
        std::thread::spawn(move || {
            let mut from = BufReader::new(reader);
            loop {
                let packet = read_packet(&mut from);
                let mut flight = shared.0.lock().unwrap_or_else(PoisonError::into_inner);
                match packet {
                    Ok(packet) => flight.acknowledged += u64::from(packet.head == 0x40),
                    Err(_) => flight.ended = true,
                }
                shared.1.notify_one();
                if flight.ended {
                    return;
                }
            }
        });
        Ok(Self { to: BufWriter::with_capacity(64 << 10, stream), flight, id: 0 })
    }

    /// One message; waits while too much is on its way. Sent at the latest with [`Publisher::flush`].
    pub fn publish(&mut self, topic: &str, payload: &[u8]) -> anyhow::Result<()> {
        {
            let mut flight = self.flight.0.lock().unwrap_or_else(PoisonError::into_inner);
            while flight.sent - flight.acknowledged >= u64::from(WINDOW_MAX) {
                anyhow::ensure!(!flight.ended, "the broker ended the connection");
                // What fills the window may still be in our own buffer.
                drop(flight);
                self.to.flush()?;
                flight = self.flight.0.lock().unwrap_or_else(PoisonError::into_inner);
                if flight.sent - flight.acknowledged >= u64::from(WINDOW_MAX) && !flight.ended {
                    flight = self.flight.1.wait(flight).unwrap_or_else(PoisonError::into_inner);
                }
            }
            flight.sent += 1;
        }
        self.id = self.id % u16::MAX + 1;
        write_packet(&mut self.to, 0x32, &[&text(topic), &self.id.to_be_bytes(), payload])?;
        Ok(())
    }

    /// Everything published so far leaves.
    pub fn flush(&mut self) -> anyhow::Result<()> {
        Ok(self.to.flush()?)
    }

    /// How many messages the broker has acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.flight.0.lock().unwrap_or_else(PoisonError::into_inner).acknowledged
    }

    /// Waits until all are.
    pub fn settle(&mut self) -> anyhow::Result<u64> {
        self.to.flush()?;
        let mut flight = self.flight.0.lock().unwrap_or_else(PoisonError::into_inner);
        while flight.acknowledged < flight.sent {
            anyhow::ensure!(!flight.ended, "the broker ended the connection");
            flight = self.flight.1.wait(flight).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(flight.acknowledged)
    }
}

/// Hears what is published.
pub struct Subscriber {
    from: BufReader<TcpStream>,
}

impl Subscriber {
    /// Connects, and subscribes with QoS 0.
    pub fn connect(address: SocketAddr, id: &str, filter: &str) -> anyhow::Result<Self> {
        let mut stream = connect(address, id)?;
        write_packet(&mut stream, 0x82, &[&[0, 1], &text(filter), &[0]])?;
        let answer = read_packet(&mut stream).context("read the broker's answer to SUBSCRIBE")?;
        anyhow::ensure!(answer.head == 0x90 && answer.content.get(2) == Some(&0), "`{filter}` is refused");
        Ok(Self { from: BufReader::with_capacity(256 << 10, stream) })
    }

    /// Is there something to read, now or within `patience`?
    pub fn waiting(&mut self, patience: std::time::Duration) -> anyhow::Result<bool> {
        if !self.from.buffer().is_empty() {
            return Ok(true);
        }
        let stream = self.from.get_ref();
        stream.set_read_timeout(Some(patience))?;
        let looked = stream.peek(&mut [0]);
        // What has begun is read to its end, however long that takes.
        stream.set_read_timeout(None)?;
        match looked {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error).context("wait for the broker"),
        }
    }

    /// The next message: topic and payload.
    pub fn receive(&mut self) -> std::io::Result<(String, Vec<u8>)> {
        loop {
            let mut packet = read_packet(&mut self.from)?;
            if packet.head & 0xf0 != 0x30 || packet.content.len() < 2 {
                continue;
            }
            let length = usize::from(u16::from_be_bytes([packet.content[0], packet.content[1]]));
            let payload = packet.content.split_off((2 + length).min(packet.content.len()));
            let topic = String::from_utf8_lossy(&packet.content[2..]).into_owned();
            return Ok((topic, payload));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_of_every_length_survive() {
        for length in [0, 1, 127, 128, 16_383, 16_384, 70_000] {
            let content = vec![7; length];
            let mut bytes = Vec::new();
            write_packet(&mut bytes, 0x30, &[&content]).expect("into memory");
            let packet = read_packet(&mut bytes.as_slice()).expect("as written");
            assert_eq!((packet.head, packet.content.len()), (0x30, length));
        }
    }
}
