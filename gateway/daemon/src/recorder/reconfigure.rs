//! Another plan in a running gateway: between two inputs everything is sealed, the state is written down as at a stop, and
//! a new epoch begins with it under the new plan. Whoever re-computes sees an orderly end and a start without downtime;
//! delays of rules that stay the same go on.
//!
//! Not while the journal is full: an epoch without its config record could not be read.

use std::sync::Arc;

use gateway_engine::Engine;
use gateway_journal::Class;
use gateway_model::{
    ClockInput, Command, CommandBody, Conclusion, ConclusionBody, ConfigChange, EngineTime, Epoch, Input,
    OrderOutcome, Plan, SEMANTICS, Seq, StartCause, StartInput, StopCause,
};
use gateway_wire::{Body, ConfigBody};
use tokio::sync::oneshot;

use super::aging::Aging;
use super::core::{Core, Open, add_whole};
use super::full::Full;
use super::slots::Slots;
use super::start::software;
use super::{Begun, Ordered, Reconfigure};

/// Bytes of what is said of a change.
const SAID_MAX: usize = 2 * 1024;

impl Core {
    /// Answers who asked for another plan.
    pub(super) fn replan(&mut self, asked: Reconfigure, now: EngineTime) -> anyhow::Result<()> {
        let Reconfigure { plan, change, ordered, live, begun } = asked;
        let answer = self.reconfigure(plan, change, ordered, &live, now)?;
        // Whoever asked may have gone away.
        let _told = begun.send(answer);
        Ok(())
    }

    /// Something else became of a configuration.
    pub(super) fn config(
        &mut self,
        change: ConfigChange,
        declined: Option<((u64, u64), String, oneshot::Sender<()>)>,
        said: Option<oneshot::Sender<()>>,
        now: EngineTime,
    ) -> anyhow::Result<()> {
        self.config_said(change, now)?;
        if let Some((order, why, taken)) = declined {
            if self.last_order.is_none_or(|last| order > last) {
                self.last_order = Some(order);
                self.not_obeyed(order, OrderOutcome::Declined(cut(why)), now)?;
            }
            if self.full.as_ref().is_none_or(Full::owes_nothing) {
                let _told = taken.send(());
            }
        }
        if let Some(said) = said {
            let _told = said.send(());
        }
        Ok(())
    }

    /// Puts `plan` in the place of the plan in force. An error here leaves everything as it was but for a stop on record;
    /// an error of the journal ends the recorder.
    pub(super) fn reconfigure(
        &mut self,
        plan: Arc<Plan>,
        change: ConfigChange,
        ordered: Option<Ordered>,
        live: &[u32],
        now: EngineTime,
    ) -> anyhow::Result<Result<Begun, String>> {
        const FULL: &str = "the journal is full: there is no room for a config record. See `gateway journal stat`; make room and try again";
        let old = self.engine.shared_plan();
        let slots = Slots::between(&old, &plan);
        let at = now.max(self.engine.now());
        if self.full.is_some() {
            return Ok(Err(FULL.to_owned()));
        }
        self.eat(Input::Stop { at, cause: StopCause::Reconfigured });
        self.make_room()?;
        let mut batch = self.inputs_batch();
        self.add_state(&mut batch)?;
        self.write(batch, at)?;
        if self.full.is_some() {
            return Ok(Err(FULL.to_owned()));
        }
        self.begin_anew(plan, &slots, at)?;
        self.older.values_mut().for_each(|older| *older = older.then(&slots));
        self.older.insert(self.generation, slots);
        self.older.retain(|generation, _| live.contains(generation));
        self.generation += 1;
        self.config_said(change, at)?;
        if let Some(Ordered { order, author, body, taken }) = ordered {
            self.obey(order, author, body, at)?;
            let _told = taken.send(());
        }
        Ok(Ok(Begun { epoch: self.epoch.0, generation: self.generation, at }))
    }

