//! A chart of one point's readings as an SVG string: the same picture in a page and in a printed report.
//!
//! A pure function of its input. It promises that a span nobody measured is drawn as a gap and never bridged by a
//! line, that the limit is always inside the picture, that what lies beyond the limit is the only thing in a
//! saturated color, and that many points are thinned so that no peak disappears. Colors are presentation
//! attributes, so that the picture needs no style sheet and passes a strict content security policy.
//! It leaves out zooming and several points on one axis.

use std::fmt::Write as _;

use super::format::{Zone, decimal, duration_short, short_time};
use super::texts::{Lang, Texts, fill};

/// One reading, at civil time `at` in ms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sample {
    /// Civil time, ms.
    pub(crate) at: i64,
    /// What is known.
    pub(crate) seen: Seen,
}

/// What one reading says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Seen {
    /// A number to believe.
    Good(f64),
    /// A number in doubt: stale, held, clock unknown.
    Doubtful(f64),
    /// No number.
    Missing,
}

impl Seen {
    fn number(self) -> Option<f64> {
        match self {
            Self::Good(value) | Self::Doubtful(value) => Some(value),
            Self::Missing => None,
        }
    }
}

/// Which side of the limit is the wrong one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beyond {
    /// Above it.
    Above,
    /// Below it.
    Below,
}

/// The limit drawn in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Limit {
    /// In the unit of the series.
    pub(crate) value: f64,
    /// Which side is wrong; `None` = not known, nothing is colored.
    pub(crate) beyond: Option<Beyond>,
}

/// A moment with a word on it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Mark {
    /// Civil time, ms.
    pub(crate) at: i64,
    /// The word.
    pub(crate) label: String,
}

/// A span shaded behind the curve: the window of a verification.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Span {
    /// Civil time, ms.
    pub(crate) from: i64,
    /// Civil time, ms.
    pub(crate) to: i64,
    /// The word.
    pub(crate) label: String,
}

/// Everything one picture needs.
#[derive(Debug, Clone)]
pub(crate) struct Chart<'a> {
    /// Makes ids unique when a page holds several.
    pub(crate) id: &'a str,
    /// For people who cannot see it.
    pub(crate) title: &'a str,
    /// Left end, civil ms.
    pub(crate) from: i64,
    /// Right end, civil ms.
    pub(crate) to: i64,
    /// In time order.
    pub(crate) samples: &'a [Sample],
    /// Spans without readings, in time order, civil ms: no line is drawn across.
    pub(crate) gaps: &'a [(i64, i64)],
    /// Symbol of the unit, empty for none.
    pub(crate) unit: &'a str,
    /// A truth value: drawn as steps between two words.
    pub(crate) truth: Option<(&'a str, &'a str)>,
    /// The limit, if there is one.
    pub(crate) limit: Option<Limit>,
    /// Shaded spans.
    pub(crate) spans: &'a [Span],
    /// Moments.
    pub(crate) marks: &'a [Mark],
    /// Zone of the labels.
    pub(crate) zone: Zone,
    /// Language of the labels.
    pub(crate) lang: Lang,
    /// Width of the drawing in its own units; the page scales it.
    pub(crate) width: u32,
}

const HEIGHT: f64 = 300.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 18.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 34.0;
/// Narrower than this a gap is drawn without its word.
const GAP_LABEL_PX: f64 = 44.0;

const INK: &str = "#3a4754";
const FAINT: &str = "#5d6872";
const GRID: &str = "#dde1e4";
const ABNORMAL: &str = "#c4162a";

