//! Evidence, twice: what `gateway verify` says of a bundle, a program that shares no code with it says too.

use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::Place;
use e2e::ground::{program, root, target};
use e2e::process::run;
use e2e::records::key;
use gateway_evidence::{Contents, Entry, select};
use gateway_model::{EngineTime, Input};
use gateway_wire::{
    Body, Header, Maker, Manifest, Opened, SigningKey, hash, hex, open, pack, peek, seal, unpack,
};
use serde_json::{Value, json};

use crate::sites::demo_clinic;

const HOUR_MS: i64 = 3_600_000;
/// Bytes of the golden bundle between two that are flipped: both programs are started for each.
const EVERY: usize = 997;

/// What a verifier says: its exit status and its JSON.
pub(crate) struct Said {
    status: Option<i32>,
    pub(crate) json: Value,
}

impl Said {
    fn of(program: &Path, args: &[&Path]) -> Self {
        let output = Command::new(program).args(args).arg("--json").output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        let json = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{}: {error}; it said:\n{errors}", program.display()));
        Self { status: output.status.code(), json }
    }

    fn first(bundle: &Path, policy: &Path) -> Self {
        Self::of(&program("gateway"), &[Path::new("verify"), bundle, Path::new("--policy"), policy])
    }

    fn second(bundle: &Path, policy: &Path) -> Self {
        let python = target().join("venv/bin/python");
        assert!(python.exists(), "{} is not there: run `cargo xtask ci --only venv`", python.display());
        Self::of(&python, &[&root().join("tests/verifier/verify.py"), bundle, Path::new("--policy"), policy])
    }

    pub(crate) fn line(&self, name: &str) -> &Value {
        let lines = self.json["lines"].as_array().unwrap();
        lines
            .iter()
            .find(|line| line["line"] == name)
            .unwrap_or_else(|| panic!("no line {name}: {}", self.json))
    }

    fn verdict(&self) -> &str {
        let verdict = self.json["verdict"].as_str().unwrap();
        let status = ["valid", "invalid", "", "incomplete"].iter().position(|word| *word == verdict).unwrap();
        assert_eq!(self.status, Some(i32::try_from(status).unwrap()), "exit status of {verdict}");
        verdict
    }
}

/// Both say the same, field by field. Of the conclusions the second computes some only: what it computes is the same.
pub(crate) fn agree(bundle: &Path, policy: &Path) -> (Said, Said) {
    let (first, second) = (Said::first(bundle, policy), Said::second(bundle, policy));
    for line in first.json["lines"].as_array().unwrap() {
        let name = line["line"].as_str().unwrap();
        let other = second.line(name);
        if name == "recomputation" {
            assert_eq!(line["facts"]["rules"], other["facts"]["rules"], "{}", bundle.display());
            assert_eq!(line["status"] == "failed", other["status"] == "failed", "{line:#}\n{other:#}");
        } else {
            assert_eq!(line, other, "{}", bundle.display());
        }
    }
    assert_eq!(first.json["format"], second.json["format"]);
    assert_eq!(first.json["lines"].as_array().unwrap().len(), second.json["lines"].as_array().unwrap().len());
    (first, second)
}

pub(crate) fn golden() -> (PathBuf, PathBuf) {
    let folder = root().join("gateway/evidence/golden/bundles");
    (folder.join(format!("semantics-{}.tar", gateway_model::SEMANTICS)), folder.join("trust.toml"))
}

