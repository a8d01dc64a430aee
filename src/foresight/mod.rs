//! Foresight in service: models are trained nightly and when asked for, and say what they foresee at each step.
//!
//! One series after the other, on one thread of its own at most, so that training takes a core and not the server. What is
//! issued is a record of the journal before anybody sees it.

mod gauge;
mod grid;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use onemap_dashboards::foresight::Gauge;
use onemap_dashboards::views::Views;
use onemap_model::{Forecast, Scope, SeriesKey, Timestamp};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::{ForecastPart, GaugePart};
use gauge::{Kept, Taught};
use grid::Marks;

/// How often it is looked what is due.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A step's values may come late by this part of it, within these bounds; then the forecast is issued.
const SETTLES: i64 = 12;
const SETTLE_MS: (i64, i64) = (2_000, 900_000);
/// A model that could not be trained is tried again after this.
const AGAIN: Duration = Duration::from_secs(3_600);
const DAY_MIN: i64 = 1_440;
const BEIJING_MIN: i64 = 480;

/// A series and what is held of it here.
struct Foreseen {
    part: GaugePart,
    kept: Option<Kept>,
    taught: Option<Taught>,
    /// The mark at which it was last looked.
    looked_ms: i64,
    /// When it was last tried to train it.
    tried: Option<Timestamp>,
}

/// The folder of models.
pub(crate) fn dir(data_dir: &Path) -> PathBuf {
    data_dir.join("models")
}

/// The file of a series' model. Its name is a digest: devices' names are no file names.
fn file(data_dir: &Path, key: &SeriesKey) -> PathBuf {
    let digest = Sha256::digest(key.to_string());
    let name: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    dir(data_dir).join(format!("{name}.json"))
}

/// Foresees what the configuration names until it is stopped.
pub(crate) async fn run(
    views: Arc<Views>,
    part: ForecastPart,
    data_dir: PathBuf,
    stop: CancellationToken,
) -> Result<()> {
    if part.series.is_empty() {
        return Ok(());
    }
    let folder = dir(&data_dir);
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut all: Vec<Foreseen> = part
        .series
        .iter()
        .map(|one| {
            let bytes = std::fs::read(file(&data_dir, &one.target)).ok();
            let kept = bytes.and_then(|bytes| Kept::read(&bytes, one));
            views.foresight.put(&one.target, gauge_of(one, kept.as_ref()));
            Foreseen {
                part: one.clone(),
                kept,
                taught: None,
                looked_ms: 0,
                tried: None,
            }
        })
        .collect();
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = views.foresight.asked() => {}
        }
        let (of, days, at, dir, ended) = (
            views.clone(),
            part.history_days,
            part.train_at_min,
            data_dir.clone(),
            stop.clone(),
        );
        let looked = tokio::task::spawn_blocking(move || {
            let issued = look(&of, &mut all, (days, at), &dir, &ended);
            (all, issued)
        });
        let (back, issued) = looked.await.context("foresight was cut short")?;
        all = back;
        if issued.is_empty() {
            continue;
        }
        let last = issued.last().map(|forecast| forecast.series.clone());
        let n = issued.len();
        // Written by the server itself.
        match views
            .acts
            .record_forecasts(&Scope::local("onemap"), views.now(), issued)
            .await
        {
            Ok(position) => info!(position, n, "forecasts are issued"),
            Err(error) => warn!(%error, ?last, "forecasts cannot be kept, and are not issued"),
        }
    }
}

fn gauge_of(part: &GaugePart, kept: Option<&Kept>) -> Gauge {
    Gauge {
        inputs: part.inputs.iter().map(ToString::to_string).collect(),
        step_s: part.step_s,
        leads_s: part
            .leads
            .iter()
            .map(|steps| *steps as u32 * part.step_s)
            .collect(),
        threshold: part.threshold,
        trained: kept.map(|kept| kept.trained.clone()),
        why_not: None,
    }
}

