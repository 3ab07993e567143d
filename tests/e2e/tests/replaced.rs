//! A gateway is destroyed with days of backlog on its disk, replaced, and the old disk turns up later; and keys that rotate
//! meanwhile. Nothing twice, nothing lost, no alert raised twice, and whatever an ended key goes on signing counts for nothing.
//!
//! Lives are lived in virtual time by the gateway's own recorder; whoever joins, delivers and verifies are the real programs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use ::gateway::clock::Wall;
use ::gateway::config::{self, Site};
use ::gateway::history::advance;
use ::gateway::metrics::Metrics;
use ::gateway::recorder::core::{Core, Settings};
use ::gateway::recorder::start::{Found as Began, Heritage, Setup, start};
use ::gateway::recorder::{Answers, Civil, Event, URGENT_MAX};
use ::gateway::state::{DataDir, keys_at};
use e2e::center::Center;
use e2e::clock::real_now;
use e2e::ground::program;
use e2e::process::{Finished, run};
use e2e::records::{Found, at_center, at_gateway};
use e2e::{Clock, Place, gateway};
use gateway_engine::intake::Answer;
use gateway_model::{EngineTime, ModuleState, PointIx, Raw, StartCause, StopCause};
use gateway_wire::{Body, Enrolment, SigningKey, hex};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::evidence::agree;
use crate::sites::{bus, fridge, head};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// A fridge that breathes, °C: one that never moves is a frozen probe.
fn normal(at: i64) -> f64 {
    5.0 + 0.1 * (at / HOUR).rem_euclid(2) as f64
}

/// One box: its data directory, and the time it believes in.
struct Box_ {
    data: PathBuf,
    site: Site,
    file: PathBuf,
    civil: Arc<AtomicI64>,
}

impl Box_ {
    fn new(place: &Place, name: &str, url: &str) -> Self {
        Self::of(place, name, url, &fridge("fridge-1", "b", "1 min"))
    }

    fn of(place: &Place, name: &str, url: &str, device: &str) -> Self {
        let text = head("lobby", Some(url), "30s") + &bus("b", "tcp", "127.0.0.1:1") + device;
        let site = config::load_str("site.toml", &text).unwrap();
        let file = place.write(&format!("{name}.toml"), &text);
        Self { data: place.path().join(name), site, file, civil: Arc::default() }
    }

    fn enrol(&self, how: &[&str]) -> Value {
        let mut args: Vec<&str> = vec!["enrol"];
        args.extend(how);
        let (site, data) = (self.file.to_str().unwrap(), self.data.to_str().unwrap());
        args.extend(["--site", site, "--data", data]);
        serde_json::from_str(&gateway::command(args).good()).unwrap()
    }

    /// Begins a life at a civil time.
    fn begin(&self, at: i64) -> (Core, Began) {
        self.civil.store(at, Ordering::Relaxed);
        let data = DataDir::open(&self.data).unwrap();
        let (urgent, _) = mpsc::channel(URGENT_MAX);
        let enrolled = data.enrolled().unwrap().unwrap();
        let floor = Enrolment::open(&enrolled.center, &enrolled.statement).unwrap().epoch_floor;
        let (core, found) = start(Setup {
            journal: data.journal(),
            limits: gateway_journal::Limits::default(),
            key: data.key().unwrap(),
            plan: self.site.plan.clone(),
            epoch_floor: floor,
            heritage: Heritage {
                ring: keys_at(data.root()).unwrap().map(|(ring, _)| ring),
                predecessor: data.predecessor().unwrap(),
            },
            from: None,
            checkpoint: data.position("checkpoint"),
            settings: Settings {
                seal_every_ms: 30_000,
                wall: Wall::steered(self.civil.clone()),
                civil: Civil::default(),
                metrics: Metrics::default(),
                urgent,
            },
        })
        .unwrap();
        data.forget_predecessor().unwrap();
        (core, found)
    }

