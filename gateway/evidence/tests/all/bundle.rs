//! Bundles: a right one is green, and every way to make it wrong is told by its own name.

use gateway_evidence::{
    CaseFile, Contents, Entry, Erased, GatewayTrust, Line, Outcome, Report, Selection, Status, TrustPolicy,
    bundle, select, verify,
};
use gateway_model::{
    CivilTime, Cursor, EngineTime, Epoch, Input, InstitutionId, PackRef, Plan, Quality, Raw, Reading, Seq,
    SiteId,
};
use gateway_model::{PointCounts, PointIx};
use gateway_wire::{
    Body, Enrolment, FileRef, Header, InputsBody, Maker, SigningKey, VerifyingKey, hash, open, peek, seal,
};

use crate::{Recorder, plan};

const PACK: &str = "[pack]\nname = \"cold-chain\"\n";
const DEVICES: &str = "[[device]]\nid = \"fridge\"\nplacement = \"R-17\"\ncertificate = \"C-9\"\n\
    valid_from = \"2020-01-01\"\nvalid_until = \"2099-12-31\"\n";

pub(crate) fn court_plan() -> Plan {
    let pack = PackRef { name: "cold-chain".into(), version: "1".into(), sha256: hash(PACK.as_bytes()) };
    Plan {
        site: SiteId("clinic".into()),
        institution: InstitutionId("91330106MA27XYZ123".into()),
        packs: vec![pack],
        ..plan(8.0)
    }
}

fn center() -> SigningKey {
    SigningKey::from_bytes(&[9; 32])
}

/// Two lives of a gateway with everything that a bundle of it has to show.
pub(crate) fn day_of(key: u8) -> Recorder {
    let mut recorder = Recorder::of(key, court_plan());
    recorder.clock();
    recorder.counted(&[50, 60, 70]);
    recorder.readings(&[85, 90, 95]);
    recorder.acknowledge(1);
    recorder.readings(&[60, 60]);
    recorder.inputs(vec![Input::Advance(EngineTime(recorder.now + 10_000))]);
    recorder.now += 10_000;
    recorder.stop();
    recorder.start(court_plan());
    recorder.readings(&[90, 90, 90]);
    recorder.readings(&[50, 50, 50, 50]);
    recorder.stop();
    recorder
}

impl Recorder {
    /// Readings, and the counts that go with them.
    fn counted(&mut self, tenths: &[i64]) {
        let items = tenths.iter().map(|value| {
            self.now += 1_000;
            let value = Quality::Good(Raw::Int(*value));
            Input::Reading(Reading { point: PointIx(0), at: EngineTime(self.now), value })
        });
        let items: Vec<_> = items.collect();
        for input in &items {
            let mut out = Vec::new();
            self.engine.step(input, &mut out);
            assert_eq!(out, [], "an example without conclusions");
        }
        let (due, answered) = (items.len() as u32 + 3, items.len() as u32 + 2);
        let failed = vec![1, 0, 0, 0, 0, 0, 0, 0];
        let counts =
            vec![PointCounts { point: PointIx(0), due, answered, within_deadband: 2, late: 0, failed }];
        self.push(Body::Inputs(InputsBody { items, counts }));
    }

    pub(crate) fn bytes(&self) -> Vec<Vec<u8>> {
        self.records.iter().map(|(_, bytes)| bytes.clone()).collect()
    }

    pub(crate) fn selection(&self) -> Selection {
        select(&entries(&self.bytes()), (EngineTime(i64::MIN), EngineTime(i64::MAX)))
    }
}

fn entries(records: &[Vec<u8>]) -> Vec<Entry> {
    let entry = |bytes: &Vec<u8>| {
        let (header, kind) = peek(bytes).unwrap();
        Entry { cursor: header.cursor(), kind, t0: header.t0, t1: header.t1 }
    };
    records.iter().map(entry).collect()
}

fn enrolment(gateway: &VerifyingKey) -> Vec<u8> {
    Enrolment {
        gateway_key: gateway.to_bytes(),
        institution: InstitutionId("91330106MA27XYZ123".into()),
        site: SiteId("clinic".into()),
        epoch_floor: Epoch(0),
        tls_keys: vec![],
        issued: CivilTime(0),
        gateway: None,
    }
    .seal(&center())
}

/// Sealed by the center, which may lie: what it put together is checked all the same.
pub(crate) fn sealed(
    key: &VerifyingKey,
    records: &[Vec<u8>],
    selection: &Selection,
    erased: Vec<Erased>,
) -> Vec<u8> {
    sealed_with(key, records, selection, erased, None)
}