/// Whether the time of the nightly training has come since a model was made.
fn is_old(trained: Timestamp, now: Timestamp, at_min: u32) -> bool {
    let day = |at: Timestamp| (at.ms() / 60_000 + BEIJING_MIN - i64::from(at_min)).div_euclid(DAY_MIN);
    day(trained) < day(now)
}

/// Trains what is to be trained and gives what is issued now.
fn look(
    views: &Views,
    all: &mut [Foreseen],
    (history_days, train_at_min): (u32, u32),
    data_dir: &Path,
    stop: &CancellationToken,
) -> Vec<Forecast> {
    let mut issued = Vec::new();
    for one in all {
        if stop.is_cancelled() {
            break;
        }
        let now = views.now();
        let key = one.part.target.clone();
        let is_due = match &one.kept {
            Some(kept) => is_old(kept.trained.at, now, train_at_min),
            None => true,
        };
        let is_rested = one.tried.is_none_or(|tried| now.since(tried) >= AGAIN);
        if views.foresight.take_order(&key) || (is_due && is_rested) {
            one.tried = Some(now);
            train(views, one, history_days, data_dir, now);
        }
        let Some(kept) = &one.kept else { continue };
        let step_ms = i64::from(one.part.step_s) * 1000;
        let settles_ms = (step_ms / SETTLES).clamp(SETTLE_MS.0, SETTLE_MS.1);
        let settled = Timestamp::from_ms(now.ms() - settles_ms);
        let mark_ms = Marks::of(key.quantity, one.part.step_s).before(settled);
        if mark_ms <= one.looked_ms {
            continue;
        }
        one.looked_ms = mark_ms;
        match gauge::issue(views, &one.part, kept, &mut one.taught, (mark_ms, now)) {
            Ok(Some(forecast)) => {
                views.foresight.told(&key, None);
                issued.push(forecast);
            }
            Ok(None) => {
                let why = format!("no value of {key} at {}", Timestamp::from_ms(mark_ms));
                views.foresight.told(&key, Some(why));
            }
            Err(error) => {
                warn!(series = %key, "nothing is foreseen: {error:#}");
                views.foresight.told(&key, Some(format!("{error:#}")));
            }
        }
    }
    issued
}

fn train(views: &Views, one: &mut Foreseen, history_days: u32, data_dir: &Path, now: Timestamp) {
    let key = &one.part.target;
    match gauge::train(views, &one.part, history_days, now) {
        Ok(kept) => {
            info!(series = %key, model = %kept.trained.model, values = kept.trained.values, "a model is trained");
            if let Err(error) = keep(&file(data_dir, key), &kept) {
                warn!(series = %key, "a model is not kept, and is trained again after a restart: {error:#}");
            }
            views.foresight.put(key, gauge_of(&one.part, Some(&kept)));
            one.kept = Some(kept);
            one.taught = None;
        }
        Err(error) => {
            // What is said of it stays to be seen; a model of before goes on.
            info!(series = %key, "no model: {error:#}");
            views.foresight.told(key, Some(format!("{error:#}")));
        }
    }
}

/// Whole or not at all.
fn keep(path: &Path, kept: &Kept) -> Result<()> {
    let text = serde_json::to_vec(kept).context("the model cannot be written")?;
    let part = path.with_extension("part");
    std::fs::write(&part, text)
        .and_then(|()| std::fs::rename(&part, path))
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_made_anew_each_night() {
        let at = |hours: i64, minutes: i64| {
            // 2025-11-23T00:00+08:00 and so much.
            Timestamp::from_ms(1_763_827_200_000 + (hours * 60 + minutes) * 60_000)
        };
        let half_past_two = 150;
        assert!(!is_old(at(3, 0), at(26, 29), half_past_two));
        assert!(is_old(at(3, 0), at(26, 30), half_past_two));
        assert!(is_old(at(2, 29), at(2, 30), half_past_two));
        assert!(!is_old(at(2, 30), at(2, 30), half_past_two));
    }
}
