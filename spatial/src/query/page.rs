//! What lies in a region, page by page in the order of kind and code.
//!
//! Only the things of the page are read: in a box that holds thousands, the others are counted and put in order by
//! their labels ([`crate::labels`]), as far as these say enough.

use std::cmp::Ordering;

use onemap_model::EntityCode;

use crate::city_view::CityView;
use crate::labels::Label;
use crate::query::filter::Filter;
use crate::query::found::Found;
use crate::query::region::Region;
use crate::thing::{Number, Thing, ThingKind};

/// Some of the things in a region.
#[derive(Clone, Debug)]
pub struct Page<'v> {
    /// How many things of the region the filter lets through, before the page and behind it, too.
    pub n_matched: usize,
    /// By kind and code.
    pub things: Vec<Found<'v>>,
    /// Whether others come behind.
    pub has_more: bool,
}

/// A thing that may come on the page.
#[derive(Clone, Copy)]
enum Candidate<'v> {
    /// Not read; its kind as [`ThingKind::index`], which is the order of kinds.
    Labelled(usize, Number, Label<'v>),
    Read(Found<'v>),
}

impl<'v> Candidate<'v> {
    fn kind(&self) -> usize {
        match self {
            Self::Labelled(kind, ..) => *kind,
            Self::Read(found) => found.kind().index(),
        }
    }

    /// Reads it.
    fn thing(&self, view: &'v CityView) -> &'v Thing {
        match self {
            Self::Labelled(_, number, _) => view.stock.get(*number).expect("what the index knows is there"),
            Self::Read(found) => found.thing,
        }
    }

    #[inline]
    fn order(&self, other: &Self, view: &'v CityView) -> Ordering {
        self.kind().cmp(&other.kind()).then_with(|| {
            let by_label = match (self, other) {
                (Self::Labelled(.., own), Self::Labelled(.., other)) => own.order(other),
                _ => None,
            };
            by_label.unwrap_or_else(|| self.thing(view).code.cmp(&other.thing(view).code))
        })
    }
}

impl CityView {
    /// At most `limit` of the things that have a point in the region, those that come first by kind and code behind
    /// `after`.
    pub fn page<'v>(
        &'v self,
        region: &Region,
        filter: &Filter,
        after: Option<(&ThingKind, &EntityCode)>,
        limit: usize,
    ) -> Page<'v> {
        let sieve = filter.sieve(self);
        let mut n_matched = 0;
        let mut all: Vec<Candidate<'v>> = Vec::new();
        let mut take = |candidate: Candidate<'v>| {
            n_matched += 1;
            let is_behind = after.is_none_or(|(kind, code)| {
                let by_kind = candidate.kind().cmp(&kind.index());
                by_kind.then_with(|| candidate.thing(self).code.cmp(code)).is_gt()
            });
            if is_behind {
                all.push(candidate);
            }
        };
        match region.single_box().filter(|_| sieve.reads_labels()) {
            Some(extent) => {
                let index = &self.indexed().index;
                // Those by label, which are not read: points in the box.
                let mut labelled: Vec<Candidate<'v>> = Vec::new();
                let is_done = |kind, number| {
                    let Some(label) = index.label(number) else {
                        return false;
                    };
                    if sieve.lets_label(&label) {
                        labelled.push(Candidate::Labelled(kind, number, label));
                    }
                    true
                };
                self.near_unless(&extent, sieve.kinds, is_done, |_, thing| {
                    if sieve.lets(thing) && region.meets(thing) {
                        take(Candidate::Read(Found { view: self, thing }));
                    }
                });
                labelled.into_iter().for_each(take);
            }
            None => self.within(region, filter, |found| take(Candidate::Read(found))),
        }
        let has_more = all.len() > limit;
        if has_more {
            all.select_nth_unstable_by(limit, |a, b| a.order(b, self));
            all.truncate(limit);
        }
        all.sort_unstable_by(|a, b| a.order(b, self));
        let numbers = all.iter().filter_map(|candidate| match candidate {
            Candidate::Labelled(_, number, _) => Some(*number),
            Candidate::Read(_) => None,
        });
        self.stock.fetch(numbers, Thing::look_at_card);
        let found = |candidate: &Candidate<'v>| Found {
            view: self,
            thing: candidate.thing(self),
        };
        Page {
            n_matched,
            things: all.iter().map(found).collect(),
            has_more,
        }
    }
}
