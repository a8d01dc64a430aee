//! Small deterministic randomness: the same seed gives the same city on every machine.
//!
//! Not for secrets.

/// SplitMix64 (Steele, Lea, Flood 2014): one state word, every seed is good.
#[derive(Clone, Debug)]
pub struct Prng(u64);

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number in `[0, 1)` from 53 bits.
fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

/// Mixes several numbers into one, for seeds that hang on more than one thing.
pub fn seed_of(parts: &[u64]) -> u64 {
    parts.iter().fold(0x6f6e_656d_6170, |seed, part| {
        mix(seed.wrapping_add(0x9e37_79b9_7f4a_7c15) ^ part)
    })
}

impl Prng {
    /// A generator of its own for each seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }
    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }
    /// A number in `[low, high)`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * unit(self.bits())
    }
    /// A number below `n`; 0 when `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        if n == 0 {
            0
        } else {
            (self.bits() % n as u64) as usize
        }
    }
    /// Puts a list into random order.
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for i in (1..list.len()).rev() {
            list.swap(i, self.below(i + 1));
        }
    }
}

/// Smooth noise in `[-1, 1]`: a pure function of seed and time that changes over about `period_s`.
///
/// Being without state it gives the same value at the same time whatever was asked before.
pub fn wave(seed: u64, time_s: f64, period_s: f64) -> f64 {
    let at = time_s / period_s;
    let cell = at.floor();
    let knot = |i: f64| 2.0 * unit(seed_of(&[seed, i as i64 as u64])) - 1.0;
    let f = at - cell;
    let ease = f * f * (3.0 - 2.0 * f);
    knot(cell) * (1.0 - ease) + knot(cell + 1.0) * ease
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_splitmix64() {
        // Reference outputs of the published algorithm for seed 1234567.
        let mut prng = Prng::new(1_234_567);
        assert_eq!(prng.bits(), 6_457_827_717_110_365_317);
        assert_eq!(prng.bits(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn waves_are_bounded_continuous_and_depend_on_the_seed() {
        let mut differs = false;
        for i in 0..5_000 {
            let t = 1.7e9 + f64::from(i) * 0.5;
            let v = wave(7, t, 60.0);
            assert!((-1.0..=1.0).contains(&v));
            assert!((v - wave(7, t + 0.5, 60.0)).abs() < 0.03);
            differs |= (v - wave(8, t, 60.0)).abs() > 0.5;
        }
        assert!(differs);
    }

    #[test]
    fn a_shuffle_keeps_every_item() {
        let mut list: Vec<u32> = (0..50).collect();
        Prng::new(3).shuffle(&mut list);
        assert_ne!(list, (0..50).collect::<Vec<_>>());
        list.sort_unstable();
        assert_eq!(list, (0..50).collect::<Vec<_>>());
    }
}
