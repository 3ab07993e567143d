//! One case on one page: why it fired, the readings with the limit, everything that happened, and only the acts
//! that the asker may do now.

use askama::Template;
use center_casebook::CaseState;

use super::alerts::cleared_name;
use super::curve::Curve;
use super::format::{deadline, decimal, long_time, permille, short_time};
use super::requests::PauseForm;
use super::texts::{Texts, fill};
use super::view::{
    Badge, Ctx, Mark, Moment, Shell, case_number, quality_name, recipient_name, role_name, state_name,
    state_of, value_and_limit,
};
use crate::store::{AlertRow, CaseDetail, Role, TimelineEntry, VerificationRow};

/// The page.
#[derive(Debug, Template)]
#[template(path = "case.html")]
pub(crate) struct CasePage {
    s: Shell,
    t: &'static Texts,
    id: i64,
    heading: String,
    mark: Mark,
    title: String,
    sentence: String,
    unit: String,
    device: String,
    state: &'static str,
    state_text: String,
    closed: bool,
    badges: Vec<Badge>,
    opened: Moment,
    raised: String,
    why: Why,
    curve: Curve,
    verification: Option<Verdict>,
    deadlines: Vec<Due>,
    facts: Vec<(String, String)>,
    timeline: Vec<Entry>,
    acts: Acts,
    pause: PauseForm,
    waiting: String,
    refusal: Option<String>,
}

/// A record that reaches the center so much later than what it tells happened came late, ms.
const LATE_MS: i64 = 2 * 60_000;

/// Why the rule fired.
#[derive(Debug)]
struct Why {
    rule: String,
    sentence: String,
    value: Option<String>,
    limit: Option<String>,
    since: Option<Moment>,
    norm: String,
    confidence: Option<String>,
    quality: String,
    quality_good: bool,
}

#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) code: String,
    pub(crate) text: String,
    pub(crate) details: Vec<String>,
}

#[derive(Debug)]
struct Due {
    label: String,
    text: String,
    overdue: bool,
}

/// One thing that happened.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) kind: String,
    pub(crate) at: Moment,
    pub(crate) title: String,
    pub(crate) actor: String,
    pub(crate) tone: &'static str,
    pub(crate) text: Option<String>,
    pub(crate) details: Vec<String>,
    pub(crate) photos: Vec<Photo>,
}

#[derive(Debug)]
pub(crate) struct Photo {
    pub(crate) href: String,
    pub(crate) label: String,
}

/// What the asker may do now.
#[derive(Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "one per act of the casebook, each read once by the template"
)]
struct Acts {
    seen: u32,
    acknowledge: bool,
    dispatch: Option<DispatchForm>,
    review: bool,
    close: bool,
    recall: bool,
    reverify: bool,
    note: bool,
    main: bool,
    /// What was typed as a reason or note before a refusal.
    reason: String,
}

#[derive(Debug)]
struct DispatchForm {
    recipient: String,
    recipient_name: String,
    deadline: String,
    requirement: String,
    preview_title: String,
    preview_deadline: String,
}

/// What an asker typed in a form that was refused: never thrown away.
#[derive(Debug, Default, Clone)]
pub(crate) struct Typed {
    pub(crate) refusal: Option<String>,
    pub(crate) requirement: Option<String>,
    pub(crate) deadline: Option<String>,
    pub(crate) reason: Option<String>,
}

impl CasePage {
    /// `mark` is the confidence mark of the rule's figure, empty when its plan is not at hand.
    pub(crate) fn new(
        s: Shell,
        detail: &CaseDetail,
        mark: &str,
        curve: Curve,
        pause: PauseForm,
        typed: &Typed,
    ) -> Self {
        let (ctx, t) = (s.ctx, s.ctx.texts());
        let row = &detail.row;
        let state = state_of(row);
        let raised = detail.alerts.first().map_or(row.opened_at, |alert| alert.raised_at);
        let alert = main_alert(&detail.alerts);
        Self {
            id: row.id,
            heading: fill(&t.case_title, &[("id", &case_number(row.id))]),
            mark: Mark::new(&row.priority, ctx.lang),
            title: ctx.words(&row.title),
            sentence: alert.map_or_else(|| ctx.words(&row.sentence), |alert| ctx.words(&alert.sentence)),
            unit: ctx.words(&row.institution_name),
            device: ctx.words(&row.device_name),
            state: state.code(),
            state_text: state_name(state, t).to_owned(),
            closed: state == CaseState::Closed,
            badges: badges(detail, ctx),
            opened: ctx.moment(row.opened_at),
            raised: fill(&t.case_raised, &[("time", &long_time(raised, ctx.zone, ctx.lang))]),
            why: why(detail, alert, mark, ctx),
            curve,
            verification: detail.verification.as_ref().map(|verdict| verdict_of(verdict, ctx)),
            deadlines: dues(detail, ctx),
            facts: facts(detail, ctx),
            timeline: detail.timeline.iter().rev().map(|entry| entry_of(entry, detail, ctx)).collect(),
            acts: acts(detail, typed, ctx),
            pause,
            waiting: waiting(state, t).to_owned(),
            refusal: typed.refusal.clone(),
            s,
            t,
        }
    }
}

