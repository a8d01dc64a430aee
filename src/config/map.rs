//! `[map]`: base maps that the screen may show under its own layers. None is there unless it is named here.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use onemap_dashboards::basemap::pmtiles::PmTiles;
use onemap_dashboards::basemap::{Address, BaseMap, BaseMaps, Key, Source, Upstream, Wmts};
use serde::Deserialize;

/// Layers of one base map.
const N_LAYERS: usize = 4;
/// Base maps.
const N_MAPS: usize = 32;

/// `[map]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Map {
    base: Vec<Base>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Xyz,
    Wmts,
    Pmtiles,
}

/// `[[map.base]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Base {
    /// Its name, unique, Chinese first.
    name: String,
    /// Its English name. Default: the other.
    #[serde(default)]
    name_en: String,
    /// `xyz`, `wmts` or `pmtiles`.
    kind: Kind,
    /// Of `xyz` an address with `{z}`, `{x}` and `{y}`; of `wmts` what comes before its parameters, where `{layer}`
    /// stands for the layer. `{key}` is where the key goes.
    url: Option<String>,
    /// Of `pmtiles` the file.
    file: Option<PathBuf>,
    /// File that holds the key and nobody else may read.
    key_file: Option<PathBuf>,
    /// Of `wmts` the layers, the lowest first: `["vec", "cva"]`.
    #[serde(default)]
    layers: Vec<String>,
    /// Of `wmts`. Default `default`.
    style: Option<String>,
    /// Of `wmts`. Default `w`, 天地图's Web Mercator.
    matrix_set: Option<String>,
    /// Of `wmts`. Default `tiles`, as 天地图 calls it.
    format: Option<String>,
    /// Parameter of `wmts` that takes the key. Default `tk`.
    key_parameter: Option<String>,
    /// Smallest zoom that it has. Default 0; of a file what it says.
    min_zoom: Option<u8>,
    /// Largest zoom that it has; the map goes on beyond with the same pictures. Default 18; of a file what it says.
    max_zoom: Option<u8>,
    /// What its licence wants to be shown.
    attribution: String,
    /// Certificates of the authorities for `https`. Default those of the system.
    ca_file: Option<PathBuf>,
}

impl Map {
    /// Checks all of them and opens what they name; relative paths start in `folder`.
    pub(super) fn check(self, folder: &Path) -> Result<BaseMaps> {
        ensure!(
            self.base.len() <= N_MAPS,
            "[[map.base]]: {} base maps, at most {N_MAPS}",
            self.base.len()
        );
        let mut maps: Vec<BaseMap> = Vec::new();
        for base in self.base {
            // The address is not said back: somebody may have written a key into it.
            let named = format!("[[map.base]] name = \"{}\"", base.name);
            let map = base
                .check(folder)
                .map_err(|error| anyhow::anyhow!("{named}: {error:#}"))?;
            ensure!(
                maps.iter().all(|other| other.name != map.name),
                "{named}: there are two of this name"
            );
            maps.push(map);
        }
        Ok(BaseMaps(maps))
    }
}

impl Base {
    fn check(self, folder: &Path) -> Result<BaseMap> {
        let is_name = |name: &str| name.len() <= 128 && !name.contains(['"', '/', '\\', '?', '#', '%']);
        ensure!(
            !self.name.trim().is_empty() && is_name(&self.name) && is_name(&self.name_en),
            "name, name_en: at most 128 bytes, without \" / \\ ? # %"
        );
        ensure!(
            !self.attribution.trim().is_empty() && self.attribution.len() <= 512,
            "attribution: 1 to 512 bytes; whose map it is is always shown"
        );
        let source = match self.kind {
            Kind::Pmtiles => self.file(folder)?,
            Kind::Xyz | Kind::Wmts => self.servers(folder)?,
        };
        let own = match &source {
            Source::File(file) => file.zooms,
            Source::Servers(_) => [0, 18],
        };
        let zooms = [self.min_zoom.unwrap_or(own[0]), self.max_zoom.unwrap_or(own[1])];
        ensure!(
            zooms[0] <= zooms[1] && zooms[1] <= 24,
            "min_zoom, max_zoom: {} to {}; the first is not above the other, and that at most 24",
            zooms[0],
            zooms[1]
        );
        Ok(BaseMap {
            name: self.name,
            name_en: self.name_en,
            source,
            zooms,
            attribution: self.attribution,
        })
    }

