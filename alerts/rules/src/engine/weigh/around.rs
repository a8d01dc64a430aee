//! Which devices stand near one, of those that a rule is for.

use std::collections::BTreeMap;
use std::sync::Arc;

use onemap_model::{DeviceId, RuleId};

use super::super::entries::DeviceEntry;
use crate::rule::{Around, Neighbours, Rule};

/// Mean radius of the earth in metres (IUGG).
const EARTH_M: f64 = 6_371_008.8;

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
        let reach = (metres / EARTH_M).to_degrees() * 1.000_001;
        let from = stands.partition_point(|(lat, _)| *lat < own.1 - reach);
        let band = stands[from..].iter().take_while(|(lat, _)| *lat <= own.1 + reach);
        let mut near: Vec<(f64, u32)> = band
            .filter(|(_, other)| *other != device)
            .filter_map(|(_, other)| Some((distance_m(own, devices[*other as usize].place?), *other)))
            .filter(|(far, _)| *far <= metres)
            .collect();
        near.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        if let Some(nearest) = nearest {
            near.truncate(usize::from(nearest));
        }
        near.into_iter().map(|(_, other)| Some(other)).collect()
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
        .filter_map(|(i, device)| Some((device.place?.1, i)))
        .collect();
    stands.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    stands
}

/// Great-circle distance (haversine) between longitude and latitude in degrees.
fn distance_m(a: (f64, f64), b: (f64, f64)) -> f64 {
    let (lat_a, lat_b) = (a.1.to_radians(), b.1.to_radians());
    let (d_lat, d_lon) = (lat_b - lat_a, (b.0 - a.0).to_radians());
    let h = (d_lat / 2.0).sin().powi(2) + lat_a.cos() * lat_b.cos() * (d_lon / 2.0).sin().powi(2);
    2.0 * EARTH_M * h.sqrt().min(1.0).asin()
}
