//! What a client sees on a socket while a fault is on.

use std::time::{Duration, Instant};

use firmware_sim::clock::Clock;
use firmware_sim::face::frame::{Transport, rtu, tcp};
use firmware_sim::fault::{self, Fault};
use firmware_sim::host::{Host, host};
use firmware_sim::scenario::Endpoint;
use firmware_sim::serve::{serve, stream};
use firmware_sim::world::World;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpListener, TcpStream};

use super::{at, hex, scenario, value, world};

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
        ("exception", Some(1.0), tcp(9, 1, &hex("84 01"))),
        ("exception", Some(2.0), tcp(9, 1, &hex("84 02"))),
        ("exception", Some(3.0), tcp(9, 1, &hex("84 03"))),
        ("noise", None, [hex("FF 00 FE"), sound(9)].concat()),
        ("double-answer", None, [sound(9), sound(9)].concat()),
        ("delay", Some(20.0), sound(9)),
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

/// Words the other way round; a bit table, a refusal and an odd last word stay as they are.
#[tokio::test]
async fn swapped_words() {
    let (host, address) = hotel(Transport::Tcp, 4).await;
    let second = host.with(|world| world.force("cabinet-2/temperature", Some(-0.2))).await;
    second.unwrap().unwrap();
    begin(&host, "swapped-words", None).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    for (request, answer) in [
        ("04 00 00 00 02", "04 04 FF FE 01 31"),
        ("04 00 00 00 03", "04 06 FF FE 01 31 75 30"),
        ("02 00 00 00 08", "02 01 03"),
        ("04 00 99 00 01", "84 02"),
    ] {
        stream.write_all(&tcp(1, 1, &hex(request))).await.unwrap();
        let answer = tcp(1, 1, &hex(answer));
        assert_eq!(read(&mut stream, answer.len()).await, answer, "{request}");
    }
}

/// The one before it in the queue is answered first, and the late answer comes all the same, on the same connection.
#[tokio::test(start_paused = true)]
async fn a_late_answer_comes_after_what_was_asked_meanwhile() {
    let (host, mut near) = duplex(Transport::Tcp).await;
    begin(&host, "late", Some(700.0)).await;
    let asked = tokio::time::Instant::now();
    near.write_all(&tcp(5, 1, &hex("04 00 00 00 01"))).await.unwrap();
    near.write_all(&tcp(6, 2, &hex("01 00 00 00 08"))).await.unwrap();
    let mut both = [0; 21];
    near.read_exact(&mut both).await.unwrap();
    assert_eq!(both[..], [tcp(6, 2, &hex("01 01 00")), tcp(5, 1, &hex("04 02 01 31"))].concat());
    assert_eq!(asked.elapsed().as_millis(), 700);
}

#[tokio::test(start_paused = true)]
async fn a_slow_device_keeps_what_is_asked_meanwhile_waiting() {
    let (host, mut near) = duplex(Transport::Tcp).await;
    begin(&host, "delay", Some(700.0)).await;
    let asked = tokio::time::Instant::now();
    near.write_all(&tcp(5, 1, &hex("04 00 00 00 01"))).await.unwrap();
    near.write_all(&tcp(6, 2, &hex("01 00 00 00 08"))).await.unwrap();
    let mut both = [0; 21];
    near.read_exact(&mut both).await.unwrap();
    assert_eq!(both[..], [tcp(5, 1, &hex("04 02 01 31")), tcp(6, 2, &hex("01 01 00"))].concat());
    assert_eq!(asked.elapsed().as_millis(), 700);
}

/// Neither bytes nor an end, for every unit and also when the fault is over; another connection is served.
#[tokio::test(start_paused = true)]
async fn a_half_open_connection_is_dead_for_good() {
    let (host, mut near) = duplex(Transport::RtuOverTcp).await;
    begin(&host, "half-open", None).await;
    let request = rtu(1, &hex("04 00 00 00 01"));
    near.write_all(&request).await.unwrap();
    let minute = Duration::from_mins(1);
    assert!(tokio::time::timeout(minute, near.read(&mut [0; 1])).await.is_err(), "neither answer nor end");
    host.with(|world| world.clear(None)).await.unwrap();
    near.write_all(&request).await.unwrap();
    assert!(tokio::time::timeout(minute, near.read(&mut [0; 1])).await.is_err(), "it stays so");
    let mut other = connect(&host, Transport::RtuOverTcp);
    other.write_all(&request).await.unwrap();
    let mut answer = [0; 7];
    other.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer[..4], hex("01 04 02 01")[..]);
}

