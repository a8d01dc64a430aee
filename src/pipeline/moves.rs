//! Devices that say where they are: their longitudes and latitudes become sightings, and sightings events at fences.
//!
//! What is sent again or imported stays in the history and shows nothing: an event is told once, when it is news. All
//! of it is made of the journal alone and kept in the checkpoint, so that a replay tells the same events.

use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock};

use anyhow::{Context, Result};
use onemap_dashboards::views::{Register as Known, Sighted, Views};
use onemap_model::record::Register;
use onemap_model::{
    Crs, Device, DeviceId, DeviceState, DivisionCode, EntityKind, FenceEvent, FenceEventId, Position,
    Quality, Quantity, Reading, SeriesKey, Timestamp,
};
use onemap_spatial::ground::{Taken, Vertex};
use onemap_spatial::moving::{Half, Seen, Told};
use onemap_spatial::{Moving, ThingKind};
use onemap_store::history::{Kind, Outcome};
use tracing::warn;

use super::fold::Fold;

const POISON: &str = "no holder of this lock panics";

struct Named {
    longitude: Quantity,
    latitude: Quantity,
}

static NAMED: LazyLock<Named> = LazyLock::new(|| {
    let named = |name| Quantity::named(name).expect("the dictionary has positions");
    Named {
        longitude: named("longitude"),
        latitude: named("latitude"),
    }
});

/// Moving devices and fences as of a checkpoint: the fences of the register, and what is kept of devices.
pub(crate) fn restore(register: &Known, bytes: Option<&[u8]>, now: Timestamp) -> Result<Moving> {
    let mut moving = Moving::default();
    for fence in register.view.entities.of_kind(&EntityKind::Fence) {
        if let Err(reason) = moving.put_fence(&fence, now) {
            warn!(code = %fence.code, %reason, "an entity is no fence");
        }
    }
    if let Some(bytes) = bytes {
        moving.restore(bytes).context(
            "the checkpoint of moving devices cannot be read by this version; `onemap journal replay --into NEW` makes all projections again",
        )?;
    }
    moving.note_kept();
    for (device, newest) in moving.devices() {
        place(register, device, Some(newest.at));
    }
    Ok(moving)
}

/// Shows a device on the map where it is.
fn place(register: &Known, device: &DeviceId, at: Option<Vertex>) {
    if let Err(reason) = register.city.move_device(device, at) {
        warn!(device.id = %device, %reason, "`{device}` moves and has no room on the map");
    }
}

