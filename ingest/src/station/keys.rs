//! Keys that open what stations encrypt (HJ 212-2025), by station; they may change while stations are connected.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use onemap_wire::hj212::Key;

/// Keys by the number of their station. Of several the first one encrypts what goes down until the station has used
/// another one; all are tried on what comes. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct StationKeys(Arc<RwLock<HashMap<String, Arc<[Key]>>>>);

impl StationKeys {
    /// The keys of a station, none when it has none.
    pub fn of(&self, number: &str) -> Arc<[Key]> {
        // The map is put in whole, so a poisoned lock still guards one.
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
        keys.get(number).cloned().unwrap_or_default()
    }

    /// Takes other keys in place of all. Frames that wait for one are read again out of the quarantine.
    pub fn replace(&self, keys: HashMap<String, Vec<Key>>) {
        let keys = keys.into_iter().map(|(number, keys)| (number, keys.into()));
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = keys.collect();
    }

    /// How many stations have one.
    pub fn n_stations(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_station_has_the_keys_of_the_last_file_and_shows_none() {
        let keys = StationKeys::default();
        assert!(keys.of("A").is_empty());
        let shared = keys.clone();
        let two = vec![Key::new([1; 16]), Key::new([2; 16])];
        shared.replace(HashMap::from([("A".to_owned(), two)]));
        assert_eq!(
            (keys.of("A").len(), keys.of("B").len(), keys.n_stations()),
            (2, 0, 1)
        );
        assert_eq!(format!("{:?}", keys.of("A")), "[Key, Key]");
        keys.replace(HashMap::new());
        assert!(keys.of("A").is_empty());
    }
}