#[test]
fn both_verifiers_find_the_golden_bundles_valid() {
    let (bundle, policy) = golden();
    let (first, second) = agree(&bundle, &policy);
    assert_eq!((first.verdict(), second.verdict()), ("valid", "valid"), "{:#}", second.json);
    // Everything that limits and absences can meet, and what conditions see through windows; the second computes all of it.
    for (name, least) in [("mixed", 1_000), ("windows", 800)] {
        let bundle = bundle.with_file_name(format!("semantics-{}-{name}.tar", gateway_model::SEMANTICS));
        let (first, second) = agree(&bundle, &policy);
        assert_eq!((first.verdict(), second.verdict()), ("valid", "valid"), "{:#}", second.json);
        let conclusions = |said: &Said| said.line("recomputation")["facts"]["conclusions"].as_u64().unwrap();
        assert!(conclusions(&second) > least, "{name}: {}", conclusions(&second));
    }
    let schema: Value =
        serde_json::from_slice(&std::fs::read(root().join("docs/verify.schema.json")).unwrap()).unwrap();
    for said in [&first.json, &second.json] {
        matches_schema(said, &schema, &schema);
    }
}

/// What `peers/golden.py` says of a record, by the gateway's own code.
fn inside(body: &Body) -> Value {
    let at = |at: EngineTime| at.0;
    match body {
        Body::Inputs(inputs) => {
            let items = inputs.items.iter().map(|input| match input {
                Input::Reading(reading) => json!(["reading", at(reading.at), null]),
                Input::Advance(now) => json!(["advance", at(*now), null]),
                Input::Heartbeat(now) => json!(["heartbeat", at(*now), null]),
                Input::Clock(clock) => json!(["clock", at(clock.at), null]),
                Input::Start(start) => json!(["start", at(start.at), null]),
                Input::Stop { at: now, .. } => json!(["stop", at(*now), null]),
                Input::Command(command) => {
                    json!(["command", at(command.at), number(&minicbor::to_vec(&command.body).unwrap())])
                }
                Input::Fact(fact) => {
                    json!(["fact", at(fact.at), number(&minicbor::to_vec(&fact.body).unwrap())])
                }
            });
            json!(["inputs", items.collect::<Vec<_>>()])
        }
        Body::Conclusions(conclusions) => {
            let list = conclusions.list.iter();
            let list = list.map(|one| json!([number(&minicbor::to_vec(&one.body).unwrap()), at(one.at)]));
            json!(["conclusions", list.collect::<Vec<_>>()])
        }
        Body::Start(_) => json!(["start", []]),
        Body::Config(_) => json!(["config", []]),
        Body::Checkpoint(_) => json!(["checkpoint", []]),
        Body::Gap(_) => json!(["gap", []]),
        Body::Parted(_) => json!(["head", []]),
        Body::Part(_) => json!(["part", []]),
    }
}

/// The number of an enumeration: `[number, [fields]]`.
fn number(bytes: &[u8]) -> u64 {
    let mut decoder = minicbor::Decoder::new(bytes);
    decoder.array().unwrap();
    decoder.u64().unwrap()
}

#[test]
fn the_second_verifier_reads_every_golden_record() {
    let folder = root().join("gateway/wire/golden");
    let gateway = SigningKey::from_bytes(&[7; 32]).verifying_key();
    let mut expected = serde_json::Map::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        // Orders, receipts and what else is not a record is for the two ends only.
        if path.extension().is_some_and(|extension| extension == "cbor") && peek(&bytes).is_ok() {
            let body = open(&gateway, &bytes).unwrap().body.unwrap();
            expected.insert(path.to_str().unwrap().to_owned(), inside(&body));
        }
    }
    assert!(expected.len() >= 32, "{}", expected.len());
    let output = Command::new(target().join("venv/bin/python"))
        .args([root().join("tests/e2e/peers/golden.py"), root().join("tests/verifier")])
        .args(expected.keys())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(read, Value::from(expected));
}

