//! From the reading of an address to its answer: which thing is meant, where it is, and how surely.

use super::answer::{Answer, Level};
use super::door::{Found, find};
use super::gazetteer::{Gazetteer, Rank, Thing};
use super::locate::{Spot, crossing, metres};
use super::parse::{Agreement, Item, Parse, Sight};
use super::pieces::at_door;
use super::text::Text;
use super::zone::Zone;
use crate::coordinates::Vertex;

/// Things of one name nearer to each other than this are one answer.
const SAME_M: f64 = 1_000.0;
/// A road and a place of one address are not farther apart.
const TOGETHER_M: f64 = 2_500.0;
/// Alternatives of an answer.
pub(crate) const N_ALTERNATIVES: usize = 10;

/// Puts an answer together.
pub(crate) struct Resolver<'a> {
    pub(crate) gazetteer: &'a Gazetteer,
    pub(crate) text: &'a Text,
    pub(crate) near: Option<Vertex>,
    pub(crate) sight: Sight,
}

/// What is meant, and where.
pub(super) struct Target {
    pub(super) level: Level,
    pub(super) things: Vec<u32>,
    pub(super) spot: Option<Spot>,
    pub(super) code: Option<std::sync::Arc<str>>,
    /// The division of the door, which decides on a road through several.
    pub(super) zone: Option<Zone>,
    pub(super) confidence: f64,
    pub(super) name: String,
}

