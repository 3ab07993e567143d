//! Takes records in: checked, made durable in a segment, indexed, projected, and only then receipted.
//!
//! One task appends and writes; requests wait for it in a bounded queue. Whatever waits when it is free goes into
//! one group: one sync of the segment, one transaction. Duplicates are absorbed; the same number with other bytes
//! is refused, an alert, and kept aside. A record is either wholly here (bytes and row) or not receipted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use anyhow::Context as _;
use gateway_model::{Cursor, Epoch, GatewayId, Seq};
use gateway_wire::{Body, Header, Kind, Receipt, RecordError, Refused, Standing};
use serde::Deserialize;
use tokio::sync::{mpsc, oneshot};

use crate::app::App;
use crate::error::ApiError;
use crate::metrics::Metrics;
use crate::project::{self, Changes};
use crate::receipt::receipt;
use crate::segments::{Append, Writer};
use crate::store::aside::{self, AsideRow};
use crate::store::audit;
use crate::store::epochs;
use crate::store::gateways::{self, Enrolled};
use crate::store::records::{self, RecordRow};
use crate::succession;

/// Requests that wait; when full, callers wait to be let in, which slows the gateways down.
const QUEUE_MAX: usize = 64;
/// Bytes of one group: with a sync of a few ms a group never takes longer than 20 ms to write.
const GROUP_MAX: usize = 4 << 20;
/// Records a gateway may have on the way without a receipt.
const WINDOW: u32 = 256;
/// A caller that finds no room in the queue for so long is told to come back.
const QUEUE_WAIT: Duration = Duration::from_secs(5);
/// Seconds after which it may, at the earliest and at the latest.
const RETRY_SECONDS: std::ops::Range<u64> = 5..30;
/// Bytes kept aside per gateway; what comes on top is refused (`aside_full`) and stays at the gateway.
const ASIDE_MAX: i64 = 256 << 20;

/// Where records go: those of the chains, and those beside them.
#[derive(Debug)]
pub struct Writers {
    /// Evidence.
    pub chain: Writer,
    /// Records whose numbers others have.
    pub aside: Writer,
}

/// How a batch is sent.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub struct Manner {
    /// The session it belongs to; without one nothing ends it.
    session: Option<u64>,
    /// The gateway knows that the numbers of these records are taken: all of them are kept aside.
    #[serde(default)]
    aside: bool,
    /// Somebody delivers a disk: not the gateway itself, whose session goes on.
    #[serde(default)]
    delivery: bool,
}

impl Manner {
    /// Whose sessions end each other: those of one key, and apart from them those of deliveries.
    pub fn line(self, gateway: &Enrolled) -> String {
        let key = gateway.former.map_or_else(String::new, |next| format!("/{}", next.0));
        let delivery = if self.delivery { "/delivery" } else { "" };
        format!("{}{key}{delivery}", gateway.id)
    }
}

/// The answer to a batch of a session that has ended, or that this start of the center never knew.
pub fn ended(app: &App) -> ApiError {
    Metrics::count(&app.metrics.refused_session);
    ApiError::Conflict(
        "session",
        crate::error::words("会话已结束。", "This session is not the newest of the gateway: compare again."),
    )
}

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
    /// The epoch is another key's: it has no place in the chain.
    foreign: bool,
}

/// What one request brought.
#[derive(Debug)]
pub struct Request {
    gateway: Enrolled,
    records: Vec<Checked>,
    refused: Vec<Refused>,
    manner: Manner,
    /// Its session had ended when its turn came: nothing of it counts.
    late: bool,
    reply: oneshot::Sender<anyhow::Result<Option<Taken>>>,
}

/// What became of a request.
#[derive(Debug)]
struct Taken {
    refused: Vec<Refused>,
    /// Epochs of the gateway of which more is here, or known to be gone, than before.
    changed: Vec<i64>,
}

