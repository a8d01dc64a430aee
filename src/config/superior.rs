//! `[[superior]]`: platforms that get HJ 212 frames, the province's.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use onemap_ingest::forward::{ForwardConfig, Patience};
use serde::Deserialize;

/// Smallest buffer.
const MIN_BUFFER_BYTES: u64 = 16 << 20;

/// One superior platform.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Superior {
    /// Its name: letters, digits, `-` and `_`. Its buffer stands in `forward/NAME` of the data folder.
    name: String,
    /// Where it listens, host:port.
    to: String,
    /// Stations whose frames it gets: numbers (MN), or their beginnings with a `*`. Default: all.
    #[serde(default)]
    stations: Vec<String>,
    /// Seconds that an answer may take. Default 10, the standard's.
    #[serde(default = "answer_seconds")]
    answer_seconds: u64,
    /// How often a frame is sent again on one connection. Default 3, the standard's.
    #[serde(default = "repeats")]
    repeats: u32,
    /// Most bytes that wait on disk; beyond, the oldest go unsent and are counted. Default 4 GiB.
    #[serde(default = "buffer_max_bytes")]
    buffer_max_bytes: u64,
}

fn answer_seconds() -> u64 {
    10
}

fn repeats() -> u32 {
    3
}

fn buffer_max_bytes() -> u64 {
    4 << 30
}

/// Checks all of them.
pub(super) fn check(superiors: Vec<Superior>, data_dir: &Path) -> Result<Vec<ForwardConfig>> {
    let mut checked: Vec<ForwardConfig> = Vec::new();
    for superior in superiors {
        let config = superior.check(data_dir)?;
        ensure!(
            checked.iter().all(|other| other.name != config.name),
            "[[superior]] name = \"{}\": there are two of this name",
            config.name
        );
        checked.push(config);
    }
    Ok(checked)
}

impl Superior {
    fn check(self, data_dir: &Path) -> Result<ForwardConfig> {
        let name = self.name;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        ensure!(
            (1..=64).contains(&name.len()) && name.chars().all(is_plain),
            "[[superior]] name = \"{name}\": 1 to 64 letters, digits, `-` and `_`"
        );
        let port = self.to.rsplit_once(':').and_then(|(host, port)| {
            let port = port.parse::<u16>().ok()?;
            (!host.is_empty() && port > 0).then_some(port)
        });
        ensure!(
            port.is_some(),
            "[[superior]] {name}: to = \"{}\": host:port",
            self.to
        );
        for station in &self.stations {
            let start = station.strip_suffix('*').unwrap_or(station);
            ensure!(
                !start.contains('*') && !station.is_empty(),
                "[[superior]] {name}: stations: `{station}` is no number, and no beginning with a `*` behind it"
            );
        }
        ensure!(
            (1..=3600).contains(&self.answer_seconds),
            "[[superior]] {name}: answer_seconds = {}: between 1 and 3600",
            self.answer_seconds
        );
        ensure!(
            self.repeats <= 100,
            "[[superior]] {name}: repeats = {}: at most 100",
            self.repeats
        );
        ensure!(
            self.buffer_max_bytes >= MIN_BUFFER_BYTES,
            "[[superior]] {name}: buffer_max_bytes = {}: at least 16 MiB ({MIN_BUFFER_BYTES})",
            self.buffer_max_bytes
        );
        Ok(ForwardConfig {
            dir: data_dir.join("forward").join(&name),
            name,
            to: self.to,
            stations: self.stations,
            patience: Patience {
                answer: Duration::from_secs(self.answer_seconds),
                repeats: self.repeats,
            },
            max_bytes: self.buffer_max_bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(text: &str) -> Result<Vec<ForwardConfig>> {
        #[derive(Deserialize)]
        struct File {
            superior: Vec<Superior>,
        }
        check(toml::from_str::<File>(text)?.superior, Path::new("data"))
    }

    #[test]
    fn a_name_and_an_address_are_enough_and_what_cannot_work_is_refused_by_its_key() {
        let one = "[[superior]]\nname = \"province\"\nto = \"[::1]:9000\"\n";
        let config = read(one).unwrap().remove(0);
        assert_eq!(config.dir, Path::new("data/forward/province"));
        assert_eq!(config.patience.answer, Duration::from_secs(10));
        for (text, part) in [
            (format!("{one}answer_seconds = 0"), "answer_seconds"),
            (format!("{one}stations = [\"6*3\"]"), "`6*3`"),
            (format!("{one}buffer_max_bytes = 5"), "buffer_max_bytes"),
            (format!("{one}colour = 5"), "colour"),
            (format!("{one}{one}"), "two of this name"),
            (one.replace("province", "../x"), "name"),
            (one.replace(":9000", ""), "host:port"),
        ] {
            let error = read(&text).unwrap_err();
            assert!(format!("{error:#}").contains(part), "{text}: {error:#}");
        }
    }
}
