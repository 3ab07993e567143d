//! Leads (线索): ratios that do not fit (handpieces for visits, cups for rooms, waste per visit) are no live alerts and open no
//! case. Each Monday at half past eight the center lists those of the week before, per site (users.md B); a person dismisses
//! one with a reason, or opens a case of it.
//!
//! A ratio is only worth as much as what was counted: where less than [`COMPLETE_PERMILLE`] of what should have been measured is
//! accounted for, it is listed as one that cannot be judged, whatever the gateway found. Completeness is the share of the time in
//! which contact was due of which records are here, times the share of good answers among those due of the devices that are
//! counted, where they are asked; what is sent to the gateway when somebody likes has nothing due, and only the time counts.
//!
//! Promises: what comes late (a backlog delivered on Monday noon) is still listed, until the next list; whoever answered is in the
//! audit log. Leaves out: judging ratios itself, which is the gateway's.

use gateway_engine::contact_due_ms;
use gateway_model::{CivilTime, Counted, EngineTime, Plan, RatioPlan, RulePlan};
use gateway_wire::Body;

use center_casebook::{MORNING_MS, Telling, ratios, telling};

use crate::alerts::priority_code;
use crate::app::App;
use crate::auth::Viewer;
use crate::cases;
use crate::civil::ClockTable;
use crate::error::ApiError;
use crate::pages::Zone;
use crate::project::Changes;
use crate::requests::reason_of;
use crate::store::leads::{self as rows, Found};
use crate::store::{AlertRow, LeadRow, Words, alerts as alert_rows, audit, count_up};

const DAY_MS: i64 = 86_400_000;
const WEEK_MS: i64 = 7 * DAY_MS;
/// A ratio over a feed that is less complete says nothing, ‰ (users.md B, A).
pub const COMPLETE_PERMILLE: u16 = 950;
/// Records follow each other within a heartbeat of 5 min; more than this between two is a hole, ms.
const HOLE_MS: i64 = 6 * 60_000;
/// What could not be judged is looked at again so long after, ms: what is missing may have come.
const LOOK_AGAIN_MS: i64 = 6 * 3_600_000;
/// Records decoded at a time.
const RECORDS_AT_ONCE: usize = 500;

/// What was looked at already.
#[derive(Debug, Default)]
pub struct Looked {
    /// The week of which every gateway was looked at, and when.
    at: Option<(i64, i64)>,
}

/// The first moment of the week (Monday, 00:00 at the center) whose list is the newest at `now`.
pub fn listed_week(now: CivilTime) -> i64 {
    let offset = Zone::BEIJING.offset_ms();
    // 1970-01-05 was a Monday.
    let since = now.0.saturating_add(offset).saturating_sub(4 * DAY_MS).saturating_sub(MORNING_MS);
    since
        .div_euclid(WEEK_MS)
        .saturating_sub(1)
        .saturating_mul(WEEK_MS)
        .saturating_add(4 * DAY_MS)
        .saturating_sub(offset)
}

/// Lists what belongs on the newest list and is not there yet.
pub async fn turn(app: &App, looked: &mut Looked) -> anyhow::Result<()> {
    let now = app.clock.civil();
    let week = listed_week(now);
    // Newest first: of several of one rule and device in a week, the newest is the lead.
    for alert in app.store.leads_to_list(week).await? {
        let ended = alert.cleared_at.is_some_and(|at| at < week);
        if alert.trial || alert.raised_at >= week + WEEK_MS || ended {
            continue;
        }
        if let Err(error) = raised(app, week, &alert).await {
            tracing::error!(error = format!("{error:#}"), alert = alert.id, "a lead could not be listed");
        }
    }
    let fresh = looked.at.is_some_and(|(of, at)| of == week && now.0 - at < LOOK_AGAIN_MS);
    if !fresh {
        sweep(app, week).await?;
        looked.at = Some((week, now.0));
    }
    Ok(())
}