pub(crate) fn sealed_with(
    key: &VerifyingKey,
    records: &[Vec<u8>],
    selection: &Selection,
    erased: Vec<Erased>,
    case: Option<CaseFile>,
) -> Vec<u8> {
    let statement = enrolment(key);
    let contents = Contents {
        ring: (*key).into(),
        history: None,
        records: records.iter().map(Vec::as_slice).collect(),
        spans: selection.spans.clone(),
        window: selection.window,
        packs: vec![("packs/cold-chain.toml".into(), PACK.as_bytes())],
        enrolment: Some((center().verifying_key(), &statement)),
        attachments: Vec::new(),
        erased_attachments: Vec::new(),
        device_records: Vec::new(),
        devices: Some(DEVICES),
        received: Vec::new(),
        erased,
        case,
        maker: Maker::Center,
        made_at: Some(CivilTime(1_790_001_000_000)),
        software: "test 1",
    };
    let made = bundle(&contents, &center()).unwrap();
    assert_eq!(made.missing_packs, Vec::<String>::new());
    made.bytes
}

pub(crate) fn trust() -> TrustPolicy {
    let centers = vec![center().verifying_key().fingerprint()];
    TrustPolicy { centers, gateways: vec![], accept_simulated: false }
}

fn right() -> (Recorder, Vec<u8>) {
    let recorder = day_of(3);
    let bytes = sealed(&recorder.key.verifying_key(), &recorder.bytes(), &recorder.selection(), Vec::new());
    (recorder, bytes)
}

pub(crate) fn line<'r>(report: &'r Report, name: &str) -> &'r Line {
    report.line(name).unwrap()
}

/// Codes and places of a line.
pub(crate) fn found(report: &Report, name: &str) -> Vec<(&'static str, String)> {
    line(report, name).findings.iter().map(|finding| (finding.code, finding.at.clone())).collect()
}

fn at(epoch: u64, seq: u64) -> Cursor {
    Cursor { epoch: Epoch(epoch), seq: Seq(seq) }
}

#[test]
fn a_right_bundle_is_valid_on_every_line() {
    let (recorder, bytes) = right();
    let report = verify(&bytes, Some(&trust()));
    assert_eq!(report.outcome(), Outcome::Valid, "{}", report.text());
    let names: Vec<_> = report.lines.iter().map(|line| line.name).collect();
    assert_eq!(
        names,
        [
            "container",
            "identity",
            "signatures",
            "sequence",
            "chain",
            "liveness",
            "time",
            "coverage",
            "context",
            "recomputation",
            "log",
            "case",
            "anchor",
            "limits"
        ]
    );
    assert_eq!(line(&report, "signatures").facts["valid"], recorder.records.len());
    assert_eq!(line(&report, "coverage").facts["points"][0]["due"], 6);
    assert_eq!(line(&report, "coverage").facts["points"][0]["failed"][0], 1);
    assert_eq!(line(&report, "identity").facts["vouched_by"], "center");
    assert!(report.text().ends_with("\nVALID\n"), "{}", report.text());
}

#[test]
fn every_byte_changed_is_told_on_its_line() {
    let mut recorder = Recorder::of(3, court_plan());
    recorder.clock();
    recorder.readings(&[50, 85, 90, 95]);
    recorder.checkpoint();
    let selection = recorder.selection();
    let bytes = sealed(&recorder.key.verifying_key(), &recorder.bytes(), &selection, Vec::new());
    let policy = trust();
    let report = verify(&bytes, Some(&policy));
    assert_eq!(report.outcome(), Outcome::Valid, "{}", report.text());
    assert_eq!(line(&report, "recomputation").facts["conclusions"], 1);
    let expected = expected_lines(&bytes);
    assert!(bytes.len() < 40_000, "a small bundle: {} bytes", bytes.len());
    let half = bytes.len() / 2;
    let check = |range: std::ops::Range<usize>| {
        let mut changed = bytes.clone();
        for at in range {
            changed[at] ^= 0x10;
            let report = verify(&changed, Some(&policy));
            assert_eq!(report.outcome(), Outcome::Invalid, "byte {at}:\n{}", report.text());
            for name in expected[at] {
                assert_eq!(
                    line(&report, name).status,
                    Status::Failed,
                    "byte {at}, {name}:\n{}",
                    report.text()
                );
            }
            changed[at] ^= 0x10;
        }
    };
    std::thread::scope(|scope| {
        let first = scope.spawn(|| check(0..half));
        check(half..bytes.len());
        first.join().unwrap();
    });
}

