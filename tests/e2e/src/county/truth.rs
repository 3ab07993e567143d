//! What really was wrong, known before anything was measured: the violations that are planted, and those that people's habits
//! lead to. Nothing here is computed from what the gateways or the center say.

use std::collections::BTreeMap;

use super::fleet::{FESTIVAL, Kind, Premises};
use crate::dice::Dice;

/// Seconds.
pub(super) const MINUTE: i64 = 60;
pub(super) const HOUR: i64 = 3_600;
pub(super) const DAY: i64 = 86_400;

/// A violation that is planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Violation {
    /// A load failed, was not repeated, and its instruments went on being used.
    LoadUsed,
    /// A fridge that stops cooling and goes up to 16 °C.
    FridgeFails,
    /// Nobody fetches the waste for days.
    WasteLeft,
    /// A trading house that disinfects nothing for days.
    NoCycle,
    /// More than two kilograms go missing between store and collector.
    WeightLost,
    /// A lamp far below its limit, used every day.
    LampWeak,
    /// Somebody opens the box.
    LidOpened,
    /// A biological indicator grows.
    BiologicalGrows,
    /// A probe is dead, and nobody mends it.
    ProbeDead,
    /// The box is unplugged for good.
    BoxGone,
    /// People stay under a lit lamp again and again.
    PersonExposed,
    /// A cabinet that fails again and again, though each load is repeated.
    CabinetWears,
}

impl Violation {
    pub(super) const ALL: [Self; 12] = [
        Self::LoadUsed,
        Self::FridgeFails,
        Self::WasteLeft,
        Self::NoCycle,
        Self::WeightLost,
        Self::LampWeak,
        Self::LidOpened,
        Self::BiologicalGrows,
        Self::ProbeDead,
        Self::BoxGone,
        Self::PersonExposed,
        Self::CabinetWears,
    ];

    /// Can it happen there?
    fn fits(self, site: &Premises) -> bool {
        match self {
            Self::LoadUsed => site.kind == Kind::Clinic && site.feed,
            Self::FridgeFails => site.fridges > 0 && !site.breaker,
            Self::WasteLeft | Self::WeightLost | Self::LampWeak | Self::PersonExposed => {
                site.kind == Kind::Hospital && !site.breaker
            }
            Self::NoCycle => site.kind == Kind::Hotel && site.festival.is_none(),
            Self::CabinetWears | Self::ProbeDead | Self::BoxGone => {
                site.kind == Kind::Hotel && !site.breaker && site.festival.is_none()
            }
            Self::LidOpened => site.wired && !site.breaker,
            Self::BiologicalGrows => site.kind == Kind::Hospital,
        }
    }

    /// The very first day is watched from nowhere, and ratios over a day know nothing of it; a probe can die on it, and five
    /// working days behind it are over within a week.
    fn first_day(self) -> i64 {
        i64::from(self != Self::ProbeDead)
    }

    /// Days from its beginning until a supervisor must know, at most.
    fn takes(self) -> i64 {
        match self {
            Self::LoadUsed
            | Self::FridgeFails
            | Self::WeightLost
            | Self::LidOpened
            | Self::BiologicalGrows => 1,
            Self::WasteLeft | Self::NoCycle => 3,
            Self::LampWeak | Self::PersonExposed | Self::CabinetWears | Self::BoxGone => 4,
            Self::ProbeDead => 6,
        }
    }
}

/// Where and on which day each begins: every one of them twice a week, on another site each time, so that its days do not touch those of
/// another of the same site.
pub(super) fn plant(seed: u64, sites: &[Premises], days: i64) -> BTreeMap<u64, (i64, Violation)> {
    let mut dice = Dice::new(seed, 4_711);
    let mut planted = BTreeMap::new();
    for _ in 0..(days * 2 / 7).max(1) {
        for violation in Violation::ALL {
            let free: Vec<&Premises> =
                sites.iter().filter(|site| violation.fits(site) && !planted.contains_key(&site.n)).collect();
            if free.is_empty() {
                continue;
            }
            let site = free[dice.below(free.len() as u64) as usize];
            // Before the festival, or anywhere for a house that works through it.
            let last =
                (days - violation.takes()).min(if site.festival.is_some() { FESTIVAL - 1 } else { days });
            let first = violation.first_day();
            let day = dice.between(first, last.max(first + 1));
            // Closed on Sundays: the day after.
            let day = if site.works(day) { day } else { (day + 1).min(last.max(0)) };
            if site.works(day) {
                planted.insert(site.n, (day, violation));
            }
        }
    }
    planted
}

/// Something that must reach a supervisor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Truth {
    /// In words.
    pub(super) what: &'static str,
    pub(super) site: u64,
    /// The device, or empty for the gateway itself.
    pub(super) device: String,
    /// Any of these rules may say it.
    pub(super) rules: &'static [&'static str],
    /// Second of the run.
    pub(super) at: i64,
    /// A supervisor has it by then.
    pub(super) by: i64,
}
