//! What a link fault makes of an answer, or of a frame sent unasked.

use std::time::Duration;

use super::LinkFault;
use crate::face::answer::{Act, Then, exception, framed};
use crate::face::frame::{Request, rtu, tcp};

/// What the other device of [`LinkFault::SameUnitId`] shows more in each word.
const NEIGHBOUR_MORE: u16 = 37;
/// What goes before an answer under [`LinkFault::Noise`].
const NOISE: [u8; 3] = [0xFF, 0x00, 0xFE];

/// What becomes of an answer under a fault. `previous` is the PDU answered before this one, if any; `turn` counts the
/// requests of this unit.
#[must_use]
pub fn spoil(
    fault: LinkFault,
    request: &Request,
    pdu: &[u8],
    previous: Option<&[u8]>,
    turn: u64,
) -> Vec<Act> {
    let unit = request.unit;
    let sound = || framed(request, unit, pdu);
    match fault {
        LinkFault::Silent => Vec::new(),
        LinkFault::Exception(code) => {
            let function = request.pdu.first().copied().unwrap_or(0);
            vec![Act::Send(framed(request, unit, &exception(function, code)))]
        }
        LinkFault::Truncated => {
            let mut frame = sound();
            frame.truncate(frame.len() - frame.len() / 3 - 1);
            vec![Act::Send(frame)]
        }
        LinkFault::WrongCrc => {
            let mut frame = sound();
            if request.transaction.is_some() {
                frame[5] = frame[5].wrapping_add(1);
            } else if let Some(last) = frame.last_mut() {
                *last ^= 0x5A;
            }
            vec![Act::Send(frame)]
        }
        LinkFault::ForeignUnit => {
            let other = if unit == 247 { 1 } else { unit + 1 };
            vec![Act::Send(framed(request, other, pdu))]
        }
        LinkFault::ForeignTransaction => vec![Act::Send(if let Some(transaction) = request.transaction {
            tcp(transaction.wrapping_sub(1), unit, pdu)
        } else {
            let mut foreign = pdu.to_vec();
            if let Some(function) = foreign.first_mut() {
                *function = if *function == 3 { 4 } else { 3 };
            }
            rtu(unit, &foreign)
        })],
        LinkFault::PreviousAnswer => {
            previous.map(|previous| vec![Act::Send(framed(request, unit, previous))]).unwrap_or_default()
        }
        LinkFault::Delay(ms) => vec![Act::Wait(Duration::from_millis(u64::from(ms))), Act::Send(sound())],
        LinkFault::Late(ms) => {
            vec![Act::After(Duration::from_millis(u64::from(ms)), Then::Send(sound()))]
        }
        LinkFault::DoubleAnswer => vec![Act::Send(sound()), Act::Send(sound())],
        LinkFault::HangUp => vec![Act::HangUp],
        LinkFault::HalfOpen => vec![Act::GoDeaf],
        LinkFault::SwappedWords => vec![Act::Send(framed(request, unit, &swapped(pdu)))],
        LinkFault::SameUnitId => {
            let other = framed(request, unit, &neighbour(pdu));
            match turn % 3 {
                0 => vec![Act::Send(sound()), Act::Send(other)],
                1 => vec![Act::Send(other)],
                _ => vec![Act::Send(sound().iter().zip(&other).map(|(a, b)| a & b).collect())],
            }
        }
        // What stands before an RTU line keeps its connection; a device with a socket of its own does not.
        LinkFault::PowerCycle { starting: false } => {
            request.transaction.map(|_| Act::HangUp).into_iter().collect()
        }
        LinkFault::PowerCycle { starting: true } => {
            let zeros = with_data(pdu, |_, data| data.fill(0));
            vec![Act::Send(framed(request, unit, &zeros))]
        }
        LinkFault::Noise => {
            let mut frame = NOISE.to_vec();
            frame.extend(sound());
            vec![Act::Send(frame)]
        }
    }
}

