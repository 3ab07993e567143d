//! What is asked, and what is done next, while devices are installed one at a time: a value, told what happened.
//!
//! Promises: nothing is written before a person said that the device is alone, exactly one was found, and its new unit id
//! is free; what was written is believed only after it was read back; every device ends on the sheet, or not at all.
//!
//! Leaves out: lines and screens ([`super::drive`]).

use crate::config::Card;

/// Unit ids of Modbus.
const UNIT_MAX: u8 = 247;
/// Values of one device that are compared with a reference.
const REFERENCES_MAX: usize = 4;

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The beginning.
    Begin,
    /// The person said this.
    Said(String),
    /// Nobody else will say anything.
    Hush,
    /// The line was looked at.
    Found(Found),
    /// Settings were written and read back; or why not.
    Wrote(Result<Written, String>),
    /// Values by field name, with their unit.
    Values(Vec<Value>),
}

/// A value as shown: field, number, unit.
pub type Value = (String, f64, &'static str);

/// How settings that were written are in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// Read back as they were written, a speed at that speed.
    Read,
    /// The speed stands in its register and the device is still at the old one: after its power was gone it will not be.
    AfterPower,
    /// The speed stands in its register, or the device is silent since: how fast it is only whoever sets the serial server
    /// will see.
    Unseen,
}

/// Who is on the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nobody.
    Nobody,
    /// One device with this unit id.
    One(u8),
    /// More than one; how that was seen.
    Several(String),
}

/// What to do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Ask the person, then tell [`Event::Said`].
    Ask(String),
    /// Look who is on the line.
    Find,
    /// Give a device another unit id and perhaps another speed, and read both back.
    Write {
        /// As it is.
        from: u8,
        /// As it shall be.
        to: u8,
        /// bit/s.
        baud: Option<u32>,
    },
    /// Look whether a device answers at its new speed.
    Meet {
        /// Its unit id.
        unit: u8,
        /// bit/s.
        baud: u32,
    },
    /// Read every value of a device.
    Read(u8),
    /// That was all.
    Finish,
}

/// A device that was installed.
#[derive(Debug, Clone, PartialEq)]
pub struct Installed {
    /// Id in the site file.
    pub id: String,
    /// Name in Chinese or as given.
    pub name: String,
    /// The measuring place, in the person's words.
    pub place: String,
    /// Serial number as printed.
    pub serial: String,
    /// Its unit id.
    pub unit: u8,
    /// The unit id it came with.
    pub was: u8,
    /// The speed it was set to, if it was.
    pub baud: Option<u32>,
    /// It answered at that speed.
    pub met: bool,
    /// What it showed, and what the reference showed.
    pub values: Vec<(Value, Option<f64>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    Alone,
    Finding,
    NewId,
    Writing,
    Power,
    Meeting,
    Reading,
    Id,
    Name,
    Place,
    Serial,
    Reference(usize),
    More,
}

/// One session at one line.
#[derive(Debug)]
pub struct Dialogue {
    card: Card,
    baud: Option<u32>,
    next_id: u8,
    state: State,
    device: Installed,
    /// Said to the person since the last question.
    pub talk: Vec<String>,
    /// Devices that are done.
    pub installed: Vec<Installed>,
}

impl Dialogue {
    /// For instruments of one kind. `first`: the first unit id to give; `baud`: the speed to set, one that the card knows.
    pub fn new(card: Card, first: u8, baud: Option<u32>) -> Self {
        let device = fresh(card.unit);
        Self {
            card,
            baud,
            next_id: first,
            state: State::Start,
            device,
            talk: Vec::new(),
            installed: Vec::new(),
        }
    }