/// Lists an alert, unless a newer one of its rule and device is listed, or the lead of that week is answered.
async fn raised(app: &App, week: i64, alert: &AlertRow) -> anyhow::Result<()> {
    let held = app.store.lead_of(week, &alert.gateway, &alert.rule, &alert.device).await?;
    let settled = |lead: &LeadRow| {
        lead.alert.is_some_and(|n| n >= alert.n) || !matches!(lead.state.as_str(), "listed" | "unjudged")
    };
    if held.as_ref().is_some_and(settled) {
        return Ok(());
    }
    let Some(plan) = app.plans.newest(&app.store, &alert.gateway).await? else { return Ok(()) };
    // Another configuration does not know the rule: nobody can be asked about it any more.
    let Some((_, rule)) = cases::rule_of(&plan, &alert.rule, &alert.device) else { return Ok(()) };
    list(app, &plan, rule, week, Of::Alert(alert)).await
}

/// Every ratio of every gateway whose feed had holes: where nothing was found, nobody could have found anything.
async fn sweep(app: &App, week: i64) -> anyhow::Result<()> {
    for (institution, site, gateway) in app.store.sites().await? {
        if let Err(error) = sweep_gateway(app, week, (&institution, &site, &gateway)).await {
            tracing::error!(
                error = format!("{error:#}"),
                gateway,
                "feeds of a gateway could not be looked at"
            );
        }
    }
    Ok(())
}

async fn sweep_gateway(
    app: &App,
    week: i64,
    (institution, site, gateway): (&str, &str, &str),
) -> anyhow::Result<()> {
    let Some(plan) = app.plans.newest(&app.store, gateway).await? else { return Ok(()) };
    let trial = plan.judging.as_ref().is_some_and(|judging| judging.trial);
    // What began in the course of the week has no whole week yet.
    let began = app.store.enrolled_at(gateway).await?.is_none_or(|at| at > week);
    if trial || began {
        return Ok(());
    }
    for rule in plan.rules.iter().filter(|rule| telling(&plan, rule) == Telling::Lead) {
        let device =
            plan.devices.get(rule.subject.slot()).map(|device| device.id.as_str()).unwrap_or_default();
        let of_site = Of::Site(institution, site, gateway);
        match app.store.lead_of(week, gateway, &rule.id, device).await? {
            None => list(app, &plan, rule, week, of_site).await?,
            Some(row) if row.state == "unjudged" => {
                let alert = match row.alert {
                    Some(n) => app.store.alert(n).await?,
                    None => None,
                };
                list(app, &plan, rule, week, alert.as_ref().map_or(of_site, Of::Alert)).await?;
            }
            Some(_) => (),
        }
    }
    Ok(())
}

