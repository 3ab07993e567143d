//! Contents in parts: what went in comes out, or nothing does.

use gateway_model::{
    DeviceIx, DevicePlan, EngineTime, InstitutionId, Plan, PointPlan, PointState, Quality, Raw, SEMANTICS,
    Seq, SiteId, State, Text, Unit,
};
use gateway_wire::{
    Body, ConfigBody, Head, Header, Joiner, Kind, Opened, PART_MAX, Part, Parted, PartedKind, RECORD_MAX,
    RecordError, WHOLE_MAX, hash, open, parts_behind, seal, whole_at,
};
use proptest::prelude::*;

use crate::{header, key};

/// A site of so many points, a hundred a device.
fn config(points: usize) -> Body {
    let point = |n: usize| PointPlan {
        id: format!("meter-{}/register_{:03}", n / 100, n % 100),
        device: DeviceIx::of(n / 100),
        name: Text { zh: format!("寄存器{n}"), en: format!("Register {n}") },
        unit: Unit::Celsius,
        gain: 0.1,
        offset: 0.0,
        source: format!("line-{}/{} holding 0x{:04X} u16", n / 24_700, n / 100 % 247 + 1, n % 100),
        every_ms: 1_000,
        max_age_ms: 30_000,
        deadband: 0.05,
        heartbeat_ms: 300_000,
        span: None,
        sentinels: Vec::new(),
        truth: false,
        calibration: None,
        stuck: None,
    };
    let device = |n: usize| DevicePlan {
        id: format!("meter-{n}"),
        kind: "sensor".into(),
        name: Text { zh: format!("表{n}"), en: format!("Meter {n}") },
        bus: 0,
    };
    let plan = Plan {
        site: SiteId("large".into()),
        institution: InstitutionId("91110105MA0123456X".into()),
        devices: (0..points.div_ceil(100)).map(device).collect(),
        points: (0..points).map(point).collect(),
        rules: Vec::new(),
        modules: Vec::new(),
        packs: Vec::new(),
        buses: vec!["line-0".into()],
        utc_offset_min: 480,
        judging: None,
    };
    Body::Config(Box::new(ConfigBody { plan, software: "0.1.0".into(), semantics: SEMANTICS }))
}

/// A state that no compressor makes small.
fn state(points: usize) -> Body {
    let mut dice = 1_u64;
    let mut roll = || {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        dice ^ dice >> 29
    };
    let points = (0..points)
        .map(|n| PointState {
            id: format!("{:016x}/{n}", roll()),
            last: Some((EngineTime(roll() as i64), Quality::Good(Raw::F64(roll())))),
            good_at: Some(EngineTime(roll() as i64)),
            since: None,
            still: None,
        })
        .collect();
    Body::Checkpoint(Box::new(State { semantics: SEMANTICS, points, ..State::default() }))
}

fn at(seq: u64) -> Header {
    Header { seq: Seq(seq), ..header(0, 0) }
}

/// Signs bodies as consecutive records from `seq` on, opens each, and puts them together.
fn through(seq: u64, bodies: &[Body]) -> Vec<Opened> {
    let mut joiner = Joiner::default();
    let opened = (seq..).zip(bodies).map(|(seq, body)| {
        let bytes = seal(&key(), &at(seq), body);
        assert!(bytes.len() <= RECORD_MAX, "record {seq} of {} bytes", bytes.len());
        joiner.opened(open(&key().verifying_key(), &bytes).unwrap())
    });
    opened.collect()
}

#[test]
fn what_fits_into_one_record_stays_one() {
    for body in [config(8_000), state(1_000), crate::hostile::gap()] {
        assert_eq!(body.clone().cut().unwrap(), [body]);
    }
}

#[test]
fn what_does_not_comes_back_from_its_parts() {
    for whole in [config(100_000), state(100_000)] {
        let bodies = whole.clone().cut().unwrap();
        println!("{:?}: {} parts", whole.kind(), bodies.len() - 1);
        assert!(bodies.len() > 4);
        assert_eq!(bodies[0].kind(), whole.kind(), "the head is of the kind of the whole");
        let records = through(7, &bodies);
        let (last, before) = records.split_last().unwrap();
        assert!(before.iter().all(|record| matches!(record.body, Ok(Body::Parted(_) | Body::Part(_)))));
        assert!(last.body.as_ref().unwrap() == &whole, "what went in comes out");
        // The same for who looks for one record by its number.
        let sealed: Vec<_> = (7..).zip(&bodies).map(|(seq, body)| seal(&key(), &at(seq), body)).collect();
        assert_eq!(parts_behind(&sealed[0]), bodies.len() as u64 - 1);
        let get = |seq: Seq| open(&key().verifying_key(), sealed.get(seq.0 as usize - 7)?).ok();
        let (found, end) = whole_at(Seq(7), get).unwrap();
        assert!(found.body.unwrap() == whole);
        assert_eq!(end.0, 7 + bodies.len() as u64 - 1);
        assert!(whole_at(Seq(7), |seq| get(seq).filter(|_| seq.0 != 9)).is_none());
    }
}

#[test]
fn what_is_more_than_a_whole_is_not_written() {
    let Body::Checkpoint(mut large) = state(1) else { unreachable!("it is one") };
    large.points[0].id = "x".repeat(WHOLE_MAX);
    let refused = Body::Checkpoint(large).cut();
    assert!(matches!(refused, Err(RecordError::TooLarge { what: "state", limit: WHOLE_MAX, .. })));
}

