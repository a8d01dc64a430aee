//! One file of rules: YAML as written, then as meant.
//!
//! A file is taken whole or not at all. Shape errors (unknown field, wrong type) stop at the first,
//! because what follows cannot be read; errors of meaning are all collected.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use onemap_model::forecast::{MAX_LEAD_S, OWN};
use onemap_model::{DeviceId, Quantity, RuleId};
use serde_saphyr::{Location, Spanned};
use sha2::{Digest, Sha256};

use crate::amount::{parse_duration, parse_silence};
use crate::fault::{self, RuleError, listed, no_id, said};
use crate::panels::Foreseen;
use crate::rule::{Clause, Prospect, Rule, Selector, Texts, Threshold, When};
use crate::trial::{Trial, TrialOutcome, TrialText};
use crate::written::{FileText, ForecastText, ParameterText, RuleText, SelectorText, StateText, WhenText};
use crate::{parameters, times, unread, weighed};

/// The largest file that is read, in bytes.
const LARGEST: usize = 256 * 1024;

/// The longest code of a fence, in bytes.
const LONGEST_CODE: usize = 128;

/// A checked file of rules.
#[derive(Clone, Debug)]
pub struct RuleSet {
    text: String,
    version: String,
    rules: Vec<Arc<Rule>>,
    /// Where each rule's id stands.
    places: Vec<Location>,
    trials: Vec<Trial>,
}

impl RuleSet {
    /// Reads and checks a file. `file` is its name, for the messages about the file as a whole.
    ///
    /// # Errors
    /// Everything that is wrong, in the file's order.
    pub fn parse(file: &str, text: &str) -> Result<RuleSet, Vec<RuleError>> {
        if text.len() > LARGEST {
            return Err(vec![RuleError::whole(said!(
                "文件 `{file}` 有 {n} 字节，上限为 {LARGEST} 字节",
                "`{file}` has {n} bytes, the limit is {LARGEST}",
                n = text.len()
            ))]);
        }
        let written: FileText =
            serde_saphyr::from_str(text).map_err(|error| vec![unreadable(file, &error)])?;
        written.check(text)
    }
    /// The rules, in the file's order.
    pub fn rules(&self) -> &[Arc<Rule>] {
        &self.rules
    }
    /// The codes of the fences that its rules ask for.
    pub fn fences(&self) -> impl Iterator<Item = &Arc<str>> {
        self.rules.iter().flat_map(|rule| rule.fences())
    }
    /// The devices that its rules name, each with the line and column of its rule.
    pub fn named_devices(&self) -> impl Iterator<Item = (u32, u32, &DeviceId)> {
        let placed = self.rules.iter().zip(&self.places);
        placed.flat_map(|(rule, place)| {
            let named = rule.named_devices().into_iter();
            named.map(|device| {
                let at = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
                (at(place.line()), at(place.column()), device)
            })
        })
    }
    /// A file of some rules without tests.
    pub(crate) fn of(rules: &[Arc<Rule>]) -> Self {
        Self {
            text: String::new(),
            version: String::new(),
            rules: rules.to_vec(),
            places: Vec::new(),
            trials: Vec::new(),
        }
    }
    pub(crate) fn places(&self) -> &[Location] {
        &self.places
    }
    /// The text as given.
    pub fn text(&self) -> &str {
        &self.text
    }
    /// First 8 hexadecimal digits of the hash of the file's text. Each rule has its own
    /// [`Rule::version`], which only its meaning changes.
    pub fn version(&self) -> &str {
        &self.version
    }
    /// Runs the tests that stand beside the rules, with the same engine, and tells how each went.
    pub fn run_tests(&self) -> Vec<TrialOutcome> {
        self.trials.iter().map(Trial::run).collect()
    }
}

/// What the reader of YAML says of a file, in both languages.
fn unreadable(file: &str, error: &serde_saphyr::Error) -> RuleError {
    let en = plain(error);
    let zh = unread::in_chinese(error, &en);
    match error.location() {
        Some(location) => RuleError::at(location, Texts { zh, en }),
        None => RuleError::whole(Texts {
            zh: format!("`{file}`：{zh}"),
            en: format!("`{file}`: {en}"),
        }),
    }
}

/// The parser's sentence without its place (which stands in the error's fields) and its excerpt.
pub(crate) fn plain(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let first = text.lines().next().unwrap_or_default();
    let end = first.rfind(" at line ").unwrap_or(first.len());
    first[..end].trim_end_matches([',', ':', ' ']).to_owned()
}

