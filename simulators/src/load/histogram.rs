//! Counts of durations in buckets of 3 % width. Pure.

const SUB_BITS: u32 = 5;
const SUB: u64 = 1 << SUB_BITS;

/// How often each duration (µs) was seen; exact below 32 µs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

fn bucket(n: u64) -> usize {
    if n < SUB {
        return n as usize;
    }
    let shift = 63 - n.leading_zeros() - SUB_BITS;
    (u64::from(shift + 1) * SUB + (n >> shift) - SUB) as usize
}

fn upper(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < SUB {
        return bucket;
    }
    let shift = bucket / SUB - 1;
    ((bucket % SUB + SUB + 1) << shift) - 1
}

impl Histogram {
    pub(crate) fn note(&mut self, n: u64) {
        let bucket = bucket(n);
        if bucket >= self.counts.len() {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] += 1;
        self.total += 1;
        self.max = self.max.max(n);
    }
    pub(crate) fn add(&mut self, other: &Histogram) {
        if other.counts.len() > self.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
        self.max = self.max.max(other.max);
    }
    /// The smallest bucket border that so large a share lies at or under; 0 without values.
    pub(crate) fn quantile(&self, share: f64) -> u64 {
        let wanted = ((self.total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return upper(bucket).min(self.max);
            }
        }
        self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_lies_in_its_bucket() {
        for n in (0..5_000).chain([1 << 20, (1 << 20) + 12_345, u64::MAX >> 8]) {
            let b = bucket(n);
            assert!(n <= upper(b) && (b == 0 || n > upper(b - 1)), "{n} in bucket {b}");
        }
    }

    #[test]
    fn quantiles_are_within_three_percent() {
        let (mut a, mut b) = (Histogram::default(), Histogram::default());
        for n in 1..=10_000 {
            if n % 2 == 0 { a.note(n) } else { b.note(n) }
        }
        a.add(&b);
        for (share, exact) in [(0.5, 5_000.0), (0.99, 9_900.0), (1.0, 10_000.0)] {
            let q = a.quantile(share) as f64;
            assert!((q / exact - 1.0).abs() < 0.035, "{share}: {q}");
        }
        assert_eq!(Histogram::default().quantile(0.5), 0);
    }
}
