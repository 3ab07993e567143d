//! Runs of readings as columns of small numbers.
//!
//! A *track* is everything that stays the same from one reading of a point to the next: point, quality, form of
//! the value, power of ten. A record lists its tracks once, in the order of their points, so a reading is three small
//! numbers: how many tracks further, how much later, how much more. Numbers stay exact: a float is written as a
//! decimal only where that decimal gives its bits back, else as the difference of bit patterns. What was last seen of
//! a track is remembered from run to run, so that an input between two readings costs little.
//!
//! `docs/records.md` describes the bytes for strangers; a change here is a new version of the inputs body.

use gateway_model::{BadCause, EngineTime, PointIx, Quality, Raw, Reading, UncertainCause};

use crate::varint::{self, Reader};

/// Readings and other inputs of one record, at most. The gateway seals at 1,000; this bounds what a decoder
/// builds from a small record.
pub const ITEMS_MAX: usize = 65_536;

/// Powers of ten tried for floats: instruments send a few decimals, and more would not save bytes.
const SCALE_MAX: u8 = 9;
/// Whole numbers that a double holds exactly.
const EXACT_MAX: i64 = 1 << 53;

/// How a track's values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Form {
    /// No value: quality is bad.
    None,
    /// The integer.
    Int,
    /// The bits of a single.
    Bits32,
    /// The bits of a double.
    Bits64,
    /// A single, as a whole number to be divided by 10^scale.
    Scaled32(u8),
    /// A double, likewise.
    Scaled64(u8),
    /// Mantissa of a decimal with this exponent.
    Dec(i8),
}

impl Form {
    fn code(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Int => 1,
            Self::Bits32 => 2,
            Self::Bits64 => 3,
            Self::Scaled32(_) => 4,
            Self::Scaled64(_) => 5,
            Self::Dec(_) => 6,
        }
    }

    fn exponent(self) -> Option<u8> {
        match self {
            Self::None | Self::Int | Self::Bits32 | Self::Bits64 => None,
            Self::Scaled32(scale) | Self::Scaled64(scale) => Some(scale),
            Self::Dec(exponent) => Some(exponent as u8),
        }
    }

    fn read(code: u8, columns: &mut Reader) -> Result<Self, &'static str> {
        let mut scale = || match columns.byte()? {
            scale @ 0..=SCALE_MAX => Ok(scale),
            _ => Err("a scale that is not used"),
        };
        Ok(match code {
            0 => Self::None,
            1 => Self::Int,
            2 => Self::Bits32,
            3 => Self::Bits64,
            4 => Self::Scaled32(scale()?),
            5 => Self::Scaled64(scale()?),
            6 => Self::Dec(columns.byte()? as i8),
            _ => return Err("a form of values that is not known"),
        })
    }

    /// The number that stands for `raw` in a column of this form, if it can.
    fn number(self, raw: Option<Raw>) -> Option<i64> {
        let number = match (self, raw) {
            (Self::None, None) => 0,
            (Self::Int, Some(Raw::Int(value))) => value,
            (Self::Bits32, Some(Raw::F32(bits))) => i64::from(bits),
            (Self::Bits64, Some(Raw::F64(bits))) => bits as i64,
            (Self::Scaled32(scale), Some(Raw::F32(bits))) => scaled(f64::from(f32::from_bits(bits)), scale)?,
            (Self::Scaled64(scale), Some(Raw::F64(bits))) => scaled(f64::from_bits(bits), scale)?,
            (Self::Dec(exponent), Some(Raw::Dec { mantissa, exponent: same })) if same == exponent => {
                mantissa
            }
            _ => return None,
        };
        (self.raw(number).ok()? == raw).then_some(number)
    }

    /// The value that `number` stands for.
    fn raw(self, number: i64) -> Result<Option<Raw>, &'static str> {
        let quotient = |scale| {
            let exact = number.unsigned_abs() <= EXACT_MAX as u64;
            exact.then(|| number as f64 / power_of_ten(scale)).ok_or("a scaled number beyond 2^53")
        };
        Ok(Some(match self {
            Self::None => return if number == 0 { Ok(None) } else { Err("a value where there is none") },
            Self::Int => Raw::Int(number),
            Self::Bits32 => Raw::F32(u32::try_from(number).map_err(|_| "a single of more than 32 bits")?),
            Self::Bits64 => Raw::F64(number as u64),
            Self::Scaled32(scale) => Raw::F32((quotient(scale)? as f32).to_bits()),
            Self::Scaled64(scale) => Raw::F64(quotient(scale)?.to_bits()),
            Self::Dec(exponent) => Raw::Dec { mantissa: number, exponent },
        }))
    }
}