/// Draws it.
pub(crate) fn render(chart: &Chart<'_>) -> String {
    let texts = chart.lang.texts();
    let frame = Frame::new(chart);
    let gaps = gaps(chart);
    let mut svg = String::with_capacity(16 * 1024);
    let description = describe(chart, texts, gaps.len());
    // Writing to a String cannot fail; `put` keeps that in one place.
    put(
        &mut svg,
        format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {w} {HEIGHT}\" width=\"100%\" role=\"img\" \
         aria-labelledby=\"{id}-t {id}-d\" font-family=\"-apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'Noto Sans CJK SC', 'PingFang SC', \
         'Microsoft YaHei', sans-serif\" font-size=\"12\"><title id=\"{id}-t\">{title}</title><desc id=\"{id}-d\">{desc}</desc>",
            w = chart.width,
            id = escape(chart.id),
            title = escape(chart.title),
            desc = escape(&description),
        ),
    );
    definitions(&mut svg, chart, &frame);
    shaded_spans(&mut svg, chart, &frame);
    gap_areas(&mut svg, chart, &frame, &gaps, texts);
    y_axis(&mut svg, chart, &frame);
    x_axis(&mut svg, chart, &frame);
    limit_line(&mut svg, chart, &frame, texts);
    curve(&mut svg, chart, &frame, &gaps);
    span_labels(&mut svg, chart, &frame);
    marks(&mut svg, chart, &frame);
    svg.push_str("</svg>");
    svg
}

/// Where a value and a moment lie in the drawing.
struct Frame {
    from: i64,
    to: i64,
    low: f64,
    high: f64,
    step: f64,
    width: f64,
}

impl Frame {
    fn new(chart: &Chart<'_>) -> Self {
        let values = chart.samples.iter().filter_map(|sample| sample.seen.number());
        let mut low = f64::INFINITY;
        let mut high = f64::NEG_INFINITY;
        for value in values.chain(chart.limit.map(|limit| limit.value)).filter(|value| value.is_finite()) {
            low = low.min(value);
            high = high.max(value);
        }
        if chart.truth.is_some() {
            (low, high) = (0.0, 1.0);
        }
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        // A flat line gets room around it, and the limit never lies on the frame.
        let room = ((high - low) * 0.12).max(0.5);
        let step = nice_step((high - low + 2.0 * room) / 5.0);
        // What is never below zero gets no scale below it.
        let floor = if low >= 0.0 { 0.0 } else { f64::NEG_INFINITY };
        Self {
            from: chart.from,
            to: chart.to.max(chart.from + 1),
            low: (((low - room) / step).floor() * step).max(floor),
            high: ((high + room) / step).ceil() * step,
            step,
            width: f64::from(chart.width),
        }
    }

