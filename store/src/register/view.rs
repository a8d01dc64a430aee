//! The register in memory: what requests, admission and the map read.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use onemap_model::record::Register as Change;
use onemap_model::{Device, DeviceId, DeviceState, Entity, Hydrology, ProfileId};
use sha2::{Digest, Sha256};

use super::entity::{EntityError, checked};
use super::packed::{Entities, Packed};
use crate::canonical;

/// Devices, entities and profiles as of one journal position. Values are shared, so a clone is a copy of
/// the maps' keys and pointers only.
///
/// Tokens are not in it ([`crate::ledger::Tokens`] has them), nor are persons.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RegisterView {
    /// Every device and gateway, retired ones too.
    pub devices: BTreeMap<DeviceId, Arc<Device>>,
    /// Everything else on the map.
    pub entities: Entities,
    /// Profile texts (YAML).
    pub profiles: BTreeMap<ProfileId, Arc<str>>,
    /// Push sources (YAML, without their secrets).
    pub sources: BTreeMap<ProfileId, Arc<str>>,
    /// What is known of devices as hydrological stations.
    pub hydrology: BTreeMap<DeviceId, Arc<Hydrology>>,
    /// Gateway, then id or name, to the children called so.
    children: HashMap<DeviceId, HashMap<String, BTreeSet<DeviceId>>>,
}

impl RegisterView {
    /// Applies one change; says whether it concerned this view and altered it.
    ///
    /// # Errors
    /// [`EntityError`] when an entity is not sound; the view is unchanged. Such a change does not enter
    /// the register's file either.
    pub fn apply(&mut self, change: &Change) -> Result<bool, EntityError> {
        Ok(match change {
            Change::Device { device } => self.put_device(device.clone().into()),
            Change::Adopted { device } => {
                !self.devices.contains_key(&device.id) && self.put_device(device.clone().into())
            }
            Change::Profile { id, text } => put(&mut self.profiles, id.clone(), text.as_str().into()),
            Change::Entity { entity } => {
                let packed = Packed::new(entity, checked(entity)?.as_ref());
                self.entities
                    .put(entity.kind.clone(), entity.code.clone(), packed)
            }
            Change::EntityRemoved { kind, code } => self.entities.remove(kind, code),
            Change::Source { id, text } if text.is_empty() => self.sources.remove(id).is_some(),
            Change::Source { id, text } => put(&mut self.sources, id.clone(), text.as_str().into()),
            Change::Hydrology {
                device,
                hydrology: None,
            } => self.hydrology.remove(device).is_some(),
            Change::Hydrology {
                device,
                hydrology: Some(known),
            } => put(
                &mut self.hydrology,
                device.clone(),
                Hydrology::clone(known).into(),
            ),
            // Tokens, attributes, and kinds of change that came after this version.
            _ => false,
        })
    }

    /// Puts a device as it is; says whether that altered anything.
    pub(crate) fn put_device(&mut self, device: Arc<Device>) -> bool {
        if let Some(before) = self.devices.get(&device.id).cloned()
            && (&before.gateway, &before.name) != (&device.gateway, &device.name)
            && let Some(gateway) = &before.gateway
            && let Some(named) = self.children.get_mut(gateway)
        {
            for name in [before.id.as_str(), &before.name] {
                if let Some(ids) = named.get_mut(name) {
                    ids.remove(&before.id);
                    if ids.is_empty() {
                        named.remove(name);
                    }
                }
            }
            if named.is_empty() {
                self.children.remove(gateway);
            }
        }
        if let Some(gateway) = &device.gateway {
            let named = self.children.entry(gateway.clone()).or_default();
            for name in [device.id.as_str(), &device.name] {
                named
                    .entry(name.to_owned())
                    .or_default()
                    .insert(device.id.clone());
            }
        }
        put(&mut self.devices, device.id.clone(), device)
    }

    /// The device that a gateway calls by this name: one whose gateway it is and whose id or, after that,
    /// name this is; of several the one with the smallest id. Retired ones are not found.
    pub fn child(&self, gateway: &str, name: &str) -> Option<&Arc<Device>> {
        let living = |id: &DeviceId| {
            let device = self.devices.get(id)?;
            (device.state != DeviceState::Retired).then_some(device)
        };
        let ids = self.children.get(gateway)?.get(name)?;
        let by_id = ids.get(name).and_then(living);
        by_id.or_else(|| ids.iter().find_map(living))
    }

