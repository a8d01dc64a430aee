//! The four panels (可感、可视、可预、可控) of an alert: evidence, place, forecast, control.
//!
//! Evidence and place every alert has by itself, control by its rule's advice. Of the forecast a rule says what is
//! foreseen beside its alerts, or why nothing is; a rule that says neither is found by [`RuleSet::remarks`].

use onemap_model::Quantity;
use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;

use crate::fault::{RuleError, said};
use crate::file::{Errors, RuleSet, keep};
use crate::rule::{Rule, Texts};

/// What a rule says of the forecast beside its alerts.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Foreseen {
    /// Nothing: neither what is foreseen nor why nothing is.
    #[default]
    Unsaid,
    /// The forecasts of this quantity of the alert's device.
    Of(Quantity),
    /// Nothing can be foreseen, and why.
    Nothing(Texts),
}

/// As written: `panels: {forecast: water_level}` or `panels: {forecast: {none: {zh: …, en: …}}}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PanelsText {
    forecast: Spanned<ForecastText>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ForecastText {
    Of(String),
    Nothing(NothingText),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NothingText {
    none: Texts,
}

impl PanelsText {
    pub(crate) fn check(self, errors: &mut Errors) -> Option<Foreseen> {
        let place = self.forecast.referenced;
        match self.forecast.value {
            ForecastText::Of(name) => {
                let named = Spanned::new(name, place, self.forecast.defined);
                let quantity = |name: &str| {
                    Quantity::named(name).ok_or_else(|| {
                        said!(
                            "量表中没有 `{name}` 这个量",
                            "`{name}` is no quantity of the dictionary"
                        )
                    })
                };
                keep(errors, &named, quantity).map(Foreseen::Of)
            }
            ForecastText::Nothing(NothingText { none }) => {
                if none.zh.trim().is_empty() || none.en.trim().is_empty() {
                    errors.push(RuleError::at(
                        place,
                        said!(
                            "`none` 须用中英文两种语言说明为何没有预报",
                            "`none` says why in both languages"
                        ),
                    ));
                }
                Some(Foreseen::Nothing(none))
            }
        }
    }
}

impl Rule {
    /// What is foreseen beside its alerts: of a rule that looks ahead what it looks at.
    pub fn foreseen(&self) -> Foreseen {
        match (&self.panels, self.forecasts().next()) {
            (Foreseen::Unsaid, Some(asked)) => Foreseen::Of(asked.limit.quantity),
            (said, _) => said.clone(),
        }
    }
}

impl RuleSet {
    /// What its rules lack though they can be in force: a panel that they neither fill nor say why not.
    pub fn remarks(&self) -> Vec<RuleError> {
        let unsaid = self.rules().iter().zip(self.places());
        let unsaid = unsaid.filter(|(rule, _)| rule.foreseen() == Foreseen::Unsaid);
        unsaid
            .map(|(rule, place)| RuleError::at(*place, foreseen_is_unsaid(rule)))
            .collect()
    }
}

fn foreseen_is_unsaid(rule: &Rule) -> Texts {
    said!(
        "规则 `{id}` 未说明“可预”：请写明预报的量 `panels: {{forecast: QUANTITY}}`，或说明为何没有预报 \
         `panels: {{forecast: {{none: {{zh: …, en: …}}}}}}`",
        "rule `{id}` shows no forecast beside its alerts and does not say why: write `panels: {{forecast: QUANTITY}}` or \
         `panels: {{forecast: {{none: {{zh: …, en: …}}}}}}`",
        id = rule.id
    )
}
