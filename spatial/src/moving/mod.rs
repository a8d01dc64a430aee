//! Devices that move, and the fences that watch them, by their names.
//!
//! Pure: times are the caller's. [`Moving`] joins longitudes and latitudes to sightings, knows the newest place of
//! each device, and says what each sighting shows at the fences ([`ground::Fences`](crate::ground::Fences) has the
//! rules). It is made of the journal alone, is put away and taken up again ([`Moving::encode`],
//! [`Moving::restore`]), and goes on as if it had never been: numbers inside stand for names while it runs and are
//! in nothing that leaves it.

mod halves;
mod kept;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use foldhash::fast::FixedState;
use onemap_model::{DeviceId, Entity, EntityCode, FenceEdge, FenceRules, Timestamp};

use crate::coordinates::{Extent, Vertex};
use crate::geometry::{GeometryError, Shape};
use crate::ground::{Crossing, Fence, FenceEvent, Fences, Motion, Polygon, Sighting, Taken};

pub use halves::{Half, Pair};
pub use kept::KeptError;

use halves::Halves;

/// The bit of a device whose kind no fence is for by name; every device has it.
const ANY: u64 = 1 << 63;

/// Why an entity is no fence.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FenceFault {
    /// Its geometry is none, or no area.
    #[error("the geometry of the fence cannot be used")]
    Geometry(#[from] GeometryError),
    /// An attribute.
    #[error("an attribute of the fence is not right")]
    Rules(#[from] onemap_model::fence::FenceError),
}

/// One fence.
#[derive(Debug)]
struct Fenced {
    number: u32,
    rules: FenceRules,
    valid: [Option<Timestamp>; 2],
    polygons: Vec<Polygon>,
    extent: Option<Extent>,
    /// It is in force: its time has come and is not over.
    in_force: bool,
    inside: BTreeSet<DeviceId>,
}

/// One device that has said where it is.
#[derive(Clone, Debug, PartialEq)]
struct Mover {
    number: u32,
    kind: Arc<str>,
    /// Events that were told of it. They are counted here and not by the fences, which forget devices.
    sequence: u64,
    /// When its newest sighting that counts arrived.
    received_at: Timestamp,
    /// When the sighting that is doubted arrived.
    doubted_received_at: Option<Timestamp>,
    /// It is out of use: its place is not shown.
    is_gone: bool,
}

/// Where a device is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Newest {
    /// The place.
    pub at: Vertex,
    /// When it was there.
    pub measured_at: Timestamp,
    /// When that arrived.
    pub received_at: Timestamp,
    /// A newer sighting that is too far away to be believed yet, with its time.
    pub doubted: Option<(Vertex, Timestamp)>,
}

/// A device in a fence.
#[derive(Clone, Debug, PartialEq)]
pub struct Inside {
    /// Who.
    pub device: DeviceId,
    /// Time of the sighting that showed it inside first.
    pub since: Timestamp,
    /// Where it was seen last.
    pub newest: Newest,
}

/// Something that a sighting showed at a fence.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// The fence.
    pub fence: EntityCode,
    /// What the device did.
    pub kind: FenceEdge,
    /// Counts the events of the device, from 1 without gaps.
    pub sequence: u64,
    /// Time of the sighting.
    pub at: Timestamp,
    /// Place of the sighting.
    pub place: Vertex,
}

/// A device was somewhere.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen<'a> {
    /// Who.
    pub device: &'a DeviceId,
    /// What kind of device it is.
    pub kind: &'a Arc<str>,
    /// Where.
    pub at: Vertex,
    /// When.
    pub measured_at: Timestamp,
    /// When that arrived.
    pub received_at: Timestamp,
}

/// A fence as it is listed.
#[derive(Clone, Copy, Debug)]
pub struct FenceView<'a> {
    /// Its code.
    pub code: &'a EntityCode,
    /// What it wants.
    pub rules: &'a FenceRules,
    /// The box around it, in degrees: west, south, east, north.
    pub extent: Option<[f64; 4]>,
    /// It is in force.
    pub in_force: bool,
    /// How many devices are in it.
    pub n_inside: usize,
}

