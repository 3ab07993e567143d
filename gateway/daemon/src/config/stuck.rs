//! Values that stand still for longer than they can: what a site file, a profile and a pack say of it.
//!
//! `stuck = { temperature = "24 h" }` beside a map, `stuck = "24 h"` in a field of a profile, `stuck = { after = "24 h", step = "0.1 °C" }` at a
//! point of a pack. `"24 h within 0.2 °C"` or `"… within 0.5 % of span"` says how far it may move and still not have moved; without it
//! that is the deadband, so that no movement has to be recorded for its own sake. `"never"` takes back what was said before: the site's word
//! counts before the profile's, the profile's before the pack's. `"2 h above 15 µW/cm²"` watches only while it is above: a lamp that is off
//! stands still for a reason.
//!
//! Refused where standing still is no fault (true or false, codes, feeds) and where nothing could be seen to move. A pack speaks of a
//! quantity without knowing the instrument: where its steps or its deadband are coarser than the pack's `step`, it is not watched, and
//! `gateway check` says so.

use gateway_model::{Stuck, Unit};
use gateway_rules::{At, File, FromToml, Millis, PackStuck, Quantity, Table, convert};
use toml::Spanned;
use toml::de::DeValue;

use super::deadbands::Deadband;

/// What follows the time, or the noise.
const ABOVE: &str = " above ";
/// What follows the time.
const WITHIN: &str = " within ";
/// Readings that must fit into the time: one that did not move is no sign of anything.
const READINGS_MIN: i64 = 3;
/// A source that sends when it likes may not be asked again sooner than this, ms.
const SENT_MIN_MS: i64 = 600_000;

/// What somebody said of one point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Said {
    /// It may stand still.
    Never,
    /// For so long at most, where moving by so much is none; above this only.
    After(Millis, Option<Deadband>, Option<Quantity>),
}

impl<'f> FromToml<'f> for Said {
    fn from_toml(file: &'f File<'f>, value: Spanned<DeValue<'f>>) -> Option<Self> {
        let span = value.span();
        let text = String::from_toml(file, value)?;
        if text == "never" {
            return Some(Self::Never);
        }
        let (rest, above) =
            text.split_once(ABOVE).map_or((&*text, None), |(rest, above)| (rest, Some(above)));
        let (after, within) =
            rest.split_once(WITHIN).map_or((rest, None), |(after, rest)| (after, Some(rest)));
        let hint = || {
            Some(
                "such as \"24 h\", \"6 h within 0.2 °C\", \"6 h within 0.5 % of span\", \"2 h above 15 µW/cm²\" or \"never\""
                    .into(),
            )
        };
        let read = || {
            let within = within.map(Deadband::parse).transpose()?;
            let above = above.map(Quantity::parse).transpose()?;
            Ok::<_, String>(Self::After(Millis::parse(after)?, within, above))
        };
        read().map_err(|message| file.error(span, message, hint())).ok()
    }
}

/// What is said of the points of one part.
pub(super) type Stated = Vec<(At<String>, At<Said>)>;

/// `stuck = { … }` of a part.
pub(super) fn read(table: &Table<'_>) -> Stated {
    table.table("stuck", "for how long values may stand still").map_or_else(Vec::new, |table| table.entries())
}

/// What is known of a point when it is decided.
pub(super) struct About<'a> {
    pub(super) name: &'a At<String>,
    pub(super) unit: Unit,
    pub(super) span: Option<(f64, f64)>,
    /// Smallest difference it can tell, where a count has a fixed size.
    pub(super) step: Option<f64>,
    pub(super) deadband: f64,
    pub(super) every_ms: i64,
    /// It says one of a few things, or counts what happened: standing still is no fault.
    pub(super) discrete: bool,
}

/// What becomes of it.
pub(super) fn decide(
    about: &About<'_>,
    stated: &Stated,
    profile: Option<Said>,
    pack: Option<PackStuck>,
    file: &File<'_>,
) -> Option<Stuck> {
    let site = stated.iter().find(|(name, _)| name.value == about.name.value);
    match site.map(|(_, said)| (said.value, said.span.clone())) {
        Some((Said::Never, _)) => None,
        Some((said, span)) => {
            watched(about, said).map_err(|(message, hint)| file.error(span, message, hint)).ok()?
        }
        None => match profile {
            Some(said) => watched(about, said)
                .map_err(|(message, hint)| file.error(about.name.span.clone(), message, hint))
                .ok()?,
            None => of_pack(about, pack?, file),
        },
    }
}

