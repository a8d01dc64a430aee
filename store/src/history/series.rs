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
pub(super) type DeviceIndex = u32;

/// Names of series, both ways.
#[derive(Default)]
pub(super) struct Dictionary {
    /// Those of devices that have more than a few: a map of all takes eighty bytes a series.
    of_many: HashMap<(DeviceIndex, Quantity, u16), SeriesId>,
    /// By number; 0 and series whose quantity is no longer known are `None`.
    keys: Vec<Option<SeriesKey>>,
    devices: HashMap<DeviceId, DeviceIndex>,
    of_device: Vec<Vec<SeriesId>>,
}

impl Dictionary {
    pub(super) fn find(&self, key: &SeriesKey) -> Option<(SeriesId, DeviceIndex)> {
        let device = self.device(&key.device)?;
        Some((self.find_of(device, key)?, device))
    }
    /// The series of a device, found without the device's name being read again.
    pub(super) fn find_of(&self, device: DeviceIndex, key: &SeriesKey) -> Option<SeriesId> {
        let own = self.of_device(device);
        if own.len() > N_FEW {
            return self.of_many.get(&(device, key.quantity, key.channel)).copied();
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
        self.of_device.get(device as usize).map_or(&[], Vec::as_slice)
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
    pub(super) fn enter(&mut self, id: SeriesId, mut key: Option<SeriesKey>) {
        if self.keys.len() <= id.index() {
            self.keys.resize(id.index() + 1, None);
        }
        let entered = key.as_mut().map(|key| self.enter_of_device(id, key));
        self.keys[id.index()] = key;
        if let Some(device) = entered {
            self.note_of_many(device, id);
        }
    }
    /// Enters a series among those of its device, whose name all its keys share.
    fn enter_of_device(&mut self, id: SeriesId, key: &mut SeriesKey) -> DeviceIndex {
        let device = match self.devices.get_key_value(&key.device) {
            Some((name, device)) => {
                key.device = name.clone();
                *device
            }
            None => {
                let device = self.of_device.len() as DeviceIndex;
                self.devices.insert(key.device.clone(), device);
                self.of_device.push(Vec::new());
                device
            }
        };
        self.of_device[device as usize].push(id);
        device
    }
    fn note_of_many(&mut self, device: DeviceIndex, id: SeriesId) {
        let own = &self.of_device[device as usize];
        let more: &[SeriesId] = match own.len() {
            ..=N_FEW => return,
            n if n == N_FEW + 1 => own,
            _ => &[id],
        };
        for id in more {
            if let Some(key) = self.keys.get(id.index()).and_then(Option::as_ref) {
                self.of_many.insert((device, key.quantity, key.channel), *id);
            }
        }
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
        // Few or many, each is found.
        let channel = |n: u16| SeriesKey {
            channel: n,
            ..key.clone()
        };
        for n in 1..100 {
            dictionary.enter(SeriesId(5 + u32::from(n)), Some(channel(n)));
            assert_eq!(
                dictionary.find(&channel(n)),
                Some((SeriesId(5 + u32::from(n)), 0))
            );
            assert!(dictionary.find(&channel(n / 2 + 1)).is_some());
            assert_eq!(dictionary.find(&key), Some((SeriesId(1), 0)));
            assert_eq!(dictionary.find(&channel(n + 1)), None);
        }
        assert_eq!(dictionary.iter().count(), 100);
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
