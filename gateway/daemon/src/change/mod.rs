//! Another configuration for a gateway that runs: read and checked whole, compared, put in force between two inputs, watched,
//! and taken back by itself when it is not healthy.
//!
//! Promises: what has a problem changes nothing, and the record says that it was refused and why; buses that the change does
//! not touch keep connection and timing; every step is a signed conclusion ([`gateway_model::ConfigChange`]) and the plan in
//! force stands in the config record of the epoch; a restart at any moment begins with a configuration that was confirmed,
//! or with the new one ([`store`]).
//!
//! Leaves out: how a center's configuration gets here ([`crate::uplink`]), what is different ([`crate::config::difference`]),
//! what runs ([`crate::sources`]).

pub mod health;
pub mod store;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gateway_model::{CommandBody, ConfigChange, ConfigStep, EngineTime};
use gateway_wire::Configuration;
use tokio::sync::{mpsc, oneshot, watch};

use crate::clock::{self, Clock};
use crate::config::difference::Difference;
use crate::config::{self, Site};
use crate::recorder::{Begun, Doors, Event, Ordered, Reconfigure, Snapshot};
use crate::run::Parts;
use crate::sources::Sources;
use health::Watch;
use store::{Id, State, Store};

/// Requests that wait.
pub const REQUESTS_MAX: usize = 4;

/// Says otherwise what a site file says; an error in words.
pub type Override = Arc<dyn Fn(&mut Site) -> Result<(), String> + Send + Sync>;

/// Where a gateway's configuration comes from.
#[derive(Clone)]
pub struct Origin {
    /// The site file.
    pub path: PathBuf,
    /// What the command line says otherwise.
    pub overrides: Override,
    /// The site file as [`begin`] found it, for the life that begins with it: to read it again takes as much memory as all
    /// that follows.
    found: Arc<Mutex<Option<Found>>>,
}

/// A site file: what it is made of, if that can be read, and whether it is without problems.
type Found = (Option<Configuration>, bool);

impl Origin {
    /// From this file, but for what is said otherwise.
    pub fn new(path: PathBuf, overrides: Override) -> Self {
        Self { path, overrides, found: Arc::default() }
    }

    /// What [`begin`] found, and true, the first time; what is there now afterwards.
    fn found(&self) -> (Found, bool) {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(found) = found {
            return (found, true);
        }
        let (local, read) = config::gather(&self.path);
        ((local, read.is_ok()), false)
    }
}

impl std::fmt::Debug for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Origin").field("path", &self.path).finish_non_exhaustive()
    }
}

/// What is to be in force.
#[derive(Debug)]
pub enum Given {
    /// The site file, as it is now.
    SiteFile,
    /// What a center ordered.
    Ordered(Box<Configuration>, OrderedBy),
}

/// The order that came with a configuration.
#[derive(Debug)]
pub struct OrderedBy {
    /// (center epoch, order seq).
    pub order: (u64, u64),
    /// Who.
    pub author: String,
    /// What.
    pub body: CommandBody,
}

/// Somebody wants another configuration in force.
#[derive(Debug)]
pub struct Request {
    /// Which.
    pub given: Given,
    /// Only says what would be different.
    pub dry_run: bool,
    /// Told what became of it. For an order: once that is on disk.
    pub answer: oneshot::Sender<Answer>,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// In force, or would be; the difference in words.
    Taken(String),
    /// Not taken, and why: problems with file, line and caret, or a sentence.
    Refused(String),
}

/// What the page shows of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Shown {
    /// `refused`, `applied`, `confirmed`, `rolled-back`, `kept` (begun with what was confirmed last, not with the site
    /// file); `None` = nothing has happened since the start.
    pub step: Option<&'static str>,
    /// The difference, or why it is not in force.
    pub said: String,
}

/// Puts other configurations in force.
pub struct Changer {
    origin: Option<Origin>,
    store: Store,
    doors: Doors,
    clock: Clock,
    shown: watch::Sender<Shown>,
    /// The site in force, and what it was made of.
    site: Site,
    id: Option<Id>,
    watched: Option<Watched>,
    /// There is a center that will want the packs.
    offers: bool,
    data: PathBuf,
}