    /// What comes next.
    pub fn next(&mut self, event: Event) -> Act {
        match (self.state, event) {
            (_, Event::Hush) => Act::Finish,
            (State::Alone, Event::Said(_)) => {
                self.state = State::Finding;
                Act::Find
            }
            (State::Finding, Event::Found(found)) => self.found(found),
            (State::NewId, Event::Said(said)) => self.new_id(&said),
            (State::Writing | State::Meeting, Event::Wrote(Ok(written))) => self.written(written),
            (State::Writing, Event::Wrote(Err(why))) => {
                self.talk.push(format!("没有写成 not written: {why}"));
                self.alone()
            }
            (State::Meeting, Event::Wrote(Err(why))) => {
                self.talk.push(why);
                self.power()
            }
            (State::Power, Event::Said(said)) => self.powered(said.trim()),
            (State::Reading, Event::Values(values)) => self.values(values),
            (State::Id, Event::Said(said)) => self.id(said.trim()),
            (State::Name, Event::Said(said)) => {
                self.device.name = or(&said, &self.device.id);
                self.ask(State::Place, "安装位置 place")
            }
            (State::Place, Event::Said(said)) => {
                said.trim().clone_into(&mut self.device.place);
                self.ask(State::Serial, "出厂编号 serial number, as printed (空 empty: none)")
            }
            (State::Serial, Event::Said(said)) => {
                said.trim().clone_into(&mut self.device.serial);
                self.reference(0)
            }
            (State::Reference(n), Event::Said(said)) => self.compared(n, said.trim()),
            (State::More, Event::Said(said)) => {
                if matches!(said.trim(), "n" | "no" | "否") {
                    return Act::Finish;
                }
                self.alone()
            }
            // Out of turn: begin with this device again, nothing is lost but the questions.
            (
                State::Start
                | State::Alone
                | State::Finding
                | State::NewId
                | State::Writing
                | State::Power
                | State::Meeting
                | State::Reading
                | State::Id
                | State::Name
                | State::Place
                | State::Serial
                | State::Reference(_)
                | State::More,
                Event::Begin | Event::Said(_) | Event::Found(_) | Event::Wrote(_) | Event::Values(_),
            ) => self.alone(),
        }
    }

    fn ask(&mut self, state: State, question: &str) -> Act {
        self.state = state;
        Act::Ask(question.to_owned())
    }

    fn alone(&mut self) -> Act {
        self.device = fresh(self.card.unit);
        let n = self.installed.len() + 1;
        self.ask(State::Alone, &format!("第{n}台 device {n}: 只接这一台, 回车 connect it alone, then Enter"))
    }

    fn found(&mut self, found: Found) -> Act {
        match found {
            Found::Nobody => {
                self.talk.push(format!(
                    "没有应答 nobody answers: 查电源、A/B线、波特率 check power, A/B and speed ({})",
                    self.card.serial
                ));
                self.alone()
            }
            Found::Several(how) => {
                self.talk
                    .push(format!("不止一台 more than one device: {how}; 拆下其他的 take the others off"));
                self.alone()
            }
            Found::One(unit) => {
                (self.device.unit, self.device.was) = (unit, unit);
                self.talk.push(format!("{} {}: 地址 unit id {unit}", self.card.title.zh, self.card.profile));
                self.ask_id()
            }
        }
    }

    fn ask_id(&mut self) -> Act {
        let next = self.next_id;
        self.ask(State::NewId, &format!("新地址 new unit id [{next}]"))
    }

    fn new_id(&mut self, said: &str) -> Act {
        let wanted = or(said, &self.next_id.to_string());
        let Some(id) = wanted.parse::<u8>().ok().filter(|id| (1..=UNIT_MAX).contains(id)) else {
            self.talk.push(format!("`{wanted}`: 1–{UNIT_MAX}"));
            return self.ask_id();
        };
        if let Some(other) = self.installed.iter().find(|other| other.unit == id) {
            self.talk.push(format!("{id}: 已给 given to {}", other.id));
            return self.ask_id();
        }
        let from = self.device.unit;
        self.device.unit = id;
        self.device.baud = self.baud;
        if id == from && self.baud.is_none() {
            return self.read();
        }
        self.state = State::Writing;
        Act::Write { from, to: id, baud: self.baud }
    }

    fn written(&mut self, written: Written) -> Act {
        match written {
            Written::Read => {
                self.device.met = true;
                self.read()
            }
            Written::Unseen => self.read(),
            Written::AfterPower => self.power(),
        }
    }

    fn power(&mut self) -> Act {
        let baud = self.device.baud.unwrap_or_default();
        self.ask(
            State::Power,
            &format!(
                "断电再上电, 回车 switch it off and on again, then Enter: {baud} bit/s (n: 放弃这台 give this one up)"
            ),
        )
    }