fn watched(about: &About<'_>, said: Said) -> Result<Option<Stuck>, (String, Option<String>)> {
    let Said::After(Millis(after_ms), within, above) = said else { return Ok(None) };
    let About { name: At { value: name, .. }, unit, span, deadband, every_ms, .. } = about;
    if *unit == Unit::Truth || about.discrete {
        return Err((format!("`{name}` is no quantity that moves: it may stand still"), None));
    }
    let least = if *every_ms == 0 { SENT_MIN_MS } else { READINGS_MIN * every_ms };
    if after_ms < least {
        let message = format!("`{name}` is asked every {}: that is too few readings", Millis(*every_ms));
        let message =
            if *every_ms == 0 { format!("`{name}` sends when it likes: that is too soon") } else { message };
        return Err((message, Some(format!("at least {}", Millis(least)))));
    }
    let noise = match within {
        None => *deadband,
        Some(within) => within.within(*unit, *span).ok_or_else(|| {
            (format!("expected {} or, where a span is known, % of span", unit.symbol()), None)
        })?,
    };
    if noise < *deadband {
        let message =
            format!("`{name}` is kept when it moves by {deadband} {}: less is not recorded", unit.symbol());
        return Err((
            message,
            Some(format!("within {deadband} {} at least, or a smaller deadband", unit.symbol())),
        ));
    }
    if span.is_some_and(|(low, high)| noise >= high - low) {
        let message = format!(
            "`{name}` can never move by more than {noise} {}: it would always be stuck",
            unit.symbol()
        );
        return Err((message, Some("a smaller deadband, or a smaller value after `within`".into())));
    }
    let in_unit = |above: Quantity| {
        convert(above.value, above.unit, *unit)
            .filter(|above| span.is_none_or(|(_, high)| *above < high))
            .ok_or_else(|| {
                (format!("`{name}` never is above that"), Some(format!("a value in {}", unit.symbol())))
            })
    };
    Ok(Some(Stuck { after_ms, noise, above: above.map(in_unit).transpose()? }))
}

/// A pack's word holds where the instrument can show that it moves.
fn of_pack(about: &About<'_>, pack: PackStuck, file: &File<'_>) -> Option<Stuck> {
    let step = convert(pack.step.value, pack.step.unit, about.unit)?;
    let coarsest = about.deadband.max(about.step.unwrap_or(0.0));
    // As written in decimals: a gain of 0.1 is no more than "0.1 °C".
    if coarsest > step * (1.0 + 1e-9) {
        let unit = about.unit.symbol();
        let name = &about.name.value;
        file.warn(
            about.name.span.clone(),
            format!(
                "`{name}` is not watched for a frozen probe: it is seen to move by {coarsest} {unit} only"
            ),
            Some(format!(
                "a deadband of {step} {unit} or less, or stuck = {{ {name} = \"{}\" }}, or \"never\"",
                pack.after
            )),
        );
        return None;
    }
    let said = Said::After(pack.after, None, None);
    watched(about, said).map_err(|(message, hint)| file.error(about.name.span.clone(), message, hint)).ok()?
}

#[cfg(test)]
mod tests {
    use gateway_model::Stuck;
    use gateway_rules::Source;

    use crate::config::{Shipped, Site, load_str, load_with};

    const PROFILE: &str = r#"
name = "probe"
transport = "modbus"
mark = "P"
title = { zh = "探头", en = "Probe" }
[[field]]
name = "temperature"
at = "input 0"
type = "i16"
gain = 0.1
unit = "°C"
span = [-40, 80]
stuck = "12 h"
[[field]]
name = "whole"
at = "input 1"
type = "i16"
unit = "°C"
[[field]]
name = "state"
at = "input 2"
type = "u16"
unit = "1"
codes = [0, 1, 2]
[[field]]
name = "contact"
at = "discrete 0"
type = "bit"
unit = "bool"
"#;

    /// A device of this kind with these lines beside its profile.
    fn site(kind: &str, lines: &str) -> Result<Site, Vec<String>> {
        let text = format!(
            "[site]\nid = \"s\"\ninstitution = \"923301000000000193\"\nname = {{ zh = \"点\", en = \"Site\" }}\n\
             [profiles]\nfiles = [\"probe.toml\"]\n\
             [[bus]]\nname = \"b\"\ntransport = \"tcp\"\naddress = \"127.0.0.1:502\"\n\
             [[device]]\nid = \"f\"\nkind = \"{kind}\"\nname = {{ zh = \"点\", en = \"F\" }}\n\
             [[device.read]]\nbus = \"b\"\nunit = 1\nprofile = \"probe\"\nevery = \"10s\"\n{lines}\n"
        );
        let read = |name: &str| Ok(Source { name: name.to_owned(), text: PROFILE.to_owned() });
        load_with(&Shipped::read(), &Source { name: "site.toml".to_owned(), text }, &read, Vec::new())
            .map_err(|problems| problems.into_iter().map(|problem| problem.message).collect())
    }

