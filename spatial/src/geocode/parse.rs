//! Readings of an address: which divisions it begins with, which names and numbers follow.
//!
//! The divisions at the head are read in every way that makes sense (省 and 市 left out, short names, names
//! of before, or not as a division at all); behind each way the rest is scanned once from left to right. The
//! reading that explains most of the text wins.

use super::gazetteer::{Gazetteer, Rank};
use super::heads::N_NAMESAKES;
use super::names::{NONE, Style};
use super::noise::noise;
use super::tail::{Behind, Parts, part};
use super::text::Text;
use super::zone::Zone;

/// Who asks: what may be answered.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sight {
    /// Only roads, places and doors inside it are seen; divisions are seen by all.
    pub(crate) within: Option<Zone>,
}

impl Sight {
    pub(crate) fn sees(self, zone: Option<Zone>) -> bool {
        self.within
            .is_none_or(|within| zone.is_some_and(|zone| within.covers(zone)))
    }
}

/// A name met in the text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hit {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) spelling: u32,
}

/// How what is known of a thing's place agrees with the divisions in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Agreement {
    /// It lies elsewhere, in another city.
    Abroad,
    /// It lies in another district or town.
    Elsewhere,
    /// The text or the gazetteer does not say.
    Open,
    /// It lies there.
    Inside,
}

pub(crate) fn agreement(zone: Zone, thing: Option<Zone>) -> Agreement {
    let Some(thing) = thing else {
        return Agreement::Open;
    };
    if !zone.cut(4).meets(thing.cut(4)) {
        return Agreement::Abroad;
    }
    if zone.digits() < 6 || thing.digits() < 6 {
        return Agreement::Open;
    }
    if zone.meets(thing) {
        return Agreement::Inside;
    }
    // Roads and places are held by their district more often than by their town.
    if zone.cut(6) == thing.cut(6) {
        Agreement::Open
    } else {
        Agreement::Elsewhere
    }
}

/// A road or place that the text names.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) spelling: u32,
    pub(crate) things: Vec<u32>,
    pub(crate) is_road: bool,
    pub(crate) agreement: Agreement,
    /// 1 for the name itself, less for one that resembles it.
    pub(crate) likeness: f32,
    /// Only sounds differ.
    pub(crate) sounds: bool,
    /// The best other name's likeness.
    pub(crate) rival: f32,
    /// Another name's letter stands directly before it.
    pub(crate) glued: bool,
}

/// One way to read the whole text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parse {
    pub(crate) score: f32,
    /// Where the divisions say it is.
    pub(crate) zone: Zone,
    pub(crate) division: Option<u32>,
    /// Divisions as they stand in the text.
    pub(crate) heads: Vec<(usize, usize, u32)>,
    /// 0..1: how surely the deepest division was meant.
    pub(crate) sure: f32,
    pub(crate) items: Vec<Item>,
    pub(crate) parts: Parts,
    /// The item that the parts stand behind; `None` is the village or nothing.
    pub(crate) owner: Option<usize>,
    /// Nothing of the gazetteer stands before the number.
    pub(crate) orphan: bool,
    pub(crate) unknown: Vec<(usize, usize)>,
    pub(crate) noise: Vec<(usize, usize)>,
    pub(crate) numbers: Vec<(usize, usize)>,
}

impl Parse {
    /// Whether divisions may still come: nothing is named yet, or a name stands in front of the whole address.
    fn begins(&self) -> bool {
        let after = |item: &Item| self.heads.first().is_none_or(|(from, ..)| *from >= item.to);
        self.items
            .first()
            .is_none_or(|item| self.items.len() == 1 && !item.is_road && after(item))
    }

    pub(crate) fn n_unknown(&self) -> usize {
        self.unknown.iter().map(|(from, to)| to - from).sum()
    }
}