impl Fold<'_> {
    /// Takes the positions that a device's message brought.
    pub(super) fn sightings(
        &mut self,
        device: &Device,
        division: Option<&DivisionCode>,
        readings: &[Reading],
        outcomes: &[Outcome],
    ) {
        let Named { longitude, latitude } = *NAMED;
        let is_position = |quantity| quantity == longitude || quantity == latitude;
        if !readings
            .iter()
            .any(|reading| is_position(reading.series.quantity))
        {
            return;
        }
        let views = self.views;
        let mut halves = Vec::with_capacity(readings.len());
        for (reading, outcome) in readings.iter().zip(outcomes) {
            let SeriesKey {
                quantity, channel, ..
            } = &reading.series;
            let Some(degrees) = reading.value.number().filter(|_| is_position(*quantity)) else {
                continue;
            };
            let again = Quality(Quality::RESENT.0 | Quality::BACKFILL.0);
            if outcome.kind != Kind::New || reading.quality.0 & again.0 != 0 {
                if *quantity == latitude && outcome.kind != Kind::Duplicate {
                    count(views, Sighted::Late);
                }
            } else if reading.quality.judgeable() {
                halves.push(Half {
                    channel: *channel,
                    at_ms: reading.measured_at.ms(),
                    is_lon: *quantity == longitude,
                    degrees,
                });
            } else if *quantity == latitude && degrees == 0.0 {
                count(views, Sighted::NoFix);
            }
        }
        let Some(last) = readings.last().filter(|_| !halves.is_empty()) else {
            return;
        };
        let profile = device.profile.as_ref().and_then(|id| self.profiles.get(id));
        let crs = profile.map_or(Crs::Wgs84, |profile| profile.crs);
        let mut told = Vec::new();
        let mut moved = None;
        // Fences whose time came with this very record.
        self.turn_fences(last.position);
        {
            let mut moving = views.moving.write().expect(POISON);
            for pair in moving.join(&device.id, &halves) {
                if (pair.lon, pair.lat) == (0.0, 0.0) {
                    count(views, Sighted::NoFix);
                    continue;
                }
                let there = crs.read(pair.lon, pair.lat).ok();
                let Some(at) = there.and_then(|(lon, lat)| Vertex::from_degrees(lon, lat)) else {
                    count(views, Sighted::Outside);
                    continue;
                };
                let seen = Seen {
                    device: &device.id,
                    kind: &device.kind,
                    at,
                    measured_at: Timestamp::from_ms(pair.at_ms),
                    received_at: last.received_at,
                };
                let became = match moving.sight(&seen, &mut told) {
                    Taken::Yes => {
                        moved = Some(at);
                        Sighted::Taken
                    }
                    Taken::Late { .. } => Sighted::Late,
                    Taken::Doubted => Sighted::Doubted,
                };
                count(views, became);
            }
        }
        if moved.is_some() {
            place(&views.register.read().expect(POISON), &device.id, moved);
            views.moved.lock().expect(POISON).insert(device.id.clone());
        }
        for told in told {
            self.crossed(device, division, last, &told);
        }
        if moved.is_some() && self.engine.asks_for_fences() {
            self.stand(last.position, &device.id);
        }
    }

    /// States to the rules which fences a device is in: one that moves by its sightings, another by its place.
    pub(super) fn stand(&mut self, position: u64, id: &DeviceId) {
        let place = {
            let register = self.views.register.read().expect(POISON);
            let device = register.view.devices.get(id);
            device.map(|device| (device.kind.clone(), device.position.as_ref().map(Vertex::of)))
        };
        let mut moving = self.views.moving.write().expect(POISON);
        let fences: Vec<Arc<str>> = match (moving.newest(id.as_str()), place) {
            (Some(_), _) => {
                let stays = moving.fences_of(id.as_str());
                stays.into_iter().map(|(code, _)| (**code).into()).collect()
            }
            (None, Some((kind, Some(at)))) => {
                let covering = moving.fences_over(at, &kind);
                covering.into_iter().map(|code| (**code).into()).collect()
            }
            (None, _) => Vec::new(),
        };
        drop(moving);
        let transitions = self.engine.set_fences(*self.now, position, id, fences);
        self.judged(transitions);
    }

    /// As [`stand`](Self::stand) for every device, or for those that do not move.
    pub(super) fn all_stand(&mut self, position: u64, movers_too: bool) {
        let mut ids: Vec<DeviceId> = {
            let register = self.views.register.read().expect(POISON);
            let moving = self.views.moving.read().expect(POISON);
            let all = register.view.devices.keys();
            all.filter(|id| movers_too || moving.newest(id.as_str()).is_none())
                .cloned()
                .collect()
        };
        ids.sort();
        for id in ids {
            self.stand(position, &id);
        }
    }

    /// Tells the rules of a fence that came, changed, began or ended. Devices that move are in it, or are not, from the
    /// next place that they say.
    fn fence_changed(&mut self, position: u64, code: &str) {
        if !self.engine.asks_for_fence(code) {
            return;
        }
        let fence = self.views.moving.read().expect(POISON);
        if fence.fence(code).is_some_and(|fence| fence.in_force) {
            drop(fence);
            return self.all_stand(position, false);
        }
        drop(fence);
        let transitions = self.engine.fence_gone(*self.now, position, code);
        self.judged(transitions);
    }

    fn crossed(&mut self, device: &Device, division: Option<&DivisionCode>, last: &Reading, told: &Told) {
        let register = self.views.register.read().expect(POISON);
        let fence = ThingKind::Entity(EntityKind::Fence);
        let of_fence = register.city.division_of(&fence, &told.fence);
        drop(register);
        self.pending.ledger.fence_events.push(FenceEvent {
            id: FenceEventId::at(&told.fence, &device.id, told.sequence, told.kind),
            kind: told.kind,
            fence: told.fence.clone(),
            device: device.id.clone(),
            sequence: told.sequence,
            at: told.at,
            place: Position::new(told.place.lon_degrees(), told.place.lat_degrees(), None)
                .expect("a vertex lies on the globe"),
            received_at: last.received_at,
            position: last.position,
            division: of_fence,
            device_division: division.cloned(),
        });
    }

    /// Follows a change of the register: fences that came or went, devices that are out of use.
    pub(super) fn moves(&mut self, position: u64, change: &Register) {
        let views = self.views;
        let mut changed: Vec<&str> = Vec::new();
        match change {
            Register::Entity { entity } if entity.kind == EntityKind::Fence => {
                let mut moving = views.moving.write().expect(POISON);
                for former in &entity.former {
                    moving.remove_fence(&former.code);
                    changed.push(&former.code);
                }
                changed.push(&entity.code);
                if let Err(reason) = moving.put_fence(entity, *self.now) {
                    warn!(code = %entity.code, %reason, "an entity is no fence");
                }
            }
            Register::EntityRemoved { kind, code } if *kind == EntityKind::Fence => {
                views.moving.write().expect(POISON).remove_fence(code);
                changed.push(code);
            }
            Register::Device { device } if device.state == DeviceState::Retired => {
                let was_moving = views.moving.write().expect(POISON).retire(&device.id);
                if was_moving {
                    place(&views.register.read().expect(POISON), &device.id, None);
                }
            }
            _ => {}
        }
        for code in changed {
            self.fence_changed(position, code);
        }
    }

    /// Begins and ends fences whose time has come.
    pub(super) fn turn_fences(&mut self, position: u64) {
        let turned = self.views.moving.write().expect(POISON).tick(*self.now);
        for code in turned {
            self.fence_changed(position, &code);
        }
    }
}

fn count(views: &Views, became: Sighted) {
    if let Some(i) = Sighted::ALL.iter().position(|own| *own == became) {
        views.sightings[i].fetch_add(1, Ordering::Relaxed);
    }
}