    fn x(&self, at: i64) -> f64 {
        let share = (at - self.from) as f64 / (self.to - self.from) as f64;
        LEFT + share * (self.width - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        TOP + (self.high - value) / (self.high - self.low) * (HEIGHT - TOP - BOTTOM)
    }

    fn right(&self) -> f64 {
        self.width - RIGHT
    }
}

/// 1, 2 or 5 times a power of ten, not below `rough`.
fn nice_step(rough: f64) -> f64 {
    let power = 10f64.powf(rough.max(1e-9).log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= rough)
        .unwrap_or(10.0 * power)
}

/// Spans inside the picture for which there is no number: those told, and those after a reading without one.
pub(crate) fn gaps(chart: &Chart<'_>) -> Vec<(i64, i64)> {
    let missing = chart.samples.iter().enumerate().filter(|(_, sample)| sample.seen == Seen::Missing).map(
        |(i, sample)| {
            // Until the next reading says otherwise there is no number.
            (sample.at, chart.samples.get(i + 1).map_or(chart.to, |later| later.at))
        },
    );
    let mut spans: Vec<(i64, i64)> = chart.gaps.iter().copied().chain(missing).collect();
    spans.sort_unstable();
    let mut merged: Vec<(i64, i64)> = Vec::with_capacity(spans.len());
    for (from, to) in spans {
        let (from, to) = (from.clamp(chart.from, chart.to), to.clamp(chart.from, chart.to));
        match merged.last_mut() {
            _ if to <= from => {}
            Some(last) if last.1 >= from => last.1 = last.1.max(to),
            Some(_) | None => merged.push((from, to)),
        }
    }
    merged
}

/// Readings that one stroke may join. The last value holds until `end`, never into a gap.
struct Run {
    points: Vec<(i64, f64)>,
    end: i64,
}

fn runs(chart: &Chart<'_>, gaps: &[(i64, i64)]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut gaps = gaps.iter().peekable();
    let mut open = false;
    for sample in chart.samples {
        // A gap that begins before this reading ends the stroke where the gap begins.
        while let Some((from, _)) = gaps.next_if(|(from, _)| *from < sample.at) {
            if let (true, Some(run)) = (open, runs.last_mut()) {
                run.end = *from;
            }
            open = false;
        }
        let Some(value) = sample.seen.number().filter(|value| value.is_finite()) else {
            if let (true, Some(run)) = (open, runs.last_mut()) {
                run.end = sample.at;
            }
            open = false;
            continue;
        };
        match runs.last_mut() {
            Some(run) if open => run.points.push((sample.at, value)),
            Some(_) | None => runs.push(Run { points: vec![(sample.at, value)], end: sample.at }),
        }
        open = true;
    }
    if let (true, Some(run)) = (open, runs.last_mut()) {
        run.end = gaps.next().map_or(chart.to, |(from, _)| *from);
    }
    runs
}

/// Keeps first, lowest, highest and last of each column of the picture, in time order: no peak disappears.
fn thin(run: &[(i64, f64)], frame: &Frame) -> Vec<(i64, f64)> {
    let columns = (frame.right() - LEFT).max(1.0) as usize;
    if run.len() <= columns * 2 {
        return run.to_vec();
    }
    let mut kept: Vec<(i64, f64)> = Vec::with_capacity(columns * 4);
    let mut rest = run;
    while let Some(first) = rest.first() {
        let column = frame.x(first.0) as i64;
        let length = rest.iter().position(|(at, _)| frame.x(*at) as i64 != column).unwrap_or(rest.len());
        let (here, later) = rest.split_at(length);
        let extreme = |better: fn(f64, f64) -> bool| {
            (1..length).fold(0, |best, i| if better(here[i].1, here[best].1) { i } else { best })
        };
        let mut indexes = [0, extreme(|a, b| a < b), extreme(|a, b| a > b), length - 1];
        indexes.sort_unstable();
        let mut before = None;
        for index in indexes {
            if before != Some(index) {
                kept.push(here[index]);
            }
            before = Some(index);
        }
        rest = later;
    }
    kept
}

fn describe(chart: &Chart<'_>, texts: &Texts, gaps: usize) -> String {
    let numbers: Vec<f64> = chart.samples.iter().filter_map(|sample| sample.seen.number()).collect();
    let low = numbers.iter().copied().fold(f64::INFINITY, f64::min);
    let high = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let from = short_time(chart.from, chart.zone, chart.lang);
    let to = short_time(chart.to, chart.zone, chart.lang);
    if numbers.is_empty() {
        return fill(&texts.chart_desc_empty, &[("from", &from), ("to", &to)]);
    }
    fill(
        &texts.chart_desc,
        &[
            ("from", &from),
            ("to", &to),
            ("n", &numbers.len().to_string()),
            ("low", &decimal(low)),
            ("high", &decimal(high)),
            ("unit", chart.unit),
            ("gaps", &gaps.to_string()),
        ],
    )
}

fn definitions(svg: &mut String, chart: &Chart<'_>, frame: &Frame) {
    let id = escape(chart.id);
    put(
        svg,
        format_args!(
            "<defs><pattern id=\"{id}-gap\" width=\"7\" height=\"7\" patternUnits=\"userSpaceOnUse\" \
         patternTransform=\"rotate(45)\"><rect width=\"7\" height=\"7\" fill=\"#eceef0\"/>\
         <rect width=\"1\" height=\"7\" fill=\"#c3c9cf\"/></pattern>\
         <clipPath id=\"{id}-plot\"><rect x=\"{LEFT}\" y=\"{TOP}\" width=\"{w:.1}\" height=\"{h:.1}\"/></clipPath>",
            w = frame.right() - LEFT,
            h = HEIGHT - TOP - BOTTOM,
        ),
    );
    if let Some(Limit { value, beyond: Some(beyond) }) = chart.limit {
        let y = frame.y(value);
        let (top, bottom) = match beyond {
            Beyond::Above => (TOP, y),
            Beyond::Below => (y, HEIGHT - BOTTOM),
        };
        put(
            svg,
            format_args!(
                "<clipPath id=\"{id}-beyond\"><rect x=\"{LEFT}\" y=\"{top:.1}\" width=\"{w:.1}\" height=\"{h:.1}\"/></clipPath>",
                w = frame.right() - LEFT,
                h = (bottom - top).max(0.0),
            ),
        );
    }
    svg.push_str("</defs>");
}

fn shaded_spans(svg: &mut String, chart: &Chart<'_>, frame: &Frame) {
    for span in chart.spans {
        let (from, to) = (span.from.clamp(frame.from, frame.to), span.to.clamp(frame.from, frame.to));
        if to <= from {
            continue;
        }
        let (x, end) = (frame.x(from), frame.x(to));
        put(
            svg,
            format_args!(
                "<g data-span=\"1\"><rect x=\"{x:.1}\" y=\"{TOP}\" width=\"{w:.1}\" height=\"{h:.1}\" fill=\"#d7dee6\" \
             fill-opacity=\"0.55\"/></g>",
                w = end - x,
                h = HEIGHT - TOP - BOTTOM,
            ),
        );
    }
}

/// Over everything else, so that no shading hides a word.
fn span_labels(svg: &mut String, chart: &Chart<'_>, frame: &Frame) {
    for span in chart.spans {
        if span.to <= frame.from || span.from >= frame.to {
            continue;
        }
        put(
            svg,
            format_args!(
                "<text x=\"{x:.1}\" y=\"{y:.1}\" fill=\"{FAINT}\" font-size=\"11\" stroke=\"#e6eaee\" stroke-width=\"3\" \
             paint-order=\"stroke\">{label}</text>",
                x = frame.x(span.from.max(frame.from)) + 6.0,
                y = HEIGHT - BOTTOM - 7.0,
                label = escape(&span.label),
            ),
        );
    }
}

fn gap_areas(svg: &mut String, chart: &Chart<'_>, frame: &Frame, gaps: &[(i64, i64)], texts: &Texts) {
    let (top, height) = (TOP, HEIGHT - TOP - BOTTOM);
    for (from, to) in gaps {
        let (x, end) = (frame.x(*from), frame.x(*to));
        put(
            svg,
            format_args!(
                "<g data-gap=\"1\"><rect x=\"{x:.1}\" y=\"{top}\" width=\"{w:.1}\" height=\"{height:.1}\" \
             fill=\"url(#{id}-gap)\"/>",
                w = (end - x).max(1.0),
                id = escape(chart.id),
            ),
        );
        if end - x >= GAP_LABEL_PX {
            put(
                svg,
                format_args!(
                    "<text x=\"{cx:.1}\" y=\"{cy:.1}\" text-anchor=\"middle\" fill=\"{FAINT}\" font-size=\"11\" \
                 stroke=\"#f6f7f8\" stroke-width=\"4\" paint-order=\"stroke\">{word} {span}</text>",
                    cx = f64::midpoint(x, end),
                    cy = top + height / 2.0,
                    word = escape(&texts.data_gap),
                    span = escape(&duration_short(to - from, chart.lang)),
                ),
            );
        }
        svg.push_str("</g>");
    }
    // Readings in doubt: a quiet band behind the curve, up to the next reading.
    for (i, sample) in chart.samples.iter().enumerate() {
        if !matches!(sample.seen, Seen::Doubtful(_)) {
            continue;
        }
        let next = chart.samples.get(i + 1).map_or(chart.to, |later| later.at);
        let (from, to) = (sample.at.clamp(frame.from, frame.to), next.clamp(frame.from, frame.to));
        put(
            svg,
            format_args!(
                "<rect data-doubt=\"1\" x=\"{x:.1}\" y=\"{top}\" width=\"{w:.1}\" height=\"{height:.1}\" fill=\"#e3e0d6\"/>",
                x = frame.x(from),
                w = (frame.x(to) - frame.x(from)).max(1.0),
            ),
        );
    }
}

fn y_axis(svg: &mut String, chart: &Chart<'_>, frame: &Frame) {
    let right = frame.right();
    if let Some((yes, no)) = chart.truth {
        for (value, word) in [(1.0, yes), (0.0, no)] {
            let y = frame.y(value);
            put(
                svg,
                format_args!(
                    "<line x1=\"{LEFT}\" x2=\"{right:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"{GRID}\"/><text x=\"{tx}\" \
                 y=\"{ty:.1}\" text-anchor=\"end\" fill=\"{FAINT}\">{word}</text>",
                    tx = LEFT - 8.0,
                    ty = y + 4.0,
                    word = escape(word),
                ),
            );
        }
        return;
    }
    let count = ((frame.high - frame.low) / frame.step).round() as i64;
    for i in 0..=count {
        let value = frame.low + i as f64 * frame.step;
        let y = frame.y(value);
        put(
            svg,
            format_args!(
                "<line x1=\"{LEFT}\" x2=\"{right:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"{GRID}\"/><text data-tick=\"y\" \
             x=\"{tx}\" y=\"{ty:.1}\" text-anchor=\"end\" fill=\"{FAINT}\">{label}</text>",
                tx = LEFT - 8.0,
                ty = y + 4.0,
                label = decimal(value),
            ),
        );
    }
    put(
        svg,
        format_args!(
            "<text x=\"{tx}\" y=\"{ty}\" text-anchor=\"end\" fill=\"{FAINT}\">{unit}</text>",
            tx = LEFT - 8.0,
            ty = TOP - 16.0,
            unit = escape(chart.unit)
        ),
    );
}

fn x_axis(svg: &mut String, chart: &Chart<'_>, frame: &Frame) {
    const MINUTE: i64 = 60_000;
    const STEPS: [i64; 14] = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 10_080];
    let span = frame.to - frame.from;
    let ticks_max = (((frame.right() - LEFT) / 90.0) as i64).max(2);
    let step =
        STEPS.iter().map(|minutes| minutes * MINUTE).find(|step| span / step <= ticks_max).unwrap_or(span);
    let base = HEIGHT - BOTTOM;
    put(
        svg,
        format_args!(
            "<line x1=\"{LEFT}\" x2=\"{r:.1}\" y1=\"{base}\" y2=\"{base}\" stroke=\"#9aa4ad\"/>",
            r = frame.right()
        ),
    );
    let local = |at: i64| at + chart.zone.offset_ms();
    let mut at = (local(frame.from).div_euclid(step) + 1) * step - chart.zone.offset_ms();
    let mut day = None;
    while at <= frame.to {
        let x = frame.x(at);
        let today = local(at).div_euclid(24 * 60 * MINUTE);
        put(
            svg,
            format_args!(
                "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{base}\" y2=\"{end}\" stroke=\"#9aa4ad\"/><text data-tick=\"x\" \
             x=\"{x:.1}\" y=\"{ty}\" text-anchor=\"middle\" fill=\"{FAINT}\">{label}</text>",
                end = base + 5.0,
                ty = base + 18.0,
                label = escape(&chart.zone.clock(at)),
            ),
        );
        if day != Some(today) {
            put(
                svg,
                format_args!(
                    "<text x=\"{x:.1}\" y=\"{ty}\" text-anchor=\"middle\" fill=\"{FAINT}\" font-size=\"11\">{label}</text>",
                    ty = base + 32.0,
                    label = escape(&chart.zone.day(at, chart.lang)),
                ),
            );
            day = Some(today);
        }
        at += step;
    }
}

