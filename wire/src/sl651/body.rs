//! Bodies by function code and direction.

use super::frame::Packet;
use super::group::{Cursor, read_groups};
use super::{
    Control, Definition, Direction, Element, Encoding, End, Error, Frame, Group, Parameter, Stamp, Station,
    Table, ascii, parameter, write_groups,
};

/// What a body says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// Serial number; none in the second and later packets.
    pub serial: Option<u16>,
    /// When it was sent, down to the second.
    pub sent: Option<Stamp>,
    /// What follows.
    pub content: Content,
}

/// What follows serial number and time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Reports and what carries elements; empty in keep-alives, answers and plain questions.
    Groups {
        /// In the order of the body.
        groups: Vec<Group>,
        /// Bytes at the end of a first packet that go on in the next one.
        n_cut: usize,
    },
    /// Items of a table (40 to 43) or passwords (49).
    Parameters {
        /// Whose.
        station: Option<Station>,
        /// The items.
        items: Vec<Parameter>,
    },
    /// Switches, versions, counters, or only who has done it.
    Control {
        /// Who.
        station: Option<Station>,
        /// What.
        control: Option<Control>,
    },
    /// Down: which elements are asked for.
    Asked(Vec<(Element, Definition)>),
    /// Down: which items of a table are asked for.
    AskedItems(Table, Vec<(Element, Definition)>),
    /// Down: an element over a time.
    Period {
        /// First hour.
        from: Stamp,
        /// Last hour.
        to: Stamp,
        /// Days, hours, minutes between the values, as in [`Group::Step`].
        step: [u8; 3],
        /// Which element.
        element: (Element, Definition),
    },
    /// A part of a message in packets.
    Part(Vec<u8>),
    /// A vendor's or unknown function.
    Unknown(Vec<u8>),
}

/// English name of a function code.
pub fn function_name(function: u8) -> &'static str {
    match function {
        0x2F => "link keep-alive",
        0x30 => "test report",
        0x31 => "even-interval report",
        0x32 => "timed report",
        0x33 => "extra (event) report",
        0x34 => "hourly report",
        0x35 => "manual entry report",
        0x36 => "picture",
        0x37 => "query real-time data",
        0x38 => "query period data",
        0x39 => "query manual entry",
        0x3A => "query named elements",
        0x40 => "set basic configuration",
        0x41 => "read basic configuration",
        0x42 => "set running parameters",
        0x43 => "read running parameters",
        0x44 => "query pump motor data",
        0x45 => "query software version",
        0x46 => "query station state",
        0x47 => "initialise storage",
        0x48 => "factory reset",
        0x49 => "change password",
        0x4A => "set clock",
        0x4B => "set IC card state",
        0x4C => "control pumps",
        0x4D => "control valves",
        0x4E => "control gates",
        0x4F => "fixed water quantity control",
        0x50 => "query event log",
        0x51 => "query clock",
        0xE0..=0xFF => "vendor's function",
        _ => "unknown function",
    }
}

impl Frame {
    /// Reads the body. Of a message in packets only what the packet itself shows; join them with
    /// [`super::Packets`] first.
    ///
    /// # Errors
    /// [`Error`] where the body is not what its function has. Nothing of such a body is given: a length that is
    /// wrong shifts everything around it.
    pub fn read(&self) -> Result<Body, Error> {
        let at = self.body_at();
        if matches!(self.packet, Some(Packet { number: 2.., .. })) && self.direction == Direction::Up {
            return Ok(Body {
                serial: None,
                sent: None,
                content: Content::Part(self.body.clone()),
            });
        }
        if self.encoding == Encoding::Ascii {
            return ascii::read(self, at);
        }
        let mut cursor = Cursor::new(&self.body, at);
        let serial = u16::from_be_bytes(cursor.array("the serial number")?);
        let sent = Stamp::of_bcd(cursor.take(6, "the send time")?);
        let content = match self.direction {
            Direction::Up if !self.is_whole() => first_packet(cursor, self.function),
            Direction::Up => up(cursor, self.function)?,
            Direction::Down if self.end == End::Enq => question(cursor, self.function)?,
            Direction::Down => answer(cursor, self.function)?,
        };
        Ok(Body {
            serial: Some(serial),
            sent: Some(sent),
            content,
        })
    }
}

pub(super) fn has_groups(function: u8) -> bool {
    matches!(function, 0x2F..=0x3A | 0x44 | 0x46 | 0x4B)
}

pub(super) fn table(function: u8) -> Option<Table> {
    match function {
        0x40 | 0x41 | 0x49 => Some(Table::Basic),
        0x42 | 0x43 => Some(Table::Run),
        _ => None,
    }
}

fn first_packet(mut cursor: Cursor<'_>, function: u8) -> Content {
    if !has_groups(function) {
        return Content::Part(cursor.take_rest().to_vec());
    }
    let mut groups = Vec::new();
    let n_cut = match read_groups(&mut cursor, function, &mut groups) {
        Ok(()) => 0,
        // Everything from the group that did not fit.
        Err(_) => cursor.rest().len(),
    };
    Content::Groups { groups, n_cut }
}

fn groups(mut cursor: Cursor<'_>, function: u8) -> Result<Content, Error> {
    let mut groups = Vec::new();
    read_groups(&mut cursor, function, &mut groups)?;
    Ok(Content::Groups { groups, n_cut: 0 })
}

