//! What is believed of a series, key by key: the range, the greatest change, how long without one.

use std::collections::HashMap;
use std::time::Duration;

use onemap_model::Quantity;
use serde::Deserialize;
use serde_saphyr::{Location, Spanned};

use super::written::{Wrong, finite};
use crate::duration::Written;

/// What is believed of a series, in the quantity's canonical unit; what is left out is not judged.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// The smallest value that is believed, itself included.
    pub min: Option<f64>,
    /// The greatest value that is believed, itself included.
    pub max: Option<f64>,
    /// The greatest change between two readings that is believed, per minute between them.
    pub rate_per_min: Option<f64>,
    /// How long an unchanged value is believed.
    pub stuck_after: Option<Duration>,
}

/// What a profile expects of one series.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Expected {
    /// How often it sends; the profile's own cadence when the key states none.
    pub cadence: Option<Duration>,
    /// What is believed of it.
    pub limits: Limits,
}

/// Expectations by quantity and channel.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Series {
    exact: HashMap<(Quantity, u16), Expected>,
    /// Of `[*]`: every channel from this one on.
    onward: Vec<(Quantity, u16, Expected)>,
}

impl Series {
    /// Takes what one key expects of its channels; the same channel may not be expected two things of.
    pub(super) fn expect(
        &mut self,
        quantity: Quantity,
        channels: Channels,
        expected: Expected,
        at: Location,
    ) -> Result<(), Wrong> {
        match channels {
            Channels::Onward(first) => self.onward.push((quantity, first, expected)),
            Channels::Some(range) => {
                for channel in range {
                    let before = self.exact.insert((quantity, channel), expected);
                    if before.is_some_and(|before| before != expected) {
                        let message = format!(
                            "channel {channel} of {quantity} has another cadence or other limits at another key"
                        );
                        return Err((at, message));
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) fn of(&self, quantity: Quantity, channel: u16) -> Option<&Expected> {
        self.exact.get(&(quantity, channel)).or_else(|| {
            let covers = |(q, first, _): &&(Quantity, u16, Expected)| *q == quantity && *first <= channel;
            self.onward.iter().find(covers).map(|(.., expected)| expected)
        })
    }
}

/// The channels of one key.
pub(super) enum Channels {
    Some(std::ops::RangeInclusive<u16>),
    Onward(u16),
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitsFile {
    #[serde(default)]
    min: Option<Spanned<f64>>,
    #[serde(default)]
    max: Option<Spanned<f64>>,
    #[serde(default)]
    rate_per_min: Option<Spanned<f64>>,
    #[serde(default)]
    stuck_after: Option<Spanned<Written>>,
}

impl LimitsFile {
    pub(super) fn check(&self) -> Result<Limits, Wrong> {
        let number = |n: &Option<Spanned<f64>>| n.as_ref().map(finite).transpose();
        let (min, max) = (number(&self.min)?, number(&self.max)?);
        if let (Some(low), Some(high), Some(at)) = (min, max, &self.max)
            && low >= high
        {
            return Err((
                at.referenced,
                format!("the greatest value {high} is not above the smallest, {low}"),
            ));
        }
        let rate_per_min = number(&self.rate_per_min)?;
        if let (Some(rate), Some(at)) = (rate_per_min, &self.rate_per_min)
            && rate <= 0.0
        {
            return Err((at.referenced, "a greatest change is above 0".to_owned()));
        }
        if let Some(stuck) = &self.stuck_after
            && stuck.value.0.is_zero()
        {
            return Err((
                stuck.referenced,
                "a value is believed for longer than 0s".to_owned(),
            ));
        }
        Ok(Limits {
            min,
            max,
            rate_per_min,
            stuck_after: self.stuck_after.as_ref().map(|s| s.value.0),
        })
    }
}
