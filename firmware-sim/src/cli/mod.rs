//! Commands of the program that are not about a scenario, one file each.

pub(crate) mod load;
pub(crate) mod record;
pub(crate) mod replay;
pub(crate) mod watch;

use std::fmt::Display;
use std::io::Write as _;

use anyhow::Context as _;

/// A line to stdout, at once.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).context("cannot write to stdout")
}

/// Ctrl-C or SIGTERM.
pub(crate) async fn stopped() {
    let mut term = match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(term) => term,
        Err(error) => {
            tracing::warn!(%error, "SIGTERM is not watched");
            std::future::pending().await
        }
    };
    tokio::select! {
        result = tokio::signal::ctrl_c() => {
            if let Err(error) = result {
                tracing::warn!(%error, "Ctrl-C is not watched");
            }
        }
        _ = term.recv() => {}
    }
}

/// `HOST:PORT` of a broker.
pub(crate) fn host_port(option: &str, text: &str) -> anyhow::Result<(String, u16)> {
    let wrong = || format!("{option} is HOST:PORT, not `{text}`");
    let (host, port) = text.rsplit_once(':').with_context(wrong)?;
    anyhow::ensure!(!host.is_empty(), wrong());
    Ok((host.to_owned(), port.parse().with_context(wrong)?))
}

/// The port of `NAME=PORT` that names this bus; 0 where none does.
pub(crate) fn port_of(name: &str, named: &[String]) -> anyhow::Result<u16> {
    for text in named {
        let (of, port) = text.split_once('=').context("--port is NAME=PORT")?;
        if of == name {
            return port.parse().context("--port is NAME=PORT");
        }
    }
    Ok(0)
}

/// Says where everything listens: a line of JSON, or one line each.
pub(crate) fn print_up(json: bool, up: &[(&str, impl Display)]) -> anyhow::Result<()> {
    if json {
        let map: serde_json::Map<String, serde_json::Value> =
            up.iter().map(|(name, address)| ((*name).to_owned(), address.to_string().into())).collect();
        return print(&serde_json::json!({ "endpoints": map }).to_string());
    }
    up.iter().try_for_each(|(name, address)| print(&format!("{name:<10} {address}")))
}