/// For each byte the lines that must be red.
fn expected_lines(bytes: &[u8]) -> Vec<&'static [&'static str]> {
    let mut expected: Vec<&'static [&'static str]> = vec![&["container"]; bytes.len()];
    let mut at = 0;
    while bytes[at] != 0 {
        let name = std::str::from_utf8(&bytes[at..at + 100]).unwrap().trim_end_matches('\0').to_owned();
        let size =
            usize::from_str_radix(std::str::from_utf8(&bytes[at + 124..at + 135]).unwrap(), 8).unwrap();
        let start = at + 512;
        let lines: &'static [&'static str] = match name.as_str() {
            "gateway.key" | "center.key" | "enrolment" => &["container", "identity"],
            name if name.starts_with("packs/") => &["container", "context"],
            _ => &["container"],
        };
        expected[start..start + size].fill(lines);
        if name == "records" {
            for record in gateway_wire::unpack(&bytes[start..start + size], 1_000).unwrap() {
                let from = record.as_ptr() as usize - bytes.as_ptr() as usize;
                expected[from..from + record.len()].fill(&["container", "signatures", "sequence"]);
            }
        }
        at = start + size.next_multiple_of(512);
    }
    expected
}

#[test]
fn every_record_dropped_is_missing_and_the_last_is_truncated() {
    let recorder = day_of(3);
    let key = recorder.key.verifying_key();
    let records = recorder.bytes();
    for gone in 0..records.len() {
        let mut without = records.clone();
        without.remove(gone);
        let report = verify(&sealed(&key, &without, &recorder.selection(), Vec::new()), Some(&trust()));
        assert_eq!(report.outcome(), Outcome::Invalid);
        let place = recorder.records[gone].0.header.cursor().to_string();
        let code = if gone + 1 == records.len() { "truncated" } else { "missing" };
        assert_eq!(found(&report, "sequence"), [(code, place)], "{}", report.text());
    }
    for end in 1..records.len() {
        let report =
            verify(&sealed(&key, &records[..end], &recorder.selection(), Vec::new()), Some(&trust()));
        assert!(found(&report, "sequence").iter().any(|(code, _)| *code == "truncated"), "{}", report.text());
        assert_eq!(report.outcome(), Outcome::Invalid);
    }
}

#[test]
fn every_record_told_twice_or_swapped_is_told_so() {
    let recorder = day_of(3);
    let key = recorder.key.verifying_key();
    let records = recorder.bytes();
    for place in 0..records.len() - 1 {
        let cursor = recorder.records[place].0.header.cursor().to_string();
        let mut twice = records.clone();
        twice.insert(place, records[place].clone());
        let report = verify(&sealed(&key, &twice, &recorder.selection(), Vec::new()), Some(&trust()));
        assert_eq!(found(&report, "sequence"), [("duplicate", cursor.clone())], "{}", report.text());
        let mut swapped = records.clone();
        swapped.swap(place, place + 1);
        let report = verify(&sealed(&key, &swapped, &recorder.selection(), Vec::new()), Some(&trust()));
        assert!(found(&report, "sequence").contains(&("order", cursor)), "{}", report.text());
        assert_eq!(report.outcome(), Outcome::Invalid);
    }
}

#[test]
fn records_of_another_gateway_have_no_place() {
    let (recorder, other) = (day_of(3), day_of(4));
    let key = recorder.key.verifying_key();
    for place in 0..recorder.records.len() {
        let mut spliced = recorder.bytes();
        spliced[place].clone_from(&other.records[place].1);
        let report = verify(&resealed(&key, &spliced, &recorder.selection()), Some(&trust()));
        let cursor = recorder.records[place].0.header.cursor().to_string();
        assert_eq!(found(&report, "identity"), [("other_gateway", cursor.clone())], "{}", report.text());
        assert_eq!(found(&report, "signatures"), [("foreign", cursor)]);
        assert_eq!(report.outcome(), Outcome::Invalid);
    }
}

/// A bundle with records that [`bundle`] itself would refuse: made with good ones, which are then exchanged.
fn resealed(key: &VerifyingKey, records: &[Vec<u8>], selection: &Selection) -> Vec<u8> {
    let good = day_of(3);
    let bytes = sealed(key, &good.bytes(), &good.selection(), Vec::new());
    rewrite(&bytes, selection, "records", &gateway_wire::pack(records))
}

