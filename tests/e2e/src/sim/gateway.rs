//! One gateway in virtual time: the daemon's own parts, put together without sockets, and what its records say afterwards.

use std::path::{Path, PathBuf};

use firmware_sim::mqtt::Publication;
use firmware_sim::scenario::expect::Lost;
use gateway::bus::Bus;
use gateway::clock::{Clock, Wall};
use gateway::config::Site;
use gateway::metrics::Metrics;
use gateway::mqtt::Translator;
use gateway::pause::Jitter;
use gateway::recorder::core::Settings;
use gateway::recorder::start::{Heritage, Setup, start};
use gateway::recorder::{self, Civil, URGENT_MAX};
use gateway::run::resume_at;
use gateway::state::DataDir;
use gateway_evidence::{Verdict, chain, recompute};
use gateway_journal::Limits;
use gateway_model::{AlertId, Change, CivilTime, ConclusionBody, Epoch, Plan, Priority};
use gateway_wire::{Body, Record};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{MIDNIGHT, Stage};
use crate::records;

/// Runs a site's gateway through the scenario: a life of its own between any two power cuts.
pub(super) async fn live(site: Site, data: PathBuf, stage: Stage, mut messages: mpsc::Receiver<Publication>) {
    let wall = Wall::demo_from(CivilTime(stage.from.0), 1.0);
    let mut cuts: Vec<_> = stage.outages.iter().filter(|outage| outage.lost == Lost::Gateway).collect();
    cuts.sort_by_key(|outage| outage.from);
    for cut in cuts {
        let life = Life::begin(&site, &data, &stage, &wall);
        life.until(stage.at(cut.from), &mut messages).await.killed().await;
        sleep_until(stage.at(cut.from + cut.for_s)).await;
    }
    let life = Life::begin(&site, &data, &stage, &wall);
    life.until(stage.at(stage.for_s), &mut messages).await.stopped().await;
}

/// From one start of the process to its end.
struct Life {
    buses: JoinSet<anyhow::Result<()>>,
    recording: JoinSet<anyhow::Result<()>>,
    stop: CancellationToken,
    seal: CancellationToken,
    clock: Clock,
    inputs: recorder::Inputs,
    translator: Translator,
}

impl Life {
    fn begin(site: &Site, data: &Path, stage: &Stage, wall: &Wall) -> Self {
        let data = DataDir::open(data).expect("a data folder can be made");
        let (metrics, civil) = (Metrics::default(), Civil::default());
        let (doors, rooms) = recorder::doors(civil.clone());
        // Nobody sends: the journal is read when it is over.
        let (urgent, _) = mpsc::channel(URGENT_MAX);
        let setup = Setup {
            journal: data.journal(),
            limits: Limits::default(),
            key: data.key().expect("a key can be made"),
            plan: site.plan.clone(),
            epoch_floor: Epoch(0),
            heritage: Heritage::default(),
            from: None,
            checkpoint: data.position("checkpoint"),
            settings: Settings {
                seal_every_ms: i64::try_from(site.journal.seal_every.as_millis()).expect("minutes"),
                wall: wall.clone(),
                civil: civil.clone(),
                metrics: metrics.clone(),
                urgent,
            },
        };
        let (core, _) = start(setup).expect("the journal opens");
        let clock = Clock::start(wall.clone(), resume_at(&core, wall, &civil));
        let (stop, seal) = (CancellationToken::new(), CancellationToken::new());
        let mut recording = JoinSet::new();
        {
            let (clock, seal) = (clock.clone(), seal.clone());
            recording.spawn(async move {
                // The folder is locked as long as somebody records.
                let _data = data;
                recorder::record(core, &clock, rooms, &seal).await
            });
        }
        let mut buses = JoinSet::new();
        for (slot, plan) in site.buses.iter().enumerate() {
            let blocks = site.blocks.iter().filter(|block| block.bus == slot).cloned().collect();
            let bus = Bus::new(plan.clone(), blocks, 1.0, metrics.clone())
                .dialing((stage.dials)(&plan.name))
                .jittered(Jitter::None);
            buses.spawn(bus.run(clock.clone(), doors.inputs.clone(), stop.clone()));
        }
        let translator = Translator::new(site.mqtt.clone(), civil, metrics);
        Self { buses, recording, stop, seal, clock, inputs: doors.inputs, translator }
    }

