//! Where in the journal the newest frames of each station stand, so that they can be looked at.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;

use onemap_model::DeviceId;

const POISON: &str = "no holder of this lock panics";
/// Frames of one station that are remembered.
pub(crate) const N_KEPT: usize = 16;

/// Positions of the newest frames by station, since the pipeline began to fold; the bytes stay in the journal.
#[derive(Debug, Default)]
pub struct NewestFrames(Mutex<HashMap<DeviceId, VecDeque<u64>>>);

impl NewestFrames {
    /// Notes a frame of a station.
    pub fn note(&self, device: &DeviceId, position: u64) {
        let mut all = self.0.lock().expect(POISON);
        if let Some(positions) = all.get_mut(device) {
            if positions.len() == N_KEPT {
                positions.pop_front();
            }
            positions.push_back(position);
            return;
        }
        all.insert(device.clone(), VecDeque::from([position]));
    }

    /// The positions of a station's frames, oldest first.
    pub(crate) fn of(&self, device: &DeviceId) -> Vec<u64> {
        let all = self.0.lock().expect(POISON);
        all.get(device)
            .map(|positions| positions.iter().copied().collect())
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_newest_are_kept_by_station() {
        let frames = NewestFrames::default();
        let [a, b] = ["a", "b"].map(|id| DeviceId::new(id).unwrap());
        (1..=20).for_each(|position| frames.note(&a, position));
        frames.note(&b, 21);
        assert_eq!(frames.of(&a), (5..=20).collect::<Vec<_>>());
        assert_eq!(frames.of(&b), [21]);
        assert!(frames.of(&DeviceId::new("c").unwrap()).is_empty());
    }
}