impl Resolver<'_> {
    pub(crate) fn answer(&self, parse: &Parse, rivals: &[&Parse]) -> Answer {
        let mut because = Vec::new();
        let target = self
            .at_crossing(parse, &mut because)
            .or_else(|| self.at_item(parse, &mut because))
            .unwrap_or_else(|| self.at_division(parse, rivals, &mut because));
        self.say(parse, target, because)
    }

    pub(super) fn thing(&self, id: u32) -> &Thing {
        self.gazetteer.thing(id)
    }

    /// Two roads with a word for a crossing.
    fn at_crossing(&self, parse: &Parse, because: &mut Vec<&'static str>) -> Option<Target> {
        let roads: Vec<&Item> = parse.items.iter().filter(|item| item.is_road).collect();
        let [a, b, ..] = roads[..] else { return None };
        if parse.parts.number.is_some() {
            return None;
        }
        let between = self.text.part(a.to, b.from);
        let behind: String = self.text.chars[b.to..].iter().take(8).collect();
        let joined = between.is_empty()
            || matches!(
                &*between,
                "与" | "和" | "及" | "/" | "&" | "+" | "×" | "跟" | "X" | "到"
            );
        let crosses = [
            "交叉",
            "交汇",
            "交界",
            "路口",
            "十字",
            "相交",
            "口",
            "转盘",
            "红绿灯",
            "角",
        ];
        let told = crosses
            .iter()
            .any(|word| behind.starts_with(word) || behind.contains("角") || between.contains(word));
        if !joined || (!told && between.is_empty()) {
            return None;
        }
        let mut met: Vec<(u32, u32, Spot)> = Vec::new();
        for x in &a.things {
            for y in &b.things {
                if let Some(spot) = crossing(self.thing(*x), self.thing(*y)) {
                    met.push((*x, *y, spot));
                }
            }
        }
        let Some((x, y, spot)) = met.first().copied() else {
            because.push("roads_do_not_meet");
            return None;
        };
        if met.iter().any(|(.., other)| metres(other.at, spot.at) > SAME_M) {
            because.push("ambiguous");
            return None;
        }
        let surest = self
            .certainty(parse, a, because)
            .min(self.certainty(parse, b, because));
        Some(Target {
            level: Level::Intersection,
            name: format!("{}与{}交叉口", self.thing(x).name, self.thing(y).name),
            things: vec![x],
            spot: Some(spot),
            code: None,
            zone: None,
            confidence: surest,
        })
    }

    fn at_item(&self, parse: &Parse, because: &mut Vec<&'static str>) -> Option<Target> {
        let road = parse.items.iter().position(|item| item.is_road);
        let place = parse.items.iter().rposition(|item| !item.is_road);
        let owner = parse.owner.filter(|i| parse.items[*i].is_road).or(road);
        let mut chosen: Option<Target> = None;
        if let Some(i) = owner {
            let item = &parse.items[i];
            let things = self.choose(parse, item, i);
            chosen = Some(self.on_road(parse, item, things, i, because));
        }
        if let Some(i) = place {
            let before_road = owner.is_some_and(|owner| i < owner && parse.owner == Some(owner));
            let better = match &chosen {
                None => true,
                // An area in front of a road and its number holds them.
                Some(_) if before_road => false,
                Some(target) => {
                    let whole = parse.items[i].likeness >= 1.0 && parse.items[i].agreement >= Agreement::Open;
                    target.level < Level::Door && (whole || target.things.len() > 1)
                }
            };
            if better {
                let item = &parse.items[i];
                let things = self.choose(parse, item, i);
                let target = self.at_place(parse, item, things, i, because);
                // A place of many branches does not take over from a road that is one.
                let keeps = chosen
                    .as_ref()
                    .is_some_and(|road| target.things.len() > road.things.len());
                if !keeps {
                    chosen = Some(target);
                }
            }
        }
        chosen
    }

    /// The things that may be meant: near the rest of the address, near the asker, or one after all.
    fn choose(&self, parse: &Parse, item: &Item, index: usize) -> Vec<u32> {
        let mut things = item.things.clone();
        if things.len() == 1 {
            return things;
        }
        let close = |a: u32, b: u32| match (self.thing(a).at, self.thing(b).at) {
            (Some(a), Some(b)) => metres(a, b) < TOGETHER_M,
            _ => false,
        };
        for (i, other) in parse.items.iter().enumerate() {
            if i != index {
                let with: Vec<u32> = things
                    .iter()
                    .copied()
                    .filter(|a| other.things.iter().any(|b| close(*a, *b)))
                    .collect();
                if !with.is_empty() {
                    things = with;
                }
            }
        }
        // Their own names before another's aliases.
        let exact: Vec<u32> = things
            .iter()
            .copied()
            .filter(|id| {
                self.gazetteer
                    .names
                    .named(item.spelling)
                    .any(|n| n.thing == *id && n.style == super::names::Style::Full)
            })
            .collect();
        if !exact.is_empty() {
            things = exact;
        }
        if let Some(near) = self.near {
            things.sort_by_key(|id| self.thing(*id).at.map_or(u64::MAX, |at| metres(near, at) as u64));
            things.truncate(1);
        }
        // Pieces of one road are one thing: the longest that may be meant stands for it.
        let mut roads: Vec<u32> = Vec::new();
        for id in &things {
            let mut pieces = self.gazetteer.pieces(*id).iter();
            let longest = pieces.find(|id| things.contains(id)).copied().unwrap_or(*id);
            if !roads.contains(&longest) {
                roads.push(longest);
            }
        }
        things = roads;
        let first = self.thing(things[0]);
        let one = things[1..].iter().all(|id| {
            let other = self.thing(*id);
            let near = matches!((first.at, other.at), (Some(a), Some(b)) if metres(a, b) < SAME_M);
            near && first.rank == other.rank && first.zone.map(|z| z.cut(6)) == other.zone.map(|z| z.cut(6))
        });
        if one {
            things.truncate(1);
        }
        things
    }

    fn at_place(
        &self,
        parse: &Parse,
        item: &Item,
        things: Vec<u32>,
        index: usize,
        because: &mut Vec<&'static str>,
    ) -> Target {
        let mut confidence = self.certainty(parse, item, because);
        let id = things[0];
        let place = self.thing(id);
        // A road of the same address that lies elsewhere speaks against it.
        let apart = parse.items.iter().filter(|other| other.is_road).any(|road| {
            let far = |road: &u32| {
                let road = self.thing(*road);
                let near = |at: Vertex| {
                    road.at
                        .is_some_and(|b| metres(at, b) < TOGETHER_M + f64::from(road.precision_m))
                };
                place.at.is_some_and(|at| road.at.is_some() && !near(at))
            };
            road.things.iter().all(far)
        });
        if apart {
            confidence *= 0.6;
            because.push("road_differs");
        }
        let mut target = Target {
            level: Level::Place,
            name: place.name.to_string(),
            spot: place.at.map(|at| Spot {
                at,
                precision_m: f64::from(place.precision_m.max(10.0)),
            }),
            code: Some(place.code.clone()),
            zone: None,
            things,
            confidence,
        };
        let building = parse
            .parts
            .building
            .or(parse.parts.number)
            .filter(|_| parse.owner == Some(index));
        if let Some(Found::Door(door)) = building.and_then(|number| find(&place.doors, 0, number)) {
            target.level = Level::Building;
            target.spot = Some(at_door(door, 15.0));
            target.code = Some(door.code.clone());
        }
        target
    }

    fn at_division(&self, parse: &Parse, rivals: &[&Parse], because: &mut Vec<&'static str>) -> Target {
        let unknown = Target {
            level: Level::Unknown,
            name: String::new(),
            things: Vec::new(),
            spot: None,
            code: None,
            zone: None,
            confidence: 0.0,
        };
        let Some(id) = parse.division else {
            self.unknown_road(parse, because);
            because.push("nothing_known");
            return unknown;
        };
        let mut things = vec![id];
        for rival in rivals {
            let same = rival.items.is_empty() && (rival.score - parse.score).abs() < 1e-3;
            if let (true, Some(other)) = (same, rival.division)
                && !things.contains(&other)
                && self.thing(other).rank == self.thing(id).rank
            {
                things.push(other);
            }
        }
        let thing = self.thing(id);
        let mut confidence = 0.96 * f64::from(parse.sure);
        if self.unknown_road(parse, because) {
            confidence *= 0.55;
        }
        if parse.n_unknown() > 0 || parse.orphan {
            because.push("tail_unknown");
            confidence *= 0.92;
            // 永康苑 need not lie in 永康.
            let glued = |to: usize| {
                parse
                    .unknown
                    .iter()
                    .any(|(from, _)| *from == to && !self.text.gap[to])
            };
            if parse.sure < 1.0 && parse.heads.last().is_some_and(|(_, to, _)| glued(*to)) {
                confidence *= 0.75;
            }
        }
        if self.is_foreign(parse) {
            because.push("elsewhere");
            confidence = confidence.min(0.3);
        }
        let mut target = Target {
            level: level(thing.rank),
            name: thing.name.to_string(),
            things,
            spot: thing.at.map(|at| Spot {
                at,
                precision_m: reach_m(thing),
            }),
            code: Some(thing.code.clone()),
            zone: None,
            confidence,
        };
        // A house of a village, by its group; the village is public, its houses are not.
        if let (Rank::Community, Some(number), None) = (thing.rank, parse.parts.number, parse.owner)
            && self.sight.sees(thing.zone)
            && let Some(Found::Door(door)) = find(&thing.doors, parse.parts.group.unwrap_or(0), number)
        {
            target.level = Level::Door;
            target.spot = Some(at_door(door, 10.0));
            target.code = Some(door.code.clone());
        }
        target
    }
}

pub(crate) fn level(rank: Rank) -> Level {
    match rank {
        Rank::Province => Level::Province,
        Rank::City => Level::City,
        Rank::District => Level::District,
        Rank::Town => Level::Town,
        Rank::Community => Level::Community,
        Rank::Road => Level::Road,
        Rank::Place => Level::Place,
    }
}

fn reach_m(thing: &Thing) -> f64 {
    if thing.precision_m > 0.0 {
        return f64::from(thing.precision_m);
    }
    match thing.rank {
        Rank::Province => 400_000.0,
        Rank::City => 60_000.0,
        Rank::District => 15_000.0,
        Rank::Town => 5_000.0,
        _ => 1_500.0,
    }
}