impl Ingest {
    /// The two ends of the queue.
    pub fn new() -> (Self, mpsc::Receiver<Request>) {
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        (Self { sender }, receiver)
    }

    /// Records that the next batch of anybody may hold: less when the queue fills, 0 when it is full.
    fn window(&self) -> u32 {
        let free = self.sender.capacity();
        if free >= QUEUE_MAX / 2 { WINDOW } else { WINDOW * free as u32 / (QUEUE_MAX as u32 / 2) }
    }

    /// Returns when the task that writes has ended, which it never should: the center ends with it.
    pub async fn ended(&self) {
        self.sender.closed().await;
    }
}

/// Takes one request's records in and answers with the receipt.
pub async fn take(
    app: &Arc<App>,
    gateway: Enrolled,
    manner: Manner,
    body: bytes::Bytes,
) -> Result<Receipt, ApiError> {
    Metrics::count(&app.metrics.batches);
    let late = manner.session.is_some_and(|session| !app.sessions.holds(&manner.line(&gateway), session));
    if late {
        return Err(ended(app));
    }
    let (checked, refused) = {
        let (app, gateway) = (Arc::clone(app), gateway.clone());
        tokio::task::spawn_blocking(move || check(&app, &gateway, &body))
            .await
            .map_err(|error| ApiError::Internal(error.into()))??
    };
    // Also those of which everything was here already: the receipt before may have been lost.
    let mut touched: BTreeSet<i64> = checked.iter().map(|record| record.header.epoch.0 as i64).collect();
    let (reply, answer) = oneshot::channel();
    let speaker = gateway.clone();
    let request = Request { gateway, records: checked, refused, manner, late: false, reply };
    tokio::time::timeout(QUEUE_WAIT, app.ingest.sender.send(request))
        .await
        .map_err(|_| ApiError::Busy { seconds: seconds_within(RETRY_SECONDS) })?
        .map_err(|_| ApiError::Internal(anyhow::anyhow!("ingest has ended")))?;
    let Some(taken) = answer.await.context("ingest has ended")?? else { return Err(ended(app)) };
    touched.extend(taken.changed);
    let refused = taken.refused;
    Ok(receipt(app, &speaker, &touched, refused, app.ingest.window()).await?)
}

