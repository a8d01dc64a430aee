//! What holds of a series' values: raw, corrected and reviewed side by side, and the best of them.
//!
//! Worked out when values are read; what the station sent is never changed by it.

use std::collections::BTreeSet;

use onemap_model::{Act, Correction, Review, Timestamp, Value, Verb, Verdict};

use crate::ledger::SeriesAct;

/// A review or correction with the act that it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Told<T> {
    /// Journal position: its number.
    pub position: u64,
    /// When the server took it.
    pub at: Timestamp,
    /// Name of the token or user.
    pub by: String,
    /// What was said.
    pub what: T,
}

/// The reviews and corrections of one series.
#[derive(Clone, Debug, Default)]
pub struct Reviewed {
    reviews: Holding<Review>,
    corrections: Holding<Correction>,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub struct SideBySide<'a> {
    /// Corrected, when a correction holds and the value is a number; and whether that is a value the quantity can have.
    pub corrected: Option<(f64, bool)>,
    /// The review that holds.
    pub review: Option<&'a Told<Review>>,
    /// What the review leaves of it; `None` without a review, for `invalid` and `doubted`, and for `valid` where the value cannot be at
    /// all ([`Quantity::possible`](onemap_model::Quantity::possible)): nobody's word makes a concentration negative.
    pub reviewed: Option<Value>,
}

/// The best of raw, corrected and reviewed.
#[derive(Clone, Debug, PartialEq)]
pub enum Best<'a> {
    /// Nothing but what was sent.
    Raw,
    /// A correction holds.
    Corrected(f64),
    /// A review says that it may be wrong: the value as it would be without it, which nothing is judged by.
    Doubted(Value, &'a Told<Review>),
    /// A review says what it is.
    Reviewed(Value, &'a Told<Review>),
    /// A review says that it is none.
    Invalid(&'a Told<Review>),
    /// It is none: what a correction makes of it is nothing that the quantity can have, or a review calls valid what
    /// cannot be; with that review.
    Implausible(Option<&'a Told<Review>>),
}

impl Reviewed {
    /// Of acts in the order of their positions.
    pub fn of(acts: Vec<SeriesAct>) -> Self {
        let (mut reviews, mut corrections) = (Vec::new(), Vec::new());
        for SeriesAct { position, act, .. } in acts {
            let Act { at, by, verb } = act;
            let by = by.actor;
            match verb {
                Verb::Review(what) => reviews.push(Told {
                    position,
                    at,
                    by,
                    what: *what,
                }),
                Verb::Correct(what) => corrections.push(Told {
                    position,
                    at,
                    by,
                    what: *what,
                }),
                _ => {}
            }
        }
        Self {
            reviews: Holding::of(reviews, |review| (review.from, review.to)),
            corrections: Holding::of(corrections, |correction| (correction.from, correction.end())),
        }
    }

    /// Whether nothing is said of any value.
    pub fn is_empty(&self) -> bool {
        self.reviews.all.is_empty() && self.corrections.all.is_empty()
    }

    /// The positions of all that is said: two of a series with the same answer the same.
    pub fn positions(&self) -> impl Iterator<Item = u64> + '_ {
        let reviews = self.reviews.all.iter().map(|told| told.position);
        reviews.chain(self.corrections.all.iter().map(|told| told.position))
    }

    /// The correction that holds of a measuring time.
    pub fn correction(&self, at: Timestamp) -> Option<&Told<Correction>> {
        self.corrections.at(at)
    }

    /// The review that holds of a measuring time; none where the last one withdrew the others.
    pub fn review(&self, at: Timestamp) -> Option<&Told<Review>> {
        self.reviews
            .at(at)
            .filter(|told| told.what.verdict != Verdict::Withdrawn)
    }

    /// A value with what became of it.
    pub fn side_by_side(&self, at: Timestamp, raw: &Value) -> SideBySide<'_> {
        let corrected = self
            .correction(at)
            .and_then(|told| Some(told.what.corrected(raw.number()?)));
        let review = self.review(at);
        let reviewed = review.and_then(|told| match told.what.verdict {
            Verdict::Valid => {
                let value = corrected.map_or_else(|| raw.clone(), |(value, _)| Value::Number(value));
                let quantity = told.what.series.quantity;
                let can_be = value.number().is_none_or(|number| quantity.possible(number));
                can_be.then_some(value)
            }
            Verdict::Replaced { value } => Some(Value::Number(value)),
            Verdict::Invalid | Verdict::Doubted | Verdict::Withdrawn => None,
        });
        SideBySide {
            corrected,
            review,
            reviewed,
        }
    }

    /// The best of a value: reviewed, else corrected, else raw.
    pub fn best(&self, at: Timestamp, raw: &Value) -> Best<'_> {
        let all = self.side_by_side(at, raw);
        match (all.review, all.reviewed, all.corrected) {
            (Some(told), Some(value), _) => Best::Reviewed(value, told),
            (Some(told), None, _) if told.what.verdict == Verdict::Valid => Best::Implausible(Some(told)),
            (Some(told), None, corrected) if told.what.verdict == Verdict::Doubted => match corrected {
                Some((_, false)) => Best::Implausible(Some(told)),
                Some((value, true)) => Best::Doubted(Value::Number(value), told),
                None => Best::Doubted(raw.clone(), told),
            },
            (Some(told), None, _) => Best::Invalid(told),
            (None, _, Some((value, true))) => Best::Corrected(value),
            (None, _, Some((_, false))) => Best::Implausible(None),
            (None, _, None) => Best::Raw,
        }
    }
}

