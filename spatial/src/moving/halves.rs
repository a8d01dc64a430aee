//! Longitudes and latitudes that wait for each other.

use std::collections::BTreeMap;

use onemap_model::DeviceId;

/// Halves that wait for one device. A half whose other half never comes is let go after so many more.
pub(crate) const N_WAITING: usize = 16;

/// A longitude or a latitude of one device's channel at one time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Half {
    /// The channel.
    pub channel: u16,
    /// When it was measured, milliseconds.
    pub at_ms: i64,
    /// A longitude; else a latitude.
    pub is_lon: bool,
    /// Degrees, as the device gave it.
    pub degrees: f64,
}

/// A longitude and a latitude of one time and channel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// When they were measured, milliseconds.
    pub at_ms: i64,
    /// The channel.
    pub channel: u16,
    /// Longitude as the device gave it.
    pub lon: f64,
    /// Latitude as the device gave it.
    pub lat: f64,
}

/// Halves of devices, oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Halves(pub(crate) BTreeMap<DeviceId, Vec<Half>>);

impl Halves {
    /// Joins what a message brought with itself and with what waits; pairs come by time and channel.
    pub(crate) fn join(&mut self, device: &DeviceId, brought: &[Half]) -> Vec<Pair> {
        let mut waiting = self.0.remove(device).unwrap_or_default();
        let mut pairs = Vec::new();
        let mut open: BTreeMap<(i64, u16, bool), usize> = BTreeMap::new();
        let mut all: Vec<Option<Half>> = Vec::with_capacity(waiting.len() + brought.len());
        for half in waiting.drain(..).chain(brought.iter().copied()) {
            let key = (half.at_ms, half.channel, half.is_lon);
            let other = open.remove(&(half.at_ms, half.channel, !half.is_lon));
            match other.and_then(|place| all[place].take()) {
                Some(other) => {
                    let (lon, lat) = match half.is_lon {
                        true => (half.degrees, other.degrees),
                        false => (other.degrees, half.degrees),
                    };
                    pairs.push(Pair {
                        at_ms: half.at_ms,
                        channel: half.channel,
                        lon,
                        lat,
                    });
                }
                None => {
                    open.insert(key, all.len());
                    all.push(Some(half));
                }
            }
        }
        let mut left: Vec<Half> = all.into_iter().flatten().collect();
        if left.len() > N_WAITING {
            left.drain(..left.len() - N_WAITING);
        }
        if !left.is_empty() {
            self.0.insert(device.clone(), left);
        }
        pairs.sort_by_key(|pair| (pair.at_ms, pair.channel));
        pairs
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn half(at_ms: i64, is_lon: bool, degrees: f64) -> Half {
        Half {
            channel: 0,
            at_ms,
            is_lon,
            degrees,
        }
    }

    #[test]
    fn halves_meet_in_one_message_or_in_two_and_never_across_times_or_channels() {
        let device = DeviceId::new("truck-1").unwrap();
        let mut halves = Halves::default();
        let both = halves.join(&device, &[half(20, false, 36.6), half(20, true, 101.7)]);
        assert_eq!((both.len(), both[0].lon, both[0].lat), (1, 101.7, 36.6));
        assert_eq!(halves, Halves::default());
        assert!(
            halves
                .join(&device, &[half(30, true, 101.8), half(40, true, 101.9)])
                .is_empty()
        );
        let other = Half {
            channel: 1,
            ..half(30, false, 1.0)
        };
        assert!(halves.join(&device, &[other, half(35, false, 36.0)]).is_empty());
        // Newest first in the message: by time here.
        let late = halves.join(&device, &[half(40, false, 36.9), half(30, false, 36.8)]);
        let seen: Vec<_> = late.iter().map(|pair| (pair.at_ms, pair.lon, pair.lat)).collect();
        assert_eq!(seen, [(30, 101.8, 36.8), (40, 101.9, 36.9)]);
        let someone = DeviceId::new("truck-2").unwrap();
        assert!(halves.join(&someone, &[half(35, true, 101.0)]).is_empty());
    }

    #[test]
    fn what_waits_is_bounded_and_a_message_is_not() {
        let device = DeviceId::new("truck-1").unwrap();
        let mut halves = Halves::default();
        let lons: Vec<Half> = (0..500).map(|t| half(t, true, 101.0)).collect();
        let lats: Vec<Half> = (0..500).map(|t| half(t, false, 36.0)).collect();
        assert_eq!(
            halves.join(&device, &[lons.clone(), lats.clone()].concat()).len(),
            500
        );
        assert!(halves.join(&device, &lons).is_empty());
        assert_eq!(halves.0[&device].len(), N_WAITING);
        let pairs = halves.join(&device, &lats);
        assert_eq!(pairs.first().map(|pair| pair.at_ms), Some(500 - N_WAITING as i64));
    }
}
