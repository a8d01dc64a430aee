//! What a device said in each hour, read from the history and the engine behind it, as far as people found it true.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use onemap_model::{Quality, Quantity, Timestamp, Value};
use onemap_standards::hour::{CHANNELS, Found, Hour, Hours, Make, of_channels};
use onemap_store::engine::StoreError;
use onemap_store::history::{Point, SeriesInfo, Which};
use onemap_store::reviewed::{Best, Reviewed};

use crate::views::Views;

/// Which values, how their device measures, and how much of an hour is enough.
pub(super) struct Said<'a> {
    pub(super) series: &'a [SeriesInfo],
    /// What people found of each series.
    pub(super) reviewed: &'a [Reviewed],
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
    /// said something speaks; what a review left without a value is not another channel's to say. The ends of the hours
    /// with reviewed values go to `reviewed`.
    pub(super) fn hours(
        &self,
        views: &Views,
        (from, to): (Timestamp, Timestamp),
        make: Make,
        reviewed: &mut BTreeSet<i64>,
    ) -> Result<BTreeMap<i64, Hour>, StoreError> {
        let mut said = Vec::new();
        let channels = self.channel.map_or(CHANNELS.to_vec(), |channel| vec![channel]);
        for channel in channels {
            let is_it = |info: &SeriesInfo| info.key.quantity == self.quantity && info.key.channel == channel;
            let mut both = self.series.iter().zip(self.reviewed);
            let Some(series) = both.find(|(info, _)| is_it(info)) else {
                continue;
            };
            said.push(self.said(views, series, (from, to), make)?);
        }
        Ok(of_channels(said, self.cadence_s, self.hour_minutes, reviewed))
    }

    fn said(
        &self,
        views: &Views,
        (info, found): (&SeriesInfo, &Reviewed),
        (from, to): (Timestamp, Timestamp),
        make: Make,
    ) -> Result<Hours, StoreError> {
        let takes = |quality: Quality| quality.judgeable();
        let which = Which {
            known_at: self.known_at,
            // A review may hold of any value.
            takes: found
                .is_empty()
                .then_some(&takes as &(dyn Fn(Quality) -> bool + Sync)),
        };
        // An hour is without its beginning and with its end.
        let (first, behind) = (Timestamp::from_ms(from.ms() + 1), Timestamp::from_ms(to.ms() + 1));
        hours_of(make, info.key.channel, found, |take| {
            views.archive.scan_of(info.id, first, behind, which, take)
        })
    }
}

/// The hours of a channel, made of the values that a scan gives, as people found them.
///
/// # Errors
/// Those of the scan.
pub fn hours_of<E>(
    make: Make,
    channel: u16,
    found: &Reviewed,
    scan: impl FnOnce(&mut dyn FnMut(Point) -> ControlFlow<()>) -> Result<(), E>,
) -> Result<Hours, E> {
    let mut hours = Hours::of_channel(make, channel);
    scan(&mut |point| {
        if let Some((value, quality)) = found_of(found, &point) {
            hours.add_found(point.measured_at, value, quality);
        }
        ControlFlow::Continue(())
    })?;
    Ok(hours)
}

/// What people found of a value, and its marks; `None` when it is no number.
fn found_of(found: &Reviewed, point: &Point) -> Option<(Found, Quality)> {
    let mut quality = point.quality;
    let value = match found.best(point.measured_at, &point.value) {
        Best::Raw => Found::Sent(point.value.number()?),
        Best::Corrected(number) => Found::Corrected(number),
        Best::Reviewed(Value::Number(number), _) => Found::Reviewed(number),
        Best::Reviewed(Value::Text(_), _) => return None,
        Best::Doubted(value, _) => {
            quality = quality.with(Quality::SUSPECT);
            Found::Sent(value.number()?)
        }
        Best::Invalid(_) | Best::Implausible(Some(_)) => Found::Invalid,
        Best::Implausible(None) => Found::Implausible,
    };
    Some((value, quality))
}
