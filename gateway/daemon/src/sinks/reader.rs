//! Reads the journal for one sink: records in order, what of them it sends, and what is missing between them.
//!
//! Promises: asks the recorder for little at a time and waits for its answer before the next question, so that a sink
//! never slows down recording; pins nothing. Every record is either rendered or noted as missed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use gateway_journal::{Journal, Position};
use gateway_model::{Epoch, GatewayId, Plan, Seq};
use gateway_wire::{Body, Header, Joiner, Kind, peek, reread, whole_at};

use super::core::Parcel;
use super::gaps::{Follow, Gaps, Missed};
use super::influx::{self, NoClock};
use super::mqtt;
use super::scene::{Happening, Scene, happenings};
use super::template::Template;
use super::told::Gathered;
use super::webhook;
use crate::config::TargetPlan;
use crate::recorder::{Doors, Refused};

/// Bytes of the journal asked for at a time: what the recorder reads within a few milliseconds.
const READ_BYTES: usize = 64 * 1024;

/// Where records come from.
#[derive(Clone)]
pub enum Source {
    /// The recorder of this process.
    Live(Doors),
    /// A journal opened for reading.
    Offline(Arc<Mutex<Journal>>),
}

impl Source {
    async fn read(&self, from: Position) -> Result<Vec<(Position, Vec<u8>)>, Refused> {
        match self {
            Self::Live(doors) => doors.asks.read(from, READ_BYTES).await,
            Self::Offline(journal) => {
                let journal = lock(journal);
                let scan = journal.scan(from).filter_map(Result::ok).take(64);
                Ok(scan.map(|stored| (stored.position, stored.bytes)).collect())
            }
        }
    }

    async fn get(&self, position: Position) -> Result<Option<Vec<u8>>, Refused> {
        match self {
            Self::Live(doors) => doors.asks.get(position).await,
            Self::Offline(journal) => Ok(lock(journal).read(position).ok().flatten()),
        }
    }

    async fn epochs(&self) -> Result<Vec<(u64, u64, u64)>, Refused> {
        match self {
            Self::Live(doors) => doors.asks.epochs().await,
            Self::Offline(journal) => Ok(lock(journal).epochs()),
        }
    }

    /// The newest record there is.
    pub fn newest(&self) -> Option<Position> {
        match self {
            Self::Live(doors) => *doors.newest.borrow(),
            Self::Offline(journal) => lock(journal).last(),
        }
    }

    /// The plan of this epoch, shared with the recorder while it is the plan in force: every epoch has one.
    async fn plan_of(&self, epoch: u64) -> Result<Option<Arc<Plan>>, Refused> {
        match self {
            Self::Live(doors) => {
                let now = doors.asks.snapshot().await?;
                Ok((now.epoch == epoch).then_some(now.plan))
            }
            Self::Offline(_) => Ok(None),
        }
    }

    /// What is known of the clock now.
    fn offset_ms(&self) -> Option<i64> {
        match self {
            Self::Live(doors) => doors.civil.offset_ms(),
            Self::Offline(_) => None,
        }
    }
}

fn lock(journal: &Mutex<Journal>) -> std::sync::MutexGuard<'_, Journal> {
    journal.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Records in which there is nothing for a sink: configurations and states. They are the largest there are, and not unpacked to
/// find that out.
fn holds_nothing(kind: Kind) -> bool {
    match kind {
        Kind::Config | Kind::Checkpoint | Kind::Part => true,
        Kind::Start | Kind::Inputs | Kind::Conclusions | Kind::Gap | Kind::Other(_) => false,
    }
}

/// What came of reading on.
#[derive(Debug)]
pub enum Read {
    /// A record, and what of it is sent.
    Record(Position, Vec<Parcel>),
    /// There is nothing more at the moment.
    End,
    /// The next record cannot be told before the clock is known.
    NoClock,
}

/// One sink's reader.
pub struct Reader {
    source: Source,
    target: TargetPlan,
    template: Option<Template>,
    gateway: GatewayId,
    follow: Follow,
    ahead: VecDeque<(Position, Vec<u8>)>,
    next: Position,
    scene: Option<((u64, u64), Scene)>,
    offset_ms: Option<i64>,
    /// What was known of the clock behind each record read, where it changed: newest last.
    offsets: VecDeque<(Position, Option<i64>)>,
    last_t1: Option<i64>,
    gaps: Gaps,
    gaps_changed: bool,
}

impl Reader {
    /// Goes on behind `cursor`, knowing this of the clock and of what is missing.
    pub fn new(
        source: Source,
        target: &TargetPlan,
        gateway: GatewayId,
        cursor: Option<Position>,
        offset_ms: Option<i64>,
        gaps: Gaps,
    ) -> Self {
        let template = match target {
            // Checked with the site file.
            TargetPlan::Webhook(hook) => {
                hook.body.as_ref().and_then(|body| Template::parse(body, webhook::FIELDS).ok())
            }
            TargetPlan::Influx(_) | TargetPlan::Mqtt(_) => None,
        };
        let behind = |cursor: Position| Position { epoch: cursor.epoch, seq: cursor.seq + 1 };
        Self {
            source,
            target: target.clone(),
            template,
            gateway,
            follow: Follow::behind(cursor),
            ahead: VecDeque::new(),
            next: cursor.map_or_else(Position::default, behind),
            scene: None,
            offset_ms,
            offsets: cursor.map(|cursor| (cursor, offset_ms)).into_iter().collect(),
            last_t1: None,
            gaps,
            gaps_changed: false,
        }
    }

