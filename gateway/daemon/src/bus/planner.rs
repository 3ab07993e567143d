//! Blocks to requests: as few bytes and pauses on the line as the devices allow.
//!
//! Neighbours are read with one request, also over a hole, where the hole costs less line time than a request of its own.
//! A device that refuses a hole is found out by bisection: the refused request is *cut*, and no request crosses a cut until it
//! is forgotten, a day later, and tried again. On RTU, requests of one device to one table get different lengths, by
//! reading a few registers more: then no late answer can be taken for that of another ([`super::ghosts`]).
//!
//! Promises: every point is in exactly one request; none is longer than the device or the protocol allows; none crosses a cut.
//!
//! Leaves out: blocks of different pace stay apart, even where one could ride along with the other.

use std::collections::BTreeMap;

use gateway_model::EngineTime;

use super::frame::{BITS_MAX, Framing, Question};
use crate::config::{BlockPlan, BlockPoint, BusPlan, FunctionCode, UnitId};

/// How long an instrument is assumed to think, ms.
pub const THINKING_MS: f64 = 20.0;
/// Time of a byte where no line speed is known, ms: what a network adds to an answer for it.
const NETWORK_BYTE_MS: f64 = 0.01;
/// Registers in one hole, at most, however cheap they are.
const HOLE_MAX: u32 = 64;
/// Registers read more to make a length different, at most.
const PAD_MAX: u16 = 8;
/// Cuts kept, at most; beyond it the one that is forgotten soonest goes.
const CUTS_MAX: usize = 4_096;
/// A cut is forgotten, and the hole tried again, after a day.
const CUT_KEPT_MS: i64 = 86_400_000;

/// Addresses that no request may cross: between the register before and this one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cuts(BTreeMap<(UnitId, FunctionCode, u16), EngineTime>);

impl Cuts {
    /// No request of `unit` crosses `at` from now on, until it is forgotten.
    pub fn add(&mut self, unit: UnitId, function: FunctionCode, at: u16, now: EngineTime) {
        if self.0.len() >= CUTS_MAX
            && let Some(key) = self.0.iter().min_by_key(|(_, until)| **until).map(|(key, _)| *key)
        {
            self.0.remove(&key);
        }
        self.0.insert((unit, function, at), now.plus(CUT_KEPT_MS));
    }

    /// Forgets what was learned long ago. True if there was something.
    pub fn forget(&mut self, now: EngineTime) -> bool {
        let before = self.0.len();
        self.0.retain(|_, until| *until > now);
        self.0.len() < before
    }

    /// All of them: unit, table, address, and when it is forgotten.
    pub fn iter(&self) -> impl Iterator<Item = (UnitId, FunctionCode, u16, EngineTime)> {
        self.0.iter().map(|((unit, function, at), until)| (*unit, *function, *at, *until))
    }

    /// One that was kept.
    pub fn restore(&mut self, unit: UnitId, function: FunctionCode, at: u16, until: EngineTime) {
        if self.0.len() < CUTS_MAX {
            self.0.insert((unit, function, at), until);
        }
    }

    /// Does a request from `first` up to, but without, `end` cross one?
    fn crossed(&self, unit: UnitId, function: FunctionCode, first: u32, end: u32) -> bool {
        let low = (unit, function, (first + 1).min(u32::from(u16::MAX)) as u16);
        let high = (unit, function, u16::MAX);
        let next = self.0.range(low..=high).next();
        next.is_some_and(|((.., at), _)| u32::from(*at) > first && u32::from(*at) < end)
    }
}

/// The question of a block.
pub fn question(block: &BlockPlan) -> Question {
    Question { unit: block.unit, function: block.function, first: block.first, count: block.count }
}

/// The requests for some blocks of one bus.
pub fn requests(bus: &BusPlan, blocks: &[BlockPlan], cuts: &Cuts) -> Vec<BlockPlan> {
    let mut pieces: Vec<BlockPlan> = blocks.iter().flat_map(pieces).collect();
    pieces.sort_by_key(|piece| {
        (piece.unit, piece.function, piece.every, piece.priority, piece.reach, piece.first, piece.count)
    });
    let mut merged: Vec<BlockPlan> = Vec::new();
    for piece in pieces {
        match merged.last_mut().filter(|block| fits(bus, block, &piece, cuts)) {
            Some(block) => append(block, piece),
            None => merged.push(piece),
        }
    }
    if bus.transport.framing() == Framing::Rtu {
        tell_apart(&mut merged, cuts);
    }
    merged
}