/// As much of JSON Schema as the schema of the report uses.
fn matches_schema(value: &Value, schema: &Value, whole: &Value) {
    if let Some(place) = schema["$ref"].as_str() {
        let schema = whole.pointer(place.trim_start_matches('#')).unwrap();
        return matches_schema(value, schema, whole);
    }
    if let Some(allowed) = schema["enum"].as_array() {
        assert!(allowed.contains(value), "{value} is none of {allowed:?}");
    }
    let is = |name: &str| match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("type {other} of the schema is not known to this test"),
    };
    match &schema["type"] {
        Value::String(name) => assert!(is(name), "{value} is no {name}"),
        Value::Array(names) => {
            assert!(names.iter().any(|name| is(name.as_str().unwrap())), "{value} is none of {names:?}");
        }
        none @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) => {
            assert!(none.is_null() && schema["enum"].is_array(), "a schema without a type: {schema}");
        }
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        assert!(value.get(name.as_str().unwrap()).is_some(), "{name} is missing in {value}");
    }
    if let (Some(properties), Some(fields)) = (schema["properties"].as_object(), value.as_object()) {
        for (name, field) in fields {
            let known = properties.get(name);
            assert!(
                known.is_some() || schema["additionalProperties"] != false,
                "{name} is not in the schema"
            );
            if let Some(schema) = known {
                matches_schema(field, schema, whole);
            }
        }
    }
    if let (false, Some(items)) = (schema["items"].is_null(), value.as_array()) {
        for item in items {
            matches_schema(item, &schema["items"], whole);
        }
    }
}

#[test]
fn both_verifiers_say_the_same_of_bundles_that_are_wrong() {
    let (bundle, policy) = golden();
    let bytes = std::fs::read(&bundle).unwrap();
    let place = Place::new("wrong-bundles");
    let file = place.path().join("bundle.tar");
    for at in (0..bytes.len()).step_by(EVERY) {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        std::fs::write(&file, &changed).unwrap();
        let (first, second) = agree(&file, &policy);
        assert_eq!((first.verdict(), second.verdict()), ("invalid", "invalid"), "byte {at}");
    }
    for end in [0, 1, 512, 5_000, bytes.len() - 512] {
        std::fs::write(&file, &bytes[..end]).unwrap();
        let (first, second) = agree(&file, &policy);
        assert_eq!((first.verdict(), second.verdict()), ("invalid", "invalid"), "cut at {end}");
    }
    // Whom nobody vouches for.
    let nobody = place.write("nobody.toml", "accept_simulated = true\n");
    let (first, second) = agree(&bundle, &nobody);
    assert_eq!((first.verdict(), second.verdict()), ("invalid", "invalid"));
    // A policy that says nothing clear.
    let unclear = place.write("unclear.toml", "[[center]]\nkey_sha256 = \"12\"\n");
    let args = [bundle.as_path(), Path::new("--policy"), &unclear];
    let first = Command::new(program("gateway")).arg("verify").args(args).output().unwrap();
    let second = Command::new(target().join("venv/bin/python"))
        .arg(root().join("tests/verifier/verify.py"))
        .args(args)
        .output()
        .unwrap();
    assert_eq!((first.status.code(), second.status.code()), (Some(78), Some(78)));
}