/// A change that is not confirmed yet.
struct Watched {
    watch: Watch,
    since: EngineTime,
    until: Instant,
    before: Box<(Site, Option<Id>)>,
    order: Option<(u64, u64)>,
    /// The site file when it was taken: another one since is a newer word, which nobody has tried.
    local: Option<Id>,
}

/// A configuration that was read and checked.
struct Checked {
    configuration: Configuration,
    site: Site,
}

impl Changer {
    /// For a gateway that begins with `site`. What begins is in force and confirmed.
    pub fn new(
        origin: Option<Origin>,
        data: &Path,
        site: Site,
        (doors, clock): (Doors, Clock),
        offers: bool,
    ) -> Self {
        let store = Store::of(data);
        let (shown, _) = watch::channel(Shown::default());
        let mut changer = Self {
            origin,
            store,
            doors,
            clock,
            shown,
            site,
            id: None,
            watched: None,
            offers,
            data: data.to_owned(),
        };
        if changer.origin.is_some() {
            changer.began();
        }
        changer
    }

    /// What the page may show, from now on.
    pub fn shown(&self) -> watch::Receiver<Shown> {
        self.shown.subscribe()
    }

    /// The epoch that is being written.
    pub fn epoch(&self) -> Option<u64> {
        self.doors.newest.borrow().map(|newest| newest.epoch)
    }

    /// The site in force.
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// Notes what a life began with: the site file, or what is kept of another.
    fn began(&mut self) {
        let Some(origin) = &self.origin else { return };
        let state = self.store.state();
        let ((local, good), first) = origin.found();
        let chosen = state.choose(local.as_ref().map(Configuration::id), good);
        let settled = state.settled();
        let noted = match (chosen, &local) {
            (store::Choice::Kept(id, why), _) => {
                self.id = Some(id);
                tracing::warn!(why, "the gateway runs by the configuration that was confirmed last");
                let said = format!("the configuration that was confirmed last is in force: {why}");
                self.shown.send_replace(Shown { step: Some("kept"), said });
                // One with problems is a newer word all the same, for when it has none.
                let local = local.as_ref().map(Configuration::id).filter(|_| good);
                Ok(State { local: local.or(settled.local), ..settled })
            }
            // Another life of the process: an edit since is nothing that anybody asked for.
            (store::Choice::SiteFile, _) if !first && settled.confirmed.is_some() => {
                self.id = settled.confirmed;
                Ok(settled)
            }
            (store::Choice::SiteFile, Some(local)) => self.store.keep(local).map(|id| {
                self.id = Some(id);
                State { confirmed: Some(id), local: Some(id), ..State::default() }
            }),
            (store::Choice::SiteFile, None) => Ok(settled),
        };
        if let Err(error) = noted.and_then(|state| self.store.put(state)) {
            tracing::error!(%error, "what configuration is in force cannot be kept: a restart goes by the site file alone");
        }
    }

    /// The process, or this life of it, ends in good order.
    pub fn ends(&self) {
        if let Some(Watched { local, .. }) = self.watched
            && let Err(error) = self.store.put(State { local, stopped: true, ..self.store.state() })
        {
            tracing::warn!(%error, "cannot note that the configuration was not found wanting");
        }
    }

    /// Waits until a change has been watched for long enough.
    pub async fn due(&self) {
        match &self.watched {
            Some(watched) => tokio::time::sleep_until(watched.until.into()).await,
            None => std::future::pending().await,
        }
    }