/// Things with a span each, of which the last one holds where several lie over one another.
#[derive(Clone, Debug)]
struct Holding<T> {
    all: Vec<Told<T>>,
    /// From when on which of them holds, if any; ascending.
    holds: Vec<(Timestamp, Option<usize>)>,
}

impl<T> Default for Holding<T> {
    fn default() -> Self {
        Self {
            all: Vec::new(),
            holds: Vec::new(),
        }
    }
}

impl<T> Holding<T> {
    fn of(all: Vec<Told<T>>, span: impl Fn(&T) -> (Timestamp, Timestamp)) -> Self {
        let mut borders: Vec<(Timestamp, bool, usize)> = Vec::with_capacity(2 * all.len());
        for (i, told) in all.iter().enumerate() {
            let (from, to) = span(&told.what);
            if from < to {
                borders.extend([(from, true, i), (to, false, i)]);
            }
        }
        borders.sort_unstable();
        let mut open = BTreeSet::new();
        let mut holds: Vec<(Timestamp, Option<usize>)> = Vec::new();
        for (at, begins, i) in borders {
            match begins {
                true => open.insert(i),
                false => open.remove(&i),
            };
            let last = open.last().copied();
            match holds.last_mut() {
                Some((since, held)) if *since == at => *held = last,
                _ => holds.push((at, last)),
            }
        }
        Self { all, holds }
    }

