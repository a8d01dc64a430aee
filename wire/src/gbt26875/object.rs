//! Application data: a type, a count, and that many objects.

use encoding_rs::GB18030;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::codes::{analogue, component_name, system_name};
use super::frame::HEAD;
use super::{Error, Frame, Time};

/// A building's fire system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct System {
    /// Type, see [`system_name`].
    pub kind: u8,
    /// Address.
    pub address: u8,
}

/// A part of a system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Component {
    /// Its system.
    pub system: System,
    /// Type, see [`component_name`].
    pub kind: u8,
    /// Address, in the order of the frame.
    pub address: [u8; 4],
}

/// Text in GB18030 as it was sent; in fields of fixed length with its padding.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Text(pub Vec<u8>);

impl Text {
    /// Up to the first zero byte, blanks around it dropped. What is no GB18030 becomes U+FFFD.
    pub fn read(&self) -> String {
        let end = self.0.iter().position(|b| *b == 0).unwrap_or(self.0.len());
        let (text, _) = GB18030.decode_without_bom_handling(&self.0[..end]);
        text.trim().to_owned()
    }

    /// For a field of 31 bytes, padded with zeros. `None` when it is longer.
    pub fn padded(text: &str) -> Option<Self> {
        let (bytes, _, _) = GB18030.encode(text);
        let mut bytes = bytes.into_owned();
        (bytes.len() <= TEXT).then(|| {
            bytes.resize(TEXT, 0);
            Self(bytes)
        })
    }
}

const TEXT: usize = 31;

/// One object. Numbers behind the names are types of application data.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are named as in the standard")]
pub enum Object {
    /// 1.
    SystemState { system: System, state: u16, time: Time },
    /// 2.
    ComponentState {
        component: Component,
        state: u16,
        text: Text,
        time: Time,
    },
    /// 3: the value in steps of its type.
    Analogue {
        component: Component,
        kind: u8,
        value: i16,
        time: Time,
    },
    /// 4.
    SystemOperation {
        system: System,
        flag: u8,
        operator: u8,
        time: Time,
    },
    /// 5.
    SystemVersion { system: System, main: u8, minor: u8 },
    /// 6.
    SystemConfiguration { system: System, text: Text },
    /// 7.
    ComponentConfiguration { component: Component, text: Text },
    /// 8.
    SystemTime { system: System, time: Time },
    /// 21: of the transmission device itself, like all from here on.
    DeviceState { state: u8, time: Time },
    /// 24.
    DeviceOperation { flag: u8, operator: u8, time: Time },
    /// 25.
    DeviceVersion { main: u8, user: u8 },
    /// 26.
    DeviceConfiguration { text: Text },
    /// 28, and 90 to set it.
    DeviceTime { time: Time },
    /// 61, 65, 66, 68: a system that is asked.
    AskSystem { system: System },
    /// 62, 63, 67: a component that is asked.
    AskComponent { component: Component },
    /// 64, and 84 without a system: that many records from a time on.
    AskLog {
        system: Option<System>,
        number: u8,
        start: Time,
    },
    /// 81, 85, 86, 88, 89: one byte, 0.
    Ask { reserved: u8 },
    /// 91: somebody is to answer within so many minutes.
    RollCall { minutes: u8 },
}

/// Application data of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Application {
    /// Type.
    pub kind: u8,
    /// How many objects it says there are.
    pub count: u8,
    /// The objects; none of a type that is not known here.
    pub objects: Vec<Object>,
    /// What follows the count, of a user's or unknown type.
    pub raw: Vec<u8>,
}

