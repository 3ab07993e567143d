//! Everything that is not a record: batches, receipts, tokens, enrolment, orders.

use gateway_model::{AlertId, CivilTime, CommandBody, Epoch, GatewayId, InstitutionId, Seq, SiteId};
use gateway_wire::{
    EnrolAnswer, EnrolCode, EnrolRequest, Enrolment, EpochReceipt, Fingerprint, Header, Identity, KeyRing,
    Order, RANGES_MAX, RECORD_MAX, Receipt, RecordError, Refused, SURVEY_MAX, SigningKey, Standing,
    Succession, SuccessionCause, Survey, SurveyRequest, TOKEN_LIFE_MS, Token, TokenError, VerifyingKey, hash,
    hex, pack, pack_orders, seal, unhex, unpack, unpack_orders,
};

use crate::key;

fn center() -> SigningKey {
    SigningKey::from_bytes(&[9; 32])
}

#[test]
fn a_batch_holds_its_records_unchanged() {
    let records = [vec![1, 2, 3], vec![], vec![0xff; 70_000]];
    let bytes = pack(&records);
    assert_eq!(unpack(&bytes, 3).unwrap(), records.each_ref().map(|record| &record[..]));
    assert!(matches!(unpack(&bytes, 2), Err(RecordError::TooMany { limit: 2, .. })));
    assert!(unpack(&bytes[..bytes.len() - 1], 3).is_err());
    assert!(unpack(&[0x5f, 0x41, 0, 0xff], 3).is_err());
    assert!(unpack(&[0x01], 3).is_err());
    assert!(matches!(unpack(&pack(&[vec![0; RECORD_MAX + 1]]), 1), Err(RecordError::TooLarge { .. })));
    assert_eq!(unpack(&[], 0).unwrap(), Vec::<&[u8]>::new());
}

#[test]
fn a_receipt_comes_back_and_is_bounded() {
    let receipt = Receipt {
        server_time: CivilTime(1_790_000_000_000),
        window: 64,
        epochs: vec![
            EpochReceipt {
                epoch: Epoch(3),
                through: Some(Seq(7)),
                have: vec![(Seq(9), Seq(12)), (Seq(20), Seq(20))],
                ends: Some(vec![(Seq(7), Fingerprint([7; 32])), (Seq(20), Fingerprint([20; 32]))]),
            },
            EpochReceipt { epoch: Epoch(4), through: None, have: vec![], ends: None },
        ],
        refused: vec![Refused { epoch: Epoch(3), seq: Seq(8), code: "signature".into() }],
        wants: vec![(Epoch(3), Seq(13), Seq(19))],
    };
    let bytes = receipt.encode();
    assert_eq!(Receipt::decode(&bytes), Ok(receipt.clone()));
    for end in 0..bytes.len() {
        assert!(Receipt::decode(&bytes[..end]).is_err(), "cut at {end}");
    }
    assert!(Receipt::decode(&[&bytes[..], &[0]].concat()).is_err());
    let mut many = receipt;
    many.wants = vec![(Epoch(0), Seq(0), Seq(0)); RANGES_MAX + 1];
    assert!(matches!(Receipt::decode(&many.encode()), Err(RecordError::TooMany { .. })));
}

#[test]
fn a_comparison_comes_back_and_is_bounded() {
    let asked = SurveyRequest { from: Epoch(1), last: vec![(Epoch(1), Seq(3))], ..SurveyRequest::default() };
    let bytes = asked.encode();
    assert_eq!(SurveyRequest::decode(&bytes), Ok(asked.clone()));
    for end in 0..bytes.len() {
        assert!(SurveyRequest::decode(&bytes[..end]).is_err(), "cut at {end}");
    }
    let many = SurveyRequest { last: vec![(Epoch(1), Seq(3)); SURVEY_MAX + 1], ..asked };
    assert!(matches!(SurveyRequest::decode(&many.encode()), Err(RecordError::TooMany { .. })));
    // A full page of full epochs is the largest answer there is, and is understood.
    let full = EpochReceipt {
        epoch: Epoch(u64::MAX),
        through: Some(Seq(u64::MAX)),
        have: vec![(Seq(u64::MAX), Seq(u64::MAX)); RANGES_MAX],
        ends: Some(vec![(Seq(u64::MAX), Fingerprint([1; 32])); RANGES_MAX + 2]),
    };
    let survey = Survey { session: u64::MAX, epochs: vec![full.clone(); SURVEY_MAX], ..Survey::default() };
    assert_eq!(Survey::decode(&survey.encode()).as_ref(), Ok(&survey));
    let mut many = survey.clone();
    many.epochs.push(full);
    assert!(matches!(Survey::decode(&many.encode()), Err(RecordError::TooMany { .. })));
    let mut many = survey;
    many.epochs[0].ends = Some(vec![(Seq(1), Fingerprint([1; 32])); RANGES_MAX + 3]);
    assert!(matches!(Survey::decode(&many.encode()), Err(RecordError::TooMany { .. })));
}

