//! Every page drawn from sample rows, in both languages: key strings are there, nothing is left untranslated, and
//! the policy against inline style and script holds. With `NONSITE_PAGES=DIR` the pages are written there, to be
//! looked at in a browser.

use std::collections::HashMap;

mod telling;

use super::account::{LoginPage, ProblemPage, SetupPage};
use super::alerts::AlertsPage;
use super::assets;
use super::case::{CasePage, Typed};
use super::curve;
use super::format::Zone;
use super::gateways::GatewaysPage;
use super::requests::PauseForm;
use super::tasks::TasksPage;
use super::texts::Lang;
use super::unit::{Asked, UnitCasePage, UnitPage};
use super::view::{Ctx, Person, Shell};
use crate::store::{
    AlertRow, CaseDetail, CaseRow, DeadlineRow, GatewayRow, PointRow, RequestRow, Sample, Series,
    TimelineEntry, VerificationRow, Words,
};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
/// 2026-11-23T10:20:00+08:00, a Monday.
const NOW: i64 = 1_795_400_400_000;
const GATEWAY: &str = "3fa9c1d2e4b5968778695a4b3c2d1e0f";

fn words(zh: &str, en: &str) -> Words {
    Words { zh: zh.to_owned(), en: en.to_owned() }
}

fn shell(lang: Lang, here: &'static str, unit: bool) -> Shell {
    let ctx = Ctx { lang, zone: Zone::BEIJING, now: NOW, simulated: here == "alerts" };
    let t = lang.texts();
    let (name, role) =
        if unit { ("guanjia", &t.role_institution) } else { ("wangmin", &t.role_duty_officer) };
    Shell {
        ctx,
        here,
        user: Some(Person { name: name.to_owned(), role: role.clone() }),
        csrf: "token".to_owned(),
        self_link: "?".to_owned(),
        self_path: "/alerts".to_owned(),
    }
}

fn case(id: i64, state: &str, priority: &str, age: i64) -> CaseRow {
    CaseRow {
        id,
        state: state.to_owned(),
        event: 3,
        institution: "91330102MA27XY1234".to_owned(),
        institution_name: words("西湖云栖酒店", "West Lake Yunqi Hotel"),
        gateway: GATEWAY.to_owned(),
        site: "yunqi-hotel".to_owned(),
        rule: "disinfection-cabinet/cycle-failed".to_owned(),
        device: "cabinet-2".to_owned(),
        device_name: words("二楼消毒柜", "Cabinet, 2nd floor"),
        title: words("消毒温度时间不达标", "Disinfection too short"),
        sentence: words(
            "{device}最近一次消毒最高到{peak}，保持{hold}，没有达到要求。",
            "{device} reached {peak} for {hold} only.",
        ),
        action: words(
            "这一柜杯具请重新消毒，用过的请收回。",
            "Disinfect this load again and take back cups already used.",
        ),
        norm: words(
            "餐饮服务食品安全操作规范（2018）附录J：煮沸、蒸汽100℃，10分钟以上",
            "Catering food safety code (2018), annex J: 100 °C, at least 10 min",
        ),
        priority: priority.to_owned(),
        opened_at: NOW - age,
        updated_at: NOW - age / 2,
        alert_count: 1,
        self_cleared: false,
        extensions: 0,
        attempt: 1,
        verdict: None,
        acknowledged_by: None,
        dispatched_by: None,
        recipient: None,
        deadline: None,
        requirement: None,
        disposition: None,
        recurrence_of: None,
        simulated: false,
    }
}

/// Everything a request can be, newest first.
fn requests() -> Vec<RequestRow> {
    let request = |id, kind: &str, state: &str, alert, outcome: Option<&str>| RequestRow {
        id,
        institution: "91330102MA27XY1234".to_owned(),
        institution_name: words("西湖云栖酒店", "West Lake Yunqi Hotel"),
        gateway: GATEWAY.to_owned(),
        kind: kind.to_owned(),
        alert,
        alert_title: if alert.is_some() {
            words("柜内温度过高", "Cabinet too hot")
        } else {
            Words::default()
        },
        device_name: if alert.is_some() {
            words("二楼消毒柜", "Cabinet, 2nd floor")
        } else {
            Words::default()
        },
        for_ms: (kind == "pause").then_some(8 * HOUR),
        from: (kind == "closure").then_some(NOW + 14 * HOUR),
        to: (kind == "closure").then_some(NOW + 86 * HOUR),
        reason: "PT100, 14:00".to_owned(),
        asked_by: "u-7".to_owned(),
        asked_at: NOW - id * 10 * MINUTE,
        state: state.to_owned(),
        answered_by: (state != "asked" && kind == "pause").then(|| "u-1".to_owned()),
        answered_at: (state != "asked" && kind == "pause").then_some(NOW - MINUTE),
        answer: (state == "refused").then(|| "12345".to_owned()),
        outcome: outcome.map(str::to_owned),
    };
    vec![
        request(6, "pause", "asked", Some(40), None),
        request(5, "closure", "declared", None, None),
        request(4, "closure", "declared", None, Some("done")),
        request(3, "pause", "refused", Some(39), None),
        request(2, "pause", "granted", Some(38), Some("done")),
        request(1, "pause", "granted", Some(37), Some("refused: stale")),
    ]
}