    /// The next record. After [`Read::NoClock`] the same record is tried again.
    pub async fn next(&mut self) -> Result<Read, Refused> {
        if self.ahead.is_empty() {
            self.ahead = self.source.read(self.next).await?.into();
        }
        let Some((position, bytes)) = self.ahead.front() else { return Ok(Read::End) };
        let (position, seen) = (*position, peek(bytes).ok());
        let silent = seen.is_some_and(|(_, kind)| holds_nothing(kind));
        let opened = if silent { None } else { reread(bytes).ok() };
        let (header, body) = match &opened {
            Some(opened) => (Some(opened.header), opened.body.as_ref().ok()),
            None => (seen.map(|(header, _)| header), None),
        };
        let parcels = match body {
            None => silent.then(Vec::new),
            Some(body) => match self.render(position, header, body).await? {
                Err(NoClock) => return Ok(Read::NoClock),
                Ok(parcels) => parcels,
            },
        };
        self.notice(position, header, body).await?;
        let parcels = parcels.unwrap_or_else(|| {
            // Damaged, or of a later release: this sink cannot tell what is in it.
            self.missed(position.epoch, position.seq, position.seq, header);
            Vec::new()
        });
        self.last_t1 = header.and_then(|header| self.offset_ms.map(|offset| header.t1.civil(offset).0));
        if self.offsets.back().map(|(_, offset)| *offset) != Some(self.offset_ms) {
            self.offsets.push_back((position, self.offset_ms));
        }
        self.next = Position { epoch: position.epoch, seq: position.seq + 1 };
        self.ahead.pop_front();
        Ok(Read::Record(position, parcels))
    }

    /// What was known of the clock behind this record; what was known before it is forgotten.
    pub fn offset_at(&mut self, cursor: Position) -> Option<i64> {
        while self.offsets.get(1).is_some_and(|(position, _)| *position <= cursor) {
            self.offsets.pop_front();
        }
        self.offsets.front().filter(|(position, _)| *position <= cursor).and_then(|(_, offset)| *offset)
    }

    /// The list of what is missing, where it has changed since the last call.
    pub fn changed_gaps(&mut self) -> Option<&Gaps> {
        std::mem::take(&mut self.gaps_changed).then_some(&self.gaps)
    }

    /// Spans that this sink did not get.
    pub fn gaps(&self) -> usize {
        self.gaps.0.len()
    }

    /// What the record means for this sink; `None` where its plan is not there.
    async fn render(
        &mut self,
        position: Position,
        header: Option<Header>,
        body: &Body,
    ) -> Result<Result<Option<Vec<Parcel>>, NoClock>, Refused> {
        if matches!(body, Body::Start(_)) {
            // A new life: what was known of the clock may not hold across the time between.
            self.offset_ms = None;
        }
        let happenings = happenings(body);
        if happenings.is_empty() {
            return Ok(Ok(Some(Vec::new())));
        }
        let Some(header) = header else { return Ok(Ok(None)) };
        if !self.set(header).await? {
            return Ok(Ok(None));
        }
        let before = self.offset_ms;
        let mut parcels = Vec::new();
        let mut gathered: Option<Gathered> = None;
        for happening in happenings {
            let offset = self.offset_ms.or_else(|| self.source.offset_ms());
            if let Happening::Reading(reading) = happening
                && self.gathers()
                && let Some((_, scene)) = &mut self.scene
            {
                scene.offset_ms = offset;
                if !gathered.as_mut().is_some_and(|gathered| gathered.takes(scene, reading)) {
                    let begun = Gathered::begin(scene, reading);
                    let done = std::mem::replace(&mut gathered, begun);
                    parcels.extend(self.told(position, parcels.len() as u32, done));
                }
                continue;
            }
            parcels.extend(self.told(position, parcels.len() as u32, gathered.take()));
            if let Happening::Clock(offset) = happening {
                self.offset_ms = offset;
                continue;
            }
            let Ok(parcel) = self.parcel(position, parcels.len() as u32, offset, happening) else {
                self.offset_ms = before;
                return Ok(Err(NoClock));
            };
            parcels.extend(parcel);
        }
        parcels.extend(self.told(position, parcels.len() as u32, gathered));
        Ok(Ok(Some(parcels)))
    }

    /// Does this sink tell what a device says at a moment in one message?
    fn gathers(&self) -> bool {
        matches!(&self.target, TargetPlan::Mqtt(plan) if plan.readings && plan.by_device)
    }