#[test]
fn a_token_is_good_for_one_audience_and_a_short_time() {
    let issued = CivilTime(1_000_000_000);
    let text = Token::make(&key(), issued, "center");
    let own = key().verifying_key();
    assert_eq!(Token::claimed(&text), Ok(own.gateway_id()));
    for skew in [-TOKEN_LIFE_MS, 0, TOKEN_LIFE_MS] {
        let token = Token::check(&own, &text, CivilTime(issued.0 + skew), "center").unwrap();
        assert_eq!(token.gateway, own.gateway_id());
    }
    for skew in [-TOKEN_LIFE_MS - 1, TOKEN_LIFE_MS + 1] {
        let stale = Token::check(&own, &text, CivilTime(issued.0 + skew), "center");
        assert!(matches!(stale, Err(TokenError::Stale { .. })));
    }
    assert_eq!(Token::check(&own, &text, issued, "another"), Err(TokenError::Audience("center".into())));
    let other = center().verifying_key();
    assert!(matches!(
        Token::check(&other, &text, issued, "center"),
        Err(TokenError::Record(RecordError::KeyId { .. }))
    ));
    for at in 0..text.len() {
        let mut changed = text.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        if changed != text {
            assert!(Token::check(&own, &changed, issued, "center").is_err(), "character {at}");
        }
    }
    assert!(Token::claimed("").is_err());
    assert_eq!(Token::claimed("no base64!"), Err(TokenError::Text));
    assert!(Token::claimed(&"A".repeat(100_000)).is_err());
}

#[test]
fn one_signed_thing_is_never_taken_for_another() {
    let request = request().seal(&key());
    let kind = Enrolment::open(&key().verifying_key(), &request);
    assert!(matches!(kind, Err(RecordError::ContentType { .. })), "{kind:?}");
    let order = Order::open(&key().verifying_key(), key().gateway_id(), &request);
    assert!(matches!(order, Err(RecordError::ContentType { .. })));
}

fn request() -> EnrolRequest {
    let gateway_key = key().verifying_key().to_bytes();
    EnrolRequest {
        secret: "ABCD2345".into(),
        gateway_key,
        software: "0.1.0".into(),
        epoch: Some(Epoch(2)),
        replaces: None,
    }
}

#[test]
fn enrolment_ties_the_code_the_center_and_the_gateway_together() {
    let code = EnrolCode::new([1, 2, 3, 4, 255], &center().verifying_key());
    let text = code.to_string();
    assert_eq!(text.len(), 8 + 1 + 16);
    assert_eq!(text[9..], hex(&hash(&center().verifying_key().to_bytes()))[..16]);
    assert_eq!(EnrolCode::parse(&format!(" {} \n", text.to_lowercase())), Some(code.clone()));
    let whole = code.whole(&center().verifying_key());
    assert_eq!(whole.to_string().len(), 8 + 1 + 64);
    assert_eq!(EnrolCode::parse(&whole.to_string()), Some(whole.clone()));
    assert!(whole.check_against(&center().verifying_key()) && !whole.check_against(&key().verifying_key()));
    assert_eq!(EnrolCode::parse("ABCD2345"), None);
    assert_eq!(EnrolCode::parse("ABCD2345-001122334455667788"), None, "neither 16 nor 64 digits");
    assert_eq!(EnrolCode::parse("ABCD234O-0011223344556677"), None, "O and 0 are not used");

    assert_eq!(EnrolRequest::open(&request().seal(&key())), Ok(request()));
    // Somebody else's key cannot be enrolled by who does not hold it.
    assert!(EnrolRequest::open(&request().seal(&center())).is_err());

    let statement = |key: &SigningKey| Enrolment {
        gateway_key: key.verifying_key().to_bytes(),
        institution: InstitutionId("91110105MA0123456X".into()),
        site: SiteId("hotel-1".into()),
        epoch_floor: Epoch(5),
        tls_keys: vec![Fingerprint([3; 32])],
        issued: CivilTime(5),
        gateway: None,
    };
    let answer = |by: &SigningKey, of: &SigningKey| EnrolAnswer {
        center_key: by.verifying_key().to_bytes(),
        statement: statement(of).seal(by),
        history: None,
    };
    let good = answer(&center(), &key());
    assert_eq!(EnrolAnswer::decode(&good.encode()), Ok(good.clone()));
    let own = key().verifying_key();
    assert_eq!(good.check(&code, &own), Ok((center().verifying_key(), statement(&key()))));
    let false_center = SigningKey::from_bytes(&[8; 32]);
    assert!(matches!(answer(&false_center, &key()).check(&code, &own), Err(RecordError::KeyId { .. })));
    let mixed = EnrolAnswer { statement: statement(&key()).seal(&false_center), ..good };
    assert!(mixed.check(&code, &own).is_err());
    assert!(matches!(answer(&center(), &false_center).check(&code, &own), Err(RecordError::Gateway { .. })));
}

