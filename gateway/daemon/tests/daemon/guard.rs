//! The guard against peers that misbehave byte by byte.

use std::time::Duration;

use gateway::bus::guard::{Answer, BusError, Link, Question};
use gateway::config::{FunctionCode, Transport, UnitId};
use gateway_model::BadCause;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

const LIMIT: Duration = Duration::from_millis(100);

fn link(transport: Transport) -> (Link, DuplexStream) {
    let (ours, theirs) = duplex(1024);
    let mut link = Link::new(transport, LIMIT, Duration::ZERO);
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
fn rtu(body: &[u8]) -> Vec<u8> {
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

#[tokio::test]
async fn a_late_answer_is_never_taken_for_the_next_one() {
    let (mut link, mut peer) = link(Transport::RtuOverTcp);
    assert!(matches!(link.ask(question(2)).await, Err(BusError::Timeout { .. })));
    assert!(!link.is_up(), "the connection on which it may still come is gone");
    let _lost = peer.write_all(&rtu(&[1, 3, 4, 0, 10, 0, 10])).await;
    assert!(matches!(link.ask(question(2)).await, Err(BusError::NotConnected)));
}

#[tokio::test]
async fn an_answer_of_the_wrong_length_ends_the_connection() {
    let (mut link, mut peer) = link(Transport::RtuOverTcp);
    let short = ask(&mut link, &mut peer, RTU_REQUEST, &rtu(&[1, 3, 2, 0, 10])).await;
    assert!(matches!(short, Err(BusError::WrongLength { asked: 2, got: 1, .. })), "{short:?}");
    assert!(!link.is_up());
    let (mut link, mut peer) = self::link(Transport::Tcp);
    let long = ask(&mut link, &mut peer, TCP_REQUEST, &[0, 0, 0, 0, 0, 9, 1, 3, 6, 0, 1, 0, 2, 0, 3]).await;
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

#[tokio::test]
async fn bytes_that_nobody_asked_for_end_the_connection_before_a_request_is_sent() {
    let (mut link, mut peer) = link(Transport::RtuOverTcp);
    peer.write_all(&rtu(&[1, 3, 4, 0, 1, 0, 2])).await.unwrap();
    assert!(matches!(link.ask(question(2)).await, Err(BusError::Unasked)));
    assert!(!link.is_up());
    let mut rest = Vec::new();
    peer.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty(), "the request stayed here");
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
