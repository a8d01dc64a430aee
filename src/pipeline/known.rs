//! What the register says of the device behind a frame, looked up once and not for every frame.

use std::sync::Arc;

use foldhash::HashMap;
use onemap_dashboards::views::Views;
use onemap_model::{Device, DeviceId, DivisionCode};

use super::POISON;

/// A device and where it stands.
pub(super) type Known = (Arc<Device>, Option<DivisionCode>);

/// Devices that were asked for since the register last changed.
///
/// Invariant: only the fold writes `Views::register`, and it takes the lock for writing by
/// [`KnownDevices::forgetting`]. So what is found here is what the register holds.
#[derive(Default)]
pub(super) struct KnownDevices(HashMap<DeviceId, Known>);

impl KnownDevices {
    /// The device of that name; `None` when the register has none.
    pub(super) fn find(&mut self, views: &Views, device: &str) -> Option<Known> {
        if let Some(known) = self.0.get(device) {
            return Some(known.clone());
        }
        let register = views.register.read().expect(POISON);
        let device = register.view.devices.get(device)?.clone();
        let division = register.divisions.get(&device.id).cloned();
        drop(register);
        self.0
            .insert(device.id.clone(), (device.clone(), division.clone()));
        Some((device, division))
    }

    /// The register, to be changed: nothing of before is known any longer.
    pub(super) fn forgetting<'a>(
        &mut self,
        views: &'a Views,
    ) -> std::sync::RwLockWriteGuard<'a, onemap_dashboards::views::Register> {
        self.0.clear();
        views.register.write().expect(POISON)
    }
}
