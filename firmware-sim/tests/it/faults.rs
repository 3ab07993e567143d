//! What a client sees on a socket while a fault is on.

use std::time::{Duration, Instant};

use firmware_sim::clock::Clock;
use firmware_sim::face::frame::{Transport, rtu, tcp};
use firmware_sim::fault::Fault;
use firmware_sim::host::{Host, host};
use firmware_sim::scenario::Endpoint;
use firmware_sim::serve::{serve, stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{at, hex, scenario, world};

/// Longest wait for something that must come: a test that hangs says so.
const LONG: Duration = Duration::from_secs(20);

/// The hotel at noon, served; `modules` over TCP or, for this test, over RTU.
async fn hotel(transport: Transport, connections: usize) -> (Host, std::net::SocketAddr) {
    let (host, task) = host(world("hotel"), Clock::starting(at(0, 12, 0), 1.0), None);
    tokio::spawn(task);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let endpoint = Endpoint { transport, connections, ..scenario("hotel").endpoints[0].clone() };
    tokio::spawn(serve(listener, endpoint, 0, host.clone()));
    let forced = host.with(|world| world.force("cabinet-1/temperature", Some(30.5))).await;
    forced.unwrap().unwrap();
    (host, address)
}

async fn begin(host: &Host, word: &'static str, value: Option<f64>) {
    let fault = Fault::parse(word, value).unwrap();
    host.with(move |world| {
        world.clear(Some("modules/1"));
        world.inject("modules/1", fault, None)
    })
    .await
    .unwrap()
    .unwrap();
}

async fn read(stream: &mut TcpStream, bytes: usize) -> Vec<u8> {
    let mut buffer = vec![0; bytes];
    tokio::time::timeout(LONG, stream.read_exact(&mut buffer)).await.unwrap().unwrap();
    buffer
}

/// A connection is served in order: if the next bytes are the answer of the unit beside, nothing else came before them.
async fn nothing_else_came(stream: &mut TcpStream, transport: Transport) {
    let (request, answer) = (hex("01 00 00 00 08"), hex("01 01 00"));
    let (request, answer) = match transport {
        Transport::Tcp => (tcp(99, 2, &request), tcp(99, 2, &answer)),
        Transport::RtuOverTcp | Transport::Rtu | Transport::WeighingOverTcp | Transport::Weighing => {
            (rtu(2, &request), rtu(2, &answer))
        }
    };
    stream.write_all(&request).await.unwrap();
    assert_eq!(read(stream, answer.len()).await, answer);
}

#[tokio::test]
async fn on_modbus_tcp() {
    let (host, address) = hotel(Transport::Tcp, 4).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = |transaction| tcp(transaction, 1, &hex("04 00 00 00 01"));
    let sound = |transaction: u16| tcp(transaction, 1, &hex("04 02 01 31"));

    // Two at once, and one byte by byte: a stream has no borders.
    stream.write_all(&[request(1), request(2)].concat()).await.unwrap();
    assert_eq!(read(&mut stream, 22).await, [sound(1), sound(2)].concat());
    for byte in request(3) {
        stream.write_all(&[byte]).await.unwrap();
    }
    assert_eq!(read(&mut stream, 11).await, sound(3));

    for (word, value, answer) in [
        ("exception", None, tcp(9, 1, &hex("84 04"))),
        ("exception", Some(6.0), tcp(9, 1, &hex("84 06"))),
        ("foreign-transaction", None, tcp(8, 1, &hex("04 02 01 31"))),
        ("foreign-unit", None, tcp(9, 2, &hex("04 02 01 31"))),
        ("wrong-crc", None, hex("00 09 00 00 00 06 01 04 02 01 31")),
        ("truncated", None, hex("00 09 00 00 00 05 01")),
        ("noise", None, [hex("FF 00 FE"), sound(9)].concat()),
    ] {
        begin(&host, word, value).await;
        stream.write_all(&request(9)).await.unwrap();
        assert_eq!(read(&mut stream, answer.len()).await, answer, "{word}");
        nothing_else_came(&mut stream, Transport::Tcp).await;
    }

    // The answer before: that of another block.
    host.with(|world| world.clear(None)).await.unwrap();
    stream.write_all(&tcp(20, 1, &hex("03 00 80 00 01"))).await.unwrap();
    assert_eq!(read(&mut stream, 11).await, tcp(20, 1, &hex("03 02 02 00")));
    begin(&host, "previous-answer", None).await;
    stream.write_all(&request(21)).await.unwrap();
    assert_eq!(read(&mut stream, 11).await, tcp(21, 1, &hex("03 02 02 00")));

    begin(&host, "silent", None).await;
    stream.write_all(&request(30)).await.unwrap();
    // No answer to it, and the unit beside it is not affected.
    nothing_else_came(&mut stream, Transport::Tcp).await;

    begin(&host, "hang-up", None).await;
    stream.write_all(&request(40)).await.unwrap();
    assert_eq!(tokio::time::timeout(LONG, stream.read(&mut [0; 1])).await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn late_answers_come_late_and_right() {
    let (host, address) = hotel(Transport::Tcp, 4).await;
    host.with(|world| world.force("cabinet-1/temperature", Some(30.5))).await.unwrap().unwrap();
    begin(&host, "late", Some(400.0)).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let asked = Instant::now();
    stream.write_all(&tcp(5, 1, &hex("04 00 00 00 01"))).await.unwrap();
    assert_eq!(read(&mut stream, 11).await, tcp(5, 1, &hex("04 02 01 31")));
    assert!(asked.elapsed() >= Duration::from_millis(400));
}

#[tokio::test]
async fn on_rtu_over_tcp() {
    let (host, address) = hotel(Transport::RtuOverTcp, 4).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = rtu(1, &hex("04 00 00 00 01"));
    // 30.5 °C: 0131. Noise on the line and a request with a bad checksum are passed over.
    let mut bad = request.clone();
    bad[7] ^= 1;
    stream.write_all(&[hex("FF FF"), bad, request.clone()].concat()).await.unwrap();
    assert_eq!(read(&mut stream, 7).await, hex("01 04 02 01 31 79 74"), "the frame of domain.md C.1");
    for (word, answer) in [
        ("wrong-crc", hex("01 04 02 01 31 79 2E")),
        ("truncated", hex("01 04 02 01")),
        ("foreign-unit", rtu(2, &hex("04 02 01 31"))),
        ("foreign-transaction", rtu(1, &hex("03 02 01 31"))),
    ] {
        begin(&host, word, None).await;
        stream.write_all(&request).await.unwrap();
        assert_eq!(read(&mut stream, answer.len()).await, answer, "{word}");
        nothing_else_came(&mut stream, Transport::RtuOverTcp).await;
    }
}

#[tokio::test]
async fn one_connection_only_and_no_other_protocol() {
    let (_host, address) = hotel(Transport::Tcp, 1).await;
    let mut first = TcpStream::connect(address).await.unwrap();
    first.write_all(&tcp(1, 1, &hex("04 00 00 00 01"))).await.unwrap();
    read(&mut first, 11).await;
    let mut second = TcpStream::connect(address).await.unwrap();
    let refused = tokio::time::timeout(LONG, second.read(&mut [0; 1])).await.unwrap();
    assert!(matches!(refused, Ok(0) | Err(_)), "{refused:?}");
    first.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    assert_eq!(tokio::time::timeout(LONG, first.read(&mut [0; 1])).await.unwrap().unwrap(), 0);
}

/// What a test of the gateway does: no socket, no real time.
#[tokio::test(start_paused = true)]
async fn on_any_stream_in_virtual_time() {
    let (host, task) = host(world("hotel"), Clock::starting(at(0, 12, 0), 1.0), None);
    tokio::spawn(task);
    let (mut near, far) = tokio::io::duplex(1024);
    let endpoint = scenario("hotel").endpoints[1].clone();
    let server = host.clone();
    tokio::spawn(async move { stream(far, &endpoint, 1, &server).await });
    host.with(|world| world.force("meter-1/voltage", Some(230.5))).await.unwrap().unwrap();
    let fault = Fault::parse("late", Some(90_000.0)).unwrap();
    host.with(move |world| world.inject("meters/1", fault, None)).await.unwrap().unwrap();
    let asked = tokio::time::Instant::now();
    near.write_all(&rtu(1, &hex("04 00 00 00 02"))).await.unwrap();
    let mut answer = [0; 9];
    near.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer[..], rtu(1, &hex("04 04 43 66 80 00")));
    assert!(asked.elapsed() >= Duration::from_secs(90), "the fault's delay is virtual time");
}
