//! The supervision center: takes signed records in, follows every alert to its end, shows people what needs them.
//!
//! `ingest` makes records durable (`segments`), indexes them and lets `project` derive what follows; `cases` is the
//! shell of `center-casebook`; `verifier` judges rectifications from data; `live` tells open pages. All SQL stands in
//! `store`, the one clock in `clock`, the doors in `http`, what people see in `pages`.
//! Leaves out: deciding about alerts (the gateways' engine) and cases (the casebook).

pub mod alerts;
pub mod app;
pub mod attachments;
pub mod audit;
pub mod auth;
pub mod case_view;
pub mod cases;
pub mod civil;
pub mod clock;
pub mod config;
pub mod configuration;
pub mod desk;
pub mod digests;
pub mod enrolment;
pub mod error;
pub mod export;
pub mod http;
pub mod identity;
pub mod ingest;
pub mod inputs;
pub mod keys;
pub mod leads;
pub mod link;
pub mod live;
pub mod metrics;
pub mod orders;
pub mod pages;
pub mod plans;
pub mod project;
pub mod readings;
pub mod receipt;
pub mod requests;
pub mod segments;
pub mod store;
pub mod succession;
pub mod tls;
pub mod verifier;
pub mod watch;