    fn at(&self, at: Timestamp) -> Option<&Told<T>> {
        let behind = self.holds.partition_point(|(since, _)| *since <= at);
        let (_, held) = self.holds.get(behind.checked_sub(1)?)?;
        self.all.get((*held)?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use onemap_model::{DeviceId, Quantity, Scope, SeriesKey};
    use proptest::prelude::*;

    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_ms(ms)
    }

    fn series() -> SeriesKey {
        SeriesKey {
            device: DeviceId::new("d").unwrap(),
            quantity: Quantity::named("water_level").unwrap(),
            channel: 0,
        }
    }

    fn said(position: u64, verb: Verb) -> SeriesAct {
        SeriesAct {
            position,
            act: Act {
                at: at(position as i64),
                by: Scope::local("desk"),
                verb,
            },
            withdrawn: None,
        }
    }

    fn review(position: u64, from: i64, to: i64, verdict: Verdict) -> SeriesAct {
        let review = Review {
            series: series(),
            from: at(from),
            to: at(to),
            verdict,
            name: "王".into(),
            reason: "校准".into(),
        };
        said(position, Verb::Review(Box::new(review)))
    }

    fn correction(position: u64, from: i64, to: Option<i64>, factor: f64, offset: f64) -> SeriesAct {
        let correction = Correction {
            series: series(),
            from: at(from),
            to: to.map(at),
            factor,
            offset,
            name: "王".into(),
            reason: "复测".into(),
        };
        said(position, Verb::Correct(Box::new(correction)))
    }

    #[test]
    fn the_best_of_a_value_is_reviewed_else_corrected_else_raw() {
        let all = Reviewed::of(vec![
            correction(1, 100, None, 1.0, 0.5),
            review(2, 200, 300, Verdict::Invalid),
            review(3, 250, 400, Verdict::Replaced { value: 9.0 }),
            review(4, 260, 270, Verdict::Withdrawn),
            review(5, 500, 600, Verdict::Valid),
            correction(6, 700, Some(800), 2.0, 0.0),
            review(7, 50, 60, Verdict::Doubted),
            review(8, 750, 760, Verdict::Doubted),
            review(9, 755, 757, Verdict::Valid),
        ]);
        let best = |t: i64| match all.best(at(t), &Value::Number(1.0)) {
            Best::Raw => "raw".to_owned(),
            Best::Corrected(value) => format!("corrected {value}"),
            Best::Reviewed(value, told) => {
                format!("reviewed {} by {}", value.number().unwrap(), told.position)
            }
            Best::Doubted(value, told) => {
                format!("doubted {} by {}", value.number().unwrap(), told.position)
            }
            Best::Invalid(told) => format!("invalid by {}", told.position),
            Best::Implausible(told) => format!("implausible by {:?}", told.map(|told| told.position)),
        };
        for (t, want) in [
            (50, "doubted 1 by 7"),
            (750, "doubted 2 by 8"),
            (755, "reviewed 2 by 9"),
            (99, "raw"),
            (100, "corrected 1.5"),
            (199, "corrected 1.5"),
            (200, "invalid by 2"),
            (249, "invalid by 2"),
            (250, "reviewed 9 by 3"),
            // Taken back: also what the review under it said.
            (260, "corrected 1.5"),
            (270, "reviewed 9 by 3"),
            (399, "reviewed 9 by 3"),
            (400, "corrected 1.5"),
            (500, "reviewed 1.5 by 5"),
            (600, "corrected 1.5"),
            (700, "corrected 2"),
            (800, "corrected 1.5"),
        ] {
            assert_eq!(best(t), want, "{t}");
        }
        let text = Value::Text("dry".into());
        assert_eq!(all.best(at(100), &text), Best::Raw, "a text is not corrected");
        let reviewed = all.best(at(500), &text);
        assert!(
            matches!(reviewed, Best::Reviewed(Value::Text(_), _)),
            "{reviewed:?}"
        );
        assert!(Reviewed::default().is_empty() && !all.is_empty());
        assert_eq!(all.positions().collect::<Vec<_>>(), [2, 3, 4, 5, 7, 8, 9, 1, 6]);
    }

    #[test]
    fn nobody_makes_a_value_that_cannot_be() {
        let of = |quantity: &str, act: SeriesAct| {
            let mut act = act;
            let key = SeriesKey {
                quantity: Quantity::named(quantity).unwrap(),
                ..series()
            };
            match &mut act.act.verb {
                Verb::Review(review) => review.series = key,
                Verb::Correct(correction) => correction.series = key,
                _ => {}
            }
            act
        };
        let acts = |quantity: &str| {
            vec![
                of(quantity, correction(1, 0, Some(200), 1.0, -30.0)),
                of(quantity, correction(2, 200, Some(300), 1.0, 1990.0)),
                of(quantity, review(3, 100, 400, Verdict::Valid)),
            ]
        };
        let best = |quantity: &str, t: i64, raw: f64| match Reviewed::of(acts(quantity))
            .best(at(t), &Value::Number(raw))
        {
            Best::Corrected(value) => format!("corrected {value}"),
            Best::Reviewed(value, _) => format!("reviewed {}", value.number().unwrap()),
            Best::Implausible(told) => format!("implausible {:?}", told.map(|told| told.position)),
            other => format!("{other:?}"),
        };
        for (quantity, t, raw, want) in [
            ("pm2_5", 0, 40.0, "corrected 10"),
            ("pm2_5", 0, 20.0, "implausible None"),
            // Called valid it is still below nothing; what is only more than usual is then a value.
            ("pm2_5", 100, 20.0, "implausible Some(3)"),
            ("pm2_5", 200, 20.0, "reviewed 2010"),
            ("pm2_5", 300, -1.0, "implausible Some(3)"),
            ("pm2_5", 300, 2001.0, "reviewed 2001"),
            ("water_level", 0, 20.0, "corrected -10"),
            ("water_level", 0, -30.0, "implausible None"),
            ("water_level", 100, -30.0, "reviewed -60"),
        ] {
            assert_eq!(best(quantity, t, raw), want, "{quantity} {t} {raw}");
        }
    }

    proptest! {
        /// The last of those that cover a time holds, as a look at each of them says.
        #[test]
        fn the_last_that_covers_a_time_holds(spans in prop::collection::vec((0i64..40, 0i64..40), 0..20)) {
            let acts = spans.iter().zip(1..).map(|((from, to), n)| review(n, *from, *to, Verdict::Valid));
            let all = Reviewed::of(acts.collect());
            for t in -1..41 {
                let slow = spans.iter().zip(1..).filter(|((from, to), _)| *from <= t && t < *to).last();
                prop_assert_eq!(all.review(at(t)).map(|told| told.position), slow.map(|(_, n)| n));
            }
        }
    }
}
