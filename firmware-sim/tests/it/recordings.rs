//! Record and replay: bytes, times, what was never recorded, and a recording played twice in virtual time.

use std::io::{BufReader, Cursor, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use firmware_sim::civil::Civil;
use firmware_sim::clock::Clock;
use firmware_sim::face::answer::{Act, Then};
use firmware_sim::face::frame::{Request, Transport, rtu, tcp};
use firmware_sim::fault::Fault;
use firmware_sim::host::{Host, host};
use firmware_sim::record::{self, Recorder, relay};
use firmware_sim::recording::file::{Reader, Writer};
use firmware_sim::recording::{self, Bus, Exchange, Got, Head, Line, Published, Side};
use firmware_sim::replay::serve::Desk;
use firmware_sim::replay::{AtEnd, Matching, Options, Player, Stranger, Tape};
use firmware_sim::serve;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::Instant;

use super::{at, hex, scenario, world};

/// A file in memory that can be looked at while it is written.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn head(from: Civil) -> Head {
    let bus = |name: &str, transport| Bus { name: name.to_owned(), transport };
    let buses = vec![bus("steam", Transport::Tcp), bus("uv", Transport::RtuOverTcp)];
    Head { recording: 2, from: from.0, by: "a test".to_owned(), buses }
}

fn tape(lines: &[&str]) -> Tape {
    let head = r#"{"recording":2,"from":1000,"buses":[{"name":"steam","transport":"tcp"},{"name":"uv","transport":"rtu-over-tcp"}]}"#;
    let text = format!("{head}\n{}\n", lines.join("\n"));
    Tape::read(Reader::new(Cursor::new(text)).unwrap()).unwrap()
}

fn request(transaction: Option<u16>, unit: u8, pdu: &str) -> Request {
    Request { transaction, unit, pdu: hex(pdu) }
}

fn later(after_us: u64, bytes: Vec<u8>) -> Act {
    Act::After(Duration::from_micros(after_us), Then::Send(bytes))
}

proptest! {
    #[test]
    fn a_line_written_is_read_as_it_was(
        t in any::<i64>(),
        ask in prop::collection::vec(any::<u8>(), 0..300),
        got in prop::collection::vec((any::<u64>(), prop::collection::vec(any::<u8>(), 1..300)), 0..4),
        closed in prop::option::of((any::<u64>(), prop::sample::select(vec![Side::Device, Side::Client]))),
        topic in ".{1,20}",
        payload in prop::collection::vec(any::<u8>(), 0..100),
        retain in any::<bool>(),
    ) {
        let got = got.into_iter().map(|(after_us, bytes)| Got { after_us, bytes }).collect();
        let exchange = Exchange { at: Civil(t), bus: "a".to_owned(), conn: 7, ask, got, closed, cut: retain };
        let message = Published { at: Civil(t), topic, payload, qos: 1, retain };
        for line in [Line::Exchange(exchange), Line::Published(message), Line::End { at: Civil(t) }] {
            prop_assert!(!line.text().contains('\n'));
            prop_assert_eq!(Line::parse(&line.text()), Ok(line));
        }
    }

    #[test]
    fn no_text_makes_a_reader_panic(text in "\\PC{0,200}") {
        drop(Line::parse(&text));
        drop(Reader::new(Cursor::new(text)));
    }
}

