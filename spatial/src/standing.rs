//! Which devices stand on or in which entity, and what that says of the entity.
//!
//! An entity that devices stand on has a state: the worst of theirs. One that none stands on has no state, which is
//! another thing than a state that is normal.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use onemap_model::{DeviceId, EntityCode, EntityKind, EntityRef};

use crate::city_map::CityMap;
use crate::city_view::CityView;
use crate::layer::Layer;
use crate::thing::{Number, ThingKind};
use crate::tile::{LiveState, MARGIN, TileAddress, TileError};

/// What stands on one entity.
#[derive(Clone, Debug, Default)]
struct Stood {
    /// The entity's number on the map; none while it is not there.
    number: Option<Number>,
    devices: BTreeSet<DeviceId>,
}

/// The entities that devices stand on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    on: BTreeMap<EntityRef, Stood>,
    under: HashMap<DeviceId, EntityRef>,
    /// Codes of now by those of before: a device that names one of these stands on the same thing.
    renamed: HashMap<EntityRef, EntityCode>,
}

impl Standing {
    fn of(&self, named: &EntityRef) -> EntityRef {
        let code = self.renamed.get(named).unwrap_or(&named.code);
        EntityRef {
            kind: named.kind.clone(),
            code: code.clone(),
        }
    }

    fn leave(&mut self, device: &DeviceId) {
        let Some(entity) = self.under.remove(device) else {
            return;
        };
        if let Some(stood) = self.on.get_mut(&entity) {
            stood.devices.remove(device);
            if stood.devices.is_empty() {
                self.on.remove(&entity);
            }
        }
    }

    /// What stands on entities of a kind that are on the map.
    fn of_kind(&self, kind: &EntityKind) -> impl Iterator<Item = (Number, &BTreeSet<DeviceId>)> {
        let first = EntityRef {
            kind: kind.clone(),
            code: "".into(),
        };
        let of_kind = self.on.range(first..);
        let of_kind = of_kind.take_while(move |(entity, _)| entity.kind == *kind);
        of_kind.filter_map(|(_, stood)| Some((stood.number?, &stood.devices)))
    }
}

impl CityMap {
    /// Notes what a device stands on, or that it stands on nothing.
    pub(crate) fn stand(&mut self, device: &DeviceId, entity: Option<&EntityRef>) {
        let entity = entity.map(|entity| self.standing().of(entity));
        if self.standing().under.get(device) == entity.as_ref() {
            return;
        }
        let number = entity.as_ref().and_then(|entity| {
            let kind = ThingKind::Entity(entity.kind.clone());
            self.number_of(&kind, &entity.code)
        });
        let standing = self.standing_mut();
        standing.leave(device);
        if let Some(entity) = entity {
            let stood = standing.on.entry(entity.clone()).or_default();
            stood.number = number;
            stood.devices.insert(device.clone());
            standing.under.insert(device.clone(), entity);
        }
    }

    /// Notes the codes that an entity had before: what names one of them stands on it.
    pub(crate) fn rename<'a>(&mut self, entity: &EntityRef, former: impl Iterator<Item = &'a EntityCode>) {
        if self.standing().renamed.contains_key(entity) {
            // A code that was given again is that of the thing that has it now.
            self.standing_mut().renamed.remove(entity);
        }
        for code in former.filter(|code| **code != entity.code) {
            let before = EntityRef {
                kind: entity.kind.clone(),
                code: code.clone(),
            };
            if self.standing().renamed.get(&before) == Some(&entity.code) {
                continue;
            }
            let standing = self.standing_mut();
            if let Some(stood) = standing.on.remove(&before) {
                for device in &stood.devices {
                    standing.under.insert(device.clone(), entity.clone());
                }
                standing
                    .on
                    .entry(entity.clone())
                    .or_default()
                    .devices
                    .extend(stood.devices);
            }
            standing.renamed.insert(before, entity.code.clone());
        }
    }

    /// Notes under which number an entity is on the map now.
    pub(crate) fn note_number(&mut self, kind: &ThingKind, code: &EntityCode, number: Option<Number>) {
        let ThingKind::Entity(kind) = kind else { return };
        if self.standing().on.is_empty() {
            return;
        }
        let entity = EntityRef {
            kind: kind.clone(),
            code: code.clone(),
        };
        let known = self.standing().on.get(&entity);
        if known.is_some_and(|stood| stood.number != number)
            && let Some(stood) = self.standing_mut().on.get_mut(&entity)
        {
            stood.number = number;
        }
    }

    /// The devices in use that stand on an entity, by id.
    pub fn devices_on(&self, entity: &EntityRef) -> impl Iterator<Item = &DeviceId> {
        let stood = self.standing().on.get(&self.standing().of(entity));
        stood.into_iter().flat_map(|stood| &stood.devices)
    }
}

