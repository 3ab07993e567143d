//! The packs as a page for people: what each needs, what a site may change, and every rule with all that follows from it.
//!
//! Markdown, in one language. `cargo xtask reference` writes `docs/rules.md` and `docs/rules.zh-CN.md`; a test compares them
//! with the packs. Everything in them is a pack's own word, so nothing has to be kept true by hand.

use std::fmt::Write as _;

use gateway_model::{
    AggravatedBy, Criterion, First, HeatProgram, ModuleEvent, Priority, Text, Unit, WindowEnd,
};

use crate::document::At;
use crate::expression::{Expression, Function};
use crate::handling::PackPatience;
use crate::module::{PackComputes, PackCounts, PackNamed};
use crate::pack::{Pack, PackParameter, PackPoint, PackRule, Watch};
use crate::quantity::{Millis, Quantity, SelfFix};

/// Which language a page is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Chinese.
    Zh,
    /// English.
    En,
}

/// The pages under `docs/`, and their languages.
pub const REFERENCE: [(&str, Language); 2] = [("rules.md", Language::En), ("rules.zh-CN.md", Language::Zh)];

/// The whole page, packs in the order given.
pub fn reference(packs: &[Pack], language: Language) -> String {
    let mut page = Page { out: String::new(), language };
    page.head(packs);
    for pack in packs {
        page.pack(pack);
    }
    page.out
}

struct Page {
    out: String,
    language: Language,
}