/// The smallest parts of a block that must be read at once.
fn pieces(block: &BlockPlan) -> Vec<BlockPlan> {
    let mut points = block.points.clone();
    points.sort_by_key(|point| (point.span(), point.point));
    let mut pieces: Vec<BlockPlan> = Vec::new();
    for point in points {
        let (from, to) = point.span();
        let first = block.first + from;
        let own = BlockPlan { first, count: to - from, points: vec![moved(point, from)], ..block.clone() };
        match pieces.last_mut().filter(|last| first < last.first + last.count) {
            Some(last) => append(last, own),
            None => pieces.push(own),
        }
    }
    pieces
}

/// A point whose block begins so much later.
fn moved(mut point: BlockPoint, by: u16) -> BlockPoint {
    point.offset -= by;
    if let Some(scale) = &mut point.scale {
        scale.offset -= by;
    }
    point
}

fn append(block: &mut BlockPlan, piece: BlockPlan) {
    let shift = piece.first - block.first;
    block.count = block.count.max(shift + piece.count);
    block.points.extend(piece.points.into_iter().map(|mut point| {
        point.offset += shift;
        if let Some(scale) = &mut point.scale {
            scale.offset += shift;
        }
        point
    }));
}

fn fits(bus: &BusPlan, block: &BlockPlan, piece: &BlockPlan, cuts: &Cuts) -> bool {
    let same = (block.unit, block.function, block.every, block.priority, block.reach)
        == (piece.unit, piece.function, piece.every, piece.priority, piece.reach);
    let first = u32::from(block.first);
    let end = first + u32::from(block.count);
    let piece_end = u32::from(piece.first) + u32::from(piece.count);
    let hole = u32::from(piece.first).saturating_sub(end);
    same && piece_end.max(end) - first <= u32::from(limit(block))
        && !cuts.crossed(block.unit, block.function, first, piece_end.max(end))
        && (hole == 0 || (block.reach.holes && hole <= HOLE_MAX && hole_is_cheaper(bus, block, hole)))
}

fn limit(block: &BlockPlan) -> u16 {
    if block.function.of_bits() { BITS_MAX } else { block.reach.registers }
}

/// Does reading over so many registers take less of the line than a request of its own?
fn hole_is_cheaper(bus: &BusPlan, block: &BlockPlan, hole: u32) -> bool {
    let bytes = if block.function.of_bits() { f64::from(hole) / 8.0 } else { f64::from(hole) * 2.0 };
    // A request without a single register of data.
    let empty = Question { count: 0, ..question(block) };
    bytes * byte_ms(bus) < request_ms(bus, empty)
}

fn byte_ms(bus: &BusPlan) -> f64 {
    bus.line.map_or(NETWORK_BYTE_MS, |line| line.character().as_secs_f64() * 1e3)
}

/// How long a request keeps its bus, ms: its bytes on the line, the silences, [`THINKING_MS`], the gap. Behind Modbus TCP
/// with a line the frames on that line are RTU's.
pub fn request_ms(bus: &BusPlan, question: Question) -> f64 {
    let framing = if bus.line.is_some() { Framing::Rtu } else { bus.transport.framing() };
    let bytes = question.request_bytes(framing) + question.answer_bytes(framing);
    let silence = bus.line.map_or(0.0, |line| line.silence().as_secs_f64() * 1e3);
    let after = silence.max(bus.gap.as_secs_f64() * 1e3);
    bytes as f64 * byte_ms(bus) + silence + after + THINKING_MS
}

/// Gives requests of one unit to one table different lengths, as far as the device lets them be read further.
fn tell_apart(requests: &mut [BlockPlan], cuts: &Cuts) {
    // Bytes of the answer, and where the request begins.
    let mut taken: BTreeMap<(UnitId, FunctionCode, u8), u16> = BTreeMap::new();
    for block in requests {
        let free = |bytes: u8, taken: &BTreeMap<_, u16>| {
            taken.get(&(block.unit, block.function, bytes)).is_none_or(|first| *first == block.first)
        };
        let bytes = question(block).shape().bytes;
        if !free(bytes, &taken) && block.reach.holes {
            let step = if block.function.of_bits() { 8 } else { 1 };
            let first = u32::from(block.first);
            let padded = (1..=PAD_MAX).map(|n| block.count + n * step).find(|&count| {
                let end = first + u32::from(count);
                let bytes = Question { count, ..question(block) }.shape().bytes;
                count <= limit(block)
                    && end <= u32::from(u16::MAX) + 1
                    && !cuts.crossed(block.unit, block.function, first, end)
                    && free(bytes, &taken)
            });
            block.count = padded.unwrap_or(block.count);
        }
        let bytes = question(block).shape().bytes;
        taken.entry((block.unit, block.function, bytes)).or_insert(block.first);
    }
}

