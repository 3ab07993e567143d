//! The control port: HTTP on loopback, for tests and people.
//!
//! `GET /devices` shows everything live; `POST /set {"signal","value"}` holds what instruments see (`null` lets go);
//! `POST /fault {"target","fault","value"?,"for"?}` begins a fault (simulated time); `POST /clear {"target"?}` ends them.
//! `GET /points` lists the signals that can be set, `GET /faults` the words; `POST /step {"seconds"}` moves a held clock on.

use std::time::Duration;

use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::civil::Span;
use crate::fault::{self, Fault};
use crate::host::Host;
use crate::signal::{SignalIx, Signals};
use crate::world::World;

/// Bytes of a request body at most.
const BODY_MAX: usize = 64 * 1024;

type Answer = (StatusCode, Json<Value>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Set {
    signal: String,
    value: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Inject {
    target: String,
    fault: String,
    value: Option<f64>,
    #[serde(rename = "for")]
    duration: Option<Span>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    seconds: f64,
}

/// A step at most: stepping a month takes seconds, and nobody else is answered meanwhile.
const STEP_MAX_S: f64 = 31.0 * 86_400.0;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Clear {
    target: Option<String>,
}

/// The routes.
pub fn routes(host: Host) -> Router {
    Router::new()
        .route("/devices", get(devices))
        .route("/set", post(set))
        .route("/fault", post(fault))
        .route("/clear", post(clear))
        .route("/step", post(step))
        .route("/points", get(points))
        .route("/faults", get(faults))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(host)
}

fn ended() -> Answer {
    (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"error": "the world has ended"})))
}

fn outcome(result: Option<Result<(), String>>) -> Answer {
    match result {
        None => ended(),
        Some(Ok(())) => (StatusCode::OK, Json(json!({"ok": true}))),
        Some(Err(error)) => (StatusCode::UNPROCESSABLE_ENTITY, Json(json!({ "error": error }))),
    }
}

/// What an instrument sees, as JSON: a number, or what is wrong with its wire.
fn shown(signals: &Signals, ix: SignalIx) -> Value {
    let shown = signals.shown(ix);
    if shown == f64::INFINITY {
        json!("open")
    } else if shown == f64::NEG_INFINITY {
        json!("short")
    } else {
        json!(shown)
    }
}

/// Everything live, as JSON.
#[must_use]
pub fn snapshot(world: &World) -> Value {
    let signals = world.signals();
    let devices: Vec<Value> = world
        .devices()
        .map(|(id, kind)| {
            let mine = signals.all().filter_map(|ix| {
                let (name, unit) = signals.label(ix);
                let quantity = name.strip_prefix(id)?.strip_prefix('/')?;
                let value =
                    json!({"true": signals.value(ix), "shown": shown(signals, ix), "unit": unit, "held": signals.is_forced(ix)});
                Some((quantity.to_owned(), value))
            });
            json!({"id": id, "kind": kind, "signals": mine.collect::<serde_json::Map<_, _>>()})
        })
        .collect();
    let endpoints: Vec<Value> = world
        .endpoints()
        .iter()
        .map(|endpoint| {
            let unit =
                |unit: &crate::scenario::Unit| json!({"unit": unit.unit, "map": unit.map.word_of_map()});
            let units: Vec<Value> = endpoint.units.iter().map(unit).collect();
            json!({"name": endpoint.name, "transport": endpoint.transport, "units": units})
        })
        .collect();
    let faults: Vec<Value> =
        world.faults_on().map(|(target, fault)| json!({"target": target, "fault": fault})).collect();
    json!({"civil": world.now().0, "devices": devices, "endpoints": endpoints, "faults": faults})
}

async fn devices(State(host): State<Host>) -> Answer {
    host.with(|world| snapshot(world)).await.map_or_else(ended, |value| (StatusCode::OK, Json(value)))
}

async fn set(State(host): State<Host>, Json(set): Json<Set>) -> Answer {
    outcome(host.with(move |world| world.force(&set.signal, set.value)).await)
}

async fn fault(State(host): State<Host>, Json(inject): Json<Inject>) -> Answer {
    let done = host.with(move |world| {
        let fault = Fault::parse(&inject.fault, inject.value)?;
        world.inject(&inject.target, fault, inject.duration.map(Span::seconds))
    });
    outcome(done.await)
}

async fn clear(State(host): State<Host>, Json(clear): Json<Clear>) -> Answer {
    let ended_n = host.with(move |world| world.clear(clear.target.as_deref())).await;
    ended_n.map_or_else(ended, |n| (StatusCode::OK, Json(json!({"ok": true, "ended": n}))))
}

async fn points(State(host): State<Host>) -> Answer {
    let list = host.with(|world| {
        let signals = world.signals();
        let point = |ix| {
            let (name, unit) = signals.label(ix);
            json!({"signal": name, "unit": unit, "shown": shown(signals, ix), "held": signals.is_forced(ix)})
        };
        signals.all().map(point).collect::<Vec<_>>()
    });
    list.await.map_or_else(ended, |list| (StatusCode::OK, Json(Value::from(list))))
}

async fn faults() -> Answer {
    (StatusCode::OK, Json(fault::words().collect()))
}

async fn step(State(host): State<Host>, Json(step): Json<Step>) -> Answer {
    if !(step.seconds >= 0.001 && step.seconds <= STEP_MAX_S) {
        let error = format!("`seconds` is 0.001 to {STEP_MAX_S}");
        return (StatusCode::UNPROCESSABLE_ENTITY, Json(json!({ "error": error })));
    }
    if let Some(now) = host.step(Duration::from_secs_f64(step.seconds)).await {
        (StatusCode::OK, Json(json!({"ok": true, "civil": now.0})))
    } else {
        let error = "time runs by itself: start the simulator with --virtual to step it";
        (StatusCode::CONFLICT, Json(json!({ "error": error })))
    }
}
