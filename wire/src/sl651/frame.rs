//! One frame: envelope and body, read from exact bytes and written again.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::Error;
use crate::hex;

/// Longest body of one frame, packet number included: the length has 12 bits.
pub(super) const MAX_LENGTH: usize = 4095;
/// Bytes of a binary frame before the body.
pub(super) const HEX_HEAD: usize = 14;
/// Bytes of an ASCII frame before the body.
pub(super) const ASCII_HEAD: usize = 24;
/// Bytes of the longest frame.
pub(super) const MAX_FRAME: usize = ASCII_HEAD + MAX_LENGTH + 5;

const SOH: u8 = 0x01;
const STX: u8 = 0x02;
const SYN: u8 = 0x16;

/// How a frame is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub enum Encoding {
    /// Bytes and BCD, from 7E7E on.
    #[default]
    #[serde(rename = "HEX")]
    Hex,
    /// Text, from 01 on.
    #[serde(rename = "ASCII")]
    Ascii,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Station to centre.
    Up,
    /// Centre to station.
    Down,
}

/// The character after the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum End {
    /// Up: nothing follows.
    Etx,
    /// Up: another packet follows.
    Etb,
    /// Down: a question or command.
    Enq,
    /// Down: taken, go on.
    Ack,
    /// Down: not taken, say it again.
    Nak,
    /// Down: taken, the station may leave.
    Eot,
    /// Down: taken, the station stays awake for commands.
    Esc,
}

impl End {
    /// The byte on the wire.
    pub fn byte(self) -> u8 {
        match self {
            End::Etx => 0x03,
            End::Etb => 0x17,
            End::Enq => 0x05,
            End::Ack => 0x06,
            End::Nak => 0x15,
            End::Eot => 0x04,
            End::Esc => 0x1B,
        }
    }
    /// Which direction's frames it ends.
    pub fn direction(self) -> Direction {
        match self {
            End::Etx | End::Etb => Direction::Up,
            _ => Direction::Down,
        }
    }
    /// `None` when the byte ends no frame of this direction.
    pub(super) fn of(byte: u8, direction: Direction) -> Option<Self> {
        [
            End::Etx,
            End::Etb,
            End::Enq,
            End::Ack,
            End::Nak,
            End::Eot,
            End::Esc,
        ]
        .into_iter()
        .find(|end| end.byte() == byte && end.direction() == direction)
    }
}

/// A station's address: five bytes, shown as ten uppercase hexadecimal characters. Hydrological stations are
/// 00 and the eight digits of their code; others are a division code and a number that may hold A to F.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Station(pub [u8; 5]);

impl fmt::Display for Station {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02X}"))
    }
}
impl fmt::Debug for Station {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl Serialize for Station {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}
impl FromStr for Station {
    type Err = Error;
    /// Ten hexadecimal characters.
    fn from_str(text: &str) -> Result<Self, Error> {
        let bytes = hex::read(text.as_bytes()).map_err(|at| Error::NotHex { at })?;
        let got = bytes.len();
        bytes.try_into().map(Station).map_err(|_| Error::Truncated {
            at: 2 * got,
            want: 10,
        })
    }
}

/// Which packet of a message, of a frame that starts with SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Packet {
    /// How many there are, 1 to 4095.
    pub total: u16,
    /// Which this is, from 1. In a centre's NAK the first one that is to come again.
    pub number: u16,
}

/// One frame whose envelope is right: start, direction, length, end character and CRC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// How it is written.
    pub encoding: Encoding,
    /// Who speaks; the end character belongs to the same direction.
    pub direction: Direction,
    /// Address of the centre.
    pub centre: u8,
    /// Address of the station.
    pub station: Station,
    /// Set by the centre; an answer carries the station's.
    pub password: u16,
    /// 2F to 51, vendors' E0 to FF.
    pub function: u8,
    /// Of a message in packets.
    pub packet: Option<Packet>,
    /// Bytes, or characters, between the start character (or packet number) and the end character.
    pub body: Vec<u8>,
    /// What ends it.
    pub end: End,
    /// An up frame that has its addresses in the order of down frames; some stations answer function 50 so.
    /// Known by the station's address in the body.
    pub addresses_swapped: bool,
}