/// Both one after the other, the other alone, both at once.
#[tokio::test(start_paused = true)]
async fn two_devices_with_one_unit_id() {
    let (host, mut near) = duplex(Transport::RtuOverTcp).await;
    begin(&host, "same-unit-id", None).await;
    let (one, other) = (rtu(1, &hex("04 02 01 31")), rtu(1, &hex("04 02 01 56")));
    let collided: Vec<u8> = one.iter().zip(&other).map(|(a, b)| a & b).collect();
    for answer in [[one, other.clone()].concat(), other, collided] {
        near.write_all(&rtu(1, &hex("04 00 00 00 01"))).await.unwrap();
        let mut seen = vec![0; answer.len()];
        near.read_exact(&mut seen).await.unwrap();
        assert_eq!(seen, answer);
    }
}

/// On a line bytes take as long as its rate says, also late ones; nobody can hang up, and half a request is forgotten.
#[tokio::test(start_paused = true)]
async fn faults_on_a_serial_line() {
    let (host, mut near) = duplex(Transport::Rtu).await;
    // 7 characters of 10 bits at 9600 baud.
    let takes = Duration::from_micros(7 * 10 * 1_000_000 / 9600);
    let (request, answer) = (rtu(1, &hex("04 00 00 00 01")), rtu(1, &hex("04 02 01 31")));
    for (word, value, after) in [
        ("silent", None, None),
        ("hang-up", None, None),
        ("half-open", None, None),
        ("late", Some(700.0), Some(Duration::from_millis(700))),
        ("delay", Some(300.0), Some(Duration::from_millis(300))),
    ] {
        begin(&host, word, value).await;
        let asked = tokio::time::Instant::now();
        near.write_all(&request).await.unwrap();
        let mut seen = vec![0; answer.len()];
        let came = tokio::time::timeout(Duration::from_mins(10), near.read_exact(&mut seen)).await;
        assert_eq!(came.is_ok(), after.is_some(), "{word}");
        if let Some(after) = after {
            assert_eq!(seen, answer, "{word}");
            // The end of the answer before it may still have been on the line.
            let took = asked.elapsed();
            assert!(
                (after..after + 2 * takes).contains(&took),
                "{word}: the first piece went out after {took:?}"
            );
        }
    }
    host.with(|world| world.clear(Some("modules/1"))).await.unwrap();
    let mut seen = vec![0; answer.len()];
    near.write_all(&request[..5]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(60)).await;
    near.write_all(&request).await.unwrap();
    near.read_exact(&mut seen).await.unwrap();
    assert_eq!(seen, answer, "what came before the silence was no request");
}

/// No power, then zeros, then as before; over TCP the connection is gone with the power, over RTU there is silence.
#[tokio::test(start_paused = true)]
async fn a_power_cycle_ends_by_itself() {
    for transport in [Transport::Tcp, Transport::RtuOverTcp] {
        let (host, mut near) = duplex(transport).await;
        begin(&host, "power-cycle", None).await;
        let is_tcp = transport == Transport::Tcp;
        let frame = |pdu: &str| if is_tcp { tcp(1, 1, &hex(pdu)) } else { rtu(1, &hex(pdu)) };
        let mut seen = [0; 11];
        near.write_all(&frame("04 00 00 00 01")).await.unwrap();
        let first = tokio::time::timeout(Duration::from_secs(1), near.read(&mut seen)).await;
        match first {
            Ok(read) => assert_eq!((read.unwrap(), is_tcp), (0, true), "closed"),
            Err(_) => assert!(!is_tcp, "silent"),
        }
        for (wait, pdu) in [(20, "04 02 00 00"), (20, "04 02 01 31")] {
            tokio::time::sleep(Duration::from_secs(wait)).await;
            let mut near = connect(&host, transport);
            near.write_all(&frame("04 00 00 00 01")).await.unwrap();
            let answer = frame(pdu);
            near.read_exact(&mut seen[..answer.len()]).await.unwrap();
            assert_eq!(seen[..answer.len()], answer);
        }
    }
}

