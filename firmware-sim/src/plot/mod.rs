//! A picture of a scenario: what the instruments show, what is planted, which alerts a correct gateway raises.
//!
//! One SVG, the same bytes on every machine. Time runs from the first midnight for the days of `[run]`. A line is what the
//! instrument shows; where that is not the truth, the truth is a thin line behind it. Leaves out: what a gateway really
//! raised (the tests compare that).

pub mod gallery;
mod series;
mod svg;

use crate::civil::DAY_S;
use crate::scenario::Scenario;
use crate::scenario::expect::{Lost, Within};
use series::{COLUMNS, Series};
use svg::Svg;

/// Left of the time axis: names.
const LEFT: i64 = 190;
const RIGHT: i64 = 30;
/// A column of a series is so wide.
const COLUMN: i64 = 1;
const PLOT: i64 = COLUMNS as i64 * COLUMN;
const WIDTH: i64 = LEFT + PLOT + RIGHT;
const HEAD: i64 = 64;
const ROW: i64 = 16;
const STRIP: i64 = 84;
const GAP: i64 = 12;
/// Room a letter takes, about: names are put on the side where there is room.
const LETTER: i64 = 6;

/// The picture.
#[must_use]
pub fn picture(scenario: &Scenario) -> String {
    let span = i64::from(scenario.check.days) * DAY_S;
    let series = series::all(scenario, span);
    let faults = faults(scenario);
    let alerts = alerts(scenario);
    let rows = |n: usize| n as i64 * ROW;
    let strips = series.len() as i64 * (STRIP + GAP);
    let (top, middle) = (HEAD + rows(faults.len()) + GAP, strips);
    let foot = top + middle + 20;
    let height = foot + rows(alerts.len()) + GAP;

    let mut svg = Svg::new(WIDTH, height);
    svg.text(16, 26, "title", &format!("{}  ·  {}", scenario.title.zh, scenario.title.en));
    svg.text(16, 46, "name", &scenario.name);
    let axis = Axis { span };
    axis.draw(&mut svg, top - 4, foot - 18);
    for (i, fault) in faults.iter().enumerate() {
        fault.draw(&mut svg, &axis, HEAD + rows(i), top, &series);
    }
    for (i, series) in series.iter().enumerate() {
        strip(&mut svg, series, top + i as i64 * (STRIP + GAP));
    }
    for (i, alert) in alerts.iter().enumerate() {
        alert.draw(&mut svg, &axis, foot + rows(i));
    }
    svg.finish()
}

/// Writes to the right of a mark, or to its left where there is no room.
fn beside(svg: &mut Svg, from: i64, to: i64, y: i64, class: &str, text: &str) {
    let room = WIDTH - 8 - to;
    if text.chars().count() as i64 * LETTER < room {
        svg.text(to + 5, y, class, text);
    } else {
        svg.text_end(from - 5, y, class, text);
    }
}

struct Axis {
    span: i64,
}

impl Axis {
    fn x(&self, second: i64) -> i64 {
        LEFT + second.clamp(0, self.span) * PLOT / self.span
    }

    fn draw(&self, svg: &mut Svg, from: i64, to: i64) {
        let days = self.span / DAY_S;
        let every = match days {
            1 => 3 * 3600,
            2..=4 => 12 * 3600,
            _ => DAY_S,
        };
        for second in (0..=self.span).step_by(every as usize) {
            let day = second % DAY_S == 0;
            svg.line(self.x(second), from, to, if day && days > 1 { "day" } else { "tick" });
            let text = if days == 1 {
                format!("{:02}:00", second / 3600)
            } else if day && second < self.span {
                format!("day {}", second / DAY_S)
            } else if day {
                continue;
            } else {
                "12:00".to_owned()
            };
            svg.text_middle(self.x(second), to + 12, "small", &text);
        }
    }
}

