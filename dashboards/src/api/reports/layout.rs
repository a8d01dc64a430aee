//! How a report stands in tables: where each figure is in its JSON, what it is called, and how it is written.

use onemap_model::Timestamp;
use serde_json::Value;

use super::Lang;

/// Words in both languages.
pub(super) type Both = (&'static str, &'static str);

/// How a figure is written for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// As it is.
    Plain,
    /// 0 to 1, as percent.
    Share,
    /// Milliseconds, as minutes and seconds.
    Span,
    /// A time, to the minute in Beijing.
    Moment,
    /// `{"zh","en"}`.
    Both,
    /// How a shift took over.
    Change,
}

/// A figure or a column: where, what it is called, how it is written.
pub(super) struct Figure(pub(super) &'static str, pub(super) Both, pub(super) Unit);

/// A part of a report.
pub(super) enum Part {
    /// Single figures below one object.
    Facts(Both, &'static str, &'static [Figure]),
    /// A row for each item of a list; the first column names it.
    Rows(Both, &'static str, &'static [Figure]),
}

impl Part {
    pub(super) fn title(&self) -> Both {
        match self {
            Self::Facts(title, ..) | Self::Rows(title, ..) => *title,
        }
    }
    pub(super) fn place(&self) -> &'static str {
        match self {
            Self::Facts(_, place, _) | Self::Rows(_, place, _) => place,
        }
    }
}

use Unit::{Change, Moment, Plain, Share, Span};

const RAISED: Figure = Figure("raised", ("发生", "Raised"), Plain);
const CLEARED: Figure = Figure("cleared", ("恢复", "Cleared"), Plain);
const CLOSED: Figure = Figure("closed", ("人工关闭", "Closed"), Plain);
const WITHDRAWN: Figure = Figure("withdrawn", ("撤销", "Withdrawn"), Plain);

/// All parts, in the order in which they are read.
#[rustfmt::skip]
pub(super) const PARTS: &[Part] = &[
    Part::Facts(("告警", "Alarms"), "/alarms", &[
        Figure("raised", ("发生", "Raised"), Plain),
        Figure("cleared", ("恢复", "Cleared"), Plain),
        Figure("closed", ("人工关闭", "Closed by a person"), Plain),
        Figure("withdrawn", ("随规则撤销", "Withdrawn with their rule"), Plain),
        Figure("stale", ("持续超过 24 小时", "Open for more than 24 h"), Plain),
    ]),
    Part::Facts(("响应", "Response"), "/response", &[
        Figure("acknowledged", ("已确认", "Acknowledged"), Plain),
        Figure("median_ms", ("确认用时中位数", "Time to acknowledge, median"), Span),
        Figure("p90_ms", ("确认用时 P90", "Time to acknowledge, p90"), Span),
        Figure("unacknowledged", ("期末仍无人确认", "Still acknowledged by nobody at the end"), Plain),
        Figure("ended_unacknowledged", ("无人确认即结束", "Ended before anybody acknowledged"), Plain),
    ]),
    Part::Rows(("按级别", "By severity"), "/alarms/by_severity", &[
        Figure("name", ("级别", "Severity"), Unit::Both),
        RAISED, CLEARED, CLOSED, WITHDRAWN,
    ]),
    Part::Rows(("按区域（每 10 分钟负荷）", "By division (load per 10 minutes)"), "/alarms/by_division", &[
        Figure("name", ("区域", "Division"), Unit::Both),
        Figure("raised", ("发生", "Raised"), Plain),
        Figure("mean", ("每 10 分钟平均", "Mean per 10 min"), Plain),
        Figure("most", ("10 分钟最多", "Most in 10 min"), Plain),
        Figure("most_at", ("起始时间", "Beginning at"), Moment),
        Figure("flood_share", ("告警洪水占时", "Share of floods"), Share),
    ]),
    Part::Rows(("按规则", "By rule"), "/alarms/by_rule", &[
        Figure("name", ("规则", "Rule"), Unit::Both),
        Figure("rule", ("编号", "Id"), Plain),
        RAISED, CLEARED, CLOSED, WITHDRAWN,
    ]),
    Part::Rows(("抖动告警", "Chattering"), "/alarms/chattering", &[
        Figure("name", ("设备", "Device"), Plain),
        Figure("rule_name", ("规则", "Rule"), Unit::Both),
        Figure("quantity", ("指标", "Quantity"), Plain),
        Figure("index", ("每小时最多", "Most in one hour"), Plain),
        Figure("deadband", ("建议回差", "Deadband proposed"), Plain),
        Figure("unit", ("单位", "Unit"), Plain),
    ]),
    Part::Rows(("告警最多的测点", "What cost most"), "/alarms/bad_actors", &[
        Figure("name", ("设备", "Device"), Plain),
        Figure("rule_name", ("规则", "Rule"), Unit::Both),
        Figure("quantity", ("指标", "Quantity"), Plain),
        Figure("raised", ("发生", "Raised"), Plain),
        Figure("share", ("占比", "Share"), Share),
    ]),
    Part::Facts(("通知", "Pages"), "/pages", &[
        Figure("n", ("通知次数", "Pages"), Plain),
    ]),
    Part::Rows(("按席位通知", "Pages by desk"), "/pages/by_desk", &[
        Figure("name", ("席位", "Desk"), Plain),
        Figure("n", ("通知次数", "Pages"), Plain),
    ]),
    Part::Facts(("预警", "Statutory warnings"), "/warnings", &[
        Figure("issued", ("发布", "Issued"), Plain),
        Figure("updated", ("更新", "Updated"), Plain),
        Figure("cancelled", ("解除", "Cancelled"), Plain),
        Figure("exercises", ("演练与测试", "Exercises and tests"), Plain),
    ]),
    Part::Facts(("设备失联", "Silence of devices"), "/silence", &[
        Figure("raised", ("失联告警", "Alarms of silence"), Plain),
        Figure("devices", ("涉及设备", "Devices"), Plain),
    ]),
    Part::Facts(("数据到报", "Arrival of data"), "/data", &[
        Figure("expected", ("应到", "Expected"), Plain),
        Figure("received", ("实到", "Received"), Plain),
        Figure("lost", ("缺失", "Lost"), Plain),
        Figure("late", ("迟到", "Late"), Plain),
        Figure("refused", ("拒收", "Refused"), Plain),
        Figure("arrival_rate", ("到报率", "Arrival rate"), Share),
        Figure("timely_rate", ("及时率", "Timely rate"), Share),
        Figure("transmission_rate", ("传输有效率", "Valid transmission rate"), Share),
    ]),
    Part::Facts(("值班", "Duty"), "/duty", &[
        Figure("entries", ("日志记录", "Entries of the log"), Plain),
        Figure("notes", ("记事", "Notes"), Plain),
        Figure("calls", ("通话", "Calls"), Plain),
        Figure("instructions", ("指令", "Instructions"), Plain),
        Figure("handovers", ("交班", "Hand-overs"), Plain),
        Figure("takeovers", ("接班", "Take-overs"), Plain),
        Figure("missing", ("未接班", "Shifts that nobody took over"), Plain),
        Figure("late", ("迟接班", "Shifts taken over late"), Plain),
    ]),
    Part::Rows(("交接班", "Hand-overs"), "/duty/shifts", &[
        Figure("name", ("席位", "Desk"), Plain),
        Figure("shift/from", ("班次开始", "Shift from"), Moment),
        Figure("shift/name", ("班次", "Shift"), Plain),
        Figure("state", ("交接", "Hand-over"), Change),
        Figure("taken_by", ("接班人", "Taken over by"), Plain),
        Figure("taken_at", ("接班时间", "Taken over at"), Moment),
    ]),
];

