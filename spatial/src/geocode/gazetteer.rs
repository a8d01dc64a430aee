//! The names of one city and what bears them.

use std::collections::HashMap;
use std::sync::Arc;

use onemap_model::DivisionCode;

use super::classes::class_suffix;
use super::door::{Door, Number};
use super::entries::{DoorEntry, Entry, EntryKind, Ground};
use super::names::{Names, Style};
use super::shorten::short_names;
use super::text::Text;
use super::zone::Zone;
use crate::coordinates::Vertex;
use crate::geocode::locate::{length_m, metres, midpoint};

/// The level of a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Rank {
    Province,
    City,
    District,
    Town,
    Community,
    Road,
    Place,
}

impl Rank {
    pub(crate) fn is_division(self) -> bool {
        self <= Self::Community
    }
}

/// A named thing as the engine holds it.
#[derive(Debug)]
pub(crate) struct Thing {
    pub(crate) code: Arc<str>,
    pub(crate) name: Box<str>,
    pub(crate) rank: Rank,
    /// `None` when it is not known where it lies.
    pub(crate) zone: Option<Zone>,
    pub(crate) division: Option<DivisionCode>,
    pub(crate) at: Option<Vertex>,
    pub(crate) precision_m: f32,
    /// How far off it may be as its source states, metres; 0 when it does not.
    pub(crate) stated_m: f32,
    pub(crate) lines: Box<[Box<[Vertex]>]>,
    /// It is an entity of the register.
    pub(crate) held: bool,
    /// By group, number and part.
    pub(crate) doors: Vec<Door>,
}

/// Names, things and doors, indexed.
pub(crate) struct Gazetteer {
    pub(crate) things: Vec<Thing>,
    pub(crate) names: Names,
    pub(crate) codes: HashMap<Arc<str>, u32>,
    /// Divisions by zone.
    pub(crate) divisions: HashMap<Zone, u32>,
    /// Pieces of one road that a border cuts, by each of them.
    pub(super) pieces: HashMap<u32, Arc<[u32]>>,
    pub(crate) n_doors: usize,
    /// Doors whose owner, number or position cannot be used.
    pub(crate) n_unused: usize,
}

impl Gazetteer {
    pub(crate) fn new(
        entries: impl IntoIterator<Item = Entry>,
        doors: impl IntoIterator<Item = DoorEntry>,
    ) -> Self {
        let mut made = Self {
            things: Vec::new(),
            names: Names::new(),
            codes: HashMap::new(),
            divisions: HashMap::new(),
            pieces: HashMap::new(),
            n_doors: 0,
            n_unused: 0,
        };
        let mut roads: HashMap<(String, Option<Zone>), u32> = HashMap::new();
        for entry in entries {
            made.put(&entry, &mut roads);
        }
        for door in doors {
            made.put_door(&door);
        }
        for thing in &mut made.things {
            thing.doors.sort_unstable_by_key(|door| door.key());
            thing.doors.shrink_to_fit();
            if thing.at.is_none() {
                thing.at = middle(&thing.doors);
                thing.precision_m = 200.0;
            }
        }
        made.pieces = super::pieces::of(&made.things);
        made.names.index();
        made
    }

