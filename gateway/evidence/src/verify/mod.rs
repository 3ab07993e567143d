//! A bundle and a trust policy in, a line per question out (`docs/records.md` §9 says what each line asks).
//!
//! Fails closed: what is unsigned, missing, truncated, told twice, signed outside its key's period or erased is each
//! told by its own name, and a question that could not be answered makes the whole incomplete. Every record is read
//! once, in order; of a month no more than numbers and hashes are kept.

pub(crate) mod case;
pub(crate) mod context;
mod identity;
pub(crate) mod instruments;
pub(crate) mod numbers;
mod recomputation;
mod seals;
mod verdicts;
pub(crate) mod walk;

use gateway_model::Cursor;
use gateway_wire::{Manifest, hash};

use crate::container::{self, File};
use crate::policy::TrustPolicy;
use crate::recompute::recompute;
use crate::report::{Line, Report};
use seals::Seals;

/// Records of one bundle, at most.
pub const RECORDS_MAX: usize = 4_000_000;

/// Name of the manifest, the first file.
pub(crate) const MANIFEST: &str = "manifest";
/// CBOR sequence of byte strings, each a record.
pub(crate) const RECORDS: &str = "records";
/// The gateway's public key, 32 bytes.
pub(crate) const GATEWAY_KEY: &str = "gateway.key";
/// How the gateway's keys followed each other, where there was ever more than one.
pub(crate) const KEYS: &str = "keys";
/// The center's public key, 32 bytes.
pub(crate) const CENTER_KEY: &str = "center.key";
/// The center's signed statement about the gateway.
pub(crate) const ENROLMENT: &str = "enrolment";
/// Numbers and hashes of records that were erased.
pub(crate) const ERASED: &str = "erased";
/// When the center received each record.
pub(crate) const RECEIVED: &str = "received";
/// Placement and calibration of devices.
pub(crate) const DEVICES: &str = "devices.toml";
/// The records that tell of instruments, with the configs they name, whenever they were made.
pub(crate) const DEVICE_RECORDS: &str = "device-records";
/// The center's case.
pub(crate) const CASE: &str = "case";
/// Photos that the case's steps name lie below, under their hash.
pub(crate) const ATTACHMENTS: &str = "attachments/";
/// Those of them that were erased by a logged act.
pub(crate) const ERASED_ATTACHMENTS: &str = "erased-attachments";
/// Rule packs lie below.
pub(crate) const PACKS: &str = "packs/";

/// A bundle taken apart.
pub(crate) struct Parts<'b> {
    pub(crate) files: Vec<File<'b>>,
    pub(crate) manifest: Option<Manifest>,
    pub(crate) records: Vec<&'b [u8]>,
}

impl<'b> Parts<'b> {
    pub(crate) fn file(&self, name: &str) -> Option<&'b [u8]> {
        self.files.iter().find(|file| file.name == name).map(|file| file.bytes)
    }

    pub(crate) fn key(&self, name: &str) -> Option<gateway_wire::VerifyingKey> {
        gateway_wire::VerifyingKey::from_bytes(self.file(name)?.try_into().ok()?).ok()
    }

    /// The gateway's keys. What says that one followed another is checked; whether the center that said so is to be
    /// believed is for the line "identity".
    pub(crate) fn ring(&self) -> Result<Option<gateway_wire::KeyRing>, String> {
        let Some(first) = self.key(GATEWAY_KEY) else { return Ok(None) };
        let Some(bytes) = self.file(KEYS) else { return Ok(Some(first.into())) };
        let ring = gateway_wire::KeyHistory::decode(bytes)
            .and_then(|history| history.ring(self.key(CENTER_KEY).as_ref()))
            .map_err(|error| error.to_string())?;
        if *ring.first() == first {
            Ok(Some(ring))
        } else {
            Err("the first key is not the gateway's".to_owned())
        }
    }
}

/// The records of a bundle and the keys in it, believed without a check: for looking, never for proving. What is wrong with
/// the file comes back as words.
pub fn contents(bytes: &[u8]) -> Result<(gateway_wire::KeyRing, Vec<&[u8]>), String> {
    let (parts, line) = take_apart(bytes);
    if let Some(fault) = line.findings.first() {
        return Err(format!("{}: {}", fault.at, fault.text));
    }
    let ring = parts.ring()?.ok_or("it holds no key of a gateway")?;
    Ok((ring, parts.records))
}