fn alert(n: i64, priority: &str, shown: &str, case: Option<i64>, age: i64) -> AlertRow {
    AlertRow {
        n,
        id: format!("{GATEWAY}/4-{n}"),
        source: "gateway".to_owned(),
        gateway: GATEWAY.to_owned(),
        institution: "91330102MA27XY1234".to_owned(),
        institution_name: words("西湖云栖酒店", "West Lake Yunqi Hotel"),
        site: "yunqi-hotel".to_owned(),
        device: "cabinet-2".to_owned(),
        device_name: words("二楼消毒柜", "Cabinet, 2nd floor"),
        rule: "disinfection-cabinet/too-hot".to_owned(),
        title: words("柜内温度过高", "Cabinet too hot"),
        sentence: words(
            "二楼消毒柜的温度已经持续高于150 °C，现在是163.4 °C。",
            "Cabinet, 2nd floor has stayed above 150 °C; it is at 163.4 °C now.",
        ),
        action: words(
            "请关掉电源，等冷却后检查温控器。",
            "Switch it off, let it cool, and check the thermostat.",
        ),
        norm: words("GB 17988-2008 食具消毒柜安全和卫生要求", "GB 17988-2008, cabinets for tableware"),
        priority: priority.to_owned(),
        first: "institution".to_owned(),
        told: "alert".to_owned(),
        trial: false,
        state: if shown == "normal" { "cleared" } else { "open" }.to_owned(),
        shown: shown.to_owned(),
        quality: "good".to_owned(),
        clear_cause: (shown == "normal").then(|| "returned".to_owned()),
        chain: "closed".to_owned(),
        point: Some("cabinet-2/temperature".to_owned()),
        value: Some(163.4),
        limit: Some(150.0),
        unit: Some("°C".to_owned()),
        since: Some(NOW - age - 2 * MINUTE),
        raised_at: NOW - age,
        cleared_at: (shown == "normal").then_some(NOW - age / 3),
        received_at: NOW - age + 300,
        event: 1,
        case,
        simulated: true,
    }
}

fn gateway(state: &str) -> GatewayRow {
    GatewayRow {
        id: GATEWAY.to_owned(),
        institution: "91330102MA27XY1234".to_owned(),
        institution_name: words("西湖云栖酒店", "West Lake Yunqi Hotel"),
        site: "yunqi-hotel".to_owned(),
        enrolled_at: NOW - 72 * HOUR,
        last_seen: (state != "never").then_some(NOW - 7 * MINUTE),
        state: state.to_owned(),
        epoch: Some(4),
        through: Some(8_812),
        records: 26_410,
        quarantined: 0,
        refused: 0,
        data_until: Some(NOW - 20_000),
        software: Some("0.1.0".to_owned()),
        open_alerts: 2,
        simulated: true,
        line_used: Some(81_400_000),
        line_budget: Some(100_000_000),
    }
}

fn point() -> PointRow {
    PointRow {
        gateway: GATEWAY.to_owned(),
        id: "cabinet-2/temperature".to_owned(),
        device: "cabinet-2".to_owned(),
        name: words("二楼消毒柜 柜内温度", "Cabinet, 2nd floor: temperature inside"),
        unit: "°C".to_owned(),
        truth: false,
        at: Some(NOW - 20_000),
        quality: "good".to_owned(),
        cause: None,
        value: Some(42.5),
    }
}

