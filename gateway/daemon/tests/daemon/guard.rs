//! The guard against peers that misbehave byte by byte.

use std::time::Duration;

use gateway::bus::guard::{Answer, BusError, Link, Question};
use gateway::config::{BusPlan, FunctionCode, Transport, UnitId};
use gateway_model::BadCause;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

const LIMIT: Duration = Duration::from_millis(100);

fn plan(transport: Transport) -> BusPlan {
    BusPlan {
        name: "bus".into(),
        transport,
        address: "127.0.0.1:502".into(),
        timeout: LIMIT,
        gap: Duration::ZERO,
        line: None,
    }
}

fn link(transport: Transport) -> (Link, DuplexStream) {
    let (ours, theirs) = duplex(1024);
    let mut link = Link::new(&plan(transport));
    link.attach(ours);
    (link, theirs)
}

fn question(count: u16) -> Question {
    Question { unit: UnitId(1), function: FunctionCode::HoldingRegisters, first: 0, count }
}

/// Asks for two registers while the peer reads the request and does what `peer` says.
async fn ask(
    link: &mut Link,
    peer: &mut DuplexStream,
    request: usize,
    answer: &[u8],
) -> Result<Answer, BusError> {
    let mut seen = vec![0; request];
    let answering = async {
        peer.read_exact(&mut seen).await.unwrap();
        peer.write_all(answer).await.unwrap();
    };
    tokio::join!(link.ask(question(2)), answering).0
}

/// Modbus over RTU: unit, function, data, CRC.
pub(crate) fn rtu(body: &[u8]) -> Vec<u8> {
    let mut crc = 0xFFFF_u16;
    for byte in body {
        crc ^= u16::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xA001 } else { crc >> 1 };
        }
    }
    let mut frame = body.to_vec();
    frame.extend(crc.to_le_bytes());
    frame
}

const RTU_REQUEST: usize = 8;
const TCP_REQUEST: usize = 12;

#[tokio::test]
async fn a_good_answer_comes_with_its_frame_and_keeps_the_link() {
    let (mut link, mut peer) = link(Transport::RtuOverTcp);
    let frame = rtu(&[1, 3, 4, 0xFF, 0xFF, 0xC1, 0xEF]);
    assert_eq!(frame[7..], [0xEA, 0x0B], "the scale's own frame of domain C.5");
    let answer = ask(&mut link, &mut peer, RTU_REQUEST, &frame).await.unwrap();
    assert_eq!(answer.words, [0xFFFF, 0xC1EF]);
    assert_eq!(answer.frame, frame);
    assert!(answer.asked <= answer.midpoint() && answer.midpoint() <= answer.answered);
    assert!(link.is_up());
}

/// Two questions of one shape at different addresses: the answer to the first comes while the second waits for its own.
#[tokio::test(start_paused = true)]
async fn a_late_answer_is_never_taken_for_that_of_another_address() {
    let (mut link, mut peer) = link(Transport::Rtu);
    assert!(matches!(link.ask(question(2)).await, Err(BusError::Timeout { .. })));
    assert!(link.is_up(), "a serial line stays open");
    let other = Question { first: 100, ..question(2) };
    let now = tokio::time::Instant::now().into_std();
    assert!(link.held_until(other, now).is_some(), "the same shape at another address has to wait");
    assert!(link.held_until(question(3), now).is_none(), "another shape has not");
    let asking = async {
        // The first answer, half a time-out late; then the second request, and its answer.
        tokio::time::sleep(LIMIT / 2).await;
        peer.write_all(&rtu(&[1, 3, 4, 0, 10, 0, 10])).await.unwrap();
        let mut seen = [0; 2 * RTU_REQUEST];
        peer.read_exact(&mut seen).await.unwrap();
        assert_eq!(seen[RTU_REQUEST + 3], 100);
        peer.write_all(&rtu(&[1, 3, 4, 0, 20, 0, 20])).await.unwrap();
    };
    let (answer, ()) = tokio::join!(link.ask(other), asking);
    assert_eq!(answer.unwrap().words, [20, 20]);
    assert_eq!(link.take_tally().late, 1);
}

/// The same question again: silence, then one read that is thrown away.
#[tokio::test(start_paused = true)]
async fn after_a_time_out_the_first_answer_to_the_same_question_is_thrown_away() {
    let (mut link, mut peer) = link(Transport::Rtu);
    assert!(link.ask(question(2)).await.is_err());
    let mut seen = [0; RTU_REQUEST];
    let answering = async {
        peer.read_exact(&mut seen).await.unwrap();
        for value in [1, 2] {
            peer.read_exact(&mut seen).await.unwrap();
            peer.write_all(&rtu(&[1, 3, 4, 0, value, 0, value])).await.unwrap();
        }
    };
    let (answer, ()) = tokio::join!(link.ask(question(2)), answering);
    assert_eq!(answer.unwrap().words, [2, 2]);
    assert_eq!(link.take_tally().thrown_away, 1);
}

