//! Weighing indicators that send without being asked: the frames of domain.md C.5.
//!
//! None of the three carries a stable flag: a reader has to compare consecutive frames. Weights beyond what six digits can
//! say are held at the end of the display.

use std::time::Duration;

use crate::signal::{SignalIx, Signals};

/// How an indicator writes a weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Yaohua XK3190-A9, A12: continuous, tf = 0, 12 bytes with a XOR.
    YaohuaTf0,
    /// Yaohua, Keli: continuous, tf = 1 or 2: `=`, then the digits, last first.
    Equals,
    /// Yaohua A12E: `ww000.000kg` gross, `wn…` net, `wt…` tare, each with CR LF (the line end is ours: no text shows one).
    YaohuaAscii,
}

/// An indicator on an endpoint of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Indicator {
    /// How it writes.
    pub format: Format,
    /// Digits behind the point, 0 to 4.
    pub decimals: u8,
    /// Time between two frames.
    pub every: Duration,
    /// Gross, net and tare of the scale.
    pub values: [SignalIx; 3],
}

/// A weight in its last digits, held at what six digits can say.
fn digits(kg: f64, decimals: u8) -> i64 {
    let steps = libm::round(kg * libm::pow(10.0, f64::from(decimals)));
    steps.clamp(-999_999.0, 999_999.0) as i64
}

/// `STX sign d d d d d d decimals XOR XOR ETX`: XOR over the eight bytes between, as two hexadecimal digits.
#[must_use]
pub fn yaohua_tf0(kg: f64, decimals: u8) -> Vec<u8> {
    let steps = digits(kg, decimals);
    let sign = if steps < 0 { '-' } else { '+' };
    let body = format!("{sign}{:06}{decimals}", steps.abs());
    let xor = body.bytes().fold(0, |xor, byte| xor ^ byte);
    let mut frame = vec![0x02];
    frame.extend(format!("{body}{xor:02X}").bytes());
    frame.push(0x03);
    frame
}

/// `=` and seven characters, last first; the sign, if there is one, comes last of all.
#[must_use]
pub fn equals(kg: f64, decimals: u8) -> Vec<u8> {
    let shown = plain(kg, decimals);
    std::iter::once(b'=').chain(shown.bytes().rev()).collect()
}

/// `w`, the kind (`w` gross, `n` net, `t` tare), seven characters, `kg`, CR LF.
#[must_use]
pub fn yaohua_ascii(kind: char, kg: f64, decimals: u8) -> Vec<u8> {
    format!("w{kind}{}kg\r\n", plain(kg, decimals)).into_bytes()
}

/// Seven characters, sign and point among them.
fn plain(kg: f64, decimals: u8) -> String {
    let steps = digits(kg, decimals) as f64 / libm::pow(10.0, f64::from(decimals));
    format!("{steps:07.*}", usize::from(decimals))
}

impl Indicator {
    /// What it sends now: one frame, or for the ASCII mode what the display shows and the tare.
    #[must_use]
    pub fn frame(&self, signals: &Signals) -> Vec<u8> {
        let [gross, net, tare] = self.values.map(|ix| signals.shown(ix));
        let tared = tare.abs() > 1e-9;
        let shown = if tared { net } else { gross };
        match self.format {
            Format::YaohuaTf0 => yaohua_tf0(shown, self.decimals),
            Format::Equals => equals(shown, self.decimals),
            Format::YaohuaAscii => {
                let mut frames = yaohua_ascii(if tared { 'n' } else { 'w' }, shown, self.decimals);
                frames.extend(yaohua_ascii('t', tare, self.decimals));
                frames
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
    }

    #[test]
    fn frames_of_the_field() {
        // domain.md C.5: two captures, then the vectors made for this project.
        for (kg, decimals, frame) in [
            (1560.0, 0, "022B30303135363030313903"),
            (0.0, 0, "022b30303030303030314203"),
            (12.34, 2, "022b30303132333432314403"),
            (-5.0, 1, "022d30303030353031313903"),
        ] {
            assert_eq!(yaohua_tf0(kg, decimals), hex(frame), "{kg}");
        }
        assert_eq!(yaohua_ascii('w', 0.0, 3), b"ww000.000kg\r\n");
        assert_eq!(yaohua_ascii('n', -0.1, 1), b"wn-0000.1kg\r\n");
        assert_eq!(yaohua_ascii('t', 0.0, 3), b"wt000.000kg\r\n");
        assert_eq!(equals(123.4, 1), b"=4.32100");
        assert_eq!(equals(-0.5, 1), b"=5.0000-");
    }

    #[test]
    fn weights_beyond_the_display_are_held() {
        assert_eq!(yaohua_tf0(1e12, 2)[1..9], *b"+9999992");
        assert_eq!(yaohua_tf0(f64::NEG_INFINITY, 2)[1..9], *b"-9999992");
    }
}
