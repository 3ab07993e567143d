//! Milesight's bytes: channel, type, little-endian value, in whatever carrier they come.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gateway_model::Raw;

use super::{Refusal, Said, json};
use crate::config::{Carrier, JsonMapping, MilesightMapping, TimeField, TimeForm};

pub(super) fn read(mapping: &MilesightMapping, payload: &[u8]) -> Result<Said, Refusal> {
    let base64 = |text: &str| STANDARD.decode(text.trim()).map_err(|_| Refusal::Carrier);
    let text = std::str::from_utf8(payload).map_err(|_| Refusal::Carrier)?;
    let mut said = Said::default();
    let mut carried = |data: &str, time: &str| {
        let mapping = JsonMapping {
            time: Some(TimeField { pointer: time.to_owned(), form: TimeForm::Rfc3339 }),
            ..JsonMapping::default()
        };
        let (bytes, envelope) = json::text_at(&mapping, payload, data)?;
        (said.time, said.bad_time) = (envelope.time, envelope.bad_time);
        base64(&bytes)
    };
    let bytes = match mapping.carrier {
        Carrier::Hex => hex(text.trim()).ok_or(Refusal::Carrier)?,
        Carrier::Base64 => base64(text)?,
        Carrier::ChirpStack => carried("/data", "/time")?,
        Carrier::TheThingsStack => carried("/uplink_message/frm_payload", "/received_at")?,
    };
    let mut rest = bytes.as_slice();
    let mut known = 0;
    while let [channel, kind, after @ ..] = rest {
        let exact = mapping.lengths.iter().find(|(of, ty, _)| *of == Some(*channel) && ty == kind);
        let any = || mapping.lengths.iter().find(|(of, ty, _)| of.is_none() && ty == kind);
        // Without its length nothing behind an unknown item can be found.
        let Some((_, _, length)) = exact.or_else(any) else { break };
        let Some((value, after)) = after.split_at_checked(usize::from(*length)) else { break };
        if let Some(field) =
            mapping.fields.iter().find(|field| field.channel == *channel && field.kind == *kind)
        {
            match little_endian(value, field.signed) {
                Some(number) => said.values.push((field.point, Raw::Int(number))),
                None => said.malformed.push(field.point),
            }
        }
        known += 1;
        rest = after;
    }
    said.frame = bytes;
    if known == 0 { Err(Refusal::NoItem) } else { Ok(said) }
}

fn little_endian(bytes: &[u8], signed: bool) -> Option<i64> {
    if bytes.is_empty() || bytes.len() > 8 {
        return None;
    }
    let number = bytes.iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let unused = 64 - 8 * bytes.len() as u32;
    if signed { Some((number << unused) as i64 >> unused) } else { i64::try_from(number).ok() }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> =
        text.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect::<Option<_>>()?;
    let pairs = digits.chunks_exact(2);
    pairs.remainder().is_empty().then(|| pairs.map(|pair| pair[0] << 4 | pair[1]).collect())
}
