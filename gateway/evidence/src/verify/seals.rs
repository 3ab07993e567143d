//! The line "signatures": whose is each record?

use gateway_model::{Cursor, GatewayId};
use gateway_wire::{
    Body, Header, Joiner, KeyRing, Kind, RecordError, Standing, VerifyingKey, hex, open, peek, reread,
};

use super::Parts;
use crate::chain::Link;
use crate::policy::TrustPolicy;
use crate::report::Line;

/// What became of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seal {
    /// Signed with the gateway's key.
    Valid,
    /// Not signed at all.
    Unsigned,
    /// The signature does not belong to these bytes.
    Invalid,
    /// Signed with another key.
    Foreign,
    /// No record.
    Unreadable,
}

/// One record of the bundle, in its place.
pub(super) struct Sealed<'b> {
    pub(super) bytes: &'b [u8],
    pub(super) seal: Seal,
    /// As its header says, where it has one.
    pub(super) header: Option<Header>,
    pub(super) understood: bool,
    /// Which of the gateway's keys signed it, and whether that key may have.
    pub(super) key: usize,
    pub(super) in_period: bool,
    text: String,
}

const UNFINISHED: &str = "what follows in parts does not follow whole";

/// All of them.
pub(super) struct Seals<'b> {
    pub(super) list: Vec<Sealed<'b>>,
}

impl<'b> Seals<'b> {
    pub(super) fn check(parts: &Parts<'b>, policy: Option<&TrustPolicy>) -> Self {
        // With a list of keys that cannot be believed only the first of them counts.
        let alone = || parts.key(super::GATEWAY_KEY).map(KeyRing::from);
        let ring = parts.ring().unwrap_or_else(|_| alone());
        let others: Vec<VerifyingKey> =
            policy.into_iter().flat_map(|policy| &policy.gateways).map(|trust| trust.key).collect();
        let list = parts.records.iter().map(|bytes| Sealed::new(bytes, ring.as_ref(), &others)).collect();
        let mut seals = Self { list };
        seals.join();
        seals
    }

    /// What came in parts has to come together again, unless the epoch ends in the middle of it, as it does with a power cut.
    fn join(&mut self) {
        let (mut joiner, mut head, mut last) = (Joiner::default(), 0, None);
        for place in 0..self.list.len() {
            let Some(header) = self.list[place].valid() else { continue };
            if last.is_some_and(|last| header.cursor() <= last) {
                continue;
            }
            last = Some(header.cursor());
            let kind = peek(self.list[place].bytes).map(|(_, kind)| kind);
            let cut_off = joiner.unfinished().is_some_and(|open| open.epoch == header.epoch);
            if cut_off && kind != Ok(Kind::Part) {
                self.list[head].not(UNFINISHED);
            }
            if !matches!(kind, Ok(Kind::Config | Kind::Checkpoint | Kind::Part)) {
                joiner = Joiner::default();
                continue;
            }
            let Ok(opened) = reread(self.list[place].bytes) else { continue };
            let joined = opened.body.and_then(|body| joiner.take(&header, body));
            match joined {
                Ok(Body::Parted(_)) => head = place,
                Err(not) => self.list[place].not(&not.to_string()),
                Ok(_) => {}
            }
        }
        if joiner.unfinished().is_some() {
            self.list[head].not(UNFINISHED);
        }
    }

