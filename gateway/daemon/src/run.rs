//! `gateway run`: puts the parts together, and takes them apart again in the right order.
//!
//! Promises: one line on stdout when everything is up; if one part ends, all end; after SIGTERM or SIGINT the sources
//! stop first, then the recorder seals what it has and writes a checkpoint. A new key begins with an epoch: when one is
//! ordered everything stops in this way and begins again, within a second or two.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use gateway_journal::{Limits, Position};
use gateway_model::{ClockSource, EngineTime, Epoch, StartCause};
use gateway_wire::{Enrolment, KeyRing, SuccessionCause};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::change::{Changer, Given, Origin, REQUESTS_MAX, Request};
use crate::clock::{Clock, Wall};
use crate::config::{Broker as BrokerPlan, Site};
use crate::door::Door;
use crate::install::Installation;
use crate::metrics::Metrics;
use crate::page::{Facts, Page};
use crate::pause::Backoff;
use crate::recorder::core::{Core, Settings};
use crate::recorder::start::{Found, Heritage, Setup, start};
use crate::recorder::{self, Civil, URGENT_MAX, Urgent};
use crate::recording::Taping;
use crate::sources::{Ground, Sources};
use crate::state::{DataDir, Enrolled, keys_at};
use crate::told::Entries;
use crate::{change, history, mqtt, uplink};

/// How long parts may take to end after they were told to.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// Above which epoch the center told this gateway to go on.
const FLOOR: &str = "floor";
/// A gateway leaves its epoch at once the first time; then not sooner than after this, doubling: two devices with one key
/// would chase each other.
const RISE_FIRST: Duration = Duration::from_mins(1);
/// See [`RISE_FIRST`].
const RISE_LAST: Duration = Duration::from_hours(1);
/// While a recording is fed, records are sealed at the longest period a site file may set.
pub(crate) const HISTORY_SEAL_MS: i64 = 300_000;

/// What to run, and how.
#[derive(Clone)]
pub struct Options {
    /// The checked site.
    pub site: Site,
    /// Where everything is kept.
    pub data: PathBuf,
    /// Where civil time comes from.
    pub wall: Wall,
    /// A recording to begin with.
    pub history: Option<PathBuf>,
    /// Where to record what goes over the lines, and how many bytes of it.
    pub record: Option<(PathBuf, u64)>,
    /// Where the site comes from: read anew when somebody asks for it. `None` = it never changes.
    pub origin: Option<Origin>,
    /// Where buses run; `None` = with everything else.
    pub lines: Option<Handle>,
}

/// Where a running gateway can be reached.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Up {
    /// The status page.
    pub page: Option<String>,
    /// The embedded broker.
    pub mqtt: Option<SocketAddr>,
    /// The gateway's id.
    pub gateway: String,
    /// The epoch that began.
    pub epoch: u64,
}

/// How a life ended.
enum Ended {
    /// It was told to.
    Stopped,
    /// A new key signs from now on.
    Rotated,
}

/// Runs until `stop` or until a part ends. `up` is told when everything is up, each time.
///
/// A gateway that has to leave its epoch ([`uplink::Risen`]), or that has a new key, is taken apart and put together again
/// at the same addresses: what a restart of the process would do.
pub async fn run(
    mut options: Options,
    stop: CancellationToken,
    mut up: impl FnMut(&Up),
) -> anyhow::Result<()> {
    let mut pauses = Backoff::new(RISE_FIRST, RISE_LAST);
    let mut rise_after = Duration::ZERO;
    // One recording holds all lives: its file is new only once.
    let mut taping = Taping::new(options.record.take());
    let ended = loop {
        let (mut bound, mut in_force) = (None, None);
        let ended = life(&options, &mut taping, rise_after, &stop, &mut in_force, |this| {
            bound = Some(this.clone());
            up(this);
        });
        let ended = ended.await;
        // Another configuration may have come into force since.
        if let Some(site) = in_force {
            options.site = site;
        }
        match ended {
            Ok(Ended::Rotated) => tracing::info!("the gateway signs with a new key from now on"),
            Err(error) if error.is::<uplink::Risen>() && !stop.is_cancelled() => {
                rise_after = pauses.pause();
            }
            ended => break ended.map(|_| ()),
        }
        if let Some(bound) = bound {
            bound.keep(&mut options.site);
        }
    };
    if !taping.end(STOP_TIMEOUT).await {
        tracing::warn!("the recording did not end in time");
    }
    ended
}

