//! Why a rule says something about a series, or why it does not.

use onemap_model::alert::Input;
use onemap_model::{Quantity, Timestamp};

use super::{Limit, held, lasting, limit, named, presence, shown, spaced, texts, weighed, worst};
use crate::engine::{Aside, Progress};
use crate::rule::{Finding, Rule, Silence, Texts, When};

/// How a rule stands to a series at a moment.
pub(crate) struct Standing<'a> {
    pub(crate) rule: &'a Rule,
    /// The series that is asked about.
    pub(crate) quantity: Quantity,
    pub(crate) channel: u16,
    pub(crate) progress: Progress,
    /// Record time since when it is so; `None` while quiet.
    pub(crate) since: Option<Timestamp>,
    /// The last value with a number; of a rule that looks ahead the worst that is foreseen.
    pub(crate) last: Option<&'a Input>,
    /// Record time at which the last value, or word of the device, came.
    pub(crate) heard_at: Option<Timestamp>,
    /// The value may be judged now; of a rule that looks ahead a forecast stands.
    pub(crate) is_known: bool,
    /// The device, or its last reading, is under maintenance.
    pub(crate) in_maintenance: bool,
    /// The rule does not look at this hour and keeps what it raised.
    pub(crate) rests: bool,
    /// What was found of each fact, of a rule that weighs several.
    pub(crate) findings: &'a [Finding],
}

/// One sentence: what was compared with what, and how far the rule has come with it.
pub(crate) fn why(standing: &Standing<'_>) -> Texts {
    let found = found(standing);
    let so_far = so_far(standing);
    Texts {
        zh: spaced(&format!("{}；{}", found.zh, so_far.zh)),
        en: format!("{}; {}", found.en, so_far.en),
    }
}

/// What was compared with what.
fn found(standing: &Standing<'_>) -> Texts {
    let Standing { rule, .. } = standing;
    if rule.is_weighed() {
        return weighed::as_weighed(&rule.when, standing.findings);
    }
    if let When::NoData { silence, .. } = &rule.when {
        return heard(standing, *silence);
    }
    let of = named(standing.quantity, standing.channel);
    let raise = limit(&rule.when, Limit::Raise);
    let Some(last) = standing.last else {
        return match rule.looks_ahead() {
            Some(asked) => Texts {
                zh: format!("{}今后{}无预报", of.zh, lasting(asked.within).zh),
                en: format!(
                    "there is no forecast of {} for the next {}",
                    of.en,
                    lasting(asked.within).en
                ),
            },
            None => Texts {
                zh: format!("{}尚无数值", of.zh),
                en: format!("{} has sent no value yet", of.en),
            },
        };
    };
    let at = last.measured_at.beijing_clock();
    if rule.fence().is_some() {
        let wrong = presence(&rule.when, Limit::Raise);
        return Texts {
            zh: format!("最新位置 {at}；要看的是设备{}", wrong.zh),
            en: format!(
                "its last place is of {at}; asked is whether the device {}",
                wrong.en
            ),
        };
    }
    let value = shown(&rule.when, standing.quantity, last.value);
    if let Some(asked) = rule.looks_ahead() {
        let worst = worst(asked, &value);
        return Texts {
            zh: format!("{}预计{}，限值为{}", of.zh, worst.zh, raise.zh),
            en: format!("{} is expected {}; the limit is {}", of.en, worst.en, raise.en),
        };
    }
    Texts {
        zh: format!("{} {}（{at}），限值为{}", of.zh, value.zh, raise.zh),
        en: format!("{} {} ({at}); the limit is {}", of.en, value.en, raise.en),
    }
}

/// When something came last, and how long nothing may come.
fn heard(standing: &Standing<'_>, silence: Silence) -> Texts {
    let of = match standing.rule.quantity() {
        Some(quantity) => named(quantity, standing.channel),
        None => texts("设备", "the device"),
    };
    let allowed = weighed::silence_time(silence);
    match standing.heard_at.map(Timestamp::beijing_clock) {
        Some(at) => Texts {
            zh: format!("{}最近一次来数 {at}，允许静默{}", of.zh, allowed.zh),
            en: format!(
                "{} was last heard at {at} and may be silent for {}",
                of.en, allowed.en
            ),
        },
        None => Texts {
            zh: format!("{}从未来数，允许静默{}", of.zh, allowed.zh),
            en: format!("{} was never heard and may be silent for {}", of.en, allowed.en),
        },
    }
}

