//! What a rule says, as one number: so that a change of it is noticed (T23).

use gateway_model::{
    Handling, HeatProgram, ModuleIx, ModulePlan, Op, Plan, Program, RuleKind, RulePlan, WindowEnd,
};

use crate::engine::windows;
use crate::module::counted;
use crate::restore::{device_id, point_id};

/// What the rule says, as one number: FNV-1a over its fields, with ids in the place of slots. Texts, priority
/// and verification are not part of it: they change nothing about when it is raised.
pub fn fingerprint(plan: &Plan, rule: &RulePlan) -> u64 {
    let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
    hash.number(u64::from(rule.latching));
    match &rule.kind {
        RuleKind::Condition { when, returned, on_delay_ms, off_delay_ms, shown, limit } => {
            hash.number(0);
            hash.program(plan, when);
            hash.number(u64::from(returned.is_some()));
            if let Some(returned) = returned {
                hash.program(plan, returned);
            }
            hash.signed(*on_delay_ms);
            hash.signed(*off_delay_ms);
            hash.text(shown.map_or("", |point| point_id(plan, point)));
            hash.optional(*limit);
        }
        RuleKind::Absence { point, after_ms } => {
            hash.number(1);
            hash.text(point_id(plan, *point));
            hash.signed(*after_ms);
        }
        RuleKind::CycleFailed { module, settle_within_ms } => {
            hash.number(2);
            hash.module(plan, *module);
            hash.signed(*settle_within_ms);
        }
        RuleKind::DeviceUnevaluable { after_ms } => {
            hash.number(3);
            hash.signed(*after_ms);
        }
        RuleKind::BusUnevaluable { bus, after_ms } => {
            hash.number(4);
            hash.text(plan.buses.get(usize::from(*bus)).map_or("", |bus| bus.as_str()));
            hash.signed(*after_ms);
        }
        RuleKind::ClockUnevaluable { after_ms } => {
            hash.number(5);
            hash.signed(*after_ms);
        }
        RuleKind::Event { module, event, lapses_ms } => {
            hash.number(6);
            hash.module(plan, *module);
            hash.number(*event as u64);
            hash.signed(*lapses_ms);
        }
    }
    if let Some(handling) = &rule.handling {
        hash.handling(plan, handling);
    }
    hash.0
}

struct Fnv(u64);

impl Fnv {
    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn number(&mut self, number: u64) {
        self.bytes(&number.to_le_bytes());
    }

    fn signed(&mut self, number: i64) {
        self.bytes(&number.to_le_bytes());
    }

    fn float(&mut self, number: f64) {
        self.number(number.to_bits());
    }

    fn optional(&mut self, number: Option<f64>) {
        self.number(u64::from(number.is_some()));
        self.float(number.unwrap_or(0.0));
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.bytes(text.as_bytes());
    }

    fn program(&mut self, plan: &Plan, program: &Program) {
        self.number(program.0.len() as u64);
        for op in &program.0 {
            let code: u64 = match op {
                Op::Number(number) => {
                    self.float(*number);
                    0
                }
                Op::Truth(truth) => 1 + (u64::from(*truth) << 8),
                Op::Point(point) => {
                    self.text(point_id(plan, *point));
                    2
                }
                Op::TruthPoint(point) => {
                    self.text(point_id(plan, *point));
                    3
                }
                Op::Negate => 4,
                Op::Add => 5,
                Op::Subtract => 6,
                Op::Multiply => 7,
                Op::Divide => 8,
                Op::Less => 9,
                Op::LessOrEqual => 10,
                Op::Greater => 11,
                Op::GreaterOrEqual => 12,
                Op::Equal => 13,
                Op::NotEqual => 14,
                Op::And => 15,
                Op::Or => 16,
                Op::Not => 17,
                Op::Absolute => 18,
                Op::Minimum => 19,
                Op::Maximum => 20,
                Op::Select => 21,
                Op::Window { window, point, function } => {
                    self.text(point_id(plan, *point));
                    let slot = *window as usize;
                    self.signed(windows(plan).get(slot).map_or(0, |window| window.span_ms));
                    22 + ((*function as u64) << 8)
                }
                Op::Hours(question) => 23 + ((*question as u64) << 8),
                Op::Output { module, output } => {
                    self.module(plan, *module);
                    24 + (u64::from(*output) << 8)
                }
            };
            self.number(code);
        }
    }

