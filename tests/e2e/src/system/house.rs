//! The center, on a thread of its own: its database has threads itself and cannot live in paused time.
//!
//! Whoever asks it waits with the thread of the simulation, so that virtual time stands still meanwhile and nothing
//! depends on how fast the machine is.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc as std_mpsc};
use std::thread::JoinHandle;

use anyhow::Context as _;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use center::app::{App, AppState};
use center::clock::Clock;
use center::config::Config;
use center::store::accounts::put_institution;
use center::store::alerts::AlertFilter;
use center::store::gateways::{Enrolled as Known, add};
use center::store::{AlertRow, InstitutionRow, Scope, Words};
use futures_util::future::BoxFuture;
use gateway::state::Enrolled;
use gateway_model::{CivilTime, Epoch, InstitutionId, SiteId};
use gateway_wire::{Enrolment, SigningKey};
use tokio::sync::mpsc;
use tower::ServiceExt as _;

type Job = Box<dyn FnOnce(AppState, Router) -> BoxFuture<'static, ()> + Send>;

/// What a request got.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) bytes: Vec<u8>,
}

/// A center that can be killed and started again.
pub(super) struct House {
    data: PathBuf,
    now: Arc<AtomicI64>,
    running: Mutex<Option<Running>>,
}

struct Running {
    jobs: mpsc::UnboundedSender<Job>,
    thread: JoinHandle<anyhow::Result<()>>,
}

impl House {
    /// Not started yet.
    pub(super) fn new(data: PathBuf, begin: CivilTime) -> Self {
        Self { data, now: Arc::new(AtomicI64::new(begin.0)), running: Mutex::default() }
    }

    /// Where its files lie.
    pub(super) fn data(&self) -> &Path {
        &self.data
    }

    /// What its clock shows from now on.
    pub(super) fn set_clock(&self, now: CivilTime) {
        self.now.store(now.0, Ordering::Relaxed);
    }

    /// Is it running?
    pub(super) fn is_up(&self) -> bool {
        self.running().is_some()
    }

    fn running(&self) -> std::sync::MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts it and waits until it is up.
    pub(super) fn start(&self) -> anyhow::Result<()> {
        let config = Config { data: self.data.clone(), ..Config::default() };
        let clock = Clock::steered(self.now.clone());
        let (jobs, inbox) = mpsc::unbounded_channel();
        let (up, is_up) = std_mpsc::channel();
        let thread = std::thread::spawn(move || serve(config, clock, inbox, &up));
        if is_up.recv().is_err() {
            let ended = thread.join().map_err(|_| anyhow::anyhow!("the center panicked"))?;
            return ended.context("start the center");
        }
        *self.running() = Some(Running { jobs, thread });
        Ok(())
    }

    /// Ends it between two requests, without a word. `torn`: it had begun to write records that it never indexed.
    pub(super) fn kill(&self, torn: Option<&[u8]>) -> anyhow::Result<()> {
        let Some(Running { jobs, thread }) = self.running().take() else { return Ok(()) };
        drop(jobs);
        thread.join().map_err(|_| anyhow::anyhow!("the center panicked"))??;
        if let Some(bytes) = torn {
            let mut segments: Vec<_> = fs::read_dir(self.data.join("segments"))?
                .map(|entry| Ok(entry?.path()))
                .collect::<std::io::Result<_>>()?;
            segments.sort();
            if let Some(newest) = segments.last() {
                fs::File::options().append(true).open(newest)?.write_all(bytes)?;
            }
        }
        Ok(())
    }

    /// Its files as they are, into an empty folder: a backup. Only while it does not run.
    pub(super) fn copy_to(&self, folder: &Path) -> anyhow::Result<()> {
        copy(&self.data, folder)
    }

    /// Its files as they were in a backup. Only while it does not run.
    pub(super) fn restore(&self, folder: &Path) -> anyhow::Result<()> {
        fs::remove_dir_all(&self.data)?;
        copy(folder, &self.data)
    }

