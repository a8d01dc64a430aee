//! What a device said in each hour, read from the history and the engine behind it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use onemap_model::{Quality, Quantity, Timestamp};
use onemap_standards::hour::{CHANNELS, Hour, Hours, Make};
use onemap_store::engine::StoreError;
use onemap_store::history::{SeriesId, SeriesInfo, Which};

use crate::views::Views;

/// Which values, how their device measures, and how much of an hour is enough.
pub(super) struct Said<'a> {
    pub(super) series: &'a [SeriesInfo],
    pub(super) quantity: Quantity,
    pub(super) channel: Option<u16>,
    pub(super) known_at: Option<Timestamp>,
    /// Seconds from one value to the next; 0 when nobody said.
    pub(super) cadence_s: u32,
    /// Minutes of an hour that it needs.
    pub(super) hour_minutes: usize,
}

impl Said<'_> {
    /// The hours by their ends in ms, those that end after `from` and not after `to`. Of each hour the first channel that
    /// said something speaks.
    pub(super) fn hours(
        &self,
        views: &Views,
        (from, to): (Timestamp, Timestamp),
        make: Make,
    ) -> Result<BTreeMap<i64, Hour>, StoreError> {
        let mut all = BTreeMap::new();
        let channels = self.channel.map_or(CHANNELS.to_vec(), |channel| vec![channel]);
        for channel in channels {
            let is_it =
                |info: &&SeriesInfo| info.key.quantity == self.quantity && info.key.channel == channel;
            let Some(info) = self.series.iter().find(is_it) else {
                continue;
            };
            let said = self.said(views, info.id, (from, to), make)?;
            for (end, hour) in said.finish(self.cadence_s, self.hour_minutes) {
                all.entry(end).or_insert(hour);
            }
        }
        Ok(all)
    }

    fn said(
        &self,
        views: &Views,
        id: SeriesId,
        (from, to): (Timestamp, Timestamp),
        make: Make,
    ) -> Result<Hours, StoreError> {
        let mut hours = Hours::new(make);
        let takes = |quality: Quality| quality.judgeable();
        let which = Which {
            known_at: self.known_at,
            takes: Some(&takes),
        };
        // An hour is without its beginning and with its end.
        let (first, behind) = (Timestamp::from_ms(from.ms() + 1), Timestamp::from_ms(to.ms() + 1));
        views.archive.scan_of(id, first, behind, which, &mut |point| {
            if let Some(number) = point.value.number() {
                hours.add(point.measured_at, number, point.quality);
            }
            ControlFlow::Continue(())
        })?;
        Ok(hours)
    }
}