impl Frame {
    /// Reads exactly one frame.
    ///
    /// # Errors
    /// [`Error`] of the envelope; nothing of a frame with a wrong CRC is given.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let head = Head::read(bytes)?.ok_or_else(|| Error::Truncated {
            at: bytes.len(),
            want: if bytes.first() == Some(&SOH) {
                ASCII_HEAD
            } else {
                HEX_HEAD
            },
        })?;
        let size = head.frame_size();
        if bytes.len() < size {
            return Err(Error::Truncated {
                at: bytes.len(),
                want: size,
            });
        }
        if bytes.len() > size {
            return Err(Error::Trailing {
                at: size,
                extra: bytes.len() - size,
            });
        }
        head.finish(bytes)
    }

    /// Writes the frame.
    ///
    /// # Errors
    /// [`Error::Length`] for a body that one frame does not carry, [`Error::PacketNumber`], and
    /// [`Error::EndCharacter`] for an end of the other direction.
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        let is_ascii = self.encoding == Encoding::Ascii;
        let (head, factor) = if is_ascii { (ASCII_HEAD, 2) } else { (HEX_HEAD, 1) };
        let length = self.body.len() + if self.packet.is_some() { 3 * factor } else { 0 };
        if length > MAX_LENGTH || self.body.is_empty() {
            return Err(Error::Length {
                at: head - 1 - 2 * factor,
                got: length,
            });
        }
        if self.end.direction() != self.direction {
            return Err(Error::EndCharacter {
                at: head + length,
                got: self.end.byte(),
            });
        }
        let mut envelope = Vec::with_capacity(11);
        let is_down_order = (self.direction == Direction::Down) != self.addresses_swapped;
        if is_down_order {
            envelope.extend(self.station.0);
            envelope.push(self.centre);
        } else {
            envelope.push(self.centre);
            envelope.extend(self.station.0);
        }
        envelope.extend(self.password.to_be_bytes());
        envelope.push(self.function);
        let high: u16 = if self.direction == Direction::Down {
            0x8000
        } else {
            0
        };
        envelope.extend((high | length as u16).to_be_bytes());
        let put = |out: &mut Vec<u8>, bytes: &[u8]| {
            if is_ascii {
                out.extend(hex::upper(bytes).into_bytes());
            } else {
                out.extend(bytes);
            }
        };
        let mut out = if is_ascii { vec![SOH] } else { vec![0x7E, 0x7E] };
        put(&mut out, &envelope);
        match self.packet {
            None => out.push(STX),
            Some(Packet { total, number }) => {
                if !packet_is_possible(total, number) {
                    return Err(Error::PacketNumber {
                        at: head,
                        total,
                        number,
                    });
                }
                out.push(SYN);
                let both = u32::from(total) << 12 | u32::from(number);
                put(&mut out, &both.to_be_bytes()[1..]);
            }
        }
        out.extend(&self.body);
        out.push(self.end.byte());
        let crc = crc16(&out);
        put(&mut out, &crc.to_be_bytes());
        Ok(out)
    }

    /// Whether this is a message by itself: no packets, or the only one.
    pub fn is_whole(&self) -> bool {
        self.packet.is_none_or(|p| p.total == 1)
    }

    /// Where the body starts in the frame's bytes.
    pub fn body_at(&self) -> usize {
        let packet = if self.packet.is_some() { 3 } else { 0 };
        match self.encoding {
            Encoding::Hex => HEX_HEAD + packet,
            Encoding::Ascii => ASCII_HEAD + 2 * packet,
        }
    }
}

fn packet_is_possible(total: u16, number: u16) -> bool {
    number >= 1 && number <= total && total <= 4095
}

/// The envelope before the body.
#[derive(Debug)]
pub(super) struct Head {
    encoding: Encoding,
    direction: Direction,
    addresses: [u8; 6],
    password: u16,
    function: u8,
    length: usize,
    has_packet: bool,
}

impl Head {
    /// `None` when more bytes are needed. Errors come as early as the bytes show them.
    pub(super) fn read(bytes: &[u8]) -> Result<Option<Self>, Error> {
        match bytes {
            [] | [0x7E] => Ok(None),
            [0x7E, 0x7E, rest @ ..] => {
                let Some(envelope) = rest.first_chunk::<11>() else {
                    return Ok(None);
                };
                Self::of(Encoding::Hex, envelope, rest.get(11).copied())
            }
            [SOH, rest @ ..] => {
                let text = &rest[..rest.len().min(22)];
                if let Some(at) = text.iter().position(|b| hex::digit(*b).is_none()) {
                    return Err(Error::NotHex { at: at + 1 });
                }
                let Some(text) = rest.first_chunk::<22>() else {
                    return Ok(None);
                };
                let envelope = hex::read(text).map_err(|at| Error::NotHex { at: at + 1 })?;
                match envelope.first_chunk::<11>() {
                    Some(envelope) => Self::of(Encoding::Ascii, envelope, rest.get(22).copied()),
                    None => Ok(None),
                }
            }
            _ => Err(Error::NoStart { at: 0 }),
        }
    }

