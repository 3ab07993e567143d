//! Configurations that a center orders: F22 of the failure list.

use gateway::change::begin;
use gateway::clock::Wall;
use gateway::state::DataDir;
use gateway_model::{CivilTime, CommandBody, ConclusionBody, ConfigStep, GatewayId, OrderOutcome};
use gateway_wire::{Body, Configuration, Order, SigningKey, VerifyingKey, hex, open};
use tempfile::TempDir;

use super::running::{House, changes, origin};
use super::{PACK, rooms, write};
use crate::rig::{Peer, eventually};
use crate::running::Center;

struct Supervised {
    house: House,
    center: Center,
    gateway: GatewayId,
    key: VerifyingKey,
    wall: Wall,
    line: String,
    url: String,
}

impl Supervised {
    async fn start() -> (Self, Peer) {
        let (peer, address) = Peer::start().await;
        for unit in 1..=3 {
            peer.set(unit, 4, 0, 200 + u16::from(unit));
        }
        let dir = tempfile::tempdir().unwrap();
        let wall = Wall::demo_from(CivilTime(1_795_305_600_000), 60.0);
        let data = DataDir::open(&dir.path().join("data")).unwrap();
        let key = data.key().unwrap().verifying_key();
        let (center, url) = Center::start(key, wall.clone()).await;
        data.enrol(&center.enrolled(&url)).unwrap();
        drop(data);
        let line = address.to_string();
        write(dir.path(), &Self::text(&line, &url, &[("room-a", "one", 1)]), PACK);
        let house = House::start_at(dir, wall.clone()).await;
        let this = Self { house, center, gateway: key.gateway_id(), key, wall, line, url };
        this.house.good("room-a/temperature", 20.1).await;
        (this, peer)
    }

    fn text(line: &str, url: &str, list: &[(&str, &str, u8)]) -> String {
        format!("{}\n[center]\nurl = \"{url}\"\n", rooms(&[("one", line)], list))
    }

    fn site(&self, list: &[(&str, &str, u8)]) -> Configuration {
        let files = vec![("own.toml".to_owned(), PACK.to_owned())];
        Configuration { site: Self::text(&self.line, &self.url, list), files }
    }

    /// An order with this number for a configuration, which the center has.
    fn order(&self, seq: u64, configuration: &Configuration) -> Order {
        let bytes = configuration.encode();
        let body = CommandBody::Configure { config: configuration.id(), size: bytes.len() as u64 };
        self.center.0.lock().unwrap().configurations.insert(hex(&configuration.id()), bytes);
        let now = self.wall.civil().unwrap();
        let expires = CivilTime(now.0 + 86_400_000);
        Order { center_epoch: 1, seq, gateway: self.gateway, issued: now, expires, author: "p".into(), body }
    }

    fn give(&self, order: &Order) {
        let mut books = self.center.0.lock().unwrap();
        let sealed = order.seal(&books.key);
        books.orders.push(sealed);
    }

    /// What the record at the center says of an order.
    async fn outcome(&self, seq: u64) -> OrderOutcome {
        eventually(&format!("the end of order {seq}"), async || {
            let books = self.center.0.lock().unwrap();
            let bodies = books.records.values().map(|bytes| open(&self.key, bytes).unwrap().body.unwrap());
            let mut said = bodies.filter_map(|body| match body {
                Body::Conclusions(conclusions) => Some(conclusions.list),
                Body::Start(_)
                | Body::Config(_)
                | Body::Inputs(_)
                | Body::Checkpoint(_)
                | Body::Gap(_)
                | Body::Parted(_)
                | Body::Part(_) => None,
            });
            said.find_map(|list| {
                list.into_iter().find_map(|one| match one.body {
                    ConclusionBody::Order { order, outcome } if order == (1, seq) => Some(outcome),
                    ConclusionBody::Order { .. }
                    | ConclusionBody::Alert(_)
                    | ConclusionBody::Cycle(_)
                    | ConclusionBody::Storage(_)
                    | ConclusionBody::Folded(_)
                    | ConclusionBody::Suppression(_)
                    | ConclusionBody::Config(_) => None,
                })
            })
        })
        .await
    }