/// Does a request reach the device, so that what it writes is done, whatever becomes of the answer?
#[must_use]
pub fn is_taken_in(fault: LinkFault) -> bool {
    match fault {
        LinkFault::Silent
        | LinkFault::Exception(_)
        | LinkFault::HangUp
        | LinkFault::HalfOpen
        | LinkFault::PowerCycle { .. } => false,
        LinkFault::Truncated
        | LinkFault::WrongCrc
        | LinkFault::ForeignUnit
        | LinkFault::ForeignTransaction
        | LinkFault::PreviousAnswer
        | LinkFault::Delay(_)
        | LinkFault::Late(_)
        | LinkFault::DoubleAnswer
        | LinkFault::Noise
        | LinkFault::SwappedWords
        | LinkFault::SameUnitId => true,
    }
}

/// What becomes of a frame that was sent unasked. Faults that make no sense without a question keep it back.
#[must_use]
pub fn spoil_frame(fault: LinkFault, mut frame: Vec<u8>) -> Vec<Act> {
    match fault {
        LinkFault::Delay(ms) | LinkFault::Late(ms) => {
            return vec![Act::Wait(Duration::from_millis(u64::from(ms))), Act::Send(frame)];
        }
        LinkFault::HangUp => return vec![Act::HangUp],
        LinkFault::HalfOpen => return vec![Act::GoDeaf],
        LinkFault::Truncated => frame.truncate(frame.len() - frame.len() / 3 - 1),
        LinkFault::WrongCrc => {
            // The last character before the end of the frame: of the checksum, where there is one.
            let last = frame.len().saturating_sub(2);
            frame[last] ^= 0x01;
        }
        LinkFault::Noise => {
            frame.splice(0..0, NOISE);
        }
        LinkFault::DoubleAnswer => frame.extend_from_within(..),
        LinkFault::Silent
        | LinkFault::Exception(_)
        | LinkFault::ForeignUnit
        | LinkFault::ForeignTransaction
        | LinkFault::PreviousAnswer
        | LinkFault::SwappedWords
        | LinkFault::SameUnitId
        | LinkFault::PowerCycle { .. } => return Vec::new(),
    }
    vec![Act::Send(frame)]
}

/// An answer with its data changed; a refusal, or anything but a read, as it is. The first argument says whether it is words.
fn with_data(pdu: &[u8], change: impl FnOnce(bool, &mut [u8])) -> Vec<u8> {
    let mut pdu = pdu.to_vec();
    if let Some((&mut [function @ 1..=4, _], data)) = pdu.split_first_chunk_mut::<2>() {
        change(function >= 3, data);
    }
    pdu
}

/// Each pair of words the other way round.
fn swapped(pdu: &[u8]) -> Vec<u8> {
    with_data(pdu, |words, data| {
        if words {
            data.chunks_exact_mut(4).for_each(|pair| pair.rotate_left(2));
        }
    })
}

/// What another device with the same unit id answers.
fn neighbour(pdu: &[u8]) -> Vec<u8> {
    with_data(pdu, |words, data| {
        if words {
            for word in data.chunks_exact_mut(2) {
                let more = u16::from_be_bytes([word[0], word[1]]).wrapping_add(NEIGHBOUR_MORE);
                word.copy_from_slice(&more.to_be_bytes());
            }
        } else {
            for bits in data {
                *bits = !*bits;
            }
        }
    })
}

/// What a poll of documented registers brings under a fault: words, or no answer that anybody could use.
#[must_use]
pub fn seen(fault: Option<LinkFault>, mut words: Vec<u16>) -> Option<Vec<u16>> {
    match fault {
        None | Some(LinkFault::Delay(_)) => Some(words),
        Some(LinkFault::SwappedWords) => {
            words.chunks_exact_mut(2).for_each(|pair| pair.swap(0, 1));
            Some(words)
        }
        Some(LinkFault::PowerCycle { starting: true }) => {
            words.fill(0);
            Some(words)
        }
        Some(
            LinkFault::Silent
            | LinkFault::Exception(_)
            | LinkFault::Truncated
            | LinkFault::WrongCrc
            | LinkFault::ForeignUnit
            | LinkFault::ForeignTransaction
            | LinkFault::PreviousAnswer
            | LinkFault::Late(_)
            | LinkFault::DoubleAnswer
            | LinkFault::HangUp
            | LinkFault::HalfOpen
            | LinkFault::Noise
            | LinkFault::SameUnitId
            | LinkFault::PowerCycle { starting: false },
        ) => None,
    }
}
