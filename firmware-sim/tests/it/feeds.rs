//! The feeds: what is published, and that a broker gets it although connections break.

use std::collections::BTreeSet;

use firmware_sim::device::Message;
use firmware_sim::fault::Fault;
use firmware_sim::mqtt;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{MIDNIGHT, at, world};

fn day(name: &str, day: i64) -> Vec<(String, Value)> {
    let mut world = world(name);
    world.step_to(at(day, 0, 0));
    world.take_messages().for_each(drop);
    world.step_to(at(day + 1, 0, 0).plus_s(-1));
    let parse = |m: Message| {
        let payload: Value = serde_json::from_str(&m.payload).unwrap();
        assert_eq!(payload["v"], 1);
        assert_eq!(payload["at"], m.at.rfc3339(480));
        (m.topic, payload)
    };
    world.take_messages().map(parse).collect()
}

fn of<'a>(messages: &'a [(String, Value)], topic: &'a str) -> impl Iterator<Item = &'a Value> {
    messages.iter().filter(move |(t, _)| t == topic).map(|(_, payload)| payload)
}

#[test]
fn a_dental_day() {
    let messages = day("clinic", 1);
    let visits: u64 = of(&messages, "clinic/dental/visits").map(|v| v["count"].as_u64().unwrap()).sum();
    let packed: u64 = of(&messages, "clinic/dental/packed").map(|v| v["count"].as_u64().unwrap()).sum();
    assert!((20..=28).contains(&visits), "{visits} visits");
    assert!(packed >= visits && packed <= 2 * visits, "{packed} packed for {visits} visits");
}

#[test]
fn a_waste_day_and_its_planted_troubles() {
    let handed = |messages: &[(String, Value)]| -> (BTreeSet<String>, f64) {
        of(messages, "hospital/waste/handover").fold((BTreeSet::new(), 0.0), |(mut labels, kg), h| {
            labels.extend(h["labels"].as_array().unwrap().iter().map(|l| l.as_str().unwrap().to_owned()));
            (labels, kg + h["kg"].as_f64().unwrap())
        })
    };
    let first = day("hospital", 0);
    let bags: Vec<&Value> = of(&first, "hospital/waste/bag").collect();
    assert!((18..=26).contains(&bags.len()), "{} bags", bags.len());
    for bag in &bags {
        let kg = bag["kg"].as_f64().unwrap();
        assert!((0.25..6.0).contains(&kg), "{kg} kg");
        assert!(bag["label"].as_str().unwrap().starts_with("MW-20261118-"));
    }
    let before_four: BTreeSet<&str> = bags
        .iter()
        .filter(|b| b["at"].as_str().unwrap() < "2026-11-18T15:50:00+08:00")
        .map(|b| b["label"].as_str().unwrap())
        .collect();
    let (labels, _) = handed(&first);
    let missing = before_four.iter().filter(|l| !labels.contains(**l)).count();
    assert_eq!(missing, 1, "one bag was forgotten");

    let second = day("hospital", 1);
    let labels: Vec<&str> = of(&second, "hospital/waste/bag").map(|b| b["label"].as_str().unwrap()).collect();
    let distinct: BTreeSet<&str> = labels.iter().copied().collect();
    assert!(distinct.len() < labels.len(), "a label came twice");
    assert_eq!(of(&second, "hospital/waste/handover").count(), 0, "the collector did not come");
    assert_eq!(of(&day("hospital", 2), "hospital/waste/handover").count(), 1);
}

