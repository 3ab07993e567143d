//! The running gateway's own door: a Unix socket in its data directory, which only its owner can open. `gateway device …`
//! says there what happened to an instrument, `gateway reload` that the site file is to be read anew.
//!
//! One request, one answer, both a line of JSON. Promises: the answer "taken" comes when the fact is sealed and on disk.
//! Limits: lines of [`LINE_MAX`] bytes, [`CALLERS_MAX`] callers at a time (more wait), [`PATIENCE`] for each.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use gateway_model::{CivilTime, Counters, DeviceFact, DeviceIx, Fact, FactBody, Plan, PointIx, Raw};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::change::{self, Given};
use crate::clock::Clock;
use crate::recorder::{Doors, Event};

/// Bytes of a request or an answer.
const LINE_MAX: u64 = 64 * 1024;
/// Callers at a time.
const CALLERS_MAX: usize = 4;
/// A caller who takes longer is shown out; real time.
const PATIENCE: Duration = Duration::from_secs(10);
/// Texts of a fact, bytes each.
const TEXT_MAX: usize = 200;

/// Something that happened to an instrument, as a person says it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub struct Told {
    /// Device id of the site file.
    pub device: String,
    /// What.
    pub what: What,
}

/// See [`DeviceFact`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[expect(missing_docs, reason = "each field is the one of `DeviceFact`")]
pub enum What {
    Placed {
        serial: String,
        place: String,
        by: String,
        review: Option<String>,
    },
    Replaced {
        serial: String,
        successor: String,
        by: String,
        reset: bool,
    },
    Calibrated {
        serial: String,
        certificate: String,
        laboratory: String,
        done: i64,
        valid_until: i64,
        /// Point, number as written.
        uncertainty: Vec<(String, String)>,
        k: Option<String>,
        corrections: Vec<(String, String)>,
    },
    Removed {
        serial: String,
        why: String,
        by: String,
    },
}

/// The site file is to be read anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reload {
    /// Only say what would be different.
    pub dry_run: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Request {
    Reload(Reload),
    #[serde(untagged)]
    Told(Told),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Taken,
    /// What is different.
    Changed(String),
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
    doors: Doors,
    clock: Clock,
    changes: mpsc::Sender<change::Request>,
}

impl Door {
    /// Opens it; what an earlier process left in its place is removed (the data directory is locked).
    pub fn open(
        data: &Path,
        doors: Doors,
        clock: Clock,
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
        Ok(Self { listener, inner: Inner { doors, clock, changes } })
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
            Request::Told(told) => self.take(&told).await.map(|()| Answer::Taken),
            Request::Reload(Reload { dry_run }) => {
                match change::ask(&self.changes, Given::SiteFile, dry_run).await {
                    Some(change::Answer::Taken(said)) => Ok(Answer::Changed(said)),
                    Some(change::Answer::Refused(why)) => Ok(Answer::Refused(why)),
                    None => anyhow::bail!("the gateway is stopping"),
                }
            }
        }
    }

    async fn take(&self, told: &Told) -> anyhow::Result<()> {
        const STOPPING: &str = "the gateway is stopping";
        // Slots of the plan in force, and whose slots they are: another may come into force before this is eaten.
        let now = self.doors.asks.snapshot().await.ok().context(STOPPING)?;
        let (device, body) = fact(told, &now.plan)?;
        let (taken, on_disk) = oneshot::channel();
        let fact = Fact { device, at: self.clock.now(), body: FactBody::Device(body) };
        let inputs = self.doors.inputs.of(now.generation);
        inputs.send(Event::Entry { fact, taken }).await.ok().context(STOPPING)?;
        on_disk.await.context("the gateway has no room for entries: its journal is full")
    }
}

