//! What is known of moving devices as bytes, for a checkpoint. Fences are the register's and not among it.
//!
//! Little-endian: the format; the number of devices and each of them; the number of devices with halves and each
//! of them. Texts have their length (two bytes) before them.

use std::sync::Arc;

use onemap_model::{DeviceId, Timestamp};

use super::halves::{Half, N_WAITING};
use super::{ANY, Mover, Moving, bit_of};
use crate::coordinates::Vertex;
use crate::ground::{KnownStay, ObjectState, Sighting};

/// Layout of [`Moving::encode`].
const FORMAT: u8 = 1;
const GONE: u8 = 1;
const PLACED: u8 = 2;
const DOUBTED: u8 = 4;

/// Why bytes are no state of moving devices.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeptError {
    /// Another layout than this version reads.
    #[error("moving devices are kept in format {0}, this version reads {FORMAT}")]
    Format(u8),
    /// They end too early, go on too long, or hold what cannot be.
    #[error("the bytes of moving devices are damaged")]
    Damaged,
}

impl Moving {
    /// Whether anything that is kept has changed since [`note_kept`](Self::note_kept).
    pub fn is_changed(&self) -> bool {
        self.is_changed
    }

    /// Says that what there is now is kept.
    pub fn note_kept(&mut self) {
        self.is_changed = false;
    }

