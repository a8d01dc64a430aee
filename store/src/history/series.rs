//! The dictionary of series: a number for each key, given once and never to another.

use std::fmt;
use std::sync::RwLockReadGuard;

use foldhash::HashMap;
use onemap_model::{DeviceId, Quantity, SeriesKey, Timestamp};
use serde::{Deserialize, Serialize};

/// The number of a series in one history. It means nothing in another history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SeriesId(pub u32);

impl SeriesId {
    /// As the index of a table. Numbers are dense and start at 1.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for SeriesId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One series and its extent.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesInfo {
    /// Its number.
    pub id: SeriesId,
    /// Whose and what.
    pub key: SeriesKey,
    /// Its oldest measured time.
    pub first: Timestamp,
    /// Its newest measured time.
    pub last: Timestamp,
    /// Times that have a value.
    pub n: u64,
}

/// The numbers of all devices' series, held for one look at many of them.
pub struct NumbersOf<'a>(pub(super) RwLockReadGuard<'a, Dictionary>);

impl NumbersOf<'_> {
    /// The name of a series.
    pub fn key(&self, id: SeriesId) -> Option<&SeriesKey> {
        self.0.key(id)
    }
    /// The series of a device in the order of their numbers.
    pub fn device(&self, device: &DeviceId) -> &[SeriesId] {
        self.0
            .device(device)
            .map_or(&[], |device| self.0.of_device(device))
    }
}

/// Series of a device that are looked through one by one.
const N_FEW: usize = 24;

/// A device's number, dense from 0, within this process only.
pub(super) type DeviceIndex = usize;

/// Names of series, both ways.
#[derive(Default)]
pub(super) struct Dictionary {
    by_key: HashMap<SeriesKey, (SeriesId, DeviceIndex)>,
    /// By number; 0 and series whose quantity is no longer known are `None`.
    keys: Vec<Option<SeriesKey>>,
    devices: HashMap<DeviceId, DeviceIndex>,
    of_device: Vec<Vec<SeriesId>>,
}

impl Dictionary {
    pub(super) fn find(&self, key: &SeriesKey) -> Option<(SeriesId, DeviceIndex)> {
        self.by_key.get(key).copied()
    }
    /// The series of a device, found among its few without its name being read again; `None` also where it has many.
    pub(super) fn find_of(&self, device: DeviceIndex, key: &SeriesKey) -> Option<SeriesId> {
        let own = self.of_device(device);
        if own.len() > N_FEW {
            return None;
        }
        let is_it = |id: &&SeriesId| {
            let known = self.key(**id);
            known.is_some_and(|known| (known.quantity, known.channel) == (key.quantity, key.channel))
        };
        own.iter().find(is_it).copied()
    }
    pub(super) fn key(&self, id: SeriesId) -> Option<&SeriesKey> {
        self.keys.get(id.index())?.as_ref()
    }
    pub(super) fn of_device(&self, device: DeviceIndex) -> &[SeriesId] {
        self.of_device.get(device).map_or(&[], Vec::as_slice)
    }
    pub(super) fn device(&self, device: &DeviceId) -> Option<DeviceIndex> {
        self.devices.get(device).copied()
    }
    /// Series with their keys, in the order of their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (SeriesId, &SeriesKey)> {
        (0u32..)
            .zip(&self.keys)
            .filter_map(|(id, key)| Some((SeriesId(id), key.as_ref()?)))
    }
    /// The number for the next new series: above every number ever given.
    pub(super) fn next(&self) -> SeriesId {
        SeriesId(self.keys.len().max(1) as u32)
    }
    /// Enters a series under its number; without a key the number is only marked as given.
    pub(super) fn enter(&mut self, id: SeriesId, key: Option<SeriesKey>) {
        if self.keys.len() <= id.index() {
            self.keys.resize(id.index() + 1, None);
        }
        if let Some(key) = &key {
            let device = match self.devices.get(&key.device) {
                Some(device) => *device,
                None => {
                    self.devices.insert(key.device.clone(), self.of_device.len());
                    self.of_device.push(Vec::new());
                    self.of_device.len() - 1
                }
            };
            self.of_device[device].push(id);
            self.by_key.insert(key.clone(), (id, device));
        }
        self.keys[id.index()] = key;
    }
}

/// Reads `device/quantity/channel`. `None` when it is not that, or the quantity is not known here.
pub(crate) fn parse_key(text: &str) -> Option<SeriesKey> {
    let mut parts = text.splitn(3, '/');
    Some(SeriesKey {
        device: DeviceId::new(parts.next()?).ok()?,
        quantity: Quantity::named(parts.next()?)?,
        channel: parts.next()?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_number_is_never_given_twice() {
        let key = parse_key("air-1/pm2_5/0").unwrap();
        assert_eq!(key.to_string(), "air-1/pm2_5/0");
        let mut dictionary = Dictionary::default();
        assert_eq!(dictionary.next(), SeriesId(1));
        dictionary.enter(SeriesId(1), Some(key.clone()));
        dictionary.enter(SeriesId(5), None);
        assert_eq!(dictionary.next(), SeriesId(6));
        assert_eq!(dictionary.find(&key), Some((SeriesId(1), 0)));
        assert_eq!(dictionary.find_of(0, &key), Some(SeriesId(1)));
        let other = parse_key("air-1/pm2_5/1").unwrap();
        assert_eq!(dictionary.find_of(0, &other), None);
        assert_eq!(dictionary.key(SeriesId(5)), None);
        assert_eq!(dictionary.iter().count(), 1);
        for bad in [
            "",
            "air-1/pm2_5",
            "air-1/no_such_thing/0",
            "air-1/pm2_5/70000",
            "a b/pm2_5/0",
        ] {
            assert_eq!(parse_key(bad), None, "{bad}");
        }
    }
}
