//! From when to when a question goes, and how much one answer may take.

use std::time::Duration;

use onemap_model::Timestamp;
use onemap_store::history::SeriesInfo;

use crate::api::time;
use crate::error::Problem;

/// Steps of one series in one answer, and steps times groups of an aggregate.
pub(crate) const MAX_STEPS: u64 = 100_000;
/// Series that one aggregate is made of.
pub(crate) const MAX_SERIES: usize = 50_000;
/// Points that one stepped answer may have to look at, as far as the series' extents tell.
pub(crate) const MAX_POINTS: u64 = 50_000_000;
/// From the first to the last time of a question.
const MAX_SPAN: Duration = Duration::from_secs(100 * 366 * 86_400);
const DAY: Duration = Duration::from_secs(86_400);

/// From one time to before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
    /// Both ends were said: the same question tomorrow is about the same times.
    pub(crate) is_fixed: bool,
}

impl Span {
    /// What is left out is now, and a day before the end.
    pub(crate) fn parse(from: Option<&str>, to: Option<&str>, now: Timestamp) -> Result<Self, Problem> {
        let is_fixed = from.is_some() && to.is_some();
        let to = to.map_or(Ok(now + Duration::from_secs(1)), |t| time("to", t))?;
        let from = from.map_or(Ok(to.saturating_sub(DAY)), |t| time("from", t))?;
        if from > to {
            return Err(Problem::bad_request("bad_range", "from is after to"));
        }
        if i128::from(to.ms()) - i128::from(from.ms()) > MAX_SPAN.as_millis() as i128 {
            return Err(Problem::bad_request(
                "too_long",
                "from and to lie more than a hundred years apart",
            ));
        }
        Ok(Self { from, to, is_fixed })
    }

    /// Steps of that length, of `n_groups` groups.
    pub(crate) fn check_steps(&self, step: Duration, n_groups: usize) -> Result<(), Problem> {
        let n_steps = (self.ms() / (step.as_millis() as u64).max(1)).saturating_add(1);
        let n_groups = n_groups.max(1) as u64;
        if n_steps.saturating_mul(n_groups) > MAX_STEPS {
            return Err(Problem::bad_request(
                "too_many_steps",
                format!(
                    "{n_steps} steps{} are more than {MAX_STEPS} values; take a longer step{}",
                    if n_groups > 1 {
                        format!(" of {n_groups} groups")
                    } else {
                        String::new()
                    },
                    if n_groups > 1 { " or fewer groups" } else { "" },
                ),
            ));
        }
        Ok(())
    }

    /// Whether these series hold more in this span than one answer looks at, as far as their extents tell.
    pub(crate) fn check_points<'a>(
        &self,
        series: impl Iterator<Item = &'a SeriesInfo>,
    ) -> Result<(), Problem> {
        let n: u64 = series
            .map(|info| self.n_points(info))
            .fold(0, u64::saturating_add);
        if n > MAX_POINTS {
            return Err(Problem::bad_request(
                "too_many_points",
                format!(
                    "about {n} points would have to be looked at, {MAX_POINTS} are the most; ask for a shorter time or fewer series"
                ),
            ));
        }
        Ok(())
    }

    /// Points of a series in this span, were they spread evenly over its extent.
    pub(crate) fn n_points(&self, info: &SeriesInfo) -> u64 {
        let (first, last) = (info.first.ms(), info.last.ms());
        let (from, to) = (
            self.from.ms().max(first),
            self.to.ms().saturating_sub(1).min(last),
        );
        if from > to {
            return 0;
        }
        let share = (to.abs_diff(from) as f64 + 1.0) / (last.abs_diff(first) as f64 + 1.0);
        (info.n as f64 * share).ceil() as u64
    }

    fn ms(&self) -> u64 {
        self.to.ms().abs_diff(self.from.ms())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use onemap_model::{DeviceId, Quantity, SeriesKey};
    use onemap_store::history::SeriesId;

    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_ms(ms)
    }

    #[test]
    fn a_span_is_what_was_said_or_the_last_day() {
        let now = at(1_800_000_000_000);
        let span = |from, to| Span::parse(from, to, now);
        let said = span(Some("5"), Some("2027-01-15T08:00:00+08:00")).unwrap();
        assert_eq!(
            (said.from, said.to, said.is_fixed),
            (at(5), at(1_799_971_200_000), true)
        );
        let today = span(None, None).unwrap();
        assert_eq!(
            (today.from, today.to),
            (at(1_799_913_601_000), at(1_800_000_001_000))
        );
        assert!(!today.is_fixed && !span(None, Some("7")).unwrap().is_fixed);
        assert!(span(Some("7"), Some("7")).is_ok());
        for (from, to) in [
            (Some("8"), Some("7")),
            (Some("x"), None),
            (Some("-9223372036854775808"), Some("9223372036854775807")),
            (Some("-9223372036854775808"), None),
        ] {
            assert!(span(from, to).is_err(), "{from:?} {to:?}");
        }
    }

    #[test]
    fn what_is_too_much_is_said_before_it_is_looked_at() {
        let span = Span::parse(Some("0"), Some("100000000"), at(0)).unwrap();
        let step = Duration::from_secs;
        assert!(span.check_steps(step(2), 1).is_ok());
        assert!(span.check_steps(step(1), 1).is_err());
        assert!(span.check_steps(step(1000), 1000).is_err());
        assert!(span.check_steps(step(1000), 900).is_ok());
        let series = |first, last, n| SeriesInfo {
            id: SeriesId(1),
            key: SeriesKey {
                device: DeviceId::new("d").unwrap(),
                quantity: Quantity::named("pm2_5").unwrap(),
                channel: 0,
            },
            first: at(first),
            last: at(last),
            n,
        };
        for (first, last, n, want) in [
            (0, 99_999_999, 1000, 1000),
            (-100_000_000, 99_999_999, 1000, 500),
            (100_000_000, 200_000_000, 1000, 0),
            (-5, -5, 1, 0),
            (7, 7, 1, 1),
        ] {
            assert_eq!(span.n_points(&series(first, last, n)), want);
        }
        let many = [series(0, 99_999_999, MAX_POINTS), series(5, 5, 1)];
        assert!(span.check_points(many[..1].iter()).is_ok());
        assert!(span.check_points(many.iter()).is_err());
    }
}