fn scaled(value: f64, scale: u8) -> Option<i64> {
    let number = (value * power_of_ten(scale)).round();
    (number.abs() <= EXACT_MAX as f64).then_some(number as i64)
}

/// Exact: 10^22 is the largest power of ten that a double holds.
fn power_of_ten(scale: u8) -> f64 {
    (0..scale).fold(1.0, |power, _| power * 10.0)
}

/// Code of a value that nobody renewed in time; the codes below it are of answers.
const STALE: u8 = 3;

/// 0 good, 1… uncertain by cause, 4… bad by cause. Codes are those of the causes in `gateway-model`.
fn quality_code(value: Quality<Raw>) -> u8 {
    match value {
        Quality::Good(_) => 0,
        Quality::Uncertain(_, cause) => match cause {
            UncertainCause::Clock => 1,
            UncertainCause::Held => 2,
            UncertainCause::Stale => STALE,
        },
        Quality::Bad(cause) => 4 + cause.code() as u8,
    }
}

fn with_quality(code: u8, raw: Option<Raw>) -> Result<Quality<Raw>, &'static str> {
    let uncertain = match code {
        1 => Some(UncertainCause::Clock),
        2 => Some(UncertainCause::Held),
        3 => Some(UncertainCause::Stale),
        _ => None,
    };
    match (code, raw) {
        (0, Some(raw)) => Ok(Quality::Good(raw)),
        (1..=3, Some(raw)) => Ok(Quality::Uncertain(raw, uncertain.ok_or("a quality that is not known")?)),
        (4.., None) => {
            let cause = BadCause::ALL.get(usize::from(code) - 4);
            cause.copied().map(Quality::Bad).ok_or("a quality that is not known")
        }
        (0..=3, None) => Err("a quality that needs a value, without one"),
        (4.., Some(_)) => Err("a bad quality with a value"),
    }
}

/// What stays the same from reading to reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Track {
    point: PointIx,
    quality: u8,
    form: Form,
}

/// What both sides remember from one reading of a record to the next.
struct Memory {
    tracks: Vec<Remembered>,
    /// Track of the reading before; the last one at first, so that the first is expected.
    last: usize,
    now: i64,
}

struct Remembered {
    track: Track,
    /// Its last number; 0 at first.
    number: i64,
    /// How much later than the reading before it was the last time; 0 at first.
    lag: i64,
}

impl Memory {
    fn new(t0: EngineTime, tracks: impl Iterator<Item = Track>) -> Self {
        let tracks: Vec<_> = tracks.map(|track| Remembered { track, number: 0, lag: 0 }).collect();
        Self { last: tracks.len().saturating_sub(1), tracks, now: t0.0 }
    }

    /// How many tracks are skipped to get to `track`: points are read in turns, and few turns leave one out.
    fn skipped(&self, track: usize) -> usize {
        let ahead = track + self.tracks.len() - self.last - 1;
        // Less than twice round: cheaper than a division for each reading.
        if ahead < self.tracks.len() { ahead } else { ahead - self.tracks.len() }
    }

    /// The lag that a reading of `track` probably has: what it had before if its turn comes as expected.
    fn expected_lag(&self, track: usize, skipped: usize) -> i64 {
        if skipped == 0 { self.tracks[track].lag } else { 0 }
    }

