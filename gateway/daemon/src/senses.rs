//! What the box knows of itself, told like the answer of an instrument: it goes through intake into the record, so rules judge it and
//! anybody can compute its alerts again.
//!
//! What cannot be known gives no value, and "cannot be judged" is an alert of its own: an unknown clock is not a right one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use gateway_engine::intake::Answer;
use gateway_model::{BadCause, EngineTime, Raw};
use tokio_util::sync::CancellationToken;

use crate::bus::health::{Boards, Trouble};
use crate::clock::{Clock, Wall};
use crate::config::{OWN_EVERY_MS, Sense, SensePlan};
use crate::mqtt::Connected;
use crate::recorder::{Answers, Civil, Event, Inputs};

/// The box's own senses.
pub struct Senses {
    /// What to tell, and as which point.
    pub plans: Vec<SensePlan>,
    /// The data directory: its file system is what may fill up.
    pub data: PathBuf,
    /// The system's clock.
    pub wall: Wall,
    /// The time that is believed.
    pub civil: Civil,
    /// The connection to the broker; `None`: nothing is listened to.
    pub connected: Option<Connected>,
    /// What buses are in trouble.
    pub boards: Boards,
    /// The recorder.
    pub inputs: Inputs,
}

impl Senses {
    /// Looks once a minute until told to stop.
    pub async fn run(self, clock: Clock, stop: CancellationToken) -> anyhow::Result<()> {
        let every =
            Duration::from_millis(OWN_EVERY_MS as u64).div_f64(self.wall.speed().max(f64::MIN_POSITIVE));
        loop {
            let answers = self.look(clock.now());
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                told = self.inputs.send(Event::Answers(answers)) => if told.is_err() { return Ok(()) },
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(every) => {}
            }
        }
    }

    /// Everything, now.
    pub fn look(&self, at: EngineTime) -> Answers {
        let answer = |plan: &SensePlan| (plan.point, self.sense(plan.sense, at));
        Answers { at, items: self.plans.iter().map(answer).collect(), frame: None }
    }

    fn sense(&self, sense: Sense, at: EngineTime) -> Answer {
        let raw = match sense {
            Sense::DiskFree => free_permille(&self.data).map(|mantissa| Raw::Dec { mantissa, exponent: -1 }),
            Sense::ClockError => self.clock_error_s(at).map(Raw::Int),
            Sense::Broker => self.connected.as_ref().map(|connected| Raw::Int(i64::from(connected.get()))),
            Sense::TwoAnswers => Some(self.unit_in(Trouble::TwoAnswers)),
            Sense::Garbled => Some(self.unit_in(Trouble::Garbled)),
            Sense::ForeignAnswers => Some(self.unit_in(Trouble::ForeignAnswers)),
        };
        raw.map_or(Answer::Failed(BadCause::NoCommunication), Answer::Raw)
    }

    fn unit_in(&self, trouble: Trouble) -> Raw {
        Raw::Int(self.boards.unit_in(trouble).into())
    }

    /// How far the system's clock is from the time that is believed.
    fn clock_error_s(&self, at: EngineTime) -> Option<i64> {
        let (system, believed) = (self.wall.civil()?, self.civil.civil(at)?);
        Some(system.0.saturating_sub(believed.0).saturating_abs() / 1_000)
    }
}

/// Free share of a file system for whoever may not use the reserve, ‰.
fn free_permille(path: &Path) -> Option<i64> {
    let found = rustix::fs::statvfs(path)
        .inspect_err(
            |error| tracing::warn!(path = %path.display(), %error, "its file system cannot be asked"),
        )
        .ok()?;
    let free = u128::from(found.f_bavail) * 1_000 / u128::from(found.f_blocks.max(1));
    i64::try_from(free).ok()
}

#[cfg(test)]
mod tests {
    use gateway_engine::Engine;
    use gateway_engine::intake::Intake;
    use gateway_model::{Change, CivilTime, ConclusionBody, Epoch, Input, Plan, StartCause, StartInput};

