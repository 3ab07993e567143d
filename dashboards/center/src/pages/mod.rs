//! What people see: server-drawn pages in two languages, and one script that keeps them true.
//!
//! `console`, `phone`, `requests`, `enrol` and `doors` fetch and act; `tasks`, `alerts`, `case`, `gateways`, `unit` and `account` turn rows
//! into what a template shows and know no store; `chart` draws; `texts` holds the words. Every form works without the
//! script. Leaves out: what may be done (the casebook says it) and the JSON for programs (`http`).

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn;
use axum::routing::{get, post};

use crate::app::AppState;

mod account;
mod alerts;
mod asker;
mod assets;
mod case;
mod chart;
mod console;
mod curve;
mod doors;
mod enrol;
mod format;
mod gateways;
mod leads;
mod phone;
mod requests;
#[cfg(test)]
mod samples;
mod tasks;
mod texts;
mod unit;
mod view;

pub(crate) use format::Zone;

/// Every page, and what pages are made of.
pub fn routes() -> Router<AppState> {
    Router::new()
        .route("/", get(console::tasks))
        .route("/alerts", get(console::alerts))
        .route("/gateways", get(console::gateways))
        .route("/leads", get(leads::show))
        .route("/leads/{id}/{act}", post(leads::act))
        .route("/gateways/join", get(enrol::show).post(enrol::make))
        .route("/gateways/join/institution", post(enrol::add_institution))
        .route("/cases/{id}", get(console::case))
        .route("/cases/{id}/{act}", get(console::back).post(console::act))
        .route("/alerts/{n}/pause", post(requests::pause))
        .route("/requests/{id}/{answer}", post(requests::answer))
        .route("/unit", get(phone::unit))
        .route("/unit/closures", post(requests::declare_closure))
        .route("/unit/cases/{id}", get(phone::case))
        .route("/unit/cases/{id}/accept", post(phone::accept))
        .route("/login", get(doors::login).post(doors::log_in))
        .route("/logout", post(doors::log_out))
        .route("/setup", get(doors::setup).post(doors::set_up))
        .layer(from_fn(asker::frame))
        .route("/assets/{hash}/{name}", get(assets::serve))
}

/// Pages that take photos: their bodies are larger than a form's, with a limit of their own.
pub fn upload_routes() -> Router<AppState> {
    Router::new()
        .route(
            "/unit/cases/{id}/submit",
            post(phone::submit).layer(DefaultBodyLimit::max(phone::SUBMISSION_MAX)),
        )
        .layer(from_fn(asker::frame))
}