/// Devices that move, and fences.
#[derive(Debug)]
pub struct Moving {
    fences: Fences,
    fenced: BTreeMap<EntityCode, Fenced>,
    codes: HashMap<u32, EntityCode, FixedState>,
    next_fence: u32,
    /// When fences begin or end.
    turns: BTreeSet<(Timestamp, EntityCode)>,
    movers: BTreeMap<DeviceId, Mover>,
    names: Vec<DeviceId>,
    halves: Halves,
    events: Vec<FenceEvent>,
    /// Something that is kept has changed since [`Moving::kept`].
    is_changed: bool,
}

impl Default for Moving {
    fn default() -> Self {
        Self {
            fences: Fences::new(Motion::default()),
            fenced: BTreeMap::new(),
            codes: HashMap::default(),
            next_fence: 0,
            turns: BTreeSet::new(),
            movers: BTreeMap::new(),
            names: Vec::new(),
            halves: Halves::default(),
            events: Vec::new(),
            is_changed: false,
        }
    }
}

/// The bit of a kind: several may share one, so what the fences say is looked at once more by name.
fn bit_of(kind: &str) -> u64 {
    let hash = kind.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    1 << (hash % 63)
}

fn groups_of(rules: &FenceRules) -> u64 {
    match rules.device_kinds.as_slice() {
        [] => ANY,
        kinds => kinds.iter().fold(0, |bits, kind| bits | bit_of(kind)),
    }
}

fn edge_of(crossing: Crossing) -> FenceEdge {
    match crossing {
        Crossing::Exit => FenceEdge::Exit,
        Crossing::Enter => FenceEdge::Enter,
        Crossing::Dwell => FenceEdge::Dwell,
    }
}

impl Fenced {
    fn is_valid(&self, at: Timestamp) -> bool {
        let [from, to] = self.valid;
        from.is_none_or(|from| from <= at) && to.is_none_or(|to| at < to)
    }
}

impl Moving {
    /// Adds or replaces a fence; who is in one that is replaced enters it again. Devices in a fence that ends, or
    /// is taken off, leave it silently.
    ///
    /// # Errors
    /// [`FenceFault`]; the fence of that code is gone then.
    pub fn put_fence(&mut self, entity: &Entity, now: Timestamp) -> Result<(), FenceFault> {
        self.remove_fence(&entity.code);
        let rules = FenceRules::of(&entity.attributes)?;
        let polygons = match Shape::parse(&entity.geometry)? {
            Shape::Polygons(polygons) => polygons.into_vec(),
            other => {
                let found = other.type_name().to_owned();
                let wanted = "Polygon or MultiPolygon";
                return Err(GeometryError::Type { found, wanted }.into());
            }
        };
        let number = self.next_fence;
        self.next_fence += 1;
        let valid = [entity.valid_from, entity.valid_to];
        let extent = Extent::around(
            polygons
                .iter()
                .flat_map(|polygon| polygon.rings.iter().flatten())
                .copied(),
        );
        let fenced = Fenced {
            number,
            rules,
            valid,
            polygons,
            extent,
            in_force: false,
            inside: BTreeSet::new(),
        };
        for turn in valid.into_iter().flatten().filter(|turn| *turn > now) {
            self.turns.insert((turn, entity.code.clone()));
        }
        self.codes.insert(number, entity.code.clone());
        self.fenced.insert(entity.code.clone(), fenced);
        self.turn(&entity.code, now);
        Ok(())
    }

    /// Takes a fence off; `false` when it was not there.
    pub fn remove_fence(&mut self, code: &str) -> bool {
        let Some(fenced) = self.fenced.remove(code) else {
            return false;
        };
        self.fences.remove(fenced.number);
        self.codes.remove(&fenced.number);
        for turn in fenced.valid.into_iter().flatten() {
            self.turns.remove(&(turn, EntityCode::from(code)));
        }
        self.is_changed = true;
        true
    }

