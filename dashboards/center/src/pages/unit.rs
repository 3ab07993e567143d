//! The institution's own pages, phone first: one sentence, its tasks, and for each what is wrong in its words, what
//! to do, and by when.

use std::collections::{BTreeMap, HashMap};

use askama::Template;
use center_casebook::CaseState;

use super::case::{Entry, entry_of, main_alert};
use super::curve::Curve;
use super::format::{ago, deadline, duration_short, long_time, measure};
use super::requests::{PauseForm, RequestCard, cards, pause_form};
use super::texts::{Texts, fill};
use super::view::{Ctx, Mark, Shell, cause_name, quality_name, state_name, state_of, value_and_limit};
use crate::attachments::ATTACHMENT_MAX;
use crate::store::{AlertRow, CaseDetail, CaseRow, DigestRow, DutyLine, GatewayRow, PointRow, RequestRow};

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
    duties: Vec<DigestCard>,
    own: Vec<OwnCard>,
    waiting: Vec<Card>,
    recent: Vec<Card>,
    devices: Vec<Device>,
    closures: Vec<RequestCard>,
    today: String,
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
    pause: PauseForm,
}

/// Its duties of the day, of one site: one thing to do, with a line for each.
#[derive(Debug)]
struct DigestCard {
    day: String,
    title: String,
    told: String,
    /// Not done yet.
    open: usize,
    lines: Vec<DutyCard>,
}

#[derive(Debug)]
struct DutyCard {
    duty: String,
    name: String,
    state: String,
    standing: String,
    overdue: bool,
    /// Empty where it is done.
    action: String,
}

#[derive(Debug)]
struct Device {
    name: String,
    value: String,
    good: bool,
    note: String,
}

/// What the unit asked for, and may ask for.
#[derive(Debug, Default)]
pub(crate) struct Asked<'a> {
    /// Newest first.
    pub(crate) requests: &'a [RequestRow],
    /// How long the reminders of an alert may pause, ms; not in here = they cannot.
    pub(crate) pause_max: HashMap<i64, i64>,
    /// Its duties of today, by site, as they stand.
    pub(crate) duties: &'a [DigestRow],
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
        asked: &Asked<'_>,
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
        let own = own(alerts, asked, ctx);
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
        let several = asked.duties.len() > 1;
        let duties: Vec<DigestCard> =
            asked.duties.iter().map(|digest| digest_card(digest, several, ctx)).collect();
        let to_do = duties.iter().filter(|card| card.open > 0).count();
        let headline = headline(todo.len() + to_do + own.len(), gateways, ctx);
        let closures =
            asked.requests.iter().filter(|request| request.kind == "closure").cloned().collect::<Vec<_>>();
        let closures = cards(&closures, false, ctx);
        let today = ctx.zone.field(ctx.now).split('T').next().unwrap_or_default().to_owned();
        Self { s, t, name, headline, todo, duties, own, waiting, recent, devices, closures, today }
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

/// Is it the unit's to put right, before anybody has a case of it? What the collector is told first (waste that has to be fetched
/// soon) is told the unit, too: it calls the collector. Duties are told in the digest, leads are the center's.
pub(crate) fn is_own(alert: &AlertRow) -> bool {
    alert.case.is_none()
        && matches!(alert.first.as_str(), "institution" | "collector")
        && matches!(alert.told.as_str(), "alert" | "morning")
}

/// `site`: there are several, so each is named.
fn digest_card(digest: &DigestRow, site: bool, ctx: Ctx) -> DigestCard {
    let t = ctx.texts();
    let lines: Vec<DutyCard> = digest.lines.iter().map(|line| duty_card(line, ctx)).collect();
    let open = lines.iter().filter(|line| line.state != "done").count();
    let title = match open {
        0 => t.duties_all_done.clone(),
        n => fill(&t.duties_title, &[("n", &n.to_string())]),
    };
    DigestCard {
        day: digest.day.clone(),
        title: if site { format!("{} · {title}", digest.site) } else { title },
        // Before half past eight nothing was told yet.
        told: if digest.id == 0 {
            String::new()
        } else {
            fill(&t.duties_told, &[("time", &ctx.zone.clock(digest.at))])
        },
        open,
        lines,
    }
}

fn duty_card(line: &DutyLine, ctx: Ctx) -> DutyCard {
    let t = ctx.texts();
    let known = duty_name(&line.duty, t);
    let what = known.map_or_else(|| ctx.words(&line.title), ToOwned::to_owned);
    let names = [ctx.words(&line.device_name), what];
    let done = line.state == "done";
    let standing = match (line.state.as_str(), line.due_at) {
        ("done", _) => t.duty_done.clone(),
        ("overdue", Some(at)) if at < ctx.now => {
            fill(&t.time_overdue, &[("span", &duration_short(ctx.now - at, ctx.lang))])
        }
        ("overdue", _) => t.duty_overdue.clone(),
        (_, Some(at)) if at > ctx.now => fill(&t.duty_due_at, &[("time", &ctx.zone.clock(at))]),
        _ => t.duty_due.clone(),
    };
    DutyCard {
        duty: line.duty.clone(),
        name: names.into_iter().filter(|name| !name.is_empty()).collect::<Vec<_>>().join(" · "),
        overdue: line.state == "overdue",
        state: line.state.clone(),
        standing,
        action: if done { String::new() } else { ctx.words(&line.action) },
    }
}

/// What a duty is called; `None` of one that a pack from elsewhere brings: its rule's title says it.
fn duty_name<'t>(duty: &str, t: &'t Texts) -> Option<&'t str> {
    Some(match duty {
        "bowie-dick" => &t.duty_bowie_dick,
        "biological" => &t.duty_biological,
        "chemical" => &t.duty_chemical,
        "calibration" => &t.duty_calibration,
        "lamp-cleaning" => &t.duty_lamp_cleaning,
        "water-line" => &t.duty_water_line,
        "manual-reading" => &t.duty_manual_reading,
        _ => return None,
    })
}

/// One per rule and device, the newest; the most urgent first.
fn own(alerts: &[AlertRow], asked: &Asked<'_>, ctx: Ctx) -> Vec<OwnCard> {
    let mut newest: BTreeMap<(&str, &str, &str), &AlertRow> = BTreeMap::new();
    for alert in alerts.iter().filter(|alert| is_own(alert)) {
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
        pause: pause_form(alert, asked.pause_max.get(&alert.n).copied(), asked.requests, ctx),
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
            Some(_) | None => point
                .cause
                .as_deref()
                .and_then(|cause| cause_name(cause, t))
                .unwrap_or_else(|| quality_name(&point.quality, t))
                .to_owned(),
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
    pause: PauseForm,
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
        pause: PauseForm,
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
            pause,
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