#[test]
fn wrong_recordings_are_told_with_their_line() {
    let told = |text: &str| match Reader::new(Cursor::new(text.to_owned())) {
        Err(error) => error.to_string(),
        Ok(reader) => Tape::read(reader).unwrap_err().to_string(),
    };
    let head = r#"{"recording":2,"from":0,"buses":[{"name":"a","transport":"tcp"}]}"#;
    assert!(told(r#"{"recording":1,"from":0}"#).contains("version 1 is a polled history"));
    assert!(told("[]").starts_with("line 1: "));
    assert!(
        told(&head.replace("\"tcp\"", "\"rtu\""))
            .ends_with("bus `a` is none of tcp, rtu-over-tcp, weighing-over-tcp")
    );
    assert!(told(r#"{"recording":4,"from":0}"#).ends_with("only of versions 2 to 3"));
    for (line, expected) in [
        ("{\"t\":1,\"bus\":\"b\",\"ask\":\"00\",\"got\":[]}\n", "line 2: bus `b` is not among"),
        ("{\"t\":1,\"bus\":\"a\",\"ask\":\"0\",\"got\":[]}\n", "line 2: `0` is no hex: an odd number"),
        ("\n{\"t\":1,\"asked\":\"0\"}\n", "line 3: unknown field `asked`"),
        ("{\"t\":1}\n", "line 2: a line with these fields needs `ask`"),
    ] {
        let said = told(&format!("{head}\n{line}"));
        assert!(said.starts_with(expected), "{said}");
    }
    // Its writer was killed: what came before stands.
    let text = format!("{head}\n{{\"t\":5,\"note\":\"x\"}}\n{{\"t\":6,\"no");
    let tape = Tape::read(Reader::new(Cursor::new(text)).unwrap()).unwrap();
    assert!(tape.is_torn());
    assert_eq!(tape.to(), Civil(5));
}

#[test]
fn compressed_and_plain_files_hold_the_same() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["a.jsonl", "a.jsonl.zst"] {
        let path = directory.path().join(name);
        let mut writer = Writer::create(&path, &head(Civil(1000))).unwrap();
        for t in 1000..1100 {
            writer.write(&Line::Note { at: Civil(t), note: "all the same".to_owned() }).unwrap();
        }
        writer.finish().unwrap();
        assert!(Writer::create(&path, &head(Civil(0))).is_err(), "a recording is never overwritten");
        let reader = Reader::open(&path).unwrap();
        assert_eq!(reader.head, head(Civil(1000)));
        assert_eq!(reader.map(|line| line.unwrap().1.at().0).sum::<i64>(), (1000..1100).sum::<i64>());
    }
    let length = |name: &str| std::fs::metadata(directory.path().join(name)).unwrap().len();
    assert!(length("a.jsonl.zst") * 4 < length("a.jsonl"));
}

#[test]
fn the_last_answer_before_the_moment_with_the_transaction_of_the_asker() {
    let player = Player::new(
        tape(&[
            r#"{"t":2000,"bus":"steam","ask":"0007 0000 0006 01 04 0000 0001","got":[[500,"0007 0000 0005"],[900,"01 04 02 0131"]]}"#,
            r#"{"t":3000,"bus":"steam","ask":"0008 0000 0006 01 04 0000 0001","got":[]}"#,
            r#"{"t":4000,"bus":"steam","ask":"0009 0000 0006 01 04 0000 0001","got":[[500,"ff00fe 0009 0000 0005 01 04 02 0132"]]}"#,
            r#"{"t":5000,"bus":"steam","ask":"000a 0000 0006 01 04 0000 0001","got":[[500,"0009 0000 0005 01 04 02 0132"]],"closed":[800,"device"]}"#,
            r#"{"t":6000,"bus":"uv","ask":"01 04 0000 0001 31ca","got":[[500,"01 04 02 0131 7974"]],"closed":[800,"client"]}"#,
        ]),
        Options::default(),
    );
    let ask = |t: i64, id| player.answer(0, &request(Some(id), 1, "04 00 00 00 01"), Civil(t));
    let first = vec![later(500, hex("12 34 00 00 00 05")), later(900, hex("01 04 02 01 31"))];
    assert_eq!(ask(2500, 0x1234), first);
    assert_eq!(ask(0, 0x1234), first, "asked before it was first recorded");
    assert_eq!(ask(3000, 1), vec![], "silence is an answer");
    assert_eq!(ask(4999, 1), vec![later(500, [hex("FF 00 FE"), tcp(1, 1, &hex("04 02 01 32"))].concat())]);
    let foreign = later(500, tcp(0xFFFF, 1, &hex("04 02 01 32")));
    let hang_up = Act::After(Duration::from_micros(800), Then::HangUp);
    assert_eq!(ask(99_000, 0), vec![foreign, hang_up], "foreign by one, as it was");
    let over_rtu = player.answer(1, &request(None, 1, "04 00 00 00 01"), Civil(6000));
    assert_eq!(over_rtu, vec![later(500, rtu(1, &hex("04 02 01 31")))], "the client closed, not the device");
    assert_eq!(player.counts().played, 6);
}

#[test]
fn what_was_never_recorded_is_refused_or_silent_and_counted() {
    let line = r#"{"t":2000,"bus":"steam","ask":"0007 0000 0006 01 04 0000 0001","got":[[500,"0007 0000 0005 01 04 02 0131"]]}"#;
    let ask =
        |player: &Player, unit| player.answer(0, &request(Some(5), unit, "03 00 00 00 02"), Civil(2000));
    let player = Player::new(tape(&[line]), Options::default());
    assert_eq!(ask(&player, 1), vec![Act::Send(tcp(5, 1, &hex("83 02")))]);
    assert_eq!(ask(&player, 9), vec![], "a unit nobody ever saw");
    ask(&player, 1);
    let counts = player.counts();
    assert_eq!((counts.played, counts.strangers), (0, 3));
    assert_eq!(counts.by_request["steam/1 0300000002"], 2);
    let silent = Options { stranger: Stranger::Silent, ..Options::default() };
    assert_eq!(ask(&Player::new(tape(&[line]), silent), 1), vec![]);
}

#[test]
fn in_order_and_around() {
    let lines = [
        r#"{"t":1000,"bus":"uv","ask":"01 04 0000 0001 31ca","got":[[5,"01 04 02 0131 7974"]]}"#,
        r#"{"t":2000,"bus":"uv","ask":"01 04 0000 0001 31ca","got":[]}"#,
        r#"{"t":3000,"end":true}"#,
    ];
    let request = request(None, 1, "04 00 00 00 01");
    let order = Options { matching: Matching::Order, ..Options::default() };
    let player = Player::new(tape(&lines), order);
    let answers: Vec<usize> = (0..3).map(|_| player.answer(1, &request, Civil(0)).len()).collect();
    assert_eq!(answers, [1, 0, 1], "answer, silence, and then refused as never recorded");
    assert_eq!(player.counts().strangers, 1);
    let around = Player::new(tape(&lines), Options { at_end: AtEnd::Loop, ..Options::default() });
    let at = |t| around.answer(1, &request, Civil(t)).len();
    assert_eq!([at(1500), at(2500), at(3500), at(4500)], [1, 0, 1, 0]);
}

#[test]
fn connections_are_refused_when_they_were() {
    let player = Player::new(
        tape(&[
            r#"{"t":2000,"bus":"uv","ask":"01 04 0000 0001 31ca","got":[]}"#,
            r#"{"t":3000,"bus":"uv","refused":"connection refused"}"#,
            r#"{"t":4000,"bus":"uv","ask":"01 04 0000 0001 31ca","got":[]}"#,
        ]),
        Options::default(),
    );
    assert_eq!([2500, 3500, 4500].map(|t| player.accepts(1, Civil(t))), [true, false, true]);
    assert!(player.accepts(0, Civil(3500)), "the other bus");
}

/// An indicator: two frames, the second in two pieces, and then it hung up; later it was there again.
const STREAM: [&str; 4] = [
    r#"{"t":1000,"bus":"scale","ask":"","got":[[0,"3d31"],[900500,"3d"]]}"#,
    r#"{"t":2001,"bus":"scale","ask":"","got":[[250,"32"]],"closed":[499000,"device"]}"#,
    r#"{"t":4000,"bus":"scale","conn":2,"ask":"","got":[[10000,"3d33"]]}"#,
    r#"{"t":4000,"end":true}"#,
];

/// A reload of the gateway added one bus and let the other talk otherwise.
#[test]
fn a_bus_that_comes_later_is_known_from_its_line_on() {
    let lines = [
        r#"{"t":2000,"bus":"uv","ask":"01 04 0000 0001 31ca","got":[[5,"01 04 02 0131 7974"]]}"#,
        r#"{"t":3000,"bus":"air","transport":"tcp"}"#,
        r#"{"t":3000,"bus":"air","ask":"0007 0000 0006 01 04 0000 0001","got":[[500,"0007 0000 0005 01 04 02 0131"]]}"#,
        r#"{"t":4000,"bus":"uv","transport":"tcp"}"#,
        r#"{"t":4000,"bus":"uv","ask":"0007 0000 0006 01 04 0000 0001","got":[[500,"0007 0000 0005 01 04 02 0132"]]}"#,
        r#"{"t":5000,"bus":"uv","transport":"rtu-over-tcp"}"#,
        r#"{"t":5000,"bus":"uv","ask":"01 04 0000 0001 31ca","got":[]}"#,
    ];
    let tape = tape(&lines);
    let buses: Vec<_> = tape.buses().iter().map(|bus| (bus.name.as_str(), bus.transport)).collect();
    let (tcp, rtu) = (Transport::Tcp, Transport::RtuOverTcp);
    assert_eq!(buses, [("steam", tcp), ("uv", rtu), ("air", tcp), ("uv-2", tcp)]);
    assert_eq!((tape.exchanges(), tape.unanswerable()), (4, 0));
    let player = Player::new(tape, Options::default());
    let ask = |bus, id, at| player.answer(bus, &request(id, 1, "04 00 00 00 01"), Civil(at)).len();
    assert_eq!(
        [ask(2, Some(1), 3000), ask(3, Some(1), 4000), ask(1, None, 2500), ask(1, None, 5000)],
        [1, 1, 1, 0]
    );
    for line in lines {
        assert_eq!(Line::parse(&Line::parse(line).unwrap().text()), Line::parse(line));
    }
    assert!(Line::parse(r#"{"t":1,"bus":"a","transport":"rtu"}"#).unwrap_err().contains("none of tcp"));
}

fn scale() -> Tape {
    let head = r#"{"recording":3,"from":1000,"buses":[{"name":"scale","transport":"weighing-over-tcp"}]}"#;
    Tape::read(Reader::new(Cursor::new(format!("{head}\n{}\n", STREAM.join("\n")))).unwrap()).unwrap()
}

#[test]
fn what_was_said_unasked_has_its_moments() {
    let tape = scale();
    assert_eq!((tape.said(), tape.unanswerable(), tape.to()), (5, 0, Civil(4010)));
    let player = Player::new(tape, Options::default());
    let send = |at_us, bytes: &[u8]| (at_us, Then::Send(bytes.to_vec()));
    let all = [
        send(1_000_000, b"=1"),
        send(1_900_500, b"="),
        send(2_001_250, b"2"),
        (2_500_000, Then::HangUp),
        send(4_010_000, b"=3"),
    ];
    let said = |player: &Player, from, n| -> Vec<(i64, Then)> {
        player.said(0, Civil(from)).take(n).map(|(at_us, then)| (at_us, then.clone())).collect()
    };
    assert_eq!(said(&player, 0, 9), all);
    assert_eq!(said(&player, 2001, 9), all[2..], "whoever comes later hears the rest");
    assert_eq!(said(&player, 4011, 9), [], "nobody knows what it would have said then");
    let around = Player::new(scale(), Options { at_end: AtEnd::Loop, ..Options::default() });
    let again = all.clone().map(|(at_us, then)| (at_us + 3_010_000, then));
    assert_eq!(said(&around, 4009, 6), [&all[4..], &again[..]].concat());
}

/// Two connections to it, in virtual time; what the client says is not listened to.
#[tokio::test(start_paused = true)]
async fn an_indicator_speaks_again_as_it_did() {
    let clock = Clock::starting(Civil(1000), 1.0);
    let desk = Desk::new(Arc::new(Player::new(scale(), Options::default())), 0, clock.clone());
    let mut heard = Vec::new();
    for _ in 0..2 {
        let (mut near, far) = tokio::io::duplex(64);
        let desk = desk.clone();
        let served = tokio::spawn(async move { desk.stream(far).await });
        near.write_all(b"R").await.unwrap();
        let mut buffer = [0; 16];
        // Until it hangs up, or has no more to say for a minute.
        while let Ok(read) = tokio::time::timeout(Duration::from_mins(1), near.read(&mut buffer)).await {
            heard.push((clock.now().0, buffer[..read.unwrap()].to_vec()));
            if heard.last().is_some_and(|(_, bytes)| bytes.is_empty()) {
                break;
            }
        }
        drop(near);
        served.await.unwrap().unwrap();
    }
    let expected = [(1000, "=1"), (1900, "="), (2001, "2"), (2500, ""), (4010, "=3")];
    let bytes: Vec<_> = heard.iter().map(|(_, bytes)| bytes.as_slice()).collect();
    assert_eq!(bytes, expected.map(|(_, text)| text.as_bytes()));
    // The clock tells whole milliseconds.
    assert!(heard.iter().zip(expected).all(|((t, _), (at, _))| (at..=at + 1).contains(t)), "{heard:?}");
}

/// The clinic at noon, with a recorder between it and whoever asks: the near end of each of its buses.
fn clinic_recorded(recorder: &Recorder, clock: &Clock) -> (Host, DuplexStream) {
    let (host, task) = host(world("clinic"), clock.clone(), None);
    tokio::spawn(task);
    let (near, middle) = tokio::io::duplex(4096);
    let (beyond, far) = tokio::io::duplex(4096);
    let server = host.clone();
    let endpoint = scenario("clinic").endpoints[0].clone();
    tokio::spawn(async move { serve::stream(far, &endpoint, 0, &server).await });
    let (bus, recorder) = (head(Civil(0)).buses[0].clone(), recorder.clone());
    tokio::spawn(async move { relay::relay(middle, beyond, &bus, 1, &recorder).await });
    (host, near)
}

/// Polls two units every ten seconds, gives up after 500 ms as a gateway does; what came, and when.
async fn poll(near: &mut DuplexStream, for_s: u64) -> Vec<(u128, Vec<u8>)> {
    let begin = Instant::now();
    let mut seen = Vec::new();
    for n in 0..for_s / 10 {
        tokio::time::sleep_until(begin + Duration::from_secs(10 * n)).await;
        for (unit, pdu) in [(1, "04 00 00 00 02"), (2, "03 00 04 00 01")] {
            near.write_all(&tcp(n as u16, unit, &hex(pdu))).await.unwrap();
            let mut buffer = [0; 64];
            if let Ok(read) = tokio::time::timeout(Duration::from_millis(500), near.read(&mut buffer)).await {
                seen.push((begin.elapsed().as_micros(), buffer[..read.unwrap()].to_vec()));
            }
        }
    }
    seen
}

/// An hour of a world with its faults, recorded, then replayed twice: each time the client sees the very same bytes at the
/// very same moments.
#[tokio::test(start_paused = true)]
async fn a_recorded_hour_replayed_twice_in_virtual_time() {
    let begin = at(2, 15, 0);
    let clock = Clock::starting(begin, 1.0);
    let (recorder, lines) = Recorder::new(clock.clone());
    let paper = Paper::default();
    let writing =
        tokio::spawn(record::write(lines, Writer::new(paper.clone(), &head(begin)).unwrap(), u64::MAX));
    let (host, mut near) = clinic_recorded(&recorder, &clock);
    for (target, fault, value, for_s) in [
        ("steam/1", "late", Some(400.0), 600),
        ("steam/2", "silent", None, 900),
        ("steam/1", "truncated", None, 1200),
    ] {
        let fault = Fault::parse(fault, value).unwrap();
        host.with(move |world| world.inject(target, fault, Some(for_s))).await.unwrap().unwrap();
    }
    let seen = poll(&mut near, 3600).await;
    drop((near, recorder));
    let written = writing.await.unwrap().unwrap();
    assert_eq!(written.exchanges, 720);
    let text = paper.0.lock().unwrap().clone();
    assert_eq!(written.bytes, text.len() as u64);
    assert!(seen.len() > 600, "{} answers", seen.len());

    for _ in 0..2 {
        let tape = Tape::read(Reader::new(BufReader::new(Cursor::new(text.clone()))).unwrap()).unwrap();
        assert_eq!(tape.exchanges(), 720);
        let clock = Clock::starting(tape.from(), 1.0);
        let desk = Desk::new(Arc::new(Player::new(tape, Options::default())), 0, clock);
        let (mut near, far) = tokio::io::duplex(4096);
        tokio::spawn(async move { desk.stream(far).await });
        assert_eq!(poll(&mut near, 3600).await, seen);
    }
}

/// What a device does to a client, the recorder passes on and writes down.
#[tokio::test(start_paused = true)]
async fn late_answers_noise_and_hang_ups_are_kept_with_their_request() {
    let clock = Clock::starting(Civil(1000), 1.0);
    let (recorder, mut lines) = Recorder::new(clock);
    let (mut near, middle) = tokio::io::duplex(4096);
    let (beyond, mut far) = tokio::io::duplex(4096);
    let bus = head(Civil(0)).buses[0].clone();
    tokio::spawn(async move { relay::relay(middle, beyond, &bus, 3, &recorder).await });
    let mut buffer = [0; 64];
    let (one, two) = (tcp(1, 1, &hex("04 00 00 00 01")), tcp(2, 1, &hex("04 00 01 00 01")));
    near.write_all(&one).await.unwrap();
    assert_eq!(far.read(&mut buffer).await.unwrap(), 12);
    tokio::time::sleep(Duration::from_secs(1)).await;
    near.write_all(&two).await.unwrap();
    assert_eq!(far.read(&mut buffer).await.unwrap(), 12);
    // The answer to the first comes now: it is written with the first.
    let answer = tcp(1, 1, &hex("04 02 00 07"));
    far.write_all(&answer).await.unwrap();
    assert_eq!(near.read(&mut buffer).await.unwrap(), 11);
    tokio::time::sleep(Duration::from_millis(250)).await;
    far.write_all(&hex("FF 00")).await.unwrap();
    assert_eq!(near.read(&mut buffer).await.unwrap(), 2);
    drop(far);
    assert_eq!(near.read(&mut buffer).await.unwrap(), 0, "the hang-up is passed on");
    let mut written = Vec::new();
    while let Some(line) = lines.recv().await {
        let Line::Exchange(exchange) = line else { panic!("{line:?}") };
        written.push(exchange);
    }
    let exchange = |at, ask, got, closed| Exchange {
        at: Civil(at),
        bus: "steam".to_owned(),
        conn: 3,
        ask,
        got,
        closed,
        cut: false,
    };
    let first = exchange(1000, one, vec![Got { after_us: 1_000_000, bytes: answer }], None);
    let noise = vec![Got { after_us: 250_000, bytes: hex("FF 00") }];
    let second = exchange(2000, two, noise, Some((250_000, Side::Device)));
    assert_eq!(written, [first, second]);
}

#[tokio::test(start_paused = true)]
async fn a_full_recording_says_what_it_lacks() {
    let (recorder, lines) = Recorder::new(Clock::starting(Civil(1000), 1.0));
    let paper = Paper::default();
    let writer = Writer::new(paper.clone(), &head(Civil(1000))).unwrap();
    let limit = writer.bytes + 1;
    for n in 0..5 {
        let payload = vec![b'0' + n];
        recorder.put(Line::Published(Published {
            at: recorder.now(),
            topic: "a".to_owned(),
            payload,
            qos: 0,
            retain: false,
        }));
    }
    drop(recorder);
    let written = record::write(lines, writer, limit).await.unwrap();
    assert_eq!((written.messages, written.beyond), (1, 4));
    let text = String::from_utf8(paper.0.lock().unwrap().clone()).unwrap();
    let gap = text.lines().find(|line| line.contains("\"gap\":4")).unwrap();
    assert!(gap.contains("the recording had its"));
    assert!(text.ends_with("\"end\":true}\n"));
}

#[test]
fn hex_is_read_in_any_groups() {
    assert_eq!(recording::unhex("00 0102 ff"), Ok(vec![0, 1, 2, 0xFF]));
    assert!(recording::unhex("0g").is_err());
}
