//! `gateway journal`: looks into a journal without touching it, also while a gateway runs.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use gateway_journal::{Class, Journal, Position};
use gateway_wire::{Body, SigningKey, VerifyingKey, hash, hex, open, peek, unhex};
use serde_json::json;

use super::{Ended, GOOD, WRONG, say};

/// The journal of a data directory, or the directory itself.
pub(super) fn place(dir: &Path) -> PathBuf {
    let inner = dir.join("journal");
    if inner.is_dir() { inner } else { dir.to_owned() }
}

/// The public key of the gateway whose data directory this is.
pub(super) fn key(dir: &Path) -> anyhow::Result<VerifyingKey> {
    Ok(signing_key(dir)?.verifying_key())
}

/// Its secret key.
pub(super) fn signing_key(dir: &Path) -> anyhow::Result<SigningKey> {
    let path = [dir.join("key"), dir.join("..").join("key")].into_iter().find(|path| path.exists());
    let path = path
        .with_context(|| format!("{} holds no key: name the data directory of a gateway", dir.display()))?;
    let secret = unhex(std::fs::read_to_string(&path)?.trim()).context("the key file is damaged")?;
    Ok(SigningKey::from_bytes(&secret))
}

pub(super) fn stat(dir: &Path) -> Ended {
    let (journal, opened) = Journal::open_read_only(&place(dir))?;
    let (ring, keep) = journal.bytes();
    let mut records = [0_u64; 2];
    let mut bytes = [0_u64; 2];
    for stored in journal.scan(Position::default()).filter_map(Result::ok) {
        let set = usize::from(stored.class == Class::Keep);
        records[set] += 1;
        bytes[set] += stored.bytes.len() as u64;
    }
    let line = json!({
        "epochs": journal.epochs().iter().map(|(epoch, first, last)| json!({"epoch": epoch, "first": first, "last": last})).collect::<Vec<_>>(),
        "ring": {"disk_bytes": ring, "records": records[0], "record_bytes": bytes[0]},
        "keep": {"disk_bytes": keep, "records": records[1], "record_bytes": bytes[1]},
        "damaged_places": opened.quarantined.len(),
        "torn_bytes": opened.torn_bytes,
    });
    say(&format_args!("{line:#}"))?;
    Ok(if opened.quarantined.is_empty() { GOOD } else { WRONG })
}

pub(super) fn dump(dir: &Path) -> Ended {
    let (journal, _) = Journal::open_read_only(&place(dir))?;
    let key = key(dir).ok();
    let mut status = GOOD;
    for stored in journal.scan(Position::default()) {
        let stored = match stored {
            Ok(stored) => stored,
            Err(error) => {
                eprintln!("{}", crate::chain(&error));
                status = WRONG;
                continue;
            }
        };
        let mut line = json!({
            "record": stored.position.to_string(),
            "set": if stored.class == Class::Keep { "keep" } else { "ring" },
            "bytes": stored.bytes.len(),
            "hash": hex(&hash(&stored.bytes)),
        });
        match key.as_ref().map(|key| open(key, &stored.bytes)) {
            Some(Ok(opened)) => {
                line["t0"] = opened.header.t0.0.into();
                line["t1"] = opened.header.t1.0.into();
                line["prev"] = hex(&opened.header.prev).into();
                match &opened.body {
                    Ok(body) => {
                        let (kind, content) = body_text(body);
                        line["kind"] = kind.into();
                        line["content"] = content;
                    }
                    Err(not) => line["not_understood"] = not.to_string().into(),
                }
            }
            Some(Err(error)) => {
                line["bad"] = error.to_string().into();
                status = WRONG;
            }
            // Without a key nothing is believed; the header is shown as it claims to be.
            None => match peek(&stored.bytes) {
                Ok((header, kind)) => {
                    line["t0"] = header.t0.0.into();
                    line["t1"] = header.t1.0.into();
                    line["kind"] = format!("{kind:?}").to_lowercase().into();
                    line["signature"] = "not checked".into();
                }
                Err(error) => {
                    line["bad"] = error.to_string().into();
                    status = WRONG;
                }
            },
        }
        say(&line)?;
    }
    Ok(status)
}

fn body_text(body: &Body) -> (&'static str, serde_json::Value) {
    let list = |items: Vec<String>| serde_json::Value::from(items);
    match body {
        Body::Start(start) => ("start", format!("{start:?}").into()),
        Body::Config(config) => (
            "config",
            json!({"software": config.software, "semantics": config.semantics, "points": config.plan.points.len()}),
        ),
        Body::Inputs(inputs) => (
            "inputs",
            json!({
                "items": list(inputs.items.iter().map(|item| format!("{item:?}")).collect()),
                "counts": list(inputs.counts.iter().map(|counts| format!("{counts:?}")).collect()),
            }),
        ),
        Body::Conclusions(conclusions) => (
            "conclusions",
            json!({
                "because": conclusions.because.0,
                "list": list(conclusions.list.iter().map(|one| format!("{one:?}")).collect()),
                "frames": conclusions.frames.len(),
            }),
        ),
        Body::Checkpoint(state) => ("checkpoint", json!({"now": state.now.0, "rules": state.rules.len()})),
        Body::Gap(gap) => ("gap", format!("{gap:?}").into()),
    }
}