impl Up {
    /// The same addresses the next time.
    fn keep(&self, site: &mut Site) {
        let page = self.page.as_ref().and_then(|page| page.strip_prefix("http://")?.parse().ok());
        if let (Some(plan), Some(address)) = (&mut site.page, page) {
            plan.listen = address;
        }
        if let (BrokerPlan::Embedded(own), Some(address)) = (&mut site.broker, self.mqtt) {
            own.listen = address;
        }
    }
}

/// From opening the data directory to its end.
async fn life(
    options: &Options,
    taping: &mut Taping,
    rise_after: Duration,
    stop: &CancellationToken,
    in_force: &mut Option<Site>,
    mut up: impl FnMut(&Up),
) -> anyhow::Result<Ended> {
    let Options { site, data, wall, history, record: _, origin, lines } = options;
    let (site, wall, history) = (site.clone(), wall.clone(), history.clone());
    anyhow::ensure!(
        history.is_none() || wall.simulated(),
        "--history needs --demo-clock: a past that was fed in must say that it is simulated"
    );
    let data = DataDir::open(data)?;
    let key = data.key()?;
    let enrolled = data.enrolled()?;
    let metrics = Metrics::default();
    let civil = Civil::default();
    let (doors, rooms) = recorder::doors(civil.clone());
    let (urgent_in, urgent) = mpsc::channel(URGENT_MAX);

    let setup =
        setup(&site, &data, &wall, enrolled.as_ref(), history.as_deref(), &metrics, &civil, urgent_in)?;
    let begin = {
        let (site, civil, metrics) = (site.clone(), civil.clone(), metrics.clone());
        move || begin(setup, &site, history.as_deref(), &civil, &metrics)
    };
    let (core, found) = tokio::task::spawn_blocking(begin).await.context("the recorder panicked")??;
    data.forget_predecessor()?;
    let rotation = core.rotation();
    let clock = Clock::start(wall.clone(), resume_at(&core, &wall, &civil));
    tracing::info!(epoch = core.epoch().0, cause = ?found.cause, "recording");

    let mut parts = Parts { tasks: JoinSet::new(), stop: stop.child_token(), lines: lines.clone() };
    let mut this =
        Up { page: None, mqtt: None, gateway: key.gateway_id().to_string(), epoch: core.epoch().0 };

    let tape = taping.tape(&site.buses, &wall)?;
    let name = format!("nonsite-{}", &this.gateway[..12]);
    let address = match &site.broker {
        BrokerPlan::External(plan) => Some(mqtt::external(plan, &name)?),
        BrokerPlan::Embedded(plan) if !site.mqtt.is_empty() => {
            let broker = mqtt::broker::Broker::bind(plan, data.root(), &name, &metrics).await?;
            this.mqtt = Some(broker.address);
            let own = broker.own.clone();
            parts.spawn("the embedded broker", broker.run(parts.stop.clone()));
            Some(own)
        }
        BrokerPlan::Embedded(_) => None,
    };
    let ground = Ground {
        doors: doors.clone(),
        clock: clock.clone(),
        civil: civil.clone(),
        metrics: metrics.clone(),
        data: data.root().to_owned(),
        gateway: key.gateway_id(),
        tape,
    };
    let mut sources = Sources::start(ground, &site, address, &mut parts);
    let (asked, mut requests) = mpsc::channel(REQUESTS_MAX);
    let talk = (doors.clone(), clock.clone());
    let mut changer = Changer::new(origin.clone(), data.root(), site.clone(), talk, enrolled.is_some());
    let mut status = None;
    if let Some(enrolled) = enrolled {
        let cursors = uplink::Cursors {
            sent: data.position("uplink"),
            aside: data.position("aside"),
            orders: data.position("orders"),
        };
        let budget = site.center.as_ref().and_then(|center| center.month_bytes);
        let meter = uplink::meter::Meter::new(budget, data.position("line"));
        let client = uplink::client::Client::new(with_address(enrolled, &site), key.clone(), meter)?;
        let client = client.remembering(data.root())?;
        let (announced, attaching) = (client.clone(), client.clone());
        let keys = keys_at(data.root())?;
        let first_epoch = keys.as_ref().map_or(0, |(ring, _)| first_of_box(ring).0);
        let beginning =
            uplink::Beginning { last_order: found.last_order, epoch: this.epoch, first_epoch, rise_after };
        let (sender, orders, shown) =
            uplink::new(client, &doors, &clock, urgent, cursors, &beginning, &metrics);
        let stop = parts.stop.clone();
        parts.spawn("the uplink", async move {
            if let Some((_, keys)) = keys {
                uplink::identity::announce(&announced, &keys, &stop).await;
            }
            sender.run(stop).await
        });
        let orders = if origin.is_some() { orders.configuring(data.root(), asked.clone()) } else { orders };
        parts.spawn("the order listener", orders.run(parts.stop.clone()));
        uplink::attachments::offer_packs(data.root(), &site);
        let attachments = uplink::attachments::Attachments {
            client: attaching,
            data: data.root().to_owned(),
            status: shown.clone(),
            newest: doors.newest.clone(),
            clock: clock.clone(),
            civil: civil.clone(),
        };
        parts.spawn("the sender of attachments", attachments.run(parts.stop.clone()));
        status = Some(shown);
    } else if site.center.is_some() {
        tracing::warn!(
            "not enrolled at a center: records stay here. Run `gateway enrol URL CODE --site SITE`"
        );
    }
    let (show_site, shown_site) = watch::channel(site.clone());
    let installation = Arc::new(Installation::open(data.root())?);
    let entries = Entries::new(doors.clone(), clock.clone(), shown_site, installation);
    let listener = match &site.page {
        None => None,
        Some(plan) => {
            Some(TcpListener::bind(plan.listen).await.with_context(|| format!("listen on {}", plan.listen))?)
        }
    };
    let listens = listener.as_ref().map(TcpListener::local_addr).transpose()?;
    let door = Door::open(data.root(), entries.clone(), listens, asked.clone())?;
    parts.spawn("the gateway's door", door.run(parts.stop.clone()));
    if origin.is_some() {
        parts.spawn("whoever waits for SIGHUP", reread_at_signal(asked, parts.stop.clone()));
    }
    let (show_sinks, shown_sinks) = watch::channel(sources.sinks());
    if let Some(listener) = listener {
        this.page = Some(format!("http://{}", listener.local_addr()?));
        let facts = Facts {
            name: site.name.clone(),
            gateway: key.gateway_id(),
            simulated: wall.simulated(),
            entries,
            uplink: status,
            sinks: shown_sinks,
            configuration: changer.shown(),
            metrics: metrics.clone(),
        };
        parts.spawn("the status page", Page::new(facts).run(listener, parts.stop.clone()));
    }
    drop(doors);

    // The recorder outlives its sources: it has a stop of its own.
    let seal = CancellationToken::new();
    let runtime = tokio::runtime::Handle::current();
    let mut recording = {
        let (clock, seal) = (clock.clone(), seal.clone());
        tokio::task::spawn_blocking(move || recorder::run(core, &clock, rooms, &seal, &runtime))
    };
    up(&this);

    let mut early = None;
    let first = loop {
        tokio::select! {
            // Parts that end because they were told to are no failure.
            biased;
            () = stop.cancelled() => break Ok(()),
            () = rotation.cancelled() => break Ok(()),
            ended = parts.tasks.join_next() => match ended.map(part_ended) {
                // One of them was told to.
                Some(Ok(())) => {}
                Some(Err(error)) => break Err(error),
                None => break Ok(()),
            },
            ended = &mut recording => {
                let ended = ended.context("the recorder panicked").and_then(|ended| ended);
                early = Some(());
                break ended.and_then(|()| Err(anyhow::anyhow!("the recorder ended by itself")));
            }
            Some(request) = requests.recv() => changer.asked(request, &mut sources, &mut parts).await,
            () = changer.due() => changer.look(&mut sources, &mut parts).await,
        }
        show_sinks.send_replace(sources.sinks());
        show_site.send_replace(changer.site().clone());
    };
    // Also where it leaves its epoch: that says nothing of its configuration.
    if first.as_ref().err().is_none_or(anyhow::Error::is::<uplink::Risen>) {
        changer.ends();
    }
    let epoch = changer.epoch().unwrap_or(this.epoch);
    *in_force = Some(changer.site().clone());
    drop((changer, sources));
    if let Some(risen) = first.as_ref().err().and_then(|error| error.downcast_ref::<uplink::Risen>()) {
        // A hint: without it the next life finds out again.
        data.position(FLOOR).store(Position { epoch: risen.floor, seq: 0 })?;
    }
    parts.stop.cancel();
    let drained =
        tokio::time::timeout(STOP_TIMEOUT, async { while parts.tasks.join_next().await.is_some() {} });
    if drained.await.is_err() {
        tracing::warn!("some parts did not end in time and were left behind");
        parts.tasks.abort_all();
    }
    seal.cancel();
    let sealed = if early.is_some() {
        Ok(())
    } else {
        recording.await.context("the recorder panicked").and_then(|r| r)
    };
    first.and(sealed)?;
    if !rotation.is_cancelled() || stop.is_cancelled() {
        return Ok(Ended::Stopped);
    }
    let now = wall.civil().or_else(|| civil.civil(clock.now())).unwrap_or_default();
    data.rotate(Epoch(epoch), now)?;
    Ok(Ended::Rotated)
}

