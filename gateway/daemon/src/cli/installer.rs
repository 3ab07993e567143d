//! `gateway installer --by ID`: a code for the installation page of a running gateway.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;
use gateway_rules::Millis;

use super::{Ended, GOOD, runtime, say};
use crate::door::{self, Installer};

/// See [`super::Command::Installer`].
#[derive(Args)]
pub(super) struct Asked {
    /// Who installs: an id of the site's, not a name. It stands in the record of each device.
    #[arg(long)]
    by: String,
    /// For so long the code counts: 24 h at most.
    #[arg(long = "for", value_name = "SPAN", value_parser = Millis::parse, default_value = "12 h")]
    span: Millis,
    /// The data directory of the running gateway.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
}

pub(super) fn installer(asked: Asked) -> Ended {
    let opening = Installer { by: asked.by, for_ms: asked.span.0 };
    let (code, page) = runtime()?.block_on(door::installer(&asked.data, opening))?;
    let host = match page.ip() {
        ip if ip.is_unspecified() => "ADDRESS-OF-THIS-BOX".to_owned(),
        IpAddr::V6(ip) => format!("[{ip}]"),
        IpAddr::V4(ip) => ip.to_string(),
    };
    let at = format!("http://{host}:{}/install", page.port());
    if page.ip().is_loopback() {
        eprintln!(
            "the page is open to this box only; for a phone: [page] listen = \"0.0.0.0:{}\" and allow_plain_http = true in the \
             site file, on a network that is the site's own",
            page.port()
        );
    }
    say(&serde_json::json!({ "page": at, "code": code, "for": asked.span.to_string() }))?;
    Ok(GOOD)
}
