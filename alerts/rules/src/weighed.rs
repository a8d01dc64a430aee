//! Conditions that weigh more than one value, as written and checked: changes over a time, values that stand still,
//! neighbours, and what is put together of others.

use onemap_model::{DeviceId, Quantity};
use serde_saphyr::Spanned;

use crate::amount::{parse_band, parse_difference, parse_distance, parse_duration, parse_value};
use crate::fault::{RuleError, no_id, said};
use crate::file::{Errors, fence_code, keep};
use crate::rule::{Around, Asked, Band, Change, Direction, Neighbours, Stuck, Texts, When};
use crate::written::{ChangeText, DiffersText, NeighboursText, OutsideText, StuckText, WhenText};

/// The most facts of one rule.
const MOST_FACTS: usize = 16;
/// The most levels of `all`, `any` and `not` in one another.
const DEEPEST: usize = 6;
/// The most devices that are named.
const MOST_NAMED: usize = 32;

/// The parts of `all` and `any`.
pub(crate) fn parts(errors: &mut Errors, written: Spanned<Vec<WhenText>>, what: &str) -> Option<Vec<When>> {
    if written.value.is_empty() {
        let message = said!(
            "`{what}` 至少要有一个条件",
            "`{what}` needs at least one condition"
        );
        errors.push(RuleError::at(written.referenced, message));
    }
    let n = written.value.len();
    let parts: Vec<When> = written
        .value
        .into_iter()
        .filter_map(|part| part.check(errors))
        .collect();
    (n > 0 && parts.len() == n).then_some(parts)
}

/// What is too much of a condition, or has no meaning in it.
pub(crate) fn too_much(when: &When) -> Option<Texts> {
    fn depth(when: &When) -> usize {
        match when {
            When::All(parts) | When::Any(parts) => 1 + parts.iter().map(depth).max().unwrap_or(0),
            When::Not(part) => 1 + depth(part),
            _ => 0,
        }
    }
    if depth(when) > DEEPEST {
        return Some(said!(
            "`all`、`any` 和 `not` 最多嵌套 {DEEPEST} 层",
            "`all`, `any` and `not` stand in one another at most {DEEPEST} deep"
        ));
    }
    let facts = when.facts();
    if facts.len() > MOST_FACTS {
        return Some(said!(
            "一条规则最多有 {MOST_FACTS} 个条件，此处有 {n} 个",
            "a rule weighs at most {MOST_FACTS} facts, not {n}",
            n = facts.len()
        ));
    }
    let is_put_together = depth(when) > 0;
    let whole_device = |fact: &&When| matches!(fact, When::NoData { quantity: None, .. });
    if is_put_together && facts.iter().any(whole_device) {
        return Some(said!(
            "`no_data` 与其他条件并用时须写明量 `quantity`",
            "`no_data` beside other conditions needs a `quantity`"
        ));
    }
    None
}

impl OutsideText {
    pub(crate) fn check(self, errors: &mut Errors) -> Option<When> {
        match (self.fence, self.quantity, self.raise) {
            (Some(fence), None, None) => {
                let fence = keep(errors, &fence, fence_code)?;
                Some(When::Outside { fence })
            }
            (None, Some(quantity), Some(raise)) => {
                let quantity = number(errors, &quantity)?;
                let band = |text: &str| parse_band(quantity, text);
                let wide = keep(errors, &raise, band);
                let narrow = match &self.clear {
                    Some(clear) => keep(errors, clear, band),
                    None => wide,
                };
                let (raise, narrow) = (wide?, narrow?);
                if let (Some(clear), true) = (&self.clear, narrow.0 < raise.0 || narrow.1 > raise.1) {
                    let message = said!(
                        "`outside` 的解除范围 `clear` 须在 `raise` 的范围之内",
                        "`clear` of `outside` lies within `raise`"
                    );
                    errors.push(RuleError::at(clear.referenced, message));
                    return None;
                }
                Some(When::OutOf(Band {
                    quantity,
                    channel: self.ch,
                    raise,
                    clear: narrow,
                }))
            }
            (fence, quantity, raise) => {
                let place = [fence.as_ref(), raise.as_ref()].into_iter().flatten().next();
                let place = place.map(|text| text.referenced);
                let place = place.or(quantity.map(|quantity| quantity.referenced));
                let message = said!(
                    "`outside` 或写围栏 `fence`，或写量 `quantity` 和范围 `raise`（例如 `6 to 9`）",
                    "`outside` is of a `fence`, or of a `quantity` with `raise` like `6 to 9`"
                );
                errors.push(match place {
                    Some(place) => RuleError::at(place, message),
                    None => RuleError::whole(message),
                });
                None
            }
        }
    }
}

