//! How surely a name was meant, and whether the text speaks of another city altogether.

use super::classes::class_suffix;
use super::door::stem;
use super::fuzzy;
use super::parse::{Agreement, Item, Parse};
use super::resolve::Resolver;

impl Resolver<'_> {
    /// How likely an item is what was meant.
    pub(super) fn certainty(&self, parse: &Parse, item: &Item, because: &mut Vec<&'static str>) -> f64 {
        let n = item.to - item.from;
        let mut sure: f64 = match item.agreement {
            Agreement::Inside => 0.97,
            Agreement::Open => 0.93,
            Agreement::Elsewhere => 0.55,
            Agreement::Abroad => 0.25,
        };
        if item.agreement < Agreement::Open {
            because.push(if item.agreement == Agreement::Abroad {
                "elsewhere"
            } else {
                "district_differs"
            });
        }
        sure *= f64::from(parse.sure.max(0.8)).sqrt();
        if item.likeness < 1.0 {
            because.push("resembles");
            let margin = item.likeness - item.rival;
            // Never as sure as what is written; the figures are of docs/geocoding.md.
            sure *= if item.sounds && item.agreement == Agreement::Inside && n >= 3 {
                0.81
            } else if item.sounds {
                0.75
            } else {
                f64::from(item.likeness) * 0.75
            };
            if margin < 0.08 {
                sure *= 0.6;
            }
        }
        if n == 2 {
            sure *= 0.85;
        }
        // Of several the nearest was taken.
        if self.near.is_some() && item.things.len() > 1 {
            sure *= 0.8;
        }
        if item.glued {
            sure *= 0.6;
        }
        let mut tail = false;
        let numbered = parse
            .owner
            .is_some_and(|i| parse.items[i].is_road && parse.parts.number.is_some());
        for (from, to) in &parse.unknown {
            tail = true;
            let glued = *from == item.to && !self.text.gap[*from];
            sure *= if glued && !item.is_road {
                0.6
            } else if glued {
                0.75
            } else if numbered && *from > item.to {
                0.97
            } else if to - from < 2 {
                0.93
            } else {
                0.8
            };
        }
        if tail {
            because.push("tail_unknown");
        }
        if parse.orphan && item.likeness >= 1.0 {
            sure *= 0.7;
        }
        if self.is_foreign(parse) {
            because.push("elsewhere");
            sure = sure.min(0.3);
        }
        sure
    }

    /// Says that the road of a house number is not held. Whether it, or one that sounds so, is called as a division inside
    /// what the text names: whoever wrote it may have meant either.
    pub(super) fn unknown_road(&self, parse: &Parse, because: &mut Vec<&'static str>) -> bool {
        let orphan = parse.orphan && parse.parts.number.is_some();
        let before_number = |to: usize| parse.numbers.iter().any(|(at, _)| *at == to);
        let piece = parse.unknown.iter().find(|(_, to)| orphan && before_number(*to));
        let Some((from, to)) = piece.copied() else {
            return false;
        };
        let names = &self.gazetteer.names;
        let is_road = |name: &[char]| class_suffix(name).is_some_and(|class| class.is_road);
        let inside = |spelling: u32| {
            names.named(spelling).any(|name| {
                let thing = self.gazetteer.thing(name.thing);
                let zone = thing
                    .zone
                    .filter(|zone| parse.zone.covers(*zone) && *zone != parse.zone);
                thing.rank.is_division() && zone.is_some()
            })
        };
        let called = |spelling: u32| is_road(names.text(spelling)) && inside(spelling);
        // 长江路第12号, 长江路甲12号.
        let text = match &self.text.chars[from..to] {
            [road @ .., last] if *last == '第' || stem(*last).is_some() => road,
            text => text,
        };
        let exactly = (0..text.len()).any(|i| names.exactly(&text[i..]).is_some_and(called));
        let alike = || {
            let found = fuzzy::like(names, text, called, 1);
            found
                .first()
                .is_some_and(|like| like.sounds && like.n == text.len())
        };
        let is_both = exactly || alike();
        if is_both || is_road(text) {
            because.push("road_unknown");
        }
        is_both
    }

    /// The text begins with a province or city that the gazetteer does not know.
    pub(super) fn is_foreign(&self, parse: &Parse) -> bool {
        let Some((0, to)) = parse.unknown.first().copied() else {
            return false;
        };
        let head = &self.text.chars[..to.min(8)];
        head.iter().skip(2).any(|c| matches!(c, '省' | '市' | '州'))
    }
}
