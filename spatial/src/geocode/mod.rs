//! The geocoder: from an address to a place, from the beginning of a name to names, from a place to an address.
//!
//! Pure: entries in, answers out. A [`Geocoder`] never changes; whoever holds the register makes a new one.
//! It never answers nothing, and it does not guess: what several may be is answered with all of them, what
//! is not known with the level that is.

mod answer;
mod base;
mod certainty;
mod classes;
mod door;
mod entity;
mod entries;
mod fuzzy;
mod gazetteer;
mod heads;
mod locate;
mod names;
mod noise;
mod numerals;
mod on_road;
mod parse;
mod pieces;
mod pinyin;
mod register;
mod resemble;
mod resolve;
mod reverse;
mod said;
mod shorten;
mod simplified;
mod suggest;
mod tail;
mod text;
mod zone;

pub use answer::{Alternative, Answer, Level, Matched};
pub use base::base_entries;
pub use entity::{Named, named};
pub use entries::{DoorEntry, Entry, EntryKind, Ground};
pub use register::{NAMED, has_names, of_entities};
pub use reverse::{Covering, Near, REACH_M, Whereabouts};
pub use suggest::{MAX_TYPED, Suggestion};
pub use text::{AddressError, MAX_CHARS};

use onemap_model::{DivisionCode, Position};

use crate::coordinates::Vertex;
use gazetteer::Gazetteer;
use parse::{Parse, Reader, Sight};
use resolve::{N_ALTERNATIVES, Resolver};
use text::Text;
use zone::Zone;

/// Readings whose unknown names are compared with the gazetteer.
const N_COMPARED: usize = 3;

/// Who asks, and from where.
#[derive(Clone, Debug, Default)]
pub struct Asker {
    /// Only roads, places and doors inside this division are seen; names of divisions are public.
    pub division: Option<DivisionCode>,
    /// Of things of one name the nearest to this is meant.
    pub near: Option<Position>,
}

impl Asker {
    fn sight(&self) -> Sight {
        Sight {
            within: self.division.as_ref().map(Zone::of),
        }
    }
}

/// The names of a city, ready to be asked.
pub struct Geocoder {
    gazetteer: Gazetteer,
    typing: suggest::Typing,
    cells: reverse::Cells,
}

impl std::fmt::Debug for Geocoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Geocoder")
            .field("things", &self.gazetteer.things.len())
            .field("doors", &self.gazetteer.n_doors)
            .finish_non_exhaustive()
    }
}

impl Geocoder {
    /// Makes the indexes. Of a division that is given twice the last position counts; pieces of a road with
    /// one name and district become one; entries without a usable name are left out.
    pub fn new(entries: impl IntoIterator<Item = Entry>, doors: impl IntoIterator<Item = DoorEntry>) -> Self {
        let gazetteer = Gazetteer::new(entries, doors);
        let (typing, cells) = (suggest::Typing::new(&gazetteer), reverse::Cells::new(&gazetteer));
        Self {
            gazetteer,
            typing,
            cells,
        }
    }

    /// Divisions, roads and places; spellings; doors.
    pub fn size(&self) -> [usize; 3] {
        [
            self.gazetteer.things.len(),
            self.gazetteer.names.n_spellings(),
            self.gazetteer.n_doors,
        ]
    }

    /// Doors that were given and cannot be used (no number, or no place on the globe).
    pub fn n_unused_doors(&self) -> usize {
        self.gazetteer.n_unused
    }

    /// Answers an address.
    ///
    /// # Errors
    /// [`AddressError`] for what is no address: empty, too long, with control characters.
    pub fn geocode(&self, raw: &str, asker: &Asker) -> Result<Answer, AddressError> {
        let mut text = Text::read(raw)?;
        self.renew(&mut text);
        let reader = Reader::new(&self.gazetteer, &text, asker.sight());
        let resolver = Resolver {
            gazetteer: &self.gazetteer,
            text: &text,
            near: asker.near.as_ref().map(Vertex::of),
            sight: asker.sight(),
        };
        let heads = reader.heads();
        let mut parses: Vec<(usize, Parse)> = heads
            .iter()
            .enumerate()
            .map(|(i, head)| (i, reader.scan(head.clone())))
            .collect();
        parses.sort_by(|a, b| b.1.score.total_cmp(&a.1.score));
        let mut rivals = Vec::new();
        let mut resembling: Vec<(usize, Parse)> = Vec::new();
        let mut seen: Vec<(usize, Zone)> = Vec::new();
        let bare = parses.iter().position(|(i, _)| heads[*i].heads.is_empty());
        let compared = (0..parses.len().min(N_COMPARED)).chain(bare.filter(|i| *i >= N_COMPARED));
        for i in compared {
            let (head, parse) = &parses[i];
            let Some((from, to)) = self.piece(&text, parse) else {
                continue;
            };
            if seen.contains(&(from, parse.zone)) {
                continue;
            }
            seen.push((from, parse.zone));
            if let Some(found) = self.resemble(&reader, &heads[*head], parse, from, to, &mut rivals) {
                resembling.push((*head, found));
            }
        }
        parses.extend(resembling);
        parses.sort_by(|a, b| b.1.score.total_cmp(&a.1.score));
        let (_, best) = &parses[0];
        let others: Vec<&Parse> = parses[1..].iter().map(|(_, parse)| parse).collect();
        let mut answer = resolver.answer(best, &others);
        for (thing, likeness) in rivals {
            let thing_code = &self.gazetteer.thing(thing).code;
            let known = answer.alternatives.iter().any(|other| other.code == *thing_code)
                || answer.code.as_ref() == Some(thing_code);
            if !known && answer.alternatives.len() < N_ALTERNATIVES {
                answer
                    .alternatives
                    .push(resolver.alternative(thing, f64::from(likeness) * 0.4, best));
            }
        }
        Ok(answer)
    }

    /// A text that begins with the code of a division that was abolished: with that of its successor.
    fn renew(&self, text: &mut Text) {
        let n = text.chars.iter().take_while(|c| c.is_ascii_digit()).count();
        let Some(code) = text
            .chars
            .get(..6)
            .filter(|code| n == 6 && self.gazetteer.names.exactly(code).is_none())
        else {
            return;
        };
        let code: String = code.iter().collect();
        if let Some(now) = onemap_model::code::successor(&code) {
            text.chars.splice(..6, now.chars());
        }
    }
}
