//! Saturated steam: region 4 of IAPWS-IF97, both ways. Promises 0.1 % against the table of domain.md A.3.

/// Ambient pressure, kPa absolute.
pub const AMBIENT_KPA: f64 = 101.3;

const N: [f64; 10] = [
    0.116_705_214_527_67e4,
    -0.724_213_167_032_06e6,
    -0.170_738_469_400_92e2,
    0.120_208_247_024_70e5,
    -0.323_255_503_223_33e7,
    0.149_151_086_135_30e2,
    -0.482_326_573_615_91e4,
    0.405_113_405_420_57e6,
    -0.238_555_575_678_49,
    0.650_175_348_447_98e3,
];

/// Saturation pressure, kPa absolute, of steam at `celsius`.
#[must_use]
pub fn pressure_kpa(celsius: f64) -> f64 {
    let kelvin = celsius + 273.15;
    let t = kelvin + N[8] / (kelvin - N[9]);
    let a = t * t + N[0] * t + N[1];
    let b = N[2] * t * t + N[3] * t + N[4];
    let c = N[5] * t * t + N[6] * t + N[7];
    let root = 2.0 * c / (-b + libm::sqrt(b * b - 4.0 * a * c));
    1000.0 * root * root * root * root
}

/// Saturation temperature, °C, of steam at `kpa` absolute.
#[must_use]
pub fn temperature_c(kpa: f64) -> f64 {
    let beta = libm::sqrt(libm::sqrt(kpa.max(0.7) / 1000.0));
    let e = beta * beta + N[2] * beta + N[5];
    let f = N[0] * beta * beta + N[3] * beta + N[6];
    let g = N[1] * beta * beta + N[4] * beta + N[7];
    let d = 2.0 * g / (-f - libm::sqrt(f * f - 4.0 * e * g));
    let sum = N[9] + d;
    (sum - libm::sqrt(sum * sum - 4.0 * (N[8] + N[9] * d))) / 2.0 - 273.15
}

#[cfg(test)]
mod tests {
    use super::*;

    /// domain.md A.3: °C, kPa absolute.
    const TABLE: [(f64, f64); 10] = [
        (115.0, 169.2),
        (118.0, 186.4),
        (121.0, 205.0),
        (124.0, 225.2),
        (126.0, 239.5),
        (129.0, 262.3),
        (132.0, 286.8),
        (134.0, 304.2),
        (137.0, 331.9),
        (138.0, 341.5),
    ];

    #[test]
    fn follows_the_table_both_ways() {
        for (celsius, kpa) in TABLE {
            let there = pressure_kpa(celsius);
            assert!((there - kpa).abs() / kpa < 0.001, "{celsius} °C gives {there} kPa, table {kpa}");
            let back = temperature_c(there);
            assert!((back - celsius).abs() < 1e-6, "{kpa} kPa gives {back} °C");
        }
    }
}