/// A heat cycle that overshoots, with twelve minutes that nobody measured and some readings in doubt.
fn series(from: i64, to: i64) -> Series {
    let mut samples = Vec::new();
    let mut at = from;
    let gap = (NOW - 26 * MINUTE, NOW - 14 * MINUTE);
    while at < to {
        let x = (at - from) as f64 / (to - from) as f64;
        let value = 30.0 + 135.0 * (1.0 - (-6.0 * x).exp()) + 4.0 * (40.0 * x).sin()
            - if x > 0.85 { 300.0 * (x - 0.85) } else { 0.0 };
        let quality = if (0.3..0.34).contains(&x) { "uncertain" } else { "good" };
        if !(gap.0..gap.1).contains(&at) {
            samples.push(Sample { at, value: Some(value), quality: quality.to_owned(), cause: None });
        }
        at += 10_000;
    }
    Series { point: point(), from, to, samples, gaps: vec![gap], truncated: false }
}

fn entry(event: u32, ago: i64, kind: &str, actor: (&str, &str, Option<&str>)) -> TimelineEntry {
    TimelineEntry {
        event,
        at: NOW - ago,
        actor: actor.0.to_owned(),
        actor_kind: actor.1.to_owned(),
        role: actor.2.map(str::to_owned),
        kind: kind.to_owned(),
        alert: None,
        text: None,
        recipient: None,
        deadline: None,
        attachments: Vec::new(),
        window: None,
        decision: None,
        verdict: None,
    }
}

const CENTER: (&str, &str, Option<&str>) = ("wangmin", "person", Some("duty_officer"));
const UNIT: (&str, &str, Option<&str>) = ("guanjia", "person", Some("institution"));
const MACHINE: (&str, &str, Option<&str>) = ("center", "center", None);

fn verification(verdict: &str) -> VerificationRow {
    VerificationRow {
        verdict: verdict.to_owned(),
        coverage: Some(974),
        from: NOW - 70 * MINUTE,
        to: NOW - 10 * MINUTE,
        reason: Some("held".to_owned()),
        first_violation: (verdict == "fail").then_some(NOW - 40 * MINUTE),
        unseen: Vec::new(),
        data_hash: Some("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".to_owned()),
        extensions: 0,
    }
}

fn detail(state: &str, next: &[&str]) -> CaseDetail {
    let mut row = case(17, state, "orange", 3 * HOUR);
    row.title = words("柜内温度过高", "Cabinet too hot");
    row.action =
        words("请关掉电源，等冷却后检查温控器。", "Switch it off, let it cool, and check the thermostat.");
    let alert = alert(17, "orange", "unacknowledged", Some(17), 65 * MINUTE);
    let mut timeline = vec![entry(1, 65 * MINUTE, "opened", ("gateway", "gateway", None))];
    timeline[0].alert = Some(alert.id.clone());
    let mut deadlines = Vec::new();
    if state != "open" {
        timeline.push(entry(2, 60 * MINUTE, "acknowledged", CENTER));
    }
    let dispatched = !matches!(state, "open" | "acknowledged");
    if dispatched {
        row.recipient = Some(row.institution.clone());
        row.deadline = Some(NOW + 31 * HOUR + 10 * MINUTE);
        row.requirement = Some("请关掉电源，等冷却后检查温控器。完成后请提交整改情况和现场照片。".to_owned());
        deadlines.push(DeadlineRow {
            kind: "rectify".to_owned(),
            at: NOW + 31 * HOUR + 10 * MINUTE,
            overdue: false,
        });
        let mut dispatch = entry(3, 58 * MINUTE, "dispatched", CENTER);
        dispatch.recipient.clone_from(&row.recipient);
        dispatch.deadline = row.deadline;
        dispatch.text.clone_from(&row.requirement);
        timeline.push(dispatch);
    }
    if !matches!(state, "open" | "acknowledged" | "dispatched") {
        timeline.push(entry(4, 50 * MINUTE, "accepted", UNIT));
    }
    let mut verification_row = None;
    if matches!(state, "verifying" | "verified" | "closed") {
        let mut submitted = entry(5, 30 * MINUTE, "submitted", UNIT);
        submitted.text = Some("温控器已更换，重新消毒一柜，温度正常。".to_owned());
        submitted.attachments = vec!["aa".repeat(32), "bb".repeat(32)];
        submitted.window = Some((NOW - 70 * MINUTE, NOW - 10 * MINUTE));
        timeline.push(submitted);
        verification_row = Some(verification(if state == "verifying" { "pending" } else { "pass" }));
    }
    if matches!(state, "verified" | "closed") {
        let mut judged = entry(6, 9 * MINUTE, "judged", MACHINE);
        judged.verdict = Some(verification("pass"));
        timeline.push(judged);
    }
    row.event = timeline.len() as u32;
    CaseDetail {
        row,
        alerts: vec![alert],
        verifications: verification_row.iter().cloned().collect(),
        verification: verification_row,
        timeline,
        next: next.iter().map(|code| (*code).to_owned()).collect(),
        deadlines,
    }
}