/// The text with every name in it.
pub(crate) struct Reader<'a> {
    pub(crate) gazetteer: &'a Gazetteer,
    pub(crate) text: &'a Text,
    pub(crate) sight: Sight,
    hits: Vec<Hit>,
    /// First hit at each character.
    first: Vec<usize>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(gazetteer: &'a Gazetteer, text: &'a Text, sight: Sight) -> Self {
        let mut hits = Vec::new();
        let mut first = Vec::with_capacity(text.chars.len() + 1);
        for start in 0..text.chars.len() {
            first.push(hits.len());
            gazetteer.names.beginning(&text.chars[start..], |n, spelling| {
                hits.push(Hit {
                    start,
                    end: start + n,
                    spelling,
                });
            });
        }
        first.push(hits.len());
        Self {
            gazetteer,
            text,
            sight,
            hits,
            first,
        }
    }

    pub(super) fn hits_at(&self, at: usize) -> &[Hit] {
        &self.hits[self.first[at]..self.first[at + 1]]
    }

    /// Reads what follows a head.
    pub(crate) fn scan(&self, head: Parse) -> Parse {
        let at = head.heads.last().map_or(0, |(_, end, _)| *end);
        let mut parse = self.scan_from(head, at);
        // A name in front of its address was read before it was known where.
        let in_front = parse
            .items
            .first()
            .filter(|item| parse.heads.first().is_some_and(|(from, ..)| *from >= item.to));
        if let Some(again) =
            in_front.and_then(|item| self.item(parse.zone, item.spelling, item.from, item.to))
        {
            parse.items[0].things = again.things;
            parse.items[0].agreement = again.agreement;
        }
        parse
    }

    /// Continues a parse whose last item was put in from outside.
    pub(crate) fn scan_from(&self, mut parse: Parse, mut at: usize) -> Parse {
        while at < self.text.chars.len() {
            at = self.next(&mut parse, at);
        }
        let n = parse.n_unknown() as f32;
        parse.score -= 0.6 * n + if n > 0.0 { 0.6 } else { 0.0 };
        parse
    }

    fn behind(&self, parse: &Parse) -> Behind {
        match parse.items.last() {
            Some(item) if item.is_road => Behind::Road,
            Some(_) => Behind::Place,
            None => match parse.division.map(|id| self.gazetteer.thing(id).rank) {
                Some(Rank::Community) => Behind::Village,
                _ => Behind::Nothing,
            },
        }
    }

    fn next(&self, parse: &mut Parse, at: usize) -> usize {
        let c = self.text.chars[at];
        let after_unknown = parse.unknown.last().is_some_and(|(_, to)| *to == at) && !self.text.gap[at];
        let behind = self.behind(parse);
        let takes_number = c.is_ascii_digit() && behind != Behind::Nothing && !after_unknown;
        if let Some(end) = self.named(parse, at, takes_number, after_unknown) {
            return end;
        }
        let counted = c.is_ascii_digit() || c == '-' || behind != Behind::Nothing;
        if counted {
            let n = part(
                self.text,
                at,
                if after_unknown { Behind::Road } else { behind },
                &mut parse.parts,
            );
            if n > 0 {
                if parse.parts.number.is_some() && parse.owner.is_none() && !parse.orphan {
                    if after_unknown || behind == Behind::Nothing {
                        parse.orphan = true;
                    } else {
                        parse.owner = parse.items.len().checked_sub(1);
                    }
                } else if !parse.items.is_empty() && !after_unknown && parse.owner.is_none() && !parse.orphan
                {
                    parse.owner = parse.items.len().checked_sub(1);
                }
                note(&mut parse.numbers, at, at + n);
                return at + n;
            }
        }
        let n = noise(self.text, at);
        // 和平路 with its 平 lost is no conjunction.
        let joins = matches!(c, '与' | '和' | '及') && parse.items.last().is_none_or(|item| item.to != at);
        let inside_name = (after_unknown || joins)
            && n == 1
            && !matches!(c, '(' | ')' | '/' | '&' | '+' | '#')
            && at + 1 < self.text.chars.len();
        if n > 0 && !inside_name {
            note(&mut parse.noise, at, at + n);
            return at + n;
        }
        note(&mut parse.unknown, at, at + 1);
        at + 1
    }

    /// Takes the best name at `at`, if there is one worth it.
    fn named(&self, parse: &mut Parse, at: usize, takes_number: bool, after_unknown: bool) -> Option<usize> {
        let mut best: Option<(f32, Item, Option<u32>)> = None;
        for hit in self.hits_at(at) {
            let n = hit.end - hit.start;
            if takes_number && n < 4 {
                continue;
            }
            let end_known = self.is_boundary(hit.end);
            // Two characters, or a piece of what is not known, are no name.
            if n < 2 || ((n == 2 || after_unknown) && !end_known) || noise(self.text, at) >= n {
                continue;
            }
            let Some((mut value, item, division)) = self.value(parse, *hit) else {
                continue;
            };
            if item.is_road && self.text.chars.get(hit.end).is_some_and(char::is_ascii_digit) {
                value += 1.0;
            }
            // The whole text is this name.
            if at == 0 && hit.end == self.text.chars.len() && division.is_none() {
                value += 2.0;
            }
            if best.as_ref().is_none_or(|(v, ..)| value > *v) {
                best = Some((value, item, division));
            }
        }
        let (value, mut item, division) = best?;
        let end = item.to;
        parse.score += value;
        match division {
            Some(id) => {
                let zone = self.gazetteer.thing(id).zone.unwrap_or(parse.zone);
                if parse.zone.covers(zone) && parse.zone != zone {
                    parse.zone = zone;
                    parse.division = Some(id);
                    parse.sure = if after_unknown { 0.8 } else { 1.0 };
                }
                parse.heads.push((at, end, id));
            }
            None => {
                item.glued = after_unknown;
                parse.items.push(item);
            }
        }
        Some(end)
    }

    fn is_boundary(&self, end: usize) -> bool {
        match self.text.chars.get(end) {
            None => true,
            Some(c) if c.is_ascii_digit() || self.text.gap[end] => true,
            Some(_) => {
                noise(self.text, end) > 0 || self.hits_at(end).iter().any(|hit| hit.end - hit.start >= 3)
            }
        }
    }

    /// What a hit is worth in this reading: as a road or place, or as a division.
    fn value(&self, parse: &Parse, hit: Hit) -> Option<(f32, Item, Option<u32>)> {
        let n = (hit.end - hit.start) as f32;
        let mut item = Item {
            from: hit.start,
            to: hit.end,
            spelling: hit.spelling,
            things: Vec::new(),
            is_road: false,
            agreement: Agreement::Abroad,
            likeness: 1.0,
            sounds: false,
            rival: 0.0,
            glued: false,
        };
        let mut division: Option<u32> = None;
        let mut style = Style::Short;
        for name in self.gazetteer.names.named(hit.spelling).take(N_NAMESAKES) {
            let thing = self.gazetteer.thing(name.thing);
            if thing.rank.is_division() {
                // Deeper, or said once more.
                let meets = thing.zone.is_some_and(|zone| parse.zone.meets(zone));
                let is_road = self.is_road_with_door(hit, name.style);
                if meets && parse.begins() && name.style < Style::Short && n >= 3.0 && !is_road {
                    division = Some(name.thing);
                }
                continue;
            }
            if !self.sight.sees(thing.zone) {
                continue;
            }
            let found = agreement(parse.zone, thing.zone);
            if item.things.is_empty() || found > item.agreement {
                item.things.clear();
                item.agreement = found;
                item.is_road = thing.rank == Rank::Road;
                style = name.style;
            }
            if found == item.agreement {
                item.is_road &= thing.rank == Rank::Road;
                style = style.min(name.style);
                item.things.push(name.thing);
            }
        }
        // A place that is called as a division is: the division, and what lies in it.
        if item.things.is_empty() || (division.is_some() && !item.is_road && style == Style::Full) {
            return division.map(|id| (n, item, Some(id)));
        }
        item.things.sort_unstable();
        Some((self.worth(&item, n, style), item, None))
    }

    /// A name's worth: its characters, and whether it lies where the text says.
    pub(crate) fn worth(&self, item: &Item, n: f32, style: Style) -> f32 {
        let named = n * if style == Style::Full { 1.0 } else { 0.95 };
        let agrees = match item.agreement {
            Agreement::Inside => 1.5,
            Agreement::Open => 0.0,
            Agreement::Elsewhere => -1.0,
            Agreement::Abroad => -4.0,
        };
        named + agrees
    }

    /// Things of a spelling that agree best with a zone, as an item from `from` to `to`.
    pub(crate) fn item(&self, zone: Zone, spelling: u32, from: usize, to: usize) -> Option<Item> {
        debug_assert_ne!(spelling, NONE);
        let parse = Parse {
            zone,
            ..Parse::default()
        };
        let (_, mut item, _) = self.value(
            &parse,
            Hit {
                start: from,
                end: to,
                spelling,
            },
        )?;
        (!item.things.is_empty()).then(|| {
            item.to = to;
            item
        })
    }
}

fn note(spans: &mut Vec<(usize, usize)>, from: usize, to: usize) {
    match spans.last_mut() {
        Some((_, end)) if *end == from => *end = to,
        _ => spans.push((from, to)),
    }
}