/// Takes the archive apart with nothing of the crate, exchanges a file (or adds it) and signs a new manifest.
fn rewrite(bytes: &[u8], selection: &Selection, exchanged: &str, by: &[u8]) -> Vec<u8> {
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    let mut at = 0;
    while bytes[at] != 0 {
        let name = std::str::from_utf8(&bytes[at..at + 100]).unwrap().trim_end_matches('\0').to_owned();
        let size =
            usize::from_str_radix(std::str::from_utf8(&bytes[at + 124..at + 135]).unwrap(), 8).unwrap();
        let content = if name == exchanged { by } else { &bytes[at + 512..at + 512 + size] };
        files.push((name, content.to_vec()));
        at += 512 + size.next_multiple_of(512);
    }
    let mut manifest = gateway_wire::Manifest::read(&files[0].1).unwrap();
    manifest.spans.clone_from(&selection.spans);
    if files.iter().all(|(name, _)| name != exchanged) {
        files.push((exchanged.to_owned(), by.to_vec()));
        manifest.files.push(FileRef { name: exchanged.to_owned(), size: 0, sha256: [0; 32] });
    }
    for (listed, (_, content)) in manifest.files.iter_mut().zip(&files[1..]) {
        (listed.size, listed.sha256) = (content.len() as u64, hash(content));
    }
    files[0].1 = manifest.seal(&center());
    let mut out = Vec::new();
    for (name, content) in &files {
        let mut header = vec![0; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        for (at, text) in [
            (100, "0000644"),
            (108, "0000000"),
            (116, "0000000"),
            (124, &format!("{:011o}", content.len())),
            (136, "00000000000"),
            (148, "        "),
            (156, "0"),
            (257, "ustar"),
            (263, "00"),
        ] {
            header[at..at + text.len()].copy_from_slice(text.as_bytes());
        }
        let sum: u32 = header.iter().map(|byte: &u8| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.extend(header);
        out.extend(content);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

#[test]
fn a_record_resealed_with_a_newer_key_is_told_so() {
    let recorder = day_of(3);
    let newer = SigningKey::from_bytes(&[5; 32]);
    let key = recorder.key.verifying_key();
    let policy = TrustPolicy {
        gateways: vec![
            GatewayTrust { key, from: at(1, 0), to: Some(at(2, 100)) },
            GatewayTrust { key: newer.verifying_key(), from: at(3, 0), to: None },
        ],
        ..trust()
    };
    for place in 0..recorder.records.len() {
        let mut records = recorder.bytes();
        let (record, _) = &recorder.records[place];
        for claimed in [record.header.gateway, newer.gateway_id()] {
            records[place] = seal(&newer, &Header { gateway: claimed, ..record.header }, &record.body);
            let report = verify(&resealed(&key, &records, &recorder.selection()), Some(&policy));
            let cursor = record.header.cursor().to_string();
            assert_eq!(found(&report, "signatures"), [("foreign", cursor)], "{}", report.text());
            let text = &line(&report, "signatures").findings[0].text;
            assert!(text.contains("which is trusted, but is not this gateway's"), "{text}");
            assert_eq!(report.outcome(), Outcome::Invalid);
        }
    }
}

#[test]
fn a_record_outside_its_keys_period_is_told_so() {
    let (recorder, bytes) = right();
    let key = recorder.key.verifying_key();
    let policy =
        TrustPolicy { gateways: vec![GatewayTrust { key, from: at(1, 0), to: Some(at(2, 4)) }], ..trust() };
    let report = verify(&bytes, Some(&policy));
    let beyond: Vec<_> =
        recorder.records.iter().map(|(record, _)| record.header.cursor()).filter(|c| *c > at(2, 4)).collect();
    let expected: Vec<_> = beyond.iter().map(|cursor| ("key_period", cursor.to_string())).collect();
    assert!(!expected.is_empty());
    assert_eq!(found(&report, "identity"), expected);
    assert_eq!(report.outcome(), Outcome::Invalid);
}

#[test]
fn unsigned_records_are_told_so() {
    let recorder = day_of(3);
    let key = recorder.key.verifying_key();
    let mut records = recorder.bytes();
    for record in &mut records {
        record.truncate(record.len() - 66);
        record.push(0x40);
    }
    let report = verify(&resealed(&key, &records, &recorder.selection()), Some(&trust()));
    assert_eq!(line(&report, "signatures").facts["unsigned"], records.len(), "{}", report.text());
    assert!(found(&report, "signatures").iter().all(|(code, _)| *code == "unsigned"));
    assert_eq!(report.outcome(), Outcome::Invalid);
    // No record at all is no better.
    let report = verify(&resealed(&key, &[], &recorder.selection()), Some(&trust()));
    assert!(found(&report, "signatures").contains(&("empty", String::new())));
    assert_eq!(report.outcome(), Outcome::Invalid);
}

#[test]
fn two_records_of_one_number_are_an_equivocation() {
    let recorder = day_of(3);
    let key = recorder.key.verifying_key();
    let mut records = recorder.bytes();
    let (record, _) = &recorder.records[3];
    let mut other = record.clone();
    other.header.t1 = other.header.t1.plus(1);
    records.insert(4, seal(&recorder.key, &other.header, &other.body));
    let report = verify(&sealed(&key, &records, &recorder.selection(), Vec::new()), Some(&trust()));
    assert_eq!(found(&report, "sequence"), [("equivocation", record.header.cursor().to_string())]);
    // In the place of the other, only the chain can tell.
    records.remove(3);
    let report = verify(&sealed(&key, &records, &recorder.selection(), Vec::new()), Some(&trust()));
    assert_eq!(found(&report, "chain"), [("broken", recorder.records[4].0.header.cursor().to_string())]);
    assert_eq!(report.outcome(), Outcome::Invalid);
}

#[test]
fn erased_records_are_told_and_the_chain_still_closes() {
    let recorder = day_of(3);
    let key = recorder.key.verifying_key();
    let mut records = recorder.bytes();
    let (record, bytes) = &recorder.records[3];
    let stub = Erased {
        epoch: record.header.epoch,
        seq: record.header.seq,
        hash: hash(bytes),
        reason: "retention".into(),
    };
    records.remove(3);
    let report = verify(&sealed(&key, &records, &recorder.selection(), vec![stub.clone()]), Some(&trust()));
    assert_eq!(found(&report, "sequence"), [("erased", "1/3".to_owned())], "{}", report.text());
    assert_eq!(line(&report, "chain").status, Status::Ok);
    assert_eq!(report.outcome(), Outcome::Incomplete);
    // Another hash is another record.
    let forged = Erased { hash: [1; 32], ..stub };
    let report = verify(&sealed(&key, &records, &recorder.selection(), vec![forged]), Some(&trust()));
    assert_eq!(found(&report, "chain"), [("broken", "1/4".to_owned())]);
    assert_eq!(report.outcome(), Outcome::Invalid);
}

#[test]
fn whom_nobody_vouches_for_is_not_believed() {
    let (recorder, bytes) = right();
    let report = verify(&bytes, None);
    assert_eq!(
        (report.outcome(), found(&report, "identity")),
        (Outcome::Incomplete, vec![("no_policy", String::new())])
    );
    let stranger = TrustPolicy { centers: vec![[7; 32]], ..TrustPolicy::default() };
    let report = verify(&bytes, Some(&stranger));
    assert_eq!(found(&report, "identity")[0].0, "unknown_key");
    assert_eq!(report.outcome(), Outcome::Invalid);
    // The gateway's key alone does not vouch for a bundle that somebody else made.
    let key = recorder.key.verifying_key();
    let gateways = vec![GatewayTrust { key, from: at(0, 0), to: None }];
    let report = verify(&bytes, Some(&TrustPolicy { gateways, ..TrustPolicy::default() }));
    assert_eq!(found(&report, "identity"), [("maker", "manifest".to_owned())]);
}

#[test]
fn a_conclusion_that_does_not_follow_is_shown_with_its_inputs() {
    let recorder = day_of(3);
    let key = recorder.key.verifying_key();
    // The gateway itself lies: signed, chained, and wrong.
    let place =
        recorder.records.iter().position(|(record, _)| matches!(record.body, Body::Conclusions(_))).unwrap();
    let mut records: Vec<Vec<u8>> = recorder.bytes()[..place].to_vec();
    let (mut lie, _) = recorder.records[place].clone();
    let Body::Conclusions(conclusions) = &mut lie.body else { panic!("no conclusions") };
    conclusions.list[0].at = conclusions.list[0].at.plus(500);
    lie.header.prev = hash(records.last().unwrap());
    records.push(seal(&recorder.key, &lie.header, &lie.body));
    let selection = select(&entries(&records), (EngineTime(i64::MIN), EngineTime(i64::MAX)));
    let report = verify(&sealed(&key, &records, &selection, Vec::new()), Some(&trust()));
    assert_eq!(
        found(&report, "recomputation"),
        [("other", lie.header.cursor().to_string())],
        "{}",
        report.text()
    );
    let text = &line(&report, "recomputation").findings[0].text;
    assert_eq!(text.matches("input Reading").count(), 3, "{text}");
    let red: Vec<_> =
        report.lines.iter().filter(|line| line.status == Status::Failed).map(|line| line.name).collect();
    assert_eq!(red, ["recomputation"], "{}", report.text());
}

/// A center that may sign anything still cannot make a verifier stumble.
#[test]
fn files_that_cannot_be_read_are_told_on_their_line() {
    let (recorder, bytes) = right();
    let selection = recorder.selection();
    let list = [0x9f, 0xff];
    let deep = [0x81; 4096];
    let long = [0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    for content in [&b""[..], b"\xff", &list, &deep, &long, b"[[device]]", "\u{202e}".as_bytes()] {
        for (name, lines) in [
            ("erased", &["sequence"][..]),
            ("received", &["time"]),
            ("case", &["case"]),
            ("devices.toml", &["context"]),
            ("gateway.key", &["identity"]),
            ("enrolment", &["identity"]),
            ("packs/other.toml", &["context"]),
        ] {
            let report = verify(&rewrite(&bytes, &selection, name, content), Some(&trust()));
            assert_ne!(report.outcome(), Outcome::Valid, "{name}: {content:x?}");
            assert_eq!(line(&report, "container").status, Status::Ok, "{}", report.text());
            // Empty and strange texts are TOML, too; then the devices are what is missing.
            let wanted = if name == "devices.toml" { Status::Incomplete } else { Status::Failed };
            assert!(line(&report, lines[0]).status >= wanted, "{name}: {content:x?}\n{}", report.text());
        }
    }
}

#[test]
fn a_window_begins_at_the_checkpoint_before_it() {
    let recorder = day_of(3);
    let records = recorder.bytes();
    let second = recorder.records.iter().position(|(record, _)| record.header.epoch == Epoch(2)).unwrap();
    let from = recorder.records[second].0.header.t0.plus(1_000);
    let selection = select(&entries(&records), (from, EngineTime(i64::MAX)));
    assert_eq!(selection.places.first(), Some(&second), "the state was taken over at the start");
    let chosen: Vec<Vec<u8>> = selection.places.iter().map(|place| records[*place].clone()).collect();
    let report =
        verify(&sealed(&recorder.key.verifying_key(), &chosen, &selection, Vec::new()), Some(&trust()));
    assert_eq!(report.outcome(), Outcome::Valid, "{}", report.text());

    // In the middle of an epoch, its start and config come along, and the numbers between are not claimed.
    let mut long = day_of(3);
    long.readings(&[50]);
    long.checkpoint();
    long.readings(&[51, 90, 90, 90]);
    let records = long.bytes();
    let last = long.records.last().unwrap().0.header;
    let selection = select(&entries(&records), (last.t1.plus(-2_000), EngineTime(i64::MAX)));
    assert_eq!(selection.spans.len(), 2, "{:?}", selection.spans);
    assert_eq!(selection.spans[0], (Epoch(2), Seq(0), Seq(1)));
    let chosen: Vec<Vec<u8>> = selection.places.iter().map(|place| records[*place].clone()).collect();
    let report = verify(&sealed(&long.key.verifying_key(), &chosen, &selection, Vec::new()), Some(&trust()));
    assert_eq!(report.outcome(), Outcome::Valid, "{}", report.text());
    assert!(line(&report, "recomputation").facts["conclusions"].as_u64().unwrap() > 0);
}

#[test]
fn the_cover_speaks_both_languages_and_the_report_needs_no_program() {
    let (recorder, bytes) = right();
    let text = String::from_utf8_lossy(&bytes);
    for words in ["监测证据包", "Evidence bundle", "91330106MA27XYZ123", "<svg ", "报告异常"] {
        assert!(text.contains(words), "{words}");
    }
    for forbidden in ["<script", "http-equiv", "src=", "href=", "@import"] {
        assert!(!text.contains(forbidden), "{forbidden}");
    }
    let key = recorder.key.verifying_key();
    assert!(recorder.records.iter().all(|(_, bytes)| open(&key, bytes).is_ok()));
}