fn hash8(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest[..4].iter().map(|byte| format!("{byte:02x}")).collect()
}

impl FileText {
    fn check(self, text: &str) -> Result<RuleSet, Vec<RuleError>> {
        let mut errors = Vec::new();
        if self.version.value != 1 {
            let message = said!(
                "不认识规则格式版本 {n}，只有版本 1",
                "format version {n} is not known, only 1",
                n = self.version.value
            );
            errors.push(RuleError::at(self.version.referenced, message));
        }
        let mut seen = HashSet::new();
        let (mut rules, mut places, mut trials) = (Vec::new(), Vec::new(), Vec::new());
        for written in self.rules {
            if !seen.insert(written.id.value.clone()) {
                let message = said!(
                    "规则 `{id}` 在此文件中出现两次",
                    "rule `{id}` stands twice in this file",
                    id = written.id.value
                );
                errors.push(RuleError::at(written.id.referenced, message));
            }
            let place = written.id.referenced;
            let (rule, tests, mut found) = written.check();
            errors.append(&mut found);
            let Some(rule) = rule.map(Arc::new) else {
                continue;
            };
            for test in tests {
                match Trial::check(&rule, test) {
                    Ok(trial) => trials.push(trial),
                    Err(error) => errors.push(error),
                }
            }
            rules.push(rule);
            places.push(place);
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(RuleSet {
            text: text.to_owned(),
            version: hash8(text.as_bytes()),
            rules,
            places,
            trials,
        })
    }
}

/// What is found wrong with a rule while it is read, and the parameters that it may ask for.
#[derive(Default)]
pub(crate) struct Errors {
    found: Vec<RuleError>,
    pub(crate) parameters: BTreeMap<String, ParameterText>,
}

impl Errors {
    pub(crate) fn push(&mut self, error: RuleError) {
        // A parameter is read by each limit that names it.
        if !self.found.contains(&error) {
            self.found.push(error);
        }
    }
    pub(crate) fn len(&self) -> usize {
        self.found.len()
    }
}

impl RuleText {
    /// The rule (when its parts can be read), its tests, and everything that is wrong with it.
    fn check(self) -> (Option<Rule>, Vec<TrialText>, Vec<RuleError>) {
        let mut errors = Errors {
            found: Vec::new(),
            parameters: self.parameters,
        };
        let id = keep(&mut errors, &self.id, |text| {
            RuleId::new(text).map_err(|e| no_id(&e))
        });
        for (texts, what) in [(&self.name, "name"), (&self.advice, "advice")] {
            if texts.value.zh.trim().is_empty() || texts.value.en.trim().is_empty() {
                let message = said!(
                    "`{what}` 须有中英文两种文本",
                    "`{what}` needs a text in both languages"
                );
                errors.push(RuleError::at(texts.referenced, message));
            }
        }
        let selector = self.applies_to.check(&mut errors);
        let no_data = matches!(self.when, WhenText::NoData(_));
        if let (true, Some(hold)) = (no_data, &self.hold) {
            let message = said!(
                "`no_data` 已有自己的时长 `for`，旁边再写一个没有意义",
                "`no_data` has its own `for`; a second one beside it has no meaning"
            );
            errors.push(RuleError::at(hold.referenced, message));
        }
        let duration = |errors: &mut Errors, written: &Option<Spanned<String>>| match written {
            None => Some(Duration::ZERO),
            Some(text) => keep(errors, text, parse_duration),
        };
        let hold = duration(&mut errors, &self.hold);
        let clear_hold = duration(&mut errors, &self.clear_hold);
        let when = self.when.check(&mut errors);
        if let Some(message) = when.as_ref().and_then(weighed::too_much) {
            errors.push(RuleError::at(self.id.referenced, message));
        }
        if let Some(clause) = &self.clause {
            let Clause {
                text,
                valid_from,
                valid_to,
            } = &clause.value;
            if text.trim().is_empty() {
                errors.push(RuleError::at(
                    clause.referenced,
                    said!("条款须有文本", "a clause needs its text"),
                ));
            }
            if let (Some(from), Some(to)) = (valid_from, valid_to)
                && to <= from
            {
                errors.push(RuleError::at(
                    clause.referenced,
                    said!("条款的失效时间须晚于生效时间", "the clause ends before it begins"),
                ));
            }
        }
        let levels = parameters::levels(&mut errors, self.levels, when.as_ref(), self.severity.value);
        let panels = match self.panels {
            Some(panels) => panels.check(&mut errors),
            None => Some(Foreseen::Unsaid),
        };
        let times = times::check(&mut errors, self.valid, self.during, self.otherwise);
        let rule = (|| {
            let mut rule = Rule {
                id: id?,
                version: String::new(),
                name: self.name.value,
                applies_to: selector?,
                severity: self.severity.value,
                when: when?,
                hold: hold?,
                clear_hold: clear_hold?,
                advice: self.advice.value,
                clause: self.clause.map(|c| c.value),
                times: times?,
                levels: levels?,
                panels: panels?,
            };
            let canonical = serde_json::to_vec(&rule).expect("a rule has text keys and finite numbers only");
            rule.version = hash8(&canonical);
            Some(rule)
        })();
        (rule, self.tests, errors.found)
    }
}

impl SelectorText {
    fn check(self, errors: &mut Errors) -> Option<Selector> {
        let division = self
            .division
            .as_ref()
            .map(|text| keep(errors, text, fault::division));
        let device = self
            .device
            .as_ref()
            .map(|text| keep(errors, text, |id| DeviceId::new(id).map_err(|e| no_id(&e))));
        let fence = self.fence.as_ref().map(|text| keep(errors, text, fence_code));
        Some(Selector {
            kinds: self.kind.0,
            not_kinds: self.not_kind.0,
            division: match division {
                Some(checked) => Some(checked?),
                None => None,
            },
            device: match device {
                Some(checked) => Some(checked?),
                None => None,
            },
            fence: match fence {
                Some(checked) => Some(checked?),
                None => None,
            },
        })
    }
}

impl WhenText {
    pub(crate) fn check(self, errors: &mut Errors) -> Option<When> {
        let (written, above) = match self {
            WhenText::Above(written) => (written, true),
            WhenText::Below(written) => (written, false),
            WhenText::State(written) => return written.check(errors),
            WhenText::Inside(written) => {
                let fence = keep(errors, &written.fence, fence_code)?;
                return Some(When::Inside { fence });
            }
            WhenText::Outside(written) => return written.check(errors),
            WhenText::Forecast(written) => return written.check(errors).map(When::Forecast),
            WhenText::Change(written) => return written.check(errors).map(When::Change),
            WhenText::Stuck(written) => return written.check(errors).map(When::Stuck),
            WhenText::Neighbours(written) => return written.check(errors).map(When::Neighbours),
            WhenText::All(parts) => return weighed::parts(errors, parts, "all").map(When::All),
            WhenText::Any(parts) => return weighed::parts(errors, parts, "any").map(When::Any),
            WhenText::Not(part) => return part.check(errors).map(|part| When::Not(Box::new(part))),
            WhenText::NoData(written) => {
                if let (Some(ch), None) = (&written.ch, written.quantity) {
                    errors.push(RuleError::at(
                        ch.referenced,
                        said!(
                            "写了 `ch` 就须写明量 `quantity`",
                            "`ch` needs a `quantity` beside it"
                        ),
                    ));
                }
                return Some(When::NoData {
                    quantity: written.quantity,
                    channel: written.ch.map(|c| c.value),
                    silence: keep(errors, &written.silence, parse_silence)?,
                });
            }
        };
        let threshold = Threshold {
            channel: written.ch,
            ..parameters::limit(
                errors,
                written.quantity,
                (&written.raise, written.clear.as_ref()),
                above,
            )?
        };
        Some(if above {
            When::Above(threshold)
        } else {
            When::Below(threshold)
        })
    }
}

impl ForecastText {
    fn check(self, errors: &mut Errors) -> Option<Prospect> {
        let quantity = self.quantity.value;
        let before = errors.len();
        if quantity.is_state() {
            let message = said!(
                "量 {quantity} 为状态量，预报只用于数值量",
                "{quantity} has states; forecasts are of numbers"
            );
            errors.push(RuleError::at(self.quantity.referenced, message));
        }
        let within = keep(errors, &self.within, |text| {
            let within = parse_duration(text)?;
            let reach = Duration::from_secs(u64::from(MAX_LEAD_S));
            match within.is_zero() || within > reach {
                true => Err(said!(
                    "预报时长 `within` 须大于零且不超过 {days} d",
                    "`within` is more than nothing and at most {days} d",
                    days = MAX_LEAD_S / 86_400
                )),
                false => Ok(within),
            }
        });
        let quantile = self.quantile.as_ref().map_or(0.5, |quantile| quantile.value);
        if let (Some(written), false) = (&self.quantile, quantile > 0.0 && quantile < 1.0) {
            let message = said!(
                "分位数 `quantile` 须在 0 与 1 之间，例如 0.5 或 0.9",
                "`quantile` lies between 0 and 1, like 0.5 or 0.9"
            );
            errors.push(RuleError::at(written.referenced, message));
        }
        let source = match &self.source {
            None => Some(OWN.into()),
            Some(written) => keep(errors, written, |text| match text.trim() {
                "" => Err(said!(
                    "`source` 须写明用哪个来源的预报",
                    "`source` is whose forecasts are meant"
                )),
                name => Ok(Arc::from(name)),
            }),
        };
        let (raise, is_above) = match (&self.above, &self.below) {
            (Some(above), None) => (above, true),
            (None, Some(below)) => (below, false),
            _ => {
                let message = said!(
                    "预报条件须写 `above` 或 `below`，且只写一个",
                    "a forecast is asked for `above` or for `below`, one of them"
                );
                errors.push(RuleError::at(self.quantity.referenced, message));
                return None;
            }
        };
        let limit = Threshold {
            channel: self.ch,
            ..parameters::limit(errors, quantity, (raise, self.clear.as_ref()), is_above)?
        };
        (errors.len() == before).then_some(Prospect {
            limit,
            is_above,
            within: within?,
            quantile,
            source: source?,
        })
    }
}

impl StateText {
    fn check(self, errors: &mut Errors) -> Option<When> {
        let quantity = self.quantity.value;
        let states = &quantity.definition().states;
        if states.is_empty() {
            let message = said!(
                "量 {quantity} 没有状态，请用 `above` 或 `below`",
                "{quantity} has no states; use `above` or `below`"
            );
            errors.push(RuleError::at(self.quantity.referenced, message));
            return None;
        }
        let before = errors.len();
        let mut is = Vec::new();
        for name in &self.is.value.0 {
            match states
                .iter()
                .find(|s| s.en == *name || s.zh == *name || s.code.to_string() == *name)
            {
                Some(state) => is.push(state.code),
                None => {
                    let message = no_state(quantity, name);
                    errors.push(RuleError::at(self.is.referenced, message));
                }
            }
        }
        is.sort_unstable();
        is.dedup();
        if is.is_empty() && errors.len() == before {
            errors.push(RuleError::at(
                self.is.referenced,
                said!("至少要写一个异常状态", "at least one state must be wrong"),
            ));
        }
        let channel = self.ch;
        (errors.len() == before).then_some(When::State {
            quantity,
            channel,
            is,
        })
    }
}

/// That a quantity has no such state.
fn no_state(quantity: Quantity, name: &str) -> Texts {
    let states = &quantity.definition().states;
    let known: Vec<&str> = states.iter().map(|s| s.en.as_str()).collect();
    let Texts { zh, en } = listed(&known);
    Texts {
        zh: format!("量 {quantity} 没有状态 `{name}`，已有 {zh}"),
        en: format!("{quantity} has no state `{name}`; it has {en}"),
    }
}

/// The code of a fence. Whether there is one is not known here: it may come later.
pub(crate) fn fence_code(text: &str) -> Result<Arc<str>, Texts> {
    let is_code =
        !text.trim().is_empty() && text.len() <= LONGEST_CODE && !text.chars().any(char::is_control);
    is_code.then(|| text.into()).ok_or_else(|| {
        said!(
            "`fence` 须为围栏代码，1 至 {LONGEST_CODE} 字节",
            "`fence` is the code of a fence, 1 to {LONGEST_CODE} bytes"
        )
    })
}

/// The meaning of a written text, or `None` and an error at its place.
pub(crate) fn keep<T>(
    errors: &mut Errors,
    written: &Spanned<String>,
    read: impl FnOnce(&str) -> Result<T, Texts>,
) -> Option<T> {
    match read(&written.value) {
        Ok(value) => Some(value),
        Err(message) => {
            errors.push(RuleError::at(written.referenced, message));
            None
        }
    }
}
