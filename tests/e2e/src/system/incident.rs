//! What goes wrong at a gateway, and how often.

use gateway_journal::faulty::Fault;

use super::BEGIN;
use crate::dice::Dice;

/// Something that happens to a gateway.
#[derive(Debug, Clone, Copy)]
pub(super) enum Incident {
    Rough { percent: u64, for_s: i64 },
    Cut { for_s: i64 },
    Kill { away_s: i64 },
    Restart,
    Full { spare: usize, for_s: i64 },
    DiskFails { after: usize, fault: Fault },
    Step { ms: i64 },
    HintsLost,
}

impl Incident {
    /// Any of them, the frequent ones more often.
    pub(super) fn any(dice: &mut Dice) -> Self {
        match dice.below(100) {
            0..30 => Self::Rough { percent: 10 + dice.below(60), for_s: dice.spread(300, 4 * 3600) },
            30..42 => Self::Cut { for_s: dice.spread(30, 40 * 3600) },
            42..66 => Self::Kill { away_s: dice.spread(1, 4 * 3600) },
            66..72 => Self::Restart,
            72..80 => Self::Full { spare: dice.below(40_000) as usize, for_s: dice.spread(300, 3 * 3600) },
            80..88 => {
                let fault = match dice.below(4) {
                    0 => Fault::Refused,
                    2 => Fault::Dropped,
                    1 => Fault::Partly(dice.below(600) as usize),
                    _ => Fault::Dead,
                };
                Self::DiskFails { after: dice.below(30) as usize, fault }
            }
            88..94 => {
                let steps = [-3_600_000, -5_000, 0, 1_500, 600_000, 10 * 365 * 86_400_000, -BEGIN.0];
                Self::Step { ms: steps[dice.below(7) as usize] }
            }
            _ => Self::HintsLost,
        }
    }
}
