//! What time and the register do to a device's life: tokens end, connections are cut, maintenances are over.
//!
//! The clock is the records': a replay ends the same maintenance at the same record.

use std::collections::BTreeSet;
use std::sync::Arc;

use onemap_dashboards::views::Views;
use onemap_model::record::{Register, Stamped};
use onemap_model::{Device, DeviceId, DeviceState, Timestamp};
use tracing::info;

use super::fold::Fold;

const POISON: &str = "no holder of this lock panics";

/// Maintenances that end by themselves, soonest first.
#[derive(Debug, Default)]
pub(super) struct Maintenances(BTreeSet<(Timestamp, DeviceId)>);

impl Maintenances {
    /// Those that end after `now`: the others were ended by the fold already.
    pub(super) fn of(views: &Views, now: Timestamp) -> Self {
        let register = views.register.read().expect(POISON);
        let devices = register.view.devices.values();
        let ends = devices.filter_map(|d| Some((d.maintenance_ends()?, d.id.clone())));
        Self(ends.filter(|(end, _)| *end > now).collect())
    }

    /// Takes a device as it is now.
    pub(super) fn note(&mut self, device: &Device, now: Timestamp) {
        self.0.retain(|(_, id)| *id != device.id);
        if let Some(end) = device.maintenance_ends()
            && end > now
        {
            self.0.insert((end, device.id.clone()));
        }
    }

    fn over(&mut self, now: Timestamp) -> Option<DeviceId> {
        match self.0.first() {
            Some((end, _)) if *end <= now => self.0.pop_first().map(|(_, id)| id),
            _ => None,
        }
    }
}

/// The device with the state it has at a time.
pub(super) fn as_of(device: &Arc<Device>, now: Timestamp) -> Arc<Device> {
    let state = device.state_at(now);
    if state == device.state {
        return device.clone();
    }
    Arc::new(Device {
        state,
        maintenance: None,
        ..Device::clone(device)
    })
}

impl Fold<'_> {
    /// Takes a change of tokens, and cuts whom it no longer lets in.
    pub(super) fn tokens(&mut self, position: u64, change: &Stamped<Register>) {
        if !self.views.keys.apply(change.at, &change.what) {
            return;
        }
        let entry = (position, change.at, change.what.clone());
        self.pending.ledger.register.push(entry);
        match &change.what {
            Register::DeviceToken { device, .. } | Register::DeviceTokenRevoked { device } => {
                enforce(self.views, device);
            }
            Register::Device { device } => enforce(self.views, &device.id),
            _ => {}
        }
    }

    /// Ends the tokens and maintenances whose time has come.
    pub(super) fn life(&mut self, position: u64) {
        for device in self.views.keys.expire(*self.now) {
            enforce(self.views, &device);
        }
        while let Some(id) = self.maintenances.over(*self.now) {
            info!(device.id = %id, "maintenance of `{id}` is over");
            self.pending.register_changed = true;
            self.place(position, &id, true);
        }
    }
}

/// Cuts the connections of a device that is retired or revoked, or those whose token has ended.
fn enforce(views: &Views, id: &DeviceId) {
    let is_out = views.keys.is_revoked(id) || {
        let register = views.register.read().expect(POISON);
        let device = register.view.devices.get(id);
        device.is_none_or(|d| d.state == DeviceState::Retired)
    };
    let n = if is_out {
        views.links.cut(id.as_str())
    } else {
        views
            .links
            .keep(id.as_str(), |credential| views.keys.opens(id, credential))
    };
    if n > 0 {
        info!(device.id = %id, connections = n, "connections of `{id}` are cut: its token has ended");
    }
}
