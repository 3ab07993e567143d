//! Chance that a seed repeats.

/// SplitMix64: small, and every seed is a good one.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// For one purpose of one run.
    pub fn new(seed: u64, purpose: u64) -> Self {
        let mut dice = Self(seed);
        let mixed = dice.next() ^ purpose.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self(mixed)
    }

    /// Any number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// `0..n`; 0 where `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        self.next().checked_rem(n).unwrap_or(0)
    }

    /// `from..to`.
    pub fn between(&mut self, from: i64, to: i64) -> i64 {
        from + self.below((to - from).max(1) as u64) as i64
    }

    /// So many times in a hundred.
    pub fn percent(&mut self, n: u64) -> bool {
        self.below(100) < n
    }

    /// Short more often than long: `from..to`, every doubling equally likely.
    pub(crate) fn spread(&mut self, from: i64, to: i64) -> i64 {
        let doublings = ((to / from.max(1)).max(1) as u64).ilog2();
        let low = from << self.below(u64::from(doublings) + 1);
        self.between(low, (low * 2).min(to))
    }
}