    async fn declined(&self, seq: u64, words: &str) {
        match self.outcome(seq).await {
            OrderOutcome::Declined(why) => assert!(why.contains(words), "{words}: {why}"),
            other @ (OrderOutcome::Done | OrderOutcome::Refused(_) | OrderOutcome::Expired) => {
                panic!("order {seq}: {other:?}")
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ordered_configuration_is_fetched_in_pieces_and_outlives_a_restart() {
    let (supervised, peer) = Supervised::start().await;
    let more = supervised.site(&[("room-b", "one", 2), ("room-a", "one", 1)]);
    assert!(more.encode().len() > 1_000, "more than two pieces");
    supervised.give(&supervised.order(1, &more));
    assert_eq!(supervised.outcome(1).await, OrderOutcome::Done);
    supervised.house.good("room-b/temperature", 20.2).await;
    supervised.house.step("confirmed").await;
    assert_eq!(peer.connections(), 1, "the line did not notice");
    let dir = supervised.house.stop().await;
    let said: Vec<_> = changes(&dir).into_iter().map(|change| (change.step, change.order)).collect();
    assert_eq!(said, [(ConfigStep::Applied, Some((1, 1))), (ConfigStep::Confirmed, Some((1, 1)))]);
    // The site file is the older word.
    let data = dir.path().join("data");
    assert_eq!(begin(&origin(&dir), &data).unwrap().plan.points.len(), 2);
    // Until a person writes it anew.
    let text = Supervised::text(&supervised.line, &supervised.url, &[("room-c", "one", 3)]);
    write(dir.path(), &text, PACK);
    assert_eq!(begin(&origin(&dir), &data).unwrap().plan.points[0].id, "room-c/temperature");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_an_ordered_configuration_keeps_the_old_one_in_force() {
    let (supervised, _peer) = Supervised::start().await;
    let more = supervised.site(&[("room-b", "one", 2), ("room-a", "one", 1)]);
    let order = |seq| supervised.order(seq, &more);
    // Not signed by this center; for another gateway.
    let stranger = SigningKey::from_bytes(&[77; 32]);
    let unsigned = order(1).seal(&stranger);
    let elsewhere = Order { gateway: stranger.gateway_id(), ..order(1) };
    {
        let mut books = supervised.center.0.lock().unwrap();
        let elsewhere = elsewhere.seal(&books.key);
        books.orders.extend([unsigned, elsewhere]);
    }
    // Bytes that are not what was ordered.
    let other = Configuration { site: more.site.replace("room-b", "room-x"), ..more.clone() };
    let wrong_hash = order(2);
    supervised.center.0.lock().unwrap().configurations.insert(hex(&more.id()), other.encode());
    supervised.give(&wrong_hash);
    supervised.declined(2, "SHA-256").await;
    // Never there.
    let never_there = order(3);
    supervised.center.0.lock().unwrap().configurations.clear();
    supervised.give(&never_there);
    supervised.declined(3, "does not have it").await;
    // A pack with a typing mistake.
    let mut bad = more.clone();
    bad.files[0].1 = PACK.replace("temperature > limit", "temprature > limit");
    supervised.give(&supervised.order(4, &bad));
    supervised.declined(4, "temprature").await;
    // An older one again: its number is known.
    supervised.give(&Order { seq: 1, ..supervised.order(1, &more) });
    supervised.give(&supervised.order(5, &bad));
    supervised.declined(5, "own.toml:").await;
    let dir: TempDir = supervised.house.stop().await;
    let all = changes(&dir);
    assert!(all.iter().all(|change| change.step == ConfigStep::Refused), "{all:?}");
    assert!(
        all.iter().any(|change| change.order.is_none() && change.said.contains("did not sign")),
        "also the unsigned one is on record: {all:?}"
    );
    let site = begin(&origin(&dir), &dir.path().join("data")).unwrap();
    assert_eq!(site.plan.points.len(), 1, "the old one stays in force");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_center_that_fails_in_the_middle_is_asked_again() {
    let (supervised, _peer) = Supervised::start().await;
    supervised.center.0.lock().unwrap().pieces = 1;
    let more = supervised.site(&[("room-b", "one", 2), ("room-a", "one", 1)]);
    supervised.give(&supervised.order(1, &more));
    let part = supervised.house.dir.path().join("data/config").join(format!("{}.part", hex(&more.id())));
    eventually("the first piece", async || {
        std::fs::metadata(&part).is_ok_and(|part| part.len() == 500).then_some(())
    })
    .await;
    assert_eq!(supervised.house.status().await["epoch"], 5, "as it was: above the floor of four");
    let dir = supervised.house.stop().await;
    // The next life goes on where it was cut: from the beginning so few pieces would not do.
    let pieces = more.encode().len().div_ceil(500) - 1;
    supervised.center.0.lock().unwrap().pieces = pieces;
    let house = House::start_at(dir, supervised.wall.clone()).await;
    house.good("room-b/temperature", 20.2).await;
    assert_eq!(supervised.center.0.lock().unwrap().pieces, 0, "each piece once");
    house.stop().await;
}
