//! Names with a mistake in them: which piece of the text may be one, and the reading with the name that it resembles.

use super::classes::class_suffix;
use super::names::Style;
use super::noise::noise;
use super::parse::{Agreement, Item, Parse, Reader};
use super::text::Text;
use super::{Geocoder, door, fuzzy};

/// A name is taken for what is written from this likeness on.
const LIKE: f32 = 0.7;
/// Longest piece of text that is compared with names.
const N_PIECE: usize = 24;

impl Geocoder {
    /// The piece of text that may be a name with a mistake in it: from the first unknown character before any
    /// name to the next number, bracket or word that is no address.
    pub(super) fn piece(&self, text: &Text, parse: &Parse) -> Option<(usize, usize)> {
        // A branch that is not held (佳东幼儿园(礼让大道店)) may be one with a mistake in it.
        let branch = |item: &&Item| !item.is_road && text.chars.get(item.to) == Some(&'(');
        if let Some(item) = parse.items.iter().find(branch) {
            return Some((item.from, text.chars.len().min(item.from + N_PIECE)));
        }
        // A road of another district that has no such number may be one of this district with a mistake in it.
        if let (Some(item), Some(number), true) =
            (parse.items.first(), parse.parts.number, parse.unknown.is_empty())
            && item.is_road
            && item.agreement == Agreement::Elsewhere
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
    pub(super) fn resemble(
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
        let mut ranked: Vec<(f32, fuzzy::Like, Item)> = Vec::new();
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
                Agreement::Abroad => true,
                Agreement::Elsewhere => !like.sounds,
                _ => false,
            };
            let class = class_suffix(&text.chars[from..from + like.n]);
            if elsewhere || class.is_some_and(|class| class.is_road != item.is_road) {
                continue;
            }
            let place = match item.agreement {
                Agreement::Inside => 0.15,
                Agreement::Open => 0.0,
                Agreement::Elsewhere | Agreement::Abroad => -0.1,
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
        made.score += reader.worth(&item, n, Style::Full) + if numbered && item.is_road { 1.0 } else { 0.0 };
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
