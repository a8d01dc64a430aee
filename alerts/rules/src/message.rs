//! The sentences people read, in Chinese and English.
//!
//! These are operational thresholds: 超标 (over a legal limit) is never said here, because a legal
//! limit has an averaging period that a single reading does not have.

use std::time::Duration;

use onemap_model::{Edge, Quantity};

use crate::rule::{Rule, Side, Silence, Texts, When};

/// What an edge is about, beside its rule.
pub(crate) struct Occasion<'a> {
    pub(crate) edge: Edge,
    /// The quantity and channel of the alert's series.
    pub(crate) quantity: Quantity,
    pub(crate) channel: u16,
    /// The value that made the edge, or the last one known.
    pub(crate) value: Option<f64>,
    /// How long nothing has come, where that is the matter.
    pub(crate) silent_for: Option<Duration>,
    /// Why, for [`Edge::Withdrawn`].
    pub(crate) because: Option<&'a Texts>,
}

/// Why an alert is withdrawn: its rule is gone or changed.
pub(crate) fn rule_changed() -> Texts {
    texts(
        "规则已移除、修改或不再适用",
        "its rule was removed, changed or no longer applies",
    )
}

/// Why an alert is withdrawn: its device is retired.
pub(crate) fn device_retired() -> Texts {
    texts("设备已退役", "the device was retired")
}

/// The sentence of one edge.
pub(crate) fn edge(rule: &Rule, occasion: &Occasion<'_>) -> Texts {
    let (subject_zh, subject_en) = subject(rule, occasion);
    let value = occasion.value.map(|v| shown(rule, occasion.quantity, v));
    match occasion.edge {
        Edge::Raised => raised(rule, occasion, &subject_zh, &subject_en, value),
        Edge::Cleared => cleared(rule, &subject_zh, &subject_en, value),
        Edge::Lost => lost(occasion, &subject_zh, &subject_en, value),
        Edge::Found => {
            let (limit_zh, limit_en) = limit(rule, Limit::Clear);
            let Texts { zh, en } = value.unwrap_or_default();
            Texts {
                zh: format!("{subject_zh}数据恢复，{zh}，仍未{limit_zh}"),
                en: format!("{subject_en} is back: {en}, not yet {limit_en}"),
            }
        }
        _ => {
            let because = occasion.because.cloned().unwrap_or_default();
            Texts {
                zh: format!("{subject_zh}告警撤回：{}；不表示已恢复正常", because.zh),
                en: format!(
                    "Alert on {subject_en} withdrawn: {}; this does not say that it is normal",
                    because.en
                ),
            }
        }
    }
}

/// What a rule says, for the list of rules.
pub(crate) fn sentence(rule: &Rule) -> Texts {
    let clear_hold = |zh: &str, en: &str| match rule.clear_hold {
        Duration::ZERO => texts(zh, en),
        hold => {
            let hold = lasting(hold);
            Texts {
                zh: format!("{zh}持续 {}", hold.zh),
                en: format!("{en} for {}", hold.en),
            }
        }
    };
    if let When::NoData {
        quantity,
        channel,
        silence,
    } = &rule.when
    {
        let of = match quantity {
            Some(quantity) => named(*quantity, channel.unwrap_or(0)),
            None => texts("设备", "The device "),
        };
        let time = match silence {
            Silence::Cadences(n) => Texts {
                zh: format!("{n} 个上报周期"),
                en: format!("{n} of its cadences"),
            },
            Silence::Fixed(time) => lasting(*time),
        };
        let over = clear_hold("恢复上报", "data is back");
        return Texts {
            zh: format!("{}超过 {} 无数据时告警，{}后解除", of.zh, time.zh, over.zh),
            en: format!(
                "{}sends nothing for more than {}; over when {}",
                of.en, time.en, over.en
            ),
        };
    }
    let quantity = rule.quantity().expect("only a silence may be without quantity");
    let of = named(quantity, rule.channel().unwrap_or(0));
    let (raise_zh, raise_en) = limit(rule, Limit::Raise);
    let (clear_zh, clear_en) = limit(rule, Limit::Clear);
    let over = clear_hold(&clear_zh, &clear_en);
    let (hold_zh, hold_en) = held(rule.hold, "持续 ");
    Texts {
        zh: format!("{}{raise_zh}{hold_zh}时告警，{}后解除", of.zh, over.zh),
        en: format!("{}{raise_en}{hold_en}; over when {}", of.en, over.en),
    }
}

