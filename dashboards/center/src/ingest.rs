//! Takes records in: checked, made durable in a segment, indexed, projected, and only then receipted.
//!
//! One task appends and writes; requests wait for it in a bounded queue. Whatever waits when it is free goes into
//! one group: one sync of the segment, one transaction. Duplicates are absorbed; the same number with other bytes
//! is refused and an alert. A record is either wholly here (bytes and row) or not receipted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

use anyhow::Context as _;
use gateway_model::{Epoch, Seq};
use gateway_wire::{
    Body, EPOCHS_MAX, EpochReceipt, Header, Kind, RANGES_MAX, Receipt, RecordError, Refused, Standing,
};
use tokio::sync::{mpsc, oneshot};

use crate::app::App;
use crate::error::ApiError;
use crate::metrics::Metrics;
use crate::project::{self, Changes};
use crate::segments::{Append, Writer};
use crate::store::audit;
use crate::store::gateways::{self, Enrolled};
use crate::store::records::{self, RecordRow};
use crate::succession;

/// Requests that wait; when full, callers wait to be let in, which slows the gateways down.
const QUEUE_MAX: usize = 64;
/// Bytes of one group: with a sync of a few ms a group never takes longer than 20 ms to write.
const GROUP_MAX: usize = 4 << 20;
/// Records a gateway may have on the way without a receipt.
const WINDOW: u32 = 256;

/// The way to the task that writes.
#[derive(Debug)]
pub struct Ingest {
    sender: mpsc::Sender<Request>,
}

/// A record whose signature is good.
#[derive(Debug)]
struct Checked {
    header: Header,
    kind: Kind,
    body: Option<Body>,
    hash: [u8; 32],
    bytes: Vec<u8>,
    /// Signed with a key of the gateway that may not have signed it.
    standing: Standing,
}

/// What one request brought.
#[derive(Debug)]
pub struct Request {
    gateway: Enrolled,
    records: Vec<Checked>,
    refused: Vec<Refused>,
    reply: oneshot::Sender<anyhow::Result<Vec<Refused>>>,
}

impl Ingest {
    /// The two ends of the queue.
    pub fn new() -> (Self, mpsc::Receiver<Request>) {
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        (Self { sender }, receiver)
    }

    /// Returns when the task that writes has ended, which it never should: the center ends with it.
    pub async fn ended(&self) {
        self.sender.closed().await;
    }
}

/// Takes one request's records in and answers with the receipt.
pub async fn take(app: &Arc<App>, gateway: Enrolled, body: bytes::Bytes) -> Result<Receipt, ApiError> {
    Metrics::count(&app.metrics.batches);
    let (checked, refused) = {
        let (app, gateway) = (Arc::clone(app), gateway.clone());
        tokio::task::spawn_blocking(move || check(&app, &gateway, &body))
            .await
            .map_err(|error| ApiError::Internal(error.into()))??
    };
    let touched: BTreeSet<u64> = checked.iter().map(|record| record.header.epoch.0).collect();
    let (reply, answer) = oneshot::channel();
    let id = gateway.id.clone();
    let request = Request { gateway, records: checked, refused, reply };
    app.ingest
        .sender
        .send(request)
        .await
        .map_err(|_| ApiError::Internal(anyhow::anyhow!("ingest has ended")))?;
    let refused = answer.await.context("ingest has ended")??;
    Ok(receipt(app, &id, &touched, refused).await?)
}

type CheckedBatch = (Vec<Checked>, Vec<Refused>);

