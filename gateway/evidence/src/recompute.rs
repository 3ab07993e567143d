//! The inputs through the engine again.
//!
//! The recorder's order, repeated: of each epoch first start, config and checkpoint (where a state was restored), then
//! restore, then the start input; after that each inputs record item by item. What follows from the record numbered n
//! stands in conclusions records with `because` = n behind it. Two things the recorder may do are known here: what a
//! crash cut off behind its inputs is recorded at the start of the next epoch (`because` = 0), and conclusions that a
//! full disk refused come with those of the next inputs record. That an order came too late is said by the shell, not
//! by the engine, and cannot be computed again.

use std::collections::VecDeque;

use gateway_engine::Engine;
use gateway_model::{
    Conclusion, Cursor, Epoch, GapCause, Input, Plan, SEMANTICS, Seq, StartCause, StartInput, State,
};
use gateway_wire::{Body, Header, Record};

/// Reasons for "incomplete" kept, at most; the rest is in [`Recomputed::unchecked`].
const INCOMPLETE_MAX: usize = 100;

/// What a recomputation found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Recomputed {
    /// Conclusions that were compared with what follows from the inputs, up to the first difference.
    pub conclusions_checked: u64,
    /// States in checkpoints that were compared with the engine's.
    pub checkpoints_checked: u64,
    /// Inputs fed to the engine.
    pub inputs: u64,
    /// Epochs of which there were records.
    pub epochs: Vec<Epoch>,
    /// The first thing that does not follow. Nothing behind it is compared.
    pub first_difference: Option<Difference>,
    /// Why some of it could not be checked; the first hundred reasons.
    pub incomplete: Vec<Incomplete>,
    /// Records of inputs and conclusions that could not be checked.
    pub unchecked: u64,
    /// What follows from the last inputs but stands behind the end of the records.
    pub pending: Vec<Conclusion>,
}

/// In one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Everything recorded follows, and everything that follows is recorded.
    Valid,
    /// Something does not.
    Invalid,
    /// What could be checked is right, but not everything could.
    Incomplete,
}

/// Something recorded that does not follow from the inputs, or the other way round.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The record in which it shows.
    pub at: Cursor,
    /// What.
    pub what: What,
}

/// What is different.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// Another conclusion follows than the one recorded, or one in another place.
    Other {
        /// As recorded.
        recorded: Box<Conclusion>,
        /// What follows.
        follows: Box<Conclusion>,
    },
    /// Recorded, but it does not follow.
    Invented(Box<Conclusion>),
    /// It follows, but is not recorded where it belongs.
    Concealed(Box<Conclusion>),
    /// Recorded as following from other inputs than it does.
    Because {
        /// The inputs record it names.
        recorded: Seq,
        /// The one it follows from.
        follows: Cursor,
    },
    /// The state in a checkpoint is not the one the engine came to.
    State,
}

/// Why something could not be checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incomplete {
    /// Records between these two are not there: the first missing, and the first there again.
    Missing(Cursor, Cursor),
    /// Made by an engine that decides in a way this one does not know.
    Semantics(Epoch, u16),
    /// No start and no checkpoint with its config comes before this record.
    NoBeginning(Cursor),
}

impl Recomputed {
    /// In one word.
    pub fn verdict(&self) -> Verdict {
        if self.first_difference.is_some() {
            Verdict::Invalid
        } else if self.incomplete.is_empty() && self.unchecked == 0 {
            Verdict::Valid
        } else {
            Verdict::Incomplete
        }
    }
}

/// Computes everything again, from the first start or checkpoint on.
///
/// Records come in the order of their cursors, each opened with the gateway's key. One that was not understood is left
/// out and counts as missing. A bundle may begin with start and config of an epoch and go on at a later checkpoint of it.
pub fn recompute(records: impl IntoIterator<Item = Record>) -> Recomputed {
    let mut run = Run::default();
    for record in records {
        run.take(record);
        if run.found.first_difference.is_some() {
            break;
        }
    }
    run.finish()
}

#[derive(Default)]
struct Run {
    found: Recomputed,
    engine: Option<Engine>,
    opening: Option<Opening>,
    /// Plan of the present epoch, if this release can judge by it.
    plan: Option<Plan>,
    /// Concluded again, not yet met, with the inputs that led there.
    derived: VecDeque<(Cursor, Conclusion)>,
    /// The record before this one.
    last: Option<Cursor>,
    /// The last two inputs records of the present epoch.
    inputs: [Option<Seq>; 2],
    /// Inputs were eaten since the engine was made or restored.
    eaten: bool,
    /// What led to the end of the epoch before is not known: neither is what was cut off behind it.
    end_unknown: bool,
    /// The record before this one was the config, or the last of its parts.
    configured: bool,
}