    /// Does something in it and waits; `None` = it does not run.
    fn ask<T: Send + 'static>(
        &self,
        what: impl FnOnce(AppState, Router) -> BoxFuture<'static, T> + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = std_mpsc::channel();
        let job: Job = Box::new(move |app, router| {
            let work = what(app, router);
            Box::pin(async move {
                let done = work.await;
                // The asker waits for exactly this.
                reply.send(done).ok();
            })
        });
        let sent = self.running().as_ref().map(|running| running.jobs.send(job));
        sent?.ok()?;
        answer.recv().ok()
    }

    /// A request to its doors.
    pub(super) fn call(&self, request: Request<Body>) -> Option<Answer> {
        self.ask(move |_, router| {
            Box::pin(async move {
                let Ok(response) = router.oneshot(request).await;
                let (parts, body) = response.into_parts();
                let bytes = axum::body::to_bytes(body, 8 << 20).await.map(Vec::from);
                Answer { status: parts.status, headers: parts.headers, bytes: bytes.unwrap_or_default() }
            })
        })
    }

    /// A gateway that belongs to it from now on.
    pub(super) fn enrol(
        &self,
        key: &SigningKey,
        institution: &str,
        site: &str,
        at: CivilTime,
    ) -> anyhow::Result<Enrolled> {
        let verifying = key.verifying_key();
        let gateway_key = verifying.to_bytes();
        let id = key.gateway_id().to_string();
        let (institution, site) = (institution.to_owned(), site.to_owned());
        let done = self.ask(move |app, _| {
            Box::pin(async move {
                let words = Words { zh: institution.clone(), en: institution.clone() };
                let row = InstitutionRow {
                    id: institution.clone(),
                    name: words,
                    kind: "hotel".into(),
                    township: None,
                };
                let known = Known {
                    id,
                    ring: verifying.into(),
                    keys: Vec::new(),
                    former: None,
                    institution: institution.clone(),
                    site: site.clone(),
                    epoch_floor: 0,
                };
                let mut tx = app.store.write().await?;
                put_institution(&mut tx, &row, at.0).await?;
                add(&mut tx, &known, at.0).await?;
                tx.commit().await?;
                let statement = Enrolment {
                    gateway_key,
                    institution: InstitutionId(institution),
                    site: SiteId(site),
                    epoch_floor: Epoch(0),
                    tls_keys: app.tls_keys.clone(),
                    issued: at,
                    gateway: None,
                };
                let statement = statement.seal(&app.key);
                Ok(Enrolled { url: "http://center".into(), center: app.key.verifying_key(), statement })
            })
        });
        done.context("the center runs")?
    }

    /// Every alert it knows, in the order in which it learned of them.
    pub(super) fn alerts(&self) -> anyhow::Result<Vec<AlertRow>> {
        let found = self.ask(|app, _| {
            Box::pin(async move {
                let mut rows: Vec<AlertRow> = Vec::new();
                loop {
                    let after = Some(rows.last().map_or(0, |row| row.n));
                    let filter = AlertFilter { open_only: false, after };
                    let page = app.store.alert_list(&Scope::All, filter).await?;
                    if page.is_empty() {
                        return Ok(rows);
                    }
                    rows.extend(page);
                }
            })
        });
        found.context("the center runs")?
    }
}

/// The center's thread.
fn serve(
    config: Config,
    clock: Clock,
    mut inbox: mpsc::UnboundedReceiver<Job>,
    up: &std_mpsc::Sender<()>,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let served = runtime.block_on(async {
        let app = App::start(config, clock).await?;
        let router = center::http::router(Arc::clone(&app));
        // Whoever started it waits for exactly this.
        up.send(()).ok();
        while let Some(job) = inbox.recv().await {
            job(Arc::clone(&app), router.clone()).await;
        }
        // Its threads would go on folding the log into the file while a backup is copied, and what is copied would depend
        // on how fast the machine is.
        app.store.close().await;
        anyhow::Ok(())
    });
    // What it was still doing ends here, as with a process that is killed.
    runtime.shutdown_background();
    served
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
