//! What is not told as it comes: duties in one digest a day, ratios as Monday's leads, waste on the next morning. The clock is
//! the test's.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::http::StatusCode;
use center::clock::Clock;
use center::desk::{self, Desk};
use center::digests;
use center::live::Change as Live;
use center::store::Scope;
use gateway_model::{
    AckRegion, AlertChange, AlertDetail, AlertId, Change, ClearCause, Conclusion, ConclusionBody, Counted,
    DeviceIx, DutyPlan, EngineTime, Epoch, EscalationCause, Fact, FactBody, First, Handling, Input, ModuleIx,
    ModulePlan, Op, Plan, PointCounts, PointIx, Priority, ProcessRegion, Program, RatioPlan, Regions, RuleIx,
    RuleKind, RulePlan, Seq, WastePlan,
};
use gateway_wire::{Body, ConclusionsBody, InputsBody};
use serde_json::{Value, json};

use super::rig::{Gateway, INSTITUTION, Rig, get, plan as base, post, send};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// 2026-11-16T00:00+08:00, a Monday.
const MONDAY: i64 = 1_795_393_800_000 - 7 * DAY - 8 * HOUR - 30 * MINUTE;
const MORNING: i64 = 8 * HOUR + 30 * MINUTE;

const BOWIE_DICK: usize = 0;
const CHEMICAL: usize = 1;
const HANDPIECES: usize = 2;
const WASTE: usize = 3;

/// Two duties, a ratio over a week and a ledger, each with its rule.
fn plan() -> Plan {
    let mut plan = base();
    let first = plan.rules.remove(0);
    let device = DeviceIx(0);
    let duty = |duty: &str| {
        ModulePlan::Duty(DutyPlan { device, duty: duty.into(), every_ms: DAY, open_time: false })
    };
    let rule = |module: u32, id: &str, output: u8, priority| RulePlan {
        id: id.into(),
        kind: RuleKind::Condition {
            when: Program(vec![Op::Output { module: ModuleIx(module), output }, Op::Number(0.5), Op::Less]),
            returned: None,
            on_delay_ms: 0,
            off_delay_ms: 0,
            shown: None,
            limit: None,
        },
        priority,
        first: First::Institution,
        self_fix_ms: Some(DAY),
        handling: Some(Handling { pause_max_ms: DAY, ..Handling::default() }),
        ..first.clone()
    };
    plan.modules = vec![
        duty("bowie-dick"),
        duty("chemical"),
        ModulePlan::Ratio(RatioPlan {
            device,
            of: Counted::HandpiecesPacked,
            to: Counted::Visits,
            days: 7,
            at_least: 20.0,
        }),
        ModulePlan::Waste(WastePlan { feed: device, ..WastePlan::default() }),
    ];
    plan.rules = vec![
        rule(0, "sterilizer/bowie-dick-overdue", DutyPlan::OVERDUE_MS, Priority::Yellow),
        rule(1, "sterilizer/chemical-overdue", DutyPlan::OVERDUE_MS, Priority::Blue),
        rule(2, "dental-clinic/handpieces-too-few", RatioPlan::RATIO, Priority::Blue),
        rule(3, "medical-waste/stored-too-long", WastePlan::OLDEST_MS, Priority::Orange),
    ];
    plan
}

/// A center whose time the test says, and what it does at half past eight.
struct Center {
    rig: Rig,
    now: Arc<AtomicI64>,
    desk: Desk,
}

impl Center {
    async fn new(now: i64) -> Self {
        let now = Arc::new(AtomicI64::new(now));
        let rig = Rig::with(Clock::steered(Arc::clone(&now))).await;
        rig.institution(INSTITUTION).await;
        Self { rig, now, desk: Desk::default() }
    }

    async fn at(&mut self, now: i64) {
        self.now.store(now, Ordering::Relaxed);
        desk::turn(&self.rig.app, &mut self.desk).await.unwrap();
    }

    async fn gateway(&self, secret: u8, at: i64) -> Gateway {
        let mut gateway = self.rig.gateway(secret).await;
        gateway.simulated = true;
        let records = gateway.start_with(at, plan());
        self.rig.push(&gateway, &records).await;
        gateway
    }

