//! `gateway maintenance DEVICE --for 2h`: out of service under a permit, said to the running gateway; `--end`: back.

use std::path::PathBuf;

use clap::Args;
use gateway_rules::Millis;

use super::{Ended, GOOD, runtime, say};
use crate::door::{self, Out};

/// See [`super::Command::Maintenance`].
#[derive(Args)]
pub(super) struct Maintenance {
    /// Device id of the site file.
    device: String,
    /// For so long at most, then it is back by itself: `2h`, `3 d`; 30 days at most.
    #[arg(long = "for", value_name = "SPAN", value_parser = Millis::parse, required_unless_present = "end")]
    span: Option<Millis>,
    /// Number of the permit or work order.
    #[arg(long, required_unless_present = "end", value_name = "NUMBER")]
    permit: Option<String>,
    /// Why: it stands in the record.
    #[arg(long, required_unless_present = "end", value_name = "TEXT")]
    reason: Option<String>,
    /// It is back in service.
    #[arg(long, conflicts_with_all = ["span", "permit", "reason"])]
    end: bool,
    /// Who asks: an id of the site's, not a name.
    #[arg(long)]
    by: String,
    /// The data directory of the running gateway.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
}

pub(super) fn maintenance(asked: Maintenance) -> Ended {
    let Maintenance { device, span, permit, reason, end: _, by, data } = asked;
    // Either all three, or `--end`.
    let out = span.zip(permit).zip(reason);
    let out = out.map(|((span, permit), reason)| Out { for_ms: span.0, permit, reason });
    let until = out.as_ref().map(|out| Millis(out.for_ms).to_string());
    let asked = door::Maintenance { device: device.clone(), by, out };
    runtime()?.block_on(door::maintain(&data, asked))?;
    say(&serde_json::json!({ "device": device, "out_of_service_for": until }))?;
    Ok(GOOD)
}
