//! Bytes that were changed, made up or written by a later release.

use coset::{
    CborSerializable as _, CoseSign1, CoseSign1Builder, HeaderBuilder, TaggedCborSerializable as _,
    cbor::Value, iana,
};
use gateway_model::{EngineTime, Gap, GapCause, GatewayId, Input, PointIx, Quality, Raw, Reading};
use gateway_wire::{
    Body, InputsBody, Kind, RECORD_MAX, RECORD_TYPE, RecordError, SigningKey, open, peek, seal,
};
use proptest::prelude::*;

use crate::{header, key};

pub(crate) fn gap() -> Body {
    let (from, to) = (EngineTime(1), EngineTime(2));
    Body::Gap(Gap { point: Some(PointIx(1)), from, to, count: 3, cause: GapCause::Corrupt, records: None })
}

fn inputs() -> Body {
    let items = (0..100).map(|i| {
        let value = Quality::Good(Raw::Int(200 + i % 3));
        Input::Reading(Reading { point: PointIx((i % 5) as u32), at: EngineTime(i * 100), value })
    });
    Body::Inputs(InputsBody { items: items.collect(), counts: vec![] })
}

#[test]
fn every_flipped_bit_is_noticed() {
    for body in [gap(), inputs()] {
        let bytes = seal(&key(), &header(0, 9), &body);
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                assert!(open(&key().verifying_key(), &changed).is_err(), "byte {at}, bit {bit}");
            }
        }
    }
}

