//! What `onemap decode gbt26875` prints of a frame.

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::{Application, Clock, Error, Frame};

/// A frame and what its application data say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The frame.
    pub frame: Frame,
    /// Its application data.
    pub application: Option<Application>,
}

/// Reads exactly one frame and its application data.
///
/// # Errors
/// See [`Frame::decode`] and [`Frame::read`].
pub fn decode(bytes: &[u8]) -> Result<View, Error> {
    let frame = Frame::decode(bytes)?;
    let application = frame.read()?;
    Ok(View { frame, application })
}

fn command_name(command: u8) -> &'static str {
    match command {
        1 => "control",
        2 => "send data",
        3 => "acknowledge",
        4 => "request",
        5 => "response",
        6 => "refuse",
        128.. => "user's command",
        _ => "reserved command",
    }
}

impl Serialize for View {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let frame = &self.frame;
        let mut map = s.serialize_map(None)?;
        map.serialize_entry("seq", &frame.sequence)?;
        map.serialize_entry("version", &frame.version)?;
        map.serialize_entry("time_bytes", &frame.time)?;
        map.serialize_entry("time_if_binary", &frame.time.0)?;
        map.serialize_entry("time", &frame.time.moment(Clock::Either, None))?;
        map.serialize_entry("source", &frame.source)?;
        map.serialize_entry("destination", &frame.destination)?;
        map.serialize_entry("app_length", &frame.data.len())?;
        map.serialize_entry("command", &frame.command)?;
        map.serialize_entry("command_name", command_name(frame.command))?;
        if let Some(application) = &self.application {
            map.serialize_entry("type", &application.kind)?;
            map.serialize_entry("objects", &application.count)?;
            if application.objects.is_empty() && !application.raw.is_empty() {
                let raw: String = application.raw.iter().map(|b| format!("{b:02x}")).collect();
                map.serialize_entry("items", &[serde_json::json!({ "raw": raw })])?;
                map.serialize_entry("unknown", &true)?;
            } else {
                map.serialize_entry("items", &application.objects)?;
            }
        }
        map.end()
    }
}
