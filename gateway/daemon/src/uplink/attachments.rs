//! What records name by their hash goes to the center apart from them: rule packs today, photos when the page takes them.
//!
//! A file waits in `DIR/attachments` under its SHA-256 until the center has it. Promises: never in the way of alerts (a chunk
//! goes only while the center has everything that was sealed, and the link works; on a metered line, less than 80 % of the month is used,
//! and is what the line carries in a quarter of a second), a line that swallows what is large gets it in small chunks, a chunk that was cut off goes on where
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
use super::pace::Pace;
use crate::clock::{self, Clock};
use crate::pause::Backoff;
use crate::recorder::Civil;

/// Files that wait.
const WAITING_MAX: usize = 256;
/// Bytes of one: what the center takes.
const ATTACHMENT_MAX: usize = 8 << 20;
/// Bytes of one chunk, at most; less where the line carries less ([`Pace`]).
const CHUNK: usize = 64 << 10;
/// Between looks at a busy link, and after a first failed attempt; real time.
const PAUSE: Duration = Duration::from_secs(5);
/// Longest pause after failed attempts: each may cost the records their connection.
const PAUSE_LAST: Duration = Duration::from_mins(10);
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
        let (mut pace, mut pause) = (Pace::default(), Backoff::new(PAUSE, PAUSE_LAST));
        loop {
            let names = if folder(&self.data).is_dir() { waiting(&self.data)? } else { Vec::new() };
            if names.is_empty() {
                tokio::time::sleep(IDLE).await;
            }
            for name in names {
                if let Err(error) = self.one(&name, &mut pace, &mut pause).await {
                    if !std::mem::replace(&mut said, true) {
                        tracing::warn!(
                            name,
                            error = crate::chain(&error),
                            "an attachment waits; trying again, said once"
                        );
                    }
                    tokio::time::sleep(pause.pause()).await;
                }
            }
        }
    }

    /// One file, chunk by chunk, from where the center has it.
    async fn one(&self, name: &str, pace: &mut Pace, pause: &mut Backoff) -> Result<(), CallError> {
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
            let (most, _) = pace.next();
            let chunk = bytes[from..bytes.len().min(from + most.min(CHUNK))].to_vec();
            let (size, began) = (chunk.len(), clock::instant());
            match self.client.attach(self.now(), name, (from, bytes.len()), chunk).await {
                // The center's window is one of records.
                Ok(()) => pace.answered(u32::MAX, (size, 1), clock::since(began)),
                Err(error) => {
                    match error {
                        CallError::Unreachable(_) => pace.failed(),
                        CallError::TooLarge => pace.too_large(),
                        CallError::Unauthorized { .. }
                        | CallError::Ended
                        | CallError::Busy { .. }
                        | CallError::Refused { .. }
                        | CallError::Answer(_)
                        | CallError::TooLong => {}
                    }
                    return Err(error);
                }
            }
            pause.reset();
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::http;
    use futures_util::future::BoxFuture;
    use gateway_model::{EngineTime, Epoch, InstitutionId, SiteId};
    use gateway_wire::{Enrolment, SigningKey};
    use reqwest::{Method, RequestBuilder, Response};

    use super::super::client::Line;
    use super::super::meter::Meter;
    use super::*;
    use crate::clock::Wall;
    use crate::state::{DataDir, Enrolled};

    /// A line that swallows bodies above `hole` bytes, with a center behind it that takes one file.
    struct Narrow {
        hole: usize,
        length: usize,
        /// What arrived; how many chunks did not, and how large those were that did.
        seen: Mutex<(Vec<u8>, usize, Vec<usize>)>,
    }

    impl Line for Narrow {
        fn send(
            &self,
            request: RequestBuilder,
            _: Option<usize>,
        ) -> BoxFuture<'_, reqwest::Result<Response>> {
            Box::pin(async move {
                let request = request.build()?;
                let body = request.body().and_then(reqwest::Body::as_bytes).unwrap_or_default();
                if body.len() > self.hole {
                    self.seen.lock().unwrap().1 += 1;
                    tokio::time::sleep(*request.timeout().unwrap()).await;
                    let mut lost = http::Response::new(Vec::new());
                    *lost.status_mut() = http::StatusCode::GATEWAY_TIMEOUT;
                    return Err(Response::from(lost).error_for_status().unwrap_err());
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
                let mut seen = self.seen.lock().unwrap();
                if request.method() == Method::PUT {
                    assert_eq!(request.headers()["upload-offset"], seen.0.len().to_string());
                    seen.0.extend(body);
                    seen.2.push(body.len());
                }
                let (offset, done) = (seen.0.len(), seen.0.len() == self.length);
                let answer = format!("{{\"offset\":{offset},\"done\":{done}}}");
                Ok(http::Response::new(answer).into())
            })
        }
    }

    fn narrow(hole: usize, length: usize) -> Arc<Narrow> {
        Arc::new(Narrow { hole, length, seen: Mutex::default() })
    }

    /// Sends a file over such a line: chunks lost, sizes of the others, and how long it took.
    async fn sent(line: &Arc<Narrow>) -> (usize, Vec<usize>, Duration) {
        let length = line.length;
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open(folder.path()).unwrap();
        let (key, center) = (data.key().unwrap(), SigningKey::from_bytes(&[9; 32]));
        let statement = Enrolment {
            gateway_key: key.verifying_key().to_bytes(),
            institution: InstitutionId("i".into()),
            site: SiteId("hotel-1".into()),
            epoch_floor: Epoch(0),
            tls_keys: Vec::new(),
            issued: CivilTime(0),
            gateway: None,
        }
        .seal(&center);
        let enrolled = Enrolled { url: "http://center".into(), center: center.verifying_key(), statement };
        let meter = Meter::new(None, data.position("line"));
        let client = Client::new(enrolled, key, meter).unwrap().over(line.clone());
        let bytes: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
        offer(folder.path(), &bytes).unwrap();
        let status = Status::default();
        status.answered();
        let sender = Attachments {
            client,
            data: folder.path().to_owned(),
            status,
            newest: watch::channel(None).1,
            clock: Clock::start(Wall::demo_from(CivilTime(1_790_000_000_000), 1.0), EngineTime(0)),
            civil: Civil::default(),
        };
        let began = tokio::time::Instant::now();
        let done = async {
            while !waiting(folder.path()).unwrap().is_empty() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::select! {
            ended = sender.send() => panic!("{ended:?}"),
            () = done => {}
        }
        let seen = line.seen.lock().unwrap();
        assert_eq!(seen.0, bytes);
        (seen.1, seen.2.clone(), began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_that_swallows_what_is_large_gets_it_in_small_chunks() {
        let (lost, _, _) = sent(&narrow(usize::MAX, 300_000)).await;
        assert_eq!(lost, 0);
        for hole in [700, 1_200, 3_000] {
            let (lost, sizes, took) = sent(&narrow(hole, 60_000)).await;
            println!("through a hole of {hole}: {} chunks, {lost} lost, {took:?}", sizes.len());
            assert!(sizes.iter().all(|size| *size <= hole));
            assert!((1..=12).contains(&lost), "{hole}: {lost} lost");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_that_swallows_every_chunk_is_tried_less_and_less_often() {
        let line = narrow(100, 60_000);
        let tried = tokio::time::timeout(Duration::from_hours(6), sent(&line)).await;
        assert!(tried.is_err(), "not one chunk goes through");
        // Every ten minutes, after a quicker beginning.
        let lost = line.seen.lock().unwrap().1;
        assert!((25..=55).contains(&lost), "{lost}");
    }
}