impl ChangeText {
    pub(crate) fn check(self, errors: &mut Errors) -> Option<Change> {
        let quantity = number(errors, &self.quantity)?;
        let over = keep(errors, &self.over, |text| match parse_duration(text)? {
            over if over.is_zero() => Err(said!("变化的时长须大于零", "a change takes more than no time")),
            over if over.as_secs() > 7 * 86_400 => {
                Err(said!("时长 `over` 最多 7 d", "`over` is at most 7 d"))
            }
            over => Ok(over),
        });
        let ways = [
            (self.rises, Direction::Up),
            (self.falls, Direction::Down),
            (self.changes, Direction::Either),
        ];
        let (raise, clear, direction) = amounts(
            errors,
            quantity,
            ways,
            self.clear,
            &self.quantity,
            ["rises", "falls", "changes"],
        )?;
        Some(Change {
            quantity,
            channel: self.ch,
            over: over?,
            direction,
            raise,
            clear,
        })
    }
}

impl StuckText {
    pub(crate) fn check(self, errors: &mut Errors) -> Option<Stuck> {
        let quantity = number(errors, &self.quantity)?;
        let time = keep(errors, &self.time, |text| match parse_duration(text)? {
            time if time.is_zero() => Err(said!(
                "数值不变的时长须大于零",
                "a value stands still for more than no time"
            )),
            time => Ok(time),
        });
        let within = match &self.within {
            Some(text) => keep(errors, text, |text| parse_difference(quantity, text)),
            None => Some(0.0),
        };
        let mut except = Vec::new();
        if let Some(written) = &self.except {
            for text in &written.value.0 {
                match parse_value(quantity, text) {
                    Ok(value) => except.push(value),
                    Err(message) => {
                        errors.push(RuleError::at(written.referenced, message));
                        return None;
                    }
                }
            }
        }
        Some(Stuck {
            quantity,
            channel: self.ch,
            time: time?,
            within: within?,
            except,
        })
    }
}