/// The alert that the page speaks of: the newest that is not over, else the newest.
pub(crate) fn main_alert(alerts: &[AlertRow]) -> Option<&AlertRow> {
    alerts.iter().rev().find(|alert| alert.state == "open").or_else(|| alerts.last())
}

fn badges(detail: &CaseDetail, ctx: Ctx) -> Vec<Badge> {
    let t = ctx.texts();
    let row = &detail.row;
    let mut badges = Vec::new();
    if row.self_cleared {
        let cause = main_alert(&detail.alerts).and_then(|alert| alert.clear_cause.as_deref());
        // Over because the rule is another now says nothing about the data.
        let text = match cause {
            Some("returned") | None => t.case_self_cleared.as_str(),
            Some(_) => cleared_name(cause, t),
        };
        badges.push(Badge::plain(text));
    }
    if row.alert_count > 1 {
        badges.push(Badge::plain(fill(&t.case_alerts, &[("n", &row.alert_count.to_string())])));
    }
    if let Some(before) = row.recurrence_of {
        badges.push(Badge::warn(fill(&t.case_recurrence, &[("id", &case_number(before))])));
    }
    if main_alert(&detail.alerts).is_some_and(|alert| alert.chain == "open") {
        badges.push(Badge::plain(&*t.chain_open));
    }
    if row.simulated {
        badges.push(Badge::plain(&*t.simulated));
    }
    badges
}

fn why(detail: &CaseDetail, alert: Option<&AlertRow>, mark: &str, ctx: Ctx) -> Why {
    let t = ctx.texts();
    let (value, limit) = alert.map_or((None, None), value_and_limit);
    let quality = alert.map_or("good", |alert| alert.quality.as_str());
    Why {
        rule: detail.row.rule.clone(),
        sentence: alert.map_or_else(|| ctx.words(&detail.row.sentence), |alert| ctx.words(&alert.sentence)),
        value,
        limit,
        since: alert.and_then(|alert| alert.since).map(|at| ctx.moment(at)),
        norm: ctx.words(&detail.row.norm),
        confidence: confidence(mark, t),
        quality: quality_name(quality, t).to_owned(),
        quality_good: quality == "good",
    }
}

pub(crate) fn verdict_of(verdict: &VerificationRow, ctx: Ctx) -> Verdict {
    let t = ctx.texts();
    let text = match verdict.verdict.as_str() {
        "pass" => &t.verify_pass,
        "fail" => &t.verify_fail,
        "insufficient" => &t.verify_insufficient,
        _ => &t.verify_pending,
    };
    let (from, to) =
        (short_time(verdict.from, ctx.zone, ctx.lang), short_time(verdict.to, ctx.zone, ctx.lang));
    let window = if verdict.verdict == "pending" { &t.verify_pending_note } else { &t.event_window };
    let mut details = vec![fill(window, &[("from", &from), ("to", &to)])];
    details.extend(verdict.reason.as_deref().and_then(|code| reason_name(code, t)).map(str::to_owned));
    details.extend(verdict.coverage.map(|share| fill(&t.event_coverage, &[("coverage", &permille(share))])));
    details.extend(
        verdict
            .first_violation
            .map(|at| fill(&t.event_first_violation, &[("time", &short_time(at, ctx.zone, ctx.lang))])),
    );
    if !verdict.unseen.is_empty() {
        details.push(fill(&t.event_unseen, &[("points", &verdict.unseen.join(", "))]));
    }
    details.extend(
        verdict
            .data_hash
            .as_ref()
            .map(|hash| fill(&t.event_hash, &[("hash", &hash.chars().take(16).collect::<String>())])),
    );
    Verdict { code: verdict.verdict.clone(), text: text.clone(), details }
}

/// Why a verdict came out as it did; a code from a newer center is left out rather than shown raw.
fn reason_name<'t>(code: &str, t: &'t Texts) -> Option<&'t str> {
    Some(match code {
        "held" => &t.reason_held,
        "violated" => &t.reason_violated,
        "not_good" => &t.reason_not_good,
        "coverage" => &t.reason_coverage,
        "silent" => &t.reason_silent,
        "never_seen" => &t.reason_never_seen,
        "cycle_failed" => &t.reason_cycle_failed,
        "no_cycle" => &t.reason_no_cycle,
        "not_verifiable" => &t.reason_not_verifiable,
        "no_history" => &t.reason_no_history,
        "reaches_back" => &t.reason_reaches_back,
        "not_tested" => &t.reason_not_tested,
        "happened_again" => &t.reason_happened_again,
        "duty_failed" => &t.reason_duty_failed,
        "window_too_long" => &t.reason_window_too_long,
        "no_config" => &t.reason_no_config,
        "rule_gone" => &t.reason_rule_gone,
        _ => return None,
    })
}