/// A copy of an older answer is the right point; but then the own answer is still to come, and it need not be of the unit
/// that was asked (seed 101 of `faults`).
#[tokio::test(start_paused = true)]
async fn while_an_answer_may_have_been_a_copy_nothing_else_is_asked() {
    let (mut link, mut peer) = link(Transport::Rtu);
    let (own, foreign) = (rtu(&[1, 3, 4, 0, 1, 0, 1]), rtu(&[2, 3, 4, 0, 66, 0, 66]));
    let other = Question { unit: UnitId(2), first: 8, ..question(2) };
    let answering = tokio::spawn(async move {
        let mut seen = [0; RTU_REQUEST];
        // Some devices take 40 ms.
        peer.read_exact(&mut seen).await.unwrap();
        tokio::time::sleep(Duration::from_millis(40)).await;
        peer.write_all(&own).await.unwrap();
        // Twice; the second copy comes when the same is asked again, and then somebody else answers that.
        for wait in [5, 3, 27] {
            if wait != 27 {
                peer.read_exact(&mut seen).await.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(wait)).await;
            peer.write_all(if wait == 27 { &foreign } else { &own }).await.unwrap();
        }
        peer.read_exact(&mut seen).await.unwrap();
        assert_eq!(seen[..4], [2, 3, 0, 8]);
        peer.write_all(&rtu(&[2, 3, 4, 0, 7, 0, 7])).await.unwrap();
    });
    for _ in 0..3 {
        assert_eq!(link.ask(question(2)).await.unwrap().words, [1, 1]);
    }
    assert_eq!(link.ask(other).await.unwrap().words, [7, 7]);
    answering.await.unwrap();
}

/// Modbus TCP tells a late answer by its transaction id, and the connection is gone after a time-out.
#[tokio::test(start_paused = true)]
async fn a_doubt_on_modbus_tcp_ends_the_connection_and_a_second_copy_is_passed_over() {
    let (mut link, mut peer) = link(Transport::Tcp);
    let answer = |id: u8, value: u8| [0, id, 0, 0, 0, 7, 1, 3, 4, 0, value, 0, value];
    let twice = [answer(1, 5), answer(1, 5)].concat();
    assert_eq!(ask(&mut link, &mut peer, TCP_REQUEST, &twice).await.unwrap().words, [5, 5]);
    let both = [answer(1, 5), answer(2, 6)].concat();
    assert_eq!(ask(&mut link, &mut peer, TCP_REQUEST, &both).await.unwrap().words, [6, 6]);
    assert_eq!(link.take_tally().late, 2);
    assert!(matches!(link.ask(question(2)).await, Err(BusError::Timeout { .. })));
    assert!(!link.is_up());
}

#[tokio::test(start_paused = true)]
async fn an_echo_and_stray_bytes_are_passed_over_and_two_devices_are_told() {
    let (mut link, mut peer) = link(Transport::Rtu);
    let echoed = [rtu(&[1, 3, 0, 0, 0, 2]), rtu(&[1, 3, 4, 0, 1, 0, 2])].concat();
    assert_eq!(ask(&mut link, &mut peer, RTU_REQUEST, &echoed).await.unwrap().words, [1, 2]);
    let strayed = [vec![0xFF, 0x00], rtu(&[1, 3, 4, 0, 1, 0, 2])].concat();
    assert_eq!(ask(&mut link, &mut peer, RTU_REQUEST, &strayed).await.unwrap().words, [1, 2]);
    let tally = link.take_tally();
    assert_eq!((tally.echoes, tally.stray), (1, 1));
    let twins = [rtu(&[1, 3, 4, 0, 1, 0, 2]), rtu(&[1, 3, 4, 0, 9, 0, 9])].concat();
    let outcome = ask(&mut link, &mut peer, RTU_REQUEST, &twins).await;
    assert!(matches!(outcome, Err(BusError::TwoAnswers { unit: 1 })), "{outcome:?}");
    assert_eq!(link.take_tally().twins, 1);
}

#[tokio::test]
async fn an_answer_of_the_wrong_length_ends_the_connection() {
    let (mut link, mut peer) = link(Transport::RtuOverTcp);
    let short = ask(&mut link, &mut peer, RTU_REQUEST, &rtu(&[1, 3, 2, 0, 10])).await;
    assert!(matches!(short, Err(BusError::WrongLength { asked: 2, got: 1, .. })), "{short:?}");
    assert!(!link.is_up());
    let (mut link, mut peer) = self::link(Transport::Tcp);
    let long = ask(&mut link, &mut peer, TCP_REQUEST, &[0, 1, 0, 0, 0, 9, 1, 3, 6, 0, 1, 0, 2, 0, 3]).await;
    assert!(matches!(long, Err(BusError::WrongLength { asked: 2, got: 3, .. })), "{long:?}");
    assert!(!link.is_up());
}