    fn put(&mut self, entry: &Entry, roads: &mut HashMap<(String, Option<Zone>), u32>) {
        let name = Text::written(&entry.name);
        let zone = entry.division.as_ref().map(Zone::of);
        let Some(rank) = rank(entry, zone) else { return };
        if name.chars.is_empty() || (rank == Rank::Place && name.chars.iter().all(char::is_ascii_digit)) {
            return;
        }
        let mut id = self.things.len() as u32;
        let lines = lines(&entry.ground);
        // Pieces of one road, and a division that two lists give.
        let known = match rank {
            Rank::Road => {
                let key = (name.chars.iter().collect(), zone.map(|zone| zone.cut(6)));
                let near = |at: &u32| self.is_near(*at, &lines);
                let known = roads.get(&key).copied().filter(near);
                roads.insert(key, known.unwrap_or(id));
                known
            }
            _ if rank.is_division() => zone.and_then(|zone| self.same_division(zone, rank, &entry.name)),
            _ => None,
        };
        let (at, precision_m) = ground(&entry.ground);
        match known {
            Some(known) => {
                id = known;
                let thing = &mut self.things[id as usize];
                if !lines.is_empty() {
                    let mut all = std::mem::take(&mut thing.lines).into_vec();
                    all.extend(lines);
                    thing.lines = all.into();
                }
                thing.stated_m = thing.stated_m.max(entry.stated_m);
                if rank.is_division() && at.is_some() {
                    (thing.at, thing.precision_m) = (at, precision_m);
                }
                // A register's name and code stand before those of the shipped list, which stay as aliases.
                if rank.is_division() && (entry.held || thing.code == entry.code) {
                    thing.name = entry.name.as_str().into();
                    if entry.held {
                        (thing.code, thing.division) = (entry.code.clone(), entry.division.clone());
                        thing.held = true;
                    }
                }
            }
            None => self.things.push(Thing {
                code: entry.code.clone(),
                name: entry.name.as_str().into(),
                rank,
                zone,
                division: entry.division.clone(),
                at,
                precision_m,
                stated_m: entry.stated_m,
                lines: lines.into(),
                held: entry.held,
                doors: Vec::new(),
            }),
        }
        if rank == Rank::Road {
            let thing = &mut self.things[id as usize];
            if let Some((at, length)) = midpoint(&thing.lines) {
                (thing.at, thing.precision_m) = (Some(at), (length / 2.0) as f32 + thing.stated_m);
            }
        }
        self.codes.insert(entry.code.clone(), id);
        if let (true, Some(zone)) = (rank.is_division(), zone) {
            self.divisions.insert(zone, id);
        }
        self.call(&name.chars, &entry.name, &entry.aliases, rank, id);
    }

    fn call(&mut self, name: &[char], raw: &str, aliases: &[String], rank: Rank, id: u32) {
        self.names.add(name, id, Style::Full);
        for alias in aliases {
            self.names.add(&Text::written(alias).chars, id, Style::Alias);
            if rank.is_division() {
                for (short, style) in short_names(alias, rank) {
                    let style = style.max(Style::Alias);
                    self.names.add(&Text::written(&short).chars, id, style);
                }
            }
        }
        if rank.is_division() {
            for (short, style) in short_names(raw, rank) {
                self.names.add(&Text::written(&short).chars, id, style);
            }
            let code = self.things[id as usize]
                .division
                .as_ref()
                .map(|code| code.as_str().to_owned());
            if let Some(code) = code {
                self.names.add(&code.chars().collect::<Vec<_>>(), id, Style::Full);
            }
        }
    }

    /// A division of this code, or one of this name in the same parent under another code.
    fn same_division(&self, zone: Zone, rank: Rank, name: &str) -> Option<u32> {
        if let Some(id) = self.divisions.get(&zone) {
            return Some(*id);
        }
        if rank != Rank::Town {
            return None;
        }
        let spelling = self.names.exactly(&Text::written(name).chars)?;
        let mut named = self.names.named(spelling);
        named.find_map(|name| {
            let thing = &self.things[name.thing as usize];
            let parent = thing.zone.is_some_and(|other| other.cut(6) == zone.cut(6));
            (thing.rank == rank && name.style == Style::Full && parent).then_some(name.thing)
        })
    }

    fn is_near(&self, road: u32, lines: &[Box<[Vertex]>]) -> bool {
        const NEAR_M: f64 = 1_500.0;
        let known = &self.things[road as usize].lines;
        let ends = |lines: &[Box<[Vertex]>]| -> Vec<Vertex> {
            lines
                .iter()
                .flat_map(|line| [line.first(), line.last()])
                .flatten()
                .copied()
                .collect()
        };
        let (a, b) = (ends(known), ends(lines));
        a.is_empty() || b.is_empty() || a.iter().any(|a| b.iter().any(|b| metres(*a, *b) < NEAR_M))
    }

    fn put_door(&mut self, entry: &DoorEntry) {
        let at = Vertex::from_degrees(entry.at[0], entry.at[1]);
        let (Some(number), Some(at)) = (Number::read(&entry.number), at) else {
            self.n_unused += 1;
            return;
        };
        let name = Text::written(&entry.of).chars;
        let zone = entry.division.as_ref().map(Zone::of);
        let owner = self
            .owner(&name, zone, at)
            .unwrap_or_else(|| self.new_owner(entry, &name, zone));
        let code = entry.code.clone();
        self.things[owner as usize].doors.push(Door {
            number,
            group: entry.group,
            at,
            code,
            zone,
            stated_m: entry.stated_m,
        });
        self.n_doors += 1;
    }