/// The next MQTT packet: its first byte and its body.
async fn packet(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let kind = stream.read_u8().await.ok()?;
    let (mut length, mut shift) = (0_usize, 0);
    loop {
        let byte = stream.read_u8().await.ok()?;
        length |= usize::from(byte & 0x7F) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some((kind, body))
}

#[tokio::test]
async fn nothing_is_lost_when_the_broker_goes_away() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, receiver) = tokio::sync::mpsc::channel(16);
    for n in 0..5 {
        let message = Message { at: MIDNIGHT, topic: "a/b".to_owned(), payload: format!("payload-{n}") };
        sender.send(message).await.unwrap();
    }
    drop(sender);
    let publisher = tokio::spawn(mqtt::publish("127.0.0.1".to_owned(), port, "test".to_owned(), receiver));
    let mut got: Vec<String> = Vec::new();
    // A broker that hangs up on the second message of each connection, before it acknowledges it.
    while got.len() < 9 {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (kind, _) = packet(&mut stream).await.unwrap();
        assert_eq!(kind, 0x10, "CONNECT");
        stream.write_all(&[0x20, 3, 0, 0, 0]).await.unwrap();
        let mut acknowledged = 0;
        while let Some((kind, body)) = packet(&mut stream).await {
            if kind >> 4 != 3 {
                continue;
            }
            assert_eq!(kind >> 1 & 3, 1, "QoS 1");
            let topic = usize::from(u16::from_be_bytes([body[0], body[1]]));
            let id = &body[2 + topic..4 + topic];
            got.push(String::from_utf8(body[5 + topic..].to_vec()).unwrap());
            if acknowledged == 1 {
                break;
            }
            stream.write_all(&[0x40, 2, id[0], id[1]]).await.unwrap();
            acknowledged += 1;
        }
    }
    let expected: Vec<String> =
        [0, 1, 1, 2, 2, 3, 3, 4, 4].iter().take(got.len()).map(|n| format!("payload-{n}")).collect();
    assert_eq!(got, expected);
    publisher.abort();
}

/// The clinic's second day with a fault on its feed all day: topic, payload and whether it was retained.
fn faulty(word: &str, by: Option<f64>) -> Vec<(String, String, bool)> {
    let mut world = world("clinic");
    world.step_to(at(1, 0, 0));
    world.take_sent().for_each(drop);
    world.inject("dental-1", Fault::parse(word, by).unwrap(), Some(86_000)).unwrap();
    world.step_to(at(2, 0, 0).plus_s(-1));
    world.take_sent().map(|sent| (sent.message.topic, sent.message.payload, sent.retain)).collect()
}

#[test]
fn what_a_subscriber_sees_of_feed_faults() {
    let sound = {
        let mut world = world("clinic");
        world.step_to(at(1, 0, 0));
        world.take_sent().for_each(drop);
        world.step_to(at(2, 0, 0).plus_s(-1));
        world
            .take_sent()
            .map(|sent| (sent.message.topic, sent.message.payload, sent.retain))
            .collect::<Vec<_>>()
    };
    assert!(sound.len() > 20 && sound.iter().all(|(_, _, retain)| !retain));

    let twice: Vec<_> = sound.iter().flat_map(|one| [one.clone(), one.clone()]).collect();
    assert_eq!(faulty("duplicate", None), twice);

    let retained: Vec<_> =
        sound.iter().map(|(topic, payload, _)| (topic.clone(), payload.clone(), true)).collect();
    assert_eq!(faulty("retained", None), retained);

    let reordered = faulty("reordered", None);
    assert_ne!(reordered, sound);
    let sorted = |mut list: Vec<_>| {
        list.sort();
        list
    };
    assert_eq!(sorted(reordered), sorted(sound.clone()), "each comes once");

    let wrong = faulty("clock-wrong", Some(-86_400.0));
    assert_eq!(wrong.len(), sound.len());
    for ((_, is, _), (_, told, _)) in sound.iter().zip(wrong) {
        assert!(is.contains(r#""at":"2026-11-19T"#) && told.contains(r#""at":"2026-11-18T"#), "{told}");
        assert_eq!(is.replace("2026-11-19T", "2026-11-18T"), told);
    }

    // The last message there was, three times each second for a minute; then no more.
    let mut world = world("clinic");
    world.step_to(at(1, 7, 0));
    let last = world.take_sent().last().unwrap();
    world.inject("dental-1", Fault::parse("flood", Some(3.0)).unwrap(), Some(60)).unwrap();
    world.step_to(at(1, 7, 5));
    let flood: Vec<_> = world.take_sent().collect();
    assert_eq!(flood, vec![last; 180]);
}
