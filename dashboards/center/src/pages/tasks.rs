//! 我的待办: what waits for the asker now, by step, most urgent first. An empty list says why it is empty.

use askama::Template;
use center_casebook::CaseState;

use super::format::{ago, deadline};
use super::requests::{RequestCard, cards};
use super::texts::{Texts, fill};
use super::view::{Badge, Ctx, Mark, Moment, Shell, case_number, state_of};
use crate::store::{CaseRow, GatewayRow, RequestRow};

/// Rows drawn on one page; the rest is counted and reached by the filters.
const ROWS_MAX: usize = 200;
/// Requests of units drawn on it.
const REQUESTS_MAX: usize = 50;

/// The page.
#[derive(Debug, Template)]
#[template(path = "tasks.html")]
pub(crate) struct TasksPage {
    s: Shell,
    t: &'static Texts,
    mine: Vec<Step>,
    others: Vec<Step>,
    overdue: Step,
    rows: Vec<TaskRow>,
    heading: String,
    count: String,
    filtered: bool,
    empty: Option<Empty>,
    requests: Vec<RequestCard>,
    answered: Vec<RequestCard>,
}

#[derive(Debug)]
struct Step {
    code: &'static str,
    label: String,
    count: usize,
    chosen: bool,
}

#[derive(Debug)]
struct TaskRow {
    id: i64,
    number: String,
    mark: Mark,
    title: String,
    unit: String,
    device: String,
    step: String,
    state: &'static str,
    unacked: bool,
    deadline: Option<String>,
    overdue: bool,
    opened: Moment,
    badges: Vec<Badge>,
}

#[derive(Debug)]
struct Empty {
    kind: &'static str,
    text: String,
    sub: String,
}

/// Steps whose next act is the center's.
const MINE: [CaseState; 4] =
    [CaseState::Open, CaseState::Acknowledged, CaseState::Verified, CaseState::OnSite];
/// Steps that wait for the unit or for data.
const OTHERS: [CaseState; 3] = [CaseState::Dispatched, CaseState::Rectifying, CaseState::Verifying];
const OVERDUE: &str = "overdue";

impl TasksPage {
    /// From the active cases, the gateways and the requests of units that exist for the asker. `step` is the filter of the
    /// address; `answers` = the asker may answer requests.
    pub(crate) fn new(
        s: Shell,
        cases: &[CaseRow],
        gateways: &[GatewayRow],
        (requests, answers): (&[RequestRow], bool),
        step: Option<&str>,
    ) -> Self {
        let (ctx, t) = (s.ctx, s.ctx.texts());
        let late = |case: &CaseRow| {
            state_of(case) != CaseState::Closed && case.deadline.is_some_and(|deadline| deadline < ctx.now)
        };
        let count = |state: CaseState| cases.iter().filter(|case| state_of(case) == state).count();
        let tile = |state: CaseState| Step {
            code: state.code(),
            label: step_name(state, t).to_owned(),
            count: count(state),
            chosen: step == Some(state.code()),
        };
        let wanted = |case: &CaseRow| match step {
            Some(OVERDUE) => late(case),
            Some(code) => case.state == code,
            // Overdue work of others is the center's to chase.
            None => MINE.contains(&state_of(case)) || late(case),
        };
        let mut chosen: Vec<&CaseRow> = cases.iter().filter(|case| wanted(case)).collect();
        chosen.sort_by_key(|case| {
            let rank = Mark::new(&case.priority, ctx.lang).n;
            (!late(case), rank, case.deadline.unwrap_or(i64::MAX), case.opened_at, case.id)
        });
        let total = chosen.len();
        let rows: Vec<TaskRow> =
            chosen.iter().take(ROWS_MAX).map(|case| row(case, ctx, late(case))).collect();
        let shown = rows.len().to_string();
        let count = if rows.len() < total {
            fill(&t.tasks_shown, &[("shown", &shown), ("n", &total.to_string())])
        } else {
            fill(&t.tasks_total, &[("n", &shown)])
        };
        let heading = match step {
            Some(OVERDUE) => t.tasks_overdue.clone(),
            Some(code) => {
                CaseState::parse(code).map_or(&*t.tasks_all, |state| step_name(state, t)).to_owned()
            }
            None => t.tasks_all.clone(),
        };
        let (requests, answered) = cards(requests, answers, ctx)
            .into_iter()
            .take(REQUESTS_MAX)
            .partition(|request: &RequestCard| request.state == "asked");
        let empty = rows.is_empty().then(|| {
            if step.is_some() {
                return Empty { kind: "filter", text: t.empty_filter.clone(), sub: String::new() };
            }
            why_empty(gateways, ctx)
        });
        Self {
            mine: MINE.map(tile).into(),
            others: OTHERS.map(tile).into(),
            overdue: Step {
                code: OVERDUE,
                label: t.tasks_overdue.clone(),
                count: cases.iter().filter(|case| late(case)).count(),
                chosen: step == Some(OVERDUE),
            },
            rows,
            heading,
            count,
            filtered: step.is_some(),
            empty,
            requests,
            answered,
            s,
            t,
        }
    }
}

