//! The sentences people read, in Chinese and English.
//!
//! These are operational thresholds: 超标 (over a legal limit) is never said here, because a legal
//! limit has an averaging period that a single reading does not have.

use std::time::Duration;

use onemap_model::forecast::OWN;
use onemap_model::{Edge, Past, Quantity, Timestamp};

use crate::rule::{Band, Finding, Outlook, Prospect, Rule, Side, Silence, Texts, When};
use crate::stages::StageLimit;

mod weighed;
mod why;

pub(crate) use weighed::fact;
pub(crate) use why::{Standing, aside, why};

/// What an edge is about, beside its rule.
pub(crate) struct Occasion<'a> {
    pub(crate) edge: Edge,
    /// The rule's level that the alert is at.
    pub(crate) level: u8,
    /// The quantity and channel of the alert's series.
    pub(crate) quantity: Quantity,
    pub(crate) channel: u16,
    /// The value that made the edge, or the last one known.
    pub(crate) value: Option<f64>,
    /// How long nothing has come, where that is the matter.
    pub(crate) silent_for: Option<Duration>,
    /// Why, for [`Edge::Withdrawn`].
    pub(crate) because: Option<&'a Texts>,
    /// What the forecast says, of a rule that looks ahead.
    pub(crate) outlook: Option<&'a Outlook>,
    /// What was found of each fact, of a rule that weighs several.
    pub(crate) findings: &'a [Finding],
}

/// Why an alert is withdrawn: its rule is gone or changed.
pub(crate) fn rule_changed() -> Texts {
    texts(
        "规则已移除、修改或不再适用",
        "its rule was removed, changed or no longer applies",
    )
}

/// Why an alert is withdrawn: its device is not in the fence any more that the rule is for.
pub(crate) fn fence_left() -> Texts {
    texts(
        "设备已不在规则所限的围栏内",
        "the device is not in the fence any more that its rule is for",
    )
}

/// Why an alert is withdrawn: its fence is gone.
pub(crate) fn fence_gone() -> Texts {
    texts("围栏已撤销或已到期", "the fence was taken off or has ended")
}

/// Why an alert is withdrawn: its rule does not look at this hour.
pub(crate) fn outside_hours() -> Texts {
    texts("规则此时段不适用", "its rule is not in force at this hour")
}

/// Why an alert is withdrawn: its device is retired.
pub(crate) fn device_retired() -> Texts {
    texts("设备已退役", "the device was retired")
}

/// The sentence of one edge.
pub(crate) fn edge(rule: &Rule, occasion: &Occasion<'_>) -> Texts {
    if rule.is_weighed() && occasion.edge != Edge::Withdrawn {
        let Texts { zh, en } = weighed::edge(rule, occasion);
        return Texts { zh: spaced(&zh), en };
    }
    let of = subject(rule, occasion);
    // A longitude says nothing of a fence.
    let value = occasion.value.filter(|_| rule.fence().is_none());
    let value = value.map(|v| shown(&rule.when, occasion.quantity, v));
    let Texts { zh, en } = match occasion.edge {
        Edge::Raised => raised(rule, occasion, &of, value),
        Edge::Cleared => cleared(rule, &of, value),
        Edge::Lost => match rule.looks_ahead() {
            Some(asked) => no_forecast(asked, occasion, &of),
            None => lost(occasion, &of, value),
        },
        Edge::Found => found(rule, &of, value),
        Edge::Worsened | Edge::Eased => levelled(rule, occasion, &of, value),
        _ => {
            let Texts { zh, en } = occasion.because.cloned().unwrap_or_default();
            Texts {
                zh: format!("{}告警撤回：{zh}；不表示已恢复正常", of.zh),
                en: format!(
                    "Alert on {} withdrawn: {en}; this does not say that it is normal",
                    of.en
                ),
            }
        }
    };
    Texts { zh: spaced(&zh), en }
}

