//! Bodies of the functions from 45 on: versions, switches, gates, counters.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::group::Cursor;
use super::{Error, Number};
use crate::hex;

/// What function 50 counts, in order; the counters after these are not used.
pub const COUNTERS: [&str; 18] = [
    "memory_cleared",
    "parameters_changed",
    "state_changed",
    "sensor_fault",
    "password_changed",
    "terminal_fault",
    "mains_lost",
    "battery_low",
    "box_opened",
    "pump_fault",
    "remaining_water_alarm",
    "level_alarm",
    "pressure_alarm",
    "quality_alarm",
    "data_error",
    "sent",
    "received",
    "send_errors",
];

/// What a command sets, or its answer says is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// 45: the software's version.
    Version(Vec<u8>),
    /// 47 and 48, down: clear the memory (97), back to the factory's settings (98).
    Confirm(u8),
    /// 4C and 4D: pumps or valves, the first in bit 0; true is on.
    Switches(Vec<bool>),
    /// 4E: gates, the first in bit 0: whether it is to move, and its opening in cm.
    Gates(Vec<(bool, Number)>),
    /// 4F: whether the fixed quantity is controlled.
    FixedQuantity(bool),
    /// 50: 32 counters, see [`COUNTERS`].
    Counters(Vec<u16>),
}

impl Control {
    pub(super) fn read(cursor: &mut Cursor<'_>, function: u8) -> Result<Self, Error> {
        let control = match function {
            0x45 => {
                let length = usize::from(cursor.byte("the length of a version")?);
                Control::Version(cursor.take(length, "a version")?.to_vec())
            }
            0x47 => Self::confirm(cursor, 0x97)?,
            0x48 => Self::confirm(cursor, 0x98)?,
            0x4C | 0x4D => Control::Switches(bits(cursor)?),
            0x4E => {
                let moves = bits(cursor)?;
                let gate = |is_set| Ok((is_set, Number::of_bcd(cursor.take(2, "a gate's opening")?, 0)));
                Control::Gates(moves.into_iter().map(gate).collect::<Result<_, Error>>()?)
            }
            0x4F => {
                let at = cursor.at();
                match cursor.byte("on or off")? {
                    0xFF => Control::FixedQuantity(true),
                    0x00 => Control::FixedQuantity(false),
                    _ => return Err(Error::Unexpected { at, want: "FF or 00" }),
                }
            }
            _ => {
                let counters = cursor.take(64, "32 event counters")?;
                Control::Counters(
                    counters
                        .chunks_exact(2)
                        .map(|pair| u16::from(pair[0]) << 8 | u16::from(pair[1]))
                        .collect(),
                )
            }
        };
        cursor.end()?;
        Ok(control)
    }

    fn confirm(cursor: &mut Cursor<'_>, mark: u8) -> Result<Self, Error> {
        cursor.expect(&[mark, 0x00], "the mark of this command")?;
        Ok(Control::Confirm(mark))
    }

    /// `None` when there are more than 255, or an opening has more than four digits.
    pub(super) fn write(&self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        match self {
            Control::Version(text) => {
                out.push(u8::try_from(text.len()).ok()?);
                out.extend(text);
            }
            Control::Confirm(mark) => out.extend([*mark, 0x00]),
            Control::Switches(switches) => write_bits(switches, &mut out)?,
            Control::Gates(gates) => {
                write_bits(&gates.iter().map(|gate| gate.0).collect::<Vec<_>>(), &mut out)?;
                for (_, opening) in gates {
                    out.extend(opening.to_bcd(2, 0)?);
                }
            }
            Control::FixedQuantity(is_on) => out.push(if *is_on { 0xFF } else { 0x00 }),
            Control::Counters(counters) => {
                (counters.len() == 32).then_some(())?;
                out.extend(counters.iter().flat_map(|counter| counter.to_be_bytes()));
            }
        }
        Some(out)
    }
}

fn bits(cursor: &mut Cursor<'_>) -> Result<Vec<bool>, Error> {
    let count = usize::from(cursor.byte("a number of switches")?);
    let bytes = cursor.take(count.div_ceil(8), "the bits of switches")?;
    Ok((0..count).map(|i| bytes[i / 8] >> (i % 8) & 1 == 1).collect())
}

fn write_bits(switches: &[bool], out: &mut Vec<u8>) -> Option<()> {
    out.push(u8::try_from(switches.len()).ok()?);
    out.extend(switches.chunks(8).map(|eight| {
        let bit = |(i, is_set): (usize, &bool)| u8::from(*is_set) << i;
        eight.iter().enumerate().map(bit).fold(0, |all, bit| all | bit)
    }));
    Some(())
}

impl Serialize for Control {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(None)?;
        match self {
            Control::Version(text) => {
                map.serialize_entry("text", &String::from_utf8_lossy(text))?;
                if !text.is_ascii() {
                    map.serialize_entry("raw", &hex::upper(text))?;
                }
            }
            Control::Confirm(mark) => map.serialize_entry("mark", &format_args!("{mark:02X}"))?,
            Control::Switches(switches) => map.serialize_entry("on", switches)?,
            Control::Gates(gates) => {
                map.serialize_entry("gates", &gates.iter().map(|gate| gate.0).collect::<Vec<_>>())?;
                let openings: Vec<&Number> = gates.iter().map(|gate| &gate.1).collect();
                map.serialize_entry("opening_cm", &openings)?;
            }
            Control::FixedQuantity(is_on) => map.serialize_entry("fixed_quantity", is_on)?,
            Control::Counters(counters) => {
                map.serialize_entry("counters", counters)?;
                let named: std::collections::BTreeMap<_, _> = COUNTERS.iter().zip(counters).collect();
                map.serialize_entry("named", &named)?;
            }
        }
        map.end()
    }
}