/// How sure the figure of a rule is, by its pack's mark.
fn confidence(mark: &str, t: &Texts) -> Option<String> {
    let text = match mark {
        "V" => &t.mark_v,
        "S" => &t.mark_s,
        "C" => &t.mark_c,
        "K" | "KL" => &t.mark_k,
        "P" => &t.mark_p,
        "A" => &t.mark_a,
        _ => return None,
    };
    Some(format!("{mark} · {text}"))
}

fn dues(detail: &CaseDetail, ctx: Ctx) -> Vec<Due> {
    let t = ctx.texts();
    detail
        .deadlines
        .iter()
        .map(|due| Due {
            label: if due.kind == "verify" { t.deadline_verify.clone() } else { t.deadline_rectify.clone() },
            text: deadline(due.at, ctx.now, ctx.zone, ctx.lang),
            overdue: due.overdue,
        })
        .collect()
}

fn facts(detail: &CaseDetail, ctx: Ctx) -> Vec<(String, String)> {
    let t = ctx.texts();
    let row = &detail.row;
    let mut facts = vec![
        (t.case_unit.clone(), ctx.words(&row.institution_name)),
        (t.case_device.clone(), ctx.words(&row.device_name)),
        (t.case_rule.clone(), row.rule.clone()),
    ];
    let receiver = detail.timeline.iter().rev().find(|entry| entry.kind == "acknowledged");
    facts.extend(receiver.map(|entry| (t.case_owner.clone(), entry.actor.clone())));
    facts.extend(row.recipient.as_ref().map(|to| (t.case_recipient.clone(), recipient_name(to, row, ctx))));
    facts
}

fn actor_name(entry: &TimelineEntry, ctx: Ctx) -> String {
    let t = ctx.texts();
    match entry.actor_kind.as_str() {
        "person" => {
            let role = entry.role.as_deref().and_then(Role::parse).map(|role| role_name(role, t));
            role.map_or_else(|| entry.actor.clone(), |role| format!("{} · {role}", entry.actor))
        }
        "gateway" => t.actor_gateway.clone(),
        _ => t.actor_center.clone(),
    }
}

/// One line of the timeline, for the center's page and the unit's.
pub(crate) fn entry_of(entry: &TimelineEntry, detail: &CaseDetail, ctx: Ctx) -> Entry {
    let t = ctx.texts();
    let decision = entry.decision.as_deref();
    let verdict = entry.verdict.as_ref().map(|verdict| verdict.verdict.as_str());
    let (title, tone): (String, &'static str) = match entry.kind.as_str() {
        "opened" if detail.row.recurrence_of.is_some() => (t.event_opened_again.clone(), "alert"),
        "opened" => (t.event_opened.clone(), "alert"),
        "joined" => (t.event_joined.clone(), "alert"),
        "worsened" => (t.event_worsened.clone(), "alert"),
        "self_cleared" => (t.event_self_cleared.clone(), "machine"),
        "acknowledged" => (t.event_acknowledged.clone(), "act"),
        "dispatched" => {
            let to = entry
                .recipient
                .as_deref()
                .map_or_else(String::new, |to| recipient_name(to, &detail.row, ctx));
            let by = entry.deadline.map_or_else(String::new, |at| long_time(at, ctx.zone, ctx.lang));
            (fill(&t.event_dispatched, &[("recipient", &to), ("deadline", &by)]), "act")
        }
        "accepted" => (t.event_accepted.clone(), "unit"),
        "submitted" => (t.event_submitted.clone(), "unit"),
        "judged" => match verdict {
            Some("pass") => (t.event_judged_pass.clone(), "machine"),
            Some("fail") => (t.event_judged_fail.clone(), "alert"),
            Some(_) | None => (t.event_judged_insufficient.clone(), "alert"),
        },
        "extended" => (t.event_extended.clone(), "machine"),
        "on_site_needed" => (t.event_on_site_needed.clone(), "alert"),
        "reviewed" if decision == Some("reject") => (t.event_reviewed_reject.clone(), "act"),
        "reviewed" => (t.event_reviewed_approve.clone(), "act"),
        "disposed" => {
            let name = match decision {
                Some("false_alarm") => &t.close_false_alarm,
                Some(_) | None => &t.close_test_or_maintenance,
            };
            (fill(&t.event_disposed, &[("disposition", name)]), "act")
        }
        "recalled" => (t.event_recalled.clone(), "act"),
        "reverified" => (t.event_reverified.clone(), "act"),
        _ => (t.event_noted.clone(), "act"),
    };
    let mut details = Vec::new();
    if let Some((from, to)) = entry.window {
        let window =
            [("from", short_time(from, ctx.zone, ctx.lang)), ("to", short_time(to, ctx.zone, ctx.lang))];
        details.push(fill(&t.event_window, &[(window[0].0, &window[0].1), (window[1].0, &window[1].1)]));
    }
    details.extend(entry.verdict.iter().flat_map(|verdict| verdict_of(verdict, ctx).details));
    if matches!(entry.kind.as_str(), "opened" | "joined" | "worsened") {
        details.extend(entry.alert.as_ref().and_then(|id| raised_value(id, detail, t)));
    }
    // When it happened on site; where the record came late, that is said.
    let happened = entry.alert.as_ref().and_then(|id| {
        let alert = detail.alerts.iter().find(|alert| alert.id == *id)?;
        match entry.kind.as_str() {
            "opened" | "joined" => Some(alert.raised_at),
            "self_cleared" => alert.cleared_at,
            _ => None,
        }
    });
    let at = happened.filter(|at| entry.at.saturating_sub(*at) >= LATE_MS).unwrap_or(entry.at);
    if at != entry.at {
        let received = short_time(entry.at, ctx.zone, ctx.lang);
        details.push(fill(&t.event_received, &[("time", &received)]));
    }
    Entry {
        kind: entry.kind.clone(),
        at: ctx.moment(at),
        title,
        actor: actor_name(entry, ctx),
        tone,
        text: entry.text.clone().filter(|text| !text.trim().is_empty()),
        details,
        photos: (1..)
            .zip(&entry.attachments)
            .map(|(n, hash)| Photo {
                href: format!("/api/v1/attachments/{hash}"),
                label: fill(&t.attachment, &[("n", &decimal(f64::from(n)))]),
            })
            .collect(),
    }
}

