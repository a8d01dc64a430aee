//! Which device, which of its series, and from when to when.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use onemap_model::{Device, Quantity, Scope, Timestamp};
use onemap_standards::hour::{Came, HOUR_MS, Hour, Make};
use onemap_store::engine::StoreError;
use onemap_store::history::SeriesInfo;
use onemap_store::reviewed::Reviewed;

use super::hours::Said;
use crate::api::query::basis::{Basis, reviewed};
use crate::api::query::kept::KeptRow;
use crate::api::query::span::Span;
use crate::api::time;
use crate::error::Problem;
use crate::views::Views;

const BEIJING_MS: i64 = 8 * HOUR_MS;

/// What every question of this kind says.
pub(super) struct Question<'a> {
    pub(super) device: &'a str,
    pub(super) from: Option<&'a str>,
    pub(super) to: Option<&'a str>,
    pub(super) channel: Option<u16>,
    pub(super) known_at: Option<&'a str>,
    /// The best of each value when nothing is said.
    pub(super) basis: Option<Basis>,
}

/// A question that can be answered.
pub(super) struct Asked {
    pub(super) device: Arc<Device>,
    pub(super) span: Span,
    pub(super) series: Vec<SeriesInfo>,
    pub(super) known_at: Option<Timestamp>,
    pub(super) basis: Basis,
    channel: Option<u16>,
    /// What people found of each series, in their order.
    reviewed: Vec<Reviewed>,
    /// Ends of the hours with a value that a review holds of, as far as they were read.
    reviewed_hours: RefCell<BTreeSet<i64>>,
}

impl Asked {
    /// The device, if the scope may see it, and its series of some quantities.
    pub(super) async fn of(
        views: &Arc<Views>,
        scope: &Scope,
        question: &Question<'_>,
        quantities: &[&str],
    ) -> Result<Self, Problem> {
        let id = question.device;
        let device = views
            .device(scope, id)
            .ok_or_else(|| Problem::not_found("unknown_device", format!("no device is called `{id}`")))?;
        let span = Span::parse(question.from, question.to, views.now())?;
        span.check_steps(Duration::from_millis(HOUR_MS as u64), 1)?;
        let known_at = question.known_at.map(|t| time("known_at", t)).transpose()?;
        let mut series = views.history.series_of(&device.id);
        series.retain(|info| quantities.contains(&info.key.quantity.name()));
        span.check_points(series.iter())?;
        let basis = question.basis.unwrap_or(Basis::Best);
        Basis::of_one(Some(basis), "an index is")?;
        let keys = series.iter().map(|info| info.key.clone()).collect();
        // The value at the end belongs to the period that ends there.
        let around = (span.from, Timestamp::from_ms(span.to.ms().saturating_add(1)));
        let reviewed = reviewed(views, basis, keys, around, known_at).await?;
        Ok(Self {
            device,
            span,
            series,
            known_at,
            basis,
            channel: question.channel,
            reviewed,
            reviewed_hours: RefCell::default(),
        })
    }

    /// First and last end of the periods that lie whole within the span, in ms. Periods of `length` ms begin at
    /// `begin_h` o'clock of the Beijing calendar.
    pub(super) fn ends(&self, length: i64, begin_h: i64) -> (i64, i64) {
        let shift = BEIJING_MS - begin_h * HOUR_MS;
        let (from, to) = (self.span.from.ms() + shift, self.span.to.ms() + shift);
        let first = (from + length - 1).div_euclid(length) * length + length;
        let last = to.div_euclid(length) * length;
        (first - shift, last - shift)
    }

    /// The hours of a quantity by their ends, from a start on to a last end.
    pub(super) fn hours(
        &self,
        views: &Views,
        quantity: Quantity,
        (start, last): (i64, i64),
        make: Make,
        hour_minutes: usize,
    ) -> Result<BTreeMap<i64, Hour>, StoreError> {
        let said = Said {
            series: &self.series,
            reviewed: &self.reviewed,
            quantity,
            channel: self.channel,
            known_at: self.known_at,
            cadence_s: self.device.cadence_s,
            hour_minutes,
        };
        let span = (Timestamp::from_ms(start), Timestamp::from_ms(last));
        said.hours(views, span, make, &mut self.reviewed_hours.borrow_mut())
    }

    /// How something came that is made of the hours that end after a time and not after another: also that hours
    /// were reviewed of which nothing is left.
    pub(super) fn came(&self, came: Came, (after, end): (i64, i64)) -> Came {
        let hours = self.reviewed_hours.borrow();
        let is_reviewed = hours.range(after.saturating_add(1)..=end).next().is_some();
        Came {
            reviewed: came.reviewed || is_reviewed,
            ..came
        }
    }

    /// Ends of the hours of which a review holds of a value, as far as hours were read.
    pub(super) fn reviewed_ends(&self) -> BTreeSet<i64> {
        self.reviewed_hours.borrow().clone()
    }

    /// How many of the hours that were read have a reviewed value.
    pub(super) fn n_reviewed(&self) -> usize {
        self.reviewed_hours.borrow().len()
    }

    /// What the answer says when it begins before the first that is kept.
    pub(super) fn kept(&self, views: &Views) -> Option<KeptRow> {
        KeptRow::of(views, self.series.iter().map(|info| info.id), self.span.from)
    }
}
