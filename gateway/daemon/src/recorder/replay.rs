//! Records back into an engine: how a gateway resumes. (`gateway_evidence::recompute` checks what it concluded.)
//!
//! The order in which a live recorder works, repeated: of each epoch first start, config and checkpoint (if it was
//! restored), then `restore`, then the start input; after that each inputs record item by item. What the engine concludes
//! is compared with what is recorded where a crash may have cut it off; else only its state is wanted.

use std::sync::Arc;

use gateway_engine::Engine;
use gateway_model::{Conclusion, Cursor, EngineTime, GapCause, Input, Plan, Seq, StartInput, State};
use gateway_wire::{Body, Header};

/// Why records cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// A config or checkpoint of other semantics, or one that does not fit.
    #[error("restore the state at {at}: {why}")]
    Restore {
        /// Engine time of the record.
        at: EngineTime,
        /// What the engine says.
        why: String,
    },
}

/// An engine that is fed records.
#[derive(Default)]
pub struct Replayer {
    engine: Option<Engine>,
    opening: Option<Opening>,
    /// Of the epoch that is being read.
    plan: Option<Arc<Plan>>,
    concluded: Vec<(Seq, Conclusion)>,
    /// The record before this one.
    last: Option<Cursor>,
    /// Records were missing since the engine was made: it is the best there is, until a checkpoint comes.
    holed: bool,
    /// The record before this one was the config, or the last of its parts.
    configured: bool,
    /// The highest order that was taken.
    pub last_order: Option<(u64, u64)>,
    /// The last input was a stop.
    pub stopped: bool,
}

/// The first records of an epoch, until it is known whether a checkpoint is among them.
struct Opening {
    start: StartInput,
    plan: Option<Arc<Plan>>,
    state: Option<State>,
}

impl Replayer {
    /// Begins in the middle of an epoch: at a checkpoint under the plan of that epoch.
    pub fn at_checkpoint(plan: impl Into<Arc<Plan>>, state: State) -> Result<Self, ReplayError> {
        let plan = plan.into();
        let at = state.now;
        let (engine, _) = Engine::restore(plan.clone(), state).map_err(|error| restore_error(at, &error))?;
        Ok(Self { engine: Some(engine), plan: Some(plan), ..Self::default() })
    }

    /// Eats one record.
    pub fn feed(&mut self, header: &Header, body: Body) -> Result<(), ReplayError> {
        let at = header.cursor();
        let follows = |last: Cursor| (last.epoch, last.seq.0 + 1) == (at.epoch, at.seq.0);
        let hole = !matches!(body, Body::Start(_)) && self.last.is_some_and(|last| !follows(last));
        self.holed |= hole;
        self.last = Some(at);
        // A state that follows the config at once, itself or its parts, is the one that the epoch begins with.
        let behind_config = self.configured && !hole;
        self.configured = match body {
            Body::Config(_) => true,
            Body::Parted(_) | Body::Part(_) => behind_config,
            Body::Start(_) | Body::Inputs(_) | Body::Conclusions(_) | Body::Checkpoint(_) | Body::Gap(_) => {
                false
            }
        };
        match body {
            Body::Start(start) => {
                self.settle()?;
                self.opening = Some(Opening { start, plan: None, state: None });
            }
            Body::Config(config) => {
                if let Some(opening) = &mut self.opening {
                    opening.plan = Some(Arc::new(config.plan));
                }
            }
            Body::Checkpoint(state) => {
                // Later ones in an epoch only repeat what the engine already is.
                if let Some(opening) = self.opening.as_mut().filter(|_| behind_config) {
                    opening.state = Some(*state);
                    return Ok(());
                }
                self.settle()?;
                // But for the one behind evicted or damaged records, or behind a gap of what was judged and not recorded.
                if let (true, Some(plan)) = (self.engine.is_none() || self.holed, &self.plan) {
                    let (last, last_order) = (self.last, self.last_order);
                    *self = Self { last, last_order, ..Self::at_checkpoint(plan.clone(), *state)? };
                }
            }
            Body::Inputs(inputs) => {
                self.settle()?;
                for input in inputs.items {
                    if let Input::Command(command) = &input {
                        self.last_order = self.last_order.max(command.order);
                    }
                    self.stopped = matches!(input, Input::Stop { .. });
                    self.step(header.seq, &input);
                }
            }
            Body::Gap(gap) if gap.cause == GapCause::Full => {
                self.settle()?;
                self.engine = None;
                self.concluded.clear();
            }
            Body::Conclusions(_) | Body::Gap(_) => self.settle()?,
            Body::Parted(_) | Body::Part(_) => {}
        }
        Ok(())
    }

    /// The engine after everything fed, if there was anything to make one from.
    pub fn finish(mut self) -> Result<Option<Engine>, ReplayError> {
        self.settle()?;
        Ok(self.engine)
    }

    /// What was concluded since the last call, with the record that led to it.
    pub fn take(&mut self) -> Result<Vec<(Seq, Conclusion)>, ReplayError> {
        self.settle()?;
        Ok(std::mem::take(&mut self.concluded))
    }

    /// Opens the epoch whose first records have been seen.
    fn settle(&mut self) -> Result<(), ReplayError> {
        let Some(Opening { start, plan, state }) = self.opening.take() else { return Ok(()) };
        // An epoch whose config never reached the disk has nothing else either.
        let Some(plan) = plan else { return Ok(()) };
        self.plan = Some(plan.clone());
        let engine = match state {
            Some(state) => {
                let (engine, concluded) =
                    Engine::restore(plan, state).map_err(|error| restore_error(start.at, &error))?;
                self.concluded.extend(concluded.into_iter().map(|conclusion| (Seq(0), conclusion)));
                engine
            }
            None => Engine::new(plan),
        };
        self.engine = Some(engine);
        self.holed = false;
        self.stopped = false;
        self.step(Seq(0), &Input::Start(start));
        Ok(())
    }

    fn step(&mut self, because: Seq, input: &Input) {
        let Some(engine) = &mut self.engine else { return };
        let mut out = Vec::new();
        engine.step(input, &mut out);
        self.concluded.extend(out.into_iter().map(|conclusion| (because, conclusion)));
    }
}

fn restore_error(at: EngineTime, error: &impl std::fmt::Debug) -> ReplayError {
    ReplayError::Restore { at, why: format!("{error:?}") }
}