/// What a line of the list is about: what a gateway found, or a site where it found nothing.
#[derive(Clone, Copy)]
enum Of<'a> {
    Alert(&'a AlertRow),
    Site(&'a str, &'a str, &'a str),
}

async fn list(app: &App, plan: &Plan, rule: &RulePlan, week: i64, of: Of<'_>) -> anyhow::Result<()> {
    let days = i64::from(ratios(plan, rule).map(|ratio| ratio.days).min().unwrap_or(7));
    let (institution, gateway, site) = match of {
        Of::Alert(alert) => (&*alert.institution, &*alert.gateway, &*alert.site),
        Of::Site(institution, site, gateway) => (institution, gateway, site),
    };
    let span = match of {
        // What the ratio was over when it was first out of line, and what it has been over since.
        Of::Alert(alert) => {
            let to = alert.cleared_at.unwrap_or(week + WEEK_MS).min(week + WEEK_MS);
            (alert.raised_at.saturating_sub(days * DAY_MS).max(week - WEEK_MS).min(to), to)
        }
        Of::Site(..) => (week, week + WEEK_MS),
    };
    let feed = feed_permille(app, gateway, plan, rule, span).await?;
    let complete = feed.is_some_and(|feed| feed >= COMPLETE_PERMILLE);
    let alert = match of {
        Of::Alert(alert) => Some(alert),
        Of::Site(..) => None,
    };
    let device = plan.devices.get(rule.subject.slot());
    let device_id = device.map(|device| device.id.clone()).unwrap_or_default();
    let held = app.store.lead_of(week, gateway, &rule.id, &device_id).await?;
    if alert.is_none() && (complete || feed.is_none()) {
        // In line after all, or nothing was due all week: it is no longer one that cannot be judged.
        if let Some(held) = held {
            let mut tx = app.store.write().await?;
            rows::forget(&mut tx, held.id).await?;
            tx.commit().await?;
        }
        return Ok(());
    }
    let words = |pick: fn(&AlertRow) -> &Words, other: &gateway_model::Text| {
        alert.map_or_else(|| other.clone().into(), |alert| pick(alert).clone())
    };
    let lead = LeadRow {
        id: 0,
        week,
        institution: institution.to_owned(),
        institution_name: Words::default(),
        gateway: gateway.to_owned(),
        rule: rule.id.clone(),
        device: device_id,
        alert: alert.map(|alert| alert.n),
        feed,
        state: if complete { "listed" } else { "unjudged" }.to_owned(),
        found: Found {
            site: site.to_owned(),
            device_name: device.map(|device| device.name.clone().into()).unwrap_or_default(),
            title: words(|alert| &alert.title, &rule.text.title),
            sentence: alert.map(|alert| alert.sentence.clone()).unwrap_or_default(),
            action: words(|alert| &alert.action, &rule.text.action),
            norm: words(|alert| &alert.norm, &rule.text.norm),
            value: alert.and_then(|alert| alert.value),
            limit: alert.and_then(|alert| alert.limit),
            unit: alert.and_then(|alert| alert.unit.clone()),
            days,
            span,
            simulated: app.clock.simulated(),
        },
        answered_by: None,
        answered_at: None,
        reason: None,
        case: None,
    };
    let mut tx = app.store.write().await?;
    let id = count_up(&mut tx, "leads").await?;
    rows::keep(&mut tx, id, &lead).await?;
    tx.commit().await?;
    Ok(())
}

/// How much of what should have been measured in a span of civil time is accounted for, ‰, of the devices that the rule's ratios count;
/// `None` = nothing was due.
async fn feed_permille(
    app: &App,
    gateway: &str,
    plan: &Plan,
    rule: &RulePlan,
    (from, to): (i64, i64),
) -> anyhow::Result<Option<u16>> {
    let clocks = ClockTable::new(app.store.clocks(gateway).await?);
    let calendar = plan.judging.as_ref().and_then(|judging| judging.calendar.as_ref());
    let due_ms = contact_due_ms(calendar, CivilTime(from), CivilTime(to));
    if due_ms == 0 {
        return Ok(None);
    }
    let (Some(first), Some(last)) = (clocks.engine(CivilTime(from)), clocks.engine(CivilTime(to))) else {
        return Ok(Some(0));
    };
    let spans = app.store.spans_between(gateway, first.0, last.0).await?;
    let missing_ms: i64 = holes(&spans, first.0, last.0)
        .into_iter()
        .map(|(from, to)| {
            let civil = |at| clocks.civil(EngineTime(at), 0);
            contact_due_ms(calendar, civil(from), civil(to))
        })
        .sum();
    let time = 1.0 - missing_ms as f64 / due_ms as f64;
    let (due, answered) = answers(app, gateway, plan, rule, (first.0, last.0)).await?;
    let counts = if due == 0 { 1.0 } else { answered as f64 / due as f64 };
    Ok(Some((time * counts * 1_000.0).clamp(0.0, 1_000.0) as u16))
}

/// What no record covers. `spans`: (epoch, first, last moment) of records, in order; engine time.
fn holes(spans: &[(i64, i64, i64)], from: i64, to: i64) -> Vec<(i64, i64)> {
    let mut holes = Vec::new();
    let (mut covered, mut epoch) = (from, None);
    for (of, first, last) in spans {
        let same = epoch == Some(*of);
        // Within an epoch silence is sealed at least every heartbeat; between two nobody was there.
        if *first > covered && !(same && first - covered <= HOLE_MS) {
            holes.push((covered, (*first).min(to)));
        }
        covered = covered.max(*last);
        epoch = Some(*of);
    }
    if to - covered > HOLE_MS {
        holes.push((covered, to));
    }
    holes.retain(|(from, to)| from < to);
    holes
}

/// (due, answered) of the points of the devices that a rule counts.
async fn answers(
    app: &App,
    gateway: &str,
    plan: &Plan,
    rule: &RulePlan,
    (from, to): (i64, i64),
) -> anyhow::Result<(u64, u64)> {
    let counted = counted_points(plan, rule);
    let Some(enrolled) = app.store.enrolled(gateway).await?.filter(|_| !counted.is_empty()) else {
        return Ok((0, 0));
    };
    let (mut due, mut answered) = (0, 0);
    let records = app.store.inputs_between(gateway, from, to).await?;
    for some in records.chunks(RECORDS_AT_ONCE) {
        // Slots are the record's own plan's.
        let mut slots = std::collections::BTreeMap::new();
        for row in some {
            if let std::collections::btree_map::Entry::Vacant(new) = slots.entry((row.epoch, row.config)) {
                let config = app.store.record(gateway, row.epoch, row.config).await?;
                let own = match config {
                    Some(config) => Some(app.plans.of(&app.store, &config, &enrolled.ring).await?),
                    None => None,
                };
                let is_counted = |point: &gateway_model::PointPlan| counted.contains(&point.id.as_str());
                new.insert(
                    own.map(|own| own.points.iter().map(is_counted).collect::<Vec<bool>>())
                        .unwrap_or_default(),
                );
            }
        }
        let bodies = app.plans.bodies(some.to_vec(), &enrolled.ring).await?;
        for (row, body) in some.iter().zip(bodies) {
            let (Body::Inputs(inputs), Some(own)) = (body, slots.get(&(row.epoch, row.config))) else {
                continue;
            };
            for counts in inputs.counts.iter().filter(|counts| own.get(counts.point.slot()) == Some(&true)) {
                due += u64::from(counts.due);
                answered += u64::from(counts.answered);
            }
        }
    }
    Ok((due, answered))
}

/// Points that are asked, of the devices that a rule's ratios count.
fn counted_points<'p>(plan: &'p Plan, rule: &RulePlan) -> Vec<&'p str> {
    let mut devices = vec![rule.subject];
    for ratio in ratios(plan, rule) {
        devices.push(ratio.device);
        devices.extend(counted_devices(plan, ratio));
    }
    let asked = plan.points.iter().filter(|point| point.every_ms > 0 && devices.contains(&point.device));
    asked.map(|point| point.id.as_str()).collect()
}