    /// Does what is asked. An error is one of the recorder, which says itself why it ended.
    pub async fn asked(&mut self, request: Request, sources: &mut Sources, parts: &mut Parts) {
        let Request { given, dry_run, answer } = request;
        let (given, ordered) = match given {
            Given::SiteFile => (None, None),
            Given::Ordered(configuration, by) => (Some(configuration), Some(by)),
        };
        if ordered.is_some() && self.watched.is_some() {
            // Unanswered, it comes again.
            return;
        }
        let local = given.is_none();
        let checked = self.check(given).await;
        let outcome = match checked {
            Err((id, why)) => Err((id, why)),
            Ok(checked) => {
                let id = checked.configuration.id();
                let tried = if dry_run {
                    self.compared(&checked.site).map(|difference| difference.to_string())
                } else {
                    self.take(checked, local, ordered.as_ref(), sources, parts).await
                };
                tried.map_err(|why| (Some(id), why))
            }
        };
        let answered = match outcome {
            Ok(said) => Answer::Taken(said),
            Err((_, why)) if dry_run => Answer::Refused(why),
            Err((config, why)) => {
                if !self.refuse(config, &why, ordered.as_ref()).await {
                    // There was no room to say so: unanswered, it comes again.
                    return;
                }
                Answer::Refused(why)
            }
        };
        // Whoever asked may have gone away.
        let _told = answer.send(answered);
    }

    /// Read, and without a problem; or which it was, and the problems.
    async fn check(&self, given: Option<Box<Configuration>>) -> Result<Checked, (Option<Id>, String)> {
        let Some(origin) = self.origin.clone() else {
            return Err((
                None,
                "this gateway was started without a site file: there is nothing to read anew".into(),
            ));
        };
        let read = tokio::task::spawn_blocking(move || read(&origin, given.map(|given| *given)));
        read.await.unwrap_or_else(|_| Err((None, "reading the configuration panicked".to_owned())))
    }

    /// What would be different; an error is what stands in the way.
    fn compared(&self, site: &Site) -> Result<Difference, String> {
        let difference = Difference::between(&self.site, site);
        if difference.restart.is_empty() {
            return Ok(difference);
        }
        Err(format!(
            "{} cannot change while the gateway runs; it would be this: {difference}. Restart the gateway to take it over, or leave {} as before",
            difference.restart.join(", "),
            if difference.restart.len() == 1 { "it" } else { "them" },
        ))
    }

    async fn take(
        &mut self,
        checked: Checked,
        local: bool,
        ordered: Option<&OrderedBy>,
        sources: &mut Sources,
        parts: &mut Parts,
    ) -> Result<String, String> {
        let Checked { configuration, site } = checked;
        if let Some(watched) = &self.watched {
            let left = watched.until.saturating_duration_since(clock::instant()).as_secs() + 1;
            return Err(format!("the last change is still being watched: try again in {left} s"));
        }
        let difference = self.compared(&site)?;
        let said = difference.to_string();
        let keep = |error| format!("the configuration cannot be kept: {error}");
        let id = self.store.keep(&configuration).map_err(keep)?;
        let state = self.store.state().settled();
        let here = if local { Some(id) } else { self.local() };
        if difference.is_empty() && ordered.is_none() {
            // Other words for the same: nothing to switch, but a restart goes by them.
            let noted = State { confirmed: Some(id), local: here, refused: None, ..state };
            self.store.put(noted).map_err(keep)?;
            self.id = Some(id);
            // What is no part of a plan or a bus, such as how far a point may be off.
            self.site = site;
            return Ok(said);
        }
        let before = self.snapshot().await?;
        let change = ConfigChange {
            step: ConfigStep::Applied,
            config: Some(id),
            order: ordered.map(|by| by.order),
            said: said.clone(),
        };
        let begun = match self.try_out(id, &site, change, ordered, sources.generations()).await {
            Ok(begun) => begun,
            Err(why) => {
                self.store.put(state).map_err(keep)?;
                return Err(why);
            }
        };
        sources.turn(&site, &difference, &self.doors.inputs.of(begun.generation), parts).await;
        tracing::info!(said, "another configuration is in force");
        if self.offers {
            crate::uplink::attachments::offer_packs(&self.data, &site);
        }
        let watch = Watch::new(&site, &difference, &before);
        let for_ms = if watch.is_empty() { 0 } else { watch.for_ms };
        let until = clock::instant() + self.clock.real(Duration::from_millis(for_ms.unsigned_abs()));
        let old = std::mem::replace(&mut self.site, site);
        let before = Box::new((old, self.id.replace(id)));
        let order = ordered.map(|by| by.order);
        self.watched = Some(Watched { watch, since: begun.at, until, before, order, local: here });
        self.show("applied", &said);
        if for_ms == 0 {
            self.confirm().await;
        }
        Ok(said)
    }

