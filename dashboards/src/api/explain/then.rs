//! How rules stood to a series at a time that is past.
//!
//! The values that the history had by then go, in the order in which they came, through an engine of their own with the
//! rules and the register of now. So lateness is what it was; rules and devices are what they are.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::time::Duration;

use onemap_model::{Observation, Quality, Quantity, Reading, RuleId, SeriesKey, Timestamp};
use onemap_rules::Engine;
use onemap_store::history::Which;

use super::POISON;
use crate::error::Problem;
use crate::hindsight::{around, quantities, reach};
use crate::stand::Stand;
use crate::views::Views;

/// So far back is looked at least; a rule that weighs longer times asks for more.
const BACK: Duration = Duration::from_secs(86_400);
/// And at most.
const FURTHEST_BACK: Duration = Duration::from_secs(31 * 86_400);
/// The clock of the engine goes on by this: after ten seconds without a record it would think that nobody listened.
const TICK: Duration = Duration::from_secs(5);
/// Values that are looked at; a series of each second for two days.
const N_VALUES: usize = 200_000;

/// Blocks while values are read.
pub(super) fn stood(
    views: &Views,
    series: &SeriesKey,
    rule: Option<&RuleId>,
    at: Timestamp,
) -> Result<Stand, Problem> {
    let files: Vec<_> = {
        let files = views.rules.read().expect(POISON);
        files
            .iter()
            .map(|(name, file)| (name.clone(), file.set.clone()))
            .collect()
    };
    let rules: Vec<_> = files.iter().flat_map(|(_, set)| set.rules()).cloned().collect();
    let wanted = rules.iter().filter(|own| rule.is_none_or(|rule| own.id == *rule));
    let back = wanted.clone().map(|rule| reach(rule)).max().unwrap_or(BACK);
    let back = back.clamp(BACK, FURTHEST_BACK).as_millis() as i64;
    let from = Timestamp::from_ms(at.ms().saturating_sub(back));
    let mut engine = Engine::new();
    let mut devices = BTreeSet::from([series.device.clone()]);
    {
        let register = views.register.read().expect(POISON);
        for rule in wanted.clone() {
            devices.extend(around(&register, series, rule));
        }
        for id in &devices {
            let Some(device) = register.view.devices.get(id) else {
                continue;
            };
            let mut device = (**device).clone();
            device.cadence_s = register.cadence_s(&device);
            engine.set_device(from, 0, &device, register.divisions.get(id));
            let silent_after_s = register.silent_after.get(id).copied().unwrap_or(0);
            engine.set_silent_after(id, silent_after_s);
            let known = register.view.hydrology.get(id).map(AsRef::as_ref);
            engine.set_stages(from, 0, id, known);
        }
    }
    let quantities: BTreeSet<Quantity> = wanted.flat_map(|rule| quantities(rule)).collect();
    for (name, set) in files {
        engine.set_file(from, 0, &name, Some((*set).clone()));
    }
    let mut seen = Vec::new();
    for device in &devices {
        let is_own = *device == series.device;
        for info in views.history.series_of(device) {
            // Of the own device everything counts for its silence.
            if is_own || quantities.contains(&info.key.quantity) {
                values(views, &info.key, from, at, &mut seen)?;
            }
        }
    }
    seen.sort_by_key(|seen| (seen.reading.received_at, seen.reading.measured_at));
    let mut now = from;
    for observation in &seen {
        let received_at = observation.reading.received_at.max(now);
        while now + TICK < received_at {
            now = now + TICK;
            engine.tick(now, 0);
        }
        now = received_at;
        engine.observe(now, observation);
    }
    while now < at {
        now = (now + TICK).min(at);
        engine.tick(now, 0);
    }
    Ok(Stand::of(&engine, at, series, rule))
}

/// What the history had of a series by then, as it came.
fn values(
    views: &Views,
    key: &SeriesKey,
    from: Timestamp,
    at: Timestamp,
    seen: &mut Vec<Observation>,
) -> Result<(), Problem> {
    let Some(id) = views.history.series_id(key) else {
        return Ok(());
    };
    let (kind, division) = {
        let register = views.register.read().expect(POISON);
        let device = register.view.devices.get(&key.device);
        let kind = device.map(|device| device.kind.to_string()).unwrap_or_default();
        (kind.into(), register.divisions.get(&key.device).cloned())
    };
    let mut is_full = false;
    let take = &mut |version: onemap_store::history::Version| {
        // What the backfill brought was not judged then either.
        if version.received_at <= at && !version.quality.has(Quality::BACKFILL) {
            is_full = seen.len() >= N_VALUES;
            if is_full {
                return ControlFlow::Break(());
            }
            seen.push(Observation {
                reading: Reading {
                    series: key.clone(),
                    measured_at: version.measured_at,
                    period: Duration::ZERO,
                    received_at: version.received_at,
                    value: version.value,
                    quality: version.quality,
                    position: 0,
                },
                kind: std::sync::Arc::clone(&kind),
                division: division.clone(),
                every_s: 0,
            });
        }
        ControlFlow::Continue(())
    };
    views
        .archive
        .scan_versions(id, from, at, Which::default(), take)
        .map_err(|e| Problem::bad_request("not_held", e.to_string()))?;
    if is_full {
        let told = format!("more than {N_VALUES} values lie before that time: name one rule with rule=");
        return Err(Problem::bad_request("too_much", told));
    }
    Ok(())
}
