//! Fences for moving objects: what each enters, leaves and stays in.
//!
//! Pure: the caller passes what was sighted, with its time. Rules, in this order:
//!
//! - **Late.** A sighting that is not newer than the newest one taken changes nothing.
//! - **Teleport.** A sighting that cannot be reached at the greatest speed is doubted: nothing is told of it
//!   until the next one is near it; then both count. When the next one is near the old place, the doubted one
//!   is forgotten. So one wrong fix makes no exit and no entry, and a real jump is told one sighting later.
//! - **Enter** when the object is covered by the fence, its border included.
//! - **Exit** when it is not covered and farther from the fence than its hysteresis.
//! - **Dwell** once a stay, at the first sighting inside that is at least the dwell time after the entry. An
//!   object that says nothing is not known to have stayed.
//!
//! Events of one object carry a sequence that grows by one. A fence that is taken off is left silently; one
//! that is replaced is entered again by who is in it.

mod state;

use std::collections::HashMap;

use foldhash::fast::FixedState;

use crate::coordinates::Vertex;
use crate::geometry::Polygon;

use super::areas::AreaIndex;
use super::region;
use super::sphere;

pub use state::{KnownStay, ObjectState};

/// What a fence wants.
#[derive(Clone, Debug, PartialEq)]
pub struct Fence {
    /// Where it is: what any of the polygons covers.
    pub polygons: Vec<Polygon>,
    /// Which groups of objects it is for: it sees those that share a bit with it.
    pub groups: u64,
    /// How far away an object must be to have left it, metres; 0 when the border is enough.
    pub hysteresis_m: f64,
    /// How long a stay must last to be told of, milliseconds; `None` when none is.
    pub dwell_ms: Option<i64>,
}

/// What is believed of objects.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Motion {
    /// The greatest speed, metres a second; infinite when nothing is doubted.
    pub fastest_m_s: f64,
    /// How wrong a position may be, metres: so much more is believed at any speed.
    pub error_m: f64,
}

impl Default for Motion {
    /// 70 m/s (252 km/h) and 100 m.
    fn default() -> Self {
        Self {
            fastest_m_s: 70.0,
            error_m: 100.0,
        }
    }
}

/// An object was seen somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The object's number.
    pub object: u32,
    /// The groups it belongs to, as bits.
    pub groups: u64,
    /// When, milliseconds.
    pub at_ms: i64,
    /// Where.
    pub at: Vertex,
}

/// What became of a sighting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It counts.
    Yes,
    /// It was not newer than the newest, whose time is given, and changed nothing.
    Late {
        /// Time of the newest, milliseconds.
        newest_ms: i64,
    },
    /// It is too far away to be believed yet.
    Doubted,
}

/// What an object did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Crossing {
    /// It left the fence.
    Exit,
    /// It came in.
    Enter,
    /// It has stayed for the fence's dwell time.
    Dwell,
}

/// Something that an object did at a fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FenceEvent {
    /// The object's number.
    pub object: u32,
    /// Counts the events of the object, from 1.
    pub sequence: u64,
    /// The fence's number.
    pub fence: u32,
    /// What it did.
    pub crossing: Crossing,
    /// Time of the sighting that showed it, milliseconds.
    pub at_ms: i64,
    /// Place of that sighting.
    pub at: Vertex,
}

/// Fences and the objects that they watch.
#[derive(Debug, Default)]
pub struct Fences {
    motion: Motion,
    /// Which slots cover a point.
    index: AreaIndex,
    /// Slots are used again; what is asked at every sighting is apart from the polygons.
    rules: Vec<Rules>,
    /// The groups of each slot once more: few bytes that are read for every fence around.
    groups: Vec<u64>,
    polygons: Vec<Vec<Polygon>>,
    free: Vec<u32>,
    slots: HashMap<u32, u32, FixedState>,
    objects: HashMap<u32, Object, FixedState>,
    /// Counts the changes of fences.
    version: u64,
    found: Vec<u32>,
    stays: Vec<Stay>,
    changes: Vec<(Crossing, u32)>,
}

/// What a fence wants, as it is asked at every sighting.
#[derive(Clone, Copy, Debug)]
struct Rules {
    number: u32,
    groups: u64,
    hysteresis_m: f64,
    dwell_ms: Option<i64>,
    /// The version that it came with.
    since: u64,
}

#[derive(Debug)]
struct Object {
    newest_ms: i64,
    at: Vertex,
    doubted: Option<Sighting>,
    groups: u64,
    sequence: u64,
    /// Version of the fences that the stays were worked out with.
    version: u64,
    /// The cell in which, with that version, the stays cannot change.
    settled: u64,
    next_dwell_ms: i64,
    /// By slot.
    stays: Vec<Stay>,
}

#[derive(Clone, Copy, Debug)]
struct Stay {
    slot: u32,
    /// Whether the dwell was told of, or need not be.
    told: bool,
    since_ms: i64,
}

