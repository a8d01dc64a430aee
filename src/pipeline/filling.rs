//! Records of a longer period that a station sends again for reports that did not come.
//!
//! A station that reports each minute is asked for what is missing as minute data (HJ 212: 2051), which stand for ten minutes
//! and more. The gap ledger counts by the station's cadence: such a record fills as many reports as its period holds, less
//! those of them that came.

use std::ops::ControlFlow;
use std::time::Duration;

use anyhow::Result;
use onemap_model::{Device, Quality, Reading, Source, Timestamp};
use onemap_store::history::{Kind, Outcome};

use super::fold::Fold;

/// Longest period that fills: the ledger's hour.
const LONGEST: Duration = Duration::from_secs(3600);
/// Channels of HJ 212 from here on are of data for a period.
const OF_PERIODS: u16 = 10;

impl Fold<'_> {
    /// By the time of their readings: for how many reports that did not come a frame's resent records stand.
    pub(super) fn fills(
        &self,
        source: Source,
        device: &Device,
        readings: &[Reading],
        outcomes: &[Outcome],
    ) -> Result<Vec<(Timestamp, u32)>> {
        let mut fills: Vec<(Timestamp, u32)> = Vec::new();
        if source != Source::Hj212 || !readings.iter().any(|r| r.quality.has(Quality::RESENT)) {
            return Ok(fills);
        }
        let cadence_s = {
            let register = self.views.register.read().expect("no holder of this lock panics");
            register.cadence_s(device)
        };
        let cadence = Duration::from_secs(u64::from(cadence_s));
        for (reading, outcome) in readings.iter().zip(outcomes) {
            let of_cadence = n_within(reading.period, cadence);
            let Some(n) = of_cadence.filter(|_| reading.quality.has(Quality::RESENT)) else {
                continue;
            };
            let at = reading.measured_at;
            if fills.iter().any(|(known, _)| *known == at) {
                continue;
            }
            let is_new = matches!(outcome.kind, Kind::New | Kind::Late);
            let n = match is_new && !self.has_record(readings, reading)? {
                true => n.saturating_sub(self.n_came(device, at.saturating_sub(reading.period), at)?),
                false => 0,
            };
            fills.push((at, n));
        }
        Ok(fills)
    }

    /// Whether another frame has given a record of the same kind and time: a packet of the same set, or this one before.
    fn has_record(&self, frame: &[Reading], record: &Reading) -> Result<bool> {
        let history = &self.views.history;
        let at = record.measured_at;
        for series in history.series_of(&record.series.device) {
            let is_of_frame = frame
                .iter()
                .any(|reading| reading.series == series.key && reading.measured_at == at);
            if is_of_frame || series.key.channel / 10 != record.series.channel / 10 {
                continue;
            }
            let mut is_there = false;
            history.scan(series.id, at, Timestamp::from_ms(at.ms() + 1), &mut |_| {
                is_there = true;
                ControlFlow::Break(())
            })?;
            if is_there {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// How many reports of single times came from `from` to before `to`.
    fn n_came(&self, device: &Device, from: Timestamp, to: Timestamp) -> Result<u32> {
        let history = &self.views.history;
        let mut most = 0;
        for series in history.series_of(&device.id) {
            if series.key.channel >= OF_PERIODS {
                continue;
            }
            let mut n = 0;
            history.scan(series.id, from, to, &mut |_| {
                n += 1;
                ControlFlow::Continue(())
            })?;
            most = most.max(n);
        }
        Ok(most)
    }
}

/// How many reports of a cadence a period holds; `None` where it is no longer than they are apart, or over an hour.
fn n_within(period: Duration, cadence: Duration) -> Option<u32> {
    if cadence.is_zero() || period < cadence * 2 || period > LONGEST {
        return None;
    }
    u32::try_from(period.as_secs() / cadence.as_secs()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_fills_what_its_period_holds_of_the_cadence() {
        let s = Duration::from_secs;
        for (period, cadence, n) in [
            (600, 60, Some(10)),
            (600, 300, Some(2)),
            (3600, 60, Some(60)),
            (600, 600, None),
            (3600, 3600, None),
            (0, 60, None),
            (600, 0, None),
            (86_400, 60, None),
        ] {
            assert_eq!(n_within(s(period), s(cadence)), n, "{period} {cadence}");
        }
    }
}