/// The station's address, which commands may leave out.
fn station(cursor: &mut Cursor<'_>) -> Result<Option<Station>, Error> {
    if !cursor.rest().starts_with(&[0xF1, 0xF1]) {
        return Ok(None);
    }
    cursor.expect(&[0xF1, 0xF1], "F1F1, a station address")?;
    cursor
        .array("a station address")
        .map(|bytes| Some(Station(bytes)))
}

fn up(mut cursor: Cursor<'_>, function: u8) -> Result<Content, Error> {
    if has_groups(function) {
        return groups(cursor, function);
    }
    if let Some(table) = table(function) {
        let station = station(&mut cursor)?;
        let items = parameter::read(&mut cursor, table)?;
        return Ok(Content::Parameters { station, items });
    }
    Ok(match function {
        0x45 | 0x4C..=0x50 => Content::Control {
            station: station(&mut cursor)?,
            control: Some(Control::read(&mut cursor, function)?),
        },
        0x47 | 0x48 | 0x4A | 0x51 => {
            let station = station(&mut cursor)?;
            cursor.end()?;
            let control = None;
            Content::Control { station, control }
        }
        _ => Content::Unknown(cursor.take_rest().to_vec()),
    })
}

fn answer(mut cursor: Cursor<'_>, function: u8) -> Result<Content, Error> {
    if matches!(function, 0x2F..=0x3A | 0x40..=0x51) {
        return nothing(cursor);
    }
    Ok(Content::Unknown(cursor.take_rest().to_vec()))
}

fn nothing(cursor: Cursor<'_>) -> Result<Content, Error> {
    cursor.end()?;
    Ok(Content::Groups {
        groups: Vec::new(),
        n_cut: 0,
    })
}

fn question(mut cursor: Cursor<'_>, function: u8) -> Result<Content, Error> {
    match function {
        0x38 => {
            let from = Stamp::of_bcd(cursor.take(4, "the first hour")?);
            let to = Stamp::of_bcd(cursor.take(4, "the last hour")?);
            cursor.expect(&[0x04, 0x18], "0418, a time step")?;
            let step = cursor.array("a time step")?;
            let element = cursor.element()?;
            cursor.end()?;
            Ok(Content::Period {
                from,
                to,
                step,
                element,
            })
        }
        0x3A | 0x41 | 0x43 => {
            station(&mut cursor)?;
            let mut asked = Vec::new();
            while !cursor.is_empty() {
                asked.push(cursor.element()?);
            }
            Ok(match table(function) {
                Some(table) => Content::AskedItems(table, asked),
                None => Content::Asked(asked),
            })
        }
        0x40 | 0x42 | 0x49 => {
            let station = station(&mut cursor)?;
            let items = parameter::read(&mut cursor, table(function).unwrap_or(Table::Basic))?;
            Ok(Content::Parameters { station, items })
        }
        0x47 | 0x48 | 0x4C..=0x4F => Ok(Content::Control {
            station: station(&mut cursor)?,
            control: Some(Control::read(&mut cursor, function)?),
        }),
        0x4B => groups(cursor, function),
        0x2F..=0x37 | 0x39 | 0x44..=0x46 | 0x4A | 0x50 | 0x51 => nothing(cursor),
        _ => Ok(Content::Unknown(cursor.take_rest().to_vec())),
    }
}

impl Body {
    /// Serial number, time, nothing else: keep-alives, answers and plain questions.
    pub fn plain(serial: u16, sent: Stamp) -> Self {
        Self {
            serial: Some(serial),
            sent: Some(sent),
            content: Content::Groups {
                groups: Vec::new(),
                n_cut: 0,
            },
        }
    }

    /// Writes a body. `None` when something does not fit where it is to stand, a part of a message is not whole, or
    /// what an ASCII body is to carry has no text form, as an element without a symbol.
    pub fn write(&self, encoding: Encoding) -> Option<Vec<u8>> {
        if encoding == Encoding::Ascii {
            return ascii::write(self);
        }
        let mut out = Vec::new();
        if let Some(serial) = self.serial {
            out.extend(serial.to_be_bytes());
            out.extend(Some(self.sent.as_ref()?.to_bcd()).filter(|bcd| bcd.len() == 6)?);
        }
        let station = |station: &Option<Station>, out: &mut Vec<u8>| {
            if let Some(Station(bytes)) = station {
                out.extend([0xF1, 0xF1]);
                out.extend(bytes);
            }
        };
        match &self.content {
            Content::Groups { groups, n_cut: 0 } => out.extend(write_groups(groups)?),
            Content::Groups { .. } => return None,
            Content::Parameters { station: who, items } => {
                station(who, &mut out);
                for item in items {
                    (item.raw.len() == item.definition.n_bytes()).then_some(())?;
                    item.write(&mut out);
                }
            }
            Content::Control {
                station: who,
                control,
            } => {
                station(who, &mut out);
                if let Some(control) = control {
                    out.extend(control.write()?);
                }
            }
            Content::Asked(asked) | Content::AskedItems(_, asked) => {
                for (element, definition) in asked {
                    out.extend(element.bytes());
                    out.push(definition.0);
                }
            }
            Content::Period {
                from,
                to,
                step,
                element: (element, definition),
            } => {
                for hour in [from, to] {
                    out.extend(Some(hour.to_bcd()).filter(|bcd| bcd.len() == 4)?);
                }
                out.extend([0x04, 0x18]);
                out.extend(step);
                out.extend(element.bytes());
                out.push(definition.0);
            }
            Content::Part(bytes) | Content::Unknown(bytes) => out.extend(bytes),
        }
        Some(out)
    }
}