/// The first epoch that this box can have written: below it, another one did.
fn first_of_box(ring: &KeyRing) -> Epoch {
    let replaced = ring.periods().iter().rfind(|period| period.cause == Some(SuccessionCause::Replaced));
    replaced.map_or(Epoch(0), |period| period.from)
}

/// Cancelled at SIGTERM or SIGINT.
pub fn stop_at_signal() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let token = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: sealing what was read");
        token.cancel();
    });
    Ok(stop)
}

/// Asks for the site file to be read anew at each SIGHUP.
async fn reread_at_signal(asked: mpsc::Sender<Request>, stop: CancellationToken) -> anyhow::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            heard = hangup.recv() => {
                if heard.is_none() {
                    stop.cancelled().await;
                    return Ok(());
                }
            }
        }
        tracing::info!("reading the site file anew");
        // What became of it is in the log, on the page and in the record.
        change::ask(&asked, Given::SiteFile, false).await;
    }
}

/// The tasks of a life: when one ends by itself, all end.
pub struct Parts {
    /// `None` = it was told to end.
    tasks: JoinSet<Option<(&'static str, anyhow::Result<()>)>>,
    stop: CancellationToken,
    lines: Option<Handle>,
}

impl Parts {
    /// Cancelled when all are to end.
    pub fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Starts one that ends with all others.
    pub fn spawn(
        &mut self,
        name: &'static str,
        part: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        self.tasks.spawn(async move { Some((name, part.await)) });
    }

