//! Care for the history beside everything else: closed days are packed, and every row is read again in time.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use onemap_dashboards::views::Views;
use onemap_store::history::{Cared, LetGo};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::pipeline::Room;

/// How often it is looked whether a day has closed, or something came late for one.
const EVERY: Duration = Duration::from_secs(600);
/// How long care waits that found no room on the disk, or failed, before it is tried again.
const RETRY: Duration = Duration::from_secs(10);
/// Rounds of letting go, a checkpoint between each two, that follow one care: the floor is raised, series forget, weeks
/// and rows go. Care of many days takes minutes, and what is to go would stay as long again for each of them.
const N_ROUNDS: u32 = 4;
/// A checkpoint that was due has been made by then.
const AFTER_CHECKPOINT: Duration = Duration::from_secs(1);
/// Between two slices of the scrub.
const SLICE_EVERY: Duration = Duration::from_secs(10);
/// Bytes that are read before others have their turn.
const N_BREATH: u64 = 256 << 10;
const BREATH: Duration = Duration::from_millis(5);

/// Packs closed days, rolls their hours up and lets go of what is past its retention until it is stopped; see
/// `History::care` and `History::let_go`. What waits for a checkpoint is looked at again after `checkpoint_every`.
/// While the disk has no room it waits: a write that fails costs everybody the history for a moment. Only whole weeks
/// go all the same, while there is a little.
pub(crate) async fn run(
    views: Arc<Views>,
    checkpoint_every: Duration,
    room: Room,
    stop: CancellationToken,
) -> Result<()> {
    let mut pause = Duration::ZERO;
    let mut is_told = false;
    let mut n_rounds = 0;
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(pause) => {}
        }
        let (views, room, stop) = (views.clone(), room.clone(), stop.clone());
        let is_care_due = n_rounds == 0;
        let cared = tokio::task::spawn_blocking(move || {
            let is_over = || stop.is_cancelled();
            if let Err(full) = room.check() {
                // What is past its time makes room by going.
                room.check_little()?;
                let gone = views.history.let_go_of_weeks(&is_over)?;
                return match is_nothing(&gone) && !gone.waits {
                    true => Err(full),
                    false => Ok((Cared::default(), gone)),
                };
            }
            let cared = match is_care_due {
                true => views.history.care((views.clock)(), &is_over)?,
                false => Cared::default(),
            };
            Ok::<_, anyhow::Error>((cared, views.history.let_go(&is_over)?))
        })
        .await
        .context("the care for closed days was cut short")?;
        pause = match &cared {
            Ok(_) => EVERY,
            Err(_) => RETRY,
        };
        let was_told = std::mem::replace(&mut is_told, cared.is_err());
        match cared {
            Ok((cared, gone)) => {
                n_rounds += 1;
                if gone == LetGo::default() || n_rounds == N_ROUNDS {
                    n_rounds = 0;
                }
                if gone != LetGo::default() {
                    pause = checkpoint_every + AFTER_CHECKPOINT;
                }
                if !is_nothing(&gone) {
                    info!(
                        quantities = gone.raised,
                        series = gone.trimmed,
                        weeks = gone.weeks,
                        rows = gone.rows,
                        "values past their retention are let go"
                    );
                }
                if cared.days == 0 {
                    continue;
                }
                info!(
                    days = cared.days,
                    chunks_before = cared.chunks_before,
                    chunks_after = cared.chunks_after,
                    bytes_before = cared.bytes_before,
                    bytes_after = cared.bytes_after,
                    "closed days are packed and rolled up"
                );
            }
            // It is tried again, and answers are the same without it.
            Err(error) if !was_told => warn!("closed days wait for their care: {error:#}"),
            Err(_) => {}
        }
    }
}

/// Whether nothing went in a round, and nothing is about to.
fn is_nothing(gone: &LetGo) -> bool {
    let waits = gone.waits;
    *gone
        == LetGo {
            waits,
            ..LetGo::default()
        }
}

/// Reads every row of the history again within `days` days until it is stopped; see `History::scrub`.
pub(crate) async fn scrub(views: Arc<Views>, days: u32, stop: CancellationToken) -> Result<()> {
    let mut clock = tokio::time::interval(SLICE_EVERY);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut last = Instant::now();
    let mut is_told = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = clock.tick() => {}
        }
        let since = last.elapsed();
        last = Instant::now();
        let (views, stop) = (views.clone(), stop.clone());
        let scrubbed = tokio::task::spawn_blocking(move || {
            let mut n_read = 0;
            let mut pace = |n_bytes| {
                n_read += n_bytes;
                if n_read >= N_BREATH {
                    n_read = 0;
                    std::thread::sleep(BREATH);
                }
                match stop.is_cancelled() {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                }
            };
            views.history.scrub((views.clock)(), since, days, &mut pace)
        })
        .await
        .context("the reading of all rows was cut short")?;
        match scrubbed {
            Ok(()) => is_told = false,
            // The same slice is read again; said once while it lasts.
            Err(error) if !is_told => {
                warn!(%error, "the rows of the history cannot be read again for now");
                is_told = true;
            }
            Err(_) => {}
        }
    }
}