/// Somewhere in the span: gateways that were sent away together do not come back together.
fn seconds_within(span: std::ops::Range<u64>) -> u64 {
    span.start + u64::from(u16::from_be_bytes(crate::keys::random::<2>())) % (span.end - span.start)
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
                let owner = gateway.ring.owner(header.epoch);
                checked.push(Checked {
                    header,
                    kind,
                    body: opened.body.ok(),
                    hash,
                    bytes: bytes.to_vec(),
                    standing,
                    foreign: gateway.ring.signer(bytes) != Some(owner),
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
pub fn spawn(app: &Arc<App>, writers: Writers, requests: mpsc::Receiver<Request>) {
    tokio::spawn(run(Arc::downgrade(app), writers, requests));
}

async fn run(app: Weak<App>, writers: Writers, mut requests: mpsc::Receiver<Request>) {
    let mut writers = Some(writers);
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
        let Some(held) = writers.take() else { return };
        // The last word on it: nothing else is written between here and the commit.
        for request in &mut group {
            let session = request.manner.session;
            if session
                .is_some_and(|session| !app.sessions.holds(&request.manner.line(&request.gateway), session))
            {
                request.late = true;
                request.records.clear();
            }
        }
        let (held, outcome) = commit(&app, held, &mut group).await;
        writers = held;
        match outcome {
            Ok(changes) => {
                for request in group {
                    let changed = changes.epochs_of(&request.gateway.id).collect();
                    let taken = Taken { refused: request.refused, changed };
                    // A caller that has gone away will ask again.
                    request.reply.send(Ok((!request.late).then_some(taken))).ok();
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
    writers: Writers,
    group: &mut [Request],
) -> (Option<Writers>, anyhow::Result<Changes>) {
    let sorted = match sort(app, group).await {
        Ok(sorted) => sorted,
        Err(error) => return (Some(writers), Err(error.into())),
    };
    let bytes = |(request, record): &(usize, usize)| {
        let record = &group[*request].records[*record];
        (record.header.gateway, record.header.cursor(), record.bytes.clone())
    };
    let chain: Vec<_> = sorted.new.values().map(bytes).collect();
    let beside: Vec<_> = sorted.aside.iter().map(bytes).collect();
    let append = move || {
        let mut writers = writers;
        let places = append(&mut writers.chain, &chain)
            .and_then(|chain| Ok((chain, append(&mut writers.aside, &beside)?)));
        (writers, places)
    };
    let (writers, places) = match tokio::task::spawn_blocking(append).await {
        Ok((writers, places)) => (Some(writers), places),
        Err(error) => {
            return (None, Err(anyhow::Error::from(error).context("writing of segments ended early")));
        }
    };
    let outcome = async {
        let places = places.context("write an evidence segment")?;
        index(app, group, &sorted, places).await
    };
    let outcome = outcome.await;
    (writers, outcome)
}

/// Nothing is written, and nothing synced, for nothing.
fn append(
    writer: &mut Writer,
    records: &[(GatewayId, Cursor, Vec<u8>)],
) -> std::io::Result<Vec<records::Place>> {
    if records.is_empty() {
        return Ok(Vec::new());
    }
    let appends: Vec<_> = records
        .iter()
        .map(|(gateway, cursor, bytes)| Append { gateway: *gateway, cursor: *cursor, bytes })
        .collect();
    writer.append(&appends)
}

/// What a group holds that is not here yet.
struct Sorted {
    new: NewRecords,
    /// (request, record): kept apart from the chain.
    aside: Vec<(usize, usize)>,
    /// (request, epoch, seq)
    equivocations: Vec<(usize, u64, u64)>,
    /// (request, epoch, seq): signed with a key to which the epoch does not belong.
    foreign: Vec<(usize, u64, u64)>,
}

async fn sort(app: &App, group: &mut [Request]) -> sqlx::Result<Sorted> {
    let mut new = NewRecords::new();
    let (mut aside, mut equivocations, mut foreign) = (Vec::new(), Vec::new(), Vec::new());
    for r in 0..group.len() {
        let id = group[r].gateway.id.clone();
        let mut connection = app.store.read().acquire().await?;
        let mut beside = None;
        let mut simulated = BTreeSet::new();
        if !app.clock.simulated() {
            for record in &group[r].records {
                let epoch = record.header.epoch.0;
                let says = matches!(&record.body, Some(Body::Start(start)) if start.simulated);
                if says || epochs::is_simulated(&mut connection, &id, epoch as i64).await? {
                    simulated.insert(epoch);
                }
            }
        }
        for i in 0..group[r].records.len() {
            let record = &group[r].records[i];
            let (epoch, seq, hash) = (record.header.epoch, record.header.seq, record.hash);
            let refusal = |code: &str| Refused { epoch, seq, code: code.to_owned() };
            if simulated.contains(&epoch.0) {
                Metrics::count(&app.metrics.refused_simulated);
                group[r].refused.push(refusal("simulated"));
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
                None if record.foreign => {
                    foreign.push((r, epoch.0, seq.0));
                    if !group[r].manner.aside {
                        group[r].refused.push(refusal("revoked"));
                    }
                }
                None if !group[r].manner.aside => {
                    new.insert(key, (r, i));
                    continue;
                }
                Some(held) if held == hash => {
                    Metrics::count(&app.metrics.records_duplicate);
                    continue;
                }
                Some(_) => {
                    Metrics::count(&app.metrics.refused_equivocation);
                    equivocations.push((r, epoch.0, seq.0));
                    if !group[r].manner.aside {
                        group[r].refused.push(refusal("equivocation"));
                    }
                }
                None => {}
            }
            if aside::holds(&mut connection, &id, epoch.0 as i64, seq.0 as i64, hash).await? {
                continue;
            }
            let before = match beside {
                Some(bytes) => bytes,
                None => aside::bytes(&mut connection, &id).await?,
            };
            let after = before + group[r].records[i].bytes.len() as i64;
            beside = Some(before);
            if after > ASIDE_MAX {
                group[r].refused.push(refusal("aside_full"));
                continue;
            }
            beside = Some(after);
            aside.push((r, i));
        }
    }
    Ok(Sorted { new, aside, equivocations, foreign })
}

/// Rows and everything derived, in one transaction.
async fn index(
    app: &Arc<App>,
    group: &[Request],
    sorted: &Sorted,
    (places, beside): (Vec<records::Place>, Vec<records::Place>),
) -> anyhow::Result<Changes> {
    let Sorted { new, aside, equivocations, foreign } = sorted;
    let mut changes = Changes::default();
    let now = app.clock.civil().0;
    let mut tx = app.store.write().await?;
    let mut touched: BTreeSet<(usize, i64)> = BTreeSet::new();
    for ((request, record), place) in new.values().zip(places) {
        let (gateway, record) = (&group[*request].gateway, &group[*request].records[*record]);
        let mut row = row(gateway, record, place, now);
        let counts = succession::counts(&mut tx, gateway, &row, record.standing).await?;
        if !counts {
            "revoked".clone_into(&mut row.state);
            row.projected = true;
        }
        records::add(&mut tx, &row).await?;
        touched.insert((*request, row.epoch));
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
    project::keep_values(&mut tx, &mut changes).await?;
    for ((request, record), place) in aside.iter().zip(beside) {
        let (gateway, record) = (&group[*request].gateway.id, &group[*request].records[*record]);
        let (epoch, seq) = (record.header.epoch.0 as i64, record.header.seq.0 as i64);
        let row = AsideRow { gateway, epoch, seq, hash: record.hash, place, received_at: now };
        aside::add(&mut tx, &row).await?;
        Metrics::count(&app.metrics.records_aside);
    }
    for (gateway, epoch) in changes.gone.clone() {
        if let Some(request) = group.iter().position(|request| request.gateway.id == gateway) {
            touched.insert((request, epoch));
        }
    }
    for (request, epoch) in touched {
        let gateway = &group[request].gateway;
        let (before, after) = epochs::advance(&mut tx, &gateway.id, epoch).await?;
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
    let mut told = BTreeSet::new();
    for (request, epoch, seq) in equivocations {
        // A whole branch is one finding, not one per record.
        if !told.insert((&group[*request].gateway.id, *epoch)) {
            continue;
        }
        let gateway = &group[*request].gateway;
        let about = format!("{epoch}/{seq}");
        project::center_alert(&mut tx, app, gateway, project::EQUIVOCATION, &about, &mut changes).await?;
        audit::note(&mut tx, now, &gateway.id, "equivocation", &about).await?;
    }
    let mut told = BTreeSet::new();
    for (request, epoch, seq) in foreign {
        let gateway = &group[*request].gateway;
        if told.insert((&gateway.id, *epoch)) {
            let about = format!("{epoch}/{seq}");
            project::center_alert(&mut tx, app, gateway, project::REVOKED, &about, &mut changes).await?;
        }
    }
    for request in group.iter().filter(|request| !request.late) {
        let id = &request.gateway.id;
        if !app.clock.simulated() {
            for record in &request.records {
                if let Some(Body::Start(start)) = &record.body
                    && start.simulated
                {
                    epochs::add_simulated(&mut tx, id, start.epoch.0 as i64).await?;
                }
            }
        }
        if !request.refused.is_empty() {
            gateways::count_refused(&mut tx, id, request.refused.len() as i64).await?;
        }
        // Of the gateway that is in use: a box that was replaced is no sign of it.
        if request.gateway.former.is_none() {
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
        Kind::Part => "part",
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