    /// A gateway says this of an alert, number = rule + 1; ten more is another alert of the same rule.
    async fn says(&self, gateway: &mut Gateway, at: i64, rule: usize, event: u32, change: Change) {
        self.says_with(gateway, at, rule, event, change, AlertDetail::default()).await;
    }

    async fn says_with(
        &self,
        gateway: &mut Gateway,
        at: i64,
        rule: usize,
        event: u32,
        change: Change,
        detail: AlertDetail,
    ) {
        let active = !matches!(change, Change::Cleared(_));
        let change = AlertChange {
            alert: AlertId { epoch: Epoch(gateway.epoch), n: rule as u32 + 1 },
            event,
            rule: Some(RuleIx::of(rule % 10)),
            change,
            regions: Regions {
                process: if active { ProcessRegion::Active } else { ProcessRegion::Normal },
                ack: AckRegion::Unacked,
                ..Regions::default()
            },
            value: Some(0.2),
            limit: Some(0.5),
            since: Some(EngineTime(at)),
            detail: Some(detail),
            about: None,
        };
        let list = vec![Conclusion { at: EngineTime(at), body: ConclusionBody::Alert(change) }];
        let body = ConclusionsBody { because: Seq(gateway.seq - 1), list, frames: vec![] };
        let record = gateway.seal(at, at, &Body::Conclusions(body));
        self.rig.push(gateway, &[record]).await;
    }

    async fn eats(
        &self,
        gateway: &mut Gateway,
        (from, to): (i64, i64),
        items: Vec<Input>,
        counted: (u32, u32),
    ) {
        let (due, answered) = counted;
        let counts = vec![PointCounts { point: PointIx(0), due, answered, ..PointCounts::default() }];
        let record = gateway.seal(from, to, &Body::Inputs(InputsBody { items, counts }));
        self.rig.push(gateway, &[record]).await;
    }

    async fn done(&self, gateway: &mut Gateway, at: i64, duty: &str) {
        let body = FactBody::DutyDone { duty: duty.into(), passed: true };
        let fact = Input::Fact(Fact { device: DeviceIx(0), at: EngineTime(at), body });
        self.eats(gateway, (at, at), vec![fact], (0, 0)).await;
    }

    async fn digests(&self) -> Vec<Value> {
        let from = MONDAY - 7 * DAY;
        let told = self.rig.get(&format!("/api/v1/digests?from={from}")).await;
        told["digests"].as_array().unwrap().clone()
    }

    /// (duty, state) of the unit's card.
    async fn card(&self) -> Vec<(String, String)> {
        let scope = Scope::Institution(INSTITUTION.to_owned());
        let today = digests::today(&self.rig.app, &scope).await.unwrap();
        assert!(today.len() <= 1, "one site: {today:?}");
        today.into_iter().flat_map(|digest| digest.lines).map(|line| (line.duty, line.state)).collect()
    }

    async fn cases(&self) -> Vec<Value> {
        self.rig.get("/api/v1/cases").await["cases"].as_array().unwrap().clone()
    }

    /// (state, feed, alert) of the newest list.
    async fn leads(&self) -> Vec<(String, Option<i64>, Option<i64>)> {
        let list = self.rig.get("/api/v1/leads").await;
        let row = |lead: &Value| {
            (lead["state"].as_str().unwrap().to_owned(), lead["feed"].as_i64(), lead["alert"].as_i64())
        };
        list["leads"].as_array().unwrap().iter().map(row).collect()
    }
}

fn line(duty: &str, state: &str) -> (String, String) {
    (duty.to_owned(), state.to_owned())
}

