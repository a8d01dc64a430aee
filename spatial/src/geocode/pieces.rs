//! Roads that a district's border cuts into entities of one name: which pieces are one road, and its numbers.

use std::collections::HashMap;
use std::sync::Arc;

use super::door::{Door, Found, Number, find};
use super::gazetteer::{Gazetteer, Rank, Thing};
use super::locate::{Spot, between, foot, metres};
use super::parse::Sight;
use super::zone::Zone;

/// Pieces whose lines come as near as this are one road: a border along a river cuts it at both banks.
const JOINED_M: f64 = 300.0;
/// Doors of one number farther apart than this are two.
const APART_M: f64 = 1_000.0;

/// The pieces of each road that has several, the longest first, by each of them.
pub(super) fn of(things: &[Thing]) -> HashMap<u32, Arc<[u32]>> {
    let mut named: HashMap<&str, Vec<u32>> = HashMap::new();
    for (id, thing) in (0u32..).zip(things) {
        if thing.rank == Rank::Road && !thing.lines.is_empty() {
            named.entry(&thing.name).or_default().push(id);
        }
    }
    let mut pieces = HashMap::new();
    for ids in named.into_values().filter(|ids| ids.len() > 1) {
        let mut left = ids;
        while let Some(first) = left.pop() {
            let mut road = vec![first];
            let mut next = 0;
            while next < road.len() {
                let piece = &things[road[next] as usize];
                let (joined, apart) = left
                    .into_iter()
                    .partition(|id| is_joined(piece, &things[*id as usize]));
                left = apart;
                road.extend::<Vec<u32>>(joined);
                next += 1;
            }
            if road.len() > 1 {
                let long = |id: &u32| things[*id as usize].precision_m;
                road.sort_by(|a, b| long(b).total_cmp(&long(a)).then(a.cmp(b)));
                let road: Arc<[u32]> = road.into();
                pieces.extend(road.iter().map(|id| (*id, road.clone())));
            }
        }
    }
    pieces
}

/// Whether an end of one comes near the other.
fn is_joined(a: &Thing, b: &Thing) -> bool {
    let ends_at = |a: &Thing, b: &Thing| {
        let mut ends = a
            .lines
            .iter()
            .flat_map(|line| [line.first(), line.last()])
            .flatten();
        ends.any(|end| foot(&b.lines, *end).is_some_and(|foot| foot.distance_m <= JOINED_M))
    };
    ends_at(a, b) || ends_at(b, a)
}

/// Where a number of a road lies.
pub(super) enum Numbered {
    /// It is held: the piece, the door's code, its division and place.
    Door(u32, Arc<str>, Option<Zone>, Spot),
    /// Beside, between or beyond those that are.
    Near {
        piece: u32,
        zone: Option<Zone>,
        spot: Spot,
        /// Numbers before and behind it are held.
        is_between: bool,
    },
    /// Several pieces have it, far apart, and nothing says which.
    Several(Vec<u32>),
}

/// Looks a number up on a road: on the piece first, then on the others of the same road. `stated` is the division that
/// the text names.
pub(super) fn number(
    gazetteer: &Gazetteer,
    sight: Sight,
    piece: u32,
    number: Number,
    stated: Zone,
) -> Option<Numbered> {
    let others = gazetteer.pieces(piece).iter().copied();
    let others = others.filter(|id| *id != piece && sight.sees(gazetteer.thing(*id).zone));
    let all: Vec<u32> = std::iter::once(piece).chain(others).collect();
    let exact = |id: u32| match find(&gazetteer.thing(id).doors, 0, number) {
        Some(Found::Door(door)) => Some((id, in_zone(&gazetteer.thing(id).doors, door, stated))),
        _ => None,
    };
    let held: Vec<(u32, &Door)> = all.iter().filter_map(|id| exact(*id)).collect();
    let agrees = |door: &Door| stated.digits() >= 6 && door.zone.is_some_and(|zone| stated.meets(zone));
    let meant = held.iter().find(|(_, door)| agrees(door)).or(held.first());
    if let Some((id, door)) = meant {
        let far = held.iter().any(|(_, other)| metres(other.at, door.at) > APART_M);
        if far && !agrees(door) {
            return Some(Numbered::Several(held.iter().map(|(id, _)| *id).collect()));
        }
        return Some(Numbered::Door(
            *id,
            door.code.clone(),
            door.zone,
            at_door(door, 10.0),
        ));
    }
    let near = |id: u32, doors: &[Door], is_whole: bool| {
        let found = find(doors, 0, number)?;
        let is_between = matches!(found, Found::Between(..));
        let (Found::Door(door) | Found::Beside(door) | Found::Between(door, _) | Found::Beyond(door)) = found;
        if matches!(found, Found::Beyond(_)) && !is_whole {
            return None;
        }
        let spot = between(gazetteer.thing(id), found, number.number)?;
        let zone = door.zone.map(|zone| match found {
            Found::Between(_, other) => other.zone.map_or(zone, |other| zone.around(other)),
            _ => zone,
        });
        Some(Numbered::Near {
            piece: id,
            zone,
            spot,
            is_between,
        })
    };
    // Between two doors of one piece, then between those of the whole road, then beyond the last.
    let alone = all.len() == 1;
    let mut found = all
        .iter()
        .find_map(|id| near(*id, &gazetteer.thing(*id).doors, alone));
    if found.is_none() && !alone {
        let mut doors: Vec<Door> = all
            .iter()
            .flat_map(|id| &gazetteer.thing(*id).doors)
            .cloned()
            .collect();
        doors.sort_unstable_by_key(Door::key);
        found = near(piece, &doors, true);
    }
    found
}

/// Of doors of one number the one that lies where the text says.
fn in_zone<'a>(doors: &'a [Door], door: &'a Door, stated: Zone) -> &'a Door {
    let same = doors.iter().filter(|other| other.key() == door.key());
    let mut there = same.filter(|other| other.zone.is_some_and(|zone| stated.meets(zone)));
    there.next().unwrap_or(door)
}

/// A door's place: within `usual_m`, or what its source states.
pub(super) fn at_door(door: &Door, usual_m: f64) -> Spot {
    Spot {
        at: door.at,
        precision_m: usual_m.max(f64::from(door.stated_m)),
    }
}