fn raised(rule: &Rule, o: &Occasion<'_>, zh: &str, en: &str, value: Option<Texts>) -> Texts {
    if rule.silence().is_some() {
        let silent = lasting(o.silent_for.unwrap_or_default());
        return match value {
            Some(value) => Texts {
                zh: format!("{zh}已 {} 无数据，最后值 {}", silent.zh, value.zh),
                en: format!("{en} has sent nothing for {}; last value {}", silent.en, value.en),
            },
            None => Texts {
                zh: format!("{zh}已 {} 无数据", silent.zh),
                en: format!("{en} has sent nothing for {}", silent.en),
            },
        };
    }
    let value = value.unwrap_or_default();
    let (hold_zh, hold_en) = held(rule.hold, "已持续 ");
    if o.quantity.is_state() {
        return Texts {
            zh: format!("{zh}：{}{hold_zh}", value.zh),
            en: format!("{en}: {}{hold_en}", value.en),
        };
    }
    let (limit_zh, limit_en) = limit(rule, Limit::Raise);
    Texts {
        zh: format!("{zh} {} {limit_zh}{hold_zh}，超过运行阈值", value.zh),
        en: format!(
            "{en} {} is {limit_en}{hold_en}, past its operational threshold",
            value.en
        ),
    }
}

fn cleared(rule: &Rule, zh: &str, en: &str, value: Option<Texts>) -> Texts {
    let (hold_zh, hold_en) = held(rule.clear_hold, "，已持续 ");
    if rule.silence().is_some() {
        return Texts {
            zh: format!("{zh}恢复上报{hold_zh}"),
            en: format!("{en} sends data again{hold_en}"),
        };
    }
    let (limit_zh, limit_en) = limit(rule, Limit::Clear);
    let value = value.unwrap_or_default();
    Texts {
        zh: format!("{zh} {}，{limit_zh}{hold_zh}，告警解除", value.zh),
        en: format!("{en} {}, {limit_en}{hold_en}: over", value.en),
    }
}

fn lost(o: &Occasion<'_>, zh: &str, en: &str, value: Option<Texts>) -> Texts {
    let value = value.unwrap_or_default();
    match o.silent_for {
        Some(time) => {
            let time = lasting(time);
            Texts {
                zh: format!("{zh}已 {} 无数据，最后值 {}，现状未知", time.zh, value.zh),
                en: format!(
                    "{en} has sent nothing for {}; last value {}, its state is unknown",
                    time.en, value.en
                ),
            }
        }
        None => Texts {
            zh: format!("{zh}的数据不能用于判断，现状未知"),
            en: format!("{en} sends values that may not be judged; its state is unknown"),
        },
    }
}

fn subject(rule: &Rule, o: &Occasion<'_>) -> (String, String) {
    if rule.silence().is_some() && rule.quantity().is_none() {
        return ("设备".to_owned(), "The device".to_owned());
    }
    let Texts { zh, en } = named(o.quantity, o.channel);
    (zh, en.trim_end().to_owned())
}

