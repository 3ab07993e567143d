//! Values as received, before gain and offset: anybody can decode a record anew.

use minicbor::{Decode, Encode};

/// What a register or payload field held, after word order and before scaling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub enum Raw {
    /// Integers, coils and inputs (0 or 1).
    #[n(0)]
    Int(#[n(0)] i64),
    /// Bits of an IEEE 754 single.
    #[n(1)]
    F32(#[n(0)] u32),
    /// Bits of an IEEE 754 double.
    #[n(2)]
    F64(#[n(0)] u64),
    /// A number written as text: `mantissa × 10^exponent`, exactly as many digits as were sent.
    #[n(3)]
    Dec {
        /// All digits, with sign.
        #[n(0)]
        mantissa: i64,
        /// Power of ten.
        #[n(1)]
        exponent: i8,
    },
}

impl Raw {
    /// The number before gain and offset; `None` where the bits are not a finite number.
    pub fn number(self) -> Option<f64> {
        let number = match self {
            Self::Int(value) => value as f64,
            Self::F32(bits) => f64::from(f32::from_bits(bits)),
            Self::F64(bits) => f64::from_bits(bits),
            Self::Dec { mantissa, exponent } => decimal(mantissa, exponent),
        };
        number.is_finite().then_some(number)
    }

    /// `raw × gain + offset` in the point's unit: 235 counts at gain 0.1 is 23.5 °C.
    pub fn value(self, gain: f64, offset: f64) -> Option<f64> {
        self.number().map(|number| number * gain + offset).filter(|value| value.is_finite())
    }
}

/// One division or multiplication by an exact power of ten, so that `305 × 10^-1` is the double nearest 30.5.
fn decimal(mantissa: i64, exponent: i8) -> f64 {
    let mut power = 1.0;
    for _ in 0..exponent.unsigned_abs() {
        power *= 10.0;
    }
    if exponent < 0 { mantissa as f64 / power } else { mantissa as f64 * power }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_numbers_are_the_nearest_double() {
        assert_eq!(Raw::Dec { mantissa: 305, exponent: -1 }.number(), Some(30.5));
        assert_eq!(Raw::Dec { mantissa: -12, exponent: 2 }.number(), Some(-1200.0));
    }

    #[test]
    fn not_a_number_is_no_number() {
        assert_eq!(Raw::F32(f32::NAN.to_bits()).number(), None);
        assert_eq!(Raw::F64(f64::INFINITY.to_bits()).value(1.0, 0.0), None);
    }

    #[test]
    fn scaling_is_gain_then_offset() {
        assert_eq!(Raw::Int(1200).value(0.1, -5.0), Some(115.0));
    }
}
