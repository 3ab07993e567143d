//! What `watch` shows: a running simulator's devices as text, and what changed between two looks.
//!
//! Both are plain functions of what the control port's `GET /devices` says.

use std::fmt::Write as _;

use serde_json::Value;

use crate::civil::Civil;

/// Width of a column of names.
const NAME: usize = 24;

/// Everything as lines, at most `height` of them and each at most `width` characters; what does not fit is counted in the last.
#[must_use]
pub fn screen(live: &Value, utc_offset_min: i32, width: usize, height: usize) -> String {
    let mut lines = Vec::new();
    let now = Civil(live["civil"].as_i64().unwrap_or(0));
    lines.push(format!("{}   {} fault(s) on", now.rfc3339(utc_offset_min), list(&live["faults"]).len()));
    for device in list(&live["devices"]) {
        lines.push(format!("{} ({})", text(&device["id"]), text(&device["kind"])));
        for (quantity, signal) in device["signals"].as_object().into_iter().flatten() {
            lines.push(format!("  {quantity:<NAME$} {}", shown(signal)));
        }
    }
    for fault in list(&live["faults"]) {
        lines.push(format!("! {:<NAME$} {}", text(&fault["target"]), text(&fault["fault"])));
    }
    let all = lines.len();
    if all > height && height > 0 {
        lines.truncate(height - 1);
        lines.push(format!("… {} more line(s)", all + 1 - height));
    }
    lines.iter().fold(String::new(), |mut screen, line| {
        screen.extend(line.chars().take(width));
        screen.push('\n');
        screen
    })
}

/// A line for each signal that shows another value and each fault that began or ended, with the moment of the later look.
#[must_use]
pub fn changes(before: &Value, after: &Value, utc_offset_min: i32) -> String {
    let now = Civil(after["civil"].as_i64().unwrap_or(0)).rfc3339(utc_offset_min);
    let mut out = String::new();
    let mut line = |what: String| writeln!(out, "{now} {what}").expect("writing to a string cannot fail");
    for device in list(&after["devices"]) {
        let id = text(&device["id"]);
        let was = list(&before["devices"]).iter().find(|other| other["id"] == device["id"]);
        for (quantity, signal) in device["signals"].as_object().into_iter().flatten() {
            let is = shown(signal);
            if was.is_none_or(|was| shown(&was["signals"][quantity]) != is) {
                line(format!("{id}/{quantity} {is}"));
            }
        }
    }
    let missing_in = |these: &Value, those: &Value| -> Vec<String> {
        let gone = list(these).iter().filter(|fault| !list(those).contains(fault));
        gone.map(|fault| format!("{} {}", text(&fault["target"]), text(&fault["fault"]))).collect()
    };
    for fault in missing_in(&after["faults"], &before["faults"]) {
        line(format!("! {fault} on"));
    }
    for fault in missing_in(&before["faults"], &after["faults"]) {
        line(format!("! {fault} off"));
    }
    out
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

/// The value as an instrument shows it, its unit, and whether a person holds it.
fn shown(signal: &Value) -> String {
    let value = match signal["shown"].as_f64() {
        Some(number) => format!("{number:.2}"),
        None => text(&signal["shown"]).to_owned(),
    };
    let held = if signal["held"] == true { " (held)" } else { "" };
    format!("{value} {}{held}", text(&signal["unit"]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn live(civil: i64, shown: &Value, faults: &Value) -> Value {
        json!({
            "civil": civil,
            "devices": [{"id": "fridge-1", "kind": "fridge", "signals": {
                "temperature": {"shown": shown, "unit": "°C", "held": false},
                "door": {"shown": 0.0, "unit": "", "held": true},
            }}],
            "faults": faults,
        })
    }

    #[test]
    fn a_screen_that_fits() {
        let live = live(1_795_311_000_000, &json!(5.25), &json!([{"target": "steam/1", "fault": "silent"}]));
        let all = screen(&live, 480, 40, 10);
        assert_eq!(
            all,
            "2026-11-22T09:30:00+08:00   1 fault(s) on\n"[..40].to_owned()
                + "\nfridge-1 (fridge)\n  door                     0.00  (held)\n  temperature              5.25 °C\n! steam/1                  silent\n"
        );
        let cut = screen(&live, 480, 80, 3);
        assert_eq!(cut.lines().count(), 3);
        assert!(cut.ends_with("… 3 more line(s)\n"), "{cut}");
    }

    #[test]
    fn only_what_changed() {
        let fault = json!([{"target": "steam/1", "fault": "silent"}]);
        let before = live(0, &json!(5.25), &fault);
        let after = live(1000, &json!("open"), &json!([]));
        assert_eq!(
            changes(&before, &after, 0),
            "1970-01-01T00:00:01+00:00 fridge-1/temperature open °C\n1970-01-01T00:00:01+00:00 ! steam/1 silent off\n"
        );
        assert_eq!(changes(&after, &after, 0), "");
        assert_eq!(changes(&Value::Null, &after, 0).lines().count(), 2, "the first look shows all");
    }
}
