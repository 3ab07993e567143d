//! What is gone by a logged act is told from what is just not there, by both verifiers.

use e2e::Place;
use gateway_evidence::{CaseFile, Contents, Entry, ErasedAttachment, Outcome, select};
use gateway_model::{CivilTime, EngineTime};
use gateway_wire::{Maker, SigningKey, decode, hash, peek, unpack};

use crate::evidence::{agree, file, golden};

/// The golden bundle made anew by the same center, with photos: `there` lie in it, `erased` are listed, and the person who
/// rectified named them all, and `lost` besides.
fn with_photos(there: &[&[u8]], erased: &[&[u8]], lost: &[&[u8]]) -> Vec<u8> {
    let bytes = std::fs::read(golden().0).unwrap();
    let (gateway, center) = (SigningKey::from_bytes(&[3; 32]), SigningKey::from_bytes(&[9; 32]));
    let records: Vec<&[u8]> = unpack(file(&bytes, "records"), 1_000).unwrap();
    let entries: Vec<Entry> = records
        .iter()
        .map(|bytes| {
            let (header, kind) = peek(bytes).unwrap();
            Entry { cursor: header.cursor(), kind, t0: header.t0, t1: header.t1 }
        })
        .collect();
    let selection = select(&entries, (EngineTime(i64::MIN), EngineTime(i64::MAX)));
    let mut case: CaseFile = decode("case", file(&bytes, "case")).unwrap();
    let submitted = case.events.iter_mut().find(|step| step.code == "submitted").unwrap();
    let named = there.iter().chain(erased).chain(lost);
    submitted.attachments = named.map(|photo| hash(photo).into()).collect();
    let erased = erased.iter().map(|photo| ErasedAttachment {
        hash: hash(photo).into(),
        at: 1_790_000_500_000,
        reason: "本人要求删除".into(),
    });
    let pack = "packs/cold-chain-ca806e5f.toml";
    let made = gateway_evidence::bundle(
        &Contents {
            ring: gateway.verifying_key().into(),
            history: None,
            records: records.clone(),
            spans: selection.spans,
            window: selection.window,
            packs: vec![(pack.into(), file(&bytes, pack))],
            enrolment: Some((center.verifying_key(), file(&bytes, "enrolment"))),
            attachments: there.to_vec(),
            erased_attachments: erased.collect(),
            device_records: Vec::new(),
            devices: Some(std::str::from_utf8(file(&bytes, "devices.toml")).unwrap()),
            received: Vec::new(),
            erased: Vec::new(),
            case: Some(case),
            maker: Maker::Center,
            made_at: Some(CivilTime(1_790_001_000_000)),
            software: "test 1",
        },
        &center,
    );
    made.unwrap().bytes
}

#[test]
fn a_photo_that_was_erased_is_told_from_one_that_is_missing() {
    let (first, second): (&[u8], &[u8]) = (b"a photo of a seal", b"another one");
    let place = Place::new("erasure");
    for (name, bundle, outcome, found) in [
        ("there", with_photos(&[first, second], &[], &[]), Outcome::Valid, None),
        ("erased", with_photos(&[first], &[second], &[]), Outcome::Incomplete, Some("attachment_erased")),
        ("missing", with_photos(&[first], &[], &[second]), Outcome::Incomplete, Some("attachment_missing")),
    ] {
        let path = place.path().join(format!("{name}.tar"));
        std::fs::write(&path, bundle).unwrap();
        let (ours, theirs) = agree(&path, &golden().1);
        for said in [&ours, &theirs] {
            assert_eq!(said.json["verdict"], outcome_word(outcome), "{name}: {:#}", said.json);
            let case = said.line("case");
            match found {
                None => assert_eq!(case["status"], "ok", "{name}: {case:#}"),
                Some(code) => {
                    assert_eq!(case["findings"][0]["code"], code, "{name}: {case:#}");
                    assert_eq!(case["findings"].as_array().unwrap().len(), 1, "{name}: {case:#}");
                }
            }
        }
    }
}

fn outcome_word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Valid => "valid",
        Outcome::Invalid => "invalid",
        Outcome::Incomplete => "incomplete",
    }
}