/// A quantity's name with its channel when it is not the first; the English one ends with a blank.
fn named(quantity: Quantity, channel: u16) -> Texts {
    let definition = quantity.definition();
    match channel {
        0 => Texts {
            zh: definition.zh.clone(),
            en: format!("{} ", definition.en),
        },
        n => Texts {
            zh: format!("{}（通道 {n}）", definition.zh),
            en: format!("{} (channel {n}) ", definition.en),
        },
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Limit {
    Raise,
    Clear,
}

/// `高于 250 µg/m³` / `above 250 µg/m³`, or for the way back `回到 200 µg/m³ 以下`.
fn limit(rule: &Rule, which: Limit) -> (String, String) {
    let (threshold, above) = match &rule.when {
        When::Above(threshold) => (threshold, true),
        When::Below(threshold) => (threshold, false),
        When::State { .. } => return state_limit(rule, which),
        When::NoData { .. } => return (String::new(), String::new()),
    };
    let quantity = threshold.quantity;
    if quantity.is_state() {
        return state_limit(rule, which);
    }
    let number = match which {
        Limit::Raise => threshold.raise,
        Limit::Clear => threshold.clear,
    };
    let number = format!("{}{}", trimmed(number), unit(quantity));
    match (which, above) {
        (Limit::Raise, true) => (format!("高于 {number}"), format!("above {number}")),
        (Limit::Raise, false) => (format!("低于 {number}"), format!("below {number}")),
        (Limit::Clear, true) => (format!("回落至 {number} 及以下"), format!("at or below {number}")),
        (Limit::Clear, false) => (format!("回升至 {number} 及以上"), format!("at or above {number}")),
    }
}

/// `为打开` / `is open`, or for the way back `恢复为关闭` / `back to closed`.
fn state_limit(rule: &Rule, which: Limit) -> (String, String) {
    let side = if which == Limit::Raise {
        Side::Beyond
    } else {
        Side::Back
    };
    let states = rule
        .quantity()
        .map_or(&[][..], |quantity| &quantity.definition().states);
    let met = states
        .iter()
        .filter(|state| rule.side(f64::from(state.code)) == Some(side));
    let (zh, en): (Vec<_>, Vec<_>) = met.map(|state| (state.zh.as_str(), state.en.as_str())).unzip();
    let (zh, en) = (zh.join("或"), en.join(" or "));
    match which {
        Limit::Raise => (format!("为{zh}"), format!("is {en}")),
        Limit::Clear => (format!("恢复为{zh}"), format!("back to {en}")),
    }
}

/// A value with its unit or its state's name. Decimals are the dictionary's, more when rounding would
/// put the value on the other side of the rule's limit.
fn shown(rule: &Rule, quantity: Quantity, value: f64) -> Texts {
    let definition = quantity.definition();
    let state = definition.states.iter().find(|s| f64::from(s.code) == value);
    if let Some(state) = state {
        return texts(&state.zh, &state.en);
    }
    let side = rule.side(value);
    let least = usize::from(definition.decimals);
    let number = (least..=least + 6)
        .map(|decimals| format!("{value:.decimals$}"))
        .find(|text| text.parse().is_ok_and(|rounded| rule.side(rounded) == side))
        .unwrap_or_else(|| value.to_string());
    let text = format!("{number}{}", unit(quantity));
    Texts {
        zh: text.clone(),
        en: text,
    }
}

/// A limit as short as it can be written.
fn trimmed(number: f64) -> String {
    let text = format!("{number:.6}");
    match text.trim_end_matches('0').trim_end_matches('.') {
        "-0" => "0".to_owned(),
        short => short.to_owned(),
    }
}

/// ` µg/m³`: a blank and the unit as people write it, nothing for quantities without one.
fn unit(quantity: Quantity) -> String {
    let unit = match quantity.definition().unit.as_str() {
        "" => return String::new(),
        "%" => return "%".to_owned(),
        "Cel" => "°C",
        "deg" => return "°".to_owned(),
        "m3/s" => "m³/s",
        "ug/m3" => "µg/m³",
        "mg/m3" => "mg/m³",
        "uS/cm" => "µS/cm",
        "1/cm3" => "/cm³",
        other => other,
    };
    format!(" {unit}")
}

fn held(hold: Duration, zh_words: &str) -> (String, String) {
    if hold.is_zero() {
        return (String::new(), String::new());
    }
    let hold = lasting(hold);
    let space = if zh_words.starts_with('，') { "" } else { " " };
    (
        format!("{space}{zh_words}{}", hold.zh),
        format!(" for {}", hold.en),
    )
}

/// A duration in its largest whole unit, rounded down to seconds above one second.
fn lasting(time: Duration) -> Texts {
    let ms = time.as_millis();
    let s = time.as_secs();
    let (number, zh, en) = match s {
        0 if ms > 0 => {
            return Texts {
                zh: format!("{ms} 毫秒"),
                en: format!("{ms} ms"),
            };
        }
        s if s >= 86_400 && s % 86_400 == 0 => (s / 86_400, "天", "d"),
        s if s >= 3600 && s % 3600 == 0 => (s / 3600, "小时", "h"),
        s if s >= 60 && s % 60 == 0 => (s / 60, "分钟", "min"),
        s if s >= 7200 => (s / 3600, "小时", "h"),
        s if s >= 600 => (s / 60, "分钟", "min"),
        s => (s, "秒", "s"),
    };
    Texts {
        zh: format!("{number} {zh}"),
        en: format!("{number} {en}"),
    }
}

fn texts(zh: &str, en: &str) -> Texts {
    Texts {
        zh: zh.to_owned(),
        en: en.to_owned(),
    }
}
