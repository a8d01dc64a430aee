//! Limits that are others for each device: a number, or a parameter's name with `$` before it, with what is added to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use onemap_model::{DeviceId, DivisionCode, Quantity, Severity};
use serde::Serialize;
use serde_saphyr::Spanned;

use crate::amount::{parse_difference, parse_value};
use crate::fault::{RuleError, division, listed, no_id, said};
use crate::file::{Errors, keep};
use crate::rule::{Around, Rule, Texts, Threshold, When};
use crate::stages::{self, Stage, StageLimit, Stages, is_stage};
use crate::written::LevelText;

/// A limit that matters more than the rule's own.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Level {
    /// How much.
    pub severity: Severity,
    /// Beyond its `raise` it is so, until its `clear`.
    pub limit: Threshold,
}

/// What a limit is of each device, in the quantity's canonical unit.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Given {
    /// Of devices that nothing is said of; `None` leaves them out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<f64>,
    /// Of these devices.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub devices: BTreeMap<DeviceId, f64>,
    /// Of devices in these divisions; of several that hold a device the innermost counts.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub divisions: BTreeMap<DivisionCode, f64>,
    /// The device's own stage, in place of all of these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<StageLimit>,
}

/// Both limits of a threshold as they are given.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Own {
    /// Beyond this it is abnormal.
    pub raise: Given,
    /// Back to this it is normal again.
    pub clear: Given,
}

impl Given {
    fn number(value: f64) -> Self {
        Self {
            default: Some(value),
            ..Self::default()
        }
    }
    fn is_number(&self) -> bool {
        self.devices.is_empty() && self.divisions.is_empty() && self.default.is_some()
    }
    fn of(&self, device: Option<&DeviceId>, division: Option<&DivisionCode>, stages: &Stages) -> Option<f64> {
        if let Some(limit) = self.stage {
            return stages.of(limit);
        }
        let named = device.and_then(|device| self.devices.get(device));
        let within = || {
            let division = division?;
            let holds = self.divisions.iter().filter(|(code, _)| code.covers(division));
            holds
                .max_by_key(|(code, _)| code.as_str().len())
                .map(|(_, value)| value)
        };
        named.or_else(within).copied().or(self.default)
    }
}

/// Reads a limit and where it is over, each a number or a parameter. The threshold has no channel.
pub(crate) fn limit(
    errors: &mut Errors,
    quantity: Quantity,
    (raise, clear): (&Spanned<String>, Option<&Spanned<String>>),
    is_above: bool,
) -> Option<Threshold> {
    let from = given(errors, quantity, raise);
    let to = match clear {
        Some(text) => given(errors, quantity, text),
        None => from.clone(),
    };
    let own = Own {
        raise: from?,
        clear: to?,
    };
    let (devices, divisions) = own.named();
    let each = devices
        .into_iter()
        .map(|device| (Some(device), None))
        .chain(divisions.into_iter().map(|division| (None, Some(division))))
        .chain([(None, None)]);
    for (device, division) in each {
        let (Some(from), Some(to)) = (
            own.raise.of(device, division, &Stages::default()),
            own.clear.of(device, division, &Stages::default()),
        ) else {
            continue;
        };
        let wrong_way = if is_above { to > from } else { to < from };
        if let (true, Some(clear)) = (wrong_way, clear) {
            let whose = device
                .map(DeviceId::as_str)
                .or(division.map(DivisionCode::as_str));
            errors.push(RuleError::at(clear.referenced, wrong_way_of(is_above, whose)));
            break;
        }
    }
    if let Some(message) = own.wrong_stages(is_above) {
        errors.push(RuleError::at(clear.unwrap_or(raise).referenced, message));
    }
    let stages = own.raise.stage.zip(own.clear.stage).map(<[StageLimit; 2]>::from);
    let (raise, clear) = (own.raise.default, own.clear.default);
    let is_same_everywhere = own.raise.is_number() && own.clear.is_number();
    Some(Threshold {
        quantity,
        channel: None,
        raise: raise.unwrap_or(f64::NAN),
        clear: clear.unwrap_or(f64::NAN),
        own: (!is_same_everywhere).then(|| Arc::new(own)),
        stages,
    })
}

