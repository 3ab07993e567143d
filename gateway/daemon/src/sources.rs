//! What a site file makes run beside the recorder: a task per bus, one for MQTT, one for what the box knows of itself, one per sink. Each can be taken away, put
//! there or told to do something else while the others go on; none of them ends the gateway by being told to end.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gateway_model::{GatewayId, Plan};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::bus::{Bus, Replan};
use crate::clock::Clock;
use crate::config::difference::{Act, Difference};
use crate::config::{SinkPlan, Site};
use crate::metrics::Metrics;
use crate::mqtt::{Address, Connected, Listener, Resubscribe};
use crate::recorder::slots::Slots;
use crate::recorder::{Civil, Doors, Inputs};
use crate::recording::Recording;
use crate::run::Parts;
use crate::senses::Senses;
use crate::sinks::{self, Home, status::Status};

/// How long a part that was told to end may take before another takes its line; it is opened all the same then, and tries
/// until the line is free.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// What every source needs.
#[derive(Clone)]
pub struct Ground {
    /// The recorder's doors.
    pub doors: Doors,
    /// Engine time.
    pub clock: Clock,
    /// Civil time.
    pub civil: Civil,
    /// Counters.
    pub metrics: Metrics,
    /// The data directory.
    pub data: PathBuf,
    /// Whose they are.
    pub gateway: GatewayId,
    /// Where to record what goes over the lines.
    pub tape: Option<Recording>,
}

/// A task that can be told to end.
struct Task {
    stop: CancellationToken,
    ended: CancellationToken,
}

impl Task {
    async fn end(self) {
        self.stop.cancel();
        if tokio::time::timeout(END_TIMEOUT, self.ended.cancelled()).await.is_err() {
            tracing::warn!("a part that was told to end did not end in time");
        }
    }
}

struct Line {
    name: String,
    task: Task,
    replans: mpsc::Sender<Replan>,
    generation: u32,
    /// Whose slots it speaks in.
    plan: Arc<Plan>,
}

struct Ear {
    changes: mpsc::Sender<Resubscribe>,
    generation: u32,
    connected: Connected,
}

/// Everything that runs for a site.
pub struct Sources {
    ground: Ground,
    lines: Vec<Line>,
    ear: Option<Ear>,
    /// The box's own senses, and whose slots they speak in.
    own: Option<(Task, u32)>,
    sinks: Vec<(SinkPlan, Task, Status)>,
}

impl Sources {
    /// Starts them all. `broker` is whom to listen to.
    pub fn start(ground: Ground, site: &Site, broker: Option<Address>, parts: &mut Parts) -> Self {
        let mut sources = Self { ground, lines: Vec::new(), ear: None, own: None, sinks: Vec::new() };
        let inputs = sources.ground.doors.inputs.clone();
        let plan = Arc::clone(&site.plan);
        if let Some(address) = broker.filter(|_| !site.mqtt.is_empty()) {
            let ground = &sources.ground;
            let (changes, changed) = mpsc::channel(1);
            let listener = Listener::new(
                site.mqtt.clone(),
                address,
                inputs.clone(),
                ground.civil.clone(),
                ground.metrics.clone(),
            );
            let listener = listener.recorded(ground.tape.clone()).changing(changed);
            let connected = listener.connected();
            parts.spawn("the MQTT listener", listener.run(ground.clock.clone(), parts.stop()));
            sources.ear = Some(Ear { changes, generation: inputs.generation(), connected });
        }
        sources.sense(site, &inputs, parts);
        for slot in 0..site.buses.len() {
            sources.open(site, slot, &plan, &inputs, parts);
        }
        for plan in &site.sinks {
            sources.send(plan, site, parts);
        }
        for name in sinks::store::names(&sources.ground.data) {
            if !site.sinks.iter().any(|sink| sink.name == name) {
                tracing::info!(sink = name, "parked: not in the site file any more; see `gateway sink list`");
            }
        }
        sources
    }

    /// What the page shows of the sinks.
    pub fn sinks(&self) -> Vec<Status> {
        self.sinks.iter().map(|(_, _, status)| status.clone()).collect()
    }

    /// Generations of slots that sources speak in.
    pub fn generations(&self) -> Vec<u32> {
        let ear = self.ear.iter().map(|ear| ear.generation);
        let own = self.own.iter().map(|(_, generation)| *generation);
        self.lines.iter().map(|line| line.generation).chain(ear).chain(own).collect()
    }