/// The first records of an epoch, until it is known whether a checkpoint is among them.
struct Opening {
    start: StartInput,
    state: Option<Box<State>>,
    /// The engine, if it went through everything before this epoch.
    before: Option<Engine>,
}

impl Run {
    fn take(&mut self, Record { header, body }: Record) {
        let at = header.cursor();
        self.notice_hole(&header, &body);
        let behind_config = self.configured;
        self.configured = match body {
            Body::Config(_) => true,
            Body::Parted(_) | Body::Part(_) => behind_config,
            Body::Start(_) | Body::Inputs(_) | Body::Conclusions(_) | Body::Checkpoint(_) | Body::Gap(_) => {
                false
            }
        };
        self.last = Some(at);
        if self.found.epochs.last() != Some(&header.epoch) {
            self.found.epochs.push(header.epoch);
        }
        match body {
            Body::Start(start) => self.start(start),
            Body::Config(config) => {
                let known = config.semantics == SEMANTICS;
                if !known {
                    self.incomplete(Incomplete::Semantics(at.epoch, config.semantics));
                    (self.engine, self.opening) = (None, None);
                    self.derived.clear();
                }
                self.plan = known.then_some(config.plan);
            }
            Body::Checkpoint(state) => self.checkpoint(at, state, behind_config),
            Body::Inputs(inputs) => self.eat(at, &inputs.items),
            Body::Conclusions(conclusions) => {
                self.open();
                if self.engine.is_none() {
                    return self.unchecked(at);
                }
                for recorded in conclusions.list {
                    self.compare(at, conclusions.because, recorded);
                }
            }
            // Inputs were eaten that are not in any record: nothing is known until the checkpoint that follows.
            Body::Gap(gap) if gap.cause == GapCause::Full => {
                self.incomplete(Incomplete::Missing(at, at));
                (self.engine, self.opening) = (None, None);
                self.derived.clear();
            }
            Body::Gap(_) | Body::Parted(_) | Body::Part(_) => {}
        }
    }

    /// Numbers that are not there may have been inputs: the engine knows nothing from here to the next checkpoint.
    fn notice_hole(&mut self, header: &Header, body: &Body) {
        let at = header.cursor();
        let follows = match (self.last, body) {
            (None, _) => true,
            (Some(last), Body::Start(start)) => {
                start.previous.is_none_or(|(epoch, seq)| (epoch, seq) == (last.epoch, last.seq))
            }
            (Some(last), _) => last.epoch == at.epoch && last.seq.0 + 1 == at.seq.0,
        };
        if follows {
            return;
        }
        self.configured = false;
        if let (Some(last), Body::Start(start)) = (self.last, body)
            && start.cause == StartCause::Replaced
            && start.previous.is_some_and(|(epoch, seq)| (epoch, seq) < (last.epoch, last.seq))
        {
            // Another box went on from an earlier state than the one that its predecessor's disk tells of.
            (self.engine, self.eaten) = (None, false);
            self.derived.clear();
            return;
        }
        if self.last.is_some_and(|last| last.epoch != at.epoch) {
            self.plan = None;
        }
        // Before anything was eaten nothing is lost: a bundle goes on at a later checkpoint.
        if let Some(last) = self.last.filter(|_| self.eaten) {
            let missing = Cursor { epoch: last.epoch, seq: Seq(last.seq.0 + 1) };
            self.incomplete(Incomplete::Missing(missing, at));
        }
        (self.engine, self.opening, self.eaten) = (None, None, false);
        self.derived.clear();
    }

    fn start(&mut self, start: StartInput) {
        self.open();
        self.opening = Some(Opening { start, state: None, before: self.engine.take() });
        (self.plan, self.inputs) = (None, [None; 2]);
    }

    /// `first`: directly behind the config, so it is what the epoch begins with.
    fn checkpoint(&mut self, at: Cursor, state: Box<State>, first: bool) {
        if state.semantics != SEMANTICS {
            self.incomplete(Incomplete::Semantics(at.epoch, state.semantics));
            (self.engine, self.opening) = (None, None);
            return;
        }
        if let (Some(opening), true) = (&mut self.opening, first) {
            let before = opening.before.take();
            self.end_unknown = before.is_none();
            let same = before.is_none_or(|engine| engine.save() == *state);
            opening.state = Some(state);
            return self.compare_state(at, same);
        }
        self.open();
        match (&self.engine, &self.plan) {
            (Some(engine), _) => {
                let same = engine.save() == *state;
                self.concealed(at, |_| true);
                self.compare_state(at, same);
            }
            // What was taken over at a start, without that start: the engine did more there than restore it.
            (None, Some(_)) if first => {}
            (None, Some(plan)) => {
                // Under the plan it was saved with nothing is superseded.
                self.engine = Engine::restore(plan.clone(), *state).ok().map(|(engine, _)| engine);
                self.inputs = [None; 2];
            }
            (None, None) => {}
        }
    }

