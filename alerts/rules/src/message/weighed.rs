//! Sentences of rules that weigh several facts: each fact as written, and as it was found.

use super::{
    Limit, Occasion, by, held, lasting, limit, named, presence, shown, spaced, texts, trimmed, unit, worst,
};
use crate::rule::{
    Around, Asked, Change, Direction, Finding, Neighbours, Prospect, Rule, Silence, Texts, When,
};
use onemap_model::Edge;

/// What a rule says, for the list of rules.
pub(super) fn sentence(rule: &Rule) -> Texts {
    let said = said(&rule.when);
    let (hold, clear_hold) = (held(rule.hold, "持续"), held(rule.clear_hold, "持续"));
    Texts {
        zh: spaced(&format!(
            "{}{}时告警，不再如此{}后解除",
            said.zh, hold.zh, clear_hold.zh
        )),
        en: format!(
            "{}{}; over when that is no longer so{}",
            said.en, hold.en, clear_hold.en
        ),
    }
}

/// The sentence of one edge.
pub(super) fn edge(rule: &Rule, occasion: &Occasion<'_>) -> Texts {
    let mut findings = occasion.findings.iter();
    let found = found(&rule.when, &mut findings);
    match occasion.edge {
        Edge::Raised => {
            let hold = held(rule.hold, "，已持续");
            Texts {
                zh: format!("{}{}", found.zh, hold.zh),
                en: format!("{}{}", found.en, hold.en),
            }
        }
        Edge::Cleared => {
            let hold = held(rule.clear_hold, "，已持续");
            Texts {
                zh: format!("{}{}，告警解除", found.zh, hold.zh),
                en: format!("{}{}: over", found.en, hold.en),
            }
        }
        Edge::Found => Texts {
            zh: format!("又可判断：{}，告警仍未解除", found.zh),
            en: format!("It can be judged again: {}; the alert goes on", found.en),
        },
        _ => Texts {
            zh: format!("{}，不足以判断，现状未知", found.zh),
            en: format!(
                "{}: that is not enough to judge by; its state is unknown",
                found.en
            ),
        },
    }
}

/// A condition as it was found now.
pub(super) fn as_weighed(when: &When, findings: &[Finding]) -> Texts {
    found(when, &mut findings.iter())
}

/// A condition as written.
fn said(when: &When) -> Texts {
    match when {
        When::All(parts) => joined(
            parts.iter().map(|part| bracketed(part, said(part))),
            "，且",
            ", and ",
        ),
        When::Any(parts) => joined(
            parts.iter().map(|part| bracketed(part, said(part))),
            "，或",
            ", or ",
        ),
        When::Not(part) => {
            let part = said(part);
            texts(&format!("并非（{}）", part.zh), &format!("not ({})", part.en))
        }
        other => fact(other),
    }
}

/// A condition as it was found: its facts, joined as they are written.
fn found(when: &When, findings: &mut std::slice::Iter<'_, Finding>) -> Texts {
    match when {
        When::All(parts) => {
            let parts: Vec<Texts> = parts
                .iter()
                .map(|part| bracketed(part, found(part, findings)))
                .collect();
            joined(parts.into_iter(), "，且", ", and ")
        }
        When::Any(parts) => {
            let parts: Vec<Texts> = parts
                .iter()
                .map(|part| bracketed(part, found(part, findings)))
                .collect();
            joined(parts.into_iter(), "，", ", ")
        }
        When::Not(part) => found(part, findings),
        other => match findings.next() {
            Some(finding) => as_found(other, finding),
            None => fact(other),
        },
    }
}

/// Parts of parts stand in brackets, so that 且 and 或 are not read wrongly.
fn bracketed(part: &When, said: Texts) -> Texts {
    match part {
        When::All(parts) | When::Any(parts) if parts.len() > 1 => Texts {
            zh: format!("（{}）", said.zh),
            en: format!("({})", said.en),
        },
        _ => said,
    }
}

