//! Points to blocks: what is wanted of one unit, side by side. How blocks become requests is `bus::planner`'s business.

use std::time::Duration;

use gateway_model::PointIx;

use super::profile::Register;
use super::site::{BlockPlan, BlockPoint, Reach, Scale, UnitId, Urgency};
use crate::bus::frame::BITS_MAX;

/// One point wants one place read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    /// Slot of the bus.
    pub(super) bus: usize,
    /// Whom.
    pub(super) unit: UnitId,
    /// How often.
    pub(super) every: Duration,
    /// How urgently.
    pub(super) priority: Urgency,
    /// What the device allows.
    pub(super) reach: Reach,
    /// Where and how.
    pub(super) register: Register,
    /// For which point.
    pub(super) point: PointIx,
}

/// Groups claims into blocks, ordered by bus, unit, table, pace and address. Places that overlap share.
pub(super) fn coalesce(mut claims: Vec<Claim>) -> Vec<BlockPlan> {
    claims.sort_by_key(|claim| {
        let Claim { bus, unit, every, priority, reach, ref register, point } = *claim;
        (bus, unit, register.function, every, priority, reach, register.span(), point)
    });
    let mut blocks: Vec<BlockPlan> = Vec::new();
    for claim in claims {
        let (from, to) = claim.register.span();
        match blocks.last_mut().filter(|block| fits(block, &claim)) {
            Some(block) => {
                block.count = block.count.max((to - u32::from(block.first)) as u16);
                block.points.push(point(block.first, claim));
            }
            None => blocks.push(BlockPlan {
                bus: claim.bus,
                unit: claim.unit,
                function: claim.register.function,
                first: from as u16,
                count: (to - from) as u16,
                every: claim.every,
                priority: claim.priority,
                reach: claim.reach,
                points: vec![point(from as u16, claim)],
            }),
        }
    }
    blocks
}

fn point(first: u16, claim: Claim) -> BlockPoint {
    let Register { address, encoding, scale, codes, .. } = claim.register;
    BlockPoint {
        point: claim.point,
        offset: address - first,
        encoding,
        scale: scale.map(|(at, encoding, divisor)| Scale { offset: at - first, encoding, divisor }),
        codes,
    }
}