    /// Notes a reading of `track`.
    fn saw(&mut self, track: usize, at: i64, number: i64) {
        let turn = self.skipped(track) == 0;
        let remembered = &mut self.tracks[track];
        if turn {
            remembered.lag = at.wrapping_sub(self.now);
        }
        remembered.number = number;
        (self.last, self.now) = (track, at);
    }
}

/// Writes the runs of one record.
pub(crate) struct Writer {
    memory: Memory,
    /// The key of each track, sorted.
    keys: Vec<Key>,
    /// How many readings each track has.
    lengths: Vec<u32>,
}

/// Point, quality and kind of a reading in one number: in the order of the three, and compared at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key(u64);

impl Key {
    fn point(self) -> PointIx {
        PointIx((self.0 >> 32) as u32)
    }

    fn quality(self) -> u8 {
        (self.0 >> 16) as u8
    }
}

/// What decides which forms a value can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    None,
    Int,
    F32,
    F64,
    Dec(i8),
}

fn kind(reading: &Reading) -> Kind {
    match reading.value.number() {
        None => Kind::None,
        Some(Raw::Int(_)) => Kind::Int,
        Some(Raw::F32(_)) => Kind::F32,
        Some(Raw::F64(_)) => Kind::F64,
        Some(Raw::Dec { exponent, .. }) => Kind::Dec(exponent),
    }
}

fn key(reading: &Reading) -> Key {
    let kind = match kind(reading) {
        Kind::None => 0,
        Kind::Int => 1 << 8,
        Kind::F32 => 2 << 8,
        Kind::F64 => 3 << 8,
        // In the order of exponents, negative ones first.
        Kind::Dec(exponent) => 4 << 8 | u64::from(exponent as u8 ^ 0x80),
    };
    Key(u64::from(reading.point.0) << 32 | u64::from(quality_code(reading.value)) << 16 | kind)
}