#[test]
fn an_identity_is_the_codes_and_signed_by_itself() {
    let code = EnrolCode::new([9; 5], &center().verifying_key());
    let identity = |key: &SigningKey| Identity {
        center_key: key.verifying_key().to_bytes(),
        tls_keys: vec![Fingerprint([3; 32])],
        issued: CivilTime(5),
    };
    let good = identity(&center());
    assert_eq!(Identity::open(&code, &good.seal(&center())), Ok(good.clone()));
    // Later, by whoever knows the center's key.
    let known = center().verifying_key();
    assert_eq!(Identity::open_of(&known, &good.seal(&center())), Ok(good.clone()));
    assert!(Identity::open_of(&known, &good.seal(&key())).is_err());
    let other = identity(&key()).seal(&key());
    assert!(matches!(Identity::open_of(&known, &other), Err(RecordError::KeyId { .. })));
    let many = Identity { tls_keys: vec![Fingerprint([3; 32]); 9], ..good.clone() };
    assert!(matches!(Identity::open_of(&known, &many.seal(&center())), Err(RecordError::TooMany { .. })));
    // Who names the center's key without holding it: the signature is not the key's.
    assert!(Identity::open(&code, &good.seal(&key())).is_err());
    // Who signs with a key of their own: it is not the code's.
    let theirs = identity(&key()).seal(&key());
    assert!(matches!(Identity::open(&code, &theirs), Err(RecordError::KeyId { .. })));
}

/// Keys that follow each other: a record counts when the key that signed it may have signed it, and nobody can put a key
/// in another's place but that key or the center.
#[test]
fn a_ring_of_keys_believes_who_may_say_so_and_each_key_in_its_period() {
    let keys: Vec<SigningKey> = [21, 22, 23].map(|secret| SigningKey::from_bytes(&[secret; 32])).into();
    let gateway = keys[0].gateway_id();
    let succession = |to: &SigningKey, from: u64, last: Option<(u64, u64)>, cause| Succession {
        gateway,
        key: to.verifying_key().to_bytes(),
        from: Epoch(from),
        last: last.map(|(epoch, seq)| (Epoch(epoch), Seq(seq))),
        cause,
        issued: CivilTime(7),
    };
    let rotated = succession(&keys[1], 3, None, SuccessionCause::Rotated).seal(&keys[0]);
    let replaced = succession(&keys[2], 9, Some((4, 10)), SuccessionCause::Replaced).seal(&center());
    let first = keys[0].verifying_key();
    let ring = KeyRing::new(first, &[&rotated, &replaced], Some(&center().verifying_key())).unwrap();
    assert_eq!((ring.gateway(), ring.current()), (gateway, &keys[2].verifying_key()));

    let record = |key: &SigningKey, epoch: u64, seq: u64| {
        let header = Header { epoch: Epoch(epoch), seq: Seq(seq), gateway, ..crate::header(0, 1) };
        seal(&key.clone().speaking_for(gateway), &header, &crate::hostile::gap())
    };
    let outside = |cause| Ok(Standing::Outside(Some(cause)));
    for (key, at, expected) in [
        (0, (1, 0), Ok(Standing::Valid)),
        (0, (2, u64::MAX), Ok(Standing::Valid)),
        (0, (3, 0), outside(SuccessionCause::Rotated)),
        (1, (2, 5), outside(SuccessionCause::Replaced)),
        (1, (3, 0), Ok(Standing::Valid)),
        (1, (4, 10), Ok(Standing::Valid)),
        (1, (4, 11), outside(SuccessionCause::Replaced)),
        (2, (8, 0), Ok(Standing::Outside(None))),
        (2, (9, 0), Ok(Standing::Valid)),
    ] {
        let bytes = record(&keys[key], at.0, at.1);
        let found: Result<Standing, RecordError> = ring.open_any(&bytes).map(|(_, standing)| standing);
        assert_eq!(found, expected, "key {key} at {at:?}");
        assert_eq!(ring.open(&bytes).is_ok(), expected == Ok(Standing::Valid), "key {key} at {at:?}");
    }
    assert!(matches!(ring.open(&record(&center(), 1, 0)), Err(RecordError::KeyId { .. })), "nobody's key");

    // Not by whoever likes to.
    let refused =
        |statements: &[&[u8]], by: Option<&VerifyingKey>| KeyRing::new(first, statements, by).unwrap_err();
    let stolen = succession(&keys[1], 3, None, SuccessionCause::Rotated).seal(&keys[1]);
    assert!(matches!(refused(&[&stolen], None), RecordError::KeyId { .. }), "a key cannot call itself");
    let usurped = succession(&keys[1], 3, None, SuccessionCause::Replaced).seal(&keys[0]);
    assert!(matches!(refused(&[&usurped], Some(&center().verifying_key())), RecordError::KeyId { .. }));
    refused(&[&replaced], None);
    let twice = succession(&keys[0], 12, None, SuccessionCause::Rotated).seal(&keys[1]);
    refused(&[&rotated, &twice], None);
    let overlapping = succession(&keys[1], 3, Some((3, 0)), SuccessionCause::Rotated).seal(&keys[0]);
    refused(&[&overlapping], None);
    let foreign =
        Succession { gateway: GatewayId([1; 16]), ..succession(&keys[1], 3, None, SuccessionCause::Rotated) };
    assert!(matches!(refused(&[&foreign.seal(&keys[0])], None), RecordError::Gateway { .. }));
    for at in 0..rotated.len() {
        let mut flipped = rotated.clone();
        flipped[at] ^= 1;
        refused(&[&flipped], None);
    }
}