/// Exactly what each signal shows, second by second.
#[test]
fn probes_that_drift_spike_and_scale() {
    let shown = |world: &World| world.signals().shown(world.signals().find("fridge-1/temperature").unwrap());
    let faulty = |word: &str, by: f64| {
        let mut world = world("clinic");
        world.step_to(at(0, 3, 0));
        world.inject("fridge-1/temperature", Fault::parse(word, Some(by)).unwrap(), Some(7200)).unwrap();
        world
    };
    let mut drifting = faulty("drift", 0.5);
    drifting.step_to(at(0, 4, 0).plus_s(1));
    let off = shown(&drifting) - value(&drifting, "fridge-1/temperature");
    assert!((off - 0.5).abs() < 1e-9, "{off} after an hour");
    drifting.step_to(at(0, 6, 0));
    assert_eq!(shown(&drifting).to_bits(), value(&drifting, "fridge-1/temperature").to_bits(), "mended");

    let mut scaled = faulty("wrong-scale", 10.0);
    scaled.step_to(at(0, 3, 30));
    assert_eq!(shown(&scaled).to_bits(), (value(&scaled, "fridge-1/temperature") * 10.0).to_bits());

    let mut spiking = faulty("spike", 40.0);
    let mut spikes = 0;
    for second in 1..=1000 {
        spiking.step_to(at(0, 3, 0).plus_s(second));
        let off = shown(&spiking) - value(&spiking, "fridge-1/temperature");
        assert!(off.abs() < 1e-9 || (off - 40.0).abs() < 1e-9, "{off}");
        spikes += u32::from(off > 1.0);
    }
    assert!((60..=140).contains(&spikes), "one in ten: {spikes}");
}

/// Every word is a fault that can be given to something of an embedded scenario.
#[test]
fn every_word_finds_a_target() {
    for word in fault::words() {
        let fault = Fault::parse(word, None).or_else(|_| Fault::parse(word, Some(5.0))).unwrap();
        assert_eq!(fault.word(), word);
        let taken = ["hotel", "clinic", "hospital"].iter().any(|name| {
            let mut world = world(name);
            let devices: Vec<String> = world.devices().map(|(id, _)| id.to_owned()).collect();
            let names = |world: &World| -> Vec<String> {
                let signals = world.signals();
                (0..).map_while(|i| signals.at(i)).map(|ix| signals.label(ix).0.to_owned()).collect()
            };
            let signals = names(&world);
            let endpoints: Vec<String> = world.endpoints().iter().map(|e| e.name.clone()).collect();
            [devices, signals, endpoints].concat().iter().any(|target| {
                world.inject(target, fault, Some(60)).is_ok() && world.faults_on().any(|(_, on)| on == word)
            })
        });
        assert!(taken, "nobody can have `{word}`");
    }
}

/// The hotel's first endpoint at noon on a stream in memory.
async fn duplex(transport: Transport) -> (Host, DuplexStream) {
    let (host, task) = host(world("hotel"), Clock::starting(at(0, 12, 0), 1.0), None);
    tokio::spawn(task);
    host.with(|world| world.force("cabinet-1/temperature", Some(30.5))).await.unwrap().unwrap();
    let near = connect(&host, transport);
    (host, near)
}

fn connect(host: &Host, transport: Transport) -> DuplexStream {
    let (near, far) = tokio::io::duplex(4096);
    let host = host.clone();
    let endpoint = Endpoint { transport, ..scenario("hotel").endpoints[0].clone() };
    tokio::spawn(async move { stream(far, &endpoint, 0, &host).await });
    near
}