    /// The thing of this name whose ground or division is nearest to the door.
    fn owner(&self, name: &[char], zone: Option<Zone>, at: Vertex) -> Option<u32> {
        let spelling = self.names.exactly(name)?;
        // 长江路 is no short name of 长江路社区 here.
        let is_road = class_suffix(name).is_some_and(|class| class.is_road);
        let fits = |id: &u32| {
            let thing = &self.things[*id as usize];
            if is_road && thing.rank == Rank::Community {
                return false;
            }
            let same = |a: Option<Zone>| match (a, zone) {
                (Some(a), Some(b)) => a.cut(6).meets(b.cut(6)),
                _ => true,
            };
            thing.rank >= Rank::Community && same(thing.zone)
        };
        let far = |id: &u32| self.things[*id as usize].at.map_or(0.0, |b| metres(at, b)) as u64;
        self.names
            .named(spelling)
            .map(|name| name.thing)
            .filter(fits)
            .min_by_key(|id| (far(id), *id))
    }

    fn new_owner(&mut self, entry: &DoorEntry, name: &[char], zone: Option<Zone>) -> u32 {
        let id = self.things.len() as u32;
        let is_road = class_suffix(name).is_some_and(|class| class.is_road);
        self.things.push(Thing {
            code: "".into(),
            name: entry.of.as_str().into(),
            rank: if is_road { Rank::Road } else { Rank::Place },
            zone: zone.map(|zone| zone.cut(6)),
            division: entry.division.clone(),
            at: None,
            precision_m: 0.0,
            stated_m: 0.0,
            lines: Box::default(),
            held: false,
            doors: Vec::new(),
        });
        self.names.add(name, id, Style::Full);
        id
    }

    pub(crate) fn thing(&self, id: u32) -> &Thing {
        &self.things[id as usize]
    }

    /// The division of a zone by the code that its own entity has, and whether the register holds it.
    pub(crate) fn division(&self, code: &DivisionCode) -> (DivisionCode, bool) {
        match self.divisions.get(&Zone::of(code)).map(|id| self.thing(*id)) {
            Some(thing) => (thing.division.clone().unwrap_or_else(|| code.clone()), thing.held),
            None => (code.clone(), false),
        }
    }

    /// The pieces of the road that this is one of; of a whole road, itself.
    pub(super) fn pieces(&self, id: u32) -> &[u32] {
        self.pieces.get(&id).map_or(&[], |pieces| pieces)
    }

    /// The divisions around a zone, province first.
    pub(crate) fn chain(&self, zone: Zone) -> impl Iterator<Item = &Thing> {
        [2, 4, 6, 9, 12]
            .into_iter()
            .filter(move |digits| *digits <= zone.digits())
            .filter_map(move |digits| self.divisions.get(&zone.cut(digits)))
            .map(|id| self.thing(*id))
    }
}

fn rank(entry: &Entry, zone: Option<Zone>) -> Option<Rank> {
    Some(match entry.kind {
        EntryKind::Road => Rank::Road,
        EntryKind::Place => Rank::Place,
        EntryKind::Division => match zone?.digits() {
            ..=2 => Rank::Province,
            3..=4 => Rank::City,
            5..=6 => Rank::District,
            7..=9 => Rank::Town,
            10..=12 => Rank::Community,
            _ => return None,
        },
    })
}

fn ground(ground: &Ground) -> (Option<Vertex>, f32) {
    match ground {
        Ground::Point { at, precision_m } => (Vertex::from_degrees(at[0], at[1]), *precision_m as f32),
        Ground::Nowhere | Ground::Lines(_) => (None, 0.0),
    }
}

fn lines(ground: &Ground) -> Vec<Box<[Vertex]>> {
    let Ground::Lines(lines) = ground else {
        return Vec::new();
    };
    let line = |line: &Vec<[f64; 2]>| -> Box<[Vertex]> {
        line.iter()
            .filter_map(|at| Vertex::from_degrees(at[0], at[1]))
            .collect()
    };
    lines
        .iter()
        .map(line)
        .filter(|line| line.len() > 1 && length_m(line) > 0.0)
        .collect()
}

/// The door in the middle of the list stands for a road whose line is not known.
fn middle(doors: &[Door]) -> Option<Vertex> {
    doors.get(doors.len() / 2).map(|door| door.at)
}