fn limit_line(svg: &mut String, chart: &Chart<'_>, frame: &Frame, texts: &Texts) {
    let Some(limit) = chart.limit else { return };
    let y = frame.y(limit.value);
    put(
        svg,
        format_args!(
            "<g data-limit=\"{value}\"><line x1=\"{LEFT}\" x2=\"{right:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"{ABNORMAL}\" \
         stroke-width=\"1.25\" stroke-dasharray=\"6 4\"/><text x=\"{right:.1}\" y=\"{ty:.1}\" text-anchor=\"end\" \
         fill=\"{ABNORMAL}\" stroke=\"#f6f7f8\" stroke-width=\"3\" paint-order=\"stroke\">{word} {value} {unit}</text></g>",
            value = decimal(limit.value),
            right = frame.right(),
            ty = y - 6.0,
            word = escape(&texts.limit),
            unit = escape(chart.unit),
        ),
    );
}

fn curve(svg: &mut String, chart: &Chart<'_>, frame: &Frame, gaps: &[(i64, i64)]) {
    let mut path = String::new();
    for run in runs(chart, gaps) {
        let mut begun = false;
        for (at, value) in thin(&run.points, frame) {
            let (x, y) = (frame.x(at), frame.y(value));
            if begun {
                put(&mut path, format_args!("H{x:.1}V{y:.1}"));
            } else {
                put(&mut path, format_args!("M{x:.1} {y:.1}"));
            }
            begun = true;
        }
        // A single reading just before a gap would have no length: two units keep it visible.
        let (from, end) = (run.points.last().map_or(run.end, |point| point.0), frame.x(run.end));
        put(&mut path, format_args!("H{:.1}", end.max(frame.x(from) + 2.0)));
    }
    let id = escape(chart.id);
    put(
        svg,
        format_args!(
            "<g clip-path=\"url(#{id}-plot)\" fill=\"none\" stroke-linejoin=\"round\" stroke-linecap=\"round\">\
         <path data-curve=\"1\" d=\"{path}\" stroke=\"{INK}\" stroke-width=\"1.75\"/></g>",
        ),
    );
    if matches!(chart.limit, Some(Limit { beyond: Some(_), .. })) {
        put(
            svg,
            format_args!(
                "<g clip-path=\"url(#{id}-beyond)\" fill=\"none\" stroke-linejoin=\"round\"><path data-beyond=\"1\" d=\"{path}\" \
             stroke=\"{ABNORMAL}\" stroke-width=\"2.25\"/></g>",
            ),
        );
    }
}