/// A gateway that lies: a conclusion moved by half a second, signed and chained as if it were right.
#[test]
fn both_verifiers_find_a_conclusion_that_does_not_follow() {
    let (bundle, _) = golden();
    let bytes = std::fs::read(&bundle).unwrap();
    let key = SigningKey::from_bytes(&[3; 32]);
    let mut records: Vec<Vec<u8>> =
        unpack(file(&bytes, "records"), 1_000).unwrap().iter().map(|r| r.to_vec()).collect();
    let opened = |bytes: &[u8]| open(&key.verifying_key(), bytes).unwrap();
    let place =
        records.iter().position(|bytes| matches!(opened(bytes).body, Ok(Body::Conclusions(_)))).unwrap();
    records.truncate(place + 1);
    let lie = opened(&records[place]);
    let Ok(Body::Conclusions(mut conclusions)) = lie.body else { panic!("no conclusions") };
    conclusions.list[0].at = conclusions.list[0].at.plus(500);
    records[place] = seal(&key, &lie.header, &Body::Conclusions(conclusions));
    let entry = |bytes: &Vec<u8>| {
        let (header, kind) = peek(bytes).unwrap();
        Entry { cursor: header.cursor(), kind, t0: header.t0, t1: header.t1 }
    };
    let entries: Vec<Entry> = records.iter().map(entry).collect();
    let selection = select(&entries, (EngineTime(i64::MIN), EngineTime(i64::MAX)));
    let devices = std::str::from_utf8(file(&bytes, "devices.toml")).unwrap();
    let made = gateway_evidence::bundle(
        &Contents {
            ring: key.verifying_key().into(),
            history: None,
            records: records.iter().map(Vec::as_slice).collect(),
            spans: selection.spans,
            window: selection.window,
            packs: Vec::new(),
            enrolment: None,
            attachments: Vec::new(),
            erased_attachments: Vec::new(),
            device_records: Vec::new(),
            devices: Some(devices),
            received: Vec::new(),
            erased: Vec::new(),
            case: None,
            maker: Maker::Gateway,
            made_at: None,
            software: "liar",
        },
        &key,
    )
    .unwrap();
    let place_of = Place::new("liar");
    let liar = place_of.path().join("liar.tar");
    std::fs::write(&liar, made.bytes).unwrap();
    let public = hex(&key.verifying_key().to_bytes());
    let policy = place_of.write("trust.toml", &format!("[[gateway]]\nkey = \"{public}\"\n"));
    let (first, second) = agree(&liar, &policy);
    assert_eq!((first.verdict(), second.verdict()), ("invalid", "invalid"));
    for said in [&first, &second] {
        let finding = &said.line("recomputation")["findings"][0];
        let at = lie.header.cursor().to_string();
        assert_eq!((&finding["code"], &finding["at"]), (&"other".into(), &at.into()), "{:#}", said.json);
    }
}

/// A file of a tar archive.
pub(crate) fn file<'b>(archive: &'b [u8], wanted: &str) -> &'b [u8] {
    let mut at = 0;
    loop {
        let name = archive[at..at + 100].split(|byte| *byte == 0).next().unwrap();
        let size =
            usize::from_str_radix(std::str::from_utf8(&archive[at + 124..at + 135]).unwrap(), 8).unwrap();
        if name == wanted.as_bytes() {
            return &archive[at + 512..at + 512 + size];
        }
        assert!(!name.is_empty(), "no file {wanted}");
        at += 512 + size.next_multiple_of(512);
    }
}