/// The fact, with ids found in the plan and numbers as they were written.
fn fact(told: &Told, plan: &Plan) -> anyhow::Result<(DeviceIx, DeviceFact)> {
    let ids = || plan.devices.iter().map(|device| device.id.as_str()).collect::<Vec<_>>().join(", ");
    let slot = plan.devices.iter().position(|device| device.id == told.device);
    let slot =
        slot.with_context(|| format!("there is no device {:?} here; there are {}", told.device, ids()))?;
    let device = DeviceIx::of(slot);
    let text = |what: &str, text: &str| -> anyhow::Result<String> {
        ensure!(
            !text.trim().is_empty() && text.len() <= TEXT_MAX,
            "{what}: 1 to {TEXT_MAX} bytes belong there"
        );
        Ok(text.to_owned())
    };
    let per_point = |list: &[(String, String)]| -> anyhow::Result<Vec<(PointIx, Raw)>> {
        list.iter().map(|(point, number)| Ok((point_of(plan, device, point)?, decimal(number)?))).collect()
    };
    let body = match &told.what {
        What::Placed { serial, place, by, review } => DeviceFact::Placed {
            serial: text("serial", serial)?,
            place: text("place", place)?,
            by: text("by", by)?,
            review: review.as_deref().map(|review| text("review", review)).transpose()?,
        },
        What::Replaced { serial, successor, by, reset } => DeviceFact::Replaced {
            serial: text("serial", serial)?,
            successor: text("successor", successor)?,
            by: text("by", by)?,
            counters: Some(if *reset { Counters::Reset } else { Counters::Kept }),
        },
        What::Calibrated {
            serial,
            certificate,
            laboratory,
            done,
            valid_until,
            uncertainty,
            k,
            corrections,
        } => {
            ensure!(done < valid_until, "the calibration is over before it was done");
            DeviceFact::Calibrated {
                serial: text("serial", serial)?,
                certificate: text("certificate", certificate)?,
                laboratory: text("laboratory", laboratory)?,
                done: CivilTime(*done),
                valid_until: CivilTime(*valid_until),
                uncertainty: per_point(uncertainty)?,
                coverage_factor: k.as_deref().map(decimal).transpose()?,
                corrections: Some(per_point(corrections)?).filter(|list| !list.is_empty()),
            }
        }
        What::Removed { serial, why, by } => DeviceFact::Removed {
            serial: text("serial", serial)?,
            why: text("why", why)?,
            by: text("by", by)?,
        },
    };
    Ok((device, body))
}

/// A point of the device, by its whole id or what stands behind the slash.
fn point_of(plan: &Plan, device: DeviceIx, name: &str) -> anyhow::Result<PointIx> {
    let own = plan.points.iter().enumerate().filter(|(_, point)| point.device == device);
    let mut found = own.filter(|(_, point)| point.id == name || point.id.rsplit('/').next() == Some(name));
    let (slot, _) = found.next().with_context(|| format!("the device has no point {name:?}"))?;
    Ok(PointIx::of(slot))
}

/// As many digits as were written: `0.30` says more than `0.3`.
fn decimal(text: &str) -> anyhow::Result<Raw> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{whole}{fraction}");
    let mantissa = digits.parse().ok().filter(|_| fraction.bytes().all(|byte| byte.is_ascii_digit()));
    let mantissa: i64 = mantissa.with_context(|| format!("{text:?} is no number, such as 0.30"))?;
    Ok(Raw::Dec { mantissa, exponent: -i8::try_from(fraction.len())? })
}

/// Says it to the gateway of this data directory, which has to be running.
pub async fn say(data: &Path, told: &Told) -> anyhow::Result<()> {
    match call(data, &Request::Told(told.clone())).await? {
        Answer::Taken | Answer::Changed(_) => Ok(()),
        Answer::Refused(why) => anyhow::bail!("{why}"),
    }
}

/// Has the gateway of this data directory read its site file anew: what is different, or why it stays as it is.
pub async fn reload(data: &Path, asked: Reload) -> anyhow::Result<Result<String, String>> {
    match call(data, &Request::Reload(asked)).await? {
        Answer::Taken => Ok(Ok(String::new())),
        Answer::Changed(said) => Ok(Ok(said)),
        Answer::Refused(why) => Ok(Err(why)),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_keeps_its_digits() {
        assert_eq!(decimal("0.30").unwrap(), Raw::Dec { mantissa: 30, exponent: -2 });
        assert_eq!(decimal("-1.5").unwrap(), Raw::Dec { mantissa: -15, exponent: -1 });
        assert_eq!(decimal("2").unwrap(), Raw::Dec { mantissa: 2, exponent: 0 });
        for wrong in ["", "0,3", "1.-5", "1e3", "0.3 °C"] {
            assert!(decimal(wrong).is_err(), "{wrong}");
        }
    }
}
