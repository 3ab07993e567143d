//! Points to requests: what is wanted of one unit, side by side, is read with one request.
//!
//! Contiguous only: a hole in an instrument's map may answer with an exception, or with nothing.

use std::time::Duration;

use gateway_model::PointIx;

use super::profile::Register;
use super::site::{BlockPlan, BlockPoint, FunctionCode, UnitId};

/// Registers in one request, as the protocol allows.
pub(super) const REGISTERS_MAX: u16 = 125;
/// Bits in one request, as the protocol allows.
pub(super) const BITS_MAX: u16 = 2000;

/// One point wants one place read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim {
    /// Slot of the bus.
    pub(super) bus: usize,
    /// Whom.
    pub(super) unit: UnitId,
    /// How often.
    pub(super) every: Duration,
    /// Where and how.
    pub(super) register: Register,
    /// For which point.
    pub(super) point: PointIx,
}

/// Groups claims into requests, ordered by bus, unit, table, pace and address. Places that overlap share.
pub(super) fn coalesce(mut claims: Vec<Claim>) -> Vec<BlockPlan> {
    claims.sort_by_key(|claim| {
        let Claim { bus, unit, every, register, point } = *claim;
        (bus, unit, register.function, every, register.address, point)
    });
    let mut blocks: Vec<BlockPlan> = Vec::new();
    for claim in claims {
        match blocks.last_mut().filter(|block| fits(block, &claim)) {
            Some(block) => {
                block.count = block.count.max(claim.register.address - block.first + words(&claim));
                block.points.push(point(block.first, &claim));
            }
            None => blocks.push(BlockPlan {
                bus: claim.bus,
                unit: claim.unit,
                function: claim.register.function,
                first: claim.register.address,
                count: words(&claim),
                every: claim.every,
                points: vec![point(claim.register.address, &claim)],
            }),
        }
    }
    blocks
}

fn words(claim: &Claim) -> u16 {
    claim.register.encoding.kind.words()
}

fn point(first: u16, claim: &Claim) -> BlockPoint {
    BlockPoint {
        point: claim.point,
        offset: claim.register.address - first,
        encoding: claim.register.encoding,
    }
}

/// Does the claim begin inside the block or right behind it, and stay within what one request may ask?
fn fits(block: &BlockPlan, claim: &Claim) -> bool {
    let same = (block.bus, block.unit, block.function, block.every)
        == (claim.bus, claim.unit, claim.register.function, claim.every);
    let end = u32::from(block.first) + u32::from(block.count);
    let claim_end = u32::from(claim.register.address) + u32::from(words(claim));
    let limit = match block.function {
        FunctionCode::Coils | FunctionCode::DiscreteInputs => BITS_MAX,
        FunctionCode::HoldingRegisters | FunctionCode::InputRegisters => REGISTERS_MAX,
    };
    same && u32::from(claim.register.address) <= end && claim_end - u32::from(block.first) <= u32::from(limit)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::site::{Encoding, EncodingKind, WordOrder};
    use super::*;

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
            register: Register { function, address, encoding },
            point: PointIx(address),
        }
    }

    fn shape(claims: Vec<Claim>) -> Vec<(u8, u16, u16, usize)> {
        let shape = |block: &BlockPlan| (block.unit.0, block.first, block.count, block.points.len());
        coalesce(claims).iter().map(shape).collect()
    }

    #[test]
    fn neighbours_share_a_request_and_holes_do_not() {
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
    fn no_request_is_longer_than_the_protocol_allows() {
        let registers = (0..300).map(|address| claim(1, address, EncodingKind::U16)).collect();
        assert_eq!(shape(registers), [(1, 0, 125, 125), (1, 125, 125, 125), (1, 250, 50, 50)]);
        let pairs = (0..70).map(|n| claim(1, n * 2, EncodingKind::F32)).collect();
        assert_eq!(shape(pairs), [(1, 0, 124, 62), (1, 124, 16, 8)]);
        let bits = (0..2001).map(|address| claim(1, address, EncodingKind::Bit)).collect();
        assert_eq!(shape(bits), [(1, 0, 2000, 2000), (1, 2000, 1, 1)]);
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
                    prop_assert!(block.points.iter().any(|point| (point.offset..point.offset + point.encoding.kind.words()).contains(&register)));
                }
            }
        }
    }
}
