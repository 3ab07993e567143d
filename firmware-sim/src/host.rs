//! The task that owns the world while it is live: everybody else asks it.
//!
//! It steps the world to the clock before each answer and every tick, and hands messages to the publisher.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::civil::Civil;
use crate::clock::Clock;
use crate::face::answer::Act;
use crate::face::frame::Request;
use crate::mqtt::Publication;
use crate::world::World;

/// How often a live world is stepped when nobody asks, real time.
pub const TICK: Duration = Duration::from_millis(50);
/// Questions waiting at most; who asks then waits for room.
const QUESTIONS_MAX: usize = 256;

enum Event {
    Asked { endpoint: usize, request: Request, reply: oneshot::Sender<Vec<Act>> },
    Act(Box<dyn FnOnce(&mut World) + Send>),
}

/// A way to ask the world.
#[derive(Clone)]
pub struct Host {
    asks: mpsc::Sender<Event>,
    clock: Clock,
}

impl Host {
    /// What to do for a Modbus request. Nothing once the world has ended.
    pub async fn ask(&self, endpoint: usize, request: Request) -> Vec<Act> {
        let (reply, answer) = oneshot::channel();
        if self.asks.send(Event::Asked { endpoint, request, reply }).await.is_err() {
            return vec![Act::HangUp];
        }
        answer.await.unwrap_or_else(|_| vec![Act::HangUp])
    }

    /// Moves a held clock on and returns when the world is there: the moment it is then. `None` when the clock runs by itself
    /// or the world has ended.
    pub async fn step(&self, by: Duration) -> Option<Civil> {
        let now = self.clock.step(by)?;
        self.with(|_| ()).await?;
        Some(now)
    }

    /// Looks at the world or changes it, at the clock's moment. `None` once the world has ended.
    pub async fn with<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut World) -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        let boxed = Box::new(move |world: &mut World| {
            // Whoever asked may be gone: then nobody wants to know.
            reply.send(act(world)).ok();
        });
        self.asks.send(Event::Act(boxed)).await.ok()?;
        answer.await.ok()
    }
}

/// The world's task, which steps it every [`TICK`], and the way to ask it; messages go to `publish`, and when that is full
/// are dropped and counted.
pub fn host(
    world: World,
    clock: Clock,
    publish: Option<mpsc::Sender<Publication>>,
) -> (Host, impl Future<Output = ()>) {
    ticking(world, clock, publish, TICK)
}

/// The same with another tick: a world in virtual time has no need of twenty a second.
pub fn ticking(
    mut world: World,
    clock: Clock,
    publish: Option<mpsc::Sender<Publication>>,
    tick: Duration,
) -> (Host, impl Future<Output = ()>) {
    let (sender, mut receiver) = mpsc::channel(QUESTIONS_MAX);
    let told = clock.clone();
    let task = async move {
        // What was published before we were here is history.
        world.step_to(clock.now());
        world.take_messages().for_each(drop);
        let mut ticks = tokio::time::interval(tick);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut dropped: u64 = 0;
        loop {
            let event = tokio::select! {
                event = receiver.recv() => match event {
                    Some(event) => Some(event),
                    None => return,
                },
                _ = ticks.tick() => None,
            };
            world.step_to(clock.now());
            for sent in world.take_sent() {
                let publication = Publication { retain: sent.retain, ..sent.message.into() };
                if let Some(publish) = &publish
                    && publish.try_send(publication).is_err()
                {
                    dropped += 1;
                    if dropped.is_power_of_two() {
                        tracing::warn!(dropped, "no broker takes the messages: queue full, newest dropped");
                    }
                }
            }
            match event {
                Some(Event::Asked { endpoint, request, reply }) => {
                    // A connection that ended meanwhile wants no answer.
                    reply.send(world.ask(endpoint, &request)).ok();
                }
                Some(Event::Act(act)) => act(&mut world),
                None => {}
            }
        }
    };
    (Host { asks: sender, clock: told }, task)
}
