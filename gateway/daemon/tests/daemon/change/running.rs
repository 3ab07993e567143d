//! A gateway that runs, with its site file on disk.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use gateway::change::{Origin, begin};
use gateway::clock::Wall;
use gateway::door::{Reload, reload};
use gateway::run::{Options, Up, run};
use gateway::state::DataDir;
use gateway_journal::{Journal, Position};
use gateway_model::{CivilTime, ConclusionBody, ConfigChange, ConfigStep};
use gateway_wire::{Body, open};
use rumqttc::{AsyncClient, MqttOptions, PublishOptions, QoS};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::packs::wrong;
use super::{PACK, rooms, write};
use crate::rig::{Peer, eventually};

/// A house whose site file can be changed while its gateway runs, sixty times as fast as life.
pub(super) struct House {
    pub(super) dir: TempDir,
    up: Up,
    stop: CancellationToken,
    ended: JoinHandle<anyhow::Result<()>>,
}

pub(super) fn origin(dir: &TempDir) -> Origin {
    Origin::new(dir.path().join("site.toml"), Arc::new(|_| Ok(())))
}

impl House {
    pub(super) async fn start(dir: TempDir) -> Self {
        Self::start_at(dir, Wall::demo_from(CivilTime(1_795_305_600_000), 60.0)).await
    }

    pub(super) async fn start_at(dir: TempDir, wall: Wall) -> Self {
        Self::start_recording(dir, wall, None).await
    }

