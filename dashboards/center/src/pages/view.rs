//! What every page is made of: who looks and how, moments, priority marks, badges. Made from rows, told the time.

use center_casebook::CaseState;

use super::format::{Zone, ago, long_time, measure, short_time};
use super::texts::{Lang, Texts, fill};
use crate::store::{AlertRow, CaseRow, Role, User};

/// How the asker wants to read, and what time it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ctx {
    /// Language.
    pub(crate) lang: Lang,
    /// Zone of every moment.
    pub(crate) zone: Zone,
    /// Civil time, ms.
    pub(crate) now: i64,
    /// The center runs under the demo clock.
    pub(crate) simulated: bool,
}

impl Ctx {
    pub(crate) fn texts(self) -> &'static Texts {
        self.lang.texts()
    }

    pub(crate) fn moment(self, at: i64) -> Moment {
        Moment {
            iso: jiff::Timestamp::from_millisecond(at).map(|at| at.to_string()).unwrap_or_default(),
            short: short_time(at, self.zone, self.lang),
            long: long_time(at, self.zone, self.lang),
            ago: ago(at, self.now, self.lang),
        }
    }

    /// Words in the asker's language; what could not be filled in is a dash, never a brace.
    pub(crate) fn words(self, words: &crate::store::Words) -> String {
        tidy(words.pick(self.lang.is_english()))
    }
}

/// A moment, ready to be shown.
#[derive(Debug, Clone)]
pub(crate) struct Moment {
    pub(crate) iso: String,
    pub(crate) short: String,
    pub(crate) long: String,
    pub(crate) ago: String,
}

/// Places left unfilled in a rule's sentence become a dash.
fn tidy(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        out.push('—');
        rest = after.split_once('}').map_or("", |(_, later)| later);
    }
    out.push_str(rest);
    out
}

/// What the frame around every page needs.
#[derive(Debug, Clone)]
pub(crate) struct Shell {
    pub(crate) ctx: Ctx,
    /// Which entry of the navigation this page is.
    pub(crate) here: &'static str,
    /// Who is logged in.
    pub(crate) user: Option<Person>,
    /// Comes back with every form.
    pub(crate) csrf: String,
    /// Path and query of this page without `lang=`, ending so that `lang=en` can be put behind it.
    pub(crate) self_link: String,
    /// Path and query of this page, for forms that come back to it.
    pub(crate) self_path: String,
}

/// Who is logged in, in words.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    pub(crate) name: String,
    pub(crate) role: String,
}

impl Person {
    pub(crate) fn new(user: &User, texts: &Texts) -> Self {
        Self { name: user.name.clone(), role: role_name(user.role, texts).to_owned() }
    }
}

impl Shell {
    pub(crate) fn lang_tag(&self) -> &'static str {
        self.ctx.lang.tag()
    }

    pub(crate) fn other_lang(&self) -> &'static str {
        self.ctx.lang.other().code()
    }

    pub(crate) fn other_lang_tag(&self) -> &'static str {
        self.ctx.lang.other().tag()
    }

    pub(crate) fn css() -> String {
        super::assets::link("console.css")
    }

    pub(crate) fn script() -> String {
        super::assets::link("console.js")
    }

    pub(crate) fn icon() -> String {
        super::assets::link("icon.svg")
    }

    pub(crate) fn zone_note(&self) -> String {
        fill(&self.ctx.texts().times_in_zone, &[("zone", &self.ctx.zone.name(self.ctx.lang))])
    }

    pub(crate) fn now(&self) -> Moment {
        self.ctx.moment(self.ctx.now)
    }
}

/// Priority by shape, number, word and color.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    pub(crate) code: &'static str,
    pub(crate) n: u8,
    pub(crate) shape: &'static str,
    pub(crate) text_y: &'static str,
    pub(crate) lang: Lang,
}

impl Mark {
    pub(crate) fn new(priority: &str, lang: Lang) -> Self {
        let (code, n, shape, text_y) = match priority {
            "red" => ("red", 1, "M11 1.2 21.4 20.2H.6Z", "17.4"),
            "orange" => ("orange", 2, "M11 .4 21.6 11 11 21.6.4 11Z", "15.2"),
            "yellow" => ("yellow", 3, "M2 2h18v18H2Z", "15.2"),
            _ => ("blue", 4, "M11 1a10 10 0 1 1 0 20 10 10 0 0 1 0-20Z", "15.2"),
        };
        Self { code, n, shape, text_y, lang }
    }

    pub(crate) fn name(&self) -> &'static str {
        let texts = self.lang.texts();
        match self.n {
            1 => &texts.priority_red,
            2 => &texts.priority_orange,
            3 => &texts.priority_yellow,
            _ => &texts.priority_blue,
        }
    }

    pub(crate) fn label(&self) -> String {
        fill(&self.lang.texts().priority_label, &[("n", &self.n.to_string()), ("name", self.name())])
    }
}

/// A small word beside a title.
#[derive(Debug, Clone)]
pub(crate) struct Badge {
    pub(crate) text: String,
    /// `plain`, `strong` or `warn`.
    pub(crate) kind: &'static str,
}

impl Badge {
    pub(crate) fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), kind: "plain" }
    }

    pub(crate) fn warn(text: impl Into<String>) -> Self {
        Self { text: text.into(), kind: "warn" }
    }
}

