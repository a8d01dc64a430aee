//! Which items have an attribute: a compressed set for each value, to be combined and laid over what an index
//! finds.
//!
//! Values are numbers that the caller chose. For prefixes of codes (everything in a district) they are codes
//! filled up to one length, so that a prefix is a range.

use std::collections::BTreeMap;

use roaring::RoaringBitmap;

/// What a value says about an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// Kind of entity.
    Kind,
    /// Class within the kind.
    Class,
    /// Division that it belongs to.
    Division,
    /// Above, on or below the surface.
    Stratum,
}

/// Which items are wanted.
#[derive(Clone, Debug, PartialEq)]
pub enum Choice {
    /// All of them.
    All,
    /// Those with the value.
    Is(Field, u64),
    /// Those with a value of the range, both ends inside.
    Between(Field, u64, u64),
    /// Those that any of the choices wants.
    AnyOf(Vec<Choice>),
    /// Those that every one of the choices wants; all when there is none.
    AllOf(Vec<Choice>),
    /// Those that the choice does not want.
    Not(Box<Choice>),
}

/// A set of items.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Items(RoaringBitmap);

impl Items {
    /// Whether the item is in the set.
    #[inline]
    pub fn contains(&self, item: u32) -> bool {
        self.0.contains(item)
    }

    /// Number of items.
    pub fn len(&self) -> usize {
        self.0.len() as usize
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The items, the smallest first.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.0.iter()
    }

    /// The items of both.
    pub fn and(&self, other: &Self) -> Self {
        Self(&self.0 & &other.0)
    }
}

impl FromIterator<u32> for Items {
    fn from_iter<I: IntoIterator<Item = u32>>(items: I) -> Self {
        Self(items.into_iter().collect())
    }
}

/// The attributes of all items.
#[derive(Clone, Debug, Default)]
pub struct Attributes {
    all: RoaringBitmap,
    sets: BTreeMap<(Field, u64), RoaringBitmap>,
}

impl Attributes {
    /// Adds an item or replaces its values. An item may have several values of a field, or none.
    pub fn put(&mut self, item: u32, values: &[(Field, u64)]) {
        self.remove(item);
        self.all.insert(item);
        for value in values {
            self.sets.entry(*value).or_default().insert(item);
        }
    }

    /// Removes an item; `false` when it was not there. Looks through the sets of all values.
    pub fn remove(&mut self, item: u32) -> bool {
        if !self.all.remove(item) {
            return false;
        }
        self.sets
            .retain(|_, items| !items.remove(item) || !items.is_empty());
        true
    }

    /// The items that are wanted.
    pub fn choose(&self, choice: &Choice) -> Items {
        Items(self.chosen(choice))
    }

    fn chosen(&self, choice: &Choice) -> RoaringBitmap {
        match choice {
            Choice::All => self.all.clone(),
            Choice::Is(field, value) => self.sets.get(&(*field, *value)).cloned().unwrap_or_default(),
            Choice::Between(field, low, high) if low <= high => {
                let sets = self.sets.range((*field, *low)..=(*field, *high));
                sets.fold(RoaringBitmap::new(), |found, (_, items)| found | items)
            }
            Choice::Between(..) => RoaringBitmap::new(),
            Choice::AnyOf(choices) => {
                let each = choices.iter().map(|choice| self.chosen(choice));
                each.fold(RoaringBitmap::new(), |found, items| found | items)
            }
            Choice::AllOf(choices) => {
                let mut each = choices.iter().map(|choice| self.chosen(choice));
                let first = each.next().unwrap_or_else(|| self.all.clone());
                each.fold(first, |found, items| found & items)
            }
            Choice::Not(choice) => &self.all - self.chosen(choice),
        }
    }

    /// Memory in bytes, about.
    pub fn bytes(&self) -> usize {
        let of = |items: &RoaringBitmap| {
            let held = items.statistics();
            let bytes =
                held.n_bytes_array_containers + held.n_bytes_run_containers + held.n_bytes_bitset_containers;
            bytes as usize + held.n_containers as usize * 32
        };
        of(&self.all) + self.sets.values().map(|items| of(items) + 64).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Case = (Choice, fn(u32) -> bool);

    #[test]
    fn choices_combine_as_sets_do() {
        let mut attributes = Attributes::default();
        for item in 0..10_000u32 {
            let (kind, division) = (
                u64::from(item % 5),
                630_100_000_000 + u64::from(item % 7) * 1_000_000,
            );
            attributes.put(item, &[(Field::Kind, kind), (Field::Division, division)]);
        }
        attributes.put(3, &[(Field::Stratum, 1)]);
        assert!(attributes.remove(4) && !attributes.remove(4));
        let held = |item: &u32| *item != 4;
        let cases: [Case; 6] = [
            (Choice::All, |_| true),
            (Choice::Is(Field::Kind, 2), |i| i % 5 == 2),
            (
                Choice::Between(Field::Division, 630_102_000_000, 630_104_999_999),
                |i| i != 3 && (2..=4).contains(&(i % 7)),
            ),
            (Choice::Between(Field::Kind, 4, 1), |_| false),
            (
                Choice::AllOf(vec![
                    Choice::Is(Field::Kind, 1),
                    Choice::Is(Field::Division, 630_106_000_000),
                ]),
                |i| i % 5 == 1 && i % 7 == 6,
            ),
            (
                Choice::Not(Box::new(Choice::AnyOf(vec![
                    Choice::Is(Field::Kind, 0),
                    Choice::Is(Field::Stratum, 1),
                ]))),
                |i| i % 5 != 0 && i != 3,
            ),
        ];
        for (choice, wanted) in cases {
            let want: Items = (0..10_000).filter(held).filter(|i| wanted(*i)).collect();
            assert_eq!(attributes.choose(&choice), want, "{choice:?}");
        }
        assert_eq!(attributes.choose(&Choice::AllOf(Vec::new())).len(), 9_999);
        assert!(attributes.bytes() < 200_000);
    }
}
