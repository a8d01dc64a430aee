//! `[history.retention]`: how long values and their hours are kept, by class of quantities.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use onemap_model::Quantity;
use onemap_store::history::{Class, Retention, Span};
use serde::Deserialize;

/// `[history.retention]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Written {
    /// Days that values are kept; 0 is for ever. Default 0: nothing goes unless it is said.
    raw_days: u32,
    /// Days that the hours of closed days are kept, not fewer than `raw_days`; 0 is for ever. Default 0.
    rollup_days: u32,
    /// Quantities that are kept for another time.
    class: Vec<WrittenClass>,
}

/// `[[history.retention.class]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenClass {
    /// Its name, in `onemap history stat`.
    name: String,
    /// Its quantities, by the names of `/api/v1/quantities`.
    quantities: Vec<String>,
    /// As above.
    #[serde(default)]
    raw_days: u32,
    /// As above.
    #[serde(default)]
    rollup_days: u32,
}

/// Values go by weeks: less than one cannot be kept.
const LEAST_DAYS: u32 = 7;

impl Written {
    pub(super) fn check(self) -> Result<Retention> {
        let default = span("[history.retention]", self.raw_days, self.rollup_days)?;
        let (mut names, mut taken) = (BTreeSet::from(["default".to_owned()]), BTreeSet::new());
        let mut classes = Vec::new();
        for class in self.class {
            let head = "[[history.retention.class]]";
            ensure!(
                !class.name.is_empty() && names.insert(class.name.clone()),
                "{head} name = \"{}\": a name of its own, and not \"default\"",
                class.name
            );
            let mut quantities = Vec::new();
            for name in &class.quantities {
                let quantity = Quantity::named(name)
                    .with_context(|| format!("{head} quantities: no quantity is called \"{name}\""))?;
                ensure!(
                    taken.insert(quantity),
                    "{head} quantities: \"{name}\" is named twice"
                );
                quantities.push(quantity);
            }
            classes.push(Class {
                span: span(head, class.raw_days, class.rollup_days)?,
                name: class.name,
                quantities,
            });
        }
        Ok(Retention { default, classes })
    }
}

fn span(head: &str, raw_days: u32, rollup_days: u32) -> Result<Span> {
    ensure!(
        raw_days == 0 || raw_days >= LEAST_DAYS,
        "{head} raw_days = {raw_days}: 0 (for ever) or at least {LEAST_DAYS}"
    );
    ensure!(
        rollup_days == 0 || (raw_days > 0 && rollup_days >= raw_days),
        "{head} rollup_days = {rollup_days}: 0 (for ever) or not less than raw_days ({raw_days})"
    );
    let days = |n: u32| (n > 0).then(|| Duration::from_secs(u64::from(n) * 86_400));
    Ok(Span {
        raw: days(raw_days),
        rollups: days(rollup_days),
    })
}