#[test]
fn parts_that_cannot_be_compressed_fit_into_records() {
    let Body::Checkpoint(state) = state(60_000) else { unreachable!("it is one") };
    let bytes = minicbor::to_vec(&state).unwrap();
    let noise: Vec<u8> = bytes.chunks(1_000).flat_map(hash).chain(bytes.chunks(7).flat_map(hash)).collect();
    let part = Body::Part(Part { n: 0, bytes: noise[..PART_MAX].to_vec() });
    assert!(seal(&key(), &at(7), &part).len() <= RECORD_MAX);
}

/// A small config in parts of `size` bytes.
fn parts(of: &Body, size: usize) -> Vec<Body> {
    let Body::Config(config) = of else { unreachable!("it is one") };
    let content = minicbor::to_vec(config).unwrap();
    let parts: Vec<_> =
        content.chunks(size).zip(0..).map(|(bytes, n)| Part { n, bytes: bytes.to_vec() }).collect();
    let head = Head { parts: parts.len() as u32, length: content.len() as u64, sha256: hash(&content) };
    let head = Body::Parted(Parted { of: PartedKind::Config, head });
    std::iter::once(head).chain(parts.into_iter().map(Body::Part)).collect()
}

/// What a signer, or who has the records after it, may do to them.
#[derive(Debug, Clone)]
enum Harm {
    Without(usize),
    Twice(usize),
    Swapped(usize, usize),
    Between(usize),
    Foreign(usize),
    Changed(usize),
    Renumbered(usize),
}

fn harm() -> impl Strategy<Value = Harm> {
    let n = 0_usize..64;
    prop_oneof![
        n.clone().prop_map(Harm::Without),
        n.clone().prop_map(Harm::Twice),
        (n.clone(), n.clone()).prop_map(|(a, b)| Harm::Swapped(a, b)),
        n.clone().prop_map(Harm::Between),
        n.clone().prop_map(Harm::Foreign),
        n.clone().prop_map(Harm::Changed),
        n.prop_map(Harm::Renumbered),
    ]
}

proptest! {
    /// Missing, doubled, swapped, interrupted, of another config, changed or wrongly numbered: no config comes out of it, be it
    /// that the records kept their numbers or that somebody signed them so.
    #[test]
    fn what_is_not_whole_is_not_understood(harm in harm(), size in 40_usize..400, keep in any::<bool>()) {
        let (whole, other) = (config(3), config(4));
        let (bodies, foreign) = (parts(&whole, size), parts(&other, size));
        let mut records: Vec<(u64, Body)> = (7..).zip(bodies.iter().cloned()).collect();
        let place = |n: usize| n % bodies.len();
        match harm {
            Harm::Without(n) => drop(records.remove(place(n))),
            Harm::Twice(n) => records.insert(place(n), records[place(n)].clone()),
            Harm::Swapped(a, b) => records.swap(place(a), place(b)),
            Harm::Between(n) => records.insert(place(n).max(1), (0, crate::hostile::gap())),
            Harm::Foreign(n) => {
                let n = place(n).min(foreign.len() - 1);
                records[n].1 = foreign[n].clone();
            }
            Harm::Changed(n) => match &mut records[place(n)].1 {
                Body::Part(part) => part.bytes[0] ^= 1,
                Body::Parted(parted) => parted.head.sha256[0] ^= 1,
                other => panic!("{other:?}"),
            },
            Harm::Renumbered(n) => match &mut records[place(n)].1 {
                Body::Part(part) => part.n += 1,
                Body::Parted(parted) => parted.head.parts += 1,
                other => panic!("{other:?}"),
            },
        }
        let same = records.iter().map(|(_, body)| body).eq(&bodies);
        let mut joiner = Joiner::default();
        let mut found = Vec::new();
        for (seq, (kept, body)) in (7..).zip(records) {
            let bytes = seal(&key(), &at(if keep { kept } else { seq }), &body);
            found.push(joiner.opened(open(&key().verifying_key(), &bytes).unwrap()).body);
        }
        let configs: Vec<_> = found.iter().flatten().filter(|body| matches!(body, Body::Config(_))).collect();
        if same {
            prop_assert_eq!(configs, [&whole]);
        } else {
            prop_assert!(configs.is_empty() || (harm_is_behind(&found) && configs == [&whole]), "{:?}", found);
        }
    }

    /// Whatever size the parts have, it is the same whole.
    #[test]
    fn the_size_of_the_parts_does_not_matter(size in 1_usize..900, points in 1_usize..4) {
        let whole = config(points);
        let bodies = parts(&whole, size);
        prop_assume!(bodies.len() <= 1_025);
        let records = through(2, &bodies);
        prop_assert_eq!(records.last().unwrap().body.as_ref().unwrap(), &whole);
    }
}

/// The whole had come already when the harm began: its last part once more, or the head again in front of it all.
fn harm_is_behind(found: &[Result<Body, gateway_wire::NotUnderstood>]) -> bool {
    let whole = found.iter().position(|body| matches!(body, Ok(Body::Config(_)))).unwrap_or(0);
    let doubled_head = matches!(found[..2], [Ok(Body::Parted(_)), Ok(Body::Parted(_))]);
    doubled_head || found[whole + 1..].iter().any(Result::is_err)
}

#[test]
fn heads_of_impossible_wholes_and_later_versions_are_not_understood() {
    for (parts, length) in [(0, 10), (1_025, 10), (1, WHOLE_MAX as u64 + 1)] {
        let head = Head { parts, length, sha256: [0; 32] };
        let bytes = seal(&key(), &at(7), &Body::Parted(Parted { of: PartedKind::Checkpoint, head }));
        let opened = open(&key().verifying_key(), &bytes).unwrap();
        assert_eq!(opened.body.unwrap_err().kind, Some(Kind::Checkpoint.number()));
    }
}