/// Does the claim begin inside the block or right behind it, and stay within what one request may ask?
fn fits(block: &BlockPlan, claim: &Claim) -> bool {
    let same = (block.bus, block.unit, block.function, block.every, block.priority, block.reach)
        == (claim.bus, claim.unit, claim.register.function, claim.every, claim.priority, claim.reach);
    let (from, to) = claim.register.span();
    let limit = if block.function.of_bits() { BITS_MAX } else { block.reach.registers };
    let end = u32::from(block.first) + u32::from(block.count);
    same && from <= end && to - u32::from(block.first) <= u32::from(limit)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::site::{Encoding, EncodingKind, FunctionCode, WordOrder};
    use super::*;

    const REGISTERS_MAX: u16 = Reach::PROTOCOL.registers;

    fn claim(unit: u8, address: u16, kind: EncodingKind) -> Claim {
        let function = if kind == EncodingKind::Bit {
            FunctionCode::DiscreteInputs
        } else {
            FunctionCode::InputRegisters
        };
        let encoding = Encoding { kind, order: WordOrder::Abcd };
        Claim {
            bus: 0,
            unit: UnitId(unit),
            every: Duration::from_secs(10),
            priority: Urgency::Normal,
            reach: Reach::PROTOCOL,
            register: Register { function, address, encoding, scale: None, codes: Vec::new() },
            point: PointIx(address.into()),
        }
    }

    fn shape(claims: Vec<Claim>) -> Vec<(u8, u16, u16, usize)> {
        let shape = |block: &BlockPlan| (block.unit.0, block.first, block.count, block.points.len());
        coalesce(claims).iter().map(shape).collect()
    }

    #[test]
    fn neighbours_share_a_block_and_holes_do_not() {
        let u16_at = |unit, address| claim(unit, address, EncodingKind::U16);
        assert_eq!(
            shape(vec![u16_at(1, 1), u16_at(1, 0), u16_at(1, 3), u16_at(2, 4)]),
            [(1, 0, 2, 2), (1, 3, 1, 1), (2, 4, 1, 1)]
        );
        let floats = vec![
            claim(1, 0, EncodingKind::F32),
            claim(1, 2, EncodingKind::F32),
            claim(1, 6, EncodingKind::F32),
        ];
        assert_eq!(shape(floats), [(1, 0, 4, 2), (1, 6, 2, 1)]);
    }

    #[test]
    fn two_points_of_one_register_share_it() {
        let bits = vec![claim(1, 8, EncodingKind::RegisterBit(5)), claim(1, 8, EncodingKind::RegisterBit(6))];
        assert_eq!(shape(bits), [(1, 8, 1, 2)]);
    }

    #[test]
    fn no_block_is_longer_than_the_protocol_or_the_device_allows() {
        let registers = (0..300).map(|address| claim(1, address, EncodingKind::U16)).collect();
        assert_eq!(shape(registers), [(1, 0, 125, 125), (1, 125, 125, 125), (1, 250, 50, 50)]);
        let pairs = (0..70).map(|n| claim(1, n * 2, EncodingKind::F32)).collect();
        assert_eq!(shape(pairs), [(1, 0, 124, 62), (1, 124, 16, 8)]);
        let bits = (0..2001).map(|address| claim(1, address, EncodingKind::Bit)).collect();
        assert_eq!(shape(bits), [(1, 0, 2000, 2000), (1, 2000, 1, 1)]);
        let few = Reach { registers: 10, holes: true };
        let small = (0..25).map(|address| Claim { reach: few, ..claim(1, address, EncodingKind::U16) });
        assert_eq!(shape(small.collect()), [(1, 0, 10, 10), (1, 10, 10, 10), (1, 20, 5, 5)]);
    }

    #[test]
    fn a_register_that_scales_is_read_with_what_it_scales() {
        let mut scaled = claim(1, 9, EncodingKind::I16);
        let u16 = Encoding { kind: EncodingKind::U16, order: WordOrder::Abcd };
        scaled.register.scale = Some((3, u16, false));
        let blocks = coalesce(vec![scaled, claim(1, 0, EncodingKind::U16)]);
        assert_eq!(blocks.len(), 2);
        let point = &blocks[1].points[0];
        assert_eq!((blocks[1].first, blocks[1].count, point.offset), (3, 7, 6));
        assert_eq!((point.scale.map(|scale| scale.offset), point.span()), (Some(0), (0, 7)));
    }

    proptest! {
        #[test]
        fn every_point_is_read_once_and_no_register_without_a_point(
            places in prop::collection::vec((0u16..400, prop::sample::select(vec![EncodingKind::U16, EncodingKind::F32, EncodingKind::F64])), 1..80)
        ) {
            let claims: Vec<_> = places.iter().zip(0..).map(|((address, kind), n)| Claim { point: PointIx(n), ..claim(1, *address, *kind) }).collect();
            let blocks = coalesce(claims.clone());
            let mut read: Vec<_> = blocks.iter().flat_map(|block| {
                block.points.iter().map(|point| (point.point, block.first + point.offset, point.encoding.kind))
            }).collect();
            read.sort_by_key(|(point, ..)| *point);
            let wanted: Vec<_> = claims.iter().map(|claim| (claim.point, claim.register.address, claim.register.encoding.kind)).collect();
            prop_assert_eq!(read, wanted);
            for block in &blocks {
                prop_assert!(block.count <= REGISTERS_MAX);
                for register in 0..block.count {
                    prop_assert!(block.points.iter().any(|point| (point.span().0..point.span().1).contains(&register)));
                }
            }
        }
    }
}
