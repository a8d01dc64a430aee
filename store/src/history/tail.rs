//! The newest points of a run, which are not packed yet.
//!
//! Every series has some of them in memory: a point takes 24 bytes where all are numbers that came within 24 days of
//! their time, which is what nearly all do, and twice that where not.

use onemap_model::Value;

use super::block::Columns;
use super::point::Kept;

/// Points that room is made for at a time.
const N_ROOM: usize = 8;

/// Points that ascend, each time once.
#[derive(Clone, Debug)]
pub(super) enum Tail {
    Slim(Vec<Slim>),
    Whole(Vec<Kept>),
}

/// A number received within 24 days of its time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slim {
    at: i64,
    number: f64,
    /// Received minus measured, ms.
    delay: i32,
    quality: u16,
}

impl Slim {
    fn of(point: &Kept) -> Option<Self> {
        let Value::Number(number) = point.value else {
            return None;
        };
        Some(Self {
            at: point.at,
            number,
            delay: point.received.checked_sub(point.at)?.try_into().ok()?,
            quality: point.quality,
        })
    }
    fn kept(&self) -> Kept {
        Kept {
            at: self.at,
            // It was made of a sum that is one.
            received: self.at.wrapping_add(i64::from(self.delay)),
            value: Value::Number(self.number),
            quality: self.quality,
        }
    }
}

impl Default for Tail {
    fn default() -> Self {
        Tail::Slim(Vec::new())
    }
}

impl From<&[Kept]> for Tail {
    fn from(points: &[Kept]) -> Self {
        let mut tail = Self::default();
        for point in points {
            tail.put(point.clone());
        }
        tail
    }
}

impl Tail {
    pub(super) fn len(&self) -> usize {
        match self {
            Tail::Slim(points) => points.len(),
            Tail::Whole(points) => points.len(),
        }
    }
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The oldest time.
    pub(super) fn first(&self) -> Option<i64> {
        match self {
            Tail::Slim(points) => points.first().map(|p| p.at),
            Tail::Whole(points) => points.first().map(|p| p.at),
        }
    }
    /// The newest time.
    pub(super) fn last(&self) -> Option<i64> {
        match self {
            Tail::Slim(points) => points.last().map(|p| p.at),
            Tail::Whole(points) => points.last().map(|p| p.at),
        }
    }
    /// The point of one time.
    pub(super) fn find(&self, at: i64) -> Option<Kept> {
        match self {
            Tail::Slim(points) => {
                let i = points.binary_search_by_key(&at, |p| p.at).ok()?;
                Some(points[i].kept())
            }
            Tail::Whole(points) => {
                let i = points.binary_search_by_key(&at, |p| p.at).ok()?;
                Some(points[i].clone())
            }
        }
    }
    /// Puts a point in its place; a point of the same time is replaced.
    pub(super) fn put(&mut self, point: Kept) {
        match (&mut *self, Slim::of(&point)) {
            (Tail::Slim(points), Some(slim)) => put_in(points, slim, |p| p.at),
            (Tail::Whole(points), _) => put_in(points, point, |p| p.at),
            (Tail::Slim(_), None) => {
                let mut points = self.points();
                put_in(&mut points, point, |p| p.at);
                *self = Tail::Whole(points);
            }
        }
    }
    /// Every point, ascending.
    pub(super) fn points(&self) -> Vec<Kept> {
        self.after(0)
    }
    /// Its points but for the oldest `n`.
    pub(super) fn after(&self, n: usize) -> Vec<Kept> {
        match self {
            Tail::Slim(points) => points.iter().skip(n).map(Slim::kept).collect(),
            Tail::Whole(points) => points.get(n..).unwrap_or_default().to_vec(),
        }
    }
    /// Its columns, if all values are numbers.
    pub(super) fn columns(&self) -> Option<Columns> {
        let Tail::Slim(points) = self else { return None };
        Some(Columns {
            times: points.iter().map(|p| p.at).collect(),
            numbers: points.iter().map(|p| p.number).collect(),
            marks: points.iter().map(|p| i64::from(p.quality)).collect(),
        })
    }
}

/// Puts a point in its place among points that ascend; one of the same time is replaced.
pub(super) fn put_in<P>(points: &mut Vec<P>, point: P, at: impl Fn(&P) -> i64) {
    if points.len() == points.capacity() {
        points.reserve_exact(N_ROOM);
    }
    match points.last() {
        Some(last) if at(last) >= at(&point) => match points.binary_search_by_key(&at(&point), &at) {
            Ok(i) => points[i] = point,
            Err(i) => points.insert(i, point),
        },
        _ => points.push(point),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn point() -> impl Strategy<Value = Kept> {
        let value = prop_oneof![
            9 => any::<f64>().prop_filter("a number", |n| n.is_finite()).prop_map(Value::Number),
            1 => "[a-z]{0,3}".prop_map(|text| Value::Text(text.into())),
        ];
        let received = prop_oneof![
            9 => (-9_000i64..9_000).prop_map(Some),
            1 => Just(None),
        ];
        let at = prop_oneof![9 => 0i64..40, 1 => any::<i64>()];
        (at, received, value, any::<u16>()).prop_map(|(at, delay, value, quality)| Kept {
            at,
            received: delay.map_or(i64::MAX, |delay| at.saturating_add(delay)),
            value,
            quality,
        })
    }

    proptest! {
        #[test]
        fn a_tail_is_a_sorted_map_whatever_is_put_in(points in prop::collection::vec(point(), 0..60)) {
            let mut tail = Tail::default();
            let mut map = std::collections::BTreeMap::new();
            for point in points {
                map.insert(point.at, point.clone());
                tail.put(point);
                prop_assert_eq!((tail.len(), tail.is_empty()), (map.len(), map.is_empty()));
                prop_assert_eq!(tail.first(), map.keys().next().copied());
                prop_assert_eq!(tail.last(), map.keys().next_back().copied());
            }
            let want: Vec<Kept> = map.values().cloned().collect();
            prop_assert_eq!(tail.points(), want.clone());
            prop_assert_eq!(Tail::from(&want[..]).points(), want.clone());
            prop_assert_eq!(tail.after(7), want.get(7..).unwrap_or_default());
            for at in 0..40 {
                prop_assert_eq!(tail.find(at), map.get(&at).cloned());
            }
            if let Some(columns) = tail.columns() {
                let numbers: Vec<Option<f64>> = want.iter().map(|p| p.value.number()).collect();
                prop_assert_eq!(columns.numbers.into_iter().map(Some).collect::<Vec<_>>(), numbers);
                prop_assert!(columns.times.iter().eq(want.iter().map(|p| &p.at)));
                prop_assert!(columns.marks.iter().copied().eq(want.iter().map(|p| i64::from(p.quality))));
            }
        }
    }

    #[test]
    fn a_number_takes_24_bytes() {
        assert_eq!(size_of::<Slim>(), 24);
    }
}
