//! The layers of the map: what they show, from which zoom on, and how they are announced.

use std::fmt;
use std::str::FromStr;

use onemap_model::EntityKind;
use serde_json::{Value, json};

use crate::thing::ThingKind;
use crate::tile::MAX_ZOOM;

/// A vector tile layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Layer {
    /// Administrative divisions: polygons, and one label point each in the sub-layer
    /// `division_labels`.
    Divisions,
    /// Rivers and lakes.
    Water,
    /// Roads.
    Roads,
    /// Named places.
    Places,
    /// Devices in use.
    Devices,
    /// Responsibility grids: polygons.
    Grids,
    /// River reaches.
    Reaches,
    /// City components.
    Components,
    /// Addresses.
    Addresses,
    /// Hazards: points, lines and polygons.
    Hazards,
    /// Pipes below and above the ground.
    Pipes,
    /// Fences that watch moving devices: polygons.
    Fences,
    /// Devices in use with their states: made anew for each request, apart from all others.
    Live,
}

impl Layer {
    /// Every layer, lowest first.
    pub const ALL: [Layer; 13] = [
        Layer::Divisions,
        Layer::Water,
        Layer::Roads,
        Layer::Places,
        Layer::Devices,
        Layer::Grids,
        Layer::Reaches,
        Layer::Components,
        Layer::Addresses,
        Layer::Hazards,
        Layer::Pipes,
        Layer::Fences,
        Layer::Live,
    ];

