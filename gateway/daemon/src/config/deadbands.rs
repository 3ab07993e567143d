//! Deadbands that a site file states: refused where every answer counts, warned of where a rule would be blurred.
//!
//! `deadband = { temperature = "0.2 °C" }` beside a map, or `"0.5 % of span"`, a share of what the instrument can measure (as PercentDeadband of
//! OPC UA): a value that moved less since the last one kept is counted, not kept. What a module integrates or times needs every answer: a value left out would be a hole in the curve. What a
//! rule compares with a limit may be wrong by the deadband at the moment of judgement.

use std::ops::Range;

use gateway_model::{ModulePlan, Plan, PointIx, RuleKind, Unit};
use gateway_rules::{At, File, FromToml, Quantity, Table, convert};
use toml::Spanned;
use toml::de::DeValue;

/// A deadband beyond this share of a limit blurs the rule that has it. Instruments state 1 to 2 % of what they measure.
const SHARE_MAX: f64 = 0.05;
/// Of a temperature, whose zero is just another degree, this much is always fine, °C.
const CELSIUS_FINE: f64 = 0.1;

/// What follows the number of a share.
const OF_SPAN: &str = "% of span";

/// How much.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Deadband {
    /// In some unit.
    Of(Quantity),
    /// A share of what the instrument can measure.
    Share(f64),
}

impl<'f> FromToml<'f> for Deadband {
    fn from_toml(file: &'f File<'f>, value: Spanned<DeValue<'f>>) -> Option<Self> {
        let Some(share) = value.get_ref().as_str().and_then(share) else {
            return Quantity::from_toml(file, value).map(Self::Of);
        };
        let hint = || Some("such as \"0.5 % of span\"".into());
        share.map(Self::Share).map_err(|message| file.error(value.span(), message, hint())).ok()
    }
}

impl Deadband {
    /// Reads `0.2 °C` or `0.5 % of span`. What is wrong comes back as a sentence.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match share(text) {
            Some(share) => share.map(Self::Share),
            None => Quantity::parse(text).map(Self::Of),
        }
    }

    /// How much it is of a point that `measures` so much; `None` = in another unit, negative, or of a span nobody knows.
    pub(super) fn within(self, unit: Unit, measures: Option<(f64, f64)>) -> Option<f64> {
        match self {
            Self::Of(quantity) => convert(quantity.value, quantity.unit, unit).filter(|value| *value >= 0.0),
            Self::Share(share) => measures.map(|(low, high)| share * (high - low).abs()),
        }
    }
}

/// The share in `0.5 % of span`; `None` = it is no share.
fn share(text: &str) -> Option<Result<f64, String>> {
    let share = text.trim_end().strip_suffix(OF_SPAN)?;
    let percent = share.trim().parse::<f64>().ok().filter(|percent| (0.0..=100.0).contains(percent));
    Some(percent.map(|percent| percent / 100.0).ok_or_else(|| "expected 0 to 100 % of span".into()))
}

/// Deadbands of one part: point, and how much.
pub(super) type Stated = Vec<(At<String>, At<Deadband>)>;

/// A deadband that a point got from the site file.
pub(super) struct Placed<'f> {
    pub(super) point: PointIx,
    file: &'f File<'f>,
    span: Range<usize>,
}

/// `deadband = { … }` of a part.
pub(super) fn read(table: &Table<'_>) -> Stated {
    table.table("deadband", "the deadbands").map_or_else(Vec::new, |table| table.entries())
}

/// `accuracy = { … }` of a part: how far a point may be off, written as a deadband is.
pub(super) fn accuracies(table: &Table<'_>) -> Stated {
    table.table("accuracy", "how far a point may be off").map_or_else(Vec::new, |table| table.entries())
}

/// How far a point may be off, in its unit: as the site file has it, else as its profile.
pub(super) fn accuracy(
    stated: &Stated,
    profile: Option<f64>,
    name: &str,
    (unit, measures): (Unit, Option<(f64, f64)>),
    file: &File<'_>,
) -> Option<f64> {
    let Some((_, said)) = stated.iter().find(|(of, _)| of.value == name) else { return profile };
    let within = said.value.within(unit, measures).filter(|within| unit != Unit::Truth && *within > 0.0);
    if within.is_none() {
        let hint = format!("above 0, in {} or, where a span is known, % of span", unit.symbol());
        file.error(said.span.clone(), format!("`{name}` cannot be off by that"), Some(hint));
    }
    within
}

/// What is stated for a point, in its unit.
pub(super) fn stated<'f>(
    stated: &Stated,
    point: PointIx,
    name: &str,
    (unit, measures): (Unit, Option<(f64, f64)>),
    file: &'f File<'f>,
) -> Option<(f64, Placed<'f>)> {
    let (_, deadband) = stated.iter().find(|(of, _)| of.value == name)?;
    let span = deadband.span.clone();
    if unit == Unit::Truth {
        file.error(span, format!("`{name}` is true or false: every change of it is news"), None);
        return None;
    }
    let Some(value) = deadband.value.within(unit, measures) else {
        let message = match deadband.value {
            Deadband::Of(_) => format!("expected a deadband in {}, 0 or more", unit.symbol()),
            Deadband::Share(_) => {
                format!("nobody has said what `{name}` can measure: state its deadband in {}", unit.symbol())
            }
        };
        file.error(span, message, None);
        return None;
    };
    Some((value, Placed { point, file, span }))
}

/// Says what no deadband may do. Modules have taken their points' deadbands away already; a stated one was meant.
pub(super) fn check(plan: &Plan, placed: &[Placed<'_>]) {
    for Placed { point, file, span } in placed {
        let point_plan = &plan.points[point.slot()];
        let name = point_plan.id.rsplit('/').next().unwrap_or_default();
        if plan.modules.iter().any(|module| module.points().contains(point)) {
            file.error(
                span.clone(),
                format!("`{name}` is integrated or timed: it needs every answer, without a deadband"),
                Some("leave it out; steady values cost little in a record".into()),
            );
            continue;
        }
        for rule in &plan.rules {
            let RuleKind::Condition { when, limit: Some(limit), .. } = &rule.kind else { continue };
            let fine = if point_plan.unit == Unit::Celsius { CELSIUS_FINE } else { 0.0 };
            let most = fine.max(limit.abs() * SHARE_MAX);
            if when.points().contains(point) && point_plan.deadband > most {
                let unit = point_plan.unit.symbol();
                file.warn(
                    span.clone(),
                    format!("this deadband blurs `{}`, whose limit is {limit} {unit}", rule.id),
                    Some(format!("at most {most} {unit}")),
                );
            }
        }
    }
}

/// Takes away the deadbands that profiles gave to points of modules.
pub(super) fn clear(plan: &mut Plan) {
    let points: Vec<PointIx> = plan.modules.iter().flat_map(ModulePlan::points).collect();
    for point in points {
        plan.points[point.slot()].deadband = 0.0;
    }
}