fn counted_devices<'p>(
    plan: &'p Plan,
    ratio: &'p RatioPlan,
) -> impl Iterator<Item = gateway_model::DeviceIx> + 'p {
    [&ratio.of, &ratio.to].into_iter().filter_map(|counted| match counted {
        Counted::CyclesPassed(module) | Counted::OnMinutes(module) => {
            plan.modules.get(module.slot()).map(gateway_model::ModulePlan::device)
        }
        Counted::Readings(point) => plan.points.get(point.slot()).map(|point| point.device),
        Counted::Visits | Counted::HandpiecesPacked | Counted::WasteGrams | Counted::OpenDays => None,
    })
}

/// Takes a lead off the list, with a reason.
pub async fn dismiss(app: &App, viewer: &Viewer, id: i64, reason: &str) -> Result<(), ApiError> {
    let reason = reason_of(reason)?;
    open_lead(app, viewer, id).await?;
    let now = app.clock.civil().0;
    let mut tx = app.store.write().await?;
    if !rows::answer(&mut tx, id, "dismissed", (&viewer.user.id, now), Some(reason), None).await? {
        return Err(answered());
    }
    audit::note(&mut tx, now, &viewer.user.id, "dismiss_lead", &format!("lead {id}")).await?;
    tx.commit().await?;
    Ok(())
}

