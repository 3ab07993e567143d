//! The gallery: a picture of every embedded scenario and a page that names them.

use std::fmt::Write as _;

use super::picture;
use crate::civil::DAY_S;
use crate::scenario::expect::{CaseOf, Check, Within};
use crate::scenario::{EMBEDDED, LoadError, Scenario};

/// The page, under the folder of the documents.
pub const PAGE: &str = "gallery.md";

/// Every file of the gallery: path under the folder of the documents, and content.
pub fn files() -> Result<Vec<(String, String)>, LoadError> {
    let mut page = String::from(
        "# 场景图集 · Gallery of scenarios\n\n\
         由 `firmware-sim gallery docs` 生成，请勿手改；测试会比较。 Written by `firmware-sim gallery docs`, compared by a test; not \
         edited by hand.\n\n\
         蓝线是仪表显示的值，灰线是真实值（两者不同时）；橙色是安排的故障，棕色是开门，红色三角是正确的网关应当报的时刻，红线到它消除为止，虚线框是\
         规则还看不到的。 Blue is what the instrument shows, grey the truth where they differ; orange what is planted, brown an open \
         door, a red triangle the time at which a correct gateway raises an alert, the red line lasts until it is over, a dashed \
         box is what rules do not see yet.\n",
    );
    let mut files = Vec::new();
    for (name, _) in EMBEDDED {
        let scenario = Scenario::load(name, None)?;
        let picture = picture(&scenario);
        describe(&mut page, &scenario);
        files.push((format!("gallery/{name}.svg"), picture));
    }
    files.push((PAGE.to_owned(), page));
    Ok(files)
}

fn describe(page: &mut String, scenario: &Scenario) {
    let mut put = |text: String| writeln!(page, "{text}").expect("a text can be written to");
    put(format!("\n## {} · {}\n", scenario.title.zh, scenario.title.en));
    if let Some(about) = &scenario.about {
        put(format!("{}\n\n{}\n", about.zh, about.en));
    }
    let name = &scenario.name;
    put(format!("![{name}](gallery/{name}.svg)\n\n`firmware-sim run {name}`"));
    for sentence in expected(&scenario.check) {
        put(sentence);
    }
}

fn expected(check: &Check) -> Vec<String> {
    let mut said = Vec::new();
    if !check.expects.is_empty() {
        said.push(
            "\n| 设备 device | 规则 rule | 发生 raised | 消除 over | 案件 case |\n|---|---|---|---|---|"
                .to_owned(),
        );
    }
    for expect in &check.expects {
        let over = expect.cleared.map_or("未消除 active".to_owned(), between);
        let case = match expect.case {
            CaseOf::Opens => "新立 opens",
            CaseOf::Joins => "并入 joins",
        };
        let raised = between(expect.raised);
        said.push(format!("| {} | `{}` | {raised} | {over} | {case} |", expect.device, expect.rule));
    }
    if !check.not_yet.is_empty() {
        said.push("\n还看不到 not seen yet:\n".to_owned());
    }
    for not_yet in &check.not_yet {
        let (device, rule, note) = (&not_yet.device, &not_yet.rule, &not_yet.note);
        said.push(format!("- {device} `{rule}`: {} · {}", note.zh, note.en));
    }
    said
}

fn between(span: Within) -> String {
    let clock = |second: i64| format!("{:02}:{:02}", second.rem_euclid(DAY_S) / 3600, second / 60 % 60);
    format!("{}d {}–{}", span.from.div_euclid(DAY_S), clock(span.from), clock(span.to))
}