    /// From one site to another: what is the same in both goes on without noticing. `inputs` are those of the new plan.
    pub async fn turn(&mut self, site: &Site, difference: &Difference, inputs: &Inputs, parts: &mut Parts) {
        let plan = Arc::clone(&site.plan);
        // All lines that end do so before one is opened: an endpoint may have moved from one bus to another.
        for (name, act) in &difference.buses {
            if let (Act::Removed | Act::Restarted, Some(place)) =
                (act, self.lines.iter().position(|line| line.name == *name))
            {
                self.lines.remove(place).task.end().await;
            }
        }
        for (slot, bus) in site.buses.iter().enumerate() {
            match difference.bus(&bus.name) {
                Some(Act::Added | Act::Restarted) => self.open(site, slot, &plan, inputs, parts),
                Some(Act::Replanned) => self.replan(site, slot, &plan, inputs).await,
                Some(Act::Removed) | None => {}
            }
        }
        if let Some(ear) = self.ear.as_mut().filter(|_| difference.mqtt) {
            ear.generation = inputs.generation();
            let change = Resubscribe { plans: site.mqtt.clone(), inputs: inputs.clone() };
            // Its end, if it has ended, is noticed where parts are waited for.
            let _sent = ear.changes.send(change).await;
        }
        if let Some((task, _)) = self.own.take() {
            task.end().await;
        }
        self.sense(site, inputs, parts);
        for (name, act) in &difference.sinks {
            if let Some(place) = self.sinks.iter().position(|(plan, ..)| plan.name == *name) {
                let (_, task, _) = self.sinks.remove(place);
                task.end().await;
            }
            let sink = site.sinks.iter().find(|sink| sink.name == *name);
            if let Some(sink) = sink.filter(|_| *act != Act::Removed) {
                self.send(sink, site, parts);
            }
        }
    }

    /// The box looks at itself. It keeps nothing between two looks: with every plan it begins anew.
    fn sense(&mut self, site: &Site, inputs: &Inputs, parts: &mut Parts) {
        if site.senses.is_empty() {
            return;
        }
        let Ground { clock, civil, data, metrics, .. } = &self.ground;
        let senses = Senses {
            plans: site.senses.clone(),
            data: data.clone(),
            wall: clock.wall().clone(),
            civil: civil.clone(),
            connected: self.ear.as_ref().map(|ear| ear.connected.clone()),
            boards: metrics.boards().clone(),
            inputs: inputs.clone(),
        };
        let task = task(parts);
        let running = senses.run(clock.clone(), task.stop.clone());
        parts.spawn_own("the box's own senses", &task.stop, &task.ended, running);
        self.own = Some((task, inputs.generation()));
    }

    fn open(&mut self, site: &Site, slot: usize, plan: &Arc<Plan>, inputs: &Inputs, parts: &mut Parts) {
        let Ground { clock, metrics, data, tape, .. } = &self.ground;
        let name = site.buses[slot].name.clone();
        let mut bus = Bus::of(site, slot, clock.wall().speed(), metrics.clone(), Some(data));
        if let Some(tape) = tape {
            bus = bus.dialing_through(|dial| tape.dial(&site.buses[slot], dial));
        }
        let (replans, changed) = mpsc::channel(1);
        let task = task(parts);
        let running = bus.run_changing(clock.clone(), inputs.clone(), changed, task.stop.clone());
        parts.spawn_line(&task.stop, &task.ended, running);
        let plan = Arc::clone(plan);
        self.lines.push(Line { name, task, replans, generation: inputs.generation(), plan });
    }

    async fn replan(&mut self, site: &Site, slot: usize, plan: &Arc<Plan>, inputs: &Inputs) {
        let name = &site.buses[slot].name;
        let Some(line) = self.lines.iter_mut().find(|line| line.name == *name) else { return };
        let slots = Slots::between(&line.plan, plan);
        (line.plan, line.generation) = (Arc::clone(plan), inputs.generation());
        let replan = Replan { blocks: site.blocks_of(slot), slots, inputs: inputs.clone() };
        // Its end, if it has ended, is noticed where parts are waited for.
        let _sent = line.replans.send(replan).await;
    }

    fn send(&mut self, plan: &SinkPlan, site: &Site, parts: &mut Parts) {
        let Ground { doors, metrics, data, gateway, .. } = &self.ground;
        let status = Status::new(&plan.name, plan.target.kind());
        let home = Home { data: data.clone(), site: site.plan.site.0.clone(), gateway: *gateway };
        let task = task(parts);
        let work = sinks::work(
            plan.clone(),
            home,
            doors.clone(),
            metrics.clone(),
            status.clone(),
            task.stop.clone(),
        );
        parts.spawn_own("a sink", &task.stop, &task.ended, work);
        self.sinks.push((plan.clone(), task, status));
    }
}

fn task(parts: &Parts) -> Task {
    Task { stop: parts.stop().child_token(), ended: CancellationToken::new() }
}
