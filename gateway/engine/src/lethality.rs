//! What heat kills, and how hot saturated steam is.
//!
//! F0 = Σ Δt·10^((T − 121.1) / 10), A0 = Σ Δt·10^((T − 80) / 10) from 65 °C (EN 285, EN ISO 15883-1; project
//! notes A.3 and A.4, C). Saturation temperature: IAPWS-IF97, region 4, backward equation (C).

/// Below this a washer-disinfector's heat does not count, °C.
const A0_FROM_C: f64 = 65.0;
/// Standard atmosphere, kPa: gauge pressures are above it. At height h above the sea it is less, and the
/// difference in temperature shows as a constant offset of about 0.3 K per 100 m at 121 °C.
const AMBIENT_KPA: f64 = 101.325;
/// Range of the saturation line, MPa.
const SATURATION_MPA: (f64, f64) = (0.000_611_213, 22.064);

/// Minutes of F0 per minute at this temperature.
pub(crate) fn f0_rate(celsius: f64) -> f64 {
    libm::pow(10.0, (celsius - 121.1) / 10.0)
}

/// Seconds of A0 per second at this temperature.
pub(crate) fn a0_rate(celsius: f64) -> f64 {
    if celsius < A0_FROM_C { 0.0 } else { libm::pow(10.0, (celsius - 80.0) / 10.0) }
}

/// Temperature of saturated steam at this gauge pressure, °C; `None` where there is none.
pub(crate) fn saturation_c(gauge_kpa: f64) -> Option<f64> {
    let mpa = (gauge_kpa + AMBIENT_KPA) / 1000.0;
    if !(mpa >= SATURATION_MPA.0 && mpa <= SATURATION_MPA.1) {
        return None;
    }
    let beta = libm::sqrt(libm::sqrt(mpa));
    let e = beta * beta - 17.073_846_940_092 * beta + 14.915_108_613_530;
    let f = 1_167.052_145_276_7 * beta * beta + 12_020.824_702_470 * beta - 4_823.265_736_159_1;
    let g = -724_213.167_032_06 * beta * beta - 3_232_555.032_233_3 * beta + 405_113.405_420_57;
    let d = 2.0 * g / (-f - libm::sqrt(f * f - 4.0 * e * g));
    let sum = 650.175_348_447_98 + d;
    let kelvin = (sum - libm::sqrt(sum * sum - 4.0 * (-0.238_555_575_678_49 + 650.175_348_447_98 * d))) / 2.0;
    Some(kelvin - 273.15).filter(|celsius| celsius.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Project notes A.3: absolute kPa of saturated steam (IAPWS-IF97, C).
    #[test]
    fn saturated_steam_is_as_hot_as_the_tables_say() {
        for (celsius, absolute) in [
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
        ] {
            let found = saturation_c(absolute - AMBIENT_KPA).unwrap_or_default();
            assert!((found - celsius).abs() < 0.03, "{celsius}: {found}");
        }
        // The same table above the ambient pressure it names.
        let gauge = [67.9, 85.1, 103.7, 123.8, 138.1, 160.9, 185.5, 202.9, 230.5, 240.2];
        for (celsius, gauge) in
            [115.0, 118.0, 121.0, 124.0, 126.0, 129.0, 132.0, 134.0, 137.0, 138.0].into_iter().zip(gauge)
        {
            let found = saturation_c(gauge).unwrap_or_default();
            assert!((found - celsius).abs() < 0.04, "{celsius}: {found}");
        }
        // IAPWS-IF97, table 36: 0.1, 1 and 10 MPa.
        for (mpa, kelvin) in [(0.1, 372.755_919), (1.0, 453.035_632), (10.0, 584.149_488)] {
            let found = saturation_c(mpa * 1000.0 - AMBIENT_KPA).unwrap_or_default() + 273.15;
            assert!((found - kelvin).abs() < 1e-5, "{mpa}: {found}");
        }
        assert_eq!(saturation_c(-101.3), None);
        assert_eq!(saturation_c(f64::NAN), None);
    }

    /// Project notes A.3: F0 in minutes (C).
    #[test]
    fn f0_is_as_tabled() {
        for (celsius, minutes, f0) in [
            (121.0, 15.0, 14.7),
            (121.0, 20.0, 19.5),
            (121.0, 30.0, 29.3),
            (126.0, 10.0, 30.9),
            (132.0, 4.0, 49.2),
            (134.0, 3.0, 58.5),
            (134.0, 4.0, 78.0),
            (134.0, 18.0, 351.0),
        ] {
            let found = f0_rate(celsius) * minutes;
            assert!((found - f0).abs() < 0.06_f64.max(f0 * 0.001), "{celsius} {minutes}: {found}");
        }
    }

    /// Project notes A.4: A0 in seconds (C).
    #[test]
    fn a0_is_as_tabled() {
        for (celsius, seconds, a0) in [
            (90.0, 60.0, 600.0),
            (90.0, 300.0, 3000.0),
            (80.0, 600.0, 600.0),
            (93.0, 150.0, 2993.0),
            (75.0, 1800.0, 569.0),
            (70.0, 6000.0, 600.0),
            (85.0, 40.0, 126.0),
        ] {
            let found = a0_rate(celsius) * seconds;
            assert!((found - a0).abs() < 0.6, "{celsius} {seconds}: {found}");
        }
        assert!(a0_rate(64.9).abs() < f64::EPSILON, "below 65 °C nothing counts");
    }
}
