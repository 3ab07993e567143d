//! Samples of what is told in its own way: the digest of a day, Monday's leads, pauses, and a probe that stands still.

use std::collections::HashMap;

use super::{GATEWAY, HOUR, MINUTE, NOW, alert, detail, draw, gateway, page, point, requests, shell, words};
use crate::pages::case::{CasePage, Typed};
use crate::pages::leads::LeadsPage;
use crate::pages::requests::{PauseForm, pause_form};
use crate::pages::texts::Lang;
use crate::pages::unit::{Asked, UnitCasePage, UnitPage};
use crate::store::leads::Found;
use crate::store::{DigestRow, DutyLine, LeadRow, PointRow, RequestRow};

const DAY: i64 = 24 * HOUR;
/// 2026-11-16T00:00+08:00.
const WEEK: i64 = NOW - 7 * DAY - 10 * HOUR - 20 * MINUTE;

fn duty(code: &str, state: &str, due: Option<i64>, title: (&str, &str), action: (&str, &str)) -> DutyLine {
    DutyLine {
        gateway: GATEWAY.to_owned(),
        device: "sterilizer-1".to_owned(),
        device_name: words("1号灭菌器", "Sterilizer 1"),
        rule: format!("sterilizer/{code}-overdue"),
        duty: code.to_owned(),
        title: words(title.0, title.1),
        action: words(action.0, action.1),
        due_at: due,
        alert: (state == "overdue").then_some(51),
        state: state.to_owned(),
    }
}

fn digest() -> DigestRow {
    let told = ("x", "x");
    DigestRow {
        id: 7,
        institution: "91330102MA27XY1234".to_owned(),
        institution_name: words("西湖云栖酒店", "West Lake Yunqi Hotel"),
        site: "yunqi-hotel".to_owned(),
        day: "2026-11-23".to_owned(),
        at: NOW - 110 * MINUTE,
        lines: vec![
            duty(
                "bowie-dick",
                "overdue",
                Some(NOW - 3 * HOUR),
                told,
                (
                    "请在今天第一锅之前空锅做一次B-D试验并登记结果。",
                    "Run the Bowie-Dick test empty before the first load and enter its result.",
                ),
            ),
            duty(
                "chemical",
                "due",
                Some(NOW + 5 * HOUR),
                told,
                (
                    "请查看今天各锅的化学指示卡，把结果登记上。",
                    "Look at the chemical indicators of today's loads.",
                ),
            ),
            duty(
                "cup-count",
                "overdue",
                None,
                ("杯具没有清点", "Cups not counted"),
                ("请清点杯具。", "Count the cups."),
            ),
            duty("calibration", "done", Some(NOW), told, ("x", "x")),
        ],
    }
}

fn lead(id: i64, state: &str, feed: u16) -> LeadRow {
    let answered = matches!(state, "dismissed" | "case");
    LeadRow {
        id,
        week: WEEK,
        institution: "91330102MA27XY1234".to_owned(),
        institution_name: words("西湖云栖酒店", "West Lake Yunqi Hotel"),
        gateway: GATEWAY.to_owned(),
        rule: "disinfection-cabinet/cups-too-few".to_owned(),
        device: "cabinet-2".to_owned(),
        alert: Some(60 + id),
        feed: Some(feed),
        state: state.to_owned(),
        found: Found {
            site: "yunqi-hotel".to_owned(),
            device_name: words("二楼消毒柜", "Cabinet, 2nd floor"),
            title: words("消毒的杯具比入住房间少", "Fewer cups than occupied rooms"),
            sentence: words(
                "最近7天登记消毒的杯具远少于入住的房间。",
                "In the last 7 days far fewer cups were disinfected than rooms were occupied.",
            ),
            action: words("请核对。", "Check it."),
            norm: words(
                "住宿业卫生规范（2007）：杯具一客一换一消毒（线索，仅供提醒）",
                "Hygiene code for accommodation (2007): cups disinfected after each guest (a lead, for reminder only)",
            ),
            value: Some(0.62),
            limit: Some(1.5),
            unit: Some("1".to_owned()),
            days: 7,
            span: (WEEK, WEEK + 7 * DAY),
            simulated: false,
        },
        answered_by: answered.then(|| "u-1".to_owned()),
        answered_at: answered.then_some(NOW - 12 * MINUTE),
        reason: (state == "dismissed").then(|| "12 / 20".to_owned()),
        case: (state == "case").then_some(22),
    }
}