    async fn start_recording(dir: TempDir, wall: Wall, record: Option<(PathBuf, u64)>) -> Self {
        let data = dir.path().join("data");
        let origin = origin(&dir);
        let site = begin(&origin, &data).unwrap();
        let stop = CancellationToken::new();
        let (up_in, up) = oneshot::channel();
        let mut up_in = Some(up_in);
        let origin = Some(origin);
        let options = Options { site, data, wall, history: None, record, origin, lines: None };
        let ended = tokio::spawn(run(options, stop.clone(), move |up| {
            if let Some(up_in) = up_in.take() {
                up_in.send(up.clone()).unwrap();
            }
        }));
        Self { up: up.await.unwrap(), dir, stop, ended }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    async fn reload(&self, dry_run: bool) -> Result<String, String> {
        reload(&self.data(), Reload { dry_run }).await.unwrap()
    }

    pub(super) async fn status(&self) -> serde_json::Value {
        let url = format!("{}/api/status", self.up.page.as_ref().unwrap());
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        client.get(url).send().await.unwrap().json().await.unwrap()
    }

    async fn metrics(&self) -> String {
        self.get("/metrics").await
    }

    async fn get(&self, path: &str) -> String {
        let url = format!("{}{path}", self.up.page.as_ref().unwrap());
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        client.get(url).send().await.unwrap().text().await.unwrap()
    }

    pub(super) async fn good(&self, id: &str, celsius: f64) {
        eventually(&format!("{id} at {celsius}"), async || {
            let status = self.status().await;
            let points = status["points"].as_array().unwrap();
            let point = points.iter().find(|point| point["id"] == id)?;
            let near = point["value"].as_f64().is_some_and(|value| (value - celsius).abs() < 1e-9);
            (near && point["quality"] == "good").then_some(())
        })
        .await;
    }

    pub(super) async fn step(&self, step: &str) -> String {
        eventually(step, async || {
            let configuration = self.status().await["configuration"].clone();
            (configuration["step"] == step).then(|| configuration["said"].as_str().unwrap().to_owned())
        })
        .await
    }

    async fn alert(&self, rule: &str, device: &str) {
        eventually(&format!("{rule} on {device}"), async || {
            let status = self.status().await;
            let alerts = status["alerts"].as_array().unwrap();
            alerts.iter().any(|alert| alert["rule"] == rule && alert["device"] == device).then_some(())
        })
        .await;
    }

    pub(super) async fn stop(self) -> TempDir {
        self.stop.cancel();
        self.ended.await.unwrap().unwrap();
        self.dir
    }
}

/// What the record says of configurations.
pub(super) fn changes(dir: &TempDir) -> Vec<ConfigChange> {
    let data = dir.path().join("data");
    let key = DataDir::open(&data).unwrap().key().unwrap().verifying_key();
    let (journal, _) = Journal::open_read_only(&data.join("journal")).unwrap();
    journal
        .scan(Position::default())
        .filter_map(|stored| match open(&key, &stored.unwrap().bytes).unwrap().body.unwrap() {
            Body::Conclusions(conclusions) => Some(conclusions.list),
            Body::Start(_)
            | Body::Config(_)
            | Body::Inputs(_)
            | Body::Checkpoint(_)
            | Body::Gap(_)
            | Body::Parted(_)
            | Body::Part(_) => None,
        })
        .flatten()
        .filter_map(|conclusion| match conclusion.body {
            ConclusionBody::Config(change) => Some(change),
            ConclusionBody::Alert(_)
            | ConclusionBody::Cycle(_)
            | ConclusionBody::Order { .. }
            | ConclusionBody::Storage(_)
            | ConclusionBody::Folded(_)
            | ConclusionBody::Suppression(_) => None,
        })
        .collect()
}

fn steps(dir: &TempDir) -> Vec<ConfigStep> {
    changes(dir).into_iter().map(|change| change.step).collect()
}

/// Two peers, each at a bus of its own.
async fn two() -> ((Peer, SocketAddr), (Peer, SocketAddr)) {
    let (one, two) = (Peer::start().await, Peer::start().await);
    for (peer, _) in [&one, &two] {
        for unit in 1..=3 {
            peer.set(unit, 4, 0, 200 + u16::from(unit));
        }
    }
    (one, two)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_point_is_added_and_no_line_notices() {
    let ((one, first), (two, second)) = two().await;
    let (first, second) = (first.to_string(), second.to_string());
    let lines = [("one", first.as_str()), ("two", second.as_str())];
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &rooms(&lines, &[("room-b", "one", 1), ("room-c", "two", 1)]), PACK);
    let house = House::start(dir).await;
    house.good("room-b/temperature", 20.1).await;
    house.good("room-c/temperature", 20.1).await;
    // In front of the others: every slot moves.
    let more = [("room-a", "one", 2), ("room-b", "one", 1), ("room-c", "two", 1)];
    write(house.dir.path(), &rooms(&lines, &more), PACK);
    let said = house.reload(true).await.unwrap();
    assert_eq!(
        said,
        "adds 1 device (room-a), adds 1 point (room-a/temperature), adds 3 rules (gateway-self/bus-unevaluable on room-a, gateway-self/device-unevaluable on room-a, own/hot on room-a), re-plans bus `one`, restarts nothing else"
    );
    assert_eq!(house.status().await["epoch"], 1, "a dry run changes nothing");
    assert_eq!(house.reload(false).await.unwrap(), said);
    house.good("room-a/temperature", 20.2).await;
    house.step("confirmed").await;
    assert_eq!(house.status().await["epoch"], 2);
    // What is read under the old slots still stands in the right place.
    one.set(1, 4, 0, 150);
    two.set(1, 4, 0, 160);
    house.good("room-b/temperature", 15.0).await;
    house.good("room-c/temperature", 16.0).await;
    house.good("room-a/temperature", 20.2).await;
    // Whether a turn was missed is asked in virtual time (`bus.rs`): here a busy machine would answer.
    assert_eq!((one.connections(), two.connections()), (1, 1), "no line was opened again");
    assert_eq!(house.reload(false).await.unwrap(), "changes nothing");
    let dir = house.stop().await;
    assert_eq!(steps(&dir), [ConfigStep::Applied, ConfigStep::Confirmed]);
    assert_eq!(changes(&dir)[0].said, said);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_pack_is_refused_and_the_old_one_goes_on_raising_its_alerts() {
    let (peer, address) = Peer::start().await;
    peer.set(1, 4, 0, 200);
    let address = address.to_string();
    let site = rooms(&[("one", &address)], &[("room-a", "one", 1)]);
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &site, PACK);
    let house = House::start(dir).await;
    house.good("room-a/temperature", 20.0).await;
    let wrong = wrong();
    for (name, pack) in &wrong {
        std::fs::write(house.dir.path().join("own.toml"), pack).unwrap();
        let why = house.reload(false).await.unwrap_err();
        let here = format!("{}/", house.dir.path().display());
        super::snapshot(&format!("{name}.txt"), &why.replace(&here, ""));
        assert_eq!(house.step("refused").await, why, "and as the page says it");
    }
    // A file that cannot be read at all.
    std::fs::remove_file(house.dir.path().join("own.toml")).unwrap();
    let why = house.reload(false).await.unwrap_err();
    assert!(why.contains("own.toml") && why.contains("cannot be read"), "{why}");
    assert_eq!(house.status().await["epoch"], 1, "nothing was switched");
    for (lang, words) in [("zh", "新配置未被接受"), ("en", "another one was refused")] {
        assert!(house.get(&format!("/?lang={lang}")).await.contains(words), "{lang}");
    }
    peer.set(1, 4, 0, 400);
    house.alert("own/hot", "room-a").await;
    let dir = house.stop().await;
    let changes = changes(&dir);
    assert_eq!(changes.len(), wrong.len() + 1);
    assert!(changes.iter().all(|change| change.step == ConfigStep::Refused), "{changes:?}");
    assert!(changes[1].said.contains("temprature"), "the record says why: {changes:?}");
    // Also after a restart: the bad file stays out, the confirmed configuration is in force.
    let house = House::start(dir).await;
    house.alert("own/hot", "room-a").await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_that_is_not_healthy_is_taken_back_by_itself() {
    let ((one, first), (_two, second)) = two().await;
    let (first, second) = (first.to_string(), second.to_string());
    let lines = [("one", first.as_str()), ("two", second.as_str())];
    let dir = tempfile::tempdir().unwrap();
    let text = rooms(&lines, &[("room-a", "one", 1), ("room-b", "two", 1)]);
    write(dir.path(), &text, PACK);
    let house = House::start(dir).await;
    house.good("room-a/temperature", 20.1).await;
    house.good("room-b/temperature", 20.1).await;
    // Nobody listens there.
    write(house.dir.path(), &text.replace(&second, "127.0.0.1:1"), PACK);
    let said = house.reload(false).await.unwrap();
    assert_eq!(said, "restarts bus `two`, restarts nothing else");
    assert!(house.reload(false).await.is_err(), "one change at a time");
    let why = house.step("rolled-back").await;
    assert_eq!(why, "taken back: bus `two`: 0 of 1 points that answered before answer");
    house.good("room-b/temperature", 20.1).await;
    assert_eq!(one.connections(), 1, "the other line did not notice");
    let dir = house.stop().await;
    assert_eq!(steps(&dir), [ConfigStep::Applied, ConfigStep::Refused, ConfigStep::RolledBack]);
    // The site file still says it; a restart does not believe it.
    let site = begin(&origin(&dir), &dir.path().join("data")).unwrap();
    assert_eq!(site.buses[1].address, second);
    // Until somebody writes another one.
    write(dir.path(), &text.replace("en = \"House\"", "en = \"Home\""), PACK);
    let site = begin(&origin(&dir), &dir.path().join("data")).unwrap();
    assert_eq!(site.name.en, "Home");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_during_a_trial_is_a_newer_word_whatever_becomes_of_the_trial() {
    let ((_one, first), (_two, second)) = two().await;
    let (first, second) = (first.to_string(), second.to_string());
    for (address, end) in [(second.as_str(), "confirmed"), ("127.0.0.1:1", "rolled-back")] {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &rooms(&[("one", &first)], &[("room-a", "one", 1)]), PACK);
        let house = House::start(dir).await;
        house.good("room-a/temperature", 20.1).await;
        let lines = [("one", first.as_str()), ("two", address)];
        let tried = rooms(&lines, &[("room-a", "one", 1), ("room-b", "two", 2)]);
        write(house.dir.path(), &tried, PACK);
        house.reload(false).await.unwrap();
        // Not asked for, so not tried.
        let edited = tried.replace("en = \"House\"", "en = \"Home\"");
        std::fs::write(house.dir.path().join("site.toml"), edited).unwrap();
        house.step(end).await;
        let dir = house.stop().await;
        let begun = || begin(&origin(&dir), &dir.path().join("data")).unwrap();
        assert_eq!(begun().name.en, "Home", "{end}: begun with the site file as it is");
        // What was tried goes by what became of it.
        write(dir.path(), &tried, PACK);
        assert_eq!(begun().buses.len(), if end == "confirmed" { 2 } else { 1 }, "{end}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_bus_that_cannot_be_opened_is_taken_back_and_one_that_answers_stays() {
    let ((one, first), (_two, second)) = two().await;
    let (first, second) = (first.to_string(), second.to_string());
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &rooms(&[("one", &first)], &[("room-a", "one", 1)]), PACK);
    let house = House::start(dir).await;
    house.good("room-a/temperature", 20.1).await;
    let with = |address: &str| {
        rooms(&[("one", &first), ("two", address)], &[("room-a", "one", 1), ("room-b", "two", 2)])
    };
    write(house.dir.path(), &with("127.0.0.1:1"), PACK);
    let said = house.reload(false).await.unwrap();
    assert!(said.ends_with("adds bus `two`, restarts nothing else"), "{said}");
    let why = house.step("rolled-back").await;
    assert_eq!(why, "taken back: bus `two`: 0 of 1 points on it answer");
    write(house.dir.path(), &with(&second), PACK);
    house.reload(false).await.unwrap();
    house.step("confirmed").await;
    house.good("room-b/temperature", 20.2).await;
    assert_eq!(one.connections(), 1, "the line that was there noticed nothing of all this");
    let dir = house.stop().await;
    assert_eq!(
        steps(&dir),
        [ConfigStep::Applied, ConfigStep::RolledBack, ConfigStep::Applied, ConfigStep::Confirmed]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recording_tells_of_a_bus_that_a_reload_adds() {
    let ((_one, first), (_two, second)) = two().await;
    let (first, second) = (first.to_string(), second.to_string());
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &rooms(&[("one", &first)], &[("room-a", "one", 1)]), PACK);
    let wall = Wall::demo_from(CivilTime(1_795_305_600_000), 60.0);
    let file = dir.path().join("day.jsonl");
    let house = House::start_recording(dir, wall, Some((file.clone(), 1 << 20))).await;
    house.good("room-a/temperature", 20.1).await;
    let lines = [("one", first.as_str()), ("two", second.as_str())];
    write(house.dir.path(), &rooms(&lines, &[("room-a", "one", 1), ("room-b", "two", 2)]), PACK);
    house.reload(false).await.unwrap();
    house.good("room-b/temperature", 20.2).await;
    let _dir = house.stop().await;
    let text = std::fs::read_to_string(&file).unwrap();
    let mut of_two = text.lines().filter(|line| line.contains("\"bus\":\"two\""));
    assert!(
        of_two.next().is_some_and(|line| line.ends_with("\"bus\":\"two\",\"transport\":\"tcp\"}")),
        "{text}"
    );
    assert!(of_two.next().is_some_and(|line| line.contains("\"ask\":\"")), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_needs_a_restart_is_refused_in_words() {
    let (_peer, address) = Peer::start().await;
    let address = address.to_string();
    let text = rooms(&[("one", &address)], &[("room-a", "one", 1)]);
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &text, PACK);
    let house = House::start(dir).await;
    write(house.dir.path(), &text.replace("seal_every = \"5s\"", "seal_every = \"6s\""), PACK);
    let why = house.reload(false).await.unwrap_err();
    assert!(why.starts_with("[journal] cannot change while the gateway runs"), "{why}");
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_topic_is_listened_to_and_the_connection_stays() {
    let listeners = |list: &[(&str, &str)]| {
        let device = |(id, topic): &(&str, &str)| {
            format!(
                "\n[[device]]\nid = \"{id}\"\nkind = \"room\"\nname = {{ zh = \"{id}\", en = \"{id}\" }}\n[[device.mqtt]]\ntopic = \"{topic}\"\nprofile = \"zigbee2mqtt\"\nmap = {{ temperature = \"temperature\" }}\n"
            )
        };
        let devices: String = list.iter().map(device).collect();
        format!("{}\n[broker]\nlisten = \"127.0.0.1:0\"\n{devices}", rooms(&[], &[]))
    };
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &listeners(&[("room-a", "house/a"), ("room-b", "house/b")]), PACK);
    let house = House::start(dir).await;
    let broker = house.up.mqtt.unwrap();
    let options = MqttOptions::new("publisher", (broker.ip().to_string(), broker.port()));
    let (client, mut events) = AsyncClient::builder(options).capacity(8).build();
    let polling = tokio::spawn(async move { while events.poll().await.is_ok() {} });
    let publish = async |topic: &str, celsius: f64| {
        let payload = format!("{{\"temperature\":{celsius}}}").into_bytes();
        client.publish(topic, payload, PublishOptions::new(QoS::AtLeastOnce)).await.unwrap();
    };
    let shows = async |topic: &str, id: &str, celsius: f64| {
        eventually(&format!("{id} at {celsius}"), async || {
            publish(topic, celsius).await;
            let status = house.status().await;
            let points = status["points"].as_array().unwrap();
            points.iter().any(|point| point["id"] == id && point["value"] == celsius).then_some(())
        })
        .await;
    };
    shows("house/a", "room-a/temperature", 20.5).await;
    shows("house/b", "room-b/temperature", 21.5).await;
    write(house.dir.path(), &listeners(&[("room-c", "house/c"), ("room-a", "house/a")]), PACK);
    let said = house.reload(false).await.unwrap();
    assert!(said.ends_with("listens to other MQTT topics or fields, restarts nothing else"), "{said}");
    shows("house/c", "room-c/temperature", 22.5).await;
    shows("house/a", "room-a/temperature", 23.5).await;
    let metrics = house.metrics().await;
    assert!(!metrics.contains("connection_lost"), "{metrics}");
    polling.abort();
    let dir = house.stop().await;
    assert_eq!(steps(&dir), [ConfigStep::Applied, ConfigStep::Confirmed]);
}
