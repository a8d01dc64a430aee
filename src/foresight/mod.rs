//! Foresight in service: models are trained nightly and when asked for, and say what they foresee at each step.
//!
//! Models are trained one after the other on a thread of their own, so that training takes a core and not the server, and
//! holds up no forecast. What is issued is a record of the journal before anybody sees it.

mod doubt;
mod gauge;
mod grid;
mod kept;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use onemap_dashboards::foresight::{Gauge, Trained};
use onemap_dashboards::views::Views;
use onemap_model::forecast::OWN;
use onemap_model::{Forecast, Review, Scope, SeriesKey, Timestamp, Verb};
use onemap_store::ledger::ForecastFilter;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::{ForecastPart, GaugePart};
use gauge::{Kept, KeptEvidence, Taught};
use grid::Marks;

/// How often it is looked what is due.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A step's values may come late by this part of it, within these bounds; then the forecast is issued.
const SETTLES: i64 = 12;
const SETTLE_MS: (i64, i64) = (2_000, 900_000);
/// A model that could not be trained is tried again after this, and a first one sooner: its values may just be coming.
const AGAIN: Duration = Duration::from_secs(3_600);
const FIRST_AGAIN: Duration = Duration::from_secs(30);
/// A training stands for this part of the time that it has seen, so that a new series is soon trained on more.
const STANDS_FOR: f64 = 0.2;
const LEAST_STANDING: Duration = Duration::from_secs(6 * 3_600);
/// Inputs that are gone for so long, and for so many steps, are trained without.
const LEFT: Duration = Duration::from_secs(3 * 3_600);
const LEFT_STEPS: u32 = 3;
/// Forecasts among which one of the present mark would be.
const N_NEWEST: usize = 8;
const DAY_MIN: i64 = 1_440;
const BEIJING_MIN: i64 = 480;

/// A series and what is held of it here.
struct Foreseen {
    part: GaugePart,
    kept: Option<Arc<Kept>>,
    taught: Option<Taught>,
    /// The mark at which it was last looked.
    looked_ms: i64,
    /// When it was last tried to train it.
    tried: Option<Timestamp>,
    /// Since when inputs speak that no model of it puts to use together.
    wanting_since: Option<Timestamp>,
}

impl Foreseen {
    /// Whether inputs have been gone, or back, for long enough that a model of those that are left is worth a training.
    fn is_left(&self, now: Timestamp) -> bool {
        let step = Duration::from_secs(u64::from(self.part.step_s));
        let since = |wanting| now.since(wanting) >= LEFT.max(LEFT_STEPS * step);
        self.wanting_since.is_some_and(since)
    }
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

/// The file of what a series' model is solved again from.
fn evidence_file(data_dir: &Path, key: &SeriesKey) -> PathBuf {
    file(data_dir, key).with_extension("evidence.json")
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
            let kept = taken_up(&data_dir, one).map(Arc::new);
            views.foresight.put(&one.target, gauge_of(one, kept.as_deref()));
            Foreseen {
                part: one.clone(),
                kept,
                taught: None,
                looked_ms: 0,
                tried: None,
                wanting_since: None,
            }
        })
        .collect();
    let mut training: Option<Training> = None;
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = views.foresight.asked() => {}
            (of, made) = ended(&mut training) => trained(&views, &mut all[of], made?),
        }
        let (of, stopped) = (views.clone(), stop.clone());
        let looked = tokio::task::spawn_blocking(move || {
            let looked = look(&of, &mut all, &stopped);
            (all, looked)
        });
        let (back, Looked { issued, doubted }) = looked.await.context("foresight was cut short")?;
        all = back;
        if training.is_none()
            && let Some(next) = due(&views, &mut all, part.train_at_min)
        {
            if all[next.of].kept.is_none() {
                let why = "its first model is being trained".to_owned();
                views.foresight.told(&all[next.of].part.target, Some(why));
            }
            let (of, one, folder) = (views.clone(), all[next.of].part.clone(), data_dir.clone());
            let before = all[next.of].kept.clone().filter(|_| !next.is_anew);
            let (days, now) = (part.history_days, views.now());
            let job =
                tokio::task::spawn_blocking(move || made(&of, &one, before.as_deref(), days, &folder, now));
            training = Some((next.of, job));
        }
        for review in doubted {
            let (series, reason) = (review.series.clone(), review.reason.clone());
            let act = Verb::Review(Box::new(review));
            match views.acts.record_act(&Scope::local(OWN), views.now(), act).await {
                Ok(position) => info!(position, %series, %reason, "values are doubted"),
                Err(error) => warn!(%error, %series, "what looks like a fault cannot be kept"),
            }
        }
        if issued.is_empty() {
            continue;
        }
        let last = issued.last().map(|forecast| forecast.series.clone());
        let n = issued.len();
        // Written by the server itself.
        match views
            .acts
            .record_forecasts(&Scope::local(OWN), views.now(), issued)
            .await
        {
            Ok(position) => info!(position, n, "forecasts are issued"),
            Err(error) => warn!(%error, ?last, "forecasts cannot be kept, and are not issued"),
        }
    }
}

