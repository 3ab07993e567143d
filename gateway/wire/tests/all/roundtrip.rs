//! decode(encode(x)) = x, for whatever the model can hold.

use gateway_model::{
    AlertId, BadCause, ClockInput, ClockSource, Command, CommandBody, DeviceIx, EngineTime, Epoch, Fact,
    FactBody, Input, PointCounts, PointIx, Quality, Raw, Reading, Seq, StartCause, StartInput, StopCause,
    UncertainCause,
};
use gateway_wire::{Body, InputsBody, open, peek, seal};
use proptest::{collection::vec, option, prelude::*};

use crate::{header, key};

fn raw() -> impl Strategy<Value = Raw> {
    prop_oneof![
        any::<i64>().prop_map(Raw::Int),
        (-3i64..3).prop_map(Raw::Int),
        any::<u32>().prop_map(Raw::F32),
        (0i32..4000).prop_map(|tenths| Raw::F32((tenths as f32 / 10.0).to_bits())),
        Just(Raw::F32((-0.0f32).to_bits())),
        Just(Raw::F32(0x7fc0_1234)),
        any::<u64>().prop_map(Raw::F64),
        (-90_000i64..90_000).prop_map(|n| Raw::F64((n as f64 / 1000.0).to_bits())),
        Just(Raw::F64(f64::NAN.to_bits() | 0xbad)),
        Just(Raw::F64(f64::NEG_INFINITY.to_bits())),
        (any::<i64>(), any::<i8>()).prop_map(|(mantissa, exponent)| Raw::Dec { mantissa, exponent }),
        (200i64..300).prop_map(|mantissa| Raw::Dec { mantissa, exponent: -1 }),
    ]
}

fn quality() -> impl Strategy<Value = Quality<Raw>> {
    let uncertain =
        prop_oneof![Just(UncertainCause::Clock), Just(UncertainCause::Held), Just(UncertainCause::Stale)];
    prop_oneof![
        6 => raw().prop_map(Quality::Good),
        1 => (raw(), uncertain).prop_map(|(raw, cause)| Quality::Uncertain(raw, cause)),
        1 => (0..BadCause::ALL.len()).prop_map(|cause| Quality::Bad(BadCause::ALL[cause])),
    ]
}

fn time() -> impl Strategy<Value = EngineTime> {
    prop_oneof![
        any::<i64>().prop_map(EngineTime),
        (-100_000i64..100_000).prop_map(EngineTime),
        (1_790_000_000_000i64..1_790_000_100_000).prop_map(EngineTime),
    ]
}

fn input() -> impl Strategy<Value = Input> {
    let point = prop_oneof![(0u32..6), any::<u32>()].prop_map(PointIx);
    let reading = (point, time(), quality()).prop_map(|(point, at, value)| Reading { point, at, value });
    let clock = (time(), any::<i64>(), option::of(any::<i64>()), option::of(any::<u64>())).prop_map(
        |(at, offset_ms, error_ms, since)| {
            let since = since.map(Seq);
            Input::Clock(ClockInput { at, offset_ms, error_ms, source: ClockSource::Center, since })
        },
    );
    let start = (time(), any::<u64>(), option::of(any::<[u8; 32]>())).prop_map(|(at, epoch, hash)| {
        Input::Start(StartInput {
            at,
            epoch: Epoch(epoch),
            previous: hash.map(|_| (Epoch(epoch / 2), Seq(9))),
            previous_hash: hash,
            cause: StartCause::Unclean,
            downtime_ms: hash.map(|_| 5),
            simulated: hash.is_none(),
        })
    });
    let fact = (time(), any::<u32>(), ".{0,20}", any::<i64>()).prop_map(|(at, device, label, grams)| {
        let (category, department) = ("841-001-01".into(), label.clone());
        let body = FactBody::BagLabelled { label, category, department, grams };
        Input::Fact(Fact { device: DeviceIx(device), at, body })
    });
    let command = (time(), option::of(any::<(u64, u64)>()), ".{0,20}").prop_map(|(at, order, author)| {
        let body = CommandBody::Acknowledge { alert: AlertId { epoch: Epoch(2), n: 7 }, event: 1 };
        Input::Command(Command { at, order, author, body })
    });
    prop_oneof![
        20 => reading.prop_map(Input::Reading),
        2 => time().prop_map(Input::Advance),
        1 => time().prop_map(Input::Heartbeat),
        1 => time().prop_map(|at| Input::Stop { at, cause: StopCause::Asked }),
        1 => clock,
        1 => start,
        1 => fact,
        1 => command,
    ]
}

fn counts() -> impl Strategy<Value = PointCounts> {
    let small = || prop_oneof![Just(0u32), 0u32..40, any::<u32>()];
    (any::<u32>(), small(), small(), small(), small(), vec(small(), 0..=8)).prop_map(
        |(point, due, answered, within_deadband, late, failed)| {
            let point = PointIx(point);
            PointCounts { point, due, answered, within_deadband, late, failed }
        },
    )
}

/// Not-a-number is not equal to itself, so bodies are compared by what they print, which shows every bit.
fn check(t0: i64, body: &Body) {
    let header = header(t0, t0.wrapping_add(5));
    let bytes = seal(&key(), &header, body);
    assert_eq!(peek(&bytes), Ok((header, body.kind())));
    let opened = open(&key().verifying_key(), &bytes).unwrap();
    assert_eq!(opened.header, header);
    assert_eq!(format!("{:?}", opened.body.unwrap()), format!("{body:?}"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn inputs_come_back_as_they_were(
        t0 in any::<i64>(),
        items in vec(input(), 0..200),
        counts in vec(counts(), 0..20),
    ) {
        check(t0, &Body::Inputs(InputsBody { items, counts }));
    }
}

#[test]
fn a_point_that_changes_its_ways_in_one_record_comes_back() {
    let values = [
        Quality::Good(Raw::F32(23.5f32.to_bits())),
        Quality::Good(Raw::F32(f32::NAN.to_bits())),
        Quality::Bad(BadCause::NoCommunication),
        Quality::Good(Raw::Int(i64::MIN)),
        Quality::Good(Raw::Int(i64::MAX)),
        Quality::Uncertain(Raw::Dec { mantissa: 235, exponent: -1 }, UncertainCause::Stale),
        Quality::Good(Raw::Dec { mantissa: 23, exponent: 0 }),
        Quality::Good(Raw::F64((-0.0f64).to_bits())),
        Quality::Good(Raw::F64(0.1f64.to_bits())),
        Quality::Good(Raw::F32(23.6f32.to_bits())),
    ];
    let times = [0, i64::MAX, i64::MIN, -1, 5, 5, 4, 3, 1_790_000_000_000, 7];
    let items = values
        .into_iter()
        .zip(times)
        .map(|(value, at)| Input::Reading(Reading { point: PointIx(u32::MAX), at: EngineTime(at), value }));
    check(0, &Body::Inputs(InputsBody { items: items.collect(), counts: Vec::new() }));
}

#[test]
fn an_empty_record_comes_back() {
    check(-5, &Body::Inputs(InputsBody::default()));
}
