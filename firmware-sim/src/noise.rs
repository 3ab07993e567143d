//! Repeatable chance: every draw is a function of what it is for, never of how many draws came before.
//!
//! So adding a device, or cutting time into other pieces, changes no other device's values.

/// Mixes two numbers into one (the finaliser of SplitMix64).
#[must_use]
pub fn mix(a: u64, b: u64) -> u64 {
    let mut z = a ^ b.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A seed for a named thing (FNV-1a over the name, mixed with the scenario's seed).
#[must_use]
pub fn named(seed: u64, name: &str) -> u64 {
    let hash = name
        .bytes()
        .fold(0xCBF2_9CE4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01B3));
    mix(seed, hash)
}

/// A number in `0.0..1.0` from a draw.
#[must_use]
pub fn share(draw: u64) -> f64 {
    (draw >> 11) as f64 / (1_u64 << 53) as f64
}

/// A number in `-1.0..1.0` for this `seed` at this `turn`.
#[must_use]
pub fn swing(seed: u64, turn: i64) -> f64 {
    share(mix(seed, turn as u64)).mul_add(2.0, -1.0)
}

/// A whole number in `low..=high` for this `seed` at this `turn`.
#[must_use]
pub fn pick(seed: u64, turn: i64, low: i64, high: i64) -> i64 {
    let width = high.saturating_sub(low).max(0) as u64 + 1;
    low + (mix(seed, turn as u64) % width) as i64
}