impl Page {
    fn say(&self, zh: &'static str, en: &'static str) -> &'static str {
        match self.language {
            Language::Zh => zh,
            Language::En => en,
        }
    }

    fn of<'t>(&self, text: &'t Text) -> &'t str {
        match self.language {
            Language::Zh => &text.zh,
            Language::En => &text.en,
        }
    }

    /// A line.
    fn put(&mut self, line: impl AsRef<str>) {
        self.out.push_str(line.as_ref());
        self.out.push('\n');
    }

    /// A row of a table.
    fn row(&mut self, cells: &[&str]) {
        let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        self.put(format!("| {} |", cells.join(" | ")));
    }

    /// The first two rows of a table.
    fn columns(&mut self, names: &[&str]) {
        self.row(names);
        self.put(format!("|{}", "---|".repeat(names.len())));
    }

    fn head(&mut self, packs: &[Pack]) {
        let title = self.say("# 规则和规则包", "# Rules and rule packs");
        self.put(title);
        self.put("");
        let written = self.say(
            "由 `cargo xtask reference` 根据 `gateway/packs` 生成，请勿手改；测试会比较。[English](rules.md)",
            "Written by `cargo xtask reference` from `gateway/packs`, compared by a test; not edited by hand. [中文](rules.zh-CN.md)",
        );
        self.put(written);
        self.put("");
        let reading = self.say(
            "依据后面的字母是可信程度：V 已核对原文，S 二手来源，C 计算得出，K 通行但未核对，P 本项目的建议，A 依对使用者的分析定下。\
             花括号里的内容在显示时填入。参数可在站点文件里按 `规则包/规则.参数` 改，`for`、`clear_for` 等时长同样可改。             设备一次应答里的几个读数逐个判断：条件用到其中两个时，中间会有一瞬间只看到一个新值，因此条件应有 `for` 和 `clear_for`（决定 26）。",
            "The letter behind a norm says how sure it is: V read in the original, S from a secondary source, C computed, K known but \
             not verified, P a proposal of this project, A from the analysis of its users. What stands in braces is filled in when it is \
             shown. A site file changes parameters as `pack/rule.parameter`, and `for`, `clear_for` and the like in the same way. \
             The readings of one answer are judged one by one: a condition over two of them sees, for an instant, one new and one \
             old, so give it a `for` and a `clear_for` (decision 26).",
        );
        self.put(reading);
        self.put("");
        for pack in packs {
            let line = format!("- [{}](#{}): {}", self.of(&pack.title), pack.name, pack.rules.len());
            let unit = self.say(" 条规则", " rules");
            self.put(format!("{line}{unit}"));
        }
    }

    fn pack(&mut self, pack: &Pack) {
        self.put("");
        self.put(format!("<a id=\"{}\"></a>", pack.name));
        self.put("");
        self.put(format!("## {} (`{}` {})", self.of(&pack.title), pack.name, pack.version));
        self.put("");
        let mut kinds: Vec<String> = pack.subject.kinds.iter().map(|kind| format!("`{kind}`")).collect();
        if pack.subject.everything {
            kinds.push(
                self.say("每台受监测的设备和每条总线", "every device that is watched, and every bus")
                    .to_owned(),
            );
        }
        let devices = self.say("设备：", "Devices: ");
        self.put(format!("{devices}{}", kinds.join(self.say("、", ", "))));
        self.points(pack);
        self.programs(pack);
        self.modules(pack);
        for rule in &pack.rules {
            self.rule(pack, rule);
        }
    }

    fn points(&mut self, pack: &Pack) {
        let points = pack.all_points();
        if points.is_empty() {
            return;
        }
        self.put("");
        let (needed, optional) = (self.say("必需", "needed"), self.say("可选", "optional"));
        self.columns(&[self.say("点", "point"), self.say("名称", "name"), self.say("单位", "unit"), ""]);
        for (name, PackPoint { kind, unit, optional: may_lack, instead, beside, name: called, .. }) in &points
        {
            let shown = kind.as_ref().map_or_else(String::new, |kind| format!(" (`{kind}`)"));
            let unless = instead.as_ref().map(|other| match self.language {
                Language::Zh => format!("{needed}（有 `{other}` 的可以没有）"),
                Language::En => format!("{needed} unless there is `{other}`"),
            });
            let with = beside.as_ref().map(|other| match self.language {
                Language::Zh => format!("{needed}（只在有 `{other}` 时）"),
                Language::En => format!("{needed} where there is `{other}`"),
            });
            let unless = unless.or(with);
            let need = unless.as_deref().unwrap_or(if *may_lack { optional } else { needed });
            self.row(&[&format!("`{name}`{shown}"), self.of(called), self.unit(*unit), need]);
        }
        for (name, stuck) in points.iter().filter_map(|(name, point)| point.stuck.map(|stuck| (name, stuck)))
        {
            let (after, step) = (stuck.after, stuck.step);
            self.put("");
            self.put(match self.language {
                Language::Zh => format!(
                    "`{name}`连续 {after} 一点不变（分辨到 {step} 或更细的仪表），按探头卡死处理：不再相信，也不能解除预警（决定 28）。"
                ),
                Language::En => format!(
                    "`{name}` that does not move at all for {after} (where the instrument tells {step} or finer) is taken for a \
                     frozen probe: not believed, and no alert ends by it (decision 28)."
                ),
            });
        }
    }

    fn unit(&self, unit: Unit) -> &'static str {
        if unit == Unit::One {
            self.say("个", "count")
        } else if unit == Unit::Truth {
            self.say("是/否", "yes or no")
        } else {
            unit.symbol()
        }
    }

    fn programs(&mut self, pack: &Pack) {
        let Some(cycle) = &pack.cycle else { return };
        self.put("");
        self.columns(&[
            self.say("程序（站点文件选一个）", "program (a site file chooses one)"),
            self.say("要求", "asks for"),
            self.say("依据", "norm"),
        ]);
        for program in &cycle.programs {
            let (asks, norm) = (self.program(&program.program), self.norm(&program.norm, &program.mark));
            self.row(&[&format!("`{}`", program.program.id), &asks, &norm]);
        }
    }

    fn program(&self, program: &HeatProgram) -> String {
        let mut asks = format!("≥ {} °C, {}", program.set_c, Millis(program.hold_ms));
        if let Some(band) = program.band_c {
            write!(asks, ", ≤ {} °C", program.set_c + band).unwrap_or_default();
        }
        if let Some(dry_ms) = program.dry_ms {
            let short = self.say("短于此为烘干，只记录", "shorter is drying, logged only");
            write!(asks, "; {short}: {}", Millis(dry_ms)).unwrap_or_default();
        }
        if let Some(criteria) = program.criteria {
            let mut more = |name: &str, value: Option<f64>, unit: &str| {
                if let Some(value) = value {
                    write!(asks, ", {name} {value} {unit}").unwrap_or_default();
                }
            };
            more("F0 ≥", criteria.f0_min, "min");
            more("A0 ≥", criteria.a0_s, "s");
            more(self.say("温差 ≤", "spread ≤"), criteria.spread_k, "K");
            more(self.say("与饱和蒸汽相差 ≤", "off saturated steam by ≤"), criteria.saturation_k, "K");
        }
        asks
    }

    fn modules(&mut self, pack: &Pack) {
        if pack.modules.is_empty() {
            return;
        }
        self.put("");
        self.columns(&[self.say("模块", "module"), self.say("计算", "computes")]);
        for module in &pack.modules {
            let computes = self.module(module);
            self.row(&[&format!("`{}`", module.name), &computes]);
        }
    }

    fn module(&self, module: &PackNamed) -> String {
        match &module.what {
            PackComputes::Dose { irradiance, lit, warm_up, .. } => format!(
                "{} `{irradiance}`; {} {lit}; {} {warm_up}",
                self.say("灯管用时、照射时长和最低辐照：", "lamp hours, sessions and lowest irradiance:"),
                self.say("点亮自", "lit from"),
                self.say("预热", "warm-up")
            ),
            PackComputes::Run { power, running, .. } => format!(
                "{} `{power}`; {} {running}",
                self.say("运行时长和启动次数：", "run hours and starts:"),
                self.say("运行自", "running from")
            ),
            PackComputes::Ratio { of, to, days, at_least } => format!(
                "{} ÷ {}, {days} {}; {} {at_least}",
                self.counts(of),
                self.counts(to),
                self.say("天", "days"),
                self.say("除数至少", "said from a divisor of")
            ),
            PackComputes::Duty { duty, every, open_time } => format!(
                "{} `{duty}`, {} {every}{}",
                self.say("到期提醒：", "a duty that comes again:"),
                self.say("每", "every"),
                if *open_time { self.say("（只计营业时间）", " of open time") } else { "" }
            ),
            PackComputes::Waste { tolerance, share, other_share, great, .. } => format!(
                "{} {tolerance} / {} % ({} {} %), {} {great}",
                self.say("医废台账，允许重量差", "the ledger of medical waste; weights may differ by"),
                share * 100.0,
                self.say("不同单位的秤", "between scales of different houses"),
                other_share * 100.0,
                self.say("视为丢失自", "lost from")
            ),
        }
    }

    fn counts(&self, counts: &PackCounts) -> String {
        match counts {
            PackCounts::Visits => self.say("就诊人次", "visits").to_owned(),
            PackCounts::Handpieces => self.say("打包手机数", "handpieces packed").to_owned(),
            PackCounts::Cycles => self.say("合格周期数", "passed cycles").to_owned(),
            PackCounts::Waste => self.say("医废重量（g）", "waste (g)").to_owned(),
            PackCounts::OpenDays => self.say("营业天数", "open days").to_owned(),
            PackCounts::Minutes(name) => format!("`{name}.minutes`"),
            PackCounts::Readings(name) => format!("`{name}`"),
        }
    }

    fn rule(&mut self, pack: &Pack, rule: &PackRule) {
        self.put("");
        self.put(format!("### `{}/{}` {}", pack.name, rule.name, self.of(&rule.text.title)));
        self.put("");
        self.put(format!("> {}", self.of(&rule.text.sentence)));
        self.put("");
        let raised = self.raised(&rule.watch);
        self.item("报告", "raised", &raised);
        let text = self.of(&rule.text.action).to_owned();
        self.item("应做", "to do", &text);
        let urgent = self.urgency(rule);
        self.item("紧急程度", "priority", &urgent);
        let first = self.first(rule);
        self.item("先由谁处理", "first", &first);
        let norm = self.norm(&rule.text.norm, &rule.text.mark);
        self.item("依据", "norm", &norm);
        let verified = self.verified(pack, rule);
        self.item("整改核验", "verified", &verified);
        let more = self.more(rule);
        if !more.is_empty() {
            self.item("另外", "besides", &more.join(self.say("；", "; ")));
        }
        if !rule.parameters.is_empty() {
            self.put("");
            self.parameters(rule);
        }
    }

    fn item(&mut self, zh: &'static str, en: &'static str, text: &str) {
        let name = self.say(zh, en);
        let colon = self.say("：", ": ");
        self.put(format!("- **{name}**{colon}{text}"));
    }

    fn raised(&self, watch: &Watch) -> String {
        match watch {
            Watch::Condition { when, hold, clear_for, deadband, .. } => {
                let mut text = format!("`{}`", when.value);
                if hold.0 > 0 {
                    write!(text, "{} {hold}", self.say("，持续", " for")).unwrap_or_default();
                }
                let beyond = deadband.map_or_else(String::new, |deadband| {
                    format!(
                        "{} {deadband}{}",
                        self.say("（须越过限值", " (back beyond the limit by"),
                        self.say("）", ")")
                    )
                });
                let over = match self.language {
                    Language::Zh if clear_for.0 > 0 => format!("；不再成立{beyond}满 {clear_for} 后消除"),
                    Language::Zh => format!("；不再成立{beyond}即消除"),
                    Language::En if clear_for.0 > 0 => {
                        format!("; over when not true any more{beyond} for {clear_for}")
                    }
                    Language::En => format!("; over when not true any more{beyond}"),
                };
                text + &over
            }
            Watch::Absence { point, after } => {
                format!("{} `{point}` {after}", self.say("没有收到", "nothing was received of"))
            }
            Watch::CycleFailed { settle_within } => format!(
                "{} {settle_within}",
                self.say(
                    "一个周期不合格；同一设备随后有合格周期即视为重做，最迟",
                    "a cycle failed; settled by a passing cycle of the same device within"
                )
            ),
            Watch::Event { module, event, lapses } => format!(
                "`{module}`: {}; {} {lapses}",
                self.event(*event),
                self.say("转为记录", "lapses to a record after")
            ),
            Watch::DeviceUnevaluable { after } => {
                format!("{} {after}", self.say("一台设备无法判断，持续", "a device cannot be judged for"))
            }
            Watch::BusUnevaluable { after } => {
                format!(
                    "{} {after}",
                    self.say("一条总线上的设备全部无法判断，持续", "no device of a bus can be judged for")
                )
            }
            Watch::ClockUnevaluable { after } => {
                format!("{} {after}", self.say("不知道当前时间，持续", "civil time is not known for"))
            }
        }
    }

    fn event(&self, event: ModuleEvent) -> &'static str {
        match event {
            ModuleEvent::DuplicateLabel => self.say("同一标签用了两次", "a label was given again"),
            ModuleEvent::UnknownLabel => {
                self.say("交接了没有登记的标签", "a bag without a known label was handed over")
            }
            ModuleEvent::WeightDiffers => {
                self.say("交接重量与登记不符", "a hand-over weighs something else than its labels")
            }
            ModuleEvent::WeightLost => {
                self.say("交接重量明显少于登记", "much weight was lost between labels and hand-over")
            }
            ModuleEvent::DutyFailed => self.say("监测结果不合格", "a duty was done with a bad result"),
            ModuleEvent::Vanished => self.say("标签消失", "bags vanished"),
            ModuleEvent::UnknownCategory => {
                self.say("种类代码不在目录里", "a category that is not in the catalogue")
            }
            ModuleEvent::CycleUnmeasured => self.say("周期数据不足", "a cycle was not measured"),
            ModuleEvent::CycleAborted => {
                self.say("保温开始前被停止的周期", "a cycle was stopped before its hold")
            }
        }
    }

    fn priority(&self, priority: Priority) -> &'static str {
        match priority {
            Priority::Red => self.say("红（立即）", "red (at once, at any hour)"),
            Priority::Orange => self.say("橙（当个工作日）", "orange (within the working day)"),
            Priority::Yellow => self.say("黄（三个工作日内）", "yellow (within three working days)"),
            Priority::Blue => self.say("蓝（线索）", "blue (a lead)"),
        }
    }

    fn urgency(&self, rule: &PackRule) -> String {
        let mut text = self.priority(rule.priority).to_owned();
        for step in &rule.handling.steps {
            let hold = if step.hold.0 > 0 { format!(", {}", step.hold) } else { String::new() };
            write!(text, "; {} (`{}`{hold})", self.priority(step.priority), step.when.0.value)
                .unwrap_or_default();
        }
        if let Some(worse) = rule.handling.aggravated {
            let by = match worse.by {
                AggravatedBy::Visit => self.say("此后仍接诊", "a visit"),
                AggravatedBy::Point(_) => self.say("此后仍使用", "use"),
            };
            let after = worse.after_ms.map_or_else(String::new, |ms| format!(", ≥ {}", Millis(ms)));
            write!(text, "; {} ({by}{after})", self.priority(worse.priority)).unwrap_or_default();
        }
        text
    }

    fn first(&self, rule: &PackRule) -> String {
        let who = match rule.first {
            First::Institution => self.say("机构", "the institution"),
            First::Maintainer => self.say("运维单位", "the maintainer"),
            First::Collector => self.say("收运单位", "the collector"),
            First::Supervisor => return self.say("监管值班员", "the supervisor, at once").to_owned(),
        };
        let mut text = match rule.self_fix {
            None => format!("{who}{}", self.say("；同时为监管事项", "; a supervisor's item at once")),
            Some(within) => {
                let open = if rule.handling.open_time {
                    self.say("（营业时间）", " of open time")
                } else {
                    ""
                };
                let within = match within {
                    SelfFix::Within(time) => time.to_string(),
                    SelfFix::Until(WindowEnd::Day) => {
                        self.say("当日营业结束前", "until it closes that day").to_owned()
                    }
                    SelfFix::Until(WindowEnd::WorkingDays(days)) => {
                        format!("{days}{}", self.say("个工作日", " working days"))
                    }
                };
                format!(
                    "{who}, {within}{open}{}",
                    self.say("，未解决转为监管事项", "; then a supervisor's item")
                )
            }
        };
        if let Some((n, within)) = rule.handling.repeated {
            let times = self.say("次也转", "times within that span too");
            write!(text, "; {within}: {n} {times}").unwrap_or_default();
        }
        text
    }

    fn norm(&self, norm: &Text, mark: &str) -> String {
        format!("{} ({mark})", self.of(norm))
    }

    fn verified(&self, pack: &Pack, rule: &PackRule) -> String {
        let (window, share) =
            (Millis(rule.verify.window_ms), f64::from(rule.verify.coverage_permille) / 10.0);
        let covered = format!(", {} ≥ {share} %", self.say("有效数据", "good data"));
        let good = match &rule.watch {
            Watch::Condition { when, expression, hold, .. } => {
                let mut text = self.held(rule, &when.value, *hold);
                if looks_back(pack, expression) {
                    text.push_str(self.say(
                        "（时段以前的数据不作为不合格依据）",
                        " (what lies before the window convicts nobody)",
                    ));
                }
                text
            }
            Watch::CycleFailed { .. } => {
                self.say("窗口内最后一个周期合格", "the last cycle of the window passed").to_owned()
            }
            Watch::Absence { .. } => self.say("没有那么长的中断", "no silence of that length").to_owned(),
            Watch::Event { event, .. } => match rule.verify.criterion {
                Some(Criterion::GoodResults(n)) => match self.language {
                    Language::Zh => format!("最近一次不合格之后连续{n}次合格"),
                    Language::En => format!("{n} good results in a row since the last bad one"),
                },
                Some(Criterion::Lasting) | None => self.settled(*event).to_owned(),
            },
            Watch::DeviceUnevaluable { .. } | Watch::BusUnevaluable { .. } => {
                self.say("始终可以判断", "it could be judged throughout").to_owned()
            }
            Watch::ClockUnevaluable { .. } => {
                self.say("始终知道当前时间", "civil time was known throughout").to_owned()
            }
        };
        let counts = match &rule.watch {
            Watch::Condition { expression, .. } => reads_points(pack, rule, expression),
            Watch::DeviceUnevaluable { .. } | Watch::BusUnevaluable { .. } => true,
            Watch::CycleFailed { .. }
            | Watch::Absence { .. }
            | Watch::Event { .. }
            | Watch::ClockUnevaluable { .. } => false,
        };
        format!("{good}, {window}{}", if counts { &covered } else { "" })
    }

    /// How a condition is verified.
    fn held(&self, rule: &PackRule, when: &str, hold: Millis) -> String {
        let never = self.say("始终不成立：", "never true:");
        if rule.verify.criterion == Some(Criterion::Lasting) {
            return match self.language {
                Language::Zh => format!("没有连续成立 {hold}：`{when}`"),
                Language::En => format!("never true for {hold}: `{when}`"),
            };
        }
        match (&rule.during, self.language) {
            (None, _) => format!("{never} `{when}`"),
            (Some((during, _)), Language::Zh) => {
                format!("只看 `{}` 的时间（至少 {hold}），{never}`{when}`", during.value)
            }
            (Some((during, _)), Language::En) => {
                format!("while `{}` (at least {hold} of it), {never} `{when}`", during.value)
            }
        }
    }

    /// How an event is verified.
    fn settled(&self, event: ModuleEvent) -> &'static str {
        match event {
            ModuleEvent::CycleUnmeasured => {
                self.say("窗口内最后一个周期有完整数据", "the last cycle of the window was measured")
            }
            ModuleEvent::CycleAborted => {
                self.say("窗口内最后一个周期合格", "the last cycle of the window passed")
            }
            ModuleEvent::DutyFailed => self.say("最近一次结果合格", "the last result is good"),
            ModuleEvent::DuplicateLabel | ModuleEvent::UnknownCategory => {
                self.say("登记了新标签，没有再次发生", "bags were labelled, and it did not happen again")
            }
            ModuleEvent::UnknownLabel | ModuleEvent::WeightDiffers | ModuleEvent::WeightLost => self
                .say("有入库、交接或接收，没有再次发生", "bags were passed on, and it did not happen again"),
            ModuleEvent::Vanished => {
                self.say("有交接，没有再次发生", "there was a hand-over, and it did not happen again")
            }
        }
    }

    fn more(&self, rule: &PackRule) -> Vec<String> {
        let mut more = Vec::new();
        if rule.opt_in {
            more.push(
                self.say("站点文件要求时才判断", "judged only where the site file asks for it").to_owned(),
            );
        }
        if let Some(point) = &rule.without {
            more.push(match self.language {
                Language::Zh => format!("只用于没有 `{point}` 的设备"),
                Language::En => format!("only of devices without `{point}`"),
            });
        }
        if rule.handling.sleeps {
            more.push(self.say("非营业时间不计", "sleeps outside opening hours").to_owned());
        }
        if rule.latching {
            more.push(self.say("须人工复位", "stays listed until it is reset").to_owned());
        }
        if let Some((when, _)) = &rule.handling.suppress {
            more.push(format!(
                "{} `{}`",
                self.say("以下情况不提醒：", "nobody is reminded while"),
                when.value
            ));
        }
        if let Some(PackPatience { after, within, during, hold }) = &rule.handling.patience {
            let named = |names: &[At<String>]| {
                let names: Vec<String> = names.iter().map(|name| format!("`{}`", name.value)).collect();
                names.join(self.say("、", " or "))
            };
            let (after, during) = (named(after), Some(named(during)).filter(|during| !during.is_empty()));
            more.push(match self.language {
                Language::Zh => {
                    let during = during.map_or_else(String::new, |during| format!("，或{during}正为真"));
                    format!("{after}在{within}内曾为真而现已结束{during}时，等待{hold}（从条件成立起算）")
                }
                Language::En => {
                    let during = during.map_or_else(String::new, |during| format!(", or while {during} is"));
                    format!(
                        "waits {hold}, from where the condition began, if {after} was true in the last {within} and is no \
                         longer{during}"
                    )
                }
            });
        }
        if let Some(every) = rule.handling.re_alarm {
            more.push(format!("{} {every}", self.say("再次提醒每", "reminded again every")));
        }
        more
    }

    fn parameters(&mut self, rule: &PackRule) {
        self.columns(&[
            self.say("参数", "parameter"),
            self.say("含义", "meaning"),
            self.say("默认", "default"),
            self.say("允许范围", "allowed"),
            self.say("可信程度", "mark"),
        ]);
        for (name, PackParameter { default, min, max, name: called, mark }) in &rule.parameters {
            let bound = |value: &Option<f64>| {
                value.map_or_else(String::new, |value| Quantity { value, unit: default.unit }.to_string())
            };
            let allowed = match (min, max) {
                (None, None) => self.say("不限", "any").to_owned(),
                (Some(_), None) => format!("≥ {}", bound(min)),
                (None, Some(_)) => format!("≤ {}", bound(max)),
                (Some(_), Some(_)) => format!("{} … {}", bound(min), bound(max)),
            };
            self.row(&[&format!("`{name}`"), self.of(called), &default.to_string(), &allowed, mark]);
        }
    }
}

