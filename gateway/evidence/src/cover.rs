//! What people read first: a cover in plain language (Chinese and English) and an HTML report with all charts that
//! needs no program.

use std::fmt::Write as _;

use gateway_model::{CivilTime, EngineTime, Text};
use gateway_wire::hex;

use crate::bundle::Contents;
use crate::chart;
use crate::dates::local;
use crate::story::{Story, Told};

/// Language of a cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lang {
    Zh,
    En,
}

/// One of the two covers.
pub(crate) fn text(story: &Story, contents: &Contents<'_>, lang: Lang) -> String {
    let mut out = String::new();
    let mut line = |text: String| {
        out.push_str(&text);
        out.push('\n');
    };
    let pick = |zh: &str, en: &str| match lang {
        Lang::Zh => zh.to_owned(),
        Lang::En => en.to_owned(),
    };
    line(pick("监测证据包", "Evidence bundle"));
    line(String::new());
    for (name, value) in facts(story, contents, lang) {
        line(format!("{name}: {value}"));
    }
    if story.simulated {
        line(pick(
            "注意：本记录在演示时钟下产生，不得作为证据。",
            "Note: made under the demo clock. This is no evidence.",
        ));
    }
    line(String::new());
    line(pick("期间发生的事项", "What happened"));
    for told in &story.told {
        line(format!("  {}", sentence(story, told, lang)));
    }
    if story.told.is_empty() {
        line(pick("  无。", "  Nothing."));
    }
    if story.more > 0 {
        line(pick(&format!("  另有 {} 项。", story.more), &format!("  And {} more.", story.more)));
    }
    line(String::new());
    line(pick("如何核验", "How to check it"));
    line(pick(
        "  在任何一台电脑上(无需联网)运行:gateway verify 本文件 --policy trust.toml\n  \
         trust.toml 写明信任哪个监管中心或网关的密钥;模板由 gateway verify --policy-template 输出。\n  \
         格式见 docs/records.md,他人可据此自行编写核验程序。report.html 可用任何浏览器打开,内含全部曲线。",
        "  On any computer, without a network: gateway verify FILE --policy trust.toml\n  \
         trust.toml says whose keys you believe; gateway verify --policy-template prints one to fill in.\n  \
         docs/records.md describes the format, so that anybody can write another verifier. Any browser opens report.html.",
    ));
    line(String::new());
    line(pick("证明什么，不证明什么", "What it proves and what it does not"));
    line(pick(
        "  能证明:记录由所示网关签名,先后次序未变,没有缺失,各项结论可由原始数据重新算出。\n  \
         不能证明:传感器未被人为旁路,也不能证明所示地点就是实际测量地点。",
        "  It proves that the records were signed by the gateway shown, in this order, without a hole, and that every\n  \
         conclusion follows from the raw data. It does not prove that no sensor was bypassed, nor that the place shown is\n  \
         the place measured.",
    ));
    out
}

fn facts(story: &Story, contents: &Contents<'_>, lang: Lang) -> Vec<(&'static str, String)> {
    let name = |zh: &'static str, en: &'static str| if lang == Lang::Zh { zh } else { en };
    let (from, to) = ends(story);
    let mut facts = vec![
        (name("单位", "Institution"), story.institution.clone()),
        (name("场所", "Site"), story.site.clone()),
        (name("网关", "Gateway"), contents.ring.gateway().to_string()),
        (name("网关公钥", "Gateway key"), hex(&contents.ring.current().to_bytes())),
        (name("时间段", "Span"), format!("{from} – {to}")),
        (name("记录", "Records"), story.records.to_string()),
        (name("读数", "Readings"), story.readings.to_string()),
        (name("制作程序", "Made with"), contents.software.to_owned()),
    ];
    if let Some(case) = &contents.case {
        facts.push((name("事项编号", "Case"), case.id.to_string()));
    }
    facts
}

