//! The answer on a road: its door, between its doors, or the road.

use super::answer::Level;
use super::locate::Spot;
use super::parse::{Agreement, Item, Parse, agreement};
use super::pieces::{Numbered, number};
use super::resolve::{Resolver, Target};
use super::zone::Zone;

impl Resolver<'_> {
    pub(super) fn on_road(
        &self,
        parse: &Parse,
        item: &Item,
        mut things: Vec<u32>,
        index: usize,
        because: &mut Vec<&'static str>,
    ) -> Target {
        let wanted = parse
            .parts
            .number
            .filter(|_| parse.owner == Some(index) || (parse.orphan && parse.items.len() == 1));
        let confidence = self.certainty(parse, item, because);
        let found = |id: u32| number(self.gazetteer, self.sight, id, wanted?, parse.zone);
        if things.len() > 1 {
            things.sort_by_cached_key(|id| match found(*id) {
                Some(Numbered::Door(..) | Numbered::Several(_)) => 0,
                Some(Numbered::Near { is_between: true, .. }) => 1,
                _ => 2,
            });
        }
        let id = things[0];
        let road = self.thing(id);
        let mut target = Target {
            level: Level::Road,
            name: road.name.to_string(),
            things,
            spot: road.at.map(|at| Spot {
                at,
                precision_m: f64::from(road.precision_m.max(50.0)),
            }),
            code: Some(road.code.clone()),
            zone: None,
            confidence: confidence * 0.9,
        };
        if wanted.is_none() {
            self.through_districts(parse, &mut target, because);
            return target;
        }
        let (piece, zone) = match found(id) {
            Some(Numbered::Door(piece, code, zone, spot)) => {
                target.level = Level::Door;
                target.spot = Some(spot);
                target.code = Some(code);
                target.confidence = confidence;
                (piece, zone)
            }
            Some(Numbered::Near {
                piece,
                zone,
                spot,
                is_between,
            }) => {
                target.level = Level::Interpolated;
                target.spot = Some(spot);
                target.code = Some(self.thing(piece).code.clone());
                target.confidence = confidence * if is_between { 0.95 } else { 0.88 };
                (piece, zone)
            }
            Some(Numbered::Several(pieces)) => {
                target.things = pieces;
                return target;
            }
            None => {
                because.push("number_unknown");
                self.through_districts(parse, &mut target, because);
                return target;
            }
        };
        // The door decides in which district it is.
        let lies = zone.or(self.thing(piece).zone);
        let differs = lies.is_some_and(|lies| agreement(parse.zone, Some(lies)) < Agreement::Open);
        if differs && item.agreement >= Agreement::Open {
            because.push("district_differs");
            target.confidence *= 0.8;
        }
        target.zone = zone;
        if target.things.len() == 1 {
            target.things = vec![piece];
        }
        target
    }

    /// A road through several districts of which the text names none lies in what they have in common.
    fn through_districts(&self, parse: &Parse, target: &mut Target, because: &mut Vec<&'static str>) {
        let [id] = target.things[..] else { return };
        let zones = self.gazetteer.pieces(id).iter();
        let zones = zones.filter_map(|id| self.thing(*id).zone.filter(|zone| self.sight.sees(Some(*zone))));
        let Some(common) = zones.reduce(Zone::around) else {
            return;
        };
        let is_open = parse.zone.digits() < 6 && common.meets(parse.zone);
        if is_open
            && self
                .thing(id)
                .zone
                .is_some_and(|zone| zone.cut(6) != common.cut(6))
        {
            target.zone = Some(common);
            because.push("several_districts");
        }
    }
}