    fn of(encoding: Encoding, envelope: &[u8; 11], start: Option<u8>) -> Result<Option<Self>, Error> {
        let (length_at, start_at, number_size) = match encoding {
            Encoding::Hex => (11, 13, 3),
            Encoding::Ascii => (19, 23, 6),
        };
        let [a, b, c, d, e, f, password @ .., function, high, low] = *envelope;
        let direction = match high >> 4 {
            0 => Direction::Up,
            8 => Direction::Down,
            got => return Err(Error::Direction { at: length_at, got }),
        };
        let length = usize::from(u16::from_be_bytes([high & 0x0F, low]));
        if length == 0 {
            return Err(Error::Length {
                at: length_at,
                got: length,
            });
        }
        let has_packet = match start {
            None => return Ok(None),
            Some(STX) => false,
            Some(SYN) if length > number_size => true,
            Some(SYN) => {
                return Err(Error::Length {
                    at: length_at,
                    got: length,
                });
            }
            Some(got) => return Err(Error::StartCharacter { at: start_at, got }),
        };
        Ok(Some(Self {
            encoding,
            direction,
            addresses: [a, b, c, d, e, f],
            password: u16::from_be_bytes(password),
            function,
            length,
            has_packet,
        }))
    }

    /// Bytes of the whole frame, at most [`MAX_FRAME`].
    pub(super) fn frame_size(&self) -> usize {
        match self.encoding {
            Encoding::Hex => HEX_HEAD + self.length + 3,
            Encoding::Ascii => ASCII_HEAD + self.length + 5,
        }
    }

    /// Reads the rest of `bytes`, which are the whole frame.
    pub(super) fn finish(&self, bytes: &[u8]) -> Result<Frame, Error> {
        let is_ascii = self.encoding == Encoding::Ascii;
        let start = if is_ascii { ASCII_HEAD } else { HEX_HEAD };
        let end_at = start + self.length;
        let end = End::of(bytes[end_at], self.direction).ok_or(Error::EndCharacter {
            at: end_at,
            got: bytes[end_at],
        })?;
        let crc_at = end_at + 1;
        let written = if is_ascii {
            hex::read(&bytes[crc_at..crc_at + 4]).map_err(|at| Error::NotHex { at: crc_at + at })?
        } else {
            bytes[crc_at..crc_at + 2].to_vec()
        };
        let sent = u16::from(written[0]) << 8 | u16::from(written[1]);
        let calculated = crc16(&bytes[..crc_at]);
        if sent != calculated {
            return Err(Error::Crc {
                at: crc_at,
                sent,
                calculated,
            });
        }
        let mut body = &bytes[start..end_at];
        let mut packet = None;
        if self.has_packet {
            let (number, rest) = body.split_at(if is_ascii { 6 } else { 3 });
            body = rest;
            let number = if is_ascii {
                hex::read(number).map_err(|at| Error::NotHex { at: start + at })?
            } else {
                number.to_vec()
            };
            let both = number.iter().fold(0u32, |all, byte| all << 8 | u32::from(*byte));
            let (total, number) = ((both >> 12) as u16, (both & 0xFFF) as u16);
            if !packet_is_possible(total, number) {
                return Err(Error::PacketNumber {
                    at: start,
                    total,
                    number,
                });
            }
            packet = Some(Packet { total, number });
        }
        let [a, b, c, d, e, f] = self.addresses;
        let up = (a, Station([b, c, d, e, f]));
        let down = (f, Station([a, b, c, d, e]));
        let addresses_swapped = self.direction == Direction::Up && {
            let named = named_station(self.encoding, body);
            named == Some(down.1) && named != Some(up.1)
        };
        let (centre, station) = if self.direction == Direction::Up && !addresses_swapped {
            up
        } else {
            down
        };
        Ok(Frame {
            encoding: self.encoding,
            direction: self.direction,
            centre,
            station,
            password: self.password,
            function: self.function,
            packet,
            body: body.to_vec(),
            end,
            addresses_swapped,
        })
    }
}

/// The station that the body names right after serial number and time.
fn named_station(encoding: Encoding, body: &[u8]) -> Option<Station> {
    if encoding == Encoding::Ascii {
        return None;
    }
    let named = body.get(8..15)?.strip_prefix(&[0xF1, 0xF1])?;
    named.try_into().ok().map(Station)
}

/// CRC-16/MODBUS.
pub(super) fn crc16(bytes: &[u8]) -> u16 {
    // A stream may be made so that every few bytes look like the start of a long frame: by table this stays cheap.
    bytes.iter().fold(0xFFFF, |crc, byte| {
        (crc >> 8) ^ CRC_OF_BYTE[usize::from((crc ^ u16::from(*byte)) & 0xFF)]
    })
}

const CRC_OF_BYTE: [u16; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let mut crc = i as u16;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ 0xA001
            } else {
                crc >> 1
            };
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
};