impl NeighboursText {
    pub(crate) fn check(self, errors: &mut Errors) -> Option<Neighbours> {
        let fail = |errors: &mut Errors, message: Texts| {
            errors.push(RuleError::at(self.at_least.referenced, message));
            None
        };
        let around = match (&self.within, &self.devices) {
            (Some(within), None) => Around::Within {
                metres: keep(errors, within, parse_distance)?,
                nearest: self.nearest.as_ref().map(|nearest| nearest.value),
            },
            (None, Some(devices)) if self.nearest.is_none() => {
                let mut named = Vec::new();
                for text in &devices.value.0 {
                    match DeviceId::new(text) {
                        Ok(id) => named.push(id),
                        Err(error) => {
                            errors.push(RuleError::at(devices.referenced, no_id(&error)));
                            return None;
                        }
                    }
                }
                if named.is_empty() || named.len() > MOST_NAMED {
                    return fail(
                        errors,
                        said!(
                            "`devices` 须写 1 至 {MOST_NAMED} 个设备",
                            "`devices` names 1 to {MOST_NAMED} devices"
                        ),
                    );
                }
                Around::Named(named)
            }
            _ => {
                return fail(
                    errors,
                    said!(
                        "相邻 `neighbours` 或为一定距离 `within` 之内的设备（`nearest` 为最多取几个），或为写明的 `devices`",
                        "`neighbours` are those `within` a distance (with `nearest` at most so many of them), or `devices`"
                    ),
                );
            }
        };
        let most = match &around {
            Around::Within { nearest, .. } => nearest.map_or(usize::from(u16::MAX), usize::from),
            Around::Named(named) => named.len(),
        };
        let at_least = self.at_least.value;
        if at_least == 0 || usize::from(at_least) > most {
            return fail(
                errors,
                said!(
                    "`at_least` 至少为 1，且不超过所看的相邻设备数",
                    "`at_least` is 1 or more, and no more than are looked at"
                ),
            );
        }
        let (quantity, channel, asked) = match (self.differs, self.agree) {
            (Some(differs), None) => differs.check(errors)?,
            (None, Some(agree)) => {
                let place = agree.referenced;
                let agree = agree.value.check(errors)?;
                let is_of_a_value = matches!(
                    agree,
                    When::Above(_) | When::Below(_) | When::OutOf(_) | When::State { .. }
                );
                let Some(quantity) = agree.quantity().filter(|_| is_of_a_value) else {
                    let message = said!(
                        "`agree` 须为一个量的 `above`、`below`、`outside` 或 `state`",
                        "`agree` is `above`, `below`, `outside` or `state` of a quantity"
                    );
                    errors.push(RuleError::at(place, message));
                    return None;
                };
                if agree.stage().is_some() {
                    let message = said!(
                        "`agree` 以同一个数比较各设备，特征水位却因站而异",
                        "`agree` compares all with one number; a stage is another for each gauge"
                    );
                    errors.push(RuleError::at(place, message));
                    return None;
                }
                (quantity, agree.channel(), Asked::Agree(Box::new(agree)))
            }
            _ => {
                let message = said!(
                    "相邻 `neighbours` 须问数值是否与之相差 `differs`，或是否与之一致 `agree`",
                    "`neighbours` are asked whether the value `differs` from theirs, or whether they `agree`"
                );
                errors.push(RuleError::at(self.at_least.referenced, message));
                return None;
            }
        };
        Some(Neighbours {
            quantity,
            channel,
            around,
            at_least,
            asked,
        })
    }
}

impl DiffersText {
    fn check(self, errors: &mut Errors) -> Option<(Quantity, Option<u16>, Asked)> {
        let quantity = number(errors, &self.quantity)?;
        let ways = [
            (self.above, Direction::Up),
            (self.below, Direction::Down),
            (self.by, Direction::Either),
        ];
        let (raise, clear, direction) = amounts(
            errors,
            quantity,
            ways,
            self.clear,
            &self.quantity,
            ["above", "below", "by"],
        )?;
        let asked = Asked::Differs {
            direction,
            raise,
            clear,
        };
        Some((quantity, self.ch, asked))
    }
}

/// A quantity whose values are numbers.
fn number(errors: &mut Errors, written: &Spanned<Quantity>) -> Option<Quantity> {
    let quantity = written.value;
    if quantity.is_state() {
        let message = said!(
            "量 {quantity} 为状态量，此条件只用于数值量",
            "{quantity} has states; this is asked of numbers"
        );
        errors.push(RuleError::at(written.referenced, message));
        return None;
    }
    Some(quantity)
}

/// Which one of three ways is written, by how much, and down to where it is over.
fn amounts(
    errors: &mut Errors,
    quantity: Quantity,
    ways: [(Option<Spanned<String>>, Direction); 3],
    clear: Option<Spanned<String>>,
    place: &Spanned<Quantity>,
    names: [&str; 3],
) -> Option<(f64, f64, Direction)> {
    let mut given = ways.into_iter().filter_map(|(text, way)| Some((text?, way)));
    let (Some((raise, direction)), None) = (given.next(), given.next()) else {
        let [a, b, c] = names;
        let message = said!(
            "`{a}`、`{b}`、`{c}` 须写且只写一个，说明相差多少",
            "one of `{a}`, `{b}` or `{c}` says by how much"
        );
        errors.push(RuleError::at(place.referenced, message));
        return None;
    };
    let amount = |text: &str| parse_difference(quantity, text);
    let from = keep(errors, &raise, amount);
    let to = match &clear {
        Some(text) => keep(errors, text, amount),
        None => from,
    };
    let (from, to) = (from?, to?);
    if let (Some(clear), true) = (&clear, to > from) {
        let message = said!(
            "解除值 `clear` 不能大于触发的差值",
            "`clear` may not be more than what raises"
        );
        errors.push(RuleError::at(clear.referenced, message));
        return None;
    }
    Some((from, to, direction))
}
