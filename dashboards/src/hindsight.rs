//! What of the history rules have to be asked with when a time is looked at again.

use std::time::Duration;

use onemap_model::{Device, DeviceId, DivisionCode, Quantity, SeriesKey};
use onemap_rules::{Around, Rule, Silence, When, nearest_first};

use crate::views::Register;

/// Neighbours whose values are looked at.
const N_NEIGHBOURS: usize = 64;

/// How far back a rule looks: its longest time, its holds and some more for what was before.
pub fn reach(rule: &Rule) -> Duration {
    let of_fact = |fact: &&When| match fact {
        When::Change(change) => change.over,
        When::Stuck(stuck) => stuck.time,
        When::NoData {
            silence: Silence::Fixed(time),
            ..
        } => *time,
        _ => Duration::ZERO,
    };
    let longest = rule.when.facts().iter().map(of_fact).max().unwrap_or_default();
    (longest + rule.hold + rule.clear_hold) * 2 + Duration::from_secs(3600)
}

/// What a rule looks at.
pub fn quantities(rule: &Rule) -> impl Iterator<Item = Quantity> + '_ {
    rule.when.facts().into_iter().filter_map(When::quantity)
}

/// The devices that a rule compares a device with, the nearest first.
pub fn around(register: &Register, series: &SeriesKey, rule: &Rule) -> Vec<DeviceId> {
    let own = register.view.devices.get(&series.device);
    let Some(own) = own.filter(|own| selects(rule, register, own)) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for fact in rule.when.facts() {
        let When::Neighbours(asked) = fact else {
            continue;
        };
        match &asked.around {
            Around::Named(ids) => found.extend(ids.iter().cloned()),
            Around::Within { metres, .. } => {
                let Some(place) = own.position else {
                    continue;
                };
                let others = register.view.devices.values();
                let others = others.filter(|other| other.id != own.id && selects(rule, register, other));
                let others = others.filter_map(|other| Some((other.position?, other.id.clone())));
                found.extend(
                    nearest_first(place, *metres, others)
                        .into_iter()
                        .take(N_NEIGHBOURS),
                );
            }
        }
    }
    found
}

/// Whether a rule is for a device, wherever that may be among fences.
pub fn selects(rule: &Rule, register: &Register, device: &Device) -> bool {
    let division: Option<&DivisionCode> = register.divisions.get(&device.id);
    rule.applies_to.selects(&device.id, &device.kind, division, &[])
}
