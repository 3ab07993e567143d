//! What a gateway that polled the whole time would have seen, as a recording.
//!
//! Format 1, JSON lines in time order. First `{"recording":1,"from","to","every","hold","scenario","seed"}` (ms), then
//! - `{"t","bus","unit","table","first","words"}`: the registers of a block at `t`. A block is written when a word of it has
//!   changed, when its unit speaks again, and every `hold` ms at least; **in between a reader holds its last words** (the
//!   device did answer, the same words);
//! - `{"t","bus","unit","silent":true,"why"}`: from here on the unit gives no usable answer, until one of its blocks comes
//!   again; repeated every `hold` ms. `why` is the fault's word;
//! - `{"t","topic","payload"}`: a message, at its own moment.
//!
//! Every time is civil ms. Polls are at `from`, `from + every`, … before `to`.

use std::fmt::Write as _;
use std::io::{self, Write};

use crate::civil::Civil;
use crate::fault::Fault;
use crate::fault::link::seen;
use crate::scenario::Scenario;
use crate::world::World;

/// A block is written at least this often, ms.
pub const HOLD_MS: i64 = 60_000;

/// What was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Polls of one unit.
    pub polls: u64,
    /// Lines.
    pub lines: u64,
    /// Messages among them.
    pub messages: u64,
    /// Bytes.
    pub bytes: u64,
}

#[derive(Default, Clone)]
struct Held {
    words: Vec<u16>,
    at: Option<i64>,
}

/// Writes the recording from `from` until before `to`, polling every `every_ms`.
pub fn write(
    scenario: &Scenario,
    world: &mut World,
    from: Civil,
    to: Civil,
    every_ms: i64,
    out: &mut impl Write,
) -> io::Result<Written> {
    let mut line = format!(
        r#"{{"recording":1,"from":{},"to":{},"every":{every_ms},"hold":{HOLD_MS},"scenario":{},"seed":{}}}"#,
        from.0,
        to.0,
        serde_json::Value::from(scenario.name.as_str()),
        scenario.seed
    );
    let mut written = Written::default();
    put(&mut line, out, &mut written)?;

    // What was published before is not part of it.
    world.step_to(Civil(from.0 - 1));
    world.take_messages().for_each(drop);

    let names: Vec<String> =
        scenario.endpoints.iter().map(|e| serde_json::Value::from(e.name.as_str()).to_string()).collect();
    // Per endpoint and unit: the blocks as last written, and since when it is silent.
    let mut held: Vec<Vec<Vec<Held>>> = scenario
        .endpoints
        .iter()
        .map(|e| e.units.iter().map(|u| vec![Held::default(); u.map.blocks().len()]).collect())
        .collect();
    let mut silent: Vec<Vec<Option<i64>>> =
        scenario.endpoints.iter().map(|e| vec![None; e.units.len()]).collect();

    let mut at = from.0;
    while at < to.0 {
        world.step_to(Civil(at));
        messages(world, &mut line, out, &mut written)?;
        for (e, endpoint) in scenario.endpoints.iter().enumerate() {
            for (u, unit) in endpoint.units.iter().enumerate() {
                written.polls += 1;
                let (bus, id) = (&names[e], unit.unit);
                let fault = world.link_fault(e, u);
                if let Some(fault) = fault.filter(|fault| seen(Some(*fault), Vec::new()).is_none()) {
                    held[e][u].iter_mut().for_each(|block| block.at = None);
                    if silent[e][u].is_none_or(|since| at - since >= HOLD_MS) {
                        silent[e][u] = Some(at);
                        let why = Fault::Link(fault).word();
                        push(
                            &mut line,
                            format_args!(
                                r#"{{"t":{at},"bus":{bus},"unit":{id},"silent":true,"why":"{why}"}}"#
                            ),
                        );
                        put(&mut line, out, &mut written)?;
                    }
                    continue;
                }
                silent[e][u] = None;
                for (block, held) in unit.map.blocks().iter().zip(&mut held[e][u]) {
                    let words = world.block(e, u, *block);
                    if held.at.is_some_and(|since| at - since < HOLD_MS) && held.words == words {
                        continue;
                    }
                    push(
                        &mut line,
                        format_args!(
                            r#"{{"t":{at},"bus":{bus},"unit":{id},"table":"{}","first":{},"words":["#,
                            block.table.word(),
                            block.first
                        ),
                    );
                    for (i, word) in words.iter().enumerate() {
                        push(&mut line, format_args!("{}{word}", if i > 0 { "," } else { "" }));
                    }
                    line.push_str("]}");
                    put(&mut line, out, &mut written)?;
                    *held = Held { words, at: Some(at) };
                }
            }
        }
        at += every_ms;
    }
    world.step_to(Civil(to.0 - 1));
    messages(world, &mut line, out, &mut written)?;
    out.flush()?;
    Ok(written)
}

fn messages(
    world: &mut World,
    line: &mut String,
    out: &mut impl Write,
    written: &mut Written,
) -> io::Result<()> {
    for message in world.take_messages() {
        let (topic, payload) =
            (serde_json::Value::from(message.topic), serde_json::Value::from(message.payload));
        push(line, format_args!(r#"{{"t":{},"topic":{topic},"payload":{payload}}}"#, message.at.0));
        put(line, out, written)?;
        written.messages += 1;
    }
    Ok(())
}

fn push(line: &mut String, text: std::fmt::Arguments<'_>) {
    line.write_fmt(text).expect("writing to a string cannot fail");
}

fn put(line: &mut String, out: &mut impl Write, written: &mut Written) -> io::Result<()> {
    line.push('\n');
    out.write_all(line.as_bytes())?;
    written.lines += 1;
    written.bytes += line.len() as u64;
    line.clear();
    Ok(())
}