/// Most objects of a type; `None` for a type that is not known here.
fn most(kind: u8) -> Option<u8> {
    Some(match kind {
        1 | 4 | 61 => 102,
        2 | 62 => 22,
        3 | 63 => 63,
        6 | 66 => 3,
        7 | 67 => 26,
        24 => 127,
        5 | 8 | 21 | 25 | 26 | 28 | 64 | 65 | 68 | 81 | 84..=86 | 88..=91 => 1,
        _ => return None,
    })
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Error> {
        let Some((taken, rest)) = self.bytes.split_first_chunk::<N>() else {
            return Err(Error::DataEnd {
                at: self.at,
                what,
                need: N,
            });
        };
        self.bytes = rest;
        self.at += N;
        Ok(*taken)
    }
    fn byte(&mut self, what: &'static str) -> Result<u8, Error> {
        self.array::<1>(what).map(|[byte]| byte)
    }
    fn text(&mut self, length: usize) -> Result<Text, Error> {
        let Some((text, rest)) = self.bytes.split_at_checked(length) else {
            return Err(Error::DataEnd {
                at: self.at,
                what: "a text",
                need: length,
            });
        };
        self.bytes = rest;
        self.at += length;
        Ok(Text(text.to_vec()))
    }
    fn time(&mut self) -> Result<Time, Error> {
        self.array("a time").map(Time)
    }
    fn system(&mut self) -> Result<System, Error> {
        let [kind, address] = self.array("a system's type and address")?;
        Ok(System { kind, address })
    }
    fn component(&mut self) -> Result<Component, Error> {
        Ok(Component {
            system: self.system()?,
            kind: self.byte("a component's type")?,
            address: self.array("a component's address")?,
        })
    }
    fn word(&mut self, what: &'static str) -> Result<u16, Error> {
        self.array(what).map(u16::from_le_bytes)
    }

    fn object(&mut self, kind: u8) -> Result<Object, Error> {
        Ok(match kind {
            1 => Object::SystemState {
                system: self.system()?,
                state: self.word("a state")?,
                time: self.time()?,
            },
            2 => Object::ComponentState {
                component: self.component()?,
                state: self.word("a state")?,
                text: self.text(TEXT)?,
                time: self.time()?,
            },
            3 => Object::Analogue {
                component: self.component()?,
                kind: self.byte("the type of a value")?,
                value: self.array("a value").map(i16::from_le_bytes)?,
                time: self.time()?,
            },
            4 => Object::SystemOperation {
                system: self.system()?,
                flag: self.byte("an operation")?,
                operator: self.byte("an operator")?,
                time: self.time()?,
            },
            5 => Object::SystemVersion {
                system: self.system()?,
                main: self.byte("a version")?,
                minor: self.byte("a version")?,
            },
            6 => {
                let system = self.system()?;
                let length = usize::from(self.byte("the length of a text")?);
                let text = self.text(length)?;
                Object::SystemConfiguration { system, text }
            }
            7 => Object::ComponentConfiguration {
                component: self.component()?,
                text: self.text(TEXT)?,
            },
            8 => Object::SystemTime {
                system: self.system()?,
                time: self.time()?,
            },
            21 => Object::DeviceState {
                state: self.byte("a state")?,
                time: self.time()?,
            },
            24 => Object::DeviceOperation {
                flag: self.byte("an operation")?,
                operator: self.byte("an operator")?,
                time: self.time()?,
            },
            25 => Object::DeviceVersion {
                main: self.byte("a version")?,
                user: self.byte("a version")?,
            },
            26 => {
                let length = usize::from(self.byte("the length of a text")?);
                let text = self.text(length)?;
                Object::DeviceConfiguration { text }
            }
            28 | 90 => Object::DeviceTime { time: self.time()? },
            61 | 65 | 66 | 68 => Object::AskSystem {
                system: self.system()?,
            },
            62 | 63 | 67 => Object::AskComponent {
                component: self.component()?,
            },
            64 | 84 => Object::AskLog {
                system: if kind == 64 { Some(self.system()?) } else { None },
                number: self.byte("a number of records")?,
                start: self.time()?,
            },
            91 => Object::RollCall {
                minutes: self.byte("minutes")?,
            },
            _ => Object::Ask {
                reserved: self.byte("a reserved byte")?,
            },
        })
    }
}