/// The words of a language.
pub(super) fn pick((zh, en): Both, lang: Lang) -> &'static str {
    match lang {
        Lang::Zh => zh,
        Lang::En => en,
    }
}

/// A figure for people; nothing that is known has a word of its own.
pub(super) fn written(value: Option<&Value>, unit: Unit, lang: Lang) -> String {
    let value = match value {
        None | Some(Value::Null) => return pick(("—", "—"), lang).to_owned(),
        Some(value) => value,
    };
    match unit {
        Unit::Both => {
            let key = pick(("zh", "en"), lang);
            value
                .get(key)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        }
        Unit::Share => value
            .as_f64()
            .map_or_else(String::new, |share| format!("{:.2} %", share * 100.0)),
        Unit::Span => value.as_i64().map_or_else(String::new, |ms| span(ms, lang)),
        Unit::Moment => moment(value),
        Unit::Change => match (value.as_str(), lang) {
            (Some("done"), Lang::Zh) => "已接班".to_owned(),
            (Some("late"), Lang::Zh) => "迟接班".to_owned(),
            (Some("waiting"), Lang::Zh) => "待接班".to_owned(),
            (Some("missing"), Lang::Zh) => "未接班".to_owned(),
            (said, _) => said.unwrap_or_default().to_owned(),
        },
        Unit::Plain => plain(value),
    }
}

/// A figure for programs: numbers and times as they stand in the JSON.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A time as `2026-11-28 08:00`, Beijing.
pub(super) fn moment(value: &Value) -> String {
    let text = value.as_str().and_then(|text| Timestamp::parse(text).ok());
    let text = text.map(|at| at.to_string()).unwrap_or_default();
    text.chars().take(16).collect::<String>().replace('T', " ")
}

fn span(ms: i64, lang: Lang) -> String {
    let seconds = ms.div_euclid(1000);
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, lang) {
        (0, Lang::Zh) => format!("{minutes} 分 {rest} 秒"),
        (0, Lang::En) => format!("{minutes} min {rest} s"),
        (_, Lang::Zh) => format!("{hours} 小时 {minutes} 分"),
        (_, Lang::En) => format!("{hours} h {minutes} min"),
    }
}
