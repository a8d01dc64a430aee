//! Writes things of the map as GeoJSON (RFC 7946) by hand: an answer may hold ten thousand of them.

use std::sync::Arc;

use onemap_model::crs::Crs;
use onemap_model::{Device, Stratum, Timestamp};
use onemap_spatial::ThingKind;
use onemap_spatial::query::Found;
use onemap_store::register::Written;
use serde::Serialize;

use crate::api::devices::status;
use crate::api::map::POISON;
use crate::views::Views;

/// What the register says of a thing.
enum Known<'a> {
    Entity(Written<'a>),
    Device {
        device: Arc<Device>,
        status: &'static str,
        /// When it was where it is shown, if it moves.
        moved_at: Option<Timestamp>,
    },
    /// It went while the question was answered.
    Gone,
}

/// Features in the making.
pub(crate) struct Features<'a> {
    out: Vec<u8>,
    crs: Crs,
    views: &'a Views,
    n: usize,
}

/// The kind's name in the API.
pub(crate) fn kind_name(kind: &ThingKind) -> &'static str {
    match kind {
        ThingKind::Device => "device",
        ThingKind::Entity(kind) => kind.name(),
    }
}

/// The id of a thing in answers and the key its page ends with.
pub(crate) fn id_of(found: &Found<'_>) -> String {
    format!("{}/{}", kind_name(found.kind()), found.code())
}

/// Appends the same as the member `id`.
fn id(out: &mut Vec<u8>, found: &Found<'_>) {
    out.extend_from_slice(b"\"id\":\"");
    out.extend_from_slice(kind_name(found.kind()).as_bytes());
    let quote = out.len();
    json(out, found.code());
    out[quote] = b'/';
    out.push(b',');
}

/// Appends a value as JSON.
pub(crate) fn json(out: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(out, value).expect("texts, numbers and times become JSON, and a Vec takes all");
}

/// Appends a member and a comma.
pub(crate) fn member(out: &mut Vec<u8>, name: &str, value: &impl Serialize) {
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    json(out, value);
    out.push(b',');
}

impl<'a> Features<'a> {
    /// Begins a FeatureCollection; `head` are members before the features, each with its comma.
    pub(crate) fn new(views: &'a Views, crs: Crs, head: &[u8]) -> Self {
        let mut out = Vec::with_capacity(4096);
        out.extend_from_slice(b"{\"type\":\"FeatureCollection\",");
        member(&mut out, "crs", &crs.name());
        member(&mut out, "as_of", &views.now());
        out.extend_from_slice(head);
        out.extend_from_slice(b"\"features\":[");
        Self {
            out,
            crs,
            views,
            n: 0,
        }
    }

    /// Adds things; `more` appends members to the properties of the one of a number, each with its comma.
    pub(crate) fn extend(&mut self, things: &[Found<'_>], more: impl Fn(usize, &mut Vec<u8>)) {
        let known = known(self.views, things);
        for (i, (found, known)) in things.iter().zip(known).enumerate() {
            if self.n > 0 {
                self.out.push(b',');
            }
            self.n += 1;
            let out = &mut self.out;
            out.extend_from_slice(b"{\"type\":\"Feature\",");
            id(out, found);
            out.extend_from_slice(b"\"geometry\":");
            let project = |lon: f64, lat: f64| self.crs.from_wgs84(lon, lat);
            match self.crs {
                Crs::Wgs84 | Crs::Cgcs2000 => found.write_geometry(out, None),
                _ => found.write_geometry(out, Some(&project)),
            }
            out.extend_from_slice(b",\"properties\":{");
            more(i, out);
            properties(out, found, &known);
            // Each member left its comma.
            out.pop();
            out.extend_from_slice(b"}}");
        }
    }

    /// The whole answer.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.out.extend_from_slice(b"]}");
        self.out
    }
}

/// What the register knows of the things of one page; it is held for that long only, and only where there are devices.
fn known<'v>(views: &Views, things: &[Found<'v>]) -> Vec<Known<'v>> {
    let mut devices = Vec::new();
    let has_devices = things.iter().any(|found| *found.kind() == ThingKind::Device);
    let register = has_devices.then(|| views.register.read().expect(POISON));
    let mut known: Vec<Known<'_>> = Vec::with_capacity(things.len());
    for found in things {
        known.push(match (found.kind(), &register) {
            (ThingKind::Entity(_), _) => {
                let written = found.card().and_then(|card| Written::of(card));
                written.map_or(Known::Gone, Known::Entity)
            }
            (ThingKind::Device, None) => Known::Gone,
            (ThingKind::Device, Some(register)) => match register.view.devices.get(&**found.code()) {
                None => Known::Gone,
                Some(device) => {
                    devices.push((known.len(), register.pace(device)));
                    Known::Device {
                        device: device.clone(),
                        status: "unknown",
                        moved_at: None,
                    }
                }
            },
        });
    }
    drop(register);
    for (i, pace) in devices {
        if let Known::Device {
            device,
            status: shown,
            moved_at,
        } = &mut known[i]
        {
            let newest = views.moving.read().expect(POISON).newest(device.id.as_str());
            *moved_at = newest.map(|newest| newest.measured_at);
            let seen = views.seen.read().expect(POISON).get(&device.id).copied();
            *shown = status(views, device, pace, seen);
        }
    }
    known
}

fn properties(out: &mut Vec<u8>, found: &Found<'_>, known: &Known<'_>) {
    member(out, "kind", &kind_name(found.kind()));
    let is_device = *found.kind() == ThingKind::Device;
    member(out, if is_device { "device" } else { "code" }, found.code());
    let text = |out: &mut Vec<u8>, name: &str, text: &str| {
        if !text.is_empty() {
            member(out, name, &text);
        }
    };
    if let Some(class) = found.class() {
        member(out, if is_device { "device_kind" } else { "class" }, &class);
    }
    if let Some(division) = found.division() {
        member(out, "division", &division);
    }
    let stratum = match found.stratum() {
        Stratum::Above => "above",
        Stratum::Surface => "surface",
        Stratum::Below => "below",
    };
    member(out, "stratum", &stratum);
    if let Some(z_range_m) = found.z_range_m() {
        member(out, "z_range_m", &z_range_m);
    }
    match known {
        Known::Gone => {}
        Known::Device {
            device,
            status,
            moved_at,
        } => {
            text(out, "name", &device.name);
            text(out, "name_en", &device.name_en);
            member(out, "state", status);
            if let Some(moved_at) = moved_at {
                member(out, "moved_at", moved_at);
            }
        }
        Known::Entity(written) => {
            text(out, "name", written.name);
            text(out, "name_en", written.name_en);
            text(out, "department", written.department);
            text(out, "source", written.source);
            if !written.attributes.is_empty() {
                out.extend_from_slice(b"\"attributes\":");
                out.extend_from_slice(written.attributes.as_bytes());
                out.push(b',');
            }
        }
    }
}
