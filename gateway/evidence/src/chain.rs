//! Numbers and hashes: is anything missing, exchanged, added or told twice?

use std::collections::BTreeMap;

use gateway_model::{Cursor, Epoch, Gap, GatewayId, Seq, StartCause, StartInput};
use gateway_wire::{Body, Header, hash};

/// Faults and holes kept, at most; the rest is counted.
const KEPT_MAX: usize = 1000;

/// What the chain needs to know of one record.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    header: Header,
    hash: [u8; 32],
    says: Says,
}

#[derive(Debug, Clone, PartialEq)]
enum Says {
    Start(StartInput),
    Gap(Gap),
    Other,
}

impl Link {
    /// Of a record's bytes; `body` where it was understood.
    pub fn new(header: Header, bytes: &[u8], body: Option<&Body>) -> Self {
        let says = match body {
            Some(Body::Start(start)) => Says::Start(start.clone()),
            Some(Body::Gap(gap)) => Says::Gap(gap.clone()),
            Some(
                Body::Config(_)
                | Body::Inputs(_)
                | Body::Conclusions(_)
                | Body::Checkpoint(_)
                | Body::Parted(_)
                | Body::Part(_),
            )
            | None => Says::Other,
        };
        Self { header, hash: hash(bytes), says }
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chain {
    /// Records looked at.
    pub records: u64,
    /// Per epoch: first and last seq, and how many records.
    pub epochs: Vec<(Epoch, Seq, Seq, u64)>,
    /// What must not be; the first thousand.
    pub faults: Vec<Fault>,
    /// How many there are.
    pub faults_total: u64,
    /// Numbers that are not there; the first thousand.
    pub holes: Vec<Hole>,
}

/// Numbers of one epoch that are not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hole {
    /// Which epoch.
    pub epoch: Epoch,
    /// First missing.
    pub first: Seq,
    /// Last missing.
    pub last: Seq,
    /// Gap records say that they are gone, and why.
    pub told: bool,
}

/// Something that must not be in a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Another gateway's record.
    Gateway(Cursor, GatewayId),
    /// It stands before one that was there already.
    Order(Cursor),
    /// The same record again.
    Twice(Cursor),
    /// Another record of the same number: equivocation, or a restored image of the gateway's disk.
    Exchanged(Cursor),
    /// It does not hold the hash of the record before it.
    Broken(Cursor),
    /// An epoch that begins with something else than its start.
    NoStart(Cursor),
    /// A start that says it is of another epoch, or names a later epoch than its own as the one before.
    Start(Cursor),
    /// A start says that the epoch before ended earlier than it did: the gateway's storage lost its tail.
    TailLost {
        /// The start.
        at: Cursor,
        /// What it says was last.
        said: Cursor,
        /// What is last here.
        seen: Cursor,
    },
}

impl Chain {
    /// Nothing wrong, and every hole told.
    pub fn closes(&self) -> bool {
        self.faults_total == 0 && self.holes.iter().all(|hole| hole.told)
    }
}

/// Looks at the links of one gateway, in the order of their cursors. The first may stand anywhere.
pub fn check(links: impl IntoIterator<Item = Link>) -> Chain {
    let mut run = Run::default();
    links.into_iter().for_each(|link| run.take(link));
    run.finish()
}

#[derive(Default)]
struct Run {
    found: Chain,
    last: Option<(Header, [u8; 32])>,
    /// Ranges that gap records name.
    gone: BTreeMap<Epoch, Vec<(Seq, Seq)>>,
}