/// Checks a bundle. Without a policy everything else is checked, but nobody is believed.
pub fn verify(bytes: &[u8], policy: Option<&TrustPolicy>) -> Report {
    let (parts, container) = take_apart(bytes);
    let seals = Seals::check(&parts, policy);
    let erased = numbers::erased(&parts);
    let links = seals.links();
    let chain = crate::chain::check(links.iter().cloned());
    let mut walk = walk::Walk::default();
    let mut told = numbers::Told::default();
    let recomputed = recompute(seals.records().map(|(header, body)| {
        walk.take(&header, &body);
        told.take(&body);
        gateway_wire::Record { header, body }
    }));
    // A difference ends the computation, not the reading.
    let rest = recomputed.first_difference.as_ref().map(|difference| difference.at);
    for (header, body) in seals.records().filter(|(header, _)| rest.is_some_and(|at| header.cursor() > at)) {
        walk.take(&header, &body);
        told.take(&body);
    }
    let sequence = numbers::sequence(&parts, &seals, &chain, &told, erased.as_deref());
    let mut recomputation = recomputation::line(&recomputed, &seals, &walk);
    verdicts::check(&parts, &seals, &mut recomputation);
    let chain = numbers::chain(&parts, &seals, &chain, erased.as_deref().unwrap_or_default(), &walk.starts);
    Report {
        lines: vec![
            container,
            identity::line(&parts, &seals, policy, &walk),
            seals.line(),
            sequence,
            chain,
            walk.liveness(parts.manifest.as_ref()),
            walk.time(&parts, policy.is_some_and(|policy| policy.accept_simulated)),
            walk.coverage(),
            context::line(&parts, &walk),
            recomputation,
            Line::nothing("log", "bundles of version 1 hold no proof from a log of the center"),
            case::line(&parts, &walk),
            Line::nothing("anchor", "bundles of version 1 hold no time stamp of an authority (RFC 3161)"),
            limits(),
        ],
    }
}

fn take_apart(bytes: &[u8]) -> (Parts<'_>, Line) {
    let mut line = Line::new("container");
    let (files, fault) = container::read(bytes);
    if let Some(fault) = fault {
        line.fail("tar", format!("byte {}", fault.at), fault.fault);
    }
    let sealed = files.first().filter(|file| file.name == MANIFEST).map(|file| file.bytes);
    let manifest = sealed.and_then(|bytes| match Manifest::read(bytes) {
        Ok(manifest) => {
            if let Err(error) = manifest.check(bytes) {
                line.fail("manifest_signature", MANIFEST, error.to_string());
            }
            Some(manifest)
        }
        Err(error) => {
            line.fail("manifest", MANIFEST, error.to_string());
            None
        }
    });
    if sealed.is_none() {
        line.fail("manifest", MANIFEST, "the first file is not the manifest");
    }
    if let Some(manifest) = &manifest {
        listed(manifest, &files, &mut line);
        line.fact("files", files.len());
        line.fact("made_by", maker(manifest));
        line.fact("made_at", manifest.made_at.map(|at| at.0));
        line.say = format!(
            "{} files and a signed manifest; made by the {} with {}",
            files.len(),
            maker(manifest),
            manifest.software
        );
    }
    let mut parts = Parts { files, manifest, records: Vec::new() };
    match parts.file(RECORDS).map(|records| gateway_wire::unpack(records, RECORDS_MAX)) {
        Some(Ok(records)) => parts.records = records,
        Some(Err(error)) => line.fail("framing", RECORDS, error.to_string()),
        None => line.fail("missing_file", RECORDS, "there are no records"),
    }
    (parts, line)
}

fn maker(manifest: &Manifest) -> &'static str {
    match manifest.maker {
        gateway_wire::Maker::Gateway => "gateway",
        gateway_wire::Maker::Center => "center",
    }
}

/// The files that the manifest lists are there, in its order, and no others.
fn listed(manifest: &Manifest, files: &[File<'_>], line: &mut Line) {
    let found = files.get(1..).unwrap_or_default();
    for (place, listed) in manifest.files.iter().enumerate() {
        match found.iter().position(|file| file.name == listed.name) {
            None => line.fail("missing_file", &listed.name, "listed in the manifest, but not there"),
            Some(at) => {
                let bytes = found.get(at).map_or(&[][..], |file| file.bytes);
                if bytes.len() as u64 != listed.size || hash(bytes) != listed.sha256 {
                    line.fail("hash", &listed.name, "not the bytes that the manifest names");
                } else if at != place {
                    line.fail("place", &listed.name, "not in the place that the manifest gives it");
                }
            }
        }
    }
    for file in found.iter().filter(|file| manifest.files.iter().all(|listed| listed.name != file.name)) {
        line.fail("unlisted_file", file.name, "there, but not in the manifest");
    }
}

fn limits() -> Line {
    Line::nothing(
        "limits",
        "This proves who signed what in which order, that it is complete, and that the conclusions follow. It does not prove \
         that no sensor was bypassed, nor that the place shown is the place measured.",
    )
}

/// `epoch/seq`, or a range of it.
pub(crate) fn range(
    epoch: gateway_model::Epoch,
    first: gateway_model::Seq,
    last: gateway_model::Seq,
) -> String {
    let cursor = |seq| Cursor { epoch, seq };
    if first == last { cursor(first).to_string() } else { format!("{}-{}", cursor(first), cursor(last)) }
}
