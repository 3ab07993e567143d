//! The status page's words in the two languages, and how it writes a time.

use gateway_model::{CivilTime, Text, Unit};

/// A language of the product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lang {
    /// Chinese, the first.
    Zh,
    /// English.
    En,
}

/// What the page says besides names and rule texts.
pub(super) struct Words {
    pub(super) title: &'static str,
    pub(super) troubles: &'static str,
    pub(super) alerts: &'static str,
    pub(super) no_alerts: &'static str,
    pub(super) over: &'static str,
    pub(super) colon: &'static str,
    pub(super) points: &'static str,
    pub(super) point: &'static str,
    pub(super) value: &'static str,
    pub(super) quality: &'static str,
    pub(super) time: &'static str,
    pub(super) since: &'static str,
    pub(super) center: &'static str,
    pub(super) center_up: &'static str,
    pub(super) center_down: &'static str,
    pub(super) center_none: &'static str,
    pub(super) records: &'static str,
    pub(super) receipted: &'static str,
    pub(super) line: &'static str,
    pub(super) line_short: &'static str,
    pub(super) line_spent: &'static str,
    pub(super) simulated: &'static str,
    pub(super) refusing: &'static str,
    pub(super) configuration: &'static str,
    refused: &'static str,
    applied: &'static str,
    confirmed: &'static str,
    rolled_back: &'static str,
    kept: &'static str,
    pub(super) other_lang: &'static str,
    good: &'static str,
    bad: &'static str,
    stale: &'static str,
    stuck: &'static str,
    uncertain: &'static str,
    none: &'static str,
    yes: &'static str,
    no: &'static str,
    open: &'static str,
    closed: &'static str,
}

const ZH: Words = Words {
    title: "网关状态",
    troubles: "线路故障",
    alerts: "预警",
    no_alerts: "当前没有预警",
    over: "已恢复，还没有人签收",
    colon: "：",
    points: "测点",
    point: "测点",
    value: "数值",
    quality: "质量",
    time: "时间",
    since: "开始于",
    center: "监管中心",
    center_up: "已连接",
    center_down: "连接中断，数据保存在本机",
    center_none: "未设置",
    records: "最新记录",
    receipted: "中心已签收至",
    line: "计量线路本月已用（含估算的报头）",
    line_short: "流量不足：读数每 30 分钟上传一次",
    line_spent: "流量已用完：本月只上传预警，读数保存在本机",
    simulated: "演示数据：模拟时钟，不作为证据",
    refusing: "存储已满：仍在判断，只记录预警，请联系运维单位",
    configuration: "配置",
    refused: "新配置未被接受，仍按原配置运行",
    applied: "新配置已生效，正在观察",
    confirmed: "新配置运行正常",
    rolled_back: "新配置运行异常，已自动恢复原配置",
    kept: "按上次确认的配置运行",
    other_lang: "English",
    good: "正常",
    bad: "无数据",
    stale: "数据过期",
    stuck: "数值卡死：请检查探头",
    uncertain: "存疑",
    none: "尚无读数",
    yes: "是",
    no: "否",
    open: "开",
    closed: "关",
};

const EN: Words = Words {
    title: "Gateway status",
    troubles: "Trouble on a bus",
    alerts: "Alerts",
    no_alerts: "No alerts at the moment",
    over: "Over, not received by anybody yet",
    colon: ": ",
    points: "Points",
    point: "Point",
    value: "Value",
    quality: "Quality",
    time: "Time",
    since: "since",
    center: "Supervision center",
    center_up: "connected",
    center_down: "not reachable; records are kept here",
    center_none: "none set",
    records: "Newest record",
    receipted: "Receipted by the center up to",
    line: "metered line, this month (heads estimated)",
    line_short: "little left: readings go up every 30 min",
    line_spent: "used up: only alerts go up this month, readings are kept here",
    simulated: "Demonstration: simulated clock, never evidence",
    refusing: "Storage is full: alerts are still raised, readings are not recorded; call your maintainer",
    configuration: "Configuration",
    refused: "another one was refused; the one before stays in force",
    applied: "another one is in force, and watched",
    confirmed: "the new one is healthy",
    rolled_back: "the new one was not healthy; the one before is in force again",
    kept: "the one that was confirmed last is in force",
    other_lang: "中文",
    good: "good",
    bad: "no data",
    stale: "stale",
    stuck: "stuck: check the probe",
    uncertain: "uncertain",
    none: "nothing yet",
    yes: "yes",
    no: "no",
    open: "open",
    closed: "closed",
};

