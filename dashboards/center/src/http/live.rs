//! The live stream: snapshot, then every change with its number, a heartbeat at least every 15 s, and `reset`
//! for a client that fell behind or comes from before a restart.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, Sse};
use futures_util::Stream;
use serde::Serialize;
use serde_json::json;
use tokio::sync::broadcast::{self, error::RecvError};

use crate::app::{App, AppState};
use crate::auth::Viewer;
use crate::error::ApiError;
use crate::live::{Change, Numbered};
use crate::store::alerts::AlertFilter;
use crate::store::cases::CaseFilter;
use crate::store::{AlertRow, CaseRow, Scope};

/// Between heartbeats, real time.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// A stream ends after this long and the browser comes back: so an ended session does not listen for ever.
const STREAM_MAX: Duration = Duration::from_mins(15);

#[derive(Debug, Serialize)]
struct Snapshot {
    /// Number of the last change it holds.
    sequence: u64,
    /// Newest first.
    alerts: Vec<AlertRow>,
    /// Not closed.
    cases: Vec<CaseRow>,
    /// Civil time.
    at: i64,
    /// Under the demo clock.
    simulated: bool,
}

/// The stream of one client.
struct Client {
    app: Arc<App>,
    scope: Scope,
    receiver: broadcast::Receiver<Numbered>,
    ready: VecDeque<Event>,
    ends: tokio::time::Instant,
}

/// `GET /api/v1/events`.
pub(super) async fn events(
    State(app): State<AppState>,
    viewer: Viewer,
    headers: HeaderMap,
) -> Result<impl axum::response::IntoResponse, ApiError> {
    let seen = headers.get("last-event-id").and_then(|value| value.to_str().ok()).filter(|id| !id.is_empty());
    let subscription = app.hub.subscribe(seen);
    let ends = tokio::time::Instant::now() + STREAM_MAX;
    let mut client =
        Client { scope: viewer.scope(), receiver: subscription.receiver, ready: VecDeque::new(), app, ends };
    if let Some(missed) = subscription.missed {
        for numbered in missed {
            client.offer(&numbered);
        }
        client.heartbeat();
    } else {
        if seen.is_some() {
            client.reset(subscription.last);
        }
        client.snapshot(subscription.last).await?;
    }
    let headers = [("x-accel-buffering", "no"), ("cache-control", "no-store")];
    Ok((headers, Sse::new(client.stream())))
}

impl Client {
    fn id(&self, n: u64) -> String {
        format!("{}.{n}", self.app.hub.epoch())
    }

    fn offer(&mut self, numbered: &Numbered) {
        if !numbered.change.visible(&self.scope) {
            return;
        }
        let (name, data) = match &numbered.change {
            Change::Alert(alert) => ("alert", crate::store::json(alert)),
            Change::Case(case) => ("case", crate::store::json(case)),
            Change::Digest(digest) => ("digest", crate::store::json(digest)),
        };
        self.ready.push_back(Event::default().id(self.id(numbered.n)).event(name).data(data));
    }

    fn reset(&mut self, last: u64) {
        self.ready.push_back(Event::default().id(self.id(last)).event("reset").data("{}"));
    }

    fn heartbeat(&mut self) {
        let data = json!({ "at": self.app.clock.civil().0 }).to_string();
        self.ready.push_back(Event::default().event("heartbeat").data(data));
    }

    /// Taken after `last` was read, so it holds every change up to there; later ones follow by themselves.
    async fn snapshot(&mut self, last: u64) -> Result<(), ApiError> {
        let store = &self.app.store;
        let snapshot = Snapshot {
            sequence: last,
            alerts: store.alert_list(&self.scope, AlertFilter { open_only: true, after: None }).await?,
            cases: store.case_list(&self.scope, CaseFilter::Active).await?,
            at: self.app.clock.civil().0,
            simulated: self.app.clock.simulated(),
        };
        let data = crate::store::json(&snapshot);
        self.ready.push_back(Event::default().id(self.id(last)).event("snapshot").data(data));
        Ok(())
    }

    /// The next event; `None` ends the stream, and the browser comes back.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            let pause = tokio::time::Instant::now() + HEARTBEAT;
            match tokio::time::timeout_at(pause.min(self.ends), self.receiver.recv()).await {
                Ok(Ok(numbered)) => self.offer(&numbered),
                // It fell behind the bounded queue: what it shows can no longer be trusted.
                Ok(Err(RecvError::Lagged(_))) => {
                    let subscription = self.app.hub.subscribe(None);
                    self.receiver = subscription.receiver;
                    self.reset(subscription.last);
                    self.snapshot(subscription.last).await.ok()?;
                }
                Ok(Err(RecvError::Closed)) => return None,
                Err(_) if tokio::time::Instant::now() >= self.ends => return None,
                Err(_) => self.heartbeat(),
            }
        }
    }

    fn stream(self) -> impl Stream<Item = Result<Event, Infallible>> {
        futures_util::stream::unfold(self, |mut client| async move {
            let event = client.next().await?;
            Some((Ok(event), client))
        })
    }
}