/// What was found in data that came late; `told` is what would have been told when it was raised.
pub(crate) fn past(past: &Past, quantity: Quantity, told: &Texts) -> Texts {
    let minute = |at: Timestamp| at.to_string().get(..16).unwrap_or_default().replace('T', " ");
    let (from, until) = (minute(past.from), minute(past.until));
    let peak = past.peak.map(|value| {
        let least = usize::from(quantity.definition().decimals);
        format!("{value:.least$}{}", unit(quantity))
    });
    let (zh, en) = match peak {
        Some(peak) => (format!("，极值 {peak}"), format!(", worst value {peak}")),
        None => Default::default(),
    };
    Texts {
        zh: spaced(&format!(
            "历史事件（补传数据中发现，未通知任何人）：{}；{from} 至 {until}{zh}",
            told.zh
        )),
        en: format!(
            "Historical event, found in data that came late; nobody was called: {}; from {from} to {until}{en}",
            told.en
        ),
    }
}

/// What a rule says, for the list of rules.
pub(crate) fn sentence(rule: &Rule) -> Texts {
    if rule.is_weighed() {
        return weighed::sentence(rule);
    }
    let (raise, over, of) = match &rule.when {
        When::NoData {
            quantity,
            channel,
            silence,
        } => {
            let of = match quantity {
                Some(quantity) => named(*quantity, channel.unwrap_or(0)),
                None => texts("设备", "The device"),
            };
            let time = match silence {
                Silence::Cadences(n) => Texts {
                    zh: format!("{n}个上报周期"),
                    en: format!("{n} of its cadences"),
                },
                Silence::Fixed(time) => lasting(*time),
            };
            let raise = Texts {
                zh: format!("超过{}无数据", time.zh),
                en: format!("sends nothing for more than {}", time.en),
            };
            (raise, texts("恢复上报", "data is back"), of)
        }
        When::Inside { .. } | When::Outside { .. } => {
            let of = texts("设备", "The device");
            let Texts { zh, en } = presence(&rule.when, Limit::Clear);
            let over = Texts {
                zh,
                en: format!("it {en}"),
            };
            (presence(&rule.when, Limit::Raise), over, of)
        }
        When::Forecast(asked) => {
            let (within, of) = (
                lasting(asked.within),
                named(asked.limit.quantity, asked.limit.channel.unwrap_or(0)),
            );
            let (raise, clear) = (limit(&rule.when, Limit::Raise), limit(&rule.when, Limit::Clear));
            let quantile = match asked.quantile {
                0.5 => Texts::default(),
                other => Texts {
                    zh: format!("（{} 分位）", trimmed(other)),
                    en: format!(" (quantile {})", trimmed(other)),
                },
            };
            let raise = Texts {
                zh: format!("预报{}内{}{}", within.zh, raise.zh, quantile.zh),
                en: format!("is foreseen {} within {}{}", raise.en, within.en, quantile.en),
            };
            let over = Texts {
                zh: format!("预报{}", clear.zh),
                en: format!("foreseen {}", clear.en),
            };
            (raise, over, of)
        }
        _ => {
            let of = match rule.quantity() {
                Some(quantity) => named(quantity, rule.channel().unwrap_or(0)),
                None => texts("设备", "The device"),
            };
            (
                limit(&rule.when, Limit::Raise),
                limit(&rule.when, Limit::Clear),
                of,
            )
        }
    };
    let (hold, clear_hold) = (held(rule.hold, "持续"), held(rule.clear_hold, "持续"));
    Texts {
        zh: spaced(&format!(
            "{}{}{}时告警，{}{}后解除",
            of.zh, raise.zh, hold.zh, over.zh, clear_hold.zh
        )),
        en: format!(
            "{} {}{}; over when {}{}",
            of.en, raise.en, hold.en, over.en, clear_hold.en
        ),
    }
}