    /// Begins an epoch under a plan that may yet be taken back, and only then notes that it is being tried: what an end
    /// before that keeps from being in force was never tried, and must not be told of as unhealthy.
    async fn try_out(
        &self,
        id: Id,
        site: &Site,
        change: ConfigChange,
        ordered: Option<&OrderedBy>,
        live: Vec<u32>,
    ) -> Result<Begun, String> {
        let begun = self.begin_epoch(site, change, ordered, live).await?;
        let trial = State { trial: Some(id), ..self.store.state().settled() };
        if let Err(error) = self.store.put(trial) {
            tracing::error!(%error, "cannot note that a configuration is being tried: a restart knows nothing of it");
        }
        Ok(begun)
    }

    /// The plan in the recorder; what runs for it is turned afterwards.
    async fn begin_epoch(
        &self,
        site: &Site,
        change: ConfigChange,
        ordered: Option<&OrderedBy>,
        live: Vec<u32>,
    ) -> Result<Begun, String> {
        const ENDED: &str = "the gateway is stopping";
        let (begun, told) = oneshot::channel();
        let (taken, _on_disk) = oneshot::channel();
        let ordered = ordered.map(|by| Ordered {
            order: by.order,
            author: by.author.clone(),
            body: by.body.clone(),
            taken,
        });
        let asked = Reconfigure { plan: site.plan.clone(), change, ordered, live, begun };
        let event = Event::Reconfigure(Box::new(asked));
        self.doors.inputs.send(event).await.map_err(|_| ENDED.to_owned())?;
        told.await.map_err(|_| ENDED.to_owned())?
    }

    /// A change has been watched for long enough.
    pub async fn look(&mut self, sources: &mut Sources, parts: &mut Parts) {
        let Some(watched) = &self.watched else { return };
        let ill = match self.snapshot().await {
            Ok(now) => watched.watch.judge(watched.since, &now),
            // The recorder has ended; whoever waits for it says why.
            Err(_) => return,
        };
        match ill {
            None => self.confirm().await,
            Some(why) => self.roll_back(&why, sources, parts).await,
        }
    }

    async fn confirm(&mut self) {
        let Some(Watched { order, local, .. }) = self.watched.take() else { return };
        let state = State { confirmed: self.id, local, ..State::default() };
        if let Err(error) = self.store.put(state) {
            tracing::error!(%error, "cannot note that the configuration is confirmed: a restart goes back to the one before");
        }
        let said = "healthy for as long as it was watched".to_owned();
        self.record(ConfigChange { step: ConfigStep::Confirmed, config: self.id, order, said }).await;
        let shown = self.shown.borrow().said.clone();
        self.show("confirmed", &shown);
    }

    async fn roll_back(&mut self, why: &str, sources: &mut Sources, parts: &mut Parts) {
        let Some(Watched { before, order, local, .. }) = self.watched.take() else { return };
        let (site, id) = *before;
        let tried = self.id;
        let difference = Difference::between(&self.site, &site);
        let said = format!("taken back: {why}");
        tracing::error!(why, "the new configuration is not healthy: the one before is in force again");
        let change = ConfigChange { step: ConfigStep::RolledBack, config: tried, order, said: said.clone() };
        let begun = match self.begin_epoch(&site, change, None, sources.generations()).await {
            Ok(begun) => begun,
            Err(why) => {
                tracing::error!(why, "the configuration before cannot be put in force again");
                let why = format!("{said}; but the one before cannot be put in force again: {why}");
                self.show("applied", &why);
                return;
            }
        };
        sources.turn(&site, &difference, &self.doors.inputs.of(begun.generation), parts).await;
        (self.site, self.id) = (site, id);
        let state = State { confirmed: id, local, refused: tried, ..State::default() };
        if let Err(error) = self.store.put(state) {
            tracing::error!(%error, "cannot note that the configuration was taken back");
        }
        self.show("rolled-back", &said);
    }