    /// Lives until a moment, taking messages in as they come.
    async fn until(mut self, end: Instant, messages: &mut mpsc::Receiver<Publication>) -> Self {
        loop {
            let message = tokio::select! {
                biased;
                () = sleep_until(end) => return self,
                message = messages.recv() => message.expect("the world goes on"),
                Some(ended) = self.recording.join_next() => panic!("the recorder ended: {ended:?}"),
                Some(ended) = self.buses.join_next() => panic!("a bus ended: {ended:?}"),
            };
            let at = self.clock.now();
            let payload = &message.payload;
            for event in self.translator.events(&message.topic, payload, false, at) {
                self.inputs.send(event).await.expect("the recorder runs");
            }
        }
    }

    /// The power is gone: nothing more is said or written.
    async fn killed(mut self) {
        self.buses.shutdown().await;
        self.recording.shutdown().await;
    }

    /// An orderly end: sources first, then everything is sealed.
    async fn stopped(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.buses.join_next().await {
            ended.expect("a bus does not panic").expect("a bus ends well when told to");
        }
        self.seal.cancel();
        while let Some(ended) = self.recording.join_next().await {
            ended.expect("the recorder does not panic").expect("everything can be sealed");
        }
    }
}

/// An alert as the records tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Which occurrence.
    pub alert: AlertId,
    /// Device of the site file.
    pub device: String,
    /// Rule, `pack/rule`.
    pub rule: String,
    /// How urgent.
    pub priority: Priority,
    /// Seconds after the first midnight.
    pub raised: i64,
    /// When it was over; `None`: still active.
    pub cleared: Option<i64>,
    /// When it became a supervisor's item; `None`: it was handled below.
    pub item: Option<i64>,
    /// Did it join an open case instead of opening one?
    pub joined: bool,
    /// When the center heard of it, seconds after the first midnight.
    pub heard: i64,
}

/// Opens every record of a gateway, checks the chain of hashes, derives every conclusion again, and gives them all.
pub fn contents(data: &Path) -> Vec<Record> {
    let key = records::key(data).verifying_key();
    let mut links = Vec::new();
    let opened: Vec<Record> = records::at_gateway(data)
        .iter()
        .map(|found| {
            let (header, body) = found.open(&key);
            links.push(chain::Link::new(header, &found.bytes, Some(&body)));
            Record { header, body }
        })
        .collect();
    let chain = chain::check(links);
    assert!(chain.faults.is_empty() && chain.holes.is_empty(), "the chain of records: {chain:#?}");
    let again = recompute(opened.iter().cloned());
    assert_eq!(again.verdict(), Verdict::Valid, "what was concluded does not follow: {again:#?}");
    assert!(again.pending.is_empty(), "concluded and not recorded: {:#?}", again.pending);
    opened
}

/// Every alert in the records of a gateway, in the order raised.
pub fn alerts(data: &Path) -> Vec<Seen> {
    let mut plan = Plan::default();
    let mut seen: Vec<Seen> = Vec::new();
    for record in contents(data) {
        let conclusions = match record.body {
            Body::Config(config) => {
                plan = config.plan;
                continue;
            }
            Body::Conclusions(conclusions) => conclusions.list,
            Body::Start(_)
            | Body::Inputs(_)
            | Body::Checkpoint(_)
            | Body::Gap(_)
            | Body::Parted(_)
            | Body::Part(_) => continue,
        };
        for conclusion in conclusions {
            let ConclusionBody::Alert(change) = conclusion.body else { continue };
            // The demo clock sets engine time to civil time at the first start; nothing moves it here.
            let second = (conclusion.at.0 - MIDNIGHT.0).div_euclid(1000);
            let rule = change.rule.and_then(|rule| plan.rules.get(rule.slot()));
            let item = rule.is_some_and(|rule| center_casebook::is_item(&plan, rule, change.detail));
            if let Some(open) =
                seen.iter_mut().find(|seen| seen.alert == change.alert && seen.cleared.is_none())
                && item
            {
                open.item.get_or_insert(second);
            }
            match change.change {
                Change::Raised => {
                    let rule = &plan.rules[change.rule.expect("what is raised has a rule").slot()];
                    seen.push(Seen {
                        alert: change.alert,
                        device: plan.devices[rule.subject.slot()].id.clone(),
                        rule: rule.id.clone(),
                        priority: rule.priority,
                        raised: second,
                        cleared: None,
                        item: item.then_some(second),
                        joined: false,
                        heard: second,
                    });
                }
                Change::Cleared(_) => {
                    let open = seen.iter_mut().find(|seen| seen.alert == change.alert);
                    open.expect("an alert is raised before it is cleared").cleared = Some(second);
                }
                Change::Acknowledged
                | Change::Quality
                | Change::Gap
                | Change::Recurred
                | Change::Step
                | Change::ReAlarmed
                | Change::Suppression
                | Change::Reset
                | Change::Chattering
                | Change::Provable
                | Change::Aggravated
                | Change::Escalated(_) => {}
            }
        }
    }
    seen
}
