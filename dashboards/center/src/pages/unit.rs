//! The institution's own pages, phone first: one sentence, its tasks, and for each what is wrong in its words, what
//! to do, and by when.

use std::collections::BTreeMap;

use askama::Template;
use center_casebook::CaseState;

use super::case::{Entry, entry_of, main_alert};
use super::curve::Curve;
use super::format::{ago, deadline, long_time, measure};
use super::texts::{Texts, fill};
use super::view::{Ctx, Mark, Shell, quality_name, state_name, state_of, value_and_limit};
use crate::attachments::ATTACHMENT_MAX;
use crate::store::{AlertRow, CaseDetail, CaseRow, GatewayRow, PointRow};

/// Photos of one submission, at most.
pub(crate) const PHOTOS_MAX: usize = 6;
/// Megabytes of one photo, at most; more is refused in words.
pub(crate) const PHOTO_MAX_MB: usize = ATTACHMENT_MAX >> 20;
/// Closed cases listed at the end of the first page.
const RECENT_MAX: usize = 5;

/// The first page.
#[derive(Debug, Template)]
#[template(path = "unit.html")]
pub(crate) struct UnitPage {
    s: Shell,
    t: &'static Texts,
    name: String,
    headline: Headline,
    todo: Vec<Card>,
    own: Vec<OwnCard>,
    waiting: Vec<Card>,
    recent: Vec<Card>,
    devices: Vec<Device>,
}

#[derive(Debug)]
struct Headline {
    code: &'static str,
    text: String,
    sub: String,
}

#[derive(Debug)]
struct Card {
    id: i64,
    mark: Mark,
    title: String,
    device: String,
    state: &'static str,
    state_text: String,
    deadline: Option<String>,
    overdue: bool,
}

/// What the unit puts right by itself: an alert that nobody else has a case of.
#[derive(Debug)]
struct OwnCard {
    alert: String,
    mark: Mark,
    title: String,
    device: String,
    action: String,
    since: String,
}

#[derive(Debug)]
struct Device {
    name: String,
    value: String,
    good: bool,
    note: String,
}

impl UnitPage {
    /// From what exists for the institution: its cases (closed ones too), gateways, and points with their device's name.
    /// `alerts` are those not over: what is the unit's to put right first is told before anybody dispatches it.
    pub(crate) fn new(
        s: Shell,
        name: String,
        cases: &[CaseRow],
        alerts: &[AlertRow],
        gateways: &[GatewayRow],
        points: &[(String, PointRow)],
    ) -> Self {
        let (ctx, t) = (s.ctx, s.ctx.texts());
        let of = |states: &[CaseState]| -> Vec<Card> {
            cases.iter().filter(|case| states.contains(&state_of(case))).map(|case| card(case, ctx)).collect()
        };
        let mut todo = of(&[CaseState::Dispatched, CaseState::Rectifying, CaseState::OnSite]);
        let first = |case: &CaseRow| {
            alerts.iter().any(|alert| alert.case == Some(case.id) && alert.first == "institution")
        };
        let cases_first =
            cases.iter().filter(|case| matches!(state_of(case), CaseState::Open | CaseState::Acknowledged));
        todo.extend(cases_first.filter(|case| first(case)).map(|case| card(case, ctx)));
        let own = own(alerts, ctx);
        let waiting = of(&[CaseState::Verifying, CaseState::Verified]);
        let mut closed: Vec<&CaseRow> = cases
            .iter()
            .filter(|case| state_of(case) == CaseState::Closed && case.recipient.is_some())
            .collect();
        closed.sort_by_key(|case| std::cmp::Reverse(case.updated_at));
        let recent = closed.into_iter().take(RECENT_MAX).map(|case| card(case, ctx)).collect();
        let devices = points
            .iter()
            .filter(|(_, point)| !point.truth)
            .map(|(name, point)| device(name, point, ctx))
            .collect();
        let headline = headline(todo.len() + own.len(), gateways, ctx);
        Self { s, t, name, headline, todo, own, waiting, recent, devices }
    }
}

/// The one sentence. Work first, then whether anybody is measuring; only then all is well.
fn headline(todo: usize, gateways: &[GatewayRow], ctx: Ctx) -> Headline {
    let t = ctx.texts();
    let heard: Vec<&GatewayRow> = gateways.iter().filter(|gateway| gateway.state != "never").collect();
    let silent = !heard.is_empty() && heard.iter().any(|gateway| gateway.state == "silent");
    let seen = heard
        .iter()
        .filter(|gateway| gateway.state == "silent")
        .filter_map(|gateway| gateway.last_seen)
        .min();
    let last = seen.map_or_else(|| t.never.clone(), |at| ago(at, ctx.now, ctx.lang));
    if todo > 0 {
        let sub = if heard.is_empty() {
            t.unit_not_connected.clone()
        } else if silent {
            fill(&t.unit_also_silent, &[("ago", &last)])
        } else {
            String::new()
        };
        return Headline { code: "todo", text: fill(&t.unit_todo, &[("n", &todo.to_string())]), sub };
    }
    if heard.is_empty() {
        return Headline {
            code: "not_connected",
            text: t.unit_not_connected.clone(),
            sub: t.unit_not_connected_sub.clone(),
        };
    }
    if silent {
        let sub = fill(&t.unit_silent_sub, &[("ago", &last)]);
        return Headline { code: "silent", text: t.unit_silent.clone(), sub };
    }
    if heard.iter().all(|gateway| gateway.state == "off") {
        let last = heard.iter().filter_map(|gateway| gateway.last_seen).max();
        let last = last.map_or_else(|| t.never.clone(), |at| ago(at, ctx.now, ctx.lang));
        let sub = fill(&t.unit_off_sub, &[("ago", &last)]);
        return Headline { code: "off", text: t.unit_off.clone(), sub };
    }
    let data = heard.iter().filter_map(|gateway| gateway.data_until).max();
    let sub =
        data.map_or_else(String::new, |at| fill(&t.unit_ok_sub, &[("ago", &ago(at, ctx.now, ctx.lang))]));
    Headline { code: "ok", text: t.unit_ok.clone(), sub }
}