    /// False: the refusal of an order is not on disk.
    async fn refuse(&self, config: Option<Id>, why: &str, ordered: Option<&OrderedBy>) -> bool {
        tracing::error!(why, "another configuration was refused; the one before stays in force");
        let change = ConfigChange {
            step: ConfigStep::Refused,
            config,
            order: ordered.map(|by| by.order),
            said: why.to_owned(),
        };
        self.show("refused", why);
        let Some(by) = ordered else {
            self.record(change).await;
            return true;
        };
        let (taken, on_disk) = oneshot::channel();
        let declined = Some((by.order, why.to_owned(), taken));
        let sent = self.doors.inputs.send(Event::Config { change, declined, said: None }).await;
        sent.is_ok() && on_disk.await.is_ok()
    }

    async fn record(&self, change: ConfigChange) {
        let (said, on_disk) = oneshot::channel();
        let event = Event::Config { change, declined: None, said: Some(said) };
        if self.doors.inputs.send(event).await.is_ok() {
            // Closed: the recorder has ended, and says why.
            let _told = on_disk.await;
        }
    }

    async fn snapshot(&self) -> Result<Snapshot, String> {
        self.doors.asks.snapshot().await.map_err(|_| "the gateway is stopping".to_owned())
    }

    /// The site file as it is now.
    fn local(&self) -> Option<Id> {
        self.origin.as_ref().and_then(|origin| config::gather(&origin.path).0).map(|local| local.id())
    }

    fn show(&self, step: &'static str, said: &str) {
        self.shown.send_replace(Shown { step: Some(step), said: said.to_owned() });
    }
}

/// Reads and checks; an error is which configuration it was, and its problems.
fn read(origin: &Origin, given: Option<Configuration>) -> Result<Checked, (Option<Id>, String)> {
    let (configuration, site) = if let Some(configuration) = given {
        let site = config::load_configuration(&configuration, &origin.path)
            .map_err(|problems| config::explain_configuration(&problems, &configuration));
        (Some(configuration), site)
    } else {
        let (configuration, site) = config::gather(&origin.path);
        (configuration, site.map_err(|problems| config::explain(&problems, false)))
    };
    let id = configuration.as_ref().map(Configuration::id);
    let (Some(configuration), site) = (configuration, site.map_err(|why| (id, why))?) else {
        return Err((id, "the site file cannot be read".to_owned()));
    };
    let mut site = site;
    (origin.overrides)(&mut site).map_err(|why| (id, why))?;
    Ok(Checked { configuration, site })
}

/// What a start begins with: the site file, or the configuration that is kept where that is to be preferred. An error is
/// the problems of the site file.
pub fn begin(origin: &Origin, data: &Path) -> Result<Site, String> {
    let store = Store::of(data);
    let (local, read) = config::gather(&origin.path);
    let good = read.is_ok();
    let chosen = store.state().choose(local.as_ref().map(Configuration::id), good);
    let site = match (chosen, read) {
        (store::Choice::SiteFile, read) => read.map_err(|problems| config::explain(&problems, false)),
        (store::Choice::Kept(id, why), read) => {
            let kept = store.configuration(id).map(|kept| config::load_configuration(&kept, &origin.path));
            match (kept, read) {
                (Some(Ok(site)), _) => {
                    tracing::warn!(why, "beginning with the configuration that was confirmed last");
                    Ok(site)
                }
                // What is kept is no good any more: there is only the site file.
                (_, read) => read.map_err(|problems| config::explain(&problems, false)),
            }
        }
    };
    let mut site = site?;
    (origin.overrides)(&mut site)?;
    *origin.found.lock().unwrap_or_else(PoisonError::into_inner) = Some((local, good));
    Ok(site)
}