fn ends(story: &Story) -> (String, String) {
    let civil = |at: EngineTime| when(story, at.civil(story.offset_ms).0);
    (civil(story.window.0), civil(story.window.1))
}

/// Civil time at the site.
fn when(story: &Story, civil: i64) -> String {
    local(CivilTime(civil), story.utc_offset_min)
}

fn sentence(story: &Story, told: &Told, lang: Lang) -> String {
    let pick = |text: &Text| if lang == Lang::Zh { text.zh.clone() } else { text.en.clone() };
    let mut sentence = format!("{}  {}  {}", when(story, told.at), pick(&told.title), pick(&told.what));
    let mut number = |zh: &str, en: &str, value: f64, unit: &str| {
        let name = if lang == Lang::Zh { zh } else { en };
        // Writing to a String cannot fail.
        write!(sentence, "  {name} {value:.2} {unit}").unwrap_or_default();
    };
    if let Some((value, unit)) = told.value {
        number("数值", "value", value, unit);
        if let Some(limit) = told.limit {
            number("限值", "limit", limit, unit);
        }
    }
    sentence
}

/// The report: facts, what happened, and every curve.
pub(crate) fn html(story: &Story, contents: &Contents<'_>) -> String {
    let mut out = String::from(
        "<!DOCTYPE html>\n<html lang=\"zh\"><head><meta charset=\"utf-8\"><title>监测证据包 · Evidence bundle</title><style>\
         body{font-family:sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#1f2933}\
         table{border-collapse:collapse;width:100%}td,th{border-bottom:1px solid #dde1e4;padding:.3em .6em;text-align:left;vertical-align:top}\
         h2{margin-top:2em}.note{color:#c4162a}</style></head><body><h1>监测证据包 · Evidence bundle</h1>\n",
    );
    if story.simulated {
        out.push_str(
            "<p class=\"note\">演示时钟下产生，不得作为证据 · Made under the demo clock: no evidence</p>",
        );
    }
    out.push_str("<table>");
    for ((zh, value), (en, _)) in
        facts(story, contents, Lang::Zh).into_iter().zip(facts(story, contents, Lang::En))
    {
        write!(out, "<tr><th>{zh} · {en}</th><td>{}</td></tr>", escape(&value)).unwrap_or_default();
    }
    out.push_str("</table>\n<h2>期间发生的事项 · What happened</h2><ul>");
    for told in &story.told {
        let (zh, en) = (sentence(story, told, Lang::Zh), sentence(story, told, Lang::En));
        write!(out, "<li>{}<br><small>{}</small></li>", escape(&zh), escape(&en)).unwrap_or_default();
    }
    if story.more > 0 {
        write!(out, "<li>+ {}</li>", story.more).unwrap_or_default();
    }
    out.push_str("</ul>\n<h2>曲线 · Curves</h2>\n");
    let (from, to) = ends(story);
    for (id, curve) in &story.curves {
        let title = format!("{} · {} ({id})", curve.name.zh, curve.name.en);
        let unit = if curve.unit == "1" { String::new() } else { format!(", {}", curve.unit) };
        writeln!(out, "<h3>{}{}</h3>{}", escape(&title), escape(&unit), chart::svg(curve, (&from, &to)))
            .unwrap_or_default();
    }
    if story.uncharted > 0 {
        let n = story.uncharted;
        let zh = format!("另有{n}个测点未绘曲线，其读数在记录中。");
        let en = format!("{n} more points have no curve here; their readings are in the records.");
        writeln!(out, "<p>{zh}<br><small>{en}</small></p>").unwrap_or_default();
    }
    let covers = [Lang::Zh, Lang::En].map(|lang| escape(&text(story, contents, lang)));
    let closing = covers.map(|cover| format!("<pre style=\"white-space:pre-wrap\">{cover}</pre>")).concat();
    writeln!(out, "<h2>说明 · Notes</h2>{closing}</body></html>").unwrap_or_default();
    out
}

pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
