//! What lines and stations do wrong, by rates.

use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

use crate::prng::Prng;

/// Rates of faults; none by default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults {
    /// Share of frames of which one byte is changed.
    pub crc: f64,
    /// Share of frames that lose their end.
    pub cut: f64,
    /// Share of frames that are sent twice.
    pub repeat: f64,
    /// Share of frames that come behind the next one.
    pub swap: f64,
    /// Share of the centre's messages that never arrive.
    pub deaf: f64,
    /// The line is away for so long, once in so long.
    pub silence: Option<(Duration, Duration)>,
    /// How far the station's clock is ahead, milliseconds.
    pub skew_ms: i64,
    /// How much too fast it goes, millionths.
    pub drift_ppm: f64,
    /// Share of periods that the station has no values of.
    pub holes: f64,
}

impl FromStr for Faults {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let mut faults = Self::default();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (name, value) = part
                .split_once('=')
                .with_context(|| format!("`{part}` is no `name=value`"))?;
            let number = || {
                value
                    .parse::<f64>()
                    .with_context(|| format!("`{value}` of {name} is no number"))
            };
            let share = || {
                let share = number()?;
                ensure!(
                    (0.0..=1.0).contains(&share),
                    "{name} is a share from 0 to 1, not {value}"
                );
                Ok(share)
            };
            match name {
                "crc" => faults.crc = share()?,
                "cut" => faults.cut = share()?,
                "repeat" => faults.repeat = share()?,
                "swap" => faults.swap = share()?,
                "deaf" => faults.deaf = share()?,
                "holes" => faults.holes = share()?,
                "skew" => faults.skew_ms = number()? as i64,
                "drift" => faults.drift_ppm = number()?,
                "silence" => {
                    let (long, every) = value
                        .split_once('/')
                        .context("silence is seconds/every-seconds")?;
                    let (long, every): (f64, f64) = (long.parse()?, every.parse()?);
                    ensure!(
                        long > 0.0 && every > long && every < 1e7,
                        "silence is shorter than what it comes in"
                    );
                    faults.silence = Some((Duration::from_secs_f64(long), Duration::from_secs_f64(every)));
                }
                _ => bail!(
                    "there is no fault `{name}`: crc, cut, repeat, swap, deaf, silence, skew, drift, holes"
                ),
            }
        }
        Ok(faults)
    }
}

/// What becomes of frames on one line.
#[derive(Debug)]
pub struct Noise {
    prng: Prng,
    held: Option<Vec<u8>>,
    /// Faults done.
    pub n_faults: u64,
}

impl Noise {
    /// A line's own.
    pub fn new(seed: u64) -> Self {
        Self {
            prng: Prng::new(seed),
            held: None,
            n_faults: 0,
        }
    }

    fn happens(&mut self, share: f64) -> bool {
        let happens = share > 0.0 && self.prng.between(0.0, 1.0) < share;
        self.n_faults += u64::from(happens);
        happens
    }

    /// The bytes that leave for these frames.
    pub fn send(&mut self, faults: &Faults, frames: Vec<Vec<u8>>) -> Vec<u8> {
        let mut out = Vec::new();
        for mut frame in frames {
            if self.happens(faults.crc) {
                let at = self.prng.below(frame.len());
                if let Some(byte) = frame.get_mut(at) {
                    *byte ^= 1 << self.prng.below(7);
                }
            }
            if self.happens(faults.cut) {
                frame.truncate(self.prng.below(frame.len()));
            }
            if self.held.is_none() && self.happens(faults.swap) {
                self.held = Some(frame);
                continue;
            }
            let n_times = 1 + usize::from(self.happens(faults.repeat));
            for _ in 0..n_times {
                out.extend_from_slice(&frame);
            }
            out.extend(self.held.take().unwrap_or_default());
        }
        out
    }

    /// What was held back for another frame that does not come.
    pub fn rest(&mut self) -> Vec<u8> {
        self.held.take().unwrap_or_default()
    }

    /// Whether a message of the centre is lost.
    pub fn is_deaf(&mut self, faults: &Faults) -> bool {
        self.happens(faults.deaf)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn faults_are_read_and_what_is_none_is_named() {
        let faults: Faults = "crc=0.5,skew=-5000,drift=50,silence=60/600,holes=1"
            .parse()
            .unwrap();
        assert_eq!(
            (faults.crc, faults.skew_ms, faults.drift_ppm, faults.holes),
            (0.5, -5000, 50.0, 1.0)
        );
        assert_eq!(
            faults.silence,
            Some((Duration::from_secs(60), Duration::from_secs(600)))
        );
        assert_eq!("".parse::<Faults>().unwrap(), Faults::default());
        for bad in ["crc", "crc=2", "crc=x", "noise=1", "silence=9/3", "silence=9"] {
            assert!(bad.parse::<Faults>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_clean_line_changes_nothing_and_a_swapping_one_loses_nothing() {
        let frames: Vec<Vec<u8>> = (0..50u8).map(|n| vec![n; 3]).collect();
        let mut noise = Noise::new(1);
        assert_eq!(noise.send(&Faults::default(), frames.clone()), frames.concat());
        let swaps = "swap=0.3".parse().unwrap();
        let mut bytes = noise.send(&swaps, frames.clone());
        bytes.extend(noise.rest());
        assert_ne!(bytes, frames.concat());
        let mut sent: Vec<&[u8]> = bytes.chunks(3).collect();
        sent.sort_unstable();
        assert_eq!(sent.concat(), frames.concat());
        let cuts = "cut=1".parse().unwrap();
        assert!(noise.send(&cuts, frames).len() < 150);
    }
}
