//! The answer as it is said: address, parts, what was understood and what was not, alternatives.

use super::answer::{Alternative, Answer, Level, Matched};
use super::door::{Found, Number, find};
use super::parse::Parse;
use super::resolve::{N_ALTERNATIVES, Resolver, Target, level};
use super::zone::Zone;

impl Resolver<'_> {
    pub(super) fn say(&self, parse: &Parse, target: Target, mut because: Vec<&'static str>) -> Answer {
        let Target {
            level,
            things,
            spot,
            code,
            zone: door_zone,
            confidence,
            name,
        } = target;
        let ambiguous = things.len() > 1;
        let mut zone = door_zone
            .or_else(|| self.thing(*things.first()?).zone)
            .unwrap_or(Zone::WORLD);
        if ambiguous {
            because.push("ambiguous");
            for id in &things {
                zone = zone.around(self.thing(*id).zone.unwrap_or(Zone::WORLD));
            }
        }
        let of_zone = |zone: Zone| self.gazetteer.chain(zone).last()?.division.clone();
        let own = || self.thing(*things.first()?).division.clone();
        let thing_division = door_zone.and_then(of_zone).or_else(own);
        // The text may say more than the gazetteer: a town for a place that is known by its district.
        let says_more = parse.division.filter(|_| zone.covers(parse.zone) && !ambiguous);
        let division = match says_more {
            Some(id) => self.thing(id).division.clone().or(thing_division),
            None if ambiguous => of_zone(zone),
            None => thing_division,
        };
        let (division, division_held) = match division.map(|code| self.gazetteer.division(&code)) {
            Some((code, held)) => (Some(code), Some(held)),
            None => (None, None),
        };
        let shown = division.as_ref().map_or(zone, Zone::of);
        let division_name: String = self.gazetteer.chain(shown).map(|thing| &*thing.name).collect();
        let parts = self.parts(parse);
        let mut alternatives: Vec<Alternative> = Vec::new();
        if ambiguous {
            let share = (confidence / things.len() as f64).max(0.05);
            let others = things
                .iter()
                .take(N_ALTERNATIVES)
                .map(|id| self.alternative(*id, share, parse));
            alternatives.extend(others);
        }
        if self.text.rest.is_some() {
            because.push("several_addresses");
        }
        because.sort_unstable();
        because.dedup();
        let mut address = division_name.clone();
        if level > Level::Community || level == Level::Unknown {
            address.push_str(&name);
        }
        let is_door = matches!(level, Level::Door | Level::Building);
        let has_parts = parse.owner.is_some() || level == Level::Door;
        for (key, value) in parts.iter().filter(|_| has_parts) {
            address.push_str(value);
            address.push_str(match *key {
                "group" => "社",
                "number" | "number_to" => "号",
                "building" => "号楼",
                "unit" => "单元",
                "floor" => "层",
                _ => "室",
            });
        }
        let corrected = parse
            .items
            .iter()
            .find(|item| item.likeness < 1.0)
            .map(|item| self.gazetteer.names.text(item.spelling).iter().collect());
        let at = spot.filter(|_| !ambiguous);
        Answer {
            level,
            confidence: if ambiguous {
                confidence.min(0.5)
            } else {
                confidence.clamp(0.0, 0.99)
            },
            held: code
                .as_ref()
                .filter(|code| !ambiguous && !code.is_empty())
                .map(|_| is_door || things.first().is_some_and(|id| self.thing(*id).held)),
            code: code.filter(|_| !ambiguous),
            name,
            address,
            position: at.map(|spot| [spot.at.lon_degrees(), spot.at.lat_degrees()]),
            precision_m: at.map(|spot| spot.precision_m),
            division,
            division_held,
            division_name,
            parts,
            matched: self.matched(parse),
            ignored: self.ignored(parse),
            corrected,
            ambiguous,
            alternatives,
            because,
        }
    }

    pub(crate) fn alternative(&self, id: u32, confidence: f64, parse: &Parse) -> Alternative {
        let thing = self.thing(id);
        let number = parse.parts.number.filter(|_| self.sight.sees(thing.zone));
        let door = number.and_then(|number| match find(&thing.doors, 0, number) {
            Some(Found::Door(door)) => Some(door),
            _ => None,
        });
        let at = door.map(|door| door.at).or(thing.at);
        Alternative {
            code: door.map_or_else(|| thing.code.clone(), |door| door.code.clone()),
            name: thing.name.to_string(),
            level: if door.is_some() {
                Level::Door
            } else {
                level(thing.rank)
            },
            held: door.is_some() || thing.held,
            division: thing
                .division
                .as_ref()
                .map(|code| self.gazetteer.division(code).0),
            division_name: thing
                .zone
                .map(|zone| self.gazetteer.chain(zone).map(|t| &*t.name).collect())
                .unwrap_or_default(),
            position: at.map(|at| [at.lon_degrees(), at.lat_degrees()]),
            confidence,
        }
    }

    fn parts(&self, parse: &Parse) -> Vec<(&'static str, String)> {
        let parts = &parse.parts;
        [
            ("group", parts.group.map(|n| n.to_string())),
            ("number", parts.number.map(Number::bare)),
            ("number_to", parts.number_to.map(|n| n.to_string())),
            ("building", parts.building.map(Number::bare)),
            ("unit", parts.unit.clone()),
            ("floor", parts.floor.clone()),
            ("room", parts.room.clone()),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
        .collect()
    }

    fn matched(&self, parse: &Parse) -> Vec<Matched> {
        let mut spans: Vec<(usize, usize, &'static str)> = Vec::new();
        spans.extend(
            parse
                .heads
                .iter()
                .map(|(a, b, id)| (*a, *b, level(self.thing(*id).rank).name())),
        );
        spans.extend(
            parse
                .items
                .iter()
                .map(|i| (i.from, i.to, if i.is_road { "road" } else { "place" })),
        );
        spans.extend(parse.numbers.iter().map(|(a, b)| (*a, *b, "number")));
        spans.sort_unstable();
        spans
            .into_iter()
            .map(|(a, b, kind)| Matched {
                text: self.text.part(a, b),
                kind,
            })
            .collect()
    }

    fn ignored(&self, parse: &Parse) -> Vec<String> {
        let mut spans: Vec<_> = parse.unknown.iter().chain(&parse.noise).copied().collect();
        spans.sort_unstable();
        let spans = spans.into_iter().map(|(a, b)| self.text.part(a, b));
        spans.chain(self.text.rest.clone()).collect()
    }
}