fn card(case: &CaseRow, ctx: Ctx) -> Card {
    let state = state_of(case);
    let open = state != CaseState::Closed && state != CaseState::Verified;
    let due = case.deadline.filter(|_| open);
    Card {
        id: case.id,
        mark: Mark::new(&case.priority, ctx.lang),
        title: ctx.words(&case.title),
        device: ctx.words(&case.device_name),
        state: state.code(),
        state_text: unit_state(state, ctx.texts()).to_owned(),
        deadline: due.map(|at| deadline(at, ctx.now, ctx.zone, ctx.lang)),
        overdue: due.is_some_and(|at| at < ctx.now),
    }
}

/// One per rule and device, the newest; the most urgent first.
fn own(alerts: &[AlertRow], ctx: Ctx) -> Vec<OwnCard> {
    let mut newest: BTreeMap<(&str, &str, &str), &AlertRow> = BTreeMap::new();
    for alert in alerts.iter().filter(|alert| alert.case.is_none() && alert.first == "institution") {
        let held = newest.entry((&alert.gateway, &alert.rule, &alert.device)).or_insert(alert);
        if alert.n > held.n {
            *held = alert;
        }
    }
    let mut own: Vec<&AlertRow> = newest.into_values().collect();
    own.sort_by_key(|alert| (Mark::new(&alert.priority, ctx.lang).n, std::cmp::Reverse(alert.n)));
    let card = |alert: &AlertRow| OwnCard {
        alert: alert.id.clone(),
        mark: Mark::new(&alert.priority, ctx.lang),
        title: ctx.words(&alert.title),
        device: ctx.words(&alert.device_name),
        action: ctx.words(&alert.action),
        since: ago(alert.since.unwrap_or(alert.raised_at), ctx.now, ctx.lang),
    };
    own.into_iter().map(card).collect()
}

/// The unit's view of a step: its own next act.
fn unit_state(state: CaseState, t: &Texts) -> &str {
    match state {
        CaseState::Dispatched => &t.unit_accept,
        CaseState::Rectifying => &t.unit_submit,
        CaseState::Open | CaseState::Acknowledged => &t.unit_self_fix,
        CaseState::Verifying | CaseState::OnSite | CaseState::Verified | CaseState::Closed => {
            state_name(state, t)
        }
    }
}

fn device(device: &str, point: &PointRow, ctx: Ctx) -> Device {
    let t = ctx.texts();
    let good = point.quality == "good";
    Device {
        name: format!("{device} {}", ctx.words(&point.name)).trim().to_owned(),
        value: point
            .value
            .filter(|_| point.quality != "bad")
            .map_or_else(|| "—".to_owned(), |value| measure(value, &point.unit)),
        good,
        note: match point.at {
            Some(at) if good => ago(at, ctx.now, ctx.lang),
            Some(_) | None => quality_name(&point.quality, t).to_owned(),
        },
    }
}

/// One task of the unit.
#[derive(Debug, Template)]
#[template(path = "unit_case.html")]
#[expect(clippy::struct_excessive_bools, reason = "what the template asks, each once")]
pub(crate) struct UnitCasePage {
    s: Shell,
    t: &'static Texts,
    id: i64,
    seen: u32,
    mark: Mark,
    title: String,
    device: String,
    state: &'static str,
    state_text: String,
    step: usize,
    sentence: String,
    measured: Option<String>,
    /// Empty where the center's requirement says it already.
    action: String,
    requirement: Option<String>,
    deadline: Option<String>,
    overdue: bool,
    norm: String,
    status: Option<String>,
    status_warn: bool,
    /// In words, and the whole moment.
    delivered: Option<(String, String)>,
    accept: bool,
    submit: bool,
    curve: Curve,
    timeline: Vec<Entry>,
    refusal: Option<String>,
    text: String,
    photo_hint: String,
    photo_too_large: String,
    photo_too_many: String,
    photos_max: usize,
    photo_max_bytes: usize,
}