/// Sightings that are looked up together.
const N_TOGETHER: usize = 64;

/// No cell: a row beyond the grid.
const UNSETTLED: u64 = u64::MAX;

impl Fences {
    /// No fences yet.
    pub fn new(motion: Motion) -> Self {
        Self {
            motion,
            ..Self::default()
        }
    }

    /// Number of fences.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is no fence.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Adds or replaces a fence.
    pub fn put(&mut self, number: u32, fence: Fence) {
        self.remove(number);
        let rules = Rules {
            number,
            groups: fence.groups,
            hysteresis_m: fence.hysteresis_m,
            dwell_ms: fence.dwell_ms,
            since: self.version,
        };
        let slot = self.free.pop().unwrap_or(self.rules.len() as u32);
        self.index.put(slot, &fence.polygons);
        self.slots.insert(number, slot);
        if slot as usize == self.rules.len() {
            self.rules.push(rules);
            self.groups.push(rules.groups);
            self.polygons.push(fence.polygons);
        } else {
            self.rules[slot as usize] = rules;
            self.groups[slot as usize] = rules.groups;
            self.polygons[slot as usize] = fence.polygons;
        }
    }

    /// Removes a fence; `false` when it was not there.
    pub fn remove(&mut self, number: u32) -> bool {
        self.version += 1;
        let Some(slot) = self.slots.remove(&number) else {
            return false;
        };
        self.index.remove(slot);
        self.groups[slot as usize] = 0;
        self.rules[slot as usize].since = self.version;
        self.polygons[slot as usize] = Vec::new();
        self.free.push(slot);
        true
    }

    /// Forgets an object: its next sighting is its first, with sequence 1.
    pub fn forget(&mut self, object: u32) -> bool {
        self.objects.remove(&object).is_some()
    }

    /// The fences that an object was last known to be in, by number, with the time of its entry.
    pub fn stays_of(&self, object: u32) -> impl Iterator<Item = (u32, i64)> {
        let object = self.objects.get(&object);
        let mut stays: Vec<(u32, i64)> = object
            .into_iter()
            .flat_map(|object| object.stays.iter().map(|stay| (stay, object.version)))
            .filter(|(stay, version)| self.rules[stay.slot as usize].since <= *version)
            .map(|(stay, _)| (self.rules[stay.slot as usize].number, stay.since_ms))
            .collect();
        stays.sort_unstable();
        stays.into_iter()
    }

    /// The fences that cover a place and are for one of these groups, by number.
    pub fn over(&mut self, at: Vertex, groups: u64) -> impl Iterator<Item = u32> {
        self.index.at(at, &mut self.found);
        let rules = self.found.iter().map(|slot| &self.rules[*slot as usize]);
        rules
            .filter(move |own| own.groups & groups != 0)
            .map(|own| own.number)
    }

    /// Memory of the cells in bytes, about.
    pub fn bytes(&self) -> usize {
        self.index.bytes()
    }

    /// Takes a sighting in and adds what it shows to `events`: exits, then entries, then stays, each by
    /// fence.
    pub fn observe(&mut self, seen: Sighting, events: &mut Vec<FenceEvent>) -> Taken {
        let motion = self.motion;
        let Some(object) = self.objects.get_mut(&seen.object) else {
            self.objects.insert(seen.object, Object::new(&seen));
            self.settle(seen, events);
            return Taken::Yes;
        };
        if seen.at_ms <= object.newest_ms {
            let newest_ms = object.newest_ms;
            return Taken::Late { newest_ms };
        }
        let mut confirmed = None;
        if !motion.allows((object.newest_ms, object.at), &seen) {
            match object.doubted {
                Some(doubted) if seen.at_ms <= doubted.at_ms => {
                    let newest_ms = doubted.at_ms;
                    return Taken::Late { newest_ms };
                }
                Some(doubted) if motion.allows((doubted.at_ms, doubted.at), &seen) => {
                    confirmed = Some(doubted);
                }
                _ => {
                    object.doubted = Some(seen);
                    return Taken::Doubted;
                }
            }
        }
        object.doubted = None;
        if let Some(doubted) = confirmed {
            self.settle(doubted, events);
        }
        self.settle(seen, events);
        Taken::Yes
    }

    /// As [`observe`](Self::observe) for each sighting in turn, and as if one by one; `taken` hears what became of
    /// each. Most of a sighting's time goes by while its object and its cell are fetched from memory; here those of
    /// many are fetched at once.
    pub fn observe_all(
        &mut self,
        seen: &[Sighting],
        events: &mut Vec<FenceEvent>,
        mut taken: impl FnMut(&Sighting, Taken),
    ) {
        for together in seen.chunks(N_TOGETHER) {
            let stays = together
                .iter()
                .filter_map(|one| self.objects.get(&one.object)?.stays.first());
            let fetched = stays.fold(0, |sum, stay| sum ^ stay.slot);
            let cells = together
                .iter()
                .fold(fetched, |sum, one| sum ^ self.index.fetch(one.at));
            std::hint::black_box(cells);
            for one in together {
                let became = self.observe(*one, events);
                taken(one, became);
            }
        }
    }

