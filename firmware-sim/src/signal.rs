//! Signals: one number per quantity of a device, and what a broken probe makes of it.
//!
//! Physics reads and writes the true value; faces show the value as a broken probe or a person's override leaves it.

/// Position of a signal in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignalIx(pub(crate) usize);

/// What is wrong between the true value and the instrument.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Probe {
    /// Nothing.
    Sound,
    /// The value of the moment it got stuck.
    Stuck(f64),
    /// Wire broken: the instrument shows its "open" sentinel.
    Open,
    /// Wires shorted: the instrument shows its "short" sentinel.
    Short,
    /// Reads so much too high.
    Offset(f64),
    /// Reads so many times too high.
    Scale(f64),
}

#[derive(Debug, Clone)]
struct Signal {
    name: String,
    unit: &'static str,
    value: f64,
    probe: Probe,
    forced: Option<f64>,
}

/// The table of all signals of a world.
#[derive(Debug, Clone, Default)]
pub struct Signals(Vec<Signal>);

impl Signals {
    pub(crate) fn add(&mut self, name: String, unit: &'static str) -> SignalIx {
        self.0.push(Signal { name, unit, value: 0.0, probe: Probe::Sound, forced: None });
        SignalIx(self.0.len() - 1)
    }

    /// The signal called `device/quantity`.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<SignalIx> {
        self.0.iter().position(|s| s.name == name).map(SignalIx)
    }

    /// The signal at a position of the table, for those who look at all of them.
    #[must_use]
    pub fn at(&self, position: usize) -> Option<SignalIx> {
        (position < self.0.len()).then_some(SignalIx(position))
    }

    /// The true value.
    #[must_use]
    pub fn value(&self, ix: SignalIx) -> f64 {
        self.0[ix.0].value
    }

    pub(crate) fn put(&mut self, ix: SignalIx, value: f64) {
        self.0[ix.0].value = value;
    }

    /// What the instrument sees: `+∞` for an open wire, `-∞` for a short.
    #[must_use]
    pub fn shown(&self, ix: SignalIx) -> f64 {
        let signal = &self.0[ix.0];
        if let Some(forced) = signal.forced {
            return forced;
        }
        match signal.probe {
            Probe::Sound => signal.value,
            Probe::Stuck(value) => value,
            Probe::Open => f64::INFINITY,
            Probe::Short => f64::NEG_INFINITY,
            Probe::Offset(by) => signal.value + by,
            Probe::Scale(factor) => signal.value * factor,
        }
    }

    /// Holds what the instrument sees at `value` until it is given `None`.
    pub fn force(&mut self, ix: SignalIx, value: Option<f64>) {
        self.0[ix.0].forced = value;
    }

    pub(crate) fn unforce_all(&mut self) {
        for signal in &mut self.0 {
            signal.forced = None;
        }
    }

    pub(crate) fn probe(&self, ix: SignalIx) -> Probe {
        self.0[ix.0].probe
    }

    pub(crate) fn set_probe(&mut self, ix: SignalIx, probe: Probe) {
        self.0[ix.0].probe = probe;
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = SignalIx> + use<> {
        (0..self.0.len()).map(SignalIx)
    }

    /// Name and unit of a signal.
    #[must_use]
    pub fn label(&self, ix: SignalIx) -> (&str, &'static str) {
        (&self.0[ix.0].name, self.0[ix.0].unit)
    }

    /// Is a person holding this value?
    #[must_use]
    pub fn is_forced(&self, ix: SignalIx) -> bool {
        self.0[ix.0].forced.is_some()
    }
}