impl Writer {
    /// For a record that begins at `t0` and holds these readings, over all its runs.
    pub(crate) fn new<'r>(t0: EngineTime, readings: impl Iterator<Item = &'r Reading>) -> Self {
        let mut sorted: Vec<(Key, &Reading)> = Vec::with_capacity(readings.size_hint().1.unwrap_or(0));
        sorted.extend(readings.map(|reading| (key(reading), reading)));
        // Stable: the values of a track stay in their order. What one request brought is in order already.
        sorted.sort_by_key(|(key, _)| *key);
        let mut values = Vec::new();
        let (mut tracks, mut keys, mut lengths) = (Vec::new(), Vec::new(), Vec::new());
        for own in sorted.chunk_by(|(one, _), (next, _)| one == next) {
            let Some((key, first)) = own.first() else { continue };
            values.clear();
            values.extend(own.iter().filter_map(|(_, reading)| reading.value.number()));
            let form = best_form(kind(first), &values);
            tracks.push(Track { point: key.point(), quality: key.quality(), form });
            keys.push(*key);
            lengths.push(own.len() as u32);
        }
        Self { memory: Memory::new(t0, tracks.into_iter()), keys, lengths }
    }

    /// How many readings whose value was an answer each point has, by point.
    pub(crate) fn kept(&self) -> Vec<(PointIx, u32)> {
        let answers = self.keys.iter().zip(&self.lengths).filter(|(key, _)| key.quality() < STALE);
        let mut kept: Vec<(PointIx, u32)> = Vec::with_capacity(self.keys.len());
        for (key, length) in answers {
            match kept.last_mut().filter(|(point, _)| *point == key.point()) {
                Some((_, n)) => *n += length,
                None => kept.push((key.point(), *length)),
            }
        }
        kept
    }

    /// The track of a reading: mostly the one behind that of the reading before.
    fn track(&self, reading: &Reading) -> usize {
        let key = key(reading);
        let next = self.memory.last + 1;
        let next = if next < self.keys.len() { next } else { 0 };
        if self.keys.get(next) == Some(&key) {
            return next;
        }
        self.keys.binary_search(&key).expect("tracks were made of all readings")
    }

    /// The record's clock, which [`Writer::run`] moves on.
    pub(crate) fn now(&mut self) -> &mut i64 {
        &mut self.memory.now
    }

    /// All tracks, for the beginning of the record.
    pub(crate) fn tracks(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let tracks = &self.memory.tracks;
        if tracks.is_empty() {
            return out;
        }
        varint::put(&mut out, tracks.len() as u64);
        let mut before = 0;
        for Remembered { track, .. } in tracks {
            let point = track.point.0;
            varint::put(&mut out, u64::from(point - std::mem::replace(&mut before, point)));
        }
        out.extend(tracks.iter().map(|t| t.track.form.code() << 4 | t.track.quality));
        out.extend(tracks.iter().filter_map(|t| t.track.form.exponent()));
        out
    }

    /// One run.
    pub(crate) fn run(&mut self, readings: &[Reading]) -> Vec<u8> {
        let mut columns: [Vec<u8>; 3] = Default::default();
        let [tracks, lags, numbers] = &mut columns;
        for reading in readings {
            let track = self.track(reading);
            let Remembered { track: Track { form, .. }, number: before, .. } = self.memory.tracks[track];
            let skipped = self.memory.skipped(track);
            varint::put(tracks, skipped as u64);
            let lag = reading.at.0.wrapping_sub(self.memory.now);
            varint::put_signed(lags, lag.wrapping_sub(self.memory.expected_lag(track, skipped)));
            let number = form.number(reading.value.number());
            let number = number.expect("the form was chosen for all values of the track");
            if form != Form::None {
                varint::put_signed(numbers, number.wrapping_sub(before));
            }
            self.memory.saw(track, reading.at.0, number);
        }
        let mut run = Vec::new();
        varint::put(&mut run, readings.len() as u64);
        for column in &columns {
            run.extend_from_slice(column);
        }
        run
    }
}

/// The form that takes the fewest bytes for these values of one kind.
fn best_form(kind: Kind, values: &[Raw]) -> Form {
    let (bits, scaled): (Form, fn(u8) -> Form) = match kind {
        Kind::None => return Form::None,
        Kind::Int => return Form::Int,
        Kind::Dec(exponent) => return Form::Dec(exponent),
        Kind::F32 => (Form::Bits32, Form::Scaled32),
        Kind::F64 => (Form::Bits64, Form::Scaled64),
    };
    // The smallest scale that every value has; a value that fits a scale fits the next one too, up to 2^53.
    let mut scale = 0;
    for value in values {
        while scale <= SCALE_MAX && scaled(scale).number(Some(*value)).is_none() {
            scale += 1;
        }
    }
    let cost = |form: Form| {
        let mut last = 0i64;
        values.iter().try_fold(0, |sum, value| {
            let number = form.number(Some(*value))?;
            let step = number.wrapping_sub(std::mem::replace(&mut last, number));
            Some(sum + varint::signed_len(step))
        })
    };
    let scaled = (scale <= SCALE_MAX).then(|| scaled(scale));
    match (cost(bits), scaled.and_then(|form| Some((cost(form)?, form)))) {
        (Some(plain), Some((cost, form))) if cost < plain => form,
        (Some(_) | None, Some(_) | None) => bits,
    }
}

/// Reads the runs of one record.
pub(crate) struct RunReader {
    memory: Memory,
}

