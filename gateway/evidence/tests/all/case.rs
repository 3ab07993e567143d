//! Cases step by step, and the golden bundles.

use gateway_evidence::{CaseFile, CaseStep, Outcome, TrustPolicy, verify};

use crate::bundle::{day_of, found, line, sealed_with, trust};

/// A case about the first alert, from its opening to its end.
fn case() -> CaseFile {
    let step = |n: u32, actor: &str, who: Option<(&str, &str)>, code: &str| CaseStep {
        n,
        at: 1_790_000_000_000 + i64::from(n) * 1_000,
        actor: actor.to_owned(),
        person: who.map(|(person, _)| person.to_owned()),
        role: who.map(|(_, role)| role.to_owned()),
        code: code.to_owned(),
        ..CaseStep::default()
    };
    let officer = Some(("u1", "duty_officer"));
    let unit = Some(("u2", "institution"));
    let mut events = vec![
        step(1, "gateway", None, "opened"),
        step(2, "person", officer, "acknowledged"),
        step(3, "person", officer, "dispatched"),
        step(4, "person", unit, "accepted"),
        step(5, "person", unit, "submitted"),
        step(6, "center", None, "judged"),
        step(7, "person", Some(("u3", "reviewer")), "reviewed"),
    ];
    events[0].alert = Some((1, 1));
    events[2].deadline = Some(1_790_000_004_000);
    events[5].outcome = Some("pass".into());
    events[6].outcome = Some("approve".into());
    CaseFile {
        id: 12,
        institution: "91330106MA27XYZ123".into(),
        gateway: day_of(3).key.gateway_id(),
        device: "fridge".into(),
        rule: "fridge/too-warm".into(),
        priority: 1,
        events,
    }
}

fn with_case(case: CaseFile) -> Vec<u8> {
    let recorder = day_of(3);
    let (key, selection) = (recorder.key.verifying_key(), recorder.selection());
    sealed_with(&key, &recorder.bytes(), &selection, Vec::new(), Some(case))
}

#[test]
fn a_case_is_checked_step_by_step() {
    let report = verify(&with_case(case()), Some(&trust()));
    assert_eq!(report.outcome(), Outcome::Valid, "{}", report.text());
    let facts = &line(&report, "case").facts;
    assert_eq!((&facts["state"], &facts["overdue"]), (&"closed".into(), &1.into()));

    let check = |expected: &[(&'static str, &str)], change: &dyn Fn(&mut CaseFile)| {
        let mut changed = case();
        change(&mut changed);
        let report = verify(&with_case(changed), Some(&trust()));
        let expected: Vec<_> = expected.iter().map(|(code, at)| (*code, (*at).to_owned())).collect();
        assert_eq!(found(&report, "case"), expected, "{}", report.text());
        assert_ne!(report.outcome(), Outcome::Valid);
    };
    // Nobody accepts what was never dispatched.
    let gone = [("number", "4"), ("transition", "4"), ("number", "5"), ("number", "6"), ("number", "7")];
    check(&gone, &|case| {
        case.events.remove(2);
    });
    check(&[("role", "7")], &|case| case.events[6].role = Some("duty_officer".into()));
    check(&[("role", "6")], &|case| case.events[5].actor = "person".into());
    check(&[("four_eyes", "7")], &|case| case.events[6].person = Some("u1".into()));
    check(&[("back", "4")], &|case| case.events[3].at = 0);
    check(&[("alert", "1")], &|case| case.events[0].alert = Some((7, 1)));
    check(&[("other_rule", "1")], &|case| case.rule = "fridge/too-cold".into());
    check(&[("unknown_event", "7")], &|case| case.events[6].code = "merged".into());
    check(&[("transition", "7")], &|case| {
        case.events[5].outcome = Some("fail".into());
    });
}

#[test]
fn a_verdict_follows_from_the_records_again_or_is_found() {
    let records = day_of(3).bytes();
    let ends =
        |bytes: &Vec<u8>| gateway_wire::peek(bytes).map(|(header, _)| (header.t0.0, header.t1.0)).unwrap();
    let (first, last) = (ends(&records[0]).0, ends(&records[records.len() - 1]).1);
    let check = |outcome: &str, reason: &str, window, method, expected: &[&'static str]| {
        let mut judged = case();
        let step = &mut judged.events[5];
        (step.outcome, step.text) = (Some(outcome.into()), Some(reason.into()));
        (step.window, step.method) = (window, method);
        let report = verify(&with_case(judged), Some(&trust()));
        let codes: Vec<_> = found(&report, "recomputation").iter().map(|(code, _)| *code).collect();
        assert_eq!(codes, expected, "{}", report.text());
        line(&report, "recomputation").facts["verdicts"].clone()
    };
    let all = Some((first, last));
    assert_eq!(check("fail", "violated", all, Some(1), &[]), 1);
    assert_eq!(check("pass", "held", all, Some(1), &["verdict"]), 0);
    assert_eq!(check("fail", "silent", all, Some(1), &["verdict"]), 0);
    // It says nothing about records, or another release said it in another way.
    assert_eq!(check("pass", "held", all, None, &[]), 0);
    assert_eq!(check("pass", "held", all, Some(9), &["verdict_method"]), 0);
    assert_eq!(check("pass", "held", None, Some(1), &["verdict_unchecked"]), 0);
    // The records begin in the middle of the window, and nothing of what they hold violates.
    let before = Some((first - 1_000, first + 500));
    assert_eq!(check("pass", "held", before, Some(1), &["verdict_unchecked"]), 0);
    assert_eq!(check("insufficient", "no_history", before, Some(1), &[]), 1);
}

/// Three bundles per semantics number: every later release must find it valid, byte for byte as it is. `NONSITE_GOLDEN=write` writes
/// one that does not exist yet, and never another.
#[test]
fn bundles_of_earlier_releases_are_still_valid() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/bundles");
    let own = folder.join(format!("semantics-{}.tar", gateway_model::SEMANTICS));
    let mixed = folder.join(format!("semantics-{}-mixed.tar", gateway_model::SEMANTICS));
    let looking = folder.join(format!("semantics-{}-windows.tar", gateway_model::SEMANTICS));
    if std::env::var_os("NONSITE_GOLDEN").is_some_and(|write| write == "write") {
        let bundles = [
            (own, with_case(case())),
            (mixed, crate::mixed::bundle(1)),
            (looking, crate::mixed::looking_bundle(1)),
        ];
        for (path, bytes) in bundles {
            if !path.exists() {
                std::fs::write(path, bytes).unwrap();
            }
        }
    }
    let policy = std::fs::read_to_string(folder.join("trust.toml")).unwrap();
    let policy = TrustPolicy::parse(&policy).unwrap();
    let mut bundles = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "tar") {
            let report = verify(&std::fs::read(&path).unwrap(), Some(&policy));
            assert_eq!(report.outcome(), Outcome::Valid, "{}:\n{}", path.display(), report.text());
            bundles += 1;
        }
    }
    assert_eq!(bundles, 3 * usize::from(gateway_model::SEMANTICS), "three per semantics number");
}
