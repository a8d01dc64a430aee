//! What the data takes on its disk, and how long there is room: in metrics and in the system's answer.

use std::fmt::Write as _;

use onemap_store::history::HistoryStats;
use serde_json::{Map, Value, json};

use crate::keeping::Disk;

/// Metrics of the disk and of the history's size. What is not known is absent.
pub(super) fn metrics(disk: Option<&Disk>, history: &HistoryStats, out: &mut String) {
    let mut metric = |name: &str, help: &str, rows: &[(String, Option<f64>)]| {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge");
        for (labels, value) in rows {
            if let Some(value) = value {
                let _ = writeln!(out, "{name}{labels} {value}");
            }
        }
    };
    let one = |value: Option<f64>| [(String::new(), value)];
    let used = disk.map_or(&[][..], |disk| &disk.used);
    let used: Vec<_> = used
        .iter()
        .map(|(part, n)| (format!("{{part=\"{part}\"}}"), Some(*n as f64)))
        .collect();
    metric(
        "onemap_disk_used_bytes",
        "Bytes on disk, by part of the data folder.",
        &used,
    );
    metric(
        "onemap_disk_size_bytes",
        "Bytes of the data folder's file system.",
        &one(disk.map(|disk| disk.size as f64)),
    );
    metric(
        "onemap_disk_free_bytes",
        "Bytes free there, the journal's reserve with them.",
        &one(disk.map(|disk| disk.free as f64)),
    );
    metric(
        "onemap_disk_days_left",
        "Days until only the journal's reserve is free, at the pace of the last day; absent while it is not known or the disk does not fill up.",
        &one(disk.and_then(|disk| disk.days_left)),
    );
    metric(
        "onemap_disk_low",
        "1 while somebody should make room on the disk.",
        &one(disk.map(|disk| f64::from(u8::from(disk.low.is_some())))),
    );
    let by = |bytes: u64, points: u64| (points > 0 && bytes > 0).then(|| bytes as f64 / points as f64);
    let of_history = used_by(disk, "history").and_then(|bytes| by(bytes, history.points));
    metric(
        "onemap_history_bytes_per_point",
        "Bytes of a point in packed chunks (chunks), and of the whole history's folder by its points (all).",
        &[
            (
                "{of=\"chunks\"}".to_owned(),
                by(history.chunk_bytes, history.chunk_points),
            ),
            ("{of=\"all\"}".to_owned(), of_history),
        ],
    );
}

fn used_by(disk: Option<&Disk>, part: &str) -> Option<u64> {
    let used = &disk?.used;
    used.iter().find(|(name, _)| *name == part).map(|(_, n)| *n)
}

/// The disk in the system's answer; `null` before it was looked at.
pub(super) fn shown(disk: Option<&Disk>) -> Value {
    let Some(disk) = disk else { return Value::Null };
    let used: Map<String, Value> = disk
        .used
        .iter()
        .map(|(part, n)| ((*part).to_owned(), (*n).into()))
        .collect();
    json!({"used": used, "size": disk.size, "free": disk.free, "reserve": disk.reserve,
           "days_left": disk.days_left, "low": disk.low})
}
