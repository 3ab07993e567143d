//! T8: a person has received an alert. Refused in words where what they saw is no longer so.

use alloc::string::ToString;
use alloc::vec::Vec;

use gateway_model::{
    AckRegion, AlertId, Command, CommandBody, Conclusion, ConclusionBody, OccurrenceState, OrderOutcome,
};

use crate::alert::Life;
use crate::engine::Engine;

/// Where an alert is found in the life of its rule.
#[derive(Debug, Clone, Copy)]
enum Place {
    Trunk,
    Event(usize),
    Branch(usize),
}

impl Engine {
    pub(crate) fn command(&mut self, command: &Command, out: &mut Vec<Conclusion>) {
        let refusal = match command.body {
            CommandBody::Acknowledge { alert, event } => self.acknowledge(alert, event, out),
            CommandBody::RotateKey => None,
        };
        // The gateway's own page shows the alert itself; only an order is owed an answer.
        if let Some(order) = command.order {
            let outcome = refusal.map_or(OrderOutcome::Done, |code| OrderOutcome::Refused(code.to_string()));
            out.push(Conclusion { at: self.now, body: ConclusionBody::Order { order, outcome } });
        }
    }

    /// The refusal's code, or `None` when done.
    fn acknowledge(&mut self, alert: AlertId, event: u32, out: &mut Vec<Conclusion>) -> Option<&'static str> {
        let found = self.lives.iter().enumerate().find_map(|(slot, life)| Some((slot, find(life, alert)?)));
        let Some((slot, (place, ack, occurrence))) = found else { return Some("unknown_alert") };
        if ack == AckRegion::Acked {
            return Some("already_acknowledged");
        }
        if occurrence.event != event {
            return Some("stale");
        }
        self.with_life(slot, out, |life, face, desk| match place {
            Place::Trunk => life.acknowledge(face, desk),
            Place::Event(event) => life.acknowledge_event(event, face, desk),
            Place::Branch(branch) => life.acknowledge_branch(branch, face, desk),
        });
        None
    }
}

fn find(life: &Life, alert: AlertId) -> Option<(Place, AckRegion, OccurrenceState)> {
    if let Some(occurrence) = life.state.occurrence.filter(|occurrence| occurrence.alert == alert) {
        return Some((Place::Trunk, life.state.regions.ack, occurrence));
    }
    if let Some((slot, event)) =
        life.events.iter().enumerate().find(|(_, event)| event.occurrence.alert == alert)
    {
        return Some((Place::Event(slot), event.regions.ack, event.occurrence));
    }
    let branch = life.unacked.iter().position(|occurrence| occurrence.alert == alert)?;
    Some((Place::Branch(branch), AckRegion::Unacked, *life.unacked.get(branch)?))
}
