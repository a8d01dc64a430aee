//! Which devices stand near one, of those that a rule is for.

use std::collections::BTreeMap;
use std::sync::Arc;

use onemap_model::place::EARTH_RADIUS_M;
use onemap_model::{DeviceId, Position, RuleId};

use super::super::entries::DeviceEntry;
use crate::rule::{Around, Neighbours, Rule};

/// Where the devices stand that rules with neighbours are for: made when it is first asked after something moved.
#[derive(Default)]
pub(in super::super) struct Stands {
    /// Of each rule its devices by latitude.
    of_rule: BTreeMap<RuleId, Vec<(f64, u32)>>,
}

impl Stands {
    pub(super) fn moved(&mut self) {
        self.of_rule.clear();
    }

    /// The neighbours of a device, the nearest first, of those as near the first known; `None` is one that is named and not known.
    pub(super) fn around(
        &mut self,
        device: u32,
        rule: &Arc<Rule>,
        asked: &Neighbours,
        devices: &[DeviceEntry],
        index: &foldhash::HashMap<DeviceId, u32>,
    ) -> Vec<Option<u32>> {
        let (metres, nearest) = match &asked.around {
            Around::Named(ids) => return ids.iter().map(|id| index.get(id).copied()).collect(),
            Around::Within { metres, nearest } => (*metres, *nearest),
        };
        let Some(own) = devices[device as usize].place else {
            return Vec::new();
        };
        let stands = self
            .of_rule
            .entry(rule.id.clone())
            .or_insert_with(|| by_latitude(rule, devices));
        let reach = (metres / EARTH_RADIUS_M).to_degrees() * 1.000_001;
        let from = stands.partition_point(|(lat, _)| *lat < own.lat() - reach);
        let band = stands[from..]
            .iter()
            .take_while(|(lat, _)| *lat <= own.lat() + reach);
        let others = band
            .filter(|(_, other)| *other != device)
            .filter_map(|(_, other)| Some((devices[*other as usize].place?, *other)));
        let near = nearest_first(own, metres, others);
        let most = nearest.map_or(usize::MAX, usize::from);
        near.into_iter().take(most).map(Some).collect()
    }
}

fn by_latitude(rule: &Rule, devices: &[DeviceEntry]) -> Vec<(f64, u32)> {
    let mut stands: Vec<(f64, u32)> = (0_u32..)
        .zip(devices)
        .filter(|(_, device)| {
            !device.retired()
                && rule
                    .applies_to
                    .selects(&device.id, &device.kind, device.division.as_ref(), &device.fences)
        })
        .filter_map(|(i, device)| Some((device.place?.lat(), i)))
        .collect();
    stands.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    stands
}

/// Those that stand within so many metres of a place, the nearest first; of equally near ones the smaller first.
pub fn nearest_first<T: Ord>(
    own: Position,
    metres: f64,
    others: impl Iterator<Item = (Position, T)>,
) -> Vec<T> {
    let mut near: Vec<(f64, T)> = others
        .map(|(place, other)| (own.distance_m(place), other))
        .filter(|(far, _)| *far <= metres)
        .collect();
    near.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
    near.into_iter().map(|(_, other)| other).collect()
}
