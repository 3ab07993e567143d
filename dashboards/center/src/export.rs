//! `center export CASE`: one file that proves a case to a stranger; `gateway verify` and `center verify` check it.
//!
//! Works beside a running center: it only reads. What goes in is chosen around the case: from half an hour before its
//! first alert to ten minutes after its last event, and every window over which it was verified.

use anyhow::{Context as _, ensure};
use center_casebook::{Actor, CaseEvent, CaseEventBody, Window};
use gateway_evidence::{
    CaseFile, CaseStep, Contents, Entry, ErasedAttachment, Made, Received, bundle, select,
};
use gateway_model::{CivilTime, Cursor, EngineTime, Epoch, GatewayId, InstitutionId, Seq, SiteId};
use gateway_wire::{Enrolment, Kind, Maker};

use crate::civil::ClockTable;
use crate::clock::Clock;
use crate::config::Config;
use crate::store::gateways::Enrolled;
use crate::store::keys as store_keys;
use crate::store::records::RecordRow;
use crate::store::{CaseRow, Scope, Store};
use crate::{keys, segments};

/// Before the first alert, ms.
const BEFORE_MS: i64 = 30 * 60_000;
/// After the last event, ms.
const AFTER_MS: i64 = 10 * 60_000;
/// Conclusions stand behind the inputs that led to them: looked for so much further, ms.
const BEHIND_MS: i64 = 15 * 60_000;

/// What was made.
#[derive(Debug)]
pub struct Exported {
    /// The bundle.
    pub made: Made,
    /// Records in it.
    pub records: usize,
    /// Records tell of its instruments.
    pub instruments: bool,
}

/// Makes the bundle of a case.
pub async fn export(
    config: &Config,
    clock: &Clock,
    id: i64,
    devices: Option<&str>,
    packs: &[(String, Vec<u8>)],
) -> anyhow::Result<Exported> {
    let database = config.data.join("center.db");
    ensure!(database.exists(), "{} is not there: name the center's data with --data", database.display());
    let key = keys::load_or_make(&config.data.join("center.key"))?;
    let store = Store::open(&database).await?;
    let row = store.case_row(&Scope::All, id).await?.with_context(|| format!("there is no case {id}"))?;
    let gateway = store.enrolled(&row.gateway).await?;
    let gateway = gateway.with_context(|| format!("gateway {} is not enrolled", row.gateway))?;
    let events = store.case_events(id).await?;
    let window = window(&store, &row, &events).await?;
    let rows = store.records_for_evidence(&gateway.id, window.from.0, window.to.0 + BEHIND_MS).await?;
    let selection = select(&rows.iter().map(entry).collect::<Vec<_>>(), (window.from, window.to));
    let chosen: Vec<&RecordRow> = selection.places.iter().map(|place| &rows[*place]).collect();
    let (folder, attachments) = (config.data.join("segments"), config.data.join("attachments"));
    let read = |row: &&RecordRow| {
        segments::read(&folder, row.place).with_context(|| format!("record {}/{}", row.epoch, row.seq))
    };
    let records = chosen.iter().map(read).collect::<anyhow::Result<Vec<_>>>()?;
    let history =
        store_keys::history(gateway.ring.gateway(), gateway.ring.first().to_bytes(), &gateway.keys, &key);
    let instruments = store.device_records(&gateway.id).await?;
    let instruments = instruments.iter().map(|row| read(&row)).collect::<anyhow::Result<Vec<_>>>()?;
    let told_instruments = !instruments.is_empty();
    let mut packs = packs.to_vec();
    for name in store.packs().await? {
        packs.push((
            name.clone(),
            std::fs::read(attachments.join(&name)).with_context(|| format!("pack {name}"))?,
        ));
    }
    let case = case_file(id, &row, &events)?;
    let (mut photos, mut erased_attachments) = (Vec::new(), Vec::new());
    for named in case.events.iter().flat_map(|step| &step.attachments) {
        let name = gateway_wire::hex(&named[..]);
        let Some(known) = store.attachment(&Scope::All, &name).await? else { continue };
        match known.erased {
            Some((at, reason)) => erased_attachments.push(ErasedAttachment { hash: *named, at, reason }),
            None => photos
                .push(std::fs::read(attachments.join(&name)).with_context(|| format!("attachment {name}"))?),
        }
    }
    let statement = enrolment(&gateway, clock.civil()).seal(&key);
    let made = bundle(
        &Contents {
            ring: gateway.ring.clone(),
            history: history.as_ref(),
            records: records.iter().map(Vec::as_slice).collect(),
            spans: selection.spans,
            window: selection.window,
            packs: packs.iter().map(|(name, bytes)| (name.clone(), bytes.as_slice())).collect(),
            enrolment: Some((key.verifying_key(), &statement)),
            device_records: instruments.iter().map(Vec::as_slice).collect(),
            devices,
            received: chosen.iter().map(|row| received(row)).collect(),
            erased: Vec::new(),
            case: Some(case),
            attachments: photos.iter().map(Vec::as_slice).collect(),
            erased_attachments,
            maker: Maker::Center,
            made_at: Some(clock.civil()),
            software: concat!("nonsite-center ", env!("CARGO_PKG_VERSION")),
        },
        &key,
    )?;
    store.close().await;
    Ok(Exported { made, records: records.len(), instruments: told_instruments })
}

