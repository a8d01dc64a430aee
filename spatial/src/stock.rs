//! All things of the map by number, and their numbers by code.
//!
//! Things stand in blocks that copies share: a copy for readers costs a pointer for each thousand
//! things, and a change copies one block at most.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use onemap_model::EntityCode;

use crate::thing::{Number, Thing, ThingKind};

/// Things of one block.
const N_BLOCK: usize = 1024;
/// A place of the table that was never taken.
const FREE: u32 = u32::MAX;
/// A place whose thing is gone.
const GONE: u32 = u32::MAX - 1;

/// Things by number; cloning shares them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stock {
    blocks: Vec<Arc<Vec<Option<Thing>>>>,
    n_numbers: usize,
}

impl Stock {
    /// One more than the largest number.
    pub(crate) fn n_numbers(&self) -> u32 {
        self.n_numbers as u32
    }

    pub(crate) fn get(&self, number: Number) -> Option<&Thing> {
        let number = number as usize;
        self.blocks.get(number / N_BLOCK)?.get(number % N_BLOCK)?.as_ref()
    }

    /// The things of some numbers; those that are not there are left out. `look` reads what will be used of them, and
    /// does nothing else.
    ///
    /// Things lie anywhere in memory, and so do their codes and shapes. One after the other each would be waited for;
    /// looked at in a loop that does nothing else, many are fetched at once, and who uses them afterwards finds them
    /// at hand.
    pub(crate) fn fetch(
        &self,
        numbers: impl Iterator<Item = Number>,
        look: impl Fn(&Thing) -> u32,
    ) -> Vec<(Number, &Thing)> {
        let fetched = numbers.filter_map(|number| Some((number, self.get(number)?)));
        let fetched: Vec<(Number, &Thing)> = fetched.collect();
        std::hint::black_box(fetched.iter().fold(0, |seen, (_, thing)| seen ^ look(thing)));
        fetched
    }

    /// Every thing with its number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Number, &Thing)> {
        let things = self.blocks.iter().flat_map(|block| block.iter());
        (0u32..)
            .zip(things)
            .filter_map(|(number, thing)| Some((number, thing.as_ref()?)))
    }

    /// Puts a thing under a number that was given before, or under the next one.
    pub(crate) fn set(&mut self, number: Number, thing: Option<Thing>) {
        let number = number as usize;
        if number / N_BLOCK >= self.blocks.len() {
            self.blocks.push(Arc::new(Vec::with_capacity(N_BLOCK)));
        }
        let block = Arc::make_mut(&mut self.blocks[number / N_BLOCK]);
        match block.get_mut(number % N_BLOCK) {
            Some(place) => *place = thing,
            None => block.push(thing),
        }
        self.n_numbers = self.n_numbers.max(number + 1);
    }
}

/// Numbers by kind and code: a table of numbers only, the codes are read in the stock.
#[derive(Clone, Debug, Default)]
pub(crate) struct CodeTable {
    places: Vec<u32>,
    /// Places that are not free.
    n_taken: usize,
    n: usize,
    hasher: RandomState,
}

impl CodeTable {
    /// The number of a thing.
    pub(crate) fn find(&self, stock: &Stock, kind: &ThingKind, code: &str) -> Option<Number> {
        self.place(stock, kind, code).map(|place| self.places[place])
    }

    /// Notes the number of a thing that is not in the table.
    pub(crate) fn add(&mut self, stock: &Stock, kind: &ThingKind, code: &EntityCode, number: Number) {
        if (self.n_taken + 1) * 4 > self.places.len() * 3 {
            self.grow(stock);
        }
        let mut place = self.first(kind, code);
        while self.places[place] < GONE {
            place = (place + 1) & (self.places.len() - 1);
        }
        self.n_taken += usize::from(self.places[place] == FREE);
        self.places[place] = number;
        self.n += 1;
    }

    /// Forgets a thing that is still in the stock.
    pub(crate) fn remove(&mut self, stock: &Stock, kind: &ThingKind, code: &str) -> Option<Number> {
        let place = self.place(stock, kind, code)?;
        self.n -= 1;
        Some(std::mem::replace(&mut self.places[place], GONE))
    }

    fn place(&self, stock: &Stock, kind: &ThingKind, code: &str) -> Option<usize> {
        if self.places.is_empty() {
            return None;
        }
        let mut place = self.first(kind, code);
        loop {
            match self.places[place] {
                FREE => return None,
                GONE => {}
                number => {
                    let thing = stock.get(number);
                    if thing.is_some_and(|thing| *thing.code == *code && thing.kind == *kind) {
                        return Some(place);
                    }
                }
            }
            place = (place + 1) & (self.places.len() - 1);
        }
    }

    fn first(&self, kind: &ThingKind, code: &str) -> usize {
        self.hasher.hash_one((kind.index(), code)) as usize & (self.places.len() - 1)
    }

    fn grow(&mut self, stock: &Stock) {
        let size = ((self.n + 1) * 2).next_power_of_two().max(16);
        let old = std::mem::replace(&mut self.places, vec![FREE; size]);
        self.n_taken = 0;
        for number in old.into_iter().filter(|number| *number < GONE) {
            let Some(thing) = stock.get(number) else { continue };
            let mut place = self.first(&thing.kind, &thing.code);
            while self.places[place] != FREE {
                place = (place + 1) & (size - 1);
            }
            self.places[place] = number;
            self.n_taken += 1;
        }
    }
}