/// A day at the clinic, exported by the gateway: sterilizer cycles, a fridge, a lamp, visits, and what the scenario breaks.
#[tokio::test]
async fn a_day_of_the_demo_is_exported_and_verified_twice() {
    let place = Place::new("evidence");
    let (clinic, from) = demo_clinic(&place).await;

    let public = hex(&key(clinic.data()).verifying_key().to_bytes());
    let policy =
        place.write("trust.toml", &format!("accept_simulated = true\n[[gateway]]\nkey = \"{public}\"\n"));
    let bundle = place.path().join("day.tar");
    let export = |more: &[&str], expected: i32| {
        let finished = Command::new(program("gateway"))
            .args(["journal", "export"])
            .arg(clinic.data())
            .arg("-o")
            .arg(&bundle)
            .args(more)
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&finished.stderr).into_owned();
        assert_eq!(finished.status.code(), Some(expected), "{errors}");
        errors
    };

    // Without placement and calibration the answer is that something is missing, not that it is good.
    let errors = export(&[], 3);
    assert!(errors.contains("--devices"), "{errors}");
    let (first, second) = agree(&bundle, &policy);
    assert_eq!((first.verdict(), second.verdict()), ("incomplete", "incomplete"), "{:#}", first.json);
    assert_eq!(first.line("context")["findings"][0]["code"], "no_placement");

    let devices: Vec<&str> = first.line("context")["facts"]["devices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|device| device["device"].as_str().unwrap())
        .collect();
    let entry = |id: &&str| {
        format!(
            "[[device]]\nid = \"{id}\"\nplacement = \"R-1\"\ncertificate = \"C-{id}\"\nvalid_from = \"2020-01-01\"\n\
             valid_until = \"2099-12-31\"\n"
        )
    };
    let facts = place.write("devices.toml", &devices.iter().map(entry).collect::<String>());
    export(&["--devices", &facts.to_string_lossy()], 0);
    let (first, second) = agree(&bundle, &policy);
    assert_eq!(first.verdict(), "valid", "{:#}", first.json);
    // Cycles are not computed by the second; limits and absences are, and nothing is wrong with them.
    let second = second.line("recomputation");
    let codes: Vec<_> =
        second["findings"].as_array().unwrap().iter().map(|finding| &finding["code"]).collect();
    assert!(!codes.is_empty() && codes.iter().all(|code| *code == "not_here"), "{second:#}");
    assert!(second["facts"]["conclusions"].as_u64().unwrap() >= 4, "{second:#}");
    let conclusions = first.line("recomputation")["facts"]["conclusions"].as_u64().unwrap();
    assert!(conclusions >= 20, "a day without events shows nothing: {conclusions}");

    // People see the same in words.
    let words =
        run(&program("gateway"), [Path::new("verify"), &bundle, Path::new("--policy"), &policy]).good();
    for line in [
        "Identity",
        "Signatures",
        "Sequence",
        "Chain",
        "Liveness",
        "Time",
        "Coverage",
        "Context",
        "Recomputation",
        "Log",
        "Case",
        "Anchor",
        "Limits",
    ] {
        assert!(words.lines().any(|text| text.starts_with(line)), "{line}: {words}");
    }
    assert!(words.trim_end().ends_with("VALID"), "{words}");

    // A part of it begins at the checkpoint before it and is complete in itself.
    let noon = from + 36 * HOUR_MS;
    let window = [noon.to_string(), (noon + 2 * HOUR_MS).to_string()];
    export(&["--devices", &facts.to_string_lossy(), "--from", &window[0], "--to", &window[1]], 0);
    let (first, _) = agree(&bundle, &policy);
    assert_eq!(first.verdict(), "valid", "{:#}", first.json);
}

/// A bundle of other records than the golden one's, as a center would sign it: manifest and hashes fit what is there.
fn with_records(bundle: &[u8], records: &[Vec<u8>]) -> Vec<u8> {
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    let mut at = 0;
    while bundle[at] != 0 {
        let name = std::str::from_utf8(&bundle[at..at + 100]).unwrap().trim_end_matches('\0').to_owned();
        let content = if name == "records" { pack(records) } else { file(bundle, &name).to_vec() };
        at += 512 + file(bundle, &name).len().next_multiple_of(512);
        files.push((name, content));
    }
    let mut manifest = Manifest::read(&files[0].1).unwrap();
    for (listed, (_, content)) in manifest.files.iter_mut().zip(&files[1..]) {
        (listed.size, listed.sha256) = (content.len() as u64, hash(content));
    }
    files[0].1 = manifest.seal(&SigningKey::from_bytes(&[9; 32]));
    let mut out = Vec::new();
    for (name, content) in &files {
        let mut header = file_header(bundle, name).to_vec();
        header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.extend(header);
        out.extend(content);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

/// The header before a file of a tar archive.
fn file_header<'b>(archive: &'b [u8], name: &str) -> &'b [u8] {
    let content = file(archive, name).as_ptr() as usize - archive.as_ptr() as usize;
    &archive[content - 512..content]
}