fn strip(svg: &mut Svg, series: &Series, y: i64) {
    svg.rect(LEFT, y, PLOT, STRIP, "frame");
    svg.text(16, y + 16, "label", &series.device);
    svg.text(16, y + 31, "small", &series.about());
    svg.text_end(LEFT - 5, y + 10, "small", &series.high());
    svg.text_end(LEFT - 5, y + STRIP - 1, "small", &series.low());
    if let Some(truth) = &series.truth {
        svg.path(LEFT, y, &series.path(truth, STRIP), "truth");
    }
    svg.path(LEFT, y, &series.path(&series.shown, STRIP), "shown");
    for (from, to) in series.doors() {
        svg.rect(LEFT + from, y + STRIP - 5, (to - from).max(1), 4, "door");
    }
}

struct FaultRow {
    spans: Vec<Within>,
    label: String,
    /// Its device; `None`: a line or the mains, which touch all of them.
    touches: Option<String>,
}

/// Planted faults and outages; the same thing again and again is one row.
fn faults(scenario: &Scenario) -> Vec<FaultRow> {
    let mut rows: Vec<FaultRow> = Vec::new();
    let mut add = |label: String, span: Within, touches: Option<String>| match rows
        .iter_mut()
        .find(|row| row.label == label)
    {
        Some(row) => row.spans.push(span),
        None => rows.push(FaultRow { spans: vec![span], label, touches }),
    };
    for plant in &scenario.plants {
        let device = plant.target.split('/').next().unwrap_or_default();
        let own = scenario.devices().any(|(id, kind)| id == device && kind != "supply");
        let span = Within { from: plant.from, to: plant.from + plant.for_s };
        add(format!("{} {}", plant.target, plant.fault), span, own.then(|| device.to_owned()));
    }
    for (first, last) in &scenario.closed {
        let span = Within { from: first * DAY_S, to: (last + 1) * DAY_S };
        add("closed".to_owned(), span, Some(String::new()));
    }
    for outage in &scenario.check.outages {
        let label = match outage.lost {
            Lost::Gateway => "gateway: no power",
            Lost::Uplink => "gateway: no line to the center",
        };
        let span = Within { from: outage.from, to: outage.from + outage.for_s };
        // It touches no device.
        add(label.to_owned(), span, Some(String::new()));
    }
    rows
}

impl FaultRow {
    fn draw(&self, svg: &mut Svg, axis: &Axis, y: i64, top: i64, series: &[Series]) {
        let mut last = (0, 0);
        for span in &self.spans {
            let from = axis.x(span.from);
            let to = axis.x(span.to).max(from + 2);
            for (place, series) in (0_i64..).zip(series) {
                if self.touches.as_ref().is_none_or(|device| *device == series.device) {
                    svg.rect(from, top + place * (STRIP + GAP), to - from, STRIP, "shade");
                }
            }
            svg.rect(from, y, to - from, ROW - 5, "fault");
            last = (from, to);
        }
        beside(svg, last.0, last.1, y + ROW - 7, "small", &self.label);
    }
}

struct AlertRow {
    raised: Within,
    cleared: Option<Within>,
    label: String,
    not_yet: bool,
}

fn alerts(scenario: &Scenario) -> Vec<AlertRow> {
    let check = &scenario.check;
    let expected = check.expects.iter().map(|expect| AlertRow {
        raised: expect.raised,
        cleared: Some(expect.cleared.unwrap_or(Within { from: i64::MAX, to: i64::MAX })),
        label: format!("{} {}", expect.device, expect.rule),
        not_yet: false,
    });
    let missing = check.not_yet.iter().map(|not_yet| AlertRow {
        raised: not_yet.when,
        cleared: None,
        label: format!("not yet: {} {}", not_yet.device, not_yet.rule),
        not_yet: true,
    });
    expected.chain(missing).collect()
}

impl AlertRow {
    fn draw(&self, svg: &mut Svg, axis: &Axis, y: i64) {
        let (from, to) = (axis.x(self.raised.from), axis.x(self.raised.to));
        let mut end = to;
        if self.not_yet {
            svg.rect(from, y + 3, (to - from).max(4), ROW - 8, "notyet");
        } else {
            if let Some(cleared) = self.cleared {
                end = axis.x(cleared.to.min(axis.span)).max(to);
                svg.rect(from, y + 6, end - from, 3, "active");
            }
            svg.triangle(i64::midpoint(from, to), y + 2, "raised");
        }
        beside(svg, from - 4, end.max(from + 6), y + 11, "small", &self.label);
    }
}