    /// Starts one that may also be told to end by itself; `ended` is cancelled when it has.
    pub fn spawn_own(
        &mut self,
        name: &'static str,
        stop: &CancellationToken,
        ended: &CancellationToken,
        part: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        self.tasks.spawn(until_told(name, stop, ended, part));
    }

    /// The same for a bus, where buses run.
    pub fn spawn_line(
        &mut self,
        stop: &CancellationToken,
        ended: &CancellationToken,
        bus: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        let running = until_told("a bus", stop, ended, bus);
        match &self.lines {
            Some(lines) => self.tasks.spawn_on(running, lines),
            None => self.tasks.spawn(running),
        };
    }
}

fn until_told(
    name: &'static str,
    stop: &CancellationToken,
    ended: &CancellationToken,
    part: impl Future<Output = anyhow::Result<()>> + Send + 'static,
) -> impl Future<Output = Option<(&'static str, anyhow::Result<()>)>> + Send + 'static {
    let (stop, ended) = (stop.clone(), ended.clone());
    async move {
        let outcome = part.await;
        ended.cancel();
        if stop.is_cancelled() && outcome.is_ok() { None } else { Some((name, outcome)) }
    }
}

/// A thread of their own for all buses: what goes on elsewhere, a slow disk included, delays no request, and no request
/// wakes a thread that has nothing to do with it.
pub struct Lines {
    handle: Handle,
    stop: CancellationToken,
}

impl Lines {
    /// Starts the thread. It ends when this is dropped.
    pub fn start() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (handle, stop) = (runtime.handle().clone(), CancellationToken::new());
        let ended = stop.clone();
        let thread = std::thread::Builder::new().name("lines".to_owned());
        thread.spawn(move || runtime.block_on(ended.cancelled())).context("start the thread of the buses")?;
        Ok(Self { handle, stop })
    }

    /// Where buses run.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// `Ok`: it was told to.
fn part_ended(
    ended: Result<Option<(&'static str, anyhow::Result<()>)>, tokio::task::JoinError>,
) -> anyhow::Result<()> {
    let Some((name, ended)) = ended.context("a part panicked")? else { return Ok(()) };
    ended.with_context(|| format!("{name} failed"))?;
    anyhow::bail!("{name} ended by itself")
}

#[expect(clippy::too_many_arguments, reason = "the one place where everything meets")]
fn setup(
    site: &Site,
    data: &DataDir,
    wall: &Wall,
    enrolled: Option<&Enrolled>,
    history: Option<&std::path::Path>,
    metrics: &Metrics,
    civil: &Civil,
    urgent: mpsc::Sender<Urgent>,
) -> anyhow::Result<Setup> {
    let floor = match enrolled {
        Some(enrolled) => {
            Enrolment::open(&enrolled.center, &enrolled.statement)
                .context("read the center's statement")?
                .epoch_floor
        }
        None => Epoch(0),
    };
    let floor = floor.max(Epoch(data.position(FLOOR).load().map_or(0, |floor| floor.epoch)));
    Ok(Setup {
        journal: site.journal.dir.clone().unwrap_or_else(|| data.journal()),
        limits: Limits {
            ring_bytes: site.journal.ring_bytes,
            keep_bytes: site.journal.keep_bytes,
            segment_bytes: site.journal.segment_bytes,
        },
        key: data.key()?,
        plan: Arc::clone(&site.plan),
        epoch_floor: floor,
        heritage: Heritage {
            ring: keys_at(data.root())?.map(|(ring, _)| ring),
            predecessor: data.predecessor()?,
        },
        from: history.map(history::head).transpose()?.map(|head| gateway_model::CivilTime(head.from)),
        checkpoint: data.position("checkpoint"),
        settings: Settings {
            seal_every_ms: i64::try_from(site.journal.seal_every.as_millis()).unwrap_or(i64::MAX),
            wall: wall.clone(),
            civil: civil.clone(),
            metrics: metrics.clone(),
            urgent,
        },
    })
}

/// Opens the journal and, in an empty one, feeds the recording.
fn begin(
    setup: Setup,
    site: &Site,
    recording: Option<&std::path::Path>,
    civil: &Civil,
    metrics: &Metrics,
) -> anyhow::Result<(Core, Found)> {
    let (mut core, found) = start(setup)?;
    if let Some(recording) = recording.filter(|_| found.cause == StartCause::First) {
        let live = core.seal_every_ms(HISTORY_SEAL_MS);
        let answers = history::feed(&mut core, site, recording, civil, metrics)?;
        core.seal_every_ms(live);
        core.go_live();
        tracing::info!(answers, "the recording is in the journal");
    }
    Ok((core, found))
}

/// Where engine time goes on: where the recorder stands, or where the clock says it is by now.
pub fn resume_at(core: &Core, wall: &Wall, civil: &Civil) -> EngineTime {
    let known = match wall.source().0 {
        ClockSource::System | ClockSource::Demo => wall.civil().and_then(|now| civil.engine(now)),
        ClockSource::Center | ClockSource::Unknown => None,
    };
    core.now().max(known.unwrap_or(core.now()))
}

/// The site file, or who started us, may know a newer address than the enrolment; the key stays the same.
fn with_address(enrolled: Enrolled, site: &Site) -> Enrolled {
    match &site.center {
        Some(center) => Enrolled { url: center.url.clone(), ..enrolled },
        None => enrolled,
    }
}