/// The measured value and the limit of an alert, with units.
pub(crate) fn value_and_limit(alert: &AlertRow) -> (Option<String>, Option<String>) {
    let unit = alert.unit.as_deref().unwrap_or("");
    let show = |value: Option<f64>| value.filter(|value| value.is_finite()).map(|value| measure(value, unit));
    (show(alert.value), show(alert.limit))
}

/// What the quality of an alert's data is called.
pub(crate) fn quality_name<'t>(code: &str, texts: &'t Texts) -> &'t str {
    match code {
        "good" => &texts.quality_good,
        "stale" => &texts.quality_stale,
        "uncertain" => &texts.quality_uncertain,
        "unevaluable" => &texts.quality_unevaluable,
        "none" => &texts.quality_none,
        _ => &texts.quality_bad,
    }
}

/// Why a point has no number, or one in doubt, in the reader's words; `None` = an unknown code.
pub(crate) fn cause_name<'t>(code: &str, texts: &'t Texts) -> Option<&'t str> {
    Some(match code {
        "no_communication" => &texts.cause_no_communication,
        "device_refused" => &texts.cause_device_refused,
        "malformed" => &texts.cause_malformed,
        "sentinel" => &texts.cause_sentinel,
        "implausible" => &texts.cause_implausible,
        "source_offline" => &texts.cause_source_offline,
        "gateway_down" => &texts.cause_gateway_down,
        "never_seen" => &texts.quality_none,
        "stuck" => &texts.quality_stuck,
        "clock" => &texts.cause_clock,
        "held" => &texts.cause_held,
        "stale" => &texts.quality_stale,
        _ => return None,
    })
}

/// Whose turn it is before the supervisor's.
pub(crate) fn first_name<'t>(code: &str, texts: &'t Texts) -> &'t str {
    match code {
        "institution" => &texts.first_institution,
        "maintainer" => &texts.first_maintainer,
        "collector" => &texts.first_collector,
        _ => &texts.first_supervisor,
    }
}

pub(crate) fn role_name(role: Role, texts: &Texts) -> &str {
    match role {
        Role::DutyOfficer => &texts.role_duty_officer,
        Role::Reviewer => &texts.role_reviewer,
        Role::Institution => &texts.role_institution,
        Role::Admin => &texts.role_admin,
        Role::Inspector => &texts.role_inspector,
        Role::Maintainer => &texts.role_maintainer,
        Role::Collector => &texts.role_collector,
        Role::Auditor => &texts.role_auditor,
    }
}

/// The state of a case in words.
pub(crate) fn state_name(state: CaseState, texts: &Texts) -> &str {
    match state {
        CaseState::Open => &texts.state_open,
        CaseState::Acknowledged => &texts.state_acknowledged,
        CaseState::Dispatched => &texts.state_dispatched,
        CaseState::Rectifying => &texts.state_rectifying,
        CaseState::Verifying => &texts.state_verifying,
        CaseState::OnSite => &texts.state_on_site,
        CaseState::Verified => &texts.state_verified,
        CaseState::Closed => &texts.state_closed,
    }
}

/// The state of a row. Codes come from our own store; an unknown one is shown as closed: nothing is offered for it.
pub(crate) fn state_of(case: &CaseRow) -> CaseState {
    CaseState::parse(&case.state).unwrap_or(CaseState::Closed)
}

/// To whom a case was dispatched, in words: the institution is stored by its id.
pub(crate) fn recipient_name(recipient: &str, case: &CaseRow, ctx: Ctx) -> String {
    if recipient == case.institution { ctx.words(&case.institution_name) } else { recipient.to_owned() }
}

/// The number of a case as people say it.
pub(crate) fn case_number(id: i64) -> String {
    format!("{id:06}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_without_a_value_is_a_dash() {
        assert_eq!(tidy("{device}已经{value}，"), "—已经—，");
        assert_eq!(tidy("no places"), "no places");
        assert_eq!(tidy("broken {value"), "broken —");
    }

    #[test]
    fn every_cause_has_a_name_of_its_own() {
        use gateway_model::{BadCause, UncertainCause};
        let bad = BadCause::ALL.iter().map(crate::project::code);
        let doubt = [UncertainCause::Clock, UncertainCause::Held, UncertainCause::Stale];
        for lang in [Lang::Zh, Lang::En] {
            let codes = bad.clone().chain(doubt.iter().map(crate::project::code));
            let names: Vec<&str> = codes.map(|code| cause_name(&code, lang.texts()).unwrap()).collect();
            let mut once = names.clone();
            once.sort_unstable();
            once.dedup();
            assert_eq!(once.len(), names.len(), "{names:?}");
        }
    }

    #[test]
    fn each_priority_has_its_own_shape_number_and_word() {
        let marks = ["red", "orange", "yellow", "blue"].map(|code| Mark::new(code, Lang::Zh));
        for (i, mark) in marks.iter().enumerate() {
            assert_eq!(usize::from(mark.n), i + 1);
            assert!(
                marks
                    .iter()
                    .enumerate()
                    .all(|(j, other)| i == j || (mark.shape != other.shape && mark.name() != other.name()))
            );
        }
    }
}