    /// Puts a fence in force or out of it, as its time says; whether that is something else than before.
    fn turn(&mut self, code: &str, now: Timestamp) -> bool {
        let Some(fenced) = self.fenced.get_mut(code) else {
            return false;
        };
        let is_valid = fenced.is_valid(now);
        if is_valid == fenced.in_force {
            return false;
        }
        fenced.in_force = is_valid;
        self.is_changed = true;
        if is_valid {
            let fence = Fence {
                polygons: fenced.polygons.clone(),
                groups: groups_of(&fenced.rules),
                hysteresis_m: fenced.rules.hysteresis_m,
                dwell_ms: fenced.rules.dwell_ms(),
            };
            self.fences.put(fenced.number, fence);
        } else {
            fenced.inside.clear();
            self.fences.remove(fenced.number);
        }
        true
    }

    /// Begins and ends fences whose time has come, and says which these are. Call at least once a second.
    pub fn tick(&mut self, now: Timestamp) -> Vec<EntityCode> {
        let mut turned = Vec::new();
        while let Some((turn, _)) = self.turns.first()
            && *turn <= now
        {
            if let Some((_, code)) = self.turns.pop_first()
                && self.turn(&code, now)
            {
                turned.push(code);
            }
        }
        turned
    }

    /// Joins the halves that one message of a device brought, with each other and with those of before; pairs come
    /// by time and channel. At most 16 halves of a device wait for their others.
    pub fn join(&mut self, device: &DeviceId, brought: &[Half]) -> Vec<Pair> {
        self.is_changed = true;
        self.halves.join(device, brought)
    }

    /// Takes a sighting in and adds what it shows to `told`: by time; of one time exits, entries, stays, each by
    /// the fence's code.
    pub fn sight(&mut self, seen: &Seen<'_>, told: &mut Vec<Told>) -> Taken {
        self.is_changed = true;
        let number = self.known(seen);
        let sighting = Sighting {
            object: number,
            groups: ANY | bit_of(seen.kind),
            at_ms: seen.measured_at.ms(),
            at: seen.at,
        };
        let mut events = std::mem::take(&mut self.events);
        let taken = self.fences.observe(sighting, &mut events);
        let Some(mover) = self.movers.get_mut(seen.device) else {
            return taken;
        };
        match taken {
            Taken::Yes => {
                mover.received_at = seen.received_at;
                mover.doubted_received_at = None;
                mover.is_gone = false;
            }
            Taken::Doubted => mover.doubted_received_at = Some(seen.received_at),
            Taken::Late { .. } => {}
        }
        let first = told.len();
        for event in events.drain(..) {
            let fenced = self
                .codes
                .get(&event.fence)
                .and_then(|code| self.fenced.get_mut(code).map(|f| (code, f)));
            let Some((code, fenced)) = fenced else { continue };
            if !fenced.rules.is_for(seen.kind) {
                continue;
            }
            match event.crossing {
                Crossing::Enter => _ = fenced.inside.insert(seen.device.clone()),
                Crossing::Exit => _ = fenced.inside.remove(seen.device),
                Crossing::Dwell => {}
            }
            told.push(Told {
                fence: code.clone(),
                kind: edge_of(event.crossing),
                sequence: 0,
                at: Timestamp::from_ms(event.at_ms),
                place: event.at,
            });
        }
        self.events = events;
        // By names: numbers of fences are others after a restart.
        told[first..].sort_by(|a, b| (a.at, a.kind, &a.fence).cmp(&(b.at, b.kind, &b.fence)));
        for one in &mut told[first..] {
            mover.sequence += 1;
            one.sequence = mover.sequence;
        }
        taken
    }

    /// The number of a device; it leaves the fences that are not for its kind any more.
    fn known(&mut self, seen: &Seen<'_>) -> u32 {
        if let Some(mover) = self.movers.get_mut(seen.device) {
            if mover.kind != *seen.kind {
                mover.kind = seen.kind.clone();
                for fenced in self.fenced.values_mut() {
                    if !fenced.rules.is_for(seen.kind) {
                        fenced.inside.remove(seen.device);
                    }
                }
            }
            return mover.number;
        }
        let number = self.names.len() as u32;
        self.names.push(seen.device.clone());
        let mover = Mover {
            number,
            kind: seen.kind.clone(),
            sequence: 0,
            received_at: seen.received_at,
            doubted_received_at: None,
            is_gone: false,
        };
        self.movers.insert(seen.device.clone(), mover);
        number
    }

