//! Every spelling of the gazetteer: by its beginning, and by the pairs of characters and syllables in it.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::pinyin::Pinyin;

/// No node, spelling or name.
pub(crate) const NONE: u32 = u32::MAX;
/// Longest name in characters; what is longer is cut.
pub(crate) const MAX_NAME: usize = 64;

/// Multiplies and folds: keys are numbers that we make ourselves.
#[derive(Default)]
pub(crate) struct Mix(u64);
impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for b in bytes {
            self.write_u64(u64::from(*b));
        }
    }
    fn write_u64(&mut self, n: u64) {
        let wide = u128::from(self.0 ^ n) * 0x9e37_79b9_7f4a_7c15_u128;
        self.0 = (wide as u64) ^ (wide >> 64) as u64;
    }
}
pub(crate) type Map<V> = HashMap<u64, V, BuildHasherDefault<Mix>>;

/// How a thing is called by a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Style {
    /// Its name as the gazetteer has it.
    Full,
    /// Another name, an old name or the name of before.
    Alias,
    /// Without its class (西宁, 城中, 总寨).
    Short,
}

/// A name of a thing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Name {
    pub(crate) thing: u32,
    pub(crate) style: Style,
    next: u32,
}

/// A text that is somebody's name.
#[derive(Clone, Copy, Debug)]
struct Spelling {
    start: u32,
    len: u8,
    head: u32,
}

/// All names.
#[derive(Default)]
pub(crate) struct Names {
    letters: Vec<char>,
    spellings: Vec<Spelling>,
    names: Vec<Name>,
    steps: Map<u32>,
    /// Spelling that ends at a node.
    ends: Vec<u32>,
    grams: Map<Vec<u32>>,
}

/// The first characters of a name weigh as a pair of their own.
const START: u32 = 1;
const SYLLABLES: u64 = 1 << 63;

impl Names {
    pub(crate) fn new() -> Self {
        Self {
            ends: vec![NONE],
            ..Self::default()
        }
    }

    /// Adds a name; the same name of the same thing counts once.
    pub(crate) fn add(&mut self, text: &[char], thing: u32, style: Style) {
        let text = &text[..text.len().min(MAX_NAME)];
        if text.is_empty() {
            return;
        }
        let mut node = 0u32;
        for c in text {
            let fresh = self.ends.len() as u32;
            node = *self.steps.entry(step(node, *c)).or_insert(fresh);
            if node == fresh {
                self.ends.push(NONE);
            }
        }
        let mut spelling = self.ends[node as usize];
        if spelling == NONE {
            spelling = self.spellings.len() as u32;
            self.ends[node as usize] = spelling;
            self.spellings.push(Spelling {
                start: self.letters.len() as u32,
                len: text.len() as u8,
                head: NONE,
            });
            self.letters.extend_from_slice(text);
        }
        if self.named(spelling).any(|name| name.thing == thing) {
            return;
        }
        let entry = &mut self.spellings[spelling as usize];
        self.names.push(Name {
            thing,
            style,
            next: entry.head,
        });
        entry.head = self.names.len() as u32 - 1;
    }

    /// Makes the index of pairs; after the last name was added.
    pub(crate) fn index(&mut self) {
        let table = Pinyin::table();
        let mut grams: Map<Vec<u32>> = Map::default();
        for id in 0..self.spellings.len() as u32 {
            if self.text(id).len() < 2 {
                continue;
            }
            each_gram(self.text(id), table, |gram| {
                let list = grams.entry(gram).or_default();
                if list.last() != Some(&id) {
                    list.push(id);
                }
            });
        }
        for list in grams.values_mut() {
            list.shrink_to_fit();
        }
        self.grams = grams;
    }

    /// Calls `hit` with length and spelling of every name that the text begins with, shortest first.
    pub(crate) fn beginning(&self, text: &[char], mut hit: impl FnMut(usize, u32)) {
        let mut node = 0;
        for (i, c) in text.iter().enumerate() {
            match self.steps.get(&step(node, *c)) {
                Some(next) => node = *next,
                None => return,
            }
            let spelling = self.ends[node as usize];
            if spelling != NONE {
                hit(i + 1, spelling);
            }
        }
    }

    /// The spelling that is exactly this text.
    pub(crate) fn exactly(&self, text: &[char]) -> Option<u32> {
        let mut found = None;
        self.beginning(text, |n, spelling| {
            if n == text.len() {
                found = Some(spelling);
            }
        });
        found
    }

    /// Who is called so.
    pub(crate) fn named(&self, spelling: u32) -> impl Iterator<Item = Name> + '_ {
        let mut at = self.spellings[spelling as usize].head;
        std::iter::from_fn(move || {
            let name = *self.names.get(at as usize)?;
            at = name.next;
            Some(name)
        })
    }

    pub(crate) fn text(&self, spelling: u32) -> &[char] {
        let Spelling { start, len, .. } = self.spellings[spelling as usize];
        &self.letters[start as usize..start as usize + usize::from(len)]
    }

    pub(crate) fn n_spellings(&self) -> usize {
        self.spellings.len()
    }

    /// Spellings that hold a pair of characters or syllables of the text, by pair.
    pub(crate) fn sharing<'a>(&'a self, text: &[char], mut list: impl FnMut(&'a [u32])) {
        each_gram(text, Pinyin::table(), |gram| {
            if let Some(ids) = self.grams.get(&gram) {
                list(ids);
            }
        });
    }
}

fn step(node: u32, c: char) -> u64 {
    u64::from(node) << 32 | u64::from(c as u32)
}

/// Pairs of neighbouring characters and of neighbouring syllables, the first character with the beginning.
fn each_gram(text: &[char], table: &Pinyin, mut gram: impl FnMut(u64)) {
    let pair = |a: u32, b: u32| u64::from(a) << 32 | u64::from(b);
    // What has no syllable (a digit, a letter) stands for itself.
    let syllable = |c: char| match table.id(c) {
        0 => c as u32 + 0x1_0000,
        id => u32::from(id) + 2,
    };
    let (mut before, mut sound) = (START, START);
    for c in text {
        let (now, next) = (*c as u32, syllable(*c));
        gram(pair(before, now));
        gram(SYLLABLES | pair(sound, next));
        (before, sound) = (now, next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_by_beginning_and_by_pairs() {
        let chars = |s: &str| s.chars().collect::<Vec<_>>();
        let mut names = Names::new();
        for (thing, name) in [(0, "昆仑路"), (1, "昆仑东路"), (2, "昆仑路"), (2, "昆仑路")] {
            names.add(&chars(name), thing, Style::Full);
        }
        names.index();
        let mut met = vec![];
        names.beginning(&chars("昆仑东路12号"), |n, s| {
            met.push((n, names.named(s).map(|n| n.thing).collect::<Vec<_>>()))
        });
        assert_eq!(met, [(4, vec![1])]);
        let same = names.exactly(&chars("昆仑路")).map(|s| names.named(s).count());
        assert_eq!(same, Some(2), "two things, each once");
        let mut shared = 0;
        names.sharing(&chars("昆伦路"), |ids| shared += ids.len());
        assert!(shared > 0, "read alike");
    }
}
