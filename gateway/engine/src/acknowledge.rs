//! What a person asks for: T8, T9, T14–T16, T18. Refused in words where what they saw is no longer so.

use alloc::string::ToString;
use alloc::vec::Vec;

use gateway_model::{
    AckRegion, AlertId, Command, CommandBody, Conclusion, ConclusionBody, LatchRegion, OccurrenceState,
    OrderOutcome, SuppressionEvent,
};

use crate::alert::Life;
use crate::engine::Engine;
use crate::handling::Asked;

/// A permit to be out of service is at most this long: 30 days, ms.
pub const OUT_OF_SERVICE_MAX_MS: i64 = 30 * 86_400_000;

/// Where an alert is found in the life of its rule.
#[derive(Debug, Clone, Copy)]
enum Place {
    Trunk,
    Event(usize),
    Branch(usize),
}

/// Done, or the code of the refusal.
type Answer = Result<(), &'static str>;

impl Engine {
    pub(crate) fn command(&mut self, command: &Command, out: &mut Vec<Conclusion>) {
        let answer = self.obey(command, out);
        // The gateway's own page shows the alert itself; only an order is owed an answer.
        if let Some(order) = command.order {
            let outcome = match answer {
                Ok(()) => OrderOutcome::Done,
                Err(code) => OrderOutcome::Refused(code.to_string()),
            };
            out.push(Conclusion { at: self.now, body: ConclusionBody::Order { order, outcome } });
        }
    }

    fn obey(&mut self, command: &Command, out: &mut Vec<Conclusion>) -> Answer {
        let asked = |reason| Asked { author: &command.author, reason };
        match &command.body {
            CommandBody::Acknowledge { alert, event } => self.acknowledge(*alert, *event, out),
            CommandBody::Reset { alert, event } => self.reset(*alert, *event, out),
            CommandBody::Pause { alert, event, for_ms, once, reason } => {
                self.pause((*alert, *event), *for_ms, *once, asked(reason), out)
            }
            CommandBody::Resume { rule, subject } => self.resume(rule, subject, asked(""), out),
            CommandBody::TakeOut { device, for_ms, permit, reason } => {
                if permit.is_empty() {
                    return Err("no_permit");
                }
                self.take_out(device, *for_ms, asked(reason), out)
            }
            CommandBody::PutBack { device } => self.put_back(device, asked(""), out),
            CommandBody::DeclareClosure { from, to, reason: _ } => self.declare_closure(*from, *to, out),
            // The shell's, and of no consequence here.
            CommandBody::RotateKey | CommandBody::CenterKeys { .. } | CommandBody::Configure { .. } => Ok(()),
        }
    }

    fn acknowledge(&mut self, alert: AlertId, event: u32, out: &mut Vec<Conclusion>) -> Answer {
        let (slot, place, ack, occurrence) = self.find(alert)?;
        if ack == AckRegion::Acked {
            return Err("already_acknowledged");
        }
        if occurrence.event != event {
            return Err("stale");
        }
        self.with_life(slot, out, |life, face, desk| match place {
            Place::Trunk => life.acknowledge(face, desk),
            Place::Event(event) => life.acknowledge_event(event, face, desk),
            Place::Branch(branch) => life.acknowledge_branch(branch, face, desk),
        });
        Ok(())
    }

    /// T9: only once it is over and somebody has received it.
    fn reset(&mut self, alert: AlertId, event: u32, out: &mut Vec<Conclusion>) -> Answer {
        let (slot, place, ack, occurrence) = self.find(alert)?;
        let life = self.lives.get(slot).ok_or("unknown_alert")?;
        if life.state.regions.latch != LatchRegion::Latched {
            return Err("not_latched");
        }
        match place {
            Place::Trunk if life.is_open() => return Err("still_active"),
            Place::Trunk => (),
            Place::Event(_) | Place::Branch(_) => return Err("not_acknowledged"),
        }
        if ack != AckRegion::Acked {
            return Err("not_acknowledged");
        }
        if occurrence.event != event {
            return Err("stale");
        }
        self.with_life(slot, out, |life, face, desk| life.reset(face, desk));
        Ok(())
    }