/// Structure, gateway, signature. CPU only.
fn check(app: &App, gateway: &Enrolled, body: &[u8]) -> Result<CheckedBatch, ApiError> {
    let batch = gateway_wire::unpack(body, app.config.batch_records_max).map_err(|error| {
        Metrics::count(&app.metrics.refused_malformed);
        ApiError::Malformed(
            "malformed",
            crate::error::words("数据批次无法解析。", &format!("The batch cannot be read: {error}.")),
        )
    })?;
    let mut checked = Vec::with_capacity(batch.len());
    let mut refused = Vec::new();
    for (index, bytes) in batch.into_iter().enumerate() {
        // Without a readable header there is no number to refuse: epoch 0 never exists, seq says which of the batch.
        let (header, kind) = match gateway_wire::peek(bytes) {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(gateway = gateway.id, %error, "a record that is none");
                Metrics::count(&app.metrics.refused_malformed);
                refused.push(Refused {
                    epoch: Epoch(0),
                    seq: Seq(index as u64),
                    code: "malformed".to_owned(),
                });
                continue;
            }
        };
        let mut refuse = |code: &str| {
            tracing::warn!(gateway = gateway.id, cursor = %header.cursor(), code, "a record is refused");
            refused.push(Refused { epoch: header.epoch, seq: header.seq, code: code.to_owned() });
        };
        if header.gateway.to_string() != gateway.id {
            Metrics::count(&app.metrics.refused_gateway);
            refuse("wrong_gateway");
            continue;
        }
        if header.epoch.0 <= gateway.epoch_floor {
            Metrics::count(&app.metrics.refused_epoch);
            refuse("epoch");
            continue;
        }
        match gateway.ring.open_any(bytes) {
            Ok((opened, standing)) => {
                if let Err(not) = &opened.body {
                    tracing::warn!(gateway = gateway.id, cursor = %header.cursor(), ?not, "a record is kept but not understood");
                }
                let hash = gateway_wire::hash(bytes);
                checked.push(Checked {
                    header,
                    kind,
                    body: opened.body.ok(),
                    hash,
                    bytes: bytes.to_vec(),
                    standing,
                });
            }
            Err(
                RecordError::Signature
                | RecordError::KeyId { .. }
                | RecordError::Algorithm(_)
                | RecordError::Period { .. }
                | RecordError::Key,
            ) => {
                Metrics::count(&app.metrics.refused_signature);
                refuse("bad_signature");
            }
            Err(RecordError::Gateway { .. }) => {
                Metrics::count(&app.metrics.refused_gateway);
                refuse("wrong_gateway");
            }
            Err(
                RecordError::TooLarge { .. }
                | RecordError::TooMany { .. }
                | RecordError::Structure { .. }
                | RecordError::Content { .. }
                | RecordError::CriticalHeader
                | RecordError::UnexpectedHeader(_)
                | RecordError::ContentType { .. },
            ) => {
                Metrics::count(&app.metrics.refused_malformed);
                refuse("malformed");
            }
        }
    }
    Ok((checked, refused))
}

/// Starts the task that writes. It ends when the app is dropped.
pub fn spawn(app: &Arc<App>, writer: Writer, requests: mpsc::Receiver<Request>) {
    tokio::spawn(run(Arc::downgrade(app), writer, requests));
}

async fn run(app: Weak<App>, writer: Writer, mut requests: mpsc::Receiver<Request>) {
    let mut writer = Some(writer);
    while let Some(first) = requests.recv().await {
        let mut size: usize = first.records.iter().map(|record| record.bytes.len()).sum();
        let mut group = vec![first];
        while size < GROUP_MAX
            && let Ok(next) = requests.try_recv()
        {
            size += next.records.iter().map(|record| record.bytes.len()).sum::<usize>();
            group.push(next);
        }
        let Some(app) = app.upgrade() else { return };
        let Some(held) = writer.take() else { return };
        let (held, outcome) = commit(&app, held, &mut group).await;
        writer = held;
        match outcome {
            Ok(changes) => {
                for request in group {
                    // A caller that has gone away will ask again.
                    request.reply.send(Ok(request.refused)).ok();
                }
                changes.publish(&app).await;
                app.arrived.notify_waiters();
            }
            Err(error) => {
                // Each request says so in the log when it answers; gateways will send the records again.
                for request in group {
                    request.reply.send(Err(anyhow::anyhow!("records could not be stored: {error:#}"))).ok();
                }
            }
        }
    }
}

/// One new record of the group: whose request, and which of its records.
type NewRecords = BTreeMap<(String, u64, u64), (usize, usize)>;

async fn commit(
    app: &Arc<App>,
    writer: Writer,
    group: &mut [Request],
) -> (Option<Writer>, anyhow::Result<Changes>) {
    let sorted = match sort(app, group).await {
        Ok(sorted) => sorted,
        Err(error) => return (Some(writer), Err(error.into())),
    };
    let Sorted { new, equivocations } = sorted;
    let batch: Vec<_> = new
        .values()
        .map(|(request, record)| {
            let (request, record) = (&group[*request], *record);
            let record = &request.records[record];
            (record.header.gateway, record.header.cursor(), record.bytes.clone())
        })
        .collect();
    let (writer, places) = if batch.is_empty() {
        (Some(writer), Ok(Vec::new()))
    } else {
        let append = move || {
            let mut writer = writer;
            let appends: Vec<_> = batch
                .iter()
                .map(|(gateway, cursor, bytes)| Append { gateway: *gateway, cursor: *cursor, bytes })
                .collect();
            let places = writer.append(&appends);
            (writer, places)
        };
        match tokio::task::spawn_blocking(append).await {
            Ok((writer, places)) => (Some(writer), places),
            Err(error) => {
                return (None, Err(anyhow::Error::from(error).context("writing of segments ended early")));
            }
        }
    };
    let outcome = async {
        let places = places.context("write an evidence segment")?;
        index(app, group, &new, places, &equivocations).await
    };
    let outcome = outcome.await;
    (writer, outcome)
}