fn joined(parts: impl Iterator<Item = Texts>, zh: &str, en: &str) -> Texts {
    let (zh_parts, en_parts): (Vec<_>, Vec<_>) = parts.map(|part| (part.zh, part.en)).unzip();
    Texts {
        zh: zh_parts.join(zh),
        en: en_parts.join(en),
    }
}

/// One fact as written.
pub(crate) fn fact(when: &When) -> Texts {
    let of = of(when);
    let says = match when {
        When::Change(change) => changes(change, &amount(change, change.raise), true),
        When::Stuck(stuck) => {
            let time = lasting(stuck.time);
            Texts {
                zh: format!("{}以上不变", time.zh),
                en: format!("does not move for {}", time.en),
            }
        }
        When::NoData { silence, .. } => {
            let time = silence_time(*silence);
            Texts {
                zh: format!("超过{}无数据", time.zh),
                en: format!("sends nothing for more than {}", time.en),
            }
        }
        When::Neighbours(asked) => neighbours(asked),
        When::Inside { .. } | When::Outside { .. } => presence(when, Limit::Raise),
        When::Forecast(asked) => foreseen(when, asked),
        other => limit(other, Limit::Raise),
    };
    Texts {
        zh: spaced(&format!("{}{}", of.zh, says.zh)),
        en: format!("{} {}", of.en, says.en),
    }
}

/// One fact as it was found.
fn as_found(when: &When, finding: &Finding) -> Texts {
    let of = of(when);
    let unknown = Texts {
        zh: format!("{}未知", of.zh),
        en: format!("{} is not known", of.en),
    };
    let last = finding.inputs.last().map(|input| input.value);
    let value = |value: f64| match when.quantity() {
        Some(quantity) => shown(when, quantity, value),
        None => Texts::default(),
    };
    let Some(holds) = finding.holds else {
        return match (when, last) {
            // The device itself is known, those that it is compared with are not.
            (When::Neighbours(asked), Some(last)) => {
                let (others, last) = (others(asked), value(last));
                Texts {
                    zh: format!(
                        "{} {}，{}有数据的不足 {} 台",
                        of.zh, last.zh, others.zh, asked.at_least
                    ),
                    en: format!("{} {}, too few of {} are known", of.en, last.en, others.en),
                }
            }
            (When::Forecast(_), _) => Texts {
                zh: format!("{}无预报", of.zh),
                en: format!("{} has no forecast", of.en),
            },
            _ => unknown,
        };
    };
    match when {
        When::NoData { .. } => match (holds, finding.silent_for) {
            (true, Some(time)) => {
                let time = lasting(time);
                Texts {
                    zh: format!("{}已{}无数据", of.zh, time.zh),
                    en: format!("{} has sent nothing for {}", of.en, time.en),
                }
            }
            _ => Texts {
                zh: format!("{}有数据", of.zh),
                en: format!("{} sends data", of.en),
            },
        },
        When::Inside { .. } | When::Outside { .. } => {
            let there = presence(when, if holds { Limit::Raise } else { Limit::Clear });
            Texts {
                zh: format!("{}{}", of.zh, there.zh),
                en: format!("{} {}", of.en, there.en),
            }
        }
        When::Change(change) => {
            let moved = changes(change, &amount(change, finding.amount.unwrap_or_default()), false);
            let last = last.map(value).unwrap_or_default();
            Texts {
                zh: format!("{} {}，{}", of.zh, last.zh, moved.zh),
                en: format!("{} {} {}", of.en, last.en, moved.en),
            }
        }
        When::Stuck(_) if !holds => {
            let last = last.map(value).unwrap_or_default();
            Texts {
                zh: format!("{} {}，未卡滞", of.zh, last.zh),
                en: format!("{} {} is not stuck", of.en, last.en),
            }
        }
        When::Stuck(_) => {
            let last = last.map(value).unwrap_or_default();
            let since = match finding.inputs.as_slice() {
                [from, .., to] => lasting(to.measured_at.since(from.measured_at)),
                _ => lasting(std::time::Duration::ZERO),
            };
            Texts {
                zh: format!("{} {}，已{}未变", of.zh, last.zh, since.zh),
                en: format!("{} {} has not moved for {}", of.en, last.en, since.en),
            }
        }
        When::Neighbours(asked) => found_neighbours(asked, &of, finding, last.map(value)),
        When::Forecast(asked) => {
            let worst = worst(asked, &last.map(value).unwrap_or_default());
            let limit = limit(when, Limit::Raise);
            let (zh_not, en_not) = if holds { ("", "") } else { ("未", "not ") };
            Texts {
                zh: format!("{}预计{}，{zh_not}{}", of.zh, worst.zh, limit.zh),
                en: format!("{} is expected {}, {en_not}{}", of.en, worst.en, limit.en),
            }
        }
        _ => {
            let last = last.map(value).unwrap_or_default();
            let is_state = when.quantity().is_some_and(|quantity| quantity.is_state());
            if is_state {
                return Texts {
                    zh: format!("{}：{}", of.zh, last.zh),
                    en: format!("{}: {}", of.en, last.en),
                };
            }
            let limit = limit(when, Limit::Raise);
            match holds {
                true => Texts {
                    zh: format!("{} {} {}", of.zh, last.zh, limit.zh),
                    en: format!("{} {} is {}", of.en, last.en, limit.en),
                },
                false => Texts {
                    zh: format!("{} {} 未{}", of.zh, last.zh, limit.zh),
                    en: format!("{} {} is not {}", of.en, last.en, limit.en),
                },
            }
        }
    }
}

