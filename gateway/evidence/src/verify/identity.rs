//! The line "identity": whose records are these, and who says so?

use gateway_model::Cursor;
use gateway_wire::{Enrolment, KeyRing, Maker, SuccessionCause, VerifyingKey, hash, hex};
use serde_json::{Value, json};

use super::walk::Walk;
use super::{CENTER_KEY, ENROLMENT, GATEWAY_KEY, KEYS, Parts, seals::Seals};
use crate::policy::TrustPolicy;
use crate::report::Line;

/// What vouches for the gateway's key.
enum Voucher {
    /// The policy itself.
    Policy,
    /// A center that the policy names, through its enrolment.
    Center(Enrolment),
    /// Nobody that is believed.
    Nobody,
}

pub(super) fn line(parts: &Parts<'_>, seals: &Seals<'_>, policy: Option<&TrustPolicy>, walk: &Walk) -> Line {
    let mut line = Line::new("identity");
    let enrolment = enrolment(parts, &mut line);
    let key = parts.file(GATEWAY_KEY).filter(|bytes| bytes.len() == 32);
    let id = key.map(|bytes| hex(&hash(bytes)[..16]));
    match (&id, &parts.manifest) {
        (None, _) => line.fail("gateway_key", GATEWAY_KEY, "not a public key"),
        (Some(id), Some(manifest)) if *id != manifest.gateway.to_string() => {
            line.fail(
                "gateway_key",
                GATEWAY_KEY,
                format!("the manifest is about gateway {}", manifest.gateway),
            );
        }
        (Some(_), _) => {}
    }
    let ring = match parts.ring() {
        Ok(ring) => ring,
        Err(why) => {
            line.fail("keys", KEYS, why);
            parts.key(GATEWAY_KEY).map(KeyRing::from)
        }
    };
    for (at, gateway) in seals.foreign() {
        line.fail("other_gateway", at, format!("a record of gateway {gateway}, or signed with its key"));
    }
    let voucher = voucher(parts, policy, enrolment.as_ref());
    let by = match &voucher {
        Voucher::Policy => Some("policy"),
        Voucher::Center(_) => Some("center"),
        Voucher::Nobody => None,
    };
    match (policy, &voucher) {
        (None, _) => line.lack("no_policy", "", "no trust policy was given: whose key this is remains open"),
        (Some(_), Voucher::Nobody) => {
            line.fail(
                "unknown_key",
                GATEWAY_KEY,
                "the policy names neither this gateway's key nor its center's",
            );
        }
        (Some(policy), Voucher::Policy | Voucher::Center(_)) => {
            maker(parts, ring.as_ref(), policy, &mut line);
            replaced(parts, ring.as_ref(), policy, &mut line);
        }
    }
    for sealed in &seals.list {
        if let Some(header) = sealed.valid()
            && !(sealed.in_period && covers(&voucher, ring.as_ref(), policy, sealed.key, header.cursor()))
        {
            line.fail("key_period", header.cursor(), "outside the period in which this key was valid");
        }
    }
    let valid = || seals.list.iter().filter_map(|sealed| Some(sealed.valid()?.cursor()));
    let institution = enrolment.as_ref().map(|enrolment| enrolment.institution.0.clone());
    let institution = institution.or_else(|| walk.institution.clone());
    let site = enrolment.as_ref().map(|enrolment| enrolment.site.0.clone()).or_else(|| walk.site.clone());
    line.say = format!(
        "institution {}, site {}, gateway {}, key {}, records {} to {}, vouched for by {}",
        institution.as_deref().unwrap_or("unknown"),
        site.as_deref().unwrap_or("unknown"),
        id.as_deref().unwrap_or("unknown"),
        key.map_or_else(|| "unknown".into(), |key| hex(&hash(key)[..8])),
        valid().min().map_or_else(|| "none".into(), |at| at.to_string()),
        valid().max().map_or_else(|| "none".into(), |at| at.to_string()),
        by.unwrap_or("nobody")
    );
    line.fact("institution", institution);
    line.fact("site", site);
    line.fact("gateway", id);
    line.fact("key", key.map(hex));
    line.fact("keys", keys(ring.as_ref()));
    line.fact("center", enrolment.and_then(|_| parts.key(CENTER_KEY)).map(|key| hex(&key.fingerprint())));
    line.fact("vouched_by", by.map_or(Value::Null, Value::from));
    line.fact("first", valid().min().map(|at| at.to_string()));
    line.fact("last", valid().max().map(|at| at.to_string()));
    line
}