/// One whose reminders pause, one for which that was asked and refused.
fn pauses(lang: Lang, unit: bool) -> [(&'static str, PauseForm); 3] {
    let ctx = shell(lang, "tasks", unit).ctx;
    let of = |shown: &str, requests: &[RequestRow]| {
        pause_form(&alert(17, "orange", shown, Some(17), HOUR), Some(3 * DAY), requests, ctx)
    };
    let mut granted = requests().remove(4);
    granted.alert = Some(17);
    granted.answer = Some("12345".to_owned());
    let mut refused = requests().remove(3);
    refused.alert = Some(17);
    [
        ("asks", of("unacknowledged", &[])),
        ("granted", of("shelved", &[granted])),
        ("refused", of("unacknowledged", &[refused])),
    ]
}

/// Every page by name.
pub(super) fn pages(lang: Lang) -> Vec<(&'static str, String)> {
    let t = lang.texts();
    let render = |page: &dyn askama::DynTemplate| page.dyn_render().unwrap();
    let leads = [
        lead(1, "listed", 991),
        lead(2, "listed", 950),
        lead(3, "unjudged", 612),
        lead(4, "dismissed", 1_000),
        lead(5, "case", 1_000),
    ];
    let weeks = [WEEK, WEEK - 7 * DAY];
    let show =
        |leads: &[LeadRow]| render(&LeadsPage::new(shell(lang, "leads", false), WEEK, &weeks, leads, true));
    let mut out =
        vec![("leads", show(&leads)), ("leads-empty", show(&leads[2..3])), ("leads-none", show(&[]))];
    let stuck =
        PointRow { quality: "bad".to_owned(), cause: Some("stuck".to_owned()), value: None, ..point() };
    let name = words("西湖云栖酒店", "West Lake Yunqi Hotel").pick(lang.is_english()).to_owned();
    let unit = |duties: &[DigestRow], alerts: &[crate::store::AlertRow]| {
        render(&UnitPage::new(
            shell(lang, "unit", true),
            name.clone(),
            &[],
            alerts,
            &[gateway("live")],
            &[(String::new(), point()), (String::new(), stuck.clone())],
            &Asked { requests: &[], pause_max: HashMap::new(), duties },
        ))
    };
    let mut overdue = alert(51, "yellow", "unacknowledged", None, HOUR);
    "duty".clone_into(&mut overdue.told);
    let mut ratio = alert(52, "blue", "unacknowledged", None, HOUR);
    "lead".clone_into(&mut ratio.told);
    out.push(("unit-duties", unit(&[digest()], &[overdue, ratio])));
    let mut all_done = digest();
    all_done.lines.drain(..3);
    out.push(("unit-duties-done", unit(&[all_done], &[])));
    for (name, pause) in pauses(lang, false) {
        let name = match name {
            "asks" => "case-pause",
            "granted" => "case-paused",
            _ => "case-pause-refused",
        };
        let detail = detail("acknowledged", &["dispatch", "close", "note"]);
        let s = shell(lang, "tasks", false);
        let curve = draw(&detail, "readings", 960, s.ctx);
        out.push((name, render(&CasePage::new(s, &detail, "K", curve, pause, &Typed::default()))));
    }
    for (name, pause) in pauses(lang, true) {
        let name = match name {
            "asks" => "unit-case-pause",
            "granted" => "unit-case-paused",
            _ => "unit-case-pause-refused",
        };
        let detail = detail("rectifying", &["submit", "note"]);
        let s = shell(lang, "unit", true);
        let curve = draw(&detail, "readings", 420, s.ctx);
        out.push((name, render(&UnitCasePage::new(s, &detail, curve, pause, None, ""))));
    }
    out.push(("join", crate::pages::enrol::sample(shell(lang, "gateways", false), t)));
    out
}

#[test]
fn the_days_duties_are_one_card_and_one_thing_to_do() {
    let html = page(Lang::Zh, "unit-duties");
    assert!(html.contains("<h1>有1件事需要您处理</h1>"), "{html}");
    assert_eq!(html.matches("data-digest=").count(), 1);
    assert!(html.contains("今天有3项例行工作要做") && html.contains("08:30汇总"));
    for (duty, state, said) in [
        ("bowie-dick", "overdue", "已超期3小时"),
        ("chemical", "due", "今天15:20前"),
        ("cup-count", "overdue", "已超期"),
        ("calibration", "done", "已完成"),
    ] {
        let line =
            html.split(&format!("data-duty=\"{duty}\"")).nth(1).unwrap().split("</li>").next().unwrap();
        assert!(line.contains(&format!("data-state=\"{state}\"")) && line.contains(said), "{line}");
    }
    assert!(html.contains("1号灭菌器 · B-D试验") && html.contains("1号灭菌器 · 杯具没有清点"));
    assert!(!html.contains("data-alert-id"), "no card for each, and none for a lead");
    let done = page(Lang::En, "unit-duties-done");
    assert!(
        done.contains("Today&#39;s routine work is done") && done.contains("data-state=\"ok\""),
        "{done}"
    );
}

#[test]
fn a_point_that_stands_still_is_said_to() {
    assert!(page(Lang::Zh, "unit-duties").contains(">卡死不动</span>"));
    assert!(page(Lang::En, "unit-duties").contains(&format!(">{}</span>", Lang::En.texts().quality_stuck)));
}

#[test]
fn leads_are_apart_from_what_cannot_be_judged() {
    let html = page(Lang::Zh, "leads");
    assert!(html.contains("11月16日至11月22日"));
    let section =
        |id: &str| html.split(&format!("id=\"{id}\"")).nth(1).unwrap().split("</section>").next().unwrap();
    let listed = section("lead-list");
    assert_eq!(listed.matches("data-lead-id").count(), 2);
    assert!(listed.contains("0.62") && listed.contains("1.5") && listed.contains("99.1 %"));
    assert!(listed.contains("action=\"/leads/1/dismiss\"") && listed.contains("action=\"/leads/1/case\""));
    let unjudged = section("lead-unjudged");
    assert!(unjudged.contains("无法判定：数据完整率61.2 %") && !unjudged.contains("<form"));
    assert!(html.contains("已排除：12 / 20") && html.contains("href=\"/cases/22\""));
    assert!(page(Lang::En, "leads-empty").contains(&Lang::En.texts().leads_empty_sub));
    let none = page(Lang::En, "leads-none");
    assert!(
        none.contains(&Lang::En.texts().leads_empty) && !none.contains(&Lang::En.texts().leads_empty_sub)
    );
}

#[test]
fn what_became_of_a_pause_stands_where_it_was_asked_for() {
    assert!(page(Lang::Zh, "case-pause").contains("action=\"/alerts/17/pause\""));
    for name in ["case-paused", "unit-case-paused"] {
        let html = page(Lang::Zh, name);
        assert!(!html.contains("/pause\""), "{name}: it pauses already");
        assert!(html.contains("暂停提醒8小时：已同意") && html.contains("答复：12345"), "{name}: {html}");
        assert!(html.contains("（最迟11月23日 18:19恢复提醒）"), "{name}: {html}");
    }
    let refused = page(Lang::Zh, "unit-case-pause-refused");
    assert!(
        refused.contains("12345") && refused.contains("action=\"/alerts/17/pause\""),
        "and may be asked for again"
    );
}

#[test]
fn a_pause_whose_time_is_over_says_nothing_any_more() {
    let mut spent = requests().remove(4);
    (spent.alert, spent.answered_at) = (Some(17), Some(NOW - 9 * HOUR));
    let ctx = shell(Lang::Zh, "tasks", false).ctx;
    let form =
        pause_form(&alert(17, "orange", "unacknowledged", Some(17), HOUR), Some(3 * DAY), &[spent], ctx);
    assert_eq!((form.said, form.spans.len()), (None, 5), "and may be paused again");
}