/// Asks for another configuration and waits for the answer; `None` = the gateway is stopping.
pub async fn ask(requests: &mpsc::Sender<Request>, given: Given, dry_run: bool) -> Option<Answer> {
    let (answer, told) = oneshot::channel();
    requests.send(Request { given, dry_run, answer }).await.ok()?;
    told.await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Wall;
    use crate::recorder::{Civil, doors};

    fn write(path: &Path, name: &str) {
        let text = include_str!("../../../../deploy/example/hotel.toml");
        std::fs::write(path, text.replace("Demonstration Hotel", name)).unwrap();
    }

    /// The process is killed while the recorder still has the request before it.
    #[tokio::test]
    async fn a_file_that_was_never_in_force_is_begun_with_by_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let (path, data) = (dir.path().join("site.toml"), dir.path().join("data"));
        let origin = || Origin::new(path.clone(), Arc::new(|_| Ok(())));
        write(&path, "Old");
        let (doors, mut rooms) = doors(Civil::default());
        let talk = || (doors.clone(), Clock::start(Wall::system(), EngineTime(0)));
        let old = begin(&origin(), &data).unwrap();
        let changer = Changer::new(Some(origin()), &data, old, talk(), false);
        write(&path, "New");
        let Checked { configuration, site } = changer.check(None).await.unwrap();
        let id = changer.store.keep(&configuration).unwrap();
        let (step, said) = (ConfigStep::Applied, String::new());
        let change = ConfigChange { step, config: Some(id), order: None, said };
        tokio::select! {
            ended = changer.try_out(id, &site, change, None, Vec::new()) => panic!("{ended:?}"),
            asked = rooms.next_event() => assert!(matches!(asked, Some(Event::Reconfigure(_)))),
        }
        drop(changer);
        let this = origin();
        let next = begin(&this, &data).unwrap();
        assert_eq!(next.name.en, "New", "nobody has seen it being ill");
        let changer = Changer::new(Some(this), &data, next, talk(), false);
        assert_eq!(*changer.shown().borrow(), Shown::default(), "nothing is said of another one");
        assert_eq!(changer.store.state().confirmed, Some(id));
    }

    /// A new key signs: everything begins again, under the configuration that was in force.
    #[tokio::test]
    async fn another_life_of_the_process_does_not_take_an_edit_for_confirmed() {
        let dir = tempfile::tempdir().unwrap();
        let (path, data) = (dir.path().join("site.toml"), dir.path().join("data"));
        let origin = || Origin::new(path.clone(), Arc::new(|_| Ok(())));
        write(&path, "Old");
        let (doors, _rooms) = doors(Civil::default());
        let talk = || (doors.clone(), Clock::start(Wall::system(), EngineTime(0)));
        let this = origin();
        let old = begin(&this, &data).unwrap();
        let changer = Changer::new(Some(this.clone()), &data, old, talk(), false);
        let id = changer.id;
        assert!(id.is_some());
        write(&path, "New");
        let next = Changer::new(Some(this), &data, changer.site.clone(), talk(), false);
        assert_eq!((next.id, next.store.state().confirmed), (id, id), "nobody asked for the other one");
        assert_eq!(begin(&origin(), &data).unwrap().name.en, "New", "a start does");
    }

    /// It is without problems once what it names is there, or by another release.
    #[tokio::test]
    async fn a_site_file_that_had_problems_counts_when_it_has_none() {
        let dir = tempfile::tempdir().unwrap();
        let (path, data) = (dir.path().join("site.toml"), dir.path().join("data"));
        let origin = || Origin::new(path.clone(), Arc::new(|_| Ok(())));
        write(&path, "Old");
        let (doors, _rooms) = doors(Civil::default());
        let talk = || (doors.clone(), Clock::start(Wall::system(), EngineTime(0)));
        let old = begin(&origin(), &data).unwrap();
        let changer = Changer::new(Some(origin()), &data, old.clone(), talk(), false);
        write(&path, "New");
        let bad = origin();
        let local = config::gather(&path).0.unwrap();
        *bad.found.lock().unwrap() = Some((Some(local), false));
        let changer = Changer::new(Some(bad), &data, changer.site.clone(), talk(), false);
        assert_eq!(changer.shown().borrow().step, Some("kept"));
        assert_eq!(begin(&origin(), &data).unwrap().name.en, "New", "it is a person's newer word");
    }
}