    fn powered(&mut self, said: &str) -> Act {
        match self.device.baud {
            Some(baud) if !matches!(said, "n" | "no" | "否") => {
                self.state = State::Meeting;
                Act::Meet { unit: self.device.unit, baud }
            }
            Some(_) | None => self.alone(),
        }
    }

    fn read(&mut self) -> Act {
        self.state = State::Reading;
        Act::Read(self.device.unit)
    }

    fn values(&mut self, values: Vec<Value>) -> Act {
        if values.is_empty() {
            self.talk.push(format!(
                "地址{0}没有可信的读数 no plausible value of unit id {0}: 探头? 型号? probe? another model?",
                self.device.unit
            ));
        }
        for (field, value, unit) in &values {
            self.talk.push(format!("  {field} {value} {unit}"));
        }
        self.device.values = values.into_iter().map(|value| (value, None)).collect();
        let default = format!("{}-{}", self.card.profile, self.device.unit);
        self.ask(State::Id, &format!("设备号 device id [{default}]"))
    }

    fn id(&mut self, said: &str) -> Act {
        let id = or(said, &format!("{}-{}", self.card.profile, self.device.unit));
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let known = self.installed.iter().any(|other| other.id == id);
        if known || id.len() > 64 || !id.chars().all(plain) {
            let why = if known { "已有 taken" } else { "a-z 0-9 -" };
            self.talk.push(format!("`{id}`: {why}"));
            return Act::Ask("设备号 device id".to_owned());
        }
        self.device.id = id;
        self.ask(State::Name, "名称 name")
    }

    /// Asks for the reference of the n-th value, or goes on where there are no more.
    fn reference(&mut self, n: usize) -> Act {
        match self.device.values.get(n).filter(|_| n < REFERENCES_MAX) {
            // A truth has no reference.
            Some(((_, _, "bool"), _)) => self.reference(n + 1),
            Some(((field, value, unit), _)) => {
                let question = format!(
                    "{field} {value} {unit}: 标准器读数 what does the reference show? (空 empty: none)"
                );
                self.ask(State::Reference(n), &question)
            }
            None => {
                let done = std::mem::replace(&mut self.device, fresh(self.card.unit));
                self.talk.push(format!("{}: 地址 unit id {}", done.id, done.unit));
                self.next_id = self.next_id.max(done.unit.saturating_add(1)).min(UNIT_MAX);
                self.installed.push(done);
                self.ask(State::More, "还有吗 another one? [y/n]")
            }
        }
    }

