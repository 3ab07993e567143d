//! A bus with one dead unit.

use std::time::Duration;

use gateway::bus::Bus;
use gateway::clock::{Clock, Wall};
use gateway::config::{
    BlockPlan, BlockPoint, BusPlan, Encoding, EncodingKind, FunctionCode, Reach, Transport, UnitId, Urgency, WordOrder,
};
use gateway::metrics::Metrics;
use gateway::recorder::{self, Answers, Civil, Event};
use gateway_engine::intake::Answer;
use gateway_model::{BadCause, EngineTime, PointIx, Raw};
use tokio_util::sync::CancellationToken;

use crate::rig::Peer;

fn block(unit: u8, point: u16) -> BlockPlan {
    let encoding = Encoding { kind: EncodingKind::I16, order: WordOrder::Abcd };
    BlockPlan {
        bus: 0,
        unit: UnitId(unit),
        function: FunctionCode::InputRegisters,
        first: 0,
        count: 1,
        every: Duration::from_millis(20),
        priority: Urgency::Normal,
        reach: Reach::PROTOCOL,
        points: vec![BlockPoint { point: PointIx(point), offset: 0, encoding, scale: None, codes: Vec::new() }],
    }
}

#[tokio::test]
async fn a_dead_unit_is_probed_now_and_then_and_its_readings_are_reported_all_the_same() {
    let (peer, address) = Peer::start().await;
    peer.set(1, 4, 0, 235);
    peer.silence(2);
    let plan = BusPlan {
        name: "modules".into(),
        transport: Transport::Tcp,
        address: address.to_string(),
        timeout: Duration::from_millis(50),
        gap: Duration::ZERO,
        line: None,
    };
    let (doors, mut rooms) = recorder::doors(Civil::default());
    let clock = Clock::start(Wall::system(), EngineTime(0));
    let stop = CancellationToken::new();
    let bus = Bus::new(plan, vec![block(1, 0), block(2, 1)], 1.0, Metrics::default());
    let polling = tokio::spawn(bus.run(clock, doors.inputs.clone(), stop.clone()));

    let (mut good, mut bad) = (0, 0);
    while good < 40 {
        match rooms.next_event().await.unwrap() {
            Event::Answers(Answers { items, .. }) => match items[..] {
                [(PointIx(0), Answer::Raw(Raw::Int(235)))] => good += 1,
                [(PointIx(1), Answer::Failed(BadCause::NoCommunication))] => bad += 1,
                ref other => panic!("{other:?}"),
            },
            // Both units are missed while the first two time-outs pass.
            Event::Missed { .. } => {}
            other @ (Event::Fact(_)
            | Event::Overrun { .. }
            | Event::ServerTime { .. }
            | Event::Receipted(_)
            | Event::Order { .. }
            | Event::Lost(_)) => panic!("{other:?}"),
        }
    }
    stop.cancel();
    polling.await.unwrap().unwrap();
    assert!(bad >= 20, "{bad} readings of the dead unit were reported");
    assert!(peer.asked(2) <= 4, "it was asked {} times in {bad} periods", peer.asked(2));
}