/// `预报 3 小时内高于 2.2 m`.
fn foreseen(when: &When, asked: &Prospect) -> Texts {
    let within = lasting(asked.within);
    let limit = limit(when, Limit::Raise);
    Texts {
        zh: format!("预报{}内{}", within.zh, limit.zh),
        en: format!("is foreseen {} within {}", limit.en, within.en),
    }
}

fn of(when: &When) -> Texts {
    match (when, when.quantity()) {
        (When::Inside { .. } | When::Outside { .. }, _) | (_, None) => texts("设备", "The device"),
        (When::Forecast(asked), Some(quantity)) => by(asked, &named(quantity, when.channel().unwrap_or(0))),
        (_, Some(quantity)) => named(quantity, when.channel().unwrap_or(0)),
    }
}

pub(super) fn silence_time(silence: Silence) -> Texts {
    match silence {
        Silence::Cadences(n) => Texts {
            zh: format!("{n}个上报周期"),
            en: format!("{n} of its cadences"),
        },
        Silence::Fixed(time) => lasting(time),
    }
}

/// An amount with its unit, no digits lost that put it on the other side of the limit.
fn amount(change: &Change, amount: f64) -> String {
    let text = shown(&When::Change(change.clone()), change.quantity, amount).zh;
    match text.is_empty() {
        true => trimmed(amount),
        false => text,
    }
}

/// `30 分钟内上涨超过 0.15 m`, or as found `30 分钟内上涨 0.21 m`.
fn changes(change: &Change, amount: &str, is_limit: bool) -> Texts {
    let over = lasting(change.over);
    let (zh, en) = match change.direction {
        Direction::Up => ("上升", "rises"),
        Direction::Down => ("下降", "falls"),
        Direction::Either => ("变化", "changes"),
    };
    let past = match change.direction {
        Direction::Up => "rose",
        Direction::Down => "fell",
        Direction::Either => "changed",
    };
    match is_limit {
        true => Texts {
            zh: format!("{}内{zh}超过 {amount}", over.zh),
            en: format!("{en} by more than {amount} within {}", over.en),
        },
        false => Texts {
            zh: format!("{}内{zh} {amount}", over.zh),
            en: format!("{past} by {amount} within {}", over.en),
        },
    }
}