impl Run {
    fn take(&mut self, link: Link) {
        let Link { header, hash, says } = link;
        let at = header.cursor();
        self.found.records += 1;
        if let Some((last, last_hash)) = self.last {
            if header.gateway != last.gateway {
                return self.fault(Fault::Gateway(at, header.gateway));
            }
            if at == last.cursor() {
                return self.fault(if hash == last_hash { Fault::Twice(at) } else { Fault::Exchanged(at) });
            }
            if at < last.cursor() {
                return self.fault(Fault::Order(at));
            }
            if at.epoch == last.epoch {
                self.within_epoch(&header, last.seq, last_hash);
            }
        }
        match &says {
            Says::Start(start) => self.start(&header, start),
            Says::Gap(Gap { records: Some((epoch, first, last)), .. }) => {
                self.gone.entry(*epoch).or_default().push((*first, *last));
            }
            Says::Gap(Gap { records: None, .. }) | Says::Other => {}
        }
        let begins = self.last.is_none_or(|(last, _)| last.epoch != at.epoch);
        if begins && at.seq == Seq(0) && !matches!(says, Says::Start(_)) {
            self.fault(Fault::NoStart(at));
        }
        if begins && self.last.is_some() && at.seq > Seq(0) {
            self.hole(at.epoch, Seq(0), Seq(at.seq.0 - 1));
        }
        match self.found.epochs.last_mut().filter(|epoch| epoch.0 == at.epoch) {
            Some((_, _, last, records)) => (*last, *records) = (at.seq, *records + 1),
            None => self.found.epochs.push((at.epoch, at.seq, at.seq, 1)),
        }
        self.last = Some((header, hash));
    }

    fn within_epoch(&mut self, header: &Header, last: Seq, last_hash: [u8; 32]) {
        if header.seq.0 > last.0 + 1 {
            self.hole(header.epoch, Seq(last.0 + 1), Seq(header.seq.0 - 1));
        } else if header.prev != last_hash {
            self.fault(Fault::Broken(header.cursor()));
        }
    }

    fn start(&mut self, header: &Header, start: &StartInput) {
        let at = header.cursor();
        let later = start.previous.is_some_and(|(epoch, _)| epoch >= start.epoch);
        if start.epoch != header.epoch || header.seq != Seq(0) || later {
            return self.fault(Fault::Start(at));
        }
        if header.prev != start.previous_hash.unwrap_or_default() {
            self.fault(Fault::Broken(at));
        }
        let Some((last, last_hash)) = self.last.filter(|(last, _)| last.epoch < at.epoch) else { return };
        let seen = last.cursor();
        match start.previous.map(|(epoch, seq)| Cursor { epoch, seq }) {
            Some(said) if said == seen => {
                if start.previous_hash != Some(last_hash) {
                    self.fault(Fault::Broken(at));
                }
            }
            Some(said) if said > seen => {
                if said.epoch == seen.epoch {
                    self.hole(said.epoch, Seq(seen.seq.0 + 1), said.seq);
                } else {
                    self.hole(said.epoch, Seq(0), said.seq);
                }
            }
            // What the box before had sealed and the center did not have yet came later, from its disk.
            Some(_) if start.cause == StartCause::Replaced => {}
            said => {
                let said = said.unwrap_or_default();
                self.fault(Fault::TailLost { at, said, seen });
            }
        }
    }

    fn fault(&mut self, fault: Fault) {
        self.found.faults_total += 1;
        if self.found.faults.len() < KEPT_MAX {
            self.found.faults.push(fault);
        }
    }

    fn hole(&mut self, epoch: Epoch, first: Seq, last: Seq) {
        if self.found.holes.len() < KEPT_MAX {
            self.found.holes.push(Hole { epoch, first, last, told: false });
        }
    }

    fn finish(mut self) -> Chain {
        for ranges in self.gone.values_mut() {
            ranges.sort_unstable();
        }
        for hole in &mut self.found.holes {
            let mut next = hole.first;
            for (first, last) in self.gone.get(&hole.epoch).map_or(&[][..], Vec::as_slice) {
                if *first <= next && *last >= next {
                    next = Seq(last.0.saturating_add(1));
                }
            }
            hole.told = next > hole.last;
        }
        self.found
    }
}