/// The center's statement, if it is one about this gateway.
fn enrolment(parts: &Parts<'_>, line: &mut Line) -> Option<Enrolment> {
    let statement = parts.file(ENROLMENT)?;
    let Some(center) = parts.key(CENTER_KEY) else {
        line.fail(
            "enrolment",
            ENROLMENT,
            "there is an enrolment, but not the key of the center that signed it",
        );
        return None;
    };
    match Enrolment::open(&center, statement) {
        Ok(enrolment) if about(parts, &enrolment) => Some(enrolment),
        Ok(_) => {
            line.fail("enrolment", ENROLMENT, "the statement is about another gateway's key");
            None
        }
        Err(error) => {
            line.fail("enrolment", ENROLMENT, error.to_string());
            None
        }
    }
}

/// Is the statement about one of this gateway's keys?
fn about(parts: &Parts<'_>, enrolment: &Enrolment) -> bool {
    let ring = parts.ring().ok().flatten();
    let ours = |key: &VerifyingKey| key.to_bytes() == enrolment.gateway_key;
    parts.file(GATEWAY_KEY) == Some(&enrolment.gateway_key[..])
        || ring.is_some_and(|ring| {
            enrolment.gateway == Some(ring.gateway()) && ring.periods().iter().any(|period| ours(&period.key))
        })
}

/// A key that came with another box is the word of a center, which has to be one that is believed.
fn replaced(parts: &Parts<'_>, ring: Option<&KeyRing>, policy: &TrustPolicy, line: &mut Line) {
    let said = ring
        .into_iter()
        .flat_map(KeyRing::periods)
        .any(|period| period.cause == Some(SuccessionCause::Replaced));
    let believed = parts.key(CENTER_KEY).is_some_and(|center| policy.centers.contains(&center.fingerprint()));
    if said && !believed {
        line.fail(
            "unknown_key",
            KEYS,
            "a key that a center put in another's place, and the policy does not name that center",
        );
    }
}

/// Every key with its period, oldest first.
fn keys(ring: Option<&KeyRing>) -> Vec<Value> {
    let of = |period: &gateway_wire::KeyPeriod| {
        json!({
            "key": hex(&period.key.to_bytes()), "from_epoch": period.from.0,
            "last": period.last.filter(|last| last.seq.0 != u64::MAX).map(|last| last.to_string()),
            "last_epoch": period.last.map(|last| last.epoch.0),
            "cause": match period.cause {
                None => "first",
                Some(SuccessionCause::Rotated) => "rotated",
                Some(SuccessionCause::Replaced) => "replaced",
            },
        })
    };
    ring.into_iter().flat_map(KeyRing::periods).map(of).collect()
}

fn voucher(parts: &Parts<'_>, policy: Option<&TrustPolicy>, enrolment: Option<&Enrolment>) -> Voucher {
    let (Some(policy), Some(key)) = (policy, parts.key(GATEWAY_KEY)) else { return Voucher::Nobody };
    if policy.gateways.iter().any(|trust| trust.key == key) {
        return Voucher::Policy;
    }
    let center = parts.key(CENTER_KEY).filter(|center| policy.centers.contains(&center.fingerprint()));
    match (center, enrolment) {
        (Some(_), Some(enrolment)) => Voucher::Center(enrolment.clone()),
        (None, _) | (_, None) => Voucher::Nobody,
    }
}

/// May key number `signer` have signed this, by who vouches for it? Its place among the keys is checked apart.
fn covers(
    voucher: &Voucher,
    ring: Option<&KeyRing>,
    policy: Option<&TrustPolicy>,
    signer: usize,
    at: Cursor,
) -> bool {
    let key = ring.and_then(|ring| ring.periods().get(signer)).map(|period| period.key);
    let named = policy.into_iter().flat_map(|policy| &policy.gateways).find(|trust| Some(trust.key) == key);
    match (voucher, named) {
        (Voucher::Policy, Some(trust)) => trust.covers(at),
        (Voucher::Center(enrolment), _) if key.is_some_and(|key| key.to_bytes() == enrolment.gateway_key) => {
            at.epoch > enrolment.epoch_floor
        }
        (Voucher::Policy | Voucher::Center(_) | Voucher::Nobody, _) => true,
    }
}

/// Who made the bundle has to be the gateway itself or a center that is believed.
fn maker(parts: &Parts<'_>, ring: Option<&KeyRing>, policy: &TrustPolicy, line: &mut Line) {
    let Some(manifest) = &parts.manifest else { return };
    let known = match manifest.maker {
        Maker::Gateway => ring.is_some_and(|ring| ring.current().to_bytes() == manifest.maker_key),
        Maker::Center => policy.centers.contains(&gateway_wire::hash(&manifest.maker_key)),
    };
    if !known {
        line.fail("maker", super::MANIFEST, "made by somebody whom the policy does not name");
    }
}