    /// The one point (a fridge's temperature, °C; a lamp's irradiance, µW/cm²) is polled every minute between two civil
    /// times; engine and civil time are the same here. Both instruments count in tenths.
    fn live(&self, core: &mut Core, from: i64, to: i64, shown: impl Fn(i64) -> f64) {
        for at in (from..to).step_by(MINUTE as usize) {
            self.civil.store(at, Ordering::Relaxed);
            advance(core, EngineTime(at)).unwrap();
            let answer = Answer::Raw(Raw::Int((shown(at) * 10.0) as i64));
            let answers = Answers { at: EngineTime(at), items: vec![(PointIx(0), answer)], frame: None };
            core.take(Event::Answers(answers), EngineTime(at)).unwrap();
        }
        advance(core, EngineTime(to)).unwrap();
    }

    /// A whole life that ends cleanly.
    fn life(&self, from: i64, to: i64, shown: impl Fn(i64) -> f64) -> Began {
        let (mut core, found) = self.begin(from);
        self.live(&mut core, from, to, shown);
        core.stop(EngineTime(to), StopCause::Asked).unwrap();
        found
    }

    fn deliver(&self, by: &Self) -> Finished {
        let (dir, by) = (self.data.to_str().unwrap(), by.data.to_str().unwrap());
        gateway::command(["journal", "deliver", dir, "--by", by])
    }
}

/// The day at UTC+8, as a person writes it.
fn day_at_the_site(at: i64) -> String {
    // Days from 1970 to a date: the algorithm of Howard Hinnant's `civil_from_days`, for years after 1970.
    let days = (at + 8 * HOUR).div_euclid(DAY) + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let (day, month) =
        (day_of_year - (153 * shifted + 2) / 5 + 1, if shifted < 10 { shifted + 3 } else { shifted - 9 });
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

fn said(finished: &Finished) -> Value {
    serde_json::from_str(finished.stdout.lines().last().unwrap()).unwrap()
}

fn identities(found: &[Found]) -> BTreeSet<(u64, u64, [u8; 32])> {
    found.iter().map(Found::identity).collect()
}

fn of_gateway(center: &Path, id: &str) -> Vec<Found> {
    at_center(center).into_iter().filter(|found| found.gateway == id).collect()
}

async fn alerts(center: &Center, rule: &str) -> Vec<Value> {
    let all = center.api().list("/api/v1/alerts?state=all", "alerts").await;
    all.into_iter().filter(|alert| alert["rule"].as_str().unwrap().ends_with(rule)).collect()
}

fn state<'a>(alerts: &'a [Value], id: &str) -> &'a str {
    alerts.iter().find(|alert| alert["id"] == id).unwrap_or_else(|| panic!("{id} is not in {alerts:?}"))["state"].as_str().unwrap()
}