    fn pause(
        &mut self,
        (alert, event): (AlertId, u32),
        for_ms: i64,
        once: bool,
        asked: Asked<'_>,
        out: &mut Vec<Conclusion>,
    ) -> Answer {
        let (slot, _, _, occurrence) = self.find(alert)?;
        if occurrence.event != event {
            return Err("stale");
        }
        let handling = self.plan.rules.get(slot).and_then(|rule| rule.handling.as_ref());
        let max_ms = handling.ok_or("not_possible")?.pause_max_ms;
        if for_ms <= 0 || for_ms > max_ms {
            return Err("out_of_range");
        }
        if asked.reason.trim().is_empty() {
            return Err("no_reason");
        }
        let until = self.now.plus(for_ms);
        self.with_life(slot, out, |life, face, desk| life.pause(until, once, asked, face, desk));
        Ok(())
    }

    fn resume(&mut self, rule: &str, subject: &str, asked: Asked<'_>, out: &mut Vec<Conclusion>) -> Answer {
        let slot = self.slot_of(rule, subject).ok_or("unknown_rule")?;
        if self.lives.get(slot).is_none_or(|life| life.handling.paused.is_none()) {
            return Err("not_paused");
        }
        self.with_life(slot, out, |life, face, desk| {
            life.end_pause(SuppressionEvent::Resumed, Some(asked), face, desk);
        });
        Ok(())
    }

    fn take_out(&mut self, device: &str, for_ms: i64, asked: Asked<'_>, out: &mut Vec<Conclusion>) -> Answer {
        let slots = self.rules_of(device)?;
        if for_ms <= 0 || for_ms > OUT_OF_SERVICE_MAX_MS {
            return Err("out_of_range");
        }
        let until = self.now.plus(for_ms);
        for slot in slots {
            self.with_life(slot, out, |life, face, desk| life.take_out(until, asked, face, desk));
        }
        Ok(())
    }

    fn put_back(&mut self, device: &str, asked: Asked<'_>, out: &mut Vec<Conclusion>) -> Answer {
        let slots = self.rules_of(device)?;
        let is_out =
            |slot: &usize| self.lives.get(*slot).is_some_and(|life| life.handling.out_of_service.is_some());
        let slots: Vec<usize> = slots.into_iter().filter(is_out).collect();
        if slots.is_empty() {
            return Err("not_out_of_service");
        }
        for slot in slots {
            self.with_life(slot, out, |life, face, desk| life.back_in_service(Some(asked), face, desk));
        }
        Ok(())
    }

    /// The rules of a device that have a handling; without any there is nothing to take out of service.
    fn rules_of(&self, device: &str) -> Result<Vec<usize>, &'static str> {
        let found = self.plan.devices.iter().position(|known| known.id == device).ok_or("unknown_device")?;
        let own = |(slot, rule): (usize, &gateway_model::RulePlan)| {
            (rule.subject.slot() == found && rule.handling.is_some()).then_some(slot)
        };
        let slots: Vec<usize> = self.plan.rules.iter().enumerate().filter_map(own).collect();
        if slots.is_empty() { Err("not_possible") } else { Ok(slots) }
    }

    fn slot_of(&self, rule: &str, subject: &str) -> Option<usize> {
        self.plan.rules.iter().position(|known| {
            let device = self.plan.devices.get(known.subject.slot());
            known.id == rule && device.is_some_and(|device| device.id == subject)
        })
    }

    fn find(&self, alert: AlertId) -> Result<(usize, Place, AckRegion, OccurrenceState), &'static str> {
        let found = self.lives.iter().enumerate().find_map(|(slot, life)| Some((slot, find(life, alert)?)));
        let (slot, (place, ack, occurrence)) = found.ok_or("unknown_alert")?;
        Ok((slot, place, ack, occurrence))
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