fn draw(detail: &CaseDetail, id: &str, width: u32, ctx: Ctx) -> curve::Curve {
    let alert = &detail.alerts[0];
    let (from, to) = curve::span(alert, detail.verification.as_ref(), NOW);
    curve::draw(id, alert, &series(from, to), detail.verification.as_ref(), width, ctx)
}

/// Every page by name.
fn pages(lang: Lang) -> Vec<(&'static str, String)> {
    let t = lang.texts();
    let render = |page: &dyn askama::DynTemplate| page.dyn_render().unwrap();
    let mut out = Vec::new();
    let door = || Shell { user: None, csrf: String::new(), ..shell(lang, "", false) };
    out.push((
        "login",
        render(&LoginPage {
            s: door(),
            t,
            next: "/".to_owned(),
            user: String::new(),
            refusal: Some(t.login_failed.clone()),
            set_up: false,
        }),
    ));
    out.push(("setup", render(&SetupPage { s: door(), t, user: String::new(), refusal: None, open: true })));
    out.push((
        "problem",
        render(&ProblemPage {
            s: door(),
            t,
            title: t.refused_title.clone(),
            text: t.error_title.clone(),
            code: "not_found".to_owned(),
            back: "/".to_owned(),
        }),
    ));
    let mut cases = vec![
        case(21, "open", "red", 4 * MINUTE),
        case(20, "open", "orange", 40 * MINUTE),
        case(19, "acknowledged", "yellow", 3 * HOUR),
        case(18, "verified", "yellow", 26 * HOUR),
        case(16, "dispatched", "blue", 30 * HOUR),
        case(15, "rectifying", "orange", 50 * HOUR),
        case(14, "verifying", "yellow", 52 * HOUR),
    ];
    cases[0].title = words("疫苗冰箱严重过热", "Vaccine fridge far too warm");
    cases[0].institution_name = words("滨江社区卫生服务中心", "Binjiang Community Health Center");
    cases[0].device_name = words("疫苗冰箱", "Vaccine fridge");
    cases[1].self_cleared = true;
    cases[2].alert_count = 3;
    cases[5].deadline = Some(NOW - 3 * HOUR);
    cases[4].deadline = Some(NOW + 50 * HOUR);
    out.push((
        "tasks",
        render(&TasksPage::new(
            shell(lang, "tasks", false),
            &cases,
            &[gateway("live")],
            (&requests(), true),
            None,
        )),
    ));
    out.push((
        "tasks-quiet",
        render(&TasksPage::new(shell(lang, "tasks", false), &[], &[gateway("live")], (&[], true), None)),
    ));
    let gateways = [gateway("live"), gateway("off"), gateway("off")];
    out.push((
        "tasks-off",
        render(&TasksPage::new(shell(lang, "tasks", false), &[], &gateways, (&[], true), None)),
    ));
    out.push((
        "tasks-nobody",
        render(&TasksPage::new(shell(lang, "tasks", false), &[], &[], (&[], true), None)),
    ));
    out.push((
        "tasks-down",
        render(&TasksPage::new(shell(lang, "tasks", false), &[], &[gateway("silent")], (&[], true), None)),
    ));
    let mut alerts = vec![
        alert(25, "red", "unacknowledged", Some(21), 4 * MINUTE),
        alert(24, "orange", "unacknowledged", Some(20), 40 * MINUTE),
        alert(23, "yellow", "acknowledged", Some(19), 3 * HOUR),
        alert(22, "blue", "unacknowledged", None, 5 * HOUR),
        alert(21, "yellow", "normal", Some(18), 26 * HOUR),
    ];
    alerts[1].chain = "open".to_owned();
    alerts[2].quality = "stale".to_owned();
    out.push((
        "alerts",
        render(&AlertsPage::new(shell(lang, "alerts", false), &alerts, &cases, false, true)),
    ));
    out.push(("alerts-empty", render(&AlertsPage::new(shell(lang, "alerts", false), &[], &[], false, true))));
    out.push((
        "gateways",
        render(&GatewaysPage::new(
            shell(lang, "gateways", false),
            &[gateway("live"), gateway("silent"), gateway("off"), gateway("never")],
            true,
        )),
    ));
    for (name, state, next) in [
        ("case-open", "open", &["acknowledge", "note"][..]),
        ("case-acknowledged", "acknowledged", &["dispatch", "close", "note"]),
        ("case-verified", "verified", &["review", "note"]),
        ("case-closed", "closed", &["note"]),
    ] {
        let detail = detail(state, next);
        let s = shell(lang, "tasks", false);
        let curve = draw(&detail, "readings", 960, s.ctx);
        let typed =
            Typed { refusal: (state == "verified").then(|| t.case_seen_stale.clone()), ..Typed::default() };
        out.push((name, render(&CasePage::new(s, &detail, "K", curve, PauseForm::default(), &typed))));
    }
    let name = || {
        if lang.is_english() { "West Lake Yunqi Hotel".to_owned() } else { "西湖云栖酒店".to_owned() }
    };
    let mut own = vec![
        case(31, "dispatched", "orange", HOUR),
        case(30, "rectifying", "yellow", 9 * HOUR),
        case(29, "verifying", "yellow", 30 * HOUR),
        case(28, "closed", "yellow", 99 * HOUR),
    ];
    own[0].deadline = Some(NOW + 31 * HOUR);
    own[1].deadline = Some(NOW - 2 * HOUR);
    own[3].recipient = Some("x".to_owned());
    let unit = |cases: &[CaseRow], alerts: &[AlertRow], gateways: &[GatewayRow]| {
        render(&UnitPage::new(
            shell(lang, "unit", true),
            name(),
            cases,
            alerts,
            gateways,
            &[(String::new(), point())],
            &Asked {
                requests: &requests(),
                pause_max: HashMap::from([(40, 24 * HOUR), (41, 24 * HOUR)]),
                duties: &[],
            },
        ))
    };
    out.push(("unit", unit(&own, &[], &[gateway("live")])));
    out.push(("unit-ok", unit(&own[3..], &[], &[gateway("live")])));
    out.push(("unit-silent", unit(&[], &[], &[gateway("silent")])));
    out.push(("unit-off", unit(&[], &[], &[gateway("off")])));
    out.push(("unit-none", unit(&[], &[], &[])));
    // The same twice, one that is in a case, one that is somebody else's first, and one that the collector is told, too.
    let mut first = [(40, None), (41, None), (42, Some(31)), (43, None), (44, None)]
        .map(|(n, case)| alert(n, "yellow", "unacknowledged", case, 3 * HOUR));
    first[..3].iter_mut().for_each(|alert| "institution".clone_into(&mut alert.first));
    "maintainer".clone_into(&mut first[3].first);
    "collector".clone_into(&mut first[4].first);
    "waste/ends-soon".clone_into(&mut first[4].rule);
    out.push(("unit-own", unit(&[], &first, &[gateway("live")])));
    for (name, state, next) in [
        ("unit-case-dispatched", "dispatched", &["accept", "note"][..]),
        ("unit-case-rectifying", "rectifying", &["submit", "note"]),
        ("unit-case-verifying", "verifying", &["note"]),
    ] {
        let detail = detail(state, next);
        let s = shell(lang, "unit", true);
        let curve = draw(&detail, "readings", 420, s.ctx);
        out.push((name, render(&UnitCasePage::new(s, &detail, curve, PauseForm::default(), None, ""))));
    }
    out.extend(telling::pages(lang));
    out
}