    /// A new epoch of the same process.
    fn begin_anew(&mut self, plan: Arc<Plan>, slots: &Slots, at: EngineTime) -> anyhow::Result<()> {
        let (state, known) = (self.engine.save(), self.engine.clock());
        let previous = self.journal.last();
        let epoch = self.journal.begin_epoch_above(self.epoch.0)?;
        let start = StartInput {
            at,
            epoch: Epoch(epoch),
            previous: previous.map(|last| (Epoch(last.epoch), Seq(last.seq))),
            previous_hash: previous.map(|_| self.prev),
            cause: StartCause::Clean,
            downtime_ms: Some(0),
            simulated: self.settings.wall.simulated(),
        };
        let config = ConfigBody { plan: Plan::clone(&plan), software: software(), semantics: SEMANTICS };
        let mut batch = vec![(Class::Keep, Body::Start(start.clone()))];
        add_whole(&mut batch, Body::Config(Box::new(config)))?;
        add_whole(&mut batch, Body::Checkpoint(Box::new(state.clone())))?;
        self.intake = self.intake.under(self.engine.plan(), &plan, |point| slots.point(point));
        self.aging = Aging::of(&plan);
        self.frames = slots.moved(std::mem::take(&mut self.frames), plan.points.len());
        let (mut engine, mut concluded) = Engine::restore(plan, state)
            .map_err(|error| anyhow::anyhow!("take over the state under the new plan: {error}"))?;
        engine.step(&Input::Start(start), &mut concluded);
        self.intake.resume(&engine);
        self.plan = engine.shared_plan();
        self.engine = engine;
        self.epoch = Epoch(epoch);
        self.carried.clear();
        self.open = Open::new(at);
        (self.checkpoint_at, self.checkpoint_position) = (at, None);
        self.conclude(Seq(0), concluded, &mut batch);
        self.write(batch, at)?;
        // What is known of civil time goes first into the first record, as at each start.
        if let Some(source) = known.source {
            let (offset_ms, error_ms) = (known.offset_ms, known.error_ms);
            self.clock(ClockInput { at, offset_ms, error_ms, source, since: None });
        }
        Ok(())
    }

    /// What becomes of a configuration, on record at once.
    pub(super) fn config_said(&mut self, mut change: ConfigChange, now: EngineTime) -> anyhow::Result<()> {
        change.said = cut(change.said);
        self.seal(now)?;
        self.say(ConclusionBody::Config(change), now)
    }

    /// An order of the center, in the order of their numbers, each once.
    pub(super) fn obey(
        &mut self,
        order: (u64, u64),
        author: String,
        body: CommandBody,
        now: EngineTime,
    ) -> anyhow::Result<()> {
        if self.last_order.is_some_and(|last| order <= last) {
            return Ok(());
        }
        self.last_order = Some(order);
        let rotates = body == CommandBody::RotateKey;
        self.eat(Input::Command(Command { at: now, order: Some(order), author, body }));
        self.seal(now)?;
        if rotates {
            self.rotation.cancel();
        }
        Ok(())
    }

    /// What somebody at the box asks for is an input like an order of the center, but nobody waits for an outcome in the record.
    pub(super) fn asked(
        &mut self,
        author: String,
        body: CommandBody,
        taken: oneshot::Sender<bool>,
        now: EngineTime,
    ) -> anyhow::Result<()> {
        if let Some(full) = &mut self.full {
            full.refuse_entry(now);
            return Ok(());
        }
        let before = self.concluded.len();
        self.eat(Input::Command(Command { at: now, order: None, author, body }));
        let by_a_person = |one: &Conclusion| matches!(&one.body, ConclusionBody::Suppression(change) if change.by.is_some());
        let changed = self.concluded.get(before..).unwrap_or_default().iter().any(by_a_person);
        self.seal(now)?;
        if self.full.is_none() {
            // Who asked may have gone away.
            let _told = taken.send(changed);
        }
        Ok(())
    }
}

/// At most [`SAID_MAX`] bytes of a text.
fn cut(mut said: String) -> String {
    let end = (0..=SAID_MAX.min(said.len())).rev().find(|end| said.is_char_boundary(*end));
    said.truncate(end.unwrap_or(0));
    said
}
