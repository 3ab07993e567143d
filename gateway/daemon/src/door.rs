//! The running gateway's own door: a Unix socket in its data directory, which only its owner can open. `gateway device …`
//! says there what happened to an instrument, `gateway maintenance` that one is out of service, `gateway reload` that the site
//! file is to be read anew.
//!
//! One request, one answer, both a line of JSON. Promises: the answer "taken" comes when what was said is sealed and on disk.
//! Limits: lines of [`LINE_MAX`] bytes, [`CALLERS_MAX`] callers at a time (more wait), [`PATIENCE`] for each.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use gateway_engine::OUT_OF_SERVICE_MAX_MS;
use gateway_model::CommandBody;
use gateway_rules::Millis;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::change::{self, Given};
use crate::clock;
use crate::install::access::SPAN_MAX;
use crate::recorder::Event;
use crate::told::{Entries, NO_ROOM, STOPPING, device_of, text};
pub use crate::told::{Told, What};

/// Bytes of a request or an answer.
const LINE_MAX: u64 = 64 * 1024;
/// Callers at a time.
const CALLERS_MAX: usize = 4;
/// A caller who takes longer is shown out; real time.
const PATIENCE: Duration = Duration::from_secs(10);

/// A device goes out of service for a time under a permit, or comes back (T18): its rules are judged and recorded all the same,
/// nobody is reminded of their alerts, and the center sees both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Maintenance {
    /// Device id of the site file.
    pub device: String,
    /// Who asks: an id of the site's, not a name.
    pub by: String,
    /// `None` = it is back.
    pub out: Option<Out>,
}

/// Out of service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Out {
    /// For so long at most, ms; then it is back by itself.
    pub for_ms: i64,
    /// Number of the permit or work order: who granted it is found by it.
    pub permit: String,
    /// Why.
    pub reason: String,
}

/// The site file is to be read anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reload {
    /// Only say what would be different.
    pub dry_run: bool,
}

/// Somebody is to work on the installation page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Installer {
    /// Who installs: an id of the site's, not a name.
    pub by: String,
    /// For so long, ms.
    pub for_ms: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Request {
    Reload(Reload),
    Installer(Installer),
    Maintenance(Maintenance),
    #[serde(untagged)]
    Told(Told),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Taken,
    /// What is different.
    Changed(String),
    /// The code to enter, and where.
    Opened {
        code: String,
        page: SocketAddr,
    },
    Refused(String),
}

/// Where the door is.
pub fn place(data: &Path) -> PathBuf {
    data.join("door")
}

/// The door of a running gateway.
pub struct Door {
    listener: UnixListener,
    inner: Inner,
}

#[derive(Clone)]
struct Inner {
    entries: Entries,
    /// Where the page listens.
    page: Option<SocketAddr>,
    changes: mpsc::Sender<change::Request>,
}

impl Door {
    /// Opens it; what an earlier process left in its place is removed (the data directory is locked).
    pub fn open(
        data: &Path,
        entries: Entries,
        page: Option<SocketAddr>,
        changes: mpsc::Sender<change::Request>,
    ) -> anyhow::Result<Self> {
        use std::os::unix::fs::PermissionsExt as _;
        let path = place(data);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("remove {}", path.display()));
            }
            Ok(()) | Err(_) => {}
        }
        let listener = UnixListener::bind(&path).with_context(|| format!("listen on {}", path.display()))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Self { listener, inner: Inner { entries, page, changes } })
    }

    /// Answers until stopped.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let callers = Arc::new(Semaphore::new(CALLERS_MAX));
        loop {
            let permit = Arc::clone(&callers).acquire_owned().await?;
            let stream = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                accepted = self.listener.accept() => accepted.context("the gateway's door")?.0,
            };
            let inner = self.inner.clone();
            tokio::spawn(async move {
                let _permit = permit;
                let served = tokio::time::timeout(PATIENCE, inner.serve(stream)).await;
                if let Ok(Err(error)) = served {
                    tracing::debug!(error = format!("{error:#}"), "a caller at the door went away");
                }
            });
        }
    }
}

impl Inner {
    async fn serve(&self, mut stream: UnixStream) -> anyhow::Result<()> {
        let (reader, mut writer) = stream.split();
        let mut line = String::new();
        BufReader::new(reader.take(LINE_MAX)).read_line(&mut line).await?;
        let answer = match self.answer(&line).await {
            Ok(answer) => answer,
            Err(error) => Answer::Refused(format!("{error:#}")),
        };
        writer.write_all(format!("{}\n", serde_json::to_string(&answer)?).as_bytes()).await?;
        Ok(())
    }