    use super::*;
    use crate::bus::health::Board;
    use crate::config::load_str;
    use crate::metrics::Metrics;
    use crate::recorder;

    const SITE: &str = r#"
[site]
id = "s"
institution = "923301000000000193"
name = { zh = "所", en = "site" }
[hours]
open = ["mon-sun 08:00-18:00"]
[[device]]
id = "box-1"
kind = "gateway"
name = { zh = "网关", en = "Box" }
own = ["disk_free", "clock_error", "broker", "two_answers", "garbled", "foreign_answers"]
[[device]]
id = "feed-1"
kind = "dental-feed"
name = { zh = "诊疗系统", en = "Feed" }
[[device.mqtt]]
topic = "visits"
profile = "nonsite"
map = { visits = "visits" }
"#;

    /// Rules of the box that were raised after so many minutes of looks.
    fn raised(plan: &Plan, minutes: i64, mut look: impl FnMut(EngineTime) -> Answers) -> Vec<String> {
        let (mut intake, mut engine, mut out) = (Intake::new(plan), Engine::new(plan.clone()), Vec::new());
        let start = StartInput {
            at: EngineTime(0),
            epoch: Epoch(1),
            previous: None,
            previous_hash: None,
            cause: StartCause::First,
            downtime_ms: None,
            simulated: true,
        };
        engine.step(&Input::Start(start), &mut out);
        for minute in 0..=minutes {
            let answers = look(EngineTime(minute * 60_000));
            for (point, answer) in answers.items {
                if let Some(reading) = intake.offer(point, answers.at, answer) {
                    engine.step(&Input::Reading(reading), &mut out);
                }
            }
        }
        let rules = out.iter().filter_map(|conclusion| {
            let ConclusionBody::Alert(change) = &conclusion.body else { return None };
            let rule = change.rule.filter(|_| change.change == Change::Raised)?;
            Some(plan.rules[rule.slot()].id.clone())
        });
        rules.collect()
    }

    fn senses(
        data: &Path,
        wall: Wall,
        civil: Civil,
        connected: Option<Connected>,
    ) -> (std::sync::Arc<Plan>, Senses) {
        let site = load_str("site.toml", SITE).unwrap_or_else(|problems| panic!("{problems:?}"));
        let (doors, _rooms) = recorder::doors(civil.clone());
        let senses = Senses {
            plans: site.senses,
            data: data.to_owned(),
            wall,
            civil,
            connected,
            boards: Boards::default(),
            inputs: doors.inputs,
        };
        (site.plan, senses)
    }

    fn with(senses: &Senses, at: EngineTime, sense: Sense, raw: Raw) -> Answers {
        let mut answers = senses.look(at);
        for (plan, (_, answer)) in senses.plans.iter().zip(&mut answers.items) {
            if plan.sense == sense {
                *answer = Answer::Raw(raw);
            }
        }
        answers
    }

    fn right() -> (Wall, Civil) {
        let (wall, civil) = (Wall::demo_from(CivilTime(1_794_931_200_000), 1.0), Civil::default());
        civil.set(Some(1_794_931_200_000));
        (wall, civil)
    }

    #[tokio::test(start_paused = true)]
    async fn a_box_that_is_well_says_so_of_the_real_disk_and_clock() {
        let (wall, civil) = right();
        let connected = Connected::default();
        connected.set(true);
        let (_, senses) = senses(Path::new("/"), wall, civil, Some(connected));
        let answers = senses.look(EngineTime(0));
        let numbers: Vec<f64> = answers
            .items
            .iter()
            .map(|(_, answer)| {
                let Answer::Raw(raw) = answer else { panic!("{answer:?}") };
                raw.number().unwrap()
            })
            .collect();
        assert!((0.0..=100.0).contains(&numbers[0]), "free: {} %", numbers[0]);
        assert!(numbers[1] <= 1.0, "clock: {} s", numbers[1]);
        assert!((numbers[2] - 1.0).abs() < f64::EPSILON);
        assert_eq!(numbers[3..], [0.0; 3], "no line is in trouble");
    }