    /// Takes a device off that is out of use: it leaves its fences silently and its place is not shown. Should it
    /// come back, its events go on counting. `false` when it never said where it is.
    pub fn retire(&mut self, device: &DeviceId) -> bool {
        let Some(mover) = self.movers.get_mut(device) else {
            return false;
        };
        mover.is_gone = true;
        self.fences.forget(mover.number);
        for fenced in self.fenced.values_mut() {
            fenced.inside.remove(device);
        }
        self.halves.0.remove(device);
        self.is_changed = true;
        true
    }

    /// Where a device is, as far as it says so itself.
    pub fn newest(&self, device: &str) -> Option<Newest> {
        self.place(self.movers.get(device).filter(|mover| !mover.is_gone)?)
    }

    fn place(&self, mover: &Mover) -> Option<Newest> {
        let (newest_ms, at, doubted) = self.fences.newest(mover.number)?;
        Some(Newest {
            at,
            measured_at: Timestamp::from_ms(newest_ms),
            received_at: mover.received_at,
            doubted: doubted.map(|doubted| (doubted.at, Timestamp::from_ms(doubted.at_ms))),
        })
    }

    /// Every device that says where it is.
    pub fn devices(&self) -> impl Iterator<Item = (&DeviceId, Newest)> {
        let shown = self.movers.iter().filter(|(_, mover)| !mover.is_gone);
        shown.filter_map(|(device, mover)| Some((device, self.place(mover)?)))
    }

    /// The fences that a device is in, by code, with the time of its entry.
    pub fn fences_of(&self, device: &str) -> Vec<(&EntityCode, Timestamp)> {
        let Some(mover) = self.movers.get(device) else {
            return Vec::new();
        };
        let stays = self.fences.stays_of(mover.number);
        let mut all: Vec<_> = stays
            .filter_map(|(number, since_ms)| {
                let code = self.codes.get(&number)?;
                let is_for = self.fenced.get(code)?.rules.is_for(&mover.kind);
                is_for.then(|| (code, Timestamp::from_ms(since_ms)))
            })
            .collect();
        all.sort();
        all
    }

    /// The fences in force that cover a place and are for a kind of devices, by code: where a device is that does not
    /// move. The border is inside.
    pub fn fences_over(&mut self, at: Vertex, kind: &str) -> Vec<&EntityCode> {
        let (codes, fenced) = (&self.codes, &self.fenced);
        let covering = self.fences.over(at, ANY | bit_of(kind));
        let mut all: Vec<&EntityCode> = covering
            .filter_map(|number| codes.get(&number))
            .filter(|code| fenced.get(*code).is_some_and(|fenced| fenced.rules.is_for(kind)))
            .collect();
        all.sort();
        all
    }

    /// A fence.
    pub fn fence(&self, code: &str) -> Option<FenceView<'_>> {
        let (code, fenced) = self.fenced.get_key_value(code)?;
        Some(view(code, fenced))
    }

    /// Fences behind a code, in their order.
    pub fn fences_after(&self, after: Option<&str>) -> impl Iterator<Item = FenceView<'_>> {
        use std::ops::Bound;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let range = self.fenced.range::<str, _>((from, Bound::Unbounded));
        range.map(|(code, fenced)| view(code, fenced))
    }

    /// Who is in a fence, by id.
    pub fn inside(&self, code: &str) -> impl Iterator<Item = Inside> {
        let fenced = self.fenced.get(code);
        let devices = fenced
            .into_iter()
            .flat_map(|fenced| fenced.inside.iter().map(move |d| (fenced, d)));
        devices.filter_map(|(fenced, device)| {
            let mover = self.movers.get(device)?;
            let mut stays = self.fences.stays_of(mover.number);
            let (_, since_ms) = stays.find(|(number, _)| *number == fenced.number)?;
            Some(Inside {
                device: device.clone(),
                since: Timestamp::from_ms(since_ms),
                newest: self.place(mover)?,
            })
        })
    }
}

fn view<'a>(code: &'a EntityCode, fenced: &'a Fenced) -> FenceView<'a> {
    FenceView {
        code,
        rules: &fenced.rules,
        extent: fenced.extent.map(|extent| extent.degrees()),
        in_force: fenced.in_force,
        n_inside: fenced.inside.len(),
    }
}