    async fn answer(&self, line: &str) -> anyhow::Result<Answer> {
        match serde_json::from_str(line).context("the request")? {
            Request::Told(told) => self.entries.take(&told).await.map(|()| Answer::Taken),
            Request::Installer(asked) => self.open_page(&asked),
            Request::Maintenance(asked) => self.maintain(asked).await.map(|()| Answer::Taken),
            Request::Reload(Reload { dry_run }) => {
                match change::ask(&self.changes, Given::SiteFile, dry_run).await {
                    Some(change::Answer::Taken(said)) => Ok(Answer::Changed(said)),
                    Some(change::Answer::Refused(why)) => Ok(Answer::Refused(why)),
                    None => anyhow::bail!(STOPPING),
                }
            }
        }
    }

    async fn maintain(&self, asked: Maintenance) -> anyhow::Result<()> {
        let now = self.entries.snapshot().await?;
        device_of(&now.plan, &asked.device)?;
        let Maintenance { device, by, out } = asked;
        let author = text("by", &by)?;
        let (body, otherwise) = match out {
            None => {
                (CommandBody::PutBack { device: device.clone() }, format!("{device:?} is not out of service"))
            }
            Some(Out { for_ms, permit, reason }) => {
                ensure!(
                    (1..=OUT_OF_SERVICE_MAX_MS).contains(&for_ms),
                    "a device is out of service for at most {}",
                    Millis(OUT_OF_SERVICE_MAX_MS)
                );
                let body = CommandBody::TakeOut {
                    device: device.clone(),
                    for_ms,
                    permit: text("permit", &permit)?,
                    reason: text("reason", &reason)?,
                };
                (body, format!("no rule watches {device:?}: there is nothing to take out of service"))
            }
        };
        let (taken, on_disk) = oneshot::channel();
        let inputs = self.entries.doors.inputs.of(now.generation);
        inputs.send(Event::Asked { author, body, taken }).await.ok().context(STOPPING)?;
        let changed = on_disk.await.context(NO_ROOM)?;
        ensure!(changed, "{otherwise}");
        Ok(())
    }

    fn open_page(&self, asked: &Installer) -> anyhow::Result<Answer> {
        let page = self.page.context("this gateway has no page: [page] listen in its site file")?;
        let span = Duration::from_millis(u64::try_from(asked.for_ms).unwrap_or_default());
        ensure!(
            !span.is_zero() && span <= SPAN_MAX,
            "the page is open for installing for at most {}",
            Millis(SPAN_MAX.as_millis() as i64)
        );
        let by = text("by", &asked.by)?;
        let code = self.entries.installation.access.open(by, span, clock::instant())?;
        Ok(Answer::Opened { code, page })
    }
}

/// Says it to the gateway of this data directory, which has to be running.
pub async fn say(data: &Path, told: &Told) -> anyhow::Result<()> {
    match call(data, &Request::Told(told.clone())).await? {
        Answer::Taken | Answer::Changed(_) | Answer::Opened { .. } => Ok(()),
        Answer::Refused(why) => anyhow::bail!("{why}"),
    }
}

/// Asks it of the gateway of this data directory, which has to be running.
pub async fn maintain(data: &Path, asked: Maintenance) -> anyhow::Result<()> {
    match call(data, &Request::Maintenance(asked)).await? {
        Answer::Taken | Answer::Changed(_) | Answer::Opened { .. } => Ok(()),
        Answer::Refused(why) => anyhow::bail!("{why}"),
    }
}

/// Has the gateway of this data directory read its site file anew: what is different, or why it stays as it is.
pub async fn reload(data: &Path, asked: Reload) -> anyhow::Result<Result<String, String>> {
    match call(data, &Request::Reload(asked)).await? {
        Answer::Taken | Answer::Opened { .. } => Ok(Ok(String::new())),
        Answer::Changed(said) => Ok(Ok(said)),
        Answer::Refused(why) => Ok(Err(why)),
    }
}

/// Opens the installation page of the gateway of this data directory: the code, and where the page is.
pub async fn installer(data: &Path, asked: Installer) -> anyhow::Result<(String, SocketAddr)> {
    match call(data, &Request::Installer(asked)).await? {
        Answer::Opened { code, page } => Ok((code, page)),
        Answer::Refused(why) => anyhow::bail!("{why}"),
        Answer::Taken | Answer::Changed(_) => anyhow::bail!("the gateway does not know of installers"),
    }
}

async fn call(data: &Path, request: &Request) -> anyhow::Result<Answer> {
    let path = place(data);
    let mut stream = UnixStream::connect(&path).await.with_context(|| {
        format!("reach the gateway at {}: it has to be running, and you its owner", path.display())
    })?;
    stream.write_all(format!("{}\n", serde_json::to_string(request)?).as_bytes()).await?;
    let mut line = String::new();
    let mut read = BufReader::new(stream.take(LINE_MAX));
    tokio::time::timeout(PATIENCE, read.read_line(&mut line))
        .await
        .context("the gateway does not answer")??;
    serde_json::from_str(&line).context("the gateway's answer")
}
