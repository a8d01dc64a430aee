//! Where readings go, found for a run of them before they are folded.
//!
//! What one reading touches lies at some five places of memory, each found by way of the one before. Of two
//! readings none waits for the other there, so that a run of them looked up side by side waits about once where each
//! would wait alone.

use onemap_model::Observation;

use super::Engine;

/// Readings that are looked up together: more than a processor waits for at a time, and few enough to be still in
/// its cache when they are folded.
pub(super) const N_AHEAD: usize = 32;

/// The numbers of a reading's device and series, `None` where they were not known yet when they were looked up.
///
/// Numbers are given once and never change, so that what was found stays right; what was not found is to be looked
/// for again, since a reading before may have made it known.
#[derive(Clone, Copy, Default)]
pub(super) struct Target {
    pub(super) device: Option<u32>,
    pub(super) series: Option<u32>,
}

impl Engine {
    /// Looks up where readings go, as far as it is known, and has what they will touch brought near. A run has at most
    /// [`N_AHEAD`]; the targets beyond its length are none.
    pub(super) fn look_ahead(&self, run: &[&Observation]) -> [Target; N_AHEAD] {
        let mut targets = [Target::default(); N_AHEAD];
        for (target, seen) in targets.iter_mut().zip(run) {
            target.device = self.device_index.get(&seen.reading.series.device).copied();
        }
        for (target, seen) in targets.iter_mut().zip(run) {
            let series = &seen.reading.series;
            target.series = target
                .device
                .and_then(|device| self.find_series(device, series.quantity, series.channel));
        }
        let touched = targets[..run.len()].iter().fold(0, |touched, target| {
            let device = target.device.map_or(0, |i| self.devices[i as usize].touched());
            let series = target.series.map_or(0, |i| self.series[i as usize].touched());
            touched ^ device ^ series
        });
        std::hint::black_box(touched);
        targets
    }
}