    /// What a module computes. Of a heat cycle what changes its verdict; of others what tells them apart.
    fn module(&mut self, plan: &Plan, module: ModuleIx) {
        let Some(module) = plan.modules.get(module.slot()) else { return };
        match module {
            ModulePlan::HeatCycle(module) => {
                self.text(point_id(plan, module.temperature));
                self.text(module.door.map_or("", |point| point_id(plan, point)));
                self.heat(&module.program);
                if let Some(probes) = &module.probes {
                    for point in probes.others.iter().chain(&probes.pressure) {
                        self.text(point_id(plan, *point));
                    }
                }
                if let Some(stop) = module.stop {
                    self.text(stop.power.map_or("", |point| point_id(plan, point)));
                    self.float(stop.heating);
                }
            }
            ModulePlan::Dose(module) => {
                self.text(point_id(plan, module.irradiance));
                self.float(module.lit);
                self.signed(module.warm_up_ms);
            }
            ModulePlan::Run(module) => {
                self.text(point_id(plan, module.power));
                self.float(module.running);
            }
            ModulePlan::Ratio(ratio) => {
                self.text(&counted(module));
                self.number(u64::from(ratio.days));
                self.float(ratio.at_least);
            }
            ModulePlan::Duty(duty) => {
                self.text(&duty.duty);
                self.signed(duty.every_ms);
                self.number(u64::from(duty.open_time));
            }
            ModulePlan::Waste(waste) => {
                self.text(device_id(plan, waste.feed.slot()));
                self.signed(waste.tolerance_g);
                self.number(u64::from(waste.tolerance_permille));
                self.number(u64::from(waste.other_permille.unwrap_or_default()));
                self.signed(waste.great_g.unwrap_or(-1));
                if let Some(division_g) = waste.division_g {
                    self.signed(division_g);
                }
            }
        }
    }

    /// What of a handling changes what is concluded.
    fn handling(&mut self, plan: &Plan, handling: &Handling) {
        self.number(handling.steps.len() as u64);
        for step in &handling.steps {
            self.program(plan, &step.when);
            self.number(step.priority as u64);
            self.signed(step.hold_ms);
        }
        if let Some(aggravate) = handling.aggravate {
            self.number(aggravate.priority as u64);
            self.signed(aggravate.after_ms.unwrap_or_default());
        }
        for program in handling.provable.iter().map(|provable| &provable.when).chain(&handling.suppressed) {
            self.program(plan, program);
        }
        self.number(u64::from(handling.sleeps) + (u64::from(handling.disabled) << 1));
        self.signed(handling.re_alarm_ms.unwrap_or(-1));
        if let Some(escalate) = handling.escalate {
            self.signed(escalate.after_ms.unwrap_or(-1));
            self.number(u64::from(escalate.open_time));
            let (n, period_ms) = escalate.repeated.unwrap_or_default();
            self.number(u64::from(n));
            self.signed(period_ms);
            match escalate.ends {
                None => (),
                Some(WindowEnd::Day) => self.number(0),
                Some(WindowEnd::WorkingDays(days)) => self.number(u64::from(days).saturating_add(1)),
            }
        }
        if let Some(chatter) = handling.chatter {
            self.number(u64::from(chatter.activations));
            self.signed(chatter.within_ms);
        }
        if let Some(patience) = &handling.patience {
            self.program(plan, &patience.when);
            self.signed(patience.on_delay_ms);
        }
    }

    fn heat(&mut self, program: &HeatProgram) {
        self.text(&program.id);
        self.optional(program.band_c);
        for celsius in [program.set_c, program.start_c, program.end_c, program.dry_c] {
            self.float(celsius);
        }
        for ms in [program.hold_ms, program.dip_ms, program.end_ms, program.unseen_ms] {
            self.signed(ms);
        }
        if let Some(criteria) = program.criteria {
            for limit in [criteria.f0_min, criteria.a0_s, criteria.spread_k, criteria.saturation_k] {
                self.optional(limit);
            }
        }
        if let Some(dry_ms) = program.dry_ms {
            self.signed(dry_ms);
        }
    }
}
