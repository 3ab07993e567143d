//! Bundles: taken apart, one part changed, signed again, so that a fuzzer gets behind hashes and signatures.

use std::sync::OnceLock;

use gateway_evidence::{Outcome, TrustPolicy, verify};
use gateway_wire::{Manifest, SigningKey, hash, pack, unpack};

use crate::sign;

const BLOCK: usize = 512;
/// The gateway of the golden bundles.
const GATEWAY: [u8; 32] = [3; 32];
const TRUST: &str = include_str!("../../../gateway/evidence/golden/bundles/trust.toml");

fn policy() -> &'static TrustPolicy {
    static POLICY: OnceLock<TrustPolicy> = OnceLock::new();
    POLICY.get_or_init(|| TrustPolicy::parse(TRUST).expect("the golden policy"))
}

/// A bundle: every line is answered, the same each time, and without a policy nobody is believed.
pub fn bundle(bytes: &[u8]) {
    let report = verify(bytes, Some(policy()));
    assert_eq!(report.lines.len(), 14, "every question has an answer");
    super::planted(|| {
        // Something was changed behind the manifest's hashes and the center's signature, and noticed.
        let said = report.json();
        let status = |name: &str| {
            let lines = said["lines"].as_array().into_iter().flatten();
            lines.filter(|line| line["line"] == name).any(|line| line["status"] == "ok")
        };
        status("container") && !status("signatures")
    });
    // One in eight: it costs as much as all the rest.
    if hash(bytes)[0] < 32 {
        assert_eq!(report.json().to_string(), verify(bytes, Some(policy())).json().to_string());
        assert_ne!(verify(bytes, None).outcome(), Outcome::Valid, "believed without a policy");
    }
}

/// A file of the archive.
struct File {
    name: String,
    bytes: Vec<u8>,
}

/// The files of an archive, as far as it is one.
fn read(bytes: &[u8]) -> Vec<File> {
    let mut files = Vec::new();
    let mut at = 0;
    while let Some(header) = bytes.get(at..at + BLOCK) {
        let name = header[..100].split(|byte| *byte == 0).next().unwrap_or_default();
        let size =
            std::str::from_utf8(&header[124..135]).ok().and_then(|size| usize::from_str_radix(size, 8).ok());
        let Some(size) = size else { break };
        let Some(content) = bytes.get(at + BLOCK..(at + BLOCK).saturating_add(size)) else { break };
        files.push(File { name: String::from_utf8_lossy(name).into_owned(), bytes: content.to_vec() });
        at += BLOCK + size.next_multiple_of(BLOCK);
    }
    files
}

/// The one archive that holds them, as docs/records.md describes it.
fn write(files: &[File]) -> Vec<u8> {
    let mut out = Vec::new();
    for file in files {
        let mut header = [0; BLOCK];
        let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
        let name: String = file.name.chars().filter(char::is_ascii).take(99).collect();
        put(0, &name);
        put(100, "0000644");
        put(108, "0000000");
        put(116, "0000000");
        put(124, &format!("{:011o}", file.bytes.len()));
        put(136, "00000000000");
        put(148, "        ");
        put(156, "0");
        put(257, "ustar");
        put(263, "00");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.extend_from_slice(&header);
        out.extend_from_slice(&file.bytes);
        out.resize(out.len().next_multiple_of(BLOCK), 0);
    }
    out.resize(out.len() + 2 * BLOCK, 0);
    out
}

/// libFuzzer's own change of one part.
fn change(bytes: &[u8], room: usize) -> Vec<u8> {
    let mut buffer = bytes.to_vec();
    let size = buffer.len();
    buffer.resize(size + room, 0);
    let most = buffer.len();
    let left = libfuzzer_sys::fuzzer_mutate(&mut buffer, size, most);
    buffer.truncate(left);
    buffer
}

/// A record whose payload is changed and signed again.
fn change_record(records: &[u8], seed: u32) -> Option<Vec<u8>> {
    let mut records: Vec<Vec<u8>> = unpack(records, 100_000).ok()?.into_iter().map(<[u8]>::to_vec).collect();
    let n = records.len().max(1);
    let chosen = records.get_mut(seed as usize / 16 % n)?;
    let payload = change(&sign::payload(chosen)?, 64);
    *chosen = sign::anew(chosen, &SigningKey::from_bytes(&GATEWAY), Some(&payload))?;
    Some(pack(&records))
}

/// The manifest that belongs to the files, signed by the center.
fn list(files: &mut [File]) -> Option<()> {
    let (first, rest) = files.split_first_mut()?;
    let mut manifest = Manifest::read(&first.bytes).ok()?;
    for listed in &mut manifest.files {
        if let Some(file) = rest.iter().find(|file| file.name == listed.name) {
            (listed.size, listed.sha256) = (file.bytes.len() as u64, hash(&file.bytes));
        }
    }
    let center = SigningKey::from_bytes(&super::CENTER);
    manifest.maker_key = center.verifying_key().to_bytes();
    first.bytes = manifest.seal(&center);
    Some(())
}

/// Changes a bundle somewhere inside; one time in eight like any other bytes.
pub fn change_bundle(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut files = read(&data[..size]);
    if files.is_empty() || seed % 8 == 0 {
        return libfuzzer_sys::fuzzer_mutate(data, size, max_size);
    }
    let records = files.iter().position(|file| file.name == "records");
    let ix = match records {
        Some(records) if seed % 2 == 1 => records,
        Some(_) | None => seed as usize / 8 % files.len(),
    };
    let signed =
        (Some(ix) == records && seed % 4 == 1).then(|| change_record(&files[ix].bytes, seed)).flatten();
    files[ix].bytes = signed.unwrap_or_else(|| change(&files[ix].bytes, 64));
    if ix > 0 && list(&mut files).is_none() {
        return libfuzzer_sys::fuzzer_mutate(data, size, max_size);
    }
    let written = write(&files);
    if written.len() > max_size {
        return size;
    }
    data[..written.len()].copy_from_slice(&written);
    written.len()
}