/// Whom a rule asks beside the device itself.
fn others(asked: &Neighbours) -> Texts {
    match &asked.around {
        Around::Within { metres, nearest } => {
            let far = match *metres >= 1000.0 {
                true => format!("{} km", trimmed(metres / 1000.0)),
                false => format!("{} m", trimmed(*metres)),
            };
            match nearest {
                Some(n) => Texts {
                    zh: format!("{far}内最近至多 {n} 台设备"),
                    en: format!("the nearest devices within {far}, at most {n},"),
                },
                None => Texts {
                    zh: format!("{far}内其他设备"),
                    en: format!("other devices within {far}"),
                },
            }
        }
        // Who reads this may have nothing to do with their divisions.
        Around::Named(ids) => Texts {
            zh: format!("规则所列 {} 台设备", ids.len()),
            en: match ids.len() {
                1 => "the device that its rule names".to_owned(),
                n => format!("the {n} devices that its rule names"),
            },
        },
    }
}

fn neighbours(asked: &Neighbours) -> Texts {
    let others = others(asked);
    let n = asked.at_least;
    match &asked.asked {
        Asked::Differs { direction, raise, .. } => {
            let amount = format!("{}{}", trimmed(*raise), unit(asked.quantity));
            let (zh, en) = match direction {
                Direction::Up => ("高于", "is above"),
                Direction::Down => ("低于", "is below"),
                Direction::Either => ("偏离", "differs from"),
            };
            Texts {
                zh: format!("{zh}{}的中位数超过 {amount}（至少 {n} 台有数据）", others.zh),
                en: format!(
                    "{en} the median of {} by more than {amount} (at least {n} of them known)",
                    others.en
                ),
            }
        }
        Asked::Agree(same) => {
            let limit = limit(same, Limit::Raise);
            Texts {
                zh: format!("{}，且{}中至少 {n} 台同样如此", limit.zh, others.zh),
                en: format!(
                    "is {}, and so with at least {n} of {}",
                    limit.en.trim_start_matches("is "),
                    others.en
                ),
            }
        }
    }
}

fn found_neighbours(asked: &Neighbours, of: &Texts, finding: &Finding, last: Option<Texts>) -> Texts {
    let (others, last) = (others(asked), last.unwrap_or_default());
    let found = finding.amount.unwrap_or_default();
    match &asked.asked {
        Asked::Differs { direction, .. } => {
            let shown = |value: f64| format!("{}{}", trimmed(value), unit(asked.quantity));
            let own = finding.inputs.last().map(|input| input.value).unwrap_or_default();
            // In the direction that is asked for; against it the difference is less than nothing.
            let median = match direction {
                Direction::Up => Some(own - found),
                Direction::Down => Some(own + found),
                Direction::Either => None,
            };
            let Some(median) = median else {
                return Texts {
                    zh: format!(
                        "{} {}，与{}的中位数相差 {}",
                        of.zh,
                        last.zh,
                        others.zh,
                        shown(found)
                    ),
                    en: format!(
                        "{} {} differs by {} from the median of {}",
                        of.en,
                        last.en,
                        shown(found),
                        others.en
                    ),
                };
            };
            let by = shown((own - median).abs());
            let (zh, en) = match own >= median {
                true => ("高", "above"),
                false => ("低", "below"),
            };
            let median = shown(median);
            Texts {
                zh: format!(
                    "{} {}，比{}的中位数 {median} {zh} {by}",
                    of.zh, last.zh, others.zh
                ),
                en: format!(
                    "{} {} is {by} {en} the median {median} of {}",
                    of.en, last.en, others.en
                ),
            }
        }
        Asked::Agree(_) => Texts {
            zh: format!(
                "{} {}，{}中 {} 台同样如此",
                of.zh,
                last.zh,
                others.zh,
                trimmed(found)
            ),
            en: format!(
                "{} {}, and so with {} of {}",
                of.en,
                last.en,
                trimmed(found),
                others.en
            ),
        },
    }
}
