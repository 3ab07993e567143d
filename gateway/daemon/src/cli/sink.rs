//! `gateway sink …`: what sinks remember, and what a person does about it. Looking is always possible; whatever changes a
//! sink needs its lock, so a sink that a running gateway works is refused (but for `resume`, which it waits for).

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::json;

use super::{Ended, GOOD, WRONG, journal, runtime, say};
use crate::config::SinkPlan;
use crate::metrics::Metrics;
use crate::sinks::reader::Source;
use crate::sinks::store::{self, Held, Store};
use crate::sinks::{self, Home, Sink};

#[derive(Subcommand)]
pub(super) enum SinkCommand {
    /// Every sink that ever was: how far it has come, what it missed, what was set aside.
    List {
        /// The data directory of a gateway.
        dir: PathBuf,
        /// As JSON lines.
        #[arg(long)]
        json: bool,
    },
    /// What the target would not take, with its words, as JSON lines.
    Aside {
        /// The data directory of a gateway.
        dir: PathBuf,
        /// Which sink.
        name: String,
    },
    /// Spans that the sink will never get, as JSON lines.
    Gaps {
        /// The data directory of a gateway.
        dir: PathBuf,
        /// Which sink.
        name: String,
    },
    /// Delivers what is left of a parked sink to where it went last, and ends.
    Drain {
        /// The data directory of a gateway.
        dir: PathBuf,
        /// Which sink.
        name: String,
    },
    /// Goes on with a sink whose target had said that it wants nothing more (410).
    Resume {
        /// The data directory of a gateway.
        dir: PathBuf,
        /// Which sink.
        name: String,
    },
    /// Forgets a parked sink: its cursor, its gaps, what was set aside.
    Drop {
        /// The data directory of a gateway.
        dir: PathBuf,
        /// Which sink.
        name: String,
    },
}

pub(super) fn sink(command: &SinkCommand) -> Ended {
    match command {
        SinkCommand::List { dir, json } => list(dir, *json),
        SinkCommand::Aside { dir, name } => {
            found(dir, name)?;
            store::asides(dir, name).iter().try_for_each(|aside| say(&serde_json::to_string(aside)?))?;
            Ok(GOOD)
        }
        SinkCommand::Gaps { dir, name } => {
            let held = found(dir, name)?;
            held.gaps.0.iter().try_for_each(|gap| say(&serde_json::to_string(gap)?))?;
            Ok(GOOD)
        }
        SinkCommand::Drain { dir, name } => drain(dir, name),
        SinkCommand::Resume { dir, name } => {
            found(dir, name)?;
            let was = store::resume(dir, name)?;
            eprintln!(
                "{}",
                if was { "resumed; a running gateway goes on within 5 s" } else { "it was not stopped" }
            );
            Ok(GOOD)
        }
        SinkCommand::Drop { dir, name } => {
            let plan = found_plan(dir, name)?;
            store::forget(dir, &Store::open(dir, &plan)?)?;
            eprintln!("forgotten");
            Ok(GOOD)
        }
    }
}

fn found(dir: &Path, name: &str) -> anyhow::Result<Held> {
    let known = store::names(dir).join(", ");
    let known = if known.is_empty() { "none".to_owned() } else { known };
    store::look(dir, name)
        .with_context(|| format!("there is no sink `{name}` in {}; there are: {known}", dir.display()))
}

fn found_plan(dir: &Path, name: &str) -> anyhow::Result<SinkPlan> {
    found(dir, name)?.plan.with_context(|| {
        format!("plan.json of `{name}` is damaged: configure the sink again, then run the gateway once")
    })
}

fn list(dir: &Path, as_json: bool) -> Ended {
    anyhow::ensure!(dir.is_dir(), "{} is not there: name the data directory of a gateway", dir.display());
    let newest = journal::opened(dir).ok().and_then(|(journal, _)| journal.last());
    for name in store::names(dir) {
        let Some(held) = store::look(dir, &name) else { continue };
        // Whoever can take the lock finds a sink that nobody works: no gateway runs, or it is parked.
        let busy = held.plan.as_ref().is_some_and(|plan| Store::open(dir, plan).is_err());
        let kind = held.plan.as_ref().map_or("?", |plan| plan.target.kind());
        let cursor = held.saved.cursor.map(|(epoch, seq)| format!("{epoch}/{seq}"));
        if as_json {
            let row = json!({
                "name": name, "kind": kind, "working": busy, "cursor": cursor,
                "newest": newest.map(|newest| newest.to_string()), "gaps": held.gaps.0.len(),
                "late": held.late.len(), "aside": held.aside, "stopped": held.stopped,
            });
            say(&row)?;
            continue;
        }
        let newest = newest.map_or_else(|| "?".to_owned(), |newest| newest.to_string());
        say(&format_args!(
            "{name} ({kind}): {}, at {} of {newest}; gaps {}, late {}, aside {}",
            if busy { "a gateway works it" } else { "nobody works it" },
            cursor.unwrap_or_else(|| "the beginning".to_owned()),
            held.gaps.0.len(),
            held.late.len(),
            held.aside,
        ))?;
        if let Some(stopped) = held.stopped {
            say(&format_args!("  stopped by its target: {}; `gateway sink resume` goes on", stopped.words))?;
        }
    }
    Ok(GOOD)
}

fn drain(dir: &Path, name: &str) -> Ended {
    let plan = found_plan(dir, name)?;
    let (opened, _) = journal::opened(dir)?;
    let gateway = journal::key(dir)?.gateway_id();
    let site = crate::sinks::reader::site_of(&opened)
        .context("the journal holds no config record that can be read: run the gateway once")?;
    let home = Home { data: dir.to_owned(), site, gateway };
    let source = Source::Offline(Arc::new(Mutex::new(opened)));
    let metrics = Metrics::default();
    let mut sink = Sink::open(&plan, &home, source, &metrics)?;
    let ended = runtime()?.block_on(async {
        let stop = crate::run::stop_at_signal()?;
        let mut last = String::new();
        let drained = sink.drain(|status| {
            let cursor = status.shown().cursor.unwrap_or_default();
            if cursor != last {
                eprintln!("at {cursor}");
                last = cursor;
            }
        });
        tokio::select! {
            ended = drained => ended.map(Some),
            () = stop.cancelled() => Ok(None),
        }
    })?;
    let shown = sink.status().shown();
    say(&serde_json::to_string(&shown)?)?;
    Ok(match ended {
        Some(sinks::Ended::Drained) => GOOD,
        Some(sinks::Ended::Stopped) | None => WRONG,
    })
}
