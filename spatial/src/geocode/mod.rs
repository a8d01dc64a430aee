//! The geocoder: from an address to a place, from the beginning of a name to names, from a place to an address.
//!
//! Pure: entries in, answers out. A [`Geocoder`] never changes; whoever holds the register makes a new one.
//! It never answers nothing, and it does not guess: what several may be is answered with all of them, what
//! is not known with the level that is.

mod answer;
mod base;
mod certainty;
mod door;
mod entity;
mod fuzzy;
mod gazetteer;
mod heads;
mod locate;
mod names;
mod parse;
mod pinyin;
mod register;
mod resolve;
mod reverse;
mod said;
mod shorten;
mod suggest;
mod tail;
mod text;
mod zone;

pub use answer::{Alternative, Answer, Level, Matched};
pub use base::base_entries;
pub use entity::{Named, named};
pub use gazetteer::{DoorEntry, Entry, EntryKind, Ground};
pub use register::{NAMED, has_names, of_entities};
pub use reverse::{Near, REACH_M, Whereabouts};
pub use suggest::{MAX_TYPED, Suggestion};
pub use text::{AddressError, MAX_CHARS};

use onemap_model::{DivisionCode, Position};

use crate::coordinates::Vertex;
use gazetteer::Gazetteer;
use parse::{Parse, Reader, Sight};
use resolve::{N_ALTERNATIVES, Resolver};
use text::{Text, noise};
use zone::Zone;

/// Readings whose unknown names are compared with the gazetteer.
const N_COMPARED: usize = 3;
/// A name is taken for what is written from this likeness on.
const LIKE: f32 = 0.7;
/// Longest piece of text that is compared with names.
const N_PIECE: usize = 24;

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

    /// The piece of text that may be a name with a mistake in it: from the first unknown character before any
    /// name to the next number, bracket or word that is no address.
    fn piece(&self, text: &Text, parse: &Parse) -> Option<(usize, usize)> {
        // A branch that is not held (佳东幼儿园(礼让大道店)) may be one with a mistake in it.
        let branch = |item: &&parse::Item| !item.is_road && text.chars.get(item.to) == Some(&'(');
        if let Some(item) = parse.items.iter().find(branch) {
            return Some((item.from, text.chars.len().min(item.from + N_PIECE)));
        }
        // A road of another district that has no such number may be one of this district with a mistake in it.
        if let (Some(item), Some(number), true) =
            (parse.items.first(), parse.parts.number, parse.unknown.is_empty())
            && item.is_road
            && item.agreement == parse::Agreement::Elsewhere
            && !item.things.iter().any(|road| self.has_door(*road, number))
        {
            return Some((item.from, item.to));
        }
        let (mut from, _) = *parse.unknown.first()?;
        let first = parse.items.first();
        let before = first.is_none_or(|item| from < item.from || item.to - item.from <= 2);
        if !before && !parse.orphan {
            return None;
        }
        if parse.orphan {
            // The unknown piece directly before the number.
            let number = parse.numbers.first().map_or(usize::MAX, |(at, _)| *at);
            let piece = parse.unknown.iter().rfind(|(_, to)| *to <= number);
            from = piece.map_or(from, |(from, _)| *from);
        }
        // What is not known may begin with what was taken for noise or a name of two characters.
        if let Some(item) = parse
            .items
            .iter()
            .find(|item| item.to == from && item.to - item.from <= 2)
        {
            from = item.from;
        }
        let mut to = from;
        while to < text.chars.len() && to - from < N_PIECE {
            let c = text.chars[to];
            let ends = (c.is_ascii_digit() && to - from >= 2)
                || (c == '/' && to > from)
                || (to > from && noise(text, to) >= 2);
            if ends {
                break;
            }
            to += 1;
        }
        (to - from >= 2).then_some((from, to))
    }

    /// Whether a road has this door, or doors on both sides of it.
    fn has_door(&self, road: u32, number: door::Number) -> bool {
        let found = door::find(&self.gazetteer.thing(road).doors, 0, number);
        matches!(
            found,
            Some(door::Found::Door(_) | door::Found::Beside(_) | door::Found::Between(..))
        )
    }

    /// The reading with the name that a piece resembles most.
    fn resemble(
        &self,
        reader: &Reader<'_>,
        head: &Parse,
        parse: &Parse,
        from: usize,
        to: usize,
        rivals: &mut Vec<(u32, f32)>,
    ) -> Option<Parse> {
        let text = reader.text;
        let names = &self.gazetteer.names;
        let visible = |spelling: u32| {
            names.named(spelling).take(64).any(|name| {
                let thing = self.gazetteer.thing(name.thing);
                !thing.rank.is_division() && reader.sight.sees(thing.zone)
            })
        };
        let found = fuzzy::like(names, &text.chars[from..to], visible, 8);
        let numbered = text.chars.get(to).is_some_and(char::is_ascii_digit);
        let number = parse.parts.number.filter(|_| numbered);
        let mut ranked: Vec<(f32, fuzzy::Like, parse::Item)> = Vec::new();
        for like in found {
            if like.likeness < LIKE {
                continue;
            }
            let Some(mut item) = reader.item(head.zone, like.spelling, from, from + like.n) else {
                continue;
            };
            item.likeness = like.likeness.min(0.99);
            item.sounds = like.sounds;
            // A mistake and a wrong district at once is too much; a road is no shop.
            let elsewhere = match item.agreement {
                parse::Agreement::Abroad => true,
                parse::Agreement::Elsewhere => !like.sounds,
                _ => false,
            };
            let class = shorten::class_suffix(&text.chars[from..from + like.n]);
            if elsewhere || class.is_some_and(|class| class.is_road != item.is_road) {
                continue;
            }
            let place = match item.agreement {
                parse::Agreement::Inside => 0.15,
                parse::Agreement::Open => 0.0,
                parse::Agreement::Elsewhere | parse::Agreement::Abroad => -0.1,
            };
            let kind = if numbered == item.is_road { 0.08 } else { 0.0 };
            let door = match (item.is_road, number) {
                (true, Some(number)) if item.things.iter().any(|id| self.has_door(*id, number)) => 0.05,
                (true, Some(_)) => -0.1,
                _ => 0.0,
            };
            ranked.push((like.likeness + place + kind + door, like, item));
        }
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
        for (_, like, item) in ranked.iter().skip(1).take(4) {
            rivals.extend(item.things.iter().take(2).map(|thing| (*thing, like.likeness)));
        }
        let rival = ranked.get(1).map_or(0.0, |(rank, ..)| *rank);
        let (rank, like, mut item) = ranked.into_iter().next()?;
        item.rival = (item.likeness - (rank - rival)).max(0.0);
        let n = like.n as f32 * like.likeness * like.likeness;
        let mut made = head.clone();
        made.score +=
            reader.worth(&item, n, names::Style::Full) + if numbered && item.is_road { 1.0 } else { 0.0 };
        // What stands between the head and the name stays unknown.
        let start = head.heads.last().map_or(0, |(_, end, _)| *end);
        let skipped = |spans: &[(usize, usize)]| {
            spans
                .iter()
                .copied()
                .filter(|(a, b)| *a >= start && *b <= from)
                .collect::<Vec<_>>()
        };
        made.unknown = skipped(&parse.unknown);
        made.noise = skipped(&parse.noise);
        item.glued = made.unknown.last().is_some_and(|(_, to)| *to == from) && !text.gap[from];
        let end = item.to;
        made.items.push(item);
        Some(reader.scan_from(made, end))
    }
}