/// Does the condition rest on more than the moment? (`min` and `max` of two numbers do not; no pack asks a window for them.)
fn looks_back(pack: &Pack, expression: &Expression) -> bool {
    let windows =
        [Function::Average, Function::Median, Function::Sum, Function::Count, Function::Rate, Function::Last];
    let ratio = |name: &str| {
        pack.module_of(name).is_some_and(|module| matches!(module.what, PackComputes::Ratio { .. }))
    };
    expression.functions().any(|function| windows.contains(&function))
        || expression.names().into_iter().any(|(name, _)| ratio(name))
}

/// Is anything due to be read of what the condition rests on?
fn reads_points(pack: &Pack, rule: &PackRule, expression: &Expression) -> bool {
    let timed = |counts: &PackCounts| matches!(counts, PackCounts::Minutes(_) | PackCounts::Cycles);
    expression.names().into_iter().filter(|(name, _)| !rule.parameters.contains_key(*name)).any(
        |(name, _)| match pack.module_of(name).map(|module| &module.what) {
            None | Some(PackComputes::Dose { .. } | PackComputes::Run { .. }) => true,
            Some(PackComputes::Ratio { of, to, .. }) => timed(of) || timed(to),
            Some(PackComputes::Duty { .. } | PackComputes::Waste { .. }) => false,
        },
    )
}