/// What a group holds that is not here yet.
struct Sorted {
    new: NewRecords,
    /// (request, epoch, seq)
    equivocations: Vec<(usize, u64, u64)>,
}

async fn sort(app: &App, group: &mut [Request]) -> sqlx::Result<Sorted> {
    let mut new = NewRecords::new();
    let mut equivocations = Vec::new();
    for r in 0..group.len() {
        let id = group[r].gateway.id.clone();
        let mut connection = app.store.read().acquire().await?;
        let mut simulated = BTreeSet::new();
        if !app.clock.simulated() {
            for record in &group[r].records {
                let epoch = record.header.epoch.0;
                let says = matches!(&record.body, Some(Body::Start(start)) if start.simulated);
                if says || records::is_simulated(&mut connection, &id, epoch as i64).await? {
                    simulated.insert(epoch);
                }
            }
        }
        for i in 0..group[r].records.len() {
            let record = &group[r].records[i];
            let (epoch, seq, hash) = (record.header.epoch, record.header.seq, record.hash);
            let mut refuse =
                |code: &str| group[r].refused.push(Refused { epoch, seq, code: code.to_owned() });
            if simulated.contains(&epoch.0) {
                Metrics::count(&app.metrics.refused_simulated);
                refuse("simulated");
                continue;
            }
            let key = (id.clone(), epoch.0, seq.0);
            let known = match new.get(&key) {
                Some((request, record)) => Some(group[*request].records[*record].hash),
                None => records::find(&mut connection, &id, epoch.0 as i64, seq.0 as i64)
                    .await?
                    .map(|row| row.hash),
            };
            match known {
                None => {
                    new.insert(key, (r, i));
                }
                Some(held) if held == hash => Metrics::count(&app.metrics.records_duplicate),
                Some(_) => {
                    Metrics::count(&app.metrics.refused_equivocation);
                    group[r].refused.push(Refused { epoch, seq, code: "equivocation".to_owned() });
                    equivocations.push((r, epoch.0, seq.0));
                }
            }
        }
    }
    Ok(Sorted { new, equivocations })
}