fn marks(svg: &mut String, chart: &Chart<'_>, frame: &Frame) {
    // Labels that would lie over one another go up and down in turn.
    let mut taken: [f64; 2] = [f64::NEG_INFINITY; 2];
    for mark in chart.marks {
        if mark.at < frame.from || mark.at > frame.to {
            continue;
        }
        let x = frame.x(mark.at);
        let width = text_width(&mark.label);
        let left = (x - width / 2.0).clamp(LEFT, (frame.right() - width).max(LEFT));
        let row = usize::from(left < taken[0] + 6.0);
        taken[row] = left + width;
        let y = TOP - 6.0 - 13.0 * row as f64;
        put(
            svg,
            format_args!(
                "<g data-mark=\"1\"><line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{base}\" stroke=\"{INK}\" stroke-dasharray=\"2 3\"/>\
             <path d=\"M{x:.1} {tip:.1}l-4 -6h8z\" fill=\"{INK}\"/><text x=\"{left:.1}\" y=\"{ly:.1}\" fill=\"{INK}\">{label}</text></g>",
                base = HEIGHT - BOTTOM,
                tip = TOP + 6.0,
                ly = y,
                label = escape(&mark.label),
            ),
        );
    }
}

/// Rough width of a label at 12 px: Chinese characters are square, others about half.
fn text_width(text: &str) -> f64 {
    text.chars().map(|c| if c.is_ascii() { 6.8 } else { 12.0 }).sum()
}

/// Text for an XML attribute or element.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

fn put(out: &mut String, what: std::fmt::Arguments<'_>) {
    // A String's writer has no error to give.
    out.write_fmt(what).expect("a String takes everything");
}

#[cfg(test)]
mod tests;
