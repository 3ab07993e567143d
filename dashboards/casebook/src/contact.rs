//! Gateways that are not in contact: what is normal, whose turn it is, and when many are one happening.
//!
//! Silence where everything may be switched off (按时关机) is neither normal nor an incident, and never counts. Silence
//! that should not be is the maintainer's task first; it is a supervisor's item when it has lasted for days, or at once when many
//! fell silent together: then it is **one** item (a power cut, a dead carrier), not one per gateway.

use alloc::vec::Vec;

use gateway_model::CivilTime;

/// Contact missed for this long is worth a mark, ms.
pub const DELAYED_MS: i64 = 90_000;
/// Contact missed for this long is silence, ms (design §4).
pub const SILENT_MS: i64 = 300_000;
/// Silent this long it is a supervisor's item (users.md B, A) …
pub const LOST_MS: i64 = 72 * 3_600_000;
/// … if so much of it was time in which contact was due: a weekend alone is not silence.
pub const LOST_DUE_MS: i64 = 8 * 3_600_000;
/// So many gateways …
pub const INCIDENT_MIN: usize = 5;
/// … or this share of those of a township, % …
pub const INCIDENT_PERCENT: usize = 30;
/// … but so many of it at least: of three sites one is a third, and no happening (P) …
pub const TOWNSHIP_MIN: usize = 3;
/// … that fell silent within this time are one incident (users.md B, A), ms.
pub const INCIDENT_WITHIN_MS: i64 = 600_000;

/// What is known of a gateway that says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Silence {
    /// Its last sign of life.
    pub last: CivilTime,
    /// How much of the time since was time in which contact was due, ms.
    pub due_ms: i64,
    /// Contact was due at the last sign of life: it did not fall silent by being switched off on schedule.
    pub in_service: bool,
    /// Which of the townships it lies in; `None` = not known.
    pub township: Option<usize>,
}

/// How a gateway that says nothing is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Contact {
    /// Nothing that was due is missing: in contact, or switched off on schedule.
    Fine,
    /// Not for long.
    Delayed,
    /// The maintainer's task.
    Silent,
    /// A supervisor's item.
    Lost,
}

impl Silence {
    /// How it is to be taken at `now`.
    pub fn contact(&self, now: CivilTime) -> Contact {
        let for_ms = now.0.saturating_sub(self.last.0);
        if self.due_ms < DELAYED_MS {
            Contact::Fine
        } else if self.due_ms < SILENT_MS {
            Contact::Delayed
        } else if for_ms < LOST_MS || self.due_ms < LOST_DUE_MS {
            Contact::Silent
        } else {
            Contact::Lost
        }
    }
}

/// Those of `silences` that are one incident at `now`: many that fell silent together while contact was due, at least one of
/// them long enough to be called silent. Many are [`INCIDENT_MIN`] wherever they lie, or [`INCIDENT_PERCENT`] of a township;
/// `townships` says how many gateways there are in each. Empty: there is none. Places in the list, in its order.
pub fn incident(silences: &[Silence], townships: &[usize], now: CivilTime) -> Vec<usize> {
    let counts = |silence: &Silence| silence.in_service && silence.contact(now) >= Contact::Delayed;
    let mut fell: Vec<(CivilTime, usize)> = silences
        .iter()
        .zip(0..)
        .filter(|(one, _)| counts(one))
        .map(|(one, place)| (one.last, place))
        .collect();
    fell.sort_unstable();
    let mut members = together(&fell, INCIDENT_MIN);
    for (township, all) in townships.iter().enumerate() {
        let here = |(_, place): &&(CivilTime, usize)| {
            silences.get(*place).is_some_and(|one| one.township == Some(township))
        };
        let fell: Vec<(CivilTime, usize)> = fell.iter().filter(here).copied().collect();
        members.extend(together(&fell, (all * INCIDENT_PERCENT).div_ceil(100).max(TOWNSHIP_MIN)));
    }
    members.sort_unstable();
    members.dedup();
    let silent = |place: &usize| silences.get(*place).is_some_and(|one| one.contact(now) >= Contact::Silent);
    if members.iter().any(silent) { members } else { Vec::new() }
}

