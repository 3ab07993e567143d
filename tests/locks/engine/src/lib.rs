//! gateway-engine, linked with nothing beneath it.
#![no_std]

extern crate alloc;

#[path = "../../support/ground.rs"]
mod ground;

/// Uses the crate, so that it and all it stands on are really linked.
#[unsafe(no_mangle)]
pub extern "C" fn lock_engine(at: i64) -> usize {
    let mut engine = gateway_engine::Engine::new(gateway_model::Plan::default());
    let mut out = alloc::vec::Vec::new();
    engine.step(&gateway_model::Input::Advance(gateway_model::EngineTime(at)), &mut out);
    let state = engine.save();
    gateway_engine::Engine::restore(engine.plan().clone(), state)
        .map_or(0, |(_, superseded)| superseded.len())
}