fn raised(rule: &Rule, occasion: &Occasion<'_>, of: &Texts, value: Option<Texts>) -> Texts {
    if rule.silence().is_some() {
        return silent(occasion.silent_for.unwrap_or_default(), of, value);
    }
    if rule.fence().is_some() {
        let (there, hold) = (presence(&rule.when, Limit::Raise), held(rule.hold, "，已持续"));
        return Texts {
            zh: format!("{}{}{}", of.zh, there.zh, hold.zh),
            en: format!("{} {}{}", of.en, there.en, hold.en),
        };
    }
    let value = value.unwrap_or_default();
    if let Some(asked) = rule.looks_ahead() {
        return foreseen(rule, asked, occasion.outlook, of, &value);
    }
    let hold = held(rule.hold, "已持续");
    if occasion.quantity.is_state() {
        return Texts {
            zh: format!("{}：{}，{}", of.zh, value.zh, hold.zh)
                .trim_end_matches('，')
                .to_owned(),
            en: format!("{}: {}{}", of.en, value.en, hold.en),
        };
    }
    let raise = match rule.limit_at(occasion.level) {
        Some(level) => limit(&level, Limit::Raise),
        None => limit(&rule.when, Limit::Raise),
    };
    Texts {
        zh: format!("{} {} {} {}，超过运行阈值", of.zh, value.zh, raise.zh, hold.zh),
        en: format!(
            "{} {} is {}{}, past its operational threshold",
            of.en, value.en, raise.en, hold.en
        ),
    }
}

/// It matters more, or less, than before.
fn levelled(rule: &Rule, occasion: &Occasion<'_>, of: &Texts, value: Option<Texts>) -> Texts {
    let (level, value) = (occasion.level, value.unwrap_or_default());
    let severity = rule.severity_at(level);
    match occasion.edge {
        Edge::Worsened => {
            let limit = rule
                .limit_at(level)
                .map(|when| limit(&when, Limit::Raise))
                .unwrap_or_default();
            Texts {
                zh: format!("{} {} {}，升为{}", of.zh, value.zh, limit.zh, severity.zh()),
                en: format!("{} {} is {}: now {}", of.en, value.en, limit.en, severity.name()),
            }
        }
        _ => {
            let limit = rule
                .limit_at(level + 1)
                .map(|when| limit(&when, Limit::Clear))
                .unwrap_or_default();
            Texts {
                zh: format!("{} {}，{}，降为{}", of.zh, value.zh, limit.zh, severity.zh()),
                en: format!("{} {}, {}: now {}", of.en, value.en, limit.en, severity.name()),
            }
        }
    }
}

fn cleared(rule: &Rule, of: &Texts, value: Option<Texts>) -> Texts {
    let hold = held(rule.clear_hold, "，已持续");
    if rule.silence().is_some() {
        return Texts {
            zh: format!("{}恢复上报{}", of.zh, hold.zh),
            en: format!("{} sends data again{}", of.en, hold.en),
        };
    }
    if rule.fence().is_some() {
        let back = presence(&rule.when, Limit::Clear);
        return Texts {
            zh: format!("{}{}{}，告警解除", of.zh, back.zh, hold.zh),
            en: format!("{} {}{}: over", of.en, back.en, hold.en),
        };
    }
    let back = limit(&rule.when, Limit::Clear);
    let value = value.unwrap_or_default();
    if let Some(asked) = rule.looks_ahead() {
        let worst = worst(asked, &value);
        return Texts {
            zh: format!("{}预计{}，{}{}，告警解除", of.zh, worst.zh, back.zh, hold.zh),
            en: format!("{} is expected {}, {}{}: over", of.en, worst.en, back.en, hold.en),
        };
    }
    Texts {
        zh: format!("{} {}，{}{}，告警解除", of.zh, value.zh, back.zh, hold.zh),
        en: format!("{} {}, {}{}: over", of.en, value.en, back.en, hold.en),
    }
}