/// Opens a case of a lead, by hand. Its number.
pub async fn open_case(app: &App, viewer: &Viewer, id: i64) -> Result<i64, ApiError> {
    let lead = open_lead(app, viewer, id).await?;
    let n = lead.alert.ok_or(ApiError::NotFound)?;
    let plan = app.plans.newest(&app.store, &lead.gateway).await?;
    let rule = plan.as_deref().and_then(|plan| cases::rule_of(plan, &lead.rule, &lead.device));
    let (_, rule) = rule.ok_or_else(|| {
        ApiError::Conflict(
            "rule_gone",
            crate::error::words(
                "网关现在的配置里没有这条规则，不能转为处置单。",
                "The gateway's configuration no longer has this rule: no case can be opened of it.",
            ),
        )
    })?;
    let now = app.clock.civil().0;
    let mut changes = Changes::default();
    let mut tx = app.store.write().await?;
    let mut held = alert_rows::by_number(&mut tx, n).await?.ok_or(ApiError::NotFound)?;
    let case = match held.row.case {
        Some(case) => case,
        None => cases::raise(&mut tx, app, &held, rule, rule.priority, &mut changes).await?,
    };
    priority_code(rule.priority).clone_into(&mut held.row.priority);
    held.row.case = Some(case);
    alert_rows::keep(&mut tx, &held).await?;
    if held.row.state == "cleared" {
        cases::clear(&mut tx, app, &held, &mut changes).await?;
    }
    if !rows::answer(&mut tx, id, "case", (&viewer.user.id, now), None, Some(case)).await? {
        return Err(answered());
    }
    audit::note(&mut tx, now, &viewer.user.id, "lead_to_case", &format!("lead {id}, case {case}")).await?;
    tx.commit().await?;
    changes.publish(app).await;
    Ok(case)
}

/// One that is on the list, for whoever may answer it.
async fn open_lead(app: &App, viewer: &Viewer, id: i64) -> Result<LeadRow, ApiError> {
    if !viewer.user.role.is_on_duty() {
        return Err(ApiError::Forbidden);
    }
    let lead = app.store.lead(&viewer.scope(), id).await?.ok_or(ApiError::NotFound)?;
    match lead.state.as_str() {
        "listed" => Ok(lead),
        "unjudged" => Err(ApiError::Conflict(
            "unjudged",
            crate::error::words(
                "数据不完整，无法判定，不能作为线索处理。",
                "Its feed is not complete enough to judge it: it is no lead.",
            ),
        )),
        _ => Err(answered()),
    }
}

fn answered() -> ApiError {
    ApiError::Conflict(
        "answered_already",
        crate::error::words("该线索已经处理。", "This lead has been dealt with."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_list_is_of_the_week_before_the_last_monday_half_past_eight() {
        // 2026-11-23T08:30+08:00, a Monday.
        let morning = 1_795_393_800_000;
        let hour = 3_600_000;
        let monday = morning - 8 * hour - hour / 2;
        assert_eq!(listed_week(CivilTime(morning)), monday - WEEK_MS);
        assert_eq!(listed_week(CivilTime(morning - 1)), monday - 2 * WEEK_MS);
        assert_eq!(listed_week(CivilTime(morning + WEEK_MS - 1)), monday - WEEK_MS);
    }

    #[test]
    fn a_hole_is_what_no_record_covers() {
        let minute = 60_000;
        let at = |minutes: i64| minutes * minute;
        let spans = |list: &[(i64, i64, i64)]| -> Vec<(i64, i64, i64)> {
            list.iter().map(|(epoch, from, to)| (*epoch, at(*from), at(*to))).collect()
        };
        let found = |list: &[(i64, i64, i64)]| holes(&spans(list), at(0), at(100));
        assert_eq!(found(&[(1, -5, 50), (1, 55, 98)]), vec![], "heartbeats, and the last is under way");
        assert_eq!(found(&[(1, 0, 50), (1, 60, 100)]), vec![(at(50), at(60))], "records that are missing");
        assert_eq!(
            found(&[(1, 0, 50), (2, 53, 100)]),
            vec![(at(50), at(53))],
            "nobody was there between two epochs"
        );
        assert_eq!(found(&[(1, 20, 40)]), vec![(at(0), at(20)), (at(40), at(100))]);
        assert_eq!(found(&[]), vec![(at(0), at(100))]);
    }
}
