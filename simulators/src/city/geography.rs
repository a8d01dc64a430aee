//! The ground the city stands on: divisions, rivers and named anchor points, from the embedded files.

use onemap_model::DivisionCode;
use serde_json::Value;

/// The files as shipped, in the order in which they are registered.
pub const FILES: [(&str, &str); 4] = [
    ("divisions", include_str!("../../city/divisions.geojson")),
    ("water", include_str!("../../city/water.geojson")),
    ("roads", include_str!("../../city/roads.geojson")),
    ("places", include_str!("../../city/places.geojson")),
];

/// The whole city's code: no device belongs to it directly.
const CITY: &str = "630100";
/// One anchor for so many metres of road.
const ANCHOR_EVERY_M: f64 = 600.0;

/// Longitude and latitude in degrees.
pub type LonLat = [f64; 2];

/// One division with its outline.
#[derive(Clone, Debug)]
pub struct Area {
    /// Its code.
    pub code: DivisionCode,
    /// Its name.
    pub name: String,
    /// Every ring of every polygon; inside is where a ray crosses them an odd number of times.
    rings: Vec<Vec<LonLat>>,
}

/// A named spot that devices stand near.
#[derive(Clone, Debug)]
pub struct Anchor {
    /// Name of the place or road.
    pub name: String,
    /// English name, may be empty.
    pub name_en: String,
    /// Where.
    pub at: LonLat,
    /// Index of its division in [`Geography::areas`].
    pub area: usize,
    /// On which kind of ground it lies.
    pub ground: Ground,
}

/// What an anchor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// A village, town or other named place.
    Place,
    /// A street.
    Street,
    /// A motorway: people do not live on it.
    Motorway,
}

/// A river line.
#[derive(Clone, Debug)]
pub struct River {
    /// Its name.
    pub name: String,
    /// English name, may be empty.
    pub name_en: String,
    /// Points in the order drawn.
    pub line: Vec<LonLat>,
}

/// All of it.
#[derive(Clone, Debug)]
pub struct Geography {
    /// Divisions below the city.
    pub areas: Vec<Area>,
    /// Spots inside those divisions.
    pub anchors: Vec<Anchor>,
    /// Rivers, also where they leave the city.
    pub rivers: Vec<River>,
    /// Lines of roads that are no motorways.
    pub streets: Vec<Vec<LonLat>>,
}

/// A file of the city is not what the simulator needs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GeographyError {
    /// Not JSON.
    #[error("city file `{file}` is not JSON")]
    Json {
        /// The file.
        file: &'static str,
        /// What JSON said.
        #[source]
        source: serde_json::Error,
    },
    /// A field is absent or of another shape.
    #[error("city file `{file}`, feature {index}: no usable `{field}`")]
    Field {
        /// The file.
        file: &'static str,
        /// Which feature, from 0.
        index: usize,
        /// The field.
        field: &'static str,
    },
}

/// Metres between two points, good to a percent over a city.
pub fn distance_m(a: LonLat, b: LonLat) -> f64 {
    let k = 111_320.0;
    let x = (b[0] - a[0]) * k * ((a[1] + b[1]) / 2.0).to_radians().cos();
    let y = (b[1] - a[1]) * k;
    x.hypot(y)
}

/// The point so many metres east and north of another.
pub fn offset(at: LonLat, east_m: f64, north_m: f64) -> LonLat {
    let k = 111_320.0;
    [
        at[0] + east_m / (k * at[1].to_radians().cos()),
        at[1] + north_m / k,
    ]
}

/// Length of a line in metres.
pub fn length_m(line: &[LonLat]) -> f64 {
    line.windows(2).map(|w| distance_m(w[0], w[1])).sum()
}

/// The point so many metres along a line; its ends beyond them. `None` for an empty line.
pub fn along(line: &[LonLat], mut metres: f64) -> Option<LonLat> {
    for w in line.windows(2) {
        let step = distance_m(w[0], w[1]);
        if step > 0.0 && metres <= step {
            let f = (metres / step).max(0.0);
            return Some([
                w[0][0] + (w[1][0] - w[0][0]) * f,
                w[0][1] + (w[1][1] - w[0][1]) * f,
            ]);
        }
        metres -= step;
    }
    line.last().copied()
}

fn point(value: &Value) -> Option<LonLat> {
    Some([value.get(0)?.as_f64()?, value.get(1)?.as_f64()?])
}

fn line(value: &Value) -> Option<Vec<LonLat>> {
    value.as_array()?.iter().map(point).collect()
}

/// The lines of a LineString or MultiLineString, the rings of a Polygon or MultiPolygon.
fn lines(geometry: &Value) -> Option<Vec<Vec<LonLat>>> {
    let inside = geometry.get("coordinates")?;
    match geometry.get("type")?.as_str()? {
        "LineString" => Some(vec![line(inside)?]),
        "MultiLineString" | "Polygon" => inside.as_array()?.iter().map(line).collect(),
        "MultiPolygon" => inside
            .as_array()?
            .iter()
            .flat_map(|p| p.as_array().into_iter().flatten())
            .map(line)
            .collect(),
        _ => None,
    }
}

struct Feature {
    file: &'static str,
    index: usize,
    value: Value,
}

impl Feature {
    fn missing(&self, field: &'static str) -> GeographyError {
        GeographyError::Field {
            file: self.file,
            index: self.index,
            field,
        }
    }
    fn text(&self, field: &'static str) -> Option<&str> {
        self.value["properties"][field].as_str()
    }
    fn name(&self) -> Result<String, GeographyError> {
        Ok(self.text("name").ok_or_else(|| self.missing("name"))?.to_owned())
    }
    fn name_en(&self) -> String {
        self.text("name_en").unwrap_or_default().to_owned()
    }
    fn lines(&self) -> Result<Vec<Vec<LonLat>>, GeographyError> {
        lines(&self.value["geometry"]).ok_or_else(|| self.missing("geometry"))
    }
}