fn raised_value(id: &str, detail: &CaseDetail, t: &Texts) -> Option<String> {
    let alert = detail.alerts.iter().find(|alert| alert.id == id)?;
    let (value, limit) = value_and_limit(alert);
    Some(format!("{} {} · {} {}", t.measured, value?, t.limit, limit?))
}

fn acts(detail: &CaseDetail, typed: &Typed, ctx: Ctx) -> Acts {
    let t = ctx.texts();
    let row = &detail.row;
    let may = |code: &str| detail.next.iter().any(|next| next == code);
    let dispatch = may("dispatch").then(|| {
        let days = match row.priority.as_str() {
            "red" => 1,
            "orange" => 2,
            "yellow" => 3,
            _ => 5,
        };
        let suggested = ctx.zone.working_days_after(ctx.now, days);
        let deadline_field = typed.deadline.clone().unwrap_or_else(|| ctx.zone.field(suggested));
        let at = ctx.zone.parse_field(&deadline_field).unwrap_or(suggested);
        let action = ctx.words(&row.action);
        DispatchForm {
            recipient: row.institution.clone(),
            recipient_name: ctx.words(&row.institution_name),
            deadline: deadline_field,
            requirement: typed.requirement.clone().unwrap_or_else(|| {
                fill(&t.dispatch_requirement_prefill, &[("action", &ended(&action, ctx))])
            }),
            preview_title: ctx.words(&row.title),
            preview_deadline: deadline(at, ctx.now, ctx.zone, ctx.lang),
        }
    });
    let mut acts = Acts {
        seen: row.event,
        acknowledge: may("acknowledge"),
        dispatch,
        review: may("review"),
        close: may("close"),
        recall: may("recall"),
        reverify: may("reverify"),
        note: may("note"),
        main: false,
        reason: typed.reason.clone().unwrap_or_default(),
    };
    acts.main = acts.acknowledge || acts.dispatch.is_some() || acts.review || acts.close || acts.reverify;
    acts
}

/// A sentence with an end, so that another may follow it.
fn ended(sentence: &str, ctx: Ctx) -> String {
    let sentence = sentence.trim();
    match sentence.chars().last() {
        None | Some('。' | '.' | '!' | '！' | '?' | '？') => sentence.to_owned(),
        Some(_) if ctx.lang.is_english() => format!("{sentence}."),
        Some(_) => format!("{sentence}。"),
    }
}

fn waiting(state: CaseState, t: &Texts) -> &str {
    match state {
        CaseState::Dispatched | CaseState::Rectifying => &t.case_waiting_unit,
        CaseState::Verifying => &t.case_waiting_data,
        CaseState::Closed => &t.case_closed,
        CaseState::Open | CaseState::Acknowledged | CaseState::OnSite | CaseState::Verified => {
            &t.case_no_actions
        }
    }
}