#[tokio::test]
async fn duties_are_told_once_a_day_at_half_past_eight() {
    let mut center = Center::new(MONDAY).await;
    let mut gateway = center.gateway(1, MONDAY - 2 * DAY).await;
    // Done yesterday at ten: due today at ten. The other one is overdue.
    center.done(&mut gateway, MONDAY - 14 * HOUR, "chemical").await;
    center.says(&mut gateway, MONDAY + 7 * HOUR, BOWIE_DICK, 1, Change::Raised).await;
    let mut heard = center.rig.app.hub.subscribe(None).receiver;
    center.at(MONDAY + MORNING - 1).await;
    assert_eq!(center.digests().await, Vec::<Value>::new(), "not before half past eight");
    assert_eq!(center.card().await, [line("bowie-dick", "overdue")], "what is overdue is never hidden");
    for _ in 0..2 {
        center.at(MONDAY + MORNING).await;
        // As after a restart.
        center.desk = Desk::default();
    }
    let told = center.digests().await;
    assert_eq!(told.len(), 1, "once a day, also after a restart: {told:?}");
    assert_eq!((told[0]["day"].as_str(), told[0]["site"].as_str()), (Some("2026-11-16"), Some("lobby")));
    let states: Vec<_> =
        told[0]["lines"].as_array().unwrap().iter().map(|line| line["state"].clone()).collect();
    assert_eq!(states, ["overdue", "due"]);
    assert_eq!(told[0]["lines"][1]["due_at"], MONDAY + 10 * HOUR);
    let mut digests = 0;
    while let Ok(event) = heard.try_recv() {
        digests += usize::from(matches!(event.change, Live::Digest(_)));
    }
    assert_eq!(digests, 1, "open pages hear of it once");
    assert_eq!(center.cases().await, Vec::<Value>::new(), "nothing of it is a supervisor's item");

    // Done in the course of the morning: the card says so, and nothing is told again.
    center.done(&mut gateway, MONDAY + 9 * HOUR, "chemical").await;
    center.says(&mut gateway, MONDAY + 9 * HOUR, BOWIE_DICK, 2, Change::Cleared(ClearCause::Returned)).await;
    center.at(MONDAY + 10 * HOUR).await;
    assert_eq!(center.card().await, [line("bowie-dick", "done"), line("chemical", "done")]);
    assert_eq!(center.digests().await.len(), 1);

    // The next day it is due again, and told again.
    center.at(MONDAY + DAY + MORNING).await;
    assert_eq!(center.digests().await.len(), 2);
    assert_eq!(center.card().await, [line("chemical", "due")]);
}

#[tokio::test]
async fn a_duty_is_the_supervisors_by_its_rules_escalation_only_and_none_is_told_on_a_closed_day() {
    let mut center = Center::new(MONDAY).await;
    let unit = center.rig.user("dentist", "institution").await;
    let mut gateway = center.gateway(1, MONDAY - 2 * DAY).await;
    center.says(&mut gateway, MONDAY + HOUR, CHEMICAL, 1, Change::Raised).await;
    center.at(MONDAY + MORNING).await;
    assert_eq!((center.digests().await.len(), center.cases().await.len()), (1, 0));
    let escalated = AlertDetail { escalated: true, ..AlertDetail::default() };
    let change = Change::Escalated(EscalationCause::Repeated);
    center.says_with(&mut gateway, MONDAY + 9 * HOUR, CHEMICAL, 2, change, escalated).await;
    assert_eq!(center.cases().await.len(), 1);
    assert_eq!(center.card().await, [], "it is a case now, and neither due nor done");

    let closure = json!({ "from": MONDAY + DAY, "to": MONDAY + 2 * DAY, "reason": "停诊" });
    let declared = send(&center.rig.router, post("/api/v1/closures", Some(&unit), &closure)).await;
    assert_eq!(declared.status, StatusCode::CREATED);
    center.says(&mut gateway, MONDAY + DAY, BOWIE_DICK, 1, Change::Raised).await;
    center.at(MONDAY + DAY + MORNING).await;
    assert_eq!(center.digests().await.len(), 1, "closed");
    center.at(MONDAY + 2 * DAY + MORNING).await;
    assert_eq!(center.digests().await.len(), 2, "open again, and it is still overdue");
    let own = send(&center.rig.router, get("/api/v1/digests?from=0", Some(&unit))).await.json();
    assert_eq!(own["digests"].as_array().unwrap().len(), 2, "the unit's own");
}