/// Registers or bits that are read and in no point.
pub fn unused(block: &BlockPlan) -> u16 {
    let used: u16 = pieces(block).iter().map(|piece| piece.count).sum();
    block.count - used
}

/// Where a request that was refused is to be cut: what was read too far, else the hole nearest its middle, else between
/// two points. `None`: it cannot be made smaller.
pub fn cut(block: &BlockPlan) -> Option<u16> {
    let pieces = pieces(block);
    let end = block.first + block.count;
    let used = pieces.iter().map(|piece| piece.first + piece.count).max()?;
    if used < end {
        return Some(used);
    }
    let middle = i32::from(block.first) + i32::from(block.count) / 2;
    let between = pieces.windows(2).map(|pair| (pair[0].first + pair[0].count, pair[1].first));
    // Holes first; of these the one nearest the middle.
    between.min_by_key(|(from, to)| (from == to, (i32::from(*from) - middle).abs())).map(|(from, _)| from)
}

/// The cheapest question that asks a unit for something it must have: one piece without a hole.
pub fn cheapest<'b>(blocks: impl Iterator<Item = &'b BlockPlan>) -> Option<Question> {
    blocks.flat_map(pieces).map(|piece| question(&piece)).min_by_key(|question| question.count)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use gateway_model::PointIx;
    use proptest::prelude::*;

    use super::*;
    use crate::config::{Encoding, EncodingKind, LineSettings, Parity, Reach, Transport, Urgency, WordOrder};

    fn bus(transport: Transport, baud: Option<u32>) -> BusPlan {
        BusPlan {
            name: "bus".into(),
            transport,
            address: "/dev/ttyS0".into(),
            timeout: Duration::from_millis(500),
            gap: Duration::ZERO,
            line: baud.map(|baud| LineSettings { baud, parity: Parity::None, stop_bits: 1 }),
        }
    }

    fn block(first: u16, kinds: &[EncodingKind]) -> BlockPlan {
        let mut offset = 0;
        let mut points = Vec::new();
        for kind in kinds {
            let encoding = Encoding { kind: *kind, order: WordOrder::Abcd };
            points.push(BlockPoint {
                point: PointIx((first + offset).into()),
                offset,
                encoding,
                scale: None,
                codes: Vec::new(),
            });
            offset += kind.words();
        }
        BlockPlan {
            bus: 0,
            unit: UnitId(1),
            function: FunctionCode::HoldingRegisters,
            first,
            count: offset,
            every: Duration::from_secs(1),
            priority: Urgency::Normal,
            reach: Reach::PROTOCOL,
            points,
        }
    }

    fn words(first: u16, count: usize) -> BlockPlan {
        block(first, &vec![EncodingKind::U16; count])
    }

    fn shown(requests: &[BlockPlan]) -> Vec<(u16, u16)> {
        requests.iter().map(|request| (request.first, request.count)).collect()
    }

    #[test]
    fn a_hole_is_read_over_where_that_is_cheaper() {
        let blocks = [words(0, 2), words(12, 2), words(60, 1)];
        let at = |baud| shown(&requests(&bus(Transport::Rtu, Some(baud)), &blocks, &Cuts::default()));
        // At 9600 baud a register takes 2.1 ms, a request of its own about 40.
        assert_eq!(at(9_600), [(0, 14), (60, 1)]);
        assert_eq!(at(115_200), [(0, 61)]);
        assert_eq!(shown(&requests(&bus(Transport::Tcp, None), &blocks, &Cuts::default())), [(0, 61)]);
        let mut careful = blocks.clone();
        for block in &mut careful {
            block.reach.holes = false;
        }
        let apart = shown(&requests(&bus(Transport::Tcp, None), &careful, &Cuts::default()));
        assert_eq!(apart, [(0, 2), (12, 2), (60, 1)]);
        let mut small = blocks;
        for block in &mut small {
            block.reach.registers = 10;
        }
        assert_eq!(
            shown(&requests(&bus(Transport::Tcp, None), &small, &Cuts::default())),
            [(0, 2), (12, 2), (60, 1)]
        );
    }

    #[test]
    fn what_is_refused_is_cut_in_half_until_only_what_is_there_is_asked_for() {
        let tcp = bus(Transport::Tcp, None);
        let blocks = [words(0, 2), words(4, 2), words(8, 2), words(20, 2)];
        // The device has no registers 10 to 19.
        let refuses = |request: &BlockPlan| {
            (10..20).any(|at| (request.first..request.first + request.count).contains(&at))
        };
        let mut cuts = Cuts::default();
        let mut asked = 0;
        let learned = loop {
            let all = requests(&tcp, &blocks, &cuts);
            asked += 1;
            let Some(refused) = all.iter().find(|request| refuses(request)) else { break all };
            cuts.add(UnitId(1), FunctionCode::HoldingRegisters, cut(refused).unwrap(), EngineTime(0));
            assert!(asked < 10, "{cuts:?}");
        };
        assert_eq!(shown(&learned).last(), Some(&(20, 2)));
        assert!(learned.len() <= 3, "{:?}", shown(&learned));
        assert!(!cuts.forget(EngineTime(CUT_KEPT_MS - 1)));
        assert!(cuts.forget(EngineTime(CUT_KEPT_MS)), "a day later it is tried again");
        assert_eq!(shown(&requests(&tcp, &blocks, &cuts)), [(0, 22)]);
    }

    #[test]
    fn a_bad_register_among_good_ones_is_isolated() {
        let tcp = bus(Transport::Tcp, None);
        let blocks = [words(0, 16)];
        let mut cuts = Cuts::default();
        for _ in 0..16 {
            let all = requests(&tcp, &blocks, &cuts);
            let bad = all
                .iter()
                .find(|request| (request.first..request.first + request.count).contains(&5))
                .unwrap();
            let Some(at) = cut(bad) else { break };
            cuts.add(UnitId(1), FunctionCode::HoldingRegisters, at, EngineTime(0));
        }
        let all = shown(&requests(&tcp, &blocks, &cuts));
        assert!(all.contains(&(5, 1)), "{all:?}");
        assert!(all.len() <= 6, "bisection: {all:?}");
    }

    #[test]
    fn requests_of_one_device_have_different_lengths_on_a_serial_line() {
        let mut blocks = [words(0, 10), words(100, 10), words(200, 10)];
        let rtu = bus(Transport::Rtu, Some(9_600));
        assert_eq!(shown(&requests(&rtu, &blocks, &Cuts::default())), [(0, 10), (100, 11), (200, 12)]);
        let tcp = requests(&bus(Transport::Tcp, None), &blocks, &Cuts::default());
        assert_eq!(shown(&tcp), [(0, 10), (100, 10), (200, 10)], "transaction ids tell them apart");
        // What was read too far is the first to go.
        let padded = &requests(&rtu, &blocks, &Cuts::default())[1];
        assert_eq!((cut(padded), unused(padded)), (Some(110), 1));
        let mut cuts = Cuts::default();
        cuts.add(UnitId(1), FunctionCode::HoldingRegisters, 110, EngineTime(0));
        assert_eq!(shown(&requests(&rtu, &blocks, &cuts)), [(0, 10), (100, 10), (200, 11)]);
        for block in &mut blocks {
            block.reach.holes = false;
        }
        assert_eq!(shown(&requests(&rtu, &blocks, &Cuts::default())), [(0, 10), (100, 10), (200, 10)]);
    }

    proptest! {
        #[test]
        fn every_point_is_in_one_request_at_its_place(
            places in prop::collection::btree_set(0u16..600, 1..60),
            cut_at in prop::collection::vec(0u16..600, 0..8),
            rtu: bool,
            most in 4u16..=125,
        ) {
            let blocks: Vec<_> = places.iter().map(|&first| {
                let mut one = block(first, &[EncodingKind::U32]);
                one.reach.registers = most;
                one
            }).collect();
            let mut cuts = Cuts::default();
            for at in &cut_at {
                cuts.add(UnitId(1), FunctionCode::HoldingRegisters, *at, EngineTime(0));
            }
            let bus = if rtu { bus(Transport::Rtu, Some(9_600)) } else { bus(Transport::Tcp, None) };
            let requests = requests(&bus, &blocks, &cuts);
            let mut read: Vec<_> = requests.iter().flat_map(|request| {
                request.points.iter().map(|point| (point.point.0, u32::from(request.first + point.offset)))
            }).collect();
            read.sort_unstable();
            prop_assert_eq!(read, places.iter().map(|&place| (u32::from(place), u32::from(place))).collect::<Vec<_>>());
            for request in &requests {
                prop_assert!(request.count <= most);
                prop_assert!(request.points.iter().all(|point| point.span().1 <= request.count));
                // A value that overlaps a cut cannot be cut itself.
                if unused(request) > 0 {
                    prop_assert!(!cut_at.iter().any(|&at| at > request.first && at < request.first + request.count
                        && !places.iter().any(|&place| place < at && at < place + 2)));
                }
            }
        }
    }
}