/// Rows and everything derived, in one transaction.
async fn index(
    app: &Arc<App>,
    group: &[Request],
    new: &NewRecords,
    places: Vec<records::Place>,
    equivocations: &[(usize, u64, u64)],
) -> anyhow::Result<Changes> {
    let mut changes = Changes::default();
    let now = app.clock.civil().0;
    let mut tx = app.store.write().await?;
    let mut epochs: BTreeSet<(usize, i64)> = BTreeSet::new();
    for ((request, record), place) in new.values().zip(places) {
        let (gateway, record) = (&group[*request].gateway, &group[*request].records[*record]);
        let mut row = row(gateway, record, place, now);
        let counts = succession::counts(&mut tx, gateway, &row, record.standing).await?;
        if !counts {
            "revoked".clone_into(&mut row.state);
            row.projected = true;
        }
        records::add(&mut tx, &row).await?;
        epochs.insert((*request, row.epoch));
        match record.body.as_ref().filter(|_| counts) {
            None if !counts => {
                Metrics::count(&app.metrics.records_quarantined);
                let about = format!("{}/{}", row.epoch, row.seq);
                project::center_alert(&mut tx, app, gateway, project::REVOKED, &about, &mut changes).await?;
            }
            Some(body) => {
                Metrics::count(&app.metrics.records_stored);
                project::record(&mut tx, app, gateway, &row, body, &mut changes).await?;
            }
            None => Metrics::count(&app.metrics.records_quarantined),
        }
    }
    for (gateway, epoch) in changes.gone.clone() {
        if let Some(request) = group.iter().position(|request| request.gateway.id == gateway) {
            epochs.insert((request, epoch));
        }
    }
    for (request, epoch) in epochs {
        let gateway = &group[request].gateway;
        let (before, after) = records::advance(&mut tx, &gateway.id, epoch).await?;
        changes.chains.insert((gateway.id.clone(), epoch, before.through, after.through));
        if before.broken.is_none() && after.broken.is_some() {
            let about = format!("{epoch}/{}", after.broken.unwrap_or_default());
            project::center_alert(&mut tx, app, gateway, project::CHAIN_BROKEN, &about, &mut changes).await?;
        }
    }
    let redated = changes.redated.clone();
    for (gateway, since) in redated {
        project::redate(&mut tx, app, &gateway, since, &mut changes).await?;
    }
    for (request, epoch, seq) in equivocations {
        let gateway = &group[*request].gateway;
        let about = format!("{epoch}/{seq}");
        project::center_alert(&mut tx, app, gateway, project::EQUIVOCATION, &about, &mut changes).await?;
        audit::note(&mut tx, now, &gateway.id, "equivocation", &about).await?;
    }
    for request in group {
        let id = &request.gateway.id;
        if !app.clock.simulated() {
            for record in &request.records {
                if let Some(Body::Start(start)) = &record.body
                    && start.simulated
                {
                    records::add_simulated(&mut tx, id, start.epoch.0 as i64).await?;
                }
            }
        }
        if !request.refused.is_empty() {
            gateways::count_refused(&mut tx, id, request.refused.len() as i64).await?;
        }
        // Of the gateway that is in use: a box that was replaced is no sign of it.
        if !request.gateway.former {
            project::sign_of_life(&mut tx, app, id, &mut changes).await?;
        }
    }
    tx.commit().await?;
    Metrics::count(&app.metrics.commits);
    Ok(changes)
}

fn row(gateway: &Enrolled, record: &Checked, place: records::Place, now: i64) -> RecordRow {
    let header = &record.header;
    let kind = match record.kind {
        Kind::Start => "start",
        Kind::Config => "config",
        Kind::Inputs => "inputs",
        Kind::Conclusions => "conclusions",
        Kind::Checkpoint => "checkpoint",
        Kind::Gap => "gap",
        Kind::Other(_) => "unknown",
    };
    RecordRow {
        gateway: gateway.id.clone(),
        epoch: header.epoch.0 as i64,
        seq: header.seq.0 as i64,
        place,
        hash: record.hash,
        prev: header.prev,
        kind: kind.to_owned(),
        config: header.config.0 as i64,
        t0: header.t0.0,
        t1: header.t1.0,
        state: if record.body.is_some() { "stored" } else { "quarantined" }.to_owned(),
        // What is not understood has nothing to derive; the rest is set by the projection.
        projected: record.body.is_none(),
        received_at: now,
    }
}

/// What is on disk here of a gateway.
pub async fn receipt(
    app: &App,
    gateway: &str,
    touched: &BTreeSet<u64>,
    refused: Vec<Refused>,
) -> sqlx::Result<Receipt> {
    let rows = app.store.epochs(gateway).await?;
    let newest = rows.last().map(|row| row.epoch);
    let mut told: Vec<_> = rows
        .into_iter()
        .filter(|row| {
            row.through < row.last || Some(row.epoch) == newest || touched.contains(&(row.epoch as u64))
        })
        .collect();
    // Oldest unfinished first; a finished one that was just touched gives way when there are too many.
    told.sort_by_key(|row| (row.through >= row.last && Some(row.epoch) != newest, row.epoch));
    told.truncate(EPOCHS_MAX);
    let mut epochs = Vec::with_capacity(told.len());
    for row in told {
        let runs = if row.through < row.last {
            app.store.runs_above(gateway, row.epoch, row.through, RANGES_MAX).await?
        } else {
            Vec::new()
        };
        epochs.push(EpochReceipt {
            epoch: Epoch(row.epoch as u64),
            through: u64::try_from(row.through).ok().map(Seq),
            have: runs.into_iter().map(|(first, last)| (Seq(first as u64), Seq(last as u64))).collect(),
        });
    }
    let wants = app
        .store
        .wanted_configs(gateway, RANGES_MAX as i64)
        .await?
        .into_iter()
        .map(|(epoch, seq)| (Epoch(epoch as u64), Seq(seq as u64), Seq(seq as u64)))
        .collect();
    Ok(Receipt { server_time: app.clock.civil(), window: WINDOW, epochs, refused, wants })
}