fn found(rule: &Rule, of: &Texts, value: Option<Texts>) -> Texts {
    if rule.fence().is_some() {
        let there = presence(&rule.when, Limit::Raise);
        return Texts {
            zh: format!("{}恢复上报位置，仍{}", of.zh, there.zh),
            en: format!("{} says its place again and still {}", of.en, there.en),
        };
    }
    let value = value.unwrap_or_default();
    let back = limit(&rule.when, Limit::Clear);
    let (still_zh, still_en) = match rule.when {
        When::State { .. } => ("告警仍未解除".to_owned(), "the alert goes on".to_owned()),
        _ => (format!("仍未{}", back.zh), format!("not yet {}", back.en)),
    };
    if let Some(asked) = rule.looks_ahead() {
        let worst = worst(asked, &value);
        return Texts {
            zh: format!("{}预报恢复，预计{}，{still_zh}", of.zh, worst.zh),
            en: format!("{} is foreseen again: {}, {still_en}", of.en, worst.en),
        };
    }
    Texts {
        zh: format!("{}数据恢复，{}，{still_zh}", of.zh, value.zh),
        en: format!("{} is back: {}, {still_en}", of.en, value.en),
    }
}

fn lost(occasion: &Occasion<'_>, of: &Texts, value: Option<Texts>) -> Texts {
    let Texts { zh, en } = match occasion.silent_for {
        Some(time) => silent(time, of, value),
        None => Texts {
            zh: format!("{}的数据不能用于判断", of.zh),
            en: format!("{} sends values that may not be judged", of.en),
        },
    };
    Texts {
        zh: format!("{zh}，现状未知"),
        en: format!("{en}; its state is unknown"),
    }
}

/// What is foreseen, when, and how often such came true here.
fn foreseen(rule: &Rule, asked: &Prospect, outlook: Option<&Outlook>, of: &Texts, value: &Texts) -> Texts {
    let (raise, worst) = (limit(&rule.when, Limit::Raise), worst(asked, value));
    let of = &by(asked, of);
    let Some(outlook) = outlook else {
        return Texts {
            zh: format!("{}预计{}", of.zh, worst.zh),
            en: format!("{} is expected {}", of.en, worst.en),
        };
    };
    let when = match (outlook.is_beyond, outlook.crosses_in) {
        (true, _) => Texts {
            zh: format!("现已{}，预计{}", raise.zh, worst.zh),
            en: format!("is {} already and expected {}", raise.en, worst.en),
        },
        (false, None) => Texts {
            zh: format!("预计{}，{}", raise.zh, worst.zh),
            en: format!("is expected {}, {}", raise.en, worst.en),
        },
        (false, Some(time)) => {
            let (time, range) = around(time, outlook);
            let at = outlook.crosses_at.map(clock).unwrap_or_default();
            Texts {
                zh: format!("预计{}{}即 {at} {}，{}", time.zh, range.zh, raise.zh, worst.zh),
                en: format!(
                    "is expected {} in {}{}, at {at}, {}",
                    raise.en, time.en, range.en, worst.en
                ),
            }
        }
    };
    let (n_true, n_false) = (outlook.n_true, outlook.n_false);
    let n = n_true + n_false;
    let record = match n {
        0 => texts(
            "此处此类预报尚无检验记录",
            "no such forecast has been judged here yet",
        ),
        _ => Texts {
            zh: format!("此处此类预报 {n} 次中 {n_true} 次成真、{n_false} 次落空"),
            en: format!("here {n_true} of {n} such came true, {n_false} of {n} were false"),
        },
    };
    Texts {
        zh: format!("{}{}；{}", of.zh, when.zh, record.zh),
        en: format!("{} {}; {}", of.en, when.en, record.en),
    }
}

/// What it is of, with who foresees it where that is somebody else.
fn by(asked: &Prospect, of: &Texts) -> Texts {
    match &*asked.source {
        OWN => of.clone(),
        source => Texts {
            zh: format!("{}（{source}）", of.zh),
            en: format!("{} (by {source})", of.en),
        },
    }
}

/// `11-28 20:03`, of Beijing: a sentence about the future is read when it is past.
fn clock(at: Timestamp) -> String {
    (at + Duration::from_secs(30)).beijing_minute()
}

/// `3 小时内最高 2.6 m` / `up to 2.6 m within 3 h`.
fn worst(asked: &Prospect, value: &Texts) -> Texts {
    let within = lasting(asked.within);
    let (zh, en) = match asked.is_above {
        true => ("最高", "up to"),
        false => ("最低", "down to"),
    };
    Texts {
        zh: format!("{}内{zh} {}", within.zh, value.zh),
        en: format!("{en} {} within {}", value.en, within.en),
    }
}

