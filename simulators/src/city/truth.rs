//! The ground truth of a run: what really happened, one JSON line each.

use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

use anyhow::Context;
use onemap_model::{Timestamp, Value};
use serde_json::json;

use super::geography::Geography;
use super::incident::Incident;
use super::plan::City;

/// Writes lines to standard output and, if wanted, to a file.
pub struct Truth {
    file: Option<Mutex<std::fs::File>>,
}

impl Truth {
    /// Opens the file, anew.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        let create = |path: &Path| {
            std::fs::File::create(path)
                .with_context(|| format!("cannot write the ground truth to `{}`", path.display()))
        };
        Ok(Self {
            file: path.map(create).transpose()?.map(Mutex::new),
        })
    }

    /// Writes one line everywhere at once.
    ///
    /// # Errors
    /// When an output is gone.
    pub fn line(&self, line: &serde_json::Value) -> std::io::Result<()> {
        let mut text = line.to_string();
        text.push('\n');
        if let Some(file) = &self.file {
            let mut file = file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            file.write_all(text.as_bytes())?;
        }
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }
}

/// The line of an incident's start (`incident_start`) or end (`incident_end`). `at` is the time of that edge,
/// `until` the time of its end, both of the real clock.
pub fn incident_line(
    event: &str,
    city: &City,
    geography: &Geography,
    incident: &Incident,
    at: Timestamp,
    until: Timestamp,
) -> serde_json::Value {
    let station = &city.stations[incident.station];
    let position = station.device.position;
    let area = position
        .and_then(|p| geography.area_at([p.lon(), p.lat()]))
        .map(|i| &geography.areas[i].code);
    let peaks: serde_json::Map<_, _> = incident
        .peaks
        .iter()
        .map(|(quantity, peak)| ((*quantity).to_owned(), json!(Value::Number(*peak))))
        .collect();
    json!({
        "event": event,
        "incident": incident.number,
        "kind": incident.kind.name(),
        "device": station.device.id,
        "device_kind": station.device.kind,
        "name": station.device.name,
        "lon": position.map(|p| p.lon()),
        "lat": position.map(|p| p.lat()),
        "division": area,
        "at": at,
        "until": until,
        "peaks": peaks,
    })
}