impl Own {
    /// What is wrong with limits one of which is a stage: where they lie to one another has to be known without a gauge.
    fn wrong_stages(&self, is_above: bool) -> Option<Texts> {
        let (raise, clear) = match (self.raise.stage, self.clear.stage) {
            (None, None) => return None,
            (Some(raise), Some(clear)) if raise.stage == clear.stage => (raise.by, clear.by),
            _ => {
                return Some(said!(
                    "`raise` 和 `clear` 之一为特征水位时，两者须为同一特征水位",
                    "`raise` and `clear` are of the same stage where one of them is"
                ));
            }
        };
        let is_wrong = if is_above { clear > raise } else { clear < raise };
        is_wrong.then(|| wrong_way_of(is_above, None))
    }
    fn named(&self) -> (BTreeSet<&DeviceId>, BTreeSet<&DivisionCode>) {
        let both = || [&self.raise, &self.clear].into_iter();
        (
            both().flat_map(|given| given.devices.keys()).collect(),
            both().flat_map(|given| given.divisions.keys()).collect(),
        )
    }
}

/// That an alert would be over further out than it is raised; `whose` limits are these, where not everybody's.
fn wrong_way_of(is_above: bool, whose: Option<&str>) -> Texts {
    let zh = whose.map(|whose| format!("（{whose}）")).unwrap_or_default();
    let en = whose.map(|whose| format!(" (for {whose})")).unwrap_or_default();
    match is_above {
        true => Texts {
            zh: format!("`above` 的解除值 `clear` 不能高于阈值 `raise`{zh}"),
            en: format!("`clear` of `above` may not be greater than `raise`{en}"),
        },
        false => Texts {
            zh: format!("`below` 的解除值 `clear` 不能低于阈值 `raise`{zh}"),
            en: format!("`clear` of `below` may not be less than `raise`{en}"),
        },
    }
}

/// Reads `2.5 m`, `$warning`, `$warning - 0.10 m`, `stage warning - 0.10 m`.
fn given(errors: &mut Errors, quantity: Quantity, written: &Spanned<String>) -> Option<Given> {
    if is_stage(&written.value) {
        let stage = stages::read(errors, quantity, written)?;
        return Some(Given {
            stage: Some(stage),
            ..Given::default()
        });
    }
    let Some(rest) = written.value.trim().strip_prefix('$') else {
        return keep(errors, written, |text| parse_value(quantity, text)).map(Given::number);
    };
    let end = rest
        .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .unwrap_or(rest.len());
    let (name, more) = (&rest[..end], rest[end..].trim());
    let (sign, amount) = match more.split_at_checked(1) {
        None => (0.0, ""),
        Some(("+", amount)) => (1.0, amount.trim()),
        Some(("-", amount)) => (-1.0, amount.trim()),
        Some(_) => {
            let message = said!(
                "`{text}` 的写法应如 `$warning - 0.10 m`",
                "`{text}` is not like `$warning - 0.10 m`",
                text = written.value
            );
            errors.push(RuleError::at(written.referenced, message));
            return None;
        }
    };
    let by = match amount {
        "" if sign == 0.0 => 0.0,
        amount => sign * keep(errors, written, |_| parse_difference(quantity, amount))?,
    };
    let Some(parameter) = errors.parameters.get(name) else {
        let known: Vec<&str> = errors.parameters.keys().map(String::as_str).collect();
        let message = match known.as_slice() {
            [] => said!(
                "没有名为 `{name}` 的参数，此规则没有 `parameters`",
                "no parameter is called `{name}`; the rule has no `parameters`"
            ),
            known => {
                let Texts { zh, en } = listed(known);
                Texts {
                    zh: format!("没有名为 `{name}` 的参数，已有 {zh}"),
                    en: format!("no parameter is called `{name}`; there are {en}"),
                }
            }
        };
        errors.push(RuleError::at(written.referenced, message));
        return None;
    };
    let mut given = Given::default();
    let mut wrong = Vec::new();
    let value = |text: &Spanned<String>, wrong: &mut Vec<RuleError>| match parse_value(quantity, &text.value)
    {
        Ok(value) => Some(value + by),
        Err(message) => {
            wrong.push(RuleError::at(text.referenced, message));
            None
        }
    };
    given.default = parameter
        .default
        .as_ref()
        .and_then(|text| value(text, &mut wrong));
    for (id, text) in &parameter.devices {
        match DeviceId::new(id) {
            Ok(id) => given
                .devices
                .extend(value(text, &mut wrong).map(|value| (id, value))),
            Err(error) => wrong.push(RuleError::at(text.referenced, no_id(&error))),
        }
    }
    for (code, text) in &parameter.divisions {
        match division(code) {
            Ok(code) => given
                .divisions
                .extend(value(text, &mut wrong).map(|value| (code, value))),
            Err(error) => wrong.push(RuleError::at(text.referenced, error)),
        }
    }
    let is_sound = wrong.is_empty();
    wrong.into_iter().for_each(|error| errors.push(error));
    is_sound.then_some(given)
}

