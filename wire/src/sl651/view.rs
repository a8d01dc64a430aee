//! What `onemap decode sl651` prints of a frame.

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::body::{Body, Content};
use super::{Encoding, Error, Frame, function_name};
use crate::hex;

/// A frame and what its body says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The frame.
    pub frame: Frame,
    /// Its body.
    pub body: Body,
}

/// Reads exactly one frame and its body.
///
/// # Errors
/// See [`Frame::decode`] and [`Frame::read`].
pub fn decode(bytes: &[u8]) -> Result<View, Error> {
    let frame = Frame::decode(bytes)?;
    let body = frame.read()?;
    Ok(View { frame, body })
}

impl Serialize for View {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let Self { frame, body } = self;
        let factor = if frame.encoding == Encoding::Ascii { 2 } else { 1 };
        let mut map = s.serialize_map(None)?;
        map.serialize_entry("encoding", &frame.encoding)?;
        map.serialize_entry("direction", &frame.direction)?;
        map.serialize_entry("centre", &format_args!("{:02X}", frame.centre))?;
        map.serialize_entry("station", &frame.station)?;
        map.serialize_entry("password", &format_args!("{:04x}", frame.password))?;
        map.serialize_entry("function", &format_args!("{:02X}", frame.function))?;
        map.serialize_entry("meaning", function_name(frame.function))?;
        let number = if frame.packet.is_some() { 3 * factor } else { 0 };
        map.serialize_entry("length", &(frame.body.len() + number))?;
        map.serialize_entry("start", if frame.packet.is_some() { "SYN" } else { "STX" })?;
        map.serialize_entry("end", &frame.end)?;
        if let Some(packet) = frame.packet {
            map.serialize_entry("packets", &packet.total)?;
            map.serialize_entry("packet", &packet.number)?;
        }
        if frame.addresses_swapped {
            map.serialize_entry("addresses_swapped", &true)?;
        }
        if let Some(serial) = body.serial {
            map.serialize_entry("serial", &serial)?;
        }
        if let Some(sent) = &body.sent {
            map.serialize_entry("sent", sent)?;
            map.serialize_entry("sent_at", &sent.moment())?;
        }
        if frame.encoding == Encoding::Ascii {
            map.serialize_entry("body", &String::from_utf8_lossy(&frame.body))?;
        }
        match &body.content {
            Content::Groups { groups, n_cut } => {
                if !groups.is_empty() {
                    map.serialize_entry("items", groups)?;
                }
                if *n_cut > 0 {
                    map.serialize_entry("cut_bytes", n_cut)?;
                }
            }
            Content::Parameters { station, items } => {
                let mut all = Vec::new();
                if let Some(station) = station {
                    all.push(serde_json::json!({ "station": station.to_string() }));
                }
                for item in items {
                    all.push(serde_json::to_value(item).map_err(serde::ser::Error::custom)?);
                }
                map.serialize_entry("items", &all)?;
            }
            Content::Control { station, control } => {
                if let Some(station) = station {
                    map.serialize_entry("station_in_body", station)?;
                }
                if let Some(control) = control {
                    let told = serde_json::to_value(control).map_err(serde::ser::Error::custom)?;
                    for (key, value) in told.as_object().into_iter().flatten() {
                        map.serialize_entry(key, value)?;
                    }
                }
            }
            Content::Asked(asked) | Content::AskedItems(_, asked) => {
                let bytes = asked.iter().flat_map(|(element, definition)| {
                    let mut bytes = element.bytes();
                    bytes.push(definition.0);
                    bytes
                });
                map.serialize_entry("asked_identifiers", &hex::lower(&bytes.collect::<Vec<_>>()))?;
                let elements: Vec<String> = asked.iter().map(|(element, _)| element.to_string()).collect();
                map.serialize_entry("asked", &elements)?;
            }
            Content::Period {
                from,
                to,
                step,
                element: (element, definition),
            } => {
                map.serialize_entry("from", from)?;
                map.serialize_entry("to", to)?;
                map.serialize_entry("step_dhm", &hex::upper(step))?;
                map.serialize_entry("asked", &[element])?;
                map.serialize_entry("definition", definition)?;
            }
            Content::Part(bytes) => map.serialize_entry("body_bytes", &bytes.len())?,
            Content::Unknown(bytes) => {
                map.serialize_entry("unknown", &true)?;
                map.serialize_entry("raw", &hex::upper(bytes))?;
            }
        }
        map.end()
    }
}