/// How far the rule has come.
fn so_far(standing: &Standing<'_>) -> Texts {
    let Standing { rule, progress, .. } = standing;
    if standing.in_maintenance {
        return texts(
            "设备检修中，读数照记，不作判断",
            "it is under maintenance: readings are kept and not judged",
        );
    }
    if standing.rests {
        return texts(
            "规则此时段不适用，已发的告警保留",
            "the rule is not in force at this hour, what it raised stays",
        );
    }
    let since = standing.since.map(Timestamp::beijing_clock).unwrap_or_default();
    let unknown = match standing.is_known || rule.silence().is_some() {
        true => texts("", ""),
        false => texts("，现状未知", ", and what is now is unknown"),
    };
    let Texts { zh, en } = match progress {
        Progress::Quiet if rule.silence().is_some() => {
            texts("未到，不告警", "that is not over, so nothing is raised")
        }
        Progress::Quiet if !standing.is_known => texts(
            "现状未知（久无新值，或最后一值不可用于判断），不作判断",
            "what is now is unknown (nothing came for long, or the last value may not be judged), so nothing is judged",
        ),
        Progress::Quiet => texts("条件不成立，不告警", "that is not so, so nothing is raised"),
        Progress::Pending => {
            let hold = held(rule.hold, "须持续");
            Texts {
                zh: format!("自 {since} 起成立，{}方告警", hold.zh),
                en: format!("so since {since}, raised when it has been so{}", hold.en),
            }
        }
        Progress::Raised => Texts {
            zh: format!("自 {since} 起告警"),
            en: format!("raised since {since}"),
        },
        Progress::Clearing => {
            let hold = held(rule.clear_hold, "须持续");
            Texts {
                zh: format!("自 {since} 起已恢复，{}方解除", hold.zh),
                en: format!("over since {since}, cleared when it has been so{}", hold.en),
            }
        }
        Progress::Closed => texts(
            "已由人工关闭，恢复正常之后再次出现才会告警",
            "a person closed it, and it is raised again only after it was normal",
        ),
    };
    match progress {
        Progress::Quiet => Texts { zh, en },
        _ => Texts {
            zh: zh + &unknown.zh,
            en: en + &unknown.en,
        },
    }
}

/// Why a rule does not look at a series at all.
pub(crate) fn aside(aside: &Aside) -> Texts {
    match aside {
        Aside::UnknownRule => texts("没有这条规则", "there is no such rule"),
        Aside::UnknownDevice => texts("没有这台设备", "there is no such device"),
        Aside::Retired => texts("设备已退役，不作判断", "the device is retired and not judged"),
        Aside::Kind { kind } => Texts {
            zh: format!("规则不适用于此类设备（{kind}）"),
            en: format!("the rule is not for devices of the kind {kind}"),
        },
        Aside::Division => texts(
            "设备不在规则所限的区划内",
            "the device is not in the division that the rule is for",
        ),
        Aside::Device => texts("规则只适用于另一台设备", "the rule is for another device"),
        Aside::Fence => texts(
            "设备不在规则所限的围栏内",
            "the device is not in the fence that the rule is for",
        ),
        Aside::Quantity => texts("规则看的是别的量", "the rule looks at another quantity"),
        Aside::Channel { channel } => Texts {
            zh: format!("规则只看通道 {channel}"),
            en: format!("the rule looks at channel {channel} only"),
        },
        Aside::Hours => texts(
            "规则此时不在有效期或时段内",
            "the rule is not in force at this time",
        ),
        Aside::Unheard => texts(
            "这一序列从未来数，规则尚未用于它",
            "nothing ever came of this series, so the rule is not bound to it yet",
        ),
        Aside::NoStage { stage } => {
            let Texts { zh, en } = stage.texts();
            Texts {
                zh: format!("此设备没有现行的{zh}（或测站零点），规则无从判断"),
                en: format!(
                    "the register has not {en} of this device that holds now, or not its datum: the rule cannot judge"
                ),
            }
        }
        Aside::NoLimit => texts(
            "此设备没有规则所需的限值",
            "the device has no limit that the rule asks for",
        ),
    }
}