    fn stuck(kind: &str, lines: &str) -> Option<Stuck> {
        let site = site(kind, lines).unwrap_or_else(|problems| panic!("{problems:?}"));
        assert_eq!(site.warnings, []);
        site.plan.points[0].stuck
    }

    #[test]
    fn the_sites_word_counts_before_the_profiles_and_the_profiles_before_the_packs() {
        let hours = |hours: i64, noise| Some(Stuck { after_ms: hours * 3_600_000, noise, above: None });
        let map = "map = { temperature = \"temperature\" }";
        assert_eq!(stuck("fridge", map), hours(12, 0.05));
        assert_eq!(stuck("fridge", &format!("{map}\nstuck = {{ temperature = \"6 h\" }}")), hours(6, 0.05));
        assert_eq!(stuck("fridge", &format!("{map}\nstuck = {{ temperature = \"never\" }}")), None);
        let within = stuck(
            "fridge",
            &format!("{map}\nstuck = {{ temperature = \"2 h 30 min within 0.5 % of span\" }}"),
        );
        assert_eq!(within, Some(Stuck { after_ms: 9_000_000, noise: 0.6, above: None }));
        let lit = "stuck = { temperature = \"2 h within 0.1 °C above 8 °C\" }";
        let lit = stuck("fridge", &format!("{map}\n{lit}")).unwrap();
        assert_eq!((lit.after_ms, lit.noise), (7_200_000, 0.1));
        assert!((lit.above.unwrap() - 8.0).abs() < 1e-9, "{lit:?}");
        // Nobody has said anything of this field; the pack has of the point, and knows nothing of half a degree.
        let whole = site("fridge", "map = { temperature = \"whole\" }").unwrap();
        assert_eq!(whole.plan.points[0].stuck, None);
        let said: Vec<&str> = whole.warnings.iter().map(|warning| warning.message.as_str()).collect();
        assert_eq!(
            said,
            ["`temperature` is not watched for a frozen probe: it is seen to move by 1 °C only"]
        );
        assert_eq!(
            stuck("fridge", "map = { temperature = \"whole\" }\nstuck = { temperature = \"48 h\" }"),
            hours(48, 0.5)
        );
        let small = r#"
            [site]
            id = "s"
            institution = "923301000000000193"
            name = { zh = "点", en = "Site" }
            [broker]
            listen = "127.0.0.1:0"
            [[device]]
            id = "f"
            kind = "fridge"
            name = { zh = "冰箱", en = "Fridge" }
            [[device.mqtt]]
            topic = "tele/fridge/SENSOR"
            profile = "tasmota"
            map = { temperature = "/DS18B20/Temperature" }
        "#;
        assert_eq!(load_str("small.toml", small).unwrap().plan.points[0].stuck, hours(24, 0.0));
    }

    #[test]
    fn what_cannot_be_watched_is_refused_and_says_why() {
        let map = "map = { temperature = \"temperature\", door = \"contact\" }";
        for (lines, words) in [
            ("stuck = { door = \"6 h\" }", "`door` is no quantity that moves"),
            (
                "stuck = { temperature = \"20s\" }",
                "`temperature` is asked every 10 s: that is too few readings",
            ),
            (
                "stuck = { temperature = \"6 h within 0.01 °C\" }",
                "`temperature` is kept when it moves by 0.05 °C",
            ),
            ("stuck = { temperature = \"6 h within 100 % of span\" }", "it would always be stuck"),
            ("stuck = { temperature = \"6 h within 3 kPa\" }", "expected °C"),
            ("stuck = { temperature = \"6 h above 3 kPa\" }", "never is above that"),
            ("stuck = { temperature = \"6 h above 80 °C\" }", "never is above that"),
            ("stuck = { temperature = \"6\" }", "not a duration"),
            ("stuck = { temperature = \"6 h within much\" }", "much"),
            ("stuck = { temprature = \"6 h\" }", "`temprature` is not in the map"),
            (
                "stuck = { temperature = \"6 h\" }\ndeadband = { temperature = \"120 °C\" }",
                "it would always be stuck",
            ),
        ] {
            let problems = site("fridge", &format!("{map}\n{lines}")).map(|_| ()).unwrap_err();
            assert!(problems.iter().any(|problem| problem.contains(words)), "{lines}: {problems:?}");
        }
        let coded = site("gateway", "map = { two_answers = \"state\" }\nstuck = { two_answers = \"6 h\" }");
        let problems = coded.map(|_| ()).unwrap_err();
        assert!(problems[0].contains("no quantity that moves"), "{problems:?}");
    }
}