#[test]
fn an_order_is_for_one_gateway_and_from_one_center() {
    let gateway = key().gateway_id();
    let order = Order {
        center_epoch: 1,
        seq: 9,
        gateway,
        issued: CivilTime(10),
        expires: CivilTime(20),
        author: "p-17".into(),
        body: CommandBody::Acknowledge { alert: AlertId { epoch: Epoch(3), n: 1 }, event: 2 },
    };
    let bytes = order.seal(&center());
    let answer = pack_orders(&[&bytes, &bytes]);
    assert_eq!(unpack_orders(&answer), Ok(vec![bytes.clone(), bytes.clone()]));
    assert!(unpack_orders(&answer[..answer.len() - 1]).is_err());
    assert_eq!(pack_orders(&vec![&bytes[..]; 1000]).len(), pack_orders(&[&bytes[..]; 64]).len());

    let center = center().verifying_key();
    assert_eq!(Order::open(&center, gateway, &bytes), Ok(order));
    assert!(matches!(Order::open(&center, GatewayId([0; 16]), &bytes), Err(RecordError::Gateway { .. })));
    assert!(Order::open(&key().verifying_key(), gateway, &bytes).is_err());
}

#[test]
fn keys_of_low_order_are_no_keys() {
    assert_eq!(VerifyingKey::from_bytes(&[0; 32]), Err(RecordError::Key));
    let mut one = [0; 32];
    one[0] = 1;
    assert_eq!(VerifyingKey::from_bytes(&one), Err(RecordError::Key));
    let secret = key().to_bytes();
    assert!(!format!("{:?}", key()).contains(&hex(&secret)));
    assert_eq!(unhex(&hex(&secret)), Some(secret));
    assert_eq!(unhex::<2>("0g00"), None);
}

#[test]
fn an_order_cut_or_changed_anywhere_is_none() {
    let gateway = key().verifying_key().gateway_id();
    let order = Order {
        center_epoch: 1,
        seq: 9,
        gateway,
        issued: CivilTime(1_000),
        expires: CivilTime(2_000),
        author: "p-17".into(),
        body: CommandBody::Acknowledge { alert: AlertId { epoch: Epoch(3), n: 1 }, event: 2 },
    };
    let sealed = order.seal(&center());
    let open = |bytes: &[u8]| Order::open(&center().verifying_key(), gateway, bytes);
    assert_eq!(open(&sealed).as_ref(), Ok(&order));
    for at in 0..sealed.len() {
        assert!(open(&sealed[..at]).is_err(), "cut at {at}");
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        assert!(open(&changed).is_err(), "changed at {at}");
    }
    let answer = pack_orders(&[&sealed[..], &sealed]);
    for at in 0..answer.len() {
        assert!(unpack_orders(&answer[..at]).is_err(), "cut at {at}");
    }
    assert!(matches!(Order::open(&key().verifying_key(), gateway, &sealed), Err(RecordError::KeyId { .. })));
    let other = center().verifying_key().gateway_id();
    let foreign = Order::open(&center().verifying_key(), other, &sealed);
    assert!(matches!(foreign, Err(RecordError::Gateway { .. })), "{foreign:?}");
}
