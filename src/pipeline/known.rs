//! What the register says of the device behind a frame, looked up once and not for every frame.

use std::sync::Arc;

use foldhash::HashMap;
use onemap_dashboards::views::Views;
use onemap_model::{Device, DeviceId, DivisionCode};
use onemap_store::register::RegisterView;

use super::POISON;

/// A device and where it stands.
pub(super) type Known = (Arc<Device>, Option<DivisionCode>);

/// Devices that were asked for since the register last changed.
///
/// Invariant: only the fold writes `Views::register`, and it takes the lock for writing by
/// [`KnownDevices::forgetting`]. So what is found here is what the register holds.
#[derive(Default)]
pub(super) struct KnownDevices {
    devices: HashMap<DeviceId, Known>,
    /// By gateway, where they were counted.
    n_children: HashMap<DeviceId, usize>,
}

impl KnownDevices {
    /// The device of that name; `None` when the register has none.
    pub(super) fn find(&mut self, views: &Views, device: &str) -> Option<Known> {
        if let Some(known) = self.devices.get(device) {
            return Some(known.clone());
        }
        let register = views.register.read().expect(POISON);
        let device = register.view.devices.get(device)?.clone();
        let division = register.divisions.get(&device.id).cloned();
        drop(register);
        self.devices
            .insert(device.id.clone(), (device.clone(), division.clone()));
        Some((device, division))
    }

    /// Whether a gateway has `most` children or more. They are counted one by one, so not for each name anew:
    /// a gateway that is full is asked for thousands more.
    pub(super) fn has_children(&mut self, register: &RegisterView, gateway: &DeviceId, most: usize) -> bool {
        // At least one name for each child.
        register.n_children_names(gateway.as_str()) >= most
            && *self
                .n_children
                .entry(gateway.clone())
                .or_insert_with(|| register.children(gateway.as_str()).len())
                >= most
    }

    /// The register, to be changed: nothing of before is known any longer.
    pub(super) fn forgetting<'a>(
        &mut self,
        views: &'a Views,
    ) -> std::sync::RwLockWriteGuard<'a, onemap_dashboards::views::Register> {
        self.devices.clear();
        self.n_children.clear();
        views.register.write().expect(POISON)
    }
}
