//! The networks of pipes and rivers that the register shows, for cards: made when they are first asked for after something
//! of them has changed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use onemap_alerts::Texts;
use onemap_alerts::cards::{Medium, Networks as Graph, Piece, Stand};
use onemap_model::{Device, Entity, EntityCode, EntityKind, EntityRef};
use onemap_spatial::Layer;
use onemap_spatial::networks::{Lined, Medium as Flowing, Networks as Lines};

use crate::views::{Register, Views};

const POISON: &str = "no holder of this lock panics";
/// Entities that are read while the register waits.
const N_AT_ONCE: usize = 2_000;
/// Layers of what networks are made of.
const LAYERS: [Layer; 4] = [Layer::Pipes, Layer::Reaches, Layer::Water, Layer::Components];

/// The networks as of the last time that they were asked for.
#[derive(Default)]
pub struct Networks(Mutex<Option<Arc<Joined>>>);

/// The networks of one version of the register.
pub(crate) struct Joined {
    versions: [u64; LAYERS.len()],
    lines: Lines,
    pub(crate) graph: Arc<Graph>,
    /// Where who stands on an entity at a place stands on its network.
    stands: Mutex<HashMap<At, Option<Stand>>>,
}

/// An entity, and the bits of longitude and latitude.
type At = (EntityRef, Option<[u64; 2]>);

impl Networks {
    /// The networks of now. Holds the register's lock for short times only; is not to be called by who holds it.
    pub(crate) fn of(&self, views: &Views) -> Arc<Joined> {
        let mut known = self.0.lock().expect(POISON);
        let versions = versions(&views.register.read().expect(POISON));
        match &*known {
            Some(joined) if joined.versions == versions => joined.clone(),
            _ => known.insert(Arc::new(Joined::of(versions, lined(views)))).clone(),
        }
    }
}

fn versions(register: &Register) -> [u64; LAYERS.len()] {
    LAYERS.map(|layer| register.city.layer_version(layer))
}

/// Whatever is part of a network. What changes meanwhile has another version, and is read the next time.
fn lined(views: &Views) -> Vec<Lined> {
    use EntityKind as K;
    let mut all = Vec::new();
    for kind in [K::Pipe, K::Reach, K::Water, K::Component] {
        let mut after: Option<EntityCode> = None;
        loop {
            let register = views.register.read().expect(POISON);
            let entities = &register.view.entities;
            let some = entities.stated_behind(&kind, after.as_ref()).take(N_AT_ONCE);
            let some: Vec<_> = some
                .map(|(code, stated)| {
                    (
                        code,
                        kind != K::Component || Lined::may_be_said(stated.attributes),
                    )
                })
                .collect();
            let Some((last, _)) = some.last() else { break };
            let read = some.iter().filter(|(_, is_read)| *is_read);
            all.extend(read.filter_map(|(code, _)| Lined::of(&entities.get(&kind, code)?)));
            after = Some(EntityCode::clone(last));
        }
    }
    all
}

impl Joined {
    fn of(versions: [u64; LAYERS.len()], lined: Vec<Lined>) -> Self {
        let lines = Lines::of(lined);
        let media = Flowing::all().iter().map(|medium| Medium {
            id: medium.id.clone(),
            name: Texts {
                zh: medium.zh.clone(),
                en: medium.en.clone(),
            },
        });
        let pieces = lines.pieces.iter().map(|piece| Piece {
            from: piece.from,
            to: piece.to,
            metres: piece.metres,
            medium: piece.medium,
        });
        let graph = Graph::new(media.collect(), pieces.collect(), &lines.same);
        Self {
            versions,
            graph: Arc::new(graph),
            lines,
            stands: Mutex::default(),
        }
    }

    /// Where a device stands on a network; `None` when it stands on nothing that is part of one.
    pub(crate) fn stand(&self, register: &Register, device: &Device) -> Option<Stand> {
        let on = device.entity.as_ref()?;
        let at = device.position.map(|at| [at.lon().to_bits(), at.lat().to_bits()]);
        let key = (on.clone(), at);
        if let Some(known) = self.stands.lock().expect(POISON).get(&key) {
            return *known;
        }
        let component = || -> Option<Entity> {
            let is_one = on.kind == EntityKind::Component;
            is_one.then(|| register.view.entities.get(&on.kind, &on.code))?
        };
        let place = self.lines.place(on, device.position);
        let place = place.or_else(|| self.lines.place_near(&component()?));
        let stand = place.map(|place| Stand {
            piece: place.piece,
            metres: place.metres,
        });
        self.stands.lock().expect(POISON).insert(key, stand);
        stand
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use onemap_alerts::cards::Cause;

    #[test]
    fn every_medium_that_carries_a_cause_is_one_that_flows() {
        let along = Cause::all().iter().filter_map(|cause| cause.along.as_ref());
        for id in along.flat_map(|along| &along.media) {
            assert!(Flowing::all().iter().any(|medium| medium.id == *id), "{id}");
        }
    }
}