    /// Works out what a sighting that counts changes.
    fn settle(&mut self, seen: Sighting, events: &mut Vec<FenceEvent>) {
        let Some(object) = self.objects.get_mut(&seen.object) else {
            return;
        };
        (object.newest_ms, object.at) = (seen.at_ms, seen.at);
        let cell = AreaIndex::cell_of(seen.at);
        let (version, same_groups) = (self.version, object.groups == seen.groups);
        let known = object.version == version && same_groups;
        if known && object.settled == cell && seen.at_ms < object.next_dwell_ms {
            return;
        }
        let mut lasting = !self.index.at(seen.at, &mut self.found);
        let rules = &self.rules;
        self.found
            .retain(|slot| rules[*slot as usize].groups & seen.groups != 0);
        let same = || {
            object
                .stays
                .iter()
                .map(|stay| stay.slot)
                .eq(self.found.iter().copied())
        };
        if known && seen.at_ms < object.next_dwell_ms && same() {
            object.settled = if lasting { cell } else { UNSETTLED };
            return;
        }
        self.stays.clear();
        self.changes.clear();
        let valid = |stay: &&Stay| rules[stay.slot as usize].since <= object.version;
        for stay in object.stays.iter().filter(valid) {
            let own = &rules[stay.slot as usize];
            let polygons = &self.polygons[stay.slot as usize];
            let kept = || {
                let watched = own.groups & seen.groups != 0 && own.hysteresis_m > 0.0;
                watched && region::polygons_distance_m(seen.at, polygons) <= own.hysteresis_m
            };
            if self.found.binary_search(&stay.slot).is_ok() {
                self.stays.push(*stay);
            } else if kept() {
                lasting = false;
                self.stays.push(*stay);
            } else {
                self.changes.push((Crossing::Exit, own.number));
            }
        }
        let n_kept = self.stays.len();
        for slot in &self.found {
            let stays = &self.stays[..n_kept];
            if stays.binary_search_by_key(slot, |stay| stay.slot).is_err() {
                let own = &rules[*slot as usize];
                self.changes.push((Crossing::Enter, own.number));
                self.stays.push(Stay {
                    slot: *slot,
                    told: own.dwell_ms.is_none(),
                    since_ms: seen.at_ms,
                });
            }
        }
        if n_kept < self.stays.len() {
            self.stays.sort_unstable_by_key(|stay| stay.slot);
        }
        object.next_dwell_ms = i64::MAX;
        for stay in self.stays.iter_mut().filter(|stay| !stay.told) {
            let own = &rules[stay.slot as usize];
            let due = stay.since_ms.saturating_add(own.dwell_ms.unwrap_or(i64::MAX));
            if due <= seen.at_ms {
                self.changes.push((Crossing::Dwell, own.number));
                stay.told = true;
            } else {
                object.next_dwell_ms = object.next_dwell_ms.min(due);
            }
        }
        object.stays.clear();
        object.stays.extend_from_slice(&self.stays);
        object.groups = seen.groups;
        object.version = version;
        object.settled = if lasting { cell } else { UNSETTLED };
        self.changes.sort_unstable();
        for (crossing, fence) in self.changes.drain(..) {
            object.sequence += 1;
            events.push(FenceEvent {
                object: seen.object,
                sequence: object.sequence,
                fence,
                crossing,
                at_ms: seen.at_ms,
                at: seen.at,
            });
        }
    }
}

impl Object {
    fn new(seen: &Sighting) -> Self {
        Self {
            newest_ms: seen.at_ms,
            at: seen.at,
            doubted: None,
            groups: seen.groups,
            sequence: 0,
            version: 0,
            settled: UNSETTLED,
            next_dwell_ms: i64::MAX,
            stays: Vec::new(),
        }
    }
}

impl Motion {
    /// Whether the sighting can be reached from where the object was.
    fn allows(&self, (from_ms, from): (i64, Vertex), seen: &Sighting) -> bool {
        let seconds = seen.at_ms.saturating_sub(from_ms) as f64 / 1000.0;
        let reach = self.fastest_m_s * seconds + self.error_m;
        // A step is at most 11.2 mm long in each direction: mostly there is no need for the exact distance.
        let steps = |a: i32, b: i32| (i64::from(a) - i64::from(b)).unsigned_abs() as f64;
        let most = (steps(from.lon, seen.at.lon) + steps(from.lat, seen.at.lat)) * 0.011_2;
        most <= reach || sphere::distance_m(from, seen.at) <= reach
    }
}
