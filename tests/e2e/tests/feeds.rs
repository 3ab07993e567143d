//! The schemas of docs/feeds, a validator that is not ours, and the gateway: all three must agree on every message.

use e2e::ground::{root, target};
use e2e::{Place, Process};
use gateway::config::{Feed, FeedMapping, Mapping};
use gateway::mqtt::payload;
use gateway_model::PointIx;
use serde_json::{Value, json};

/// Does the gateway take it?
fn takes(schema: &str, message: &Value) -> bool {
    let feed = match schema {
        "count" => Feed::Visits,
        "bag" => Feed::Bag,
        "handover" => Feed::HandOver,
        "stored" => Feed::Stored,
        "received" => Feed::Received,
        "duty" => Feed::Duty,
        other => panic!("no feed has the schema {other}"),
    };
    let mapping = Mapping::Feed(FeedMapping { feed, point: PointIx(0) });
    payload::read(&mapping, message.to_string().as_bytes()).is_ok()
}

/// The message with one member changed, or taken away.
fn with(message: &Value, name: &str, value: Option<Value>) -> Value {
    let mut message = message.clone();
    let members = message.as_object_mut().unwrap();
    match value {
        Some(value) => members.insert(name.to_owned(), value),
        None => members.remove(name),
    };
    message
}

/// What vendors get wrong.
fn variants(example: &Value) -> Vec<Value> {
    let mut all = vec![
        with(example, "patient", Some("张三".into())),
        with(example, "v", Some(2.into())),
        with(example, "v", Some("1".into())),
        with(example, "at", Some("2026-11-22T09:30:00".into())),
        with(example, "at", Some("yesterday".into())),
        with(example, "at", Some(1_795_311_000.into())),
        json!([example]),
        json!("text"),
    ];
    for (name, value) in example.as_object().unwrap() {
        all.push(with(example, name, None));
        all.push(with(example, name, Some(Value::Null)));
        let others: Vec<Value> = match value {
            Value::Number(_) => vec![(-1).into(), "3".into(), json!(1e12), json!([1])],
            Value::String(_) => vec!["".into(), 3.into(), "x".repeat(201).into(), json!({ "a": "b" })],
            Value::Array(_) => {
                vec![json!([]), json!([3]), json!(["x".repeat(201)]), json!(vec!["a"; 1_001]), "a".into()]
            }
            Value::Bool(value) => vec![(!value).into(), 1.into(), "true".into()],
            Value::Null | Value::Object(_) => panic!("no feed has such a member: {name}"),
        };
        all.extend(others.into_iter().map(|other| with(example, name, Some(other))));
    }
    // Within the limits, at them.
    if example.get("kg").is_some() {
        all.extend(
            [json!(0), json!(1000), json!(1000.001), json!(0.0004)].map(|kg| with(example, "kg", Some(kg))),
        );
    }
    if example.get("label").is_some() {
        all.push(with(example, "label", Some("签".repeat(200).into())));
    }
    all
}

#[tokio::test]
async fn schema_validator_and_gateway_agree_on_every_message() {
    let place = Place::new("feeds");
    let python = target().join("venv/bin/python");
    assert!(python.exists(), "{} is not there: run `cargo xtask ci --only venv`", python.display());
    let script = root().join("tests/e2e/peers/check_feeds.py");
    let mut judge = Process::start("check_feeds", &python, [script, root().join("docs/feeds")], place.path());
    let mut examples = Vec::new();
    loop {
        let line = judge.line().await;
        if line.is_empty() {
            break;
        }
        let said: Value = serde_json::from_str(&line).unwrap();
        examples.push((said["schema"].as_str().unwrap().to_owned(), said["example"].clone()));
    }
    let names: Vec<&str> = examples.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["bag", "count", "duty", "handover", "received", "stored"]);
    let (mut yes, mut no) = (0, 0);
    for (schema, example) in examples {
        let all = std::iter::once((example.clone(), true))
            .chain(variants(&example).into_iter().map(|variant| (variant, false)));
        for (message, is_example) in all {
            let asked = json!({ "schema": schema, "message": message }).to_string();
            let said = judge.ask(&asked).await;
            let takes = takes(&schema, &message);
            assert_eq!(takes, said == "yes", "{schema} {message}: the validator says {said}");
            assert!(takes || !is_example, "an example is taken: {message}");
            if takes { yes += 1 } else { no += 1 }
        }
    }
    assert!(yes > 8 && no > 60, "{yes} taken, {no} refused");
}