#[test]
fn both_verifiers_call_every_way_of_tampering_by_its_name() {
    let (bundle, policy) = golden();
    let bytes = std::fs::read(&bundle).unwrap();
    let (own, newer) = (SigningKey::from_bytes(&[3; 32]), SigningKey::from_bytes(&[5; 32]));
    let records: Vec<Vec<u8>> =
        unpack(file(&bytes, "records"), 1_000).unwrap().iter().map(|r| r.to_vec()).collect();
    let cursor = |at: usize| peek(&records[at]).unwrap().0.cursor().to_string();
    let opened = |at: usize| open(&own.verifying_key(), &records[at]).unwrap();
    let changed = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut records = records.clone();
        change(&mut records);
        records
    };
    let last = records.len() - 1;
    let middle = last / 2;
    // The first record of the second epoch: what stands before it is the old one.
    let second = (0..=last).find(|at| peek(&records[*at]).unwrap().0.epoch.0 == 2).expect("two epochs");
    let resealed = |key: &SigningKey, gateway| {
        let Opened { header, body } = opened(middle);
        seal(key, &Header { gateway, ..header }, &body.unwrap())
    };
    let stranger = SigningKey::from_bytes(&[4; 32]);
    let unsigned = |record: &mut Vec<u8>| {
        record.truncate(record.len() - 66);
        record.push(0x40);
    };
    let other_words = {
        let Opened { header, body } = opened(last);
        let t1 = header.t1.plus(1);
        seal(&own, &Header { t1, ..header }, &body.unwrap())
    };
    let place = Place::new("tampered");
    let tampered = place.path().join("tampered.tar");
    let check = |what: &str, records: Vec<Vec<u8>>, line: &str, code: &str, at: Option<String>| {
        std::fs::write(&tampered, with_records(&bytes, &records)).unwrap();
        let (first, second) = agree(&tampered, &policy);
        assert_eq!((first.verdict(), second.verdict()), ("invalid", "invalid"), "{what}");
        for said in [&first, &second] {
            let findings = said.line(line)["findings"].as_array().unwrap();
            let named = findings.iter().any(|finding| {
                finding["code"] == code && at.as_ref().is_none_or(|at| finding["at"] == at.as_str())
            });
            assert!(named, "{what}: {line} does not say {code} at {at:?}: {:#}", said.line(line));
        }
    };
    // The control: the same way of writing, nothing changed.
    std::fs::write(&tampered, with_records(&bytes, &records)).unwrap();
    let (first, again) = agree(&tampered, &policy);
    assert_eq!((first.verdict(), again.verdict()), ("valid", "valid"), "{:#}", first.json);

    let dropped = changed(&|records| _ = records.remove(middle));
    check("one dropped", dropped, "sequence", "missing", Some(cursor(middle)));
    check("the last dropped", records[..last].to_vec(), "sequence", "truncated", None);
    for end in 1..=last {
        check("cut off", records[..end].to_vec(), "sequence", "truncated", None);
    }
    let swapped = changed(&|records| records.swap(middle, middle + 1));
    check("swapped", swapped, "sequence", "order", Some(cursor(middle)));
    let doubled = changed(&|records| records.insert(middle, records[middle].clone()));
    check("doubled", doubled, "sequence", "duplicate", Some(cursor(middle)));
    let spliced = changed(&|records| records[middle] = resealed(&stranger, stranger.gateway_id()));
    check("of another gateway", spliced.clone(), "identity", "other_gateway", Some(cursor(middle)));
    check("of another gateway", spliced, "signatures", "foreign", Some(cursor(middle)));
    let newer_key = changed(&|records| records[middle] = resealed(&newer, own.gateway_id()));
    check("resealed with a newer key", newer_key, "signatures", "foreign", Some(cursor(middle)));
    let replayed = changed(&|records| records.extend(records[..second].to_vec()));
    check("an old epoch told again", replayed, "sequence", "order", None);
    let bare = changed(&|records| records.iter_mut().for_each(unsigned));
    check("all signatures removed", bare, "signatures", "unsigned", Some(cursor(0)));
    let one_bare = changed(&|records| unsigned(&mut records[middle]));
    check("one signature removed", one_bare, "signatures", "unsigned", Some(cursor(middle)));
    let twice_said = changed(&|records| records.push(other_words.clone()));
    check("two of one number", twice_said, "sequence", "equivocation", Some(cursor(last)));
    check("nothing at all", Vec::new(), "signatures", "empty", None);
}
