//! What stations measure: functions of seed, name and time.

use onemap_model::Timestamp;

use crate::prng::{seed_of, wave};

/// A measured amount: around `base`, by day and by ten minutes.
pub(super) fn value(seed: u64, name: &str, base: f64, at: Timestamp) -> f64 {
    let own = name
        .bytes()
        .fold(seed, |seed, byte| seed_of(&[seed, u64::from(byte)]));
    let seconds = at.ms() as f64 / 1000.0;
    base * (1.0 + 0.25 * wave(own, seconds, 86_400.0) + 0.05 * wave(own ^ 1, seconds, 600.0))
}

/// Whether a station has values of a period.
pub(super) fn has(seed: u64, holes: f64, start: Timestamp) -> bool {
    if holes <= 0.0 {
        return true;
    }
    let bits = seed_of(&[seed, 0x401e, start.ms() as u64]) >> 11;
    bits as f64 / (1u64 << 53) as f64 >= holes
}
