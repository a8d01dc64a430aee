//! Reviews and corrections as they are folded: which hours of which device say something else now.

use onemap_model::{Act, DeviceId, Quantity, Timestamp, Verb};

use super::fold::Fold;

impl Fold<'_> {
    /// Takes an act about the values of a series; whether it was one. What it says stands with the acts in the
    /// ledger and is looked up when values are read: nothing of the history changes.
    pub(super) fn series_act(&mut self, act: &Act) -> bool {
        match &act.verb {
            Verb::Review(review) => {
                let series = &review.series;
                self.reopens(&series.device, series.quantity, (review.from, review.to));
            }
            Verb::Correct(correction) => {
                let series = &correction.series;
                let span = (correction.from, correction.end());
                self.reopens(&series.device, series.quantity, span);
            }
            Verb::WithdrawCorrection { series, from, to, .. } => {
                let span = (*from, to.unwrap_or(Timestamp::from_ms(i64::MAX)));
                self.reopens(&series.device, series.quantity, span);
            }
            // Marks days; no value is another by it.
            Verb::Dust(_) | Verb::WithdrawDust { .. } => {}
            _ => return false,
        }
        true
    }

    /// The best values of a device's quantity are others now from a measuring time to before another: what was made of
    /// them is made again.
    fn reopens(&mut self, device: &DeviceId, quantity: Quantity, span: (Timestamp, Timestamp)) {
        self.reviewed.insert(device.clone());
        self.pending.ends = true;
        self.opens_span(device, quantity, span);
    }
}