#[tokio::test]
async fn a_foreign_answer_ends_the_connection() {
    for body in [&[2, 3, 4, 0, 1, 0, 2][..], &[1, 4, 4, 0, 1, 0, 2]] {
        let (mut link, mut peer) = link(Transport::RtuOverTcp);
        let foreign = ask(&mut link, &mut peer, RTU_REQUEST, &rtu(body)).await;
        assert!(matches!(foreign, Err(BusError::Foreign)), "{foreign:?}");
        assert!(!link.is_up());
    }
    let (mut link, mut peer) = link(Transport::Tcp);
    let other = ask(&mut link, &mut peer, TCP_REQUEST, &[0, 7, 0, 0, 0, 7, 1, 3, 4, 0, 1, 0, 2]).await;
    assert!(matches!(other, Err(BusError::Foreign)), "another transaction: {other:?}");
}

#[tokio::test]
async fn truncated_and_corrupt_frames_end_the_connection() {
    let whole = rtu(&[1, 3, 4, 0, 1, 0, 2]);
    let mut corrupt = whole.clone();
    corrupt[4] ^= 1;
    for bytes in [&whole[..5], &corrupt] {
        let (mut link, mut peer) = link(Transport::RtuOverTcp);
        let outcome = ask(&mut link, &mut peer, RTU_REQUEST, bytes).await;
        let error = outcome.unwrap_err();
        assert!(matches!(error.cause(), BadCause::NoCommunication | BadCause::Malformed), "{error:?}");
        assert!(!link.is_up());
    }
}

#[tokio::test]
async fn a_hang_up_is_said_without_a_random_errno() {
    for transport in [Transport::Tcp, Transport::RtuOverTcp] {
        let (mut link, peer) = link(transport);
        drop(peer);
        let error = link.ask(question(2)).await.unwrap_err();
        assert!(matches!(error, BusError::Broken(_)), "{error:?}");
        assert!(!link.is_up());
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_that_nobody_asked_for_are_away_before_a_request_is_sent() {
    let (mut link, mut peer) = link(Transport::Tcp);
    peer.write_all(&[0, 9, 0, 0, 0, 7, 1, 3, 4, 0, 1, 0, 2]).await.unwrap();
    assert!(matches!(link.ask(question(2)).await, Err(BusError::Unasked)));
    assert!(!link.is_up());
    let mut rest = Vec::new();
    peer.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty(), "the request stayed here");

    let (mut link, mut peer) = self::link(Transport::Rtu);
    peer.write_all(&rtu(&[1, 3, 4, 0, 1, 0, 2])).await.unwrap();
    let answer = ask(&mut link, &mut peer, RTU_REQUEST, &rtu(&[1, 3, 4, 0, 3, 0, 4])).await.unwrap();
    assert_eq!(answer.words, [3, 4], "read away, then asked");
    assert_eq!(link.take_tally().unasked, 1);
}

#[tokio::test]
async fn an_exception_is_an_answer() {
    let (mut link, mut peer) = link(Transport::RtuOverTcp);
    let refused = ask(&mut link, &mut peer, RTU_REQUEST, &rtu(&[1, 0x83, 2])).await.unwrap_err();
    assert!(matches!(refused, BusError::Exception { unit: 1, code: 2 }));
    assert_eq!(refused.cause(), BadCause::DeviceRefused);
    assert!(link.is_up());
    let behind = ask(&mut link, &mut peer, RTU_REQUEST, &rtu(&[1, 0x83, 0x0B])).await.unwrap_err();
    assert_eq!(behind.cause(), BadCause::NoCommunication, "the gateway says that the device is silent");
}

#[tokio::test]
async fn an_impossible_count_is_not_sent() {
    let (mut link, _peer) = link(Transport::Tcp);
    for count in [0, 126] {
        assert!(matches!(link.ask(question(count)).await, Err(BusError::Impossible { .. })));
    }
    assert!(link.is_up());
}

#[tokio::test]
async fn a_cancelled_question_costs_the_connection() {
    let (mut link, _peer) = link(Transport::Tcp);
    tokio::select! {
        biased;
        _ = link.ask(question(2)) => unreachable!("the peer never answers"),
        () = tokio::task::yield_now() => {}
    }
    assert!(!link.is_up());
}

proptest::proptest! {
    #[test]
    fn no_answer_makes_it_panic_or_lie(bytes: Vec<u8>, tcp: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let transport = if tcp { Transport::Tcp } else { Transport::RtuOverTcp };
            let (mut link, mut peer) = link(transport);
            // Most bytes are no answer, and waiting for one is all that happens.
            link.set_limit(Duration::from_millis(2));
            let request = if tcp { TCP_REQUEST } else { RTU_REQUEST };
            if let Ok(answer) = ask(&mut link, &mut peer, request, &bytes).await {
                assert_eq!(answer.words.len(), 2);
            }
        });
    }
}