fn features(wanted: &str) -> Result<Vec<Feature>, GeographyError> {
    let mut found = Vec::new();
    for (file, text) in FILES.into_iter().filter(|(file, _)| *file == wanted) {
        let mut all: Value =
            serde_json::from_str(text).map_err(|source| GeographyError::Json { file, source })?;
        let Value::Array(list) = all["features"].take() else {
            return Err(GeographyError::Field {
                file,
                index: 0,
                field: "features",
            });
        };
        found.extend(
            list.into_iter()
                .enumerate()
                .map(|(index, value)| Feature { file, index, value }),
        );
    }
    Ok(found)
}

impl Geography {
    /// Reads the embedded files.
    ///
    /// # Errors
    /// When a file is damaged; the build's own tests read them too.
    pub fn load() -> Result<Self, GeographyError> {
        let mut areas = Vec::new();
        for feature in features("divisions")? {
            let code = feature.text("code").ok_or_else(|| feature.missing("code"))?;
            if code == CITY {
                continue;
            }
            let code = DivisionCode::new(code).map_err(|_| feature.missing("code"))?;
            areas.push(Area {
                code,
                name: feature.name()?,
                rings: feature.lines()?,
            });
        }
        let mut rivers = Vec::new();
        for feature in features("water")? {
            let (name, name_en) = (feature.name()?, feature.name_en());
            rivers.extend(feature.lines()?.into_iter().map(|line| River {
                name: name.clone(),
                name_en: name_en.clone(),
                line,
            }));
        }
        let mut geography = Self {
            areas,
            anchors: Vec::new(),
            rivers,
            streets: Vec::new(),
        };
        for feature in features("places")? {
            let at = point(&feature.value["geometry"]["coordinates"])
                .ok_or_else(|| feature.missing("geometry"))?;
            geography.anchor(&feature, at, Ground::Place)?;
        }
        for feature in features("roads")? {
            let class = feature.value["properties"]["attributes"]["class"].as_str();
            let ground = if class == Some("motorway") {
                Ground::Motorway
            } else {
                Ground::Street
            };
            for line in feature.lines()? {
                if ground == Ground::Street {
                    geography.streets.push(line.clone());
                }
                let length = length_m(&line);
                let n = (length / ANCHOR_EVERY_M).floor().max(1.0);
                for i in 0..n as usize {
                    if let Some(at) = along(&line, length * (i as f64 + 0.5) / n) {
                        geography.anchor(&feature, at, ground)?;
                    }
                }
            }
        }
        Ok(geography)
    }

    /// Adds an anchor if it lies in one of the divisions.
    fn anchor(&mut self, feature: &Feature, at: LonLat, ground: Ground) -> Result<(), GeographyError> {
        if let Some(area) = self.area_at(at) {
            let (name, name_en) = (feature.name()?, feature.name_en());
            self.anchors.push(Anchor {
                name,
                name_en,
                at,
                area,
                ground,
            });
        }
        Ok(())
    }

    /// The division that holds a point, as an index of [`Geography::areas`].
    pub fn area_at(&self, at: LonLat) -> Option<usize> {
        self.areas.iter().position(|area| area.holds(at))
    }

    /// The nearest anchor that is not a piece of road.
    pub fn nearest_place(&self, at: LonLat) -> Option<&Anchor> {
        let places = self.anchors.iter().filter(|a| a.ground == Ground::Place);
        places.min_by(|a, b| distance_m(a.at, at).total_cmp(&distance_m(b.at, at)))
    }
}

impl Area {
    fn holds(&self, [x, y]: LonLat) -> bool {
        let mut inside = false;
        for ring in &self.rings {
            for w in ring.windows(2) {
                let ([x1, y1], [x2, y2]) = (w[0], w[1]);
                if (y1 > y) != (y2 > y) && x < (x2 - x1) * (y - y1) / (y2 - y1) + x1 {
                    inside = !inside;
                }
            }
        }
        inside
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_shipped_files_give_seven_divisions_with_anchors_in_each() {
        let geography = Geography::load().unwrap();
        assert_eq!(geography.areas.len(), 7);
        for (i, area) in geography.areas.iter().enumerate() {
            let n = geography.anchors.iter().filter(|a| a.area == i).count();
            assert!(n >= 2, "{} has {n} anchors", area.name);
        }
        assert!(geography.rivers.iter().map(|r| length_m(&r.line)).sum::<f64>() > 50_000.0);
    }

    #[test]
    fn a_hole_is_not_inside() {
        let square =
            |low: f64, high: f64| vec![[low, low], [high, low], [high, high], [low, high], [low, low]];
        let area = Area {
            code: DivisionCode::new("630102").unwrap(),
            name: String::new(),
            rings: vec![square(0.0, 10.0), square(4.0, 6.0)],
        };
        assert!(area.holds([1.0, 1.0]));
        assert!(!area.holds([5.0, 5.0]));
        assert!(!area.holds([11.0, 5.0]));
    }

    #[test]
    fn a_walk_along_a_line_ends_where_the_line_ends() {
        let line = [[101.0, 36.0], [101.1, 36.0], [101.1, 36.1]];
        let length = length_m(&line);
        assert!((length - 20_130.0).abs() < 50.0, "{length}");
        assert_eq!(along(&line, 0.0), Some([101.0, 36.0]));
        assert_eq!(along(&line, length * 2.0), Some([101.1, 36.1]));
        assert_eq!(along(&[], 1.0), None);
        let moved = offset(line[0], 300.0, -400.0);
        assert!((distance_m(line[0], moved) - 500.0).abs() < 1.0);
    }
}