/// `90 分钟`, `（70–130）`: a time with the one in ten that are earlier and later, in minutes or, far ahead, in hours.
fn around(time: Duration, outlook: &Outlook) -> (Texts, Texts) {
    let minutes = |time: Duration| (time.as_secs() + 30) / 60;
    let (unit_min, zh, en) = match minutes(time) {
        0..600 => (1, "分钟", "min"),
        _ => (60, "小时", "h"),
    };
    let count = |time: Duration| (minutes(time) + unit_min / 2) / unit_min;
    let range = match (outlook.earliest, outlook.latest) {
        (Some(first), Some(last)) if count(first) == count(last) => Texts::default(),
        (Some(first), Some(last)) => Texts {
            zh: format!("（{}–{}）", count(first), count(last)),
            en: format!(" ({}–{})", count(first), count(last)),
        },
        (Some(first), None) => Texts {
            zh: format!("（最早 {}，也可能不发生）", count(first)),
            en: format!(" ({} at the earliest, perhaps not at all)", count(first)),
        },
        (None, _) => Texts::default(),
    };
    let time = match minutes(time) {
        0 => texts(" 1 分钟内", "less than a minute"),
        _ => Texts {
            zh: format!(" {} {zh}后", count(time)),
            en: format!("{} {en}", count(time)),
        },
    };
    (time, range)
}

/// There is no forecast any more, or none of the time that is asked for.
fn no_forecast(asked: &Prospect, occasion: &Occasion<'_>, of: &Texts) -> Texts {
    match occasion.silent_for {
        Some(time) => {
            let time = lasting(time);
            Texts {
                zh: format!("{}已{}无新预报，今后情况未知", of.zh, time.zh),
                en: format!(
                    "There has been no forecast of {} for {}; what comes is unknown",
                    of.en, time.en
                ),
            }
        }
        None => {
            let within = lasting(asked.within);
            Texts {
                zh: format!("{}的预报未涵盖今后 {}，今后情况未知", of.zh, within.zh),
                en: format!(
                    "The forecast of {} says nothing of the next {}; what comes is unknown",
                    of.en, within.en
                ),
            }
        }
    }
}

fn silent(time: Duration, of: &Texts, last: Option<Texts>) -> Texts {
    let time = lasting(time);
    let (last_zh, last_en) = match last {
        Some(last) => (
            format!("，最后值 {}", last.zh),
            format!("; last value {}", last.en),
        ),
        None => (String::new(), String::new()),
    };
    Texts {
        zh: format!("{}已{}无数据{last_zh}", of.zh, time.zh),
        en: format!("{} has sent nothing for {}{last_en}", of.en, time.en),
    }
}

fn subject(rule: &Rule, occasion: &Occasion<'_>) -> Texts {
    match (&rule.when, rule.quantity()) {
        (When::NoData { .. }, None) | (When::Inside { .. } | When::Outside { .. }, _) => {
            texts("设备", "The device")
        }
        _ => named(occasion.quantity, occasion.channel),
    }
}