    fn compared(&mut self, n: usize, said: &str) -> Act {
        if said.is_empty() {
            return self.reference(n + 1);
        }
        let Some(reference) = said.parse::<f64>().ok().filter(|value| value.is_finite()) else {
            self.talk.push(format!("`{said}`: 数字 a number"));
            return self.reference(n);
        };
        if let Some((_, place)) = self.device.values.get_mut(n) {
            *place = Some(reference);
        }
        self.reference(n + 1)
    }
}

fn fresh(unit: u8) -> Installed {
    Installed {
        id: String::new(),
        name: String::new(),
        place: String::new(),
        serial: String::new(),
        unit,
        was: unit,
        baud: None,
        met: false,
        values: Vec::new(),
    }
}

fn or(said: &str, default: &str) -> String {
    let said = said.trim();
    if said.is_empty() { default.to_owned() } else { said.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::cards;

    fn dialogue() -> Dialogue {
        let card = cards().into_iter().find(|card| card.profile == "xy-md02").unwrap();
        Dialogue::new(card, 2, None)
    }

    fn said(text: &str) -> Event {
        Event::Said(text.to_owned())
    }

    #[test]
    fn nothing_is_written_while_two_answer() {
        let mut dialogue = dialogue();
        assert!(matches!(dialogue.next(Event::Begin), Act::Ask(_)));
        assert_eq!(dialogue.next(said("")), Act::Find);
        for found in [Found::Several("1, 3".into()), Found::Nobody] {
            assert!(matches!(dialogue.next(Event::Found(found)), Act::Ask(_)));
            assert_eq!(dialogue.next(said("")), Act::Find);
        }
        assert!(matches!(dialogue.next(Event::Found(Found::One(1))), Act::Ask(_)));
        for wrong in ["0", "248", "x"] {
            assert!(matches!(dialogue.next(said(wrong)), Act::Ask(_)), "{wrong}");
        }
        assert_eq!(dialogue.next(said("7")), Act::Write { from: 1, to: 7, baud: None });
        // Not believed until it was read back.
        assert!(matches!(dialogue.next(Event::Wrote(Err("no answer".into()))), Act::Ask(_)));
        assert!(dialogue.installed.is_empty());
        assert_eq!(dialogue.talk.len(), 6 + 1, "{:?}", dialogue.talk);
    }

    #[test]
    fn a_speed_is_believed_when_the_device_answered_at_it() {
        let mut dialogue = Dialogue { baud: Some(4_800), ..dialogue() };
        dialogue.next(Event::Begin);
        dialogue.next(said(""));
        dialogue.next(Event::Found(Found::One(1)));
        assert_eq!(dialogue.next(said("7")), Act::Write { from: 1, to: 7, baud: Some(4_800) });
        let meet = Act::Meet { unit: 7, baud: 4_800 };
        assert!(matches!(dialogue.next(Event::Wrote(Ok(Written::AfterPower))), Act::Ask(_)));
        assert_eq!(dialogue.next(said("")), meet);
        // Somebody pressed Enter and had not switched it off.
        assert!(matches!(dialogue.next(Event::Wrote(Ok(Written::AfterPower))), Act::Ask(_)));
        assert_eq!(dialogue.next(said("")), meet);
        assert!(matches!(dialogue.next(Event::Wrote(Err("silent".into()))), Act::Ask(_)));
        assert_eq!(dialogue.next(said("")), meet);
        assert_eq!(dialogue.next(Event::Wrote(Ok(Written::Read))), Act::Read(7));
        assert!(dialogue.device.met);
        // Given up, it is on no sheet.
        let mut given_up = Dialogue { baud: Some(4_800), ..self::dialogue() };
        for event in [Event::Begin, said(""), Event::Found(Found::One(1)), said("7")] {
            given_up.next(event);
        }
        given_up.next(Event::Wrote(Ok(Written::AfterPower)));
        assert!(matches!(given_up.next(said("n")), Act::Ask(question) if question.contains("第1台")));
        assert!(given_up.installed.is_empty());
    }

    #[test]
    fn a_unit_id_and_a_name_are_given_once() {
        let mut dialogue = dialogue();
        dialogue.next(Event::Begin);
        let install = |dialogue: &mut Dialogue, id: &str, unit: &str| {
            dialogue.next(said(""));
            dialogue.next(Event::Found(Found::One(1)));
            let mut act = dialogue.next(said(unit));
            if let Act::Ask(_) = act {
                act = dialogue.next(said(""));
            }
            let Act::Write { to, .. } = act else { panic!("{act:?}") };
            assert_eq!(dialogue.next(Event::Wrote(Ok(Written::Read))), Act::Read(to));
            dialogue
                .next(Event::Values(vec![("temperature".into(), 4.5, "°C"), ("door".into(), 1.0, "bool")]));
            if let Act::Ask(question) = dialogue.next(said(id))
                && question.starts_with("设备号")
            {
                dialogue.next(said(&format!("{id}-b")));
            }
            for answer in ["冰箱", "门诊一楼", "SN1", "warm", "4.3"] {
                dialogue.next(said(answer));
            }
            dialogue.next(said("y"));
        };
        install(&mut dialogue, "fridge", "5");
        install(&mut dialogue, "fridge", "5");
        let given: Vec<_> =
            dialogue.installed.iter().map(|device| (device.id.as_str(), device.unit, device.was)).collect();
        assert_eq!(given, [("fridge", 5, 1), ("fridge-b", 6, 1)]);
        assert_eq!(dialogue.installed[0].values[0], (("temperature".into(), 4.5, "°C"), Some(4.3)));
        assert_eq!(dialogue.installed[0].values[1].1, None, "a door is not compared");
        assert_eq!(dialogue.next(Event::Hush), Act::Finish);
    }
}
