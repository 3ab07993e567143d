//! What `gateway once` prints.

use std::fmt::Write as _;

use gateway_engine::intake::Answer;

use crate::config::Site;
use crate::recorder::Answers;

pub(super) fn answers(site: &Site, answers: &Answers, json: bool) -> anyhow::Result<String> {
    let mut text = String::new();
    for (ix, answer) in &answers.items {
        let point = &site.plan.points[ix.slot()];
        let (value, problem) = match answer {
            Answer::Raw(raw) | Answer::Held(raw) => (raw.value(point.gain, point.offset), None),
            Answer::Failed(cause) => (None, Some(format!("{cause:?}"))),
        };
        if json {
            let line = serde_json::json!({
                "point": point.id, "value": value, "unit": point.unit.symbol(), "problem": problem,
            });
            text.push_str(&serde_json::to_string(&line)?);
            text.push('\n');
        } else {
            let shown =
                value.map_or_else(|| problem.unwrap_or_default(), |v| format!("{v} {}", point.unit.symbol()));
            // Writing into a String cannot fail.
            let _written = writeln!(text, "{:<40} {shown}", point.id);
        }
    }
    Ok(text)
}
