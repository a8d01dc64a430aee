//! What the register knows of gauges, and which of their stages hold now.

use std::collections::BTreeMap;
use std::sync::Arc;

use onemap_model::{DeviceId, Hydrology, Timestamp, Transition};

use super::Engine;
use super::entries::{DeviceEntry, NO_DEADLINE};
use crate::codec::{Damaged, Reader, Writer};
use crate::rule::Rule;
use crate::stages::Stages;

/// One gauge.
struct Gauge {
    /// With datums and stages alone.
    known: Hydrology,
    now: Stages,
}

/// The gauges whose stages the register has.
#[derive(Default)]
pub(super) struct Gauges {
    of: BTreeMap<DeviceId, Gauge>,
    /// A snapshot of before stages were limits was read: what is known of gauges is to be stated.
    pub(super) are_to_be_stated: bool,
}

impl Gauges {
    /// The rule as it is for one device; `None` when it has no limit for that.
    pub(super) fn own(&self, rule: &Arc<Rule>, device: &DeviceEntry) -> Option<Arc<Rule>> {
        if !rule.has_own_limits() {
            return Some(Arc::clone(rule));
        }
        rule.of_gauge(&device.id, device.division.as_ref(), &self.stages(&device.id))
    }

    /// The stages of a device that hold now.
    pub(super) fn stages(&self, device: &DeviceId) -> Stages {
        self.of.get(device).map(|gauge| gauge.now).unwrap_or_default()
    }

    /// Takes what is known of a gauge; says whether its limits are others by that.
    fn put(&mut self, device: &DeviceId, known: Option<&Hydrology>, now: Timestamp) -> bool {
        let before = self.stages(device);
        match known.filter(|known| !known.stages.is_empty()) {
            None => {
                self.of.remove(device);
            }
            Some(known) => {
                let known = Hydrology {
                    channel: known.channel,
                    datums: known.datums.clone(),
                    stages: known.stages.clone(),
                    ..Hydrology::default()
                };
                let now = Stages::at(&known, now);
                self.of.insert(device.clone(), Gauge { known, now });
            }
        }
        self.stages(device) != before
    }

    /// Looks which stages hold now; gives the gauges of which others do than before.
    pub(super) fn turn(&mut self, now: Timestamp) -> Vec<DeviceId> {
        let mut turned = Vec::new();
        for (device, gauge) in &mut self.of {
            let then = std::mem::replace(&mut gauge.now, Stages::at(&gauge.known, now));
            if then != gauge.now {
                turned.push(device.clone());
            }
        }
        turned
    }

    /// When a stage or a datum begins or ends next.
    pub(super) fn next_turn(&self, now: i64) -> i64 {
        let spans = self.of.values().flat_map(|gauge| {
            let stages = gauge.known.stages.iter().map(|stages| (stages.from, stages.to));
            stages.chain(gauge.known.datums.iter().map(|datum| (datum.from, datum.to)))
        });
        let turns = spans.flat_map(|(from, to)| [Some(from), to]).flatten();
        let later = turns.map(Timestamp::ms).filter(|at| *at > now);
        later.min().unwrap_or(NO_DEADLINE)
    }

    pub(super) fn write(&self, w: &mut Writer) {
        w.count(self.of.len());
        for (device, gauge) in &self.of {
            w.text(device.as_str());
            w.text(&serde_json::to_string(&gauge.known).expect("heights are finite, keys are text"));
        }
    }

    pub(super) fn read(&mut self, r: &mut Reader<'_>, now: Timestamp) -> Result<(), Damaged> {
        for _ in 0..r.count(8)? {
            let device = DeviceId::new(r.text()?).map_err(|_| Damaged("a gauge's name"))?;
            let known: Hydrology =
                serde_json::from_str(r.text()?).map_err(|_| Damaged("what is known of a gauge"))?;
            known.check().map_err(|_| Damaged("what is known of a gauge"))?;
            self.put(&device, Some(&known), now);
        }
        Ok(())
    }
}

impl Engine {
    /// Takes what the register knows of a gauge: its stages and datums are limits of rules that name them. An alert whose
    /// limit is another by that is withdrawn, as when its rule is changed, and what is known is judged anew.
    pub fn set_stages(
        &mut self,
        now: Timestamp,
        position: u64,
        device: &DeviceId,
        known: Option<&Hydrology>,
    ) -> Vec<Transition> {
        self.advance(now, position);
        if self.gauges.put(device, known, Timestamp::from_ms(self.book.now)) {
            self.rebind(std::slice::from_ref(device));
        }
        self.next_turn = self.next_turn.min(self.gauges.next_turn(self.book.now));
        std::mem::take(&mut self.book.out)
    }

    /// Fills in what a snapshot of before stages were limits has not: no rule in it names any. Where the snapshot has them
    /// this does nothing, for the register may be ahead of it.
    pub fn state_stages(&mut self, device: &DeviceId, known: &Hydrology) {
        if self.gauges.are_to_be_stated {
            self.gauges
                .put(device, Some(known), Timestamp::from_ms(self.book.now));
            self.next_turn = self.next_turn.min(self.gauges.next_turn(self.book.now));
        }
    }

    /// Binds the rules of devices anew.
    pub(super) fn rebind(&mut self, devices: &[DeviceId]) {
        for device in devices {
            if let Some(i) = self.device_index.get(device).copied() {
                self.scales.moved();
                self.bind_device(i, &crate::message::rule_changed());
            }
        }
    }
}