#[tokio::test]
async fn a_box_is_destroyed_with_three_days_of_backlog_and_its_disk_delivered_later() {
    let place = Place::new("replaced");
    let now = real_now();
    let clock = Clock::start(&place, now, 1);
    let center = Center::start(&place, Some(&clock)).await;
    let old = Box_::new(&place, "old", &center.url);
    let joined = old.enrol(&[&center.url, &center.enrolment_code("lobby").await]);
    let id = joined["gateway"].as_str().unwrap().to_owned();

    // A day that the center hears of: too warm at its end, and the power goes.
    let begin = now - 4 * DAY - HOUR;
    let (mut core, _) = old.begin(begin);
    old.live(&mut core, begin, begin + DAY, |at| if at > begin + DAY - 2 * HOUR { 9.5 } else { normal(at) });
    drop(core);
    assert_eq!(said(&old.deliver(&old))["refused"], 0);
    let open = alerts(&center, "too-warm").await;
    assert_eq!((open.len(), open[0]["state"].as_str()), (1, Some("open")), "{open:?}");
    let first = open[0]["id"].as_str().unwrap().to_owned();
    let known = identities(&of_gateway(center.data(), &id));

    // Three days that it does not hear of, with a restart in between: back to normal, then far too warm until the end.
    let second = begin + DAY + 5 * MINUTE;
    old.life(second, second + DAY, normal);
    let third = second + DAY + 10 * MINUTE;
    let (mut core, _) = old.begin(third);
    old.live(&mut core, third, third + 2 * DAY, |at| {
        if at > third + 2 * DAY - 3 * HOUR { 14.0 } else { normal(at) }
    });
    drop(core);

    // Destroyed. A new box takes its place; the code has to be for these premises, and the old gateway known there.
    let new = Box_::new(&place, "new", &center.url);
    let elsewhere = center.enrolment_code("cellar").await;
    let refused = gateway::command([
        "enrol",
        &center.url,
        &elsewhere,
        "--replaces",
        &id,
        "--site",
        new.file.to_str().unwrap(),
        "--data",
        new.data.to_str().unwrap(),
    ]);
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    let code = center.enrolment_code("lobby").await;
    let joined = new.enrol(&[&center.url, &code, "--replaces", &id]);
    assert_eq!(
        (&joined["gateway"], &joined["open_alerts"]),
        (&Value::from(id.clone()), &Value::from(1)),
        "{joined}"
    );

    // It goes on where the center had the old one: the first alert is open there too, and is not raised again.
    let reborn = now + 10 * MINUTE;
    let began = new.life(reborn, reborn + 3 * HOUR, |at| if at < reborn + 2 * HOUR { 9.5 } else { 5.0 });
    assert_eq!(began.cause, StartCause::Replaced);
    assert_eq!(said(&new.deliver(&new))["refused"], 0);
    let warm = alerts(&center, "too-warm").await;
    assert_eq!(warm.iter().filter(|alert| alert["id"] == first).count(), 1);
    assert_eq!(warm.len(), 1, "the same warmth is one alert: {warm:?}");
    assert_eq!(state(&warm, &first), "cleared", "the new box ended what the old one had raised");
    let cases = center.api().list("/api/v1/cases?state=all", "cases").await.len();

    // The old disk turns up. Everything on it is taken, once.
    let delivered = said(&old.deliver(&new));
    assert_eq!(delivered["refused"], 0, "{delivered}");
    assert!(delivered["sent"].as_u64().unwrap() > 800, "{delivered}");
    let again = said(&old.deliver(&new));
    assert!(again["sent"] == 0, "{again}");
    let there = of_gateway(center.data(), &id);
    let mut both = identities(&at_gateway(&old.data));
    assert!(known.is_subset(&both));
    both.extend(identities(&at_gateway(&new.data)));
    assert_eq!(there.len(), both.len(), "nothing twice");
    assert_eq!(identities(&there), both, "nothing lost, byte for byte");

    // Every reading that was due is accounted for, the same at both ends; of the days that one box lived through alone.
    for (owner, moment) in [(&old, begin + DAY / 2), (&old, third + DAY), (&new, reborn)] {
        let day = day_at_the_site(moment);
        let ours = gateway::command(["audit", owner.data.to_str().unwrap(), "--day", &day, "--json"]);
        let theirs = run(
            &program("center"),
            ["audit", &id, "--data", center.data().to_str().unwrap(), "--day", &day, "--json"],
        );
        assert_eq!((ours.code, theirs.code), (Some(0), Some(0)), "{}{}", ours.stderr, theirs.stderr);
        let sums: Value = serde_json::from_str(theirs.stdout.trim()).unwrap();
        assert!(sums["closes"] == true && sums["due"].as_u64().unwrap() > 0, "{sums}");
        if moment < now - DAY {
            assert_eq!(ours.stdout, theirs.stdout, "{day}");
            assert!(sums["untold"].as_i64().unwrap().abs() <= 2, "{sums}");
        }
    }

    // What it tells of is history: nobody is called for it, and nothing stays open that nobody will end.
    let hot = center.api().list("/api/v1/alerts?state=all", "alerts").await;
    let open: Vec<_> =
        hot.iter().filter(|alert| alert["state"] == "open" && alert["source"] == "gateway").collect();
    assert!(open.is_empty(), "{open:?}");
    assert!(hot.iter().any(|alert| alert["clear_cause"] == "superseded"), "{hot:?}");
    assert_eq!(center.api().list("/api/v1/cases?state=all", "cases").await.len(), cases);
    let revoked = alerts(&center, "center/revoked-key").await;
    assert!(revoked.is_empty(), "what was sealed in time counts: {revoked:?}");

    // The center's bundle of the case: two keys, each with its end, in one chain.
    let case = center.api().list("/api/v1/cases?state=all", "cases").await[0]["id"].to_string();
    let bundle = place.path().join("case.tar");
    let made = run(
        &program("center"),
        [
            "export",
            &case,
            "--data",
            center.data().to_str().unwrap(),
            "--demo-clock",
            clock.path().to_str().unwrap(),
            "-o",
            bundle.to_str().unwrap(),
        ],
    );
    assert_eq!(made.code, Some(3), "devices are not known: {}", made.stderr);
    let secret: [u8; 32] = std::fs::read(center.data().join("center.key")).unwrap().try_into().unwrap();
    let fingerprint = hex(&SigningKey::from_bytes(&secret).verifying_key().fingerprint());
    let policy = place.write(
        "trust.toml",
        &format!("accept_simulated = true\n[[center]]\nkey_sha256 = \"{fingerprint}\"\n"),
    );
    let (verified, _) = agree(&bundle, &policy);
    for line in ["identity", "signatures", "sequence", "chain"] {
        assert_eq!(verified.line(line)["status"], "ok", "{:#}", verified.line(line));
    }
    assert_ne!(verified.line("recomputation")["status"], "failed", "{:#}", verified.line("recomputation"));
    let keys = &verified.line("identity")["facts"]["keys"];
    assert_eq!(
        (&keys[0]["cause"], &keys[1]["cause"]),
        (&Value::from("first"), &Value::from("replaced")),
        "{keys}"
    );
    assert_eq!(
        keys[0]["last"],
        format!("3/{}", at_gateway(&old.data).last().unwrap().seq),
        "up to what it had sealed in time"
    );

    // Somebody starts the old box again: what it seals now is kept, counts for nothing, and is said.
    old.life(now + DAY, now + DAY + HOUR, |_| 14.0);
    let late = said(&old.deliver(&old));
    assert_eq!(late["refused"], 0, "{late}");
    assert_eq!(alerts(&center, "center/revoked-key").await.len(), 1);
    let gateways = center.api().list("/api/v1/gateways", "gateways").await;
    let quarantined = gateways[0]["quarantined"].as_u64().unwrap();
    assert_eq!(quarantined, late["sent"].as_u64().unwrap(), "{gateways:?}");
    let now_open = center.api().list("/api/v1/alerts", "alerts").await;
    assert!(now_open.iter().all(|alert| alert["source"] == "center"), "{now_open:?}");
}

