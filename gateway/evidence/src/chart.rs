//! One point's curve as SVG, for the report that needs no program: no script, no style sheet, no link.
//!
//! Alerts that stood are shaded behind the line. A span without a good value is left empty and never bridged; doubtful values are a grey mark at the bottom.

use std::fmt::Write as _;

use crate::cover::escape;
use crate::story::{COLUMNS, Curve};

const HEIGHT: f64 = 180.0;
const LEFT: f64 = 64.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 26.0;

/// Draws it; `ends` are the words at both ends of the time axis.
pub(crate) fn svg(curve: &Curve, ends: (&str, &str)) -> String {
    let values = curve.columns.iter().filter_map(|column| column.span);
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for (a, b) in values.chain(curve.limits.iter().map(|limit| (*limit, *limit))) {
        (low, high) = (low.min(a), high.max(b));
    }
    if low > high {
        (low, high) = (0.0, 1.0);
    }
    let room = ((high - low) * 0.1).max(0.5);
    let (low, high) = (low - room, high + room);
    let width = LEFT + COLUMNS as f64 + 8.0;
    let y = |value: f64| TOP + (high - value) / (high - low) * (HEIGHT - TOP - BOTTOM);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {HEIGHT}\" width=\"100%\" role=\"img\" font-size=\"11\" \
         font-family=\"sans-serif\"><rect x=\"{LEFT}\" y=\"{TOP}\" width=\"{COLUMNS}\" height=\"{}\" fill=\"none\" stroke=\"#c3c9ce\"/>",
        HEIGHT - TOP - BOTTOM
    );
    // Writing to a String cannot fail.
    let mut put = |text: std::fmt::Arguments<'_>| svg.write_fmt(text).unwrap_or_default();
    for (from, to, title) in &curve.stood {
        let x = LEFT + from * COLUMNS as f64;
        put(format_args!(
            "<rect x=\"{x:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{}\" fill=\"#c4162a\" fill-opacity=\"0.12\"/>\
             <path d=\"M{x:.1} {TOP}v{}\" stroke=\"#c4162a\"><title>{title}</title></path>",
            ((to - from) * COLUMNS as f64).max(1.0),
            HEIGHT - TOP - BOTTOM,
            HEIGHT - TOP - BOTTOM,
            title = escape(title)
        ));
    }
    for value in [low, high] {
        put(format_args!(
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#5d6872\">{value:.1}</text>",
            LEFT - 6.0,
            y(value) + 4.0
        ));
    }
    for limit in &curve.limits {
        put(format_args!(
            "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#c4162a\" stroke-dasharray=\"5 3\"/>\
             <text x=\"{}\" y=\"{y:.1}\" text-anchor=\"end\" fill=\"#c4162a\">{limit}</text>",
            LEFT + COLUMNS as f64,
            LEFT - 6.0,
            y = y(*limit)
        ));
    }
    let path = path(curve, y);
    put(format_args!("<path d=\"{path}\" fill=\"none\" stroke=\"#3a4754\" stroke-width=\"1.3\"/>"));
    for (place, _) in curve.columns.iter().enumerate().filter(|(_, column)| column.doubt) {
        put(format_args!(
            "<rect x=\"{}\" y=\"{}\" width=\"1\" height=\"5\" fill=\"#9aa3ab\"/>",
            LEFT + place as f64,
            HEIGHT - BOTTOM - 5.0
        ));
    }
    let (from, to) = ends;
    put(format_args!(
        "<text x=\"{LEFT}\" y=\"{base}\" fill=\"#5d6872\">{from}</text>\
         <text x=\"{}\" y=\"{base}\" text-anchor=\"end\" fill=\"#5d6872\">{to}</text></svg>",
        LEFT + COLUMNS as f64,
        base = HEIGHT - 8.0
    ));
    svg
}

fn path(curve: &Curve, y: impl Fn(f64) -> f64) -> String {
    let mut path = String::new();
    let mut last: Option<usize> = None;
    for (place, column) in curve.columns.iter().enumerate() {
        let Some((low, high)) = column.span else {
            // What cannot be believed ends the line.
            if column.doubt {
                last = None;
            }
            continue;
        };
        let pen = if last.is_some_and(|last| place - last <= curve.bridge) { 'L' } else { 'M' };
        let x = LEFT + place as f64 + 0.5;
        // Writing to a String cannot fail.
        write!(path, "{pen}{x:.1} {:.1}L{x:.1} {:.1}", y(low), y(high)).unwrap_or_default();
        last = Some(place);
    }
    path
}