impl Lang {
    /// What was asked for, else what the browser prefers, else Chinese.
    pub(super) fn choose(asked: Option<&str>, accepts: Option<&str>) -> Self {
        let prefers_en =
            || accepts.is_some_and(|accepts| accepts.trim_start().to_ascii_lowercase().starts_with("en"));
        match asked {
            Some("en") => Self::En,
            Some("zh") => Self::Zh,
            Some(_) | None if prefers_en() => Self::En,
            Some(_) | None => Self::Zh,
        }
    }

    pub(super) fn words(self) -> &'static Words {
        match self {
            Self::Zh => &ZH,
            Self::En => &EN,
        }
    }

    pub(super) fn pick(self, text: &Text) -> &str {
        match self {
            Self::Zh => &text.zh,
            Self::En => &text.en,
        }
    }

    pub(super) fn code(self) -> &'static str {
        match self {
            Self::Zh => "zh-CN",
            Self::En => "en",
        }
    }

    /// As it is asked for: `?lang=`.
    pub(super) fn asked(self) -> &'static str {
        match self {
            Self::Zh => "zh",
            Self::En => "en",
        }
    }

    pub(super) fn other(self) -> &'static str {
        match self {
            Self::Zh => "en",
            Self::En => "zh",
        }
    }
}

impl Words {
    pub(super) fn quality_word(&self, quality: &str) -> &'static str {
        match quality {
            "good" => self.good,
            "bad" => self.bad,
            "stale" => self.stale,
            "stuck" => self.stuck,
            "uncertain" => self.uncertain,
            _ => self.none,
        }
    }

    /// What became of another configuration: [`crate::change::Shown::step`].
    pub(super) fn step_word(&self, step: &str) -> &'static str {
        match step {
            "refused" => self.refused,
            "applied" => self.applied,
            "confirmed" => self.confirmed,
            "rolled-back" => self.rolled_back,
            _ => self.kept,
        }
    }

    /// A value with its unit.
    pub(super) fn number(&self, value: Option<f64>, point: &str, unit: &str) -> String {
        match value {
            None => "—".to_owned(),
            Some(value) if unit == Unit::Truth.symbol() => {
                self.truth(point.ends_with("/door"), value != 0.0).to_owned()
            }
            Some(value) if unit == Unit::One.symbol() => format!("{}", (value * 100.0).round() / 100.0),
            Some(value) => format!("{} {unit}", (value * 100.0).round() / 100.0),
        }
    }

    /// A door is open or closed; of anything else it is so or not.
    pub(super) fn truth(&self, door: bool, truth: bool) -> &'static str {
        match (door, truth) {
            (true, true) => self.open,
            (true, false) => self.closed,
            (false, true) => self.yes,
            (false, false) => self.no,
        }
    }
}

/// `11-22 09:30:05` at the site.
pub(super) fn time(civil: CivilTime, utc_offset_min: i16) -> String {
    written(civil, utc_offset_min, "%m-%d %H:%M:%S")
}

/// `2026-11-22 09:30` at the site.
pub(super) fn day_and_time(civil: CivilTime, utc_offset_min: i16) -> String {
    written(civil, utc_offset_min, "%Y-%m-%d %H:%M")
}

fn written(civil: CivilTime, utc_offset_min: i16, form: &str) -> String {
    let offset =
        jiff::tz::Offset::from_seconds(i32::from(utc_offset_min) * 60).unwrap_or(jiff::tz::Offset::UTC);
    jiff::Timestamp::from_millisecond(civil.0)
        .map_or_else(|_| "—".to_owned(), |at| offset.to_datetime(at).strftime(form).to_string())
}
