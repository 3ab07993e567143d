//! `gateway enrol`, `gateway rotate-key` and `gateway journal deliver`: who a gateway is, and what an old box still holds.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use gateway_journal::Journal;
use gateway_model::{ConclusionBody, Epoch, GatewayId};
use gateway_wire::{Body, EnrolCode, Joiner, KeyRing};

use super::{Ended, GOOD, USAGE, WRONG, data_dir, journal, runtime, say};
use crate::clock::Wall;
use crate::state::{DataDir, enrolled_at, key_at};
use crate::uplink::client::{Client, Joined, enrol as join};
use crate::uplink::identity;
use crate::uplink::meter::Meter;

pub(super) fn enrol(
    url: &str,
    code: Option<&str>,
    site: &Path,
    data: Option<PathBuf>,
    replaces: Option<GatewayId>,
) -> Ended {
    let (url, code) = match (url.split_once("/enrol#"), code) {
        (Some((url, code)), None) => (url, code),
        (None, Some(code)) => (url, code),
        (Some(_), Some(_)) => {
            eprintln!("error: the address has a code in it already: give one code only");
            return Ok(USAGE);
        }
        (None, None) => {
            eprintln!(
                "error: give the code that the center shows beside its address, or the text of its QR code"
            );
            return Ok(USAGE);
        }
    };
    let Some(code) = EnrolCode::parse(code) else {
        eprintln!("error: {code} is no enrolment code: eight letters and digits, a dash, 16 hex digits");
        return Ok(USAGE);
    };
    let data = DataDir::open(&data_dir(site, data))?;
    if replaces.is_some() && data.journal().exists() {
        eprintln!(
            "error: {} has records of its own: a box takes another's place with an empty data directory",
            data.root().display()
        );
        return Ok(USAGE);
    }
    let key = data.key()?;
    let runtime = runtime()?;
    let joined = runtime.block_on(join(url, &code, &key, replaces))?;
    let mut line = serde_json::json!({
        "gateway": key.gateway_id().to_string(),
        "institution": joined.enrolment.institution.0,
        "site": joined.enrolment.site.0,
        "center": joined.enrolled.url,
    });
    if let Some(old) = replaces {
        let inherited = runtime.block_on(take_over(&data, &joined))?;
        line["gateway"] = old.to_string().into();
        line["replaces"] = old.to_string().into();
        line["records"] = inherited.records.into();
        line["last"] = inherited.last.into();
        line["open_alerts"] = inherited.open_alerts.into();
    }
    joined.pins.store(data.root())?;
    // Last: with it the gateway counts as enrolled.
    data.enrol(&joined.enrolled)?;
    say(&line)?;
    Ok(GOOD)
}

/// What a box that replaces another begins with.
struct Inherited {
    records: usize,
    last: Option<String>,
    open_alerts: usize,
}

async fn take_over(data: &DataDir, joined: &Joined) -> anyhow::Result<Inherited> {
    let history = joined.history.as_ref().context("the center did not say whose place this box takes")?;
    let center = &joined.enrolled.center;
    let ring = history.ring(Some(center))?;
    data.keep_history(history, Some(center))?;
    let client = Client::new(joined.enrolled.clone(), data.key()?, Meter::none())?;
    let records = identity::predecessor(&client).await?;
    let inherited = inherited(&ring, &records)?;
    data.keep_predecessor(&records)?;
    Ok(inherited)
}

/// Every record is checked against the key that signed it before anything is kept.
fn inherited(ring: &KeyRing, records: &[Vec<u8>]) -> anyhow::Result<Inherited> {
    let mut open = std::collections::BTreeSet::new();
    let (mut last, mut joiner) = (None, Joiner::default());
    for (place, bytes) in records.iter().enumerate() {
        let opened = ring.open(bytes).with_context(|| format!("record {place} that the center sent"))?;
        last = Some(opened.header.cursor().to_string());
        match joiner.opened(opened).body {
            Ok(Body::Checkpoint(state)) => {
                open = state
                    .rules
                    .iter()
                    .flat_map(|rule| {
                        let events = rule.events.iter().map(|event| event.occurrence);
                        rule.alert.occurrence.into_iter().chain(events).map(|occurrence| occurrence.alert)
                    })
                    .collect();
            }
            Ok(Body::Conclusions(conclusions)) => {
                for one in conclusions.list {
                    let ConclusionBody::Alert(change) = one.body else { continue };
                    match change.change {
                        gateway_model::Change::Raised => {
                            open.insert(change.alert);
                        }
                        gateway_model::Change::Cleared(_) => {
                            open.remove(&change.alert);
                        }
                        gateway_model::Change::Acknowledged
                        | gateway_model::Change::Quality
                        | gateway_model::Change::Gap
                        | gateway_model::Change::Recurred
                        | gateway_model::Change::Step
                        | gateway_model::Change::ReAlarmed
                        | gateway_model::Change::Suppression
                        | gateway_model::Change::Reset
                        | gateway_model::Change::Chattering
                        | gateway_model::Change::Provable
                        | gateway_model::Change::Aggravated
                        | gateway_model::Change::Escalated(_) => {}
                    }
                }
            }
            Ok(
                Body::Start(_)
                | Body::Config(_)
                | Body::Inputs(_)
                | Body::Gap(_)
                | Body::Parted(_)
                | Body::Part(_),
            )
            | Err(_) => {}
        }
    }
    Ok(Inherited { records: records.len(), last, open_alerts: open.len() })
}

pub(super) fn rotate(dir: &Path) -> Ended {
    let data = DataDir::open(dir)?;
    ensure!(
        data.journal().is_dir(),
        "{} holds no journal: name the data directory of a gateway",
        dir.display()
    );
    let (journal, _) = Journal::open_read_only(&data.journal())?;
    let epoch = journal.epochs().iter().map(|(epoch, ..)| *epoch).max().unwrap_or(0);
    data.rotate(Epoch(epoch), Wall::system().civil().unwrap_or_default())?;
    let key = data.key()?;
    say(&serde_json::json!({
        "gateway": key.gateway_id().to_string(),
        "key": gateway_wire::hex(&key.verifying_key().to_bytes()),
        "from_epoch": epoch + 1,
    }))?;
    Ok(GOOD)
}

pub(super) fn deliver(dir: &Path, center: Option<&str>, by: Option<&Path>) -> Ended {
    let who = by.unwrap_or(dir);
    let enrolled = enrolled_at(who)?;
    let mut enrolled = enrolled.with_context(|| {
        format!("{} is not enrolled at a center: name one that is with --by", who.display())
    })?;
    if let Some(url) = center {
        url.trim_end_matches('/').clone_into(&mut enrolled.url);
    }
    let key = key_at(who)
        .with_context(|| format!("the key in {}; another can be named with --by", who.display()))?;
    let (journal, _) = journal::opened(dir)?;
    let client = Client::new(enrolled, key, Meter::none())?.remembering(who)?;
    let delivered = runtime()?.block_on(identity::deliver(&client, &journal))?;
    say(&serde_json::json!({
        "records": delivered.records, "sent": delivered.sent, "refused": delivered.refused,
    }))?;
    Ok(if delivered.refused == 0 { GOOD } else { WRONG })
}