/// The span of engine time that the case is about.
async fn window(store: &Store, row: &CaseRow, events: &[CaseEvent]) -> anyhow::Result<Window> {
    let clocks = ClockTable::new(store.clocks(&row.gateway).await?);
    let engine = |civil: i64| clocks.engine(CivilTime(civil)).unwrap_or(EngineTime(civil));
    let alerts = store.case_alerts(row.id).await?;
    let begun = alerts.iter().map(|alert| alert.since.unwrap_or(alert.raised_at).min(alert.raised_at));
    let ended = alerts.iter().map(|alert| alert.cleared_at.unwrap_or(alert.raised_at));
    let said = || events.iter().map(|event| event.at.0);
    let from = begun.chain(said()).min().context("a case without events")?;
    let to = ended.chain(said()).max().unwrap_or(from);
    let mut window = Window { from: engine(from - BEFORE_MS), to: engine(to + AFTER_MS) };
    for event in events {
        if let Some(verified) = verified(&event.body) {
            window.from = window.from.min(verified.from);
            window.to = window.to.max(verified.to);
        }
    }
    Ok(window)
}

fn verified(body: &CaseEventBody) -> Option<Window> {
    match body {
        CaseEventBody::Submitted { window, .. }
        | CaseEventBody::Extended { window }
        | CaseEventBody::Reverified { window } => Some(*window),
        CaseEventBody::Judged { verdict } => Some(verdict.window),
        CaseEventBody::Opened { .. }
        | CaseEventBody::Joined { .. }
        | CaseEventBody::Worsened { .. }
        | CaseEventBody::SelfCleared { .. }
        | CaseEventBody::Acknowledged
        | CaseEventBody::Dispatched { .. }
        | CaseEventBody::Accepted
        | CaseEventBody::OnSiteNeeded
        | CaseEventBody::Reviewed { .. }
        | CaseEventBody::Disposed { .. }
        | CaseEventBody::Noted { .. }
        | CaseEventBody::Recalled { .. } => None,
    }
}

fn cursor(row: &RecordRow) -> Cursor {
    Cursor { epoch: Epoch(row.epoch as u64), seq: Seq(row.seq as u64) }
}

fn entry(row: &RecordRow) -> Entry {
    let kind = match row.kind.as_str() {
        "start" => Kind::Start,
        "config" => Kind::Config,
        "inputs" => Kind::Inputs,
        "conclusions" => Kind::Conclusions,
        "checkpoint" => Kind::Checkpoint,
        "gap" => Kind::Gap,
        "part" => Kind::Part,
        _ => Kind::Other(u64::MAX),
    };
    Entry { cursor: cursor(row), kind, t0: EngineTime(row.t0), t1: EngineTime(row.t1) }
}

fn received(row: &RecordRow) -> Received {
    let Cursor { epoch, seq } = cursor(row);
    Received { epoch, seq, at: row.received_at }
}

/// The center vouches for the gateway anew: this statement is for whoever reads the bundle.
fn enrolment(gateway: &Enrolled, now: CivilTime) -> Enrolment {
    Enrolment {
        gateway_key: gateway.ring.first().to_bytes(),
        institution: InstitutionId(gateway.institution.clone()),
        site: SiteId(gateway.site.clone()),
        epoch_floor: Epoch(gateway.epoch_floor),
        tls_keys: Vec::new(),
        issued: now,
        gateway: None,
    }
}

fn case_file(id: i64, row: &CaseRow, events: &[CaseEvent]) -> anyhow::Result<CaseFile> {
    let priority = ["red", "orange", "yellow", "blue"].iter().position(|code| *code == row.priority);
    Ok(CaseFile {
        id: id as u64,
        institution: row.institution.clone(),
        gateway: GatewayId::parse(&row.gateway).context("the gateway's id")?,
        device: row.device.clone(),
        rule: row.rule.clone(),
        priority: priority.context("the case's priority")? as u8 + 1,
        events: events.iter().map(step).collect(),
    })
}

fn step(event: &CaseEvent) -> CaseStep {
    let (actor, person, role) = match &event.actor {
        Actor::Person { id, role, .. } => ("person", Some(id.clone()), Some(role.code().to_owned())),
        Actor::Gateway(_) => ("gateway", None, None),
        Actor::Center => ("center", None, None),
    };
    let mut step = CaseStep {
        n: event.n,
        at: event.at.0,
        actor: actor.to_owned(),
        person,
        role,
        code: event.body.code().to_owned(),
        window: verified(&event.body).map(|window| (window.from.0, window.to.0)),
        ..CaseStep::default()
    };
    match &event.body {
        CaseEventBody::Opened { alert, .. }
        | CaseEventBody::Joined { alert, .. }
        | CaseEventBody::Worsened { alert, .. }
        | CaseEventBody::SelfCleared { alert } => step.alert = Some((alert.epoch.0, alert.n)),
        CaseEventBody::Dispatched { deadline, requirement, .. } => {
            step.deadline = Some(deadline.0);
            step.text = Some(requirement.clone());
        }
        CaseEventBody::Submitted { text, attachments, .. } => {
            step.text = Some(text.clone());
            step.attachments.clone_from(attachments);
        }
        CaseEventBody::Judged { verdict } => {
            step.outcome = Some(verdict.kind.code().to_owned());
            step.text = Some(verdict.reason.clone());
            step.method = verdict.method;
        }
        CaseEventBody::Reviewed { decision, reason } => {
            step.outcome = Some(decision.code().to_owned());
            step.text = Some(reason.clone());
        }
        CaseEventBody::Disposed { disposition, reason } => {
            step.outcome = Some(disposition.code().to_owned());
            step.text = Some(reason.clone());
        }
        CaseEventBody::Noted { text } => step.text = Some(text.clone()),
        CaseEventBody::Recalled { reason } => step.text = Some(reason.clone()),
        CaseEventBody::Acknowledged
        | CaseEventBody::Accepted
        | CaseEventBody::Extended { .. }
        | CaseEventBody::OnSiteNeeded
        | CaseEventBody::Reverified { .. } => {}
    }
    step
}
