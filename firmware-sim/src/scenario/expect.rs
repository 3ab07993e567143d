//! What a correct gateway makes of a scenario: plain data for whoever checks one. The simulator knows nothing of
//! gateways and judges nothing itself.
//!
//! `[run]` says how long a check lasts, which sites look at the devices and how often they poll. `[[outage]]` takes the
//! gateway's own power or its line to the center away. `[[expect]]` lists every alert that must be raised, each with when;
//! anything else raised is wrong. `[[not_yet]]` names what the planted fault calls for and rules cannot see yet: the
//! day it is raised it has to become an `[[expect]]`.

use serde::Deserialize;
use toml::Spanned;

use super::Text;
use crate::civil::{DAY_S, Span, TimeOfDay};

/// Days of a check at most.
const DAYS_MAX: u32 = 31;

/// A span of seconds after the first midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Within {
    /// First second.
    pub from: i64,
    /// Last second.
    pub to: i64,
}

/// What becomes of an alert at the center.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CaseOf {
    /// It opens a case.
    #[default]
    Opens,
    /// It joins the open case of the same device and rule.
    Joins,
}

/// An alert that must be raised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expect {
    /// Device of the site file.
    pub device: String,
    /// Rule, `pack/rule`.
    pub rule: String,
    /// Raised within.
    pub raised: Within,
    /// Over within; `None`: still active when the check ends.
    pub cleared: Option<Within>,
    /// What becomes of it at the center.
    pub case: CaseOf,
    /// The center hears of it within; `None`: when it is raised.
    pub heard: Option<Within>,
}

/// Something that ought to be seen and is not yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotYet {
    /// Device of the site file.
    pub device: String,
    /// The rule that will see it, `pack/rule`.
    pub rule: String,
    /// When it ought to.
    pub when: Within,
    /// What is missing.
    pub note: Text,
}

/// What fails around the gateway itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lost {
    /// The gateway has no mains: it ends without a word and starts again afterwards.
    Gateway,
    /// The line to the center is cut.
    Uplink,
}

/// A time without it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage {
    /// What is lost.
    pub lost: Lost,
    /// From this second on, …
    pub from: i64,
    /// … for so many.
    pub for_s: i64,
}

/// How a scenario is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// How many days from the first midnight.
    pub days: u32,
    /// How often sites poll.
    pub poll_s: i64,
    /// Names of the site files that look at the devices.
    pub sites: Vec<String>,
    /// What fails around the gateways.
    pub outages: Vec<Outage>,
    /// Exactly these alerts.
    pub expects: Vec<Expect>,
    /// Not seen yet.
    pub not_yet: Vec<NotYet>,
}

/// As written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    #[serde(default)]
    run: Run,
    #[serde(default)]
    outage: Vec<WrittenOutage>,
    #[serde(default)]
    expect: Vec<WrittenExpect>,
    #[serde(default)]
    not_yet: Vec<WrittenNotYet>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Run {
    days: Spanned<u32>,
    poll: Spanned<Span>,
    sites: Vec<String>,
}

impl Default for Run {
    fn default() -> Self {
        Self { days: Spanned::new(0..0, 1), poll: Spanned::new(0..0, Span(10_000)), sites: Vec::new() }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Moment {
    day: i64,
    from: TimeOfDay,
    to: TimeOfDay,
}

impl Moment {
    /// Before `from`, `to` is on the next day.
    fn within(&self) -> Within {
        let from = self.day * DAY_S + self.from.0;
        let to = self.day * DAY_S + self.to.0;
        Within { from, to: if to < from { to + DAY_S } else { to } }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenExpect {
    device: String,
    rule: Spanned<String>,
    raised: Moment,
    cleared: Option<Moment>,
    #[serde(default)]
    case: CaseOf,
    heard: Option<Moment>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenNotYet {
    device: String,
    rule: Spanned<String>,
    when: Moment,
    note: Text,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenOutage {
    lost: Lost,
    day: i64,
    at: TimeOfDay,
    #[serde(rename = "for")]
    duration: Span,
}

impl Written {
    /// Checked against itself; problems go to `wrong`.
    pub(super) fn check(self, wrong: &mut dyn FnMut(std::ops::Range<usize>, String)) -> Check {
        let Self { run, outage, expect, not_yet } = self;
        if !(1..=DAYS_MAX).contains(run.days.get_ref()) {
            wrong(run.days.span(), format!("a check lasts 1 to {DAYS_MAX} days"));
        }
        if run.poll.get_ref().seconds() < 1 {
            wrong(run.poll.span(), "a check polls every second at most".to_owned());
        }
        let ids = expect.iter().map(|e| &e.rule).chain(not_yet.iter().map(|n| &n.rule));
        for rule in ids.filter(|rule| rule.get_ref().split('/').count() != 2) {
            wrong(rule.span(), format!("`{}` is no rule: write `pack/rule`", rule.get_ref()));
        }
        let expects = expect.into_iter().map(|e| Expect {
            device: e.device,
            rule: e.rule.into_inner(),
            raised: e.raised.within(),
            cleared: e.cleared.map(|cleared| cleared.within()),
            case: e.case,
            heard: e.heard.map(|heard| heard.within()),
        });
        let not_yet = not_yet.into_iter().map(|n| NotYet {
            device: n.device,
            rule: n.rule.into_inner(),
            when: n.when.within(),
            note: n.note,
        });
        let outages = outage.into_iter().map(|o| Outage {
            lost: o.lost,
            from: o.day * DAY_S + o.at.0,
            for_s: o.duration.seconds(),
        });
        Check {
            days: run.days.into_inner(),
            poll_s: run.poll.into_inner().seconds(),
            sites: run.sites,
            outages: outages.collect(),
            expects: expects.collect(),
            not_yet: not_yet.collect(),
        }
    }
}