    /// What is known of devices, for [`restore`](Self::restore).
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        out.extend_from_slice(&(self.movers.len() as u32).to_le_bytes());
        for (device, mover) in &self.movers {
            let state = self.fences.state(mover.number);
            let doubted = state.as_ref().and_then(|state| state.doubted);
            let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
            text(&mut out, device.as_str());
            text(&mut out, &mover.kind);
            out.extend_from_slice(&mover.sequence.to_le_bytes());
            out.extend_from_slice(&mover.received_at.ms().to_le_bytes());
            out.push(
                flag(mover.is_gone, GONE) | flag(state.is_some(), PLACED) | flag(doubted.is_some(), DOUBTED),
            );
            let Some(state) = state else { continue };
            place(&mut out, state.newest_ms, state.at);
            if let Some(doubted) = doubted {
                place(&mut out, doubted.at_ms, doubted.at);
                let received_at = mover.doubted_received_at.unwrap_or(mover.received_at);
                out.extend_from_slice(&received_at.ms().to_le_bytes());
            }
            let stays = state
                .stays
                .iter()
                .filter_map(|stay| Some((self.codes.get(&stay.fence)?, stay)));
            let stays: Vec<_> = stays.collect();
            out.extend_from_slice(&(stays.len() as u32).to_le_bytes());
            for (code, stay) in stays {
                text(&mut out, code);
                out.extend_from_slice(&stay.since_ms.to_le_bytes());
                out.push(u8::from(stay.told));
            }
        }
        out.extend_from_slice(&(self.halves.0.len() as u32).to_le_bytes());
        for (device, halves) in &self.halves.0 {
            text(&mut out, device.as_str());
            out.push(halves.len() as u8);
            for half in halves {
                out.extend_from_slice(&half.channel.to_le_bytes());
                out.extend_from_slice(&half.at_ms.to_le_bytes());
                out.push(u8::from(half.is_lon));
                out.extend_from_slice(&half.degrees.to_le_bytes());
            }
        }
        out
    }

    /// Takes up what [`encode`](Self::encode) wrote, over the fences that are there; a stay in one that is not
    /// there is forgotten.
    ///
    /// # Errors
    /// [`KeptError`]; devices are then known in part.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<(), KeptError> {
        let mut bytes = Bytes(bytes);
        match bytes.byte()? {
            FORMAT => {}
            other => return Err(KeptError::Format(other)),
        }
        for _ in 0..bytes.number()? {
            self.restore_mover(&mut bytes)?;
        }
        for _ in 0..bytes.number()? {
            let device = DeviceId::new(bytes.text()?).map_err(|_| KeptError::Damaged)?;
            let n = usize::from(bytes.byte()?);
            if n > N_WAITING {
                return Err(KeptError::Damaged);
            }
            let mut halves = Vec::with_capacity(n);
            for _ in 0..n {
                halves.push(Half {
                    channel: u16::from_le_bytes(bytes.take()?),
                    at_ms: i64::from_le_bytes(bytes.take()?),
                    is_lon: bytes.byte()? != 0,
                    degrees: f64::from_le_bytes(bytes.take()?),
                });
            }
            self.halves.0.insert(device, halves);
        }
        match bytes.0.is_empty() {
            true => Ok(()),
            false => Err(KeptError::Damaged),
        }
    }

    fn restore_mover(&mut self, bytes: &mut Bytes<'_>) -> Result<(), KeptError> {
        let device = DeviceId::new(bytes.text()?).map_err(|_| KeptError::Damaged)?;
        let kind: Arc<str> = bytes.text()?.into();
        let number = self.names.len() as u32;
        let mut mover = Mover {
            number,
            kind,
            sequence: u64::from_le_bytes(bytes.take()?),
            received_at: Timestamp::from_ms(i64::from_le_bytes(bytes.take()?)),
            doubted_received_at: None,
            is_gone: false,
        };
        let flags = bytes.byte()?;
        mover.is_gone = flags & GONE != 0;
        if flags & PLACED != 0 {
            let groups = ANY | bit_of(&mover.kind);
            let (newest_ms, at) = bytes.place()?;
            let mut doubted = None;
            if flags & DOUBTED != 0 {
                let (at_ms, at) = bytes.place()?;
                doubted = Some(Sighting {
                    object: number,
                    groups,
                    at_ms,
                    at,
                });
                let received_at = i64::from_le_bytes(bytes.take()?);
                mover.doubted_received_at = Some(Timestamp::from_ms(received_at));
            }
            let mut stays = Vec::new();
            for _ in 0..bytes.number()? {
                let code = bytes.text()?;
                let since_ms = i64::from_le_bytes(bytes.take()?);
                let told = bytes.byte()? != 0;
                let Some(fenced) = self.fenced.get_mut(code).filter(|fenced| fenced.in_force) else {
                    continue;
                };
                if fenced.rules.is_for(&mover.kind) {
                    fenced.inside.insert(device.clone());
                }
                stays.push(KnownStay {
                    fence: fenced.number,
                    since_ms,
                    told,
                });
            }
            self.fences.restore(&ObjectState {
                object: number,
                groups,
                newest_ms,
                at,
                doubted,
                sequence: 0,
                stays,
            });
        }
        self.names.push(device.clone());
        self.movers.insert(device, mover);
        Ok(())
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    let bytes = &text.as_bytes()[..text.len().min(usize::from(u16::MAX))];
    out.extend_from_slice(&(bytes.len() as u16).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn place(out: &mut Vec<u8>, at_ms: i64, at: Vertex) {
    out.extend_from_slice(&at_ms.to_le_bytes());
    out.extend_from_slice(&at.lon.to_le_bytes());
    out.extend_from_slice(&at.lat.to_le_bytes());
}

/// What is left to be read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], KeptError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(KeptError::Damaged)?;
        self.0 = rest;
        Ok(*head)
    }

    fn byte(&mut self) -> Result<u8, KeptError> {
        self.take().map(|[byte]| byte)
    }

    fn number(&mut self) -> Result<u32, KeptError> {
        self.take().map(u32::from_le_bytes)
    }

    fn text(&mut self) -> Result<&'a str, KeptError> {
        let n = usize::from(u16::from_le_bytes(self.take()?));
        let (head, rest) = self.0.split_at_checked(n).ok_or(KeptError::Damaged)?;
        self.0 = rest;
        std::str::from_utf8(head).map_err(|_| KeptError::Damaged)
    }

    fn place(&mut self) -> Result<(i64, Vertex), KeptError> {
        let at_ms = i64::from_le_bytes(self.take()?);
        let (lon, lat) = (i32::from_le_bytes(self.take()?), i32::from_le_bytes(self.take()?));
        let (lons, lats) = (-1_800_000_000..=1_800_000_000, -900_000_000..=900_000_000);
        match lons.contains(&lon) && lats.contains(&lat) {
            true => Ok((at_ms, Vertex { lon, lat })),
            false => Err(KeptError::Damaged),
        }
    }
}
