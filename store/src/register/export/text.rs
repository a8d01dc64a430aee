//! Entities as text: GeoJSON, one feature a line, CSV.

use std::io::Write as _;

use onemap_model::{Crs, Entity};
use serde_json::{Value, json};

use super::columns::{Cell, OWN, REST, json as json_cell, own};
use super::{ExportError, Format, placed};
use crate::register::geometry::Geometry;

const MEMORY: &str = "memory takes every byte";

/// Writes one file, entity by entity.
pub struct Text {
    format: Format,
    crs: Crs,
    n: u64,
}

impl Text {
    /// For [`Format::GeoJson`], [`Format::GeoJsonSeq`] and [`Format::Csv`]; the others are written as the first.
    pub fn new(format: Format, crs: Crs) -> Self {
        Self { format, crs, n: 0 }
    }

    /// What stands before the first entity.
    pub fn begin(&self, out: &mut Vec<u8>) {
        match self.format {
            Format::Csv => {
                let own = OWN.map(|(name, _)| name).join(",");
                writeln!(out, "{own},lon,lat,height,wkt,{REST}").expect(MEMORY);
            }
            Format::GeoJsonSeq => {}
            _ => {
                out.extend_from_slice(b"{\"type\":\"FeatureCollection\",");
                if self.crs != Crs::Wgs84 {
                    let code = self.crs.epsg().unwrap_or_default();
                    let name = format!("urn:ogc:def:crs:EPSG::{code}");
                    let crs = json!({"type": "name", "properties": {"name": name}});
                    write!(out, "\"crs\":{crs},").expect(MEMORY);
                }
                out.extend_from_slice(b"\"features\":[");
            }
        }
    }

    /// One entity.
    ///
    /// # Errors
    /// [`ExportError::Outside`].
    pub fn entity(&mut self, out: &mut Vec<u8>, entity: &Entity) -> Result<(), ExportError> {
        let geometry = placed(entity, self.crs)?;
        match self.format {
            Format::Csv => row(out, entity, geometry.as_ref(), self.crs),
            Format::GeoJsonSeq => {
                feature(out, entity, geometry.as_ref());
                out.push(b'\n');
            }
            _ => {
                out.extend_from_slice(if self.n == 0 { b"\n" } else { b",\n" });
                feature(out, entity, geometry.as_ref());
            }
        }
        self.n += 1;
        Ok(())
    }

    /// What stands behind the last entity.
    pub fn end(&self, out: &mut Vec<u8>) {
        if !matches!(self.format, Format::Csv | Format::GeoJsonSeq) {
            out.extend_from_slice(b"\n]}\n");
        }
    }
}

fn feature(out: &mut Vec<u8>, entity: &Entity, geometry: Option<&Geometry>) {
    let mut properties = serde_json::to_value(entity).expect("entities have text keys only");
    if let Some(properties) = properties.as_object_mut() {
        properties.remove("geometry");
    }
    let geometry = geometry.map_or(Value::Null, Geometry::to_json);
    let feature = json!({"type": "Feature", "properties": properties, "geometry": geometry});
    serde_json::to_writer(out, &feature).expect(MEMORY);
}

fn row(out: &mut Vec<u8>, entity: &Entity, geometry: Option<&Geometry>, crs: Crs) {
    for cell in own(entity) {
        write_cell(out, &cell);
        out.push(b',');
    }
    let [x, y, height, wkt] = match geometry {
        None => [Cell::Null, Cell::Null, Cell::Null, Cell::Null],
        // Metres do not stand in columns that are called degrees.
        Some(Geometry::Point(c)) if !crs.is_projected() => [
            Cell::Real(c.lon),
            Cell::Real(c.lat),
            c.height.map_or(Cell::Null, Cell::Real),
            Cell::Null,
        ],
        Some(other) => [
            Cell::Null,
            Cell::Null,
            Cell::Null,
            Cell::Text(other.to_wkt().into()),
        ],
    };
    for cell in [x, y, height, wkt] {
        write_cell(out, &cell);
        out.push(b',');
    }
    write_cell(out, &json_cell(&entity.attributes));
    out.push(b'\n');
}

/// In quotes where it needs them (RFC 4180).
fn write_cell(out: &mut Vec<u8>, cell: &Cell<'_>) {
    match cell {
        Cell::Null => {}
        Cell::Integer(n) => write!(out, "{n}").expect(MEMORY),
        Cell::Real(x) => write!(out, "{x}").expect(MEMORY),
        Cell::Text(text) if text.contains([',', '"', '\n', '\r']) => {
            write!(out, "\"{}\"", text.replace('"', "\"\"")).expect(MEMORY);
        }
        Cell::Text(text) => out.extend_from_slice(text.as_bytes()),
    }
}