    /// Records with a good signature, each once, in the order of their numbers: what the rest of the lines is about.
    pub(super) fn records(&self) -> impl Iterator<Item = (Header, Body)> + '_ {
        let (mut last, mut joiner): (Option<Cursor>, _) = (None, Joiner::default());
        self.list.iter().filter_map(move |sealed| {
            let header = sealed.valid()?;
            if !sealed.understood || last.is_some_and(|last| header.cursor() <= last) {
                return None;
            }
            last = Some(header.cursor());
            let body = reread(sealed.bytes).ok()?.body.ok()?;
            Some((header, joiner.take(&header, body).ok()?))
        })
    }

    /// One record by its number.
    pub(super) fn find(&self, at: Cursor) -> Option<Body> {
        let found =
            self.list.iter().find(|sealed| sealed.valid().is_some_and(|header| header.cursor() == at))?;
        reread(found.bytes).ok()?.body.ok()
    }

    /// For the chain: what has a good signature, in the order of the bundle.
    pub(super) fn links(&self) -> Vec<Link> {
        let link = |sealed: &Sealed| {
            let header = sealed.valid()?;
            // Only starts and gaps say something to the chain, and they are short.
            let small =
                matches!(peek(sealed.bytes), Ok((_, gateway_wire::Kind::Start | gateway_wire::Kind::Gap)));
            let body = small.then(|| reread(sealed.bytes).ok()?.body.ok()).flatten();
            Some(Link::new(header, sealed.bytes, body.as_ref()))
        };
        self.list.iter().filter_map(link).collect()
    }

    /// Gateways whose records have no business here.
    pub(super) fn foreign(&self) -> impl Iterator<Item = (Cursor, GatewayId)> + '_ {
        let foreign = self.list.iter().filter(|sealed| sealed.seal == Seal::Foreign);
        foreign.filter_map(|sealed| sealed.header.map(|header| (header.cursor(), header.gateway)))
    }

    pub(super) fn line(&self) -> Line {
        let mut line = Line::new("signatures");
        let count = |seal| self.list.iter().filter(|sealed| sealed.seal == seal).count();
        let not_understood =
            self.list.iter().filter(|sealed| sealed.seal == Seal::Valid && !sealed.understood);
        let not_understood = not_understood.count();
        line.fact("records", self.list.len());
        line.fact("valid", count(Seal::Valid));
        line.fact("unsigned", count(Seal::Unsigned));
        line.fact("invalid", count(Seal::Invalid));
        line.fact("foreign", count(Seal::Foreign));
        line.fact("unreadable", count(Seal::Unreadable));
        line.fact("not_understood", not_understood);
        line.say = format!(
            "{} records: {} valid, {} unsigned, {} invalid, {} of another key, {} unreadable",
            self.list.len(),
            count(Seal::Valid),
            count(Seal::Unsigned),
            count(Seal::Invalid),
            count(Seal::Foreign),
            count(Seal::Unreadable)
        );
        if self.list.is_empty() {
            line.fail("empty", "", "there is no record at all");
        }
        for (place, sealed) in self.list.iter().enumerate() {
            let at = sealed.header.map_or_else(|| format!("#{place}"), |header| header.cursor().to_string());
            match sealed.seal {
                Seal::Valid if sealed.understood => {}
                Seal::Valid => line.lack("not_understood", at, &*sealed.text),
                Seal::Unsigned => line.fail("unsigned", at, "there is no signature"),
                Seal::Invalid => line.fail("invalid", at, &*sealed.text),
                Seal::Foreign => line.fail("foreign", at, &*sealed.text),
                Seal::Unreadable => line.fail("unreadable", at, &*sealed.text),
            }
        }
        line
    }
}

impl<'b> Sealed<'b> {
    fn new(bytes: &'b [u8], ring: Option<&KeyRing>, others: &[VerifyingKey]) -> Self {
        let header = peek(bytes).map(|(header, _)| header);
        let found = |seal, text: String| Self {
            bytes,
            seal,
            header: header.clone().ok(),
            understood: false,
            key: 0,
            in_period: true,
            text,
        };
        if let Err(error) = &header {
            return found(Seal::Unreadable, error.to_string());
        }
        // A signature is the last element, a byte string of 64.
        let sign = bytes.len().checked_sub(66).and_then(|at| bytes.get(at..at + 2));
        if sign != Some(&[0x58, 0x40]) {
            return found(Seal::Unsigned, String::new());
        }
        let Some(ring) = ring else { return found(Seal::Foreign, "the gateway's key is not there".into()) };
        match ring.open_any(bytes) {
            Ok((opened, standing)) => {
                let text = opened.body.as_ref().err().map(ToString::to_string).unwrap_or_default();
                let key = ring.signer(bytes).unwrap_or(0);
                let in_period = standing == Standing::Valid;
                Self { understood: opened.body.is_ok(), key, in_period, ..found(Seal::Valid, text) }
            }
            Err(RecordError::KeyId { found: kid, .. }) => {
                let known = others.iter().find(|other| other.kid()[..] == kid && open_with(other, bytes));
                let text = known.map_or_else(
                    || format!("signed with key {}, which is not the gateway's", hex(&kid)),
                    |other| {
                        format!(
                            "signed with key {}, which is trusted, but is not this gateway's",
                            hex(&other.kid())
                        )
                    },
                );
                found(Seal::Foreign, text)
            }
            Err(error @ RecordError::Gateway { .. }) => found(Seal::Foreign, error.to_string()),
            Err(error) => found(Seal::Invalid, error.to_string()),
        }
    }

    /// Its signature is good, but what it says is not all there.
    fn not(&mut self, why: &str) {
        self.understood = false;
        why.clone_into(&mut self.text);
    }

    /// The header of a record that the gateway signed.
    pub(super) fn valid(&self) -> Option<Header> {
        self.header.filter(|_| self.seal == Seal::Valid)
    }
}

/// Is the signature that key's, whatever the record claims?
fn open_with(key: &VerifyingKey, bytes: &[u8]) -> bool {
    matches!(open(key, bytes), Ok(_) | Err(RecordError::Gateway { .. }))
}
