//! Water of a house or a dental unit: chlorine that is used up while it stands, dissolved solids, turbidity when it is drawn
//! again. No register map of a water probe was found (domain.md C.2): its values leave by MQTT.

use super::{Quantity, Seat, Tick};
use crate::noise;
use crate::signal::Signals;

/// Signals, in order.
pub const QUANTITIES: &[Quantity] = &[
    ("temperature", "°C"),
    ("tds", "mg/L"),
    ("conductivity", "µS/cm"),
    ("chlorine", "mg/L"),
    ("turbidity", "NTU"),
    ("ph", ""),
];

/// Chlorine of standing water is used up with this lag, s.
const STANDING_LAG_S: f64 = 9.0 * 3600.0;
/// Drawing brings fresh water with this lag, s.
const DRAWN_LAG_S: f64 = 600.0;
/// Standing water takes the temperature of the house with this lag, s.
const WARMING_LAG_S: f64 = 5400.0;

/// What a scenario says of the water.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Free chlorine of fresh water, mg/L.
    pub chlorine: f64,
    /// Dissolved solids, mg/L.
    pub tds: f64,
    /// Turbidity of fresh water, NTU.
    pub turbidity: f64,
    /// Acidity.
    pub ph: f64,
    /// Water is drawn in these seconds of the day.
    pub drawn: Vec<(i64, i64)>,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Water {
    settings: Settings,
    seat: Seat,
    celsius: f64,
    chlorine: f64,
    /// What has come off the pipes while it stood, NTU.
    loose: f64,
}

impl Water {
    pub(crate) fn new(settings: Settings, seat: Seat) -> Self {
        Self { celsius: 18.0, chlorine: settings.chlorine, loose: 0.0, settings, seat }
    }

    pub(crate) fn step(&mut self, tick: Tick, signals: &mut Signals) {
        let (settings, seed) = (&self.settings, self.seat.seed);
        let drawn =
            !tick.closed && settings.drawn.iter().any(|(from, to)| (*from..*to).contains(&tick.second));
        if drawn {
            self.chlorine += (settings.chlorine - self.chlorine) / DRAWN_LAG_S;
            self.celsius += (16.5 - self.celsius) / DRAWN_LAG_S;
            self.loose -= self.loose / DRAWN_LAG_S;
        } else {
            self.chlorine -= self.chlorine / STANDING_LAG_S;
            self.celsius += (super::room_c(tick.second) - self.celsius) / WARMING_LAG_S;
            self.loose += (0.5 - self.loose) / STANDING_LAG_S;
        }
        let tds = settings.tds * (1.0 + 0.02 * noise::swing(seed, tick.n / 600));
        let values = [
            self.celsius,
            tds,
            // Half a milligram per litre is about one microsiemens per centimetre.
            tds * 2.0,
            (self.chlorine + 0.01 * noise::swing(seed ^ 1, tick.n / 30)).max(0.0),
            settings.turbidity + self.loose + 0.02 * noise::swing(seed ^ 2, tick.n / 30).abs(),
            settings.ph + 0.03 * noise::swing(seed ^ 3, tick.n / 300),
        ];
        for (i, value) in values.into_iter().enumerate() {
            signals.put(self.seat.signal(i), value);
        }
    }
}