fn page(lang: Lang, name: &str) -> String {
    pages(lang).into_iter().find(|(found, _)| *found == name).unwrap().1
}

#[test]
fn every_page_speaks_its_language_and_holds_to_the_policy() {
    for lang in [Lang::Zh, Lang::En] {
        for (name, html) in pages(lang) {
            assert!(html.contains(&format!("<html lang=\"{}\">", lang.tag())), "{name}");
            assert!(!html.contains("style=\""), "{name}: a style attribute");
            assert!(!html.contains("onclick") && !html.contains("<script>"), "{name}: inline script");
            assert!(!html.contains("{value}") && !html.contains("{n}</"), "{name}: an unfilled place");
            if lang == Lang::En {
                // The only Chinese on an English page is the way to the Chinese one, and what a person wrote.
                let chinese = html.chars().filter(|c| ('\u{4e00}'..='\u{9fff}').contains(c)).count();
                assert!(chinese < 80, "{name}: {chinese} Chinese characters on the English page");
            }
        }
    }
}

#[test]
fn pages_of_a_hotel_never_speak_of_clinics() {
    for (name, html) in pages(Lang::Zh).into_iter().filter(|(name, _)| name.starts_with("unit")) {
        for word in ["牙科", "诊所", "患者"] {
            assert!(!html.contains(word), "{name} says {word}");
        }
    }
}

