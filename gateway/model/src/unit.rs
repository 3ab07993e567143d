//! Units of points and parameters, and which may be compared.

use minicbor::{Decode, Encode};

/// What is measured. Two quantities may be compared only within one dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dimension {
    /// Plain number.
    One,
    /// True or false.
    Truth,
    /// Temperature.
    Temperature,
    /// Pressure.
    Pressure,
    /// Duration.
    Duration,
    /// Mass.
    Mass,
    /// Power.
    Power,
    /// Energy.
    Energy,
    /// Irradiance.
    Irradiance,
    /// Voltage.
    Voltage,
    /// Current.
    Current,
    /// Frequency.
    Frequency,
    /// Concentration.
    Concentration,
    /// Relative humidity and other percentages.
    Percent,
}

macro_rules! units {
    ($($(#[$doc:meta])* $n:literal $name:ident, $symbol:literal, $dimension:ident, $factor:expr;)*) => {
        /// The unit of a number.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
        #[cbor(index_only)]
        pub enum Unit { $($(#[$doc])* #[n($n)] $name,)* }

        impl Unit {
            /// Every unit, in the order of its code.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// As written in packs, profiles and on screens.
            pub fn symbol(self) -> &'static str {
                match self { $(Self::$name => $symbol,)* }
            }

            /// What it measures.
            pub fn dimension(self) -> Dimension {
                match self { $(Self::$name => Dimension::$dimension,)* }
            }

            /// One of this unit in the dimension's base unit (°C, kPa, ms, kg, W, kWh, µW/cm², …).
            pub fn factor(self) -> f64 {
                match self { $(Self::$name => $factor,)* }
            }
        }
    };
}

units! {
    /// No unit.
    0 One, "1", One, 1.0;
    /// True (1) or false (0).
    1 Truth, "bool", Truth, 1.0;
    /// Degrees Celsius.
    2 Celsius, "°C", Temperature, 1.0;
    /// Kilopascal.
    3 Kilopascal, "kPa", Pressure, 1.0;
    /// Pascal.
    4 Pascal, "Pa", Pressure, 0.001;
    /// Millisecond.
    5 Millisecond, "ms", Duration, 1.0;
    /// Second.
    6 Second, "s", Duration, 1000.0;
    /// Minute.
    7 Minute, "min", Duration, 60_000.0;
    /// Hour.
    8 Hour, "h", Duration, 3_600_000.0;
    /// Kilogram.
    9 Kilogram, "kg", Mass, 1.0;
    /// Gram.
    10 Gram, "g", Mass, 0.001;
    /// Watt.
    11 Watt, "W", Power, 1.0;
    /// Kilowatt.
    12 Kilowatt, "kW", Power, 1000.0;
    /// Kilowatt hour.
    13 KilowattHour, "kWh", Energy, 1.0;
    /// Microwatt per square centimetre (UV lamps).
    14 MicrowattPerCm2, "µW/cm²", Irradiance, 1.0;
    /// Volt.
    15 Volt, "V", Voltage, 1.0;
    /// Ampere.
    16 Ampere, "A", Current, 1.0;
    /// Hertz.
    17 Hertz, "Hz", Frequency, 1.0;
    /// Percent.
    18 Percent, "%", Percent, 1.0;
    /// Milligram per cubic metre (ozone).
    19 MilligramPerM3, "mg/m³", Concentration, 1.0;
    /// Watt per square metre (UV probes); 1 W/m² = 100 µW/cm².
    20 WattPerM2, "W/m²", Irradiance, 100.0;
    /// Watt hour.
    21 WattHour, "Wh", Energy, 0.001;
}

impl Unit {
    /// The unit with this symbol.
    pub fn parse(symbol: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|unit| unit.symbol() == symbol)
    }
}
