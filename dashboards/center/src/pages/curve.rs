//! The readings around an alert as a chart and a table, for the case page and the unit's page alike.

use super::chart::{Beyond, Chart, Limit, Mark, Sample, Seen, Span, render};
use super::format::{measure, short_time};
use super::texts::{Texts, fill};
use super::view::{Ctx, quality_name};
use crate::store::{AlertRow, Series, VerificationRow};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
/// Longest span of one chart.
const SPAN_MAX: i64 = 24 * HOUR;
/// Rows of the table under the chart; the count of all is said beside it.
const TABLE_MAX: usize = 200;

/// Chart and table.
#[derive(Debug, Default)]
pub(crate) struct Curve {
    /// SVG, made by [`render`], which escapes every text it is given.
    pub(crate) svg: String,
    pub(crate) table: Vec<TableRow>,
    pub(crate) table_note: String,
    /// Why there is no chart, or what is missing in it.
    pub(crate) note: Option<String>,
}

#[derive(Debug)]
pub(crate) struct TableRow {
    pub(crate) time: String,
    pub(crate) value: String,
    pub(crate) quality: String,
    pub(crate) good: bool,
}

/// The span to show for an alert: some time before it, to some time after it or now, with the verification's window
/// when that is near.
pub(crate) fn span(alert: &AlertRow, verification: Option<&VerificationRow>, now: i64) -> (i64, i64) {
    let begin = alert.since.unwrap_or(alert.raised_at).min(alert.raised_at);
    let mut end = alert.cleared_at.unwrap_or(now).max(alert.raised_at);
    if let Some(window) = verification {
        end = end.max(window.to.min(now));
    }
    let margin = ((end - begin) / 3).clamp(30 * MINUTE, 2 * HOUR);
    let from = begin - margin;
    // What led to the alert comes first: a long one is cut at its later end.
    (from, (end + margin).min(now).min(from + SPAN_MAX).max(alert.raised_at + MINUTE))
}

/// Draws it.
pub(crate) fn draw(
    id: &str,
    alert: &AlertRow,
    series: &Series,
    verification: Option<&VerificationRow>,
    width: u32,
    ctx: Ctx,
) -> Curve {
    let t = ctx.texts();
    let samples: Vec<Sample> = series
        .samples
        .iter()
        .map(|sample| Sample {
            at: sample.at,
            seen: match (sample.value, sample.quality.as_str()) {
                (Some(value), "good") => Seen::Good(value),
                (Some(value), "uncertain") => Seen::Doubtful(value),
                (Some(_) | None, _) => Seen::Missing,
            },
        })
        .collect();
    let spans: Vec<Span> = verification
        .map(|window| Span { from: window.from, to: window.to, label: t.chart_window.clone() })
        .into_iter()
        .collect();
    let mut marks = vec![Mark { at: alert.raised_at, label: t.chart_raised.clone() }];
    marks.extend(alert.cleared_at.map(|at| Mark { at, label: t.chart_cleared.clone() }));
    let device = ctx.words(&alert.device_name);
    let title = fill(
        &t.case_chart_title,
        &[
            ("device", &device),
            ("point", &ctx.words(&series.point.name)),
            ("from", &short_time(series.from, ctx.zone, ctx.lang)),
            ("to", &short_time(series.to, ctx.zone, ctx.lang)),
        ],
    );
    let unit = if matches!(series.point.unit.as_str(), "1" | "bool") { "" } else { &series.point.unit };
    let svg = render(&Chart {
        id,
        title: &title,
        from: series.from,
        to: series.to,
        samples: &samples,
        gaps: &series.gaps,
        unit,
        truth: series.point.truth.then(|| truth(&series.point.id, t)),
        limit: limit_of(alert, series),
        spans: &spans,
        marks: &marks,
        zone: ctx.zone,
        lang: ctx.lang,
        width,
    });
    let shown = series.samples.len().min(TABLE_MAX);
    Curve {
        svg,
        table: table(series, alert.raised_at, ctx, t),
        table_note: fill(
            &t.case_table_note,
            &[("shown", &shown.to_string()), ("n", &series.samples.len().to_string())],
        ),
        note: series.truncated.then(|| t.case_chart_truncated.clone()),
    }
}

/// The limit to be drawn over a series. That of a cycle is a temperature to be reached, and below it is nothing wrong by
/// itself; the limit of another event (a difference of weights) is no value of any point.
fn limit_of(alert: &AlertRow, series: &Series) -> Option<Limit> {
    match &alert.point {
        Some(point) if *point == series.point.id => limit(alert),
        None if alert.unit.as_deref() == Some("°C") && series.point.unit == "°C" => {
            limit(alert).map(|limit| Limit { beyond: None, ..limit })
        }
        Some(_) | None => None,
    }
}

/// Which side of the limit is wrong is told by the value that raised the alert.
fn limit(alert: &AlertRow) -> Option<Limit> {
    let value = alert.limit.filter(|limit| limit.is_finite())?;
    let beyond = alert.value.and_then(|measured| {
        if measured > value {
            Some(Beyond::Above)
        } else if measured < value {
            Some(Beyond::Below)
        } else {
            None
        }
    });
    Some(Limit { value, beyond })
}

/// A door is open or closed; of anything else it is so or not.
fn truth<'t>(point: &str, t: &'t Texts) -> (&'t str, &'t str) {
    if point.ends_with("/door") { (&t.door_yes, &t.door_no) } else { (&t.truth_yes, &t.truth_no) }
}

/// The exact readings nearest to the alert.
fn table(series: &Series, raised: i64, ctx: Ctx, t: &Texts) -> Vec<TableRow> {
    let near = series.samples.partition_point(|sample| sample.at < raised);
    let start = near.saturating_sub(TABLE_MAX / 2).min(series.samples.len().saturating_sub(TABLE_MAX));
    let unit = &series.point.unit;
    series.samples[start..]
        .iter()
        .take(TABLE_MAX)
        .map(|sample| TableRow {
            time: format!("{} {}", ctx.zone.day(sample.at, ctx.lang), ctx.zone.clock_seconds(sample.at)),
            value: match sample.value {
                Some(value) if series.point.truth => {
                    let (yes, no) = truth(&series.point.id, t);
                    if value == 0.0 { no.to_owned() } else { yes.to_owned() }
                }
                Some(value) => measure(value, unit),
                None => "—".to_owned(),
            },
            quality: match sample.cause.as_deref() {
                Some("stuck") => t.quality_stuck.clone(),
                Some(_) | None => quality_name(&sample.quality, t).to_owned(),
            },
            good: sample.quality == "good",
        })
        .collect()
}