    #[tokio::test(start_paused = true)]
    async fn two_devices_with_one_unit_id_raise_an_alert_that_names_it() {
        let (wall, civil) = right();
        let metrics = Metrics::default();
        let (plan, mut senses) = senses(Path::new("/"), wall, civil, None);
        senses.boards = metrics.boards().clone();
        let said = |senses: &Senses| raised(&plan, 15, |at| senses.look(at));
        assert!(!said(&senses).contains(&"gateway-self/two-answers".to_owned()));
        let bus = crate::config::BusPlan {
            name: "line".into(),
            transport: crate::config::Transport::Rtu,
            address: "/dev/ttyUSB0".into(),
            timeout: Duration::from_millis(500),
            gap: Duration::ZERO,
            line: None,
        };
        let mut board = Board::new(bus, metrics);
        board.begin(Some(crate::config::UnitId(17)), Trouble::TwoAnswers);
        assert!(said(&senses).contains(&"gateway-self/two-answers".to_owned()));
        let [.., (_, Answer::Raw(Raw::Int(17))), _, _] = senses.look(EngineTime(0)).items[..] else {
            panic!()
        };
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_disk_raises_its_alert() {
        let (wall, civil) = right();
        let (plan, senses) = senses(Path::new("/"), wall, civil, None);
        let nearly = |permille| {
            let raised = raised(&plan, 15, |at| {
                with(&senses, at, Sense::DiskFree, Raw::Dec { mantissa: permille, exponent: -1 })
            });
            raised.contains(&"gateway-self/disk-low".to_owned())
        };
        assert!(nearly(99), "9.9 % free");
        assert!(!nearly(100), "10 % free is the limit");
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_wrong_raises_its_alert_and_one_that_nobody_knows_another() {
        let (wall, civil) = right();
        // The center's time is believed, and the system's clock is an hour off.
        civil.set(Some(1_794_931_200_000 - 3_600_000));
        let (plan, wrong) = senses(Path::new("/"), wall.clone(), civil, None);
        let said = raised(&plan, 15, |at| wrong.look(EngineTime(at.0)));
        assert!(said.contains(&"gateway-self/clock-wrong".to_owned()), "{said:?}");
        let (plan, unknown) = senses(Path::new("/"), wall, Civil::default(), None);
        let said = raised(&plan, 20, |at| unknown.look(at));
        assert!(!said.contains(&"gateway-self/clock-wrong".to_owned()), "{said:?}");
        assert!(said.contains(&"gateway-self/clock-unevaluable".to_owned()), "{said:?}");
        assert!(said.contains(&"gateway-self/device-unevaluable".to_owned()), "{said:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_broker_raises_its_alert() {
        let (wall, civil) = right();
        let connected = Connected::default();
        let (plan, senses) = senses(Path::new("/"), wall, civil, Some(connected.clone()));
        let said = |senses: &Senses| raised(&plan, 15, |at| senses.look(at));
        assert!(said(&senses).contains(&"gateway-self/broker-lost".to_owned()));
        connected.set(true);
        assert!(!said(&senses).contains(&"gateway-self/broker-lost".to_owned()));
    }

    #[test]
    fn a_disk_that_cannot_be_asked_gives_no_value() {
        assert_eq!(free_permille(Path::new("/no/such/folder")), None);
    }

    #[test]
    fn what_the_box_does_not_know_is_refused_with_a_hint() {
        let text = SITE.replace("disk_free", "disk_fre");
        let problems = load_str("site.toml", &text).unwrap_err();
        assert!(
            problems.iter().any(|problem| problem.message.contains("knows no `disk_fre`")),
            "{problems:?}"
        );
        let alone = SITE.split("[[device]]\nid = \"feed-1\"").next().unwrap();
        let problems = load_str("site.toml", alone).unwrap_err();
        assert!(problems.iter().any(|problem| problem.message.contains("over MQTT")), "{problems:?}");
    }
}
