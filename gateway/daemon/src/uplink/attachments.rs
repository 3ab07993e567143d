//! What records name by their hash goes to the center apart from them: rule packs today, photos when the page takes them.
//!
//! A file waits in `DIR/attachments` under its SHA-256 until the center has it. Promises: never in the way of alerts (a chunk
//! goes only while the center has everything that was sealed, and the link works; on a metered line, less than 80 % of the month is used), a chunk that was cut off goes on where
//! the center says, and what waits survives a restart. Limits: [`WAITING_MAX`] files, each at most [`ATTACHMENT_MAX`] bytes;
//! what finds no room is said in the log and offered again at the next start. What the center has erased is not sent again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use gateway_journal::Position;
use gateway_model::CivilTime;
use gateway_wire::{hash, hex, unhex};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Status;
use super::client::{CallError, Client};
use super::meter::Level;
use crate::clock::Clock;
use crate::recorder::Civil;

/// Files that wait.
const WAITING_MAX: usize = 256;
/// Bytes of one: what the center takes.
const ATTACHMENT_MAX: usize = 8 << 20;
/// Bytes of one chunk: some seconds of a slow mobile line.
const CHUNK: usize = 64 << 10;
/// Between looks at a busy link or a failed attempt; real time.
const PAUSE: Duration = Duration::from_secs(5);
/// With nothing to send.
const IDLE: Duration = Duration::from_mins(10);

/// Puts bytes among those that wait; what waits already is left as it is.
pub fn offer(data: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    anyhow::ensure!(
        bytes.len() <= ATTACHMENT_MAX,
        "an attachment of {} bytes: at most {ATTACHMENT_MAX}",
        bytes.len()
    );
    let folder = folder(data);
    std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let name = hex(&hash(bytes));
    let (path, sent) = (folder.join(&name), folder.join(format!("{name}.sent")));
    if path.exists() || sent.exists() {
        return Ok(());
    }
    anyhow::ensure!(
        waiting(data)?.len() < WAITING_MAX,
        "{WAITING_MAX} attachments wait for the center already"
    );
    crate::state::replace(&path, bytes)?;
    Ok(())
}

/// Whoever verifies a record needs the packs it names, whatever becomes of this box.
pub fn offer_packs(data: &Path, site: &crate::config::Site) {
    for pack in &site.packs {
        if let Err(error) = offer(data, pack.text.as_bytes()) {
            tracing::warn!(
                pack = pack.name,
                error = format!("{error:#}"),
                "a pack is not kept for the center"
            );
        }
    }
}

fn folder(data: &Path) -> PathBuf {
    data.join("attachments")
}

/// Names of those that wait, in order.
fn waiting(data: &Path) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in
        std::fs::read_dir(folder(data)).with_context(|| format!("read {}", folder(data).display()))?
    {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if unhex::<32>(&name).is_some() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// The task that sends them.
pub struct Attachments {
    /// The center.
    pub client: Client,
    /// The data directory.
    pub data: PathBuf,
    /// How far the center has receipted.
    pub status: Status,
    /// The newest record.
    pub newest: watch::Receiver<Option<Position>>,
    /// For tokens.
    pub clock: Clock,
    /// For tokens.
    pub civil: Civil,
}

/// What the center has of one.
#[derive(serde::Deserialize)]
struct Held {
    offset: usize,
    done: bool,
}

impl Attachments {
    /// Sends until told to stop.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        tokio::select! {
            biased;
            () = stop.cancelled() => Ok(()),
            ended = self.send() => ended,
        }
    }

    async fn send(&self) -> anyhow::Result<()> {
        // Records have been tried first: their connection is there to be shared.
        self.status.0.tried.cancelled().await;
        let mut said = false;
        loop {
            let names = if folder(&self.data).is_dir() { waiting(&self.data)? } else { Vec::new() };
            if names.is_empty() {
                tokio::time::sleep(IDLE).await;
            }
            for name in names {
                if let Err(error) = self.one(&name).await {
                    if !std::mem::replace(&mut said, true) {
                        tracing::warn!(
                            name,
                            error = crate::chain(&error),
                            "an attachment waits; trying again, said once"
                        );
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// One file, chunk by chunk, from where the center has it.
    async fn one(&self, name: &str) -> Result<(), CallError> {
        let path = folder(&self.data).join(name);
        let Ok(bytes) = std::fs::read(&path) else { return Ok(()) };
        loop {
            while !self.free() {
                tokio::time::sleep(PAUSE).await;
            }
            let held = self.client.attachment(self.now(), name).await?;
            let held: Held = serde_json::from_slice(&held).map_err(|error| {
                CallError::Answer(gateway_wire::RecordError::Content {
                    what: "attachment",
                    why: error.to_string(),
                })
            })?;
            if held.done {
                // A mark stays, so that the same bytes are not offered again at every start.
                let marked = path.with_extension("sent");
                if let Err(error) = std::fs::File::create(&marked).and_then(|_| std::fs::remove_file(&path)) {
                    tracing::warn!(name, %error, "cannot note that the center has an attachment");
                }
                return Ok(());
            }
            let from = held.offset.min(bytes.len());
            let chunk = bytes[from..bytes.len().min(from + CHUNK)].to_vec();
            self.client.attach(self.now(), name, (from, bytes.len()), chunk).await?;
        }
    }

    /// Nothing sealed waits for the center, and a metered line has enough left.
    fn free(&self) -> bool {
        let enough = self.client.meter().level() == Level::Enough;
        enough && self.status.failures() == 0 && self.status.receipted() >= *self.newest.borrow()
    }

    fn now(&self) -> CivilTime {
        let now = self.clock.now();
        self.civil.civil(now).unwrap_or(CivilTime(now.0))
    }
}