#[tokio::test]
async fn a_key_rotates_during_a_backlog_and_each_record_is_checked_against_its_own() {
    let place = Place::new("rotated");
    let now = real_now();
    let clock = Clock::start(&place, now, 1);
    let center = Center::start(&place, Some(&clock)).await;
    let one = Box_::new(&place, "one", &center.url);
    let id = one.enrol(&[&center.url, &center.enrolment_code("lobby").await])["gateway"]
        .as_str()
        .unwrap()
        .to_owned();
    let begin = now - DAY;
    one.life(begin, begin + HOUR, |_| 5.0);
    // A thief copies the disk, key and all.
    let thief = Box_ { data: place.path().join("thief"), ..Box_::new(&place, "one", &center.url) };
    copy(&one.data, &thief.data);
    // Nobody has sent anything yet when the key changes, twice.
    let said_key = said(&gateway::command(["rotate-key", one.data.to_str().unwrap()]));
    assert_eq!((&said_key["gateway"], &said_key["from_epoch"]), (&Value::from(id.clone()), &Value::from(2)));
    one.life(begin + HOUR, begin + 2 * HOUR, |_| 5.0);
    gateway::command(["rotate-key", one.data.to_str().unwrap()]).good();
    one.life(begin + 2 * HOUR, begin + 3 * HOUR, |_| 5.0);

    // A token of a key that the center has not heard of is no token.
    let unknown = one.deliver(&one);
    assert_ne!(unknown.code, Some(0), "{}", unknown.stdout);
    announce(&one).await;
    let delivered = said(&one.deliver(&one));
    assert_eq!(delivered["refused"], 0, "{delivered}");
    let ours = identities(&at_gateway(&one.data));
    assert_eq!(identities(&of_gateway(center.data(), &id)), ours);

    // The copy goes on with the first key, which ended with the first epoch: its own records of that epoch are known already,
    // those of the next are another's number or count for nothing.
    thief.life(begin + 4 * HOUR, begin + 5 * HOUR, |_| 14.0);
    let stolen = said(&thief.deliver(&thief));
    assert!(stolen["sent"].as_u64().unwrap() > 1, "{stolen}");
    assert_eq!(stolen["refused"], stolen["sent"], "the epoch belongs to another key: {stolen}");
    assert_eq!(identities(&of_gateway(center.data(), &id)), ours, "no number of the chain is taken by it");
    assert_eq!(
        alerts(&center, "center/revoked-key").await.len(),
        1,
        "and what lies behind the numbers that are known"
    );
    let all = center.api().list("/api/v1/alerts", "alerts").await;
    assert!(all.iter().all(|alert| alert["source"] == "center"), "{all:?}");
    assert_eq!(alerts(&center, "center/equivocation").await.len(), 1);

    // The gateway's own tools read what each of its keys signed.
    gateway::command(["journal", "fsck", one.data.to_str().unwrap()]).good();
    gateway::command(["rerun", one.data.to_str().unwrap()]).good();

    // And a bundle that the gateway makes itself: whoever trusts the first key can follow it to the third.
    let bundle = place.path().join("rotated.tar");
    let made =
        gateway::command(["journal", "export", one.data.to_str().unwrap(), "-o", bundle.to_str().unwrap()]);
    assert_eq!(made.code, Some(3), "devices are not known: {}", made.stderr);
    let (ring, _) = keys_at(&one.data).unwrap().unwrap();
    let trusted =
        format!("accept_simulated = true\n[[gateway]]\nkey = \"{}\"\n", hex(&ring.first().to_bytes()));
    let policy = place.write("trust.toml", &trusted);
    let (first, _) = agree(&bundle, &policy);
    let identity = first.line("identity");
    assert_eq!(identity["status"], "ok", "{identity:#}");
    let causes: Vec<&str> = identity["facts"]["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key["cause"].as_str().unwrap())
        .collect();
    assert_eq!(causes, ["first", "rotated", "rotated"]);
    assert_eq!(first.line("chain")["status"], "ok");
    assert_eq!(first.line("signatures")["facts"]["valid"], first.line("signatures")["facts"]["records"]);
    // Who trusts the newest key only believes nothing that an older one signed.
    let newest =
        format!("accept_simulated = true\n[[gateway]]\nkey = \"{}\"\n", hex(&ring.current().to_bytes()));
    let policy = place.write("newest.toml", &newest);
    let (first, _) = agree(&bundle, &policy);
    assert_eq!(first.line("identity")["findings"][0]["code"], "unknown_key");
}

/// Hours of the one lamp of a box by its newest checkpoint.
fn lamp_hours(one: &Box_) -> f64 {
    let (ring, _) = keys_at(&one.data).unwrap().unzip();
    let opened = |found: &Found| match &ring {
        Some(ring) => ring.open(&found.bytes).unwrap().body.unwrap(),
        None => found.open(&e2e::records::key(&one.data).verifying_key()).1,
    };
    let state = at_gateway(&one.data)
        .iter()
        .rev()
        .find_map(|found| if let Body::Checkpoint(state) = opened(found) { Some(state) } else { None });
    let meters = state.unwrap().modules.into_iter().filter_map(|module| {
        let ModuleState::Meter { device, meter } = module else { return None };
        (device == "lamp-1").then_some(meter.on_ms)
    });
    meters.sum::<i64>() as f64 / HOUR as f64
}

#[tokio::test]
async fn a_box_that_takes_anothers_place_goes_on_counting_the_hours_of_a_lamp() {
    const LAMP: &str = r#"
[[device]]
id = "lamp-1"
kind = "uv-lamp"
name = { zh = "紫外线灯", en = "UV lamp" }
[[device.read]]
bus = "b"
unit = 4
profile = "uvc-254"
map = { irradiance = "irradiance" }
every = "1 min"
"#;
    let place = Place::new("lamp-hours");
    let now = real_now();
    let clock = Clock::start(&place, now, 1);
    let center = Center::start(&place, Some(&clock)).await;
    // Lit for 90 minutes of every four hours.
    let begin = now - 3 * DAY;
    let lit = |at: i64| (at - begin).rem_euclid(4 * HOUR) < 90 * MINUTE;
    let irradiance = |at: i64| if lit(at) { 95.0 } else { 0.0 };
    let hours =
        |from: i64, to: i64| (from..to).step_by(MINUTE as usize).filter(|at| lit(*at)).count() as f64 / 60.0;

    // Two days that the center hears of, over a clean stop; the power goes while the lamp is on.
    let old = Box_::of(&place, "old", &center.url, LAMP);
    let id = old.enrol(&[&center.url, &center.enrolment_code("lobby").await])["gateway"]
        .as_str()
        .unwrap()
        .to_owned();
    old.life(begin, begin + DAY, irradiance);
    let known = lamp_hours(&old);
    assert!((known - hours(begin, begin + DAY)).abs() < 0.1, "{known}");
    let out = begin + 2 * DAY + HOUR;
    let (mut core, _) = old.begin(begin + DAY);
    old.live(&mut core, begin + DAY, out, irradiance);
    drop(core);
    assert_eq!(said(&old.deliver(&old))["refused"], 0);
    let by_then = hours(begin, out);

    // A new box with nothing but a code. Its own checkpoint at the start has the hours, and it goes on from there.
    let new = Box_::of(&place, "new", &center.url, LAMP);
    let code = center.enrolment_code("lobby").await;
    new.enrol(&[&center.url, &code, "--replaces", &id]);
    let reborn = begin + 2 * DAY + 4 * HOUR;
    let (mut core, began) = new.begin(reborn);
    assert_eq!(began.cause, StartCause::Replaced);
    let taken_over = lamp_hours(&new);
    assert!((taken_over - by_then).abs() < 0.1, "{taken_over} h came back of {by_then} h");
    new.live(&mut core, reborn, reborn + 10 * HOUR, irradiance);
    core.stop(EngineTime(reborn + 10 * HOUR), StopCause::Asked).unwrap();
    let (now_shown, run) = (lamp_hours(&new), by_then + hours(reborn, reborn + 10 * HOUR));
    assert!((now_shown - run).abs() < 0.1, "{now_shown} h after {run} h of light");
    assert!(run > 15.0, "enough to tell 0.1 h from nothing: {run}");

    // Both boxes' records lead to the same conclusions again.
    assert_eq!(said(&new.deliver(&new))["refused"], 0);
    gateway::command(["rerun", new.data.to_str().unwrap()]).good();
}

/// What `gateway run` does when it starts with more than one key.
async fn announce(one: &Box_) {
    let data = DataDir::open(&one.data).unwrap();
    let meter = ::gateway::uplink::meter::Meter::none();
    let client =
        ::gateway::uplink::client::Client::new(data.enrolled().unwrap().unwrap(), data.key().unwrap(), meter)
            .unwrap();
    let (_, history) = keys_at(data.root()).unwrap().unwrap();
    let patience = std::time::Duration::from_secs(20);
    let never = tokio_util::sync::CancellationToken::new();
    tokio::time::timeout(patience, ::gateway::uplink::identity::announce(&client, &history, &never))
        .await
        .unwrap();
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