#[test]
fn every_cut_and_every_addition_is_noticed() {
    let bytes = seal(&key(), &header(0, 9), &inputs());
    for end in 0..bytes.len() {
        assert!(open(&key().verifying_key(), &bytes[..end]).is_err(), "cut at {end}");
        assert!(peek(&bytes[..end]).is_err(), "cut at {end}");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(matches!(peek(&longer), Err(RecordError::Structure { fault: "bytes after the end", .. })));
    assert!(matches!(peek(&vec![0xd2; RECORD_MAX + 1]), Err(RecordError::TooLarge { .. })));
}

#[test]
fn a_record_of_another_key_is_told_from_a_changed_one() {
    let bytes = seal(&key(), &header(0, 9), &gap());
    let other = SigningKey::from_bytes(&[1; 32]).verifying_key();
    assert!(matches!(open(&other, &bytes), Err(RecordError::KeyId { .. })));
    let mut changed = bytes;
    let last = changed.len() - 1;
    changed[last] ^= 1;
    assert_eq!(open(&key().verifying_key(), &changed), Err(RecordError::Signature));
}

#[test]
fn a_gateway_cannot_write_in_anothers_name() {
    let mut header = header(0, 9);
    header.gateway = GatewayId([4; 16]);
    let bytes = seal(&key(), &header, &gap());
    assert!(matches!(open(&key().verifying_key(), &bytes), Err(RecordError::Gateway { .. })));
}

/// A record with another header or payload, signed all the same.
fn signed(header: coset::Header, unprotected: coset::Header, payload: Vec<u8>) -> Vec<u8> {
    let key = ed25519_dalek::SigningKey::from_bytes(&key().to_bytes());
    CoseSign1Builder::new()
        .protected(header)
        .unprotected(unprotected)
        .payload(payload)
        .create_signature(&[], |message| ed25519_dalek::Signer::sign(&key, message).to_vec())
        .build()
        .to_tagged_vec()
        .unwrap()
}

fn protected() -> HeaderBuilder {
    HeaderBuilder::new()
        .algorithm(iana::Algorithm::EdDSA)
        .content_type(RECORD_TYPE.into())
        .key_id(key().kid().to_vec())
}

fn payload(body: &Body) -> Vec<u8> {
    let bytes = seal(&key(), &header(0, 9), body);
    CoseSign1::from_tagged_slice(&bytes).unwrap().payload.unwrap()
}

#[test]
fn headers_are_exactly_ours() {
    let none = coset::Header::default;
    let check = |header: coset::Header, unprotected| {
        open(&key().verifying_key(), &signed(header, unprotected, payload(&gap())))
    };
    assert!(check(protected().build(), none()).is_ok());
    let critical = protected().add_critical(iana::HeaderParameter::Kid).build();
    assert_eq!(check(critical, none()), Err(RecordError::CriticalHeader));
    let unknown = protected().text_value("x".into(), Value::Null).build();
    assert!(matches!(check(unknown, none()), Err(RecordError::UnexpectedHeader(_))));
    let unprotected = HeaderBuilder::new().key_id(vec![1]).build();
    assert!(matches!(check(protected().build(), unprotected), Err(RecordError::UnexpectedHeader(_))));
    let es256 = protected().algorithm(iana::Algorithm::ES256).build();
    assert!(matches!(check(es256, none()), Err(RecordError::Algorithm(_))));
    let token = protected().content_type("application/nonsite-token".into()).build();
    assert!(matches!(check(token, none()), Err(RecordError::ContentType { .. })));
    let nothing = HeaderBuilder::new().build();
    assert!(check(nothing, none()).is_err());
    // Untagged.
    let untagged =
        CoseSign1::from_tagged_slice(&seal(&key(), &header(0, 9), &gap())).unwrap().to_vec().unwrap();
    assert!(matches!(peek(&untagged), Err(RecordError::Structure { fault: "not a tagged COSE_Sign1", .. })));
}

/// The payload's last item is the body: replaced by other CBOR.
fn with_body(body: &[u8]) -> Vec<u8> {
    let mut head = payload(&gap());
    let own = minicbor::to_vec(match gap() {
        Body::Gap(gap) => gap,
        other => panic!("{other:?}"),
    });
    head.truncate(head.len() - own.unwrap().len() - 3);
    signed(protected().build(), coset::Header::default(), [&head, body].concat())
}

#[test]
fn a_body_of_a_later_release_is_quarantined_not_refused() {
    let check = |body: &[u8], kind, version, why: &str| {
        let opened = open(&key().verifying_key(), &with_body(body)).unwrap();
        assert_eq!(opened.header, header(0, 9));
        let not = opened.body.unwrap_err();
        assert_eq!((not.kind, not.version), (kind, version), "{not}");
        assert!(not.why.contains(why), "{not}");
    };
    check(&[0x83, 0x18, 0x63, 0x01, 0xa0], Some(99), Some(1), "later release");
    check(&[0x83, 0x05, 0x02, 0x80], Some(5), Some(2), "later release");
    check(&[0x83, 0x05, 0x01, 0x80], Some(5), Some(1), "missing");
    check(&[0x83, 0x05, 0x01, 0x9f, 0xff], Some(5), Some(1), "indefinite");
    check(&[0x85, 0, 0, 0, 0, 0], None, None, "not an array of kind");
    check(&[0x84, 0x02, 0x01, 0x05, 0x41, 0x00], Some(2), Some(1), "zstd");
    check(&[0x84, 0x02, 0x01, 0x1a, 0x7f, 0xff, 0xff, 0xff, 0x41, 0x00], Some(2), Some(1), "16777216");
    check(&[0x83, 0x02, 0x01, 0x83, 0x40, 0x81, 0x41, 0x05, 0x40], Some(2), Some(1), "count beyond");
    assert_eq!(peek(&with_body(&[0x83, 0x18, 0x63, 0x01, 0xa0])).unwrap().1, Kind::Other(99));
}

#[test]
fn a_compressed_body_never_grows_beyond_what_it_says() {
    let bomb = zstd::bulk::compress(&vec![0; 1 << 20], 3).unwrap();
    let mut body = vec![0x84, 0x02, 0x01];
    minicbor::Encoder::new(&mut body).u64(1000).unwrap().bytes(&bomb).unwrap();
    let opened = open(&key().verifying_key(), &with_body(&body)).unwrap();
    assert!(opened.body.unwrap_err().why.contains("zstd"));
}

proptest! {
    /// Whatever a key holder signs is stored or quarantined, in bounded time and memory.
    #[test]
    fn arbitrary_inputs_content_never_panics(content in prop::collection::vec(any::<u8>(), 0..200), cut in 0..200usize) {
        let mut body = vec![0x83, 0x02, 0x01, 0x83];
        let (tracks, run) = content.split_at(cut.min(content.len()));
        minicbor::Encoder::new(&mut body).bytes(tracks).unwrap().array(1).unwrap().bytes(run).unwrap().bytes(tracks).unwrap();
        prop_assert!(open(&key().verifying_key(), &with_body(&body)).is_ok());
    }

    #[test]
    fn a_changed_content_never_panics(at in 0usize..400, byte: u8) {
        let bytes = payload(&inputs());
        let mut changed = bytes.clone();
        let at = 70 + at % (bytes.len() - 70);
        changed[at] = byte;
        // Signed: past the signature check, into the decoder.
        open(&key().verifying_key(), &signed(protected().build(), coset::Header::default(), changed)).ok();
    }
}