    fn file(&self, folder: &Path) -> Result<Source> {
        let only_wmts = self.only_wmts();
        ensure!(
            self.url.is_none() && self.key_file.is_none() && self.ca_file.is_none() && only_wmts.is_none(),
            "kind = \"pmtiles\" takes file, min_zoom and max_zoom, and no address"
        );
        let Some(file) = &self.file else {
            bail!("file: kind = \"pmtiles\" wants one");
        };
        let path = folder.join(file);
        let open = PmTiles::open(&path).with_context(|| format!("file: {}", path.display()))?;
        Ok(Source::File(Box::new(open)))
    }

    fn servers(&self, folder: &Path) -> Result<Source> {
        ensure!(self.file.is_none(), "file: only kind = \"pmtiles\" has one");
        let Some(url) = &self.url else {
            bail!("url: it is wanted");
        };
        let key = match &self.key_file {
            None => None,
            Some(file) => Some(key(&folder.join(file))?),
        };
        let addresses = match self.kind {
            Kind::Xyz => {
                if let Some(only) = self.only_wmts() {
                    bail!("{only}: only kind = \"wmts\" has it");
                }
                vec![Address::xyz(url, key).context("url")?]
            }
            _ => {
                ensure!(
                    (1..=N_LAYERS).contains(&self.layers.len()) && self.layers.iter().all(|l| !l.is_empty()),
                    "layers: kind = \"wmts\" wants 1 to {N_LAYERS}, the lowest first"
                );
                let wmts = |layer: &String| {
                    let wanted = Wmts {
                        layer,
                        style: self.style.as_deref().unwrap_or("default"),
                        matrix_set: self.matrix_set.as_deref().unwrap_or("w"),
                        format: self.format.as_deref().unwrap_or("tiles"),
                        key_parameter: self.key_parameter.as_deref().unwrap_or("tk"),
                    };
                    Address::wmts(&url.replace("{layer}", layer), &wanted, key.clone())
                };
                self.layers
                    .iter()
                    .map(wmts)
                    .collect::<Result<_, _>>()
                    .context("url")?
            }
        };
        let roots = self.ca_file.as_ref().map(|path| folder.join(path));
        let upstream = |address| Upstream::new(address, roots.as_deref());
        let servers: Result<Vec<_>, _> = addresses.into_iter().map(upstream).collect();
        // The fault may name the host, which is no secret.
        Ok(Source::Servers(servers.context("url")?))
    }

    /// The first key that only `wmts` has.
    fn only_wmts(&self) -> Option<&'static str> {
        let stated = [
            ("layers", !self.layers.is_empty()),
            ("style", self.style.is_some()),
            ("matrix_set", self.matrix_set.is_some()),
            ("format", self.format.is_some()),
            ("key_parameter", self.key_parameter.is_some()),
        ];
        stated.iter().find(|(_, stated)| *stated).map(|(name, _)| *name)
    }
}

