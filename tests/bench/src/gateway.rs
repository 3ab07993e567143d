//! A simulated gateway: real keys, real records, no instruments and no disk.
//!
//! It seals what a gateway would seal (start, config, clock, readings with counts that close, an alert raised and cleared),
//! in a chain of its own, and keeps what is not receipted to send it again. Leaves out: judging, journals, orders.

use gateway_model::{
    AckRegion, AlertChange, AlertId, Change, ClearCause, ClockInput, ClockSource, Conclusion, ConclusionBody,
    DeviceIx, DevicePlan, EngineTime, Epoch, First, Input, InstitutionId, Op, Plan, PointCounts, PointIx,
    PointPlan, Priority, ProcessRegion, Program, Quality, Raw, Reading, Regions, RuleIx, RuleKind, RulePlan,
    RuleText, SEMANTICS, Seq, SiteId, StartCause, StartInput, Text, Unit, VerifyPlan,
};
use gateway_wire::{
    Body, ConclusionsBody, ConfigBody, Header, InputsBody, Receipt, SigningKey, VerifyingKey, hash, hex, seal,
};

/// Records not yet receipted at most; beyond it nothing new is sealed (and that is counted).
pub const UNSENT_MAX: usize = 256;
/// The only epoch: these gateways never restart.
const EPOCH: Epoch = Epoch(1);

/// See the module.
pub struct Gateway {
    key: SigningKey,
    audience: String,
    seq: u64,
    prev: [u8; 32],
    alert: u32,
    raised: bool,
    /// Sealed and not receipted, oldest first.
    unsent: std::collections::VecDeque<(Seq, Vec<u8>)>,
}

impl Gateway {
    /// An enrolled one that has sealed nothing yet.
    pub fn new(key: SigningKey, center: &VerifyingKey) -> Self {
        let audience = hex(&center.fingerprint());
        Self {
            key,
            audience,
            seq: 0,
            prev: [0; 32],
            alert: 0,
            raised: false,
            unsent: std::collections::VecDeque::new(),
        }
    }

    /// Its key.
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// For whom its tokens are made.
    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// What is to be sent.
    pub fn unsent(&self) -> impl ExactSizeIterator<Item = &Vec<u8>> {
        self.unsent.iter().map(|(_, bytes)| bytes)
    }

    fn seal(&mut self, t0: i64, t1: i64, body: &Body) {
        let header = Header {
            gateway: self.key.gateway_id(),
            epoch: EPOCH,
            seq: Seq(self.seq),
            prev: self.prev,
            config: Seq(u64::from(self.seq > 1)),
            t0: EngineTime(t0),
            t1: EngineTime(t1),
        };
        let bytes = seal(&self.key, &header, body);
        self.prev = hash(&bytes);
        self.unsent.push_back((Seq(self.seq), bytes));
        self.seq += 1;
    }

    /// The beginning of the epoch, at a civil moment in ms: engine time is civil time here.
    pub fn start(&mut self, at: i64, points: u32, every_ms: i64) {
        let start = StartInput {
            at: EngineTime(at),
            epoch: EPOCH,
            previous: None,
            previous_hash: None,
            cause: StartCause::First,
            downtime_ms: None,
            simulated: false,
        };
        let software = concat!("bench ", env!("CARGO_PKG_VERSION")).to_owned();
        let config = ConfigBody { plan: plan(points, every_ms), software, semantics: SEMANTICS };
        let clock = ClockInput {
            at: EngineTime(at),
            offset_ms: 0,
            error_ms: Some(10),
            source: ClockSource::System,
            since: None,
        };
        self.seal(at, at, &Body::Start(start));
        self.seal(at, at, &Body::Config(Box::new(config)));
        let items = vec![Input::Clock(clock)];
        self.seal(at, at, &Body::Inputs(InputsBody { items, counts: vec![] }));
    }

    /// One reading of each point at each of these moments, and what follows from them when `alert` says so: the alert raised,
    /// or cleared if it stands. `false`, and nothing is sealed, when too much is unsent.
    pub fn readings(&mut self, moments: &[i64], points: u32, alert: bool) -> bool {
        let (Some(first), Some(last)) = (moments.first(), moments.last()) else { return true };
        if self.unsent.len() >= UNSENT_MAX {
            return false;
        }
        let mut items = Vec::with_capacity(moments.len() * points as usize + 1);
        for (n, at) in moments.iter().enumerate() {
            for point in 0..points {
                let raw = Raw::Int(50 + (self.seq as i64 + n as i64 + i64::from(point)) % 7);
                let value = Quality::Good(raw);
                items.push(Input::Reading(Reading { point: PointIx(point), at: EngineTime(*at), value }));
            }
        }
        items.push(Input::Advance(EngineTime(*last)));
        let due = moments.len() as u32;
        let counts = (0..points)
            .map(|point| PointCounts { point: PointIx(point), due, answered: due, ..PointCounts::default() })
            .collect();
        self.seal(*first, *last, &Body::Inputs(InputsBody { items, counts }));
        if alert {
            self.change(*last);
        }
        true
    }