impl Frame {
    /// Reads the application data; `None` when there are none. Data of acknowledgements, refusals and users' commands
    /// are kept as bytes.
    ///
    /// # Errors
    /// [`Error`] where count, objects and length do not agree; nothing of such data is given.
    pub fn read(&self) -> Result<Option<Application>, Error> {
        if self.data.is_empty() {
            return Ok(None);
        }
        let mut cursor = Cursor {
            bytes: &self.data,
            at: HEAD,
        };
        let kind = cursor.byte("a type")?;
        let is_known_command = matches!(self.command, 1 | 2 | 4 | 5);
        let count = match cursor.byte("a count") {
            Ok(count) => count,
            Err(error) if is_known_command => return Err(error),
            Err(_) => 0,
        };
        let mut application = Application {
            kind,
            count,
            objects: Vec::new(),
            raw: Vec::new(),
        };
        match most(kind) {
            Some(most) if is_known_command => {
                if count > most {
                    return Err(Error::Count {
                        at: HEAD + 1,
                        kind,
                        got: count,
                        most,
                    });
                }
                for _ in 0..count {
                    application.objects.push(cursor.object(kind)?);
                }
                if !cursor.bytes.is_empty() {
                    return Err(Error::Surplus {
                        at: cursor.at,
                        extra: cursor.bytes.len(),
                    });
                }
            }
            _ => application.raw = cursor.bytes.to_vec(),
        }
        Ok(Some(application))
    }
}

impl Application {
    /// Of objects of one type, 255 at most.
    pub fn of(kind: u8, objects: Vec<Object>) -> Self {
        Self {
            kind,
            count: u8::try_from(objects.len()).unwrap_or(u8::MAX),
            objects,
            raw: Vec::new(),
        }
    }

    /// Writes the data. `None` when a text does not fit its field; that objects are of the type is the caller's.
    pub fn write(&self) -> Option<Vec<u8>> {
        let mut out = vec![self.kind, self.count];
        for object in &self.objects {
            object.write(&mut out)?;
        }
        out.extend(&self.raw);
        Some(out)
    }
}

impl Object {
    fn write(&self, out: &mut Vec<u8>) -> Option<()> {
        let system = |out: &mut Vec<u8>, system: &System| out.extend([system.kind, system.address]);
        let component = |out: &mut Vec<u8>, component: &Component| {
            system(out, &component.system);
            out.push(component.kind);
            out.extend(component.address);
        };
        let fixed = |out: &mut Vec<u8>, text: &Text| (text.0.len() == TEXT).then(|| out.extend(&text.0));
        let long = |out: &mut Vec<u8>, text: &Text| {
            out.push(u8::try_from(text.0.len()).ok()?);
            out.extend(&text.0);
            Some(())
        };
        match self {
            Object::SystemState {
                system: of, state, ..
            } => {
                system(out, of);
                out.extend(state.to_le_bytes());
            }
            Object::ComponentState {
                component: of,
                state,
                text,
                ..
            } => {
                component(out, of);
                out.extend(state.to_le_bytes());
                fixed(out, text)?;
            }
            Object::Analogue {
                component: of,
                kind,
                value,
                ..
            } => {
                component(out, of);
                out.push(*kind);
                out.extend(value.to_le_bytes());
            }
            Object::SystemOperation {
                system: of,
                flag,
                operator,
                ..
            } => {
                system(out, of);
                out.extend([*flag, *operator]);
            }
            Object::SystemVersion {
                system: of,
                main,
                minor,
            } => {
                system(out, of);
                out.extend([*main, *minor]);
            }
            Object::SystemConfiguration { system: of, text } => {
                system(out, of);
                long(out, text)?;
            }
            Object::ComponentConfiguration { component: of, text } => {
                component(out, of);
                fixed(out, text)?;
            }
            Object::SystemTime { system: of, .. } | Object::AskSystem { system: of } => system(out, of),
            Object::DeviceState { state, .. } => out.push(*state),
            Object::DeviceOperation { flag, operator, .. } => out.extend([*flag, *operator]),
            Object::DeviceVersion { main, user } => out.extend([*main, *user]),
            Object::DeviceConfiguration { text } => long(out, text)?,
            Object::DeviceTime { .. } => {}
            Object::AskComponent { component: of } => component(out, of),
            Object::AskLog {
                system: of, number, ..
            } => {
                of.iter().for_each(|of| system(out, of));
                out.push(*number);
            }
            Object::Ask { reserved } => out.push(*reserved),
            Object::RollCall { minutes } => out.push(*minutes),
        }
        out.extend(self.time().map(|time| time.0).iter().flatten());
        Some(())
    }