#[tokio::test]
async fn a_ratio_is_a_lead_on_monday_and_never_live() {
    let mut center = Center::new(MONDAY).await;
    let unit = center.rig.user("dentist", "institution").await;
    let mut first = center.gateway(1, MONDAY - 10 * DAY).await;
    let mut second = center.gateway(2, MONDAY - 10 * DAY).await;
    let mut third = center.gateway(3, MONDAY - 10 * DAY).await;
    let raised = MONDAY + 5 * DAY;
    let week = (MONDAY - 9 * DAY, MONDAY + 8 * DAY);
    for (gateway, answered) in [(&mut first, 960), (&mut second, 950), (&mut third, 949)] {
        center.eats(gateway, week, vec![], (1_000, answered)).await;
        center.says(gateway, raised, HANDPIECES, 1, Change::Raised).await;
    }
    let escalated = AlertDetail { escalated: true, ..AlertDetail::default() };
    let change = Change::Escalated(EscalationCause::Unsolved);
    center.says_with(&mut first, raised + DAY, HANDPIECES, 2, change, escalated).await;
    center.at(MONDAY + 7 * DAY + MORNING - 1).await;
    assert_eq!(center.leads().await, [], "not before Monday");
    assert_eq!(center.cases().await, Vec::<Value>::new(), "not even when its window ended");
    assert_eq!(center.rig.get("/api/v1/alerts").await["alerts"], json!([]), "never live");

    for _ in 0..2 {
        center.at(MONDAY + 7 * DAY + MORNING).await;
    }
    let mut list = center.leads().await;
    list.sort_by_key(|lead| lead.2);
    assert_eq!(
        list,
        [
            ("listed".to_owned(), Some(960), Some(1)),
            ("listed".to_owned(), Some(950), Some(2)),
            ("unjudged".to_owned(), Some(949), Some(3)),
        ],
        "what is not complete is no lead"
    );
    let leads = center.rig.get("/api/v1/leads").await;
    let of = |alert: i64| {
        let list = leads["leads"].as_array().unwrap();
        list.iter().find(|lead| lead["alert"] == alert).unwrap()["id"].as_i64().unwrap()
    };
    assert_eq!((&leads["leads"][0]["value"], &leads["leads"][0]["limit"]), (&json!(0.2), &json!(0.5)));
    let duty = center.rig.user("duty", "duty_officer").await;
    let dismiss = async |token: &str, id: i64, reason: &str| {
        let request = post(&format!("/api/v1/leads/{id}/dismiss"), Some(token), &json!({ "reason": reason }));
        send(&center.rig.router, request).await
    };
    assert_eq!(
        send(&center.rig.router, get("/api/v1/leads", Some(&unit))).await.status,
        StatusCode::FORBIDDEN
    );
    assert_eq!(dismiss(&unit, of(1), "no").await.status, StatusCode::FORBIDDEN);
    assert_eq!(dismiss(&duty, of(1), " ").await.code(), "reason_required");
    assert_eq!(dismiss(&duty, of(1), &"字".repeat(301)).await.code(), "too_long");
    assert_eq!(dismiss(&duty, of(3), "x").await.code(), "unjudged");
    assert_eq!(dismiss(&duty, 99, "x").await.status, StatusCode::NOT_FOUND);
    assert_eq!(dismiss(&duty, of(1), "多为复诊，不用手机").await.status, StatusCode::NO_CONTENT);
    assert_eq!(dismiss(&duty, of(1), "again").await.code(), "answered_already");

    let path = format!("/api/v1/leads/{}/case", of(2));
    let opened = send(&center.rig.router, post(&path, Some(&duty), &json!({}))).await;
    assert_eq!((opened.status, opened.json()["case"].as_i64()), (StatusCode::CREATED, Some(1)));
    assert_eq!(
        send(&center.rig.router, post(&path, Some(&duty), &json!({}))).await.code(),
        "answered_already"
    );
    let case = &center.cases().await[0];
    assert_eq!(
        (case["rule"].as_str(), case["state"].as_str()),
        (Some("dental-clinic/handpieces-too-few"), Some("open"))
    );
    // What was answered stays so, whatever comes.
    center.at(MONDAY + 8 * DAY).await;
    let states: Vec<String> = center.leads().await.into_iter().map(|lead| lead.0).collect();
    assert_eq!(states.iter().filter(|state| *state == "listed").count(), 0, "{states:?}");
    assert_eq!(center.rig.app.store.audit_broken_at().await.unwrap(), None);
}