    fn change(&mut self, at: i64) {
        let (event, change, process) = if self.raised {
            (2, Change::Cleared(ClearCause::Returned), ProcessRegion::Normal)
        } else {
            self.alert += 1;
            (1, Change::Raised, ProcessRegion::Active)
        };
        self.raised = !self.raised;
        let change = AlertChange {
            alert: AlertId { epoch: EPOCH, n: self.alert },
            event,
            rule: Some(RuleIx(0)),
            detail: None,
            change,
            regions: Regions { process, ack: AckRegion::Unacked, ..Regions::default() },
            value: Some(9.5),
            limit: Some(8.0),
            since: Some(EngineTime(at)),
            about: None,
        };
        let list = vec![Conclusion { at: EngineTime(at), body: ConclusionBody::Alert(change) }];
        let because = Seq(self.seq - 1);
        self.seal(at, at, &Body::Conclusions(ConclusionsBody { because, list, frames: vec![] }));
    }

    /// Forgets what the center has on disk; says how many records that were.
    pub fn receipted(&mut self, receipt: &Receipt) -> usize {
        let through =
            receipt.epochs.iter().find(|epoch| epoch.epoch == EPOCH).and_then(|epoch| epoch.through);
        let before = self.unsent.len();
        if let Some(through) = through {
            self.unsent.retain(|(seq, _)| *seq > through);
        }
        before - self.unsent.len()
    }
}

/// A fridge with so many thermometers and one rule: above 8 °C.
pub fn plan(points: u32, every_ms: i64) -> Plan {
    let text = |zh: &str, en: &str| Text { zh: zh.into(), en: en.into() };
    let point = |n: u32| PointPlan {
        calibration: None,
        stuck: None,
        id: format!("fridge-1/temperature-{n}"),
        device: DeviceIx(0),
        name: text("温度", "temperature"),
        unit: Unit::Celsius,
        gain: 0.1,
        offset: 0.0,
        source: format!("input {n} i16"),
        every_ms,
        max_age_ms: every_ms.saturating_mul(10),
        deadband: 0.0,
        heartbeat_ms: 60_000,
        span: None,
        sentinels: vec![],
        truth: false,
    };
    let rule = RulePlan {
        handling: None,
        id: "cold-chain/too-warm".into(),
        pack: 0,
        subject: DeviceIx(0),
        kind: RuleKind::Condition {
            when: Program(vec![Op::Point(PointIx(0)), Op::Number(8.0), Op::Greater]),
            returned: None,
            on_delay_ms: 0,
            off_delay_ms: 0,
            shown: Some(PointIx(0)),
            limit: Some(8.0),
        },
        priority: Priority::Orange,
        first: First::Institution,
        self_fix_ms: None,
        latching: false,
        text: RuleText {
            title: text("温度过高", "Too warm"),
            sentence: text(
                "{device}为{value}{unit},上限{limit}{unit}。",
                "{device} is at {value} {unit}, limit {limit} {unit}.",
            ),
            action: text("请检查", "Check it"),
            norm: text("压力测试", "A load test"),
            mark: "P".into(),
        },
        verify: VerifyPlan { window_ms: 3_600_000, coverage_permille: 900, during: None, criterion: None },
    };
    Plan {
        judging: None,
        site: SiteId("bench".into()),
        institution: InstitutionId("bench".into()),
        devices: vec![DevicePlan {
            id: "fridge-1".into(),
            kind: "fridge".into(),
            name: text("1号冰箱", "Fridge 1"),
            bus: 0,
        }],
        points: (0..points).map(point).collect(),
        rules: vec![rule],
        modules: vec![],
        packs: vec![],
        buses: vec!["bench".into()],
        utc_offset_min: 480,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_wire::{EpochReceipt, open};

    #[test]
    fn records_are_signed_chained_and_forgotten_when_receipted() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let mut gateway = Gateway::new(key.clone(), &key.verifying_key());
        gateway.start(1_000, 3, 1_000);
        assert!(gateway.readings(&[2_000, 3_000], 3, true));
        assert!(gateway.readings(&[4_000], 3, true));
        let mut prev = [0; 32];
        let mut kinds = Vec::new();
        for (n, bytes) in gateway.unsent().enumerate() {
            let opened = open(&key.verifying_key(), bytes).expect("the signature is good");
            assert_eq!((opened.header.seq, opened.header.prev), (Seq(n as u64), prev));
            kinds.push(opened.body.expect("this release understands it").kind().number());
            prev = hash(bytes);
        }
        assert_eq!(kinds, [0, 1, 2, 2, 3, 2, 3]);
        let through = Some(Seq(4));
        let epochs = vec![EpochReceipt { epoch: EPOCH, through, have: vec![], ends: None }];
        assert_eq!(gateway.receipted(&Receipt { epochs, ..Receipt::default() }), 5);
        assert_eq!(gateway.unsent().len(), 2);
    }

    #[test]
    fn nothing_is_sealed_that_could_not_be_kept() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let mut gateway = Gateway::new(key.clone(), &key.verifying_key());
        let sealed = (0..1000).filter(|n| gateway.readings(&[n * 1000], 1, false)).count();
        assert_eq!(sealed, UNSENT_MAX);
    }
}
