//! Leads (线索): Monday's list of ratios that do not fit. Leads first, then what cannot be judged, then what was dealt with.

use askama::Template;
use axum::Form;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::asker::{Asker, Stop, page};
use super::format::{decimal, permille};
use super::texts::{Texts, fill};
use super::view::{Ctx, Moment, Shell, case_number};
use crate::app::AppState;
use crate::error::ApiError;
use crate::leads;
use crate::store::LeadRow;

const DAY_MS: i64 = 86_400_000;
/// Weeks that can be chosen.
const WEEKS_MAX: i64 = 12;

/// The page.
#[derive(Debug, Template)]
#[template(path = "leads.html")]
pub(crate) struct LeadsPage {
    s: Shell,
    t: &'static Texts,
    week: String,
    weeks: Vec<Week>,
    listed: Vec<Row>,
    unjudged: Vec<Row>,
    answered: Vec<Row>,
    /// The asker may answer.
    answers: bool,
}

#[derive(Debug)]
struct Week {
    from: i64,
    name: String,
    chosen: bool,
}

#[derive(Debug)]
struct Row {
    id: i64,
    unit: String,
    place: String,
    title: String,
    sentence: String,
    norm: String,
    found: String,
    expected: String,
    feed: String,
    /// Of a ratio that cannot be judged.
    unjudged: String,
    state: String,
    standing: String,
    answered: Option<Moment>,
    case: Option<(i64, String)>,
}

impl LeadsPage {
    /// Of the week that begins at `week`; `weeks` are those that have a list, newest first.
    pub(crate) fn new(s: Shell, week: i64, weeks: &[i64], leads: &[LeadRow], answers: bool) -> Self {
        let (ctx, t) = (s.ctx, s.ctx.texts());
        let of = |states: &[&str]| -> Vec<Row> {
            leads
                .iter()
                .filter(|lead| states.contains(&lead.state.as_str()))
                .map(|lead| row(lead, ctx))
                .collect()
        };
        let mut all: Vec<i64> = weeks.iter().copied().chain([week]).collect();
        all.sort_unstable_by_key(|week| std::cmp::Reverse(*week));
        all.dedup();
        let weeks =
            all.into_iter().map(|from| Week { from, name: name(from, ctx), chosen: from == week }).collect();
        Self {
            week: name(week, ctx),
            weeks,
            listed: of(&["listed"]),
            unjudged: of(&["unjudged"]),
            answered: of(&["dismissed", "case"]),
            answers,
            s,
            t,
        }
    }
}

/// Its first and its last day.
fn name(week: i64, ctx: Ctx) -> String {
    let (from, to) = (ctx.zone.day(week, ctx.lang), ctx.zone.day(week + 6 * DAY_MS, ctx.lang));
    fill(&ctx.texts().leads_week, &[("from", &from), ("to", &to)])
}

fn row(lead: &LeadRow, ctx: Ctx) -> Row {
    let t = ctx.texts();
    let found = &lead.found;
    let number = |value: Option<f64>| value.map_or_else(|| "—".to_owned(), decimal);
    let feed = lead.feed.map_or_else(|| "—".to_owned(), permille);
    let standing = match lead.state.as_str() {
        "dismissed" => fill(&t.leads_dismissed, &[("reason", lead.reason.as_deref().unwrap_or_default())]),
        "case" => t.leads_to_case_done.clone(),
        _ => String::new(),
    };
    let names = [found.site.clone(), ctx.words(&found.device_name)];
    Row {
        id: lead.id,
        unit: ctx.words(&lead.institution_name),
        place: names.into_iter().filter(|name| !name.is_empty()).collect::<Vec<_>>().join(" · "),
        title: if lead.state == "unjudged" {
            fill(&t.leads_whether, &[("title", &ctx.words(&found.title))])
        } else {
            ctx.words(&found.title)
        },
        sentence: ctx.words(&found.sentence),
        norm: ctx.words(&found.norm),
        found: number(found.value),
        expected: number(found.limit),
        unjudged: fill(&t.leads_unjudged_row, &[("feed", &feed)]),
        feed,
        state: lead.state.clone(),
        standing,
        answered: lead.answered_at.map(|at| ctx.moment(at)),
        case: lead.case.map(|id| (id, case_number(id))),
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Chosen {
    week: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct LeadForm {
    csrf: String,
    reason: String,
    week: Option<i64>,
}

/// `GET /leads`.
pub(super) async fn show(
    State(app): State<AppState>,
    asker: Asker,
    Query(chosen): Query<Chosen>,
) -> Result<Response, Stop> {
    let viewer = asker.of_center()?;
    let scope = viewer.scope();
    let failed = |error: sqlx::Error| asker.stop(error, "/");
    let week = chosen.week.unwrap_or_else(|| leads::listed_week(app.clock.civil()));
    let weeks = app.store.lead_weeks(&scope, WEEKS_MAX).await.map_err(failed)?;
    let list = app.store.leads(&scope, week).await.map_err(failed)?;
    let answers = viewer.user.role.is_on_duty();
    Ok(page(StatusCode::OK, &LeadsPage::new(asker.shell("leads"), week, &weeks, &list, answers)))
}

/// `POST /leads/{id}/{act}`: `dismiss` with a reason, `case`.
pub(super) async fn act(
    State(app): State<AppState>,
    asker: Asker,
    Path((id, act)): Path<(i64, String)>,
    Form(form): Form<LeadForm>,
) -> Result<Response, Stop> {
    let viewer = asker.of_center()?;
    let here = form.week.map_or_else(|| "/leads".to_owned(), |week| format!("/leads?week={week}"));
    viewer.check_csrf(&form.csrf).map_err(|error| asker.stop(error, &here))?;
    let to = match act.as_str() {
        "dismiss" => leads::dismiss(&app, viewer, id, &form.reason).await.map(|()| here.clone()),
        "case" => leads::open_case(&app, viewer, id).await.map(|case| format!("/cases/{case}")),
        _ => Err(ApiError::NotFound),
    };
    let to = to.map_err(|error| asker.stop(error, &here))?;
    Ok(Redirect::to(&to).into_response())
}