/// Reads the levels of a rule: each further out than the one before, and more severe.
pub(crate) fn levels(
    errors: &mut Errors,
    written: Vec<LevelText>,
    when: Option<&When>,
    severity: Severity,
) -> Option<Vec<Level>> {
    let (base, is_above) = match (when, written.first()) {
        (_, None) | (None, _) => return Some(Vec::new()),
        (Some(When::Above(base)), _) => (base, true),
        (Some(When::Below(base)), _) => (base, false),
        (Some(_), Some(first)) => {
            let message = said!(
                "`levels`（分级）只用于以 `above` 或 `below` 比较一个阈值的规则",
                "`levels` belong to a rule that is `above` or `below` one limit"
            );
            errors.push(RuleError::at(first.severity.referenced, message));
            return None;
        }
    };
    let mut levels: Vec<Level> = Vec::new();
    for level in written {
        let limits = (&level.raise, level.clear.as_ref());
        let limit = Threshold {
            channel: base.channel,
            ..limit(errors, base.quantity, limits, is_above)?
        };
        let (below, before) = match levels.last() {
            Some(last) => (last.severity, &last.limit),
            None => (severity, base),
        };
        if level.severity.value <= below {
            let message = said!(
                "`levels` 的每一级须比前一级更严重",
                "each of `levels` is more severe than the one before it"
            );
            errors.push(RuleError::at(level.severity.referenced, message));
            return None;
        }
        let is_further = match is_above {
            true => limit.raise > before.raise,
            false => limit.raise < before.raise,
        };
        let stages = |limit: &Threshold| limit.stages.map(|[raise, _]| raise);
        if let (Some(own), Some(before)) = (stages(&limit), stages(before))
            && match is_above {
                true => own <= before,
                false => own >= before,
            }
        {
            let message = said!(
                "`levels` 每一级的阈值须比前一级更远离正常",
                "each of `levels` is further out than the one before it"
            );
            errors.push(RuleError::at(level.raise.referenced, message));
            return None;
        }
        if !is_further && !limit.raise.is_nan() && !before.raise.is_nan() {
            let message = said!(
                "`levels` 每一级的阈值须比前一级更远离正常",
                "each of `levels` is further out than the one before it"
            );
            errors.push(RuleError::at(level.raise.referenced, message));
            return None;
        }
        levels.push(Level {
            severity: level.severity.value,
            limit,
        });
    }
    Some(levels)
}

impl Threshold {
    fn of_device(&self, device: &DeviceId, division: Option<&DivisionCode>, stages: &Stages) -> Option<Self> {
        let Some(own) = &self.own else {
            return Some(self.clone());
        };
        Some(Self {
            raise: own.raise.of(Some(device), division, stages)?,
            clear: own.clear.of(Some(device), division, stages)?,
            own: None,
            ..self.clone()
        })
    }
}

impl When {
    /// The stage that is its limit, if one is.
    pub(crate) fn stage(&self) -> Option<Stage> {
        let limit = match self {
            When::Above(limit) | When::Below(limit) => limit,
            When::Forecast(asked) => &asked.limit,
            _ => return None,
        };
        limit.stages.map(|[raise, _]| raise.stage)
    }
    fn has_parameters(&self) -> bool {
        match self {
            When::Above(limit) | When::Below(limit) => limit.own.is_some(),
            When::Forecast(asked) => asked.limit.own.is_some(),
            When::All(parts) | When::Any(parts) => parts.iter().any(When::has_parameters),
            When::Not(part) => part.has_parameters(),
            _ => false,
        }
    }
    fn of_device(&self, device: &DeviceId, division: Option<&DivisionCode>, stages: &Stages) -> Option<Self> {
        let each = |parts: &[When]| -> Option<Vec<When>> {
            parts
                .iter()
                .map(|part| part.of_device(device, division, stages))
                .collect()
        };
        Some(match self {
            When::Above(limit) => When::Above(limit.of_device(device, division, stages)?),
            When::Below(limit) => When::Below(limit.of_device(device, division, stages)?),
            When::Forecast(asked) => {
                let mut asked = asked.clone();
                asked.limit = asked.limit.of_device(device, division, stages)?;
                When::Forecast(asked)
            }
            When::All(parts) => When::All(each(parts)?),
            When::Any(parts) => When::Any(each(parts)?),
            When::Not(part) => When::Not(Box::new(part.of_device(device, division, stages)?)),
            other => other.clone(),
        })
    }
}