/// Which series is trained, and what comes of it.
type Training = (usize, tokio::task::JoinHandle<Result<Kept>>);

/// Waits until a training ends; for ever while there is none.
async fn ended(training: &mut Option<Training>) -> (usize, Result<Result<Kept>>) {
    let Some((of, job)) = training else {
        return std::future::pending().await;
    };
    let ended = (*of, job.await.context("a training was cut short"));
    *training = None;
    ended
}

fn gauge_of(part: &GaugePart, kept: Option<&Kept>) -> Gauge {
    Gauge {
        inputs: part.names().split_off(1),
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

/// A model that is to be made.
struct Due {
    /// Index of the series.
    of: usize,
    /// It is trained and not solved again: somebody asks for it, or other inputs speak than its model knows together.
    is_anew: bool,
}

/// The series whose model is made next: one that is asked for, else one whose model is of yesterday or missing.
fn due(views: &Views, all: &mut [Foreseen], train_at_min: u32) -> Option<Due> {
    let now = views.now();
    let asked = all
        .iter()
        .position(|one| views.foresight.take_order(&one.part.target));
    let is_due = |one: &Foreseen| {
        let (is_wanted, again) = match &one.kept {
            None => (true, FIRST_AGAIN),
            Some(kept) => {
                let Trained { at, refit_at, .. } = kept.trained;
                // A model of a clock that was ahead is none of yesterday.
                let is_old = at > now || is_old(refit_at.unwrap_or(at), now, train_at_min);
                let has_stood = now.since(at) >= stands_for(&one.part.target, &kept.trained);
                (is_old || has_stood || one.is_left(now), AGAIN)
            }
        };
        is_wanted
            && one
                .tried
                .is_none_or(|tried| tried > now || now.since(tried) >= again)
    };
    let next = asked.or_else(|| all.iter().position(is_due))?;
    let is_left = all[next].is_left(now);
    all[next].tried = Some(now);
    Some(Due {
        of: next,
        is_anew: asked.is_some() || is_left,
    })
}

/// What is there to be said now.
#[derive(Default)]
struct Looked {
    issued: Vec<Forecast>,
    doubted: Vec<Review>,
}

/// Whether the forecast of a mark was issued before: by the server before its restart, or before its clock was set back.
fn is_issued(views: &Views, key: &SeriesKey, mark_ms: i64) -> Result<bool> {
    let filter = ForecastFilter {
        series: Some(key.to_string()),
        source: Some(OWN.to_owned()),
        ..ForecastFilter::default()
    };
    let newest = views.ledger.forecasts(&filter, None, N_NEWEST)?;
    Ok(newest.iter().any(|row| row.forecast.origin.ms() == mark_ms))
}

/// What is issued now, and what is doubted of what came.
fn look(views: &Views, all: &mut [Foreseen], stop: &CancellationToken) -> Looked {
    let mut looked = Looked::default();
    for one in all {
        if stop.is_cancelled() {
            break;
        }
        let now = views.now();
        let key = one.part.target.clone();
        let Some(kept) = &one.kept else { continue };
        let step_ms = i64::from(one.part.step_s) * 1000;
        let settles_ms = (step_ms / SETTLES).clamp(SETTLE_MS.0, SETTLE_MS.1);
        let settled = Timestamp::from_ms(now.ms() - settles_ms);
        let mark_ms = Marks::of(key.quantity, one.part.step_s).before(settled);
        // A clock that was ahead has come back: its marks come again.
        if mark_ms == one.looked_ms || (mark_ms < one.looked_ms && one.looked_ms <= now.ms()) {
            continue;
        }
        one.looked_ms = mark_ms;
        match is_issued(views, &key, mark_ms) {
            Ok(false) => {}
            Ok(true) => continue,
            Err(error) => {
                warn!(series = %key, "what was issued cannot be read: {error:#}");
                views.foresight.told(&key, Some(format!("{error:#}")));
                continue;
            }
        }
        match gauge::issue(views, &one.part, kept, &mut one.taught, (mark_ms, now)) {
            Ok(Some(said)) => {
                views.foresight.told(&key, None);
                one.wanting_since = said
                    .is_wanting
                    .then(|| one.wanting_since.filter(|since| *since <= now).unwrap_or(now));
                looked.issued.push(said.forecast);
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
        let Some(detector) = &kept.detector else { continue };
        match doubt::doubts(views, &one.part, detector, mark_ms) {
            Ok(doubted) => looked.doubted.extend(doubted),
            Err(error) => warn!(series = %key, "it is not looked for faults: {error:#}"),
        }
    }
    looked
}

/// The model of before solved again, or one that is trained: the first, after some days, when forecasts have become worse
/// than the present value, and where nothing of before is there.
fn made(
    views: &Views,
    part: &GaugePart,
    before: Option<&Kept>,
    days: u32,
    data_dir: &Path,
    now: Timestamp,
) -> Result<Kept> {
    let key = &part.target;
    let (model_file, evidence_file) = (file(data_dir, key), evidence_file(data_dir, key));
    let stands = before.filter(|kept| now.since(kept.trained.at) < stands_for(key, &kept.trained));
    let evidence = stands.and_then(|_| evidence_of(&evidence_file, key));
    if let (Some(kept), Some(mut evidence)) = (stands, evidence) {
        match gauge::refit(views, part, kept, &mut evidence, now) {
            Ok(Some(kept)) => {
                kept::write(&evidence_file, &evidence).and_then(|()| kept::write(&model_file, &kept))?;
                return Ok(kept);
            }
            Ok(None) => {}
            Err(error) => info!(series = %key, "the model is trained and not solved again: {error:#}"),
        }
    }
    let (kept, evidence) = gauge::train(views, part, days, now)?;
    info!(series = %key, model = %kept.trained.model, values = kept.trained.values, "a model is trained");
    if let Err(error) = kept::write(&evidence_file, &evidence).and_then(|()| kept::write(&model_file, &kept))
    {
        warn!(series = %key, "a model is not kept, and is trained again after a restart: {error:#}");
    }
    Ok(kept)
}

/// How long a training stands before another is due: four to ten days, so that not all are due in one night; of a series that
/// is young, a part of its age.
fn stands_for(key: &SeriesKey, trained: &Trained) -> Duration {
    let days = 4 + u64::from(Sha256::digest(key.to_string())[0] % 7);
    let seen = trained.last.since(trained.first).mul_f64(STANDS_FOR);
    seen.clamp(LEAST_STANDING, Duration::from_secs(days * 86_400))
}

/// Takes a model that was made.
fn trained(views: &Views, one: &mut Foreseen, made: Result<Kept>) {
    let key = &one.part.target;
    match made {
        Ok(kept) => {
            views.foresight.put(key, gauge_of(&one.part, Some(&kept)));
            one.kept = Some(Arc::new(kept));
            one.taught = None;
            one.wanting_since = None;
        }
        Err(error) => {
            // What is said of it stays to be seen; a model of before goes on.
            info!(series = %key, "no model: {error:#}");
            views.foresight.told(key, Some(format!("{error:#}")));
        }
    }
}

/// The model of a series that was written before, if it is whole and of these settings; else it is said why not.
fn taken_up(data_dir: &Path, part: &GaugePart) -> Option<Kept> {
    let key = &part.target;
    match kept::read::<Kept>(&file(data_dir, key)) {
        Ok(Some(kept)) if kept.is_of(part) => Some(kept),
        Ok(Some(_)) => {
            warn!(series = %key, "its model is of another version or of other settings, and is trained anew");
            None
        }
        Ok(None) => None,
        Err(error) => {
            warn!(series = %key, "its model is not taken up, and is trained anew: {:#}", anyhow::Error::from(error));
            None
        }
    }
}

/// What the model of a series is solved again from, if it is whole; else it is said why not.
fn evidence_of(path: &Path, key: &SeriesKey) -> Option<KeptEvidence> {
    kept::read(path).unwrap_or_else(|error| {
        warn!(series = %key, "what its model is solved again from is not taken up: {:#}", anyhow::Error::from(error));
        None
    })
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