/// States of the things in a tile that devices stand on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct States(Vec<(Number, LiveState, bool)>);

impl States {
    /// None of anything.
    pub(crate) const NONE: Self = Self(Vec::new());

    /// Whether nothing in the tile has a state.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes that they take.
    pub fn n_bytes(&self) -> usize {
        size_of_val(&*self.0)
    }

    /// State of a thing, and whether it is of values that are old; `None` when no device stands on it.
    pub(crate) fn get(&self, number: Number) -> Option<(LiveState, bool)> {
        let nth = self
            .0
            .binary_search_by_key(&number, |(number, ..)| *number)
            .ok()?;
        let (_, state, is_stale) = self.0[nth];
        Some((state, is_stale))
    }

    /// Those that have a state, by number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Number, LiveState, bool)> {
        self.0.iter().copied()
    }
}

/// The worst of some devices' states, and whether a device of that state says nothing new; `None` of no device.
pub fn worst(states: impl Iterator<Item = (LiveState, bool)>) -> Option<(LiveState, bool)> {
    states.reduce(|worst, (state, is_stale)| match state.cmp(&worst.0) {
        std::cmp::Ordering::Less => (state, is_stale),
        std::cmp::Ordering::Equal => (state, worst.1 || is_stale),
        std::cmp::Ordering::Greater => worst,
    })
}

impl CityView {
    /// Whether anything of a layer may have a state because devices stand on it.
    pub fn has_states(&self, layer: Layer) -> bool {
        match layer.kind() {
            ThingKind::Entity(kind) => !layer.is_prepared() && self.standing.of_kind(&kind).next().is_some(),
            ThingKind::Device => false,
        }
    }

    /// States of what a tile (zoom, column, row) of a layer shows and devices stand on, each the worst of its devices';
    /// empty where [`CityView::has_states`] says so. Costs a look at each entity of
    /// the layer's kind that devices stand on, and `state` for the devices of those in the tile; a device of which it
    /// says nothing, because it is not the caller's to see, counts for nothing.
    ///
    /// # Errors
    /// [`TileError`] when there is no tile of that address.
    pub fn states(
        &self,
        layer: Layer,
        [zoom, x, y]: [u32; 3],
        state: &dyn Fn(&str) -> Option<(LiveState, bool)>,
    ) -> Result<States, TileError> {
        let at = TileAddress::new(u8::try_from(zoom).unwrap_or(u8::MAX), x, y)?;
        let ThingKind::Entity(kind) = layer.kind() else {
            return Ok(States::NONE);
        };
        if !self.has_states(layer) || at.zoom < layer.min_zoom() {
            return Ok(States::NONE);
        }
        let wide = at.degrees(MARGIN as u32);
        let mut all = Vec::new();
        for (number, devices) in self.standing.of_kind(&kind) {
            let extent = self.stock.get(number).and_then(|thing| thing.footprint.extent());
            if !extent.is_some_and(|own| own.meets(&wide)) {
                continue;
            }
            let worst = worst(devices.iter().filter_map(|device| state(device.as_str())));
            all.extend(worst.map(|(state, is_stale)| (number, state, is_stale)));
        }
        all.sort_unstable_by_key(|(number, ..)| *number);
        Ok(States(all))
    }
}