    /// The message of what was gathered.
    fn told(&self, position: Position, n: u32, gathered: Option<Gathered>) -> Option<Parcel> {
        let (TargetPlan::Mqtt(plan), Some((_, scene))) = (&self.target, &self.scene) else { return None };
        let (device, body) = gathered?.told(scene)?;
        let topic = format!("{}/{}/readings/{device}", plan.prefix, scene.plan.site.0);
        Some(Parcel { epoch: position.epoch, seq: position.seq, n, topic, retain: false, body })
    }

    fn parcel(
        &mut self,
        position: Position,
        n: u32,
        offset_ms: Option<i64>,
        happening: Happening<'_>,
    ) -> Result<Option<Parcel>, NoClock> {
        let Some((_, scene)) = &mut self.scene else { return Ok(None) };
        scene.offset_ms = offset_ms;
        let (epoch, seq) = (position.epoch, position.seq);
        let empty = Parcel { epoch, seq, n, topic: String::new(), retain: false, body: String::new() };
        Ok(match &self.target {
            TargetPlan::Influx(_) => influx::line(scene, happening)?.map(|body| Parcel { body, ..empty }),
            TargetPlan::Mqtt(plan) => mqtt::message(scene, happening, plan)
                .map(|(topic, retain, body)| Parcel { topic, retain, body, ..empty }),
            TargetPlan::Webhook(_) => webhook::message(scene, happening, self.template.as_ref(), &empty)
                .map(|body| Parcel { body, ..empty }),
        })
    }

    /// Sets the scene that the record's config record describes. False where that is not there any more.
    async fn set(&mut self, header: Header) -> Result<bool, Refused> {
        let wanted = (header.epoch.0, header.config.0);
        if self.scene.as_ref().is_some_and(|(known, _)| *known == wanted) {
            return Ok(true);
        }
        let plan = match self.source.plan_of(wanted.0).await? {
            Some(plan) => plan,
            None => match self.whole(Position { epoch: wanted.0, seq: wanted.1 }).await? {
                Some(Body::Config(config)) => Arc::new(config.plan),
                Some(_) | None => return Ok(false),
            },
        };
        let start = self.source.get(Position { epoch: wanted.0, seq: 0 }).await?;
        let start = start.and_then(|bytes| reread(&bytes).ok()).and_then(|opened| opened.body.ok());
        let simulated = matches!(start, Some(Body::Start(start)) if start.simulated);
        self.scene = Some((wanted, Scene::new(self.gateway, plan, simulated)));
        Ok(true)
    }

    /// What a record says, with its parts.
    async fn whole(&self, at: Position) -> Result<Option<Body>, Refused> {
        let (mut joiner, mut seq, mut parts) = (Joiner::default(), at.seq, 0);
        loop {
            let bytes = self.source.get(Position { seq, ..at }).await?;
            let opened = bytes.and_then(|bytes| reread(&bytes).ok()).map(|opened| joiner.opened(opened));
            let body = opened.and_then(|opened| opened.body.ok());
            if let Some(Body::Parted(parted)) = &body {
                parts = u64::from(parted.head.parts);
            }
            if body.is_none() || seq == at.seq + parts {
                return Ok(body);
            }
            seq += 1;
        }
    }

    /// Notes what is missing before this record, and what a gap record says about it.
    async fn notice(
        &mut self,
        position: Position,
        header: Option<Header>,
        body: Option<&Body>,
    ) -> Result<(), Refused> {
        let started_after = match body {
            Some(Body::Start(start)) => start.previous.map(|(Epoch(epoch), seq)| (epoch, seq.0)),
            Some(_) | None => None,
        };
        let first = position.seq == 0;
        let epochs = if first { self.source.epochs().await? } else { Vec::new() };
        for (epoch, first, last) in self.follow.sees(position, &epochs, started_after) {
            self.missed(epoch, first, last, header);
        }
        if let Some(Body::Gap(gap)) = body {
            let offset = self.offset_ms;
            self.gaps_changed |= self.gaps.explained(gap, |at| offset.map(|offset| at.civil(offset).0));
        }
        Ok(())
    }

    fn missed(&mut self, epoch: u64, first: u64, last: u64, header: Option<Header>) {
        let to = header.and_then(|header| self.offset_ms.map(|offset| header.t0.civil(offset).0));
        self.gaps.missed(Missed { epoch, first, last, point: None, from: self.last_t1, to, count: None });
        self.gaps_changed = true;
        tracing::warn!(
            epoch,
            first,
            last,
            "a sink was overtaken: these records are gone before it came to them"
        );
    }
}

/// The site that the newest config record of a journal names.
pub fn site_of(journal: &Journal) -> Option<String> {
    journal.epochs().iter().rev().find_map(|(epoch, ..)| {
        let read = |seq: Seq| reread(&journal.read(Position { epoch: *epoch, seq: seq.0 }).ok()??).ok();
        match whole_at(Seq(1), read)?.0.body.ok()? {
            Body::Config(config) => Some(config.plan.site.0),
            Body::Start(_)
            | Body::Inputs(_)
            | Body::Conclusions(_)
            | Body::Checkpoint(_)
            | Body::Gap(_)
            | Body::Parted(_)
            | Body::Part(_) => None,
        }
    })
}