#[test]
fn an_empty_list_says_why() {
    assert!(page(Lang::Zh, "tasks-quiet").contains("data-empty=\"quiet\""));
    assert!(page(Lang::Zh, "tasks-nobody").contains(&Lang::Zh.texts().empty_nobody));
    assert!(page(Lang::En, "tasks-off").contains("Gateways: 1 online, 2 switched off on schedule"));
    assert!(page(Lang::En, "tasks-down").contains(&Lang::En.texts().empty_down));
}

/// What it is to put right by itself is on its page before anybody opens a case of it (design §7), once per thing.
#[test]
fn the_unit_reads_what_it_puts_right_by_itself() {
    let html = page(Lang::Zh, "unit-own");
    assert!(html.contains("<h1>有2件事需要您处理</h1>"), "{html}");
    let cards: Vec<&str> = html.split("data-alert-id=\"").skip(1).collect();
    let ids: Vec<&str> = cards.iter().filter_map(|card| card.split('"').next()?.rsplit('-').next()).collect();
    assert_eq!(ids, ["44", "41"], "the newest of each");
    assert!(cards[0].contains("class=\"card-act\">"), "what to do");
}

#[test]
fn the_unit_reads_one_sentence() {
    for (name, code, text) in [
        ("unit", "todo", "有2件事需要您处理"),
        ("unit-ok", "ok", "今天一切正常"),
        ("unit-none", "not_connected", "设备还没连上"),
        ("unit-silent", "silent", "设备暂时没有联系"),
        ("unit-off", "off", "设备已按时关机"),
    ] {
        let html = page(Lang::Zh, name);
        assert!(
            html.contains(&format!("data-state=\"{code}\"")) && html.contains(&format!("<h1>{text}</h1>")),
            "{name}"
        );
    }
}

#[test]
fn a_case_page_offers_only_the_acts_that_are_legal_now() {
    let open = page(Lang::Zh, "case-open");
    assert!(
        open.contains("id=\"acknowledge\"")
            && !open.contains("id=\"dispatch-submit\"")
            && !open.contains("id=\"close-submit\"")
    );
    let received = page(Lang::Zh, "case-acknowledged");
    assert!(received.contains("id=\"dispatch-submit\"") && received.contains("id=\"close-submit\""));
    assert!(received.contains("value=\"2026-11-25T17:30\""), "two working days for orange");
    let verified = page(Lang::Zh, "case-verified");
    assert!(verified.contains("id=\"review-approve\"") && verified.contains("数据核验通过"));
    let closed = page(Lang::Zh, "case-closed");
    assert!(!closed.contains("class=\"primary\""));
    assert!(open.contains("data-limit=\"150\"") && open.contains("data-gap"));
}

#[test]
fn only_what_nobody_has_received_is_marked() {
    let html = page(Lang::Zh, "alerts");
    assert_eq!(html.matches("row-unacked").count(), 3);
    assert_eq!(html.matches("data-acknowledge").count(), 2, "an alert without a case cannot be received");
    assert_eq!(html.matches("data-alert-id").count(), 5);
    assert!(html.contains(&Lang::Zh.texts().simulated_banner));
}

#[test]
fn a_submission_says_when_it_arrived() {
    assert!(page(Lang::Zh, "unit-case-verifying").contains("已送达监管中心 09:50<"));
    let form = page(Lang::Zh, "unit-case-rectifying");
    assert!(
        form.contains("multipart/form-data")
            && form.contains("id=\"rectify-photo\"")
            && form.contains("name=\"csrf\"")
    );
}

#[test]
fn pages_can_be_written_out_to_be_looked_at() {
    let Some(dir) = std::env::var_os("NONSITE_PAGES").map(std::path::PathBuf::from) else { return };
    for lang in [Lang::Zh, Lang::En] {
        let dir = dir.join(lang.code());
        std::fs::create_dir_all(&dir).unwrap();
        for (name, html) in pages(lang) {
            std::fs::write(dir.join(format!("{name}.html")), html).unwrap();
        }
    }
    for name in ["console.css", "console.js", "icon.svg"] {
        let path = dir.join(assets::link(name).trim_start_matches('/'));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::copy(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("assets").join(name), path)
            .unwrap();
    }
}
