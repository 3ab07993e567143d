//! The line "identity": whose records are these, and who says so?

use gateway_model::Cursor;
use gateway_wire::{Enrolment, Maker, hash, hex};
use serde_json::Value;

use super::walk::Walk;
use super::{CENTER_KEY, ENROLMENT, GATEWAY_KEY, Parts, seals::Seals};
use crate::policy::{GatewayTrust, TrustPolicy};
use crate::report::Line;

/// What vouches for the gateway's key.
enum Voucher {
    /// The policy itself.
    Policy(GatewayTrust),
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
    for (at, gateway) in seals.foreign() {
        line.fail("other_gateway", at, format!("a record of gateway {gateway}, or signed with its key"));
    }
    let voucher = voucher(parts, policy, enrolment.as_ref());
    let by = match &voucher {
        Voucher::Policy(_) => Some("policy"),
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
        (Some(policy), Voucher::Policy(_) | Voucher::Center(_)) => maker(parts, policy, &mut line),
    }
    for sealed in &seals.list {
        if let Some(header) = sealed.valid()
            && !covers(&voucher, header.cursor())
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
        Ok(enrolment) if parts.file(GATEWAY_KEY) == Some(&enrolment.gateway_key[..]) => Some(enrolment),
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

fn voucher(parts: &Parts<'_>, policy: Option<&TrustPolicy>, enrolment: Option<&Enrolment>) -> Voucher {
    let (Some(policy), Some(key)) = (policy, parts.key(GATEWAY_KEY)) else { return Voucher::Nobody };
    if let Some(trust) = policy.gateways.iter().find(|trust| trust.key == key) {
        return Voucher::Policy(*trust);
    }
    let center = parts.key(CENTER_KEY).filter(|center| policy.centers.contains(&center.fingerprint()));
    match (center, enrolment) {
        (Some(_), Some(enrolment)) => Voucher::Center(enrolment.clone()),
        (None, _) | (_, None) => Voucher::Nobody,
    }
}

fn covers(voucher: &Voucher, at: Cursor) -> bool {
    match voucher {
        Voucher::Policy(trust) => trust.covers(at),
        Voucher::Center(enrolment) => at.epoch > enrolment.epoch_floor,
        Voucher::Nobody => true,
    }
}

/// Who made the bundle has to be the gateway itself or a center that is believed.
fn maker(parts: &Parts<'_>, policy: &TrustPolicy, line: &mut Line) {
    let Some(manifest) = &parts.manifest else { return };
    let known = match manifest.maker {
        Maker::Gateway => parts.file(GATEWAY_KEY) == Some(&manifest.maker_key[..]),
        Maker::Center => policy.centers.contains(&gateway_wire::hash(&manifest.maker_key)),
    };
    if !known {
        line.fail("maker", super::MANIFEST, "made by somebody whom the policy does not name");
    }
}
