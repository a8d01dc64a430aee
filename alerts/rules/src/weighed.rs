//! Conditions that weigh more than one value, as written and checked: changes over a time, values that stand still,
//! neighbours, and what is put together of others.

use onemap_model::{DeviceId, Quantity};
use serde_saphyr::Spanned;

use crate::amount::{parse_band, parse_difference, parse_distance, parse_duration, parse_value};
use crate::file::{Errors, RuleError, fence_code, keep};
use crate::rule::{Around, Asked, Band, Change, Direction, Neighbours, Stuck, When};
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
        let message = format!("`{what}` needs at least one condition");
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
pub(crate) fn too_much(when: &When) -> Option<String> {
    fn depth(when: &When) -> usize {
        match when {
            When::All(parts) | When::Any(parts) => 1 + parts.iter().map(depth).max().unwrap_or(0),
            When::Not(part) => 1 + depth(part),
            _ => 0,
        }
    }
    if depth(when) > DEEPEST {
        return Some(format!(
            "`all`, `any` and `not` stand in one another at most {DEEPEST} deep"
        ));
    }
    let facts = when.facts();
    if facts.len() > MOST_FACTS {
        return Some(format!(
            "a rule weighs at most {MOST_FACTS} facts, not {}",
            facts.len()
        ));
    }
    let is_put_together = depth(when) > 0;
    let whole_device = |fact: &&When| matches!(fact, When::NoData { quantity: None, .. });
    if is_put_together && facts.iter().any(whole_device) {
        return Some("`no_data` beside other conditions needs a `quantity`".to_owned());
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
                    let message = "`clear` of `outside` lies within `raise`";
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
                let message = "`outside` is of a `fence`, or of a `quantity` with `raise` like `6 to 9`";
                errors.push(match place {
                    Some(place) => RuleError::at(place, message),
                    None => RuleError {
                        line: 0,
                        column: 0,
                        message: message.to_owned(),
                    },
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
            over if over.is_zero() => Err("a change takes more than no time".to_owned()),
            over if over.as_secs() > 7 * 86_400 => Err("`over` is at most 7 d".to_owned()),
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
            "rises`, `falls` or `changes",
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
            time if time.is_zero() => Err("a value stands still for more than no time".to_owned()),
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
        let fail = |errors: &mut Errors, message: &str| {
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
                            errors.push(RuleError::at(devices.referenced, error.to_string()));
                            return None;
                        }
                    }
                }
                if named.is_empty() || named.len() > MOST_NAMED {
                    let message = format!("`devices` names 1 to {MOST_NAMED} devices");
                    return fail(errors, &message);
                }
                Around::Named(named)
            }
            _ => {
                return fail(
                    errors,
                    "`neighbours` are those `within` a distance (with `nearest` at most so many of them), or `devices`",
                );
            }
        };
        let most = match &around {
            Around::Within { nearest, .. } => nearest.map_or(usize::from(u16::MAX), usize::from),
            Around::Named(named) => named.len(),
        };
        let at_least = self.at_least.value;
        if at_least == 0 || usize::from(at_least) > most {
            return fail(errors, "`at_least` is 1 or more, and no more than are looked at");
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
                    let message = "`agree` is `above`, `below`, `outside` or `state` of a quantity";
                    errors.push(RuleError::at(place, message));
                    return None;
                };
                if agree.stage().is_some() {
                    let message = "`agree` compares all with one number; a stage is another for each gauge";
                    errors.push(RuleError::at(place, message));
                    return None;
                }
                (quantity, agree.channel(), Asked::Agree(Box::new(agree)))
            }
            _ => {
                let message =
                    "`neighbours` are asked whether the value `differs` from theirs, or whether they `agree`";
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
            "above`, `below` or `by",
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
        let message = format!("{quantity} has states; this is asked of numbers");
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
    names: &str,
) -> Option<(f64, f64, Direction)> {
    let mut given = ways.into_iter().filter_map(|(text, way)| Some((text?, way)));
    let (Some((raise, direction)), None) = (given.next(), given.next()) else {
        let message = format!("one of `{names}` says by how much");
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
        let message = "`clear` may not be more than what raises";
        errors.push(RuleError::at(clear.referenced, message));
        return None;
    }
    Some((from, to, direction))
}