/// Places of those of `fell`, in the order of time, that are in a span of [`INCIDENT_WITHIN_MS`] with `least` or more.
fn together(fell: &[(CivilTime, usize)], least: usize) -> Vec<usize> {
    let mut members = Vec::new();
    for (first, (from, _)) in fell.iter().enumerate() {
        let until = CivilTime(from.0.saturating_add(INCIDENT_WITHIN_MS));
        let near = fell.iter().skip(first).take_while(|(last, _)| *last <= until);
        let places: Vec<usize> = near.map(|(_, place)| *place).collect();
        if places.len() >= least {
            members.extend(places);
        }
    }
    members
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    const HOUR: i64 = 3_600_000;

    fn since(last: i64, due_ms: i64) -> Silence {
        Silence { last: CivilTime(last), due_ms, in_service: true, township: None }
    }

    #[test]
    fn what_is_switched_off_on_schedule_is_fine_however_long() {
        let off = Silence { in_service: false, ..since(0, 0) };
        assert_eq!(off.contact(CivilTime(15 * 24 * HOUR)), Contact::Fine);
        let late = Silence { due_ms: 400_000, ..off };
        assert_eq!(
            late.contact(CivilTime(15 * 24 * HOUR)),
            Contact::Silent,
            "and late in the morning: the maintainer's"
        );
    }

    #[test]
    fn days_of_silence_in_time_that_was_due_are_the_supervisors() {
        assert_eq!(since(0, 89_999).contact(CivilTime(89_999)), Contact::Fine);
        assert_eq!(since(0, 299_999).contact(CivilTime(299_999)), Contact::Delayed);
        assert_eq!(since(0, SILENT_MS).contact(CivilTime(SILENT_MS)), Contact::Silent);
        assert_eq!(since(0, 27 * HOUR).contact(CivilTime(LOST_MS - 1)), Contact::Silent);
        assert_eq!(since(0, LOST_DUE_MS - 1).contact(CivilTime(LOST_MS)), Contact::Silent);
        assert_eq!(since(0, LOST_DUE_MS).contact(CivilTime(LOST_MS)), Contact::Lost);
    }

    #[test]
    fn many_that_fall_silent_together_are_one_incident() {
        let now = CivilTime(HOUR);
        let fell = |minute: i64| since(minute * 60_000, HOUR - minute * 60_000);
        let four: Vec<Silence> = (40..44).map(fell).collect();
        assert_eq!(incident(&four, &[], now), Vec::<usize>::new());
        let five: Vec<Silence> = (40..45).map(fell).collect();
        assert_eq!(incident(&five, &[], now), vec![0, 1, 2, 3, 4]);
        let spread: Vec<Silence> = [1, 5, 12, 23, 34, 45].map(fell).into();
        assert_eq!(incident(&spread, &[], now), Vec::<usize>::new(), "one after the other is no incident");
        let off: Vec<Silence> = five.iter().map(|one| Silence { in_service: false, ..*one }).collect();
        assert_eq!(incident(&off, &[], now), Vec::<usize>::new(), "switched off together, and late together");
        let young: Vec<Silence> = (0..5).map(|n| since(HOUR - 100_000 - n, 100_000 + n)).collect();
        assert_eq!(incident(&young, &[], now), Vec::<usize>::new(), "nobody is silent yet");
        let mixed: Vec<Silence> = young.iter().copied().chain([since(HOUR - SILENT_MS, SILENT_MS)]).collect();
        assert_eq!(incident(&mixed, &[], now).len(), 6, "the first is; the others fell silent with it");
    }

    #[test]
    fn a_third_of_a_township_is_an_incident_too() {
        let now = CivilTime(HOUR);
        let fell = |township, n: i64| -> Vec<Silence> {
            (0..n).map(|n| Silence { township, ..since(40 * 60_000 + n, 20 * 60_000 - n) }).collect()
        };
        let of = |silences: Vec<Silence>, townships: &[usize]| incident(&silences, townships, now);
        assert_eq!(of(fell(Some(1), 3), &[40, 10]), vec![0, 1, 2]);
        assert_eq!(of(fell(Some(1), 3), &[40, 11]), Vec::<usize>::new(), "three of eleven are 27 %");
        assert_eq!(of(fell(Some(0), 3), &[40, 10]), Vec::<usize>::new(), "of another township");
        assert_eq!(of(fell(None, 3), &[40, 10]), Vec::<usize>::new(), "nobody knows where");
        assert_eq!(
            of(fell(Some(0), 2), &[3]),
            Vec::<usize>::new(),
            "two are no happening, however small the place"
        );
        assert_eq!(of(fell(Some(0), 5), &[400]).len(), 5, "five are, however large");
        let mut late = fell(Some(0), 3);
        late[2].last = CivilTime(0);
        assert_eq!(of(late, &[10]), Vec::<usize>::new(), "one of them fell silent long before");
    }
}