#[tokio::test]
async fn out_of_line_twice_in_a_week_is_one_lead_of_the_newest() {
    let mut center = Center::new(MONDAY).await;
    let mut gateway = center.gateway(1, MONDAY - 10 * DAY).await;
    center.eats(&mut gateway, (MONDAY - 9 * DAY, MONDAY + 8 * DAY), vec![], (10, 10)).await;
    for (n, day) in [(HANDPIECES, 2), (HANDPIECES + 10, 5)] {
        center.says(&mut gateway, MONDAY + day * DAY, n, 1, Change::Raised).await;
    }
    for minute in 0..3 {
        center.at(MONDAY + 7 * DAY + MORNING + minute * MINUTE).await;
        assert_eq!(center.leads().await, [("listed".to_owned(), Some(1_000), Some(2))]);
    }
}

#[tokio::test]
async fn a_week_with_holes_cannot_be_judged_until_its_records_come() {
    let mut center = Center::new(MONDAY - 7 * DAY).await;
    let mut gateway = center.gateway(1, MONDAY - 7 * DAY).await;
    center.eats(&mut gateway, (MONDAY - 7 * DAY, MONDAY + 4 * DAY), vec![], (10, 10)).await;
    // The rest of the week lies at the gateway.
    let counts = vec![PointCounts { point: PointIx(0), due: 10, answered: 10, ..PointCounts::default() }];
    let body = Body::Inputs(InputsBody { items: vec![], counts });
    let late = gateway.seal(MONDAY + 4 * DAY, MONDAY + 8 * DAY, &body);
    center.at(MONDAY + 7 * DAY + MORNING).await;
    assert_eq!(center.leads().await, [("unjudged".to_owned(), Some(571), None)], "four days of seven");
    center.rig.push(&gateway, &[late]).await;
    center.at(MONDAY + 7 * DAY + MORNING + 6 * HOUR).await;
    assert_eq!(center.leads().await, [], "nothing was out of line");
}

#[tokio::test]
async fn waste_that_is_still_there_in_the_morning_is_the_supervisors() {
    let mut center = Center::new(MONDAY).await;
    let mut gateway = center.gateway(1, MONDAY - 2 * DAY).await;
    let mut other = center.gateway(2, MONDAY - 2 * DAY).await;
    let mut trial = center.gateway(3, MONDAY - 2 * DAY).await;
    center.says(&mut gateway, MONDAY + 20 * HOUR, WASTE, 1, Change::Raised).await;
    center.says(&mut other, MONDAY + 20 * HOUR, WASTE, 1, Change::Raised).await;
    let in_trial = AlertDetail { trial: true, ..AlertDetail::default() };
    center.says_with(&mut trial, MONDAY + 20 * HOUR, WASTE, 1, Change::Raised, in_trial).await;
    center.at(MONDAY + DAY + MORNING - 1).await;
    assert_eq!(center.cases().await.len(), 0, "the night is the unit's and the collector's");
    center.says(&mut other, MONDAY + DAY + 8 * HOUR, WASTE, 2, Change::Cleared(ClearCause::Returned)).await;
    for _ in 0..2 {
        center.at(MONDAY + DAY + MORNING).await;
    }
    let cases = center.cases().await;
    assert_eq!(cases.len(), 1, "what was fetched, and a trial run, open none: {cases:?}");
    assert_eq!(cases[0]["gateway"], gateway.id());
    assert_eq!(
        (cases[0]["rule"].as_str(), cases[0]["priority"].as_str()),
        (Some("medical-waste/stored-too-long"), Some("orange"))
    );
    center
        .says(&mut gateway, MONDAY + DAY + 10 * HOUR, WASTE, 2, Change::Cleared(ClearCause::Returned))
        .await;
    assert_eq!(center.cases().await[0]["self_cleared"], true);
}