/// A quantity's name, with its channel when it is not the first.
fn named(quantity: Quantity, channel: u16) -> Texts {
    let definition = quantity.definition();
    match channel {
        0 => texts(&definition.zh, &definition.en),
        n => Texts {
            zh: format!("{}（通道 {n}）", definition.zh),
            en: format!("{} (channel {n})", definition.en),
        },
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Limit {
    Raise,
    Clear,
}

/// `高于 250 µg/m³` / `above 250 µg/m³`, or for the way back `回落至 200 µg/m³ 及以下`.
fn limit(when: &When, which: Limit) -> Texts {
    let (threshold, above) = match when {
        When::Above(threshold) if !threshold.quantity.is_state() => (threshold, true),
        When::Below(threshold) if !threshold.quantity.is_state() => (threshold, false),
        When::Forecast(asked) => (&asked.limit, asked.is_above),
        When::OutOf(band) => return band_limit(band, which),
        When::Above(_) | When::Below(_) | When::State { .. } => return state_limit(when, which),
        _ => return Texts::default(),
    };
    let number = match which {
        Limit::Raise => threshold.raise,
        Limit::Clear => threshold.clear,
    };
    if let Some(stages) = threshold.stages {
        let [raise, clear] = stages.map(|stage| stage_limit(stage, threshold.quantity));
        return match which {
            Limit::Raise => beyond(above, which, &numbered(raise, number, threshold.quantity)),
            Limit::Clear => beyond(above, which, &numbered(clear, number, threshold.quantity)),
        };
    }
    if number.is_nan() {
        return match which {
            Limit::Raise if above => texts("高于各设备的限值", "above the limit of each device"),
            Limit::Raise => texts("低于各设备的限值", "below the limit of each device"),
            Limit::Clear => texts("回到各设备的限值", "back at the limit of each device"),
        };
    }
    let number = format!("{}{}", trimmed(number), unit(threshold.quantity));
    let Texts { zh, en } = beyond(above, which, &texts(&number, &number));
    if threshold.own.is_some() {
        return Texts {
            zh: format!("{zh}（部分设备另定）"),
            en: format!("{en} (another for some devices)"),
        };
    }
    Texts { zh, en }
}

/// A limit with the way in which it is passed.
fn beyond(above: bool, which: Limit, limit: &Texts) -> Texts {
    let Texts { zh, en } = limit;
    let (zh, en) = match (which, above) {
        (Limit::Raise, true) => (format!("高于 {zh}"), format!("above {en}")),
        (Limit::Raise, false) => (format!("低于 {zh}"), format!("below {en}")),
        (Limit::Clear, true) => (format!("回落至 {zh} 及以下"), format!("at or below {en}")),
        (Limit::Clear, false) => (format!("回升至 {zh} 及以上"), format!("at or above {en}")),
    };
    Texts { zh, en }
}

/// `警戒水位 - 0.1 m` / `the warning stage - 0.1 m`.
fn stage_limit(limit: StageLimit, quantity: Quantity) -> Texts {
    let Texts { zh, en } = limit.stage.texts();
    if limit.by == 0.0 {
        return Texts { zh, en };
    }
    let sign = if limit.by < 0.0 { "-" } else { "+" };
    let by = format!("{sign} {}{}", trimmed(limit.by.abs()), unit(quantity));
    Texts {
        zh: format!("{zh} {by}"),
        en: format!("{en} {by}"),
    }
}

/// The same with what that is of one gauge, where it is of one.
fn numbered(limit: Texts, number: f64, quantity: Quantity) -> Texts {
    if number.is_nan() {
        return limit;
    }
    let number = format!("{}{}", trimmed(number), unit(quantity));
    Texts {
        zh: format!("{}（{number}）", limit.zh),
        en: format!("{} ({number})", limit.en),
    }
}

/// `超出 6–9` / `outside 6–9`, or for the way back `回到 6.2–8.8 之内` / `back within 6.2–8.8`.
fn band_limit(band: &Band, which: Limit) -> Texts {
    let shown =
        |(low, high): (f64, f64)| format!("{}–{}{}", trimmed(low), trimmed(high), unit(band.quantity));
    match which {
        Limit::Raise => {
            let band = shown(band.raise);
            texts(&format!("超出 {band}"), &format!("outside {band}"))
        }
        Limit::Clear => {
            let band = shown(band.clear);
            texts(&format!("回到 {band} 之内"), &format!("back within {band}"))
        }
    }
}

/// `在围栏 F1 内` / `is in fence F1`, or for the way back `已离开围栏 F1` / `has left fence F1`.
fn presence(when: &When, which: Limit) -> Texts {
    let code = when.fence().map_or("", |fence| fence);
    let is_wrong_inside = matches!(when, When::Inside { .. });
    let (zh, en) = match (which, is_wrong_inside) {
        (Limit::Raise, true) => (format!("在围栏 {code} 内"), format!("is in fence {code}")),
        (Limit::Raise, false) => (format!("在围栏 {code} 外"), format!("is not in fence {code}")),
        (Limit::Clear, true) => (format!("已离开围栏 {code}"), format!("has left fence {code}")),
        (Limit::Clear, false) => (
            format!("已回到围栏 {code} 内"),
            format!("is back in fence {code}"),
        ),
    };
    Texts { zh, en }
}

/// `为打开` / `is open`, or for the way back `不再为打开` / `no longer open`.
fn state_limit(when: &When, which: Limit) -> Texts {
    let states = when
        .quantity()
        .map_or(&[][..], |quantity| &quantity.definition().states);
    let wrong = states
        .iter()
        .filter(|state| when.side(f64::from(state.code)) == Some(Side::Beyond));
    let (zh, en): (Vec<_>, Vec<_>) = wrong.map(|state| (state.zh.as_str(), state.en.as_str())).unzip();
    let (zh, en) = (zh.join("或"), en.join(" or "));
    match which {
        Limit::Raise => texts(&format!("为{zh}"), &format!("is {en}")),
        Limit::Clear => texts(&format!("不再为{zh}"), &format!("no longer {en}")),
    }
}

/// A value with its unit or its state's name. Decimals are the dictionary's, more when rounding would
/// put the value on the other side of the rule's limit.
fn shown(when: &When, quantity: Quantity, value: f64) -> Texts {
    let definition = quantity.definition();
    let state = definition.states.iter().find(|s| f64::from(s.code) == value);
    if let Some(state) = state {
        return texts(&state.zh, &state.en);
    }
    let side = when.side(value);
    let least = usize::from(definition.decimals);
    let number = (least..=least + 6)
        .map(|decimals| format!("{value:.decimals$}"))
        .find(|text| text.parse().is_ok_and(|rounded| when.side(rounded) == side))
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

/// `已持续 30 秒` / ` for 30 s`; nothing without a hold.
fn held(hold: Duration, zh_words: &str) -> Texts {
    if hold.is_zero() {
        return Texts::default();
    }
    let hold = lasting(hold);
    Texts {
        zh: format!("{zh_words}{}", hold.zh),
        en: format!(" for {}", hold.en),
    }
}

/// Chinese with one blank between Chinese and Latin words and none elsewhere beside Chinese.
fn spaced(text: &str) -> String {
    let han = |c: char| ('\u{4e00}'..='\u{9fff}').contains(&c);
    let full = |c: char| han(c) || "，。：；（）、！".contains(c);
    let mut out = String::with_capacity(text.len() + 16);
    let mut blank = false;
    for c in text.chars() {
        if c == ' ' {
            blank = true;
            continue;
        }
        if let Some(before) = out.chars().next_back() {
            let border = han(before) && !full(c) || han(c) && !full(before);
            if border || (blank && !full(before) && !full(c)) {
                out.push(' ');
            }
        }
        blank = false;
        out.push(c);
    }
    out
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::RuleSet;

    fn rule(when: &str) -> std::sync::Arc<Rule> {
        let text = format!(
            "version: 1\nrules:\n- id: r\n  name: {{zh: 规则, en: rule}}\n  severity: major\n  when: {{{when}}}\n  \
             advice: {{zh: 看, en: look}}\n"
        );
        let text = if when.starts_with("no_data") {
            text
        } else {
            text + "  for: 30 s\n  clear_for: 2 min\n"
        };
        RuleSet::parse("t", &text).unwrap().rules()[0].clone()
    }

    fn said(
        rule: &Rule,
        quantity: &str,
        edge: Edge,
        value: Option<f64>,
        silent_s: Option<u64>,
    ) -> (String, String) {
        let because = rule_changed();
        let occasion = Occasion {
            edge,
            level: 0,
            quantity: Quantity::named(quantity).unwrap(),
            channel: 0,
            value,
            silent_for: silent_s.map(Duration::from_secs),
            because: Some(&because),
            outlook: None,
            findings: &[],
        };
        let Texts { zh, en } = super::edge(rule, &occasion);
        (zh, en)
    }

    fn pair(zh: &str, en: &str) -> (String, String) {
        (zh.to_owned(), en.to_owned())
    }

    #[test]
    fn every_edge_of_a_threshold_has_its_sentence() {
        let dust = rule("above: {quantity: pm10, raise: 250 ug/m3, clear: 200 ug/m3}");
        let say = |edge, value, silent| said(&dust, "pm10", edge, Some(value), silent);
        let expected = [
            (
                say(Edge::Raised, 612.0, None),
                pair(
                    "可吸入颗粒物 PM10 612 µg/m³ 高于 250 µg/m³ 已持续 30 秒，超过运行阈值",
                    "PM10 612 µg/m³ is above 250 µg/m³ for 30 s, past its operational threshold",
                ),
            ),
            (
                say(Edge::Cleared, 180.0, None),
                pair(
                    "可吸入颗粒物 PM10 180 µg/m³，回落至 200 µg/m³ 及以下，已持续 2 分钟，告警解除",
                    "PM10 180 µg/m³, at or below 200 µg/m³ for 2 min: over",
                ),
            ),
            (
                say(Edge::Lost, 612.0, Some(16)),
                pair(
                    "可吸入颗粒物 PM10 已 16 秒无数据，最后值 612 µg/m³，现状未知",
                    "PM10 has sent nothing for 16 s; last value 612 µg/m³; its state is unknown",
                ),
            ),
            (
                say(Edge::Found, 610.0, None),
                pair(
                    "可吸入颗粒物 PM10 数据恢复，610 µg/m³，仍未回落至 200 µg/m³ 及以下",
                    "PM10 is back: 610 µg/m³, not yet at or below 200 µg/m³",
                ),
            ),
            (
                say(Edge::Withdrawn, 610.0, None),
                pair(
                    "可吸入颗粒物 PM10 告警撤回：规则已移除、修改或不再适用；不表示已恢复正常",
                    "Alert on PM10 withdrawn: its rule was removed, changed or no longer applies; this does not say \
                     that it is normal",
                ),
            ),
        ];
        for (got, want) in expected {
            assert_eq!(got, want);
        }
        assert_eq!(
            dust.sentence().zh,
            "可吸入颗粒物 PM10 高于 250 µg/m³ 持续 30 秒时告警，回落至 200 µg/m³ 及以下持续 2 分钟后解除"
        );
    }

    #[test]
    fn states_are_called_by_name_and_silences_by_their_length() {
        let open = rule("state: {quantity: manhole_open, is: open}");
        assert_eq!(
            said(&open, "manhole_open", Edge::Raised, Some(1.0), None),
            pair("井盖状态：打开，已持续 30 秒", "Manhole cover: open for 30 s")
        );
        assert_eq!(
            open.sentence().zh,
            "井盖状态为打开持续 30 秒时告警，不再为打开持续 2 分钟后解除"
        );
        assert_eq!(
            open.sentence().en,
            "Manhole cover is open for 30 s; over when no longer open for 2 min"
        );
        let silent = rule("no_data: {for: 3 x cadence}");
        assert_eq!(
            said(&silent, "seq", Edge::Raised, None, Some(16)),
            pair("设备已 16 秒无数据", "The device has sent nothing for 16 s")
        );
        assert_eq!(
            silent.sentence().zh,
            "设备超过 3 个上报周期无数据时告警，恢复上报后解除"
        );
    }

    #[test]
    fn a_value_is_never_rounded_onto_the_other_side_of_its_limit() {
        let dust = rule("above: {quantity: pm10, raise: 250 ug/m3}");
        assert!(
            said(&dust, "pm10", Edge::Raised, Some(250.04), None)
                .0
                .contains("PM10 250.04 µg/m³ 高于 250 µg/m³")
        );
        assert!(
            said(&dust, "pm10", Edge::Raised, Some(250.4), None)
                .0
                .contains("250.4 µg/m³")
        );
        assert!(
            said(&dust, "pm10", Edge::Raised, Some(251.4), None)
                .0
                .contains("251 µg/m³")
        );
    }
}