    /// Another living child of a device's gateway that answers to this one's id or name already, and to which.
    pub fn namesake<'d>(&self, device: &'d Device) -> Option<(&'d str, &Arc<Device>)> {
        let named = self.children.get(device.gateway.as_ref()?)?;
        let is_other = |id: &&DeviceId| {
            let living = |other: &Arc<Device>| other.state != DeviceState::Retired;
            **id != device.id && self.devices.get(*id).is_some_and(living)
        };
        [device.id.as_str(), &device.name].into_iter().find_map(|name| {
            let id = named.get(name)?.iter().find(is_other)?;
            Some((name, self.devices.get(id)?))
        })
    }

    /// The devices whose gateway this is, retired ones too, by id.
    pub fn children(&self, gateway: &str) -> BTreeSet<DeviceId> {
        let named = self.children.get(gateway).into_iter().flat_map(HashMap::values);
        named.flatten().cloned().collect()
    }

    /// How many names a gateway's children answer to: at least as many as it has children.
    pub fn n_children_names(&self, gateway: &str) -> usize {
        self.children.get(gateway).map_or(0, HashMap::len)
    }

    /// The entities of a code, whatever their kind; a code is unique only with its kind.
    /// Behind those that have it now the ones that had it before.
    pub fn with_code(&self, code: &str) -> impl Iterator<Item = Entity> {
        self.entities.with_code(code)
    }

    /// SHA-256 over the content: every device, entity and profile in order of its key, as canonical
    /// JSON. Two registers with equal content have equal digests, however they came about.
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for device in self.devices.values() {
            canonical::update(&mut hash, "device", device.as_ref());
        }
        for entity in self.entities.iter() {
            canonical::update(&mut hash, "entity", &entity);
        }
        for (id, text) in &self.profiles {
            canonical::update(&mut hash, "profile", &(id, text));
        }
        for (id, text) in &self.sources {
            canonical::update(&mut hash, "source", &(id, text));
        }
        for (device, known) in &self.hydrology {
            canonical::update(&mut hash, "hydrology", &(device, known.as_ref()));
        }
        hash.finalize().into()
    }
}

fn put<K: Ord, V: PartialEq + ?Sized>(map: &mut BTreeMap<K, Arc<V>>, key: K, value: Arc<V>) -> bool {
    let old = map.insert(key, value.clone());
    old.is_none_or(|old| old != value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::entity::tests::{entity, shapes};
    use super::*;
    use onemap_model::EntityKind;

    fn change(kind: EntityKind, code: &str, shape: usize) -> Change {
        Change::Entity {
            entity: Box::new(entity(kind, code, shapes()[shape].clone())),
        }
    }

    fn device(json: &str) -> Device {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn children_are_found_by_id_and_name_of_their_gateway() {
        let mut view = RegisterView::default();
        let apply = |view: &mut RegisterView, json: &str| {
            let device = device(json);
            view.apply(&Change::Device { device }).unwrap()
        };
        apply(&mut view, r#"{"id":"c1","name":"甲","kind":"k","gateway":"g"}"#);
        apply(&mut view, r#"{"id":"c2","name":"c1","kind":"k","gateway":"g"}"#);
        apply(&mut view, r#"{"id":"c3","name":"alone","kind":"k"}"#);
        let find = |view: &RegisterView, gateway: &str, name: &str| {
            view.child(gateway, name)
                .map(|d| d.id.to_string())
                .unwrap_or_default()
        };
        assert_eq!(find(&view, "g", "c1"), "c1", "an id before a name");
        assert_eq!(find(&view, "g", "甲"), "c1");
        assert_eq!(find(&view, "g", "c2"), "c2");
        assert_eq!(find(&view, "g", "alone"), "");
        assert_eq!(find(&view, "h", "c1"), "");
        apply(
            &mut view,
            r#"{"id":"c1","name":"甲","kind":"k","gateway":"g","state":"retired"}"#,
        );
        assert_eq!(find(&view, "g", "甲"), "");
        assert_eq!(find(&view, "g", "c1"), "c2", "a retired one hides nobody");
        apply(&mut view, r#"{"id":"c2","name":"c1","kind":"k","gateway":"h"}"#);
        assert_eq!(
            (find(&view, "g", "c1"), find(&view, "h", "c1")),
            (String::new(), "c2".into())
        );
        let adopted = Change::Adopted {
            device: device(r#"{"id":"c2","name":"other","kind":"k","gateway":"g"}"#),
        };
        assert_eq!(
            view.apply(&adopted),
            Ok(false),
            "a registered device is not adopted"
        );
        assert_eq!(view.devices["c2"].name, "c1");
    }

    #[test]
    fn the_view_follows_the_changes() {
        let mut view = RegisterView::default();
        let empty = view.digest();
        assert_eq!(view.apply(&change(EntityKind::Road, "a", 2)), Ok(true));
        assert_eq!(
            view.apply(&change(EntityKind::Road, "a", 2)),
            Ok(false),
            "the same again"
        );
        let one = view.digest();
        assert_ne!(one, empty);
        assert_eq!(view.apply(&change(EntityKind::Place, "a", 0)), Ok(true));
        let kinds = |view: &RegisterView| {
            let found = view.with_code("a").map(|e| e.kind);
            found.collect::<Vec<_>>()
        };
        assert_eq!(kinds(&view), [EntityKind::Place, EntityKind::Road]);
        assert!(
            view.apply(&change(EntityKind::Road, "a", 0)).is_err(),
            "a road is no point"
        );
        let removed = Change::EntityRemoved {
            kind: EntityKind::Place,
            code: "a".into(),
        };
        assert_eq!(view.apply(&removed), Ok(true));
        assert_eq!(view.apply(&removed), Ok(false));
        assert_eq!(view.digest(), one);
        let token = Change::DeviceToken {
            device: DeviceId::new("d").unwrap(),
            sha256: "00".repeat(32),
            grace_s: 0,
            expires: None,
        };
        assert_eq!(view.apply(&token), Ok(false));
        assert_eq!(view.digest(), one);
    }
}