fn step_name(state: CaseState, t: &Texts) -> &str {
    match state {
        CaseState::Open => &t.step_open,
        CaseState::Acknowledged => &t.step_acknowledged,
        CaseState::Dispatched => &t.step_dispatched,
        CaseState::Rectifying => &t.step_rectifying,
        CaseState::Verifying => &t.step_verifying,
        CaseState::OnSite => &t.step_on_site,
        CaseState::Verified => &t.step_verified,
        CaseState::Closed => &t.step_closed,
    }
}

fn row(case: &CaseRow, ctx: Ctx, late: bool) -> TaskRow {
    let t = ctx.texts();
    let state = state_of(case);
    let mut badges = Vec::new();
    if case.self_cleared {
        badges.push(Badge::plain(&*t.case_self_cleared));
    }
    if case.alert_count > 1 {
        badges.push(Badge::plain(fill(&t.case_alerts, &[("n", &case.alert_count.to_string())])));
    }
    if case.verdict.as_deref() == Some("fail") {
        badges.push(Badge::warn(&*t.verify_fail));
    }
    TaskRow {
        id: case.id,
        number: case_number(case.id),
        mark: Mark::new(&case.priority, ctx.lang),
        title: ctx.words(&case.title),
        unit: ctx.words(&case.institution_name),
        device: ctx.words(&case.device_name),
        step: step_name(state, t).to_owned(),
        state: state.code(),
        unacked: state == CaseState::Open,
        deadline: case.deadline.map(|at| deadline(at, ctx.now, ctx.zone, ctx.lang)),
        overdue: late,
        opened: ctx.moment(case.opened_at),
        badges,
    }
}

/// An empty list is only good news when somebody is measuring.
fn why_empty(gateways: &[GatewayRow], ctx: Ctx) -> Empty {
    let t = ctx.texts();
    let heard: Vec<&GatewayRow> = gateways.iter().filter(|gateway| gateway.state != "never").collect();
    if heard.is_empty() {
        return Empty { kind: "nobody", text: t.empty_nobody.clone(), sub: t.empty_nobody_sub.clone() };
    }
    let in_state = |state: &str| heard.iter().filter(|gateway| gateway.state == state).count();
    let (silent, off) = (in_state("silent"), in_state("off"));
    // Of those that should be in contact, none is.
    if silent > 0 && silent + off == heard.len() {
        let seen = heard.iter().filter_map(|gateway| gateway.last_seen).max();
        let last = seen.map_or_else(|| t.never.clone(), |at| ago(at, ctx.now, ctx.lang));
        let sub = fill(&t.empty_down_sub, &[("ago", &last)]);
        return Empty { kind: "down", text: t.empty_down.clone(), sub };
    }
    if silent > 0 {
        let text = fill(&t.empty_some_silent, &[("n", &silent.to_string())]);
        return Empty { kind: "silent", text, sub: t.empty_some_silent_sub.clone() };
    }
    let data = heard.iter().filter_map(|gateway| gateway.data_until).max();
    let last = data.map_or_else(|| t.never.clone(), |at| ago(at, ctx.now, ctx.lang));
    let form = if off > 0 { &t.empty_quiet_off_sub } else { &t.empty_quiet_sub };
    let (on, off) = ((heard.len() - off).to_string(), off.to_string());
    let sub = fill(form, &[("n", &on), ("off", &off), ("ago", &last)]);
    Empty { kind: "quiet", text: t.empty_quiet.clone(), sub }
}