    fn compare_state(&mut self, at: Cursor, same: bool) {
        self.found.checkpoints_checked += 1;
        if !same {
            self.differ(at, What::State);
        }
    }

    fn eat(&mut self, at: Cursor, items: &[Input]) {
        self.open();
        if self.engine.is_none() {
            return self.unchecked(at);
        }
        // Two records back is further than a full disk carries anything.
        let [before, last] = self.inputs;
        self.concealed(at, |cause| {
            before.is_some_and(|before| (cause.epoch, cause.seq) <= (at.epoch, before))
        });
        self.inputs = [last, Some(at.seq)];
        self.eaten = true;
        for input in items {
            self.step(at, input);
        }
        self.found.inputs += items.len() as u64;
    }

    /// Makes the engine of an epoch whose first records have been seen.
    fn open(&mut self) {
        let Some(Opening { start, state, before: _ }) = self.opening.take() else { return };
        // An epoch whose config is not there has nothing that could be checked.
        let Some(plan) = self.plan.clone() else { return };
        let because = Cursor { epoch: start.epoch, seq: Seq(0) };
        let engine = match state {
            None => Engine::new(plan),
            Some(state) => match Engine::restore(plan, *state) {
                Ok((engine, superseded)) => {
                    self.derived.extend(superseded.into_iter().map(|conclusion| (because, conclusion)));
                    engine
                }
                Err(_) => return,
            },
        };
        self.engine = Some(engine);
        self.inputs = [None, Some(Seq(0))];
        self.step(because, &Input::Start(start));
    }

    fn step(&mut self, because: Cursor, input: &Input) {
        let Some(engine) = &mut self.engine else { return };
        let mut out = Vec::new();
        engine.step(input, &mut out);
        self.derived.extend(out.into_iter().map(|conclusion| (because, conclusion)));
    }

    fn compare(&mut self, at: Cursor, because: Seq, recorded: Conclusion) {
        if recorded.body.said_by_recorder() || self.found.first_difference.is_some() {
            return;
        }
        let next = self.derived.front().is_some_and(|(_, follows)| *follows == recorded);
        if self.end_unknown && because == Seq(0) && !next {
            return self.unchecked(at);
        }
        let Some((cause, follows)) = self.derived.pop_front() else {
            return self.differ(at, What::Invented(Box::new(recorded)));
        };
        self.found.conclusions_checked += 1;
        if follows != recorded {
            let (recorded, follows) = (Box::new(recorded), Box::new(follows));
            return self.differ(at, What::Other { recorded, follows });
        }
        let here = cause.epoch == at.epoch;
        let carried = here && self.inputs == [Some(cause.seq), Some(because)];
        let cut_off = cause.epoch < at.epoch && because == Seq(0);
        if !(here && cause.seq == because || carried || cut_off) {
            self.differ(at, What::Because { recorded: because, follows: cause });
        }
    }

    /// Something that follows from inputs so old should have been recorded before the record at `at`.
    fn concealed(&mut self, at: Cursor, old: impl Fn(Cursor) -> bool) {
        if let Some((_, follows)) = self.derived.front().filter(|(cause, _)| old(*cause)) {
            let follows = Box::new(follows.clone());
            self.differ(at, What::Concealed(follows));
        }
    }

    fn differ(&mut self, at: Cursor, what: What) {
        self.found.first_difference.get_or_insert(Difference { at, what });
    }

    fn unchecked(&mut self, at: Cursor) {
        self.found.unchecked += 1;
        if self.found.incomplete.is_empty() {
            self.incomplete(Incomplete::NoBeginning(at));
        }
    }

    fn incomplete(&mut self, why: Incomplete) {
        if self.found.incomplete.len() < INCOMPLETE_MAX {
            self.found.incomplete.push(why);
        }
    }

    fn finish(mut self) -> Recomputed {
        self.open();
        self.found.pending = self.derived.into_iter().map(|(_, conclusion)| conclusion).collect();
        self.found
    }
}