impl RunReader {
    /// For a record that begins at `t0` with these tracks.
    pub(crate) fn new(t0: EngineTime, tracks: &[u8]) -> Result<Self, &'static str> {
        let tracks = if tracks.is_empty() { Vec::new() } else { read_tracks(tracks)? };
        Ok(Self { memory: Memory::new(t0, tracks.into_iter()) })
    }

    /// The record's clock, which [`RunReader::run`] moves on.
    pub(crate) fn now(&mut self) -> &mut i64 {
        &mut self.memory.now
    }

    /// Reads one run and gives each of its readings, in order; at most `limit`.
    pub(crate) fn run(
        &mut self,
        bytes: &[u8],
        limit: usize,
        mut each: impl FnMut(Reading),
    ) -> Result<(), &'static str> {
        let columns = &mut Reader::new(bytes);
        let n = columns.count()?;
        if n == 0 {
            return Err("a run without readings");
        }
        if n > limit {
            return Err("too many inputs");
        }
        let memory = &mut self.memory;
        let tracks = memory.tracks.len();
        let skips = (0..n).map(|_| columns.narrow()).collect::<Result<Vec<usize>, _>>()?;
        if skips.iter().any(|skipped| *skipped >= tracks) {
            return Err("a track that is not listed");
        }
        let lags = (0..n).map(|_| columns.signed()).collect::<Result<Vec<_>, _>>()?;
        for (skipped, lag) in skips.into_iter().zip(lags) {
            let track = (memory.last + 1 + skipped) % tracks;
            let at = memory.now.wrapping_add(memory.expected_lag(track, skipped)).wrapping_add(lag);
            let Remembered { track: Track { point, quality, form }, number: before, .. } =
                memory.tracks[track];
            let number = if form == Form::None { 0 } else { before.wrapping_add(columns.signed()?) };
            let value = with_quality(quality, form.raw(number)?)?;
            memory.saw(track, at, number);
            each(Reading { point, at: EngineTime(at), value });
        }
        columns.end()
    }
}

fn read_tracks(bytes: &[u8]) -> Result<Vec<Track>, &'static str> {
    let columns = &mut Reader::new(bytes);
    let n = columns.count()?;
    if n == 0 || n > ITEMS_MAX {
        return Err("a number of tracks that cannot be");
    }
    let mut point = 0u32;
    let mut points = Vec::with_capacity(n);
    for _ in 0..n {
        point =
            columns.narrow().ok().and_then(|step| point.checked_add(step)).ok_or("a point out of range")?;
        points.push(PointIx(point));
    }
    let codes = points.iter().map(|_| columns.byte()).collect::<Result<Vec<_>, _>>()?;
    let tracks = points.into_iter().zip(codes).map(|(point, code)| {
        Ok(Track { point, quality: code & 0x0f, form: Form::read(code >> 4, columns)? })
    });
    let tracks = tracks.collect::<Result<_, &'static str>>()?;
    columns.end()?;
    Ok(tracks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_orders_by_point_then_quality_then_kind() {
        let values = |n: u8| {
            let dec = |exponent| Quality::Good(Raw::Dec { mantissa: 1, exponent });
            [
                vec![Quality::Good(Raw::Int(5)), Quality::Good(Raw::F32(1)), Quality::Good(Raw::F64(1))],
                [i8::MIN, -3, -1, 0, 1, i8::MAX].map(dec).to_vec(),
                vec![
                    Quality::Uncertain(Raw::Int(0), UncertainCause::Clock),
                    Quality::Uncertain(Raw::Int(0), UncertainCause::Stale),
                    Quality::Bad(BadCause::ALL[usize::from(n)]),
                ],
            ]
            .concat()
        };
        let reading = |point: u32, value| Reading { point: PointIx(point), at: EngineTime(0), value };
        let points = [0, 1, 255, 256, u32::MAX];
        let readings: Vec<_> = points
            .iter()
            .flat_map(|&point| values(1).into_iter().map(move |value| reading(point, value)))
            .collect();
        for pair in readings.windows(2) {
            assert!(key(&pair[0]) < key(&pair[1]), "{pair:?}");
        }
        for one in &readings {
            assert_eq!((key(one).point(), key(one).quality()), (one.point, quality_code(one.value)));
        }
    }
}