impl Rule {
    /// The rule as it is for one device of which no stages are known; `None` when it has no limit for that. Id and version
    /// stay those of the rule.
    pub fn of_device(
        self: &Arc<Self>,
        device: &DeviceId,
        division: Option<&DivisionCode>,
    ) -> Option<Arc<Self>> {
        self.of_gauge(device, division, &Stages::default())
    }

    /// Whether it has limits that are others for each device.
    pub(crate) fn has_own_limits(&self) -> bool {
        self.levels.iter().any(|level| level.limit.own.is_some()) || self.when.has_parameters()
    }

    /// The same of a gauge with its stages, of whose channel alone such a limit is.
    pub(crate) fn of_gauge(
        self: &Arc<Self>,
        device: &DeviceId,
        division: Option<&DivisionCode>,
        stages: &Stages,
    ) -> Option<Arc<Self>> {
        if !self.has_own_limits() {
            return Some(Arc::clone(self));
        }
        let levels = self.levels.iter().filter_map(|level| {
            Some(Level {
                limit: level.limit.of_device(device, division, stages)?,
                ..level.clone()
            })
        });
        let mut when = self.when.of_device(device, division, stages)?;
        let limit = match &mut when {
            When::Above(limit) | When::Below(limit) => Some(limit),
            When::Forecast(asked) => Some(&mut asked.limit),
            _ => None,
        };
        if let Some(limit) = limit.filter(|limit| limit.stages.is_some())
            && *limit.channel.get_or_insert(stages.channel) != stages.channel
        {
            return None;
        }
        Some(Arc::new(Rule {
            when,
            levels: levels.collect(),
            ..Rule::clone(self)
        }))
    }
    /// The devices that it names: the one that it is for, those that have a limit of their own, those that are compared with.
    pub(crate) fn named_devices(&self) -> BTreeSet<&DeviceId> {
        let mut named: BTreeSet<&DeviceId> = self.applies_to.device.iter().collect();
        let mut limits: Vec<&Threshold> = self.levels.iter().map(|level| &level.limit).collect();
        for fact in self.when.facts() {
            match fact {
                When::Above(limit) | When::Below(limit) => limits.push(limit),
                When::Forecast(asked) => limits.push(&asked.limit),
                When::Neighbours(asked) => {
                    if let Around::Named(ids) = &asked.around {
                        named.extend(ids);
                    }
                }
                _ => {}
            }
        }
        for own in limits.into_iter().filter_map(|limit| limit.own.as_deref()) {
            named.extend(own.named().0);
        }
        named
    }

    /// The first stage of its limits, if it has such.
    pub(crate) fn stage(&self) -> Option<Stage> {
        let of_when = self.when.facts().into_iter().find_map(When::stage);
        of_when.or_else(|| {
            self.levels
                .iter()
                .find_map(|level| level.limit.stages)
                .map(|[raise, _]| raise.stage)
        })
    }

    /// Whether the two have the same stages as limits: then what one has told stands by the other.
    pub(crate) fn is_limited_as(&self, other: &Self) -> bool {
        self.stage().is_none() || (self.when == other.when && self.levels == other.levels)
    }
    /// How much it matters at one of its levels, 0 is the rule's own.
    pub(crate) fn severity_at(&self, level: u8) -> Severity {
        let level = usize::from(level).checked_sub(1).and_then(|n| self.levels.get(n));
        level.map_or(self.severity, |level| level.severity)
    }
    /// The limit of one of its levels, as a condition.
    pub(crate) fn limit_at(&self, level: u8) -> Option<When> {
        let level = self.levels.get(usize::from(level).checked_sub(1)?)?;
        Some(match &self.when {
            When::Below(_) => When::Below(level.limit.clone()),
            _ => When::Above(level.limit.clone()),
        })
    }
    /// The level of a value, coming from another: beyond a limit it goes up, and goes down where it is back behind one.
    pub(crate) fn level_of(&self, value: f64, from: u8) -> u8 {
        use crate::rule::Side;
        let side = |level: u8| self.limit_at(level).and_then(|limit| limit.side(value));
        let n = u8::try_from(self.levels.len()).unwrap_or(u8::MAX);
        let up = (1..=n)
            .rev()
            .find(|level| side(*level) == Some(Side::Beyond))
            .unwrap_or(0);
        let stays = (1..=from.min(n))
            .rev()
            .find(|level| side(*level) != Some(Side::Back))
            .unwrap_or(0);
        up.max(stays)
    }
}