fn key(path: &Path) -> Result<Key> {
    let shown = path.display();
    let unread = || format!("key_file: cannot read {shown}");
    let mode = std::fs::metadata(path).with_context(unread)?.permissions().mode() & 0o7777;
    ensure!(
        mode & 0o077 == 0,
        "key_file: others may read {shown} (mode {mode:04o}): chmod 600 {shown}"
    );
    let text = std::fs::read_to_string(path).with_context(unread)?;
    Key::new(&text).with_context(|| format!("key_file: {shown}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::Config;

    #[test]
    fn what_cannot_be_a_base_map_is_said_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("onemap.toml");
        std::fs::write(dir.path().join("open.key"), "0123abc").unwrap();
        std::fs::write(dir.path().join("own.key"), "0123abc\n").unwrap();
        let mode = |name: &str, mode| {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(dir.path().join(name), mode).unwrap();
        };
        mode("open.key", 0o644);
        mode("own.key", 0o600);
        std::fs::write(dir.path().join("no.pmtiles"), "something else").unwrap();
        let read = |text: &str| {
            let head = "[http]\n\n[[map.base]]\nattribution = \"© x\"\nname = \"影像\"\n";
            std::fs::write(&path, format!("{head}{text}")).unwrap();
            Config::load(Some(&path), Path::new("data"))
        };
        for good in [
            "kind = \"xyz\"\nurl = \"http://127.0.0.1/{z}/{x}/{y}.png\"\n",
            "kind = \"wmts\"\nurl = \"http://127.0.0.1/{layer}_w/wmts\"\nlayers = [\"vec\", \"cva\"]\nkey_file = \"own.key\"\n",
        ] {
            let config = read(good).unwrap();
            assert_eq!(config.basemaps.0.len(), 1);
            assert!(!format!("{:?}", config.basemaps).contains("0123abc"));
        }
        for (text, line, says) in [
            ("kind = \"xyz\"\n", 5, "url: it is wanted"),
            (
                "kind = \"xyz\"\nurl = \"http://a/{z}/{x}\"\n",
                5,
                "the address has no {y}",
            ),
            (
                "kind = \"xyz\"\nurl = \"http://a/{z}/{x}/{y}?tk=0123abc\"\n",
                5,
                "a key does not stand in the address",
            ),
            (
                "kind = \"xyz\"\nurl = \"http://a/{z}/{x}/{y}\"\nlayers = [\"a\"]\n",
                5,
                "layers: only kind = \"wmts\"",
            ),
            (
                "kind = \"xyz\"\nurl = \"http://a/{z}/{x}/{y}\"\nmin_zoom = 9\nmax_zoom = 3\n",
                5,
                "9 to 3",
            ),
            (
                "kind = \"wmts\"\nurl = \"http://a/wmts\"\n",
                5,
                "layers: kind = \"wmts\" wants 1 to 4",
            ),
            (
                "kind = \"wmts\"\nurl = \"http://a/wmts\"\nlayers = [\"vec\"]\nkey_file = \"open.key\"\n",
                5,
                "chmod 600",
            ),
            (
                "kind = \"wmts\"\nurl = \"http://a/wmts\"\nlayers = [\"vec\"]\nkey_file = \"none.key\"\n",
                5,
                "cannot read",
            ),
            ("kind = \"pmtiles\"\n", 5, "file: kind = \"pmtiles\" wants one"),
            (
                "kind = \"pmtiles\"\nfile = \"no.pmtiles\"\n",
                5,
                "no PMTiles file of version 3",
            ),
            (
                "kind = \"pmtiles\"\nfile = \"none.pmtiles\"\n",
                5,
                "it cannot be read",
            ),
            ("kind = \"tms\"\nurl = \"http://a/{z}/{x}/{y}\"\n", 6, "tms"),
            (
                "kind = \"xyz\"\nurl = \"http://a/{z}/{x}/{y}\"\nkey = \"0123abc\"\n",
                8,
                "unknown field `key`",
            ),
        ] {
            let error = format!("{:#}", read(text).unwrap_err());
            assert!(
                error.contains(&format!("onemap.toml:{line}: ")) && error.contains(says),
                "{text}: {error}"
            );
            assert!(
                !error.contains("0123abc") || says.contains("unknown field"),
                "{error}"
            );
        }
        let twice = "kind = \"xyz\"\nurl = \"http://a/{z}/{x}/{y}\"\n\
            [[map.base]]\nattribution = \"y\"\nname = \"影像\"\nkind = \"xyz\"\nurl = \"http://a/{z}/{x}/{y}\"\n";
        let error = format!("{:#}", read(twice).unwrap_err());
        assert!(error.contains("there are two of this name"), "{error}");
    }
}