impl UnitCasePage {
    /// `typed` is what the unit wrote in a submission that was refused.
    pub(crate) fn new(
        s: Shell,
        detail: &CaseDetail,
        curve: Curve,
        refusal: Option<String>,
        typed: &str,
    ) -> Self {
        let (ctx, t) = (s.ctx, s.ctx.texts());
        let row = &detail.row;
        let state = state_of(row);
        let alert = main_alert(&detail.alerts);
        let may = |code: &str| detail.next.iter().any(|next| next == code);
        let open = state != CaseState::Closed && state != CaseState::Verified;
        let due = row.deadline.filter(|_| open);
        let (status, status_warn) = status(detail, ctx);
        let limits = [("n", PHOTOS_MAX.to_string()), ("mb", PHOTO_MAX_MB.to_string())];
        let limited = |text: &str| fill(text, &[(limits[0].0, &limits[0].1), (limits[1].0, &limits[1].1)]);
        let measured = alert.and_then(|alert| {
            let (value, limit) = value_and_limit(alert);
            Some(fill(&t.unit_measured, &[("value", &value?), ("limit", &limit?)]))
        });
        let delivered = detail
            .timeline
            .iter()
            .rev()
            .find(|entry| entry.kind == "submitted")
            .filter(|_| !may("submit") || state == CaseState::OnSite)
            .map(|entry| {
                (fill(&t.unit_delivered, &[("time", &ctx.zone.clock(entry.at))]), ctx.moment(entry.at).long)
            });
        // The unit sees its own case from the dispatch on; what the center noted to itself before is not its business.
        let begun = detail
            .timeline
            .iter()
            .position(|entry| entry.kind == "dispatched")
            .unwrap_or(detail.timeline.len());
        let timeline = detail.timeline[begun..]
            .iter()
            .filter(|entry| entry.kind != "noted" || entry.role.as_deref() == Some("institution"))
            .rev()
            .map(|entry| entry_of(entry, detail, ctx))
            .collect();
        Self {
            id: row.id,
            seen: row.event,
            mark: Mark::new(&row.priority, ctx.lang),
            title: ctx.words(&row.title),
            device: ctx.words(&row.device_name),
            state: state.code(),
            state_text: state_name(state, t).to_owned(),
            step: step(state),
            sentence: alert.map_or_else(|| ctx.words(&row.sentence), |alert| ctx.words(&alert.sentence)),
            measured,
            action: Some(ctx.words(&row.action))
                .filter(|action| {
                    !row.requirement.as_ref().is_some_and(|asked| asked.contains(action.as_str()))
                })
                .unwrap_or_default(),
            requirement: row.requirement.clone(),
            deadline: due.map(|at| deadline(at, ctx.now, ctx.zone, ctx.lang)),
            overdue: due.is_some_and(|at| at < ctx.now),
            norm: ctx.words(&row.norm),
            status,
            status_warn,
            delivered,
            accept: may("accept"),
            submit: may("submit"),
            curve,
            timeline,
            refusal,
            text: typed.to_owned(),
            photo_hint: limited(&t.unit_photo_hint),
            photo_too_large: limited(&t.unit_photo_too_large),
            photo_too_many: limited(&t.unit_photo_too_many),
            photos_max: PHOTOS_MAX,
            photo_max_bytes: PHOTO_MAX_MB * 1024 * 1024,
            s,
            t,
        }
    }
}

/// Which of the four steps a case has reached, from 1.
fn step(state: CaseState) -> usize {
    match state {
        CaseState::Open | CaseState::Acknowledged | CaseState::Dispatched => 1,
        CaseState::Rectifying => 2,
        CaseState::Verifying | CaseState::OnSite | CaseState::Verified => 3,
        CaseState::Closed => 4,
    }
}

/// What the unit should know about where its case stands, and whether that is a setback.
fn status(detail: &CaseDetail, ctx: Ctx) -> (Option<String>, bool) {
    let t = ctx.texts();
    let last = |kind: &str| detail.timeline.iter().rev().find(|entry| entry.kind == kind);
    match state_of(&detail.row) {
        CaseState::Open | CaseState::Acknowledged => (Some(t.unit_self_fix_hint.clone()), false),
        CaseState::Dispatched => (None, false),
        CaseState::Rectifying => {
            let setback = detail
                .timeline
                .iter()
                .rev()
                .find(|entry| matches!(entry.kind.as_str(), "judged" | "reviewed" | "accepted"));
            match setback.map(|entry| entry.kind.as_str()) {
                Some("judged") => (Some(t.unit_failed_once.clone()), true),
                Some("reviewed") => {
                    let reason = last("reviewed").and_then(|entry| entry.text.clone()).unwrap_or_default();
                    (Some(format!("{} {reason}", t.unit_returned)), true)
                }
                Some(_) | None => {
                    let at = last("accepted").map(|entry| long_time(entry.at, ctx.zone, ctx.lang));
                    (at.map(|at| fill(&t.unit_accepted_at, &[("time", &at)])), false)
                }
            }
        }
        CaseState::Verifying => (Some(t.unit_verifying.clone()), false),
        CaseState::OnSite => (Some(t.unit_on_site.clone()), true),
        CaseState::Verified => (Some(t.unit_verified.clone()), false),
        CaseState::Closed => (Some(t.unit_closed.clone()), false),
    }
}