    /// Its name in addresses and tiles.
    pub fn name(self) -> &'static str {
        match self {
            Layer::Divisions => "divisions",
            Layer::Water => "water",
            Layer::Roads => "roads",
            Layer::Places => "places",
            Layer::Devices => "devices",
            Layer::Grids => "grids",
            Layer::Reaches => "reaches",
            Layer::Components => "components",
            Layer::Addresses => "addresses",
            Layer::Hazards => "hazards",
            Layer::Pipes => "pipes",
            Layer::Fences => "fences",
            Layer::Live => "live",
        }
    }

    /// Whether the layer is prepared as a whole: its borders are simplified together, so that neighbours
    /// stay neighbours. Others are drawn tile by tile, however many things they hold.
    pub(crate) fn is_prepared(self) -> bool {
        !matches!(
            self,
            Layer::Components
                | Layer::Addresses
                | Layer::Hazards
                | Layer::Pipes
                | Layer::Fences
                | Layer::Live
        )
    }

    /// Whether a kind, by its index, is shown by a layer that is drawn tile by tile.
    pub(crate) fn draws_straight(kind: usize) -> bool {
        let mut layers = Layer::ALL.into_iter();
        layers.any(|layer| !layer.is_prepared() && layer.kind().index() == kind)
    }

    /// Whether a kind, by its index, is shown by a layer of clusters that know no states.
    pub(crate) fn clusters(kind: usize) -> bool {
        Layer::draws_straight(kind) && kind != Layer::Live.kind().index()
    }

    /// From this zoom on tiles of a layer that is drawn tile by tile carry names. A name takes about half as many bytes
    /// again as all else that is said of a point, so tiles have them only where there is room to write them: those of
    /// fences from where the screen does (14.5, which it draws from tiles of zoom 14), all others in the last zoom,
    /// which screens enlarge.
    pub(crate) fn name_zoom(self) -> u8 {
        match self {
            Layer::Fences => 14,
            _ => MAX_ZOOM,
        }
    }

    /// Whether things of a kind are shown in the layer.
    pub(crate) fn shows(self, kind: &ThingKind) -> bool {
        match kind {
            ThingKind::Device => matches!(self, Layer::Devices | Layer::Live),
            ThingKind::Entity(kind) => Layer::of(kind) == Some(self),
        }
    }

    /// The layers that show things of a kind.
    pub(crate) fn all_of(kind: &ThingKind) -> impl Iterator<Item = Layer> {
        Layer::ALL.into_iter().filter(move |layer| layer.shows(kind))
    }

    /// What the layer shows, for layers that are drawn tile by tile.
    pub(crate) fn kind(self) -> ThingKind {
        ThingKind::Entity(match self {
            Layer::Components => EntityKind::Component,
            Layer::Addresses => EntityKind::Address,
            Layer::Hazards => EntityKind::Hazard,
            Layer::Pipes => EntityKind::Pipe,
            Layer::Fences => EntityKind::Fence,
            Layer::Divisions => EntityKind::Division,
            Layer::Water => EntityKind::Water,
            Layer::Roads => EntityKind::Road,
            Layer::Places => EntityKind::Place,
            Layer::Grids => EntityKind::Grid,
            Layer::Reaches => EntityKind::Reach,
            Layer::Devices | Layer::Live => return ThingKind::Device,
        })
    }

    /// The layer that shows entities of a kind; `None` when no layer does (persons never are).
    pub(crate) fn of(kind: &EntityKind) -> Option<Self> {
        match kind {
            EntityKind::Division => Some(Layer::Divisions),
            EntityKind::Water => Some(Layer::Water),
            EntityKind::Road => Some(Layer::Roads),
            EntityKind::Place => Some(Layer::Places),
            EntityKind::Grid => Some(Layer::Grids),
            EntityKind::Reach => Some(Layer::Reaches),
            EntityKind::Component => Some(Layer::Components),
            EntityKind::Address => Some(Layer::Addresses),
            EntityKind::Hazard => Some(Layer::Hazards),
            EntityKind::Pipe => Some(Layer::Pipes),
            EntityKind::Fence => Some(Layer::Fences),
            _ => None,
        }
    }

    /// The lowest zoom at which anything of the layer is drawn.
    pub(crate) fn min_zoom(self) -> u8 {
        match self {
            Layer::Divisions | Layer::Devices | Layer::Places | Layer::Live | Layer::Hazards => 0,
            Layer::Water | Layer::Reaches => 5,
            Layer::Roads | Layer::Components => 6,
            Layer::Fences => 9,
            Layer::Addresses => 10,
            Layer::Grids | Layer::Pipes => 11,
        }
    }

    /// The zoom from which on a thing of this rank (1 is the most important) is drawn.
    pub(crate) fn zoom_of_rank(self, rank: u64) -> u8 {
        let by_rank: &[u8] = match self {
            Layer::Divisions => &[0],
            Layer::Water => &[5, 7, 9, 11, 12],
            Layer::Roads => &[6, 8, 10, 11, 12, 13],
            Layer::Places => &[0, 6, 9, 10, 11, 12, 14],
            Layer::Reaches => &[5, 7, 9, 10, 10],
            Layer::Grids => &[11],
            Layer::Devices
            | Layer::Components
            | Layer::Addresses
            | Layer::Hazards
            | Layer::Pipes
            | Layer::Fences
            | Layer::Live => &[0],
        };
        let i = usize::try_from(rank.saturating_sub(1)).map_or(usize::MAX, |i| i);
        by_rank[i.min(by_rank.len() - 1)]
    }

    /// The layers inside its tiles, as TileJSON describes them.
    fn vector_layers(self) -> Vec<Value> {
        let text = "String";
        let mut vector_layers = vec![match self {
            Layer::Divisions => {
                self.described(json!({"code": text, "name": text, "name_en": text, "level": text}))
            }
            Layer::Water | Layer::Roads => {
                self.described(json!({"name": text, "name_en": text, "class": text, "rank": "Number"}))
            }
            Layer::Components | Layer::Addresses | Layer::Hazards | Layer::Pipes | Layer::Fences => self
                .described(
                    json!({
                        "code": text, "name": text, "class": text, "stratum": text, "count": "Number", "state": text,
                        "stale": "Number", "abnormal": "Number", "unknown": "Number", "normal": "Number",
                    }),
                ),
            Layer::Live => self.described(json!({
                "id": text, "kind": text, "state": text, "stale": "Number", "count": "Number",
                "abnormal": "Number", "unknown": "Number", "normal": "Number",
            })),
            Layer::Places | Layer::Grids | Layer::Reaches => self.described(
                json!({"code": text, "name": text, "name_en": text, "class": text, "rank": "Number"}),
            ),
            Layer::Devices => {
                self.described(json!({"id": text, "name": text, "kind": text, "hidden": "Number"}))
            }
        }];
        if self == Layer::Divisions {
            vector_layers.push(json!({
                "id": "division_labels", "minzoom": 0, "maxzoom": MAX_ZOOM,
                "fields": {"code": text, "name": text, "name_en": text, "level": text},
            }));
        }
        vector_layers
    }

    /// A TileJSON 3.0.0 description of tiles with these layers; tile addresses start with `base` (scheme and host, no
    /// slash at the end; may be empty).
    pub(crate) fn tilejson(layers: &[Self], base: &str, bounds: Option<[f64; 4]>, sources: &[&str]) -> Value {
        let names: Vec<&str> = layers.iter().map(|layer| layer.name()).collect();
        let name = names.join(",");
        let mut out = json!({
            "tilejson": "3.0.0",
            "name": name,
            "tiles": [format!("{base}/tiles/{name}/{{z}}/{{x}}/{{y}}.mvt")],
            "scheme": "xyz",
            "minzoom": layers.iter().map(|layer| layer.min_zoom()).min(),
            "maxzoom": MAX_ZOOM,
            "vector_layers": layers.iter().flat_map(|layer| layer.vector_layers()).collect::<Vec<_>>(),
        });
        if let Some([west, south, east, north]) = bounds {
            out["bounds"] = json!([west, south, east, north]);
            out["center"] = json!([(west + east) / 2.0, (south + north) / 2.0, 9]);
        }
        if !sources.is_empty() {
            out["attribution"] = Value::String(escaped(&sources.join(" · ")));
        }
        out
    }

    fn described(self, fields: Value) -> Value {
        json!({"id": self.name(), "fields": fields, "minzoom": self.min_zoom(), "maxzoom": MAX_ZOOM})
    }
}

/// Map libraries show the attribution as HTML, and a source's name is foreign text.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Layer {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Layer::ALL
            .into_iter()
            .find(|layer| layer.name() == text)
            .ok_or_else(|| {
                format!(
                    "`{}` is not a map layer",
                    text.chars().take(32).collect::<String>()
                )
            })
    }
}