    /// The time that the object carries.
    pub fn time(&self) -> Option<Time> {
        match self {
            Object::SystemState { time, .. }
            | Object::ComponentState { time, .. }
            | Object::Analogue { time, .. }
            | Object::SystemOperation { time, .. }
            | Object::SystemTime { time, .. }
            | Object::DeviceState { time, .. }
            | Object::DeviceOperation { time, .. }
            | Object::DeviceTime { time }
            | Object::AskLog { start: time, .. } => Some(*time),
            _ => None,
        }
    }
}

/// Numbers of the set bits.
fn set_bits(state: u16) -> Vec<u8> {
    (0..16).filter(|bit| state >> bit & 1 == 1).collect()
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(None)?;
        let (system, component) = match self {
            Object::SystemState { system, .. }
            | Object::SystemOperation { system, .. }
            | Object::SystemVersion { system, .. }
            | Object::SystemConfiguration { system, .. }
            | Object::SystemTime { system, .. }
            | Object::AskSystem { system } => (Some(*system), None),
            Object::ComponentState { component, .. }
            | Object::Analogue { component, .. }
            | Object::ComponentConfiguration { component, .. }
            | Object::AskComponent { component } => (Some(component.system), Some(*component)),
            Object::AskLog { system, .. } => (*system, None),
            _ => (None, None),
        };
        if let Some(system) = system {
            map.serialize_entry("system_type", &system.kind)?;
            map.serialize_entry("system", &system_name(system.kind))?;
            map.serialize_entry("system_address", &system.address)?;
        }
        if let Some(component) = component {
            let [a, b, c, d] = component.address;
            map.serialize_entry("component_type", &component.kind)?;
            map.serialize_entry("component", &component_name(component.kind))?;
            map.serialize_entry("component_address", &format_args!("{a:02x}{b:02x}{c:02x}{d:02x}"))?;
        }
        match self {
            Object::SystemState { state, .. } | Object::ComponentState { state, .. } => {
                map.serialize_entry("state", &format_args!("{state:04x}"))?;
                map.serialize_entry("state_bits", &set_bits(*state))?;
            }
            Object::DeviceState { state, .. } => {
                map.serialize_entry("state", &format_args!("{state:02x}"))?;
                map.serialize_entry("state_bits", &set_bits(u16::from(*state)))?;
            }
            Object::Analogue { kind, value, .. } => {
                map.serialize_entry("analogue_type", kind)?;
                map.serialize_entry("value", value)?;
                if let Some(known) = analogue(*kind) {
                    map.serialize_entry("analogue", &known.name)?;
                    map.serialize_entry("amount", &known.amount(*value))?;
                    map.serialize_entry("unit", &known.unit)?;
                }
            }
            Object::SystemOperation { flag, operator, .. }
            | Object::DeviceOperation { flag, operator, .. } => {
                map.serialize_entry("flag", &format_args!("{flag:02x}"))?;
                map.serialize_entry("operations", &set_bits(u16::from(*flag)))?;
                map.serialize_entry("operator", operator)?;
            }
            Object::SystemVersion { main, minor, .. } => {
                map.serialize_entry("main", main)?;
                map.serialize_entry("minor", minor)?;
            }
            Object::DeviceVersion { main, user } => {
                map.serialize_entry("main", main)?;
                map.serialize_entry("user", user)?;
            }
            Object::AskLog { number, .. } => map.serialize_entry("number", number)?,
            Object::RollCall { minutes } => map.serialize_entry("minutes", minutes)?,
            _ => {}
        }
        if let Object::ComponentState { text, .. }
        | Object::ComponentConfiguration { text, .. }
        | Object::SystemConfiguration { text, .. }
        | Object::DeviceConfiguration { text } = self
        {
            map.serialize_entry("text", &text.read())?;
        }
        if let Some(time) = self.time() {
            map.serialize_entry("time", &time)?;
        }
        map.end()
    }
}
