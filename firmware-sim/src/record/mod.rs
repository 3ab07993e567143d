//! Recording real devices: everything that goes by is written down, byte for byte with its time.
//!
//! [`relay`] stands between a client and a Modbus server and passes bytes on unchanged; [`subscribe`] listens to a broker.
//! Both hand [`Line`]s to a [`Recorder`]; [`write`] puts them into a file. The plant comes first: whatever becomes of the
//! file (full, broken), bytes are passed on, and what could not be kept is counted and told.

pub mod relay;
pub mod subscribe;

use std::time::Duration;

use tokio::sync::mpsc;

use crate::civil::Civil;
use crate::clock::Clock;
use crate::recording::Line;
use crate::recording::file::Writer;

/// Lines on their way to the file at most; beyond it they are dropped, counted, and told as a gap.
pub const LINES_MAX: usize = 4096;
/// How often what is held is handed to the system, real time: what a kill loses.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// A way to the file, and the clock everything is stamped with.
#[derive(Debug, Clone)]
pub struct Recorder {
    clock: Clock,
    lines: mpsc::Sender<Line>,
    dropped: std::sync::Arc<std::sync::atomic::AtomicU64>,
}

impl Recorder {
    /// A recorder and its end: give that to [`write`], or take the lines yourself.
    #[must_use]
    pub fn new(clock: Clock) -> (Self, mpsc::Receiver<Line>) {
        let (lines, receiver) = mpsc::channel(LINES_MAX);
        (Self { clock, lines, dropped: std::sync::Arc::default() }, receiver)
    }

    /// Civil time now.
    #[must_use]
    pub fn now(&self) -> Civil {
        self.clock.now()
    }

    /// Adds a line, never waiting: the plant comes first.
    pub fn put(&self, line: Line) {
        use std::sync::atomic::Ordering::Relaxed;
        // What was dropped is told before the next line that finds room, so where it is missing can be seen.
        let dropped = self.dropped.swap(0, Relaxed);
        if dropped > 0 {
            let why = "the file was too slow".to_owned();
            if self.lines.try_send(Line::Gap { at: line.at(), n: dropped, why }).is_err() {
                self.dropped.fetch_add(dropped + 1, Relaxed);
                return;
            }
        }
        if self.lines.try_send(line).is_err() {
            self.dropped.fetch_add(1, Relaxed);
        }
    }
}

/// What was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Exchanges.
    pub exchanges: u64,
    /// Messages.
    pub messages: u64,
    /// Lines that were not kept because the file had its size.
    pub beyond: u64,
    /// Bytes of text.
    pub bytes: u64,
}

/// Writes lines until every recorder is gone, then ends the file. Beyond `bytes_max` bytes of text lines are counted and
/// dropped, and the last lines say so.
pub async fn write(
    mut lines: mpsc::Receiver<Line>,
    mut writer: Writer,
    bytes_max: u64,
) -> std::io::Result<Written> {
    let mut written = Written::default();
    let mut flush = tokio::time::interval(FLUSH_EVERY);
    flush.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut last = Civil(0);
    loop {
        tokio::select! {
            line = lines.recv() => {
                let Some(line) = line else { break };
                last = last.max(line.at());
                if writer.bytes >= bytes_max {
                    if written.beyond == 0 {
                        tracing::warn!(bytes_max, "the recording is full; bytes are passed on, no longer recorded");
                    }
                    written.beyond += 1;
                    continue;
                }
                match line {
                    Line::Exchange(_) => written.exchanges += 1,
                    Line::Published(_) => written.messages += 1,
                    Line::Refusal(_)
                    | Line::Bus { .. }
                    | Line::Gap { .. }
                    | Line::Note { .. }
                    | Line::End { .. } => {}
                }
                writer.write(&line)?;
            }
            _ = flush.tick() => writer.flush()?,
        }
    }
    if written.beyond > 0 {
        let why = format!("the recording had its {bytes_max} bytes");
        writer.write(&Line::Gap { at: last, n: written.beyond, why })?;
    }
    writer.write(&Line::End { at: last })?;
    written.bytes = writer.bytes;
    writer.finish()?;
    Ok(written)
}
